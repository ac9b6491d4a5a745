//! Signing up, activating, updating (contract, sections 2.1, 2.3, 3.1 and 3.2).

use std::collections::BTreeMap;

use aggregates::values::{Coordinates, Email, Phone};
use axum::extract::{Path, Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use projections::NameKind;
use serde_json::json;

use super::form::{Encoding, Form, Unreadable};
use super::visit::{NoVisitor, Visit, answer, told};
use super::{pages, refusals, words};
use crate::http::App;
use crate::http::problem::Rule;
use crate::passwords::Password;
use crate::passwords::rules::OwnData;
use crate::registry::{Activation, Asked, Details, Refusal, Registration, Resent, SharedDenial, SharedWant};

/// What is wrong with which field.
pub(super) type Errors = BTreeMap<&'static str, Vec<&'static str>>;

/// Length of a device's id, characters.
const DEVICE: std::ops::RangeInclusive<usize> = 16..=256;

/// The fields that hold, or every one that does not.
#[derive(Default)]
pub(super) struct Checked {
    pub errors: Errors,
}

impl Checked {
    fn refuse(&mut self, name: &'static str, why: &'static str) {
        self.errors.entry(name).or_default().push(why);
    }

    pub fn email(&mut self, form: &Form) -> Option<Email> {
        match form.text("email").map(Email::parse) {
            None => self.refuse("email", words::REQUIRED),
            Some(Err(_)) => self.refuse("email", words::INVALID_EMAIL),
            Some(Ok(email)) => return Some(email),
        }
        None
    }

    /// A new password and its repetition.
    pub fn password(&mut self, app: &App, form: &Form, own: &OwnData<'_>) -> Option<Password> {
        let mut password = None;
        match form.typed("password").map(Password::parse) {
            None => self.refuse("password", words::REQUIRED),
            Some(Ok(typed))
                if app
                    .registry()
                    .weaknesses_by(aggregates::values::Dialect::Agstack, &typed, own)
                    .is_empty() =>
            {
                password = Some(typed);
            }
            Some(_) => self.refuse("password", words::STRONG_PASSWORD),
        }
        match form.typed("confirm_pass") {
            // A program has nobody to mistype it.
            None if form.encoding == Encoding::Json => {}
            None => self.refuse("confirm_pass", words::REQUIRED),
            Some(repeated) if form.typed("password") == Some(repeated) => {}
            Some(_) => self.refuse("confirm_pass", words::NO_MATCH),
        }
        password
    }

    /// A number under either of its names. Not sent and empty are the same: there is none.
    fn phone(&mut self, form: &Form) -> Option<Phone> {
        let typed = form.text("phone_num").or_else(|| form.text("phone_number"));
        if form.is_odd("phone_num") || form.is_odd("phone_number") {
            self.refuse("phone_num", words::VALID_PHONE);
            return None;
        }
        let typed = typed?;
        let digits = typed.strip_prefix('+').unwrap_or(typed);
        let plain = (6..=16).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        // Without the sign it is a number to show and nothing to be found by: nobody has proved that it is theirs.
        let phone = plain.then(|| Phone::with_registered(digits, typed).ok()).flatten();
        if phone.is_none() {
            self.refuse("phone_num", words::VALID_PHONE);
        }
        phone
    }

    /// A place. None, without an error, if a half of it is missing.
    fn position(&mut self, form: &Form) -> Option<Coordinates> {
        let (latitude, longitude) = (form.text("lat")?, form.text("lng")?);
        match (latitude.parse(), longitude.parse()) {
            (Ok(latitude), Ok(longitude)) => {
                let place = Coordinates::new(latitude, longitude).ok();
                if place.is_none() {
                    self.refuse("lat", words::INVALID_PLACE);
                }
                place
            }
            (latitude, longitude) => {
                for (name, wrong) in [("lat", latitude.is_err()), ("lng", longitude.is_err())] {
                    if wrong {
                        self.refuse(name, words::INVALID_PLACE);
                    }
                }
                None
            }
        }
    }
}

/// `Form validation failed`, with what is wrong where.
pub(super) fn invalid(errors: &Errors) -> Response {
    answer(
        StatusCode::BAD_REQUEST,
        json!({ "message": words::INVALID_FORM, "errors": errors }),
    )
}

/// `POST /signup`.
pub(super) async fn sign_up(State(app): State<App>, visit: Visit, request: Request) -> Response {
    if visit.headers.contains_key("x-device-id") {
        return sign_up_device(&visit).await;
    }
    let form = match Form::read(&app.config().http, request).await {
        Ok(form) => form,
        Err(Unreadable::Malformed) => return refuse_sign_up(&visit, None, &Errors::new()),
        Err(Unreadable::Refused(problem)) => return problem.into_response(),
    };
    if !visit.is_meant(Some(&form), false) {
        return pages::sign_up_again(
            &visit,
            StatusCode::FORBIDDEN,
            Some(words::CROSS_SITE),
            &form,
            &Errors::new(),
        );
    }
    let mut checked = Checked::default();
    let email = checked.email(&form);
    let password = checked.password(&app, &form, &OwnData::default());
    let phone = checked.phone(&form);
    let position = checked.position(&form);
    let (Some(email), Some(password), true) = (email, password, checked.errors.is_empty()) else {
        return refuse_sign_up(&visit, Some(&form), &checked.errors);
    };
    let registration = Registration {
        email: Some(email),
        phone,
        // Without a place nobody can be found by it.
        discoverable: position.is_some() && form.flag("discoverable").unwrap_or(true),
        position,
        ..Registration::default()
    };
    let asked = Asked::plainly(visit.caller.clone());
    let says = |status: StatusCode, text: &'static str| {
        if visit.json {
            told(status, text)
        } else {
            pages::sign_up_again(&visit, status, Some(text), &form, &Errors::new())
        }
    };
    let refusal = match app.registry().register(&asked, &registration, password).await {
        Ok(receipt) if visit.json => {
            return answer(
                StatusCode::CREATED,
                json!({ "message": words::SIGNED_UP, "user_id": receipt.id }),
            );
        }
        Ok(_) => return visit.away_saying("/", words::SIGNED_UP),
        Err(refusal) => refusal,
    };
    let rule = Rule::of(&refusal);
    let response = match refusal {
        Refusal::DomainBlocked(_) | Refusal::AddressBlocked(_) => says(StatusCode::UNAUTHORIZED, words::NOT_ALLOWED),
        Refusal::Taken(NameKind::Phone) => refuse_sign_up(
            &visit,
            Some(&form),
            &Errors::from([("phone_num", vec![words::PHONE_TAKEN])]),
        ),
        Refusal::Taken(_) => says(StatusCode::ACCEPTED, words::EXISTS),
        other => visit.failed(other, words::SIGNUP_ERROR),
    };
    rule.on(response)
}

fn refuse_sign_up(visit: &Visit, form: Option<&Form>, errors: &Errors) -> Response {
    match form {
        Some(form) if !visit.json => {
            pages::sign_up_again(visit, StatusCode::BAD_REQUEST, Some(words::INVALID_FORM), form, errors)
        }
        _ => invalid(errors),
    }
}

/// A device signs up: every other field is ignored.
async fn sign_up_device(visit: &Visit) -> Response {
    let device = visit.header_text("x-device-id");
    let device = device.as_deref().map(str::trim).filter(|device| {
        DEVICE.contains(&device.len()) && device.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
    });
    let Some(device) = device else {
        return told(StatusCode::BAD_REQUEST, words::INVALID_DEVICE);
    };
    let asked = Asked::plainly(visit.caller.clone());
    match visit.app.registry().register_device(&asked, device).await {
        Ok(new) => answer(
            StatusCode::CREATED,
            json!({
                "message": words::DEVICE_CREATED,
                "device_id": device,
                "user_id": new.user,
                "device_secret": new.secret.as_str(),
            }),
        ),
        Err(taken @ Refusal::Taken(_)) => Rule::of(&taken).on(told(StatusCode::BAD_REQUEST, words::DEVICE_EXISTS)),
        Err(refusal) => visit.failed(refusal, words::SIGNUP_ERROR),
    }
}

/// `/update`: the number, and whether others may find the account.
pub(super) async fn update(State(app): State<App>, visit: Visit, request: Request) -> Response {
    let visitor = match visit.visitor(SharedWant::Access).await {
        Ok(visitor) => visitor,
        Err(why) => return visit.turned_away(why),
    };
    let form = match Form::read(&app.config().http, request).await {
        Ok(form) => form,
        Err(Unreadable::Malformed) => return invalid(&Errors::new()),
        Err(Unreadable::Refused(problem)) => return problem.into_response(),
    };
    if !visit.is_meant_by(&visitor, Some(&form)) {
        return if visit.json {
            told(StatusCode::FORBIDDEN, words::CROSS_SITE)
        } else {
            pages::update_again(&visit, StatusCode::FORBIDDEN, words::CROSS_SITE, &visitor.account)
        };
    }
    let mut checked = Checked::default();
    let own = visitor.account.email_canonical.as_deref();
    let other = |text: &str| Email::parse(text).ok().as_ref().map(Email::canonical) != own;
    if form.is_odd("email") || form.text("email").is_some_and(other) {
        checked.refuse("email", words::NOT_HERE);
    }
    if form.is_odd("password") || form.typed("password").is_some() {
        checked.refuse("password", words::NOT_HERE);
    }
    let position = checked.position(&form);
    let phone = checked.phone(&form);
    if !checked.errors.is_empty() {
        return if visit.json {
            invalid(&checked.errors)
        } else {
            let first = checked.errors.values().flatten().next().copied();
            let text = first.unwrap_or(words::INVALID_FORM);
            pages::update_again(&visit, StatusCode::BAD_REQUEST, text, &visitor.account)
        };
    }
    let same = |phone: &Phone| {
        let (number, shown) = (&visitor.account.phone, &visitor.account.phone_registered);
        shown.as_deref() == Some(phone.registered()) || number.as_deref() == Some(phone.msisdn())
    };
    // A box that is not ticked is not sent; a form says that it has one.
    let ticked = form.has("discoverable_shown").then_some(false);
    let details = Details {
        phone: phone.filter(|phone| !same(phone)),
        discoverable: form.flag("discoverable").or(ticked),
        position,
    };
    let asked = Asked::plainly(visitor.caller);
    let changed = match app
        .registry()
        .change_details(&asked, visitor.account.id, &details)
        .await
    {
        Ok(changed) => changed,
        Err(Refusal::Taken(_)) => {
            return if visit.json {
                invalid(&Errors::from([("phone_num", vec![words::PHONE_TAKEN])]))
            } else {
                pages::update_again(&visit, StatusCode::BAD_REQUEST, words::PHONE_TAKEN, &visitor.account)
            };
        }
        Err(refusal) => return visit.failed(refusal, words::UPDATE_ERROR),
    };
    let texts: Vec<&str> = [
        (changed.phone, words::PHONE_UPDATED),
        (changed.discoverable, words::DISCOVERABLE_UPDATED),
    ]
    .into_iter()
    .filter_map(|(changed, text)| changed.then_some(text))
    .collect();
    let (status, text) = if texts.is_empty() {
        (StatusCode::OK, words::NOTHING_UPDATED.to_owned())
    } else {
        (StatusCode::ACCEPTED, texts.join(". "))
    };
    if visit.json {
        return told(status, &text);
    }
    match app.registry().user(visitor.account.id).await {
        Ok(account) => pages::update_again(&visit, StatusCode::OK, &text, &account),
        Err(refusal) => visit.failed(refusal, words::UPDATE_ERROR),
    }
}

/// `GET /activate/{token}`: the token alone is enough, but not under somebody else's name.
pub(super) async fn activate(
    visit: Visit,
    token: Result<Path<String>, axum::extract::rejection::PathRejection>,
) -> Response {
    // Programs that look at a link before its reader does ask for its head only.
    if visit.method == Method::HEAD {
        return StatusCode::OK.into_response();
    }
    let visitor = match visit.visitor(SharedWant::Access).await {
        Ok(visitor) => Some(visitor.account.id),
        Err(NoVisitor::Denied(SharedDenial::Refused(refusal))) => return visit.failed(refusal, words::INVALID_LINK),
        Err(_) => None,
    };
    let asked = Asked::plainly(visit.caller.clone());
    let done = match token {
        Ok(Path(token)) => visit.app.registry().activate(&asked, &token, visitor).await,
        Err(_) => Err(Refusal::InvalidToken),
    };
    match done {
        // Signing in again brings a token that says so.
        Ok(Activation::Now) => visit.done(StatusCode::OK, words::ACTIVATED, "/logout"),
        Ok(Activation::Already) => visit.done(StatusCode::OK, words::ALREADY_ACTIVE, "/"),
        Err(Refusal::InvalidToken) => visit.done(StatusCode::BAD_REQUEST, words::INVALID_ACTIVATION, "/"),
        Err(refusal @ (Refusal::Unavailable { .. } | Refusal::Internal(_))) => {
            visit.failed(refusal, words::INVALID_LINK)
        }
        Err(_) => visit.done(StatusCode::BAD_REQUEST, words::INVALID_LINK, "/"),
    }
}

/// `GET /resend`.
pub(super) async fn resend(visit: Visit) -> Response {
    let visitor = match visit.visitor(SharedWant::Either).await {
        Ok(visitor) => visitor,
        Err(why) => return visit.turned_away(why),
    };
    if visitor.by_cookie && visit.is_from_elsewhere() {
        return visit.away("/home");
    }
    let asked = Asked::plainly(visitor.caller);
    match visit.app.registry().resend_activation(&asked, visitor.account.id).await {
        Ok(Resent::Sent) => visit.done(StatusCode::OK, words::RESENT, "/home"),
        Ok(Resent::Already) => visit.done(StatusCode::OK, words::ALREADY_ACTIVE, "/home"),
        Ok(Resent::TooSoon { retry_after }) => refusals::retry_after(
            visit.done(StatusCode::TOO_MANY_REQUESTS, words::TOO_MANY, "/home"),
            retry_after,
        ),
        Err(refusal) => visit.failed(refusal, "Resend Error"),
    }
}
