//! Whose history was read by whom.

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
    }
}
