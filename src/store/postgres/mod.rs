//! PostgreSQL: the connection that writes. Reading is the same on both engines, see `read`.

mod write;

pub(super) use write::{bind_columns, upsert};

use std::sync::OnceLock;

use projections::NameKind;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, Row as _};
use uuid::Uuid;

use super::engine::LATER_HEAD;
use super::plan::{Facts, Head, Wanted};
use super::rows::{API_KEYS, BLOCKED_ADDRESSES, DOMAINS, Read, SESSIONS, Table, USERS};
use super::{NameKey, StoreError};

/// The one connection of a process that appends.
pub(super) struct PostgresWriter {
    options: PgConnectOptions,
    connection: Option<PgConnection>,
    sql: write::Statements,
}

/// Both in one round trip: while it lasts, nobody else can append.
const BEGIN: &str = "BEGIN; SELECT position, recorded_at FROM log_head WHERE lane = 0 FOR UPDATE";

/// The newest number of each stream, read backwards along the primary key so that a long stream costs no more.
const VERSIONS: &str = "
    SELECT wanted.kind, wanted.id AS stream, newest.sequence
    FROM unnest($1::text[], $2::text[]) AS wanted (kind, id)
    CROSS JOIN LATERAL (
        SELECT sequence FROM events
        WHERE aggregate_type = wanted.kind AND aggregate_id = wanted.id
        ORDER BY sequence DESC LIMIT 1
    ) AS newest";

const IDEMPOTENCY: &str = "
    SELECT known.caller, known.key_hash, known.request_hash, known.receipt
    FROM unnest($1::text[], $2::bytea[]) AS wanted (caller, key_hash)
    JOIN idempotency AS known ON known.caller = wanted.caller AND known.key_hash = wanted.key_hash
    WHERE known.expires_at > $3";

/// Keys that are there, and those of persons that were destroyed: they never begin anew.
const SUBJECT_KEYS: &str = "
    SELECT wanted.subject, wanted.scope
    FROM unnest($1::text[], $2::text[]) AS wanted (subject, scope)
    WHERE EXISTS (
        SELECT 1 FROM subject_keys AS known
        WHERE known.subject = wanted.subject
          AND (known.scope = wanted.scope AND (known.wrapped IS NOT NULL OR known.scope NOT LIKE 'address-%')
               OR known.scope = 'person' AND known.wrapped IS NULL)
    )";

const CODES: &str = "
    SELECT known.purpose, known.value
    FROM unnest($1::text[], $2::bytea[]) AS wanted (purpose, value)
    JOIN codes AS known ON known.purpose = wanted.purpose AND known.value = wanted.value";

const HOLDERS: &str = "
    SELECT known.kind, known.value, known.user_id
    FROM unnest($1::text[], $2::bytea[]) AS wanted (kind, value)
    JOIN names AS known ON known.kind = wanted.kind AND known.value = wanted.value";

const HAS_EVENT: &str = "SELECT EXISTS (SELECT 1 FROM events WHERE event_id = $1) AS found";

impl PostgresWriter {
    /// A writer that connects when it is first needed.
    pub fn new(options: PgConnectOptions) -> Self {
        // A lock that is not given, or a transaction that hangs, must not stop the log.
        let options = options.options([
            ("lock_timeout", "4s"),
            ("statement_timeout", "10s"),
            ("idle_in_transaction_session_timeout", "10s"),
        ]);
        Self {
            options,
            connection: None,
            sql: write::Statements::new(),
        }
    }

    pub fn disconnect(&mut self) {
        self.connection = None;
    }

    pub async fn close(self) {
        if let Some(connection) = self.connection {
            let _ = connection.close().await;
        }
    }

    async fn connection(&mut self) -> Result<&mut PgConnection, StoreError> {
        if self.connection.is_none() {
            self.connection = Some(self.options.connect().await?);
        }
        self.connection
            .as_mut()
            .ok_or_else(|| StoreError::Unavailable("not connected".into()))
    }

    pub async fn begin(&mut self) -> Result<Head, StoreError> {
        let connection = self.connection().await?;
        let row = connection.fetch_one(BEGIN).await?;
        Ok(Head {
            position: row.try_get("position")?,
            recorded_at: row.try_get("recorded_at")?,
        })
    }

    pub async fn commit(&mut self) -> Result<(), StoreError> {
        sqlx::query("COMMIT").execute(self.connection().await?).await?;
        Ok(())
    }

    /// Ends the transaction with the head a microsecond later, which no statement of before expects.
    pub async fn shut_out(&mut self) -> Result<(), StoreError> {
        let connection = self.connection().await?;
        sqlx::query(LATER_HEAD).execute(&mut *connection).await?;
        sqlx::query("COMMIT").execute(connection).await?;
        Ok(())
    }

    pub async fn rollback(&mut self) -> Result<(), StoreError> {
        if let Some(connection) = self.connection.as_mut()
            && sqlx::query("ROLLBACK").execute(&mut *connection).await.is_err()
        {
            self.connection = None;
        }
        Ok(())
    }

    pub async fn has_event(&mut self, event_id: Uuid) -> Result<bool, StoreError> {
        let row = sqlx::query(HAS_EVENT)
            .bind(event_id.to_string())
            .fetch_one(self.connection().await?)
            .await?;
        Ok(row.try_get("found")?)
    }

    pub async fn gather(&mut self, wanted: &Wanted, now: i64) -> Result<Facts, StoreError> {
        let connection = self.connection().await?;
        let mut facts = versions(connection, wanted).await?;
        if !wanted.idempotency.is_empty() {
            let (callers, keys): (Vec<&str>, Vec<&[u8]>) = wanted
                .idempotency
                .iter()
                .map(|(caller, key)| (caller.as_str(), key.as_slice()))
                .unzip();
            let query = sqlx::query(IDEMPOTENCY).bind(callers).bind(keys).bind(now);
            for row in query.fetch_all(&mut *connection).await? {
                let key = (row.try_get("caller")?, hash(row.try_get("key_hash")?)?);
                facts
                    .idempotency
                    .insert(key, (hash(row.try_get("request_hash")?)?, row.try_get("receipt")?));
            }
        }
        if !wanted.keys.is_empty() {
            let (subjects, scopes): (Vec<&str>, Vec<&str>) = wanted
                .keys
                .iter()
                .map(|(subject, scope)| (subject.as_str(), scope.as_str()))
                .unzip();
            for row in sqlx::query(SUBJECT_KEYS)
                .bind(subjects)
                .bind(scopes)
                .fetch_all(&mut *connection)
                .await?
            {
                facts.keys.insert((row.try_get("subject")?, row.try_get("scope")?));
            }
        }
        if !wanted.codes.is_empty() {
            let (purposes, values): (Vec<&str>, Vec<&[u8]>) = wanted
                .codes
                .iter()
                .map(|(purpose, value)| (*purpose, value.as_slice()))
                .unzip();
            for row in sqlx::query(CODES)
                .bind(purposes)
                .bind(values)
                .fetch_all(&mut *connection)
                .await?
            {
                facts
                    .codes
                    .insert((row.try_get("purpose")?, hash(row.try_get("value")?)?));
            }
        }
        let rows = &mut facts.rows;
        // Users of whom only a session is added to.
        let others: Vec<_> = wanted.users.iter().filter(|id| !rows.users.contains_key(id)).collect();
        let users = rows_of(connection, &USERS, others.into_iter()).await?;
        rows.users.extend(
            users
                .into_iter()
                .map(|Read(row): Read<projections::UserRow>| (row.id, row)),
        );
        let sessions = rows_of(connection, &SESSIONS, wanted.sessions.iter()).await?;
        rows.sessions = sessions
            .into_iter()
            .map(|Read(row): Read<projections::SessionRow>| (row.id, row))
            .collect();
        let domains = rows_of(connection, &DOMAINS, wanted.domains.iter()).await?;
        rows.domains = domains
            .into_iter()
            .map(|Read(row): Read<projections::DomainRow>| (row.name.clone(), row))
            .collect();
        let api_keys = rows_of(connection, &API_KEYS, wanted.api_keys.iter()).await?;
        rows.api_keys = api_keys
            .into_iter()
            .map(|Read(row): Read<projections::ApiKeyRow>| (row.id, row))
            .collect();
        let addresses = rows_of(connection, &BLOCKED_ADDRESSES, wanted.addresses.iter()).await?;
        rows.addresses = addresses
            .into_iter()
            .map(|Read(row): Read<projections::BlockedAddressRow>| (row.address.clone(), row))
            .collect();
        Ok(facts)
    }

    /// Which of these names somebody holds.
    pub async fn holders(&mut self, names: &[NameKey]) -> Result<Vec<(NameKey, Uuid)>, StoreError> {
        let (kinds, values): (Vec<&str>, Vec<&[u8]>) = names
            .iter()
            .map(|(kind, value)| (kind.as_str(), value.as_slice()))
            .unzip();
        let query = sqlx::query(HOLDERS).bind(kinds).bind(values);
        let rows = query.fetch_all(self.connection().await?).await?;
        rows.into_iter()
            .map(|row| {
                let holder = Uuid::parse_str(row.try_get("user_id")?)
                    .map_err(|problem| StoreError::corrupt("names", "?", problem))?;
                Ok(((kind(row.try_get("kind")?)?, hash(row.try_get("value")?)?), holder))
            })
            .collect()
    }

    /// The rows of these users, as far as there are any.
    pub async fn users(&mut self, ids: &[Uuid]) -> Result<Vec<projections::UserRow>, StoreError> {
        let rows = rows_of(self.connection().await?, &USERS, ids.iter()).await?;
        Ok(rows
            .into_iter()
            .map(|Read(row): Read<projections::UserRow>| row)
            .collect())
    }
}

/// The streams' versions, and in the same round trip the rows of those that are users.
async fn versions(connection: &mut PgConnection, wanted: &Wanted) -> Result<Facts, StoreError> {
    let mut facts = Facts::default();
    let (kinds, ids): (Vec<&str>, Vec<&str>) = wanted.streams.iter().map(|(kind, id)| (*kind, id.as_str())).unzip();
    let with_users = !wanted.users.is_empty();
    let sql = if with_users { versions_and_users() } else { VERSIONS };
    for row in sqlx::query(sql).bind(kinds).bind(ids).fetch_all(connection).await? {
        let stream = (row.try_get("kind")?, row.try_get("stream")?);
        facts.versions.insert(stream, row.try_get("sequence")?);
        if with_users && row.try_get::<Option<&str>, _>("id")?.is_some() {
            let Read(user): Read<projections::UserRow> = sqlx::FromRow::from_row(&row)?;
            facts.rows.users.insert(user.id, user);
        }
    }
    Ok(facts)
}

fn versions_and_users() -> &'static str {
    static SQL: OnceLock<String> = OnceLock::new();
    SQL.get_or_init(|| {
        format!(
            "SELECT found.kind, found.stream, found.sequence, {} FROM ({VERSIONS}) AS found
             LEFT JOIN users ON found.kind = 'user' AND users.id = found.stream",
            USERS.list("users.")
        )
    })
}

async fn rows_of<T>(
    connection: &mut PgConnection,
    table: &Table,
    keys: impl ExactSizeIterator<Item = impl ToString>,
) -> Result<Vec<T>, StoreError>
where
    T: for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow> + Send + Unpin,
{
    if keys.len() == 0 {
        return Ok(Vec::new());
    }
    let keys: Vec<String> = keys.map(|key| key.to_string()).collect();
    let sql = format!(
        "SELECT {} FROM {} WHERE {} = ANY ($1)",
        table.list(""),
        table.name,
        table.key()
    );
    Ok(sqlx::query_as(&sql).bind(keys).fetch_all(connection).await?)
}

pub(super) fn hash(bytes: &[u8]) -> Result<[u8; 32], StoreError> {
    bytes
        .try_into()
        .map_err(|_| StoreError::corrupt("hash", "?", "a hash is not 32 bytes long"))
}

pub(super) fn kind(text: &str) -> Result<NameKind, StoreError> {
    NameKind::parse(text).ok_or_else(|| StoreError::corrupt("names", text, "no such kind of name"))
}
