//! What reading a history or the list of accounts leads to.

use super::{Audit, AuditCommand, AuditError, AuditEvent};
use crate::values::Timestamp;

/// An hour in microseconds.
const HOUR: i64 = 3_600_000_000;

impl Audit {
    #[must_use = "events that are not written have not happened"]
    /// What is remembered of a reading; nothing when it is remembered already or concerns the reader.
    pub fn decide(&self, command: &AuditCommand) -> Result<Vec<AuditEvent>, AuditError> {
        let (AuditCommand::ReadHistory { at, .. } | AuditCommand::ListUsers { at }) = *command;
        // A clock that was set back does not reopen an hour that is over.
        let hour = hour_of(at).max(self.hour);
        let (known, event) = match *command {
            AuditCommand::ReadHistory { of, reader, .. } => (
                of == reader || (self.subjects.contains(&of) && hour == self.hour),
                AuditEvent::HistoryRead { of, hour },
            ),
            AuditCommand::ListUsers { .. } => (self.listed && hour == self.hour, AuditEvent::UsersListed { hour }),
        };
        Ok(if known { vec![] } else { vec![event] })
    }
}

/// Hours since 1970. What lies before counts as the first.
fn hour_of(at: Timestamp) -> u32 {
    u32::try_from(at.as_micros().div_euclid(HOUR)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;
    use uuid::Uuid;

    use super::*;

    const READER: Uuid = Uuid::from_u128(9);

    fn read(of: u128, micros: i64) -> AuditCommand {
        AuditCommand::ReadHistory {
            of: Uuid::from_u128(of),
            reader: READER,
            at: Timestamp::from_micros(micros),
        }
    }

    fn after(commands: &[AuditCommand]) -> Audit {
        let mut audit = Audit::default();
        for command in commands {
            for event in audit.decide(command).unwrap() {
                audit.evolve(&event);
            }
        }
        audit
    }

    #[tokio::test]
    async fn the_framework_hears_the_same_decisions() {
        TestFramework::<Audit>::with(())
            .given_no_previous_events()
            .when_async(read(1, 5 * HOUR))
            .await
            .then_expect_events(vec![AuditEvent::HistoryRead {
                of: Uuid::from_u128(1),
                hour: 5,
            }]);
    }

    #[test]
    fn a_history_is_remembered_once_an_hour() {
        let audit = after(&[read(1, 5 * HOUR)]);
        assert_eq!(audit.decide(&read(1, 6 * HOUR - 1)), Ok(vec![]));
        assert_eq!(audit.decide(&read(1, 6 * HOUR)).map(|events| events.len()), Ok(1));
        assert_eq!(audit.decide(&read(2, 5 * HOUR)).map(|events| events.len()), Ok(1));
    }

    #[test]
    fn a_list_is_remembered_once_an_hour_beside_the_histories() {
        let list = |micros| AuditCommand::ListUsers {
            at: Timestamp::from_micros(micros),
        };
        let listed = |hour| Ok(vec![AuditEvent::UsersListed { hour }]);
        assert_eq!(after(&[read(1, 5 * HOUR)]).decide(&list(5 * HOUR)), listed(5));
        let audit = after(&[read(1, 5 * HOUR), list(5 * HOUR)]);
        assert_eq!(audit.decide(&list(6 * HOUR - 1)), Ok(vec![]));
        assert_eq!(audit.decide(&read(1, 6 * HOUR - 1)), Ok(vec![]));
        assert_eq!(audit.decide(&list(6 * HOUR)), listed(6));
        // A history that is read in the next hour opens it for the list too.
        let audit = after(&[list(5 * HOUR), read(1, 6 * HOUR)]);
        assert_eq!(audit.decide(&list(6 * HOUR)), listed(6));
        assert_eq!(after(&[list(5 * HOUR)]).decide(&list(HOUR)), Ok(vec![]));
    }

    #[test]
    fn reading_ones_own_history_is_not_remembered() {
        assert_eq!(after(&[]).decide(&read(9, HOUR)), Ok(vec![]));
    }

    #[test]
    fn only_the_newest_hour_is_kept() {
        let audit = after(&[read(1, HOUR), read(2, HOUR), read(3, 2 * HOUR)]);
        assert_eq!(audit.subjects.len(), 1);
    }

    #[test]
    fn a_clock_set_back_does_not_reopen_an_hour() {
        let audit = after(&[read(1, 5 * HOUR)]);
        assert_eq!(audit.decide(&read(1, HOUR)), Ok(vec![]));
        let other = AuditEvent::HistoryRead {
            of: Uuid::from_u128(2),
            hour: 5,
        };
        assert_eq!(audit.decide(&read(2, HOUR)), Ok(vec![other]));
    }
}
