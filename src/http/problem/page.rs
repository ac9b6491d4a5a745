//! `GET /problems/{slug}`: the page a problem's `type` leads to.

use axum::http::header::{ACCEPT, CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};

use super::{Problem, Slug};

/// Explains one kind of problem: as a page for a browser, as plain text for others.
#[must_use]
pub fn page(name: &str, headers: &HeaderMap) -> Response {
    let Some(slug) = Slug::ALL.iter().copied().find(|slug| slug.as_str() == name) else {
        return Problem::new(Slug::NotFound).into_response();
    };
    in_either_form(headers, || html(slug), || plain(slug))
}

/// Lists every kind of problem, in the same two forms.
#[must_use]
pub fn index(headers: &HeaderMap) -> Response {
    in_either_form(headers, index_html, index_plain)
}

fn in_either_form(headers: &HeaderMap, html: impl Fn() -> String, plain: impl Fn() -> String) -> Response {
    let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    let (media_type, text) = if accepted.contains("text/html") {
        ("text/html; charset=utf-8", html())
    } else {
        ("text/plain; charset=utf-8", plain())
    };
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'")),
        (VARY, HeaderValue::from_static("accept")),
    ];
    (headers, text).into_response()
}

fn index_plain() -> String {
    let line = |slug: &Slug| format!("{} /problems/{slug} {}", slug.status().as_u16(), slug.title());
    let lines: Vec<String> = Slug::ALL.iter().map(line).collect();
    lines.join("\n") + "\n"
}

fn index_html() -> String {
    let line = |slug: &Slug| {
        let (status, title) = (slug.status().as_u16(), escaped(slug.title()));
        format!("<li>{status} <a href=\"/problems/{slug}\">{title}</a></li>\n")
    };
    let lines = Slug::ALL.iter().map(line).collect::<Vec<_>>().concat();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>Problems</title>\n\
         <main>\n<h1>Problems</h1>\n<ul>\n{lines}</ul>\n</main>\n</html>\n"
    )
}

fn plain(slug: Slug) -> String {
    let status = slug.status();
    format!(
        "{}\n\n{}\n\ntype /problems/{slug}, status {status}\n",
        slug.title(),
        slug.meaning()
    )
}

fn html(slug: Slug) -> String {
    let (title, meaning) = (escaped(slug.title()), escaped(slug.meaning()));
    let status = slug.status();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <main>\n<h1>{title}</h1>\n<p>{meaning}</p>\n\
         <p>Type <code>/problems/{slug}</code>, status {status}. <a href=\"/problems\">All kinds</a></p>\n</main>\n</html>\n"
    )
}

pub(in crate::http) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    async fn get(name: &str, accept: &'static str) -> (u16, String) {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
        let response = page(name, &headers);
        let status = response.status().as_u16();
        let bytes = axum::body::to_bytes(response.into_body(), 65_536).await.unwrap();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn every_kind_has_a_page_without_outside_addresses() {
        for slug in Slug::ALL {
            let (status, text) = get(slug.as_str(), "text/html,*/*").await;
            assert_eq!(status, 200);
            assert!(text.contains(&format!("<code>/problems/{slug}</code>")));
            assert!(!text.contains("://"));
        }
    }

    #[tokio::test]
    async fn a_program_reads_plain_text_and_an_unknown_kind_is_not_found() {
        let (_, text) = get("stale", "*/*").await;
        assert!(text.starts_with("Stale version\n"), "{text}");
        assert_eq!(get("<script>", "text/html").await.0, 404);
    }
}
