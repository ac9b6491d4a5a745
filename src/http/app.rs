//! What every handler shares, and how the routes are put together.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};

use super::document::Document;
use super::{caller, canonical, cors, dialects, edge, operations, pages};
use crate::config::Config;
use crate::follow::Health;
use crate::guards::Guards;
use crate::registry::Registry;
use crate::telemetry::Metrics;

/// Everything HTTP needs.
#[derive(Clone)]
pub struct App {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    config: Arc<Config>,
    metrics: Option<Metrics>,
    health: Health,
    guards: Option<Guards>,
    document: OnceLock<Document>,
}

impl App {
    /// The service over these use cases.
    #[must_use]
    pub fn new(registry: Registry, config: Arc<Config>, metrics: Option<Metrics>, health: Health) -> Self {
        let guards = config
            .limits
            .enabled
            .then(|| Guards::new(&config.limits, &registry.store().chance().bytes()));
        Self {
            inner: Arc::new(Inner {
                registry,
                config,
                metrics,
                health,
                guards,
                document: OnceLock::new(),
            }),
        }
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    pub(super) fn config(&self) -> &Config {
        &self.inner.config
    }

    pub(super) fn metrics(&self) -> Option<&Metrics> {
        self.inner.metrics.as_ref()
    }

    pub(super) fn health(&self) -> &Health {
        &self.inner.health
    }

    /// The rates, unless they are lifted.
    pub(super) fn guards(&self) -> Option<&Guards> {
        self.inner.guards.as_ref()
    }

    /// The document of the API, made when it is first asked for.
    pub(super) fn document(&self) -> &Document {
        self.inner.document.get_or_init(|| Document::new(&self.inner.config))
    }

    /// The router: every route of the table, behind the guard that reads the table.
    pub(super) fn router(self) -> Router {
        Router::new()
            .merge(canonical::router())
            .merge(operations::router())
            .merge(pages::router())
            .fallback(dialects::not_found)
            // The route is known here, so that its permission can be looked up before its handler runs.
            .route_layer(from_fn_with_state(self.clone(), caller::guard))
            .merge(dialects::router(&self))
            .layer(from_fn_with_state(self.clone(), cors::share))
            // Within the next one: the answer to a panic has an id and is counted too.
            .layer(from_fn(edge::catch_panic))
            .layer(from_fn_with_state(self.clone(), edge::request))
            // Bodies are limited where they are read, per route.
            .layer(DefaultBodyLimit::disable())
            .with_state(self)
    }
}
