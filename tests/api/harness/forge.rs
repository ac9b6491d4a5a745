//! Tokens as only the service itself could make them, and ones that nobody should.

use aggregates::values::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use user_registry::tokens::PublicKey;

use super::inside::Inside;
use super::{Place, Tokens};

/// The signing key of a service's store.
pub struct Forge {
    pkcs8: Vec<u8>,
    public: PublicKey,
    now: i64,
}

impl Forge {
    /// Opens the store beside the service, as one more process would.
    pub async fn open(place: &Place) -> Self {
        user_registry::tokens::use_ring();
        let inside = Inside::open(place).await;
        let pkcs8 = inside.store.keyring().signing()[0].pkcs8().to_vec();
        let now = seconds(inside.store.now());
        inside.close().await;
        Self {
            public: PublicKey::of_pkcs8(&pkcs8).unwrap(),
            pkcs8,
            now,
        }
    }

    /// What the service says of somebody who is signed in, now.
    pub fn claims(&self, of: &Tokens) -> Value {
        json!({
            "iss": "user-registry", "aud": "user-registry", "client_id": "user-registry",
            "jti": "0197a1b2-0000-7000-8000-000000000001", "sub": of.user, "sid": of.session,
            "roles": ["user"], "cv": 1, "iat": self.now - 5, "exp": self.now + 595,
        })
    }

    /// The same with some claims replaced, or left out where `null` stands.
    pub fn claims_with(&self, of: &Tokens, changes: &Value) -> Value {
        let mut claims = self.claims(of);
        let members = claims.as_object_mut().unwrap();
        for (name, value) in changes.as_object().unwrap() {
            if value.is_null() {
                members.remove(name);
            } else {
                members.insert(name.clone(), value.clone());
            }
        }
        claims
    }

    pub const fn now(&self) -> i64 {
        self.now
    }

    /// Signed as the service signs.
    pub fn signed(&self, claims: &Value) -> String {
        self.signed_under(
            &json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": self.public.kid() }),
            claims,
        )
    }

    /// Signed with the service's key, under any header.
    pub fn signed_under(&self, header: &Value, claims: &Value) -> String {
        let text = unsigned(header, claims);
        let key = EncodingKey::from_ed_der(&self.pkcs8);
        let signature = jsonwebtoken::crypto::sign(text.as_bytes(), &key, Algorithm::EdDSA).unwrap();
        format!("{text}.{signature}")
    }

    /// Signed symmetrically with what everybody may know: the public key.
    pub fn signed_with_the_public_key(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some("at+jwt".into());
        header.kid = Some(self.public.kid().into());
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(self.public.as_bytes())).unwrap()
    }

    pub fn kid(&self) -> &str {
        self.public.kid()
    }
}

/// Header and claims without a signature.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    format!(
        "{}.{}",
        encoded(header.to_string().as_bytes()),
        encoded(claims.to_string().as_bytes())
    )
}

/// base64url.
pub fn encoded(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

const fn seconds(at: Timestamp) -> i64 {
    at.as_micros().div_euclid(1_000_000)
}
