//! How far behind the log its followers are.

use sqlx::Row as _;

use super::engine::on_pool;
use super::{Checkpoint, Skip, Store, StoreError};

/// How a range that is published again is named: work with an end, not a follower of the log.
pub const AGAIN: &str = "publish ";

/// A follower beside the head of the log.
#[derive(Debug, Clone)]
pub struct FollowerState {
    /// Where it is, who runs it, and why it stopped if it did.
    pub checkpoint: Checkpoint,
    /// Where the log ends.
    pub head: i64,
    /// For how long the first event that it is not done with has been in the log, microseconds; 0: there is none.
    pub behind: i64,
    /// The events it passed over on somebody's word.
    pub skips: Vec<Skip>,
}

const NEXT: &str = "SELECT recorded_at FROM events WHERE position > $1 ORDER BY position LIMIT 1";

impl Store {
    /// Every follower that ever had a checkpoint.
    pub async fn followers(&self) -> Result<Vec<FollowerState>, StoreError> {
        let mut checkpoints = self.checkpoints().await?;
        checkpoints.retain(|one| !one.follower.starts_with(AGAIN));
        let skips = self.skips().await?;
        // Read afterwards, so that nobody is ahead of it.
        let head = self.head().await?.position;
        let mut states = Vec::with_capacity(checkpoints.len());
        for checkpoint in checkpoints {
            let since: Option<i64> = on_pool!(&self.inner.engine, pool => {
                let row = sqlx::query(NEXT).bind(checkpoint.position).fetch_optional(pool).await?;
                row.map(|row| row.try_get("recorded_at")).transpose()?
            });
            let behind = since.map_or(0, |since| (self.now().as_micros() - since).max(0));
            let of = |skip: &&Skip| skip.follower == checkpoint.follower;
            states.push(FollowerState {
                skips: skips.iter().filter(of).cloned().collect(),
                checkpoint,
                head,
                behind,
            });
        }
        Ok(states)
    }
}
