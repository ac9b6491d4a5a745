//! What has happened to a session.

use uuid::Uuid;

use crate::event::events;
use crate::values::{Dialect, EndReason, SessionMethod, Timestamp};

events! {
    /// What has happened to one sign-in. The stream is the session; the subject is the user.
    pub enum SessionEvent {
        /// Somebody signed in.
        Started = "session.started" {
            /// Whose session it is.
            user: Uuid,
            /// Through which API.
            dialect: Dialect,
            /// How the person proved who they are.
            method: SessionMethod,
            /// When the refresh token stops working if it is not used.
            idle_expires_at: Timestamp,
            /// When the session ends at the latest.
            expires_at: Timestamp,
        },
        /// The refresh token was used and another one given.
        Refreshed = "session.refreshed" {
            /// The number of the token now current; the first one is 0.
            generation: u32,
            /// Whether the same token was used again because the first answer was lost.
            retry: bool,
            /// When the new refresh token stops working if it is not used.
            idle_expires_at: Timestamp,
            /// When it was used.
            at: Timestamp,
        },
        /// The session ended, or with it every session of its user.
        Ended = "session.ended" {
            /// Why.
            reason: EndReason,
            /// Whether all sessions of the user ended with it.
            all: bool,
        },
        /// A spent refresh token was used: somebody has a copy. The session ends with it.
        ReuseDetected = "session.reuse_detected" {
            /// The number of the token that was used.
            generation: u32,
        },
        /// A sign-in of a known account failed. Its stream holds nothing else.
        Failed = "session.failed" {
            /// Whose account it was.
            user: Uuid,
            /// Through which API.
            dialect: Dialect,
        },
    }
}
