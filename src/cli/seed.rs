//! `dev seed`: people who never were.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Result, ensure};

use super::flags::SeedFlags;
use super::open::Opened;
use super::say;
use crate::config::Config;
use crate::registry::Seed;

pub(super) async fn run(config: Config, flags: SeedFlags) -> Result<ExitCode> {
    let opened = Opened::new(&config).await?;
    opened
        .during(async |store| {
            let position = store.head().await?.position;
            ensure!(
                position == 0 || flags.force,
                "this store is not empty: its log ends at position {position}; with --force people are added to it, and \
                 an earlier `dev seed` that was ended is gone on with"
            );
            let started = Instant::now();
            let step = (flags.users / 20).max(1);
            let told = AtomicU64::new(0);
            let seed = Seed {
                users: flags.users,
                domains: flags.domains.unwrap_or_else(|| (flags.users / 100).max(1)),
            };
            let seeded = seed
                .run(store, |done| {
                    let percent = done / step;
                    if told.fetch_max(percent, Ordering::Relaxed) < percent {
                        say(&format!(
                            "{done} of {} people, {:.0} s",
                            flags.users,
                            started.elapsed().as_secs_f64()
                        ));
                    }
                })
                .await?;
            say(&format!(
                "made {} people, found {} who were there, in {:.1} s; the log ends at position {}",
                seeded.made,
                seeded.found,
                started.elapsed().as_secs_f64(),
                store.head().await?.position
            ));
            Ok(ExitCode::SUCCESS)
        })
        .await
}
