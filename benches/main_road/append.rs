//! Appending through the whole command path: unit, framework, decision, sealing, batch, folds, commit.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aggregates::user::{ProfileChange, Register, User, UserCommand};
use aggregates::values::{Dialect, Email, FullName, Standing};
use anyhow::{Context as _, Result};
use sqlx::Connection as _;
use sqlx::postgres::PgPoolOptions;
use user_registry::store::{Actor, Context, EventRecord, Store, StoreError};
use uuid::Uuid;

use crate::Scale;
use crate::load::calls_per_second;
use crate::peers;
use crate::place::Place;
use crate::report::{Limit, Report};
use crate::stock;

const CALLERS: [usize; 3] = [1, 32, 256];
/// Accounts per caller: enough that streams stay short, as those of people are.
const ACCOUNTS: usize = 8;
/// Connections of the peers: as many as `pgbench -c 32` has.
const CONNECTIONS: usize = 32;

/// Where a request of a person comes from.
pub fn request(store: &Store, user: Uuid) -> Context {
    Context {
        actor: Actor::Own,
        actor_id: Some(user),
        origin_owner: None,
        dialect: Dialect::Canonical,
        request_id: store.chance().uuid_v7(store.now()).to_string(),
        trace: None,
        ip: Some("203.0.113.77".to_owned()),
        user_agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0".to_owned()),
    }
}

/// A new account.
pub fn registration(store: &Store, id: Uuid) -> Result<Register> {
    Ok(Register {
        dialect: Dialect::Canonical,
        username: None,
        email: Some(Email::parse(&format!("{}@farm.example", id.simple()))?),
        phone: None,
        device: None,
        full_name: Some(FullName::parse("Ada Lovelace")?),
        discoverable: false,
        position: None,
        country: None,
        geo_id: None,
        boundary: None,
        locale: None,
        password: true,
        standing: Standing::Allowed,
        verified: true,
        unverified_life: None,
        email_request: None,
        phone_request: None,
        at: store.now(),
    })
}

async fn register(store: Store) -> Result<Uuid> {
    let id = store.chance().uuid_v7(store.now());
    let unit = store.unit(request(&store, id));
    unit.is_fresh::<User>(&id.to_string());
    unit.execute::<User>(
        &id.to_string(),
        UserCommand::Register(Box::new(registration(&store, id)?)),
    )
    .await?;
    unit.append().await?;
    Ok(id)
}

async fn accounts(store: &Store, count: usize) -> Result<Arc<Vec<Uuid>>> {
    let mut ids = Vec::with_capacity(count);
    for _ in 0..count.div_ceil(256) {
        let tasks: Vec<_> = (0..256).map(|_| tokio::spawn(register(store.clone()))).collect();
        for task in tasks {
            ids.push(task.await??);
        }
    }
    Ok(Arc::new(ids))
}

/// One command of one caller: another name.
pub async fn rename(store: &Store, id: Uuid, name: &str) -> Result<()> {
    let unit = store.unit(request(store, id));
    let change = ProfileChange {
        full_name: Some(Some(FullName::parse(name)?)),
        ..ProfileChange::default()
    };
    unit.execute::<User>(&id.to_string(), UserCommand::UpdateProfile(Box::new(change)))
        .await?;
    unit.append().await?;
    Ok(())
}

/// Commands per second of so many callers, each with accounts of its own.
async fn ours(store: &Store, ids: &Arc<Vec<Uuid>>, callers: usize, seconds: f64, turn: usize) -> Result<f64> {
    let (store, ids) = (store.clone(), Arc::clone(ids));
    calls_per_second(callers, seconds, move |caller, number| {
        let (store, ids) = (store.clone(), Arc::clone(&ids));
        async move {
            let id = ids
                .get(caller * ACCOUNTS + number % ACCOUNTS)
                .context("too few accounts")?;
            let answer = rename(&store, *id, &format!("Ada Lovelace {turn} {caller} {number}")).await;
            match answer
                .as_ref()
                .err()
                .and_then(|problem| problem.downcast_ref::<StoreError>())
            {
                // A machine that gives no processor for seconds: nothing was done, nothing is counted.
                Some(StoreError::Unavailable(why)) => {
                    eprintln!("  not counted: {why}");
                    Ok(false)
                }
                _ => answer.map(|()| true),
            }
        }
    })
    .await
}

/// The last event: what the peers' rows are like.
async fn last_event(store: &Store) -> Result<EventRecord> {
    let head = store.head().await?.position;
    store.events_after(head - 1, 1).await?.pop().context("an empty log")
}

/// Commands per second of the stock store.
async fn stock(place: &Place, callers: usize, seconds: f64, like: &EventRecord, turn: usize) -> Result<f64> {
    let url = place.url()?.context("not on PostgreSQL")?;
    let size = u32::try_from(CONNECTIONS.min(callers))?;
    let pool = PgPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(Duration::from_secs(30))
        .connect(&url)
        .await?;
    let framework = Arc::new(stock::framework(pool.clone()));
    let (text, metadata): (String, HashMap<String, String>) = stock::sized(like.payload.len(), like.metadata.len());
    let rate = calls_per_second(callers, seconds, {
        let framework = Arc::clone(&framework);
        move |caller, number| {
            let (framework, text, metadata) = (Arc::clone(&framework), text.clone(), metadata.clone());
            async move {
                let id = format!(
                    "0197a000-0000-7000-{turn:04}-{:012}",
                    caller * ACCOUNTS + number % ACCOUNTS
                );
                framework.execute_with_metadata(&id, text, metadata).await?;
                Ok(true)
            }
        }
    })
    .await?;
    pool.close().await;
    Ok(rate)
}

/// PostgreSQL, beside `pgbench`, its likeness and stock postgres-es.
pub async fn postgres(scale: Scale, report: &mut Report) -> Result<()> {
    let place = Place::postgres().await?;
    let ids = accounts(&place.store, CALLERS.into_iter().max().unwrap_or_default() * ACCOUNTS).await?;
    if let Some(id) = ids.first() {
        rename(&place.store, *id, "Ada Lovelace the First").await?;
    }
    let like = last_event(&place.store).await?;
    println!(
        "append on PostgreSQL: rows of {} + {} bytes",
        like.payload.len(),
        like.metadata.len()
    );
    let mut connection = place.connect().await?;
    peers::make_table(&mut connection).await?;
    sqlx::query("CREATE SEQUENCE peer_stream")
        .execute(&mut connection)
        .await?;
    sqlx::query(stock::TABLE).execute(&mut connection).await?;
    connection.close().await?;
    peers::write_script(place.folder.path(), &like)?;
    let pgbench = peers::has_pgbench();
    let mut turn = 0;
    for callers in CALLERS {
        let connections = CONNECTIONS.min(callers);
        let (mut figures, mut rows, mut bench, mut library) = (vec![], vec![], vec![], vec![]);
        for _ in 0..scale.rounds {
            turn += 1;
            figures.push(ours(&place.store, &ids, callers, scale.seconds, turn).await?);
            rows.push(peers::rows_per_second(&place, connections, scale.seconds, &like).await?);
            library.push(stock(&place, callers, scale.seconds, &like, turn).await?);
            if pgbench {
                bench.push(peers::pgbench(&place, connections, scale.seconds)?);
            }
        }
        let what = format!("append, PostgreSQL, {callers} callers");
        let (row_limit, library_limit) = match callers {
            32 => (Limit::Times(1.0), Limit::Times(2.5)),
            256 => (Limit::Times(2.0), Limit::Times(5.0)),
            _ => (Limit::None, Limit::None),
        };
        if pgbench {
            let peer = format!("pgbench -c {connections}, one row each");
            report.pairs(&what, "/s", &figures, (&peer, &bench), row_limit);
        }
        let peer = format!("{connections} sqlx connections, one row each");
        report.pairs(&what, "/s", &figures, (&peer, &rows), row_limit);
        report.pairs(&what, "/s", &figures, ("stock postgres-es", &library), library_limit);
    }
    place.remove().await
}

/// SQLite, beside one row per commit.
pub async fn sqlite(scale: Scale, report: &mut Report) -> Result<()> {
    let place = Place::sqlite().await?;
    let ids = accounts(&place.store, CALLERS.into_iter().max().unwrap_or_default() * ACCOUNTS).await?;
    let like = last_event(&place.store).await?;
    peers::make_file(&place).await?;
    let mut turn = 0;
    for callers in CALLERS {
        let (mut figures, mut rows) = (vec![], vec![]);
        for _ in 0..scale.rounds {
            turn += 1;
            figures.push(ours(&place.store, &ids, callers, scale.seconds, turn).await?);
            rows.push(peers::sqlite_rows_per_second(&place, scale.seconds, &like).await?);
        }
        let limit = if callers == 256 { Limit::Times(2.0) } else { Limit::None };
        let what = format!("append, SQLite, {callers} callers");
        report.pairs(&what, "/s", &figures, ("one row per commit", &rows), limit);
    }
    place.remove().await
}
