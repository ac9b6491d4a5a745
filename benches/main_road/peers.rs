//! Committing one row at a time: by 32 connections of our own, by `pgbench`, and on SQLite.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Row as _};
use tokio::sync::Mutex;
use user_registry::chance::Chance;
use user_registry::clock::Clock;
use user_registry::store::EventRecord;

use crate::load::{calls_per_second, per_second};
use crate::place::Place;

/// A table with the columns and indexes of ours. `position` comes from a sequence: no peer has a log position.
pub async fn make_table(connection: &mut PgConnection) -> Result<()> {
    for sql in [
        "CREATE TABLE peer_events (LIKE events INCLUDING ALL)",
        "CREATE SEQUENCE peer_position",
        "ALTER TABLE peer_events ALTER position SET DEFAULT nextval('peer_position')",
    ] {
        sqlx::query(sql).execute(&mut *connection).await?;
    }
    Ok(())
}

const INSERT: &str = "
    INSERT INTO peer_events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata,
                             event_id, subject, recorded_at, leaf_hash)
    VALUES ('user', $1, $2, $3, '1.0', $4::json, $5::json, $6, $1, $7, $8)";

/// Rows per second that so many connections commit, one row per transaction.
pub async fn rows_per_second(place: &Place, connections: usize, seconds: f64, like: &EventRecord) -> Result<f64> {
    let mut pool = Vec::with_capacity(connections);
    for _ in 0..connections {
        pool.push((
            Mutex::new(place.connect().await?),
            place.store.chance().uuid_v7(place.store.now()).to_string(),
        ));
    }
    let (pool, like, chance, clock) = (
        Arc::new(pool),
        Arc::new(like.clone()),
        Chance::system(),
        Clock::system(),
    );
    let rate = calls_per_second(connections, seconds, {
        let pool = Arc::clone(&pool);
        move |caller, number| {
            let (pool, like, chance, clock) = (Arc::clone(&pool), Arc::clone(&like), chance.clone(), clock.clone());
            async move {
                let (connection, stream) = pool.get(caller).context("a caller without a connection")?;
                sqlx::query(INSERT)
                    .bind(stream)
                    .bind(i64::try_from(number)? + 1)
                    .bind(&like.event_type)
                    .bind(&like.payload)
                    .bind(&like.metadata)
                    .bind(chance.uuid_v7(clock.now()).to_string())
                    .bind(clock.now().as_micros())
                    .bind([7_u8; 32].as_slice())
                    .execute(&mut *connection.lock().await)
                    .await?;
                Ok(true)
            }
        }
    })
    .await?;
    for (connection, _) in Arc::into_inner(pool).unwrap_or_default() {
        connection.into_inner().close().await?;
    }
    Ok(rate)
}

/// The same insert as a script of `pgbench`. Ids are ordered, as ours are.
pub fn write_script(folder: &Path, like: &EventRecord) -> Result<()> {
    let quoted = |text: &str| text.replace('\'', "''");
    let id = "lpad(to_hex(nextval('peer_stream')), 36, '0')";
    let script = format!(
        "INSERT INTO peer_events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata,
             event_id, subject, recorded_at, leaf_hash)
         SELECT 'user', id, 1, '{}', '1.0', '{}'::json, '{}'::json, id, id, 1, decode(repeat('07', 32), 'hex')
         FROM (SELECT {id} AS id) AS new;\n",
        like.event_type,
        // A colon before a name would be read as one of pgbench's variables.
        quoted(&like.payload),
        quoted(&like.metadata),
    );
    std::fs::write(folder.join("insert.sql"), script)?;
    Ok(())
}

/// Whether `pgbench` is installed.
pub fn has_pgbench() -> bool {
    std::process::Command::new("pgbench")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Transactions per second as `pgbench` says, without the time its connections took.
pub fn pgbench(place: &Place, clients: usize, seconds: f64) -> Result<f64> {
    let url = place.url()?.context("not on PostgreSQL")?;
    let mut command = std::process::Command::new("pgbench");
    command
        .args(["--no-vacuum", "--protocol=prepared", "--jobs=2"])
        .arg(format!("--client={clients}"))
        .arg(format!("--time={}", seconds.ceil().max(1.0)))
        .arg("--file")
        .arg(place.folder.path().join("insert.sql"))
        .arg(url);
    let output = tokio::task::block_in_place(|| command.output())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let rate = text
        .lines()
        .find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    match rate {
        Some(rate) if output.status.success() => Ok(rate),
        _ => bail!("pgbench: {}", String::from_utf8_lossy(&output.stderr)),
    }
}

const SQLITE_INSERT: &str = "
    INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata,
                        position, event_id, subject, recorded_at, leaf_hash)
    VALUES ('user', ?1, ?2, ?3, '1.0', ?4, ?5, ?2, ?6, ?1, ?7, ?8)";

/// Makes a SQLite file with a table like ours, by the statements our own was made with.
pub async fn make_file(place: &Place) -> Result<()> {
    let mut ours = place.connect_file("registry.db").await?;
    let made =
        sqlx::query("SELECT sql FROM sqlite_master WHERE tbl_name = 'events' AND sql IS NOT NULL ORDER BY type DESC")
            .fetch_all(&mut ours)
            .await?;
    let mut peer = place.connect_file("peer.db").await?;
    let mut statements: Vec<String> = made.iter().map(|row| row.try_get("sql")).collect::<Result<_, _>>()?;
    // The table before its indexes and triggers.
    statements.sort_by_key(|sql| !sql.starts_with("CREATE TABLE"));
    for sql in statements {
        sqlx::query(&sql).execute(&mut peer).await?;
    }
    ours.close().await?;
    Ok(peer.close().await?)
}

/// Rows per second that one SQLite connection commits, one row per transaction.
pub async fn sqlite_rows_per_second(place: &Place, seconds: f64, like: &EventRecord) -> Result<f64> {
    let mut connection = place.connect_file("peer.db").await?;
    let row = sqlx::query("SELECT coalesce(max(position), 0) AS last FROM events")
        .fetch_one(&mut connection)
        .await?;
    let mut last: i64 = row.try_get("last")?;
    let (chance, clock) = (Chance::system(), Clock::system());
    let stream = chance.uuid_v7(clock.now()).to_string();
    let (mut started, mut counted) = (Instant::now(), 0);
    let mut warm = false;
    loop {
        last += 1;
        sqlx::query(SQLITE_INSERT)
            .bind(&stream)
            .bind(last)
            .bind(&like.event_type)
            .bind(&like.payload)
            .bind(&like.metadata)
            .bind(chance.uuid_v7(clock.now()).to_string())
            .bind(clock.now().as_micros())
            .bind([7_u8; 32].as_slice())
            .execute(&mut connection)
            .await?;
        counted += 1;
        if !warm && started.elapsed() > Duration::from_millis(200) {
            (warm, started, counted) = (true, Instant::now(), 0);
        } else if warm && started.elapsed().as_secs_f64() > seconds {
            let rate = per_second(counted, started.elapsed());
            connection.close().await?;
            return Ok(rate);
        }
    }
}
