//! What a registration or a sign-in costs below HTTP: one password hash in the pool of its own.

use anyhow::{Context as _, Result};
use user_registry::chance::Chance;
use user_registry::config::Passwords;
use user_registry::passwords::{Hasher, Password};

use crate::Scale;
use crate::load::calls_per_second;
use crate::raw::raw;
use crate::report::{Limit, Report};

/// Hashing and verifying, beside raw argon2id on as many threads.
pub async fn run(scale: Scale, report: &mut Report) -> Result<()> {
    let config = Passwords::default();
    let hasher = Hasher::new(&config, Chance::system())?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let password = Password::parse("correct horse")?;
    let stored = hasher
        .hash(password.clone())
        .await
        .context("a pool that is busy already")?
        .into_string();
    println!(
        "hashing: argon2id {} KiB, {} passes, {threads} threads",
        config.memory_kib, config.iterations
    );
    // A hash takes long: fewer calls need more time.
    let seconds = scale.seconds * 2.0;
    for callers in [1, threads, 16] {
        let (mut verified, mut made, mut plain) = (vec![], vec![], vec![]);
        for _ in 0..scale.rounds {
            let (pool, word, known) = (hasher.clone(), password.clone(), stored.clone());
            verified.push(
                calls_per_second(callers, seconds, move |_, _| {
                    let (pool, word, known) = (pool.clone(), word.clone(), known.clone());
                    async move {
                        anyhow::ensure!(
                            pool.verify(word, Some(known)).await?.ok,
                            "the right password was refused"
                        );
                        Ok(true)
                    }
                })
                .await?,
            );
            let (pool, word) = (hasher.clone(), password.clone());
            made.push(
                calls_per_second(callers, seconds, move |_, _| {
                    let (pool, word) = (pool.clone(), word.clone());
                    async move {
                        pool.hash(word).await?;
                        Ok(true)
                    }
                })
                .await?,
            );
            let config = config.clone();
            let threads = threads.min(callers);
            plain.push(tokio::task::spawn_blocking(move || raw(threads, seconds, &config)).await??);
        }
        let peer = format!("argon2id on {} plain threads", threads.min(callers));
        let limit = if callers < threads {
            Limit::None
        } else {
            Limit::Times(0.9)
        };
        report.pairs(
            &format!("sign in: verify, {callers} callers"),
            "/s",
            &verified,
            (&peer, &plain),
            limit,
        );
        report.pairs(
            &format!("register: hash, {callers} callers"),
            "/s",
            &made,
            (&peer, &plain),
            limit,
        );
    }
    Ok(())
}
