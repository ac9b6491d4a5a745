//! The SMS follower: codes that were asked for, sent as short messages.
//!
//! The code lies sealed beside its request and is wiped in the transaction that says it was sent. What was used,
//! replaced or came too late is not sent any more.

use aggregates::user::UserEvent;
use aggregates::values::{Phone, Timestamp};
use metrics::counter;
use serde::Serialize;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::letters::ShortMessage;
use super::{FollowError, Follower, Outbox, Start, Writes, trouble};
use crate::keys::Enclosed;
use crate::registry::CodePurpose;
use crate::store::{AnyEvent, OpenedEvent, RowWrite, Store};

/// What carries short messages away.
#[derive(Debug, Clone)]
pub enum SmsTransport {
    /// A folder, for those who start without a gateway.
    Outbox(Outbox),
}

/// A short message as it leaves.
#[derive(Serialize)]
struct Sms<'a> {
    to: &'a str,
    text: &'a str,
    at: Timestamp,
    purpose: &'static str,
}

impl SmsTransport {
    /// Sends one message. `position` names it: the same message twice has the same.
    fn send(&self, position: i64, sms: &Sms<'_>) -> Result<(), FollowError> {
        match self {
            Self::Outbox(outbox) => {
                let json = serde_json::to_vec(sms)
                    .map(Zeroizing::new)
                    .map_err(|problem| FollowError::Never(format!("an SMS cannot be written: {problem}")))?;
                outbox
                    .put(&format!("{position:020}.json"), &json)
                    .map_err(|problem| FollowError::Later(format!("the outbox cannot be written: {problem}")))
            }
        }
    }
}

/// Sends what the log asks to be sent by SMS.
pub struct SmsFollower {
    store: Store,
    transport: SmsTransport,
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

impl SmsFollower {
    /// A follower that sends the codes of a store.
    #[must_use]
    pub const fn new(store: Store, transport: SmsTransport) -> Self {
        Self { store, transport }
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
        Request::of(event).is_some()
    }

    async fn handle(&self, event: &OpenedEvent) -> Result<Writes, FollowError> {
        let Some(request) = Request::of(event) else {
            return Ok(Writes::new());
        };
        // An erased number leaves nobody to send it to.
        let Some(phone) = request.phone else {
            return Ok(Writes::new());
        };
        if request.expires_at <= self.store.now() {
            counter!("registry_sms_lapsed_total").increment(1);
            return Ok(vec![RowWrite::wipe_code(request.id)]);
        }
        let Some(sealed) = self.store.sealed_code(request.id).await.map_err(trouble)? else {
            return Ok(Writes::new());
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
        let text = Zeroizing::new(message.words());
        let sms = Sms {
            to: phone.msisdn(),
            text: &text,
            at: event.record.recorded_at,
            purpose: message.purpose(),
        };
        self.transport.send(event.record.position, &sms)?;
        counter!("registry_sms_sent_total").increment(1);
        Ok(vec![RowWrite::wipe_code(request.id)])
    }
}
