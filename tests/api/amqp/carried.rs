//! What is declared, what a message looks like, and what is published once more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{ErrorKind, ExchangeKind};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::every_kind::{document, is_sent};
use super::{Republishing, borrowed, metric, settings};
use crate::harness::{App, Engine, Heard, Line, Listener, PASSWORD, Rabbit, Server, Wire, on_both_engines, run, until};
use crate::trio::STRONG;

on_both_engines![
    a_message_tells_of_its_event,
    a_trace_goes_from_the_request_into_its_events_and_messages,
    queues_and_exchanges_are_declared_as_configured,
    a_range_is_published_again_and_goes_on_where_it_was_ended,
    personal_data_goes_to_its_own_exchange_only,
    a_message_that_no_queue_takes_is_counted_and_told_once,
    a_message_that_no_queue_takes_goes_to_the_alternate_exchange,
    a_queue_that_is_a_stream_is_read_again_from_any_point,
    an_encrypted_connection_trusts_the_named_certificate_only,
];

mod by_default {
    #[test]
    fn exchanges_have_their_default_names_where_nothing_is_configured_on_sqlite() {
        super::run(super::exchanges_have_their_default_names_where_nothing_is_configured());
    }
}

async fn a_message_tells_of_its_event(engine: Engine) {
    let rabbit = Rabbit::shared();
    let queue = rabbit.queue(rabbit.exchange(), "user.*").await;
    let listener = Listener::of(&rabbit, &queue);
    let app = App::start_with(engine, &borrowed(&settings(&rabbit, &rabbit.url()))).await;
    let body = json!({ "username": "ada", "password": PASSWORD });
    let reply = app.command("register-user", &body).send().await;
    assert_eq!(reply.status, 201, "{reply:?}");
    let id = reply.json()["id"].as_str().unwrap().to_owned();

    let heard = listener.hears(1).await.remove(0);
    assert_eq!(
        (heard.exchange.as_str(), heard.routing_key.as_str()),
        (rabbit.exchange(), "user.registered")
    );
    let properties = &heard.properties;
    assert_eq!(properties.delivery_mode(), &Some(2), "persistent");
    assert_eq!(heard.content_type(), "application/json");
    assert_eq!((heard.number("position"), heard.number("sequence")), (1, 1));
    let (event_id, recorded_at) = {
        let mut log = app.log().await;
        (
            log.texts("SELECT event_id FROM events WHERE position = 1")
                .await
                .remove(0),
            log.numbers("SELECT recorded_at FROM events WHERE position = 1").await[0],
        )
    };
    assert_eq!(heard.message_id(), event_id);
    assert_eq!(
        properties.timestamp(),
        &Some(u64::try_from(recorded_at / 1_000_000).unwrap())
    );
    assert_eq!(properties.kind().as_ref().unwrap().as_str(), "user.registered");
    assert_eq!(
        properties.correlation_id().as_ref().unwrap().as_str(),
        reply.header("x-request-id")
    );
    for (name, value) in [
        ("cloudEvents_specversion", "1.0"),
        ("cloudEvents_id", event_id.as_str()),
        ("cloudEvents_source", "/registry"),
        ("cloudEvents_type", "user.registered"),
        ("cloudEvents_subject", id.as_str()),
        ("cloudEvents_dataschema", "/schemas/user.registered/1"),
        ("cloudEvents_correlationid", reply.header("x-request-id")),
    ] {
        assert_eq!(heard.text(name).as_deref(), Some(value), "{name}");
    }
    let facts: Value = serde_json::from_slice(&heard.body).unwrap();
    assert_eq!(facts["dialect"], "canonical");
    assert!(
        !String::from_utf8_lossy(&heard.body).contains("ada"),
        "no personal data"
    );
    assert_eq!(
        metric(&app.client, "registry_amqp_connected", rabbit.exchange()).await,
        1
    );
    drop(app);
    rabbit.forget(&[&queue], &[rabbit.exchange()]).await;
}

/// A caller that names its trace finds it in the log, in the events of its command and in their messages, by whatever
/// API it came. What is not valid is as if it were not there, and nothing is made up.
async fn a_trace_goes_from_the_request_into_its_events_and_messages(engine: Engine) {
    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const OTHER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    let rabbit = Rabbit::shared();
    let queue = rabbit.queue(rabbit.exchange(), "#").await;
    let personal = format!("{}.pii", rabbit.exchange());
    let inner = rabbit.queue(&personal, "user.registered").await;
    let (listener, trusted) = (Listener::of(&rabbit, &queue), Listener::of(&rabbit, &inner));
    let mut settings = settings(&rabbit, &rabbit.url());
    settings.push(("REGISTRY__AMQP__PII_EXCHANGE".to_owned(), personal.clone()));
    settings.push(("REGISTRY__LOG__LEVEL".to_owned(), "debug".to_owned()));
    let app = App::start_with(engine, &borrowed(&settings)).await;
    let later = OTHER.replacen("00-", "cc-", 1) + "-more";
    let refused = [
        &TRACE[..54],
        &TRACE.to_uppercase(),
        &TRACE.replacen("00-", "ff-", 1),
        &format!("{TRACE}-more"),
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
    ]
    .map(|wrong| (vec![wrong.to_owned()], None));
    let mut requests = vec![
        (vec![TRACE.to_owned()], Some(TRACE)),
        (vec![], None),
        (vec![later], Some(OTHER)),
        (vec![TRACE.to_owned(), OTHER.to_owned()], None),
    ];
    requests.extend(refused);
    // Of each request: its id and its trace.
    let mut expected: BTreeMap<String, Option<&str>> = BTreeMap::new();
    for (number, (headers, trace)) in requests.iter().enumerate() {
        let body = json!({
            "username": format!("ada{number}"), "email": format!("ada{number}@farm.example"), "password": PASSWORD,
        });
        let call = app.command("register-user", &body);
        let call = headers
            .iter()
            .fold(call, |call, value| call.header("traceparent", value));
        let reply = call.send().await;
        assert_eq!(reply.status, 201, "{reply:?}");
        expected.insert(reply.header("x-request-id").to_owned(), *trace);
    }
    // A sign-in is a command too, and so is a sign-up through an older API.
    app.has_user("grace").await;
    let body = json!({ "identifier": "grace", "password": PASSWORD });
    let reply = app
        .post("/v1/sessions", &body)
        .header("traceparent", OTHER)
        .send()
        .await;
    assert_eq!(reply.status, 201, "{reply:?}");
    expected.insert(reply.header("x-request-id").to_owned(), Some(OTHER));
    let body = json!({ "username": "agnes", "email": "agnes@farm.example", "password": STRONG });
    let reply = app
        .post("/api/v1/account/register/", &body)
        .header("traceparent", TRACE)
        .send()
        .await;
    assert!((200..300).contains(&reply.status), "{reply:?}");
    expected.insert(reply.header("x-request-id").to_owned(), Some(TRACE));

    let mut log = app.log().await;
    let events = log
        .texts("SELECT CAST(metadata AS TEXT) FROM events ORDER BY position")
        .await
        .iter()
        .map(|text| serde_json::from_str::<Value>(text).unwrap())
        .collect::<Vec<_>>();
    let head = log.head().await;
    let heard = listener.hears_all(head, Duration::from_secs(10)).await;
    let mut traced = 0;
    for metadata in &events {
        let is_its = |one: &&Heard| one.message_id() == metadata["event_id"].as_str().unwrap();
        let message = heard.iter().find(is_its).unwrap();
        let request = metadata["request_id"].as_str().unwrap();
        let trace = expected.get(request).copied().flatten();
        assert_eq!(metadata.get("traceparent").and_then(Value::as_str), trace, "{metadata}");
        assert_eq!(message.text("traceparent").as_deref(), trace, "{metadata}");
        assert!(!String::from_utf8_lossy(&message.body).contains("traceparent"));
        traced += usize::from(trace.is_some());
    }
    assert!(traced >= 6, "{traced} of {}", events.len());
    let open: Vec<_> = trusted.hears(requests.len() + 1).await;
    assert_eq!(open[0].text("traceparent").as_deref(), Some(TRACE));
    assert_eq!(open[1].text("traceparent"), None);
    for (request, trace) in &expected {
        let written = app.server.log();
        let mut lines = written
            .lines()
            .filter(|line| line.contains(request.as_str()) && line.contains("request answered"));
        let line = lines.next().unwrap_or_else(|| panic!("no line of {request}"));
        assert_eq!(trace.filter(|trace| line.contains(trace)), *trace, "{line}");
        assert_eq!(line.contains("traceparent"), trace.is_some(), "{line}");
    }
    // What was stored so is what was hashed, and what others read has its attributes and no more.
    let admin = app.admin().await;
    let page = app.get("/v1/events?limit=1000").bearer(&admin.access).expect(200).await;
    assert!(!page.to_string().contains("traceparent"));
    drop(log);
    drop((app, listener, trusted));
    rabbit.forget(&[&queue, &inner], &[rabbit.exchange(), &personal]).await;
}

async fn queues_and_exchanges_are_declared_as_configured(engine: Engine) {
    let rabbit = Rabbit::shared();
    let [quorum, stream] = ["work", "log"].map(|name| format!("{}.{name}", rabbit.exchange()));
    let alternate = format!("{}.unrouted", rabbit.exchange());
    let mut settings = settings(&rabbit, &rabbit.url());
    settings.push((
        "REGISTRY__AMQP__QUEUES".to_owned(),
        format!("{quorum} user.registered user.erased,{stream}:stream #"),
    ));
    settings.push(("REGISTRY__AMQP__ALTERNATE_EXCHANGE".to_owned(), alternate.clone()));
    settings.push(("REGISTRY__AMQP__MODE".to_owned(), "structured".to_owned()));
    let app = App::start_with(engine, &borrowed(&settings)).await;
    app.user("ada").await;
    let listener = Listener::of(&rabbit, &quorum);
    let heard = listener.hears(1).await.remove(0);
    assert_eq!(heard.content_type(), "application/cloudevents+json; charset=utf-8");
    let event = heard.event();
    assert_eq!(
        (&event["type"], &event["position"]),
        (&json!("user.registered"), &json!(1))
    );
    assert_eq!(heard.text("cloudEvents_type"), None);
    assert_eq!(heard.number("position"), 1);

    // The broker says itself what is there: declared otherwise, it refuses.
    let (connection, _) = rabbit.channel().await;
    let fits = async |name: &str, kind: &str| {
        let channel = connection.create_channel().await.unwrap();
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString(kind.into()));
        channel
            .queue_declare(name.into(), QueueDeclareOptions::durable(), arguments)
            .await
            .is_ok()
    };
    assert!(fits(&quorum, "quorum").await && !fits(&quorum, "stream").await);
    assert!(fits(&stream, "stream").await && !fits(&stream, "quorum").await);
    let exchange = async |arguments: FieldTable| {
        let channel = connection.create_channel().await.unwrap();
        let options = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let name = rabbit.exchange();
        channel
            .exchange_declare(name.into(), ExchangeKind::Topic, options, arguments)
            .await
    };
    let plain = exchange(FieldTable::default()).await.unwrap_err();
    assert!(
        matches!(plain.kind(), ErrorKind::ProtocolError(error) if error.get_id() == 406),
        "{plain}"
    );
    let mut arguments = FieldTable::default();
    arguments.insert(
        "alternate-exchange".into(),
        AMQPValue::LongString(alternate.as_str().into()),
    );
    exchange(arguments).await.unwrap();

    // Everything is in the stream; nothing is left over, so that nothing went to the other exchange.
    let (_connection, channel) = rabbit.channel().await;
    let head = app.log().await.head().await;
    until("the stream to hold everything", || async {
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("stream".into()));
        let declared = channel.queue_declare(stream.as_str().into(), QueueDeclareOptions::durable(), arguments);
        (i64::from(declared.await.unwrap().message_count()) >= head).then_some(())
    })
    .await;
    assert_eq!(
        metric(&app.client, "registry_amqp_returned_total", rabbit.exchange()).await,
        0
    );
    drop((app, listener));
    rabbit
        .forget(&[&quorum, &stream], &[rabbit.exchange(), &alternate])
        .await;
}

async fn a_range_is_published_again_and_goes_on_where_it_was_ended(engine: Engine) {
    let rabbit = Rabbit::shared();
    let settings = settings(&rabbit, &rabbit.url());
    let replay = format!("{}.replay", rabbit.exchange());
    let queue = rabbit.queue(&replay, "#").await;
    let listener = Listener::of(&rabbit, &queue);
    let app = App::start(engine).await;
    app.place
        .run(&["dev", "seed", "--users", "300", "--force"], "")
        .await
        .unwrap();
    let head = app.log().await.head().await;
    assert!(head >= 300, "{head}");
    let publish = async |from: i64, to: i64| {
        let (from, to) = (from.to_string(), to.to_string());
        let verb = ["publish", "--from", &from, "--to", &to];
        app.place.run_with(&verb, &borrowed(&settings), "").await
    };
    let told = publish(1, head + 1).await.unwrap_err();
    assert!(told.contains(&format!("the log ends at position {head}")), "{told}");
    assert!(publish(9, 8).await.unwrap_err().contains("--to is before --from"));

    let told = publish(11, 40).await.unwrap();
    let end = "published 30 events, positions 11 to 40, to ";
    assert!(told.contains(end) && told.contains("; 0 reached no queue; "), "{told}");
    let heard = listener.hears(30).await;
    let positions: Vec<i64> = heard.iter().map(|one| one.number("position")).collect();
    assert_eq!(positions, (11..=40).collect::<Vec<_>>());
    assert!(heard.iter().all(|one| one.exchange == replay));

    // What a run that was killed left undone is gone on with. One message at a time, so that there is a middle to be
    // killed in.
    let line = Line::to(rabbit.host().to_owned(), rabbit.port()).await;
    let mut slow = settings.clone();
    slow[0].1 = rabbit.url_through("127.0.0.1", line.port);
    slow.push(("REGISTRY__AMQP__WINDOW".to_owned(), "1".to_owned()));
    let republishing = Republishing::start(&app.place, 41, head, &borrowed(&slow));
    let reached = format!("SELECT position FROM checkpoints WHERE follower = 'publish 41-{head}'");
    until("a checkpoint on its way", || async {
        let position = app.log().await.numbers(&reached).await;
        position.first().is_some_and(|position| *position > 41).then_some(())
    })
    .await;
    line.is(Wire::Dead);
    republishing.kill();
    let after = app.log().await.numbers(&reached).await[0];
    assert!(41 < after && after < head, "{after}");
    let told = publish(41, head).await.unwrap();
    assert!(
        told.starts_with(&format!("going on after position {after}\n")),
        "{told}"
    );
    assert!(told.contains(&format!("published {} events", head - after)), "{told}");
    told!("{engine:?}: killed at {after} of {head}");
    let everything = || {
        let heard = listener.heard();
        let positions: BTreeSet<i64> = heard[30..].iter().map(|one| one.number("position")).collect();
        positions == (41..=head).collect()
    };
    until("all of the range", || async { everything().then_some(()) }).await;
    // It is done, and nothing of it is left among the followers.
    assert_eq!(
        app.log().await.count("checkpoints", "follower LIKE 'publish %'").await,
        0
    );
    // Without a broker it says so.
    let verb = ["publish", "--from", "1", "--to", "2"];
    assert!(
        app.place
            .run(&verb, "")
            .await
            .unwrap_err()
            .contains("no broker is named")
    );
    drop((app, listener));
    rabbit.forget(&[&queue], &[&replay]).await;
}

#[expect(clippy::too_many_lines, reason = "a behaviour is told in one piece")]
async fn personal_data_goes_to_its_own_exchange_only(engine: Engine) {
    let rabbit = Rabbit::shared();
    let personal = format!("{}.pii", rabbit.exchange());
    let queue = rabbit.queue(rabbit.exchange(), "#").await;
    let inner = rabbit.queue(&personal, "#").await;
    let (everybody, trusted) = (Listener::of(&rabbit, &queue), Listener::of(&rabbit, &inner));
    let mut settings = settings(&rabbit, &rabbit.url());
    settings.push(("REGISTRY__AMQP__PII_EXCHANGE".to_owned(), personal.clone()));
    let app = App::start_with(engine, &borrowed(&settings)).await;
    let admin = app.admin().await;
    let body = json!({
        "username": "ada", "email": "ada.lovelace@farm.example", "full_name": "Ada Lovelace", "password": PASSWORD,
    });
    let receipt = app.command("register-user", &body).expect(201).await;
    let id = receipt["id"].as_str().unwrap();
    let of = |kind: &'static str| {
        let trusted = &trusted;
        async move {
            until("a message with personal data", || async {
                let heard = trusted.heard();
                let mine =
                    |one: &&Heard| one.routing_key == kind && one.text("cloudEvents_subject").as_deref() == Some(id);
                heard.iter().find(mine).cloned()
            })
            .await
        }
    };
    let registered = of("user.registered").await;
    assert_eq!(
        registered.event()["data"],
        json!({ "email": "ada.lovelace@farm.example", "phone": null, "full_name": "Ada Lovelace" })
    );
    assert_eq!(registered.text("cloudEvents_dataschema"), None);
    let profile = json!({ "user_id": id, "full_name": "Ada King" });
    app.command("update-profile", &profile)
        .bearer(&admin.access)
        .expect(200)
        .await;
    assert_eq!(
        of("user.profile_updated").await.event()["data"],
        json!({ "full_name": "Ada King" })
    );
    // An address that somebody adds later is told too.
    let body = json!({ "username": "tim", "password": STRONG });
    app.command("register-user", &body).expect(201).await;
    let key = app.ask("POST", "/api/v1/account/login/", &body).await.json()["auth_token"].clone();
    app.call("PATCH", "/api/v1/account/")
        .header("authorization", format!("Token {}", key.as_str().unwrap()))
        .json(&json!({ "email": "tim.berners@farm.example" }))
        .send()
        .await;
    let added = until("the address that was added", || async {
        let heard = trusted.heard();
        heard.into_iter().find(|one| one.routing_key == "user.email_added")
    })
    .await;
    assert_eq!(added.event()["data"], json!({ "email": "tim.berners@farm.example" }));
    let body = json!({ "user_id": id, "reason": "asked for it" });
    app.command("erase-user", &body).bearer(&admin.access).expect(200).await;
    assert_eq!(of("user.erased").await.event()["data"], json!({}));

    let head = app.log().await.head().await;
    let heard = everybody.hears_all(head, Duration::from_secs(10)).await;
    for one in &heard {
        let whole = one.whole();
        for word in ["lovelace", "Lovelace", "King", "berners"] {
            assert!(!whole.contains(word), "{whole}");
        }
    }
    // It is what the service says of it.
    let told = document(&settings);
    for one in trusted.heard() {
        is_sent(&one, &told, "publishPersonal");
    }
    // Somebody who listens later hears no more of an erased person than that.
    let kinds: BTreeSet<String> = trusted.heard().iter().map(|one| one.routing_key.clone()).collect();
    let told = [
        "user.email_added",
        "user.erased",
        "user.profile_updated",
        "user.registered",
    ];
    assert!(kinds.iter().map(String::as_str).eq(told), "{kinds:?}");
    for follower in ["amqp", "amqp-pii"] {
        let at = format!("SELECT position FROM checkpoints WHERE follower = '{follower}'");
        until("both to have passed everything", || async {
            (app.log().await.numbers(&at).await[0] == head).then_some(())
        })
        .await;
    }
    // In the other mode too, where it is one document.
    app.server.terminate();
    settings.push(("REGISTRY__AMQP__MODE".to_owned(), "structured".to_owned()));
    let server = Server::start(&app.place, &borrowed(&settings)).await;
    let body = json!({ "email": "grace.hopper@farm.example", "password": PASSWORD });
    server.client().command("register-user", &body).expect(201).await;
    let whole = until("one in the other mode", || async {
        let heard = trusted.heard();
        heard.into_iter().find(|one| one.number("position") > head)
    })
    .await;
    assert_eq!(whole.event()["data"]["email"], "grace.hopper@farm.example");
    is_sent(&whole, &document(&settings), "publishPersonal");
    drop((app, server, everybody, trusted));
    rabbit.forget(&[&queue, &inner], &[rabbit.exchange(), &personal]).await;
}

async fn a_message_that_no_queue_takes_is_counted_and_told_once(engine: Engine) {
    let rabbit = Rabbit::shared();
    let app = App::start_with(engine, &borrowed(&settings(&rabbit, &rabbit.url()))).await;
    for number in 0..5 {
        app.has_user(&format!("user{number}")).await;
    }
    let head = app.log().await.head().await;
    until("every message to be confirmed and returned", || async {
        let published = metric(&app.client, "registry_amqp_published_total", rabbit.exchange()).await;
        let returned = metric(&app.client, "registry_amqp_returned_total", rabbit.exchange()).await;
        (published == head && returned == head).then_some(())
    })
    .await;
    let log = app.server.log();
    assert_eq!(log.matches("a message reached no queue").count(), 1, "{log}");
    assert!(!log.contains("Server returned us a message"), "{log}");
    // The checkpoint has moved: that nobody listens stops nobody.
    let at = "SELECT position FROM checkpoints WHERE follower = 'amqp'";
    until("the checkpoint", || async {
        (app.log().await.numbers(at).await[0] == head).then_some(())
    })
    .await;
    // With somebody who listens, nothing more comes back.
    let (_connection, channel) = rabbit.channel().await;
    let queue = format!("{}.late", rabbit.exchange());
    channel
        .queue_declare(
            queue.as_str().into(),
            QueueDeclareOptions::durable(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    let bound = channel.queue_bind(
        queue.as_str().into(),
        rabbit.exchange().into(),
        "#".into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bound.await.unwrap();
    let listener = Listener::of(&rabbit, &queue);
    app.has_user("late").await;
    assert_eq!(listener.hears(1).await[0].number("position"), head + 1);
    assert_eq!(
        metric(&app.client, "registry_amqp_returned_total", rabbit.exchange()).await,
        head
    );
    drop((app, listener));
    channel
        .queue_delete(queue.as_str().into(), QueueDeleteOptions::default())
        .await
        .unwrap();
    rabbit.forget(&[], &[rabbit.exchange()]).await;
}

async fn a_message_that_no_queue_takes_goes_to_the_alternate_exchange(engine: Engine) {
    let rabbit = Rabbit::shared();
    let users = format!("{}.users", rabbit.exchange());
    let alternate = format!("{}.unrouted", rabbit.exchange());
    let rest = rabbit
        .queue_with(&alternate, ExchangeKind::Fanout, "", FieldTable::default())
        .await;
    let mut settings = settings(&rabbit, &rabbit.url());
    settings.push(("REGISTRY__AMQP__QUEUES".to_owned(), format!("{users} user.*")));
    settings.push(("REGISTRY__AMQP__ALTERNATE_EXCHANGE".to_owned(), alternate.clone()));
    // Nobody listens to this one, and what it carries must not turn up elsewhere.
    let personal = format!("{}.pii", rabbit.exchange());
    settings.push(("REGISTRY__AMQP__PII_EXCHANGE".to_owned(), personal.clone()));
    let app = App::start_with(engine, &borrowed(&settings)).await;
    let (wanted, others) = (Listener::of(&rabbit, &users), Listener::of(&rabbit, &rest));
    let admin = app.admin().await;
    app.user("ada").await;
    app.command("block-domain", &json!({ "domain": "hotmail.com" }))
        .bearer(&admin.access)
        .expect(201)
        .await;
    let events = app.log().await.events().await;
    let head = i64::try_from(events.len()).unwrap();
    for follower in ["amqp", "amqp-pii"] {
        let at = format!("SELECT position FROM checkpoints WHERE follower = '{follower}'");
        until("both to have published everything", || async {
            (app.log().await.numbers(&at).await == [head]).then_some(())
        })
        .await;
    }
    assert!(metric(&app.client, "registry_amqp_returned_total", &personal).await >= 1);
    assert_eq!((rabbit.waiting(&users).await, rabbit.waiting(&rest).await), (0, 0));
    let (wanted, others) = until("every event in one of the two", || async {
        let (wanted, others) = (wanted.heard(), others.heard());
        (wanted.len() + others.len() >= events.len()).then_some((wanted, others))
    })
    .await;
    let kinds = |heard: &[Heard]| -> BTreeMap<i64, String> {
        heard
            .iter()
            .map(|one| (one.number("position"), one.routing_key.clone()))
            .collect()
    };
    let of_users = |is: bool| -> BTreeMap<i64, String> {
        let events = events.iter().filter(|event| event.kind.starts_with("user.") == is);
        events.map(|event| (event.position, event.kind.clone())).collect()
    };
    assert!(of_users(false).len() >= 3, "{events:?}");
    assert_eq!((kinds(&wanted), kinds(&others)), (of_users(true), of_users(false)));
    assert!(others.iter().all(|one| one.exchange == rabbit.exchange()));
    // They did not come back.
    for (name, value) in [("published", head), ("returned", 0)] {
        let name = format!("registry_amqp_{name}_total");
        assert_eq!(metric(&app.client, &name, rabbit.exchange()).await, value, "{name}");
    }
    let log = until("what came back to be told", || async {
        let log = app.server.log();
        log.contains("a message reached no queue").then_some(log)
    })
    .await;
    let mut told = log.lines().filter(|line| line.contains("a message reached no queue"));
    assert!(told.all(|line| line.contains(&personal)), "{log}");
    drop(app);
    rabbit
        .forget(&[&users, &rest], &[rabbit.exchange(), &alternate, &personal])
        .await;
}

async fn a_queue_that_is_a_stream_is_read_again_from_any_point(engine: Engine) {
    let rabbit = Rabbit::shared();
    let stream = format!("{}.log", rabbit.exchange());
    let mut settings = settings(&rabbit, &rabbit.url());
    settings.push(("REGISTRY__AMQP__QUEUES".to_owned(), format!("{stream}:stream #")));
    let app = App::start_with(engine, &borrowed(&settings)).await;
    for number in 0..20 {
        app.has_user(&format!("user{number}")).await;
    }
    let head = app.log().await.head().await;
    // Twice from the beginning: to read takes nothing away.
    for offset in [0, 0, head / 2, head - 1] {
        let listener = Listener::from_offset(&rabbit, &stream, offset);
        let heard = listener.hears(usize::try_from(head - offset).unwrap()).await;
        let offsets: Vec<i64> = heard.iter().map(|one| one.number("x-stream-offset")).collect();
        assert_eq!(offsets, (offset..head).collect::<Vec<_>>());
        let positions: Vec<i64> = heard.iter().map(|one| one.number("position")).collect();
        assert_eq!(positions, (offset + 1..=head).collect::<Vec<_>>());
    }
    // And from there it goes on.
    let listener = Listener::from_offset(&rabbit, &stream, head);
    app.has_user("late").await;
    assert_eq!(listener.hears(1).await[0].number("position"), head + 1);
    drop((app, listener));
    rabbit.forget(&[&stream], &[rabbit.exchange()]).await;
}

/// On a broker of its own: on one that others use the names would be those of others too.
async fn exchanges_have_their_default_names_where_nothing_is_configured() {
    let rabbit = Rabbit::own().await;
    let settings = [("AMQP_URL".to_owned(), rabbit.url())];
    let (queue, again) = (
        rabbit.queue("registry.events", "#").await,
        rabbit.queue("registry.replay", "#").await,
    );
    let (listener, once_more) = (Listener::of(&rabbit, &queue), Listener::of(&rabbit, &again));
    let app = App::start_with(Engine::Sqlite, &borrowed(&settings)).await;
    app.has_user("ada").await;
    let heard = listener.hears_all(1, Duration::from_secs(10)).await;
    assert!(heard.iter().all(|one| one.exchange == "registry.events"));
    assert_eq!(once_more.count(), 0);
    let verb = ["publish", "--from", "1", "--to", "1"];
    app.place.run_with(&verb, &borrowed(&settings), "").await.unwrap();
    assert_eq!(once_more.hears(1).await[0].exchange, "registry.replay");
    // Personal data goes nowhere unless an exchange for it is named.
    assert!(rabbit.has_exchange("registry.events").await);
    assert!(!rabbit.has_exchange("registry.events.pii").await);
}

/// Takes encrypted connections and passes on what is in them.
async fn encrypted(rabbit: &Rabbit) -> (u16, String) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = (rabbit.host().to_owned(), rabbit.port());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (acceptor, server) = (acceptor.clone(), server.clone());
            tokio::spawn(async move {
                let mut client = acceptor.accept(client).await.ok()?;
                let mut server = TcpStream::connect((server.0.as_str(), server.1)).await.ok()?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await.ok()
            });
        }
    });
    (port, made.cert.pem())
}

async fn an_encrypted_connection_trusts_the_named_certificate_only(engine: Engine) {
    let rabbit = Rabbit::shared();
    let queue = rabbit.queue(rabbit.exchange(), "#").await;
    let listener = Listener::of(&rabbit, &queue);
    let (port, certificate) = encrypted(&rabbit).await;
    let url = format!("amqps://{}@localhost:{port}/%2f", rabbit.credentials());
    let mut settings = settings(&rabbit, &url);
    // Nobody vouches for it yet.
    let app = App::start_with(engine, &borrowed(&settings)).await;
    app.has_user("ada").await;
    let error = until("the reason", || async {
        let sql = "SELECT coalesce(error, '') FROM checkpoints WHERE follower = 'amqp'";
        app.log().await.texts(sql).await.pop().filter(|error| !error.is_empty())
    })
    .await;
    assert!(error.starts_with("the broker cannot be reached ("), "{error}");
    assert_eq!(listener.heard().len(), 0);
    app.server.terminate();
    let file = app.place.folder().join("broker.pem");
    std::fs::write(&file, certificate).unwrap();
    settings.push(("REGISTRY__AMQP__CA_FILE".to_owned(), file.display().to_string()));
    let server = Server::start(&app.place, &borrowed(&settings)).await;
    assert_eq!(listener.hears(1).await[0].routing_key, "user.registered");
    drop((server, listener));
    rabbit.forget(&[&queue], &[rabbit.exchange()]).await;
}
