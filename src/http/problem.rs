//! The error answer of the canonical API: an RFC 9457 problem document.
//!
//! Only the canonical API words its errors this way; a dialect has its own shape.

mod page;
mod slug;

use std::borrow::Cow;

use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::document::{Absent, Word, shape};
use crate::registry::{Denial, Refusal};

pub(super) use self::page::escaped;
pub use self::page::{index, page};
pub use self::slug::Slug;

const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");
const CHALLENGE: HeaderValue = HeaderValue::from_static(r#"Bearer realm="user-registry""#);
const INVALID_TOKEN: HeaderValue = HeaderValue::from_static(r#"Bearer realm="user-registry", error="invalid_token""#);

/// Which kind of problem an answer in another API's words is about: what it is counted as.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule(Slug);

impl Rule {
    /// The rule of a refusal, for the answer it becomes. Where a contract tells that there were too many tries, that is
    /// what it was refused by.
    pub fn of(refusal: &Refusal) -> Self {
        Self(match refusal {
            Refusal::Denied(Denial::TooManyTries { .. }) => Slug::TooManyRequests,
            other => Slug::of(other),
        })
    }

    /// The answer, which now says what it is about to whoever counts it and to no client.
    pub fn on(self, mut response: Response) -> Response {
        response.extensions_mut().insert(self);
        response
    }

    /// What an answer was refused by. None: it was not. One that says no more than its status is of that status's kind.
    pub fn behind(response: &Response) -> Option<Slug> {
        let extensions = response.extensions();
        let problem = || extensions.get::<Problem>().map(Problem::slug);
        let told = extensions.get::<Self>().map(|rule| rule.0).or_else(problem);
        told.or_else(|| Slug::of_status(response.status()))
    }
}

/// What is wrong with one member of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// JSON pointer to the member (RFC 6901); empty means the whole body.
    pub pointer: String,
    /// A stable word for programs.
    pub code: Cow<'static, str>,
    /// A sentence for people. Never holds the value.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub detail: Cow<'static, str>,
}

impl FieldError {
    /// The error of one member.
    pub fn new(
        pointer: impl Into<String>,
        code: impl Into<Cow<'static, str>>,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            pointer: pointer.into(),
            code: code.into(),
            detail: detail.into(),
        }
    }
}

/// A refusal on its way to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    slug: Slug,
    detail: Option<Cow<'static, str>>,
    instance: Option<Box<str>>,
    errors: Vec<FieldError>,
    retry_after: Option<u32>,
    allow: Option<Box<str>>,
    presented_token: bool,
}

impl Problem {
    /// A problem that says no more than its kind.
    #[must_use]
    pub fn new(slug: Slug) -> Self {
        Self {
            slug,
            detail: None,
            instance: None,
            errors: Vec::new(),
            retry_after: None,
            allow: None,
            presented_token: matches!(slug, Slug::TokenExpired | Slug::TokenRevoked),
        }
    }

    /// Fields that do not hold, all at once.
    #[must_use]
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        Self {
            errors,
            ..Self::new(Slug::Invalid)
        }
    }

    /// One field that does not hold.
    #[must_use]
    pub fn of_field(slug: Slug, error: FieldError) -> Self {
        Self {
            errors: vec![error],
            ..Self::new(slug)
        }
    }

    /// A bearer token that is none of ours: the challenge then says so (RFC 6750, 3.1).
    #[must_use]
    pub fn unknown_token() -> Self {
        Self {
            presented_token: true,
            ..Self::new(Slug::Unauthenticated)
        }
    }

    /// Too many requests; come back after so many seconds.
    #[must_use]
    pub fn too_many_requests(seconds: u32) -> Self {
        Self::new(Slug::TooManyRequests).retry_after(seconds)
    }

    /// Something needed is away; come back after so many seconds.
    #[must_use]
    pub fn unavailable(seconds: u32) -> Self {
        Self::new(Slug::Unavailable).retry_after(seconds)
    }

    /// A path that exists, with the methods it has.
    #[must_use]
    pub fn method_not_allowed(methods: &str) -> Self {
        Self {
            allow: Some(methods.into()),
            ..Self::new(Slug::MethodNotAllowed)
        }
    }

    /// Adds a sentence about this very occurrence. Never put a client's value into it.
    #[must_use]
    pub fn detail(self, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            detail: Some(detail.into()),
            ..self
        }
    }

    /// Adds a `Retry-After`; never zero, which clients take for "at once".
    #[must_use]
    pub fn retry_after(self, seconds: u32) -> Self {
        Self {
            retry_after: Some(seconds.max(1)),
            ..self
        }
    }

    /// Adds what is wrong with one field.
    #[must_use]
    pub fn error(mut self, error: FieldError) -> Self {
        self.errors.push(error);
        self
    }

    pub(crate) fn with_slug(self, slug: Slug) -> Self {
        Self { slug, ..self }
    }

    /// Which kind of problem this is.
    #[must_use]
    pub fn slug(&self) -> Slug {
        self.slug
    }

    /// What is wrong with which fields.
    #[must_use]
    pub fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// Writes the request's id into a problem that is already an answer. Answers of another shape
    /// pass unchanged.
    #[must_use]
    pub fn stamp(mut response: Response, request_id: &str) -> Response {
        let Some(mut problem) = response.extensions_mut().remove::<Self>() else {
            return response;
        };
        problem.instance = Some(request_id.into());
        let (mut parts, _) = response.into_parts();
        parts.headers.remove(axum::http::header::CONTENT_LENGTH);
        Response::from_parts(parts, problem.document().into())
    }

    /// The whole answer, head and body, to a request that could not even be read. `status` is what the HTTP library
    /// found; it stays. `worded` gives the body in another API's words.
    pub(super) fn unreadable(status: u16, request_id: &str, worded: impl Fn(Slug) -> Option<String>) -> Vec<u8> {
        let (slug, detail) = match status {
            400 => (Slug::Malformed, "the request is no HTTP/1.1 that can be read"),
            414 => (Slug::TooLarge, "the request's address is too long"),
            _ => (
                Slug::TooLarge,
                "the request has too many headers, or they are too large",
            ),
        };
        let mut problem = Self::new(slug).detail(detail);
        problem.instance = Some(request_id.into());
        let (kind, body) = match worded(slug) {
            Some(body) => ("application/json", body),
            None => ("application/problem+json", problem.document_as(status)),
        };
        let reason = axum::http::StatusCode::from_u16(status)
            .ok()
            .and_then(|status| status.canonical_reason());
        format!(
            "HTTP/1.1 {status} {}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nx-request-id: \
             {request_id}\r\nx-content-type-options: nosniff\r\ncache-control: no-store\r\nconnection: close\r\n\r\n{body}",
            reason.unwrap_or_default(),
            body.len(),
        )
        .into_bytes()
    }

    fn document(&self) -> String {
        self.document_as(self.slug.status().as_u16())
    }

    fn document_as(&self, status: u16) -> String {
        let document = Document {
            kind: format!("/problems/{}", self.slug),
            title: self.slug.title(),
            status,
            detail: Some(self.detail.as_deref().unwrap_or_else(|| self.slug.meaning())),
            instance: self.instance.as_deref(),
            errors: &self.errors,
        };
        // Strings and numbers only: this cannot fail, and a client still learns the kind.
        serde_json::to_string(&document).unwrap_or_else(|_| format!(r#"{{"type":"/problems/{}"}}"#, self.slug))
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, MEDIA_TYPE)]);
        if self.slug.status() == axum::http::StatusCode::UNAUTHORIZED {
            let challenge = if self.presented_token { INVALID_TOKEN } else { CHALLENGE };
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = self.allow.as_deref().and_then(|a| HeaderValue::from_str(a).ok()) {
            headers.insert(ALLOW, allow);
        }
        headers
    }
}

#[derive(Serialize)]
pub(super) struct Document<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
}

shape! {
    /// What is wrong with one member of a request.
    FieldError as "FieldError" {
        /// A JSON pointer (RFC 6901); empty means the whole body. A parameter or header is pointed at by its name.
        pointer: String,
        /// A stable word for programs.
        code: Word,
        /// A sentence for people.
        detail: Absent<String>,
    }

    /// Why a request was refused (RFC 9457).
    Document<'static> as "Problem" {
        /// The path of the page that explains this kind.
        kind = "type": String,
        title: String,
        status: i64,
        detail: Absent<String>,
        /// The request's id: also in the header x-request-id and in the log.
        instance: Absent<String>,
        /// Every field that does not hold.
        errors: Absent<Vec<FieldError>>,
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.slug.status(), self.headers(), self.document()).into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    async fn body(response: Response) -> String {
        let bytes = axum::body::to_bytes(response.into_body(), 65_536).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_problem_names_its_page_its_fields_and_its_request() {
        let error = FieldError::new("/email", "taken", "This address has an account.");
        let response = Problem::of_field(Slug::Taken, error).into_response();
        assert_eq!(response.status(), 409);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        let stamped = Problem::stamp(response, "req-1");
        insta::assert_snapshot!(body(stamped).await, @r#"{"type":"/problems/taken","title":"Already taken","status":409,"detail":"The e-mail address, username or phone number belongs to another account. The pointer says which.","instance":"req-1","errors":[{"pointer":"/email","code":"taken","detail":"This address has an account."}]}"#);
    }

    #[tokio::test]
    async fn an_answer_that_is_no_problem_passes_unchanged() {
        let stamped = Problem::stamp("hello".into_response(), "req-1");
        assert_eq!(body(stamped).await, "hello");
    }

    #[test]
    fn every_401_challenges_and_names_a_bad_token() {
        let challenge = |problem: Problem| {
            let response = problem.into_response();
            response.headers()[WWW_AUTHENTICATE].to_str().unwrap().to_owned()
        };
        let plain = r#"Bearer realm="user-registry""#;
        assert_eq!(challenge(Problem::new(Slug::Unauthenticated)), plain);
        assert_eq!(challenge(Problem::new(Slug::InvalidCredentials)), plain);
        for problem in [
            Problem::unknown_token(),
            Problem::new(Slug::TokenExpired),
            Problem::new(Slug::TokenRevoked),
        ] {
            assert_eq!(challenge(problem), format!(r#"{plain}, error="invalid_token""#));
        }
    }

    #[test]
    fn waiting_and_methods_are_told_in_headers() {
        let response = Problem::unavailable(0).into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[RETRY_AFTER], "1");
        let response = Problem::method_not_allowed("GET, HEAD").into_response();
        assert_eq!(response.headers()[ALLOW], "GET, HEAD");
    }
}
