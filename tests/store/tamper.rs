//! Tampering: whoever can write to the database, but has neither the notary's key nor the copies outside, is found out.
//!
//! The ordinary run makes a small battery. `TAMPER_EVENTS=5000 TAMPER_MUTATIONS=2000` makes the whole one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use user_registry::audit::tree::{Frontier, Hash};
use user_registry::store::Store;

use crate::harness::{Database, Kind, Raw, hex};
use crate::notary::{checked, cover, unlocked};
use crate::rebuild::{Dice, History};

const KINDS: [&str; 12] = [
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
];
const TABLES: [&str; 4] = ["events", "tree_nodes", "tree_heads", "log_head"];

fn number_of(name: &str, usual: usize) -> usize {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is no number")),
        Err(_) => usual,
    }
}

/// A store to be tampered with.
struct Victim {
    store: Store,
    folder: PathBuf,
    raw: Raw,
    kind: Kind,
    end: i64,
    /// The sizes of the signed heads.
    heads: Vec<i64>,
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

    /// Puts everything back.
    async fn restore(&mut self) {
        for table in TABLES {
            self.raw.execute("BEGIN").await;
            self.raw.execute(&format!("DELETE FROM {table}")).await;
            self.raw
                .execute(&format!("INSERT INTO {table} SELECT * FROM pristine_{table}"))
                .await;
            self.raw.execute("COMMIT").await;
        }
    }

    /// Writes the hash beside an event that its columns come to.
    async fn hash_anew(&mut self, position: i64) {
        let event = self.store.hashed_events(position - 1, 1).await.unwrap().remove(0);
        assert_eq!(event.record.position, position);
        let leaf = self.blob(&event.record.leaf_hash());
        let sql = format!("UPDATE events SET leaf_hash = {leaf} WHERE position = {position}");
        self.raw.execute(&sql).await;
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

    /// Computes the tree anew, as the notary would, and writes its roots beside the heads, whose signatures stay.
    async fn tree_anew(&mut self) {
        let mut frontier = Frontier::default();
        let (mut nodes, mut roots) = (Vec::new(), BTreeMap::new());
        for leaf in self.store.leaf_hashes(0, self.end).await.unwrap() {
            for (node, hash) in frontier.push(leaf) {
                nodes.push(format!("({}, {}, {})", node.last(), node.level, self.blob(&hash)));
            }
            roots.insert(i64::try_from(frontier.size()).unwrap(), frontier.root());
        }
        self.raw.execute("BEGIN").await;
        self.raw.execute("DELETE FROM tree_nodes").await;
        for some in nodes.chunks(500) {
            let sql = format!(
                "INSERT INTO tree_nodes (last_position, level, hash) VALUES {}",
                some.join(", ")
            );
            self.raw.execute(&sql).await;
        }
        for size in self.heads.clone().into_iter().filter(|size| *size > 0) {
            let root = self.blob(&roots[&size]);
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
                self.hash_anew(position).await;
                self.tree_anew().await;
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

pub async fn every_mutation_is_found_at_its_position_and_no_clean_store_alarms(database: Arc<Database>) {
    let (events, mutations) = (number_of("TAMPER_EVENTS", 300), number_of("TAMPER_MUTATIONS", 120));
    let seed = number_of("TAMPER_SEED", 1);
    let store = database.open().await;
    let folder = database.folder().join("notary");
    let (mut dice, mut history) = (Dice(u64::try_from(seed).unwrap()), History::default());
    let (mut end, mut clean) = (0, 0);
    let goal = i64::try_from(events).unwrap();
    while end < goal {
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
    let heads = store
        .heads_after(-1, 10_000)
        .await
        .unwrap()
        .iter()
        .map(|head| head.size)
        .collect();
    let mut raw = database.raw().await;
    unlocked(&mut raw, database.kind).await;
    for table in TABLES {
        raw.execute(&format!("CREATE TABLE pristine_{table} AS SELECT * FROM {table}"))
            .await;
    }
    let mut victim = Victim {
        kind: database.kind,
        store: store.store.clone(),
        folder,
        raw,
        end,
        heads,
    };
    let mut found: BTreeMap<&str, (usize, usize, usize)> = BTreeMap::new();
    let mut missed = Vec::new();
    for number in 0..mutations {
        let kind = number % KINDS.len();
        let expected = victim.tamper(kind, &mut dice).await;
        let findings = checked(&victim.store, &victim.folder).await.findings;
        let first = findings.first().map(|finding| finding.position);
        let count = found.entry(KINDS[kind]).or_default();
        count.0 += 1;
        count.1 += usize::from(first.is_some());
        count.2 += usize::from(first == Some(expected));
        if first != Some(expected) {
            missed.push(format!(
                "{number}: {} at {expected}: {:?}",
                KINDS[kind],
                findings.first()
            ));
        }
        victim.restore().await;
        if number % 10 == 9 {
            assert_eq!(
                checked(&victim.store, &victim.folder).await.findings,
                [],
                "put back after {number}"
            );
            clean += 1;
        }
    }
    let engine = store.engine_name();
    println!("{engine}: {mutations} mutations of {end} events, seed {seed}; {clean} checks of clean stores, 0 alarms");
    for (kind, (made, seen, exact)) in &found {
        println!("{engine}: {kind:<32} {made:>5} made {seen:>5} found {exact:>5} at their position");
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
