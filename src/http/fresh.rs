//! An answer that callers share while it is fresh.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long one is fresh.
const FRESH: Duration = Duration::from_millis(250);

/// The last answer to one question that costs something. Whoever asks while it is being found waits for it, so that any
/// number of callers cost as much as four a second.
pub(super) struct Fresh<T>(Mutex<Option<(Instant, T)>>);

impl<T> Default for Fresh<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: Clone> Fresh<T> {
    /// The answer of this moment: the last one, or what `find` finds. A caller who leaves meanwhile leaves the finding to
    /// the next.
    pub async fn get(&self, find: impl Future<Output = T>) -> T {
        let mut last = self.0.lock().await;
        if let Some((at, answer)) = &*last
            && at.elapsed() < FRESH
        {
            return answer.clone();
        }
        let answer = find.await;
        *last = Some((Instant::now(), answer.clone()));
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::future::join_all;

    use super::*;

    #[tokio::test]
    async fn of_many_who_ask_at_once_one_finds_out() {
        let (fresh, asked) = (Fresh::default(), AtomicU32::new(0));
        let find = || async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            asked.fetch_add(1, Ordering::SeqCst) + 1
        };
        let told = join_all((0..100).map(|_| fresh.get(find()))).await;
        assert_eq!(told, [1; 100]);
        tokio::time::sleep(FRESH).await;
        assert_eq!(fresh.get(find()).await, 2, "what is too old is found anew");
        // Whoever finds out and leaves holds up nobody.
        tokio::time::sleep(FRESH).await;
        let gone = tokio::time::timeout(Duration::from_millis(1), fresh.get(std::future::pending())).await;
        assert!(gone.is_err());
        assert_eq!(fresh.get(find()).await, 3);
    }
}
