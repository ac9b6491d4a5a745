//! Messages that could not be delivered at once, kept until they are, or for those who look after them.
//!
//! A row names an event and one of its messages and nothing of anybody: what is sent is made from the log every time.
//! Whoever works on a row takes it by moving its time, so that several processes share the work and what a dead one had
//! taken comes up again.

use std::time::Duration;

use aggregates::values::Timestamp;
use sqlx::Row as _;

use super::engine::{on_pool, on_side};
use super::{RowWrite, Store, StoreError};

/// Also when a follower tells of the same event again after a crash: then the row begins anew.
const PUT: &str = "
    INSERT INTO undelivered (channel, problem, position, number, attempts, next_at, updated_at)
    VALUES ($1, $2, $3, $4, 1, $5, $6)
    ON CONFLICT (channel, position, number)
    DO UPDATE SET problem = excluded.problem, attempts = 1, next_at = excluded.next_at, updated_at = excluded.updated_at";

const PUT_UP: &str = "
    INSERT INTO undelivered (channel, problem, position, number, attempts, next_at, updated_at)
    VALUES ($1, $2, $3, $4, 1, NULL, $5)
    ON CONFLICT (channel, position, number)
    DO UPDATE SET problem = excluded.problem, next_at = NULL, updated_at = excluded.updated_at";

const DUE: &str = "
    SELECT position, number, attempts, next_at FROM undelivered
    WHERE channel = $1 AND next_at <= $2
    ORDER BY next_at
    LIMIT $3";

const TAKE: &str = "
    UPDATE undelivered SET next_at = $5
    WHERE channel = $1 AND position = $2 AND number = $3 AND next_at = $4";

const AGAIN: &str = "
    UPDATE undelivered SET attempts = $4, next_at = $5, problem = $6, updated_at = $7
    WHERE channel = $1 AND position = $2 AND number = $3 AND next_at IS NOT NULL";

const GIVE_UP: &str = "
    UPDATE undelivered SET attempts = $4, next_at = NULL, problem = $5, updated_at = $6
    WHERE channel = $1 AND position = $2 AND number = $3";

const DONE: &str = "DELETE FROM undelivered WHERE channel = $1 AND position = $2 AND number = $3";

const WAITING: &str = "SELECT count(next_at) AS waiting FROM undelivered WHERE channel = $1 AND next_at IS NOT NULL";

/// A message that is to be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Undelivered {
    /// What carries it.
    pub channel: &'static str,
    /// Position of the event it tells of.
    pub position: i64,
    /// Which of the messages of that event, from 0.
    pub number: i64,
    /// How often it was tried.
    pub attempts: i64,
    next_at: i64,
}

/// How work on a message ended.
#[derive(Debug, Clone)]
pub enum Ended {
    /// It was delivered, or there is nothing to deliver any more.
    Done,
    /// It is tried again.
    Again {
        /// How often it was tried.
        attempts: i64,
        /// When.
        at: Timestamp,
        /// Why.
        problem: String,
    },
    /// It is not tried again.
    GivenUp {
        /// How often it was tried.
        attempts: i64,
        /// Why.
        problem: String,
    },
}

impl RowWrite {
    /// Puts a message off until a time, in the transaction that says its event was handled.
    #[must_use]
    pub fn put_off(
        channel: &'static str,
        position: i64,
        number: i64,
        problem: &str,
        at: Timestamp,
        now: Timestamp,
    ) -> Self {
        Self {
            sql: PUT,
            texts: vec![channel.to_owned(), problem.to_owned()],
            numbers: vec![position, number, at.as_micros(), now.as_micros()],
        }
    }

    /// Keeps that a message was given up, in the transaction that says its event was handled.
    #[must_use]
    pub fn given_up(channel: &'static str, position: i64, number: i64, problem: &str, now: Timestamp) -> Self {
        Self {
            sql: PUT_UP,
            texts: vec![channel.to_owned(), problem.to_owned()],
            numbers: vec![position, number, now.as_micros()],
        }
    }
}

impl Store {
    /// Messages of a channel whose time has come, the longest waiting first.
    pub async fn due_again(&self, channel: &'static str, most: i64) -> Result<Vec<Undelivered>, StoreError> {
        let now = self.now().as_micros();
        on_pool!(&self.inner.engine, pool => {
            let rows = sqlx::query(DUE).bind(channel).bind(now).bind(most).fetch_all(pool).await?;
            rows.into_iter()
                .map(|row| {
                    Ok(Undelivered {
                        channel,
                        position: row.try_get("position")?,
                        number: row.try_get("number")?,
                        attempts: row.try_get("attempts")?,
                        next_at: row.try_get("next_at")?,
                    })
                })
                .collect()
        })
    }

    /// Takes a message to work on it. It comes up again after `within`, should this process die. False: another
    /// process was quicker.
    pub async fn take_again(&self, message: &Undelivered, within: Duration) -> Result<bool, StoreError> {
        let within = i64::try_from(within.as_micros()).unwrap_or(i64::MAX);
        let until = self.now().plus(within).as_micros();
        on_side!(&self.inner.engine, pool => {
            let taken = sqlx::query(TAKE)
                .bind(message.channel)
                .bind(message.position)
                .bind(message.number)
                .bind(message.next_at)
                .bind(until)
                .execute(pool)
                .await?;
            Ok(taken.rows_affected() == 1)
        })
    }

    /// Writes how work on a message ended, and with it what else follows from it.
    pub async fn ended(&self, message: &Undelivered, ended: Ended, writes: &[RowWrite]) -> Result<(), StoreError> {
        let now = self.now().as_micros();
        on_side!(&self.inner.engine, pool => {
            let mut transaction = pool.begin().await?;
            let sql = match &ended {
                Ended::Done => DONE,
                Ended::Again { .. } => AGAIN,
                Ended::GivenUp { .. } => GIVE_UP,
            };
            let query = sqlx::query(sql).bind(message.channel).bind(message.position).bind(message.number);
            let query = match ended {
                Ended::Done => query,
                Ended::Again { attempts, at, problem } => {
                    query.bind(attempts).bind(at.as_micros()).bind(problem).bind(now)
                }
                Ended::GivenUp { attempts, problem } => query.bind(attempts).bind(problem).bind(now),
            };
            query.execute(&mut *transaction).await?;
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
            Ok(())
        })
    }

    /// How many messages of a channel wait to be tried again.
    pub async fn waiting_again(&self, channel: &'static str) -> Result<i64, StoreError> {
        on_pool!(&self.inner.engine, pool => {
            let row = sqlx::query(WAITING).bind(channel).fetch_one(pool).await?;
            Ok(row.try_get("waiting")?)
        })
    }
}
