//! What a connection is doing, and the socket that ends it when it takes too long about it.
//!
//! hyper's one timer for heads starts with the first byte and is the same between requests, so a client that connects
//! and says nothing is never met. Here a head has its own time from the moment the connection stands, or from its
//! first byte on a connection that was idle; silence between requests has another; and a client that does not take
//! its answer has that one too, which grows with what it takes. Bodies have their time where they are read; here it is
//! only known that one is awaited.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures::FutureExt as _;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use super::seats::Seat;

/// Most bytes of a refused request that are thrown away, and for how long, so that its sender reads the answer.
const REST: u64 = 4 << 20;
/// How much of the beginning of a request is kept: its method and its path.
const BEGINNING: usize = 512;
const REST_TIME: Duration = Duration::from_secs(2);
/// Whoever takes an answer more slowly than so many bytes in the time of a silence is cut off, even if it never stops.
const TAKEN: u64 = 64 << 10;

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The head of a request is awaited or on its way.
    Head,
    /// The rest of a request's body is awaited; nothing was done about the request yet.
    Body,
    /// A request is being answered.
    Busy,
    /// Silence between requests.
    Idle,
}

/// How long each may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub head: Duration,
    pub body: Duration,
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
    /// What is being taken too slowly for the socket to hold the rest, beside whatever else goes on.
    taking: Option<Taking>,
}

/// How a client takes what it has asked for, from the first write that had to wait for it until all is written.
#[derive(Clone, Copy)]
struct Taking {
    since: Instant,
    /// When it last took something.
    last: Instant,
    /// How much it has taken.
    bytes: u64,
}

impl Taking {
    /// How long it may take in all, by what it has taken, where `silence` is how long it may take nothing.
    fn allowed(&self, silence: Duration) -> Duration {
        let silence_ms = u64::try_from(silence.as_millis()).unwrap_or(u64::MAX);
        silence + Duration::from_millis(silence_ms.saturating_mul(self.bytes) / TAKEN)
    }

    fn deadline(&self, silence: Duration) -> Instant {
        (self.last + silence).min(self.since + self.allowed(silence))
    }

    fn used(&self, silence: Duration) -> u128 {
        let stalled = thousandths(self.last.elapsed(), silence);
        stalled.max(thousandths(self.since.elapsed(), self.allowed(silence)))
    }
}

fn thousandths(part: Duration, whole: Duration) -> u128 {
    part.as_micros() * 1_000 / whole.as_micros().max(1)
}

impl Pace {
    pub fn new(times: Times) -> Self {
        Self {
            state: Mutex::new(State {
                phase: Phase::Head,
                since: Instant::now(),
                turn: 0,
                taking: None,
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
            taking: state.taking,
        };
    }

    /// A request's head is complete and it is being answered, until the [`Answer`] to it has been given away.
    pub fn busy(&self) {
        self.enter(Phase::Busy);
    }

    /// Its body is asked for and not there yet. A body that comes in pieces has its time only once.
    pub fn awaits_body(&self) {
        if self.state().phase == Phase::Busy {
            self.enter(Phase::Body);
        }
    }

    /// Its body has come, or nobody asks for the rest.
    pub fn has_body(&self) {
        if self.state().phase == Phase::Body {
            self.enter(Phase::Busy);
        }
    }

    pub fn idle(&self) {
        self.enter(Phase::Idle);
    }

    const fn time(&self, phase: Phase) -> Option<Duration> {
        match phase {
            Phase::Head => Some(self.times.head),
            Phase::Body => Some(self.times.body),
            Phase::Idle => Some(self.times.idle),
            Phase::Busy => None,
        }
    }

    /// How much of its time a connection that waits for its client has used, in thousandths. None: it is at work.
    pub fn used(&self) -> Option<u128> {
        let state = *self.state();
        let phase = self
            .time(state.phase)
            .map(|time| thousandths(state.since.elapsed(), time));
        let taking = state.taking.map(|taking| taking.used(self.times.idle));
        phase.max(taking)
    }

    /// A write waits for its reader: until when it may.
    fn waits(&self) -> Instant {
        let now = Instant::now();
        let taking = Taking {
            since: now,
            last: now,
            bytes: 0,
        };
        self.state().taking.get_or_insert(taking).deadline(self.times.idle)
    }

    /// The reader took something.
    fn took(&self, bytes: usize) {
        if let Some(taking) = &mut self.state().taking {
            taking.last = Instant::now();
            taking.bytes += bytes as u64;
        }
    }

    /// Everything is written. True where it had to wait: what the client is silent about, it is from now on.
    fn all_taken(&self) -> bool {
        let mut state = self.state();
        let waited = state.taking.take().is_some();
        let phase = state.phase;
        drop(state);
        if waited && matches!(phase, Phase::Head | Phase::Idle) {
            self.enter(phase);
        }
        waited
    }

    /// Makes the present phase older than it is.
    #[cfg(test)]
    pub fn age(&self, by: Duration) {
        let mut state = self.state();
        state.since -= by;
        if let Some(taking) = &mut state.taking {
            taking.since -= by;
            taking.last -= by;
        }
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

/// Words the answer to a request that hyper refuses by itself, given its status and how the request begins.
pub(super) type Worded = Arc<dyn Fn(u16, &[u8]) -> Vec<u8> + Send + Sync>;

/// A socket with times. It also gives the answers that hyper makes by itself, which are bare, the body they lack.
pub(super) struct Paced {
    /// None once it was handed on.
    stream: Option<(TcpStream, Seat)>,
    pace: Arc<Pace>,
    worded: Worded,
    timer: Option<(u64, Pin<Box<Sleep>>)>,
    stalled: Option<Pin<Box<Sleep>>>,
    /// The beginning of the head that is on its way; empty where it is not known which bytes begin it.
    begins: Vec<u8>,
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
            begins: Vec::new(),
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

    /// Whether a head or a silence has lasted too long; wakes the connection when it has.
    fn late(&mut self, context: &mut Context<'_>) -> bool {
        let State {
            phase,
            since,
            turn,
            taking,
        } = *self.pace.state();
        let time = match phase {
            Phase::Head | Phase::Idle => self.pace.time(phase),
            // Whoever reads the body answers one that is late.
            Phase::Body | Phase::Busy => None,
        };
        // Whoever takes an answer is not silent, and is timed where it is written.
        let (Some(time), None) = (time, taking) else {
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

    /// The result of a write; one whose reader takes nothing, or too little, for too long is an error.
    fn paced(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(result) = written {
            if let Ok(bytes) = &result {
                self.pace.took(*bytes);
            }
            return Poll::Ready(result);
        }
        let deadline = self.pace.waits();
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if stalled.deadline() != deadline {
            stalled.as_mut().reset(deadline);
        }
        if stalled.as_mut().poll(context).is_ready() {
            metrics::counter!("registry_connections_late_total").increment(1);
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }

    /// Takes down how a request begins.
    fn hear(&mut self, bytes: &[u8]) {
        match self.pace.state().phase {
            Phase::Idle => self.begins = Vec::with_capacity(BEGINNING.min(bytes.len())),
            Phase::Head => {}
            // A body, or a request sent ahead of its turn: nobody can tell where it begins.
            Phase::Body | Phase::Busy => {
                self.begins.clear();
                return;
            }
        }
        let room = BEGINNING.saturating_sub(self.begins.len());
        self.begins.extend(bytes.iter().take(room));
        self.pace.heard();
    }

    /// Keeps an answer for the bare one in `bytes`, if that is what they are.
    fn replace(&mut self, bytes: &[u8]) -> bool {
        match bare(bytes) {
            Some(status) if self.instead.is_none() => {
                metrics::counter!("registry_requests_unreadable_total").increment(1);
                self.instead = Some(((self.worded)(status, &self.begins), 0));
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
                if let Some(bytes) = buffer.filled().get(before..).filter(|bytes| !bytes.is_empty()) {
                    self.hear(bytes);
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
        // hyper flushes when it has nothing left to write.
        if self.pace.all_taken() {
            self.stalled = None;
            // For the time of the silence that begins now.
            context.waker().wake_by_ref();
        }
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
        runtime.spawn(
            async move {
                let rest = async {
                    stream.shutdown().await?;
                    tokio::io::copy(&mut stream.take(REST), &mut tokio::io::sink()).await
                };
                tokio::select! {
                    _ = tokio::time::timeout(REST_TIME, rest) => {}
                    () = cut.cancelled() => {}
                }
                drop(seat);
            }
            .boxed(),
        );
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
            body: Duration::from_secs(10),
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

        // A body has its time once, however many pieces it comes in; then the request is at work.
        pace.busy();
        pace.awaits_body();
        pace.age(Duration::from_secs(2));
        pace.awaits_body();
        about(pace.used(), 200);
        pace.has_body();
        assert_eq!(pace.used(), None);
    }

    #[test]
    fn a_write_that_waits_for_its_reader_uses_up_time_whatever_else_goes_on() {
        let silence = Duration::from_secs(30);
        let pace = Pace::new(Times {
            head: Duration::from_secs(5),
            body: Duration::from_secs(10),
            idle: silence,
        });
        let about = |thousandths: u128| {
            let used = pace.used();
            assert!(
                used.is_some_and(|used| (thousandths..thousandths + 90).contains(&used)),
                "{used:?}"
            );
        };
        pace.busy();
        pace.took(1_000);
        assert!(!pace.all_taken());
        assert_eq!(
            pace.used(),
            None,
            "a stream that has nothing to write is no slow reader"
        );
        pace.waits();
        pace.age(Duration::from_secs(15));
        about(500);
        // A little of it gives no new time; what it takes at speed does.
        pace.took(1_000);
        about(490);
        pace.took(1 << 20);
        about(20);
        pace.age(silence / 2);
        about(500);
        assert!(pace.waits() <= Instant::now() + silence / 2);
        assert!(pace.all_taken());
        assert_eq!(pace.used(), None);
        // What comes after is a silence from its beginning.
        pace.idle();
        pace.waits();
        pace.age(Duration::from_secs(15));
        assert!(pace.all_taken());
        about(0);
    }

    /// Both ends of a connection whose sockets hold little, the one with times of 300 ms.
    async fn small() -> io::Result<(Paced, TcpStream)> {
        let listening = tokio::net::TcpSocket::new_v4()?;
        listening.set_send_buffer_size(4_096)?;
        listening.bind((std::net::Ipv4Addr::LOCALHOST, 0).into())?;
        let listener = listening.listen(1)?;
        let reading = tokio::net::TcpSocket::new_v4()?;
        reading.set_recv_buffer_size(4_096)?;
        let (reader, accepted) = tokio::join!(reading.connect(listener.local_addr()?), listener.accept());
        let time = Duration::from_millis(300);
        let seats = crate::http::seats::Seats::new(
            1,
            1,
            Times {
                head: time,
                body: time,
                idle: time,
            },
        );
        let taken = seats.take(None);
        let (seat, pace) = taken.map_err(|_| io::Error::other("no place"))?;
        pace.busy();
        let worded: Worded = Arc::new(|_, _| Vec::new());
        Ok((Paced::new(accepted?.0, seat, pace, worded), reader?))
    }

    /// How much of 4 MiB a reader was given that takes so much and then pauses, and whether that was all.
    async fn taken(most: usize, pause: Duration) -> io::Result<(usize, bool)> {
        let (mut paced, mut reader) = small().await?;
        let mut sent = 0;
        let write = async {
            let piece = [0; 16 << 10];
            while sent < 4 << 20 {
                sent += paced.write(&piece).await?;
            }
            paced.flush().await
        };
        let read = async {
            let mut room = vec![0; most];
            loop {
                let _ = reader.read(&mut room).await;
                tokio::time::sleep(pause).await;
            }
        };
        let limit = tokio::time::sleep(Duration::from_mins(1));
        let ended = tokio::select! {
            ended = write => ended,
            () = read => Ok(()),
            () = limit => return Err(io::Error::other("a reader this slow is never let go")),
        };
        Ok(match ended {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => (sent, false),
            other => (sent, other.is_ok()),
        })
    }

    #[tokio::test]
    async fn whoever_takes_an_answer_too_slowly_is_let_go_though_it_never_stops() -> io::Result<()> {
        let (slow, fast) = tokio::join!(taken(600, Duration::from_millis(10)), taken(64 << 10, Duration::ZERO));
        let (slow, fast) = (slow?, fast?);
        assert!(!slow.1, "{slow:?}");
        assert!(fast.1, "{fast:?}");
        Ok(())
    }
}
