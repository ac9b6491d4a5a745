//! Reading a body's fields as the original framework does: every message under its field, all of them at once.

use std::collections::BTreeMap;

use aggregates::values::{Email, FullName, Username, UsernameError};
use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use projections::UserRow;
use serde_json::{Map, Value};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::error::Refused;
use crate::http::App;
use crate::http::body::any::{Encodings, read_any};
use crate::http::body::{Given, Limits};
use crate::passwords::{Password, PasswordError};

const ENCODINGS: Encodings = Encodings {
    form: true,
    parts: true,
    lenient_json: false,
};

const REQUIRED: &str = "This field is required.";
const BLANK: &str = "This field may not be blank.";
const NULL: &str = "This field may not be null.";
const NO_TEXT: &str = "Not a valid string.";
const BAD_USERNAME: &str =
    "Enter a valid username. This value may contain only letters, numbers and @/./+/-/_ characters.";
const RESERVED: &str = "Username cannot be \u{201c}add\u{201d} or \u{201c}new\u{201d}.";
const NOT_AVAILABLE: &str = "This username is not available.";
const UNCLEAN: &str = "Input can not contain HTML tags, emojis or start with any of + - = and @.";
const BAD_EMAIL: &str = "Enter a valid email address.";
const BAD_TIME: &str = "Datetime has wrong format. Use one of these formats instead: \
                        YYYY-MM-DDThh:mm[:ss[.uuuuuu]][+HH:MM|-HH:MM|Z].";

/// The fields of a body, and what is wrong with them so far.
pub(super) struct Form {
    members: Map<String, Value>,
    errors: BTreeMap<String, Vec<String>>,
}

/// How a text is read.
#[derive(Clone, Copy, Default)]
struct Rule {
    required: bool,
    /// Whether it may be empty.
    blank: bool,
    /// Whether blanks around it are left where they are: those of a password are its own.
    verbatim: bool,
}

impl Form {
    /// Reads a body.
    pub async fn read(app: &App, headers: &HeaderMap, body: Body) -> Result<Self, Refused> {
        let limits = Limits::configured(&app.config().http, false);
        let value = read_any(headers, body, limits, ENCODINGS).await.map_err(|error| {
            let label = headers.get(CONTENT_TYPE).and_then(|label| label.to_str().ok());
            let label: String = label.unwrap_or_default().chars().take(100).collect();
            Refused::body(&error, &label)
        })?;
        let kind = match value {
            Value::Object(members) => {
                return Ok(Self {
                    members,
                    errors: BTreeMap::new(),
                });
            }
            Value::Array(_) => "list",
            Value::String(_) => "str",
            Value::Bool(_) => "bool",
            Value::Null => "NoneType",
            Value::Number(number) if number.is_f64() => "float",
            Value::Number(_) => "int",
        };
        Err(Refused::together(&format!(
            "Invalid data. Expected a dictionary, but got {kind}."
        )))
    }

    /// Adds a message.
    pub fn refuse(&mut self, name: &str, text: &str) {
        self.errors.entry(name.to_owned()).or_default().push(text.to_owned());
    }

    /// Ends the reading: every message, if there is one.
    pub fn finish(&mut self) -> Result<(), Refused> {
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(Refused::fields(std::mem::take(&mut self.errors)))
        }
    }

    /// Whether nothing is wrong with a field.
    pub fn is_sound(&self, name: &str) -> bool {
        !self.errors.contains_key(name)
    }

    /// Whether a field is there, whatever it holds.
    pub fn holds(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// Takes a field out that holds what the client was shown: it asks for nothing, so no rule applies to it. Accounts
    /// of other dialects have names that this one would not take, or no address. True: it was there.
    pub fn sent_back(&mut self, name: &str, shown: &str) -> bool {
        let same = matches!(self.members.get(name), Some(Value::String(text)) if text == shown);
        same && self.members.remove(name).is_some()
    }

    fn text(&mut self, name: &str, rule: Rule) -> Option<Zeroizing<String>> {
        let text = match self.members.remove(name) {
            None => {
                if rule.required {
                    self.refuse(name, REQUIRED);
                }
                return None;
            }
            Some(Value::Null) => {
                self.refuse(name, NULL);
                return None;
            }
            Some(Value::String(text)) => Zeroizing::new(text),
            Some(Value::Number(number)) => Zeroizing::new(number.to_string()),
            Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
                self.refuse(name, NO_TEXT);
                return None;
            }
        };
        let trimmed = text.trim();
        if trimmed.is_empty() && !rule.blank {
            self.refuse(name, BLANK);
            return None;
        }
        Some(if rule.verbatim {
            text
        } else {
            Zeroizing::new(trimmed.to_owned())
        })
    }

    /// A text that must be there, blanks around it left out.
    pub fn required(&mut self, name: &str) -> Option<Zeroizing<String>> {
        self.text(
            name,
            Rule {
                required: true,
                ..Rule::default()
            },
        )
    }

    /// A text that may be absent, but not empty. A password keeps its blanks.
    pub fn optional(&mut self, name: &str, verbatim: bool) -> Option<Zeroizing<String>> {
        self.text(
            name,
            Rule {
                verbatim,
                ..Rule::default()
            },
        )
    }

    /// A password that must be there. Its rules are asked for elsewhere.
    pub fn password(&mut self, name: &str) -> Option<Password> {
        let rule = Rule {
            required: true,
            verbatim: true,
            ..Rule::default()
        };
        let text = self.text(name, rule)?;
        match Password::parse(&text) {
            Ok(password) => Some(password),
            Err(PasswordError::Empty) => {
                self.refuse(name, BLANK);
                None
            }
            Err(PasswordError::TooLong) => {
                self.refuse(name, "Ensure this field has no more than 128 characters.");
                None
            }
        }
    }

    /// The name to sign in with, and its text however wrong it is: a password may not hold it.
    pub fn username(&mut self, required: bool) -> (Option<Username>, Option<Zeroizing<String>>) {
        let rule = Rule {
            required,
            ..Rule::default()
        };
        let Some(text) = self.text("username", rule) else {
            return (None, None);
        };
        let mut wrong = Vec::new();
        if text.chars().count() > 30 {
            wrong.push("Ensure this field has no more than 30 characters.");
        }
        if !text.chars().all(|c| c.is_alphanumeric() || "_@.+-".contains(c)) {
            wrong.push(BAD_USERNAME);
        }
        let username = match Username::parse_dialect(&text) {
            _ if !wrong.is_empty() => None,
            Err(UsernameError::Reserved) => {
                let theirs = ["add", "new"].iter().any(|word| word.eq_ignore_ascii_case(&text));
                wrong.push(if theirs { RESERVED } else { NOT_AVAILABLE });
                None
            }
            _ if !is_clean(&text) => {
                wrong.push(UNCLEAN);
                None
            }
            Ok(username) => Some(username),
            Err(_) => {
                wrong.push(BAD_USERNAME);
                None
            }
        };
        for text in wrong {
            self.refuse("username", text);
        }
        (username, Some(text))
    }

    /// The name of the person: absent, or cleared, or a name.
    pub fn full_name(&mut self) -> Given<FullName> {
        let rule = Rule {
            blank: true,
            ..Rule::default()
        };
        let Some(text) = self.text("full_name", rule) else {
            return Given::Absent;
        };
        if text.is_empty() {
            return Given::Null;
        }
        if text.chars().count() > 130 {
            self.refuse("full_name", "Ensure this field has no more than 130 characters.");
        } else if !is_clean(&text) {
            self.refuse("full_name", UNCLEAN);
        } else {
            match FullName::parse(&text) {
                Ok(name) => return Given::Value(name),
                Err(_) => self.refuse("full_name", UNCLEAN),
            }
        }
        Given::Absent
    }

    /// The address.
    pub fn email(&mut self, required: bool) -> Option<Email> {
        let rule = Rule {
            required,
            ..Rule::default()
        };
        let text = self.text("email", rule)?;
        if text.chars().count() > 254 {
            self.refuse("email", "Ensure this field has no more than 254 characters.");
            return None;
        }
        let email = Email::parse(&text).ok();
        if email.is_none() {
            self.refuse("email", BAD_EMAIL);
        }
        email
    }

    /// Whose link this is, by the id in it. None: nobody's, and that is said.
    pub fn uid(&mut self) -> Option<Uuid> {
        let text = self.required("uid")?;
        let user = user_of(&text);
        if user.is_none() {
            self.refuse("uid", NOBODY);
        }
        user
    }

    /// Says that the id of a link is nobody's.
    pub fn nobody(&mut self) {
        self.refuse("uid", NOBODY);
    }

    /// `true` or `false` as the original reads them.
    pub fn boolean(&mut self, name: &str) -> Option<bool> {
        let value = self.members.remove(name)?;
        let shown = match &value {
            Value::Null => {
                self.refuse(name, NULL);
                return None;
            }
            Value::Bool(yes) => return Some(*yes),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        match shown.as_str() {
            "t" | "T" | "true" | "True" | "TRUE" | "1" => Some(true),
            "f" | "F" | "false" | "False" | "FALSE" | "0" => Some(false),
            _ => {
                let shown: String = shown.chars().take(100).collect();
                self.refuse(name, &format!("\"{shown}\" is not a valid boolean."));
                None
            }
        }
    }

    /// The time of the last log-in may be sent back as it is, and no other.
    pub fn last_login(&mut self, account: &UserRow) {
        let sent = match self.members.remove("last_login") {
            None | Some(Value::Null) => return,
            Some(Value::String(text)) => text,
            Some(_) => String::new(),
        };
        match time(&sent) {
            None => self.refuse("last_login", BAD_TIME),
            Some(at) if account.last_login.is_some_and(|held| held.as_micros() == at) => {}
            Some(_) => self.refuse("last_login", "Cannot update last_login"),
        }
    }
}

const NOBODY: &str = "Invalid user id or user doesn't exist.";

/// A time as microseconds since 1970; one without a zone is UTC, one without seconds has none.
fn time(text: &str) -> Option<i64> {
    use chrono::{DateTime, NaiveDateTime};
    let text = text.trim().replacen(' ', "T", 1);
    let zoned = ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z"]
        .iter()
        .find_map(|form| DateTime::parse_from_str(&text.replace(['Z', 'z'], "+0000"), form).ok());
    let plain = || {
        ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"]
            .iter()
            .find_map(|form| NaiveDateTime::parse_from_str(&text, form).ok())
    };
    zoned
        .map(|at| at.timestamp_micros())
        .or_else(|| plain().map(|at| at.and_utc().timestamp_micros()))
}

/// The user an id in a link stands for: base64url of the text of the user's id, padded or not.
pub(super) fn user_of(uid: &str) -> Option<Uuid> {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let bytes = URL_SAFE_NO_PAD.decode(uid.trim_end_matches('=')).ok()?;
    Uuid::parse_str(std::str::from_utf8(&bytes).ok()?).ok()
}

/// Neither a tag nor a pictogram, and nothing a table program would take for a formula at the start.
fn is_clean(text: &str) -> bool {
    let formula = text.starts_with(['+', '-', '=', '@']);
    let tag = text.char_indices().filter(|(_, c)| *c == '<').any(|(at, _)| {
        text[at + 1..]
            .chars()
            .next()
            .is_some_and(|next| next.is_ascii_alphabetic() || matches!(next, '/' | '!' | '?'))
    });
    !formula && !tag && !text.chars().any(is_pictogram)
}

fn is_pictogram(c: char) -> bool {
    matches!(c,
        '\u{231A}' | '\u{231B}' | '\u{23E9}'..='\u{23FA}' | '\u{25FD}' | '\u{25FE}' | '\u{2600}'..='\u{27BF}'
        | '\u{2B05}'..='\u{2B55}' | '\u{FE0F}' | '\u{1F000}'..='\u{1FAFF}')
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn tags_pictograms_and_formulas_are_unclean() {
        for text in [
            "<b>Joe",
            "</b>",
            "<!--",
            "Joe \u{1f600}",
            "=1+1",
            "@joe",
            "-joe",
            "+joe",
        ] {
            assert!(!is_clean(text), "{text}");
        }
        for text in ["Joe Smith", "yoko<3", "a+b@c-d", "J\u{f6}rg", "\u{5c71}\u{7530}"] {
            assert!(is_clean(text), "{text}");
        }
    }

    #[test]
    fn an_id_is_read_with_and_without_its_padding() {
        use base64::Engine as _;
        let id = Uuid::from_u128(7);
        let uid = base64::engine::general_purpose::URL_SAFE.encode(id.to_string());
        assert_eq!(user_of(&uid), Some(id));
        assert_eq!(user_of(uid.trim_end_matches('=')), Some(id));
        for wrong in ["MQ", "", "%%", "NDEy"] {
            assert_eq!(user_of(wrong), None);
        }
    }

    #[test]
    fn a_time_is_read_in_the_forms_the_message_names() {
        let at = time("2016-10-20T19:20:27.848272Z").unwrap();
        assert_eq!(time("2016-10-20T21:20:27.848272+02:00"), Some(at));
        assert_eq!(time("2016-10-20T19:20:27.848272"), Some(at));
        assert!(time("2016-10-20T19:20Z").is_some());
        for wrong in ["", "yesterday", "2016-13-20T19:20Z", "1"] {
            assert_eq!(time(wrong), None, "{wrong}");
        }
    }
}
