//! Values the registry makes itself: keyed hashes, and what a domain publishes to prove itself.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::event::facts;

/// A text that is no keyed hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a keyed hash is written as 64 lower-case hexadecimal digits")]
pub struct KeyError;

/// A text that cannot be the value of a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the value of a domain proof is 16 to 128 letters, digits and the characters = _ - . :")]
pub struct ProofValueError;

macro_rules! strings {
    ($( $(#[$meta:meta])* $name:ident, $error:ident, $fits:expr; )+) => {$(
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks a text.
            pub fn parse(text: &str) -> Result<Self, $error> {
                Self::try_from(text.to_owned())
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = $error;

            fn try_from(text: String) -> Result<Self, $error> {
                let fits: fn(&str) -> bool = $fits;
                if fits(&text) { Ok(Self(text)) } else { Err($error) }
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )+};
}

strings! {
    /// The keyed hash of a device's id.
    DeviceKey, KeyError, is_hash;
    /// The keyed hash of an address's canonical form. Without the key nobody can tell whose it is, so it
    /// is a fact: a blocked address stays recognisable after its display form is gone.
    AddressKey, KeyError, is_hash;
    /// What the owner of a domain publishes in DNS to prove control of it.
    ProofValue, ProofValueError, is_proof;
}

facts!(AddressKey, ProofValue);

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_proof(text: &str) -> bool {
    (16..=128).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'=' | b'_' | b'-' | b'.' | b':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_has_64_lower_case_digits() {
        assert!(AddressKey::parse(&"0f".repeat(32)).is_ok());
        for text in ["", "0f", &"0F".repeat(32), &"0g".repeat(32), &"0f".repeat(33)] {
            assert_eq!(DeviceKey::parse(text), Err(KeyError));
        }
    }

    #[test]
    fn the_value_of_a_proof_needs_no_quoting_in_dns() {
        assert!(ProofValue::parse("user-registry-proof=Zm9vYmFy_-").is_ok());
        for text in [
            "short",
            "with blank and more",
            "quote\"quote\"quote\"quote",
            &"x".repeat(129),
        ] {
            assert_eq!(ProofValue::parse(text), Err(ProofValueError));
        }
    }
}
