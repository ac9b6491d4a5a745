//! The Xhoppe dialect, row by row of its contract.

mod recovery;

use serde_json::{Value, json};

use crate::harness::{App, Engine, Reply, on_both_engines};
use crate::trio::{STRONG, is};

on_both_engines![
    registering_has_an_answer_for_every_row,
    numbers_are_compared_without_their_grouping,
    verifying_has_an_answer_for_every_row,
    a_handle_stands_for_the_account_that_registered,
    a_bare_code_is_behind_its_limits,
    the_bare_form_can_be_switched_off,
    a_locked_user_is_valid_for_nothing,
    only_an_active_account_is_valid_for_authentication,
    too_many_wrong_passwords_end_no_token,
    signing_in_and_changing_the_password,
    a_code_sent_again_is_always_answered_alike,
    common_passwords_are_refused_where_a_setting_says_so,
    a_number_is_found_as_it_is_shown,
];

const NUMBER: &str = "84932466";

/// What is wrong with fields.
pub fn invalid(errors: &Value) -> Value {
    json!({ "error": "Invalid resource. Please fix errors and try again.", "errors": errors })
}

pub async fn register(app: &App, msisdn: &str) -> Reply {
    let body = json!({ "msisdn": msisdn, "password": STRONG, "password_confirmation": STRONG });
    app.ask("POST", "/api/v1/users", &body).await
}

async fn verify(app: &App, body: &Value) -> Reply {
    app.ask("POST", "/api/v1/users/verify", body).await
}

async fn registering_has_an_answer_for_every_row(engine: Engine) {
    let app = App::start(engine).await;
    let path = "/api/v1/users";
    // row("xhoppe 2", "ok")
    let body = json!({ "msisdn": NUMBER, "password": "12345678", "password_confirmation": "12345678" });
    let reply = app.ask("POST", path, &body).await;
    is(
        &reply,
        201,
        &json!({ "msisdn": NUMBER, "valid_for_authentication": false }),
    );
    // row("xhoppe 2", "number already registered")
    let taken = invalid(&json!({ "msisdn": ["has already been taken"] }));
    is(&app.ask("POST", path, &body).await, 422, &taken);
    // row("xhoppe 2", "`msisdn` missing/empty")
    // row("xhoppe 2", "`password` missing/empty")
    // row("xhoppe 2", "confirmation missing/empty")
    // row("xhoppe 2", "several problems")
    let blank = ["can't be blank"];
    let all = invalid(&json!({ "msisdn": blank, "password": blank, "password_confirmation": blank }));
    for body in [
        json!({}),
        json!({ "msisdn": "", "password": "", "password_confirmation": "" }),
    ] {
        is(&app.ask("POST", path, &body).await, 422, &all);
    }
    let with = |field: &str, value: Value| {
        let mut body = json!({ "msisdn": "84932467", "password": "12345678", "password_confirmation": "12345678" });
        body[field] = value;
        body
    };
    // row("xhoppe 2", "`msisdn` malformed")
    for number in [
        json!("12345"),
        json!("1234567890123456"),
        json!("8493x467"),
        json!(true),
        json!(["1"]),
    ] {
        let reply = app.ask("POST", path, &with("msisdn", number)).await;
        is(&reply, 422, &invalid(&json!({ "msisdn": ["is invalid"] })));
    }
    // row("xhoppe 2", "shorter than 8")
    let mut short = with("password", json!("1234567"));
    short["password_confirmation"] = json!("1234567");
    let text = "is too short (minimum is 8 characters)";
    is(
        &app.ask("POST", path, &short).await,
        422,
        &invalid(&json!({ "password": [text] })),
    );
    // row("xhoppe 2", "longer than 128")
    let mut long = with("password", json!("x".repeat(129)));
    long["password_confirmation"] = json!("x".repeat(129));
    let text = "is too long (maximum is 128 characters)";
    is(
        &app.ask("POST", path, &long).await,
        422,
        &invalid(&json!({ "password": [text] })),
    );
    // row("xhoppe 2", "confirmation differs")
    let reply = app
        .ask("POST", path, &with("password_confirmation", json!("12345679")))
        .await;
    is(
        &reply,
        422,
        &invalid(&json!({ "password_confirmation": ["doesn't match Password"] })),
    );
    // A number as a number, in a form, or without a label.
    let reply = app.ask("POST", path, &with("msisdn", json!(84_932_467))).await;
    is(
        &reply,
        201,
        &json!({ "msisdn": "84932467", "valid_for_authentication": false }),
    );
    let call = app
        .call("POST", path)
        .header("content-type", "application/x-www-form-urlencoded");
    let form = "msisdn=84932468&password=12345678&password_confirmation=12345678";
    assert_eq!(call.raw(form).send().await.status, 201);
    let body = with("msisdn", json!("84932469")).to_string();
    assert_eq!(app.call("POST", path).raw(body).send().await.status, 201);
    for wrong in ["{", "[]", "\"x\"", "7"] {
        let call = app.call("POST", path).header("content-type", "application/json");
        is(
            &call.raw(wrong).send().await,
            400,
            &json!({ "error": "Malformed request." }),
        );
    }
}

async fn numbers_are_compared_without_their_grouping(engine: Engine) {
    let app = App::start_with(engine, &[("REGISTRY__XHOPPE__DEFAULT_COUNTRY_CODE", "65")]).await;
    let reply = register(&app, "8493-2466").await;
    is(
        &reply,
        201,
        &json!({ "msisdn": "8493-2466", "valid_for_authentication": false }),
    );
    let code = app.phones().to("+6584932466").await.code();
    for other in ["84932466", "+6584932466", "0065 8493 2466", "(8493) 2466"] {
        let taken = invalid(&json!({ "msisdn": ["has already been taken"] }));
        is(&register(&app, other).await, 422, &taken);
    }
    let reply = verify(&app, &json!({ "msisdn": "+65 84932466", "code": code })).await;
    assert_eq!((reply.status, &reply.json()["msisdn"]), (200, &json!("8493-2466")));
}

async fn verifying_has_an_answer_for_every_row(engine: Engine) {
    let app = App::start(engine).await;
    register(&app, NUMBER).await;
    let sms = app.phones().to(NUMBER).await;
    let code = sms.code();
    assert_eq!(code.len(), 6);
    // row("xhoppe 3", "`code` missing/empty")
    for body in [
        json!({}),
        json!({ "code": "" }),
        json!({ "code": null }),
        json!({ "msisdn": NUMBER }),
    ] {
        is(
            &verify(&app, &body).await,
            422,
            &invalid(&json!({ "code": ["can't be blank"] })),
        );
    }
    // row("xhoppe 3", "wrong code")
    let wrong = invalid(&json!({ "code": ["is invalid"] }));
    for body in [
        json!({ "code": sms.wrong(0) }),
        json!({ "msisdn": NUMBER, "code": sms.wrong(0) }),
        json!({ "msisdn": NUMBER, "code": "12345" }),
        json!({ "msisdn": NUMBER, "code": "abcdef" }),
        json!({ "msisdn": NUMBER, "code": [code] }),
    ] {
        is(&verify(&app, &body).await, 422, &wrong);
    }
    // The mistake stands under the name the request gave its code.
    for name in ["sms_confirmation_token", "verification_code"] {
        let expected = invalid(&json!({ name: ["is invalid"] }));
        is(
            &verify(&app, &json!({ "msisdn": NUMBER, name: sms.wrong(1) })).await,
            422,
            &expected,
        );
        is(
            &verify(&app, &json!({ name: "" })).await,
            422,
            &invalid(&json!({ name: ["can't be blank"] })),
        );
    }
    // row("xhoppe 3", "`msisdn` given but unknown")
    is(
        &verify(&app, &json!({ "msisdn": "84932499", "code": code })).await,
        422,
        &wrong,
    );
    // row("xhoppe 3", "code expired (10 minutes, R), or superseded by a newer SMS, or burnt by too many attempts")
    let late = invalid(&json!({ "code": ["is expired"] }));
    let resend = app
        .ask("POST", "/api/v1/users/resend_verify", &json!({ "msisdn": NUMBER }))
        .await;
    assert_eq!(resend.status, 200);
    let newer = app.phones().nth_to(NUMBER, 2).await;
    is(
        &verify(&app, &json!({ "msisdn": NUMBER, "code": code })).await,
        422,
        &late,
    );
    is(&verify(&app, &json!({ "code": code })).await, 422, &wrong);
    for number in 0..4 {
        let body = json!({ "msisdn": NUMBER, "code": newer.wrong(number + 7) });
        is(&verify(&app, &body).await, 422, &wrong);
    }
    // The superseded one above counted too: that was the fifth.
    is(
        &verify(&app, &json!({ "msisdn": NUMBER, "code": newer.code() })).await,
        422,
        &late,
    );
    is(&verify(&app, &json!({ "code": newer.code() })).await, 422, &wrong);
    app.ask("POST", "/api/v1/users/resend_verify", &json!({ "msisdn": NUMBER }))
        .await;
    let last = app.phones().nth_to(NUMBER, 3).await.code();
    // row("xhoppe 3", "ok")
    let spaced = format!(" {} {}", &last[..3], &last[3..]);
    let reply = verify(&app, &json!({ "code": spaced })).await;
    let token = reply.json()["authentication_token"].as_str().unwrap().to_owned();
    assert!(token.len() >= 20);
    let expected = json!({ "msisdn": NUMBER, "authentication_token": token, "valid_for_authentication": true });
    is(&reply, 200, &expected);
    // row("xhoppe 3", "code already used")
    for body in [json!({ "msisdn": NUMBER, "code": last }), json!({ "code": last })] {
        is(&verify(&app, &body).await, 422, &wrong);
    }
    is(
        &info(&app, &token).await,
        200,
        &json!({ "msisdn": NUMBER, "valid_for_authentication": true }),
    );
    let mut log = app.log().await;
    assert!(!log.dump("secrets").await.contains(&token));
}

async fn a_handle_stands_for_the_account_that_registered(engine: Engine) {
    let app = App::start(engine).await;
    let reply = register(&app, NUMBER).await;
    let handle = reply.header("x-xhoppe-verification").to_owned();
    let cookie = reply.header("set-cookie").to_owned();
    assert!(handle.len() > 20);
    let expected = format!("xhoppe_verification={handle}; Path=/api/v1/users; Max-Age=600; HttpOnly; SameSite=Strict");
    assert_eq!(cookie, expected);
    register(&app, "84932467").await;
    let sms = app.phones().to(NUMBER).await;
    let other = app.phones().to("84932467").await;
    let ask = |header: &str, value: &str, code: &str| {
        let call = app.call("POST", "/api/v1/users/verify").header(header, value);
        call.json(&json!({ "code": code })).send()
    };
    // It looks at that account only: somebody else's code is wrong here, and five wrong ones burn its own.
    let wrong = invalid(&json!({ "code": ["is invalid"] }));
    is(&ask("x-xhoppe-verification", &handle, &other.code()).await, 422, &wrong);
    for number in 0..4 {
        is(&ask("cookie", &cookie, &sms.wrong(number)).await, 422, &wrong);
    }
    let late = invalid(&json!({ "code": ["is expired"] }));
    is(&ask("x-xhoppe-verification", &handle, &sms.code()).await, 422, &late);
    app.ask("POST", "/api/v1/users/resend_verify", &json!({ "msisdn": NUMBER }))
        .await;
    let next = app.phones().nth_to(NUMBER, 2).await.code();
    assert_eq!(ask("cookie", &cookie, &next).await.status, 200);
    // A handle of nobody's counts as none.
    assert_eq!(
        ask("x-xhoppe-verification", "nonsense", &other.code()).await.status,
        200
    );
}

async fn a_bare_code_is_behind_its_limits(engine: Engine) {
    let app = App::start_with(engine, &[("REGISTRY__LIMITS__ENABLED", "true")]).await;
    register(&app, NUMBER).await;
    let sms = app.phones().to(NUMBER).await;
    let wrong = invalid(&json!({ "code": ["is invalid"] }));
    for number in 0..5 {
        is(&verify(&app, &json!({ "code": sms.wrong(number) })).await, 422, &wrong);
    }
    // row("xhoppe 3", "throttled")
    let reply = verify(&app, &json!({ "code": sms.code() })).await;
    is(
        &reply,
        429,
        &json!({ "error": "Too many requests. Please try again later." }),
    );
    assert!(reply.header("retry-after").parse::<u32>().unwrap() > 0);
    // With its number the code is taken as ever.
    assert_eq!(
        verify(&app, &json!({ "msisdn": NUMBER, "code": sms.code() }))
            .await
            .status,
        200
    );
    // More than fifty failures from everywhere switch the bare form off, also where rates are lifted.
    let app = App::start(engine).await;
    register(&app, NUMBER).await;
    let sms = app.phones().to(NUMBER).await;
    for number in 0..51 {
        is(&verify(&app, &json!({ "code": sms.wrong(number) })).await, 422, &wrong);
    }
    assert_eq!(verify(&app, &json!({ "code": sms.code() })).await.status, 429);
}

async fn the_bare_form_can_be_switched_off(engine: Engine) {
    let app = App::start_with(engine, &[("REGISTRY__XHOPPE__BARE_CODE", "false")]).await;
    register(&app, NUMBER).await;
    let code = app.phones().to(NUMBER).await.code();
    let needed = invalid(&json!({ "msisdn": ["can't be blank"] }));
    is(&verify(&app, &json!({ "code": code })).await, 422, &needed);
    assert_eq!(
        verify(&app, &json!({ "msisdn": NUMBER, "code": code })).await.status,
        200
    );
}

/// Locks the account of a number.
pub async fn lock(app: &App, number: &str) {
    let admin = app.admin().await;
    order(app, &admin.access, "lock-user", number).await;
}

/// Gives an administrator's order about the account of a number.
async fn order(app: &App, admin: &str, command: &str, number: &str) {
    let mut all = Vec::new();
    for status in ["pending", "active", "locked", "deactivated"] {
        let path = format!("/v1/users?status={status}");
        all.push(app.get(&path).bearer(admin).expect(200).await);
    }
    let mut users = all.iter().flat_map(|page| page["items"].as_array().unwrap());
    let user = users
        .find(|user| user["phone"] == number)
        .unwrap_or_else(|| panic!("{all:?}"));
    let mut body = json!({ "user_id": user["id"] });
    if command.ends_with("lock-user") {
        body["reason"] = json!("a test");
    }
    app.command(command, &body).bearer(admin).expect(200).await;
}

/// What the holder of a token is told of themselves.
pub async fn info(app: &App, token: &str) -> Reply {
    app.get("/api/v1/user_info")
        .header("x-xhoppe-token", token)
        .send()
        .await
}

async fn only_an_active_account_is_valid_for_authentication(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await.access;
    let login = || {
        let body = json!({ "msisdn": NUMBER, "password": STRONG });
        let app = &app;
        async move { app.ask("POST", "/api/v1/login", &body).await }
    };
    let invalid_for_all = json!({ "msisdn": NUMBER, "valid_for_authentication": false });
    let valid = json!({ "msisdn": NUMBER, "valid_for_authentication": true });
    let unauthorized = json!({ "error": "You are not authorized to perform that action." });
    register(&app, NUMBER).await;
    is(&login().await, 200, &invalid_for_all);
    let code = app.phones().to(NUMBER).await.code();
    let reply = verify(&app, &json!({ "msisdn": NUMBER, "code": code })).await;
    let mut token = reply.json()["authentication_token"].as_str().unwrap().to_owned();
    for (shut, open) in [("lock-user", "unlock-user"), ("deactivate-user", "reactivate-user")] {
        is(&info(&app, &token).await, 200, &valid);
        order(&app, &admin, shut, NUMBER).await;
        is(&login().await, 200, &invalid_for_all);
        is(&info(&app, &token).await, 401, &unauthorized);
        order(&app, &admin, open, NUMBER).await;
        is(&info(&app, &token).await, 401, &unauthorized);
        let reply = login().await.json();
        assert_eq!(reply["valid_for_authentication"], true, "{open}");
        reply["authentication_token"].as_str().unwrap().clone_into(&mut token);
    }
}

async fn too_many_wrong_passwords_end_no_token(engine: Engine) {
    let settings = [
        ("REGISTRY__LIMITS__ENABLED", "true"),
        // The pauses of one account are meant, not the rate of an address.
        ("REGISTRY__LIMITS__SIGN_INS_PER_MINUTE", "1000"),
    ];
    let app = App::start_with(engine, &settings).await;
    let token = app.xhoppe_user(NUMBER).await;
    let login = |password: &str| {
        let body = json!({ "msisdn": NUMBER, "password": password });
        let app = &app;
        async move { app.ask("POST", "/api/v1/login", &body).await }
    };
    let mut wrong = 0;
    let paused = loop {
        let reply = login("wrong-password").await;
        if reply.status == 429 {
            break reply;
        }
        assert_eq!(reply.status, 401, "{reply:?}");
        wrong += 1;
        assert!(wrong < 20, "nothing slows the guesses down");
    };
    let throttled = json!({ "error": "Too many requests. Please try again later." });
    is(&paused, 429, &throttled);
    assert_eq!(paused.header("retry-after"), "10");
    // A pause keeps new sign-ins away and nobody who is signed in: else a stranger could sign anybody out.
    is(
        &info(&app, &token).await,
        200,
        &json!({ "msisdn": NUMBER, "valid_for_authentication": true }),
    );
}

async fn a_locked_user_is_valid_for_nothing(engine: Engine) {
    let app = App::start(engine).await;
    register(&app, NUMBER).await;
    let code = app.phones().to(NUMBER).await.code();
    lock(&app, NUMBER).await;
    // row("xhoppe 3", "ok, but the account is locked")
    let reply = verify(&app, &json!({ "msisdn": NUMBER, "code": code })).await;
    is(
        &reply,
        200,
        &json!({ "msisdn": NUMBER, "valid_for_authentication": false }),
    );
    let login = json!({ "msisdn": NUMBER, "password": STRONG });
    let reply = app.ask("POST", "/api/v1/login", &login).await;
    is(
        &reply,
        200,
        &json!({ "msisdn": NUMBER, "valid_for_authentication": false }),
    );
    // Unlocked, it is verified; tokens of before the lock stay dead.
    let token = app.xhoppe_user("84932467").await;
    let info = || info(&app, &token);
    assert_eq!(info().await.status, 200);
    let admin = app.sign_in("boss", crate::harness::PASSWORD).await;
    let found = app
        .get("/v1/users?status=active")
        .bearer(&admin.access)
        .expect(200)
        .await;
    let users = found["items"].as_array().unwrap();
    let user = users.iter().find(|user| user["phone"] == "84932467").unwrap();
    let body = json!({ "user_id": user["id"], "reason": "a test" });
    for command in ["lock-user", "unlock-user"] {
        app.command(command, &body).bearer(&admin.access).expect(200).await;
        is(
            &info().await,
            401,
            &json!({ "error": "You are not authorized to perform that action." }),
        );
    }
    let login = json!({ "msisdn": "84932467", "password": STRONG });
    assert_eq!(
        app.ask("POST", "/api/v1/login", &login).await.json()["valid_for_authentication"],
        true
    );
}

async fn signing_in_and_changing_the_password(engine: Engine) {
    let app = App::start(engine).await;
    let first = app.xhoppe_user(NUMBER).await;
    let login = |msisdn: &str, password: &str| {
        let body = json!({ "msisdn": msisdn, "password": password });
        let app = &app;
        async move { app.ask("POST", "/api/v1/login", &body).await }
    };
    let refused = json!({ "error": "Invalid msisdn or password." });
    is(&login(NUMBER, "wrong-password").await, 401, &refused);
    is(&login("84932499", STRONG).await, 401, &refused);
    let blank = ["can't be blank"];
    let reply = app.ask("POST", "/api/v1/login", &json!({})).await;
    is(&reply, 422, &invalid(&json!({ "msisdn": blank, "password": blank })));
    register(&app, "84932467").await;
    is(
        &login("84932467", STRONG).await,
        200,
        &json!({ "msisdn": "84932467", "valid_for_authentication": false }),
    );
    let reply = login(NUMBER, STRONG).await;
    assert_eq!(
        (reply.status, &reply.json()["valid_for_authentication"]),
        (200, &json!(true))
    );
    let second = reply.json()["authentication_token"].as_str().unwrap().to_owned();
    // row("xhoppe 8", "header")
    let info = |name: &'static str, token: &str| app.get("/api/v1/user_info").header(name, token).send();
    assert_eq!(info("x-xhoppe-token", &second).await.status, 200);
    let unauthorized = json!({ "error": "You are not authorized to perform that action." });
    is(
        &info("authorization", &format!("Token {second}")).await,
        401,
        &unauthorized,
    );
    // Changing the password makes the token anew and ends every other one.
    let change = |token: &str, current: &str, new: &str| {
        let call = app
            .call("PUT", "/api/v1/users/change_password")
            .header("x-xhoppe-token", token);
        call.json(&json!({ "current_password": current, "password": new }))
            .send()
    };
    let reply = change(&second, "wrong-password", "another-one").await;
    is(&reply, 422, &invalid(&json!({ "current_password": ["is invalid"] })));
    let reply = change(&second, STRONG, "short").await;
    let text = "is too short (minimum is 8 characters)";
    is(&reply, 422, &invalid(&json!({ "password": [text] })));
    let reply = change(&second, STRONG, "another-one").await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let third = reply.json()["authentication_token"].as_str().unwrap().to_owned();
    for token in [&first, &second] {
        is(&info("x-xhoppe-token", token).await, 401, &unauthorized);
    }
    assert_eq!(info("x-xhoppe-token", &third).await.status, 200);
    assert_eq!(login(NUMBER, "another-one").await.status, 200);
    let reply = app.get("/api/v1/login").send().await;
    is(&reply, 405, &json!({ "error": "Method not allowed." }));
    let reply = app.ask("POST", "/api/v1/fb_login", &json!({})).await;
    is(
        &reply,
        404,
        &json!({ "error": "The resource you were looking for could not be found." }),
    );
    // Off unless a setting says otherwise.
    let reply = app
        .ask("POST", "/api/v1/users/change_password_by_sms", &json!({}))
        .await;
    assert!(matches!(reply.status, 404 | 405), "{}", reply.body);
    crate::trio::shaped(&reply, "xhoppe");
}

async fn a_code_sent_again_is_always_answered_alike(engine: Engine) {
    let app = App::start_with(engine, &[("REGISTRY__LIMITS__ENABLED", "true")]).await;
    let resend = |msisdn: &str| {
        let body = json!({ "msisdn": msisdn });
        let app = &app;
        async move { app.ask("POST", "/api/v1/users/resend_verify", &body).await }
    };
    register(&app, NUMBER).await;
    app.phones().to(NUMBER).await;
    for number in [NUMBER, "8493 2466", "84932499"] {
        is(
            &resend(number).await,
            200,
            &json!({ "msisdn": number, "valid_for_authentication": false }),
        );
    }
    // Not within a minute of the last.
    let mut log = app.log().await;
    let asked = "event_type = 'user.phone_verification_requested'";
    assert_eq!(log.count("events", asked).await, 1);
    is(&resend("x").await, 422, &invalid(&json!({ "msisdn": ["is invalid"] })));
}

async fn common_passwords_are_refused_where_a_setting_says_so(engine: Engine) {
    let app = App::start_with(engine, &[("REGISTRY__XHOPPE__REJECT_COMMON_PASSWORDS", "true")]).await;
    let body = json!({ "msisdn": NUMBER, "password": "12345678", "password_confirmation": "12345678" });
    let reply = app.ask("POST", "/api/v1/users", &body).await;
    is(&reply, 422, &invalid(&json!({ "password": ["is too common"] })));
}

/// The registry's own list finds people by the number it shows.
async fn a_number_is_found_as_it_is_shown(engine: Engine) {
    let app = App::start_with(engine, &[("REGISTRY__XHOPPE__DEFAULT_COUNTRY_CODE", "65")]).await;
    let admin = app.admin().await;
    assert_eq!(register(&app, NUMBER).await.status, 201);
    for q in [NUMBER, "8493", "%2B8493-2466", "%2B6584932466"] {
        let page = app
            .get(&format!("/v1/users?q={q}"))
            .bearer(&admin.access)
            .expect(200)
            .await;
        assert_eq!(page["items"][0]["phone"], NUMBER, "{q}: {page}");
    }
}
