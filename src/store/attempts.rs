//! Counting tries: before anything is compared, in a short transaction of its own, off the head lock.

use aggregates::values::Timestamp;
use sqlx::Row as _;

use super::engine::on_side;
use super::{Store, StoreError};

const COUNT: &str = "
    INSERT INTO attempts (guard, window_start, count, last_at) VALUES ($1, $2, 1, $3)
    ON CONFLICT (guard, window_start) DO UPDATE SET count = attempts.count + 1, last_at = excluded.last_at
    RETURNING count";

const CLEAR: &str = "DELETE FROM attempts WHERE guard = $1";

const LOOK: &str = "SELECT count, last_at FROM attempts WHERE guard = $1 AND window_start = $2";

/// What is known of tries in one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tries {
    /// How many.
    pub count: i64,
    /// The last one.
    pub last_at: Timestamp,
}

impl Store {
    /// Counts one try and says how many there were in this window, this one included.
    pub async fn count_attempt(&self, guard: &[u8; 32], window: Timestamp, at: Timestamp) -> Result<i64, StoreError> {
        on_side!(&self.inner.engine, pool => {
            let row = sqlx::query(COUNT)
                .bind(guard.as_slice())
                .bind(window.as_micros())
                .bind(at.as_micros())
                .fetch_one(pool)
                .await?;
            Ok(row.try_get("count")?)
        })
    }

    /// The tries of one window so far.
    pub async fn attempts(&self, guard: &[u8; 32], window: Timestamp) -> Result<Option<Tries>, StoreError> {
        on_side!(&self.inner.engine, pool => {
            let row =
                sqlx::query(LOOK).bind(guard.as_slice()).bind(window.as_micros()).fetch_optional(pool).await?;
            row.map(|row| {
                Ok(Tries {
                    count: row.try_get("count")?,
                    last_at: Timestamp::from_micros(row.try_get("last_at")?),
                })
            })
            .transpose()
        })
    }

    /// Forgets the tries of a guard: it was passed.
    pub async fn clear_attempts(&self, guard: &[u8; 32]) -> Result<(), StoreError> {
        on_side!(&self.inner.engine, pool => {
            sqlx::query(CLEAR).bind(guard.as_slice()).execute(pool).await?;
            Ok(())
        })
    }
}
