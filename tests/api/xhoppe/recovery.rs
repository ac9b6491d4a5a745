//! Sections 4 and 5: forgetting a password and setting another one.

use serde_json::{Value, json};

use super::{invalid, lock, register};
use crate::harness::{App, Engine, Reply, on_both_engines};
use crate::trio::{STRONG, is};

on_both_engines![
    forgetting_has_an_answer_for_every_row,
    recovering_has_an_answer_for_every_row,
    recovery_does_not_lift_a_lock,
    who_has_an_address_is_told_there_too,
    burnt_codes_suspend_recovery,
    the_alias_of_a_later_document_can_be_switched_on,
];

const NUMBER: &str = "84932466";
const NEW: &str = "a-new-password";

async fn forget(app: &App, number: &str) -> Reply {
    let body = json!({ "msisdn": number });
    app.ask("PUT", "/api/v1/users/forget_password", &body).await
}

async fn recover(app: &App, number: &str, code: &str) -> Reply {
    let body = json!({ "msisdn": number, "code": code, "password": NEW, "password_confirmation": NEW });
    app.ask("PUT", "/api/v1/users/recover_password", &body).await
}

fn eight_wrong(code: &str, number: u32) -> String {
    format!("{:08}", (code.parse::<u32>().unwrap() + 1 + number) % 100_000_000)
}

fn about_code(text: &str) -> Value {
    invalid(&json!({ "code": [text] }))
}

async fn forgetting_has_an_answer_for_every_row(engine: Engine) {
    let app = App::start(engine).await;
    app.xhoppe_user(NUMBER).await;
    register(&app, "84932467").await;
    app.phones().to("84932467").await;
    // row("xhoppe 4", "any well-formed number, known or not")
    for number in [NUMBER, "84932467", "84932499"] {
        is(&forget(&app, number).await, 200, &json!({}));
    }
    // A verified account gets a code to recover, one that waits another code to verify, nobody gets nothing.
    let recovery = app.phones().nth_to(NUMBER, 2).await;
    assert_eq!(
        (recovery.json["purpose"].as_str(), recovery.code().len()),
        (Some("reset-password"), 8)
    );
    let verification = app.phones().nth_to("84932467", 2).await;
    assert_eq!(
        (verification.json["purpose"].as_str(), verification.code().len()),
        (Some("verify-phone"), 6)
    );
    // row("xhoppe 4", "missing/empty")
    for body in [json!({}), json!({ "msisdn": "" }), json!({ "msisdn": null })] {
        let reply = app.ask("PUT", "/api/v1/users/forget_password", &body).await;
        is(&reply, 422, &invalid(&json!({ "msisdn": ["can't be blank"] })));
    }
    // row("xhoppe 4", "malformed")
    is(
        &forget(&app, "x").await,
        422,
        &invalid(&json!({ "msisdn": ["is invalid"] })),
    );
    let settings = [
        ("REGISTRY__LIMITS__ENABLED", "true"),
        ("REGISTRY__LIMITS__MESSAGES_PER_HOUR", "2"),
    ];
    let app = App::start_with(engine, &settings).await;
    for status in [200, 200, 429] {
        // row("xhoppe 4", "throttled per source")
        let reply = forget(&app, "84932499").await;
        assert_eq!(reply.status, status);
        if status == 429 {
            is(
                &reply,
                429,
                &json!({ "error": "Too many requests. Please try again later." }),
            );
            assert!(reply.header("retry-after").parse::<u32>().unwrap() > 0);
        }
    }
}

async fn recovering_has_an_answer_for_every_row(engine: Engine) {
    let app = App::start(engine).await;
    let before = app.xhoppe_user(NUMBER).await;
    // row("xhoppe 5.1", "wrong code, unknown number, no recovery asked for, code already used")
    is(&recover(&app, NUMBER, "12345678").await, 422, &about_code("is invalid"));
    is(
        &recover(&app, "84932499", "12345678").await,
        422,
        &about_code("is invalid"),
    );
    forget(&app, NUMBER).await;
    let first = app.phones().nth_to(NUMBER, 2).await.code();
    is(
        &recover(&app, NUMBER, &eight_wrong(&first, 0)).await,
        422,
        &about_code("is invalid"),
    );
    // A code of one purpose is none of the other.
    let verify = json!({ "msisdn": NUMBER, "code": first });
    let reply = app.ask("POST", "/api/v1/users/verify", &verify).await;
    is(&reply, 422, &about_code("is invalid"));
    // row("xhoppe 5.1", "field problems")
    let blank = ["can't be blank"];
    let all = invalid(&json!({
        "msisdn": blank, "code": blank, "password": blank, "password_confirmation": blank,
    }));
    is(
        &app.ask("PUT", "/api/v1/users/recover_password", &json!({})).await,
        422,
        &all,
    );
    // Not one of these is a try at the code.
    for _ in 0..6 {
        let body = json!({ "msisdn": NUMBER, "code": eight_wrong(&first, 1), "password": "short" });
        let reply = app.ask("PUT", "/api/v1/users/recover_password", &body).await;
        let expected = invalid(&json!({
            "password": ["is too short (minimum is 8 characters)"],
            "password_confirmation": blank,
        }));
        is(&reply, 422, &expected);
    }
    let mut log = app.log().await;
    let tries = log
        .numbers("SELECT tries FROM codes WHERE purpose = 'reset-password'")
        .await;
    assert_eq!(tries, [1]);
    // row("xhoppe 5.1", "expired, superseded or burnt")
    forget(&app, NUMBER).await;
    let second = app.phones().nth_to(NUMBER, 3).await.code();
    is(&recover(&app, NUMBER, &first).await, 422, &about_code("is expired"));
    for number in 0..4 {
        is(
            &recover(&app, NUMBER, &eight_wrong(&second, number)).await,
            422,
            &about_code("is invalid"),
        );
    }
    is(&recover(&app, NUMBER, &second).await, 422, &about_code("is expired"));
    // row("xhoppe 5.1", "ok")
    forget(&app, NUMBER).await;
    let third = app.phones().nth_to(NUMBER, 4).await.code();
    let reply = recover(&app, NUMBER, &third).await;
    let token = reply.json()["authentication_token"].as_str().unwrap().to_owned();
    let expected = json!({ "msisdn": NUMBER, "authentication_token": token, "valid_for_authentication": true });
    is(&reply, 200, &expected);
    is(&recover(&app, NUMBER, &third).await, 422, &about_code("is invalid"));
    // The number is told, with nothing to use or to open, and no code that came before works any more.
    let notice = app.phones().nth_to(NUMBER, 5).await;
    assert_eq!(notice.json["purpose"], "notice");
    let text = notice.json["text"].as_str().unwrap();
    assert!(text.contains("A new password was set"), "{text}");
    assert!(
        !text.contains("://") && !text.bytes().any(|byte| byte.is_ascii_digit()),
        "{text}"
    );
    for code in [&first, &second] {
        assert_eq!(recover(&app, NUMBER, code).await.status, 422);
    }
    assert_eq!(log.count("codes", "true").await, 0);
    let info = async |token: &str| super::info(&app, token).await;
    assert_eq!((info(&before).await.status, info(&token).await.status), (401, 200));
    let login = json!({ "msisdn": NUMBER, "password": NEW });
    assert_eq!(app.ask("POST", "/api/v1/login", &login).await.status, 200);
    // row("xhoppe 5.1", "too many requests")
    let settings = [
        ("REGISTRY__LIMITS__ENABLED", "true"),
        ("REGISTRY__LIMITS__SECRETS_PER_MINUTE", "2"),
    ];
    let app = App::start_with(engine, &settings).await;
    for status in [422, 422, 429] {
        assert_eq!(recover(&app, NUMBER, "12345678").await.status, status);
    }
}

async fn who_has_an_address_is_told_there_too(engine: Engine) {
    let app = App::start(engine).await;
    let number = "+6584932466";
    let body = json!({ "phone": number, "email": "ada@farm.example", "password": STRONG });
    app.command("register-user", &body).expect(201).await;
    let token = json!({ "token": app.mailbox().to("ada@farm.example").await.token() });
    app.command("verify-email", &token).expect(200).await;
    let body = json!({ "phone": number, "code": app.phones().to(number).await.code() });
    app.command("verify-phone", &body).expect(200).await;
    is(&forget(&app, number).await, 200, &json!({}));
    let code = app.phones().nth_to(number, 2).await.code();
    assert_eq!(recover(&app, number, &code).await.status, 200);
    let notice = app.mailbox().nth_to("ada@farm.example", 2).await;
    assert_eq!(notice.subject, "A new password was set");
    // Neither the code nor a link.
    assert!(
        !notice.text.contains(&code) && !notice.text.contains("http"),
        "{}",
        notice.text
    );
}

async fn recovery_does_not_lift_a_lock(engine: Engine) {
    let app = App::start(engine).await;
    app.xhoppe_user(NUMBER).await;
    forget(&app, NUMBER).await;
    let code = app.phones().nth_to(NUMBER, 2).await.code();
    lock(&app, NUMBER).await;
    // Whoever is locked is sent nothing more.
    is(&forget(&app, NUMBER).await, 200, &json!({}));
    // row("xhoppe 5.1", "ok, account was locked in the meantime")
    let valid_for_nothing = json!({ "msisdn": NUMBER, "valid_for_authentication": false });
    is(&recover(&app, NUMBER, &code).await, 200, &valid_for_nothing);
    let login = json!({ "msisdn": NUMBER, "password": NEW });
    is(&app.ask("POST", "/api/v1/login", &login).await, 200, &valid_for_nothing);
    let mut log = app.log().await;
    let asked = "event_type = 'user.password_reset_requested'";
    assert_eq!(log.count("events", asked).await, 1);
}

async fn burnt_codes_suspend_recovery(engine: Engine) {
    let app = App::start(engine).await;
    app.xhoppe_user(NUMBER).await;
    for round in 0..3 {
        forget(&app, NUMBER).await;
        let code = app.phones().nth_to(NUMBER, 2 + round).await.code();
        for number in 0..5 {
            is(
                &recover(&app, NUMBER, &eight_wrong(&code, number)).await,
                422,
                &about_code("is invalid"),
            );
        }
    }
    is(&forget(&app, NUMBER).await, 200, &json!({}));
    is(&recover(&app, NUMBER, "12345678").await, 422, &about_code("is invalid"));
    let mut log = app.log().await;
    let asked = "event_type = 'user.password_reset_requested'";
    assert_eq!(log.count("events", asked).await, 3, "the fourth request sends nothing");
    let login = json!({ "msisdn": NUMBER, "password": STRONG });
    assert_eq!(app.ask("POST", "/api/v1/login", &login).await.status, 200);
}

async fn the_alias_of_a_later_document_can_be_switched_on(engine: Engine) {
    let app = App::start_with(engine, &[("REGISTRY__XHOPPE__CHANGE_PASSWORD_BY_SMS", "true")]).await;
    app.xhoppe_user(NUMBER).await;
    forget(&app, NUMBER).await;
    let code = app.phones().nth_to(NUMBER, 2).await.code();
    let body = json!({ "msisdn": NUMBER, "sms_confirmation_token": code, "password": NEW });
    let reply = app.ask("POST", "/api/v1/users/change_password_by_sms", &body).await;
    assert_eq!(
        (reply.status, &reply.json()["valid_for_authentication"]),
        (200, &json!(true)),
        "{}",
        reply.body
    );
    let reply = app.ask("POST", "/api/v1/users/change_password_by_sms", &body).await;
    is(
        &reply,
        422,
        &invalid(&json!({ "sms_confirmation_token": ["is invalid"] })),
    );
}
