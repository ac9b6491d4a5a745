//! The dialects beside the canonical API: which are mounted, and in whose shape a path without a route is refused.
//!
//! Each reads its own credentials and words its own errors, so none of them stands behind the canonical guard. Where
//! two of them meet, the method and the literal path decide, never a prefix alone (contracts, collisions).

use std::time::Duration;

use aggregates::values::Dialect;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use tokio::time::timeout;

use super::problem::{Problem, Slug};
use super::{App, agstack, cadasta, taxi, xhoppe};
use crate::config::Config;

/// Longest a read may take before its caller is told to come back.
const READ: Duration = Duration::from_millis(2_600);

/// Paths below `/api/v1/users/` that are Xhoppe's, with the one method each has.
pub(super) const XHOPPE_USERS: [(&str, Method); 6] = [
    ("verify", Method::POST),
    ("resend_verify", Method::POST),
    ("forget_password", Method::PUT),
    ("recover_password", Method::PUT),
    ("change_password", Method::PUT),
    ("change_password_by_sms", Method::POST),
];

/// The routes of every dialect that is switched on.
pub(super) fn router(app: &App) -> Router<App> {
    let config = app.config();
    let mut all = Router::new();
    if config.cadasta.enabled {
        all = all.merge(cadasta::router(config));
    }
    if config.xhoppe.enabled {
        all = all.merge(xhoppe::router(config));
    }
    if config.taxi.enabled {
        all = all.merge(taxi::router());
    }
    let all = all.layer(from_fn_with_state(app.clone(), shape));
    if config.agstack.enabled {
        // Outside that layer: it words its own refusals, and signs in by GET, which takes as long as it takes.
        all.merge(agstack::router(app))
    } else {
        all
    }
}

/// Gives up a read that hangs, and words a method that a path does not have.
async fn shape(State(app): State<App>, request: Request, next: Next) -> Response {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let response = if method.is_safe() {
        let Ok(response) = timeout(READ, next.run(request)).await else {
            tracing::warn!("a read was given up: the database does not answer");
            return match dialect_of(app.config(), &method, uri.path()) {
                Some(Dialect::Cadasta) => cadasta::unavailable(),
                Some(Dialect::Xhoppe) => xhoppe::unavailable(),
                Some(Dialect::Taxi) => taxi::unavailable(),
                _ => Problem::unavailable(2).into_response(),
            };
        };
        response
    } else {
        next.run(request).await
    };
    if response.status() != StatusCode::METHOD_NOT_ALLOWED || response.headers().contains_key(CONTENT_TYPE) {
        return response;
    }
    // The router adds which methods there are.
    match dialect_of(app.config(), &method, uri.path()) {
        Some(Dialect::Cadasta) => cadasta::method_not_allowed(&method),
        Some(Dialect::Xhoppe) => xhoppe::method_not_allowed(),
        Some(Dialect::Taxi) => taxi::method_not_allowed(),
        _ => response,
    }
}

/// A path nobody serves, in the shape of the API it lies in.
pub(super) async fn not_found(State(app): State<App>, method: Method, uri: Uri) -> Response {
    match dialect_of(app.config(), &method, uri.path()) {
        Some(Dialect::Cadasta) => cadasta::not_found(),
        Some(Dialect::Xhoppe) => xhoppe::not_found(),
        Some(Dialect::Taxi) => taxi::not_found(),
        _ => Problem::new(Slug::NotFound).into_response(),
    }
}

/// Whose a path below `/api/v1/` is.
fn dialect_of(config: &Config, method: &Method, path: &str) -> Option<Dialect> {
    let rest = path.strip_prefix("/api/v1/")?;
    let (bare, slash) = (rest.trim_end_matches('/'), rest.ends_with('/'));
    let (first, below) = bare
        .split_once('/')
        .map_or((bare, None), |(first, below)| (first, Some(below)));
    let enabled = |dialect| match dialect {
        Dialect::Cadasta => config.cadasta.enabled,
        Dialect::Xhoppe => config.xhoppe.enabled,
        Dialect::Taxi => config.taxi.enabled,
        Dialect::Canonical | Dialect::Agstack => false,
    };
    let (owner, other) = match (first, below) {
        ("user", _) => (Dialect::Taxi, Dialect::Taxi),
        ("account", _) => (Dialect::Cadasta, Dialect::Cadasta),
        ("login" | "user_info" | "fb_login", _) => (Dialect::Xhoppe, Dialect::Xhoppe),
        // With a slash it is Cadasta's, but for the one method it has not; without one it is Xhoppe's.
        ("users", None) if *method == Method::POST || (!slash && !method.is_safe()) => {
            (Dialect::Xhoppe, Dialect::Cadasta)
        }
        ("users", Some(word)) => match XHOPPE_USERS.iter().find(|(literal, _)| *literal == word) {
            Some((_, own)) if !slash || own == method => (Dialect::Xhoppe, Dialect::Cadasta),
            _ => (Dialect::Cadasta, Dialect::Xhoppe),
        },
        ("users", None) => (Dialect::Cadasta, Dialect::Xhoppe),
        _ => return None,
    };
    [owner, other].into_iter().find(|dialect| enabled(*dialect))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_method_and_the_literal_path_decide() {
        let config = Config::default();
        let whose = |method: Method, path: &str| dialect_of(&config, &method, path);
        let (cadasta, xhoppe) = (Some(Dialect::Cadasta), Some(Dialect::Xhoppe));
        assert_eq!(whose(Method::GET, "/api/v1/users/verify"), xhoppe);
        assert_eq!(whose(Method::GET, "/api/v1/users/verify/"), cadasta);
        assert_eq!(whose(Method::PUT, "/api/v1/users/forget_password/"), xhoppe);
        assert_eq!(whose(Method::DELETE, "/api/v1/users/ada/"), cadasta);
        assert_eq!(whose(Method::DELETE, "/api/v1/users/ada"), cadasta);
        assert_eq!(whose(Method::GET, "/api/v1/users"), cadasta);
        assert_eq!(whose(Method::POST, "/api/v1/users/"), xhoppe);
        assert_eq!(whose(Method::DELETE, "/api/v1/users"), xhoppe);
        assert_eq!(whose(Method::DELETE, "/api/v1/users/"), cadasta);
        assert_eq!(whose(Method::GET, "/api/v1/user/register"), Some(Dialect::Taxi));
        assert_eq!(whose(Method::GET, "/api/v1/account/nothing/"), cadasta);
        assert_eq!(whose(Method::GET, "/api/v1/user_info"), xhoppe);
        assert_eq!(whose(Method::GET, "/api/v1/elsewhere"), None);
        assert_eq!(whose(Method::GET, "/v1/users"), None);
    }

    #[test]
    fn what_is_switched_off_words_nothing() {
        let mut config = Config::default();
        config.cadasta.enabled = false;
        assert_eq!(dialect_of(&config, &Method::GET, "/api/v1/account/"), None);
        assert_eq!(
            dialect_of(&config, &Method::GET, "/api/v1/users/ada/"),
            Some(Dialect::Xhoppe)
        );
    }
}
