//! The Xhoppe dialect: a phone number and an SMS code. It translates only.

mod error;

use axum::Router;

use super::App;
use crate::config::Config;

pub(super) use error::{method_not_allowed, not_found, unavailable};

/// Its routes.
pub(super) fn router(_: &Config) -> Router<App> {
    Router::new()
}
