//! The feed by pull.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{everything, key, number, page, positions, subscriber, two_processes};
use crate::followers::{overwrite, payload, remove};
use crate::harness::{App, Engine, Server, on_both_engines, run, until};

on_both_engines![
    every_position_is_shown_once_whatever_the_page,
    a_choice_of_types_passes_what_was_not_chosen,
    who_waits_hears_at_once_and_who_waits_in_vain_is_told_so,
    a_cursor_beyond_the_end_waits_for_the_log_to_come_there,
    who_waits_is_answered_when_the_service_ends,
    whoever_may_read_no_longer_is_given_nothing_they_waited_for,
    what_makes_no_sense_keeps_nothing_back_that_is_before_it,
    who_waits_longer_than_a_look_at_the_database_may_take_hears_all_the_same,
];

async fn every_position_is_shown_once_whatever_the_page(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let key = subscriber(&app, &admin).await;
    let ada = app.user("ada").await;
    app.command(
        "block-domain",
        &json!({ "domain": "hotmail.com", "reason": "Spam from Joe" }),
    )
    .bearer(&admin.access)
    .expect(201)
    .await;
    app.get(&format!("/v1/users/{}/history", ada.user))
        .bearer(&admin.access)
        .expect(200)
        .await;
    let head = app.log().await.head().await;
    let whole = everything(&app, &key, 1_000).await;
    let expected: Vec<i64> = (1..=head).collect();
    for limit in [1, 2, 3, head, 1_000] {
        let all = everything(&app, &key, limit).await;
        assert_eq!(
            all.iter().map(|event| number(&event["position"])).collect::<Vec<_>>(),
            expected
        );
        assert_eq!(all, whole, "by {limit}");
    }
    for event in &whole {
        let one = app
            .get(&format!("/v1/events/{}", event["position"]))
            .bearer(&key)
            .expect(200)
            .await;
        assert_eq!(one, *event);
    }
    let types: Vec<&str> = whole.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, app.log().await.types_after(0).await);
    assert_eq!(types.last(), Some(&"audit.history_read"));
    // The envelope is that of the contract, and nothing else is in it.
    let registered = whole
        .iter()
        .find(|event| event["subject"] == ada.user.as_str())
        .unwrap();
    let mut members: Vec<&str> = registered.as_object().unwrap().keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(
        members,
        [
            "correlationid",
            "data",
            "datacontenttype",
            "dataschema",
            "id",
            "position",
            "sequence",
            "source",
            "specversion",
            "subject",
            "time",
            "type"
        ]
    );
    assert_eq!(registered["dataschema"], "/schemas/user.registered/1");
    assert_eq!(
        registered["data"],
        json!({ "dialect": "canonical", "status": "active", "email_verified": false })
    );
    let text = serde_json::to_string(&whole).unwrap();
    for personal in ["boss", "@", "Joe", "Spam", "127.0.0.1"] {
        assert!(!text.contains(personal), "{personal} in {text}");
    }
    told!("{engine:?}: {head} events");
}

async fn a_choice_of_types_passes_what_was_not_chosen(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let key = subscriber(&app, &admin).await;
    for name in ["a.example", "b.example", "c.example"] {
        app.has_user(&name[..1].repeat(3)).await;
        app.command("block-domain", &json!({ "domain": name }))
            .bearer(&admin.access)
            .expect(201)
            .await;
    }
    let head = app.log().await.head().await;
    let blocked = page(&app, &key, "types=domain.blocked").await;
    let subjects: Vec<&str> = blocked["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["subject"].as_str().unwrap())
        .collect();
    assert_eq!(subjects, ["a.example", "b.example", "c.example"]);
    assert_eq!((&blocked["next"], &blocked["head"]), (&json!(head), &json!(head)));
    // A full page ends at its last event, however much was looked through.
    let two = page(&app, &key, "types=domain.blocked&limit=2").await;
    assert_eq!(two["next"], two["events"][1]["position"]);
    let rest = page(
        &app,
        &key,
        &format!("types=domain.blocked&limit=2&after={}", two["next"]),
    )
    .await;
    assert_eq!(rest["events"].as_array().unwrap().len(), 1);
    assert_eq!(rest["next"], json!(head));
    let none = page(&app, &key, "types=domain.proved,session.refreshed").await;
    assert_eq!((positions(&none).len(), &none["next"]), (0, &json!(head)));
    // Both halves together are the whole.
    let (users, others) = (
        page(&app, &key, "types=user.*&limit=1000").await,
        page(&app, &key, "types=session.*,domain.*,audit.*&limit=1000").await,
    );
    let mut both = [positions(&users), positions(&others)].concat();
    both.sort_unstable();
    assert_eq!(both, (1..=head).collect::<Vec<_>>());
    assert_eq!(positions(&page(&app, &key, "types=*&limit=1000").await), both);
}

async fn who_waits_hears_at_once_and_who_waits_in_vain_is_told_so(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let key = subscriber(&app, &admin).await;
    let head = app.log().await.head().await;
    let asked = Instant::now();
    let nothing = page(&app, &key, &format!("after={head}&wait=1")).await;
    assert_eq!(nothing, json!({ "events": [], "next": head, "head": head }));
    assert!(asked.elapsed() >= Duration::from_secs(1));
    let asked = Instant::now();
    let nothing = page(&app, &key, &format!("after={head}")).await;
    assert_eq!(nothing, json!({ "events": [], "next": head, "head": head }));
    assert!(asked.elapsed() < Duration::from_secs(1));
    // Who waits for a domain is not woken for good by a user.
    let (client, waiting) = (app.client.clone(), key.clone());
    let hearing = tokio::spawn(async move {
        let asked = Instant::now();
        let heard = page(&client, &waiting, &format!("after={head}&types=domain.*&wait=30")).await;
        (heard, asked.elapsed())
    });
    app.has_user("ada").await;
    app.command("allow-domain", &json!({ "domain": "farm.example" }))
        .bearer(&admin.access)
        .expect(201)
        .await;
    let (heard, took) = hearing.await.unwrap();
    assert_eq!(heard["events"][0]["type"], "domain.allowed");
    assert_eq!(heard["events"].as_array().unwrap().len(), 1);
    assert!(took < Duration::from_secs(20), "{took:?}");
}

async fn a_cursor_beyond_the_end_waits_for_the_log_to_come_there(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let key = subscriber(&app, &admin).await;
    let head = app.log().await.head().await;
    let beyond = page(&app, &key, &format!("after={}", head + 1)).await;
    assert_eq!(beyond, json!({ "events": [], "next": head + 1, "head": head }));
    let far = page(&app, &key, &format!("after={}&wait=0", i64::MAX)).await;
    assert_eq!(far["next"], json!(i64::MAX));
    let (client, waiting) = (app.client.clone(), key.clone());
    let hearing = tokio::spawn(async move { page(&client, &waiting, &format!("after={}&wait=30", head + 1)).await });
    app.has_user("ada").await;
    app.has_user("bob").await;
    assert_eq!(positions(&hearing.await.unwrap()), [head + 2]);
}

async fn who_waits_is_answered_when_the_service_ends(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let key = subscriber(&app, &admin).await;
    let head = app.log().await.head().await;
    let (client, waiting) = (app.client.clone(), key.clone());
    let hearing = tokio::spawn(async move { page(&client, &waiting, &format!("after={head}&wait=30")).await });
    // It has been let in once its key was used.
    until("the request", || async {
        let keys = app.get("/v1/api-keys").bearer(&admin.access).expect(200).await;
        (!keys["items"][0]["last_used_at"].is_null()).then_some(())
    })
    .await;
    let asked = Instant::now();
    app.server.terminate();
    assert_eq!(hearing.await.unwrap()["next"], json!(head));
    let App { server, .. } = app;
    assert_eq!(server.end().await, Some(0));
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
}

async fn whoever_may_read_no_longer_is_given_nothing_they_waited_for(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    for types in ["", "&types=domain.*"] {
        let (key, id) = key(&app, &admin).await;
        let head = app.log().await.head().await;
        let call = app.get(&format!("/v1/events?after={head}&wait=30{types}")).bearer(&key);
        let hearing = tokio::spawn(call.send());
        until("the request", || async {
            let keys = app.get("/v1/api-keys").bearer(&admin.access).expect(200).await;
            let mut keys = keys["items"].as_array().unwrap().iter();
            keys.any(|one| one["id"] == id.as_str() && !one["last_used_at"].is_null())
                .then_some(())
        })
        .await;
        // Let in, it still has to come to where it waits.
        tokio::time::sleep(Duration::from_millis(300)).await;
        app.command("revoke-api-key", &json!({ "key_id": id }))
            .bearer(&admin.access)
            .expect(200)
            .await;
        // Whoever waits for it is woken by this and not before.
        app.command("block-domain", &json!({ "domain": format!("d{head}.example") }))
            .bearer(&admin.access)
            .expect(201)
            .await;
        hearing.await.unwrap().refused(401, "token-revoked");
    }
}

mod replicas {
    #[test]
    fn what_one_replica_answers_the_other_shows_and_wakes_for() {
        super::run(super::what_one_replica_answers_the_other_shows_and_wakes_for());
    }
}

async fn what_one_replica_answers_the_other_shows_and_wakes_for() {
    let (app, second, _folder) = two_processes().await;
    let admin = app.admin().await;
    let key = subscriber(&app, &admin).await;
    let client = second.client();
    let mut slowest = Duration::ZERO;
    for number in 0..20 {
        let head = app.log().await.head().await;
        let (reader, waiting) = (client.clone(), key.clone());
        let hearing = tokio::spawn(async move {
            let heard = page(&reader, &waiting, &format!("after={head}&wait=30")).await;
            (heard, Instant::now())
        });
        let id = app.has_user(&format!("user{number}")).await;
        let answered = Instant::now();
        // Without waiting: what was answered there is seen here at once.
        let seen = page(&client, &key, &format!("after={head}")).await;
        assert_eq!(seen["events"][0]["subject"], id.as_str());
        let (heard, at) = hearing.await.unwrap();
        assert_eq!(heard["events"][0]["subject"], id.as_str());
        slowest = slowest.max(at.saturating_duration_since(answered));
    }
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    told!("two replicas: heard {slowest:?} after the answer at the latest");
}

async fn what_makes_no_sense_keeps_nothing_back_that_is_before_it(engine: Engine) {
    let mut app = App::start(engine).await;
    let admin = app.admin().await;
    let key = subscriber(&app, &admin).await;
    for number in 0..5 {
        app.has_user(&format!("p{number}")).await;
    }
    let head = app.log().await.head().await;
    let whole = everything(&app, &key, 1_000).await;
    let at = head - 2;
    let payload = payload(&mut app.log().await, at).await;
    // By a process that has read none of it.
    app.server.terminate();
    overwrite(&mut app.log().await, at, "{\"type\":\"user.nonsense\"}").await;
    app.server = Server::start(&app.place, &[("REGISTRY__FOLLOWERS__ENABLED", "false")]).await;
    app.client = app.server.client();
    for query in ["", "&types=user.*,session.*,domain.*"] {
        let before = page(&app, &key, &format!("after=0{query}")).await;
        assert_eq!(positions(&before), (1..at).collect::<Vec<_>>(), "{query}");
        assert_eq!((number(&before["next"]), number(&before["head"])), (at - 1, head));
        let from_here = format!("/v1/events?after={}{query}", at - 1);
        app.get(&from_here).bearer(&key).send().await.refused(500, "internal");
        let after = page(&app, &key, &format!("after={at}{query}")).await;
        assert_eq!(positions(&after), [head - 1, head]);
    }
    let stream = app.get("/v1/events/stream?after=0").bearer(&key).open().await;
    assert_eq!(
        stream.rest().await,
        (1..at).collect::<Vec<_>>(),
        "the stream ends before it"
    );
    overwrite(&mut app.log().await, at, &payload).await;
    assert_eq!(everything(&app, &key, 1_000).await, whole);

    // Nor does one that is missing.
    app.server.terminate();
    remove(&mut app.log().await, at).await;
    app.server = Server::start(&app.place, &[("REGISTRY__FOLLOWERS__ENABLED", "false")]).await;
    app.client = app.server.client();
    let before = page(&app, &key, "after=0").await;
    assert_eq!(positions(&before), (1..at).collect::<Vec<_>>());
}

async fn who_waits_longer_than_a_look_at_the_database_may_take_hears_all_the_same(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let key = subscriber(&app, &admin).await;
    let head = app.log().await.head().await;
    let asked = Instant::now();
    let query = format!("after={head}&wait=20");
    let (heard, ()) = tokio::join!(page(&app, &key, &query), async {
        // Longer than a request or one of its looks may take.
        tokio::time::sleep(Duration::from_secs(10)).await;
        app.has_user("ada").await;
    });
    assert_eq!(positions(&heard)[0], head + 1);
    assert!(asked.elapsed() >= Duration::from_secs(10), "{:?}", asked.elapsed());
}
