//! What the rates of one process cost: decisions a second beside the keyed hash that each needs, and the memory of a
//! million keys beside the 64 MiB they may take.
//!
//! ```text
//! cargo bench --bench guards
//! ```

use std::hint::black_box;
use std::time::{Duration, Instant};

use user_registry::guards::{Buckets, MOST_BYTES, Rate};

const KEYS: u32 = 1_000_000;
const ROUNDS: usize = 5;

/// The memory of this process, bytes; none where the system does not tell.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn per_second(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn main() {
    let rate = Rate::new("bench", 1_000, Duration::from_mins(1));
    let before = resident();
    let buckets = Buckets::new(&[7; 32]);
    let empty = resident();
    for key in 0..KEYS {
        black_box(buckets.take(&rate, &key.to_be_bytes(), 1_000_000));
    }
    let full = resident();
    let mut known = 0;
    for key in 0..KEYS {
        // A bucket that is still known has had one taken before this one.
        known += usize::from(buckets.take(&rate, &key.to_be_bytes(), 1_000_000).remaining == rate.most - 2);
    }
    if let (Some(before), Some(empty), Some(full)) = (before, empty, full) {
        let took = full.saturating_sub(before);
        println!(
            "memory: {} KiB empty, {} KiB with {KEYS} keys ({} bytes a key, {known} still known); {:.2} of {} MiB",
            empty.saturating_sub(before) >> 10,
            took >> 10,
            took / KEYS as usize,
            per_second(took, Duration::from_secs(1)) / per_second(MOST_BYTES, Duration::from_secs(1)),
            MOST_BYTES >> 20,
        );
    }

    let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &[7; 32]);
    let (mut one, mut many, mut hash, mut both) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let time = |work: &dyn Fn(u32)| {
            let started = Instant::now();
            (0..KEYS).for_each(work);
            per_second(KEYS as usize, started.elapsed())
        };
        hash.push(time(&|key| {
            let mut context = ring::hmac::Context::with_key(&secret);
            context.update(b"bench");
            context.update(&key.to_be_bytes());
            black_box(context.sign());
        }));
        one.push(time(&|key| {
            black_box(buckets.take(&rate, b"one", i64::from(key)));
        }));
        many.push(time(&|key| {
            black_box(buckets.take(&rate, &key.to_be_bytes(), i64::from(key)));
        }));
        let started = Instant::now();
        std::thread::scope(|scope| {
            for half in 0..2 {
                let buckets = &buckets;
                scope.spawn(move || {
                    for key in (half..KEYS).step_by(2) {
                        black_box(buckets.take(&rate, &key.to_be_bytes(), i64::from(key)));
                    }
                });
            }
        });
        both.push(per_second(KEYS as usize, started.elapsed()));
    }
    let hash = median(hash);
    for (what, figures) in [
        ("one key", one),
        ("a million keys", many),
        ("a million keys, two threads", both),
    ] {
        let figure = median(figures);
        println!(
            "{what}: {figure:.0} decisions/s, {:.2} of the keyed hash alone ({hash:.0}/s)",
            figure / hash
        );
    }
}
