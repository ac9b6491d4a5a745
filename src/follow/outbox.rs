//! A folder that messages are put into, for those who start without a mail server or an SMS gateway.

use std::collections::HashSet;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use aggregates::user::UserEvent;

use super::{FollowError, trouble};
use crate::store::{AnyEvent, OpenedEvent, Store};

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
        let positions = store
            .positions_about(&record.subject, record.position)
            .await
            .map_err(trouble)?;
        self.remove(&positions.into_iter().collect())
            .map_err(|problem| FollowError::Later(format!("the outbox cannot be emptied: {problem}")))
    }

    fn remove(&self, positions: &HashSet<i64>) -> std::io::Result<()> {
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let position = name.to_str().and_then(|name| name.get(..20)?.parse().ok());
            if position.is_some_and(|position| positions.contains(&position)) {
                match std::fs::remove_file(entry.path()) {
                    // Its reader was quicker.
                    Err(problem) if problem.kind() == std::io::ErrorKind::NotFound => {}
                    other => other?,
                }
            }
        }
        Ok(())
    }
}

/// Whether somebody's keys are destroyed with this event.
pub(super) const fn erases(event: &OpenedEvent) -> bool {
    matches!(
        event.event,
        AnyEvent::User(UserEvent::Erased { .. } | UserEvent::Expired { .. })
    )
}
