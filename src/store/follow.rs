//! Checkpoints: how far each follower of the log has come, and which process may run it.

use sqlx::Row as _;

use super::deadline::{ANSWER, within};
use super::engine::{Engine, on_side};
use super::{Store, StoreError};

/// The right to run a follower until it lapses or somebody else takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Which follower.
    pub follower: String,
    /// Which process.
    pub owner: String,
    /// Counts changes of owner; a checkpoint moves only under the epoch it was leased in.
    pub epoch: i64,
    /// The last event it is done with.
    pub position: i64,
    /// Why it stopped, if it did.
    pub error: Option<String>,
    /// The event it cannot be done with, if it stopped because of one.
    pub stopped_at: Option<i64>,
}

/// A row of the table, for those who watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which follower.
    pub follower: String,
    /// The last event it is done with.
    pub position: i64,
    /// Which process runs it.
    pub owner: Option<String>,
    /// Why it stopped, if it did.
    pub error: Option<String>,
    /// The event it stopped at.
    pub error_position: Option<i64>,
    /// Whether it only waits for what lies outside.
    pub outside: bool,
    /// When the row last changed, microseconds since 1970.
    pub updated_at: i64,
}

impl Checkpoint {
    /// The event that its follower cannot be done with, if it stopped because of one.
    #[must_use]
    pub fn stopped_at(&self) -> Option<i64> {
        stopped_at(self.error.as_deref(), self.error_position, self.outside)
    }
}

fn stopped_at(error: Option<&str>, position: Option<i64>, outside: bool) -> Option<i64> {
    position.filter(|_| error.is_some() && !outside)
}

/// Where the trouble lies of a follower that stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// In the event: somebody must look.
    Event,
    /// Outside, where something is away: the same event will do later.
    Outside,
}

/// A statement of a follower's own, run in the transaction that moves its checkpoint.
#[derive(Debug, Clone)]
pub struct RowWrite {
    /// With places `$1`, `$2` …
    pub sql: &'static str,
    /// Texts for the places.
    pub texts: Vec<String>,
    /// Numbers for the places after the texts.
    pub numbers: Vec<i64>,
}

/// Leases are compared by the database's clock: the clocks of replicas differ.
const NOW_POSTGRES: &str = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
const NOW_SQLITE: &str = "CAST(unixepoch('subsec') * 1000000 AS INTEGER)";

impl Store {
    fn database_now(&self) -> &'static str {
        match self.inner.engine {
            Engine::Postgres { .. } => NOW_POSTGRES,
            Engine::Sqlite { .. } => NOW_SQLITE,
        }
    }

    /// Takes or renews the lease of a follower. None: another process has it.
    ///
    /// A follower seen for the first time begins after `start`. Like everything here that followers wait for, it fails
    /// after [`ANSWER`]: what was done all the same is found by its epoch.
    pub async fn lease(
        &self,
        follower: &str,
        owner: &str,
        length_micros: i64,
        start: i64,
    ) -> Result<Option<Lease>, StoreError> {
        let now = self.database_now();
        let create = format!(
            "INSERT INTO checkpoints (follower, position, lease_until, epoch, updated_at) VALUES ($1, $2, 0, 0, {now})
             ON CONFLICT (follower) DO NOTHING"
        );
        if let Some(lease) = self.lease_again(follower, owner, length_micros).await? {
            return Ok(Some(lease));
        }
        let making = within(ANSWER, async {
            on_side!(&self.inner.engine, pool => {
                let made = sqlx::query(&create).bind(follower).bind(start).execute(pool).await?;
                Ok(made.rows_affected() == 1)
            })
        });
        if making.await? {
            self.lease_again(follower, owner, length_micros).await
        } else {
            Ok(None)
        }
    }

    /// The same of one that has a checkpoint. None: another process has it, or it has none any more.
    pub async fn lease_again(
        &self,
        follower: &str,
        owner: &str,
        length_micros: i64,
    ) -> Result<Option<Lease>, StoreError> {
        let now = self.database_now();
        let take = format!(
            "UPDATE checkpoints
             SET epoch = CASE WHEN owner = $2 THEN epoch ELSE epoch + 1 END, owner = $2, lease_until = {now} + $3,
                 updated_at = {now}
             WHERE follower = $1 AND (owner IS NULL OR owner = $2 OR lease_until < {now})
             RETURNING position, epoch, error, error_position, outside"
        );
        let taking = async {
            on_side!(&self.inner.engine, pool => {
                let taken = sqlx::query(&take).bind(follower).bind(owner).bind(length_micros).fetch_optional(pool).await?;
                taken.map(|row| {
                    let error: Option<String> = row.try_get("error")?;
                    Ok(Lease {
                        follower: follower.to_owned(),
                        owner: owner.to_owned(),
                        epoch: row.try_get("epoch")?,
                        position: row.try_get("position")?,
                        stopped_at: stopped_at(error.as_deref(), row.try_get("error_position")?, row.try_get("outside")?),
                        error,
                    })
                })
                .transpose()
            })
        };
        within(ANSWER, taking).await
    }

    /// Moves a checkpoint together with the follower's own rows. False: the lease has passed to another process,
    /// and nothing was written.
    pub async fn advance(
        &self,
        lease: &mut Lease,
        position: i64,
        length_micros: i64,
        writes: &[RowWrite],
    ) -> Result<bool, StoreError> {
        let now = self.database_now();
        let sql = format!(
            "UPDATE checkpoints
             SET position = $3, lease_until = {now} + $4, error = NULL, error_position = NULL, updated_at = {now}
             WHERE follower = $1 AND epoch = $2 AND position <= $3"
        );
        let moving = async {
            on_side!(&self.inner.engine, pool => {
                let mut transaction = pool.begin().await?;
                let moved = sqlx::query(&sql)
                    .bind(&lease.follower)
                    .bind(lease.epoch)
                    .bind(position)
                    .bind(length_micros)
                    .execute(&mut *transaction)
                    .await?
                    .rows_affected()
                    == 1;
                if moved {
                    for write in writes {
                        let mut query = sqlx::query(write.sql);
                        for text in &write.texts {
                            query = query.bind(text);
                        }
                        for number in &write.numbers {
                            query = query.bind(number);
                        }
                        query.execute(&mut *transaction).await?;
                    }
                    transaction.commit().await?;
                } else {
                    transaction.rollback().await?;
                }
                Ok(moved)
            })
        };
        let moved = within(ANSWER, moving).await?;
        if moved {
            lease.position = position;
            lease.error = None;
            lease.stopped_at = None;
        }
        Ok(moved)
    }

    /// Keeps why a follower stopped and at which event. It stays where it is until somebody sees to it.
    pub async fn stopped(&self, lease: &Lease, position: i64, error: &str, trouble: Trouble) -> Result<(), StoreError> {
        let now = self.database_now();
        let sql = format!(
            "UPDATE checkpoints SET error = $3, error_position = $4, outside = $5, updated_at = {now}
             WHERE follower = $1 AND epoch = $2"
        );
        let keeping = async {
            on_side!(&self.inner.engine, pool => {
                sqlx::query(&sql)
                    .bind(&lease.follower)
                    .bind(lease.epoch)
                    .bind(error)
                    .bind(position)
                    .bind(trouble == Trouble::Outside)
                    .execute(pool)
                    .await?;
                Ok(())
            })
        };
        within(ANSWER, keeping).await
    }

    /// Gives a lease back, so that another process need not wait for it to lapse.
    pub async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.under(
            lease,
            "UPDATE checkpoints SET owner = NULL, lease_until = 0 WHERE follower = $1 AND epoch = $2",
        )
        .await
    }

    /// Gives a lease back for good: its follower has come to its end and is forgotten, unless it has passed to another
    /// process.
    pub async fn finish(&self, lease: &Lease) -> Result<(), StoreError> {
        self.under(lease, "DELETE FROM checkpoints WHERE follower = $1 AND epoch = $2")
            .await
    }

    /// A statement about a checkpoint that counts in this epoch only.
    async fn under(&self, lease: &Lease, sql: &'static str) -> Result<(), StoreError> {
        let doing = async {
            on_side!(&self.inner.engine, pool => {
                sqlx::query(sql).bind(&lease.follower).bind(lease.epoch).execute(pool).await?;
                Ok(())
            })
        };
        within(ANSWER, doing).await
    }

    /// Forgets how far a follower was that nobody runs. False: somebody does, or there is none of that name.
    pub async fn forget_idle(&self, follower: &str) -> Result<bool, StoreError> {
        let now = self.database_now();
        let sql = format!("DELETE FROM checkpoints WHERE follower = $1 AND (owner IS NULL OR lease_until < {now})");
        on_side!(&self.inner.engine, pool => {
            let forgotten = sqlx::query(&sql).bind(follower).execute(pool).await?;
            Ok(forgotten.rows_affected() == 1)
        })
    }

    /// All checkpoints.
    pub async fn checkpoints(&self) -> Result<Vec<Checkpoint>, StoreError> {
        const ALL: &str = "
            SELECT follower, position, owner, error, error_position, outside, updated_at FROM checkpoints
            ORDER BY follower";
        let reading = async {
            on_side!(&self.inner.engine, pool => {
                let rows = sqlx::query(ALL).fetch_all(pool).await?;
                rows.into_iter()
                    .map(|row| {
                        Ok(Checkpoint {
                            follower: row.try_get("follower")?,
                            position: row.try_get("position")?,
                            owner: row.try_get("owner")?,
                            error: row.try_get("error")?,
                            error_position: row.try_get("error_position")?,
                            outside: row.try_get("outside")?,
                            updated_at: row.try_get("updated_at")?,
                        })
                    })
                    .collect()
            })
        };
        within(ANSWER, reading).await
    }
}
