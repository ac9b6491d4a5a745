//! Refusals in this dialect's words, also those of layers that know no dialect: a limit, a size, a fault.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::{negotiate, pages, within, words};
use crate::config;
use crate::guards::Class;
use crate::http::App;
use crate::http::dialects::in_other_words;
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
/// The path that verifies keys.
pub(super) const VERIFY: &str = "/verify-api-secret-keys";

/// Which members the readers of a path look for in a refusal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// `message` alone.
    Plain,
    /// Some look for `Message`, others for `message` (contract, section 1.3).
    Twice,
    /// The same, and whether there is an `error` is what is tested (contract, section 3.8).
    Counts,
    /// Every text in `message` would be read as yes (contract, section 3.9).
    Keys,
}

impl Manner {
    /// Of a path within the mount, with or without its query.
    pub fn of(path: &str) -> Self {
        let path = path.split('?').next().unwrap_or_default();
        match bare(path) {
            VERIFY => Self::Keys,
            "/fields-count-by-domain" => Self::Counts,
            "/domains" | "/authority-token" | "/generate-api-keys" => Self::Twice,
            path if path.starts_with("/admin/") => Self::Twice,
            _ => Self::Plain,
        }
    }

    /// The body of a refusal in these words.
    pub fn body(self, words: &str) -> Value {
        match self {
            Self::Plain => json!({ "message": words }),
            Self::Twice => json!({ "Message": words, "message": words }),
            Self::Counts => json!({ "Message": words, "message": words, "error": words }),
            Self::Keys => json!({ "message": false, "error": words }),
        }
    }
}

/// How a request of the dialect is refused.
pub(in crate::http) struct Voice {
    json: bool,
    manner: Manner,
    base: String,
}

impl Voice {
    /// Of a request, if its path is the dialect's.
    pub fn of(app: &App, request: &Request) -> Option<Self> {
        let config = &app.config().agstack;
        let path = request.uri().path();
        let inside = within(&config.prefix, path);
        let own = |path: &str| PATHS.contains(&path) || BEGINNINGS.iter().any(|begin| path.starts_with(begin));
        // Whatever is below the prefix is the dialect's, and a path with a slash it has not is nobody else's.
        let is = config.enabled && (inside.is_some() || own(path) || own(bare(path)));
        is.then(|| Self {
            json: negotiate::wants_json(request.headers()),
            manner: Manner::of(inside.unwrap_or(path)),
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
        let told = if self.json || self.manner == Manner::Keys {
            axum::Json(self.manner.body(words)).into_response()
        } else {
            pages::refused(&self.base, words)
        };
        in_other_words(&parts, told)
    }
}

/// The path without a slash at its end.
fn bare(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

/// The body of the answer to a request of which only the path could be read, if its readers are programs only: they look
/// for more than `message`.
pub(in crate::http) fn unreadable(config: &config::Agstack, path: &str, slug: Slug) -> Option<Value> {
    let manner = Manner::of(within(&config.prefix, path).unwrap_or(path));
    (config.enabled && manner != Manner::Plain).then(|| manner.body(worded(slug)))
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
