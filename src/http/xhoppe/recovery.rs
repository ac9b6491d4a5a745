//! Forgetting a password and setting another one. The document says "TODO: Current mechanism seems not secure"; this
//! is the mechanism of the contract's section 5.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Extensions, HeaderMap};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::account::{UserBody, about_code, refuse_weak};
use super::error::{INVALID, Refused};
use super::fields::Form;
use super::token::anybody;
use crate::guards::Class;
use crate::http::App;
use crate::registry::{Asked, Refusal};

/// Digits of a code that recovers.
const RECOVERY_DIGITS: usize = 8;

/// `PUT users/forget_password`: known or not, the same answer at the same moment.
pub(super) async fn forget(
    State(app): State<App>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Body,
) -> Result<Response, Refused> {
    let caller = anybody(&app, &headers, &extensions, Class::Message)?;
    let mut form = Form::read(&app, &headers, body).await?;
    let phone = form.msisdn(&app.config().xhoppe.default_country_code);
    form.finish()?;
    if let Some((phone, _)) = phone {
        app.registry().request_recovery(&Asked::plainly(caller), &phone).await?;
    }
    Ok(Json(json!({})).into_response())
}

/// `PUT users/recover_password`: what is wrong with fields is told before the code is looked at.
pub(super) async fn recover(
    state: State<App>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Body,
) -> Result<Response, Refused> {
    set(state, headers, extensions, body, true).await
}

/// `POST users/change_password_by_sms`: the same for clients of a later document, which asks for no confirmation.
pub(super) async fn by_sms(
    state: State<App>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Body,
) -> Result<Response, Refused> {
    set(state, headers, extensions, body, false).await
}

async fn set(
    State(app): State<App>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Body,
    confirmed: bool,
) -> Result<Response, Refused> {
    let caller = anybody(&app, &headers, &extensions, Class::Secret)?;
    let mut form = Form::read(&app, &headers, body).await?;
    let phone = form.msisdn(&app.config().xhoppe.default_country_code);
    let code = form.code(RECOVERY_DIGITS);
    let password = form.password("password");
    refuse_weak(&app, &mut form, password.as_ref());
    form.confirmation(confirmed);
    form.finish()?;
    let (Some((phone, _)), Some(code), Some(password)) = (phone, code, password) else {
        return Err(Refusal::InvalidToken.into());
    };
    let Some(digits) = code.digits else {
        return Err(Refused::field(code.name, INVALID));
    };
    let asked = Asked::plainly(caller);
    match app.registry().recover_by_code(&asked, &phone, &digits, password).await {
        Ok(done) => Ok(Json(UserBody::new(&done.account, done.keyed.as_ref())).into_response()),
        Err(refusal) => Err(about_code(code.name, refusal)),
    }
}
