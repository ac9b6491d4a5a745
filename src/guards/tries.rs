//! Tries at a secret somebody could guess: how soon the next may come.
//!
//! A try is counted when it begins, before anything is compared, and again when it ends. While nothing has failed, a
//! few may be under way at once: a person has several devices. After a failure there is one at a time, each after a
//! pause that grows with the failures; a right one ends the pauses. In a day there are a hundred that may fail. While
//! the pause is a second, who comes too soon may wait for its end: people mistype, and would take being refused for
//! another mistake.

use serde::{Deserialize, Serialize};

use super::SKEW;

const SECOND: i64 = 1_000_000;
/// How long failures are remembered, microseconds.
pub const WINDOW: i64 = 86_400 * SECOND;
/// Failures in a window.
const MOST: u32 = 100;
/// Failures after which nobody may wait any more.
const PATIENT: u32 = 3;
/// When to ask again while others are under way, microseconds.
const AGAIN: i64 = 20_000;
/// Tries under way at once while nothing has failed.
const AT_ONCE: u32 = 5;
/// A try that has not ended by then never will; it counts as one that failed.
const LOST: i64 = 60 * SECOND;

/// The tries at one secret.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tries {
    /// When the first of this window was.
    window: i64,
    /// Failures since the last right one.
    failures: u32,
    /// Failures in this window.
    total: u32,
    /// How many are under way.
    open: u32,
    /// When the last one began.
    began_at: i64,
    /// When the last one failed.
    failed_at: i64,
}

/// What becomes of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// It may compare.
    Go,
    /// It may ask again after so many microseconds.
    Wait(i64),
    /// It may not.
    Locked,
}

/// How a try ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was right.
    Right,
    /// It was wrong.
    Wrong,
    /// Nothing was compared.
    Void,
}

impl Tries {
    /// Counts a try that is about to compare.
    pub fn start(&mut self, now: i64) -> Start {
        if self.window > now + SKEW || now - self.window >= WINDOW {
            *self = Self {
                window: now,
                ..Self::default()
            };
        }
        if self.open > 0 && now - self.began_at > LOST {
            self.failures += self.open;
            self.total += self.open;
            self.failed_at = self.began_at;
            self.open = 0;
        }
        if self.total + self.open >= MOST {
            return Start::Locked;
        }
        let over_at = self.failed_at + pause(self.failures);
        let full = self.open >= if self.failures > 0 { 1 } else { AT_ONCE };
        if full || now < over_at {
            return if self.failures < PATIENT && over_at - now <= pause(1) {
                Start::Wait(if full { AGAIN } else { over_at - now })
            } else {
                Start::Locked
            };
        }
        self.open += 1;
        self.began_at = now;
        Start::Go
    }

    /// Counts how a try ended.
    pub fn end(&mut self, end: End, now: i64) {
        self.open = self.open.saturating_sub(1);
        match end {
            End::Right => self.failures = 0,
            End::Wrong => {
                self.failures += 1;
                self.total += 1;
                self.failed_at = now;
            }
            End::Void => {}
        }
    }
}

/// How long it is quiet after so many failures (SECURITY-REQUIREMENTS, section 5).
const fn pause(failures: u32) -> i64 {
    let seconds = match failures {
        0 => 0,
        1..3 => 1,
        3..9 => 3,
        9..25 => 5,
        _ => 10,
    };
    seconds * SECOND
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: i64 = 1_700_000_000 * SECOND;

    fn fail(tries: &mut Tries, at: i64) {
        assert_eq!(tries.start(at), Start::Go, "{tries:?} at {}", at - START);
        tries.end(End::Wrong, at);
    }

    #[test]
    fn pauses_grow_with_the_failures_until_the_day_ends() {
        let (mut tries, mut now) = (Tries::default(), START);
        for failures in 1..=100 {
            fail(&mut tries, now);
            let pause = match failures {
                1..3 => 1,
                3..9 => 3,
                9..25 => 5,
                _ => 10,
            };
            now += pause * SECOND;
            let early = if failures < 3 { Start::Wait(1) } else { Start::Locked };
            assert_eq!(tries.start(now - 1), early, "{failures}");
        }
        assert_eq!(tries.start(now + 3_600 * SECOND), Start::Locked);
        assert_eq!(tries.start(START + WINDOW - 1), Start::Locked);
        assert_eq!(tries.start(START + WINDOW), Start::Go);
    }

    #[test]
    fn a_right_one_ends_the_pauses_and_not_the_count_of_the_day() {
        let (mut tries, mut now) = (Tries::default(), START);
        for _ in 0..50 {
            for _ in 0..2 {
                fail(&mut tries, now);
                now += SECOND;
            }
            if tries.start(now) == Start::Go {
                tries.end(End::Right, now);
                assert_eq!(tries.start(now), Start::Go);
                tries.end(End::Void, now);
            }
        }
        assert_eq!(tries.start(now + 60 * SECOND), Start::Locked, "a hundred in one day");
    }

    #[test]
    fn of_a_hundred_at_once_five_compare() {
        let mut tries = Tries::default();
        let started = (0..100).filter(|_| tries.start(START) == Start::Go).count();
        assert_eq!(started, 5);
        tries.end(End::Wrong, START);
        let one_at_a_time = tries.start(START + 2 * SECOND);
        assert_eq!(one_at_a_time, Start::Wait(AGAIN));
        for _ in 0..4 {
            tries.end(End::Wrong, START);
        }
        assert_eq!(tries.start(START + 2 * SECOND), Start::Locked);
    }

    #[test]
    fn one_that_never_ended_has_failed() {
        let mut tries = Tries::default();
        assert_eq!(tries.start(START), Start::Go);
        assert_eq!(tries.start(START + LOST + 1), Start::Go);
        assert_eq!((tries.failures, tries.open), (1, 1));
    }

    #[test]
    fn one_with_an_older_time_forgets_nothing() {
        let mut tries = Tries::default();
        for number in 0..4 {
            tries.start(START - number);
        }
        for number in 0..4 {
            tries.end(End::Wrong, START - number);
        }
        assert_eq!(tries.start(START - 10), Start::Locked);
        assert_eq!((tries.failures, tries.total), (4, 4));
    }

    #[test]
    fn a_clock_set_back_locks_nobody_out() {
        let mut tries = Tries::default();
        fail(&mut tries, START);
        assert_eq!(tries.start(START - 3_600 * SECOND), Start::Go);
    }

    proptest! {
        #[test]
        fn never_more_than_a_hundred_fail_in_a_day(steps in proptest::collection::vec((0_i64..40, 0_u8..4), 1..600)) {
            let (mut tries, mut now, mut failed) = (Tries::default(), START, Vec::new());
            for (seconds, kind) in steps {
                now += seconds * SECOND;
                if tries.start(now) == Start::Go {
                    let end = if kind == 0 { End::Right } else { End::Wrong };
                    tries.end(end, now);
                    if end == End::Wrong {
                        failed.push(now);
                    }
                }
            }
            let day = failed.iter().filter(|at| **at < START + WINDOW).count();
            prop_assert!(day <= 100);
        }
    }
}
