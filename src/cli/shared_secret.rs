//! The secret of shared tokens: a setting, or a file that is made (contracts, canonical, section 7).

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use zeroize::Zeroizing;

use crate::config::Config;
use crate::keys::hex;
use crate::store::{Store, private_folder};
use crate::tokens::SharedKey;

/// The key, if the dialect that needs it is on.
pub(super) fn key(config: &Config, store: &Store) -> Result<Option<SharedKey>> {
    let agstack = &config.agstack;
    if !agstack.enabled {
        return Ok(None);
    }
    let (secret, place) = if let Some(secret) = &agstack.shared_secret {
        (
            Zeroizing::new(secret.expose().to_owned()),
            "`agstack.shared_secret`".to_owned(),
        )
    } else {
        let file = config.data_dir.join("keys/agstack.secret");
        (made(&file, store)?, file.display().to_string())
    };
    match SharedKey::new(&secret) {
        Some(key) => Ok(Some(key)),
        None => bail!("{place} is too short: it must have at least 32 bytes"),
    }
}

/// The text of the file; made when there is none. What is made derives from the keys of the store, so that replicas that
/// share no folder still share it.
fn made(file: &Path, store: &Store) -> Result<Zeroizing<String>> {
    match fs::read_to_string(file) {
        Ok(text) => return Ok(Zeroizing::new(text.trim().to_owned())),
        Err(problem) if problem.kind() == ErrorKind::NotFound => {}
        Err(problem) => return Err(problem).with_context(|| format!("{} cannot be read", file.display())),
    }
    let secret = Zeroizing::new(hex(&store
        .keyring()
        .derived("agstack-shared-secret", uuid::Uuid::nil())));
    let written = || -> std::io::Result<()> {
        if let Some(folder) = file.parent() {
            private_folder(folder).map_err(std::io::Error::other)?;
        }
        // Whoever else makes it now makes the same.
        let whole = file.with_extension(format!("{}.new", std::process::id()));
        let mut new = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&whole)?;
        new.write_all(secret.as_bytes())?;
        new.sync_all()?;
        fs::rename(&whole, file)
    };
    if let Err(problem) = written() {
        // It can be computed again at the next start; only peers cannot be given the file.
        tracing::warn!(%problem, file = %file.display(), "the shared secret of AgStack could not be written down");
    }
    Ok(secret)
}
