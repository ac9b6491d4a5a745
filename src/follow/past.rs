//! An account as it was when something was recorded.

use aggregates::user::User;
use uuid::Uuid;

use super::{FollowError, asked};
use crate::store::{AnyEvent, EventRecord, Store};

/// Folds an account's stream up to a position: whoever took the account over since must not get the message that tells
/// of what happened before.
pub(super) async fn account_at(store: &Store, user: Uuid, position: i64) -> Result<User, FollowError> {
    const PAGE: i64 = 200;
    let (stream, mut after, mut state) = (user.to_string(), 0, User::default());
    loop {
        let records = asked(store.events_of("user", &stream, after, PAGE)).await?;
        let last = records.last().map(|record| record.position);
        let records: Vec<EventRecord> = records.into_iter().filter(|one| one.position <= position).collect();
        for event in asked(store.open_events(records)).await? {
            if let AnyEvent::User(event) = &event.event {
                state.evolve(event);
            }
        }
        match last {
            Some(last) if last < position => after = last,
            _ => return Ok(state),
        }
    }
}
