//! What is wrong with a configuration. No message ever repeats a value: it may be a secret.

use std::fmt;
use std::path::PathBuf;

/// Who set a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layer {
    /// Nobody: what this program comes with.
    Default,
    /// The file, and the line in it.
    File(PathBuf, usize),
    /// The environment variable of this name.
    Environment(String),
    /// The command-line flag of this name.
    Flag(&'static str),
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{path}: {reason}", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The file is no TOML.
    #[error("{layer}: {reason}")]
    Syntax {
        /// Where.
        layer: Layer,
        /// What the parser said, without the text it read.
        reason: String,
    },
    /// A name that means nothing here.
    #[error("{layer}: unknown setting `{key}`{}", suggestion(.nearest.as_deref()))]
    Unknown {
        /// Where.
        layer: Layer,
        /// The name as written.
        key: String,
        /// The known name most like it, in the words of that layer.
        nearest: Option<String>,
    },
    /// A value that cannot stand there.
    #[error("{layer}: `{key}` must be {expected}")]
    Invalid {
        /// Where.
        layer: Layer,
        /// The setting.
        key: String,
        /// What should stand there.
        expected: String,
    },
    /// Settings that are each fine but not together.
    #[error("{0}")]
    Together(String),
}

impl ConfigError {
    /// Its line, if it stands in a file.
    pub(super) fn line(&self) -> Option<usize> {
        match self {
            Self::Syntax { layer, .. } | Self::Unknown { layer, .. } | Self::Invalid { layer, .. } => match layer {
                Layer::File(_, line) => Some(*line),
                _ => None,
            },
            Self::Unreadable { .. } | Self::Together(_) => None,
        }
    }
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!(", did you mean `{name}`?"))
}

/// Every mistake at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration does not hold:")?;
        self.0.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

impl std::error::Error for ConfigErrors {}
