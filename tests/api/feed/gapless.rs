//! Readers that are cut off again and again miss nothing and hear nothing twice.
//!
//! `FEED_RECONNECTS` says how often each of them reconnects (usually 200).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use serde_json::json;

use super::{number, page, positions, subscriber, two_processes};
use crate::harness::{App, Client, Engine, LONG, Piece, Server, on_both_engines, run};

on_both_engines![readers_that_reconnect_under_load_miss_nothing];

mod replicas {
    #[test]
    fn readers_of_two_processes_over_one_database_miss_nothing() {
        super::run(super::readers_of_two_processes_over_one_database_miss_nothing());
    }
}

/// How often a reader comes back.
fn reconnects() -> usize {
    std::env::var("FEED_RECONNECTS").map_or(200, |text| text.parse().unwrap())
}

/// What a reader has had, and how often it was connected.
struct Heard {
    what: &'static str,
    positions: Vec<i64>,
    connections: usize,
}

/// Reads a stream, hanging up after every few events; each time it comes back to another process.
async fn streaming(
    clients: Vec<Client>,
    key: String,
    least: usize,
    done: Arc<AtomicBool>,
    end: Arc<AtomicI64>,
) -> Heard {
    let (mut heard, mut connections) = (Vec::new(), 0);
    loop {
        let client = &clients[connections % clients.len()];
        connections += 1;
        let last = heard.last().copied().unwrap_or(0i64);
        let mut stream = client
            .get("/v1/events/stream?after=0")
            .header("last-event-id", last.to_string())
            .bearer(&key)
            .open()
            .await;
        for _ in 0..=(connections % 4) {
            match tokio::time::timeout(Duration::from_millis(200), stream.next()).await {
                Ok(Some(Piece::Event { id, .. })) => heard.push(id),
                Ok(Some(Piece::Comment(_))) => {}
                Ok(None) => panic!("a stream ended by itself"),
                // Nothing happens just now.
                Err(_) => break,
            }
        }
        let last = heard.last().copied().unwrap_or(0);
        if connections >= least && done.load(Ordering::SeqCst) && last >= end.load(Ordering::SeqCst) {
            return Heard {
                what: "stream",
                positions: heard,
                connections,
            };
        }
    }
}

/// Pulls pages of changing size, each from another process over a connection of its own.
async fn pulling(bases: Vec<String>, key: String, least: usize, done: Arc<AtomicBool>, end: Arc<AtomicI64>) -> Heard {
    let (mut heard, mut connections, mut after) = (Vec::new(), 0, 0);
    loop {
        let client = Client::new(&bases[connections % bases.len()]);
        connections += 1;
        let page = page(
            &client,
            &key,
            &format!("after={after}&limit={}&wait=1", 1 + connections % 4),
        )
        .await;
        heard.extend(positions(&page));
        after = number(&page["next"]);
        if connections >= least && done.load(Ordering::SeqCst) && after >= end.load(Ordering::SeqCst) {
            return Heard {
                what: "pull",
                positions: heard,
                connections,
            };
        }
    }
}

async fn load_and_readers(what: &str, app: &App, servers: &[&Server]) {
    let admin = app.admin().await;
    let key = subscriber(app, &admin).await;
    let (done, end) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
    let clients: Vec<Client> = servers.iter().map(|server| server.client()).collect();
    let bases: Vec<String> = servers.iter().map(|server| server.base().to_owned()).collect();
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let (done, end) = (Arc::clone(&done), Arc::clone(&end));
        readers.spawn(streaming(clients.clone(), key.clone(), reconnects(), done, end));
    }
    for _ in 0..2 {
        let (done, end) = (Arc::clone(&done), Arc::clone(&end));
        readers.spawn(pulling(bases.clone(), key.clone(), reconnects(), done, end));
    }
    // The load: profiles that change without a pause, at all processes, for as long as the readers come back.
    let mut people = Vec::new();
    for number in 0..4 {
        people.push(app.user(&format!("user{number}")).await);
    }
    let mut writers = tokio::task::JoinSet::new();
    let each = reconnects();
    for (number, tokens) in people.into_iter().enumerate() {
        let client = clients[number % clients.len()].clone();
        writers.spawn(async move {
            for turn in 0..each {
                let body = json!({ "full_name": format!("Name {turn}") });
                client
                    .command("update-profile", &body)
                    .bearer(&tokens.access)
                    .expect(200)
                    .await;
            }
        });
    }
    writers.join_all().await;
    let head = app.log().await.head().await;
    end.store(head, Ordering::SeqCst);
    done.store(true, Ordering::SeqCst);
    let expected: Vec<i64> = (1..=head).collect();
    let mut connections = 0;
    for heard in tokio::time::timeout(LONG * 5, readers.join_all()).await.unwrap() {
        assert!(heard.connections >= reconnects());
        assert!(
            heard.positions == expected,
            "a {} missed or repeated something: {} of {head}: {:?}",
            heard.what,
            heard.positions.len(),
            heard.positions
        );
        connections += heard.connections;
    }
    told!("{what}: {head} events, 2 streams and 2 pulls, {connections} connections: 0 missed, 0 repeated");
}

async fn readers_that_reconnect_under_load_miss_nothing(engine: Engine) {
    let app = App::start(engine).await;
    load_and_readers(&format!("{engine:?}"), &app, &[&app.server]).await;
}

async fn readers_of_two_processes_over_one_database_miss_nothing() {
    let (app, second, _folder) = two_processes().await;
    let two = [&app.server, &second];
    load_and_readers("two processes over one PostgreSQL", &app, &two).await;
}
