//! How long a store takes to open, and what the process weighs when nothing happens. Each in a process of its own.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use user_registry::chance::Chance;
use user_registry::clock::Clock;
use user_registry::store::Store;

use crate::Scale;
use crate::place::{self, Place};
use crate::report::{Limit, Report};

/// The first argument of such a process.
pub const CHILD: &str = "open-and-wait";
/// Its last argument when there is no database URL.
const FOLDER_ONLY: &str = "none";

/// Opens a store, says how long it took, waits, says how much memory it keeps.
pub fn child(folder: &str, url: &str) -> Result<()> {
    let run_time = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    run_time.block_on(async {
        let options = place::options(Path::new(folder), (url != FOLDER_ONLY).then_some(url));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let started = Instant::now();
        let store = Store::open(&options, Clock::system(), Chance::system(), &tasks, &stop).await?;
        let opened = started.elapsed();
        tokio::time::sleep(Duration::from_millis(300)).await;
        println!("{} {}", opened.as_secs_f64() * 1e3, resident_mb().unwrap_or_default());
        stop.cancel();
        store.close().await;
        Ok(())
    })
}

fn resident_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace()
        .next()?
        .parse::<f64>()
        .ok()
        .map(|kib| kib / 1024.0)
}

/// Opens the store of a place again and again.
pub fn run(place: &Place, engine: &str, scale: Scale, report: &mut Report) -> Result<()> {
    let url = place.url()?.unwrap_or_else(|| FOLDER_ONLY.to_owned());
    let (mut opened, mut resident) = (vec![], vec![]);
    for _ in 0..scale.rounds {
        let mut command = std::process::Command::new(std::env::current_exe()?);
        command.arg(CHILD).arg(place.folder.path()).arg(&url);
        let output = tokio::task::block_in_place(|| command.output())?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout);
        let mut numbers = text.split_whitespace().map(str::parse::<f64>);
        opened.push(numbers.next().context("no time")??);
        resident.push(numbers.next().context("no memory")??);
    }
    report.alone(&format!("open the store, {engine}"), "ms", &opened, Limit::Most(150.0));
    report.alone(
        &format!("idle memory, store only, {engine}"),
        "MB",
        &resident,
        Limit::Most(40.0),
    );
    Ok(())
}
