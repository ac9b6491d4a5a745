//! The dialects beside the canonical API: which are mounted.
//!
//! Each reads its own credentials and words its own errors, so none of them stands behind the canonical guard.

use axum::Router;

use super::{App, agstack, cadasta, taxi, xhoppe};

/// The routes of every dialect that is switched on.
pub(super) fn router(app: &App) -> Router<App> {
    let config = app.config();
    let others = [
        (config.cadasta.enabled, cadasta::router as fn() -> Router<App>),
        (config.xhoppe.enabled, xhoppe::router),
        (config.taxi.enabled, taxi::router),
    ]
    .into_iter()
    .filter(|(enabled, _)| *enabled)
    .fold(Router::new(), |all, (_, router)| all.merge(router()));
    if config.agstack.enabled {
        others.merge(agstack::router(app))
    } else {
        others
    }
}
