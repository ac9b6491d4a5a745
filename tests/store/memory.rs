//! What an appender remembers of the batches before is believed only while it holds.

use std::sync::Arc;

use aggregates::user::{ProfileChange, UserCommand};
use user_registry::store::Store;
use uuid::Uuid;

use crate::harness::Database;
use crate::people::{account, called, tell_user};

fn discoverable(yes: bool) -> UserCommand {
    UserCommand::UpdateProfile(Box::new(ProfileChange {
        discoverable: Some(yes),
        ..ProfileChange::default()
    }))
}

/// Several callers of one instance, each with commands for every account.
async fn everybody(name: &'static str, store: Store, users: Vec<Uuid>, callers: usize, rounds: usize) {
    let callers = (0..callers).map(|caller| {
        let (store, users) = (store.clone(), users.clone());
        tokio::spawn(async move {
            for round in 0..rounds {
                for user in &users {
                    tell_user(&store, *user, || called(&format!("{name} {caller} in round {round}"))).await;
                }
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
}

pub async fn instances_that_append_in_turns_believe_only_what_holds(database: Arc<Database>) {
    let (one, other) = (database.open().await, database.open().await);
    let mut users = Vec::new();
    for number in 0..6 {
        users.push(account(&one, &format!("p{number}@farm.example")).await);
    }
    // Strictly in turns: whatever one remembers of a row, the other has changed since.
    for round in 0..10 {
        for user in &users {
            tell_user(&one, *user, || called(&format!("Round {round}"))).await;
            tell_user(&other, *user, || discoverable(round % 2 == 0)).await;
        }
    }
    let row = one.user(users[0]).await.unwrap().unwrap();
    assert_eq!((row.full_name.as_deref(), row.discoverable), (Some("Round 9"), false));
    assert_eq!(row.version, 1 + 10 + 10, "every command left its event");
    // And all at once.
    tokio::join!(
        everybody("One", one.store.clone(), users.clone(), 4, 5),
        everybody("Other", other.store.clone(), users.clone(), 4, 5)
    );
    let report = one.rebuild(false).await.unwrap();
    assert_eq!(report.different, 0, "{report:?}");
    let events = database.raw().await.count("events", "aggregate_type = 'user'").await;
    assert_eq!(events, 6 * (1 + 20 + 2 * 4 * 5));
    one.close().await;
    other.close().await;
}

pub async fn a_row_that_a_rebuild_mended_is_not_spoilt_from_memory(database: Arc<Database>) {
    let before = database.open().await;
    let user = account(&before, "ada@farm.example").await;
    before.close().await;
    let store = database.open().await;
    let mut raw = database.raw().await;
    raw.execute("UPDATE users SET locale = 'xx'").await;
    // The first reads the row, the second remembers it.
    for name in ["Ada the First", "Ada the Second"] {
        tell_user(&store, user, || called(name)).await;
    }
    assert_eq!(
        raw.count("users", "locale = 'xx'").await,
        1,
        "no command touched the fault"
    );
    let operator = database.open().await;
    let report = operator.rebuild(true).await.unwrap();
    assert_eq!((report.different, report.swapped), (1, 1));
    tell_user(&store, user, || called("Ada the Third")).await;
    assert_eq!(
        raw.count("users", "locale IS NULL AND full_name = 'Ada the Third'")
            .await,
        1
    );
    assert_eq!(operator.rebuild(false).await.unwrap().different, 0);
    operator.close().await;
    store.close().await;
}
