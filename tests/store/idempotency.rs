//! Idempotency keys: a repeat is answered, never carried out again.

use std::collections::HashSet;
use std::sync::Arc;

use aggregates::values::Timestamp;
use futures::future::join_all;
use user_registry::clock::Clock;
use user_registry::store::{Idempotency, Receipt, Store, StoreError, Unit};
use uuid::Uuid;

use crate::batches::handed_in;
use crate::harness::{Database, soon};
use crate::people::{DAY, account_named, person, registration};

fn key(store: &Store, key: &str, request: &str) -> Idempotency {
    Idempotency::new(store, "anonymous".to_owned(), key, &[b"register", request.as_bytes()])
}

/// A registration of a person of its own under a key: a repeat would lead to a second account.
async fn keyed(store: &Store, key_text: &str, request: &str, number: usize) -> (Uuid, Unit) {
    let name = format!("{key_text}{number}");
    let (id, unit) = registration(store, person(store, None, Some(&name))).await;
    unit.remember(key(store, key_text, request));
    (id, unit)
}

fn replayed(answer: Result<user_registry::store::Appended, StoreError>) -> Receipt {
    match answer {
        Err(StoreError::Replayed(receipt)) => *receipt,
        other => panic!("not replayed: {other:?}"),
    }
}

pub async fn a_repeat_gets_the_first_receipt_and_appends_nothing(database: Arc<Database>) {
    let (one, other) = (database.open().await, database.open().await);
    assert_eq!(one.remembered(&key(&one, "key", "x")).await.unwrap(), None);
    let (id, unit) = keyed(&one, "key", "x", 0).await;
    let first = unit.append().await.unwrap().receipt;
    assert_eq!(
        (first.id.as_str(), first.version, first.position, first.created),
        (id.to_string().as_str(), 1, 1, true)
    );
    let again = [&one, &other, &one];
    for (number, store) in again.into_iter().enumerate() {
        assert_eq!(
            store.remembered(&key(store, "key", "x")).await.unwrap(),
            Some(first.clone())
        );
        let again = keyed(store, "key", "x", number + 1).await.1.append().await;
        assert_eq!(replayed(again), first);
    }
    told!(
        "{}: 1 request carried out, {} repeats one after the other got its receipt, {} event",
        one.engine_name(),
        again.len(),
        other.head().await.unwrap().position
    );
    // Another caller's key of the same text is another key.
    let (_, unit) = registration(&one, person(&one, None, Some("somebody"))).await;
    unit.remember(Idempotency::new(
        &one,
        "another".to_owned(),
        "key",
        &[b"register", b"x"],
    ));
    assert_eq!(unit.append().await.unwrap().receipt.position, 2);
    assert_eq!(other.head().await.unwrap().position, 2);
    let mut raw = database.raw().await;
    assert_eq!(
        (raw.count("events", "true").await, raw.count("users", "true").await),
        (2, 2)
    );

    // A command that changed nothing is remembered as well.
    let unit = one.unit(crate::people::context());
    unit.remember(key(&one, "nothing", "y"));
    unit.unchanged(first.clone());
    assert_eq!(unit.append().await.unwrap().receipt, first);
    assert_eq!(
        other.remembered(&key(&other, "nothing", "y")).await.unwrap(),
        Some(first)
    );
    assert_eq!(other.head().await.unwrap().position, 2);
}

pub async fn many_repeats_at_once_on_two_instances_append_once(database: Arc<Database>) {
    let (one, other) = (database.open().await, database.open().await);
    for (round, stores) in [[&one, &one], [&one, &other], [&other, &one]].into_iter().enumerate() {
        let text = format!("round{round}");
        let mut units = Vec::new();
        for number in 0..40 {
            units.push(keyed(stores[number % 2], &text, "same", number).await.1);
        }
        let calls: Vec<_> = units.into_iter().map(|unit| tokio::spawn(unit.append())).collect();
        let (mut receipts, mut first, mut repeats) = (HashSet::new(), 0, 0);
        for call in calls {
            let receipt = match soon("an answer", call).await.unwrap() {
                Ok(appended) => {
                    first += 1;
                    appended.receipt
                }
                answer => {
                    repeats += 1;
                    replayed(answer)
                }
            };
            receipts.insert(receipt.id);
        }
        told!(
            "{}: 40 requests with one key: {first} carried out, {repeats} repeated, {} receipts",
            one.engine_name(),
            receipts.len()
        );
        assert_eq!((first, repeats, receipts.len()), (1, 39, 1));
        assert_eq!(one.head().await.unwrap().position, i64::try_from(round).unwrap() + 1);
    }
}

/// Handed in before any of them is decided: those of an instance are appended in one transaction.
pub async fn repeats_in_one_batch_append_once(database: Arc<Database>) {
    const ROUNDS: usize = 20;
    const REPEATS: usize = 20;
    let (one, other) = (database.open().await, database.open().await);
    let mut raw = database.raw().await;
    let (mut first, mut repeats) = (0, 0);
    for round in 0..ROUNDS {
        // In turns within one instance, and on both at once.
        let stores = [[&one, &one], [&one, &other]][round % 2];
        let text = format!("batch{round}");
        let mut units = Vec::new();
        for number in 0..REPEATS {
            units.push(keyed(stores[number % 2], &text, "same", number).await.1);
        }
        raw.hold().await;
        let calls = handed_in(units).await;
        raw.let_go().await;
        let mut receipts = Vec::new();
        for answer in soon("the batch", join_all(calls)).await {
            receipts.push(if let Ok(appended) = answer {
                first += 1;
                appended.receipt
            } else {
                repeats += 1;
                replayed(answer)
            });
        }
        assert!(receipts.iter().all(|receipt| *receipt == receipts[0]), "{receipts:?}");
        assert_eq!(first, round + 1);
    }
    let events = raw.count("events", "true").await;
    told!(
        "{}: {ROUNDS} keys, {REPEATS} requests with each in one batch: {first} carried out, {repeats} repeated, {events} \
         events",
        one.engine_name()
    );
    assert_eq!((first, repeats), (ROUNDS, ROUNDS * (REPEATS - 1)));
    assert_eq!(events, i64::try_from(ROUNDS).unwrap());
    assert_eq!(raw.count("users", "true").await, events);
}

pub async fn the_same_key_with_another_request_is_refused(database: Arc<Database>) {
    let (one, other) = (database.open().await, database.open().await);
    keyed(&one, "key", "x", 0).await.1.append().await.unwrap();
    for (number, store) in [&one, &other].into_iter().enumerate() {
        let looked_up = store.remembered(&key(store, "key", "y")).await;
        assert!(
            matches!(looked_up, Err(StoreError::IdempotencyMismatch)),
            "{looked_up:?}"
        );
        let appended = keyed(store, "key", "y", number + 1).await.1.append().await;
        assert!(matches!(appended, Err(StoreError::IdempotencyMismatch)), "{appended:?}");
    }
    // At once, in one batch: one request wins, the other one learns that the key is used.
    let (_, same) = keyed(&one, "both", "x", 1).await;
    let (_, different) = keyed(&one, "both", "y", 2).await;
    let (same, different) = tokio::join!(same.append(), different.append());
    let mismatches = [&same, &different]
        .iter()
        .filter(|a| matches!(a, Err(StoreError::IdempotencyMismatch)))
        .count();
    assert_eq!((mismatches, same.is_ok() != different.is_ok()), (1, true));
    assert_eq!(one.head().await.unwrap().position, 2);
}

pub async fn a_key_is_forgotten_after_a_day_by_the_clock_that_gave_it(database: Arc<Database>) {
    let noon = Timestamp::parse("2026-11-20T12:00:00Z").unwrap();
    let clock = Clock::test(noon);
    let store = database.open_at(clock.clone()).await;
    // A replica whose clock is far ahead moves the time of the log, not the life of our keys.
    let ahead = database.open_at(Clock::test(noon.plus(5 * DAY))).await;
    account_named(&ahead, "ahead").await;
    let first = keyed(&store, "key", "x", 0).await.1.append().await.unwrap().receipt;
    clock.advance(23 * 3_600);
    assert_eq!(replayed(keyed(&store, "key", "x", 1).await.1.append().await), first);
    clock.advance(2 * 3_600);
    assert_eq!(store.remembered(&key(&store, "key", "x")).await.unwrap(), None);
    let again = keyed(&store, "key", "y", 2).await.1.append().await.unwrap().receipt;
    assert_ne!(again, first);
    assert_eq!(store.remembered(&key(&store, "key", "y")).await.unwrap(), Some(again));
}
