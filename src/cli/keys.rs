//! `keys`: which keys there are, and replacing them, also while the service runs.
//!
//! A rotation of the master goes: the new key is on disk before anything is wrapped by it; the store's own keys are
//! re-wrapped at once; the files change over; the data keys follow. Killed anywhere, the next run goes on from there, and
//! so does a service.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use aggregates::values::Timestamp;
use anyhow::{Context as _, Result, bail, ensure};

use super::flags::{KeysVerb, MasterFlags, Rotate, SigningFlags};
use super::open::{self, Opened};
use super::say;
use crate::config::Config;
use crate::keys::MasterKey;
use crate::registry::{SigningState, signing_states};
use crate::store::{Former, MasterSource, Store};

/// How long to wait before looking again whether other processes still wrap under the former master.
const AGAIN: Duration = Duration::from_secs(1);
const SECOND: i64 = 1_000_000;

pub(super) async fn run(config: Config, verb: KeysVerb) -> Result<ExitCode> {
    let opened = Opened::new(&config).await?;
    opened
        .during(async |store| match verb {
            KeysVerb::List => {
                say(list(store).await?.trim_end());
                Ok(())
            }
            KeysVerb::Rotate(Rotate::Notary) => {
                let key = store.add_notary_key().await?;
                say(&format!(
                    "{key} signs heads of the log from now on; those signed before stay verifiable"
                ));
                Ok(())
            }
            KeysVerb::Rotate(Rotate::Signing(flags)) => rotate_signing(store, &flags).await,
            KeysVerb::Rotate(Rotate::Master(flags)) => rotate_master(store, &config, &flags).await,
        })
        .await?;
    Ok(ExitCode::SUCCESS)
}

async fn list(store: &Store) -> Result<String> {
    let mut text = format!("{:<12} {:<44} {:<17} {:<28} state\n", "kind", "id", "master", "made");
    let rows = store.wrapped_keys().await?;
    let states = signing_states(store)?;
    let mut signing = states.iter();
    let mut sorted: Vec<_> = rows.iter().collect();
    sorted.sort_by_key(|row| (row.kind.clone(), row.created_at, row.kid.clone()));
    for row in sorted {
        let made = Timestamp::from_micros(row.created_at);
        // Tokens name a signing key by its thumbprint, so that is what is looked for here.
        let signs = if row.kind == "signing" { signing.next() } else { None };
        let id = signs.map_or(&row.kid, |key| &key.kid);
        let state = match (signs.map(|key| key.state), row.kind.as_str()) {
            (Some(SigningState::Signs { until: None }), _) => "signs".to_owned(),
            (Some(SigningState::Signs { until: Some(at) }), _) => format!("signs until {at}"),
            (Some(SigningState::Published), _) => "published, signs when the one before has ended".to_owned(),
            (Some(SigningState::Verifies { until }), _) => format!("verifies until {until}"),
            (None, "former") => match row.retired_at {
                None => "former master; data keys are being re-wrapped".to_owned(),
                Some(at) => format!(
                    "former master; nothing is wrapped by it since {}",
                    Timestamp::from_micros(at)
                ),
            },
            (None, "notary") => match row.retired_at {
                None => "signs heads of the log".to_owned(),
                Some(at) => format!("signed heads of the log until {}", Timestamp::from_micros(at)),
            },
            (None, _) => "in use".to_owned(),
        };
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{:<12} {id:<44} {:<17} {made:<28} {state}", row.kind, row.kek_id);
    }
    for (master, keys) in store.data_keys_by_master().await? {
        let _ = writeln!(text, "\n{keys} data keys are wrapped by master {master}");
    }
    Ok(text)
}

async fn rotate_signing(store: &Store, flags: &SigningFlags) -> Result<()> {
    let former = if flags.revoke {
        Former::Revoke
    } else {
        Former::Retire {
            after: i64::from(flags.after) * SECOND,
        }
    };
    store.add_signing_key(former).await?;
    let states = signing_states(store)?;
    let new = states.last().context("the new key is gone again")?;
    say(&match former {
        Former::Revoke => format!(
            "{} signs from now on; every other signing key is destroyed, and what it signed is refused within seconds",
            new.kid
        ),
        Former::Retire { .. } => format!(
            "{} is published from now on and signs in {} s; the one before verifies 20 minutes longer",
            new.kid, flags.after
        ),
    });
    Ok(())
}

async fn rotate_master(store: &Store, config: &Config, flags: &MasterFlags) -> Result<()> {
    let source = open::master(config);
    let under_way = store.former_master().await?;
    if let Some(former) = &under_way {
        ensure!(
            !flags.prepare,
            "a rotation is under way (from {former}); finish it with: user-registry keys rotate master"
        );
        say(&format!(
            "going on with the rotation from {former} to {}",
            store.keyring().masters().id()
        ));
    }
    // A rotation that was killed, or one of another machine, may have left the files as they were.
    let left = change_files(store)?;
    if under_way.is_none() {
        if left {
            say(&format!(
                "the file of {} took its place, which a rotation before had left undone",
                store.keyring().masters().id()
            ));
        }
        if left && !flags.prepare {
            say("nothing else was done; to replace this master too, run the same again");
            return Ok(());
        }
        let (new, path) = next_key(store, &source, config).await?;
        if flags.prepare {
            say(&format!(
                "the next master is {} in {}; give it to every replica, back it up, then run: \
                 user-registry keys rotate master",
                new.id(),
                path.display()
            ));
            return Ok(());
        }
        say(&format!(
            "from master {} to {}",
            store.keyring().masters().id(),
            new.id()
        ));
        store.change_master(&new).await?;
        change_files(store)?;
    }
    rewrap(store).await?;
    say(&match in_place(store, &source)? {
        Some(path) => format!(
            "done. Back up {}; {}.previous still opens older backups of the store",
            path.display(),
            path.display()
        ),
        None => "done. Give the new key to every replica as its master, and keep the former one with the older backups"
            .to_owned(),
    });
    Ok(())
}

/// The key that comes next, and its file: one that was prepared, or a new one. Never one that this store has or had.
async fn next_key(store: &Store, source: &MasterSource, config: &Config) -> Result<(MasterKey, PathBuf)> {
    let current = store.keyring().masters().id().to_owned();
    let former = store.former_masters().await?;
    let (next, previous) = source.neighbours().unzip();
    let previous = previous.map_or(Ok(None), |path| MasterKey::read(&path))?;
    let former = |key: &MasterKey| {
        former.iter().any(|id| id == key.id()) || previous.as_ref().is_some_and(|previous| previous.id() == key.id())
    };
    for path in next.iter().chain(&config.keys.standby_file) {
        if let Some(key) = MasterKey::read(path)?.filter(|key| key.id() != current && !former(key)) {
            return Ok((key, path.clone()));
        }
    }
    let Some(path) = next.or_else(|| config.keys.standby_file.clone()) else {
        bail!(
            "the master key comes from the configuration, so say in `keys.standby_file` where the next one is, on \
             every replica"
        )
    };
    // Where there is a file already, its key is what this gives.
    let key = MasterKey::create(&path, store.chance())?;
    ensure!(
        key.id() != current,
        "{} holds {current}, which is the master of this store already: see that every replica is given it as its \
         master, take this file away, and run the same again",
        path.display()
    );
    ensure!(
        !former(&key),
        "{} holds {}, which was the master of this store before and must not be again: keep it with the older \
         backups, take this file away, and run the same again",
        path.display(),
        key.id()
    );
    Ok((key, path))
}

/// Puts the new key where the old one was, and the old one beside it. Says whether there was one to put there.
fn change_files(store: &Store) -> Result<bool> {
    store.change_files().context("the files of the master key")
}

/// The file of the master, if the key in it is the one that wraps.
fn in_place<'a>(store: &Store, source: &'a MasterSource) -> Result<Option<&'a Path>> {
    let (MasterSource::File(path) | MasterSource::Made(path)) = source else {
        return Ok(None);
    };
    let key = MasterKey::read(path)?;
    let wraps = key.is_some_and(|key| key.id() == store.keyring().masters().id());
    Ok(wraps.then_some(path.as_path()))
}

async fn rewrap(store: &Store) -> Result<()> {
    let mut total = 0;
    loop {
        let finished = store
            .rewrap_pass(|progress| {
                if progress.rewrapped > 0 {
                    say(&format!("re-wrapped {} data keys", total + progress.rewrapped));
                }
            })
            .await?;
        total += finished.rewrapped;
        if finished.over {
            return Ok(());
        }
        tokio::time::sleep(AGAIN).await;
    }
}
