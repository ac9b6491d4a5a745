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
        if self.open > 0 && !(-SKEW..=LOST).contains(&(now - self.began_at)) {
            self.failures += self.open;
            self.total += self.open;
            self.failed_at = self.began_at;
            self.open = 0;
        }
        if self.total + self.open >= MOST {
            return Start::Locked;
        }
        let left = self.left(now);
        let full = self.open >= if self.failures > 0 { 1 } else { AT_ONCE };
        if full || left > 0 {
            return if self.failures < PATIENT {
                Start::Wait(if full { AGAIN } else { left })
            } else {
                Start::Locked
            };
        }
        self.open += 1;
        self.began_at = now;
        Start::Go
    }

    /// How much of the pause is left, microseconds. While nothing has failed there is none. One that began later than now
    /// is of a clock that was set back since, and is over: it cannot begin anew, as only what may compare is written down.
    fn left(&self, now: i64) -> i64 {
        let pause = pause(self.failures);
        match now - self.failed_at {
            before if before < -SKEW => 0,
            since => (pause - since).clamp(0, pause),
        }
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

    #[test]
    fn a_clock_set_back_in_a_window_that_is_hours_old_locks_nobody_out() {
        const HOUR: i64 = 3_600 * SECOND;
        let mut tries = Tries::default();
        fail(&mut tries, START);
        for number in 0..5 {
            fail(&mut tries, START + 5 * HOUR + number * 10 * SECOND);
        }
        assert_eq!(tries.start(START + 4 * HOUR), Start::Go);
        assert_eq!((tries.failures, tries.total), (6, 6), "nothing is forgotten either");
        tries.end(End::Wrong, START + 4 * HOUR);
        // From then on its pauses are those of the clock as it is.
        assert_eq!(tries.start(START + 4 * HOUR + 3 * SECOND - 1), Start::Locked);
        assert_eq!(tries.start(START + 4 * HOUR + 3 * SECOND), Start::Go);
        // That one never ends, and the clock is set back once more.
        assert_eq!(tries.start(START + 3 * HOUR), Start::Go);
        assert_eq!((tries.failures, tries.open), (8, 1));
    }

    #[test]
    fn where_nothing_has_failed_no_clock_makes_a_pause() {
        for back in [1, SECOND, 30 * SECOND, SKEW, SKEW + 1, 3_600 * SECOND] {
            let mut tries = Tries::default();
            fail(&mut tries, START);
            let later = START + 5 * 3_600 * SECOND;
            fail(&mut tries, later);
            assert_eq!(tries.start(later + SECOND), Start::Go);
            tries.end(End::Right, later + SECOND);
            assert_eq!(tries.start(later - back), Start::Go, "{back}");
        }
    }

    /// Whoever mistyped at one replica and comes to another, whose clock is a little behind, may wait as they might
    /// at the first.
    #[test]
    fn a_replica_slightly_behind_makes_nobody_wait_longer_than_a_pause_and_its_delay() {
        let behind = 50_000;
        let mut tries = Tries::default();
        fail(&mut tries, START);
        assert_eq!(tries.start(START - behind), Start::Wait(SECOND));
        assert_eq!(tries.start(START - behind + SECOND), Start::Wait(behind));
        assert_eq!(tries.start(START + SECOND), Start::Go);
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
