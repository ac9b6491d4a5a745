//! What a batch writes, in PostgreSQL: one statement for nearly every batch, one more for each rarer table.

use std::sync::OnceLock;

use sqlx::Postgres;
use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::query::Query;

use super::PostgresWriter;
use crate::StoreError;
use crate::plan::{EVENT_VERSION, EventRow, Head, Plan};
use crate::rows::{API_KEYS, BLOCKED_ADDRESSES, Cell, DOMAINS, PLACES, SESSIONS, Table, USERS, WORDS, Written};

const INSERT_EVENTS: &str = "
    INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata,
                        position, event_id, subject, recorded_at, leaf_hash)
    SELECT kind, id, sequence, event_type, $1, payload::json, metadata::json, new.position, event_id, subject, $2, leaf_hash
    FROM moved CROSS JOIN unnest($3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::text[], $9::bigint[], $10::text[],
                $11::text[], $12::bytea[])
        AS new (kind, id, sequence, event_type, payload, metadata, position, event_id, subject, leaf_hash)";

/// Before [`INSERT_EVENTS`], in the same statement: all of which writes nothing unless the log ends where it is
/// believed to, and nobody else is about to write.
const MOVE_HEAD: &str = "
    UPDATE log_head SET position = $13, recorded_at = $2
    WHERE lane = 0 AND position = $14 AND recorded_at = $15
      AND lane IN (SELECT lane FROM log_head WHERE lane = 0 FOR UPDATE SKIP LOCKED)
    RETURNING position";

/// The first place that those two leave free.
const AFTER_LOG: usize = 16;

/// Others are told when the transaction commits; replicas that do not hear it poll.
const NOTIFY: &str = "SELECT pg_notify('registry_head', position::text) FROM moved";

/// Row by row along the primary key, also before the planner has seen the table filled. The places of two arrays and
/// what is joined are put in.
const OLD_WORDS: &str = "
    DELETE FROM user_words WHERE ctid = ANY (ARRAY(
        SELECT one.ctid FROM unnest($USERS::text[], $WORDS::text[]) AS old (user_id, word)
        CROSS JOIN LATERAL (
            SELECT ctid FROM user_words WHERE user_id = old.user_id AND word = old.word LIMIT 1
        ) AS one CROSS JOIN moved))";

const OLD_PLACES: &str = "
    DELETE FROM user_places USING unnest($1::text[], $2::bigint[]) AS old (user_id, cell)
    WHERE user_places.user_id = old.user_id AND user_places.cell = old.cell";

const RELEASE: &str = "
    DELETE FROM names USING unnest($1::text[], $2::bytea[], $3::text[]) AS old (kind, value, user_id)
    WHERE names.kind = old.kind AND names.value = old.value AND names.user_id = old.user_id";

const CLAIM: &str = "
    INSERT INTO names (kind, value, user_id) SELECT * FROM unnest($1::text[], $2::bytea[], $3::text[])";

/// A sign-in that hashes an old password anew does not undo a change that came first.
const CREDENTIALS: &str = "
    INSERT INTO credentials (user_id, version, hash) SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[])
    ON CONFLICT (user_id) DO UPDATE SET version = excluded.version, hash = excluded.hash
    WHERE credentials.version <= excluded.version";

const SECRETS: &str = "
    INSERT INTO secrets (kind, hash, owner, user_id, generation, expires_at)
    SELECT * FROM unnest($1::text[], $2::bytea[], $3::text[], $4::text[], $5::bigint[], $6::bigint[])";

const DROP_SECRETS: &str = "DELETE FROM secrets WHERE owner = ANY ($1)";

const CODES_REPLACED: &str = "
    DELETE FROM codes USING unnest($1::text[], $2::text[]) AS new (purpose, user_id)
    WHERE codes.purpose = new.purpose AND codes.user_id = new.user_id";

const CODES: &str = "
    INSERT INTO codes (purpose, value, request_id, user_id, tries, expires_at, sealed)
    SELECT purpose, value, request_id, user_id, 0, expires_at, sealed
    FROM unnest($1::text[], $2::bytea[], $3::text[], $4::text[], $5::bigint[], $6::bytea[])
        AS new (purpose, value, request_id, user_id, expires_at, sealed)";

/// A day longer than it works; the same code of long ago begins anew.
const PAST_CODES: &str = "
    INSERT INTO past_codes (purpose, value, request_id, user_id, expires_at)
    SELECT purpose, value, request_id, user_id, expires_at + 86400000000
    FROM unnest($1::text[], $2::bytea[], $3::text[], $4::text[], $5::bigint[])
        AS new (purpose, value, request_id, user_id, expires_at)
    ON CONFLICT (purpose, user_id, value) DO UPDATE
    SET request_id = excluded.request_id, expires_at = excluded.expires_at";

const DROP_PAST_CODES: &str = "DELETE FROM past_codes WHERE request_id = ANY ($1)";

const FAREWELLS: &str = "
    INSERT INTO farewells (user_id, sealed, expires_at) SELECT * FROM unnest($1::text[], $2::bytea[], $3::bigint[])";

const DROP_CODES: &str = "DELETE FROM codes WHERE request_id = ANY ($1)";

/// A scope whose key was destroyed may begin anew: an address that is blocked again.
const NEW_KEYS: &str = "
    INSERT INTO subject_keys (subject, scope, wrapped, kek_id, created_at)
    SELECT subject, scope, wrapped, kek_id, $1
    FROM unnest($2::text[], $3::text[], $4::bytea[], $5::text[]) AS new (subject, scope, wrapped, kek_id)
    ON CONFLICT (subject, scope) DO UPDATE
    SET wrapped = excluded.wrapped, kek_id = excluded.kek_id, created_at = excluded.created_at, destroyed_at = NULL";

const DESTROY_KEYS: &str = "
    UPDATE subject_keys SET wrapped = NULL, destroyed_at = $1
    FROM unnest($2::text[], $3::text[]) AS gone (subject, scope)
    WHERE subject_keys.subject = gone.subject AND subject_keys.scope = gone.scope AND wrapped IS NOT NULL";

const IDEMPOTENCY: &str = "
    INSERT INTO idempotency (caller, key_hash, request_hash, receipt, expires_at)
    SELECT * FROM unnest($1::text[], $2::bytea[], $3::bytea[], $4::text[], $5::bigint[])
    ON CONFLICT (caller, key_hash) DO UPDATE
    SET request_hash = excluded.request_hash, receipt = excluded.receipt, expires_at = excluded.expires_at";

/// The hash of an opaque token stays for its time: it opens nothing, but its holder can be told why.
const END_SECRETS: &str = "
    DELETE FROM secrets USING sessions, unnest($1::text[], $2::bigint[], $3::text[]) AS ended (user_id, epoch, kept)
    WHERE secrets.owner = sessions.id AND secrets.kind <> 'opaque' AND sessions.user_id = ended.user_id
      AND sessions.started_position <= ended.epoch AND sessions.id IS DISTINCT FROM ended.kept";

const END_SESSIONS: &str = "
    DELETE FROM sessions USING unnest($1::text[], $2::bigint[], $3::text[]) AS ended (user_id, epoch, kept)
    WHERE sessions.user_id = ended.user_id
      AND sessions.started_position <= ended.epoch AND sessions.id IS DISTINCT FROM ended.kept";

/// Everything about an erased user that is not history. Their rows of `users` and `names` go with the fold.
const ERASE: [&str; 9] = [
    "DELETE FROM credentials WHERE user_id = ANY ($1)",
    "DELETE FROM secrets WHERE user_id = ANY ($1)",
    "DELETE FROM codes WHERE user_id = ANY ($1)",
    "DELETE FROM past_codes WHERE user_id = ANY ($1)",
    "DELETE FROM sessions WHERE user_id = ANY ($1)",
    "DELETE FROM api_keys WHERE user_id = ANY ($1)",
    "DELETE FROM api_key_uses WHERE user_id = ANY ($1)",
    "DELETE FROM user_words WHERE user_id = ANY ($1)",
    "DELETE FROM user_places WHERE user_id = ANY ($1)",
];

const DESTROY_ALL_KEYS: &str =
    "UPDATE subject_keys SET wrapped = NULL, destroyed_at = $1 WHERE subject = ANY ($2) AND wrapped IS NOT NULL";

/// Upsert and delete of each read-model table, made once.
pub(super) struct Statements {
    users: RowStatements,
    sessions: RowStatements,
    api_keys: RowStatements,
    domains: RowStatements,
    addresses: RowStatements,
    places: RowStatements,
    log: Box<LogStatements>,
}

/// The one statement of nearly every batch: its events, the rows of users, their words and sessions, the head. Each statement
/// costs a round trip under the head lock, and tables that do not depend on each other need no order.
///
/// By whether it writes users (1), sessions (2) and words (4), and takes words away (8).
#[derive(Default)]
struct LogStatements([OnceLock<String>; 16]);

impl LogStatements {
    /// Whether it was written: the log ended at `head`.
    async fn write(&self, connection: &mut PgConnection, plan: &Plan, head: Head) -> Result<bool, StoreError> {
        let users: Vec<Vec<Cell<'_>>> = plan.rows.users.values().flatten().map(Written::cells).collect();
        let sessions: Vec<Vec<Cell<'_>>> = plan.rows.sessions.values().flatten().map(Written::cells).collect();
        let words: Vec<Vec<Cell<'_>>> = plan.found.words.iter().map(Written::cells).collect();
        let (old_users, old_words): (Vec<String>, Vec<&str>) = plan
            .found
            .old_words
            .iter()
            .map(|(user, word)| (user.to_string(), word.as_str()))
            .unzip();
        let variant = usize::from(!users.is_empty())
            + 2 * usize::from(!sessions.is_empty())
            + 4 * usize::from(!words.is_empty())
            + 8 * usize::from(!old_words.is_empty());
        let Some(sql) = self.0.get(variant) else {
            return Ok(false);
        };
        let sql = sql.get_or_init(|| {
            let mut parts = vec![
                format!("moved AS ({MOVE_HEAD})"),
                format!("logged AS ({INSERT_EVENTS})"),
            ];
            let mut first = AFTER_LOG;
            for (table, rows) in [(&USERS, &users), (&SESSIONS, &sessions), (&WORDS, &words)] {
                if let Some(like) = rows.first() {
                    parts.push(format!(
                        "new_{} AS ({})",
                        table.name,
                        upsert(table.name, table, like, first, " CROSS JOIN moved")
                    ));
                    first += like.len();
                }
            }
            if !old_words.is_empty() {
                let old = OLD_WORDS.replace("$USERS", &format!("${first}"));
                let old = old.replace("$WORDS", &format!("${}", first + 1));
                parts.push(format!("old_words AS ({old})"));
            }
            format!("WITH {} {NOTIFY}", parts.join(", "))
        });
        let query = bind_events(sqlx::query(sql), plan)
            .bind(plan.position)
            .bind(head.position)
            .bind(head.recorded_at);
        let query = bind_columns(bind_columns(query, &users), &sessions);
        let mut query = bind_columns(query, &words);
        if !old_words.is_empty() {
            query = query.bind(old_users).bind(old_words);
        }
        Ok(query.fetch_optional(connection).await?.is_some())
    }
}

struct RowStatements {
    table: &'static Table,
    upsert: OnceLock<String>,
    delete: String,
}

impl RowStatements {
    fn new(table: &'static Table) -> Self {
        Self {
            table,
            upsert: OnceLock::new(),
            delete: format!("DELETE FROM {} WHERE {} = ANY ($1)", table.name, table.key()),
        }
    }

    /// Writes the rows that are, deletes those that are no more.
    async fn write<'a, K: ToString + 'a, R: Written + 'a>(
        &self,
        connection: &mut PgConnection,
        rows: impl Iterator<Item = (&'a K, &'a Option<R>)>,
    ) -> Result<(), StoreError> {
        let (mut upserts, mut deletes) = (Vec::new(), Vec::new());
        for (key, row) in rows {
            match row {
                Some(row) => upserts.push(row.cells()),
                None => deletes.push(key.to_string()),
            }
        }
        self.set(&mut *connection, upserts).await?;
        if !deletes.is_empty() {
            sqlx::query(&self.delete)
                .bind(deletes)
                .execute(&mut *connection)
                .await?;
        }
        Ok(())
    }

    /// Writes these rows.
    async fn set(&self, connection: &mut PgConnection, rows: Vec<Vec<Cell<'_>>>) -> Result<(), StoreError> {
        if let Some(first) = rows.first() {
            let sql = self
                .upsert
                .get_or_init(|| upsert(self.table.name, self.table, first, 1, ""));
            bind_columns(sqlx::query(sql), &rows).execute(connection).await?;
        }
        Ok(())
    }
}

/// Inserts or replaces rows of `table` in `target`, from one array per column. `like` is one of the rows.
///
/// The arrays are bound from the place `first` on; `and` is joined to them.
pub(crate) fn upsert(target: &str, table: &Table, like: &[Cell<'_>], first: usize, and: &str) -> String {
    let columns = table.list("");
    let arrays: Vec<String> = (first..)
        .zip(like)
        .map(|(place, cell)| match cell {
            Cell::Text(_) => format!("${place}::text[]"),
            Cell::Number(_) => format!("${place}::bigint[]"),
            Cell::Degrees(_) => format!("${place}::double precision[]"),
            Cell::Flag(_) => format!("${place}::boolean[]"),
        })
        .collect();
    format!(
        "INSERT INTO {target} ({columns}) SELECT {} FROM unnest({}) AS new ({columns}){and} {}",
        table.list("new."),
        arrays.join(", "),
        table.replacing()
    )
}

/// Binds rows column by column. Every row has the same kind of cell in a place.
pub(crate) fn bind_columns<'q>(
    mut query: Query<'q, Postgres, PgArguments>,
    rows: &'q [Vec<Cell<'_>>],
) -> Query<'q, Postgres, PgArguments> {
    fn column<'q, T>(
        rows: &'q [Vec<Cell<'_>>],
        place: usize,
        value: impl Fn(&'q Cell<'q>) -> Option<T>,
    ) -> Vec<Option<T>> {
        rows.iter().map(|row| row.get(place).and_then(&value)).collect()
    }
    for (place, cell) in rows.first().into_iter().flatten().enumerate() {
        query = match cell {
            Cell::Text(_) => query.bind(column(rows, place, |cell| match cell {
                Cell::Text(text) => text.as_deref(),
                _ => None,
            })),
            Cell::Number(_) => query.bind(column(rows, place, |cell| match cell {
                Cell::Number(number) => *number,
                _ => None,
            })),
            Cell::Degrees(_) => query.bind(column(rows, place, |cell| match cell {
                Cell::Degrees(degrees) => *degrees,
                _ => None,
            })),
            Cell::Flag(_) => query.bind(column(rows, place, |cell| match cell {
                Cell::Flag(flag) => Some(*flag),
                _ => None,
            })),
        };
    }
    query
}

impl Statements {
    pub fn new() -> Self {
        Self {
            users: RowStatements::new(&USERS),
            sessions: RowStatements::new(&SESSIONS),
            api_keys: RowStatements::new(&API_KEYS),
            domains: RowStatements::new(&DOMAINS),
            addresses: RowStatements::new(&BLOCKED_ADDRESSES),
            places: RowStatements::new(&PLACES),
            log: Box::default(),
        }
    }
}

impl PostgresWriter {
    /// Writes a batch inside the transaction that `begin` opened.
    pub async fn write(&mut self, plan: &Plan) -> Result<(), StoreError> {
        self.connection().await?;
        let Some(connection) = self.connection.as_mut() else {
            return Err(StoreError::Unavailable("not connected".into()));
        };
        write_keys(connection, plan).await?;
        end_sessions(connection, plan).await?;
        let (sql, rows) = (&self.sql, &plan.rows);
        // What is left of these two is written with the log.
        sql.users
            .write(connection, rows.users.iter().filter(|(_, row)| row.is_none()))
            .await?;
        sql.sessions
            .write(connection, rows.sessions.iter().filter(|(_, row)| row.is_none()))
            .await?;
        sql.api_keys.write(connection, rows.api_keys.iter()).await?;
        sql.domains.write(connection, rows.domains.iter()).await?;
        sql.addresses.write(connection, rows.addresses.iter()).await?;
        write_places(connection, plan, &sql.places).await?;
        write_names(connection, plan).await?;
        write_secrets(connection, plan).await?;
        erase(connection, plan).await?;
        if !plan.idempotency.is_empty() {
            sqlx::query(IDEMPOTENCY)
                .bind(
                    plan.idempotency
                        .iter()
                        .map(|(key, _)| key.caller.as_str())
                        .collect::<Vec<_>>(),
                )
                .bind(
                    plan.idempotency
                        .iter()
                        .map(|(key, _)| key.key_hash.as_slice())
                        .collect::<Vec<_>>(),
                )
                .bind(
                    plan.idempotency
                        .iter()
                        .map(|(key, _)| key.request_hash.as_slice())
                        .collect::<Vec<_>>(),
                )
                .bind(
                    plan.idempotency
                        .iter()
                        .map(|(_, receipt)| receipt.as_str())
                        .collect::<Vec<_>>(),
                )
                .bind(
                    plan.idempotency
                        .iter()
                        .map(|(key, _)| key.expires_at.as_micros())
                        .collect::<Vec<_>>(),
                )
                .execute(&mut *connection)
                .await?;
        }
        if plan.events.is_empty() || sql.log.write(connection, plan, plan.after).await? {
            return Ok(());
        }
        // Under its lock the head cannot have moved.
        Err(StoreError::Refused(
            "the head of the log is not where it was read".into(),
        ))
    }

    /// Writes a plain batch in a transaction that is one statement, if the log ends where the plan goes on from and
    /// nobody else is writing. Whether it did; an answer that is lost leaves it open, as that of COMMIT does.
    pub async fn write_at_once(&mut self, plan: &Plan) -> Result<bool, StoreError> {
        self.connection().await?;
        let Some(connection) = self.connection.as_mut() else {
            return Err(StoreError::Unavailable("not connected".into()));
        };
        self.sql.log.write(connection, plan, plan.after).await
    }
}

fn column<'a, T>(events: &'a [EventRow], value: impl Fn(&'a EventRow) -> T) -> Vec<T> {
    events.iter().map(value).collect()
}

fn bind_events<'q>(query: Query<'q, Postgres, PgArguments>, plan: &'q Plan) -> Query<'q, Postgres, PgArguments> {
    let events = &plan.events;
    query
        .bind(EVENT_VERSION)
        .bind(plan.recorded_at)
        .bind(column(events, |event| event.aggregate_type))
        .bind(column(events, |event| event.aggregate_id.as_str()))
        .bind(column(events, |event| event.sequence))
        .bind(column(events, |event| event.event_type))
        .bind(column(events, |event| event.payload.as_str()))
        .bind(column(events, |event| event.metadata.as_str()))
        .bind(column(events, |event| event.position))
        .bind(column(events, |event| event.event_id.to_string()))
        .bind(column(events, |event| event.subject.as_str()))
        .bind(column(events, |event| event.leaf_hash.as_slice()))
}

async fn write_keys(connection: &mut PgConnection, plan: &Plan) -> Result<(), StoreError> {
    if !plan.new_keys.is_empty() {
        sqlx::query(NEW_KEYS)
            .bind(plan.recorded_at)
            .bind(plan.new_keys.iter().map(|key| key.subject.as_str()).collect::<Vec<_>>())
            .bind(plan.new_keys.iter().map(|key| key.scope.as_str()).collect::<Vec<_>>())
            .bind(
                plan.new_keys
                    .iter()
                    .map(|key| key.wrapped.as_slice())
                    .collect::<Vec<_>>(),
            )
            .bind(plan.new_keys.iter().map(|key| key.kek_id.as_str()).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
    }
    if !plan.destroy_keys.is_empty() {
        sqlx::query(DESTROY_KEYS)
            .bind(plan.recorded_at)
            .bind(
                plan.destroy_keys
                    .iter()
                    .map(|(subject, _)| subject.as_str())
                    .collect::<Vec<_>>(),
            )
            .bind(
                plan.destroy_keys
                    .iter()
                    .map(|(_, scope)| scope.as_str())
                    .collect::<Vec<_>>(),
            )
            .execute(connection)
            .await?;
    }
    Ok(())
}

async fn end_sessions(connection: &mut PgConnection, plan: &Plan) -> Result<(), StoreError> {
    if plan.end_sessions.is_empty() {
        return Ok(());
    }
    for sql in [END_SECRETS, END_SESSIONS] {
        sqlx::query(sql)
            .bind(
                plan.end_sessions
                    .iter()
                    .map(|(user, ..)| user.to_string())
                    .collect::<Vec<_>>(),
            )
            .bind(plan.end_sessions.iter().map(|(_, epoch, _)| *epoch).collect::<Vec<_>>())
            .bind(
                plan.end_sessions
                    .iter()
                    .map(|(.., kept)| kept.map(|id| id.to_string()))
                    .collect::<Vec<_>>(),
            )
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn write_places(connection: &mut PgConnection, plan: &Plan, sql: &RowStatements) -> Result<(), StoreError> {
    let (old, new) = (&plan.found.old_places, &plan.found.places);
    if !old.is_empty() {
        sqlx::query(OLD_PLACES)
            .bind(old.iter().map(|(user, _)| user.to_string()).collect::<Vec<_>>())
            .bind(old.iter().map(|(_, cell)| *cell).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
    }
    sql.set(connection, new.iter().map(Written::cells).collect()).await
}

async fn write_names(connection: &mut PgConnection, plan: &Plan) -> Result<(), StoreError> {
    if !plan.release.is_empty() {
        sqlx::query(RELEASE)
            .bind(
                plan.release
                    .iter()
                    .map(|((kind, _), _)| kind.as_str())
                    .collect::<Vec<_>>(),
            )
            .bind(
                plan.release
                    .iter()
                    .map(|((_, value), _)| value.as_slice())
                    .collect::<Vec<_>>(),
            )
            .bind(
                plan.release
                    .iter()
                    .map(|(_, user)| user.to_string())
                    .collect::<Vec<_>>(),
            )
            .execute(&mut *connection)
            .await?;
    }
    if !plan.claim.is_empty() {
        sqlx::query(CLAIM)
            .bind(
                plan.claim
                    .iter()
                    .map(|((kind, _), _)| kind.as_str())
                    .collect::<Vec<_>>(),
            )
            .bind(
                plan.claim
                    .iter()
                    .map(|((_, value), _)| value.as_slice())
                    .collect::<Vec<_>>(),
            )
            .bind(plan.claim.iter().map(|(_, user)| user.to_string()).collect::<Vec<_>>())
            .execute(connection)
            .await?;
    }
    Ok(())
}

async fn write_secrets(connection: &mut PgConnection, plan: &Plan) -> Result<(), StoreError> {
    if !plan.credentials.is_empty() {
        sqlx::query(CREDENTIALS)
            .bind(
                plan.credentials
                    .iter()
                    .map(|c| c.user_id.to_string())
                    .collect::<Vec<_>>(),
            )
            .bind(plan.credentials.iter().map(|c| c.version).collect::<Vec<_>>())
            .bind(plan.credentials.iter().map(|c| c.hash.as_str()).collect::<Vec<_>>())
            .execute(&mut *connection)
            .await?;
    }
    if !plan.drop_secrets.is_empty() {
        sqlx::query(DROP_SECRETS)
            .bind(plan.drop_secrets.as_slice())
            .execute(&mut *connection)
            .await?;
    }
    if !plan.secrets.is_empty() {
        sqlx::query(SECRETS)
            .bind(plan.secrets.iter().map(|s| s.kind.as_str()).collect::<Vec<_>>())
            .bind(plan.secrets.iter().map(|s| s.hash.as_slice()).collect::<Vec<_>>())
            .bind(plan.secrets.iter().map(|s| s.owner.as_str()).collect::<Vec<_>>())
            .bind(
                plan.secrets
                    .iter()
                    .map(|s| s.user_id.map(|id| id.to_string()))
                    .collect::<Vec<_>>(),
            )
            .bind(plan.secrets.iter().map(|s| s.generation).collect::<Vec<_>>())
            .bind(
                plan.secrets
                    .iter()
                    .map(|s| s.expires_at.map(aggregates::values::Timestamp::as_micros))
                    .collect::<Vec<_>>(),
            )
            .execute(&mut *connection)
            .await?;
    }
    if !plan.drop_codes.is_empty() {
        let requests: Vec<String> = plan.drop_codes.iter().map(ToString::to_string).collect();
        sqlx::query(DROP_CODES)
            .bind(requests.clone())
            .execute(&mut *connection)
            .await?;
        sqlx::query(DROP_PAST_CODES)
            .bind(requests)
            .execute(&mut *connection)
            .await?;
    }
    if !plan.codes.is_empty() {
        let purposes: Vec<&str> = plan.codes.iter().map(|c| c.purpose).collect();
        let users: Vec<String> = plan.codes.iter().map(|c| c.user_id.to_string()).collect();
        sqlx::query(CODES_REPLACED)
            .bind(purposes.clone())
            .bind(users.clone())
            .execute(&mut *connection)
            .await?;
        let values: Vec<&[u8]> = plan.codes.iter().map(|c| c.value.as_slice()).collect();
        let requests: Vec<String> = plan.codes.iter().map(|c| c.request_id.to_string()).collect();
        let expires: Vec<i64> = plan.codes.iter().map(|c| c.expires_at.as_micros()).collect();
        sqlx::query(PAST_CODES)
            .bind(purposes.clone())
            .bind(values.clone())
            .bind(requests.clone())
            .bind(users.clone())
            .bind(expires.clone())
            .execute(&mut *connection)
            .await?;
        sqlx::query(CODES)
            .bind(purposes)
            .bind(values)
            .bind(requests)
            .bind(users)
            .bind(expires)
            .bind(plan.codes.iter().map(|c| c.sealed.as_slice()).collect::<Vec<_>>())
            .execute(connection)
            .await?;
    }
    Ok(())
}

async fn erase(connection: &mut PgConnection, plan: &Plan) -> Result<(), StoreError> {
    if plan.erase.is_empty() {
        return Ok(());
    }
    let users: Vec<String> = plan.erase.iter().map(ToString::to_string).collect();
    for sql in ERASE {
        sqlx::query(sql)
            .bind(users.as_slice())
            .execute(&mut *connection)
            .await?;
    }
    sqlx::query(DESTROY_ALL_KEYS)
        .bind(plan.recorded_at)
        .bind(users)
        .execute(&mut *connection)
        .await?;
    if !plan.farewells.is_empty() {
        let farewells = &plan.farewells;
        sqlx::query(FAREWELLS)
            .bind(farewells.iter().map(|f| f.user_id.to_string()).collect::<Vec<_>>())
            .bind(farewells.iter().map(|f| f.sealed.as_slice()).collect::<Vec<_>>())
            .bind(farewells.iter().map(|f| f.expires_at.as_micros()).collect::<Vec<_>>())
            .execute(connection)
            .await?;
    }
    Ok(())
}
