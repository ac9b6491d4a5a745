//! API keys with their client secrets (contract, sections 3.9 and 3.10).

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::form::Form;
use super::visit::{Visit, answer, told_twice};
use super::words;
use crate::http::App;
use crate::http::problem::{Problem, Slug};
use crate::registry::{Asked, Refusal, SharedWant};

/// `GET /verify-api-secret-keys`. Its reader looks at `message` alone and takes every text for yes, so no answer of this
/// path ever holds one there.
pub(super) async fn verify(visit: Visit) -> Response {
    let says = |status: StatusCode, holds: bool, error: Option<&str>| {
        let mut body = json!({ "message": holds });
        if let Some(error) = error {
            body["error"] = error.into();
        }
        answer(status, body)
    };
    let keys = (visit.header_text("api-key"), visit.header_text("client-secret"));
    let (Some(api_key), Some(client_secret)) = keys else {
        return says(StatusCode::BAD_REQUEST, false, Some(words::KEYS_REQUIRED));
    };
    let found = visit
        .app
        .registry()
        .is_key_pair(api_key.trim(), client_secret.trim())
        .await;
    match found {
        Ok(holds) => says(StatusCode::OK, holds, None),
        Err(refusal) => {
            // Its kind is told to the layers around; the words are made for this path there.
            let response = visit.failed(refusal, words::VERIFY_ERROR);
            if response.extensions().get::<Problem>().is_some() {
                return response;
            }
            says(StatusCode::UNAUTHORIZED, false, Some(words::VERIFY_ERROR))
        }
    }
}

/// `/generate-api-keys`: a `GET` for those who show a token themselves; a browser, which shows it by itself, must mean it.
pub(super) async fn generate(State(app): State<App>, visit: Visit, request: Request) -> Response {
    let visitor = match visit.visitor(SharedWant::Access).await {
        Ok(visitor) => visitor,
        Err(why) => return visit.turned_away(why),
    };
    if visitor.by_cookie && visit.method != Method::POST {
        return Problem::method_not_allowed("POST").into_response();
    }
    // A page's button sends what its form holds; a program sends nothing.
    let form = if visit.method == Method::POST {
        Form::read(&app.config().http, request).await.ok()
    } else {
        None
    };
    if !visit.is_meant_by(&visitor, form.as_ref()) {
        return Problem::new(Slug::Forbidden).into_response();
    }
    let asked = Asked::plainly(visitor.caller);
    let issued = visit
        .app
        .registry()
        .issue_key_pair(&asked, visitor.account.id, !visit.json)
        .await;
    match issued {
        Ok(pair) if visit.json => answer(
            StatusCode::OK,
            json!({
                "Message": words::KEYS_GENERATED,
                "message": words::KEYS_GENERATED,
                "api_key": pair.api_key.as_str(),
                "client_secret": pair.client_secret.as_str(),
            }),
        ),
        Ok(_) => visit.away_saying("/home", words::KEYS_SENT),
        Err(Refusal::NotFound) => told_twice(StatusCode::NOT_FOUND, words::NO_USER),
        Err(Refusal::Unavailable { retry_after }) => Problem::unavailable(retry_after).into_response(),
        Err(refusal) => {
            tracing::warn!(%refusal, "a pair of keys could not be made");
            told_twice(StatusCode::BAD_REQUEST, words::KEYS_ERROR)
        }
    }
}
