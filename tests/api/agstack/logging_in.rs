//! Sections 1.1, 1.2, 1.4, 1.5, 2.2, 2.4 and 3.5.

use serde_json::{Value, json};

use super::web::{FIREFOX, PASSWORD, PYTHON, Web, activated, claims, head, row, set_cookie, signed};
use crate::harness::{App, Engine, on_both_engines};

on_both_engines![
    every_outcome_of_logging_in_is_the_contracts,
    tokens_say_what_the_contract_lists,
    a_token_that_opens_nothing_is_told_why,
    logging_out_ends_both_tokens_at_once,
    refreshing_gives_every_claim_again,
    who_gets_json_and_who_a_page,
    too_many_failures_must_wait,
];

const NEED: &str = "Need to Login.";

async fn every_outcome_of_logging_in_is_the_contracts(engine: Engine) {
    let app = App::start(engine).await;
    let (web, admin) = (Web::python(&app), app.admin().await);
    activated(&app, &web, "ada@farm.example").await;
    let credentials = json!({ "email": "Ada@farm.example", "password": PASSWORD });
    row("agstack 2.2", "success");
    row("agstack 6", "`/`");
    for path in ["/login", "/"] {
        let reply = web.post(path, &credentials).send().await;
        let body = reply.json();
        assert_eq!((reply.status, body.as_object().unwrap().len()), (200, 2), "{reply:?}");
        assert_eq!(reply.header("cache-control"), "no-store");
        for (cookie, field) in [
            ("access_token_cookie", "access_token"),
            ("refresh_token_cookie", "refresh_token"),
        ] {
            let line = set_cookie(&reply, cookie).unwrap();
            let token = body[field].as_str().unwrap();
            assert_eq!(line, format!("{cookie}={token}; HttpOnly; SameSite=Lax; Path=/"));
        }
    }
    let pairs = [("email", "ada@farm.example"), ("password", PASSWORD)];
    assert_eq!(web.form("/login", &pairs).send().await.status, 200);
    assert_eq!(web.call("POST", "/login").multipart(&pairs).send().await.status, 200);
    // By headers, also on a GET and with a body nobody asked for.
    for call in [
        web.get("/"),
        web.get("/login"),
        web.call("POST", "/"),
        web.get("/").json(&json!(["x"])),
    ] {
        let call = call
            .header("x-asset-registry", "true")
            .header("x-email", "ada@farm.example");
        let reply = call.header("x-password", PASSWORD).send().await;
        assert_eq!(
            (reply.status, reply.json()["access_token"].is_string()),
            (200, true),
            "{reply:?}"
        );
    }
    row("agstack 2.2", "no such user");
    let body = json!({ "email": "nobody@farm.example", "password": PASSWORD });
    let reply = web.post("/login", &body).says(401, "User does not exist").await;
    assert_eq!(reply.header("www-authenticate"), r#"Bearer realm="user-registry""#);
    row("agstack 2.2", "wrong password");
    let wrong = json!({ "email": "ada@farm.example", "password": "Wrong0rd" });
    web.post("/login", &wrong).says(401, "Wrong password").await;
    let call = web
        .get("/")
        .header("x-asset-registry", "True")
        .header("x-email", "ada@farm.example");
    call.header("x-password", "Wrong0rd").says(401, "Wrong password").await;
    row("agstack 2.2", "missing/invalid fields");
    let missing = "Invalid request or missing credentials";
    for body in [
        json!({}),
        json!({ "email": "ada@farm.example" }),
        json!({ "password": PASSWORD }),
        json!({ "email": "", "password": "" }),
        json!({ "email": "ada", "password": PASSWORD }),
        json!({ "email": ["ada@farm.example"], "password": PASSWORD }),
        json!({ "identifier": "ada@farm.example", "password": PASSWORD }),
        json!([]),
    ] {
        web.post("/login", &body).says(400, missing).await;
    }
    web.call("POST", "/login").says(400, missing).await;
    web.get("/").says(400, missing).await;
    let call = web
        .call("POST", "/")
        .header("content-type", "application/json")
        .raw("{");
    call.says(400, missing).await;
    row("agstack 2.2", "e-mail on the blocked list");
    row("agstack 4", "H13");
    let order = json!({ "address": "ada@farm.example" });
    app.command("block-address", &order).bearer(&admin.access).send().await;
    web.post("/login", &json!({ "email": "ada@farm.example", "password": PASSWORD }))
        .says(403, "\"ada@farm.example\" is blacklisted")
        .await;
    web.post("/login", &wrong).says(401, "Wrong password").await;
    app.command("unblock-address", &order)
        .bearer(&admin.access)
        .send()
        .await;
    row("agstack 2.2", "asset-registry unreachable on a body login");
    // Nobody is asked: no login depends on another service.
    assert_ne!(web.logs_in("ada@farm.example").await.0, "");

    row("agstack 2.2", "browser success");
    let browser = Web::browser(&app);
    browser.get("/").shows(200, "Log in").await;
    browser.form("/login", &pairs).leads_to("/home").await;
    browser.get("/login").leads_to("/home").await;
    for (next, to) in [
        ("/update?x=1", "/update?x=1"),
        ("//evil.example", "/home"),
        ("https://evil.example/", "/home"),
        ("/\\evil", "/home"),
    ] {
        row("agstack 4", "H10");
        let browser = Web::browser(&app);
        let form = [("email", "ada@farm.example"), ("password", PASSWORD), ("next", next)];
        browser.form("/", &form).leads_to(to).await;
    }
    row("agstack 2.2", "browser failure");
    let browser = Web::browser(&app);
    let form = [("email", "nobody@farm.example"), ("password", PASSWORD)];
    browser.form("/login", &form).leads_to("/").await;
    browser.get("/").shows(200, "User does not exist").await;
    // It is said once.
    let again = browser.get("/").shows(200, "Log in").await;
    assert!(!again.body.contains("User does not exist"));
    let form = [("email", "ada@farm.example"), ("password", "Wrong0rd")];
    browser.form("/login", &form).shows(200, "Wrong password").await;

    // Already logged in, by header or cookie: the tokens of the same session, made now.
    let session = Web::python_session(&app);
    session.logs_in("ada@farm.example").await;
    let reply = session.post("/login", &json!({})).send().await;
    assert_eq!(
        (reply.status, reply.json()["refresh_token"].is_string()),
        (200, true),
        "{reply:?}"
    );
    let (access, _) = web.logs_in("ada@farm.example").await;
    assert_eq!(web.get("/").bearer(&access).send().await.status, 200);

    // One pool: an account of the canonical API signs in here.
    let body = json!({ "email": "kim@farm.example", "username": "kim", "password": "seven green goats on a hill" });
    app.command("register-user", &body).expect(201).await;
    web.logs_in_with("kim@farm.example", "seven green goats on a hill")
        .await;

    // One answer for both, where its operator wants that.
    let app = App::start_with(engine, &[("REGISTRY__AGSTACK__UNIFORM_LOGIN_ERRORS", "true")]).await;
    let web = Web::python(&app);
    let body = json!({ "email": "nobody@farm.example", "password": PASSWORD });
    web.post("/login", &body).says(401, "Wrong password").await;
}

async fn tokens_say_what_the_contract_lists(engine: Engine) {
    let app = App::start(engine).await;
    let web = Web::python(&app);
    let user = web.signs_up("ada@farm.example").await;
    let (access, refresh) = web.logs_in("ada@farm.example").await;
    let now = app.log().await.numbers("SELECT recorded_at FROM log_head").await[0] / 1_000_000;
    let fixed = |token: &str, life: i64| {
        assert_eq!(head(token), json!({ "alg": "HS256", "typ": "JWT" }));
        let mut said = claims(token);
        let members = said.as_object_mut().unwrap();
        let mut take = |name: &str| members.remove(name).unwrap();
        let (iat, nbf, exp) = (take("iat"), take("nbf"), take("exp"));
        // A reader without leeway must not take it for one of the future.
        assert!(iat.as_i64().unwrap() < now, "{iat} and {now}");
        assert_eq!((&iat, exp.as_i64().unwrap() - iat.as_i64().unwrap()), (&nbf, life));
        let jti = uuid::Uuid::parse_str(take("jti").as_str().unwrap()).unwrap();
        assert_eq!(jti.get_version_num(), 4);
        said
    };
    row("agstack 1.4", "access");
    row("agstack 5.3", "main guard");
    row("agstack 5.3", "field registration guard");
    row("agstack 5.3", "domain of the caller");
    assert_eq!(
        fixed(&access, 4 * 3_600),
        json!({ "fresh": false, "type": "access", "sub": user, "domain": "farm.example", "is_activated": false, "uuid": user })
    );
    row("agstack 1.4", "refresh");
    assert_eq!(
        fixed(&refresh, 86_400),
        json!({ "fresh": false, "type": "refresh", "sub": user })
    );
    row("agstack 1.4", "client secret");
    row("agstack 4", "H16");
    let keys = web.get("/generate-api-keys").bearer(&access).send().await.json();
    let secret = claims(keys["client_secret"].as_str().unwrap());
    assert_eq!(
        (&secret["sub"], &secret["type"], &secret["fresh"], &secret["token_use"]),
        (
            &json!("farm.example"),
            &json!("access"),
            &json!(false),
            &json!("client_secret")
        )
    );
    assert_eq!(
        (&secret["exp"], &secret["aud"], &secret["iss"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert!(secret["iat"].is_i64() && secret["iat"] == secret["nbf"] && secret["jti"].is_string());
    // Its form is a token's, and it is none.
    let refused = web
        .get("/home")
        .bearer(keys["client_secret"].as_str().unwrap())
        .send()
        .await;
    assert_eq!((refused.status, &refused.json()["message"]), (401, &json!(NEED)));
    row("agstack 5.3", "token intake `GET /`");
    // What peers share verifies all of them.
    for token in [&access, &refresh, keys["client_secret"].as_str().unwrap()] {
        use jsonwebtoken::{Algorithm, DecodingKey, Validation};
        user_registry::tokens::use_ring();
        let mut rules = Validation::new(Algorithm::HS256);
        rules.required_spec_claims.clear();
        let key = DecodingKey::from_secret(super::web::secret(&app).as_bytes());
        jsonwebtoken::decode::<Value>(token, &key, &rules).unwrap();
    }
    // The key file has 32 bytes in hexadecimal digits, and is its owner's only.
    let file = app.place.folder().join("keys").join("agstack.secret");
    assert_eq!(super::web::secret(&app).len(), 64);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

async fn a_token_that_opens_nothing_is_told_why(engine: Engine) {
    let app = App::start(engine).await;
    let web = Web::python(&app);
    let user = activated(&app, &web, "ada@farm.example").await;
    let (access, refresh) = web.logs_in("ada@farm.example").await;
    let told = |reason: &str| json!({ "message": NEED, "msg": reason });
    row("agstack 1.5", "protected route, no token, API client");
    for (method, path) in [
        ("GET", "/update"),
        ("POST", "/update"),
        ("GET", "/home"),
        ("GET", "/dashboard"),
        ("GET", "/asset-registry-home"),
        ("GET", "/resend"),
        ("GET", "/refresh"),
    ] {
        web.call(method, path).says(401, NEED).await;
    }
    row("agstack 1.5", "protected route, no token, browser");
    Web::browser(&app)
        .get("/update?x=1")
        .leads_to("/?next=%2Fupdate%3Fx%3D1")
        .await;
    row("agstack 1.5", "malformed / bad signature");
    for (token, reason) in [
        ("nonsense", "Not enough segments"),
        ("a.b.c", "Not enough segments"),
        (
            &format!("{}x", &access[..access.len() - 1]),
            "Signature verification failed",
        ),
    ] {
        web.get("/home").bearer(token).is(401, told(reason)).await;
    }
    let canonical = app.sign_in("ada@farm.example", PASSWORD).await;
    web.get("/home")
        .bearer(&canonical.access)
        .is(401, told("Not enough segments"))
        .await;
    row("agstack 1.5", "refresh token on an access-only route");
    web.get("/home")
        .bearer(&refresh)
        .is(401, told("Only non-refresh tokens are allowed"))
        .await;
    row("agstack 1.5", "access token on a refresh-only route");
    web.get("/refresh")
        .bearer(&access)
        .is(401, told("Only refresh tokens are allowed"))
        .await;
    row("agstack 1.5", "expired");
    let mut old = claims(&access);
    (old["iat"], old["nbf"], old["exp"]) = (json!(1_000), json!(1_000), json!(2_000));
    let old = signed(&app, &old);
    web.get("/home").bearer(&old).is(401, told("Token has expired")).await;
    let browser = Web::browser(&app);
    browser.put_cookie("access_token_cookie", &old);
    browser.get("/home").leads_to("/?next=%2Fhome").await;
    browser.put_cookie("refresh_token_cookie", &refresh);
    browser.get("/home").leads_to("/refresh").await;
    browser.get("/refresh").leads_to("/home").await;
    browser.get("/home").shows(200, "ada@farm.example").await;
    row("agstack 1.5", "revoked");
    web.get("/logout")
        .bearer(&access)
        .says(200, "Successfully logged out")
        .await;
    for token in [&access, &refresh] {
        let reply = web.get("/logout").bearer(token).send().await;
        assert_eq!((reply.status, reply.json()), (401, told("Token has been revoked")));
    }
    // Whoever shares the secret can sign, and still names no session.
    let (access, _) = web.logs_in("ada@farm.example").await;
    for change in [
        json!({ "jti": "0f8fad5b-d9cb-469f-a165-70867728950e" }),
        json!({ "type": "refresh" }),
        json!({ "sub": "0197a1b2-0000-7000-8000-000000000001" }),
        json!({ "iat": claims(&access)["iat"].as_i64().unwrap() - 1 }),
    ] {
        let mut forged = claims(&access);
        forged
            .as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        let reply = web.get("/home").bearer(&signed(&app, &forged)).send().await;
        assert_eq!(
            (reply.status, &reply.json()["message"]),
            (401, &json!(NEED)),
            "{change}"
        );
    }
    assert!(!user.is_empty());
    // None of them opens anything of the canonical API, whose tokens open nothing here.
    app.get("/v1/me")
        .bearer(&access)
        .send()
        .await
        .refused(401, "unauthenticated");
}

async fn logging_out_ends_both_tokens_at_once(engine: Engine) {
    let app = App::start(engine).await;
    let web = Web::python(&app);
    activated(&app, &web, "ada@farm.example").await;
    row("agstack 2.4", "success");
    row("agstack 4", "H5");
    for (method, which) in [("GET", 0), ("POST", 1), ("DELETE", 0)] {
        let (access, refresh) = web.logs_in("ada@farm.example").await;
        let token = if which == 0 { &access } else { &refresh };
        let reply = web
            .call(method, "/logout")
            .bearer(token)
            .says(200, "Successfully logged out")
            .await;
        for cookie in ["access_token_cookie", "refresh_token_cookie"] {
            let line = set_cookie(&reply, cookie).unwrap();
            assert!(
                line.starts_with(&format!("{cookie}=; Expires=Thu, 01 Jan 1970")),
                "{line}"
            );
        }
        for path in ["/home", "/generate-api-keys"] {
            assert_eq!(web.get(path).bearer(&access).send().await.status, 401);
        }
        assert_eq!(web.get("/refresh").bearer(&refresh).send().await.status, 401);
    }
    row("agstack 2.4", "browser success");
    let browser = Web::browser(&app);
    let form = [("email", "ada@farm.example"), ("password", PASSWORD)];
    browser.form("/login", &form).leads_to("/home").await;
    browser.get("/logout").leads_to("/").await;
    assert_eq!(browser.cookie("access_token_cookie"), None);
    browser.get("/").shows(200, "Successfully logged out").await;
    row("agstack 2.4", "no/invalid token, API client");
    web.get("/logout").says(401, NEED).await;
    let reply = web.get("/logout").bearer("x.y.z").send().await;
    assert_eq!((reply.status, &reply.json()["message"]), (401, &json!(NEED)));
    assert!(set_cookie(&reply, "access_token_cookie").is_some());
    row("agstack 2.4", "no/invalid token, browser");
    let browser = Web::browser(&app);
    browser.get("/logout").leads_to("/").await;
    browser.put_cookie("access_token_cookie", "x.y.z");
    browser.get("/logout").leads_to("/").await;
}

async fn refreshing_gives_every_claim_again(engine: Engine) {
    let app = App::start(engine).await;
    let web = Web::python(&app);
    activated(&app, &web, "ada@farm.example").await;
    let (access, refresh) = web.logs_in("ada@farm.example").await;
    row("agstack 3.5", "API client");
    let reply = web.get("/refresh").bearer(&refresh).send().await;
    let body = reply.json();
    assert_eq!((reply.status, body.as_object().unwrap().len()), (200, 2), "{reply:?}");
    assert_eq!(body["access token"], body["access_token"]);
    let (fresh, first) = (claims(body["access_token"].as_str().unwrap()), claims(&access));
    for name in ["domain", "is_activated", "uuid", "sub", "type"] {
        assert_eq!(fresh[name], first[name]);
    }
    assert_eq!(
        web.get("/home")
            .bearer(body["access_token"].as_str().unwrap())
            .send()
            .await
            .status,
        200
    );
    // It is not used up.
    assert_eq!(web.get("/refresh").bearer(&refresh).send().await.status, 200);
    row("agstack 3.5", "browser");
    let browser = Web::browser(&app);
    let form = [("email", "ada@farm.example"), ("password", PASSWORD)];
    browser.form("/login", &form).leads_to("/home").await;
    let reply = browser.get("/refresh").leads_to("/home").await;
    assert!(
        set_cookie(&reply, "access_token_cookie")
            .unwrap()
            .contains("; HttpOnly; SameSite=Lax; Path=/")
    );
    let own = format!("{}/update", app.base());
    browser
        .get("/refresh")
        .header("referer", &own)
        .leads_to("/update")
        .await;
    browser
        .get("/refresh")
        .header("referer", "https://evil.example/x")
        .leads_to("/home")
        .await;
    row("agstack 3.5", "no refresh token");
    web.get("/refresh").says(401, NEED).await;
    row("agstack 1.5", "protected route, no token, browser");
    let browser = Web::browser(&app);
    browser.get("/refresh").leads_to("/?next=%2Frefresh").await;
    browser.put_cookie("refresh_token_cookie", "x.y.z");
    browser.get("/refresh").leads_to("/?next=%2Frefresh").await;
    // Whoever logs in there has what they came for.
    let form = [
        ("email", "ada@farm.example"),
        ("password", PASSWORD),
        ("next", "/refresh"),
    ];
    browser.form("/", &form).leads_to("/refresh").await;
    browser.get("/refresh").leads_to("/home").await;
}

async fn who_gets_json_and_who_a_page(engine: Engine) {
    let app = App::start(engine).await;
    for (agent, accept) in [
        (Some(PYTHON), "*/*"),
        (Some("Postman"), "*/*"),
        (Some("Dart/3.4 (dart:io)"), "*/*"),
        (Some("curl/8.5.0"), "*/*"),
        (None, "*/*"),
        (Some(FIREFOX), "application/json"),
        (Some("MyApp (Android 14)"), "text/html"),
    ] {
        Web::agent(&app, agent, accept).get("/home").says(401, NEED).await;
    }
    let page = Web::agent(&app, Some(FIREFOX), "text/html");
    page.get("/home").leads_to("/?next=%2Fhome").await;
    page.get("/home")
        .header("x-from-asset-registry", "True")
        .says(401, NEED)
        .await;
    page.get("/home")
        .header("content-type", "application/json")
        .says(401, NEED)
        .await;
    let phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Mobile/15E148";
    Web::agent(&app, Some(phone), "text/html,*/*")
        .get("/home")
        .leads_to("/?next=%2Fhome")
        .await;
    Web::agent(&app, Some(phone), "*/*").get("/home").says(401, NEED).await;
}

async fn too_many_failures_must_wait(engine: Engine) {
    let app = App::start_with(engine, &[("REGISTRY__LIMITS__ENABLED", "true")]).await;
    let web = Web::python(&app);
    web.signs_up("ada@farm.example").await;
    row("agstack 2.2", "too many failures");
    for email in ["ada@farm.example", "nobody@farm.example"] {
        let mut seen = Vec::new();
        while seen.len() < 12 {
            let reply = web
                .post("/login", &json!({ "email": email, "password": "Wrong0rd" }))
                .send()
                .await;
            seen.push(reply.status);
            if reply.status == 429 {
                assert_eq!(
                    reply.json(),
                    json!({ "message": "Too many attempts. Please try again later." })
                );
                assert!(reply.header("retry-after").parse::<u32>().unwrap() > 0);
                break;
            }
        }
        assert_eq!((seen.first(), seen.last()), (Some(&401), Some(&429)), "{seen:?}");
    }
    // One mail a minute.
    let (access, _) = web.logs_in_later("ada@farm.example").await;
    web.get("/resend")
        .bearer(&access)
        .says(200, "A new confirmation email has been sent.")
        .await;
    let reply = web
        .get("/resend")
        .bearer(&access)
        .says(429, "Too many attempts. Please try again later.")
        .await;
    assert!(reply.header("retry-after").parse::<u32>().unwrap() > 0);
}
