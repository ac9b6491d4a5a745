//! The metrics that alarms are made of, held against what was done.

use std::collections::BTreeMap;

use serde_json::json;

use crate::followers::{breaks, overwrite};
use crate::harness::{App, Engine, PASSWORD, Server, on_both_engines, until};

on_both_engines![how_far_a_follower_is_behind_is_told_until_it_goes_on];

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
