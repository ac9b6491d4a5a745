//! Checking a whole store: events, leaves, tree, heads, streams, against each other and against the copies outside.
//!
//! The log is walked once, in order, in bounded memory, also while the service runs: what is appended meanwhile is left
//! to the next check. Each event must hash to the leaf beside it and to the one in every copy outside; the nodes above
//! are computed anew; every head must be signed and have the root that the leaves come to. What is found is named by
//! the first position at which the store is not what was signed.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::note::{Head, PublicKey};
use super::tree::{Frontier, Hash};
use super::witness::{HeadFile, LeafFile};
use crate::{HashedEvent, Store, StoreError, StoredHead};

/// Events read at a time.
const PAGE: i64 = 1_000;
/// Heads read at a time.
const HEADS: i64 = 200;

/// Something that is not as it was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The first position it concerns.
    pub position: i64,
    /// What is wrong there.
    pub problem: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "position {}: {}", self.position, self.problem)
    }
}

/// A folder of copies that was compared.
#[derive(Debug, Clone)]
pub struct Outside {
    /// Where.
    pub folder: PathBuf,
    /// How many heads it has; none: it has no such file.
    pub heads: Option<u64>,
    /// How many hashes were compared.
    pub leaves: u64,
    /// How many events its last head covers.
    pub size: i64,
}

/// What was checked and what was found.
#[derive(Debug, Clone)]
pub struct Checked {
    /// Events that were looked at.
    pub events: i64,
    /// Nodes of the tree that were compared.
    pub nodes: u64,
    /// Signed heads in the store.
    pub heads: u64,
    /// The folders of copies.
    pub outside: Vec<Outside>,
    /// Events that no head outside covers.
    pub uncovered: i64,
    /// What was found, the first position first.
    pub findings: Vec<Finding>,
}

/// Why a check could not be made.
#[derive(Debug, Error)]
pub enum CheckError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file.
    #[error("{folder}: {source}")]
    File {
        /// In which folder.
        folder: String,
        /// Why.
        source: io::Error,
    },
}

/// Checks a store with the keys that may have signed, and these folders of copies.
pub async fn check(store: &Store, keys: &[PublicKey], folders: &[PathBuf]) -> Result<Checked, CheckError> {
    // In this order nothing that is appended meanwhile looks as if it did not belong.
    let (last_node, last_event) = (store.last_tree_node().await?, store.last_event().await?);
    let newest = store.newest_head().await?;
    let end = store.head().await?.position;
    let mut walk = Walk {
        store,
        keys,
        frontier: Frontier::default(),
        heads: StoredHeads::new(newest.as_ref().map(|head| head.size)),
        nodes: Vec::new(),
        tree: newest.as_ref().map_or(0, |head| head.size),
        good: 0,
        outside: folders
            .iter()
            .map(|folder| Copied::open(folder))
            .collect::<Result<_, _>>()?,
        checked: Checked {
            events: 0,
            nodes: 0,
            heads: 0,
            outside: Vec::new(),
            uncovered: 0,
            findings: Vec::new(),
        },
    };
    if last_event > end {
        walk.found(end + 1, "an event stands behind the end of the log");
    }
    if last_node > walk.tree {
        walk.found(walk.tree + 1, "the tree is larger than its newest signed head");
    }
    if let Some(position) = store.first_out_of_sequence().await? {
        walk.found(position, "the event does not follow the one before it in its stream");
    }
    walk.heads_at(0).await?;
    walk.events(end).await?;
    walk.finish(end).await
}

/// The heads in the store, read along the walk.
struct StoredHeads {
    page: std::collections::VecDeque<StoredHead>,
    after: i64,
    /// The size of the last one to look at.
    until: Option<i64>,
}

impl StoredHeads {
    fn new(until: Option<i64>) -> Self {
        Self {
            page: std::collections::VecDeque::new(),
            after: i64::MIN,
            until,
        }
    }

    async fn peek(&mut self, store: &Store) -> Result<Option<&StoredHead>, StoreError> {
        let more = self.until.is_some_and(|until| self.after < until);
        if self.page.is_empty() && more {
            self.page = store.heads_after(self.after, HEADS).await?.into();
            self.after = self.page.back().map_or(i64::MAX, |head| head.size);
        }
        let until = self.until;
        Ok(self
            .page
            .front()
            .filter(|head| until.is_some_and(|until| head.size <= until)))
    }
}

/// A folder of copies, read along the walk.
struct Copied {
    folder: PathBuf,
    heads: Option<HeadFile>,
    leaves: Option<LeafFile>,
    next: Option<(String, Option<Head>)>,
    read: u64,
    compared: u64,
    size: i64,
    /// The first position without a hash.
    ends: Option<i64>,
}

impl Copied {
    fn open(folder: &Path) -> Result<Self, CheckError> {
        let file = |source| CheckError::File {
            folder: folder.display().to_string(),
            source,
        };
        let mut copied = Self {
            folder: folder.to_owned(),
            heads: HeadFile::open(folder).map_err(file)?,
            leaves: LeafFile::open(folder).map_err(file)?,
            next: None,
            read: 0,
            compared: 0,
            size: 0,
            ends: None,
        };
        copied.advance()?;
        Ok(copied)
    }

    fn error(&self, source: io::Error) -> CheckError {
        CheckError::File {
            folder: self.folder.display().to_string(),
            source,
        }
    }

    /// Reads the next head; what it says is not yet believed.
    fn advance(&mut self) -> Result<(), CheckError> {
        let note = match &mut self.heads {
            Some(heads) => heads.next_note(),
            None => Ok(None),
        };
        let note = note.map_err(|source| self.error(source))?;
        self.read += u64::from(note.is_some());
        self.next = note.map(|note| {
            let said = note
                .split_once("\n\n")
                .and_then(|(text, _)| Head::parse(&format!("{text}\n")).ok());
            (note, said)
        });
        Ok(())
    }

    fn leaf(&mut self, position: i64) -> Result<Option<Hash>, CheckError> {
        let leaf = match &mut self.leaves {
            Some(leaves) => leaves.next_leaf(),
            None => Ok(None),
        };
        let leaf = leaf.map_err(|source| self.error(source))?;
        if leaf.is_none() && self.ends.is_none() {
            self.ends = Some(position);
        }
        self.compared += u64::from(leaf.is_some());
        Ok(leaf)
    }
}

struct Walk<'a> {
    store: &'a Store,
    keys: &'a [PublicKey],
    frontier: Frontier,
    heads: StoredHeads,
    /// Stored nodes of the page, in the order they are completed, the last first.
    nodes: Vec<(i64, i64, Vec<u8>)>,
    /// How far the stored tree goes.
    tree: i64,
    /// The size of the last head that fitted.
    good: i64,
    outside: Vec<Copied>,
    checked: Checked,
}

impl Walk<'_> {
    fn found(&mut self, position: i64, problem: impl Into<String>) {
        let problem = problem.into();
        self.checked.findings.push(Finding { position, problem });
    }

    /// Walks the events up to the end, or to the first that is not as it was signed: everything above it differs too.
    async fn events(&mut self, end: i64) -> Result<(), CheckError> {
        let (mut after, mut expected, mut time) = (i64::MIN, 1, i64::MIN);
        while expected <= end {
            let page = match self.store.hashed_events(after, PAGE).await {
                Ok(page) => page,
                Err(problem @ StoreError::Unavailable(_)) => return Err(problem.into()),
                // One of them makes no sense; those before it are looked at first.
                Err(_) => match self.store.hashed_events(after, 1).await {
                    Ok(page) => page,
                    Err(problem @ StoreError::Unavailable(_)) => return Err(problem.into()),
                    Err(_) => {
                        self.found(expected, "the event cannot be read");
                        return Ok(());
                    }
                },
            };
            let Some(last) = page.last().map(|event| event.record.position) else {
                self.found(
                    expected,
                    format!("there is no event, and the log says that it ends at {end}"),
                );
                return Ok(());
            };
            self.nodes = self
                .store
                .tree_nodes_after(after.max(i64::MIN + 1), last.min(self.tree))
                .await?;
            self.nodes.reverse();
            after = last;
            for event in page {
                let position = event.record.position;
                if position > end {
                    return Ok(());
                }
                if position != expected {
                    let problem = if position < expected {
                        "an event stands where none can be"
                    } else {
                        "there is no event"
                    };
                    self.found(position.min(expected), problem);
                    return Ok(());
                }
                if !self.event(&event)? {
                    return Ok(());
                }
                if event.record.recorded_at.as_micros() < time {
                    self.found(position, "the event was recorded before the one before it");
                }
                time = event.record.recorded_at.as_micros();
                self.checked.events = position;
                self.heads_at(position).await?;
                expected += 1;
            }
        }
        Ok(())
    }

    /// Whether an event is what was signed.
    fn event(&mut self, event: &HashedEvent) -> Result<bool, CheckError> {
        let position = event.record.position;
        let leaf = event.record.leaf_hash();
        if event.leaf != Some(leaf) {
            self.found(position, "the event is not as it was hashed when it was appended");
            return Ok(false);
        }
        for number in 0..self.outside.len() {
            if let Some(outside) = self.outside[number].leaf(position)?
                && outside != leaf
            {
                let folder = self.outside[number].folder.display().to_string();
                self.found(
                    position,
                    format!("the event is not the one whose hash stands in {folder}"),
                );
                return Ok(false);
            }
        }
        for (node, hash) in self.frontier.push(leaf) {
            if position > self.tree {
                continue;
            }
            let stored = self.nodes.pop();
            let is = |(last, level, stored): &(i64, i64, Vec<u8>)| {
                *last == position && *level == i64::from(node.level) && stored.as_slice() == hash
            };
            if !stored.as_ref().is_some_and(is) {
                self.found(
                    position,
                    format!("the tree has another node of level {} there", node.level),
                );
                return Ok(false);
            }
            self.checked.nodes += 1;
        }
        if self.nodes.last().is_some_and(|(last, ..)| *last <= position) {
            self.found(position, "the tree has a node there that belongs to no tree");
            return Ok(false);
        }
        Ok(true)
    }

    /// Looks at the heads of so many events, in the store and outside.
    async fn heads_at(&mut self, size: i64) -> Result<(), CheckError> {
        let root = self.frontier.root();
        let mut note = None;
        while let Some(head) = self.heads.peek(self.store).await?.filter(|head| head.size <= size) {
            let head = head.clone();
            self.heads.page.pop_front();
            self.checked.heads += 1;
            if head.size < size {
                self.found(head.size, "the store has a signed head of a size that cannot be");
                continue;
            }
            self.stored_head(&head, &root);
            note = Some(head.note);
        }
        for number in 0..self.outside.len() {
            let folder = self.outside[number].folder.display().to_string();
            let mut seen = false;
            while let Some((outside, said)) = self.outside[number].next.clone() {
                let Some(said) = said else {
                    self.found(size, format!("a head in {folder} cannot be read"));
                    self.outside[number].advance()?;
                    continue;
                };
                let said_size = i64::try_from(said.size).unwrap_or(i64::MAX);
                if said_size > size {
                    break;
                }
                self.outside[number].advance()?;
                if said_size < size || seen {
                    self.found(said_size, format!("the heads in {folder} are not in order"));
                    continue;
                }
                seen = true;
                self.outside[number].size = size;
                self.outside_head(&outside, size, &root, &folder);
                if let Some(position) = self.outside[number].ends.filter(|ends| *ends <= size) {
                    self.found(position, format!("{folder} has no hash of the event"));
                }
                if note.is_none() && size > self.tree {
                    // Signed since the check began; it was in the store before it was copied.
                    let since = self.store.heads_after(size - 1, 1).await?;
                    note = since.into_iter().find(|head| head.size == size).map(|head| head.note);
                }
                match &note {
                    Some(note) if *note == outside => {}
                    Some(_) => self.found(size, format!("the signed head is not the one in {folder}")),
                    None => self.found(size, format!("the signed head in {folder} is missing in the store")),
                }
            }
            if note.is_some() && !seen && self.outside[number].next.is_some() {
                self.found(size, format!("the signed head is missing in {folder}"));
            }
        }
        Ok(())
    }

    /// Holds a head of the store against the events.
    fn stored_head(&mut self, head: &StoredHead, root: &Hash) {
        match Head::open(&head.note, self.keys) {
            Err(problem) => self.found(head.size, format!("the signed head there {problem}")),
            Ok(signed) if i64::try_from(signed.size) != Ok(head.size) || head.root != Some(signed.root) => {
                self.found(head.size, "the signed head there was altered");
            }
            Ok(signed) => self.fits(&signed, root, "in the store"),
        }
    }

    fn outside_head(&mut self, note: &str, size: i64, root: &Hash, folder: &str) {
        match Head::open(note, self.keys) {
            Err(problem) => self.found(size, format!("the head in {folder} {problem}")),
            Ok(signed) => self.fits(&signed, root, folder),
        }
    }

    fn fits(&mut self, signed: &Head, root: &Hash, place: &str) {
        let size = i64::try_from(signed.size).unwrap_or(i64::MAX);
        if signed.root == *root {
            self.good = size;
        } else {
            let from = self.good + 1;
            self.found(
                from,
                format!("an event from here to position {size} is not the one that was signed (head {place})"),
            );
        }
    }

    /// What is left over when all events were walked.
    async fn finish(mut self, end: i64) -> Result<Checked, CheckError> {
        if self.checked.findings.is_empty() {
            if self.tree > end {
                self.found(
                    end + 1,
                    format!("the signed tree goes to position {}, the log does not", self.tree),
                );
            }
            let now = self.store.head().await?.position;
            for number in 0..self.outside.len() {
                let folder = self.outside[number].folder.display().to_string();
                let mut last = 0;
                while let Some((_, said)) = self.outside[number].next.take() {
                    last = said.map_or(last, |said| i64::try_from(said.size).unwrap_or(i64::MAX));
                    self.outside[number].advance()?;
                }
                if last > now {
                    self.found(
                        now + 1,
                        format!("{folder} tells of {last} events: the store has lost its end, or is an older copy"),
                    );
                }
            }
        }
        let covered = self
            .outside
            .iter()
            .filter(|one| one.heads.is_some())
            .map(|one| one.size)
            .max();
        self.checked.uncovered = end - covered.unwrap_or(0);
        self.checked.outside = self
            .outside
            .into_iter()
            .map(|one| Outside {
                heads: one.heads.is_some().then_some(one.read),
                leaves: one.compared,
                size: one.size,
                folder: one.folder,
            })
            .collect();
        self.checked.findings.sort_by_key(|finding| finding.position);
        Ok(self.checked)
    }
}
