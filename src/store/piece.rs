//! The log as its followers read it: piece by piece, and none without the event before it.

use super::deadline::{ANSWER, within};
use super::{EventRecord, Store, StoreError};

/// The events after a position, in order, as far as none is missing.
#[derive(Debug)]
pub struct Piece {
    /// Each has the position after that of the one before.
    pub events: Vec<EventRecord>,
    /// The position behind them, if there must be an event and is none.
    pub gap: Option<i64>,
}

impl Piece {
    /// What is wrong where an event is missing.
    #[must_use]
    pub fn problem(gap: i64) -> StoreError {
        StoreError::corrupt("events", gap, "the log has a gap")
    }
}

impl Store {
    /// The events after a position, `limit` at most. As far as this process knows the log to go, none may be missing;
    /// nothing after a position below that is a gap, not the end of the log.
    pub async fn piece_after(&self, after: i64, limit: i64) -> Result<Piece, StoreError> {
        // Before the log is read: up to there everything is to be seen in it.
        let known = *self.watch_head().borrow();
        let mut events = within(ANSWER, self.events_after(after, limit)).await?;
        let until = known.min(after.saturating_add(limit));
        let gap = first_missing(after, until, events.iter().map(|event| event.position));
        if let Some(gap) = gap {
            events.retain(|event| event.position < gap);
        }
        Ok(Piece { events, gap })
    }
}

/// The first position after `after` that is none of these, if one behind it is, or if the log goes to `until`.
fn first_missing(after: i64, until: i64, positions: impl Iterator<Item = i64>) -> Option<i64> {
    let mut next = after + 1;
    for position in positions {
        if position != next {
            return Some(next);
        }
        next += 1;
    }
    (next <= until).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_found_wherever_it_is() {
        let missing = |until, positions: &[i64]| first_missing(4, until, positions.iter().copied());
        assert_eq!(missing(7, &[5, 6, 7]), None);
        assert_eq!(missing(4, &[]), None, "the end of the log");
        assert_eq!(missing(2, &[5, 6]), None, "more than was known of");
        assert_eq!(missing(7, &[6, 7]), Some(5));
        assert_eq!(missing(7, &[5, 7]), Some(6));
        assert_eq!(missing(7, &[5, 6]), Some(7));
        assert_eq!(missing(7, &[]), Some(5));
        assert_eq!(missing(4, &[9]), Some(5), "even of what was not known of");
    }
}
