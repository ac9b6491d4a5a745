//! Section 5: one's own account, and another address for it.

use serde_json::{Value, json};

use super::{detail, link};
use crate::harness::{App, Engine, Reply, on_both_engines};
use crate::trio::{STRONG, is};

on_both_engines![
    ones_own_account_is_read_and_changed,
    two_settings_turn_the_documents_201_into_200,
    what_does_not_hold_is_said_under_its_field,
    another_address_waits_for_its_confirmation,
    the_first_address_is_taken_at_once,
];

const PATH: &str = "/api/v1/account/";

async fn call(app: &App, method: &str, key: &str, body: &Value) -> Reply {
    let call = app.call(method, PATH).header("authorization", format!("token {key}"));
    if method == "GET" { call } else { call.json(body) }.send().await
}

async fn ones_own_account_is_read_and_changed(engine: Engine) {
    let app = App::start(engine).await;
    let key = app.cadasta_user("ada").await;
    // row("cadasta 5", "GET ok")
    let reply = call(&app, "GET", &key, &json!({})).await;
    let last_login = reply.json()["last_login"].clone();
    let mut expected = json!({
        "username": "ada",
        "full_name": "",
        "email": "ada@farm.example",
        "email_verified": true,
        "last_login": last_login,
    });
    is(&reply, 201, &expected);
    assert_eq!(last_login.as_str().unwrap().len(), "2016-10-20T19:20:27.848272Z".len());
    // row("cadasta 5", "PATCH ok")
    // row("cadasta 5", "`username`")
    // row("cadasta 5", "`full_name`")
    // row("cadasta 5", "`email_verified`")
    // row("cadasta 5", "`last_login`")
    let body = json!({
        "username": "ADA",
        "full_name": "Ada Lovelace",
        "email": "ADA@farm.example",
        "email_verified": false,
        "last_login": last_login,
        "unknown": 1,
    });
    expected["username"] = json!("ADA");
    expected["full_name"] = json!("Ada Lovelace");
    is(&call(&app, "PATCH", &key, &body).await, 201, &expected);
    expected["full_name"] = json!("");
    is(
        &call(&app, "PATCH", &key, &json!({ "full_name": "", "last_login": null })).await,
        201,
        &expected,
    );
    is(&call(&app, "PATCH", &key, &json!({})).await, 201, &expected);
    // row("cadasta 5", "PUT ok")
    let body = json!({ "username": "ada_l", "email": "ada@farm.example", "full_name": "Ada" });
    expected["username"] = json!("ada_l");
    expected["full_name"] = json!("Ada");
    is(&call(&app, "PUT", &key, &body).await, 200, &expected);
    // The old name is free again, the new one signs in.
    app.cadasta_key("ADA_L").await;
    // row("cadasta 5", "no token")
    for method in ["GET", "PATCH", "PUT"] {
        let reply = app.call(method, PATH).send().await;
        is(&reply, 401, &detail("Authentication credentials were not provided."));
    }
}

async fn two_settings_turn_the_documents_201_into_200(engine: Engine) {
    let settings = [
        ("REGISTRY__CADASTA__ACCOUNT_READ_STATUS", "200"),
        ("REGISTRY__CADASTA__ACCOUNT_UPDATE_STATUS", "200"),
    ];
    let app = App::start_with(engine, &settings).await;
    let key = app.cadasta_user("ada").await;
    for method in ["GET", "PATCH"] {
        assert_eq!(call(&app, method, &key, &json!({})).await.status, 200, "{method}");
    }
}

async fn what_does_not_hold_is_said_under_its_field(engine: Engine) {
    let app = App::start(engine).await;
    let key = app.cadasta_user("ada").await;
    app.cadasta_user("grace").await;
    // row("cadasta 5", "invalid")
    let required = ["This field is required."];
    let reply = call(&app, "PUT", &key, &json!({ "full_name": "Ada" })).await;
    is(&reply, 400, &json!({ "username": required, "email": required }));
    let body = json!({
        "username": "GRACE",
        "full_name": "=Ada",
        "email": "Grace@farm.example",
        "last_login": "2016-10-20T19:20:27.848272Z",
    });
    let expected = json!({
        "username": ["A user with that username already exists."],
        "full_name": ["Input can not contain HTML tags, emojis or start with any of + - = and @."],
        "email": ["Another user is already registered with this email address"],
        "last_login": ["Cannot update last_login"],
    });
    is(&call(&app, "PATCH", &key, &body).await, 400, &expected);
    let text = "Datetime has wrong format. Use one of these formats instead: \
                YYYY-MM-DDThh:mm[:ss[.uuuuuu]][+HH:MM|-HH:MM|Z].";
    let reply = call(&app, "PATCH", &key, &json!({ "last_login": "yesterday" })).await;
    is(&reply, 400, &json!({ "last_login": [text] }));
    // Nothing of a request that is refused is done.
    assert_eq!(call(&app, "GET", &key, &json!({})).await.json()["username"], "ada");
}

async fn another_address_waits_for_its_confirmation(engine: Engine) {
    let app = App::start(engine).await;
    let key = app.cadasta_user("ada").await;
    // row("cadasta 5", "`email`")
    let reply = call(&app, "PATCH", &key, &json!({ "email": "new@farm.example" })).await;
    assert_eq!(
        (&reply.json()["email"], &reply.json()["email_verified"]),
        (&json!("ada@farm.example"), &json!(true))
    );
    let mail = app.mailbox().to("new@farm.example").await;
    let (uid, token) = link(&mail);
    assert!(mail.link().ends_with(&format!("/account/activate/{uid}/{token}/")));
    let notice = app.mailbox().nth_to("ada@farm.example", 2).await;
    assert_eq!(notice.subject, "Change of email at Cadasta Platform");
    // The new address is reserved.
    let body = json!({ "username": "mia", "email": "NEW@farm.example", "password": STRONG });
    let reply = app.ask("POST", "/api/v1/account/register/", &body).await;
    let taken = json!({ "email": ["Another user is already registered with this email address"] });
    is(&reply, 400, &taken);
    // A later request drops the earlier one.
    // row("cadasta 10", "C3")
    let reply = call(&app, "PATCH", &key, &json!({ "email": "newer@farm.example" })).await;
    assert_eq!(reply.status, 201);
    let path = "/api/v1/account/activate/";
    let reply = app.ask("POST", path, &json!({ "uid": uid, "token": token })).await;
    is(
        &reply,
        400,
        &json!({ "non_field_errors": ["Invalid token for given user."] }),
    );
    let (uid, token) = link(&app.mailbox().to("newer@farm.example").await);
    is(
        &app.ask("POST", path, &json!({ "uid": uid, "token": token })).await,
        200,
        &json!({}),
    );
    let reply = call(&app, "GET", &key, &json!({})).await;
    assert_eq!(
        (&reply.json()["email"], &reply.json()["email_verified"]),
        (&json!("newer@farm.example"), &json!(true))
    );
    // The link of the registration was for the first address, and each works once.
    let (_, first) = link(&app.mailbox().to("ada@farm.example").await);
    for spent in [&first, &token] {
        let reply = app.ask("POST", path, &json!({ "uid": uid, "token": spent })).await;
        assert!(matches!(reply.status, 400 | 403), "{reply:?}");
    }
    let reply = call(&app, "GET", &key, &json!({})).await;
    assert_eq!(reply.json()["email"], "newer@farm.example");
    // The same address in another case is nothing new.
    let mut log = app.log().await;
    let head = log.head().await;
    assert_eq!(
        call(&app, "PATCH", &key, &json!({ "email": "NEWER@farm.example" }))
            .await
            .status,
        201
    );
    assert_eq!(log.types_after(head).await, Vec::<String>::new());
}

async fn the_first_address_is_taken_at_once(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let mut keys = Vec::new();
    let mut ids = Vec::new();
    for username in ["tim", "mia"] {
        let body = json!({ "username": username, "password": STRONG });
        let user = app.command("register-user", &body).expect(201).await;
        ids.push(user["id"].as_str().unwrap().to_owned());
        let body = json!({ "username": username, "password": STRONG });
        let reply = app.ask("POST", "/api/v1/account/login/", &body).await;
        keys.push(reply.json()["auth_token"].as_str().unwrap().to_owned());
    }
    let [tim, mia] = &keys[..] else { unreachable!() };
    assert_eq!(call(&app, "GET", tim, &json!({})).await.json()["email"], "");
    // A domain that is not admitted refuses as for a change.
    app.command("block-domain", &json!({ "domain": "spam.example" }))
        .bearer(&admin.access)
        .expect(201)
        .await;
    let mut log = app.log().await;
    let head = log.head().await;
    let refused = call(&app, "PATCH", tim, &json!({ "email": "tim@spam.example" })).await;
    assert_eq!(refused.status, 400, "{}", refused.body);
    assert_eq!(refused.json()["email"].as_array().unwrap().len(), 1);
    assert_eq!(log.types_after(head).await, Vec::<String>::new());

    let reply = call(&app, "PATCH", tim, &json!({ "email": "Tim@new.example" })).await;
    let expected = json!({
        "username": "tim",
        "full_name": "",
        "email": "Tim@new.example",
        "email_verified": false,
        "last_login": reply.json()["last_login"],
    });
    is(&reply, 201, &expected);
    assert_eq!(
        log.types_after(head).await,
        [
            "user.email_added",
            "user.email_verification_requested",
            "domain.observed"
        ]
    );
    let taken = json!({ "email": ["Another user is already registered with this email address"] });
    is(
        &call(&app, "PATCH", mia, &json!({ "email": "tim@NEW.example" })).await,
        400,
        &taken,
    );
    let body = json!({ "username": "zoe", "email": "tim@new.example", "password": STRONG });
    is(&app.ask("POST", "/api/v1/account/register/", &body).await, 400, &taken);
    // The account was in use before and stays so.
    let user = app
        .get(&format!("/v1/users/{}", ids[0]))
        .bearer(&admin.access)
        .expect(200)
        .await;
    assert_eq!(
        (&user["status"], &user["email"], &user["email_verified"]),
        (&json!("active"), &json!("Tim@new.example"), &json!(false))
    );
    let past = |position: i64| {
        app.get(&format!("/v1/users/{}?at={position}", ids[0]))
            .bearer(&admin.access)
            .expect(200)
    };
    assert_eq!(past(head).await["email"], json!(null));
    assert_eq!(past(head + 1).await["email"], json!("Tim@new.example"));

    // Asking for it again changes nothing, another one waits as any change does.
    let head = log.head().await;
    call(&app, "PATCH", tim, &json!({ "email": "tim@new.example" })).await;
    assert_eq!(log.types_after(head).await, Vec::<String>::new());
    let mail = app.mailbox().to("Tim@new.example").await;
    let reply = call(&app, "PATCH", tim, &json!({ "email": "tim@other.example" })).await;
    assert_eq!(reply.json()["email"], "Tim@new.example");
    app.mailbox().to("tim@other.example").await;
    app.mailbox().nth_to("Tim@new.example", 2).await;
    let to_tim: Vec<_> = app
        .mailbox()
        .mails()
        .into_iter()
        .filter(|mail| mail.to == "Tim@new.example")
        .map(|mail| mail.subject)
        .collect();
    assert_eq!(
        to_tim,
        [mail.subject.as_str(), "Change of email at Cadasta Platform"],
        "one confirmation, and the notice of the change that was asked for later"
    );

    let (uid, token) = link(&mail);
    assert!(mail.link().ends_with(&format!("/account/activate/{uid}/{token}/")));
    let body = json!({ "uid": uid, "token": token });
    is(
        &app.ask("POST", "/api/v1/account/activate/", &body).await,
        200,
        &json!({}),
    );
    let reply = call(&app, "GET", tim, &json!({})).await;
    assert_eq!(
        (&reply.json()["email"], &reply.json()["email_verified"]),
        (&json!("Tim@new.example"), &json!(true))
    );

    // The same by PUT.
    let body = json!({ "username": "mia", "email": "mia@new.example" });
    let reply = call(&app, "PUT", mia, &body).await;
    assert_eq!(
        (reply.status, &reply.json()["email"], &reply.json()["email_verified"]),
        (200, &json!("mia@new.example"), &json!(false))
    );
}
