//! Loading the configuration, and the verbs that look at it.

use std::process::ExitCode;

use anyhow::Result;

use super::flags::{Command, ConfigVerb};
use super::outlets::Outlets;
use super::say;
use crate::config::{Config, ConfigError, ConfigErrors};

/// The configuration of this command line in this environment.
pub(super) fn load(command: &Command) -> Result<Config, ConfigErrors> {
    let (variables, unreadable) = environment(std::env::vars_os());
    let loaded = Config::load(command.file.as_deref(), variables.into_iter(), &command.overrides);
    if unreadable.is_empty() {
        return loaded;
    }
    let mut errors = loaded.err().map_or_else(Vec::new, |errors| errors.0);
    errors.extend(unreadable);
    Err(ConfigErrors(errors))
}

type Variable = (std::ffi::OsString, std::ffi::OsString);

/// The variables that are text, and a complaint for each setting that is not.
fn environment(variables: impl Iterator<Item = Variable>) -> (Vec<(String, String)>, Vec<ConfigError>) {
    let (mut texts, mut unreadable) = (Vec::new(), Vec::new());
    for (name, value) in variables {
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) => texts.push((name, value)),
            Err(_) if is_setting(&name) => {
                unreadable.push(ConfigError::Together(format!(
                    "environment {name}: it is not text in UTF-8"
                )));
            }
            Err(_) => {}
        }
    }
    (texts, unreadable)
}

fn is_setting(name: &str) -> bool {
    name.starts_with("REGISTRY__") || ["DATABASE_URL", "AMQP_URL", "SMTP_URL", "RUST_LOG"].contains(&name)
}

/// Refuses what `serve` cannot do although each setting is well formed. Gives how messages leave.
pub(super) fn usable(config: &Config) -> Result<Outlets, ConfigErrors> {
    Outlets::of(config).map_err(|errors| ConfigErrors(errors.into_iter().collect()))
}

/// `config check` and `config show`.
pub(super) fn run(verb: ConfigVerb, config: &Config) -> Result<ExitCode> {
    match verb {
        ConfigVerb::Check => {
            usable(config)?;
            say("the configuration holds");
        }
        ConfigVerb::Show => say(config.show().trim_end()),
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn the_defaults_are_usable() {
        assert!(usable(&Config::default()).is_ok());
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_name() {
        let mut config = Config::default();
        config.mail.from = "nobody".into();
        let told = usable(&config).unwrap_err().to_string();
        insta::assert_snapshot!(told, @r"
        the configuration does not hold:
          `mail.from` must be an address such as registry@farm.example or Registry <registry@farm.example>
        ");
    }

    #[test]
    fn a_setting_that_is_no_text_is_told_and_anything_else_is_not_ours() {
        let bytes = || OsString::from_vec(vec![0xff]);
        let variables = [
            ("REGISTRY__PUBLIC_URL".into(), bytes()),
            ("LESSOPEN".into(), bytes()),
            (bytes(), "x".into()),
            ("HOME".into(), "/root".into()),
        ];
        let (texts, unreadable) = environment(variables.into_iter());
        assert_eq!(texts, [("HOME".to_owned(), "/root".to_owned())]);
        assert_eq!(unreadable.len(), 1);
        assert!(unreadable[0].to_string().contains("REGISTRY__PUBLIC_URL"));
    }
}
