//! What `/docs/tokens` says is enough to verify an access token, and keeps out every other.
//!
//! The Python program of the same page runs in `tests/python`.

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Value, json};

use crate::harness::{App, Engine, Forge, Tokens, on_both_engines};

on_both_engines![the_jwks_alone_is_enough_to_verify_a_token];

/// What another service does with a token: the facts of the page and nothing else.
fn verified(jwks: &JwkSet, token: &str) -> Result<Value, String> {
    let header = decode_header(token).map_err(|problem| problem.to_string())?;
    if header.typ.as_deref() != Some("at+jwt") {
        return Err("not an access token".to_owned());
    }
    let key = header.kid.and_then(|kid| jwks.find(&kid)).ok_or("an unknown key")?;
    let key = DecodingKey::from_jwk(key).map_err(|problem| problem.to_string())?;
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_issuer(&["user-registry"]);
    validation.set_audience(&["user-registry"]);
    validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
    validation.leeway = 30;
    decode::<Value>(token, &key, &validation)
        .map(|data| data.claims)
        .map_err(|problem| problem.to_string())
}

async fn the_jwks_alone_is_enough_to_verify_a_token(engine: Engine) {
    let app = App::start(engine).await;
    // No name that ids may spell by chance.
    let ada: Tokens = app.user("zoe.lyon").await;
    let document = app.get("/.well-known/jwks.json").expect(200).await;
    let jwks: JwkSet = serde_json::from_value(document).unwrap();
    let forge = Forge::open(&app.place).await;

    let claims = verified(&jwks, &ada.access).unwrap();
    assert_eq!(claims["sub"], ada.user.as_str());
    assert_eq!(claims["sid"], ada.session.as_str());
    assert_eq!(claims["roles"], json!(["user"]));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 600);
    let me = app.get("/v1/me").bearer(&ada.access).expect(200).await;
    for personal in ["zoe", "lyon", "@"] {
        assert!(!claims.to_string().contains(personal), "{claims} of {me}");
    }

    // The control: what the forge makes is as good as the service's own.
    verified(&jwks, &forge.signed(&forge.claims(&ada))).unwrap();
    for (what, token) in [
        (
            "another issuer",
            forge.signed(&forge.claims_with(&ada, &json!({ "iss": "somebody" }))),
        ),
        (
            "for another service",
            forge.signed(&forge.claims_with(&ada, &json!({ "aud": "somebody" }))),
        ),
        (
            "expired",
            forge.signed(&forge.claims_with(&ada, &json!({ "exp": forge.now() - 120 }))),
        ),
        (
            "without an end",
            forge.signed(&forge.claims_with(&ada, &json!({ "exp": null }))),
        ),
        (
            "signed with the public key",
            forge.signed_with_the_public_key(&forge.claims(&ada)),
        ),
        (
            "of another type",
            forge.signed_under(
                &json!({ "alg": "EdDSA", "typ": "JWT", "kid": forge.kid() }),
                &forge.claims(&ada),
            ),
        ),
        (
            "of another key",
            forge.signed_under(
                &json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": "other" }),
                &forge.claims(&ada),
            ),
        ),
        (
            "with another signature",
            format!("{}AAAA", &ada.access[..ada.access.len() - 4]),
        ),
    ] {
        assert!(verified(&jwks, &token).is_err(), "{what}");
    }
}
