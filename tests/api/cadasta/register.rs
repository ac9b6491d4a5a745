//! Sections 4, 4.1 and 6: registering and activating.

use serde_json::{Value, json};

use super::{detail, link};
use crate::harness::{App, Engine, Reply, on_both_engines};
use crate::trio::{STRONG, is};

on_both_engines![
    registering_makes_an_account_that_waits_for_its_mail,
    every_field_has_its_messages,
    every_rule_of_a_password_has_its_message,
    activating_has_an_answer_for_every_row,
    of_two_who_register_one_name_at_once_one_is_told,
];

async fn register(app: &App, body: &Value) -> Reply {
    app.ask("POST", "/api/v1/account/register/", body).await
}

/// A registration with one field another.
fn with(field: &str, value: Value) -> Value {
    let mut body = json!({ "username": "imagine71", "email": "john@beatles.uk", "password": "iloveyoko79!" });
    body[field] = value;
    body
}

async fn registering_makes_an_account_that_waits_for_its_mail(engine: Engine) {
    let app = App::start(engine).await;
    // row("cadasta 4", "ok")
    // row("cadasta 4", "`username`")
    // row("cadasta 4", "`full_name`")
    // row("cadasta 4", "`email`")
    // row("cadasta 4", "`password`")
    // row("cadasta 4", "`email_verified`")
    // row("cadasta 10", "C1")
    let body = json!({
        "username": "j_smith",
        "full_name": " Joe Smith ",
        "email": "joe.smith@Example.com",
        "password": "iloveyoko79!",
        "email_verified": true,
        "phone_verified": true,
        "is_superuser": true,
        "last_login": "2016-10-20T19:20:27.848272Z",
    });
    let reply = register(&app, &body).await;
    let expected = json!({
        "username": "j_smith",
        "full_name": "Joe Smith",
        "email": "joe.smith@example.com",
        "email_verified": false,
    });
    is(&reply, 201, &expected);
    assert_eq!(
        reply.body,
        r#"{"username":"j_smith","full_name":"Joe Smith","email":"joe.smith@example.com","email_verified":false}"#
    );
    let mail = app.mailbox().to("joe.smith@example.com").await;
    let (uid, token) = link(&mail);
    assert!(
        mail.link().ends_with(&format!("/account/activate/{uid}/{token}/")),
        "{}",
        mail.link()
    );
    // Nobody is logged in by it.
    let mut log = app.log().await;
    assert_eq!(log.count("sessions", "true").await, 0);
    // Without the optional fields, and with every character a name may have.
    let mut body = with("username", json!("Ab1@.+-_"));
    body["email"] = json!("other@beatles.uk");
    let reply = register(&app, &body).await;
    assert_eq!(
        (reply.status, &reply.json()["full_name"]),
        (201, &json!("")),
        "{}",
        reply.body
    );
    let mut body = with("username", json!("j\u{f6}rg"));
    body["email"] = json!("jorg@beatles.uk");
    assert_eq!(register(&app, &body).await.status, 201);
}

async fn every_field_has_its_messages(engine: Engine) {
    let app = App::start(engine).await;
    let required = json!(["This field is required."]);
    let blank = json!(["This field may not be blank."]);
    let nothing = json!(["This field may not be null."]);
    let no_text = json!(["Not a valid string."]);
    // row("cadasta 4", "field missing")
    // row("cadasta 4", "invalid")
    let reply = register(&app, &json!({})).await;
    is(
        &reply,
        400,
        &json!({ "username": required, "email": required, "password": required }),
    );
    for field in ["username", "email", "password"] {
        // row("cadasta 4", "empty / blanks")
        for value in ["", "   "] {
            is(
                &register(&app, &with(field, json!(value))).await,
                400,
                &json!({ field: blank }),
            );
        }
        // row("cadasta 4", "null")
        is(
            &register(&app, &with(field, Value::Null)).await,
            400,
            &json!({ field: nothing }),
        );
        // row("cadasta 4", "not a string (object, list, bool)")
        for value in [json!({}), json!(["a"]), json!(true)] {
            is(
                &register(&app, &with(field, value)).await,
                400,
                &json!({ field: no_text }),
            );
        }
    }
    // row("cadasta 4", "too long")
    let long = json!(["Ensure this field has no more than 30 characters."]);
    is(
        &register(&app, &with("username", json!("a".repeat(31)))).await,
        400,
        &json!({ "username": long }),
    );
    // row("cadasta 4", "bad characters")
    let bad = "Enter a valid username. This value may contain only letters, numbers and @/./+/-/_ characters.";
    for name in ["joe smith", "joe!", "joe/smith", "<joe>"] {
        is(
            &register(&app, &with("username", json!(name))).await,
            400,
            &json!({ "username": [bad] }),
        );
    }
    // row("cadasta 4", "reserved")
    for name in ["add", "ADD", "New"] {
        let text = "Username cannot be \u{201c}add\u{201d} or \u{201c}new\u{201d}.";
        is(
            &register(&app, &with("username", json!(name))).await,
            400,
            &json!({ "username": [text] }),
        );
    }
    // row("cadasta 9", "reserved usernames (any case)")
    for name in [
        "verify",
        "Forget_Password",
        "recover_password",
        "resend_verify",
        "check_sms_token",
        "ME",
    ] {
        let text = "This username is not available.";
        is(
            &register(&app, &with("username", json!(name))).await,
            400,
            &json!({ "username": [text] }),
        );
        let body = json!({ "username": name, "password": STRONG });
        app.command("register-user", &body).send().await.refused(400, "invalid");
    }
    // row("cadasta 4", "bad address")
    for address in ["john", "john@", "@beatles.uk", "john lennon@beatles.uk", "john@beatles"] {
        let text = "Enter a valid email address.";
        is(
            &register(&app, &with("email", json!(address))).await,
            400,
            &json!({ "email": [text] }),
        );
    }
    // row("cadasta 4", "HTML tag, emoji, or first character one of `+ - = @`")
    let unclean = json!(["Input can not contain HTML tags, emojis or start with any of + - = and @."]);
    for name in ["<b>Joe</b>", "Joe \u{1f600}", "=Joe", "+Joe", "-Joe", "@Joe"] {
        is(
            &register(&app, &with("full_name", json!(name))).await,
            400,
            &json!({ "full_name": unclean }),
        );
    }
    for name in ["+joe", "-joe", "@joe"] {
        is(
            &register(&app, &with("username", json!(name))).await,
            400,
            &json!({ "username": unclean }),
        );
    }
    // Numbers become text.
    assert_eq!(register(&app, &with("username", json!(712_345))).await.status, 201);
    // row("cadasta 4", "taken, same spelling")
    // row("cadasta 4", "taken, other case")
    // row("cadasta 4", "taken")
    let mut body = with("username", json!("Imagine71"));
    body["email"] = json!("john2@beatles.uk");
    assert_eq!(register(&app, &body).await.status, 201);
    for (name, address) in [("Imagine71", "john2@beatles.uk"), ("imagine71", "JOHN2@beatles.uk")] {
        let mut body = with("username", json!(name));
        body["email"] = json!(address);
        let expected = json!({
            "username": ["A user with that username already exists."],
            "email": ["Another user is already registered with this email address"],
        });
        is(&register(&app, &body).await, 400, &expected);
    }
}

async fn every_rule_of_a_password_has_its_message(engine: Engine) {
    let app = App::start(engine).await;
    let short = "This password is too short. It must contain at least 10 characters.";
    let common = "This password is too common.";
    let numeric = "This password is entirely numeric.";
    let kinds = "Passwords must contain at least 3 of the following 4 character types:\nlowercase characters, \
                 uppercase characters, special characters, and/or numerical character.\n";
    let email = "Passwords cannot contain your email.";
    let username = "The password is too similar to the username.";
    for (name, password, texts) in [
        // row("cadasta 4.1", "length ≥ 10")
        ("imagine71", "yoko<3X", &[short][..]),
        // row("cadasta 4.1", "not one of the common passwords")
        // row("cadasta 4.1", "not only digits")
        ("imagine71", "1234567890", &[common, numeric, kinds]),
        // row("cadasta 4.1", "≥ 3 of 4 classes (lower, upper, ASCII punctuation, digit)")
        ("imagine71", "iloveyoko79", &[kinds]),
        // row("cadasta 4.1", "must not contain the local part of the e-mail, ignoring case")
        ("imagine71", "JOHNisjustheBest!!", &[email]),
        // row("cadasta 4.1", "must not contain the username, ignoring case")
        ("yoko79", "iloveYOKO79!", &[username]),
    ] {
        let mut body = with("password", json!(password));
        body["username"] = json!(name);
        is(&register(&app, &body).await, 400, &json!({ "password": texts }));
    }
    // An empty name or address triggers neither of the last two.
    let mut body = with("username", json!(""));
    body["email"] = json!("");
    let blank = ["This field may not be blank."];
    is(
        &register(&app, &body).await,
        400,
        &json!({ "username": blank, "email": blank }),
    );
    // The document's own sample; blanks around a password are its own.
    assert_eq!(
        register(&app, &with("password", json!("iloveyoko79!"))).await.status,
        201
    );
}

async fn activating_has_an_answer_for_every_row(engine: Engine) {
    let app = App::start(engine).await;
    let path = "/api/v1/account/activate/";
    assert_eq!(register(&app, &with("username", json!("imagine71"))).await.status, 201);
    let (uid, token) = link(&app.mailbox().to("john@beatles.uk").await);
    // row("cadasta 6", "missing")
    let required = ["This field is required."];
    is(
        &app.ask("POST", path, &json!({})).await,
        400,
        &json!({ "uid": required, "token": required }),
    );
    // row("cadasta 6", "uid not decodable or no such user")
    // row("cadasta 10", "C7")
    let nobody = json!({ "uid": ["Invalid user id or user doesn't exist."] });
    for wrong in ["MQ", "%%", "NDEy"] {
        let body = json!({ "uid": wrong, "token": token });
        is(&app.ask("POST", path, &body).await, 400, &nobody);
    }
    // row("cadasta 6", "token wrong, expired, for another purpose/address")
    let invalid = json!({ "non_field_errors": ["Invalid token for given user."] });
    let asked = app
        .ask(
            "POST",
            "/api/v1/account/password/reset/",
            &json!({ "email": "john@beatles.uk" }),
        )
        .await;
    assert_eq!(asked.status, 200);
    let (_, reset) = link(&app.mailbox().nth_to("john@beatles.uk", 2).await);
    for wrong in ["x", &reset, &token[1..]] {
        is(
            &app.ask("POST", path, &json!({ "uid": uid, "token": wrong })).await,
            400,
            &invalid,
        );
    }
    // row("cadasta 6", "ok")
    let reply = app
        .ask("POST", path, &json!({ "uid": format!("{uid}=="), "token": token }))
        .await;
    is(&reply, 200, &json!({}));
    // row("cadasta 6", "already active and token already used")
    let reply = app.ask("POST", path, &json!({ "uid": uid, "token": token })).await;
    is(&reply, 403, &detail("Stale token for given user."));
    // The page behind the link of the mail does the same, and only when its button is pressed.
    let mut body = with("username", json!("yoko"));
    body["email"] = json!("yoko@beatles.uk");
    body["password"] = json!(STRONG);
    assert_eq!(register(&app, &body).await.status, 201);
    let mail = app.mailbox().to("yoko@beatles.uk").await;
    let place = mail.link().strip_prefix(app.base()).unwrap().to_owned();
    let page = app.get(&place).send().await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("<form method=\"post\">"), "{}", page.body);
    let unverified = json!({ "username": "yoko", "password": STRONG });
    assert_eq!(app.ask("POST", "/api/v1/account/login/", &unverified).await.status, 400);
    assert_eq!(app.call("POST", &place).send().await.status, 200);
    app.cadasta_key("yoko").await;
    assert_eq!(app.get("/account/activate/x/y/").send().await.status, 410);
}

async fn of_two_who_register_one_name_at_once_one_is_told(engine: Engine) {
    let app = App::start(engine).await;
    // row("cadasta 10", "C6")
    let body = with("username", json!("imagine71"));
    let mut same = with("username", json!("IMAGINE71"));
    same["email"] = json!("JOHN@beatles.uk");
    let (one, other) = tokio::join!(register(&app, &body), register(&app, &same));
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 400]);
    let refused = if one.status == 400 { one } else { other };
    let expected = json!({
        "username": ["A user with that username already exists."],
        "email": ["Another user is already registered with this email address"],
    });
    is(&refused, 400, &expected);
}
