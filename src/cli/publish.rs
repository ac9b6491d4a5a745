//! `publish`: a range of the log once more, to an exchange of its own.
//!
//! Its checkpoint is kept until it is done, so the same command goes on where an earlier run was ended.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::flags::PublishFlags;
use super::open::Opened;
use super::outlets::Outlets;
use super::{config, say, serve};
use crate::config::Config;
use crate::follow::amqp::{self, Outcome, Progress};
use crate::follow::{FollowOptions, Health};
use crate::store::Store;

/// How often to say how far it is.
const SAY: Duration = Duration::from_secs(1);

pub(super) async fn run(settings: Config, flags: PublishFlags) -> Result<ExitCode> {
    if flags.to < flags.from {
        bail!("--to is before --from");
    }
    let outlets = config::usable(&settings)?;
    let stop = CancellationToken::new();
    serve::stop_on_signals(&stop)?;
    let opened = Opened::new(&settings).await?;
    opened
        .during(async |store| publish(store, &settings, &outlets, &flags, stop).await)
        .await
}

async fn publish(
    store: &Store,
    config: &Config,
    outlets: &Outlets,
    flags: &PublishFlags,
    stop: CancellationToken,
) -> Result<ExitCode> {
    let (from, to) = (flags.from, flags.to);
    let head = store.head().await?.position;
    if to > head {
        bail!("the log ends at position {head}");
    }
    let Some(publisher) = outlets.republisher(config, from, to) else {
        bail!("no broker is named: set AMQP_URL, or --amqp-url");
    };
    let (name, exchange) = (publisher.name.clone(), publisher.exchange.name.clone());
    let begun = store.checkpoint(&name).await?.map(|begun| begun.position);
    if let Some(position) = begun {
        say(&format!("going on after position {position}"));
    }
    let options = FollowOptions {
        lease: Duration::from_secs(config.followers.lease_seconds.into()),
        retry: serve::RETRY,
    };
    let (progress, watched) = watch::channel(Progress {
        position: begun.unwrap_or(from - 1),
        ..Progress::default()
    });
    let began = Instant::now();
    let publishing = amqp::publish(
        publisher,
        store.clone(),
        serve::owner(store),
        options,
        Health::default(),
        progress,
        stop,
    );
    tokio::pin!(publishing);
    let mut every = tokio::time::interval(SAY);
    every.tick().await;
    let mut said = Progress::default();
    let outcome = loop {
        tokio::select! {
            outcome = &mut publishing => break outcome,
            _ = every.tick() => {
                let now = watched.borrow().clone();
                if now != said {
                    say(&text(&now, from, to));
                    said = now;
                }
            }
        }
    };
    let done = watched.borrow().clone();
    match outcome {
        Outcome::Done => {}
        Outcome::Stopped => {
            say(&format!(
                "stopped at position {}; the same command goes on there",
                done.position
            ));
            return Ok(ExitCode::FAILURE);
        }
        Outcome::Elsewhere => match store.checkpoint(&name).await? {
            Some(there) => bail!(
                "{} publishes the same range and is at position {}; published here: {} events",
                there.owner.as_deref().unwrap_or("another process"),
                there.position,
                done.published
            ),
            None => bail!(
                "another process has published the same range; published here: {} events",
                done.published
            ),
        },
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate is shown to a few digits")]
    let rate = done.published as f64 / began.elapsed().as_secs_f64();
    say(&format!(
        "published {} events, positions {from} to {to}, to {exchange}; {} reached no queue; {rate:.0} events/s",
        done.published, done.returned
    ));
    Ok(ExitCode::SUCCESS)
}

fn text(progress: &Progress, from: i64, to: i64) -> String {
    let done = progress.position.max(from - 1) - (from - 1);
    let all = to - from + 1;
    let waits = progress.problem.as_ref().map(|problem| format!("; waiting: {problem}"));
    format!(
        "{done} of {all} ({} %), position {}{}",
        done * 100 / all,
        progress.position,
        waits.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_counts_from_the_first_position() {
        let mut progress = Progress {
            position: 100,
            ..Progress::default()
        };
        assert_eq!(text(&progress, 101, 300), "0 of 200 (0 %), position 100");
        progress.position = 150;
        progress.problem = Some("the broker cannot be reached".into());
        let told = text(&progress, 101, 300);
        assert_eq!(
            told,
            "50 of 200 (25 %), position 150; waiting: the broker cannot be reached"
        );
    }
}
