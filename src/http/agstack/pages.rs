//! What a browser sees. Pages need no script and fetch nothing but the one stylesheet of this service.

use askama::Template;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use projections::UserRow;

use super::accounts::Errors;
use super::form::Form;
use super::passwords::already_in;
use super::visit::{Visit, local};
use super::{cookies, words};
use crate::http::problem::{Problem, Slug};
use crate::registry::{Asked, SharedWant, is_activated};

const POLICY: &str =
    "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
/// What stands as it is in a part of a path.
const IN_PATH: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const STYLE: &str = include_str!("../../../templates/pages/style.css");

/// What stands around every page.
pub(super) struct Frame<'a> {
    pub(super) title: &'a str,
    /// What stands before every path of the mount.
    pub(super) base: String,
    /// Whether somebody is logged in: it changes what is at the top.
    pub(super) inside: bool,
    /// What the page before has left to be said.
    pub(super) flash: Option<&'static str>,
    /// What the forms of the page repeat.
    pub(super) form_token: String,
    /// Whether the browser must be given that first.
    fresh_token: bool,
}

impl<'a> Frame<'a> {
    /// Of a request.
    pub fn new(visit: &Visit, title: &'a str, inside: bool) -> Self {
        let held = cookies::value(&visit.headers, cookies::FORM).filter(|token| {
            token.len() == 22
                && token
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        });
        let drawn = || URL_SAFE_NO_PAD.encode(visit.app.registry().store().chance().bytes::<16>());
        Self {
            title,
            base: visit.base.clone(),
            inside,
            flash: cookies::value(&visit.headers, cookies::FLASH).and_then(words::flash_words),
            fresh_token: held.is_none(),
            form_token: held.map_or_else(drawn, str::to_owned),
        }
    }
}

/// A page that has a frame.
pub(super) trait Framed: Template {
    /// The frame.
    fn frame(&self) -> &Frame<'_>;
}

macro_rules! framed {
    ($($page:ident),+ $(,)?) => {
        $(impl Framed for $page<'_> {
            fn frame(&self) -> &Frame<'_> {
                &self.frame
            }
        })+
    };
}
framed!(LogIn, SignUp, Update, Home, Forgot, Reset, Told);

#[derive(Template)]
#[template(path = "pages/login.html")]
struct LogIn<'a> {
    frame: Frame<'a>,
    error: Option<&'a str>,
    email: &'a str,
    next: &'a str,
}

#[derive(Template)]
#[template(path = "pages/signup.html")]
struct SignUp<'a> {
    frame: Frame<'a>,
    error: Option<&'a str>,
    fields: Fields<'a>,
}

/// What was typed, but for passwords, and what is wrong with it.
#[derive(Default)]
struct Fields<'a> {
    email: &'a str,
    phone: &'a str,
    lat: &'a str,
    lng: &'a str,
    discoverable: bool,
    newsletter: bool,
    wrong_email: &'static str,
    wrong_password: &'static str,
    wrong_repetition: &'static str,
    wrong_phone: &'static str,
    wrong_place: &'static str,
}

#[derive(Template)]
#[template(path = "pages/update.html")]
struct Update<'a> {
    frame: Frame<'a>,
    told: Option<&'a str>,
    wrong: bool,
    email: &'a str,
    phone: &'a str,
    discoverable: bool,
    placed: bool,
}

#[derive(Template)]
#[template(path = "pages/home.html")]
#[expect(clippy::struct_excessive_bools, reason = "each is a line of the page")]
struct Home<'a> {
    frame: Frame<'a>,
    email: &'a str,
    phone: &'a str,
    country: &'a str,
    active: bool,
    discoverable: bool,
    admin: bool,
    asset_registry: bool,
}

#[derive(Template)]
#[template(path = "pages/forgot.html")]
struct Forgot<'a> {
    frame: Frame<'a>,
    error: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "pages/reset.html")]
struct Reset<'a> {
    frame: Frame<'a>,
    error: Option<&'a str>,
    token: String,
}

#[derive(Template)]
#[template(path = "pages/told.html")]
struct Told<'a> {
    frame: Frame<'a>,
    text: &'a str,
}

/// A page as an answer. What it says once is taken back from the browser with it.
pub(super) fn page(visit: &Visit, status: StatusCode, view: &impl Framed) -> Response {
    let mut response = drawn(status, view);
    let frame = view.frame();
    if frame.fresh_token {
        cookies::set(&mut response, visit.secure(), cookies::FORM, &frame.form_token);
    }
    if cookies::value(&visit.headers, cookies::FLASH).is_some() {
        cookies::expire(&mut response, visit.secure(), cookies::FLASH);
    }
    response
}

fn drawn(status: StatusCode, view: &impl Template) -> Response {
    match view.render() {
        Ok(html) => (status, [(CONTENT_SECURITY_POLICY, POLICY)], Html(html)).into_response(),
        Err(problem) => {
            tracing::error!(%problem, "a page could not be drawn");
            Problem::new(Slug::Internal).into_response()
        }
    }
}

/// A refusal by a layer that knows nothing of the request but its path.
pub(super) fn refused(base: &str, text: &str) -> Response {
    let frame = Frame {
        title: "Sorry",
        base: base.to_owned(),
        inside: false,
        flash: None,
        form_token: String::new(),
        fresh_token: false,
    };
    match (Told { frame, text }).render() {
        Ok(html) => ([(CONTENT_SECURITY_POLICY, POLICY)], Html(html)).into_response(),
        Err(_) => text.to_owned().into_response(),
    }
}

/// A page somebody who is logged in may not see.
pub(super) fn forbidden(visit: &Visit, text: &str) -> Response {
    let frame = Frame::new(visit, "Not for you", true);
    page(visit, StatusCode::FORBIDDEN, &Told { frame, text })
}

/// `GET /agstack.css`.
pub(super) async fn style() -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8")),
        (CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600")),
    ];
    (headers, STYLE).into_response()
}

/// The log-in dialog.
pub(super) fn log_in(visit: &Visit, status: StatusCode, error: Option<&str>, email: &str) -> Response {
    let query = visit.path.split_once('?').map_or("", |(_, query)| query);
    let next = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("next="))
        .and_then(|text| percent_encoding::percent_decode_str(text).decode_utf8().ok())
        .unwrap_or_default();
    let view = LogIn {
        frame: Frame::new(visit, "Log in", false),
        error,
        email,
        next: local(&next).unwrap_or_default(),
    };
    page(visit, status, &view)
}

/// `GET /signup`. A device signs up by `POST` only.
pub(super) async fn sign_up(visit: Visit) -> Response {
    if visit.headers.contains_key("x-device-id") {
        return Problem::method_not_allowed("POST").into_response();
    }
    let view = SignUp {
        frame: Frame::new(&visit, "Sign up now", false),
        error: None,
        fields: Fields {
            discoverable: true,
            ..Fields::default()
        },
    };
    page(&visit, StatusCode::OK, &view)
}

/// The form once more, as it was filled in.
pub(super) fn sign_up_again(
    visit: &Visit,
    status: StatusCode,
    error: Option<&str>,
    form: &Form,
    errors: &Errors,
) -> Response {
    let wrong = |name: &str| {
        errors
            .get(name)
            .and_then(|all| all.first())
            .copied()
            .unwrap_or_default()
    };
    let typed = |name: &str| form.text(name).unwrap_or_default();
    let place = [wrong("lat"), wrong("lng")];
    let view = SignUp {
        frame: Frame::new(visit, "Sign up now", false),
        error,
        fields: Fields {
            email: typed("email"),
            phone: form.text("phone_num").unwrap_or_else(|| typed("phone_number")),
            lat: typed("lat"),
            lng: typed("lng"),
            discoverable: form.flag("discoverable").unwrap_or(false),
            newsletter: form.flag("newsletter").unwrap_or(false),
            wrong_email: wrong("email"),
            wrong_password: wrong("password"),
            wrong_repetition: wrong("confirm_pass"),
            wrong_phone: wrong("phone_num"),
            wrong_place: place.into_iter().find(|text| !text.is_empty()).unwrap_or_default(),
        },
    };
    page(visit, status, &view)
}

fn update_page(visit: &Visit, status: StatusCode, told: Option<&str>, account: &UserRow) -> Response {
    let view = Update {
        frame: Frame::new(visit, "Update your account", true),
        told,
        wrong: !status.is_success(),
        email: account.email.as_deref().unwrap_or_default(),
        phone: shown_phone(account),
        discoverable: account.discoverable,
        placed: account.latitude.is_some(),
    };
    page(visit, status, &view)
}

fn shown_phone(account: &UserRow) -> &str {
    account
        .phone_registered
        .as_deref()
        .or(account.phone.as_deref())
        .unwrap_or_default()
}

/// `GET /update`.
pub(super) async fn update(visit: Visit) -> Response {
    match visit.visitor(SharedWant::Access).await {
        Ok(visitor) => update_page(&visit, StatusCode::OK, None, &visitor.account),
        Err(why) => visit.turned_away(why),
    }
}

/// The form once more, with what became of it.
pub(super) fn update_again(visit: &Visit, status: StatusCode, told: &str, account: &UserRow) -> Response {
    update_page(visit, status, Some(told), account)
}

/// `/home`.
pub(super) async fn home(visit: Visit) -> Response {
    let visitor = match visit.visitor(SharedWant::Access).await {
        Ok(visitor) => visitor,
        Err(why) => return visit.turned_away(why),
    };
    let account = &visitor.account;
    let view = Home {
        frame: Frame::new(&visit, "Home", true),
        email: account.email.as_deref().unwrap_or_default(),
        phone: shown_phone(account),
        country: account.country.as_deref().unwrap_or_default(),
        active: is_activated(account),
        discoverable: account.discoverable,
        admin: visitor.caller.has(aggregates::values::Role::Admin),
        asset_registry: visit.app.config().agstack.asset_registry_url.is_some(),
    };
    page(&visit, StatusCode::OK, &view)
}

/// `GET /forgot-password`.
pub(super) async fn forgot(visit: Visit) -> Response {
    match already_in(&visit).await {
        Some(response) => response,
        None => forgot_page(&visit, StatusCode::OK, None),
    }
}

fn forgot_page(visit: &Visit, status: StatusCode, error: Option<&str>) -> Response {
    let frame = Frame::new(visit, "Forgot your password?", false);
    page(visit, status, &Forgot { frame, error })
}

/// The form once more, with what is wrong.
pub(super) fn forgot_again(visit: &Visit, status: StatusCode, error: &str) -> Response {
    forgot_page(visit, status, Some(error))
}

/// `GET /reset-password/{token}`: asks for the new password and changes nothing.
pub(super) async fn reset(visit: Visit, token: Result<Path<String>, PathRejection>) -> Response {
    if let Some(response) = already_in(&visit).await {
        return response;
    }
    let lost = || visit.done(StatusCode::BAD_REQUEST, words::INVALID_LINK, "/forgot-password");
    let Ok(Path(token)) = token else { return lost() };
    let asked = Asked::plainly(visit.caller.clone());
    match visit.app.registry().reset_link_opens(&asked, &token).await {
        Ok(true) => reset_page(&visit, StatusCode::OK, None, &token),
        Ok(false) => lost(),
        Err(refusal) => visit.failed(refusal, words::INVALID_LINK),
    }
}

fn reset_page(visit: &Visit, status: StatusCode, error: Option<&str>, token: &str) -> Response {
    let view = Reset {
        frame: Frame::new(visit, "Set a new password", false),
        error,
        token: utf8_percent_encode(token, &IN_PATH).to_string(),
    };
    page(visit, status, &view)
}

/// The form once more, with what is wrong.
pub(super) fn reset_again(visit: &Visit, status: StatusCode, error: &str, token: &str) -> Response {
    reset_page(visit, status, Some(error), token)
}
