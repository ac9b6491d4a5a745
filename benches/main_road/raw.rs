//! The peer of every password: argon2id on plain threads.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use user_registry::config::Passwords;

use crate::load::per_second;

/// The pool's threads are of low priority; the peer's too, or the two would not run on the same machine.
const NICENESS: i32 = 10;

/// Hashes per second of so many plain threads with memory of their own.
pub fn raw(threads: usize, seconds: f64, config: &Passwords) -> Result<f64> {
    let params = Params::new(config.memory_kib, config.iterations, config.parallelism, Some(32))
        .map_err(|problem| anyhow!("{problem}"))?;
    let workers: Vec<_> = (0..threads)
        .map(|_| {
            let params = params.clone();
            std::thread::spawn(move || {
                let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS);
                let mut blocks = vec![Block::new(); params.block_count()];
                let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
                let mut output = [0; 32];
                let mut hash =
                    || argon2.hash_password_into_with_memory(b"correct horse", &[7; 16], &mut output, &mut blocks);
                hash()?;
                let (started, mut count) = (Instant::now(), 0);
                while started.elapsed() < Duration::from_secs_f64(seconds) {
                    hash()?;
                    count += 1;
                }
                Ok::<f64, argon2::Error>(per_second(count, started.elapsed()))
            })
        })
        .collect();
    let mut rate = 0.0;
    for worker in workers {
        let one = worker.join().map_err(|_| anyhow!("a thread panicked"))?;
        rate += one.map_err(|problem| anyhow!("{problem}"))?;
    }
    Ok(rate)
}
