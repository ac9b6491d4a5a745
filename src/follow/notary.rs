//! The notary: grows the Merkle tree over the log, signs its heads and keeps copies of them outside the database.
//!
//! It follows the log like any other follower, under the same kind of lease, but reads the rows as they are stored and
//! opens nothing: what nobody can read any more must be proved all the same. Nodes, head and checkpoint are written in
//! one transaction, so the tree is always as large as its newest head. The copies follow from what is in the database
//! and are caught up with it after every head, also when another process takes over. What does not fit stops it: a row
//! that is not as it was hashed, a store that is behind its own copies.

use std::path::{Path, PathBuf};
use std::time::Duration;

use metrics::gauge;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{FollowError, FollowOptions, Health, pause};
use crate::audit::NotaryKeys;
use crate::audit::note::Head;
use crate::audit::tree::{Frontier, Node};
use crate::audit::witness::{self, Witness};
use crate::store::deadline::{ANSWER, within};
use crate::store::{Lease, Store, StoreError, StoredHead, Trouble};

/// The checkpoint's name.
pub const NOTARY: &str = "notary";
/// Hashes copied at a time.
const COPIED: i64 = 10_000;
/// The shortest time between two heads.
const SHORTEST: Duration = Duration::from_millis(20);

/// How the notary works.
#[derive(Debug, Clone)]
pub struct NotaryOptions {
    /// The folders that hold copies, each with files of its own.
    pub folders: Vec<PathBuf>,
    /// A new event is covered after this time at the latest.
    pub every: Duration,
    /// After so many events a head is signed at once.
    pub events: u32,
}

/// The notary of a store.
#[derive(Debug, Clone)]
pub struct Notary {
    store: Store,
    options: NotaryOptions,
}

/// Why a tenure ends before it is told to.
enum Halt {
    /// The database is away.
    Store(StoreError),
    /// Another process has the lease.
    Passed,
    /// Somebody must look, or the outside is away; at this position.
    At(i64, FollowError),
}

impl From<StoreError> for Halt {
    fn from(problem: StoreError) -> Self {
        Self::Store(problem)
    }
}

fn never(position: i64, problem: impl Into<String>) -> Halt {
    Halt::At(position, FollowError::Never(problem.into()))
}

fn later(position: i64, problem: impl Into<String>) -> Halt {
    Halt::At(position, FollowError::Later(problem.into()))
}

impl Notary {
    /// The notary of a store.
    #[must_use]
    pub const fn new(store: Store, options: NotaryOptions) -> Self {
        Self { store, options }
    }

    /// Runs until `stop`: takes the lease when it can, works while it holds it.
    pub async fn run(self, owner: String, options: FollowOptions, health: Health, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let mut held = None;
            let ended = self.hold(&owner, options, &health, &stop, &mut held).await;
            if let Err(halt) = ended {
                self.tell(halt, held.as_ref(), &health).await;
            }
            if let Some(lease) = held.filter(|_| stop.is_cancelled())
                && let Err(problem) = self.store.release(&lease).await
            {
                warn!(follower = NOTARY, %problem, "a lease could not be given back; it lapses by itself");
            }
            pause(options.retry, &stop).await;
        }
    }

    /// Covers everything there is and gives the lease back. False: another process is at it.
    pub async fn once(&self, owner: &str, options: FollowOptions) -> Result<bool, FollowError> {
        let lease = self.store.lease(NOTARY, owner, options.lease_micros(), 0).await;
        let Some(lease) = lease.map_err(super::trouble)? else {
            return Ok(false);
        };
        let done = async {
            let mut tenure = Tenure::begin(self, lease.clone(), options).await?;
            tenure.cover().await
        };
        let done = done.await;
        self.store.release(&lease).await.map_err(super::trouble)?;
        match done {
            Ok(()) => Ok(true),
            Err(Halt::Passed) => Ok(false),
            Err(Halt::Store(problem)) => Err(super::trouble(problem)),
            Err(Halt::At(_, problem)) => Err(problem),
        }
    }

    /// One tenure: from getting the lease to losing it, to what cannot be covered, or to the end.
    async fn hold(
        &self,
        owner: &str,
        options: FollowOptions,
        health: &Health,
        stop: &CancellationToken,
        held: &mut Option<Lease>,
    ) -> Result<(), Halt> {
        let mut head = self.store.watch_head();
        let Some(lease) = self.store.lease(NOTARY, owner, options.lease_micros(), 0).await? else {
            return Ok(health.learn(NOTARY, &self.store).await?);
        };
        health.set(NOTARY, lease.stopped_at);
        *held = Some(lease.clone());
        let mut tenure = Tenure::begin(self, lease, options).await?;
        info!(follower = NOTARY, position = tenure.size(), "following");
        loop {
            tenure.cover().await?;
            health.set(NOTARY, None);
            *held = Some(tenure.lease.clone());
            if stop.is_cancelled() {
                return Ok(());
            }
            let covered = tenure.size();
            tokio::select! {
                changed = head.wait_for(|position| *position > covered) => if changed.is_err() { return Ok(()) },
                () = tokio::time::sleep(options.lease / 3) => {}
                () = stop.cancelled() => {}
            }
            // What comes alone is covered at once; in a rush, as often as was asked for.
            let many = covered + i64::from(self.options.events);
            let due = (tenure.signed + self.options.every).max(Instant::now() + SHORTEST);
            let renew = Instant::now() + options.lease / 3;
            tokio::select! {
                changed = head.wait_for(|position| *position >= many) => if changed.is_err() { return Ok(()) },
                () = tokio::time::sleep_until(due.min(renew)) => {}
                () = stop.cancelled() => {}
            }
            tenure.renew(owner).await?;
        }
    }

    async fn tell(&self, halt: Halt, lease: Option<&Lease>, health: &Health) {
        let (position, problem, stopped) = match halt {
            Halt::Passed => return info!(follower = NOTARY, "another process follows now"),
            Halt::Store(problem) => {
                return warn!(follower = NOTARY, %problem, "a follower lost its store; trying again");
            }
            Halt::At(position, FollowError::Later(problem)) => (position, problem, false),
            Halt::At(position, FollowError::Never(problem)) => (position, problem, true),
        };
        let Some(lease) = lease else { return };
        let trouble = if stopped { Trouble::Event } else { Trouble::Outside };
        // Once, not at every attempt.
        if lease.error.as_deref() != Some(&problem) {
            if stopped {
                error!(follower = NOTARY, position, %problem, "the notary stopped");
            } else {
                warn!(follower = NOTARY, position, %problem, "the notary waits for the outside");
            }
        }
        health.set(NOTARY, stopped.then_some(position));
        if let Err(problem) = self.store.stopped(lease, position, &problem, trouble).await {
            warn!(follower = NOTARY, %problem, "why the notary stopped could not be kept");
        }
    }
}

/// The notary at work.
struct Tenure<'a> {
    notary: &'a Notary,
    lease: Lease,
    lease_micros: i64,
    frontier: Frontier,
    /// The newest head.
    last: Option<StoredHead>,
    /// When it was signed, by the clock of this process.
    signed: Instant,
    witnesses: Vec<Witness>,
    /// Heads outside that the tree has yet to come to.
    ahead: Vec<(Head, PathBuf)>,
    /// What the store was told of the folders.
    noted: Option<i64>,
}

impl<'a> Tenure<'a> {
    async fn begin(notary: &'a Notary, lease: Lease, options: FollowOptions) -> Result<Self, Halt> {
        let store = &notary.store;
        let size = lease.position;
        let corrupt = || {
            never(
                size,
                "the tree is not the one of the newest head; run: user-registry audit verify --store",
            )
        };
        let last = within(ANSWER, store.newest_head()).await?;
        if last.as_ref().map_or(0, |head| head.size) != size {
            return Err(corrupt());
        }
        let nodes = Frontier::nodes(size.unsigned_abs());
        let hashes = within(ANSWER, store.tree_hashes(&nodes)).await?;
        let parts = nodes.iter().map_while(|node| hashes.get(node).copied()).collect();
        let frontier = Frontier::new(size.unsigned_abs(), parts).ok_or_else(corrupt)?;
        if last.as_ref().is_some_and(|head| head.root != Some(frontier.root())) {
            return Err(corrupt());
        }
        let mut tenure = Self {
            notary,
            lease,
            lease_micros: options.lease_micros(),
            frontier,
            last,
            // Long ago: what has come meanwhile is covered now.
            signed: Instant::now(),
            witnesses: Vec::new(),
            ahead: Vec::new(),
            noted: None,
        };
        tenure.open_witnesses().await?;
        // A folder that was moved aside covers nothing any more.
        tenure.note().await?;
        Ok(tenure)
    }

    fn size(&self) -> i64 {
        i64::try_from(self.frontier.size()).unwrap_or(i64::MAX)
    }

    /// Takes the folders, and holds what stands there against the store.
    async fn open_witnesses(&mut self) -> Result<(), Halt> {
        let (store, size) = (&self.notary.store, self.size());
        let log = within(ANSWER, store.head()).await?.position;
        for folder in &self.notary.options.folders {
            let path = folder.clone();
            let opened = tokio::task::spawn_blocking(move || Witness::open(&path)).await;
            let shown = folder.display();
            let witness = match opened {
                Ok(Ok(Some(witness))) => witness,
                Ok(Ok(None)) => self.take_over(folder).await?,
                Ok(Err(problem)) => return Err(later(size, format!("{shown} cannot be used: {problem}"))),
                Err(problem) => return Err(later(size, problem.to_string())),
            };
            if let Some(last) = witness.last() {
                let outside = i64::try_from(last.size).unwrap_or(i64::MAX);
                if outside > log {
                    return Err(never(
                        log,
                        format!(
                            "{shown} tells of {outside} events and the log has {log}: if the store was restored from a \
                             backup, erase again with `user-registry erase --from-list {shown}/erased`, then move the \
                             folder aside"
                        ),
                    ));
                }
                if outside > size {
                    self.ahead.push((last.clone(), folder.clone()));
                } else if within(ANSWER, store.heads_after(outside - 1, 1))
                    .await?
                    .first()
                    .is_none_or(|head| head.size != outside || head.root != Some(last.root))
                {
                    return Err(never(
                        outside,
                        format!("the head of {outside} events in {shown} is not the one of this store"),
                    ));
                }
            }
            self.witnesses.push(witness);
        }
        Ok(())
    }

    /// Takes the files over from a process that holds them and has lost the lease: it hangs, or has yet to see that. Only
    /// those of this store: another one's process may have every right to them.
    async fn take_over(&self, folder: &Path) -> Result<Witness, Halt> {
        let (store, size, shown) = (&self.notary.store, self.size(), folder.display());
        let cannot = |problem: &dyn std::fmt::Display| later(size, format!("{shown} cannot be used: {problem}"));
        let last = witness::peek(folder).map_err(|problem| cannot(&problem))?;
        let ours = match last.map(|last| (i64::try_from(last.size).unwrap_or(i64::MAX), last.root)) {
            Some((outside, root)) if outside <= size => within(ANSWER, store.heads_after(outside - 1, 1))
                .await?
                .first()
                .is_some_and(|head| head.size == outside && head.root == Some(root)),
            _ => false,
        };
        if !ours {
            return Err(later(size, format!("another process writes to {shown}")));
        }
        let path = folder.to_owned();
        let taken = tokio::task::spawn_blocking(move || Witness::take_over(&path)).await;
        let witness = taken.map_err(|problem| later(size, problem.to_string()))?;
        let witness = witness.map_err(|problem| cannot(&problem))?;
        info!(follower = NOTARY, folder = %shown, "the files are taken over from a process that lost its lease");
        Ok(witness)
    }

    /// Renews the lease: a quiet log must not cost it.
    async fn renew(&mut self, owner: &str) -> Result<(), Halt> {
        let (store, position) = (&self.notary.store, self.lease.position);
        match store.lease(NOTARY, owner, self.lease_micros, position).await? {
            Some(lease) if lease.epoch == self.lease.epoch => {
                self.lease = lease;
                Ok(())
            }
            _ => Err(Halt::Passed),
        }
    }

    /// Covers what there is, up to the end of the log.
    async fn cover(&mut self) -> Result<(), Halt> {
        // The first head covers nothing: it says whose log this will be.
        if self.last.is_none() {
            self.sign(&[]).await?;
            self.copy().await?;
        }
        loop {
            let store = &self.notary.store;
            let page = i64::from(self.notary.options.events.clamp(1, 10_000));
            let events = within(ANSWER, store.hashed_events(self.size(), page)).await?;
            if events.is_empty() {
                break;
            }
            let mut nodes: Vec<(Node, _)> = Vec::new();
            for event in events {
                let position = event.record.position;
                if position != self.size() + 1 {
                    return Err(never(self.size() + 1, "the log has a gap"));
                }
                let leaf = event.record.leaf_hash();
                if event.leaf != Some(leaf) {
                    return Err(never(
                        position,
                        "the event is not as it was hashed when it was appended",
                    ));
                }
                nodes.extend(self.frontier.push(leaf));
                let (size, root) = (self.frontier.size(), self.frontier.root());
                if let Some((_, folder)) = self
                    .ahead
                    .iter()
                    .find(|(head, _)| head.size == size && head.root != root)
                {
                    return Err(never(
                        position,
                        format!(
                            "the head of {size} events in {} is not the one of this store",
                            folder.display()
                        ),
                    ));
                }
                self.ahead.retain(|(head, _)| head.size > size);
            }
            self.sign(&nodes).await?;
            self.copy().await?;
        }
        // Also what an earlier process signed and did not copy.
        self.copy().await?;
        // What it stopped at is over, and nothing may have come since.
        if self.lease.error.is_some() {
            let (store, size) = (&self.notary.store, self.size());
            if !store.advance(&mut self.lease, size, self.lease_micros, &[]).await? {
                return Err(Halt::Passed);
            }
        }
        Ok(())
    }

    /// Signs the tree as it is and writes it down.
    async fn sign(&mut self, nodes: &[(Node, crate::audit::tree::Hash)]) -> Result<(), Halt> {
        let (store, size) = (&self.notary.store, self.size());
        let unusable = |problem: crate::audit::note::NoteError| never(size, format!("the notary's key {problem}"));
        let keys = NotaryKeys::of(store.keyring()).map_err(unusable)?;
        let head = Head {
            origin: keys.name().to_owned(),
            size: self.frontier.size(),
            root: self.frontier.root(),
        };
        let stored = StoredHead {
            size,
            root: Some(head.root),
            note: keys.sign(&head.text(), self.last.as_ref().map(|last| last.note.as_str())),
            signed_at: store.now(),
        };
        let writes = store.tree_writes(nodes, Some(&stored));
        if !store.advance(&mut self.lease, size, self.lease_micros, &writes).await? {
            return Err(Halt::Passed);
        }
        self.last = Some(stored);
        self.signed = Instant::now();
        Ok(())
    }

    /// Brings the copies outside up to the newest head.
    async fn copy(&mut self) -> Result<(), Halt> {
        let (store, size) = (self.notary.store.clone(), self.size());
        let mut failed = None;
        for mut witness in std::mem::take(&mut self.witnesses) {
            let folder = witness.folder().display().to_string();
            loop {
                let after = witness
                    .last()
                    .map_or(-1, |_| i64::try_from(witness.size()).unwrap_or(i64::MAX));
                let mut heads = within(ANSWER, store.heads_after(after, 100)).await?;
                let from = after.max(0);
                // Few enough hashes at a time, but always up to a head.
                let most = heads
                    .iter()
                    .take_while(|head| head.size - from <= COPIED)
                    .count()
                    .max(1);
                heads.truncate(most);
                let Some(last) = heads.last() else { break };
                let until = last.size;
                let leaves = within(ANSWER, store.leaf_hashes(from, until)).await?;
                let erased = within(ANSWER, store.erasures(from, until)).await?;
                let notes: Vec<String> = heads.into_iter().map(|head| head.note).collect();
                let written = tokio::task::spawn_blocking(move || {
                    let written = witness.append(&leaves, &erased, &notes);
                    (witness, written)
                });
                let written = written.await.map_err(|problem| later(size, problem.to_string()))?;
                witness = written.0;
                if let Err(problem) = written.1 {
                    failed = Some(format!("{folder} cannot be written: {problem}"));
                    break;
                }
            }
            self.witnesses.push(witness);
        }
        self.note().await?;
        match failed {
            // Opened again, which cuts off what was half written.
            Some(problem) => Err(later(size, problem)),
            None => Ok(()),
        }
    }

    /// Notes down how many events the last head covers that stands in every folder, when that has changed.
    async fn note(&mut self) -> Result<(), Halt> {
        let least = self.witnesses.iter().map(Witness::size).min().unwrap_or(0);
        let size = i64::try_from(least).unwrap_or(i64::MAX);
        if self.noted != Some(size) {
            within(ANSWER, self.notary.store.note_copies(&self.lease, size)).await?;
            self.noted = Some(size);
        }
        Ok(())
    }
}

/// Shows how many events no head outside the database covers, whichever process copies them.
#[expect(clippy::cast_precision_loss, reason = "a number of events is shown to a few digits")]
pub fn show_uncovered(events: i64) {
    gauge!("registry_notary_uncovered_events").set(events as f64);
}
