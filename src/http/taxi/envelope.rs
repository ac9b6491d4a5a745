//! The one envelope of this dialect, and the numbers of what is wrong.

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
use crate::registry::{Denial, Refusal};

/// What every answer is wrapped in.
#[derive(Serialize)]
pub(super) struct Envelope<T> {
    results: Option<T>,
    message: Option<&'static str>,
    error: Option<&'static str>,
    error_code: i32,
    status: u16,
}

impl<T: Serialize> Envelope<T> {
    pub fn of(status: StatusCode, message: &'static str, results: T) -> Response {
        let body = Self {
            results: Some(results),
            message: Some(message),
            error: None,
            error_code: 0,
            status: status.as_u16(),
        };
        (status, Json(body)).into_response()
    }
}

/// An answer that is not the one hoped for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refused {
    status: StatusCode,
    code: i32,
    error: &'static str,
    retry_after: Option<u32>,
    rule: Option<Rule>,
}

impl Refused {
    const fn bad(code: i32, error: &'static str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code,
            error,
            retry_after: None,
            rule: None,
        }
    }

    pub const TAKEN_USERNAME: Self = Self::bad(-1, "Username already exists for a different account");
    pub const TAKEN_EMAIL: Self = Self::bad(-2, "Email address already used to register an account");
    pub const WEAK: Self = Self::bad(-3, "Password invalid (too weak)");
    pub const MISSING: Self = Self::bad(-4, "Missing attributes needed for registering");

    /// What its document does not know of.
    pub const fn outside(status: StatusCode, error: &'static str) -> Self {
        Self {
            status,
            code: -4,
            error,
            retry_after: None,
            rule: None,
        }
    }

    pub const fn throttled(seconds: u32) -> Self {
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            code: -5,
            error: "Too many requests",
            retry_after: Some(seconds),
            rule: None,
        }
    }

    pub const fn unavailable(seconds: u32) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: -6,
            error: "Service unavailable",
            retry_after: Some(seconds),
            rule: None,
        }
    }
}

impl From<BodyError> for Refused {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::UnsupportedMediaType => {
                Self::outside(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type")
            }
            BodyError::TooLarge(_) => Self::outside(StatusCode::PAYLOAD_TOO_LARGE, "Request body too large"),
            BodyError::TooSlow | BodyError::BrokeOff | BodyError::Malformed(_) => Self::MISSING,
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
            Refusal::Taken(NameKind::Username) => Self::TAKEN_USERNAME,
            Refusal::Taken(NameKind::Email | NameKind::Phone | NameKind::Device) => Self::TAKEN_EMAIL,
            Refusal::Weak(_) => Self::WEAK,
            // There is no number for an address that may not register: it is one that cannot be used.
            Refusal::DomainBlocked(_)
            | Refusal::AddressBlocked(_)
            | Refusal::InvalidToken
            | Refusal::StaleCode
            | Refusal::Stale
            | Refusal::IdempotencyMismatch
            | Refusal::Conflict(_) => Self::MISSING,
            Refusal::InvalidCredentials
            | Refusal::WrongPassword
            | Refusal::Revoked
            | Refusal::Expired
            | Refusal::Denied(Denial::NoSuchUser | Denial::WrongPassword | Denial::NotActive { .. }) => {
                Self::outside(StatusCode::UNAUTHORIZED, "Unauthorized")
            }
            Refusal::TooMany { retry_after } | Refusal::Denied(Denial::TooManyTries { retry_after }) => {
                Self::throttled(retry_after)
            }
            Refusal::Forbidden => Self::outside(StatusCode::FORBIDDEN, "Forbidden"),
            Refusal::NotFound => Self::outside(StatusCode::NOT_FOUND, "Not found"),
            Refusal::Unavailable { retry_after } => Self::unavailable(retry_after),
            Refusal::Internal(problem) => {
                tracing::error!(%problem, "a request met a fault of ours");
                Self {
                    code: -6,
                    ..Self::outside(StatusCode::INTERNAL_SERVER_ERROR, "Internal error")
                }
            }
        };
        Self { rule, ..refused }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = Envelope::<()> {
            results: None,
            message: None,
            error: Some(self.error),
            error_code: self.code,
            status: self.status.as_u16(),
        };
        let mut response = (self.status, Json(body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        match self.rule {
            Some(rule) => rule.on(response),
            None => response,
        }
    }
}

/// What a layer that knows no dialect has refused with this status.
pub(in crate::http) fn outside(status: u16, slug: Slug) -> Value {
    let (error, error_code) = match slug {
        Slug::Internal => ("Internal error", -6),
        Slug::Unavailable => ("Service unavailable", -6),
        Slug::TooManyRequests => ("Too many requests", -5),
        other => (other.title(), -4),
    };
    json!({ "results": null, "message": null, "error": error, "error_code": error_code, "status": status })
}
