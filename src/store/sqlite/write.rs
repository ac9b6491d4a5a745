//! What a batch writes, in SQLite: one statement per table.

use std::sync::OnceLock;

use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnection;

use super::SqliteWriter;
use crate::StoreError;
use crate::keys::hex;
use crate::plan::{EVENT_VERSION, Plan};
use crate::rows::{API_KEYS, BLOCKED_ADDRESSES, Cell, DOMAINS, PLACES, SESSIONS, Table, USERS, WORDS, Written};

const INSERT_EVENTS: &str = "
    INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata,
                        position, event_id, subject, recorded_at, leaf_hash) ";

/// How many columns those are.
const EVENT_COLUMNS: usize = 12;

const MOVE_HEAD: &str = "UPDATE log_head SET position = ?1, recorded_at = ?2 WHERE lane = 0";

const OLD_WORDS: &str = "
    DELETE FROM user_words
    WHERE (user_id, word) IN (SELECT j.value ->> '$[0]', j.value ->> '$[1]' FROM json_each(?1) AS j)";

const OLD_PLACES: &str = "
    DELETE FROM user_places
    WHERE (user_id, cell) IN (SELECT j.value ->> '$[0]', j.value ->> '$[1]' FROM json_each(?1) AS j)";

const RELEASE: &str = "
    DELETE FROM names
    WHERE (kind, value, user_id) IN (
        SELECT j.value ->> '$[0]', unhex(j.value ->> '$[1]'), j.value ->> '$[2]' FROM json_each(?1) AS j)";

const CLAIM: &str = "
    INSERT INTO names (kind, value, user_id)
    SELECT value ->> '$[0]', unhex(value ->> '$[1]'), value ->> '$[2]' FROM json_each(?1)";

/// A sign-in that hashes an old password anew does not undo a change that came first.
const CREDENTIALS: &str = "
    INSERT INTO credentials (user_id, version, hash)
    SELECT value ->> '$[0]', value ->> '$[1]', value ->> '$[2]' FROM json_each(?1) WHERE true
    ON CONFLICT (user_id) DO UPDATE SET version = excluded.version, hash = excluded.hash
    WHERE credentials.version <= excluded.version";

const SECRETS: &str = "
    INSERT INTO secrets (kind, hash, owner, user_id, generation, expires_at)
    SELECT value ->> '$[0]', unhex(value ->> '$[1]'), value ->> '$[2]', value ->> '$[3]', value ->> '$[4]',
           value ->> '$[5]'
    FROM json_each(?1)";

const DROP_SECRETS: &str = "DELETE FROM secrets WHERE owner IN (SELECT value FROM json_each(?1))";

const CODES_REPLACED: &str = "
    DELETE FROM codes
    WHERE (purpose, user_id) IN (SELECT j.value ->> '$[0]', j.value ->> '$[3]' FROM json_each(?1) AS j)";

const CODES: &str = "
    INSERT INTO codes (purpose, value, request_id, user_id, tries, expires_at, sealed)
    SELECT j.value ->> '$[0]', unhex(j.value ->> '$[1]'), j.value ->> '$[2]', j.value ->> '$[3]', 0,
           j.value ->> '$[4]', unhex(j.value ->> '$[5]')
    FROM json_each(?1) AS j";

/// A day longer than it works; the same code of long ago begins anew.
const PAST_CODES: &str = "
    INSERT INTO past_codes (purpose, value, request_id, user_id, expires_at)
    SELECT j.value ->> '$[0]', unhex(j.value ->> '$[1]'), j.value ->> '$[2]', j.value ->> '$[3]',
           j.value ->> '$[4]' + 86400000000
    FROM json_each(?1) AS j WHERE true
    ON CONFLICT (purpose, user_id, value) DO UPDATE
    SET request_id = excluded.request_id, expires_at = excluded.expires_at";

const DROP_PAST_CODES: &str = "DELETE FROM past_codes WHERE request_id IN (SELECT value FROM json_each(?1))";

const FAREWELLS: &str = "
    INSERT INTO farewells (user_id, sealed, expires_at)
    SELECT value ->> '$[0]', unhex(value ->> '$[1]'), value ->> '$[2]' FROM json_each(?1)";

const DROP_CODES: &str = "DELETE FROM codes WHERE request_id IN (SELECT value FROM json_each(?1))";

/// A scope whose key was destroyed may begin anew: an address that is blocked again.
const NEW_KEYS: &str = "
    INSERT INTO subject_keys (subject, scope, wrapped, kek_id, created_at)
    SELECT value ->> '$[0]', value ->> '$[1]', unhex(value ->> '$[2]'), value ->> '$[3]', ?2
    FROM json_each(?1) WHERE true
    ON CONFLICT (subject, scope) DO UPDATE
    SET wrapped = excluded.wrapped, kek_id = excluded.kek_id, created_at = excluded.created_at, destroyed_at = NULL";

const DESTROY_KEYS: &str = "
    UPDATE subject_keys SET wrapped = NULL, destroyed_at = ?2
    WHERE wrapped IS NOT NULL
      AND (subject, scope) IN (SELECT value ->> '$[0]', value ->> '$[1]' FROM json_each(?1))";

const IDEMPOTENCY: &str = "
    INSERT INTO idempotency (caller, key_hash, request_hash, receipt, expires_at)
    SELECT value ->> '$[0]', unhex(value ->> '$[1]'), unhex(value ->> '$[2]'), value ->> '$[3]', value ->> '$[4]'
    FROM json_each(?1) WHERE true
    ON CONFLICT (caller, key_hash) DO UPDATE
    SET request_hash = excluded.request_hash, receipt = excluded.receipt, expires_at = excluded.expires_at";

/// The hash of an opaque token stays for its time: it opens nothing, but its holder can be told why.
const END_SECRETS: &str = "
    DELETE FROM secrets WHERE kind <> 'opaque' AND owner IN (
        SELECT sessions.id FROM sessions JOIN json_each(?1) AS ended ON sessions.user_id = ended.value ->> '$[0]'
        WHERE sessions.started_position <= ended.value ->> '$[1]' AND sessions.id IS NOT ended.value ->> '$[2]')";

const END_SESSIONS: &str = "
    DELETE FROM sessions WHERE id IN (
        SELECT sessions.id FROM sessions JOIN json_each(?1) AS ended ON sessions.user_id = ended.value ->> '$[0]'
        WHERE sessions.started_position <= ended.value ->> '$[1]' AND sessions.id IS NOT ended.value ->> '$[2]')";

/// Everything about an erased user that is not history. Their rows of `users` and `names` go with the fold.
const ERASE: [&str; 9] = [
    "DELETE FROM credentials WHERE user_id IN (SELECT value FROM json_each(?1))",
    "DELETE FROM secrets WHERE user_id IN (SELECT value FROM json_each(?1))",
    "DELETE FROM codes WHERE user_id IN (SELECT value FROM json_each(?1))",
    "DELETE FROM past_codes WHERE user_id IN (SELECT value FROM json_each(?1))",
    "DELETE FROM sessions WHERE user_id IN (SELECT value FROM json_each(?1))",
    "DELETE FROM api_keys WHERE user_id IN (SELECT value FROM json_each(?1))",
    "DELETE FROM api_key_uses WHERE user_id IN (SELECT value FROM json_each(?1))",
    "DELETE FROM user_words WHERE user_id IN (SELECT value FROM json_each(?1))",
    "DELETE FROM user_places WHERE user_id IN (SELECT value FROM json_each(?1))",
];

const DESTROY_ALL_KEYS: &str = "
    UPDATE subject_keys SET wrapped = NULL, destroyed_at = ?2
    WHERE wrapped IS NOT NULL AND subject IN (SELECT value FROM json_each(?1))";

/// Upsert and delete of each read-model table, made once.
pub(super) struct Statements {
    users: RowStatements,
    sessions: RowStatements,
    api_keys: RowStatements,
    domains: RowStatements,
    addresses: RowStatements,
    words: RowStatements,
    places: RowStatements,
}

struct RowStatements {
    /// As many as [`ROWS_AT_ONCE`] has sizes.
    upserts: Vec<String>,
    delete: String,
}

impl RowStatements {
    fn new(table: &'static Table) -> Self {
        Self {
            upserts: upserts(table.name, table),
            delete: format!(
                "DELETE FROM {} WHERE {} IN (SELECT value FROM json_each(?1))",
                table.name,
                table.key()
            ),
        }
    }

    /// Writes the rows that are, deletes those that are no more.
    async fn write<'a, K: ToString + 'a, R: Written + 'a>(
        &self,
        connection: &mut SqliteConnection,
        rows: impl Iterator<Item = (&'a K, &'a Option<R>)>,
    ) -> Result<(), StoreError> {
        let (mut upserts, mut deletes) = (Vec::new(), Vec::new());
        for (key, row) in rows {
            match row {
                Some(row) => upserts.push(row.cells()),
                None => deletes.push(Value::String(key.to_string())),
            }
        }
        write_rows(connection, &self.upserts, &upserts).await?;
        run(connection, &self.delete, deletes, None).await
    }
}

/// Rows in one statement. A few sizes only, so that each stays prepared; the largest binds fewer values than
/// SQLite takes.
const ROWS_AT_ONCE: [usize; 4] = [64, 16, 4, 1];

/// Cuts a list into pieces of those sizes.
fn pieces<T>(mut list: &[T]) -> impl Iterator<Item = (usize, &[T])> {
    std::iter::from_fn(move || {
        let (which, size) = ROWS_AT_ONCE
            .into_iter()
            .enumerate()
            .find(|(_, size)| *size <= list.len())?;
        let (piece, rest) = list.split_at(size);
        list = rest;
        Some((which, piece))
    })
}

/// `(?, ?), (?, ?)`: so many rows of so many columns.
fn places(rows: usize, columns: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(", "));
    vec![row.as_str(); rows].join(", ")
}

/// The statements that insert or replace rows of `table` in `target`, one for each size.
pub(crate) fn upserts(target: &str, table: &Table) -> Vec<String> {
    let made = |rows| {
        format!(
            "INSERT INTO {target} ({}) VALUES {} {}",
            table.list(""),
            places(rows, table.columns.len()),
            table.replacing()
        )
    };
    ROWS_AT_ONCE.into_iter().map(made).collect()
}

/// Writes rows by the statements that [`upserts`] made.
pub(crate) async fn write_rows(
    connection: &mut SqliteConnection,
    upserts: &[String],
    rows: &[Vec<Cell<'_>>],
) -> Result<(), StoreError> {
    for (which, piece) in pieces(rows) {
        let Some(sql) = upserts.get(which) else { break };
        let mut query = sqlx::query(sql);
        for cell in piece.iter().flatten() {
            query = match cell {
                Cell::Text(text) => query.bind(text.as_deref()),
                Cell::Number(number) => query.bind(*number),
                Cell::Degrees(degrees) => query.bind(*degrees),
                Cell::Flag(flag) => query.bind(*flag),
            };
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

impl Statements {
    pub fn new() -> Self {
        Self {
            users: RowStatements::new(&USERS),
            sessions: RowStatements::new(&SESSIONS),
            api_keys: RowStatements::new(&API_KEYS),
            domains: RowStatements::new(&DOMAINS),
            addresses: RowStatements::new(&BLOCKED_ADDRESSES),
            words: RowStatements::new(&WORDS),
            places: RowStatements::new(&PLACES),
        }
    }
}

/// Runs a statement over a JSON list, unless the list is empty.
async fn run(
    connection: &mut SqliteConnection,
    sql: &str,
    list: Vec<Value>,
    second: Option<i64>,
) -> Result<(), StoreError> {
    if list.is_empty() {
        return Ok(());
    }
    let query = sqlx::query(sql).bind(Value::Array(list).to_string());
    match second {
        Some(second) => query.bind(second).execute(connection).await?,
        None => query.execute(connection).await?,
    };
    Ok(())
}

impl SqliteWriter {
    /// Writes a batch inside the transaction that `begin` opened.
    pub async fn write(&mut self, plan: &Plan) -> Result<(), StoreError> {
        self.connection().await?;
        let Some(connection) = self.connection.as_mut() else {
            return Err(StoreError::Unavailable("not connected".into()));
        };
        let now = Some(plan.recorded_at);
        insert_events(connection, plan).await?;
        let keys = plan
            .new_keys
            .iter()
            .map(|key| json!([key.subject, key.scope, hex(&key.wrapped), key.kek_id]));
        run(connection, NEW_KEYS, keys.collect(), now).await?;
        let gone = plan.destroy_keys.iter().map(|(subject, scope)| json!([subject, scope]));
        run(connection, DESTROY_KEYS, gone.collect(), now).await?;
        let ended: Vec<Value> = plan
            .end_sessions
            .iter()
            .map(|(user, epoch, kept)| json!([user, epoch, kept]))
            .collect();
        run(connection, END_SECRETS, ended.clone(), None).await?;
        run(connection, END_SESSIONS, ended, None).await?;
        let (sql, rows) = (&self.sql, &plan.rows);
        sql.users.write(connection, rows.users.iter()).await?;
        sql.sessions.write(connection, rows.sessions.iter()).await?;
        sql.api_keys.write(connection, rows.api_keys.iter()).await?;
        sql.domains.write(connection, rows.domains.iter()).await?;
        sql.addresses.write(connection, rows.addresses.iter()).await?;
        let old: Vec<Value> = plan.found.old_words.iter().map(|row| json!(row)).collect();
        run(connection, OLD_WORDS, old, None).await?;
        let words: Vec<_> = plan.found.words.iter().map(Written::cells).collect();
        write_rows(connection, &sql.words.upserts, &words).await?;
        let old: Vec<Value> = plan.found.old_places.iter().map(|row| json!(row)).collect();
        run(connection, OLD_PLACES, old, None).await?;
        let places: Vec<_> = plan.found.places.iter().map(Written::cells).collect();
        write_rows(connection, &sql.places.upserts, &places).await?;
        let released = plan
            .release
            .iter()
            .map(|((kind, value), user)| json!([kind.as_str(), hex(value), user]));
        run(connection, RELEASE, released.collect(), None).await?;
        let claims = plan
            .claim
            .iter()
            .map(|((kind, value), user)| json!([kind.as_str(), hex(value), user]));
        run(connection, CLAIM, claims.collect(), None).await?;
        write_secrets(connection, plan).await?;
        let erased: Vec<Value> = plan.erase.iter().map(|user| json!(user)).collect();
        for sql in ERASE {
            run(connection, sql, erased.clone(), None).await?;
        }
        run(connection, DESTROY_ALL_KEYS, erased, now).await?;
        let farewells = plan
            .farewells
            .iter()
            .map(|f| json!([f.user_id, hex(&f.sealed), f.expires_at.as_micros()]));
        run(connection, FAREWELLS, farewells.collect(), None).await?;
        let remembered = plan.idempotency.iter().map(|(key, receipt)| {
            json!([
                key.caller,
                hex(&key.key_hash),
                hex(&key.request_hash),
                receipt,
                key.expires_at.as_micros()
            ])
        });
        run(connection, IDEMPOTENCY, remembered.collect(), None).await?;
        if !plan.events.is_empty() {
            sqlx::query(MOVE_HEAD)
                .bind(plan.position)
                .bind(plan.recorded_at)
                .execute(connection)
                .await?;
        }
        Ok(())
    }
}

async fn insert_events(connection: &mut SqliteConnection, plan: &Plan) -> Result<(), StoreError> {
    for (which, events) in pieces(&plan.events) {
        let Some(sql) = insert_events_sql().get(which) else {
            break;
        };
        let mut query = sqlx::query(sql);
        for event in events {
            query = query
                .bind(event.aggregate_type)
                .bind(event.aggregate_id.as_str())
                .bind(event.sequence)
                .bind(event.event_type)
                .bind(EVENT_VERSION)
                .bind(event.payload.as_str())
                .bind(event.metadata.as_str())
                .bind(event.position)
                .bind(event.event_id.to_string())
                .bind(event.subject.as_str())
                .bind(plan.recorded_at)
                .bind(event.leaf_hash.as_slice());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

fn insert_events_sql() -> &'static [String] {
    static SQL: OnceLock<Vec<String>> = OnceLock::new();
    let made = |rows| format!("{INSERT_EVENTS} VALUES {}", places(rows, EVENT_COLUMNS));
    SQL.get_or_init(|| ROWS_AT_ONCE.into_iter().map(made).collect())
}

async fn write_secrets(connection: &mut SqliteConnection, plan: &Plan) -> Result<(), StoreError> {
    let credentials = plan.credentials.iter().map(|c| json!([c.user_id, c.version, c.hash]));
    run(connection, CREDENTIALS, credentials.collect(), None).await?;
    run(
        connection,
        DROP_SECRETS,
        plan.drop_secrets.iter().map(|owner| json!(owner)).collect(),
        None,
    )
    .await?;
    let secrets = plan.secrets.iter().map(|s| {
        json!([
            s.kind.as_str(),
            hex(&s.hash),
            s.owner,
            s.user_id,
            s.generation,
            s.expires_at.map(aggregates::values::Timestamp::as_micros)
        ])
    });
    run(connection, SECRETS, secrets.collect(), None).await?;
    let used: Vec<Value> = plan.drop_codes.iter().map(|request| json!(request)).collect();
    run(connection, DROP_CODES, used.clone(), None).await?;
    run(connection, DROP_PAST_CODES, used, None).await?;
    let codes: Vec<Value> = plan
        .codes
        .iter()
        .map(|c| {
            json!([
                c.purpose,
                hex(&c.value),
                c.request_id,
                c.user_id,
                c.expires_at.as_micros(),
                hex(&c.sealed)
            ])
        })
        .collect();
    run(connection, CODES_REPLACED, codes.clone(), None).await?;
    run(connection, PAST_CODES, codes.clone(), None).await?;
    run(connection, CODES, codes, None).await
}
