//! Logging in and out (contract, sections 2.2, 2.4, 3.5 and 3.11).

use aggregates::values::Email;
use axum::extract::{Request, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::form::{Form, Unreadable};
use super::push::News;
use super::visit::{NoVisitor, Visit, answer, local, told};
use super::{cookies, negotiate, pages, refusals, words};
use crate::http::App;
use crate::http::problem::{Problem, Rule, Slug};
use crate::passwords::Password;
use crate::registry::{
    Asked, Denial, DeviceProof, Identifier, Refusal, SharedBearer, SharedDenial, SharedPair, SharedWant,
};

/// What somebody signs in with.
struct Credentials {
    email: Email,
    password: Password,
}

impl Credentials {
    /// None: one of them is missing, or is none.
    fn of(email: Option<&str>, password: Option<&str>) -> Option<Self> {
        Some(Self {
            email: Email::parse(email?.trim()).ok()?,
            password: Password::parse(password?).ok()?,
        })
    }
}

/// How credentials came.
#[derive(Clone, Copy)]
enum Way<'a> {
    /// In a body, with the page to go to.
    Body { next: &'a str },
    /// In headers, as the asset registry sends them: it reads the tokens out of the answer.
    Headers,
}

/// `GET /` and `GET /login`: a page for browsers, and for programs a way in by headers.
pub(super) async fn front(visit: Visit) -> Response {
    match ways_in(&visit).await {
        Some(response) => response,
        None if visit.json => told(StatusCode::BAD_REQUEST, words::MISSING_CREDENTIALS),
        None => pages::log_in(&visit, StatusCode::OK, None, ""),
    }
}

/// `POST /` and `POST /login`.
pub(super) async fn front_form(State(app): State<App>, visit: Visit, request: Request) -> Response {
    if let Some(response) = ways_in(&visit).await {
        return response;
    }
    let missing = |visit: &Visit| {
        if visit.json {
            told(StatusCode::BAD_REQUEST, words::MISSING_CREDENTIALS)
        } else {
            pages::log_in(visit, StatusCode::BAD_REQUEST, Some(words::MISSING_CREDENTIALS), "")
        }
    };
    let form = match Form::read(&app.config().http, request).await {
        Ok(form) => form,
        Err(Unreadable::Malformed) => return missing(&visit),
        Err(Unreadable::Refused(problem)) => return problem.into_response(),
    };
    if !visit.is_meant(Some(&form), false) {
        return pages::log_in(&visit, StatusCode::FORBIDDEN, Some(words::CROSS_SITE), "");
    }
    match Credentials::of(form.text("email"), form.typed("password")) {
        Some(credentials) => {
            let next = form.text("next").unwrap_or_default();
            sign_in(&visit, credentials, Way::Body { next }).await
        }
        None => missing(&visit),
    }
}

/// The ways in that need no body, in the order of the contract: a token, a device, two headers.
async fn ways_in(visit: &Visit) -> Option<Response> {
    match visit.visitor(SharedWant::Access).await {
        Ok(visitor) => {
            let bearer = SharedBearer {
                user: visitor.account,
                session: visitor.session,
            };
            return Some(if visit.json {
                match visit.app.registry().shared_pair(&bearer) {
                    Ok(pair) => let_in(visit, &pair),
                    Err(refusal) => visit.failed(refusal, "Login Error"),
                }
            } else {
                visit.away("/home")
            });
        }
        Err(NoVisitor::Denied(SharedDenial::Refused(refusal))) => return Some(visit.failed(refusal, "Login Error")),
        // A token that has ended must not stand in the way of credentials.
        Err(NoVisitor::Nothing | NoVisitor::Denied(_)) => {}
    }
    if let Some(device) = visit.header_text("x-device-id") {
        return Some(sign_in_device(visit, device.trim()).await);
    }
    if negotiate::says_true(&visit.headers, "x-asset-registry")
        && let (Some(email), Some(password)) = (visit.header_text("x-email"), visit.header_text("x-password"))
    {
        return Some(match Credentials::of(Some(&email), Some(&password)) {
            Some(credentials) => sign_in(visit, credentials, Way::Headers).await,
            None => told(StatusCode::BAD_REQUEST, words::MISSING_CREDENTIALS),
        });
    }
    None
}

async fn sign_in(visit: &Visit, credentials: Credentials, way: Way<'_>) -> Response {
    let Credentials { email, password } = credentials;
    let identifier = Identifier::parse(email.as_str());
    let signed_in = visit
        .app
        .registry()
        .sign_in_shared(&visit.caller, &identifier, password)
        .await;
    if let (Ok(pair), Way::Body { .. }) = (&signed_in, way) {
        visit.push(News::Login, pair);
    }
    match signed_in {
        Ok(pair) if visit.json => let_in(visit, &pair),
        Ok(pair) => {
            let next = match way {
                Way::Body { next } => local(next),
                Way::Headers => None,
            };
            let mut response = visit.away(next.unwrap_or("/home"));
            set_both(visit, &mut response, &pair);
            response
        }
        Err(refusal) => kept_out(visit, refusal, email.as_str()),
    }
}

/// Both tokens, in the body and as cookies.
fn let_in(visit: &Visit, pair: &SharedPair) -> Response {
    let body = json!({ "access_token": pair.access.as_str(), "refresh_token": pair.refresh.as_str() });
    let mut response = answer(StatusCode::OK, body);
    set_both(visit, &mut response, pair);
    response
}

fn set_both(visit: &Visit, response: &mut Response, pair: &SharedPair) {
    cookies::set(response, visit.secure(), cookies::ACCESS, &pair.access);
    cookies::set(response, visit.secure(), cookies::REFRESH, &pair.refresh);
}

/// The texts of the seed: this contract tells an unknown user from a wrong password, unless its operator wants one answer.
fn kept_out(visit: &Visit, refusal: Refusal, email: &str) -> Response {
    let uniform = visit.app.config().agstack.uniform_login_errors;
    let says = |status: StatusCode, text: &str| {
        if visit.json {
            told(status, text)
        } else {
            // Redrawn with the address that was typed: only the password is to be typed again.
            let status = if status == StatusCode::UNAUTHORIZED {
                StatusCode::OK
            } else {
                status
            };
            pages::log_in(visit, status, Some(text), email)
        }
    };
    let rule = Rule::of(&refusal);
    let response = match refusal {
        Refusal::Denied(Denial::NoSuchUser) if !uniform => {
            if visit.json {
                told(StatusCode::UNAUTHORIZED, words::UNKNOWN_USER)
            } else {
                visit.away_saying("/", words::UNKNOWN_USER)
            }
        }
        Refusal::Denied(Denial::TooManyTries { retry_after }) => {
            refusals::retry_after(says(StatusCode::TOO_MANY_REQUESTS, words::TOO_MANY), retry_after)
        }
        Refusal::Denied(_) | Refusal::InvalidCredentials => says(StatusCode::UNAUTHORIZED, words::WRONG_PASSWORD),
        Refusal::AddressBlocked(_) => says(StatusCode::FORBIDDEN, &format!("\"{email}\" is blacklisted")),
        other => visit.failed(other, "Login Error"),
    };
    rule.on(response)
}

async fn sign_in_device(visit: &Visit, device: &str) -> Response {
    let secret = visit.header_text("x-device-secret");
    let proof = if visit.app.config().agstack.bare_device_id {
        DeviceProof::Bare
    } else {
        DeviceProof::Secret(secret.as_deref().map(str::trim))
    };
    let refusal = match visit.app.registry().sign_in_device(&visit.caller, device, proof).await {
        Ok(pair) => return let_in(visit, &pair),
        Err(refusal) => refusal,
    };
    let rule = Rule::of(&refusal);
    let response = match refusal {
        Refusal::Denied(Denial::TooManyTries { retry_after }) => {
            refusals::retry_after(told(StatusCode::TOO_MANY_REQUESTS, words::TOO_MANY), retry_after)
        }
        Refusal::Denied(_) | Refusal::InvalidCredentials => told(StatusCode::BAD_REQUEST, words::INVALID_DEVICE),
        other => visit.failed(other, "Login Error"),
    };
    rule.on(response)
}

/// `/logout`: the session ends, whichever of its tokens is shown.
pub(super) async fn logout(State(app): State<App>, visit: Visit, request: Request) -> Response {
    let gone = |mut response: Response| {
        cookies::expire(&mut response, visit.secure(), cookies::ACCESS);
        cookies::expire(&mut response, visit.secure(), cookies::REFRESH);
        response
    };
    let visitor = match visit.visitor(SharedWant::Either).await {
        Ok(visitor) => visitor,
        Err(NoVisitor::Denied(SharedDenial::Refused(refusal))) => return visit.failed(refusal, words::LOGOUT_ERROR),
        Err(why) if visit.json => return gone(visit.turned_away(why)),
        Err(_) => return gone(visit.away("/")),
    };
    // By GET from wherever: the link of a mail activates and leads here, so a browser says that it comes from the mail.
    if !visit.method.is_safe() {
        let form = Form::read(&app.config().http, request).await.ok();
        if !visit.is_meant_by(&visitor, form.as_ref()) {
            return Problem::new(Slug::Forbidden).into_response();
        }
    }
    let bearer = SharedBearer {
        user: visitor.account,
        session: visitor.session,
    };
    let registry = visit.app.registry();
    let ended = registry
        .end_session(&Asked::plainly(visitor.caller), bearer.user.id, bearer.session)
        .await;
    if ended.is_ok()
        && visit.app.assets().is_some()
        // The peer that tells us need not be told.
        && !visit.headers.contains_key("x-from-asset-registry")
        && let Ok(pair) = registry.shared_farewell(&bearer)
    {
        visit.push(News::Logout, &pair);
    }
    match ended {
        // Somebody else has ended it since.
        Ok(_) | Err(Refusal::NotFound) => gone(visit.done(StatusCode::OK, words::LOGGED_OUT, "/")),
        Err(refusal) => visit.failed(refusal, words::LOGOUT_ERROR),
    }
}

/// `GET /refresh`: another access token, with every claim of the first.
pub(super) async fn refresh(visit: Visit) -> Response {
    let visitor = match visit.visitor(SharedWant::Refresh).await {
        Ok(visitor) => visitor,
        Err(why) => return visit.turned_away(why),
    };
    let by_cookie = visitor.by_cookie;
    let bearer = SharedBearer {
        user: visitor.account,
        session: visitor.session,
    };
    let access = match visit.app.registry().shared_access(&bearer) {
        Ok(access) => access,
        Err(refusal) => return visit.failed(refusal, "Refresh Error"),
    };
    let mut response = if visit.json {
        // The key with a blank is what clients of old read, the other what their documents say.
        answer(
            StatusCode::OK,
            json!({ "access token": access.as_str(), "access_token": access.as_str() }),
        )
    } else {
        let back = visit.came_from().filter(|path| !path.starts_with("/refresh"));
        visit.away(back.as_deref().unwrap_or("/home"))
    };
    if by_cookie {
        cookies::set(&mut response, visit.secure(), cookies::ACCESS, &access);
    }
    response
}

/// `GET /asset-registry-home`: hands a program its tokens, and sends a browser to the asset registry's pages.
pub(super) async fn asset_registry(visit: Visit) -> Response {
    if let Err(why) = visit.visitor(SharedWant::Access).await {
        return visit.turned_away(why);
    }
    if visit.json {
        let cookie = |name| cookies::value(&visit.headers, name);
        let access = visit.bearer().or_else(|| cookie(cookies::ACCESS)).unwrap_or_default();
        let refresh = cookie(cookies::REFRESH).unwrap_or_default();
        let token = json!({ "Authorization": format!("Bearer {access}"), "refresh_token": refresh });
        return answer(StatusCode::OK, json!({ "message": "", "token": token }));
    }
    let Some(url) = &visit.app.config().agstack.asset_registry_url else {
        return visit.away("/home");
    };
    let mut response = StatusCode::FOUND.into_response();
    if let Ok(value) = HeaderValue::from_str(url) {
        response.headers_mut().insert(LOCATION, value);
    }
    response
}
