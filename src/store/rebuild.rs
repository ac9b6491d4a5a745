//! Folding the log anew beside the live tables, and comparing.
//!
//! The rebuild reads one snapshot of the database: the log up to a position and the live rows as they are at that
//! very position. It folds the log through the same folds as the append into shadow tables, then walks both in key
//! order. Nothing is locked; the service goes on. A swap replaces only the rows that differ, in short turns under
//! the head lock, each after the shadow has caught up: a replaced row is right whatever has been appended since.
//!
//! The shadows are temporary tables of one connection: rebuilds do not see each other's, and nothing personal stays
//! behind, however a rebuild ends.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aggregates::user::UserEvent;
use futures::{StreamExt as _, TryStreamExt as _};
use projections::{ApiKeyRow, BlockedAddressRow, DomainRow, SessionRow, UserRow, places_of, word_rows};
use ring::digest::{Context as Digest, SHA256};
use serde_json::Value;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{ConnectOptions as _, Connection as _, Row as _};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::engine::{Engine, LATER_HEAD};
use super::event::{open, scopes};
use super::log::{Stretch, of_postgres, of_sqlite};
use super::plan::{Place, Rows, name_keys};
use super::read::{EventRecord, OpenedEvent, open_one};
use super::rows::{API_KEYS, BLOCKED_ADDRESSES, Cell, DOMAINS, PLACES, Read, SESSIONS, Table, USERS, WORDS, Written};
use super::{AnyEvent, Row, Store, StoreError, postgres, sqlite};
use crate::keys::{DataKey, hex};
use aggregates::values::Timestamp;

/// Events read at a time.
const PAGE: i64 = 2_000;
/// What those may take together, as they are stored: one event may hold a boundary of 1 MiB.
const PAGE_BYTES: usize = 4 << 20;
/// Pages that may be ready while rows are written.
const AHEAD: usize = 4;
/// Threads that open what was read.
const OPENERS: usize = 2;
/// Rows kept in memory before they are written to the shadow: so few that reading goes on beside it.
const KEPT_ROWS: usize = 10_000;
/// What those may take together.
const KEPT_BYTES: usize = 64 << 20;
/// From this size on, a boundary counts before its row is read back.
const LARGE: usize = 64 << 10;
/// Differences named in a report; all are swapped.
const NAMED: usize = 100;
/// Rows replaced per turn under the head lock.
const TURN: usize = 500;

/// Names, as a table among the others.
const NAMES: Table = Table {
    name: "names",
    columns: &["kind", "value", "user_id"],
    keys: 2,
};

/// Every table a rebuild makes anew.
const TABLES: [&Table; 8] = [
    &USERS,
    &NAMES,
    &WORDS,
    &PLACES,
    &SESSIONS,
    &API_KEYS,
    &DOMAINS,
    &BLOCKED_ADDRESSES,
];

/// A row that is not as the log says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// In which table.
    pub table: &'static str,
    /// Its key.
    pub key: String,
    /// `missing`, `unknown to the log`, or the columns that differ.
    pub what: String,
}

/// What a rebuild found.
#[derive(Debug, Clone)]
pub struct RebuildReport {
    /// The log position both sides were compared at.
    pub position: i64,
    /// How many events were folded.
    pub events: i64,
    /// How long folding took.
    pub took: Duration,
    /// Rows per table, live and rebuilt.
    pub rows: Vec<(&'static str, u64, u64)>,
    /// SHA-256 over all live rows.
    pub live_checksum: String,
    /// SHA-256 over all rebuilt rows.
    pub rebuilt_checksum: String,
    /// The first rows that differ.
    pub differences: Vec<Difference>,
    /// How many differ in all.
    pub different: usize,
    /// How many were replaced.
    pub swapped: usize,
}

impl RebuildReport {
    /// Events folded per second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate is shown to a few digits")]
    pub fn rate(&self) -> f64 {
        self.events as f64 / self.took.as_secs_f64().max(1e-6)
    }
}

/// The shadow of a table.
fn shadow(table: &Table) -> String {
    format!("shadow_{}", table.name)
}

impl Store {
    /// Folds the whole log into shadow tables and compares them with the live ones; with `swap`, replaces what
    /// differs.
    pub async fn rebuild(&self, swap: bool) -> Result<RebuildReport, StoreError> {
        let mut shadows = Shadows::make(self).await?;
        let result = self.rebuild_into(&mut shadows, swap).await;
        shadows.close().await;
        result
    }

    async fn rebuild_into(&self, shadows: &mut Shadows, swap: bool) -> Result<RebuildReport, StoreError> {
        let mut snapshot = Snapshot::open(&self.inner.engine).await?;
        let position = snapshot.head().await?;
        let started = Instant::now();
        let events = shadows.fold(&mut snapshot, 0, position).await?;
        let took = started.elapsed();
        shadows.finish().await?;
        let now = self.now();
        let mut comparison = Comparison {
            lapsed: shadows.lapsed_names(now).await?,
            ..Comparison::default()
        };
        for table in TABLES {
            comparison.table(table, &mut snapshot, &mut shadows.hand, now).await?;
        }
        snapshot.close().await?;
        let mut report = comparison.report(position, events, took);
        if swap && report.different > 0 {
            report.swapped = self.swap(shadows, &comparison.keys, position).await?;
        }
        Ok(report)
    }

    /// Replaces the rows of these keys by their shadows, caught up with the log.
    async fn swap(
        &self,
        shadows: &mut Shadows,
        keys: &BTreeMap<&'static str, BTreeSet<String>>,
        mut position: i64,
    ) -> Result<usize, StoreError> {
        let mut swapped = 0;
        shadows.index_owners().await?;
        for table in TABLES {
            let Some(keys) = keys.get(table.name) else { continue };
            for turn in keys.iter().cloned().collect::<Vec<_>>().chunks(TURN) {
                // Most of what came since is folded before the lock, the rest under it.
                let mut ahead = Snapshot::open(&self.inner.engine).await?;
                let head = ahead.head().await?;
                shadows.fold(&mut ahead, position, head).await?;
                ahead.close().await?;
                shadows.finish().await?;
                position = shadows.replace(table, turn, head).await?;
                swapped += turn.len();
            }
        }
        Ok(swapped)
    }
}

/// One consistent view of the database.
enum Snapshot {
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
    Sqlite(sqlx::Transaction<'static, sqlx::Sqlite>),
}

macro_rules! on_snapshot {
    ($snapshot:expr, $one:ident => $body:expr) => {
        match $snapshot {
            Snapshot::Postgres($one) => $body,
            Snapshot::Sqlite($one) => $body,
        }
    };
}

impl Snapshot {
    async fn open(engine: &Engine) -> Result<Self, StoreError> {
        match engine {
            Engine::Postgres { pool, .. } => {
                let mut transaction = pool.begin().await?;
                sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                    .execute(&mut *transaction)
                    .await?;
                // A long fold is no hung statement.
                sqlx::query("SET LOCAL statement_timeout = 0")
                    .execute(&mut *transaction)
                    .await?;
                Ok(Self::Postgres(transaction))
            }
            Engine::Sqlite { pool, .. } => Ok(Self::Sqlite(pool.begin().await?)),
        }
    }

    async fn head(&mut self) -> Result<i64, StoreError> {
        on_snapshot!(self, one => {
            let row = sqlx::query("SELECT position FROM log_head WHERE lane = 0").fetch_one(&mut **one).await?;
            Ok(row.try_get("position")?)
        })
    }

    /// The events after one position up to another, or fewer of them if they are large.
    async fn page(&mut self, after: i64, until: i64) -> Result<Vec<EventRecord>, StoreError> {
        let gap = |position| StoreError::corrupt("events", position, "the log has a gap");
        let (mut page, mut last, mut bytes) = (Vec::new(), after, 0);
        let stretch = Stretch {
            after,
            until,
            most: until - after,
            types: &[],
        };
        let take = |record: EventRecord| {
            // Positions are dense: each follows the one before.
            if record.position != last + 1 {
                return Err(gap(last + 1));
            }
            last = record.position;
            bytes += record.payload.len() + record.metadata.len();
            page.push(record);
            Ok(if bytes < PAGE_BYTES {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        };
        match self {
            Self::Postgres(one) => of_postgres(one, stretch, take).await?,
            Self::Sqlite(one) => of_sqlite(one, stretch, take).await?,
        }
        if bytes < PAGE_BYTES && last != until {
            return Err(gap(last + 1));
        }
        Ok(page)
    }

    /// The wrapped person keys of these users, as far as they are still there.
    ///
    /// Read beside the page, not joined to it: without statistics a planner joins by the scope alone, which reads
    /// every key for every event. `|| ''` keeps it from that here too.
    async fn person_keys(&mut self, subjects: Vec<String>) -> Result<HashMap<String, Vec<u8>>, StoreError> {
        const POSTGRES: &str = "
            SELECT subject, wrapped FROM subject_keys
            WHERE subject = ANY ($1) AND scope || '' = 'person' AND wrapped IS NOT NULL";
        const SQLITE: &str = "
            SELECT subject, wrapped FROM subject_keys
            WHERE subject IN (SELECT value FROM json_each(?1)) AND scope || '' = 'person' AND wrapped IS NOT NULL";
        match self {
            Self::Postgres(one) => {
                let rows = sqlx::query(POSTGRES).bind(subjects).fetch_all(&mut **one).await?;
                rows.iter()
                    .map(|row| Ok((row.try_get("subject")?, row.try_get("wrapped")?)))
                    .collect()
            }
            Self::Sqlite(one) => {
                let list = serde_json::json!(subjects).to_string();
                let rows = sqlx::query(SQLITE).bind(list).fetch_all(&mut **one).await?;
                rows.iter()
                    .map(|row| Ok((row.try_get("subject")?, row.try_get("wrapped")?)))
                    .collect()
            }
        }
    }

    /// The wrapped keys of these subjects' scopes, as far as they are still there. Each is looked up on its own, so
    /// that a domain with many blocked addresses costs no more.
    async fn keys(&mut self, wanted: &BTreeSet<Scoped>) -> Result<HashMap<Scoped, Vec<u8>>, StoreError> {
        const POSTGRES: &str = "
            SELECT wanted.subject, wanted.scope, known.wrapped
            FROM unnest($1::text[], $2::text[]) AS wanted (subject, scope)
            CROSS JOIN LATERAL (
                SELECT wrapped FROM subject_keys
                WHERE subject_keys.subject = wanted.subject AND subject_keys.scope = wanted.scope LIMIT 1
            ) AS known
            WHERE known.wrapped IS NOT NULL";
        const SQLITE: &str = "
            SELECT known.subject, known.scope, known.wrapped
            FROM json_each(?1) AS wanted CROSS JOIN subject_keys AS known
              ON known.subject = wanted.value ->> '$[0]' AND known.scope = wanted.value ->> '$[1]'
            WHERE known.wrapped IS NOT NULL";
        macro_rules! pairs {
            ($rows:expr) => {
                $rows
                    .iter()
                    .map(|row| {
                        let scoped = (row.try_get("subject")?, row.try_get("scope")?);
                        Ok((scoped, row.try_get("wrapped")?))
                    })
                    .collect()
            };
        }
        if wanted.is_empty() {
            return Ok(HashMap::new());
        }
        match self {
            Self::Postgres(one) => {
                let (subjects, scopes): (Vec<&str>, Vec<&str>) =
                    wanted.iter().map(|(subject, scope)| (&**subject, &**scope)).unzip();
                let query = sqlx::query(POSTGRES).bind(subjects).bind(scopes);
                pairs!(query.fetch_all(&mut **one).await?)
            }
            Self::Sqlite(one) => {
                let list = serde_json::json!(wanted).to_string();
                pairs!(sqlx::query(SQLITE).bind(list).fetch_all(&mut **one).await?)
            }
        }
    }

    /// A page of at most so many events, with the keys that open them as they are in this very view: whom somebody
    /// erases meanwhile is opened as before.
    async fn next(&mut self, after: i64, to: i64, size: i64) -> Result<Option<Page>, StoreError> {
        if after >= to {
            return Ok(None);
        }
        let until = to.min(after.saturating_add(size));
        let records = self.page(after, until).await?;
        let last = records.last().map_or(until, |record| record.position);
        let (users, others): (Vec<_>, Vec<_>) = records.into_iter().partition(|record| record.aggregate_type == "user");
        let subjects: BTreeSet<&str> = users.iter().map(|record| record.subject.as_str()).collect();
        let persons = self
            .person_keys(subjects.into_iter().map(str::to_owned).collect())
            .await?;
        let others: Vec<Parsed> = others.into_iter().map(Parsed::new).collect::<Result<_, _>>()?;
        let wanted = others.iter().flat_map(Parsed::scopes).collect();
        Ok(Some(Page {
            last,
            // Large events make the next page short, so that little is read in vain.
            size: if last < until {
                last - after
            } else {
                PAGE.min(size.saturating_mul(2))
            },
            users,
            persons,
            keys: self.keys(&wanted).await?,
            others,
        }))
    }

    async fn close(self) -> Result<(), StoreError> {
        on_snapshot!(self, one => Ok(one.rollback().await?))
    }
}

/// A subject and a scope: what has a key of its own.
type Scoped = (String, String);

/// Events of the log as they are stored, and the wrapped keys they were sealed with.
struct Page {
    last: i64,
    /// How many events the next page may have.
    size: i64,
    users: Vec<EventRecord>,
    persons: HashMap<String, Vec<u8>>,
    others: Vec<Parsed>,
    keys: HashMap<Scoped, Vec<u8>>,
}

/// An event whose texts are parsed and whose sealed parts are closed.
struct Parsed {
    record: EventRecord,
    payload: Value,
    metadata: HashMap<String, String>,
}

impl Parsed {
    fn new(record: EventRecord) -> Result<Self, StoreError> {
        let corrupt = |problem: serde_json::Error| StoreError::corrupt("events", record.position, problem);
        Ok(Self {
            payload: serde_json::from_str(&record.payload).map_err(corrupt)?,
            metadata: serde_json::from_str(&record.metadata).map_err(corrupt)?,
            record,
        })
    }

    /// What it was sealed with: its own parts, and where its request came from.
    fn scopes(&self) -> Vec<Scoped> {
        let own = scopes(&self.payload)
            .into_iter()
            .map(|scope| (self.record.subject.clone(), scope));
        let origin = self.metadata.get("origin_owner").zip(self.metadata.get("origin_scope"));
        own.chain(origin.map(|(owner, scope)| (owner.clone(), scope.clone())))
            .collect()
    }
}

/// An event that is ready to be folded.
struct Ready {
    record: EventRecord,
    event: AnyEvent,
    ip: Option<String>,
    user_agent: Option<String>,
}

impl From<OpenedEvent> for Ready {
    fn from(opened: OpenedEvent) -> Self {
        let OpenedEvent {
            record,
            event,
            ip,
            user_agent,
            ..
        } = opened;
        Self {
            record,
            event,
            ip,
            user_agent,
        }
    }
}

/// Opens a page with the keys read along: users' events on as many threads as [`OPENERS`], the others on one more.
async fn open_page(store: &Store, page: Page) -> Result<Vec<Ready>, StoreError> {
    let Page {
        users,
        persons,
        others,
        keys,
        ..
    } = page;
    let persons = Arc::new(persons);
    let (share, mut rest) = (users.len().div_ceil(OPENERS).max(1), users);
    let mut openers = Vec::with_capacity(OPENERS + 1);
    while !rest.is_empty() {
        let later = rest.split_off(share.min(rest.len()));
        let (mine, store, persons) = (std::mem::replace(&mut rest, later), store.clone(), Arc::clone(&persons));
        openers.push(tokio::task::spawn_blocking(move || open_users(&store, mine, &persons)));
    }
    if !others.is_empty() {
        let store = store.clone();
        openers.push(tokio::task::spawn_blocking(move || open_others(&store, others, &keys)));
    }
    let mut ready = Vec::new();
    for opener in openers {
        let opened = opener
            .await
            .map_err(|problem| StoreError::Refused(problem.to_string()))?;
        ready.extend(opened?);
    }
    ready.sort_by_key(|event| event.record.position);
    Ok(ready)
}

/// Opens what is not a user's event.
fn open_others(
    store: &Store,
    events: Vec<Parsed>,
    wrapped: &HashMap<Scoped, Vec<u8>>,
) -> Result<Vec<Ready>, StoreError> {
    let mut keys = HashMap::with_capacity(wrapped.len());
    for (scoped, wrapped) in wrapped {
        let key = DataKey::unwrap(&scoped.0, &scoped.1, wrapped, &store.keyring().masters())?;
        keys.insert(scoped.clone(), key);
    }
    let open = |Parsed {
                    record,
                    payload,
                    metadata,
                }| open_one(record, payload, metadata, &keys).map(Ready::from);
    events.into_iter().map(open).collect()
}

/// Opens users' events. Where a request came from is in no user's row, so it stays closed.
fn open_users(
    store: &Store,
    records: Vec<EventRecord>,
    wrapped: &HashMap<String, Vec<u8>>,
) -> Result<Vec<Ready>, StoreError> {
    let mut keys: HashMap<String, Option<DataKey>> = HashMap::new();
    let mut ready = Vec::with_capacity(records.len());
    for record in records {
        let key = if let Some(key) = keys.get(&record.subject) {
            key.clone()
        } else {
            let unwrap =
                |wrapped: &Vec<u8>| DataKey::unwrap(&record.subject, "person", wrapped, &store.keyring().masters());
            let key = wrapped.get(&record.subject).map(unwrap).transpose()?;
            keys.insert(record.subject.clone(), key.clone());
            key
        };
        let corrupt = |problem: serde_json::Error| StoreError::corrupt("events", record.position, problem);
        let mut payload: Value = serde_json::from_str(&record.payload).map_err(corrupt)?;
        let row = Row {
            aggregate_type: &record.aggregate_type,
            aggregate_id: &record.aggregate_id,
            sequence: record.sequence,
            event_type: &record.event_type,
            event_id: record.event_id,
        };
        open(&mut payload, &row, |scope| {
            Ok(key.clone().filter(|_| scope == "person"))
        })?;
        let event = AnyEvent::parse(&record.aggregate_type, payload).map_err(corrupt)?;
        ready.push(Ready {
            record,
            event,
            ip: None,
            user_agent: None,
        });
    }
    Ok(ready)
}

/// The shadow tables, with the rows not yet written to them.
struct Shadows {
    store: Store,
    hand: Hand,
    rows: Rows,
    /// Keys of rows that changed since they were last written.
    changed: Changed,
    /// What the rows in memory take, roughly: the events they came from, the boundaries that were read back.
    kept: usize,
    /// The users in the shadow with a large boundary, and how large it is.
    large: HashMap<Uuid, usize>,
    /// Users whose sessions and keys [`Shadows::finish`] is to look at; none: everybody's.
    unfinished: Option<BTreeSet<Uuid>>,
    /// Whether the planner has seen the shadows filled.
    analyzed: bool,
}

#[derive(Default)]
struct Changed {
    users: BTreeSet<Uuid>,
    sessions: BTreeSet<Uuid>,
    domains: BTreeSet<String>,
    api_keys: BTreeSet<Uuid>,
    addresses: BTreeSet<String>,
}

impl Changed {
    fn len(&self) -> usize {
        self.users.len() + self.sessions.len() + self.domains.len() + self.api_keys.len() + self.addresses.len()
    }
}

/// The connection that writes the shadows: one of its own, so that nothing that serves waits for a rebuild.
enum Hand {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

macro_rules! on_hand {
    ($hand:expr, $one:ident => $body:expr) => {
        match $hand {
            Hand::Postgres($one) => $body,
            Hand::Sqlite($one) => $body,
        }
    };
}

impl Hand {
    async fn open(engine: &Engine) -> Result<Self, StoreError> {
        match engine {
            Engine::Postgres { side, .. } => {
                let mut connection = side.connect_options().connect().await?;
                for sql in [
                    // A long fold is no hung statement.
                    "SET statement_timeout = 0",
                    // But a turn under the head lock must not stop the log: see `lock`.
                    "SET lock_timeout = '4s'",
                    "SET idle_in_transaction_session_timeout = '10s'",
                    // The shadows are kept here; 8 MB is little.
                    "SET temp_buffers = '64MB'",
                ] {
                    sqlx::query(sql).execute(&mut connection).await?;
                }
                Ok(Self::Postgres(connection))
            }
            Engine::Sqlite { side, .. } => {
                // It has no hurry: those who append go first.
                let options = (*side.connect_options()).clone().busy_timeout(Duration::from_mins(1));
                Ok(Self::Sqlite(options.connect().await?))
            }
        }
    }

    async fn execute(&mut self, sql: &str) -> Result<(), StoreError> {
        on_hand!(self, one => { sqlx::query(sql).execute(one).await?; });
        Ok(())
    }

    /// Takes the head lock and says where the log ends.
    async fn lock(&mut self) -> Result<i64, StoreError> {
        let (begin, head) = match self {
            Self::Postgres(_) => ("BEGIN", "SELECT position FROM log_head WHERE lane = 0 FOR UPDATE"),
            Self::Sqlite(_) => ("BEGIN IMMEDIATE", "SELECT position FROM log_head WHERE lane = 0"),
        };
        self.execute(begin).await?;
        if matches!(self, Self::Postgres(_)) {
            self.execute("SET LOCAL statement_timeout = '10s'").await?;
        }
        on_hand!(self, one => Ok(sqlx::query(head).fetch_one(one).await?.try_get("position")?))
    }
}

impl Shadows {
    async fn make(store: &Store) -> Result<Self, StoreError> {
        let mut hand = Hand::open(&store.inner.engine).await?;
        let postgres = matches!(hand, Hand::Postgres(_));
        for table in TABLES {
            let (name, shadow) = (table.name, shadow(table));
            let create = if postgres {
                format!("CREATE TEMP TABLE {shadow} (LIKE {name} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
            } else {
                format!("CREATE TEMP TABLE {shadow} AS SELECT * FROM {name} WHERE false")
            };
            hand.execute(&create).await?;
            let index = format!("CREATE UNIQUE INDEX {shadow}_key ON {shadow} ({})", table.keys());
            hand.execute(&index).await?;
        }
        // An account gives up all its names at once.
        hand.execute("CREATE INDEX shadow_names_user ON shadow_names (user_id)")
            .await?;
        Ok(Self {
            store: store.clone(),
            hand,
            rows: Rows::default(),
            changed: Changed::default(),
            kept: 0,
            large: HashMap::new(),
            unfinished: None,
            analyzed: false,
        })
    }

    /// The shadows go with their connection.
    async fn close(self) {
        let closed = on_hand!(self.hand, one => one.close().await);
        if let Err(error) = closed {
            tracing::debug!(%error, "the rebuild's connection was not closed in order");
        }
    }

    /// What finds the sessions and keys of a few users. While everything is folded it would only cost.
    async fn index_owners(&mut self) -> Result<(), StoreError> {
        for table in ["shadow_sessions", "shadow_api_keys"] {
            let sql = format!("CREATE INDEX {table}_user ON {table} (user_id)");
            self.hand.execute(&sql).await?;
        }
        self.analyze().await
    }

    /// Nobody else looks at temporary tables. Without it PostgreSQL takes every user for one of two hundred, and
    /// reads all rows rather than an index.
    async fn analyze(&mut self) -> Result<(), StoreError> {
        if matches!(self.hand, Hand::Postgres(_)) {
            for table in TABLES {
                self.hand.execute(&format!("ANALYZE {}", shadow(table))).await?;
            }
        }
        Ok(())
    }

    /// Folds the events after `from` up to `to`, writes the rows, and says how many events those were.
    async fn fold(&mut self, snapshot: &mut Snapshot, from: i64, to: i64) -> Result<i64, StoreError> {
        let store = self.store.clone();
        let (ready, mut pages) = mpsc::channel(AHEAD);
        // While rows are folded and written, the database reads on, and what it reads is opened.
        let reading = async move {
            let mut page = snapshot.next(from, to, PAGE).await?;
            while let Some(current) = page {
                let (last, size) = (current.last, current.size);
                let (opened, following) = tokio::join!(open_page(&store, current), snapshot.next(last, to, size));
                if ready.send(opened?).await.is_err() {
                    break;
                }
                page = following?;
            }
            Ok::<_, StoreError>(())
        };
        let folding = async {
            let mut events = 0;
            while let Some(page) = pages.recv().await {
                events += i64::try_from(page.len()).unwrap_or(i64::MAX);
                self.fold_page(&page).await?;
            }
            Ok(events)
        };
        let ((), events) = tokio::try_join!(reading, folding)?;
        self.write().await?;
        Ok(events)
    }

    async fn fold_page(&mut self, page: &[Ready]) -> Result<(), StoreError> {
        let mut rest = page;
        while !rest.is_empty() {
            let (some, later) = rest.split_at(self.fitting(rest));
            self.read_rows(some).await?;
            for event in some {
                self.fold_one(event);
            }
            if self.changed.len() >= KEPT_ROWS || self.kept >= KEPT_BYTES {
                self.write().await?;
            }
            rest = later;
        }
        Ok(())
    }

    /// How many of these events, at least one, can be folded before too much is in memory.
    fn fitting(&self, events: &[Ready]) -> usize {
        let (mut kept, mut seen) = (self.kept, BTreeSet::new());
        for (number, Ready { record, .. }) in events.iter().enumerate() {
            kept += record.payload.len();
            if !self.large.is_empty()
                && let Ok(user) = Uuid::parse_str(&record.subject)
                && let Some(boundary) = self.large.get(&user)
                && !self.rows.users.contains_key(&user)
                && seen.insert(user)
            {
                kept += boundary;
            }
            if kept >= KEPT_BYTES {
                return number + 1;
            }
        }
        events.len()
    }

    /// Reads the rows these events fold into that are not in memory.
    async fn read_rows(&mut self, events: &[Ready]) -> Result<(), StoreError> {
        let (mut users, mut sessions, mut domains) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let (mut api_keys, mut addresses) = (BTreeSet::new(), BTreeSet::new());
        for Ready { record, event, .. } in events {
            let known = record.sequence > 1;
            match event {
                AnyEvent::User(event) => {
                    users.extend(Uuid::parse_str(&record.aggregate_id).ok().filter(|_| known));
                    if let UserEvent::ApiKeyRevoked { key_id } = event {
                        api_keys.insert(*key_id);
                    }
                }
                AnyEvent::Session(_) => {
                    sessions.extend(Uuid::parse_str(&record.aggregate_id).ok().filter(|_| known));
                    users.extend(Uuid::parse_str(&record.subject).ok());
                }
                AnyEvent::Domain(event) => {
                    if known {
                        domains.insert(record.aggregate_id.clone());
                    }
                    if let aggregates::domain::DomainEvent::AddressUnblocked { address, .. } = event {
                        addresses.insert(address.as_str().to_owned());
                    }
                }
                AnyEvent::Audit(_) => {}
            }
        }
        let rows = &mut self.rows;
        users.retain(|id| !rows.users.contains_key(id) && !self.changed.users.contains(id));
        sessions.retain(|id| !rows.sessions.contains_key(id) && !self.changed.sessions.contains(id));
        domains.retain(|name| !rows.domains.contains_key(name) && !self.changed.domains.contains(name));
        api_keys.retain(|id| !rows.api_keys.contains_key(id) && !self.changed.api_keys.contains(id));
        addresses.retain(|a| !rows.addresses.contains_key(a) && !self.changed.addresses.contains(a));
        let hand = &mut self.hand;
        let found = read_shadow::<UserRow>(hand, &USERS, users.iter().map(Uuid::to_string)).await?;
        self.kept += found.iter().map(boundary_bytes).sum::<usize>();
        rows.users.extend(found.into_iter().map(|row| (row.id, row)));
        let found = read_shadow::<SessionRow>(hand, &SESSIONS, sessions.iter().map(Uuid::to_string)).await?;
        rows.sessions.extend(found.into_iter().map(|row| (row.id, row)));
        let found = read_shadow::<DomainRow>(hand, &DOMAINS, domains.into_iter()).await?;
        rows.domains
            .extend(found.into_iter().map(|row| (row.name.clone(), row)));
        let found = read_shadow::<ApiKeyRow>(hand, &API_KEYS, api_keys.iter().map(Uuid::to_string)).await?;
        rows.api_keys.extend(found.into_iter().map(|row| (row.id, row)));
        let found = read_shadow::<BlockedAddressRow>(hand, &BLOCKED_ADDRESSES, addresses.into_iter()).await?;
        rows.addresses
            .extend(found.into_iter().map(|row| (row.address.clone(), row)));
        Ok(())
    }

    fn fold_one(&mut self, opened: &Ready) {
        let record = &opened.record;
        let place = Place {
            aggregate_id: &record.aggregate_id,
            subject: &record.subject,
            event_id: record.event_id,
            sequence: record.sequence,
            position: record.position,
            at: record.recorded_at,
            ip: opened.ip.as_deref(),
            user_agent: opened.user_agent.as_deref(),
        };
        self.kept += record.payload.len();
        let stream = Uuid::parse_str(&record.aggregate_id).ok();
        self.rows.fold(&place, &opened.event);
        match &opened.event {
            AnyEvent::User(event) => {
                self.changed.users.extend(stream);
                if let UserEvent::ApiKeyIssued { key_id, .. } | UserEvent::ApiKeyRevoked { key_id } = event {
                    self.changed.api_keys.insert(*key_id);
                }
            }
            AnyEvent::Session(_) => {
                self.changed.sessions.extend(stream);
                self.changed.users.extend(Uuid::parse_str(&record.subject).ok());
            }
            AnyEvent::Domain(event) => {
                use aggregates::domain::DomainEvent;
                self.changed.domains.insert(record.aggregate_id.clone());
                if let DomainEvent::AddressBlocked { address, .. } | DomainEvent::AddressUnblocked { address, .. } =
                    event
                {
                    self.changed.addresses.insert(address.as_str().to_owned());
                }
            }
            AnyEvent::Audit(_) => {}
        }
    }

    /// Writes what changed and forgets it.
    async fn write(&mut self) -> Result<(), StoreError> {
        let rows = std::mem::take(&mut self.rows);
        let changed = std::mem::take(&mut self.changed);
        self.kept = 0;
        for id in &changed.users {
            match rows.users.get(id).map_or(0, boundary_bytes) {
                bytes if bytes >= LARGE => self.large.insert(*id, bytes),
                _ => self.large.remove(id),
            };
        }
        if let Some(users) = &mut self.unfinished {
            users.extend(&changed.users);
            users.extend(rows.sessions.values().map(|row| row.user_id));
            users.extend(rows.api_keys.values().map(|row| row.user_id));
        }
        let hand = &mut self.hand;
        write_shadow(hand, &USERS, &changed.users, &rows.users).await?;
        write_shadow(hand, &SESSIONS, &changed.sessions, &rows.sessions).await?;
        write_shadow(hand, &DOMAINS, &changed.domains, &rows.domains).await?;
        write_shadow(hand, &API_KEYS, &changed.api_keys, &rows.api_keys).await?;
        write_shadow(hand, &BLOCKED_ADDRESSES, &changed.addresses, &rows.addresses).await?;
        // The names of an account follow from its row.
        let mut names = Vec::new();
        for id in &changed.users {
            let Some(row) = rows.users.get(id) else { continue };
            for (kind, value) in name_keys(row, self.store.keyring()) {
                names.push((kind.as_str(), value, id.to_string()));
            }
        }
        let users: Vec<String> = changed.users.iter().map(Uuid::to_string).collect();
        write_names(hand, &users, &names).await?;
        // And what they are found by.
        let kept = || changed.users.iter().filter_map(|id| rows.users.get(id));
        let words = kept().flat_map(|row| word_rows(row).into_values());
        write_found(hand, &WORDS, &users, words).await?;
        let places = kept().flat_map(|row| places_of(row).into_values());
        write_found(hand, &PLACES, &users, places).await?;
        if !self.analyzed && !users.is_empty() {
            self.analyzed = true;
            self.analyze().await?;
        }
        Ok(())
    }

    /// What ended otherwise than by an event of its own stream: sessions by their user's epoch, keys and sessions
    /// by their user's erasure. After the first time only what users have that changed since the last.
    async fn finish(&mut self) -> Result<(), StoreError> {
        const ENDED: &str = "
            DELETE FROM shadow_sessions WHERE NOT EXISTS (
                SELECT 1 FROM shadow_users AS u
                WHERE u.id = shadow_sessions.user_id
                  AND (shadow_sessions.started_position > u.session_epoch OR shadow_sessions.id = u.kept_session))";
        const ORPHANED: &str = "
            DELETE FROM shadow_api_keys WHERE NOT EXISTS (
                SELECT 1 FROM shadow_users AS u WHERE u.id = shadow_api_keys.user_id)";
        let Some(users) = self.unfinished.replace(BTreeSet::new()) else {
            self.hand.execute(ENDED).await?;
            return self.hand.execute(ORPHANED).await;
        };
        let among = match &self.hand {
            Hand::Postgres(_) => "user_id IN (SELECT json_array_elements_text($1::json))",
            Hand::Sqlite(_) => "user_id IN (SELECT value FROM json_each(?1))",
        };
        let users: Vec<Value> = users.iter().map(|id| Value::String(id.to_string())).collect();
        for some in users.chunks(WRITTEN) {
            let list = serde_json::json!(some).to_string();
            for sql in [ENDED, ORPHANED] {
                let sql = format!("{sql} AND {among}");
                on_hand!(&mut self.hand, one => { sqlx::query(&sql).bind(&list).execute(one).await?; });
            }
        }
        Ok(())
    }

    /// The names of requests for another address that have lapsed, as keys.
    async fn lapsed_names(&mut self, now: Timestamp) -> Result<BTreeSet<String>, StoreError> {
        const LAPSED: &str = "
            SELECT pending_email_canonical AS address FROM shadow_users
            WHERE pending_email_canonical IS NOT NULL AND pending_email_expires <= $1";
        let addresses: Vec<String> = on_hand!(&mut self.hand, one => {
            let rows = sqlx::query(LAPSED).bind(now.as_micros()).fetch_all(one).await?;
            rows.into_iter().map(|row| row.try_get("address")).collect::<Result<_, sqlx::Error>>()?
        });
        let key = |address: String| {
            let kind = projections::NameKind::Email;
            format!("{}/{}", kind.as_str(), hex(&self.store.keyring().name(kind, &address)))
        };
        Ok(addresses.into_iter().map(key).collect())
    }

    /// Under the head lock: folds what came after `from` and puts the shadows of these keys in place.
    async fn replace(&mut self, table: &Table, keys: &[String], from: i64) -> Result<i64, StoreError> {
        let replaced = self.replace_locked(table, keys, from).await;
        let end = if replaced.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = self.hand.execute(end).await;
        let head = replaced?;
        ended.map(|()| head)
    }

    async fn replace_locked(&mut self, table: &Table, keys: &[String], from: i64) -> Result<i64, StoreError> {
        let head = self.hand.lock().await?;
        // In the very transaction that holds the lock: with a log that never rests it would never catch up outside.
        self.catch_up(from, head).await?;
        // Whatever came when: what has ended since must not come back.
        self.finish().await?;
        let (name, shadow, columns) = (table.name, shadow(table), table.list(""));
        let postgres = matches!(self.hand, Hand::Postgres(_));
        let (list, among) = among(table, keys, postgres);
        // A lapsed one may have been swept.
        let live = if name == SESSIONS.name {
            format!("AND expires_at > {}", self.store.now().as_micros())
        } else {
            String::new()
        };
        for sql in [
            format!("DELETE FROM {name} WHERE {among}"),
            format!("INSERT INTO {name} ({columns}) SELECT {columns} FROM {shadow} WHERE {among} {live}"),
        ] {
            on_hand!(&mut self.hand, one => { sqlx::query(&sql).bind(&list).execute(one).await?; });
        }
        self.hand.execute(LATER_HEAD).await?;
        Ok(head)
    }

    async fn catch_up(&mut self, from: i64, to: i64) -> Result<(), StoreError> {
        if from < to {
            let mut snapshot = Snapshot::open(&self.store.inner.engine).await?;
            self.fold(&mut snapshot, from, to).await?;
            snapshot.close().await?;
        }
        Ok(())
    }
}

/// What a row's boundary takes: nothing else of a row can be large.
fn boundary_bytes(row: &UserRow) -> usize {
    row.boundary.as_ref().map_or(0, String::len)
}

/// The rows with these keys: a JSON list and a condition over it that an index answers.
fn among(table: &Table, keys: &[String], postgres: bool) -> (String, String) {
    if table.name == NAMES.name {
        let names: Vec<(&str, &str)> = keys.iter().filter_map(|key| key.rsplit_once('/')).collect();
        let among = if postgres {
            "SELECT j ->> 0, decode(j ->> 1, 'hex') FROM json_array_elements($1::json) AS j"
        } else {
            "SELECT j.value ->> '$[0]', unhex(j.value ->> '$[1]') FROM json_each(?1) AS j"
        };
        return (
            serde_json::json!(names).to_string(),
            format!("(kind, value) IN ({among})"),
        );
    }
    if table.keys == 2 {
        let pairs: Vec<(&str, &str)> = keys.iter().filter_map(|key| key.split_once('/')).collect();
        let among = match (postgres, table.name == PLACES.name) {
            (true, true) => "SELECT j ->> 0, (j ->> 1)::bigint FROM json_array_elements($1::json) AS j",
            (true, false) => "SELECT j ->> 0, j ->> 1 FROM json_array_elements($1::json) AS j",
            (false, true) => "SELECT j.value ->> '$[0]', CAST(j.value ->> '$[1]' AS INTEGER) FROM json_each(?1) AS j",
            (false, false) => "SELECT j.value ->> '$[0]', j.value ->> '$[1]' FROM json_each(?1) AS j",
        };
        return (
            serde_json::json!(pairs).to_string(),
            format!("({}) IN ({among})", table.keys()),
        );
    }
    let among = if postgres {
        "SELECT json_array_elements_text($1::json)"
    } else {
        "SELECT value FROM json_each(?1)"
    };
    (
        serde_json::json!(keys).to_string(),
        format!("{} IN ({among})", table.key()),
    )
}

/// The key as one text, the same on both engines.
fn key_text(table: &Table, postgres: bool) -> String {
    match (table.name, table.columns, postgres) {
        (name, _, true) if name == NAMES.name => "(kind || '/' || encode(value, 'hex')) COLLATE \"C\"".to_owned(),
        (name, _, false) if name == NAMES.name => "(kind || '/' || lower(hex(value)))".to_owned(),
        (_, [user, second, ..], true) if table.keys == 2 => format!("({user} || '/' || {second}) COLLATE \"C\""),
        (_, [user, second, ..], false) if table.keys == 2 => format!("({user} || '/' || {second})"),
        _ => table.key().to_owned(),
    }
}

async fn read_shadow<T>(
    hand: &mut Hand,
    table: &Table,
    keys: impl ExactSizeIterator<Item = String>,
) -> Result<Vec<T>, StoreError>
where
    Read<T>: for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow> + for<'r> sqlx::FromRow<'r, sqlx::sqlite::SqliteRow>,
    T: Send + Unpin,
{
    if keys.len() == 0 {
        return Ok(Vec::new());
    }
    let list = Value::Array(keys.map(Value::String).collect()).to_string();
    let (columns, shadow, key) = (table.list(""), shadow(table), table.key());
    let rows: Vec<Read<T>> = match hand {
        Hand::Postgres(side) => {
            let sql =
                format!("SELECT {columns} FROM {shadow} WHERE {key} IN (SELECT json_array_elements_text($1::json))");
            sqlx::query_as(&sql).bind(list).fetch_all(&mut *side).await?
        }
        Hand::Sqlite(side) => {
            let sql = format!("SELECT {columns} FROM {shadow} WHERE {key} IN (SELECT value FROM json_each(?1))");
            sqlx::query_as(&sql).bind(list).fetch_all(&mut *side).await?
        }
    };
    Ok(rows.into_iter().map(|Read(row)| row).collect())
}

/// Rows written at a time: enough to spread the cost of a statement, few enough to bound its size.
const WRITTEN: usize = 2_000;
/// What those may take.
const WRITTEN_BYTES: usize = 8 << 20;

async fn write_shadow<K: Ord + ToString, R: Written>(
    hand: &mut Hand,
    table: &Table,
    changed: &BTreeSet<K>,
    rows: &BTreeMap<K, R>,
) -> Result<(), StoreError> {
    let (shadow, key) = (shadow(table), table.key());
    let gone: Vec<Value> = changed
        .iter()
        .filter(|key| !rows.contains_key(key))
        .map(|key| Value::String(key.to_string()))
        .collect();
    let mut kept = changed.iter().filter_map(|key| rows.get(key)).peekable();
    while kept.peek().is_some() {
        let (mut cells, mut bytes): (Vec<Vec<Cell<'_>>>, usize) = (Vec::new(), 0);
        while cells.len() < WRITTEN
            && bytes < WRITTEN_BYTES
            && let Some(row) = kept.next()
        {
            let row = row.cells();
            bytes += row.iter().map(text_bytes).sum::<usize>();
            cells.push(row);
        }
        insert(hand, table, &cells).await?;
    }
    if gone.is_empty() {
        return Ok(());
    }
    let list = Value::Array(gone).to_string();
    let among = match hand {
        Hand::Postgres(_) => "SELECT json_array_elements_text($1::json)",
        Hand::Sqlite(_) => "SELECT value FROM json_each($1)",
    };
    let sql = format!("DELETE FROM {shadow} WHERE {key} IN ({among})");
    on_hand!(hand, side => { sqlx::query(&sql).bind(list).execute(&mut *side).await?; });
    Ok(())
}

/// What these users are found by, in place of what they were.
async fn write_found<R: Written>(
    hand: &mut Hand,
    table: &Table,
    users: &[String],
    rows: impl Iterator<Item = R>,
) -> Result<(), StoreError> {
    let shadow = shadow(table);
    let among = match hand {
        Hand::Postgres(_) => "SELECT json_array_elements_text($1::json)",
        Hand::Sqlite(_) => "SELECT value FROM json_each($1)",
    };
    let sql = format!("DELETE FROM {shadow} WHERE user_id IN ({among})");
    let list = serde_json::json!(users).to_string();
    on_hand!(hand, side => { sqlx::query(&sql).bind(list).execute(&mut *side).await?; });
    let mut rows = rows.peekable();
    while rows.peek().is_some() {
        let some: Vec<R> = rows.by_ref().take(WRITTEN).collect();
        insert(hand, table, &some.iter().map(Written::cells).collect::<Vec<_>>()).await?;
    }
    Ok(())
}

/// Writes rows into the shadow of a table.
async fn insert(hand: &mut Hand, table: &Table, cells: &[Vec<Cell<'_>>]) -> Result<(), StoreError> {
    let shadow = shadow(table);
    match hand {
        Hand::Postgres(side) => {
            let Some(first) = cells.first() else { return Ok(()) };
            let sql = postgres::upsert(&shadow, table, first, 1, "");
            postgres::bind_columns(sqlx::query(&sql), cells)
                .execute(&mut *side)
                .await?;
            Ok(())
        }
        Hand::Sqlite(side) => sqlite::write_rows(side, &sqlite::upserts(&shadow, table), cells).await,
    }
}

fn text_bytes(cell: &Cell<'_>) -> usize {
    match cell {
        Cell::Text(Some(text)) => text.len(),
        _ => 0,
    }
}

async fn write_names(hand: &mut Hand, users: &[String], names: &[(&str, [u8; 32], String)]) -> Result<(), StoreError> {
    let users = Value::Array(users.iter().map(|id| Value::String(id.clone())).collect()).to_string();
    // Of two who hold one name in turn, within one statement too, the later has it.
    let list = |names: &[(&str, [u8; 32], String)]| {
        let last: BTreeMap<(&str, &[u8; 32]), &String> =
            names.iter().map(|(kind, value, user)| ((*kind, value), user)).collect();
        let rows = last.into_iter();
        Value::Array(
            rows.map(|((kind, value), user)| serde_json::json!([kind, hex(value), user]))
                .collect(),
        )
        .to_string()
    };
    match hand {
        Hand::Postgres(side) => {
            sqlx::query("DELETE FROM shadow_names WHERE user_id IN (SELECT json_array_elements_text($1::json))")
                .bind(users)
                .execute(&mut *side)
                .await?;
            for chunk in names.chunks(WRITTEN) {
                sqlx::query(
                    "INSERT INTO shadow_names (kind, value, user_id)
                     SELECT j ->> 0, decode(j ->> 1, 'hex'), j ->> 2 FROM json_array_elements($1::json) AS j
                     ON CONFLICT (kind, value) DO UPDATE SET user_id = excluded.user_id",
                )
                .bind(list(chunk))
                .execute(&mut *side)
                .await?;
            }
        }
        Hand::Sqlite(side) => {
            sqlx::query("DELETE FROM shadow_names WHERE user_id IN (SELECT value FROM json_each(?1))")
                .bind(users)
                .execute(&mut *side)
                .await?;
            for chunk in names.chunks(WRITTEN) {
                sqlx::query(
                    "INSERT INTO shadow_names (kind, value, user_id)
                     SELECT j.value ->> '$[0]', unhex(j.value ->> '$[1]'), j.value ->> '$[2]' FROM json_each(?1) AS j
                     WHERE true ON CONFLICT (kind, value) DO UPDATE SET user_id = excluded.user_id",
                )
                .bind(list(chunk))
                .execute(&mut *side)
                .await?;
            }
        }
    }
    Ok(())
}

/// Walks both sides of each table in key order.
struct Comparison {
    live: Digest,
    rebuilt: Digest,
    rows: Vec<(&'static str, u64, u64)>,
    differences: Vec<Difference>,
    keys: BTreeMap<&'static str, BTreeSet<String>>,
    /// Keys of names that somebody asked for and let lapse. Whether they are still in the table, or whose they have
    /// become, does not follow from the rows of users.
    lapsed: BTreeSet<String>,
}

impl Default for Comparison {
    fn default() -> Self {
        Self {
            live: Digest::new(&SHA256),
            rebuilt: Digest::new(&SHA256),
            rows: Vec::new(),
            differences: Vec::new(),
            keys: BTreeMap::new(),
            lapsed: BTreeSet::new(),
        }
    }
}

/// A row as both engines write it: its key, and its columns as a JSON array.
type Line = (String, String);

impl Comparison {
    async fn table(
        &mut self,
        table: &'static Table,
        snapshot: &mut Snapshot,
        hand: &mut Hand,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let postgres = matches!(snapshot, Snapshot::Postgres(_));
        let key = key_text(table, postgres);
        let columns: Vec<String> = table
            .columns
            .iter()
            .map(|column| match (*column, postgres) {
                ("value", true) => "encode(value, 'hex')".to_owned(),
                ("value", false) => "lower(hex(value))".to_owned(),
                (column, _) => column.to_owned(),
            })
            .collect();
        let array = if postgres {
            format!("json_build_array({})::text", columns.join(", "))
        } else {
            format!("json_array({})", columns.join(", "))
        };
        // Lapsed sessions are swept when convenient, so neither side counts them.
        let lapsed = if table.name == "sessions" {
            format!("WHERE expires_at > {}", now.as_micros())
        } else {
            String::new()
        };
        let sql = |name: &str| format!("SELECT {key} AS key, {array} AS line FROM {name} {lapsed} ORDER BY 1");
        let (live_sql, rebuilt_sql) = (sql(table.name), sql(&shadow(table)));
        let passed_over = if table.name == NAMES.name {
            std::mem::take(&mut self.lapsed)
        } else {
            BTreeSet::new()
        };
        let counts = |line: &Line| std::future::ready(!passed_over.contains(&line.0));
        macro_rules! lines {
            ($sql:expr, $executor:expr) => {
                sqlx::query($sql)
                    .fetch($executor)
                    .map(|row| {
                        let row = row?;
                        Ok::<Line, StoreError>((row.try_get_unchecked("key")?, row.try_get_unchecked("line")?))
                    })
                    .try_filter(counts)
                    .boxed()
            };
        }
        match (snapshot, hand) {
            (Snapshot::Postgres(one), Hand::Postgres(side)) => {
                self.walk(table, lines!(&live_sql, &mut **one), lines!(&rebuilt_sql, &mut *side))
                    .await
            }
            (Snapshot::Sqlite(one), Hand::Sqlite(side)) => {
                self.walk(table, lines!(&live_sql, &mut **one), lines!(&rebuilt_sql, &mut *side))
                    .await
            }
            _ => Err(StoreError::Refused("the snapshot is of another engine".into())),
        }
    }

    async fn walk<'a>(
        &mut self,
        table: &'static Table,
        mut live: futures::stream::BoxStream<'a, Result<Line, StoreError>>,
        mut rebuilt: futures::stream::BoxStream<'a, Result<Line, StoreError>>,
    ) -> Result<(), StoreError> {
        let (mut one, mut other) = (live.try_next().await?, rebuilt.try_next().await?);
        let (mut live_rows, mut rebuilt_rows) = (0, 0);
        loop {
            let order = match (&one, &other) {
                (None, None) => break,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some((a, _)), Some((b, _))) => a.as_bytes().cmp(b.as_bytes()),
            };
            if order.is_le()
                && let Some((key, line)) = &one
            {
                live_rows += 1;
                self.live.update(line.as_bytes());
                if order.is_lt() {
                    self.note(table, key, "unknown to the log".to_owned());
                }
            }
            if order.is_ge()
                && let Some((key, line)) = &other
            {
                rebuilt_rows += 1;
                self.rebuilt.update(line.as_bytes());
                match &one {
                    Some((_, live)) if order.is_eq() => {
                        if live != line {
                            self.note(table, key, different_columns(table, live, line));
                        }
                    }
                    _ => self.note(table, key, "missing".to_owned()),
                }
            }
            if order.is_le() {
                one = live.try_next().await?;
            }
            if order.is_ge() {
                other = rebuilt.try_next().await?;
            }
        }
        self.rows.push((table.name, live_rows, rebuilt_rows));
        Ok(())
    }

    fn note(&mut self, table: &'static Table, key: &str, what: String) {
        if self.differences.len() < NAMED {
            self.differences.push(Difference {
                table: table.name,
                // A word is personal: of words it is said whose they are.
                key: if table.name == WORDS.name {
                    key.split('/').next().unwrap_or_default().to_owned()
                } else {
                    key.to_owned()
                },
                what,
            });
        }
        self.keys.entry(table.name).or_default().insert(key.to_owned());
    }

    fn report(&self, position: i64, events: i64, took: Duration) -> RebuildReport {
        RebuildReport {
            position,
            events,
            took,
            rows: self.rows.clone(),
            live_checksum: hex(self.live.clone().finish().as_ref()),
            rebuilt_checksum: hex(self.rebuilt.clone().finish().as_ref()),
            differences: self.differences.clone(),
            different: self.keys.values().map(BTreeSet::len).sum(),
            swapped: 0,
        }
    }
}

/// The names of the columns that differ; never their values.
fn different_columns(table: &Table, live: &str, rebuilt: &str) -> String {
    let parse = |line: &str| serde_json::from_str::<Vec<Value>>(line).unwrap_or_default();
    let (live, rebuilt) = (parse(live), parse(rebuilt));
    let mut text = String::new();
    for (column, (a, b)) in table.columns.iter().zip(live.iter().zip(&rebuilt)) {
        if a != b {
            // Writing into a String cannot fail.
            let _ = write!(text, "{}{column}", if text.is_empty() { "" } else { ", " });
        }
    }
    text
}
