//! Where master keys come from, and keeping up with what other processes made of the keys.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::engine::private_folder;
use super::{Store, StoreError};
use crate::chance::Chance;
use crate::keys::{DataKey, MasterError, MasterKey};

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

    /// The one key this names; none: its file is not there.
    fn read(&self) -> Result<Option<MasterKey>, MasterError> {
        match self {
            Self::Text(text) => MasterKey::parse(text).map(Some),
            Self::File(path) | Self::Made(path) => MasterKey::read(path),
            Self::Command(command) => {
                let output = std::process::Command::new("sh")
                    .args(["-c", command])
                    .stdin(std::process::Stdio::null())
                    .output()
                    .map_err(|error| MasterError::Command(error.to_string()))?;
                if !output.status.success() {
                    return Err(MasterError::Command(output.status.to_string()));
                }
                MasterKey::parse(&Zeroizing::new(String::from_utf8_lossy(&output.stdout).into_owned())).map(Some)
            }
        }
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
}

impl Sources {
    /// Every key there is, the main one first. Only a new store's key is made.
    pub fn read(&self, chance: &Chance, new: bool) -> Result<Vec<MasterKey>, MasterError> {
        let mut keys: Vec<MasterKey> = self.main.read()?.into_iter().collect();
        // While a rotation changes the files over, the main one may be missing for a moment.
        if let Some((next, previous)) = self.main.neighbours() {
            for path in [next, previous] {
                keys.extend(MasterKey::read(&path)?);
            }
        }
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
                    private_folder(folder).map_err(|source| MasterError::File {
                        path: path.display().to_string(),
                        source,
                    })?;
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
    /// The sources of master keys are read again only when a key is wrapped by one this process does not know.
    pub async fn renew_keys(&self) -> Result<(), StoreError> {
        let rows = self.inner.engine.wrapped_keys().await?;
        let known = self.keyring().masters();
        let given = if rows.iter().all(|row| known.get(&row.kek_id).is_some()) {
            known.all().cloned().collect()
        } else {
            self.every_master()?
        };
        Ok(self.keyring().renew(&given, &rows)?)
    }

    /// Every master key this process has known or can find.
    fn every_master(&self) -> Result<Vec<MasterKey>, StoreError> {
        let mut given = self.inner.sources.read(self.chance(), false)?;
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
                self.keyring().renew(&self.every_master()?, &rows)?;
                Ok(DataKey::unwrap(subject, scope, wrapped, &self.keyring().masters())?)
            }
            opened => Ok(opened?),
        }
    }
}
