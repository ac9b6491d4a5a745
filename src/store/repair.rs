//! What operators do to a follower that stopped: have it try again, or let it pass over an event.

use sqlx::Row as _;

use super::engine::{on_pool, on_side};
use super::{Checkpoint, Store, StoreError};

const STANDS: &str = "SELECT error, error_position, outside FROM checkpoints WHERE follower = $1";

/// The epoch moves too: what the owner may just be doing with the event is refused, and it looks again.
const PASS: &str = "
    UPDATE checkpoints
    SET position = $2, error = NULL, error_position = NULL, epoch = epoch + 1, updated_at = $3
    WHERE follower = $1 AND error_position = $2 AND NOT outside AND position <= $2";

/// Only where it stands at that very event and because of it; written first, so that nobody moves it meanwhile.
const KEEP: &str = "
    INSERT INTO follower_skips (follower, position, reason, error, skipped_at)
    SELECT follower, error_position, CAST($3 AS TEXT), error, CAST($4 AS BIGINT) FROM checkpoints
    WHERE follower = $1 AND error_position = $2 AND error IS NOT NULL AND NOT outside AND position <= $2
    ON CONFLICT (follower, position)
    DO UPDATE SET reason = excluded.reason, error = excluded.error, skipped_at = excluded.skipped_at
    RETURNING error";

const CLEAR: &str = "
    UPDATE checkpoints SET error = NULL, error_position = NULL, updated_at = $2
    WHERE follower = $1 AND error IS NOT NULL";

const SKIPS: &str = "
    SELECT follower, position, reason, error, skipped_at FROM follower_skips ORDER BY follower, position";

/// An event that a follower passed over because somebody said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    /// The follower.
    pub follower: String,
    /// Position of the event.
    pub position: i64,
    /// Why, in the words of whoever did it.
    pub reason: String,
    /// Why the follower had stopped there.
    pub error: String,
    /// When, microseconds since 1970.
    pub at: i64,
}

/// What became of an order to skip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Skipped {
    /// It is passed over. Why the follower had stopped there.
    Done(String),
    /// There is no follower of that name.
    Unknown,
    /// The follower has no trouble.
    NotStopped,
    /// It stands at another event.
    At(i64),
    /// It stands at this event, but nothing is wrong with it: the trouble lies outside. What it waits for.
    Waits(String),
}

impl Store {
    /// Lets a follower pass over the event it stopped at, and keeps that for ever. Only that very event: nobody skips
    /// what was not looked at, and nobody drops a sound event because something outside is away.
    pub async fn skip(&self, follower: &str, position: i64, reason: &str) -> Result<Skipped, StoreError> {
        let now = self.now().as_micros();
        on_side!(&self.inner.engine, pool => {
            let mut transaction = pool.begin().await?;
            let kept = sqlx::query(KEEP)
                .bind(follower)
                .bind(position)
                .bind(reason)
                .bind(now)
                .fetch_optional(&mut *transaction)
                .await?;
            if let Some(row) = kept {
                sqlx::query(PASS).bind(follower).bind(position).bind(now).execute(&mut *transaction).await?;
                transaction.commit().await?;
                return Ok(Skipped::Done(row.try_get("error")?));
            }
            transaction.rollback().await?;
            let Some(row) = sqlx::query(STANDS).bind(follower).fetch_optional(pool).await? else {
                return Ok(Skipped::Unknown);
            };
            let at: Option<i64> = row.try_get("error_position")?;
            let error: Option<String> = row.try_get("error")?;
            Ok(match (at, error) {
                (Some(at), Some(error)) if at == position && row.try_get("outside")? => Skipped::Waits(error),
                (Some(at), _) => Skipped::At(at),
                (None, _) => Skipped::NotStopped,
            })
        })
    }

    /// Asks a follower that stopped to try again at once. False: there is none of that name that did.
    pub async fn ask_again(&self, follower: &str) -> Result<bool, StoreError> {
        let now = self.now().as_micros();
        on_side!(&self.inner.engine, pool => {
            let cleared = sqlx::query(CLEAR).bind(follower).bind(now).execute(pool).await?;
            Ok(cleared.rows_affected() == 1)
        })
    }

    /// Every event that was ever passed over on somebody's word.
    pub async fn skips(&self) -> Result<Vec<Skip>, StoreError> {
        on_pool!(&self.inner.engine, pool => {
            let rows = sqlx::query(SKIPS).fetch_all(pool).await?;
            rows.into_iter()
                .map(|row| {
                    Ok(Skip {
                        follower: row.try_get("follower")?,
                        position: row.try_get("position")?,
                        reason: row.try_get("reason")?,
                        error: row.try_get("error")?,
                        at: row.try_get("skipped_at")?,
                    })
                })
                .collect()
        })
    }

    /// One checkpoint.
    pub async fn checkpoint(&self, follower: &str) -> Result<Option<Checkpoint>, StoreError> {
        let all = self.checkpoints().await?;
        Ok(all.into_iter().find(|one| one.follower == follower))
    }
}
