//! The feed: what happened, for other services, by pull and as a stream.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use metrics::counter;

use super::problem;
use crate::feed::{Pulled, Wanted};
use crate::http::App;
use crate::http::caller::{SignedInUser, still};
use crate::http::problem::{FieldError, Problem, Slug};
use crate::http::query::{Parameters, Segment};
use crate::http::routes::Permission;
use crate::http::streams::{Reader, too_many};
use crate::public::Types;
use crate::registry::Refusal;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Largest page, and the usual one (contract, section 7).
pub(super) const MOST: i64 = 1_000;
pub(super) const USUAL: i64 = 100;
/// Longest a caller may wait for what is not there yet, seconds.
pub(super) const LONGEST: u64 = 30;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/v1/events", get(pull))
        .route("/v1/events/stream", get(stream))
        .route("/v1/events/{position}", get(one))
}

fn types(parameters: &mut Parameters) -> Types {
    parameters.optional("types", str::parse::<Types>).unwrap_or_default()
}

fn refused(error: crate::store::StoreError) -> Problem {
    problem(Refusal::from(error))
}

async fn pull(State(app): State<App>, headers: HeaderMap, mut parameters: Parameters) -> Result<Response, Problem> {
    let after = parameters.after();
    let types = types(&mut parameters);
    let limit = parameters.limit(MOST, USUAL);
    let wait = parameters.optional("wait", |text| match text.parse() {
        Ok(seconds) if seconds <= LONGEST => Ok(Duration::from_secs(seconds)),
        _ => Err("must be a whole number of seconds from 0 to 30"),
    });
    parameters.finish()?;
    let wait = wait.unwrap_or_default();
    let pulled = app
        .feed()
        .pull(types, after, limit, wait, app.closing())
        .await
        .map_err(refused)?;
    if pulled.waited {
        // What the caller was let in with may have been taken back meanwhile.
        still(&app, credential(&headers)?, Permission::Subscriber).await?;
    }
    counter!("registry_feed_events_total", "way" => "pull").increment(pulled.events.len() as u64);
    Ok(json(page(&pulled)))
}

/// The documents stand in the page as they were made, and are not read again for it.
fn page(pulled: &Pulled) -> Vec<u8> {
    let length: usize = pulled.events.iter().map(|event| event.json().len() + 1).sum();
    let mut body = Vec::with_capacity(length + 64);
    body.extend_from_slice(b"{\"events\":[");
    for (index, event) in pulled.events.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(event.json());
    }
    body.extend_from_slice(format!("],\"next\":{},\"head\":{}}}", pulled.next, pulled.head).as_bytes());
    body
}

fn json(body: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

async fn one(State(app): State<App>, Segment(position): Segment, parameters: Parameters) -> Result<Response, Problem> {
    parameters.finish()?;
    let not_found = || Problem::new(Slug::NotFound);
    let position = position.parse().map_err(|_| not_found())?;
    let event = app.feed().at(position).await.map_err(refused)?.ok_or_else(not_found)?;
    Ok(json(event.json().to_vec()))
}

async fn stream(
    State(app): State<App>,
    known: SignedInUser,
    headers: HeaderMap,
    mut parameters: Parameters,
) -> Result<Response, Problem> {
    let after = parameters.after();
    let types = types(&mut parameters);
    parameters.finish()?;
    // What a reader has had it knows better than the address it was first given.
    let after = last_event(&headers)?.unwrap_or(after);
    let credential = credential(&headers)?.clone();
    let counted = app.streams().begin(known.caller.scope()).ok_or_else(too_many)?;
    let wanted = Wanted {
        types,
        watched: Some(known.id.to_string()),
    };
    Ok(Reader::new(app, wanted, credential, after, counted).into_response())
}

/// What the caller was let in with.
fn credential(headers: &HeaderMap) -> Result<&HeaderValue, Problem> {
    headers
        .get(AUTHORIZATION)
        .ok_or_else(|| Problem::new(Slug::Unauthenticated))
}

/// The position a reader that comes back has had last.
fn last_event(headers: &HeaderMap) -> Result<Option<i64>, Problem> {
    let mut values = headers.get_all(LAST_EVENT_ID).iter();
    let (first, second) = (values.next(), values.next());
    let Some(first) = first else { return Ok(None) };
    let position = first.to_str().ok().and_then(|text| text.parse().ok());
    match position {
        Some(position) if position >= 0 && second.is_none() => Ok(Some(position)),
        _ => Err(Problem::invalid(vec![FieldError::new(
            "/Last-Event-ID",
            "invalid",
            "must be the id of an event of this stream: a whole number, 0 or more",
        )])),
    }
}
