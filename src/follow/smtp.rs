//! Mails to a mail server.
//!
//! The connections are kept here and not by lettre's own pool: which step a refusal answers tells whether it is this
//! recipient who is refused or we are, and the pool does not say.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lettre::Address;
use lettre::message::Mailbox;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use lettre::transport::smtp::response::{Code, Response, Severity};
use percent_encoding::percent_decode_str;
use reqwest::Url;

use super::delivery::{Fate, MAIL, Problem};
use crate::breaker::Breaker;

/// A connection nobody used for so long is not used any more: servers close them.
const IDLE: Duration = Duration::from_secs(30);
/// Connections that are kept.
const KEPT: usize = 4;
/// The last step has so many times as long as the others: servers look at a mail before they answer.
const LAST_STEP: u32 = 3;
/// Steps that one mail may take at most, the last one counted in full, and one more.
pub(super) const STEPS: u32 = 12;

/// A mail server as the configuration names it.
#[derive(Clone)]
pub struct SmtpServer {
    host: String,
    port: u16,
    tls: Tls,
    credentials: Option<Credentials>,
}

/// When a connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tls {
    /// Never.
    None,
    /// If the server offers it.
    Offered,
    /// After `STARTTLS`, or not at all.
    Required,
    /// From its first byte.
    Wrapped,
}

/// The address names no mail server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an address such as smtp://mail.example:25, smtps://user:password@mail.example or \
         smtp://user:password@mail.example?tls=required (tls is none, offered or required)"
)]
pub struct InvalidSmtpUrl;

impl SmtpServer {
    /// Reads `smtp://[user:password@]host[:port][?tls=none|offered|required]` or `smtps://…`.
    pub fn parse(text: &str) -> Result<Self, InvalidSmtpUrl> {
        let url = Url::parse(text).map_err(|_| InvalidSmtpUrl)?;
        if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
            return Err(InvalidSmtpUrl);
        }
        let credentials = match (url.username(), url.password()) {
            ("", None) => None,
            ("", Some(_)) | (_, None) => return Err(InvalidSmtpUrl),
            (user, Some(password)) => Some(Credentials::new(decoded(user)?, decoded(password)?)),
        };
        let tls = match (url.scheme(), url.query()) {
            ("smtps", None) => Tls::Wrapped,
            // A password is not given to whoever can make an offer disappear.
            ("smtp", None) if credentials.is_some() => Tls::Required,
            ("smtp", None | Some("tls=offered")) => Tls::Offered,
            ("smtp", Some("tls=required")) => Tls::Required,
            ("smtp", Some("tls=none")) => Tls::None,
            _ => return Err(InvalidSmtpUrl),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(InvalidSmtpUrl)?;
        let port = url.port().unwrap_or(match (tls, url.query()) {
            (Tls::Wrapped, _) => 465,
            (Tls::Required, _) => 587,
            (Tls::None | Tls::Offered, _) => 25,
        });
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            tls,
            credentials,
        })
    }
}

fn decoded(text: &str) -> Result<String, InvalidSmtpUrl> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| InvalidSmtpUrl)?;
    if text.is_empty() || text.contains(['\0', '\r', '\n']) {
        return Err(InvalidSmtpUrl);
    }
    Ok(text.into_owned())
}

impl fmt::Debug for SmtpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} ({:?})", self.host, self.port, self.tls)
    }
}

/// Sends mails to one server.
#[derive(Clone)]
pub struct Smtp(Arc<Inner>);

struct Inner {
    server: SmtpServer,
    from: Address,
    hello: ClientId,
    tls: Option<TlsParameters>,
    step: Duration,
    idle: Mutex<Vec<(AsyncSmtpConnection, Instant)>>,
    breaker: Breaker<Problem>,
}

impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.server.fmt(f)
    }
}

/// A step that did not go well.
enum Failed {
    /// The server said no.
    Said(Code),
    /// There is no answer, or none that makes sense. The connection is of no use any more.
    Lost(&'static str),
}

impl Failed {
    /// Whether the connection is of no use any more.
    fn is_lost(&self) -> bool {
        match self {
            // It says that it closes the connection.
            Self::Said(code) => code.to_string() == "421",
            Self::Lost(_) => true,
        }
    }

    fn problem(&self, step: &str) -> Problem {
        match self {
            Self::Said(code) => Problem(format!("the mail server answered {code} to {step}")),
            Self::Lost(how) => Problem(format!("the mail server {how} at {step}")),
        }
    }

    /// What an answer to a recipient or a text means for this mail.
    fn fate(&self, step: &str) -> Fate {
        match self {
            Self::Said(code) if matches!(code.severity, Severity::PermanentNegativeCompletion) => {
                Fate::Refused(self.problem(step))
            }
            Self::Said(_) | Self::Lost(_) => Fate::Later(self.problem(step)),
        }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        match error.status() {
            Some(code) => Self::Said(code),
            None if error.is_tls() || is_about_trust(&error) => {
                Self::Lost("cannot be trusted or does not speak TLS as we do")
            }
            None if error.is_client() => Self::Lost("does not offer what is needed"),
            None if error.is_timeout() => Self::Lost("does not answer in time"),
            None if error.is_response() => Self::Lost("closed the connection or makes no sense"),
            None => Self::Lost("cannot be reached or closed the connection"),
        }
    }
}

/// What TLS finds wrong with the other side comes as an error of reading.
fn is_about_trust(error: &Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(cause) = cause.downcast_ref::<std::io::Error>() {
            return cause.kind() == std::io::ErrorKind::InvalidData;
        }
        source = cause.source();
    }
    false
}

impl Smtp {
    /// Sends from `from` to a server that may take as long as `step` for each answer.
    pub fn new(server: SmtpServer, from: &Mailbox, step: Duration) -> Result<Self, InvalidSmtpUrl> {
        let tls = match server.tls {
            Tls::None => None,
            Tls::Offered | Tls::Required | Tls::Wrapped => {
                Some(TlsParameters::new(server.host.clone()).map_err(|_| InvalidSmtpUrl)?)
            }
        };
        Ok(Self(Arc::new(Inner {
            from: from.email.clone(),
            // What stands behind the `@` of every mail of ours is the one name that is known to belong to us.
            hello: ClientId::Domain(from.email.domain().to_owned()),
            server,
            tls,
            step,
            idle: Mutex::default(),
            breaker: Breaker::default(),
        })))
    }

    /// Sends one mail; `about` is the same when it is sent again, and no other's. An error is about the server as a whole.
    pub(super) async fn send(&self, about: u128, to: &Address, mail: &[u8]) -> Result<Fate, Problem> {
        let inner = &*self.0;
        inner.breaker.ask()?;
        let outside = |problem| {
            MAIL.count_failed("outside");
            inner.breaker.failed(problem)
        };
        let mut connection = inner.begin(to).await.map_err(outside)?;
        let Some(open) = connection.as_mut() else {
            inner.breaker.works();
            return Ok(Fate::Refused(Problem::new(
                "the mail server takes no address beyond ASCII",
            )));
        };
        if let Err(failed) = inner.step(open.command(Rcpt::new(to.clone(), Vec::new()))).await {
            // Some servers say only here that they want a password, or another one.
            if let Failed::Said(code) = &failed
                && matches!(code.to_string().as_str(), "530" | "535")
            {
                return Err(outside(failed.problem("a recipient")));
            }
            inner.put_back(connection, &failed).await;
            return Ok(inner.fate(about, &failed, "a recipient"));
        }
        if let Err(failed) = inner.step(open.command(Data)).await {
            inner.put_back(connection, &failed).await;
            return Ok(inner.fate(about, &failed, "a mail"));
        }
        let taken = tokio::time::timeout(inner.step * LAST_STEP, open.command(stuffed(mail))).await;
        match answered(taken) {
            Ok(_) => inner.keep(connection),
            Err(failed) => {
                inner.put_back(connection, &failed).await;
                return Ok(inner.fate(about, &failed, "a mail"));
            }
        }
        inner.breaker.works();
        Ok(Fate::Sent)
    }
}

/// A mail as it goes over the line: a dot before every dot that begins a line, and the line that ends it (RFC 5321,
/// section 4.5.2). In one piece: lettre writes that last line by itself, and the kernel keeps such a small write back
/// until the server has acknowledged what was before it, which takes 40 ms.
fn stuffed(mail: &[u8]) -> String {
    // It is ASCII, whatever its texts hold, but for an address beyond it, which is UTF-8.
    let mail = String::from_utf8_lossy(mail);
    let mut wire = String::with_capacity(mail.len() + mail.len() / 64 + 8);
    for line in mail.trim_end_matches(['\r', '\n']).split("\r\n") {
        if line.starts_with('.') {
            wire.push('.');
        }
        wire.push_str(line);
        wire.push_str("\r\n");
    }
    wire.push_str(".\r\n");
    wire
}

fn answered<T>(answer: Result<Result<T, Error>, tokio::time::error::Elapsed>) -> Result<T, Failed> {
    match answer {
        Ok(answer) => answer.map_err(Failed::from),
        Err(_) => Err(Failed::Lost("does not answer in time")),
    }
}

impl Inner {
    /// What a recipient or a text that did not go well means for this mail. A server that answers works, whatever it says;
    /// one that takes our sender and then falls silent at every mail does not.
    fn fate(&self, about: u128, failed: &Failed, step: &str) -> Fate {
        match failed {
            Failed::Said(_) => {
                self.breaker.works();
                failed.fate(step)
            }
            Failed::Lost(_) => Fate::Later(self.breaker.unanswered(about, failed.problem(step))),
        }
    }

    async fn step<T>(&self, step: impl Future<Output = Result<T, Error>>) -> Result<T, Failed> {
        answered(tokio::time::timeout(self.step, step).await)
    }

    /// A connection that has taken the sender of a mail. None: it cannot take the recipient's address.
    async fn begin(&self, to: &Address) -> Result<Option<AsyncSmtpConnection>, Problem> {
        let beyond_ascii = !to.user().is_ascii() || !to.domain().is_ascii();
        loop {
            let (mut connection, fresh) = match self.idle() {
                Some(connection) => (connection, false),
                None => (self.connect().await?, true),
            };
            let mut options = Vec::new();
            if beyond_ascii {
                if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
                    self.keep(Some(connection));
                    return Ok(None);
                }
                options.push(MailParameter::SmtpUtfEight);
            }
            match self.sender(&mut connection, options).await {
                Ok(_) => return Ok(Some(connection)),
                // It went away while nobody used it.
                Err(failed) if !fresh && failed.is_lost() => {}
                Err(failed) => return Err(failed.problem("our sender")),
            }
        }
    }

    async fn sender(
        &self,
        connection: &mut AsyncSmtpConnection,
        options: Vec<MailParameter>,
    ) -> Result<Response, Failed> {
        self.step(connection.command(Mail::new(Some(self.from.clone()), options)))
            .await
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Problem> {
        let server = &self.server;
        let wrapped = self.tls.clone().filter(|_| server.tls == Tls::Wrapped);
        let address = (server.host.as_str(), server.port);
        let connecting = AsyncSmtpConnection::connect_tokio1(address, Some(self.step), &self.hello, wrapped, None);
        // Connecting, the greeting and its answer.
        let connecting = tokio::time::timeout(self.step * 2, connecting).await;
        let mut connection = answered(connecting).map_err(|failed| failed.problem("a connection"))?;
        let upgrade = match server.tls {
            Tls::Required => true,
            Tls::Offered => connection.can_starttls(),
            Tls::None | Tls::Wrapped => false,
        };
        if let (true, Some(tls)) = (upgrade, &self.tls) {
            self.step(connection.starttls(tls.clone(), &self.hello))
                .await
                .map_err(|failed| failed.problem("STARTTLS"))?;
        }
        if let Some(credentials) = &server.credentials {
            self.step(connection.auth(&[Mechanism::Plain, Mechanism::Login], credentials))
                .await
                .map_err(|failed| failed.problem("our password"))?;
        }
        Ok(connection)
    }

    /// A kept connection that was in use lately.
    fn idle(&self) -> Option<AsyncSmtpConnection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(_, since)| since.elapsed() < IDLE);
        idle.pop().map(|(connection, _)| connection)
    }

    fn keep(&self, connection: Option<AsyncSmtpConnection>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(connection), true) = (connection, idle.len() < KEPT) {
            idle.push((connection, Instant::now()));
        }
    }

    /// Keeps a connection after a refusal, if it is still of use.
    async fn put_back(&self, connection: Option<AsyncSmtpConnection>, failed: &Failed) {
        let Some(mut connection) = connection.filter(|_| !failed.is_lost()) else {
            return;
        };
        if self.step(connection.command(Rset)).await.is_ok() {
            self.keep(Some(connection));
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_where_and_how_safely() {
        for (text, seen) in [
            ("smtp://mail.example", "mail.example:25 (Offered)"),
            ("smtp://mail.example:2525/", "mail.example:2525 (Offered)"),
            ("smtp://mail.example?tls=none", "mail.example:25 (None)"),
            ("smtp://mail.example?tls=required", "mail.example:587 (Required)"),
            ("smtps://mail.example", "mail.example:465 (Wrapped)"),
            ("smtp://[2001:db8::1]:25", "2001:db8::1:25 (Offered)"),
            // A password goes over an open line only when somebody says so.
            ("smtp://u:hunter2@mail.example", "mail.example:587 (Required)"),
            ("smtp://u:hunter2@mail.example?tls=none", "mail.example:25 (None)"),
            ("smtps://u:hunter2@mail.example:1465", "mail.example:1465 (Wrapped)"),
        ] {
            assert_eq!(format!("{:?}", SmtpServer::parse(text).unwrap()), seen, "{text}");
        }
    }

    #[test]
    fn a_user_and_a_password_may_hold_any_character() {
        let server = SmtpServer::parse("smtps://a%40farm.example:p%2F%3A@mail.example").unwrap();
        let expected = Credentials::new("a@farm.example".into(), "p/:".into());
        assert!(server.credentials.unwrap() == expected);
    }

    #[test]
    fn a_dot_that_begins_a_line_does_not_end_the_mail() {
        for (mail, wire) in [
            ("a\r\n", "a\r\n.\r\n"),
            ("a", "a\r\n.\r\n"),
            ("a\r\n.\r\n..b\r\nc.\r\n", "a\r\n..\r\n...b\r\nc.\r\n.\r\n"),
            ("a\r\n\r\n.", "a\r\n\r\n..\r\n.\r\n"),
        ] {
            assert_eq!(stuffed(mail.as_bytes()), wire, "{mail:?}");
        }
    }

    #[test]
    fn what_is_no_mail_server_is_refused() {
        for text in [
            "",
            "mail.example",
            "http://mail.example",
            "smtp://",
            "smtp://user@mail.example",
            "smtp://mail.example/path",
            "smtp://mail.example?tls=maybe",
            "smtp://mail.example?tls=required&x=1",
            "smtps://mail.example?tls=none",
            "smtp://u:a%0d%0ab@mail.example",
        ] {
            assert_eq!(SmtpServer::parse(text).err(), Some(InvalidSmtpUrl), "{text}");
        }
    }
}
