//! The opaque tokens of the older APIs, each in the form its clients know.
//!
//! They have neither prefix nor checksum, because their documents show none. What is stored is bound to the API, so that
//! a token of one opens nothing in another.

use std::fmt;

use aggregates::values::Dialect;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{Context, SHA256};
use zeroize::Zeroizing;

use crate::chance::Chance;

/// Characters of a Cadasta key: as many as 256 bits need.
const KEY: usize = 43;
/// Longest text that is looked up.
const LONGEST: usize = 256;

/// A token in hand: shown once to its owner, kept only as its hash.
#[derive(Clone)]
pub struct DialectToken {
    dialect: Dialect,
    text: Zeroizing<String>,
}

impl DialectToken {
    /// A new token, all of it random.
    #[must_use]
    pub fn draw(dialect: Dialect, chance: &Chance) -> Self {
        let text = match dialect {
            Dialect::Cadasta => alphanumeric(chance, KEY),
            // Its contract says 32 hexadecimal digits: 128 bits.
            Dialect::Taxi => Zeroizing::new(crate::keys::hex(&chance.bytes::<16>())),
            Dialect::Canonical | Dialect::Agstack | Dialect::Xhoppe => {
                let bytes = Zeroizing::new(chance.bytes::<32>());
                Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice()))
            }
        };
        Self { dialect, text }
    }

    /// A token that came in. None: it cannot be one.
    #[must_use]
    pub fn presented(dialect: Dialect, text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text.len() <= LONGEST && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self {
            dialect,
            text: Zeroizing::new(text.to_owned()),
        })
    }

    /// The text its owner sees, once.
    #[must_use]
    pub fn expose(&self) -> Zeroizing<String> {
        self.text.clone()
    }

    /// What is stored and looked up.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let mut context = Context::new(&SHA256);
        context.update(self.dialect.as_str().as_bytes());
        context.update(b"\0");
        context.update(self.text.as_bytes());
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        hash
    }
}

impl fmt::Debug for DialectToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DialectToken({})", self.dialect)
    }
}

/// Letters and digits, each as likely as every other.
fn alphanumeric(chance: &Chance, length: usize) -> Zeroizing<String> {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut text = Zeroizing::new(String::with_capacity(length));
    while text.len() < length {
        let bytes = Zeroizing::new(chance.bytes::<32>());
        // What is above the last whole round would make the first letters likelier.
        for byte in bytes.iter().filter(|byte| **byte < 248) {
            if text.len() < length {
                text.push(char::from(ALPHABET[usize::from(byte % 62)]));
            }
        }
    }
    text
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn each_api_has_the_form_its_clients_know() {
        let chance = Chance::seeded(3);
        let text = |dialect| DialectToken::draw(dialect, &chance).expose();
        let key = text(Dialect::Cadasta);
        assert!(
            key.len() == KEY && key.bytes().all(|b| b.is_ascii_alphanumeric()),
            "{key:?}"
        );
        let hex = text(Dialect::Taxi);
        assert!(hex.len() == 32 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
        assert_eq!(text(Dialect::Xhoppe).len(), 43);
        assert_ne!(text(Dialect::Taxi), text(Dialect::Taxi));
    }

    #[test]
    fn the_same_text_is_another_token_in_another_api() {
        let of = |dialect| DialectToken::presented(dialect, "abc").unwrap().hash();
        assert_ne!(of(Dialect::Cadasta), of(Dialect::Xhoppe));
        assert_eq!(of(Dialect::Cadasta), of(Dialect::Cadasta));
        for text in ["", "a b", "\u{e9}", &"a".repeat(257)] {
            assert!(DialectToken::presented(Dialect::Taxi, text).is_none());
        }
    }
}
