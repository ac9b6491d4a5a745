//! Lists, searches and discovery over many accounts: how long each page takes, and by which plan.

use std::path::Path;
use std::time::Instant;

use aggregates::values::Role;
use anyhow::Result;
use projections::globe::chord_squared;
use projections::{Status, UserRow};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use user_registry::chance::Chance;
use user_registry::clock::Clock;
use user_registry::registry::Seed;
use user_registry::store::{Circle, DomainFilter, Store, UserFilter, UserSort};
use uuid::Uuid;

use crate::place::Place;
use crate::report::{Limit, Report};

/// Milliseconds a page may take.
const LIMIT: f64 = 10.0;
/// How often each is asked for.
const TIMES: usize = 100;

const NEWEST: UserSort = UserSort::CreatedAt { descending: true };
const OLDEST: UserSort = UserSort::CreatedAt { descending: false };
const BY_NAME: UserSort = UserSort::Username { descending: false };
const BY_NAME_BACK: UserSort = UserSort::Username { descending: true };

/// Seeds stores and asks them; or asks those that `dev seed` filled: `folder` or `folder=postgres://…`, separated by
/// commas.
pub async fn run(users: u64, seeded: &str, report: &mut Report) -> Result<()> {
    let seeded: Vec<&str> = seeded.split(',').filter(|text| !text.is_empty()).collect();
    for one in &seeded {
        let (folder, url) = one
            .split_once('=')
            .map_or((*one, None), |(folder, url)| (folder, Some(url)));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let options = crate::place::options(Path::new(folder), url);
        let store = Store::open(&options, Clock::system(), Chance::system(), &tasks, &stop).await?;
        ask(&store, report).await?;
        stop.cancel();
        store.close().await;
    }
    if !seeded.is_empty() {
        return Ok(());
    }
    for place in [Place::postgres().await?, Place::sqlite().await?] {
        let engine = place.store.engine_name();
        let started = Instant::now();
        let seed = Seed {
            users,
            domains: (users / 100).max(1),
        };
        seed.run(&place.store, |_| {}).await?;
        let took = started.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate is shown to a few digits")]
        report.alone(
            &format!("{engine} seed"),
            "people/s",
            &[users as f64 / took],
            Limit::None,
        );
        if engine == "postgres" {
            // What its own housekeeping does within a minute.
            let mut connection = place.connect().await?;
            sqlx::query("VACUUM (ANALYZE)").execute(&mut connection).await?;
        }
        ask(&place.store, report).await?;
        place.remove().await?;
    }
    Ok(())
}

async fn ask(store: &Store, report: &mut Report) -> Result<()> {
    let engine = store.engine_name();
    lists(store, engine, report).await?;
    domains(store, engine, report).await?;
    discover(store, engine, report).await
}

fn q(text: &str) -> UserFilter {
    UserFilter {
        q: Some(text.to_owned()),
        ..UserFilter::default()
    }
}

fn filters() -> Vec<(&'static str, UserFilter)> {
    let all = UserFilter::default;
    let country = |text: &str| Some(text.to_owned());
    vec![
        ("all", all()),
        ("q of 1 letter", q("m")),
        ("q of 2 letters", q("ma")),
        ("q of 3 letters", q("mar")),
        ("q of a word", q("maria")),
        ("q of 2 words", q("mar gar")),
        ("q of a rare word", q("van-dijk")),
        ("q of an address", q("maria.santos")),
        ("q of a number", q("+31610012")),
        ("q of nobody", q("zzzz")),
        (
            "status active",
            UserFilter {
                status: Some(Status::Active),
                ..all()
            },
        ),
        (
            "status pending",
            UserFilter {
                status: Some(Status::Pending),
                ..all()
            },
        ),
        (
            "status locked",
            UserFilter {
                status: Some(Status::Locked),
                ..all()
            },
        ),
        (
            "domain",
            UserFilter {
                domain: Some("farm0.example".to_owned()),
                ..all()
            },
        ),
        (
            "verified",
            UserFilter {
                verified: Some(true),
                ..all()
            },
        ),
        (
            "not verified",
            UserFilter {
                verified: Some(false),
                ..all()
            },
        ),
        (
            "role",
            UserFilter {
                role: Some(Role::Auditor),
                ..all()
            },
        ),
        (
            "country",
            UserFilter {
                country: country("NL"),
                ..all()
            },
        ),
        (
            "small country",
            UserFilter {
                country: country("IS"),
                ..all()
            },
        ),
        (
            "q, status",
            UserFilter {
                status: Some(Status::Locked),
                ..q("m")
            },
        ),
        (
            "q, country",
            UserFilter {
                country: country("JP"),
                ..q("a")
            },
        ),
        (
            "q, status, verified",
            UserFilter {
                status: Some(Status::Active),
                verified: Some(true),
                ..q("sa")
            },
        ),
    ]
}

async fn lists(store: &Store, engine: &str, report: &mut Report) -> Result<()> {
    for (name, filter) in filters() {
        for (order, sort) in [
            ("created_at", OLDEST),
            ("-created_at", NEWEST),
            ("username", BY_NAME),
            ("-username", BY_NAME_BACK),
        ] {
            let mut took = Vec::with_capacity(TIMES);
            let mut after: Option<(String, Uuid)> = None;
            // Page after page, from the start again at the end.
            for _ in 0..TIMES {
                let from = after.as_ref().map(|(key, id)| (key.as_str(), *id));
                let started = Instant::now();
                let rows = store.users(&filter, sort, from, 51).await?;
                took.push(started.elapsed().as_secs_f64() * 1_000.0);
                after = (rows.len() == 51)
                    .then(|| rows.last().map(|row| key(sort, row)))
                    .flatten();
            }
            show(report, &format!("{engine} {name} {order}"), took);
            let plan = store.explain_users(&filter, sort, None, 51).await?;
            tell(engine, &plan);
        }
    }
    Ok(())
}

fn key(sort: UserSort, row: &UserRow) -> (String, Uuid) {
    let key = match sort {
        UserSort::CreatedAt { .. } => row.created_at.as_micros().to_string(),
        UserSort::Username { .. } => row.username.as_deref().unwrap_or_default().to_ascii_lowercase(),
    };
    (key, row.id)
}

async fn domains(store: &Store, engine: &str, report: &mut Report) -> Result<()> {
    for (name, q) in [("all", None), ("q", Some("farm")), ("narrow q", Some("farm72"))] {
        let filter = DomainFilter {
            q: q.map(str::to_owned),
            standing: None,
        };
        let mut took = Vec::with_capacity(TIMES);
        let mut after: Option<String> = None;
        for _ in 0..TIMES {
            let started = Instant::now();
            let rows = store.domains(&filter, after.as_deref(), 51).await?;
            let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
            store.users_of_domains(&names).await?;
            took.push(started.elapsed().as_secs_f64() * 1_000.0);
            after = (rows.len() == 51)
                .then(|| rows.last().map(|row| row.name.clone()))
                .flatten();
        }
        show(report, &format!("{engine} domains {name}"), took);
    }
    Ok(())
}

async fn discover(store: &Store, engine: &str, report: &mut Report) -> Result<()> {
    let places = [
        ("a city", 52.37, 4.9),
        ("an ocean", -40.0, -120.0),
        ("the pole", 90.0, 0.0),
        ("the antimeridian", -17.0, 180.0),
    ];
    for (name, latitude, longitude) in places {
        for kilometres in [1.0, 50.0, 1_000.0, 20_000.0] {
            let circle = Circle {
                latitude,
                longitude,
                apart: chord_squared(kilometres),
            };
            let (mut took, mut after) = (Vec::with_capacity(TIMES), None);
            for _ in 0..TIMES {
                let started = Instant::now();
                let page = store.discover(&circle, after, 50).await?;
                took.push(started.elapsed().as_secs_f64() * 1_000.0);
                after = page.next;
            }
            show(report, &format!("{engine} {kilometres} km around {name}"), took);
        }
    }
    tell(engine, &store.explain_discover().await?);
    Ok(())
}

fn show(report: &mut Report, what: &str, mut took: Vec<f64>) {
    took.sort_by(f64::total_cmp);
    let at = |part: usize| {
        took.get((took.len() * part / 100).min(took.len().saturating_sub(1)))
            .copied()
    };
    report.alone(
        &format!("{what}, p50"),
        "ms",
        &[at(50).unwrap_or_default()],
        Limit::Most(LIMIT),
    );
    report.alone(
        &format!("{what}, p99"),
        "ms",
        &[at(99).unwrap_or_default()],
        Limit::Most(LIMIT),
    );
}

/// The plan, and whether it reads a whole table.
fn tell(engine: &str, plan: &[String]) {
    for line in plan {
        println!("      {line}");
        let full = match engine {
            "postgres" => line.contains("Seq Scan"),
            _ => line.starts_with("SCAN user") && !line.contains("USING"),
        };
        if full {
            println!("      ^^^ FULL SCAN");
        }
    }
}
