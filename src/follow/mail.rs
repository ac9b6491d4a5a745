//! The mail follower: links that were asked for, sent as mails.
//!
//! A mail is computed from its event and nothing else, so a crash loses none. The outbox folder takes one file per
//! mail, named by log position and renamed into place whole: sending again after a crash writes the same file.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use aggregates::user::UserEvent;
use aggregates::values::{Email, Timestamp};
use lettre::message::header::{ContentTransferEncoding, ContentType};
use lettre::message::{Body, Mailbox, Message};
use metrics::counter;
use uuid::Uuid;

use super::{FollowError, Follower, Start, Writes};
use crate::keys::Keyring;
use crate::registry::{LinkToken, Purpose};
use crate::store::{AnyEvent, OpenedEvent};

/// Makes the links of mails. The base comes from the configuration only, never from a request.
#[derive(Clone)]
pub struct Links {
    keyring: Keyring,
    public_url: String,
}

impl Links {
    /// Links below `public_url`.
    #[must_use]
    pub fn new(keyring: Keyring, public_url: &str) -> Self {
        Self {
            keyring,
            public_url: public_url.trim_end_matches('/').to_owned(),
        }
    }

    fn link(&self, purpose: Purpose, path: &str, user: Uuid, email: &Email, original: Uuid) -> String {
        let token = LinkToken::make(&self.keyring, purpose, user, email, original);
        format!("{}/{path}?token={token}", self.public_url)
    }
}

/// A folder that mails are put into, for those who start without a mail server.
#[derive(Debug, Clone)]
pub struct Outbox {
    folder: PathBuf,
}

impl Outbox {
    /// Makes the folder, open to its owner only.
    pub fn open(folder: &Path) -> std::io::Result<Self> {
        crate::store::private_folder(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// Puts a whole file in place. Doing it again with the same name changes nothing a reader could notice.
    fn put(&self, name: &str, bytes: &[u8]) -> std::io::Result<()> {
        let part = self.folder.join(format!(".{name}.{}.part", std::process::id()));
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&part, self.folder.join(name))
    }
}

/// Sends what the log asks to be sent by mail.
pub struct MailFollower {
    links: Links,
    outbox: Outbox,
    from: Mailbox,
}

/// A mail before it is written down.
struct Draft {
    to: Email,
    subject: &'static str,
    text: String,
}

impl MailFollower {
    /// A follower that mails from `from` into `outbox`.
    #[must_use]
    pub fn new(links: Links, outbox: Outbox, from: Mailbox) -> Self {
        Self { links, outbox, from }
    }

    /// The mails of an event. An erased address leaves nothing to send.
    fn drafts(&self, event: &UserEvent, user: Uuid) -> Vec<Draft> {
        match event {
            UserEvent::EmailVerificationRequested {
                original,
                email,
                expires_at,
                ..
            } => {
                let Some(email) = email.known() else { return Vec::new() };
                let link = self
                    .links
                    .link(Purpose::VerifyEmail, "verify-email", user, email, *original);
                vec![Draft {
                    to: email.clone(),
                    subject: "Please confirm your e-mail address",
                    text: format!(
                        "Hello,\n\nsomebody, probably you, registered this address. Open this link to confirm it:\n\n\
                         {link}\n\nIt works once, until {}. If it was not you, ignore this mail: the account expires by \
                         itself.\n",
                        minute(*expires_at)
                    ),
                }]
            }
            UserEvent::EmailChangeRequested {
                original,
                email,
                previous,
                expires_at,
                ..
            } => {
                let mut drafts = Vec::new();
                if let Some(email) = email.known() {
                    let link = self
                        .links
                        .link(Purpose::ChangeEmail, "confirm-email-change", user, email, *original);
                    drafts.push(Draft {
                        to: email.clone(),
                        subject: "Please confirm your new e-mail address",
                        text: format!(
                            "Hello,\n\nopen this link to use this address for your account from now on:\n\n{link}\n\n\
                             It works once, until {}.\n",
                            minute(*expires_at)
                        ),
                    });
                }
                if let Some(previous) = previous.known() {
                    drafts.push(Draft {
                        to: previous.clone(),
                        subject: "A new e-mail address was asked for",
                        text: "Hello,\n\nsomebody asked to use another address for your account. This one stays in \
                               use until the new one is confirmed. If it was not you, change your password.\n"
                            .to_owned(),
                    });
                }
                drafts
            }
            UserEvent::PasswordResetRequested {
                original,
                email,
                expires_at,
                ..
            } => {
                let Some(email) = email.known() else { return Vec::new() };
                let link = self
                    .links
                    .link(Purpose::ResetPassword, "reset-password", user, email, *original);
                vec![Draft {
                    to: email.clone(),
                    subject: "Reset your password",
                    text: format!(
                        "Hello,\n\nopen this link to set a new password:\n\n{link}\n\nIt works once, until {}. If you \
                         did not ask for it, ignore this mail: nothing has changed.\n",
                        minute(*expires_at)
                    ),
                }]
            }
            _ => Vec::new(),
        }
    }

    fn write(&self, draft: &Draft, event: &OpenedEvent, number: usize) -> Result<(), FollowError> {
        let never =
            |problem: &dyn std::fmt::Display| FollowError::Never(format!("a mail cannot be written: {problem}"));
        let to: Mailbox = draft
            .to
            .as_str()
            .parse()
            .map_err(|_| never(&"the address does not fit a mail header"))?;
        let micros = u64::try_from(event.record.recorded_at.as_micros()).unwrap_or_default();
        let message = Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(draft.subject)
            .date(UNIX_EPOCH + Duration::from_micros(micros))
            .message_id(Some(format!("<{}.{number}@user-registry>", event.record.event_id)))
            .header(ContentType::TEXT_PLAIN)
            .body(body(&draft.text))
            .map_err(|problem| never(&problem))?;
        let suffix = if number == 0 {
            String::new()
        } else {
            format!("-{number}")
        };
        let name = format!("{:020}{suffix}.eml", event.record.position);
        self.outbox
            .put(&name, &message.formatted())
            .map_err(|problem| FollowError::Later(format!("the outbox cannot be written: {problem}")))?;
        counter!("registry_mails_sent_total").increment(1);
        Ok(())
    }
}

impl Follower for MailFollower {
    fn name(&self) -> &'static str {
        "mail"
    }

    fn start(&self) -> Start {
        Start::Origin
    }

    fn concerns(&self, event: &OpenedEvent) -> bool {
        matches!(
            &event.event,
            AnyEvent::User(
                UserEvent::EmailVerificationRequested { .. }
                    | UserEvent::EmailChangeRequested { .. }
                    | UserEvent::PasswordResetRequested { .. }
            )
        )
    }

    async fn handle(&self, event: &OpenedEvent) -> Result<Writes, FollowError> {
        let AnyEvent::User(user_event) = &event.event else {
            return Ok(Writes::new());
        };
        let user = Uuid::parse_str(&event.record.aggregate_id)
            .map_err(|_| FollowError::Never("the stream of a user has no user id".into()))?;
        for (number, draft) in self.drafts(user_event, user).iter().enumerate() {
            self.write(draft, event, number)?;
        }
        Ok(Writes::new())
    }
}

/// A plain text as a body. Lines are as long as a link is: quoted-printable would break the link up, and whoever reads
/// the file without a mail program would copy a part of it. RFC 5322 allows lines of 998 characters.
fn body(text: &str) -> Body {
    let text = text.replace('\n', "\r\n");
    let plain = text.is_ascii() && text.lines().all(|line| line.len() <= 998);
    if plain {
        Body::dangerous_pre_encoded(text.into_bytes(), ContentTransferEncoding::SevenBit)
    } else {
        Body::new(text)
    }
}

/// A time to the minute, as a person reads it.
fn minute(at: Timestamp) -> String {
    let text = at.to_string();
    text.get(..16)
        .map_or(text.clone(), |minute| format!("{} UTC", minute.replace('T', " ")))
}
