//! The domains table and its blocked single addresses.

use aggregates::domain::DomainEvent;
use aggregates::values::{AddressKey, Note, StandingKind, Timestamp};

use crate::Recorded;

/// One domain that was seen, allowed or blocked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainRow {
    /// A-label name, which is also its stream.
    pub name: String,
    /// The number of events in its stream.
    pub version: i64,
    /// The log position of its last event.
    pub position: i64,
    /// Allowed, blocked or merely observed.
    pub standing: StandingKind,
    /// Whether the standing covers subdomains.
    pub include_subdomains: bool,
    /// Why, if a reason was given.
    pub reason: Option<String>,
    /// Whether control of it was proved.
    pub proved: bool,
    /// When its current authority token was issued.
    pub authority_token_issued: Option<Timestamp>,
    /// When it was first seen.
    pub created_at: Timestamp,
    /// The log position of the event that allowed or blocked it; 0 while it is merely observed.
    pub rule_position: i64,
}

/// One address that may not register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockedAddressRow {
    /// The keyed hash of its canonical form.
    pub address: String,
    /// Its domain.
    pub domain: String,
    /// The log position of the rule.
    pub position: i64,
    /// Why, if a reason was given.
    pub reason: Option<String>,
}

impl DomainRow {
    /// The row after an event of the domain's stream. Every event makes the domain known: an
    /// administrator may block a domain before anybody registered from it.
    #[must_use]
    pub fn fold(row: Option<Self>, at: &Recorded<'_, DomainEvent>) -> Option<Self> {
        let mut row = row.unwrap_or_else(|| Self {
            name: at.aggregate_id.to_owned(),
            version: 0,
            position: 0,
            standing: StandingKind::Observed,
            include_subdomains: false,
            reason: None,
            proved: false,
            authority_token_issued: None,
            created_at: at.at,
            rule_position: 0,
        });
        row.version = at.sequence;
        row.position = at.position;
        match at.event {
            DomainEvent::Allowed {
                include_subdomains,
                reason,
            } => {
                row.stand(StandingKind::Allowed, *include_subdomains, reason.as_ref());
                row.rule_position = at.position;
            }
            DomainEvent::Blocked {
                include_subdomains,
                reason,
            } => {
                row.stand(StandingKind::Blocked, *include_subdomains, reason.as_ref());
                row.rule_position = at.position;
            }
            DomainEvent::Unblocked { reason } => {
                row.stand(StandingKind::Observed, false, reason.as_ref());
                row.rule_position = 0;
            }
            DomainEvent::AuthorityTokenIssued { .. } | DomainEvent::AuthorityTokenRotated { .. } => {
                row.authority_token_issued = Some(at.at);
            }
            DomainEvent::AuthorityTokenRevoked { .. } => row.authority_token_issued = None,
            DomainEvent::Proved { .. } => row.proved = true,
            DomainEvent::Observed {}
            | DomainEvent::AddressBlocked { .. }
            | DomainEvent::AddressUnblocked { .. }
            | DomainEvent::ProofRequested { .. } => {}
        }
        Some(row)
    }

    fn stand(&mut self, standing: StandingKind, include_subdomains: bool, reason: Option<&Note>) {
        self.standing = standing;
        self.include_subdomains = include_subdomains;
        self.reason = text(reason);
    }
}

impl BlockedAddressRow {
    /// The row of one address after an event of its domain's stream; events about another address
    /// leave it as it is.
    #[must_use]
    pub fn fold(row: Option<Self>, at: &Recorded<'_, DomainEvent>) -> Option<Self> {
        let other = |row: &Self, address: &AddressKey| row.address != address.as_str();
        match (at.event, row) {
            (
                DomainEvent::AddressBlocked { address, .. } | DomainEvent::AddressUnblocked { address, .. },
                Some(row),
            ) if other(&row, address) => Some(row),
            (
                DomainEvent::AddressBlocked {
                    address,
                    display: _,
                    reason,
                },
                _,
            ) => Some(Self {
                address: address.as_str().to_owned(),
                domain: at.aggregate_id.to_owned(),
                position: at.position,
                reason: text(reason.as_ref()),
            }),
            (DomainEvent::AddressUnblocked { .. }, _) => None,
            (_, row) => row,
        }
    }
}

fn text(reason: Option<&Note>) -> Option<String> {
    reason.map(|reason| reason.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use aggregates::event::BlockedAddress;
    use aggregates::values::ProofValue;
    use uuid::Uuid;

    use super::*;
    use crate::fixtures::{at, recorded};

    const FARM: &str = "farm.example";

    fn reason() -> Option<Note> {
        Note::parse("spam").ok()
    }

    fn blocked() -> DomainEvent {
        DomainEvent::Blocked {
            include_subdomains: true,
            reason: reason(),
        }
    }

    /// The row after these events, the first at position 1.
    fn domain(events: &[DomainEvent]) -> DomainRow {
        (1..)
            .zip(events)
            .fold(None, |row, (position, event)| {
                DomainRow::fold(row, &recorded(FARM, event, position))
            })
            .unwrap()
    }

    #[test]
    fn whatever_comes_first_makes_the_domain_known() {
        let observed = domain(&[DomainEvent::Observed {}]);
        assert_eq!(
            (observed.name.as_str(), observed.standing, observed.position),
            (FARM, StandingKind::Observed, 1)
        );
        assert_eq!(domain(&[blocked()]).standing, StandingKind::Blocked);
    }

    #[test]
    fn the_newest_standing_stands_with_its_reason() {
        let row = domain(&[
            blocked(),
            DomainEvent::Allowed {
                include_subdomains: false,
                reason: None,
            },
        ]);
        assert_eq!(
            (row.standing, row.include_subdomains, row.reason),
            (StandingKind::Allowed, false, None)
        );
        let row = domain(&[DomainEvent::Observed {}, blocked()]);
        assert_eq!((row.include_subdomains, row.reason.as_deref()), (true, Some("spam")));
        assert_eq!((row.created_at, row.position), (at(1_000_000), 2));
    }

    #[test]
    fn an_unblocked_domain_is_merely_known() {
        let row = domain(&[blocked(), DomainEvent::Unblocked { reason: None }]);
        assert_eq!((row.standing, row.include_subdomains), (StandingKind::Observed, false));
    }

    #[test]
    fn a_rule_stays_where_it_was_made() {
        let token = DomainEvent::AuthorityTokenIssued {
            token_id: Uuid::from_u128(1),
        };
        let unblocked = DomainEvent::Unblocked { reason: None };
        let row = domain(&[DomainEvent::Observed {}, blocked(), token.clone()]);
        assert_eq!((row.rule_position, row.position), (2, 3));
        assert_eq!(
            domain(&[DomainEvent::Observed {}, blocked(), token.clone(), blocked()]).rule_position,
            4
        );
        assert_eq!(domain(&[blocked(), unblocked, token]).rule_position, 0);
    }

    #[test]
    fn an_authority_token_is_as_old_as_its_last_rotation() {
        let (token_id, previous) = (Uuid::from_u128(2), Uuid::from_u128(1));
        let issued = DomainEvent::AuthorityTokenIssued { token_id: previous };
        let rotated = DomainEvent::AuthorityTokenRotated { token_id, previous };
        let revoked = DomainEvent::AuthorityTokenRevoked { token_id };
        assert_eq!(
            domain(&[issued.clone(), rotated.clone()]).authority_token_issued,
            Some(at(2_000_000))
        );
        assert_eq!(domain(&[issued, rotated, revoked]).authority_token_issued, None);
    }

    #[test]
    fn a_proof_proves_only_once_it_was_found() {
        let value = ProofValue::parse("user-registry-proof=abc").unwrap();
        let asked = DomainEvent::ProofRequested { value: value.clone() };
        assert!(!domain(std::slice::from_ref(&asked)).proved);
        assert!(domain(&[asked, DomainEvent::Proved { value }]).proved);
    }

    fn address(digit: &str) -> AddressKey {
        AddressKey::parse(&digit.repeat(64)).unwrap()
    }

    fn address_blocked(digit: &str) -> DomainEvent {
        DomainEvent::AddressBlocked {
            address: address(digit),
            display: BlockedAddress::unknown(),
            reason: reason(),
        }
    }

    fn address_row() -> Option<BlockedAddressRow> {
        BlockedAddressRow::fold(None, &recorded(FARM, &address_blocked("a"), 4))
    }

    #[test]
    fn a_blocked_address_has_a_row_until_it_is_unblocked() {
        let row = address_row().unwrap();
        assert_eq!(
            (row.address.as_str(), row.domain.as_str()),
            (address("a").as_str(), FARM)
        );
        assert_eq!((row.position, row.reason.as_deref()), (4, Some("spam")));
        let unblocked = DomainEvent::AddressUnblocked {
            address: address("a"),
            reason: None,
        };
        assert_eq!(
            BlockedAddressRow::fold(address_row(), &recorded(FARM, &unblocked, 5)),
            None
        );
    }

    #[test]
    fn events_about_another_address_or_none_leave_the_row_as_it_is() {
        let unblocked = DomainEvent::AddressUnblocked {
            address: address("b"),
            reason: None,
        };
        for event in [unblocked, address_blocked("b"), blocked()] {
            assert_eq!(
                BlockedAddressRow::fold(address_row(), &recorded(FARM, &event, 5)),
                address_row()
            );
        }
    }

    #[test]
    fn blocking_an_address_leaves_the_standing_of_its_domain() {
        let row = domain(&[DomainEvent::Observed {}, address_blocked("a")]);
        assert_eq!((row.standing, row.position), (StandingKind::Observed, 2));
    }
}
