//! `POST /api/v1/user/register`: the app may only ever create customers.

use aggregates::values::{Dialect, Email, Username};
use axum::body::Body;
use axum::extract::State;
use axum::http::header::AUTHORIZATION;
use axum::http::{Extensions, HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::Value;
use zeroize::Zeroizing;

use super::envelope::{Envelope, Refused};
use super::wire::{CustomerBody, email, text, username};
use crate::guards::Class;
use crate::http::App;
use crate::http::body::Limits;
use crate::http::body::any::{Encodings, read_any};
use crate::http::members::{self, Member};
use crate::passwords::Password;
use crate::passwords::rules::OwnData;
use crate::registry::{Asked, Caller, Refusal, Registration};

const ENCODINGS: Encodings = Encodings {
    form: true,
    parts: false,
    lenient_json: true,
};

fn anybody(app: &App, headers: &HeaderMap, extensions: &Extensions, class: Class) -> Result<Caller, Refused> {
    Ok(members::anybody(app, Dialect::Taxi, headers, extensions, class)?)
}

/// Makes a customer, and the token its further requests need.
pub(super) async fn register(
    State(app): State<App>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Body,
) -> Result<Response, Refused> {
    let caller = anybody(&app, &headers, &extensions, Class::Customer)?;
    let limits = Limits::configured(&app.config().http, false);
    let Value::Object(members) = read_any(&headers, body, limits, ENCODINGS).await? else {
        return Err(Refused::MISSING);
    };
    let (registration, typed) = read(&members).ok_or(Refused::MISSING)?;
    // What is missing comes first, then the numbers in the order of the document.
    refuse_taken(&app, &registration).await?;
    let password = Password::parse(&typed).map_err(|_| Refused::WEAK)?;
    let own = OwnData {
        username: registration.username.as_ref().map(Username::as_str),
        email: registration.email.as_ref().map(Email::as_str),
        phone: None,
    };
    if !app.registry().weaknesses_by(caller.dialect, &password, &own).is_empty() {
        return Err(Refused::WEAK);
    }
    let asked = Asked::plainly(caller);
    let keyed = match app.registry().register_keyed(&asked, &registration, password).await {
        Ok(keyed) => keyed,
        Err(Refusal::Taken(kind)) => {
            // Somebody was quicker: by the names as they are now, so that the order holds.
            refuse_taken(&app, &registration).await?;
            return Err(Refusal::Taken(kind).into());
        }
        Err(other) => return Err(other.into()),
    };
    let row = app.registry().user(keyed.user).await?;
    let customer = CustomerBody::new(&row, Some(&keyed.token));
    Ok(Envelope::of(
        StatusCode::CREATED,
        "New user successfully registered",
        customer,
    ))
}

/// The three fields, made valid. Its document's table and its example spell the address differently; both are read.
fn read(members: &serde_json::Map<String, Value>) -> Option<(Registration, Zeroizing<String>)> {
    let email_text = text(members, "email_address").or_else(|| text(members, "email"))?;
    let password = members.get("password")?.as_str().filter(|text| !text.is_empty())?;
    let registration = Registration {
        username: Some(username(text(members, "username")?)?),
        email: Some(email(email_text)?),
        ..Registration::default()
    };
    Some((registration, Zeroizing::new(password.to_owned())))
}

async fn refuse_taken(app: &App, registration: &Registration) -> Result<(), Refused> {
    let taken = app.registry().taken_names(registration, None).await?;
    match taken.first() {
        Some(kind) => Err(Refusal::Taken(*kind).into()),
        None => Ok(()),
    }
}

/// `GET /api/v1/user/me`: the customer a token belongs to. Its document speaks of "further requests" without naming
/// one; this is where a token can be tried.
pub(super) async fn me(
    State(app): State<App>,
    headers: HeaderMap,
    extensions: Extensions,
) -> Result<Response, Refused> {
    let caller = anybody(&app, &headers, &extensions, Class::General)?;
    let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = token
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    let nobody = || Refused::from(Refusal::Revoked);
    let bearer = app.registry().bearer(Dialect::Taxi, token.ok_or_else(nobody)?).await?;
    let bearer = bearer.filter(|bearer| bearer.live).ok_or_else(nobody)?;
    let member = Member::of(&app, &extensions, caller, bearer)?;
    let customer = CustomerBody::new(&member.account, None);
    Ok(Envelope::of(StatusCode::OK, "User details", customer))
}
