//! A wire between the store and PostgreSQL that can be cut where the outcome of a batch is decided.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// Where the wire is cut, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The server has answered COMMIT, and the answer is thrown away.
    AfterTheAnswer,
    /// COMMIT has been forwarded; nobody knows what the server makes of it.
    AfterForwarding,
    /// COMMIT never reaches the server.
    BeforeForwarding,
    /// It reaches the server much later: as soon as another connection has ended a transaction, whose next one waits.
    Late,
}

/// What the wire is cut at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// COMMIT.
    Commit,
    /// The statement that writes a whole batch.
    Batch,
}

/// How long a late statement has before its connection goes on.
const LATE: Duration = Duration::from_millis(60);

pub struct Proxy {
    port: u16,
    state: Arc<State>,
}

struct State {
    host: String,
    server: u16,
    next: Mutex<Option<(At, Cut)>>,
    late: Mutex<Option<(Vec<u8>, OwnedWriteHalf)>>,
    cuts: AtomicUsize,
}

impl Proxy {
    pub async fn start(host: &str, server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            host: host.to_owned(),
            server,
            next: Mutex::new(None),
            late: Mutex::new(None),
            cuts: AtomicUsize::new(0),
        });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connection(client, Arc::clone(&shared)));
            }
        });
        Self { port, state }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts the wire the next time this passes.
    pub fn cut(&self, at: At, cut: Cut) {
        *self.state.next.lock().unwrap() = Some((at, cut));
    }

    /// How often it was cut.
    pub fn cuts(&self) -> usize {
        self.state.cuts.load(Ordering::SeqCst)
    }
}

async fn connection(client: TcpStream, state: Arc<State>) {
    let Ok(server) = TcpStream::connect((state.host.as_str(), state.server)).await else {
        return;
    };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let (from_client, mut to_client) = client.into_split();
    let (mut from_server, to_server) = server.into_split();
    let (swallow, mut swallowing) = tokio::sync::watch::channel(false);
    let (swallowed, answered) = tokio::sync::oneshot::channel();
    // What comes back is passed on as it is, until an answer is to be thrown away.
    let back = tokio::spawn(async move {
        let mut buffer = vec![0; 16_384];
        let mut swallowed = Some(swallowed);
        while let Ok(length) = from_server.read(&mut buffer).await {
            if length == 0 {
                return;
            }
            if *swallowing.borrow_and_update() {
                if let Some(swallowed) = swallowed.take() {
                    let _ = swallowed.send(());
                }
            } else if to_client.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    });
    let _ = forward(from_client, to_server, &state, &swallow, answered).await;
    // Both directions end here: the client sees its connection closed, and so does the server.
    back.abort();
}

/// Passes on what the client says, message by message, until it is time to cut.
async fn forward(
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    state: &State,
    swallow: &tokio::sync::watch::Sender<bool>,
    answered: tokio::sync::oneshot::Receiver<()>,
) -> std::io::Result<()> {
    let mut statements: HashMap<Vec<u8>, Option<Passing>> = HashMap::new();
    // The first message has no type.
    let start = message(&mut client, &[]).await?;
    server.write_all(&start).await?;
    loop {
        let kind = client.read_u8().await?;
        let message = message(&mut client, &[kind]).await?;
        let body = &message[5..];
        let passing = match kind {
            b'Q' => Passing::of(body),
            b'P' => {
                let name = text(body);
                statements.insert(name.to_vec(), Passing::of(&body[name.len() + 1..]));
                None
            }
            b'B' => {
                let portal = text(body);
                statements
                    .get(text(&body[portal.len() + 1..]))
                    .copied()
                    .unwrap_or_default()
            }
            _ => None,
        };
        let cut = passing.and_then(|passing| {
            let mut next = state.next.lock().unwrap();
            let (at, cut) = (*next)?;
            let here = match at {
                At::Commit => passing == Passing::Commit,
                At::Batch => passing == Passing::Batch,
            };
            here.then(|| *next = None).map(|()| cut)
        });
        let late = if matches!(passing, Some(Passing::Commit | Passing::Rollback)) && cut.is_none() {
            state.late.lock().unwrap().take()
        } else {
            None
        };
        if let Some((held, mut its_server)) = late {
            server.write_all(&message).await?;
            server.write_all(&rest(kind, &mut client).await?).await?;
            tokio::time::sleep(LATE).await;
            its_server.write_all(&held).await?;
            tokio::time::sleep(LATE).await;
            continue;
        }
        let Some(cut) = cut else {
            server.write_all(&message).await?;
            continue;
        };
        state.cuts.fetch_add(1, Ordering::SeqCst);
        if cut == Cut::BeforeForwarding {
            return Ok(());
        }
        if cut == Cut::Late {
            let mut held = message;
            held.extend(rest(kind, &mut client).await?);
            *state.late.lock().unwrap() = Some((held, server));
            return Ok(());
        }
        if cut == Cut::AfterTheAnswer {
            swallow.send_replace(true);
        }
        server.write_all(&message).await?;
        server.write_all(&rest(kind, &mut client).await?).await?;
        if cut == Cut::AfterTheAnswer {
            let _ = answered.await;
        }
        return Ok(());
    }
}

/// Reads the rest of an extended query that a message of this kind is part of, up to its Sync.
async fn rest(kind: u8, client: &mut OwnedReadHalf) -> std::io::Result<Vec<u8>> {
    let (mut bytes, mut last) = (Vec::new(), kind);
    while last != b'Q' && last != b'S' {
        last = client.read_u8().await?;
        bytes.extend(message(client, &[last]).await?);
    }
    Ok(bytes)
}

/// Reads the rest of a message whose first bytes are there.
async fn message(client: &mut OwnedReadHalf, start: &[u8]) -> std::io::Result<Vec<u8>> {
    let length = client.read_u32().await?;
    let mut message = start.to_vec();
    message.extend_from_slice(&length.to_be_bytes());
    let body = message.len();
    message.resize(body + usize::try_from(length).unwrap() - 4, 0);
    client.read_exact(&mut message[body..]).await?;
    Ok(message)
}

/// A text up to its NUL.
fn text(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// What a statement is to those who cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passing {
    Commit,
    Rollback,
    Batch,
}

impl Passing {
    fn of(body: &[u8]) -> Option<Self> {
        match text(body) {
            b"COMMIT" => Some(Self::Commit),
            b"ROLLBACK" => Some(Self::Rollback),
            text if text.starts_with(b"WITH moved") => Some(Self::Batch),
            _ => None,
        }
    }
}
