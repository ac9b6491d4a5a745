//! HS256 tokens whose secret is shared with other services: the `AgStack` dialect's (contracts, agstack, section 1.4).
//!
//! Whoever shares the secret can sign whatever they like. So a token of this kind opens nothing outside its dialect, and
//! its `jti` must also name a live session (see `alias`), which only this service can make.

use std::fmt;

use aggregates::values::Timestamp;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::hmac;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

/// Ours are under a kilobyte; more is not worth a look.
const MOST_BYTES: usize = 4096;
/// Shortest secret, bytes: as long as the hash (RFC 7518, section 3.2).
pub const LEAST_SECRET: usize = 32;
/// How far another replica's clock may be ahead of ours, seconds.
const LEEWAY: i64 = 30;
const MICROS: i64 = 1_000_000;

/// What a session's token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SharedKind {
    /// Says who calls.
    Access,
    /// Gets another access token.
    Refresh,
}

/// What an access token says beside who and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The domain of the account's address, or what stands in its place.
    pub domain: String,
    /// Whether the account is activated.
    pub is_activated: bool,
}

/// A token of a session, before it is signed and after it was verified. Times are whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedClaims {
    /// What it is for.
    pub kind: SharedKind,
    /// Its name.
    pub jti: Uuid,
    /// The account.
    pub sub: Uuid,
    /// When it begins, seconds since 1970.
    pub iat: i64,
    /// When it ends, seconds since 1970.
    pub exp: i64,
}

/// Why a token is not accepted, in words a client may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SharedError {
    /// It is no token of this form.
    #[error("Not enough segments")]
    Malformed,
    /// Its signature is not by the shared secret.
    #[error("Signature verification failed")]
    Signature,
    /// It says what tokens of sessions never say.
    #[error("Invalid claims")]
    Claims,
    /// It is of the future.
    #[error("The token is not yet valid")]
    NotYet,
    /// It was good, once.
    #[error("Token has expired")]
    Expired,
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    typ: String,
}

/// The claims as they are written; no `aud`, which some of those who read them refuse.
#[derive(Serialize)]
struct Written<'a> {
    fresh: bool,
    iat: i64,
    jti: Uuid,
    #[serde(rename = "type")]
    kind: SharedKind,
    sub: &'a str,
    nbf: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_activated: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uuid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_use: Option<&'a str>,
}

/// The claims as they are read. A client secret has no account, and seldom an end.
#[derive(Deserialize)]
struct Read {
    #[serde(rename = "type")]
    kind: SharedKind,
    jti: Uuid,
    sub: Uuid,
    iat: i64,
    nbf: i64,
    exp: i64,
    #[serde(default)]
    token_use: Option<String>,
}

/// Signs and verifies with the shared secret.
#[derive(Clone)]
pub struct SharedKey {
    key: hmac::Key,
}

impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedKey(..)")
    }
}

impl SharedKey {
    /// The key of a secret's text. None: it is too short.
    #[must_use]
    pub fn new(secret: &str) -> Option<Self> {
        (secret.len() >= LEAST_SECRET).then(|| Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()),
        })
    }

    /// The access token of a session.
    #[must_use]
    pub fn access(&self, claims: &SharedClaims, holder: &Holder) -> Zeroizing<String> {
        let sub = claims.sub.to_string();
        self.sign(&Written {
            domain: Some(&holder.domain),
            is_activated: Some(holder.is_activated),
            uuid: Some(&sub),
            ..written(claims, &sub)
        })
    }

    /// The refresh token of a session.
    #[must_use]
    pub fn refresh(&self, claims: &SharedClaims) -> Zeroizing<String> {
        self.sign(&written(claims, &claims.sub.to_string()))
    }

    /// The secret that goes with an API key. It has the form of an access token, so that its readers find the domain in
    /// it, says that it is none, and ends only where an end is given.
    #[must_use]
    pub fn client_secret(&self, jti: Uuid, domain: &str, iat: i64, exp: Option<i64>) -> Zeroizing<String> {
        self.sign(&Written {
            fresh: false,
            iat,
            jti,
            kind: SharedKind::Access,
            sub: domain,
            nbf: iat,
            exp,
            domain: None,
            is_activated: None,
            uuid: None,
            token_use: Some("client_secret"),
        })
    }

    fn sign(&self, claims: &Written<'_>) -> Zeroizing<String> {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
        // Texts, numbers and flags only: this cannot fail.
        let claims = URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims).unwrap_or_default());
        let signed = Zeroizing::new(format!("{header}.{claims}"));
        let mac = hmac::sign(&self.key, signed.as_bytes());
        Zeroizing::new(format!("{}.{}", *signed, URL_SAFE_NO_PAD.encode(mac.as_ref())))
    }

    /// What a session's token says, if it is signed with this key and its time is now.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<SharedClaims, SharedError> {
        if token.len() > MOST_BYTES {
            return Err(SharedError::Malformed);
        }
        let (signed, mac) = token.rsplit_once('.').ok_or(SharedError::Malformed)?;
        let (header, body) = signed.split_once('.').ok_or(SharedError::Malformed)?;
        let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| SharedError::Malformed);
        let header: Header = serde_json::from_slice(&decoded(header)?).map_err(|_| SharedError::Malformed)?;
        if header.alg != "HS256" || !header.typ.eq_ignore_ascii_case("JWT") {
            return Err(SharedError::Malformed);
        }
        let mac = URL_SAFE_NO_PAD.decode(mac).map_err(|_| SharedError::Signature)?;
        hmac::verify(&self.key, signed.as_bytes(), &mac).map_err(|_| SharedError::Signature)?;
        let read: Read = serde_json::from_slice(&decoded(body)?).map_err(|_| SharedError::Claims)?;
        if read.token_use.is_some() {
            return Err(SharedError::Claims);
        }
        let now = now.as_micros().div_euclid(MICROS);
        if read.iat > now + LEEWAY || read.nbf > now + LEEWAY {
            return Err(SharedError::NotYet);
        }
        if read.exp <= now {
            return Err(SharedError::Expired);
        }
        Ok(SharedClaims {
            kind: read.kind,
            jti: read.jti,
            sub: read.sub,
            iat: read.iat,
            exp: read.exp,
        })
    }
}

fn written<'a>(claims: &SharedClaims, sub: &'a str) -> Written<'a> {
    Written {
        fresh: false,
        iat: claims.iat,
        jti: claims.jti,
        kind: claims.kind,
        sub,
        nbf: claims.iat,
        exp: Some(claims.exp),
        domain: None,
        is_activated: None,
        uuid: None,
        token_use: None,
    }
}

/// What is stored of a secret that is shown once.
#[must_use]
pub fn secret_hash(text: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    hash
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use serde_json::Value;

    use super::*;

    fn key() -> SharedKey {
        SharedKey::new(&"k".repeat(32)).unwrap()
    }

    fn claims(kind: SharedKind) -> SharedClaims {
        SharedClaims {
            kind,
            jti: Uuid::from_u128(7),
            sub: Uuid::from_u128(9),
            iat: 1_000,
            exp: 1_600,
        }
    }

    fn holder() -> Holder {
        Holder {
            domain: "farm.example".into(),
            is_activated: true,
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * MICROS)
    }

    fn parts(token: &str) -> (Value, Value) {
        let mut parts = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
        let mut next = || serde_json::from_slice(&parts.next().unwrap()).unwrap();
        (next(), next())
    }

    /// The table of the contract, section 1.4, claim by claim.
    #[test]
    fn a_token_says_what_the_contract_lists_and_nothing_else() {
        let (header, access) = parts(&key().access(&claims(SharedKind::Access), &holder()));
        assert_eq!(header, serde_json::json!({ "alg": "HS256", "typ": "JWT" }));
        assert_eq!(
            access,
            serde_json::json!({
                "fresh": false, "iat": 1000, "nbf": 1000, "exp": 1600,
                "jti": "00000000-0000-0000-0000-000000000007", "type": "access",
                "sub": "00000000-0000-0000-0000-000000000009", "domain": "farm.example", "is_activated": true,
                "uuid": "00000000-0000-0000-0000-000000000009",
            })
        );
        let (_, refresh) = parts(&key().refresh(&claims(SharedKind::Refresh)));
        assert_eq!(
            refresh,
            serde_json::json!({
                "fresh": false, "iat": 1000, "nbf": 1000, "exp": 1600,
                "jti": "00000000-0000-0000-0000-000000000007", "type": "refresh",
                "sub": "00000000-0000-0000-0000-000000000009",
            })
        );
        let (_, secret) = parts(&key().client_secret(Uuid::from_u128(7), "farm.example", 1000, None));
        assert_eq!(
            secret,
            serde_json::json!({
                "fresh": false, "iat": 1000, "nbf": 1000, "jti": "00000000-0000-0000-0000-000000000007",
                "type": "access", "sub": "farm.example", "token_use": "client_secret",
            })
        );
    }

    #[test]
    fn a_token_is_good_from_its_beginning_to_its_end() {
        let token = key().refresh(&claims(SharedKind::Refresh));
        assert_eq!(key().verify(&token, at(1_599)), Ok(claims(SharedKind::Refresh)));
        assert_eq!(key().verify(&token, at(970)), Ok(claims(SharedKind::Refresh)));
        assert_eq!(key().verify(&token, at(969)), Err(SharedError::NotYet));
        assert_eq!(key().verify(&token, at(1_600)), Err(SharedError::Expired));
    }

    #[test]
    fn what_is_not_by_the_key_is_refused() {
        let token = key().access(&claims(SharedKind::Access), &holder());
        let other = SharedKey::new(&"x".repeat(32)).unwrap();
        assert_eq!(other.verify(&token, at(1_100)), Err(SharedError::Signature));
        assert!(key().verify(&format!("{}A", *token), at(1_100)).is_err());
        let (_, rest) = token.split_once('.').unwrap();
        for header in [
            r#"{"alg":"none","typ":"JWT"}"#,
            r#"{"alg":"EdDSA","typ":"at+jwt"}"#,
            "[]",
        ] {
            let forged = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header));
            assert_eq!(
                key().verify(&forged, at(1_100)),
                Err(SharedError::Malformed),
                "{header}"
            );
        }
        for text in ["", ".", "..", "a.b.c", "abc", &"a.".repeat(3_000)] {
            assert!(key().verify(text, at(1_100)).is_err(), "{text:.9}");
        }
    }

    #[test]
    fn a_client_secret_is_no_token_of_a_session() {
        let secret = key().client_secret(
            Uuid::from_u128(7),
            &Uuid::from_u128(9).to_string(),
            1000,
            Some(9_000_000_000),
        );
        assert_eq!(key().verify(&secret, at(1_100)), Err(SharedError::Claims));
    }

    #[test]
    fn a_short_secret_is_none() {
        assert!(SharedKey::new(&"k".repeat(31)).is_none());
    }
}
