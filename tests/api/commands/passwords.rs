//! Changing the password.

use serde_json::json;

use crate::harness::{App, Engine, PASSWORD, Tokens, on_both_engines};

on_both_engines![
    a_new_password_ends_every_other_session,
    a_wrong_current_password_is_refused_at_its_field,
    of_two_changes_at_once_one_wins,
];

const OTHER: &str = "eight brown cows in a barn";

async fn a_new_password_ends_every_other_session(engine: Engine) {
    let app = App::start(engine).await;
    let here = app.user("ada").await;
    let (there, eve) = (app.sign_in("ada", PASSWORD).await, app.user("eve").await);
    let body = json!({ "current_password": PASSWORD, "new_password": OTHER });
    let reply = app.command("change-password", &body).bearer(&here.access).send().await;
    assert_eq!((reply.status, reply.header("etag")), (200, "\"2\""));
    assert_eq!(reply.json()["events"], json!(["user.password_changed"]));
    // The very next requests.
    let refused = app.get("/v1/me").bearer(&there.access).send().await;
    refused.refused(401, "token-revoked");
    assert!(refused.header("www-authenticate").contains("invalid_token"));
    let refresh = json!({ "refresh_token": there.refresh });
    assert_eq!(app.post("/v1/sessions/refresh", &refresh).send().await.status, 401);
    app.get("/v1/me").bearer(&here.access).expect(200).await;
    app.get("/v1/me").bearer(&eve.access).expect(200).await;
    let refresh = json!({ "refresh_token": here.refresh });
    let next = Tokens::of(&app.post("/v1/sessions/refresh", &refresh).expect(200).await);
    app.get("/v1/me").bearer(&next.access).expect(200).await;
    let listed = app.get("/v1/sessions").bearer(&here.access).expect(200).await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "{listed}");
    let old = json!({ "identifier": "ada", "password": PASSWORD });
    app.post("/v1/sessions", &old)
        .send()
        .await
        .refused(401, "invalid-credentials");
    app.sign_in("ada", OTHER).await;
}

async fn a_wrong_current_password_is_refused_at_its_field(engine: Engine) {
    let app = App::start(engine).await;
    let ada = app.user("Ada.Lovelace").await;
    let body = json!({ "current_password": OTHER, "new_password": OTHER });
    let reply = app.command("change-password", &body).bearer(&ada.access).send().await;
    assert_eq!(reply.refused(403, "wrong-password"), ["/current_password"]);
    app.sign_in("ada.lovelace", PASSWORD).await;
    // The owner's own data is no password, neither now nor later.
    let body = json!({ "current_password": PASSWORD, "new_password": "Lovelace1815" });
    let reply = app.command("change-password", &body).bearer(&ada.access).send().await;
    assert_eq!(reply.refused(400, "invalid"), ["/new_password"]);
    app.get("/v1/me").bearer(&ada.access).expect(200).await;
}

async fn of_two_changes_at_once_one_wins(engine: Engine) {
    let app = App::start(engine).await;
    let ada = app.user("ada").await;
    let new: Vec<String> = (0..6).map(|number| format!("{OTHER} {number}")).collect();
    let calls = new.iter().map(|new| {
        let body = json!({ "current_password": PASSWORD, "new_password": new });
        app.command("change-password", &body).bearer(&ada.access).send()
    });
    let replies = futures::future::join_all(calls).await;
    let won: Vec<usize> = (0..new.len()).filter(|number| replies[*number].status == 200).collect();
    assert_eq!(won.len(), 1, "{replies:?}");
    for (number, reply) in replies.iter().enumerate().filter(|(number, _)| *number != won[0]) {
        assert_eq!(reply.refused(403, "wrong-password"), ["/current_password"], "{number}");
    }
    app.sign_in("ada", &new[won[0]]).await;
}
