//! What clients do, 64 at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use tokio::sync::Mutex;
use user_registry::config::Passwords;

use crate::Scale;
use crate::client::{Answer, Connection};
use crate::load::calls_per_second;
use crate::peer;
use crate::place::Place;
use crate::raw::raw;
use crate::report::{Limit, Report};
use crate::service::{self, PASSWORD, Process};

/// Connections of every scene.
const CONNECTIONS: usize = 64;
/// Readers beside a storm of sign-ins, and how often each reads.
const READERS: usize = 4;
const EVERY: Duration = Duration::from_millis(20);
/// A sign-in that is refused because too many wait comes back after this.
const BUSY: Duration = Duration::from_millis(200);

/// Everybody who takes part: their names, ids and tokens.
struct Cast {
    place: Place,
    service: Process,
    peer: Process,
    admin: String,
    people: Vec<Person>,
}

#[derive(Clone)]
struct Person {
    name: String,
    id: String,
    token: String,
}

/// Connections by number, each used by one caller only.
#[derive(Clone)]
struct Lines(Arc<Vec<Mutex<Connection>>>);

impl Lines {
    async fn open(address: &str, count: usize) -> Result<Self> {
        let mut lines = Vec::with_capacity(count);
        for _ in 0..count {
            lines.push(Mutex::new(Connection::open(address).await?));
        }
        Ok(Self(Arc::new(lines)))
    }
}

impl Cast {
    async fn new(engine: &str) -> Result<Self> {
        let place = if engine == "postgres" {
            Place::postgres().await?
        } else {
            Place::sqlite().await?
        };
        let service = tokio::task::block_in_place(|| Process::service(&place))?;
        let admin = service::administrator(&place, &service).await?;
        let mut people = Vec::with_capacity(CONNECTIONS);
        let mut connection = Connection::open(&service.address).await?;
        for number in 0..CONNECTIONS {
            let name = format!("person{number}");
            let id = service::register(&mut connection, &name).await?;
            let token = service::sign_in(&mut connection, &name).await?;
            people.push(Person { name, id, token });
        }
        let peer = tokio::task::block_in_place(|| peer::start(&place))?;
        Ok(Self {
            place,
            service,
            peer,
            admin,
            people,
        })
    }

    /// Requests per second of the bare handler.
    async fn bare(&self, seconds: f64) -> Result<f64> {
        let lines = Lines::open(&self.peer.address, CONNECTIONS).await?;
        let people = Arc::new(self.people.clone());
        calls_per_second(CONNECTIONS, seconds, move |caller, _| {
            let (lines, people) = (lines.clone(), Arc::clone(&people));
            async move {
                let mut line = lines.0[caller].lock().await;
                line.get(&format!("/row/{}", people[caller].id), None)
                    .await?
                    .expect(200)?;
                Ok(true)
            }
        })
        .await
    }

    async fn me(&self, seconds: f64) -> Result<f64> {
        let lines = Lines::open(&self.service.address, CONNECTIONS).await?;
        let people = Arc::new(self.people.clone());
        calls_per_second(CONNECTIONS, seconds, move |caller, _| {
            let (lines, people) = (lines.clone(), Arc::clone(&people));
            async move {
                let mut line = lines.0[caller].lock().await;
                line.get("/v1/me", Some(&people[caller].token)).await?.expect(200)?;
                Ok(true)
            }
        })
        .await
    }

    async fn update(&self, seconds: f64) -> Result<f64> {
        let lines = Lines::open(&self.service.address, CONNECTIONS).await?;
        let people = Arc::new(self.people.clone());
        let round = next();
        calls_per_second(CONNECTIONS, seconds, move |caller, number| {
            let (lines, people) = (lines.clone(), Arc::clone(&people));
            async move {
                let body = json!({ "full_name": format!("Ada Lovelace {round} {number}") });
                let mut line = lines.0[caller].lock().await;
                let token = Some(people[caller].token.as_str());
                line.command("update-profile", token, &body).await?.expect(200)?;
                Ok(true)
            }
        })
        .await
    }

    async fn register(&self, seconds: f64) -> Result<f64> {
        let lines = Lines::open(&self.service.address, CONNECTIONS).await?;
        let round = next();
        calls_per_second(CONNECTIONS, seconds, move |caller, number| {
            let lines = lines.clone();
            async move {
                let name = format!("new{round}x{caller}x{number}");
                let body = json!({ "username": name, "password": PASSWORD });
                let mut line = lines.0[caller].lock().await;
                counted(line.command("register-user", None, &body).await?, 201).await
            }
        })
        .await
    }

    async fn sign_in(&self, seconds: f64) -> Result<f64> {
        let lines = Lines::open(&self.service.address, CONNECTIONS).await?;
        let people = Arc::new(self.people.clone());
        calls_per_second(CONNECTIONS, seconds, move |caller, _| {
            let (lines, people) = (lines.clone(), Arc::clone(&people));
            async move {
                let body = json!({ "identifier": people[caller].name, "password": PASSWORD });
                let mut line = lines.0[caller].lock().await;
                counted(line.post("/v1/sessions", None, &body).await?, 201).await
            }
        })
        .await
    }

    /// Whole lives per second: made, read at once, changed, locked, erased. One password hash each.
    async fn cycle(&self, seconds: f64) -> Result<f64> {
        let lines = Lines::open(&self.service.address, CONNECTIONS).await?;
        let (admin, round) = (self.admin.clone(), next());
        calls_per_second(CONNECTIONS, seconds, move |caller, number| {
            let (lines, admin) = (lines.clone(), admin.clone());
            async move {
                let mut line = lines.0[caller].lock().await;
                let name = format!("brief{round}x{caller}x{number}");
                let body = json!({ "username": name, "password": PASSWORD });
                let made = line.command("register-user", None, &body).await?;
                let id = made.json().unwrap_or_default()["id"].as_str().map(str::to_owned);
                if !counted(made, 201).await? {
                    return Ok(false);
                }
                let id = id.context("a registration without an id")?;
                let admin = Some(admin.as_str());
                let seen = line.get(&format!("/v1/users/{id}"), admin).await?.expect(200)?.json()?;
                if seen["username"] != name.as_str() {
                    bail!("a read after its write does not see it: {seen}");
                }
                let change = json!({ "user_id": id, "full_name": "Ada Lovelace" });
                line.command("update-profile", admin, &change).await?.expect(200)?;
                let whom = json!({ "user_id": id, "reason": "measured" });
                line.command("lock-user", admin, &whom).await?.expect(200)?;
                line.command("erase-user", admin, &whom).await?.expect(200)?;
                Ok(true)
            }
        })
        .await
    }

    /// The 99th percentile of reads, in milliseconds, while 64 connections sign in without a pause.
    async fn reads_in_a_storm(&self, seconds: f64) -> Result<f64> {
        let (slow, storm) = tokio::join!(self.paced_reads(seconds), self.sign_in(seconds));
        storm?;
        let mut slow = slow?;
        slow.sort_by(f64::total_cmp);
        slow.get(slow.len() * 99 / 100).copied().context("nobody read")
    }

    async fn paced_reads(&self, seconds: f64) -> Result<Vec<f64>> {
        let lines = Lines::open(&self.service.address, READERS).await?;
        let took = Arc::new(Mutex::new(Vec::new()));
        let (people, kept) = (Arc::new(self.people.clone()), Arc::clone(&took));
        calls_per_second(READERS, seconds, move |caller, _| {
            let (lines, people, kept) = (lines.clone(), Arc::clone(&people), Arc::clone(&kept));
            async move {
                tokio::time::sleep(EVERY).await;
                let mut line = lines.0[caller].lock().await;
                let started = Instant::now();
                line.get("/v1/me", Some(&people[caller].token)).await?.expect(200)?;
                kept.lock().await.push(started.elapsed().as_secs_f64() * 1e3);
                Ok(true)
            }
        })
        .await?;
        Ok(std::mem::take(&mut *took.lock().await))
    }
}

/// Whether it counts. Who is refused because too many wait comes back a little later, as clients are told to.
async fn counted(answer: Answer, status: u16) -> Result<bool> {
    if answer.status == 503 {
        tokio::time::sleep(BUSY).await;
        return Ok(false);
    }
    answer.expect(status)?;
    Ok(true)
}

/// A number no other round has.
fn next() -> usize {
    static ROUND: AtomicUsize = AtomicUsize::new(0);
    ROUND.fetch_add(1, Ordering::Relaxed)
}

async fn hashing(seconds: f64) -> Result<f64> {
    let config = Passwords::default();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    tokio::task::spawn_blocking(move || raw(threads, seconds, &config)).await?
}

pub async fn run(engine: &str, wants: &[&str], scale: Scale, report: &mut Report) -> Result<()> {
    if !wants.iter().any(|scene| !["size", "timing"].contains(scene)) {
        return Ok(());
    }
    let cast = Cast::new(engine).await?;
    let (rounds, seconds) = (scale.rounds, scale.seconds);
    if wants.contains(&"reads") {
        let (mut me, mut update, mut bare) = (vec![], vec![], vec![]);
        for _ in 0..rounds {
            bare.push(cast.bare(seconds).await?);
            me.push(cast.me(seconds).await?);
            update.push(cast.update(seconds).await?);
        }
        let peer = ("bare axum, one indexed select", bare.as_slice());
        report.pairs(&format!("GET /v1/me, {engine}"), "/s", &me, peer, Limit::Times(0.7));
        report.pairs(
            &format!("update-profile, {engine}"),
            "/s",
            &update,
            peer,
            Limit::Times(0.35),
        );
    }
    if wants.contains(&"passwords") {
        let (mut registered, mut signed_in, mut plain) = (vec![], vec![], vec![]);
        for _ in 0..rounds {
            plain.push(hashing(seconds).await?);
            registered.push(cast.register(seconds).await?);
            signed_in.push(cast.sign_in(seconds).await?);
        }
        let peer = ("raw argon2id, a thread per core", plain.as_slice());
        report.pairs(
            &format!("register, {engine}"),
            "/s",
            &registered,
            peer,
            Limit::Times(0.9),
        );
        report.pairs(&format!("sign in, {engine}"), "/s", &signed_in, peer, Limit::Times(0.9));
    }
    if wants.contains(&"cycle") {
        let (mut cycles, mut plain) = (vec![], vec![]);
        for _ in 0..rounds {
            plain.push(hashing(seconds).await?);
            cycles.push(cast.cycle(seconds).await?);
        }
        let peer = ("raw argon2id, a thread per core", plain.as_slice());
        report.pairs(&format!("a user's life, {engine}"), "/s", &cycles, peer, Limit::None);
    }
    if wants.contains(&"storm") {
        let mut slow = vec![];
        for _ in 0..rounds {
            slow.push(cast.reads_in_a_storm(seconds).await?);
        }
        report.alone(
            &format!("p99 of reads in a storm, {engine}"),
            "ms",
            &slow,
            Limit::Most(25.0),
        );
    }
    let Cast {
        place, service, peer, ..
    } = cast;
    drop((service, peer));
    place.remove().await
}
