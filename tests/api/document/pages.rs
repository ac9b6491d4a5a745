//! The pages: the document to read, and one for each kind of problem.

use user_registry::http::problem::Slug;

use super::operations;
use crate::harness::{App, Engine, Reply, on_both_engines};

on_both_engines![
    the_document_can_be_read_without_any_outside_address,
    every_kind_of_problem_has_its_page,
];

/// A page that a browser shows with nothing but itself.
fn stands_alone(reply: &Reply) {
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), "text/html; charset=utf-8");
    let policy = reply.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    for outside in [
        "http://", "https://", "src=", "url(", "@import", "<script", "<link", "<iframe",
    ] {
        let example = "https://registry.example";
        assert!(
            !reply.body.replace(example, "").contains(outside),
            "{outside} in {}",
            reply.body
        );
    }
    for event in ["onclick", "onload", "style=\"", "javascript:"] {
        assert!(!reply.body.contains(event), "{event}");
    }
}

async fn the_document_can_be_read_without_any_outside_address(engine: Engine) {
    let app = App::start(engine).await;
    let page = app.get("/docs").send().await;
    stands_alone(&page);
    for (method, path, operation) in operations() {
        let id = operation["operationId"].as_str().unwrap();
        let summary = operation["summary"].as_str().unwrap();
        assert!(page.body.contains(&format!("id=\"{id}\"")), "{method} {path}");
        assert!(
            page.body.contains(&format!("<code>{path}</code> {summary}")),
            "{method} {path}"
        );
    }
    // The one style in it is the one the policy names.
    let style = page
        .body
        .split("<style>")
        .nth(1)
        .unwrap()
        .split("</style>")
        .next()
        .unwrap();
    let hash = {
        use base64::Engine as _;
        let digest = ring::digest::digest(&ring::digest::SHA256, style.as_bytes());
        base64::engine::general_purpose::STANDARD.encode(digest)
    };
    let policy = page.header("content-security-policy");
    assert!(policy.contains(&format!("style-src 'sha256-{hash}'")), "{policy}");
    // Every link within the page has its end.
    for link in page.body.split("href=\"#").skip(1) {
        let end = link.split('"').next().unwrap();
        assert!(page.body.contains(&format!("id=\"{end}\"")), "{end}");
    }
    let tokens = app.get("/docs/tokens").send().await;
    stands_alone(&tokens);
    for fact in ["EdDSA", "at+jwt", "user-registry", "kid", "/.well-known/jwks.json"] {
        assert!(tokens.body.contains(fact), "{fact}");
    }
}

async fn every_kind_of_problem_has_its_page(engine: Engine) {
    let app = App::start(engine).await;
    let index = app.get("/problems").header("accept", "text/html").send().await;
    stands_alone(&index);
    let list = app.get("/problems").send().await;
    assert_eq!(list.header("content-type"), "text/plain; charset=utf-8");
    for slug in Slug::ALL {
        let path = format!("/problems/{slug}");
        assert!(index.body.contains(&format!("href=\"{path}\"")), "{slug}");
        let status = slug.status().as_u16();
        assert!(
            list.body.contains(&format!("{status} {path} {}", slug.title())),
            "{slug}"
        );

        let page = app.get(&path).header("accept", "text/html,*/*;q=0.8").send().await;
        stands_alone(&page);
        assert!(
            page.body.contains(slug.title()) && page.body.contains(&status.to_string()),
            "{slug}"
        );
        let text = app.get(&path).header("accept", "*/*").send().await;
        assert_eq!(text.header("content-type"), "text/plain; charset=utf-8");
        assert!(
            text.body.starts_with(slug.title()) && text.body.contains(slug.meaning()),
            "{slug}"
        );
    }
    assert_eq!(list.body.lines().count(), Slug::ALL.len());
    app.get("/problems/no-such-kind").send().await.refused(404, "not-found");
    // Every kind an operation lists has its page.
    for (_, path, operation) in operations() {
        for response in operation["responses"].as_object().unwrap().values() {
            let kinds = &response["content"]["application/problem+json"]["schema"]["allOf"][1]["properties"]["type"];
            for kind in kinds["enum"].as_array().into_iter().flatten() {
                let slug = kind.as_str().unwrap().trim_start_matches("/problems/");
                assert!(Slug::ALL.iter().any(|known| known.as_str() == slug), "{path}: {slug}");
            }
        }
    }
}
