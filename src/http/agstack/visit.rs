//! A request as the handlers see it: where it comes from, which form its answer has, whose token it shows.

use std::convert::Infallible;
use std::net::IpAddr;

use aggregates::values::Dialect;
use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::header::{AUTHORIZATION, HOST, LOCATION, ORIGIN, REFERER, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use projections::UserRow;
use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use super::form::{Encoding, Form};
use super::push::News;
use super::refusals::Manner;
use super::{cookies, negotiate, words};
use crate::http::App;
use crate::http::caller::{client_address, stranger};
use crate::http::limited::Heard;
use crate::http::problem::{Problem, Slug};
use crate::registry::{Caller, Refusal, SharedDenial, SharedPair, SharedWant};

/// A request of the dialect.
pub(super) struct Visit {
    pub app: App,
    /// Nobody known, through this dialect.
    pub caller: Caller,
    /// What the rates say of it.
    heard: Heard,
    pub headers: HeaderMap,
    pub method: Method,
    pub address: Option<IpAddr>,
    /// Whether the answer is JSON; else it is a page.
    pub json: bool,
    /// What stands before every path of the mount this came through.
    pub base: String,
    /// The path within the mount, with its query.
    pub path: String,
}

/// The address as it was asked for, with the prefix of its mount.
#[derive(Clone)]
pub(super) struct Original(pub Uri);

/// Somebody whose token opens something.
pub(super) struct Visitor {
    pub caller: Caller,
    pub account: UserRow,
    pub session: Uuid,
    /// Whether a browser sent the token by itself.
    pub by_cookie: bool,
}

/// Why a token opens nothing.
pub(super) enum NoVisitor {
    /// None was shown.
    Nothing,
    /// It does not hold.
    Denied(SharedDenial),
}

impl FromRequestParts<App> for Visit {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let uri = parts
            .extensions
            .get::<Original>()
            .map_or_else(|| parts.uri.clone(), |original| original.0.clone());
        let address = client_address(app, &parts.headers, &parts.extensions);
        let prefix = app.config().agstack.prefix.as_str();
        let all = uri.path_and_query().map_or("/", |path| path.as_str());
        let within = super::within(prefix, all);
        Ok(Self {
            caller: stranger(Dialect::Agstack, &parts.headers, &parts.extensions, address),
            heard: Heard::of(&parts.extensions),
            headers: parts.headers.clone(),
            method: parts.method.clone(),
            json: negotiate::wants_json(&parts.headers),
            address,
            base: if within.is_some() {
                prefix.to_owned()
            } else {
                String::new()
            },
            path: within.unwrap_or(all).to_owned(),
            app: app.clone(),
        })
    }
}

impl Visit {
    /// Sends a browser to a path of the dialect.
    pub fn away(&self, path: &str) -> Response {
        let mut response = StatusCode::FOUND.into_response();
        if let Ok(value) = HeaderValue::from_str(&format!("{}{path}", self.base)) {
            response.headers_mut().insert(LOCATION, value);
        }
        response
    }

    /// The same; the page there says these words.
    pub fn away_saying(&self, path: &str, words: &'static str) -> Response {
        let mut response = self.away(path);
        if let Some(code) = words::flash_code(words) {
            cookies::set(&mut response, self.secure(), cookies::FLASH, &code.to_string());
        }
        response
    }

    /// Words for a program; for a browser the page where it reads them.
    pub fn done(&self, status: StatusCode, words: &'static str, page: &str) -> Response {
        if self.json {
            told(status, words)
        } else {
            self.away_saying(page, words)
        }
    }

    /// Something that could not be done, and how a fault of ours is called here.
    pub fn failed(&self, refusal: Refusal, fault: &str) -> Response {
        match refusal {
            Refusal::Unavailable { retry_after } => Problem::unavailable(retry_after).into_response(),
            Refusal::Internal(problem) => {
                tracing::error!(%problem, "a request met a fault of ours");
                if self.json {
                    answer(StatusCode::INTERNAL_SERVER_ERROR, self.manner().body(fault))
                } else {
                    Problem::new(Slug::Internal).into_response()
                }
            }
            other => crate::http::canonical::problem(other).into_response(),
        }
    }

    /// Which members a refusal has here.
    fn manner(&self) -> Manner {
        Manner::of(&self.path)
    }

    /// Whether cookies travel encrypted only.
    pub fn secure(&self) -> bool {
        self.app.is_https()
    }

    /// Tells the asset registry, if it is to be told.
    pub fn push(&self, news: News, pair: &SharedPair) {
        if let Some(assets) = self.app.assets() {
            assets.push(news, pair, self.app.closing());
        }
    }

    /// Whether the request comes from a network of peers (contract, section 5.5).
    pub fn trusted(&self) -> bool {
        let networks = &self.app.config().agstack.trusted_clients;
        self.address
            .is_some_and(|address| networks.iter().any(|network| network.contains(address)))
    }

    /// The text of a header: UTF-8 if it is, else Latin-1, as clients of old send it.
    pub fn header_text(&self, name: &str) -> Option<String> {
        let bytes = self.headers.get(name)?.as_bytes();
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
        };
        Some(text).filter(|text| !text.trim().is_empty())
    }

    /// A token in `Authorization`, with or without a blank before it. Any other scheme is none of ours.
    pub fn bearer(&self) -> Option<&str> {
        let text = self.headers.get(AUTHORIZATION)?.to_str().ok()?.trim();
        let (scheme, token) = text.split_at_checked("bearer".len())?;
        let token = token.trim_start();
        (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
    }

    /// Counts a request of an account under its own rate.
    pub fn counts(&self, account: Uuid) -> Result<(), Refusal> {
        match self.heard.told().wait_of_account(&self.app, account) {
            Some(retry_after) => Err(Refusal::TooMany { retry_after }),
            None => Ok(()),
        }
    }

    /// Who shows a token: in the header, else in a cookie. Counted under their own rate.
    pub async fn visitor(&self, want: SharedWant) -> Result<Visitor, NoVisitor> {
        let from_cookies = || {
            let access = || cookies::value(&self.headers, cookies::ACCESS);
            let refresh = || cookies::value(&self.headers, cookies::REFRESH);
            match want {
                SharedWant::Access => access(),
                SharedWant::Refresh => refresh(),
                SharedWant::Either => access().or_else(refresh),
            }
        };
        let (token, by_cookie) = match self.bearer() {
            Some(token) => (token, false),
            None => (from_cookies().ok_or(NoVisitor::Nothing)?, true),
        };
        let mut shown = self.app.registry().authenticate_shared(token, want).await;
        // The access token in its cookie may have ended before the refresh token in the other.
        if by_cookie
            && want == SharedWant::Either
            && matches!(shown, Err(SharedDenial::Token(_)))
            && let Some(refresh) = cookies::value(&self.headers, cookies::REFRESH)
        {
            shown = self.app.registry().authenticate_shared(refresh, want).await;
        }
        let shown = shown.map_err(NoVisitor::Denied)?;
        self.counts(shown.user.id)
            .map_err(|refusal| NoVisitor::Denied(SharedDenial::Refused(refusal)))?;
        Ok(Visitor {
            caller: Caller {
                who: shown.who(),
                ..self.caller.clone()
            },
            account: shown.user,
            session: shown.session,
            by_cookie,
        })
    }

    /// What somebody without a token that opens this is answered (contract, section 1.5).
    pub fn turned_away(&self, why: NoVisitor) -> Response {
        if let NoVisitor::Denied(SharedDenial::Refused(refusal)) = why {
            return self.failed(refusal, words::NEED_LOGIN);
        }
        if self.json {
            let mut body = self.manner().body(words::NEED_LOGIN);
            if let NoVisitor::Denied(denial) = &why
                && let Some(reason) = denial.reason()
            {
                body["msg"] = Value::from(reason);
            }
            return unauthorized(body);
        }
        let expired = matches!(&why, NoVisitor::Denied(denial) if denial.is_expired());
        if expired && cookies::value(&self.headers, cookies::REFRESH).is_some() && !self.path.starts_with("/refresh") {
            return self.away("/refresh");
        }
        self.away(&format!("/?next={}", utf8_percent_encode(&self.path, NON_ALPHANUMERIC)))
    }

    /// Whether somebody who is logged in meant what was sent. Who shows a token in a header does: no page elsewhere can
    /// (contract, hole H8).
    pub fn is_meant_by(&self, visitor: &Visitor, form: Option<&Form>) -> bool {
        !visitor.by_cookie || self.is_meant(form, true)
    }

    /// Whether what a browser sent by itself was meant by its user: it comes from a page of ours (contract, hole H8).
    pub fn is_meant(&self, form: Option<&Form>, by_cookie: bool) -> bool {
        let is_form = form.is_some_and(|form| form.encoding == Encoding::Form);
        // A page elsewhere cannot send JSON here, nor a token in a header, without being asked about first.
        if !by_cookie && (self.json || !is_form) {
            return true;
        }
        let text = |name: &str| self.headers.get(name).and_then(|value| value.to_str().ok());
        let (origin, site) = (text(ORIGIN.as_str()), text("sec-fetch-site"));
        let from_here = match (origin, site) {
            (Some(origin), _) => self.is_own(origin),
            (None, Some(site)) => matches!(site, "same-origin" | "none"),
            (None, None) => true,
        };
        if !from_here {
            return false;
        }
        // Every browser of today says where a form comes from; programs that write forms do not.
        let told = origin.is_some() || site.is_some();
        match form.and_then(|form| form.typed(cookies::FORM)) {
            // A form of ours repeats what its page gave the browser.
            Some(token) => cookies::value(&self.headers, cookies::FORM)
                .is_some_and(|held| bool::from(held.as_bytes().ct_eq(token.as_bytes()))),
            None if self.json => true,
            None if is_form => !told && !by_cookie,
            None => told,
        }
    }

    /// Whether a browser says that another site has sent it here: no reason to do what costs somebody a mail (contract,
    /// hole H8).
    pub fn is_from_elsewhere(&self) -> bool {
        self.headers
            .get("sec-fetch-site")
            .is_some_and(|site| site == "cross-site")
    }

    /// Whether an origin is this service's own.
    fn is_own(&self, origin: &str) -> bool {
        let public = self.app.config().public_url.as_deref().and_then(origin_of);
        let host = self.headers.get(HOST).and_then(|value| value.to_str().ok());
        let by_host = origin
            .split_once("://")
            .is_some_and(|(_, authority)| host.is_some_and(|host| authority.eq_ignore_ascii_case(host)));
        by_host || public.is_some_and(|public| public.eq_ignore_ascii_case(origin))
    }

    /// The page a browser comes from, if it is one of ours: its path here.
    pub fn came_from(&self) -> Option<String> {
        let referer = self.headers.get(REFERER)?.to_str().ok()?;
        let origin = origin_of(referer)?;
        if !self.is_own(origin) {
            return None;
        }
        let path = referer.get(origin.len()..)?;
        let path = if path.is_empty() { "/" } else { path };
        let within = path.strip_prefix(self.base.as_str())?;
        local(within).map(str::to_owned)
    }
}

/// `https://host:port` of an address.
fn origin_of(url: &str) -> Option<&str> {
    let start = url.find("://")? + 3;
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at);
    url.get(..end)
}

/// A path of this site, and nothing that a browser would take for another one (contract, hole H10).
pub(super) fn local(path: &str) -> Option<&str> {
    let plain = path.starts_with('/')
        && !path.starts_with("//")
        && path.len() <= 2_048
        && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    plain.then_some(path)
}

/// `{"message": …}`.
pub(super) fn told(status: StatusCode, message: &str) -> Response {
    answer(status, json!({ "message": message }))
}

/// The same under both spellings, for the routes whose readers look for either.
pub(super) fn told_twice(status: StatusCode, message: &str) -> Response {
    answer(status, json!({ "Message": message, "message": message }))
}

/// A JSON answer.
pub(super) fn answer(status: StatusCode, body: Value) -> Response {
    if status == StatusCode::UNAUTHORIZED {
        return unauthorized(body);
    }
    (status, Json(body)).into_response()
}

fn unauthorized(body: Value) -> Response {
    let challenge = [(WWW_AUTHENTICATE, r#"Bearer realm="user-registry""#)];
    (StatusCode::UNAUTHORIZED, challenge, Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_of_this_site_is_followed() {
        for path in ["/", "/home", "/update?x=1", "/a//b"] {
            assert_eq!(local(path), Some(path));
        }
        for path in [
            "",
            "home",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example/",
            "/a b",
            "/\u{e9}",
            "/\n",
        ] {
            assert_eq!(local(path), None, "{path}");
        }
    }

    #[test]
    fn an_origin_ends_where_the_path_begins() {
        assert_eq!(origin_of("https://a.example:8443/x?y"), Some("https://a.example:8443"));
        assert_eq!(origin_of("https://a.example"), Some("https://a.example"));
        assert_eq!(origin_of("null"), None);
    }
}
