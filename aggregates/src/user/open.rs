//! How an account begins, and how one that was never verified ends.

use super::{Import, Phase, Register, User, UserError, UserEvent};
use crate::values::{RuleKind, Standing, Timestamp};

impl User {
    pub(super) fn register(register: Register) -> Result<Vec<UserEvent>, UserError> {
        let Register {
            username,
            email,
            phone,
            device,
            ..
        } = &register;
        if username.is_none() && email.is_none() && phone.is_none() && device.is_none() {
            return Err(UserError::NothingToSignInWith);
        }
        permit(&register.standing)?;

        // With neither an address nor a number there is nothing that could be verified later.
        let active = register.verified || (email.is_none() && phone.is_none());
        let expires_at = register
            .unverified_life
            .filter(|_| !active)
            .map(|life| register.at.plus(life));

        let email_verification = register
            .email_request
            .filter(|_| !register.verified)
            .zip(register.email.clone())
            .map(|(link, email)| UserEvent::EmailVerificationRequested {
                request: link.request,
                original: link.request,
                email: email.into(),
                dialect: link.dialect,
                issued_at: link.at,
                expires_at: link.at.plus(link.life),
            });
        let phone_verification = register
            .phone_request
            .filter(|_| !register.verified)
            .zip(register.phone.clone())
            .map(|(link, phone)| UserEvent::PhoneVerificationRequested {
                request: link.request,
                phone: phone.into(),
                dialect: link.dialect,
                expires_at: link.at.plus(link.life),
            });

        let registered = UserEvent::Registered {
            dialect: register.dialect,
            email_verified: register.verified && register.email.is_some(),
            username: register.username.into(),
            email: register.email.into(),
            phone: register.phone.into(),
            device: register.device.into(),
            full_name: register.full_name.into(),
            discoverable: register.discoverable,
            country: register.country.filter(|_| register.position.is_some()).into(),
            position: register.position.into(),
            geo_id: register.geo_id.into(),
            boundary: register.boundary.into(),
            locale: register.locale.into(),
            active,
            credential_version: u32::from(register.password),
            expires_at,
        };
        Ok(std::iter::once(registered)
            .chain(email_verification)
            .chain(phone_verification)
            .collect())
    }

    /// No standing is asked for: who was a user of the older system stays one.
    pub(super) fn import(import: Import) -> Result<Vec<UserEvent>, UserError> {
        if import.username.is_none() && import.email.is_none() && import.phone.is_none() {
            return Err(UserError::NothingToSignInWith);
        }
        Ok(vec![UserEvent::Imported {
            dialect: import.dialect,
            email_verified: import.email_verified && import.email.is_some(),
            phone_verified: import.phone_verified && import.phone.is_some(),
            username: import.username.into(),
            email: import.email.into(),
            phone: import.phone.into(),
            full_name: import.full_name.into(),
            active: import.active,
            created_at: import.created_at,
            credential_version: u32::from(import.password),
        }])
    }

    pub(super) fn expire(&self, at: Timestamp) -> Result<Vec<UserEvent>, UserError> {
        let due = self.expires_at.is_some_and(|expires_at| at >= expires_at);
        if self.phase == Phase::Pending && due {
            Ok(vec![UserEvent::Expired {}])
        } else {
            Err(UserError::NotExpired)
        }
    }

    pub(super) fn erase(&self) -> Vec<UserEvent> {
        if self.is_erased() {
            vec![]
        } else {
            vec![UserEvent::Erased {}]
        }
    }
}

/// Whether the standing of an address lets an account have it.
pub(super) fn permit(standing: &Standing) -> Result<(), UserError> {
    match standing {
        Standing::Allowed => Ok(()),
        Standing::Refused(rule) if rule.kind == RuleKind::AddressBlocked => {
            Err(UserError::AddressBlocked { rule: rule.clone() })
        }
        Standing::Refused(rule) => Err(UserError::DomainBlocked { rule: rule.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use crate::event::Personal;
    use crate::user::fixtures::{
        DAY, HOUR, MINUTE, ada, at, device, email, grace, id, joan, link, nobody, refused, registered, tim, username,
        verified_ada,
    };
    use crate::user::{Import, Phase, Register, User, UserCommand, UserError, UserEvent};
    use crate::values::{Channel, Dialect, LockReason, Role, RuleKind};

    fn register(register: Register) -> UserCommand {
        UserCommand::Register(Box::new(register))
    }

    fn import(import: Import) -> UserCommand {
        UserCommand::Import(Box::new(import))
    }

    #[test]
    fn a_registration_with_an_address_sends_a_link_and_waits() {
        let events = User::default().events(register(ada()));
        let [
            UserEvent::Registered {
                email: address,
                active,
                email_verified,
                expires_at,
                credential_version,
                ..
            },
            UserEvent::EmailVerificationRequested {
                request,
                original,
                issued_at,
                expires_at: link_expires_at,
                ..
            },
        ] = events.as_slice()
        else {
            unreachable!("{events:?}")
        };
        assert_eq!(address.known(), Some(&email("ada@farm.example")));
        assert!(!active && !email_verified);
        assert_eq!(*credential_version, 1);
        assert_eq!(*expires_at, Some(at(DAY)));
        assert_eq!((*request, *original), (id(1), id(1)));
        assert_eq!((*issued_at, *link_expires_at), (at(0), at(HOUR)));

        let ada = registered(ada());
        assert_eq!(ada.phase(), Phase::Pending);
        assert_eq!(ada.open_email_verification().map(|open| open.original), Some(id(1)));
    }

    #[test]
    fn a_registration_with_an_address_and_a_number_sends_a_link_and_a_code() {
        let both = Register {
            phone: grace().phone,
            phone_request: grace().phone_request,
            ..ada()
        };
        let kinds: Vec<_> = User::default()
            .events(register(both))
            .iter()
            .map(cqrs_es::DomainEvent::event_type)
            .collect();
        assert_eq!(
            kinds,
            [
                "user.registered",
                "user.email_verification_requested",
                "user.phone_verification_requested"
            ]
        );
    }

    #[test]
    fn a_request_without_the_name_it_is_for_sends_nothing() {
        let events = User::default().events(register(Register {
            email_request: Some(link(1, 0)),
            phone_request: Some(link(2, 0)),
            ..tim()
        }));
        assert_eq!(events.len(), 1);
    }

    #[test]
    fn an_account_with_nothing_to_verify_is_active_at_once_and_never_expires() {
        for register in [
            tim(),
            Register {
                device: Some(device(1)),
                password: false,
                ..nobody()
            },
        ] {
            let user = registered(register);
            assert_eq!(user.phase(), Phase::Active);
            assert_eq!(user.expires_at(), None);
        }
    }

    #[test]
    fn what_an_administrator_makes_is_verified_and_sends_nothing() {
        let events = User::default().events(register(Register {
            verified: true,
            ..ada()
        }));
        assert_eq!(events.len(), 1);
        let ada = registered(Register {
            verified: true,
            ..ada()
        });
        assert!(ada.email_verified());
        assert_eq!((ada.phase(), ada.expires_at()), (Phase::Active, None));
    }

    #[test]
    fn an_account_without_a_name_of_any_kind_is_refused() {
        assert_eq!(
            User::default().refusal(register(nobody())),
            UserError::NothingToSignInWith
        );
        let import_of_nobody = Import {
            username: None,
            email: None,
            ..joan()
        };
        assert_eq!(
            User::default().refusal(import(import_of_nobody)),
            UserError::NothingToSignInWith
        );
    }

    #[test]
    fn a_blocked_domain_may_not_register_and_the_refusal_names_the_rule() {
        for kind in [RuleKind::Blocked, RuleKind::Default] {
            let (standing, rule) = refused(kind);
            let refusal = User::default().refusal(register(Register { standing, ..ada() }));
            assert_eq!(refusal, UserError::DomainBlocked { rule });
        }
    }

    #[test]
    fn a_blocked_address_may_not_register() {
        let (standing, rule) = refused(RuleKind::AddressBlocked);
        let refusal = User::default().refusal(register(Register { standing, ..ada() }));
        assert_eq!(refusal, UserError::AddressBlocked { rule });
    }

    #[test]
    fn an_account_is_opened_once() {
        for order in [register(ada()), import(joan())] {
            assert_eq!(registered(tim()).refusal(order), UserError::AlreadyExists);
        }
    }

    #[test]
    fn before_it_is_opened_an_account_is_unknown() {
        for order in [
            UserCommand::Erase,
            UserCommand::VerifyEmail {
                original: id(1),
                at: at(0),
            },
            UserCommand::GrantRole { role: Role::Admin },
        ] {
            assert_eq!(User::default().refusal(order), UserError::Unknown);
        }
    }

    #[test]
    fn an_import_keeps_what_the_older_system_had_verified() {
        let joan_now = User::default().then(import(joan()));
        assert_eq!(joan_now.phase(), Phase::Active);
        assert!(joan_now.email_verified());
        assert_eq!(joan_now.dialect(), Some(Dialect::Cadasta));
        assert_eq!(joan_now.credential_version(), 1);
    }

    #[test]
    fn an_import_that_was_never_verified_waits_and_never_expires() {
        let waiting = User::default().then(import(Import {
            active: false,
            email_verified: false,
            ..joan()
        }));
        assert_eq!(waiting.phase(), Phase::Pending);
        let late = UserCommand::ExpireRegistration { at: at(1000 * DAY) };
        assert_eq!(waiting.refusal(late), UserError::NotExpired);
    }

    #[test]
    fn an_import_that_was_verified_and_switched_off_is_deactivated() {
        let off = User::default().then(import(Import {
            active: false,
            ..joan()
        }));
        assert_eq!(off.phase(), Phase::Deactivated);
        assert_eq!(off.then(UserCommand::Reactivate { note: None }).phase(), Phase::Active);
    }

    #[test]
    fn a_registration_expires_when_its_time_is_over_and_not_before() {
        let ada = registered(ada());
        let early = UserCommand::ExpireRegistration { at: at(DAY - 1) };
        assert_eq!(ada.refusal(early), UserError::NotExpired);
        assert_eq!(
            ada.events(UserCommand::ExpireRegistration { at: at(DAY) }),
            [UserEvent::Expired {}]
        );
    }

    #[test]
    fn what_was_ever_verified_does_not_expire() {
        let late = UserCommand::ExpireRegistration { at: at(2 * DAY) };
        assert_eq!(verified_ada().refusal(late.clone()), UserError::NotExpired);
        let locked = registered(ada()).then(UserCommand::Lock {
            reason: LockReason::Admin,
            note: None,
        });
        assert_eq!(locked.refusal(late), UserError::NotExpired);
    }

    #[test]
    fn an_expired_account_is_unknown() {
        let gone = registered(ada()).then(UserCommand::ExpireRegistration { at: at(DAY) });
        assert!(gone.is_erased() && !gone.exists());
        assert_eq!(
            gone.refusal(UserCommand::VerifyEmail {
                original: id(1),
                at: at(DAY)
            }),
            UserError::Unknown
        );
        assert_eq!(gone.events(UserCommand::Erase), []);
    }

    #[test]
    fn an_account_is_erased_from_any_phase() {
        let locked = verified_ada().then(UserCommand::Lock {
            reason: LockReason::Admin,
            note: None,
        });
        let off = verified_ada().then(UserCommand::Deactivate { note: None });
        for user in [registered(ada()), verified_ada(), locked, off] {
            assert_eq!(user.events(UserCommand::Erase), [UserEvent::Erased {}]);
        }
    }

    #[test]
    fn nothing_personal_is_left_of_an_erased_account() {
        let gone = verified_ada()
            .then(UserCommand::GrantRole { role: Role::Admin })
            .then(UserCommand::Erase);
        assert_eq!(
            gone,
            User {
                phase: Phase::Erased,
                ..User::default()
            }
        );
        assert_eq!(gone.roles().count(), 0);
    }

    #[test]
    fn an_erased_account_takes_no_orders_and_erasing_it_again_changes_nothing() {
        let gone = verified_ada().then(UserCommand::Erase);
        assert_eq!(gone.events(UserCommand::Erase), []);
        for order in [
            register(ada()),
            UserCommand::ChangeUsername {
                username: username("ada2"),
            },
            UserCommand::RequestPasswordReset {
                channel: Channel::Mail,
                link: link(9, MINUTE),
            },
            UserCommand::Unlock { note: None },
        ] {
            assert_eq!(gone.refusal(order), UserError::Erased);
        }
    }

    #[test]
    fn a_country_without_a_position_is_not_kept() {
        let country = crate::values::Country::parse("SG").ok();
        let events = User::default().events(register(Register { country, ..tim() }));
        assert!(matches!(&events[0], UserEvent::Registered { country, .. } if *country == Personal::unknown()));
    }
}
