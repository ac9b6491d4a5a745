//! Throwing away what has lapsed: nothing here is part of the history, and nothing is looked for after its time.

use super::engine::on_side;
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

impl Store {
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
