//! Stories of one account, and two proofs: a fold may stop and go on, and the row never disagrees
//! with the aggregate.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
use aggregates::event::Personal;
use aggregates::user::{Phase, ProfileChange, User, UserCommand};
use aggregates::values::{EndReason, LockReason, Role, SessionMethod};
use proptest::prelude::*;

use super::*;
use crate::fixtures::{
    HOUR, USER, ada, ada_without_address, at, change_email, device, email, fold, fold_from, id, link, order, recorded,
    story, story_of, verify,
};

/// The row after Ada registered and these orders were heard.
fn row(orders: impl IntoIterator<Item = UserCommand>) -> UserRow {
    fold(&story(orders).1).unwrap()
}

#[test]
fn a_registration_makes_a_row_with_its_names_in_both_forms() {
    let ada = row([]);
    assert_eq!(ada.id.to_string(), USER);
    assert_eq!(
        (ada.username.as_deref(), ada.username_canonical.as_deref()),
        (Some("Ada"), Some("ada"))
    );
    assert_eq!(ada.email.as_deref(), Some("Ada@farm.example"));
    assert_eq!(ada.email_canonical.as_deref(), Some("ada@farm.example"));
    assert_eq!(ada.email_domain.as_deref(), Some("farm.example"));
    assert_eq!(
        (ada.phone.as_deref(), ada.phone_registered.as_deref()),
        (Some("+6584932466"), Some("8493 2466"))
    );
    assert_eq!(ada.devices, [device(1).as_str()]);
    assert_eq!(
        (ada.status, ada.activated, ada.credential_version),
        (Status::Pending, false, 1)
    );
    assert_eq!(ada.expires_at, Some(at(24 * HOUR)));
}

#[test]
fn a_row_counts_the_events_of_its_own_stream() {
    let ada = row([verify()]);
    assert_eq!((ada.version, ada.log_position, ada.created_position), (3, 3, 1));
    assert_eq!((ada.created_at, ada.updated_at), (at(1_000_000), at(3_000_000)));
}

#[test]
fn verifying_activates_and_takes_the_end_away() {
    let ada = row([verify()]);
    assert_eq!(
        (ada.status, ada.activated, ada.email_verified, ada.expires_at),
        (Status::Active, true, true, None)
    );
}

#[test]
fn an_import_keeps_when_the_older_system_opened_the_account() {
    let import = |active, email_verified, created_at| UserEvent::Imported {
        dialect: Dialect::Cadasta,
        username: Username::parse("joan").unwrap().into(),
        email: Email::parse("joan@farm.example").unwrap().into(),
        phone: Personal::unknown(),
        full_name: FullName::parse("Joan").unwrap().into(),
        email_verified,
        phone_verified: false,
        active,
        created_at,
        credential_version: 1,
    };
    let joan = fold(&[import(true, true, Some(at(-HOUR)))]).unwrap();
    assert_eq!((joan.created_at, joan.updated_at), (at(-HOUR), at(1_000_000)));
    assert_eq!((joan.status, joan.dialect), (Status::Active, Dialect::Cadasta));
    assert_eq!(fold(&[import(false, true, None)]).unwrap().status, Status::Deactivated);
    assert_eq!(fold(&[import(false, false, None)]).unwrap().status, Status::Pending);
}

#[test]
fn a_new_address_is_reserved_until_it_is_confirmed() {
    let asked = row([verify(), change_email(5, "Ada@New.example")]);
    assert_eq!(asked.pending_email_canonical.as_deref(), Some("ada@new.example"));
    assert_eq!(asked.pending_email_expires, Some(at(1 + HOUR)));
    assert_eq!(asked.email_canonical.as_deref(), Some("ada@farm.example"));

    let confirm = UserCommand::ConfirmEmailChange {
        standing: aggregates::values::Standing::Allowed,
        original: id(5),
        at: at(2),
    };
    let changed = row([verify(), change_email(5, "Ada@New.example"), confirm]);
    assert_eq!(
        (changed.pending_email_canonical, changed.pending_email_expires),
        (None, None)
    );
    assert_eq!(changed.email_domain.as_deref(), Some("new.example"));
    assert!(changed.email_verified);
}

#[test]
fn a_new_password_frees_the_reserved_address() {
    let change = UserCommand::ChangePassword { kept_session: None };
    let ada = row([verify(), change_email(5, "ada@new.example"), change]);
    assert_eq!((ada.pending_email_canonical, ada.pending_email_expires), (None, None));
}

#[test]
fn changing_the_password_ends_all_sessions_but_the_one_kept() {
    let ada = row([
        verify(),
        UserCommand::ChangePassword {
            kept_session: Some(id(9)),
        },
    ]);
    assert_eq!(
        (ada.session_epoch, ada.kept_session, ada.credential_version),
        (4, Some(id(9)), 2)
    );
}

#[test]
fn a_reset_a_lock_and_a_deactivation_end_all_sessions() {
    let kept = UserCommand::ChangePassword {
        kept_session: Some(id(9)),
    };
    for order in [
        UserCommand::Lock {
            reason: LockReason::Admin,
            note: None,
        },
        UserCommand::Deactivate { note: None },
    ] {
        let ada = row([verify(), kept.clone(), order]);
        assert_eq!((ada.session_epoch, ada.kept_session), (5, None));
    }
    let ask = UserCommand::RequestPasswordReset {
        channel: aggregates::values::Channel::Mail,
        link: link(6, 1),
    };
    let reset = UserCommand::ResetPassword {
        original: id(6),
        at: at(2),
    };
    let ada = row([verify(), kept, ask, reset]);
    assert_eq!(
        (ada.session_epoch, ada.kept_session, ada.credential_version),
        (6, None, 3)
    );
}

#[test]
fn a_role_ends_no_session() {
    let ada = row([verify(), UserCommand::GrantRole { role: Role::Admin }]);
    assert_eq!((ada.session_epoch, ada.roles), (0, vec![Role::Admin]));
}

#[test]
fn unlocking_goes_back_to_where_the_account_stood() {
    let lock = UserCommand::Lock {
        reason: LockReason::Attempts,
        note: None,
    };
    let unlock = UserCommand::Unlock { note: None };
    assert_eq!(row([lock.clone(), unlock.clone()]).status, Status::Pending);
    assert_eq!(row([lock.clone(), verify(), unlock]).status, Status::Active);
    assert_eq!(row([lock, verify()]).status, Status::Locked);
}

#[test]
fn roles_and_devices_are_sorted() {
    let ada = row([
        verify(),
        UserCommand::GrantRole { role: Role::Admin },
        UserCommand::GrantRole { role: Role::Auditor },
        UserCommand::BindDevice { device: device(0) },
    ]);
    assert_eq!(ada.roles, [Role::Auditor, Role::Admin]);
    assert_eq!(ada.devices, [device(0).as_str(), device(1).as_str()]);
}

#[test]
fn an_address_that_was_added_is_unverified_and_drops_the_one_that_was_asked_for() {
    let take = UserCommand::TakeEmail {
        email: email("ada@old.example"),
        standing: aggregates::values::Standing::Allowed,
        link: link(6, 1),
    };
    let (_, events) = story_of(ada_without_address(), [change_email(5, "ada@new.example"), take]);
    let row = fold(&events).unwrap();
    assert_eq!(
        (row.email.as_deref(), row.email_domain.as_deref(), row.email_verified),
        (Some("ada@old.example"), Some("old.example"), false)
    );
    assert_eq!((row.pending_email_canonical, row.pending_email_expires), (None, None));
}

#[test]
fn the_profile_takes_what_changed_and_clears_what_was_cleared() {
    let update = |change| UserCommand::UpdateProfile(Box::new(change));
    let place = Coordinates::new(1.3, 103.8).unwrap();
    let set = ProfileChange {
        full_name: Some(FullName::parse("Ada Lovelace").ok()),
        discoverable: Some(true),
        position: Some(Some((place, Country::parse("SG").ok()))),
        locale: Some(Locale::parse("en").ok()),
        ..ProfileChange::default()
    };
    let ada = row([update(set.clone())]);
    assert_eq!(
        (ada.latitude, ada.longitude, ada.country.as_deref()),
        (Some(1.3), Some(103.8), Some("SG"))
    );
    assert_eq!(
        (ada.full_name.as_deref(), ada.discoverable),
        (Some("Ada Lovelace"), true)
    );
    let clear = ProfileChange {
        position: Some(None),
        ..ProfileChange::default()
    };
    let ada = row([update(set), update(clear)]);
    assert_eq!((ada.latitude, ada.longitude, ada.country), (None, None, None));
    assert_eq!(ada.locale.as_deref(), Some("en"));
}

#[test]
fn whoever_is_erased_or_expired_has_no_row() {
    let (_, mut events) = story([UserCommand::Erase]);
    assert_eq!(fold(&events), None);
    events.pop();
    events.push(UserEvent::Expired {});
    assert_eq!(fold(&events), None);
}

#[test]
fn what_was_personal_and_is_erased_is_left_empty() {
    let erased: UserEvent = serde_json::from_value(serde_json::json!({
        "type": "user.registered", "dialect": "taxi", "discoverable": false, "email_verified": false,
        "active": false, "credential_version": 1,
    }))
    .unwrap();
    let verified = UserEvent::EmailVerified {
        original: None,
        email: Personal::unknown(),
    };
    let row = fold(&[erased, verified]).unwrap();
    assert_eq!((row.email, row.username, row.phone), (None, None, None));
    assert_eq!((row.status, row.email_verified), (Status::Active, true));
}

#[test]
fn an_event_without_a_beginning_makes_no_row() {
    assert_eq!(fold(&[UserEvent::RoleGranted { role: Role::Admin }]), None);
}

#[test]
fn signing_in_is_remembered_without_touching_the_version() {
    let before = row([verify()]);
    let started = SessionEvent::Started {
        user: before.id,
        dialect: Dialect::Canonical,
        method: SessionMethod::Password,
        idle_expires_at: at(HOUR),
        expires_at: at(HOUR),
    };
    let after = UserRow::fold_session(Some(before.clone()), &recorded("s", &started, 9)).unwrap();
    assert_eq!(
        after,
        UserRow {
            last_login: Some(at(9_000_000)),
            ..before
        }
    );
}

#[test]
fn ending_all_sessions_keeps_none_and_ending_one_ends_one() {
    let before = row([
        verify(),
        UserCommand::ChangePassword {
            kept_session: Some(id(9)),
        },
    ]);
    let one = SessionEvent::Ended {
        reason: EndReason::Logout,
        all: false,
    };
    assert_eq!(
        UserRow::fold_session(Some(before.clone()), &recorded("s", &one, 9)).unwrap(),
        before
    );
    let all = SessionEvent::Ended {
        reason: EndReason::All,
        all: true,
    };
    let after = UserRow::fold_session(Some(before.clone()), &recorded("s", &all, 9)).unwrap();
    assert_eq!(
        after,
        UserRow {
            session_epoch: 9,
            kept_session: None,
            ..before
        }
    );
    assert_eq!(UserRow::fold_session(None, &recorded("s", &all, 9)), None);
}

fn histories() -> impl Strategy<Value = Vec<(u8, u8)>> {
    proptest::collection::vec((0..23u8, 0..6u8), 0..40)
}

/// The same for somebody with an address and for somebody without.
fn lives() -> impl Strategy<Value = (User, Vec<UserEvent>)> {
    (any::<bool>(), histories()).prop_map(|(with_address, history)| {
        let register = if with_address { ada() } else { ada_without_address() };
        story_of(register, history.into_iter().map(|(kind, pick)| order(kind, pick)))
    })
}

proptest! {
    #[test]
    fn a_fold_that_stops_and_goes_on_gives_the_same_row((_, events) in lives(), split: prop::sample::Index) {
        let (first, second) = events.split_at(split.index(events.len()));
        let next = i64::try_from(first.len()).unwrap() + 1;
        prop_assert_eq!(fold_from(fold(first), next, second), fold(&events));
    }

    /// What the registry answers from and what it decides from never drift apart.
    #[test]
    fn the_row_says_what_the_aggregate_says((user, events) in lives()) {
        let Some(row) = fold(&events) else {
            prop_assert!(user.is_erased());
            return Ok(());
        };
        let status = match user.phase() {
            Phase::Pending => Status::Pending,
            Phase::Active => Status::Active,
            Phase::Locked => Status::Locked,
            Phase::Deactivated => Status::Deactivated,
            Phase::Absent | Phase::Erased | Phase::Expired => unreachable!("it has a row"),
        };
        prop_assert_eq!(row.status, status);
        prop_assert_eq!(row.activated, user.is_activated());
        prop_assert_eq!(row.version, i64::try_from(events.len()).unwrap());
        prop_assert_eq!(row.username.as_deref(), user.username().map(Username::as_str));
        prop_assert_eq!(row.email.as_deref(), user.email().map(Email::as_str));
        prop_assert_eq!(row.email_verified, user.email_verified());
        prop_assert_eq!(row.phone.as_deref(), user.phone().map(Phone::msisdn));
        prop_assert_eq!(row.phone_verified, user.phone_verified());
        prop_assert_eq!(row.credential_version, i64::from(user.credential_version()));
        prop_assert_eq!(row.expires_at, user.expires_at());
        let pending = user.open_email_change().map(|open| open.email.canonical());
        prop_assert_eq!(row.pending_email_canonical.as_deref(), pending);
        let devices: Vec<_> = user.devices().map(|device| device.as_str().to_owned()).collect();
        prop_assert_eq!(row.devices, devices);
        let roles: Vec<_> = user.roles().filter(|role| *role != Role::User).collect();
        prop_assert_eq!(row.roles, roles);
    }
}
