//! Messages that were put off: shared among processes, taken by one at a time, forgotten in the end.

use std::sync::Arc;
use std::time::Duration;

use aggregates::values::Timestamp;
use user_registry::clock::Clock;
use user_registry::store::{Ended, RowWrite, Store};

use crate::harness::Database;

const MINUTE: i64 = 60_000_000;

/// Writes as a follower does: with its checkpoint.
async fn write(store: &Store, writes: &[RowWrite]) {
    let mut lease = store.lease("test", "one", MINUTE, 0).await.unwrap().unwrap();
    assert!(store.advance(&mut lease, 0, MINUTE, writes).await.unwrap());
}

pub async fn a_message_that_was_put_off_is_taken_by_one_at_a_time(database: Arc<Database>) {
    let clock = Clock::test(Timestamp::parse("2026-11-20T12:00:00Z").unwrap());
    let store = database.open_at(clock.clone()).await;
    let other = database.open_at(clock.clone()).await;
    let now = store.now();
    let put_off =
        |position, number| RowWrite::put_off("mail", position, number, "the reason", now.plus(30_000_000), now);
    write(&store, &[put_off(7, 0), put_off(7, 1), put_off(9, 0)]).await;
    let given_up = RowWrite::given_up("mail", 8, 0, "the reason", now);
    write(&store, &[given_up]).await;
    assert_eq!(store.due_again("mail", 10).await.unwrap(), []);
    assert_eq!(store.waiting_again("mail").await.unwrap(), 3);
    assert_eq!(store.waiting_again("sms").await.unwrap(), 0);
    clock.advance(30);
    let due = other.due_again("mail", 10).await.unwrap();
    let named: Vec<_> = due.iter().map(|one| (one.position, one.number, one.attempts)).collect();
    assert_eq!(named, [(7, 0, 1), (7, 1, 1), (9, 0, 1)]);
    assert_eq!(other.due_again("sms", 10).await.unwrap(), []);

    // Of many who saw the same row one gets it.
    let within = Duration::from_mins(1);
    let takers = (0..8).map(|number| if number % 2 == 0 { &store } else { &other });
    let taken = futures::future::join_all(takers.map(|store| store.take_again(&due[0], within))).await;
    assert_eq!(taken.into_iter().filter(|taken| *taken.as_ref().unwrap()).count(), 1);
    assert_eq!(store.due_again("mail", 10).await.unwrap(), due[1..]);
    // Whoever took it died: it comes up again.
    clock.advance(60);
    let again = store.due_again("mail", 10).await.unwrap();
    let back = again.iter().find(|one| (one.position, one.number) == (7, 0)).unwrap();
    assert!(
        !store.take_again(&due[0], within).await.unwrap(),
        "as it was seen before"
    );
    assert!(store.take_again(back, within).await.unwrap());

    let at = store.now().plus(MINUTE);
    let ended = Ended::Again {
        attempts: 2,
        at,
        problem: "another".into(),
    };
    store.ended(back, ended, &[]).await.unwrap();
    store.ended(&due[1], Ended::Done, &[]).await.unwrap();
    let ended = Ended::GivenUp {
        attempts: 2,
        problem: "another".into(),
    };
    store.ended(&due[2], ended, &[]).await.unwrap();
    assert_eq!(store.waiting_again("mail").await.unwrap(), 1);
    clock.advance(60);
    let due = store.due_again("mail", 10).await.unwrap();
    assert_eq!(
        due.iter().map(|one| (one.position, one.attempts)).collect::<Vec<_>>(),
        [(7, 2)]
    );

    // What was given up is kept for a month, what waits for as long as it takes.
    let day = 86_400;
    clock.advance(29 * day);
    store.sweep().await.unwrap();
    let mut raw = database.raw().await;
    assert_eq!(raw.count("undelivered", "next_at IS NULL").await, 2);
    clock.advance(2 * day);
    store.sweep().await.unwrap();
    assert_eq!(raw.count("undelivered", "next_at IS NULL").await, 0);
    assert_eq!(raw.count("undelivered", "true").await, 1);
    drop(raw);
    store.close().await;
    other.close().await;
}
