//! The Xhoppe dialect: a phone number and an SMS code. It translates only.

mod account;
mod error;
mod fields;
mod recovery;
mod token;

use axum::Router;
use axum::routing::{MethodRouter, get, post, put};

use super::App;
use crate::config::Config;

pub(super) use error::{method_not_allowed, not_found, outside, unavailable};

/// Its routes, each with and without a slash.
pub(super) fn router(config: &Config) -> Router<App> {
    let both = |router: Router<App>, path: &str, methods: MethodRouter<App>| {
        router.route(path, methods.clone()).route(&format!("{path}/"), methods)
    };
    let mut router = Router::new();
    router = both(router, "/api/v1/users", post(account::register));
    router = both(router, "/api/v1/users/verify", post(account::verify));
    router = both(router, "/api/v1/users/resend_verify", post(account::resend));
    router = both(router, "/api/v1/users/forget_password", put(recovery::forget));
    router = both(router, "/api/v1/users/recover_password", put(recovery::recover));
    router = both(router, "/api/v1/users/change_password", put(account::change_password));
    router = both(router, "/api/v1/login", post(account::login));
    router = both(router, "/api/v1/user_info", get(account::user_info));
    if config.xhoppe.change_password_by_sms {
        router = both(router, "/api/v1/users/change_password_by_sms", post(recovery::by_sms));
    }
    router
}
