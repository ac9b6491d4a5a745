//! Finding people by their place, and what administrators see of the whole.

use serde_json::{Value, json};

use crate::harness::{App, Engine, PASSWORD, on_both_engines, until};

on_both_engines![
    those_who_want_to_be_found_are_found_by_their_place,
    pages_of_those_nearby_hold_each_once,
    statistics_count_what_has_happened,
    followers_say_how_far_they_are,
    people_come_up_by_any_word_of_theirs,
    verified_is_who_has_a_verified_address,
];

async fn register(app: &App, username: &str, more: Value) -> String {
    let mut body = more;
    body["username"] = json!(username);
    body["password"] = json!(PASSWORD);
    let receipt = app.command("register-user", &body).expect(201).await;
    receipt["id"].as_str().unwrap().to_owned()
}

fn at(latitude: f64, longitude: f64) -> Value {
    json!({ "discoverable": true, "position": { "latitude": latitude, "longitude": longitude } })
}

fn names(page: &Value) -> Vec<&str> {
    let items = page["items"].as_array().unwrap();
    items.iter().map(|item| item["username"].as_str().unwrap()).collect()
}

async fn those_who_want_to_be_found_are_found_by_their_place(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let ada = app.user("ada").await;
    let mut near = at(52.3700, 4.9000);
    near["geo_id"] = json!("plot-7");
    register(&app, "near", near).await;
    register(&app, "far", at(52.3800, 4.9000)).await;
    register(&app, "east-of-the-line", at(-17.0, -179.999)).await;
    register(&app, "at-the-pole", at(89.9999, 12.0)).await;
    let mut hidden = at(52.3700, 4.9000);
    hidden["discoverable"] = json!(false);
    register(&app, "hidden", hidden).await;
    let mut pending = at(52.3700, 4.9000);
    pending["email"] = json!("pending@farm.example");
    register(&app, "pending", pending).await;
    let ring = json!([[4.8, 52.3], [5.0, 52.3], [5.0, 52.5], [4.8, 52.5], [4.8, 52.3]]);
    let owner = json!({ "discoverable": true, "boundary": { "type": "Polygon", "coordinates": [ring] } });
    register(&app, "owner", owner).await;

    let found = async |query: &str| {
        let path = format!("/v1/discover?{query}");
        app.get(&path).bearer(&ada.access).expect(200).await
    };
    let page = found("latitude=52.37&longitude=4.9&radius_km=5").await;
    // Both at distance 0: who came first is named first.
    assert_eq!(names(&page), ["near", "owner", "far"]);
    assert_eq!(page["next"], Value::Null);
    let mut nearest = page["items"][0].clone();
    nearest.as_object_mut().unwrap().remove("id").unwrap();
    let expected = json!({ "username": "near", "geo_id": "plot-7", "country": "NL", "distance_km": 0.0 });
    assert_eq!(nearest, expected);
    assert_eq!(page["items"][2]["distance_km"], 1.112);
    assert_eq!(page["items"][1]["distance_km"], 0.0);
    for (query, expected) in [
        ("latitude=52.37&longitude=4.9&radius_km=1", &["near", "owner"][..]),
        // Its land holds the place, whatever the circle.
        ("latitude=52.45&longitude=4.85&radius_km=0", &["owner"]),
        ("latitude=52.55&longitude=4.85&radius_km=1", &[]),
        ("latitude=-17&longitude=179.999&radius_km=1", &["east-of-the-line"]),
        ("latitude=90&longitude=-170&radius_km=0.1", &["at-the-pole"]),
        ("latitude=-90&longitude=0&radius_km=100", &[]),
    ] {
        assert_eq!(names(&found(query).await), expected, "{query}");
    }
    let everywhere = found("latitude=0&longitude=0&radius_km=20016").await;
    assert_eq!(
        everywhere["items"].as_array().unwrap().len(),
        4,
        "who has land alone is found on it alone"
    );

    // Whoever is locked, hides or goes is found no more, from the very next request on.
    let id = page["items"][0]["id"].as_str().unwrap();
    let lock = json!({ "user_id": id, "reason": "a test" });
    app.command("lock-user", &lock).bearer(&admin.access).expect(200).await;
    let page = found("latitude=52.37&longitude=4.9&radius_km=5").await;
    assert_eq!(names(&page), ["owner", "far"]);
    let owner = page["items"][0]["id"].as_str().unwrap();
    let erase = json!({ "user_id": owner, "reason": "a test" });
    app.command("erase-user", &erase)
        .bearer(&admin.access)
        .expect(200)
        .await;
    let far = page["items"][1]["id"].as_str().unwrap();
    let hide = json!({ "user_id": far, "discoverable": false });
    app.command("update-profile", &hide)
        .bearer(&admin.access)
        .expect(200)
        .await;
    assert_eq!(names(&found("latitude=52.37&longitude=4.9&radius_km=5").await), [""; 0]);
}

async fn pages_of_those_nearby_hold_each_once(engine: Engine) {
    let app = App::start(engine).await;
    let ada = app.user("ada").await;
    for number in 0..7 {
        // Three on one spot.
        let east = if number < 3 { 0.0 } else { f64::from(number) * 0.01 };
        register(&app, &format!("farmer{number}"), at(10.0, 20.0 + east)).await;
    }
    let circle = "/v1/discover?latitude=10&longitude=20&radius_km=100&limit=2";
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = app
            .get(&format!("{circle}{cursor}"))
            .bearer(&ada.access)
            .expect(200)
            .await;
        found.extend(names(&page).into_iter().map(str::to_owned));
        let Some(next) = page["next"].as_str() else { break };
        assert_eq!(page["items"].as_array().unwrap().len(), 2);
        cursor = format!("&cursor={next}");
    }
    let mut sorted = found.clone();
    sorted.sort();
    assert_eq!(
        sorted,
        (0..7).map(|number| format!("farmer{number}")).collect::<Vec<_>>()
    );
    assert_eq!(found[3..], sorted[3..], "the nearest first");
    // A cursor belongs to its circle.
    let other = app
        .get(&format!("/v1/discover?latitude=10&longitude=20&radius_km=99{cursor}"))
        .bearer(&ada.access)
        .send()
        .await;
    assert_eq!(other.refused(400, "invalid"), ["/cursor"]);
}

async fn statistics_count_what_has_happened(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    register(&app, "ada", at(52.37, 4.9)).await;
    register(&app, "bob", json!({ "email": "bob@farm.example" })).await;
    let carl = register(&app, "carl", json!({})).await;
    app.sign_in("ada", PASSWORD).await;
    app.sign_in("ada", PASSWORD).await;
    let lock = json!({ "user_id": carl, "reason": "a test" });
    app.command("lock-user", &lock).bearer(&admin.access).expect(200).await;
    let head = app.log().await.head().await;
    let counted = async |query: &str| {
        until("the statistics", async || {
            let path = format!("/v1/statistics{query}");
            let page = app.get(&path).bearer(&admin.access).expect(200).await;
            (page["position"].as_i64().unwrap() >= head).then_some(page)
        })
        .await
    };
    let page = counted("").await;
    assert_eq!(
        (page["by"].as_str(), page["items"].as_array().unwrap().len()),
        (Some("day"), 30)
    );
    let sum = |page: &Value, what: &str| {
        let items = page["items"].as_array().unwrap();
        items.iter().map(|item| item[what].as_i64().unwrap()).sum::<i64>()
    };
    // The administrator too, who has signed in once.
    assert_eq!((sum(&page, "registrations"), sum(&page, "sign_ins")), (4, 3));
    assert_eq!(
        page["statuses"],
        json!([{ "status": "active", "users": 2 }, { "status": "locked", "users": 1 }, { "status": "pending", "users": 1 }])
    );
    assert_eq!(
        page["countries"],
        json!([{ "country": null, "users": 3 }, { "country": "NL", "users": 1 }])
    );
    assert_eq!(
        page["domains"],
        json!([
            { "domain": null, "users": 2 },
            { "domain": "farm.example", "users": 1 },
            { "domain": "registry.example", "users": 1 }
        ])
    );
    let (from, to) = (page["from"].as_str().unwrap(), page["to"].as_str().unwrap());
    let months = counted(&format!("?by=month&from={from}&to={to}")).await;
    assert_eq!((sum(&months, "registrations"), sum(&months, "sign_ins")), (4, 3));
    assert_eq!(months["items"][0]["period"], from[..7]);
    // Twelve whole months: the first of them is not cut off before what happened on its first days.
    for (to, first) in [("2024-02-29", "2023-03-01"), ("2026-11-22", "2025-12-01")] {
        let months = counted(&format!("?by=month&to={to}")).await;
        assert_eq!((&months["from"], &months["to"]), (&json!(first), &json!(to)));
        assert_eq!(months["items"].as_array().unwrap().len(), 12);
    }
    let past = counted("?from=2020-02-28&to=2020-03-01").await;
    let days: Vec<&Value> = past["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["period"])
        .collect();
    assert_eq!(days, ["2020-02-28", "2020-02-29", "2020-03-01"]);
    assert_eq!(sum(&past, "registrations"), 0);
}

async fn followers_say_how_far_they_are(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    app.has_user("ada").await;
    let page = until("the followers", async || {
        let page = app.get("/v1/followers").bearer(&admin.access).expect(200).await;
        let items = page["items"].as_array().unwrap();
        let done = items.len() >= 3 && items.iter().all(|one| one["lag_events"] == 0);
        done.then_some(page)
    })
    .await;
    let mail = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["name"] == "mail")
        .unwrap();
    assert_eq!((&mail["lag_seconds"], &mail["error"]), (&json!(0.0), &Value::Null));
    assert_eq!(mail["position"], mail["head"]);
    assert!(mail["owner"].as_str().is_some_and(|owner| owner.contains('/')));
    assert_eq!(page["next"], Value::Null);
}

async fn people_come_up_by_any_word_of_theirs(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    register(&app, "zoe.x", json!({ "full_name": "Zoë  Ａnna O'Neil-van der Berg" })).await;
    let found = async |q: &str| {
        let path = format!("/v1/users?q={q}");
        let page = app.get(&path).bearer(&admin.access).expect(200).await;
        names(&page).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    for q in [
        "zo%C3%AB",
        "ZO%C3%8B",
        "anna",
        "neil",
        "o%27neil",
        "van",
        "berg%20anna",
        "zoe.x",
    ] {
        assert_eq!(found(q).await, ["zoe.x"], "{q}");
    }
    for q in ["erg", "anna%20carl", "x"] {
        assert_eq!(found(q).await, [""; 0], "{q}");
    }
    // None of several words is left out: what is too much is said.
    let words = |many: u8| (0..many).map(|n| format!("anna{n}")).collect::<Vec<_>>().join("%20");
    assert_eq!(found(&words(16)).await, [""; 0]);
    for q in ["%20", &words(17)] {
        let refused = app.get(&format!("/v1/users?q={q}")).bearer(&admin.access).send().await;
        assert_eq!(refused.refused(400, "invalid"), ["/q"], "{q}");
    }
}

/// The filter is about addresses, as the document says: a number is none.
async fn verified_is_who_has_a_verified_address(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    app.with_email("ada").await;
    app.with_phone("joan", "+6584932466").await;
    register(&app, "tim", json!({ "email": "tim@farm.example" })).await;
    for (verified, expected) in [("true", &["ada", "boss"][..]), ("false", &["joan", "tim"])] {
        let path = format!("/v1/users?sort=username&verified={verified}");
        let page = app.get(&path).bearer(&admin.access).expect(200).await;
        assert_eq!(names(&page), expected, "{verified}");
    }
}
