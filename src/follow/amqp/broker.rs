//! One connection to a broker: opened, everything declared, confirms on; and what went wrong, in our words.
//!
//! Every step has its time. A connection that is given up is also cut: the library's own thread would wait for as long
//! as a peer that hangs does not answer.

use std::collections::BTreeSet;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::tcp::{AsyncTcpStream, OwnedTLSConfig};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::uri::AMQPScheme;
use lapin::{Channel, Confirmation, Connection, ConnectionProperties, ErrorKind, Event, ExchangeKind};
use tokio::time::Instant;
use tracing::warn;

use super::message::Message;
use super::{Broker, Exchange};
use crate::config::{Queue, QueueKind};
use crate::follow::delivery::Problem;

/// How long a connection may take to close by itself.
const FAREWELL: Duration = Duration::from_millis(200);
/// How the broker says that something is there already and is different.
const DIFFERENT: u16 = 406;
/// How it says that we may not.
const REFUSED: u16 = 403;

/// A message that has been handed over, until it is confirmed.
pub(super) type Confirming = Pin<Box<dyn Future<Output = lapin::Result<Confirmation>> + Send>>;

/// What the broker says of the connection as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sign {
    /// It takes no messages for now.
    Blocked,
    /// It takes them again.
    Unblocked,
    /// It is gone.
    Gone(Problem),
}

/// An open connection on which messages are published to one exchange.
pub(super) struct Session {
    connection: Connection,
    channel: Arc<Channel>,
    exchange: ShortString,
    events: Pin<Box<dyn Stream<Item = Event> + Send>>,
    _cut: Cut,
}

/// The socket below a connection; cut when dropped.
#[derive(Clone, Default)]
struct Line(Arc<Mutex<Option<std::net::TcpStream>>>);

impl Line {
    /// Keeps a second handle of the socket, to cut it by.
    fn holds(&self, stream: &tokio::net::TcpStream) -> io::Result<()> {
        let second = stream.as_fd().try_clone_to_owned()?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(second.into());
        Ok(())
    }
}

/// Cuts the line when a connection did not come about, or is not needed any more.
struct Cut(Line);

impl Drop for Cut {
    fn drop(&mut self) {
        if let Some(stream) = self.0.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // It may have been closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Session {
    /// Connects, declares and switches confirms on. `told` keeps what was said once and need not be said again.
    pub async fn open(broker: &Broker, exchange: &Exchange, told: &mut BTreeSet<String>) -> Result<Self, Problem> {
        let line = Line::default();
        let cut = Cut(line.clone());
        let connection = within(broker.answer, connect(broker, line.clone())).await?;
        let mut setup = Setup {
            channel: channel(&connection, broker.answer).await?,
            connection: &connection,
            answer: broker.answer,
            told,
        };
        setup.declare(exchange).await?;
        let channel = setup.channel;
        within(broker.answer, channel.confirm_select(ConfirmSelectOptions::default())).await?;
        // Only from here on: what was refused above is dealt with.
        let events = Box::pin(connection.events_listener());
        Ok(Self {
            connection,
            channel: Arc::new(channel),
            exchange: exchange.name.as_str().into(),
            events,
            _cut: cut,
        })
    }

    /// Hands a message over at once; what comes back is its confirmation, which may be there already: that it was refused,
    /// too.
    ///
    /// Each is asked once right here, which puts its frames behind those of the one before. To wait until they are
    /// written, as the library would have it, makes every message as slow as a change of threads.
    pub fn publish(&self, message: Message) -> Confirming {
        let (channel, exchange) = (Arc::clone(&self.channel), self.exchange.clone());
        let mut confirming: Confirming = Box::pin(async move {
            let options = BasicPublishOptions {
                mandatory: true,
                ..BasicPublishOptions::default()
            };
            let handed = channel.basic_publish(
                exchange,
                message.routing_key.into(),
                options,
                &message.body,
                message.properties,
            );
            handed.await?.await
        });
        match confirming.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => confirming,
            Poll::Ready(came) => Box::pin(std::future::ready(came)),
        }
    }

    /// The next thing the broker says of the connection.
    pub async fn sign(&mut self) -> Sign {
        loop {
            match self.events.next().await {
                Some(Event::ConnectionBlocked(_) | Event::SendFlow(false)) => return Sign::Blocked,
                Some(Event::ConnectionUnblocked | Event::SendFlow(true)) => return Sign::Unblocked,
                Some(Event::Error(error)) => return Sign::Gone(problem(&error)),
                None => return Sign::Gone(Problem::new("the connection to the broker is closed")),
                Some(_) => {}
            }
        }
    }

    /// Says goodbye.
    pub async fn close(self) {
        let closing = self.connection.close(200, "OK".into());
        // One that does not answer is cut.
        let _ = tokio::time::timeout(FAREWELL, closing).await;
    }
}

async fn connect(broker: &Broker, line: Line) -> lapin::Result<Connection> {
    let tls = OwnedTLSConfig {
        identity: None,
        cert_chain: broker.trusted.clone(),
    };
    let properties = ConnectionProperties::default().with_connection_name("user-registry".into());
    let answer = broker.answer;
    Connection::connector(
        broker.address.uri(),
        lapin::runtime::default_runtime()?,
        async move |uri, runtime| {
            let host = uri.authority.host.as_str();
            let secured = async {
                let until = Instant::now() + answer;
                let addresses = tokio::net::lookup_host((host, uri.authority.port)).await?;
                let connect = |address| AsyncTcpStream::connect(&runtime, address);
                let stream = reach(addresses.collect(), until, connect).await?;
                if let AsyncTcpStream::Plain(plain) = &stream {
                    line.holds(plain.get_ref())?;
                }
                match uri.scheme {
                    AMQPScheme::AMQP => Ok(stream),
                    AMQPScheme::AMQPS => stream.into_tls(host, tls.as_ref()).await,
                }
            };
            // This runs on a thread of the library's, which nobody ends from outside.
            let stream = tokio::time::timeout(answer, secured)
                .await
                .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)));
            stream.map_err(lapin::Error::from)
        },
        properties,
    )
    .await
}

/// Tries one address after the other. Each has an equal share of the time that is left, so that one where nobody answers
/// does not take it from those behind it.
async fn reach<T, F: Future<Output = io::Result<T>>>(
    addresses: Vec<SocketAddr>,
    until: Instant,
    connect: impl Fn(SocketAddr) -> F,
) -> io::Result<T> {
    let mut reached = Err(io::ErrorKind::AddrNotAvailable.into());
    let mut left = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    for address in addresses {
        let share = until.saturating_duration_since(Instant::now()) / left;
        left -= 1;
        reached = tokio::time::timeout(share, connect(address))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        if reached.is_ok() {
            break;
        }
    }
    reached
}

async fn channel(connection: &Connection, answer: Duration) -> Result<Channel, Problem> {
    within(answer, connection.create_channel()).await
}

/// A step with its time.
async fn within<T>(answer: Duration, step: impl Future<Output = lapin::Result<T>>) -> Result<T, Problem> {
    match tokio::time::timeout(answer, step).await {
        Ok(done) => done.map_err(|error| problem(&error)),
        Err(_) => Err(Problem::new("the broker does not answer in time")),
    }
}

/// What has to be there before the first message.
struct Setup<'a> {
    connection: &'a Connection,
    channel: Channel,
    answer: Duration,
    told: &'a mut BTreeSet<String>,
}

impl Setup<'_> {
    async fn declare(&mut self, exchange: &Exchange) -> Result<(), Problem> {
        let mut arguments = FieldTable::default();
        if let Some(alternate) = &exchange.alternate {
            self.exchange(alternate, ExchangeKind::Fanout, FieldTable::default())
                .await?;
            let name = AMQPValue::LongString(alternate.as_str().into());
            arguments.insert("alternate-exchange".into(), name);
        }
        self.exchange(&exchange.name, ExchangeKind::Topic, arguments).await?;
        for queue in &exchange.queues {
            self.queue(queue).await?;
            for pattern in &queue.patterns {
                let binding = self.channel.queue_bind(
                    queue.name.as_str().into(),
                    exchange.name.as_str().into(),
                    pattern.as_str().into(),
                    QueueBindOptions::default(),
                    FieldTable::default(),
                );
                within(self.answer, binding).await?;
            }
        }
        Ok(())
    }

    /// One that is there with other properties, or that we may not make, is used as it is: it is somebody's decision.
    async fn exchange(&mut self, name: &str, kind: ExchangeKind, arguments: FieldTable) -> Result<(), Problem> {
        let declaring = |passive| ExchangeDeclareOptions {
            durable: true,
            passive,
            ..ExchangeDeclareOptions::default()
        };
        let active = self
            .channel
            .exchange_declare(name.into(), kind.clone(), declaring(false), arguments);
        match tokio::time::timeout(self.answer, active).await {
            Ok(Err(error)) if matches!(code(&error), Some(DIFFERENT | REFUSED)) => {}
            other => return within(self.answer, async { other.unwrap_or_else(|_| Err(late())) }).await,
        }
        self.as_it_is("exchange", name).await?;
        let passive = self
            .channel
            .exchange_declare(name.into(), kind, declaring(true), FieldTable::default());
        within(self.answer, passive).await
    }

    async fn queue(&mut self, queue: &Queue) -> Result<(), Problem> {
        let mut arguments = FieldTable::default();
        if queue.kind != QueueKind::Classic {
            let kind = AMQPValue::LongString(queue.kind.name().into());
            arguments.insert("x-queue-type".into(), kind);
        }
        let declaring = |passive| QueueDeclareOptions {
            durable: true,
            passive,
            ..QueueDeclareOptions::default()
        };
        let name: ShortString = queue.name.as_str().into();
        let active = self.channel.queue_declare(name.clone(), declaring(false), arguments);
        match tokio::time::timeout(self.answer, active).await {
            Ok(Err(error)) if matches!(code(&error), Some(DIFFERENT | REFUSED)) => {}
            other => {
                return within(self.answer, async { other.unwrap_or_else(|_| Err(late())) })
                    .await
                    .map(drop);
            }
        }
        self.as_it_is("queue", &queue.name).await?;
        let passive = self.channel.queue_declare(name, declaring(true), FieldTable::default());
        within(self.answer, passive).await.map(drop)
    }

    /// A refusal has closed the channel.
    async fn as_it_is(&mut self, what: &'static str, name: &str) -> Result<(), Problem> {
        if self.told.insert(format!("{what} {name}")) {
            warn!(
                what,
                name, "it is not declared as configured, or we may not declare it; used as it is"
            );
        }
        self.channel = channel(self.connection, self.answer).await?;
        Ok(())
    }
}

fn late() -> lapin::Error {
    io::Error::from(io::ErrorKind::TimedOut).into()
}

/// The broker's own number for what went wrong.
fn code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}

/// What went wrong. The broker's own words may name users and hosts, so only its number is told.
pub(super) fn problem(error: &lapin::Error) -> Problem {
    let text = match error.kind() {
        ErrorKind::ProtocolError(error) => format!("the broker refuses ({} {})", error.get_id(), word(error.get_id())),
        ErrorKind::IOError(error) if error.kind() == io::ErrorKind::TimedOut => {
            "the broker does not answer in time".to_owned()
        }
        // The kind and never the text: of a failed handshake it is the peer's.
        ErrorKind::IOError(error) => format!("the broker cannot be reached ({})", error.kind()),
        ErrorKind::MissingHeartbeatError => "the broker gives no sign of life".to_owned(),
        ErrorKind::InvalidConnectionState(_) | ErrorKind::InvalidChannel(_) | ErrorKind::InvalidChannelState(..) => {
            "the connection to the broker is closed".to_owned()
        }
        ErrorKind::ParsingError(_) => "what answers is no broker".to_owned(),
        _ => "the connection to the broker failed".to_owned(),
    };
    Problem(text)
}

/// Whether the broker minds the message itself, as one that is too large for it, and would mind it again.
pub(super) fn minds_the_message(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error) if error.get_id() == 406)
}

/// As the protocol calls its numbers.
const fn word(code: u16) -> &'static str {
    match code {
        311 => "CONTENT_TOO_LARGE",
        320 => "CONNECTION_FORCED",
        402 => "INVALID_PATH",
        403 => "ACCESS_REFUSED",
        404 => "NOT_FOUND",
        405 => "RESOURCE_LOCKED",
        406 => "PRECONDITION_FAILED",
        501 => "FRAME_ERROR",
        504 => "CHANNEL_ERROR",
        506 => "RESOURCE_ERROR",
        530 => "NOT_ALLOWED",
        540 => "NOT_IMPLEMENTED",
        541 => "INTERNAL_ERROR",
        _ => "see the broker's log",
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use tokio::net::{TcpListener, TcpSocket, TcpStream};

    use super::*;

    /// Somebody who takes no connection and does not say so: all that may wait there wait already.
    async fn deaf() -> (TcpListener, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(connected) = tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
            waiting.push(connected.unwrap());
        }
        (listener, waiting)
    }

    #[tokio::test]
    async fn an_address_where_nobody_answers_leaves_time_for_the_next() {
        let (deaf, _waiting) = deaf().await;
        let hears = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let [dead, live] = [deaf.local_addr().unwrap(), hears.local_addr().unwrap()];
        let closed = {
            let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
            gone.local_addr().unwrap()
        };
        let tried = async |addresses: &[SocketAddr], length| {
            let until = Instant::now() + Duration::from_millis(length);
            let reached = reach(addresses.to_vec(), until, TcpStream::connect).await;
            reached.map(|stream| stream.peer_addr().unwrap())
        };
        assert_eq!(tried(&[dead, dead, live], 3_000).await.unwrap(), live);
        assert_eq!(tried(&[closed, dead, live], 3_000).await.unwrap(), live);
        assert_eq!(tried(&[dead], 200).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(
            tried(&[dead, closed], 400).await.unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
        assert_eq!(
            tried(&[], 200).await.unwrap_err().kind(),
            io::ErrorKind::AddrNotAvailable
        );
    }
}
