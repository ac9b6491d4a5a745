//! Who has used how much of a rate, in memory that never grows.
//!
//! The table is made once, as zeroes the system only turns into memory where they are touched. A key is a keyed hash:
//! what it stands for cannot be read out of it, and nobody outside can choose two that meet. A key has eight places it
//! may lie in. When all are taken, a bucket that is full again goes, else the one that is fullest: who is refused just
//! now stays known.

use std::sync::{Mutex, PoisonError};

use ring::hmac;

use super::rate::{Rate, Verdict};

/// What all buckets together may take (SECURITY-REQUIREMENTS, section 5).
pub const MOST_BYTES: usize = 64 << 20;

const PLACES: usize = 8;
const SHARDS: usize = 64;
/// Groups of eight places in each shard: two million places in all, half of what they may take.
const GROUPS: usize = 4_096;

/// A key and when its bucket is full again, microseconds; key 0 is nobody's.
type Place = [u64; 2];

/// The buckets of all rates.
pub struct Buckets {
    key: hmac::Key,
    shards: Vec<Mutex<Vec<Place>>>,
}

impl Buckets {
    /// Full buckets for everybody.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
            shards: (0..SHARDS).map(|_| Mutex::new(vec![[0, 0]; GROUPS * PLACES])).collect(),
        }
    }

    /// The bytes the table takes at most, whatever is in it.
    #[must_use]
    pub const fn bytes() -> usize {
        SHARDS * GROUPS * PLACES * size_of::<Place>()
    }

    /// Takes one from the bucket that somebody has of a rate.
    pub fn take(&self, rate: &Rate, who: &[u8], now: i64) -> Verdict {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(rate.name.as_bytes());
        context.update(&[0]);
        context.update(who);
        let tag = context.sign();
        let word = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&tag.as_ref()[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        let (key, place) = (word(0).max(1), word(8));
        let shard = usize::try_from(place % SHARDS as u64).unwrap_or_default();
        let group = usize::try_from((place >> 32) % GROUPS as u64).unwrap_or_default();
        let mut shard = self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner);
        let group = &mut shard[group * PLACES..(group + 1) * PLACES];
        let known = group.iter().position(|place| place[0] == key);
        let (index, full_at) = match known {
            Some(index) => (index, i64::try_from(group[index][1]).unwrap_or_default()),
            None => (least(group), 0),
        };
        let (full_at, verdict) = rate.decide(full_at, now);
        group[index] = [key, u64::try_from(full_at).unwrap_or_default()];
        verdict
    }
}

/// The place whose bucket is full, or will be soonest. Empty places are full since ever.
fn least(group: &[Place]) -> usize {
    let soonest = group.iter().enumerate().min_by_key(|(_, place)| place[1]);
    soonest.map_or(0, |(index, _)| index)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HOUR: Rate = Rate::new("hour", 2, Duration::from_hours(1));

    #[test]
    fn the_table_keeps_to_its_bytes() {
        assert!(Buckets::bytes() <= MOST_BYTES, "{}", Buckets::bytes());
    }

    #[test]
    fn whoever_is_refused_stays_refused_while_a_million_others_come() {
        let buckets = Buckets::new(&[1; 32]);
        let now = 1_000_000_000;
        for _ in 0..3 {
            let _ = buckets.take(&HOUR, b"flood", now);
        }
        for other in 0..1_000_000_u32 {
            assert!(buckets.take(&HOUR, &other.to_be_bytes(), now).allowed);
        }
        assert!(!buckets.take(&HOUR, b"flood", now).allowed);
    }

    #[test]
    fn the_same_somebody_has_a_bucket_for_each_rate() {
        let buckets = Buckets::new(&[1; 32]);
        let other = Rate::new("other", 1, Duration::from_hours(1));
        let _ = buckets.take(&HOUR, b"a", 0);
        assert!(buckets.take(&HOUR, b"a", 0).allowed);
        assert!(!buckets.take(&HOUR, b"a", 0).allowed);
        assert!(buckets.take(&other, b"a", 0).allowed);
        assert!(buckets.take(&HOUR, b"b", 0).allowed);
    }

    #[test]
    fn nothing_of_whom_it_counts_is_in_the_table() {
        let buckets = Buckets::new(&[1; 32]);
        let _ = buckets.take(&HOUR, b"ada@farm", 5);
        let word = u64::from_le_bytes(*b"ada@farm");
        let found = |shard: &Mutex<Vec<Place>>| {
            shard
                .lock()
                .is_ok_and(|shard| shard.iter().flatten().any(|w| *w == word))
        };
        assert!(!buckets.shards.iter().any(found));
    }
}
