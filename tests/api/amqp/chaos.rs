//! Commands while the broker is stopped, its connections are cut and the service is killed: every event arrives.
//!
//! The quick form cuts five connections and kills the service twice. `AMQP_CHAOS=full`, which `tests/chaos` runs, is the
//! whole on both engines: 5,000 commands, five stops of a broker of its own, fifty cuts, ten kills. A broker that starts
//! takes the machine from the tests beside it, so none is stopped in the quick form.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use tokio::sync::watch;

use super::{borrowed, settings};
use crate::crash::{Seen, command};
use crate::harness::{App, Engine, Heard, Line, Listener, Rabbit, Server, on_both_engines, until};

on_both_engines![every_event_arrives_whatever_happens_to_broker_connection_and_service];

const PEOPLE: usize = 8;
/// So many messages come between two blows.
const FLOWING: usize = 10;

struct Plan {
    commands: usize,
    stops: usize,
    cuts: usize,
    kills: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    Stop,
    Cut,
    Kill,
}

impl Plan {
    fn chosen() -> Self {
        if std::env::var("AMQP_CHAOS").is_ok_and(|chosen| chosen == "full") {
            Self {
                commands: 5_000,
                stops: 5,
                cuts: 50,
                kills: 10,
            }
        } else {
            Self {
                commands: 500,
                stops: 0,
                cuts: 5,
                kills: 2,
            }
        }
    }

    /// All of them, each kind spread over the whole.
    fn blows(&self) -> Vec<Blow> {
        let spread =
            |count: usize, blow: Blow| (0..count).map(move |number| ((2 * number + 1) * 1_000 / (2 * count), blow));
        let mut all: Vec<(usize, Blow)> = spread(self.stops, Blow::Stop)
            .chain(spread(self.cuts, Blow::Cut))
            .chain(spread(self.kills, Blow::Kill))
            .collect();
        all.sort_by_key(|(at, _)| *at);
        all.into_iter().map(|(_, blow)| blow).collect()
    }
}

#[expect(clippy::too_many_lines, reason = "a behaviour is told in one piece")]
async fn every_event_arrives_whatever_happens_to_broker_connection_and_service(engine: Engine) {
    let plan = Plan::chosen();
    let mut rabbit = if plan.stops > 0 {
        Rabbit::own().await
    } else {
        Rabbit::shared()
    };
    let queue = format!("{}.all", rabbit.exchange());
    let wire = Line::to(rabbit.host().to_owned(), rabbit.port()).await;
    let mut settings = settings(&rabbit, &rabbit.url_through("127.0.0.1", wire.port));
    settings.push(("REGISTRY__AMQP__QUEUES".to_owned(), format!("{queue} #")));
    settings.push(("REGISTRY__AMQP__LONGEST_RETRY_MS".to_owned(), "2000".to_owned()));
    settings.push(("REGISTRY__AMQP__WINDOW".to_owned(), "50".to_owned()));
    let settings = borrowed(&settings);
    let mut app = App::start_with(engine, &settings).await;
    let listener = Listener::of(&rabbit, &queue);
    let mut people = Vec::new();
    for number in 0..PEOPLE {
        people.push(app.user(&format!("user{number}")).await);
    }
    let seen = Arc::new(Seen::default());
    let (service, _) = watch::channel(Some(app.server.client()));
    let mut workers = tokio::task::JoinSet::new();
    for (worker, tokens) in people.into_iter().enumerate() {
        let (seen, mut service) = (Arc::clone(&seen), service.subscribe());
        workers.spawn(async move {
            for number in 0.. {
                let key = format!("{worker}-{number}");
                let body = json!({ "full_name": format!("Name {key}") });
                let order = ("update-profile", body, key);
                if command(&seen, &mut service, order, Some(&tokens)).await.is_none() {
                    break;
                }
            }
        });
    }
    let answered = || seen.answered.load(Ordering::SeqCst);
    let reach = async |due: usize| {
        until("so many answers", || async { (answered() >= due).then_some(()) }).await;
    };

    let blows = plan.blows();
    let (mut stops, mut cuts, mut hit, mut kills, mut behind) = (0, 0, 0, 0, 0);
    for (number, blow) in blows.iter().enumerate() {
        reach((number + 1) * plan.commands / (blows.len() + 1)).await;
        // Void unless something is under way: each blow falls in the middle of publishing.
        let due = listener.count() + FLOWING;
        until("messages to flow", || async { (listener.count() >= due).then_some(()) }).await;
        match blow {
            Blow::Cut => {
                // While it connects anew there is nothing to cut.
                hit += until("a connection to cut", || async {
                    let hit = wire.cut().await;
                    (hit > 0).then_some(hit)
                })
                .await;
                cuts += 1;
            }
            Blow::Stop => {
                let signal = if stops % 2 == 0 { Signal::TERM } else { Signal::KILL };
                rabbit.stop(signal).await;
                // Commands go on without a broker.
                reach(answered() + 50).await;
                let lag = app.log().await.head().await - heard_to(&listener.heard());
                assert!(lag > 0, "nothing waits although there is no broker");
                behind = behind.max(lag);
                rabbit.start().await;
                stops += 1;
            }
            Blow::Kill => {
                service.send_replace(None);
                app.server.kill();
                app.server = Server::start(&app.place, &settings).await;
                service.send_replace(Some(app.server.client()));
                kills += 1;
            }
        }
    }
    reach(plan.commands).await;
    service.send_replace(None);
    drop(service);
    workers.join_all().await;
    let ended = Instant::now();
    app.client = app.server.client();
    let events = app.log().await.events().await;
    let head = i64::try_from(events.len()).unwrap();
    let heard = listener.hears_all(head, Duration::from_mins(5)).await;

    // Every event, under its own id whenever it came.
    let ids = app
        .log()
        .await
        .texts("SELECT event_id FROM events ORDER BY position")
        .await;
    let mut times: BTreeMap<i64, usize> = BTreeMap::new();
    let mut first: HashMap<&str, Vec<i64>> = HashMap::new();
    for one in &heard {
        let position = one.number("position");
        let event = &events[usize::try_from(position - 1).unwrap()];
        assert_eq!(
            one.message_id(),
            ids[usize::try_from(position - 1).unwrap()],
            "{position}"
        );
        assert_eq!(
            (one.routing_key.as_str(), one.number("sequence")),
            (event.kind.as_str(), event.sequence)
        );
        let count = times.entry(position).or_default();
        *count += 1;
        if *count == 1 {
            first.entry(&event.subject).or_default().push(position);
        }
    }
    assert!(times.keys().copied().eq(1..=head), "a position is missing");
    // In the order of each user.
    for (subject, positions) in &first {
        assert!(positions.is_sorted(), "{subject}: {positions:?}");
    }
    let repeats = heard.len() - times.len();
    told!(
        "{engine:?}: {} commands answered, {} cut off, {stops} broker stops (up to {behind} events behind), {cuts} cuts \
         of {hit} connections, {kills} kills; {head} events, all heard {:?} after the last command, {repeats} repeats \
         with the same message id, {} users in order",
        answered(),
        seen.cut.load(Ordering::SeqCst),
        ended.elapsed(),
        first.len(),
    );
    assert_eq!((stops, cuts, kills), (plan.stops, plan.cuts, plan.kills));
    assert!(hit >= plan.cuts && answered() >= plan.commands, "void");
    drop((app, listener));
    if plan.stops == 0 {
        rabbit.forget(&[&queue], &[rabbit.exchange()]).await;
    }
}

fn heard_to(heard: &[Heard]) -> i64 {
    heard.iter().map(|one| one.number("position")).max().unwrap_or_default()
}
