//! The feed as server-sent events: each reader goes through the log at its own pace, until it leaves, may no longer, or
//! the service ends.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use metrics::{counter, gauge};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::App;
use super::caller::still;
use super::problem::{Problem, Slug};
use super::routes::Permission;
use crate::feed::{Ready, Wanted};
use crate::store::StoreError;

/// How often a reader is told how far it is, and kept alive; the contract says 10 s.
const PROGRESS: Duration = Duration::from_secs(8);
/// How often to look whether the reader may still read. What happens to its account is seen in the log at once, but by
/// a reader who is behind only when it comes there: so that one is looked at more often.
const AGAIN: Duration = Duration::from_secs(15);
const AGAIN_BEHIND: Duration = Duration::from_secs(1);
/// How long to wait when the database is away.
const AWAY: Duration = Duration::from_secs(1);
/// How many events are written at once.
const CHUNK: i64 = 200;

/// The streams that are open, by whose they are.
#[derive(Clone)]
pub(super) struct Streams {
    most: Option<usize>,
    open: Arc<Mutex<HashMap<String, usize>>>,
}

/// A stream that counts until it is dropped.
pub(super) struct Counted {
    streams: Streams,
    whose: String,
}

impl Streams {
    /// At most so many of one caller; none: any number.
    pub fn new(most: Option<usize>) -> Self {
        Self {
            most,
            open: Arc::default(),
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more of a caller, unless there are too many already.
    pub fn begin(&self, whose: String) -> Option<Counted> {
        let mut open = self.open();
        let count = open.entry(whose.clone()).or_default();
        if self.most.is_some_and(|most| *count >= most) {
            return None;
        }
        *count += 1;
        drop(open);
        gauge!("registry_feed_streams").increment(1.0);
        Some(Counted {
            streams: self.clone(),
            whose,
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        gauge!("registry_feed_streams").decrement(1.0);
        let mut open = self.streams.open();
        if let Some(count) = open.get_mut(&self.whose) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.whose);
            }
        }
    }
}

/// One reader.
pub(super) struct Reader {
    app: App,
    wanted: Wanted,
    /// What it was let in with.
    credential: HeaderValue,
    /// Everything up to here was sent, or is not wanted.
    position: i64,
    head: watch::Receiver<i64>,
    /// When to say how far it is.
    progress: Instant,
    /// When to look whether it may still read.
    again: Instant,
    /// When to look if it is behind.
    again_behind: Instant,
    begun: bool,
    _counted: Counted,
}

/// Why a stream ends.
enum End {
    /// The service does.
    Closing,
    /// Its reader may not read any more.
    Refused,
    /// An event makes no sense: every reader would stop there.
    Broken,
}

impl End {
    const fn as_str(&self) -> &'static str {
        match self {
            Self::Closing => "closing",
            Self::Refused => "refused",
            Self::Broken => "broken",
        }
    }
}

impl Reader {
    /// A reader of what comes after a position.
    pub fn new(app: App, wanted: Wanted, credential: HeaderValue, position: i64, counted: Counted) -> Self {
        let now = Instant::now();
        Self {
            head: app.feed().watch_head(),
            wanted,
            credential,
            position,
            progress: now + PROGRESS,
            again: now + AGAIN,
            again_behind: now + AGAIN_BEHIND,
            begun: false,
            _counted: counted,
            app,
        }
    }

    /// The answer that goes on until the stream ends. It asks for the next piece when the one before was taken, so that
    /// of a slow reader nothing piles up.
    pub fn into_response(self) -> Response {
        let pieces = futures::stream::unfold(self, |mut reader| async move {
            match reader.piece().await {
                Ok(piece) => Some((Ok::<_, Infallible>(piece), reader)),
                Err(end) => {
                    counter!("registry_feed_streams_ended_total", "why" => end.as_str()).increment(1);
                    None
                }
            }
        });
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        let mut response = (headers, Body::from_stream(pieces)).into_response();
        // A proxy that gathers an answer before it passes it on would keep it for ever.
        response
            .headers_mut()
            .insert("x-accel-buffering", HeaderValue::from_static("no"));
        response
    }

    /// What to write next, once there is something.
    async fn piece(&mut self) -> Result<Bytes, End> {
        if !self.begun {
            // At once, so that the reader knows that it is heard.
            self.begun = true;
            return Ok(self.told());
        }
        // Nothing that waits for the database keeps the reader from hearing how far it is; it is begun again then.
        match timeout_at(self.progress, self.news()).await {
            Ok(news) => news,
            Err(_) => Ok(self.told()),
        }
    }

    /// The next events, once there are any.
    async fn news(&mut self) -> Result<Bytes, End> {
        loop {
            if self.app.closing().is_cancelled() {
                return Err(End::Closing);
            }
            let (now, head) = (Instant::now(), *self.head.borrow_and_update());
            if self.again <= now || (self.position < head && self.again_behind <= now) {
                self.look_again().await?;
                continue;
            }
            let read = self.app.feed().page(&self.wanted, self.position, head, CHUNK).await;
            let page = match read {
                Ok(page) => page,
                Err(StoreError::Unavailable(_)) => {
                    self.pause(AWAY).await;
                    continue;
                }
                Err(problem) => {
                    tracing::error!(%problem, position = self.position, "a stream met an event that makes no sense");
                    return Err(End::Broken);
                }
            };
            if page.met {
                // It is about the reader's own account; perhaps it may not read what comes now.
                self.again = Instant::now();
                self.look_again().await?;
                if self.again <= Instant::now() {
                    continue;
                }
            }
            let stuck = page.reached == self.position;
            self.position = page.reached;
            if !page.events.is_empty() {
                counter!("registry_feed_events_total", "way" => "stream").increment(page.events.len() as u64);
                return Ok(joined(&page.events));
            }
            if self.position >= head {
                self.wait().await;
            } else if stuck {
                // The database is behind what was heard of it.
                self.pause(AWAY).await;
            }
        }
    }

    /// Looks whether the reader may still read. While that cannot be known, it waits, and is sent nothing.
    async fn look_again(&mut self) -> Result<(), End> {
        match still(&self.app, &self.credential, Permission::Subscriber).await {
            Ok(()) => {
                self.again = Instant::now() + AGAIN;
                self.again_behind = Instant::now() + AGAIN_BEHIND;
                Ok(())
            }
            Err(problem) if problem.slug() == Slug::Unavailable => {
                self.pause(AWAY).await;
                Ok(())
            }
            Err(_) => Err(End::Refused),
        }
    }

    /// How far the reader is: a comment, which readers of events pass over.
    fn told(&mut self) -> Bytes {
        self.progress = Instant::now() + PROGRESS;
        format!(": position {}\n\n", self.position).into()
    }

    /// Until the log grows, or it is time for something else.
    async fn wait(&mut self) {
        let closing = self.app.closing().clone();
        tokio::select! {
            // The head's other end lives as long as the service.
            _ = self.head.changed() => {}
            () = tokio::time::sleep_until(self.again) => {}
            () = closing.cancelled() => {}
        }
    }

    async fn pause(&self, length: Duration) {
        tokio::select! {
            () = tokio::time::sleep(length) => {}
            () = self.app.closing().cancelled() => {}
        }
    }
}

/// Several events in one piece; one by itself is the very bytes that all readers share.
fn joined(events: &[Arc<Ready>]) -> Bytes {
    match events {
        [one] => one.frame(),
        several => several
            .iter()
            .map(|event| event.frame())
            .fold(Vec::new(), |mut all, frame| {
                all.extend_from_slice(&frame);
                all
            })
            .into(),
    }
}

/// The answer to one stream too many.
pub(super) fn too_many() -> Problem {
    Problem::too_many_requests(10).detail("too many streams of this caller are open")
}
