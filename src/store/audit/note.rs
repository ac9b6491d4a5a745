//! Signed notes (C2SP signed-note) and the heads of the log written as such (C2SP tlog-checkpoint).
//!
//! A head is a text of three lines, the log's name, how many events there are, the root in base64, and below an empty
//! line who signed it. Whoever has the public key can check one with any program that knows the form.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use thiserror::Error;

use super::tree::Hash;

/// The kind of key and signature in a note: Ed25519.
const ED25519_NOTE: u8 = 1;
/// A note of ours is much shorter.
const LONGEST: usize = 16 << 10;

/// Why a note is not to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NoteError {
    /// It is not written as signed notes are.
    #[error("is not a signed note")]
    Form,
    /// It is no head of a log.
    #[error("is not the head of a log")]
    Head,
    /// None of the keys at hand signed it.
    #[error("is not signed by a key of this log")]
    Unsigned,
    /// One of the keys at hand is named, but its signature does not hold.
    #[error("bears a signature that does not hold")]
    Signature,
    /// A public key is not written as such keys are.
    #[error("is not a public key such as name+01234567+AAAA…")]
    Key,
}

/// A public key with the name of its log: `name+hash+base64`, the form that C2SP calls a vkey.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    name: String,
    key: [u8; 32],
}

impl PublicKey {
    /// A key of the log with this name.
    #[must_use]
    pub const fn new(name: String, key: [u8; 32]) -> Self {
        Self { name, key }
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(hash), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key);
        };
        let bytes = STANDARD.decode(key).map_err(|_| NoteError::Key)?;
        let [ED25519_NOTE, key @ ..] = bytes.as_slice() else {
            return Err(NoteError::Key);
        };
        let key = Self::new(name.to_owned(), key.try_into().map_err(|_| NoteError::Key)?);
        if name.is_empty() || name.chars().any(char::is_whitespace) || hash != crate::keys::hex(&key.hash()) {
            return Err(NoteError::Key);
        }
        Ok(key)
    }

    /// The name of its log.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The Ed25519 key alone.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.key
    }

    /// The four bytes a signature names it by.
    #[must_use]
    pub fn hash(&self) -> [u8; 4] {
        let text = [self.name.as_bytes(), b"\n", &[ED25519_NOTE], &self.key].concat();
        let mut hash = [0; 4];
        hash.copy_from_slice(&digest(&SHA256, &text).as_ref()[..4]);
        hash
    }

    fn verifies(&self, text: &str, signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, &self.key);
        key.verify(text.as_bytes(), signature).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&[ED25519_NOTE], self.key.as_slice()].concat();
        let hash = crate::keys::hex(&self.hash());
        write!(f, "{}+{hash}+{}", self.name, STANDARD.encode(bytes))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A key that signs for the log with this name.
pub struct NoteKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl fmt::Debug for NoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NoteKey({})", self.public)
    }
}

impl NoteKey {
    /// A key out of its PKCS#8 form.
    pub fn of_pkcs8(name: &str, pkcs8: &[u8]) -> Result<Self, NoteError> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).map_err(|_| NoteError::Key)?;
        let key = pair.public_key().as_ref().try_into().map_err(|_| NoteError::Key)?;
        Ok(Self {
            pair,
            public: PublicKey::new(name.to_owned(), key),
        })
    }

    /// What others check its signatures with.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }
}

/// Signs a text, whose last byte is a line's end.
#[must_use]
pub fn sign(text: &str, keys: &[&NoteKey]) -> String {
    let mut note = format!("{text}\n");
    for key in keys {
        let signature = key.pair.sign(text.as_bytes());
        let bytes = [&key.public.hash(), signature.as_ref()].concat();
        // Writing into a String cannot fail.
        let _ = fmt::Write::write_fmt(
            &mut note,
            format_args!("\u{2014} {} {}\n", key.public.name, STANDARD.encode(bytes)),
        );
    }
    note
}

/// The text of a note that one of these keys signed. Signatures of keys that are not at hand are passed over; of those
/// that are, every one must hold.
pub fn open<'a>(note: &'a str, keys: &[PublicKey]) -> Result<&'a str, NoteError> {
    if note.len() > LONGEST {
        return Err(NoteError::Form);
    }
    let (text, signatures) = note.rsplit_once("\n\n").ok_or(NoteError::Form)?;
    let text = note.get(..=text.len()).ok_or(NoteError::Form)?;
    let signatures = signatures.strip_suffix('\n').ok_or(NoteError::Form)?;
    let mut signed = false;
    for line in signatures.split('\n') {
        let rest = line.strip_prefix("\u{2014} ").ok_or(NoteError::Form)?;
        let (name, signature) = rest.split_once(' ').ok_or(NoteError::Form)?;
        let bytes = STANDARD.decode(signature).map_err(|_| NoteError::Form)?;
        let (hash, signature) = bytes.split_at_checked(4).ok_or(NoteError::Form)?;
        for key in keys.iter().filter(|key| key.name == name && key.hash() == hash) {
            if !key.verifies(text, signature) {
                return Err(NoteError::Signature);
            }
            signed = true;
        }
    }
    if signed { Ok(text) } else { Err(NoteError::Unsigned) }
}

/// What a head says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The log's name.
    pub origin: String,
    /// How many events there are.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

impl Head {
    /// The text that is signed.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    /// Reads the text of a head. It has one form only.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let mut lines = text.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(NoteError::Head);
        };
        let root = STANDARD.decode(root).map_err(|_| NoteError::Head)?;
        let head = Self {
            origin: origin.to_owned(),
            size: size.parse().map_err(|_| NoteError::Head)?,
            root: root.try_into().map_err(|_| NoteError::Head)?,
        };
        if head.origin.is_empty() || head.text() != text {
            return Err(NoteError::Head);
        }
        Ok(head)
    }

    /// The head of a note that one of these keys signed for the log it names.
    pub fn open(note: &str, keys: &[PublicKey]) -> Result<Self, NoteError> {
        let head = Self::parse(open(note, keys)?)?;
        if keys.iter().any(|key| key.name == head.origin) {
            Ok(head)
        } else {
            Err(NoteError::Head)
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

    use super::*;

    /// The example of golang.org/x/mod/sumdb/note, which the C2SP form follows.
    const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const NOTE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    fn key(seed: u8, name: &str) -> NoteKey {
        let prefix = [
            0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
        ];
        NoteKey::of_pkcs8(name, &[prefix.as_slice(), &[seed; 32]].concat()).unwrap()
    }

    #[test]
    fn a_note_of_another_program_opens() {
        let peter = PublicKey::parse(PETER).unwrap();
        assert_eq!(peter.to_string(), PETER);
        assert!(open(NOTE, &[peter]).unwrap().ends_with("your problem is.\n"));
    }

    #[test]
    fn a_head_is_written_in_one_way_and_every_altered_byte_is_noticed() {
        let signer = key(1, "log.example/1");
        let keys = [signer.public().clone()];
        let head = Head {
            origin: "log.example/1".into(),
            size: 42,
            root: [7; 32],
        };
        let note = sign(&head.text(), &[&signer]);
        assert!(
            note.starts_with(
                "log.example/1\n42\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n\n\u{2014} log.example/1 "
            )
        );
        assert_eq!(Head::open(&note, &keys).unwrap(), head);
        for place in 0..note.len() {
            let mut bytes = note.clone().into_bytes();
            bytes[place] ^= 1;
            if let Ok(altered) = String::from_utf8(bytes) {
                assert!(Head::open(&altered, &keys).is_err(), "byte {place}");
            }
        }
    }

    #[test]
    fn a_key_that_is_not_at_hand_proves_nothing_and_spoils_nothing() {
        let (ours, other) = (key(1, "log.example/1"), key(2, "log.example/1"));
        let text = "log.example/1\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
        let both = sign(text, &[&ours, &other]);
        for one in [&ours, &other] {
            assert_eq!(Head::open(&both, &[one.public().clone()]).unwrap().size, 0);
        }
        let alone = sign(text, &[&other]);
        assert_eq!(open(&alone, &[ours.public().clone()]), Err(NoteError::Unsigned));
        assert_eq!(open(&alone, &[]), Err(NoteError::Unsigned));
        let elsewhere = key(3, "elsewhere");
        let moved = sign(text, &[&elsewhere]);
        assert_eq!(Head::open(&moved, &[elsewhere.public().clone()]), Err(NoteError::Head));
    }

    #[test]
    fn what_is_no_note_or_key_is_refused() {
        let keys = [PublicKey::parse(PETER).unwrap()];
        for text in [
            "",
            "\n",
            "\n\n",
            "a\n\n",
            "a\n\nb\n",
            "a\n\n\u{2014} x\n",
            "a\n\n\u{2014} x y\n",
        ] {
            assert_eq!(open(text, &keys), Err(NoteError::Form), "{text:?}");
        }
        assert_eq!(open(&"\n".repeat(LONGEST + 1), &keys), Err(NoteError::Form));
        for text in [
            "",
            "a",
            "a+b+c",
            "+c74f20a3+ARpc",
            &PETER.replace("c74f", "c74e"),
            &PETER[..60],
        ] {
            assert_eq!(PublicKey::parse(text), Err(NoteError::Key), "{text}");
        }
        for text in ["", "a\n", "a\n1\n", "a\n01\nBw==\n", "a\n1\nBw==\n"] {
            assert_eq!(Head::parse(text), Err(NoteError::Head), "{text:?}");
        }
    }
}
