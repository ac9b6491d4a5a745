//! Signing in and refreshing.

use serde_json::{Value, json};
use user_registry::tokens::{OpaqueKind, OpaqueToken};

use super::case::{By, Case, Scene, case};
use crate::harness::PASSWORD;

pub fn cases(scene: &Scene) -> Vec<Case> {
    let mut cases = sign_ins();
    cases.extend(refreshes(scene));
    let ended = "0197a1b2-0000-7000-8000-000000000001";
    let end = |what: &str, id: &str| {
        case(
            format!("ending a session: {what}"),
            "DELETE",
            format!("/v1/sessions/{id}"),
        )
    };
    cases.extend([
        end("that is none", "nonsense").by(By::User).is(404, "not-found", &[]),
        end("that nobody has", ended).by(By::User).is(404, "not-found", &[]),
        end("of somebody else", &scene.other.session)
            .by(By::User)
            .is(404, "not-found", &[]),
        end("of somebody else, as administrator", &scene.other.session)
            .by(By::Admin)
            .is(404, "not-found", &[]),
        end("with bytes that are no UTF-8", "%ff")
            .by(By::User)
            .is(404, "not-found", &[]),
        end("by nobody", &scene.user.session).is(401, "unauthenticated", &[]),
    ]);
    cases
}

fn sign_ins() -> Vec<Case> {
    let sign_in = |what: &str, body: Value| case(format!("signing in: {what}"), "POST", "/v1/sessions").json(&body);
    let mut cases = vec![
        sign_in("nothing", json!({})).is(400, "invalid", &["/identifier", "/password"]),
        sign_in("nulls", json!({ "identifier": null, "password": null })).is(
            400,
            "invalid",
            &["/identifier", "/password"],
        ),
        sign_in("numbers", json!({ "identifier": 1, "password": 2 })).is(400, "invalid", &["/identifier", "/password"]),
        sign_in("empty texts", json!({ "identifier": "", "password": "" })).is(
            400,
            "invalid",
            &["/identifier", "/password"],
        ),
        sign_in("no password", json!({ "identifier": "ada" })).is(400, "invalid", &["/password"]),
        sign_in(
            "operators for values",
            json!({ "identifier": { "$gt": "" }, "password": { "$gt": "" } }),
        )
        .is(400, "invalid", &["/identifier", "/password"]),
        sign_in(
            "an identifier of 321 characters",
            json!({ "identifier": "a".repeat(321), "password": PASSWORD }),
        )
        .is(400, "invalid", &["/identifier"]),
        sign_in(
            "a password of 129 characters",
            json!({ "identifier": "nobody", "password": "x".repeat(129) }),
        )
        .is(400, "invalid", &["/password"]),
        sign_in(
            "more than that",
            json!({ "identifier": "ada", "password": PASSWORD, "remember": true, "otp": "1" }),
        )
        .is(400, "unknown-field", &["/otp", "/remember"]),
        sign_in("by another name", json!({ "username": "ada", "password": PASSWORD })).is(
            400,
            "invalid",
            &["/identifier", "/username"],
        ),
    ];
    for identifier in [
        "nobody",
        "nobody@farm.example",
        "+6591234567",
        "' OR 1=1 --",
        "ada\0",
        "a\u{202e}da",
        "%",
        "_",
        "*",
        "ada ada",
        "@",
        "+",
        "\u{430}\u{434}\u{430}\u{430}",
    ] {
        let body = json!({ "identifier": identifier, "password": "wrong and long" });
        cases.push(sign_in(&format!("as {identifier:?}"), body).is(401, "invalid-credentials", &[]));
    }
    cases
}

fn refreshes(scene: &Scene) -> Vec<Case> {
    let refresh = |what: &str, token: Value| {
        case(format!("refreshing: {what}"), "POST", "/v1/sessions/refresh").json(&json!({ "refresh_token": token }))
    };
    let never_given = OpaqueToken::new(OpaqueKind::Refresh, [7; 32]).expose().to_string();
    let other_kind = OpaqueToken::new(OpaqueKind::ApiKey, [7; 32]).expose().to_string();
    let (before, after) = scene.user.refresh.split_at(10);
    let mistyped = format!(
        "{before}{}{}",
        if after.starts_with('A') { 'B' } else { 'A' },
        &after[1..]
    );
    let mut cases = vec![
        case("refreshing: nothing", "POST", "/v1/sessions/refresh")
            .text("{}")
            .is(400, "invalid", &["/refresh_token"]),
        refresh("null", json!(null)).is(400, "invalid", &["/refresh_token"]),
        refresh("empty", json!("")).is(400, "invalid", &["/refresh_token"]),
        refresh("a list", json!([scene.user.refresh])).is(400, "invalid", &["/refresh_token"]),
        case("refreshing: and more", "POST", "/v1/sessions/refresh")
            .json(&json!({ "refresh_token": scene.user.refresh, "scope": "admin" }))
            .is(400, "unknown-field", &["/scope"]),
    ];
    for (what, token) in [
        ("a word", "nonsense"),
        ("one that was never given out", never_given.as_str()),
        ("a token of another kind", other_kind.as_str()),
        ("an access token", scene.user.access.as_str()),
        ("one with a slip", mistyped.as_str()),
        ("not ASCII", "urr_ääää"),
    ] {
        cases.push(refresh(what, json!(token)).is(401, "invalid-credentials", &[]));
    }
    cases
}
