//! A moment, to the microsecond.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use crate::event::facts;

/// 0001-01-01T00:00:00Z.
const FIRST: i64 = -62_135_596_800_000_000;
/// 9999-12-31T23:59:59.999999Z.
const LAST: i64 = 253_402_300_799_999_999;

/// A text that is no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimestampError {
    /// It is not written as RFC 3339 says.
    #[error("a time is written as RFC 3339 says, such as 2026-11-20T03:08:47.848577Z")]
    Form,
    /// It lies outside the years 1 to 9999.
    #[error("a time lies within the years 1 to 9999")]
    Range,
}

/// A moment in microseconds since 1970, between the years 1 and 9999, so that it always has an
/// RFC 3339 form.
///
/// Everywhere it is text, the text is UTC with exactly six digits after the second: equal times are
/// equal texts, and texts sort as times do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(i64);

facts!(Timestamp);

impl Timestamp {
    /// The moment so many microseconds after 1970 began; the nearest one that can be written, if it
    /// lies beyond the years 1 to 9999.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        if micros < FIRST {
            Self(FIRST)
        } else if micros > LAST {
            Self(LAST)
        } else {
            Self(micros)
        }
    }

    /// Microseconds since 1970.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// The moment so many microseconds later (or earlier).
    #[must_use]
    pub const fn plus(self, micros: i64) -> Self {
        Self::from_micros(self.0.saturating_add(micros))
    }

    /// Reads RFC 3339 with any offset. Digits beyond the microsecond are dropped.
    pub fn parse(text: &str) -> Result<Self, TimestampError> {
        let time = DateTime::parse_from_rfc3339(text).map_err(|_| TimestampError::Form)?;
        let micros = time.timestamp_micros();
        if (FIRST..=LAST).contains(&micros) {
            Ok(Self(micros))
        } else {
            Err(TimestampError::Range)
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every moment between FIRST and LAST has a calendar form, so the default is never taken.
        let time = DateTime::<Utc>::from_timestamp_micros(self.0).unwrap_or_default();
        f.write_str(&time.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Timestamp {
    type Error = TimestampError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> Self {
        time.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_time_is_written_in_utc_with_six_digits() {
        let time = Timestamp::parse("2026-11-20T05:08:47.8+02:00").unwrap();
        assert_eq!(time.to_string(), "2026-11-20T03:08:47.800000Z");
        assert_eq!(serde_json::to_string(&time).unwrap(), "\"2026-11-20T03:08:47.800000Z\"");
        assert_eq!(Timestamp::from_micros(0).to_string(), "1970-01-01T00:00:00.000000Z");
    }

    #[test]
    fn digits_beyond_the_microsecond_are_dropped() {
        let time = Timestamp::parse("1970-01-01T00:00:00.0000019Z").unwrap();
        assert_eq!(time.as_micros(), 1);
    }

    #[test]
    fn a_text_without_an_offset_is_no_time() {
        for text in ["2026-11-20T03:08:47", "2026-11-20", "", "now", "42"] {
            assert_eq!(Timestamp::parse(text), Err(TimestampError::Form), "{text}");
        }
    }

    #[test]
    fn adding_stops_at_the_end_of_the_year_9999() {
        let last = Timestamp::from_micros(i64::MAX);
        assert_eq!(last.to_string(), "9999-12-31T23:59:59.999999Z");
        assert_eq!(last.plus(i64::MAX), last);
        assert_eq!(
            Timestamp::from_micros(i64::MIN).to_string(),
            "0001-01-01T00:00:00.000000Z"
        );
    }

    #[test]
    fn an_offset_may_not_carry_a_time_out_of_the_calendar() {
        assert_eq!(
            Timestamp::parse("9999-12-31T23:59:59-01:00"),
            Err(TimestampError::Range)
        );
        assert_eq!(Timestamp::parse("0000-06-01T00:00:00Z"), Err(TimestampError::Range));
    }

    proptest! {
        #[test]
        fn any_time_reads_back_as_itself(micros: i64) {
            let time = Timestamp::from_micros(micros);
            prop_assert_eq!(Timestamp::parse(&time.to_string()), Ok(time));
        }

        #[test]
        fn texts_sort_as_times_do(a: i64, b: i64) {
            let (a, b) = (Timestamp::from_micros(a), Timestamp::from_micros(b));
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }
    }
}
