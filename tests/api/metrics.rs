//! The metrics that alarms are made of, held against what was done.

use std::collections::BTreeMap;

use serde_json::json;

use crate::agstack::web::Web;
use crate::followers::{breaks, overwrite};
use crate::harness::{App, Call, Engine, PASSWORD, Server, on_both_engines, soon, until};
use crate::trio::STRONG;

const OTHER: &str = "nine grey geese by a pond";

on_both_engines![
    how_far_a_follower_is_behind_is_told_until_it_goes_on,
    every_refusal_counts_for_its_rule_and_for_no_other,
    how_long_requests_take_is_counted_by_method_and_route,
    refusals_through_every_dialect_count_for_their_rule,
    appends_are_counted_by_their_events_and_by_the_commands_of_a_batch,
    of_many_with_one_version_those_that_lose_in_the_log_are_counted,
    only_addresses_of_those_who_run_the_service_may_read,
];

async fn only_addresses_of_those_who_run_the_service_may_read(engine: Engine) {
    let proxy = ("REGISTRY__HTTP__TRUSTED_PROXIES", "127.0.0.0/8");
    let app = App::start_with(engine, &[proxy]).await;
    let reads = |app: &App, from: &str| app.get("/metrics").header("x-forwarded-for", from).send();
    for from in ["10.1.2.3", "127.0.0.1", "fd00::1"] {
        assert_eq!(reads(&app, from).await.status, 200, "{from}");
    }
    for from in ["203.0.113.9", "2001:db8::1", "::ffff:203.0.113.9"] {
        let refused = reads(&app, from).await;
        refused.refused(403, "forbidden");
        assert!(!refused.body.contains("registry_"), "{refused:?}");
    }
    let networks = ("REGISTRY__HTTP__METRICS_NETWORKS", "203.0.113.0/24");
    let app = App::start_with(engine, &[proxy, networks]).await;
    assert_eq!(reads(&app, "203.0.113.9").await.status, 200);
    reads(&app, "10.1.2.3").await.refused(403, "forbidden");
}

/// Every sample of `/metrics`, by its name with its labels.
async fn samples(app: &App) -> BTreeMap<String, f64> {
    let body = app.get("/metrics").send().await.body;
    let lines = body.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

async fn how_far_a_follower_is_behind_is_told_until_it_goes_on(engine: Engine) {
    let mut app = App::start_with(engine, &[("REGISTRY__FOLLOWERS__ENABLED", "false")]).await;
    for number in 0..3 {
        let body = json!({ "email": format!("p{number}@farm.example"), "password": PASSWORD });
        app.command("register-user", &body).expect(201).await;
    }
    let (at, payload) = breaks(&app, "user.email_verification_requested").await;
    app.server.terminate();
    app.server = Server::start(&app.place, &[]).await;
    app.client = app.server.client();
    let followers = ["mail", "notary", "sms", "statistics"];
    let of = |samples: &BTreeMap<String, f64>, name: &str, follower: &str| {
        let name = format!("registry_follower_{name}{{follower=\"{follower}\"}}");
        samples.get(&name).copied()
    };
    let all = |samples: &BTreeMap<String, f64>, name: &str, is: f64| {
        let mut values = followers.iter().map(|follower| of(samples, name, follower));
        values.all(|value| value == Some(is))
    };
    let stopped = until("every follower to stop", || async {
        let samples = samples(&app).await;
        all(&samples, "stopped", 1.0).then_some(samples)
    })
    .await;
    // The notary is done with nothing before it has signed it; the others with all before the event they stand at.
    let mut log = app.log().await;
    let head = log.head().await;
    let mut left = BTreeMap::new();
    for follower in followers {
        let sql = format!("SELECT position FROM checkpoints WHERE follower = '{follower}'");
        let position = log.numbers(&sql).await[0];
        assert!(
            position < at && (follower == "notary" || position == at - 1),
            "{follower} at {position}"
        );
        #[expect(clippy::cast_precision_loss, reason = "a few events")]
        left.insert(follower, Some((head - position) as f64));
    }
    // The event they stand at grows older.
    let later = until("time to pass", || async {
        let later = samples(&app).await;
        let grows = |follower: &&str| of(&later, "lag_seconds", follower) > of(&stopped, "lag_seconds", follower);
        followers.iter().all(grows).then_some(later)
    })
    .await;
    for follower in followers {
        assert!(of(&stopped, "lag_seconds", follower) > Some(0.0), "{stopped:?}");
        assert_eq!(of(&stopped, "lag_events", follower), left[follower]);
        assert_eq!(of(&later, "lag_events", follower), left[follower]);
    }
    overwrite(&mut app.log().await, at, &payload).await;
    for follower in followers {
        app.place.run(&["followers", "retry", follower], "").await.unwrap();
    }
    let done = until("every follower to go on", || async {
        let samples = samples(&app).await;
        all(&samples, "lag_events", 0.0).then_some(samples)
    })
    .await;
    assert!(all(&done, "stopped", 0.0) && all(&done, "lag_seconds", 0.0), "{done:?}");
}

/// What of the samples of one name differs, by what follows the name.
fn grown(before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>, name: &str) -> BTreeMap<String, f64> {
    let named = after.iter().filter_map(|(sample, value)| {
        let labels = sample
            .strip_prefix(name)
            .filter(|rest| rest.is_empty() || rest.starts_with('{'))?;
        let grown = value - before.get(sample).copied().unwrap_or_default();
        (grown != 0.0).then(|| (labels.to_owned(), grown))
    });
    named.collect()
}

async fn every_refusal_counts_for_its_rule_and_for_no_other(engine: Engine) {
    let app = App::start(engine).await;
    let (ada, boss) = (app.user("ada").await, app.admin().await);
    let id = app.get("/v1/me").bearer(&ada.access).expect(200).await["id"].clone();
    let block = json!({ "domain": "blocked.example" });
    app.command("block-domain", &block)
        .bearer(&boss.access)
        .expect(201)
        .await;
    let named = |name: &str| json!({ "username": name, "password": PASSWORD });
    let profile = |name: &str| json!({ "full_name": name });
    let update = |body| app.command("update-profile", &body).bearer(&ada.access);
    update(profile("Ada"))
        .header("idempotency-key", "once")
        .expect(200)
        .await;
    let lock = json!({ "user_id": id, "reason": "a test" });
    let mail = json!({ "email": "eve@blocked.example", "password": PASSWORD });
    let token = json!({ "token": "nobody-was-ever-given-this" });
    let change = json!({ "current_password": "not the one at all", "new_password": "nine grey geese at dusk" });
    let refusals: &[(&str, u16, usize, &dyn Fn() -> Call)] = &[
        ("taken", 409, 3, &|| app.command("register-user", &named("ada"))),
        ("invalid", 400, 2, &|| {
            app.command("register-user", &json!({ "username": "eve", "password": "short" }))
        }),
        ("unknown-field", 400, 1, &|| {
            app.command(
                "register-user",
                &json!({ "username": "eve", "password": PASSWORD, "colour": "blue" }),
            )
        }),
        ("malformed", 400, 2, &|| {
            app.call("POST", "/v1/commands/register-user")
                .header("content-type", "application/json")
                .raw("{")
        }),
        ("unsupported-media-type", 415, 1, &|| {
            app.call("POST", "/v1/commands/register-user")
                .header("content-type", "text/plain")
                .raw("{}")
        }),
        ("too-large", 413, 1, &|| {
            app.post("/v1/sessions", &named(&"x".repeat(20_000)))
        }),
        ("domain-blocked", 403, 2, &|| app.command("register-user", &mail)),
        ("unauthenticated", 401, 2, &|| app.get("/v1/me")),
        ("invalid-credentials", 401, 1, &|| {
            app.post("/v1/sessions", &json!({ "identifier": "nobody", "password": PASSWORD }))
        }),
        ("forbidden", 403, 2, &|| {
            app.command("lock-user", &lock).bearer(&ada.access)
        }),
        ("wrong-password", 403, 1, &|| {
            app.command("change-password", &change).bearer(&ada.access)
        }),
        ("not-found", 404, 2, &|| app.get("/v1/nothing/here")),
        ("method-not-allowed", 405, 1, &|| app.delete("/v1/me")),
        ("invalid-token", 410, 1, &|| app.command("verify-email", &token)),
        ("stale", 412, 2, &|| update(profile("Eve")).header("if-match", "\"1\"")),
        ("idempotency-mismatch", 422, 2, &|| {
            update(profile("Eve")).header("idempotency-key", "once")
        }),
    ];
    let mut before = samples(&app).await;
    for &(rule, status, times, call) in refusals {
        for _ in 0..times {
            call().send().await.refused(status, rule);
        }
        let after = samples(&app).await;
        #[expect(clippy::cast_precision_loss, reason = "a few times")]
        let times = times as f64;
        assert_eq!(
            grown(&before, &after, "registry_refusals_total"),
            [(format!("{{rule=\"{rule}\"}}"), times)].into(),
            "{rule}"
        );
        before = after;
    }
    // What is done is no refusal.
    update(profile("Augusta")).expect(200).await;
    let after = samples(&app).await;
    assert_eq!(grown(&before, &after, "registry_refusals_total"), BTreeMap::new());
}

async fn how_long_requests_take_is_counted_by_method_and_route(engine: Engine) {
    let app = App::start(engine).await;
    let before = samples(&app).await;
    for _ in 0..3 {
        app.get("/v1/users/nobody").send().await.refused(401, "unauthenticated");
        app.call("BREW", "/healthz")
            .send()
            .await
            .refused(405, "method-not-allowed");
    }
    let after = samples(&app).await;
    for labels in [
        r#"{method="GET",route="/v1/users/{id}"}"#,
        r#"{method="other",route="/healthz"}"#,
    ] {
        let of = |samples: &BTreeMap<String, f64>, what: &str| {
            let name = format!("registry_http_request_seconds_{what}{labels}");
            samples.get(&name).copied().unwrap_or_default()
        };
        let rose = |what: &str| of(&after, what) - of(&before, what);
        assert!((rose("count") - 3.0).abs() < 0.5, "{labels}: {after:?}");
        assert!(rose("sum") > 0.0, "{labels}");
    }
}

/// A dialect words a refusal its own way; the operator counts it like any other.
async fn refusals_through_every_dialect_count_for_their_rule(engine: Engine) {
    let app = App::start(engine).await;
    app.with_email("ada").await;
    app.with_phone("eve", "+6584932466").await;
    let boss = app.admin().await;
    let block = json!({ "domain": "blocked.example" });
    app.command("block-domain", &block)
        .bearer(&boss.access)
        .expect(201)
        .await;
    let signs_up = json!({ "email": "bob@blocked.example", "username": "bob", "password": STRONG });
    let named = json!({ "username": "ada", "password": OTHER });
    let mailed = json!({ "email": "ada@farm.example", "password": OTHER });
    let numbered = json!({ "msisdn": "+6584932466", "password": OTHER });
    let taken = json!({ "email": "ada@farm.example", "username": "ada", "password": STRONG });
    let code = json!({ "msisdn": "+6584932466", "code": "000000" });
    let asks = [
        ("domain-blocked", 401, "/signup", &signs_up),
        ("domain-blocked", 400, "/api/v1/account/register/", &signs_up),
        ("domain-blocked", 400, "/api/v1/user/register", &signs_up),
        ("invalid-credentials", 401, "/login", &mailed),
        ("invalid-credentials", 400, "/api/v1/account/login/", &named),
        ("invalid-credentials", 401, "/api/v1/login", &numbered),
        ("taken", 202, "/signup", &taken),
        ("taken", 400, "/api/v1/user/register", &taken),
        ("invalid", 400, "/api/v1/account/register/", &numbered),
        ("invalid", 422, "/api/v1/users", &named),
        ("invalid-token", 422, "/api/v1/users/verify", &code),
        ("not-found", 404, "/api/v1/nothing/", &named),
        ("method-not-allowed", 405, "/api/v1/user/me", &named),
        ("unauthenticated", 401, "/update", &named),
    ];
    let web = Web::python(&app);
    let mut before = samples(&app).await;
    for (rule, status, path, body) in asks {
        let reply = web.post(path, body).send().await;
        assert_eq!(reply.status, status, "{path}: {reply:?}");
        let after = samples(&app).await;
        let grown = grown(&before, &after, "registry_refusals_total");
        assert_eq!(grown, [(format!("{{rule=\"{rule}\"}}"), 1.0)].into(), "{path}");
        before = after;
    }
}

/// Only what this process appends counts, so nothing else may append meanwhile: no command line, no follower, and no
/// sign-in, whose trace is written after its answer.
#[expect(clippy::float_cmp, reason = "what is counted is whole")]
async fn appends_are_counted_by_their_events_and_by_the_commands_of_a_batch(engine: Engine) {
    const PEOPLE: usize = 12;
    const ROUNDS: usize = 10;
    let app = App::start(engine).await;
    let people = futures::future::join_all((0..PEOPLE).map(|number| {
        let app = &app;
        async move { app.user(&format!("person{number}")).await }
    }))
    .await;
    let one = |samples: &BTreeMap<String, f64>, name: &str| samples.get(name).copied().unwrap_or_default();
    let (mut log, before) = (app.log().await, samples(&app).await);
    let start = log.head().await;

    // One after the other: a transaction each. Registering without and with an address is one event and two.
    let mut commands = 0.0;
    for number in 0..ROUNDS {
        let body = match number % 2 {
            0 => json!({ "username": format!("plain{number}"), "password": PASSWORD }),
            _ => json!({ "email": format!("p{number}@farm.example"), "password": PASSWORD }),
        };
        app.command("register-user", &body).expect(201).await;
        commands += 1.0;
    }
    let (middle, alone) = (log.head().await, samples(&app).await);
    let since = |name: &str, from: &BTreeMap<String, f64>, to: &BTreeMap<String, f64>| one(to, name) - one(from, name);
    #[expect(clippy::cast_precision_loss, reason = "a few events")]
    let moved = |from: i64, to: i64| (to - from) as f64;
    assert_eq!(
        since("registry_append_events_total", &before, &alone),
        moved(start, middle)
    );
    assert!(moved(start, middle) > commands, "some are two events");
    for name in [
        "registry_append_batch_commands_sum",
        "registry_append_batch_commands_count",
    ] {
        assert_eq!(since(name, &before, &alone), commands, "{name}");
    }
    assert_eq!(since("registry_append_seconds_count", &before, &alone), commands);
    assert!(since("registry_append_seconds_sum", &before, &alone) > 0.0);

    // At once: what comes while a transaction runs waits and goes together, each of them counted once.
    #[expect(clippy::cast_precision_loss, reason = "a few people")]
    let all = PEOPLE as f64;
    let (mut last, mut head) = (alone, middle);
    let batches = soon("commands to go together", async {
        loop {
            let body = json!({ "full_name": format!("Person {head}") });
            let calls = people
                .iter()
                .map(|tokens| app.command("update-profile", &body).bearer(&tokens.access).send());
            for reply in futures::future::join_all(calls).await {
                assert_eq!(reply.status, 200);
            }
            let (end, together) = (log.head().await, samples(&app).await);
            assert_eq!(moved(head, end), all);
            assert_eq!(since("registry_append_events_total", &last, &together), all);
            assert_eq!(since("registry_append_batch_commands_sum", &last, &together), all);
            let batches = since("registry_append_batch_commands_count", &last, &together);
            let small = since("registry_append_batch_commands_bucket{le=\"1\"}", &last, &together);
            assert!(
                1.0 <= batches && batches <= all && small <= batches,
                "{batches} transactions, {small} of one"
            );
            (last, head) = (together, end);
            // The buckets tell of the larger ones too.
            if batches < all && small < batches {
                return batches;
            }
        }
    })
    .await;
    assert_eq!(since("registry_append_conflicts_total", &before, &last), 0.0);
    told!("{PEOPLE} commands at once in {batches} transactions");
}

/// Those who read the version before anybody had won are refused by the log itself, and are counted; the others are
/// refused before they come there.
async fn of_many_with_one_version_those_that_lose_in_the_log_are_counted(engine: Engine) {
    const MANY: u32 = 20;
    let app = App::start(engine).await;
    let ada = app.user("ada").await;
    let (mut version, mut before) = (1, samples(&app).await);
    let lost = soon("commands to lose in the log", async {
        loop {
            let calls = (0..MANY).map(|number| {
                let body = json!({ "full_name": format!("Ada {version} {number}") });
                app.command("update-profile", &body)
                    .bearer(&ada.access)
                    .header("if-match", format!("\"{version}\""))
                    .send()
            });
            let replies = futures::future::join_all(calls).await;
            let won = replies.iter().filter(|reply| reply.status == 200).count();
            assert_eq!(won, 1, "{replies:?}");
            let after = samples(&app).await;
            let conflicts = grown(&before, &after, "registry_append_conflicts_total");
            let refused = grown(&before, &after, "registry_refusals_total");
            assert!(
                (refused[r#"{rule="stale"}"#] - f64::from(MANY - 1)).abs() < 0.5,
                "{refused:?}"
            );
            let lost = conflicts.get("").copied().unwrap_or_default();
            assert!(lost <= f64::from(MANY - 1), "{lost}");
            if lost > 0.0 {
                return lost;
            }
            (version, before) = (version + 1, after);
        }
    })
    .await;
    told!("{engine:?}: of {MANY} with one version, {lost} lost in the log");
}
