//! A country.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A text that is no country code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a country is written as the two capital letters of ISO 3166-1")]
pub struct CountryError;

/// Two capital letters as in ISO 3166-1. Which of them are in use is not asked: countries come and go,
/// events stay.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Country([u8; 2]);

impl Country {
    /// Checks a code.
    pub fn parse(text: &str) -> Result<Self, CountryError> {
        match *text.as_bytes() {
            [a @ b'A'..=b'Z', b @ b'A'..=b'Z'] => Ok(Self([a, b])),
            _ => Err(CountryError),
        }
    }

    /// The code.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // The two bytes are capital letters, so this is always text.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl TryFrom<String> for Country {
    type Error = CountryError;

    fn try_from(text: String) -> Result<Self, CountryError> {
        Self::parse(&text)
    }
}

impl From<Country> for String {
    fn from(country: Country) -> Self {
        country.as_str().to_owned()
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Country(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_country_is_two_capital_letters() {
        assert_eq!(Country::parse("SG").map(String::from), Ok("SG".to_owned()));
        for text in ["", "S", "sg", "SGP", "S1", "É", "ÉG"] {
            assert_eq!(Country::parse(text), Err(CountryError), "{text}");
        }
    }
}
