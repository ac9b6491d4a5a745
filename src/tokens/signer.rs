//! Making access tokens.

use std::fmt;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};

use super::claims::{Claims, TYPE, Wire};
use super::keys::{KeyError, PublicKey};

/// A token could not be signed, which a good key never causes.
#[derive(Debug, thiserror::Error)]
#[error("a token could not be signed")]
pub struct SignError(#[source] jsonwebtoken::errors::Error);

/// Signs with the one current private key.
#[derive(Clone)]
pub struct Signer {
    issuer: String,
    header: Header,
    key: EncodingKey,
    public: PublicKey,
}

impl Signer {
    /// A signer for this issuer with an Ed25519 private key in PKCS#8, as ring makes them.
    pub fn new(issuer: impl Into<String>, pkcs8: &[u8]) -> Result<Self, KeyError> {
        super::use_ring();
        let public = PublicKey::of_pkcs8(pkcs8)?;
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(public.kid().to_owned());
        let key = EncodingKey::from_ed_der(pkcs8);
        Ok(Self {
            issuer: issuer.into(),
            header,
            key,
            public,
        })
    }

    /// The token that says this.
    pub fn issue(&self, claims: &Claims) -> Result<String, SignError> {
        encode(&self.header, &Wire::new(&self.issuer, claims), &self.key).map_err(SignError)
    }

    /// The key that verifies what this one signs.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.public.kid())
    }
}
