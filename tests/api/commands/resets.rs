//! A new password for those who lost theirs.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::harness::{App, Engine, PASSWORD, Reply, on_both_engines, until};

on_both_engines![
    a_link_sets_a_new_password_and_ends_every_session,
    of_a_hundred_uses_of_a_link_at_once_one_counts,
    a_code_sets_a_new_password_and_is_no_code_for_anything_else,
    a_password_that_may_not_be_chosen_uses_nothing_up,
    a_token_of_one_kind_opens_nothing_of_another,
    a_reset_is_void_once_the_password_or_the_address_changes,
    what_nobody_verified_resets_no_account_that_is_proved_otherwise,
    the_public_learns_nothing_from_asking_for_a_reset,
    the_page_of_a_reset_changes_nothing_until_its_button,
];

const OTHER: &str = "nine grey geese by a pond";
const NUMBER: &str = "+6584932466";

async fn ask(app: &App, body: Value) {
    let reply = app.command("request-password-reset", &body).send().await;
    assert_eq!((reply.status, reply.body.as_str()), (202, "{}"), "{reply:?}");
}

async fn reset(app: &App, token: &str, new: &str) -> Reply {
    let body = json!({ "token": token, "new_password": new });
    app.command("reset-password", &body).send().await
}

/// The token of the so-manieth mail to `{name}@farm.example`.
async fn token(app: &App, name: &str, count: usize) -> String {
    let mail = app.mailbox().nth_to(&format!("{name}@farm.example"), count).await;
    assert_eq!(mail.subject, "Reset your password");
    mail.token().to_owned()
}

async fn a_link_sets_a_new_password_and_ends_every_session(engine: Engine) {
    let app = App::start(engine).await;
    let ada = app.with_email("ada").await;
    ask(&app, json!({ "email": "ADA@farm.example" })).await;
    let link = token(&app, "ada", 2).await;
    // Young, it is sent again as it is.
    ask(&app, json!({ "email": "ada@farm.example" })).await;
    assert_eq!(token(&app, "ada", 3).await, link);
    let done = reset(&app, &link, OTHER).await;
    assert_eq!(done.status, 200, "{done:?}");
    assert_eq!(
        (&done.json()["id"], &done.json()["events"]),
        (&json!(ada.user), &json!(["user.password_reset"]))
    );
    app.get("/v1/me")
        .bearer(&ada.access)
        .send()
        .await
        .refused(401, "token-revoked");
    let refresh = json!({ "refresh_token": ada.refresh });
    assert_eq!(app.post("/v1/sessions/refresh", &refresh).send().await.status, 401);
    let old = json!({ "identifier": "ada", "password": PASSWORD });
    app.post("/v1/sessions", &old)
        .send()
        .await
        .refused(401, "invalid-credentials");
    app.sign_in("ada", OTHER).await;
    reset(&app, &link, "eight brown cows in a barn")
        .await
        .refused(410, "invalid-token");
    app.sign_in("ada", OTHER).await;
    assert_eq!(
        app.mailbox().nth_to("ada@farm.example", 4).await.subject,
        "A new password was set"
    );
}

async fn of_a_hundred_uses_of_a_link_at_once_one_counts(engine: Engine) {
    let app = App::start(engine).await;
    app.with_email("ada").await;
    ask(&app, json!({ "email": "ada@farm.example" })).await;
    let link = token(&app, "ada", 2).await;
    let new: Vec<String> = (0..100).map(|number| format!("{OTHER} {number}")).collect();
    let replies = join_all(new.iter().map(|new| reset(&app, &link, new))).await;
    let won: Vec<usize> = (0..new.len()).filter(|number| replies[*number].status == 200).collect();
    let events = app
        .log()
        .await
        .count("events", "event_type = 'user.password_reset'")
        .await;
    told!(
        "{engine:?}: {} uses of one link at once, {} set a password, {events} event",
        new.len(),
        won.len()
    );
    assert_eq!((won.len(), events), (1, 1));
    for (number, reply) in replies.iter().enumerate() {
        if number != won[0] {
            reply.refused(410, "invalid-token");
        }
    }
    app.sign_in("ada", &new[won[0]]).await;
}

async fn a_code_sets_a_new_password_and_is_no_code_for_anything_else(engine: Engine) {
    let app = App::start(engine).await;
    let ada = app.with_phone("ada", NUMBER).await;
    ask(&app, json!({ "phone": NUMBER })).await;
    let sms = app.phones().nth_to(NUMBER, 2).await;
    assert_eq!(sms.json["purpose"], "reset-password");
    let code = sms.code();
    let body = json!({ "phone": NUMBER, "code": code });
    app.command("verify-phone", &body)
        .send()
        .await
        .refused(410, "invalid-token");
    let reset = async |code: &str, new: &str| {
        let body = json!({ "phone": NUMBER, "code": code, "new_password": new });
        app.command("reset-password", &body).send().await
    };
    // What is weak for everybody is told before anything is compared, what is the owner's own after.
    for _ in 0..7 {
        assert_eq!(
            reset(&code, "password1").await.refused(400, "invalid"),
            ["/new_password"]
        );
        assert_eq!(
            reset(&code, "6584932466").await.refused(400, "invalid"),
            ["/new_password"]
        );
    }
    for number in 0..4 {
        reset(&sms.wrong(number), OTHER).await.refused(410, "invalid-token");
    }
    let done = reset(&code, OTHER).await;
    assert_eq!(
        (done.status, done.json()["events"].clone()),
        (200, json!(["user.password_reset"]))
    );
    reset(&code, OTHER).await.refused(410, "invalid-token");
    assert_eq!(app.get("/v1/me").bearer(&ada.access).send().await.status, 401);
    app.sign_in(NUMBER, OTHER).await;
    assert_eq!(app.log().await.count("codes", "true").await, 0);
    // A code that verifies a number resets nothing.
    let body = json!({ "username": "eve", "phone": "+6584932467", "password": PASSWORD });
    app.command("register-user", &body).expect(201).await;
    let code = app.phones().to("+6584932467").await.code();
    let body = json!({ "phone": "+6584932467", "code": code, "new_password": OTHER });
    app.command("reset-password", &body)
        .send()
        .await
        .refused(410, "invalid-token");
}

async fn a_password_that_may_not_be_chosen_uses_nothing_up(engine: Engine) {
    let app = App::start(engine).await;
    app.with_email("lovelace").await;
    ask(&app, json!({ "email": "lovelace@farm.example" })).await;
    let link = token(&app, "lovelace", 2).await;
    for weak in ["short", "password1", "Lovelace1815"] {
        // Too like the username, and too like the address.
        let pointers = reset(&app, &link, weak).await.refused(400, "invalid");
        assert!(
            !pointers.is_empty() && pointers.iter().all(|p| p == "/new_password"),
            "{weak}: {pointers:?}"
        );
    }
    // Who has no link learns nothing of its owner.
    reset(&app, "nonsense", "Lovelace1815")
        .await
        .refused(410, "invalid-token");
    assert_eq!(reset(&app, &link, OTHER).await.status, 200);
}

async fn a_token_of_one_kind_opens_nothing_of_another(engine: Engine) {
    let app = App::start(engine).await;
    let body = json!({ "username": "joan", "email": "joan@farm.example", "password": PASSWORD });
    app.command("register-user", &body).expect(201).await;
    let verification = app.mailbox().to("joan@farm.example").await.token().to_owned();
    let ada = app.with_email("ada").await;
    ask(&app, json!({ "email": "ada@farm.example" })).await;
    let reset_link = token(&app, "ada", 2).await;
    let change = json!({ "email": "ada@new.example", "current_password": PASSWORD });
    app.command("request-email-change", &change)
        .bearer(&ada.access)
        .expect(200)
        .await;
    let change = app.mailbox().to("ada@new.example").await.token().to_owned();
    let tokens = [&verification, &reset_link, &change, &ada.access, &ada.refresh];
    let mut log = app.log().await;
    let written = log.written().await;
    let mut tried = 0;
    for (command, own) in [("verify-email", 0), ("reset-password", 1), ("confirm-email-change", 2)] {
        for (which, token) in tokens.iter().enumerate().filter(|(which, _)| *which != own) {
            let mut body = json!({ "token": token });
            if command == "reset-password" {
                body["new_password"] = json!(OTHER);
            }
            let reply = app.command(command, &body).send().await;
            assert_eq!(
                reply.problem().0,
                "invalid-token",
                "{command} with token {which}: {reply:?}"
            );
            tried += 1;
        }
    }
    for token in &tokens[..3] {
        let body = json!({ "refresh_token": token });
        assert_eq!(app.post("/v1/sessions/refresh", &body).send().await.status, 401);
        assert_eq!(app.get("/v1/me").bearer(token).send().await.status, 401);
        tried += 2;
    }
    told!("{engine:?}: {tried} uses of a token for what it is not");
    assert_eq!(log.written().await, written);
    // Each opens what it is for.
    for (command, token) in [("verify-email", &verification), ("confirm-email-change", &change)] {
        app.command(command, &json!({ "token": token })).expect(200).await;
    }
}

async fn a_reset_is_void_once_the_password_or_the_address_changes(engine: Engine) {
    let app = App::start(engine).await;
    let ada = app.with_email("ada").await;
    ask(&app, json!({ "email": "ada@farm.example" })).await;
    let link = token(&app, "ada", 2).await;
    let body = json!({ "current_password": PASSWORD, "new_password": OTHER });
    app.command("change-password", &body)
        .bearer(&ada.access)
        .expect(200)
        .await;
    reset(&app, &link, PASSWORD).await.refused(410, "invalid-token");

    let eve = app.with_email("eve").await;
    ask(&app, json!({ "email": "eve@farm.example" })).await;
    let link = token(&app, "eve", 2).await;
    let change = json!({ "email": "eve@new.example", "current_password": PASSWORD });
    app.command("request-email-change", &change)
        .bearer(&eve.access)
        .expect(200)
        .await;
    let confirm = app.mailbox().to("eve@new.example").await.token().to_owned();
    app.command("confirm-email-change", &json!({ "token": confirm }))
        .expect(200)
        .await;
    reset(&app, &link, OTHER).await.refused(410, "invalid-token");
    app.get("/v1/me").bearer(&eve.access).expect(200).await;
}

/// A number or an address typed wrong is somebody else's: it must not open the account of whoever typed it.
async fn what_nobody_verified_resets_no_account_that_is_proved_otherwise(engine: Engine) {
    let app = App::start(engine).await;
    let ada = app.with_email("ada").await;
    let change = json!({ "phone": NUMBER, "current_password": PASSWORD });
    app.command("change-phone", &change)
        .bearer(&ada.access)
        .expect(200)
        .await;
    app.phones().to(NUMBER).await;
    let body = json!({ "username": "eve", "email": "eve@farm.example", "phone": "+6584932467", "password": PASSWORD });
    app.command("register-user", &body).expect(201).await;
    let code = app.phones().to("+6584932467").await.code();
    let body = json!({ "phone": "+6584932467", "code": code });
    app.command("verify-phone", &body).expect(200).await;
    let mut log = app.log().await;
    let head = log.head().await;
    for (number, body) in [json!({ "phone": NUMBER }), json!({ "email": "eve@farm.example" })]
        .iter()
        .enumerate()
    {
        let call = app.command("request-password-reset", body);
        let reply = call.header("idempotency-key", format!("ask-{number}")).send().await;
        assert_eq!((reply.status, reply.body.as_str()), (202, "{}"));
    }
    assert_eq!(log.head().await, head);
    // Whoever is still pending proves the address with the link, and nothing but the address.
    let body =
        json!({ "username": "joan", "email": "joan@farm.example", "phone": "+6584932468", "password": PASSWORD });
    app.command("register-user", &body).expect(201).await;
    app.mailbox().to("joan@farm.example").await;
    ask(&app, json!({ "email": "joan@farm.example" })).await;
    let link = token(&app, "joan", 2).await;
    let done = reset(&app, &link, OTHER).await;
    assert_eq!(
        done.json()["events"],
        json!(["user.password_reset", "user.email_verified"])
    );
    let joan = app.sign_in("joan", OTHER).await;
    let me = app.get("/v1/me").bearer(&joan.access).expect(200).await;
    assert_eq!(
        (&me["email_verified"], &me["phone_verified"]),
        (&json!(true), &json!(false))
    );
}

async fn the_public_learns_nothing_from_asking_for_a_reset(engine: Engine) {
    let app = App::start(engine).await;
    app.with_email("ada").await;
    app.with_deactivated("gone").await;
    let before = app.mailbox().mails().len();
    let mut rounds = Vec::new();
    for address in [
        "ada@farm.example",
        "gone@farm.example",
        "nobody@farm.example",
        "nobody@unknown.example",
    ] {
        let key = format!("key-of-{address}");
        let mut answers = Vec::new();
        for (header, value, address) in [
            ("x-none", "", address),
            ("if-match", "\"999\"", address),
            ("idempotency-key", key.as_str(), address),
            ("idempotency-key", key.as_str(), address),
            // The key is spent, whoever it was for.
            ("idempotency-key", key.as_str(), "another@farm.example"),
        ] {
            let call = app.command("request-password-reset", &json!({ "email": address }));
            let reply = call.header(header, value).send().await;
            answers.push((reply.status, reply.wire(), reply.steady_headers()));
        }
        rounds.push(answers);
    }
    let statuses: Vec<u16> = rounds[0].iter().map(|(status, ..)| *status).collect();
    assert_eq!(statuses, [202, 202, 202, 202, 422]);
    assert!(rounds.iter().all(|answers| *answers == rounds[0]), "{rounds:#?}");
    app.mailbox().nth_to("ada@farm.example", 4).await;
    let others = app.mailbox().mails().split_off(before);
    assert!(others.iter().all(|mail| mail.to == "ada@farm.example"), "{others:?}");
}

async fn the_page_of_a_reset_changes_nothing_until_its_button(engine: Engine) {
    let app = App::start_with(engine, &[("REGISTRY__PUBLIC_URL", "https://registry.example/")]).await;
    app.with_email("ada").await;
    ask(&app, json!({ "email": "ada@farm.example" })).await;
    let mail = app.mailbox().nth_to("ada@farm.example", 2).await;
    let token = mail.token();
    assert_eq!(
        mail.link(),
        format!("https://registry.example/reset-password?token={token}")
    );
    let mut log = app.log().await;
    let head = log.head().await;
    for path in ["/reset-password", "/confirm-email-change"] {
        let page = app.get(&format!("{path}?token={token}")).send().await;
        assert_eq!(
            (page.status, page.header("content-type")),
            (200, "text/html; charset=utf-8")
        );
        assert!(
            page.body.contains(token) && page.body.contains("method=\"post\""),
            "{}",
            page.body
        );
        assert_eq!(page.body.contains("type=\"password\""), path == "/reset-password");
        assert_eq!(page.header("referrer-policy"), "no-referrer");
        assert!(page.header("content-security-policy").contains("default-src 'none'"));
        for query in ["", "?token=", "?token=%3Cscript%3E", "?token=a&token=b"] {
            let page = app.get(&format!("{path}{query}")).send().await;
            assert!(
                page.status == 410 && !page.body.contains("script"),
                "{path}{query}: {page:?}"
            );
        }
    }
    let press = async |path: &str, body: String| {
        app.call("POST", path)
            .header("content-type", "application/x-www-form-urlencoded")
            .raw(body)
            .send()
            .await
    };
    // A link of another kind, and none at all.
    assert_eq!(
        press("/confirm-email-change", format!("token={token}")).await.status,
        410
    );
    assert_eq!(
        press("/reset-password", format!("new_password={OTHER}")).await.status,
        410
    );
    for weak in ["", "short", "password1", "%3Cb%3Eada"] {
        let page = press("/reset-password", format!("token={token}&new_password={weak}")).await;
        assert_eq!(page.status, 400, "{weak}: {page:?}");
        assert!(page.body.contains(token) && !page.body.contains("<b>"), "{}", page.body);
    }
    assert_eq!(log.head().await, head);
    let new = OTHER.replace(' ', "+");
    assert_eq!(
        press("/reset-password", format!("token={token}&new_password={new}"))
            .await
            .status,
        200
    );
    assert_eq!(log.types_after(head).await, ["user.password_reset"]);
    assert_eq!(
        press("/reset-password", format!("token={token}&new_password={new}"))
            .await
            .status,
        410
    );
    until("the new password", || async {
        let body = json!({ "identifier": "ada", "password": OTHER });
        (app.post("/v1/sessions", &body).send().await.status == 201).then_some(())
    })
    .await;
}
