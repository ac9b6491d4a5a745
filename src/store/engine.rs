//! Connecting: pools, migrations, keys, and hearing of what other processes append.

use std::path::PathBuf;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use aggregates::values::Timestamp;
use postgres_es::PostgresEventRepository;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use zeroize::Zeroizing;

use super::StoreError;
use super::append::Writer;
use super::deadline::within;
use super::masters::{MasterSource, OPENING, Sources};
use super::migrations;
use super::plan::Head;
use super::postgres::PostgresWriter;
use super::sqlite::SqliteWriter;
use crate::chance::Chance;
use crate::keys::{KeyKind, Keyring, WrappedKey};

/// How to reach and use a store.
#[derive(Clone)]
pub struct EngineOptions {
    /// A PostgreSQL URL; none: SQLite in `data_dir`.
    pub database_url: Option<Zeroizing<String>>,
    /// The folder of `registry.db`.
    pub data_dir: PathBuf,
    /// See [`MasterSource`].
    pub master: MasterSource,
    /// A file with the master key that will be the next, or was the one before; it need not exist.
    pub standby: Option<PathBuf>,
    /// Connections that read.
    pub readers: u32,
    /// How many aggregates and data keys are kept in memory.
    pub cache_entries: u64,
    /// How often to look for other writers' events when nobody tells of them.
    pub poll: Duration,
}

/// The two engines. `side` writes what is not part of a unit: checkpoints, attempts, keys. `quick` writes what a power
/// cut may take back, and does not wait for the disk.
#[derive(Clone)]
pub(super) enum Engine {
    Postgres {
        pool: PgPool,
        side: PgPool,
        quick: PgPool,
        repository: Arc<PostgresEventRepository>,
    },
    Sqlite {
        pool: SqlitePool,
        side: SqlitePool,
        quick: SqlitePool,
    },
}

/// Runs the same reading code on either engine's read pool.
macro_rules! on_pool {
    ($engine:expr, $pool:ident => $body:expr) => {
        match $engine {
            $crate::engine::Engine::Postgres { pool: $pool, .. } => $body,
            $crate::engine::Engine::Sqlite { pool: $pool, .. } => $body,
        }
    };
}
pub(super) use on_pool;

/// Runs the same code on either engine's small writing pool.
macro_rules! on_side {
    ($engine:expr, $pool:ident => $body:expr) => {
        match $engine {
            $crate::engine::Engine::Postgres { side: $pool, .. } => $body,
            $crate::engine::Engine::Sqlite { side: $pool, .. } => $body,
        }
    };
}
pub(super) use on_side;

/// Runs the same code on either engine's pool that does not wait for the disk.
macro_rules! on_quick {
    ($engine:expr, $pool:ident => $body:expr) => {
        match $engine {
            $crate::engine::Engine::Postgres { quick: $pool, .. } => $body,
            $crate::engine::Engine::Sqlite { quick: $pool, .. } => $body,
        }
    };
}
pub(super) use on_quick;

/// A statement that writes a row of `keys`, with the five columns a wrapped key has.
macro_rules! insert_key {
    ($statement:expr, $key:expr) => {
        sqlx::query($statement)
            .bind(&$key.kind)
            .bind(&$key.kid)
            .bind(&$key.wrapped)
            .bind(&$key.kek_id)
            .bind($key.created_at)
    };
}
pub(super) use insert_key;

/// How long the database may say nothing to a connection that nobody else uses.
const ALIVE: Duration = Duration::from_millis(1_500);

const HEAD: &str = "SELECT position, recorded_at FROM log_head WHERE lane = 0";

/// The log ends where it did, a microsecond later: what appenders remember of it is believed no more, and what they sent
/// before writes nothing.
pub(super) const LATER_HEAD: &str = "UPDATE log_head SET recorded_at = recorded_at + 1 WHERE lane = 0";
const KEYS: &str = "SELECT kind, kid, wrapped, kek_id, created_at, retired_at FROM keys";
const NEW_KEY: &str = "
    INSERT INTO keys (kind, kid, wrapped, kek_id, created_at) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (kind, kid) DO NOTHING";

impl Engine {
    /// Connects and migrates. Several processes may do so at once.
    pub async fn open(options: &EngineOptions) -> Result<Self, StoreError> {
        match &options.database_url {
            Some(url) => Self::open_postgres(url, options).await,
            None => Self::open_sqlite(options).await,
        }
    }

    async fn open_postgres(url: &str, options: &EngineOptions) -> Result<Self, StoreError> {
        let connect = postgres_options(url)?;
        // That a table is there already is what a second start expects, and no notice.
        let mut connection = connect
            .clone()
            .options([("client_min_messages", "warning")])
            .connect()
            .await?;
        migrate_postgres(&mut connection).await?;
        connection.close().await?;
        let pool = |size: u32, options: &[(&str, &str)]| {
            PgPoolOptions::new()
                .max_connections(size)
                // A ping before each use costs a third of a point read. A connection that has just been used lives.
                .test_before_acquire(false)
                .before_acquire(|connection, used| {
                    Box::pin(async move {
                        if used.idle_for > TRUSTED {
                            connection.ping().await?;
                        }
                        Ok(true)
                    })
                })
                .acquire_timeout(Duration::from_millis(2_500))
                .connect_lazy_with(
                    connect
                        .clone()
                        .options([("statement_timeout", "10s")])
                        .options(options.iter().copied()),
                )
        };
        // Nor from what is counted: what is waited for there is given up before its caller is.
        let quick = pool(
            2,
            &[
                ("synchronous_commit", "off"),
                ("lock_timeout", "1s"),
                ("idle_in_transaction_session_timeout", "2s"),
            ],
        );
        // A process that hangs in the middle of a transaction must not keep others from its followers.
        let side = pool(
            2,
            &[("lock_timeout", "4s"), ("idle_in_transaction_session_timeout", "4s")],
        );
        let pool = pool(options.readers, &[]);
        Ok(Self::Postgres {
            repository: Arc::new(PostgresEventRepository::new(pool.clone())),
            pool,
            side,
            quick,
        })
    }

    async fn open_sqlite(options: &EngineOptions) -> Result<Self, StoreError> {
        std::fs::create_dir_all(&options.data_dir)
            .map_err(|error| StoreError::Unavailable(format!("{}: {error}", options.data_dir.display())))?;
        migrate_sqlite(options).await?;
        let writable = sqlite_options(options);
        let pool = SqlitePoolOptions::new()
            .max_connections(options.readers)
            .test_before_acquire(false)
            .connect_lazy_with(writable.clone().read_only(true));
        let side = SqlitePoolOptions::new()
            .max_connections(1)
            .test_before_acquire(false)
            .connect_lazy_with(writable.clone());
        let quick = SqlitePoolOptions::new()
            .max_connections(1)
            .test_before_acquire(false)
            .connect_lazy_with(
                writable
                    .synchronous(SqliteSynchronous::Normal)
                    .pragma("wal_autocheckpoint", "0"),
            );
        Ok(Self::Sqlite { pool, side, quick })
    }

    /// The connection for the appender.
    pub fn writer(&self, options: &EngineOptions) -> Writer {
        match self {
            Self::Postgres { pool, .. } => Writer::Postgres(PostgresWriter::new((*pool.connect_options()).clone())),
            Self::Sqlite { .. } => Writer::Sqlite(SqliteWriter::new(writer_options(options))),
        }
    }

    /// Where the log ends.
    pub async fn head(&self) -> Result<Head, StoreError> {
        on_pool!(self, pool => {
            let row = sqlx::query(HEAD).fetch_one(pool).await?;
            Ok(Head { position: row.try_get("position")?, recorded_at: row.try_get("recorded_at")? })
        })
    }

    /// Opens the store's keys; a new store gets its own.
    pub async fn keyring(&self, sources: &Sources, chance: &Chance, now: Timestamp) -> Result<Keyring, StoreError> {
        let known = self.wrapped_keys().await?;
        let masters = sources.read(chance, known.is_empty(), OPENING).await?;
        if let (true, Some(master)) = (known.is_empty(), masters.first()) {
            self.add_keys(&Keyring::draw(master, chance, now)?).await?;
        }
        let known = self.wrapped_keys().await?;
        if known.iter().any(|key| key.kind == KeyKind::Notary.as_str()) {
            return Ok(Keyring::open(&masters, &known)?);
        }
        // A store from before there was a notary.
        let keyring = Keyring::open(&masters, &known)?;
        let first = Keyring::draw_notary(1, &keyring.masters(), chance, now)?;
        self.add_keys(&[first]).await?;
        Ok(Keyring::open(&masters, &self.wrapped_keys().await?)?)
    }

    /// The keys that all processes share, wrapped.
    pub async fn wrapped_keys(&self) -> Result<Vec<WrappedKey>, StoreError> {
        on_side!(self, pool => {
            let rows = sqlx::query(KEYS).fetch_all(pool).await?;
            rows.into_iter()
                .map(|row| {
                    Ok(WrappedKey {
                        kind: row.try_get("kind")?,
                        kid: row.try_get("kid")?,
                        wrapped: row.try_get("wrapped")?,
                        kek_id: row.try_get("kek_id")?,
                        created_at: row.try_get("created_at")?,
                        retired_at: row.try_get("retired_at")?,
                    })
                })
                .collect()
        })
    }

    /// Writes the keys of a new store. Of two processes that start at once, the second keeps the first one's.
    async fn add_keys(&self, keys: &[WrappedKey]) -> Result<(), StoreError> {
        on_side!(self, pool => {
            let mut transaction = pool.begin().await?;
            for key in keys {
                let done = insert_key!(NEW_KEY, key)
                    .execute(&mut *transaction)
                    .await?;
                // The fingerprint comes first: whoever wrote it writes the rest.
                if done.rows_affected() == 0 {
                    return Ok(transaction.rollback().await?);
                }
            }
            Ok(transaction.commit().await?)
        })
    }

    /// Closes the pools: a SQLite file is then left without its `-wal` and `-shm` companions.
    pub async fn close(&self) {
        // The pool that only reads goes first: only a connection that may write puts the companions away.
        match self {
            Self::Postgres { pool, side, quick, .. } => {
                close(pool).await;
                close(quick).await;
                close(side).await;
            }
            Self::Sqlite { pool, side, quick, .. } => {
                close(pool).await;
                close(quick).await;
                close(side).await;
            }
        }
    }
}

/// Closes a pool. `sqlx` does not always wait for a connection that is on its way back, and leaves it open.
async fn close<DB: sqlx::Database>(pool: &sqlx::Pool<DB>) {
    pool.close().await;
    for _ in 0..500 {
        if pool.size() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
        pool.close().await;
    }
}

/// What of the environment `sqlx` takes for what a URL does not say, and the parameters of a URL that say it.
const FOREIGN: [(&str, &[&str]); 12] = [
    ("PGHOST", &["host", "hostaddr"]),
    ("PGHOSTADDR", &["host", "hostaddr"]),
    ("PGPORT", &["port"]),
    ("PGUSER", &["user"]),
    ("PGPASSWORD", &["password"]),
    ("PGPASSFILE", &["password"]),
    ("PGDATABASE", &["dbname"]),
    ("PGSSLMODE", &["sslmode", "ssl-mode"]),
    ("PGSSLROOTCERT", &["sslrootcert", "ssl-root-cert", "ssl-ca"]),
    ("PGSSLCERT", &["sslcert", "ssl-cert"]),
    ("PGSSLKEY", &["sslkey", "ssl-key"]),
    // What a URL says is added to it.
    ("PGOPTIONS", &[]),
];

/// What a URL says, by the names of parameters.
fn said_by(url: &str) -> Vec<&str> {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (who, place) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = who.split_once(':').unwrap_or((who, ""));
    // An address of IPv6 has colons of its own, in brackets.
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (place, ""),
    };
    let parts = [
        ("host", host),
        ("port", port),
        ("user", user),
        ("password", password),
        ("dbname", path),
    ];
    let said = parts.into_iter().filter(|(_, part)| !part.is_empty());
    said.map(|(name, _)| name)
        .chain(query.split('&').filter_map(|pair| Some(pair.split_once('=')?.0)))
        .collect()
}

/// The variable of the environment that would change how the database of a URL is reached, if one is set.
fn foreign(url: &str, is_set: impl Fn(&str) -> bool) -> Option<&'static str> {
    let said = said_by(url);
    let acts = |(_, names): &&(&str, &[&str])| !names.iter().any(|name| said.contains(name));
    let mut acting = FOREIGN.iter().filter(acts).map(|(variable, _)| *variable);
    acting.find(|variable| is_set(variable))
}

fn postgres_options(url: &str) -> Result<PgConnectOptions, StoreError> {
    // Another program's setting must not choose the schema, or take the encryption away.
    if let Some(variable) = foreign(url, |variable| std::env::var_os(variable).is_some()) {
        return Err(StoreError::Unavailable(format!(
            "{variable} is set in the environment and would change how it is reached, which only its URL may: unset it"
        )));
    }
    // Without a password of its own it would be looked for in a file of the user's.
    let no_password = !said_by(url).contains(&"password");
    // The text of the parse error is not shown: it could quote the password.
    PgConnectOptions::from_str(url)
        .map(|options| if no_password { options.password("") } else { options })
        .map(|options| {
            options
                .application_name("user-registry")
                .log_slow_statements(log_level(), SLOW)
        })
        .map_err(|_| StoreError::Unavailable("the database URL is not a PostgreSQL URL".into()))
}

/// How long after its last use a connection is used without asking whether it is still there.
const TRUSTED: Duration = Duration::from_millis(100);
const SLOW: Duration = Duration::from_secs(1);

fn log_level() -> tracing_log_level::LevelFilter {
    tracing_log_level::LevelFilter::Debug
}

/// `sqlx` names log levels by the `log` crate's type.
mod tracing_log_level {
    pub use log::LevelFilter;
}

fn sqlite_options(options: &EngineOptions) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(options.data_dir.join("registry.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(4))
        // What is deleted is overwritten: an erased person must not be found in free pages.
        .pragma("secure_delete", "ON")
        .log_slow_statements(log_level(), SLOW)
}

/// A batch touches some hundred pages: they stay in memory, and those that batches share are carried over to the
/// file once for several batches.
fn writer_options(options: &EngineOptions) -> SqliteConnectOptions {
    sqlite_options(options)
        .pragma("cache_size", "-16000")
        .pragma("wal_autocheckpoint", "4000")
}

/// The migrator takes an advisory lock. Where that is none, a second migrator at the same time fails, and finds the
/// first one's work done when it tries again.
async fn migrate_postgres(connection: &mut sqlx::PgConnection) -> Result<(), StoreError> {
    const TRIES: u32 = 5;
    for _ in 1..TRIES {
        match migrations::postgres().run(&mut *connection).await {
            Ok(()) => return Ok(()),
            Err(
                problem @ (sqlx::migrate::MigrateError::Execute(_) | sqlx::migrate::MigrateError::ExecuteMigration(..)),
            ) => {
                debug!(%problem, "migrating once more");
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            Err(problem) => return Err(migration(problem)),
        }
    }
    migrations::postgres().run(connection).await.map_err(migration)
}

/// SQLite has no lock for migrators, so the first one holds a lock file.
async fn migrate_sqlite(options: &EngineOptions) -> Result<(), StoreError> {
    let path = options.data_dir.join("registry.lock");
    let lock = tokio::task::spawn_blocking(move || {
        let file = std::fs::File::create(path)?;
        file.lock()?;
        Ok::<_, std::io::Error>(file)
    });
    let lock = lock
        .await
        .map_err(|error| StoreError::Unavailable(error.to_string()))?
        .map_err(|error| StoreError::Unavailable(format!("registry.lock: {error}")))?;
    create_private(options)?;
    let mut connection = sqlite_options(options).connect().await?;
    migrations::sqlite().run(&mut connection).await.map_err(migration)?;
    connection.close().await?;
    drop(lock);
    restrict(options)
}

/// An empty file is a new database to SQLite: made by us, it is its owner's from the first byte on.
fn create_private(options: &EngineOptions) -> Result<(), StoreError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let path = options.data_dir.join("registry.db");
    std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&path)
        .map(|_| ())
        .map_err(|error| StoreError::Unavailable(format!("{}: {error}", path.display())))
}

/// The store is its owner's only, whatever the umask.
fn restrict(options: &EngineOptions) -> Result<(), StoreError> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = options.data_dir.join("registry.db");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
        .map_err(|error| StoreError::Unavailable(format!("{}: {error}", path.display())))
}

fn migration(error: sqlx::migrate::MigrateError) -> StoreError {
    match error {
        sqlx::migrate::MigrateError::Execute(error) => error.into(),
        other => StoreError::Refused(format!("migration: {other}")),
    }
}

/// Makes a folder that only its owner can enter.
pub fn private_folder(path: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Moves `head` when any process appends: told by PostgreSQL where it can, by looking where it cannot. Says by `away`
/// when PostgreSQL says nothing at all, which is known from the connection that is told: nobody else waits on it.
pub(super) async fn listen(
    engine: Engine,
    head: watch::Sender<i64>,
    away: watch::Sender<bool>,
    poll: Duration,
    stop: CancellationToken,
) {
    let mut ear = None;
    loop {
        if let (None, Engine::Postgres { side, .. }) = (&ear, &engine) {
            ear = tokio::select! {
                () = stop.cancelled() => return,
                ear = timeout(ALIVE, ears(side)) => ear.ok().flatten(),
            };
        }
        // With an ear, looking is only a safeguard.
        let pause = if ear.is_some() {
            poll.max(Duration::from_secs(1))
        } else {
            poll
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            heard = hear(&mut ear) => {
                if let Err(error) = heard {
                    debug!(%error, "LISTEN was cut; polling");
                    ear = None;
                }
            }
        }
        if let Some(one) = &mut ear
            && timeout(ALIVE, sqlx::query("SELECT 1").execute(one)).await.is_err()
        {
            warn!("the database says nothing");
            away.send_replace(true);
            ear = None;
        }
        match within(ALIVE * 2, engine.head()).await {
            Ok(now) => {
                away.send_if_modified(|away| std::mem::replace(away, false));
                head.send_if_modified(|known| {
                    let later = now.position > *known;
                    *known = now.position.max(*known);
                    later
                });
            }
            // The pools are being closed.
            Err(_) if stop.is_cancelled() => return,
            Err(error) => warn!(%error, "the head of the log cannot be read"),
        }
    }
}

async fn ears(pool: &PgPool) -> Option<PgListener> {
    let mut ear = PgListener::connect_with(pool).await.ok()?;
    ear.listen("registry_head").await.ok()?;
    Some(ear)
}

async fn hear(ear: &mut Option<PgListener>) -> Result<(), sqlx::Error> {
    match ear {
        Some(ear) => ear.recv().await.map(|_| ()),
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_url_does_not_say_nobody_else_says() {
        let full = "postgres://u:p@[::1]:5432/d?sslmode=require&sslrootcert=a&sslcert=b&sslkey=c";
        for (url, variable, acts) in [
            (full, "PGOPTIONS", true),
            (full, "PGSSLMODE", false),
            (full, "PGHOST", false),
            (full, "PGPASSFILE", false),
            (full, "PGSSLKEY", false),
            ("postgres://u:p@h:1/d", "PGSSLMODE", true),
            ("postgres://u:p@h:1/d?options=-c%20a=b", "PGOPTIONS", true),
            ("postgres://u@h/d", "PGPASSWORD", true),
            ("postgres://u@h/d?password=p", "PGPASSWORD", false),
            ("postgres://u@[::1]/d", "PGPORT", true),
            ("postgres://u@h:1/", "PGDATABASE", true),
            ("postgres:///d?host=/run", "PGHOSTADDR", false),
            ("postgres:///d", "PGUSER", true),
            ("postgres:///d", "PGHOSTADDR", true),
            ("postgres://u:p@h:1/d", "PGAPPNAME", false),
        ] {
            let found = foreign(url, |name| name == variable);
            assert_eq!(found, acts.then_some(variable), "{url}");
        }
    }
}
