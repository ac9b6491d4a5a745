//! What a command answers, and the conditions that come with one.

use axum::Json;
use axum::http::header::{ETAG, HeaderName, IF_MATCH, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use crate::http::App;
use crate::http::body::Tree;
use crate::http::document::{Body, Components, EventType, Shape, shape};
use crate::http::problem::{FieldError, Problem, Slug};
use crate::registry::{Asked, Caller};
use crate::store::{Idempotency, Receipt};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Longest idempotency key, characters (contract, section 2).
const KEY_CHARACTERS: usize = 255;

#[derive(Serialize)]
pub(super) struct ReceiptBody<'a> {
    /// Empty: the answer does not say which account it is about.
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    version: i64,
    position: i64,
    events: &'a [String],
    #[serde(flatten)]
    more: &'a Value,
}

shape! {
    /// What a command answers.
    ReceiptBody<'static> as "Receipt" {
        /// The user's id; a domain's name.
        id: String,
        /// The version of its stream now.
        version: i64,
        /// Where in the log the command's last event stands.
        position: i64,
        /// The types of its events; none when there was nothing to change.
        events: Vec<EventType>,
        ; more
    }
}

/// The shape of a receipt with members of the command's own beside the usual ones.
pub(super) struct ReceiptWith<M>(std::marker::PhantomData<M>);

impl<M: Body> Shape for ReceiptWith<M> {
    fn schema(named: &mut Components) -> Value {
        let mut receipt = ReceiptBody::object(named);
        let more = M::object(named);
        for part in ["properties", "required"] {
            match (&mut receipt[part], &more[part]) {
                (Value::Object(members), Value::Object(more)) => members.extend(more.clone()),
                (Value::Array(names), Value::Array(more)) => names.extend_from_slice(more),
                _ => {}
            }
        }
        receipt
    }
}

/// The shape of a registration's receipt: in strict mode it does not say which account was made, if one was.
pub(super) struct RegistrationReceipt;

impl Shape for RegistrationReceipt {
    fn schema(named: &mut Components) -> Value {
        let mut receipt = ReceiptBody::object(named);
        if let Some(required) = receipt["required"].as_array_mut() {
            required.retain(|name| name != "id");
        }
        receipt
    }
}

/// A receipt as the contract words it; `path` is where what was created can be read.
pub(super) fn receipt(receipt: &Receipt, path: &str) -> Response {
    receipt_with(receipt, path, &json!({}))
}

/// The same with members of the command's own beside the usual ones.
pub(super) fn receipt_with(receipt: &Receipt, path: &str, more: &Value) -> Response {
    let body = ReceiptBody {
        id: &receipt.id,
        version: receipt.version,
        position: receipt.position,
        events: &receipt.events,
        more,
    };
    let status = if receipt.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let mut response = (status, Json(body)).into_response();
    set(&mut response, ETAG, &format!("\"{}\"", receipt.version));
    if receipt.created && !receipt.id.is_empty() {
        set(&mut response, LOCATION, &format!("{path}/{}", receipt.id));
    }
    response
}

/// Sets a header made of our own characters.
pub(super) fn set(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// The command's conditions: `If-Match` and `Idempotency-Key`.
pub(super) fn asked(
    app: &App,
    caller: Caller,
    headers: &HeaderMap,
    command: &str,
    body: &Tree,
) -> Result<Asked, Problem> {
    Ok(Asked {
        if_match: if_match(headers)?,
        idempotency: idempotency(app, &caller, headers, command, body)?,
        caller,
    })
}

fn if_match(headers: &HeaderMap) -> Result<Option<i64>, Problem> {
    let wrong = || Problem::new(Slug::Malformed).detail("If-Match must be one version number in double quotes");
    let mut values = headers.get_all(IF_MATCH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(wrong());
    }
    let digits = value
        .to_str()
        .ok()
        .and_then(|text| text.strip_prefix('"')?.strip_suffix('"'))
        .filter(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .ok_or_else(wrong)?;
    // A number beyond all versions is one that matches none.
    Ok(Some(digits.parse().unwrap_or(i64::MAX)))
}

fn idempotency(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    command: &str,
    body: &Tree,
) -> Result<Option<Idempotency>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value
        .to_str()
        .ok()
        .filter(|key| (1..=KEY_CHARACTERS).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()));
    let (Some(key), None) = (key, values.next()) else {
        let error = FieldError::new(
            "/Idempotency-Key",
            "invalid",
            "must be one header of 1 to 255 visible ASCII characters",
        );
        return Err(Problem::invalid(vec![error]));
    };
    let body = body.canonical();
    let request: [&[u8]; 2] = [command.as_bytes(), body.as_bytes()];
    Ok(Some(Idempotency::new(
        app.registry().store(),
        caller.scope(),
        key,
        &request,
    )))
}
