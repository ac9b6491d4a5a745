//! Credentials that are none.

use serde_json::{Value, json};
use user_registry::tokens::{OpaqueKind, OpaqueToken};

use super::case::{By, Case, Scene, case};
use crate::harness::{Forge, Tokens, encoded, unsigned};

const BAD: &str = "Bearer realm=\"user-registry\", error=\"invalid_token\"";

pub fn cases(scene: &Scene) -> Vec<Case> {
    let me = |what: &str| case(format!("credential: {what}"), "GET", "/v1/me");
    let mut cases = vec![
        me("none")
            .is(401, "unauthenticated", &[])
            .and("www-authenticate", "Bearer realm=\"user-registry\""),
        me("two of them")
            .by(By::User)
            .with("authorization", format!("Bearer {}", scene.admin.access))
            .is(400, "malformed", &[]),
        me("the same twice")
            .by(By::User)
            .with("authorization", format!("Bearer {}", scene.user.access))
            .is(400, "malformed", &[]),
        me("two in one header")
            .with(
                "authorization",
                format!("Bearer {}, Bearer {}", scene.user.access, scene.admin.access),
            )
            .is(400, "malformed", &[]),
        me("in the address")
            .and_path(&format!("?access_token={}", scene.user.access))
            .is(401, "unauthenticated", &[]),
        me("in a cookie")
            .with("cookie", format!("token={}", scene.user.access))
            .is(401, "unauthenticated", &[]),
        case("credential: two of them on a public route", "POST", "/v1/sessions")
            .by(By::User)
            .with("authorization", format!("Bearer {}", scene.admin.access))
            .json(&json!({ "identifier": "nobody", "password": "wrong and long" }))
            .is(400, "malformed", &[]),
    ];
    for (what, value) in [
        ("no scheme", scene.user.access.clone()),
        ("no token", "Bearer".into()),
        ("a blank token", "Bearer  ".into()),
        ("another scheme", format!("Token {}", scene.user.access)),
        ("name and password", "Basic YWRhOnBhc3N3b3Jk".into()),
        ("a refresh token", format!("Bearer {}", scene.user.refresh)),
        ("an API key that was never given out", {
            format!("Bearer {}", *OpaqueToken::new(OpaqueKind::ApiKey, [7; 32]).expose())
        }),
        ("a word", "Bearer nonsense".into()),
        ("not ASCII", "Bearer ä".into()),
        ("four kilobytes", format!("Bearer {}", "A".repeat(4_097))),
    ] {
        cases.push(
            me(what)
                .with("authorization", value)
                .is(401, "unauthenticated", &[])
                .and("www-authenticate", BAD),
        );
    }
    for (what, token) in forged(scene) {
        let case = me(what).with("authorization", format!("Bearer {token}"));
        cases.push(case.is(401, "unauthenticated", &[]).and("www-authenticate", BAD));
    }
    cases.extend(of_other_times(scene));
    cases
}

/// The three that are sent to every route: they would be good, but for their time, their signature or its lack.
pub fn everywhere(forge: &Forge, admin: &Tokens) -> Vec<(&'static str, String, &'static str)> {
    let (now, claims) = (forge.now(), forge.claims(admin));
    let expired = forge.claims_with(admin, &json!({ "iat": now - 600, "exp": now - 1 }));
    let good = forge.signed(&claims);
    let parts: Vec<&str> = good.split('.').collect();
    let tampered = forge.claims_with(admin, &json!({ "exp": now + 596 }));
    let none = json!({ "alg": "none", "typ": "at+jwt", "kid": forge.kid() });
    vec![
        ("an expired token", forge.signed(&expired), "token-expired"),
        (
            "a tampered token",
            format!("{}.{}.{}", parts[0], encoded(tampered.to_string().as_bytes()), parts[2]),
            "unauthenticated",
        ),
        (
            "a token of alg none",
            format!("{}.", unsigned(&none, &claims)),
            "unauthenticated",
        ),
    ]
}

fn forged(scene: &Scene) -> Vec<(&'static str, String)> {
    let forge = &scene.forge;
    let claims = forge.claims(&scene.admin);
    let with = |changes: Value| forge.signed(&forge.claims_with(&scene.user, &changes));
    let under = |header: Value| forge.signed_under(&header, &claims);
    let parts: Vec<&str> = scene.user.access.split('.').collect();
    let signature = {
        // The first character: the last one holds bits that no byte is made of.
        let first = if parts[2].starts_with('A') { "B" } else { "A" };
        format!("{first}{}", &parts[2][1..])
    };
    let (kid, now) = (forge.kid(), forge.now());
    let none = json!({ "alg": "none", "typ": "at+jwt", "kid": kid });
    vec![
        ("alg none", format!("{}.", unsigned(&none, &claims))),
        (
            "alg none with a signature",
            format!("{}.{}", unsigned(&none, &claims), parts[2]),
        ),
        (
            "alg nOnE",
            format!(
                "{}.",
                unsigned(&json!({ "alg": "nOnE", "typ": "at+jwt", "kid": kid }), &claims)
            ),
        ),
        ("HS256 with the public key", forge.signed_with_the_public_key(&claims)),
        (
            "EdDSA named HS256",
            under(json!({ "alg": "HS256", "typ": "at+jwt", "kid": kid })),
        ),
        (
            "other claims under the same signature",
            format!("{}.{}.{}", parts[0], encoded(claims.to_string().as_bytes()), parts[2]),
        ),
        (
            "another header over the same claims",
            format!("{}.{}.{}", encoded(none.to_string().as_bytes()), parts[1], parts[2]),
        ),
        (
            "a signature with one character changed",
            format!("{}.{}.{signature}", parts[0], parts[1]),
        ),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("four parts", format!("{}.{}", scene.user.access, parts[2])),
        ("no type", under(json!({ "alg": "EdDSA", "kid": kid }))),
        (
            "another type",
            under(json!({ "alg": "EdDSA", "typ": "JWT", "kid": kid })),
        ),
        ("no key id", under(json!({ "alg": "EdDSA", "typ": "at+jwt" }))),
        (
            "another key id",
            under(json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": "other" })),
        ),
        (
            "a key of its own",
            under(json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": kid, "jwk": {} })),
        ),
        (
            "a key elsewhere",
            under(json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": kid, "jku": "http://127.0.0.1/" })),
        ),
        (
            "critical extensions",
            under(json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": kid, "crit": ["exp"] })),
        ),
        ("another issuer", with(json!({ "iss": "somebody" }))),
        ("no issuer", with(json!({ "iss": null }))),
        ("another audience", with(json!({ "aud": "somebody" }))),
        (
            "several audiences",
            with(json!({ "aud": ["user-registry", "somebody"] })),
        ),
        ("another client", with(json!({ "client_id": "somebody" }))),
        ("no subject", with(json!({ "sub": null }))),
        ("a subject that is no id", with(json!({ "sub": "ada" }))),
        ("no session", with(json!({ "sid": null }))),
        ("no end", with(json!({ "exp": null }))),
        ("an end in words", with(json!({ "exp": "tomorrow" }))),
        ("no beginning", with(json!({ "iat": null }))),
        ("a life of a day", with(json!({ "exp": now + 86_400 }))),
        (
            "a beginning after its end",
            with(json!({ "iat": now + 20, "exp": now + 10 })),
        ),
        (
            "a beginning in an hour",
            with(json!({ "iat": now + 3_600, "exp": now + 3_700 })),
        ),
        ("a role nobody knows", with(json!({ "roles": ["god"] }))),
    ]
}

/// Tokens that were good, or would be for somebody else.
fn of_other_times(scene: &Scene) -> Vec<Case> {
    let forge = &scene.forge;
    let me = |what: &str, changes: Value| {
        let token = forge.signed(&forge.claims_with(&scene.user, &changes));
        case(format!("credential: {what}"), "GET", "/v1/me").with("authorization", format!("Bearer {token}"))
    };
    let now = forge.now();
    let unknown = "0197a1b2-0000-7000-8000-000000000001";
    vec![
        me("expired an hour ago", json!({ "iat": now - 4_200, "exp": now - 3_600 }))
            .is(401, "token-expired", &[])
            .and("www-authenticate", BAD),
        me("expired a second ago", json!({ "iat": now - 600, "exp": now - 1 })).is(401, "token-expired", &[]),
        me("of a session nobody has", json!({ "sid": unknown }))
            .is(401, "token-revoked", &[])
            .and("www-authenticate", BAD),
        me("of somebody else's session", json!({ "sid": scene.admin.session })).is(401, "token-revoked", &[]),
        me("of an account nobody has", json!({ "sub": unknown })).is(401, "token-revoked", &[]),
        // What the token says of roles opens nothing: the account's own roles count.
        case("credential: roles of its own making", "GET", "/v1/users")
            .with("authorization", {
                let claims = forge.claims_with(&scene.user, &json!({ "roles": ["user", "admin"] }));
                format!("Bearer {}", forge.signed(&claims))
            })
            .is(403, "forbidden", &[]),
    ]
}
