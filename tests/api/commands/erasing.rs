//! Erasing a person, by themselves and by an administrator.

use serde_json::{Value, json};

use crate::harness::{App, Engine, PASSWORD, on_both_engines, until};

on_both_engines![
    who_is_erased_is_gone_and_their_name_is_free,
    one_erases_oneself_with_the_password_and_nobody_else,
    the_history_of_an_erased_person_keeps_its_shape,
    no_message_in_the_outbox_names_who_is_erased,
];

/// Somebody with everything one can have.
async fn grace(app: &App) -> String {
    let body = json!({
        "username": "grace", "email": "grace@navy.example", "phone": "+12025550123", "password": PASSWORD,
        "full_name": "Grace Hopper",
    });
    let id = app.command("register-user", &body).expect(201).await["id"].clone();
    let token = app.mailbox().to("grace@navy.example").await.token().to_owned();
    app.command("verify-email", &json!({ "token": token }))
        .expect(200)
        .await;
    id.as_str().unwrap().to_owned()
}

async fn who_is_erased_is_gone_and_their_name_is_free(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let id = grace(&app).await;
    let tokens = app.sign_in("grace", PASSWORD).await;
    let made = app
        .command("issue-api-key", &json!({ "name": "hers" }))
        .bearer(&tokens.access)
        .header("idempotency-key", "hers");
    let key = made.expect(200).await["api_key"].as_str().unwrap().to_owned();
    app.get("/v1/me").bearer(&key).expect(200).await;
    let block = json!({ "address": "grace@navy.example", "reason": "abuse" });
    app.command("block-address", &block)
        .bearer(&admin.access)
        .expect(200)
        .await;

    let body = json!({ "user_id": id, "reason": "asked for in writing" });
    let erase = || {
        app.command("erase-user", &body)
            .bearer(&admin.access)
            .header("idempotency-key", "gone")
    };
    let done = erase().expect(200).await;
    assert_eq!(done["events"], json!(["user.erased"]));
    assert_eq!(erase().expect(200).await, done);
    // Without the key too, for what it asks for is the case.
    let again = app.command("erase-user", &body).bearer(&admin.access).expect(200).await;
    assert_eq!(
        again,
        json!({ "id": id, "version": done["version"], "position": done["position"], "events": [] })
    );

    app.get("/v1/me")
        .bearer(&tokens.access)
        .send()
        .await
        .refused(401, "token-revoked");
    app.get("/v1/me")
        .bearer(&key)
        .send()
        .await
        .refused(401, "unauthenticated");
    let refresh = json!({ "refresh_token": tokens.refresh });
    assert_eq!(app.post("/v1/sessions/refresh", &refresh).send().await.status, 401);
    let path = format!("/v1/users/{id}");
    app.get(&path)
        .bearer(&admin.access)
        .send()
        .await
        .refused(404, "not-found");
    for command in ["lock-user", "deactivate-user"] {
        let reply = app.command(command, &body).bearer(&admin.access).send().await;
        reply.refused(404, "not-found");
    }
    let mut log = app.log().await;
    let hers = format!("user_id = '{id}'");
    for table in [
        "names",
        "credentials",
        "secrets",
        "codes",
        "sessions",
        "api_keys",
        "api_key_uses",
    ] {
        assert_eq!(log.count(table, &hers).await, 0, "{table}");
    }
    // Neither her own keys nor the one that told which address was blocked.
    assert_eq!(
        log.count("subject_keys", &format!("subject = '{id}' AND wrapped IS NOT NULL"))
            .await,
        0
    );
    assert_eq!(
        log.count("subject_keys", "scope LIKE 'address-%' AND wrapped IS NOT NULL")
            .await,
        0
    );
    let receipts = log.texts("SELECT receipt FROM idempotency").await.concat();
    for word in ["grace", "navy", "Hopper", "2025550123"] {
        assert!(!receipts.contains(word), "{receipts}");
    }
    // The block outlives her: the address is still refused.
    let address = json!({ "email": "grace@navy.example", "password": PASSWORD });
    let reply = app.command("register-user", &address).send().await;
    reply.refused(403, "address-blocked");
    app.command("unblock-address", &json!({ "address": "grace@navy.example" }))
        .bearer(&admin.access)
        .expect(200)
        .await;
    let body = json!({
        "username": "grace", "email": "grace@navy.example", "phone": "+12025550123", "password": PASSWORD,
    });
    assert_ne!(app.command("register-user", &body).expect(201).await["id"], json!(id));
    let check = app.place.run(&["rebuild", "--check"], "").await.unwrap();
    assert!(check.ends_with("no row differs\n"), "{check}");
}

async fn one_erases_oneself_with_the_password_and_nobody_else(engine: Engine) {
    let app = App::start(engine).await;
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    let erase = async |body: Value| app.command("erase-user", &body).bearer(&ada.access).send().await;
    let reply = erase(json!({ "reason": "I am leaving" })).await;
    assert_eq!(reply.refused(400, "invalid"), ["/current_password"]);
    let reply = erase(json!({ "current_password": PASSWORD })).await;
    assert_eq!(reply.refused(400, "invalid"), ["/reason"]);
    let reply = erase(json!({ "reason": "I am leaving", "current_password": "wrong and long" })).await;
    assert_eq!(reply.refused(403, "wrong-password"), ["/current_password"]);
    for user in [eve.user.as_str(), "0197a1b2-0000-7000-8000-000000000001"] {
        let reply = erase(json!({ "reason": "not mine", "current_password": PASSWORD, "user_id": user })).await;
        reply.refused(404, "not-found");
    }
    let body = json!({ "reason": "I am leaving", "current_password": PASSWORD, "user_id": ada.user });
    assert_eq!(erase(body).await.json()["events"], json!(["user.erased"]));
    let again = erase(json!({ "reason": "I am leaving", "current_password": PASSWORD })).await;
    again.refused(401, "token-revoked");
    app.get("/v1/me").bearer(&eve.access).expect(200).await;
    app.has_user("ada").await;
}

async fn the_history_of_an_erased_person_keeps_its_shape(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let id = grace(&app).await;
    let path = format!("/v1/users/{id}/history");
    let before = app.get(&path).bearer(&admin.access).expect(200).await;
    let body = json!({ "user_id": id, "reason": "asked for by Grace herself" });
    app.command("erase-user", &body).bearer(&admin.access).expect(200).await;
    let after = app.get(&path).bearer(&admin.access).send().await;
    for word in ["grace", "Grace", "navy.example", "2025550123", "Hopper", "asked for"] {
        assert!(!after.body.contains(word), "{word} in {}", after.body);
    }
    let shape = |history: &Value| -> Vec<(Value, Value, Value, Value)> {
        let items = history["items"].as_array().unwrap().iter();
        items
            .map(|item| {
                (
                    item["position"].clone(),
                    item["event_id"].clone(),
                    item["type"].clone(),
                    item["actor"].clone(),
                )
            })
            .collect()
    };
    let (before, after) = (shape(&before), (shape(&after.json()), after.json()));
    assert_eq!(after.0[..before.len()], before[..]);
    let items = after.1["items"].as_array().unwrap();
    assert_eq!(items.last().unwrap()["type"], "user.erased");
    assert_eq!(
        items.last().unwrap()["actor"],
        json!({ "kind": "admin", "id": admin.user })
    );
    let registered = &items[0];
    assert_eq!(registered["erased"], true);
    for field in ["username", "email", "phone", "full_name"] {
        assert_eq!(registered["data"][field], Value::Null, "{field}");
    }
}

async fn no_message_in_the_outbox_names_who_is_erased(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let id = grace(&app).await;
    app.phones().to("+12025550123").await;
    let other = json!({ "email": "joan@navy.example", "phone": "+12025550124", "password": PASSWORD });
    app.command("register-user", &other).expect(201).await;
    app.mailbox().to("joan@navy.example").await;
    app.phones().to("+12025550124").await;

    let body = json!({ "user_id": id, "reason": "asked for in writing" });
    app.command("erase-user", &body).bearer(&admin.access).expect(200).await;
    // What tells her so is the last one, and the only one that is left.
    until("the mail that tells of it, and nothing else", || async {
        let mails = app.mailbox().mails();
        let hers: Vec<_> = mails.iter().filter(|mail| mail.to == "grace@navy.example").collect();
        let told = hers.len() == 1 && !hers[0].text.contains("token=");
        let numbers = app.phones().messages();
        let called = numbers.iter().any(|sms| sms.json["to"] == "+12025550123");
        (told && !called).then_some(())
    })
    .await;
    assert_eq!(app.mailbox().to("joan@navy.example").await.to, "joan@navy.example");
    app.phones().to("+12025550124").await;
}
