//! Throwing away what has lapsed: nothing here is part of the history, and nothing is looked for after its time.

use std::time::Duration;

use sqlx::{ConnectOptions as _, Connection as _, Row as _};

use super::engine::{Engine, on_side};
use super::{Store, StoreError};

/// Rows deleted per statement: a backlog must not hold SQLite's one write lock, nor outlast a statement's time.
const TURN: u64 = 1_000;

/// Rows whose time is over: table, key, and the condition. Messages that were given up are kept for thirty days, for
/// somebody to ask why. Nothing writes to `attempts` any more but earlier versions, beside which this one may run.
const SWEPT: [(&str, &str, &str); 9] = [
    ("idempotency", "caller, key_hash", "expires_at < $1"),
    ("codes", "purpose, value", "expires_at < $1"),
    ("past_codes", "purpose, user_id, value", "expires_at < $1"),
    ("farewells", "user_id", "expires_at < $1"),
    ("secrets", "kind, hash", "expires_at < $1"),
    ("sessions", "id", "expires_at < $1"),
    ("claims", "guard", "expires_at < $1"),
    ("attempts", "guard, window_start", "window_start < $1 - 172800000000"),
    (
        "undelivered",
        "channel, position, number",
        "next_at IS NULL AND updated_at < $1 - 2592000000000",
    ),
];

/// How long writers may be kept waiting while the journal is emptied, and how long to let others finish.
const WAIT: Duration = Duration::from_millis(100);
/// How often it is tried.
const TRIES: u32 = 5;

impl Store {
    /// Empties the journal of a SQLite store (`registry.db-wal`), so that what was deleted is in no file any more. Until
    /// then the file has pages as they were before, and the journal may have older ones too.
    ///
    /// Gives whether it could be done: whoever reads for long prevents it. On PostgreSQL there is nothing to do; vacuum
    /// takes the deleted rows there.
    pub async fn empty_journal(&self) -> Result<bool, StoreError> {
        let Engine::Sqlite { side, .. } = &self.inner.engine else {
            return Ok(true);
        };
        // Not one of the pool's: those wait longer, and writers would wait with them.
        let mut connection = (*side.connect_options()).clone().busy_timeout(WAIT).connect().await?;
        let mut emptied = false;
        for attempt in 0..TRIES {
            if attempt > 0 {
                tokio::time::sleep(WAIT).await;
            }
            let row = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
                .fetch_one(&mut connection)
                .await?;
            emptied = row.try_get::<i64, _>("busy")? == 0;
            if emptied {
                break;
            }
        }
        connection.close().await?;
        Ok(emptied)
    }

    /// Deletes lapsed rows and says how many. Doing it in several processes, or again, does no harm.
    pub async fn sweep(&self) -> Result<u64, StoreError> {
        let now = self.now().as_micros();
        let mut swept = 0;
        for (table, key, lapsed) in SWEPT {
            let sql =
                format!("DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE {lapsed} LIMIT {TURN})");
            loop {
                let rows = on_side!(&self.inner.engine, pool => {
                    sqlx::query(&sql).bind(now).execute(pool).await?.rows_affected()
                });
                swept += rows;
                if rows < TURN {
                    break;
                }
            }
        }
        if swept > 0 {
            tracing::debug!(rows = swept, "lapsed rows were swept");
        }
        Ok(swept)
    }
}
