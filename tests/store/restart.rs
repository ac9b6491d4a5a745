//! Closing and opening again.

use std::sync::Arc;

use aggregates::user::User;
use futures::future::join_all;
use projections::NameKind;
use user_registry::clock::Clock;
use user_registry::keys::MasterError;
use user_registry::store::{MasterSource, Store, StoreError};
use zeroize::Zeroizing;

use crate::harness::{Database, Instance, Kind, soon};
use crate::people::{account, called, context, person, registration, sign_in, tell_user};

pub async fn a_restart_loses_nothing(database: Arc<Database>) {
    let store = database.open().await;
    let ada = account(&store, "ada@farm.example").await;
    tell_user(&store, ada, || called("Ada")).await;
    let session = sign_in(&store, ada).await;
    let head = store.head().await.unwrap();
    let (state, version) = store.unit(context()).load::<User>(&ada.to_string()).await.unwrap();
    let row = store.user(ada).await.unwrap();
    let sessions = store.sessions(ada).await.unwrap();
    let name = store.keyring().name(NameKind::Email, "ada@farm.example");
    let keys = |store: &Store| -> Vec<Vec<u8>> {
        let keys = store.keyring().signing();
        keys.iter().map(|key| key.pkcs8().to_vec()).collect()
    };
    let signing = keys(&store);
    store.close().await;
    if database.kind == Kind::Sqlite {
        let left: Vec<_> = std::fs::read_dir(database.folder())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with("-wal") || name.ends_with("-shm"))
            .collect();
        assert_eq!(left, [""; 0], "a closed store is one file");
    }

    let store = database.open().await;
    assert_eq!(store.head().await.unwrap(), head);
    assert_eq!(*store.watch_head().borrow(), head.position);
    assert_eq!(
        store.unit(context()).load::<User>(&ada.to_string()).await.unwrap(),
        (state, version)
    );
    assert_eq!(
        (store.user(ada).await.unwrap(), store.sessions(ada).await.unwrap()),
        (row, sessions)
    );
    assert!(
        store
            .authenticated(session)
            .await
            .unwrap()
            .unwrap()
            .is_live(session, store.now())
    );
    assert_eq!(store.keyring().name(NameKind::Email, "ada@farm.example"), name);
    assert_eq!(keys(&store), signing);
    let opened = store
        .open_events(store.events_after(0, 10).await.unwrap())
        .await
        .unwrap();
    assert_eq!(
        (opened[0].data["email"].as_str(), opened[0].erased),
        (Some("ada@farm.example"), false)
    );
    assert_eq!(opened[2].ip.as_deref(), Some(crate::people::IP));
    // And it goes on where it ended.
    assert_eq!(
        tell_user(&store, ada, || called("Augusta")).await.receipt.position,
        head.position + 1
    );
}

pub async fn a_store_opens_with_its_own_master_key_only(database: Arc<Database>) {
    let store = database.open().await;
    account(&store, "ada@farm.example").await;
    store.close().await;
    let mut options = database.options();

    options.master = MasterSource::Text(Zeroizing::new("42".repeat(32)));
    let problem = Instance::open(&options, Clock::system()).await.map(|_| ()).unwrap_err();
    assert!(
        matches!(problem, StoreError::Key(MasterError::Wrong { .. })),
        "{problem:?}"
    );
    assert!(
        problem
            .to_string()
            .starts_with("this is not the master key of this store"),
        "{problem}"
    );
    assert!(!problem.to_string().contains("4242"), "{problem}");

    let hidden = database.folder().join("hidden.key");
    std::fs::rename(database.master(), &hidden).unwrap();
    for master in [
        MasterSource::Made(database.master()),
        MasterSource::File(database.master()),
    ] {
        options.master = master;
        let problem = Instance::open(&options, Clock::system()).await.map(|_| ()).unwrap_err();
        assert!(
            matches!(problem, StoreError::Key(MasterError::Missing { .. })),
            "{problem:?}"
        );
        assert!(problem.to_string().contains("restore it from your backup"), "{problem}");
        assert!(!database.master().exists(), "a second key must not be made");
    }
    options.master = MasterSource::Text(Zeroizing::new("no key".into()));
    let problem = Instance::open(&options, Clock::system()).await.map(|_| ()).unwrap_err();
    assert!(matches!(problem, StoreError::Key(MasterError::Form)), "{problem:?}");

    std::fs::rename(&hidden, database.master()).unwrap();
    let store = database.open().await;
    let opened = store
        .open_events(store.events_after(0, 10).await.unwrap())
        .await
        .unwrap();
    assert_eq!(opened[0].data["email"], "ada@farm.example");
}

pub async fn two_instances_may_open_a_new_database_at_once(database: Arc<Database>) {
    let options = database.options();
    let opening = (0..4).map(|_| Instance::open(&options, Clock::system()));
    let stores = soon("the instances", join_all(opening)).await;
    let stores: Vec<Instance> = stores.into_iter().map(Result::unwrap).collect();
    let names: Vec<[u8; 32]> = stores
        .iter()
        .map(|store| store.keyring().name(NameKind::Username, "ada"))
        .collect();
    assert!(
        names.iter().all(|name| *name == names[0]),
        "the instances have different keys"
    );
    for (number, store) in stores.iter().enumerate() {
        account(store, &format!("person{number}@farm.example")).await;
    }
    let opened = stores[0]
        .open_events(stores[3].events_after(0, 10).await.unwrap())
        .await
        .unwrap();
    assert!(opened.len() == 4 && opened.iter().all(|event| !event.erased));
    let mut raw = database.raw().await;
    assert_eq!(raw.count("keys", "kind = 'index'").await, 1);
    assert_eq!(raw.count("keys", "true").await, 5);
}

pub async fn what_was_handed_in_before_the_end_is_written(database: Arc<Database>) {
    let store = database.open().await;
    let mut calls = Vec::new();
    let mut ids = Vec::new();
    for number in 0..60 {
        let (id, unit) = registration(&store, person(&store, None, Some(&format!("person{number}")))).await;
        ids.push(id);
        calls.push(unit.append());
    }
    let (answers, ()) = tokio::join!(soon("the answers", join_all(calls)), store.close());
    for answer in answers {
        answer.unwrap();
    }
    let store = database.open().await;
    assert_eq!(store.head().await.unwrap().position, 60);
    for id in ids {
        assert!(store.user(id).await.unwrap().is_some());
    }
}
