//! Lays file, environment and flags over each other and checks every name and value.

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::error::{ConfigError, Layer};
use super::settings::{self, Kind, Setting};

/// Every setting somebody set, checked, with who set it last.
#[derive(Debug, Default)]
pub(super) struct Layers {
    pub values: BTreeMap<&'static str, (Value, Layer)>,
    pub errors: Vec<ConfigError>,
}

/// Variables that are settings without the prefix, because everyone calls them that.
const WELL_KNOWN: &[(&str, &str)] = &[
    ("DATABASE_URL", "database_url"),
    ("AMQP_URL", "amqp_url"),
    ("SMTP_URL", "mail.smtp_url"),
    ("RUST_LOG", "log.level"),
];

const PREFIX: &str = "REGISTRY__";

impl Layers {
    pub fn file(&mut self, path: &Path) {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                let (path, reason) = (path.to_owned(), error.to_string());
                return self.errors.push(ConfigError::Unreadable { path, reason });
            }
        };
        self.text(path, &text);
    }

    /// The contents of a file.
    pub fn text(&mut self, path: &Path, text: &str) {
        let at = |offset: usize| {
            let line = text.bytes().take(offset).filter(|b| *b == b'\n').count() + 1;
            Layer::File(path.to_owned(), line)
        };
        match (DeTable::parse(text), text.parse::<Table>()) {
            (Ok(spans), Ok(table)) => {
                self.table("", &table, spans.get_ref(), &at);
                self.errors.sort_by_key(ConfigError::line);
            }
            (Err(error), _) | (_, Err(error)) => self.errors.push(ConfigError::Syntax {
                layer: at(error.span().map_or(0, |span| span.start)),
                reason: error.message().to_owned(),
            }),
        }
    }

    fn table(&mut self, section: &str, table: &Table, spans: &DeTable<'_>, at: &dyn Fn(usize) -> Layer) {
        for (key, value) in table {
            let path = join(section, key);
            let span = spans.iter().find(|(name, _)| name.get_ref() == key);
            let layer = at(span.map_or(0, |(name, _)| name.span().start));
            match (value, span.map(|(_, value)| value.get_ref())) {
                (Value::Table(inner), Some(DeValue::Table(spans))) if settings::is_section(&path) => {
                    self.table(&path, inner, spans, at);
                }
                _ if settings::is_section(&path) => self.errors.push(ConfigError::Invalid {
                    layer,
                    key: path,
                    expected: "a section".into(),
                }),
                _ if settings::find(&path).is_none() => {
                    let nearest = settings::nearest(&path).map(str::to_owned);
                    self.errors.push(ConfigError::Unknown {
                        layer,
                        key: path,
                        nearest,
                    });
                }
                _ => self.set(&path, value.clone(), layer),
            }
        }
    }

    /// Well-known names first, so that the longer, more precise name wins.
    pub fn environment(&mut self, variables: impl Iterator<Item = (String, String)>) {
        let mut prefixed = BTreeMap::new();
        for (name, text) in variables {
            if let Some((_, path)) = WELL_KNOWN.iter().find(|(known, _)| *known == name) {
                // An empty variable is how compose files say "not set".
                if !text.is_empty() {
                    self.set_text(path, &text, Layer::Environment(name));
                }
            } else if name.starts_with(PREFIX) {
                prefixed.insert(name, text);
            }
        }
        for (name, text) in prefixed {
            let path = name.trim_start_matches(PREFIX).to_ascii_lowercase().replace("__", ".");
            if settings::find(&path).is_some() {
                self.set_text(&path, &text, Layer::Environment(name));
            } else {
                let nearest = settings::nearest(&path).map(variable);
                let layer = Layer::Environment(name.clone());
                self.errors.push(ConfigError::Unknown {
                    layer,
                    key: path,
                    nearest,
                });
            }
        }
    }

    pub fn flag(&mut self, path: &str, text: &str, flag: &'static str) {
        self.set_text(path, text, Layer::Flag(flag));
    }

    fn set_text(&mut self, path: &str, text: &str, layer: Layer) {
        if let Some(setting) = settings::find(path) {
            self.set(path, setting.kind.read(text), layer);
        }
    }

    fn set(&mut self, path: &str, value: Value, layer: Layer) {
        let Some(setting) = settings::find(path) else { return };
        if !setting.kind.accepts(&value) {
            let (key, expected) = (setting.path.to_owned(), setting.kind.expected());
            return self.errors.push(ConfigError::Invalid { layer, key, expected });
        }
        if empty_is_absent(setting) && value.as_str() == Some("") {
            self.values.remove(setting.path);
        } else {
            self.values.insert(setting.path, (value, layer));
        }
    }

    /// The values as one tree, for serde.
    pub fn tree(&self) -> Table {
        let mut tree = Table::new();
        for (path, (value, _)) in &self.values {
            match path.split_once('.') {
                None => {
                    tree.insert((*path).to_owned(), value.clone());
                }
                Some((section, key)) => {
                    let inner = tree
                        .entry(section.to_owned())
                        .or_insert_with(|| Value::Table(Table::new()));
                    if let Value::Table(inner) = inner {
                        inner.insert(key.to_owned(), value.clone());
                    }
                }
            }
        }
        tree
    }
}

/// Settings that may be unset again by a higher layer with an empty text.
fn empty_is_absent(setting: &Setting) -> bool {
    matches!(setting.kind, Kind::Secret | Kind::Url) || setting.path.starts_with("keys.")
}

fn join(section: &str, key: &str) -> String {
    if section.is_empty() {
        key.to_owned()
    } else {
        format!("{section}.{key}")
    }
}

fn variable(path: &str) -> String {
    format!("{PREFIX}{}", path.to_ascii_uppercase().replace('.', "__"))
}
