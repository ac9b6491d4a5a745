//! Replacing keys: those that sign, and the master that wraps all others.
//!
//! Each step is one transaction, may be taken by several processes at once, and may be taken again: a rotation that was
//! killed goes on where it was. What another process erases meanwhile stays erased, because a wrapped key is replaced
//! only where it still is the one that was read.

use std::time::Duration;

use aggregates::values::Timestamp;
use sqlx::Row as _;

use super::engine::{insert_key, on_pool, on_side};
use super::{Store, StoreError};
use crate::audit::NotaryKeys;
use crate::audit::note::PublicKey;
use crate::keys::{KeyKind, Keyring, MasterError, MasterKey, Masters, WrappedKey, place_of_data_key, place_of_key};

/// Data keys that are re-wrapped in one transaction: few enough that commands hardly wait for SQLite's one writer.
const TURN: i64 = 200;
/// How long another process may go on wrapping under the former master: it looks every 2 s, and what it has begun is
/// written within 3 s more. Microseconds.
const SETTLED: i64 = 8 * 1_000_000;
/// Between two transactions of re-wrapping, so that commands get their turn.
const PAUSE: Duration = Duration::from_millis(5);
/// How long a retired signing key is kept: longer than any token it signed lives. Microseconds.
pub const SIGNED_LIFE: i64 = 20 * 60 * 1_000_000;

const REWRAP_KEY: &str = "UPDATE keys SET wrapped = $1, kek_id = $2 WHERE kind = $3 AND kid = $4 AND wrapped = $5";
const ANOTHER_KEY: &str = "
    INSERT INTO keys (kind, kid, wrapped, kek_id, created_at) VALUES ($1, $2, $3, $4, $5)";
const NEW_FORMER: &str = "
    INSERT INTO keys (kind, kid, wrapped, kek_id, created_at) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (kind, kid) DO UPDATE SET wrapped = excluded.wrapped, kek_id = excluded.kek_id,
        created_at = excluded.created_at, retired_at = NULL";
/// Like [`REWRAP_KEY`], unless another master wraps by now.
const REWRAP_LEFT_KEY: &str = "
    UPDATE keys SET wrapped = $1, kek_id = $2 WHERE kind = $3 AND kid = $4 AND wrapped = $5
      AND EXISTS (SELECT 1 FROM keys AS now WHERE now.kind = 'fingerprint' AND now.kek_id = $2)";
/// The id of a former master is kept: it is not to become the master again.
const OVER: &str = "
    UPDATE keys SET retired_at = $1 WHERE kind = $2 AND retired_at IS NULL AND created_at <= $3
      AND NOT EXISTS (SELECT 1 FROM keys AS other WHERE other.kek_id <> $4)";
const RETIRE: &str = "UPDATE keys SET retired_at = $1 WHERE kind = $2 AND kid <> $3 AND retired_at IS NULL";
const REVOKE: &str = "DELETE FROM keys WHERE kind = $1 AND kid <> $2";
const FORGET: &str = "DELETE FROM keys WHERE kind = $1 AND retired_at < $2";
const DATA_KEYS: &str = "
    SELECT subject, scope, wrapped, kek_id FROM subject_keys
    WHERE (subject, scope) > ($1, $2) ORDER BY subject, scope LIMIT $3";
const REWRAP_DATA_KEY: &str = "
    UPDATE subject_keys SET wrapped = $1, kek_id = $2 WHERE subject = $3 AND scope = $4 AND wrapped = $5
      AND EXISTS (SELECT 1 FROM keys AS now WHERE now.kind = 'fingerprint' AND now.kek_id = $2)";
const LEFT: &str = "
    SELECT EXISTS (SELECT 1 FROM subject_keys WHERE wrapped IS NOT NULL AND kek_id <> $1) AS found";
const BY_MASTER: &str = "
    SELECT kek_id, COUNT(*) AS keys FROM subject_keys WHERE wrapped IS NOT NULL GROUP BY kek_id ORDER BY kek_id";

/// Where re-wrapping data keys has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rewrapping {
    after: (String, String),
    /// Data keys looked at so far.
    pub seen: u64,
    /// Those of them that were re-wrapped.
    pub rewrapped: u64,
    /// Whether there are no more.
    pub done: bool,
}

/// What one look at all data keys came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// Data keys that were re-wrapped.
    pub rewrapped: u64,
    /// Whether the rotation is over: nothing was left, and no process can have wrapped under the former master since.
    pub over: bool,
}

/// What becomes of the signing keys that there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Former {
    /// They go on signing for so many microseconds, in which verifiers learn the new one, and verify until the last
    /// token has ended.
    Retire {
        /// Microseconds.
        after: i64,
    },
    /// They are destroyed: what they signed is worth nothing from now on.
    Revoke,
}

impl Store {
    /// The keys of the table `keys`, wrapped.
    pub async fn wrapped_keys(&self) -> Result<Vec<WrappedKey>, StoreError> {
        self.inner.engine.wrapped_keys().await
    }

    /// Adds a key that signs access tokens, and says which.
    pub async fn add_signing_key(&self, former: Former) -> Result<String, StoreError> {
        let now = self.now();
        let key = Keyring::draw_signing(&self.keyring().masters(), self.chance(), now)?;
        on_side!(&self.inner.engine, pool => {
            let mut transaction = pool.begin().await?;
            insert_key!(ANOTHER_KEY, key)
                .execute(&mut *transaction)
                .await?;
            let rest = match former {
                Former::Retire { after } => sqlx::query(RETIRE).bind(now.plus(after).as_micros()),
                Former::Revoke => sqlx::query(REVOKE),
            };
            rest.bind(&key.kind).bind(&key.kid).execute(&mut *transaction).await?;
            transaction.commit().await?;
        });
        self.renew_keys().await?;
        Ok(key.kid)
    }

    /// Adds a key that signs heads of the log from now on, and gives its public half. Those before it are kept: what
    /// they signed must be verified for as long as there is a log.
    pub async fn add_notary_key(&self) -> Result<PublicKey, StoreError> {
        let now = self.now();
        let number = u32::try_from(self.keyring().notary().len())
            .unwrap_or(u32::MAX)
            .saturating_add(1);
        // Two rotations at once have one number, and the second is refused.
        let key = Keyring::draw_notary(number, &self.keyring().masters(), self.chance(), now)?;
        on_side!(&self.inner.engine, pool => {
            let mut transaction = pool.begin().await?;
            insert_key!(ANOTHER_KEY, key)
                .execute(&mut *transaction)
                .await?;
            sqlx::query(RETIRE)
                .bind(now.as_micros())
                .bind(&key.kind)
                .bind(&key.kid)
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
        });
        self.renew_keys().await?;
        let keys = NotaryKeys::of(self.keyring());
        let keys = keys.map_err(|problem| StoreError::corrupt("keys", &key.kid, problem))?;
        Ok(keys.newest().public().clone())
    }

    /// Destroys signing keys whose last token has ended. Doing it in several processes, or again, does no harm.
    pub async fn forget_signing_keys(&self) -> Result<u64, StoreError> {
        let before = self.now().plus(-SIGNED_LIFE).as_micros();
        on_side!(&self.inner.engine, pool => {
            let done = sqlx::query(FORGET).bind(KeyKind::Signing.as_str()).bind(before).execute(pool).await?;
            Ok(done.rows_affected())
        })
    }

    /// Makes this the master key that wraps: re-wraps every key of the table `keys` at once, which is what tells every
    /// process. Data keys follow by [`Store::rewrap_pass`], and so does a key that is added meanwhile. Changes nothing
    /// when it already is.
    pub async fn change_master(&self, new: &MasterKey) -> Result<(), StoreError> {
        // What another process made of the keys since this one looked is what is changed.
        self.renew_keys().await?;
        let masters = self.keyring().masters();
        if masters.id() == new.id() {
            return Ok(());
        }
        let mut given = vec![new.clone()];
        given.extend(masters.all().cloned());
        let after = Masters::new(&given, new.id())?;
        let former = Keyring::former(&after, masters.id(), self.chance(), self.now())?;
        // Read before the transaction: one of SQLite that begins by reading cannot go on to write once another wrote.
        let rows = self.keys_of_others(&after).await?;
        on_side!(&self.inner.engine, pool => {
            let mut transaction = pool.begin().await?;
            for row in &rows {
                let done = sqlx::query(REWRAP_KEY)
                    .bind(self.rewrapped(&after, row)?)
                    .bind(new.id())
                    .bind(&row.kind)
                    .bind(&row.kid)
                    .bind(&row.wrapped)
                    .execute(&mut *transaction)
                    .await?;
                if done.rows_affected() == 0 {
                    // Another process rotates too; whoever comes second finds nothing to do.
                    transaction.rollback().await?;
                    return Err(StoreError::Unavailable("the keys changed meanwhile; run it again".into()));
                }
            }
            if !rows.is_empty() {
                insert_key!(NEW_FORMER, former)
                    .execute(&mut *transaction)
                    .await?;
            }
            transaction.commit().await?;
        });
        Ok(self.keyring().renew(&given, &self.wrapped_keys().await?)?)
    }

    /// The rows of `keys` that another master wraps, in the order in which everybody changes them.
    async fn keys_of_others(&self, masters: &Masters) -> Result<Vec<WrappedKey>, StoreError> {
        let mut rows = self.wrapped_keys().await?;
        rows.retain(|row| row.kek_id != masters.id());
        rows.sort_by(|one, other| (&one.kind, &one.kid).cmp(&(&other.kind, &other.kid)));
        Ok(rows)
    }

    /// The key of a row, wrapped by the master that wraps now.
    fn rewrapped(&self, masters: &Masters, row: &WrappedKey) -> Result<Vec<u8>, MasterError> {
        let place = place_of_key(&row.kind, &row.kid);
        let key = masters.unwrap(&place, &row.wrapped)?;
        masters.wrap(&place, &key, self.chance())
    }

    /// Re-wraps the rows of `keys` that a process added which had not heard yet of the master that wraps now.
    async fn rewrap_left_keys(&self) -> Result<u64, StoreError> {
        let masters = self.keyring().masters();
        let mut rewrapped = 0;
        for row in self.keys_of_others(&masters).await? {
            let wrapped = self.rewrapped(&masters, &row)?;
            rewrapped += on_side!(&self.inner.engine, pool => {
                let done = sqlx::query(REWRAP_LEFT_KEY)
                    .bind(wrapped)
                    .bind(masters.id())
                    .bind(&row.kind)
                    .bind(&row.kid)
                    .bind(&row.wrapped)
                    .execute(pool)
                    .await?;
                done.rows_affected()
            });
        }
        Ok(rewrapped)
    }

    /// Re-wraps the next data keys that another master wraps.
    async fn rewrap_data_keys(&self, from: Rewrapping) -> Result<Rewrapping, StoreError> {
        let masters = self.keyring().masters();
        let mut progress = from;
        on_side!(&self.inner.engine, pool => {
            let rows = sqlx::query(DATA_KEYS)
                .bind(&progress.after.0)
                .bind(&progress.after.1)
                .bind(TURN)
                .fetch_all(pool)
                .await?;
            let mut transaction = None;
            for row in &rows {
                let (subject, scope): (String, String) = (row.try_get("subject")?, row.try_get("scope")?);
                let (old, kek): (Option<&[u8]>, &str) = (row.try_get("wrapped")?, row.try_get("kek_id")?);
                if let Some(old) = old.filter(|_| kek != masters.id()) {
                    let place = place_of_data_key(&subject, &scope);
                    let key = masters.unwrap(&place, old).map_err(|problem| match masters.get(kek) {
                        Some(_) => problem,
                        None => MasterError::Wrong { expected: kek.to_owned(), given: masters.id().to_owned() },
                    })?;
                    let wrapped = masters.wrap(&place, &key, self.chance())?;
                    if transaction.is_none() {
                        transaction = Some(pool.begin().await?);
                    }
                    if let Some(transaction) = &mut transaction {
                        let done = sqlx::query(REWRAP_DATA_KEY)
                            .bind(wrapped)
                            .bind(masters.id())
                            .bind(&subject)
                            .bind(&scope)
                            .bind(old)
                            .execute(&mut **transaction)
                            .await?;
                        progress.rewrapped += done.rows_affected();
                    }
                }
                progress.seen += 1;
                progress.after = (subject, scope);
            }
            if let Some(transaction) = transaction {
                transaction.commit().await?;
            }
            progress.done = i64::try_from(rows.len()).is_ok_and(|rows| rows < TURN);
        });
        Ok(progress)
    }

    /// Looks at every data key once and re-wraps those of a former master, telling after each transaction how far it
    /// is. Says whether the rotation is over; if it is not, it is to be called again. It is never over while anything is
    /// wrapped by another master than the one that wraps now.
    pub async fn rewrap_pass(&self, mut tell: impl FnMut(&Rewrapping)) -> Result<Pass, StoreError> {
        let started = self.now();
        let left = self.rewrap_left_keys().await?;
        let mut progress = Rewrapping::default();
        while !progress.done {
            progress = self.rewrap_data_keys(progress).await?;
            tell(&progress);
            tokio::time::sleep(PAUSE).await;
        }
        if left + progress.rewrapped > 0 {
            tracing::info!(
                keys = left + progress.rewrapped,
                master = self.keyring().masters().id(),
                "keys were re-wrapped"
            );
        } else {
            self.end_rotation(started).await?;
        }
        self.renew_keys().await?;
        Ok(Pass {
            rewrapped: progress.rewrapped,
            over: !self.keyring().is_rewrapping(),
        })
    }

    /// Ends a rotation that began long enough before this moment, if nothing is left to re-wrap.
    async fn end_rotation(&self, started: Timestamp) -> Result<(), StoreError> {
        let masters = self.keyring().masters();
        let left: bool = on_pool!(&self.inner.engine, pool => {
            sqlx::query(LEFT).bind(masters.id()).fetch_one(pool).await?.try_get("found")?
        });
        if left {
            return Ok(());
        }
        on_side!(&self.inner.engine, pool => {
            sqlx::query(OVER)
                .bind(self.now().as_micros())
                .bind(KeyKind::Former.as_str())
                .bind(started.plus(-SETTLED).as_micros())
                .bind(masters.id())
                .execute(pool)
                .await?;
        });
        Ok(())
    }

    /// The id of the master whose data keys are being re-wrapped, if a rotation is under way.
    pub async fn former_master(&self) -> Result<Option<String>, StoreError> {
        let mut rows = self.former_rows().await?;
        rows.retain(|row| row.retired_at.is_none());
        Ok(rows.pop().map(|row| row.kid))
    }

    /// The ids of the masters that this store had before, as far as it knows them.
    pub async fn former_masters(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.former_rows().await?.into_iter().map(|row| row.kid).collect())
    }

    async fn former_rows(&self) -> Result<Vec<WrappedKey>, StoreError> {
        let mut rows = self.wrapped_keys().await?;
        rows.retain(|row| row.kind == KeyKind::Former.as_str());
        Ok(rows)
    }

    /// How many data keys each master key wraps, by the master's id.
    pub async fn data_keys_by_master(&self) -> Result<Vec<(String, i64)>, StoreError> {
        on_pool!(&self.inner.engine, pool => {
            let rows = sqlx::query(BY_MASTER).fetch_all(pool).await?;
            rows.iter().map(|row| Ok((row.try_get("kek_id")?, row.try_get("keys")?))).collect()
        })
    }
}
