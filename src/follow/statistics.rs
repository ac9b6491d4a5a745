//! Counts what happens: registrations and sign-ins by day, accounts by status, country and domain.
//!
//! All of it are rows of its own, written with its checkpoint: nothing is counted twice, whatever is repeated.

use std::collections::BTreeSet;

use aggregates::session::SessionEvent;
use aggregates::user::UserEvent;
use aggregates::values::Timestamp;
use projections::{CountedUser, Recorded};
use uuid::Uuid;

use super::{FollowError, Follower, Start, Writes, asked};
use crate::store::{AnyEvent, OpenedEvent, Store, Tally};

/// The checkpoint's name.
pub const STATISTICS: &str = "statistics";

/// The follower.
pub struct StatisticsFollower {
    store: Store,
}

impl StatisticsFollower {
    /// Counts what is in this store.
    #[must_use]
    pub const fn new(store: Store) -> Self {
        Self { store }
    }

    async fn tally(&self, events: &[OpenedEvent]) -> Result<Tally, FollowError> {
        let id = |event: &OpenedEvent| Uuid::parse_str(&event.record.aggregate_id).ok();
        let of_users = || events.iter().filter(|event| matches!(event.event, AnyEvent::User(_)));
        let ids: BTreeSet<Uuid> = of_users().filter_map(id).collect();
        let known = asked(self.store.counted_users(&ids)).await?;
        let mut tally = Tally::default();
        for event in events {
            let kind = match &event.event {
                AnyEvent::User(UserEvent::Registered { .. }) => "registrations",
                AnyEvent::Session(SessionEvent::Started { .. }) => "sign_ins",
                _ => continue,
            };
            *tally.periods.entry((day(event.record.recorded_at), kind)).or_default() += 1;
        }
        for opened in of_users() {
            let (AnyEvent::User(event), Some(id)) = (&opened.event, id(opened)) else {
                continue;
            };
            let before = tally.users.get(&id).cloned().unwrap_or_else(|| known.get(&id).cloned());
            let record = &opened.record;
            let after = CountedUser::fold(
                before.clone(),
                &Recorded {
                    event,
                    aggregate_id: &record.aggregate_id,
                    event_id: record.event_id,
                    sequence: record.sequence,
                    position: record.position,
                    at: record.recorded_at,
                    ip: None,
                    user_agent: None,
                },
            );
            if before != after {
                count(&mut tally, before.as_ref(), -1);
                count(&mut tally, after.as_ref(), 1);
                tally.users.insert(id, after);
            }
        }
        Ok(tally)
    }
}

fn count(tally: &mut Tally, user: Option<&CountedUser>, by: i64) {
    let Some(user) = user else { return };
    for (dimension, value) in [
        ("status", user.status.as_str()),
        ("country", user.country.as_deref().unwrap_or_default()),
        ("domain", user.domain.as_deref().unwrap_or_default()),
    ] {
        *tally.counts.entry((dimension, value.to_owned())).or_default() += by;
    }
}

/// The day of a moment, in UTC.
#[must_use]
pub fn day(at: Timestamp) -> String {
    let at = chrono::DateTime::from_timestamp_micros(at.as_micros()).unwrap_or_default();
    at.format("%Y-%m-%d").to_string()
}

impl Follower for StatisticsFollower {
    fn name(&self) -> &'static str {
        STATISTICS
    }

    fn start(&self) -> Start {
        Start::Origin
    }

    fn gathers(&self) -> bool {
        true
    }

    async fn handle(&self, event: &OpenedEvent) -> Result<Writes, FollowError> {
        self.gather(std::slice::from_ref(event)).await
    }

    async fn gather(&self, events: &[OpenedEvent]) -> Result<Writes, FollowError> {
        Ok(self.store.tallied(&self.tally(events).await?))
    }
}
