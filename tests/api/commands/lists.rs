//! Lists, page by page, and histories.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{App, Engine, PASSWORD, Tokens, on_both_engines};

on_both_engines![
    every_page_of_users_holds_each_once_in_order,
    filters_find_whom_they_describe,
    every_page_of_domains_holds_each_once_in_order,
    a_history_is_read_page_by_page,
    reading_the_history_of_another_is_written_down_once_an_hour,
    what_is_not_ones_own_is_not_there,
];

/// Follows `next` to the end; every page but the last is full.
async fn walk(app: &App, caller: &Tokens, path: &str, limit: usize) -> Vec<Value> {
    let (mut items, mut cursor) = (Vec::new(), None::<String>);
    let glue = if path.contains('?') { '&' } else { '?' };
    loop {
        let mut page = format!("{path}{glue}limit={limit}");
        if let Some(cursor) = &cursor {
            page = format!("{page}&{cursor}");
        }
        let page = app.get(&page).bearer(&caller.access).expect(200).await;
        let found = page["items"].as_array().unwrap();
        items.extend(found.iter().cloned());
        cursor = match &page["next"] {
            Value::Null => return items,
            Value::String(next) => Some(format!("cursor={next}")),
            next => Some(format!("after={next}")),
        };
        assert_eq!(found.len(), limit);
    }
}

fn names(items: &[Value], field: &str) -> Vec<String> {
    items
        .iter()
        .map(|item| item[field].as_str().unwrap_or_default().to_owned())
        .collect()
}

async fn every_page_of_users_holds_each_once_in_order(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    for name in ["Zoe", "ada", "Bob", "_x", "9lives", "a.b", "adam", "a-b"] {
        app.has_user(name).await;
    }
    for number in 0..3 {
        let body = json!({ "email": format!("u{number}@farm.example"), "password": PASSWORD });
        app.command("register-user", &body).expect(201).await;
    }
    for sort in ["created_at", "-created_at", "username", "-username"] {
        for limit in [1, 2, 5, 200] {
            let items = walk(&app, &admin, &format!("/v1/users?sort={sort}"), limit).await;
            let ids: BTreeSet<String> = names(&items, "id").into_iter().collect();
            assert_eq!(ids.len(), items.len(), "{sort} {limit}");
            assert_eq!(items.len(), 12, "{sort} {limit}");
            // Whoever has no username stands before everybody who has one.
            let by_name = sort.ends_with("username");
            let mut keys: Vec<String> = if by_name {
                names(&items, "username")
                    .iter()
                    .map(|name| name.to_ascii_lowercase())
                    .collect()
            } else {
                names(&items, "created_at")
            };
            if sort.starts_with('-') {
                keys.reverse();
            }
            assert!(by_name || keys.is_sorted(), "{sort} {limit}: {keys:?}");
            let backwards = walk(
                &app,
                &admin,
                &format!("/v1/users?sort={}", sort.trim_start_matches('-')),
                200,
            )
            .await;
            let mut expected = names(&backwards, "id");
            if sort.starts_with('-') {
                expected.reverse();
            }
            assert_eq!(names(&items, "id"), expected, "{sort} {limit}");
        }
    }
    // A cursor belongs to its order; without one the oldest come first.
    let page = app
        .get("/v1/users?limit=1&sort=username")
        .bearer(&admin.access)
        .expect(200)
        .await;
    let cursor = page["next"].as_str().unwrap();
    let other = app
        .get(&format!("/v1/users?sort=-username&cursor={cursor}"))
        .bearer(&admin.access)
        .send()
        .await;
    assert_eq!(other.refused(400, "invalid"), ["/cursor"]);
    let plain = walk(&app, &admin, "/v1/users", 200).await;
    assert_eq!(names(&plain, "username")[0], "boss");
}

async fn filters_find_whom_they_describe(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let register = async |body: Value| {
        let mut body = body;
        body["password"] = json!(PASSWORD);
        app.command("register-user", &body).expect(201).await
    };
    register(json!({ "username": "joe_s", "email": "Joe.Smith@Farm.example", "full_name": "Joseph van der Smith" }))
        .await;
    register(json!({ "username": "joan", "phone": "+6584932466", "full_name": "Joan O'Neil-Smith" })).await;
    register(json!({ "username": "100percent", "position": { "latitude": 1.3521, "longitude": 103.8198 } })).await;
    register(json!({ "username": "jörg.x".replace('ö', "oe"), "email": "a_b%c@mill.example" })).await;
    let found = async |query: &str| {
        let mut names = names(&walk(&app, &admin, &format!("/v1/users?{query}"), 2).await, "username");
        names.sort_unstable();
        names
    };
    for (query, expected) in [
        ("q=jo", &["joan", "joe_s", "joerg.x"][..]),
        ("q=JOE_", &["joe_s"]),
        ("q=joe.smith@farm", &["joe_s"]),
        ("q=Joe.Smith@FARM.example", &["joe_s"]),
        ("q=%2B6584", &["joan"]),
        ("q=smith", &["joan", "joe_s"]),
        ("q=neil", &["joan"]),
        ("q=van", &["joe_s"]),
        ("q=o%27neil", &["joan"]),
        ("q=mith", &[]),
        // What means something to the database is only text.
        ("q=%25", &[]),
        ("q=_", &[]),
        ("q=a_b%25", &["joerg.x"]),
        ("q=j%25", &[]),
        ("q=%27%20OR%201=1--", &[]),
        ("q=%5C", &[]),
        ("status=pending", &["joan", "joe_s", "joerg.x"]),
        ("status=active", &["100percent", "boss"]),
        ("status=locked", &[]),
        ("domain=farm.example", &["joe_s"]),
        ("domain=FARM.example", &["joe_s"]),
        ("domain=example", &[]),
        ("verified=true", &["boss"]),
        ("verified=false&q=jo", &["joan", "joe_s", "joerg.x"]),
        ("role=admin", &["boss"]),
        ("role=user&status=active", &["100percent", "boss"]),
        ("role=auditor", &[]),
        ("country=SG", &["100percent"]),
        ("country=DE", &[]),
        (
            "q=jo&domain=farm.example&status=pending&verified=false&sort=-username",
            &["joe_s"],
        ),
    ] {
        assert_eq!(found(query).await, expected, "{query}");
    }
}

async fn every_page_of_domains_holds_each_once_in_order(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let order = async |name: &str, domain: &str| {
        app.command(name, &json!({ "domain": domain }))
            .bearer(&admin.access)
            .expect(201)
            .await;
    };
    for domain in ["b.example", "a.example", "a-a.example", "xn--bcher-kva.example"] {
        order("block-domain", domain).await;
    }
    order("allow-domain", "z.example").await;
    let expected = [
        "a-a.example",
        "a.example",
        "b.example",
        "registry.example",
        "xn--bcher-kva.example",
        "z.example",
    ];
    for limit in [1, 2, 200] {
        assert_eq!(
            names(&walk(&app, &admin, "/v1/domains", limit).await, "name"),
            expected,
            "{limit}"
        );
    }
    let found = async |query: &str| names(&walk(&app, &admin, &format!("/v1/domains?{query}"), 2).await, "name");
    assert_eq!(
        found("standing=blocked").await,
        ["a-a.example", "a.example", "b.example", "xn--bcher-kva.example"]
    );
    assert_eq!(found("standing=allowed").await, ["z.example"]);
    assert_eq!(found("standing=observed").await, ["registry.example"]);
    assert_eq!(found("q=A").await, ["a-a.example", "a.example"]);
    assert_eq!(found("q=%25").await, [""; 0]);
    assert_eq!(found("q=b&standing=blocked").await, ["b.example"]);
}

async fn a_history_is_read_page_by_page(engine: Engine) {
    let app = App::start(engine).await;
    let (admin, ada) = (app.admin().await, app.user("ada").await);
    for number in 0..6 {
        app.command("update-profile", &json!({ "full_name": format!("Ada {number}") }))
            .bearer(&ada.access)
            .expect(200)
            .await;
    }
    let path = format!("/v1/users/{}/history", ada.user);
    let whole = walk(&app, &ada, &path, 200).await;
    assert_eq!(whole.len(), 7);
    for limit in [1, 2, 7] {
        assert_eq!(walk(&app, &ada, &path, limit).await, whole, "{limit}");
    }
    let mut fields: Vec<&String> = whole[0].as_object().unwrap().keys().collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "actor",
            "at",
            "cause",
            "correlation",
            "data",
            "event_id",
            "origin",
            "position",
            "sequence",
            "type"
        ]
    );
    assert_eq!(whole[6]["data"]["full_name"], "Ada 5");
    assert_eq!(whole[6]["origin"]["ip"], "127.0.0.1");
    // Past its end a history is empty, not missing.
    let last = whole[6]["position"].as_i64().unwrap();
    let end = app
        .get(&format!("{path}?after={last}"))
        .bearer(&ada.access)
        .expect(200)
        .await;
    assert_eq!(end, json!({ "items": [], "next": null }));
    // So is the one of a domain.
    let path = "/v1/domains/registry.example/history";
    assert_eq!(names(&walk(&app, &admin, path, 1).await, "type"), ["domain.observed"]);
    let end = app
        .get(&format!("{path}?after=1000"))
        .bearer(&admin.access)
        .expect(200)
        .await;
    assert_eq!(end, json!({ "items": [], "next": null }));
}

async fn reading_the_history_of_another_is_written_down_once_an_hour(engine: Engine) {
    let app = App::start(engine).await;
    let (admin, ada, eve) = (app.admin().await, app.user("ada").await, app.user("eve").await);
    let mut log = app.log().await;
    let head = log.head().await;
    let read = async |who: &Tokens, of: &str| {
        app.get(&format!("/v1/users/{of}/history"))
            .bearer(&who.access)
            .expect(200)
            .await;
    };
    read(&ada, &ada.user).await;
    read(&admin, &admin.user).await;
    assert_eq!(log.types_after(head).await, [""; 0]);
    for _ in 0..3 {
        read(&admin, &ada.user).await;
        read(&admin, &eve.user).await;
    }
    assert_eq!(
        log.types_after(head).await,
        ["audit.history_read", "audit.history_read"]
    );
    let told = log.events().await;
    let [.., first, second] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!((&first.stream, &first.subject), (&admin.user, &ada.user));
    assert_eq!((&second.stream, &second.subject), (&admin.user, &eve.user));
}

async fn what_is_not_ones_own_is_not_there(engine: Engine) {
    let app = App::start(engine).await;
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    let missing = "0197a1b2-0000-7000-8000-000000000001";
    for (method, path) in [
        ("GET", "/v1/users/{id}"),
        ("GET", "/v1/users/{id}/history"),
        ("DELETE", "/v1/sessions/{id}"),
    ] {
        let ask = async |id: &str| {
            let reply = app
                .call(method, &path.replace("{id}", id))
                .bearer(&ada.access)
                .send()
                .await;
            reply.refused(404, "not-found");
            reply.wire()
        };
        let theirs = if method == "GET" { &eve.user } else { &eve.session };
        assert_eq!(ask(theirs).await, ask(missing).await, "{method} {path}");
        assert_eq!(ask(theirs).await, ask("nonsense").await, "{method} {path}");
    }
    let own = app
        .get(&format!("/v1/users/{}", ada.user))
        .bearer(&ada.access)
        .send()
        .await;
    let me = app.get("/v1/me").bearer(&ada.access).send().await;
    assert_eq!(
        (own.status, &own.body, own.header("etag")),
        (200, &me.body, me.header("etag"))
    );
    let change = |id: &str| json!({ "user_id": id, "full_name": "Eve" });
    let theirs = app
        .command("update-profile", &change(&eve.user))
        .bearer(&ada.access)
        .send()
        .await;
    let nobodys = app
        .command("update-profile", &change(missing))
        .bearer(&ada.access)
        .send()
        .await;
    assert_eq!((theirs.status, theirs.wire()), (404, nobodys.wire()));
}
