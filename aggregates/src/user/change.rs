//! Taking another address or another number.

use uuid::Uuid;

use super::links::{Outgoing, same_link};
use super::open::permit;
use super::{OpenLink, RequestLink, User, UserError, UserEvent};
use crate::values::{Email, Phone, Standing, Timestamp};

impl User {
    pub(super) fn request_email_change(
        &self,
        email: Email,
        standing: &Standing,
        link: &RequestLink,
    ) -> Result<Vec<UserEvent>, UserError> {
        if self.email.as_ref() == Some(&email) {
            return Ok(vec![]);
        }
        permit(standing)?;
        let out = Outgoing::again(same_link(self.open_email_change.as_ref(), &email), link);
        Ok(vec![UserEvent::EmailChangeRequested {
            request: link.request,
            original: out.original,
            email: email.into(),
            previous: self.email.clone().into(),
            dialect: link.dialect,
            issued_at: out.issued_at,
            expires_at: out.expires_at,
        }])
    }

    /// Nobody is told of another address where there was none, and nothing that was proved is given up for it.
    pub(super) fn take_email(
        &self,
        email: Email,
        standing: &Standing,
        link: &RequestLink,
    ) -> Result<Vec<UserEvent>, UserError> {
        if self.email.is_some() {
            return self.request_email_change(email, standing, link);
        }
        permit(standing)?;
        let out = Outgoing::fresh(link);
        Ok(vec![
            UserEvent::EmailAdded {
                email: email.clone().into(),
            },
            UserEvent::EmailVerificationRequested {
                request: link.request,
                original: out.original,
                email: email.into(),
                dialect: link.dialect,
                issued_at: out.issued_at,
                expires_at: out.expires_at,
            },
        ])
    }

    pub(super) fn confirm_email_change(
        &self,
        original: Uuid,
        standing: &Standing,
        at: Timestamp,
    ) -> Result<Vec<UserEvent>, UserError> {
        let opens = |open: &&OpenLink| open.original == original && at < open.expires_at;
        if let Some(open) = self.open_email_change.as_ref().filter(opens) {
            permit(standing)?;
            return Ok(vec![UserEvent::EmailChanged {
                original: Some(original),
                email: open.email.clone().into(),
                previous: self.email.clone().into(),
            }]);
        }
        let visited = |spent: &(Uuid, Email)| spent.0 == original && self.email.as_ref() == Some(&spent.1);
        if self.spent_email_change.as_ref().is_some_and(visited) {
            Ok(vec![])
        } else {
            Err(UserError::NoOpenRequest)
        }
    }

    pub(super) fn change_phone(&self, phone: Phone) -> Vec<UserEvent> {
        if self.phone.as_ref() == Some(&phone) {
            return vec![];
        }
        vec![UserEvent::PhoneChanged {
            phone: phone.into(),
            previous: self.phone.clone().into(),
        }]
    }
}

#[cfg(test)]
mod tests {
    use crate::user::fixtures::{
        HOUR, MINUTE, ada, at, email, grace, id, link, other_phone, phone, refused, registered, tim, verified_ada,
    };
    use crate::user::{Phase, User, UserCommand, UserError, UserEvent};
    use crate::values::{Channel, LockReason, RuleKind, Standing};

    fn ask(address: &str, request: u128, now: i64) -> UserCommand {
        UserCommand::RequestEmailChange {
            email: email(address),
            standing: Standing::Allowed,
            link: link(request, now),
        }
    }

    fn confirm(original: u128, now: i64) -> UserCommand {
        UserCommand::ConfirmEmailChange {
            original: id(original),
            standing: Standing::Allowed,
            at: at(now),
        }
    }

    fn original(events: &[UserEvent]) -> uuid::Uuid {
        match events {
            [UserEvent::EmailChangeRequested { original, .. }] => *original,
            _ => unreachable!("{events:?}"),
        }
    }

    fn asked() -> User {
        verified_ada().then(ask("ada@new.example", 5, HOUR))
    }

    #[test]
    fn a_new_address_waits_for_its_link_and_is_then_verified() {
        let asked = asked();
        assert_eq!(asked.email(), Some(&email("ada@farm.example")));
        let changed = asked.events(confirm(5, HOUR + 1));
        let expected = UserEvent::EmailChanged {
            original: Some(id(5)),
            email: email("ada@new.example").into(),
            previous: email("ada@farm.example").into(),
        };
        assert_eq!(changed, [expected]);
        let ada = asked.then(confirm(5, HOUR + 1));
        assert_eq!(ada.email(), Some(&email("ada@new.example")));
        assert!(ada.email_verified());
    }

    #[test]
    fn the_request_names_the_address_so_far() {
        let events = verified_ada().events(ask("ada@new.example", 5, HOUR));
        assert!(matches!(&events[..], [UserEvent::EmailChangeRequested { previous, .. }]
            if previous.known() == Some(&email("ada@farm.example"))));
    }

    #[test]
    fn asking_for_the_address_one_has_changes_nothing() {
        assert_eq!(verified_ada().events(ask("ada@farm.example", 5, HOUR)), []);
    }

    #[test]
    fn the_standing_of_the_new_address_counts() {
        for (kind, is_address) in [(RuleKind::Blocked, false), (RuleKind::AddressBlocked, true)] {
            let (standing, rule) = refused(kind);
            let order = UserCommand::RequestEmailChange {
                email: email("ada@new.example"),
                standing,
                link: link(5, HOUR),
            };
            let refusal = verified_ada().refusal(order);
            let expected = if is_address {
                UserError::AddressBlocked { rule }
            } else {
                UserError::DomainBlocked { rule }
            };
            assert_eq!(refusal, expected);
        }
    }

    #[test]
    fn an_address_that_was_blocked_since_is_not_taken() {
        let (standing, rule) = refused(RuleKind::Blocked);
        let order = |standing| UserCommand::ConfirmEmailChange {
            original: id(5),
            standing,
            at: at(HOUR + 1),
        };
        assert_eq!(
            asked().refusal(order(standing.clone())),
            UserError::DomainBlocked { rule }
        );
        // What has happened is not undone: the link that was used already still changes nothing.
        let changed = asked().then(order(Standing::Allowed));
        assert_eq!(changed.events(order(standing)), []);
    }

    #[test]
    fn a_young_request_for_the_same_address_sends_the_same_link() {
        assert_eq!(original(&asked().events(ask("ada@new.example", 6, HOUR + 1))), id(5));
        assert_eq!(
            original(&asked().events(ask("ada@new.example", 6, HOUR + HOUR / 2))),
            id(6)
        );
    }

    #[test]
    fn a_request_for_another_address_voids_the_one_before() {
        let ada = asked().then(ask("ada@third.example", 6, HOUR + 1));
        assert_eq!(ada.refusal(confirm(5, HOUR + 2)), UserError::NoOpenRequest);
        assert_eq!(ada.events(confirm(6, HOUR + 2)).len(), 1);
    }

    #[test]
    fn a_wrong_or_late_link_changes_nothing() {
        assert_eq!(asked().refusal(confirm(6, HOUR + 1)), UserError::NoOpenRequest);
        assert_eq!(asked().refusal(confirm(5, 2 * HOUR)), UserError::NoOpenRequest);
        assert_eq!(verified_ada().refusal(confirm(5, HOUR)), UserError::NoOpenRequest);
    }

    #[test]
    fn opening_the_very_link_that_changed_the_address_again_changes_nothing() {
        let ada = asked().then(confirm(5, HOUR + 1));
        assert_eq!(ada.spent_email_change(), Some((id(5), &email("ada@new.example"))));
        assert_eq!(ada.events(confirm(5, HOUR + 2)), []);
    }

    #[test]
    fn a_changed_address_voids_the_links_of_the_one_before() {
        let ada = registered(ada())
            .then(UserCommand::RequestPasswordReset {
                channel: Channel::Mail,
                link: link(4, 1),
            })
            .then(ask("ada@new.example", 5, 2))
            .then(confirm(5, 3));
        assert_eq!(ada.phase(), Phase::Active);
        let reset = UserCommand::ResetPassword {
            original: id(4),
            at: at(4),
        };
        assert_eq!(ada.refusal(reset), UserError::NoOpenRequest);
        let verify = UserCommand::VerifyEmail {
            original: id(1),
            at: at(4),
        };
        assert_eq!(ada.refusal(verify), UserError::NoOpenRequest);
    }

    #[test]
    fn the_link_that_verified_the_address_before_is_spent() {
        let ada = asked().then(confirm(5, HOUR + 1));
        let verify = UserCommand::VerifyEmail {
            original: id(1),
            at: at(HOUR + 2),
        };
        assert_eq!(ada.refusal(verify), UserError::NoOpenRequest);
    }

    #[test]
    fn a_changed_password_voids_a_request_for_another_address() {
        let ada = asked().then(UserCommand::ChangePassword { kept_session: None });
        assert_eq!(ada.refusal(confirm(5, HOUR + 1)), UserError::NoOpenRequest);
    }

    #[test]
    fn an_account_without_an_address_may_take_one() {
        let tim = registered(tim())
            .then(ask("tim@farm.example", 5, 0))
            .then(confirm(5, 1));
        assert_eq!(tim.email(), Some(&email("tim@farm.example")));
    }

    fn take(address: &str, request: u128, now: i64) -> UserCommand {
        UserCommand::TakeEmail {
            email: email(address),
            standing: Standing::Allowed,
            link: link(request, now),
        }
    }

    fn verify(original: u128, now: i64) -> UserCommand {
        UserCommand::VerifyEmail {
            original: id(original),
            at: at(now),
        }
    }

    #[test]
    fn where_there_was_no_address_one_is_taken_at_once_unverified() {
        let events = registered(tim()).events(take("tim@farm.example", 5, 0));
        let [
            UserEvent::EmailAdded { email: taken },
            UserEvent::EmailVerificationRequested {
                original,
                email: asked,
                expires_at,
                ..
            },
        ] = &events[..]
        else {
            unreachable!("{events:?}");
        };
        assert_eq!(taken.known(), Some(&email("tim@farm.example")));
        assert_eq!((asked, *original, *expires_at), (taken, id(5), at(HOUR)));
        let tim = registered(tim()).then(take("tim@farm.example", 5, 0));
        assert_eq!(
            (tim.email(), tim.email_verified(), tim.phase()),
            (Some(&email("tim@farm.example")), false, Phase::Active)
        );
        let tim = tim.then(verify(5, HOUR - 1));
        assert!(tim.email_verified());
        assert_eq!(tim.events(verify(5, HOUR)), []);
    }

    #[test]
    fn an_address_that_was_taken_voids_the_one_that_was_asked_for() {
        let tim = registered(tim())
            .then(ask("tim@new.example", 5, 0))
            .then(take("tim@farm.example", 6, 1));
        assert_eq!(tim.open_email_change(), None);
        assert_eq!(tim.refusal(confirm(5, 2)), UserError::NoOpenRequest);
    }

    #[test]
    fn an_address_that_was_taken_leaves_a_code_by_sms() {
        let grace = registered(grace())
            .then(UserCommand::RequestPasswordReset {
                channel: Channel::Sms,
                link: link(4, 1),
            })
            .then(take("grace@farm.example", 5, 2));
        assert!(grace.open_reset().is_some());
        // Its owner has proved nothing yet, so the registration still lapses.
        assert_eq!((grace.phase(), grace.expires_at().is_some()), (Phase::Pending, true));
    }

    #[test]
    fn where_there_is_an_address_another_one_waits_for_its_link() {
        assert_eq!(
            verified_ada().events(take("ada@new.example", 5, HOUR)),
            verified_ada().events(ask("ada@new.example", 5, HOUR))
        );
        assert_eq!(verified_ada().events(take("ada@farm.example", 5, HOUR)), []);
        let tim = registered(tim()).then(take("tim@farm.example", 5, 0));
        assert_eq!(tim.events(take("tim@farm.example", 6, 1)), []);
        assert_eq!(original(&tim.events(take("tim@new.example", 6, 1))), id(6));
    }

    #[test]
    fn no_blocked_address_is_taken() {
        for kind in [RuleKind::Blocked, RuleKind::AddressBlocked] {
            let (standing, _) = refused(kind);
            let order = UserCommand::TakeEmail {
                email: email("tim@farm.example"),
                standing,
                link: link(5, 0),
            };
            assert!(matches!(
                registered(tim()).refusal(order),
                UserError::DomainBlocked { .. } | UserError::AddressBlocked { .. }
            ));
        }
    }

    #[test]
    fn a_changed_number_is_unverified_and_the_code_to_the_old_one_is_void() {
        let grace = registered(grace())
            .then(UserCommand::RequestPasswordReset {
                channel: Channel::Sms,
                link: link(4, 1),
            })
            .then(UserCommand::ChangePhone { phone: other_phone() });
        assert_eq!(grace.phone(), Some(&other_phone()));
        assert!(!grace.phone_verified());
        let verify = UserCommand::VerifyPhone {
            request: id(2),
            at: at(MINUTE),
        };
        assert_eq!(grace.refusal(verify), UserError::NoOpenRequest);
        let reset = UserCommand::ResetPassword {
            original: id(4),
            at: at(MINUTE),
        };
        assert_eq!(grace.refusal(reset), UserError::NoOpenRequest);
    }

    #[test]
    fn a_changed_number_does_not_deactivate_and_leaves_a_mailed_link() {
        let ada = verified_ada()
            .then(UserCommand::RequestPasswordReset {
                channel: Channel::Mail,
                link: link(4, HOUR),
            })
            .then(UserCommand::ChangePhone { phone: phone() });
        assert_eq!(ada.phase(), Phase::Active);
        assert!(ada.open_reset().is_some());
    }

    #[test]
    fn taking_the_number_one_has_changes_nothing() {
        assert_eq!(
            registered(grace()).events(UserCommand::ChangePhone { phone: phone() }),
            []
        );
    }

    #[test]
    fn a_locked_account_takes_neither_another_address_nor_another_number() {
        let locked = asked().then(UserCommand::Lock {
            reason: LockReason::Attempts,
            note: None,
        });
        for order in [
            ask("x@new.example", 6, HOUR),
            take("x@new.example", 6, HOUR),
            confirm(5, HOUR + 1),
            UserCommand::ChangePhone { phone: phone() },
        ] {
            assert_eq!(locked.refusal(order), UserError::Locked);
        }
    }
}
