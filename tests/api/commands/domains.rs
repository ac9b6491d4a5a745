//! The standing of domains.

use insta::{allow_duplicates, assert_snapshot};
use serde_json::{Value, json};

use crate::harness::{App, Engine, PASSWORD, on_both_engines};

on_both_engines![
    an_order_to_a_domain_answers_with_a_receipt,
    the_longest_rule_decides_and_subdomains_follow_when_asked,
    unknown_domains_follow_the_default,
    registrations_and_blocks_at_once_never_let_one_slip_through,
    an_address_can_be_checked_before_it_registers,
    a_rule_is_told_where_it_was_made_whatever_came_after,
];

async fn an_order_to_a_domain_answers_with_a_receipt(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let order = async |name: &str, body: Value| app.command(name, &body).bearer(&admin.access).send().await;
    let written = app.log().await.head().await;

    let reply = order(
        "block-domain",
        json!({ "domain": " BÜCHER.example ", "reason": "spam" }),
    )
    .await;
    assert_eq!((reply.status, reply.header("etag")), (201, "\"1\""));
    assert_eq!(reply.header("location"), "/v1/domains/xn--bcher-kva.example");
    assert_eq!(
        reply.json(),
        json!({ "id": "xn--bcher-kva.example", "version": 1, "position": written + 1, "events": ["domain.blocked"] })
    );
    let seen = app.get(reply.header("location")).bearer(&admin.access).send().await;
    assert_eq!((seen.status, seen.header("etag")), (200, "\"1\""));
    allow_duplicates! { assert_snapshot!(seen.wire(), @r#"{"name":"xn--bcher-kva.example","standing":"blocked","include_subdomains":true,"reason":"spam","users":0,"proved":false,"authority_token_issued":false,"version":1,"position":[position]}"#) }
    assert_eq!(
        app.get("/v1/domains/b%C3%BCcher.EXAMPLE")
            .bearer(&admin.access)
            .expect(200)
            .await,
        seen.json()
    );

    // The same again changes nothing; another reason or reach does.
    let same = order(
        "block-domain",
        json!({ "domain": "xn--bcher-kva.example", "reason": "spam" }),
    )
    .await;
    assert_eq!((same.status, same.header("location")), (200, ""));
    assert_eq!(
        same.json(),
        json!({ "id": "xn--bcher-kva.example", "version": 1, "position": written + 1, "events": [] })
    );
    let body = json!({ "domain": "bücher.example", "reason": "spam", "include_subdomains": false });
    assert_eq!(
        order("block-domain", body).await.json()["events"],
        json!(["domain.blocked"])
    );
    assert_eq!(
        order(
            "unblock-domain",
            json!({ "domain": "bücher.example", "reason": "sorry" })
        )
        .await
        .header("etag"),
        "\"3\""
    );
    assert_eq!(
        order("unblock-domain", json!({ "domain": "bücher.example" }))
            .await
            .json()["events"],
        json!([])
    );
    let path = "/v1/domains/xn--bcher-kva.example/history";
    let history = app.get(path).bearer(&admin.access).expect(200).await;
    let events = history["items"].as_array().unwrap();
    let types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["domain.blocked", "domain.blocked", "domain.unblocked"]);
    assert_eq!(events[2]["actor"], json!({ "kind": "admin", "id": admin.user }));
    assert_eq!(events[2]["data"], json!({ "reason": "sorry" }));
}

async fn registers(app: &App, address: &str) -> u16 {
    let body = json!({ "email": address, "password": PASSWORD });
    let reply = app.command("register-user", &body).send().await;
    if reply.status != 201 {
        reply.refused(403, "domain-blocked");
    }
    reply.status
}

async fn the_longest_rule_decides_and_subdomains_follow_when_asked(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let order = async |name: &str, body: Value| {
        app.command(name, &body).bearer(&admin.access).send().await;
    };
    order("block-domain", json!({ "domain": "farm.example" })).await;
    assert_eq!(registers(&app, "a@farm.example").await, 403);
    assert_eq!(registers(&app, "a@x.farm.example").await, 403);
    assert_eq!(registers(&app, "a@notfarm.example").await, 201);
    order(
        "allow-domain",
        json!({ "domain": "good.farm.example", "include_subdomains": false }),
    )
    .await;
    assert_eq!(registers(&app, "a@good.farm.example").await, 201);
    assert_eq!(registers(&app, "a@x.good.farm.example").await, 403);
    order(
        "block-domain",
        json!({ "domain": "farm.example", "include_subdomains": false }),
    )
    .await;
    assert_eq!(registers(&app, "b@farm.example").await, 403);
    assert_eq!(registers(&app, "b@x.farm.example").await, 201);
    // A whole top-level domain.
    order("block-domain", json!({ "domain": "test" })).await;
    assert_eq!(registers(&app, "a@farm.test").await, 403);
    let told = app
        .command(
            "register-user",
            &json!({ "email": "b@farm.test", "password": PASSWORD }),
        )
        .send()
        .await;
    assert!(
        told.json()["detail"]
            .as_str()
            .unwrap()
            .contains("test (blocked, version 1)"),
        "{told:?}"
    );
    // Whoever has no address has no domain.
    app.has_user("nobody.of.farm").await;
}

async fn unknown_domains_follow_the_default(engine: Engine) {
    let app = App::start_with(engine, &[("REGISTRY__DOMAINS__DEFAULT", "block")]).await;
    let mut log = app.log().await;
    assert_eq!(registers(&app, "a@farm.example").await, 403);
    assert_eq!((log.head().await, log.count("domains", "1 = 1").await), (0, 0));
    app.has_user("ada").await;
    // An operator's administrator needs a domain that may register, too.
    let verb = [
        "admin",
        "create",
        "--email",
        "boss@registry.example",
        "--username",
        "boss",
        "--password-stdin",
    ];
    let settings = [("REGISTRY__DOMAINS__DEFAULT", "block")];
    let refused = app.place.run_with(&verb, &settings, PASSWORD).await.unwrap_err();
    assert!(
        refused.contains("the domain registry.example may not register"),
        "{refused}"
    );
}

async fn registrations_and_blocks_at_once_never_let_one_slip_through(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    for round in 0..4 {
        let domain = format!("d{round}.example");
        let block = async {
            let reply = app
                .command("block-domain", &json!({ "domain": domain }))
                .bearer(&admin.access)
                .send()
                .await;
            assert!(matches!(reply.status, 200 | 201), "{reply:?}");
            reply.json()["position"].as_i64().unwrap()
        };
        let people = futures::future::join_all((0..8).map(|number| {
            let body = json!({ "email": format!("u{number}@{domain}"), "password": PASSWORD });
            app.command("register-user", &body).send()
        }));
        let (blocked_at, replies) = futures::join!(block, people);
        for reply in replies {
            match reply.status {
                201 => assert!(reply.json()["position"].as_i64().unwrap() < blocked_at, "{reply:?}"),
                _ => drop(reply.refused(403, "domain-blocked")),
            }
        }
        assert_eq!(registers(&app, &format!("late@{domain}")).await, 403);
    }
}

async fn an_address_can_be_checked_before_it_registers(engine: Engine) {
    let app = App::start_with(engine, &[("REGISTRY__REGISTRATION__PUBLIC_CHECK", "true")]).await;
    let admin = app.admin().await;
    let block = json!({ "domain": "spam.example" });
    let position = app
        .command("block-domain", &block)
        .bearer(&admin.access)
        .expect(201)
        .await["position"]
        .clone();
    let mut log = app.log().await;
    let written = log.written().await;
    let check = async |address: &str| {
        app.get(&format!("/v1/domains/check?address={address}"))
            .expect(200)
            .await
    };
    let rule = json!({ "domain": "spam.example", "kind": "blocked", "position": position });
    assert_eq!(
        check("ann@spam.example").await,
        json!({ "allowed": false, "rule": rule })
    );
    assert_eq!(
        check("ann@mail.SPAM.example").await,
        json!({ "allowed": false, "rule": rule })
    );
    let unknown = json!({ "domain": "farm.example", "kind": "default", "position": 0 });
    assert_eq!(
        check("ann@farm.example").await,
        json!({ "allowed": true, "rule": unknown })
    );
    // A credential that has ended is in nobody's way here.
    let stale = app
        .get("/v1/domains/check?address=ann@spam.example")
        .bearer("nonsense")
        .expect(200)
        .await;
    assert_eq!(stale["rule"], rule);
    // Whether somebody has the address is not told, and asking makes no domain known.
    assert_eq!(check("boss@registry.example").await["allowed"], json!(true));
    assert_eq!(log.written().await, written);
    assert_eq!(log.count("domains", "name = 'farm.example'").await, 0);
}

async fn a_rule_is_told_where_it_was_made_whatever_came_after(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let order = async |name: &str, body: Value| {
        let reply = app.command(name, &body).bearer(&admin.access).send().await;
        assert!(reply.status < 300, "{reply:?}");
        reply.json()["position"].clone()
    };
    let check = async |address: &str| {
        app.get(&format!("/v1/domains/check?address={address}"))
            .bearer(&admin.access)
            .expect(200)
            .await["rule"]
            .clone()
    };
    let domain = order("block-domain", json!({ "domain": "spam.example" })).await;
    let address = order("block-address", json!({ "address": "eve@farm.example" })).await;
    for name in ["spam.example", "farm.example"] {
        order("issue-authority-token", json!({ "domain": name })).await;
    }
    let rule = |name: &str, kind: &str, position: &Value| json!({ "domain": name, "kind": kind, "position": position });
    assert_eq!(
        check("ann@mail.spam.example").await,
        rule("spam.example", "blocked", &domain)
    );
    assert_eq!(
        check("eve@farm.example").await,
        rule("farm.example", "address_blocked", &address)
    );
    let allowed = order("allow-domain", json!({ "domain": "spam.example" })).await;
    order("revoke-authority-token", json!({ "domain": "spam.example" })).await;
    assert_eq!(
        check("ann@spam.example").await,
        rule("spam.example", "allowed", &allowed)
    );
}
