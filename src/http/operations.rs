//! What operators and other services need: health, metrics, keys, and the page of each problem.

use axum::Json;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;

use super::App;
use super::caller::client_address;
use super::document::{self, Absent, shape};
use super::problem::{Problem, Slug};
use super::query::{Segment, Segments};
use crate::public;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/.well-known/jwks.json", get(jwks))
        .route("/openapi.json", get(openapi))
        .route("/asyncapi.json", get(asyncapi))
        .route("/schemas/{type}/{version}", get(schema))
        .route("/docs", get(docs))
        .route("/docs/tokens", get(token_facts))
        .route("/docs/events", get(event_facts))
        .route("/problems", get(problem_index))
        .route("/problems/{slug}", get(problem_page))
}

/// The process lives.
async fn healthz() -> Json<serde_json::Value> {
    Json(serde_json::json!({ "status": "ok" }))
}

#[derive(Serialize)]
pub(super) struct Ready {
    status: &'static str,
    parts: Vec<Part>,
}

#[derive(Serialize)]
struct Part {
    name: String,
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

shape! {
    /// Whether requests can be served.
    Ready as "Ready" {
        /// ready, or not ready.
        status: String,
        parts: Vec<Part>,
    }

    /// A part the service needs.
    Part as "ReadyPart" {
        name: String,
        ready: bool,
        /// What is wrong with it.
        detail: Absent<String>,
    }
}

/// Whether requests can be served, part by part.
async fn readyz(State(app): State<App>) -> Response {
    let ping = async {
        let pinged = tokio::time::timeout(std::time::Duration::from_secs(1), app.registry().store().ping());
        matches!(pinged.await, Ok(Ok(())))
    };
    // Anybody may ask, as often as they like.
    let store = app.store_answers().get(ping).await;
    let mut parts = vec![Part {
        name: "store".to_owned(),
        ready: store,
        detail: (!store).then(|| "the database does not answer, or cannot be written".to_owned()),
    }];
    parts.extend(app.health().stopped().into_iter().map(|(follower, position)| Part {
        name: format!("follower {follower}"),
        ready: false,
        detail: Some(format!("stopped at position {position}")),
    }));
    let ready = parts.iter().all(|part| part.ready);
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let mut response = (
        status,
        Json(Ready {
            status: if ready { "ready" } else { "not ready" },
            parts,
        }),
    )
        .into_response();
    if !ready {
        // As every 503 here.
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// What was measured. Where followers are and what copies cover is read now, since another process may run them.
async fn metrics(State(app): State<App>, request: Request) -> Response {
    let networks = &app.config().http.metrics_networks;
    let reader = client_address(&app, request.headers(), request.extensions());
    if !reader.is_some_and(|reader| networks.iter().any(|network| network.contains(reader))) {
        return Problem::new(Slug::Forbidden)
            .detail("the address is in none of http.metrics_networks")
            .into_response();
    }
    let registry = app.registry();
    let reading = async { tokio::join!(registry.followers(), registry.store().uncovered()) };
    if let Ok((followers, uncovered)) = tokio::time::timeout(std::time::Duration::from_secs(1), reading).await {
        if let Ok(followers) = followers {
            crate::follow::show_lag(&followers);
        }
        if let Ok(events) = uncovered {
            crate::follow::show_uncovered(events);
        }
    }
    match app.metrics() {
        Some(metrics) => (
            [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
            metrics.render(),
        )
            .into_response(),
        None => Problem::new(Slug::NotFound).into_response(),
    }
}

/// The public keys of access tokens (RFC 7517). A new one is published ten minutes before it signs, so that whoever keeps
/// this for five has it in time.
async fn jwks(State(app): State<App>) -> Response {
    let keep = [(CACHE_CONTROL, "public, max-age=300")];
    (keep, Json(app.registry().verifier().jwks())).into_response()
}

/// The document for programs.
async fn openapi(State(app): State<App>) -> Response {
    ([(CONTENT_TYPE, "application/json")], app.document().json.clone()).into_response()
}

/// What there is to hear, for programs.
async fn asyncapi(State(app): State<App>) -> Response {
    ([(CONTENT_TYPE, "application/json")], app.document().channels.clone()).into_response()
}

/// The schema of the facts of a kind of public event. What was published never changes, so it may be kept.
async fn schema(Segments(kind, version): Segments) -> Result<Response, Problem> {
    let schema = public::schema(&kind, &version).ok_or_else(|| Problem::new(Slug::NotFound))?;
    let headers = [
        (CONTENT_TYPE, "application/schema+json"),
        (CACHE_CONTROL, "public, max-age=3600"),
    ];
    Ok((headers, schema.to_string()).into_response())
}

/// The same to read.
async fn docs(State(app): State<App>) -> Response {
    document::page(app.document().html.clone())
}

/// What those who verify access tokens must know.
async fn token_facts(State(app): State<App>) -> Response {
    document::page(app.document().tokens.clone())
}

/// What those who read histories must know.
async fn event_facts(State(app): State<App>) -> Response {
    document::page(app.document().events.clone())
}

async fn problem_index(headers: HeaderMap) -> Response {
    super::problem::index(&headers)
}

async fn problem_page(Segment(slug): Segment, headers: HeaderMap) -> Response {
    super::problem::page(&slug, &headers)
}
