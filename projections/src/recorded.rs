//! An event together with where and when it was recorded.

use aggregates::values::Timestamp;
use uuid::Uuid;

/// An event as the log has it, opened.
#[derive(Debug, Clone, Copy)]
pub struct Recorded<'a, E> {
    /// What happened.
    pub event: &'a E,
    /// The stream: a user, a session, a reader (UUID text) or a domain (A-label name).
    pub aggregate_id: &'a str,
    /// The event's id.
    pub event_id: Uuid,
    /// Its number in its stream, from 1.
    pub sequence: i64,
    /// Its number in the log, from 1.
    pub position: i64,
    /// When it was recorded.
    pub at: Timestamp,
    /// The caller's address, while it is kept (origin scope).
    pub ip: Option<&'a str>,
    /// The caller's program, while it is kept (origin scope).
    pub user_agent: Option<&'a str>,
}

impl<E> Recorded<'_, E> {
    /// The stream's id where streams have UUIDs. What is not one names no row.
    pub(crate) fn stream_id(&self) -> Option<Uuid> {
        Uuid::parse_str(self.aggregate_id).ok()
    }
}
