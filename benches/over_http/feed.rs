//! What readers of the feed cost: a replay of the whole log by pull beside its parts, and streams that wait.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use user_registry::public::Public;
use user_registry::registry::Seed;

use crate::Scale;
use crate::client::Connection;
use crate::place::Place;
use crate::report::{Limit, Report};
use crate::service::{self, Process};

/// How long the log is at least.
const EVENTS: i64 = 100_000;
/// A page.
const PAGE: i64 = 1_000;
/// Streams that wait, and for how long they are watched.
const STREAMS: usize = 500;
const WATCHED: Duration = Duration::from_secs(20);
/// How often they hear of something.
const HEARD: usize = 20;

pub async fn run(engine: &str, scale: Scale, report: &mut Report) -> Result<()> {
    let place = if engine == "postgres" {
        Place::postgres().await?
    } else {
        Place::sqlite().await?
    };
    let mut users = 20_000;
    while place.store.head().await?.position < EVENTS {
        let domains = 1_000;
        Seed { users, domains }.run(&place.store, |_| ()).await?;
        users += 20_000;
    }
    let service = tokio::task::block_in_place(|| Process::service(&place))?;
    let admin = service::administrator(&place, &service).await?;
    let mut connection = Connection::open(&service.address).await?;
    let body = json!({ "name": "reader", "roles": ["subscriber"] });
    let issued = connection
        .command("issue-api-key", Some(&admin), &body)
        .await?
        .expect(200)?
        .json()?;
    let key = issued["api_key"].as_str().context("no key")?.to_owned();

    let (mut pulled, mut parts, mut queries, mut making, mut writing) = (vec![], vec![], vec![], vec![], vec![]);
    for _ in 0..scale.rounds {
        pulled.push(replay(&mut connection, &key).await?);
        let rates = by_parts(&place).await?;
        parts.push(1.0 / (1.0 / rates.queries + 1.0 / rates.documents));
        queries.push(rates.queries);
        making.push(rates.documents);
        writing.push(rates.writing);
    }
    let of = |what: &str| format!("{what}, {engine}");
    report.pairs(
        &of("replay by pull"),
        "events/s",
        &pulled,
        ("its pages and documents alone", &parts),
        Limit::None,
    );
    // Limited by JSON and not by queries: of the time it takes, the documents take more than the database does.
    let share = |rates: &[f64]| -> Vec<f64> {
        let shares = pulled.iter().zip(rates).map(|(whole, part)| 100.0 * whole / part);
        shares.collect()
    };
    report.pairs(
        &of("JSON, of the replay's time"),
        "%",
        &share(&making),
        ("queries, of the same time", &share(&queries)),
        Limit::Times(1.0),
    );
    report.pairs(
        &of("documents made of stored events"),
        "events/s",
        &making,
        ("written only, once they are made", &writing),
        Limit::None,
    );
    report.alone(&of("pages read of the log"), "events/s", &queries, Limit::None);

    settle(&mut connection, &admin).await?;
    waiting(&service, &mut connection, &key, &of, report).await?;
    drop(service);
    place.remove().await
}

/// Until the service's own followers are through the log: what they use is no cost of a stream.
async fn settle(connection: &mut Connection, admin: &str) -> Result<()> {
    let begun = Instant::now();
    loop {
        let answer = connection
            .get("/v1/followers", Some(admin))
            .await?
            .expect(200)?
            .json()?;
        let followers = answer["items"].as_array().context("no followers")?;
        if followers.iter().all(|one| one["lag_events"] == 0) {
            return Ok(());
        }
        ensure!(begun.elapsed() < Duration::from_mins(5), "the followers stay behind");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The whole log, page by page, over one connection.
async fn replay(connection: &mut Connection, key: &str) -> Result<f64> {
    let (started, mut after) = (Instant::now(), 0);
    loop {
        let path = format!("/v1/events?after={after}&limit={PAGE}");
        let answer = connection.get(&path, Some(key)).await?.expect(200)?;
        let text = std::str::from_utf8(&answer.body)?;
        // The last members: the rest need not be read to go on.
        let (rest, head) = text.rsplit_once(",\"head\":").context("no head")?;
        let (_, next) = rest.rsplit_once(",\"next\":").context("no next")?;
        let (next, head): (i64, i64) = (next.parse()?, head.trim_end_matches('}').parse()?);
        ensure!(next > after, "it does not go on");
        after = next;
        if after >= head {
            return Ok(rate(after, started));
        }
    }
}

/// What a replay is made of, each by itself, in events a second.
struct Rates {
    /// The reading of the log's pages.
    queries: f64,
    /// The making of their documents: what is stored is parsed, what is public is written.
    documents: f64,
    /// Of that, the writing.
    writing: f64,
}

async fn by_parts(place: &Place) -> Result<Rates> {
    let (started, mut records) = (Instant::now(), Vec::new());
    let mut after = 0;
    loop {
        let page = place.store.events_after(after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.position;
        records.extend(page);
    }
    let queries = rate(after, started);
    let (started, public) = (Instant::now(), Public::default());
    let mut bytes = 0;
    for record in &records {
        bytes += public.event(record)?.to_json().len();
    }
    let documents = rate(after, started);
    ensure!(bytes > records.len() * 100, "documents without content");
    let events = records
        .iter()
        .map(|record| public.event(record))
        .collect::<Result<Vec<_>, _>>()?;
    let (started, mut again) = (Instant::now(), 0);
    for event in &events {
        again += event.to_json().len();
    }
    let writing = rate(after, started);
    ensure!(again == bytes, "documents that differ");
    Ok(Rates {
        queries,
        documents,
        writing,
    })
}

#[expect(clippy::cast_precision_loss, reason = "a rate is shown to a few digits")]
fn rate(events: i64, since: Instant) -> f64 {
    events as f64 / since.elapsed().as_secs_f64()
}

/// Streams that wait for what happens next: what they cost while nothing does, and when they hear of it.
async fn waiting(
    service: &Process,
    connection: &mut Connection,
    key: &str,
    of: &impl Fn(&str) -> String,
    report: &mut Report,
) -> Result<()> {
    let page = connection
        .get("/v1/events?after=0&limit=1", Some(key))
        .await?
        .expect(200)?
        .json()?;
    let head = page["head"].as_i64().context("no head")?;
    let before = service.resident_mb()?;
    let (told, mut heard) = unbounded_channel();
    let mut streams = tokio::task::JoinSet::new();
    for _ in 0..STREAMS {
        let stream = open(&service.address, key, head).await?;
        streams.spawn(listen(stream, told.clone()));
    }
    let (used, watched) = (service.cpu_seconds()?, Instant::now());
    tokio::time::sleep(WATCHED).await;
    let idle = (service.cpu_seconds()? - used) / watched.elapsed().as_secs_f64() * 100.0;
    let weight = service.resident_mb()? - before;
    let (mut last, mut all) = (vec![], vec![]);
    for number in 0..HEARD {
        service::register(connection, &format!("heard{number}")).await?;
        let answered = Instant::now();
        let mut latest = answered;
        for _ in 0..STREAMS {
            let at = tokio::time::timeout(Duration::from_secs(10), heard.recv())
                .await?
                .context("no stream is left")?;
            latest = latest.max(at);
            all.push(at.saturating_duration_since(answered).as_secs_f64() * 1e3);
        }
        last.push((latest - answered).as_secs_f64() * 1e3);
    }
    streams.abort_all();
    let slowest = all.iter().copied().fold(0.0, f64::max);
    report.alone(&of("500 waiting streams"), "% of a core", &[idle], Limit::Most(5.0));
    report.alone(&of("500 waiting streams"), "MB", &[weight], Limit::Most(32.0));
    report.alone(&of("all 500 hear, after the answer"), "ms", &last, Limit::Most(1_000.0));
    report.alone(&of("the slowest of 500 x 20"), "ms", &[slowest], Limit::Most(1_000.0));
    Ok(())
}

/// Tells of every event that comes, until the stream is cut.
async fn listen(mut stream: TcpStream, told: UnboundedSender<Instant>) -> Result<()> {
    let (mut unread, mut buffer) = (Vec::new(), [0; 4_096]);
    loop {
        let count = stream.read(&mut buffer).await?;
        ensure!(count > 0, "a stream ended");
        unread.extend_from_slice(buffer.get(..count).unwrap_or_default());
        while let Some(end) = unread.windows(2).position(|two| two == b"\n\n") {
            let block: Vec<u8> = unread.drain(..end + 2).collect();
            if block.windows(7).any(|some| some == b"event: ") {
                told.send(Instant::now())?;
            }
        }
    }
}

/// A stream, past its first comment.
async fn open(address: &str, key: &str, after: i64) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "GET /v1/events/stream?after={after} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut begun = Vec::new();
    while !begun.windows(9).any(|some| some == b": positio") {
        let mut buffer = [0; 1_024];
        let count = stream.read(&mut buffer).await?;
        ensure!(count > 0, "the stream was refused");
        begun.extend_from_slice(buffer.get(..count).unwrap_or_default());
    }
    Ok(stream)
}
