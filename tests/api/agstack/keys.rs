//! Sections 3.9 and 3.10.

use serde_json::json;

use super::web::{PASSWORD, Web, activated, claims, row};
use crate::harness::{App, Engine, on_both_engines};

on_both_engines![
    a_pair_of_keys_opens_until_another_is_made,
    a_setting_gives_pairs_of_keys_an_end,
    the_answer_of_verifying_never_holds_a_text
];

async fn a_pair_of_keys_opens_until_another_is_made(engine: Engine) {
    let app = App::start(engine).await;
    let web = Web::python(&app);
    let user = activated(&app, &web, "ada@farm.example").await;
    let (access, _) = web.logs_in("ada@farm.example").await;
    let make = async || {
        let reply = web.get("/generate-api-keys").bearer(&access).send().await;
        let body = reply.json();
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        let keys = (text("api_key"), text("client_secret"));
        let expected = json!({ "Message": "Keys generated successfully", "message": "Keys generated successfully", "api_key": keys.0, "client_secret": keys.1 });
        assert_eq!((reply.status, body), (200, expected));
        keys
    };
    let holds = async |key: &str, secret: &str| {
        let call = web
            .get("/verify-api-secret-keys")
            .header("api-key", key)
            .header("client-secret", secret);
        let reply = call.send().await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()["message"] == true
    };
    let (key, secret) = make().await;
    assert!(
        key.len() == 64 && key.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{key}"
    );
    row("agstack 3.9", "pair matches one user");
    assert!(holds(&key, &secret).await);
    let (second, its_secret) = make().await;
    row("agstack 3.9", "no match");
    assert!(!holds(&key, &secret).await && holds(&second, &its_secret).await);
    for (key, secret) in [
        (&second, &secret),
        (&key, &its_secret),
        (&its_secret, &second),
        (&second, &second),
    ] {
        assert!(!holds(key, secret).await);
    }
    // Listed with the owner's other keys, and revoked like one.
    let canonical = app.sign_in("ada@farm.example", PASSWORD).await;
    let keys = app.get("/v1/api-keys").bearer(&canonical.access).expect(200).await;
    let works: Vec<_> = keys["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|key| key["revoked"] == false)
        .collect();
    assert_eq!((works.len(), &works[0]["name"]), (1, &json!("AgStack")));
    let order = json!({ "key_id": works[0]["id"] });
    app.command("revoke-api-key", &order)
        .bearer(&canonical.access)
        .expect(200)
        .await;
    assert!(!holds(&second, &its_secret).await);
    // Neither half opens anything by itself.
    for token in [&second, &its_secret] {
        assert_eq!(app.get("/v1/me").bearer(token).send().await.status, 401);
        assert_eq!(web.get("/home").bearer(token).send().await.status, 401);
    }
    // Of somebody who is locked nothing holds.
    let (key, secret) = make().await;
    let admin = app.admin().await;
    let order = json!({ "user_id": user, "reason": "asked for" });
    app.command("lock-user", &order).bearer(&admin.access).expect(200).await;
    assert!(!holds(&key, &secret).await);
    app.command("unlock-user", &order)
        .bearer(&admin.access)
        .expect(200)
        .await;
    assert!(holds(&key, &secret).await);
    row("agstack 4", "H2");
    let mut log = app.log().await;
    for table in log.tables().await {
        let dump = log.dump(&table).await;
        for secret in [&key, &secret, &access] {
            assert!(!dump.contains(secret.as_str()), "{table}");
        }
    }

    // A browser is sent them by mail, and must mean it.
    let browser = Web::browser(&app);
    browser
        .form("/login", &[("email", "ada@farm.example"), ("password", PASSWORD)])
        .leads_to("/home")
        .await;
    assert_eq!(browser.get("/generate-api-keys").send().await.status, 405);
    row("agstack 4", "H8");
    let from = |origin: &str| browser.call("POST", "/generate-api-keys").header("origin", origin);
    assert_eq!(from("https://evil.example").send().await.status, 403);
    assert_eq!(from("null").send().await.status, 403);
    assert_eq!(browser.call("POST", "/generate-api-keys").send().await.status, 403);
    let before = app.mailbox().mails().len();
    from(app.base()).leads_to("/home").await;
    browser
        .get("/home")
        .shows(200, "API Keys are shared via email. Thanks!")
        .await;
    let token = browser.cookie("form_token").unwrap();
    browser
        .form("/generate-api-keys", &[("form_token", &token)])
        .leads_to("/home")
        .await;
    let other = browser
        .form("/generate-api-keys", &[("form_token", "AAAAAAAAAAAAAAAAAAAAAA")])
        .send()
        .await;
    assert_eq!(other.status, 403);
    let mails = crate::harness::until("two mails with keys", async || {
        let mails = app.mailbox().mails();
        (mails.len() >= before + 2).then_some(mails)
    })
    .await;
    assert_eq!(mails.last().unwrap().subject, "API Keys");

    // A device has no domain of its own.
    let call = web
        .post("/signup", &json!({}))
        .header("x-device-id", "0123456789abcdef");
    let secret = call.send().await.json()["device_secret"].as_str().unwrap().to_owned();
    let call = web
        .call("POST", "/login")
        .header("x-device-id", "0123456789abcdef")
        .header("x-device-secret", &secret);
    let device = call.send().await.json()["access_token"].as_str().unwrap().to_owned();
    let keys = web.get("/generate-api-keys").bearer(&device).send().await.json();
    assert_eq!(claims(keys["client_secret"].as_str().unwrap())["sub"], "mobile_login");
}

async fn a_setting_gives_pairs_of_keys_an_end(engine: Engine) {
    const DAYS: i64 = 30;
    let app = App::start_with(engine, &[("REGISTRY__AGSTACK__CLIENT_SECRET_DAYS", "30")]).await;
    let web = Web::python(&app);
    activated(&app, &web, "ada@farm.example").await;
    // The mail of the activation brings a pair, made anew from the log.
    let mail = crate::harness::until("a mail with keys", async || {
        let mut mails = app.mailbox().mails().into_iter();
        mails.find(|mail| mail.subject == "API Keys")
    })
    .await;
    let mailed = |fits: &dyn Fn(&str) -> bool| {
        let mut words = mail.text.split_whitespace();
        words.find(|word| fits(word)).unwrap().to_owned()
    };
    let key = mailed(&|word| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let secret = mailed(&|word| word.split('.').count() == 3 && word.starts_with("eyJ"));
    let holds = async |key: &str, secret: &str| {
        let call = web
            .get("/verify-api-secret-keys")
            .header("api-key", key)
            .header("client-secret", secret);
        call.send().await.json()["message"].clone()
    };
    assert_eq!(holds(&key, &secret).await, json!(true));
    let (access, _) = web.logs_in("ada@farm.example").await;
    let made = web.get("/generate-api-keys").bearer(&access).send().await.json();
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    assert_eq!(holds(&text("api_key"), &text("client_secret")).await, json!(true));
    for secret in [&secret, &text("client_secret")] {
        let claims = claims(secret);
        let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
        // It begins five seconds earlier.
        assert_eq!(life, DAYS * 86_400 + 5);
        assert_eq!(claims["token_use"], "client_secret");
        assert_eq!(web.get("/home").bearer(secret).send().await.status, 401);
    }
    // Its owner sees the same end.
    let canonical = app.sign_in("ada@farm.example", PASSWORD).await;
    let keys = app.get("/v1/api-keys").bearer(&canonical.access).expect(200).await;
    let mut listed = keys["items"].as_array().unwrap().iter();
    let works = listed.find(|key| key["revoked"] == false).unwrap();
    assert!(works["expires_at"].is_string(), "{works}");
    // Once it is over, neither half is worth anything.
    let mut log = app.log().await;
    let moved = "UPDATE api_keys SET expires_at = 1 WHERE expires_at IS NOT NULL";
    log.texts(&format!("{moved} RETURNING id")).await;
    assert_eq!(holds(&text("api_key"), &text("client_secret")).await, json!(false));
}

async fn the_answer_of_verifying_never_holds_a_text(engine: Engine) {
    let settings = [
        ("REGISTRY__LIMITS__ENABLED", "true"),
        ("REGISTRY__LIMITS__SECRETS_PER_MINUTE", "12"),
        ("REGISTRY__AGSTACK__TRUSTED_CLIENTS", "203.0.113.0/24"),
        ("REGISTRY__AGSTACK__PREFIX", "/agstack"),
    ];
    let app = App::start_with(engine, &settings).await;
    let web = Web::python(&app);
    row("agstack 3.9", "header missing");
    let required = json!({ "message": false, "error": "API Key and Client Secret are required." });
    web.get("/verify-api-secret-keys").is(400, required.clone()).await;
    web.get("/verify-api-secret-keys")
        .header("api-key", "x")
        .is(400, required.clone())
        .await;
    let long = "x".repeat(5_000);
    let browser = Web::browser(&app);
    let mut statuses = Vec::new();
    for base in ["", "/agstack"] {
        let path = format!("{base}/verify-api-secret-keys");
        for call in [
            web.call("POST", &path),
            browser.call("DELETE", &path),
            web.get(&format!("{path}?{long}")),
            web.get(&path).header("api-key", "\u{e9}").header("client-secret", " "),
            browser.get(&path).header("api-key", "a").header("client-secret", "b"),
        ] {
            let reply = call.send().await;
            assert_eq!(reply.json()["message"], json!(false), "{reply:?}");
            statuses.push(reply.status);
        }
    }
    assert_eq!(statuses, [405, 405, 413, 400, 200, 405, 405, 413, 400, 200]);
    // Strangers are kept to few, and told so in the same form.
    let limited = crate::harness::until("the end of a share", async || {
        let reply = web.get("/verify-api-secret-keys").send().await;
        (reply.status == 429).then_some(reply)
    })
    .await;
    assert_eq!(
        limited.json(),
        json!({ "message": false, "error": "Too many attempts. Please try again later." })
    );
    assert!(limited.header("retry-after").parse::<u32>().unwrap() > 0);
}
