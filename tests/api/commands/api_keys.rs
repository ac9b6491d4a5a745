//! API keys: shown once, never more than their owner, gone at once.

use insta::{allow_duplicates, assert_snapshot};
use serde_json::{Value, json};
use user_registry::tokens::{OpaqueKind, OpaqueToken};

use crate::harness::{App, Engine, PASSWORD, Tokens, on_both_engines, until};

on_both_engines![
    a_key_is_shown_once_and_kept_as_a_hash,
    a_repeated_idempotency_key_gets_the_same_key_again,
    a_key_may_do_what_it_was_given_and_what_its_owner_still_may,
    a_key_opens_nothing_once_it_or_its_owner_is_gone,
    a_key_has_no_session_and_makes_no_keys,
    an_administrator_makes_lists_and_revokes_the_keys_of_others,
    the_last_use_of_a_key_is_known_to_the_minute_and_not_in_the_log,
    a_key_acts_under_its_own_name,
];

async fn issue(app: &App, by: &Tokens, body: &Value) -> Value {
    app.command("issue-api-key", body).bearer(&by.access).expect(200).await
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

async fn with_admin_and_ada(engine: Engine) -> (App, Tokens, Tokens) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let ada = app.user("ada").await;
    (app, admin, ada)
}

async fn a_key_is_shown_once_and_kept_as_a_hash(engine: Engine) {
    let app = App::start(engine).await;
    let ada = app.user("ada").await;
    let body = json!({ "name": "  field app ", "expires_at": "2199-01-01T00:00:00+01:00" });
    let reply = app.command("issue-api-key", &body).bearer(&ada.access).send().await;
    let issued = reply.json();
    let key = text(&issued["api_key"]);
    allow_duplicates! { assert_snapshot!(reply.wire().replace(&key, "[key]"), @r#"{"id":"[id]","version":2,"position":[position],"events":["user.api_key_issued"],"api_key":"[key]","key_id":"[id]"}"#) }
    assert_eq!(reply.header("etag"), "\"2\"");
    assert!(key.starts_with("urk_") && OpaqueToken::parse(OpaqueKind::ApiKey, &key).is_ok());

    let me = app.get("/v1/me").bearer(&key).expect(200).await;
    assert_eq!(me["id"], json!(ada.user));
    let list = app.get("/v1/api-keys").bearer(&ada.access).send().await;
    assert!(!list.body.contains("urk_"), "{list:?}");
    let item = &list.json()["items"][0];
    assert_eq!(item["id"], issued["key_id"]);
    assert_eq!((&item["name"], &item["roles"]), (&json!("field app"), &json!(["user"])));
    assert_eq!(item["expires_at"], "2198-12-31T23:00:00.000000Z");
    assert_eq!(item["revoked"], false);
    assert_eq!(list.json()["next"], Value::Null);
    // The event is named as the key is, and neither event nor row can be turned into one.
    let mut log = app.log().await;
    let id = text(&issued["key_id"]);
    assert_eq!(log.count("events", &format!("event_id = '{id}'")).await, 1);
    let secrets = format!("kind = 'api_key' AND owner = '{id}' AND user_id = '{}'", ada.user);
    assert_eq!(log.count("secrets", &secrets).await, 1);
    for column in ["payload", "metadata"] {
        let stored = log.texts(&format!("SELECT CAST({column} AS TEXT) FROM events")).await;
        assert!(!stored.concat().contains(&key[4..]), "{column}");
    }
    assert!(!app.server.log().contains(&key[4..]));
}

async fn a_repeated_idempotency_key_gets_the_same_key_again(engine: Engine) {
    let (app, admin, ada) = with_admin_and_ada(engine).await;
    let body = json!({ "name": "field app" });
    let ask = async |tokens: &Tokens| {
        app.command("issue-api-key", &body)
            .bearer(&tokens.access)
            .header("idempotency-key", "once")
            .expect(200)
            .await
    };
    let first = ask(&ada).await;
    issue(&app, &ada, &json!({ "name": "another" })).await;
    assert_eq!(ask(&ada).await, first);
    // Somebody else's idempotency key is another one.
    assert_ne!(ask(&admin).await["api_key"], first["api_key"]);
    app.get("/v1/me").bearer(&text(&first["api_key"])).expect(200).await;
    let list = app.get("/v1/api-keys").bearer(&ada.access).expect(200).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    assert!(
        !app.log()
            .await
            .texts("SELECT receipt FROM idempotency")
            .await
            .concat()
            .contains("urk_")
    );
}

async fn a_key_may_do_what_it_was_given_and_what_its_owner_still_may(engine: Engine) {
    let (app, admin, ada) = with_admin_and_ada(engine).await;
    let more = json!({ "name": "too much", "roles": ["auditor"] });
    let reply = app.command("issue-api-key", &more).bearer(&ada.access).send().await;
    reply.refused(403, "forbidden");
    let role = json!({ "user_id": ada.user, "role": "auditor" });
    let order = async |name: &str| {
        app.command(name, &role).bearer(&admin.access).expect(200).await;
    };
    order("grant-role").await;
    let auditing = text(&issue(&app, &ada, &more).await["api_key"]);
    let plain = text(&issue(&app, &ada, &json!({ "name": "plain" })).await["api_key"]);
    let list = async |key: &str| app.get("/v1/users").bearer(key).send().await.status;
    assert_eq!((list(&auditing).await, list(&plain).await), (200, 403));
    // The role that its owner loses the key loses too, and it comes back with it.
    order("revoke-role").await;
    assert_eq!(list(&auditing).await, 403);
    app.get("/v1/me").bearer(&auditing).expect(200).await;
    order("grant-role").await;
    assert_eq!((list(&auditing).await, list(&plain).await), (200, 403));

    // An administrator may make a key that may less.
    let key = text(&issue(&app, &admin, &json!({ "name": "reader", "roles": ["auditor"] })).await["api_key"]);
    assert_eq!(list(&key).await, 200);
    let block = json!({ "domain": "spam.example" });
    let reply = app.command("block-domain", &block).bearer(&key).send().await;
    reply.refused(403, "forbidden");
    let key = text(&issue(&app, &admin, &json!({ "name": "root", "roles": ["admin"] })).await["api_key"]);
    app.command("block-domain", &block).bearer(&key).expect(201).await;
}

async fn a_key_opens_nothing_once_it_or_its_owner_is_gone(engine: Engine) {
    let (app, admin, ada) = with_admin_and_ada(engine).await;
    let issued = issue(&app, &ada, &json!({ "name": "field app" })).await;
    let (key, id) = (text(&issued["api_key"]), text(&issued["key_id"]));
    let kept = text(&issue(&app, &ada, &json!({ "name": "kept" })).await["api_key"]);
    let me = async |key: &str| app.get("/v1/me").bearer(key).send().await;
    let revoke = json!({ "key_id": id });
    let other = app.user("eve").await;
    let reply = app
        .command("revoke-api-key", &revoke)
        .bearer(&other.access)
        .send()
        .await;
    reply.refused(404, "not-found");
    assert_eq!(me(&key).await.status, 200);
    let revoked = app
        .command("revoke-api-key", &revoke)
        .bearer(&ada.access)
        .expect(200)
        .await;
    assert_eq!(revoked["events"], json!(["user.api_key_revoked"]));
    let again = app.command("revoke-api-key", &revoke).bearer(&ada.access);
    assert_eq!(again.expect(200).await["events"], json!([]));
    me(&key).await.refused(401, "token-revoked");
    let list = app.get("/v1/api-keys").bearer(&ada.access).expect(200).await;
    assert_eq!(
        (&list["items"][0]["revoked"], &list["items"][1]["revoked"]),
        (&json!(false), &json!(true))
    );

    // The owner's lock, their being out of use, and no password of theirs.
    let whom = json!({ "user_id": ada.user, "reason": "a while" });
    for (shut, open) in [("lock-user", "unlock-user"), ("deactivate-user", "reactivate-user")] {
        app.command(shut, &whom).bearer(&admin.access).expect(200).await;
        me(&kept).await.refused(401, "token-revoked");
        // Where anybody may come, a bad credential counts as none.
        app.get("/healthz").bearer(&kept).expect(200).await;
        app.command(open, &whom).bearer(&admin.access).expect(200).await;
        assert_eq!(me(&kept).await.status, 200);
    }
    let ada = app.sign_in("ada", PASSWORD).await;
    let change = json!({ "current_password": PASSWORD, "new_password": "nine grey geese by a pond" });
    app.command("change-password", &change)
        .bearer(&ada.access)
        .expect(200)
        .await;
    assert_eq!(me(&kept).await.status, 200);
    app.command("erase-user", &whom).bearer(&admin.access).expect(200).await;
    me(&kept).await.refused(401, "unauthenticated");

    // One that lapses.
    let soon = json!({ "name": "short", "expires_at": in_seconds(2) });
    let short = text(&issue(&app, &other, &soon).await["api_key"]);
    assert_eq!(me(&short).await.status, 200);
    until("the end of a key", || async {
        let reply = me(&short).await;
        (reply.status != 200).then(|| reply.refused(401, "token-expired"))
    })
    .await;
    let late = json!({ "name": "late", "expires_at": "2020-01-01T00:00:00Z" });
    let reply = app.command("issue-api-key", &late).bearer(&other.access).send().await;
    reply.refused(409, "conflict");
}

/// A time soon, by the service's own clock.
fn in_seconds(seconds: i64) -> String {
    user_registry::clock::Clock::system()
        .now()
        .plus(seconds * 1_000_000)
        .to_string()
}

async fn a_key_has_no_session_and_makes_no_keys(engine: Engine) {
    let (app, admin, ada) = with_admin_and_ada(engine).await;
    let key = text(&issue(&app, &ada, &json!({ "name": "field app" })).await["api_key"]);
    let change = json!({ "current_password": PASSWORD, "new_password": "nine grey geese by a pond" });
    for reply in [
        app.command("change-password", &change).bearer(&key).send().await,
        app.get("/v1/sessions").bearer(&key).send().await,
        app.delete("/v1/sessions/current").bearer(&key).send().await,
        app.delete("/v1/sessions").bearer(&key).send().await,
        app.delete(&format!("/v1/sessions/{}", ada.session))
            .bearer(&key)
            .send()
            .await,
        app.command("issue-api-key", &json!({ "name": "heir" }))
            .bearer(&key)
            .send()
            .await,
        app.command(
            "erase-user",
            &json!({ "current_password": PASSWORD, "reason": "a try" }),
        )
        .bearer(&key)
        .send()
        .await,
    ] {
        reply.refused(403, "forbidden");
    }
    let whom = json!({ "user_id": admin.user, "reason": "a try", "current_password": PASSWORD });
    for name in ["erase-user", "lock-user"] {
        let reply = app.command(name, &whom).bearer(&key).send().await;
        assert!([403, 404, 400].contains(&reply.status), "{reply:?}");
    }
    app.get("/v1/me").bearer(&ada.access).expect(200).await;
    // An administrator's key may do what administrators do to others.
    let root = text(&issue(&app, &admin, &json!({ "name": "root", "roles": ["admin"] })).await["api_key"]);
    let made = app
        .command("issue-api-key", &json!({ "name": "for ada", "user_id": ada.user }))
        .bearer(&root);
    made.expect(200).await;
    let own = json!({ "user_id": admin.user, "reason": "a try", "current_password": PASSWORD });
    app.command("erase-user", &own)
        .bearer(&root)
        .send()
        .await
        .refused(403, "forbidden");
    let whom = json!({ "user_id": ada.user, "reason": "asked for" });
    app.command("erase-user", &whom).bearer(&root).expect(200).await;
}

async fn an_administrator_makes_lists_and_revokes_the_keys_of_others(engine: Engine) {
    let (app, admin, ada) = with_admin_and_ada(engine).await;
    let issued = issue(&app, &admin, &json!({ "name": "for ada", "user_id": ada.user })).await;
    assert_eq!(issued["id"], json!(ada.user));
    // It is ada's: an administrator's roles are not hers to have.
    let more = json!({ "name": "more", "user_id": ada.user, "roles": ["admin"] });
    let reply = app.command("issue-api-key", &more).bearer(&admin.access).send().await;
    reply.refused(403, "forbidden");
    let path = format!("/v1/users/{}/api-keys", ada.user);
    let list = app.get(&path).bearer(&admin.access).expect(200).await;
    assert_eq!(list["items"][0]["id"], issued["key_id"]);
    assert_eq!(list, app.get("/v1/api-keys").bearer(&ada.access).expect(200).await);
    // Only now, since the lists tell of its last use as soon as that is written.
    let me = app.get("/v1/me").bearer(&text(&issued["api_key"])).expect(200).await;
    assert_eq!(me["id"], json!(ada.user));
    let theirs = json!({ "name": "hers", "user_id": admin.user });
    let reply = app.command("issue-api-key", &theirs).bearer(&ada.access).send().await;
    reply.refused(404, "not-found");
    let nobody = "0197a1b2-0000-7000-8000-000000000001";
    let reply = app
        .command("issue-api-key", &json!({ "name": "x", "user_id": nobody }))
        .bearer(&admin.access)
        .send()
        .await;
    reply.refused(404, "not-found");
    for path in [&format!("/v1/users/{nobody}/api-keys"), "/v1/users/x/api-keys"] {
        app.get(path)
            .bearer(&admin.access)
            .send()
            .await
            .refused(404, "not-found");
    }
    app.command("revoke-api-key", &json!({ "key_id": issued["key_id"] }))
        .bearer(&admin.access)
        .expect(200)
        .await;
    let list = app.get(&path).bearer(&admin.access).expect(200).await;
    assert_eq!(list["items"][0]["revoked"], true);
}

async fn the_last_use_of_a_key_is_known_to_the_minute_and_not_in_the_log(engine: Engine) {
    let app = App::start(engine).await;
    let ada = app.user("ada").await;
    let key = text(&issue(&app, &ada, &json!({ "name": "field app" })).await["api_key"]);
    let list = async || app.get("/v1/api-keys").bearer(&ada.access).expect(200).await;
    assert_eq!(list().await["items"][0]["last_used_at"], Value::Null);
    let written = app.log().await.head().await;
    for _ in 0..20 {
        app.get("/v1/me").bearer(&key).expect(200).await;
    }
    let used = until("the last use of a key", || async {
        let used = list().await["items"][0]["last_used_at"].clone();
        used.is_string().then(|| text(&used))
    })
    .await;
    assert!(used.ends_with(":00.000000Z"), "{used}");
    assert_eq!(app.log().await.head().await, written);
    assert_eq!(app.log().await.count("api_key_uses", "1 = 1").await, 1);
}

async fn a_key_acts_under_its_own_name(engine: Engine) {
    let app = App::start(engine).await;
    let ada = app.user("ada").await;
    let issued = issue(&app, &ada, &json!({ "name": "field app" })).await;
    let key = text(&issued["api_key"]);
    let body = json!({ "full_name": "Ada" });
    let update = async |credential: &str| {
        app.command("update-profile", &body)
            .bearer(credential)
            .header("idempotency-key", "same")
            .expect(200)
            .await
    };
    let by_key = update(&key).await;
    assert_eq!(by_key["events"], json!(["user.profile_updated"]));
    // The person's idempotency keys are not the program's.
    assert_eq!(update(&ada.access).await["events"], json!([]));
    assert_eq!(update(&key).await, by_key);
    let path = format!("/v1/users/{}/history", ada.user);
    let history = app.get(&path).bearer(&key).expect(200).await;
    let last = history["items"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["actor"], json!({ "kind": "api_key", "id": issued["key_id"] }));
    assert_eq!(last["origin"]["ip"], "127.0.0.1");
}
