//! The one place that randomness comes from.
//!
//! Secrets and salts come from the system's generator. A simulation passes a seeded one instead and
//! gets the same run again.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aggregates::values::Timestamp;
use ring::digest::{Context, SHA256};
use ring::rand::{SecureRandom, SystemRandom};
use uuid::Uuid;

/// Gives random bytes and ids. Cheap to clone; clones share one order of ids.
#[derive(Clone)]
pub struct Chance {
    source: Source,
    last: Arc<AtomicU64>,
}

#[derive(Clone)]
enum Source {
    System(SystemRandom),
    Seeded { seed: u64, drawn: Arc<AtomicU64> },
}

impl Chance {
    /// The system's generator.
    #[must_use]
    pub fn system() -> Self {
        Self::from(Source::System(SystemRandom::new()))
    }

    /// A generator that gives the same bytes for the same seed. Never for real secrets.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self::from(Source::Seeded {
            seed,
            drawn: Arc::new(AtomicU64::new(0)),
        })
    }

    /// Fills a buffer.
    pub fn fill(&self, buffer: &mut [u8]) {
        match &self.source {
            Source::System(random) => {
                if random.fill(buffer).is_err() {
                    // Without randomness every token, salt and id would be guessable: there is no
                    // request worth answering any more.
                    tracing::error!("the system gives no random bytes");
                    std::process::abort();
                }
            }
            Source::Seeded { seed, drawn } => {
                let count = buffer.len().div_ceil(32) as u64;
                let first = drawn.fetch_add(count, Ordering::SeqCst);
                for (chunk, index) in buffer.chunks_mut(32).zip(first..) {
                    let mut context = Context::new(&SHA256);
                    context.update(&seed.to_be_bytes());
                    context.update(&index.to_be_bytes());
                    chunk.copy_from_slice(&context.finish().as_ref()[..chunk.len()]);
                }
            }
        }
    }

    /// An array of random bytes.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// A fresh id that sorts by time: later ids of one process are greater, even when the clock
    /// stands still or steps back.
    #[must_use]
    pub fn uuid_v7(&self, now: Timestamp) -> Uuid {
        let step = self.next_step(now);
        let mut tail: [u8; 10] = self.bytes();
        // The 12 bits after the version hold the fraction of the millisecond (RFC 9562, 6.2,
        // method 3), then count up.
        let [high, low] = u16::try_from(step & 0xfff).unwrap_or(0).to_be_bytes();
        tail[0] = high;
        tail[1] = low;
        uuid::Builder::from_unix_timestamp_millis(step >> 12, &tail).into_uuid()
    }

    /// Milliseconds, then 12 bits of fraction; always above the one before.
    fn next_step(&self, now: Timestamp) -> u64 {
        let micros = u64::try_from(now.as_micros()).unwrap_or(0);
        let wanted = ((micros / 1000) << 12) | ((micros % 1000) * 4096 / 1000);
        let above = |last: u64| wanted.max(last + 1);
        let order = Ordering::SeqCst;
        let last = self.last.fetch_update(order, order, |last| Some(above(last)));
        above(last.unwrap_or_default())
    }
}

impl From<Source> for Chance {
    fn from(source: Source) -> Self {
        Self {
            source,
            last: Arc::new(AtomicU64::new(0)),
        }
    }
}

impl fmt::Debug for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.source {
            Source::System(_) => "Chance::System",
            Source::Seeded { .. } => "Chance::Seeded",
        })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_763_608_127_848_577);

    #[test]
    fn the_same_seed_gives_the_same_run() {
        let run = |seed| {
            let chance = Chance::seeded(seed);
            (chance.bytes::<40>(), chance.bytes::<1>(), chance.uuid_v7(NOW))
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        let chance = Chance::seeded(7);
        assert_ne!(chance.bytes::<32>(), chance.bytes::<32>());
    }

    #[test]
    fn an_id_holds_its_time() {
        let id = Chance::system().uuid_v7(NOW);
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
        let (seconds, nanos) = id.get_timestamp().unwrap().to_unix();
        assert_eq!((seconds, nanos / 1_000_000), (1_763_608_127, 848));
    }

    #[test]
    fn later_ids_are_greater_even_when_the_clock_steps_back() {
        let chance = Chance::system();
        let earlier = Timestamp::from_micros(NOW.as_micros() - 5_000_000);
        let mut last = chance.uuid_v7(NOW);
        for now in [NOW, NOW, earlier, earlier].into_iter().cycle().take(10_000) {
            let next = chance.uuid_v7(now);
            assert!(next > last);
            last = next;
        }
    }

    #[test]
    fn ids_of_many_threads_differ() {
        let chance = Chance::system();
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let chance = chance.clone();
                std::thread::spawn(move || (0..2_000).map(|_| chance.uuid_v7(NOW)).collect::<Vec<_>>())
            })
            .collect();
        let ids: HashSet<_> = workers.into_iter().flat_map(|w| w.join().unwrap()).collect();
        assert_eq!(ids.len(), 8_000);
    }
}
