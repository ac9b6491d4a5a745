//! Use cases: look up, hash, read the clock, give one command, append.
//!
//! A use case knows no wire format; a dialect knows no rule. Everything that two dialects share stands here.

mod accounts;
mod activation;
mod addresses;
mod administration;
mod alike;
mod api_keys;
mod authority;
mod by_code;
mod codes;
mod command;
mod contacts;
mod countries;
mod current;
mod customs;
mod details;
mod devices;
mod domain_proofs;
mod domains;
mod erasure;
mod farewell;
mod history;
mod limits;
mod links;
mod login;
mod older;
mod opaque;
mod overview;
mod pairs;
mod past;
mod proofs;
mod recovery;
mod refusal;
mod register;
mod reset;
mod seed;
mod sessions;
mod shared;
mod sim;
mod strict;
mod token_keys;
mod upkeep;

use std::sync::Arc;

use aggregates::values::DefaultRule;

pub use accounts::NewPassword;
pub use activation::{Activation, Resent};
pub use administration::Administration;
pub use api_keys::{IssuedKey, KeyHolder, NewApiKey};
pub use authority::{Authority, Authorized, IssuedAuthority};
pub use by_code::{ByCode, CodeOf, CodeRefusal};
pub use codes::CodePurpose;
pub use command::{Asked, Caller, Who};
pub use countries::country_at;
pub use details::{Changed, Details};
pub use devices::{DeviceProof, NewDevice};
pub use domain_proofs::ProofRecord;
pub use domains::DomainView;
pub use history::{HistoryEntry, HistoryPage};
pub use limits::NoticeRules;
pub use links::{LinkToken, Purpose};
pub use login::{Denial, Identifier, SignedIn, Tokens};
pub use older::AccountChange;
pub use opaque::{Bearer, Keyed};
pub use overview::{Statistics, StatisticsPeriod};
pub use past::PastUser;
pub use proofs::{Inclusion, NotaryKeyView};
pub use recovery::RecoveryError;
pub use refusal::Refusal;
pub use register::Registration;
pub use reset::{Contact, ResetProof};
pub use seed::{Seed, SeedError, Seeded};
pub use shared::{SharedBearer, SharedDenial, SharedPair, SharedWant, is_activated};
pub use sim::SimDelay;
pub use token_keys::{SigningKeyView, SigningState, signing_states};

pub use crate::store::{PlatformFilter, PlatformOrder};

use crate::cache::Cache;
use crate::config::{Config, DomainDefault};
use crate::dns::Dns;
use crate::passwords::{Hasher, HasherError};
use crate::store::Store;
use crate::tokens::{KeyError, SharedKey};
use token_keys::LiveTokenKeys;
use tokio_util::task::TaskTracker;

/// Microseconds of a second, an hour and a day.
pub(crate) const SECOND: i64 = 1_000_000;
pub(crate) const HOUR: i64 = 3_600 * SECOND;
pub(crate) const DAY: i64 = 24 * HOUR;

/// How many verified signatures are remembered.
const SIGNATURES: u64 = 20_000;

/// How many API keys' last uses are remembered.
const KEYS: u64 = 10_000;

/// The use cases, over one store.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    hasher: Hasher,
    token_keys: LiveTokenKeys,
    rules: Rules,
    dns: Dns,
    queues: command::Queues,
    tasks: TaskTracker,
    /// The key of tokens that peers read too, where there are any.
    shared: std::sync::OnceLock<SharedKey>,
    /// The minute in which each API key was last noted as used.
    key_uses: Cache<i64>,
}

/// What the configuration says about the use cases.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// What holds for a domain without a rule.
    pub domains: DefaultRule,
    /// How long an access token works, microseconds.
    pub access_life: i64,
    /// How long a refresh token works unused, microseconds.
    pub idle: i64,
    /// How long a session lives, microseconds.
    pub session_life: i64,
    /// How long a pair of keys works, microseconds; none: until the next one is made.
    pub client_secret_life: Option<i64>,
    /// What each API's contract asks.
    pub customs: customs::AllCustoms,
    /// Messages and tries.
    pub messages: limits::MessageRules,
}

/// Why the use cases cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Hashing.
    #[error(transparent)]
    Hasher(#[from] HasherError),
    /// Signing keys.
    #[error("the signing key of the store cannot be used")]
    Key,
}

impl From<KeyError> for SetupError {
    fn from(_: KeyError) -> Self {
        Self::Key
    }
}

impl Registry {
    /// The use cases over a store. `tasks` holds what goes on after an answer, so that a stop waits for it.
    pub fn new(store: Store, config: &Config, tasks: TaskTracker) -> Result<Self, SetupError> {
        let unverified_life = i64::from(config.registration.unverified_hours) * HOUR;
        let session_life = i64::from(config.tokens.refresh_days) * DAY;
        let rules = Rules {
            domains: match config.domains.default {
                DomainDefault::Allow => DefaultRule::Allow,
                DomainDefault::Block => DefaultRule::Block,
            },
            access_life: i64::from(config.tokens.access_seconds) * SECOND,
            idle: i64::from(config.tokens.refresh_idle_days) * DAY,
            session_life,
            client_secret_life: config.agstack.client_secret_days.map(|days| i64::from(days) * DAY),
            customs: customs::AllCustoms::new(config, unverified_life, session_life),
            messages: limits::MessageRules {
                limited: config.limits.enabled,
                countries: config.sms.countries.clone(),
                daily_budget: config.sms.daily_budget,
                sim_delay: SimDelay::hours(config.xhoppe.recovery_delay_after_sim_change),
            },
        };
        Ok(Self {
            inner: Arc::new(Inner {
                hasher: Hasher::new(&config.passwords, store.chance().clone())?,
                token_keys: LiveTokenKeys::new(&config.tokens.issuer, &store)?,
                store,
                rules,
                dns: Dns::new(config.domains.resolvers.clone()),
                queues: command::Queues::new(),
                tasks,
                shared: std::sync::OnceLock::new(),
                key_uses: Cache::new(KEYS),
            }),
        })
    }

    /// The store underneath.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.inner.rules
    }

    fn queues(&self) -> &command::Queues {
        &self.inner.queues
    }

    fn dns(&self) -> &Dns {
        &self.inner.dns
    }

    pub(crate) fn hasher(&self) -> &Hasher {
        &self.inner.hasher
    }
}
