//! Folding a log anew, and starting on it.

use std::time::Instant;

use aggregates::user::{ProfileChange, RequestLink, User, UserCommand};
use aggregates::values::{Dialect, FullName};
use anyhow::{Context as _, Result, ensure};
use sqlx::{Connection as _, Row as _};
use user_registry::store::Store;

use crate::Scale;
use crate::append::{registration, request};
use crate::load::per_second;
use crate::place::Place;
use crate::report::{Limit, Report};
use crate::start;

/// What one account adds to the log: registered, verification requested, verified, profile updated.
const EVENTS_OF_ACCOUNT: usize = 4;
const HOUR: i64 = 3_600_000_000;

/// One account with a short life so far.
async fn live(store: Store, number: usize) -> Result<()> {
    let id = store.chance().uuid_v7(store.now());
    let text = id.to_string();
    let link = RequestLink {
        request: store.chance().uuid_v7(store.now()),
        dialect: Dialect::Canonical,
        life: HOUR,
        at: store.now(),
    };
    let original = link.request;
    let unit = store.unit(request(&store, id));
    unit.is_fresh::<User>(&text);
    let mut register = registration(&store, id)?;
    (register.verified, register.unverified_life, register.email_request) = (false, Some(24 * HOUR), Some(link));
    let change = ProfileChange {
        full_name: Some(Some(FullName::parse(&format!("Grace Hopper {number}"))?)),
        discoverable: Some(true),
        ..ProfileChange::default()
    };
    unit.execute::<User>(&text, UserCommand::Register(Box::new(register)))
        .await?;
    unit.execute::<User>(
        &text,
        UserCommand::VerifyEmail {
            original,
            at: store.now(),
        },
    )
    .await?;
    unit.execute::<User>(&text, UserCommand::UpdateProfile(Box::new(change)))
        .await?;
    unit.append().await?;
    Ok(())
}

async fn fill(store: &Store, events: usize) -> Result<()> {
    let accounts = events / EVENTS_OF_ACCOUNT;
    let numbers: Vec<usize> = (0..accounts).collect();
    for chunk in numbers.chunks(256) {
        let tasks: Vec<_> = chunk
            .iter()
            .map(|number| tokio::spawn(live(store.clone(), *number)))
            .collect();
        for task in tasks {
            task.await??;
        }
    }
    Ok(())
}

/// `a = excluded.a, …` for all but the key.
fn assignments(names: &[String]) -> String {
    let others = names.iter().filter(|name| *name != "id");
    others
        .map(|name| format!("{name} = excluded.{name}"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The rows as the JSON that the rebuild's statement takes, 2,000 at a time, and that statement.
async fn bulk_postgres(place: &Place, events: u64) -> Result<f64> {
    let mut connection = place.connect().await?;
    let rows = sqlx::query("SELECT row_to_json(users)::text AS line FROM users")
        .fetch_all(&mut connection)
        .await?;
    let lines: Vec<String> = rows.iter().map(|row| row.try_get("line")).collect::<Result<_, _>>()?;
    for sql in [
        "DROP TABLE IF EXISTS peer_users",
        "CREATE UNLOGGED TABLE peer_users (LIKE users INCLUDING DEFAULTS INCLUDING CONSTRAINTS)",
        "CREATE UNIQUE INDEX ON peer_users (id)",
    ] {
        sqlx::query(sql).execute(&mut connection).await?;
    }
    let names = "SELECT column_name AS name FROM information_schema.columns WHERE table_name = 'users'";
    let names = sqlx::query(names).fetch_all(&mut connection).await?;
    let names: Vec<String> = names.iter().map(|row| row.try_get("name")).collect::<Result<_, _>>()?;
    let columns = names.join(", ");
    let sql = format!(
        "INSERT INTO peer_users ({columns}) SELECT {columns} FROM json_populate_recordset(NULL::users, $1::json)
         ON CONFLICT (id) DO UPDATE SET {}",
        assignments(&names)
    );
    let started = Instant::now();
    for chunk in lines.chunks(2_000) {
        sqlx::query(&sql)
            .bind(format!("[{}]", chunk.join(",")))
            .execute(&mut connection)
            .await?;
    }
    let rate = per_second(events, started.elapsed());
    connection.close().await?;
    Ok(rate)
}

async fn bulk_sqlite(place: &Place, events: u64) -> Result<f64> {
    let mut connection = place.connect_file("registry.db").await?;
    let names = sqlx::query("SELECT name FROM pragma_table_info('users')")
        .fetch_all(&mut connection)
        .await?;
    let names: Vec<String> = names.iter().map(|row| row.try_get("name")).collect::<Result<_, _>>()?;
    let members: Vec<String> = names.iter().map(|column| format!("'{column}', {column}")).collect();
    let rows = sqlx::query(&format!(
        "SELECT json_object({}) AS line FROM users",
        members.join(", ")
    ))
    .fetch_all(&mut connection)
    .await?;
    let lines: Vec<String> = rows.iter().map(|row| row.try_get("line")).collect::<Result<_, _>>()?;
    for sql in [
        "DROP TABLE IF EXISTS peer_users",
        "CREATE TABLE peer_users AS SELECT * FROM users WHERE false",
        "CREATE UNIQUE INDEX peer_users_key ON peer_users (id)",
    ] {
        sqlx::query(sql).execute(&mut connection).await?;
    }
    let values: Vec<String> = names.iter().map(|column| format!("value ->> '$.{column}'")).collect();
    let sql = format!(
        "INSERT INTO peer_users ({}) SELECT {} FROM json_each(?1) WHERE true ON CONFLICT (id) DO UPDATE SET {}",
        names.join(", "),
        values.join(", "),
        assignments(&names)
    );
    let started = Instant::now();
    for chunk in lines.chunks(2_000) {
        sqlx::query(&sql)
            .bind(format!("[{}]", chunk.join(",")))
            .execute(&mut connection)
            .await?;
    }
    let rate = per_second(events, started.elapsed());
    sqlx::query("DROP TABLE peer_users").execute(&mut connection).await?;
    connection.close().await?;
    Ok(rate)
}

/// Both engines.
pub async fn run(scale: Scale, rebuild: bool, start: bool, report: &mut Report) -> Result<()> {
    for place in [Place::postgres().await?, Place::sqlite().await?] {
        let engine = if place.url()?.is_some() { "PostgreSQL" } else { "SQLite" };
        let started = Instant::now();
        fill(&place.store, scale.events).await?;
        let head = place.store.head().await?.position;
        println!(
            "rebuild on {engine}: {head} events, appended in {:.1} s",
            started.elapsed().as_secs_f64()
        );
        let events = u64::try_from(head).context("the log ends before its beginning")?;
        if rebuild {
            let (mut rates, mut whole, mut bulk) = (vec![], vec![], vec![]);
            for _ in 0..scale.rounds {
                let begun = Instant::now();
                let found = place.store.rebuild(false).await?;
                whole.push(per_second(events, begun.elapsed()));
                ensure!(
                    found.different == 0,
                    "the rebuild differs: {:?}",
                    found.differences.first()
                );
                rates.push(found.rate());
                bulk.push(if engine == "SQLite" {
                    bulk_sqlite(&place, events).await?
                } else {
                    bulk_postgres(&place, events).await?
                });
            }
            let peer = ("bulk upsert of the same rows alone", bulk.as_slice());
            report.pairs(
                &format!("rebuild, {engine}"),
                "events/s",
                &rates,
                peer,
                Limit::Least(100_000.0),
            );
            report.pairs(
                &format!("rebuild and compare, {engine}"),
                "events/s",
                &whole,
                peer,
                Limit::None,
            );
        }
        if start {
            start::run(&place, engine, scale, report)?;
        }
        place.remove().await?;
    }
    Ok(())
}
