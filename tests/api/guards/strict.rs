//! `registration.strict`: nobody learns from registering whether an address is registered.

use std::time::Instant;

use serde_json::json;

use crate::harness::{App, Engine, PASSWORD, Reply, on_both_engines};

use super::events;

on_both_engines![
    a_taken_address_is_answered_as_a_fresh_one_and_its_owner_gets_a_mail,
    a_key_is_spent_by_whoever_is_not_written_to_too,
    what_is_no_address_is_told_as_ever,
];

const STRICT: (&str, &str) = ("REGISTRY__REGISTRATION__STRICT", "true");
const OTHER: &str = "nine grey geese by a pond";

async fn register(app: &App, email: &str, password: &str) -> Reply {
    let body = json!({ "email": email, "password": password });
    app.command("register-user", &body).send().await
}

fn alike(reply: &Reply) -> (u16, String, Vec<(String, String)>) {
    (reply.status, reply.body.clone(), reply.steady_headers())
}

async fn a_taken_address_is_answered_as_a_fresh_one_and_its_owner_gets_a_mail(engine: Engine) {
    let app = App::start_with(engine, &[STRICT]).await;
    let fresh = register(&app, "ada@farm.example", PASSWORD).await;
    assert_eq!(fresh.status, 201, "{fresh:?}");
    let body = fresh.json();
    assert_eq!((body.get("id"), &body["position"]), (None, &json!(0)), "{body}");
    assert_eq!(fresh.header("location"), "");
    assert_eq!(
        body["events"],
        json!(["user.registered", "user.email_verification_requested"])
    );
    // Still to be verified: the same link again.
    let again = register(&app, "ADA@farm.example", OTHER).await;
    assert_eq!(alike(&fresh), alike(&again));
    let first = app.mailbox().to("ada@farm.example").await;
    let second = app.mailbox().nth_to("ada@farm.example", 2).await;
    assert_eq!((&second.subject, second.token()), (&first.subject, first.token()));
    let token = json!({ "token": first.token() });
    app.command("verify-email", &token).expect(200).await;
    // In use: a way back in.
    let asked = Instant::now();
    let taken = register(&app, "ada@farm.example", OTHER).await;
    let taken_after = asked.elapsed();
    assert_eq!(alike(&fresh), alike(&taken));
    let asked = Instant::now();
    assert_eq!(alike(&fresh), alike(&register(&app, "eve@farm.example", OTHER).await));
    told!(
        "{engine:?}: taken after {taken_after:?}, fresh after {:?}",
        asked.elapsed()
    );
    let mail = app.mailbox().nth_to("ada@farm.example", 3).await;
    assert_eq!(mail.subject, "Reset your password");
    // Nothing was changed by it, and the link works.
    app.sign_in("ada@farm.example", PASSWORD).await;
    let body = json!({ "token": mail.token(), "new_password": OTHER });
    app.command("reset-password", &body).expect(200).await;
    app.sign_in("ada@farm.example", OTHER).await;
    assert_eq!(events(&app, "user.registered").await, 2);
    // With a key too, and the repeat says the same.
    let mut answers = Vec::new();
    for _ in 0..2 {
        let body = json!({ "email": "ada@farm.example", "password": PASSWORD });
        let call = app.command("register-user", &body).header("idempotency-key", "k");
        answers.push(alike(&call.send().await));
    }
    assert_eq!(answers, [alike(&fresh), alike(&fresh)]);
    assert_eq!(events(&app, "user.password_reset_requested").await, 2);
}

async fn a_key_is_spent_by_whoever_is_not_written_to_too(engine: Engine) {
    let app = App::start_with(engine, &[STRICT]).await;
    app.with_deactivated("gone").await;
    let mut rounds = Vec::new();
    for address in ["gone@farm.example", "fresh@farm.example"] {
        let mut answers = Vec::new();
        for password in [PASSWORD, PASSWORD, OTHER] {
            let body = json!({ "email": address, "password": password });
            let call = app.command("register-user", &body).header("idempotency-key", address);
            let reply = call.send().await;
            answers.push((reply.status, reply.wire(), reply.steady_headers()));
        }
        rounds.push(answers);
    }
    let statuses: Vec<u16> = rounds[0].iter().map(|(status, ..)| *status).collect();
    assert_eq!(statuses, [201, 201, 422]);
    assert_eq!(rounds[0], rounds[1]);
}

async fn what_is_no_address_is_told_as_ever(engine: Engine) {
    let app = App::start_with(engine, &[STRICT]).await;
    let body = json!({ "username": "ada", "password": PASSWORD });
    let receipt = app.command("register-user", &body).expect(201).await;
    assert!(receipt["id"].is_string(), "{receipt}");
    let body = json!({ "username": "ada", "email": "ada@farm.example", "password": PASSWORD });
    let reply = app.command("register-user", &body).send().await;
    assert_eq!(reply.refused(409, "taken"), ["/username"]);
    let admin = app.admin().await;
    let body = json!({ "domain": "weeds.example" });
    app.command("block-domain", &body)
        .bearer(&admin.access)
        .expect(201)
        .await;
    let reply = register(&app, "eve@weeds.example", PASSWORD).await;
    reply.refused(403, "domain-blocked");
}
