//! `/v1/sessions`.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

use super::problem;
use super::wire::{Page, SessionBody, TokenBody};
use crate::http::App;
use crate::http::body::{self, Fields, Limits};
use crate::http::caller::{Known, Person};
use crate::http::problem::{Problem, Slug};
use crate::http::query::{Parameters, Segment};
use crate::passwords::Password;
use crate::registry::{Asked, Identifier, Refusal};

/// Longest identifier that is looked up, characters; a longer one is nobody's.
const IDENTIFIER_CHARACTERS: usize = 320;

pub(super) async fn sign_in(
    State(app): State<App>,
    Known { caller, .. }: Known,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let limits = Limits::configured(&app.config().http, false);
    let mut fields = Fields::of(body::read_parts(&headers, body, limits).await?);
    let identifier = fields.required("identifier", |text| {
        if text.chars().count() > IDENTIFIER_CHARACTERS {
            return Err(body::Refusal::new("too-long", "has more than 320 characters"));
        }
        Ok(Identifier::parse(text))
    });
    let password = fields.required("password", |text| {
        Password::parse(text).map_err(|error| body::Refusal::new(error.code(), error.to_string()))
    });
    let (identifier, password) = fields.finish(|| Some((identifier?, password?)))?;
    let signed_in = app
        .registry()
        .sign_in(&caller, &identifier, password)
        .await
        .map_err(problem)?;
    Ok((StatusCode::CREATED, Json(TokenBody::from(&signed_in))).into_response())
}

pub(super) async fn refresh(
    State(app): State<App>,
    Known { caller, .. }: Known,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let limits = Limits::configured(&app.config().http, false);
    let mut fields = Fields::of(body::read_parts(&headers, body, limits).await?);
    let token = fields.required("refresh_token", |text| {
        Ok::<_, body::Refusal>(zeroize::Zeroizing::new(text.to_owned()))
    });
    let token = fields.finish(|| token)?;
    let signed_in = app.registry().refresh(&caller, &token).await.map_err(problem)?;
    Ok(Json(TokenBody::from(&signed_in)).into_response())
}

pub(super) async fn list(
    State(app): State<App>,
    Person { id, session, .. }: Person,
    parameters: Parameters,
) -> Result<Json<Page<SessionBody, String>>, Problem> {
    parameters.finish()?;
    let rows = app.registry().sessions(id).await.map_err(problem)?;
    let items = rows.into_iter().map(|row| SessionBody::new(row, session)).collect();
    Ok(Json(Page { items, next: None }))
}

pub(super) async fn end_current(
    State(app): State<App>,
    Person {
        caller, id, session, ..
    }: Person,
) -> Result<StatusCode, Problem> {
    ended(app.registry().end_session(&Asked::plainly(caller), id, session).await)
}

pub(super) async fn end_one(
    State(app): State<App>,
    Person { caller, id, .. }: Person,
    Segment(session): Segment,
) -> Result<StatusCode, Problem> {
    let session = Uuid::parse_str(&session).map_err(|_| Problem::new(Slug::NotFound))?;
    ended(app.registry().end_session(&Asked::plainly(caller), id, session).await)
}

pub(super) async fn end_all(
    State(app): State<App>,
    Person {
        caller, id, session, ..
    }: Person,
) -> Result<StatusCode, Problem> {
    ended(
        app.registry()
            .end_all_sessions(&Asked::plainly(caller), id, session)
            .await,
    )
}

fn ended<T>(result: Result<T, Refusal>) -> Result<StatusCode, Problem> {
    result.map(|_| StatusCode::NO_CONTENT).map_err(problem)
}
