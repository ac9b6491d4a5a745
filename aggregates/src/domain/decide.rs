//! What an order to a domain leads to.

use uuid::Uuid;

use super::{Domain, DomainCommand, DomainError, DomainEvent};
use crate::values::{Note, ProofValue, StandingKind};

impl Domain {
    /// What happens when the domain is given an order, or why it is refused. An order that changes
    /// nothing is no error and leads to no event.
    pub fn decide(&self, command: DomainCommand) -> Result<Vec<DomainEvent>, DomainError> {
        use DomainCommand as C;

        match command {
            C::Observe => Ok(if self.exists() {
                vec![]
            } else {
                vec![DomainEvent::Observed {}]
            }),
            C::Allow {
                include_subdomains,
                reason,
            } => {
                let same = self.stands(StandingKind::Allowed, include_subdomains, reason.as_ref());
                Ok(if same {
                    vec![]
                } else {
                    vec![DomainEvent::Allowed {
                        include_subdomains,
                        reason,
                    }]
                })
            }
            C::Block {
                include_subdomains,
                reason,
            } => {
                let same = self.stands(StandingKind::Blocked, include_subdomains, reason.as_ref());
                Ok(if same {
                    vec![]
                } else {
                    vec![DomainEvent::Blocked {
                        include_subdomains,
                        reason,
                    }]
                })
            }
            C::Unblock { reason } => match self.standing {
                None => Err(DomainError::Unknown),
                Some(StandingKind::Blocked) => Ok(vec![DomainEvent::Unblocked { reason }]),
                Some(StandingKind::Allowed | StandingKind::Observed) => Ok(vec![]),
            },
            C::BlockAddress {
                address,
                display,
                reason,
            } => {
                let same = self.blocked_addresses.get(&address) == Some(&reason);
                Ok(if same {
                    vec![]
                } else {
                    vec![DomainEvent::AddressBlocked {
                        address,
                        display: display.into(),
                        reason,
                    }]
                })
            }
            C::UnblockAddress { .. } if !self.exists() => Err(DomainError::Unknown),
            C::UnblockAddress { address, reason } => Ok(if self.blocks_address(&address) {
                vec![DomainEvent::AddressUnblocked { address, reason }]
            } else {
                vec![]
            }),
            C::IssueAuthorityToken { token_id } => self.issue_token(token_id),
            C::RotateAuthorityToken { token_id } => match self.authority_token {
                Some(previous) if previous == token_id => Ok(vec![]),
                Some(previous) => Ok(vec![DomainEvent::AuthorityTokenRotated { token_id, previous }]),
                None => Err(DomainError::NoAuthorityToken),
            },
            C::RevokeAuthorityToken => match self.authority_token {
                Some(token_id) => Ok(vec![DomainEvent::AuthorityTokenRevoked { token_id }]),
                None if self.exists() => Ok(vec![]),
                None => Err(DomainError::Unknown),
            },
            C::RequestProof { value } => Ok(if self.open_proof.as_ref() == Some(&value) {
                vec![]
            } else {
                vec![DomainEvent::ProofRequested { value }]
            }),
            C::Prove { value } => self.prove(value),
        }
    }

    fn stands(&self, standing: StandingKind, include_subdomains: bool, reason: Option<&Note>) -> bool {
        self.standing == Some(standing)
            && self.include_subdomains == include_subdomains
            && self.reason.as_ref() == reason
    }

    fn issue_token(&self, token_id: Uuid) -> Result<Vec<DomainEvent>, DomainError> {
        match self.authority_token {
            None => Ok(vec![DomainEvent::AuthorityTokenIssued { token_id }]),
            Some(present) if present == token_id => Ok(vec![]),
            Some(_) => Err(DomainError::AuthorityTokenExists),
        }
    }

    fn prove(&self, value: ProofValue) -> Result<Vec<DomainEvent>, DomainError> {
        if self.open_proof.as_ref() == Some(&value) {
            Ok(vec![DomainEvent::Proved { value }])
        } else if self.proved.as_ref() == Some(&value) {
            Ok(vec![])
        } else {
            Err(DomainError::NoOpenProof)
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use cqrs_es::test::TestFramework;

    use super::*;
    use crate::values::{AddressKey, Email};

    const ISSUE: DomainCommand = DomainCommand::IssueAuthorityToken {
        token_id: Uuid::from_u128(1),
    };
    const ROTATE: DomainCommand = DomainCommand::RotateAuthorityToken {
        token_id: Uuid::from_u128(2),
    };
    const REVOKE: DomainCommand = DomainCommand::RevokeAuthorityToken;
    const UNBLOCK: DomainCommand = DomainCommand::Unblock { reason: None };

    fn reason(text: &str) -> Note {
        Note::parse(text).unwrap()
    }

    fn allow(include_subdomains: bool) -> DomainCommand {
        DomainCommand::Allow {
            include_subdomains,
            reason: None,
        }
    }

    fn block(include_subdomains: bool, why: &str) -> DomainCommand {
        DomainCommand::Block {
            include_subdomains,
            reason: Some(reason(why)),
        }
    }

    fn key() -> AddressKey {
        AddressKey::parse(&"ab".repeat(32)).unwrap()
    }

    fn block_address(why: &str) -> DomainCommand {
        let display = Email::parse("mallory@farm.example").unwrap();
        DomainCommand::BlockAddress {
            address: key(),
            display,
            reason: Some(reason(why)),
        }
    }

    fn unblock_address() -> DomainCommand {
        DomainCommand::UnblockAddress {
            address: key(),
            reason: None,
        }
    }

    fn value(text: &str) -> ProofValue {
        ProofValue::parse(text).unwrap()
    }

    impl Domain {
        fn then(mut self, command: DomainCommand) -> Self {
            self.events(command).iter().for_each(|event| self.evolve(event));
            self
        }

        fn events(&self, command: DomainCommand) -> Vec<DomainEvent> {
            let order = format!("{command:?}");
            self.decide(command)
                .unwrap_or_else(|refusal| panic!("{order} was refused: {refusal}"))
        }
    }

    fn domain() -> Domain {
        Domain::default()
    }

    #[tokio::test]
    async fn the_framework_hears_the_same_decisions() {
        TestFramework::<Domain>::with(())
            .given(vec![DomainEvent::Observed {}])
            .when_async(block(true, "spam"))
            .await
            .then_expect_events(vec![DomainEvent::Blocked {
                include_subdomains: true,
                reason: Some(reason("spam")),
            }]);
        TestFramework::<Domain>::with(())
            .given_no_previous_events()
            .when_async(ROTATE)
            .await
            .then_expect_error(DomainError::NoAuthorityToken);
    }

    #[test]
    fn a_domain_is_observed_only_when_nothing_is_known_of_it() {
        assert_eq!(domain().events(DomainCommand::Observe), [DomainEvent::Observed {}]);
        for known in [
            domain().then(DomainCommand::Observe),
            domain().then(block(true, "spam")),
            domain().then(ISSUE),
        ] {
            assert_eq!(known.events(DomainCommand::Observe), []);
        }
    }

    #[test]
    fn a_domain_can_be_blocked_before_anybody_came_from_it() {
        let blocked = domain().then(block(true, "spam"));
        assert_eq!(blocked.standing(), Some(StandingKind::Blocked));
        assert!(blocked.include_subdomains());
        assert_eq!(blocked.reason(), Some(&reason("spam")));
    }

    #[test]
    fn the_same_terms_again_change_nothing_and_others_do() {
        let blocked = domain().then(block(true, "spam"));
        assert_eq!(blocked.events(block(true, "spam")), []);
        assert_eq!(blocked.events(block(false, "spam")).len(), 1);
        assert_eq!(blocked.events(block(true, "fraud")).len(), 1);
        let allowed = domain().then(allow(true));
        assert_eq!(allowed.events(allow(true)), []);
        assert_eq!(allowed.events(allow(false)).len(), 1);
    }

    #[test]
    fn the_newest_of_allow_and_block_is_the_standing() {
        let allowed = domain().then(block(true, "spam")).then(allow(false));
        assert_eq!(
            (allowed.standing(), allowed.include_subdomains()),
            (Some(StandingKind::Allowed), false)
        );
        assert_eq!(
            allowed.then(block(true, "spam")).standing(),
            Some(StandingKind::Blocked)
        );
    }

    #[test]
    fn an_unblocked_domain_is_merely_known() {
        let unblocked = domain().then(block(true, "spam")).then(UNBLOCK);
        assert_eq!(
            (unblocked.standing(), unblocked.include_subdomains()),
            (Some(StandingKind::Observed), false)
        );
        assert_eq!(unblocked.events(UNBLOCK), []);
        assert_eq!(domain().then(allow(true)).events(UNBLOCK), []);
    }

    #[test]
    fn what_nobody_knows_cannot_be_unblocked() {
        for order in [UNBLOCK, unblock_address(), REVOKE] {
            assert_eq!(domain().decide(order), Err(DomainError::Unknown));
        }
    }

    #[test]
    fn a_single_address_is_blocked_and_unblocked_once() {
        let blocked = domain().then(block_address("abuse"));
        assert!(blocked.blocks_address(&key()));
        assert_eq!(blocked.standing(), Some(StandingKind::Observed));
        assert_eq!(blocked.events(block_address("abuse")), []);
        assert_eq!(blocked.events(block_address("fraud")).len(), 1);
        let unblocked = blocked.then(unblock_address());
        assert!(!unblocked.blocks_address(&key()));
        assert_eq!(unblocked.events(unblock_address()), []);
    }

    #[test]
    fn an_address_stays_blocked_when_its_domain_is_allowed() {
        assert!(
            domain()
                .then(block_address("abuse"))
                .then(allow(true))
                .blocks_address(&key())
        );
    }

    #[test]
    fn a_domain_has_at_most_one_authority_token() {
        let other = DomainCommand::IssueAuthorityToken {
            token_id: Uuid::from_u128(3),
        };
        let issued = domain().then(ISSUE);
        assert_eq!(issued.authority_token(), Some(Uuid::from_u128(1)));
        assert_eq!(issued.events(ISSUE), []);
        assert_eq!(issued.decide(other.clone()), Err(DomainError::AuthorityTokenExists));
        assert_eq!(issued.then(REVOKE).events(other).len(), 1);
    }

    #[test]
    fn rotating_names_the_token_it_replaces() {
        let rotated = DomainEvent::AuthorityTokenRotated {
            token_id: Uuid::from_u128(2),
            previous: Uuid::from_u128(1),
        };
        assert_eq!(domain().then(ISSUE).events(ROTATE), [rotated]);
        assert_eq!(domain().then(ISSUE).then(ROTATE).events(ROTATE), []);
        assert_eq!(
            domain().then(ISSUE).then(REVOKE).decide(ROTATE),
            Err(DomainError::NoAuthorityToken)
        );
    }

    #[test]
    fn revoking_twice_changes_nothing() {
        let revoked = DomainEvent::AuthorityTokenRevoked {
            token_id: Uuid::from_u128(1),
        };
        assert_eq!(domain().then(ISSUE).events(REVOKE), [revoked]);
        assert_eq!(domain().then(ISSUE).then(REVOKE).events(REVOKE), []);
    }

    #[test]
    fn only_the_value_asked_for_last_proves_a_domain() {
        let (first, second) = (value("first-value-of-a-proof"), value("second-value-of-a-proof"));
        let asked = domain()
            .then(DomainCommand::RequestProof { value: first.clone() })
            .then(DomainCommand::RequestProof { value: second.clone() });
        assert_eq!(asked.open_proof(), Some(&second));
        assert_eq!(asked.events(DomainCommand::RequestProof { value: second.clone() }), []);
        assert_eq!(
            asked.decide(DomainCommand::Prove { value: first }),
            Err(DomainError::NoOpenProof)
        );
        let proved = asked.then(DomainCommand::Prove { value: second.clone() });
        assert!(proved.is_proved());
        assert_eq!(proved.events(DomainCommand::Prove { value: second }), []);
    }
}
