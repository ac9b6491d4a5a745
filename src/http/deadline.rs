//! How long a request may take: nobody waits for ever for a database that hangs.
//!
//! What its client takes to send the body is not counted; that has a limit of its own (`http.body_ms`). What is given up
//! may have been carried out, as when a client hangs up.

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::Method;
use axum::response::Response;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::config::Config;

/// Longest a read may take before its caller is told to come back.
pub(super) const READ: Duration = Duration::from_millis(2_600);
/// The same for what changes something: longer than a hash and an append take together. The time in a queue for a hash is
/// the operator's.
const WRITE: Duration = Duration::from_secs(8);

/// The same for everything, once the database says nothing any more. With what it takes to find that out the answer is
/// there within three seconds (SECURITY-REQUIREMENTS, section 8).
const AWAY: Duration = Duration::from_millis(2_500);

/// Longest that what changes something may take.
pub(super) fn write(config: &Config) -> Duration {
    WRITE + Duration::from_millis(config.passwords.wait_ms)
}

/// Longest that a request may take, where its method tells which it is.
pub(super) fn of(method: &Method, config: &Config) -> Duration {
    if method.is_safe() { READ } else { write(config) }
}

/// Answers a request, if that ends in time. `away` says that the database says nothing any more.
pub(super) async fn in_time<F: Future<Output = Response>>(
    limit: Duration,
    mut away: watch::Receiver<bool>,
    request: Request,
    answer: impl FnOnce(Request) -> F,
) -> Option<Response> {
    let sending = Arc::new(Sending::default());
    let request = request.map(|body| {
        let sending = Arc::clone(&sending);
        Body::new(Timed { body, sending })
    });
    let begun = Instant::now();
    let mut answered = pin!(answer(request));
    if let Ok(response) = timeout_at(begun + limit.min(AWAY), answered.as_mut()).await {
        return Some(response);
    }
    loop {
        let took = sending.took();
        let away_too_long = async {
            sleep_until(begun + AWAY + took).await;
            if away.wait_for(|away| *away).await.is_err() {
                // The store is closed, and so will be this.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            response = answered.as_mut() => return Some(response),
            () = sleep_until(begun + limit + took) => {}
            () = away_too_long => {}
        }
        let lasted = begun.elapsed().saturating_sub(sending.took());
        if lasted >= limit || (lasted >= AWAY && *away.borrow()) {
            tracing::warn!("a request was given up: it did not end in time");
            return None;
        }
    }
}

/// How long a handler has waited for its client to send.
#[derive(Default)]
struct Sending(Mutex<Waited>);

#[derive(Default)]
struct Waited {
    before: Duration,
    /// Since when it waits now.
    since: Option<Instant>,
}

impl Sending {
    fn waited(&self) -> MutexGuard<'_, Waited> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begins(&self) {
        self.waited().since.get_or_insert_with(Instant::now);
    }

    fn ends(&self) {
        let mut waited = self.waited();
        if let Some(since) = waited.since.take() {
            waited.before += since.elapsed();
        }
    }

    fn took(&self) -> Duration {
        let waited = self.waited();
        waited.before + waited.since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

/// A body that takes down how long it is waited for.
struct Timed {
    body: Body,
    sending: Arc<Sending>,
}

impl HttpBody for Timed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if frame.is_pending() {
            self.sending.begins();
        } else {
            self.sending.ends();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        self.sending.ends();
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;
    use futures::StreamExt as _;
    use tokio::time::sleep;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(200);

    /// A request whose body comes in two pieces, with a pause before each.
    fn slow(pause: Duration) -> Request {
        let pieces = futures::stream::iter(["a", "b"]).then(move |piece| async move {
            sleep(pause).await;
            Ok::<_, std::convert::Infallible>(piece)
        });
        Request::new(Body::from_stream(pieces))
    }

    fn there() -> watch::Receiver<bool> {
        watch::channel(false).1
    }

    async fn reads(request: Request) -> Response {
        let mut pieces = request.into_body().into_data_stream();
        while pieces.next().await.is_some() {}
        ().into_response()
    }

    #[test]
    fn what_changes_something_may_wait_for_its_hash() {
        let mut config = Config::default();
        config.passwords.wait_ms = 60_000;
        assert_eq!(write(&config), Duration::from_secs(68));
        assert_eq!(of(&Method::POST, &config), Duration::from_secs(68));
        assert_eq!(of(&Method::HEAD, &config), READ);
    }

    #[tokio::test]
    async fn only_the_time_of_the_service_is_counted() {
        let begun = Instant::now();
        let slowly_sent = in_time(LIMIT, there(), slow(LIMIT * 2), reads).await;
        assert!(slowly_sent.is_some() && begun.elapsed() >= LIMIT * 4);
        let hangs = in_time(LIMIT, there(), Request::default(), |_| std::future::pending()).await;
        assert!(hangs.is_none());
        let hangs_with_its_body = in_time(LIMIT, there(), slow(LIMIT * 2), |request| async {
            let _unread = request;
            std::future::pending().await
        });
        assert!(hangs_with_its_body.await.is_none());
        let hangs_afterwards = in_time(LIMIT, there(), slow(LIMIT * 2), |request| async {
            reads(request).await;
            std::future::pending().await
        });
        assert!(hangs_afterwards.await.is_none());
    }

    #[tokio::test]
    async fn whoever_waits_for_a_database_that_says_nothing_is_told_soon() {
        let hour = LIMIT * 18_000;
        let begun = Instant::now();
        let (away, says_nothing) = watch::channel(true);
        let hangs = in_time(hour, says_nothing, Request::default(), |_| std::future::pending());
        assert!(hangs.await.is_none());
        assert!(begun.elapsed() >= AWAY && begun.elapsed() < AWAY * 3);
        // It is found out while it is waited for; what is quick is answered whatever is known.
        away.send_replace(false);
        let begun = Instant::now();
        let hangs = in_time(hour, away.subscribe(), Request::default(), |_| std::future::pending());
        let (hangs, ()) = tokio::join!(hangs, async {
            sleep(AWAY + LIMIT).await;
            away.send_replace(true);
        });
        assert!(hangs.is_none() && begun.elapsed() >= AWAY + LIMIT && begun.elapsed() < AWAY * 3);
        let quick = in_time(hour, away.subscribe(), Request::default(), reads);
        assert!(quick.await.is_some());
        // What is slow for another reason is waited for.
        let slow = in_time(hour, there(), Request::default(), |_| async {
            sleep(AWAY + LIMIT).await;
            ().into_response()
        });
        assert!(slow.await.is_some());
    }
}
