//! What this dialect sends, and how it makes what is sent to it valid.

use aggregates::values::{Email, Username};
use projections::UserRow;
use serde::Serialize;
use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization as _;

/// Longest username.
const USERNAME: usize = 30;

/// A customer. The address is sent under both names that its document uses.
#[derive(Serialize)]
pub(super) struct CustomerBody<'a> {
    id: i64,
    username: &'a str,
    email: &'a str,
    email_address: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_token: Option<&'a str>,
    account_type: &'static str,
}

impl<'a> CustomerBody<'a> {
    /// The account as it is stored, and the token if it was made just now.
    pub fn new(row: &'a UserRow, api_token: Option<&'a str>) -> Self {
        let email = row.email.as_deref().unwrap_or_default();
        Self {
            // Where the account begins in the log: never used twice, and never changes.
            id: row.created_position,
            username: row.username.as_deref().unwrap_or_default(),
            email,
            email_address: email,
            api_token,
            account_type: "customer",
        }
    }
}

/// A text that is there and not empty; every other kind of value counts as missing.
pub(super) fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    members.get(name)?.as_str().filter(|text| !text.trim().is_empty())
}

/// Its document lets the server make names valid: "they may be changed by the server to make them valid".
pub(super) fn username(text: &str) -> Option<Username> {
    let composed: String = text.nfc().collect();
    let joined = composed.split_whitespace().collect::<Vec<_>>().join("_");
    let kept: String = joined
        .chars()
        .filter(|c| c.is_alphanumeric() || "._-@+".contains(*c))
        .take(USERNAME)
        .collect();
    Username::parse_dialect(&kept).ok()
}

/// The address, its domain in small letters.
pub(super) fn email(text: &str) -> Option<Email> {
    let composed: String = text.trim().nfc().collect();
    Email::parse(&composed).ok()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_username_is_made_valid() {
        let of = |text: &str| username(text).map(|name| name.as_str().to_owned());
        assert_eq!(of("  tim  smith ").as_deref(), Some("tim_smith"));
        assert_eq!(of("tim!#1990").as_deref(), Some("tim1990"));
        assert_eq!(of(&"a".repeat(40)).unwrap().len(), 30);
        assert_eq!(of("jo\u{308}rg").as_deref(), Some("j\u{f6}rg"));
        for text in ["", "  ", "!!!"] {
            assert_eq!(of(text), None);
        }
    }

    #[test]
    fn an_address_keeps_its_local_part() {
        let of = |text: &str| email(text).map(|email| email.as_str().to_owned());
        assert_eq!(of(" Tim.Smith@AOL.com ").as_deref(), Some("Tim.Smith@aol.com"));
        for text in ["tim", "@aol.com", "tim@", "tim smith@aol.com", "tim@aol"] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
