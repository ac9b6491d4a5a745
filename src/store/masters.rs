//! Where master keys come from, and keeping up with what other processes made of the keys.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::{info, warn};
use zeroize::Zeroizing;

use super::engine::private_folder;
use super::master_command::Runs;
use super::{Store, StoreError};
use crate::chance::Chance;
use crate::keys::{DataKey, MasterError, MasterKey, hex};

/// How long a command that prints the master may take while the store is used.
const RUNNING: Duration = Duration::from_secs(10);
/// The same where the store is opened: somebody may be asked for a passphrase.
pub(super) const OPENING: Duration = Duration::from_mins(1);

/// Where the master key comes from.
#[derive(Clone)]
pub enum MasterSource {
    /// From the configuration: 64 hexadecimal digits.
    Text(Zeroizing<String>),
    /// A file that must exist.
    File(PathBuf),
    /// What a command prints.
    Command(String),
    /// A file that is made for a new store and must exist for an old one.
    Made(PathBuf),
}

impl MasterSource {
    /// The file of the key that will be the next master, and that of the one before.
    #[must_use]
    pub fn neighbours(&self) -> Option<(PathBuf, PathBuf)> {
        match self {
            Self::File(path) | Self::Made(path) => Some((beside(path, ".next"), beside(path, ".previous"))),
            Self::Text(_) | Self::Command(_) => None,
        }
    }

    /// Puts the key with this id, if it lies beside the file as the next one, where the file is, and what was there
    /// beside it as the one before. Says whether there was such a key. Doing it again, after it was broken off or in
    /// several processes at once, comes to the same.
    ///
    /// A file is linked, looked at, and then renamed over the one before: at no moment is a key without a name, and what
    /// another process has changed over meanwhile is not taken for the former one.
    pub fn change_over(&self, current: &str, chance: &Chance) -> Result<bool, MasterError> {
        let (Self::File(path) | Self::Made(path)) = self else {
            return Ok(false);
        };
        let Some((next, previous)) = self.neighbours() else {
            return Ok(false);
        };
        let holds = |path: &Path| Ok::<_, MasterError>(MasterKey::read(path)?.is_some_and(|key| key.id() == current));
        if !holds(&next)? {
            return Ok(false);
        }
        put(path, &previous, chance, |key| key.id() != current)?;
        put(&next, path, chance, |key| key.id() == current)?;
        keep_names(path)?;
        if holds(path)? && holds(&next)? {
            forget(&next)?;
            keep_names(path)?;
        }
        Ok(true)
    }

    /// The one key this names; none: its file is not there.
    async fn read(&self, runs: &Runs, patience: Duration) -> Result<Option<MasterKey>, MasterError> {
        match self {
            Self::Text(text) => MasterKey::parse(text).map(Some),
            Self::File(path) | Self::Made(path) => MasterKey::read(path),
            Self::Command(command) => runs.told(command, patience).await.map(Some),
        }
    }
}

/// Gives what is in one file the name of another, if there is a key in it that fits.
fn put(from: &Path, to: &Path, chance: &Chance, fits: impl Fn(&MasterKey) -> bool) -> Result<(), MasterError> {
    let part = beside(to, &format!(".{}.part", hex(&chance.bytes::<8>())));
    match std::fs::hard_link(from, &part) {
        Ok(()) => {}
        Err(source) if source.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(unusable(from, source)),
    }
    let moved = MasterKey::read(&part).and_then(|key| {
        if key.is_some_and(|key| fits(&key)) {
            std::fs::rename(&part, to).map_err(|source| unusable(to, source))
        } else {
            Ok(())
        }
    });
    // Two names of one file are not renamed to each other, so the first may be left.
    forget(&part).and(moved)
}

fn forget(path: &Path) -> Result<(), MasterError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(unusable(path, source)),
        _ => Ok(()),
    }
}

/// What the folder of a file calls its files is on the disk when this has ended.
fn keep_names(path: &Path) -> Result<(), MasterError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    std::fs::File::open(folder.unwrap_or(Path::new(".")))
        .and_then(|folder| folder.sync_all())
        .map_err(|source| unusable(path, source))
}

fn unusable(path: &Path, source: std::io::Error) -> MasterError {
    MasterError::File {
        path: path.display().to_string(),
        source,
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

/// Everything this process can learn master keys from.
#[derive(Clone)]
pub(super) struct Sources {
    pub main: MasterSource,
    pub standby: Option<PathBuf>,
    pub runs: Runs,
    /// The master whose files this process has changed over, or tried to.
    pub changed_over: Arc<Mutex<String>>,
}

impl Sources {
    pub fn new(main: MasterSource, standby: Option<PathBuf>) -> Self {
        Self {
            main,
            standby,
            runs: Runs::default(),
            changed_over: Arc::default(),
        }
    }

    /// Every key there is, the main one first. Only a new store's key is made. `patience` is how long a command may take.
    pub async fn read(&self, chance: &Chance, new: bool, patience: Duration) -> Result<Vec<MasterKey>, MasterError> {
        let neighbours = self.main.neighbours();
        let (next, previous) = neighbours.unzip();
        let read = |path: Option<PathBuf>| path.map_or(Ok(None), |path| MasterKey::read(&path));
        // In the order in which a rotation changes the files over: a key is found under its old name or its new one.
        let next = read(next)?;
        let main = self.main.read(&self.runs, patience).await?;
        let mut keys: Vec<MasterKey> = main.into_iter().chain(next).chain(read(previous)?).collect();
        if let Some(path) = &self.standby {
            keys.extend(MasterKey::read(path)?);
        }
        if keys.is_empty() {
            keys.push(self.make(chance, new)?);
        }
        Ok(keys)
    }

    fn make(&self, chance: &Chance, new: bool) -> Result<MasterKey, MasterError> {
        match &self.main {
            MasterSource::Made(path) if new => {
                if let Some(folder) = path.parent() {
                    private_folder(folder).map_err(|source| unusable(path, source))?;
                }
                MasterKey::create(path, chance)
            }
            MasterSource::Made(path) | MasterSource::File(path) => Err(MasterError::Missing {
                path: path.display().to_string(),
            }),
            MasterSource::Text(_) | MasterSource::Command(_) => Err(MasterError::Form),
        }
    }
}

impl Store {
    /// Takes over what other processes made of the keys: another master that wraps, another key that signs.
    ///
    /// The sources of master keys are read again only when a key is wrapped by one this process does not know. Where the
    /// next key lay beside this process's own file, it takes its place.
    pub async fn renew_keys(&self) -> Result<(), StoreError> {
        let rows = self.inner.engine.wrapped_keys().await?;
        let known = self.keyring().masters();
        let given = if rows.iter().all(|row| known.get(&row.kek_id).is_some()) {
            known.all().cloned().collect()
        } else {
            self.every_master().await?
        };
        self.keyring().renew(&given, &rows)?;
        self.follow_with_files();
        Ok(())
    }

    /// Changes the files of the master over, as [`MasterSource::change_over`] does, to the one that wraps now.
    pub fn change_files(&self) -> Result<bool, MasterError> {
        let masters = self.keyring().masters();
        self.inner.sources.main.change_over(masters.id(), self.chance())
    }

    /// The same, once for each master: a rotation that was killed, or that another machine made, ends here too. Where
    /// the files cannot be changed, all of them are read as before.
    fn follow_with_files(&self) {
        let masters = self.keyring().masters();
        let mut done = self
            .inner
            .sources
            .changed_over
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if *done == masters.id() {
            return;
        }
        masters.id().clone_into(&mut done);
        match self.change_files() {
            Ok(false) => {}
            Ok(true) => info!(master = masters.id(), "the file of the next master key took its place"),
            Err(problem) => {
                warn!(%problem, master = masters.id(), "the file of the next master key cannot take its place");
            }
        }
    }

    /// Every master key this process has known or can find.
    async fn every_master(&self) -> Result<Vec<MasterKey>, StoreError> {
        let mut given = self.inner.sources.read(self.chance(), false, RUNNING).await?;
        given.extend(self.keyring().masters().all().cloned());
        Ok(given)
    }

    /// Opens a wrapped data key. One that another process wrapped under a master this one has not yet heard of is
    /// reason to look for that master.
    pub(super) async fn unwrap_data_key(
        &self,
        subject: &str,
        scope: &str,
        wrapped: &[u8],
    ) -> Result<DataKey, StoreError> {
        match DataKey::unwrap(subject, scope, wrapped, &self.keyring().masters()) {
            Err(MasterError::Unwrap) => {
                let rows = self.inner.engine.wrapped_keys().await?;
                self.keyring().renew(&self.every_master().await?, &rows)?;
                Ok(DataKey::unwrap(subject, scope, wrapped, &self.keyring().masters())?)
            }
            opened => Ok(opened?),
        }
    }
}
