//! Refresh tokens: each works once.

use serde_json::json;

use crate::harness::{App, Client, Engine, Reply, Tokens, on_both_engines};

on_both_engines![
    a_refresh_spends_its_token,
    a_lost_answer_may_be_asked_for_once_more,
    a_spent_token_ends_its_family,
    of_a_hundred_refreshes_at_once_one_successor_lives,
];

async fn refresh(client: &Client, token: &str) -> Reply {
    client
        .post("/v1/sessions/refresh", &json!({ "refresh_token": token }))
        .send()
        .await
}

async fn refreshed(client: &Client, token: &str) -> Tokens {
    let reply = refresh(client, token).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    Tokens::of(&reply.json())
}

async fn a_refresh_spends_its_token(engine: Engine) {
    let app = App::start(engine).await;
    let first = app.user("ada").await;
    let second = refreshed(&app, &first.refresh).await;
    assert_eq!((&second.user, &second.session), (&first.user, &first.session));
    assert_ne!(second.refresh, first.refresh);
    assert_ne!(second.access, first.access);
    // The session lives on: both access tokens are of it.
    app.get("/v1/me").bearer(&second.access).expect(200).await;
    app.get("/v1/me").bearer(&first.access).expect(200).await;
    let third = refreshed(&app, &second.refresh).await;
    let list = app.get("/v1/sessions").bearer(&third.access).expect(200).await;
    let session = &list["items"][0];
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert!(session["last_seen_at"].as_str().unwrap() > session["started_at"].as_str().unwrap());
    let mut log = app.log().await;
    assert_eq!(log.types_after(2).await, ["session.refreshed", "session.refreshed"]);
    // Of the tokens only hashes are kept.
    let kept = log
        .texts("SELECT CAST(payload AS TEXT) || CAST(metadata AS TEXT) FROM events")
        .await
        .join("\n");
    // Three letters alone may stand in what is sealed.
    for shape in ["urr_", "eyJ0eXAi", "eyJhbGci"] {
        assert!(!kept.contains(shape), "{kept}");
    }
}

async fn a_lost_answer_may_be_asked_for_once_more(engine: Engine) {
    let app = App::start(engine).await;
    let first = app.user("ada").await;
    let lost = refreshed(&app, &first.refresh).await;
    let second = refreshed(&app, &first.refresh).await;
    assert_ne!(lost.refresh, second.refresh);
    // Not a third time, and what was lost is void; neither is a theft, so the session goes on.
    assert_eq!(
        refresh(&app, &first.refresh).await.refused(401, "token-revoked"),
        [""; 0]
    );
    assert_eq!(
        refresh(&app, &lost.refresh).await.refused(401, "token-revoked"),
        [""; 0]
    );
    let third = refreshed(&app, &second.refresh).await;
    app.get("/v1/me").bearer(&third.access).expect(200).await;
}

async fn a_spent_token_ends_its_family(engine: Engine) {
    let app = App::start(engine).await;
    let first = app.user("ada").await;
    let elsewhere = app.sign_in("ada", crate::harness::PASSWORD).await;
    let second = refreshed(&app, &first.refresh).await;
    let third = refreshed(&app, &second.refresh).await;
    let mut log = app.log().await;
    let head = log.head().await;
    refresh(&app, &first.refresh).await.refused(401, "token-revoked");
    assert_eq!(log.types_after(head).await, ["session.reuse_detected", "session.ended"]);
    for tokens in [&first, &second, &third] {
        app.get("/v1/me")
            .bearer(&tokens.access)
            .send()
            .await
            .refused(401, "token-revoked");
        assert_eq!(refresh(&app, &tokens.refresh).await.status, 401);
    }
    assert_eq!(log.head().await, head + 2);
    // The family is the sign-in, not the account.
    app.get("/v1/me").bearer(&elsewhere.access).expect(200).await;
    refreshed(&app, &elsewhere.refresh).await;
}

/// How many rounds on each engine: 50 on both together, which SECURITY-REQUIREMENTS, section 6, asks for.
fn rounds() -> u32 {
    std::env::var("REFRESH_ROUNDS").map_or(25, |text| text.parse().unwrap())
}

async fn of_a_hundred_refreshes_at_once_one_successor_lives(engine: Engine) {
    let app = App::start(engine).await;
    for round in 0..rounds() {
        let tokens = app.user(&format!("user{round}")).await;
        let replies = futures::future::join_all((0..100).map(|_| refresh(&app, &tokens.refresh))).await;
        let mut successors = Vec::new();
        for reply in &replies {
            match reply.status {
                200 => successors.push(Tokens::of(&reply.json())),
                // A busy machine; then nothing was changed.
                503 => drop(reply.refused(503, "unavailable")),
                _ => drop(reply.refused(401, "token-revoked")),
            }
        }
        // The first use, and one that may have been a lost answer.
        assert!(matches!(successors.len(), 1 | 2), "{} successors", successors.len());
        app.get("/v1/me").bearer(&successors[0].access).expect(200).await;
        // Using the one that is void after the other would be a theft, so nobody is asked who they are after this.
        let mut alive = 0;
        for successor in &successors {
            alive += u32::from(refresh(&app, &successor.refresh).await.status == 200);
        }
        assert_eq!(alive, 1, "round {round}");
    }
    println!(
        "{engine:?}: {} rounds of 100 uses, one live successor of each",
        rounds()
    );
}
