//! Short texts of one line that people write: names, notes, a client's own place identifiers.

use std::fmt;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;

use crate::event::facts;

/// Why a text cannot be taken. `what` names the kind of text, never the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing is left of it.
    #[error("{what} must not be empty")]
    Empty {
        /// The kind of text.
        what: &'static str,
    },
    /// It is too long.
    #[error("{what} must not be longer than {max} characters")]
    TooLong {
        /// The kind of text.
        what: &'static str,
        /// How many characters it may have.
        max: usize,
    },
    /// It holds a character that cannot be seen or that turns the writing direction around.
    #[error("{what} must not hold control, invisible or direction-changing characters")]
    Character {
        /// The kind of text.
        what: &'static str,
    },
}

/// Whether a character is no part of a text of one line: it controls, hides, or turns the direction of
/// what follows, so that a reader sees something else than what is stored.
///
/// The zero-width joiners (U+200C, U+200D) stay: names in Persian, Hindi and others need them.
pub(super) fn is_unfit(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061C}' | '\u{200B}' | '\u{200E}' | '\u{200F}'
            | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}'
            | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}'
            | '\u{E0000}'..='\u{E007F}')
        // The last two code points of each plane and this block are never characters.
        || matches!(c, '\u{FDD0}'..='\u{FDEF}')
        || (c as u32 & 0xFFFE) == 0xFFFE
}

/// Trims, composes (NFC) and checks a text of one line. A line break at its end is no blank: it is refused.
fn single_line(what: &'static str, max: usize, text: &str) -> Result<String, TextError> {
    let text: String = text
        .trim_matches(|c: char| c.is_whitespace() && !is_unfit(c))
        .nfc()
        .collect();
    if text.is_empty() {
        Err(TextError::Empty { what })
    } else if text.chars().count() > max {
        Err(TextError::TooLong { what, max })
    } else if text.chars().any(is_unfit) {
        Err(TextError::Character { what })
    } else {
        Ok(text)
    }
}

macro_rules! texts {
    ($( $(#[$meta:meta])* $name:ident, $what:literal, $max:literal, $also:expr; )+) => {$(
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Trims and checks a text.
            pub fn parse(text: &str) -> Result<Self, TextError> {
                let text = single_line($what, $max, text)?;
                let fits: fn(char) -> bool = $also;
                if text.chars().all(fits) { Ok(Self(text)) } else { Err(TextError::Character { what: $what }) }
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = TextError;

            fn try_from(text: String) -> Result<Self, TextError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> Self {
                text.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )+};
}

texts! {
    /// The name of a person, in whatever script: 1 to 130 characters.
    FullName, "a full name", 130, |_| true;
    /// A client's own identifier of a place: 1 to 128 visible characters.
    GeoId, "a geo id", 128, |c| !c.is_whitespace();
    /// What its owner calls an API key: 1 to 64 characters.
    ApiKeyName, "the name of a key", 64, |_| true;
    /// An administrator's words, 1 to 500 characters. A fact where it is the reason of a domain's rule;
    /// a user's events wrap it in `Personal`.
    Note, "a reason", 500, |_| true;
}

facts!(Note);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_full_name_is_trimmed_and_composed() {
        assert_eq!(
            FullName::parse("  Zoe\u{308} Okafor ").unwrap().as_str(),
            "Zo\u{eb} Okafor"
        );
        assert_eq!(FullName::parse("李 小龍").unwrap().as_str(), "李 小龍");
    }

    #[test]
    fn a_full_name_counts_characters_not_bytes() {
        assert!(FullName::parse(&"ж".repeat(130)).is_ok());
        assert_eq!(
            FullName::parse(&"ж".repeat(131)),
            Err(TextError::TooLong {
                what: "a full name",
                max: 130
            })
        );
    }

    #[test]
    fn what_cannot_be_seen_or_turns_the_direction_is_refused() {
        for text in [
            "a\0b",
            "a\nb",
            "a\tb",
            "a\u{202e}b",
            "a\u{2066}b",
            "a\u{feff}b",
            "a\u{200b}b",
            "a\u{fffe}b",
            "a\u{7f}b",
        ] {
            assert_eq!(
                FullName::parse(text),
                Err(TextError::Character { what: "a full name" }),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_joiner_inside_a_name_is_kept() {
        assert!(FullName::parse("علی\u{200c}رضا").is_ok());
    }

    #[test]
    fn blanks_alone_are_no_name() {
        assert_eq!(Note::parse(" \u{3000} "), Err(TextError::Empty { what: "a reason" }));
    }

    #[test]
    fn a_geo_id_holds_no_blanks() {
        assert!(GeoId::parse("geo:52.1,4.3").is_ok());
        assert_eq!(GeoId::parse("a b"), Err(TextError::Character { what: "a geo id" }));
    }

    #[test]
    fn debug_does_not_print_a_name() {
        assert_eq!(
            format!("{:?}", FullName::parse("Ada Lovelace").unwrap()),
            "FullName(..)"
        );
    }

    proptest! {
        #[test]
        fn a_name_once_taken_is_taken_as_it_is(text in "\\PC{0,40}") {
            if let Ok(name) = FullName::parse(&text) {
                prop_assert_eq!(FullName::parse(name.as_str()).unwrap(), name);
            }
        }
    }
}
