//! The Taxi dialect: translates only.

use axum::Router;

use super::App;

/// Its routes.
pub(super) fn router() -> Router<App> {
    Router::new()
}
