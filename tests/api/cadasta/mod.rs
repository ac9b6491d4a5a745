//! The Cadasta dialect, row by row of its contract.

#![expect(clippy::too_many_lines, reason = "the rows of a table are told in one piece")]

mod account;
mod password;
mod people;
mod register;

use serde_json::json;

use crate::harness::{App, Engine, on_both_engines};
use crate::trio::{STRONG, is, is_empty};

on_both_engines![
    the_header_has_a_text_for_every_mistake,
    logging_in_has_an_answer_for_every_row,
    too_many_tries_are_told_when_to_come_back,
    logging_out_ends_every_key,
    the_conventions_of_its_framework_hold,
];

/// Id and token in the link of a mail.
pub fn link(mail: &crate::harness::Mail) -> (String, String) {
    let mut parts = mail.link().trim_end_matches('/').rsplit('/');
    let token = parts.next().unwrap().to_owned();
    (parts.next().unwrap().to_owned(), token)
}

pub fn detail(text: &str) -> serde_json::Value {
    json!({ "detail": text })
}

async fn the_header_has_a_text_for_every_mistake(engine: Engine) {
    let app = App::start(engine).await;
    let key = app.cadasta_user("ada").await;
    let admin = app.admin().await;
    let get = |header: Option<Vec<u8>>| {
        let call = app.get("/api/v1/account/");
        match header {
            Some(header) => call.header("authorization", header),
            None => call,
        }
        .send()
    };
    let none = "Authentication credentials were not provided.";
    for (header, text) in [
        // row("cadasta 1.1", "none, or another scheme (`Bearer …`)")
        (None, none),
        (Some(b"Bearer abc".to_vec()), none),
        (Some(b"Basic YTpi".to_vec()), none),
        // row("cadasta 1.1", "`Token` alone")
        (
            Some(b"Token".to_vec()),
            "Invalid token header. No credentials provided.",
        ),
        // row("cadasta 1.1", "`Token a b`")
        (
            Some(b"Token a b".to_vec()),
            "Invalid token header. Token string should not contain spaces.",
        ),
        // row("cadasta 1.1", "non-ASCII key")
        (
            Some(b"Token \xc3\xa9".to_vec()),
            "Invalid token header. Token string should not contain invalid characters.",
        ),
        // row("cadasta 1.1", "unknown / revoked key")
        (Some(b"Token 0123456789".to_vec()), "Invalid token."),
    ] {
        let reply = get(header).await;
        is(&reply, 401, &detail(text));
        assert_eq!(reply.header("www-authenticate"), "Token");
    }
    for scheme in ["Token", "token", "TOKEN"] {
        assert_eq!(get(Some(format!("{scheme} {key}").into_bytes())).await.status, 201);
    }
    // row("cadasta 1.1", "key of a deactivated user")
    let me = app.get("/v1/users?q=ada").bearer(&admin.access).expect(200).await;
    let body = json!({ "user_id": me["items"][0]["id"] });
    app.command("deactivate-user", &body)
        .bearer(&admin.access)
        .expect(200)
        .await;
    let reply = get(Some(format!("Token {key}").into_bytes())).await;
    is(&reply, 401, &detail("User inactive or deleted."));
    // Taken into use again, the key stays revoked.
    app.command("reactivate-user", &body)
        .bearer(&admin.access)
        .expect(200)
        .await;
    is(
        &get(Some(format!("Token {key}").into_bytes())).await,
        401,
        &detail("Invalid token."),
    );
}

async fn logging_in_has_an_answer_for_every_row(engine: Engine) {
    let app = App::start(engine).await;
    app.cadasta_user("Ada").await;
    let path = "/api/v1/account/login/";
    let unable = json!({ "non_field_errors": ["Unable to login with provided credentials."] });
    // row("cadasta 2", "ok")
    let reply = app
        .ask("POST", path, &json!({ "username": "ada", "password": STRONG }))
        .await;
    assert_eq!(reply.status, 200);
    let first = reply.json()["auth_token"].as_str().unwrap().to_owned();
    assert_eq!(reply.json().as_object().unwrap().len(), 1);
    assert!(first.len() >= 32 && first.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    // Each log-in has a key of its own, and the address signs in too.
    let second = app.cadasta_key("ADA@farm.example").await;
    assert_ne!(first, second);
    for key in [&first, &second] {
        let reply = app
            .get("/api/v1/account/")
            .header("authorization", format!("Token {key}"))
            .send()
            .await;
        assert!(reply.json()["last_login"].as_str().unwrap().ends_with('Z'));
    }
    // As the plugin for QGIS sends it: a form that is not encoded, to an address with an empty query.
    let call = app.call("POST", "/api/v1/account/login/?");
    let call = call.header("content-type", "application/x-www-form-urlencoded");
    let reply = call.raw(format!("username=ada&password={STRONG}")).send().await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let call = app
        .call("POST", path)
        .header("content-type", "multipart/form-data; boundary=x");
    let parts = format!(
        "--x\r\nContent-Disposition: form-data; name=\"username\"\r\n\r\nada\r\n--x\r\nContent-Disposition: \
         form-data; name=\"password\"\r\n\r\n{STRONG}\r\n--x--\r\n"
    );
    assert_eq!(call.raw(parts).send().await.status, 200);
    // A saved key that is stale blocks nobody.
    let call = app.call("POST", path).header("authorization", "token stale");
    let body = json!({ "username": "ada", "password": STRONG });
    assert_eq!(call.json(&body).send().await.status, 200);
    // row("cadasta 2", "unknown user or wrong password")
    // row("cadasta 2", "`username` and/or `password` missing")
    for body in [
        json!({ "username": "nobody", "password": STRONG }),
        json!({ "username": "ada", "password": "wrong" }),
        json!({ "username": "ada" }),
        json!({ "password": STRONG }),
        json!({}),
    ] {
        is(&app.ask("POST", path, &body).await, 400, &unable);
    }
    // row("cadasta 2", "`username`/`password` is `\"\"`")
    let blank = ["This field may not be blank."];
    let reply = app
        .ask("POST", path, &json!({ "username": "", "password": STRONG }))
        .await;
    is(&reply, 400, &json!({ "username": blank }));
    let reply = app
        .ask("POST", path, &json!({ "username": "ada", "password": "" }))
        .await;
    is(&reply, 400, &json!({ "password": blank }));
    // row("cadasta 2", "e-mail not verified")
    let body = json!({ "username": "joe", "email": "joe@farm.example", "password": STRONG });
    assert_eq!(app.ask("POST", "/api/v1/account/register/", &body).await.status, 201);
    let body = json!({ "username": "joe", "password": "wrong" });
    is(&app.ask("POST", path, &body).await, 400, &unable);
    let body = json!({ "username": "joe", "password": STRONG });
    for _ in 0..2 {
        is(
            &app.ask("POST", path, &body).await,
            400,
            &detail("The email has not been verified."),
        );
    }
    // One mail of the registration, one reminder, and no second one within a minute: the wrong password sent none.
    app.mailbox().nth_to("joe@farm.example", 2).await;
    let mut log = app.log().await;
    // row("cadasta 10", "C5")
    let shut = "event_type IN ('user.deactivated', 'user.locked')";
    assert_eq!(log.count("events", shut).await, 0);
    assert_eq!(
        log.texts("SELECT status FROM users WHERE username = 'joe'").await,
        ["pending"]
    );
    let sent = "event_type = 'user.email_verification_requested'";
    assert_eq!(log.count("events", sent).await, 3, "Ada's one and Joe's two");
    // row("cadasta 2", "account deactivated")
    let admin = app.admin().await;
    let found = app.get("/v1/users?q=ada").bearer(&admin.access).expect(200).await;
    let body = json!({ "user_id": found["items"][0]["id"] });
    app.command("deactivate-user", &body)
        .bearer(&admin.access)
        .expect(200)
        .await;
    let reply = app
        .ask("POST", path, &json!({ "username": "ada", "password": STRONG }))
        .await;
    is(
        &reply,
        400,
        &json!({ "non_field_errors": ["User account is disabled."] }),
    );
}

async fn too_many_tries_are_told_when_to_come_back(engine: Engine) {
    let app = App::start_with(engine, &[("REGISTRY__LIMITS__ENABLED", "true")]).await;
    app.cadasta_user("ada").await;
    let body = json!({ "username": "ada", "password": "wrong" });
    let mut last = None;
    for _ in 0..6 {
        last = Some(app.ask("POST", "/api/v1/account/login/", &body).await);
    }
    // row("cadasta 2", "throttled")
    let reply = last.unwrap();
    let seconds = reply.header("retry-after").to_owned();
    assert!(seconds.parse::<u32>().unwrap() > 0);
    let text = format!("Request was throttled. Expected available in {seconds} seconds.");
    is(&reply, 429, &detail(&text));
}

async fn logging_out_ends_every_key(engine: Engine) {
    let app = App::start(engine).await;
    let first = app.cadasta_user("ada").await;
    let second = app.cadasta_key("ada").await;
    let canonical = app.sign_in("ada", STRONG).await;
    let logout = |key: &str| {
        let call = app.call("POST", "/api/v1/account/logout/");
        call.header("authorization", format!("Token {key}")).send()
    };
    is_empty(&logout(&first).await, 200);
    for key in [&first, &second] {
        is(&logout(key).await, 401, &detail("Invalid token."));
    }
    assert_eq!(app.get("/v1/me").bearer(&canonical.access).send().await.status, 401);
    let reply = app.call("POST", "/api/v1/account/logout/").send().await;
    is(&reply, 401, &detail("Authentication credentials were not provided."));
    let reply = app.get("/api/v1/account/logout/").send().await;
    is(&reply, 405, &detail("Method \"GET\" not allowed."));
    assert_eq!(reply.header("allow"), "POST");
    // No key of the table is one that was handed out.
    // row("cadasta 10", "C4")
    assert_ne!(first, second);
    let third = app.cadasta_key("ada").await;
    let mut log = app.log().await;
    let dump = log.dump("secrets").await;
    for key in [&first, &second, &third] {
        assert!(!dump.contains(key.as_str()));
    }
    let keys = "kind = 'opaque'";
    assert_eq!(log.count("secrets", &format!("{keys} AND expires_at IS NULL")).await, 0);
    assert!(log.count("secrets", keys).await > 0);
}

async fn the_conventions_of_its_framework_hold(engine: Engine) {
    let app = App::start(engine).await;
    let path = "/api/v1/account/login/";
    let call = app.call("POST", path).header("content-type", "text/plain");
    let reply = call.raw("username=ada").send().await;
    is(
        &reply,
        415,
        &detail("Unsupported media type \"text/plain\" in request."),
    );
    let call = app.call("POST", path).header("content-type", "application/json");
    let reply = call.raw("{\"username\":").send().await;
    assert_eq!(reply.status, 400);
    assert!(
        reply.json()["detail"]
            .as_str()
            .unwrap()
            .starts_with("JSON parse error - ")
    );
    for (body, kind) in [
        (json!([1]), "list"),
        (json!("x"), "str"),
        (json!(1), "int"),
        (json!(1.5), "float"),
        (json!(true), "bool"),
    ] {
        let text = format!("Invalid data. Expected a dictionary, but got {kind}.");
        is(
            &app.ask("POST", path, &body).await,
            400,
            &json!({ "non_field_errors": [text] }),
        );
    }
    is(
        &app.get("/api/v1/account/nothing/").send().await,
        404,
        &detail("Not found."),
    );
    is(&app.get("/api/v1/users/a/b/").send().await, 404, &detail("Not found."));
    let reply = app.get(path).send().await;
    is(&reply, 405, &detail("Method \"GET\" not allowed."));
    assert_eq!(reply.header("allow"), "POST");
    // Without its slash a path is answered, not redirected.
    let reply = app.ask("POST", "/api/v1/account/login", &json!({})).await;
    assert_eq!(reply.status, 400);
    assert_eq!(app.get("/api/v1/account").send().await.status, 401);
    // Nothing is kept by those in between.
    assert_eq!(reply.header("cache-control"), "no-store");
}
