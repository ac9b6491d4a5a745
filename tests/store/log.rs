//! The log itself: dense, in order, unchangeable, hashed as it stands.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use aggregates::session::{Session, SessionCommand};
use aggregates::user::{ProfileChange, User, UserCommand};
use aggregates::values::{EndReason, Timestamp, Username};
use user_registry::chance::Chance;
use user_registry::clock::Clock;
use user_registry::registry::Seed;
use user_registry::store::leaf::Leaf;
use user_registry::store::{EventRecord, MasterSource, Store, StoreError};
use zeroize::Zeroizing;

use crate::harness::{Database, Instance, Kind, hex, soon};
use crate::people::{account, account_named, called, context, person, sign_in, staged, tell, tell_user, try_register};
use crate::rebuild::large_boundary;

const WRITERS: usize = 16;
const ROUNDS: usize = 24;

#[derive(Default)]
struct Counts {
    commands: AtomicI64,
    refused: AtomicI64,
    events: AtomicI64,
}

/// One writer: of every six commands it gives, two must lose.
async fn write(store: Store, number: usize, counts: Arc<Counts>) {
    let own = account_named(&store, &format!("writer{number}")).await;
    let name = |round: usize| format!("w{number}r{round}");
    let note = |events: usize| {
        counts.commands.fetch_add(1, Ordering::SeqCst);
        counts
            .events
            .fetch_add(i64::try_from(events).unwrap(), Ordering::SeqCst);
    };
    note(1);
    for round in 0..ROUNDS {
        match round % 4 {
            0 => note(
                try_register(&store, person(&store, None, Some(&name(round))))
                    .await
                    .unwrap()
                    .1
                    .receipt
                    .events
                    .len(),
            ),
            1 => note(
                tell_user(&store, own, || called(&name(round)))
                    .await
                    .receipt
                    .events
                    .len(),
            ),
            2 => {
                let username = Username::parse(&name(round)).unwrap();
                let change = || UserCommand::ChangeUsername {
                    username: username.clone(),
                };
                note(tell_user(&store, own, change).await.receipt.events.len());
            }
            _ => {
                let taken = person(&store, None, Some(&name(round - 3)));
                let taken = try_register(&store, taken).await.map(|(_, appended)| appended);
                assert!(matches!(taken, Err(StoreError::Taken(_))), "{taken:?}");
                // Decided before, appended after another change of the same stream.
                let late = staged::<User>(&store, &own.to_string(), called("Late")).await;
                note(
                    tell_user(&store, own, || called(&name(round)))
                        .await
                        .receipt
                        .events
                        .len(),
                );
                let late = late.append().await;
                assert!(matches!(late, Err(StoreError::Stale)), "{late:?}");
                counts.commands.fetch_add(2, Ordering::SeqCst);
                counts.refused.fetch_add(2, Ordering::SeqCst);
            }
        }
    }
}

/// Reads as a follower reads and fails at the first gap, repeat or step back. Gives the number of events seen.
async fn tail(store: Store, last: Arc<AtomicI64>) -> i64 {
    let mut head = store.watch_head();
    let (mut seen, mut recorded) = (0, Timestamp::from_micros(0));
    let mut versions: HashMap<(String, String), i64> = HashMap::new();
    loop {
        let events = store.events_after(seen, 37).await.unwrap();
        for event in &events {
            assert_eq!(
                event.position,
                seen + 1,
                "the reader saw a gap, a repeat or a step back"
            );
            assert!(
                event.recorded_at >= recorded,
                "recorded_at goes back at {}",
                event.position
            );
            let version = versions
                .entry((event.aggregate_type.clone(), event.aggregate_id.clone()))
                .or_default();
            assert_eq!(event.sequence, *version + 1);
            (seen, recorded, *version) = (event.position, event.recorded_at, event.sequence);
        }
        if events.is_empty() {
            if seen >= last.load(Ordering::SeqCst) {
                return seen;
            }
            soon("a new head", head.changed()).await.unwrap();
        }
    }
}

pub async fn positions_are_dense_for_a_tailing_reader_whatever_is_refused(database: Arc<Database>) {
    let (one, other, third) = (database.open().await, database.open().await, database.open().await);
    let (counts, last) = (Arc::new(Counts::default()), Arc::new(AtomicI64::new(i64::MAX)));
    let reader = tokio::spawn(tail(third.store.clone(), Arc::clone(&last)));
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| {
            let store = if number % 2 == 0 { &one } else { &other }.store.clone();
            tokio::spawn(write(store, number, Arc::clone(&counts)))
        })
        .collect();
    for writer in writers {
        soon("a writer", writer).await.unwrap();
    }
    last.store(counts.events.load(Ordering::SeqCst) + 1, Ordering::SeqCst);
    // One more event wakes a reader that is waiting already.
    account(&one, "last@farm.example").await;
    let seen = soon("the reader", reader).await.unwrap();

    let (commands, refused) = (
        counts.commands.load(Ordering::SeqCst) + 1,
        counts.refused.load(Ordering::SeqCst),
    );
    let events = counts.events.load(Ordering::SeqCst) + 1;
    told!(
        "{}: {WRITERS} writers on 2 instances gave {commands} commands, {refused} were refused, {events} events; the \
         reader saw 1 to {seen} without gap, repeat or reorder",
        one.engine_name()
    );
    assert_eq!(seen, events);
    assert_eq!(one.head().await.unwrap().position, events);
    assert!(
        refused * 4 >= commands,
        "a quarter should lose: {refused} of {commands}"
    );
    let mut raw = database.raw().await;
    assert_eq!(raw.count("events", "true").await, events);
    assert_eq!(raw.number("SELECT count(DISTINCT event_id) FROM events").await, events);
}

pub async fn an_event_cannot_be_changed_deleted_or_replaced(database: Arc<Database>) {
    let store = database.open().await;
    let id = account(&store, "ada@farm.example").await;
    tell_user(&store, id, || called("Ada")).await;
    let mut raw = database.raw().await;
    let mut statements = vec![
        "UPDATE events SET payload = '{}'".to_owned(),
        "UPDATE events SET position = position + 100 WHERE position = 2".to_owned(),
        "DELETE FROM events".to_owned(),
        "DELETE FROM events WHERE position = 2".to_owned(),
    ];
    match database.kind {
        Kind::Postgres => statements.extend(["TRUNCATE events".into(), "TRUNCATE events CASCADE".into()]),
        Kind::Sqlite => {
            // The same position; the same place in its stream; the same id: each would push the old row out.
            let replace = |sequence: &str, position: &str, event_id: &str| {
                format!(
                    "INSERT OR REPLACE INTO events SELECT aggregate_type, aggregate_id, {sequence}, event_type,
                     event_version, '{{}}', metadata, {position}, {event_id}, subject, recorded_at, leaf_hash
                     FROM events WHERE position = 2"
                )
            };
            statements.extend([
                replace("sequence + 7", "position", "'other'"),
                replace("sequence", "position + 7", "'other'"),
                replace("sequence + 7", "position + 7", "event_id"),
            ]);
            statements.push("UPDATE OR REPLACE events SET sequence = 1 WHERE position = 2".into());
        }
    }
    let before = store.events_after(0, 10).await.unwrap();
    for sql in &statements {
        let Err(problem) = raw.try_execute(sql).await else {
            panic!("the database carried out: {sql}");
        };
        assert!(problem.to_string().contains("append-only"), "{sql}: {problem}");
    }
    let after = store.events_after(0, 10).await.unwrap();
    assert_eq!(format!("{before:?}"), format!("{after:?}"));
    told!(
        "{}: {} ways to change an event were refused",
        store.engine_name(),
        statements.len()
    );
}

pub async fn recorded_at_never_goes_back_even_when_the_clock_does(database: Arc<Database>) {
    let noon = Timestamp::parse("2026-11-20T12:00:00.123456Z").unwrap();
    let (clock, late) = (Clock::test(noon), Clock::test(noon.plus(-3_600_000_000)));
    let (store, behind) = (database.open_at(clock.clone()).await, database.open_at(late).await);
    let mut expected = Vec::new();
    for (number, (step, behind_speaks)) in [
        (0, false),
        (1, false),
        (-5_000_000, false),
        (0, true),
        (-86_400_000_000, false),
        (7, false),
    ]
    .iter()
    .enumerate()
    {
        clock.set(noon.plus(*step));
        let speaker = if *behind_speaks { &behind } else { &store };
        account_named(speaker, &format!("person{number}")).await;
        let last = expected.last().copied().unwrap_or(noon);
        expected.push(if *behind_speaks {
            last
        } else {
            last.max(noon.plus(*step))
        });
    }
    let recorded: Vec<Timestamp> = store
        .events_after(0, 10)
        .await
        .unwrap()
        .iter()
        .map(|event| event.recorded_at)
        .collect();
    assert_eq!(recorded, expected);
    assert_eq!(
        recorded[1].as_micros() % 1_000_000,
        123_457,
        "times are kept to the microsecond"
    );
    assert_eq!(
        store.head().await.unwrap().recorded_at,
        recorded.last().unwrap().as_micros()
    );
}

pub async fn the_stored_leaf_is_the_hash_of_the_stored_row(database: Arc<Database>) {
    let store = database.open().await;
    let long = "Ünïcödé “quoted” \\ / ' \" 农民 🚜 ".repeat(6);
    let mut context = context();
    context.request_id = format!("{long}\t\u{7f}\u{2028}");
    context.user_agent = Some(long.repeat(40));
    let id = crate::people::fresh_id(&store);
    let unit = store.unit(context);
    unit.is_fresh::<User>(&id.to_string());
    let register = person(&store, Some("ünï'\u{2019}cöde@bücher.example"), Some("ada"));
    unit.execute::<User>(&id.to_string(), UserCommand::Register(Box::new(register)))
        .await
        .unwrap();
    unit.append().await.unwrap();
    for number in 0..20 {
        tell_user(&store, id, || called(&format!("Ada \\ \" {number} 农民 🚜"))).await;
    }

    let mut raw = database.raw().await;
    let leaves = raw.bytes("SELECT leaf_hash FROM events ORDER BY position").await;
    let payloads = raw.texts("SELECT payload FROM events ORDER BY position").await;
    let metadata = raw.texts("SELECT metadata FROM events ORDER BY position").await;
    let events = store.events_after(0, 100).await.unwrap();
    assert_eq!(events.len(), 21);
    for (number, event) in events.iter().enumerate() {
        assert_eq!(
            (&event.payload, &event.metadata),
            (&payloads[number], &metadata[number])
        );
        let leaf = Leaf {
            aggregate_type: &event.aggregate_type,
            aggregate_id: &event.aggregate_id,
            sequence: event.sequence,
            event_type: &event.event_type,
            event_version: &event.event_version,
            payload: &event.payload,
            metadata: &event.metadata,
            event_id: event.event_id,
            subject: &event.subject,
            recorded_at: event.recorded_at.as_micros(),
        };
        assert_eq!(hex(&leaves[number]), hex(&leaf.hash()), "position {}", event.position);
    }
    // What was sealed comes out as it went in.
    let opened = store.open_events(events).await.unwrap();
    assert_eq!(opened[0].user_agent.as_deref(), Some(long.repeat(40).as_str()));
    assert_eq!(opened[0].metadata["request_id"], format!("{long}\t\u{7f}\u{2028}"));
    assert_eq!(opened[20].data["full_name"], "Ada \\ \" 19 农民 🚜");
}

/// A history told with the same ids, keys, nonces and times.
async fn told(database: &Database) -> (Vec<String>, Vec<String>, Vec<String>) {
    let mut options = database.options();
    options.master = MasterSource::Text(Zeroizing::new("17".repeat(32)));
    let clock = Clock::test(Timestamp::parse("2026-11-20T12:00:00Z").unwrap());
    let store = Instance::open_by(&options, clock.clone(), Chance::seeded(11))
        .await
        .unwrap();
    let ada = account(&store, "josé@bücher.example").await;
    clock.advance(1);
    tell_user(&store, ada, || called("José \"农民\" 🚜 \\")).await;
    let session = sign_in(&store, ada).await;
    tell::<Session>(&store, &session.to_string(), || SessionCommand::End {
        reason: EndReason::Logout,
        all: true,
    })
    .await;
    let mut raw = database.raw().await;
    (
        raw.bytes("SELECT leaf_hash FROM events ORDER BY position")
            .await
            .iter()
            .map(|leaf| hex(leaf))
            .collect(),
        raw.texts("SELECT payload FROM events ORDER BY position").await,
        raw.texts("SELECT metadata FROM events ORDER BY position").await,
    )
}

pub async fn both_engines_store_and_hash_the_same_history_alike(database: Arc<Database>) {
    let other = tokio::task::spawn_blocking(|| Database::new(Kind::Sqlite))
        .await
        .unwrap();
    let (one, other) = (told(&database).await, told(&other).await);
    assert_eq!(one.0.len(), 4);
    assert_eq!(one, other);
    told!("postgres and sqlite: the same history has the same leaves: {:?}", one.0);
}

fn rows(records: &[EventRecord]) -> Vec<String> {
    records.iter().map(|record| format!("{record:?}")).collect()
}

/// SQLite gives the log in pieces that grow and shrink with what is in them; nobody may see where one ends.
pub async fn the_log_is_the_same_however_it_is_read(database: Arc<Database>) {
    let store = database.open().await;
    let seed = |users| Seed { users, domains: 5 };
    seed(400).run(&store, |_| ()).await.unwrap();
    let id = account(&store, "ada@farm.example").await;
    for round in 0..6 {
        // Larger than a piece should be.
        tell_user(&store, id, || {
            UserCommand::UpdateProfile(Box::new(ProfileChange {
                boundary: Some(Some(large_boundary(1, round))),
                ..ProfileChange::default()
            }))
        })
        .await;
        tell_user(&store, id, || called(&format!("Ada {round}"))).await;
    }
    seed(900).run(&store, |_| ()).await.unwrap();
    let mut raw = database.raw().await;
    let payloads = raw.texts("SELECT payload FROM events ORDER BY position").await;
    let all = store.events_after(0, i64::MAX).await.unwrap();
    assert!(all.len() > 800, "{} events", all.len());
    assert!(payloads.iter().map(String::len).max().unwrap() > 256 << 10);
    assert!((1..).zip(&all).all(|(position, event)| event.position == position));
    assert!(
        all.iter().map(|event| &event.payload).eq(&payloads),
        "payloads are given as they are stored"
    );
    let whole = rows(&all);
    for limit in [1, 63, 64, 65, 127, 500, 5_000] {
        let (mut read, mut after) = (Vec::new(), 0);
        loop {
            let page = store.events_after(after, limit).await.unwrap();
            let Some(last) = page.last() else { break };
            assert!(i64::try_from(page.len()).unwrap() <= limit);
            after = last.position;
            read.extend(rows(&page));
        }
        assert!(read == whole, "pages of {limit} differ");
    }
    assert_eq!(store.events_after(0, 0).await.unwrap().len(), 0);
    assert_eq!(store.events_after(i64::MAX, 10).await.unwrap().len(), 0);
    let types = ["user.profile_updated", "user.email_verification_requested"];
    let head = store.head().await.unwrap().position;
    for (after, until, limit) in [
        (0, head, 5_000),
        (3, head - 2, 70),
        (100, 101, 5),
        (head, head + 9, 5),
        (0, head, 64),
    ] {
        let wanted = all
            .iter()
            .filter(|event| event.position > after && event.position <= until)
            .filter(|event| types.contains(&event.event_type.as_str()));
        let wanted: Vec<EventRecord> = wanted.take(usize::try_from(limit).unwrap()).cloned().collect();
        let read = store.events_of_types(&types, after, until, limit).await.unwrap();
        assert_eq!(rows(&read), rows(&wanted), "{after} to {until}, {limit} at most");
    }

    // What no append writes is given as it is, at its place, and nothing before or after it is lost.
    crate::notary::unlocked(&mut raw, database.kind).await;
    let separator = match database.kind {
        Kind::Sqlite => "char(30) || 'x' || char(31)",
        Kind::Postgres => "chr(30) || 'x' || chr(31)",
    };
    raw.execute(&format!(
        "UPDATE events SET subject = subject || {separator} WHERE position = 300"
    ))
    .await;
    let read = store.events_after(290, 100).await.unwrap();
    let altered = format!("{}\u{1e}x\u{1f}", all[299].subject);
    assert_eq!(read[9].subject, altered);
    assert_eq!(rows(&read[..9]), whole[290..299]);
    assert_eq!(rows(&read[10..]), whole[300..390]);
    raw.execute("DELETE FROM events WHERE position = 350").await;
    for limit in [1, 100] {
        let read = store.events_after(349, limit).await.unwrap();
        assert_eq!(read[0].position, 351, "a hole is no end");
    }
}
