//! Sections 2.1 and 3.1.

use serde_json::{Value, json};

use super::web::{PASSWORD, Web, activated, claims, link, row, set_cookie};
use crate::harness::{App, Engine, on_both_engines};

on_both_engines![
    every_outcome_of_signing_up_is_the_contracts,
    every_field_is_held_to_its_rule,
    a_device_signs_up_and_in_with_its_secret,
    the_link_of_the_mail_activates_once,
];

async fn every_outcome_of_signing_up_is_the_contracts(engine: Engine) {
    let app = App::start(engine).await;
    let (web, admin) = (Web::python(&app), app.admin().await);
    row("agstack 2.1", "created");
    let body = json!({ "email": "ada@farm.example", "password": PASSWORD, "phone_num": "", "discoverable": "true", "newsletter": "" });
    let reply = web.post("/signup", &body).send().await;
    let user = reply.json()["user_id"].as_str().unwrap().to_owned();
    assert_eq!(
        (reply.status, reply.json()),
        (
            201,
            json!({ "message": "A confirmation email has been sent via email.", "user_id": user })
        )
    );
    assert!(uuid::Uuid::parse_str(&user).is_ok());
    let mail = app.mailbox().to("ada@farm.example").await;
    assert_eq!(mail.subject, "Please confirm your email");
    assert!(
        mail.link().starts_with(&format!("{}/activate/", app.base())),
        "{}",
        mail.link()
    );
    // One pool of accounts; the way it came in stands in the event.
    let account = app
        .get(&format!("/v1/users/{user}"))
        .bearer(&admin.access)
        .expect(200)
        .await;
    assert_eq!(
        (&account["status"], &account["email"]),
        (&json!("pending"), &json!("ada@farm.example"))
    );
    let history = app
        .get(&format!("/v1/users/{user}/history"))
        .bearer(&admin.access)
        .expect(200)
        .await;
    assert_eq!(history["items"][0]["origin"]["dialect"], "agstack");
    let domain = app
        .get("/v1/domains/farm.example")
        .bearer(&admin.access)
        .expect(200)
        .await;
    assert_eq!(
        (&domain["standing"], &domain["authority_token_issued"]),
        (&json!("observed"), &json!(false))
    );

    row("agstack 2.1", "e-mail already registered");
    let exists = "User already exists. Please log in";
    for email in ["ada@farm.example", "ADA@Farm.Example", " ada@farm.example "] {
        web.post("/signup", &json!({ "email": email, "password": PASSWORD }))
            .says(202, exists)
            .await;
    }
    row(
        "agstack 2.1",
        "domain is blocked (`belongs_to` = 1), or the exact e-mail is on the blocked list",
    );
    let not_allowed = "You are not allowed to register.";
    let order = json!({ "domain": "bad.example" });
    app.command("block-domain", &order).bearer(&admin.access).send().await;
    let order = json!({ "address": "eve@good.example" });
    app.command("block-address", &order).bearer(&admin.access).send().await;
    for email in [
        "a@bad.example",
        "a@sub.bad.example",
        "eve@good.example",
        "EVE@good.example",
    ] {
        web.post("/signup", &json!({ "email": email, "password": PASSWORD }))
            .says(401, not_allowed)
            .await;
    }
    web.signs_up("bob@good.example").await;
    // A refused registration makes no domain.
    let reply = app
        .get("/v1/domains/sub.bad.example")
        .bearer(&admin.access)
        .send()
        .await;
    assert_eq!(reply.status, 404);

    row("agstack 2.1", "browser, success");
    let browser = Web::browser(&app);
    let form = [
        ("email", "carl@farm.example"),
        ("password", PASSWORD),
        ("confirm_pass", PASSWORD),
    ];
    let reply = browser.form("/signup", &form).leads_to("/").await;
    assert!(set_cookie(&reply, "flash").is_some());
    browser
        .get("/")
        .shows(200, "A confirmation email has been sent via email.")
        .await;
    browser.form("/signup", &form).shows(202, exists).await;
    let form = [
        ("email", "x@bad.example"),
        ("password", PASSWORD),
        ("confirm_pass", PASSWORD),
    ];
    browser.form("/signup", &form).shows(401, not_allowed).await;
}

async fn every_field_is_held_to_its_rule(engine: Engine) {
    let app = App::start(engine).await;
    let web = Web::python(&app);
    let good = json!({ "email": "ada@farm.example", "password": PASSWORD });
    let with = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body
    };
    row("agstack 2.1", "field validation failed");
    let failed = |errors: Value| json!({ "message": "Form validation failed", "errors": errors });
    web.post("/signup", &json!({}))
        .is(
            400,
            failed(json!({ "email": ["This field is required."], "password": ["This field is required."] })),
        )
        .await;
    row("agstack 2.1", "`email`");
    for email in ["nobody", "a@", "@b.example", "a b@c.example", "a@localhost"] {
        web.post("/signup", &with("email", json!(email)))
            .is(400, failed(json!({ "email": ["Invalid email address."] })))
            .await;
    }
    row("agstack 2.1", "`password`");
    for password in ["Passw0r", "passw0rd", "PASSW0RD", "Password"] {
        web.post("/signup", &with("password", json!(password)))
            .is(
                400,
                failed(json!({ "password": ["Please follow the guidelines for a strong password"] })),
            )
            .await;
    }
    row("agstack 2.1", "`confirm_pass`");
    let mismatch = failed(json!({ "confirm_pass": ["Passwords don't match!"] }));
    web.post("/signup", &with("confirm_pass", json!("Passw0rd1")))
        .is(400, mismatch.clone())
        .await;
    let form = [("email", "ada@farm.example"), ("password", PASSWORD)];
    web.form("/signup", &form)
        .is(400, failed(json!({ "confirm_pass": ["This field is required."] })))
        .await;
    row("agstack 2.1", "`phone_num` or `phone_number`");
    let phone = failed(json!({ "phone_num": ["Please provide a valid phone number (e.g. 921234567890)"] }));
    for (name, number) in [
        ("phone_num", "12345"),
        ("phone_num", "12345678901234567"),
        ("phone_number", "92-1234567"),
        ("phone_number", "abcdefg"),
    ] {
        web.post("/signup", &with(name, json!(number)))
            .is(400, phone.clone())
            .await;
    }
    // What holds, in each of the encodings, with one number for all: it is nobody's name.
    let fields = [
        ("email", "form@farm.example"),
        ("password", PASSWORD),
        ("confirm_pass", PASSWORD),
        ("phone_number", "921234567890"),
    ];
    assert_eq!(web.form("/signup", &fields).send().await.status, 201);
    let fields = [
        ("email", "multi@farm.example"),
        ("password", PASSWORD),
        ("confirm_pass", PASSWORD),
        ("phone_num", "+921234567890"),
    ];
    assert_eq!(web.call("POST", "/signup").multipart(&fields).send().await.status, 201);
    let body = json!({ "email": "digits@farm.example", "password": PASSWORD, "confirm_pass": PASSWORD, "phone_num": 1_234_567_890_123_456_i64 });
    assert_eq!(web.post("/signup", &body).send().await.status, 201);

    row("agstack 2.1", "`discoverable`");
    row("agstack 2.1", "`lat`, `lng`");
    row("agstack 2.1", "`discoverable` but no coordinates");
    row("agstack 2.1", "`newsletter`");
    let admin = app.admin().await;
    for (email, more, discoverable, country) in [
        ("d1@farm.example", json!({}), false, Value::Null),
        (
            "d2@farm.example",
            json!({ "discoverable": true, "lat": "", "lng": "" }),
            false,
            Value::Null,
        ),
        (
            "d3@farm.example",
            json!({ "lat": "1.3521", "lng": 103.8198 }),
            true,
            json!("SG"),
        ),
        (
            "d4@farm.example",
            json!({ "discoverable": "checked", "lat": 1.3521, "lng": 103.8198, "newsletter": "y" }),
            true,
            json!("SG"),
        ),
        (
            "d5@farm.example",
            json!({ "discoverable": "false", "lat": 1.3521, "lng": 103.8198 }),
            false,
            json!("SG"),
        ),
        (
            "d6@farm.example",
            json!({ "discoverable": "0", "lat": 1.3521, "lng": 103.8198 }),
            false,
            json!("SG"),
        ),
    ] {
        let mut body = json!({ "email": email, "password": PASSWORD });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let reply = web.post("/signup", &body).send().await;
        assert_eq!(reply.status, 201, "{reply:?}");
        let path = format!("/v1/users/{}", reply.json()["user_id"].as_str().unwrap());
        let account = app.get(&path).bearer(&admin.access).expect(200).await;
        assert_eq!(
            (&account["discoverable"], &account["country"]),
            (&json!(discoverable), &country),
            "{email}"
        );
    }
    // What is no object, and what no field is.
    for body in ["[]", "null", "{", "\"x\""] {
        let call = web
            .call("POST", "/signup")
            .header("content-type", "application/json")
            .raw(body);
        call.is(400, failed(json!({}))).await;
    }
    web.post("/signup", &with("email", json!(["a@b.example"])))
        .is(400, failed(json!({ "email": ["This field is required."] })))
        .await;
}

async fn a_device_signs_up_and_in_with_its_secret(engine: Engine) {
    let app = App::start(engine).await;
    let web = Web::agent(&app, Some("Dart/3.4 (dart:io)"), "*/*");
    let id = "0123456789abcdef-phone";
    row("agstack 2.1", "header `X-DEVICE-ID`");
    row("agstack 2.1.1", "new id");
    let reply = web
        .post("/signup", &json!({ "email": "not even one" }))
        .header("x-device-id", id)
        .send()
        .await;
    let body = reply.json();
    let (user, secret) = (
        body["user_id"].as_str().unwrap(),
        body["device_secret"].as_str().unwrap(),
    );
    assert_eq!(reply.status, 201);
    let expected =
        json!({ "message": "User created successfully", "device_id": id, "user_id": user, "device_secret": secret });
    assert_eq!(body, expected);
    row("agstack 2.1.1", "id known");
    web.post("/signup", &json!({}))
        .header("x-device-id", id)
        .says(400, "User already exists with this device ID")
        .await;
    for bad in ["short", "a\u{e9}bcdefghijklmnopq", &"x".repeat(257)] {
        web.post("/signup", &json!({}))
            .header("x-device-id", bad)
            .says(400, "Invalid Device ID")
            .await;
    }
    assert_eq!(web.get("/signup").header("x-device-id", id).send().await.status, 405);
    // The id alone signs nobody in.
    for wrong in [
        None,
        Some("nonsense"),
        Some("urd_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
    ] {
        let call = web.call("POST", "/login").header("x-device-id", id);
        let call = match wrong {
            Some(text) => call.header("x-device-secret", text),
            None => call,
        };
        call.says(400, "Invalid Device ID").await;
    }
    let sign_in = || {
        web.call("POST", "/login")
            .header("x-device-id", id)
            .header("x-device-secret", secret)
    };
    let reply = sign_in().send().await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let said = claims(reply.json()["access_token"].as_str().unwrap());
    assert_eq!(
        (&said["domain"], &said["is_activated"], &said["sub"]),
        (&json!("mobile_login"), &json!(true), &json!(user))
    );
    let unknown = web
        .call("GET", "/")
        .header("x-device-id", "fedcba9876543210")
        .header("x-device-secret", secret);
    unknown.says(400, "Invalid Device ID").await;
    // Stored as a keyed hash.
    let mut log = app.log().await;
    assert!(!log.texts("SELECT devices FROM users").await.concat().contains(id));
}

async fn the_link_of_the_mail_activates_once(engine: Engine) {
    let app = App::start(engine).await;
    let web = Web::python(&app);
    web.signs_up("ada@farm.example").await;
    web.signs_up("bob@farm.example").await;
    let path = link(&app, "ada@farm.example", 1).await;
    let (before, _) = web.logs_in("ada@farm.example").await;
    assert_eq!(claims(&before)["is_activated"], json!(false));
    row(
        "agstack 3.1",
        "token belongs to another address, or is expired/garbage (R compares an exception object with the address)",
    );
    let invalid = "Invalid activation link!";
    let (bob, _) = web.logs_in("bob@farm.example").await;
    web.get(&path).bearer(&bob).says(400, invalid).await;
    for garbage in [
        "/activate/x",
        "/activate/%00",
        "/activate/null",
        &format!("{path}A"),
        &path.replace("/activate/", "/activate/A"),
    ] {
        web.get(garbage).says(400, invalid).await;
    }
    // Looking at a link is not opening it.
    assert_eq!(web.call("HEAD", &path).send().await.status, 200);
    row("agstack 3.1", "success");
    let activated_text = "You have activated your account. API Keys are shared via email. Thanks!";
    web.get(&path).says(200, activated_text).await;
    let (after, _) = web.logs_in("ada@farm.example").await;
    assert_eq!(claims(&after)["is_activated"], json!(true));
    let mail = app.mailbox().nth_to("ada@farm.example", 2).await;
    assert_eq!(mail.subject, "API Keys");
    let of = |name: &str| {
        let line = mail.text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{}", mail.text)).to_owned()
    };
    let (api_key, client_secret) = (of("API Key: "), of("Client Secret: "));
    web.get("/verify-api-secret-keys")
        .header("api-key", &api_key)
        .header("client-secret", &client_secret)
        .is(200, json!({ "message": true }))
        .await;
    assert_eq!(claims(&client_secret)["sub"], json!("farm.example"));
    row("agstack 3.1", "already active");
    web.get(&path).says(200, "Account already activated.").await;
    assert_eq!(
        app.mailbox()
            .mails()
            .iter()
            .filter(|mail| mail.subject == "API Keys")
            .count(),
        1
    );
    // A canonical client may use the account now.
    app.sign_in("ada@farm.example", PASSWORD).await;

    row("agstack 3.1", "lookup failure");
    let path = link(&app, "bob@farm.example", 1).await;
    let admin = app.admin().await;
    let user = claims(&bob)["sub"].clone();
    let order = json!({ "user_id": user, "reason": "asked for" });
    app.command("erase-user", &order)
        .bearer(&admin.access)
        .expect(200)
        .await;
    web.get(&path)
        .says(400, "The confirmation link is invalid or has expired.")
        .await;
    row("agstack 1.5", "user of the token deleted");
    web.get("/home").bearer(&bob).says(401, "Need to Login.").await;

    // A browser is sent on.
    let browser = Web::browser(&app);
    web.signs_up("carl@farm.example").await;
    let path = link(&app, "carl@farm.example", 1).await;
    browser.get(&path).leads_to("/logout").await;
    browser.get("/logout").leads_to("/").await;
    browser.get(&path).leads_to("/").await;
    browser.get("/").shows(200, "Account already activated.").await;

    // Sending the link again.
    activated(&app, &web, "dora@farm.example").await;
    let (dora, refresh) = web.logs_in("dora@farm.example").await;
    web.get("/resend")
        .bearer(&dora)
        .says(200, "Account already activated.")
        .await;
    web.get("/resend")
        .bearer(&refresh)
        .says(200, "Account already activated.")
        .await;
    web.signs_up("emil@farm.example").await;
    let (emil, _) = web.logs_in("emil@farm.example").await;
    web.get("/resend")
        .bearer(&emil)
        .says(200, "A new confirmation email has been sent.")
        .await;
    assert_eq!(
        link(&app, "emil@farm.example", 1).await,
        link(&app, "emil@farm.example", 2).await
    );
    web.get("/resend").says(401, "Need to Login.").await;
}
