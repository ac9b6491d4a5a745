//! What an order to a session leads to.

use super::evolve::{LastRefresh, Live};
use super::{Session, SessionCommand, SessionError, SessionEvent};
use crate::values::{EndReason, Timestamp};

/// How long after a token was spent a second use may be a lost answer: ten seconds, in microseconds.
pub const RETRY_WINDOW: i64 = 10_000_000;

impl Session {
    /// What happens when the session is given an order, or why it is refused.
    pub fn decide(&self, command: SessionCommand) -> Result<Vec<SessionEvent>, SessionError> {
        use SessionCommand as C;

        match (self, command) {
            (
                Self::Absent,
                C::Start {
                    user,
                    dialect,
                    method,
                    idle,
                    life,
                    at,
                },
            ) => {
                let expires_at = at.plus(life);
                Ok(vec![SessionEvent::Started {
                    user,
                    dialect,
                    method,
                    idle_expires_at: at.plus(idle).min(expires_at),
                    expires_at,
                }])
            }
            (Self::Absent, C::Fail { user, dialect }) => Ok(vec![SessionEvent::Failed { user, dialect }]),
            (Self::Absent | Self::Failed, C::Refresh { .. } | C::End { .. }) => Err(SessionError::Unknown),
            (Self::Live(live), C::Refresh { generation, idle, at }) => live.refresh(generation, idle, at),
            (Self::Live(_), C::End { reason, all }) => Ok(vec![SessionEvent::Ended { reason, all }]),
            // Signing out twice is no error: what it asks for is the case. Ending every session is not the case.
            (Self::Ended, C::End { all: false, .. }) => Ok(vec![]),
            (Self::Ended, _) => Err(SessionError::Ended),
            (Self::Live(_) | Self::Failed, C::Start { .. } | C::Fail { .. }) => Err(SessionError::AlreadyExists),
        }
    }
}

impl Live {
    fn refresh(&self, presented: u32, idle: i64, at: Timestamp) -> Result<Vec<SessionEvent>, SessionError> {
        if at >= self.idle_expires_at || at >= self.expires_at {
            return Err(SessionError::Expired);
        }
        if presented > self.generation {
            return Err(SessionError::TokenUnknown);
        }
        if presented == self.generation {
            return Ok(vec![self.next(false, idle, at)]);
        }
        match self.last_refresh {
            Some(last) if at <= last.at.plus(RETRY_WINDOW) && last.concerns(presented) => {
                // Once: an answer was lost and its caller asks again. More often: several callers share
                // the token and one of them has the answer; the others are refused, nothing is stolen.
                if presented == last.spent && last.voided.is_none() {
                    Ok(vec![self.next(true, idle, at)])
                } else {
                    Err(SessionError::ConcurrentUse)
                }
            }
            _ => Ok(vec![
                SessionEvent::ReuseDetected { generation: presented },
                SessionEvent::Ended {
                    reason: EndReason::Reuse,
                    all: false,
                },
            ]),
        }
    }

    fn next(&self, retry: bool, idle: i64, at: Timestamp) -> SessionEvent {
        SessionEvent::Refreshed {
            generation: self.generation.saturating_add(1),
            retry,
            idle_expires_at: at.plus(idle).min(self.expires_at),
            at,
        }
    }
}

impl LastRefresh {
    fn concerns(&self, generation: u32) -> bool {
        generation == self.spent || Some(generation) == self.voided
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use cqrs_es::test::TestFramework;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::values::{Dialect, SessionMethod};

    const SECOND: i64 = 1_000_000;
    const DAY: i64 = 86_400 * SECOND;
    const IDLE: i64 = 7 * DAY;
    const LIFE: i64 = 30 * DAY;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(1_790_000_000_000_000).plus(micros)
    }

    fn user() -> Uuid {
        Uuid::from_u128(1)
    }

    fn start() -> SessionCommand {
        SessionCommand::Start {
            user: user(),
            dialect: Dialect::Canonical,
            method: SessionMethod::Password,
            idle: IDLE,
            life: LIFE,
            at: at(0),
        }
    }

    fn refresh(generation: u32, now: i64) -> SessionCommand {
        SessionCommand::Refresh {
            generation,
            idle: IDLE,
            at: at(now),
        }
    }

    fn end() -> SessionCommand {
        SessionCommand::End {
            reason: EndReason::Logout,
            all: false,
        }
    }

    fn fail() -> SessionCommand {
        SessionCommand::Fail {
            user: user(),
            dialect: Dialect::Canonical,
        }
    }

    impl Session {
        fn then(mut self, command: SessionCommand) -> Self {
            let order = format!("{command:?}");
            let events = self
                .decide(command)
                .unwrap_or_else(|refusal| panic!("{order} was refused: {refusal}"));
            for event in &events {
                self.evolve(event);
            }
            self
        }
    }

    fn started() -> Session {
        Session::default().then(start())
    }

    fn refreshed(generation: u32, retry: bool, now: i64) -> Vec<SessionEvent> {
        let idle_expires_at = at((now + IDLE).min(LIFE));
        vec![SessionEvent::Refreshed {
            generation,
            retry,
            idle_expires_at,
            at: at(now),
        }]
    }

    fn theft(generation: u32) -> Vec<SessionEvent> {
        let ended = SessionEvent::Ended {
            reason: EndReason::Reuse,
            all: false,
        };
        vec![SessionEvent::ReuseDetected { generation }, ended]
    }

    #[tokio::test]
    async fn the_framework_hears_the_same_decisions() {
        let given = Session::default().decide(start()).unwrap();
        TestFramework::<Session>::with(())
            .given(given)
            .when_async(refresh(0, SECOND))
            .await
            .then_expect_events(refreshed(1, false, SECOND));
        TestFramework::<Session>::with(())
            .given_no_previous_events()
            .when_async(end())
            .await
            .then_expect_error(SessionError::Unknown);
    }

    #[test]
    fn a_session_begins_with_the_token_number_0() {
        let session = started();
        assert_eq!((session.user(), session.generation()), (Some(user()), Some(0)));
        assert_eq!(session.decide(start()), Err(SessionError::AlreadyExists));
    }

    #[test]
    fn a_session_never_idles_longer_than_it_lives() {
        let short = SessionCommand::Start {
            user: user(),
            dialect: Dialect::Taxi,
            method: SessionMethod::Password,
            idle: IDLE,
            life: DAY,
            at: at(0),
        };
        let events = Session::default().decide(short).unwrap();
        let [
            SessionEvent::Started {
                idle_expires_at,
                expires_at,
                ..
            },
        ] = &events[..]
        else {
            panic!("{events:?}")
        };
        assert_eq!((*idle_expires_at, *expires_at), (at(DAY), at(DAY)));
    }

    #[test]
    fn the_token_that_works_is_spent_for_the_next_one() {
        assert_eq!(started().decide(refresh(0, DAY)), Ok(refreshed(1, false, DAY)));
        let session = started().then(refresh(0, DAY));
        assert_eq!(session.decide(refresh(1, 2 * DAY)), Ok(refreshed(2, false, 2 * DAY)));
    }

    #[test]
    fn a_lost_answer_may_be_asked_for_once_more_within_ten_seconds() {
        let session = started().then(refresh(0, DAY));
        assert_eq!(
            session.decide(refresh(0, DAY + RETRY_WINDOW)),
            Ok(refreshed(2, true, DAY + RETRY_WINDOW))
        );
        assert_eq!(session.decide(refresh(0, DAY + RETRY_WINDOW + 1)), Ok(theft(0)));
    }

    #[test]
    fn once_the_successor_was_used_its_predecessor_is_a_theft() {
        let session = started().then(refresh(0, DAY)).then(refresh(1, DAY + SECOND));
        assert_eq!(session.decide(refresh(0, DAY + 2 * SECOND)), Ok(theft(0)));
    }

    #[test]
    fn a_third_use_at_the_same_time_is_refused_and_the_session_goes_on() {
        let session = started().then(refresh(0, DAY)).then(refresh(0, DAY + SECOND));
        assert_eq!(
            session.decide(refresh(0, DAY + 2 * SECOND)),
            Err(SessionError::ConcurrentUse)
        );
        assert_eq!(
            session.decide(refresh(2, DAY + 3 * SECOND)),
            Ok(refreshed(3, false, DAY + 3 * SECOND))
        );
    }

    #[test]
    fn a_retry_does_not_keep_the_window_open() {
        let session = started().then(refresh(0, DAY)).then(refresh(0, DAY + 9 * SECOND));
        assert_eq!(session.decide(refresh(0, DAY + 11 * SECOND)), Ok(theft(0)));
    }

    #[test]
    fn the_first_successor_is_void_after_a_retry() {
        let session = started().then(refresh(0, DAY)).then(refresh(0, DAY + SECOND));
        assert_eq!(
            session.decide(refresh(1, DAY + 2 * SECOND)),
            Err(SessionError::ConcurrentUse)
        );
        assert_eq!(session.decide(refresh(1, DAY + 20 * SECOND)), Ok(theft(1)));
    }

    #[test]
    fn a_token_that_was_voided_stays_a_theft_once_its_successor_was_used() {
        let session = started()
            .then(refresh(0, DAY))
            .then(refresh(0, DAY + 1))
            .then(refresh(2, DAY + 2));
        assert_eq!(session.decide(refresh(1, DAY + 3)), Ok(theft(1)));
    }

    #[test]
    fn a_theft_ends_the_session() {
        let session = started()
            .then(refresh(0, DAY))
            .then(refresh(1, 2 * DAY))
            .then(refresh(0, 3 * DAY));
        assert_eq!(session, Session::Ended);
        assert_eq!(session.decide(refresh(2, 3 * DAY)), Err(SessionError::Ended));
    }

    #[test]
    fn a_token_that_was_never_given_out_is_no_theft() {
        assert_eq!(started().decide(refresh(1, SECOND)), Err(SessionError::TokenUnknown));
    }

    #[test]
    fn a_session_that_was_not_used_for_too_long_has_expired() {
        assert!(started().decide(refresh(0, IDLE - 1)).is_ok());
        assert_eq!(started().decide(refresh(0, IDLE)), Err(SessionError::Expired));
    }

    #[test]
    fn a_session_that_is_used_still_ends_when_its_life_is_over() {
        let session = (1..=4u32).fold(started(), |session, week| {
            session.then(refresh(week - 1, i64::from(week) * (IDLE - 1)))
        });
        assert_eq!(session.decide(refresh(4, LIFE - 1)), Ok(refreshed(5, false, LIFE - 1)));
        assert_eq!(session.decide(refresh(4, LIFE)), Err(SessionError::Expired));
    }

    #[test]
    fn ending_twice_changes_nothing() {
        let all = SessionCommand::End {
            reason: EndReason::All,
            all: true,
        };
        let ended = SessionEvent::Ended {
            reason: EndReason::All,
            all: true,
        };
        assert_eq!(started().decide(all.clone()), Ok(vec![ended]));
        assert_eq!(started().then(all.clone()).decide(end()), Ok(vec![]));
        // A session that has ended cannot end the others: to say "done" would be untrue.
        assert_eq!(started().then(end()).decide(all), Err(SessionError::Ended));
        for order in [start(), refresh(0, 0), fail()] {
            assert_eq!(started().then(end()).decide(order), Err(SessionError::Ended));
        }
    }

    #[test]
    fn a_failed_sign_in_is_all_its_stream_holds() {
        let failed = Session::default().then(fail());
        for order in [refresh(0, 0), end()] {
            assert_eq!(failed.decide(order), Err(SessionError::Unknown));
        }
        assert_eq!(failed.decide(start()), Err(SessionError::AlreadyExists));
    }

    proptest! {
        /// However many callers use however many tokens whenever: the number that works only grows, and
        /// of all that were given out exactly one works.
        #[test]
        fn there_is_never_more_than_one_token_that_works(uses in proptest::collection::vec((0..6u32, 0..20 * SECOND), 0..40)) {
            let mut session = started();
            let mut now = 0;
            for (generation, step) in uses {
                now += step;
                let before = session.generation();
                for event in session.decide(refresh(generation, now)).unwrap_or_default() {
                    session.evolve(&event);
                }
                if let (Some(before), Some(after)) = (before, session.generation()) {
                    prop_assert!(after == before || after == before + 1);
                }
                if let Some(works) = session.generation() {
                    let fresh = (0..=works)
                        .filter(|token| matches!(
                            session.decide(refresh(*token, now)).as_deref(),
                            Ok([SessionEvent::Refreshed { retry: false, .. }])
                        ));
                    prop_assert_eq!(fresh.collect::<Vec<_>>(), vec![works]);
                }
            }
        }
    }
}
