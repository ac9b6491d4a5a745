//! The pages behind the links of mails. Opening one changes nothing: its button does.

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Form, FromRequest as _, Query, Request, State};
use axum::http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::App;
use super::body::{self, BodyError, Limits};
use super::caller::Known;
use super::problem::Rule;
use crate::passwords::Password;
use crate::passwords::rules::{OwnData, Weakness};
use crate::registry::{Asked, LinkToken, Refusal, ResetProof};

const POLICY: &str = "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

pub(super) fn router() -> Router<App> {
    Router::new()
        .route(VERIFY.path, get(ask_to_verify).post(verify))
        .route(CONFIRM.path, get(ask_to_confirm).post(confirm))
        .route(RESET.path, get(ask_to_reset).post(reset))
}

/// What one of the pages says.
struct Landing {
    path: &'static str,
    asks: &'static str,
    button: &'static str,
    /// A field for a new password, where one is asked for.
    field: &'static str,
    done: &'static str,
    then: &'static str,
}

const VERIFY: Landing = Landing {
    path: "/verify-email",
    asks: "Confirm your e-mail address",
    button: "Confirm my e-mail address",
    field: "",
    done: "Your e-mail address is confirmed",
    then: "You can sign in now.",
};

const CONFIRM: Landing = Landing {
    path: "/confirm-email-change",
    asks: "Confirm your new e-mail address",
    button: "Use this e-mail address from now on",
    field: "",
    done: "Your e-mail address is changed",
    then: "Sign in with it from now on.",
};

const RESET: Landing = Landing {
    path: "/reset-password",
    asks: "Set a new password",
    button: "Set this password",
    field: "<p><label>New password <input type=\"password\" name=\"new_password\" autocomplete=\"new-password\" \
            required minlength=\"8\"></label></p>",
    done: "Your new password is set",
    then: "All sessions have ended. Sign in with it now.",
};

/// What a link brings.
#[derive(Deserialize)]
struct TokenField {
    #[serde(default)]
    token: String,
}

/// What a form sends.
#[derive(Deserialize)]
struct FormFields {
    #[serde(default)]
    token: String,
    #[serde(default)]
    new_password: String,
}

pub(super) fn page(status: StatusCode, heading: &str, body: &str) -> Response {
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

/// The page for what was not done; `invalid` is the one for a link that opens nothing. Only what lies in the link is
/// told of it: a fault of ours goes to the log, and what is away or asked for too often says when to come back.
pub(super) fn refused(refusal: &Refusal, invalid: impl FnOnce() -> Response) -> Response {
    let response = match refusal {
        Refusal::Unavailable { retry_after } => wait(
            StatusCode::SERVICE_UNAVAILABLE,
            "<p>Something is busy. Try again in a moment.</p>",
            *retry_after,
        ),
        Refusal::TooMany { retry_after } => wait(
            StatusCode::TOO_MANY_REQUESTS,
            "<p>This was asked for too often. Try again in a moment; the link was not used.</p>",
            *retry_after,
        ),
        Refusal::Internal(problem) => {
            tracing::error!(%problem, "a request met a fault of ours");
            page(
                StatusCode::INTERNAL_SERVER_ERROR,
                "Something went wrong",
                "<p>The fault is ours, and nothing has changed. Try again later.</p>",
            )
        }
        Refusal::DomainBlocked(_) | Refusal::AddressBlocked(_) => page(
            StatusCode::FORBIDDEN,
            "This address cannot be used",
            "<p>An administrator does not admit it. Nothing has changed.</p>",
        ),
        Refusal::Taken(_)
        | Refusal::InvalidToken
        | Refusal::StaleCode
        | Refusal::InvalidCredentials
        | Refusal::Denied(_)
        | Refusal::WrongPassword
        | Refusal::Weak(_)
        | Refusal::Revoked
        | Refusal::Expired
        | Refusal::Forbidden
        | Refusal::NotFound
        | Refusal::Stale
        | Refusal::IdempotencyMismatch
        | Refusal::Conflict(_) => invalid(),
    };
    Rule::of(refusal).on(response)
}

/// The page that says when to come back.
fn wait(status: StatusCode, body: &str, seconds: u32) -> Response {
    let mut response = page(status, "Please try again", body);
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    response
}

fn invalid() -> Response {
    page(
        StatusCode::GONE,
        "This link does not work",
        "<p>It was used before, is too old, or is not complete. Sign in, or ask for a new one.</p>",
    )
}

impl Landing {
    fn ask(&self, query: Result<Query<TokenField>, QueryRejection>) -> Response {
        match query {
            Ok(Query(TokenField { token })) if LinkToken::parse(&token).is_some() => {
                self.form(StatusCode::OK, &token, "")
            }
            _ => invalid(),
        }
    }

    /// The form. Only a token of the right form is written into it: its alphabet needs no escaping.
    fn form(&self, status: StatusCode, token: &str, before: &str) -> Response {
        let (path, field, button) = (self.path, self.field, self.button);
        let form = format!(
            "{before}<form method=\"post\" action=\"{path}\"><input type=\"hidden\" name=\"token\" \
             value=\"{token}\">{field}<button>{button}</button></form>"
        );
        page(status, self.asks, &form)
    }

    fn answer(&self, refusal: Option<&Refusal>) -> Response {
        match refusal {
            None => page(StatusCode::OK, self.done, &format!("<p>{}</p>", self.then)),
            Some(refusal) => refused(refusal, invalid),
        }
    }
}

/// Reads the form of a page, within the bounds of every body.
async fn form_of(app: &App, request: Request) -> Result<FormFields, Response> {
    let unreadable = |status| page(status, "This cannot be read", "<p>Open the link of the mail again.</p>");
    let (parts, body) = request.into_parts();
    let limits = Limits::configured(&app.config().http, false);
    let bytes = body::read_bytes(&parts.headers, body, limits).await.map_err(|error| {
        unreadable(match error {
            BodyError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        })
    })?;
    match Form::<FormFields>::from_request(Request::from_parts(parts, Body::from(bytes)), &()).await {
        Ok(Form(fields)) => Ok(fields),
        Err(rejection) if rejection.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            Err(unreadable(StatusCode::UNSUPPORTED_MEDIA_TYPE))
        }
        Err(_) => Err(invalid()),
    }
}

type Link = Result<Query<TokenField>, QueryRejection>;

async fn ask_to_verify(link: Link) -> Response {
    VERIFY.ask(link)
}

async fn verify(State(app): State<App>, Known { caller, .. }: Known, request: Request) -> Response {
    match form_of(&app, request).await {
        Ok(form) => {
            let done = app.registry().verify_email(&Asked::plainly(caller), &form.token).await;
            VERIFY.answer(done.err().as_ref())
        }
        Err(page) => page,
    }
}

async fn ask_to_confirm(link: Link) -> Response {
    CONFIRM.ask(link)
}

async fn confirm(State(app): State<App>, Known { caller, .. }: Known, request: Request) -> Response {
    match form_of(&app, request).await {
        Ok(form) => {
            let asked = Asked::plainly(caller);
            let done = app.registry().confirm_email_change(&asked, &form.token).await;
            CONFIRM.answer(done.err().as_ref())
        }
        Err(page) => page,
    }
}

async fn ask_to_reset(link: Link) -> Response {
    RESET.ask(link)
}

async fn reset(State(app): State<App>, Known { caller, .. }: Known, request: Request) -> Response {
    let (token, new_password) = match form_of(&app, request).await {
        Ok(FormFields { token, new_password }) => (token, Zeroizing::new(new_password)),
        Err(page) => return page,
    };
    if LinkToken::parse(&token).is_none() {
        return invalid();
    }
    let again = |reasons: &[String]| {
        let reasons = reasons.join("</li><li>");
        let before = format!("<p>This password may not be chosen:</p><ul><li>{reasons}</li></ul>");
        RESET.form(StatusCode::BAD_REQUEST, &token, &before)
    };
    let new = match Password::parse(&new_password) {
        Ok(new) => new,
        Err(problem) => return again(&[problem.to_string()]),
    };
    // Words of ours, not the password: they need no escaping either.
    let words = |weak: &[Weakness]| weak.iter().map(ToString::to_string).collect::<Vec<_>>();
    let weak = app.registry().weaknesses_for(&new, &OwnData::default());
    if !weak.is_empty() {
        return again(&words(&weak));
    }
    let asked = Asked::plainly(caller);
    let proof = ResetProof::Link(token.clone());
    match app.registry().reset_password(&asked, &proof, new).await {
        Err(Refusal::Weak(weak)) => again(&words(&weak)),
        done => RESET.answer(done.err().as_ref()),
    }
}
