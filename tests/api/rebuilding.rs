//! `rebuild --swap` beside a service that is in use: rows are put right, and no request is refused for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;
use tokio::task::JoinSet;

use crate::harness::{App, Client, Engine, PASSWORD, Tokens, on_both_engines, until};

on_both_engines![a_swap_lets_every_request_through];

const SWAPS: usize = 5;
const PEOPLE: usize = 4;

/// What the clients were answered, by status.
type Answers = BTreeMap<u16, usize>;

/// One person who changes, reads, signs in and registers others without a pause.
async fn goes_on(client: Client, me: Tokens, number: usize, done: Arc<AtomicUsize>, over: Arc<AtomicBool>) -> Answers {
    let mut answers = Answers::new();
    for round in 0.. {
        let name = format!("p{number}r{round}");
        let calls = [
            client
                .command("update-profile", &json!({ "full_name": name }))
                .bearer(&me.access),
            client.get("/v1/me").bearer(&me.access),
            client
                .get(&format!("/v1/users/{}/history?limit=5", me.user))
                .bearer(&me.access),
            client.command("register-user", &json!({ "username": name, "password": PASSWORD })),
            client.post("/v1/sessions", &json!({ "identifier": name, "password": PASSWORD })),
        ];
        for call in calls {
            let reply = call.send().await;
            assert!(matches!(reply.status, 200 | 201), "{name}: {reply:?}");
            *answers.entry(reply.status).or_default() += 1;
            done.fetch_add(1, Ordering::SeqCst);
        }
        if over.load(Ordering::SeqCst) {
            break;
        }
    }
    answers
}

async fn a_swap_lets_every_request_through(engine: Engine) {
    let app = App::start(engine).await;
    let (done, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    app.has_user("victim").await;
    let mut people = JoinSet::new();
    for number in 0..PEOPLE {
        let me = app.user(&format!("person{number}")).await;
        people.spawn(goes_on(
            app.client.clone(),
            me,
            number,
            Arc::clone(&done),
            Arc::clone(&over),
        ));
    }
    let mut during = 0;
    for swap in 1..=SWAPS {
        let before = done.load(Ordering::SeqCst);
        until("requests", || async {
            (done.load(Ordering::SeqCst) > before + PEOPLE).then_some(())
        })
        .await;
        let sql = format!(
            "UPDATE users SET status = 'locked', geo_id = 'edited {swap}' WHERE username = 'victim' RETURNING version"
        );
        assert_eq!(app.log().await.numbers(&sql).await.len(), 1);
        let begun = done.load(Ordering::SeqCst);
        let report = app.place.run(&["rebuild", "--swap"], "").await.unwrap();
        during += done.load(Ordering::SeqCst) - begun;
        assert!(report.ends_with("1 row was replaced\n"), "{report}");
    }
    over.store(true, Ordering::SeqCst);
    let mut all = Answers::new();
    for answers in people.join_all().await {
        for (status, count) in answers {
            *all.entry(status).or_default() += count;
        }
    }
    told!("{engine:?}: {SWAPS} swaps, {during} requests answered meanwhile; answers by status {all:?}, none of 5xx");
    assert!(
        during >= SWAPS,
        "{during} requests were answered while rows were swapped"
    );
    let report = app.place.run(&["rebuild", "--check"], "").await.unwrap();
    assert!(report.ends_with("no row differs\n"), "{report}");
    app.sign_in("victim", PASSWORD).await;
}
