//! Tampering: whoever can write to the database, but has neither the notary's key nor the copies outside, is found out.
//!
//! The ordinary run makes a small battery. `TAMPER_EVENTS=5000 TAMPER_MUTATIONS=2000` makes the whole one, in a release
//! build within minutes.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use user_registry::audit::tree::{Frontier, Hash};

use crate::harness::{Database, Instance, Kind, Raw, hex};
use crate::notary::{checked, cover, unlocked};
use crate::rebuild::{Dice, History};

const KINDS: [&str; 14] = [
    "payload edited",
    "metadata edited",
    "time edited",
    "type edited",
    "event deleted",
    "events swapped",
    "event inserted",
    "event moved to another stream",
    "tail cut",
    "older copy restored",
    "leaves and tree computed anew",
    "signed head edited",
    "node of the tree edited",
    "gap left in a stream",
];
/// What may be altered: each table, what tells its rows apart, and the other columns.
const TABLES: [(&str, &[&str], &[&str]); 4] = [
    (
        "events",
        &["position"],
        &[
            "aggregate_type",
            "aggregate_id",
            "sequence",
            "event_type",
            "event_version",
            "payload",
            "metadata",
            "event_id",
            "subject",
            "recorded_at",
            "leaf_hash",
        ],
    ),
    ("tree_nodes", &["last_position", "level"], &["hash"]),
    ("tree_heads", &["size"], &["root", "note", "signed_at"]),
    ("log_head", &["lane"], &["position", "recorded_at"]),
];
/// How many copies of the store are altered at the same time.
const VICTIMS: usize = 2;

fn number_of(name: &str, usual: usize) -> usize {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is no number")),
        Err(_) => usual,
    }
}

/// A store to be tampered with.
struct Victim {
    store: Instance,
    folder: PathBuf,
    raw: Raw,
    kind: Kind,
    end: i64,
    /// The sizes of the signed heads.
    heads: Vec<i64>,
    /// The hashes of the events as they were signed.
    leaves: Vec<Hash>,
    /// The nodes above them: the last position below, the level.
    nodes: HashMap<(u64, u32), Hash>,
    // Dropped last: it takes the database away.
    _database: Database,
}

impl Victim {
    fn blob(&self, hash: &Hash) -> String {
        match self.kind {
            Kind::Sqlite => format!("X'{}'", hex(hash)),
            Kind::Postgres => format!("'\\x{}'::bytea", hex(hash)),
        }
    }

    fn any(&self, dice: &mut Dice) -> i64 {
        1 + i64::try_from(dice.below(usize::try_from(self.end).unwrap())).unwrap()
    }

    async fn text(&mut self, column: &str, position: i64) -> String {
        self.raw
            .texts(&format!("SELECT {column} FROM events WHERE position = {position}"))
            .await
            .remove(0)
    }

    /// Puts everything back: every row that is not as it was goes, every row that is missing comes.
    async fn restore(&mut self) {
        self.raw.execute("BEGIN").await;
        for (table, key, others) in TABLES {
            let equal = |columns: &[&str]| {
                let columns = columns.iter().map(|column| match *column {
                    // On PostgreSQL texts of JSON cannot be compared as they are.
                    "payload" | "metadata" => format!("CAST(now.{column} AS TEXT) = CAST(old.{column} AS TEXT)"),
                    _ => format!("now.{column} = old.{column}"),
                });
                columns.collect::<Vec<_>>().join(" AND ")
            };
            let (key, others) = (equal(key), equal(others));
            for sql in [
                format!(
                    "DELETE FROM {table} AS now
                     WHERE NOT EXISTS (SELECT 1 FROM pristine_{table} AS old WHERE {key} AND {others})"
                ),
                format!(
                    "INSERT INTO {table} SELECT * FROM pristine_{table} AS old
                     WHERE NOT EXISTS (SELECT 1 FROM {table} AS now WHERE {key})"
                ),
            ] {
                self.raw.execute(&sql).await;
            }
        }
        self.raw.execute("COMMIT").await;
    }

    /// Writes the hash beside an event that its columns come to.
    async fn hash_anew(&mut self, position: i64) -> Hash {
        let event = self.store.hashed_events(position - 1, 1).await.unwrap().remove(0);
        assert_eq!(event.record.position, position);
        let hash = event.record.leaf_hash();
        let leaf = self.blob(&hash);
        let sql = format!("UPDATE events SET leaf_hash = {leaf} WHERE position = {position}");
        self.raw.execute(&sql).await;
        hash
    }

    /// Changes a text column so that it is another text, and valid JSON still.
    async fn edit_text(&mut self, column: &str, position: i64, dice: &mut Dice) {
        let before = self.text(column, position).await;
        let places: Vec<usize> = before
            .char_indices()
            .filter(|(_, c)| c.is_ascii_alphanumeric())
            .map(|(place, _)| place)
            .collect();
        for _ in 0..20 {
            let place = places[dice.below(places.len())];
            let mut after = before.clone();
            let other = if &before[place..=place] == "a" { "b" } else { "a" };
            after.replace_range(place..=place, other);
            if serde_json::from_str::<serde_json::Value>(&after).is_ok() {
                return self.write_text(column, position, &after).await;
            }
        }
        self.write_text(column, position, &format!("{before} ")).await;
    }

    async fn write_text(&mut self, column: &str, position: i64, text: &str) {
        let text = text.replace('\'', "''");
        let sql = format!("UPDATE events SET {column} = '{text}' WHERE position = {position}");
        self.raw.execute(&sql).await;
    }

    async fn shift(&mut self, from: i64, by: i64) {
        for sql in [
            format!("UPDATE events SET position = -(position + {by}) WHERE position >= {from}"),
            "UPDATE events SET position = -position WHERE position < 0".to_owned(),
        ] {
            self.raw.execute(&sql).await;
        }
        let sql = format!("UPDATE log_head SET position = position + {by}");
        self.raw.execute(&sql).await;
    }

    async fn cut(&mut self, end: i64, tree: i64) {
        for sql in [
            format!("DELETE FROM events WHERE position > {end}"),
            format!("UPDATE log_head SET position = {end}"),
            format!("DELETE FROM tree_nodes WHERE last_position > {tree}"),
            format!("DELETE FROM tree_heads WHERE size > {tree}"),
        ] {
            self.raw.execute(&sql).await;
        }
    }

    /// Computes the tree anew with another hash of one event, as the notary would, and writes its roots beside the
    /// heads, whose signatures stay. What comes to the same is left as it is.
    async fn tree_anew(&mut self, position: i64, hash: Hash) {
        let mut leaves = self.leaves.clone();
        leaves[usize::try_from(position - 1).unwrap()] = hash;
        let mut frontier = Frontier::default();
        let (mut nodes, mut roots) = (Vec::new(), BTreeMap::new());
        for leaf in leaves {
            for (node, hash) in frontier.push(leaf) {
                if self.nodes.get(&(node.last(), node.level)) != Some(&hash) {
                    nodes.push((node.last(), node.level, self.blob(&hash)));
                }
            }
            let size = i64::try_from(frontier.size()).unwrap();
            if self.heads.contains(&size) {
                roots.insert(size, self.blob(&frontier.root()));
            }
        }
        self.raw.execute("BEGIN").await;
        for (last, level, hash) in nodes {
            let sql = format!("UPDATE tree_nodes SET hash = {hash} WHERE last_position = {last} AND level = {level}");
            assert_eq!(self.raw.execute(&sql).await, 1);
        }
        for (size, root) in roots {
            self.raw
                .execute(&format!("UPDATE tree_heads SET root = {root} WHERE size = {size}"))
                .await;
        }
        self.raw.execute("COMMIT").await;
    }

    /// Does one thing to the store. Gives the first position that is not as it was signed.
    async fn tamper(&mut self, kind: usize, dice: &mut Dice) -> i64 {
        let position = self.any(dice);
        let clever = dice.below(2) == 1;
        match kind {
            0 | 1 => self.edit_text(["payload", "metadata"][kind], position, dice).await,
            2 => {
                let by = i64::try_from(1 + dice.below(1_000_000)).unwrap();
                let sql = format!("UPDATE events SET recorded_at = recorded_at - {by} WHERE position = {position}");
                self.raw.execute(&sql).await;
            }
            3 => {
                let known = self.text("event_type", position).await;
                let other = if known == "user.locked" {
                    "user.unlocked"
                } else {
                    "user.locked"
                };
                self.write_text("event_type", position, other).await;
            }
            4 => {
                self.raw
                    .execute(&format!("DELETE FROM events WHERE position = {position}"))
                    .await;
                if clever {
                    self.shift(position + 1, -1).await;
                }
                return position;
            }
            5 => {
                let other = loop {
                    let other = self.any(dice);
                    if other != position {
                        break other;
                    }
                };
                for sql in [
                    format!("UPDATE events SET position = -1 WHERE position = {position}"),
                    format!("UPDATE events SET position = {position} WHERE position = {other}"),
                    format!("UPDATE events SET position = {other} WHERE position = -1"),
                ] {
                    self.raw.execute(&sql).await;
                }
                return position.min(other);
            }
            6 => {
                let like = self.any(dice);
                let stream = self.text("aggregate_type || '/' || aggregate_id", like).await;
                let (of, id) = stream.split_once('/').unwrap();
                let condition = format!("aggregate_type = '{of}' AND aggregate_id = '{id}'");
                let last = self
                    .raw
                    .number(&format!("SELECT max(sequence) FROM events WHERE {condition}"))
                    .await;
                let at = if like >= position { like + 1 } else { like };
                self.shift(position, 1).await;
                let event_id = uuid::Uuid::from_u128(u128::from(dice.next()));
                let sql = format!(
                    "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload,
                         metadata, position, event_id, subject, recorded_at, leaf_hash)
                     SELECT aggregate_type, aggregate_id, {}, event_type, event_version, payload, metadata, {position},
                            '{event_id}', subject, recorded_at, leaf_hash
                     FROM events WHERE position = {at}",
                    last + 1
                );
                assert_eq!(self.raw.execute(&sql).await, 1);
                if clever {
                    self.hash_anew(position).await;
                }
                return position;
            }
            7 => {
                let id = uuid::Uuid::from_u128(u128::from(dice.next()));
                self.write_text("aggregate_id", position, &id.to_string()).await;
            }
            8 => {
                // What was cut off is cut off the tree too, or not.
                let end = position - 1;
                let tree = self.heads.iter().copied().filter(|size| *size <= end).max().unwrap();
                self.cut(end, if clever { tree } else { self.end }).await;
                return position;
            }
            9 => {
                let size = self.heads[dice.below(self.heads.len() - 1)];
                self.cut(size, size).await;
                return size + 1;
            }
            10 => {
                self.edit_text("payload", position, dice).await;
                let hash = self.hash_anew(position).await;
                self.tree_anew(position, hash).await;
                return position;
            }
            12 => {
                let mut nodes: Vec<(u64, u32)> = self.nodes.keys().copied().collect();
                nodes.sort_unstable();
                let (last, level) = nodes[dice.below(nodes.len())];
                let sql = format!(
                    "UPDATE tree_nodes SET hash = {} WHERE last_position = {last} AND level = {level}",
                    self.blob(&[7; 32])
                );
                assert_eq!(self.raw.execute(&sql).await, 1);
                return i64::try_from(last).unwrap();
            }
            13 => {
                let sql = format!("UPDATE events SET sequence = sequence + 1000 WHERE position = {position}");
                assert_eq!(self.raw.execute(&sql).await, 1);
                let hash = self.hash_anew(position).await;
                if clever {
                    self.tree_anew(position, hash).await;
                }
                return position;
            }
            _ => {
                let newest = *self.heads.last().unwrap();
                let size = self.heads[1 + dice.below(self.heads.len() - 1)];
                let sql = match dice.below(4) {
                    0 => format!(
                        "UPDATE tree_heads SET root = {} WHERE size = {size}",
                        self.blob(&[7; 32])
                    ),
                    1 => format!("UPDATE tree_heads SET note = replace(note, 'A', 'B') || ' ' WHERE size = {size}"),
                    2 if size != newest => format!("DELETE FROM tree_heads WHERE size = {size}"),
                    // The head of another size, which is signed well.
                    _ => format!(
                        "UPDATE tree_heads SET note = (SELECT note FROM pristine_tree_heads WHERE size = 0)
                         WHERE size = {size}"
                    ),
                };
                assert_eq!(self.raw.execute(&sql).await, 1);
                return size;
            }
        }
        if clever {
            self.hash_anew(position).await;
        }
        position
    }
}

/// What came of altering one copy.
#[derive(Default)]
struct Counted {
    /// Of each kind: made, found, found at their position.
    found: BTreeMap<&'static str, (usize, usize, usize)>,
    missed: Vec<String>,
    /// Checks of clean stores, which found nothing.
    clean: usize,
    altering: Duration,
    checking: Duration,
    restoring: Duration,
}

impl Victim {
    /// A copy of a store that nobody uses, to be altered past what protects it.
    async fn of(template: &Database) -> Self {
        let database = template.copy();
        let store = database.open().await;
        let mut raw = database.raw().await;
        unlocked(&mut raw, database.kind).await;
        // What is lost with the machine is made again.
        raw.execute(match database.kind {
            Kind::Sqlite => "PRAGMA synchronous = OFF",
            Kind::Postgres => "SET synchronous_commit = off",
        })
        .await;
        for (table, key, _) in TABLES {
            let key = key.join(", ");
            for sql in [
                format!("CREATE TABLE pristine_{table} AS SELECT * FROM {table}"),
                format!("CREATE UNIQUE INDEX pristine_{table}_key ON pristine_{table} ({key})"),
                format!("ANALYZE pristine_{table}"),
            ] {
                raw.execute(&sql).await;
            }
        }
        let end = store.head().await.unwrap().position;
        let heads = store.heads_after(-1, 100_000).await.unwrap();
        let leaves = store.leaf_hashes(0, end).await.unwrap();
        let (mut frontier, mut nodes) = (Frontier::default(), HashMap::new());
        for leaf in &leaves {
            let done = frontier.push(*leaf);
            nodes.extend(done.into_iter().map(|(node, hash)| ((node.last(), node.level), hash)));
        }
        Self {
            folder: database.folder().join("notary"),
            kind: database.kind,
            heads: heads.iter().map(|head| head.size).collect(),
            store,
            raw,
            end,
            leaves,
            nodes,
            _database: database,
        }
    }

    async fn is_clean(&self, when: &str) {
        assert_eq!(checked(&self.store, &self.folder).await.findings, [], "{when}");
    }

    /// Makes these mutations, one after the other, each on the store as it was signed.
    async fn suffer(mut self, numbers: Vec<usize>, seed: u64) -> Counted {
        let mut counted = Counted::default();
        for (done, number) in (1..).zip(numbers) {
            // Each by itself, so that one that is missed can be made again alone.
            let own = (seed ^ (u64::try_from(number).unwrap() << 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let (mut dice, kind) = (Dice(own), number % KINDS.len());
            let started = Instant::now();
            let expected = self.tamper(kind, &mut dice).await;
            counted.altering += started.elapsed();
            let started = Instant::now();
            let findings = checked(&self.store, &self.folder).await.findings;
            counted.checking += started.elapsed();
            let first = findings.first().map(|finding| finding.position);
            let count = counted.found.entry(KINDS[kind]).or_default();
            count.0 += 1;
            count.1 += usize::from(first.is_some());
            count.2 += usize::from(first == Some(expected));
            if first != Some(expected) {
                let finding = findings.first();
                counted
                    .missed
                    .push(format!("{number}: {} at {expected}: {finding:?}", KINDS[kind]));
            }
            let started = Instant::now();
            self.restore().await;
            if self.kind == Kind::Postgres && done % 100 == 0 {
                for (table, ..) in TABLES {
                    self.raw.execute(&format!("VACUUM {table}")).await;
                }
            }
            counted.restoring += started.elapsed();
            if done % 10 == 0 {
                self.is_clean(&format!("put back after {number}")).await;
                counted.clean += 1;
            }
        }
        // What was put back at last.
        self.is_clean("put back at the end").await;
        counted.clean += 1;
        counted
    }
}

/// A store of at least so many events, every one of them covered. Gives also how often it was checked on the way.
async fn grown(database: &Database, events: usize, seed: u64) -> (i64, usize) {
    let store = database.open().await;
    let folder = database.folder().join("notary");
    let (mut dice, mut history) = (Dice(seed), History::default());
    let (mut end, mut clean) = (0, 0);
    while end < i64::try_from(events).unwrap() {
        for _ in 0..(events / 12).max(10) {
            history.step(&[&store], &mut dice).await;
        }
        cover(
            &store,
            std::slice::from_ref(&folder),
            u32::try_from(events / 20).unwrap(),
        )
        .await;
        end = store.head().await.unwrap().position;
        assert_eq!(
            checked(&store, &folder).await.findings,
            [],
            "a clean store of {end} events"
        );
        clean += 1;
    }
    store.close().await;
    (end, clean)
}

pub async fn every_mutation_is_found_at_its_position_and_no_clean_store_alarms(database: Arc<Database>) {
    let (events, mutations) = (number_of("TAMPER_EVENTS", 300), number_of("TAMPER_MUTATIONS", 120));
    let seed = u64::try_from(number_of("TAMPER_SEED", 1)).unwrap();
    let started = Instant::now();
    let (end, mut clean) = grown(&database, events, seed).await;
    let growing = started.elapsed();
    let mut victims = Vec::new();
    for victim in 0..VICTIMS {
        let its = |number: &usize| (number / KINDS.len()) % VICTIMS == victim;
        let numbers = (0..mutations).filter(its).collect();
        let victim = Victim::of(&database).await;
        victims.push(tokio::spawn(victim.suffer(numbers, seed)));
    }
    let mut all = Counted::default();
    for victim in victims {
        let counted = victim.await.unwrap();
        for (kind, (made, seen, exact)) in counted.found {
            let count = all.found.entry(kind).or_default();
            *count = (count.0 + made, count.1 + seen, count.2 + exact);
        }
        all.missed.extend(counted.missed);
        clean += counted.clean;
        all.altering += counted.altering;
        all.checking += counted.checking;
        all.restoring += counted.restoring;
    }
    let engine = match database.kind {
        Kind::Sqlite => "sqlite",
        Kind::Postgres => "postgres",
    };
    told!(
        "{engine}: {mutations} mutations of {end} events, seed {seed}; {clean} checks of clean stores, 0 alarms; {:.0?}, \
         of which {growing:.0?} to make the store; of {VICTIMS} at a time {:.0?} to alter, {:.0?} to check, {:.0?} to put \
         back",
        started.elapsed(),
        all.altering,
        all.checking,
        all.restoring,
    );
    for (kind, (made, seen, exact)) in &all.found {
        told!("{engine}: {kind:<32} {made:>5} made {seen:>5} found {exact:>5} at their position");
    }
    assert!(all.missed.is_empty(), "{}", all.missed.join("\n"));
    let made: usize = all.found.values().map(|(made, ..)| made).sum();
    assert_eq!((made, all.found.len()), (mutations, KINDS.len().min(mutations)));
    assert!(clean >= mutations / 10, "{clean} checks of clean stores");
}
