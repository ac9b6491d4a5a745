//! The SMS follower: codes that were asked for, and what the owner of an account hears of who has no verified address,
//! sent as short messages.
//!
//! The code lies sealed beside its request and is wiped in the transaction that says it was sent or given up. What was
//! used, replaced or came too late is not sent any more.

use std::time::Duration;

use aggregates::user::UserEvent;
use aggregates::values::{Dialect, Phone, Timestamp};
use metrics::counter;
use serde::Serialize;
use tracing::warn;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::delivery::{Attempts, Channel, Fate, Messenger, Problem, Round, SMS};
use super::gateway::{Gateway, OfSim};
use super::letters::{Notice, ShortMessage};
use super::outbox::erases;
use super::templates::Templates;
use super::{FollowError, Follower, Outbox, Start, Writes, asked, notices, past};
use crate::keys::Enclosed;
use crate::registry::{CodePurpose, NoticeRules, SimDelay};
use crate::store::{AnyEvent, OpenedEvent, RowWrite, Store};

/// What carries short messages away.
#[derive(Debug, Clone)]
pub enum Sms {
    /// A gateway over HTTP.
    Gateway(Gateway),
    /// A folder, for those who start without a gateway.
    Outbox(Outbox),
}

/// A short message as it leaves, to a gateway and into a file alike.
#[derive(Serialize)]
struct Message<'a> {
    to: &'a str,
    text: &'a str,
    at: Timestamp,
    purpose: &'static str,
}

/// Sends what the log asks to be sent by SMS.
#[derive(Clone)]
pub struct SmsFollower {
    store: Store,
    sms: Sms,
    templates: Templates,
    attempts: Attempts,
    sim_delay: SimDelay,
    notices: NoticeRules,
}

/// How short messages are made and tried.
#[derive(Debug, Clone)]
pub struct SmsOptions {
    /// What they say.
    pub templates: Templates,
    /// How long the gateway may take for an answer.
    pub answer: Duration,
    /// The pause after the first attempt that failed.
    pub pause: Duration,
    /// After so many attempts a message is given up.
    pub most: u32,
    /// How long a change of the SIM matters that the gateway tells of.
    pub sim_delay: SimDelay,
    /// How many notices go out.
    pub notices: NoticeRules,
}

/// A request for a code.
struct Request<'a> {
    id: Uuid,
    phone: Option<&'a Phone>,
    purpose: CodePurpose,
    expires_at: Timestamp,
}

impl<'a> Request<'a> {
    fn of(event: &'a OpenedEvent) -> Option<Self> {
        match &event.event {
            AnyEvent::User(UserEvent::PhoneVerificationRequested {
                request,
                phone,
                expires_at,
                ..
            }) => Some(Self {
                id: *request,
                phone: phone.known(),
                purpose: CodePurpose::VerifyPhone,
                expires_at: *expires_at,
            }),
            AnyEvent::User(UserEvent::PasswordResetRequested {
                request,
                channel: aggregates::values::Channel::Sms,
                phone,
                expires_at,
                ..
            }) => Some(Self {
                id: *request,
                phone: phone.known(),
                purpose: CodePurpose::ResetPassword,
                expires_at: *expires_at,
            }),
            _ => None,
        }
    }
}

/// Whether whoever signs in with a number is told that a new password was set, whatever address they have: so the
/// contract of Xhoppe asks (section 5.1).
fn tells_of_reset(event: &OpenedEvent) -> bool {
    let by_number = event.metadata.get("dialect").map(String::as_str) == Some(Dialect::Xhoppe.as_str());
    by_number && matches!(event.event, AnyEvent::User(UserEvent::PasswordReset { .. }))
}

impl SmsFollower {
    /// A follower that sends the codes of a store.
    #[must_use]
    pub fn new(store: Store, sms: Sms, options: SmsOptions) -> Self {
        Self {
            store,
            sms,
            templates: options.templates,
            attempts: Attempts {
                pause: options.pause,
                most: options.most,
                within: options.answer * 3,
            },
            sim_delay: options.sim_delay,
            notices: options.notices,
        }
    }

    /// Sends the code an event asks for. None: there is nothing to send any more.
    async fn send_code(&self, event: &OpenedEvent, request: &Request<'_>) -> Result<Option<Fate>, FollowError> {
        // An erased number leaves nobody to send it to.
        let Some(phone) = request.phone else {
            return Ok(None);
        };
        if request.expires_at <= self.store.now() {
            counter!("registry_sms_lapsed_total").increment(1);
            return Ok(None);
        }
        let Some(sealed) = asked(self.store.sealed_code(request.id)).await? else {
            return Ok(None);
        };
        let code = self
            .store
            .keyring()
            .disclose(Enclosed::Code, request.id, &sealed)
            .map_err(|problem| FollowError::Never(problem.to_string()))?;
        let message = match request.purpose {
            CodePurpose::VerifyPhone => ShortMessage::VerifyPhone { code: &code },
            CodePurpose::ResetPassword => ShortMessage::ResetPassword { code: &code },
        };
        self.carry(event, phone, &message).await.map(Some)
    }

    /// What the owner of an account is told by SMS, and the number it had then.
    async fn notice(&self, event: &OpenedEvent) -> Result<Option<(Phone, Notice)>, FollowError> {
        if !tells_of_reset(event) {
            return notices::by_sms(&self.store, event).await;
        }
        let user = Uuid::parse_str(&event.record.aggregate_id)
            .map_err(|_| FollowError::Never("the stream of a user has no user id".into()))?;
        let state = past::account_at(&self.store, user, event.record.position).await?;
        Ok(state.phone().map(|phone| (phone.clone(), Notice::PasswordReset)))
    }

    /// Sends the notice of an event for the first time, if one more may go. None: there is none, or it may not.
    ///
    /// It is counted once it has gone or was put off: one that waits for its gateway is not counted again and again.
    /// That of a new password is not, as its code was.
    async fn tell(&self, event: &OpenedEvent) -> Result<Option<Fate>, FollowError> {
        let Some((phone, what)) = self.notice(event).await? else {
            return Ok(None);
        };
        let counted = what != Notice::PasswordReset;
        if counted && !asked(self.notices.may_go(&self.store, &phone)).await? {
            return Ok(None);
        }
        let fate = self.carry(event, &phone, &ShortMessage::Notice(what)).await?;
        if counted && let Err(problem) = self.notices.gone(&self.store, &phone).await {
            warn!(%problem, "a notice by SMS could not be counted");
        }
        Ok(Some(fate))
    }

    async fn carry(&self, event: &OpenedEvent, phone: &Phone, message: &ShortMessage<'_>) -> Result<Fate, FollowError> {
        let Some(text) = message.words(&self.templates).map(Zeroizing::new) else {
            return Ok(Fate::Refused(Problem::new("the message has no template")));
        };
        let message = Message {
            to: phone.msisdn(),
            text: &text,
            at: event.record.recorded_at,
            purpose: message.purpose(),
        };
        let json = serde_json::to_vec(&message)
            .map(Zeroizing::new)
            .map_err(|problem| FollowError::Never(format!("an SMS cannot be written: {problem}")))?;
        match &self.sms {
            Sms::Gateway(gateway) => {
                let hear = self.sim_delay.is_on();
                let carried = gateway.send(event.record.event_id, json.to_vec(), hear).await?;
                // Before anything says that the message has left: its code opens nothing until then.
                let now = self.store.now();
                let changed_at = match carried.sim {
                    OfSim::Nothing => None,
                    OfSim::ChangedAt(told) => Some(Timestamp::parse(&told).unwrap_or_else(|_| {
                        warn!("the SMS gateway's sim_changed_at cannot be read: it counts as now");
                        now
                    })),
                    OfSim::TooMuch => {
                        warn!("the SMS gateway's answer is longer than 16384 bytes: the SIM counts as changed now");
                        Some(now)
                    }
                };
                if let Some(at) = changed_at {
                    asked(self.sim_delay.note(&self.store, phone, at)).await?;
                }
                Ok(carried.fate)
            }
            // The position names it: the same message twice has the same.
            Sms::Outbox(outbox) => outbox
                .put(&format!("{:020}.json", event.record.position), &json)
                .map(|()| Fate::Sent)
                .map_err(|problem| FollowError::Later(format!("the outbox cannot be written: {problem}"))),
        }
    }
}

impl Follower for SmsFollower {
    fn name(&self) -> &'static str {
        "sms"
    }

    fn start(&self) -> Start {
        Start::Origin
    }

    fn concerns(&self, event: &OpenedEvent) -> bool {
        Request::of(event).is_some() || notices::may_tell(event) || erases(event)
    }

    /// Most sign-ins are nothing to tell of, and most owners have an address: they must not cost a checkpoint each.
    async fn attend(&self, event: &OpenedEvent) -> Result<Option<Writes>, FollowError> {
        if let Sms::Outbox(outbox) = &self.sms
            && erases(event)
        {
            outbox.forget(&self.store, event).await?;
        }
        let request = Request::of(event);
        let sent = match &request {
            Some(request) => self.send_code(event, request).await,
            None => self.tell(event).await,
        };
        if request.is_none() && matches!(sent, Ok(None)) {
            return Ok(None);
        }
        let mut round = Round::new(&SMS, self.attempts, &self.store, event.record.position);
        if let Some(fate) = sent.transpose() {
            round.note(0, fate)?;
        }
        let settled = if round.gave_up() {
            self.given_up(event)
        } else {
            self.settled(event)
        };
        Ok(Some(round.writes(settled)))
    }

    async fn handle(&self, event: &OpenedEvent) -> Result<Writes, FollowError> {
        Ok(self.attend(event).await?.unwrap_or_default())
    }
}

impl Messenger for SmsFollower {
    fn channel(&self) -> &'static Channel {
        &SMS
    }

    fn attempts(&self) -> Attempts {
        self.attempts
    }

    async fn send_again(&self, event: &OpenedEvent, _number: usize) -> Result<Option<Fate>, FollowError> {
        if let Some(request) = Request::of(event) {
            return self.send_code(event, &request).await;
        }
        match self.notice(event).await? {
            Some((phone, what)) => self.carry(event, &phone, &ShortMessage::Notice(what)).await.map(Some),
            None => Ok(None),
        }
    }

    fn settled(&self, event: &OpenedEvent) -> Writes {
        let request = Request::of(event).map(|request| RowWrite::wipe_code(request.id));
        request.into_iter().collect()
    }

    /// A gateway that was not heard to the end may have delivered the message and known of another SIM: where that
    /// matters, its code opens nothing.
    fn given_up(&self, event: &OpenedEvent) -> Writes {
        match Request::of(event) {
            Some(request) if self.sim_delay.is_on() && request.purpose == CodePurpose::ResetPassword => {
                vec![RowWrite::drop_code(request.id)]
            }
            _ => self.settled(event),
        }
    }
}
