//! How this dialect says no: messages under the field they are about, or one `detail`.

use axum::Json;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use projections::{NameKind, Status};
use serde_json::{Map, Value, json};

use crate::http::body::{BodyError, Fault};
use crate::http::members::Throttled;
use crate::http::problem::{Rule, Slug};
use crate::passwords::rules::Weakness;
use crate::registry::{Denial, Refusal};

/// An answer that is not the one hoped for.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    status: StatusCode,
    body: Value,
    retry_after: Option<u32>,
    rule: Option<Rule>,
}

pub(super) const TAKEN_USERNAME: &str = "A user with that username already exists.";
pub(super) const TAKEN_EMAIL: &str = "Another user is already registered with this email address";
pub(super) const NOT_ALLOWED_EMAIL: &str = "This email address is not allowed.";
pub(super) const MISMATCH: &str = "The two password fields didn't match.";
const BAD_TOKEN: &str = "Invalid token for given user.";

impl Refused {
    fn new(status: StatusCode, body: Value) -> Self {
        Self {
            status,
            body,
            retry_after: None,
            rule: None,
        }
    }

    /// What is not about input.
    pub fn detail(status: StatusCode, text: &str) -> Self {
        Self::new(status, json!({ "detail": text }))
    }

    pub fn unauthenticated(text: &str) -> Self {
        Self::detail(StatusCode::UNAUTHORIZED, text)
    }

    pub fn throttled(seconds: u32) -> Self {
        let text = format!("Request was throttled. Expected available in {seconds} seconds.");
        Self {
            retry_after: Some(seconds),
            ..Self::detail(StatusCode::TOO_MANY_REQUESTS, &text)
        }
    }

    /// What is wrong with one field.
    pub fn field(name: &str, text: &str) -> Self {
        Self::fields([(name.to_owned(), vec![text.to_owned()])])
    }

    /// What is wrong with more than one field together.
    pub fn together(text: &str) -> Self {
        Self::field("non_field_errors", text)
    }

    pub fn fields(errors: impl IntoIterator<Item = (String, Vec<String>)>) -> Self {
        let body: Map<String, Value> = errors.into_iter().map(|(name, texts)| (name, json!(texts))).collect();
        Self::new(StatusCode::BAD_REQUEST, Value::Object(body))
    }

    pub fn weak(field: &str, weak: &[Weakness]) -> Self {
        Self::fields([(field.to_owned(), weak.iter().map(|one| weakness(*one)).collect())])
    }

    /// A body that could not be read, with the label it came under.
    pub fn body(error: &BodyError, label: &str) -> Self {
        match error {
            BodyError::UnsupportedMediaType => Self::detail(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                &format!("Unsupported media type \"{label}\" in request."),
            ),
            BodyError::TooLarge(_) => Self::detail(StatusCode::PAYLOAD_TOO_LARGE, "Request body is too large."),
            BodyError::TooSlow | BodyError::BrokeOff => {
                Self::detail(StatusCode::BAD_REQUEST, "The request body did not arrive.")
            }
            BodyError::Malformed(fault) => Self::detail(StatusCode::BAD_REQUEST, &parse_error(fault)),
        }
    }
}

fn parse_error(fault: &Fault) -> String {
    format!("JSON parse error - {fault}")
}

/// A rule of the contract's section 4.1, in its words.
pub(super) fn weakness(weak: Weakness) -> String {
    match weak {
        Weakness::TooShort(least) => {
            format!("This password is too short. It must contain at least {least} characters.")
        }
        Weakness::Common => "This password is too common.".to_owned(),
        Weakness::Numeric => "This password is entirely numeric.".to_owned(),
        Weakness::Composition => "Passwords must contain at least 3 of the following 4 character types:\n\
                                  lowercase characters, uppercase characters, special characters, and/or numerical \
                                  character.\n"
            .to_owned(),
        Weakness::Email => "Passwords cannot contain your email.".to_owned(),
        Weakness::Username => "The password is too similar to the username.".to_owned(),
        Weakness::Domain | Weakness::Phone | Weakness::Product => format!("This password {weak}."),
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
            Refusal::Taken(NameKind::Username) => Self::field("username", TAKEN_USERNAME),
            Refusal::Taken(NameKind::Email) => Self::field("email", TAKEN_EMAIL),
            Refusal::Taken(NameKind::Phone | NameKind::Device) => Self::together("Another user has it already."),
            Refusal::DomainBlocked(_) | Refusal::AddressBlocked(_) => Self::field("email", NOT_ALLOWED_EMAIL),
            Refusal::InvalidToken | Refusal::StaleCode => Self::together(BAD_TOKEN),
            Refusal::InvalidCredentials => Self::denied(Denial::WrongPassword),
            Refusal::Denied(denial) => Self::denied(denial),
            Refusal::WrongPassword => Self::field("current_password", "Invalid password."),
            Refusal::Weak(weak) => Self::weak("new_password", &weak),
            Refusal::Revoked | Refusal::Expired => Self::unauthenticated("Invalid token."),
            Refusal::Forbidden => Self::forbidden(),
            Refusal::NotFound => Self::detail(StatusCode::NOT_FOUND, "User not found."),
            Refusal::Stale | Refusal::IdempotencyMismatch => {
                Self::detail(StatusCode::CONFLICT, "The account has changed meanwhile.")
            }
            Refusal::Conflict(why) => Self::together(&why),
            Refusal::TooMany { retry_after } => Self::throttled(retry_after),
            Refusal::Unavailable { retry_after } => Self {
                retry_after: Some(retry_after),
                ..Self::detail(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "Service temporarily unavailable, try again later.",
                )
            },
            Refusal::Internal(problem) => {
                tracing::error!(%problem, "a request met a fault of ours");
                Self::detail(StatusCode::INTERNAL_SERVER_ERROR, "A server error occurred.")
            }
        };
        Self { rule, ..refused }
    }
}

impl Refused {
    pub fn forbidden() -> Self {
        Self::detail(
            StatusCode::FORBIDDEN,
            "You do not have permission to perform this action.",
        )
    }

    fn denied(denial: Denial) -> Self {
        match denial {
            Denial::NoSuchUser | Denial::WrongPassword => Self::together("Unable to login with provided credentials."),
            Denial::NotActive {
                status: Status::Pending,
                ..
            } => Self::detail(StatusCode::BAD_REQUEST, "The email has not been verified."),
            Denial::NotActive { .. } => Self::together("User account is disabled."),
            Denial::TooManyTries { retry_after } => Self::throttled(retry_after),
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Token"));
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

/// A path nobody serves.
pub(in crate::http) fn not_found() -> Response {
    Refused::detail(StatusCode::NOT_FOUND, "Not found.").into_response()
}

/// A method that a path does not have.
pub(in crate::http) fn method_not_allowed(method: &Method) -> Response {
    // A method is a token: no character of it needs an escape.
    let text = format!("Method \"{method}\" not allowed.");
    Refused::detail(StatusCode::METHOD_NOT_ALLOWED, &text).into_response()
}

/// A database that hangs.
pub(in crate::http) fn unavailable() -> Response {
    Refused::from(Refusal::Unavailable { retry_after: 2 }).into_response()
}

/// What a layer that knows no dialect has refused.
pub(in crate::http) fn outside(slug: Slug) -> Value {
    let text = match slug {
        Slug::Internal => "A server error occurred.",
        Slug::Unavailable => "Service temporarily unavailable, try again later.",
        Slug::NotFound => "Not found.",
        Slug::TooLarge => "Request is too large.",
        Slug::Malformed => "Malformed request.",
        other => other.title(),
    };
    json!({ "detail": text })
}
