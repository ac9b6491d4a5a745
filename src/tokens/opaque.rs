//! Opaque tokens: 256 random or derived bits under a prefix, with a checksum.
//!
//! The prefix lets a scanner find a leaked token and lets us tell kinds apart; the checksum lets us
//! refuse a mistyped or invented one before any look-up.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use zeroize::{Zeroize, Zeroizing};

/// What a token is for. A token of one kind is none of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OpaqueKind {
    /// Gets another access token.
    Refresh,
    /// Stands for its owner, with the roles given to it.
    ApiKey,
    /// Speaks for a domain.
    Authority,
    /// Proves a device.
    Device,
}

impl OpaqueKind {
    /// What its text begins with.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Refresh => "urr_",
            Self::ApiKey => "urk_",
            Self::Authority => "ura_",
            Self::Device => "urd_",
        }
    }
}

/// The text is no token of this kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no token of this kind")]
pub struct NotAToken;

const SECRET: usize = 32;
/// 32 bytes in base64url.
const BODY: usize = 43;
/// Four bytes in base64url.
const CHECKSUM: usize = 6;

/// A token in hand: shown once to its owner, kept only as its hash.
#[derive(Clone)]
pub struct OpaqueToken {
    kind: OpaqueKind,
    secret: Zeroizing<[u8; SECRET]>,
}

impl OpaqueToken {
    /// The token of these bytes, which are random or derived with a key.
    #[must_use]
    pub fn new(kind: OpaqueKind, mut secret: [u8; SECRET]) -> Self {
        let token = Self {
            kind,
            secret: Zeroizing::new(secret),
        };
        secret.zeroize();
        token
    }

    /// Reads a token of one kind; anything else is refused without a look-up.
    pub fn parse(kind: OpaqueKind, text: &str) -> Result<Self, NotAToken> {
        let rest = text.strip_prefix(kind.prefix()).ok_or(NotAToken)?;
        if rest.len() != BODY + CHECKSUM || !rest.is_ascii() {
            return Err(NotAToken);
        }
        let (body, check) = rest.split_at(BODY);
        if checksum(kind, body) != check {
            return Err(NotAToken);
        }
        let mut secret = Zeroizing::new([0; SECRET]);
        match URL_SAFE_NO_PAD.decode_slice(body, secret.as_mut_slice()) {
            Ok(SECRET) => Ok(Self { kind, secret }),
            _ => Err(NotAToken),
        }
    }

    /// What it is for.
    #[must_use]
    pub fn kind(&self) -> OpaqueKind {
        self.kind
    }

    /// The text its owner sees, once.
    #[must_use]
    pub fn expose(&self) -> Zeroizing<String> {
        let body = Zeroizing::new(URL_SAFE_NO_PAD.encode(self.secret.as_slice()));
        let check = checksum(self.kind, &body);
        Zeroizing::new([self.kind.prefix(), &body, &check].concat())
    }

    /// What is stored and looked up: SHA-256 of the text, so that kinds never meet. No salt and no
    /// slow hash: nobody guesses 256 bits.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, self.expose().as_bytes()).as_ref());
        hash
    }
}

/// The first four bytes of a hash: against typing errors, not against attackers.
fn checksum(kind: OpaqueKind, body: &str) -> String {
    let input = Zeroizing::new([kind.prefix(), body].concat());
    URL_SAFE_NO_PAD.encode(&digest(&SHA256, input.as_bytes()).as_ref()[..4])
}

impl fmt::Debug for OpaqueToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}***", self.kind.prefix())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KINDS: [OpaqueKind; 4] = [
        OpaqueKind::Refresh,
        OpaqueKind::ApiKey,
        OpaqueKind::Authority,
        OpaqueKind::Device,
    ];

    #[test]
    fn the_form_of_a_token_never_changes() {
        let token = OpaqueToken::new(OpaqueKind::ApiKey, [7; 32]);
        insta::assert_snapshot!(*token.expose(), @"urk_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcCirlnQ");
        assert_eq!(token.expose().len(), 4 + BODY + CHECKSUM);
        assert_eq!(format!("{token:?}"), "urk_***");
    }

    #[test]
    fn kinds_never_meet() {
        for kind in KINDS {
            let token = OpaqueToken::new(kind, [7; 32]);
            for other in KINDS.into_iter().filter(|other| *other != kind) {
                assert!(OpaqueToken::parse(other, &token.expose()).is_err());
                let renamed = token.expose().replace(kind.prefix(), other.prefix());
                assert!(OpaqueToken::parse(other, &renamed).is_err());
                assert_ne!(OpaqueToken::new(other, [7; 32]).hash(), token.hash());
            }
        }
    }

    proptest! {
        #[test]
        fn a_token_reads_back_as_itself(secret: [u8; 32]) {
            let token = OpaqueToken::new(OpaqueKind::Refresh, secret);
            let read = OpaqueToken::parse(OpaqueKind::Refresh, &token.expose()).unwrap();
            prop_assert_eq!(read.hash(), token.hash());
        }

        #[test]
        fn one_wrong_character_is_noticed(secret: [u8; 32], at in 0usize..53, to in "[A-Za-z0-9_-]") {
            let text = OpaqueToken::new(OpaqueKind::Refresh, secret).expose();
            let mut wrong = text.to_string();
            wrong.replace_range(at..=at, &to);
            prop_assume!(wrong != *text);
            prop_assert!(OpaqueToken::parse(OpaqueKind::Refresh, &wrong).is_err());
        }

        #[test]
        fn any_other_text_is_refused(text: String) {
            prop_assert!(OpaqueToken::parse(OpaqueKind::Refresh, &text).is_err());
        }
    }
}
