//! The examples of the document work: each is sent to a service as it stands, and is not refused.
//!
//! Only what a service itself gives out is put in: ids, the tokens of mails, the codes of short messages.

use serde_json::{Value, json};

use super::operations;
use crate::harness::contract::compiled;
use crate::harness::{App, Engine, NameServer, Reply, on_both_engines};

on_both_engines![every_example_of_the_document_works];

/// The password of the examples, until it is changed.
const FIRST: &str = "quiet harbour lantern";

async fn every_example_of_the_document_works(engine: Engine) {
    let mut sent = 0;
    // For what needs no account of its own; the others each have a service to themselves.
    let dns = NameServer::start().await;
    let shared = App::start_with(engine, &[("REGISTRY__DOMAINS__RESOLVERS", &dns.address())]).await;
    let admin = shared.admin().await;
    for (method, path, operation) in operations() {
        let content = &operation["requestBody"]["content"]["application/json"];
        for (name, example) in content["examples"].as_object().into_iter().flatten() {
            let body = &example["value"];
            compiled(&content["schema"])
                .validate(body)
                .unwrap_or_else(|problem| panic!("{path}, {name}: {problem}"));
            assert_eq!(method, "POST");
            let kinds = ["-domain", "-domain-proof", "-address", "-authority-token"];
            let reply = if kinds.iter().any(|kind| path.ends_with(kind)) {
                let mut body = body.clone();
                let command = path.trim_start_matches("/v1/commands/");
                if command == "prove-domain" {
                    let asked = shared.command("request-domain-proof", &body).bearer(&admin.access);
                    let asked = asked.send().await.json();
                    dns.publish(
                        asked["txt_name"].as_str().unwrap(),
                        &[asked["txt_value"].as_str().unwrap()],
                    );
                }
                prepare(&shared, command, &mut body, "", &admin.access).await;
                shared.post(path, &body).bearer(&admin.access).send().await
            } else {
                with_an_account(engine, path, operation, body).await
            };
            assert!((200..300).contains(&reply.status), "{path}, {name}: {reply:?}");
            sent += 1;
        }
    }
    for (method, path, operation) in operations() {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        for parameter in parameters.filter(|parameter| !parameter["example"].is_null()) {
            compiled(&parameter["schema"])
                .validate(&parameter["example"])
                .unwrap_or_else(|problem| panic!("{method} {path}: {problem}"));
        }
    }
    let asked = every_example_of_a_query_works(&shared, &admin.access).await;
    told!("{engine:?}: {sent} examples of bodies, {asked} of queries");
}

/// Asks with each example of a parameter, beside those that must be there.
async fn every_example_of_a_query_works(app: &App, admin: &str) -> usize {
    let me = app.get("/v1/me").bearer(admin).expect(200).await;
    let (id, since) = (me["id"].as_str().unwrap(), me["created_at"].as_str().unwrap());
    let mut asked = 0;
    for (method, path, operation) in operations() {
        // A stream has no end; what it is asked with is what the feed is asked with.
        if method != "GET" || path == "/v1/events/stream" {
            continue;
        }
        let pair = |parameter: &Value| {
            let text = match &parameter["example"] {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            // There must have been somebody then.
            let text = if text.ends_with(":00Z") { since } else { &text };
            format!("{}={}", parameter["name"].as_str().unwrap(), text.replace('+', "%2B"))
        };
        let all = operation["parameters"].as_array().into_iter().flatten();
        let all: Vec<&Value> = all
            .filter(|one| one["in"] == "query" && !one["example"].is_null())
            .collect();
        let (needed, others): (Vec<&Value>, Vec<&Value>) = all.into_iter().partition(|one| one["required"] == true);
        let needed: Vec<String> = needed.into_iter().map(pair).collect();
        let mut queries: Vec<Vec<String>> = others.into_iter().map(|one| vec![pair(one)]).collect();
        if !needed.is_empty() {
            queries.push(Vec::new());
        }
        let path = path.replace("{id}", id).replace("{name}", "registry.example");
        for query in queries {
            let query = [needed.clone(), query].concat().join("&");
            let reply = app.get(&format!("{path}?{query}")).bearer(admin).send().await;
            assert_eq!(reply.status, 200, "{path}?{query}: {reply:?}");
            // What is chosen from a history is one that such a history has.
            if path.ends_with("/history") && query.starts_with("types=") {
                assert_ne!(reply.json()["items"], json!([]), "{path}?{query}");
            }
            asked += 1;
        }
    }
    assert!(asked > 30, "{asked}");
    asked
}

/// Sends an example to a service of its own, where its account is.
async fn with_an_account(engine: Engine, path: &str, operation: &Value, body: &Value) -> Reply {
    let app = App::start(engine).await;
    let permission = operation["x-permission"].as_str().unwrap();
    let admin = if permission == "admin" {
        app.admin().await.access
    } else {
        String::new()
    };
    let mut body = body.clone();
    let command = path.trim_start_matches("/v1/commands/");
    let mut credential = None;
    if command != "register-user" {
        let joe = json!({
            "email": "joe.smith@example.com", "username": "j_smith", "phone": "+6584932466", "password": FIRST,
        });
        let joe = app.command("register-user", &joe).expect(201).await["id"].clone();
        let mail = app.mailbox().to("joe.smith@example.com").await;
        let code = app.phones().to("+6584932466").await.code();
        let pending = matches!(
            command,
            "verify-email" | "request-email-verification" | "verify-phone" | "request-phone-verification"
        );
        if pending {
            put(&mut body, "token", mail.token());
            put(&mut body, "code", &code);
        } else {
            let verified = json!({ "token": mail.token() });
            app.command("verify-email", &verified).expect(200).await;
            let verified = json!({ "phone": "+6584932466", "code": code });
            app.command("verify-phone", &verified).expect(200).await;
            let password = match body["current_password"].as_str() {
                Some(other) if other != FIRST => {
                    let tokens = app.sign_in("j_smith", FIRST).await;
                    let change = json!({ "current_password": FIRST, "new_password": other });
                    let change = app.command("change-password", &change).bearer(&tokens.access);
                    change.expect(200).await;
                    other.to_owned()
                }
                _ => FIRST.to_owned(),
            };
            let tokens = app.sign_in("j_smith", &password).await;
            prepare(&app, command, &mut body, &tokens.access, &admin).await;
            put(&mut body, "refresh_token", &tokens.refresh);
            put(&mut body, "user_id", joe.as_str().unwrap());
            credential = match permission {
                "admin" => Some(admin),
                "public" => None,
                _ => Some(tokens.access),
            };
        }
    }
    app.post(path, &body).maybe(credential.as_deref()).send().await
}

/// What must have been asked for before.
async fn prepare(app: &App, command: &str, body: &mut Value, user: &str, admin: &str) {
    match command {
        "reset-password" => {
            let by_mail = body["token"].is_string();
            let asked = if by_mail {
                json!({ "email": "joe.smith@example.com" })
            } else {
                json!({ "phone": "+6584932466" })
            };
            app.command("request-password-reset", &asked).expect(202).await;
            if by_mail {
                let mail = app.mailbox().nth_to("joe.smith@example.com", 2).await;
                put(body, "token", mail.token());
            } else {
                let code = app.phones().nth_to("+6584932466", 2).await.code();
                put(body, "code", &code);
            }
        }
        "confirm-email-change" => {
            let asked = json!({ "email": "joe@farm.example", "current_password": FIRST });
            let asked = app.command("request-email-change", &asked).bearer(user);
            asked.expect(200).await;
            let mail = app.mailbox().to("joe@farm.example").await;
            put(body, "token", mail.token());
        }
        "revoke-api-key" => {
            let issued = app.command("issue-api-key", &json!({ "name": "old" })).bearer(user);
            let issued = issued.expect(200).await;
            put(body, "key_id", issued["key_id"].as_str().unwrap());
        }
        "unblock-domain" | "unblock-address" => {
            let block = command.trim_start_matches("un");
            app.command(block, body).bearer(admin).send().await;
        }
        // In the order of the paths: revoked, when it is replaced none is there any more.
        "rotate-authority-token" | "revoke-authority-token" => {
            app.command("issue-authority-token", body).bearer(admin).send().await;
        }
        _ => {}
    }
}

fn put(body: &mut Value, name: &str, value: &str) {
    if body[name].is_string() {
        body[name] = value.into();
    }
}
