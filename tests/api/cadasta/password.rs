//! Section 7: changing a password, and setting another one by mail.

use serde_json::{Value, json};

use super::{detail, link};
use crate::harness::{App, Engine, Reply, on_both_engines};
use crate::trio::{STRONG, is, is_empty};

on_both_engines![
    changing_a_password_has_an_answer_for_every_row,
    asking_for_a_reset_has_an_answer_for_every_row,
    a_setting_keeps_from_strangers_who_has_an_account,
    setting_another_password_has_an_answer_for_every_row,
];

const NEW: &str = "Eight-blue-goats-5";
const INVALID: &str = "Invalid token for given user.";
const MISMATCH: &str = "The two password fields didn't match.";

fn weak() -> Value {
    json!([
        "This password is too short. It must contain at least 10 characters.",
        "Passwords must contain at least 3 of the following 4 character types:\nlowercase characters, uppercase \
         characters, special characters, and/or numerical character.\n",
    ])
}

async fn change(app: &App, key: &str, body: &Value) -> Reply {
    let call = app.call("POST", "/api/v1/account/password/");
    call.header("authorization", format!("Token {key}"))
        .json(body)
        .send()
        .await
}

fn three(new: &str, again: &str, current: &str) -> Value {
    json!({ "new_password": new, "re_new_password": again, "current_password": current })
}

async fn changing_a_password_has_an_answer_for_every_row(engine: Engine) {
    let app = App::start(engine).await;
    let key = app.cadasta_user("ada").await;
    let other = app.cadasta_key("ada").await;
    // row("cadasta 7.1", "missing/blank")
    let required = ["This field is required."];
    let expected = json!({ "new_password": required, "re_new_password": required, "current_password": required });
    is(&change(&app, &key, &json!({})).await, 400, &expected);
    let blank = ["This field may not be blank."];
    let expected = json!({ "new_password": blank, "re_new_password": blank, "current_password": blank });
    is(&change(&app, &key, &three("", "", "")).await, 400, &expected);
    // row("cadasta 7.1", "wrong current")
    let wrong = json!({ "current_password": ["Invalid password."] });
    is(&change(&app, &key, &three(NEW, NEW, "wrong")).await, 400, &wrong);
    // What is wrong with one field hides what is wrong with two together.
    is(&change(&app, &key, &three(NEW, "else", "wrong")).await, 400, &wrong);
    // row("cadasta 7.1", "mismatch")
    let mismatch = json!({ "non_field_errors": [MISMATCH] });
    is(&change(&app, &key, &three(NEW, "else", STRONG)).await, 400, &mismatch);
    // row("cadasta 7.1", "weak")
    is(
        &change(&app, &key, &three("zgoatsq", "zgoatsq", STRONG)).await,
        400,
        &json!({ "new_password": weak() }),
    );
    let both = json!({ "new_password": weak(), "current_password": ["Invalid password."] });
    is(
        &change(&app, &key, &three("zgoatsq", "zgoatsq", "wrong")).await,
        400,
        &both,
    );
    // row("cadasta 7.1", "no token")
    let reply = app
        .ask("POST", "/api/v1/account/password/", &three(NEW, NEW, STRONG))
        .await;
    is(&reply, 401, &detail("Authentication credentials were not provided."));
    // row("cadasta 7.1", "ok")
    is_empty(&change(&app, &key, &three(NEW, NEW, STRONG)).await, 200);
    let get = |key: &str| {
        app.get("/api/v1/account/")
            .header("authorization", format!("Token {key}"))
            .send()
    };
    assert_eq!(get(&key).await.status, 201);
    is(&get(&other).await, 401, &detail("Invalid token."));
    let notice = app.mailbox().nth_to("ada@farm.example", 2).await;
    assert_eq!(notice.subject, "Change of password at Cadasta Platform");
}

async fn asking_for_a_reset_has_an_answer_for_every_row(engine: Engine) {
    let app = App::start(engine).await;
    app.cadasta_user("ada").await;
    let path = "/api/v1/account/password/reset/";
    // row("cadasta 7.2", "sent")
    is_empty(
        &app.ask("POST", path, &json!({ "email": "ADA@farm.example" })).await,
        200,
    );
    let mail = app.mailbox().nth_to("ada@farm.example", 2).await;
    let (uid, token) = link(&mail);
    assert!(
        mail.link()
            .ends_with(&format!("/account/password/reset/confirm/{uid}/{token}")),
        "{}",
        mail.link()
    );
    // row("cadasta 7.2", "not an address")
    let reply = app.ask("POST", path, &json!({ "email": "ada" })).await;
    is(&reply, 400, &json!({ "email": ["Enter a valid email address."] }));
    // row("cadasta 7.2", "missing/blank")
    let reply = app.ask("POST", path, &json!({})).await;
    is(&reply, 400, &json!({ "email": ["This field is required."] }));
    let reply = app.ask("POST", path, &json!({ "email": " " })).await;
    is(&reply, 400, &json!({ "email": ["This field may not be blank."] }));
    // row("cadasta 7.2", "nobody has this address")
    let nobody = json!({ "email": ["User with given email does not exist."] });
    let reply = app.ask("POST", path, &json!({ "email": "eve@farm.example" })).await;
    is(&reply, 400, &nobody);
    // Whoever was deactivated is nobody.
    let admin = app.admin().await;
    let found = app.get("/v1/users?q=ada").bearer(&admin.access).expect(200).await;
    let body = json!({ "user_id": found["items"][0]["id"] });
    app.command("deactivate-user", &body)
        .bearer(&admin.access)
        .expect(200)
        .await;
    is(
        &app.ask("POST", path, &json!({ "email": "ada@farm.example" })).await,
        400,
        &nobody,
    );
}

async fn a_setting_keeps_from_strangers_who_has_an_account(engine: Engine) {
    let settings = [("REGISTRY__CADASTA__PASSWORD_RESET_SHOW_EMAIL_NOT_FOUND", "false")];
    let app = App::start_with(engine, &settings).await;
    let body = json!({ "email": "eve@farm.example" });
    is_empty(&app.ask("POST", "/api/v1/account/password/reset/", &body).await, 200);
    assert!(app.mailbox().mails().is_empty());
}

async fn setting_another_password_has_an_answer_for_every_row(engine: Engine) {
    let app = App::start(engine).await;
    let key = app.cadasta_user("ada").await;
    let (verify_uid, verify) = link(&app.mailbox().to("ada@farm.example").await);
    let ask = json!({ "email": "ada@farm.example" });
    app.ask("POST", "/api/v1/account/password/reset/", &ask).await;
    let (uid, token) = link(&app.mailbox().nth_to("ada@farm.example", 2).await);
    assert_eq!(uid, verify_uid);
    let path = "/api/v1/account/password/reset/confirm/";
    let four = |uid: &str, token: &str, new: &str, again: &str| json!({ "uid": uid, "token": token, "new_password": new, "re_new_password": again });
    // row("cadasta 7.3", "missing")
    let required = ["This field is required."];
    let expected = json!({ "uid": required, "token": required, "new_password": required, "re_new_password": required });
    is(&app.ask("POST", path, &json!({})).await, 400, &expected);
    // row("cadasta 7.3", "bad uid / unknown user")
    let nobody = json!({ "uid": ["Invalid user id or user doesn't exist."] });
    is(
        &app.ask("POST", path, &four("MQ", &token, "weak", "else")).await,
        400,
        &nobody,
    );
    // row("cadasta 7.3", "weak")
    let reply = app.ask("POST", path, &four(&uid, "x", "zgoatsq", "else")).await;
    is(&reply, 400, &json!({ "new_password": weak() }));
    // row("cadasta 7.3", "mismatch")
    let reply = app.ask("POST", path, &four(&uid, "x", NEW, "else")).await;
    is(&reply, 400, &json!({ "non_field_errors": [MISMATCH] }));
    // row("cadasta 7.3", "bad/expired/used token")
    let invalid = json!({ "non_field_errors": [INVALID] });
    for wrong in ["x", &verify] {
        is(
            &app.ask("POST", path, &four(&uid, wrong, NEW, NEW)).await,
            400,
            &invalid,
        );
    }
    // Like the owner's own data: told only to whoever holds the link.
    let like = "Farm-goats-ADA-7";
    is(
        &app.ask("POST", path, &four(&uid, "x", like, like)).await,
        400,
        &invalid,
    );
    let reply = app.ask("POST", path, &four(&uid, &token, like, like)).await;
    let texts = [
        "Passwords cannot contain your email.",
        "The password is too similar to the username.",
    ];
    is(&reply, 400, &json!({ "new_password": texts }));
    // row("cadasta 7.3", "ok")
    is_empty(&app.ask("POST", path, &four(&uid, &token, NEW, NEW)).await, 200);
    is(
        &app.ask("POST", path, &four(&uid, &token, NEW, NEW)).await,
        400,
        &invalid,
    );
    let reply = app
        .get("/api/v1/account/")
        .header("authorization", format!("Token {key}"))
        .send()
        .await;
    is(&reply, 401, &detail("Invalid token."));
    app.sign_in("ada", NEW).await;
    // A reset proves the mailbox of somebody who was never verified.
    let body = json!({ "username": "joe", "email": "joe@farm.example", "password": STRONG });
    app.ask("POST", "/api/v1/account/register/", &body).await;
    app.ask(
        "POST",
        "/api/v1/account/password/reset/",
        &json!({ "email": "joe@farm.example" }),
    )
    .await;
    let mail = app.mailbox().nth_to("joe@farm.example", 2).await;
    // The page behind the link.
    let place = mail.link().strip_prefix(app.base()).unwrap().to_owned();
    assert_eq!(app.get(&place).send().await.status, 200);
    let post = |password: &str| {
        let call = app
            .call("POST", &place)
            .header("content-type", "application/x-www-form-urlencoded");
        call.raw(format!("new_password={password}")).send()
    };
    assert_eq!(post("zgoatsq").await.status, 400);
    assert_eq!(post(STRONG).await.status, 200);
    assert_eq!(post(STRONG).await.status, 410);
    app.cadasta_key("joe").await;
}
