//! Who calls: the guard before every route, and the extractor behind it.

use std::net::{IpAddr, SocketAddr};

use aggregates::values::{Dialect, Role};
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::header::{ACCEPT, AUTHORIZATION, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use projections::UserRow;
use tokio::time::timeout;
use uuid::Uuid;

use super::edge::RequestId;
use super::limited::Told;
use super::problem::{Problem, Slug};
use super::routes::{Permission, allowed, permission};
use super::{App, deadline};
use crate::guards;
use crate::registry::{Caller, Refusal, Who};
use crate::tokens::{OpaqueKind, TokenError};
use crate::trace::TraceParent;

/// The peer of the connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub SocketAddr);

/// The one route that is answered by a stream.
const STREAM: &str = "/v1/events/stream";

/// Longest user agent that is kept.
const USER_AGENT_CHARACTERS: usize = 256;

/// A caller as the handlers see it: who, and the account as it was when the request was let in.
#[derive(Clone)]
pub(super) struct Known {
    pub caller: Caller,
    /// The caller's account; none for the anonymous.
    pub account: Option<UserRow>,
}

/// A caller with an account: signed in, or a program with an API key.
#[derive(Clone)]
pub(super) struct SignedInUser {
    pub caller: Caller,
    pub id: Uuid,
    pub account: UserRow,
}

/// A caller who is signed in. An API key is none: it has no session.
#[derive(Clone)]
pub(super) struct Person {
    pub caller: Caller,
    pub id: Uuid,
    pub session: Uuid,
    pub account: UserRow,
}

/// Lets a request through to its route, or not. A route without a permission is not served.
pub(super) async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let path = request
        .extensions()
        .get::<MatchedPath>()
        .map(|path| path.as_str().to_owned())
        .unwrap_or_default();
    let Some(needed) = permission(request.method(), &path) else {
        // The fallback of a path's missing methods is behind this guard too.
        return match allowed(&path) {
            Some(methods) => Problem::method_not_allowed(&methods).into_response(),
            None => Problem::new(Slug::NotFound).into_response(),
        };
    };
    if path.starts_with("/v1/")
        && !accepts_json(request.headers(), path == STREAM)
        && !accepts_its_own(&path, request.headers())
    {
        return Problem::new(Slug::NotAcceptable).into_response();
    }
    let address = client_address(&app, request.headers(), request.extensions());
    let mut told = Told::default();
    let class = guards::class(request.method().as_str(), &path);
    // Before the credential is read: reading one costs more than counting.
    if let Some(response) = told.by_address(&app, class, address) {
        return response;
    }
    let known = timeout(
        deadline::READ,
        identify(&app, request.headers(), request.extensions(), needed, address),
    );
    let mut response = match known.await.unwrap_or_else(|_| Err(hangs())) {
        Ok(known) => {
            if let Some(response) = told.by_account(&app, known.caller.user()) {
                return response;
            }
            if let Err(problem) = may(&app, needed, &known) {
                problem.into_response()
            } else {
                request.extensions_mut().insert(known);
                if path.starts_with("/v1/events") {
                    // It waits on purpose.
                    next.run(request).await
                } else {
                    let limit = deadline::of(request.method(), app.config());
                    let away = app.registry().store().watch_away();
                    let answered = deadline::in_time(limit, away, request, |request| next.run(request)).await;
                    answered.unwrap_or_else(|| Problem::unavailable(2).into_response())
                }
            }
        }
        Err(problem) => problem.into_response(),
    };
    told.tell(&mut response);
    response
}

/// A database that hangs.
fn hangs() -> Problem {
    tracing::warn!("a read was given up: the database does not answer");
    Problem::unavailable(2)
}

/// Whether the client takes JSON, or of a stream its events. One that says nothing does; of several ranges the most exact decides (RFC 9110,
/// section 12.5.1).
fn accepts_json(headers: &HeaderMap, stream: bool) -> bool {
    let texts = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut best = None;
    let mut said = false;
    for range in texts
        .flat_map(|text| text.split(','))
        .map(str::trim)
        .filter(|range| !range.is_empty())
    {
        said = true;
        let mut parts = range.split(';').map(str::trim);
        let exactness = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "*/*" => 1,
            "application/*" => 2,
            "application/json" | "application/problem+json" => 3,
            "text/*" if stream => 2,
            "text/event-stream" if stream => 3,
            _ => continue,
        };
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let taken = weight.is_none_or(|weight| weight.parse::<f32>().is_ok_and(|weight| weight > 0.0));
        best = best.max(Some((exactness, taken)));
    }
    !said || best.is_some_and(|(_, taken)| taken)
}

/// Whether the client takes what a route sends that is no JSON.
fn accepts_its_own(path: &str, headers: &HeaderMap) -> bool {
    let own: &[&str] = match path {
        "/v1/log/head" => &["text/plain", "text/*"],
        "/v1/users/{id}/history/bundle" => &["application/x-ndjson"],
        _ => return false,
    };
    let texts = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut ranges = texts
        .flat_map(|text| text.split(','))
        .filter_map(|range| range.split(';').next());
    ranges.any(|range| own.iter().any(|own| range.trim().eq_ignore_ascii_case(own)))
}

/// Whether nobody need say who they are.
fn is_public(app: &App, needed: Permission) -> bool {
    match needed {
        Permission::Public => true,
        Permission::Checker => app.config().registration.public_check,
        Permission::SignedIn | Permission::Person | Permission::Subscriber | Permission::Reader | Permission::Admin => {
            false
        }
    }
}

fn may(app: &App, needed: Permission, known: &Known) -> Result<(), Problem> {
    let caller = &known.caller;
    if is_public(app, needed) {
        return Ok(());
    }
    let allowed = match needed {
        Permission::Public => true,
        Permission::SignedIn => caller.has(Role::User),
        Permission::Person => matches!(caller.who, Who::User { .. }),
        Permission::Subscriber => [Role::Subscriber, Role::Auditor, Role::Admin]
            .iter()
            .any(|role| caller.has(*role)),
        Permission::Reader => caller.has(Role::Admin) || caller.has(Role::Auditor),
        Permission::Admin | Permission::Checker => caller.has(Role::Admin),
    };
    match (allowed, &caller.who) {
        (true, _) => Ok(()),
        (false, Who::Anonymous) => Err(Problem::new(Slug::Unauthenticated)),
        (false, _) => Err(Problem::new(Slug::Forbidden)),
    }
}

/// Reads the credential. On a public route a bad one counts as none: a stale token must not block a sign-in.
async fn identify(
    app: &App,
    headers: &HeaderMap,
    extensions: &Extensions,
    needed: Permission,
    address: Option<IpAddr>,
) -> Result<Known, Problem> {
    let mut caller = stranger(Dialect::Canonical, headers, extensions, address);
    let mut credentials = headers.get_all(AUTHORIZATION).iter();
    let (Some(credential), second) = (credentials.next(), credentials.next()) else {
        return Ok(Known { caller, account: None });
    };
    if second.is_some() {
        return Err(Problem::new(Slug::Malformed).detail("two credentials in one request"));
    }
    let known = match credential.to_str() {
        Ok(text) => bearer(app, text).await,
        Err(_) => Err(Problem::unknown_token()),
    };
    match known {
        Ok((who, account)) => {
            caller.who = who;
            Ok(Known {
                caller,
                account: Some(account),
            })
        }
        Err(problem) if is_public(app, needed) && problem.slug() != Slug::Malformed => {
            // An outage is told even here: it would come up in the handler anyway.
            if problem.slug() == Slug::Unavailable {
                Err(problem)
            } else {
                Ok(Known { caller, account: None })
            }
        }
        Err(problem) => Err(problem),
    }
}

/// Whether a credential that was good for a route still is: for what goes on long after its request was let in.
pub(super) async fn still(app: &App, credential: &HeaderValue, needed: Permission) -> Result<(), Problem> {
    let text = credential.to_str().map_err(|_| Problem::unknown_token())?;
    let (who, account) = timeout(deadline::READ, bearer(app, text))
        .await
        .map_err(|_| hangs())??;
    let caller = Caller {
        who,
        dialect: Dialect::Canonical,
        request_id: String::new(),
        trace: None,
        ip: None,
        user_agent: None,
    };
    let account = Some(account);
    may(app, needed, &Known { caller, account })
}

/// A caller nobody knows yet: through which dialect, from where, with which program.
pub(super) fn stranger(
    dialect: Dialect,
    headers: &HeaderMap,
    extensions: &Extensions,
    address: Option<IpAddr>,
) -> Caller {
    Caller {
        who: Who::Anonymous,
        dialect,
        request_id: extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default(),
        trace: extensions.get::<TraceParent>().cloned(),
        ip: address.map(|ip| ip.to_string()),
        user_agent: headers
            .get(USER_AGENT)
            .and_then(|value| value.to_str().ok())
            .map(|text| text.chars().take(USER_AGENT_CHARACTERS).collect()),
    }
}

/// Whom a canonical credential stands for.
pub(super) async fn bearer(app: &App, text: &str) -> Result<(Who, UserRow), Problem> {
    let Some((scheme, token)) = text.split_once(' ') else {
        return Err(Problem::unknown_token());
    };
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Problem::unknown_token());
    }
    if token.contains(',') {
        return Err(Problem::new(Slug::Malformed).detail("two credentials in one request"));
    }
    let (registry, token) = (app.registry(), token.trim());
    let ended = |refusal| match refusal {
        Refusal::Revoked => Problem::new(Slug::TokenRevoked),
        other => super::canonical::problem(other),
    };
    if token.starts_with(OpaqueKind::ApiKey.prefix()) {
        return match registry.authenticate_key(token).await.map_err(ended)? {
            Some(holder) => Ok((holder.who, holder.account)),
            None => Err(Problem::unknown_token()),
        };
    }
    let claims = registry
        .verifier()
        .verify(token, registry.store().now())
        .map_err(|error| match error {
            TokenError::Expired => Problem::new(Slug::TokenExpired),
            _ => Problem::unknown_token(),
        })?;
    let account = registry.authenticate(claims.sub, claims.sid).await.map_err(ended)?.user;
    let who = Who::User {
        id: account.id,
        session: claims.sid,
        roles: account.roles.clone(),
    };
    Ok((who, account))
}

/// Where the client is: the peer, or what a configured proxy says of it.
pub(super) fn client_address(app: &App, headers: &HeaderMap, extensions: &Extensions) -> Option<IpAddr> {
    let peer = extensions.get::<Peer>()?.0.ip().to_canonical();
    let trusted = |ip: IpAddr| {
        app.config()
            .http
            .trusted_proxies
            .iter()
            .any(|network| network.contains(ip))
    };
    if !trusted(peer) {
        return Some(peer);
    }
    let values: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        .map(|value| value.to_str().unwrap_or_default())
        .collect();
    Some(forwarded(&values, trusted).unwrap_or(peer))
}

/// The client that trusted proxies tell of. From the right: each proxy appends whom it heard; the first that is not one
/// of ours is the client. What stands left of it, or of something that is no address, anybody may have written.
fn forwarded(values: &[&str], trusted: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let mut nearest = None;
    for part in values.iter().rev().flat_map(|value| value.rsplit(',')) {
        let Some(ip) = address_in(part.trim()) else { break };
        nearest = Some(ip);
        if !trusted(ip) {
            break;
        }
    }
    nearest
}

/// An address, which some proxies write with its port.
fn address_in(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    let ip = bare
        .parse()
        .ok()
        .or_else(|| text.parse().ok().map(|socket: SocketAddr| socket.ip()))?;
    Some(ip.to_canonical())
}

impl<S: Sync> FromRequestParts<S> for Known {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // The guard put it there; without the guard nothing is served.
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| Problem::new(Slug::Internal))
    }
}

impl<S: Sync> FromRequestParts<S> for SignedInUser {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let known = Known::from_request_parts(parts, state).await?;
        match (known.caller.user(), known.account) {
            (Some(id), Some(account)) => Ok(Self {
                id,
                caller: known.caller,
                account,
            }),
            _ => Err(Problem::new(Slug::Unauthenticated)),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Person {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let SignedInUser { caller, id, account } = SignedInUser::from_request_parts(parts, state).await?;
        match caller.who {
            Who::User { session, .. } => Ok(Self {
                caller,
                id,
                session,
                account,
            }),
            _ => Err(Problem::new(Slug::Forbidden)),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_the_right_most_that_is_no_proxy_of_ours() {
        let proxies: crate::config::Network = "10.0.0.0/8".parse().unwrap();
        let told = |values: &[&str]| forwarded(values, |ip| proxies.contains(ip)).map(|ip| ip.to_string());
        let is = |ip: &str| Some(ip.to_owned());
        assert_eq!(told(&["203.0.113.9"]), is("203.0.113.9"));
        // What the client wrote itself stands on the left.
        assert_eq!(told(&["198.51.100.1, 203.0.113.9, 10.0.0.2"]), is("203.0.113.9"));
        assert_eq!(told(&["198.51.100.1", "203.0.113.9,10.0.0.2"]), is("203.0.113.9"));
        assert_eq!(told(&["nonsense, 203.0.113.9"]), is("203.0.113.9"));
        assert_eq!(told(&["203.0.113.9, nonsense, 10.0.0.2"]), is("10.0.0.2"));
        assert_eq!(told(&["203.0.113.9, nonsense"]), None);
        assert_eq!(told(&["10.0.0.1, 10.0.0.2"]), is("10.0.0.1"));
        assert_eq!(told(&["203.0.113.9:4711"]), is("203.0.113.9"));
        assert_eq!(told(&["[2001:db8::1]:4711"]), is("2001:db8::1"));
        assert_eq!(told(&["[2001:db8::1]"]), is("2001:db8::1"));
        assert_eq!(told(&["::ffff:203.0.113.9"]), is("203.0.113.9"));
        assert_eq!(told(&[]), None);
    }
}
