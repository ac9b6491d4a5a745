//! A forgotten password (contract, sections 3.3 and 3.4).

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::accounts::{Checked, Errors, invalid};
use super::form::{Form, Unreadable};
use super::visit::{NoVisitor, Visit, told};
use super::{pages, words};
use crate::http::App;
use crate::passwords::rules::OwnData;
use crate::registry::{Asked, Contact, Refusal, ResetProof, SharedDenial, SharedWant};

/// What somebody who is logged in already is told.
pub(super) async fn already_in(visit: &Visit) -> Option<Response> {
    match visit.visitor(SharedWant::Access).await {
        Ok(_) => Some(visit.done(StatusCode::OK, words::ALREADY_IN, "/home")),
        Err(NoVisitor::Denied(SharedDenial::Refused(refusal))) => Some(visit.failed(refusal, words::INVALID_FORM)),
        Err(_) => None,
    }
}

/// `POST /forgot-password`: the same answer for an address nobody has.
pub(super) async fn forgot(State(app): State<App>, visit: Visit, request: Request) -> Response {
    if let Some(response) = already_in(&visit).await {
        return response;
    }
    let form = match Form::read(&app.config().http, request).await {
        Ok(form) => form,
        Err(Unreadable::Malformed) => return told(StatusCode::BAD_REQUEST, words::INVALID_FORM),
        Err(Unreadable::Refused(problem)) => return problem.into_response(),
    };
    if !visit.is_meant(Some(&form), false) {
        return pages::forgot_again(&visit, StatusCode::FORBIDDEN, words::CROSS_SITE);
    }
    let Some(email) = Checked::default().email(&form) else {
        // "Form validation failed" and no more (contract, section 3.3).
        return if visit.json {
            told(StatusCode::BAD_REQUEST, words::INVALID_FORM)
        } else {
            pages::forgot_again(&visit, StatusCode::BAD_REQUEST, words::INVALID_EMAIL)
        };
    };
    let asked = Asked::plainly(visit.caller.clone());
    match app
        .registry()
        .request_password_reset(&asked, &Contact::Email(email))
        .await
    {
        Ok(()) => visit.done(StatusCode::OK, words::RESET_SENT, "/"),
        Err(refusal) => visit.failed(refusal, words::INVALID_FORM),
    }
}

/// `POST /reset-password/{token}`.
pub(super) async fn reset(
    State(app): State<App>,
    visit: Visit,
    token: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    if let Some(response) = already_in(&visit).await {
        return response;
    }
    let lost = || visit.done(StatusCode::BAD_REQUEST, words::INVALID_LINK, "/forgot-password");
    let Ok(Path(token)) = token else { return lost() };
    let form = match Form::read(&app.config().http, request).await {
        Ok(form) => form,
        Err(Unreadable::Malformed) => return invalid(&Errors::new()),
        Err(Unreadable::Refused(problem)) => return problem.into_response(),
    };
    if !visit.is_meant(Some(&form), false) {
        return pages::reset_again(&visit, StatusCode::FORBIDDEN, words::CROSS_SITE, &token);
    }
    let mut checked = Checked::default();
    let password = checked.password(&app, &form, &OwnData::default());
    let (Some(password), true) = (password, checked.errors.is_empty()) else {
        return if visit.json {
            invalid(&checked.errors)
        } else {
            let first = checked.errors.values().flatten().next().copied();
            pages::reset_again(
                &visit,
                StatusCode::BAD_REQUEST,
                first.unwrap_or(words::INVALID_FORM),
                &token,
            )
        };
    };
    let asked = Asked::plainly(visit.caller.clone());
    let proof = ResetProof::Link(token.clone());
    match app.registry().reset_to_another(&asked, &proof, password).await {
        Ok(Some(_)) => visit.done(StatusCode::OK, words::PASSWORD_UPDATED, "/"),
        Ok(None) if visit.json => told(StatusCode::BAD_REQUEST, words::SAME_PASSWORD),
        Ok(None) => pages::reset_again(&visit, StatusCode::BAD_REQUEST, words::SAME_PASSWORD, &token),
        Err(Refusal::Weak(_)) if visit.json => invalid(&Errors::from([("password", vec![words::STRONG_PASSWORD])])),
        Err(Refusal::Weak(_)) => pages::reset_again(&visit, StatusCode::BAD_REQUEST, words::STRONG_PASSWORD, &token),
        Err(refusal @ (Refusal::Unavailable { .. } | Refusal::Internal(_))) => {
            visit.failed(refusal, words::INVALID_LINK)
        }
        Err(_) => lost(),
    }
}
