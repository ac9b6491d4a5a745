//! The sessions table: one row per sign-in that has not been forgotten.

use aggregates::session::SessionEvent;
use aggregates::values::{Dialect, Timestamp};
use uuid::Uuid;

use crate::Recorded;

/// How long it is kept where a request came from, microseconds: 90 days (security requirements, section 9). A month
/// goes as one, when its first moment is that old.
pub const ORIGIN_LIFE: i64 = 90 * 86_400 * 1_000_000;

/// One sign-in. A session that ended, or whose user was erased, has no row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// The session's id, which is also its stream.
    pub id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// The number of events in its stream.
    pub version: i64,
    /// The log position of its start; compared with the user's `session_epoch`.
    pub started_position: i64,
    /// The API it was opened through.
    pub dialect: Dialect,
    /// When it started.
    pub started_at: Timestamp,
    /// Its start or its last refresh.
    pub last_seen_at: Timestamp,
    /// When the current refresh token stops working if it is not used.
    pub idle_expires_at: Timestamp,
    /// When it ends at the latest.
    pub expires_at: Timestamp,
    /// The number of the current refresh token.
    pub generation: i64,
    /// The address it was started from, while it is kept.
    pub ip: Option<String>,
    /// The program it was started with, while it is kept.
    pub user_agent: Option<String>,
}

impl SessionRow {
    /// The row after an event of the session's stream. A stream that only remembers a failed sign-in
    /// has no row.
    #[must_use]
    pub fn fold(row: Option<Self>, at: &Recorded<'_, SessionEvent>) -> Option<Self> {
        match at.event {
            SessionEvent::Started {
                user,
                dialect,
                method: _,
                idle_expires_at,
                expires_at,
            } => Some(Self {
                id: at.stream_id()?,
                user_id: *user,
                version: at.sequence,
                started_position: at.position,
                dialect: *dialect,
                started_at: at.at,
                last_seen_at: at.at,
                idle_expires_at: *idle_expires_at,
                expires_at: *expires_at,
                generation: 0,
                ip: at.ip.map(str::to_owned),
                user_agent: at.user_agent.map(str::to_owned),
            }),
            SessionEvent::Refreshed {
                generation,
                retry: _,
                idle_expires_at,
                at: _,
            } => row.map(|row| Self {
                version: at.sequence,
                generation: i64::from(*generation),
                idle_expires_at: *idle_expires_at,
                last_seen_at: at.at,
                ..row.without_the_past(at.at)
            }),
            SessionEvent::ReuseDetected { .. } => row.map(|row| Self {
                version: at.sequence,
                ..row.without_the_past(at.at)
            }),
            SessionEvent::Ended { .. } | SessionEvent::Failed { .. } => None,
        }
    }

    /// The row without its origin once that is past its retention: whoever still remembers the row as it was must not
    /// write it back.
    fn without_the_past(self, now: Timestamp) -> Self {
        // "2026-11-21T…": the text form is fixed, so months compare as texts.
        let month = |at: Timestamp| at.to_string().get(..7).map(str::to_owned);
        if month(self.started_at) <= month(now.plus(-ORIGIN_LIFE)) {
            Self {
                ip: None,
                user_agent: None,
                ..self
            }
        } else {
            self
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use aggregates::values::{EndReason, SessionMethod};

    use super::*;
    use crate::fixtures::{HOUR, at, id, recorded};

    const SESSION: &str = "00000000-0000-0000-0000-0000000000bb";

    fn started() -> SessionRow {
        let started = SessionEvent::Started {
            user: id(1),
            dialect: Dialect::Cadasta,
            method: SessionMethod::Password,
            idle_expires_at: at(HOUR),
            expires_at: at(9 * HOUR),
        };
        SessionRow::fold(None, &recorded(SESSION, &started, 7)).unwrap()
    }

    #[test]
    fn a_sign_in_makes_a_row_that_remembers_where_it_came_from() {
        let row = started();
        assert_eq!(row.id.to_string(), SESSION);
        assert_eq!((row.user_id, row.dialect, row.generation), (id(1), Dialect::Cadasta, 0));
        assert_eq!(
            (row.started_position, row.started_at, row.last_seen_at),
            (7, at(7_000_000), at(7_000_000))
        );
        assert_eq!(
            (row.ip.as_deref(), row.user_agent.as_deref()),
            (Some("192.0.2.1"), Some("browser"))
        );
    }

    #[test]
    fn a_refresh_moves_the_token_and_the_time_but_not_the_beginning() {
        let refreshed = SessionEvent::Refreshed {
            generation: 1,
            retry: false,
            idle_expires_at: at(2 * HOUR),
            at: at(HOUR),
        };
        let row = SessionRow::fold(Some(started()), &recorded(SESSION, &refreshed, 9)).unwrap();
        let expected = SessionRow {
            generation: 1,
            idle_expires_at: at(2 * HOUR),
            last_seen_at: at(9_000_000),
            ..started()
        };
        assert_eq!(row, expected);
    }

    #[test]
    fn a_refresh_past_the_retention_forgets_where_the_session_came_from() {
        let refreshed = SessionEvent::Refreshed {
            generation: 1,
            retry: false,
            idle_expires_at: at(2 * HOUR),
            at: at(HOUR),
        };
        let started = SessionRow {
            started_at: Timestamp::parse("2026-01-15T12:00:00Z").unwrap(),
            ..started()
        };
        // The first moment of that January is ninety days old on 1 April.
        let april = Timestamp::parse("2026-04-01T00:00:00Z").unwrap();
        for (moment, kept) in [(april.plus(-1), true), (april, false)] {
            for event in [&refreshed, &SessionEvent::ReuseDetected { generation: 0 }] {
                let event = Recorded {
                    at: moment,
                    ..recorded(SESSION, event, 9)
                };
                let row = SessionRow::fold(Some(started.clone()), &event).unwrap();
                assert_eq!((row.ip.is_some(), row.user_agent.is_some()), (kept, kept), "{moment}");
            }
        }
    }

    #[test]
    fn a_session_that_ended_or_never_began_has_no_row() {
        let ended = SessionEvent::Ended {
            reason: EndReason::Logout,
            all: false,
        };
        let failed = SessionEvent::Failed {
            user: id(1),
            dialect: Dialect::Canonical,
        };
        assert_eq!(SessionRow::fold(Some(started()), &recorded(SESSION, &ended, 9)), None);
        assert_eq!(SessionRow::fold(None, &recorded(SESSION, &failed, 9)), None);
    }

    #[test]
    fn a_theft_counts_until_the_end_that_follows_it() {
        let reuse = SessionEvent::ReuseDetected { generation: 0 };
        assert_eq!(
            SessionRow::fold(Some(started()), &recorded(SESSION, &reuse, 9)),
            Some(started())
        );
        assert_eq!(SessionRow::fold(None, &recorded(SESSION, &reuse, 9)), None);
    }
}
