//! What no client should send: each case is answered with its own problem, changes nothing and upsets nobody.
//!
//! The tables are data: a name, a request, and what must come back. After each case no row of the database differs but
//! the counts of tries, the answer is a whole problem document, and nothing that was sent is in it.

mod bodies;
mod case;
mod commands;
mod credentials;
mod every;
mod feed;
mod headers;
mod names;
mod people;
mod places;
mod reads;
mod registering;
mod routes;
mod sessions;

use std::collections::BTreeSet;

use serde_json::json;
use user_registry::http::ROUTES;

use self::case::{Case, Scene};
use crate::harness::{App, Engine, Forge, Log, PASSWORD, on_both_engines, until};

/// What is counted beside the log, how far the followers and the copies have come, and who runs them.
const BESIDE: [&str; 4] = ["attempts", "claims", "checkpoints", "tree_copies"];

on_both_engines![every_bad_request_has_its_own_answer_and_no_effect];

async fn every_bad_request_has_its_own_answer_and_no_effect(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let user = app.user("ada").await;
    let other = app.user("PayPal").await;
    let taken = json!({ "email": "Jörg@bücher.example", "phone": "+6584932466", "password": PASSWORD });
    app.command("register-user", &taken).expect(201).await;
    let forge = Forge::open(&app.place).await;
    let scene = Scene {
        tokens: credentials::everywhere(&forge, &admin),
        forge,
        user,
        admin,
        other,
    };

    let tables: [fn(&Scene) -> Vec<Case>; 13] = [
        bodies::cases,
        registering::cases,
        names::cases,
        places::cases,
        commands::cases,
        people::cases,
        sessions::cases,
        headers::cases,
        credentials::cases,
        reads::cases,
        feed::cases,
        routes::cases,
        every::cases,
    ];
    let cases: Vec<Case> = tables.iter().flat_map(|table| table(&scene)).collect();
    let mut names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    names.sort_unstable();
    let twice: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    assert!(twice.is_empty(), "two cases share a name: {twice:?}");
    assert!(cases.len() >= 150);
    let met: BTreeSet<(&str, &str)> = cases.iter().filter_map(Case::route).collect();
    for route in ROUTES {
        let route = (route.method.as_str(), route.path);
        assert!(met.contains(&route), "no case for {route:?}");
    }

    let mut log = app.log().await;
    settled(&mut log).await;
    let rows = log.all_rows(&BESIDE).await;
    let mut before = log.sorted(&rows).await;
    assert!(before.len() > 50, "{before:?}");
    let mut wrong = Vec::new();
    for case in &cases {
        if let Err(problem) = case.run(&app, &scene).await {
            wrong.push(format!("{}: {problem}", case.name));
        }
        let after = log.sorted(&rows).await;
        if after != before {
            let differ: Vec<&String> = after.symmetric_difference(&before).collect();
            wrong.push(format!("{} wrote {differ:?}", case.name));
            before = after;
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} cases:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );

    // The service is well, and the log would have moved.
    let head = log.head().await;
    app.user("grace").await;
    assert_eq!(log.types_after(head).await, ["user.registered", "session.started"]);
    assert_eq!(app.get("/readyz").send().await.status, 200);
    assert_ne!(log.sorted(&rows).await, before);
    told!(
        "{engine:?}: {} cases, no row written by any; {} rows compared after each",
        cases.len(),
        before.len()
    );
}

/// Waits until the followers are done with what was written so far: they too leave rows.
async fn settled(log: &mut Log) {
    let log = tokio::sync::Mutex::new(log);
    until("the followers", || async {
        let mut log = log.lock().await;
        let head = log.head().await;
        let behind = log.count("checkpoints", &format!("position < {head}")).await;
        let covered = log.count("tree_heads", &format!("size = {head}")).await;
        (behind == 0 && covered == 1).then_some(())
    })
    .await;
}
