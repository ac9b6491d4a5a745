//! What the owner of an account is told of, and which way (SECURITY-REQUIREMENTS, section 5): by mail to a verified
//! address, otherwise by SMS to a verified number. An address that nobody has verified is better than nobody.
//!
//! Mails and short messages ask here, so that of one event nobody is told twice and nobody falls between the two.

use aggregates::session::SessionEvent;
use aggregates::user::{User, UserEvent};
use aggregates::values::{Email, Phone};
use uuid::Uuid;

use super::letters::Notice;
use super::{FollowError, asked, devices, past};
use crate::store::{AnyEvent, OpenedEvent, Store};

/// The way to the owner of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    /// A mail to this address.
    Mail(Email),
    /// A short message to this number.
    Sms(Phone),
}

impl Owner {
    /// The way to an account as it was before something happened: whoever took it over with that must not be the one
    /// who is told.
    fn of(before: &User, event: &OpenedEvent) -> Option<Self> {
        let reset = matches!(event.event, AnyEvent::User(UserEvent::PasswordReset { .. }));
        // Whoever reset the password by a code has proved the number with it.
        let by_code = reset && before.open_reset().is_some_and(|open| open.phone.is_some());
        let address = before.email().cloned().map(Self::Mail);
        let number = before.phone().cloned().map(Self::Sms);
        match (address, number) {
            (Some(address), _) if before.email_verified() => Some(address),
            (_, Some(number)) if before.phone_verified() || by_code => Some(number),
            (address, _) => address,
        }
    }
}

/// Whether an event may be one that an owner is told of.
pub(super) const fn may_tell(event: &OpenedEvent) -> bool {
    match &event.event {
        AnyEvent::User(event) => of_account(event).is_some(),
        AnyEvent::Session(event) => {
            matches!(event, SessionEvent::Started { .. } | SessionEvent::ReuseDetected { .. })
        }
        AnyEvent::Domain(_) | AnyEvent::Audit(_) => false,
    }
}

/// What an owner is told of a change of their account. That it was erased is told another way: nothing here knows any
/// more where to.
const fn of_account(event: &UserEvent) -> Option<Notice> {
    match event {
        UserEvent::EmailChangeRequested { .. } | UserEvent::EmailAdded { .. } => Some(Notice::EmailChangeAsked),
        UserEvent::EmailChanged { .. } => Some(Notice::EmailChanged),
        UserEvent::PhoneChanged { .. } => Some(Notice::PhoneChanged),
        UserEvent::PasswordChanged { .. } => Some(Notice::PasswordChanged),
        UserEvent::PasswordReset { .. } => Some(Notice::PasswordReset),
        UserEvent::Locked { reason, .. } => Some(Notice::Locked(*reason)),
        _ => None,
    }
}

/// What the owner is told of an event by mail, and where.
pub(super) async fn by_mail(store: &Store, event: &OpenedEvent) -> Result<Option<(Email, Vec<Notice>)>, FollowError> {
    let Some(user) = account_of(event)? else {
        return Ok(None);
    };
    // Most sign-ins are nothing to write about, whoever it would be to.
    let notices = notices(store, event, user).await?;
    if notices.is_empty() {
        return Ok(None);
    }
    Ok(match owner(store, event, user).await? {
        Some(Owner::Mail(to)) => Some((to, notices)),
        Some(Owner::Sms(_)) | None => None,
    })
}

/// What the owner is told of an event by SMS, and where: of several things the gravest, in one message.
pub(super) async fn by_sms(store: &Store, event: &OpenedEvent) -> Result<Option<(Phone, Notice)>, FollowError> {
    let Some(user) = account_of(event)? else {
        return Ok(None);
    };
    // Most accounts have an address: what their sign-ins are like is not looked at twice.
    let Some(Owner::Sms(to)) = owner(store, event, user).await? else {
        return Ok(None);
    };
    Ok(notices(store, event, user).await?.pop().map(|gravest| (to, gravest)))
}

/// Whose account an event is about. None: no owner is told of it.
fn account_of(event: &OpenedEvent) -> Result<Option<Uuid>, FollowError> {
    if !may_tell(event) {
        return Ok(None);
    }
    Uuid::parse_str(&event.record.subject)
        .map(Some)
        .map_err(|_| FollowError::Never("what is to be told is about nobody".into()))
}

async fn owner(store: &Store, event: &OpenedEvent, user: Uuid) -> Result<Option<Owner>, FollowError> {
    let before = past::account_at(store, user, event.record.position - 1).await?;
    Ok(Owner::of(&before, event))
}

async fn notices(store: &Store, event: &OpenedEvent, user: Uuid) -> Result<Vec<Notice>, FollowError> {
    Ok(match &event.event {
        AnyEvent::User(event) => of_account(event).into_iter().collect(),
        AnyEvent::Session(SessionEvent::Started { .. }) => sign_in(store, event, user).await?,
        AnyEvent::Session(SessionEvent::ReuseDetected { .. }) => vec![Notice::TokenReused],
        AnyEvent::Session(_) | AnyEvent::Domain(_) | AnyEvent::Audit(_) => Vec::new(),
    })
}

/// What is to be told of a sign-in, the gravest last.
async fn sign_in(store: &Store, event: &OpenedEvent, user: Uuid) -> Result<Vec<Notice>, FollowError> {
    let before = asked(store.sign_ins_before(user, event.record.position, devices::LOOKED_AT)).await?;
    if before.is_empty() {
        return Ok(Vec::new());
    }
    let before = asked(store.open_events(before)).await?;
    Ok(devices::notices(event, &before))
}
