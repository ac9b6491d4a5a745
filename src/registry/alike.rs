//! Public answers that tell nothing: the same for known and unknown, at the same moment.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::command::Asked;
use super::{Refusal, Registry};
use crate::store::Receipt;

/// How long such an answer takes at least: longer than an append.
pub(super) const PUBLIC_ANSWER: Duration = Duration::from_millis(60);

/// Work that is waited for in more than one place.
pub(super) type Work<'a, T> = std::pin::Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send + 'a>>;

impl Registry {
    /// Does what a public request leads to, and says no more than that it was heard.
    ///
    /// The answer comes at its moment whether the work is done by then or not: on a slow day the time a message takes
    /// to be asked for would otherwise tell that there is somebody to send it to. Only with an idempotency key does it
    /// wait, because the next request with that key must find the work done; with a key all of them write.
    ///
    /// Who is meant was looked up before, for everybody alike: a store that is away is told then, and not when nobody
    /// waits for the work any more. No work: it is nobody.
    pub(super) async fn alike(
        &self,
        asked: &Asked,
        answer_at: Instant,
        work: Option<Work<'static, Receipt>>,
    ) -> Result<(), Refusal> {
        if self.first_receipt(asked).await?.is_some() {
            sleep_until(answer_at).await;
            return Ok(());
        }
        let task = self.inner.tasks.spawn(self.remembering(asked, work));
        let done = if asked.idempotency.is_some() {
            Some(task.await)
        } else {
            timeout_at(answer_at, task).await.ok()
        };
        sleep_until(answer_at).await;
        match done {
            None | Some(Ok(Ok(_))) => Ok(()),
            Some(Ok(Err(problem))) if is_withheld(&problem) => Ok(()),
            Some(Ok(Err(problem))) => Err(problem),
            Some(Err(problem)) => Err(Refusal::Internal(problem.to_string())),
        }
    }

    /// The same work, after which an idempotency key is remembered even if no message may go: another request with that
    /// key would else be refused for nobody and heard for somebody.
    fn remembering(&self, asked: &Asked, work: Option<Work<'static, Receipt>>) -> Work<'static, Receipt> {
        let (registry, asked) = (self.clone(), asked.clone());
        Box::pin(async move {
            match work {
                None => registry.about_nobody(&asked).await,
                Some(work) => match work.await {
                    Err(problem) if asked.idempotency.is_some() && is_withheld(&problem) => {
                        registry.about_nobody(&asked).await
                    }
                    done => done,
                },
            }
        })
    }

    /// A public request about nobody: it changes nothing, but its idempotency key is remembered.
    pub(super) async fn about_nobody(&self, asked: &Asked) -> Result<Receipt, Refusal> {
        self.command(asked, None, |unit| async move {
            unit.unchanged(Receipt::nothing());
            Ok(())
        })
        .await
    }
}

/// Whether the public is told no more than that its request was heard: what is somebody's may not get a message now.
pub(super) const fn is_withheld(problem: &Refusal) -> bool {
    matches!(
        problem,
        Refusal::Conflict(_) | Refusal::TooMany { .. } | Refusal::NotFound
    )
}

/// When a public request that comes now is answered.
pub(super) fn answered_at() -> Instant {
    Instant::now() + PUBLIC_ANSWER
}

/// Lets a refusal wait for the moment at which all of them are told.
pub(super) async fn refused_alike<T>(work: Work<'_, T>) -> Result<T, Refusal> {
    let answer_at = answered_at();
    let done = work.await;
    if done.is_err() {
        sleep_until(answer_at).await;
    }
    done
}
