//! What each setting means and what it is when nobody sets it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Network, Secret};

/// Section `http`: the listener and what a request may cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Address and port to listen on; port 0 takes any free one. Default `127.0.0.1:8080`.
    pub listen: SocketAddr,
    /// Peers whose `X-Forwarded-For` is believed. Default none.
    pub trusted_proxies: Vec<Network>,
    /// Who may read `/metrics`: its counters tell what a single request did. Default this machine and private networks.
    pub metrics_networks: Vec<Network>,
    /// Origins whose pages may call from a browser. Default none.
    pub cors_origins: Vec<String>,
    /// Largest request body. Default 16 KiB.
    pub body_bytes: usize,
    /// Largest request body where a boundary may stand. Default 1 MiB.
    pub boundary_body_bytes: usize,
    /// Largest sum of request headers. Default 64 KiB.
    pub header_bytes: usize,
    /// Most request headers. Default 100.
    pub headers: usize,
    /// Longest request address. Default 4 KiB.
    pub uri_bytes: usize,
    /// Time within which a request's head must be complete. Default 5 s.
    pub header_ms: u64,
    /// Time within which a request's body must be complete. Default 10 s.
    pub body_ms: u64,
    /// Time a connection may stay silent between requests. Default 30 s.
    pub idle_ms: u64,
    /// Most connections at once. Default 1,024.
    pub connections: usize,
    /// Most connections at once from one address (IPv6: one /64). Default 64.
    pub connections_per_ip: usize,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            trusted_proxies: Vec::new(),
            metrics_networks: Network::loopback().into_iter().chain(Network::private()).collect(),
            cors_origins: Vec::new(),
            body_bytes: 16 << 10,
            boundary_body_bytes: 1 << 20,
            header_bytes: 64 << 10,
            headers: 100,
            uri_bytes: 4 << 10,
            header_ms: 5_000,
            body_ms: 10_000,
            idle_ms: 30_000,
            connections: 1_024,
            connections_per_ip: 64,
        }
    }
}

/// Section `limits`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Whether rate and connection limits hold. The rules about tries per code and per token
    /// always do. Default true.
    pub enabled: bool,
    /// Requests of one address (IPv6: one /64) that have no limit of their own. Default 1,200.
    pub requests_per_minute: u32,
    /// Requests of one account. Default 1,200.
    pub account_requests_per_minute: u32,
    /// Sign-ins of one address. Default 60.
    pub sign_ins_per_minute: u32,
    /// Registrations of one address. Default 120.
    pub registrations_per_hour: u32,
    /// Registrations of one address through the Taxi dialect, whose answers say which names are taken. Default 20.
    pub customers_per_hour: u32,
    /// Requests of one address that send a message. Default 60.
    pub messages_per_hour: u32,
    /// Links, codes and refresh tokens of one address. Default 120.
    pub secrets_per_minute: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            enabled: true,
            requests_per_minute: 1_200,
            account_requests_per_minute: 1_200,
            sign_ins_per_minute: 60,
            registrations_per_hour: 120,
            customers_per_hour: 20,
            messages_per_hour: 60,
            secrets_per_minute: 120,
        }
    }
}

/// Section `registration`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Registration {
    /// Whether a taken address is answered like a fresh one. Default false.
    pub strict: bool,
    /// Whether anyone may ask if an address may register. Default false.
    pub public_check: bool,
    /// Life of an account nobody verified, in hours. Default 24.
    pub unverified_hours: u32,
}

impl Default for Registration {
    fn default() -> Self {
        Self {
            strict: false,
            public_check: false,
            unverified_hours: 24,
        }
    }
}

/// Section `domains`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Domains {
    /// What holds for a domain without a rule. Default `allow`.
    pub default: DomainDefault,
    /// The DNS servers that are asked for the proof of a domain. Default none: those of the system.
    pub resolvers: Vec<SocketAddr>,
}

/// What holds for a domain without a rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DomainDefault {
    /// It may register.
    #[default]
    Allow,
    /// It may not register.
    Block,
}

/// Section `tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tokens {
    /// The `iss` of access tokens. Default `user-registry`.
    pub issuer: String,
    /// Life of an access token. Default and most 600.
    pub access_seconds: u32,
    /// Life of a refresh token nobody uses. Default 7.
    pub refresh_idle_days: u32,
    /// Life of a session. Default 30.
    pub refresh_days: u32,
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            issuer: "user-registry".into(),
            access_seconds: 600,
            refresh_idle_days: 7,
            refresh_days: 30,
        }
    }
}

/// Section `passwords`: the canonical rule and the price of a hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Passwords {
    /// Least length in code points. Default and least 8.
    pub min_length: usize,
    /// Memory of one argon2id hash. Default 19,456.
    pub memory_kib: u32,
    /// Passes of one argon2id hash. Default 2.
    pub iterations: u32,
    /// Lanes of one argon2id hash. Default 1.
    pub parallelism: u32,
    /// Hashing threads; 0 means as many as there are cores. Default 0.
    pub threads: usize,
    /// Most callers who wait for a hashing thread. Default 32.
    pub queue: usize,
    /// Longest wait for a hashing thread. Default 2,000.
    pub wait_ms: u64,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            min_length: 8,
            memory_kib: 19_456,
            iterations: 2,
            parallelism: 1,
            threads: 0,
            queue: 32,
            wait_ms: 2_000,
        }
    }
}

impl Passwords {
    /// Whether one hash costs at least what OWASP asks for: 19 MiB in two passes or 46 MiB in one.
    #[must_use]
    pub fn strong_enough(&self) -> bool {
        self.memory_kib >= 47_104 || (self.memory_kib >= 19_456 && self.iterations >= 2)
    }
}

/// Section `keys`: where the master key comes from. At most one may be set; with none, the
/// embedded store makes a file under `data_dir`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keys {
    /// The key itself, as text. Default none.
    pub master: Option<Secret>,
    /// A file that holds it. Default none.
    pub master_file: Option<PathBuf>,
    /// A command that prints it. Default none.
    pub master_command: Option<String>,
    /// A file with the key that will be the next master, or was the one before. Default none.
    pub standby_file: Option<PathBuf>,
}

/// Section `mail`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mail {
    /// The mail server; without one, mails go to the outbox folder. Default none.
    pub smtp_url: Option<Secret>,
    /// The sender of every mail. Default `registry@localhost`.
    pub from: String,
    /// A folder of texts that replace those of the program, short messages included. Default none.
    pub templates: Option<PathBuf>,
    /// How long the mail server may take for one answer. Default 10,000.
    pub timeout_ms: u64,
    /// The pause after the first attempt that a mail server did not take; each later one is twice as long, up to an
    /// hour. Default 30,000.
    pub retry_ms: u64,
    /// After so many attempts a mail is given up. Default 40: about a day and a half.
    pub attempts: u32,
}

impl Default for Mail {
    fn default() -> Self {
        Self {
            smtp_url: None,
            from: "registry@localhost".into(),
            templates: None,
            timeout_ms: 10_000,
            retry_ms: 30_000,
            attempts: 40,
        }
    }
}

/// Section `sms`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sms {
    /// The gateway; without one, messages go to the outbox folder. A secret, because such
    /// addresses carry credentials. Default none.
    pub gateway_url: Option<Secret>,
    /// What the gateway is sent as `Authorization: Bearer`. Default none.
    pub gateway_token: Option<Secret>,
    /// How long the gateway may take for an answer. Default 10,000.
    pub timeout_ms: u64,
    /// The pause after the first attempt that the gateway did not take; each later one is twice as long. Default 5,000.
    pub retry_ms: u64,
    /// After so many attempts a message is given up. Default 10; a code lapses after ten minutes anyway.
    pub attempts: u32,
    /// Where messages may go: beginnings of numbers such as `+49`, or `+1876` for a part of a country code. Default
    /// none: anywhere.
    pub countries: Vec<String>,
    /// Most messages on one day, by UTC, of all replicas together. Default 1,000.
    pub daily_budget: u32,
}

impl Default for Sms {
    fn default() -> Self {
        Self {
            gateway_url: None,
            gateway_token: None,
            timeout_ms: 10_000,
            retry_ms: 5_000,
            attempts: 10,
            countries: Vec::new(),
            daily_budget: 1_000,
        }
    }
}

/// Section `amqp`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Amqp {
    /// Exchange of the public events. Default `registry.events`.
    pub exchange: String,
    /// Exchange of the events with personal data; empty means none. Default empty.
    pub pii_exchange: String,
    /// Exchange of what `publish` publishes again. Default `registry.replay`.
    pub replay_exchange: String,
    /// Exchange that messages go to which no queue takes; empty means none. Default empty: an exchange that has one must
    /// be declared with it by everybody who declares it.
    pub alternate_exchange: String,
    /// Whether a message is a `CloudEvent` in its headers or in its body. Default `binary`.
    pub mode: AmqpMode,
    /// Queues to declare and bind to the public exchange, each as `name[:quorum|:classic|:stream] pattern…`. Default none.
    pub queues: Vec<String>,
    /// The same for the exchange with personal data. Default none.
    pub pii_queues: Vec<String>,
    /// How many messages may be unconfirmed at a time. Default 1,000.
    pub window: usize,
    /// How long the broker may take for one answer. Default 10,000.
    pub timeout_ms: u64,
    /// The pause after the first failure; each later one is twice as long, up to the longest. Default 500.
    pub retry_ms: u64,
    /// The longest pause. Default 10,000.
    pub longest_retry_ms: u64,
    /// Certificates (PEM) to trust beside those of the system. Default none.
    pub ca_file: Option<PathBuf>,
}

/// Where in a message its `CloudEvent` is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AmqpMode {
    /// The attributes in headers, the data as the body.
    #[default]
    Binary,
    /// The whole as the body.
    Structured,
}

impl Default for Amqp {
    fn default() -> Self {
        Self {
            exchange: "registry.events".into(),
            pii_exchange: String::new(),
            replay_exchange: "registry.replay".into(),
            alternate_exchange: String::new(),
            mode: AmqpMode::default(),
            queues: Vec::new(),
            pii_queues: Vec::new(),
            window: 1_000,
            timeout_ms: 10_000,
            retry_ms: 500,
            longest_retry_ms: 10_000,
            ca_file: None,
        }
    }
}

/// Section `store`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// Most connections to `PostgreSQL`. Default 16.
    pub connections: u32,
    /// Most reading connections to `SQLite`. Default 8.
    pub readers: u32,
    /// Aggregates kept in memory. Default 20,000.
    pub cache_entries: u64,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            connections: 16,
            readers: 8,
            cache_entries: 20_000,
        }
    }
}

/// Section `followers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Followers {
    /// Whether this process takes leases. Default true.
    pub enabled: bool,
    /// How long a lease holds without renewal. Default 6: another process goes on within ten seconds.
    pub lease_seconds: u32,
    /// How often to look for events of another process, in milliseconds, 10 to 200. Default 200.
    pub poll_ms: u64,
}

impl Default for Followers {
    fn default() -> Self {
        Self {
            enabled: true,
            lease_seconds: 6,
            poll_ms: 200,
        }
    }
}

/// Section `feed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Feed {
    /// Most streams of one caller at a time in this process: of a person, or of one API key. Holds while
    /// `limits.enabled` does. Default 32.
    pub streams_per_caller: usize,
}

impl Default for Feed {
    fn default() -> Self {
        Self { streams_per_caller: 32 }
    }
}

/// Section `log`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// How a line is written. Default `text`.
    pub format: LogFormat,
    /// Which lines are written; `RUST_LOG` sets this too. Default `info`.
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            level: "info".into(),
        }
    }
}

/// How a log line is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}

/// Section `notary`: the signed heads of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Notary {
    /// The folder of the copies outside the database. Default `notary` under `data_dir`.
    pub folder: Option<PathBuf>,
    /// A second such folder, best on another machine. Default none.
    pub second_folder: Option<PathBuf>,
    /// Longest time until a new event is covered by a signed head. Default 2,000.
    pub every_ms: u64,
    /// After so many events a head is signed at once. Default 1,000.
    pub events: u32,
}

impl Default for Notary {
    fn default() -> Self {
        Self {
            folder: None,
            second_folder: None,
            every_ms: 2_000,
            events: 1_000,
        }
    }
}
