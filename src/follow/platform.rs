//! How mails differ that were asked for through the Cadasta dialect: the form of their links, and the subjects its
//! users know.

use aggregates::user::UserEvent;
use aggregates::values::{Dialect, Email};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use super::letters::{Letter, Notice};
use crate::keys::Keyring;
use crate::registry::{LinkToken, Purpose};
use crate::store::OpenedEvent;

/// The id in a link: the text of the user's id, in letters that fit an address.
fn uid(user: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(user.to_string())
}

/// The link an event asks for, in this form. None: it was asked for elsewhere.
fn link(keyring: &Keyring, base: &str, event: &UserEvent, user: Uuid) -> Option<String> {
    let token = |purpose, email: &Email, original| LinkToken::make(keyring, purpose, user, email, original);
    let base = base.trim_end_matches('/');
    match event {
        UserEvent::EmailVerificationRequested {
            email,
            original,
            dialect: Dialect::Cadasta,
            ..
        } => {
            let token = token(Purpose::VerifyEmail, email.known()?, *original);
            Some(format!("{base}/account/activate/{}/{token}/", uid(user)))
        }
        UserEvent::EmailChangeRequested {
            email,
            original,
            dialect: Dialect::Cadasta,
            ..
        } => {
            let token = token(Purpose::ChangeEmail, email.known()?, *original);
            Some(format!("{base}/account/activate/{}/{token}/", uid(user)))
        }
        UserEvent::PasswordResetRequested {
            email,
            original,
            dialect: Dialect::Cadasta,
            ..
        } => {
            let token = token(Purpose::ResetPassword, email.known()?, *original);
            Some(format!("{base}/account/password/reset/confirm/{}/{token}", uid(user)))
        }
        _ => None,
    }
}

/// A letter with its link in the form of the dialect that asked for it.
pub(super) fn linked(letter: Letter, keyring: &Keyring, base: &str, event: &UserEvent, user: Uuid) -> Letter {
    let Some(theirs) = link(keyring, base, event, user) else {
        return letter;
    };
    let mut letter = letter;
    if let Letter::VerifyEmail { link, .. } | Letter::ChangeEmail { link, .. } | Letter::ResetPassword { link, .. } =
        &mut letter
    {
        *link = theirs;
    }
    letter
}

/// The subject its users know, for a notice of something that was done through it.
pub(super) fn subject(letter: &Letter, event: &OpenedEvent) -> Option<&'static str> {
    let theirs = event.metadata.get("dialect").map(String::as_str) == Some(Dialect::Cadasta.as_str());
    match letter {
        Letter::Notice {
            what: Notice::EmailChangeAsked,
            ..
        } if theirs => Some("Change of email at Cadasta Platform"),
        Letter::Notice {
            what: Notice::PasswordChanged,
            ..
        } if theirs => Some("Change of password at Cadasta Platform"),
        _ => None,
    }
}
