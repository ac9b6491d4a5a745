//! `erase --from-list`: a store restored from a backup holds people who were erased after it was made. They are erased
//! once more.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::flags::EraseFlags;
use super::open::Opened;
use super::say;
use crate::config::Config;
use crate::registry::{Asked, Caller, Refusal, Registry};

/// No line of such a list is longer.
const LONGEST: u64 = 1_024;

pub(super) async fn run(config: Config, flags: EraseFlags) -> Result<ExitCode> {
    let shown = flags.from_list.display().to_string();
    let file = std::fs::File::open(&flags.from_list).with_context(|| format!("{shown} cannot be read"))?;
    // Read whole before anybody is erased: a list with a mistake in it is no list.
    let users = list(BufReader::new(file)).with_context(|| shown.clone())?;
    let opened = Opened::new(&config).await?;
    opened
        .during(async |store| {
            let registry = Registry::new(store.clone(), &config, TaskTracker::new())?;
            let asked = Asked::plainly(Caller::system(store));
            let (mut erased, mut before, mut unknown) = (0_u64, 0_u64, 0_u64);
            for user in &users {
                match registry.erase_user(&asked, *user, None).await {
                    Ok(receipt) if receipt.events.is_empty() => before += 1,
                    Ok(_) => erased += 1,
                    Err(Refusal::NotFound) => unknown += 1,
                    Err(problem) => return Err(anyhow!(problem).context(format!("{user} could not be erased"))),
                }
            }
            say(&format!(
                "{} in the list: {erased} erased now, {before} erased before, {unknown} unknown here",
                users.len()
            ));
            Ok(())
        })
        .await?;
    Ok(ExitCode::SUCCESS)
}

/// The ids of a list: of each line the last word that is one.
fn list(mut reader: impl std::io::BufRead) -> Result<Vec<Uuid>> {
    let (mut users, mut number) = (Vec::new(), 0);
    loop {
        let mut line = Vec::new();
        number += 1;
        if (&mut reader).take(LONGEST).read_until(b'\n', &mut line)? == 0 {
            return Ok(users);
        }
        let text = std::str::from_utf8(&line).unwrap_or("?").trim();
        if text.is_empty() {
            continue;
        }
        let id = text
            .split_whitespace()
            .next_back()
            .and_then(|word| Uuid::parse_str(word).ok());
        users.push(id.with_context(|| format!("line {number} does not end with the id of an account"))?);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_one_of_ours_or_plain_ids() {
        let id = "0197a000-0000-7000-8000-000000000001";
        let text = format!("12 2026-11-21T00:00:00.000000Z {id}\n\n{id}");
        assert_eq!(list(text.as_bytes()).unwrap().len(), 2);
        for wrong in ["nobody", "0197a000", &"\0".repeat(4_000), "\u{fffd}"] {
            assert!(list(wrong.as_bytes()).is_err());
        }
        assert!(list(&b"\xff\n"[..]).is_err());
    }
}
