//! Why an order to a reader's audit stream is refused: it never is.

/// No state of affairs stands against remembering that something was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {}
