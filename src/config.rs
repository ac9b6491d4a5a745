//! The configuration: one struct per section, filled from defaults, one TOML file, the
//! environment and flags, each over the one before.
//!
//! Every mistake is found before the program starts, and all are told at once. What a setting
//! does is decided where it is used; nothing here acts.

mod dialects;
mod error;
mod layers;
mod network;
mod queue;
mod secret;
mod sections;
mod settings;
mod show;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use self::dialects::{Agstack, Cadasta, Taxi, Xhoppe};
pub use self::error::{ConfigError, ConfigErrors, Layer};
use self::layers::Layers;
pub use self::network::{InvalidNetwork, Network};
pub use self::queue::{InvalidQueue, Queue, QueueKind};
pub use self::secret::{REDACTED, Secret};
pub use self::sections::{
    Amqp, AmqpMode, DomainDefault, Domains, Feed, Followers, Http, Keys, Limits, Log, LogFormat, Mail, Notary,
    Passwords, Registration, Sms, Store, Tokens,
};

/// Everything an operator may set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The address under which clients reach the service; links in mails begin with it, without a
    /// trailing slash. Default none: the address it listens on.
    pub public_url: Option<String>,
    /// Folder of the embedded store, the keys and the outbox. Default `./data`.
    pub data_dir: PathBuf,
    /// `postgres://…`; without one, `SQLite` under `data_dir`. Default none.
    pub database_url: Option<Secret>,
    /// `amqp://…`; without one, nothing is published. Default none.
    pub amqp_url: Option<Secret>,
    /// The listener.
    pub http: Http,
    /// Rate limits.
    pub limits: Limits,
    /// Registration.
    pub registration: Registration,
    /// E-mail domains.
    pub domains: Domains,
    /// Tokens.
    pub tokens: Tokens,
    /// Passwords.
    pub passwords: Passwords,
    /// The master key.
    pub keys: Keys,
    /// Mail.
    pub mail: Mail,
    /// Text messages.
    pub sms: Sms,
    /// The broker.
    pub amqp: Amqp,
    /// The store.
    pub store: Store,
    /// Followers.
    pub followers: Followers,
    /// The feed.
    pub feed: Feed,
    /// The signed heads of the log.
    pub notary: Notary,
    /// Logging.
    pub log: Log,
    /// The `AgStack` dialect.
    pub agstack: Agstack,
    /// The Cadasta dialect.
    pub cadasta: Cadasta,
    /// The Xhoppe dialect.
    pub xhoppe: Xhoppe,
    /// The Taxi dialect.
    pub taxi: Taxi,
    #[serde(skip)]
    pub(crate) origins: BTreeMap<&'static str, Layer>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            public_url: None,
            data_dir: PathBuf::from("./data"),
            database_url: None,
            amqp_url: None,
            http: Http::default(),
            limits: Limits::default(),
            registration: Registration::default(),
            domains: Domains::default(),
            tokens: Tokens::default(),
            passwords: Passwords::default(),
            keys: Keys::default(),
            mail: Mail::default(),
            sms: Sms::default(),
            amqp: Amqp::default(),
            store: Store::default(),
            followers: Followers::default(),
            feed: Feed::default(),
            notary: Notary::default(),
            log: Log::default(),
            agstack: Agstack::default(),
            cadasta: Cadasta::default(),
            xhoppe: Xhoppe::default(),
            taxi: Taxi::default(),
            origins: BTreeMap::new(),
        }
    }
}

/// What the command line sets.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--listen`
    pub listen: Option<String>,
    /// `--data-dir`
    pub data_dir: Option<PathBuf>,
    /// `--database-url`
    pub database_url: Option<Secret>,
    /// `--amqp-url`
    pub amqp_url: Option<Secret>,
}

impl Config {
    /// Defaults, then the file, then the environment, then flags.
    pub fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
        flags: &Overrides,
    ) -> Result<Self, ConfigErrors> {
        let mut layers = Layers::default();
        if let Some(path) = file {
            layers.file(path);
        }
        layers.environment(environment);
        let data_dir = flags.data_dir.as_ref().map(|path| path.to_string_lossy());
        for (path, text, flag) in [
            ("http.listen", flags.listen.as_deref(), "--listen"),
            ("data_dir", data_dir.as_deref(), "--data-dir"),
            (
                "database_url",
                flags.database_url.as_ref().map(Secret::expose),
                "--database-url",
            ),
            ("amqp_url", flags.amqp_url.as_ref().map(Secret::expose), "--amqp-url"),
        ] {
            if let Some(text) = text {
                layers.flag(path, text, flag);
            }
        }
        let mut config = Self::from_layers(layers)?;
        if let Some(path) = &flags.data_dir {
            // Bytes that are no text survive only outside the tree.
            config.data_dir.clone_from(path);
        }
        Ok(config)
    }

    fn from_layers(mut layers: Layers) -> Result<Self, ConfigErrors> {
        let mut config = Self::deserialize(layers.tree()).unwrap_or_else(|error| {
            layers.errors.push(ConfigError::Together(error.message().to_owned()));
            Self::default()
        });
        layers.errors.extend(config.contradictions());
        if !layers.errors.is_empty() {
            return Err(ConfigErrors(layers.errors));
        }
        config.public_url = config.public_url.map(|url| url.trim_end_matches('/').to_owned());
        config.origins = layers.values.into_iter().map(|(path, (_, by))| (path, by)).collect();
        Ok(config)
    }

    fn contradictions(&self) -> impl Iterator<Item = ConfigError> {
        let keys = &self.keys;
        let masters = [
            keys.master.is_some(),
            keys.master_file.is_some(),
            keys.master_command.is_some(),
        ];
        let several = masters.iter().filter(|set| **set).count() > 1;
        [
            several.then_some("only one of `keys.master`, `keys.master_file` and `keys.master_command` may be set"),
            (!self.passwords.strong_enough()).then_some(
                "`passwords` is too weak: at least memory_kib 19456 with iterations 2, \
                 or memory_kib 47104 with iterations 1",
            ),
            (self.tokens.refresh_idle_days > self.tokens.refresh_days)
                .then_some("`tokens.refresh_idle_days` exceeds `tokens.refresh_days`"),
            self.tokens.issuer.is_empty().then_some("`tokens.issuer` is empty"),
            (self.http.boundary_body_bytes < self.http.body_bytes)
                .then_some("`http.boundary_body_bytes` is below `http.body_bytes`"),
            self.amqp.exchange.is_empty().then_some("`amqp.exchange` is empty"),
            (self.amqp.exchange == self.amqp.pii_exchange)
                .then_some("`amqp.pii_exchange` may not be the public exchange"),
            self.amqp
                .replay_exchange
                .is_empty()
                .then_some("`amqp.replay_exchange` is empty"),
            (self.amqp.replay_exchange == self.amqp.exchange || self.amqp.replay_exchange == self.amqp.pii_exchange)
                .then_some("`amqp.replay_exchange` may not be one of the other exchanges"),
            (!self.amqp.alternate_exchange.is_empty()
                && [&self.amqp.exchange, &self.amqp.pii_exchange, &self.amqp.replay_exchange]
                    .contains(&&self.amqp.alternate_exchange))
            .then_some("`amqp.alternate_exchange` may not be one of the other exchanges"),
            (self.amqp.pii_exchange.is_empty() && !self.amqp.pii_queues.is_empty())
                .then_some("`amqp.pii_queues` is set without `amqp.pii_exchange`"),
            (self.agstack.push_tokens && self.agstack.asset_registry_url.is_none()).then_some(
                "`agstack.push_tokens` is set without `agstack.asset_registry_url`: where to push is not said",
            ),
        ]
        .into_iter()
        .flatten()
        .map(|text| ConfigError::Together(text.to_owned()))
    }
}
