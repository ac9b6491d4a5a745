//! How fast the service is for its clients: the real program in a process of its own, real HTTP, 64 connections.
//!
//! ```text
//! cargo bench --bench over_http                       both engines
//! cargo bench --bench over_http -- sqlite reads       some of: sqlite postgres · reads passwords cycle storm size timing addresses feed
//! ```
//!
//! Every figure stands beside a peer that was measured in the same run, in turns with it: a bare axum handler that does
//! one indexed select on the same database, also in a process of its own, or argon2id on plain threads. The client, the
//! service and PostgreSQL share the machine. Needs PostgreSQL as `main_road` does. `OVER_HTTP_ROUNDS`,
//! `OVER_HTTP_SECONDS` and `OVER_HTTP_USERS` change how long and how large.
//!
//! A figure below its limit is no failure of this program: only what cannot be measured is.

mod client;
mod feed;
#[path = "../main_road/load.rs"]
mod load;
mod peer;
#[expect(dead_code, reason = "the other bench uses all of it")]
#[path = "../main_road/place.rs"]
mod place;
#[path = "../main_road/raw.rs"]
mod raw;
#[expect(dead_code, reason = "the other bench uses all of it")]
#[path = "../main_road/report.rs"]
mod report;
mod scenes;
mod service;
mod size;
mod timing;

use anyhow::Result;
use report::Report;

/// How long and how large.
#[derive(Debug, Clone, Copy)]
struct Scale {
    rounds: usize,
    seconds: f64,
    users: usize,
}

fn variable<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let run_time = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if let [command, database] = arguments.as_slice()
        && command == peer::CHILD
    {
        return run_time.block_on(peer::child(database));
    }
    let chosen = |words: &[&'static str]| -> Vec<&'static str> {
        let said = |word: &&str| arguments.iter().any(|argument| argument == word);
        let chosen: Vec<_> = words.iter().copied().filter(said).collect();
        if chosen.is_empty() { words.to_vec() } else { chosen }
    };
    let engines = chosen(&["sqlite", "postgres"]);
    let scenes = chosen(&[
        "reads",
        "passwords",
        "cycle",
        "storm",
        "size",
        "timing",
        "addresses",
        "feed",
    ]);
    let scale = Scale {
        rounds: variable("OVER_HTTP_ROUNDS", 3),
        seconds: variable("OVER_HTTP_SECONDS", 3.0),
        users: variable("OVER_HTTP_USERS", 100_000),
    };
    println!("{}\n{scale:?}\n", place::machine());
    let mut report = Report::default();
    for name in engines {
        run_time.block_on(scenes::run(name, &scenes, scale, &mut report))?;
        if scenes.contains(&"size") {
            run_time.block_on(size::run(name, scale, &mut report))?;
        }
        if scenes.contains(&"feed") {
            run_time.block_on(feed::run(name, scale, &mut report))?;
        }
        if scenes.contains(&"timing") {
            run_time.block_on(timing::sign_ins(name, &mut report))?;
        }
        if scenes.contains(&"addresses") {
            run_time.block_on(timing::addresses(name, &mut report))?;
        }
    }
    println!("\n{report}");
    println!("{}", place::load());
    Ok(())
}
