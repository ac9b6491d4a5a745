//! The appender: one task per process that writes what waits, in batches of one transaction each.
//!
//! There is no artificial delay: while one batch commits, the next one gathers. Positions are read inside the
//! transaction, under the head lock, so any number of processes may append to one store. What else a batch has to know
//! is remembered from the batches before, and believed only if the head, under that lock, stands where they left it.
//!
//! On PostgreSQL a round trip costs more than what it carries. A plain batch of which everything is remembered is one
//! statement there: it moves the head from where it was left, or writes nothing; then the batch goes the longer way
//! (lock, read, decide, write, commit).

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aggregates::values::Timestamp;
use metrics::{Counter, Histogram, counter, histogram};
use projections::{NameKind, UserRow};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, error, warn};
use uuid::Uuid;

use super::memory::Memory;
use super::plan::{self, Facts, Fate, Head, Plan, Wanted};
use super::postgres::PostgresWriter;
use super::prepared::{Appended, Prepared};
use super::sqlite::SqliteWriter;
use super::{NameKey, StoreError};
use crate::clock::Clock;
use crate::keys::Keyring;

/// A batch holds at most this many events.
const BATCH_EVENTS: usize = 256;
/// And at most this many bytes of them: a boundary may have a megabyte.
const BATCH_BYTES: usize = 8 << 20;
/// How long a batch may look for a database before its units are answered `Unavailable`.
const PATIENCE: Duration = Duration::from_millis(2_500);
/// How long one round trip may take.
const ROUND_TRIP: Duration = Duration::from_secs(5);

/// A unit that waits for its answer.
pub(super) struct Job {
    pub unit: Prepared,
    pub reply: oneshot::Sender<Result<Appended, StoreError>>,
}

/// The connection that writes: one per process.
pub(super) enum Writer {
    Postgres(PostgresWriter),
    Sqlite(SqliteWriter),
}

/// The same call on either engine, with a limit on how long it may take.
macro_rules! both {
    ($writer:expr, $one:ident => $call:expr) => {
        match $writer {
            Writer::Postgres($one) => within($call).await,
            Writer::Sqlite($one) => within($call).await,
        }
    };
}

async fn within<T>(call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(ROUND_TRIP, call)
        .await
        .unwrap_or_else(|_| Err(StoreError::Unavailable("no answer in time".into())))
}

impl Writer {
    async fn begin(&mut self) -> Result<Head, StoreError> {
        both!(self, one => one.begin())
    }

    async fn gather(&mut self, wanted: &Wanted, now: i64) -> Result<Facts, StoreError> {
        both!(self, one => one.gather(wanted, now))
    }

    async fn users(&mut self, ids: &[Uuid]) -> Result<Vec<UserRow>, StoreError> {
        both!(self, one => one.users(ids))
    }

    async fn holders(&mut self, names: &[NameKey]) -> Result<Vec<(NameKey, Uuid)>, StoreError> {
        both!(self, one => one.holders(names))
    }

    async fn write(&mut self, plan: &Plan) -> Result<(), StoreError> {
        both!(self, one => one.write(plan))
    }

    async fn commit(&mut self) -> Result<(), StoreError> {
        both!(self, one => one.commit())
    }

    async fn rollback(&mut self) {
        let _ = both!(self, one => one.rollback());
    }

    async fn has_event(&mut self, event_id: Uuid) -> Result<bool, StoreError> {
        both!(self, one => one.has_event(event_id))
    }

    /// Ends the transaction so that no statement of before it writes anything, should it still come.
    async fn shut_out(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Postgres(one) => within(one.shut_out()).await,
            // Its statements are calls into this process.
            Self::Sqlite(_) => {
                self.rollback().await;
                Ok(())
            }
        }
    }

    fn disconnect(&mut self) {
        match self {
            Self::Postgres(one) => one.disconnect(),
            Self::Sqlite(one) => one.disconnect(),
        }
    }

    /// Ends the connection and waits for it: dropped, it would still be closing when the process ends.
    async fn close(self) {
        match self {
            Self::Postgres(one) => one.close().await,
            Self::Sqlite(one) => one.close().await,
        }
    }
}

/// How a try to write a batch ended short of a commit.
enum Trouble {
    /// Nothing was written; the connection may be gone.
    NotWritten(StoreError),
    /// COMMIT was sent and no answer came back.
    Unknown(StoreError),
}

/// What is known after a batch was decided: answers by index, and who waits.
struct Decided {
    answers: Vec<(usize, Result<Appended, StoreError>)>,
    waits: Vec<usize>,
    plan: Plan,
}

/// The units of a batch whose callers still wait, each with its place in it and what is to be done with it.
struct Batch<'a> {
    places: Vec<usize>,
    units: Vec<&'a Prepared>,
    fates: Vec<Fate>,
}

impl Batch<'_> {
    /// `taken`: the names somebody holds, of those the batch claims.
    fn decide(
        self,
        mut facts: Facts,
        taken: &HashSet<NameKey>,
        head: Head,
        recorded_at: i64,
        keyring: &Keyring,
    ) -> Decided {
        let mut decided = Decided {
            answers: Vec::with_capacity(self.units.len()),
            waits: Vec::new(),
            plan: Plan {
                after: head,
                position: head.position,
                recorded_at,
                ..Plan::default()
            },
        };
        for (index, (unit, fate)) in self.places.into_iter().zip(self.units.into_iter().zip(self.fates)) {
            match fate {
                Fate::Waits => decided.waits.push(index),
                // Whoever wants a name that many want is told at once, not one of them per batch.
                Fate::WaitsForNames(names) => match plan::held(&names, taken, &decided.plan) {
                    Some(kind) => decided.answers.push((index, Err(StoreError::Taken(kind)))),
                    None => decided.waits.push(index),
                },
                Fate::Lost(error) => decided.answers.push((index, Err(error))),
                Fate::Claims(claims) => {
                    let answer = match claims.iter().find(|claim| taken.contains(claim)) {
                        Some((kind, _)) => Err(StoreError::Taken(*kind)),
                        None => Ok(plan::add(unit, &mut facts, &mut decided.plan, keyring)),
                    };
                    decided.answers.push((index, answer));
                }
            }
        }
        decided
    }
}

/// The units whose callers still wait, with their places.
fn present(jobs: &[Job]) -> (Vec<usize>, Vec<&Prepared>) {
    let present = jobs.iter().enumerate().filter(|(_, job)| !job.reply.is_closed());
    present.map(|(place, job)| (place, &job.unit)).unzip()
}

/// The task.
pub(super) struct Appender {
    writer: Writer,
    jobs: mpsc::Receiver<Job>,
    head: watch::Sender<i64>,
    keyring: Keyring,
    clock: Clock,
    memory: Memory,
    unwritten: Arc<AtomicBool>,
    measured: Measured,
}

/// What is measured of every batch: taken hold of where the store is opened, for the thread of the appender is no
/// one's but its own.
struct Measured {
    seconds: Histogram,
    commands: Histogram,
    events: Counter,
    conflicts: Counter,
    unknown_outcomes: Counter,
}

impl Measured {
    fn new() -> Self {
        Self {
            seconds: histogram!("registry_append_seconds"),
            commands: histogram!("registry_append_batch_commands"),
            events: counter!("registry_append_events_total"),
            conflicts: counter!("registry_append_conflicts_total"),
            unknown_outcomes: counter!("registry_append_unknown_outcomes_total"),
        }
    }
}

impl Appender {
    pub fn new(
        writer: Writer,
        jobs: mpsc::Receiver<Job>,
        head: watch::Sender<i64>,
        keyring: Keyring,
        clock: Clock,
        memory: Memory,
        unwritten: Arc<AtomicBool>,
    ) -> Self {
        Self {
            writer,
            jobs,
            head,
            keyring,
            clock,
            memory,
            unwritten,
            measured: Measured::new(),
        }
    }

    /// Runs in a thread of its own, whose end is told by dropping the sender.
    ///
    /// Among the tasks of all requests each of its round trips would wait its turn, and everybody for it.
    pub fn start(self) -> std::io::Result<oneshot::Receiver<()>> {
        let run_time = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (done, ended) = oneshot::channel();
        std::thread::Builder::new().name("appender".to_owned()).spawn(move || {
            run_time.block_on(self.run());
            drop(done);
        })?;
        Ok(ended)
    }

    /// Runs until every sender is gone and everything that waited is answered.
    pub async fn run(mut self) {
        let mut queue: VecDeque<Job> = VecDeque::new();
        loop {
            if queue.is_empty() {
                match self.jobs.recv().await {
                    Some(job) => queue.push_back(job),
                    None => return self.writer.close().await,
                }
            }
            let batch = self.fill(&mut queue);
            if batch.is_empty() {
                continue;
            }
            let started = Instant::now();
            let size = batch.len();
            let waits = self.batch(batch).await;
            self.measured.seconds.record(started.elapsed().as_secs_f64());
            self.measured.commands.record(count(size - waits.len()));
            // What waited comes first, in the order in which it came.
            for job in waits.into_iter().rev() {
                queue.push_front(job);
            }
        }
    }

    /// Takes what waits, up to the bound. Callers who have gone away are left out.
    fn fill(&mut self, queue: &mut VecDeque<Job>) -> Vec<Job> {
        while queue.len() < BATCH_EVENTS
            && let Ok(job) = self.jobs.try_recv()
        {
            queue.push_back(job);
        }
        let (mut events, mut bytes) = (0, 0);
        let mut batch = Vec::new();
        while let Some(job) = queue.pop_front() {
            if job.reply.is_closed() {
                continue;
            }
            events += job.unit.len();
            bytes += job.unit.bytes();
            if (events > BATCH_EVENTS || bytes > BATCH_BYTES) && !batch.is_empty() {
                queue.push_front(job);
                break;
            }
            batch.push(job);
        }
        batch
    }

    /// Writes a batch and answers it. Gives back the units that wait for the next one.
    async fn batch(&mut self, jobs: Vec<Job>) -> Vec<Job> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.attempt(&jobs).await {
                Ok(decided) => {
                    if !decided.plan.is_empty() {
                        self.unwritten.store(false, Ordering::Relaxed);
                    }
                    return self.answer(jobs, decided);
                }
                Err((Trouble::Unknown(problem), decided)) => {
                    warn!(%problem, "the answer to COMMIT was lost; asking the log");
                    self.measured.unknown_outcomes.increment(1);
                    match self.was_written(&decided.plan, until).await {
                        Ok(true) => return self.answer(jobs, decided),
                        // A disk that is full loses every COMMIT.
                        Ok(false) if Instant::now() >= until => return self.refuse_all(jobs, &problem),
                        Ok(false) => {}
                        Err(problem) => return self.refuse_all(jobs, &problem),
                    }
                }
                Err((Trouble::NotWritten(problem), _)) => match problem {
                    StoreError::Unavailable(_) => {
                        self.writer.disconnect();
                        if Instant::now() >= until {
                            error!(%problem, "the log cannot be written");
                            return self.refuse_all(jobs, &problem);
                        }
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    problem if jobs.len() == 1 => {
                        error!(%problem, "a unit cannot be written");
                        return self.refuse_all(jobs, &problem);
                    }
                    problem => {
                        warn!(%problem, units = jobs.len(), "a batch cannot be written as a whole; one by one");
                        return self.one_by_one(jobs).await;
                    }
                },
            }
        }
    }

    fn refuse_all(&self, jobs: Vec<Job>, problem: &StoreError) -> Vec<Job> {
        if matches!(problem, StoreError::Unavailable(_)) {
            self.unwritten.store(true, Ordering::Relaxed);
        }
        for job in jobs {
            let answer = match problem {
                StoreError::Unavailable(why) => StoreError::Unavailable(why.clone()),
                other => StoreError::Refused(other.to_string()),
            };
            let _ = job.reply.send(Err(answer));
        }
        Vec::new()
    }

    /// A batch that failed as a whole: its units each in a transaction of their own.
    async fn one_by_one(&mut self, jobs: Vec<Job>) -> Vec<Job> {
        let mut waits = Vec::new();
        for job in jobs {
            waits.extend(Box::pin(self.batch(vec![job])).await);
        }
        waits
    }

    /// One try, the short way or the long one.
    async fn attempt(&mut self, jobs: &[Job]) -> Result<Decided, (Trouble, Decided)> {
        let result = match self.at_once(jobs).await {
            Some(result) => result,
            None => self.in_steps(jobs).await,
        };
        match &result {
            Ok(decided) if decided.plan.is_empty() => {}
            Ok(decided) => self.memory.follow(&decided.plan),
            // What is remembered may be the reason.
            Err(_) => self.memory.forget(),
        }
        result
    }

    /// The short way: decide from memory, write in one statement. None: it is not for this batch.
    async fn at_once(&mut self, jobs: &[Job]) -> Option<Result<Decided, (Trouble, Decided)>> {
        let Writer::Postgres(writer) = &mut self.writer else {
            return None;
        };
        let head = self.memory.head()?;
        let (places, units) = present(jobs);
        let wanted = plan::wanted(units.iter().copied());
        let facts = self.memory.facts(&wanted, head)?;
        let now = self.clock.now().as_micros().max(head.recorded_at);
        let fates = plan::first_look(&units, &facts, &self.keyring, Timestamp::from_micros(now));
        // Nobody is turned away on the word of memory alone, and names are looked up.
        let simple = |fate: &Fate| match fate {
            Fate::Claims(names) => names.is_empty(),
            Fate::Waits => true,
            Fate::WaitsForNames(_) | Fate::Lost(_) => false,
        };
        if !fates.iter().all(simple) {
            return None;
        }
        let batch = Batch { places, units, fates };
        let decided = batch.decide(facts, &HashSet::new(), head, now, &self.keyring);
        if !decided.plan.is_plain() {
            return None;
        }
        match within(writer.write_at_once(&decided.plan)).await {
            Ok(true) => Some(Ok(decided)),
            Ok(false) => {
                self.memory.forget();
                None
            }
            Err(problem @ StoreError::Unavailable(_)) => Some(Err((Trouble::Unknown(problem), decided))),
            // It is a transaction of its own, so nothing of it was written.
            Err(problem) => {
                debug!(%problem, "a batch cannot be written at once; step by step");
                self.memory.forget();
                None
            }
        }
    }

    /// The long way: lock, read, decide, write, commit.
    async fn in_steps(&mut self, jobs: &[Job]) -> Result<Decided, (Trouble, Decided)> {
        let nothing = || Decided {
            answers: Vec::new(),
            waits: Vec::new(),
            plan: Plan::default(),
        };
        let decided = match self.decide_and_write(jobs).await {
            Ok(decided) => decided,
            Err(problem) => {
                self.writer.rollback().await;
                return Err((Trouble::NotWritten(problem), nothing()));
            }
        };
        if decided.plan.is_empty() {
            self.writer.rollback().await;
            return Ok(decided);
        }
        match self.writer.commit().await {
            Ok(()) => Ok(decided),
            Err(problem @ StoreError::Unavailable(_)) => Err((Trouble::Unknown(problem), decided)),
            Err(problem) => {
                self.writer.rollback().await;
                Err((Trouble::NotWritten(problem), nothing()))
            }
        }
    }

    async fn decide_and_write(&mut self, jobs: &[Job]) -> Result<Decided, StoreError> {
        let head = self.writer.begin().await?;
        let now = self.clock.now().as_micros().max(head.recorded_at);
        // The lock may have been long in coming. Who was told so must not find the command carried out afterwards.
        let (places, units) = present(jobs);
        let wanted = plan::wanted(units.iter().copied());
        let mut facts = if let Some(facts) = self.memory.facts(&wanted, head) {
            facts
        } else {
            // Keys lapse by this clock, which gave them their time; that of the head may be a replica's far ahead.
            let facts = self.writer.gather(&wanted, self.clock.now().as_micros()).await?;
            self.memory.learn(head, &facts);
            facts
        };
        let fates = plan::first_look(&units, &facts, &self.keyring, Timestamp::from_micros(now));
        let claims: HashSet<NameKey> = fates.iter().flat_map(Fate::wanted).copied().collect();
        let claims: Vec<NameKey> = claims.into_iter().collect();
        let taken: HashSet<NameKey> = if claims.is_empty() {
            HashSet::new()
        } else {
            let held = self.writer.holders(&claims).await?;
            facts.lapsed = self.lapsed(&held, now).await?;
            let names = held.into_iter().map(|(name, _)| name);
            names.filter(|name| !facts.lapsed.contains_key(name)).collect()
        };
        let batch = Batch { places, units, fates };
        let decided = batch.decide(facts, &taken, head, now, &self.keyring);
        if !decided.plan.is_empty() {
            self.writer.write(&decided.plan).await?;
        }
        Ok(decided)
    }

    /// Which of these names their holders only asked for, too long ago. Only an address is ever held so.
    async fn lapsed(&mut self, held: &[(NameKey, Uuid)], now: i64) -> Result<HashMap<NameKey, Uuid>, StoreError> {
        let addresses: Vec<(NameKey, Uuid)> = held
            .iter()
            .filter(|((kind, _), _)| *kind == NameKind::Email)
            .copied()
            .collect();
        if addresses.is_empty() {
            return Ok(HashMap::new());
        }
        let holders: Vec<Uuid> = addresses.iter().map(|(_, holder)| *holder).collect();
        let rows = self.writer.users(&holders).await?;
        Ok(plan::lapsed(
            &addresses,
            &rows,
            &self.keyring,
            Timestamp::from_micros(now),
        ))
    }

    /// Asks the log whether a batch whose outcome is unknown is in it. If it is not, it never will be.
    ///
    /// Taking the head lock first waits for a lost COMMIT to end, one way or the other. A lost statement that writes a
    /// whole batch holds no lock before it begins, so it may still be on its way: it finds the head moved.
    async fn was_written(&mut self, plan: &Plan, until: Instant) -> Result<bool, StoreError> {
        let Some(event) = plan.events.first() else {
            return Ok(false);
        };
        loop {
            self.writer.disconnect();
            match self.settle(event.event_id).await {
                Ok(found) => return Ok(found),
                Err(problem) if Instant::now() >= until => return Err(problem),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn settle(&mut self, first: Uuid) -> Result<bool, StoreError> {
        let settled = match self.writer.begin().await {
            Ok(_) => self.writer.has_event(first).await,
            Err(problem) => Err(problem),
        };
        if matches!(settled, Ok(false)) {
            self.writer.shut_out().await?;
        } else {
            self.writer.rollback().await;
        }
        settled
    }

    fn answer(&self, jobs: Vec<Job>, decided: Decided) -> Vec<Job> {
        let mut jobs: Vec<Option<Job>> = jobs.into_iter().map(Some).collect();
        if !decided.plan.events.is_empty() {
            self.measured.events.increment(decided.plan.events.len() as u64);
            // A replica may have told of a later position already.
            self.head.send_if_modified(|head| {
                let later = decided.plan.position > *head;
                *head = decided.plan.position.max(*head);
                later
            });
        }
        for (index, answer) in decided.answers {
            let lost = matches!(
                answer,
                Err(StoreError::Stale
                    | StoreError::Taken(_)
                    | StoreError::Replayed(_)
                    | StoreError::IdempotencyMismatch)
            );
            if lost {
                self.measured.conflicts.increment(1);
            }
            if let Some(job) = jobs.get_mut(index).and_then(Option::take) {
                // A caller that went away does not need its answer.
                let _ = job.reply.send(answer);
            }
        }
        decided
            .waits
            .into_iter()
            .filter_map(|index| jobs.get_mut(index).and_then(Option::take))
            .collect()
    }
}

/// Exact: a batch holds a few hundred units.
#[expect(clippy::cast_precision_loss, reason = "a batch holds a few hundred units")]
fn count(size: usize) -> f64 {
    size as f64
}
