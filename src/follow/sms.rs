//! The SMS follower: codes that were asked for, sent as short messages.
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
use super::letters::ShortMessage;
use super::outbox::erases;
use super::templates::Templates;
use super::{FollowError, Follower, Outbox, Start, Writes, past, trouble};
use crate::keys::Enclosed;
use crate::registry::{CodePurpose, SimDelay};
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

/// Whether the owner of a number is told by SMS that a new password was set: where accounts have no address.
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
        }
    }

    /// Sends the message an event asks for. None: there is nothing to send any more.
    async fn send(&self, event: &OpenedEvent) -> Result<Option<Fate>, FollowError> {
        if tells_of_reset(event) {
            return self.send_notice(event).await;
        }
        let Some(request) = Request::of(event) else {
            return Ok(None);
        };
        // An erased number leaves nobody to send it to.
        let Some(phone) = request.phone else {
            return Ok(None);
        };
        if request.expires_at <= self.store.now() {
            counter!("registry_sms_lapsed_total").increment(1);
            return Ok(None);
        }
        let Some(sealed) = self.store.sealed_code(request.id).await.map_err(trouble)? else {
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

    /// Tells the number an account had that a new password was set.
    async fn send_notice(&self, event: &OpenedEvent) -> Result<Option<Fate>, FollowError> {
        let user = Uuid::parse_str(&event.record.aggregate_id)
            .map_err(|_| FollowError::Never("the stream of a user has no user id".into()))?;
        let state = past::account_at(&self.store, user, event.record.position).await?;
        match state.phone() {
            Some(phone) => self.carry(event, phone, &ShortMessage::PasswordReset).await.map(Some),
            None => Ok(None),
        }
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
                    self.sim_delay.note(&self.store, phone, at).await.map_err(trouble)?;
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
        Request::of(event).is_some() || tells_of_reset(event) || erases(event)
    }

    async fn handle(&self, event: &OpenedEvent) -> Result<Writes, FollowError> {
        if let Sms::Outbox(outbox) = &self.sms
            && erases(event)
        {
            outbox.forget(&self.store, event).await?;
        }
        let mut round = Round::new(&SMS, self.attempts, &self.store, event.record.position);
        match self.send(event).await {
            Ok(None) => {}
            Ok(Some(fate)) => round.note(0, Ok(fate))?,
            Err(problem) => round.note(0, Err(problem))?,
        }
        let settled = if round.gave_up() {
            self.given_up(event)
        } else {
            self.settled(event)
        };
        Ok(round.writes(settled))
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
        self.send(event).await
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
