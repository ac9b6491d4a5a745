//! Who calls: the header `Authorization: Token <key>`.

use aggregates::values::Dialect;
use axum::http::header::AUTHORIZATION;
use axum::http::{Extensions, HeaderMap, HeaderValue};
use projections::Status;

use super::error::Refused;
use crate::guards::Class;
use crate::http::App;
use crate::http::members;
pub(super) use crate::http::members::Member;
use crate::registry::Caller;

/// Anybody, counted under the rate of what they ask for. A credential is not looked at: a saved one that is stale must
/// not block a log-in.
pub(super) fn anybody(
    app: &App,
    headers: &HeaderMap,
    extensions: &Extensions,
    class: Class,
) -> Result<Caller, Refused> {
    Ok(members::anybody(app, Dialect::Cadasta, headers, extensions, class)?)
}

/// Whoever the key says, or why it says nobody.
pub(super) async fn member(app: &App, headers: &HeaderMap, extensions: &Extensions) -> Result<Member, Refused> {
    let caller = anybody(app, headers, extensions, Class::General)?;
    let key = key(headers)?;
    let bearer = app.registry().bearer(Dialect::Cadasta, &key).await?;
    let Some(bearer) = bearer else {
        return Err(Refused::unauthenticated("Invalid token."));
    };
    if !bearer.live {
        return Err(Refused::unauthenticated(
            if bearer.account.status == Status::Deactivated {
                "User inactive or deleted."
            } else {
                "Invalid token."
            },
        ));
    }
    Ok(Member::of(app, extensions, caller, bearer)?)
}

/// The key of the header. Several such headers are one, parted by commas, as servers of old join them.
fn key(headers: &HeaderMap) -> Result<String, Refused> {
    let values: Vec<&[u8]> = headers
        .get_all(AUTHORIZATION)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    let joined = values.join(&b", "[..]);
    let mut words = joined.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let refused = |text: &str| Err(Refused::unauthenticated(text));
    match (words.next(), words.next(), words.next()) {
        (Some(scheme), key, more) if scheme.eq_ignore_ascii_case(b"token") => match (key, more) {
            (None, _) => refused("Invalid token header. No credentials provided."),
            (Some(_), Some(_)) => refused("Invalid token header. Token string should not contain spaces."),
            (Some(key), None) => match std::str::from_utf8(key) {
                Ok(key) if key.is_ascii() => Ok(key.to_owned()),
                _ => refused("Invalid token header. Token string should not contain invalid characters."),
            },
        },
        _ => refused("Authentication credentials were not provided."),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_is_read_in_any_case_and_every_mistake_has_its_text() {
        let read = |bytes: &[u8]| {
            let value = HeaderValue::from_bytes(bytes).unwrap();
            key(&HeaderMap::from_iter([(AUTHORIZATION, value)])).ok()
        };
        assert_eq!(read(b"Token abc").as_deref(), Some("abc"));
        assert_eq!(read(b"token  abc ").as_deref(), Some("abc"));
        for wrong in [
            &b"Token"[..],
            b"Token a b",
            b"Bearer abc",
            b"abc",
            b"",
            "Token \u{e9}".as_bytes(),
        ] {
            assert_eq!(read(wrong), None);
        }
    }
}
