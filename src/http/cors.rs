//! Pages of other origins that may call (`http.cors_origins`).
//!
//! Only the origins that are named, each answered with its own name; never `*`, and never with credentials: a caller's
//! credential is in a header that the page sets itself, not in a cookie that a browser adds. Without the setting there
//! is none of this, and a preflight is a method that no path has.

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::App;
use super::routes::allowed;

const HEADERS: HeaderValue =
    HeaderValue::from_static("Authorization, Content-Type, Idempotency-Key, If-Match, Last-Event-ID, traceparent");
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "ETag, Location, RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, X-Request-Id",
);
const SECONDS: HeaderValue = HeaderValue::from_static("600");

/// Answers preflights of origins that are named, and lets their pages read what they are answered.
pub(super) async fn share(State(app): State<App>, request: Request, next: Next) -> Response {
    let origins = &app.config().http.cors_origins;
    if origins.is_empty() {
        return next.run(request).await;
    }
    let origin = request.headers().get(ORIGIN).cloned();
    // An origin is compared whole: what only begins like it is somebody else's.
    let origin = origin.filter(|origin| origins.iter().any(|named| named.as_bytes() == origin.as_bytes()));
    let preflight =
        request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let path = request
        .extensions()
        .get::<MatchedPath>()
        .map(|path| path.as_str().to_owned());
    let mut response = match (&origin, preflight, path.as_deref().and_then(allowed)) {
        (Some(_), true, Some(methods)) => {
            let mut response = StatusCode::NO_CONTENT.into_response();
            let headers = response.headers_mut();
            if let Ok(methods) = HeaderValue::from_str(&methods) {
                headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
            }
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
            headers.insert(ACCESS_CONTROL_MAX_AGE, SECONDS);
            response
        }
        _ => next.run(request).await,
    };
    let headers = response.headers_mut();
    // The answer depends on who asks, also when they are not named.
    headers.append(VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
    response
}
