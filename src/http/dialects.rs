//! The dialects beside the canonical API: which are mounted, and in whose shape a path without a route is refused.
//!
//! Each reads its own credentials and words its own errors, so none of them stands behind the canonical guard. Where
//! two of them meet, the method and the literal path decide, never a prefix alone (contracts, collisions).

use aggregates::values::Dialect;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::response::Parts;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::limited::Heard;
use super::problem::{Problem, Slug};
use super::{App, agstack, cadasta, deadline, taxi, xhoppe};
use crate::config::Config;

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
        // Outside that layer: it words its own refusals, and what it does by GET is no read only.
        all.merge(agstack::router(app))
    } else {
        all
    }
}

/// Tells what the rates say of a request.
async fn shape(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let heard = Heard::default();
    request.extensions_mut().insert(heard.clone());
    let mut response = shaped(&app, request, next).await;
    heard.told().tell(&mut response);
    response
}

/// Gives up a request that hangs, and words a method that a path does not have.
async fn shaped(app: &App, request: Request, next: Next) -> Response {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let limit = deadline::of(&method, app.config());
    let away = app.registry().store().watch_away();
    let Some(response) = deadline::in_time(limit, away, request, |request| next.run(request)).await else {
        return match dialect_of(app.config(), &method, uri.path()) {
            Some(Dialect::Cadasta) => cadasta::unavailable(),
            Some(Dialect::Xhoppe) => xhoppe::unavailable(),
            Some(Dialect::Taxi) => taxi::unavailable(),
            _ => Problem::unavailable(2).into_response(),
        };
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

/// In whose words a request is refused by a layer that knows no dialect: a limit, a size, a fault.
pub(super) enum Voice {
    Agstack(agstack::Voice),
    Other(Dialect),
}

impl Voice {
    /// Of a request, if its path is a dialect's.
    pub fn of(app: &App, request: &Request) -> Option<Self> {
        let other = || dialect_of(app.config(), request.method(), request.uri().path()).map(Self::Other);
        agstack::Voice::of(app, request).map(Self::Agstack).or_else(other)
    }

    /// An answer that was refused by somebody else, in the dialect's words; any other as it is.
    pub fn reword(&self, mut response: Response) -> Response {
        let dialect = match self {
            Self::Agstack(voice) => return voice.reword(response),
            Self::Other(dialect) => *dialect,
        };
        let Some(problem) = response.extensions_mut().remove::<Problem>() else {
            return response;
        };
        let (parts, _) = response.into_parts();
        let told = Json(outside(dialect, parts.status.as_u16(), problem.slug())).into_response();
        in_other_words(&parts, told)
    }
}

/// Another body under the same status and headers.
pub(super) fn in_other_words(parts: &Parts, mut told: Response) -> Response {
    *told.status_mut() = parts.status;
    for (name, value) in &parts.headers {
        if name != CONTENT_TYPE && name != CONTENT_LENGTH {
            told.headers_mut().insert(name, value.clone());
        }
    }
    told
}

fn outside(dialect: Dialect, status: u16, slug: Slug) -> Value {
    match dialect {
        Dialect::Cadasta => cadasta::outside(slug),
        Dialect::Xhoppe => xhoppe::outside(slug),
        Dialect::Taxi => taxi::outside(status, slug),
        Dialect::Canonical | Dialect::Agstack => json!({ "message": slug.title() }),
    }
}

/// The body of the answer to a request of which only the beginning could be read, in the words of the dialect whose path
/// it asks for.
pub(super) fn unreadable(config: &Config, begins: &[u8], status: u16, slug: Slug) -> Option<String> {
    let line = begins.split(|byte| matches!(byte, b'\r' | b'\n')).next()?;
    let mut words = line.split(|byte| *byte == b' ');
    let method = Method::from_bytes(words.next()?).ok()?;
    let target = std::str::from_utf8(words.next()?).ok()?;
    // A request to a proxy names the host before the path.
    let path = match target.split_once("://") {
        Some((_, rest)) => &rest[rest.find('/')?..],
        None => target,
    };
    let path = path.split('?').next()?;
    let other = || dialect_of(config, &method, path).map(|dialect| outside(dialect, status, slug));
    let body = agstack::unreadable(&config.agstack, path, slug).or_else(other)?;
    Some(body.to_string())
}

/// Whose a path below `/api/v1/` is.
fn dialect_of(config: &Config, method: &Method, path: &str) -> Option<Dialect> {
    let rest = path.strip_prefix("/api/v1")?;
    if !rest.is_empty() && !rest.starts_with('/') {
        return None;
    }
    let (bare, slash) = (rest.trim_matches('/'), path.ends_with('/'));
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
        // Both say that what they have not is refused their way; one of them ends its paths with a slash.
        _ if slash => (Dialect::Cadasta, Dialect::Xhoppe),
        _ => (Dialect::Xhoppe, Dialect::Cadasta),
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
        assert_eq!(whose(Method::GET, "/api/v1/elsewhere"), xhoppe);
        assert_eq!(whose(Method::GET, "/api/v1/elsewhere/"), cadasta);
        assert_eq!(whose(Method::GET, "/api/v1"), xhoppe);
        assert_eq!(whose(Method::GET, "/api/v1/"), cadasta);
        assert_eq!(whose(Method::GET, "/api/v10"), None);
        assert_eq!(whose(Method::GET, "/v1/users"), None);
    }

    #[test]
    fn what_is_switched_off_words_nothing() {
        let mut config = Config::default();
        config.cadasta.enabled = false;
        assert_eq!(dialect_of(&config, &Method::GET, "/api/v1/account/"), None);
        assert_eq!(
            dialect_of(&config, &Method::GET, "/api/v1/elsewhere/"),
            Some(Dialect::Xhoppe)
        );
        assert_eq!(
            dialect_of(&config, &Method::GET, "/api/v1/users/ada/"),
            Some(Dialect::Xhoppe)
        );
    }

    #[test]
    fn a_request_that_cannot_be_read_is_known_by_its_first_line() {
        let mut config = Config::default();
        config.agstack.prefix = "/agstack".into();
        let of = |begins: &str| unreadable(&config, begins.as_bytes(), 431, Slug::TooLarge);
        let verify = Some(r#"{"error":"Too large","message":false}"#);
        for asks in [
            "GET /verify-api-secret-keys HTTP/1.1\r\nhost",
            "GET /verify-api-secret-keys?x=1",
            "POST /verify-api-secret-keys/ HTTP/1.1",
            "GET /agstack/verify-api-secret-keys HTTP/1.1",
            "GET http://registry.example/verify-api-secret-keys HTTP/1.1",
        ] {
            assert_eq!(of(asks).as_deref(), verify, "{asks}");
        }
        assert_eq!(
            of("POST /api/v1/users HTTP/1.1").as_deref(),
            Some(r#"{"error":"Request is too large."}"#)
        );
        assert_eq!(
            of("GET /api/v1/users/ HTTP/1.1").as_deref(),
            Some(r#"{"detail":"Request is too large."}"#)
        );
        assert_eq!(
            of("GET /domains HTTP/1.1").as_deref(),
            Some(r#"{"Message":"Too large","message":"Too large"}"#)
        );
        assert_eq!(
            of("GET /agstack/fields-count-by-domain HTTP/1.1").as_deref(),
            Some(r#"{"Message":"Too large","error":"Too large","message":"Too large"}"#)
        );
        for asks in [
            "",
            "GET",
            "GET /signup HTTP/1.1",
            "GET /v1/verify-api-secret-keys HTTP/1.1",
            "\u{ff} \r\n",
        ] {
            assert_eq!(of(asks), None, "{asks}");
        }
        config.agstack.enabled = false;
        assert_eq!(
            unreadable(&config, b"GET /verify-api-secret-keys", 400, Slug::Malformed),
            None
        );
    }
}
