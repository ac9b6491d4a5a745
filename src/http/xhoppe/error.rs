//! How this dialect says no: one sentence, and under `errors` what is wrong with which field.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use projections::NameKind;
use serde::Serialize;
use serde_json::{Value, json};

use crate::http::body::BodyError;
use crate::http::members::Throttled;
use crate::http::problem::{Rule, Slug};
use crate::passwords::rules::Weakness;
use crate::registry::{Denial, Refusal};

pub(super) const BLANK: &str = "can't be blank";
pub(super) const INVALID: &str = "is invalid";
pub(super) const EXPIRED: &str = "is expired";
const TAKEN: &str = "has already been taken";

/// What is wrong with which field, without the field's name and without a full stop.
pub(super) type Errors = BTreeMap<&'static str, Vec<String>>;

/// An answer that is not the one hoped for.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    status: StatusCode,
    error: &'static str,
    errors: Errors,
    retry_after: Option<u32>,
    rule: Option<Rule>,
}

#[derive(Serialize)]
struct Body {
    error: &'static str,
    #[serde(skip_serializing_if = "Errors::is_empty")]
    errors: Errors,
}

impl Refused {
    pub const fn new(status: StatusCode, error: &'static str) -> Self {
        Self {
            status,
            error,
            errors: Errors::new(),
            retry_after: None,
            rule: None,
        }
    }

    /// Fields that do not hold, all at once.
    pub fn fields(errors: Errors) -> Self {
        Self {
            errors,
            ..Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "Invalid resource. Please fix errors and try again.",
            )
        }
    }

    pub fn field(name: &'static str, text: &str) -> Self {
        Self::fields(Errors::from([(name, vec![text.to_owned()])]))
    }

    /// The same, counted as what a refusal is.
    pub fn by(self, refusal: &Refusal) -> Self {
        let rule = Some(Rule::of(refusal));
        Self { rule, ..self }
    }

    pub const fn malformed() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Malformed request.")
    }

    pub const fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "You are not authorized to perform that action.",
        )
    }

    pub fn throttled(seconds: u32) -> Self {
        Self {
            retry_after: Some(seconds),
            ..Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "Too many requests. Please try again later.",
            )
        }
    }
}

/// A rule about passwords in this dialect's words.
pub(super) fn weakness(weak: Weakness) -> String {
    match weak {
        Weakness::TooShort(least) => format!("is too short (minimum is {least} characters)"),
        Weakness::Common => "is too common".to_owned(),
        other => other.to_string(),
    }
}

impl From<BodyError> for Refused {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::UnsupportedMediaType => Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type."),
            BodyError::TooLarge(_) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "Request is too large."),
            BodyError::TooSlow | BodyError::BrokeOff | BodyError::Malformed(_) => Self::malformed(),
        }
    }
}

impl From<Throttled> for Refused {
    fn from(Throttled(seconds): Throttled) -> Self {
        Self::throttled(seconds)
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let rule = Some(Rule::of(&refusal));
        let refused = match refusal {
            Refusal::Taken(NameKind::Phone) => Self::field("msisdn", TAKEN),
            Refusal::Taken(NameKind::Email) => Self::field("email", TAKEN),
            Refusal::Taken(NameKind::Username) => Self::field("username", TAKEN),
            Refusal::Taken(NameKind::Device) => Self::field("device", TAKEN),
            Refusal::InvalidToken => Self::field("code", INVALID),
            Refusal::StaleCode => Self::field("code", EXPIRED),
            Refusal::WrongPassword => Self::field("current_password", INVALID),
            Refusal::Weak(weak) => Self::fields(Errors::from([("password", weak.into_iter().map(weakness).collect())])),
            Refusal::InvalidCredentials
            | Refusal::Denied(Denial::NoSuchUser | Denial::WrongPassword | Denial::NotActive { .. }) => {
                Self::new(StatusCode::UNAUTHORIZED, "Invalid msisdn or password.")
            }
            Refusal::TooMany { retry_after } | Refusal::Denied(Denial::TooManyTries { retry_after }) => {
                Self::throttled(retry_after)
            }
            Refusal::Revoked | Refusal::Expired => Self::unauthorized(),
            Refusal::Forbidden | Refusal::DomainBlocked(_) | Refusal::AddressBlocked(_) => {
                Self::new(StatusCode::FORBIDDEN, "You are not authorized to perform that action.")
            }
            Refusal::NotFound => Self::new(
                StatusCode::NOT_FOUND,
                "The resource you were looking for could not be found.",
            ),
            Refusal::Stale | Refusal::IdempotencyMismatch | Refusal::Conflict(_) => {
                Self::new(StatusCode::CONFLICT, "The account has changed. Please try again.")
            }
            Refusal::Unavailable { retry_after } => Self {
                retry_after: Some(retry_after),
                ..Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "Service unavailable. Please try again later.",
                )
            },
            Refusal::Internal(problem) => {
                tracing::error!(%problem, "a request met a fault of ours");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal error.")
            }
        };
        Self { rule, ..refused }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = Body {
            error: self.error,
            errors: self.errors,
        };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("X-Xhoppe-Token"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        match self.rule {
            Some(rule) => rule.on(response),
            None => response,
        }
    }
}

/// A path nobody serves.
pub(in crate::http) fn not_found() -> Response {
    Refused::from(Refusal::NotFound).into_response()
}

/// A method that a path does not have.
pub(in crate::http) fn method_not_allowed() -> Response {
    Refused::new(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed.").into_response()
}

/// A database that hangs.
pub(in crate::http) fn unavailable() -> Response {
    Refused::from(Refusal::Unavailable { retry_after: 2 }).into_response()
}

/// What a layer that knows no dialect has refused.
pub(in crate::http) fn outside(slug: Slug) -> Value {
    let text = match slug {
        Slug::Internal => "Internal error.",
        Slug::Unavailable => "Service unavailable. Please try again later.",
        Slug::NotFound => "The resource you were looking for could not be found.",
        Slug::TooLarge => "Request is too large.",
        Slug::Malformed => "Malformed request.",
        other => other.title(),
    };
    json!({ "error": text })
}
