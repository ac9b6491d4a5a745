//! What derives from the event that issued it, in the forms of the `AgStack` contract: an API key with its client secret,
//! and authority tokens. Whoever has the keys of the store computes the same again; nothing keeps them in clear.

use std::fmt;

use aggregates::values::Timestamp;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::SharedKey;
use super::shared::secret_hash;
use crate::keys::{Keyring, hex};

/// Characters of an authority token.
const AUTHORITY: usize = 16;
/// Shared tokens begin a little earlier than they are made, seconds: some of those who read them allow no leeway.
const EARLIER: i64 = 5;

/// An API key and its client secret, in hand.
pub struct KeyPair {
    /// 64 hexadecimal digits.
    pub api_key: Zeroizing<String>,
    /// A signed text, without an end unless one was asked for.
    pub client_secret: Zeroizing<String>,
}

impl KeyPair {
    /// The pair of an event. `key_id` is the event's id and holds the time it was made; `expires_at` is its end, of
    /// which the secret says the whole seconds.
    #[must_use]
    pub fn of(
        keyring: &Keyring,
        shared: &SharedKey,
        key_id: Uuid,
        expires_at: Option<Timestamp>,
        domain: &str,
    ) -> Self {
        let api_key = Zeroizing::new(hex(&keyring.derived("paired-api-key", key_id)));
        let mut name = [0_u8; 16];
        name.copy_from_slice(&keyring.derived("client-secret-name", key_id)[..16]);
        let jti = uuid::Builder::from_random_bytes(name).into_uuid();
        let iat = made_at(key_id) - EARLIER;
        let exp = expires_at.map(|end| end.as_micros().div_euclid(1_000_000));
        Self {
            api_key,
            client_secret: shared.client_secret(jti, domain, iat, exp),
        }
    }

    /// What is kept of the key and of the secret.
    #[must_use]
    pub fn hashes(&self) -> ([u8; 32], [u8; 32]) {
        (secret_hash(&self.api_key), secret_hash(&self.client_secret))
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPair(..)")
    }
}

/// The second in which an id was made, since 1970; it says so itself.
#[must_use]
pub fn made_at(key_id: Uuid) -> i64 {
    let made = key_id.get_timestamp().map_or(0, |time| time.to_unix().0);
    i64::try_from(made).unwrap_or_default()
}

/// The authority token of an event: letters and digits, each as likely as every other.
#[must_use]
pub fn authority_text(keyring: &Keyring, token_id: Uuid) -> Zeroizing<String> {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut text = Zeroizing::new(String::with_capacity(AUTHORITY));
    for round in 0_u32.. {
        let bytes = Zeroizing::new(keyring.derived(&format!("short-authority-token/{round}"), token_id));
        // What is above the last whole round would make the first letters likelier.
        for byte in bytes.iter().filter(|byte| **byte < 248) {
            if text.len() == AUTHORITY {
                return text;
            }
            text.push(char::from(ALPHABET[usize::from(byte % 62)]));
        }
    }
    text
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::chance::Chance;
    use crate::keys::MasterKey;

    fn keyring() -> Keyring {
        let master = MasterKey::new([3; 32]);
        let rows = Keyring::draw(&master, &Chance::seeded(1), Timestamp::from_micros(0)).unwrap();
        Keyring::open(&[master], &rows).unwrap()
    }

    #[test]
    fn a_pair_is_the_same_whenever_it_is_computed_and_another_for_another_event() {
        let (keyring, shared) = (keyring(), SharedKey::new(&"k".repeat(32)).unwrap());
        let id = Chance::seeded(2).uuid_v7(Timestamp::from_micros(1_700_000_000_000_000));
        let pair = KeyPair::of(&keyring, &shared, id, None, "farm.example");
        assert_eq!(pair.api_key.len(), 64);
        assert!(pair.api_key.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let again = KeyPair::of(&keyring, &shared, id, None, "farm.example");
        assert_eq!(again.hashes(), pair.hashes());
        let other = KeyPair::of(&keyring, &shared, Uuid::from_u128(9), None, "farm.example");
        assert_ne!(other.hashes().0, pair.hashes().0);
        assert_ne!(other.hashes().1, pair.hashes().1);
        let ending = KeyPair::of(
            &keyring,
            &shared,
            id,
            Some(Timestamp::from_micros(1_800_000_000_000_000)),
            "farm.example",
        );
        assert_eq!(ending.hashes().0, pair.hashes().0);
        assert_ne!(ending.hashes().1, pair.hashes().1);
        assert_eq!(made_at(id), 1_700_000_000);
        assert_eq!(format!("{pair:?}"), "KeyPair(..)");
    }

    #[test]
    fn an_authority_token_has_sixteen_letters_and_digits() {
        let keyring = keyring();
        let mut seen = std::collections::HashSet::new();
        for id in 0..500 {
            let text = authority_text(&keyring, Uuid::from_u128(id));
            assert_eq!(text.len(), 16);
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            assert!(seen.insert(text.to_string()));
        }
    }
}
