//! What may be asked of a reader's audit stream.

use uuid::Uuid;

use crate::values::Timestamp;

/// An order to one reader's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditCommand {
    /// Remember that a history was read.
    ReadHistory {
        /// The user whose history it was.
        of: Uuid,
        /// Who reads.
        reader: Uuid,
        /// Now.
        at: Timestamp,
    },
    /// Remember that the accounts were listed or searched.
    ListUsers {
        /// Now.
        at: Timestamp,
    },
}
