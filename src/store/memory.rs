//! What the appender remembers of the store, so that a batch need not ask for it again.
//!
//! It holds as long as the log ends where this process left it: whoever else appends, or repairs a row, moves the head.
//! So nothing here is believed before the head has been compared, under its lock.

use std::collections::HashMap;

use projections::UserRow;
use uuid::Uuid;

use super::plan::{Facts, Head, Plan, Wanted};

/// A row with a longer boundary is read anew each time: ten thousand of a megabyte would not fit.
const LONGEST_BOUNDARY: usize = 4 << 10;

type StreamKey = (&'static str, String);

#[derive(Debug, Clone)]
struct Known {
    version: i64,
    /// Of a user's stream. None: not remembered.
    row: Option<UserRow>,
}

/// Streams that were lately appended to, and the rows of those that are users.
#[derive(Debug)]
pub(super) struct Memory {
    head: Option<Head>,
    /// Two generations, each at most half the bound: when the younger is full, the older one is forgotten.
    young: HashMap<StreamKey, Known>,
    old: HashMap<StreamKey, Known>,
    half: usize,
}

impl Memory {
    /// Remembers at most so many streams.
    pub fn new(bound: u64) -> Self {
        Self {
            head: None,
            young: HashMap::new(),
            old: HashMap::new(),
            half: usize::try_from(bound / 2).unwrap_or(usize::MAX).max(1),
        }
    }

    /// Where the log ended when this process last wrote to it or read from it.
    pub const fn head(&self) -> Option<Head> {
        self.head
    }

    pub fn forget(&mut self) {
        self.head = None;
        self.young.clear();
        self.old.clear();
    }

    /// What a batch wants to know, if all of it is remembered of the log that ends at `head`.
    ///
    /// What is not about streams and users is never remembered. A stream that is not known may be absent or not.
    pub fn facts(&mut self, wanted: &Wanted, head: Head) -> Option<Facts> {
        if self.head != Some(head) || !wanted.only_streams_and_users() {
            return None;
        }
        let mut facts = Facts::default();
        for (kind, id) in &wanted.streams {
            let known = self.known(&(*kind, id.clone()))?;
            facts.versions.insert(((*kind).to_owned(), id.clone()), known.version);
        }
        for id in &wanted.users {
            let row = self.known(&("user", id.to_string()))?.row.clone()?;
            facts.rows.users.insert(*id, row);
        }
        Some(facts)
    }

    /// Takes note of what was read under the lock of this head.
    pub fn learn(&mut self, head: Head, facts: &Facts) {
        if self.head != Some(head) {
            self.forget();
            self.head = Some(head);
        }
        for ((kind, id), version) in &facts.versions {
            let user = Uuid::parse_str(id).ok().and_then(|id| facts.rows.users.get(&id));
            let kind = match kind.as_str() {
                "user" => "user",
                "domain" => "domain",
                // A session's stream is rarely seen twice in a short time.
                _ => continue,
            };
            let row = user.filter(|_| kind == "user");
            self.keep((kind, id.clone()), *version, row.cloned());
        }
    }

    /// Takes note of a batch that was committed.
    pub fn follow(&mut self, plan: &Plan) {
        self.head = Some(Head {
            position: plan.position,
            recorded_at: plan.recorded_at,
        });
        for event in &plan.events {
            let key = (event.aggregate_type, event.aggregate_id.clone());
            if let Some(known) = self.known(&key) {
                known.version = event.sequence;
            } else if event.sequence == 1 && event.aggregate_type != "session" {
                self.keep(key, 1, None);
            }
        }
        for (id, row) in &plan.rows.users {
            let key = ("user", id.to_string());
            if let Some(row) = row {
                if let Some(known) = self.known(&key) {
                    known.row = worth_keeping(row).then(|| row.clone());
                }
            } else {
                self.young.remove(&key);
                self.old.remove(&key);
            }
        }
    }

    fn keep(&mut self, key: StreamKey, version: i64, row: Option<UserRow>) {
        if self.young.len() >= self.half {
            self.old = std::mem::take(&mut self.young);
        }
        let row = row.filter(worth_keeping);
        self.old.remove(&key);
        self.young.insert(key, Known { version, row });
    }

    fn known(&mut self, key: &StreamKey) -> Option<&mut Known> {
        if !self.young.contains_key(key) {
            let Known { version, row } = self.old.remove(key)?;
            self.keep(key.clone(), version, row);
        }
        self.young.get_mut(key)
    }
}

fn worth_keeping(row: &UserRow) -> bool {
    row.boundary.as_ref().is_none_or(|text| text.len() <= LONGEST_BOUNDARY)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Head = Head {
        position: 7,
        recorded_at: 70,
    };

    fn of_domain(name: &str) -> Wanted {
        Wanted {
            streams: [("domain", name.to_owned())].into(),
            ..Wanted::default()
        }
    }

    fn facts(name: &str, version: i64) -> Facts {
        Facts {
            versions: [(("domain".to_owned(), name.to_owned()), version)].into(),
            ..Facts::default()
        }
    }

    #[test]
    fn what_was_learnt_holds_at_that_head_only() {
        let mut memory = Memory::new(10);
        memory.learn(HEAD, &facts("farm.example", 3));
        let wanted = of_domain("farm.example");
        assert!(memory.facts(&wanted, HEAD).is_some());
        let moved = Head {
            recorded_at: 71,
            ..HEAD
        };
        assert!(memory.facts(&wanted, moved).is_none());
        memory.learn(moved, &facts("other.example", 1));
        assert!(memory.facts(&wanted, moved).is_none(), "the old head's facts are gone");
    }

    #[test]
    fn what_is_not_known_is_not_taken_for_absent() {
        let mut memory = Memory::new(10);
        memory.learn(HEAD, &facts("farm.example", 3));
        assert!(memory.facts(&of_domain("new.example"), HEAD).is_none());
    }

    #[test]
    fn it_stays_within_its_bound_and_keeps_what_is_used() {
        let mut memory = Memory::new(10);
        memory.learn(HEAD, &facts("used.example", 1));
        for number in 0..100 {
            memory.learn(HEAD, &facts(&format!("n{number}.example"), 1));
            assert!(memory.facts(&of_domain("used.example"), HEAD).is_some());
            assert!(memory.young.len() + memory.old.len() <= 10);
        }
        assert!(memory.facts(&of_domain("n0.example"), HEAD).is_none());
    }
}
