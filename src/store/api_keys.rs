//! API keys: whom one stands for, which an account has, and when each was last used.

use aggregates::values::{Role, Timestamp};
use projections::{ApiKeyRow, UserRow};
use sqlx::Row as _;
use uuid::Uuid;

use super::engine::{on_pool, on_side};
use super::prepared::SecretKind;
use super::rows::{API_KEYS, Read, USERS};
use super::{Store, StoreError};

/// An API key with its owner: what a request that carries one needs, in one indexed select.
#[derive(Debug, Clone, PartialEq)]
pub struct AuthenticatedKeyRow {
    /// The key's id.
    pub key_id: Uuid,
    /// What was given to it.
    pub roles: Vec<Role>,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
    /// Whether it was revoked.
    pub revoked: bool,
    /// Its owner as they are now.
    pub user: UserRow,
}

/// An API key as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyRecord {
    /// Its row.
    pub row: ApiKeyRow,
    /// The minute of its last use; none: never used.
    pub last_used_at: Option<Timestamp>,
}

/// A use of a key that is gone is not kept. At most one write per minute, whichever process makes it.
const NOTE_USE: &str = "
    INSERT INTO api_key_uses (key_id, user_id, last_used_at)
    SELECT id, user_id, CAST($2 AS BIGINT) FROM api_keys WHERE id = $1
    ON CONFLICT (key_id) DO UPDATE SET last_used_at = excluded.last_used_at
    WHERE api_key_uses.last_used_at < excluded.last_used_at";

/// Both halves of one pair, whose key works and whose owner may be here.
const PAIR: &str = "
    SELECT k.id
    FROM secrets AS a
    JOIN secrets AS b ON b.owner = a.owner
    JOIN api_keys AS k ON k.id = a.owner
    JOIN users AS u ON u.id = k.user_id
    WHERE a.kind = $1 AND a.hash = $2 AND b.kind = $3 AND b.hash = $4 AND NOT k.revoked
      AND (k.expires_at IS NULL OR k.expires_at > $5)
      AND u.status IN ('active', 'pending')";

/// How many keys of an account are listed that work no more.
pub const MOST_ENDED_KEYS: i64 = 100;

/// Whether a key works, by itself.
const WORKS: &str = "(NOT k.revoked AND (k.expires_at IS NULL OR k.expires_at > $2))";

const OWNER: &str = "SELECT user_id FROM api_keys WHERE id = $1";

fn authenticated_sql() -> &'static str {
    static SQL: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    SQL.get_or_init(|| {
        format!(
            "SELECT {}, k.id AS key_id, k.roles AS key_roles, k.expires_at AS key_expires_at, k.revoked AS key_revoked
             FROM secrets AS s
             JOIN api_keys AS k ON k.id = s.owner
             JOIN users AS u ON u.id = k.user_id
             WHERE s.kind = $1 AND s.hash = $2",
            USERS.list("u.")
        )
    })
}

impl Store {
    /// Whom an API key stands for, by the key's hash.
    pub async fn authenticated_key(&self, hash: &[u8; 32]) -> Result<Option<AuthenticatedKeyRow>, StoreError> {
        on_pool!(&self.inner.engine, pool => {
            let row = sqlx::query(authenticated_sql())
                .bind(SecretKind::ApiKey.as_str())
                .bind(hash.as_slice())
                .fetch_optional(pool)
                .await?;
            row.map(|row| {
                let Read(user): Read<UserRow> = sqlx::FromRow::from_row(&row)?;
                let key_id: &str = row.try_get("key_id")?;
                let roles: &str = row.try_get("key_roles")?;
                Ok(AuthenticatedKeyRow {
                    key_id: Uuid::parse_str(key_id)
                        .map_err(|problem| StoreError::corrupt("api_keys", key_id, problem))?,
                    roles: serde_json::from_str(roles)
                        .map_err(|problem| StoreError::corrupt("api_keys", key_id, problem))?,
                    expires_at: row.try_get::<Option<i64>, _>("key_expires_at")?.map(Timestamp::from_micros),
                    revoked: row.try_get("key_revoked")?,
                    user,
                })
            })
            .transpose()
        })
    }

    /// Whether two hashes are those of an API key that works and of its client secret.
    pub async fn is_key_pair(
        &self,
        api_key: &[u8; 32],
        client_secret: &[u8; 32],
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        on_pool!(&self.inner.engine, pool => {
            let row = sqlx::query(PAIR)
                .bind(SecretKind::PairedKey.as_str())
                .bind(api_key.as_slice())
                .bind(SecretKind::ClientSecret.as_str())
                .bind(client_secret.as_slice())
                .bind(now.as_micros())
                .fetch_optional(pool)
                .await?;
            Ok(row.is_some())
        })
    }

    /// The API keys of an account, newest first: all that work, of which there are never many, and of those that were
    /// revoked or have expired the newest hundred.
    pub async fn api_keys(&self, user: Uuid) -> Result<Vec<ApiKeyRecord>, StoreError> {
        let sql = format!(
            "SELECT {}, x.last_used_at FROM api_keys AS k LEFT JOIN api_key_uses AS x ON x.key_id = k.id
             WHERE k.user_id = $1 AND ({WORKS} OR k.id IN (
                 SELECT k.id FROM api_keys AS k WHERE k.user_id = $1 AND NOT ({WORKS})
                 ORDER BY k.created_at DESC, k.id DESC LIMIT $3))
             ORDER BY k.created_at DESC, k.id DESC",
            API_KEYS.list("k.")
        );
        let now = self.now().as_micros();
        on_pool!(&self.inner.engine, pool => {
            let query = sqlx::query(&sql).bind(user.to_string()).bind(now).bind(MOST_ENDED_KEYS);
            let rows = query.fetch_all(pool).await?;
            rows.iter()
                .map(|row| {
                    let Read(key): Read<ApiKeyRow> = sqlx::FromRow::from_row(row)?;
                    Ok(ApiKeyRecord {
                        row: key,
                        last_used_at: row.try_get::<Option<i64>, _>("last_used_at")?.map(Timestamp::from_micros),
                    })
                })
                .collect()
        })
    }

    /// Whose an API key is.
    pub async fn owner_of_key(&self, key: Uuid) -> Result<Option<Uuid>, StoreError> {
        on_pool!(&self.inner.engine, pool => {
            let row = sqlx::query(OWNER).bind(key.to_string()).fetch_optional(pool).await?;
            row.map(|row| {
                let owner: &str = row.try_get("user_id")?;
                Uuid::parse_str(owner).map_err(|problem| StoreError::corrupt("api_keys", key, problem))
            })
            .transpose()
        })
    }

    /// Keeps the minute in which an API key was used, unless a later one is kept. Beside the log: no lock of it is
    /// taken.
    pub async fn note_key_use(&self, key: Uuid, minute: Timestamp) -> Result<(), StoreError> {
        on_side!(&self.inner.engine, pool => {
            sqlx::query(NOTE_USE).bind(key.to_string()).bind(minute.as_micros()).execute(pool).await?;
            Ok(())
        })
    }
}
