//! How fast a backlog of the log reaches a broker, beside a bare client that publishes as many messages of the same size.
//!
//! ```text
//! cargo bench --bench amqp                 both engines
//! cargo bench --bench amqp -- sqlite       one of them
//! ```
//!
//! Both publish persistent messages with confirms to the same exchange and queue, with the same number of them
//! unconfirmed, in turns; the broker shares the machine. The bare client has its messages in memory and does nothing but
//! publish. It is tried in two ways: as the library's examples do (each publish is awaited, then the confirmations), and
//! handing messages over without awaiting that each is written, as the publisher here does; the faster one is the peer.
//! The backlog is read from the store and each of its events becomes a `CloudEvent` first. Needs PostgreSQL as `main_road`
//! does, and RabbitMQ: that of `TEST_AMQP_URL`, or guest/guest on localhost. `AMQP_USERS` and `AMQP_ROUNDS` change how
//! much and how often.
//!
//! A figure below its limit is no failure of this program: only what cannot be measured is.

#[expect(dead_code, reason = "the other bench uses all of it")]
#[path = "../main_road/place.rs"]
mod place;
#[expect(dead_code, reason = "the other bench uses all of it")]
#[path = "../main_road/report.rs"]
mod report;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions,
    QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ExchangeKind};
use place::Place;
use report::{Limit, Report};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use user_registry::config::AmqpMode;
use user_registry::follow::amqp::{Broker, BrokerAddress, Content, Exchange, Outcome, Publisher, publish};
use user_registry::follow::{FollowOptions, Health};
use user_registry::public::Public;
use user_registry::registry::Seed;

/// Messages that may be unconfirmed: the default of the service.
const WINDOW: usize = 1_000;
const LIMIT: f64 = 0.7;

type Confirming = Pin<Box<dyn Future<Output = lapin::Result<Confirmation>> + Send>>;

fn variable(name: &str, default: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

fn url() -> String {
    std::env::var("TEST_AMQP_URL").unwrap_or_else(|_| "amqp://guest:guest@127.0.0.1:5672/%2f".to_owned())
}

fn main() -> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with("--"))
        .collect();
    let wanted = |name: &str| arguments.is_empty() || arguments.iter().any(|word| word == name);
    let (users, rounds) = (variable("AMQP_USERS", 20_000), variable("AMQP_ROUNDS", 3));
    println!("{}\n{users} users, {rounds} rounds\n", place::machine());
    let run_time = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut report = Report::default();
    for engine in ["sqlite", "postgres"].into_iter().filter(|name| wanted(name)) {
        run_time.block_on(measure(engine, users, rounds, &mut report))?;
    }
    println!("\n{report}\n{}", place::load());
    Ok(())
}

async fn measure(engine: &str, users: usize, rounds: usize, report: &mut Report) -> Result<()> {
    let place = match engine {
        "sqlite" => Place::sqlite().await?,
        _ => Place::postgres().await?,
    };
    let seed = Seed {
        users: users.try_into()?,
        domains: 1_000,
    };
    seed.run(&place.store, |_| ()).await?;
    let head = place.store.head().await?.position;
    let topology = Topology::declare(&format!("registry.bench.{}.{engine}", std::process::id())).await?;
    let bodies = bodies(&place).await?;
    let (mut ours, mut awaited, mut handed) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        awaited.push(topology.rate(head, bare(&topology, &bodies, head, false)).await?);
        ours.push(
            topology
                .rate(head, Box::pin(backlog(&place, &topology, head, round)))
                .await?,
        );
        handed.push(topology.rate(head, bare(&topology, &bodies, head, true)).await?);
    }
    report.alone(
        &format!("{engine}: bare lapin, each publish awaited"),
        "1/s",
        &awaited,
        Limit::None,
    );
    let (name, peer) = if report::median(&awaited) > report::median(&handed) {
        ("bare lapin, each publish awaited", &awaited)
    } else {
        ("bare lapin, handed over", &handed)
    };
    let what = format!("{engine}: backlog of {head} events");
    report.pairs(&what, "1/s", &ours, (name, peer), Limit::Times(LIMIT));
    topology.remove().await?;
    place.remove().await
}

/// What the first events say, to have messages of their size.
async fn bodies(place: &Place) -> Result<Vec<Vec<u8>>> {
    let public = Public::default();
    let records = place.store.events_after(0, 1_000).await?;
    let body = |record| -> Result<Vec<u8>> { Ok(serde_json::to_vec(&public.event(record)?.data)?) };
    records.iter().map(body).collect()
}

/// An exchange and the queue behind it.
struct Topology {
    name: String,
    connection: Connection,
    channel: Channel,
}

impl Topology {
    async fn declare(name: &str) -> Result<Self> {
        let connection = Connection::connect(&url(), ConnectionProperties::default())
            .await
            .context("no RabbitMQ answers")?;
        let channel = connection.create_channel().await?;
        let options = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let none = FieldTable::default;
        channel
            .exchange_declare(name.into(), ExchangeKind::Topic, options, none())
            .await?;
        channel
            .queue_declare(name.into(), QueueDeclareOptions::durable(), none())
            .await?;
        let bound = channel.queue_bind(
            name.into(),
            name.into(),
            "#".into(),
            QueueBindOptions::default(),
            none(),
        );
        bound.await?;
        Ok(Self {
            name: name.to_owned(),
            connection,
            channel,
        })
    }

    /// Messages a second; every one of them is in the queue.
    async fn rate(&self, count: i64, work: impl Future<Output = Result<()>>) -> Result<f64> {
        let began = Instant::now();
        work.await?;
        let took = began.elapsed();
        let purged = self
            .channel
            .queue_purge(self.name.as_str().into(), QueuePurgeOptions::default())
            .await?;
        ensure!(
            i64::from(purged) == count,
            "{purged} of {count} messages are in the queue"
        );
        #[expect(clippy::cast_precision_loss, reason = "a rate is shown to a few digits")]
        let rate = count as f64 / took.as_secs_f64();
        Ok(rate)
    }

    async fn remove(self) -> Result<()> {
        let name: ShortString = self.name.as_str().into();
        self.channel
            .queue_delete(name.clone(), QueueDeleteOptions::default())
            .await?;
        self.channel
            .exchange_delete(name, ExchangeDeleteOptions::default())
            .await?;
        self.connection.close(200, "OK".into()).await?;
        Ok(())
    }
}

/// As many messages of the same size and with the same headers, and nothing else.
async fn bare(topology: &Topology, bodies: &[Vec<u8>], count: i64, hand_over: bool) -> Result<()> {
    let connection = Connection::connect(&url(), ConnectionProperties::default()).await?;
    let channel = Arc::new(connection.create_channel().await?);
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let properties = properties();
    let bodies: Vec<Arc<Vec<u8>>> = bodies.iter().cloned().map(Arc::new).collect();
    let mut waiting: VecDeque<Confirming> = VecDeque::new();
    for (_, body) in (0..count).zip(bodies.iter().cycle()) {
        if waiting.len() >= WINDOW
            && let Some(first) = waiting.pop_front()
        {
            ensure!(first.await?.is_ack(), "refused");
        }
        let (sender, body) = (Arc::clone(&channel), Arc::clone(body));
        let (exchange, properties) = (ShortString::from(topology.name.as_str()), properties.clone());
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        if hand_over {
            let mut confirming: Confirming = Box::pin(async move {
                let handed = sender.basic_publish(exchange, "user.registered".into(), options, &body, properties);
                handed.await?.await
            });
            ensure!(
                confirming
                    .as_mut()
                    .poll(&mut Context::from_waker(Waker::noop()))
                    .is_pending(),
                "it was not handed over"
            );
            waiting.push_back(confirming);
        } else {
            let handed = sender.basic_publish(exchange, "user.registered".into(), options, &body, properties);
            waiting.push_back(Box::pin(handed.await?));
        }
    }
    for last in waiting {
        ensure!(last.await?.is_ack(), "refused");
    }
    connection.close(200, "OK".into()).await?;
    Ok(())
}

/// Headers of the number and size of those that an event has.
fn properties() -> BasicProperties {
    let id = "01a1fddd-2e94-73c6-b791-5c530f6f0c92";
    let mut headers = FieldTable::default();
    for (name, value) in [
        ("cloudEvents_specversion", "1.0"),
        ("cloudEvents_id", id),
        ("cloudEvents_source", "/registry"),
        ("cloudEvents_type", "user.registered"),
        ("cloudEvents_subject", id),
        ("cloudEvents_time", "2026-11-20T03:08:47.848577Z"),
        ("cloudEvents_dataschema", "/schemas/user.registered/1"),
        ("cloudEvents_correlationid", id),
    ] {
        headers.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    for name in ["position", "sequence", "cloudEvents_position", "cloudEvents_sequence"] {
        headers.insert(name.into(), AMQPValue::LongLongInt(4_711));
    }
    BasicProperties::default()
        .with_delivery_mode(2)
        .with_content_type("application/json".into())
        .with_message_id(id.into())
        .with_correlation_id(id.into())
        .with_type("user.registered".into())
        .with_app_id("user-registry".into())
        .with_timestamp(1_795_144_127)
        .with_headers(headers)
}

/// The log from its first event to its last, as the service publishes it.
async fn backlog(place: &Place, topology: &Topology, head: i64, round: usize) -> Result<()> {
    let publisher = Publisher {
        name: format!("bench-{round}"),
        known_as: None,
        broker: Broker {
            address: BrokerAddress::parse(&url())?,
            trusted: None,
            answer: Duration::from_secs(10),
            pause: Duration::from_secs(1),
            longest: Duration::from_secs(1),
            window: WINDOW,
            mode: AmqpMode::Binary,
        },
        exchange: Exchange {
            name: topology.name.clone(),
            alternate: None,
            queues: Vec::new(),
        },
        content: Content::Public(Public::default()),
        after: 0,
        until: Some(head),
    };
    let options = FollowOptions {
        lease: Duration::from_secs(6),
        retry: Duration::from_secs(1),
    };
    let outcome = publish(
        publisher,
        place.store.clone(),
        "bench".to_owned(),
        options,
        Health::default(),
        watch::Sender::default(),
        CancellationToken::new(),
    );
    ensure!(outcome.await == Outcome::Done, "it was ended");
    Ok(())
}
