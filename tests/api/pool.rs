//! One pool of identities under five APIs: whoever signs up through one is known to the others as far as their kind of
//! name allows, every API reads the bodies of every other without harm, and each event says through which it came.

use serde_json::{Value, json};

use crate::agstack::web::{Web, claims, link as agstack_link, reset_link};
use crate::harness::{App, Engine, PASSWORD, Reply, on_both_engines};
use crate::trio::{STRONG, is, shaped};

on_both_engines![
    whoever_signs_up_through_agstack_is_known_to_the_others,
    an_address_taken_in_agstack_is_taken_in_all_and_the_other_way_round,
    the_bodies_of_every_api_are_sent_to_every_other,
    each_event_names_the_api_it_came_through,
];

async fn whoever_signs_up_through_agstack_is_known_to_the_others(engine: Engine) {
    let app = App::start(engine).await;
    let web = Web::python(&app);
    let body = json!({ "email": "ada@farm.example", "password": STRONG });
    assert_eq!(web.post("/signup", &body).send().await.status, 201);
    // Cadasta knows the password and waits for the mail, which it sends in its own words.
    let login = json!({ "username": "ADA@farm.example", "password": STRONG });
    let cadasta = || app.ask("POST", "/api/v1/account/login/", &login);
    is(
        &cadasta().await,
        400,
        &json!({ "detail": "The email has not been verified." }),
    );
    let path = agstack_link(&app, "ada@farm.example", 1).await;
    assert_eq!(web.get(&path).send().await.status, 200);
    let key = cadasta().await.json()["auth_token"].as_str().unwrap().to_owned();
    let call = app
        .get("/api/v1/account/")
        .header("authorization", format!("Token {key}"));
    let account = call.send().await.json();
    assert_eq!(
        (&account["username"], &account["email"], &account["email_verified"]),
        (&json!(""), &json!("ada@farm.example"), &json!(true))
    );
    app.sign_in("ada@farm.example", STRONG).await;
    // And those of the others through AgStack: by their address, verified or not.
    app.cadasta_user("mia").await;
    app.taxi_user("tim1990").await;
    app.with_email("grace").await;
    for (address, password, active) in [
        ("MIA@farm.example", STRONG, true),
        ("tim1990@cab.example", STRONG, false),
        ("grace@farm.example", PASSWORD, true),
    ] {
        let (access, _) = web.logs_in_with(address, password).await;
        assert_eq!(claims(&access)["is_activated"], active, "{address}");
    }
    // A number is no name there: whoever gave one to AgStack has not proved that it is theirs.
    let body = json!({ "email": "joe@farm.example", "password": STRONG, "phone_num": "+6584932466" });
    assert_eq!(web.post("/signup", &body).send().await.status, 201);
    app.xhoppe_user("+6584932466").await;
    app.sign_in("+6584932466", STRONG).await;
}

async fn an_address_taken_in_agstack_is_taken_in_all_and_the_other_way_round(engine: Engine) {
    let app = App::start(engine).await;
    let web = Web::python(&app);
    web.signs_up("ada@farm.example").await;
    let taken = "Another user is already registered with this email address";
    let body = json!({ "username": "ada", "email": "ADA@farm.example", "password": STRONG });
    let reply = app.ask("POST", "/api/v1/account/register/", &body).await;
    is(&reply, 400, &json!({ "email": [taken] }));
    let reply = app.ask("POST", "/api/v1/user/register", &body).await;
    assert_eq!((reply.status, &reply.json()["error_code"]), (400, &json!(-2)));
    let body = json!({ "email": "Ada@FARM.example", "password": PASSWORD });
    app.command("register-user", &body).send().await.refused(409, "taken");
    app.cadasta_user("mia").await;
    app.taxi_user("tim1990").await;
    app.with_email("grace").await;
    for address in ["Mia@farm.example", "TIM1990@cab.example", "grace@FARM.example"] {
        let body = json!({ "email": address, "password": STRONG });
        web.post("/signup", &body)
            .says(202, "User already exists. Please log in")
            .await;
    }
    // One that waits for its confirmation is taken too.
    let key = app.cadasta_key("mia").await;
    let call = app
        .call("PATCH", "/api/v1/account/")
        .header("authorization", format!("Token {key}"));
    assert_eq!(
        call.json(&json!({ "email": "mia@new.example" })).send().await.status,
        201
    );
    let body = json!({ "email": "mia@new.example", "password": STRONG });
    web.post("/signup", &body)
        .says(202, "User already exists. Please log in")
        .await;
}

/// The requests of one API that carry a body, with a body as its clients send it.
fn requests() -> Vec<(&'static str, &'static str, &'static str, Value)> {
    let code = json!({ "msisdn": "84932466", "code": "123456" });
    let link = json!({ "uid": "MQ", "token": "a-b" });
    let set = json!({ "uid": "MQ", "token": "a-b", "new_password": STRONG, "re_new_password": STRONG });
    let recover = json!({
        "msisdn": "84932466", "code": "12345678", "password": STRONG, "password_confirmation": STRONG,
    });
    vec![
        (
            "canonical",
            "POST",
            "/v1/commands/register-user",
            json!({ "username": "can", "email": "can@one.example", "password": STRONG }),
        ),
        (
            "canonical",
            "POST",
            "/v1/sessions",
            json!({ "identifier": "can", "password": STRONG }),
        ),
        (
            "canonical",
            "POST",
            "/v1/commands/reset-password",
            json!({ "token": "A".repeat(64), "new_password": STRONG }),
        ),
        (
            "agstack",
            "POST",
            "/signup",
            json!({ "email": "ag@two.example", "password": STRONG, "confirm_pass": STRONG, "phone_num": "" }),
        ),
        (
            "agstack",
            "POST",
            "/login",
            json!({ "email": "ag@two.example", "password": STRONG, "next": "/home" }),
        ),
        (
            "agstack",
            "POST",
            "/forgot-password",
            json!({ "email": "ag@two.example" }),
        ),
        ("agstack", "PATCH", "/update", json!({ "phone_num": "921234567890" })),
        ("agstack", "POST", "/domains", json!({ "domain": "two.example" })),
        (
            "cadasta",
            "POST",
            "/api/v1/account/register/",
            json!({ "username": "cad", "email": "cad@three.example", "password": STRONG, "email_verified": true }),
        ),
        (
            "cadasta",
            "POST",
            "/api/v1/account/login/",
            json!({ "username": "cad", "password": STRONG }),
        ),
        ("cadasta", "POST", "/api/v1/account/activate/", link),
        ("cadasta", "POST", "/api/v1/account/password/reset/confirm/", set),
        (
            "xhoppe",
            "POST",
            "/api/v1/users",
            json!({ "msisdn": "84932466", "password": STRONG, "password_confirmation": STRONG }),
        ),
        ("xhoppe", "POST", "/api/v1/users/verify", code),
        ("xhoppe", "PUT", "/api/v1/users/recover_password", recover),
        (
            "xhoppe",
            "POST",
            "/api/v1/login",
            json!({ "msisdn": "84932466", "password": STRONG }),
        ),
        (
            "taxi",
            "POST",
            "/api/v1/user/register",
            json!({ "username": "tax", "email": "tax@four.example", "password": STRONG }),
        ),
    ]
}

/// A flat object as a form: what is no text is written as JSON writes it.
fn as_form(body: &Value) -> String {
    let members = body.as_object().unwrap();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let pairs = members
        .iter()
        .map(|(name, value)| format!("{name}={}", crate::agstack::web::encoded(&text(value))));
    pairs.collect::<Vec<_>>().join("&")
}

#[track_caller]
fn in_the_shape_of(reply: &Reply, dialect: &str, what: &str) {
    assert!(reply.status < 500, "{what}: {reply:?}");
    if reply.status < 400 {
        return;
    }
    match dialect {
        "canonical" => drop(reply.problem()),
        "agstack" => {
            let body = reply.json();
            let members = body.as_object().unwrap_or_else(|| panic!("{what}: {reply:?}"));
            assert!(body["message"].is_string(), "{what}: {reply:?}");
            let known = ["message", "Message", "errors", "msg"];
            assert!(
                members.keys().all(|key| known.contains(&key.as_str())),
                "{what}: {reply:?}"
            );
        }
        other => shaped(reply, other),
    }
}

async fn the_bodies_of_every_api_are_sent_to_every_other(engine: Engine) {
    let app = App::start(engine).await;
    let web = Web::python(&app);
    let all = requests();
    let mut sent = 0;
    for (asked, method, path, _) in &all {
        for (of, _, from, body) in &all {
            if of == asked {
                continue;
            }
            let form = as_form(body);
            for (kind, bytes) in [
                ("application/json", body.to_string()),
                ("application/x-www-form-urlencoded", form),
                (
                    "multipart/form-data; boundary=x",
                    format!("--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n{body}\r\n--x--\r\n"),
                ),
            ] {
                let reply = web
                    .call(method, path)
                    .header("content-type", kind)
                    .raw(bytes)
                    .send()
                    .await;
                in_the_shape_of(&reply, asked, &format!("{of}'s {from} to {asked}'s {path} as {kind}"));
                sent += 1;
            }
        }
        // And what the readers of one path would take for yes is never said there.
        let reply = web
            .call("GET", "/verify-api-secret-keys")
            .header("content-type", "application/json")
            .raw(all.iter().map(|(.., body)| body.to_string()).collect::<String>())
            .send()
            .await;
        assert_eq!(reply.json()["message"], false, "{reply:?}");
    }
    told!("{engine:?}: {sent} bodies of one API sent to another, none with an answer of 5xx or in another shape");
}

async fn each_event_names_the_api_it_came_through(engine: Engine) {
    let app = App::start(engine).await;
    let mut log = app.log().await;
    let metadata = match engine {
        Engine::Postgres => "metadata::text",
        Engine::Sqlite => "metadata",
    };
    let mut head = 0;
    let mut through = async |dialect: &str, least: usize| {
        let sql =
            format!("SELECT event_type || ' ' || {metadata} FROM events WHERE position > {head} ORDER BY position");
        let lines = log.texts(&sql).await;
        let named = format!("\"dialect\":\"{dialect}\"");
        for line in &lines {
            assert!(line.contains(&named), "{dialect}: {line}");
        }
        assert!(lines.len() >= least, "{dialect}: {lines:?}");
        head = log.head().await;
    };
    // AgStack: signing up, activating, logging in, changing, generating keys, forgetting, resetting, logging out.
    let web = Web::python(&app);
    web.signs_up("ada@farm.example").await;
    let path = agstack_link(&app, "ada@farm.example", 1).await;
    web.get(&path).send().await;
    let (access, _) = web.logs_in("ada@farm.example").await;
    let body = json!({ "phone_num": "921234567890" });
    assert_eq!(web.post("/update", &body).bearer(&access).send().await.status, 202);
    assert_eq!(web.get("/generate-api-keys").bearer(&access).send().await.status, 200);
    assert_eq!(web.get("/logout").bearer(&access).send().await.status, 200);
    web.post("/forgot-password", &json!({ "email": "ada@farm.example" }))
        .send()
        .await;
    let path = reset_link(&app, "ada@farm.example").await;
    let body = json!({ "password": "Passw0rd2" });
    assert_eq!(web.post(&path, &body).send().await.status, 200);
    assert_eq!(
        web.post("/signup", &json!({}))
            .header("x-device-id", "0123456789abcdef")
            .send()
            .await
            .status,
        201
    );
    through("agstack", 10).await;
    // Cadasta: registering, activating, logging in, changing name and address, the password, logging out, resetting.
    let key = app.cadasta_user("mia").await;
    let own = |method: &str, path: &str, body: Value| {
        app.call(method, path)
            .header("authorization", format!("Token {key}"))
            .json(&body)
            .send()
    };
    let change = json!({ "full_name": "Mia", "username": "mina", "email": "mia@new.example" });
    assert_eq!(own("PATCH", "/api/v1/account/", change).await.status, 201);
    let another = "Another-goat-5";
    let change = json!({ "new_password": another, "re_new_password": another, "current_password": STRONG });
    assert_eq!(own("POST", "/api/v1/account/password/", change).await.status, 200);
    assert_eq!(own("POST", "/api/v1/account/logout/", json!({})).await.status, 200);
    let body = json!({ "email": "mia@farm.example" });
    assert_eq!(
        app.ask("POST", "/api/v1/account/password/reset/", &body).await.status,
        200
    );
    through("cadasta", 10).await;
    // Xhoppe: registering, verifying, logging in, changing the password, forgetting and recovering it.
    let token = app.xhoppe_user("84932466").await;
    let change = json!({ "current_password": STRONG, "password": another });
    let call = app
        .call("PUT", "/api/v1/users/change_password")
        .header("x-xhoppe-token", &token);
    assert_eq!(call.json(&change).send().await.status, 200);
    let body = json!({ "msisdn": "84932466" });
    assert_eq!(app.ask("PUT", "/api/v1/users/forget_password", &body).await.status, 200);
    // The second told of the new password.
    let code = app.phones().nth_to("84932466", 3).await.code();
    let body = json!({ "msisdn": "84932466", "code": code, "password": STRONG, "password_confirmation": STRONG });
    assert_eq!(
        app.ask("PUT", "/api/v1/users/recover_password", &body).await.status,
        200
    );
    let body = json!({ "msisdn": "84932466", "password": STRONG });
    assert_eq!(app.ask("POST", "/api/v1/login", &body).await.status, 200);
    through("xhoppe", 10).await;
    app.taxi_user("tim1990").await;
    through("taxi", 2).await;
    app.with_email("grace").await;
    through("canonical", 3).await;
}
