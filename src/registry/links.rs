//! The tokens in links: derived from the event that asked for them, stored nowhere.
//!
//! A token is base64url of the request's event id (16 bytes) and an HMAC over purpose, user, address and that id (32
//! bytes). Whoever has the log can make the mail again after a crash; whoever has a dump of the database cannot.

use aggregates::values::Email;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use crate::keys::Keyring;

/// What a link is for. A link for one purpose opens nothing of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Verify the address of the account.
    VerifyEmail,
    /// Confirm a new address.
    ChangeEmail,
    /// Set a new password.
    ResetPassword,
}

impl Purpose {
    const fn as_str(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify-email",
            Self::ChangeEmail => "change-email",
            Self::ResetPassword => "reset-password",
        }
    }
}

/// A token as it came in, well-formed but not yet believed.
#[derive(Clone)]
pub struct LinkToken {
    /// The event it says it derives from.
    pub request: Uuid,
    mac: [u8; 32],
}

impl std::fmt::Debug for LinkToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LinkToken({})", self.request)
    }
}

impl LinkToken {
    /// The token of a request.
    #[must_use]
    pub fn make(keyring: &Keyring, purpose: Purpose, user: Uuid, address: &Email, request: Uuid) -> String {
        let mac = keyring.link(purpose.as_str(), user, address.canonical(), request);
        URL_SAFE_NO_PAD.encode([request.as_bytes().as_slice(), &mac].concat())
    }

    /// Reads a token. None: it cannot be one of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (request, mac) = bytes.split_at_checked(16)?;
        Some(Self {
            request: Uuid::from_slice(request).ok()?,
            mac: mac.try_into().ok()?,
        })
    }

    /// Whether it was made here for this purpose, user and address. Takes the same time whatever the answer.
    #[must_use]
    pub fn is_for(&self, keyring: &Keyring, purpose: Purpose, user: Uuid, address: &Email) -> bool {
        let expected = keyring.link(purpose.as_str(), user, address.canonical(), self.request);
        bool::from(expected.ct_eq(&self.mac))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

    use aggregates::values::Timestamp;

    use super::*;
    use crate::chance::Chance;
    use crate::keys::MasterKey;

    #[test]
    fn a_link_is_for_one_purpose_one_user_and_one_address() {
        let master = MasterKey::new([3; 32]);
        let rows = Keyring::draw(&master, &Chance::system(), Timestamp::from_micros(0)).unwrap();
        let keyring = Keyring::open(&[master], &rows).unwrap();
        let ada = Email::parse("ada@farm.example").unwrap();
        let (user, request) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let text = LinkToken::make(&keyring, Purpose::VerifyEmail, user, &ada, request);
        let token = LinkToken::parse(&text).unwrap();
        assert!(token.is_for(&keyring, Purpose::VerifyEmail, user, &ada));
        assert!(!token.is_for(&keyring, Purpose::ResetPassword, user, &ada));
        assert!(!token.is_for(&keyring, Purpose::VerifyEmail, Uuid::from_u128(9), &ada));
        assert!(!token.is_for(
            &keyring,
            Purpose::VerifyEmail,
            user,
            &Email::parse("eve@farm.example").unwrap()
        ));
    }

    #[test]
    fn what_is_no_token_is_not_read() {
        for text in ["", "null", "[]", "AAAA", &"A".repeat(63), &"A".repeat(65), "ä"] {
            assert!(LinkToken::parse(text).is_none(), "{text}");
        }
    }
}
