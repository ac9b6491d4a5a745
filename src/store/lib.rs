//! The store: the log, the names, the secrets and the immediate read models, on PostgreSQL or SQLite.
//!
//! Writing goes through one door: a [`Unit`] stages what one command wants, [`Unit::append`] hands it to the
//! process's appender, which writes whatever waits in one transaction. SQL stands here and in `migrations` only.

mod api_keys;
mod append;
pub mod audit;
pub mod cache;
pub mod chance;
mod claims;
pub mod clock;
mod codes;
mod context;
pub mod deadline;
mod disclose;
mod discover;
mod due;
mod engine;
mod error;
mod event;
mod follow;
pub mod keys;
mod lag;
pub mod leaf;
mod log;
mod master_command;
mod masters;
mod memory;
mod migrations;
mod past;
mod piece;
mod plan;
mod platform;
mod postgres;
mod prepared;
mod read;
mod rebuild;
mod repair;
mod rotation;
mod rows;
mod search;
mod sqlite;
mod statistics;
mod stream;
mod sweep;
pub mod trace;
mod tree;
mod undelivered;
mod unit;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use aggregates::values::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use api_keys::{ApiKeyRecord, AuthenticatedKeyRow};
pub use claims::GuardKey;
pub use codes::{Guess, MOST_TRIES};
pub use context::{Actor, Context};
pub use disclose::{Disclosed, Part};
pub use discover::{Circle, Near, Nearby};
pub use due::Due;
pub use engine::EngineOptions;
pub use engine::private_folder;
pub use error::StoreError;
pub use event::{AnyEvent, Row, event_kinds, event_meanings};
pub use follow::{Checkpoint, Lease, RowWrite, Trouble};
pub use lag::{AGAIN, FollowerState};
pub use masters::MasterSource;
pub use past::Until;
pub use piece::Piece;
pub use plan::Head;
use plan::NameKey;
pub use platform::{PlatformFilter, PlatformOrder};
pub use prepared::{
    Appended, Code, Credential, Farewell, Guard, Idempotency, Prepared, Receipt, Secret, SecretKind, StagedEvent,
    StagedStream,
};
pub use read::{
    AuthenticatedRow, COUNTED, CredentialRow, DomainFilter, EventFilter, EventRecord, OpenedEvent, SecretRow,
    UserFilter, UserSort,
};
pub use rebuild::{Difference, RebuildReport};
pub use repair::{Skip, Skipped};
pub use rotation::{Former, Pass, Rewrapping, SIGNED_LIFE};
pub use rows::{Cell, Read, Table, Written};
pub use statistics::{Period, Tally};
pub use stream::{AnyState, Stream};
pub use tree::{HashedEvent, StoredHead};
pub use undelivered::{Ended, Undelivered};
pub use unit::{ExecuteError, Executed, Unit};

use crate::cache::Cache;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::keys::{DataKey, Keyring};
use append::{Appender, Job};
use engine::Engine;
use masters::Sources;
use memory::Memory;

/// How many commands may wait for the appender before new ones are refused.
const WAITING: usize = 4_096;
/// How long a caller waits for its unit.
const ANSWER: Duration = Duration::from_secs(3);

/// One store, shared by everything in the process.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    keyring: Keyring,
    sources: Sources,
    /// Whether the last write was refused because the database cannot be written.
    unwritten: Arc<AtomicBool>,
    chance: Chance,
    clock: Clock,
    jobs: mpsc::Sender<Job>,
    head: watch::Sender<i64>,
    away: watch::Sender<bool>,
    aggregates: Cache<Kept>,
    data_keys: Cache<DataKey>,
    ear: Ear,
}

/// An aggregate in memory.
#[derive(Clone)]
struct Kept {
    state: AnyState,
    /// How many events of the stream it holds.
    version: i64,
    /// Whether somebody who relied on it lost: the events since are read before anybody relies on it again.
    outrun: bool,
}

/// What hears of other writers, and how it is ended before the connections it looks through are closed.
struct Ear {
    stop: CancellationToken,
    task: std::sync::Mutex<Option<tokio::task::JoinHandle<()>>>,
}

impl Ear {
    async fn end(&self) {
        self.stop.cancel();
        let task = self
            .task
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take();
        if let Some(task) = task {
            // It ends by itself; that it panicked would have been told already.
            let _ = task.await;
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.inner.engine {
            Engine::Postgres { .. } => "Store(postgres)",
            Engine::Sqlite { .. } => "Store(sqlite)",
        })
    }
}

impl Store {
    /// Opens the store: connects, migrates, opens the keys, starts the appender and the ear for other writers.
    ///
    /// `tasks` and `stop` are how the caller ends what was started: the appender ends when the last `Store` is
    /// gone, the ear when `stop` is cancelled or the store closed.
    pub async fn open(
        options: &EngineOptions,
        clock: Clock,
        chance: Chance,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Self, StoreError> {
        let engine = Engine::open(options).await?;
        let sources = Sources::new(options.master.clone(), options.standby.clone());
        let keyring = engine.keyring(&sources, &chance, clock.now()).await?;
        let (jobs, waiting) = mpsc::channel(WAITING);
        let (head, _) = watch::channel(engine.head().await?.position);
        let unwritten = Arc::new(AtomicBool::new(false));
        let appender = Appender::new(
            engine.writer(options),
            waiting,
            head.clone(),
            keyring.clone(),
            clock.clone(),
            Memory::new(options.cache_entries),
            Arc::clone(&unwritten),
        );
        let ended = appender
            .start()
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        tasks.spawn(async move {
            // It sends nothing: that it is dropped says that the thread is done.
            let _ = ended.await;
        });
        let stop = stop.child_token();
        let (away, _) = watch::channel(false);
        let task = tasks.spawn(engine::listen(
            engine.clone(),
            head.clone(),
            away.clone(),
            options.poll,
            stop.clone(),
        ));
        let ear = Ear {
            stop,
            task: std::sync::Mutex::new(Some(task)),
        };
        Ok(Self {
            inner: Arc::new(Inner {
                engine,
                keyring,
                sources,
                unwritten,
                chance,
                clock,
                jobs,
                head,
                away,
                aggregates: Cache::new(options.cache_entries),
                data_keys: Cache::with_life(options.cache_entries, Duration::from_mins(1)),
                ear,
            }),
        })
    }

    /// The keys this store's rows are sealed, named and signed with.
    #[must_use]
    pub fn keyring(&self) -> &Keyring {
        &self.inner.keyring
    }

    /// Now, as the store sees it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// The source of ids and secrets.
    #[must_use]
    pub fn chance(&self) -> &Chance {
        &self.inner.chance
    }

    /// The newest log position this process has heard of; changes wake whoever waits on it.
    #[must_use]
    pub fn watch_head(&self) -> watch::Receiver<i64> {
        self.inner.head.subscribe()
    }

    /// Whether the database says nothing any more; changes wake whoever waits on it. One that refuses or is closed says so
    /// to whoever asks.
    #[must_use]
    pub fn watch_away(&self) -> watch::Receiver<bool> {
        self.inner.away.subscribe()
    }

    /// `sqlite` or `postgres`.
    #[must_use]
    pub fn engine_name(&self) -> &'static str {
        match self.inner.engine {
            Engine::Postgres { .. } => "postgres",
            Engine::Sqlite { .. } => "sqlite",
        }
    }

    /// A unit of work for one command.
    #[must_use]
    pub fn unit(&self, context: Context) -> Unit {
        Unit::new(self.clone(), context)
    }

    /// Hands a unit to the appender and waits for its answer.
    async fn append(&self, unit: Prepared) -> Result<Appended, StoreError> {
        let (reply, answer) = oneshot::channel();
        let busy = || StoreError::Unavailable("too many commands wait".into());
        self.inner.jobs.try_send(Job { unit, reply }).map_err(|_| busy())?;
        match tokio::time::timeout(ANSWER, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(StoreError::Unavailable("the appender has stopped".into())),
            Err(_) => Err(StoreError::Unavailable("the log did not answer in time".into())),
        }
    }
}
