//! The database hangs, or goes away at the worst moment.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use sqlx::ConnectOptions as _;
use user_registry::clock::Clock;
use user_registry::guards::Allowance;
use user_registry::store::StoreError;
use zeroize::Zeroizing;

use crate::batches::handed_in;
use crate::harness::{Database, Instance, soon, until};
use crate::people::{account_named, person, registration};
use crate::proxy::{Cut, Proxy};

/// Somebody else holds the lock: on SQLite another process writes, on PostgreSQL another replica hangs.
pub async fn a_held_lock_delays_or_refuses_but_neither_loses_nor_doubles(database: Arc<Database>) {
    let store = database.open().await;
    let mut raw = database.raw().await;
    let mut written = 0;
    for round in 0..20 {
        let mut units = Vec::new();
        for number in 0..5 {
            let name = format!("r{round}n{number}");
            units.push(registration(&store, person(&store, None, Some(&name))).await.1);
        }
        raw.hold().await;
        let calls = handed_in(units).await;
        raw.let_go().await;
        for answer in soon("the delayed units", join_all(calls)).await {
            answer.unwrap();
            written += 1;
        }
    }
    assert_eq!(store.head().await.unwrap().position, written);

    // Held for longer than callers wait: they are told so, and what was refused is not written afterwards.
    let mut ids = Vec::new();
    let mut units = Vec::new();
    for number in 0..10 {
        let (id, unit) = registration(&store, person(&store, None, Some(&format!("refused{number}")))).await;
        ids.push(id);
        units.push(unit);
    }
    raw.hold().await;
    let mut refused = 0;
    for answer in soon("the refused units", join_all(handed_in(units).await)).await {
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
        refused += 1;
    }
    raw.let_go().await;
    account_named(&store, "last").await;
    written += 1;
    told!(
        "{}: 100 units waited for a held lock and are in once; {refused} waited too long, were refused and are not in",
        store.engine_name()
    );
    assert_eq!(store.head().await.unwrap().position, written);
    assert_eq!(raw.count("events", "true").await, written);
    for id in ids {
        assert!(store.user(id).await.unwrap().is_none());
    }
}

pub async fn a_lost_answer_to_commit_neither_loses_nor_doubles(database: Arc<Database>) {
    // Two of three are after COMMIT was forwarded: what the server made of it, nobody was told.
    const CUTS: usize = 75;
    const IN_DOUBT: usize = 50;
    let server = database.postgres();
    let proxy = Proxy::start(server.get_host(), server.get_port()).await;
    let mut options = database.options();
    let through = server.host("127.0.0.1").port(proxy.port());
    options.database_url = Some(Zeroizing::new(through.to_url_lossy().to_string()));
    let store = Instance::open(&options, Clock::system()).await.unwrap();
    account_named(&store, "first").await;

    let (mut accepted, mut refused, mut in_doubt) = (BTreeSet::new(), 0, 0);
    for cut in 0..CUTS {
        let mut units = Vec::new();
        for number in 0..4 {
            units.push(registration(&store, person(&store, None, Some(&format!("c{cut}n{number}")))).await);
        }
        let place = [Cut::AfterTheAnswer, Cut::AfterForwarding, Cut::BeforeForwarding][cut % 3];
        proxy.cut(place);
        let (ids, calls): (Vec<_>, Vec<_>) = units.into_iter().map(|(id, unit)| (id, unit.append())).unzip();
        for (id, answer) in ids.into_iter().zip(soon("the cut units", join_all(calls)).await) {
            match answer {
                Ok(appended) => {
                    assert_eq!(appended.receipt.id, id.to_string());
                    accepted.insert(id.to_string());
                }
                Err(StoreError::Unavailable(_)) => refused += 1,
                Err(problem) => panic!("{problem}"),
            }
        }
        assert_eq!(proxy.cuts(), cut + 1);
        in_doubt += usize::from(place != Cut::BeforeForwarding);
    }
    let mut raw = database.raw().await;
    let streams = raw
        .texts("SELECT aggregate_id FROM events WHERE position > 1 ORDER BY position")
        .await;
    let positions = raw.numbers("SELECT position FROM events ORDER BY position").await;
    let lost = accepted.iter().filter(|id| !streams.contains(id)).count();
    let distinct: BTreeSet<&String> = streams.iter().collect();
    told!(
        "postgres: COMMIT cut {} times, {in_doubt} of them after it was forwarded: {} units accepted, {refused} refused; {} events, {lost} lost, {} doubled",
        proxy.cuts(),
        accepted.len(),
        streams.len(),
        streams.len() - distinct.len()
    );
    assert!(in_doubt >= IN_DOUBT, "{in_doubt}");
    assert_eq!((lost, streams.len() - distinct.len()), (0, 0));
    assert_eq!(refused, 0, "the server never was away for long");
    assert_eq!(streams.len(), accepted.len());
    assert_eq!(
        positions,
        (1..=i64::try_from(positions.len()).unwrap()).collect::<Vec<_>>()
    );
    assert_eq!(raw.count("users", "true").await, raw.count("names", "true").await);
    assert_eq!(store.rebuild(false).await.unwrap().differences, []);
}

/// The server was restarted, or somebody in between closed what was idle: every connection is dead, and nobody told us.
pub async fn connections_that_died_cost_no_command_and_no_read(database: Arc<Database>) {
    let store = database.open().await;
    let ada = account_named(&store, "ada").await;
    let mut raw = database.raw().await;
    let mut written = 1;
    for round in 0..5 {
        // Every connection of the pools is open.
        for read in join_all((0..8).map(|_| store.user(ada))).await {
            read.unwrap();
        }
        crate::claims::take(&store, &[[1; 32]], Allowance::default()).await;
        let killed = raw
            .execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            .await;
        assert!(killed >= 3, "{killed}");
        account_named(&store, &format!("person{round}")).await;
        written += 1;
        // A connection that was used a moment ago is trusted: wait until none is.
        let killed_at = Instant::now();
        until("the connections to have been idle", || async {
            killed_at.elapsed() > Duration::from_millis(150)
        })
        .await;
        for _ in 0..8 {
            assert!(store.user(ada).await.unwrap().is_some());
        }
        crate::claims::take(&store, &[[1; 32]], Allowance::default()).await;
    }
    assert_eq!(store.head().await.unwrap().position, written);
    account_named(&store, "last").await;
}
