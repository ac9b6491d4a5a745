//! An account as it was at any moment, and what became of it between two.
//!
//! It is folded by the very folds that keep the live rows. What was erased since is missing from the past too.

use aggregates::values::Timestamp;
use projections::UserRow;
use uuid::Uuid;

use super::command::Asked;
use super::{Refusal, Registry};
use crate::store::{OpenedEvent, Until};

/// An account as it was.
#[derive(Debug, Clone)]
pub struct PastUser {
    /// The account.
    pub row: UserRow,
    /// The last event that had made it so.
    pub last: OpenedEvent,
}

impl Registry {
    /// Whether a moment lies after what the log tells of.
    pub async fn is_ahead(&self, moment: Until) -> Result<bool, Refusal> {
        Ok(match moment {
            Until::Position(position) => position > self.store().head().await?.position,
            Until::Time(time) => time > self.store().now(),
        })
    }

    /// Whether the log comes to one moment before it comes to the other.
    pub async fn is_before(&self, one: Until, other: Until) -> Result<bool, Refusal> {
        Ok(match (one, other) {
            (Until::Position(one), Until::Position(other)) => one < other,
            (Until::Time(one), Until::Time(other)) => one < other,
            (Until::Time(one), Until::Position(other)) => {
                self.recorded_at(other).await?.is_some_and(|other| one < other)
            }
            // A time lasts until the next event is recorded.
            (Until::Position(one), Until::Time(other)) => self
                .recorded_at(one.saturating_add(1))
                .await?
                .is_some_and(|next| next <= other),
        })
    }

    /// When the event at a position was recorded, if there is one.
    async fn recorded_at(&self, position: i64) -> Result<Option<Timestamp>, Refusal> {
        if position < 1 {
            return Ok(None);
        }
        let found = self.store().events_after(position - 1, 1).await?;
        Ok(found.first().map(|record| record.recorded_at))
    }

    /// Refuses what never was an account.
    pub async fn has_history(&self, user: Uuid) -> Result<(), Refusal> {
        let first = self.store().events_of("user", &user.to_string(), 0, 1).await?;
        if first.is_empty() {
            Err(Refusal::NotFound)
        } else {
            Ok(())
        }
    }

    /// An account as it was. Before its first event, and after its last one, it is not there.
    pub async fn user_at(&self, asked: &Asked, user: Uuid, at: Until) -> Result<PastUser, Refusal> {
        let mut last = None;
        let row = self
            .store()
            .walk_user(user, at, |event, _| last = Some(event.clone()))
            .await?;
        let past = row.zip(last).map(|(row, last)| PastUser { row, last });
        let past = past.ok_or(Refusal::NotFound)?;
        self.record_reading(asked, user).await?;
        Ok(past)
    }

    /// Shows every event that made an account what it was at a moment, each with the account after it.
    pub async fn user_until(
        &self,
        asked: &Asked,
        user: Uuid,
        to: Until,
        mut see: impl FnMut(&OpenedEvent, Option<&UserRow>) + Send,
    ) -> Result<(), Refusal> {
        let mut any = false;
        self.store()
            .walk_user(user, to, |event, row| {
                any = true;
                see(event, row);
            })
            .await?;
        if !any {
            return Err(Refusal::NotFound);
        }
        self.record_reading(asked, user).await
    }
}
