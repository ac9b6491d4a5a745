//! Registering, verifying, signing in, changing the password.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use projections::UserRow;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::error::{BLANK, EXPIRED, INVALID, Refused, weakness};
use super::fields::Form;
use super::token::{HANDLE, HANDLE_COOKIE, Member, anybody, handled, member};
use crate::guards::Class;
use crate::http::App;
use crate::passwords::Password;
use crate::passwords::rules::OwnData;
use crate::registry::{Asked, CodeOf, CodeRefusal, Denial, Identifier, Keyed, NewPassword, Refusal, Registration};

/// Digits of a code that verifies.
const VERIFY_DIGITS: usize = 6;

/// A user: the number as it was first registered, and a token if one was made just now.
#[derive(Serialize)]
pub(super) struct UserBody<'a> {
    msisdn: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    authentication_token: Option<&'a str>,
    valid_for_authentication: bool,
}

impl<'a> UserBody<'a> {
    pub fn new(row: &'a UserRow, keyed: Option<&'a Keyed>) -> Self {
        Self {
            msisdn: row
                .phone_registered
                .as_deref()
                .or(row.phone.as_deref())
                .unwrap_or_default(),
            authentication_token: keyed.map(|keyed| keyed.token.as_str()),
            // "false if the user is locked", and as its later document says, or not verified.
            valid_for_authentication: row.is_in_use() && row.phone_verified,
        }
    }
}

/// Says of every rule that a new password breaks.
pub(super) fn refuse_weak(app: &App, form: &mut Form, password: Option<&Password>) {
    if let Some(password) = password {
        let dialect = aggregates::values::Dialect::Xhoppe;
        for weak in app.registry().weaknesses_by(dialect, password, &OwnData::default()) {
            form.refuse("password", weakness(weak));
        }
    }
}

/// `POST users`.
pub(super) async fn register(
    State(app): State<App>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Body,
) -> Result<Response, Refused> {
    let caller = anybody(&app, &headers, &extensions, Class::Register)?;
    let mut form = Form::read(&app, &headers, body).await?;
    let phone = form.msisdn(&app.config().xhoppe.default_country_code);
    let password = form.password("password");
    refuse_weak(&app, &mut form, password.as_ref());
    form.confirmation(true);
    let registration = Registration {
        phone: phone.map(|(phone, _)| phone),
        ..Registration::default()
    };
    if !app.registry().taken_names(&registration, None).await?.is_empty() {
        form.refuse("msisdn", "has already been taken");
    }
    form.finish()?;
    let Some(password) = password else {
        return Err(Refusal::Internal("a password was neither read nor refused".into()).into());
    };
    let asked = Asked::plainly(caller);
    let receipt = app.registry().register(&asked, &registration, password).await?;
    let id = Uuid::parse_str(&receipt.id).map_err(|problem| Refusal::Internal(problem.to_string()))?;
    let row = app.registry().user(id).await?;
    let mut response = (StatusCode::CREATED, Json(UserBody::new(&row, None))).into_response();
    let handle = app.registry().handle_of(id);
    let cookie = format!(
        "{HANDLE_COOKIE}={handle}; Path=/api/v1/users; Max-Age=600; HttpOnly; SameSite=Strict{}",
        if app.is_https() { "; Secure" } else { "" }
    );
    let headers = response.headers_mut();
    for (name, text) in [(HANDLE, handle.as_str()), (SET_COOKIE, cookie.as_str())] {
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(name, value);
        }
    }
    Ok(response)
}

/// `POST users/verify`: with a handle, with a number, or with the code alone.
pub(super) async fn verify(
    State(app): State<App>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Body,
) -> Result<Response, Refused> {
    let caller = anybody(&app, &headers, &extensions, Class::Secret)?;
    let mut form = Form::read(&app, &headers, body).await?;
    let code = form.code(VERIFY_DIGITS);
    let phone = form.optional_msisdn(&app.config().xhoppe.default_country_code);
    form.finish()?;
    let Some(code) = code else {
        return Err(Refused::field("code", BLANK));
    };
    let of = match (phone, handled(&app, &headers)) {
        (Some(phone), _) => CodeOf::Number(phone),
        (None, Some(user)) => CodeOf::Account(user),
        (None, None) if app.config().xhoppe.bare_code => CodeOf::Anybody,
        (None, None) => return Err(Refused::field("msisdn", BLANK)),
    };
    let Some(digits) = code.digits else {
        return Err(Refused::field(code.name, INVALID));
    };
    let asked = Asked::plainly(caller);
    match app.registry().verify_by_code(&asked, &of, &digits).await {
        Ok(done) => Ok(Json(UserBody::new(&done.account, done.keyed.as_ref())).into_response()),
        Err(CodeRefusal::NumberNeeded) => Err(Refused::field("msisdn", BLANK)),
        Err(CodeRefusal::Refused(refusal)) => Err(about_code(code.name, refusal)),
    }
}

/// A refusal under the name the request gave its code.
pub(super) fn about_code(name: &'static str, refusal: Refusal) -> Refused {
    let about = match refusal {
        Refusal::StaleCode => EXPIRED,
        Refusal::InvalidToken | Refusal::Conflict(_) | Refusal::NotFound => INVALID,
        other => return other.into(),
    };
    Refused::field(name, about).by(&Refusal::InvalidToken)
}

/// `POST users/resend_verify`: always the same answer.
pub(super) async fn resend(
    State(app): State<App>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Body,
) -> Result<Response, Refused> {
    let caller = anybody(&app, &headers, &extensions, Class::Message)?;
    let mut form = Form::read(&app, &headers, body).await?;
    let phone = form.msisdn(&app.config().xhoppe.default_country_code);
    form.finish()?;
    let Some((phone, written)) = phone else {
        return Err(Refused::field("msisdn", BLANK));
    };
    let asked = Asked::plainly(caller);
    app.registry().request_phone_verification(&asked, &phone).await?;
    Ok(Json(json!({ "msisdn": written, "valid_for_authentication": false })).into_response())
}

/// `POST login`: without it a token that was lost would be lost for good.
pub(super) async fn login(
    State(app): State<App>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Body,
) -> Result<Response, Refused> {
    let caller = anybody(&app, &headers, &extensions, Class::SignIn)?;
    let mut form = Form::read(&app, &headers, body).await?;
    let phone = form.msisdn(&app.config().xhoppe.default_country_code);
    let password = form.password("password");
    form.finish()?;
    let (Some((phone, _)), Some(password)) = (phone, password) else {
        return Err(Refusal::InvalidCredentials.into());
    };
    let registry = app.registry();
    match registry
        .sign_in_keyed(&caller, &Identifier::phone(&phone), password)
        .await
    {
        Ok(keyed) => {
            let row = registry.user(keyed.user).await?;
            Ok(Json(UserBody::new(&row, Some(&keyed))).into_response())
        }
        // The password was right.
        Err(Refusal::Denied(Denial::NotActive { user, .. })) => {
            let row = registry.user(user).await?;
            Ok(Json(UserBody::new(&row, None)).into_response())
        }
        Err(other) => Err(other.into()),
    }
}

/// `PUT users/change_password`: the token is made anew, every other one ends.
pub(super) async fn change_password(
    State(app): State<App>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Body,
) -> Result<Response, Refused> {
    let Member {
        caller, id, session, ..
    } = member(&app, &headers, &extensions).await?;
    let mut form = Form::read(&app, &headers, body).await?;
    let current = form.password("current_password");
    let new = form.password("password");
    refuse_weak(&app, &mut form, new.as_ref());
    form.confirmation(false);
    form.finish()?;
    let (Some(current), Some(new)) = (current, new) else {
        return Err(Refusal::WrongPassword.into());
    };
    let asked = Asked::plainly(caller);
    let passwords = NewPassword { current, new };
    let registry = app.registry();
    registry.change_password(&asked, id, session, passwords).await?;
    let keyed = registry.replace_keyed(&asked, id, session).await?;
    let row = registry.user(id).await?;
    Ok(Json(UserBody::new(&row, Some(&keyed))).into_response())
}

/// `GET user_info`: the token is not shown again.
pub(super) async fn user_info(
    State(app): State<App>,
    headers: HeaderMap,
    extensions: Extensions,
) -> Result<Response, Refused> {
    let member = member(&app, &headers, &extensions).await?;
    Ok(Json(UserBody::new(&member.account, None)).into_response())
}
