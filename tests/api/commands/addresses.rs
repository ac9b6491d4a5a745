//! Single addresses, and the authority tokens of domains.

use insta::{allow_duplicates, assert_snapshot};
use serde_json::{Value, json};
use user_registry::tokens::{OpaqueKind, OpaqueToken};

use crate::harness::{App, Engine, PASSWORD, on_both_engines};

on_both_engines![
    a_blocked_address_may_not_register_and_its_neighbours_may,
    a_blocked_address_is_told_by_the_check_to_whom_may_ask,
    an_authority_token_is_shown_once_replaced_and_withdrawn,
];

async fn registers(app: &App, address: &str) -> u16 {
    let body = json!({ "email": address, "password": PASSWORD });
    app.command("register-user", &body).send().await.status
}

async fn a_blocked_address_may_not_register_and_its_neighbours_may(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let order = async |name: &str, body: Value| app.command(name, &body).bearer(&admin.access).send().await;
    let reply = order("unblock-address", json!({ "address": "x@nowhere.example" })).await;
    reply.refused(404, "not-found");
    let block = json!({ "address": "Mallory@BÜCHER.example", "reason": "abuse" });
    let reply = order("block-address", block.clone()).await;
    assert_eq!(
        (reply.status, reply.header("location")),
        (201, "/v1/domains/xn--bcher-kva.example")
    );
    assert_eq!(reply.json()["id"], "xn--bcher-kva.example");
    assert_eq!(reply.json()["events"], json!(["domain.address_blocked"]));
    assert_eq!(order("block-address", block).await.json()["events"], json!([]));
    for address in ["mallory@bücher.example", "MALLORY@xn--bcher-kva.example"] {
        let body = json!({ "email": address, "password": PASSWORD });
        let reply = app.command("register-user", &body).send().await;
        reply.refused(403, "address-blocked");
        assert!(!reply.body.to_lowercase().contains("mallory"), "{reply:?}");
    }
    assert_eq!(registers(&app, "ann@bücher.example").await, 201);
    // An administrator reads which address it is; the log holds it sealed.
    let path = "/v1/domains/xn--bcher-kva.example/history";
    let history = app.get(path).bearer(&admin.access).expect(200).await;
    assert_eq!(history["items"][0]["data"]["display"], "Mallory@xn--bcher-kva.example");
    let stored = app
        .log()
        .await
        .texts("SELECT CAST(payload AS TEXT) FROM events")
        .await
        .concat();
    assert!(!stored.to_lowercase().contains("mallory"));
    // Allowing the domain does not allow the address; unblocking it does.
    order("allow-domain", json!({ "domain": "bücher.example" })).await;
    assert_eq!(registers(&app, "mallory@bücher.example").await, 403);
    let reply = order("unblock-address", json!({ "address": "mallory@bücher.example" })).await;
    assert_eq!(reply.json()["events"], json!(["domain.address_unblocked"]));
    assert_eq!(registers(&app, "mallory@bücher.example").await, 201);
    let history = app.get(path).bearer(&admin.access).expect(200).await;
    assert_eq!(history["items"][0]["data"]["display"], Value::Null);
}

async fn a_blocked_address_is_told_by_the_check_to_whom_may_ask(engine: Engine) {
    for (public, status) in [("true", 200), ("false", 401)] {
        let app = App::start_with(engine, &[("REGISTRY__REGISTRATION__PUBLIC_CHECK", public)]).await;
        let admin = app.admin().await;
        let block = json!({ "address": "mallory@farm.example" });
        app.command("block-address", &block)
            .bearer(&admin.access)
            .expect(201)
            .await;
        let check = |address: &str| app.get(&format!("/v1/domains/check?address={address}"));
        assert_eq!(check("mallory@farm.example").send().await.status, status);
        let verdict = check("MALLORY@farm.example").bearer(&admin.access).send().await;
        allow_duplicates! { assert_snapshot!(verdict.wire(), @r#"{"allowed":false,"rule":{"domain":"farm.example","kind":"address_blocked","position":[position]}}"#) }
        let verdict = check("ann@farm.example").bearer(&admin.access).expect(200).await;
        assert_eq!(verdict["allowed"], true);
    }
}

async fn an_authority_token_is_shown_once_replaced_and_withdrawn(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let order = async |name: &str, key: &str| {
        app.command(name, &json!({ "domain": "Farm.example" }))
            .bearer(&admin.access)
            .header("idempotency-key", key)
            .send()
            .await
    };
    order("rotate-authority-token", "k0").await.refused(409, "conflict");
    order("revoke-authority-token", "k0b").await.refused(404, "not-found");
    let first = order("issue-authority-token", "k1").await;
    assert_eq!(
        (first.status, first.header("location")),
        (201, "/v1/domains/farm.example")
    );
    let body = first.json();
    assert_eq!(
        (&body["id"], &body["events"]),
        (&json!("farm.example"), &json!(["domain.authority_token_issued"]))
    );
    let token = body["authority_token"].as_str().unwrap().to_owned();
    assert!(OpaqueToken::parse(OpaqueKind::Authority, &token).is_ok());
    assert_eq!(order("issue-authority-token", "k1").await.json(), body);
    order("issue-authority-token", "k2").await.refused(409, "conflict");
    let kept = async || {
        let mut log = app.log().await;
        log.count("secrets", "kind = 'authority' AND owner = 'farm.example'")
            .await
    };
    let issued = async || {
        let path = "/v1/domains/farm.example";
        let domain = app.get(path).bearer(&admin.access).expect(200).await;
        domain["authority_token_issued"].clone()
    };
    assert_eq!((kept().await, issued().await), (1, json!(true)));
    // It speaks for its domain, not for anybody who has an account.
    let reply = app.get("/v1/me").bearer(&token).send().await;
    reply.refused(401, "unauthenticated");
    let second = order("rotate-authority-token", "k3").await.json();
    assert_ne!(second["authority_token"], json!(token));
    assert_eq!(second["events"], json!(["domain.authority_token_rotated"]));
    assert_eq!(kept().await, 1);
    let gone = order("revoke-authority-token", "k4").await.json();
    assert_eq!(gone["events"], json!(["domain.authority_token_revoked"]));
    assert_eq!(gone.get("authority_token"), None);
    assert_eq!((kept().await, issued().await), (0, json!(false)));
    assert_eq!(order("revoke-authority-token", "k5").await.json()["events"], json!([]));
    assert_eq!(order("issue-authority-token", "k6").await.status, 200);
    let stored = app.log().await.texts("SELECT receipt FROM idempotency").await.concat();
    assert!(!stored.contains("ura_"), "{stored}");
}
