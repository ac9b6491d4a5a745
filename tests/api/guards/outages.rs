//! The database goes away: everybody is told soon, and it heals by itself.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{App, LONG, PASSWORD, Tokens, Wire, run, until};

/// How soon everybody is answered, and how soon the service says that it is not ready.
const ANSWERED: Duration = Duration::from_secs(3);
const UNREADY: Duration = Duration::from_secs(2);
/// On a machine that does other things, one of so many times must keep to both.
const ROUNDS: usize = 3;

#[test]
fn a_database_that_is_gone_is_told_within_three_seconds_and_heals() {
    run(without_its_database(Wire::Cut));
}

#[test]
fn a_database_that_hangs_is_told_within_three_seconds_and_heals() {
    run(without_its_database(Wire::Dead));
}

#[test]
fn a_command_that_hangs_on_a_connection_in_use_is_given_up() {
    run(async {
        let (app, line) = App::start_on_a_line().await;
        let ada = app.user("ada").await;
        let body = json!({ "full_name": "Ada" });
        let renames = || app.command("update-profile", &body).bearer(&ada.access).send();
        renames().await;
        // Used a moment ago, a connection is not tried before it is used again.
        line.is(Wire::Dead);
        let asked = Instant::now();
        let signs_in = json!({ "identifier": "ada", "password": PASSWORD });
        let (signed_in, renamed) = tokio::join!(app.post("/v1/sessions", &signs_in).send(), renames());
        for reply in [&signed_in, &renamed] {
            reply.refused(503, "unavailable");
            assert!(reply.header("retry-after").parse::<u32>().unwrap() > 0);
        }
        told!("both were answered after {:?}", asked.elapsed());
        // Twice over, for a machine that does other things.
        assert!(asked.elapsed() < ANSWERED * 2);
        line.is(Wire::Whole);
        heals(&app, &ada, Wire::Dead).await;
    });
}

async fn without_its_database(wire: Wire) {
    let (app, line) = App::start_on_a_line().await;
    let ada = app.user("ada").await;
    app.get("/readyz").expect(200).await;
    // The first number loads the numbering plans, which takes its own time.
    let number = json!({ "phone": "+6584932466" });
    app.command("request-phone-verification", &number).expect(202).await;
    let mut rounds = Vec::new();
    let kept = |(unready, slowest): &(Duration, Duration)| *unready <= UNREADY && *slowest <= ANSWERED;
    while !rounds.iter().any(kept) {
        assert!(
            rounds.len() < ROUNDS,
            "{wire:?}: not ready and the slowest answer after {rounds:?}, limits {UNREADY:?} and {ANSWERED:?}"
        );
        line.is(wire);
        rounds.push(goes_away(&app, &ada, wire).await);
        line.is(Wire::Whole);
        heals(&app, &ada, wire).await;
    }
    told!(
        "{wire:?}: not ready after (limit {UNREADY:?}), and the slowest answer after (limit {ANSWERED:?}): {rounds:?}"
    );
}

/// How long it takes until the service knows, and its slowest answer from then on.
async fn goes_away(app: &App, ada: &Tokens, wire: Wire) -> (Duration, Duration) {
    let gone = Instant::now();
    let unready = until("the service to know", || async {
        let reply = app.get("/readyz").send().await;
        (reply.status == 503).then(|| (gone.elapsed(), reply.json()))
    })
    .await;
    told!("{wire:?}: not ready after {:?}: {}", unready.0, unready.1);
    let mut slowest = Duration::ZERO;
    for (what, call) in [
        ("GET /v1/me", app.get("/v1/me").bearer(&ada.access)),
        (
            "sign in",
            app.post("/v1/sessions", &json!({ "identifier": "ada", "password": PASSWORD })),
        ),
        (
            "register",
            app.command("register-user", &json!({ "username": "eve", "password": PASSWORD })),
        ),
        (
            "update-profile",
            app.command("update-profile", &json!({ "full_name": "Ada" }))
                .bearer(&ada.access),
        ),
        (
            "reset",
            app.command(
                "reset-password",
                &json!({ "token": "A".repeat(64), "new_password": "violet kettle tuesday" }),
            ),
        ),
        (
            "request a reset",
            app.command("request-password-reset", &json!({ "email": "nobody@farm.example" })),
        ),
        (
            "request an address's link",
            app.command("request-email-verification", &json!({ "email": "nobody@farm.example" })),
        ),
        (
            "request a number's code",
            app.command("request-phone-verification", &json!({ "phone": "+6584932466" })),
        ),
    ] {
        let asked = Instant::now();
        let reply = call.send().await;
        let took = asked.elapsed();
        slowest = slowest.max(took);
        told!("{wire:?}: {what} answered {} after {took:?}", reply.status);
        reply.refused(503, "unavailable");
    }
    app.get("/healthz").expect(200).await;
    (unready.0, slowest)
}

async fn heals(app: &App, ada: &Tokens, wire: Wire) {
    let back = Instant::now();
    until("the service to be ready", || async {
        (app.get("/readyz").send().await.status == 200).then_some(())
    })
    .await;
    until("an answer", || async {
        let reply = app.get("/v1/me").bearer(&ada.access).send().await;
        (reply.status == 200).then_some(())
    })
    .await;
    until("a command", || async {
        let body = json!({ "full_name": "Ada" });
        let reply = app.command("update-profile", &body).bearer(&ada.access).send().await;
        (reply.status == 200).then_some(())
    })
    .await;
    told!("{wire:?}: healed after {:?}", back.elapsed());
    assert!(back.elapsed() < LONG);
}
