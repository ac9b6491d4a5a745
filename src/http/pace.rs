//! What a connection is doing, and the socket that ends it when it takes too long about it.
//!
//! hyper's one timer for heads starts with the first byte and is the same between requests, so a client that connects
//! and says nothing is never met. Here a head has its own time from the moment the connection stands, or from its
//! first byte on a connection that was idle; silence between requests has another; and a client that does not take
//! its answer has that one too. Bodies have their time where they are read.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use super::seats::Seat;

/// Most bytes of a refused request that are thrown away, and for how long, so that its sender reads the answer.
const REST: u64 = 4 << 20;
const REST_TIME: Duration = Duration::from_secs(2);

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The head of a request is awaited or on its way.
    Head,
    /// A request is being answered.
    Busy,
    /// Silence between requests.
    Idle,
}

/// How long each may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub head: Duration,
    pub idle: Duration,
}

/// What one connection is doing, known to its socket, its requests and those who look for a place.
pub(super) struct Pace {
    state: Mutex<State>,
    times: Times,
    /// Ends the connection.
    pub cut: CancellationToken,
}

#[derive(Clone, Copy)]
struct State {
    phase: Phase,
    since: Instant,
    /// Counts the phases, so that a timer knows whether it is for this one.
    turn: u64,
}

impl Pace {
    pub fn new(times: Times) -> Self {
        Self {
            state: Mutex::new(State {
                phase: Phase::Head,
                since: Instant::now(),
                turn: 0,
            }),
            times,
            cut: CancellationToken::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, phase: Phase) {
        let mut state = self.state();
        *state = State {
            phase,
            since: Instant::now(),
            turn: state.turn + 1,
        };
    }

    /// A request is complete and is being answered, until the [`Answer`] to it has been given away.
    pub fn busy(&self) {
        self.enter(Phase::Busy);
    }

    pub fn idle(&self) {
        self.enter(Phase::Idle);
    }

    const fn time(&self, phase: Phase) -> Option<Duration> {
        match phase {
            Phase::Head => Some(self.times.head),
            Phase::Idle => Some(self.times.idle),
            Phase::Busy => None,
        }
    }

    /// How much of its time a connection that waits for its client has used, in thousandths. None: it is at work.
    pub fn used(&self) -> Option<u128> {
        let state = *self.state();
        let time = self.time(state.phase)?;
        Some(state.since.elapsed().as_micros() * 1_000 / time.as_micros().max(1))
    }

    /// Makes the present phase older than it is.
    #[cfg(test)]
    pub fn age(&self, by: Duration) {
        self.state().since -= by;
    }

    /// Bytes have come: an idle connection is no longer idle.
    fn heard(&self) {
        if self.state().phase == Phase::Idle {
            self.enter(Phase::Head);
        }
    }
}

/// The body of an answer; once it is given away, the connection is idle.
pub(super) struct Answer {
    body: Body,
    pace: Arc<Pace>,
}

impl Answer {
    pub fn new(body: Body, pace: &Arc<Pace>) -> Self {
        let pace = Arc::clone(pace);
        Self { body, pace }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.pace.idle();
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Words the answer to a request that hyper refuses by itself, given its status.
pub(super) type Worded = Arc<dyn Fn(u16) -> Vec<u8> + Send + Sync>;

/// A socket with times. It also gives the answers that hyper makes by itself, which are bare, the body they lack.
pub(super) struct Paced {
    /// None once it was handed on.
    stream: Option<(TcpStream, Seat)>,
    pace: Arc<Pace>,
    worded: Worded,
    timer: Option<(u64, Pin<Box<Sleep>>)>,
    stalled: Option<Pin<Box<Sleep>>>,
    /// An answer of ours in place of a bare one, and how much of it is written.
    instead: Option<(Vec<u8>, usize)>,
}

impl Paced {
    pub fn new(stream: TcpStream, seat: Seat, pace: Arc<Pace>, worded: Worded) -> Self {
        Self {
            stream: Some((stream, seat)),
            pace,
            worded,
            timer: None,
            stalled: None,
            instead: None,
        }
    }

    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        let gone = || io::Error::from(io::ErrorKind::NotConnected);
        self.stream
            .as_mut()
            .map(|(stream, _)| Pin::new(stream))
            .ok_or_else(gone)
    }

    /// Whether the present phase has lasted too long; wakes the connection when it has.
    fn late(&mut self, context: &mut Context<'_>) -> bool {
        let State { phase, since, turn } = *self.pace.state();
        let Some(time) = self.pace.time(phase) else {
            self.timer = None;
            return false;
        };
        let deadline = since + time;
        let timer = match &mut self.timer {
            Some((armed, timer)) => {
                if *armed != turn {
                    *armed = turn;
                    timer.as_mut().reset(deadline);
                }
                timer
            }
            none => &mut none.insert((turn, Box::pin(tokio::time::sleep_until(deadline)))).1,
        };
        timer.as_mut().poll(context).is_ready()
    }

    /// The result of a write; one that waits for its reader too long is an error.
    fn paced<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let time = self.pace.times.idle;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(time)));
        if stalled.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }

    /// Keeps an answer for the bare one in `bytes`, if that is what they are.
    fn replace(&mut self, bytes: &[u8]) -> bool {
        match bare(bytes) {
            Some(status) if self.instead.is_none() => {
                metrics::counter!("registry_requests_unreadable_total").increment(1);
                self.instead = Some(((self.worded)(status), 0));
                true
            }
            _ => false,
        }
    }

    fn write_instead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some((bytes, written)) = &self.instead {
            let rest = bytes.get(*written..).unwrap_or_default().to_vec();
            if rest.is_empty() {
                break;
            }
            let result = self.stream()?.poll_write(context, &rest);
            let count = ready!(self.paced(context, result))?;
            if let Some((_, written)) = &mut self.instead {
                *written += count;
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// The status of an answer that hyper made by itself: nothing but a head, and without the id that every answer of ours
/// has.
fn bare(bytes: &[u8]) -> Option<u16> {
    let status = bytes
        .strip_prefix(b"HTTP/1.1 ")
        .or_else(|| bytes.strip_prefix(b"HTTP/1.0 "))?;
    let status: u16 = std::str::from_utf8(status.get(..3)?).ok()?.parse().ok()?;
    let ours = || {
        bytes
            .windows(12)
            .any(|window| window.eq_ignore_ascii_case(b"x-request-id"))
    };
    (matches!(status, 400 | 413 | 414 | 431) && bytes.ends_with(b"\r\n\r\n") && !ours()).then_some(status)
}

impl AsyncRead for Paced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match self.stream()?.poll_read(context, buffer) {
            Poll::Pending => {
                if self.late(context) {
                    metrics::counter!("registry_connections_late_total").increment(1);
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                Poll::Pending
            }
            read @ Poll::Ready(_) => {
                if buffer.filled().len() > before {
                    self.pace.heard();
                }
                read
            }
        }
    }
}

impl AsyncWrite for Paced {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.write_instead(context))?;
        if self.replace(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = self.stream()?.poll_write(context, bytes);
        self.paced(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.write_instead(context))?;
        if let [only] = slices
            && self.replace(only)
        {
            return Poll::Ready(Ok(only.len()));
        }
        let written = self.stream()?.poll_write_vectored(context, slices);
        self.paced(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.write_instead(context))?;
        self.stream()?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.write_instead(context))?;
        self.stream()?.poll_shutdown(context)
    }
}

impl Drop for Paced {
    /// A refused request may still be on its way: closing now would reset the connection, and its sender would never
    /// read why.
    fn drop(&mut self) {
        let (Some((mut stream, seat)), true) = (self.stream.take(), self.instead.is_some()) else {
            return;
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let cut = self.pace.cut.clone();
        runtime.spawn(async move {
            let rest = async {
                stream.shutdown().await?;
                tokio::io::copy(&mut stream.take(REST), &mut tokio::io::sink()).await
            };
            tokio::select! {
                _ = tokio::time::timeout(REST_TIME, rest) => {}
                () = cut.cancelled() => {}
            }
            drop(seat);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bare_answer_is_given_a_body() {
        let of = |text: &str| bare(text.as_bytes());
        assert_eq!(
            of("HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\n\r\n"),
            Some(431)
        );
        assert_eq!(of("HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n"), Some(400));
        assert_eq!(of("HTTP/1.1 400 Bad Request\r\nx-request-id: 1\r\n\r\n"), None);
        assert_eq!(of("HTTP/1.1 200 OK\r\n\r\n"), None);
        assert_eq!(of("HTTP/1.1 400 Bad Request\r\n\r\n{}"), None);
        assert_eq!(of(""), None);
    }

    #[test]
    fn a_connection_uses_up_its_time_only_while_it_waits_for_its_client() {
        let pace = Arc::new(Pace::new(Times {
            head: Duration::from_secs(5),
            idle: Duration::from_secs(30),
        }));
        let about = |used: Option<u128>, thousandths: u128| {
            assert!(
                used.is_some_and(|used| (thousandths..thousandths + 90).contains(&used)),
                "{used:?}"
            );
        };
        pace.age(Duration::from_secs(1));
        about(pace.used(), 200);
        pace.busy();
        pace.age(Duration::from_mins(1));
        assert_eq!(pace.used(), None);
        pace.idle();
        pace.age(Duration::from_secs(3));
        about(pace.used(), 100);
        pace.heard();
        about(pace.used(), 0);
        pace.age(Duration::from_secs(1));
        // More bytes of the same head give no more time.
        pace.heard();
        about(pace.used(), 200);
    }
}
