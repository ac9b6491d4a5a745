//! The Cadasta dialect: the account API of a land platform, and its users for superusers. It translates only.

mod account;
mod error;
mod fields;
mod pages;
mod password;
mod people;
mod token;
mod wire;

use axum::Router;
use axum::routing::{MethodRouter, get, post};

use super::App;
use super::dialects::XHOPPE_USERS;
use crate::config::Config;

pub(super) use error::{method_not_allowed, not_found, outside, unavailable};

/// Its routes. Each path is served with and without its slash: a redirected `POST` would lose its body.
pub(super) fn router(config: &Config) -> Router<App> {
    let both = |router: Router<App>, path: &str, methods: MethodRouter<App>| {
        router.route(path, methods.clone()).route(&format!("{path}/"), methods)
    };
    let mut router = Router::new()
        .merge(pages::router())
        .route("/api/v1/users", get(people::list))
        .route("/api/v1/users/", get(people::list));
    router = both(
        router,
        "/api/v1/account",
        get(account::read).patch(account::patch).put(account::put),
    );
    router = both(router, "/api/v1/account/login", post(account::login));
    router = both(router, "/api/v1/account/logout", post(account::logout));
    router = both(router, "/api/v1/account/register", post(account::register));
    router = both(router, "/api/v1/account/activate", post(account::activate));
    router = both(router, "/api/v1/account/password", post(password::change));
    router = both(router, "/api/v1/account/password/reset", post(password::ask));
    router = both(
        router,
        "/api/v1/account/password/reset/confirm",
        post(password::confirm),
    );
    let one = || get(people::read).patch(people::patch);
    router = both(router, "/api/v1/users/{username}", one().put(people::put));
    if config.xhoppe.enabled {
        // The other dialect's literal paths come before the parameter; with a slash they still name a user here, but
        // for the one method the other has.
        for (word, method) in XHOPPE_USERS {
            let methods = if method == axum::http::Method::PUT {
                one()
            } else {
                one().put(people::put)
            };
            router = router.route(&format!("/api/v1/users/{word}/"), methods);
        }
    }
    router
}
