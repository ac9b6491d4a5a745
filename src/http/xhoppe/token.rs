//! Who calls: the header `X-Xhoppe-Token`, and the handle of somebody who has just registered.

use aggregates::values::Dialect;
use axum::http::header::COOKIE;
use axum::http::{Extensions, HeaderMap, HeaderName};
use uuid::Uuid;

use super::error::Refused;
use crate::guards::Class;
use crate::http::App;
use crate::http::members;
pub(super) use crate::http::members::Member;
use crate::registry::Caller;

const TOKEN: HeaderName = HeaderName::from_static("x-xhoppe-token");
/// Where the handle stands in an answer and may stand in a request.
pub(super) const HANDLE: HeaderName = HeaderName::from_static("x-xhoppe-verification");
/// The same as a cookie.
pub(super) const HANDLE_COOKIE: &str = "xhoppe_verification";

/// Anybody, counted under the rate of what they ask for.
pub(super) fn anybody(
    app: &App,
    headers: &HeaderMap,
    extensions: &Extensions,
    class: Class,
) -> Result<Caller, Refused> {
    Ok(members::anybody(app, Dialect::Xhoppe, headers, extensions, class)?)
}

/// Whoever the token says.
pub(super) async fn member(app: &App, headers: &HeaderMap, extensions: &Extensions) -> Result<Member, Refused> {
    let caller = anybody(app, headers, extensions, Class::General)?;
    let mut tokens = headers.get_all(TOKEN).iter();
    let (Some(token), None) = (tokens.next(), tokens.next()) else {
        return Err(Refused::unauthorized());
    };
    let token = token.to_str().map_err(|_| Refused::unauthorized())?;
    let bearer = app.registry().bearer(Dialect::Xhoppe, token.trim()).await?;
    let bearer = bearer.filter(|bearer| bearer.live).ok_or_else(Refused::unauthorized)?;
    Ok(Member::of(app, extensions, caller, bearer)?)
}

/// The account a handle of the request stands for. One that stands for nobody counts as none.
pub(super) fn handled(app: &App, headers: &HeaderMap) -> Option<Uuid> {
    let header = headers.get(HANDLE).and_then(|value| value.to_str().ok());
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let cookie = cookies.flat_map(|cookies| cookies.split(';')).find_map(|cookie| {
        let (name, value) = cookie.trim().split_once('=')?;
        (name == HANDLE_COOKIE).then_some(value)
    });
    header
        .into_iter()
        .chain(cookie)
        .find_map(|handle| app.registry().handled(handle.trim()))
}
