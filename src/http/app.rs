//! What every handler shares, and how the routes are put together.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use tokio_util::sync::CancellationToken;

use super::agstack::AssetRegistry;
use super::document::Document;
use super::fresh::Fresh;
use super::streams::Streams;
use super::{caller, canonical, cors, dialects, edge, operations, pages};
use crate::config::Config;
use crate::feed::Feed;
use crate::follow::Health;
use crate::guards::Guards;
use crate::public::Public;
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
    base_url: String,
    metrics: Option<Metrics>,
    health: Health,
    store_answers: Fresh<bool>,
    guards: Option<Guards>,
    document: OnceLock<Document>,
    feed: Feed,
    streams: Streams,
    assets: Option<AssetRegistry>,
    closing: CancellationToken,
}

impl App {
    /// The service over these use cases. `listening` is what addresses of its own begin with if no `public_url` is set;
    /// `assets` is told of logins.
    #[must_use]
    pub fn new(
        registry: Registry,
        config: Arc<Config>,
        metrics: Option<Metrics>,
        health: Health,
        listening: String,
        assets: Option<AssetRegistry>,
    ) -> Self {
        let guards = config
            .limits
            .enabled
            .then(|| Guards::new(&config.limits, &registry.store().chance().bytes()));
        let feed = Feed::new(registry.store().clone(), Public::new(config.public_url.as_deref()));
        let streams = config.limits.enabled.then_some(config.feed.streams_per_caller);
        Self {
            inner: Arc::new(Inner {
                registry,
                base_url: config.public_url.clone().unwrap_or(listening),
                config,
                metrics,
                health,
                store_answers: Fresh::default(),
                guards,
                document: OnceLock::new(),
                feed,
                streams: Streams::new(streams),
                assets,
                closing: CancellationToken::new(),
            }),
        }
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    pub(super) fn config(&self) -> &Config {
        &self.inner.config
    }

    /// What whole addresses of its own begin with.
    pub(super) fn base_url(&self) -> &str {
        &self.inner.base_url
    }

    /// Whether its public address is encrypted: cookies then travel no other way.
    pub(super) fn is_https(&self) -> bool {
        self.base_url().starts_with("https://")
    }

    pub(super) fn metrics(&self) -> Option<&Metrics> {
        self.inner.metrics.as_ref()
    }

    pub(super) fn health(&self) -> &Health {
        &self.inner.health
    }

    /// Whether the store answers, as it was found out a moment ago.
    pub(super) fn store_answers(&self) -> &Fresh<bool> {
        &self.inner.store_answers
    }

    /// The rates, unless they are lifted.
    pub(super) fn guards(&self) -> Option<&Guards> {
        self.inner.guards.as_ref()
    }

    pub(super) fn feed(&self) -> &Feed {
        &self.inner.feed
    }

    /// The streams that are open.
    pub(super) fn streams(&self) -> &Streams {
        &self.inner.streams
    }

    /// Where the tokens of a login are pushed to, if they are.
    pub(super) fn assets(&self) -> Option<&AssetRegistry> {
        self.inner.assets.as_ref()
    }

    /// Cancelled when the service is about to end: what waits on purpose then ends.
    pub(super) fn closing(&self) -> &CancellationToken {
        &self.inner.closing
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
