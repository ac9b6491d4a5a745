//! How long somebody waits for the database who does something else in the end.

use std::time::Duration;

use super::StoreError;

/// Longest a follower waits for one answer. A connection is there after 2.5 seconds or not at all and a statement ends
/// after ten, so nobody whose database lives waits for so long: it is for a host that is gone and says nothing.
pub const ANSWER: Duration = Duration::from_secs(13);

/// An answer of the database, but not for longer than this. Given up, it may have been done all the same: what only one
/// may do goes under the epoch of a lease.
pub async fn within<T>(length: Duration, answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(length, answer)
        .await
        .unwrap_or_else(|_| Err(StoreError::Unavailable("the database does not answer".to_owned())))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_not_answered_is_given_up() {
        let never = within(Duration::from_millis(10), std::future::pending::<Result<(), _>>());
        assert!(matches!(never.await, Err(StoreError::Unavailable(_))));
        assert_eq!(within(ANSWER, async { Ok(7) }).await.unwrap(), 7);
    }
}
