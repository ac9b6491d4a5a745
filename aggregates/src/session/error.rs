//! Why an order to a session is refused.

/// A state of affairs that stands against an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// There is no such session.
    #[error("there is no such session")]
    Unknown,
    /// The stream has begun already.
    #[error("the session exists already")]
    AlreadyExists,
    /// It has ended.
    #[error("the session has ended")]
    Ended,
    /// It was not used for too long, or is too old.
    #[error("the session has expired")]
    Expired,
    /// The token was used by several callers at once. They are refused, the session goes on: an answer
    /// that was lost is no theft.
    #[error("the refresh token was used more than once at the same time")]
    ConcurrentUse,
    /// The session never gave out such a token.
    #[error("the session never gave out this refresh token")]
    TokenUnknown,
}
