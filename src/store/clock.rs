//! The one place that reads the system's clock.
//!
//! Everything else is told the time, so that a test can set it and the whole service can run in a
//! simulation. Durations that steer nothing lasting (a wait, a measurement) use `Instant` directly.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use aggregates::values::Timestamp;

/// Tells the time. Cheap to clone; clones of a test's clock move together.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Test(Arc<AtomicI64>),
}

impl Clock {
    /// The machine's own clock.
    #[must_use]
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still until it is moved.
    #[must_use]
    pub fn test(start: Timestamp) -> Self {
        Self(Source::Test(Arc::new(AtomicI64::new(start.as_micros()))))
    }

    /// The present time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => system_time(),
            Source::Test(micros) => Timestamp::from_micros(micros.load(Ordering::SeqCst)),
        }
    }

    /// Moves a test's clock to a time, forward or back. The machine's clock is not ours to move.
    pub fn set(&self, time: Timestamp) {
        if let Source::Test(micros) = &self.0 {
            micros.store(time.as_micros(), Ordering::SeqCst);
        }
    }

    /// Moves a test's clock by so many seconds.
    pub fn advance(&self, seconds: i64) {
        if let Source::Test(micros) = &self.0 {
            micros.fetch_add(seconds.saturating_mul(1_000_000), Ordering::SeqCst);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that may")]
fn system_time() -> Timestamp {
    let now = SystemTime::now();
    // A clock before 1970 is wrong but no reason to stop.
    let micros = match now.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |us| -us),
    };
    Timestamp::from_micros(micros)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_tests_clock_stands_still_until_it_is_moved() {
        let clock = Clock::test(Timestamp::from_micros(5));
        let other = clock.clone();
        assert_eq!(clock.now(), clock.now());
        other.advance(2);
        assert_eq!(clock.now(), Timestamp::from_micros(2_000_005));
        clock.set(Timestamp::from_micros(1));
        assert_eq!(other.now(), Timestamp::from_micros(1));
    }

    #[test]
    fn the_systems_clock_cannot_be_moved() {
        let clock = Clock::system();
        clock.set(Timestamp::from_micros(0));
        clock.advance(-1_000_000_000);
        assert!(clock.now() > Timestamp::parse("2025-01-01T00:00:00Z").unwrap());
    }
}
