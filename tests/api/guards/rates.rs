//! How often somebody may call, and what they are told of it.

use serde_json::json;

use super::ON;
use crate::agstack;
use crate::agstack::web::{Web, activated};
use crate::harness::{App, Engine, PASSWORD, Reply, on_both_engines, until};

on_both_engines![
    an_address_signs_in_so_often_and_is_told_when_to_come_back,
    an_account_calls_so_often_wherever_it_calls_from,
    whoever_calls_through_a_dialect_is_told_of_the_rates_too,
    readiness_is_found_out_a_few_times_a_second_however_many_ask,
    lifted_limits_are_lifted,
    only_a_trusted_proxy_tells_of_clients,
];

const THREE_SIGN_INS: (&str, &str) = ("REGISTRY__LIMITS__SIGN_INS_PER_MINUTE", "3");

async fn try_in(app: &App, forwarded: Option<&str>) -> Reply {
    let body = json!({ "identifier": "ada", "password": PASSWORD });
    let mut call = app.post("/v1/sessions", &body);
    if let Some(forwarded) = forwarded {
        call = call.header("x-forwarded-for", forwarded);
    }
    call.send().await
}

async fn an_address_signs_in_so_often_and_is_told_when_to_come_back(engine: Engine) {
    let app = App::start_with(engine, &[ON, THREE_SIGN_INS]).await;
    app.has_user("ada").await;
    for left in ["2", "1", "0"] {
        let reply = try_in(&app, None).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        assert_eq!(reply.header("ratelimit-policy"), "\"sign-in\";q=3;w=60");
        let told = reply.header("ratelimit");
        assert!(told.starts_with(&format!("\"sign-in\";r={left};t=")), "{told}");
    }
    let reply = try_in(&app, None).await;
    reply.refused(429, "too-many-requests");
    let seconds: u32 = reply.header("retry-after").parse().unwrap();
    assert!((1..=20).contains(&seconds), "{seconds}");
    assert!(reply.header("ratelimit").starts_with("\"sign-in\";r=0;t="), "{reply:?}");
    // Nothing else is held up, and the operator sees it.
    app.get("/v1/nothing").send().await.refused(404, "not-found");
    app.has_user("eve").await;
    let health = app.get("/healthz").send().await;
    assert_eq!((health.status, health.header("ratelimit")), (200, ""));
    let metrics = app.get("/metrics").send().await.body;
    assert!(
        metrics.contains("registry_requests_limited_total{limit=\"sign-in\"}"),
        "{metrics}"
    );
}

async fn an_account_calls_so_often_wherever_it_calls_from(engine: Engine) {
    let settings = [
        ON,
        ("REGISTRY__LIMITS__ACCOUNT_REQUESTS_PER_MINUTE", "2"),
        ("REGISTRY__HTTP__TRUSTED_PROXIES", "127.0.0.0/8"),
    ];
    let app = App::start_with(engine, &settings).await;
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    let me = async |token: &str, from: &str| {
        app.get("/v1/me")
            .bearer(token)
            .header("x-forwarded-for", from)
            .send()
            .await
    };
    for from in ["192.0.2.1", "192.0.2.2"] {
        assert_eq!(me(&ada.access, from).await.status, 200);
    }
    let refused = me(&ada.access, "192.0.2.3").await;
    refused.refused(429, "too-many-requests");
    assert!(refused.header("ratelimit").contains("\"account\";r=0"), "{refused:?}");
    assert_eq!(me(&eve.access, "192.0.2.3").await.status, 200);
}

/// With the fields on every answer, the 429 in each one's words, and the rate of an account whoever's API it uses.
async fn whoever_calls_through_a_dialect_is_told_of_the_rates_too(engine: Engine) {
    let settings = [
        ON,
        THREE_SIGN_INS,
        ("REGISTRY__LIMITS__CUSTOMERS_PER_HOUR", "1"),
        ("REGISTRY__LIMITS__ACCOUNT_REQUESTS_PER_MINUTE", "2"),
    ];
    let app = App::start_with(engine, &settings).await;
    let key = app.cadasta_user("ada").await;
    let customer = app.taxi_user("tim").await;
    let number = app.xhoppe_user("+6584932466").await;
    let web = Web::python(&app);
    let email = "grace@farm.example";
    activated(&app, &web, email).await;
    let (access, _) = web.logs_in_with(email, agstack::web::PASSWORD).await;
    // An account has two a minute, each its own.
    let token = customer["api_token"].as_str().unwrap();
    let opened = [
        ("/api/v1/account/", "authorization", format!("Token {key}")),
        ("/api/v1/user_info", "x-xhoppe-token", number),
        ("/api/v1/user/me", "authorization", format!("Bearer {token}")),
        ("/update", "authorization", format!("Bearer {access}")),
    ];
    for (path, name, credential) in &opened {
        let ask = || web.get(path).header(name, credential).send();
        let mut left = Vec::new();
        let refused = loop {
            let reply = ask().await;
            if reply.status == 429 {
                break reply;
            }
            assert!(reply.status < 300, "{path}: {reply:?}");
            left.push(reply);
        };
        assert!(!left.is_empty(), "{path}");
        for reply in &left {
            assert_eq!(
                reply.header("ratelimit-policy"),
                "\"ip\";q=1200;w=60, \"account\";q=2;w=60"
            );
        }
        assert!(
            refused.header("ratelimit").contains("\"account\";r=0;"),
            "{path}: {refused:?}"
        );
        assert!(refused.header("retry-after").parse::<u32>().unwrap() > 0, "{path}");
    }
    // Of an address: a few more of each are too many.
    let body = json!({ "username": "x", "email": "x@farm.example", "msisdn": "+6584932467", "password": "x" });
    let before = number_of(&app, "registry_refusals_total{rule=\"too-many-requests\"}").await;
    for (path, rate) in [
        ("/api/v1/account/login/", "sign-in"),
        ("/api/v1/login", "sign-in"),
        ("/login", "sign-in"),
        ("/api/v1/user/register", "customer"),
    ] {
        let reply = until("the end of a share", || async {
            let reply = web.post(path, &body).send().await;
            let policy = reply.header("ratelimit-policy");
            assert!(policy.starts_with(&format!("\"{rate}\";q=")), "{path}: {policy}");
            (reply.status == 429).then_some(reply)
        })
        .await;
        let told = reply.header("ratelimit");
        assert!(told.starts_with(&format!("\"{rate}\";r=0;t=")), "{path}: {told}");
        assert!(
            reply.header("retry-after").parse::<u32>().unwrap() > 0,
            "{path}: {reply:?}"
        );
    }
    let after = number_of(&app, "registry_refusals_total{rule=\"too-many-requests\"}").await;
    assert_eq!(after - before, 4);
}

/// Anybody may ask, and there is no rate.
async fn readiness_is_found_out_a_few_times_a_second_however_many_ask(engine: Engine) {
    const ASKED: u128 = 60;
    let app = App::start_with(engine, &[ON, ("REGISTRY__LOG__LEVEL", "trace")]).await;
    let reads = || {
        let log = app.server.log();
        let read = |line: &&str| line.contains("db.statement") && line.contains("/readyz");
        log.lines().filter(read).count() as u128
    };
    let (before, began) = (reads(), std::time::Instant::now());
    let replies = futures::future::join_all((0..ASKED).map(|_| app.get("/readyz").send())).await;
    assert!(
        replies
            .iter()
            .all(|reply| reply.status == 200 && reply.body == replies[0].body)
    );
    let (read, took) = (
        until("a read", || async { Some(reads() - before).filter(|read| *read > 0) }).await,
        began.elapsed(),
    );
    told!("{engine:?}: {ASKED} who asked at once cost {read} reads in {took:?}");
    assert!(read <= took.as_millis() / 250 + 1, "{read} in {took:?}");
}

async fn number_of(app: &App, name: &str) -> u64 {
    let metrics = app.get("/metrics").send().await.body;
    let value = metrics.lines().find_map(|line| line.strip_prefix(name));
    value.map_or(0, |value| value.trim().parse().unwrap())
}

async fn lifted_limits_are_lifted(engine: Engine) {
    let app = App::start_with(engine, &[("REGISTRY__LIMITS__SIGN_INS_PER_MINUTE", "1")]).await;
    app.has_user("ada").await;
    for _ in 0..3 {
        let reply = try_in(&app, None).await;
        assert_eq!((reply.status, reply.header("ratelimit")), (201, ""));
    }
}

async fn only_a_trusted_proxy_tells_of_clients(engine: Engine) {
    let app = App::start_with(engine, &[ON, THREE_SIGN_INS]).await;
    app.has_user("ada").await;
    // Nobody is trusted: what a client says of itself changes nothing.
    for number in 0..3 {
        assert_eq!(try_in(&app, Some(&format!("192.0.2.{number}"))).await.status, 201);
    }
    assert_eq!(try_in(&app, Some("192.0.2.9")).await.status, 429);

    let trusting = ("REGISTRY__HTTP__TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8");
    let app = App::start_with(engine, &[ON, THREE_SIGN_INS, trusting]).await;
    app.has_user("ada").await;
    for round in 0..3 {
        // What the client wrote itself, whom our outer proxy heard, our inner proxy.
        let forwarded = format!("198.51.100.{round}, 192.0.2.1, 10.0.0.7");
        assert_eq!(try_in(&app, Some(&forwarded)).await.status, 201);
    }
    assert_eq!(try_in(&app, Some("198.51.100.9, 192.0.2.1")).await.status, 429);
    assert_eq!(try_in(&app, Some("192.0.2.2")).await.status, 201);
    // One subscriber's IPv6 network is one.
    for host in 1..=3 {
        assert_eq!(try_in(&app, Some(&format!("2001:db8::{host}"))).await.status, 201);
    }
    assert_eq!(try_in(&app, Some("2001:db8::4")).await.status, 429);
    assert_eq!(try_in(&app, Some("2001:db8:0:1::1")).await.status, 201);
    let ada = app.sign_in("ada", PASSWORD).await;
    let sessions = app.get("/v1/sessions").bearer(&ada.access).expect(200).await;
    let ips: Vec<&str> = sessions["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|session| session["ip"].as_str())
        .collect();
    assert!(
        ips.contains(&"192.0.2.1") && ips.contains(&"2001:db8:0:1::1"),
        "{ips:?}"
    );
    assert!(!ips.iter().any(|ip| ip.starts_with("198.51.100.")), "{ips:?}");
}
