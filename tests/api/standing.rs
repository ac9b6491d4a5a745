//! Followers that stand: at an event that is missing, beside another process that sees the same, and before a database
//! that says nothing.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::agstack::faults::run as sql;
use crate::followers::{breaks, overwrite};
use crate::harness::{App, Client, Engine, Listener, PASSWORD, Rabbit, Server, on_both_engines, run, until};

on_both_engines![an_event_that_is_missing_stops_every_follower];

mod postgres_only {
    #[test]
    fn two_processes_say_the_same_of_what_stands() {
        super::run(super::two_processes_say_the_same_of_what_stands());
    }

    #[test]
    fn a_database_that_says_nothing_is_told_of_by_every_follower() {
        super::run(super::a_database_that_says_nothing_is_told_of_by_every_follower());
    }
}

const FOLLOWERS: [&str; 5] = ["amqp", "mail", "notary", "sms", "statistics"];

/// The followers that `/readyz` shows as standing, each with where.
async fn standing(client: &Client) -> BTreeSet<String> {
    let reply = client.get("/readyz").send().await;
    let body = reply.json();
    let parts = body["parts"].as_array().unwrap();
    let standing: BTreeSet<String> = parts
        .iter()
        .filter(|part| part["ready"] == false)
        .map(|part| {
            format!(
                "{} {}",
                part["name"].as_str().unwrap(),
                part["detail"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(reply.status, if standing.is_empty() { 200 } else { 503 });
    standing
}

fn all_at(position: i64) -> BTreeSet<String> {
    let at = |name: &str| format!("follower {name} stopped at position {position}");
    FOLLOWERS.iter().map(|name| at(name)).collect()
}

fn broker<'a>(rabbit: &'a Rabbit, url: &'a str) -> [(&'a str, &'a str); 4] {
    [
        ("AMQP_URL", url),
        ("REGISTRY__AMQP__EXCHANGE", rabbit.exchange()),
        ("REGISTRY__AMQP__RETRY_MS", "100"),
        ("REGISTRY__AMQP__LONGEST_RETRY_MS", "500"),
    ]
}

/// A log of a few people that nobody follows yet.
async fn unfollowed(engine: Engine) -> App {
    let app = App::start_with(engine, &[("REGISTRY__FOLLOWERS__ENABLED", "false")]).await;
    for number in 0..4 {
        let body = json!({ "email": format!("p{number}@farm.example"), "password": PASSWORD });
        app.command("register-user", &body).expect(201).await;
    }
    app.server.terminate();
    app
}

async fn an_event_that_is_missing_stops_every_follower(engine: Engine) {
    let mut app = unfollowed(engine).await;
    let head = app.log().await.head().await;
    sql(
        &app,
        match engine {
            Engine::Postgres => "ALTER TABLE events DISABLE TRIGGER USER",
            Engine::Sqlite => "DROP TRIGGER events_no_delete",
        },
    )
    .await;
    // One in the middle, and the last: behind that comes nothing that could tell of it.
    let gap = 3;
    sql(&app, &format!("DELETE FROM events WHERE position IN ({gap}, {head})")).await;
    let rabbit = Rabbit::shared();
    let queue = rabbit.queue(rabbit.exchange(), "#").await;
    let listener = Listener::of(&rabbit, &queue);
    let url = rabbit.url();
    app.server = Server::start(&app.place, &broker(&rabbit, &url)).await;
    app.client = app.server.client();
    until("every follower to stand at the first gap", || async {
        (standing(&app.client).await == all_at(gap)).then_some(())
    })
    .await;
    let listed = app.place.run(&["followers", "list"], "").await.unwrap();
    for name in FOLLOWERS {
        let line = listed.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(
            line.contains(&format!("stands at {gap}: ")) && line.contains("the log has a gap"),
            "{line}"
        );
    }
    let skip = async |name: &str, position: i64| {
        let position = position.to_string();
        let verb = [
            "followers",
            "skip",
            name,
            "--position",
            &position,
            "--reason",
            "it is gone",
        ];
        // It stands again, at the next.
        let told = app.place.run(&verb, "").await.unwrap_or_else(|told| told);
        assert!(told.contains(&format!("{name} passes over {position}")), "{told}");
    };
    for name in ["amqp", "mail", "sms", "statistics"] {
        skip(name, gap).await;
    }
    until("the others to stand at the second", || async {
        let standing = standing(&app.client).await;
        let second = standing.intersection(&all_at(head)).count();
        (second == FOLLOWERS.len() - 1).then_some(())
    })
    .await;
    let heard = listener.heard();
    let heard: BTreeSet<i64> = heard.iter().map(|one| one.number("position")).collect();
    assert_eq!(heard, (1..head).filter(|position| *position != gap).collect());
    drop((app, listener));
    rabbit.forget(&[&queue], &[rabbit.exchange()]).await;
}

/// Two replicas: one has the lease of a follower, or gives it back between two attempts, and both show that it stands.
async fn two_processes_say_the_same_of_what_stands() {
    let app = unfollowed(Engine::Postgres).await;
    let (at, payload) = breaks(&app, "user.email_verification_requested").await;
    let rabbit = Rabbit::shared();
    let url = rabbit.url();
    let broker = broker(&rabbit, &url);
    let servers = [
        Server::start(&app.place, &broker).await,
        Server::start(&app.place, &broker).await,
    ];
    let clients = servers.each_ref().map(Server::client);
    for client in &clients {
        until("every follower to be shown", || async {
            (standing(client).await == all_at(at)).then_some(())
        })
        .await;
    }
    let from = Instant::now();
    let mut looks = 0;
    while from.elapsed() < Duration::from_secs(6) {
        for client in &clients {
            assert_eq!(standing(client).await, all_at(at), "{:?} later", from.elapsed());
            looks += 1;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    told!("two processes say the same at {looks} looks");
    overwrite(&mut app.log().await, at, &payload).await;
    for client in &clients {
        until("both to be ready", || async {
            standing(client).await.is_empty().then_some(())
        })
        .await;
    }
    drop((servers, app));
    rabbit.forget(&[], &[rabbit.exchange()]).await;
}

/// Nothing comes back and no connection ends: without limits of its own a follower would wait for ever, and say nothing.
async fn a_database_that_says_nothing_is_told_of_by_every_follower() {
    let (mut app, line) = App::start_on_a_line().await;
    app.server.terminate();
    let rabbit = Rabbit::shared();
    let queue = rabbit.queue(rabbit.exchange(), "#").await;
    let listener = Listener::of(&rabbit, &queue);
    let url = rabbit.url();
    app.server = Server::start(&app.place, &broker(&rabbit, &url)).await;
    app.client = app.server.client();
    let register = async |name: &str| {
        app.has_user(name).await;
        let head = app.log().await.head().await;
        listener.hears_all(head, Duration::from_secs(30)).await;
        until("every follower to be done with it", || async {
            let sql = format!("SELECT count(*) FROM checkpoints WHERE position = {head}");
            let done = app.log().await.numbers(&sql).await[0];
            (done == 5).then_some(())
        })
        .await;
    };
    register("before").await;
    line.is(crate::harness::Wire::Dead);
    let began = Instant::now();
    until("every follower to say so", || async {
        let log = app.server.log();
        let says = |name: &&str| {
            let mut lines = log.lines().filter(|line| line.contains("lost its store; trying again"));
            lines.any(|line| {
                line.contains(&format!("follower=\"{name}\"")) || line.contains(&format!("follower={name}"))
            })
        };
        FOLLOWERS.iter().all(says).then_some(())
    })
    .await;
    told!("every follower said so within {:?}", began.elapsed());
    line.is(crate::harness::Wire::Whole);
    register("after").await;
    drop((app, listener));
    rabbit.forget(&[&queue], &[rabbit.exchange()]).await;
}
