//! Sections 8 and 9: the platform's users, and where the dialects meet.

use serde_json::{Value, json};

use super::detail;
use crate::harness::{App, Engine, PASSWORD, Reply, on_both_engines};
use crate::trio::{STRONG, is};

on_both_engines![
    the_list_is_paged_searched_and_ordered,
    who_searches_the_list_is_written_down_once_an_hour,
    one_user_is_found_by_their_exact_name,
    what_a_superuser_may_change_has_an_answer_for_every_row,
    what_is_active_can_be_set_and_sending_it_back_changes_nothing,
    what_other_dialects_allow_is_sent_back_as_it_was_read,
    who_was_shut_out_before_being_verified_is_let_back_into_use,
    where_dialects_meet_the_method_and_the_literal_path_decide,
];

/// An administrator, with a key of this dialect.
async fn superuser(app: &App) -> String {
    app.admin().await;
    let body = json!({ "username": "boss", "password": PASSWORD });
    let reply = app.ask("POST", "/api/v1/account/login/", &body).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()["auth_token"].as_str().unwrap().to_owned()
}

async fn send(app: &App, method: &str, path: &str, key: &str, body: Option<&Value>) -> Reply {
    let call = app.call(method, path).header("authorization", format!("Token {key}"));
    match body {
        Some(body) => call.json(body),
        None => call,
    }
    .send()
    .await
}

fn names(reply: &Reply) -> Vec<String> {
    let body = reply.json();
    let results = body["results"].as_array().unwrap();
    results
        .iter()
        .map(|user| user["username"].as_str().unwrap().to_owned())
        .collect()
}

async fn the_list_is_paged_searched_and_ordered(engine: Engine) {
    let app = App::start(engine).await;
    let boss = superuser(&app).await;
    for (name, full_name) in [("Zoe", "Alice Smith"), ("abe", "Bob Stone"), ("cat_50", "Carol Smith")] {
        let body = json!({ "username": name, "full_name": full_name, "password": PASSWORD });
        app.command("register-user", &body).expect(201).await;
    }
    // An account that waits, and one without a username.
    let body = json!({ "username": "dan", "email": "dan@farm.example", "password": PASSWORD });
    app.command("register-user", &body).expect(201).await;
    app.xhoppe_user("+6584932466").await;
    let list = |query: &str| {
        let path = format!("/api/v1/users/{query}");
        let (app, boss) = (&app, &boss);
        async move { send(app, "GET", &path, boss, None).await }
    };
    let all = list("").await;
    assert_eq!(all.status, 200);
    assert_eq!(names(&all), ["Zoe", "abe", "boss", "cat_50", "dan"]);
    let body = all.json();
    assert_eq!(
        (&body["count"], &body["next"], &body["previous"]),
        (&json!(5), &Value::Null, &Value::Null)
    );
    assert_eq!(
        body["results"][0],
        json!({
            "username": "Zoe",
            "full_name": "Alice Smith",
            "email": "",
            "organizations": [],
            "last_login": null,
            "is_active": true,
        })
    );
    // row("cadasta 8.1", "`limit`")
    // row("cadasta 8.1", "`offset`")
    let page = list("?limit=2&search=").await;
    let base = app.base();
    assert_eq!(names(&page), ["Zoe", "abe"]);
    assert_eq!(
        page.json()["next"],
        format!("{base}/api/v1/users/?limit=2&offset=2&search=")
    );
    let next = page.json()["next"]
        .as_str()
        .unwrap()
        .strip_prefix(base)
        .unwrap()
        .to_owned();
    let page = send(&app, "GET", &next, &boss, None).await;
    assert_eq!(names(&page), ["boss", "cat_50"]);
    assert_eq!(page.json()["previous"], format!("{base}/api/v1/users/?limit=2&search="));
    let page = list("?limit=2&offset=4").await;
    assert_eq!(
        (&page.json()["next"], &page.json()["previous"]),
        (&Value::Null, &json!(format!("{base}/api/v1/users/?limit=2&offset=2")))
    );
    for nonsense in [
        "?limit=0",
        "?limit=-1",
        "?limit=x",
        "?offset=-3",
        "?offset=x",
        "?limit=5000",
    ] {
        assert_eq!(names(&list(nonsense).await).len(), 5, "{nonsense}");
    }
    let beyond = list("?offset=99").await;
    assert_eq!((names(&beyond).len(), &beyond.json()["count"]), (0, &json!(5)));
    // The other parameters stay as the original's library writes them.
    let page = list("?limit=1&ordering=-full_name,username&search=%20&x=a%20b~c").await;
    assert_eq!(
        page.json()["next"],
        format!(
            "{}/api/v1/users/?limit=1&offset=1&ordering=-full_name%2Cusername&search=+&x=a+b~c",
            app.base()
        )
    );
    // row("cadasta 8.1", "`is_active`")
    for (value, count) in [("true", 4), ("TRUE", 4), ("1", 4), ("false", 1), ("0", 1), ("maybe", 5)] {
        assert_eq!(
            list(&format!("?is_active={value}")).await.json()["count"],
            count,
            "{value}"
        );
    }
    // row("cadasta 8.1", "`search`")
    for (terms, found) in [
        ("SMITH", &["Zoe", "cat_50"][..]),
        ("smith,carol", &["cat_50"]),
        ("smith%20carol", &["cat_50"]),
        ("farm.exam", &["dan"]),
        ("t_5", &["cat_50"]),
        ("_", &["cat_50"]),
        ("%25", &[]),
    ] {
        assert_eq!(names(&list(&format!("?search={terms}")).await), found, "{terms}");
    }
    // row("cadasta 8.1", "`ordering`")
    for (ordering, order) in [
        ("-username", ["dan", "cat_50", "boss", "abe", "Zoe"]),
        ("-full_name", ["cat_50", "abe", "Zoe", "boss", "dan"]),
        ("nonsense", ["Zoe", "abe", "boss", "cat_50", "dan"]),
        ("nonsense,-username", ["dan", "cat_50", "boss", "abe", "Zoe"]),
    ] {
        assert_eq!(
            names(&list(&format!("?ordering={ordering}")).await),
            order,
            "{ordering}"
        );
    }
    // Letters beyond ASCII have capitals too, whatever the engine folds.
    for (username, full_name) in [("elodie", "Élodie Öztürk"), ("emile", "émile ÖZTÜRK")] {
        let key = app.cadasta_user(username).await;
        let change = json!({ "full_name": full_name });
        let reply = send(&app, "PATCH", "/api/v1/account/", &key, Some(&change)).await;
        assert_eq!(reply.status, 201, "{reply:?}");
    }
    let both: &[&str] = &["elodie", "emile"];
    for (terms, found) in [
        ("ÖzTürk", both),
        ("öZTÜRK", both),
        ("ÉL", &["elodie"]),
        ("él", &["elodie"]),
        ("ÉMI,öz", &["emile"]),
    ] {
        assert_eq!(names(&list(&format!("?search={terms}")).await), found, "{terms}");
    }
    // Every term counts, or none is looked for.
    let dan = "dan,".repeat(40);
    assert_eq!(names(&list(&format!("?search={dan}")).await), ["dan"]);
    assert_eq!(names(&list(&format!("?search={dan}zoe")).await), [""; 0]);
    let more: Vec<String> = (0..17).map(|number| format!("t{number}")).collect();
    is(
        &list(&format!("?search={}", more.join("+"))).await,
        400,
        &json!({ "search": ["Ensure this field has no more than 16 terms."] }),
    );
    // Superusers only.
    let ordinary = app.cadasta_user("mia").await;
    let reply = send(&app, "GET", "/api/v1/users/", &ordinary, None).await;
    is(
        &reply,
        403,
        &detail("You do not have permission to perform this action."),
    );
    let reply = app.get("/api/v1/users/").send().await;
    is(&reply, 401, &detail("Authentication credentials were not provided."));
}

async fn who_searches_the_list_is_written_down_once_an_hour(engine: Engine) {
    let app = App::start(engine).await;
    let boss = superuser(&app).await;
    let admin = app.sign_in("boss", PASSWORD).await;
    let ada = app.cadasta_user("ada").await;
    let mut log = app.log().await;
    let head = log.head().await;
    // Whoever is turned away has searched nothing.
    assert_eq!(send(&app, "GET", "/api/v1/users/", &ada, None).await.status, 403);
    assert_eq!(log.types_after(head).await, [""; 0]);
    // row("cadasta 10", "C8")
    for path in [
        "/api/v1/users/?search=ada%40farm.example",
        "/api/v1/users/?search=lovelace",
        "/api/v1/users",
    ] {
        assert_eq!(send(&app, "GET", path, &boss, None).await.status, 200);
    }
    let mut told: Vec<_> = log
        .events()
        .await
        .into_iter()
        .filter(|one| one.position > head)
        .collect();
    // An hour may end while this runs.
    assert!((1..=2).contains(&told.len()), "{told:?}");
    let event = told.remove(0);
    assert_eq!(
        (event.kind.as_str(), &event.aggregate, &event.stream, &event.subject),
        ("audit.users_listed", &"audit".to_owned(), &admin.user, &admin.user)
    );
    // Who, but not what for.
    let path = format!("/v1/events/{}", event.position);
    let public = app.get(&path).bearer(&admin.access).expect(200).await;
    assert_eq!((&public["subject"], &public["data"]), (&json!(admin.user), &json!({})));
    let sql = format!(
        "SELECT CAST(payload AS TEXT) || CAST(metadata AS TEXT) FROM events WHERE position = {}",
        event.position
    );
    let line = log.texts(&sql).await.remove(0).to_lowercase();
    for word in ["farm.example", "lovelace", "search"] {
        assert!(!line.contains(word), "{word} in {line}");
    }
}

async fn one_user_is_found_by_their_exact_name(engine: Engine) {
    let app = App::start(engine).await;
    let boss = superuser(&app).await;
    let body = json!({ "username": "a.b+c@d", "email": "abc@farm.example", "password": STRONG });
    assert_eq!(app.ask("POST", "/api/v1/account/register/", &body).await.status, 201);
    for path in [
        "/api/v1/users/a.b+c@d/",
        "/api/v1/users/a.b%2Bc%40d/",
        "/api/v1/users/a.b+c@d",
    ] {
        let reply = send(&app, "GET", path, &boss, None).await;
        assert_eq!(
            (reply.status, &reply.json()["email"]),
            (200, &json!("abc@farm.example")),
            "{path}"
        );
    }
    for path in [
        "/api/v1/users/A.b+c@d/",
        "/api/v1/users/nobody/",
        "/api/v1/users/%FF/",
        "/api/v1/users/verify/",
    ] {
        is(
            &send(&app, "GET", path, &boss, None).await,
            404,
            &detail("User not found."),
        );
    }
}

async fn what_a_superuser_may_change_has_an_answer_for_every_row(engine: Engine) {
    let app = App::start(engine).await;
    let boss = superuser(&app).await;
    let ada = app.cadasta_user("ada").await;
    let path = "/api/v1/users/ada/";
    let patch = |body: Value| {
        let (app, boss) = (&app, &boss);
        async move { send(app, "PATCH", path, boss, Some(&body)).await }
    };
    let before = send(&app, "GET", path, &boss, None).await.json();
    // row("cadasta 8.3", "`full_name`")
    // row("cadasta 8.3", "`organizations`")
    // row("cadasta 8.3", "same value as stored")
    let body = json!({
        "username": "ada",
        "email": "ADA@farm.example",
        "full_name": "Ada Lovelace",
        "last_login": before["last_login"],
        "organizations": [{ "id": 1, "name": "x" }],
        "is_active": true,
    });
    let mut expected = before.clone();
    expected["full_name"] = json!("Ada Lovelace");
    is(&patch(body).await, 200, &expected);
    let reply = patch(json!({ "full_name": "<i>Ada" })).await;
    let unclean = "Input can not contain HTML tags, emojis or start with any of + - = and @.";
    is(&reply, 400, &json!({ "full_name": [unclean] }));
    // row("cadasta 8.3", "`username` of somebody else")
    // row("cadasta 8.3", "`email` of somebody else")
    // row("cadasta 8.3", "`last_login` different")
    let body = json!({ "username": "eve", "email": "eve@farm.example", "last_login": "2016-10-20T19:20:27.848272Z" });
    let refused = json!({
        "username": ["Cannot update username"],
        "email": ["Cannot update email"],
        "last_login": ["Cannot update last_login"],
    });
    is(&patch(body).await, 400, &refused);
    // row("cadasta 8.3", "`is_active` not boolean")
    let reply = patch(json!({ "is_active": "maybe" })).await;
    is(
        &reply,
        400,
        &json!({ "is_active": ["\"maybe\" is not a valid boolean."] }),
    );
    // row("cadasta 8.3", "`is_active`")
    expected["is_active"] = json!(false);
    is(&patch(json!({ "is_active": false })).await, 200, &expected);
    let reply = app
        .get("/api/v1/account/")
        .header("authorization", format!("Token {ada}"))
        .send()
        .await;
    assert_eq!(reply.status, 401);
    expected["is_active"] = json!(true);
    is(&patch(json!({ "is_active": "true" })).await, 200, &expected);
    // Replacing: what is left out of the name of the person is cleared.
    let put = json!({ "username": "ada", "email": "ada@farm.example" });
    expected["full_name"] = json!("");
    is(&send(&app, "PUT", path, &boss, Some(&put)).await, 200, &expected);
    let reply = send(&app, "PUT", path, &boss, Some(&json!({}))).await;
    let required = ["This field is required."];
    is(&reply, 400, &json!({ "username": required, "email": required }));
    // Nothing of what is refused is done: nobody takes themselves out of the role.
    let own = "/api/v1/users/boss/";
    let was = send(&app, "GET", own, &boss, None).await.json();
    let both = json!({ "full_name": "Nobody", "is_active": false });
    let reply = send(&app, "PATCH", own, &boss, Some(&both)).await;
    assert!((400..500).contains(&reply.status), "{reply:?}");
    is(&send(&app, "GET", own, &boss, None).await, 200, &was);
    // Superusers only, by every method.
    // row("cadasta 10", "C2")
    let key = app.cadasta_key("ada").await;
    for method in ["GET", "PATCH", "PUT"] {
        let reply = send(&app, method, "/api/v1/users/boss/", &key, Some(&put)).await;
        is(
            &reply,
            403,
            &detail("You do not have permission to perform this action."),
        );
        let reply = app.ask(method, "/api/v1/users/boss/", &put).await;
        is(&reply, 401, &detail("Authentication credentials were not provided."));
    }
    for method in ["DELETE", "POST"] {
        let reply = send(&app, method, path, &boss, None).await;
        is(&reply, 405, &detail(&format!("Method \"{method}\" not allowed.")));
        assert_eq!(reply.header("allow"), "GET,HEAD,PATCH,PUT");
    }
}

async fn what_is_active_can_be_set_and_sending_it_back_changes_nothing(engine: Engine) {
    let app = App::start(engine).await;
    let boss = superuser(&app).await;
    let body = json!({ "username": "ada", "email": "ada@farm.example", "password": STRONG });
    assert_eq!(app.ask("POST", "/api/v1/account/register/", &body).await.status, 201);
    let (uid, token) = crate::cadasta::link(&app.mailbox().to("ada@farm.example").await);
    let ask = |method: &'static str, body: Value| {
        let (app, boss) = (&app, &boss);
        async move { send(app, method, "/api/v1/users/ada/", boss, Some(&body)).await }
    };
    let patch = |body: Value| ask("PATCH", body);
    let mut log = app.log().await;
    let mut ada = send(&app, "GET", "/api/v1/users/ada/", &boss, None).await.json();
    assert_eq!(ada["is_active"], false);
    // row("cadasta 8.3", "same value as stored")
    let head = log.head().await;
    is(&ask("PUT", ada.clone()).await, 200, &ada);
    is(&patch(ada.clone()).await, 200, &ada);
    is(&patch(json!({ "is_active": "False" })).await, 200, &ada);
    assert_eq!(log.types_after(head).await, [""; 0]);
    // row("cadasta 8.3", "`is_active`")
    ada["is_active"] = json!(true);
    is(&patch(json!({ "is_active": true })).await, 200, &ada);
    is(&ask("PUT", ada.clone()).await, 200, &ada);
    assert_eq!(log.types_after(head).await, ["user.activated"]);
    // The address is as unproved as it was: it keeps its owner out here, and what reads of it elsewhere says so.
    let login = || app.ask("POST", "/api/v1/account/login/", &body);
    is(&login().await, 400, &detail("The email has not been verified."));
    let admin = app.sign_in("boss", PASSWORD).await;
    let found = app.get("/v1/users?q=ada").bearer(&admin.access).expect(200).await;
    let shown = &found["items"][0];
    assert_eq!(
        (&shown["status"], &shown["email_verified"]),
        (&json!("active"), &json!(false))
    );
    app.sign_in("ada", STRONG).await;
    let claims = crate::agstack::web::claims(
        &crate::agstack::web::Web::python(&app)
            .logs_in_with("ada@farm.example", STRONG)
            .await
            .0,
    );
    assert_eq!(claims["is_activated"], false);
    // Shut out, nothing opens; let back, the account is in use again and the link of its mail works.
    assert_eq!(patch(json!({ "is_active": false })).await.json()["is_active"], false);
    assert_eq!(log.types_after(head).await.last().unwrap(), "user.deactivated");
    let activate = || {
        let body = json!({ "uid": uid, "token": token });
        let app = &app;
        async move { app.ask("POST", "/api/v1/account/activate/", &body).await }
    };
    let invalid = json!({ "non_field_errors": ["Invalid token for given user."] });
    is(&activate().await, 400, &invalid);
    let disabled = json!({ "non_field_errors": ["User account is disabled."] });
    is(&login().await, 400, &disabled);
    assert_eq!(patch(json!({ "is_active": true })).await.json()["is_active"], true);
    is(&activate().await, 200, &json!({}));
    app.cadasta_key("ada").await;
    // A lock is lifted by being told so, and stays where the account is told to be shut.
    let order = json!({ "user_id": shown["id"], "reason": "a test" });
    app.command("lock-user", &order).bearer(&admin.access).expect(200).await;
    assert_eq!(patch(json!({ "is_active": false })).await.json()["is_active"], false);
    assert_eq!(
        log.texts("SELECT status FROM users WHERE username = 'ada'").await,
        ["locked"]
    );
    assert_eq!(patch(json!({ "is_active": true })).await.json()["is_active"], true);
}

/// Names and addresses that this dialect would refuse from a newcomer.
async fn what_other_dialects_allow_is_sent_back_as_it_was_read(engine: Engine) {
    let app = App::start(engine).await;
    let boss = superuser(&app).await;
    app.has_user("zoe").await;
    let body = json!({ "username": "-bob", "full_name": "=Bob \u{1f600}", "password": PASSWORD });
    app.command("register-user", &body).expect(201).await;
    let mut log = app.log().await;
    // row("cadasta 8.3", "same value as stored")
    for name in ["zoe", "-bob"] {
        let path = format!("/api/v1/users/{name}/");
        let read = send(&app, "GET", &path, &boss, None).await.json();
        assert_eq!(read["email"], "");
        let head = log.head().await;
        for method in ["PATCH", "PUT"] {
            is(&send(&app, method, &path, &boss, Some(&read)).await, 200, &read);
        }
        assert_eq!(log.types_after(head).await, [""; 0], "{name}");
        // What differs by a letter is held to the rules.
        let mut other = read.clone();
        for field in ["username", "full_name", "email"] {
            other[field] = json!(format!("-{}", read[field].as_str().unwrap()));
        }
        let reply = send(&app, "PUT", &path, &boss, Some(&other)).await;
        assert_eq!(reply.status, 400, "{}", reply.body);
        assert_eq!(reply.json().as_object().unwrap().len(), 3, "{}", reply.body);
    }
    // Their owners may too.
    for name in ["zoe", "-bob"] {
        let login = json!({ "username": name, "password": PASSWORD });
        let reply = app.ask("POST", "/api/v1/account/login/", &login).await;
        let key = reply.json()["auth_token"].as_str().unwrap().to_owned();
        let read = send(&app, "GET", "/api/v1/account/", &key, None).await.json();
        let head = log.head().await;
        is(
            &send(&app, "PATCH", "/api/v1/account/", &key, Some(&read)).await,
            201,
            &read,
        );
        is(
            &send(&app, "PUT", "/api/v1/account/", &key, Some(&read)).await,
            200,
            &read,
        );
        assert_eq!(log.types_after(head).await, [""; 0], "{name}");
    }
}

async fn who_was_shut_out_before_being_verified_is_let_back_into_use(engine: Engine) {
    let app = App::start(engine).await;
    let boss = superuser(&app).await;
    let body = json!({ "username": "ada", "email": "ada@farm.example", "password": STRONG });
    assert_eq!(app.ask("POST", "/api/v1/account/register/", &body).await.status, 201);
    let admin = app.sign_in("boss", PASSWORD).await;
    let found = app.get("/v1/users?q=ada").bearer(&admin.access).expect(200).await;
    for shut in ["deactivate-user", "lock-user"] {
        let order = json!({ "user_id": found["items"][0]["id"], "reason": "a test" });
        app.command(shut, &order).bearer(&admin.access).expect(200).await;
        let reply = send(
            &app,
            "PATCH",
            "/api/v1/users/ada/",
            &boss,
            Some(&json!({ "is_active": true })),
        )
        .await;
        assert_eq!(
            (reply.status, &reply.json()["is_active"]),
            (200, &json!(true)),
            "{shut}"
        );
    }
}

async fn where_dialects_meet_the_method_and_the_literal_path_decide(engine: Engine) {
    let app = App::start(engine).await;
    let boss = superuser(&app).await;
    let registering = json!({ "msisdn": "84932466", "password": "12345678", "password_confirmation": "12345678" });
    // row("cadasta 9", "`POST /api/v1/users` (Xhoppe) vs `GET /api/v1/users/` (Cadasta)")
    // row("xhoppe 8", "`POST /api/v1/users`")
    assert_eq!(app.ask("POST", "/api/v1/users/", &registering).await.status, 201);
    assert_eq!(app.ask("POST", "/api/v1/users", &registering).await.status, 422);
    for path in ["/api/v1/users/", "/api/v1/users"] {
        assert_eq!(names(&send(&app, "GET", path, &boss, None).await), ["boss"]);
    }
    // row("cadasta 9", "`POST /api/v1/users/verify` vs `…/users/{username}/`")
    // row("xhoppe 8", "`POST /api/v1/users/verify`")
    let blank = json!({
        "error": "Invalid resource. Please fix errors and try again.",
        "errors": { "code": ["can't be blank"] },
    });
    for path in ["/api/v1/users/verify", "/api/v1/users/verify/"] {
        is(&app.ask("POST", path, &json!({})).await, 422, &blank);
    }
    // row("cadasta 9", "`PUT /api/v1/users/forget_password`, `PUT …/recover_password` vs `PUT /api/v1/users/{username}/`")
    // row("xhoppe 8", "`PUT /api/v1/users/forget_password` (+`/`), `PUT …/recover_password` (+`/`)")
    for word in ["forget_password", "recover_password"] {
        for slash in ["", "/"] {
            let reply = app
                .ask("PUT", &format!("/api/v1/users/{word}{slash}"), &json!({}))
                .await;
            assert_eq!(reply.status, 422, "{word}{slash}: {}", reply.body);
        }
        let reply = send(
            &app,
            "PATCH",
            &format!("/api/v1/users/{word}/"),
            &boss,
            Some(&json!({})),
        )
        .await;
        is(&reply, 404, &detail("User not found."));
    }
    // row("xhoppe 8", "`GET /api/v1/users/verify/`")
    is(
        &send(&app, "GET", "/api/v1/users/verify/", &boss, None).await,
        404,
        &detail("User not found."),
    );
    // row("xhoppe 8", "`GET /api/v1/users/verify`")
    let reply = app.get("/api/v1/users/verify").send().await;
    is(&reply, 405, &json!({ "error": "Method not allowed." }));
    assert_eq!(reply.header("allow"), "POST");
    // row("xhoppe 8", "error shape under `/api/v1/users`")
    let reply = app.call("DELETE", "/api/v1/users/somebody/").send().await;
    is(&reply, 405, &detail("Method \"DELETE\" not allowed."));
    let reply = app.call("POST", "/api/v1/users/verify").raw("{").send().await;
    is(&reply, 400, &json!({ "error": "Malformed request." }));
    // row("cadasta 9", "`POST /api/v1/user/register` (taxi)")
    assert_eq!(
        app.ask("POST", "/api/v1/user/register", &json!({})).await.json()["error_code"],
        -4
    );
    // row("cadasta 9", "`Authorization`")
    let reply = app.get("/api/v1/account/").bearer(&boss).send().await;
    is(&reply, 401, &detail("Authentication credentials were not provided."));
}
