//! One-time codes and last messages: what lies between the event that asks for a message and its follower.
//!
//! A guess is counted in a short transaction of its own, off the head lock, before anything is compared.

use aggregates::values::Timestamp;
use sqlx::Row as _;
use uuid::Uuid;

use super::engine::{on_pool, on_side};
use super::{RowWrite, Store, StoreError};

/// Wrong guesses a code bears (SECURITY-REQUIREMENTS, section 4).
pub const MOST_TRIES: i64 = 5;

/// The statement that counts also asks whether there is a try left: of a hundred guesses at once five get through.
const TRY: &str = "
    UPDATE codes SET tries = tries + 1
    WHERE purpose = $1 AND user_id = $2 AND expires_at > $3 AND tries < $4
    RETURNING request_id, value";

const GIVE_BACK: &str = "UPDATE codes SET tries = tries - 1 WHERE request_id = $1 AND tries > 0";

const SEALED: &str = "SELECT sealed FROM codes WHERE request_id = $1 AND sealed IS NOT NULL";

const FAREWELL: &str = "SELECT sealed FROM farewells WHERE user_id = $1";

/// A code that a guess may be compared with: the guess has been counted.
#[derive(Clone)]
pub struct Guess {
    /// The event that asked for the code.
    pub request_id: Uuid,
    /// Keyed HMAC of the code.
    pub value: [u8; 32],
}

impl Store {
    /// Counts a guess at somebody's code. None: there is no live code of this purpose, or it has borne [`MOST_TRIES`].
    pub async fn try_code(&self, purpose: &str, user: Uuid, now: Timestamp) -> Result<Option<Guess>, StoreError> {
        let found: Option<(String, Vec<u8>)> = on_side!(&self.inner.engine, pool => {
            let row = sqlx::query(TRY)
                .bind(purpose)
                .bind(user.to_string())
                .bind(now.as_micros())
                .bind(MOST_TRIES)
                .fetch_optional(pool)
                .await?;
            match row {
                Some(row) => Some((row.try_get("request_id")?, row.try_get("value")?)),
                None => None,
            }
        });
        let Some((request, value)) = found else { return Ok(None) };
        Ok(Some(Guess {
            request_id: Uuid::parse_str(&request).map_err(|problem| StoreError::corrupt("codes", "?", problem))?,
            value: super::postgres::hash(&value)?,
        }))
    }

    /// Takes back what was counted: the guess was right, so what it was for may fail otherwise and be tried again.
    pub async fn give_back_try(&self, request: Uuid) -> Result<(), StoreError> {
        on_side!(&self.inner.engine, pool => {
            sqlx::query(GIVE_BACK).bind(request.to_string()).execute(pool).await?;
            Ok(())
        })
    }

    /// The code a request asked for, sealed. None: it was sent, used, replaced or swept.
    pub async fn sealed_code(&self, request: Uuid) -> Result<Option<Vec<u8>>, StoreError> {
        on_pool!(&self.inner.engine, pool => {
            let row = sqlx::query(SEALED).bind(request.to_string()).fetch_optional(pool).await?;
            Ok(row.map(|row| row.try_get("sealed")).transpose()?)
        })
    }

    /// Where the last message to somebody who was erased goes, sealed. None: it was sent, or there is none.
    pub async fn sealed_farewell(&self, user: Uuid) -> Result<Option<Vec<u8>>, StoreError> {
        on_pool!(&self.inner.engine, pool => {
            let row = sqlx::query(FAREWELL).bind(user.to_string()).fetch_optional(pool).await?;
            Ok(row.map(|row| row.try_get("sealed")).transpose()?)
        })
    }
}

impl RowWrite {
    /// Wipes the code that was sent, in the transaction that says so. It can still be compared with.
    #[must_use]
    pub fn wipe_code(request: Uuid) -> Self {
        Self {
            sql: "UPDATE codes SET sealed = NULL WHERE request_id = $1",
            texts: vec![request.to_string()],
            numbers: Vec::new(),
        }
    }

    /// Forgets where a last message went, in the transaction that says it was sent.
    #[must_use]
    pub fn forget_farewell(user: Uuid) -> Self {
        Self {
            sql: "DELETE FROM farewells WHERE user_id = $1",
            texts: vec![user.to_string()],
            numbers: Vec::new(),
        }
    }
}
