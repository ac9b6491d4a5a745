//! Bodies that are no body, for every route that takes one.

use serde_json::{Value, json};

use super::case::{By, Case, Scene, case};
use crate::harness::PASSWORD;

const KIB: usize = 1 << 10;

/// Every route with a body: who may use it, the most bytes it takes, and a body that is good in its form.
fn routes() -> [(&'static str, By, usize, Value); 10] {
    let name = json!({ "full_name": "Ada" });
    [
        (
            "/v1/commands/register-user",
            By::Nobody,
            1024,
            json!({ "username": "fresh", "password": PASSWORD }),
        ),
        (
            "/v1/commands/request-email-verification",
            By::Nobody,
            16,
            json!({ "email": "ada@farm.example" }),
        ),
        ("/v1/commands/verify-email", By::Nobody, 16, json!({ "token": "x" })),
        (
            "/v1/commands/change-password",
            By::User,
            16,
            json!({ "current_password": PASSWORD, "new_password": "nine grey geese by a pond" }),
        ),
        ("/v1/commands/update-profile", By::User, 1024, name),
        (
            "/v1/commands/allow-domain",
            By::Admin,
            16,
            json!({ "domain": "farm.example" }),
        ),
        (
            "/v1/commands/block-domain",
            By::Admin,
            16,
            json!({ "domain": "farm.example" }),
        ),
        (
            "/v1/commands/unblock-domain",
            By::Admin,
            16,
            json!({ "domain": "farm.example" }),
        ),
        (
            "/v1/sessions",
            By::Nobody,
            16,
            json!({ "identifier": "ada", "password": PASSWORD }),
        ),
        (
            "/v1/sessions/refresh",
            By::Nobody,
            16,
            json!({ "refresh_token": "urr_x" }),
        ),
    ]
}

pub fn cases(_: &Scene) -> Vec<Case> {
    routes()
        .iter()
        .flat_map(|(path, by, most, good)| of_route(path, *by, *most, good))
        .collect()
}

pub(super) fn of_route(path: &str, by: By, most: usize, good: &Value) -> Vec<Case> {
    let post = |what: &str| case(format!("{path}: {what}"), "POST", path).by(by);
    let member = good.as_object().unwrap().keys().next().unwrap().clone();
    let (text, most) = (good.to_string(), most * KIB);
    let inside = text.strip_prefix('{').unwrap();
    let utf8 = |bytes: &[u8]| [br#"{"a":""#, bytes, br#""}"#].concat();
    let plain = |what: &str| post(what).bytes(text.clone());
    let mut cases = vec![
        post("nothing at all").is(415, "unsupported-media-type", &[]),
        post("an empty body").text("").is(400, "malformed", &[]),
        post("blanks").text(" \n ").is(400, "malformed", &[]),
        post("no JSON").text("username=ada").is(400, "malformed", &[]),
        post("half a document").text(r#"{"a":"#).is(400, "malformed", &[]),
        post("two documents").text("{} {}").is(400, "malformed", &[]),
        post("a comma too many").text(r#"{"a":1,}"#).is(400, "malformed", &[]),
        post("a byte order mark")
            .text(format!("\u{feff}{text}"))
            .is(400, "malformed", &[]),
        post("a number beyond numbers")
            .text(r#"{"a":1e999}"#)
            .is(400, "malformed", &[]),
        post("not a number").text(r#"{"a":NaN}"#).is(400, "malformed", &[]),
        post("bytes that are no UTF-8")
            .text(utf8(b"\xff"))
            .is(400, "malformed", &[]),
        post("an overlong UTF-8 slash")
            .text(utf8(b"\xc0\xaf"))
            .is(400, "malformed", &[]),
        post("half a surrogate pair")
            .text(utf8(br"\ud800"))
            .is(400, "malformed", &[]),
        post("a raw control character")
            .text(utf8(b"\x00"))
            .is(400, "malformed", &[]),
        post("a member twice").text(format!("{{\"{member}\":1,{inside}")).is(
            400,
            "malformed",
            &[&format!("/{member}")],
        ),
        post("a member twice, once escaped")
            .text(format!(
                "{{\"\\u{:04x}{}\":1,{inside}",
                u32::from(member.as_bytes()[0]),
                &member[1..]
            ))
            .is(400, "malformed", &[&format!("/{member}")]),
        post("an inner member twice")
            .text(r#"{"x":[{"y":1,"y":2}]}"#)
            .is(400, "malformed", &["/x/0/y"]),
        post("depth 1,000 of lists")
            .text("[".repeat(1_000) + &"]".repeat(1_000))
            .is_any(400, "malformed"),
        post("depth 1,000 of objects")
            .text(r#"{"a":"#.repeat(1_000) + "1" + &"}".repeat(1_000))
            .is_any(400, "malformed"),
        post("depth 1,000 that never closes")
            .text(r#"{"boundary":"#.repeat(1_000))
            .is_any(400, "malformed"),
        post("a list").text("[]").is(400, "invalid", &[""]),
        post("null").text("null").is(400, "invalid", &[""]),
        post("a text").text(r#""ada""#).is(400, "invalid", &[""]),
        post("a number").text("1").is(400, "invalid", &[""]),
        post("one byte too large")
            .text(vec![b' '; most + 1])
            .is(413, "too-large", &[]),
        post("ten megabytes")
            .text(vec![b'['; 10 << 20])
            .is(413, "too-large", &[]),
        plain("no content type").is(415, "unsupported-media-type", &[]),
        plain("two content types")
            .with("content-type", "application/json")
            .with("content-type", "application/json")
            .is(415, "unsupported-media-type", &[]),
        plain("a compressed body")
            .with("content-type", "application/json")
            .with("content-encoding", "gzip")
            .is(415, "unsupported-media-type", &[]),
    ];
    for kind in [
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=iso-8859-1",
        "application/jsonp",
        "application/+json",
        "*/*",
        "json",
        "",
    ] {
        let named = plain(&format!("content type {kind:?}")).with("content-type", kind);
        cases.push(named.is(415, "unsupported-media-type", &[]));
    }
    cases
}
