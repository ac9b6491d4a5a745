//! Replacing the master key under a store with more data keys than one transaction re-wraps.

use std::sync::Arc;

use aggregates::values::Timestamp;
use user_registry::clock::Clock;
use user_registry::keys::MasterKey;
use user_registry::store::{Former, SIGNED_LIFE};

use crate::harness::Database;
use crate::people::{account, called, erase, tell_user};

/// More than two turns of re-wrapping.
const PEOPLE: usize = 450;

pub async fn every_data_key_is_rewrapped_and_a_destroyed_one_stays_so(database: Arc<Database>) {
    let (store, other) = (database.open().await, database.open().await);
    let mut people = Vec::new();
    for number in 0..PEOPLE {
        people.push(account(&store, &format!("person{number}@farm.example")).await);
    }
    erase(&store, people[7]).await;
    let old = store.keyring().masters().id().to_owned();
    let wrapped = async || store.data_keys_by_master().await.unwrap();
    // Each has a key for their person; where they called from is sealed with others.
    let before = wrapped().await;
    assert_eq!(before.len(), 1);
    assert_eq!(before[0].0, old);
    let keys = before[0].1;
    assert!(keys >= i64::try_from(PEOPLE).unwrap() - 1, "{keys} keys");

    let new = MasterKey::create(&database.master().with_extension("key.next"), store.chance()).unwrap();
    store.change_master(&new).await.unwrap();
    assert_eq!(store.former_master().await.unwrap(), Some(old.clone()));
    let names = async || {
        store
            .keyring()
            .name(projections::NameKind::Email, "person9@farm.example")
    };
    let name = names().await;
    // Ended after its first transaction, as a process that is killed.
    let first_turn = tokio::sync::Notify::new();
    tokio::select! {
        _ = store.rewrap_pass(|_| first_turn.notify_one()) => panic!("one turn cannot be all"),
        () = first_turn.notified() => {}
    }
    assert_eq!(wrapped().await.len(), 2);
    // Another instance, which never heard of the new master, opens what either wraps.
    let opened = async |position: i64| {
        let events = other.events_after(position, 1).await.unwrap();
        other.open_events(events).await.unwrap().remove(0)
    };
    assert_eq!(opened(0).await.data["email"], "person0@farm.example");
    let last = i64::try_from(PEOPLE).unwrap() - 1;
    assert_eq!(opened(last).await.data["email"], format!("person{last}@farm.example"));
    // What it wraps now, it wraps under the new one.
    assert_eq!(other.keyring().masters().id(), new.id());

    let pass = other.rewrap_pass(|_| ()).await.unwrap();
    assert!(!pass.over, "others may still be at it");
    assert_eq!(wrapped().await, [(new.id().to_owned(), keys)]);
    // Somebody late goes on wrapping under the former one: the next pass finds it.
    let again = store.rewrap_pass(|_| ()).await.unwrap();
    assert_eq!((again.rewrapped, again.over), (0, false));
    store.change_master(&new).await.unwrap();
    assert_eq!(names().await, name, "names are found as before");
    assert!(opened(7).await.erased, "nothing comes back");
    tell_user(&store, people[3], || called("Ada")).await;
    assert_eq!(store.rebuild(false).await.unwrap().differences, []);
}

/// A process that has not heard of the new master adds a key under the one before.
pub async fn a_key_that_was_added_meanwhile_is_rewrapped_however_late(database: Arc<Database>) {
    let clock = Clock::test(Timestamp::parse("2026-11-20T12:00:00Z").unwrap());
    let [store, late, later] = [0; 3].map(|_| database.open_at(clock.clone()));
    let (store, late, later) = (store.await, late.await, later.await);
    account(&store, "ada@farm.example").await;
    let old = store.keyring().masters().id().to_owned();
    let next = database.master().with_extension("key.next");
    let new = MasterKey::create(&next, store.chance()).unwrap();
    let under_old = async || {
        let rows = store.wrapped_keys().await.unwrap().into_iter();
        rows.filter(|row| row.kek_id == old).count()
    };
    store.change_master(&new).await.unwrap();
    assert_eq!(under_old().await, 0);
    clock.advance(1);
    late.add_signing_key(Former::Retire { after: 0 }).await.unwrap();
    assert_eq!(under_old().await, 1);
    // Long enough for the rotation to be over, if it were not for that key.
    clock.advance(60);
    let pass = store.rewrap_pass(|_| ()).await.unwrap();
    assert_eq!((under_old().await, pass.over), (0, false));
    while !store.rewrap_pass(|_| ()).await.unwrap().over {}
    assert_eq!(store.former_master().await.unwrap(), None);
    assert_eq!(store.former_masters().await.unwrap(), std::slice::from_ref(&old));

    // Somebody has slept through all of it.
    later.add_notary_key().await.unwrap();
    assert_eq!(under_old().await, 1);
    store.renew_keys().await.unwrap();
    assert!(store.keyring().is_rewrapping());
    while !store.rewrap_pass(|_| ()).await.unwrap().over {}
    assert_eq!(under_old().await, 0);

    // The new master alone opens all of it.
    for instance in [store, late, later] {
        instance.close().await;
    }
    for file in ["master.key.next", "master.key.previous"] {
        let _ = std::fs::remove_file(database.folder().join("keys").join(file));
    }
    let store = database.open_at(clock).await;
    assert_eq!(
        (store.keyring().signing().len(), store.keyring().notary().len()),
        (2, 2)
    );
    assert_eq!(store.keyring().masters().id(), new.id());
}

/// Its own master is not the one that wraps now, and it does not know.
pub async fn a_process_that_is_behind_wraps_nothing_back(database: Arc<Database>) {
    let store = database.open().await;
    let user = account(&store, "ada@farm.example").await;
    let new = MasterKey::create(&database.master().with_extension("key.next"), store.chance()).unwrap();
    let behind = database.open().await;
    store.change_master(&new).await.unwrap();
    store.rewrap_pass(|_| ()).await.unwrap();
    let wrapped = async || store.data_keys_by_master().await.unwrap();
    let after = wrapped().await;
    assert_eq!(after[0].0, new.id());
    assert_ne!(behind.keyring().masters().id(), new.id());
    let pass = behind.rewrap_pass(|_| ()).await.unwrap();
    assert_eq!((pass.rewrapped, pass.over), (0, false));
    assert_eq!(wrapped().await, after);
    tell_user(&store, user, || called("Ada")).await;
}

pub async fn a_retired_signing_key_is_destroyed_once_its_last_token_has_ended(database: Arc<Database>) {
    let clock = Clock::test(Timestamp::parse("2026-11-20T12:00:00Z").unwrap());
    let store = database.open_at(clock.clone()).await;
    let kids = async || {
        let rows = store.wrapped_keys().await.unwrap().into_iter();
        let mut signing: Vec<_> = rows.filter(|row| row.kind == "signing").collect();
        signing.sort_by_key(|row| row.created_at);
        signing.into_iter().map(|row| row.kid).collect::<Vec<_>>()
    };
    let first = kids().await;
    clock.advance(1);
    let second = store
        .add_signing_key(Former::Retire { after: 60_000_000 })
        .await
        .unwrap();
    assert_eq!(kids().await, [first[0].clone(), second.clone()]);
    clock.advance(60 + SIGNED_LIFE / 1_000_000);
    assert_eq!(store.forget_signing_keys().await.unwrap(), 0);
    clock.advance(1);
    assert_eq!(store.forget_signing_keys().await.unwrap(), 1);
    assert_eq!(kids().await, [second]);
    clock.advance(1_000_000);
    assert_eq!(
        store.forget_signing_keys().await.unwrap(),
        0,
        "the one that signs stays"
    );
}
