//! Auditors over HTTP: the past of an account, its history, its proofs.

use std::collections::BTreeMap;

use aggregates::values::Role;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use user_registry::audit::bundle::verify;
use user_registry::audit::note::{Head, PublicKey};
use user_registry::audit::tree::{Hash, is_consistent, root_of_inclusion};

use crate::harness::{App, Engine, Server, on_both_engines, until};

on_both_engines![
    an_account_is_shown_as_it_was_at_every_position_and_time,
    a_history_can_be_filtered_and_says_what_led_to_what,
    who_looks_at_somebody_elses_past_leaves_an_event,
    the_log_proves_every_event_and_that_it_only_grew,
    what_no_copy_covers_is_counted_whatever_is_in_its_way,
    a_bundle_holds_what_its_reader_may_see,
    an_erased_account_has_a_past_without_anything_personal,
];

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name}: {value}"))
}

/// Somebody who has changed a few times.
async fn ada(app: &App) -> (crate::harness::Tokens, Vec<Value>) {
    let tokens = app.user("ada").await;
    for body in [
        json!({ "full_name": "Ada" }),
        json!({ "full_name": "Ada King", "locale": "en-GB" }),
        json!({ "position": { "latitude": 1.25, "longitude": 103.75 }, "discoverable": true }),
        json!({ "full_name": null }),
    ] {
        app.command("update-profile", &body)
            .bearer(&tokens.access)
            .expect(200)
            .await;
    }
    let path = format!("/v1/users/{}/history", tokens.user);
    let history = app.get(&path).bearer(&tokens.access).expect(200).await;
    let events = history["items"].as_array().unwrap().clone();
    assert_eq!(events.len(), 5);
    (tokens, events)
}

#[expect(clippy::too_many_lines, reason = "a behaviour is told in one piece")]
async fn an_account_is_shown_as_it_was_at_every_position_and_time(engine: Engine) {
    let app = App::start(engine).await;
    let (ada, events) = ada(&app).await;
    let user = format!("/v1/users/{}", ada.user);
    let at = async |moment: &str| {
        app.get(&format!("{user}?at={moment}"))
            .bearer(&ada.access)
            .expect(200)
            .await
    };
    let names = [
        json!(null),
        json!("Ada"),
        json!("Ada King"),
        json!("Ada King"),
        json!(null),
    ];
    for (event, name) in events.iter().zip(&names) {
        for moment in [event["position"].to_string(), text(event, "at").to_owned()] {
            let then = at(&moment).await;
            assert_eq!(then["full_name"], *name, "at {moment}");
            assert_eq!(then["version"], event["sequence"]);
            let of = json!({ "position": event["position"], "time": event["at"], "event_id": event["event_id"] });
            assert_eq!(then["as_of"], of);
        }
    }
    // As it is now, but for what says when that is.
    let head = app.log().await.head().await;
    let mut then = at(&head.to_string()).await;
    assert!(then.as_object_mut().unwrap().remove("as_of").is_some());
    assert_eq!(then, app.get(&user).bearer(&ada.access).expect(200).await);
    let first = events[0]["position"].as_i64().unwrap();
    let before = app
        .get(&format!("{user}?at={}", first - 1))
        .bearer(&ada.access)
        .send()
        .await;
    before.refused(404, "not-found");
    let after = app
        .get(&format!("{user}?at={}", head + 1))
        .bearer(&ada.access)
        .send()
        .await;
    assert_eq!(after.refused(400, "invalid"), ["/at"]);
    assert!(after.body.contains("lies after the end of the log"));

    // What changed is what differs between the two.
    let last = events[4]["position"].as_i64().unwrap();
    for (from, to) in [(first, last), (first, last - 1), (last - 2, last), (last, last)] {
        let (one, other) = (at(&from.to_string()).await, at(&to.to_string()).await);
        let diff = app
            .get(&format!("{user}/diff?from={from}&to={to}"))
            .bearer(&ada.access)
            .expect(200)
            .await;
        let told: BTreeMap<&str, (&Value, &Value)> = diff["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| (text(item, "field"), (&item["from"], &item["to"])))
            .collect();
        let differing: BTreeMap<&str, (&Value, &Value)> = one
            .as_object()
            .unwrap()
            .iter()
            .filter(|(name, value)| *name != "as_of" && other[name.as_str()] != **value)
            .map(|(name, value)| (name.as_str(), (value, &other[name.as_str()])))
            .collect();
        assert_eq!(told, differing, "{from} to {to}");
    }
    let diff = app
        .get(&format!("{user}/diff?from={first}&to={last}"))
        .bearer(&ada.access)
        .expect(200)
        .await;
    let locale = diff["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|item| item["field"] == "locale")
        .unwrap();
    let by = json!({ "kind": "self", "id": ada.user });
    let expected = json!({ "field": "locale", "from": null, "to": "en-GB", "event_id": events[2]["event_id"],
        "position": events[2]["position"], "actor": by });
    assert_eq!(*locale, expected);
    // Ends of two kinds are one order: the same moment both ways, the other way round neither.
    let (middle, end) = (&events[2], &events[4]);
    let ends = |event: &Value| [event["position"].to_string(), text(event, "at").to_owned()];
    for (early, late) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let diff = async |from: &str, to: &str| {
            app.get(&format!("{user}/diff?from={from}&to={to}"))
                .bearer(&ada.access)
                .send()
                .await
        };
        let (early, same, late) = (&ends(middle)[early], &ends(middle)[late], &ends(end)[late]);
        assert_ne!(diff(early, late).await.json()["items"], json!([]), "{early} to {late}");
        let nothing = diff(early, same).await;
        assert_eq!((nothing.status, &nothing.json()["items"]), (200, &json!([])));
        let reversed = diff(late, early).await;
        assert_eq!(reversed.refused(400, "invalid"), ["/to"], "{late} to {early}");
    }
    // From before there was anything.
    let all = app
        .get(&format!("{user}/diff?from=0&to={first}"))
        .bearer(&ada.access)
        .expect(200)
        .await;
    assert!(
        all["items"]
            .as_array()
            .unwrap()
            .iter()
            .any(|item| item["field"] == "username" && item["from"].is_null())
    );
    let bob = app.user("bob").await;
    for path in ["?at=1", "/diff?from=1&to=1", "/history/bundle"] {
        app.get(&format!("{user}{path}"))
            .bearer(&bob.access)
            .send()
            .await
            .refused(404, "not-found");
    }
}

async fn a_history_can_be_filtered_and_says_what_led_to_what(engine: Engine) {
    let app = App::start(engine).await;
    let body = json!({ "email": "ada@farm.example", "username": "ada", "password": crate::harness::PASSWORD });
    let receipt = app.command("register-user", &body).expect(201).await;
    let user = text(&receipt, "id").to_owned();
    let mail = app.mailbox().to("ada@farm.example").await;
    let token = mail.token();
    app.command("verify-email", &json!({ "token": token }))
        .expect(200)
        .await;
    let ada = app.sign_in("ada", crate::harness::PASSWORD).await;
    app.command("update-profile", &json!({ "locale": "de" }))
        .bearer(&ada.access)
        .expect(200)
        .await;
    let read = async |query: &str| {
        let path = format!("/v1/users/{user}/history{query}");
        let page = app.get(&path).bearer(&ada.access).expect(200).await;
        page["items"].as_array().unwrap().clone()
    };
    let all = read("").await;
    let kinds: Vec<&str> = all.iter().map(|event| text(event, "type")).collect();
    let expected = [
        "user.registered",
        "user.email_verification_requested",
        "user.email_verified",
        "user.profile_updated",
    ];
    assert_eq!(kinds, expected);
    assert_eq!(all[0]["correlation"], all[1]["correlation"]);
    assert_ne!(all[1]["correlation"], all[2]["correlation"]);
    assert_eq!(
        (&all[1]["cause"], &all[2]["cause"]),
        (&Value::Null, &all[1]["event_id"])
    );
    assert_eq!(all[3]["actor"], json!({ "kind": "self", "id": user }));
    assert_eq!(all[3]["origin"]["dialect"], "canonical");
    assert_eq!(all[3]["origin"]["ip"], "127.0.0.1");
    assert_eq!(all[3]["origin"]["request_id"], all[3]["correlation"]);
    assert_eq!(
        read("?types=user.email_verified,user.registered").await,
        [all[0].clone(), all[2].clone()]
    );
    assert_eq!(read("?types=user.*").await, all);
    assert_eq!(read("?types=domain.*").await, [] as [Value; 0]);
    let at = |number: usize| (all[number]["position"].to_string(), text(&all[number], "at").to_owned());
    // The first two were recorded together.
    for ((from, to), first) in [((at(1).0, at(2).0), 1), ((at(1).1, at(2).1), 0)] {
        assert_eq!(read(&format!("?from={from}&to={to}")).await, all[first..=2]);
        assert_eq!(
            read(&format!("?types=user.email_verified&from={from}&to={to}")).await,
            all[2..=2]
        );
    }
    // Cursors hold with filters, whatever is appended meanwhile.
    let path = format!("/v1/users/{user}/history?types=user.*&limit=1");
    let (mut seen, mut after) = (Vec::new(), 0);
    loop {
        let page = app
            .get(&format!("{path}&after={after}"))
            .bearer(&ada.access)
            .expect(200)
            .await;
        seen.extend(page["items"].as_array().unwrap().clone());
        match page["next"].as_i64() {
            Some(next) => after = next,
            None => break,
        }
        if seen.len() == 2 {
            app.command("update-profile", &json!({ "locale": "fr" }))
                .bearer(&ada.access)
                .expect(200)
                .await;
        }
    }
    assert_eq!(seen.len(), 5);
    assert_eq!(seen[..4], all);
    let page = app.get("/docs/events").send().await;
    assert!(page.body.contains("user.email_verified") && page.body.contains("The address was verified."));
}

async fn who_looks_at_somebody_elses_past_leaves_an_event(engine: Engine) {
    let app = App::start(engine).await;
    let (ada, events) = ada(&app).await;
    let auditor = app.with_role("alan", Role::Auditor).await;
    let position = &events[0]["position"];
    let mut log = app.log().await;
    for path in [
        format!("?at={position}"),
        format!("/diff?from={position}&to={position}"),
        "/history".to_owned(),
        "/history/bundle".to_owned(),
    ] {
        let before = log.head().await;
        let path = format!("/v1/users/{}{path}", ada.user);
        assert_eq!(app.get(&path).bearer(&ada.access).send().await.status, 200);
        assert_eq!(log.types_after(before).await, [] as [&str; 0], "her own: {path}");
        for _ in 0..2 {
            assert_eq!(app.get(&path).bearer(&auditor.access).send().await.status, 200);
        }
    }
    let read: Vec<_> = log
        .events()
        .await
        .into_iter()
        .filter(|event| event.kind == "audit.history_read")
        .collect();
    // One per reader, subject and hour; an hour may end while this runs.
    assert!((1..=2).contains(&read.len()), "{read:?}");
    assert!(read.iter().all(|event| event.stream == auditor.user));
}

fn hashes(answer: &Value) -> Vec<Hash> {
    let list = answer["hashes"].as_array().unwrap().iter();
    list.map(|hash| STANDARD.decode(hash.as_str().unwrap()).unwrap().try_into().unwrap())
        .collect()
}

/// The public keys, and the head once it covers everything.
async fn covered(app: &App) -> (Vec<PublicKey>, Head) {
    let keys = app.get("/v1/log/key").expect(200).await;
    let keys: Vec<PublicKey> = keys["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| PublicKey::parse(text(item, "vkey")).unwrap())
        .collect();
    let end = app.log().await.head().await;
    let head = until("a head that covers everything", || async {
        let reply = app.get("/v1/log/head").header("accept", "text/plain").send().await;
        if reply.status != 200 {
            return None;
        }
        assert_eq!(reply.header("content-type"), "text/plain; charset=utf-8");
        Head::open(&reply.body, &keys)
            .ok()
            .filter(|head| i64::try_from(head.size) == Ok(end))
    })
    .await;
    (keys, head)
}

async fn the_log_proves_every_event_and_that_it_only_grew(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let (_, early) = covered(&app).await;
    let mut heads = vec![early];
    for number in 0..3 {
        app.has_user(&format!("ada{number}")).await;
        heads.push(covered(&app).await.1);
    }
    let newest = heads.last().unwrap().clone();
    for position in 1..=newest.size {
        let path = format!("/v1/log/proof/inclusion?position={position}");
        let answer = app.get(&path).bearer(&admin.access).expect(200).await;
        assert_eq!(answer["size"], newest.size);
        let leaf: Hash = STANDARD.decode(text(&answer, "leaf_hash")).unwrap().try_into().unwrap();
        let root = root_of_inclusion(&leaf, position - 1, newest.size, &hashes(&answer));
        assert_eq!(root, Some(newest.root), "{position}");
        for head in heads.iter().filter(|head| head.size >= position) {
            let path = format!("{path}&size={}", head.size);
            let answer = app.get(&path).bearer(&admin.access).expect(200).await;
            let root = root_of_inclusion(&leaf, position - 1, head.size, &hashes(&answer));
            assert_eq!(root, Some(head.root), "{position} of {}", head.size);
        }
    }
    for head in &heads {
        let path = format!("/v1/log/proof/consistency?from={}", head.size);
        let answer = app.get(&path).bearer(&admin.access).expect(200).await;
        assert!(is_consistent(
            head.size,
            newest.size,
            &head.root,
            &newest.root,
            &hashes(&answer)
        ));
    }
    let followers = app.get("/v1/followers").bearer(&admin.access).expect(200).await;
    assert!(
        followers["items"]
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["name"] == "notary")
    );
    until("a copy of every head", || async {
        (uncovered(&app).await == 0).then_some(())
    })
    .await;
}

/// How many events no head outside the database covers, as the service says.
async fn uncovered(app: &App) -> i64 {
    let metrics = app.get("/metrics").send().await.body;
    let value = metrics
        .lines()
        .find_map(|line| line.strip_prefix("registry_notary_uncovered_events "));
    value.unwrap_or_else(|| panic!("{metrics}")).parse().unwrap()
}

async fn what_no_copy_covers_is_counted_whatever_is_in_its_way(engine: Engine) {
    let mut app = App::start(engine).await;
    app.has_user("ada").await;
    until("a copy of every head", || async {
        (uncovered(&app).await == 0).then_some(())
    })
    .await;
    // Where its folder was, the notary finds a file.
    let (folder, aside) = (app.place.folder().join("notary"), app.place.folder().join("aside"));
    app.server.terminate();
    std::fs::rename(&folder, &aside).unwrap();
    std::fs::write(&folder, "").unwrap();
    app.server = Server::start(&app.place, &[]).await;
    app.client = app.server.client();
    let before = app.log().await.head().await;
    for name in ["bob", "eve", "tim"] {
        app.has_user(name).await;
    }
    let more = app.log().await.head().await - before;
    assert!(more >= 3, "{more}");
    assert!(uncovered(&app).await >= more);
    // A process that runs no follower says the same.
    app.server.terminate();
    app.server = Server::start(&app.place, &[("REGISTRY__FOLLOWERS__ENABLED", "false")]).await;
    app.client = app.server.client();
    assert!(uncovered(&app).await >= more);
    app.server.terminate();
    std::fs::remove_file(&folder).unwrap();
    std::fs::rename(&aside, &folder).unwrap();
    app.server = Server::start(&app.place, &[]).await;
    app.client = app.server.client();
    until("the copies to catch up", || async {
        (uncovered(&app).await == 0).then_some(())
    })
    .await;
}

async fn a_bundle_holds_what_its_reader_may_see(engine: Engine) {
    let app = App::start(engine).await;
    let (ada, events) = ada(&app).await;
    let admin = app.admin().await;
    let body = json!({ "user_id": ada.user, "locale": "fr" });
    app.command("update-profile", &body)
        .bearer(&admin.access)
        .expect(200)
        .await;
    let (keys, _) = covered(&app).await;
    let take = async |token: &str, query: &str| {
        let path = format!("/v1/users/{}/history/bundle{query}", ada.user);
        let reply = app.get(&path).bearer(token).send().await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert_eq!(reply.header("content-type"), "application/x-ndjson");
        reply.body
    };
    let own = take(&ada.access, "").await;
    let verdict = verify(own.as_bytes(), &keys).unwrap();
    assert_eq!((verdict.events, verdict.sequences), (6, Some((1, 6))));
    // Where the administrator was is the administrator's.
    let all = verify(take(&admin.access, "").await.as_bytes(), &keys).unwrap();
    assert_eq!((verdict.closed, all.closed), (1, 0));
    assert_eq!(all.opened, verdict.opened + 1);
    let part = take(
        &ada.access,
        &format!("?from={}&to={}", events[1]["position"], text(&events[2], "at")),
    )
    .await;
    assert_eq!(verify(part.as_bytes(), &keys).unwrap().sequences, Some((2, 3)));
    assert!(own.contains("Ada King"));
}

async fn an_erased_account_has_a_past_without_anything_personal(engine: Engine) {
    let app = App::start(engine).await;
    let (ada, events) = ada(&app).await;
    let admin = app.admin().await;
    let (keys, _) = covered(&app).await;
    let path = format!("/v1/users/{}", ada.user);
    let before = app
        .get(&format!("{path}/history/bundle"))
        .bearer(&admin.access)
        .send()
        .await
        .body;
    let body = json!({ "user_id": ada.user, "reason": "asked for it" });
    app.command("erase-user", &body).bearer(&admin.access).expect(200).await;
    let (_, head) = covered(&app).await;
    let position = events[2]["position"].as_i64().unwrap();
    let then = app
        .get(&format!("{path}?at={position}"))
        .bearer(&admin.access)
        .expect(200)
        .await;
    assert_eq!(
        (&then["full_name"], &then["username"], &then["version"]),
        (&Value::Null, &Value::Null, &json!(3))
    );
    app.get(&format!("{path}?at={}", head.size))
        .bearer(&admin.access)
        .send()
        .await
        .refused(404, "not-found");
    let history = app
        .get(&format!("{path}/history"))
        .bearer(&admin.access)
        .expect(200)
        .await;
    let named = &history["items"][2];
    assert_eq!(
        (&named["data"]["full_name"], &named["erased"]),
        (&Value::Null, &json!(true))
    );
    assert_eq!(
        verify(before.as_bytes(), &keys).unwrap().events,
        5,
        "what was taken away holds"
    );
    let after = app
        .get(&format!("{path}/history/bundle"))
        .bearer(&admin.access)
        .send()
        .await
        .body;
    let verdict = verify(after.as_bytes(), &keys).unwrap();
    assert_eq!(verdict.events, 6);
    assert!(!after.contains("Ada King") && before.contains("Ada King"));
    let newest = covered(&app).await.1;
    let proof = format!("/v1/log/proof/inclusion?position={position}&size={}", newest.size);
    let answer = app.get(&proof).bearer(&admin.access).expect(200).await;
    let leaf: Hash = STANDARD.decode(text(&answer, "leaf_hash")).unwrap().try_into().unwrap();
    let index = u64::try_from(position).unwrap() - 1;
    assert_eq!(
        root_of_inclusion(&leaf, index, newest.size, &hashes(&answer)),
        Some(newest.root)
    );
}
