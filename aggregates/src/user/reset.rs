//! Setting another password, with the present one or with a link or a code.

use uuid::Uuid;

use super::links::Outgoing;
use super::{RequestLink, User, UserError, UserEvent};
use crate::event::Personal;
use crate::values::{Channel, Email, Phone, Timestamp};

impl User {
    pub(super) fn change_password(&self, kept_session: Option<Uuid>) -> Vec<UserEvent> {
        vec![UserEvent::PasswordChanged {
            credential_version: self.next_credential_version(),
            kept_session,
        }]
    }

    pub(super) fn request_password_reset(
        &self,
        channel: Channel,
        link: &RequestLink,
    ) -> Result<Vec<UserEvent>, UserError> {
        let (email, phone, out) = match channel {
            Channel::Mail => {
                let email = self.email_for_reset().ok_or(UserError::NoEmail)?;
                let open = self
                    .open_reset
                    .as_ref()
                    .filter(|open| open.email.as_ref() == Some(email));
                let open = open.map(|open| (open.original, open.issued_at, open.expires_at));
                (email.clone().into(), Personal::unknown(), Outgoing::again(open, link))
            }
            // The newest code voids older ones: a code is short, so the fewer that work the better.
            Channel::Sms => {
                let phone = self.phone_for_reset().ok_or(UserError::NoPhone)?;
                (Personal::unknown(), phone.clone().into(), Outgoing::fresh(link))
            }
        };
        Ok(vec![UserEvent::PasswordResetRequested {
            request: link.request,
            original: out.original,
            channel,
            email,
            phone,
            dialect: link.dialect,
            issued_at: out.issued_at,
            expires_at: out.expires_at,
        }])
    }

    /// The address a reset may go to. An address nobody has verified may be somebody else's, mistyped: it opens no
    /// account whose owner has proved themselves otherwise.
    fn email_for_reset(&self) -> Option<&Email> {
        self.email
            .as_ref()
            .filter(|_| self.email_verified || !self.phone_verified)
    }

    /// The number a reset may go to, by the same rule. A number that was taken later must be verified first,
    /// whatever else is.
    fn phone_for_reset(&self) -> Option<&Phone> {
        self.phone
            .as_ref()
            .filter(|_| self.phone_verified || (!self.email_verified && !self.phone_unproved))
    }

    /// Whoever used the link reads the mailbox, so the address (or the number) counts as verified too.
    pub(super) fn reset_password(&self, original: Uuid, at: Timestamp) -> Result<Vec<UserEvent>, UserError> {
        let open = self.open_reset.as_ref().ok_or(UserError::NoOpenRequest)?;
        if open.original != original || at >= open.expires_at {
            return Err(UserError::NoOpenRequest);
        }
        // What was proved since the request may have made its address one that opens nothing any more.
        let still = match open.channel {
            Channel::Mail => open.email.is_some() && open.email.as_ref() == self.email_for_reset(),
            Channel::Sms => open.phone.is_some() && open.phone.as_ref() == self.phone_for_reset(),
        };
        if !still {
            return Err(UserError::NoOpenRequest);
        }
        let mut events = vec![UserEvent::PasswordReset {
            original,
            credential_version: self.next_credential_version(),
        }];
        if let Some(email) = self
            .email
            .as_ref()
            .filter(|email| !self.email_verified && open.email.as_ref() == Some(email))
        {
            events.push(UserEvent::EmailVerified {
                original: None,
                email: email.clone().into(),
            });
        }
        if let Some(phone) = self
            .phone
            .as_ref()
            .filter(|phone| !self.phone_verified && open.phone.as_ref() == Some(phone))
        {
            events.push(UserEvent::PhoneVerified {
                request: None,
                phone: phone.clone().into(),
            });
        }
        Ok(events)
    }

    /// Without a link or a code, and so without a proof of the address. A lock stays.
    pub(super) fn recover_password(&self, recovery: Uuid) -> Vec<UserEvent> {
        vec![UserEvent::PasswordReset {
            original: recovery,
            credential_version: self.next_credential_version(),
        }]
    }

    const fn next_credential_version(&self) -> u32 {
        self.credential_version.saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use crate::user::fixtures::{HOUR, MINUTE, ada, at, email, grace, id, link, phone, registered, tim, verified_ada};
    use crate::user::{Phase, Register, User, UserCommand, UserError, UserEvent};
    use crate::values::{Channel, LockReason};

    fn ask(channel: Channel, request: u128, now: i64) -> UserCommand {
        UserCommand::RequestPasswordReset {
            channel,
            link: link(request, now),
        }
    }

    fn reset(original: u128, now: i64) -> UserCommand {
        UserCommand::ResetPassword {
            original: id(original),
            at: at(now),
        }
    }

    fn original(events: &[UserEvent]) -> uuid::Uuid {
        match events {
            [UserEvent::PasswordResetRequested { original, .. }] => *original,
            _ => unreachable!("{events:?}"),
        }
    }

    fn asked() -> User {
        verified_ada().then(ask(Channel::Mail, 5, HOUR))
    }

    #[test]
    fn each_new_password_is_a_new_version_of_the_credential() {
        let ada = verified_ada();
        assert_eq!(ada.credential_version(), 1);
        let ada = ada.then(UserCommand::ChangePassword {
            kept_session: Some(id(9)),
        });
        assert_eq!(ada.credential_version(), 2);
        let ada = ada.then(ask(Channel::Mail, 5, HOUR)).then(reset(5, HOUR + 1));
        assert_eq!(ada.credential_version(), 3);
    }

    #[test]
    fn changing_the_password_names_the_session_that_goes_on() {
        let events = verified_ada().events(UserCommand::ChangePassword {
            kept_session: Some(id(9)),
        });
        assert_eq!(
            events,
            [UserEvent::PasswordChanged {
                credential_version: 2,
                kept_session: Some(id(9))
            }]
        );
    }

    #[test]
    fn the_link_sets_a_new_password_once() {
        let events = asked().events(reset(5, HOUR + 1));
        assert_eq!(
            events,
            [UserEvent::PasswordReset {
                original: id(5),
                credential_version: 2
            }]
        );
        let ada = asked().then(reset(5, HOUR + 1));
        assert_eq!(ada.refusal(reset(5, HOUR + 2)), UserError::NoOpenRequest);
    }

    #[test]
    fn a_wrong_or_late_link_sets_no_password() {
        assert_eq!(asked().refusal(reset(6, HOUR + 1)), UserError::NoOpenRequest);
        assert_eq!(asked().refusal(reset(5, 2 * HOUR)), UserError::NoOpenRequest);
        assert_eq!(verified_ada().refusal(reset(5, HOUR)), UserError::NoOpenRequest);
    }

    #[test]
    fn an_operator_sets_a_password_without_a_link_and_voids_the_one_that_is_out() {
        let recover = UserCommand::RecoverPassword { recovery: id(8) };
        let recovered = UserEvent::PasswordReset {
            original: id(8),
            credential_version: 2,
        };
        assert_eq!(asked().events(recover.clone()), [recovered]);
        let ada = asked().then(recover.clone());
        assert_eq!(ada.refusal(reset(5, HOUR + 1)), UserError::NoOpenRequest);
        // It proves nothing: an address that was not verified is not verified by it.
        assert_eq!(registered(Register { ..tim() }).events(recover.clone()).len(), 1);
        assert!(
            !registered(crate::user::fixtures::ada())
                .then(recover.clone())
                .email_verified()
        );
        let off = asked().then(UserCommand::Deactivate { note: None });
        assert_eq!(off.refusal(recover), UserError::NotActive);
    }

    #[test]
    fn a_link_of_another_purpose_sets_no_password() {
        assert_eq!(registered(ada()).refusal(reset(1, MINUTE)), UserError::NoOpenRequest);
    }

    #[test]
    fn a_young_link_is_sent_again_and_an_old_one_is_replaced() {
        assert_eq!(original(&asked().events(ask(Channel::Mail, 6, HOUR + 1))), id(5));
        let replaced = asked().then(ask(Channel::Mail, 6, HOUR + HOUR / 2));
        assert_eq!(replaced.refusal(reset(5, HOUR + HOUR / 2)), UserError::NoOpenRequest);
        assert_eq!(replaced.events(reset(6, HOUR + HOUR / 2)).len(), 1);
    }

    #[test]
    fn a_code_is_always_a_new_one() {
        let grace = registered(grace()).then(ask(Channel::Sms, 5, 0));
        assert_eq!(original(&grace.events(ask(Channel::Sms, 6, 1))), id(6));
        let both = Register {
            phone: Some(phone()),
            ..ada()
        };
        let mailed = registered(both).then(ask(Channel::Mail, 5, 0));
        assert_eq!(original(&mailed.events(ask(Channel::Sms, 6, 1))), id(6));
        assert_eq!(
            original(&mailed.then(ask(Channel::Sms, 6, 1)).events(ask(Channel::Mail, 7, 2))),
            id(7)
        );
    }

    #[test]
    fn a_changed_password_voids_an_open_reset() {
        let ada = asked().then(UserCommand::ChangePassword { kept_session: None });
        assert_eq!(ada.refusal(reset(5, HOUR + 1)), UserError::NoOpenRequest);
    }

    /// Ada, with a number that a thief of her password took; request 6 is the code on its way to it.
    fn with_the_thiefs_number() -> User {
        verified_ada()
            .then(UserCommand::ChangePhone { phone: phone() })
            .then(UserCommand::RequestPhoneVerification(link(6, HOUR)))
    }

    /// Grace, with an address that a thief of her password took; request 6 is the link on its way to it.
    fn with_the_thiefs_address() -> User {
        registered(grace())
            .then(UserCommand::VerifyPhone {
                request: id(2),
                at: at(MINUTE),
            })
            .then(UserCommand::TakeEmail {
                email: email("thief@farm.example"),
                standing: crate::values::Standing::Allowed,
                link: link(6, HOUR),
            })
    }

    fn use_code(request: u128) -> UserCommand {
        UserCommand::VerifyPhone {
            request: id(request),
            at: at(HOUR + 2),
        }
    }

    fn use_link(original: u128) -> UserCommand {
        UserCommand::VerifyEmail {
            original: id(original),
            at: at(HOUR + 2),
        }
    }

    #[test]
    fn a_new_password_voids_the_code_and_the_link_that_are_out() {
        let change = UserCommand::ChangePassword { kept_session: None };
        let recover = UserCommand::RecoverPassword { recovery: id(8) };
        for order in [change, recover] {
            let ada = with_the_thiefs_number().then(order.clone());
            assert_eq!(ada.refusal(use_code(6)), UserError::NoOpenRequest);
            let grace = with_the_thiefs_address().then(order);
            assert_eq!(grace.refusal(use_link(6)), UserError::NoOpenRequest);
        }
        let ada = with_the_thiefs_number()
            .then(ask(Channel::Mail, 5, HOUR))
            .then(reset(5, HOUR + 1));
        assert_eq!(ada.refusal(use_code(6)), UserError::NoOpenRequest);
        let grace = with_the_thiefs_address()
            .then(ask(Channel::Sms, 5, HOUR))
            .then(reset(5, HOUR + 1));
        assert_eq!(grace.refusal(use_link(6)), UserError::NoOpenRequest);
    }

    #[test]
    fn what_is_unverified_and_older_than_the_password_is_in_doubt_until_it_is_verified_or_replaced() {
        let change = UserCommand::ChangePassword { kept_session: None };
        assert!(!with_the_thiefs_number().phone_in_doubt());
        let ada = with_the_thiefs_number().then(change.clone());
        assert!(ada.phone_in_doubt() && !ada.email_in_doubt());
        let asked = ada.clone().then(UserCommand::RequestPhoneVerification(link(7, HOUR)));
        assert!(!asked.then(use_code(7)).phone_in_doubt());
        let another = UserCommand::ChangePhone {
            phone: crate::user::fixtures::other_phone(),
        };
        assert!(!ada.then(another).phone_in_doubt());

        assert!(!with_the_thiefs_address().email_in_doubt());
        let grace = with_the_thiefs_address().then(change);
        assert!(grace.email_in_doubt() && !grace.phone_in_doubt());
        let asked = grace.clone().then(UserCommand::RequestEmailVerification(link(7, HOUR)));
        assert!(!asked.then(use_link(7)).email_in_doubt());
        let taken = grace
            .then(UserCommand::RequestEmailChange {
                email: email("grace@farm.example"),
                standing: crate::values::Standing::Allowed,
                link: link(8, HOUR),
            })
            .then(UserCommand::ConfirmEmailChange {
                original: id(8),
                standing: crate::values::Standing::Allowed,
                at: at(HOUR + 1),
            });
        assert!(!taken.email_in_doubt());
    }

    #[test]
    fn an_account_that_waits_keeps_its_link_and_one_that_a_reset_activates_does_not() {
        let recovered = registered(ada()).then(UserCommand::RecoverPassword { recovery: id(8) });
        assert!(!recovered.email_in_doubt());
        assert_eq!(
            recovered
                .events(UserCommand::VerifyEmail {
                    original: id(1),
                    at: at(MINUTE),
                })
                .len(),
            1
        );
        // Somebody opened it with an address of their own and the number of whoever resets it.
        let both = Register {
            phone: Some(phone()),
            phone_request: Some(link(2, 0)),
            ..ada()
        };
        let owned = registered(both).then(ask(Channel::Sms, 5, 1)).then(reset(5, 2));
        assert!(owned.phone_verified() && owned.email_in_doubt() && !owned.phone_in_doubt());
        let opened = UserCommand::VerifyEmail {
            original: id(1),
            at: at(MINUTE),
        };
        assert_eq!(owned.refusal(opened), UserError::NoOpenRequest);
    }

    #[test]
    fn who_resets_by_mail_has_proved_the_mailbox() {
        let ada = registered(ada()).then(ask(Channel::Mail, 5, 1));
        let events = ada.events(reset(5, 2));
        assert_eq!(
            events,
            [
                UserEvent::PasswordReset {
                    original: id(5),
                    credential_version: 2
                },
                UserEvent::EmailVerified {
                    original: None,
                    email: email("ada@farm.example").into()
                },
            ]
        );
        let ada = ada.then(reset(5, 2));
        assert_eq!(ada.phase(), Phase::Active);
        assert_eq!(ada.spent_email_verification(), None);
    }

    #[test]
    fn who_resets_by_sms_has_proved_the_number() {
        let events = registered(grace()).then(ask(Channel::Sms, 5, 1)).events(reset(5, 2));
        assert_eq!(
            events[1..],
            [UserEvent::PhoneVerified {
                request: None,
                phone: phone().into()
            }]
        );
    }

    #[test]
    fn a_reset_needs_somewhere_to_send_it() {
        assert_eq!(registered(tim()).refusal(ask(Channel::Mail, 5, 0)), UserError::NoEmail);
        assert_eq!(registered(tim()).refusal(ask(Channel::Sms, 5, 0)), UserError::NoPhone);
    }

    /// Ada with a number as well; request 2 is its code.
    fn both() -> User {
        registered(Register {
            phone: Some(phone()),
            phone_request: Some(link(2, 0)),
            ..ada()
        })
    }

    #[test]
    fn an_address_nobody_verified_opens_no_account_that_its_number_has_proved() {
        let verify = UserCommand::VerifyPhone {
            request: id(2),
            at: at(1),
        };
        let proved = both().then(verify.clone());
        assert_eq!(proved.refusal(ask(Channel::Mail, 5, 2)), UserError::NoEmail);
        assert_eq!(proved.events(ask(Channel::Sms, 5, 2)).len(), 1);
        // Not even with a link from before.
        let proved = both().then(ask(Channel::Mail, 5, 0)).then(verify);
        assert_eq!(proved.refusal(reset(5, 2)), UserError::NoOpenRequest);
    }

    #[test]
    fn a_number_nobody_verified_opens_no_account_that_its_address_has_proved() {
        let verify = UserCommand::VerifyEmail {
            original: id(1),
            at: at(1),
        };
        let proved = both().then(verify);
        assert_eq!(proved.refusal(ask(Channel::Sms, 5, 2)), UserError::NoPhone);
        assert_eq!(proved.events(ask(Channel::Mail, 5, 2)).len(), 1);
    }

    #[test]
    fn a_number_taken_later_opens_nothing_until_it_is_verified() {
        let tim = registered(tim()).then(UserCommand::ChangePhone { phone: phone() });
        assert_eq!(tim.refusal(ask(Channel::Sms, 5, 1)), UserError::NoPhone);
        let tim = tim
            .then(UserCommand::RequestPhoneVerification(link(4, 1)))
            .then(UserCommand::VerifyPhone {
                request: id(4),
                at: at(2),
            });
        assert_eq!(tim.events(ask(Channel::Sms, 5, 3)).len(), 1);
    }

    #[test]
    fn a_reset_works_through_a_lock_and_leaves_it_in_place() {
        let ada = asked()
            .then(UserCommand::Lock {
                reason: LockReason::Attempts,
                note: None,
            })
            .then(reset(5, HOUR + 1));
        assert_eq!((ada.phase(), ada.credential_version()), (Phase::Locked, 2));
        let change = UserCommand::ChangePassword { kept_session: None };
        assert_eq!(ada.refusal(change), UserError::Locked);
    }

    #[test]
    fn a_deactivated_account_sets_no_password() {
        let off = asked().then(UserCommand::Deactivate { note: None });
        assert_eq!(off.refusal(reset(5, HOUR + 1)), UserError::NotActive);
        assert_eq!(off.refusal(ask(Channel::Mail, 6, HOUR)), UserError::NotActive);
    }
}
