//! The Taxi dialect: customers of an app register. It translates only.

mod envelope;
mod register;
mod wire;

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};

pub(super) use envelope::outside;

use self::envelope::Refused;
use super::App;

/// Its routes, each with and without a slash.
pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/api/v1/user/register", post(register::register))
        .route("/api/v1/user/register/", post(register::register))
        .route("/api/v1/user/me", get(register::me))
        .route("/api/v1/user/me/", get(register::me))
}

/// A path nobody serves.
pub(super) fn not_found() -> Response {
    Refused::outside(StatusCode::NOT_FOUND, "Not found").into_response()
}

/// A method that a path does not have.
pub(super) fn method_not_allowed() -> Response {
    Refused::outside(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed").into_response()
}

/// A database that hangs.
pub(super) fn unavailable() -> Response {
    Refused::unavailable(2).into_response()
}
