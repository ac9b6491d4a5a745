//! A folder that messages are put into, for those who start without a mail server or an SMS gateway.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aggregates::user::UserEvent;
use aggregates::values::Timestamp;
use thiserror::Error;

use super::{FollowError, asked};
use crate::store::{AnyEvent, OpenedEvent, Store, StoreError};

/// How the names of those files end that tell somebody of their erasure.
const FAREWELL: &str = ".farewell.eml";
/// How long such a file is kept after the erasure, microseconds.
const FAREWELL_LIFE: i64 = 86_400_000_000;

/// The folder. One file per message, named by log position: sending again after a crash writes the same file.
#[derive(Debug, Clone)]
pub struct Outbox {
    folder: PathBuf,
}

impl Outbox {
    /// Makes the folder, open to its owner only.
    pub fn open(folder: &Path) -> std::io::Result<Self> {
        crate::store::private_folder(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// Puts a whole file in place. Doing it again with the same name changes nothing a reader could notice.
    pub(super) fn put(&self, name: &str, bytes: &[u8]) -> std::io::Result<()> {
        let part = self.folder.join(format!(".{name}.{}.part", std::process::id()));
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&part, self.folder.join(name))
    }

    /// Takes the messages away that were for somebody who is erased by this event: they name where they went.
    pub(super) async fn forget(&self, store: &Store, event: &OpenedEvent) -> Result<(), FollowError> {
        let record = &event.record;
        let positions = asked(store.positions_about(&record.subject, record.position)).await?;
        self.remove(&positions.into_iter().collect())
            .map_err(|problem| FollowError::Later(format!("the outbox cannot be emptied: {problem}")))
    }

    fn remove(&self, positions: &HashSet<i64>) -> std::io::Result<()> {
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if position_of(&name).is_some_and(|position| positions.contains(&position)) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Takes away what told of an erasure a day ago and more: it names whoever was erased.
    pub(super) async fn tidy(&self, store: &Store) -> Result<(), TidyError> {
        let before = Timestamp::from_micros(store.now().as_micros() - FAREWELL_LIFE);
        let mut farewells = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            // Also what a crash left half written.
            if name.to_str().is_some_and(|name| name.contains(FAREWELL))
                && let Some(position) = position_of(&name)
            {
                farewells.push((position, entry.path()));
            }
        }
        for (position, path) in farewells {
            let records = store.events_after(position - 1, 1).await?;
            if records.first().is_none_or(|record| record.recorded_at <= before) {
                remove(&path)?;
            }
        }
        Ok(())
    }
}

/// Why the folder could not be tidied.
#[derive(Debug, Error)]
pub enum TidyError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The folder.
    #[error("the outbox cannot be tidied: {0}")]
    Folder(#[from] std::io::Error),
}

/// What the file of a mail is called. Several mails of an event are told apart by their number.
pub(super) fn name(event: &OpenedEvent, number: usize) -> String {
    let position = event.record.position;
    match &event.event {
        AnyEvent::User(UserEvent::Erased { .. }) => format!("{position:020}{FAREWELL}"),
        _ if number == 0 => format!("{position:020}.eml"),
        _ => format!("{position:020}-{number}.eml"),
    }
}

/// The position in the name of a file, also of one that is being written.
fn position_of(name: &OsStr) -> Option<i64> {
    let name = name.to_str()?;
    name.strip_prefix('.').unwrap_or(name).get(..20)?.parse().ok()
}

/// Removes a file; its reader may be quicker.
fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(problem) if problem.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Whether somebody's keys are destroyed with this event.
pub(super) const fn erases(event: &OpenedEvent) -> bool {
    matches!(
        event.event,
        AnyEvent::User(UserEvent::Erased { .. } | UserEvent::Expired { .. })
    )
}
