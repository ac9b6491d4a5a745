//! The Taxi dialect, row by row of its contract.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::harness::{App, Engine, Reply, on_both_engines};
use crate::trio::is;

on_both_engines![
    the_documents_own_example_registers_a_customer,
    what_is_sent_is_made_valid,
    every_number_of_what_is_wrong_comes_in_its_order,
    what_the_document_does_not_know_is_in_its_envelope_too,
    of_those_who_register_at_once_one_is_a_customer,
    the_token_opens_what_lies_below_user,
    a_mail_is_sent_only_where_a_setting_says_so,
    who_asks_for_many_names_is_told_to_wait,
];

const PATH: &str = "/api/v1/user/register";
const USERNAME: &str = "Username already exists for a different account";
const EMAIL: &str = "Email address already used to register an account";
const WEAK: &str = "Password invalid (too weak)";
const MISSING: &str = "Missing attributes needed for registering";

async fn raw(app: &App, body: &str) -> Reply {
    let call = app.call("POST", PATH).header("content-type", "application/json");
    call.raw(body.to_owned()).send().await
}

fn tim() -> Value {
    json!({ "username": "tim1990", "email": "tim.smith12@aol.com", "password": "il1kep1es" })
}

fn with(field: &str, value: Value) -> Value {
    let mut body = tim();
    body[field] = value;
    body
}

#[track_caller]
fn refused(reply: &Reply, code: i32, error: &str) {
    let body = json!({ "results": null, "message": null, "error": error, "error_code": code, "status": reply.status });
    is(reply, 400, &body);
}

async fn the_documents_own_example_registers_a_customer(engine: Engine) {
    let app = App::start(engine).await;
    // Other events come first, so that the id is not simply 1.
    app.has_user("grace").await;
    let reply = raw(
        &app,
        r#"{ "username": "tim1990", "email": "tim.smith12@aol.com", "password": "il1kep1es", }"#,
    )
    .await;
    let results = reply.json()["results"].clone();
    let (id, token) = (
        results["id"].as_i64().unwrap(),
        results["api_token"].as_str().unwrap().to_owned(),
    );
    is(
        &reply,
        201,
        &json!({
            "results": {
                "id": id,
                "username": "tim1990",
                "email": "tim.smith12@aol.com",
                "email_address": "tim.smith12@aol.com",
                "api_token": token,
                "account_type": "customer",
            },
            "message": "New user successfully registered",
            "error": null,
            "error_code": 0,
            "status": 201,
        }),
    );
    assert!(
        token.len() == 32 && token.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
        "{token}"
    );
    assert_eq!(reply.header("cache-control"), "no-store");
    let mut log = app.log().await;
    let registered = log
        .events()
        .await
        .into_iter()
        .filter(|event| event.kind == "user.registered");
    assert_eq!(registered.map(|event| event.position).next_back(), Some(id));
    assert!(!log.dump("secrets").await.contains(&token));
    // Registering again is no way in.
    refused(&app.ask("POST", PATH, &tim()).await, -1, USERNAME);
}

async fn what_is_sent_is_made_valid(engine: Engine) {
    let app = App::start(engine).await;
    // row("taxi 1.1", "anything else (`account_type`, `id`, `api_token`, `is_admin`…)")
    let mut body = tim();
    for (name, value) in [
        ("account_type", json!("driver")),
        ("id", json!(1)),
        ("api_token", json!("0".repeat(32))),
        ("is_admin", json!(true)),
        ("email_verified", json!(true)),
    ] {
        body[name] = value;
    }
    let reply = app.ask("POST", PATH, &body).await;
    let results = &reply.json()["results"];
    assert_eq!(
        (reply.status, &results["account_type"]),
        (201, &json!("customer")),
        "{}",
        reply.body
    );
    assert_ne!(results["api_token"], "0".repeat(32));
    // row("taxi 1.1", "`username`")
    // row("taxi 1.3", "`username`")
    // row("taxi 1.1", "`email_address`")
    // row("taxi 1.3", "e-mail")
    // row("taxi 1.1", "`password`")
    // row("taxi 1.3", "`password`")
    for (number, username, stored) in [
        (0, "  ann  lee ", "ann_lee"),
        (1, "bob!#$1990", "bob1990"),
        (2, &"c".repeat(45), &"c".repeat(30)),
        (3, "jo\u{308}rg", "j\u{f6}rg"),
    ] {
        let body = json!({
            "username": username,
            "email_address": format!(" Ann.{number}@CAB.Example "),
            "email": "somebody.else@cab.example",
            "password": " il1kep1es ",
        });
        let reply = app.ask("POST", PATH, &body).await;
        let results = &reply.json()["results"];
        assert_eq!(
            (reply.status, &results["username"]),
            (201, &json!(stored)),
            "{}",
            reply.body
        );
        assert_eq!(results["email"], format!("Ann.{number}@cab.example"));
        assert_eq!(results["email_address"], results["email"]);
    }
    // Empty, the one spelling leaves the other to count. Named twice, the last counts.
    let body =
        r#"{"username":"x","username":"dora","email_address":"","email":"dora@cab.example","password":"il1kep1es"}"#;
    let reply = raw(&app, body).await;
    assert_eq!(
        (reply.status, &reply.json()["results"]["username"]),
        (201, &json!("dora")),
        "{}",
        reply.body
    );
    // A form, and no label at all.
    let call = app
        .call("POST", PATH)
        .header("content-type", "application/x-www-form-urlencoded");
    let reply = call
        .raw("username=eve&email=eve%40cab.example&password=il1kep1es")
        .send()
        .await;
    assert_eq!(reply.status, 201, "{}", reply.body);
    let mut body = with("username", json!("fay"));
    body["email"] = json!("fay@cab.example");
    let reply = app
        .call("POST", "/api/v1/user/register/")
        .raw(body.to_string())
        .send()
        .await;
    assert_eq!(reply.status, 201, "{}", reply.body);
}

async fn every_number_of_what_is_wrong_comes_in_its_order(engine: Engine) {
    let app = App::start(engine).await;
    assert_eq!(app.ask("POST", PATH, &tim()).await.status, 201);
    // row("taxi 1.4", "−1")
    for name in ["tim1990", "TIM1990"] {
        let mut body = with("username", json!(name));
        body["email"] = json!("other@aol.com");
        refused(&app.ask("POST", PATH, &body).await, -1, USERNAME);
    }
    // row("taxi 1.4", "−2")
    for address in ["tim.smith12@aol.com", "TIM.Smith12@AOL.com"] {
        let mut body = with("username", json!("tom"));
        body["email"] = json!(address);
        refused(&app.ask("POST", PATH, &body).await, -2, EMAIL);
    }
    // row("taxi 1.4", "−3")
    for password in [
        "12345678",
        "password",
        "short1",
        "aaaaaaaaaa",
        "9081726354",
        "tomtom1990",
        "tom.smith@aol.com",
        "TOM.SMITH",
    ] {
        let body = json!({ "username": "tomtom1990", "email": "tom.smith@aol.com", "password": password });
        refused(&app.ask("POST", PATH, &body).await, -3, WEAK);
    }
    let body = json!({ "username": "tomtom1990", "email": "tom.smith@aol.com", "password": "x1".repeat(65) });
    refused(&app.ask("POST", PATH, &body).await, -3, WEAK);
    // row("taxi 1.4", "−4")
    // row("taxi 1.3", "numbers/bools/null/arrays/objects in place of strings")
    for field in ["username", "email", "password"] {
        for value in [json!(""), Value::Null, json!(7), json!(true), json!([]), json!({})] {
            refused(&app.ask("POST", PATH, &with(field, value)).await, -4, MISSING);
        }
        let mut body = tim();
        body.as_object_mut().unwrap().remove(field);
        refused(&app.ask("POST", PATH, &body).await, -4, MISSING);
    }
    for (field, value) in [
        ("username", "  "),
        ("username", "!!!"),
        ("email", "tim"),
        ("email", "@aol.com"),
        ("email", "tim@"),
        ("email", "tim smith@aol.com"),
        ("email", "tim@localhost"),
    ] {
        refused(&app.ask("POST", PATH, &with(field, json!(value))).await, -4, MISSING);
    }
    for body in [
        "",
        "{",
        "[]",
        "\"x\"",
        "null",
        "{\"username\":\"a\",,}",
        "{'username':'a'}",
        "{username:1}",
    ] {
        refused(&raw(&app, body).await, -4, MISSING);
    }
    // Missing first, then as the document numbers them.
    let everything = json!({ "username": "tim1990", "email": "tim.smith12@aol.com", "password": "short" });
    refused(&app.ask("POST", PATH, &everything).await, -1, USERNAME);
    let mut body = everything.clone();
    body["username"] = json!("tom");
    refused(&app.ask("POST", PATH, &body).await, -2, EMAIL);
    body["password"] = json!("");
    refused(&app.ask("POST", PATH, &body).await, -4, MISSING);
}

async fn what_the_document_does_not_know_is_in_its_envelope_too(engine: Engine) {
    let app = App::start(engine).await;
    let told = |error: &str, status: u16| json!({ "results": null, "message": null, "error": error, "error_code": -4, "status": status });
    // row("taxi 2", "404/405/413/415/5xx under `/api/v1/user/`")
    let call = app.call("POST", PATH).header("content-type", "text/plain");
    is(&call.raw("x").send().await, 415, &told("Unsupported media type", 415));
    let reply = app
        .ask("POST", PATH, &with("username", json!("a".repeat(17_000))))
        .await;
    is(&reply, 413, &told("Request body too large", 413));
    is(
        &app.get("/api/v1/user/nothing").send().await,
        404,
        &told("Not found", 404),
    );
    // row("taxi 2", "`GET /api/v1/user/register`")
    let reply = app.get(PATH).send().await;
    is(&reply, 405, &told("Method not allowed", 405));
    assert_eq!(reply.header("allow"), "POST");
    // row("taxi 2", "`/api/v1/user_info` (Xhoppe, later docs)")
    crate::trio::shaped(&app.get("/api/v1/user_info").send().await, "xhoppe");
    // row("taxi 2", "`/api/v1/user/register`")
    crate::trio::shaped(
        &app.ask("POST", "/api/v1/account/register/", &json!({})).await,
        "cadasta",
    );
}

async fn of_those_who_register_at_once_one_is_a_customer(engine: Engine) {
    let app = App::start(engine).await;
    let body = tim();
    let replies = join_all((0..8).map(|_| app.ask("POST", PATH, &body))).await;
    let codes: Vec<i64> = replies
        .iter()
        .map(|r| r.json()["error_code"].as_i64().unwrap())
        .collect();
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    assert!(codes.iter().all(|code| matches!(code, 0 | -1)), "{codes:?}");
    let bodies: Vec<Value> = (0..4)
        .map(|n| json!({ "username": format!("tom{n}"), "email": "tom@aol.com", "password": "il1kep1es" }))
        .collect();
    let replies = join_all(bodies.iter().map(|body| app.ask("POST", PATH, body))).await;
    let codes: Vec<i64> = replies
        .iter()
        .map(|r| r.json()["error_code"].as_i64().unwrap())
        .collect();
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    assert!(codes.iter().all(|code| matches!(code, 0 | -2)), "{codes:?}");
}

async fn the_token_opens_what_lies_below_user(engine: Engine) {
    let app = App::start(engine).await;
    let reply = app.ask("POST", PATH, &tim()).await;
    let mut customer = reply.json()["results"].clone();
    let token = customer["api_token"].as_str().unwrap().to_owned();
    customer.as_object_mut().unwrap().remove("api_token");
    // row("taxi 2", "`api_token` transport")
    let reply = app.get("/api/v1/user/me").bearer(&token).send().await;
    assert_eq!(
        (reply.status, &reply.json()["results"]),
        (200, &customer),
        "{}",
        reply.body
    );
    for header in [
        "",
        "Bearer",
        "Bearer x",
        &format!("Token {token}"),
        &format!("Bearer {}", "0".repeat(32)),
    ] {
        let reply = app.get("/api/v1/user/me").header("authorization", header).send().await;
        assert_eq!(
            (reply.status, &reply.json()["results"]),
            (401, &Value::Null),
            "{header:?}"
        );
        assert_eq!(reply.header("www-authenticate"), "Bearer");
    }
    // Registering heeds no credential.
    let call = app.call("POST", PATH).header("authorization", "Bearer nonsense");
    let mut body = with("username", json!("tom"));
    body["email"] = json!("tom@aol.com");
    assert_eq!(call.json(&body).send().await.status, 201);
}

async fn a_mail_is_sent_only_where_a_setting_says_so(engine: Engine) {
    let app = App::start_with(engine, &[("REGISTRY__TAXI__SEND_VERIFICATION", "true")]).await;
    assert_eq!(app.ask("POST", PATH, &tim()).await.status, 201);
    let mail = app.mailbox().to("tim.smith12@aol.com").await;
    app.command("verify-email", &json!({ "token": mail.token() }))
        .expect(200)
        .await;
    let app = App::start(engine).await;
    assert_eq!(app.ask("POST", PATH, &tim()).await.status, 201);
    let mut log = app.log().await;
    assert_eq!(
        log.types_after(0).await,
        ["user.registered", "domain.observed", "session.started"]
    );
}

async fn who_asks_for_many_names_is_told_to_wait(engine: Engine) {
    let settings = [
        ("REGISTRY__LIMITS__ENABLED", "true"),
        ("REGISTRY__LIMITS__CUSTOMERS_PER_HOUR", "3"),
    ];
    let app = App::start_with(engine, &settings).await;
    for status in [400, 400, 400, 429] {
        let reply = app.ask("POST", PATH, &json!({})).await;
        assert_eq!(reply.status, status);
        if status == 429 {
            let body = json!({
                "results": null, "message": null, "error": "Too many requests", "error_code": -5, "status": 429,
            });
            is(&reply, 429, &body);
            assert!(reply.header("retry-after").parse::<u32>().unwrap() > 0);
        }
    }
}
