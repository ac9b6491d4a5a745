//! Which order is heard in which phase. What an order leads to stands in the modules beside this one.

use super::{Phase, User, UserCommand, UserError, UserEvent};

impl User {
    /// What happens when the account is given an order, or why it is refused. An order that changes
    /// nothing is no error and leads to no event.
    pub fn decide(&self, command: UserCommand) -> Result<Vec<UserEvent>, UserError> {
        use UserCommand as C;

        self.admit(&command)?;
        match command {
            C::Register(register) => Self::register(*register),
            C::Import(import) => Self::import(*import),
            C::RequestEmailVerification(link) => self.request_email_verification(&link),
            C::VerifyEmail { original, at } => self.verify_email(original, at),
            C::RequestPhoneVerification(link) => self.request_phone_verification(&link),
            C::VerifyPhone { request, at } => self.verify_phone(request, at),
            C::RequestEmailChange { email, standing, link } => self.request_email_change(email, &standing, &link),
            C::TakeEmail { email, standing, link } => self.take_email(email, &standing, &link),
            C::ConfirmEmailChange { original, standing, at } => self.confirm_email_change(original, &standing, at),
            C::ChangePhone { phone } => Ok(self.change_phone(phone)),
            C::ChangeUsername { username } => Ok(self.change_username(username)),
            C::UpdateProfile(change) => Ok(self.update_profile(*change)),
            C::ChangePassword { kept_session } => Ok(self.change_password(kept_session)),
            C::RequestPasswordReset { channel, link } => self.request_password_reset(channel, &link),
            C::ResetPassword { original, at } => self.reset_password(original, at),
            C::RecoverPassword { recovery } => Ok(self.recover_password(recovery)),
            C::Lock { reason, note } => Ok(self.lock(reason, note)),
            C::Unlock { note } => Ok(self.unlock(note)),
            C::Deactivate { note } => Ok(self.deactivate(note)),
            C::Reactivate { note } => Ok(self.reactivate(note)),
            C::Activate { note } => Ok(self.take_into_use(note)),
            C::GrantRole { role } => Ok(self.grant_role(role)),
            C::RevokeRole { role } => self.revoke_role(role),
            C::IssueApiKey {
                key_id,
                name,
                roles,
                expires_at,
                at,
            } => self.issue_api_key(key_id, name, roles, expires_at, at),
            C::IssueKeyPair {
                key_id,
                name,
                dialect,
                mailed,
                expires_at,
                at,
            } => self.issue_key_pair(key_id, name, (dialect, mailed), expires_at, at),
            C::RevokeApiKey { key_id } => self.revoke_api_key(key_id),
            C::BindDevice { device } => Ok(self.bind_device(device)),
            C::UnbindDevice { device } => self.unbind_device(device),
            C::ExpireRegistration { at } => self.expire(at),
            C::Erase => Ok(self.erase()),
        }
    }

    /// Whether the phase lets an order be heard at all.
    fn admit(&self, command: &UserCommand) -> Result<(), UserError> {
        let opens = matches!(command, UserCommand::Register(_) | UserCommand::Import(_));
        match self.phase {
            Phase::Absent if opens => Ok(()),
            // Erasing twice is no error: what it asks for is the case.
            Phase::Erased | Phase::Expired if matches!(command, UserCommand::Erase) => Ok(()),
            Phase::Erased => Err(UserError::Erased),
            Phase::Absent | Phase::Expired => Err(UserError::Unknown),
            _ if opens => Err(UserError::AlreadyExists),
            Phase::Locked if Self::needs_sign_in(command) => Err(UserError::Locked),
            Phase::Deactivated if Self::needs_use(command) => Err(UserError::NotActive),
            _ => Ok(()),
        }
    }

    /// Orders that only somebody who is signed in can give, or that widen the ways in. A lock stops
    /// them; it stops neither a verification nor a password reset, which prove the owner and leave the
    /// lock in place.
    const fn needs_sign_in(command: &UserCommand) -> bool {
        use UserCommand as C;
        matches!(
            command,
            C::RequestEmailChange { .. }
                | C::TakeEmail { .. }
                | C::ConfirmEmailChange { .. }
                | C::ChangePhone { .. }
                | C::ChangePassword { .. }
                | C::IssueApiKey { .. }
                | C::IssueKeyPair { .. }
                | C::BindDevice { .. }
        )
    }

    /// Everything but an administrator's orders. Locking is among them, as a deactivated account is
    /// shut already and unlocking it must not open it.
    const fn needs_use(command: &UserCommand) -> bool {
        use UserCommand as C;
        Self::needs_sign_in(command)
            || matches!(
                command,
                C::RequestEmailVerification(_)
                    | C::VerifyEmail { .. }
                    | C::RequestPhoneVerification(_)
                    | C::VerifyPhone { .. }
                    | C::RequestPasswordReset { .. }
                    | C::ResetPassword { .. }
                    | C::RecoverPassword { .. }
                    | C::Lock { .. }
            )
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use cqrs_es::test::TestFramework;
    use proptest::prelude::*;

    use crate::user::fixtures::{DAY, MINUTE, ada, at, email, id, order, registered};
    use crate::user::{Phase, User, UserCommand, UserError, UserEvent};

    #[tokio::test]
    async fn the_framework_hears_the_same_decisions() {
        let register = UserCommand::Register(Box::new(ada()));
        let given = User::default().events(register.clone());
        let verified = UserEvent::EmailVerified {
            original: Some(id(1)),
            email: email("ada@farm.example").into(),
        };
        TestFramework::<User>::with(())
            .given_no_previous_events()
            .when_async(register.clone())
            .await
            .then_expect_events(given.clone());
        TestFramework::<User>::with(())
            .given(given.clone())
            .when_async(UserCommand::VerifyEmail {
                original: id(1),
                at: at(MINUTE),
            })
            .await
            .then_expect_events(vec![verified]);
        TestFramework::<User>::with(())
            .given(given)
            .when_async(register)
            .await
            .then_expect_error(UserError::AlreadyExists);
    }

    /// Hears orders as they come, the refused ones too. Gives the account and all that happened to it.
    fn live(orders: &[(u8, u8, i64)]) -> (User, Vec<UserEvent>) {
        let mut user = registered(ada());
        let mut events = User::default().events(UserCommand::Register(Box::new(ada())));
        let mut now = 0;
        for (kind, pick, step) in orders {
            now += step;
            let happened = user.decide(order(*kind, *pick, now)).unwrap_or_default();
            for event in &happened {
                user.evolve(event);
            }
            events.extend(happened);
        }
        (user, events)
    }

    /// Orders of every kind but erasure, which would end most stories early; `end` may bring it.
    fn orders() -> impl Strategy<Value = Vec<(u8, u8, i64)>> {
        proptest::collection::vec((0..27u8, 0..8u8, 0..DAY / 20), 0..40)
    }

    proptest! {
        #[test]
        fn a_replay_from_storage_equals_the_live_account(orders in orders(), erase: bool) {
            let mut orders = orders;
            orders.extend(erase.then_some((25, 0, 0)));
            let (live, events) = live(&orders);
            let mut replayed = User::default();
            for event in &events {
                let stored = serde_json::to_string(event).unwrap();
                replayed.evolve(&serde_json::from_str(&stored).unwrap());
            }
            prop_assert_eq!(&replayed, &live);
            let snapshot = serde_json::to_value(&live).unwrap();
            prop_assert_eq!(serde_json::from_value::<User>(snapshot).unwrap(), live);
        }

        #[test]
        fn an_order_repeated_at_once_never_changes_more_than_messages(orders in orders(), kind in 0..28u8, pick in 0..8u8) {
            let (mut user, _) = live(&orders);
            let order = order(kind, pick, 3 * DAY);
            for event in user.decide(order.clone()).unwrap_or_default() {
                user.evolve(&event);
            }
            let again = user.decide(order).unwrap_or_default();
            let harmless = |event: &UserEvent| matches!(
                event,
                UserEvent::EmailVerificationRequested { .. }
                    | UserEvent::PhoneVerificationRequested { .. }
                    | UserEvent::EmailChangeRequested { .. }
                    | UserEvent::PasswordResetRequested { .. }
                    | UserEvent::PasswordChanged { .. }
            );
            prop_assert!(again.iter().all(harmless), "{:?}", again);
        }

        #[test]
        fn an_account_in_use_was_activated_and_one_that_waits_was_not(orders in orders()) {
            let (user, _) = live(&orders);
            match user.phase() {
                Phase::Active => prop_assert!(user.is_activated()),
                Phase::Pending => prop_assert!(!user.is_activated() && !user.email_verified() && !user.phone_verified()),
                _ => {}
            }
        }

        #[test]
        fn whoever_is_gone_has_no_names_left(orders in orders()) {
            let (user, _) = live(&orders);
            if user.is_erased() {
                prop_assert!(user.email().is_none() && user.phone().is_none() && user.username().is_none());
                prop_assert_eq!(user.devices().count() + user.api_keys().count(), 0);
            } else {
                let named = user.email().is_some() || user.phone().is_some() || user.username().is_some();
                prop_assert!(named || user.devices().count() > 0);
            }
        }
    }
}
