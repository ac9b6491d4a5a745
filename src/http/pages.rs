//! The page behind the link of a verification mail. Opening it changes nothing: the button does.

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Form, FromRequest as _, Query, Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;

use super::App;
use super::body::{self, BodyError, Limits};
use super::caller::Known;
use crate::registry::{Asked, LinkToken};

const POLICY: &str = "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

pub(super) fn router() -> Router<App> {
    Router::new().route("/verify-email", get(ask).post(verify))
}

#[derive(Deserialize)]
struct TokenField {
    #[serde(default)]
    token: String,
}

fn page(status: StatusCode, heading: &str, body: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{heading}</title>\
         <main><h1>{heading}</h1>{body}</main></html>"
    );
    // The address holds the token: it must not travel on to another site.
    (
        status,
        [(CONTENT_SECURITY_POLICY, POLICY), (REFERRER_POLICY, "no-referrer")],
        Html(html),
    )
        .into_response()
}

fn invalid() -> Response {
    page(
        StatusCode::GONE,
        "This link does not work",
        "<p>It was used before, is too old, or is not complete. Sign in, or ask for a new one.</p>",
    )
}

async fn ask(query: Result<Query<TokenField>, QueryRejection>) -> Response {
    // Only a text of the right form is written into the page: its alphabet needs no escaping.
    let Some(Query(TokenField { token })) = query.ok().filter(|query| LinkToken::parse(&query.token).is_some()) else {
        return invalid();
    };
    let form = format!(
        "<form method=\"post\" action=\"/verify-email\"><input type=\"hidden\" name=\"token\" value=\"{token}\">\
         <button>Confirm my e-mail address</button></form>"
    );
    page(StatusCode::OK, "Confirm your e-mail address", &form)
}

/// Reads the form of the page, within the bounds of every body.
async fn token_of(app: &App, request: Request) -> Result<String, Response> {
    let unreadable = |status| page(status, "This cannot be read", "<p>Open the link of the mail again.</p>");
    let (parts, body) = request.into_parts();
    let limits = Limits::configured(&app.config().http, false);
    let bytes = body::read_bytes(&parts.headers, body, limits).await.map_err(|error| {
        unreadable(match error {
            BodyError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        })
    })?;
    match Form::<TokenField>::from_request(Request::from_parts(parts, Body::from(bytes)), &()).await {
        Ok(Form(TokenField { token })) => Ok(token),
        Err(rejection) if rejection.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            Err(unreadable(StatusCode::UNSUPPORTED_MEDIA_TYPE))
        }
        Err(_) => Err(invalid()),
    }
}

async fn verify(State(app): State<App>, Known { caller, .. }: Known, request: Request) -> Response {
    let token = match token_of(&app, request).await {
        Ok(token) => token,
        Err(page) => return page,
    };
    match app.registry().verify_email(&Asked::plainly(caller), &token).await {
        Ok(_) => page(
            StatusCode::OK,
            "Your e-mail address is confirmed",
            "<p>You can sign in now.</p>",
        ),
        Err(crate::registry::Refusal::Unavailable { .. }) => page(
            StatusCode::SERVICE_UNAVAILABLE,
            "Please try again",
            "<p>Something is busy. Try again in a moment.</p>",
        ),
        Err(_) => invalid(),
    }
}
