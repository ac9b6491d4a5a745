//! Locks, roles and the sessions of others: on the very next request, on every replica.

use serde_json::{Value, json};

use crate::harness::{App, Engine, PASSWORD, Server, Tokens, on_both_engines};

on_both_engines![
    a_lock_ends_everything_at_once_and_says_why_in_the_history,
    a_deactivated_account_comes_back_as_it_was,
    a_role_counts_from_the_next_request_on_and_until_it_is_taken,
    one_administrator_always_remains,
    two_administrators_who_go_for_each_other_leave_one,
    the_sessions_of_somebody_else_are_seen_and_ended,
    conditions_hold_for_administration_too,
];

async fn order(app: &App, by: &Tokens, name: &str, body: &Value) -> Value {
    app.command(name, body).bearer(&by.access).expect(200).await
}

async fn a_lock_ends_everything_at_once_and_says_why_in_the_history(engine: Engine) {
    let app = App::start(engine).await;
    let other = Server::start(&app.place, &[]).await;
    let admin = app.admin().await;
    let ada = app.user("ada").await;
    let body = json!({ "user_id": ada.user, "reason": "asked for by phone" });
    for client in [&app.client, &other.client()] {
        client.get("/v1/me").bearer(&ada.access).expect(200).await;
    }
    let locked = order(&app, &admin, "lock-user", &body).await;
    assert_eq!(locked["events"], json!(["user.locked"]));
    for client in [&app.client, &other.client()] {
        let reply = client.get("/v1/me").bearer(&ada.access).send().await;
        reply.refused(401, "token-revoked");
    }
    let refresh = json!({ "refresh_token": ada.refresh });
    let reply = app.post("/v1/sessions/refresh", &refresh).send().await;
    assert_eq!(reply.status, 401, "{reply:?}");
    let sign_in = json!({ "identifier": "ada", "password": PASSWORD });
    app.post("/v1/sessions", &sign_in)
        .send()
        .await
        .refused(401, "invalid-credentials");
    // Twice is no error, and neither is the answer of the first time.
    assert_eq!(order(&app, &admin, "lock-user", &body).await["events"], json!([]));

    let unlock = json!({ "user_id": ada.user, "reason": "cleared up" });
    let unlocked = order(&app, &admin, "unlock-user", &unlock).await;
    assert_eq!(unlocked["events"], json!(["user.unlocked"]));
    // What had ended stays ended.
    let reply = app.get("/v1/me").bearer(&ada.access).send().await;
    reply.refused(401, "token-revoked");
    let ada = app.sign_in("ada", PASSWORD).await;
    let path = format!("/v1/users/{}/history", ada.user);
    let history = app.get(&path).bearer(&ada.access).expect(200).await;
    let lock = &history["items"][1];
    assert_eq!(lock["data"], json!({ "reason": "admin", "note": "asked for by phone" }));
    assert_eq!(lock["actor"], json!({ "kind": "admin", "id": admin.user }));
}

async fn a_deactivated_account_comes_back_as_it_was(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let ada = app.user("ada").await;
    let whom = json!({ "user_id": ada.user });
    let gone = order(&app, &admin, "deactivate-user", &whom).await;
    assert_eq!(gone["events"], json!(["user.deactivated"]));
    app.get("/v1/me")
        .bearer(&ada.access)
        .send()
        .await
        .refused(401, "token-revoked");
    let path = format!("/v1/users/{}", ada.user);
    let seen = app.get(&path).bearer(&admin.access).expect(200).await;
    assert_eq!(seen["status"], "deactivated");
    // A lock would open it when it is lifted.
    let lock = json!({ "user_id": ada.user, "reason": "as well" });
    let reply = app.command("lock-user", &lock).bearer(&admin.access).send().await;
    reply.refused(409, "conflict");
    let back = json!({ "user_id": ada.user, "reason": "she is back" });
    let back = order(&app, &admin, "reactivate-user", &back).await;
    assert_eq!(back["events"], json!(["user.reactivated"]));
    app.sign_in("ada", PASSWORD).await;
}

async fn a_role_counts_from_the_next_request_on_and_until_it_is_taken(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let ada = app.user("ada").await;
    let list = async || app.get("/v1/users").bearer(&ada.access).send().await.status;
    let role = json!({ "user_id": ada.user, "role": "auditor" });
    for _ in 0..2 {
        assert_eq!(list().await, 403);
        let granted = order(&app, &admin, "grant-role", &role).await;
        assert_eq!(granted["events"], json!(["user.role_granted"]));
        assert_eq!(order(&app, &admin, "grant-role", &role).await["events"], json!([]));
        assert_eq!(list().await, 200);
        let taken = order(&app, &admin, "revoke-role", &role).await;
        assert_eq!(taken["events"], json!(["user.role_revoked"]));
        assert_eq!(order(&app, &admin, "revoke-role", &role).await["events"], json!([]));
    }
    assert_eq!(list().await, 403);
    let everyone = json!({ "user_id": ada.user, "role": "user" });
    let reply = app.command("revoke-role", &everyone).bearer(&admin.access).send().await;
    reply.refused(409, "conflict");
}

async fn one_administrator_always_remains(engine: Engine) {
    let app = App::start(engine).await;
    let boss = app.admin().await;
    let whom = |user: &str| json!({ "user_id": user, "reason": "a try" });
    let role = |user: &str| json!({ "user_id": user, "role": "admin" });
    let own = json!({ "current_password": PASSWORD, "reason": "a try" });
    let written = app.log().await.head().await;
    for (name, body) in [
        ("lock-user", whom(&boss.user)),
        ("deactivate-user", whom(&boss.user)),
        ("revoke-role", role(&boss.user)),
        ("erase-user", own.clone()),
    ] {
        let reply = app.command(name, &body).bearer(&boss.access).send().await;
        reply.refused(409, "conflict");
    }
    assert_eq!(app.log().await.head().await, written);
    // With a second one it is that one's to do, and theirs alone.
    let ada = app.user("ada").await;
    order(&app, &boss, "grant-role", &role(&ada.user)).await;
    order(&app, &ada, "revoke-role", &role(&boss.user)).await;
    let reply = app
        .command("revoke-role", &role(&ada.user))
        .bearer(&boss.access)
        .send()
        .await;
    reply.refused(403, "forbidden");
    order(&app, &boss, "erase-user", &own).await;
    let me = app.get("/v1/me").bearer(&ada.access).expect(200).await;
    assert_eq!(me["roles"], json!(["user", "admin"]));
}

async fn two_administrators_who_go_for_each_other_leave_one(engine: Engine) {
    let app = App::start(engine).await;
    let mut boss = app.admin().await;
    for round in 0..6 {
        let name = format!("rival{round}");
        let rival = app.user(&name).await;
        let role = |user: &str| json!({ "user_id": user, "role": "admin" });
        order(&app, &boss, "grant-role", &role(&rival.user)).await;
        let against = |user: &str| match round % 3 {
            0 => ("revoke-role", role(user)),
            1 => ("lock-user", json!({ "user_id": user, "reason": "first" })),
            _ => ("erase-user", json!({ "user_id": user, "reason": "first" })),
        };
        let ((one, first), (two, second)) = (against(&rival.user), against(&boss.user));
        let (first, second) = tokio::join!(
            app.command(one, &first).bearer(&boss.access).send(),
            app.command(two, &second).bearer(&rival.access).send(),
        );
        let won = [&first, &second].iter().filter(|reply| reply.status == 200).count();
        assert_eq!(won, 1, "{first:?} {second:?}");
        let admins = "status = 'active' AND roles LIKE '%\"admin\"%'";
        assert_eq!(app.log().await.count("users", admins).await, 1, "round {round}");
        // Whoever is left is the one the next rival meets.
        if second.status == 200 {
            boss = rival;
        }
    }
}

async fn the_sessions_of_somebody_else_are_seen_and_ended(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let ada = app.user("ada").await;
    let again = app.sign_in("ada", PASSWORD).await;
    let path = format!("/v1/users/{}/sessions", ada.user);
    let list = app.get(&path).bearer(&admin.access).expect(200).await;
    let ids: Vec<&str> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, [&again.session, &ada.session]);
    assert_eq!(list["items"][0]["current"], false);
    assert_eq!(list["items"][0]["ip"], "127.0.0.1");
    let own = format!("/v1/users/{}/sessions", admin.user);
    let list = app.get(&own).bearer(&admin.access).expect(200).await;
    assert_eq!(list["items"][0]["current"], true);

    app.delete(&path).bearer(&admin.access).expect(204).await;
    for tokens in [&ada, &again] {
        let reply = app.get("/v1/me").bearer(&tokens.access).send().await;
        reply.refused(401, "token-revoked");
    }
    let ended = app.log().await.types_after(0).await.pop();
    assert_eq!(ended.as_deref(), Some("session.ended"));
    // Nothing to end is nothing to write down.
    let written = app.log().await.head().await;
    app.delete(&path).bearer(&admin.access).expect(204).await;
    assert_eq!(app.log().await.head().await, written);
    app.sign_in("ada", PASSWORD).await;
    for path in [
        "/v1/users/0197a1b2-0000-7000-8000-000000000001/sessions",
        "/v1/users/ada/sessions",
    ] {
        app.get(path)
            .bearer(&admin.access)
            .send()
            .await
            .refused(404, "not-found");
        app.delete(path)
            .bearer(&admin.access)
            .send()
            .await
            .refused(404, "not-found");
    }
}

async fn conditions_hold_for_administration_too(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let ada = app.user("ada").await;
    let body = json!({ "user_id": ada.user, "reason": "once" });
    let lock = |version: &str, key: &str| {
        app.command("lock-user", &body)
            .bearer(&admin.access)
            .header("if-match", version)
            .header("idempotency-key", key)
    };
    lock("\"7\"", "k-1").send().await.refused(412, "stale");
    let first = lock("\"1\"", "k-2").send().await;
    assert_eq!((first.status, first.header("etag")), (200, "\"2\""));
    assert_eq!(lock("\"1\"", "k-2").expect(200).await, first.json());
    let other = json!({ "user_id": ada.user, "reason": "another" });
    let reply = app
        .command("lock-user", &other)
        .bearer(&admin.access)
        .header("idempotency-key", "k-2")
        .send()
        .await;
    reply.refused(422, "idempotency-mismatch");
}
