//! Opening the store as the configuration says, and closing it so that nothing is left behind.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

use crate::chance::Chance;
use crate::clock::Clock;
use crate::config::{Config, Secret};
use crate::follow::NotaryOptions;
use crate::store::{EngineOptions, MasterSource, Store, private_folder};

/// How long closing may take before the process ends anyway; the log is safe either way.
const CLOSING: Duration = Duration::from_millis(1_500);

/// A store with the tasks that serve it.
pub(super) struct Opened {
    pub store: Store,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Opened {
    /// Opens it, making of the folders only those that it needs: not every process may write to a disk.
    pub async fn new(config: &Config) -> Result<Self> {
        let making_key = matches!(master(config), MasterSource::Made(_));
        if making_key || config.database_url.is_none() {
            make(config, if making_key { &["keys"] } else { &[] })?;
        }
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let store = Store::open(&options(config), Clock::system(), Chance::system(), &tasks, &stop).await?;
        Ok(Self { store, tasks, stop })
    }

    /// Does something with the store and closes it, also when it failed.
    pub async fn during<T>(self, work: impl AsyncFnOnce(&Store) -> Result<T>) -> Result<T> {
        let result = work(&self.store).await;
        self.close().await;
        result
    }

    /// Ends once the appender has written what waited. Whoever else holds the store must let go of it first.
    async fn close(self) {
        self.stop.cancel();
        let closing = async {
            // The appender goes last: it is the connection that folds SQLite's `-wal` back into the file.
            self.store.close().await;
            drop(self.store);
            self.tasks.close();
            self.tasks.wait().await;
        };
        if tokio::time::timeout(CLOSING, closing).await.is_err() {
            tracing::warn!("the store did not close in time; nothing that was answered is lost");
        }
    }
}

/// Where the key is that the operator must keep.
pub(super) fn master_key_file(config: &Config) -> Option<PathBuf> {
    match master(config) {
        MasterSource::File(path) | MasterSource::Made(path) => Some(path),
        MasterSource::Text(_) | MasterSource::Command(_) => None,
    }
}

/// The folder of mails.
pub(super) fn mail_outbox(config: &Config) -> PathBuf {
    config.data_dir.join("outbox/mail")
}

/// The folder of short messages.
pub(super) fn sms_outbox(config: &Config) -> PathBuf {
    config.data_dir.join("outbox/sms")
}

/// The folder of the notary's files outside the database.
pub(super) fn notary_folder(config: &Config) -> PathBuf {
    let folder = &config.notary.folder;
    folder.clone().unwrap_or_else(|| config.data_dir.join("notary"))
}

/// How the notary works.
pub(super) fn notary(config: &Config) -> NotaryOptions {
    NotaryOptions {
        folders: std::iter::once(notary_folder(config))
            .chain(config.notary.second_folder.clone())
            .collect(),
        every: Duration::from_millis(config.notary.every_ms),
        events: config.notary.events,
    }
}

/// Where the master key comes from.
pub(super) fn master(config: &Config) -> MasterSource {
    let keys = &config.keys;
    match (&keys.master, &keys.master_file, &keys.master_command) {
        (Some(text), _, _) => MasterSource::Text(exposed(text)),
        (None, Some(path), _) => MasterSource::File(path.clone()),
        (None, None, Some(command)) => MasterSource::Command(command.clone()),
        (None, None, None) => MasterSource::Made(config.data_dir.join("keys/master.key")),
    }
}

fn options(config: &Config) -> EngineOptions {
    let store = &config.store;
    EngineOptions {
        database_url: config.database_url.as_ref().map(exposed),
        data_dir: config.data_dir.clone(),
        master: master(config),
        standby: config.keys.standby_file.clone(),
        readers: if config.database_url.is_some() {
            store.connections
        } else {
            store.readers
        },
        cache_entries: store.cache_entries,
        poll: Duration::from_millis(config.followers.poll_ms),
    }
}

fn exposed(secret: &Secret) -> Zeroizing<String> {
    Zeroizing::new(secret.expose().to_owned())
}

/// Makes every folder of a service, for its owner only.
pub(super) fn folders(config: &Config) -> Result<()> {
    make(config, &["keys", "outbox", "outbox/mail", "outbox/sms"])
}

fn make(config: &Config, inside: &[&str]) -> Result<()> {
    private_folder(&config.data_dir).with_context(|| unusable(&config.data_dir))?;
    for name in inside {
        let path = config.data_dir.join(name);
        // These are ours by name, so they are closed again; the data folder itself may be somebody's `/tmp`.
        private_folder(&path)
            .and_then(|()| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)))
            .with_context(|| unusable(&path))?;
    }
    Ok(())
}

fn unusable(path: &Path) -> String {
    format!("the folder {} cannot be used", path.display())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::config::Overrides;

    #[test]
    fn the_master_key_comes_from_where_it_was_said() {
        let mut config = Config::default();
        assert_eq!(master_key_file(&config), Some(PathBuf::from("./data/keys/master.key")));
        config.keys.master_command = Some("pass show registry".into());
        assert!(matches!(master(&config), MasterSource::Command(command) if command == "pass show registry"));
        config.keys.master_file = Some("/run/secrets/master".into());
        assert_eq!(master_key_file(&config), Some(PathBuf::from("/run/secrets/master")));
        config.keys.master = Some("00".into());
        assert!(matches!(master(&config), MasterSource::Text(text) if *text == "00"));
        assert_eq!(master_key_file(&config), None);
    }

    #[test]
    fn each_engine_has_its_own_number_of_connections() {
        let mut config = Config::default();
        assert_eq!(options(&config).readers, config.store.readers);
        config.database_url = Some("postgres://h/d".into());
        assert_eq!(options(&config).readers, config.store.connections);
    }

    #[test]
    fn folders_of_ours_are_closed_to_others_and_the_operators_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let flags = Overrides {
            data_dir: Some(folder.path().join("a/b")),
            ..Overrides::default()
        };
        let config = Config::load(None, std::iter::empty(), &flags).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let open = |path: &Path| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        folders(&config).unwrap();
        assert_eq!(mode(&config.data_dir), 0o700);
        open(&config.data_dir);
        open(&config.data_dir.join("keys"));
        folders(&config).unwrap();
        assert_eq!(mode(&config.data_dir), 0o755);
        for name in ["keys", "outbox", "outbox/mail", "outbox/sms"] {
            assert_eq!(mode(&config.data_dir.join(name)), 0o700, "{name}");
        }
    }
}
