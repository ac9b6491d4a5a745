//! `POST /v1/commands/{command}`: how somebody is reached, and a new password for those who lost theirs.

use aggregates::values::{Email, Phone, Role, Username};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::json;
use uuid::Uuid;

use super::commands::{Command, password, read};
use super::problem;
use super::reply::receipt;
use crate::http::App;
use crate::http::body::{self, Fields};
use crate::http::caller::{Known, Person, SignedInUser};
use crate::http::problem::{Problem, Slug};
use crate::passwords::rules::OwnData;
use crate::registry::{Contact, ResetProof};

pub(super) fn router() -> Router<App> {
    Router::new()
        .route(
            "/v1/commands/request-phone-verification",
            post(request_phone_verification),
        )
        .route("/v1/commands/verify-phone", post(verify_phone))
        .route("/v1/commands/request-password-reset", post(request_password_reset))
        .route("/v1/commands/reset-password", post(reset_password))
        .route("/v1/commands/change-username", post(change_username))
        .route("/v1/commands/request-email-change", post(request_email_change))
        .route("/v1/commands/confirm-email-change", post(confirm_email_change))
        .route("/v1/commands/change-phone", post(change_phone))
}

/// What the public is told of a message: that its request was heard.
fn heard() -> Response {
    (StatusCode::ACCEPTED, Json(json!({}))).into_response()
}

/// A token or a code. One of the wrong form is as wrong as any other, and answered alike.
fn secret(fields: &mut Fields, name: &'static str) -> Option<String> {
    fields.required(name, |text| Ok::<_, body::Refusal>(text.to_owned()))
}

async fn request_phone_verification(
    State(app): State<App>,
    Known { caller, .. }: Known,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let command = read(&app, caller, &headers, body, "request-phone-verification", false).await?;
    let Command { asked, mut fields } = command;
    let phone = fields.required("phone", Phone::parse_e164);
    let phone = fields.finish(|| phone)?;
    app.registry()
        .request_phone_verification(&asked, &phone)
        .await
        .map_err(problem)?;
    Ok(heard())
}

async fn verify_phone(
    State(app): State<App>,
    Known { caller, .. }: Known,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Command { asked, mut fields } = read(&app, caller, &headers, body, "verify-phone", false).await?;
    let phone = fields.required("phone", Phone::parse_e164);
    let code = secret(&mut fields, "code");
    let (phone, code) = fields.finish(|| Some((phone?, code?)))?;
    let done = app
        .registry()
        .verify_phone(&asked, &phone, &code)
        .await
        .map_err(problem)?;
    Ok(receipt(&done, "/v1/users"))
}

async fn request_password_reset(
    State(app): State<App>,
    Known { caller, .. }: Known,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let command = read(&app, caller, &headers, body, "request-password-reset", false).await?;
    let Command { asked, mut fields } = command;
    if fields.has("email") == fields.has("phone") {
        fields.refuse_whole("required", "exactly one of email and phone is needed");
    }
    let email = fields.optional("email", Email::parse);
    let phone = fields.optional("phone", Phone::parse_e164);
    let contact = fields.finish(|| email.map(Contact::Email).or(phone.map(Contact::Phone)))?;
    app.registry()
        .request_password_reset(&asked, &contact)
        .await
        .map_err(problem)?;
    Ok(heard())
}

async fn reset_password(
    State(app): State<App>,
    Known { caller, .. }: Known,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Command { asked, mut fields } = read(&app, caller, &headers, body, "reset-password", false).await?;
    let by_code = fields.has("phone") || fields.has("code");
    if fields.has("token") == by_code {
        fields.refuse_whole("required", "either token or phone and code are needed");
    }
    let token = fields.optional("token", |text| Ok::<_, body::Refusal>(text.to_owned()));
    let (phone, code) = if by_code {
        (fields.required("phone", Phone::parse_e164), secret(&mut fields, "code"))
    } else {
        (None, None)
    };
    let new = password(&mut fields, "new_password");
    if let Some(new) = &new {
        // What makes it weak for everybody is told at once; the owner's own data only to whoever has the link.
        for weakness in app.registry().weaknesses_for(new, &OwnData::default()) {
            fields.refuse("new_password", weakness.code(), &weakness.to_string());
        }
    }
    let (proof, new) = fields.finish(|| {
        let by_code = || {
            Some(ResetProof::Code {
                phone: phone?,
                code: code?,
            })
        };
        Some((token.map(ResetProof::Link).or_else(by_code)?, new?))
    })?;
    let done = app
        .registry()
        .reset_password(&asked, &proof, new)
        .await
        .map_err(problem)?;
    Ok(receipt(&done, "/v1/users"))
}

async fn change_username(
    State(app): State<App>,
    SignedInUser { caller, id, .. }: SignedInUser,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let admin = caller.has(Role::Admin);
    let Command { asked, mut fields } = read(&app, caller, &headers, body, "change-username", false).await?;
    let user = fields
        .optional("user_id", |text| Uuid::parse_str(text).map_err(|_| "is not a UUID"))
        .unwrap_or(id);
    let username = fields.required("username", Username::parse);
    let username = fields.finish(|| username)?;
    if user != id && !admin {
        return Err(Problem::new(Slug::NotFound));
    }
    let done = app
        .registry()
        .change_username(&asked, user, &username)
        .await
        .map_err(problem)?;
    Ok(receipt(&done, "/v1/users"))
}

async fn request_email_change(
    State(app): State<App>,
    Person {
        caller, id, session, ..
    }: Person,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Command { asked, mut fields } = read(&app, caller, &headers, body, "request-email-change", false).await?;
    let email = fields.required("email", Email::parse);
    let current = password(&mut fields, "current_password");
    let (email, current) = fields.finish(|| Some((email?, current?)))?;
    let done = app
        .registry()
        .request_email_change(&asked, id, session, &email, current)
        .await
        .map_err(problem)?;
    Ok(receipt(&done, "/v1/users"))
}

async fn confirm_email_change(
    State(app): State<App>,
    Known { caller, .. }: Known,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Command { asked, mut fields } = read(&app, caller, &headers, body, "confirm-email-change", false).await?;
    let token = secret(&mut fields, "token");
    let token = fields.finish(|| token)?;
    let done = app
        .registry()
        .confirm_email_change(&asked, &token)
        .await
        .map_err(problem)?;
    Ok(receipt(&done, "/v1/users"))
}

async fn change_phone(
    State(app): State<App>,
    Person {
        caller, id, session, ..
    }: Person,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Command { asked, mut fields } = read(&app, caller, &headers, body, "change-phone", false).await?;
    let phone = fields.required("phone", Phone::parse_e164);
    let current = password(&mut fields, "current_password");
    let (phone, current) = fields.finish(|| Some((phone?, current?)))?;
    let done = app
        .registry()
        .change_phone(&asked, id, session, &phone, current)
        .await
        .map_err(problem)?;
    Ok(receipt(&done, "/v1/users"))
}
