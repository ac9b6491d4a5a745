//! Reading a body's fields, every mistake at once, and numbers in this dialect's idea of them.

use aggregates::values::Phone;
use axum::body::Body;
use axum::http::HeaderMap;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::error::{BLANK, Errors, INVALID, Refused};
use crate::http::App;
use crate::http::body::Limits;
use crate::http::body::any::{Encodings, read_any};
use crate::passwords::{MOST_CHARACTERS, Password, PasswordError};

const ENCODINGS: Encodings = Encodings {
    form: true,
    parts: false,
    lenient_json: false,
};

/// Names of the code's field over the years; the first one is the document's own.
const CODE_NAMES: [&str; 3] = ["code", "sms_confirmation_token", "verification_code"];

/// The fields of a body, and what is wrong with them so far.
pub(super) struct Form {
    members: Map<String, Value>,
    errors: Errors,
}

/// A code under the name the request gave it.
pub(super) struct Code {
    pub name: &'static str,
    /// None: it has not the form of a code.
    pub digits: Option<Zeroizing<String>>,
}

impl Form {
    /// Reads a body.
    pub async fn read(app: &App, headers: &HeaderMap, body: Body) -> Result<Self, Refused> {
        let limits = Limits::configured(&app.config().http, false);
        match read_any(headers, body, limits, ENCODINGS).await? {
            Value::Object(members) => Ok(Self {
                members,
                errors: Errors::new(),
            }),
            _ => Err(Refused::malformed()),
        }
    }

    /// Adds what is wrong with a field.
    pub fn refuse(&mut self, name: &'static str, text: impl Into<String>) {
        self.errors.entry(name).or_default().push(text.into());
    }

    /// Ends the reading: every mistake, if there is one.
    pub fn finish(&mut self) -> Result<(), Refused> {
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(Refused::fields(std::mem::take(&mut self.errors)))
        }
    }

    /// What stands in a field: nothing, a text, or a whole number as text. Of anything else, an empty error.
    fn text(&self, name: &str) -> Result<Option<Zeroizing<String>>, ()> {
        match self.members.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
            Some(Value::String(text)) => Ok(Some(Zeroizing::new(text.clone()))),
            Some(Value::Number(number)) if number.is_u64() => Ok(Some(Zeroizing::new(number.to_string()))),
            Some(_) => Err(()),
        }
    }

    /// The number, with how it was written.
    pub fn msisdn(&mut self, country: &str) -> Option<(Phone, String)> {
        match self.text("msisdn") {
            Ok(None) => self.refuse("msisdn", BLANK),
            Ok(Some(text)) => match phone(&text, country) {
                Some(phone) => return Some((phone, text.trim().to_owned())),
                None => self.refuse("msisdn", INVALID),
            },
            Err(()) => self.refuse("msisdn", INVALID),
        }
        None
    }

    /// The same where it may be absent.
    pub fn optional_msisdn(&mut self, country: &str) -> Option<Phone> {
        match self.text("msisdn") {
            Ok(None) => None,
            _ => self.msisdn(country).map(|(phone, _)| phone),
        }
    }

    /// A password as it is, blanks and all.
    fn typed(&self, name: &str) -> Option<Zeroizing<String>> {
        match self.members.get(name)? {
            Value::String(text) if !text.is_empty() => Some(Zeroizing::new(text.clone())),
            Value::Number(number) if number.is_u64() => Some(Zeroizing::new(number.to_string())),
            _ => None,
        }
    }

    /// A password that must be there.
    pub fn password(&mut self, name: &'static str) -> Option<Password> {
        let Some(typed) = self.typed(name) else {
            self.refuse(name, BLANK);
            return None;
        };
        match Password::parse(&typed) {
            Ok(password) => Some(password),
            Err(PasswordError::Empty) => {
                self.refuse(name, BLANK);
                None
            }
            Err(PasswordError::TooLong) => {
                self.refuse(name, format!("is too long (maximum is {MOST_CHARACTERS} characters)"));
                None
            }
        }
    }

    /// The password once more. Absent, it is a mistake only where it must be there.
    pub fn confirmation(&mut self, required: bool) {
        match (self.typed("password_confirmation"), self.typed("password")) {
            (None, _) if required => self.refuse("password_confirmation", BLANK),
            (Some(again), Some(password)) if *again != *password => {
                self.refuse("password_confirmation", "doesn't match Password");
            }
            _ => {}
        }
    }

    /// The code of so many digits; blanks in it are left out, and a number is one only if it has them all.
    pub fn code(&mut self, digits: usize) -> Option<Code> {
        let name = CODE_NAMES
            .into_iter()
            .find(|name| self.members.contains_key(*name))
            .unwrap_or(CODE_NAMES[0]);
        let Ok(text) = self.text(name) else {
            return Some(Code { name, digits: None });
        };
        let Some(text) = text else {
            self.refuse(name, BLANK);
            return None;
        };
        let bare: Zeroizing<String> = Zeroizing::new(text.chars().filter(|c| !c.is_whitespace()).collect());
        let fits = bare.len() == digits && bare.bytes().all(|byte| byte.is_ascii_digit());
        Some(Code {
            name,
            digits: fits.then_some(bare),
        })
    }
}

/// A number: signs of grouping left out, `00` for `+`, and the country of the configuration where none is written.
pub(super) fn phone(text: &str, country: &str) -> Option<Phone> {
    let written = text.trim();
    let mut digits: String = written
        .chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '-' | '(' | ')'))
        .collect();
    if let Some(rest) = digits.strip_prefix("00") {
        digits = format!("+{rest}");
    }
    let bare = digits.strip_prefix('+').unwrap_or(&digits);
    if !(6..=15).contains(&bare.len()) || !bare.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let country = country.trim().trim_start_matches('+');
    let canonical = if digits.starts_with('+') || country.is_empty() {
        digits.clone()
    } else {
        format!("+{country}{digits}")
    };
    // What is too long to be shown again as it was written is shown without its grouping.
    Phone::with_registered(&canonical, written)
        .or_else(|_| Phone::with_registered(&canonical, &digits))
        .ok()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_compared_without_its_grouping_and_shown_with_it() {
        let of = |text: &str, country: &str| {
            let phone = phone(text, country).unwrap();
            (phone.msisdn().to_owned(), phone.registered().to_owned())
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(of("84932466", ""), pair("84932466", "84932466"));
        assert_eq!(of("8493-2466", "65"), pair("+6584932466", "8493-2466"));
        assert_eq!(of("0065 (8493) 2466", ""), pair("+6584932466", "0065 (8493) 2466"));
        assert_eq!(of("+6584932466", "+65"), pair("+6584932466", "+6584932466"));
        for wrong in ["12345", "1234567890123456", "84a32466", "++6584932466", "", "+"] {
            assert!(phone(wrong, "").is_none(), "{wrong}");
        }
    }
}
