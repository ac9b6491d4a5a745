//! The cookies of the dialect (contract, section 1.4): two for tokens, one for what the next page says, one that forms
//! repeat.

use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;

/// Holds the access token.
pub(super) const ACCESS: &str = "access_token_cookie";
/// Holds the refresh token.
pub(super) const REFRESH: &str = "refresh_token_cookie";
/// Names what the next page says.
pub(super) const FLASH: &str = "flash";
/// What every form of ours repeats.
pub(super) const FORM: &str = "form_token";

/// The value of a cookie. Of several of one name the first counts, as browsers put the most particular first.
pub(super) fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.trim_matches('"'))
        .filter(|value| !value.is_empty())
}

/// Sets a cookie until the browser ends. Its value is made of our own characters.
pub(super) fn set(response: &mut Response, secure: bool, name: &str, value: &str) {
    put(
        response,
        &format!("{name}={value}; HttpOnly; SameSite=Lax; Path=/{}", mark(secure)),
    );
}

/// Takes a cookie away.
pub(super) fn expire(response: &mut Response, secure: bool, name: &str) {
    put(
        response,
        &format!(
            "{name}=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; HttpOnly; SameSite=Lax; Path=/{}",
            mark(secure)
        ),
    );
}

const fn mark(secure: bool) -> &'static str {
    if secure { "; Secure" } else { "" }
}

fn put(response: &mut Response, cookie: &str) {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(SET_COOKIE, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(
            COOKIE,
            HeaderValue::from_static("a=1; access_token_cookie=x.y.z; b=\"2\""),
        );
        headers.append(COOKIE, HeaderValue::from_static("c=3;access_token_cookie=late;d="));
        assert_eq!(value(&headers, ACCESS), Some("x.y.z"));
        assert_eq!((value(&headers, "b"), value(&headers, "c")), (Some("2"), Some("3")));
        assert_eq!((value(&headers, "d"), value(&headers, REFRESH)), (None, None));
    }
}
