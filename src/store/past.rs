//! An account as it was: the same folds as in the append, over its events up to a moment.

use aggregates::values::Timestamp;
use projections::{Recorded, UserRow};
use sqlx::Row as _;
use uuid::Uuid;

use super::engine::on_pool;
use super::read::{EventRecord, record};
use super::{AnyEvent, OpenedEvent, Store, StoreError};

/// Events read at a time.
const PAGE: i64 = 200;
/// What folds into an account's row: its own events and those of its sessions.
const ABOUT: &str = "
    SELECT aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, position, event_id,
           subject, recorded_at
    FROM events
    WHERE subject = $1 AND position > $2 AND position <= $3 AND recorded_at <= $4
      AND aggregate_type IN ('user', 'session')
    ORDER BY position LIMIT $5";

/// Where events about somebody stand.
const WHERE: &str = "SELECT position FROM events WHERE subject = $1 AND position < $2";

/// Up to where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Up to this log position.
    Position(i64),
    /// Up to this time. The log never goes back in time, so that this is one position too.
    Time(Timestamp),
}

impl Until {
    /// The last log position and the last time it admits.
    #[must_use]
    pub const fn bounds(self) -> (i64, i64) {
        match self {
            Self::Position(position) => (position, i64::MAX),
            Self::Time(time) => (i64::MAX, time.as_micros()),
        }
    }

    /// Whether what was recorded there and then is still before the end.
    #[must_use]
    pub fn admits(self, record: &EventRecord) -> bool {
        let (position, time) = self.bounds();
        record.position <= position && record.recorded_at.as_micros() <= time
    }
}

impl OpenedEvent {
    fn recorded<'a, E>(&'a self, event: &'a E) -> Recorded<'a, E> {
        Recorded {
            event,
            aggregate_id: &self.record.aggregate_id,
            event_id: self.record.event_id,
            sequence: self.record.sequence,
            position: self.record.position,
            at: self.record.recorded_at,
            ip: self.ip.as_deref(),
            user_agent: self.user_agent.as_deref(),
        }
    }

    /// The row of an account after this event.
    #[must_use]
    pub fn fold_user(&self, row: Option<UserRow>) -> Option<UserRow> {
        match &self.event {
            AnyEvent::User(event) => UserRow::fold(row, &self.recorded(event)),
            AnyEvent::Session(event) => UserRow::fold_session(row, &self.recorded(event)),
            AnyEvent::Domain(_) | AnyEvent::Audit(_) => row,
        }
    }
}

impl Store {
    /// Where the events about a subject stand, up to a position.
    pub async fn positions_about(&self, subject: &str, before: i64) -> Result<Vec<i64>, StoreError> {
        let positions = on_pool!(&self.inner.engine, pool => {
            sqlx::query_scalar(WHERE).bind(subject).bind(before).fetch_all(pool).await?
        });
        Ok(positions)
    }

    /// Folds an account's events in order, and shows each with the row after it.
    pub async fn walk_user(
        &self,
        user: Uuid,
        until: Until,
        mut see: impl FnMut(&OpenedEvent, Option<&UserRow>) + Send,
    ) -> Result<Option<UserRow>, StoreError> {
        let (position, time) = until.bounds();
        let (mut row, mut after) = (None, 0);
        loop {
            let records: Vec<EventRecord> = on_pool!(&self.inner.engine, pool => {
                let rows = sqlx::query(ABOUT)
                    .bind(user.to_string())
                    .bind(after)
                    .bind(position)
                    .bind(time)
                    .bind(PAGE)
                    .fetch_all(pool)
                    .await?;
                rows.into_iter().map(|row| record!(row)).collect::<Result<_, sqlx::Error>>()?
            });
            let Some(last) = records.last() else { return Ok(row) };
            after = last.position;
            for event in self.open_events(records).await? {
                row = event.fold_user(row);
                see(&event, row.as_ref());
            }
        }
    }
}
