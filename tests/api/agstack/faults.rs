//! Faults of the service itself: what a table that is gone leads to, without a word of why.

use serde_json::{Value, json};
use sqlx::Executor as _;

use super::web::{PASSWORD, Web, activated, row};
use crate::harness::{App, Engine, Log, on_both_engines};

on_both_engines![a_fault_is_told_in_the_words_of_its_route];

pub async fn run(app: &App, sql: &str) {
    match app.log().await {
        Log::Postgres(mut one) => one.execute(sql).await.map(drop),
        Log::Sqlite(mut one) => one.execute(sql).await.map(drop),
    }
    .unwrap();
}

/// Asks while a table has another name. The answer is the contract's, and no word of the database is in it.
async fn without(app: &App, table: &str, call: super::web::Call<'_>, status: u16, body: Value) {
    run(app, &format!("ALTER TABLE {table} RENAME TO {table}_gone")).await;
    let reply = call.send().await;
    run(app, &format!("ALTER TABLE {table}_gone RENAME TO {table}")).await;
    assert_eq!((reply.status, reply.json()), (status, body), "{reply:?}");
}

async fn a_fault_is_told_in_the_words_of_its_route(engine: Engine) {
    let app = App::start(engine).await;
    let web = Web::python(&app);
    activated(&app, &web, "ada@farm.example").await;
    let (access, _) = web.logs_in("ada@farm.example").await;
    let says = |text: &str| json!({ "message": text });
    row("agstack 4", "H12");
    row("agstack 2.1", "unexpected failure");
    let body = json!({ "email": "bob@farm.example", "password": PASSWORD });
    without(&app, "domains", web.post("/signup", &body), 500, says("Signup Error")).await;
    row("agstack 3.9", "internal failure");
    let verify = web
        .get("/verify-api-secret-keys")
        .header("api-key", "a")
        .header("client-secret", "b");
    let body = json!({ "message": false, "error": "Verify API Keys Error" });
    without(&app, "secrets", verify, 401, body).await;
    row("agstack 2.3", "unexpected");
    let body = json!({ "phone_num": "921234567890" });
    let update = web.post("/update", &body).bearer(&access);
    without(&app, "log_head", update, 500, says("Update User Error")).await;
    row("agstack 2.4", "internal failure");
    let logout = web.get("/logout").bearer(&access);
    without(&app, "log_head", logout, 500, says("User Registry Logout Error")).await;
    // Nothing was half done.
    web.get("/logout")
        .bearer(&access)
        .says(200, "Successfully logged out")
        .await;
}
