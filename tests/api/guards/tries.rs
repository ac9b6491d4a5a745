//! Tries at passwords: counted before they are compared, by all replicas together.

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::{WIDE, events};
use crate::agstack::faults::run;
use crate::agstack::web::Web;
use crate::harness::{App, Client, Engine, PASSWORD, Place, Reply, Server, on_both_engines, soon, until};

on_both_engines![
    a_failure_locks_an_account_for_a_second_and_nobody_can_tell,
    a_name_is_looked_up_as_often_whether_it_is_somebodys_or_not,
    of_a_hundred_guesses_at_once_few_are_compared,
    many_devices_may_sign_in_at_once,
    replicas_count_together,
    a_reset_opens_a_locked_account,
    a_current_password_has_a_count_of_its_own,
    nobody_costs_as_many_hashes_as_somebody,
    a_full_hashing_queue_says_so_without_hashing,
    five_failures_between_locks_are_told_and_no_locked_try_is,
    whoever_hangs_up_has_tried_all_the_same,
    a_replica_that_dies_in_a_try_has_lost_it_and_locks_nobody_out,
    what_was_never_compared_for_a_fault_of_ours_is_no_failure,
];

const OTHER: &str = "nine grey geese by a pond";

async fn try_in(client: &Client, identifier: &str, password: &str) -> Reply {
    let body = json!({ "identifier": identifier, "password": password });
    client.post("/v1/sessions", &body).send().await
}

/// Tries until the lock is over.
async fn in_at_last(client: &Client, password: &str) {
    until("the end of a lock", || async {
        (try_in(client, "ada", password).await.status == 201).then_some(())
    })
    .await;
}

/// Lets the last failures have been later than they were, so that no busy machine outlasts a lock; microseconds.
async fn delay_failures(place: &Place, by: i64) {
    let mut log = place.log().await;
    for state in log.texts("SELECT state FROM claims").await {
        let mut later: Value = serde_json::from_str(&state).unwrap();
        let failed_at = later["failed_at"].as_i64().unwrap();
        if failed_at == 0 {
            continue;
        }
        later["failed_at"] = json!(failed_at + by);
        let sql =
            format!("UPDATE claims SET state = '{later}', turn = turn + 1 WHERE state = '{state}' RETURNING turn");
        assert_eq!(log.numbers(&sql).await.len(), 1);
    }
}

/// Less than the clocks of replicas may be apart: of what is later nothing is thought.
const AHEAD: i64 = 50_000_000;

fn alike(reply: &Reply) -> (u16, String, Vec<(String, String)>) {
    let mut headers = reply.steady_headers();
    headers.retain(|(name, _)| name != "ratelimit");
    let mut body = reply.json();
    body["instance"] = json!(null);
    (reply.status, body.to_string(), headers)
}

async fn a_failure_locks_an_account_for_a_second_and_nobody_can_tell(engine: Engine) {
    let app = App::start_with(engine, &WIDE).await;
    let ada = app.user("ada").await;
    let failed_after = Instant::now();
    let wrong = try_in(&app, "ada", OTHER).await;
    wrong.refused(401, "invalid-credentials");
    delay_failures(&app.place, AHEAD).await;
    let right = try_in(&app, "ada", PASSWORD).await;
    right.refused(401, "invalid-credentials");
    assert_eq!(alike(&wrong), alike(&right));
    let metrics = app.get("/metrics").send().await.body;
    assert_eq!(number(&metrics, "registry_tries_locked_total "), 1);
    for _ in 0..3 {
        assert_eq!(alike(&wrong), alike(&try_in(&app, "nobody", PASSWORD).await));
    }
    // Whoever is in stays in.
    app.get("/v1/me").bearer(&ada.access).expect(200).await;
    delay_failures(&app.place, -AHEAD).await;
    in_at_last(&app, PASSWORD).await;
    assert!(failed_after.elapsed() >= Duration::from_secs(1));
    // A right one ends it: the next is let in at once.
    assert_eq!(try_in(&app, "ada", PASSWORD).await.status, 201);
    // What was not compared is no failure.
    assert_eq!(events(&app, "session.failed").await, 1);
    let mut log = app.log().await;
    let states = log.texts("SELECT state FROM claims").await.concat();
    assert!(!states.contains("ada") && !states.contains(&ada.user), "{states}");
}

async fn a_name_is_looked_up_as_often_whether_it_is_somebodys_or_not(engine: Engine) {
    let app = App::start_with(engine, &[("REGISTRY__LOG__LEVEL", "trace")]).await;
    app.with_email("ada").await;
    app.with_phone("eve", "+6584932466").await;
    let reads = || {
        let log = app.server.log();
        let read = |line: &&str| line.contains("db.statement") && line.contains("FROM names");
        log.lines().filter(read).count()
    };
    let mut told = Vec::new();
    for (known, unknown) in [
        ("ada@farm.example", "nobody@farm.example"),
        ("+6584932466", "+6584932467"),
        ("ada", "nobody"),
    ] {
        let mut rises = Vec::new();
        for identifier in [known, unknown] {
            let before = reads();
            assert_eq!(try_in(&app, identifier, OTHER).await.status, 401);
            rises.push(reads() - before);
        }
        assert!(rises[0] > 0 && rises[0] == rises[1], "{known}, {unknown}: {rises:?}");
        told.push(rises);
    }
    told!("{engine:?}: reads for somebody and for nobody: {told:?}");
}

async fn of_a_hundred_guesses_at_once_few_are_compared(engine: Engine) {
    let app = App::start_with(engine, &WIDE).await;
    app.has_user("ada").await;
    let guesses: Vec<String> = (0..100).map(|number| format!("{OTHER} {number}")).collect();
    let replies = join_all(guesses.iter().map(|guess| try_in(&app, "ada", guess))).await;
    assert!(replies.iter().all(|reply| reply.status == 401));
    let metrics = app.get("/metrics").send().await.body;
    let App { server, place, .. } = app;
    // Failures are written down after their answers, and before the end.
    server.terminate();
    assert_eq!(server.end().await, Some(0));
    let mut log = place.log().await;
    let compared = log.count("events", "event_type = 'session.failed'").await;
    told!("{engine:?}: of 100 guesses at once {compared} were compared");
    // Five begin at once; the others wait for a while, and each failure holds the next up for a second and more.
    assert!((1..=9).contains(&compared), "{compared}");
    assert!(metrics.contains("registry_tries_locked_total"), "{metrics}");
}

async fn many_devices_may_sign_in_at_once(engine: Engine) {
    let app = App::start_with(engine, &WIDE).await;
    app.has_user("ada").await;
    let replies = join_all((0..12).map(|_| try_in(&app, "ada", PASSWORD))).await;
    let statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
    assert!(
        statuses.iter().filter(|status| **status == 201).count() >= 5,
        "{statuses:?}"
    );
    assert_eq!(events(&app, "session.failed").await, 0);
}

async fn replicas_count_together(engine: Engine) {
    let app = App::start_with(engine, &WIDE).await;
    let second = Server::start(&app.place, &WIDE).await;
    let other = second.client();
    app.has_user("ada").await;
    for (one, another) in [(&app.client, &other), (&other, &app.client)] {
        let failed_after = Instant::now();
        assert_eq!(try_in(one, "ada", OTHER).await.status, 401);
        delay_failures(&app.place, AHEAD).await;
        let status = try_in(another, "ada", PASSWORD).await.status;
        assert_eq!(status, 401, "the other replica knows of the failure");
        delay_failures(&app.place, -AHEAD).await;
        in_at_last(another, PASSWORD).await;
        assert!(failed_after.elapsed() >= Duration::from_secs(1));
    }
}

async fn a_reset_opens_a_locked_account(engine: Engine) {
    let app = App::start_with(engine, &WIDE).await;
    app.with_email("ada").await;
    assert_eq!(try_in(&app, "ada", OTHER).await.status, 401);
    delay_failures(&app.place, AHEAD).await;
    assert_eq!(try_in(&app, "ada", PASSWORD).await.status, 401);
    let body = json!({ "email": "ada@farm.example" });
    app.command("request-password-reset", &body).expect(202).await;
    let mail = app.mailbox().nth_to("ada@farm.example", 2).await;
    let body = json!({ "token": mail.token(), "new_password": OTHER });
    app.command("reset-password", &body).expect(200).await;
    assert_eq!(try_in(&app, "ada", OTHER).await.status, 201);
}

async fn a_current_password_has_a_count_of_its_own(engine: Engine) {
    let app = App::start_with(engine, &WIDE).await;
    let ada = app.user("ada").await;
    let change = async |current: &str| {
        let body = json!({ "current_password": current, "new_password": "one more password of hers" });
        app.command("change-password", &body).bearer(&ada.access).send().await
    };
    let failed_after = Instant::now();
    let wrong = change(OTHER).await;
    assert_eq!(wrong.refused(403, "wrong-password"), ["/current_password"]);
    delay_failures(&app.place, AHEAD).await;
    let locked = change(PASSWORD).await;
    // Every command that takes one counts in the same place.
    let body = json!({ "current_password": PASSWORD, "reason": "gone" });
    let erase = app.command("erase-user", &body).bearer(&ada.access).send().await;
    let body = json!({ "current_password": PASSWORD, "phone": "+6584932466" });
    let phone = app.command("change-phone", &body).bearer(&ada.access).send().await;
    for reply in [&locked, &erase, &phone] {
        reply.refused(403, "wrong-password");
    }
    // A stranger's failures and the owner's own do not meet.
    assert_eq!(try_in(&app, "ada", PASSWORD).await.status, 201);
    delay_failures(&app.place, -AHEAD).await;
    let changed = until("the end of a lock", || async {
        let reply = change(PASSWORD).await;
        (reply.status == 200).then_some(reply)
    })
    .await;
    assert_eq!(changed.json()["events"], json!(["user.password_changed"]));
    assert!(failed_after.elapsed() >= Duration::from_secs(1));
}

async fn a_full_hashing_queue_says_so_without_hashing(engine: Engine) {
    for (queue, wait, why) in [("2", "60000", "queue"), ("1000", "1", "wait")] {
        let settings = [
            ("REGISTRY__PASSWORDS__THREADS", "1"),
            ("REGISTRY__PASSWORDS__QUEUE", queue),
            ("REGISTRY__PASSWORDS__WAIT_MS", wait),
        ];
        let app = App::start_with(engine, &settings).await;
        // On a busy machine even the one may find no thread in time.
        until("an account", || async {
            let body = json!({ "username": "ada", "password": PASSWORD });
            (app.command("register-user", &body).send().await.status == 201).then_some(())
        })
        .await;
        let hashes = async || number(&app.get("/metrics").send().await.body, "registry_hash_seconds_count ");
        let refusals = async || {
            let name = format!("registry_hash_refused_total{{why=\"{why}\"}} ");
            number(&app.get("/metrics").send().await.body, &name)
        };
        let (hashed, refused) = (hashes().await, refusals().await);
        let (replies, deepest) = told_meanwhile(&app, (0..40).map(|_| try_in(&app, "ada", PASSWORD))).await;
        let room: usize = queue.parse().unwrap();
        assert!(deepest <= room, "{deepest} waited where {room} may");
        let (busy, done): (Vec<Reply>, Vec<Reply>) = replies.into_iter().partition(|reply| reply.status == 503);
        assert!(!busy.is_empty(), "{why}");
        for reply in &busy {
            reply.refused(503, "unavailable");
        }
        assert!(done.iter().all(|reply| reply.status == 201));
        told!(
            "{engine:?}: {} of 40 sign-ins at once were sent away ({why})",
            busy.len()
        );
        assert_eq!(refusals().await - refused, busy.len());
        assert_eq!(hashes().await - hashed, done.len(), "who was sent away cost no hash");
        if why == "queue" {
            let mut seen = deepest;
            soon("somebody to be seen waiting", async {
                while seen == 0 {
                    seen = told_meanwhile(&app, (0..40).map(|_| try_in(&app, "ada", PASSWORD)))
                        .await
                        .1;
                }
            })
            .await;
            told!("{engine:?}: {seen} were told to wait where {queue} may");
        }
        until("nobody to wait", || async {
            let metrics = app.get("/metrics").send().await.body;
            (number(&metrics, "registry_hash_queue_depth ") == 0).then_some(())
        })
        .await;
    }
}

/// The replies to all of them at once, and how many waited to be hashed at the most, as the metrics told meanwhile.
async fn told_meanwhile(app: &App, tries: impl Iterator<Item = impl Future<Output = Reply>>) -> (Vec<Reply>, usize) {
    let mut tries = std::pin::pin!(join_all(tries));
    let mut deepest = 0;
    loop {
        tokio::select! {
            replies = &mut tries => return (replies, deepest),
            metrics = app.get("/metrics").send() => {
                deepest = deepest.max(number(&metrics.body, "registry_hash_queue_depth "));
            }
        }
    }
}

/// Where an account is missing, one hash is worked out for nothing, so that an answer takes as long.
async fn nobody_costs_as_many_hashes_as_somebody(engine: Engine) {
    const TRIES: usize = 5;
    // Without limits, as every try is to be compared.
    let app = App::start(engine).await;
    app.with_phone("ada", "+6584932466").await;
    app.with_email("grace").await;
    let hashes = async || number(&app.get("/metrics").send().await.body, "registry_hash_seconds_count ");
    let mut counted = hashes().await;
    let mut rises = Vec::new();
    for identifier in [
        "ada",
        "+6584932466",
        "grace@farm.example",
        "nobody",
        "+6584932467",
        "nobody@farm.example",
        "nobody@nowhere.example",
        "no name at all",
    ] {
        for _ in 0..TRIES {
            try_in(&app, identifier, OTHER)
                .await
                .refused(401, "invalid-credentials");
        }
        let now = hashes().await;
        rises.push((identifier, now - counted));
        counted = now;
    }
    told!("{engine:?}: hashes for {TRIES} wrong passwords each: {rises:?}");
    assert!(rises.iter().all(|(_, rise)| *rise == TRIES), "{rises:?}");
}

async fn five_failures_between_locks_are_told_and_no_locked_try_is(engine: Engine) {
    let app = App::start_with(engine, &WIDE).await;
    app.with_email("ada").await;
    for count in 1..=5 {
        assert_eq!(try_in(&app, "ada", OTHER).await.status, 401);
        until("the failure to be written down", || async {
            (events(&app, "session.failed").await == count).then_some(())
        })
        .await;
        delay_failures(&app.place, AHEAD).await;
        assert_eq!(try_in(&app, "ada", OTHER).await.status, 401);
        // And the lock is over.
        delay_failures(&app.place, -2 * AHEAD).await;
    }
    app.sign_in("ada", PASSWORD).await;
    let mail = app.mailbox().nth_to("ada@farm.example", 2).await;
    assert_eq!(mail.subject, "A sign-in after several that failed");
    assert_eq!(events(&app, "session.failed").await, 5);
}

async fn whoever_hangs_up_has_tried_all_the_same(engine: Engine) {
    let app = App::start_with(engine, &WIDE).await;
    app.has_user("ada").await;
    let body = json!({ "identifier": "ada", "password": OTHER }).to_string();
    let request = format!(
        "POST /v1/sessions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(app.server.address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    // As soon as the try has begun.
    let states = async || app.log().await.texts("SELECT state FROM claims").await.concat();
    until("a try", || async { (!states().await.is_empty()).then_some(()) }).await;
    drop(stream);
    until("the try to be counted", || async {
        let states = states().await;
        (states.contains("\"total\":1") && states.contains("\"open\":0")).then_some(())
    })
    .await;
}

/// What was under way at a replica that is killed has failed a minute later; until then it is one of the few that may be
/// under way.
async fn a_replica_that_dies_in_a_try_has_lost_it_and_locks_nobody_out(engine: Engine) {
    let app = App::start_with(engine, &WIDE).await;
    app.has_user("ada").await;
    // Slow enough to be killed at it.
    let mut slow = WIDE.to_vec();
    slow.extend([
        ("REGISTRY__PASSWORDS__MEMORY_KIB", "65536"),
        ("REGISTRY__PASSWORDS__ITERATIONS", "100"),
    ]);
    let second = Server::start(&app.place, &slow).await;
    let other = second.client();
    let dying = tokio::spawn(async move {
        let body = json!({ "identifier": "ada", "password": OTHER });
        other.post("/v1/sessions", &body).try_send().await.is_ok()
    });
    let state = async || -> Option<Value> {
        let states = app.log().await.texts("SELECT state FROM claims").await;
        states.first().map(|state| serde_json::from_str(state).unwrap())
    };
    let begun = until("a try under way", || async {
        state().await.filter(|state| state["open"] == 1)
    })
    .await;
    second.kill();
    assert!(!dying.await.unwrap(), "it was answered");
    assert_eq!(state().await, Some(begun.clone()), "nobody ended it");
    assert_eq!(try_in(&app, "ada", PASSWORD).await.status, 201);
    // As if it had begun more than a minute ago.
    let mut lost = state().await.unwrap();
    assert_eq!((&lost["open"], &lost["total"]), (&json!(1), &json!(0)));
    lost["began_at"] = json!(lost["began_at"].as_i64().unwrap() - 61_000_000);
    let sql = format!("UPDATE claims SET state = '{lost}', turn = turn + 1 RETURNING turn");
    assert_eq!(app.log().await.numbers(&sql).await.len(), 1);
    assert_eq!(try_in(&app, "ada", PASSWORD).await.status, 201);
    let now = state().await.unwrap();
    assert_eq!((&now["open"], &now["total"]), (&json!(0), &json!(1)), "{now}");
}

/// A store that cannot be read is nobody's guess: however often somebody tries meanwhile, they are let in afterwards.
async fn what_was_never_compared_for_a_fault_of_ours_is_no_failure(engine: Engine) {
    const DEVICE: &str = "0123456789abcdef";
    let app = App::start_with(engine, &WIDE).await;
    let ada = app.user("ada").await;
    let web = Web::python(&app);
    let device = |path: &str| web.call("POST", path).header("x-device-id", DEVICE);
    let secret = device("/signup").send().await.json()["device_secret"].clone();
    let signs_in = || device("/login").header("x-device-secret", secret.as_str().unwrap());
    let change = || {
        let body = json!({ "current_password": PASSWORD, "new_password": OTHER });
        app.command("change-password", &body).bearer(&ada.access)
    };
    for table in ["credentials", "secrets"] {
        run(&app, &format!("ALTER TABLE {table} RENAME TO {table}_gone")).await;
    }
    let mut told = Vec::new();
    for _ in 0..4 {
        told.push(try_in(&app, "ada", PASSWORD).await.status);
        told.push(try_in(&app, "nobody", PASSWORD).await.status);
        told.push(change().send().await.status);
        told.push(signs_in().send().await.status);
    }
    for table in ["credentials", "secrets"] {
        run(&app, &format!("ALTER TABLE {table}_gone RENAME TO {table}")).await;
    }
    assert_eq!(told, [500; 16]);
    let states = app.log().await.texts("SELECT state FROM claims").await;
    let mut tried = 0;
    for state in states {
        let state: Value = serde_json::from_str(&state).unwrap();
        if let Some(total) = state.get("total") {
            assert_eq!((total, &state["open"]), (&json!(0), &json!(0)), "{state}");
            tried += 1;
        }
    }
    assert_eq!(tried, 4, "each has its own count");
    assert_eq!(try_in(&app, "ada", PASSWORD).await.status, 201);
    assert_eq!(signs_in().send().await.status, 200);
    change().expect(200).await;
}

/// A number of the metrics; 0 if it is not there yet.
fn number(metrics: &str, name: &str) -> usize {
    let text = metrics.lines().find_map(|line| line.strip_prefix(name));
    text.map_or(0, |text| text.trim().parse().unwrap())
}
