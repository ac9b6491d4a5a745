//! What a process keeps in memory, up to a bound: the one place that names the library.
//!
//! The library's cache is compiled anew for every pair of types it is used with, a twentieth of the whole program each
//! time; so it is used with one pair, and the types are put on here.

use std::any::Any;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use moka::sync;

type Name = Box<[u8]>;
type Entries = sync::Cache<Name, Entry>;

/// Values under names, the least used leaving first.
pub struct Cache<V> {
    entries: Entries,
    values: PhantomData<fn() -> V>,
}

#[derive(Clone)]
struct Entry {
    value: Arc<dyn Any + Send + Sync>,
    weight: u32,
}

impl<V: Clone + Send + Sync + 'static> Cache<V> {
    /// Holds entries up to this weight in all; one weighs 1 unless it is said.
    #[must_use]
    pub fn new(weight: u64) -> Self {
        Self::build(sync::Cache::builder().max_capacity(weight))
    }

    /// The same, of which none is found later than `life` after it was put in.
    #[must_use]
    pub fn with_life(weight: u64, life: Duration) -> Self {
        Self::build(sync::Cache::builder().max_capacity(weight).time_to_live(life))
    }

    fn build(builder: sync::CacheBuilder<Name, Entry, Entries>) -> Self {
        Self {
            entries: builder.weigher(|_, entry: &Entry| entry.weight).build(),
            values: PhantomData,
        }
    }

    /// The value under a name.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<V> {
        self.entries.get(name)?.value.downcast_ref::<V>().cloned()
    }

    /// Puts a value under a name, in place of the one before.
    pub fn insert(&self, name: impl Into<Name>, value: V) {
        self.insert_weighing(name, value, 1);
    }

    /// The same, for one that takes the room of several.
    pub fn insert_weighing(&self, name: impl Into<Name>, value: V, weight: u32) {
        let value = Arc::new(value);
        self.entries.insert(name.into(), Entry { value, weight });
    }

    /// Drops what is under a name.
    pub fn remove(&self, name: &[u8]) {
        self.entries.invalidate(name);
    }

    /// Drops everything.
    pub fn clear(&self) {
        self.entries.invalidate_all();
    }
}

/// One name out of two parts: other parts make another name.
#[must_use]
pub fn name(first: &str, second: &str) -> Name {
    let mut name = Vec::with_capacity(8 + first.len() + second.len());
    name.extend_from_slice(&(first.len() as u64).to_le_bytes());
    name.extend_from_slice(first.as_bytes());
    name.extend_from_slice(second.as_bytes());
    name.into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_until_it_is_dropped() {
        let cache = Cache::new(10);
        cache.insert(*b"a", "one".to_owned());
        cache.insert(*b"b", "two".to_owned());
        cache.insert(*b"a", "three".to_owned());
        assert_eq!(cache.get(b"a").as_deref(), Some("three"));
        cache.remove(b"a");
        assert_eq!(cache.get(b"a"), None);
        assert_eq!(cache.get(b"b").as_deref(), Some("two"));
        cache.clear();
        assert_eq!(cache.get(b"b"), None);
    }

    #[test]
    fn what_is_too_heavy_leaves() {
        let cache = Cache::new(10);
        for weight in 1..=9_u8 {
            cache.insert_weighing([weight], weight, u32::from(weight));
        }
        cache.entries.run_pending_tasks();
        assert!(cache.entries.weighted_size() <= 10, "{}", cache.entries.weighted_size());
        assert!(cache.entries.entry_count() > 0);
    }

    #[test]
    fn life_ends() {
        let cache = Cache::with_life(10, Duration::from_millis(20));
        cache.insert(*b"a", 1);
        assert_eq!(cache.get(b"a"), Some(1));
        std::thread::sleep(Duration::from_millis(40));
        assert_eq!(cache.get(b"a"), None);
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(name("ab", "c"), name("a", "bc"));
        assert_ne!(name("", "abc"), name("abc", ""));
        assert_eq!(name("user", "1"), name("user", "1"));
    }
}
