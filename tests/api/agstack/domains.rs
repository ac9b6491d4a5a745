//! Sections 2.5, 3.6, 3.7, 3.8 and 5.5.

use serde_json::{Value, json};

use super::web::{PASSWORD, Web, activated, row};
use crate::harness::{App, Engine, on_both_engines};

on_both_engines![
    peers_learn_of_domains_and_their_tokens,
    only_administrators_authorize_domains,
    a_token_that_was_replaced_is_still_told_whose_it_was,
    strangers_learn_less_than_peers,
];

fn twice(text: &str) -> Value {
    json!({ "Message": text, "message": text })
}

async fn peers_learn_of_domains_and_their_tokens(engine: Engine) {
    let app = App::start(engine).await;
    let (web, admin) = (Web::python(&app), app.admin().await);
    web.signs_up("ada@farm.example").await;
    let order = json!({ "domain": "bad.example" });
    app.command("block-domain", &order).bearer(&admin.access).send().await;
    let reply = web.get("/domains").send().await;
    // The administrator's own domain is there too, and what is blocked.
    assert_eq!(
        (reply.status, reply.json()),
        (
            200,
            json!({ "Message": "All domains", "message": "All domains", "Domains": ["bad.example", "farm.example", "registry.example"] })
        )
    );
    row("agstack 2.5", "domain unknown, or no `domain` parameter");
    row("agstack 6", "trailing slash");
    let unknown = "Authority token not found.";
    for path in [
        "/authority-token",
        "/authority-token/",
        "/authority-token/?domain=",
        "/authority-token?domain=no.example",
        "/authority-token/?domain=a%00b",
        "/authority-token/?x=1",
    ] {
        web.get(path).is(400, twice(unknown)).await;
    }
    row("agstack 2.5", "domain known, no token");
    for path in [
        "/authority-token?domain=farm.example",
        "/authority-token/?domain=FARM.example",
    ] {
        web.get(path).is(404, twice("Authority token not found")).await;
    }
    row("agstack 2.5", "domain has a token");
    let order = json!({ "domain": "farm.example" });
    app.command("issue-authority-token", &order)
        .bearer(&admin.access)
        .send()
        .await;
    let mut tokens = Vec::new();
    for path in [
        "/authority-token?domain=farm.example",
        "/authority-token/?domain=farm.example",
    ] {
        let reply = web.get(path).send().await;
        let text = "Authority token fetched successfully for domain: farm.example";
        let token = reply.json()["Authority Token"].as_str().unwrap().to_owned();
        let body = json!({ "Message": text, "message": text, "Authority Token": token, "authority_token": token });
        assert_eq!((reply.status, reply.json()), (200, body));
        assert!(
            token.len() == 16 && token.bytes().all(|byte| byte.is_ascii_alphanumeric()),
            "{token}"
        );
        tokens.push(token);
    }
    assert_eq!(tokens[0], tokens[1]);
    row("agstack 3.8", "ok");
    let dictionary = |pairs: Value| json!({ "Message": "Authority Tokens Dictionary", "message": "Authority Tokens Dictionary", "authority_token_dict": pairs });
    let known = json!({ &tokens[0]: "farm.example" });
    for (header, pairs) in [
        ("[]".to_owned(), json!({})),
        (format!("['{}', 'unknown0unknown0']", tokens[0]), known.clone()),
        (format!("[\"{}\"]", tokens[0]), known.clone()),
    ] {
        let call = web.get("/fields-count-by-domain").header("authority-tokens", &header);
        // The list comes in the body as well, with a header that means nothing here.
        let call = call.header("x-csrftoken", "x").json(&json!([tokens[0]]));
        call.is(200, dictionary(pairs)).await;
    }
    let by_body = web.get("/fields-count-by-domain").json(&json!([tokens[0]]));
    by_body.is(200, dictionary(known.clone())).await;
    // Many domains make a long header.
    let many: Vec<String> = (0..2_500).map(|number| format!("'{number:016}'")).collect();
    let header = format!("['{}', {}]", tokens[0], many.join(", "));
    assert!(header.len() > 48 << 10);
    web.get("/fields-count-by-domain")
        .header("authority-tokens", &header)
        .is(200, dictionary(known))
        .await;
    row("agstack 3.8", "header missing/unparsable");
    row("agstack 4", "H1");
    for header in [
        None,
        Some("nonsense"),
        Some("__import__('os').system('true')"),
        Some("['a' for x in ()]"),
        Some("['a'"),
        Some("[1]"),
    ] {
        let call = web.get("/fields-count-by-domain");
        let call = match header {
            Some(header) => call.header("authority-tokens", header),
            None => call,
        };
        let reply = call.send().await;
        assert_eq!(reply.status, 400, "{reply:?}");
        assert_eq!(reply.json()["message"], "Fetching Domains with authority tokens Error");
        assert!(
            reply.json()["error"].as_str().is_some_and(|error| !error.is_empty()),
            "{reply:?}"
        );
    }
}

async fn only_administrators_authorize_domains(engine: Engine) {
    let app = App::start(engine).await;
    let (web, admin) = (Web::python(&app), app.admin().await);
    activated(&app, &web, "ada@farm.example").await;
    let (access, _) = web.logs_in("ada@farm.example").await;
    let order = json!({ "domain": "farm.example" });
    row("agstack 3.7", "caller is not allowed");
    row("agstack 4", "H3");
    let refused = twice("Need to Login.");
    web.post("/domains", &order).is(401, refused.clone()).await;
    web.post("/domains", &order)
        .bearer(&access)
        .is(401, refused.clone())
        .await;
    // An administrator by a token of this dialect is none: its secret is shared.
    let (boss, _) = web
        .logs_in_with("boss@registry.example", "seven green goats on a hill")
        .await;
    web.post("/domains", &order)
        .bearer(&boss)
        .is(401, refused.clone())
        .await;
    let post = |body: Value| web.post("/domains", &body).bearer(&admin.access);
    row("agstack 3.7", "`domain` missing/empty");
    for body in [
        json!({}),
        json!({ "domain": "" }),
        json!({ "domain": null }),
        json!({ "domain": ["x"] }),
    ] {
        post(body).is(400, twice("Domain is required.")).await;
    }
    row("agstack 3.7", "domain unknown");
    post(json!({ "domain": "no.example" }))
        .is(400, twice("Domain not found."))
        .await;
    post(json!({ "domain": "no domain" }))
        .is(400, twice("Domain not found."))
        .await;
    row("agstack 3.7", "body is not JSON");
    for body in ["", "{", "domain=farm.example", "[]"] {
        let call = web.call("POST", "/domains").bearer(&admin.access).raw(body);
        call.is(400, twice("Authorizing Domain Error")).await;
    }
    row("agstack 3.7", "authorised now");
    // Read as JSON whatever its label says.
    let call = web
        .call("POST", "/domains")
        .bearer(&admin.access)
        .header("content-type", "text/plain");
    let now = json!({ "Message": "Domain Authorized", "message": "Domain Authorized", "Domain": "farm.example" });
    call.raw(order.to_string()).is(200, now).await;
    row("agstack 3.7", "already has a token");
    post(order.clone()).is(200, twice("Domain already authorized.")).await;
    let history = app
        .get("/v1/domains/farm.example/history")
        .bearer(&admin.access)
        .expect(200)
        .await;
    let issued = history["items"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(
        (&issued["type"], &issued["actor"]["id"]),
        (&json!("domain.authority_token_issued"), &json!(admin.user))
    );
    // An administrator's API key does too.
    web.signs_up("bob@mill.example").await;
    let body = json!({ "name": "peer", "roles": ["admin"] });
    let key = app
        .command("issue-api-key", &body)
        .bearer(&admin.access)
        .send()
        .await
        .json()["api_key"]
        .clone();
    let call = web
        .post("/domains", &json!({ "domain": "mill.example" }))
        .bearer(key.as_str().unwrap());
    assert_eq!(call.send().await.json()["Message"], "Domain Authorized");

    // What operators of old did in the table.
    let call = |method: &str, path: &str| web.call(method, path).bearer(&admin.access);
    let body = |belongs_to| json!({ "Message": "Domain updated", "message": "Domain updated", "domain": "mill.example", "belongs_to": belongs_to });
    call("PUT", "/admin/domains/mill.example")
        .json(&json!({ "belongs_to": 1 }))
        .is(200, body(1))
        .await;
    web.post("/signup", &json!({ "email": "c@mill.example", "password": PASSWORD }))
        .says(401, "You are not allowed to register.")
        .await;
    call("PUT", "/admin/domains/mill.example")
        .json(&json!({ "belongs_to": "0" }))
        .is(200, body(0))
        .await;
    web.signs_up("c@mill.example").await;
    call("PUT", "/admin/domains/mill.example")
        .json(&json!({ "belongs_to": 2 }))
        .is(400, twice("belongs_to must be 0 or 1."))
        .await;
    call("PUT", "/admin/blocked-emails/d@mill.example")
        .is(200, twice("Email blocked"))
        .await;
    web.post("/signup", &json!({ "email": "d@mill.example", "password": PASSWORD }))
        .says(401, "You are not allowed to register.")
        .await;
    call("DELETE", "/admin/blocked-emails/d@mill.example")
        .is(200, twice("Email unblocked"))
        .await;
    web.signs_up("d@mill.example").await;
    web.call("PUT", "/admin/domains/mill.example")
        .json(&json!({ "belongs_to": 1 }))
        .is(401, refused)
        .await;

    // Peers may, where their operator says so.
    let app = App::start_with(engine, &[("REGISTRY__AGSTACK__TRUSTED_CLIENTS_MAY_AUTHORIZE", "true")]).await;
    let web = Web::python(&app);
    web.signs_up("ada@farm.example").await;
    assert_eq!(
        web.post("/domains", &order).send().await.json()["Message"],
        "Domain Authorized"
    );
}

async fn a_token_that_was_replaced_is_still_told_whose_it_was(engine: Engine) {
    let app = App::start(engine).await;
    let (web, admin) = (Web::python(&app), app.admin().await);
    web.signs_up("ada@farm.example").await;
    let order = json!({ "domain": "farm.example" });
    let token =
        async || web.get("/authority-token/?domain=farm.example").send().await.json()["Authority Token"].clone();
    let mut tokens = Vec::new();
    for command in [
        "issue-authority-token",
        "rotate-authority-token",
        "rotate-authority-token",
    ] {
        app.command(command, &order).bearer(&admin.access).send().await;
        tokens.push(token().await.as_str().unwrap().to_owned());
    }
    row("agstack 4", "H18");
    assert!(tokens[0] != tokens[1] && tokens[1] != tokens[2]);
    app.command("revoke-authority-token", &order)
        .bearer(&admin.access)
        .send()
        .await;
    assert_eq!(
        web.get("/authority-token/?domain=farm.example").send().await.status,
        404
    );
    let header = format!("['{}']", tokens.join("', '"));
    let reply = web
        .get("/fields-count-by-domain")
        .header("authority-tokens", &header)
        .send()
        .await;
    let all = reply.json()["authority_token_dict"].clone();
    assert_eq!(all.as_object().unwrap().len(), 3, "{reply:?}");
    assert!(tokens.iter().all(|token| all[token] == "farm.example"));
}

async fn strangers_learn_less_than_peers(engine: Engine) {
    let elsewhere = ("REGISTRY__AGSTACK__TRUSTED_CLIENTS", "203.0.113.0/24");
    let app = App::start_with(engine, &[elsewhere]).await;
    let (web, admin) = (Web::python(&app), app.admin().await);
    activated(&app, &web, "ada@farm.example").await;
    web.signs_up("bob@mill.example").await;
    let order = json!({ "domain": "farm.example" });
    row("agstack 4", "H14");
    let domains = async || web.get("/domains").send().await.json()["Domains"].clone();
    assert_eq!(domains().await, json!([]));
    app.command("issue-authority-token", &order)
        .bearer(&admin.access)
        .send()
        .await;
    assert_eq!(domains().await, json!(["farm.example"]));
    web.get("/authority-token/?domain=farm.example")
        .is(401, twice("Need to Login."))
        .await;
    let (ada, _) = web.logs_in("ada@farm.example").await;
    let (bob, _) = web.logs_in("bob@mill.example").await;
    let asks = |token: &str| web.get("/authority-token/?domain=farm.example").bearer(token).send();
    assert_eq!(asks(&ada).await.status, 200);
    assert_eq!(asks(&bob).await.status, 401);
    app.command("block-domain", &order).bearer(&admin.access).send().await;
    assert_eq!(domains().await, json!([]));
}
