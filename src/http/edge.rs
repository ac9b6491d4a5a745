//! What happens to every request, whatever its route: an id, a limit, a measure, a log line, and no panic gets out.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt as _;
use metrics::{counter, histogram};
use tracing::Instrument as _;
use tracing::field::Empty;

use super::problem::{Problem, Rule, Slug};
use super::{App, dialects};
use crate::trace::TraceParent;

/// The id of a request: in its answer, its events' metadata and its log lines.
#[derive(Debug, Clone)]
pub(super) struct RequestId(pub String);

/// Gives the request its id, measures it, logs it.
pub(super) async fn request(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let store = app.registry().store();
    let id = store.chance().uuid_v7(store.now()).to_string();
    request.extensions_mut().insert(RequestId(id.clone()));
    let method = request.method().clone();
    // The pattern, never the path: a path may hold what somebody typed.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("none".to_owned(), |path| path.as_str().to_owned());
    let http = &app.config().http;
    let beyond = if request.uri().to_string().len() > http.uri_bytes {
        Some("the request's address is too long")
    } else if size(request.headers()) > http.header_bytes {
        // The connection's buffer has the same bound, but may have read further when the head was complete.
        Some("the request's headers are too large")
    } else {
        None
    };
    let voice = dialects::Voice::of(&app, &request);
    let span = tracing::info_span!("http", request.id = %id, method = method_label(&method), route = %route, traceparent = Empty);
    if let Some(trace) = trace(request.headers()) {
        span.record("traceparent", trace.as_str());
        request.extensions_mut().insert(trace);
    }
    let response = async {
        match beyond {
            Some(detail) => Problem::new(Slug::TooLarge).detail(detail).into_response(),
            None => next.run(request).await,
        }
    }
    .instrument(span.clone())
    .await;
    if let Some(rule) = Rule::behind(&response).filter(|rule| !rule.status().is_server_error()) {
        counter!("registry_refusals_total", "rule" => rule.as_str()).increment(1);
    }
    // Counted by now: a dialect's own words leave no kind behind.
    let response = match voice {
        Some(voice) => voice.reword(response),
        None => response,
    };
    let mut response = Problem::stamp(response, &id);
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-request-id", value);
    }
    response
        .headers_mut()
        .entry(header::X_CONTENT_TYPE_OPTIONS)
        .or_insert(HeaderValue::from_static("nosniff"));
    response
        .headers_mut()
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    let (status, took) = (response.status(), started.elapsed());
    let labels = [
        ("method", method_label(&method).to_owned()),
        ("route", route),
        ("status", status.as_str().to_owned()),
    ];
    counter!("registry_http_requests_total", &labels).increment(1);
    histogram!("registry_http_request_seconds", &labels[..2]).record(took.as_secs_f64());
    let _entered = span.enter();
    tracing::debug!(status = status.as_u16(), took_us = took.as_micros(), "request answered");
    response
}

/// The trace a request belongs to. Of several nobody can say which it is.
fn trace(headers: &HeaderMap) -> Option<TraceParent> {
    let mut values = headers.get_all("traceparent").iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    TraceParent::parse(value.to_str().ok()?)
}

/// The bytes of headers as they were sent: name, colon, blank, value and the end of the line.
fn size(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum()
}

/// A method is whatever a client sends; a label is one of a few.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// A panic is a fault of ours: logged whole, answered with one sentence.
pub(super) async fn catch_panic(request: Request, next: Next) -> Response {
    if let Ok(response) = AssertUnwindSafe(next.run(request)).catch_unwind().await {
        return response;
    }
    tracing::error!("a handler panicked");
    counter!("registry_panics_total").increment(1);
    Problem::new(Slug::Internal).into_response()
}

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, and this one panics"
)]
mod tests {
    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::middleware::from_fn;
    use axum::routing::get;
    use tower::ServiceExt as _;

    use super::*;

    async fn panics() {
        panic!("canary in a panic: {}", "hunter2");
    }

    #[test]
    fn a_panic_is_counted() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        metrics::with_local_recorder(&recorder, || {
            for _ in 0..2 {
                let router: Router = Router::new().route("/", get(panics)).layer(from_fn(catch_panic));
                let response = runtime.block_on(router.oneshot(Request::new(Body::empty()))).unwrap();
                assert_eq!(response.status().as_u16(), 500);
            }
        });
        let told = recorder.handle().render();
        assert!(told.contains("registry_panics_total 2"), "{told}");
    }

    #[tokio::test]
    async fn a_panic_is_answered_without_a_word_of_what_it_said() {
        let router: Router = Router::new().route("/", get(panics)).layer(from_fn(catch_panic));
        let response = router.oneshot(Request::new(Body::empty())).await.unwrap();
        assert_eq!(response.status().as_u16(), 500);
        let told = format!("{:?}", response.headers());
        let body = to_bytes(response.into_body(), 65_536).await.unwrap();
        let told = told + std::str::from_utf8(&body).unwrap();
        assert!(!told.contains("canary") && !told.contains("hunter2"), "{told}");
    }
}
