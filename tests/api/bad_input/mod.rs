//! What no client should send: each case is answered with its own problem, changes nothing and upsets nobody.
//!
//! The tables are data: a name, a request, and what must come back. After each case the log has not moved, the
//! answer is a whole problem document, and nothing that was sent is in it.

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
use crate::harness::{App, Engine, Forge, PASSWORD, on_both_engines};

on_both_engines![every_bad_request_has_its_own_answer_and_no_effect];

async fn every_bad_request_has_its_own_answer_and_no_effect(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let user = app.user("ada").await;
    let other = app.user("PayPal").await;
    let taken = json!({ "email": "Jörg@bücher.example", "phone": "+6584932466", "password": PASSWORD });
    app.command("register-user", &taken).expect(201).await;
    let scene = Scene {
        forge: Forge::open(&app.place).await,
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
    let mut head = log.head().await;
    let mut wrong = Vec::new();
    for case in &cases {
        if let Err(problem) = case.run(&app, &scene).await {
            wrong.push(format!("{}: {problem}", case.name));
        }
        let moved = log.types_after(head).await;
        if !moved.is_empty() {
            wrong.push(format!("{} wrote {moved:?}", case.name));
            head = log.head().await;
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
    app.user("grace").await;
    assert_eq!(log.types_after(head).await, ["user.registered", "session.started"]);
    assert_eq!(app.get("/readyz").send().await.status, 200);
    println!("{engine:?}: {} cases", cases.len());
}
