//! The mail follower: links that were asked for, and what the owner of an account should hear of, sent as mails.
//!
//! A mail is computed from the log and nothing else, so a crash loses none; only where to write to somebody who was
//! erased is kept beside it. The same mail has the same bytes whenever it is made, its message id included: whoever gets
//! it twice after a crash can tell.

use std::time::{Duration, UNIX_EPOCH};

use aggregates::user::UserEvent;
use aggregates::values::{Dialect, Email, Timestamp};
use lettre::message::header::{ContentTransferEncoding, ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Body, Mailbox, Message, MultiPart, MultiPartKind, SinglePart};
use metrics::counter;
use uuid::Uuid;

use super::delivery::{Attempts, Channel, Fate, MAIL, Messenger, Problem, Round};
use super::letters::{Letter, Notice};
use super::outbox::{self, TidyError, erases};
use super::smtp::{STEPS, Smtp};
use super::templates::Templates;
use super::{FollowError, Follower, Outbox, Start, Writes, asked, notices, past, platform};
use crate::keys::{Enclosed, Keyring};
use crate::registry::{LinkToken, Purpose};
use crate::store::{AnyEvent, EventRecord, OpenedEvent, RowWrite, Store};
use crate::tokens::{KeyPair, SharedKey};

/// Makes the links of mails. The base comes from the configuration only, never from a request.
#[derive(Clone)]
pub struct Links {
    keyring: Keyring,
    public_url: String,
    /// What the links of `AgStack` begin with.
    agstack: String,
    /// What client secrets are signed with.
    shared: Option<SharedKey>,
}

impl Links {
    /// Links below `public_url`.
    #[must_use]
    pub fn new(keyring: Keyring, public_url: &str) -> Self {
        Self {
            keyring,
            public_url: public_url.trim_end_matches('/').to_owned(),
            agstack: public_url.trim_end_matches('/').to_owned(),
            shared: None,
        }
    }

    /// With those of `AgStack` below a base of their own, and its pairs of keys.
    #[must_use]
    pub fn agstack(self, base: &str, shared: Option<SharedKey>) -> Self {
        Self {
            agstack: base.to_owned(),
            shared,
            ..self
        }
    }

    fn link(&self, purpose: Purpose, path: &str, user: Uuid, email: &Email, original: Uuid) -> String {
        let token = LinkToken::make(&self.keyring, purpose, user, email, original);
        format!("{}/{path}?token={token}", self.public_url)
    }

    /// A link in the form of `AgStack`: the token is a part of the path.
    fn agstack_link(&self, purpose: Purpose, path: &str, user: Uuid, email: &Email, original: Uuid) -> String {
        let token = LinkToken::make(&self.keyring, purpose, user, email, original);
        format!("{}/{path}/{token}", self.agstack)
    }
}

/// What carries mails away.
#[derive(Debug, Clone)]
pub enum Mailer {
    /// A mail server.
    Smtp(Smtp),
    /// A folder, for those who start without a mail server.
    Outbox(Outbox),
}

/// Sends what the log asks to be sent by mail, and what the owner of an account should hear of.
#[derive(Clone)]
pub struct MailFollower {
    store: Store,
    links: Links,
    mailer: Mailer,
    from: Mailbox,
    templates: Templates,
    platform_url: String,
    attempts: Attempts,
}

/// How mails are made and tried.
#[derive(Debug, Clone)]
pub struct MailOptions {
    /// Who they are from.
    pub from: Mailbox,
    /// What they say.
    pub templates: Templates,
    /// What the links of the Cadasta dialect begin with.
    pub platform_url: String,
    /// How long the mail server may take for one answer.
    pub step: Duration,
    /// The pause after the first attempt that failed.
    pub pause: Duration,
    /// After so many attempts a mail is given up.
    pub most: u32,
}

/// A mail before it is written down.
struct Draft {
    to: Email,
    letter: Letter,
}

impl MailFollower {
    /// A follower of a store.
    #[must_use]
    pub fn new(store: Store, links: Links, mailer: Mailer, options: MailOptions) -> Self {
        Self {
            store,
            links,
            mailer,
            from: options.from,
            templates: options.templates,
            platform_url: options.platform_url,
            attempts: Attempts {
                pause: options.pause,
                most: options.most,
                within: options.step * STEPS,
            },
        }
    }

    /// Takes mails out of the outbox that name whoever was erased a day ago and more. A mail server keeps nothing here.
    pub async fn tidy(&self) -> Result<(), TidyError> {
        match &self.mailer {
            Mailer::Outbox(outbox) => outbox.tidy(&self.store).await,
            Mailer::Smtp(_) => Ok(()),
        }
    }

    /// The mails of an event, each at a place that is its own however late it is made: one that has lapsed or whose
    /// address was erased leaves its place empty.
    async fn drafts(&self, event: &OpenedEvent) -> Result<Vec<Option<Draft>>, FollowError> {
        match &event.event {
            AnyEvent::User(user_event) => {
                let user = Uuid::parse_str(&event.record.aggregate_id)
                    .map_err(|_| FollowError::Never("the stream of a user has no user id".into()))?;
                let mut drafts = Vec::new();
                if asks_for_link(user_event) {
                    drafts.push(self.link(user_event, user).map(|draft| Draft {
                        letter: platform::linked(
                            draft.letter,
                            self.store.keyring(),
                            &self.platform_url,
                            user_event,
                            user,
                        ),
                        ..draft
                    }));
                }
                if let UserEvent::ApiKeyIssued {
                    key_id,
                    mailed: true,
                    expires_at,
                    ..
                } = user_event
                {
                    drafts.push(self.key_pair((*key_id, *expires_at), user, &event.record).await?);
                }
                if let UserEvent::Erased {} = user_event {
                    drafts.extend(self.farewell(user, &event.record).await?.map(Some));
                }
                drafts.extend(self.notices(event).await?.into_iter().map(Some));
                Ok(drafts)
            }
            AnyEvent::Session(_) => Ok(self.notices(event).await?.into_iter().map(Some).collect()),
            AnyEvent::Domain(_) | AnyEvent::Audit(_) => Ok(Vec::new()),
        }
    }

    /// The mail with the link that an event asks for, while that link works.
    fn link(&self, event: &UserEvent, user: Uuid) -> Option<Draft> {
        let (purpose, path, email, original, until, dialect) = match event {
            UserEvent::EmailVerificationRequested {
                email,
                original,
                expires_at,
                dialect,
                ..
            } => (
                Purpose::VerifyEmail,
                "verify-email",
                email,
                *original,
                *expires_at,
                *dialect,
            ),
            UserEvent::EmailChangeRequested {
                email,
                original,
                expires_at,
                ..
            } => (
                Purpose::ChangeEmail,
                "confirm-email-change",
                email,
                *original,
                *expires_at,
                Dialect::Canonical,
            ),
            UserEvent::PasswordResetRequested {
                email,
                original,
                expires_at,
                dialect,
                ..
            } => (
                Purpose::ResetPassword,
                "reset-password",
                email,
                *original,
                *expires_at,
                *dialect,
            ),
            _ => return None,
        };
        let to = email.known()?.clone();
        // Nobody is helped by a link that works no more, however long the outage was.
        if until <= self.store.now() {
            counter!("registry_mails_lapsed_total").increment(1);
            return None;
        }
        let ours = || self.links.link(purpose, path, user, &to, original);
        let agstack = |path| self.links.agstack_link(purpose, path, user, &to, original);
        let letter = match (dialect, purpose) {
            (Dialect::Agstack, Purpose::VerifyEmail) => Letter::AgstackActivation {
                link: agstack("activate"),
                until,
            },
            (Dialect::Agstack, Purpose::ResetPassword) => Letter::AgstackReset {
                link: agstack("reset-password"),
                until,
            },
            (_, Purpose::VerifyEmail) => Letter::VerifyEmail { link: ours(), until },
            (_, Purpose::ChangeEmail) => Letter::ChangeEmail { link: ours(), until },
            (_, Purpose::ResetPassword) => Letter::ResetPassword { link: ours(), until },
        };
        Some(Draft { to, letter })
    }

    /// The mail that brings a pair of keys to its owner: computed from the event that made it.
    async fn key_pair(
        &self,
        (key_id, expires_at): (Uuid, Option<Timestamp>),
        user: Uuid,
        record: &EventRecord,
    ) -> Result<Option<Draft>, FollowError> {
        let (Some(shared), Some(to)) = (&self.links.shared, self.address_at(user, record.position).await?) else {
            return Ok(None);
        };
        let pair = KeyPair::of(&self.links.keyring, shared, key_id, expires_at, to.domain());
        let letter = Letter::AgstackKeys {
            api_key: pair.api_key,
            client_secret: pair.client_secret,
        };
        Ok(Some(Draft { to, letter }))
    }

    /// What the owner should hear of an event of their account, as far as they hear it by mail.
    async fn notices(&self, event: &OpenedEvent) -> Result<Vec<Draft>, FollowError> {
        let Some((to, notices)) = notices::by_mail(&self.store, event).await? else {
            return Ok(Vec::new());
        };
        let draft = |what| told(to.clone(), what, &event.record);
        Ok(notices.into_iter().map(draft).collect())
    }

    /// The address an account had when something was recorded: whoever took the account over since must not get the
    /// mail that tells of it.
    async fn address_at(&self, user: Uuid, position: i64) -> Result<Option<Email>, FollowError> {
        let state = past::account_at(&self.store, user, position).await?;
        Ok(state.email().cloned())
    }

    /// The mail that tells somebody that they were erased. None: it was sent, or there was no address.
    async fn farewell(&self, user: Uuid, record: &EventRecord) -> Result<Option<Draft>, FollowError> {
        let Some(sealed) = asked(self.store.sealed_farewell(user)).await? else {
            return Ok(None);
        };
        let never = |problem: &dyn std::fmt::Display| FollowError::Never(format!("an address is lost: {problem}"));
        let text = self
            .store
            .keyring()
            .disclose(Enclosed::Farewell, user, &sealed)
            .map_err(|problem| never(&problem))?;
        let to = Email::parse(&text).map_err(|problem| never(&problem))?;
        Ok(Some(told(to, Notice::Erased, record)))
    }

    /// Sends one mail of an event.
    async fn send(&self, draft: &Draft, event: &OpenedEvent, number: usize) -> Result<Fate, FollowError> {
        // What one mail lacks must not hold up the others.
        let (to, message) = match self.write(draft, event, number) {
            Ok(written) => written,
            Err(problem) => return Ok(Fate::Refused(problem)),
        };
        match &self.mailer {
            Mailer::Smtp(smtp) => {
                let about = event.record.event_id.as_u128().wrapping_add(number as u128);
                Ok(smtp.send(about, &to.email, &message).await?)
            }
            Mailer::Outbox(outbox) => {
                let name = outbox::name(event, number);
                outbox
                    .put(&name, &message)
                    .map_err(|problem| FollowError::Later(format!("the outbox cannot be written: {problem}")))?;
                Ok(Fate::Sent)
            }
        }
    }

    fn write(&self, draft: &Draft, event: &OpenedEvent, number: usize) -> Result<(Mailbox, Vec<u8>), Problem> {
        let to: Mailbox = draft
            .to
            .as_str()
            .parse()
            .map_err(|_| Problem::new("the address does not fit a mail header"))?;
        let words = draft
            .letter
            .words(&self.templates)
            .ok_or_else(|| Problem::new("the mail has no template"))?;
        let subject = platform::subject(&draft.letter, event).map_or(words.subject, str::to_owned);
        let micros = u64::try_from(event.record.recorded_at.as_micros()).unwrap_or_default();
        let parts = MultiPart::builder()
            .kind(MultiPartKind::Alternative)
            .boundary(format!("{}.{number}", event.record.event_id.simple()))
            .singlepart(part(ContentType::TEXT_PLAIN, &words.text))
            .singlepart(part(ContentType::TEXT_HTML, &words.html));
        let message = Message::builder()
            .from(self.from.clone())
            .to(to.clone())
            .subject(subject)
            .date(UNIX_EPOCH + Duration::from_micros(micros))
            .message_id(Some(format!("<{}.{number}@user-registry>", event.record.event_id)))
            .header(PurposeHeader(draft.letter.purpose().to_owned()))
            // Nobody's absence should answer a program (RFC 3834).
            .header(AutoSubmitted)
            .multipart(parts)
            .map_err(|_| Problem::new("the mail cannot be put together"))?;
        Ok((to, message.formatted()))
    }
}

/// The mail that tells of what was recorded.
const fn told(to: Email, what: Notice, record: &EventRecord) -> Draft {
    let at = record.recorded_at;
    Draft {
        to,
        letter: Letter::Notice { what, at },
    }
}

/// Whether the first mail of an event is one with a link.
const fn asks_for_link(event: &UserEvent) -> bool {
    matches!(
        event,
        UserEvent::EmailVerificationRequested { .. }
            | UserEvent::EmailChangeRequested { .. }
            | UserEvent::PasswordResetRequested { .. }
    )
}

impl Follower for MailFollower {
    fn name(&self) -> &'static str {
        "mail"
    }

    fn start(&self) -> Start {
        Start::Origin
    }

    fn concerns(&self, event: &OpenedEvent) -> bool {
        use UserEvent as U;
        let asked_for = match &event.event {
            AnyEvent::User(event) => asks_for_link(event) || matches!(event, U::ApiKeyIssued { mailed: true, .. }),
            AnyEvent::Session(_) | AnyEvent::Domain(_) | AnyEvent::Audit(_) => false,
        };
        asked_for || erases(event) || notices::may_tell(event)
    }

    /// Most sign-ins are nothing to write about: they must not cost a checkpoint each.
    async fn attend(&self, event: &OpenedEvent) -> Result<Option<Writes>, FollowError> {
        if let Mailer::Outbox(outbox) = &self.mailer
            && erases(event)
        {
            outbox.forget(&self.store, event).await?;
        }
        let drafts = self.drafts(event).await?;
        if drafts.iter().all(Option::is_none) {
            return Ok(None);
        }
        let mut round = Round::new(&MAIL, self.attempts, &self.store, event.record.position);
        for (number, draft) in drafts.iter().enumerate() {
            if let Some(draft) = draft {
                round.note(number, self.send(draft, event, number).await)?;
            }
        }
        Ok(Some(round.writes(self.settled(event))))
    }

    async fn handle(&self, event: &OpenedEvent) -> Result<Writes, FollowError> {
        Ok(self.attend(event).await?.unwrap_or_default())
    }
}

impl Messenger for MailFollower {
    fn channel(&self) -> &'static Channel {
        &MAIL
    }

    fn attempts(&self) -> Attempts {
        self.attempts
    }

    async fn send_again(&self, event: &OpenedEvent, number: usize) -> Result<Option<Fate>, FollowError> {
        match self.drafts(event).await?.get(number) {
            Some(Some(draft)) => self.send(draft, event, number).await.map(Some),
            Some(None) | None => Ok(None),
        }
    }

    fn settled(&self, event: &OpenedEvent) -> Writes {
        let erased = match &event.event {
            AnyEvent::User(UserEvent::Erased {}) => Uuid::parse_str(&event.record.aggregate_id).ok(),
            _ => None,
        };
        erased.map(RowWrite::forget_farewell).into_iter().collect()
    }
}

/// That no person wrote the mail.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// What a mail is for, for those who sort them by program.
#[derive(Clone)]
struct PurposeHeader(String);

impl Header for PurposeHeader {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("X-Purpose")
    }

    fn parse(text: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self(text.to_owned()))
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), self.0.clone())
    }
}

fn part(kind: ContentType, text: &str) -> SinglePart {
    SinglePart::builder().header(kind).body(body(text))
}

/// A text as a body. Lines are as long as a link is: quoted-printable would break the link up, and whoever reads
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
