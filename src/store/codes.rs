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
    RETURNING request_id, value, tries";

/// Whether somebody's live code has borne all the guesses it bears.
const BURNT: &str = "
    SELECT 1 AS found FROM codes WHERE purpose = $1 AND user_id = $2 AND expires_at > $3 AND tries >= $4";

/// Whether a guess was somebody's code lately.
const PAST: &str = "
    SELECT 1 AS found FROM past_codes WHERE purpose = $1 AND user_id = $2 AND value = $3 AND expires_at > $4";

/// Nobody is named here, so no guess of anybody is counted: the caller has counted it.
const BY_VALUE: &str = "
    SELECT user_id, request_id FROM codes WHERE purpose = $1 AND value = $2 AND expires_at > $3 AND tries < $4";

const LIVE: &str = "
    SELECT count(*) AS live FROM (SELECT 1 FROM codes WHERE purpose = $1 AND expires_at > $2 LIMIT $3) AS found";

const GIVE_BACK: &str = "UPDATE codes SET tries = tries - 1 WHERE request_id = $1 AND tries > 0";

const SEALED: &str = "SELECT sealed FROM codes WHERE request_id = $1 AND sealed IS NOT NULL";

const HAS_LEFT: &str = "SELECT 1 AS one FROM codes WHERE request_id = $1 AND sealed IS NULL";

const FAREWELL: &str = "SELECT sealed FROM farewells WHERE user_id = $1";

/// A code that a guess may be compared with: the guess has been counted.
#[derive(Clone)]
pub struct Guess {
    /// The event that asked for the code.
    pub request_id: Uuid,
    /// Keyed HMAC of the code.
    pub value: [u8; 32],
    /// How many guesses it has borne, this one included.
    pub tries: i64,
}

impl Guess {
    /// Whether this guess was the last one its code bears.
    #[must_use]
    pub fn burns(&self) -> bool {
        self.tries >= MOST_TRIES
    }
}

impl Store {
    /// Counts a guess at somebody's code. None: there is no live code of this purpose, or it has borne [`MOST_TRIES`].
    pub async fn try_code(&self, purpose: &str, user: Uuid, now: Timestamp) -> Result<Option<Guess>, StoreError> {
        let found: Option<(String, Vec<u8>, i64)> = on_side!(&self.inner.engine, pool => {
            let row = sqlx::query(TRY)
                .bind(purpose)
                .bind(user.to_string())
                .bind(now.as_micros())
                .bind(MOST_TRIES)
                .fetch_optional(pool)
                .await?;
            match row {
                Some(row) => Some((row.try_get("request_id")?, row.try_get("value")?, row.try_get("tries")?)),
                None => None,
            }
        });
        let Some((request, value, tries)) = found else {
            return Ok(None);
        };
        Ok(Some(Guess {
            request_id: Uuid::parse_str(&request).map_err(|problem| StoreError::corrupt("codes", "?", problem))?,
            value: super::postgres::hash(&value)?,
            tries,
        }))
    }

    /// Whether a guess comes too late: the code has borne all its guesses, or it was a code of this account and is none
    /// any more.
    pub async fn comes_late(
        &self,
        purpose: &str,
        user: Uuid,
        value: &[u8; 32],
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        on_pool!(&self.inner.engine, pool => {
            let burnt = sqlx::query(BURNT)
                .bind(purpose)
                .bind(user.to_string())
                .bind(now.as_micros())
                .bind(MOST_TRIES)
                .fetch_optional(pool)
                .await?;
            let past = sqlx::query(PAST)
                .bind(purpose)
                .bind(user.to_string())
                .bind(value.as_slice())
                .bind(now.as_micros())
                .fetch_optional(pool)
                .await?;
            Ok(burnt.is_some() || past.is_some())
        })
    }

    /// The account and the request of a live code, looked for by the code alone.
    pub async fn code_by_value(
        &self,
        purpose: &str,
        value: &[u8; 32],
        now: Timestamp,
    ) -> Result<Option<(Uuid, Uuid)>, StoreError> {
        let found: Option<(String, String)> = on_pool!(&self.inner.engine, pool => {
            let row = sqlx::query(BY_VALUE)
                .bind(purpose)
                .bind(value.as_slice())
                .bind(now.as_micros())
                .bind(MOST_TRIES)
                .fetch_optional(pool)
                .await?;
            match row {
                Some(row) => Some((row.try_get("user_id")?, row.try_get("request_id")?)),
                None => None,
            }
        });
        let id = |text: &str| Uuid::parse_str(text).map_err(|problem| StoreError::corrupt("codes", "?", problem));
        found.map(|(user, request)| Ok((id(&user)?, id(&request)?))).transpose()
    }

    /// How many codes of a purpose are live, counted no further than `most`.
    pub async fn live_codes(&self, purpose: &str, now: Timestamp, most: i64) -> Result<i64, StoreError> {
        on_pool!(&self.inner.engine, pool => {
            let row = sqlx::query(LIVE)
                .bind(purpose)
                .bind(now.as_micros())
                .bind(most)
                .fetch_one(pool)
                .await?;
            Ok(row.try_get("live")?)
        })
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

    /// Whether the code a request asked for was sent and is live. One that was given up, used, replaced or swept is not.
    pub async fn has_left(&self, request: Uuid) -> Result<bool, StoreError> {
        on_pool!(&self.inner.engine, pool => {
            let row = sqlx::query(HAS_LEFT).bind(request.to_string()).fetch_optional(pool).await?;
            Ok(row.is_some())
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

    /// Drops the code of a message that was given up, in the transaction that says so. It opens nothing any more.
    #[must_use]
    pub fn drop_code(request: Uuid) -> Self {
        Self {
            sql: "DELETE FROM codes WHERE request_id = $1",
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
