//! SQLite: the connection that writes. Reading is the same on both engines, see `read`.
//!
//! Lists go in as one JSON array, hashes in it as hexadecimal digits: SQLite has no array type.

mod write;

pub(super) use write::{upserts, write_rows};

use projections::{ApiKeyRow, BlockedAddressRow, DomainRow, SessionRow, UserRow};
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};
use uuid::Uuid;

use super::plan::{Facts, Head, Wanted};
use super::postgres::{hash, kind};
use super::rows::{API_KEYS, BLOCKED_ADDRESSES, DOMAINS, Read, SESSIONS, Table, USERS};
use super::{NameKey, StoreError};
use crate::keys::hex;

/// The one connection of a process that appends.
pub(super) struct SqliteWriter {
    options: SqliteConnectOptions,
    connection: Option<SqliteConnection>,
    sql: write::Statements,
}

const HEAD: &str = "SELECT position, recorded_at FROM log_head WHERE lane = 0";

/// Streams as `kind/id`: cutting a text costs less than reading JSON in JSON.
const VERSIONS: &str = "
    SELECT kind, id,
           (SELECT max(sequence) FROM events WHERE aggregate_type = kind AND aggregate_id = id) AS sequence
    FROM (SELECT substr(value, 1, instr(value, '/') - 1) AS kind, substr(value, instr(value, '/') + 1) AS id
          FROM json_each(?1))";

const IDEMPOTENCY: &str = "
    SELECT caller, key_hash, request_hash, receipt FROM idempotency
    WHERE (caller, key_hash) IN (SELECT value ->> '$[0]', unhex(value ->> '$[1]') FROM json_each(?1))
      AND expires_at > ?2";

/// Keys that are there, and those of persons that were destroyed: they never begin anew.
const SUBJECT_KEYS: &str = "
    SELECT wanted.value ->> '$[0]' AS subject, wanted.value ->> '$[1]' AS scope
    FROM json_each(?1) AS wanted
    WHERE EXISTS (
        SELECT 1 FROM subject_keys AS known
        WHERE known.subject = wanted.value ->> '$[0]'
          AND (known.scope = wanted.value ->> '$[1]' AND (known.wrapped IS NOT NULL OR known.scope NOT LIKE 'address-%')
               OR known.scope = 'person' AND known.wrapped IS NULL)
    )";

const CODES: &str = "
    SELECT purpose, value FROM codes
    WHERE (purpose, value) IN (SELECT j.value ->> '$[0]', unhex(j.value ->> '$[1]') FROM json_each(?1) AS j)";

const HOLDERS: &str = "
    SELECT kind, value, user_id FROM names
    WHERE (kind, value) IN (SELECT j.value ->> '$[0]', unhex(j.value ->> '$[1]') FROM json_each(?1) AS j)";

const HAS_EVENT: &str = "SELECT EXISTS (SELECT 1 FROM events WHERE event_id = ?1) AS found";

impl SqliteWriter {
    /// A writer that opens the file when it is first needed.
    pub fn new(options: SqliteConnectOptions) -> Self {
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

    async fn connection(&mut self) -> Result<&mut SqliteConnection, StoreError> {
        if self.connection.is_none() {
            self.connection = Some(self.options.connect().await?);
        }
        self.connection
            .as_mut()
            .ok_or_else(|| StoreError::Unavailable("not connected".into()))
    }

    /// `BEGIN IMMEDIATE` takes the one write lock of the file: it is the head lock.
    pub async fn begin(&mut self) -> Result<Head, StoreError> {
        let connection = self.connection().await?;
        sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
        let row = sqlx::query(HEAD).fetch_one(&mut *connection).await?;
        Ok(Head {
            position: row.try_get("position")?,
            recorded_at: row.try_get("recorded_at")?,
        })
    }

    pub async fn commit(&mut self) -> Result<(), StoreError> {
        sqlx::query("COMMIT").execute(self.connection().await?).await?;
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
        let mut facts = Facts::default();
        let streams: Vec<String> = wanted.streams.iter().map(|(kind, id)| format!("{kind}/{id}")).collect();
        for row in sqlx::query(VERSIONS)
            .bind(json!(streams).to_string())
            .fetch_all(&mut *connection)
            .await?
        {
            let sequence: Option<i64> = row.try_get("sequence")?;
            facts
                .versions
                .insert((row.try_get("kind")?, row.try_get("id")?), sequence.unwrap_or_default());
        }
        if !wanted.idempotency.is_empty() {
            let list = hashes(wanted.idempotency.iter().map(|(caller, key)| (caller.as_str(), key)));
            for row in sqlx::query(IDEMPOTENCY)
                .bind(list)
                .bind(now)
                .fetch_all(&mut *connection)
                .await?
            {
                let key = (row.try_get("caller")?, hash(row.try_get("key_hash")?)?);
                facts
                    .idempotency
                    .insert(key, (hash(row.try_get("request_hash")?)?, row.try_get("receipt")?));
            }
        }
        if !wanted.keys.is_empty() {
            for row in sqlx::query(SUBJECT_KEYS)
                .bind(pairs(&wanted.keys))
                .fetch_all(&mut *connection)
                .await?
            {
                facts.keys.insert((row.try_get("subject")?, row.try_get("scope")?));
            }
        }
        if !wanted.codes.is_empty() {
            let list = hashes(wanted.codes.iter().map(|(purpose, value)| (*purpose, value)));
            for row in sqlx::query(CODES).bind(list).fetch_all(&mut *connection).await? {
                facts
                    .codes
                    .insert((row.try_get("purpose")?, hash(row.try_get("value")?)?));
            }
        }
        let rows = &mut facts.rows;
        let users = rows_of(connection, &USERS, wanted.users.iter()).await?;
        rows.users = users
            .into_iter()
            .map(|Read(row): Read<UserRow>| (row.id, row))
            .collect();
        let sessions = rows_of(connection, &SESSIONS, wanted.sessions.iter()).await?;
        rows.sessions = sessions
            .into_iter()
            .map(|Read(row): Read<SessionRow>| (row.id, row))
            .collect();
        let domains = rows_of(connection, &DOMAINS, wanted.domains.iter()).await?;
        rows.domains = domains
            .into_iter()
            .map(|Read(row): Read<DomainRow>| (row.name.clone(), row))
            .collect();
        let api_keys = rows_of(connection, &API_KEYS, wanted.api_keys.iter()).await?;
        rows.api_keys = api_keys
            .into_iter()
            .map(|Read(row): Read<ApiKeyRow>| (row.id, row))
            .collect();
        let addresses = rows_of(connection, &BLOCKED_ADDRESSES, wanted.addresses.iter()).await?;
        rows.addresses = addresses
            .into_iter()
            .map(|Read(row): Read<BlockedAddressRow>| (row.address.clone(), row))
            .collect();
        Ok(facts)
    }

    /// Which of these names somebody holds.
    pub async fn holders(&mut self, names: &[NameKey]) -> Result<Vec<(NameKey, Uuid)>, StoreError> {
        let list = hashes(names.iter().map(|(kind, value)| (kind.as_str(), value)));
        let rows = sqlx::query(HOLDERS)
            .bind(list)
            .fetch_all(self.connection().await?)
            .await?;
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

/// `[["a","b"],…]`
fn pairs<'a, A: AsRef<str> + 'a>(items: impl IntoIterator<Item = &'a (A, String)>) -> String {
    Value::Array(
        items
            .into_iter()
            .map(|(one, other)| json!([one.as_ref(), other]))
            .collect(),
    )
    .to_string()
}

/// `[["a","00ff…"],…]`
fn hashes<'a>(items: impl Iterator<Item = (&'a str, &'a [u8; 32])>) -> String {
    Value::Array(items.map(|(text, bytes)| json!([text, hex(bytes)])).collect()).to_string()
}

async fn rows_of<T>(
    connection: &mut SqliteConnection,
    table: &Table,
    keys: impl ExactSizeIterator<Item = impl ToString>,
) -> Result<Vec<T>, StoreError>
where
    T: for<'r> sqlx::FromRow<'r, SqliteRow> + Send + Unpin,
{
    if keys.len() == 0 {
        return Ok(Vec::new());
    }
    let keys: Vec<String> = keys.map(|key| key.to_string()).collect();
    let sql = format!(
        "SELECT {} FROM {} WHERE {} IN (SELECT value FROM json_each(?1))",
        table.list(""),
        table.name,
        table.key()
    );
    Ok(sqlx::query_as(&sql)
        .bind(json!(keys).to_string())
        .fetch_all(connection)
        .await?)
}
