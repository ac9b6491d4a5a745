//! Readers that are cut off again and again, also because the service is killed, miss nothing and hear nothing twice.
//!
//! `FEED_RECONNECTS` says how often each of them reconnects (usually 200).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;

use super::{number, positions, subscriber, two_processes};
use crate::crash::{Seen, command};
use crate::harness::{App, Client, Engine, LONG, Piece, Server, on_both_engines, run, soon, until};

on_both_engines![readers_that_reconnect_under_load_miss_nothing];

mod replicas {
    #[test]
    fn readers_of_two_processes_over_one_database_miss_nothing() {
        super::run(super::readers_of_two_processes_over_one_database_miss_nothing());
    }
}

/// How often the service is killed while they read.
const KILLS: usize = 2;

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

/// What all readers know.
#[derive(Clone)]
struct Reader {
    /// The processes, each as it listens now.
    services: Vec<watch::Receiver<Option<Client>>>,
    key: String,
    done: Arc<AtomicBool>,
    /// The last position, once it is done.
    end: Arc<AtomicI64>,
    /// How often a reader was cut off by a kill.
    cut: Arc<AtomicUsize>,
}

impl Reader {
    fn client(&self, connection: usize) -> Client {
        let service = &self.services[connection % self.services.len()];
        service.borrow().clone().unwrap()
    }

    /// A connection has failed: only a process that is killed may do that, and another comes in its place.
    async fn was_cut(&mut self, connection: usize, client: &Client) {
        self.cut.fetch_add(1, Ordering::SeqCst);
        let number = connection % self.services.len();
        let other = |now: &Option<Client>| now.as_ref().is_some_and(|now| now.base() != client.base());
        let next = self.services[number].wait_for(other);
        soon("a service in place of one that cut a reader off", next)
            .await
            .unwrap();
    }

    fn is_at_the_end(&self, connections: usize, last: i64) -> bool {
        connections >= reconnects() && self.done.load(Ordering::SeqCst) && last >= self.end.load(Ordering::SeqCst)
    }

    /// Reads a stream, hanging up after every few events; each time it comes back to another process.
    async fn streaming(mut self) -> Heard {
        let (mut heard, mut connections) = (Vec::new(), 0);
        loop {
            let connection = connections;
            let client = self.client(connection);
            connections += 1;
            let last = heard.last().copied().unwrap_or(0i64);
            let call = client
                .get("/v1/events/stream?after=0")
                .header("last-event-id", last.to_string())
                .bearer(&self.key);
            let Ok(mut stream) = call.try_open().await else {
                self.was_cut(connection, &client).await;
                continue;
            };
            for _ in 0..=(connections % 4) {
                match tokio::time::timeout(Duration::from_millis(200), stream.next()).await {
                    Ok(Some(Piece::Event { id, .. })) => heard.push(id),
                    Ok(Some(Piece::Comment(_))) => {}
                    Ok(None) => {
                        self.was_cut(connection, &client).await;
                        break;
                    }
                    // Nothing happens just now.
                    Err(_) => break,
                }
            }
            if self.is_at_the_end(connections, heard.last().copied().unwrap_or(0)) {
                return Heard {
                    what: "stream",
                    positions: heard,
                    connections,
                };
            }
        }
    }

    /// Pulls pages of changing size, each from another process over a connection of its own.
    async fn pulling(mut self) -> Heard {
        let (mut heard, mut connections, mut after) = (Vec::new(), 0, 0);
        loop {
            let connection = connections;
            let client = Client::new(self.client(connection).base());
            connections += 1;
            let path = format!("/v1/events?after={after}&limit={}&wait=1", 1 + connections % 4);
            let Ok(reply) = client.get(&path).bearer(&self.key).try_send().await else {
                self.was_cut(connection, &client).await;
                continue;
            };
            assert_eq!(reply.status, 200, "{reply:?}");
            let page = reply.json();
            heard.extend(positions(&page));
            after = number(&page["next"]);
            if self.is_at_the_end(connections, after) {
                return Heard {
                    what: "pull",
                    positions: heard,
                    connections,
                };
            }
        }
    }
}

/// Readers and writers at all processes, the first of which is killed.
async fn load_and_readers(what: &str, mut app: App, second: Option<&Server>) {
    let admin = app.admin().await;
    let key = subscriber(&app, &admin).await;
    let (first, listening) = watch::channel(Some(app.server.client()));
    let (_second, another) = watch::channel(second.map(Server::client));
    let mut services = vec![listening];
    services.extend(second.map(|_| another));
    let reader = Reader {
        services: services.clone(),
        key,
        done: Arc::default(),
        end: Arc::default(),
        cut: Arc::default(),
    };
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..2 {
        readers.spawn(reader.clone().streaming());
        readers.spawn(reader.clone().pulling());
    }
    // The load: profiles that change without a pause, at all processes, for as long as the readers come back.
    let mut people = Vec::new();
    for number in 0..4 {
        people.push(app.user(&format!("user{number}")).await);
    }
    let seen = Arc::new(Seen::default());
    let mut writers = tokio::task::JoinSet::new();
    let (each, all) = (reconnects(), reconnects() * people.len());
    for (writer, tokens) in people.into_iter().enumerate() {
        let (seen, mut service) = (Arc::clone(&seen), services[writer % services.len()].clone());
        writers.spawn(async move {
            for turn in 0..each {
                let body = json!({ "full_name": format!("Name {turn}") });
                let order = ("update-profile", body, format!("{writer}-{turn}"));
                command(&seen, &mut service, order, Some(&tokens)).await.unwrap();
            }
        });
    }
    for kill in 1..=KILLS {
        let due = kill * all / (KILLS + 1);
        until("so many answers", || async {
            (seen.answered.load(Ordering::SeqCst) >= due).then_some(())
        })
        .await;
        let cut = reader.cut.load(Ordering::SeqCst);
        app.server.kill();
        // Void unless it hit somebody.
        until("a reader that was cut", || async {
            (reader.cut.load(Ordering::SeqCst) > cut).then_some(())
        })
        .await;
        app.server = Server::start(&app.place, &[]).await;
        app.client = app.server.client();
        first.send_replace(Some(app.server.client()));
    }
    writers.join_all().await;
    let head = app.log().await.head().await;
    reader.end.store(head, Ordering::SeqCst);
    reader.done.store(true, Ordering::SeqCst);
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
    told!(
        "{what}: {head} events, 2 streams and 2 pulls, {connections} connections, {KILLS} kills of the service, which cut \
         {} readers and {} commands off: 0 missed, 0 repeated",
        reader.cut.load(Ordering::SeqCst),
        seen.cut.load(Ordering::SeqCst),
    );
}

async fn readers_that_reconnect_under_load_miss_nothing(engine: Engine) {
    let app = App::start(engine).await;
    load_and_readers(&format!("{engine:?}"), app, None).await;
}

async fn readers_of_two_processes_over_one_database_miss_nothing() {
    let (app, second, _folder) = two_processes().await;
    load_and_readers("two processes over one PostgreSQL", app, Some(&second)).await;
}
