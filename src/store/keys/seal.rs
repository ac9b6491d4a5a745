//! Sealing the personal part of one event.
//!
//! Each event has its own key, HKDF-SHA-256 (RFC 5869) of the data key and the event id, so that one event can be
//! opened for an auditor without opening another. A commitment to that key, its hash, stands beside the ciphertext:
//! AES-GCM alone does not bind a ciphertext to one key, and an opened bundle must.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{Context, SHA256};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use subtle::ConstantTimeEq as _;
use thiserror::Error;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::DataKey;
use crate::chance::Chance;

const VERSION: u8 = 2;
const COMMITMENT: usize = 32;
const SALT: &[u8] = b"user-registry event seal v2";
const COMMITTED: &[u8] = b"user-registry event key v2\0";

/// Which row and scope a sealed part belongs to; authenticated with it, so that it cannot be moved.
#[derive(Debug, Clone, Copy)]
pub struct SealedIdentity<'a> {
    /// Kind of the stream.
    pub aggregate_type: &'a str,
    /// The stream.
    pub aggregate_id: &'a str,
    /// Number in the stream.
    pub sequence: i64,
    /// What happened.
    pub event_type: &'a str,
    /// The event.
    pub event_id: Uuid,
    /// The scope whose key seals it.
    pub scope: &'a str,
}

impl SealedIdentity<'_> {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(128);
        for text in [self.aggregate_type, self.aggregate_id, self.event_type, self.scope] {
            bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes.extend_from_slice(self.event_id.as_bytes());
        bytes
    }
}

/// Why a sealed part did not open.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SealError {
    /// The text is not one that `seal` writes.
    #[error("a sealed part has an unknown form")]
    Form,
    /// The key is not the one it was sealed with.
    #[error("a sealed part was sealed with another key")]
    Key,
    /// The ciphertext or the row it stands in was altered.
    #[error("a sealed part or its row was altered")]
    Altered,
}

/// Seals and opens with the key of one event.
pub struct Seal {
    secret: Zeroizing<[u8; 32]>,
    key: LessSafeKey,
    commitment: [u8; COMMITMENT],
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl Seal {
    /// The seal of one event and scope.
    pub fn new(key: &DataKey, event_id: Uuid, scope: &str) -> Result<Self, SealError> {
        let mut secret = Zeroizing::new([0_u8; 32]);
        Salt::new(HKDF_SHA256, SALT)
            .extract(&*key.0)
            .expand(&[event_id.as_bytes(), scope.as_bytes()], Length(secret.len()))
            .and_then(|okm| okm.fill(&mut *secret))
            .map_err(|_| SealError::Key)?;
        Self::of_secret(secret)
    }

    /// The seal with this key of one event.
    pub fn of_secret(secret: Zeroizing<[u8; 32]>) -> Result<Self, SealError> {
        let mut context = Context::new(&SHA256);
        context.update(COMMITTED);
        context.update(&*secret);
        let mut commitment = [0; COMMITMENT];
        commitment.copy_from_slice(context.finish().as_ref());
        Ok(Self {
            key: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*secret).map_err(|_| SealError::Key)?),
            commitment,
            secret,
        })
    }

    /// The key itself, to be shown to somebody who may read this one event.
    #[must_use]
    pub fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    /// Seals `plain` for the row `identity`: version ‖ nonce ‖ commitment ‖ ciphertext ‖ tag, base64url.
    pub fn seal(&self, identity: &SealedIdentity<'_>, plain: &[u8], chance: &Chance) -> Result<String, SealError> {
        let mut nonce = [0_u8; NONCE_LEN];
        chance.fill(&mut nonce);
        let mut text = plain.to_vec();
        let tag = self
            .key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(identity.bytes()),
                &mut text,
            )
            .map_err(|_| SealError::Altered)?;
        let sealed = [&[VERSION], nonce.as_slice(), &self.commitment, &text, tag.as_ref()].concat();
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// Opens what `seal` made for the same row.
    pub fn open(&self, identity: &SealedIdentity<'_>, sealed: &str) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).map_err(|_| SealError::Form)?;
        let (&version, rest) = bytes.split_first().ok_or(SealError::Form)?;
        if version != VERSION {
            return Err(SealError::Form);
        }
        let (nonce, rest) = rest.split_at_checked(NONCE_LEN).ok_or(SealError::Form)?;
        let (commitment, text) = rest.split_at_checked(COMMITMENT).ok_or(SealError::Form)?;
        if !bool::from(commitment.ct_eq(&self.commitment)) {
            return Err(SealError::Key);
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Form)?;
        let mut plain = Zeroizing::new(text.to_vec());
        let length = self
            .key
            .open_in_place(nonce, Aad::from(identity.bytes()), plain.as_mut_slice())
            .map_err(|_| SealError::Altered)?
            .len();
        plain.truncate(length);
        Ok(plain)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

    use super::*;

    fn identity(sequence: i64, event_id: Uuid) -> SealedIdentity<'static> {
        SealedIdentity {
            aggregate_type: "user",
            aggregate_id: "one",
            sequence,
            event_type: "user.registered",
            event_id,
            scope: "person",
        }
    }

    #[test]
    fn a_sealed_part_opens_only_in_its_own_row_with_its_own_key() {
        let chance = Chance::system();
        let (key, other) = (DataKey(Zeroizing::new([1; 32])), DataKey(Zeroizing::new([2; 32])));
        let id = Uuid::from_u128(5);
        let seal = Seal::new(&key, id, "person").unwrap();
        let sealed = seal
            .seal(&identity(1, id), b"{\"email\":\"a@b.example\"}", &chance)
            .unwrap();
        assert_eq!(
            seal.open(&identity(1, id), &sealed).unwrap().as_slice(),
            b"{\"email\":\"a@b.example\"}"
        );
        assert_eq!(seal.open(&identity(2, id), &sealed).unwrap_err(), SealError::Altered);
        let foreign = Seal::new(&other, id, "person").unwrap();
        assert_eq!(foreign.open(&identity(1, id), &sealed).unwrap_err(), SealError::Key);
        let another_event = Seal::new(&key, Uuid::from_u128(6), "person").unwrap();
        assert_eq!(
            another_event.open(&identity(1, id), &sealed).unwrap_err(),
            SealError::Key
        );
    }

    #[test]
    fn the_key_of_one_event_opens_it_and_nothing_else() {
        let (chance, key, id) = (Chance::system(), DataKey(Zeroizing::new([1; 32])), Uuid::from_u128(5));
        let seal = Seal::new(&key, id, "person").unwrap();
        let sealed = seal.seal(&identity(1, id), b"plain", &chance).unwrap();
        let shown = Seal::of_secret(Zeroizing::new(*seal.secret())).unwrap();
        assert_eq!(shown.open(&identity(1, id), &sealed).unwrap().as_slice(), b"plain");
        let other = Seal::of_secret(Zeroizing::new([9; 32])).unwrap();
        assert_eq!(other.open(&identity(1, id), &sealed).unwrap_err(), SealError::Key);
        let of_another = Seal::new(&key, Uuid::from_u128(6), "person").unwrap();
        assert_ne!(of_another.secret(), seal.secret());
    }

    #[test]
    fn every_altered_byte_is_noticed() {
        let id = Uuid::from_u128(5);
        let seal = Seal::new(&DataKey(Zeroizing::new([1; 32])), id, "person").unwrap();
        let sealed = seal.seal(&identity(1, id), b"plain", &Chance::system()).unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(&sealed).unwrap();
        for place in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[place] ^= 1;
            assert!(
                seal.open(&identity(1, id), &URL_SAFE_NO_PAD.encode(altered)).is_err(),
                "byte {place}"
            );
        }
        assert!(seal.open(&identity(1, id), "").is_err());
    }
}
