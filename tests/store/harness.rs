//! A fresh database per test, opened by as many instances of the store as a test likes.

use std::ops::Deref;
use std::path::Path;
use std::str::FromStr as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use user_registry::chance::Chance;
use user_registry::clock::Clock;
use user_registry::store::{EngineOptions, MasterSource, Store, StoreError};
use zeroize::Zeroizing;

/// Longer than anything here takes: what is waited for this long does not come.
pub const LONG: Duration = Duration::from_mins(1);

/// How many databases of the server are in use at a time: its connections are shared with others.
const DATABASES: u32 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
}

/// Runs one behaviour on a fresh database.
pub fn run<F: Future<Output = ()>>(kind: Kind, behaviour: impl FnOnce(Arc<Database>) -> F) {
    let _place = Place::take(kind);
    let database = Arc::new(Database::new(kind));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(behaviour(Arc::clone(&database)));
}

/// The right to have a database on the server.
struct Place(Kind);

static IN_USE: (Mutex<u32>, Condvar) = (Mutex::new(0), Condvar::new());

impl Place {
    fn take(kind: Kind) -> Self {
        if kind == Kind::Postgres {
            let (count, freed) = &IN_USE;
            let count = count.lock().unwrap_or_else(PoisonError::into_inner);
            *freed
                .wait_while(count, |count| *count >= DATABASES)
                .unwrap_or_else(PoisonError::into_inner) += 1;
        }
        Self(kind)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.0 == Kind::Postgres {
            *IN_USE.0.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
            IN_USE.1.notify_one();
        }
    }
}

/// One database, gone with the test.
pub struct Database {
    pub kind: Kind,
    folder: TempDir,
    name: String,
}

impl Database {
    pub fn new(kind: Kind) -> Self {
        Self::named(kind, "template0 ENCODING 'UTF8'")
    }

    fn named(kind: Kind, template: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let name = format!("registry_store_{}_{number}", std::process::id());
        if kind == Kind::Postgres {
            administer(format!("CREATE DATABASE {name} TEMPLATE {template}"));
        }
        Self {
            kind,
            folder: tempfile::tempdir().unwrap(),
            name,
        }
    }

    /// A copy of it, and of everything in its folder. Nobody may be using it.
    pub fn copy(&self) -> Self {
        let copy = Self::named(self.kind, &self.name);
        copy_folder(self.folder(), copy.folder());
        copy
    }

    /// The folder of the SQLite file and the master key.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where the master key is kept.
    pub fn master(&self) -> std::path::PathBuf {
        self.folder().join("keys").join("master.key")
    }

    /// How to reach it. Nobody polls PostgreSQL here: what is not told is not heard in time.
    pub fn options(&self) -> EngineOptions {
        let (database_url, poll) = match self.kind {
            Kind::Postgres => (Some(Zeroizing::new(self.postgres().to_url_lossy().to_string())), LONG),
            Kind::Sqlite => (None, Duration::from_millis(20)),
        };
        EngineOptions {
            database_url,
            data_dir: self.folder().to_owned(),
            master: MasterSource::Made(self.master()),
            standby: None,
            readers: 4,
            cache_entries: 10_000,
            poll,
        }
    }

    /// The options of the PostgreSQL database. In clear: a test may listen in.
    pub fn postgres(&self) -> PgConnectOptions {
        server().database(&self.name)
    }

    /// The URL of the PostgreSQL database, for other programs.
    pub fn url(&self) -> String {
        crate::dump::url_of(&server_url(), &self.name)
    }

    /// The options of the SQLite file.
    pub fn sqlite(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(self.folder().join("registry.db"))
            .busy_timeout(LONG)
    }

    /// An instance of the store: what one process has.
    pub async fn open(&self) -> Instance {
        self.open_at(Clock::system()).await
    }

    pub async fn open_at(&self, clock: Clock) -> Instance {
        Instance::open(&self.options(), clock).await.unwrap()
    }

    /// A connection past the store.
    pub async fn raw(&self) -> Raw {
        match self.kind {
            Kind::Postgres => Raw::Postgres(self.postgres().connect().await.unwrap()),
            Kind::Sqlite => Raw::Sqlite(self.sqlite().connect().await.unwrap()),
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.kind == Kind::Postgres {
            administer(format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        }
    }
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let (entry, inside) = (
            entry.as_ref().unwrap().path(),
            to.join(entry.as_ref().unwrap().file_name()),
        );
        if entry.is_dir() {
            std::fs::create_dir_all(&inside).unwrap();
            copy_folder(&entry, &inside);
        } else {
            std::fs::copy(&entry, &inside).unwrap();
        }
    }
}

fn server_url() -> String {
    std::env::var("TEST_DATABASE_URL").unwrap_or_else(|_| "postgres://postgres@127.0.0.1:5432/postgres".to_owned())
}

fn server() -> PgConnectOptions {
    PgConnectOptions::from_str(&server_url())
        .unwrap_or_else(|_| panic!("TEST_DATABASE_URL is not a PostgreSQL URL"))
        .ssl_mode(sqlx::postgres::PgSslMode::Disable)
}

/// Runs one statement on the server, on a thread of its own: a guard that is dropped cannot wait.
fn administer(sql: String) {
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let server = server();
            let mut connection = server.connect().await.unwrap_or_else(|problem| {
                panic!(
                    "these tests need PostgreSQL, and {}:{} does not answer ({problem}): start one, name another in \
                     TEST_DATABASE_URL, or let tests/run provide it",
                    server.get_host(),
                    server.get_port()
                )
            });
            sqlx::query(&sql)
                .execute(&mut connection)
                .await
                .unwrap_or_else(|problem| panic!("{sql}: {problem}"));
            connection.close().await.unwrap();
        });
    };
    let done = std::thread::spawn(work).join();
    if let Err(panic) = done
        && !std::thread::panicking()
    {
        std::panic::resume_unwind(panic);
    }
}

/// One process's store, and what runs beside it.
pub struct Instance {
    pub store: Store,
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
}

impl Instance {
    pub async fn open(options: &EngineOptions, clock: Clock) -> Result<Self, StoreError> {
        Self::open_by(options, clock, Chance::system()).await
    }

    pub async fn open_by(options: &EngineOptions, clock: Clock, chance: Chance) -> Result<Self, StoreError> {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let store = Store::open(options, clock, chance, &tasks, &stop).await?;
        Ok(Self { store, tasks, stop })
    }

    /// Ends it as a process ends: everything that waits is answered, then the connections are closed.
    pub async fn close(self) {
        let Self { store, tasks, stop } = self;
        stop.cancel();
        store.close().await;
        drop(store);
        tasks.close();
        soon("the end of the store's tasks", tasks.wait()).await;
    }
}

impl Deref for Instance {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

/// A connection past the store, to look and to meddle.
pub enum Raw {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

macro_rules! on_raw {
    ($raw:expr, $one:ident => $body:expr) => {
        match $raw {
            Raw::Postgres($one) => $body,
            Raw::Sqlite($one) => $body,
        }
    };
}

impl Raw {
    /// Runs a statement and counts the rows it touched.
    pub async fn try_execute(&mut self, sql: &str) -> Result<u64, sqlx::Error> {
        on_raw!(self, one => Ok(sqlx::query(sql).execute(one).await?.rows_affected()))
    }

    pub async fn execute(&mut self, sql: &str) -> u64 {
        self.try_execute(sql)
            .await
            .unwrap_or_else(|problem| panic!("{sql}: {problem}"))
    }

    /// The first column of every row, as text.
    pub async fn texts(&mut self, sql: &str) -> Vec<String> {
        on_raw!(self, one => {
            let rows = sqlx::query(sql).fetch_all(one).await.unwrap_or_else(|problem| panic!("{sql}: {problem}"));
            rows.iter().map(|row| row.try_get_unchecked(0).unwrap()).collect()
        })
    }

    /// The first column of every row, as bytes.
    pub async fn bytes(&mut self, sql: &str) -> Vec<Vec<u8>> {
        on_raw!(self, one => {
            let rows = sqlx::query(sql).fetch_all(one).await.unwrap_or_else(|problem| panic!("{sql}: {problem}"));
            rows.iter().map(|row| row.try_get(0).unwrap()).collect()
        })
    }

    /// The first column of every row, as numbers.
    pub async fn numbers(&mut self, sql: &str) -> Vec<i64> {
        on_raw!(self, one => {
            let rows = sqlx::query(sql).fetch_all(one).await.unwrap_or_else(|problem| panic!("{sql}: {problem}"));
            rows.iter().map(|row| row.try_get(0).unwrap()).collect()
        })
    }

    /// One number.
    pub async fn number(&mut self, sql: &str) -> i64 {
        self.numbers(sql).await[0]
    }

    /// How many rows a table has under a condition.
    pub async fn count(&mut self, table: &str, condition: &str) -> i64 {
        self.number(&format!("SELECT count(*) FROM {table} WHERE {condition}"))
            .await
    }
}

/// Waits for something that must come, however slow the machine is.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, future)
        .await
        .unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// Looks again and again until a condition holds.
pub async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    soon(what, async {
        let mut again = tokio::time::interval(Duration::from_millis(5));
        while !holds().await {
            again.tick().await;
        }
    })
    .await;
}

pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
