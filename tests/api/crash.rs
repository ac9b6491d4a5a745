//! `kill -9` of a serving process under load: what was answered is in the log, once and whole.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::harness::{App, Client, Engine, PASSWORD, Server, Tokens, on_both_engines, until};

on_both_engines![nothing_answered_is_lost_and_nothing_is_half_done];

const KILLS: usize = 6;
const ANSWERED: usize = 1_200;
/// People who change their profile without a pause, and those who register others.
const PEOPLE: usize = 8;
const REGISTRARS: usize = 2;

/// What the clients saw, together.
#[derive(Default)]
pub struct Seen {
    pub answered: AtomicUsize,
    /// Commands whose answer did not come.
    pub cut: AtomicUsize,
}

/// One command until it is answered: after a crash it is sent again under its own key. Its receipt; none at the end.
pub async fn command(
    seen: &Seen,
    service: &mut watch::Receiver<Option<Client>>,
    (name, body, key): (&str, Value, String),
    tokens: Option<&Tokens>,
) -> Option<Value> {
    loop {
        let client = loop {
            let client = service.borrow_and_update().clone();
            match client {
                Some(client) => break client,
                None => service.changed().await.ok()?,
            }
        };
        let call = client.command(name, &body).header("idempotency-key", &key);
        match call.maybe(tokens.map(|tokens| tokens.access.as_str())).try_send().await {
            Ok(reply) if matches!(reply.status, 200 | 201) => {
                seen.answered.fetch_add(1, Ordering::SeqCst);
                return Some(reply.json());
            }
            Ok(reply) => assert_eq!(reply.status, 503, "{reply:?}"),
            Err(problem) => {
                // Who found nobody to connect to had nothing under way.
                if !problem.is_connect() {
                    seen.cut.fetch_add(1, Ordering::SeqCst);
                }
                // Whoever was cut off waits for the next service; there is none at the end.
                let same = |next: &Option<Client>| next.as_ref().is_none_or(|next| next.base() == client.base());
                while same(&service.borrow_and_update()) {
                    service.changed().await.ok()?;
                }
            }
        }
    }
}

async fn nothing_answered_is_lost_and_nothing_is_half_done(engine: Engine) {
    let mut app = App::start(engine).await;
    let mut people = Vec::new();
    for number in 0..PEOPLE {
        people.push(app.user(&format!("user{number}")).await);
    }
    let seen = Arc::new(Seen::default());
    let (service, _) = watch::channel(Some(app.server.client()));
    let mut workers = tokio::task::JoinSet::new();
    for (worker, tokens) in people
        .iter()
        .cloned()
        .map(Some)
        .chain((0..REGISTRARS).map(|_| None))
        .enumerate()
    {
        let (seen, mut service) = (Arc::clone(&seen), service.subscribe());
        workers.spawn(async move {
            let mut receipts = Vec::new();
            for number in 0.. {
                let key = format!("{worker}-{number}");
                let order = if tokens.is_some() {
                    ("update-profile", json!({ "full_name": format!("Name {key}") }), key)
                } else {
                    // Three events on two streams, a credential and two names.
                    let (name, address) = (format!("r{key}"), format!("a{key}@d{key}.example"));
                    let body = json!({ "username": name, "email": address, "password": PASSWORD });
                    ("register-user", body, key)
                };
                match command(&seen, &mut service, order, tokens.as_ref()).await {
                    Some(receipt) => receipts.push(receipt),
                    None => break,
                }
            }
            (tokens, receipts)
        });
    }

    let mut slowest = Duration::ZERO;
    for kill in 1..=KILLS {
        let due = kill * ANSWERED / KILLS;
        until("so many answers", || async {
            (seen.answered.load(Ordering::SeqCst) >= due).then_some(())
        })
        .await;
        let cut = seen.cut.load(Ordering::SeqCst);
        service.send_replace(None);
        app.server.kill();
        // Void unless it hit somebody.
        until("a command that was cut", || async {
            (seen.cut.load(Ordering::SeqCst) > cut).then_some(())
        })
        .await;
        let report = app.place.run(&["rebuild", "--check"], "").await.unwrap();
        assert!(report.contains("no row differs"), "{report}");
        app.server = Server::start(&app.place, &[]).await;
        slowest = slowest.max(app.server.ready_after);
        service.send_replace(Some(app.server.client()));
    }
    let due = seen.answered.load(Ordering::SeqCst) + 50;
    until("answers after the last kill", || async {
        (seen.answered.load(Ordering::SeqCst) >= due).then_some(())
    })
    .await;
    // The end: every worker is answered once more, then finds no service.
    service.send_replace(None);
    drop(service);
    let done = workers.join_all().await;
    app.client = app.server.client();

    assert!(slowest < Duration::from_secs(5), "started in {slowest:?}");
    let answered: usize = done.iter().map(|(_, receipts)| receipts.len()).sum();
    assert_eq!(answered, seen.answered.load(Ordering::SeqCst));
    assert!(answered >= 1_000);
    check(&app, &done).await;
    let report = app.place.run(&["rebuild", "--check"], "").await.unwrap();
    assert!(report.contains("no row differs"), "{report}");
    let head = app.log().await.head().await;
    told!(
        "{engine:?}: {KILLS} kills, {answered} commands answered, {} cut off, {head} events, slowest start {slowest:?}",
        seen.cut.load(Ordering::SeqCst)
    );
}

/// Compares what the clients were told with what the log holds.
async fn check(app: &App, done: &[(Option<Tokens>, Vec<Value>)]) {
    let mut log = app.log().await;
    let events = log.events().await;
    assert!(
        events.iter().map(|event| event.position).eq(1..=log.head().await),
        "a gap in the log"
    );
    let mut streams: HashMap<_, Vec<_>> = HashMap::new();
    for event in &events {
        let stream = streams
            .entry((event.aggregate.as_str(), event.stream.as_str()))
            .or_default();
        stream.push((event.position, event.kind.as_str()));
        assert_eq!(
            event.sequence,
            i64::try_from(stream.len()).unwrap(),
            "a gap in {event:?}"
        );
    }
    for receipt in done.iter().flat_map(|(_, receipts)| receipts) {
        let told: Vec<&str> = receipt["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|kind| kind.as_str().unwrap())
            .collect();
        assert!(!told.is_empty(), "{receipt}");
        let stream = &streams[&("user", receipt["id"].as_str().unwrap())];
        let version = usize::try_from(receipt["version"].as_i64().unwrap()).unwrap();
        assert_eq!(
            stream[version - 1].0,
            receipt["position"].as_i64().unwrap(),
            "{receipt}"
        );
        let written: Vec<&str> = stream[version - told.len()..version]
            .iter()
            .map(|(_, kind)| *kind)
            .collect();
        assert_eq!(written, told, "{receipt}");
    }
    // Nothing twice: as many changes as were answered, but for the one that nobody waited for at the end.
    for (tokens, receipts) in done {
        let Some(tokens) = tokens else { continue };
        let changes = streams[&("user", tokens.user.as_str())].len() - 1;
        assert!(
            (receipts.len()..=receipts.len() + 1).contains(&changes),
            "{} answers, {changes} changes",
            receipts.len()
        );
        let distinct: BTreeSet<i64> = receipts
            .iter()
            .map(|receipt| receipt["version"].as_i64().unwrap())
            .collect();
        assert_eq!(distinct.len(), receipts.len(), "two commands have one receipt");
    }
    // Nothing half: whoever registered has it all, and nobody has anything without an account.
    let registered: Vec<_> = events.iter().filter(|event| event.kind == "user.registered").collect();
    let accounts = i64::try_from(registered.len()).unwrap();
    for event in registered.iter().skip(PEOPLE) {
        let at = usize::try_from(event.position).unwrap();
        let next: Vec<&str> = events[at..at + 2].iter().map(|event| event.kind.as_str()).collect();
        assert_eq!(
            next,
            ["user.email_verification_requested", "domain.observed"],
            "{event:?}"
        );
    }
    assert_eq!(log.count("users", "1 = 1").await, accounts);
    assert_eq!(log.count("credentials", "1 = 1").await, accounts);
    let people = i64::try_from(PEOPLE).unwrap();
    assert_eq!(log.count("names", "1 = 1").await, people + 2 * (accounts - people));
    assert_eq!(log.count("domains", "1 = 1").await, accounts - people);
}
