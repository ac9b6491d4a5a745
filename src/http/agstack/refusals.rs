//! Refusals in this dialect's words, also those of layers that know no dialect: a limit, a size, a fault.

use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::{negotiate, pages, within, words};
use crate::guards::Class;
use crate::http::App;
use crate::http::problem::{Problem, Slug};

/// Paths of the dialect without a parameter.
const PATHS: [&str; 21] = [
    "/",
    "/login",
    "/signup",
    "/update",
    "/logout",
    "/refresh",
    "/resend",
    "/forgot-password",
    "/authority-token",
    "/authority-token/",
    "/domains",
    "/fields-count-by-domain",
    VERIFY,
    "/generate-api-keys",
    "/home",
    "/asset-registry-home",
    "/dashboard",
    "/agstack.css",
    "/admin/domains",
    "/admin/blocked-emails",
    "/activate",
];
/// What stands before a parameter.
const BEGINNINGS: [&str; 4] = [
    "/activate/",
    "/reset-password/",
    "/admin/domains/",
    "/admin/blocked-emails/",
];
/// The path on which every text in `message` would be read as yes (contract, section 3.9).
pub(super) const VERIFY: &str = "/verify-api-secret-keys";

/// How a request of the dialect is refused.
pub(in crate::http) struct Voice {
    json: bool,
    verify: bool,
    base: String,
}

impl Voice {
    /// Of a request, if its path is the dialect's.
    pub fn of(app: &App, request: &Request) -> Option<Self> {
        let config = &app.config().agstack;
        let path = request.uri().path();
        let inside = within(&config.prefix, path);
        let own = |path: &str| PATHS.contains(&path) || BEGINNINGS.iter().any(|begin| path.starts_with(begin));
        // Whatever is below the prefix is the dialect's.
        let is = config.enabled && (inside.is_some() || own(path));
        is.then(|| Self {
            json: negotiate::wants_json(request.headers()),
            verify: inside.unwrap_or(path) == VERIFY,
            base: inside.map(|_| config.prefix.clone()).unwrap_or_default(),
        })
    }

    /// An answer that was refused by somebody else, in the dialect's words; any other as it is.
    pub fn reword(&self, mut response: Response) -> Response {
        let Some(problem) = response.extensions_mut().remove::<Problem>() else {
            return response;
        };
        let (parts, _) = response.into_parts();
        let words = worded(problem.slug());
        let mut told = if self.verify {
            // Its reader takes any text for "yes", whatever the status.
            axum::Json(json!({ "message": false, "error": words })).into_response()
        } else if self.json {
            axum::Json(json!({ "message": words })).into_response()
        } else {
            pages::refused(&self.base, words)
        };
        *told.status_mut() = parts.status;
        for (name, value) in &parts.headers {
            if name != CONTENT_TYPE && name != CONTENT_LENGTH {
                told.headers_mut().insert(name, value.clone());
            }
        }
        told
    }
}

/// What a kind of problem is called here.
fn worded(slug: Slug) -> &'static str {
    match slug {
        Slug::TooManyRequests => words::TOO_MANY,
        Slug::Unauthenticated | Slug::TokenExpired | Slug::TokenRevoked => words::NEED_LOGIN,
        Slug::Unavailable => "Service unavailable. Please try again later.",
        Slug::Internal => "Internal server error",
        other => other.title(),
    }
}

/// Which rate a request is under. Peers ask for many; anybody else who does what only peers need is kept to few.
pub(super) fn class(method: &Method, path: &str, headers: &HeaderMap, trusted: bool) -> Class {
    let shows = |name: &str| headers.contains_key(name);
    let post = *method == Method::POST;
    match path {
        "/" | "/login" if post || shows("x-email") || shows("x-device-id") => Class::SignIn,
        "/signup" if post => Class::Register,
        "/forgot-password" if post => Class::Message,
        "/resend" => Class::Message,
        "/refresh" => Class::Secret,
        "/domains" | "/authority-token" | "/authority-token/" | "/fields-count-by-domain" | VERIFY if !trusted => {
            Class::Secret
        }
        _ if path.starts_with("/activate/") || path.starts_with("/reset-password/") => Class::Secret,
        _ => Class::General,
    }
}

/// `Retry-After` on an answer of the dialect's own.
pub(super) fn retry_after(mut response: Response, seconds: u32) -> Response {
    response
        .headers_mut()
        .insert(axum::http::header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    response
}
