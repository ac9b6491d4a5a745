//! What may be asked of a session.

use uuid::Uuid;

use crate::values::{Dialect, EndReason, SessionMethod, Timestamp};

/// An order to one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionCommand {
    /// Begin. The registry has checked that the user may sign in.
    Start {
        /// Whose session it is.
        user: Uuid,
        /// Through which API.
        dialect: Dialect,
        /// How the person proved who they are.
        method: SessionMethod,
        /// How long an unused refresh token works, microseconds.
        idle: i64,
        /// How long the session lives at most, microseconds.
        life: i64,
        /// Now.
        at: Timestamp,
    },
    /// Use a refresh token.
    Refresh {
        /// The number of the token presented.
        generation: u32,
        /// How long an unused refresh token works, microseconds.
        idle: i64,
        /// Now.
        at: Timestamp,
    },
    /// End it, or every session of its user.
    End {
        /// Why.
        reason: EndReason,
        /// Every session of its user.
        all: bool,
    },
    /// Remember a failed sign-in.
    Fail {
        /// Whose account it was.
        user: Uuid,
        /// Through which API.
        dialect: Dialect,
    },
}
