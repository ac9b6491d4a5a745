//! Connections: how many, for how long, and what those are told that speak no HTTP.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::ON;
use crate::harness::{App, Engine, LONG, on_both_engines, until};

on_both_engines![
    thousands_of_slow_sockets_keep_no_honest_client_out,
    whoever_is_slow_makes_room_and_a_stream_does_not,
    a_connection_has_five_seconds_for_its_head,
    one_address_has_sixty_four_connections,
    whoever_speaks_no_http_is_told_so_in_a_problem,
    an_address_that_cannot_be_read_is_too_long,
    what_cannot_be_read_is_refused_in_the_asked_dialects_shape,
    a_client_that_never_reads_is_let_go,
];

/// Connects from one of the many addresses of this machine.
async fn connect_from(app: &App, from: [u8; 4]) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((Ipv4Addr::from(from), 0)))?;
    socket.connect(app.server.address().parse().unwrap()).await
}

/// Whether the other side has closed or cut it.
async fn ended(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    tokio::time::timeout(LONG, stream.read_to_end(&mut rest)).await.is_ok() && rest.is_empty()
}

async fn answer(stream: &mut TcpStream, request: &str) -> String {
    let _ = stream.write_all(request.as_bytes()).await;
    let mut told = Vec::new();
    let _ = tokio::time::timeout(LONG, stream.read_to_end(&mut told)).await.unwrap();
    String::from_utf8_lossy(&told).into_owned()
}

/// A counter of the service; 0 if it was never raised.
async fn counted(app: &App, name: &str) -> u64 {
    let metrics = app.get("/metrics").send().await.body;
    let value = metrics
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().unwrap())
}

/// What a socket is slow about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slow {
    Head,
    Body,
    Reader,
}

impl Slow {
    const ALL: [Self; 3] = [Self::Head, Self::Body, Self::Reader];
    /// More than what the buffers of both ends hold.
    const ANSWERS: usize = 60;

    /// What it begins with.
    fn begins(self) -> String {
        match self {
            Self::Head => "GET /".to_owned(),
            Self::Body => "POST /v1/sessions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                           content-length: 16000\r\n\r\n{"
                .to_owned(),
            Self::Reader => "GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(Self::ANSWERS),
        }
    }

    /// Goes on as slowly as it can, a byte a second, until it is cut off.
    async fn goes_on(self, stream: &mut TcpStream) {
        if stream.write_all(self.begins().as_bytes()).await.is_err() {
            return;
        }
        let second = Duration::from_secs(1);
        match self {
            Self::Head | Self::Body => {
                while stream.write_all(b" ").await.is_ok() {
                    // What it is told meanwhile, it hears only at the end.
                    if tokio::time::timeout(second, stream.read_u8()).await.is_ok() {
                        break;
                    }
                }
            }
            Self::Reader => {
                while stream.read_u8().await.is_ok() {
                    tokio::time::sleep(second).await;
                }
            }
        }
    }
}

async fn slow_from(address: SocketAddr, from: [u8; 4]) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    // So that little of an answer is on its way.
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::from(from), 0))).ok()?;
    socket.connect(address).await.ok()
}

const HONEST: &str = "GET /.well-known/jwks.json HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

async fn thousands_of_slow_sockets_keep_no_honest_client_out(engine: Engine) {
    const SLOW: usize = 2_000;
    const ROUNDS: usize = 5;
    const HONEST_OF_ROUND: usize = 200;
    /// What 99 of 100 honest requests of a round may take.
    const BOUND: Duration = Duration::from_millis(100);
    let app = App::start_with(engine, &[ON]).await;
    let address: SocketAddr = app.server.address().parse().unwrap();
    let began = Instant::now();
    let (open, opened) = tokio::sync::watch::channel(0_usize);
    let open = std::sync::Arc::new(open);
    let mut slow = tokio::task::JoinSet::new();
    for number in 0..SLOW {
        let open = open.clone();
        slow.spawn(async move {
            // Thirty-two to an address: that address could have more.
            let from = [127, 1, u8::try_from(number / 32).unwrap(), 1];
            // Few readers, since the system keeps megabytes for each.
            let kind = match number % 16 {
                0 => Slow::Reader,
                1..=6 => Slow::Head,
                _ => Slow::Body,
            };
            loop {
                if let Some(mut stream) = slow_from(address, from).await {
                    open.send_modify(|count| *count += 1);
                    kind.goes_on(&mut stream).await;
                }
                // Cut off, it comes again after a while.
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
        });
    }
    let mut opened = opened;
    crate::harness::soon("the slow sockets", opened.wait_for(|count| *count >= SLOW))
        .await
        .unwrap();
    let mut rounds = Vec::new();
    // Long enough for those who were cut off to come again.
    while rounds.len() < ROUNDS || *opened.borrow() < 2 * SLOW {
        let mut times = Vec::new();
        for _ in 0..HONEST_OF_ROUND {
            assert!(began.elapsed() < 2 * LONG, "the slow sockets are not cut off");
            // A connection of its own each time, which is the harder case.
            let asked = Instant::now();
            let mut stream = TcpStream::connect(address).await.unwrap();
            let told = answer(&mut stream, HONEST).await;
            times.push(asked.elapsed());
            assert!(told.starts_with("HTTP/1.1 200 OK\r\n"), "{told:?}");
        }
        times.sort_unstable();
        rounds.push((
            times[times.len() * 99 / 100],
            times[times.len() / 2],
            times[times.len() - 1],
        ));
    }
    rounds.sort_unstable();
    let sockets = *opened.borrow();
    let (p99, median, worst) = rounds[rounds.len() / 2];
    told!(
        "{engine:?}: {SLOW} slow sockets at once ({sockets} opened in all); {} rounds of {HONEST_OF_ROUND} honest \
         requests; of the middle one median {median:?}, p99 {p99:?}, worst {worst:?}; every round's p99 {:?}",
        rounds.len(),
        rounds.iter().map(|round| round.0).collect::<Vec<_>>()
    );
    // The middle round: others use this machine too.
    assert!(p99 <= BOUND, "{p99:?}");
    slow.shutdown().await;
    let metrics = app.get("/metrics").send().await.body;
    assert!(metrics.contains("registry_connections_displaced_total"), "{metrics}");
}

/// With so few places that each of them is slow in the same way.
async fn whoever_is_slow_makes_room_and_a_stream_does_not(engine: Engine) {
    const PLACES: usize = 8;
    let app = App::start_with(engine, &[ON, ("REGISTRY__HTTP__CONNECTIONS", "8")]).await;
    let address: SocketAddr = app.server.address().parse().unwrap();
    let admin = app.admin().await;
    let key = crate::feed::subscriber(&app, &admin).await;
    let mut stream = app
        .get("/v1/events/stream")
        .header("accept", "text/event-stream")
        .bearer(&key)
        .open()
        .await;
    for kind in Slow::ALL {
        let mut slow = tokio::task::JoinSet::new();
        for number in 0..PLACES {
            let mut socket = slow_from(address, [127, 3, u8::try_from(number).unwrap(), 1])
                .await
                .unwrap();
            slow.spawn(async move {
                kind.goes_on(&mut socket).await;
            });
        }
        // Until the service has met what is slow about them.
        tokio::time::sleep(Duration::from_secs(2)).await;
        for number in 0..2 * PLACES {
            let mut honest = TcpStream::connect(address).await.unwrap();
            let told = answer(&mut honest, HONEST).await;
            assert!(told.starts_with("HTTP/1.1 200 OK\r\n"), "{kind:?}, {number}: {told:?}");
        }
        slow.shutdown().await;
    }
    let displaced = counted(&app, "registry_connections_displaced_total").await;
    assert!(displaced >= Slow::ALL.len() as u64, "{displaced}");
    // Nor is it whoever waited longest when all others are quick.
    let mut held = Vec::new();
    for _ in 0..2 * PLACES {
        let mut honest = TcpStream::connect(address).await.unwrap();
        let get = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
        honest.write_all(get.as_bytes()).await.unwrap();
        let mut told = [0; 12];
        honest.read_exact(&mut told).await.unwrap();
        held.push(honest);
    }
    app.has_user("ada").await;
    let head = app.log().await.head().await;
    while stream.event().await.0 < head {}
}

async fn a_connection_has_five_seconds_for_its_head(engine: Engine) {
    // With defaults, whether limits are lifted or not.
    let app = App::start(engine).await;
    let silent = async {
        let mut stream = TcpStream::connect(app.server.address()).await.unwrap();
        let since = Instant::now();
        assert!(ended(&mut stream).await);
        since.elapsed()
    };
    let dripping = async {
        let mut stream = TcpStream::connect(app.server.address()).await.unwrap();
        let since = Instant::now();
        while stream.write_all(b"G").await.is_ok() {
            if let Ok(read) = tokio::time::timeout(Duration::from_millis(200), stream.read_u8()).await {
                assert!(read.is_err(), "a head was answered that never ended");
                break;
            }
            assert!(since.elapsed() < LONG, "still connected");
        }
        since.elapsed()
    };
    // Between requests there is more time than for a head.
    let idle = async {
        let mut stream = TcpStream::connect(app.server.address()).await.unwrap();
        for _ in 0..2 {
            stream
                .write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
                .await
                .unwrap();
            let mut told = [0; 12];
            stream.read_exact(&mut told).await.unwrap();
            assert_eq!(&told, b"HTTP/1.1 200");
            let mut rest = vec![0; 4_096];
            let _ = stream.read(&mut rest).await.unwrap();
            let more = tokio::time::timeout(Duration::from_secs(7), stream.read_u8()).await;
            assert!(more.is_err(), "cut off within {more:?}");
        }
    };
    let (silent, dripping, ()) = tokio::join!(silent, dripping, idle);
    told!("{engine:?}: silent for {silent:?}, a slow head for {dripping:?}");
    for time in [silent, dripping] {
        assert!(
            time > Duration::from_secs(4) && time < Duration::from_secs(40),
            "{time:?}"
        );
    }
    assert!(counted(&app, "registry_connections_late_total").await >= 2);
}

async fn one_address_has_sixty_four_connections(engine: Engine) {
    let app = App::start_with(engine, &[ON, ("REGISTRY__HTTP__HEADER_MS", "60000")]).await;
    let from = [127, 2, 0, 1];
    let mut held = Vec::new();
    for _ in 0..64 {
        held.push(connect_from(&app, from).await.unwrap());
    }
    let get = "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    // All of them have a place: the first and the last are served.
    for index in [63, 0] {
        let mut stream = held.swap_remove(index);
        assert!(answer(&mut stream, get).await.starts_with("HTTP/1.1 200"));
        drop(stream);
        held.push(
            until("a place to be free again", || async {
                let mut next = connect_from(&app, from).await.unwrap();
                let quiet = tokio::time::timeout(Duration::from_millis(200), next.read_u8()).await;
                quiet.is_err().then_some(next)
            })
            .await,
        );
    }
    let mut one_more = connect_from(&app, from).await.unwrap();
    assert_eq!(answer(&mut one_more, get).await, "", "one over is refused");
    // Others are not.
    let mut other = connect_from(&app, [127, 2, 0, 2]).await.unwrap();
    assert!(answer(&mut other, get).await.starts_with("HTTP/1.1 200"));
    let metrics = app.get("/metrics").send().await.body;
    assert!(
        metrics.contains("registry_connections_refused_total{why=\"address\"}"),
        "{metrics}"
    );
    drop(held);
}

async fn whoever_speaks_no_http_is_told_so_in_a_problem(engine: Engine) {
    let app = App::start(engine).await;
    let many: Vec<String> = (0..200).map(|number| format!("x-{number}: y\r\n")).collect();
    let many = many.concat();
    let long = "a".repeat(300 << 10);
    for (what, request, status, slug) in [
        ("no version", "GET /healthz\r\n\r\n".to_owned(), 400, "malformed"),
        (
            "a folded header",
            "GET /healthz HTTP/1.1\r\nhost: x\r\nx-a: a\r\n b\r\n\r\n".to_owned(),
            400,
            "malformed",
        ),
        (
            "two lengths",
            "POST /v1/sessions HTTP/1.1\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}".to_owned(),
            400,
            "malformed",
        ),
        (
            "two hundred headers",
            format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{many}\r\n"),
            431,
            "too-large",
        ),
        (
            "headers of 300 KiB",
            format!("GET /healthz HTTP/1.1\r\nhost: x\r\nx-a: {long}\r\n\r\n"),
            431,
            "too-large",
        ),
    ] {
        let mut stream = TcpStream::connect(app.server.address()).await.unwrap();
        let told = answer(&mut stream, &request).await;
        let (head, body) = told
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("{what}: {told:?}"));
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {head}");
        let header = |name: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
            line.unwrap_or_else(|| panic!("{what}: no {name} in {head}"))
        };
        assert_eq!(header("content-type"), "application/problem+json");
        assert_eq!(header("content-length"), body.len().to_string());
        assert_eq!(header("connection"), "close");
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(problem["type"], format!("/problems/{slug}"), "{what}");
        assert_eq!(
            (&problem["status"], &problem["instance"]),
            (&json!(status), &json!(header("x-request-id")))
        );
        assert_eq!(head.matches("HTTP/1.1").count(), 1, "{what}: one answer");
    }
    assert_eq!(counted(&app, "registry_requests_unreadable_total").await, 5);
}

/// Only where headers may be so long that the reader's own bound on addresses comes first.
async fn an_address_that_cannot_be_read_is_too_long(engine: Engine) {
    let app = App::start_with(engine, &[("REGISTRY__HTTP__HEADER_BYTES", "1048576")]).await;
    for (bytes, status) in [(60_000, 413), (70_000, 414)] {
        let path = "a".repeat(bytes);
        let request = format!("GET /{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let mut stream = TcpStream::connect(app.server.address()).await.unwrap();
        let told = answer(&mut stream, &request).await;
        assert!(told.starts_with(&format!("HTTP/1.1 {status} ")), "{bytes}: {told}");
        let (_, body) = told.split_once("\r\n\r\n").unwrap();
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(
            (&problem["type"], &problem["status"], &problem["detail"]),
            (
                &json!("/problems/too-large"),
                &json!(status),
                &json!("the request's address is too long")
            )
        );
    }
    // What each of the statuses is of stands on the problem's page.
    let page = app.get("/problems/too-large").send().await.body;
    for status in ["413", "414", "431"] {
        assert!(page.contains(status), "{page}");
    }
}

/// Also where the request cannot be read: its first line says whose it is.
async fn what_cannot_be_read_is_refused_in_the_asked_dialects_shape(engine: Engine) {
    let app = App::start(engine).await;
    let long = "y".repeat(300_000);
    let large = format!("host: x\r\nx-a: {long}\r\n\r\n");
    let broken = "host: x\r\nno header\r\n\r\n".to_owned();
    for (rest, status) in [(&large, 431), (&broken, 400)] {
        let words = if status == 431 {
            ["Too large", "Request is too large."]
        } else {
            ["Malformed request", "Malformed request."]
        };
        for (asks, expected) in [
            (
                "GET /verify-api-secret-keys",
                json!({ "message": false, "error": words[0] }),
            ),
            (
                "GET /verify-api-secret-keys?a=b",
                json!({ "message": false, "error": words[0] }),
            ),
            ("POST /api/v1/account/login/", json!({ "detail": words[1] })),
            ("PUT /api/v1/users/recover_password", json!({ "error": words[1] })),
            (
                "POST /api/v1/user/register",
                json!({ "results": null, "message": null, "error": words[0], "error_code": -4, "status": status }),
            ),
        ] {
            let ask = async |stream: &mut TcpStream| {
                let told = answer(stream, &format!("{asks} HTTP/1.1\r\n{rest}")).await;
                let (head, body) = told
                    .split_once("\r\n\r\n")
                    .unwrap_or_else(|| panic!("{asks}: {told:?}"));
                assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{asks}: {head}");
                let body: serde_json::Value = serde_json::from_str(body).unwrap();
                (head.contains("content-type: application/json\r\n") && body == expected).then_some(())
            };
            let mut stream = TcpStream::connect(app.server.address()).await.unwrap();
            assert!(ask(&mut stream).await.is_some(), "{asks}");
            // Also as a later request of a connection, once the one before is known to be answered.
            until("a later request to be known", || async {
                let mut stream = TcpStream::connect(app.server.address()).await.unwrap();
                stream
                    .write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
                    .await
                    .unwrap();
                let mut first = [0; 4_096];
                assert!(stream.read(&mut first).await.unwrap() > 0);
                ask(&mut stream).await
            })
            .await;
        }
    }
}

/// An answer larger than what buffers hold, to somebody who asks again and again and reads nothing.
async fn a_client_that_never_reads_is_let_go(engine: Engine) {
    let app = App::start_with(engine, &[("REGISTRY__HTTP__IDLE_MS", "300")]).await;
    let stream = TcpStream::connect(app.server.address()).await.unwrap();
    let (read, mut write) = stream.into_split();
    let request = "GET /problems/malformed HTTP/1.1\r\nhost: x\r\naccept: text/html\r\n\r\n".repeat(100);
    let flood = async { while write.write_all(request.as_bytes()).await.is_ok() {} };
    tokio::time::timeout(LONG, flood).await.unwrap();
    drop(read);
    assert_eq!(app.get("/healthz").send().await.status, 200);
}
