//! What the owner of an account is told: by mail, or by SMS who has no verified address.

use serde_json::json;

use crate::harness::{App, Engine, PASSWORD, Tokens, on_both_engines, until};

on_both_engines![
    the_owner_hears_of_what_changes_the_ways_in,
    a_sign_in_from_a_new_device_is_told_and_from_a_known_one_not,
    a_refresh_token_used_twice_is_told,
    a_sign_in_after_five_failures_is_told,
    who_has_only_a_number_is_told_by_sms,
    a_number_nobody_has_verified_is_told_nothing,
    notices_by_sms_are_few_and_take_no_place_of_a_code,
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

/// Waits until the mailer and who sends short messages have seen everything.
async fn quiet(app: &App) {
    let head = app.log().await.head().await;
    until("mails and short messages", || async {
        let sql = "SELECT position FROM checkpoints WHERE follower IN ('mail', 'sms')";
        (app.log().await.numbers(sql).await == [head, head]).then_some(())
    })
    .await;
}

/// The texts of every notice to a number so far.
fn told(app: &App, number: &str) -> Vec<String> {
    let notices = app.phones().messages().into_iter();
    let notices = notices.filter(|sms| sms.json["to"] == number && sms.json["purpose"] == "notice");
    let texts: Vec<String> = notices
        .map(|sms| sms.json["text"].as_str().unwrap().to_owned())
        .collect();
    for text in &texts {
        assert!(
            !text.contains(|c: char| c.is_ascii_digit()) && !text.contains("://"),
            "{text}"
        );
    }
    texts
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

async fn who_has_only_a_number_is_told_by_sms(engine: Engine) {
    const NUMBER: &str = "+6584932466";
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let ada = app.with_phone("ada", NUMBER).await;
    let mine = async |command: &str, body: serde_json::Value| {
        app.command(command, &body).bearer(&ada.access).expect(200).await
    };
    let locks = async |command: &str| {
        let body = json!({ "user_id": ada.user, "reason": "asked to" });
        app.command(command, &body).bearer(&admin.access).expect(200).await
    };
    let password = json!({ "current_password": PASSWORD, "new_password": OTHER });
    mine("change-password", password).await;
    let address = json!({ "email": ADDRESS, "current_password": OTHER });
    mine("request-email-change", address).await;
    // The address is asked for and not taken yet, so it is the number before that hears of another.
    let new = "+6584932467";
    mine("change-phone", json!({ "phone": new, "current_password": OTHER })).await;
    quiet(&app).await;
    let heard = told(&app, NUMBER);
    let expected = [
        "The password of your account was changed",
        "Somebody asked to use another e-mail address",
        "Your account uses another phone number from now on",
    ];
    assert_eq!(heard.len(), expected.len(), "{heard:?}");
    for (text, start) in heard.iter().zip(expected) {
        assert!(text.starts_with(start), "{heard:?}");
    }
    // The new number has proved nothing yet, and the one before is nobody's any more.
    locks("lock-user").await;
    quiet(&app).await;
    assert_eq!((told(&app, new).len(), told(&app, NUMBER).len()), (0, 3));
    locks("unlock-user").await;
    let body = json!({ "phone": new, "code": app.phones().to(new).await.code() });
    app.command("verify-phone", &body).expect(200).await;
    locks("lock-user").await;
    locks("unlock-user").await;
    quiet(&app).await;
    let heard = told(&app, new);
    assert!(
        heard.len() == 1 && heard[0].starts_with("Your account was locked by"),
        "{heard:?}"
    );
    // Signed in from elsewhere, and after failures; then the address is verified and hears alone.
    let body = json!({ "identifier": "ada", "password": OTHER });
    for program in ["tractor/1", "harvester/2"] {
        let call = app.post("/v1/sessions", &body).header("user-agent", program);
        call.expect(201).await;
    }
    quiet(&app).await;
    let heard = told(&app, new);
    assert!(heard.len() == 3 && heard[2].contains("a new device"), "{heard:?}");
    let token = json!({ "token": app.mailbox().to(ADDRESS).await.token() });
    app.command("confirm-email-change", &token).expect(200).await;
    locks("lock-user").await;
    assert_eq!(subject(&app, 2).await, "Your account was locked");
    quiet(&app).await;
    let heard = told(&app, new);
    assert!(
        heard.len() == 4 && heard[3].contains("e-mail address of your account"),
        "{heard:?}"
    );
    assert_eq!((told(&app, NUMBER).len(), app.mailbox().mails().len()), (3, 2));
}

async fn a_number_nobody_has_verified_is_told_nothing(engine: Engine) {
    const NUMBER: &str = "+6584932466";
    let app = App::start(engine).await;
    let ada = app.user("ada").await;
    let body = json!({ "phone": NUMBER, "current_password": PASSWORD });
    app.command("change-phone", &body).bearer(&ada.access).expect(200).await;
    let body = json!({ "current_password": PASSWORD, "new_password": OTHER });
    app.command("change-password", &body)
        .bearer(&ada.access)
        .expect(200)
        .await;
    quiet(&app).await;
    assert_eq!(told(&app, NUMBER), [""; 0]);
}

async fn notices_by_sms_are_few_and_take_no_place_of_a_code(engine: Engine) {
    let settings = [
        ("REGISTRY__LIMITS__ENABLED", "true"),
        ("REGISTRY__SMS__DAILY_BUDGET", "8"),
    ];
    let app = App::start_with(engine, &settings).await;
    // Five an hour to one number, eight a day in all.
    for (name, number, most) in [("ada", "+6584932466", 5), ("eve", "+6591112222", 3)] {
        app.with_phone(name, number).await;
        for program in 0..7 {
            let body = json!({ "identifier": name, "password": PASSWORD });
            let call = app
                .post("/v1/sessions", &body)
                .header("user-agent", format!("tractor/{program}"));
            call.expect(201).await;
        }
        quiet(&app).await;
        assert_eq!(told(&app, number).len(), most, "{name}");
    }
    let metrics = app.get("/metrics").send().await.body;
    for why in ["number", "notices"] {
        let line = format!("registry_messages_withheld_total{{why=\"{why}\"}} ");
        assert!(metrics.contains(&line), "{why}: {metrics}");
    }
    // Two of the eight codes have gone; the third goes as if nobody had been told anything.
    app.with_phone("joan", "+6593334444").await;
}
