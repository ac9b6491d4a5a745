//! Reading: rows, secrets and events. The statements are the same on both engines.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;

use aggregates::values::{StandingKind, Timestamp};
use cqrs_es::EventEnvelope;
use cqrs_es::persist::{PersistedEventRepository as _, SerializedEvent};
use projections::{DomainRow, NameKind, SessionRow, Status, UserRow};
use serde_json::{Map, Value};
use sqlx::Row as _;
use uuid::Uuid;

use super::engine::{Engine, on_pool};
use super::event::{open, sealed_fields};
use super::plan::Head;
use super::prepared::{Idempotency, Receipt, SecretKind};
use super::rows::{DOMAINS, Read, SESSIONS, USERS};
use super::stream::weight;
use super::{AnyEvent, AnyState, Kept, Row, Store, StoreError, Stream, Until};
use crate::cache;
use crate::keys::{DataKey, Seal, SealError};

/// Binds a list's values to a query of either engine.
macro_rules! bind_all {
    ($query:expr, $values:expr) => {{
        let mut query = $query;
        for value in &$values {
            query = match value {
                Bound::Text(text) => query.bind(text.as_str()),
                Bound::Number(number) => query.bind(*number),
            };
        }
        query
    }};
}
pub(super) use bind_all;

/// The events of a stream after one of them.
const STREAM_AFTER: &str = "SELECT aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata \
     FROM events WHERE aggregate_type = $1 AND aggregate_id = $2 AND sequence > $3 ORDER BY sequence";

/// Reads a row of [`STREAM_AFTER`] of either engine.
macro_rules! serialized {
    ($row:expr) => {
        SerializedEvent::new(
            $row.try_get("aggregate_id")?,
            usize::try_from($row.try_get::<i64, _>("sequence")?).unwrap_or_default(),
            $row.try_get("aggregate_type")?,
            $row.try_get("event_type")?,
            $row.try_get("event_version")?,
            $row.try_get("payload")?,
            $row.try_get("metadata")?,
        )
    };
}

/// Reads a row of the log of either engine. PostgreSQL gives `json` as the text it was given.
macro_rules! record {
    ($row:expr) => {{
        let row = $row;
        (|| -> Result<EventRecord, sqlx::Error> {
            Ok(EventRecord {
                aggregate_type: row.try_get("aggregate_type")?,
                aggregate_id: row.try_get("aggregate_id")?,
                sequence: row.try_get("sequence")?,
                event_type: row.try_get("event_type")?,
                event_version: row.try_get("event_version")?,
                payload: row.try_get_unchecked("payload")?,
                metadata: row.try_get_unchecked("metadata")?,
                position: row.try_get("position")?,
                event_id: Uuid::parse_str(row.try_get("event_id")?)
                    .map_err(|error| sqlx::Error::Decode(error.to_string().into()))?,
                subject: row.try_get("subject")?,
                recorded_at: Timestamp::from_micros(row.try_get("recorded_at")?),
            })
        })()
    }};
}
pub(super) use record;

/// A session with its user: what every authenticated request needs, in one indexed select.
#[derive(Debug, Clone, PartialEq)]
pub struct AuthenticatedRow {
    /// Whose session it is.
    pub user: UserRow,
    /// The log position of the session's start.
    pub started_position: i64,
    /// When the session ends at the latest.
    pub expires_at: Timestamp,
}

impl AuthenticatedRow {
    /// Whether the session opens anything at `now`: it has not ended, and its user may be here.
    #[must_use]
    pub fn is_live(&self, session: Uuid, now: Timestamp) -> bool {
        let outlived = self.started_position > self.user.session_epoch || self.user.kept_session == Some(session);
        let status = matches!(self.user.status, Status::Active | Status::Pending);
        outlived && status && now < self.expires_at
    }
}

/// The current password hash of an account.
#[derive(Clone)]
pub struct CredentialRow {
    /// Its number.
    pub version: i64,
    /// The PHC string.
    pub hash: String,
    /// Where its account stands.
    pub status: Status,
}

/// What a secret opens.
#[derive(Debug, Clone)]
pub struct SecretRow {
    /// The session, key or domain.
    pub owner: String,
    /// The account behind it.
    pub user_id: Option<Uuid>,
    /// Which refresh token of its session.
    pub generation: i64,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
}

/// One row of the log as it is stored.
#[derive(Debug, Clone)]
pub struct EventRecord {
    /// Kind of the stream.
    pub aggregate_type: String,
    /// The stream.
    pub aggregate_id: String,
    /// Number in the stream.
    pub sequence: i64,
    /// What happened.
    pub event_type: String,
    /// Version of the payload's shape.
    pub event_version: String,
    /// The payload's text.
    pub payload: String,
    /// The metadata's text.
    pub metadata: String,
    /// Number in the log.
    pub position: i64,
    /// The event.
    pub event_id: Uuid,
    /// Whom it is about.
    pub subject: String,
    /// When it was recorded.
    pub recorded_at: Timestamp,
}

/// One row of the log, opened as far as its keys are still there.
#[derive(Debug, Clone)]
pub struct OpenedEvent {
    /// The row.
    pub record: EventRecord,
    /// What happened.
    pub event: AnyEvent,
    /// The payload with its sealed fields back in, without the member `type`.
    pub data: Map<String, Value>,
    /// The names of its personal fields.
    pub personal: Vec<String>,
    /// Whether personal fields could not be opened any more.
    pub erased: bool,
    /// The unsealed metadata.
    pub metadata: HashMap<String, String>,
    /// The caller's address, while it is kept.
    pub ip: Option<String>,
    /// The caller's program, while it is kept.
    pub user_agent: Option<String>,
}

/// How many accounts of one domain are counted one by one.
pub const COUNTED: i64 = 1_000;

/// How many sign-ins of an account are listed.
pub const MOST_SESSIONS: i64 = 200;

/// In which order users are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserSort {
    /// Oldest or newest first.
    CreatedAt {
        /// Newest first.
        descending: bool,
    },
    /// By username, ignoring ASCII case; accounts without one come first.
    Username {
        /// From the end.
        descending: bool,
    },
}

/// Which users to list.
#[derive(Debug, Clone, Default)]
pub struct UserFilter {
    /// Start of a username, address, number, or of a word of the name.
    pub q: Option<String>,
    /// Where they stand.
    pub status: Option<Status>,
    /// Domain of the address.
    pub domain: Option<String>,
    /// Whether the address is verified.
    pub verified: Option<bool>,
    /// A role they hold.
    pub role: Option<aggregates::values::Role>,
    /// Country of the position.
    pub country: Option<String>,
}

/// Which events of a stream to list.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Of these types; none: of any.
    pub types: Vec<&'static str>,
    /// From then on.
    pub from: Option<Until>,
    /// Up to then.
    pub to: Option<Until>,
}

/// Which domains to list.
#[derive(Debug, Clone, Default)]
pub struct DomainFilter {
    /// Start of the name.
    pub q: Option<String>,
    /// Where they stand.
    pub standing: Option<StandingKind>,
}

/// Of an address, also whether its holder has only asked for it, and until when that holds.
const HOLDER: &str = "
    SELECT names.user_id,
           CASE WHEN names.kind = 'email' AND users.pending_email_canonical = $3
                     AND users.email_canonical IS DISTINCT FROM $3
                THEN users.pending_email_expires END AS reserved_until
    FROM names LEFT JOIN users ON users.id = names.user_id
    WHERE names.kind = $1 AND names.value = $2";
const CREDENTIAL: &str = "
    SELECT credentials.version, credentials.hash, users.status FROM credentials
    JOIN users ON users.id = credentials.user_id WHERE credentials.user_id = $1";
const SECRET: &str = "SELECT owner, user_id, generation, expires_at FROM secrets WHERE kind = $1 AND hash = $2";
const REMEMBERED: &str = "
    SELECT request_hash, receipt FROM idempotency WHERE caller = $1 AND key_hash = $2 AND expires_at > $3";
const DATA_KEY: &str = "SELECT wrapped FROM subject_keys WHERE subject = $1 AND scope = $2";
/// Who has been erased gets no new key either: their person key is destroyed.
const DESTROYED: &str =
    "SELECT scope FROM subject_keys WHERE subject = $1 AND scope IN ($2, 'person') AND wrapped IS NULL";
pub(super) const EVENT_COLUMNS: &str = "
    SELECT aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, position, event_id,
           subject, recorded_at
    FROM events ";

impl Store {
    /// Where the log ends, read from the database.
    pub async fn head(&self) -> Result<Head, StoreError> {
        self.inner.engine.head().await
    }

    /// An aggregate out of memory. It may be older than the log: what is decided on it must be proved by an append.
    pub(super) fn cached<A: Stream>(&self, id: &str) -> Option<(A, i64)> {
        let kept = self.inner.aggregates.get(&cache::name(A::TYPE, id))?;
        if kept.outrun {
            return None;
        }
        Some((A::from_any(&kept.state)?.clone(), kept.version))
    }

    /// Keeps an aggregate in memory, unless a newer one is there.
    pub(super) fn keep(&self, aggregate_type: &str, id: &str, state: AnyState, version: i64) {
        let name = cache::name(aggregate_type, id);
        let kept = self.inner.aggregates.get(&name);
        if kept.is_none_or(|kept| kept.version <= version) {
            let kept = Kept {
                state,
                version,
                outrun: false,
            };
            self.put(name, kept);
        }
    }

    fn put(&self, name: Box<[u8]>, kept: Kept) {
        let weight = weight(&kept.state);
        self.inner.aggregates.insert_weighing(name, kept, weight);
    }

    /// Notes that an aggregate of this version was older than the log. Its events stay events of the stream, so only
    /// those since are read again: whoever tries often on a long stream pays for what is new.
    pub(super) fn outrun(&self, aggregate_type: &str, id: &str, version: i64) {
        let name = cache::name(aggregate_type, id);
        if let Some(kept) = self.inner.aggregates.get(&name)
            && kept.version <= version
        {
            self.put(name, Kept { outrun: true, ..kept });
        }
    }

    /// Loads an aggregate as the log has it now: what is in memory, and the events since.
    pub(super) async fn load<A: Stream>(&self, id: &str) -> Result<(A, i64), StoreError> {
        let kept = self.inner.aggregates.get(&cache::name(A::TYPE, id));
        let (mut state, known) = kept
            .and_then(|kept| Some((A::from_any(&kept.state)?.clone(), kept.version)))
            .unwrap_or_default();
        let events = self
            .load_envelopes::<A>(id, usize::try_from(known).unwrap_or_default())
            .await?;
        let version = known + i64::try_from(events.len()).unwrap_or(i64::MAX);
        for envelope in events {
            state.apply(envelope.payload);
        }
        if version > 0 {
            self.keep(A::TYPE, id, state.clone().into_any(), version);
        }
        Ok((state, version))
    }

    /// The opened events of a stream. `after` is the number of events that are known already.
    pub(super) async fn load_envelopes<A: Stream>(
        &self,
        id: &str,
        after: usize,
    ) -> Result<Vec<EventEnvelope<A>>, StoreError> {
        let events = self.serialized::<A>(id, after).await?;
        let mut envelopes = Vec::with_capacity(events.len());
        for event in events {
            envelopes.push(self.open_envelope::<A>(event).await?);
        }
        Ok(envelopes)
    }

    /// The events of a stream as they are stored: a whole stream of PostgreSQL through postgres-es.
    ///
    /// Its statement for the events after one names their number in its text, so that the database would plan it anew
    /// for each; and sqlite-es brings the driver's macros, a tenth of a cold build.
    async fn serialized<A: Stream>(&self, id: &str, after: usize) -> Result<Vec<SerializedEvent>, StoreError> {
        if let Engine::Postgres { repository, .. } = &self.inner.engine
            && after == 0
        {
            let events = repository.get_events::<A>(id).await;
            return events.map_err(|error| StoreError::Unavailable(error.to_string()));
        }
        on_pool!(&self.inner.engine, pool => {
            let rows = sqlx::query(STREAM_AFTER)
                .bind(A::TYPE)
                .bind(id)
                .bind(i64::try_from(after).unwrap_or(i64::MAX))
                .fetch_all(pool)
                .await?;
            rows.iter().map(|row| Ok(serialized!(row))).collect()
        })
    }

    async fn open_envelope<A: Stream>(&self, mut event: SerializedEvent) -> Result<EventEnvelope<A>, StoreError> {
        let corrupt = |problem: &dyn std::fmt::Display| {
            StoreError::corrupt("events", format!("{}/{}", event.aggregate_id, event.sequence), problem)
        };
        let metadata: HashMap<String, String> =
            serde_json::from_value(event.metadata.take()).map_err(|error| corrupt(&error))?;
        let event_id = metadata
            .get("event_id")
            .and_then(|id| Uuid::parse_str(id).ok())
            .ok_or_else(|| corrupt(&"the metadata names no event id"))?;
        let subject = metadata
            .get("subject")
            .ok_or_else(|| corrupt(&"the metadata names no subject"))?
            .clone();
        let scopes = super::event::scopes(&event.payload);
        let mut keys = HashMap::new();
        for scope in scopes {
            if let Some(key) = self.data_key(&subject, &scope).await? {
                keys.insert(scope, key);
            }
        }
        let row = Row {
            aggregate_type: A::TYPE,
            aggregate_id: &event.aggregate_id,
            sequence: i64::try_from(event.sequence).unwrap_or(i64::MAX),
            event_type: &event.event_type,
            event_id,
        };
        open(&mut event.payload, &row, |scope| Ok(keys.get(scope).cloned()))?;
        let payload = serde_json::from_value(event.payload.take())
            .map_err(|error| StoreError::corrupt("events", event_id, super::event::unreadable(&error)))?;
        Ok(EventEnvelope {
            aggregate_id: event.aggregate_id,
            sequence: event.sequence,
            payload,
            metadata,
        })
    }

    /// The data key of a subject and scope, unless there is none or it was destroyed. Cached for a minute.
    pub(super) async fn data_key(&self, subject: &str, scope: &str) -> Result<Option<DataKey>, StoreError> {
        if let Some(key) = self.inner.data_keys.get(&cache::name(subject, scope)) {
            return Ok(Some(key));
        }
        let wrapped: Option<Vec<u8>> = on_pool!(&self.inner.engine, pool => {
            match sqlx::query(DATA_KEY).bind(subject).bind(scope).fetch_optional(pool).await? {
                Some(row) => row.try_get("wrapped")?,
                None => None,
            }
        });
        let Some(wrapped) = wrapped else { return Ok(None) };
        let key = self.unwrap_data_key(subject, scope, &wrapped).await?;
        self.keep_data_key(subject, scope, key.clone());
        Ok(Some(key))
    }

    /// Whether the key of a scope that never begins anew was destroyed.
    pub(super) async fn was_destroyed(&self, subject: &str, scope: &str) -> Result<bool, StoreError> {
        if scope.starts_with("address-") {
            return Ok(false);
        }
        on_pool!(&self.inner.engine, pool => {
            let row = sqlx::query(DESTROYED).bind(subject).bind(scope).fetch_optional(pool).await?;
            Ok(row.is_some())
        })
    }

    /// Caches a data key, but not that of an address: any process may destroy it while the stream it belongs to goes
    /// on, and what were sealed with it then would never open again.
    pub(super) fn keep_data_key(&self, subject: &str, scope: &str, key: DataKey) {
        if !scope.starts_with("address-") {
            self.inner.data_keys.insert(cache::name(subject, scope), key);
        }
    }

    /// Forgets the cached data keys of subjects that were erased.
    pub(super) fn forget_keys_of(&self, subjects: &[String]) {
        if !subjects.is_empty() {
            // A cache that may hold keys of the erased is emptied: erasing is rare, reading keys again is cheap.
            self.inner.data_keys.clear();
        }
    }

    /// The account that holds a name, so that no other can have it: also an address that it has asked for and not
    /// confirmed yet, until that request lapses.
    pub async fn holder(&self, kind: NameKind, canonical: &str) -> Result<Option<Uuid>, StoreError> {
        let holder = self.held(kind, canonical).await?;
        let holds = |until: Option<Timestamp>| until.is_none_or(|until| self.now() < until);
        Ok(holder.filter(|(_, until)| holds(*until)).map(|(holder, _)| holder))
    }

    /// The account that can be found by a name. An address that was only asked for finds nobody: whoever asked may
    /// not own it.
    pub async fn found_by(&self, kind: NameKind, canonical: &str) -> Result<Option<Uuid>, StoreError> {
        let holder = self.held(kind, canonical).await?;
        Ok(holder.filter(|(_, until)| until.is_none()).map(|(holder, _)| holder))
    }

    /// Who holds a name, and until when if it is only reserved.
    async fn held(&self, kind: NameKind, canonical: &str) -> Result<Option<(Uuid, Option<Timestamp>)>, StoreError> {
        let value = self.keyring().name(kind, canonical);
        on_pool!(&self.inner.engine, pool => {
            let row = sqlx::query(HOLDER)
                .bind(kind.as_str())
                .bind(value.as_slice())
                .bind(canonical)
                .fetch_optional(pool)
                .await?;
            row.map(|row| {
                let until = row.try_get::<Option<i64>, _>("reserved_until")?;
                Ok((parse_id("names", row.try_get("user_id")?)?, until.map(Timestamp::from_micros)))
            })
            .transpose()
        })
    }

    /// The current password hash of an account.
    pub async fn credential(&self, user: Uuid) -> Result<Option<CredentialRow>, StoreError> {
        on_pool!(&self.inner.engine, pool => {
            let row = sqlx::query(CREDENTIAL).bind(user.to_string()).fetch_optional(pool).await?;
            row.map(|row| {
                Ok(CredentialRow {
                    version: row.try_get("version")?,
                    hash: row.try_get("hash")?,
                    status: Status::parse(row.try_get("status")?)
                        .ok_or_else(|| StoreError::corrupt("users", user, "no such status"))?,
                })
            })
            .transpose()
        })
    }

    /// What a secret opens, by its hash.
    pub async fn secret(&self, kind: SecretKind, hash: &[u8; 32]) -> Result<Option<SecretRow>, StoreError> {
        on_pool!(&self.inner.engine, pool => {
            let row = sqlx::query(SECRET).bind(kind.as_str()).bind(hash.as_slice()).fetch_optional(pool).await?;
            row.map(|row| {
                Ok(SecretRow {
                    owner: row.try_get("owner")?,
                    user_id: row
                        .try_get::<Option<&str>, _>("user_id")?
                        .map(|id| parse_id("secrets", id))
                        .transpose()?,
                    generation: row.try_get("generation")?,
                    expires_at: row.try_get::<Option<i64>, _>("expires_at")?.map(Timestamp::from_micros),
                })
            })
            .transpose()
        })
    }

    /// The answer an idempotency key remembers, before anything else is done for it.
    pub async fn remembered(&self, key: &Idempotency) -> Result<Option<Receipt>, StoreError> {
        let found: Option<(Vec<u8>, String)> = on_pool!(&self.inner.engine, pool => {
            let row = sqlx::query(REMEMBERED)
                .bind(&key.caller)
                .bind(key.key_hash.as_slice())
                .bind(self.now().as_micros())
                .fetch_optional(pool)
                .await?;
            match row {
                Some(row) => Some((row.try_get("request_hash")?, row.try_get("receipt")?)),
                None => None,
            }
        });
        let Some((request, receipt)) = found else {
            return Ok(None);
        };
        if request != key.request_hash {
            return Err(StoreError::IdempotencyMismatch);
        }
        serde_json::from_str(&receipt)
            .map(Some)
            .map_err(|problem| StoreError::corrupt("idempotency", &key.caller, problem))
    }

    /// A session and its user.
    pub async fn authenticated(&self, session: Uuid) -> Result<Option<AuthenticatedRow>, StoreError> {
        on_pool!(&self.inner.engine, pool => {
            let row = sqlx::query(authenticated_sql()).bind(session.to_string()).fetch_optional(pool).await?;
            row.map(|row| {
                let Read(user): Read<UserRow> = sqlx::FromRow::from_row(&row)?;
                Ok(AuthenticatedRow {
                    user,
                    started_position: row.try_get("session_started_position")?,
                    expires_at: Timestamp::from_micros(row.try_get("session_expires_at")?),
                })
            })
            .transpose()
        })
    }

    /// One account.
    pub async fn user(&self, id: Uuid) -> Result<Option<UserRow>, StoreError> {
        let sql = format!("SELECT {} FROM users WHERE id = $1", USERS.list(""));
        on_pool!(&self.inner.engine, pool => {
            let row = sqlx::query_as::<_, Read<UserRow>>(&sql).bind(id.to_string()).fetch_optional(pool).await?;
            Ok(row.map(|Read(row)| row))
        })
    }

    /// The live sign-ins of an account, newest first: at most 200 of them.
    pub async fn sessions(&self, user: Uuid) -> Result<Vec<SessionRow>, StoreError> {
        let sql = format!(
            "SELECT {} FROM sessions
             WHERE user_id = $1 AND expires_at > $2 AND idle_expires_at > $2
             ORDER BY started_at DESC, id LIMIT $3",
            SESSIONS.list("")
        );
        let now = self.now().as_micros();
        on_pool!(&self.inner.engine, pool => {
            let query = sqlx::query_as::<_, Read<SessionRow>>(&sql).bind(user.to_string());
            let rows = query.bind(now).bind(MOST_SESSIONS).fetch_all(pool).await?;
            Ok(rows.into_iter().map(|Read(row)| row).collect())
        })
    }

    /// The rows of these domains, as far as there are any.
    pub async fn domain_rows(&self, names: &[&str]) -> Result<Vec<DomainRow>, StoreError> {
        let places: Vec<String> = (1..=names.len()).map(|place| format!("${place}")).collect();
        let sql = format!(
            "SELECT {} FROM domains WHERE name IN ({})",
            DOMAINS.list(""),
            places.join(", ")
        );
        on_pool!(&self.inner.engine, pool => {
            let mut query = sqlx::query_as::<_, Read<DomainRow>>(&sql);
            for name in names {
                query = query.bind((*name).to_owned());
            }
            Ok(query.fetch_all(pool).await?.into_iter().map(|Read(row)| row).collect())
        })
    }

    /// The log position of the block of one address, if it is blocked.
    pub async fn blocked_address(&self, address: &str) -> Result<Option<i64>, StoreError> {
        on_pool!(&self.inner.engine, pool => {
            let row = sqlx::query("SELECT position FROM blocked_addresses WHERE address = $1")
                .bind(address)
                .fetch_optional(pool)
                .await?;
            Ok(row.map(|row| row.try_get("position")).transpose()?)
        })
    }

    /// How many accounts have an address of each of these domains; a domain without any is left out. More than
    /// [`COUNTED`] are as many as the statistics know of, so that a page costs no more where everybody is at one
    /// provider.
    pub async fn users_of_domains(&self, names: &[&str]) -> Result<HashMap<String, i64>, StoreError> {
        if names.is_empty() {
            return Ok(HashMap::new());
        }
        let places: Vec<String> = (1..=names.len()).map(|place| format!("(${place})")).collect();
        let sql = format!(
            "WITH wanted (name) AS (VALUES {})
             SELECT name,
                    (SELECT count(*) FROM
                         (SELECT 1 FROM users WHERE email_domain = wanted.name LIMIT {COUNTED} + 1) AS found) AS users,
                    (SELECT number FROM statistics_counts WHERE dimension = 'domain' AND value = wanted.name) AS known
             FROM wanted",
            places.join(", ")
        );
        let counted: Vec<(String, i64, Option<i64>)> = on_pool!(&self.inner.engine, pool => {
            let mut query = sqlx::query(&sql);
            for name in names {
                query = query.bind((*name).to_owned());
            }
            let rows = query.fetch_all(pool).await?;
            rows.into_iter()
                .map(|row| Ok((row.try_get("name")?, row.try_get("users")?, row.try_get("known")?)))
                .collect::<Result<_, sqlx::Error>>()?
        });
        let mut users = HashMap::with_capacity(counted.len());
        for (name, found, known) in counted {
            let number = match known {
                _ if found <= COUNTED => found,
                Some(known) => known.max(found),
                // Nobody keeps statistics.
                None => self.users_of_domain(&name).await?,
            };
            if number > 0 {
                users.insert(name, number);
            }
        }
        Ok(users)
    }

    async fn users_of_domain(&self, name: &str) -> Result<i64, StoreError> {
        on_pool!(&self.inner.engine, pool => {
            let row = sqlx::query("SELECT count(*) AS users FROM users WHERE email_domain = $1")
                .bind(name)
                .fetch_one(pool)
                .await?;
            Ok(row.try_get("users")?)
        })
    }

    /// Domains by name, after `after`.
    pub async fn domains(
        &self,
        filter: &DomainFilter,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Vec<DomainRow>, StoreError> {
        let mut list = List::new(format!("SELECT {} FROM domains", DOMAINS.list("")));
        if let Some(q) = &filter.q {
            list.starts_with(&["name"], q);
        }
        if let Some(standing) = filter.standing {
            list.clause("standing = ?", [standing.as_str().into()]);
        }
        if let Some(after) = after {
            list.clause("name > ?", [after.into()]);
        }
        let sql = list.end("name", limit);
        on_pool!(&self.inner.engine, pool => {
            let rows = bind_all!(sqlx::query_as::<_, Read<DomainRow>>(&sql), list.values).fetch_all(pool).await?;
            Ok(rows.into_iter().map(|Read(row)| row).collect())
        })
    }

    /// How many domains have an authority token.
    pub async fn authorized_domains(&self) -> Result<i64, StoreError> {
        on_pool!(&self.inner.engine, pool => {
            let row = sqlx::query("SELECT count(*) AS number FROM domains WHERE authority_token_issued IS NOT NULL")
                .fetch_one(pool)
                .await?;
            Ok(row.try_get("number")?)
        })
    }

    /// Whose these secrets of one kind are, by hash; those nobody knows are left out.
    pub async fn owners_of_secrets(
        &self,
        kind: SecretKind,
        hashes: &[[u8; 32]],
    ) -> Result<HashMap<[u8; 32], String>, StoreError> {
        let mut owners = HashMap::new();
        for page in hashes.chunks(500) {
            let places: Vec<String> = (2..2 + page.len()).map(|place| format!("${place}")).collect();
            let sql = format!(
                "SELECT hash, owner FROM secrets WHERE kind = $1 AND hash IN ({})",
                places.join(", ")
            );
            let found: Vec<(Vec<u8>, String)> = on_pool!(&self.inner.engine, pool => {
                let mut query = sqlx::query(&sql).bind(kind.as_str());
                for hash in page {
                    query = query.bind(hash.to_vec());
                }
                let rows = query.fetch_all(pool).await?;
                rows.into_iter()
                    .map(|row| Ok((row.try_get("hash")?, row.try_get("owner")?)))
                    .collect::<Result<_, StoreError>>()
            })?;
            for (hash, owner) in found {
                let hash = hash
                    .try_into()
                    .map_err(|_| StoreError::corrupt("secrets", &owner, "a hash has 32 bytes"))?;
                owners.insert(hash, owner);
            }
        }
        Ok(owners)
    }

    /// The event of an id.
    pub async fn event(&self, event_id: Uuid) -> Result<Option<EventRecord>, StoreError> {
        let sql = format!("{EVENT_COLUMNS} WHERE event_id = $1");
        on_pool!(&self.inner.engine, pool => {
            let row = sqlx::query(&sql).bind(event_id.to_string()).fetch_optional(pool).await?;
            Ok(row.map(|row| record!(row)).transpose()?)
        })
    }

    /// The events of one stream after a log position, in order.
    pub async fn events_of(
        &self,
        aggregate_type: &str,
        aggregate_id: &str,
        after: i64,
        limit: i64,
    ) -> Result<Vec<EventRecord>, StoreError> {
        let sql = format!(
            "{EVENT_COLUMNS} WHERE aggregate_type = $1 AND aggregate_id = $2 AND position > $3
             ORDER BY sequence LIMIT $4"
        );
        on_pool!(&self.inner.engine, pool => {
            let rows = sqlx::query(&sql)
                .bind(aggregate_type)
                .bind(aggregate_id)
                .bind(after)
                .bind(limit)
                .fetch_all(pool)
                .await?;
            Ok(rows.into_iter().map(|row| record!(row)).collect::<Result<_, sqlx::Error>>()?)
        })
    }

    /// The same as far as they are of these types (none: of any) and within these moments.
    pub async fn filtered_events_of(
        &self,
        aggregate_type: &str,
        aggregate_id: &str,
        after: i64,
        limit: i64,
        filter: &EventFilter,
    ) -> Result<Vec<EventRecord>, StoreError> {
        let mut list = List::new(EVENT_COLUMNS.to_owned());
        list.clause("aggregate_type = ?", [aggregate_type.into()]);
        list.clause("aggregate_id = ?", [aggregate_id.into()]);
        list.clause("position > ?", [Bound::Number(after)]);
        for (until, position, time) in [
            (filter.from, "position >= ?", "recorded_at >= ?"),
            (filter.to, "position <= ?", "recorded_at <= ?"),
        ] {
            match until {
                Some(Until::Position(number)) => list.clause(position, [Bound::Number(number)]),
                Some(Until::Time(at)) => list.clause(time, [Bound::Number(at.as_micros())]),
                None => {}
            }
        }
        if !filter.types.is_empty() {
            list.one_of("event_type", filter.types.iter().copied());
        }
        let sql = list.end("sequence", limit);
        on_pool!(&self.inner.engine, pool => {
            let rows = bind_all!(sqlx::query(&sql), list.values).fetch_all(pool).await?;
            Ok(rows.into_iter().map(|row| record!(row)).collect::<Result<_, sqlx::Error>>()?)
        })
    }

    /// The last event of a stream, if there is one.
    pub async fn last_event_of(
        &self,
        aggregate_type: &str,
        aggregate_id: &str,
    ) -> Result<Option<EventRecord>, StoreError> {
        let sql =
            format!("{EVENT_COLUMNS} WHERE aggregate_type = $1 AND aggregate_id = $2 ORDER BY sequence DESC LIMIT 1");
        on_pool!(&self.inner.engine, pool => {
            let row = sqlx::query(&sql).bind(aggregate_type).bind(aggregate_id).fetch_optional(pool).await?;
            Ok(row.map(|row| record!(row)).transpose()?)
        })
    }

    /// The sign-ins of a user before a log position, those that failed too, the latest first.
    pub async fn sign_ins_before(&self, user: Uuid, position: i64, limit: i64) -> Result<Vec<EventRecord>, StoreError> {
        let sql = format!(
            "{EVENT_COLUMNS} WHERE subject = $1 AND position < $2
               AND event_type IN ('session.started', 'session.failed')
             ORDER BY position DESC LIMIT $3"
        );
        on_pool!(&self.inner.engine, pool => {
            let rows =
                sqlx::query(&sql).bind(user.to_string()).bind(position).bind(limit).fetch_all(pool).await?;
            Ok(rows.into_iter().map(|row| record!(row)).collect::<Result<_, sqlx::Error>>()?)
        })
    }

    /// Opens events with the keys as they are now: nothing cached, so that what was erased stays closed.
    pub async fn open_events(&self, records: Vec<EventRecord>) -> Result<Vec<OpenedEvent>, StoreError> {
        let mut payloads = Vec::with_capacity(records.len());
        let mut wanted: HashSet<(String, String)> = HashSet::new();
        for record in &records {
            let corrupt = |problem: serde_json::Error| StoreError::corrupt("events", record.position, problem);
            let payload: Value = serde_json::from_str(&record.payload).map_err(corrupt)?;
            let metadata: HashMap<String, String> = serde_json::from_str(&record.metadata).map_err(corrupt)?;
            wanted.extend(
                super::event::scopes(&payload)
                    .into_iter()
                    .map(|scope| (record.subject.clone(), scope)),
            );
            if let (Some(owner), Some(scope)) = (metadata.get("origin_owner"), metadata.get("origin_scope")) {
                wanted.insert((owner.clone(), scope.clone()));
            }
            payloads.push((payload, metadata));
        }
        let keys = self.data_keys_of(&wanted).await?;
        records
            .into_iter()
            .zip(payloads)
            .map(|(record, (payload, metadata))| open_one(record, payload, metadata, &keys))
            .collect()
    }

    pub(super) async fn data_keys_of(
        &self,
        wanted: &HashSet<(String, String)>,
    ) -> Result<HashMap<(String, String), DataKey>, StoreError> {
        let wanted: Vec<&(String, String)> = wanted.iter().collect();
        let mut keys = HashMap::with_capacity(wanted.len());
        for chunk in wanted.chunks(500) {
            for (subject, scope, wrapped) in self.wrapped_data_keys(chunk).await? {
                let key = self.unwrap_data_key(&subject, &scope, &wrapped).await?;
                keys.insert((subject, scope), key);
            }
        }
        Ok(keys)
    }

    /// The wrapped keys of these scopes, and of no others: a domain has one for each of its blocked addresses.
    async fn wrapped_data_keys(
        &self,
        wanted: &[&(String, String)],
    ) -> Result<Vec<(String, String, Vec<u8>)>, StoreError> {
        let places: Vec<String> = (0..wanted.len())
            .map(|place| format!("(${}, ${})", 2 * place + 1, 2 * place + 2))
            .collect();
        let sql = format!(
            "SELECT subject, scope, wrapped FROM subject_keys
             WHERE wrapped IS NOT NULL AND (subject, scope) IN (VALUES {})",
            places.join(", ")
        );
        on_pool!(&self.inner.engine, pool => {
            let mut query = sqlx::query(&sql);
            for (subject, scope) in wanted {
                query = query.bind(subject.clone()).bind(scope.clone());
            }
            let rows = query.fetch_all(pool).await?;
            rows.into_iter()
                .map(|row| Ok((row.try_get("subject")?, row.try_get("scope")?, row.try_get("wrapped")?)))
                .collect()
        })
    }

    /// Whether the database answers, and can be written where the last write was refused.
    ///
    /// A process whose appender is gone cannot write, however well the database does.
    pub async fn ping(&self) -> Result<(), StoreError> {
        if self.inner.jobs.is_closed() {
            return Err(StoreError::Unavailable("the appender has stopped".into()));
        }
        if self.inner.unwritten.load(Ordering::Relaxed) {
            self.try_to_write().await?;
        }
        self.head().await.map(|_| ())
    }

    /// Closes the connections, once nothing uses them any more.
    pub async fn close(&self) {
        self.inner.ear.end().await;
        self.inner.engine.close().await;
    }
}

/// Opens one event with the keys that are there.
pub(super) fn open_one(
    record: EventRecord,
    mut payload: Value,
    metadata: HashMap<String, String>,
    keys: &HashMap<(String, String), DataKey>,
) -> Result<OpenedEvent, StoreError> {
    let row = Row {
        aggregate_type: &record.aggregate_type,
        aggregate_id: &record.aggregate_id,
        sequence: record.sequence,
        event_type: &record.event_type,
        event_id: record.event_id,
    };
    let personal = sealed_fields(&payload);
    let erased = open(&mut payload, &row, |scope| {
        Ok(keys.get(&(record.subject.clone(), scope.to_owned())).cloned())
    })?;
    let (ip, user_agent) = origin(&row, &metadata, keys)?;
    let event = AnyEvent::parse(&record.aggregate_type, payload.clone())
        .map_err(|problem| StoreError::corrupt("events", record.position, super::event::unreadable(&problem)))?;
    let mut data = match payload {
        Value::Object(data) => data,
        _ => Map::new(),
    };
    data.remove("type");
    Ok(OpenedEvent {
        record,
        event,
        data,
        personal,
        erased,
        metadata,
        ip,
        user_agent,
    })
}

/// Where the caller was, while that is kept.
fn origin(
    row: &Row<'_>,
    metadata: &HashMap<String, String>,
    keys: &HashMap<(String, String), DataKey>,
) -> Result<(Option<String>, Option<String>), StoreError> {
    let (Some(sealed), Some(owner), Some(scope)) = (
        metadata.get("origin"),
        metadata.get("origin_owner"),
        metadata.get("origin_scope"),
    ) else {
        return Ok((None, None));
    };
    let Some(key) = keys.get(&(owner.clone(), scope.clone())) else {
        return Ok((None, None));
    };
    let plain = match Seal::new(key, row.event_id, scope)?.open(&row.scope(scope), sealed) {
        Ok(plain) => plain,
        // The scope began anew: the key it was sealed with was destroyed.
        Err(SealError::Key) => return Ok((None, None)),
        Err(problem) => return Err(problem.into()),
    };
    let origin: HashMap<String, Option<String>> = serde_json::from_slice(&plain)
        .map_err(|problem| StoreError::corrupt("events", row.event_id, super::event::unreadable(&problem)))?;
    let part = |name: &str| origin.get(name).cloned().flatten();
    Ok((part("ip"), part("user_agent")))
}

fn parse_id(table: &'static str, text: &str) -> Result<Uuid, StoreError> {
    Uuid::parse_str(text).map_err(|problem| StoreError::corrupt(table, "?", problem))
}

fn authenticated_sql() -> &'static str {
    static SQL: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    SQL.get_or_init(|| {
        format!(
            "SELECT {}, s.started_position AS session_started_position, s.expires_at AS session_expires_at
             FROM sessions AS s JOIN users AS u ON u.id = s.user_id WHERE s.id = $1",
            USERS.list("u.")
        )
    })
}

/// A value of a list's condition.
#[derive(Clone)]
pub(super) enum Bound {
    Text(String),
    Number(i64),
}

impl From<&str> for Bound {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Bound {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// A list's statement as it grows: conditions with `?` become numbered places.
struct List {
    sql: String,
    conditions: Vec<String>,
    values: Vec<Bound>,
}

impl List {
    fn new(select: String) -> Self {
        Self {
            sql: select,
            conditions: Vec::new(),
            values: Vec::new(),
        }
    }

    fn clause<const N: usize>(&mut self, condition: &str, values: [Bound; N]) {
        let mut text = String::with_capacity(condition.len() + 8);
        let mut place = self.values.len();
        for c in condition.chars() {
            if c == '?' {
                place += 1;
                text.push('$');
                text.push_str(&place.to_string());
            } else {
                text.push(c);
            }
        }
        self.conditions.push(text);
        self.values.extend(values);
    }

    /// `column` is one of these.
    fn one_of(&mut self, column: &str, values: impl Iterator<Item = &'static str>) {
        let first = self.values.len() + 1;
        self.values.extend(values.map(Bound::from));
        let places: Vec<String> = (first..=self.values.len()).map(|place| format!("${place}")).collect();
        self.conditions.push(format!("{column} IN ({})", places.join(", ")));
    }

    /// `column` begins with `start`: as a range, which an index answers whatever the pattern.
    fn starts_with(&mut self, columns: &[&str], start: &str) {
        let end = format!("{start}\u{10ffff}");
        let place = self.values.len() + 1;
        let ranges: Vec<String> = columns
            .iter()
            .map(|column| format!("({column} >= ${place} AND {column} < ${})", place + 1))
            .collect();
        self.conditions.push(format!("({})", ranges.join(" OR ")));
        self.values.extend([Bound::Text(start.to_owned()), Bound::Text(end)]);
    }

    fn end(&mut self, order: &str, limit: i64) -> String {
        let conditions = if self.conditions.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", self.conditions.join(" AND "))
        };
        self.values.push(Bound::Number(limit));
        format!("{}{conditions} ORDER BY {order} LIMIT ${}", self.sql, self.values.len())
    }
}
