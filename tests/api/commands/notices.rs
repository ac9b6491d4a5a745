//! What the owner of an account is told by mail.

use serde_json::json;

use crate::harness::{App, Engine, PASSWORD, Tokens, on_both_engines, until};

on_both_engines![
    the_owner_hears_of_what_changes_the_ways_in,
    a_sign_in_from_a_new_device_is_told_and_from_a_known_one_not,
    a_refresh_token_used_twice_is_told,
    a_sign_in_after_five_failures_is_told,
];

const OTHER: &str = "nine grey geese by a pond";
const ADDRESS: &str = "ada@farm.example";

/// The subject of the so-manieth mail to Ada.
async fn subject(app: &App, count: usize) -> String {
    app.mailbox().nth_to(ADDRESS, count).await.subject
}

async fn sign_in_with(app: &App, program: &str) -> Tokens {
    let body = json!({ "identifier": "ada", "password": PASSWORD });
    let call = app.post("/v1/sessions", &body).header("user-agent", program);
    Tokens::of(&call.expect(201).await)
}

/// Waits until the mailer has seen everything.
async fn quiet(app: &App) {
    let head = app.log().await.head().await;
    until("the mailer", || async {
        let sql = "SELECT position FROM checkpoints WHERE follower = 'mail'";
        (app.log().await.numbers(sql).await == [head]).then_some(())
    })
    .await;
}

async fn the_owner_hears_of_what_changes_the_ways_in(engine: Engine) {
    let app = App::start(engine).await;
    let ada = app.with_email("ada").await;
    let body = json!({ "current_password": PASSWORD, "new_password": OTHER });
    app.command("change-password", &body)
        .bearer(&ada.access)
        .expect(200)
        .await;
    assert_eq!(subject(&app, 2).await, "Your password was changed");
    let body = json!({ "phone": "+6584932466", "current_password": OTHER });
    app.command("change-phone", &body).bearer(&ada.access).expect(200).await;
    assert_eq!(subject(&app, 3).await, "Your phone number was changed");
    let mail = app.mailbox().nth_to(ADDRESS, 3).await;
    assert!(
        !mail.text.contains("6584932466") && !mail.text.contains("://"),
        "{}",
        mail.text
    );
    // An account without an address hears nothing, and the mailer goes on.
    let eve = app.user("eve").await;
    let body = json!({ "current_password": PASSWORD, "new_password": OTHER });
    app.command("change-password", &body)
        .bearer(&eve.access)
        .expect(200)
        .await;
    quiet(&app).await;
    assert_eq!(app.mailbox().mails().len(), 3);
}

async fn a_sign_in_from_a_new_device_is_told_and_from_a_known_one_not(engine: Engine) {
    let app = App::start(engine).await;
    let body = json!({ "username": "ada", "email": ADDRESS, "password": PASSWORD });
    app.command("register-user", &body).expect(201).await;
    let token = json!({ "token": app.mailbox().to(ADDRESS).await.token() });
    app.command("verify-email", &token).expect(200).await;
    for program in ["tractor/1", "tractor/1"] {
        sign_in_with(&app, program).await;
    }
    quiet(&app).await;
    assert_eq!(app.mailbox().mails().len(), 1, "the first sign-in is no new device");
    let position = app.log().await.head().await + 1;
    sign_in_with(&app, "harvester/2").await;
    let mail = app.mailbox().nth_to(ADDRESS, 2).await;
    assert_eq!(mail.subject, "A sign-in from a new device");
    assert_eq!(mail.name, format!("{position:020}"));
    assert!(!mail.text.contains("harvester"), "{}", mail.text);
    for program in ["tractor/1", "harvester/2"] {
        sign_in_with(&app, program).await;
    }
    quiet(&app).await;
    assert_eq!(app.mailbox().mails().len(), 2);
}

async fn a_refresh_token_used_twice_is_told(engine: Engine) {
    let app = App::start(engine).await;
    let ada = app.with_email("ada").await;
    let refresh = async |token: &str| {
        let body = json!({ "refresh_token": token });
        app.post("/v1/sessions/refresh", &body).send().await
    };
    let second = Tokens::of(&refresh(&ada.refresh).await.json());
    assert_eq!(refresh(&second.refresh).await.status, 200);
    assert_eq!(refresh(&ada.refresh).await.status, 401);
    assert_eq!(subject(&app, 2).await, "A session was ended for your safety");
}

async fn a_sign_in_after_five_failures_is_told(engine: Engine) {
    let app = App::start(engine).await;
    app.with_email("ada").await;
    let fail = async |times: i64| {
        let sql = "SELECT count(*) FROM events WHERE event_type = 'session.failed'";
        let before = app.log().await.numbers(sql).await[0];
        for _ in 0..times {
            let body = json!({ "identifier": "ada", "password": OTHER });
            assert_eq!(app.post("/v1/sessions", &body).send().await.status, 401);
        }
        // They are written down after their answers.
        until("the failures", || async {
            (app.log().await.numbers(sql).await[0] == before + times).then_some(())
        })
        .await;
    };
    fail(4).await;
    app.sign_in("ada", PASSWORD).await;
    quiet(&app).await;
    assert_eq!(app.mailbox().mails().len(), 1);
    fail(5).await;
    app.sign_in("ada", PASSWORD).await;
    assert_eq!(subject(&app, 2).await, "A sign-in after several that failed");
}
