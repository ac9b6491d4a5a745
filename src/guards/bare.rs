//! Guesses that name nobody: how many may fail before such guesses are not taken at all.
//!
//! A guess is counted before it is compared, and taken back if it was right.

use serde::{Deserialize, Serialize};

use super::SKEW;

const MINUTE: i64 = 60_000_000;

/// So many in so much time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// How many come in before no more is taken.
    pub most: usize,
    /// In how much time, microseconds.
    pub within: i64,
    /// How long after the last of them nothing more is taken; 0: until the first of them is old enough.
    pub off: i64,
}

/// Failures from one address.
pub const FROM_ADDRESS: Bound = Bound {
    most: 5,
    within: 15 * MINUTE,
    off: 0,
};
/// Failures from everywhere: more than 50 switch it off, so the 51st is the last to be answered.
pub const FROM_ALL: Bound = Bound {
    most: 51,
    within: 10 * MINUTE,
    off: 10 * MINUTE,
};
/// Codes of one account that were burnt, for a day.
pub const BURNT: Bound = Bound {
    most: 3,
    within: 1_440 * MINUTE,
    off: 0,
};

/// What happened lately.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lately {
    at: Vec<i64>,
    off_until: i64,
}

impl Lately {
    /// Whether one more may come; else the seconds to wait.
    pub fn admits(&mut self, bound: &Bound, now: i64) -> Result<(), u32> {
        // A clock that was set back must not hold anybody up for longer than it has to.
        self.at.retain(|at| (-SKEW..bound.within).contains(&(now - at)));
        if self.off_until > now && self.off_until - now <= bound.off + SKEW {
            return Err(seconds(self.off_until - now));
        }
        if self.at.len() < bound.most {
            return Ok(());
        }
        if bound.off > 0 {
            // Whoever comes first after the last of them switches it off, from then on.
            let last = self.at.iter().max().copied().unwrap_or(now).min(now);
            self.off_until = last + bound.off;
            self.at.clear();
            return Err(seconds(self.off_until - now));
        }
        Err(seconds(self.at[0] + bound.within - now))
    }

    /// Counts one.
    pub fn count(&mut self, now: i64) {
        self.at.push(now);
    }

    /// Takes one back.
    pub fn take_back(&mut self) {
        self.at.pop();
    }
}

fn seconds(micros: i64) -> u32 {
    u32::try_from(micros.max(0).div_euclid(1_000_000) + 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_may_fail_in_a_quarter_of_an_hour() {
        let (mut lately, start) = (Lately::default(), 1_000 * MINUTE);
        for _ in 0..5 {
            assert_eq!(lately.admits(&FROM_ADDRESS, start), Ok(()));
            lately.count(start);
        }
        assert!(lately.admits(&FROM_ADDRESS, start + 14 * MINUTE).is_err());
        assert_eq!(lately.admits(&FROM_ADDRESS, start + 15 * MINUTE), Ok(()));
    }

    #[test]
    fn more_than_fifty_switch_it_off_for_ten_minutes() {
        let (mut lately, start) = (Lately::default(), 1_000 * MINUTE);
        for number in 1..=51 {
            assert_eq!(lately.admits(&FROM_ALL, start), Ok(()), "{number}");
            lately.count(start);
        }
        assert_eq!(lately.admits(&FROM_ALL, start + MINUTE), Err(541));
        assert_eq!(lately.admits(&FROM_ALL, start + 10 * MINUTE - 1), Err(1));
        assert_eq!(lately.admits(&FROM_ALL, start + 10 * MINUTE), Ok(()));
    }

    #[test]
    fn a_right_one_is_taken_back() {
        let mut lately = Lately::default();
        for _ in 0..20 {
            assert_eq!(lately.admits(&FROM_ADDRESS, 1), Ok(()));
            lately.count(1);
            lately.take_back();
        }
    }
}
