//! `audit`: an account's history with its proofs, to take away; checking such a file, or the whole store.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufReader, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use futures::StreamExt as _;
use tokio_util::task::TaskTracker;

use super::flags::{AuditVerb, ExportFlags, VerifyFlags};
use super::open::{self, Opened};
use super::{say, serve, who};
use crate::audit::NotaryKeys;
use crate::audit::bundle::{self, Verdict};
use crate::audit::check::{Checked, Finding, check};
use crate::config::Config;
use crate::follow::{FollowError, FollowOptions, Notary};
use crate::registry::{Asked, Caller, Registry};
use crate::store::{EventFilter, Store};

/// How long to wait for a service that signs.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long this process may sign alone.
const LEASE: Duration = Duration::from_secs(10);

pub(super) async fn run(config: Config, verb: AuditVerb) -> Result<ExitCode> {
    let opened = Opened::new(&config).await?;
    opened
        .during(async |store| match verb {
            AuditVerb::Export(flags) => export(store, &config, &flags).await,
            AuditVerb::Verify(flags) => verify_store(store, &config, &flags).await,
            AuditVerb::Key => {
                let keys = keys(store)?.public();
                let lines: Vec<String> = keys.iter().map(ToString::to_string).collect();
                say(&lines.join("\n"));
                Ok(ExitCode::SUCCESS)
            }
        })
        .await
}

fn keys(store: &Store) -> Result<NotaryKeys> {
    NotaryKeys::of(store.keyring()).map_err(|problem| anyhow!("a key of the notary {problem}"))
}

/// Covers what is not covered yet, unless a service does.
async fn covered(store: &Store, config: &Config) -> Result<()> {
    let options = FollowOptions {
        lease: LEASE,
        retry: LEASE,
    };
    let notary = Notary::new(store.clone(), open::notary(config));
    match notary.once(&serve::owner(store), options).await {
        Ok(_) => Ok(()),
        Err(FollowError::Later(problem) | FollowError::Never(problem)) => bail!("the log cannot be signed: {problem}"),
    }
}

async fn export(store: &Store, config: &Config, flags: &ExportFlags) -> Result<ExitCode> {
    let user = who::named(store, &flags.user).await?;
    covered(store, config).await?;
    let registry = Registry::new(store.clone(), config, TaskTracker::new())?;
    let asked = Asked::plainly(Caller::system(store));
    let filter = EventFilter {
        types: Vec::new(),
        from: flags.from,
        to: flags.to,
    };
    let lines = match registry.bundle(&asked, user, filter, PATIENCE).await {
        Ok(lines) => lines,
        Err(crate::registry::Refusal::NotFound) => bail!("there is no such account"),
        Err(problem) => return Err(problem.into()),
    };
    let shown = flags.out.display();
    let mut file = File::create_new(&flags.out).with_context(|| format!("{shown} cannot be made"))?;
    let written = async {
        let mut lines = std::pin::pin!(lines);
        while let Some(some) = lines.next().await {
            file.write_all(some?.as_bytes())?;
        }
        Ok::<_, anyhow::Error>(file.sync_all()?)
    };
    if let Err(problem) = written.await {
        // Half a bundle is none.
        let _ = std::fs::remove_file(&flags.out);
        return Err(problem.context(format!("{shown} cannot be written")));
    }
    let verdict = bundle::verify(BufReader::new(File::open(&flags.out)?), &keys(store)?.public())?;
    say(&format!("{shown}: {} of user {user}", events(verdict.events)));
    Ok(ExitCode::SUCCESS)
}

fn events(count: u64) -> String {
    if count == 1 {
        "1 event".to_owned()
    } else {
        format!("{count} events")
    }
}

/// Checks a file. Neither a store nor a configuration is looked at.
pub(super) fn verify_file(flags: &VerifyFlags) -> Result<ExitCode> {
    let path = flags.file.as_deref().unwrap_or(Path::new("-"));
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("{shown} cannot be read"))?;
    match bundle::verify(BufReader::new(file), &flags.key) {
        Ok(verdict) => {
            say(told(&verdict, !flags.key.is_empty()).trim_end());
            Ok(ExitCode::SUCCESS)
        }
        Err(fault) => bail!("{shown} does not hold: {fault}"),
    }
}

/// What a bundle that holds proves, and what not.
fn told(verdict: &Verdict, trusted: bool) -> String {
    let mut text = String::new();
    let manifest = &verdict.manifest;
    // Writing into a String cannot fail.
    let _ = writeln!(
        text,
        "the bundle holds: {} of user {}",
        events(verdict.events),
        manifest.user
    );
    if let (Some((first, last)), Some((begin, end))) = (verdict.positions, verdict.sequences) {
        let _ = writeln!(
            text,
            "positions {first} to {last} of the log, numbers {begin} to {end} of the account"
        );
    }
    let _ = writeln!(
        text,
        "made {}; log {}, head of {}, signed with\n  {}",
        manifest.exported_at,
        verdict.head.origin,
        events(verdict.head.size),
        verdict.key
    );
    let _ = writeln!(
        text,
        "\nIt proves:\n  \
         - each of these events stands in the log at its position as it is here, to the byte;\n  \
         - between the first and the last of them no event of the account is left out;\n  \
         - {} personal {} here {} what was sealed when the event was recorded.",
        verdict.opened,
        if verdict.opened == 1 {
            "part shown"
        } else {
            "parts shown"
        },
        if verdict.opened == 1 { "is" } else { "are" },
    );
    let _ = writeln!(text, "\nIt does not prove:");
    if !trusted {
        let _ = writeln!(
            text,
            "  - that the key is the registry's: compare it with /v1/log/key, or give the one you trust with --key;"
        );
    }
    let _ = writeln!(
        text,
        "  - that nothing happened to the account before or afterwards;\n  \
         - that what was recorded is true, only that it was recorded and not altered since."
    );
    if verdict.closed > 0 {
        let _ = writeln!(
            text,
            "{} personal {} closed: erased, or not for the reader.",
            verdict.closed,
            if verdict.closed == 1 { "part is" } else { "parts are" }
        );
    }
    text
}

async fn verify_store(store: &Store, config: &Config, flags: &VerifyFlags) -> Result<ExitCode> {
    let mut folders = open::notary(config).folders;
    folders.extend(flags.heads.iter().cloned());
    let mut trusted = keys(store)?.public();
    if !flags.key.is_empty() {
        // Of the store's own keys only those that are trusted.
        trusted.retain(|key| flags.key.contains(key));
        if trusted.is_empty() {
            bail!("none of the notary's keys in this store is one that you trust");
        }
    }
    let checked = check(store, &trusted, &folders).await?;
    say(summary(&checked).trim_end());
    let mut found = checked.findings.first().map(Finding::to_string);
    // Rows are folded out of events that hold; out of others they would only say the same twice.
    if found.is_none() {
        let report = store.rebuild(false).await?;
        let rows: u64 = report.rows.iter().map(|(_, live, _)| live).sum();
        if report.different == 0 && report.live_checksum == report.rebuilt_checksum {
            say(&format!("{rows} rows of the read models are what the log says"));
        } else {
            for one in &report.differences {
                say(&format!("{} {}: {}", one.table, one.key, one.what));
            }
            found = Some(format!(
                "{} rows of the read models are not what the log says",
                report.different
            ));
        }
    }
    match found {
        None => {
            say("the store holds");
            Ok(ExitCode::SUCCESS)
        }
        Some(first) => bail!("the store does not hold: {first}"),
    }
}

fn summary(checked: &Checked) -> String {
    let mut text = String::new();
    // Writing into a String cannot fail.
    let _ = writeln!(
        text,
        "{} events, {} nodes of the tree, {} signed heads in the store",
        checked.events, checked.nodes, checked.heads
    );
    for outside in &checked.outside {
        let shown = outside.folder.display();
        let _ = match outside.heads {
            Some(heads) => writeln!(text, "{heads} signed heads and {} hashes in {shown}", outside.leaves),
            None => writeln!(text, "{shown} has no signed heads: nothing was compared with it"),
        };
    }
    let _ = match checked.uncovered {
        0 => writeln!(text, "every event is covered by a signed head outside the database"),
        1 => writeln!(
            text,
            "the last event is not covered yet by a signed head outside the database"
        ),
        more => writeln!(
            text,
            "the last {more} events are not covered yet by a signed head outside the database"
        ),
    };
    for finding in &checked.findings {
        let _ = writeln!(text, "FOUND {finding}");
    }
    text
}
