//! Messages to somebody: how many may still go.

use serde::{Deserialize, Serialize};

use super::SKEW;

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3_600 * SECOND;
const DAY: i64 = 24 * HOUR;

/// How long what was sent matters, microseconds.
pub const KEPT: i64 = DAY;

/// How many may go; none: any number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowance {
    /// In any minute.
    pub per_minute: Option<usize>,
    /// In any hour.
    pub per_hour: Option<usize>,
    /// On one day, by UTC.
    pub per_day: Option<u32>,
}

/// What has gone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    day: i64,
    of_day: u32,
    /// When each of the last hour went, as far as that is limited.
    latest: Vec<i64>,
}

impl Sent {
    /// Counts one more. False: there is none left, and nothing is counted.
    pub fn take(&mut self, allowance: &Allowance, now: i64) -> bool {
        let today = now.div_euclid(DAY);
        // Around midnight somebody may still come with yesterday's time: that begins no new day.
        if !(today..=today + 1).contains(&self.day) {
            (self.day, self.of_day) = (today, 0);
        }
        // A clock that was set back must not hold anybody up for longer than it has to.
        self.latest.retain(|at| (-SKEW..HOUR).contains(&(now - at)));
        let minute = self.latest.iter().filter(|at| now - **at < 60 * SECOND).count();
        let left = allowance.per_minute.is_none_or(|most| minute < most)
            && allowance.per_hour.is_none_or(|most| self.latest.len() < most)
            && allowance.per_day.is_none_or(|most| self.of_day < most);
        if left {
            self.of_day += 1;
            if allowance.per_minute.is_some() || allowance.per_hour.is_some() {
                self.latest.push(now);
            }
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NUMBER: Allowance = Allowance {
        per_minute: Some(1),
        per_hour: Some(5),
        per_day: Some(10),
    };

    #[test]
    fn one_a_minute_five_an_hour_ten_a_day() {
        let (mut sent, midnight) = (Sent::default(), 20_000 * DAY);
        let mut take = |minute: i64| sent.take(&NUMBER, midnight + minute * 60 * SECOND);
        assert!(take(0) && !take(0));
        assert!((1..5).all(&mut take) && !take(5) && !take(59));
        assert!(take(60) && !take(60));
        assert!((61..65).all(&mut take));
        // Ten have gone.
        assert!(!take(600) && !take(1_439) && take(1_440));
    }

    #[test]
    fn of_those_who_come_at_once_the_one_with_an_older_time_counts_as_the_others_do() {
        let (mut sent, midnight) = (Sent::default(), 20_000 * DAY);
        let all = Allowance {
            per_day: Some(2),
            ..Allowance::default()
        };
        assert!(sent.take(&all, midnight + 5) && sent.take(&all, midnight - 5));
        assert!(!sent.take(&all, midnight + 6) && !sent.take(&all, midnight - 6));
        let mut sent = Sent::default();
        assert!(sent.take(&NUMBER, midnight + 5));
        assert!(!sent.take(&NUMBER, midnight + 4) && !sent.take(&NUMBER, midnight - 5));
        // Unless a clock was really set back.
        assert!(sent.take(&NUMBER, midnight - 2 * HOUR));
    }

    proptest! {
        #[test]
        fn no_hour_has_more_than_its_share(gaps in proptest::collection::vec(0_i64..1_200, 1..300)) {
            let (mut sent, mut now, mut taken) = (Sent::default(), 20_000 * DAY, Vec::new());
            for gap in gaps {
                now += gap * SECOND;
                if sent.take(&NUMBER, now) {
                    taken.push(now);
                }
            }
            for (index, start) in taken.iter().enumerate() {
                let within = |span: i64| taken[index..].iter().filter(|at| **at - start < span).count();
                prop_assert!(within(60 * SECOND) <= 1 && within(HOUR) <= 5);
                prop_assert!(taken.iter().filter(|at| at.div_euclid(DAY) == start.div_euclid(DAY)).count() <= 10);
            }
            prop_assert!(sent.latest.len() <= 5);
        }
    }
}
