//! Who may use the account and for what: locks, roles, API keys and devices.

use uuid::Uuid;

use super::state::HeldKey;
use super::{Phase, User, UserError, UserEvent};
use crate::values::{ApiKeyName, DeviceKey, Dialect, LockReason, Note, Role, Timestamp};

/// How many API keys of one account may work at a time: enough for any person's programs, few enough to be listed
/// whole.
pub const MOST_API_KEYS: usize = 100;

impl User {
    /// Whether what the account may do covers a role: an administrator may do everything.
    #[must_use]
    pub fn covers(&self, role: Role) -> bool {
        self.has_role(role) || self.has_role(Role::Admin)
    }

    pub(super) fn lock(&self, reason: LockReason, note: Option<Note>) -> Vec<UserEvent> {
        if self.phase == Phase::Locked {
            vec![]
        } else {
            vec![UserEvent::Locked {
                reason,
                note: note.into(),
            }]
        }
    }

    pub(super) fn unlock(&self, note: Option<Note>) -> Vec<UserEvent> {
        if self.phase == Phase::Locked {
            vec![UserEvent::Unlocked { note: note.into() }]
        } else {
            vec![]
        }
    }

    /// Also a locked account: deactivating takes the place of the lock.
    pub(super) fn deactivate(&self, note: Option<Note>) -> Vec<UserEvent> {
        if self.phase == Phase::Deactivated {
            vec![]
        } else {
            vec![UserEvent::Deactivated { note: note.into() }]
        }
    }

    pub(super) fn reactivate(&self, note: Option<Note>) -> Vec<UserEvent> {
        if self.phase == Phase::Deactivated {
            vec![UserEvent::Reactivated { note: note.into() }]
        } else {
            vec![]
        }
    }

    /// What shut the account is lifted first. Its address and its number stay as unproved as they were.
    pub(super) fn take_into_use(&self, note: Option<Note>) -> Vec<UserEvent> {
        let mut events = match self.phase {
            Phase::Locked => self.unlock(note.clone()),
            Phase::Deactivated => self.reactivate(note.clone()),
            _ => vec![],
        };
        if !self.activated {
            events.push(UserEvent::Activated { note: note.into() });
        }
        events
    }

    pub(super) fn grant_role(&self, role: Role) -> Vec<UserEvent> {
        if self.has_role(role) {
            vec![]
        } else {
            vec![UserEvent::RoleGranted { role }]
        }
    }

    pub(super) fn revoke_role(&self, role: Role) -> Result<Vec<UserEvent>, UserError> {
        match role {
            Role::User => Err(UserError::RoleOfEveryone),
            role if self.has_role(role) => Ok(vec![UserEvent::RoleRevoked { role }]),
            _ => Ok(vec![]),
        }
    }

    pub(super) fn issue_api_key(
        &self,
        key_id: Uuid,
        name: ApiKeyName,
        mut roles: Vec<Role>,
        expires_at: Option<Timestamp>,
        at: Timestamp,
    ) -> Result<Vec<UserEvent>, UserError> {
        if self.api_keys.contains_key(&key_id) {
            return Ok(vec![]);
        }
        if roles.iter().any(|role| !self.covers(*role)) {
            return Err(UserError::TooManyRoles);
        }
        let works = |key: &&HeldKey| !key.revoked && key.expires_at.is_none_or(|end| at < end);
        if self.api_keys.values().filter(works).count() >= MOST_API_KEYS {
            return Err(UserError::TooManyKeys);
        }
        if expires_at.is_some_and(|expires_at| expires_at <= at) {
            return Err(UserError::ExpiryInThePast);
        }
        roles.sort_unstable();
        roles.dedup();
        Ok(vec![UserEvent::ApiKeyIssued {
            key_id,
            name: name.into(),
            roles,
            expires_at,
            paired: None,
            mailed: false,
        }])
    }

    /// There is one pair at a time: whoever asks for another has lost the one before, or no longer trusts it.
    pub(super) fn issue_key_pair(
        &self,
        key_id: Uuid,
        name: ApiKeyName,
        (dialect, mailed): (Dialect, bool),
        expires_at: Option<Timestamp>,
        at: Timestamp,
    ) -> Result<Vec<UserEvent>, UserError> {
        if expires_at.is_some_and(|expires_at| expires_at <= at) {
            return Err(UserError::ExpiryInThePast);
        }
        let before = self
            .api_keys
            .iter()
            .filter(|(_, key)| key.paired && !key.revoked)
            .map(|(id, _)| *id);
        let works = |key: &&HeldKey| !key.revoked && !key.paired && key.expires_at.is_none_or(|end| at < end);
        if self.api_keys.values().filter(works).count() >= MOST_API_KEYS {
            return Err(UserError::TooManyKeys);
        }
        let issued = UserEvent::ApiKeyIssued {
            key_id,
            name: name.into(),
            roles: Vec::new(),
            expires_at,
            paired: Some(dialect),
            mailed,
        };
        Ok(before
            .map(|key_id| UserEvent::ApiKeyRevoked { key_id })
            .chain(std::iter::once(issued))
            .collect())
    }

    pub(super) fn revoke_api_key(&self, key_id: Uuid) -> Result<Vec<UserEvent>, UserError> {
        match self.api_keys.get(&key_id) {
            None => Err(UserError::KeyUnknown),
            Some(key) if key.revoked => Ok(vec![]),
            Some(_) => Ok(vec![UserEvent::ApiKeyRevoked { key_id }]),
        }
    }

    pub(super) fn bind_device(&self, device: DeviceKey) -> Vec<UserEvent> {
        if self.devices.contains(&device) {
            vec![]
        } else {
            vec![UserEvent::DeviceBound { device: device.into() }]
        }
    }

    pub(super) fn unbind_device(&self, device: DeviceKey) -> Result<Vec<UserEvent>, UserError> {
        if !self.devices.contains(&device) {
            return Ok(vec![]);
        }
        let others = self.username.is_some() || self.email.is_some() || self.phone.is_some() || self.devices.len() > 1;
        if others {
            Ok(vec![UserEvent::DeviceUnbound { device: device.into() }])
        } else {
            Err(UserError::NothingToSignInWith)
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::MOST_API_KEYS;
    use crate::user::fixtures::{HOUR, ada, at, device, id, nobody, note, registered, tim, verified_ada};
    use crate::user::{Phase, Register, UserCommand, UserError, UserEvent};
    use crate::values::{ApiKeyName, Dialect, LockReason, Role};

    const LOCK: UserCommand = UserCommand::Lock {
        reason: LockReason::Admin,
        note: None,
    };
    const UNLOCK: UserCommand = UserCommand::Unlock { note: None };
    const DEACTIVATE: UserCommand = UserCommand::Deactivate { note: None };
    const REACTIVATE: UserCommand = UserCommand::Reactivate { note: None };
    const ACTIVATE: UserCommand = UserCommand::Activate { note: None };

    #[test]
    fn a_lock_carries_its_reason_and_the_administrators_words() {
        let lock = UserCommand::Lock {
            reason: LockReason::Admin,
            note: Some(note("asked for by phone")),
        };
        let note = note("asked for by phone").into();
        assert_eq!(
            verified_ada().events(lock),
            [UserEvent::Locked {
                reason: LockReason::Admin,
                note
            }]
        );
    }

    #[test]
    fn locking_and_unlocking_twice_changes_nothing() {
        let locked = verified_ada().then(LOCK);
        assert_eq!(locked.phase(), Phase::Locked);
        assert_eq!(locked.events(LOCK), []);
        let unlocked = locked.then(UNLOCK);
        assert_eq!(unlocked.phase(), Phase::Active);
        assert_eq!(unlocked.events(UNLOCK), []);
    }

    #[test]
    fn unlocking_goes_back_to_where_the_account_stood() {
        assert_eq!(registered(ada()).then(LOCK).then(UNLOCK).phase(), Phase::Pending);
        assert_eq!(
            registered(ada()).then(DEACTIVATE).then(REACTIVATE).phase(),
            Phase::Pending
        );
        assert_eq!(verified_ada().then(DEACTIVATE).then(REACTIVATE).phase(), Phase::Active);
    }

    #[test]
    fn taking_into_use_lifts_whatever_keeps_an_account_out_and_verifies_nothing() {
        let activated = UserEvent::Activated { note: None.into() };
        for (shut, lifted) in [
            (None, None),
            (Some(LOCK), Some(UserEvent::Unlocked { note: None.into() })),
            (Some(DEACTIVATE), Some(UserEvent::Reactivated { note: None.into() })),
        ] {
            let shut_one = |user: crate::user::User| match shut.clone() {
                Some(order) => user.then(order),
                None => user,
            };
            let never = shut_one(registered(ada()));
            let events: Vec<_> = lifted.clone().into_iter().chain([activated.clone()]).collect();
            assert_eq!(never.events(ACTIVATE), events);
            let in_use = never.then(ACTIVATE);
            assert_eq!(
                (in_use.phase(), in_use.email_verified(), in_use.expires_at()),
                (Phase::Active, false, None)
            );
            assert_eq!(in_use.events(ACTIVATE), []);
            // The link of its mail still verifies the address, and a lock goes back to where it stood.
            assert!(in_use.then(LOCK).then(UNLOCK).phase() == Phase::Active);
            // Who was verified needs the lifting only.
            assert_eq!(
                shut_one(verified_ada()).events(ACTIVATE),
                lifted.into_iter().collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn deactivating_and_reactivating_twice_changes_nothing() {
        let off = verified_ada().then(DEACTIVATE);
        assert_eq!(off.events(DEACTIVATE), []);
        assert_eq!(verified_ada().events(REACTIVATE), []);
    }

    #[test]
    fn a_deactivated_account_is_not_opened_by_locking_and_unlocking_it() {
        let off = verified_ada().then(DEACTIVATE);
        assert_eq!(off.refusal(LOCK), UserError::NotActive);
        assert_eq!(off.events(UNLOCK), []);
    }

    #[test]
    fn a_locked_account_is_not_opened_by_reactivating_it() {
        assert_eq!(verified_ada().then(LOCK).events(REACTIVATE), []);
        assert_eq!(verified_ada().then(LOCK).then(DEACTIVATE).phase(), Phase::Deactivated);
    }

    #[test]
    fn a_role_is_given_once_and_taken_once() {
        let give = UserCommand::GrantRole { role: Role::Auditor };
        let take = UserCommand::RevokeRole { role: Role::Auditor };
        let auditor = verified_ada().then(give.clone());
        assert!(auditor.has_role(Role::Auditor));
        assert_eq!(auditor.events(give), []);
        let plain = auditor.then(take.clone());
        assert!(!plain.has_role(Role::Auditor));
        assert_eq!(plain.events(take), []);
    }

    #[test]
    fn everybody_is_a_user_and_stays_one() {
        assert!(verified_ada().has_role(Role::User));
        assert_eq!(verified_ada().events(UserCommand::GrantRole { role: Role::User }), []);
        assert_eq!(
            verified_ada().refusal(UserCommand::RevokeRole { role: Role::User }),
            UserError::RoleOfEveryone
        );
    }

    fn issue(roles: &[Role], expires_in: Option<i64>) -> UserCommand {
        UserCommand::IssueApiKey {
            key_id: id(7),
            name: ApiKeyName::parse("field app").unwrap(),
            roles: roles.to_vec(),
            expires_at: expires_in.map(at),
            at: at(HOUR),
        }
    }

    #[test]
    fn a_key_may_do_what_its_owner_may_and_no_more() {
        assert_eq!(
            verified_ada().refusal(issue(&[Role::User, Role::Admin], None)),
            UserError::TooManyRoles
        );
        let admin = verified_ada().then(UserCommand::GrantRole { role: Role::Admin });
        let events = admin.events(issue(&[Role::Admin, Role::User, Role::Admin], None));
        assert!(matches!(&events[..], [UserEvent::ApiKeyIssued { roles, .. }] if *roles == [Role::User, Role::Admin]));
    }

    #[test]
    fn an_administrators_key_may_have_any_lesser_role() {
        let admin = verified_ada().then(UserCommand::GrantRole { role: Role::Admin });
        assert_eq!(admin.events(issue(&[Role::Subscriber], None)).len(), 1);
        let auditor = verified_ada().then(UserCommand::GrantRole { role: Role::Auditor });
        assert_eq!(
            auditor.refusal(issue(&[Role::Subscriber], None)),
            UserError::TooManyRoles
        );
    }

    #[test]
    fn an_account_has_at_most_a_hundred_keys_that_work() {
        let nth = |n: u128, expires_at: Option<i64>| UserCommand::IssueApiKey {
            key_id: id(1_000 + n),
            name: ApiKeyName::parse("one of many").unwrap(),
            roles: vec![],
            expires_at: expires_at.map(at),
            at: at(HOUR),
        };
        let mut ada = verified_ada().then(nth(0, Some(HOUR + 1)));
        for n in 1..MOST_API_KEYS as u128 {
            ada = ada.then(nth(n, None));
        }
        assert_eq!(ada.refusal(nth(100, None)), UserError::TooManyKeys);
        let later = UserCommand::IssueApiKey {
            key_id: id(5_000),
            name: ApiKeyName::parse("after one has lapsed").unwrap(),
            roles: vec![],
            expires_at: None,
            at: at(HOUR + 1),
        };
        assert_eq!(ada.events(later).len(), 1);
        let ada = ada.then(UserCommand::RevokeApiKey { key_id: id(1_001) });
        assert_eq!(ada.events(nth(100, None)).len(), 1);
    }

    #[test]
    fn a_key_is_not_made_to_have_expired_already() {
        assert_eq!(
            verified_ada().refusal(issue(&[], Some(HOUR))),
            UserError::ExpiryInThePast
        );
        assert_eq!(verified_ada().events(issue(&[], Some(HOUR + 1))).len(), 1);
    }

    #[test]
    fn the_same_key_is_not_made_twice() {
        assert_eq!(verified_ada().then(issue(&[], None)).events(issue(&[], None)), []);
    }

    #[test]
    fn a_key_is_revoked_once() {
        let revoke = UserCommand::RevokeApiKey { key_id: id(7) };
        assert_eq!(verified_ada().refusal(revoke.clone()), UserError::KeyUnknown);
        let revoked = verified_ada().then(issue(&[], None)).then(revoke.clone());
        assert_eq!(revoked.events(revoke), []);
        assert!(revoked.api_keys().all(|(_, key)| key.revoked));
    }

    #[test]
    fn a_key_can_be_revoked_while_the_account_is_locked_but_not_made() {
        let locked = verified_ada().then(issue(&[], None)).then(LOCK);
        assert_eq!(locked.events(UserCommand::RevokeApiKey { key_id: id(7) }).len(), 1);
        assert_eq!(locked.refusal(issue(&[], None)), UserError::Locked);
    }

    #[test]
    fn a_device_is_bound_once_and_unbound_once() {
        let bind = UserCommand::BindDevice { device: device(1) };
        let unbind = UserCommand::UnbindDevice { device: device(1) };
        let bound = registered(tim()).then(bind.clone());
        assert_eq!(bound.devices().collect::<Vec<_>>(), [&device(1)]);
        assert_eq!(bound.events(bind), []);
        assert_eq!(bound.then(unbind.clone()).events(unbind), []);
    }

    #[test]
    fn the_last_way_to_sign_in_is_not_taken() {
        let only_device = registered(Register {
            device: Some(device(1)),
            ..nobody()
        });
        let unbind = UserCommand::UnbindDevice { device: device(1) };
        assert_eq!(only_device.refusal(unbind.clone()), UserError::NothingToSignInWith);
        let two = only_device.then(UserCommand::BindDevice { device: device(2) });
        assert_eq!(two.events(unbind).len(), 1);
    }

    fn pair(key: u128) -> UserCommand {
        UserCommand::IssueKeyPair {
            key_id: id(key),
            name: ApiKeyName::parse("AgStack").unwrap(),
            dialect: Dialect::Agstack,
            mailed: false,
            expires_at: None,
            at: at(HOUR),
        }
    }

    #[test]
    fn a_pair_of_keys_may_have_an_end_and_not_one_that_has_passed() {
        let until = |end: i64| UserCommand::IssueKeyPair {
            key_id: id(71),
            name: ApiKeyName::parse("AgStack").unwrap(),
            dialect: Dialect::Agstack,
            mailed: false,
            expires_at: Some(at(end)),
            at: at(HOUR),
        };
        assert_eq!(verified_ada().refusal(until(HOUR)), UserError::ExpiryInThePast);
        let events = verified_ada().events(until(HOUR + 1));
        assert!(
            matches!(&events[..], [UserEvent::ApiKeyIssued { expires_at: Some(end), .. }] if *end == at(HOUR + 1)),
            "{events:?}"
        );
    }

    #[test]
    fn another_pair_of_keys_takes_the_place_of_the_one_before_and_of_no_other_key() {
        let ada = verified_ada().then(UserCommand::IssueApiKey {
            key_id: id(70),
            name: ApiKeyName::parse("own").unwrap(),
            roles: vec![],
            expires_at: None,
            at: at(HOUR),
        });
        assert_eq!(ada.events(pair(71)).len(), 1);
        let events = ada.clone().then(pair(71)).events(pair(72));
        assert!(
            matches!(&events[..], [
                UserEvent::ApiKeyRevoked { key_id: before },
                UserEvent::ApiKeyIssued { key_id, paired: Some(Dialect::Agstack), .. },
            ] if *before == id(71) && *key_id == id(72)),
            "{events:?}"
        );
        assert_eq!(ada.then(pair(71)).then(pair(72)).events(pair(73)).len(), 2);
    }
}
