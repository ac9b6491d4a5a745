//! Readers that do not read while megabytes go by: nothing is kept for them, nobody waits for them, and they miss nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

use super::{key, subscriber};
use crate::harness::{App, Client, Engine, Piece, Stream, on_both_engines, until};

on_both_engines![
    readers_that_do_not_read_cost_nothing_and_miss_nothing,
    a_reader_that_is_behind_loses_its_right_at_once_too,
];

/// How many do not read, and how many do.
const IDLE: usize = 20;
const PROMPT: usize = 3;
/// How many accounts are made, which takes several megabytes of events.
const PEOPLE: &str = "7000";
const BYTES: usize = 2_500_000;
/// What the service may have grown by when all that has gone by: less than one copy for each of those who do not read.
const GROWN: i64 = 16 << 20;
/// What the kernel and the two ends may hold of a stream that nobody reads.
const ON_THE_WAY: usize = 1 << 20;

/// A way to the service on which nothing is read while it is shut, and hardly anything is kept: what comes piles up at
/// the service.
async fn narrow(server: String) -> (Client, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::new(&format!("http://{}", listener.local_addr().unwrap()));
    let (open, shut) = watch::channel(true);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(carry(client, server.clone(), shut.clone()));
        }
    });
    (client, open)
}

async fn carry(mut client: TcpStream, server: String, mut open: watch::Receiver<bool>) -> std::io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4_096)?;
    // As on a network: of the segments of this machine's own interface the service's kernel would keep megabytes.
    socket2::SockRef::from(&socket).set_tcp_mss(1_400)?;
    let mut server = socket.connect(server.parse().unwrap()).await?;
    let (mut asked, mut answered) = (vec![0; 4_096], vec![0; 4_096]);
    loop {
        let reads = *open.borrow_and_update();
        tokio::select! {
            count = client.read(&mut asked) => match count? {
                0 => return Ok(()),
                count => server.write_all(&asked[..count]).await?,
            },
            count = server.read(&mut answered), if reads => match count? {
                0 => return Ok(()),
                count => client.write_all(&answered[..count]).await?,
            },
            changed = open.changed() => if changed.is_err() { return Ok(()) },
        }
    }
}

async fn open(client: &Client, key: &str, after: i64) -> Stream {
    let call = client.get("/v1/events/stream?after=0");
    let call = call.header("last-event-id", after.to_string());
    call.bearer(key).open().await
}

/// Bytes that a process holds.
fn resident(process: u32) -> i64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<i64>().unwrap() * 1024
}

/// How many events were written to streams so far.
async fn sent(client: &Client) -> usize {
    let metrics = client.get("/metrics").send().await.body;
    let line = "registry_feed_events_total{way=\"stream\"} ";
    let value = metrics.lines().find_map(|one| one.strip_prefix(line));
    value.map_or(0, |value| value.parse().unwrap())
}

/// Reads for as long as there is something, and says how far it is. Nothing may be missing.
async fn prompt(mut stream: Stream, after: i64, reached: Arc<AtomicI64>) -> usize {
    let (mut last, mut bytes) = (after, 0);
    loop {
        match stream.next().await {
            Some(Piece::Event { id, data, .. }) => {
                assert_eq!(id, last + 1, "a gap");
                last = id;
                bytes += data.len();
                reached.store(id, Ordering::SeqCst);
            }
            Some(Piece::Comment(_)) => {}
            None => return bytes,
        }
    }
}

async fn readers_that_do_not_read_cost_nothing_and_miss_nothing(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let key = subscriber(&app, &admin).await;
    let user = app.user("ada").await;
    let start = app.log().await.head().await;
    let (way, opened) = narrow(app.server.address().to_owned()).await;
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        let mut stream = open(&way, &key, start).await;
        assert_eq!(stream.must().await, Piece::Comment(format!("position {start}")));
        idle.push(stream);
    }
    opened.send_replace(false);
    let mut readers = Vec::new();
    let mut reading = tokio::task::JoinSet::new();
    for _ in 0..PROMPT {
        let reached = Arc::new(AtomicI64::new(start));
        reading.spawn(prompt(open(&app, &key, start).await, start, Arc::clone(&reached)));
        readers.push(reached);
    }
    let all_reach = async |position: i64| {
        until("the others to hear it", || async {
            let there = readers.iter().all(|one| one.load(Ordering::SeqCst) >= position);
            there.then_some(())
        })
        .await;
    };

    // Megabytes go by, written by another process.
    let (before, already) = (resident(app.server.id()), sent(&app).await);
    let verb = ["dev", "seed", "--users", PEOPLE, "--force"];
    app.place.run(&verb, "").await.unwrap();
    let head = app.log().await.head().await;
    let passed = usize::try_from(head - start).unwrap();
    let written = Instant::now();
    all_reach(head).await;
    let behind = written.elapsed();
    let to_idle = sent(&app).await - already - PROMPT * passed;
    let grown = resident(app.server.id()) - before;

    // Those who read hear of what happens now within a second.
    let mut slowest = Duration::ZERO;
    for number in 0..20 {
        let body = json!({ "full_name": format!("Name {number}") });
        let call = app.command("update-profile", &body).bearer(&user.access);
        let position = call.expect(200).await["position"].as_i64().unwrap();
        let answered = Instant::now();
        all_reach(position).await;
        slowest = slowest.max(answered.elapsed());
    }
    let head = app.log().await.head().await;

    // Those who did not, and read now, find everything, at once or by coming back.
    opened.send_replace(true);
    let (mut resumed, mut bytes) = (0, 0);
    for mut stream in idle {
        let mut last = start;
        while last < head {
            match tokio::time::timeout(crate::harness::LONG, stream.next()).await.unwrap() {
                Some(Piece::Event { id, data, .. }) => {
                    assert_eq!(id, last + 1, "a gap");
                    last = id;
                    bytes += data.len();
                }
                Some(Piece::Comment(_)) => {}
                None => {
                    resumed += 1;
                    stream = open(&way, &key, last).await;
                }
            }
        }
    }
    let each = bytes / IDLE;
    told!(
        "{engine:?}: {passed} events, {each} bytes, went by {IDLE} readers that did not read, of which {to_idle} were \
         written to these; the service grew by {grown} bytes; {PROMPT} readers were through {behind:?} after the last \
         was written and then heard each event within {slowest:?}; all {IDLE} found everything, {resumed} by coming back"
    );
    assert!(each > BYTES, "{each} bytes are few");
    let weight = each / passed;
    assert!(
        to_idle * weight < IDLE * ON_THE_WAY,
        "{to_idle} events of {weight} bytes were made ready for readers that do not read"
    );
    assert!(grown < GROWN, "the service grew by {grown} bytes");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    assert!(behind < Duration::from_secs(10), "{behind:?}");
    reading.abort_all();
}

async fn a_reader_that_is_behind_loses_its_right_at_once_too(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let (key, id) = key(&app, &admin).await;
    let start = app.log().await.head().await;
    let verb = ["dev", "seed", "--users", PEOPLE, "--force"];
    app.place.run(&verb, "").await.unwrap();
    let head = app.log().await.head().await;
    let (way, opened) = narrow(app.server.address().to_owned()).await;
    let mut stream = open(&way, &key, start).await;
    assert_eq!(stream.must().await, Piece::Comment(format!("position {start}")));
    opened.send_replace(false);
    app.command("revoke-api-key", &json!({ "key_id": id }))
        .bearer(&admin.access)
        .expect(200)
        .await;
    // That it lies far ahead in the log is no reason to go on until there.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    opened.send_replace(true);
    let given = stream.rest().await;
    let last = given.last().copied().unwrap_or(start);
    told!("{engine:?}: {} of {} events were given", last - start, head - start);
    assert!(last - start < (head - start) / 2, "{last} of {head}");
}
