//! `config show`: the effective configuration as TOML, each line saying who set it.

use std::fmt::Write as _;

use toml::Value;

use super::Config;
use super::error::Layer;
use super::settings::SETTINGS;

impl Config {
    /// The effective configuration as TOML, secrets as `***`.
    #[must_use]
    pub fn show(&self) -> String {
        let tree = Value::try_from(self).unwrap_or_else(|_| Value::Table(toml::Table::new()));
        let mut text = String::new();
        let mut open = "";
        for setting in SETTINGS {
            let (section, key) = setting.path.split_once('.').unwrap_or(("", setting.path));
            if section != open {
                let _ = write!(text, "\n[{section}]\n");
                open = section;
            }
            let layer = self.origins.get(setting.path).unwrap_or(&Layer::Default);
            let within = if section.is_empty() {
                Some(&tree)
            } else {
                tree.get(section)
            };
            let _ = match within.and_then(|table| table.get(key)) {
                Some(value) => writeln!(text, "{key} = {value}  # {layer}"),
                None => writeln!(text, "# {key} is not set"),
            };
        }
        text
    }
}
