//! A password on its way to a hash.

use std::fmt;

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

/// Most code points, after normalisation.
pub const MOST_CHARACTERS: usize = 128;
/// Most bytes of UTF-8, after normalisation.
pub const MOST_BYTES: usize = 1024;
/// Most bytes as typed: decomposed text shrinks when normalised, but not without end.
const MOST_TYPED: usize = 4 * MOST_BYTES;

/// A password, normalised (NFKC) so that every keyboard spells it alike. Never printed, wiped when
/// dropped, never cut short.
///
/// Its least length is a rule for new passwords (see `rules`), not for ones that are tried.
#[derive(Clone, PartialEq, Eq)]
pub struct Password {
    text: Zeroizing<String>,
    typed: Option<Zeroizing<String>>,
}

/// The text can be no password. The error does not hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Nothing was typed.
    #[error("a password must not be empty")]
    Empty,
    /// It is beyond what is hashed.
    #[error("a password has at most {MOST_CHARACTERS} characters and {MOST_BYTES} bytes")]
    TooLong,
}

impl PasswordError {
    /// A stable word for programs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooLong => "too-long",
        }
    }
}

impl Password {
    /// Normalises and measures what was typed.
    pub fn parse(typed: &str) -> Result<Self, PasswordError> {
        if typed.is_empty() {
            return Err(PasswordError::Empty);
        }
        if typed.len() > MOST_TYPED {
            return Err(PasswordError::TooLong);
        }
        // Room for every case at once: growing would leave copies of the password behind.
        let mut text = Zeroizing::new(String::with_capacity(MOST_BYTES));
        for (index, character) in typed.nfkc().enumerate() {
            if index >= MOST_CHARACTERS || text.len() + character.len_utf8() > MOST_BYTES {
                return Err(PasswordError::TooLong);
            }
            text.push(character);
        }
        let typed = (*text != typed).then(|| Zeroizing::new(typed.to_owned()));
        Ok(Self { text, typed })
    }

    /// The normalised text, for hashing and for the rules.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The text as typed, for hashes made by systems that did not normalise.
    #[must_use]
    pub fn expose_typed(&self) -> &str {
        self.typed.as_ref().unwrap_or(&self.text)
    }

    /// Its length in code points.
    #[must_use]
    pub fn characters(&self) -> usize {
        self.text.chars().count()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn every_keyboard_spells_a_password_alike() {
        let composed = Password::parse("caf\u{e9} \u{2460}").unwrap();
        let decomposed = Password::parse("cafe\u{301} 1").unwrap();
        assert_eq!(composed.expose(), decomposed.expose());
        assert_eq!(composed.expose_typed(), "caf\u{e9} \u{2460}");
        assert_eq!(composed.characters(), 6);
    }

    #[test]
    fn a_password_is_refused_rather_than_cut() {
        assert!(Password::parse(&"a".repeat(128)).is_ok());
        assert_eq!(Password::parse(&"a".repeat(129)), Err(PasswordError::TooLong));
        assert!(Password::parse(&"\u{1f600}".repeat(128)).is_ok());
        // One code point that becomes eighteen.
        assert_eq!(Password::parse(&"\u{fdfa}".repeat(8)), Err(PasswordError::TooLong));
        assert_eq!(Password::parse(&"e\u{301}".repeat(129)), Err(PasswordError::TooLong));
        assert!(Password::parse(&"e\u{301}".repeat(128)).is_ok());
        assert_eq!(Password::parse(&"a".repeat(10 << 20)), Err(PasswordError::TooLong));
        assert_eq!(Password::parse(""), Err(PasswordError::Empty));
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Password::parse("hunter22").unwrap()), "Password");
    }
}
