//! A phone number.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a text is no number. The text itself is never repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PhoneError {
    /// It is not written as a number.
    #[error("a phone number is written as + and 7 to 15 digits, country code first")]
    Form,
    /// No country gives out such a number.
    #[error("no country has such a phone number")]
    Invalid,
}

/// A number: the canonical form that is unique and that messages go to, and the form it was registered
/// in, which Xhoppe shows again.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Phone {
    msisdn: String,
    registered: Option<String>,
}

/// How a number stands in an event.
#[derive(Serialize, Deserialize)]
struct Stored {
    msisdn: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    registered: Option<String>,
}

impl Phone {
    /// Reads a number in E.164 form and asks the numbering plan of its country whether it can exist.
    pub fn parse_e164(text: &str) -> Result<Self, PhoneError> {
        let text = text.trim_matches(' ');
        // The shape first: the numbering plans are large and are loaded at the first real number.
        let shaped = text
            .strip_prefix('+')
            .is_some_and(|digits| (7..=15).contains(&digits.len()) && !digits.starts_with('0') && all_digits(digits));
        if !shaped {
            return Err(PhoneError::Form);
        }
        let number = phonenumber::parse(None, text).map_err(|_| PhoneError::Invalid)?;
        if !phonenumber::is_valid(&number) {
            return Err(PhoneError::Invalid);
        }
        Ok(Self {
            msisdn: text.to_owned(),
            registered: None,
        })
    }

    /// A number of a dialect with its own idea of numbers: `canonical` is 6 to 16 digits with an
    /// optional `+`, `registered` is the number as its owner wrote it.
    pub fn with_registered(canonical: &str, registered: &str) -> Result<Self, PhoneError> {
        let digits = canonical.strip_prefix('+').unwrap_or(canonical);
        if !(6..=16).contains(&digits.len()) || !all_digits(digits) {
            return Err(PhoneError::Form);
        }
        let written = |c: char| c.is_ascii_digit() || matches!(c, '+' | ' ' | '-' | '(' | ')' | '.' | '/');
        if registered.is_empty() || registered.len() > 32 || !registered.chars().all(written) {
            return Err(PhoneError::Form);
        }
        let registered = (registered != canonical).then(|| registered.to_owned());
        Ok(Self {
            msisdn: canonical.to_owned(),
            registered,
        })
    }

    /// The canonical form: E.164, or from Xhoppe digits.
    #[must_use]
    pub fn msisdn(&self) -> &str {
        &self.msisdn
    }

    /// The number as it was registered.
    #[must_use]
    pub fn registered(&self) -> &str {
        self.registered.as_deref().unwrap_or(&self.msisdn)
    }
}

fn all_digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

/// A stored number is not asked again whether it can exist: numbering plans change, events do not.
impl TryFrom<Stored> for Phone {
    type Error = PhoneError;

    fn try_from(stored: Stored) -> Result<Self, PhoneError> {
        let registered = stored.registered.as_deref().unwrap_or(&stored.msisdn);
        Self::with_registered(&stored.msisdn, registered)
    }
}

impl From<Phone> for Stored {
    fn from(phone: Phone) -> Self {
        Self {
            msisdn: phone.msisdn,
            registered: phone.registered,
        }
    }
}

impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Phone(..)")
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_of_a_country_is_taken() {
        for text in ["+6584932466", " +491771234567 ", "+12025550123", "+8613812345678"] {
            let phone = Phone::parse_e164(text).unwrap();
            assert_eq!(phone.msisdn(), text.trim());
            assert_eq!(phone.registered(), text.trim());
        }
    }

    #[test]
    fn a_text_that_is_not_e164_is_no_number() {
        for text in [
            "",
            "+",
            "84932466",
            "0084932466",
            "+65 8493 2466",
            "+65-84932466",
            "+0584932466",
            "+１２３４５６７８",
            "+1234567890123456",
        ] {
            assert_eq!(Phone::parse_e164(text), Err(PhoneError::Form), "{text}");
        }
    }

    #[test]
    fn a_number_no_country_has_is_refused() {
        for text in ["+6500000000", "+9990000000", "+65849324661"] {
            assert_eq!(Phone::parse_e164(text), Err(PhoneError::Invalid), "{text}");
        }
    }

    #[test]
    fn a_dialect_keeps_the_number_as_registered() {
        let phone = Phone::with_registered("+6584932466", "8493 2466").unwrap();
        assert_eq!((phone.msisdn(), phone.registered()), ("+6584932466", "8493 2466"));
        assert!(Phone::with_registered("84932466", "84932466").is_ok());
        for (canonical, registered) in [
            ("12345", "12345"),
            ("84932466", ""),
            ("84932466", "<b>"),
            ("8493x466", "1"),
        ] {
            assert_eq!(Phone::with_registered(canonical, registered), Err(PhoneError::Form));
        }
    }

    #[test]
    fn a_stored_number_is_read_back_without_asking_the_numbering_plan() {
        let phone: Phone = serde_json::from_str(r#"{"msisdn":"+9990000000"}"#).unwrap();
        assert_eq!(phone.msisdn(), "+9990000000");
        assert_eq!(serde_json::to_string(&phone).unwrap(), r#"{"msisdn":"+9990000000"}"#);
    }

    #[test]
    fn debug_does_not_print_the_number() {
        assert_eq!(format!("{:?}", Phone::parse_e164("+6584932466").unwrap()), "Phone(..)");
    }

    proptest! {
        #[test]
        fn a_number_reads_back_as_itself(canonical in "\\+?[0-9]{6,15}", registered in "[0-9 ()-]{1,20}") {
            let phone = Phone::with_registered(&canonical, &registered).unwrap();
            let json = serde_json::to_string(&phone).unwrap();
            prop_assert_eq!(serde_json::from_str::<Phone>(&json).unwrap(), phone);
        }

        #[test]
        fn no_text_upsets_the_numbering_plans(text in "\\+[1-9][0-9]{6,14}") {
            if let Ok(phone) = Phone::parse_e164(&text) {
                prop_assert_eq!(Phone::parse_e164(phone.msisdn()).unwrap(), phone);
            }
        }
    }
}
