//! The name to sign in with.

use std::fmt;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;
use unicode_security::{MixedScript as _, skeleton};

use super::text::is_unfit;

/// Names nobody may take, in any case and in any look-alike spelling.
///
/// The first row are words of the dialects' own paths (Cadasta, section 9). The second are mailboxes
/// and voices people take for the service itself. The list is short on purpose: operators name their
/// administrator `admin` or `root`, so those two are free.
const RESERVED: &[&str] = &[
    "add",
    "new",
    "verify",
    "forget_password",
    "recover_password",
    "resend_verify",
    "check_sms_token",
    "change_password",
    "change_password_by_sms",
    "me",
    "abuse",
    "postmaster",
    "security",
    "support",
    "system",
];

/// Why a name cannot be taken. The name itself is never repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UsernameError {
    /// It is empty.
    #[error("a username must not be empty")]
    Empty,
    /// It is too long.
    #[error("a username has at most 30 characters")]
    TooLong,
    /// It holds a character that names here do not have.
    #[error("a username holds only letters, digits and the characters . + - _")]
    Character,
    /// It is kept for the service.
    #[error("this username is reserved")]
    Reserved,
    /// It mixes letters of different scripts so that it can pass for another name.
    #[error("a username must not mix letters of different scripts")]
    MixedScripts,
}

/// A name to sign in with: as typed, and the form that must be unique.
///
/// Case does not tell names apart, nor do characters that look the same: `paypa1` and `PayPal`, or a
/// Latin and a Cyrillic `ada`, are one name. So nobody can register a name that passes for another.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Username {
    text: String,
    canonical: String,
}

impl Username {
    /// The rule of the canonical API: 1 to 30 of `A-Z a-z 0-9 . + - _`.
    pub fn parse(text: &str) -> Result<Self, UsernameError> {
        if text
            .chars()
            .any(|c| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '+' | '-' | '_'))
        {
            return Err(UsernameError::Character);
        }
        Self::parse_dialect(text)
    }

    /// The rule of dialects whose contract allows more: also `@`, and letters and digits of any one
    /// script.
    pub fn parse_dialect(text: &str) -> Result<Self, UsernameError> {
        let text: String = text.nfc().collect();
        if text.is_empty() {
            return Err(UsernameError::Empty);
        }
        if text.chars().count() > 30 {
            return Err(UsernameError::TooLong);
        }
        if text
            .chars()
            .any(|c| is_unfit(c) || (!c.is_alphanumeric() && !matches!(c, '@' | '.' | '+' | '-' | '_')))
        {
            return Err(UsernameError::Character);
        }
        if !text.is_ascii() && !text.as_str().is_single_script() {
            return Err(UsernameError::MixedScripts);
        }
        let canonical = canonical(&text);
        if RESERVED.iter().any(|word| canonical == self::canonical(word)) {
            return Err(UsernameError::Reserved);
        }
        Ok(Self { text, canonical })
    }

    /// The name as typed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The form that is unique.
    #[must_use]
    pub fn canonical(&self) -> &str {
        &self.canonical
    }
}

/// Compatibility characters unified, letters lower-cased, look-alikes brought to one prototype
/// (the skeleton of Unicode's technical standard 39). Repeated until nothing changes: a prototype may
/// be a capital letter.
fn canonical(text: &str) -> String {
    if text.is_ascii() {
        ascii_canonical(text)
    } else {
        unicode_canonical(text)
    }
}

/// The same for what nearly all names are made of, without the large tables: a name is folded each
/// time an event is read.
fn ascii_canonical(text: &str) -> String {
    let mut form = String::with_capacity(text.len());
    for c in text.chars() {
        match c.to_ascii_lowercase() {
            '0' => form.push('o'),
            '1' => form.push('l'),
            'm' => form.push_str("rn"),
            c => form.push(c),
        }
    }
    form
}

fn unicode_canonical(text: &str) -> String {
    let mut form = text.to_owned();
    for _ in 0..8 {
        let folded: String = form.nfkc().flat_map(char::to_lowercase).nfkc().collect();
        let next: String = skeleton(&folded).flat_map(char::to_lowercase).collect();
        if next == form {
            break;
        }
        form = next;
    }
    form
}

/// Equal names are those written the same; names that clash share `canonical`.
impl PartialEq for Username {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Username {}

impl std::hash::Hash for Username {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Debug for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Username(..)")
    }
}

/// What an event holds was taken once and is read back without asking today's rule: a word reserved
/// later must not make an old event unreadable.
impl TryFrom<String> for Username {
    type Error = UsernameError;

    fn try_from(text: String) -> Result<Self, UsernameError> {
        if text.is_empty() {
            return Err(UsernameError::Empty);
        }
        let canonical = canonical(&text);
        Ok(Self { text, canonical })
    }
}

impl From<Username> for String {
    fn from(username: Username) -> Self {
        username.text
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> String {
        Username::parse_dialect(text).unwrap().canonical().to_owned()
    }

    #[test]
    fn a_username_keeps_its_spelling_and_ignores_its_case() {
        let name = Username::parse("Tim.1990_x+y-z").unwrap();
        assert_eq!(name.as_str(), "Tim.1990_x+y-z");
        assert_eq!(name.canonical(), key("tIM.1990_X+Y-Z"));
    }

    #[test]
    fn look_alikes_are_one_name() {
        assert_eq!(key("paypa1"), key("PayPal"));
        assert_eq!(key("r0se"), key("rose"));
        assert_eq!(key("\u{430}\u{435}\u{43e}"), key("aeo"));
        assert_eq!(key("\u{ff41}da"), key("ada"));
    }

    #[test]
    fn every_ascii_character_is_folded_as_the_tables_say() {
        for c in ('!'..='~').filter(|c| c.is_ascii_alphanumeric() || ".+-_@".contains(*c)) {
            assert_eq!(
                ascii_canonical(&c.to_string()),
                unicode_canonical(&c.to_string()),
                "{c}"
            );
        }
    }

    #[test]
    fn numbers_at_the_end_tell_names_apart() {
        let keys: std::collections::BTreeSet<_> = (0..2000).map(|n| key(&format!("user{n}"))).collect();
        assert_eq!(keys.len(), 2000);
    }

    #[test]
    fn the_canonical_api_takes_ascii_only() {
        for text in ["a@b", "j\u{f6}rg", "a b", "a/b", "a\0", "<b>", "a\u{202e}b"] {
            assert_eq!(Username::parse(text), Err(UsernameError::Character), "{text:?}");
        }
        assert_eq!(Username::parse(""), Err(UsernameError::Empty));
        assert_eq!(Username::parse(&"a".repeat(31)), Err(UsernameError::TooLong));
        assert!(Username::parse(&"a".repeat(30)).is_ok());
    }

    #[test]
    fn a_dialect_takes_letters_of_one_script_and_the_at_sign() {
        for text in [
            "ada@farm.example",
            "j\u{f6}rg",
            "\u{416}\u{435}\u{43d}\u{44f}71",
            "山田たろう",
        ] {
            assert!(Username::parse_dialect(text).is_ok(), "{text}");
        }
        for text in ["a b", "a\u{1f600}", "a\u{200d}b", "<b>"] {
            assert_eq!(Username::parse_dialect(text), Err(UsernameError::Character), "{text:?}");
        }
    }

    #[test]
    fn letters_of_two_scripts_are_no_name() {
        assert_eq!(
            Username::parse_dialect("p\u{430}ypal"),
            Err(UsernameError::MixedScripts)
        );
    }

    #[test]
    fn reserved_names_are_refused_in_any_spelling() {
        for text in [
            "me",
            "ADD",
            "New",
            "Verify",
            "change_password_by_sms",
            "supp0rt",
            "system",
        ] {
            assert_eq!(Username::parse(text), Err(UsernameError::Reserved), "{text}");
        }
        for text in ["admin", "root", "boss", "mean", "newton"] {
            assert!(Username::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_stored_name_is_read_back_even_if_it_is_reserved_today() {
        assert_eq!(
            serde_json::from_str::<Username>("\"support\"").unwrap().as_str(),
            "support"
        );
    }

    #[test]
    fn debug_does_not_print_the_name() {
        assert_eq!(format!("{:?}", Username::parse("tim1990").unwrap()), "Username(..)");
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_its_own_canonical_form(text in "[\\PC]{1,20}") {
            let once = canonical(&text);
            prop_assert_eq!(canonical(&once), once);
        }

        #[test]
        fn the_short_way_for_ascii_names_agrees_with_the_tables(text in "[a-zA-Z0-9.+_@-]{1,30}") {
            prop_assert_eq!(ascii_canonical(&text), unicode_canonical(&text));
        }

        #[test]
        fn a_name_reads_back_as_itself(text in "[a-zA-Z0-9.+_-]{1,30}") {
            if let Ok(name) = Username::parse(&text) {
                let back = Username::try_from(String::from(name.clone())).unwrap();
                prop_assert_eq!(back.canonical(), name.canonical());
                prop_assert_eq!(back, name);
            }
        }
    }
}
