//! Followers from outside: one that stopped is shown and mended, and those of a process that is gone move to another.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::{
    App, Client, Engine, Log, Mailbox, PASSWORD, Phones, Place, Rabbit, Server, on_both_engines, until,
};

on_both_engines![one_that_stopped_is_shown_retried_and_passes_over_what_is_skipped];

mod forgetting {
    use super::{App, Engine, on_both_engines};
    use crate::agstack::faults::run as sql;

    on_both_engines![only_a_publisher_that_nobody_runs_is_forgotten];

    async fn only_a_publisher_that_nobody_runs_is_forgotten(engine: Engine) {
        let app = App::start(engine).await;
        let was = |name: &str, owner: &str, until: &str| {
            format!(
                "INSERT INTO checkpoints (follower, position, owner, lease_until, epoch, updated_at) \
                 VALUES ('{name}', 3, {owner}, {until}, 1, 0)"
            )
        };
        sql(&app, &was("amqp", "NULL", "0")).await;
        sql(&app, &was("amqp-pii", "'host/1/a'", "9000000000000000")).await;
        let forget = |name: &'static str| {
            let place = &app.place;
            async move { place.run(&["followers", "forget", name], "").await }
        };
        assert!(
            forget("mail")
                .await
                .unwrap_err()
                .contains("mail cannot be switched off")
        );
        let told = forget("amqp-pii").await.unwrap_err();
        assert!(
            told.contains("amqp-pii is not switched off: host/1/a runs it"),
            "{told}"
        );
        let told = forget("amqp").await.unwrap();
        assert!(told.contains("amqp was at 3 and is forgotten"), "{told}");
        assert!(forget("amqp").await.unwrap_err().contains("there is no follower amqp"));
        let listed = app.place.run(&["followers", "list"], "").await.unwrap();
        let names: Vec<&str> = listed.lines().filter_map(|line| line.split(' ').next()).collect();
        assert!(names.contains(&"amqp-pii") && !names.contains(&"amqp"), "{listed}");
    }
}

mod failover {
    mod postgres {
        #[test]
        fn every_follower_moves_within_ten_seconds_and_nothing_is_lost_or_doubled() {
            crate::harness::run(super::super::every_follower_moves());
        }
    }
}

/// Where an event is that nobody can read any more, and its payload until now.
pub async fn breaks(app: &App, kind: &str) -> (i64, String) {
    let mut log = app.log().await;
    let at = log
        .numbers(&format!("SELECT min(position) FROM events WHERE event_type = '{kind}'"))
        .await[0];
    let payload = payload(&mut log, at).await;
    overwrite(&mut log, at, "{\"type\":\"user.nonsense\"}").await;
    (at, payload)
}

/// The payload of an event as it is stored.
pub async fn payload(log: &mut Log, at: i64) -> String {
    let cast = if matches!(log, Log::Postgres(_)) { "::text" } else { "" };
    log.texts(&format!("SELECT payload{cast} FROM events WHERE position = {at}"))
        .await
        .remove(0)
}

/// Changes what must never change, past every guard.
pub async fn overwrite(log: &mut Log, at: i64, payload: &str) {
    let cast = if matches!(log, Log::Postgres(_)) {
        log.numbers("ALTER TABLE events DISABLE TRIGGER events_no_change").await;
        "::json"
    } else {
        log.numbers("DROP TRIGGER IF EXISTS events_no_update").await;
        ""
    };
    log.numbers(&format!(
        "UPDATE events SET payload = '{payload}'{cast} WHERE position = {at} RETURNING position"
    ))
    .await;
}

/// Takes an event out of the log, past every guard.
pub async fn remove(log: &mut Log, at: i64) {
    log.numbers(if matches!(log, Log::Postgres(_)) {
        "ALTER TABLE events DISABLE TRIGGER USER"
    } else {
        "DROP TRIGGER events_no_delete"
    })
    .await;
    log.numbers(&format!("DELETE FROM events WHERE position = {at} RETURNING position"))
        .await;
}

async fn ready(app: &App) -> (u16, Value) {
    let reply = app.get("/readyz").send().await;
    (reply.status, reply.json())
}

#[expect(clippy::too_many_lines, reason = "a behaviour is told in one piece")]
async fn one_that_stopped_is_shown_retried_and_passes_over_what_is_skipped(engine: Engine) {
    let quiet = [("REGISTRY__FOLLOWERS__ENABLED", "false")];
    let mut app = App::start_with(engine, &quiet).await;
    let admin = app.admin().await;
    for number in 0..3 {
        let body = json!({ "email": format!("p{number}@farm.example"), "password": PASSWORD });
        app.command("register-user", &body).expect(201).await;
    }
    let (at, payload) = breaks(&app, "user.email_verification_requested").await;
    app.server.terminate();
    let rabbit = Rabbit::shared();
    let url = rabbit.url();
    let broker = [
        ("AMQP_URL", url.as_str()),
        ("REGISTRY__AMQP__EXCHANGE", rabbit.exchange()),
    ];
    app.server = Server::start(&app.place, &broker).await;
    app.client = app.server.client();

    // Each of the followers stops at that event, and all of them are shown.
    let names = ["amqp", "mail", "notary", "sms", "statistics"];
    let stopped = until("every follower to stop", || async {
        let (status, body) = ready(&app).await;
        let parts = body["parts"].as_array().unwrap();
        let stopped: BTreeSet<String> = parts
            .iter()
            .filter(|part| part["ready"] == false)
            .map(|part| part["name"].as_str().unwrap().replace("follower ", ""))
            .collect();
        (status == 503 && stopped.len() == names.len()).then_some(stopped)
    })
    .await;
    assert!(stopped.iter().map(String::as_str).eq(names), "{stopped:?}");
    let metrics = app.get("/metrics").send().await.body;
    for name in names {
        let line = format!("registry_follower_stopped{{follower=\"{name}\"}} 1");
        assert!(metrics.contains(&line), "{line} is missing in\n{metrics}");
    }
    let run = |verb: Vec<String>| {
        let place = &app.place;
        async move {
            let verb: Vec<&str> = verb.iter().map(String::as_str).collect();
            place.run(&verb, "").await
        }
    };
    let verb = |words: &str| -> Vec<String> { words.split('|').map(str::to_owned).collect() };
    let listed = run(verb("followers|list")).await.unwrap();
    for name in names {
        let line = listed.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(line.contains(&format!("stands at {at}: ")), "{line}");
        assert!(!line.contains("nonsense"), "{line}");
    }

    // Only what a follower stands at is skipped, and only with a reason.
    let skip = |name: &str, position: i64, reason: &str| {
        run(verb(&format!(
            "followers|skip|{name}|--position|{position}|--reason|{reason}"
        )))
    };
    let told = skip("mail", at + 1, "a guess").await.unwrap_err();
    assert!(
        told.contains(&format!("mail stands at {at}, not at {}", at + 1)),
        "{told}"
    );
    let told = skip("male", at, "a slip").await.unwrap_err();
    assert!(
        told.contains("there is no follower male; there are amqp, mail, notary, sms, statistics"),
        "{told}"
    );
    // A head that left an event out would prove nothing.
    let told = skip("notary", at, "in a hurry").await.unwrap_err();
    assert!(told.contains("the notary passes over nothing"), "{told}");
    assert!(skip("mail", at, " ").await.unwrap_err().contains("needs a reason"));
    let told = run(verb("followers|retry|mail")).await.unwrap_err();
    assert!(told.contains(&format!("mail stands at {at}: ")), "{told}");
    assert_eq!(app.mailbox().mails().len(), 0);

    // Three of them pass over it; what comes behind is done.
    for name in ["amqp", "mail", "sms"] {
        let told = skip(name, at, "made by a program that is gone").await.unwrap();
        assert!(told.contains(&format!("{name} passes over {at}")), "{told}");
    }
    app.mailbox().to("p2@farm.example").await;
    assert_eq!(
        app.mailbox().mails().len(),
        2,
        "the first of three is the one that was skipped"
    );
    // The others go on by themselves once the event is mended; one of them counts it.
    overwrite(&mut app.log().await, at, &payload).await;
    run(verb("followers|retry|statistics")).await.unwrap();
    run(verb("followers|retry|notary")).await.unwrap();
    until("everything to be ready", || async {
        (ready(&app).await.0 == 200).then_some(())
    })
    .await;
    let told = skip("mail", at, "once more").await.unwrap_err();
    assert!(told.contains("mail has not stopped; nothing was skipped"), "{told}");
    let told = run(verb("followers|retry|mail")).await.unwrap();
    assert!(told.contains("mail has not stopped"), "{told}");

    // The skips are kept, and shown on both ways.
    let listed = run(verb("followers|list")).await.unwrap();
    assert!(!listed.contains("stands at"), "{listed}");
    for name in ["amqp", "mail", "sms"] {
        let line = format!("skipped: {name} {at} at ");
        let line = listed
            .lines()
            .find(|one| one.starts_with(&line))
            .unwrap_or_else(|| panic!("{listed}"));
        assert!(
            line.contains(": made by a program that is gone (it had stopped: "),
            "{line}"
        );
    }
    let shown = until("every follower to be at the head", || async {
        let shown = app.get("/v1/followers").bearer(&admin.access).expect(200).await;
        let behind = |follower: &Value| follower["lag_events"] != 0;
        (!shown["items"].as_array().unwrap().iter().any(behind)).then_some(shown)
    })
    .await;
    for follower in shown["items"].as_array().unwrap() {
        let skipped = follower["skipped"].as_array().unwrap();
        if follower["name"] == "statistics" || follower["name"] == "notary" {
            assert_eq!(skipped.len(), 0);
        } else {
            assert_eq!(skipped[0]["position"], at, "{follower}");
            assert_eq!(skipped[0]["reason"], "made by a program that is gone");
        }
        assert_eq!(
            (&follower["error"], &follower["lag_events"]),
            (&Value::Null, &json!(0)),
            "{follower}"
        );
    }
    assert_eq!(app.log().await.count("follower_skips", "1 = 1").await, 3);
    drop(app);
    rabbit.forget(&[], &[rabbit.exchange()]).await;
}

/// Who runs each follower, and where it is.
async fn owners(place: &Place) -> Vec<(String, String, i64)> {
    let mut log = place.log().await;
    let rows = log
        .texts("SELECT follower || ' ' || coalesce(owner, '-') || ' ' || position FROM checkpoints ORDER BY follower")
        .await;
    rows.iter()
        .map(|row| {
            let words: Vec<&str> = row.split(' ').collect();
            (words[0].to_owned(), words[1].to_owned(), words[2].parse().unwrap())
        })
        .collect()
}

/// Registers people who are sent a mail and a code each.
async fn register(client: &Client, numbers: Range<usize>) {
    for number in numbers {
        let (email, phone) = (
            format!("p{number}@farm.example"),
            format!("+658493{:04}", 2_000 + number),
        );
        let body = json!({ "email": email, "phone": phone, "password": PASSWORD });
        client.command("register-user", &body).expect(201).await;
    }
}

async fn every_follower_moves() {
    const FOLLOWERS: [&str; 5] = ["amqp", "mail", "notary", "sms", "statistics"];
    let place = Place::new(Engine::Postgres).await;
    let rabbit = Rabbit::shared();
    let queue = rabbit.queue(rabbit.exchange(), "#").await;
    let url = rabbit.url();
    let settings = [
        ("AMQP_URL", url.as_str()),
        ("REGISTRY__AMQP__EXCHANGE", rabbit.exchange()),
    ];
    let listener = crate::harness::Listener::of(&rabbit, &queue);
    // One folder: one outbox, in which a mail that is written twice has one name.
    let mut servers = vec![Server::start(&place, &settings).await];
    let mut registered = 0;
    let mut stopped: Option<Server> = None;
    for signal in [Signal::KILL, Signal::STOP, Signal::KILL, Signal::STOP] {
        register(&servers[0].client(), registered..registered + 6).await;
        registered += 6;
        // Whoever was there first, or was left, has them all; whoever comes behind it has none.
        let mark = format!("/{}/", servers[0].id());
        until("one owner of all followers", || async {
            let owners = owners(&place).await;
            let names = owners.iter().map(|(name, ..)| name.as_str());
            let owned = names.eq(FOLLOWERS) && owners.iter().all(|(_, owner, _)| owner.contains(&mark));
            owned.then_some(())
        })
        .await;
        if servers.len() == 1 {
            servers.push(Server::start(&place, &settings).await);
        }
        let gone = servers.remove(0);
        // In the middle of its work.
        let rest = servers[0].client();
        let (from, to) = (registered, registered + 12);
        let working = tokio::spawn(async move { register(&rest, from..to).await });
        registered = to;
        let head = place.log().await.head().await;
        kill_process(Pid::from_raw(i32::try_from(gone.id()).unwrap()).unwrap(), signal).unwrap();
        let began = Instant::now();
        until("each follower to go on elsewhere", || async {
            let owners = owners(&place).await;
            let names = owners.iter().map(|(name, ..)| name.as_str());
            let goes_on = |(_, owner, position): &(String, String, i64)| {
                owner != "-" && !owner.contains(&mark) && *position >= head
            };
            (names.eq(FOLLOWERS) && owners.iter().all(goes_on)).then_some(())
        })
        .await;
        let took = began.elapsed();
        told!(
            "{signal:?}: {} followers went on elsewhere after {took:?}",
            FOLLOWERS.len()
        );
        assert!(took < Duration::from_secs(10), "{took:?}");
        working.await.unwrap();
        if signal == Signal::STOP {
            // It wakes as the former owner, and may write nothing.
            kill_process(Pid::from_raw(i32::try_from(gone.id()).unwrap()).unwrap(), Signal::CONT).unwrap();
            stopped = Some(gone);
        } else {
            gone.kill();
        }
        servers.push(match stopped.take() {
            Some(woken) => woken,
            None => Server::start(&place, &settings).await,
        });
    }
    let head = place.log().await.head().await;
    until("every follower to catch up", || async {
        owners(&place)
            .await
            .iter()
            .all(|(_, _, position)| *position == head)
            .then_some(())
    })
    .await;
    // What the former owner wrote to the copies of the heads, wherever it hung, is not there.
    let told = place.run(&["audit", "verify", "--store"], "").await.unwrap();
    told!("audit verify: {}", told.trim_end());
    // Nothing lost, nothing twice: in the counts, in the outbox, and at whoever listens.
    let mut log = place.log().await;
    let people = i64::try_from(registered).unwrap();
    assert_eq!(log.count("users", "1 = 1").await, people);
    let sum = "SELECT sum(number)::bigint FROM statistics_periods WHERE kind = 'registrations'";
    assert_eq!(log.numbers(sum).await, [people]);
    let sum = "SELECT number::bigint FROM statistics_counts WHERE dimension = 'status' AND value = 'pending'";
    assert_eq!(log.numbers(sum).await, [people]);
    assert_eq!(Mailbox::of(place.folder()).mails().len(), registered);
    assert_eq!(Phones::of(place.folder()).messages().len(), registered);
    let heard = listener.hears_all(head, Duration::from_secs(30)).await;
    let distinct: BTreeSet<(i64, String)> = heard
        .iter()
        .map(|one| (one.number("position"), one.message_id()))
        .collect();
    assert_eq!(i64::try_from(distinct.len()).unwrap(), head);
    told!(
        "{registered} registrations, {head} events, {} messages heard",
        heard.len()
    );
    drop(servers);
    rabbit.forget(&[&queue], &[rabbit.exchange()]).await;
}
