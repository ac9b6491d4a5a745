//! Leaving alone for a while what does not work, a little longer each time.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// What is known of an outside service: whether it is worth asking.
#[derive(Debug)]
pub(crate) struct Breaker<P>(Mutex<Known<P>>);

#[derive(Debug)]
struct Known<P> {
    open: Option<Open<P>>,
    /// What it took last and gave no answer to, if nothing was answered since.
    unanswered: Option<u128>,
}

#[derive(Debug)]
struct Open<P> {
    until: Instant,
    failures: u32,
    problem: P,
}

impl<P> Default for Breaker<P> {
    fn default() -> Self {
        Self(Mutex::new(Known {
            open: None,
            unanswered: None,
        }))
    }
}

impl<P: Clone> Breaker<P> {
    /// Whether to ask now; if not, why.
    pub fn ask(&self) -> Result<(), P> {
        self.ask_at(Instant::now())
    }

    fn ask_at(&self, now: Instant) -> Result<(), P> {
        match &self.known().open {
            Some(open) if now < open.until => Err(open.problem.clone()),
            _ => Ok(()),
        }
    }

    /// It does not work. Gives the problem back.
    pub fn failed(&self, problem: P) -> P {
        self.failed_at(problem, Instant::now())
    }

    fn failed_at(&self, problem: P, now: Instant) -> P {
        let mut known = self.known();
        let failures = known.open.as_ref().map_or(0, |open| open.failures);
        let pause = FIRST.saturating_mul(1 << failures.min(10)).min(LONGEST);
        known.open = Some(Open {
            until: now + pause,
            failures: failures + 1,
            problem: problem.clone(),
        });
        problem
    }

    /// It took something and gave no answer to it. That may lie in the one thing; when another one fares like that, and
    /// nothing was answered in between, it does not work.
    pub fn unanswered(&self, about: u128, problem: P) -> P {
        self.unanswered_at(about, problem, Instant::now())
    }

    fn unanswered_at(&self, about: u128, problem: P, now: Instant) -> P {
        match self.known().unanswered.replace(about) {
            Some(before) if before != about => {}
            Some(_) | None => return problem,
        }
        self.failed_at(problem, now)
    }

    /// It works.
    pub fn works(&self) {
        let mut known = self.known();
        (known.open, known.unanswered) = (None, None);
    }

    fn known(&self) -> MutexGuard<'_, Known<P>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_left_alone_longer_each_time_and_asked_at_once_when_it_works_again() {
        let breaker = Breaker::default();
        let mut now = Instant::now();
        let problem = || "away";
        let mut pauses = Vec::new();
        for _ in 0..7 {
            assert_eq!(breaker.ask_at(now), Ok(()));
            breaker.failed_at(problem(), now);
            assert_eq!(breaker.ask_at(now), Err(problem()));
            let before = now;
            while breaker.ask_at(now).is_err() {
                now += Duration::from_millis(500);
            }
            pauses.push((now - before).as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        breaker.failed_at(problem(), now);
        breaker.works();
        assert_eq!(breaker.ask_at(now), Ok(()));
    }

    #[test]
    fn one_thing_without_an_answer_is_that_things_and_two_in_a_row_are_not() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        let unanswered = |about| {
            assert_eq!(breaker.unanswered_at(about, "silent", now), "silent");
            breaker.ask_at(now)
        };
        for _ in 0..3 {
            assert_eq!(unanswered(1), Ok(()), "the same thing again");
        }
        breaker.works();
        assert_eq!(unanswered(2), Ok(()), "others were answered");
        assert_eq!(unanswered(3), Err("silent"));
        let mut later = now + FIRST;
        assert_eq!(breaker.ask_at(later), Ok(()));
        breaker.unanswered_at(4, "silent", later);
        later += FIRST;
        assert_eq!(breaker.ask_at(later), Err("silent"), "left alone longer each time");
    }
}
