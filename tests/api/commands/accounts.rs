//! Registering and the profile.

use insta::{allow_duplicates, assert_snapshot};
use serde_json::{Value, json};

use crate::harness::{App, Engine, PASSWORD, on_both_engines};

on_both_engines![
    a_registration_answers_with_a_receipt,
    a_profile_is_set_cleared_and_left,
    an_administrator_changes_the_profile_of_somebody_else,
    a_boundary_comes_back_as_it_was_given,
    two_who_register_one_address_at_once_leave_one_account,
];

async fn a_registration_answers_with_a_receipt(engine: Engine) {
    let app = App::start(engine).await;
    let body = json!({ "username": "ada", "password": PASSWORD });
    let reply = app.command("register-user", &body).send().await;
    assert_eq!(reply.status, 201);
    allow_duplicates! { assert_snapshot!(reply.body.replace(reply.json()["id"].as_str().unwrap(), "[id]"), @r#"{"id":"[id]","version":1,"position":1,"events":["user.registered"]}"#) }
    assert_eq!(
        reply.header("location"),
        format!("/v1/users/{}", reply.json()["id"].as_str().unwrap())
    );
    assert_eq!(reply.header("etag"), "\"1\"");
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(reply.header("cache-control"), "no-store");

    // Of all that happened only the account's own stream is told; the domain was observed beside it.
    let body = json!({
        "username": "grace", "email": "Grace.Hopper@Navy.example", "phone": "+12025550123", "password": PASSWORD,
        "full_name": "  Grace Hopper ", "discoverable": true, "position": { "latitude": 38.9, "longitude": -77.03 },
        "geo_id": "geo:38.9,-77.03", "locale": "EN_us",
        "boundary": { "type": "Polygon", "coordinates": [[[0, 0], [0, 1], [1, 1], [0, 0]]], "note": "dropped" },
    });
    let reply = app.command("register-user", &body).send().await;
    assert_eq!((reply.status, reply.header("etag")), (201, "\"3\""));
    let receipt = reply.json();
    assert_eq!((&receipt["version"], &receipt["position"]), (&json!(3), &json!(4)));
    let events = [
        "user.registered",
        "user.email_verification_requested",
        "user.phone_verification_requested",
    ];
    assert_eq!(receipt["events"], json!(events));
    let log = app.log().await.types_after(1).await;
    assert_eq!(log, [events.as_slice(), &["domain.observed"]].concat());

    let admin = app.admin().await;
    let found = app.get(reply.header("location")).bearer(&admin.access).send().await;
    allow_duplicates! { assert_snapshot!(found.wire(), @r#"{"id":"[id]","username":"grace","email":"Grace.Hopper@navy.example","email_verified":false,"phone":"+12025550123","phone_verified":false,"full_name":"Grace Hopper","status":"pending","roles":["user"],"discoverable":true,"position":{"latitude":38.9,"longitude":-77.03},"geo_id":"geo:38.9,-77.03","boundary":{"coordinates":[[[0,0],[0,1],[1,1],[0,0]]],"type":"Polygon"},"country":"US","locale":"en-US","created_at":"[time]","updated_at":"[time]","last_login":null,"version":3,"log_position":[position]}"#) }
}

async fn a_profile_is_set_cleared_and_left(engine: Engine) {
    let app = App::start(engine).await;
    let ada = app.user("ada").await;
    let update = async |body: Value| app.command("update-profile", &body).bearer(&ada.access).send().await;
    let me = async || app.get("/v1/me").bearer(&ada.access).expect(200).await;

    let reply =
        update(json!({ "full_name": "Ada", "geo_id": "g-1", "position": { "latitude": 51.5, "longitude": -0.12 } }))
            .await;
    assert_eq!(
        (reply.status, reply.header("etag"), reply.header("location")),
        (200, "\"2\"", "")
    );
    assert_eq!(reply.json()["events"], json!(["user.profile_updated"]));
    assert_eq!(reply.json()["id"], json!(ada.user));
    let row = me().await;
    assert_eq!(
        (&row["full_name"], &row["geo_id"], &row["country"]),
        (&json!("Ada"), &json!("g-1"), &json!("GB"))
    );
    assert_eq!(
        (&row["version"], &row["log_position"]),
        (&json!(2), &reply.json()["position"])
    );

    // `null` clears, what is not named stays.
    let reply = update(json!({ "position": null, "locale": "fr" })).await;
    assert_eq!(reply.header("etag"), "\"3\"");
    let row = me().await;
    assert_eq!(
        (&row["position"], &row["country"], &row["locale"]),
        (&Value::Null, &Value::Null, &json!("fr"))
    );
    assert_eq!((&row["full_name"], &row["geo_id"]), (&json!("Ada"), &json!("g-1")));

    // Nothing changes, nothing is written, and the answer names the last thing that was.
    let head = app.log().await.head().await;
    let same = update(json!({ "full_name": "Ada", "locale": "fr", "position": null })).await;
    assert_eq!((same.status, same.header("etag")), (200, "\"3\""));
    assert_eq!(
        same.json(),
        json!({ "id": ada.user, "version": 3, "position": reply.json()["position"], "events": [] })
    );
    assert_eq!(app.log().await.head().await, head);
}

async fn an_administrator_changes_the_profile_of_somebody_else(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let ada = app.user("ada").await;
    let body = json!({ "user_id": ada.user, "full_name": "Ada Lovelace" });
    app.command("update-profile", &body)
        .bearer(&admin.access)
        .expect(200)
        .await;
    let row = app.get("/v1/me").bearer(&ada.access).expect(200).await;
    assert_eq!(row["full_name"], "Ada Lovelace");
    let path = format!("/v1/users/{}/history?after=0&limit=200", ada.user);
    let history = app.get(&path).bearer(&ada.access).expect(200).await;
    let last = history["items"].as_array().unwrap().last().unwrap();
    assert_eq!(last["actor"], json!({ "kind": "admin", "id": admin.user }));
    // Where an administrator called from is not the account's to read.
    assert_eq!(last["origin"]["dialect"], "canonical");
}

async fn a_boundary_comes_back_as_it_was_given(engine: Engine) {
    let app = App::start(engine).await;
    let ada = app.user("ada").await;
    let step = |n: u32| f64::from(n) / 10_000.0;
    let mut ring: Vec<Value> = (0..9_998)
        .map(|n| json!([step(n) + 0.123_456_789_012, -step(n), 1.5]))
        .collect();
    ring.push(ring[0].clone());
    let boundary = json!({ "type": "MultiPolygon", "coordinates": [[ring]] });
    let size = boundary.to_string().len();
    assert!((250_000..1 << 20).contains(&size), "{size}");
    app.command("update-profile", &json!({ "boundary": boundary }))
        .bearer(&ada.access)
        .expect(200)
        .await;
    assert_eq!(
        app.get("/v1/me").bearer(&ada.access).expect(200).await["boundary"],
        boundary
    );
}

async fn two_who_register_one_address_at_once_leave_one_account(engine: Engine) {
    let app = App::start(engine).await;
    let spellings = [
        "jörg@bücher.example",
        "JÖRG@BÜCHER.EXAMPLE",
        "jo\u{308}rg@xn--bcher-kva.example",
        "Jörg@Bücher.Example",
    ];
    for round in 0..3 {
        let calls = (0..12).map(|number| {
            let spelling = spellings[number % spellings.len()].replacen(['j', 'J'], &format!("j{round}"), 1);
            app.command("register-user", &json!({ "email": spelling, "password": PASSWORD }))
                .send()
        });
        let replies = futures::future::join_all(calls).await;
        let made = replies.iter().filter(|reply| reply.status == 201).count();
        assert_eq!(made, 1, "{replies:?}");
        for reply in replies.iter().filter(|reply| reply.status != 201) {
            assert_eq!(reply.refused(409, "taken"), ["/email"]);
        }
    }
    let mut log = app.log().await;
    assert_eq!(log.count("events", "event_type = 'user.registered'").await, 3);
    assert_eq!(log.count("events", "event_type = 'domain.observed'").await, 1);
    assert_eq!(log.count("credentials", "1 = 1").await, 3);
    assert_eq!(log.count("names", "1 = 1").await, 3);
    assert_eq!(log.count("users", "1 = 1").await, 3);
}
