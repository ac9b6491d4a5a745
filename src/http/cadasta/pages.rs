//! The pages behind the links of this dialect's mails. Opening one changes nothing: its button does.

use aggregates::values::Dialect;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Extensions, HeaderMap, StatusCode, Uri};
use axum::response::Response;
use axum::routing::get;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::fields::user_of;
use crate::guards::Class;
use crate::http::App;
use crate::http::body::Limits;
use crate::http::body::any::{Encodings, read_any};
use crate::http::members::{Throttled, anybody};
use crate::http::pages::{page, refused};
use crate::http::problem::escaped;
use crate::passwords::Password;
use crate::passwords::rules::OwnData;
use crate::registry::{Asked, Caller, LinkToken, Refusal, ResetProof};

const FORM: Encodings = Encodings {
    form: true,
    parts: false,
    lenient_json: false,
};

pub(super) fn router() -> Router<App> {
    let activate = get(ask_to_activate).post(activate);
    let reset = get(ask_to_reset).post(reset);
    Router::new()
        .route("/account/activate/{uid}/{token}", activate.clone())
        .route("/account/activate/{uid}/{token}/", activate)
        .route("/account/password/reset/confirm/{uid}/{token}", reset.clone())
        .route("/account/password/reset/confirm/{uid}/{token}/", reset)
}

/// What a link brings: whose it is, and the token, both of the right form.
fn link(uri: &Uri) -> Option<(Uuid, String)> {
    let mut parts = uri.path().trim_end_matches('/').rsplit('/');
    let (token, uid) = (parts.next()?, parts.next()?);
    LinkToken::parse(token)?;
    Some((user_of(uid)?, token.to_owned()))
}

fn invalid() -> Response {
    page(
        StatusCode::GONE,
        "This link does not work",
        "<p>It was used before, is too old, or is not complete. Log in, or ask for a new one.</p>",
    )
}

/// A form that posts to its own address, which holds the token already.
fn form(status: StatusCode, heading: &str, before: &str, inner: &str) -> Response {
    page(
        status,
        heading,
        &format!("{before}<form method=\"post\">{inner}</form>"),
    )
}

/// Whoever presses a button, and what their link brings.
fn pressed(
    app: &App,
    headers: &HeaderMap,
    extensions: &Extensions,
    uri: &Uri,
) -> Result<(Caller, Uuid, String), Refusal> {
    let caller = anybody(app, Dialect::Cadasta, headers, extensions, Class::Secret)
        .map_err(|Throttled(retry_after)| Refusal::TooMany { retry_after })?;
    let (user, token) = link(uri).ok_or(Refusal::InvalidToken)?;
    Ok((caller, user, token))
}

async fn ask_to_activate(uri: Uri) -> Response {
    match link(&uri) {
        Some(_) => form(
            StatusCode::OK,
            "Confirm your e-mail address",
            "",
            "<button>Confirm my e-mail address</button>",
        ),
        None => invalid(),
    }
}

async fn activate(State(app): State<App>, headers: HeaderMap, extensions: Extensions, uri: Uri) -> Response {
    let (caller, user, token) = match pressed(&app, &headers, &extensions, &uri) {
        Ok(pressed) => pressed,
        Err(refusal) => return refused(&refusal, invalid),
    };
    let asked = Asked::plainly(caller);
    match app.registry().confirm_address(&asked, user, &token).await {
        Ok(_) => page(
            StatusCode::OK,
            "Your e-mail address is confirmed",
            "<p>You can log in now.</p>",
        ),
        Err(refusal) => refused(&refusal, invalid),
    }
}

fn reset_form(status: StatusCode, before: &str) -> Response {
    form(
        status,
        "Set a new password",
        before,
        "<p><label>New password <input type=\"password\" name=\"new_password\" autocomplete=\"new-password\" \
         required minlength=\"10\"></label></p><button>Set this password</button>",
    )
}

async fn ask_to_reset(uri: Uri) -> Response {
    match link(&uri) {
        Some(_) => reset_form(StatusCode::OK, ""),
        None => invalid(),
    }
}

async fn reset(State(app): State<App>, headers: HeaderMap, extensions: Extensions, uri: Uri, body: Body) -> Response {
    let (caller, user, token) = match pressed(&app, &headers, &extensions, &uri) {
        Ok(pressed) => pressed,
        Err(refusal) => return refused(&refusal, invalid),
    };
    let limits = Limits::configured(&app.config().http, false);
    let Ok(fields) = read_any(&headers, body, limits, FORM).await else {
        return invalid();
    };
    let typed = Zeroizing::new(fields["new_password"].as_str().unwrap_or_default().to_owned());
    let again = |reasons: Vec<String>| {
        let reasons: Vec<String> = reasons
            .iter()
            .map(|reason| format!("<li>{}</li>", escaped(reason)))
            .collect();
        let before = format!("<p>This password may not be chosen:</p><ul>{}</ul>", reasons.concat());
        reset_form(StatusCode::BAD_REQUEST, &before)
    };
    let new = match Password::parse(&typed) {
        Ok(new) => new,
        Err(problem) => return again(vec![problem.to_string()]),
    };
    let words = |weak: Vec<_>| weak.into_iter().map(super::error::weakness).collect();
    let weak = app.registry().weaknesses_by(caller.dialect, &new, &OwnData::default());
    if !weak.is_empty() {
        return again(words(weak));
    }
    match app.registry().link_is_of(user, &token).await {
        Ok(true) => {}
        Ok(false) => return invalid(),
        Err(refusal) => return refused(&refusal, invalid),
    }
    let asked = Asked::plainly(caller);
    match app
        .registry()
        .reset_password(&asked, &ResetProof::Link(token), new)
        .await
    {
        Ok(_) => page(
            StatusCode::OK,
            "Your new password is set",
            "<p>All sessions have ended. Log in with it now.</p>",
        ),
        Err(Refusal::Weak(weak)) => again(words(weak)),
        Err(refusal) => refused(&refusal, invalid),
    }
}
