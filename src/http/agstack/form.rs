//! The fields of a request in any of its three encodings (contract, section 1.2).

use std::collections::HashMap;

use axum::body::Body;
use axum::extract::{FromRequest as _, Multipart, Request};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use percent_encoding::percent_decode;
use serde_json::Value;
use zeroize::Zeroizing;

use super::negotiate::essence;
use crate::config;
use crate::http::body::{self, BodyError, Limits, Tree};
use crate::http::problem::Problem;

/// More fields than any form of ours has.
const MOST_FIELDS: usize = 64;

/// How the fields came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// One flat object.
    Json,
    /// A form of either kind.
    Form,
    /// There was no body.
    Nothing,
}

/// One value as it came.
enum Scalar {
    Text(Zeroizing<String>),
    Flag(bool),
    Null,
    /// A list or an object, which no field is.
    Other,
}

/// The fields of a request.
pub(super) struct Form {
    pub encoding: Encoding,
    values: HashMap<String, Scalar>,
}

impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Form({} fields)", self.values.len())
    }
}

/// Why there are no fields.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// The body is none of what its label says.
    Malformed,
    /// It is too large, too slow or of a type nobody reads.
    Refused(Problem),
}

impl Form {
    /// Reads them, within the bounds of every body.
    pub async fn read(config: &config::Http, request: Request) -> Result<Self, Unreadable> {
        let (parts, body) = request.into_parts();
        let plain = parts
            .headers
            .get_all(CONTENT_ENCODING)
            .iter()
            .all(|value| value.as_bytes().eq_ignore_ascii_case(b"identity"));
        let kind = match parts.headers.get(CONTENT_TYPE).map(|value| value.to_str()) {
            None => String::new(),
            Some(text) => essence(text.unwrap_or("?")),
        };
        let known = matches!(
            kind.as_str(),
            "" | "application/json" | "application/x-www-form-urlencoded" | "multipart/form-data"
        );
        if !plain || !known {
            return Err(Unreadable::Refused(BodyError::UnsupportedMediaType.into()));
        }
        let limits = Limits::configured(config, false);
        let bytes = match body::read_bytes(&parts.headers, body, limits).await {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(BodyError::BrokeOff) => return Err(Unreadable::Malformed),
            Err(error) => return Err(Unreadable::Refused(error.into())),
        };
        let again = |bytes: &[u8]| Request::from_parts(parts, Body::from(bytes.to_vec()));
        match kind.as_str() {
            "application/json" => Self::of_json(&bytes),
            "application/x-www-form-urlencoded" => Ok(Self::of_urlencoded(&bytes)),
            "multipart/form-data" => Self::of_multipart(again(&bytes)).await,
            _ => Ok(Self::with(Encoding::Nothing, HashMap::new())),
        }
    }

    fn with(encoding: Encoding, values: HashMap<String, Scalar>) -> Self {
        Self { encoding, values }
    }

    /// A flat object; whatever its label says.
    pub fn of_json(bytes: &[u8]) -> Result<Self, Unreadable> {
        let tree = Tree::parse(bytes).map_err(|_| Unreadable::Malformed)?;
        let Value::Object(members) = tree.into_value() else {
            return Err(Unreadable::Malformed);
        };
        let scalar = |value| match value {
            Value::String(text) => Scalar::Text(Zeroizing::new(text)),
            // A number written without quotes is meant as its digits.
            Value::Number(number) => Scalar::Text(Zeroizing::new(number.to_string())),
            Value::Bool(flag) => Scalar::Flag(flag),
            Value::Null => Scalar::Null,
            Value::Array(_) | Value::Object(_) => Scalar::Other,
        };
        let values = members.into_iter().map(|(name, value)| (name, scalar(value)));
        Ok(Self::with(Encoding::Json, values.collect()))
    }

    fn of_urlencoded(bytes: &[u8]) -> Self {
        let mut values = HashMap::new();
        for pair in bytes
            .split(|byte| *byte == b'&')
            .filter(|pair| !pair.is_empty())
            .take(MOST_FIELDS)
        {
            let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            let (name, value) = pair.split_at(at);
            let value = Zeroizing::new(decoded(value.get(1..).unwrap_or_default()));
            // Of several of one name the first counts.
            values.entry(decoded(name)).or_insert(Scalar::Text(value));
        }
        Self::with(Encoding::Form, values)
    }

    async fn of_multipart(request: Request) -> Result<Self, Unreadable> {
        let mut parts = Multipart::from_request(request, &())
            .await
            .map_err(|_| Unreadable::Malformed)?;
        let mut values = HashMap::new();
        while let Some(part) = parts.next_field().await.map_err(|_| Unreadable::Malformed)? {
            // A file is no field.
            let name = part.name().filter(|_| part.file_name().is_none()).map(str::to_owned);
            let bytes = Zeroizing::new(part.bytes().await.map_err(|_| Unreadable::Malformed)?.to_vec());
            let text = String::from_utf8(bytes.to_vec()).map_err(|_| Unreadable::Malformed)?;
            if let Some(name) = name
                && values.len() < MOST_FIELDS
            {
                values.entry(name).or_insert(Scalar::Text(Zeroizing::new(text)));
            }
        }
        Ok(Self::with(Encoding::Form, values))
    }

    /// A text that is there and not empty, as it was typed.
    pub fn typed(&self, name: &str) -> Option<&str> {
        match self.values.get(name) {
            Some(Scalar::Text(text)) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// The same without blanks around it.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.typed(name).map(str::trim).filter(|text| !text.is_empty())
    }

    /// Whether a field is there and is no text: a list, an object, a flag where a text belongs.
    pub fn is_odd(&self, name: &str) -> bool {
        matches!(self.values.get(name), Some(Scalar::Other | Scalar::Flag(_)))
    }

    /// Whether a field is there at all.
    pub fn has(&self, name: &str) -> bool {
        !matches!(self.values.get(name), None | Some(Scalar::Null))
    }

    /// A flag: none if it is not there. R takes every text but `false` and an empty one for true; so do we, but for the
    /// other words for no.
    pub fn flag(&self, name: &str) -> Option<bool> {
        match self.values.get(name)? {
            Scalar::Flag(flag) => Some(*flag),
            Scalar::Null => None,
            Scalar::Other => Some(true),
            Scalar::Text(text) => {
                let word = text.trim().to_ascii_lowercase();
                Some(!matches!(word.as_str(), "" | "false" | "0" | "off" | "no"))
            }
        }
    }
}

/// One name or value of a form: `+` is a blank, `%` begins a byte. Bytes that are no text are replaced.
fn decoded(text: &[u8]) -> String {
    let blanks: Zeroizing<Vec<u8>> = Zeroizing::new(
        text.iter()
            .map(|byte| if *byte == b'+' { b' ' } else { *byte })
            .collect(),
    );
    percent_decode(&blanks).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn json(text: &str) -> Form {
        Form::of_json(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_flag_is_what_the_contract_lists() {
        for (value, flag) in [
            ("false", Some(false)),
            ("\"false\"", Some(false)),
            ("\"\"", Some(false)),
            ("\"False\"", Some(false)),
            ("\"0\"", Some(false)),
            ("0", Some(false)),
            ("\"off\"", Some(false)),
            ("\"no\"", Some(false)),
            ("\"checked\"", Some(true)),
            ("\"y\"", Some(true)),
            ("\"on\"", Some(true)),
            ("true", Some(true)),
            ("\"true\"", Some(true)),
            ("1", Some(true)),
            ("null", None),
        ] {
            assert_eq!(json(&format!("{{\"f\":{value}}}")).flag("f"), flag, "{value}");
        }
        assert_eq!(json("{}").flag("f"), None);
    }

    #[test]
    fn a_form_is_read_as_browsers_write_it() {
        let form = Form::of_urlencoded("email=a%40b.example&password=+x%2By+&email=second&empty=&g=\u{e9}".as_bytes());
        assert_eq!(form.text("email"), Some("a@b.example"));
        assert_eq!(form.typed("password"), Some(" x+y "));
        assert_eq!((form.typed("empty"), form.has("empty")), (None, true));
        assert_eq!(form.text("g"), Some("\u{e9}"));
        assert_eq!(form.encoding, Encoding::Form);
    }

    #[test]
    fn json_that_is_no_object_has_no_fields() {
        for text in ["", "[]", "1", "null", "{", "{\"a\":1,\"a\":2}"] {
            assert!(
                matches!(Form::of_json(text.as_bytes()), Err(Unreadable::Malformed)),
                "{text}"
            );
        }
        let form = json(r#"{"phone_num":921234567890,"email":["a"],"x":null}"#);
        assert_eq!(form.text("phone_num"), Some("921234567890"));
        assert!(form.is_odd("email") && !form.has("x"));
    }
}
