//! Sessions: what ends them, seen on another instance.

use std::sync::Arc;

use aggregates::session::{Session, SessionCommand};
use aggregates::user::{User, UserCommand};
use aggregates::values::{EndReason, LockReason};
use user_registry::store::{Secret, SecretKind, Store};
use uuid::Uuid;

use crate::harness::{Database, Raw};
use crate::people::{account, fresh_id, session_start, sign_in, staged, start_session, tell, tell_user};

/// A sign-in with its refresh token.
async fn signed_in(store: &Store, user: Uuid) -> Uuid {
    let (id, unit) = session_start(store, user).await;
    unit.secret(Secret {
        kind: SecretKind::Refresh,
        hash: hash(id),
        owner: id.to_string(),
        user_id: Some(user),
        generation: 0,
        expires_at: None,
    });
    unit.append().await.unwrap();
    id
}

fn hash(session: Uuid) -> [u8; 32] {
    let mut hash = [0; 32];
    hash[..16].copy_from_slice(session.as_bytes());
    hash
}

async fn is_live(store: &Store, session: Uuid) -> bool {
    store
        .authenticated(session)
        .await
        .unwrap()
        .is_some_and(|row| row.is_live(session, store.now()))
}

async fn has_secret(store: &Store, session: Uuid) -> bool {
    store
        .secret(SecretKind::Refresh, &hash(session))
        .await
        .unwrap()
        .is_some()
}

/// Whether exactly these sessions of `all` are live, with their rows and secrets.
async fn live(store: &Store, raw: &mut Raw, all: &[Uuid], expected: &[Uuid]) {
    for session in all {
        let wanted = expected.contains(session);
        assert_eq!(is_live(store, *session).await, wanted);
        assert_eq!(has_secret(store, *session).await, wanted);
        assert_eq!(
            raw.count("sessions", &format!("id = '{session}'")).await,
            i64::from(wanted)
        );
    }
}

pub async fn a_password_change_ends_every_other_session(database: Arc<Database>) {
    let (one, other) = (database.open().await, database.open().await);
    let mut raw = database.raw().await;
    let (ada, grace) = (
        account(&one, "ada@farm.example").await,
        account(&one, "grace@farm.example").await,
    );
    let mut hers = Vec::new();
    for number in 0..4 {
        hers.push(signed_in(if number % 2 == 0 { &one } else { &other }, ada).await);
    }
    let graces = signed_in(&one, grace).await;
    tell_user(&one, ada, || UserCommand::ChangePassword {
        kept_session: Some(hers[1]),
    })
    .await;
    live(&other, &mut raw, &hers, &hers[1..2]).await;
    // A new one begins, and the kept one outlives another change that keeps it.
    hers.push(signed_in(&other, ada).await);
    live(&one, &mut raw, &hers, &[hers[1], hers[4]]).await;
    tell_user(&other, ada, || UserCommand::ChangePassword {
        kept_session: Some(hers[4]),
    })
    .await;
    live(&one, &mut raw, &hers, &[hers[4]]).await;
    tell_user(&one, ada, || UserCommand::ChangePassword { kept_session: None }).await;
    live(&other, &mut raw, &hers, &[]).await;
    live(&other, &mut raw, &[graces], &[graces]).await;

    // A change and a new session in one unit: the new one is younger than the end.
    let unit = staged::<User>(
        &one,
        &ada.to_string(),
        UserCommand::ChangePassword { kept_session: None },
    )
    .await;
    let session = fresh_id(&one);
    unit.is_fresh::<Session>(&session.to_string());
    unit.execute::<Session>(&session.to_string(), start_session(&one, ada))
        .await
        .unwrap();
    unit.append().await.unwrap();
    assert!(is_live(&other, session).await);
    assert_eq!(other.sessions(ada).await.unwrap().len(), 1);
    assert_eq!(one.rebuild(false).await.unwrap().differences, []);
}

pub async fn the_end_of_all_sessions_ends_every_one(database: Arc<Database>) {
    let (one, other) = (database.open().await, database.open().await);
    let mut raw = database.raw().await;
    let ada = account(&one, "ada@farm.example").await;
    let mut hers = Vec::new();
    for _ in 0..3 {
        hers.push(signed_in(&one, ada).await);
    }
    let version = one.user(ada).await.unwrap().unwrap().version;
    let end = |all| {
        move || SessionCommand::End {
            reason: EndReason::Logout,
            all,
        }
    };
    tell::<Session>(&other, &hers[2].to_string(), end(false)).await;
    assert!(!is_live(&one, hers[2]).await);
    live(&one, &mut raw, &hers[..2], &hers[..2]).await;
    tell::<Session>(&other, &hers[0].to_string(), end(true)).await;
    live(&one, &mut raw, &hers[..2], &[]).await;
    assert_eq!(one.sessions(ada).await.unwrap(), []);
    let row = one.user(ada).await.unwrap().unwrap();
    assert_eq!(row.version, version, "a sign-out is no event of the account");
    let next = sign_in(&other, ada).await;
    assert!(is_live(&one, next).await);
    // A token that was used twice ends its session, and only that one.
    let spent = signed_in(&one, ada).await;
    let refresh = |generation, later: i64| {
        let at = one.now().plus(later);
        move || SessionCommand::Refresh {
            generation,
            idle: crate::people::DAY,
            at,
        }
    };
    tell::<Session>(&one, &spent.to_string(), refresh(0, 0)).await;
    tell::<Session>(&other, &spent.to_string(), refresh(0, crate::people::HOUR)).await;
    assert!(!is_live(&one, spent).await && is_live(&one, next).await);
    assert_eq!(one.rebuild(false).await.unwrap().differences, []);
}

pub async fn a_lock_ends_sessions_and_what_was_erased_opens_nothing(database: Arc<Database>) {
    let (one, other) = (database.open().await, database.open().await);
    let mut raw = database.raw().await;
    let ada = account(&one, "ada@farm.example").await;
    let before = signed_in(&one, ada).await;
    tell_user(&one, ada, || UserCommand::Lock {
        reason: LockReason::Attempts,
        note: None,
    })
    .await;
    live(&other, &mut raw, &[before], &[]).await;
    // One that was begun while the lock was on its way opens nothing either.
    let during = sign_in(&other, ada).await;
    assert!(!is_live(&one, during).await);
    tell_user(&other, ada, || UserCommand::Unlock { note: None }).await;
    assert!(is_live(&one, during).await);
    tell_user(&one, ada, || UserCommand::Deactivate { note: None }).await;
    tell_user(&one, ada, || UserCommand::Reactivate { note: None }).await;
    assert!(!is_live(&other, during).await);
    let last = signed_in(&other, ada).await;
    tell_user(&one, ada, || UserCommand::Erase).await;
    live(&other, &mut raw, &[before, during, last], &[]).await;
    // A session that is too old opens nothing, whatever else holds.
    let grace = account(&one, "grace@farm.example").await;
    let graces = signed_in(&one, grace).await;
    let row = other.authenticated(graces).await.unwrap().unwrap();
    assert!(!row.is_live(graces, row.expires_at) && row.is_live(graces, row.expires_at.plus(-1)));
}
