//! Short messages to a gateway over HTTP, against one that speaks it.

use serde_json::json;

use crate::harness::{App, Engine, Gateway, Instead, MailServer, PASSWORD, Place, Server, on_both_engines, until};

on_both_engines![
    a_code_leaves_and_works,
    what_is_not_taken_now_is_sent_again_under_the_same_key,
    what_is_never_taken_is_given_up_and_told_of,
    a_gateway_that_does_not_know_us_or_is_away_costs_no_code,
    a_gateway_that_takes_messages_and_says_nothing_is_left_alone,
    a_gateway_that_hangs_up_holds_up_no_message_but_the_one,
    a_gateway_that_sends_us_elsewhere_is_not_followed,
    a_kill_loses_no_code,
    after_a_change_of_the_sim_no_code_sets_a_password,
    without_the_setting_nothing_is_heard_of_a_sim,
];

const TOKEN: &str = "hunter2-for-sms";

async fn start(engine: Engine, url: &str, more: &[(&str, &str)]) -> App {
    let mut settings = settings(url);
    settings.extend(more);
    App::start_with(engine, &settings).await
}

fn settings(url: &str) -> Vec<(&str, &str)> {
    vec![
        ("REGISTRY__SMS__GATEWAY_URL", url),
        ("REGISTRY__SMS__GATEWAY_TOKEN", TOKEN),
        ("REGISTRY__SMS__RETRY_MS", "100"),
        ("REGISTRY__SMS__TIMEOUT_MS", "2000"),
        ("REGISTRY__SMS__ATTEMPTS", "1000"),
        ("REGISTRY__FOLLOWERS__LEASE_SECONDS", "1"),
    ]
}

fn number(last: u32) -> String {
    format!("+49151123456{last:02}")
}

async fn register(app: &App, phone: &str) {
    let body = json!({ "phone": phone, "password": PASSWORD });
    app.command("register-user", &body).expect(201).await;
}

async fn verify(app: &App, phone: &str, code: &str) {
    let body = json!({ "phone": phone, "code": code });
    app.command("verify-phone", &body).expect(200).await;
}

async fn metric(app: &App, name: &str) -> u64 {
    let metrics = app.get("/metrics").send().await.body;
    let value = metrics
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().unwrap())
}

async fn undelivered(place: &Place) -> Vec<String> {
    let sql = "SELECT (CASE WHEN next_at IS NULL THEN 'given up' ELSE 'waiting' END) || ': ' || problem \
               FROM undelivered WHERE channel = 'sms' ORDER BY position, number";
    place.log().await.texts(sql).await
}

/// How many codes still lie sealed for a follower to send.
async fn sealed(place: &Place) -> i64 {
    place.log().await.count("codes", "sealed IS NOT NULL").await
}

async fn waits(place: &Place) -> String {
    until("a follower that waits", || async {
        let sql = "SELECT coalesce(error, '') FROM checkpoints WHERE follower = 'sms'";
        let errors = place.log().await.texts(sql).await;
        errors.into_iter().find(|error| !error.is_empty())
    })
    .await
}

async fn a_code_leaves_and_works(engine: Engine) {
    let gateway = Gateway::start().await;
    let url = format!("{}?from=registry", gateway.url());
    let app = start(engine, &url, &[("RUST_LOG", "trace")]).await;
    let phone = number(1);
    register(&app, &phone).await;
    let sms = gateway.taken(&phone).await;
    assert_eq!(sms.uri, "/messages?from=registry");
    let header = |name: &str| sms.headers[name].to_str().unwrap().to_owned();
    assert_eq!(header("authorization"), format!("Bearer {TOKEN}"));
    assert_eq!(header("content-type"), "application/json");
    let asked = app.log().await.events().await;
    let asked = asked
        .iter()
        .find(|event| event.kind == "user.phone_verification_requested")
        .unwrap();
    let sql = format!(
        "SELECT CAST(event_id AS TEXT) FROM events WHERE position = {}",
        asked.position
    );
    if engine == Engine::Postgres {
        assert_eq!(app.log().await.texts(&sql).await, [header("idempotency-key")]);
    }
    uuid::Uuid::parse_str(&header("idempotency-key")).unwrap();
    let mut names: Vec<&String> = sms.json.as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(names, ["at", "purpose", "text", "to"]);
    assert_eq!(sms.json["purpose"], "verify-phone");
    verify(&app, &phone, &sms.code()).await;
    until("a code that is wiped", || async {
        (sealed(&app.place).await == 0).then_some(())
    })
    .await;
    assert_eq!(metric(&app, "registry_sms_sent_total").await, 1);
    assert_eq!(app.phones().messages().len(), 0);
    let log = app.server.log();
    for never in [TOKEN, &phone, &sms.code()] {
        assert!(!log.contains(never), "{never} is in the log");
    }
}

async fn what_is_not_taken_now_is_sent_again_under_the_same_key(engine: Engine) {
    let gateway = Gateway::start().await;
    let app = start(engine, &gateway.url(), &[]).await;
    let (busy, hurried, other) = (number(1), number(2), number(3));
    gateway.answer(&busy, 503);
    gateway.answer(&hurried, 429);
    for phone in [&busy, &hurried, &other] {
        register(&app, phone).await;
    }
    verify(&app, &other, &gateway.taken(&other).await.code()).await;
    gateway.nth_to(&busy, 3).await;
    gateway.nth_to(&hurried, 3).await;
    assert_eq!(
        undelivered(&app.place).await,
        [
            "waiting: the SMS gateway answered 503",
            "waiting: the SMS gateway answered 429"
        ]
    );
    until("a measurement", || async {
        (metric(&app, "registry_sms_deferred").await == 2).then_some(())
    })
    .await;
    gateway.relent();
    for phone in [&busy, &hurried] {
        let taken = gateway.taken(phone).await;
        verify(&app, phone, &taken.code()).await;
        let keys: Vec<_> = gateway
            .received(phone)
            .iter()
            .map(|one| one.headers["idempotency-key"].clone())
            .collect();
        assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
        let texts = gateway.received(phone);
        assert!(texts.iter().all(|one| one.json == texts[0].json), "{texts:?}");
    }
    until("nothing left", || async {
        let nothing = undelivered(&app.place).await.is_empty() && sealed(&app.place).await == 0;
        nothing.then_some(())
    })
    .await;
    assert!(metric(&app, "registry_sms_failed_total{kind=\"deferred\"}").await >= 4);
}

async fn what_is_never_taken_is_given_up_and_told_of(engine: Engine) {
    let gateway = Gateway::start().await;
    let app = start(engine, &gateway.url(), &[]).await;
    let (wrong, other) = (number(1), number(2));
    gateway.answer(&wrong, 422);
    register(&app, &wrong).await;
    register(&app, &other).await;
    verify(&app, &other, &gateway.taken(&other).await.code()).await;
    assert_eq!(
        undelivered(&app.place).await,
        ["given up: the SMS gateway answered 422"]
    );
    assert_eq!(gateway.received(&wrong).len(), 1);
    until("codes that are wiped", || async {
        (sealed(&app.place).await == 0).then_some(())
    })
    .await;
    assert_eq!(metric(&app, "registry_sms_failed_total{kind=\"refused\"}").await, 1);
    let log = app.server.log();
    assert!(
        log.lines()
            .any(|line| line.contains("a message is given up") && line.contains("position=2")),
        "{log}"
    );
    assert!(!log.contains(&wrong), "{log}");
}

async fn a_gateway_that_does_not_know_us_or_is_away_costs_no_code(engine: Engine) {
    let address = MailServer::nowhere().await;
    let app = start(engine, &format!("http://{address}/messages"), &[]).await;
    let phone = number(1);
    register(&app, &phone).await;
    assert_eq!(waits(&app.place).await, "the SMS gateway cannot be reached");
    assert_eq!(app.get("/readyz").send().await.status, 200);
    let gateway = Gateway::start_at(address).await;
    gateway.answer_everybody(401);
    gateway.nth_to(&phone, 2).await;
    assert_eq!(undelivered(&app.place).await, [""; 0]);
    until("another reason to wait", || async {
        (waits(&app.place).await == "the SMS gateway answered 401").then_some(())
    })
    .await;
    gateway.relent();
    verify(&app, &phone, &gateway.taken(&phone).await.code()).await;
}

/// One message that gets no answer is put off; when the next one gets none either, the others wait in the log, asked of
/// nobody.
async fn a_gateway_that_takes_messages_and_says_nothing_is_left_alone(engine: Engine) {
    let gateway = Gateway::start().await;
    let app = start(engine, &gateway.url(), &[("REGISTRY__SMS__TIMEOUT_MS", "300")]).await;
    gateway.instead(Instead::Waits);
    let phones: Vec<String> = (1..=4).map(number).collect();
    for phone in &phones {
        register(&app, phone).await;
    }
    assert_eq!(waits(&app.place).await, "the SMS gateway does not answer in time");
    assert_eq!(app.get("/readyz").send().await.status, 200);
    gateway.relent();
    for phone in &phones {
        verify(&app, phone, &gateway.taken(phone).await.code()).await;
    }
}

async fn a_gateway_that_hangs_up_holds_up_no_message_but_the_one(engine: Engine) {
    let gateway = Gateway::start().await;
    let app = start(engine, &gateway.url(), &[]).await;
    gateway.instead(Instead::Leaves);
    let phone = number(1);
    register(&app, &phone).await;
    gateway.nth_to(&phone, 3).await;
    assert_eq!(
        undelivered(&app.place).await,
        ["waiting: the SMS gateway closed the connection"]
    );
    gateway.relent();
    let other = number(2);
    register(&app, &other).await;
    for phone in [&other, &phone] {
        verify(&app, phone, &gateway.taken(phone).await.code()).await;
    }
}

/// Wherever it points to, code, number and password go nowhere but to the address of the settings.
async fn a_gateway_that_sends_us_elsewhere_is_not_followed(engine: Engine) {
    let (gateway, elsewhere) = (Gateway::start().await, Gateway::start().await);
    let app = start(engine, &gateway.url(), &[]).await;
    gateway.instead(Instead::SendsTo(elsewhere.url()));
    let phone = number(1);
    register(&app, &phone).await;
    assert_eq!(waits(&app.place).await, "the SMS gateway answered 307");
    gateway.nth_to(&phone, 2).await;
    assert!(elsewhere.everything().is_empty());
    gateway.relent();
    verify(&app, &phone, &gateway.taken(&phone).await.code()).await;
    assert!(elsewhere.everything().is_empty());
}

async fn a_kill_loses_no_code(engine: Engine) {
    let gateway = Gateway::start().await;
    let app = start(engine, &gateway.url(), &[]).await;
    let phone = number(1);
    gateway.answer(&phone, 500);
    register(&app, &phone).await;
    gateway.nth_to(&phone, 2).await;
    let App { server, place, .. } = app;
    server.kill();
    gateway.relent();
    let url = gateway.url();
    let server = Server::start(&place, &settings(&url)).await;
    let app = App {
        client: server.client(),
        server,
        place,
    };
    verify(&app, &phone, &gateway.taken(&phone).await.code()).await;
}

/// A person with a number that is verified, who has just asked for a code to set a new password: the code. It has left, and
/// what was said along with it is known.
async fn code_to_recover(app: &App, gateway: &Gateway, phone: &str) -> String {
    let taken = gateway.received(phone).len();
    let body = json!({ "msisdn": phone });
    let reply = app.ask("PUT", "/api/v1/users/forget_password", &body).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "{}"));
    let code = gateway.nth_to(phone, taken + 1).await.code();
    until("a message that has left", || async {
        (sealed(&app.place).await == 0).then_some(())
    })
    .await;
    code
}

async fn recover(app: &App, phone: &str, code: &str) -> (u16, serde_json::Value) {
    let new = "another-password";
    let body = json!({ "msisdn": phone, "code": code, "password": new, "password_confirmation": new });
    let reply = app.ask("PUT", "/api/v1/users/recover_password", &body).await;
    (reply.status, reply.json()["errors"].clone())
}

async fn with_number(app: &App, gateway: &Gateway, phone: &str) {
    register(app, phone).await;
    verify(app, phone, &gateway.taken(phone).await.code()).await;
}

fn hours_ago(hours: i64) -> String {
    let now = user_registry::clock::Clock::system().now();
    json!({ "sim_changed_at": now.plus(-hours * 3_600_000_000).to_string() }).to_string()
}

async fn after_a_change_of_the_sim_no_code_sets_a_password(engine: Engine) {
    let gateway = Gateway::start().await;
    let delay = [("REGISTRY__XHOPPE__RECOVERY_DELAY_AFTER_SIM_CHANGE", "48")];
    let app = start(engine, &gateway.url(), &delay).await;
    let invalid = json!({ "code": ["is invalid"] });
    for (last, said, settles) in [
        (1, hours_ago(49), true),
        (2, hours_ago(47), false),
        // It cannot have been changed later than now, and what cannot be read is taken for now.
        (3, hours_ago(-9_000), false),
        (4, r#"{"sim_changed_at":"last week"}"#.to_owned(), false),
        (5, r#"{"sim_changed_at":1}"#.to_owned(), false),
        // Too much to be read has been taken all the same; what it says of the SIM may be anything.
        (10, " ".repeat(16_385), false),
        // Nothing is said of a SIM.
        (6, String::new(), true),
        (7, "taken".to_owned(), true),
        (8, r#"{"sim_changed_at":null,"id":7}"#.to_owned(), true),
    ] {
        let phone = number(last);
        with_number(&app, &gateway, &phone).await;
        gateway.say(&phone, &said);
        let code = code_to_recover(&app, &gateway, &phone).await;
        let (status, errors) = recover(&app, &phone, &code).await;
        if settles {
            assert_eq!(status, 200, "{said}");
        } else {
            assert_eq!((status, &errors), (422, &invalid), "{said}");
            // What was said stays said, whatever is said later, and the canonical API hears of it too.
            gateway.say(&phone, &hours_ago(9_000));
            let code = code_to_recover(&app, &gateway, &phone).await;
            let body = json!({ "phone": phone, "code": code, "new_password": "brisk meadow saddle" });
            app.command("reset-password", &body)
                .send()
                .await
                .refused(410, "invalid-token");
            app.sign_in(&phone, PASSWORD).await;
        }
    }
    // What is given up may have been delivered, by a gateway that was not heard: its code opens nothing, the next one does.
    let phone = number(11);
    with_number(&app, &gateway, &phone).await;
    gateway.answer(&phone, 422);
    let code = code_to_recover(&app, &gateway, &phone).await;
    let late = json!({ "code": ["is expired"] });
    assert_eq!(recover(&app, &phone, &code).await, (422, late));
    gateway.relent();
    let code = code_to_recover(&app, &gateway, &phone).await;
    assert_eq!(recover(&app, &phone, &code).await.0, 200);
    // Who only verifies a number is not asked for more than its code.
    let phone = number(9);
    gateway.say(&phone, &hours_ago(1));
    with_number(&app, &gateway, &phone).await;
}

async fn without_the_setting_nothing_is_heard_of_a_sim(engine: Engine) {
    let gateway = Gateway::start().await;
    let app = start(engine, &gateway.url(), &[]).await;
    let phone = number(1);
    with_number(&app, &gateway, &phone).await;
    gateway.say(&phone, &hours_ago(1));
    let code = code_to_recover(&app, &gateway, &phone).await;
    assert_eq!(recover(&app, &phone, &code).await.0, 200);
}
