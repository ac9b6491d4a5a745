use aggregates::values::{Role, Timestamp};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::Ed25519KeyPair;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;

const ISSUER: &str = "user-registry";
const NOW: Timestamp = Timestamp::from_micros(1_763_608_127_000_000);

struct Keys {
    pkcs8: Vec<u8>,
    signer: Signer,
    verifier: Verifier,
}

fn keys() -> Keys {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
        .unwrap()
        .as_ref()
        .to_vec();
    let signer = Signer::new(ISSUER, &pkcs8).unwrap();
    let verifier = Verifier::new(ISSUER, [signer.public_key()], 100);
    Keys {
        pkcs8,
        signer,
        verifier,
    }
}

fn claims() -> Claims {
    Claims {
        jti: Uuid::from_u128(1),
        sub: Uuid::from_u128(2),
        sid: Uuid::from_u128(3),
        roles: vec![Role::User, Role::Admin],
        cv: 4,
        iat: NOW,
        exp: NOW.plus(600_000_000),
    }
}

impl Keys {
    fn header(&self) -> Value {
        json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": self.signer.public_key().kid() })
    }

    fn payload() -> Value {
        let token = keys().signer.issue(&claims()).unwrap();
        let body = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    /// A token with any header and claims, signed with the good key.
    fn forge(&self, header: &Value, payload: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(payload));
        let pair = Ed25519KeyPair::from_pkcs8(&self.pkcs8).unwrap();
        let signature = URL_SAFE_NO_PAD.encode(pair.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    fn verdict(&self, header: &Value, payload: &Value) -> Result<Claims, TokenError> {
        let verified = self.verifier.verify(&self.forge(header, payload), NOW);
        verified.map(|claims| (*claims).clone())
    }
}

#[test]
fn a_token_says_what_was_put_into_it() {
    let keys = keys();
    let token = keys.signer.issue(&claims()).unwrap();
    for _cached in [false, true] {
        assert_eq!(*keys.verifier.verify(&token, NOW).unwrap(), claims());
    }
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&header).unwrap(), keys.header());
    insta::assert_snapshot!(Keys::payload(), @r#"{"aud":"user-registry","client_id":"user-registry","cv":4,"exp":1763608727,"iat":1763608127,"iss":"user-registry","jti":"00000000-0000-0000-0000-000000000001","roles":["user","admin"],"sid":"00000000-0000-0000-0000-000000000003","sub":"00000000-0000-0000-0000-000000000002"}"#);
}

#[test]
fn a_token_ends_when_it_says_even_if_it_was_seen_before() {
    let keys = keys();
    let token = keys.signer.issue(&claims()).unwrap();
    assert!(keys.verifier.verify(&token, NOW.plus(599_999_999)).is_ok());
    let late = keys.verifier.verify(&token, NOW.plus(600_000_000));
    assert_eq!(late.unwrap_err(), TokenError::Expired);
    let early = keys.verifier.verify(&token, NOW.plus(-31_000_000));
    assert_eq!(early.unwrap_err(), TokenError::Claims);
    assert!(keys.verifier.verify(&token, NOW.plus(-30_000_000)).is_ok());
}

#[test]
fn a_header_may_hold_nothing_that_steers_the_verifier() {
    let keys = keys();
    assert!(keys.verdict(&keys.header(), &Keys::payload()).is_ok());
    for name in ["jku", "jwk", "x5u", "x5c", "crit", "zip", "b64", "cty", "foo"] {
        let mut header = keys.header();
        header[name] = json!("x");
        let verdict = keys.verdict(&header, &Keys::payload());
        assert_eq!(verdict, Err(TokenError::Malformed), "{name}");
    }
}

#[test]
fn other_algorithms_types_and_keys_are_refused() {
    let keys = keys();
    for (name, value, error) in [
        ("alg", json!("none"), TokenError::Malformed),
        ("alg", json!("HS256"), TokenError::Malformed),
        ("alg", json!("ES256"), TokenError::Malformed),
        ("alg", json!("eddsa"), TokenError::Malformed),
        ("typ", json!("JWT"), TokenError::Malformed),
        ("typ", Value::Null, TokenError::Malformed),
        ("kid", json!("other"), TokenError::UnknownKey),
        ("kid", Value::Null, TokenError::Malformed),
    ] {
        let mut header = keys.header();
        header[name] = value.clone();
        assert_eq!(keys.verdict(&header, &Keys::payload()), Err(error), "{name} {value}");
    }
}

#[test]
fn every_claim_must_be_there_and_of_its_kind() {
    let keys = keys();
    for name in [
        "iss",
        "aud",
        "exp",
        "iat",
        "jti",
        "sub",
        "sid",
        "client_id",
        "roles",
        "cv",
    ] {
        for value in [
            None,
            Some(Value::Null),
            Some(json!([])),
            Some(json!("x")),
            Some(json!({})),
        ] {
            if name == "roles" && value == Some(json!([])) {
                continue;
            }
            let mut payload = Keys::payload();
            match value.clone() {
                Some(value) => payload[name] = value,
                None => drop(payload.as_object_mut().unwrap().remove(name)),
            }
            let verdict = keys.verdict(&keys.header(), &payload);
            assert_eq!(verdict, Err(TokenError::Claims), "{name} {value:?}");
        }
    }
}

#[test]
fn a_token_may_not_claim_a_long_life() {
    let keys = keys();
    let mut payload = Keys::payload();
    payload["exp"] = json!(payload["iat"].as_i64().unwrap() + 601);
    assert_eq!(keys.verdict(&keys.header(), &payload), Err(TokenError::Claims));
    payload["exp"] = payload["iat"].clone();
    assert_eq!(keys.verdict(&keys.header(), &payload), Err(TokenError::Claims));
}

#[test]
fn any_change_breaks_the_signature() {
    let keys = keys();
    let token = keys.signer.issue(&claims()).unwrap();
    let other = self::keys().signer.issue(&claims()).unwrap();
    assert_eq!(keys.verifier.verify(&other, NOW).unwrap_err(), TokenError::UnknownKey);
    let (message, _) = token.rsplit_once('.').unwrap();
    let (_, signature) = other.rsplit_once('.').unwrap();
    let swapped = format!("{message}.{signature}");
    assert_eq!(keys.verifier.verify(&swapped, NOW).unwrap_err(), TokenError::Signature);
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(keys.verifier.verify(&changed, NOW).is_err(), "{at}");
    }
}

#[test]
fn what_is_no_token_is_malformed() {
    let keys = keys();
    let token = keys.signer.issue(&claims()).unwrap();
    for text in [
        "",
        ".",
        "..",
        "a.b.c",
        "urk_abc",
        &format!("{token}.x"),
        &format!(" {token}"),
        &"a".repeat(5_000),
    ] {
        assert_eq!(
            keys.verifier.verify(text, NOW).unwrap_err(),
            TokenError::Malformed,
            "{text}"
        );
    }
}

#[test]
fn after_a_rotation_both_keys_are_accepted_and_published() {
    let (old, new) = (keys(), keys());
    let public = [old.signer.public_key(), new.signer.public_key()];
    let verifier = Verifier::new(ISSUER, public, 100);
    for keys in [&old, &new] {
        assert!(verifier.verify(&keys.signer.issue(&claims()).unwrap(), NOW).is_ok());
    }
    let published: Vec<_> = verifier.jwks().keys.iter().map(|key| key.kid.as_str()).collect();
    assert_eq!(published, public.map(PublicKey::kid));
}

#[test]
fn another_issuers_token_is_refused() {
    let keys = keys();
    let other = Verifier::new("elsewhere", [keys.signer.public_key()], 100);
    let token = keys.signer.issue(&claims()).unwrap();
    assert_eq!(other.verify(&token, NOW).unwrap_err(), TokenError::Claims);
}
