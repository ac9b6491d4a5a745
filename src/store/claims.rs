//! Shares that are taken before something is done, counted by all replicas together.
//!
//! The rules are not here: a claim reads the states of its guards, lets a pure function decide, and writes them back
//! unless somebody else was quicker; then it looks again. Short transactions of their own, beside the log, on
//! connections that do not wait for the disk: a count that a power cut takes back harms nobody.

use std::sync::atomic::Ordering;
use std::time::Duration;

use aggregates::values::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row as _;

use super::engine::on_quick;
use super::{Store, StoreError};

const LOOK: &str = "SELECT turn, state, expires_at FROM claims WHERE guard = $1";

const NEW: &str = "
    INSERT INTO claims (guard, turn, state, expires_at) VALUES ($1, $2, $3, $4)
    ON CONFLICT (guard) DO NOTHING";

const CHANGE: &str = "
    UPDATE claims SET turn = turn + 1, state = $3, expires_at = $4
    WHERE guard = $1 AND turn = $2";

/// Another number each time: SQLite writes no page that stays as it is.
const TRY: &str = "
    INSERT INTO claims (guard, turn, state, expires_at) VALUES ($1, 0, '', 0)
    ON CONFLICT (guard) DO UPDATE SET turn = claims.turn + 1";

const FORGET: &str = "DELETE FROM claims WHERE guard = $1";

/// How often a claim looks again before it is given up. Each time somebody else got through.
const TURNS: u32 = 100;
const PATIENCE: Duration = Duration::from_millis(2_500);

/// The keyed hash of what has a share.
pub type GuardKey = [u8; 32];

/// A row that was read, to be changed.
struct Found {
    /// None: there is no row.
    turn: Option<i64>,
    state: String,
}

impl Store {
    /// Lets `decide` change the states of some guards, all of them or none. It may be asked several times; what it says
    /// last is the answer. None from it changes nothing. A guard that is unknown or has expired has the default state.
    ///
    /// `keep` is how long the states matter from now on, microseconds.
    pub async fn claim<S, T>(
        &self,
        guards: &[GuardKey],
        now: Timestamp,
        keep: i64,
        decide: impl FnMut(&mut [S]) -> Option<T> + Send,
    ) -> Result<Option<T>, StoreError>
    where
        S: Serialize + DeserializeOwned + Default + Send,
        T: Send,
    {
        // A connection that hangs must not hang the caller.
        let work = self.claim_in_time(guards, now, keep, decide);
        let hangs = |_| StoreError::Unavailable("what is counted cannot be read in time".into());
        let claimed = tokio::time::timeout(PATIENCE, work).await.map_err(hangs).flatten();
        if matches!(claimed, Err(StoreError::Unavailable(_))) {
            self.inner.unwritten.store(true, Ordering::Relaxed);
        }
        claimed
    }

    /// Whether the database can be written, as far as one row of no meaning tells; what was swept away is written anew.
    pub(super) async fn try_to_write(&self) -> Result<(), StoreError> {
        on_quick!(&self.inner.engine, pool => {
            sqlx::query(TRY).bind([0_u8; 32].as_slice()).execute(pool).await?;
        });
        self.inner.unwritten.store(false, Ordering::Relaxed);
        Ok(())
    }

    async fn claim_in_time<S, T>(
        &self,
        guards: &[GuardKey],
        now: Timestamp,
        keep: i64,
        mut decide: impl FnMut(&mut [S]) -> Option<T> + Send,
    ) -> Result<Option<T>, StoreError>
    where
        S: Serialize + DeserializeOwned + Default + Send,
        T: Send,
    {
        // Rows are always changed in the same order, so that two who want the same ones do not wait for each other.
        let mut order: Vec<usize> = (0..guards.len()).collect();
        order.sort_unstable_by_key(|index| guards[*index]);
        for _ in 0..TURNS {
            let mut found = Vec::with_capacity(guards.len());
            let mut states = Vec::with_capacity(guards.len());
            for guard in guards {
                let row = self.look(guard, now).await?;
                states.push(serde_json::from_str::<S>(&row.state).unwrap_or_default());
                found.push(row);
            }
            let Some(answer) = decide(&mut states) else {
                return Ok(None);
            };
            let mut writes = Vec::with_capacity(guards.len());
            for index in &order {
                let state = serde_json::to_string(&states[*index])
                    .map_err(|problem| StoreError::corrupt("claims", "?", problem))?;
                writes.push((&guards[*index], found[*index].turn, state));
            }
            if self.write(&writes, now.plus(keep)).await? {
                return Ok(Some(answer));
            }
        }
        Err(StoreError::Unavailable("too many take from one share at once".into()))
    }

    async fn look(&self, guard: &GuardKey, now: Timestamp) -> Result<Found, StoreError> {
        on_quick!(&self.inner.engine, pool => {
            let Some(row) = sqlx::query(LOOK).bind(guard.as_slice()).fetch_optional(pool).await? else {
                return Ok(Found { turn: None, state: String::new() });
            };
            let expires_at: i64 = row.try_get("expires_at")?;
            Ok(Found {
                turn: Some(row.try_get("turn")?),
                state: if expires_at > now.as_micros() { row.try_get("state")? } else { String::new() },
            })
        })
    }

    /// False: somebody else was quicker, and nothing is written.
    async fn write(
        &self,
        writes: &[(&GuardKey, Option<i64>, String)],
        expires_at: Timestamp,
    ) -> Result<bool, StoreError> {
        on_quick!(&self.inner.engine, pool => {
            if let [(guard, turn, state)] = writes {
                let done = sqlx::query(if turn.is_some() { CHANGE } else { NEW })
                    .bind(guard.as_slice())
                    .bind(turn.unwrap_or_default())
                    .bind(state)
                    .bind(expires_at.as_micros())
                    .execute(pool)
                    .await?;
                return Ok(done.rows_affected() == 1);
            }
            let mut transaction = pool.begin().await?;
            for (guard, turn, state) in writes {
                let done = sqlx::query(if turn.is_some() { CHANGE } else { NEW })
                    .bind(guard.as_slice())
                    .bind(turn.unwrap_or_default())
                    .bind(state)
                    .bind(expires_at.as_micros())
                    .execute(&mut *transaction)
                    .await?;
                if done.rows_affected() == 0 {
                    transaction.rollback().await?;
                    return Ok(false);
                }
            }
            transaction.commit().await?;
            Ok(true)
        })
    }

    /// Forgets what was taken.
    pub async fn forget_claims(&self, guard: &GuardKey) -> Result<(), StoreError> {
        on_quick!(&self.inner.engine, pool => {
            sqlx::query(FORGET).bind(guard.as_slice()).execute(pool).await?;
            Ok(())
        })
    }
}
