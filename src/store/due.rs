//! What has come due: registrations that were never verified, and origins past their retention.

use aggregates::values::Timestamp;
use projections::ORIGIN_LIFE;
use sqlx::Row as _;
use uuid::Uuid;

use super::engine::{on_pool, on_side};
use super::{Store, StoreError};
use crate::keys::Scope;

/// Rows deleted per statement, as in the sweep.
const TURN: i64 = 1_000;

/// A registration that is locked waits: unlocking it brings it back here.
const DUE: &str = "
    SELECT id, expires_at FROM users
    WHERE expires_at <= $1 AND (expires_at, id) > ($2, $3) AND status = 'pending'
    ORDER BY expires_at, id LIMIT $4";

const FORGET_KEYS: &str = "
    DELETE FROM subject_keys WHERE (subject, scope) IN (
        SELECT subject, scope FROM subject_keys WHERE scope >= 'origin-' AND scope <= $1 LIMIT $2)";

const ORIGINS_DUE: &str = "
    SELECT EXISTS (SELECT 1 FROM subject_keys WHERE scope >= 'origin-' AND scope <= $1) AS due";

/// The rows of sessions hold in clear what those keys seal: what the log no longer tells, they do not tell either.
const FORGET_ROWS: &str = "
    UPDATE sessions SET ip = NULL, user_agent = NULL
    WHERE started_at < $1 AND (ip IS NOT NULL OR user_agent IS NOT NULL)";

/// A registration that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Whose.
    pub user: Uuid,
    /// When it ended.
    pub expires_at: Timestamp,
}

impl Store {
    /// Registrations that ended unverified by `now`, the longest due first, after the last one of the page before.
    pub async fn due_registrations(
        &self,
        now: Timestamp,
        after: Option<Due>,
        limit: i64,
    ) -> Result<Vec<Due>, StoreError> {
        let (at, id) = after.map_or((i64::MIN, String::new()), |due| {
            (due.expires_at.as_micros(), due.user.to_string())
        });
        on_pool!(&self.inner.engine, pool => {
            let rows = sqlx::query(DUE).bind(now.as_micros()).bind(at).bind(&id).bind(limit).fetch_all(pool).await?;
            rows.iter()
                .map(|row| {
                    let id: &str = row.try_get("id")?;
                    Ok(Due {
                        user: Uuid::parse_str(id).map_err(|problem| StoreError::corrupt("users", id, problem))?,
                        expires_at: Timestamp::from_micros(row.try_get("expires_at")?),
                    })
                })
                .collect()
        })
    }

    /// Destroys the keys of origins past their retention and says how many. Doing it again, or in several processes,
    /// does no harm.
    ///
    /// A key seals a whole month, so a month goes when its first moment is 90 days old: nothing is kept longer, and
    /// what came last in it no shorter than 59 days. The rows go too: no key of a past month is ever drawn again.
    pub async fn forget_origins(&self) -> Result<u64, StoreError> {
        let last = Scope::origin_at(self.now().plus(-ORIGIN_LIFE));
        let due: bool = on_pool!(&self.inner.engine, pool => {
            sqlx::query(ORIGINS_DUE).bind(last.to_string()).fetch_one(pool).await?.try_get("due")?
        });
        let Some(end) = last.end().filter(|_| due) else {
            return Ok(0);
        };
        // First the rows: as long as there is a key, somebody comes back for what is left.
        on_side!(&self.inner.engine, pool => {
            sqlx::query(FORGET_ROWS).bind(end.as_micros()).execute(pool).await?;
        });
        let mut forgotten = 0;
        loop {
            let rows = on_side!(&self.inner.engine, pool => {
                sqlx::query(FORGET_KEYS).bind(last.to_string()).bind(TURN).execute(pool).await?.rows_affected()
            });
            forgotten += rows;
            if rows < TURN.unsigned_abs() {
                break;
            }
        }
        if forgotten > 0 {
            self.inner.data_keys.clear();
            tracing::info!(keys = forgotten, "origins past their retention were forgotten");
        }
        Ok(forgotten)
    }
}
