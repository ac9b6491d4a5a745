//! A rate and what it says of the next request: a token bucket kept as one number.
//!
//! The number is the moment at which the bucket will be full again (the "generic cell rate algorithm"). It is all a
//! bucket needs, so a million of them fit into little memory.

use std::time::Duration;

/// So many in so much time; an unused share can be taken at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Its name in the headers.
    pub name: &'static str,
    /// How many.
    pub most: u32,
    /// In how much time.
    pub per: Duration,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// By which rate.
    pub rate: Rate,
    /// Whether it may go on.
    pub allowed: bool,
    /// How many more may come at once.
    pub remaining: u32,
    /// Seconds until the whole share is there again.
    pub reset: u32,
    /// Seconds until the next may come; 0 if it may now.
    pub retry_after: u32,
}

impl Rate {
    /// A rate of at least one.
    #[must_use]
    pub const fn new(name: &'static str, most: u32, per: Duration) -> Self {
        Self {
            name,
            most: if most == 0 { 1 } else { most },
            per,
        }
    }

    /// Decides on a request at `now`, given when the bucket is full again; microseconds. Gives the new moment.
    #[must_use]
    pub fn decide(&self, full_at: i64, now: i64) -> (i64, Verdict) {
        let per = i64::try_from(self.per.as_micros()).unwrap_or(i64::MAX / 4);
        let one = (per / i64::from(self.most)).max(1);
        // A clock that was set back must not shut everybody out until it has caught up.
        let full_at = full_at.clamp(now, now.saturating_add(per));
        let after = full_at + one;
        let allowed = after - now <= per.max(one);
        let next = if allowed { after } else { full_at };
        let left = (per - (next - now)).max(0) / one;
        let verdict = Verdict {
            rate: *self,
            allowed,
            remaining: u32::try_from(left).unwrap_or(u32::MAX).min(self.most),
            reset: seconds(next - now),
            retry_after: if allowed { 0 } else { seconds(after - now - per).max(1) },
        };
        (next, verdict)
    }
}

/// Whole seconds, rounded up.
fn seconds(micros: i64) -> u32 {
    u32::try_from(micros.max(0).saturating_add(999_999) / 1_000_000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn a_share_may_be_taken_at_once_and_comes_back_little_by_little() {
        let rate = Rate::new("r", 3, Duration::from_mins(1));
        let mut full_at = 0;
        let mut ask = |at: i64| {
            let (next, verdict) = rate.decide(full_at, at * SECOND);
            full_at = next;
            verdict
        };
        let left: Vec<u32> = (0..3).map(|_| ask(100).remaining).collect();
        assert_eq!(left, [2, 1, 0]);
        let refused = ask(100);
        assert_eq!((refused.allowed, refused.retry_after, refused.reset), (false, 20, 60));
        assert!(!ask(119).allowed);
        assert!(ask(120).allowed);
        assert_eq!(ask(120).retry_after, 20);
        // Once the share is whole, it is no more than whole.
        assert_eq!(ask(10_000).remaining, 2);
    }

    #[test]
    fn a_clock_set_back_shuts_nobody_out_for_longer_than_the_rate() {
        let rate = Rate::new("r", 1, Duration::from_mins(1));
        let (next, verdict) = rate.decide(1_000_000 * SECOND, 0);
        assert_eq!((verdict.allowed, verdict.retry_after), (false, 60));
        assert!(rate.decide(next, 60 * SECOND).1.allowed);
    }

    proptest! {
        /// However requests are spread, no window of the rate's length holds more than twice the share, and whoever
        /// keeps to the pace is never refused.
        #[test]
        fn no_window_holds_more_than_two_shares(most in 1_u32..20, gaps in proptest::collection::vec(0_i64..20 * SECOND, 1..200)) {
            let rate = Rate::new("r", most, Duration::from_mins(1));
            let (mut full_at, mut now, mut taken) = (0, 0, Vec::new());
            for gap in gaps {
                now += gap;
                let (next, verdict) = rate.decide(full_at, now);
                full_at = next;
                if verdict.allowed {
                    taken.push(now);
                } else {
                    prop_assert!(verdict.retry_after > 0 && verdict.remaining == 0);
                    let later = now + i64::from(verdict.retry_after) * SECOND;
                    prop_assert!(rate.decide(full_at, later).1.allowed);
                }
            }
            for (index, start) in taken.iter().enumerate() {
                let inside = taken[index..].iter().take_while(|at| **at - start < 60 * SECOND).count();
                prop_assert!(inside <= 2 * most as usize);
            }
        }
    }
}
