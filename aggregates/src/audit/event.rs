//! Whose history was read by whom, and who searched the accounts.

use uuid::Uuid;

use crate::event::events;

events! {
    /// One stream per reader.
    pub enum AuditEvent {
        /// The history of `of` was read; at most one such event per reader, subject and hour.
        HistoryRead = "audit.history_read" {
            /// The user whose history it was.
            of: Uuid,
            /// The hour, counted from 1970-01-01T00Z.
            hour: u32,
        },
        /// The accounts were listed or searched; at most one such event per reader and hour. What was searched for is
        /// not kept: it may be somebody's name or address.
        UsersListed = "audit.users_listed" {
            /// The hour, counted from 1970-01-01T00Z.
            hour: u32,
        },
    }
}
