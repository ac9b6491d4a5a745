//! The last piece of the log, kept once for all readers who have caught up.
//!
//! It is filled by whoever first asks for what is new, while the others wait for that one read of the database. When
//! nobody reads, nothing is kept up to date.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::Ready;
use crate::store::StoreError;

/// Most events that are kept, and most bytes.
const MOST: usize = 4_096;
const MOST_BYTES: usize = 4 << 20;
/// How many events one read of the database brings.
const STEP: i64 = 500;

/// A piece of the log without a gap.
#[derive(Default)]
pub(super) struct Tail {
    piece: Mutex<Piece>,
}

#[derive(Default)]
struct Piece {
    /// The position before its first event.
    start: i64,
    events: VecDeque<Arc<Ready>>,
    bytes: usize,
}

impl Piece {
    /// The position of its last event.
    fn end(&self) -> i64 {
        self.events.back().map_or(self.start, |event| event.position)
    }

    fn begin_at(&mut self, start: i64) {
        *self = Self {
            start,
            ..Self::default()
        };
    }

    fn add(&mut self, events: Vec<Arc<Ready>>) {
        for event in events {
            self.bytes += event.weight();
            self.events.push_back(event);
        }
        while self.events.len() > MOST || self.bytes > MOST_BYTES {
            let Some(first) = self.events.pop_front() else { break };
            self.bytes -= first.weight();
            self.start = first.position;
        }
    }

    fn after(&self, position: i64, limit: i64) -> Vec<Arc<Ready>> {
        let skip = usize::try_from(position - self.start).unwrap_or_default();
        let limit = usize::try_from(limit).unwrap_or_default();
        self.events.iter().skip(skip).take(limit).cloned().collect()
    }
}

impl Tail {
    /// The events after a position, if they are near enough to the head to be kept; `load` reads the log after a
    /// position.
    pub async fn after<F>(
        &self,
        position: i64,
        head: i64,
        limit: i64,
        load: impl Fn(i64, i64) -> F,
    ) -> Result<Option<Vec<Arc<Ready>>>, StoreError>
    where
        F: Future<Output = Result<Vec<Arc<Ready>>, StoreError>>,
    {
        let near = usize::try_from(head - position).is_ok_and(|distance| distance <= MOST);
        let mut piece = self.piece.lock().await;
        if position > piece.end() && near {
            // Nobody has asked for a while.
            piece.begin_at(position);
        }
        let end = piece.end();
        if position < piece.start || position > end || (position == end && !near) {
            return Ok(None);
        }
        if position == end {
            let events = load(position, STEP).await?;
            piece.add(events);
        }
        let events = piece.after(position, limit);
        // What was loaded may be so large that its beginning is dropped already.
        Ok((position >= piece.start).then_some(events))
    }
}
