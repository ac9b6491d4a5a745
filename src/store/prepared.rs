//! A unit that is ready to be appended: everything one command wants to write, or nothing of it.

use std::collections::HashSet;

use aggregates::values::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::AnyEvent;
use crate::keys::NewDataKey;

/// One event, sealed and ready, with its plain form for the folds.
#[derive(Debug, Clone)]
pub struct StagedEvent {
    /// Its id.
    pub event_id: Uuid,
    /// What happened, plain.
    pub event: AnyEvent,
    /// What happened, as stored.
    pub payload: String,
    /// Who and from where, as stored.
    pub metadata: String,
    /// Whom it is about.
    pub subject: String,
    /// The caller's address, plain, for the folds.
    pub ip: Option<String>,
    /// The caller's program, plain, for the folds.
    pub user_agent: Option<String>,
}

/// The events one unit adds to one stream.
#[derive(Debug, Clone)]
pub struct StagedStream {
    /// Kind of the stream.
    pub aggregate_type: &'static str,
    /// The stream.
    pub aggregate_id: String,
    /// The number of events it had when the command was decided.
    pub expected: i64,
    /// What is added.
    pub events: Vec<StagedEvent>,
}

/// A stream that a unit relied on without adding to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// Kind of the stream.
    pub aggregate_type: &'static str,
    /// The stream.
    pub aggregate_id: String,
    /// The number of events it had; 0: there was no such stream.
    pub version: i64,
}

/// A password hash to keep.
#[derive(Clone)]
pub struct Credential {
    /// Whose.
    pub user_id: Uuid,
    /// Its number.
    pub version: i64,
    /// The PHC string.
    pub hash: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credential({}, {})", self.user_id, self.version)
    }
}

/// Which kind of secret a hash in `secrets` is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SecretKind {
    /// A refresh token.
    Refresh,
    /// An API key.
    ApiKey,
    /// A dialect's opaque token.
    Opaque,
    /// A device's secret.
    Device,
    /// A domain's authority token.
    Authority,
    /// The short form of an authority token. Its owner is `short:` and the domain, so that it outlives the token: who
    /// holds one that was replaced is still told whose it was.
    ShortAuthority,
    /// An API key that has a client secret.
    PairedKey,
    /// That secret.
    ClientSecret,
}

impl SecretKind {
    /// Its name in the table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refresh => "refresh",
            Self::ApiKey => "api_key",
            Self::Opaque => "opaque",
            Self::Device => "device",
            Self::Authority => "authority",
            Self::ShortAuthority => "short_authority",
            Self::PairedKey => "paired_key",
            Self::ClientSecret => "client_secret",
        }
    }
}

/// The hash of a secret to keep.
#[derive(Debug, Clone)]
pub struct Secret {
    /// What it is of.
    pub kind: SecretKind,
    /// SHA-256 of the secret.
    pub hash: [u8; 32],
    /// The session, key or domain it opens.
    pub owner: String,
    /// The account behind it.
    pub user_id: Option<Uuid>,
    /// Which refresh token of its session.
    pub generation: i64,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
}

/// A one-time code to keep until it is used.
#[derive(Debug, Clone)]
pub struct Code {
    /// verify-phone or reset-password.
    pub purpose: &'static str,
    /// Keyed HMAC of the code.
    pub value: [u8; 32],
    /// The event that asked for it.
    pub request_id: Uuid,
    /// Whose.
    pub user_id: Uuid,
    /// When it stops working.
    pub expires_at: Timestamp,
    /// The code for the SMS follower, sealed.
    pub sealed: Vec<u8>,
}

/// Where the last message to somebody goes whose keys are destroyed with this unit.
///
/// It is the one thing personal that outlives an erasure: for as long as it takes to send that message, a day at
/// most, sealed under a key that is derived and stands in no table.
#[derive(Debug, Clone)]
pub struct Farewell {
    /// Who is erased.
    pub user_id: Uuid,
    /// Their address, sealed.
    pub sealed: Vec<u8>,
    /// When it is thrown away, sent or not.
    pub expires_at: Timestamp,
}

/// What a command answers; also what an idempotency key remembers. It holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The stream that answers.
    pub id: String,
    /// The number of events in it.
    pub version: i64,
    /// The log position of the command's last event in it.
    pub position: i64,
    /// The types of the events the command added to it.
    pub events: Vec<String>,
    /// Whether the command created the stream.
    pub created: bool,
}

impl Receipt {
    /// The receipt of a command that concerned no stream.
    #[must_use]
    pub const fn nothing() -> Self {
        Self {
            id: String::new(),
            version: 0,
            position: 0,
            events: Vec::new(),
            created: false,
        }
    }
}

/// A remembered key: the next request with it gets the same receipt.
#[derive(Debug, Clone)]
pub struct Idempotency {
    /// Who sent it.
    pub caller: String,
    /// SHA-256 of the key.
    pub key_hash: [u8; 32],
    /// Keyed HMAC of the request.
    pub request_hash: [u8; 32],
    /// When it is forgotten.
    pub expires_at: Timestamp,
}

/// Everything one command wants to write.
#[derive(Debug, Clone, Default)]
pub struct Prepared {
    /// The streams it adds to; the first one answers.
    pub streams: Vec<StagedStream>,
    /// The streams it relied on.
    pub guards: Vec<Guard>,
    /// Password hashes to keep.
    pub credentials: Vec<Credential>,
    /// Secrets to keep.
    pub secrets: Vec<Secret>,
    /// Owners whose secrets go.
    pub drop_secrets: Vec<String>,
    /// Codes to keep. A newer one of the same purpose and user replaces older ones.
    pub codes: Vec<Code>,
    /// Codes that were used, by request.
    pub drop_codes: Vec<Uuid>,
    /// Last messages to those whom it erases.
    pub farewells: Vec<Farewell>,
    /// Data keys it was the first to need.
    pub new_keys: Vec<NewDataKey>,
    /// Data keys that go, by subject and scope.
    pub destroy_keys: Vec<(String, String)>,
    /// The key to remember.
    pub idempotency: Option<Idempotency>,
    /// What to answer when there is nothing to append.
    pub unchanged: Option<Receipt>,
}

impl Prepared {
    /// What no two units of one batch may share: streams, subjects, new keys, codes and the idempotency key.
    pub(super) fn touches(&self) -> HashSet<(u8, &str, &[u8])> {
        let mut touched = HashSet::new();
        for stream in &self.streams {
            touched.insert((0, stream.aggregate_type, stream.aggregate_id.as_bytes()));
            for event in &stream.events {
                touched.insert((1, event.subject.as_str(), [].as_slice()));
            }
        }
        for key in &self.new_keys {
            touched.insert((1, key.subject.as_str(), [].as_slice()));
        }
        for code in &self.codes {
            touched.insert((3, code.purpose, code.value.as_slice()));
        }
        if let Some(key) = &self.idempotency {
            touched.insert((2, key.caller.as_str(), key.key_hash.as_slice()));
        }
        touched
    }

    /// The size of what it adds to the log, bytes.
    pub(super) fn bytes(&self) -> usize {
        let events = self.streams.iter().flat_map(|stream| &stream.events);
        events.map(|staged| staged.payload.len() + staged.metadata.len()).sum()
    }

    /// The number of events it adds.
    pub(super) fn len(&self) -> usize {
        self.streams.iter().map(|stream| stream.events.len()).sum()
    }
}

/// What became of a unit that was appended.
#[derive(Debug, Clone)]
pub struct Appended {
    /// The receipt of the stream that answers.
    pub receipt: Receipt,
    /// When it was recorded.
    pub recorded_at: Timestamp,
}
