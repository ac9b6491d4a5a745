//! `migrate`: what every start does, without serving, for those who want it to happen first and once.

use std::process::ExitCode;

use anyhow::Result;

use super::open::Opened;
use super::say;
use crate::config::Config;

pub(super) async fn run(config: Config) -> Result<ExitCode> {
    let opened = Opened::new(&config).await?;
    opened
        .during(async |store| {
            let head = store.head().await?;
            say(&format!(
                "engine {}, head position {}",
                store.engine_name(),
                head.position
            ));
            Ok(ExitCode::SUCCESS)
        })
        .await
}
