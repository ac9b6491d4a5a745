//! Section 4: what the older program gets wrong; and bodies, tokens and cookies of the other APIs.

use serde_json::json;

use super::web::{FIREFOX, PASSWORD, Web, activated, claims, row, set_cookie};
use crate::harness::{App, Engine, on_both_engines};
use crate::trio::STRONG;

on_both_engines![
    none_of_the_holes_is_there,
    an_address_that_nobody_verified_speaks_for_no_domain,
    what_belongs_to_other_apis_opens_nothing_here,
    refusals_of_outer_layers_have_this_dialects_shape,
    the_dialect_is_mounted_a_second_time_where_it_is_asked_for,
];

async fn none_of_the_holes_is_there(engine: Engine) {
    let app = App::start_with(engine, &[("REGISTRY__PUBLIC_URL", "https://ur.example")]).await;
    let web = Web::python(&app);
    row("agstack 4", "H4");
    // One user's state decides nothing of another's page.
    web.signs_up("new@farm.example").await;
    let path = app.mailbox().to("new@farm.example").await.link().to_owned();
    assert!(path.starts_with("https://ur.example/activate/"), "{path}");
    let path = path.strip_prefix("https://ur.example").unwrap().to_owned();
    web.signs_up("old@farm.example").await;
    let old = Web::browser(&app);
    old.form("/login", &[("email", "old@farm.example"), ("password", PASSWORD)])
        .leads_to("/home")
        .await;
    web.get(&path)
        .says(
            200,
            "You have activated your account. API Keys are shared via email. Thanks!",
        )
        .await;
    web.logs_in("new@farm.example").await;
    old.get("/home").shows(200, "Your account is not activated yet").await;
    row("agstack 4", "H8");
    // Behind https, cookies travel encrypted only.
    let reply = web
        .post("/login", &json!({ "email": "new@farm.example", "password": PASSWORD }))
        .send()
        .await;
    assert!(
        set_cookie(&reply, "access_token_cookie")
            .unwrap()
            .ends_with("; HttpOnly; SameSite=Lax; Path=/; Secure")
    );
    let session = Web::python_session(&app);
    session.logs_in("new@farm.example").await;
    let post = |origin: &str| {
        session
            .form("/update", &[("phone_num", "921234567890")])
            .header("origin", origin)
    };
    assert_eq!(post("https://evil.example").send().await.status, 403);
    assert_eq!(post("https://ur.example").send().await.status, 202);
    // A form from elsewhere signs nobody in.
    let browser = Web::browser(&app);
    let form = [("email", "new@farm.example"), ("password", PASSWORD)];
    let reply = browser
        .form("/login", &form)
        .header("origin", "https://evil.example")
        .send()
        .await;
    assert_eq!((reply.status, set_cookie(&reply, "access_token_cookie")), (403, None));
    // A page elsewhere has no mail sent to whoever looks at it.
    let asked = async || {
        let kind = "event_type = 'user.email_verification_requested'";
        app.log().await.count("events", kind).await
    };
    let before = asked().await;
    let resend = |site: &str| old.get("/resend").header("sec-fetch-site", site);
    resend("cross-site").leads_to("/home").await;
    assert_eq!(asked().await, before);
    resend("same-origin").leads_to("/home").await;
    assert_eq!(asked().await, before + 1);
    row("agstack 4", "H11");
    // By GET no device signs up; see also `signing_up`.
    assert_eq!(
        web.get("/signup")
            .header("x-device-id", "0123456789abcdef")
            .send()
            .await
            .status,
        405
    );
    row("agstack 4", "H12");
    // An account without a password, and a request without a name, are no faults.
    web.post("/signup", &json!({}))
        .header("x-device-id", "0123456789abcdef")
        .send()
        .await;
    let nameless = Web::agent(&app, None, "*/*");
    assert_eq!(nameless.get("/").send().await.status, 400);
    row("agstack 4", "H15");
    let (access, _) = web.logs_in("new@farm.example").await;
    assert_eq!(web.get("/dashboard").bearer(&access).send().await.status, 403);
    row("agstack 4", "H19");
    let call = web
        .get("/")
        .header("x-asset-registry", "True")
        .header("x-email", "new@farm.example");
    let reply = call.header("x-password", PASSWORD).send().await;
    assert_eq!((reply.status, reply.header("cache-control")), (200, "no-store"));
    let log = app.server.log();
    assert!(!log.contains(PASSWORD) && !log.contains("new@farm.example"), "{log}");
    // With the bare id, where its operator wants that.
    let app = App::start_with(engine, &[("REGISTRY__AGSTACK__BARE_DEVICE_ID", "true")]).await;
    let web = Web::python(&app);
    web.post("/signup", &json!({}))
        .header("x-device-id", "0123456789abcdef")
        .send()
        .await;
    let reply = web
        .call("POST", "/login")
        .header("x-device-id", "0123456789abcdef")
        .send()
        .await;
    assert_eq!(reply.status, 200, "{reply:?}");
    // A short secret is none.
    row("agstack 4", "H7");
    let place = &app.place;
    let short = [("REGISTRY__AGSTACK__SHARED_SECRET", "changeme")];
    let refused = place
        .run_with(&["serve", "--listen", "127.0.0.1:0"], &short, "")
        .await
        .unwrap_err();
    assert!(
        refused.contains("agstack.shared_secret") && !refused.contains("changeme"),
        "{refused}"
    );
}

/// Peers believe the domain of a token that says its account is activated.
async fn an_address_that_nobody_verified_speaks_for_no_domain(engine: Engine) {
    let app = App::start(engine).await;
    let web = Web::python(&app);
    let body = json!({ "username": "tim", "password": STRONG });
    // Nothing of this account is to be verified: it is active at once.
    app.command("register-user", &body).expect(201).await;
    let reply = app.post("/api/v1/account/login/", &body).send().await;
    let key = reply.json()["auth_token"].as_str().unwrap().to_owned();
    app.call("PATCH", "/api/v1/account/")
        .header("authorization", format!("Token {key}"))
        .json(&json!({ "email": "tim@large.example" }))
        .expect(201)
        .await;
    let said = async || {
        let (access, _) = web.logs_in_with("tim@large.example", STRONG).await;
        let said = claims(&access);
        (said["domain"].clone(), said["is_activated"].clone())
    };
    assert_eq!(said().await, (json!("large.example"), json!(false)));
    let browser = Web::browser(&app);
    browser
        .form("/login", &[("email", "tim@large.example"), ("password", STRONG)])
        .leads_to("/home")
        .await;
    browser
        .get("/home")
        .shows(200, "Your account is not activated yet")
        .await;
    let (uid, token) = crate::cadasta::link(&app.mailbox().to("tim@large.example").await);
    let body = json!({ "uid": uid, "token": token });
    app.post("/api/v1/account/activate/", &body).expect(200).await;
    assert_eq!(said().await, (json!("large.example"), json!(true)));
}

async fn what_belongs_to_other_apis_opens_nothing_here(engine: Engine) {
    let app = App::start(engine).await;
    let web = Web::python(&app);
    activated(&app, &web, "ada@farm.example").await;
    let canonical = app.sign_in("ada@farm.example", PASSWORD).await;
    let (access, refresh) = web.logs_in("ada@farm.example").await;
    row("agstack 6", "`Authorization` header");
    for scheme in [
        format!("Token {access}"),
        format!("Basic {access}"),
        access.clone(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        String::new(),
    ] {
        web.get("/home")
            .header("authorization", &scheme)
            .says(401, "Need to Login.")
            .await;
    }
    for token in [&canonical.access, &canonical.refresh, "urk_x", &"x".repeat(5_000)] {
        let reply = web.get("/home").bearer(token).send().await;
        assert_eq!(
            (reply.status, &reply.json()["message"]),
            (401, &json!("Need to Login.")),
            "{reply:?}"
        );
    }
    row("agstack 6", "cookies");
    for path in ["/v1/me", "/v1/sessions"] {
        let call = app.get(path).header("cookie", format!("access_token_cookie={access}"));
        call.send().await.refused(401, "unauthenticated");
    }
    app.get("/v1/me")
        .bearer(&refresh)
        .send()
        .await
        .refused(401, "unauthenticated");
    let body = json!({ "refresh_token": refresh });
    app.post("/v1/sessions/refresh", &body)
        .send()
        .await
        .refused(401, "invalid-credentials");
    // Bodies of the other APIs.
    for body in [
        json!({ "identifier": "ada@farm.example", "password": PASSWORD }),
        json!({ "username": "ada", "password": PASSWORD }),
        json!({ "phone": "+6584932466", "password": PASSWORD }),
    ] {
        web.post("/login", &body)
            .says(400, "Invalid request or missing credentials")
            .await;
        assert_eq!(web.post("/signup", &body).send().await.status, 400);
    }
    // Bytes that are no text anywhere lead to no fault.
    for (name, value) in [
        ("x-email", &b"\xe9\xff"[..]),
        ("x-password", b"\xff"),
        ("cookie", b"access_token_cookie=\xff"),
        ("user-agent", b"\xff"),
        ("authorization", b"Bearer \xff"),
    ] {
        let call = web
            .get("/")
            .header("x-asset-registry", "True")
            .header("x-email", "a@b.example");
        let reply = call.header("x-password", "x").header(name, value).send().await;
        assert!((400..500).contains(&reply.status), "{name}: {reply:?}");
    }
    for (kind, body) in [
        ("application/x-www-form-urlencoded", &b"email=%ff&password=%00&&=&%"[..]),
        ("multipart/form-data; boundary=edge", b"--edge\r\nnonsense"),
        ("multipart/form-data", b"x"),
        ("application/json", b"\xff"),
    ] {
        for path in ["/login", "/signup", "/forgot-password", "/reset-password/x"] {
            let reply = web
                .call("POST", path)
                .header("content-type", kind)
                .raw(body)
                .send()
                .await;
            assert!((400..500).contains(&reply.status), "{path} {kind}: {reply:?}");
        }
    }
    // The clients of old keep to Latin-1 in headers.
    web.post("/forgot-password", &json!({ "email": "ada@farm.example" }))
        .send()
        .await;
    let path = super::web::reset_link(&app, "ada@farm.example").await;
    let reply = web.post(&path, &json!({ "password": "Pässw0rd1" })).send().await;
    assert_eq!(reply.status, 200, "{reply:?}");
    for password in ["Pässw0rd1".as_bytes(), b"P\xe4ssw0rd1"] {
        let call = web
            .get("/")
            .header("x-asset-registry", "True")
            .header("x-email", "ada@farm.example");
        assert_eq!(call.header("x-password", password).send().await.status, 200);
    }
}

async fn refusals_of_outer_layers_have_this_dialects_shape(engine: Engine) {
    let settings = [
        ("REGISTRY__LIMITS__ENABLED", "true"),
        ("REGISTRY__LIMITS__SIGN_INS_PER_MINUTE", "2"),
    ];
    let app = App::start_with(engine, &settings).await;
    let web = Web::python(&app);
    row("agstack 6", "fallback 404/405/413/415/429/5xx bodies");
    let reply = web.call("DELETE", "/signup").says(405, "Method not allowed").await;
    assert!(reply.header("allow").contains("POST"), "{reply:?}");
    let kind = |kind: &str| web.call("POST", "/signup").header("content-type", kind);
    kind("text/plain").raw("x").says(415, "Unsupported media type").await;
    kind("application/json")
        .raw(vec![b' '; (16 << 10) + 1])
        .says(413, "Too large")
        .await;
    web.get(&format!("/resend?{}", "x".repeat(5_000)))
        .says(413, "Too large")
        .await;
    // Where `Message` is read, both spellings are there.
    let twice = |text: &str| json!({ "Message": text, "message": text });
    for path in [
        "/domains",
        "/authority-token/",
        "/generate-api-keys",
        "/admin/domains/farm.example",
    ] {
        web.get(&format!("{path}?{}", "x".repeat(5_000)))
            .is(413, twice("Too large"))
            .await;
        web.call("TRACE", path).is(405, twice("Method not allowed")).await;
    }
    web.get("/generate-api-keys").is(401, twice("Need to Login.")).await;
    // Whether there is an `error` is what is tested.
    row("agstack 3.8", "header missing/unparsable");
    let large = json!({ "Message": "Too large", "message": "Too large", "error": "Too large" });
    web.get(&format!("/fields-count-by-domain?{}", "x".repeat(5_000)))
        .is(413, large)
        .await;
    let browser = Web::agent(&app, Some(FIREFOX), "text/html");
    browser.call("PUT", "/signup").shows(405, "Method not allowed").await;
    let body = json!({ "email": "nobody@farm.example", "password": PASSWORD });
    let limited = crate::harness::until("the end of a share", async || {
        let reply = web.post("/login", &body).send().await;
        (reply.status == 429).then_some(reply)
    })
    .await;
    assert_eq!(
        limited.json(),
        json!({ "message": "Too many attempts. Please try again later." })
    );
    assert!(limited.header("retry-after").parse::<u32>().unwrap() > 0 && !limited.header("ratelimit").is_empty());
    // Elsewhere the canonical API words them.
    app.get("/nothing").send().await.refused(404, "not-found");
}

async fn the_dialect_is_mounted_a_second_time_where_it_is_asked_for(engine: Engine) {
    row(
        "agstack 6",
        "`/login`, `/logout`, `/signup`, `/update`, `/refresh`, `/resend`, `/home`, `/dashboard`, `/domains`, `/activate/{token}`, `/forgot-password`, `/reset-password/{token}`",
    );
    let app = App::start_with(engine, &[("REGISTRY__AGSTACK__PREFIX", "/agstack")]).await;
    let web = Web::python(&app);
    web.signs_up("ada@farm.example").await;
    for path in ["/agstack", "/agstack/", "/agstack/login", "/login"] {
        let body = json!({ "email": "ada@farm.example", "password": PASSWORD });
        assert_eq!(web.post(path, &body).send().await.status, 200, "{path}");
    }
    let browser = Web::browser(&app);
    browser
        .get("/agstack/update")
        .leads_to("/agstack/?next=%2Fupdate")
        .await;
    let page = browser.get("/agstack/").shows(200, "action=\"/agstack/login\"").await;
    assert!(page.body.contains("href=\"/agstack/agstack.css\""));
    assert_eq!(browser.get("/agstack/agstack.css").send().await.status, 200);
    let form = [
        ("email", "ada@farm.example"),
        ("password", PASSWORD),
        ("next", "/update"),
    ];
    browser.form("/agstack/login", &form).leads_to("/agstack/update").await;
    web.get("/agstack/nothing").says(404, "Not found").await;

    let app = App::start_with(engine, &[("REGISTRY__AGSTACK__HOST", "ur.example")]).await;
    let web = Web::python(&app);
    web.get("/domains").header("host", "ur.example").send().await;
    assert_eq!(
        web.get("/domains")
            .header("host", "ur.example:8080")
            .send()
            .await
            .status,
        200
    );
    assert_eq!(web.get("/domains").send().await.status, 404);

    let app = App::start_with(engine, &[("REGISTRY__AGSTACK__ENABLED", "false")]).await;
    app.get("/login").send().await.refused(404, "not-found");
    assert!(!app.place.folder().join("keys").join("agstack.secret").exists());
}
