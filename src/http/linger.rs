//! The rest of a body that nobody reads.
//!
//! A request may be answered before its body has arrived: it is too large, its sender may not, its path is nobody's.
//! If the connection were closed then, a client that writes its whole request before it reads would meet a broken
//! pipe instead of the answer. So what is left of such a body is read and thrown away, within bounds.
//!
//! While somebody waits for a body, its connection is told so: until it has come there is nothing to lose.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::pace::Pace;

/// Most bytes that are thrown away; beyond them the connection is cut.
const MOST_BYTES: usize = 16 << 20;

/// A body that is read to its end even if its owner is not interested.
pub(super) struct Lingering {
    body: Option<Incoming>,
    time: Duration,
    pace: Arc<Pace>,
}

impl Lingering {
    /// Throws away what is left within `time`.
    pub fn new(body: Incoming, time: Duration, pace: Arc<Pace>) -> Self {
        Self {
            body: Some(body),
            time,
            pace,
        }
    }

    /// Reads no further: the client waits to be asked for the body, and the answer tells it to keep it.
    pub fn asked_for(body: Incoming, pace: Arc<Pace>) -> Self {
        Self::new(body, Duration::ZERO, pace)
    }
}

impl Body for Lingering {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = Pin::new(&mut *body).poll_frame(context);
        match &frame {
            Poll::Pending => self.pace.awaits_body(),
            Poll::Ready(Some(Ok(_))) if !body.is_end_stream() => {}
            Poll::Ready(_) => self.pace.has_body(),
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        self.pace.has_body();
        let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) else {
            return;
        };
        let (Ok(runtime), false) = (tokio::runtime::Handle::try_current(), self.time.is_zero()) else {
            return;
        };
        let time = self.time;
        runtime.spawn(
            async move {
                let mut chunks = axum::body::Body::new(body).into_data_stream();
                let rest = async {
                    let mut read = 0;
                    while let Some(Ok(chunk)) = chunks.next().await {
                        read += chunk.len();
                        if read > MOST_BYTES {
                            break;
                        }
                    }
                };
                // Whoever is slower than a body may be is cut off.
                let _ = tokio::time::timeout(time, rest).await;
            }
            .boxed(),
        );
    }
}
