//! A broker that is away, refuses, hangs or is full: commands go on, the lag shows, and everything arrives afterwards.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lapin::ExchangeKind;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::Value;

use super::{Republishing, borrowed, metric, settings};
use crate::harness::{App, Engine, Line, Listener, Rabbit, Server, Tokens, Wire, on_both_engines, run, until};

on_both_engines![
    a_broker_that_is_away_or_hangs_delays_no_command_and_loses_nothing,
    a_password_that_the_broker_refuses_is_told_of_and_never_shown,
    an_exchange_that_somebody_made_otherwise_is_used_as_it_is,
    a_message_that_a_full_queue_refuses_holds_up_all_behind_it,
    an_exchange_that_is_deleted_under_way_is_made_again,
];

mod blocked {
    #[test]
    fn a_broker_that_blocks_is_waited_for_on_sqlite() {
        super::run(super::a_broker_that_blocks_is_waited_for());
    }

    #[test]
    fn what_is_not_confirmed_in_time_is_sent_again_on_sqlite() {
        super::run(super::what_is_not_confirmed_in_time_is_sent_again());
    }

    #[test]
    fn a_message_that_the_broker_minds_stops_the_publisher_until_it_is_skipped_on_sqlite() {
        super::run(super::a_message_that_the_broker_minds_stops_the_publisher());
    }

    #[test]
    fn who_takes_no_connection_or_says_nothing_is_given_up_on_sqlite() {
        super::run(super::who_takes_no_connection_or_says_nothing_is_given_up());
    }

    #[test]
    fn the_reason_stays_though_messages_under_way_are_confirmed_on_sqlite() {
        super::run(super::the_reason_stays_though_messages_under_way_are_confirmed());
    }
}

/// What an operator is told who would skip the event that waits, which is sound.
async fn is_not_skipped(app: &App, state: &Value) {
    let at = state["error_position"].to_string();
    let verb = ["followers", "skip", "amqp", "--position", &at, "--reason", "in a hurry"];
    let told = app.place.run(&verb, "").await.unwrap_err();
    // In between it may have been tried again, and have failed in another way.
    let begins = format!("nothing is wrong with event {at}: amqp waits for what lies outside (the ");
    assert!(told.contains(&begins), "{told}");
    assert!(told.contains(") and goes on by itself; nothing was skipped"), "{told}");
    let metrics = app.get("/metrics").send().await.body;
    // It has not stopped: that would be an alarm about the event.
    let stands = "registry_follower_stopped{follower=\"amqp\"} 0\n";
    assert!(metrics.contains(stands), "{metrics}");
    // It serves all the same.
    assert_eq!(app.get("/readyz").send().await.status, 200);
}

/// The follower as an administrator sees it.
async fn follower(app: &App, admin: &Tokens) -> Value {
    let all = app.get("/v1/followers").bearer(&admin.access).expect(200).await;
    let items = all["items"].as_array().unwrap();
    items
        .iter()
        .find(|one| one["name"] == "amqp")
        .cloned()
        .unwrap_or_default()
}

async fn a_broker_that_is_away_or_hangs_delays_no_command_and_loses_nothing(engine: Engine) {
    let rabbit = Rabbit::shared();
    let queue = rabbit.queue(rabbit.exchange(), "#").await;
    let listener = Listener::of(&rabbit, &queue);
    let wire = Line::to(rabbit.host().to_owned(), rabbit.port()).await;
    let mut settings = settings(&rabbit, &rabbit.url_through("127.0.0.1", wire.port));
    settings.push(("REGISTRY__AMQP__TIMEOUT_MS".to_owned(), "1500".to_owned()));
    settings.push(("REGISTRY__AMQP__LONGEST_RETRY_MS".to_owned(), "1000".to_owned()));
    wire.is(Wire::Cut);
    let app = App::start_with(engine, &borrowed(&settings)).await;
    let admin = app.admin().await;
    for (round, state) in [Wire::Cut, Wire::Dead, Wire::Cut, Wire::Dead].into_iter().enumerate() {
        wire.is(state);
        let began = Instant::now();
        for number in 0..5 {
            app.has_user(&format!("u{round}-{number}")).await;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        let state = until("the lag and its reason to show", || async {
            let follower = follower(&app, &admin).await;
            let lags = follower["lag_events"].as_i64().is_some_and(|lag| lag >= 5);
            (lags && follower["error"].is_string()).then_some(follower)
        })
        .await;
        let error = state["error"].as_str().unwrap();
        assert!(error.starts_with("the "), "{error}");
        assert_eq!(
            state["error_position"],
            state["position"].as_i64().unwrap() + 1,
            "{state}"
        );
        is_not_skipped(&app, &state).await;
        wire.is(Wire::Whole);
        let head = app.log().await.head().await;
        let healed = Instant::now();
        listener.hears_all(head, Duration::from_secs(30)).await;
        told!(
            "{engine:?}, round {round}: {error}; caught up {:?} after it was back",
            healed.elapsed()
        );
        until("no lag", || async {
            let follower = follower(&app, &admin).await;
            (follower["lag_events"] == 0 && follower["error"].is_null()).then_some(())
        })
        .await;
    }
    let log = app.server.log();
    assert!(
        log.matches("an event waits for the broker").count() <= 12,
        "said again and again:\n{log}"
    );
    drop((app, listener));
    rabbit.forget(&[&queue], &[rabbit.exchange()]).await;
}

async fn a_password_that_the_broker_refuses_is_told_of_and_never_shown(engine: Engine) {
    let rabbit = Rabbit::shared();
    let url = format!("amqp://registrar:hunter2secret@{}:{}/%2f", rabbit.host(), rabbit.port());
    let mut settings = settings(&rabbit, &url);
    settings.push(("RUST_LOG".to_owned(), "trace".to_owned()));
    let app = App::start_with(engine, &borrowed(&settings)).await;
    let admin = app.admin().await;
    let state = until("the reason", || async {
        let follower = follower(&app, &admin).await;
        follower["error"].is_string().then_some(follower)
    })
    .await;
    assert_eq!(state["error"], "the broker refuses (403 ACCESS_REFUSED)");
    let mut told = vec![
        app.server.log(),
        state.to_string(),
        app.get("/metrics").send().await.body,
    ];
    let verb = ["config", "show"];
    told.push(app.place.run_with(&verb, &borrowed(&settings), "").await.unwrap());
    let verb = ["followers", "list"];
    told.push(app.place.run_with(&verb, &borrowed(&settings), "").await.unwrap());
    assert!(told[0].contains("an event waits for the broker") || told[0].contains("403 ACCESS_REFUSED"));
    for text in told {
        assert!(!text.contains("hunter2secret"), "{text}");
        assert!(!text.contains("registrar:"), "{text}");
    }
}

async fn an_exchange_that_somebody_made_otherwise_is_used_as_it_is(engine: Engine) {
    let rabbit = Rabbit::shared();
    // It is there already, without the alternate exchange that the service is configured with.
    let queue = rabbit.queue(rabbit.exchange(), "#").await;
    let listener = Listener::of(&rabbit, &queue);
    let alternate = format!("{}.unrouted", rabbit.exchange());
    let mut settings = settings(&rabbit, &rabbit.url());
    settings.push(("REGISTRY__AMQP__ALTERNATE_EXCHANGE".to_owned(), alternate.clone()));
    let app = App::start_with(engine, &borrowed(&settings)).await;
    app.has_user("ada").await;
    listener.hears(1).await;
    assert_eq!(app.server.log().matches("used as it is").count(), 1);
    // A second process says so too, and does as well.
    app.server.terminate();
    let server = Server::start(&app.place, &borrowed(&settings)).await;
    let body = serde_json::json!({ "username": "bob", "password": crate::harness::PASSWORD });
    server.client().command("register-user", &body).expect(201).await;
    listener.hears(2).await;
    drop((server, listener));
    rabbit.forget(&[&queue], &[rabbit.exchange(), &alternate]).await;
}

/// The broker says no to a message (`basic.nack`): nothing counts as published from there on, it is tried again and
/// again, and with room everything follows in the order of the log.
async fn a_message_that_a_full_queue_refuses_holds_up_all_behind_it(engine: Engine) {
    let rabbit = Rabbit::shared();
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(9));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    let queue = rabbit
        .queue_with(rabbit.exchange(), ExchangeKind::Topic, "#", arguments)
        .await;
    let mut settings = settings(&rabbit, &rabbit.url());
    settings.push(("REGISTRY__AMQP__RETRY_MS".to_owned(), "50".to_owned()));
    settings.push(("REGISTRY__AMQP__LONGEST_RETRY_MS".to_owned(), "200".to_owned()));
    let app = App::start_with(engine, &borrowed(&settings)).await;
    let admin = app.admin().await;
    for number in 0..30 {
        app.has_user(&format!("u{number}")).await;
    }
    let refused = || metric(&app.client, "registry_amqp_refused_total", rabbit.exchange());
    until("the message to be refused again and again", || async {
        (refused().await >= 3).then_some(())
    })
    .await;
    let state = follower(&app, &admin).await;
    assert_eq!(state["error"], "the broker refuses a message");
    let held = rabbit.waiting(&queue).await;
    assert!(held > 0);
    assert_eq!(state["position"], held, "what it holds is published, and nothing else");
    is_not_skipped(&app, &state).await;
    let published = metric(&app.client, "registry_amqp_published_total", rabbit.exchange()).await;
    assert_eq!(published, held);

    // Room is made while it goes on trying; what comes now comes behind.
    let listener = Listener::of(&rabbit, &queue);
    for number in 0..10 {
        app.has_user(&format!("later{number}")).await;
    }
    let head = app.log().await.head().await;
    let heard = listener.hears_all(head, Duration::from_secs(30)).await;
    let mut first: BTreeMap<String, i64> = BTreeMap::new();
    let mut order = Vec::new();
    for one in &heard {
        let position = one.number("position");
        let known = *first.entry(one.message_id()).or_insert_with(|| {
            order.push(position);
            position
        });
        assert_eq!(known, position, "a repeat has the id of what it repeats");
    }
    assert_eq!(order, (1..=head).collect::<Vec<_>>(), "in the order of the log");
    until("no error", || async {
        let state = follower(&app, &admin).await;
        (state["error"].is_null() && state["position"] == head).then_some(())
    })
    .await;
    told!(
        "{engine:?}: a queue with room for {held}: refused {} times, then {head} events in order, {} repeats",
        refused().await,
        heard.len() - order.len()
    );
    drop((app, listener));
    rabbit.forget(&[&queue], &[rabbit.exchange()]).await;
}

async fn a_broker_that_blocks_is_waited_for() {
    let rabbit = Rabbit::own().await;
    let queue = rabbit.queue(rabbit.exchange(), "#").await;
    let listener = Listener::of(&rabbit, &queue);
    let mut settings = settings(&rabbit, &rabbit.url());
    // Shorter than it stays blocked: to be blocked is no failure.
    settings.push(("REGISTRY__AMQP__TIMEOUT_MS".to_owned(), "1000".to_owned()));
    let app = App::start_with(Engine::Sqlite, &borrowed(&settings)).await;
    let admin = app.admin().await;
    app.has_user("first").await;
    let head = app.log().await.head().await;
    listener.hears_all(head, Duration::from_secs(10)).await;
    let lost = metric(&app.client, "registry_amqp_connections_lost_total", rabbit.exchange()).await;

    rabbit.control(&["set_vm_memory_high_watermark", "absolute", "1"]).await;
    for number in 0..10 {
        app.has_user(&format!("u{number}")).await;
    }
    let state = until("the reason", || async {
        let follower = follower(&app, &admin).await;
        follower["error"].is_string().then_some(follower)
    })
    .await;
    assert_eq!(state["error"], "the broker takes no messages for now");
    assert_eq!(metric(&app.client, "registry_amqp_blocked", rabbit.exchange()).await, 1);
    is_not_skipped(&app, &state).await;
    // Longer than the lease and than any answer may take.
    let (from, blocked) = (Instant::now(), Duration::from_secs(8));
    until("the lease to be renewed while it waits", || async {
        let renewed = follower(&app, &admin).await;
        assert!(renewed["owner"].is_string(), "{renewed}");
        (from.elapsed() > blocked).then_some(())
    })
    .await;
    rabbit
        .control(&["set_vm_memory_high_watermark", "absolute", "512MB"])
        .await;
    let head = app.log().await.head().await;
    let heard = listener.hears_all(head, Duration::from_secs(30)).await;
    let lost = metric(&app.client, "registry_amqp_connections_lost_total", rabbit.exchange()).await - lost;
    told!(
        "blocked for {:?}: {} messages of {head} events, {lost} connections lost",
        from.elapsed(),
        heard.len()
    );
    assert_eq!(
        (i64::try_from(heard.len()).unwrap(), lost),
        (head, 0),
        "none was sent twice"
    );
    until("no error", || async {
        follower(&app, &admin).await["error"].is_null().then_some(())
    })
    .await;
    assert_eq!(metric(&app.client, "registry_amqp_blocked", rabbit.exchange()).await, 0);
}

async fn the_reason_stays_though_messages_under_way_are_confirmed() {
    const REASON: &str = "the broker takes no messages for now";
    let rabbit = Rabbit::own().await;
    let queue = rabbit.queue(rabbit.exchange(), "#").await;
    let mut settings = settings(&rabbit, &rabbit.url());
    settings.push(("REGISTRY__AMQP__TIMEOUT_MS".to_owned(), "60000".to_owned()));
    let app = App::start_with(Engine::Sqlite, &borrowed(&settings)).await;
    let admin = app.admin().await;
    let head = async || app.log().await.head().await;
    let first = head().await;
    until("the beginning to be confirmed", || async {
        (follower(&app, &admin).await["position"] == first).then_some(())
    })
    .await;
    queues(&rabbit, "suspend").await;
    for number in 0..5 {
        app.has_user(&format!("before{number}")).await;
    }
    let under_way = head().await;
    rabbit.control(&["set_vm_memory_high_watermark", "absolute", "1"]).await;
    app.has_user("behind").await;
    let reason = || async {
        let follower = follower(&app, &admin).await;
        (follower["error"] == REASON).then_some(follower)
    };
    let state = until("the reason", reason).await;
    assert_eq!(state["position"], first, "{state}");
    queues(&rabbit, "resume").await;
    let moved = || async {
        let position = follower(&app, &admin).await["position"].as_i64();
        (position >= Some(under_way)).then_some(())
    };
    until("what was under way to be confirmed", moved).await;
    until("the reason once more", reason).await;
    let from = Instant::now();
    while from.elapsed() < Duration::from_secs(3) {
        assert!(reason().await.is_some(), "{:?} later it is gone", from.elapsed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // It is tried again, and blocks again.
    let told = app.place.run(&["followers", "retry", "amqp"], "").await.unwrap_err();
    assert!(told.contains(&format!(": {REASON}\n")), "{told}");
    assert!(reason().await.is_some());
    // Whoever publishes a range is told what it waits for.
    let mut republishing = Republishing::start(&app.place, 1, first, &borrowed(&settings));
    republishing.says(&format!("; waiting: {REASON}")).await;
    rabbit
        .control(&["set_vm_memory_high_watermark", "absolute", "512MB"])
        .await;
    republishing.says("published ").await;
    let listener = Listener::of(&rabbit, &queue);
    listener.hears_all(head().await, Duration::from_secs(30)).await;
    until("no error", || async {
        follower(&app, &admin).await["error"].is_null().then_some(())
    })
    .await;
}

/// A queue that sleeps confirms nothing of what the broker has taken for it: `suspend` or `resume` all of them.
async fn queues(rabbit: &Rabbit, does: &str) {
    let all = format!("[sys:{does}(amqqueue:get_pid(Queue)) || Queue <- rabbit_amqqueue:list()].");
    rabbit.control(&["eval", &all]).await;
}

/// The reason the follower waits.
async fn waits(app: &App, admin: &Tokens, reason: &str) {
    until(reason, || async {
        let follower = follower(app, admin).await;
        (follower["error"] == reason).then_some(())
    })
    .await;
}

/// No reason any more.
async fn goes_on(app: &App, admin: &Tokens) {
    until("no error", || async {
        follower(app, admin).await["error"].is_null().then_some(())
    })
    .await;
}

async fn what_is_not_confirmed_in_time_is_sent_again() {
    let rabbit = Rabbit::own().await;
    let queue = rabbit.queue(rabbit.exchange(), "#").await;
    let mut settings = settings(&rabbit, &rabbit.url());
    settings.push(("REGISTRY__AMQP__TIMEOUT_MS".to_owned(), "1000".to_owned()));
    settings.push(("REGISTRY__AMQP__LONGEST_RETRY_MS".to_owned(), "1000".to_owned()));
    let app = App::start_with(Engine::Sqlite, &borrowed(&settings)).await;
    let admin = app.admin().await;
    let listener = Listener::of(&rabbit, &queue);
    let head = app.log().await.head().await;
    listener.hears_all(head, Duration::from_secs(30)).await;
    queues(&rabbit, "suspend").await;
    for number in 0..5 {
        app.has_user(&format!("u{number}")).await;
    }
    waits(&app, &admin, "the broker does not confirm in time").await;
    is_not_skipped(&app, &follower(&app, &admin).await).await;
    queues(&rabbit, "resume").await;
    let head = app.log().await.head().await;
    listener.hears_all(head, Duration::from_secs(30)).await;
    goes_on(&app, &admin).await;
}

async fn who_takes_no_connection_or_says_nothing_is_given_up() {
    let rabbit = Rabbit::shared();
    // It takes what the machine takes for it, and never says a word.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    // No more than one may wait there, and one does.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let deaf = socket.listen(0).unwrap();
    let address = deaf.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(connected) =
        tokio::time::timeout(Duration::from_millis(300), tokio::net::TcpStream::connect(address)).await
    {
        waiting.push(connected.unwrap());
    }
    for broker in [silent.local_addr().unwrap(), address] {
        let mut settings = settings(&rabbit, &rabbit.url_through("127.0.0.1", broker.port()));
        settings.push(("REGISTRY__AMQP__TIMEOUT_MS".to_owned(), "500".to_owned()));
        let app = App::start_with(Engine::Sqlite, &borrowed(&settings)).await;
        let admin = app.admin().await;
        waits(&app, &admin, "the broker does not answer in time").await;
    }
}

/// A name of a domain that makes a message longer than those about people.
fn long_domain() -> String {
    format!("{}example", format!("{}.", "a".repeat(60)).repeat(4))
}

async fn a_message_that_the_broker_minds_stops_the_publisher() {
    let rabbit = Rabbit::own().await;
    let queue = rabbit.queue(rabbit.exchange(), "#").await;
    let listener = Listener::of(&rabbit, &queue);
    // In bytes of a body.
    let most = ["eval", "application:set_env(rabbit, max_message_size, 256)."];
    rabbit.control(&most).await;
    let mut settings = settings(&rabbit, &rabbit.url());
    settings.push(("REGISTRY__AMQP__RETRY_MS".to_owned(), "50".to_owned()));
    settings.push(("REGISTRY__AMQP__LONGEST_RETRY_MS".to_owned(), "500".to_owned()));
    let mut app = App::start_with(Engine::Sqlite, &borrowed(&settings)).await;
    let admin = app.admin().await;
    let blocking = app
        .command("block-domain", &serde_json::json!({ "domain": long_domain() }))
        .bearer(&admin.access)
        .expect(201)
        .await;
    let at = blocking["position"].as_i64().unwrap();
    for number in 0..5 {
        app.has_user(&format!("u{number}")).await;
    }
    let stands = async |app: &App| {
        until("the publisher to stop at that message", || async {
            let reply = app.get("/readyz").send().await;
            let parts = reply.json()["parts"].to_string();
            let told = format!(r#""detail":"stopped at position {at}","name":"follower amqp","ready":false"#);
            (reply.status == 503 && parts.contains(&told)).then_some(())
        })
        .await;
        let state = follower(app, &admin).await;
        assert_eq!(state["error"], "the broker refuses (406 PRECONDITION_FAILED)");
        assert_eq!(
            (&state["error_position"], &state["position"]),
            (&at.into(), &(at - 1).into())
        );
        let metrics = app.get("/metrics").send().await.body;
        assert!(
            metrics.contains("registry_follower_stopped{follower=\"amqp\"} 1\n"),
            "{metrics}"
        );
    };
    stands(&app).await;
    // Between its attempts, too; and another process knows it from the start.
    let from = Instant::now();
    while from.elapsed() < Duration::from_secs(3) {
        assert_eq!(app.get("/readyz").send().await.status, 503);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    app.server.terminate();
    app.server = Server::start(&app.place, &borrowed(&settings)).await;
    app.client = app.server.client();
    stands(&app).await;

    let position = at.to_string();
    let verb = [
        "followers",
        "skip",
        "amqp",
        "--position",
        &position,
        "--reason",
        "too large",
    ];
    app.place.run(&verb, "").await.unwrap();
    let head = app.log().await.head().await;
    until("everything behind it", || async {
        let state = follower(&app, &admin).await;
        (state["position"] == head && state["error"].is_null()).then_some(())
    })
    .await;
    until("to be ready", || async {
        (app.get("/readyz").send().await.status == 200).then_some(())
    })
    .await;
    let heard: std::collections::BTreeSet<i64> = listener.heard().iter().map(|one| one.number("position")).collect();
    assert!(!heard.contains(&at) && heard.contains(&(at + 1)), "{heard:?}");
}

/// The broker closes the channel while messages on it are not confirmed.
async fn an_exchange_that_is_deleted_under_way_is_made_again(engine: Engine) {
    let rabbit = Rabbit::shared();
    let queue = format!("{}.all", rabbit.exchange());
    let mut settings = settings(&rabbit, &rabbit.url());
    // Bound again by whoever makes the exchange again.
    settings.push(("REGISTRY__AMQP__QUEUES".to_owned(), format!("{queue} #")));
    settings.push(("REGISTRY__AMQP__RETRY_MS".to_owned(), "50".to_owned()));
    let app = App::start_with(engine, &borrowed(&settings)).await;
    app.has_user("first").await;
    let listener = Listener::of(&rabbit, &queue);
    listener.hears(1).await;
    for round in 0..3 {
        rabbit.forget(&[], &[rabbit.exchange()]).await;
        for number in 0..10 {
            app.has_user(&format!("u{round}-{number}")).await;
        }
        let head = app.log().await.head().await;
        listener.hears_all(head, Duration::from_secs(30)).await;
    }
    let log = app.server.log();
    assert!(log.contains("the broker refuses (404 NOT_FOUND)"), "{log}");
    assert!(log.contains("an event waits for the broker"), "{log}");
    assert_eq!(app.get("/readyz").send().await.status, 200);
    drop((app, listener));
    rabbit.forget(&[&queue], &[rabbit.exchange()]).await;
}
