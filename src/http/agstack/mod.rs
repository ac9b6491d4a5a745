//! The AgStack dialect: what the clients of the AgStack user registry and its asset registry call. It translates only.
//!
//! Answers are JSON for programs and pages for browsers (`negotiate`). The dialect stands outside the canonical guard: it
//! reads its own tokens, and its refusals, those of outer layers too, get its own words (`refusals`).

mod accounts;
mod cookies;
mod domains;
mod form;
mod keys;
mod negotiate;
mod pages;
mod passwords;
mod push;
mod refusals;
mod sessions;
mod statistics;
mod visit;
mod words;

use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::HOST;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, put};

use super::caller::client_address;
use super::limited::Heard;
use super::problem::{Problem, Slug};
use super::{App, deadline};
use crate::config;

pub use push::AssetRegistry;
pub(super) use refusals::{Voice, unreadable};
use visit::Original;

/// What peers read, and how long it may take at most.
const PEERS: [&str; 5] = [
    "/domains",
    "/authority-token",
    "/authority-token/",
    "/fields-count-by-domain",
    "/verify-api-secret-keys",
];
const READ: Duration = Duration::from_millis(1_900);
/// What is only read otherwise.
const PAGES: [&str; 6] = [
    "/home",
    "/update",
    "/refresh",
    "/dashboard",
    "/asset-registry-home",
    "/forgot-password",
];

/// Its routes: at the root, and once more under a prefix if there is one.
pub(super) fn router(app: &App) -> Router<App> {
    let config = &app.config().agstack;
    let mut root = routes();
    if !config.host.is_empty() {
        root = root.route_layer(from_fn_with_state(app.clone(), only_host));
    }
    let mut all = root;
    if !config.prefix.is_empty() {
        let prefix = config.prefix.as_str();
        let front = Router::new().route(&format!("{prefix}/"), get(sessions::front).post(sessions::front_form));
        all = all.nest(prefix, routes()).merge(front);
    }
    all.route_layer(from_fn_with_state(app.clone(), guard))
}

fn routes() -> Router<App> {
    let front = || get(sessions::front).post(sessions::front_form);
    let authority = || get(domains::authority_token);
    Router::new()
        .route("/", front())
        .route("/login", front())
        .route("/signup", get(pages::sign_up).post(accounts::sign_up))
        .route(
            "/update",
            get(pages::update)
                .post(accounts::update)
                .put(accounts::update)
                .patch(accounts::update),
        )
        .route(
            "/logout",
            get(sessions::logout).post(sessions::logout).delete(sessions::logout),
        )
        .route("/refresh", get(sessions::refresh))
        .route("/activate/{token}", get(accounts::activate))
        .route("/resend", get(accounts::resend))
        .route("/forgot-password", get(pages::forgot).post(passwords::forgot))
        .route("/reset-password/{token}", get(pages::reset).post(passwords::reset))
        // Both forms are one path to the clients there are, and a redirect would cost one of their two seconds.
        .route("/authority-token", authority())
        .route("/authority-token/", authority())
        .route("/domains", get(domains::list).post(domains::authorize))
        .route("/fields-count-by-domain", get(domains::fields_count))
        .route("/verify-api-secret-keys", get(keys::verify))
        .route("/generate-api-keys", get(keys::generate).post(keys::generate))
        .route("/home", get(pages::home).post(pages::home))
        .route("/asset-registry-home", get(sessions::asset_registry))
        .route("/dashboard", get(statistics::dashboard))
        .route("/admin/domains/{domain}", put(domains::set_standing))
        .route(
            "/admin/blocked-emails/{email}",
            put(domains::block_address).delete(domains::unblock_address),
        )
        .route("/agstack.css", get(pages::style))
        .method_not_allowed_fallback(not_allowed)
        .layer(from_fn(no_referrer))
}

/// The path within a mount under this prefix. None: it is not in that mount.
fn within<'a>(prefix: &str, path: &'a str) -> Option<&'a str> {
    if prefix.is_empty() {
        return None;
    }
    match path.strip_prefix(prefix)? {
        "" => Some("/"),
        rest if rest.starts_with(['/', '?']) => Some(rest),
        _ => None,
    }
}

async fn not_allowed() -> Problem {
    Problem::new(Slug::MethodNotAllowed)
}

/// Counts a request before its handler runs: reading a token costs more.
async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let original = request.uri().clone();
    let path = within(&app.config().agstack.prefix, original.path()).unwrap_or(original.path());
    let address = client_address(&app, request.headers(), request.extensions());
    let trusted = address.is_some_and(|address| is_trusted(&app.config().agstack, address));
    let class = refusals::class(request.method(), path, request.headers(), trusted);
    let heard = Heard::default();
    if let Some(response) = heard.told().by_address(&app, class, address) {
        return response;
    }
    request.extensions_mut().insert(heard.clone());
    let read = request.method().is_safe() && PEERS.contains(&path);
    request.extensions_mut().insert(Original(original.clone()));
    let limit = if read {
        // Its readers give up by then.
        READ
    } else if PAGES.contains(&path) && request.method().is_safe() {
        deadline::READ
    } else {
        deadline::write(app.config())
    };
    let away = app.registry().store().watch_away();
    let answered = deadline::in_time(limit, away, request, |request| next.run(request)).await;
    let mut response = answered.unwrap_or_else(|| Problem::unavailable(2).into_response());
    heard.told().tell(&mut response);
    response
}

fn is_trusted(config: &config::Agstack, address: std::net::IpAddr) -> bool {
    config.trusted_clients.iter().any(|network| network.contains(address))
}

/// Under other names than the dialect's own, the root is not the dialect's.
async fn only_host(State(app): State<App>, request: Request, next: Next) -> Response {
    let wanted = app.config().agstack.host.as_str();
    let host = request.headers().get(HOST).and_then(|value| value.to_str().ok());
    if host.is_some_and(|host| names(wanted, host)) {
        next.run(request).await
    } else {
        Problem::new(Slug::NotFound).into_response()
    }
}

/// Whether a `Host` is the one of the configuration: exact, or begun by what stands before `.*`.
fn names(wanted: &str, host: &str) -> bool {
    let bare = |text: &str| text.split(':').next().unwrap_or_default().to_ascii_lowercase();
    match wanted.strip_suffix('*') {
        Some(beginning) => bare(host).starts_with(&beginning.to_ascii_lowercase()),
        None if wanted.contains(':') => wanted.eq_ignore_ascii_case(host),
        None => bare(wanted) == bare(host),
    }
}

/// A path may hold a token: it must not travel on to another site.
async fn no_referrer(request: Request, next: Next) -> Response {
    use axum::http::HeaderValue;
    use axum::http::header::REFERRER_POLICY;
    let mut response = next.run(request).await;
    response
        .headers_mut()
        .insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_told_from_what_begins_alike() {
        assert_eq!(within("/agstack", "/agstack"), Some("/"));
        assert_eq!(within("/agstack", "/agstack/login?x"), Some("/login?x"));
        assert_eq!(within("/agstack", "/agstack?x"), Some("?x"));
        assert_eq!(within("/agstack", "/agstacks/login"), None);
        assert_eq!(within("", "/login"), None);
    }

    #[test]
    fn a_host_is_the_one_of_the_configuration() {
        assert!(names("ur.example", "UR.example:8080") && names("ur.*", "ur.agstack.example"));
        assert!(names("localhost:80", "localhost:80"));
        assert!(!names("ur.example", "example") && !names("ur.*", "urs.example") && !names("a:80", "a:81"));
    }
}
