//! Who gets JSON and who gets a page (contract, section 1.1).

use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};

/// User agents of programs and apps, in lower case.
const PROGRAMS: [&str; 7] = ["postman", "python", "android", "iphone", "ipad", "mobile", "dart"];
/// What the asset registry's own clients say.
const PEERS: [&str; 2] = ["x-asset-registry", "x-from-asset-registry"];

/// Whether the answer is JSON.
pub(super) fn wants_json(headers: &HeaderMap) -> bool {
    let agent = text(headers, USER_AGENT.as_str()).map(str::to_ascii_lowercase);
    let accept = text(headers, ACCEPT.as_str()).map(str::to_ascii_lowercase);
    let accepts = |kind: &str| accept.as_ref().is_some_and(|accept| accept.contains(kind));
    let browser = agent.as_ref().is_some_and(|agent| agent.contains("mozilla/"));
    let program = agent
        .as_ref()
        .is_some_and(|agent| PROGRAMS.iter().any(|word| agent.contains(word)));
    // A browser on a phone has `Mobile` in its name.
    let page = browser && accepts("text/html");
    let json_body = text(headers, CONTENT_TYPE.as_str()).is_some_and(|kind| essence(kind) == "application/json");
    let anything = accept.as_deref().is_none_or(|accept| accept.trim() == "*/*");
    (program && !page)
        || json_body
        || accepts("application/json")
        || (anything && !browser)
        || PEERS.iter().any(|name| says_true(headers, name))
}

/// Whether a header says `True`.
pub(super) fn says_true(headers: &HeaderMap, name: &str) -> bool {
    text(headers, name).is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
}

/// The media type without its parameters, in lower case.
pub(super) fn essence(kind: &str) -> String {
    kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn json(pairs: &[(&str, &str)]) -> bool {
        let headers = pairs.iter().map(|(name, value)| {
            let name: HeaderName = name.parse().unwrap();
            (name, HeaderValue::from_str(value).unwrap())
        });
        wants_json(&headers.collect())
    }

    const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0";
    const PHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148";
    const HTML: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

    #[test]
    fn programs_get_json() {
        for agent in [
            "python-requests/2.31.0",
            "PostmanRuntime/7.36",
            "Postman",
            "Dart/3.4 (dart:io)",
            "MyApp/1.0 (Android 14)",
        ] {
            assert!(json(&[("user-agent", agent), ("accept", "*/*")]), "{agent}");
            assert!(json(&[("user-agent", agent)]), "{agent}");
        }
        assert!(json(&[("user-agent", "curl/8.0"), ("accept", "*/*")]));
        assert!(json(&[]));
        assert!(json(&[("accept", "*/*")]));
    }

    #[test]
    fn browsers_get_pages() {
        for agent in [FIREFOX, PHONE] {
            assert!(!json(&[("user-agent", agent), ("accept", HTML)]), "{agent}");
        }
        assert!(!json(&[("user-agent", FIREFOX), ("accept", "*/*")]));
        assert!(!json(&[("user-agent", FIREFOX)]));
        assert!(!json(&[("accept", "text/html")]));
    }

    #[test]
    fn whoever_asks_for_json_gets_it() {
        assert!(json(&[
            ("user-agent", FIREFOX),
            ("accept", "application/json, text/plain")
        ]));
        assert!(json(&[
            ("user-agent", FIREFOX),
            ("content-type", "application/json; charset=utf-8")
        ]));
        assert!(json(&[("user-agent", FIREFOX), ("x-asset-registry", "True")]));
        assert!(json(&[("accept", "text/html"), ("x-from-asset-registry", "true")]));
        assert!(!json(&[("accept", "text/html"), ("x-from-asset-registry", "False")]));
        // An app on a phone that is no browser says so without asking for pages.
        assert!(json(&[("user-agent", PHONE), ("accept", "application/json")]));
    }
}
