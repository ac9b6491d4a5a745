//! The database hangs, or goes away at the worst moment.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aggregates::user::User;
use futures::future::join_all;
use sqlx::ConnectOptions as _;
use sqlx::postgres::PgListener;
use user_registry::clock::Clock;
use user_registry::guards::Allowance;
use user_registry::store::StoreError;
use zeroize::Zeroizing;

use crate::batches::handed_in;
use crate::harness::{Database, Instance, Kind, soon, until};
use crate::people::{account_named, called, person, registration, staged, tell_user};
use crate::proxy::{At, Cut, Proxy};

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

/// A store whose every word to its database passes a proxy.
async fn behind_a_proxy(database: &Database) -> (Proxy, Instance) {
    let server = database.postgres();
    let proxy = Proxy::start(server.get_host(), server.get_port()).await;
    let mut options = database.options();
    let through = server.host("127.0.0.1").port(proxy.port());
    options.database_url = Some(Zeroizing::new(through.to_url_lossy().to_string()));
    let store = Instance::open(&options, Clock::system()).await.unwrap();
    (proxy, store)
}

pub async fn a_lost_answer_to_commit_neither_loses_nor_doubles(database: Arc<Database>) {
    // Two of three are after COMMIT was forwarded: what the server made of it, nobody was told.
    const CUTS: usize = 75;
    const IN_DOUBT: usize = 50;
    let (proxy, store) = behind_a_proxy(&database).await;
    account_named(&store, "first").await;

    let (mut accepted, mut refused, mut in_doubt) = (BTreeSet::new(), 0, 0);
    for cut in 0..CUTS {
        let mut units = Vec::new();
        for number in 0..4 {
            units.push(registration(&store, person(&store, None, Some(&format!("c{cut}n{number}")))).await);
        }
        let place = [Cut::AfterTheAnswer, Cut::AfterForwarding, Cut::BeforeForwarding][cut % 3];
        proxy.cut(At::Commit, place);
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

/// A batch that is one statement has no COMMIT: it is in doubt as soon as it is sent, and may come late.
pub async fn a_lost_answer_to_a_whole_batch_neither_loses_nor_doubles(database: Arc<Database>) {
    const CUTS: usize = 60;
    let (proxy, store) = behind_a_proxy(&database).await;
    let ada = account_named(&store, "ada").await;
    let before = store.head().await.unwrap().position;
    for cut in 0..CUTS {
        // What is in memory again goes in one statement the next time.
        tell_user(&store, ada, || called(&format!("Ada {cut} Lovelace"))).await;
        let unit = staged::<User>(&store, &ada.to_string(), called(&format!("Ada {cut} King"))).await;
        let places = [
            Cut::AfterTheAnswer,
            Cut::AfterForwarding,
            Cut::BeforeForwarding,
            Cut::Late,
        ];
        proxy.cut(At::Batch, places[cut % places.len()]);
        soon("the cut unit", unit.append())
            .await
            .unwrap_or_else(|problem| panic!("{:?}: {problem}", places[cut % places.len()]));
        assert_eq!(proxy.cuts(), cut + 1, "it was no batch of one statement");
    }
    let mut raw = database.raw().await;
    let written = raw.count("events", &format!("position > {before}")).await;
    let expected = i64::try_from(2 * CUTS).unwrap();
    told!(
        "postgres: the statement of a batch cut {CUTS} times, a quarter of them sent late: {written} events of {expected}"
    );
    assert_eq!(written, expected);
    assert_eq!(store.head().await.unwrap().position, before + expected);
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

/// Whoever appends tells the others, where the database can. Where nobody is told, they look.
pub async fn what_nobody_was_told_of_is_found_by_looking(database: Arc<Database>) {
    const EVENTS: i64 = 5;
    if database.kind == Kind::Postgres {
        let mut raw = database.raw().await;
        // From here on every connection finds this function before the database's own, and tells nobody.
        raw.execute("CREATE SCHEMA silent").await;
        raw.execute("CREATE FUNCTION silent.pg_notify(text, text) RETURNS void LANGUAGE sql AS ''")
            .await;
        raw.execute(
            "DO $$ BEGIN EXECUTE format(
                'ALTER DATABASE %I SET search_path = silent, pg_catalog, public', current_database()); END $$",
        )
        .await;
    }
    let writer = database.open().await;
    let mut options = database.options();
    options.poll = Duration::from_millis(100);
    let other = Instance::open(&options, Clock::system()).await.unwrap();
    let mut ear = match database.kind {
        Kind::Postgres => {
            let mut ear = PgListener::connect(&database.url()).await.unwrap();
            ear.listen("registry_head").await.unwrap();
            Some(ear)
        }
        Kind::Sqlite => None,
    };
    let mut heard = other.watch_head();
    let mut longest = Duration::ZERO;
    for position in 1..=EVENTS {
        account_named(&writer, &format!("person{position}")).await;
        let written = Instant::now();
        soon("the head to move", heard.wait_for(|head| *head >= position))
            .await
            .unwrap();
        longest = longest.max(written.elapsed());
    }
    if let Some(ear) = &mut ear {
        let told = tokio::time::timeout(Duration::from_millis(500), ear.recv()).await;
        assert!(told.is_err(), "somebody was told: {told:?}");
        // The control: the same ear hears what is said.
        let mut raw = database.raw().await;
        raw.execute("SELECT pg_catalog.pg_notify('registry_head', '0')").await;
        soon("the control", ear.recv()).await.unwrap();
    }
    told!(
        "{}: {EVENTS} events of another instance were found by looking, each within {} ms",
        writer.engine_name(),
        longest.as_millis()
    );
}
