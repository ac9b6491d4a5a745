//! Public keys of access tokens and the document that publishes them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::Serialize;

/// The bytes are no Ed25519 key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signing key makes no sense")]
pub struct KeyError;

/// An Ed25519 public key, known by its thumbprint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    bytes: [u8; 32],
    kid: String,
}

impl PublicKey {
    /// The key of these 32 bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        // RFC 7638 (and RFC 8037, appendix A.3): required members only, in this order, no blanks.
        let x = URL_SAFE_NO_PAD.encode(bytes);
        let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        let kid = URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes()));
        Self { bytes, kid }
    }

    /// The public half of a private key in PKCS#8.
    pub fn of_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        // "Maybe": the store's keys are PKCS#8 version 1, which holds no public key to check against.
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| KeyError)?;
        pair.public_key()
            .as_ref()
            .try_into()
            .map(Self::from_bytes)
            .map_err(|_| KeyError)
    }

    /// Its name in token headers.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The key itself.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }
}

/// `/.well-known/jwks.json` (RFC 7517).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Jwks {
    /// Every key whose tokens are accepted.
    pub keys: Vec<Jwk>,
}

/// One key of it (RFC 8037).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Jwk {
    /// Always `OKP`.
    pub kty: &'static str,
    /// Always `Ed25519`.
    pub crv: &'static str,
    /// The key, base64url.
    pub x: String,
    /// Its thumbprint.
    pub kid: String,
    /// Always `sig`.
    #[serde(rename = "use")]
    pub usage: &'static str,
    /// Always `EdDSA`.
    pub alg: &'static str,
}

impl<'a> FromIterator<&'a PublicKey> for Jwks {
    fn from_iter<I: IntoIterator<Item = &'a PublicKey>>(keys: I) -> Self {
        let keys = keys.into_iter().map(|key| Jwk {
            kty: "OKP",
            crv: "Ed25519",
            x: URL_SAFE_NO_PAD.encode(key.bytes),
            kid: key.kid.clone(),
            usage: "sig",
            alg: super::claims::ALGORITHM,
        });
        Self { keys: keys.collect() }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// The key and thumbprint of RFC 8037, appendix A.
    #[test]
    fn a_key_is_named_by_its_thumbprint() {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let bytes = URL_SAFE_NO_PAD.decode(x).unwrap().try_into().unwrap();
        let key = PublicKey::from_bytes(bytes);
        assert_eq!(key.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        insta::assert_snapshot!(serde_json::to_string(&Jwks::from_iter([&key])).unwrap(), @r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k","use":"sig","alg":"EdDSA"}]}"#);
    }

    #[test]
    fn bytes_that_are_no_key_are_refused() {
        assert_eq!(PublicKey::of_pkcs8(b"no key"), Err(KeyError));
    }
}
