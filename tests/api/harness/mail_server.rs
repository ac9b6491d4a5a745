//! A mail server: it speaks SMTP on a port of its own, keeps what it took, and answers as it was told to.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::mailbox::Mail;
use super::until;

/// The server. Gone when dropped, with every connection.
pub struct MailServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: tokio::task::JoinHandle<()>,
}

/// What a server offers.
#[derive(Default, Clone)]
pub struct Offers {
    /// Who may send, if not everybody.
    pub user: Option<(&'static str, &'static str)>,
    /// Whether a connection may be encrypted after its begin.
    pub starttls: bool,
    /// Whether it is encrypted from its begin.
    pub wrapped: bool,
    /// Whether addresses beyond ASCII are taken.
    pub utf8: bool,
}

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Sender,
    Recipient,
    Text,
}

/// What a server does instead of saying yes.
#[derive(Debug, Clone)]
pub enum Answer {
    /// It says this.
    Says(&'static str),
    /// It says nothing, ever.
    Waits,
    /// It closes the connection.
    Leaves,
}

/// A mail that was taken.
#[derive(Debug, Clone)]
pub struct Delivered {
    pub from: String,
    pub to: String,
    pub raw: String,
    /// What stood behind the sender's address.
    pub parameters: String,
    pub mail: Mail,
    pub encrypted: bool,
    pub user: Option<String>,
}

#[derive(Default)]
struct State {
    taken: Vec<Delivered>,
    /// At which step, about whom, what is answered.
    rules: Vec<(Step, String, Answer)>,
    /// How often a rule was followed.
    followed: usize,
    connections: usize,
    /// Passwords that were tried over an open line.
    in_clear: usize,
}

impl MailServer {
    pub async fn start(offers: Offers) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), offers, None).await
    }

    /// An address where nobody listens yet.
    pub async fn nowhere() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
    }

    /// Starts one with a certificate for `localhost` that is written into a file for those who shall trust it.
    pub async fn start_with_certificate(offers: Offers, trust: &Path) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(trust, made.cert.pem()).unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self::start_at("127.0.0.1:0".parse().unwrap(), offers, Some(acceptor)).await
    }

    pub async fn start_at(address: SocketAddr, offers: Offers, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                shared.lock().unwrap().connections += 1;
                let (offers, tls, state) = (offers.clone(), tls.clone(), shared.clone());
                connections.spawn(async move {
                    // A client that goes away is none of this server's business.
                    let _ = serve(stream, offers, tls, state).await;
                });
            }
        });
        Self { address, state, task }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What `mail.smtp_url` says for an open line.
    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// From now on, at a step, whoever's address or text has this in it is answered so.
    pub fn answer(&self, step: Step, about: &str, answer: Answer) {
        self.state.lock().unwrap().rules.push((step, about.to_owned(), answer));
    }

    /// From now on everybody is answered with yes.
    pub fn relent(&self) {
        self.state.lock().unwrap().rules.clear();
    }

    /// Waits until so many times somebody was not answered with yes.
    pub async fn said_no(&self, times: usize) {
        until("a refusal", || async {
            (self.state.lock().unwrap().followed >= times).then_some(())
        })
        .await;
    }

    pub fn taken(&self) -> Vec<Delivered> {
        self.state.lock().unwrap().taken.clone()
    }

    pub fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }

    pub fn passwords_in_clear(&self) -> usize {
        self.state.lock().unwrap().in_clear
    }

    /// The first mail to an address, once it was taken.
    pub async fn to(&self, address: &str) -> Delivered {
        until(&format!("a mail to {address}"), || async {
            self.taken().into_iter().find(|mail| mail.to == address)
        })
        .await
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

trait Line: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Line for T {}

type Wire = BufReader<Box<dyn Line>>;

async fn serve(
    stream: TcpStream,
    offers: Offers,
    tls: Option<TlsAcceptor>,
    state: Arc<Mutex<State>>,
) -> std::io::Result<()> {
    let mut encrypted = offers.wrapped;
    let mut wire: Wire = match &tls {
        Some(tls) if offers.wrapped => BufReader::new(Box::new(tls.accept(stream).await?)),
        _ => BufReader::new(Box::new(stream)),
    };
    say(&mut wire, "220 sink ready").await?;
    let (mut user, mut from, mut to, mut parameters) = (None, String::new(), String::new(), String::new());
    loop {
        let line = read(&mut wire).await?;
        let word = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        match word.as_str() {
            "EHLO" => {
                let mut lines = vec!["sink"];
                if offers.starttls && !encrypted {
                    lines.push("STARTTLS");
                }
                if offers.utf8 {
                    lines.extend(["8BITMIME", "SMTPUTF8"]);
                }
                if offers.user.is_some() {
                    lines.push("AUTH PLAIN LOGIN");
                }
                for line in &lines {
                    say(&mut wire, &format!("250-{line}")).await?;
                }
                say(&mut wire, "250 SIZE 1000000").await?;
            }
            "STARTTLS" if offers.starttls && !encrypted => {
                say(&mut wire, "220 go ahead").await?;
                wire = BufReader::new(Box::new(tls.as_ref().unwrap().accept(wire.into_inner()).await?));
                encrypted = true;
            }
            "AUTH" => {
                state.lock().unwrap().in_clear += usize::from(!encrypted);
                let given = STANDARD
                    .decode(line.split(' ').nth(2).unwrap_or_default())
                    .unwrap_or_default();
                let (name, password) = offers.user.unwrap();
                if given == format!("\0{name}\0{password}").as_bytes() {
                    user = Some(name.to_owned());
                    say(&mut wire, "235 welcome").await?;
                } else {
                    state.lock().unwrap().followed += 1;
                    say(&mut wire, "535 5.7.8 who are you").await?;
                }
            }
            "MAIL" => {
                from = address(&line);
                line.split_once('>').unwrap().1.trim().clone_into(&mut parameters);
                if offers.user.is_some() && user.is_none() {
                    say(&mut wire, "530 5.7.0 authentication required").await?;
                } else if answer(&mut wire, &state, Step::Sender, &from).await? {
                    say(&mut wire, "250 sender fits").await?;
                }
            }
            "RCPT" => {
                to = address(&line);
                if answer(&mut wire, &state, Step::Recipient, &to).await? {
                    say(&mut wire, "250 recipient fits").await?;
                }
            }
            "DATA" => {
                say(&mut wire, "354 end with a dot").await?;
                let raw = text(&mut wire).await?;
                if answer(&mut wire, &state, Step::Text, &format!("{to}\n{raw}")).await? {
                    state.lock().unwrap().taken.push(Delivered {
                        from: from.clone(),
                        to: to.clone(),
                        parameters: parameters.clone(),
                        mail: Mail::parse("", &raw),
                        raw,
                        encrypted,
                        user: user.clone(),
                    });
                    say(&mut wire, "250 taken").await?;
                }
            }
            "RSET" | "NOOP" => say(&mut wire, "250 so be it").await?,
            "QUIT" => return say(&mut wire, "221 bye").await,
            _ => say(&mut wire, "502 what").await?,
        }
    }
}

/// Follows the rule for this step and person, if there is one. True: the answer is yes.
async fn answer(wire: &mut Wire, state: &Mutex<State>, step: Step, about: &str) -> std::io::Result<bool> {
    let rule = {
        let mut state = state.lock().unwrap();
        let rule = state
            .rules
            .iter()
            .find(|(at, whom, _)| *at == step && about.contains(whom.as_str()))
            .map(|(_, _, answer)| answer.clone());
        state.followed += usize::from(rule.is_some());
        rule
    };
    match rule {
        None => Ok(true),
        Some(Answer::Says(text)) => say(wire, text).await.map(|()| false),
        Some(Answer::Waits) => std::future::pending().await,
        Some(Answer::Leaves) => Err(std::io::ErrorKind::ConnectionAborted.into()),
    }
}

async fn say(wire: &mut Wire, line: &str) -> std::io::Result<()> {
    wire.get_mut().write_all(format!("{line}\r\n").as_bytes()).await?;
    wire.get_mut().flush().await
}

async fn read(wire: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<String> {
    let mut line = String::new();
    if wire.read_line(&mut line).await? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.strip_suffix("\r\n").unwrap().to_owned())
}

/// The text of a mail, its dots unstuffed.
async fn text(wire: &mut Wire) -> std::io::Result<String> {
    let mut raw = String::new();
    loop {
        let line = read(wire).await?;
        if line == "." {
            return Ok(raw);
        }
        raw.push_str(line.strip_prefix('.').unwrap_or(&line));
        raw.push_str("\r\n");
    }
}

fn address(line: &str) -> String {
    let rest = line.split_once('<').unwrap().1;
    rest.split_once('>').unwrap().0.to_owned()
}
