//! Many callers at once, counted between two moments.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinSet;

/// How long callers run before they are counted: connections are made and statements prepared by then.
const WARM_UP: Duration = Duration::from_millis(300);

/// Calls per second that `callers` make together, each one call after the other.
///
/// `call` gets the number of the caller and of its call, and says whether the call counts.
pub async fn calls_per_second<F, C>(callers: usize, seconds: f64, call: F) -> Result<f64>
where
    F: Fn(usize, usize) -> C + Clone + Send + 'static,
    C: Future<Output = Result<bool>> + Send,
{
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let (call, stop, done) = (call.clone(), Arc::clone(&stop), Arc::clone(&done));
        tasks.spawn(async move {
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                let counts = call(caller, number).await?;
                number += 1;
                done.fetch_add(u64::from(counts), Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
    }
    tokio::time::sleep(WARM_UP).await;
    let (started, before) = (Instant::now(), done.load(Ordering::Relaxed));
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    let rate = per_second(done.load(Ordering::Relaxed) - before, started.elapsed());
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(rate)
}

/// A count as a rate.
#[expect(clippy::cast_precision_loss, reason = "a rate is shown to a few digits")]
pub fn per_second(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64().max(1e-9)
}
