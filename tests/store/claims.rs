//! Shares that all replicas take from.

use std::sync::Arc;

use futures::future::join_all;
use user_registry::guards::{Allowance, Sent};
use user_registry::store::{GuardKey, Store, StoreError};

use crate::harness::{Database, soon};
use crate::people::DAY;

const TEN: Allowance = Allowance {
    per_minute: None,
    per_hour: Some(10),
    per_day: None,
};

/// Takes one from each share, or none at all.
pub async fn take(store: &Store, guards: &[GuardKey], allowance: Allowance) -> bool {
    let now = store.now();
    let taken = store.claim(guards, now, DAY, |states: &mut [Sent]| {
        states
            .iter_mut()
            .all(|sent| sent.take(&allowance, now.as_micros()))
            .then_some(())
    });
    taken.await.unwrap().is_some()
}

pub async fn of_many_who_take_from_one_share_so_many_get_some(database: Arc<Database>) {
    const CALLERS: u8 = 200;
    let (one, other) = (database.open().await, database.open().await);
    let calls = (0..CALLERS).map(|number| {
        let store = if number % 2 == 0 { &one } else { &other }.store.clone();
        tokio::spawn(async move { take(&store, &[[7; 32]], TEN).await })
    });
    let taken = soon("the claims", join_all(calls)).await;
    let taken = taken.into_iter().filter(|taken| *taken.as_ref().unwrap()).count();
    told!(
        "{}: {CALLERS} callers on 2 instances, {taken} of 10 taken",
        one.engine_name()
    );
    assert_eq!(taken, 10);
    assert!(take(&one, &[[8; 32]], TEN).await, "another share");
    one.forget_claims(&[7; 32]).await.unwrap();
    assert!(take(&other, &[[7; 32]], TEN).await);
}

pub async fn several_shares_are_taken_together_or_not_at_all(database: Arc<Database>) {
    let (one, other) = (database.open().await, database.open().await);
    let shares: [GuardKey; 3] = [[1; 32], [2; 32], [3; 32]];
    // Everybody wants two of three, in either order: nobody waits for ever.
    let calls = (0..60_usize).map(|number| {
        let store = if number.is_multiple_of(2) { &one } else { &other }.store.clone();
        let (first, second) = (shares[number % 3], shares[(number + 1 + number / 3 % 2) % 3]);
        tokio::spawn(async move { (first, second, take(&store, &[first, second], TEN).await) })
    });
    let mut taken = [0; 3];
    for call in soon("the claims", join_all(calls)).await {
        let (first, second, done) = call.unwrap();
        if done {
            for share in [first, second] {
                taken[shares.iter().position(|known| *known == share).unwrap()] += 1;
            }
        }
    }
    told!("{}: taken {taken:?}", one.engine_name());
    // As long as two are left, whoever wants them gets them; so at most one share is not used up.
    assert!(taken.iter().all(|count| *count <= 10));
    assert!(taken.iter().filter(|count| **count == 10).count() >= 2, "{taken:?}");
    // What was refused took nothing: the states say what was told.
    let mut left = [0; 3];
    for (share, left) in shares.iter().zip(&mut left) {
        while take(&one, &[*share], TEN).await {
            *left += 1;
        }
    }
    let sum: Vec<i32> = taken.iter().zip(left).map(|(taken, left)| taken + left).collect();
    assert_eq!(sum, [10; 3]);
}

/// As a replica does that hangs in the middle of a claim.
pub async fn a_share_that_is_held_keeps_nobody_from_the_others(database: Arc<Database>) {
    let store = database.open().await;
    assert!(take(&store, &[[7; 32]], TEN).await);
    let mut raw = database.raw().await;
    raw.execute("BEGIN").await;
    assert_eq!(raw.execute("UPDATE claims SET turn = turn").await, 1);
    let claim = async |guard: GuardKey| {
        let (now, guards) = (store.now(), [guard]);
        let claimed = store.claim(&guards, now, DAY, |states: &mut [Sent]| {
            states[0].take(&TEN, now.as_micros()).then_some(())
        });
        claimed.await.map(|taken| taken.is_some())
    };
    // More of them than there are connections.
    for refused in join_all((0..4).map(|_| claim([7; 32]))).await {
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    }
    assert!(claim([8; 32]).await.unwrap());
    raw.execute("ROLLBACK").await;
    assert!(claim([7; 32]).await.unwrap());
}

pub async fn what_was_taken_is_forgotten_after_its_time(database: Arc<Database>) {
    let store = database.open().await;
    let (now, guards) = (store.now(), [[5; 32]]);
    let count = async |at| {
        let counted = store.claim(&guards, at, DAY, |states: &mut [u32]| {
            states[0] += 1;
            Some(states[0])
        });
        counted.await.unwrap().unwrap()
    };
    assert_eq!((count(now).await, count(now.plus(DAY - 1)).await), (1, 2));
    assert_eq!(count(now.plus(DAY - 1).plus(DAY)).await, 1, "as if there were no row");
    let mut raw = database.raw().await;
    raw.execute("UPDATE claims SET expires_at = 1").await;
    assert_eq!(store.sweep().await.unwrap(), 1);
    assert_eq!(raw.count("claims", "true").await, 0);
}
