//! Signing in and out.

use insta::{allow_duplicates, assert_snapshot};
use serde_json::{Value, json};

use crate::harness::{App, Engine, PASSWORD, on_both_engines, until};

on_both_engines![
    signing_in_gives_a_pair_of_tokens,
    an_identifier_is_an_address_a_name_or_a_number,
    whatever_is_wrong_with_a_sign_in_is_one_answer,
    one_sees_and_ends_ones_own_sessions,
    signing_out_everywhere_ends_every_session,
    a_failed_sign_in_is_written_down_of_known_accounts_only,
];

async fn signing_in_gives_a_pair_of_tokens(engine: Engine) {
    let app = App::start_with(engine, &[("REGISTRY__TOKENS__ACCESS_SECONDS", "120")]).await;
    let id = app.has_user("ada").await;
    let reply = app
        .post("/v1/sessions", &json!({ "identifier": "ada", "password": PASSWORD }))
        .send()
        .await;
    assert_eq!(reply.status, 201);
    allow_duplicates! { assert_snapshot!(reply.wire(), @r#"{"access_token":"[token]","token_type":"Bearer","expires_in":120,"refresh_token":"[token]","session_id":"[id]","user_id":"[id]"}"#) }
    assert_eq!(reply.header("cache-control"), "no-store");
    assert_eq!(reply.json()["user_id"], json!(id));
    let me = app
        .get("/v1/me")
        .bearer(reply.json()["access_token"].as_str().unwrap())
        .expect(200)
        .await;
    assert_eq!(me["id"], json!(id));
    assert!(me["last_login"].is_string());
    // A sign-in is not the account's own history.
    assert_eq!(me["version"], 1);
    // A stale credential does not stand in the way of a new one.
    let body = json!({ "identifier": "ada", "password": PASSWORD });
    app.post("/v1/sessions", &body).bearer("nonsense").expect(201).await;
}

async fn an_identifier_is_an_address_a_name_or_a_number(engine: Engine) {
    let app = App::start(engine).await;
    let body = json!({
        "username": "Joe.Smith+1", "email": "Joe.Smith@Example.com", "phone": "+12025550123", "password": PASSWORD,
    });
    let id = app.command("register-user", &body).expect(201).await["id"].clone();
    let token = app.mailbox().to("Joe.Smith@example.com").await.token().to_owned();
    app.command("verify-email", &json!({ "token": token }))
        .expect(200)
        .await;
    for identifier in [
        "Joe.Smith+1",
        "joe.smith+1",
        "JOE.SMITH+1",
        "joe.smith@example.com",
        "JOE.SMITH@EXAMPLE.COM",
        " joe.smith@example.com ",
        "+12025550123",
        "joe.srnith+1",
        "JOE.SM\u{131}TH+1",
    ] {
        let body = json!({ "identifier": identifier, "password": PASSWORD });
        let reply = app.post("/v1/sessions", &body).send().await;
        // Look-alikes are one name; only another address is another address.
        assert_eq!((reply.status, &reply.json()["user_id"]), (201, &id), "{identifier}");
    }
    for identifier in [
        "12025550123",
        "joe.smith",
        "joe.smith@example.org",
        "joesmith@example.com",
    ] {
        let body = json!({ "identifier": identifier, "password": PASSWORD });
        app.post("/v1/sessions", &body)
            .send()
            .await
            .refused(401, "invalid-credentials");
    }
    for password in [PASSWORD.to_uppercase(), format!("{PASSWORD} "), format!(" {PASSWORD}")] {
        let body = json!({ "identifier": "joe.smith+1", "password": password });
        app.post("/v1/sessions", &body)
            .send()
            .await
            .refused(401, "invalid-credentials");
    }
}

async fn whatever_is_wrong_with_a_sign_in_is_one_answer(engine: Engine) {
    let app = App::start(engine).await;
    app.has_user("ada").await;
    let pending = json!({ "username": "grace", "email": "grace@navy.example", "password": PASSWORD });
    app.command("register-user", &pending).expect(201).await;
    let admin = app.admin().await;
    for (name, command) in [
        ("locked", "lock-user"),
        ("away", "deactivate-user"),
        ("erased", "erase-user"),
    ] {
        let address = format!("{name}@navy.example");
        let body = json!({ "username": name, "email": address, "password": PASSWORD });
        let receipt = app.command("register-user", &body).expect(201).await;
        let token = json!({ "token": app.mailbox().to(&address).await.token() });
        app.command("verify-email", &token).expect(200).await;
        // It could be signed in to until then.
        app.sign_in(name, PASSWORD).await;
        let body = json!({ "user_id": receipt["id"], "reason": "a test" });
        app.command(command, &body).bearer(&admin.access).expect(200).await;
    }
    let mut answers = Vec::new();
    for (identifier, password) in [
        ("nobody", PASSWORD),
        ("nobody@navy.example", PASSWORD),
        ("+6591234567", PASSWORD),
        ("ada", "wrong and long enough"),
        ("ada", "x"),
        ("grace", PASSWORD),
        ("grace@navy.example", PASSWORD),
        ("grace", "wrong and long enough"),
        ("locked", PASSWORD),
        ("locked@navy.example", PASSWORD),
        ("locked", "wrong and long enough"),
        ("away", PASSWORD),
        ("away@navy.example", PASSWORD),
        ("away", "wrong and long enough"),
        ("erased", PASSWORD),
        ("erased@navy.example", PASSWORD),
        ("erased", "wrong and long enough"),
    ] {
        let reply = app
            .post(
                "/v1/sessions",
                &json!({ "identifier": identifier, "password": password }),
            )
            .send()
            .await;
        reply.refused(401, "invalid-credentials");
        answers.push((reply.wire(), reply.steady_headers()));
    }
    allow_duplicates! { assert_snapshot!(answers[0].0, @r#"{"type":"/problems/invalid-credentials","title":"Invalid credentials","status":401,"detail":"Identifier and password do not open an account. Unknown, unverified and locked accounts are answered alike.","instance":"[id]"}"#) }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
}

async fn one_sees_and_ends_ones_own_sessions(engine: Engine) {
    let app = App::start(engine).await;
    let here = app.user("ada").await;
    let body = json!({ "identifier": "ada", "password": PASSWORD });
    let agent = format!("pocket/1.0 {}", "x".repeat(400));
    let call = app
        .post("/v1/sessions", &body)
        .header("user-agent", &agent)
        .header("x-forwarded-for", "192.0.2.7");
    let there = crate::harness::Tokens::of(&call.expect(201).await);
    let eve = app.user("eve").await;

    let reply = app.get("/v1/sessions").bearer(&here.access).send().await;
    assert_eq!(reply.status, 200);
    let list = reply.json();
    assert_eq!(list["next"], Value::Null);
    let [newest, oldest] = list["items"].as_array().unwrap().as_slice() else {
        panic!("{list}")
    };
    assert_eq!(
        (&newest["id"], &newest["current"]),
        (&json!(there.session), &json!(false))
    );
    assert_eq!(
        (&oldest["id"], &oldest["current"]),
        (&json!(here.session), &json!(true))
    );
    // What a proxy that nobody configured says is not believed, and no program's name is kept without end.
    assert_eq!(newest["ip"], "127.0.0.1");
    assert_eq!(newest["user_agent"].as_str().unwrap(), &agent[..256]);
    let mut fields: Vec<&String> = newest.as_object().unwrap().keys().collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "current",
            "dialect",
            "expires_at",
            "id",
            "ip",
            "last_seen_at",
            "started_at",
            "user_agent"
        ]
    );
    assert_eq!(
        (&newest["dialect"], &newest["last_seen_at"]),
        (&json!("canonical"), &newest["started_at"])
    );

    // Somebody else's is not found, neither to see nor to end.
    app.delete(&format!("/v1/sessions/{}", here.session))
        .bearer(&eve.access)
        .send()
        .await
        .refused(404, "not-found");
    app.get("/v1/me").bearer(&here.access).expect(200).await;
    let ended = app
        .delete(&format!("/v1/sessions/{}", there.session))
        .bearer(&here.access)
        .send()
        .await;
    assert_eq!((ended.status, ended.body.as_str()), (204, ""));
    app.get("/v1/me")
        .bearer(&there.access)
        .send()
        .await
        .refused(401, "token-revoked");
    let again = app
        .delete(&format!("/v1/sessions/{}", there.session))
        .bearer(&here.access)
        .send()
        .await;
    again.refused(404, "not-found");
    let list = app.get("/v1/sessions").bearer(&here.access).expect(200).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);

    assert_eq!(
        app.delete("/v1/sessions/current")
            .bearer(&here.access)
            .send()
            .await
            .status,
        204
    );
    app.get("/v1/me")
        .bearer(&here.access)
        .send()
        .await
        .refused(401, "token-revoked");
    app.delete("/v1/sessions/current")
        .bearer(&here.access)
        .send()
        .await
        .refused(401, "token-revoked");
    let refresh = json!({ "refresh_token": here.refresh });
    assert_eq!(app.post("/v1/sessions/refresh", &refresh).send().await.status, 401);
    app.get("/v1/me").bearer(&eve.access).expect(200).await;
}

async fn signing_out_everywhere_ends_every_session(engine: Engine) {
    let app = App::start(engine).await;
    let first = app.user("ada").await;
    let mut sessions = vec![first.clone()];
    for _ in 0..3 {
        sessions.push(app.sign_in("ada", PASSWORD).await);
    }
    let eve = app.user("eve").await;
    let mut log = app.log().await;
    let written = log.written().await;
    assert_eq!(
        app.delete("/v1/sessions")
            .bearer(&sessions[2].access)
            .send()
            .await
            .status,
        204
    );
    // One event, however many sessions.
    assert_eq!(log.written().await, written + 1);
    for tokens in &sessions {
        app.get("/v1/me")
            .bearer(&tokens.access)
            .send()
            .await
            .refused(401, "token-revoked");
        let refresh = json!({ "refresh_token": tokens.refresh });
        assert_eq!(app.post("/v1/sessions/refresh", &refresh).send().await.status, 401);
    }
    assert_eq!(log.written().await, written + 1);
    app.get("/v1/me").bearer(&eve.access).expect(200).await;
    let again = app.sign_in("ada", PASSWORD).await;
    let list = app.get("/v1/sessions").bearer(&again.access).expect(200).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
}

async fn a_failed_sign_in_is_written_down_of_known_accounts_only(engine: Engine) {
    let app = App::start(engine).await;
    let id = app.has_user("ada").await;
    let fail = async |identifier: &str| {
        let body = json!({ "identifier": identifier, "password": "wrong and long enough" });
        app.post("/v1/sessions", &body)
            .send()
            .await
            .refused(401, "invalid-credentials");
    };
    fail("nobody").await;
    fail("ada").await;
    let event = until("the failed sign-in", || async {
        app.log()
            .await
            .events()
            .await
            .into_iter()
            .find(|event| event.kind == "session.failed")
    })
    .await;
    assert_eq!((event.position, event.subject.as_str()), (2, id.as_str()));
}
