//! Whether the time of an answer tells what its body does not: sign-ins that are refused for different reasons, in turns.

use std::time::Instant;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::client::Connection;
use crate::place::Place;
use crate::report::{Limit, Report, median};
use crate::service::{self, Process};
use crate::variable;

/// How often each reason is tried.
const SAMPLES: usize = 2_000;

/// Why each of these sign-ins is refused. All else is held against the first.
const CLASSES: [&str; 5] = ["wrong password", "unknown", "unverified", "locked", "erased"];

/// How well one tells which of two samples is from which: 0.5 is no better than a coin.
#[expect(clippy::cast_precision_loss, reason = "a share is shown to a few digits")]
fn area_under_curve(one: &[f64], other: &[f64]) -> f64 {
    let mut sorted = other.to_vec();
    sorted.sort_by(f64::total_cmp);
    let above: f64 = one
        .iter()
        .map(|sample| {
            let below = sorted.partition_point(|known| known < sample);
            let not_above = sorted.partition_point(|known| known <= sample);
            f64::midpoint(below as f64, not_above as f64)
        })
        .sum();
    above / (one.len() as f64 * other.len() as f64)
}

/// The name by which each class signs in.
async fn cast(connection: &mut Connection, admin: &str) -> Result<Vec<String>> {
    for name in ["wrong-one", "locked-one", "erased-one"] {
        let id = service::register(connection, name).await?;
        let whom = json!({ "user_id": id, "reason": "measured" });
        match name {
            "locked-one" => connection.command("lock-user", Some(admin), &whom).await?.expect(200)?,
            "erased-one" => connection
                .command("erase-user", Some(admin), &whom)
                .await?
                .expect(200)?,
            _ => continue,
        };
    }
    let pending = json!({ "email": "pending@farm.example", "password": service::PASSWORD });
    connection.command("register-user", None, &pending).await?.expect(201)?;
    Ok([
        "wrong-one",
        "nobody-at-all",
        "pending@farm.example",
        "locked-one",
        "erased-one",
    ]
    .map(str::to_owned)
    .to_vec())
}

pub async fn run(engine: &str, report: &mut Report) -> Result<()> {
    let place = if engine == "postgres" {
        Place::postgres().await?
    } else {
        Place::sqlite().await?
    };
    let service = tokio::task::block_in_place(|| Process::service(&place))?;
    let admin = service::administrator(&place, &service).await?;
    let mut connection = Connection::open(&service.address).await?;
    let names = cast(&mut connection, &admin).await?;
    let mut took = vec![Vec::new(); CLASSES.len()];
    for turn in 0..variable("OVER_HTTP_SAMPLES", SAMPLES) {
        for step in 0..CLASSES.len() {
            // Each class follows each other one as often.
            let class = (step * (1 + turn % (CLASSES.len() - 1)) + turn) % CLASSES.len();
            let body = json!({ "identifier": names[class], "password": "eight brown cows in a barn" });
            let started = Instant::now();
            connection.post("/v1/sessions", None, &body).await?.expect(401)?;
            took[class].push(started.elapsed().as_secs_f64() * 1e3);
        }
    }
    let (first, rest) = took.split_first().context("no classes")?;
    for (name, samples) in CLASSES[1..].iter().zip(rest) {
        let area = area_under_curve(samples, first);
        let gap = 100.0 * (median(samples) / median(first) - 1.0);
        println!("  {engine}, {name}: AUC {area:.3} (0.45 to 0.55), median {gap:+.1} % (at most 5)");
        let away = [(area - 0.5).abs()];
        report.alone(&format!("{name}: AUC off 0.5, {engine}"), "", &away, Limit::Most(0.05));
        report.alone(
            &format!("{name}: gap of medians, {engine}"),
            "%",
            &[gap.abs()],
            Limit::Most(5.0),
        );
    }
    drop(service);
    place.remove().await
}
