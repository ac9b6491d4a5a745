//! Whether the time of an answer tells what its body does not, in turns: sign-ins that are refused for different reasons,
//! and what anybody may ask for about an address that is known and one that is not.

use std::time::Instant;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::client::Connection;
use crate::place::Place;
use crate::report::{Limit, Report, median};
use crate::service::{self, Process};
use crate::variable;

/// How often each reason is tried.
const SAMPLES: usize = 2_000;

/// Why each of these sign-ins is refused. All else is held against the first. As many as a prime number: only then does
/// every step through them that is not zero meet all.
const CLASSES: [&str; 7] = [
    "wrong password",
    "unknown",
    "unknown address",
    "unverified",
    "locked",
    "deactivated",
    "erased",
];

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
    for name in ["wrong-one", "locked-one", "deactivated-one", "erased-one"] {
        let id = service::register(connection, name).await?;
        let whom = json!({ "user_id": id, "reason": "measured" });
        match name {
            "locked-one" => connection.command("lock-user", Some(admin), &whom).await?.expect(200)?,
            "deactivated-one" => connection
                .command("deactivate-user", Some(admin), &whom)
                .await?
                .expect(200)?,
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
        "nobody-at-all@farm.example",
        "pending@farm.example",
        "locked-one",
        "deactivated-one",
        "erased-one",
    ]
    .map(str::to_owned)
    .to_vec())
}

/// How long each class of requests takes to be answered with a status, in milliseconds. As many classes as a prime number.
async fn in_turns(
    connection: &mut Connection,
    path: &str,
    status: u16,
    classes: usize,
    body: impl Fn(usize, usize) -> Value,
) -> Result<Vec<Vec<f64>>> {
    let mut took = vec![Vec::new(); classes];
    for turn in 0..variable("OVER_HTTP_SAMPLES", SAMPLES) {
        for step in 0..classes {
            // Each class follows each other one as often.
            let class = (step * (1 + turn % (classes - 1)) + turn) % classes;
            let body = body(class, turn);
            let started = Instant::now();
            connection.post(path, None, &body).await?.expect(status)?;
            took[class].push(started.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok(took)
}

/// Holds each class against the first.
fn compare(engine: &str, names: &[&str], took: &[Vec<f64>], report: &mut Report) -> Result<()> {
    let (first, rest) = took.split_first().context("no classes")?;
    for (name, samples) in names.iter().zip(rest) {
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
    Ok(())
}

async fn place_of(engine: &str) -> Result<Place> {
    if engine == "postgres" {
        Place::postgres().await
    } else {
        Place::sqlite().await
    }
}

/// Sign-ins that are refused.
pub async fn sign_ins(engine: &str, report: &mut Report) -> Result<()> {
    let place = place_of(engine).await?;
    let service = tokio::task::block_in_place(|| Process::service(&place))?;
    let admin = service::administrator(&place, &service).await?;
    let mut connection = Connection::open(&service.address).await?;
    let names = cast(&mut connection, &admin).await?;
    let body = |class: usize, _| json!({ "identifier": names[class], "password": "eight brown cows in a barn" });
    let took = in_turns(&mut connection, "/v1/sessions", 401, CLASSES.len(), body).await?;
    compare(engine, &CLASSES[1..], &took, report)?;
    drop(service);
    place.remove().await
}

/// Asking for a link or a code that sets a password or verifies an address or a number, and registering where
/// `registration.strict` is on: one that nobody has, against one that somebody has and that is written to each time.
pub async fn addresses(engine: &str, report: &mut Report) -> Result<()> {
    let place = place_of(engine).await?;
    let settings = [
        ("REGISTRY__REGISTRATION__STRICT", "true"),
        ("REGISTRY__SMS__DAILY_BUDGET", "100000"),
    ];
    let service = tokio::task::block_in_place(|| Process::service_with(&place, &settings))?;
    // Their address is verified, and the other one's is not.
    service::administrator(&place, &service).await?;
    let (verified, pending, number) = ("boss@registry.example", "pending@farm.example", "+6584932466");
    let mut connection = Connection::open(&service.address).await?;
    let registration = json!({ "email": pending, "phone": number, "password": service::PASSWORD });
    connection
        .command("register-user", None, &registration)
        .await?
        .expect(201)?;
    for (name, command, status, known) in [
        ("reset of a known address", "request-password-reset", 202, verified),
        ("resend to a known address", "request-email-verification", 202, pending),
        ("resend to a known number", "request-phone-verification", 202, number),
        ("registering a known address", "register-user", 201, verified),
    ] {
        let body = |class: usize, turn: usize| {
            let (member, fresh) = if known == number {
                ("phone", format!("+65810{turn:05}"))
            } else {
                ("email", format!("nobody-{turn}@farm.example"))
            };
            let mut body = json!({ member: if class == 0 { fresh.as_str() } else { known } });
            if command == "register-user" {
                body["password"] = service::PASSWORD.into();
            }
            body
        };
        let path = format!("/v1/commands/{command}");
        let took = in_turns(&mut connection, &path, status, 2, body).await?;
        compare(engine, &[name], &took, report)?;
    }
    drop(service);
    place.remove().await
}
