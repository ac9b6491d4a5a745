//! The language to write in.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A text that is no locale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a locale is a language with an optional script and region, such as en, pt-BR or zh-Hant-TW")]
pub struct LocaleError;

/// A BCP 47 tag of language, optional script and optional region, in its usual spelling.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Locale(String);

impl Locale {
    /// Reads a tag in any case, with `-` or `_` between its parts.
    pub fn parse(text: &str) -> Result<Self, LocaleError> {
        let mut parts = text.split(['-', '_']).peekable();
        let language = parts.next().filter(|part| letters(part, &[2, 3])).ok_or(LocaleError)?;
        let mut tag = language.to_ascii_lowercase();
        if let Some(script) = parts.next_if(|part| letters(part, &[4])) {
            tag.push('-');
            tag.push_str(&script[..1].to_ascii_uppercase());
            tag.push_str(&script[1..].to_ascii_lowercase());
        }
        if let Some(region) = parts.next_if(|part| letters(part, &[2]) || is_area(part)) {
            tag.push('-');
            tag.push_str(&region.to_ascii_uppercase());
        }
        if parts.next().is_none() {
            Ok(Self(tag))
        } else {
            Err(LocaleError)
        }
    }

    /// The tag.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn letters(part: &str, lengths: &[usize]) -> bool {
    lengths.contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphabetic())
}

/// A region may be a United Nations area code, such as 419 for Latin America.
fn is_area(part: &str) -> bool {
    part.len() == 3 && part.bytes().all(|b| b.is_ascii_digit())
}

impl TryFrom<String> for Locale {
    type Error = LocaleError;

    fn try_from(text: String) -> Result<Self, LocaleError> {
        Self::parse(&text)
    }
}

impl From<Locale> for String {
    fn from(locale: Locale) -> Self {
        locale.0
    }
}

impl fmt::Debug for Locale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Locale(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_gets_its_usual_spelling() {
        for (typed, tag) in [
            ("EN", "en"),
            ("pt_br", "pt-BR"),
            ("zh-hant-tw", "zh-Hant-TW"),
            ("es-419", "es-419"),
            ("yue", "yue"),
        ] {
            assert_eq!(Locale::parse(typed).map(String::from), Ok(tag.to_owned()));
        }
    }

    #[test]
    fn anything_else_is_no_locale() {
        for text in [
            "",
            "e",
            "english",
            "en-",
            "-en",
            "en-USA",
            "en-US-x",
            "en-US-posix",
            "e1",
            "en us",
            "д",
        ] {
            assert_eq!(Locale::parse(text), Err(LocaleError), "{text}");
        }
    }
}
