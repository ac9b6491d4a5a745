//! Tokens: signed ones that say who calls, opaque ones that are looked up.
//!
//! A signed token is only the first half of an answer: whether its session still lives is asked of
//! the store on every request.

pub mod alias;
mod by_dialect;
mod claims;
mod keys;
pub mod opaque;
pub mod pairs;
mod provider;
pub mod shared;
mod signer;
mod verifier;

pub use self::by_dialect::DialectToken;
pub use self::claims::{AUDIENCE, CLIENT_ID, Claims};
pub use self::keys::{Jwk, Jwks, KeyError, PublicKey};
pub use self::opaque::{OpaqueKind, OpaqueToken};
pub use self::pairs::{KeyPair, authority_text, made_at};
pub use self::provider::use_ring;
pub use self::shared::{Holder, SharedClaims, SharedError, SharedKey, SharedKind};
pub use self::signer::{SignError, Signer};
pub use self::verifier::{TokenError, Verifier};

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
