//! `followers`: what stands where, and what to do about one that stopped. Works beside running services.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use aggregates::values::Timestamp;
use anyhow::{Result, bail};

use super::flags::{FollowersVerb, SkipFlags};
use super::open::Opened;
use super::say;
use crate::config::Config;
use crate::follow::NOTARY;
use crate::store::{Checkpoint, FollowerState, Skipped, Store};

/// How long to look whether a follower went on. One that waits looks every second whether it is to try again.
const LOOK: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(100);

pub(super) async fn run(config: Config, verb: FollowersVerb) -> Result<ExitCode> {
    let opened = Opened::new(&config).await?;
    opened
        .during(async |store| match verb {
            FollowersVerb::List => list(store).await,
            FollowersVerb::Retry { name } => retry(store, &name).await,
            FollowersVerb::Skip(skip) => self::skip(store, &skip).await,
            FollowersVerb::Forget { name } => forget(store, &name).await,
        })
        .await
}

async fn list(store: &Store) -> Result<ExitCode> {
    say(text(&store.followers().await?).trim_end());
    Ok(ExitCode::SUCCESS)
}

async fn retry(store: &Store, name: &str) -> Result<ExitCode> {
    if store.checkpoint(name).await?.is_none() {
        bail!("{}", unknown(store, name).await?);
    }
    if !store.ask_again(name).await? {
        say(&format!("{name} has not stopped"));
        return Ok(ExitCode::SUCCESS);
    }
    went_on(store, name).await
}

async fn skip(store: &Store, flags: &SkipFlags) -> Result<ExitCode> {
    let (name, position) = (flags.name.as_str(), flags.position);
    if name == NOTARY {
        bail!("the notary passes over nothing: a head that left an event out would prove nothing");
    }
    if flags.reason.trim().is_empty() {
        bail!("a skip needs a reason");
    }
    match store.skip(name, position, flags.reason.trim()).await? {
        Skipped::Done(error) => say(&format!("{name} passes over {position} ({error})")),
        Skipped::Unknown => bail!("{}", unknown(store, name).await?),
        Skipped::NotStopped => bail!("{name} has not stopped; nothing was skipped"),
        Skipped::Waits(error) => bail!(
            "nothing is wrong with event {position}: {name} waits for what lies outside ({error}) and goes on by itself; \
             nothing was skipped"
        ),
        Skipped::At(at) => bail!("{name} stands at {at}, not at {position}; nothing was skipped"),
    }
    went_on(store, name).await
}

/// Publishers alone: whoever hears an event twice knows it by its id, but a mail or a count would be made again.
async fn forget(store: &Store, name: &str) -> Result<ExitCode> {
    let Some(now) = store.checkpoint(name).await? else {
        bail!("{}", unknown(store, name).await?);
    };
    if !name.starts_with("amqp") && !name.starts_with("publish ") {
        bail!("{name} cannot be switched off, and would do all of its work again");
    }
    if !store.forget_idle(name).await? {
        bail!("{name} is not switched off: {} runs it", now.owner.unwrap_or_default());
    }
    say(&format!("{name} was at {} and is forgotten", now.position));
    Ok(ExitCode::SUCCESS)
}

async fn unknown(store: &Store, name: &str) -> Result<String> {
    let known: Vec<String> = store.checkpoints().await?.into_iter().map(|one| one.follower).collect();
    Ok(format!("there is no follower {name}; there are {}", known.join(", ")))
}

/// Waits until the follower has moved, stopped again or has nothing more to do. 1 if it stopped again.
async fn went_on(store: &Store, name: &str) -> Result<ExitCode> {
    let began = Instant::now();
    let Some(before) = store.checkpoint(name).await? else {
        return Ok(ExitCode::SUCCESS);
    };
    loop {
        let Some(now) = store.checkpoint(name).await? else {
            return Ok(ExitCode::SUCCESS);
        };
        if let (Some(error), Some(at)) = (&now.error, now.error_position) {
            say(&format!("{name} stands at {at}: {error}"));
            return Ok(ExitCode::FAILURE);
        }
        let head = store.head().await?.position;
        if now.position > before.position || now.position >= head {
            say(&format!("{name} is at {} of {head}", now.position));
            return Ok(ExitCode::SUCCESS);
        }
        if began.elapsed() > LOOK {
            say(&if runs(&now) {
                format!("{name} is still at {} of {head}", now.position)
            } else {
                format!("{name} goes on from {} when a service runs it", now.position)
            });
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(STEP).await;
    }
}

const fn runs(checkpoint: &Checkpoint) -> bool {
    checkpoint.owner.is_some()
}

/// The list, for people; its words are stable enough for `grep`.
fn text(followers: &[FollowerState]) -> String {
    let mut text = String::new();
    // Writing into a String cannot fail.
    let _ = writeln!(
        text,
        "{:<12} {:>10} {:>10} {:>8} {:>9}  state",
        "follower", "position", "head", "lag", "seconds"
    );
    for one in followers {
        let of = &one.checkpoint;
        let state = match (&of.error, of.error_position, &of.owner) {
            (Some(error), Some(at), _) => format!("stands at {at}: {error}"),
            (_, _, Some(owner)) => format!("follows in {owner}"),
            _ => "nobody runs it".to_owned(),
        };
        let _ = writeln!(
            text,
            "{:<12} {:>10} {:>10} {:>8} {:>9}  {state}",
            of.follower,
            of.position,
            one.head,
            (one.head - of.position).max(0),
            one.behind / 1_000_000,
        );
    }
    for skip in followers.iter().flat_map(|one| &one.skips) {
        let _ = writeln!(
            text,
            "skipped: {} {} at {}: {} (it had stopped: {})",
            skip.follower,
            skip.position,
            Timestamp::from_micros(skip.at),
            skip.reason,
            skip.error
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Skip;

    fn state(follower: &str, position: i64, owner: Option<&str>, error: Option<(&str, i64)>) -> FollowerState {
        FollowerState {
            checkpoint: Checkpoint {
                follower: follower.to_owned(),
                position,
                owner: owner.map(str::to_owned),
                error: error.map(|(error, _)| error.to_owned()),
                error_position: error.map(|(_, at)| at),
                outside: false,
                updated_at: 0,
            },
            head: 120,
            behind: 3_500_000,
            skips: Vec::new(),
        }
    }

    #[test]
    fn a_list_shows_who_stands_where_and_what_was_skipped() {
        let mut sms = state("sms", 99, Some("host/2/b"), Some(("the event is broken", 100)));
        sms.skips.push(Skip {
            follower: "sms".into(),
            position: 42,
            reason: "a number that never was".into(),
            error: "the event is broken".into(),
            at: 0,
        });
        let told = text(&[
            state("amqp", 7, None, None),
            state("mail", 120, Some("host/1/a"), None),
            sms,
        ]);
        insta::assert_snapshot!(told, @r"
        follower       position       head      lag   seconds  state
        amqp                  7        120      113         3  nobody runs it
        mail                120        120        0         3  follows in host/1/a
        sms                  99        120       21         3  stands at 100: the event is broken
        skipped: sms 42 at 1970-01-01T00:00:00.000000Z: a number that never was (it had stopped: the event is broken)
        ");
    }
}
