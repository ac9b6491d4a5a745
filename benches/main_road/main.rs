//! How fast the main road is, beside its limits: one command, one run, one table.
//!
//! ```text
//! cargo bench --bench main_road                      everything
//! cargo bench --bench main_road -- append rebuild    some sections of: append hashing rebuild start reads
//! ```
//!
//! Every figure stands beside a peer that was measured in the same run, in turns with it, so that what else the
//! machine does hits both; ratios are medians over the rounds. Needs PostgreSQL (`TEST_DATABASE_URL`, or a server
//! at 127.0.0.1:5432 that lets `postgres` in); its own databases are made and dropped. `pgbench` is used where it
//! is installed. `reads` seeds a store on each engine with `MAIN_ROAD_USERS` people, or takes those that `dev seed`
//! filled: `MAIN_ROAD_SEEDED=folder` or `folder=postgres://…`, separated by commas. `MAIN_ROAD_ROUNDS`, `MAIN_ROAD_SECONDS` and `MAIN_ROAD_EVENTS` change how long and how large.
//!
//! A figure below its limit is no failure of this program: only what cannot be measured is.

mod append;
mod hashing;
mod load;
mod peers;
mod place;
mod raw;
mod reads;
mod rebuild;
mod report;
mod start;
mod stock;

use anyhow::Result;
use report::Report;

/// How long and how large.
#[derive(Debug, Clone, Copy)]
struct Scale {
    rounds: usize,
    seconds: f64,
    events: usize,
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
    if let [command, folder, url] = arguments.as_slice()
        && command == start::CHILD
    {
        return start::child(folder, url);
    }
    let wants = |section: &str| arguments.is_empty() || arguments.iter().any(|argument| argument == section);
    let scale = Scale {
        rounds: variable("MAIN_ROAD_ROUNDS", 5),
        seconds: variable("MAIN_ROAD_SECONDS", 1.0),
        events: variable("MAIN_ROAD_EVENTS", 50_000),
    };
    println!("{}\n{scale:?}\n", place::machine());
    let run_time = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut report = Report::default();
    if wants("append") {
        run_time.block_on(append::postgres(scale, &mut report))?;
        run_time.block_on(append::sqlite(scale, &mut report))?;
    }
    if wants("hashing") {
        run_time.block_on(hashing::run(scale, &mut report))?;
    }
    if wants("rebuild") || wants("start") {
        run_time.block_on(rebuild::run(scale, wants("rebuild"), wants("start"), &mut report))?;
    }
    if wants("reads") {
        run_time.block_on(reads::run(
            variable("MAIN_ROAD_USERS", 100_000),
            &variable("MAIN_ROAD_SEEDED", String::new()),
            &mut report,
        ))?;
    }
    println!("\n{report}");
    println!("{}", place::load());
    Ok(())
}
