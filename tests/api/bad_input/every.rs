//! What is wrong wherever it is sent: cases for every route, made of the table of routes and the document.
//!
//! What is particular to a route stands in the other tables.

use serde_json::{Value, json};
use user_registry::http::{Permission, ROUTES, Route};

use super::case::{By, Case, Scene, case, with};
use crate::harness::contract::DOCUMENT;

const MISSING: &str = "0197a1b2-0000-7000-8000-000000000001";
/// Seventeen characters too many to be met by chance.
const MARK: &str = "m4rk-of-the-tests";

pub fn cases(scene: &Scene) -> Vec<Case> {
    ROUTES.iter().flat_map(|route| of(route, scene)).collect()
}

fn of(route: &Route, scene: &Scene) -> Vec<Case> {
    let (method, path) = (route.method.as_str(), route.path);
    let address = path
        .replace("{id}", MISSING)
        .replace("{name}", "a.example")
        .replace("{slug}", "stale");
    let one = |what: &str| case(format!("everywhere, {method} {path}: {what}"), method, address.clone());
    let bearer = |token: &str| format!("Bearer {token}");
    let mut cases = vec![
        one("two credentials")
            .with("authorization", bearer(&scene.user.access))
            .with("authorization", bearer(&scene.admin.access))
            .is(400, "malformed", &[]),
        one("an address of more than 4 KiB")
            .and_path(&format!("?x={}", "x".repeat(4_097)))
            .is(413, "too-large", &[]),
    ];
    if path.starts_with("/v1/") {
        cases.push(
            one("no JSON wanted")
                .by(By::Admin)
                .with("accept", "text/html")
                .is(406, "not-acceptable", &[]),
        );
        // Where a parameter is needed, its own table has this beside what is missing.
        let parameters = &DOCUMENT["paths"][path][method.to_ascii_lowercase()]["parameters"];
        let needed = |parameter: &Value| parameter["in"] == "query" && parameter["required"] == true;
        if method == "GET" && !parameters.as_array().into_iter().flatten().any(needed) {
            cases.push(
                one("an unknown parameter")
                    .by(By::Admin)
                    .and_path(&format!("?no_such={MARK}"))
                    .secret(MARK)
                    .is(400, "invalid", &["/no_such"]),
            );
        }
        if path.contains("{id}") {
            for id in ["nonsense", "%00", "%ff", MISSING] {
                let address = path.replace("{id}", id);
                cases.push(
                    case(format!("everywhere, {method} {path}: {id}"), method, address)
                        .by(By::Admin)
                        .is(404, "not-found", &[]),
                );
            }
        }
    }
    if route.permission != Permission::Public {
        cases.push(one("no credential").is(401, "unauthenticated", &[]));
        cases.push(
            one("a credential that is none")
                .with("authorization", bearer(MARK))
                .secret(MARK)
                .is(401, "unauthenticated", &[]),
        );
        for (what, token, slug) in &scene.tokens {
            cases.push(
                one(what)
                    .with("authorization", bearer(token))
                    .secret(token)
                    .is(401, slug, &[]),
            );
        }
        if !matches!(route.permission, Permission::SignedIn | Permission::Person) {
            cases.push(one("somebody who may not").by(By::User).is(403, "forbidden", &[]));
        }
    }
    cases.extend(pages(route));
    let content = &DOCUMENT["paths"][path][method.to_ascii_lowercase()]["requestBody"]["content"];
    let body = &content["application/json"];
    if !body.is_null() {
        cases.extend(bodies(route, scene, body));
    }
    cases
}

/// A body that would do, spoilt in one way at a time.
fn bodies(route: &Route, scene: &Scene, body: &Value) -> Vec<Case> {
    let (path, schema) = (route.path, &body["schema"]);
    let good = body["examples"].as_object().unwrap().values().next().unwrap()["value"].clone();
    let by = if route.permission == Permission::Public {
        By::Nobody
    } else {
        By::Admin
    };
    let one = |what: String| case(format!("every body, {path}: {what}"), "POST", path).by(by);
    let text = good.to_string();
    let doubled = format!("{{\"x\":1,\"x\":2,{}", &text[1..]);
    let mut cases = vec![
        one("none".into()).is(415, "unsupported-media-type", &[]),
        one("without its type".into())
            .bytes(text.clone())
            .is(415, "unsupported-media-type", &[]),
        one("a form".into())
            .with("content-type", "application/x-www-form-urlencoded")
            .bytes("a=b")
            .is(415, "unsupported-media-type", &[]),
        one("cut off".into())
            .text(&text[..text.len() - 1])
            .is(400, "malformed", &[]),
        one("no JSON".into()).text(MARK).secret(MARK).is(400, "malformed", &[]),
        one("no UTF-8".into())
            .text(b"{\"x\":\"\xff\"}".to_vec())
            .is(400, "malformed", &[]),
        one("a member twice".into()).text(doubled).is(400, "malformed", &["/x"]),
        one("a list".into()).text("[]").is(400, "invalid", &[""]),
        one("a text".into()).text("\"x\"").is(400, "invalid", &[""]),
        one("null".into()).text("null").is(400, "invalid", &[""]),
        one("more than a megabyte".into())
            .text(vec![b' '; (1 << 20) + 1])
            .is(413, "too-large", &[]),
        one("a member nobody knows".into())
            .json(&with(&good, "no_such_member", &json!(MARK)))
            .is(400, "unknown-field", &["/no_such_member"]),
    ];
    if route.permission == Permission::Public {
        // A stale token is as good as none there: it must not keep anybody from signing in.
        for (what, token, _) in &scene.tokens {
            cases.push(
                one(format!("{what} counts as none"))
                    .with("authorization", format!("Bearer {token}"))
                    .secret(token)
                    .json(&with(&good, "no_such_member", &json!(MARK)))
                    .is(400, "unknown-field", &["/no_such_member"]),
            );
        }
    }
    for (name, member) in schema["properties"].as_object().unwrap() {
        let list = member["type"] == "array";
        let pointer = format!("/{name}");
        // A member of the other of two ways: that both are there is told too.
        let mut pointers = vec![pointer.as_str()];
        if schema["oneOf"].is_array() && good[name].is_null() {
            pointers.push("");
        }
        let wrong = if list { json!(1) } else { json!([MARK]) };
        cases.push(
            one(format!("{name} of the wrong kind"))
                .json(&with(&good, name, &wrong))
                .is(400, "invalid", &pointers),
        );
        let text = member["type"] == "string" || member["type"] == json!(["string", "null"]);
        if text {
            cases.push(
                one(format!("{name} empty"))
                    .json(&with(&good, name, &json!("")))
                    .is(400, "invalid", &pointers),
            );
        }
        let known = matches!(name.as_str(), "token" | "code" | "refresh_token");
        if text && !known {
            cases.push(
                one(format!("{name} without end"))
                    .json(&with(&good, name, &json!(MARK.repeat(200))))
                    .is(400, "invalid", &pointers),
            );
        }
    }
    cases
}

/// The pages behind links: what is no link, and forms that are none.
fn pages(route: &Route) -> Vec<Case> {
    let path = route.path;
    if !["/verify-email", "/reset-password", "/confirm-email-change"].contains(&path) {
        return Vec::new();
    }
    if route.method == "GET" {
        let open = |what: &str, query: &str| case(format!("page {path}: {what}"), "GET", format!("{path}{query}"));
        return vec![
            open("no token", "").on_a_page(410),
            open("a token that is none", "?token=m4rk-of-the-tests")
                .secret(MARK)
                .on_a_page(410),
            open("markup", "?token=%3Cscript%3Ealert(1)%3C/script%3E")
                .secret("<script>")
                .on_a_page(410),
            open("two tokens", "?token=a&token=b").on_a_page(410),
            open("bytes that are no text", "?token=%ff").on_a_page(410),
        ];
    }
    let form = "application/x-www-form-urlencoded";
    let send = |what: &str| case(format!("form of {path}: {what}"), "POST", path);
    vec![
        send("no form").on_a_page(415),
        send("JSON").text("{}").on_a_page(415),
        send("an empty form")
            .with("content-type", form)
            .bytes("")
            .on_a_page(410),
        send("a token that is none")
            .with("content-type", form)
            .bytes(format!("token={MARK}&new_password={MARK}"))
            .secret(MARK)
            .on_a_page(410),
        send("two tokens")
            .with("content-type", form)
            .bytes("token=a&token=b")
            .on_a_page(410),
        send("more than 16 KiB")
            .with("content-type", form)
            .bytes(vec![b'a'; (16 << 10) + 1])
            .on_a_page(413),
    ]
}
