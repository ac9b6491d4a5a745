//! One JSON value to one typed value, or the reason why not.
#![expect(
    clippy::needless_pass_by_value,
    reason = "one shape for all parsers, to be passed by name"
)]

use std::fmt;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::super::problem::FieldError;

/// Why one value does not hold: a stable code and a sentence without the value.
pub struct Refusal {
    code: &'static str,
    detail: String,
}

impl Refusal {
    /// A refusal with a code of its own.
    pub fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
        }
    }

    /// The error of the member at a pointer.
    #[must_use]
    pub fn at(self, pointer: impl Into<String>) -> FieldError {
        FieldError::new(pointer, self.code, self.detail)
    }

    pub(super) fn kind(expected: &str) -> Self {
        Self::new("type", format!("must be {expected}"))
    }
}

/// Any error a value's parser tells becomes the code `invalid`.
impl<E: fmt::Display> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::new("invalid", error.to_string())
    }
}

/// A text that is not empty, read by `parse`.
pub fn text<T, E: Into<Refusal>>(value: Value, parse: impl FnOnce(&str) -> Result<T, E>) -> Result<T, Refusal> {
    match value {
        Value::String(text) if text.is_empty() => Err(Refusal::new("empty", "must not be empty")),
        Value::String(text) => {
            let text = Zeroizing::new(text);
            parse(&text).map_err(Into::into)
        }
        _ => Err(Refusal::kind("a string")),
    }
}

/// `true` or `false`.
pub fn boolean(value: Value) -> Result<bool, Refusal> {
    value.as_bool().ok_or_else(|| Refusal::kind("true or false"))
}

/// Any number.
pub fn number(value: Value) -> Result<f64, Refusal> {
    value.as_f64().ok_or_else(|| Refusal::kind("a number"))
}

/// A whole number.
pub fn integer(value: Value) -> Result<i64, Refusal> {
    value.as_i64().ok_or_else(|| Refusal::kind("a whole number"))
}

/// A list.
pub fn array(value: Value) -> Result<Vec<Value>, Refusal> {
    match value {
        Value::Array(items) => Ok(items),
        _ => Err(Refusal::kind("a list")),
    }
}

/// An object, unread.
pub fn object(value: Value) -> Result<Map<String, Value>, Refusal> {
    match value {
        Value::Object(members) => Ok(members),
        _ => Err(Refusal::kind("an object")),
    }
}
