//! Accepting access tokens.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use aggregates::values::Timestamp;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use ring::digest::{SHA256, digest};
use serde::Deserialize;

use super::claims::{ALGORITHM, AUDIENCE, CLIENT_ID, Claims, TYPE, Wire};
use super::keys::{Jwks, PublicKey};
use crate::cache::Cache;

/// Ours are under a kilobyte; more is not worth a look.
const MOST_BYTES: usize = 4096;
/// The longest life a token may claim.
const MOST_SECONDS: i64 = 600;
/// How far another replica's clock may be ahead of ours.
const LEEWAY_SECONDS: i64 = 30;

/// Why a token is not accepted. The client hears only of `Expired`; the rest is for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no token of our form: wrong type, algorithm, or a header we never write.
    #[error("it is no access token")]
    Malformed,
    /// Its key is none of ours, or no longer.
    #[error("its key is unknown")]
    UnknownKey,
    /// Its signature is not by its key.
    #[error("its signature is wrong")]
    Signature,
    /// It was signed by us but says what we never say: other issuer or audience, missing claims.
    #[error("its claims do not hold")]
    Claims,
    /// It was good, once.
    #[error("it is past its end")]
    Expired,
}

/// Verifies tokens against a fixed set of keys. A rotation makes a new verifier, and with it a new
/// cache, so that a key that is gone takes its tokens along.
pub struct Verifier {
    keys: HashMap<String, DecodingKey>,
    published: Jwks,
    validation: Validation,
    cache: Cache<Arc<Claims>>,
}

/// The whole header of our tokens. Anything more (`jku`, `jwk`, `x5u`, `crit`, `zip` …) would tell
/// the verifier how to verify, which is not for a token to say.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

impl Verifier {
    /// A verifier for this issuer's tokens under these keys, which remembers so many signatures.
    pub fn new<'a>(issuer: &str, keys: impl IntoIterator<Item = &'a PublicKey>, cache_entries: u64) -> Self {
        super::use_ring();
        let keys: Vec<_> = keys.into_iter().collect();
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        // Time is told to us, so we compare it ourselves.
        validation.validate_exp = false;
        validation.leeway = 0;
        Self {
            published: keys.iter().copied().collect(),
            keys: keys
                .into_iter()
                .map(|key| (key.kid().to_owned(), DecodingKey::from_ed_der(key.as_bytes())))
                .collect(),
            validation,
            cache: Cache::new(cache_entries),
        }
    }

    /// What the token says, if it is ours and its time is now.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Arc<Claims>, TokenError> {
        if token.len() > MOST_BYTES {
            return Err(TokenError::Malformed);
        }
        let name = token_hash(token);
        let claims = if let Some(seen) = self.cache.get(&name) {
            seen
        } else {
            let fresh = Arc::new(self.verify_signature(token)?);
            self.cache.insert(name, Arc::clone(&fresh));
            fresh
        };
        // Only the signature is remembered; time goes on.
        if claims.iat > now.plus(LEEWAY_SECONDS * 1_000_000) {
            return Err(TokenError::Claims);
        }
        if claims.exp <= now {
            Err(TokenError::Expired)
        } else {
            Ok(claims)
        }
    }

    /// The document that lets others verify our tokens.
    #[must_use]
    pub fn jwks(&self) -> &Jwks {
        &self.published
    }

    fn verify_signature(&self, token: &str) -> Result<Claims, TokenError> {
        use jsonwebtoken::errors::ErrorKind;

        let header = header_of(token).ok_or(TokenError::Malformed)?;
        if header.alg != ALGORITHM || header.typ != TYPE {
            return Err(TokenError::Malformed);
        }
        let key = self.keys.get(&header.kid).ok_or(TokenError::UnknownKey)?;
        let wire = match decode::<Wire>(token, key, &self.validation) {
            Ok(data) => data.claims,
            Err(error) => {
                return Err(match error.kind() {
                    ErrorKind::InvalidSignature => TokenError::Signature,
                    ErrorKind::InvalidToken | ErrorKind::Base64(_) => TokenError::Malformed,
                    _ => TokenError::Claims,
                });
            }
        };
        let life = wire.exp.saturating_sub(wire.iat);
        if wire.client_id != CLIENT_ID || !(1..=MOST_SECONDS).contains(&life) {
            return Err(TokenError::Claims);
        }
        Ok(wire.into_claims())
    }
}

fn header_of(token: &str) -> Option<Header> {
    let mut parts = token.split('.');
    let (header, _, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()
}

fn token_hash(token: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    hash
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({} keys)", self.keys.len())
    }
}
