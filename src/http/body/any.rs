//! Bodies of the older APIs: JSON, a form, or a form of parts, whichever its label says.
//!
//! All three become one JSON object, so that a dialect reads its fields once. Nothing here words an answer.

use std::borrow::Cow;

use axum::body::Body;
use axum::extract::{FromRequest as _, Multipart, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue};
use percent_encoding::percent_decode;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{BodyError, Fault, Limits, Tree, is_json_type, read_bytes};

/// Which encodings an API takes beside JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encodings {
    /// `application/x-www-form-urlencoded`.
    pub form: bool,
    /// `multipart/form-data`.
    pub parts: bool,
    /// One comma before a closing bracket, and a member named twice: the last one counts.
    pub lenient_json: bool,
}

/// Reads a body. One without bytes is an empty object, unless the API asks for JSON that is there.
pub async fn read_any(
    headers: &HeaderMap,
    body: Body,
    limits: Limits,
    encodings: Encodings,
) -> Result<Value, BodyError> {
    let label = headers.get(CONTENT_TYPE);
    let kind = Kind::of(label).filter(|kind| match kind {
        Kind::Json => true,
        Kind::Form => encodings.form,
        Kind::Parts => encodings.parts,
    });
    let Some(kind) = kind else {
        return Err(BodyError::UnsupportedMediaType);
    };
    let bytes = Zeroizing::new(read_bytes(headers, body, limits).await?);
    if bytes.is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    match kind {
        Kind::Json if encodings.lenient_json => lenient(&bytes),
        Kind::Json => Tree::parse(&bytes).map(Tree::into_value).map_err(BodyError::Malformed),
        Kind::Form => Ok(Value::Object(form(&bytes))),
        Kind::Parts => parts(label, bytes.to_vec()).await,
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Json,
    Form,
    Parts,
}

impl Kind {
    /// What a label says; without one it is JSON.
    fn of(label: Option<&HeaderValue>) -> Option<Self> {
        let Some(label) = label else { return Some(Self::Json) };
        let text = label.to_str().ok()?;
        let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "" => Some(Self::Json),
            // The originals knew no types that are only written in JSON.
            "application/json" if is_json_type(text) => Some(Self::Json),
            "application/x-www-form-urlencoded" => Some(Self::Form),
            "multipart/form-data" => Some(Self::Parts),
            _ => None,
        }
    }
}

/// Pairs as a browser writes them, and as programs do that do not encode: a percent sign that begins no escape stands
/// for itself.
fn form(bytes: &[u8]) -> Map<String, Value> {
    let decoded = |text: &[u8]| {
        let spaced: Vec<u8> = text
            .iter()
            .map(|byte| if *byte == b'+' { b' ' } else { *byte })
            .collect();
        percent_decode(&spaced).decode_utf8_lossy().into_owned()
    };
    bytes
        .split(|byte| *byte == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            let value = pair.get(at + 1..).unwrap_or_default();
            (decoded(&pair[..at]), Value::String(decoded(value)))
        })
        .collect()
}

/// The text fields of a form of parts; files are nobody's business here.
async fn parts(label: Option<&HeaderValue>, bytes: Vec<u8>) -> Result<Value, BodyError> {
    let broken = || BodyError::Malformed(Fault::Json { line: 1, column: 1 });
    let mut request = Request::new(Body::from(bytes));
    if let Some(label) = label {
        request.headers_mut().insert(CONTENT_TYPE, label.clone());
    }
    let mut form = Multipart::from_request(request, &()).await.map_err(|_| broken())?;
    let mut members = Map::new();
    while let Some(field) = form.next_field().await.map_err(|_| broken())? {
        let (Some(name), None) = (field.name().map(str::to_owned), field.file_name()) else {
            continue;
        };
        let text = field.text().await.map_err(|_| broken())?;
        members.insert(name, Value::String(text));
    }
    Ok(Value::Object(members))
}

/// JSON, but a comma may stand before a closing bracket and a member may be named twice.
fn lenient(bytes: &[u8]) -> Result<Value, BodyError> {
    Tree::parse_lenient(&without_trailing_commas(bytes))
        .map(Tree::into_value)
        .map_err(BodyError::Malformed)
}

/// Leaves out each comma that only blanks part from a closing bracket, outside of strings.
fn without_trailing_commas(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut kept = Vec::new();
    let (mut string, mut escaped, mut from) = (false, false, 0);
    for (at, byte) in bytes.iter().enumerate() {
        match (string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => string = !string,
            (false, b',') => {
                let next = bytes[at + 1..].iter().find(|byte| !byte.is_ascii_whitespace());
                let before = bytes[..at].iter().rev().find(|byte| !byte.is_ascii_whitespace());
                // Only one, and only after a value.
                if matches!(next, Some(b'}' | b']')) && !matches!(before, Some(b',' | b'{' | b'[') | None) {
                    kept.extend_from_slice(&bytes[from..at]);
                    from = at + 1;
                }
            }
            _ => {}
        }
    }
    if from == 0 {
        return Cow::Borrowed(bytes);
    }
    kept.extend_from_slice(&bytes[from..]);
    Cow::Owned(kept)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_stray_percent_sign_stands_for_itself() {
        let read = |text: &str| Value::Object(form(text.as_bytes()));
        assert_eq!(
            read("username=tim&password=100%+sure%21&x"),
            json!({"username":"tim","password":"100% sure!","x":""})
        );
        assert_eq!(read("password=a%2Bb%zz%"), json!({"password":"a+b%zz%"}));
        assert_eq!(read("a=1&a=2&&"), json!({"a":"2"}));
        assert_eq!(read("p=a=b"), json!({"p":"a=b"}));
    }

    #[test]
    fn one_trailing_comma_and_nothing_else_is_forgiven() {
        let read = |text: &str| lenient(text.as_bytes()).ok();
        assert_eq!(
            read(r#"{ "a": "x,}", "b": [1, 2, ], }"#).unwrap(),
            json!({"a":"x,}","b":[1,2]})
        );
        assert_eq!(read(r#"{"a":"\",]","a":2}"#).unwrap(), json!({"a":2}));
        let deep = format!(r#"{{"a":1,"a":1,"b":{}}}"#, "[".repeat(100) + &"]".repeat(100));
        assert!(matches!(
            lenient(deep.as_bytes()),
            Err(BodyError::Malformed(Fault::Depth { .. }))
        ));
        for text in ["{,}", "{\"a\":1,,}", "{'a':1}", "{a:1}", "{\"a\":1} // x", "[,]"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[tokio::test]
    async fn parts_are_fields_and_files_are_not() {
        let body = "--x\r\nContent-Disposition: form-data; name=\"username\"\r\n\r\ntim\r\n--x\r\nContent-Disposition: \
                    form-data; name=\"f\"; filename=\"f.txt\"\r\n\r\nfile\r\n--x--\r\n";
        let label = HeaderValue::from_static("multipart/form-data; boundary=x");
        let read = parts(Some(&label), body.as_bytes().to_vec()).await.unwrap();
        assert_eq!(read, json!({"username":"tim"}));
        let none = HeaderValue::from_static("multipart/form-data");
        assert!(parts(Some(&none), body.as_bytes().to_vec()).await.is_err());
    }
}
