//! The feed: the public events in the order of the log, for whoever reads after a position of their own.
//!
//! A reader is nothing but its position. It is woken by the head of the log, never by looking; those who have caught up
//! are served from a tail of the log that the process keeps once for all of them, those who have not from the database,
//! a page at a time. Nobody is pushed, so one slow reader holds nobody up.

mod event;
mod tail;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

pub use event::Ready;
use tail::Tail;

use crate::public::{Public, Types};
use crate::store::deadline::within;
use crate::store::{EventRecord, Piece, Store, StoreError};

/// How many positions are looked through at once for events of chosen types.
const WINDOW: i64 = 5_000;
/// Longest a reader goes on looking through the log before it says how far it has come.
const LOOKING: Duration = Duration::from_secs(1);
/// Longest one look at the database may take.
const READ: Duration = Duration::from_millis(2_600);

/// The events after a position.
#[derive(Debug, Default)]
pub struct Page {
    /// Those that were wanted.
    pub events: Vec<Arc<Ready>>,
    /// Up to here everything that was wanted is among them, or was given before.
    pub reached: i64,
    /// Whether something was passed that is about the subject who was watched.
    pub met: bool,
}

/// What a reader wants.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Of these types.
    pub types: Types,
    /// The reader's own account: what happens to it may end the reading.
    pub watched: Option<String>,
}

/// An answer to one who pulls.
#[derive(Debug)]
pub struct Pulled {
    /// The events, in order.
    pub events: Vec<Arc<Ready>>,
    /// Where to go on.
    pub next: i64,
    /// Where the log ends.
    pub head: i64,
    /// Whether it was waited for.
    pub waited: bool,
}

/// The feed of one process.
#[derive(Clone)]
pub struct Feed {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    public: Public,
    tail: Tail,
}

impl Feed {
    /// The feed of this store.
    #[must_use]
    pub fn new(store: Store, public: Public) -> Self {
        Self {
            inner: Arc::new(Inner {
                store,
                public,
                tail: Tail::default(),
            }),
        }
    }

    /// Wakes when the log grows.
    #[must_use]
    pub fn watch_head(&self) -> watch::Receiver<i64> {
        self.inner.store.watch_head()
    }

    /// The event at a position.
    pub async fn at(&self, position: i64) -> Result<Option<Ready>, StoreError> {
        if position < 1 {
            return Ok(None);
        }
        let found = within(READ, self.inner.store.events_after(position - 1, 1))
            .await?
            .pop();
        found
            .filter(|record| record.position == position)
            .map(|record| self.ready(&record))
            .transpose()
    }

    /// What comes after a position, `limit` events at most. `head` is how far the reader knows the log to go.
    pub async fn page(&self, wanted: &Wanted, after: i64, head: i64, limit: i64) -> Result<Page, StoreError> {
        if after >= head {
            return Ok(Page {
                reached: after,
                ..Page::default()
            });
        }
        let store = &self.inner.store;
        let load = |after: i64, limit: i64| async move {
            let piece = store.piece_after(after, limit).await?;
            let missing = piece.gap.map(|gap| Err(Piece::problem(gap)));
            // One that is missing would be lost to every reader without a word.
            good(piece.events.iter().map(|record| self.ready(record)).chain(missing))
        };
        // Together with the wait for whoever is at it already.
        if let Some(events) = within(READ, self.inner.tail.after(after, head, limit, load)).await? {
            return Ok(chosen(wanted, after, events));
        }
        if wanted.types.is_all() {
            return Ok(chosen(wanted, after, within(READ, load(after, limit)).await?));
        }
        let until = head.min(after.saturating_add(WINDOW));
        let types: Vec<&'static str> = wanted.types.names().collect();
        let records = within(READ, store.events_of_types(&types, after, until, limit)).await?;
        let events = good(records.iter().map(|record| self.ready(record)))?;
        // All that is wanted up to `until`, unless there are more of them, or one of them makes no sense.
        let whole = events.len() == records.len() && i64::try_from(events.len()).unwrap_or(i64::MAX) < limit;
        let last = events.last().filter(|_| !whole).map(|event| event.position);
        Ok(Page {
            met: events
                .iter()
                .any(|event| wanted.watched.as_deref() == Some(&*event.subject)),
            reached: last.unwrap_or(until),
            events,
        })
    }

    /// What comes after a position, waiting for it for so long, or until `stop`.
    pub async fn pull(
        &self,
        types: Types,
        after: i64,
        limit: i64,
        wait: Duration,
        stop: &CancellationToken,
    ) -> Result<Pulled, StoreError> {
        let wanted = Wanted { types, watched: None };
        // Before the head is read, so that no change is missed in between.
        let mut heard = self.watch_head();
        // From the database: what another replica has answered must be seen here.
        let mut head = within(READ, self.inner.store.head())
            .await?
            .position
            .max(*heard.borrow_and_update());
        let (since, deadline) = (Instant::now(), Instant::now() + wait);
        let mut pulled = Pulled {
            events: Vec::new(),
            next: after,
            head,
            waited: false,
        };
        loop {
            let room = limit - i64::try_from(pulled.events.len()).unwrap_or(i64::MAX);
            let page = match self.page(&wanted, pulled.next, head, room).await {
                // What is there already is given; whoever goes on from it is told.
                Err(_) if !pulled.events.is_empty() => break,
                page => page?,
            };
            pulled.next = page.reached;
            pulled.events.extend(page.events);
            let full = i64::try_from(pulled.events.len()).unwrap_or(i64::MAX) >= limit;
            if full || (pulled.next < head && since.elapsed() > LOOKING) {
                break;
            }
            if pulled.next < head {
                continue;
            }
            if !pulled.events.is_empty() {
                break;
            }
            pulled.waited = !wait.is_zero();
            let changed = tokio::select! {
                changed = timeout_at(deadline, heard.changed()) => matches!(changed, Ok(Ok(()))),
                () = stop.cancelled() => false,
            };
            if !changed {
                break;
            }
            head = head.max(*heard.borrow_and_update());
        }
        pulled.head = head.max(pulled.events.last().map_or(0, |event| event.position));
        Ok(pulled)
    }

    fn ready(&self, record: &EventRecord) -> Result<Ready, StoreError> {
        self.inner.public.event(record).map(|event| Ready::new(&event))
    }
}

/// Those before the first that makes no sense: it is no reason to keep them back. Alone it is told of.
fn good(events: impl Iterator<Item = Result<Ready, StoreError>>) -> Result<Vec<Arc<Ready>>, StoreError> {
    let mut good = Vec::new();
    for event in events {
        match event {
            Ok(event) => good.push(Arc::new(event)),
            Err(problem) if good.is_empty() => return Err(problem),
            Err(_) => break,
        }
    }
    Ok(good)
}

/// Those of a whole piece of the log that are wanted.
fn chosen(wanted: &Wanted, after: i64, mut events: Vec<Arc<Ready>>) -> Page {
    let reached = events.last().map_or(after, |event| event.position);
    let met = events
        .iter()
        .any(|event| wanted.watched.as_deref() == Some(&*event.subject));
    if !wanted.types.is_all() {
        events.retain(|event| wanted.types.matches(event.kind));
    }
    Page { events, reached, met }
}
