//! The feed as server-sent events.

use std::time::{Duration, Instant};

use aggregates::values::Role;
use serde_json::json;

use super::{everything, key, number, subscriber};
use crate::harness::{App, Client, Engine, PASSWORD, Piece, Stream, Wire, on_both_engines, run, soon, until};

on_both_engines![
    a_stream_brings_what_the_pages_bring_and_goes_on,
    a_reader_that_comes_back_goes_on_after_its_last_event,
    a_choice_of_types_is_told_how_far_it_is,
    a_stream_ends_when_its_reader_may_no_longer_read,
    a_stream_ends_with_its_access_token,
    streams_end_at_once_when_the_service_ends,
    a_caller_has_so_many_streams_and_no_more,
    a_reader_that_does_not_read_holds_nobody_up,
];

#[test]
fn a_database_that_hangs_keeps_no_reader_from_hearing_how_far_it_is() {
    run(async {
        let (app, line) = App::start_on_a_line().await;
        let admin = app.admin().await;
        let key = subscriber(&app, &admin).await;
        let head = app.log().await.head().await;
        let mut stream = open(&app, &key, &format!("after={head}")).await;
        let position = Piece::Comment(format!("position {head}"));
        assert_eq!(stream.must().await, position);
        line.is(Wire::Dead);
        // Among them the moment at which it is asked whether the reader may still read.
        for _ in 0..3 {
            let waiting = Instant::now();
            assert_eq!(stream.must().await, position);
            assert!(waiting.elapsed() < Duration::from_secs(10), "{:?}", waiting.elapsed());
        }
        line.is(Wire::Whole);
        app.has_user("ada").await;
        assert_eq!(stream.event().await.0, head + 1);
    });
}

async fn open(client: &Client, key: &str, query: &str) -> Stream {
    client
        .get(&format!("/v1/events/stream?{query}"))
        .header("accept", "text/event-stream")
        .bearer(key)
        .open()
        .await
}

async fn a_stream_brings_what_the_pages_bring_and_goes_on(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let key = subscriber(&app, &admin).await;
    let pages = everything(&app, &key, 1_000).await;
    let mut stream = open(&app, &key, "").await;
    assert_eq!(stream.must().await, Piece::Comment("position 0".into()));
    for page in &pages {
        let (id, document) = stream.event().await;
        assert_eq!((id, &document), (number(&page["position"]), page));
    }
    // And what happens from now on, soon.
    let mut slowest = Duration::ZERO;
    for name in ["ada", "bob", "eve"] {
        let user = app.has_user(name).await;
        let answered = Instant::now();
        let (_, document) = stream.event().await;
        assert_eq!(document["subject"], user.as_str());
        slowest = slowest.max(answered.elapsed());
    }
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    let mut later = open(&app, &key, &format!("after={}", pages.len())).await;
    assert_eq!(later.must().await, Piece::Comment(format!("position {}", pages.len())));
    assert_eq!(usize::try_from(later.event().await.0).unwrap(), pages.len() + 1);
}

async fn a_reader_that_comes_back_goes_on_after_its_last_event(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let key = subscriber(&app, &admin).await;
    app.has_user("ada").await;
    let mut stream = app
        .get("/v1/events/stream?after=1")
        .header("last-event-id", "2")
        .bearer(&key)
        .open()
        .await;
    assert_eq!(stream.event().await.0, 3);
    // Beyond the end of the log it waits.
    let head = app.log().await.head().await;
    let mut ahead = app
        .get("/v1/events/stream")
        .header("last-event-id", (head + 1).to_string())
        .bearer(&key)
        .open()
        .await;
    assert!(ahead.is_silent(Duration::from_millis(300)).await);
    app.has_user("bob").await;
    app.has_user("eve").await;
    assert_eq!(ahead.event().await.0, head + 2);
}

async fn a_choice_of_types_is_told_how_far_it_is(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let key = subscriber(&app, &admin).await;
    let mut stream = open(&app, &key, "types=domain.blocked").await;
    assert_eq!(stream.must().await, Piece::Comment("position 0".into()));
    for name in ["ada", "bob"] {
        app.has_user(name).await;
    }
    let head = app.log().await.head().await;
    let asked = Instant::now();
    // Nothing of it is wanted, but that it was passed is said within ten seconds.
    assert_eq!(stream.must().await, Piece::Comment(format!("position {head}")));
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    app.command("block-domain", &json!({ "domain": "hotmail.com" }))
        .bearer(&admin.access)
        .expect(201)
        .await;
    let (id, document) = stream.event().await;
    assert_eq!((id, document["subject"].as_str()), (head + 1, Some("hotmail.com")));
}

async fn a_stream_ends_when_its_reader_may_no_longer_read(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    // A revoked key, a lock, an erasure, a role that is taken, a session that ends: each is seen in the log.
    for (number, way) in ["key", "lock", "erase", "role", "session", "password"]
        .into_iter()
        .enumerate()
    {
        let name = format!("sue{number}");
        let sue = app.with_role(&name, Role::Subscriber).await;
        let key = if way == "key" {
            Some(key(&app, &sue).await)
        } else {
            None
        };
        let credential = key.as_ref().map_or(&sue.access, |(key, _)| key);
        let head = app.log().await.head().await;
        let mut stream = open(&app, credential, &format!("after={head}&types=session.failed")).await;
        stream.must().await;
        app.has_user(&format!("other{number}")).await;
        let admins = |command: &str, body: serde_json::Value| app.command(command, &body).bearer(&admin.access);
        match way {
            "key" => {
                let id = &key.as_ref().unwrap().1;
                admins("revoke-api-key", json!({ "key_id": id })).expect(200).await;
            }
            "lock" => {
                admins("lock-user", json!({ "user_id": sue.user, "reason": "x" }))
                    .expect(200)
                    .await;
            }
            "erase" => {
                admins("erase-user", json!({ "user_id": sue.user, "reason": "x" }))
                    .expect(200)
                    .await;
            }
            "role" => {
                admins("revoke-role", json!({ "user_id": sue.user, "role": "subscriber" }))
                    .expect(200)
                    .await;
            }
            "session" => {
                app.delete("/v1/sessions/current").bearer(&sue.access).expect(204).await;
            }
            _ => {
                let again = app.sign_in(&name, PASSWORD).await;
                let body = json!({ "current_password": PASSWORD, "new_password": "nine grey geese by a pond" });
                app.command("change-password", &body)
                    .bearer(&again.access)
                    .expect(200)
                    .await;
            }
        }
        let asked = Instant::now();
        assert_eq!(stream.rest().await, Vec::<i64>::new(), "{way}");
        assert!(asked.elapsed() < Duration::from_secs(2), "{way}: {:?}", asked.elapsed());
    }
}

async fn a_stream_ends_with_its_access_token(engine: Engine) {
    let app = App::start_with(engine, &[("REGISTRY__TOKENS__ACCESS_SECONDS", "2")]).await;
    let sue = app.with_role("sue", Role::Subscriber).await;
    let stream = open(&app, &sue.access, "after=1000").await;
    let asked = Instant::now();
    assert_eq!(stream.rest().await, Vec::<i64>::new());
    // The leeway for clocks is 30 s at most; the look is every fifteen.
    assert!(asked.elapsed() < Duration::from_secs(50), "{:?}", asked.elapsed());
}

async fn streams_end_at_once_when_the_service_ends(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let key = subscriber(&app, &admin).await;
    let mut streams = Vec::new();
    for _ in 0..10 {
        let mut stream = open(&app, &key, "after=1000").await;
        stream.must().await;
        streams.push(stream);
    }
    let asked = Instant::now();
    app.server.terminate();
    for stream in streams {
        assert_eq!(stream.rest().await, Vec::<i64>::new());
    }
    let App { server, .. } = app;
    assert_eq!(server.end().await, Some(0));
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
}

async fn a_caller_has_so_many_streams_and_no_more(engine: Engine) {
    let settings = [
        ("REGISTRY__LIMITS__ENABLED", "true"),
        ("REGISTRY__FEED__STREAMS_PER_CALLER", "2"),
    ];
    let app = App::start_with(engine, &settings).await;
    let admin = app.admin().await;
    let (first, second) = (subscriber(&app, &admin).await, subscriber(&app, &admin).await);
    let mut one = open(&app, &first, "").await;
    let mut two = open(&app, &first, "").await;
    one.must().await;
    two.must().await;
    let refused = app.get("/v1/events/stream").bearer(&first).send().await;
    refused.refused(429, "too-many-requests");
    // Another key has its own, and so has the person.
    open(&app, &second, "").await.must().await;
    open(&app, &admin.access, "").await.must().await;
    drop(one);
    let mut three = until("a free place", || async {
        let reply = app.get("/v1/events/stream").bearer(&first).send().await;
        (reply.status == 200).then_some(reply)
    })
    .await;
    assert!(std::mem::take(&mut three.body).starts_with(": position 0\n\n"));
    assert!(matches!(two.must().await, Piece::Event { id: 1, .. }));
}

async fn a_reader_that_does_not_read_holds_nobody_up(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let key = subscriber(&app, &admin).await;
    let head = app.log().await.head().await;
    let mut idle = Vec::new();
    for _ in 0..5 {
        idle.push(open(&app, &key, "").await);
    }
    let mut stream = open(&app, &key, &format!("after={head}")).await;
    let mut slowest = Duration::ZERO;
    for number in 0..30 {
        app.has_user(&format!("user{number}")).await;
        let answered = Instant::now();
        assert_eq!(stream.event().await.0, head + number + 1);
        slowest = slowest.max(answered.elapsed());
    }
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    // And those who did not read find everything when they do.
    for mut late in idle {
        for position in 1..=head + 30 {
            assert_eq!(soon("an old event", late.event()).await.0, position);
        }
    }
}
