//! A few low-priority threads with a short queue.
//!
//! Not the run time's blocking pool: that one grows to hundreds of threads, and hundreds of hashes
//! at 19 MiB each would take the machine down with every other request on it.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use argon2::Block;
use tokio::sync::oneshot;
use tokio::time::timeout;
use zeroize::Zeroize;

use super::Busy;

/// How much lower than the rest: enough that readers win a core whenever they want one.
const NICENESS: i32 = 10;

/// A thread without work gives its memory back after this long.
const IDLE: Duration = Duration::from_secs(2);

/// Blocks to reserve at least, of which only the used ones ever become memory. glibc maps requests
/// of more than 32 MiB on their own and unmaps them when freed; the smaller ones it serves, after
/// the first, from a heap that grew by 19 MiB with every idle spell when this was measured.
const MAPPED: usize = 33 << 10;

/// The scratch memory of one thread, kept from one hash to the next because fresh pages cost a
/// tenth of a hash.
#[derive(Default)]
pub(super) struct Memory(Vec<Block>);

impl Memory {
    /// So many blocks with anything in them; argon2 overwrites before it reads.
    pub fn blocks(&mut self, count: usize) -> &mut [Block] {
        if self.0.len() < count {
            self.0.reserve_exact(count.max(MAPPED) - self.0.len());
            self.0.resize(count, Block::new());
        }
        &mut self.0[..count]
    }

    fn give_back(&mut self) {
        self.0.iter_mut().for_each(Zeroize::zeroize);
        self.0 = Vec::new();
    }
}

type Work = Box<dyn FnOnce(&mut Memory) + Send>;

struct Job {
    /// Fires when a thread takes the job. Closed when the caller is gone.
    taken: oneshot::Sender<()>,
    work: Work,
}

/// The threads and their queue.
pub(super) struct Pool {
    shared: Arc<Shared>,
    wait: Duration,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    most: usize,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    closed: bool,
}

impl Pool {
    /// Starts so many threads with room for so many who wait.
    pub fn start(threads: usize, most: usize, wait: Duration) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            wake: Condvar::new(),
            most,
        });
        let pool = Self {
            shared: Arc::clone(&shared),
            wait,
        };
        for number in 0..threads {
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name(format!("hash-{number}"))
                .spawn(move || shared.serve())?;
        }
        Ok(pool)
    }

    /// Runs work on one of the threads. Busy when the queue is full or no thread took the work in
    /// time; then it is never run. A caller who goes away takes waiting work along.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Memory) -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let (taken, was_taken) = oneshot::channel();
        let (done, result) = oneshot::channel();
        let work = Box::new(move |memory: &mut Memory| {
            let started = Instant::now();
            let result = work(memory);
            // Before the caller hears of it: whoever counts hashes by answers shall find them all.
            metrics::histogram!("registry_hash_seconds").record(started.elapsed().as_secs_f64());
            let _caller_left = done.send(result);
        });
        self.shared.push(Job { taken, work })?;
        let in_time = timeout(self.wait, was_taken).await;
        if !matches!(in_time, Ok(Ok(()))) {
            return Err(refused("wait"));
        }
        result.await.map_err(|_| Busy)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_all();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({} waiting)", self.shared.lock().queue.len())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked held no half-made change: the queue is still a queue.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, job: Job) -> Result<(), Busy> {
        let mut state = self.lock();
        if state.queue.len() >= self.most {
            // Callers who left still stand in the queue; their places are free.
            state.queue.retain(|waiting| !waiting.taken.is_closed());
        }
        if state.queue.len() >= self.most {
            return Err(refused("queue"));
        }
        state.queue.push_back(job);
        depth(state.queue.len());
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    fn serve(&self) {
        lower_priority();
        let mut memory = Memory::default();
        while let Some(job) = self.next(&mut memory) {
            if job.taken.send(()).is_err() {
                continue;
            }
            // A panic must not cost the pool a thread; the caller sees a dropped answer.
            let _ = catch_unwind(AssertUnwindSafe(|| (job.work)(&mut memory)));
        }
    }

    fn next(&self, memory: &mut Memory) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(job) = state.queue.pop_front() {
                depth(state.queue.len());
                return Some(job);
            }
            state = if memory.0.is_empty() {
                self.wake.wait(state).unwrap_or_else(PoisonError::into_inner)
            } else {
                let waited = self.wake.wait_timeout(state, IDLE);
                let (state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
                if waited.timed_out() {
                    drop(state);
                    memory.give_back();
                    self.lock()
                } else {
                    state
                }
            };
        }
    }
}

fn refused(why: &'static str) -> Busy {
    metrics::counter!("registry_hash_refused_total", "why" => why).increment(1);
    Busy
}

fn depth(waiting: usize) {
    metrics::gauge!("registry_hash_queue_depth").set(u32::try_from(waiting).unwrap_or(u32::MAX));
}

/// On Linux a priority belongs to a thread. Where it cannot be lowered, hashing is merely rude.
fn lower_priority() {
    let thread = rustix::thread::gettid();
    if rustix::process::setpriority_process(Some(thread), NICENESS).is_err() {
        tracing::debug!("a hashing thread keeps the common priority");
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    /// A pool of one thread that is held up until the sender is dropped. `wait` must be long enough for a busy machine
    /// to start that thread.
    async fn blocked(most: usize, wait: Duration) -> (Arc<Pool>, mpsc::Sender<()>) {
        let pool = Arc::new(Pool::start(1, most, wait).unwrap());
        let (release, held) = mpsc::channel::<()>();
        let (started, has_started) = oneshot::channel();
        let runner = Arc::clone(&pool);
        tokio::spawn(async move {
            runner
                .run(move |_| {
                    started.send(()).unwrap();
                    held.recv().unwrap_err();
                })
                .await
        });
        has_started.await.unwrap();
        (pool, release)
    }

    #[tokio::test]
    async fn work_is_done_at_a_lower_priority() {
        let pool = Pool::start(1, 1, Duration::from_secs(2)).unwrap();
        let nice = pool.run(|_| rustix::process::getpriority_process(Some(rustix::thread::gettid())).unwrap());
        assert_eq!(nice.await, Ok(NICENESS));
        let ours = rustix::process::getpriority_process(Some(rustix::thread::gettid())).unwrap();
        assert!(ours < NICENESS);
    }

    #[tokio::test]
    async fn a_full_queue_says_no_at_once() {
        let (pool, _release) = blocked(1, Duration::from_mins(10)).await;
        let waiting = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { pool.run(|_| ()).await }
        });
        while pool.shared.lock().queue.is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(pool.run(|_| ()).await, Err(Busy));
        // A caller who leaves frees the place.
        waiting.abort();
        let _ = waiting.await;
        let next = tokio::time::timeout(Duration::from_millis(5), pool.run(|_| ())).await;
        assert!(next.is_err(), "it waits instead of being refused");
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let (pool, _release) = blocked(8, Duration::from_millis(500)).await;
        assert_eq!(pool.run(|_| ()).await, Err(Busy));
    }

    #[tokio::test]
    async fn work_whose_caller_left_is_never_run() {
        let (pool, release) = blocked(8, Duration::from_millis(500)).await;
        let runs = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&runs);
        let given_up = pool.run(move |_| count.fetch_add(1, Ordering::SeqCst)).await;
        assert_eq!(given_up, Err(Busy));
        drop(release);
        while pool.run(|_| ()).await.is_err() {}
        assert_eq!(runs.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn a_panic_costs_one_caller_and_no_thread() {
        let pool = Pool::start(1, 8, Duration::from_secs(2)).unwrap();
        assert_eq!(pool.run(|_| -> () { panic!("on purpose") }).await, Err(Busy));
        assert_eq!(pool.run(|_| 1).await, Ok(1));
    }

    #[test]
    fn memory_grows_to_what_is_asked() {
        let mut memory = Memory::default();
        assert_eq!(memory.blocks(3).len(), 3);
        assert_eq!(memory.blocks(2).len(), 2);
        assert!(memory.0.capacity() >= MAPPED, "or glibc never gives it back");
        memory.give_back();
        assert_eq!(memory.0.capacity(), 0);
    }
}
