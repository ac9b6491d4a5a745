//! Followers: what happens because something was recorded, each after its own named checkpoint.
//!
//! A follower reads the log in order, handles each event, and moves its checkpoint in the transaction of its own
//! rows. One process runs it at a time, under a lease. What it cannot handle stops it: it keeps the position and the
//! reason, shows both, and never skips. What leaves the process may happen again after a crash, never be lost.

pub mod amqp;
mod delivery;
mod devices;
mod gateway;
pub mod letters;
mod mail;
mod notary;
mod notices;
mod outbox;
mod past;
mod platform;
mod sms;
mod smtp;
mod statistics;
pub mod templates;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::gauge;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

pub use delivery::try_again;
pub use gateway::{Gateway, GatewayAddress};
pub use mail::{Links, MailFollower, MailOptions, Mailer};
pub use notary::{NOTARY, Notary, NotaryOptions, show_uncovered};
pub use outbox::{Outbox, TidyError};
pub use sms::{Sms, SmsFollower, SmsOptions};
pub use smtp::{Smtp, SmtpServer};
pub use statistics::{STATISTICS, StatisticsFollower, day};

use crate::store::deadline::{ANSWER, within};
use crate::store::{EventRecord, FollowerState, Lease, OpenedEvent, Piece, Store, StoreError, Trouble};

/// How many events a follower reads at a time.
const PAGE: i64 = 100;
/// How long what is under way may still take when the process is to end.
const GRACE: Duration = Duration::from_millis(500);

/// Where a follower begins that has no checkpoint yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the first event: read models.
    Origin,
    /// After what is in the log already: messages.
    Now,
}

/// Why an event could not be handled.
#[derive(Debug, Error)]
pub enum FollowError {
    /// The outside is away; the same event will do later.
    #[error("{0}")]
    Later(String),
    /// This event cannot be handled: somebody must look.
    #[error("{0}")]
    Never(String),
}

/// Statements a follower wants written with its checkpoint.
pub type Writes = Vec<crate::store::RowWrite>;

/// Something that happens because of the log.
pub trait Follower: Send + Sync + 'static {
    /// The checkpoint's name; never changed.
    fn name(&self) -> &'static str;

    /// Where it begins.
    fn start(&self) -> Start;

    /// Whether an event is any business of this follower. One that is not costs nothing but its reading.
    fn concerns(&self, event: &OpenedEvent) -> bool {
        let _ = event;
        true
    }

    /// Handles one event. A repeat of an event must change nothing more.
    fn handle(&self, event: &OpenedEvent) -> impl Future<Output = Result<Writes, FollowError>> + Send;

    /// Handles one event, or finds on a closer look that there is nothing to do. None: nothing was done, so the event
    /// is passed over like one that is no business of this follower.
    fn attend(&self, event: &OpenedEvent) -> impl Future<Output = Result<Option<Writes>, FollowError>> + Send {
        async { self.handle(event).await.map(Some) }
    }

    /// Whether it handles a page of events at a time: one that does nothing but write rows of its own may.
    fn gathers(&self) -> bool {
        false
    }

    /// Handles a page of events, all of them or none.
    fn gather(&self, events: &[OpenedEvent]) -> impl Future<Output = Result<Writes, FollowError>> + Send {
        async move {
            let mut writes = Writes::new();
            for event in events {
                writes.extend(self.handle(event).await?);
            }
            Ok(writes)
        }
    }
}

/// What a follower makes of a store that does not give it what it needs.
fn trouble(problem: StoreError) -> FollowError {
    match problem {
        StoreError::Unavailable(_) => FollowError::Later(problem.to_string()),
        other => FollowError::Never(other.to_string()),
    }
}

/// What the store answers to a follower, which never waits for long: a database that is gone may not say so.
async fn asked<T>(answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, FollowError> {
    within(ANSWER, answer).await.map_err(trouble)
}

/// How followers are run.
#[derive(Debug, Clone, Copy)]
pub struct FollowOptions {
    /// How long a lease lasts without being renewed.
    pub lease: Duration,
    /// How often to try for a lease that another process holds, and to look again when the outside is away.
    pub retry: Duration,
}

impl FollowOptions {
    fn lease_micros(&self) -> i64 {
        i64::try_from(self.lease.as_micros()).unwrap_or(i64::MAX)
    }
}

/// What is known of the followers this process would run, for `/readyz`. Their checkpoints decide, so that all replicas
/// say the same.
#[derive(Debug, Clone, Default)]
pub struct Health {
    stopped: Arc<Mutex<Vec<(&'static str, i64)>>>,
}

impl Health {
    fn set(&self, follower: &'static str, stopped_at: Option<i64>) {
        let mut stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        stopped.retain(|(name, _)| *name != follower);
        stopped.extend(stopped_at.map(|position| (follower, position)));
    }

    /// What the checkpoint says of a follower that another process runs.
    async fn learn(&self, follower: &'static str, store: &Store) -> Result<(), StoreError> {
        let checkpoint = store.checkpoint(follower).await?;
        self.set(follower, checkpoint.and_then(|checkpoint| checkpoint.stopped_at()));
        Ok(())
    }

    /// The followers that stopped, each with the position of the event it cannot handle.
    #[must_use]
    pub fn stopped(&self) -> Vec<(&'static str, i64)> {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Runs a follower until `stop`: takes the lease when it can, follows while it holds it.
pub async fn run<F: Follower>(
    follower: F,
    store: Store,
    owner: String,
    options: FollowOptions,
    health: Health,
    stop: CancellationToken,
) {
    let mut held: Option<Lease> = None;
    while !stop.is_cancelled() {
        match follow(&follower, &store, &owner, options, &health, &stop, &mut held).await {
            Ok(()) => {}
            Err(problem) => warn!(follower = follower.name(), %problem, "a follower lost its store; trying again"),
        }
        pause(options.retry, &stop).await;
    }
    if let Some(lease) = held
        && let Err(problem) = store.release(&lease).await
    {
        warn!(follower = follower.name(), %problem, "a lease could not be given back; it lapses by itself");
    }
}

async fn pause(length: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(length) => {}
        () = stop.cancelled() => {}
    }
}

/// One tenure: from getting the lease to losing it, to an event that cannot be handled, or to the end.
async fn follow<F: Follower>(
    follower: &F,
    store: &Store,
    owner: &str,
    options: FollowOptions,
    health: &Health,
    stop: &CancellationToken,
    held: &mut Option<Lease>,
) -> Result<(), StoreError> {
    let start = match follower.start() {
        Start::Origin => 0,
        Start::Now => within(ANSWER, store.head()).await?.position,
    };
    let mut head = store.watch_head();
    let lease_micros = options.lease_micros();
    loop {
        // Also renews: a quiet log must not cost the lease.
        let Some(mut lease) = store.lease(follower.name(), owner, lease_micros, start).await? else {
            *held = None;
            return health.learn(follower.name(), store).await;
        };
        // Somebody may have let it pass over the event it stood at.
        health.set(follower.name(), lease.stopped_at);
        if held.as_ref().is_none_or(|before| before.epoch != lease.epoch) {
            info!(
                follower = follower.name(),
                position = lease.position,
                epoch = lease.epoch,
                "following"
            );
        }
        let tenure = turn(follower, store, lease_micros, health, stop, &mut lease).await;
        *held = Some(lease.clone());
        if !tenure? || stop.is_cancelled() {
            return Ok(());
        }
        tokio::select! {
            changed = head.changed() => if changed.is_err() { return Ok(()) },
            () = tokio::time::sleep(options.lease / 3) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

/// Handles what is new. False: stop this tenure and come back later.
async fn turn<F: Follower>(
    follower: &F,
    store: &Store,
    lease_micros: i64,
    health: &Health,
    stop: &CancellationToken,
    lease: &mut Lease,
) -> Result<bool, StoreError> {
    let name = follower.name();
    loop {
        let piece = store.piece_after(lease.position, PAGE).await?;
        if piece.events.is_empty() && piece.gap.is_none() {
            return Ok(true);
        }
        let (opened, broken) = open(store, piece).await?;
        let mut passed = lease.position;
        // One after the other, or all of them in one step to the last.
        let mut steps: VecDeque<&[OpenedEvent]> = if follower.gathers() {
            opened.chunks(opened.len().max(1)).collect()
        } else {
            opened.chunks(1).collect()
        };
        while let Some(step) = steps.pop_front() {
            let [event, ..] = step else { continue };
            if stop.is_cancelled() {
                return Ok(false);
            }
            let position = step.last().map_or(0, |last| last.record.position);
            if !follower.gathers() && !follower.concerns(event) {
                passed = position;
                continue;
            }
            let attended = if follower.gathers() {
                follower.gather(step).await.map(Some)
            } else {
                let Some(attended) = tended(follower, store, lease, lease_micros, stop, event).await else {
                    return Ok(false);
                };
                attended
            };
            match attended {
                Ok(None) => passed = position,
                Ok(Some(writes)) => {
                    if !store.advance(lease, position, lease_micros, &writes).await? {
                        info!(follower = name, position, "another process follows now");
                        return Ok(false);
                    }
                    health.set(name, None);
                }
                Err(FollowError::Later(problem)) => {
                    // Once, not at every attempt.
                    if lease.error.as_deref() != Some(&problem) {
                        warn!(follower = name, position, %problem, "an event waits for the outside");
                    }
                    store.stopped(lease, position, &problem, Trouble::Outside).await?;
                    health.set(name, None);
                    return Ok(false);
                }
                // Which of them it is shows when each is handled by itself.
                Err(FollowError::Never(_)) if step.len() > 1 => {
                    step.chunks(1).rev().for_each(|one| steps.push_front(one));
                }
                Err(FollowError::Never(problem)) => {
                    error!(follower = name, position, %problem, "a follower stopped at an event it cannot handle");
                    store.stopped(lease, position, &problem, Trouble::Event).await?;
                    health.set(name, Some(position));
                    return Ok(false);
                }
            }
        }
        // What was passed over is written once a page, not once an event.
        if passed > lease.position && !store.advance(lease, passed, lease_micros, &[]).await? {
            info!(follower = name, position = passed, "another process follows now");
            return Ok(false);
        }
        if let Some((position, problem)) = broken {
            error!(follower = name, position, %problem, "a follower stopped at an event that cannot be opened");
            store.stopped(lease, position, &problem, Trouble::Event).await?;
            health.set(name, Some(position));
            return Ok(false);
        }
    }
}

/// Handles one event and keeps the lease meanwhile: a mail server may take longer than a lease lasts. None: the process
/// ends, and the event is left to whoever follows next.
async fn tended<F: Follower>(
    follower: &F,
    store: &Store,
    lease: &Lease,
    lease_micros: i64,
    stop: &CancellationToken,
    event: &OpenedEvent,
) -> Option<Result<Option<Writes>, FollowError>> {
    let every = Duration::from_micros(lease_micros.unsigned_abs() / 3).max(Duration::from_millis(1));
    let mut renewal = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    let attending = follower.attend(event);
    tokio::pin!(late, attending);
    loop {
        tokio::select! {
            attended = &mut attending => return Some(attended),
            _ = renewal.tick() => {
                // Whether it is still ours is seen when the checkpoint moves.
                if let Err(problem) = store.lease(&lease.follower, &lease.owner, lease_micros, lease.position).await {
                    warn!(follower = follower.name(), %problem, "a lease could not be renewed");
                }
            }
            () = &mut late => return None,
        }
    }
}

/// Opens a piece of the log as far as it goes: the events before the first one that makes no sense or is missing, and
/// that one's position.
async fn open(store: &Store, piece: Piece) -> Result<(Vec<OpenedEvent>, Option<(i64, String)>), StoreError> {
    let open = |records: Vec<EventRecord>| within(ANSWER, store.open_events(records));
    match open(piece.events.clone()).await {
        Ok(opened) => return Ok((opened, piece.gap.map(|gap| (gap, Piece::problem(gap).to_string())))),
        Err(problem @ StoreError::Unavailable(_)) => return Err(problem),
        Err(_) => {}
    }
    let mut opened = Vec::new();
    for record in piece.events {
        let position = record.position;
        match open(vec![record]).await {
            Ok(one) => opened.extend(one),
            Err(problem @ StoreError::Unavailable(_)) => return Err(problem),
            Err(problem) => return Ok((opened, Some((position, problem.to_string())))),
        }
    }
    Ok((opened, None))
}

/// Shows how far behind followers are, whichever process runs them.
#[expect(clippy::cast_precision_loss, reason = "a lag is shown to a few digits")]
pub fn show_lag(followers: &[FollowerState]) {
    for one in followers {
        let follower = one.checkpoint.follower.clone();
        let lag = (one.head - one.checkpoint.position).max(0);
        gauge!("registry_follower_lag_events", "follower" => follower.clone()).set(lag as f64);
        gauge!("registry_follower_lag_seconds", "follower" => follower.clone()).set(one.behind as f64 / 1e6);
        let stopped = f64::from(u8::from(one.checkpoint.stopped_at().is_some()));
        gauge!("registry_follower_stopped", "follower" => follower).set(stopped);
    }
}
