//! Where the stores of a run live: a database and a folder that are gone afterwards.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use user_registry::chance::Chance;
use user_registry::clock::Clock;
use user_registry::store::{EngineOptions, MasterSource, Store};
use zeroize::Zeroizing;

/// One store with everything around it.
pub struct Place {
    pub store: Store,
    /// On the disk that holds the build, not in memory.
    pub folder: TempDir,
    database: Option<String>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

fn server() -> String {
    std::env::var("TEST_DATABASE_URL").unwrap_or_else(|_| "postgres://postgres@127.0.0.1:5432/postgres".to_owned())
}

fn server_options() -> Result<PgConnectOptions> {
    server().parse().context("TEST_DATABASE_URL")
}

/// How to open the store in `folder`, or the database at `url`.
pub fn options(folder: &Path, url: Option<&str>) -> EngineOptions {
    EngineOptions {
        database_url: url.map(|url| Zeroizing::new(url.to_owned())),
        data_dir: folder.to_owned(),
        master: MasterSource::Made(folder.join("keys/master.key")),
        standby: None,
        readers: 8,
        cache_entries: 100_000,
        poll: Duration::from_millis(200),
    }
}

impl Place {
    /// A new store in a PostgreSQL database of its own.
    pub async fn postgres() -> Result<Self> {
        let name = format!(
            "main_road_{}_{}",
            std::process::id(),
            Chance::system().bytes::<2>().map(u16::from).iter().sum::<u16>()
        );
        let mut connection = server_options()?
            .connect()
            .await
            .context("no PostgreSQL server answers")?;
        sqlx::query(&format!("CREATE DATABASE {name}"))
            .execute(&mut connection)
            .await?;
        connection.close().await?;
        Self::open(Some(name)).await
    }

    /// A new SQLite store.
    pub async fn sqlite() -> Result<Self> {
        Self::open(None).await
    }

    async fn open(database: Option<String>) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("main-road")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let url = database.as_deref().map(url_of).transpose()?;
        let options = options(folder.path(), url.as_deref());
        let store = Store::open(&options, Clock::system(), Chance::system(), &tasks, &stop).await?;
        Ok(Self {
            store,
            folder,
            database,
            tasks,
            stop,
        })
    }

    /// The URL of the database.
    pub fn url(&self) -> Result<Option<String>> {
        self.database.as_deref().map(url_of).transpose()
    }

    /// A connection of a peer to the same PostgreSQL database.
    pub async fn connect(&self) -> Result<PgConnection> {
        let database = self.database.as_deref().context("not on PostgreSQL")?;
        Ok(server_options()?.database(database).connect().await?)
    }

    /// A connection of a peer to a SQLite file beside the store's, with the same promise to keep what it commits.
    pub async fn connect_file(&self, name: &str) -> Result<SqliteConnection> {
        let options = SqliteConnectOptions::new()
            .filename(self.folder.path().join(name))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        Ok(options.connect().await?)
    }

    /// Ends the store and removes what it kept.
    pub async fn remove(self) -> Result<()> {
        self.stop.cancel();
        self.store.close().await;
        drop(self.store);
        self.tasks.close();
        let _ = tokio::time::timeout(Duration::from_secs(5), self.tasks.wait()).await;
        if let Some(name) = self.database {
            let mut connection = server_options()?.connect().await?;
            sqlx::query(&format!("DROP DATABASE {name} WITH (FORCE)"))
                .execute(&mut connection)
                .await?;
        }
        Ok(())
    }
}

/// The server's URL with another database in it.
fn url_of(database: &str) -> Result<String> {
    let server = server();
    let (start, rest) = server.split_once("://").context("TEST_DATABASE_URL is not a URL")?;
    let (host, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let query = rest
        .split_once('?')
        .map(|(_, query)| format!("?{query}"))
        .unwrap_or_default();
    Ok(format!("{start}://{host}/{database}{query}"))
}

/// What the figures were measured on.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{cores} cores; {}", load())
}

/// How busy the machine is with other things.
pub fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("load average {}", load.split(' ').take(3).collect::<Vec<_>>().join(" "))
}
