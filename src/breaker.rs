//! Leaving alone for a while what does not work, a little longer each time.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// What is known of an outside service: whether it is worth asking.
#[derive(Debug)]
pub(crate) struct Breaker<P>(Mutex<Option<Open<P>>>);

#[derive(Debug)]
struct Open<P> {
    until: Instant,
    failures: u32,
    problem: P,
}

impl<P> Default for Breaker<P> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<P: Clone> Breaker<P> {
    /// Whether to ask now; if not, why.
    pub fn ask(&self) -> Result<(), P> {
        self.ask_at(Instant::now())
    }

    fn ask_at(&self, now: Instant) -> Result<(), P> {
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*open {
            Some(open) if now < open.until => Err(open.problem.clone()),
            _ => Ok(()),
        }
    }

    /// It does not work. Gives the problem back.
    pub fn failed(&self, problem: P) -> P {
        self.failed_at(problem, Instant::now())
    }

    fn failed_at(&self, problem: P, now: Instant) -> P {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = open.as_ref().map_or(0, |open| open.failures);
        let pause = FIRST.saturating_mul(1 << failures.min(10)).min(LONGEST);
        *open = Some(Open {
            until: now + pause,
            failures: failures + 1,
            problem: problem.clone(),
        });
        problem
    }

    /// It works.
    pub fn works(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
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
}
