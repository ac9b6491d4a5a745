//! Section 5: the calls of the asset registry and of the other clients, as they make them.

use serde_json::json;

use super::web::{PASSWORD, Web, activated, claims, row};
use crate::harness::{App, Engine, on_both_engines};

on_both_engines![the_asset_registry_makes_its_calls, the_other_clients_make_theirs];

async fn the_asset_registry_makes_its_calls(engine: Engine) {
    let app = App::start(engine).await;
    let (web, admin) = (Web::python(&app), app.admin().await);
    activated(&app, &web, "ada@farm.example").await;
    row("agstack 5.1", "`POST /login` (JSON email,password)");
    let login = |password: &'static str| {
        web.get("")
            .header("accept-encoding", "gzip, deflate")
            .header("connection", "keep-alive")
            .header("x-email", "ada@farm.example")
            .header("x-password", password)
            .header("x-asset-registry", "True")
    };
    // The body is JSON whatever the status.
    login("Wrong0rd").says(401, "Wrong password").await;
    let tokens = login(PASSWORD).send().await.json();
    let access = tokens["access_token"].as_str().unwrap();
    let said = claims(access);
    // Its main guard asks for this claim, true.
    assert_eq!(
        (&said["is_activated"], &said["domain"]),
        (&json!(true), &json!("farm.example"))
    );
    assert!(said.get("aud").is_none());
    row("agstack 5.1", "`GET /logout`");
    // Without a blank, and with the access token.
    let reply = web
        .get("/logout")
        .header("authorization", format!("Bearer{access}"))
        .header("x-from-asset-registry", "True")
        .send()
        .await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(
        web.get("/refresh")
            .bearer(tokens["refresh_token"].as_str().unwrap())
            .send()
            .await
            .status,
        401
    );
    row("agstack 5.1", "`GET /domains`");
    assert_eq!(
        web.get("/domains").send().await.json()["Domains"],
        json!(["farm.example", "registry.example"])
    );
    row("agstack 5.1", "`POST /domains`");
    // It reads `Message` of every answer.
    for token in [None, Some(admin.access.as_str()), Some(admin.access.as_str())] {
        let call = web.post("/domains", &json!({ "domain": "farm.example" }));
        let call = match token {
            Some(token) => call.bearer(token),
            None => call,
        };
        let reply = call.send().await;
        assert!(reply.json()["Message"].is_string(), "{reply:?}");
    }
    row("agstack 5.1", "field registration / look-up");
    let reply = web.get("/authority-token/?domain=farm.example").send().await;
    let token = reply.json()["Authority Token"].as_str().unwrap().to_owned();
    assert!(reply.status < 400);
    row("agstack 5.1", "`GET /fetch-field-count-by-domain`");
    let reply = web
        .get("/fields-count-by-domain")
        .header("authority-tokens", format!("['{token}']"))
        .header("x-csrftoken", "IjA")
        .json(&json!([token]))
        .send()
        .await;
    assert_eq!(
        (&reply.json()["error"], &reply.json()["authority_token_dict"][&token]),
        (&json!(null), &json!("farm.example"))
    );
    row("agstack 5.1", "any route with header `API-KEYS-AUTHENTICATION`");
    let (access, _) = web.logs_in("ada@farm.example").await;
    let keys = web.get("/generate-api-keys").bearer(&access).send().await.json();
    for (key, secret, holds) in [
        (
            keys["api_key"].as_str().unwrap(),
            keys["client_secret"].as_str().unwrap(),
            true,
        ),
        ("x", "y", false),
    ] {
        let call = web
            .get("/verify-api-secret-keys")
            .header("api-key", key)
            .header("client-secret", secret);
        assert_eq!(call.send().await.json()["message"], json!(holds));
    }
}

async fn the_other_clients_make_theirs(engine: Engine) {
    let app = App::start(engine).await;
    // A chain of custody's app.
    let dart = Web::agent(&app, Some("Dart/3.4 (dart:io)"), "*/*");
    let body = json!({ "email": "ada@farm.example", "password": PASSWORD, "phone_num": "", "discoverable": "true", "newsletter": "" });
    assert_eq!(dart.post("/signup", &body).send().await.status, 201);
    let (access, refresh) = dart.logs_in("ada@farm.example").await;
    let call = dart
        .call("PATCH", "/update")
        .json(&json!({ "phone_num": "921234567890" }));
    call.bearer(&access).says(202, "Phone number updated").await;
    assert!(dart.get("/authority-token?domain=farm.example").send().await.json()["authority_token"].is_null());
    assert!(dart.get("/domains").send().await.json()["Domains"].is_array());
    dart.call("DELETE", "/logout")
        .bearer(&refresh)
        .says(200, "Successfully logged out")
        .await;
    // A backend in Java, which calls itself Postman.
    let java = Web::agent(&app, Some("Postman"), "*/*");
    let call = java.post("/login", &json!({ "email": "ada@farm.example", "password": PASSWORD }));
    let reply = call.header("x-from-asset-registry", "True").send().await;
    assert!(reply.json()["access_token"].is_string());
    let call = java.post("/login", &json!({ "email": "", "password": "" }));
    let reply = call.header("x-from-asset-registry", "True").send().await;
    assert_eq!((reply.status, reply.json()["message"].is_string()), (400, true));
    // Notebooks with a session that keeps cookies.
    let notebook = Web::python_session(&app);
    for _ in 0..2 {
        let reply = notebook
            .post("/", &json!({ "email": "ada@farm.example", "password": PASSWORD }))
            .send()
            .await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    assert_eq!(notebook.get("/home").send().await.status, 200);
}
