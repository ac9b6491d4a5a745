//! A folder that messages are put into, for those who start without a mail server or an SMS gateway.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

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
}
