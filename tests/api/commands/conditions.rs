//! `If-Match` and `Idempotency-Key`.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::Executor as _;

use crate::harness::{App, Engine, Log, PASSWORD, Reply, on_both_engines, run, until};

on_both_engines![
    a_stale_version_is_refused_and_the_current_one_is_not,
    of_many_with_one_version_one_wins,
    a_repeat_with_its_key_gets_the_first_answer,
    anonymous_callers_share_their_keys,
    many_repeats_at_once_register_one_account,
    repeats_that_come_a_little_later_are_answered_as_the_first_was,
];

/// Only there can a request be held up where it looks.
#[test]
fn a_request_whose_twin_is_carried_out_while_it_looks_gets_its_answer() {
    run(overtaken_by_its_twin());
}

async fn overtaken_by_its_twin() {
    let app = App::start(Engine::Postgres).await;
    let body = json!({ "username": "ada", "password": PASSWORD });
    let register = |key: &'static str| {
        app.command("register-user", &body)
            .header("idempotency-key", key)
            .send()
    };
    let Log::Postgres(mut raw) = app.log().await else {
        unreachable!()
    };
    let first = register("k-1").await;
    assert_eq!(first.status, 201, "{first:?}");
    // As if the first one were not there yet, until the second one has looked for it.
    for (key, answered) in [("k-1", true), ("k-2", false)] {
        let hide = "CREATE TABLE kept AS SELECT * FROM idempotency; DELETE FROM idempotency;
                    BEGIN; LOCK TABLE names IN ACCESS EXCLUSIVE MODE";
        for statement in hide.split(';') {
            raw.execute(statement).await.unwrap();
        }
        let twin = async {
            until("the twin to look for the name", || async {
                let waits = "SELECT position FROM log_head WHERE EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted
                             AND relation = 'names'::regclass)";
                (!app.log().await.numbers(waits).await.is_empty()).then_some(())
            })
            .await;
            for statement in [
                "INSERT INTO idempotency SELECT * FROM kept",
                "DROP TABLE kept",
                "COMMIT",
            ] {
                raw.execute(statement).await.unwrap();
            }
        };
        let (reply, ()) = futures::future::join(register(key), twin).await;
        if answered {
            same(&first, &reply);
        } else {
            reply.refused(409, "taken");
        }
    }
}

async fn repeats_that_come_a_little_later_are_answered_as_the_first_was(engine: Engine) {
    const ROUNDS: usize = 6;
    let app = App::start(engine).await;
    let all = async |command: &'static str, body: Value, key: String| {
        let calls = (0..6_u64).map(|number| {
            let call = app.command(command, &body).header("idempotency-key", key.clone());
            async move {
                tokio::time::sleep(Duration::from_millis(number * 7)).await;
                call.send().await
            }
        });
        let replies = futures::future::join_all(calls).await;
        for reply in &replies {
            assert!(reply.status < 300, "{reply:?}");
            same(&replies[0], reply);
        }
    };
    app.with_email("ada").await;
    for round in 0..ROUNDS {
        let body = json!({ "username": format!("person{round}"), "password": PASSWORD });
        all("register-user", body, format!("register-{round}")).await;
        app.command("request-password-reset", &json!({ "email": "ada@farm.example" }))
            .expect(202)
            .await;
        // Each new password brings a mail of its own.
        let mail = app.mailbox().nth_to("ada@farm.example", 2 + 2 * round).await;
        let body = json!({ "token": mail.token(), "new_password": format!("nine grey geese by pond {round}") });
        all("reset-password", body, format!("reset-{round}")).await;
        app.mailbox().nth_to("ada@farm.example", 3 + 2 * round).await;
    }
}

async fn a_stale_version_is_refused_and_the_current_one_is_not(engine: Engine) {
    let app = App::start(engine).await;
    let (admin, ada) = (app.admin().await, app.user("ada").await);
    let update = async |version: &str, name: &str| {
        let call = app
            .command("update-profile", &json!({ "full_name": name }))
            .bearer(&ada.access);
        call.header("if-match", format!("\"{version}\"")).send().await
    };
    assert_eq!(update("1", "Ada").await.status, 200);
    update("1", "Eve").await.refused(412, "stale");
    assert_eq!(update("2", "Ada Lovelace").await.header("etag"), "\"3\"");
    // The version is asked for even where nothing would change.
    update("2", "Ada Lovelace").await.refused(412, "stale");
    assert_eq!(update("3", "Ada Lovelace").await.json()["events"], json!([]));

    // `"0"` of a domain: only if nobody knows it yet.
    let block = async |version: &str| {
        let call = app
            .command("block-domain", &json!({ "domain": "spam.example" }))
            .bearer(&admin.access);
        call.header("if-match", format!("\"{version}\"")).send().await
    };
    assert_eq!(block("0").await.status, 201);
    block("0").await.refused(412, "stale");
    let seen = app.get("/v1/domains/spam.example").bearer(&admin.access).send().await;
    assert_eq!(seen.header("etag"), "\"1\"");
    assert_eq!(block("1").await.status, 200);
}

async fn of_many_with_one_version_one_wins(engine: Engine) {
    let app = App::start(engine).await;
    let ada = app.user("ada").await;
    let calls = (0..20).map(|number| {
        let body = json!({ "full_name": format!("Ada {number}") });
        app.command("update-profile", &body)
            .bearer(&ada.access)
            .header("if-match", "\"1\"")
            .send()
    });
    let replies = futures::future::join_all(calls).await;
    assert_eq!(
        replies.iter().filter(|reply| reply.status == 200).count(),
        1,
        "{replies:?}"
    );
    replies
        .iter()
        .filter(|reply| reply.status != 200)
        .for_each(|reply| drop(reply.refused(412, "stale")));
    // Without the condition all of them find their place.
    let calls = (0..20).map(|number| {
        let body = json!({ "full_name": format!("Ada {number}") });
        app.command("update-profile", &body).bearer(&ada.access).send()
    });
    let mut versions = Vec::new();
    for reply in futures::future::join_all(calls).await {
        assert_eq!(reply.status, 200, "{reply:?}");
        versions.extend((reply.json()["events"] != json!([])).then(|| reply.json()["version"].as_i64().unwrap()));
    }
    versions.sort_unstable();
    assert!(versions.windows(2).all(|pair| pair[1] == pair[0] + 1), "{versions:?}");
}

fn same(first: &Reply, second: &Reply) {
    assert_eq!((first.status, &first.body), (second.status, &second.body));
    for header in ["etag", "location", "content-type"] {
        assert_eq!(first.header(header), second.header(header), "{header}");
    }
}

async fn a_repeat_with_its_key_gets_the_first_answer(engine: Engine) {
    let app = App::start(engine).await;
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    let update = async |who: &str, key: &str, body: Value| {
        app.command("update-profile", &body)
            .bearer(who)
            .header("idempotency-key", key)
            .send()
            .await
    };
    let body = json!({ "full_name": "Ada", "locale": "en" });
    let first = update(&ada.access, "k-1", body.clone()).await;
    assert_eq!(first.json()["version"], 2);
    // Something else happens in between; the repeat is still the answer to the first.
    app.command("update-profile", &json!({ "full_name": "Countess" }))
        .bearer(&ada.access)
        .expect(200)
        .await;
    let head = app.log().await.head().await;
    same(&first, &update(&ada.access, "k-1", body.clone()).await);
    // Blanks and order are not another body.
    let spelled = r#" { "locale" : "en", "full_name":"\u0041da" } "#;
    let call = app
        .call("POST", "/v1/commands/update-profile")
        .bearer(&ada.access)
        .header("idempotency-key", "k-1");
    same(
        &first,
        &call
            .header("content-type", "application/json")
            .raw(spelled)
            .send()
            .await,
    );
    update(&ada.access, "k-1", json!({ "full_name": "Other" }))
        .await
        .refused(422, "idempotency-mismatch");
    // Nor may the key be used for another command.
    let change = json!({ "current_password": PASSWORD, "new_password": "nine grey geese by a pond" });
    let call = app
        .command("change-password", &change)
        .bearer(&ada.access)
        .header("idempotency-key", "k-1");
    call.send().await.refused(422, "idempotency-mismatch");
    assert_eq!(app.log().await.head().await, head);
    // Another caller's key is another key; so is one that differs in case.
    assert_eq!(
        update(&eve.access, "k-1", json!({ "full_name": "Eve" })).await.json()["version"],
        2
    );
    assert_eq!(
        update(&ada.access, "K-1", json!({ "full_name": "Ada" })).await.json()["version"],
        4
    );
    // What changed nothing and what was refused is no answer to keep.
    assert_eq!(update(&ada.access, "k-2", json!({ "full_name": 7 })).await.status, 400);
    assert_eq!(
        update(&ada.access, "k-2", json!({ "full_name": "A" })).await.json()["version"],
        5
    );
    let longest = "k".repeat(255);
    assert_eq!(
        update(&ada.access, &longest, json!({ "full_name": "B" })).await.json()["version"],
        6
    );
    same(
        &app.command("change-password", &change)
            .bearer(&ada.access)
            .header("idempotency-key", "k-3")
            .send()
            .await,
        // The current password is another by now; the answer is kept.
        &app.command("change-password", &change)
            .bearer(&ada.access)
            .header("idempotency-key", "k-3")
            .send()
            .await,
    );
}

async fn anonymous_callers_share_their_keys(engine: Engine) {
    let app = App::start(engine).await;
    let register = async |name: &str, key: &str| {
        let body = json!({ "username": name, "password": PASSWORD });
        app.command("register-user", &body)
            .header("idempotency-key", key)
            .send()
            .await
    };
    let first = register("ada", "k-1").await;
    assert_eq!(first.status, 201);
    let again = register("ada", "k-1").await;
    same(&first, &again);
    assert_eq!(
        again.header("location"),
        format!("/v1/users/{}", first.json()["id"].as_str().unwrap())
    );
    register("eve", "k-1").await.refused(422, "idempotency-mismatch");
    // A refusal is not remembered under its key, and another key is another request.
    register("ada", "k-2").await.refused(409, "taken");
    assert_eq!(register("eve", "k-2").await.status, 201);
    let mut log = app.log().await;
    assert_eq!(log.count("users", "1 = 1").await, 2);
    // What is kept holds no secret.
    let kept = log.texts("SELECT receipt FROM idempotency").await.join("\n");
    assert!(!kept.contains(PASSWORD) && !kept.contains("\"ada\""), "{kept}");
}

async fn many_repeats_at_once_register_one_account(engine: Engine) {
    let app = App::start(engine).await;
    let body = json!({ "username": "ada", "email": "ada@farm.example", "password": PASSWORD });
    let calls = (0..20).map(|_| {
        app.command("register-user", &body)
            .header("idempotency-key", "k")
            .send()
    });
    let replies = futures::future::join_all(calls).await;
    for reply in &replies {
        assert_eq!(reply.status, 201, "{reply:?}");
        assert_eq!(reply.body, replies[0].body);
    }
    assert_eq!(app.log().await.count("users", "1 = 1").await, 1);
}
