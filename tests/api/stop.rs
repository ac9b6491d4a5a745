//! The end of a process that is asked to end: what runs is finished, what is new is not begun.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{App, Engine, LONG, PASSWORD, Server, on_both_engines, until};

on_both_engines![
    running_requests_are_finished_before_the_end,
    a_client_that_never_finishes_cannot_hold_up_the_end,
];

/// How long an end may take.
const END: Duration = Duration::from_secs(10);

/// Begins a registration; the service is known to be at it when it asks for the rest.
async fn begin(app: &App, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(app.server.address()).await.unwrap();
    let head = format!(
        "POST /v1/commands/register-user HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nexpect: 100-continue\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut asked = [0; 25];
    tokio::time::timeout(LONG, stream.read_exact(&mut asked))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

async fn nobody_listens(address: &str) {
    until("the listener's end", || async {
        TcpStream::connect(address).await.is_err().then_some(())
    })
    .await;
}

async fn running_requests_are_finished_before_the_end(engine: Engine) {
    let app = App::start(engine).await;
    let mut people = Vec::new();
    for number in 0..4 {
        people.push(app.user(&format!("user{number}")).await);
    }
    let bodies: Vec<String> = (0..6)
        .map(|number| json!({ "username": format!("late{number}"), "password": PASSWORD }).to_string())
        .collect();
    let mut begun = Vec::new();
    for body in &bodies {
        begun.push(begin(&app, body).await);
    }
    // Beside them some who change their profile without a pause, until they are cut off.
    let mut workers = tokio::task::JoinSet::new();
    for tokens in people {
        let client = app.client.clone();
        workers.spawn(async move {
            let mut positions = Vec::new();
            loop {
                let body = json!({ "full_name": format!("Name {}", positions.len()) });
                match client
                    .command("update-profile", &body)
                    .bearer(&tokens.access)
                    .try_send()
                    .await
                {
                    Ok(reply) => {
                        assert_eq!(reply.status, 200, "{reply:?}");
                        positions.push(reply.json()["position"].as_i64().unwrap());
                    }
                    Err(_) => return positions,
                }
            }
        });
    }
    let mut log = app.log().await;
    until("some load", || async {
        (app.log().await.head().await > 40).then_some(())
    })
    .await;
    let asked = Instant::now();
    app.server.terminate();
    nobody_listens(app.server.address()).await;
    for (stream, body) in begun.iter_mut().zip(&bodies) {
        stream.write_all(body.as_bytes()).await.unwrap();
    }
    for mut stream in begun {
        let mut answer = String::new();
        tokio::time::timeout(LONG, stream.read_to_string(&mut answer))
            .await
            .unwrap()
            .unwrap();
        assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{answer}");
    }
    let App { server, place, .. } = app;
    assert_eq!(server.end().await, Some(0));
    assert!(asked.elapsed() < END, "{:?}", asked.elapsed());
    let answered = workers.join_all().await.concat();
    assert_eq!(log.count("users", "username LIKE 'late%'").await, 6);
    let positions = log
        .numbers("SELECT position FROM events WHERE event_type = 'user.profile_updated'")
        .await;
    assert!(
        answered.iter().all(|position| positions.contains(position)),
        "an answered command is missing"
    );
    // At most one of each of the four was written and not answered.
    assert!(
        positions.len() <= answered.len() + 4,
        "{} written, {} answered",
        positions.len(),
        answered.len()
    );
    // And it starts again where it was.
    let again = Server::start(&place, &[]).await;
    assert_eq!(again.client().get("/readyz").send().await.status, 200);
    told!(
        "{engine:?}: {} answered beside 6, ended in {:?}",
        answered.len(),
        asked.elapsed()
    );
}

async fn a_client_that_never_finishes_cannot_hold_up_the_end(engine: Engine) {
    let app = App::start(engine).await;
    let body = json!({ "username": "never", "password": PASSWORD }).to_string();
    let _held = [begin(&app, &body).await, begin(&app, &body).await];
    let _idle = TcpStream::connect(app.server.address()).await.unwrap();
    let asked = Instant::now();
    app.server.terminate();
    assert_eq!(app.server.end().await, Some(0));
    assert!(asked.elapsed() < END, "{:?}", asked.elapsed());
}
