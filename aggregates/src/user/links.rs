//! Verifying an address by a link and a number by a code.
//!
//! A link that is asked for again while it is young is the *same* link, so that every copy of the mail
//! works whichever arrives first. Once half its life is over a new one is made, and the old one is void.

use uuid::Uuid;

use super::{OpenLink, RequestLink, User, UserError, UserEvent};
use crate::values::{Email, Timestamp};

/// The link a request leads to: what it derives from, when that was made, when it stops working.
pub(super) struct Outgoing {
    pub(super) original: Uuid,
    pub(super) issued_at: Timestamp,
    pub(super) expires_at: Timestamp,
}

impl Outgoing {
    pub(super) fn fresh(link: &RequestLink) -> Self {
        Self {
            original: link.request,
            issued_at: link.at,
            expires_at: link.at.plus(link.life),
        }
    }

    /// The open link once more if it is in the first half of its life, else a fresh one.
    pub(super) fn again(open: Option<(Uuid, Timestamp, Timestamp)>, link: &RequestLink) -> Self {
        match open {
            Some((original, issued_at, expires_at)) if is_young(issued_at, expires_at, link.at) => Self {
                original,
                issued_at,
                expires_at,
            },
            _ => Self::fresh(link),
        }
    }
}

const fn is_young(issued_at: Timestamp, expires_at: Timestamp, now: Timestamp) -> bool {
    let life = expires_at.as_micros() - issued_at.as_micros();
    now.as_micros() - issued_at.as_micros() < life / 2
}

/// The open link, if it belongs to this very address.
pub(super) fn same_link(open: Option<&OpenLink>, email: &Email) -> Option<(Uuid, Timestamp, Timestamp)> {
    open.filter(|open| open.email == *email)
        .map(|open| (open.original, open.issued_at, open.expires_at))
}

impl User {
    pub(super) fn request_email_verification(&self, link: &RequestLink) -> Result<Vec<UserEvent>, UserError> {
        let email = self.email.as_ref().ok_or(UserError::NoEmail)?;
        if self.email_verified {
            return Ok(vec![]);
        }
        let out = Outgoing::again(same_link(self.open_email_verification.as_ref(), email), link);
        Ok(vec![UserEvent::EmailVerificationRequested {
            request: link.request,
            original: out.original,
            email: email.clone().into(),
            dialect: link.dialect,
            issued_at: out.issued_at,
            expires_at: out.expires_at,
        }])
    }

    pub(super) fn verify_email(&self, original: Uuid, at: Timestamp) -> Result<Vec<UserEvent>, UserError> {
        let email = self.email.as_ref().ok_or(UserError::NoOpenRequest)?;
        let opens = |open: &OpenLink| open.original == original && at < open.expires_at && open.email == *email;
        if self.open_email_verification.as_ref().is_some_and(opens) {
            return Ok(vec![UserEvent::EmailVerified {
                original: Some(original),
                email: email.clone().into(),
            }]);
        }
        // Mail programs open links before their reader does, so the second visit is no error.
        let visited = self
            .spent_email_verification
            .as_ref()
            .is_some_and(|spent| spent.0 == original && spent.1 == *email);
        if visited && self.email_verified {
            Ok(vec![])
        } else {
            Err(UserError::NoOpenRequest)
        }
    }

    pub(super) fn request_phone_verification(&self, link: &RequestLink) -> Result<Vec<UserEvent>, UserError> {
        let phone = self.phone.as_ref().ok_or(UserError::NoPhone)?;
        if self.phone_verified {
            return Ok(vec![]);
        }
        Ok(vec![UserEvent::PhoneVerificationRequested {
            request: link.request,
            phone: phone.clone().into(),
            dialect: link.dialect,
            expires_at: link.at.plus(link.life),
        }])
    }

    pub(super) fn verify_phone(&self, request: Uuid, at: Timestamp) -> Result<Vec<UserEvent>, UserError> {
        let open = self.open_phone_verification.as_ref().ok_or(UserError::NoOpenRequest)?;
        if open.request != request || at >= open.expires_at || self.phone.as_ref() != Some(&open.phone) {
            return Err(UserError::NoOpenRequest);
        }
        Ok(vec![UserEvent::PhoneVerified {
            request: Some(request),
            phone: open.phone.clone().into(),
        }])
    }
}

#[cfg(test)]
mod tests {
    use crate::user::fixtures::{DAY, HOUR, MINUTE, ada, at, email, grace, id, link, registered, tim, verified_ada};
    use crate::user::{Phase, Register, User, UserCommand, UserError, UserEvent};
    use crate::values::{LockReason, Timestamp};

    const HALF: i64 = HOUR / 2;

    fn verify(original: u128, now: i64) -> UserCommand {
        UserCommand::VerifyEmail {
            original: id(original),
            at: at(now),
        }
    }

    fn ask_again(request: u128, now: i64) -> UserCommand {
        UserCommand::RequestEmailVerification(link(request, now))
    }

    /// What the link sent last derives from, and when it stops working.
    fn sent(events: &[UserEvent]) -> (uuid::Uuid, Timestamp) {
        match events {
            [
                UserEvent::EmailVerificationRequested {
                    original, expires_at, ..
                },
            ] => (*original, *expires_at),
            _ => unreachable!("{events:?}"),
        }
    }

    #[test]
    fn the_link_verifies_the_address_and_activates_the_account() {
        let events = registered(ada()).events(verify(1, MINUTE));
        let verified = UserEvent::EmailVerified {
            original: Some(id(1)),
            email: email("ada@farm.example").into(),
        };
        assert_eq!(events, [verified]);
        let ada = verified_ada();
        assert!(ada.email_verified());
        assert_eq!((ada.phase(), ada.expires_at()), (Phase::Active, None));
    }

    #[test]
    fn opening_the_very_link_that_verified_again_changes_nothing() {
        let ada = verified_ada();
        assert_eq!(ada.events(verify(1, 2 * MINUTE)), []);
        assert_eq!(ada.events(verify(1, 10 * DAY)), []);
        assert_eq!(
            ada.spent_email_verification(),
            Some((id(1), &email("ada@farm.example")))
        );
    }

    #[test]
    fn any_other_link_is_refused() {
        assert_eq!(registered(ada()).refusal(verify(7, MINUTE)), UserError::NoOpenRequest);
        assert_eq!(verified_ada().refusal(verify(7, 2 * MINUTE)), UserError::NoOpenRequest);
        assert_eq!(registered(tim()).refusal(verify(1, MINUTE)), UserError::NoOpenRequest);
    }

    #[test]
    fn a_link_works_until_it_expires_and_no_longer() {
        assert_eq!(registered(ada()).events(verify(1, HOUR - 1)).len(), 1);
        assert_eq!(registered(ada()).refusal(verify(1, HOUR)), UserError::NoOpenRequest);
    }

    #[test]
    fn a_young_link_is_sent_again_and_both_mails_work() {
        let ada = registered(ada());
        let events = ada.events(ask_again(5, HALF - 1));
        assert_eq!(sent(&events), (id(1), at(HOUR)));
        assert_eq!(ada.then(ask_again(5, HALF - 1)).events(verify(1, HALF)).len(), 1);
    }

    #[test]
    fn sending_a_link_again_does_not_make_it_younger() {
        let ada = registered(ada()).then(ask_again(5, HALF - 1));
        assert_eq!(sent(&ada.events(ask_again(6, HALF))), (id(6), at(HALF + HOUR)));
    }

    #[test]
    fn once_half_its_life_is_over_a_new_link_voids_the_old_one() {
        let ada = registered(ada()).then(ask_again(5, HALF));
        assert_eq!(ada.refusal(verify(1, HALF + 1)), UserError::NoOpenRequest);
        assert_eq!(ada.events(verify(5, HALF + 1)).len(), 1);
    }

    #[test]
    fn a_link_of_another_life_is_measured_by_its_own() {
        let mut long = link(1, 0);
        long.life = 3 * DAY;
        let ada = registered(Register {
            email_request: Some(long),
            ..ada()
        });
        assert_eq!(sent(&ada.events(ask_again(5, DAY))), (id(1), at(3 * DAY)));
        assert_eq!(sent(&ada.events(ask_again(5, 2 * DAY))), (id(5), at(2 * DAY + HOUR)));
    }

    #[test]
    fn a_verified_address_is_sent_no_link() {
        assert_eq!(verified_ada().events(ask_again(5, HOUR)), []);
    }

    #[test]
    fn an_account_without_an_address_or_a_number_can_verify_none() {
        assert_eq!(registered(tim()).refusal(ask_again(5, 0)), UserError::NoEmail);
        let ask = UserCommand::RequestPhoneVerification(link(5, 0));
        assert_eq!(registered(tim()).refusal(ask), UserError::NoPhone);
    }

    fn verify_phone(request: u128, now: i64) -> UserCommand {
        UserCommand::VerifyPhone {
            request: id(request),
            at: at(now),
        }
    }

    #[test]
    fn the_code_verifies_the_number_and_activates_the_account() {
        let grace = registered(grace()).then(verify_phone(2, MINUTE));
        assert!(grace.phone_verified());
        assert_eq!(grace.phase(), Phase::Active);
        assert_eq!(grace.events(UserCommand::RequestPhoneVerification(link(5, HOUR))), []);
    }

    #[test]
    fn a_code_works_once_and_until_it_expires() {
        let verified = registered(grace()).then(verify_phone(2, MINUTE));
        assert_eq!(verified.refusal(verify_phone(2, MINUTE)), UserError::NoOpenRequest);
        assert_eq!(
            registered(grace()).refusal(verify_phone(2, HOUR)),
            UserError::NoOpenRequest
        );
        assert_eq!(
            registered(grace()).refusal(verify_phone(3, MINUTE)),
            UserError::NoOpenRequest
        );
    }

    #[test]
    fn the_newest_code_voids_the_older_one_however_young_it_is() {
        let grace = registered(grace()).then(UserCommand::RequestPhoneVerification(link(5, 1)));
        assert_eq!(grace.refusal(verify_phone(2, 2)), UserError::NoOpenRequest);
        assert_eq!(grace.events(verify_phone(5, 2)).len(), 1);
    }

    #[test]
    fn verifying_does_not_lift_a_lock() {
        let lock = UserCommand::Lock {
            reason: LockReason::Admin,
            note: None,
        };
        let ada = registered(ada()).then(lock.clone()).then(verify(1, MINUTE));
        assert!(ada.email_verified());
        assert_eq!(ada.phase(), Phase::Locked);
        assert_eq!(ada.then(UserCommand::Unlock { note: None }).phase(), Phase::Active);
        let grace = registered(grace()).then(lock).then(verify_phone(2, MINUTE));
        assert_eq!(grace.phase(), Phase::Locked);
    }

    #[test]
    fn a_deactivated_account_verifies_nothing() {
        let off = registered(ada()).then(UserCommand::Deactivate { note: None });
        assert_eq!(off.refusal(verify(1, MINUTE)), UserError::NotActive);
        assert_eq!(off.refusal(ask_again(5, MINUTE)), UserError::NotActive);
    }

    #[test]
    fn a_link_whose_address_was_erased_is_folded_as_none() {
        let mut user = User::default();
        user.evolve(&UserEvent::EmailVerificationRequested {
            request: id(1),
            original: id(1),
            email: crate::event::Personal::unknown(),
            dialect: crate::values::Dialect::Canonical,
            issued_at: at(0),
            expires_at: at(HOUR),
        });
        assert_eq!(user.open_email_verification(), None);
    }
}
