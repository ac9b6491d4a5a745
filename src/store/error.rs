//! What the store could not do.

use projections::NameKind;
use thiserror::Error;

/// An answer of the store that is not the one hoped for.
#[derive(Debug, Error)]
pub enum StoreError {
    /// A stream this unit relied on has moved: load, decide again.
    #[error("a stream has changed since it was loaded")]
    Stale,
    /// A name is held by another account.
    #[error("a name of kind {} is taken", .0.as_str())]
    Taken(NameKind),
    /// A one-time code that is live already was drawn again: draw another.
    #[error("that code is live already")]
    CodeClash,
    /// The idempotency key came with this request before: here is its receipt.
    #[error("the command was answered before")]
    Replayed(Box<super::Receipt>),
    /// The idempotency key came with another request before.
    #[error("the idempotency key was used for another request")]
    IdempotencyMismatch,
    /// The `If-Match` version is not the stream's version.
    #[error("the stream is at another version than asked for")]
    WrongVersion,
    /// A row does not make sense: not a driver that failed, but data that is not ours or was damaged.
    #[error("{table} {id}: {problem}")]
    Corrupt {
        /// Which table.
        table: &'static str,
        /// Which row.
        id: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The database is away, or too busy to answer in time.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The database refused a statement of ours.
    #[error("the database refused: {0}")]
    Refused(String),
    /// A key is missing or does not fit.
    #[error(transparent)]
    Key(#[from] crate::keys::MasterError),
    /// A sealed part does not open.
    #[error(transparent)]
    Seal(#[from] crate::keys::SealError),
}

impl StoreError {
    /// A row that makes no sense.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "callers pass texts, numbers and errors alike"
    )]
    pub fn corrupt(table: &'static str, id: impl ToString, problem: impl ToString) -> Self {
        Self::Corrupt {
            table,
            id: id.to_string(),
            problem: problem.to_string(),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(db) if is_transient(db.code().as_deref()) => Self::Unavailable(db.message().into()),
            sqlx::Error::Database(db) => Self::Refused(format!("{} ({:?})", db.message(), db.code())),
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) | sqlx::Error::Decode(_) => {
                Self::corrupt("row", "?", error)
            }
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

/// PostgreSQL: connection trouble, shutdown, lock and statement time-outs, resources, a disk that fails, and a server
/// that only reads, as one that another has taken over from.
fn is_transient(code: Option<&str>) -> bool {
    code.is_some_and(|code| {
        code.starts_with("08")
            || code.starts_with("57P")
            || code.starts_with("53")
            || matches!(
                code,
                "55P03" | "57014" | "25006" | "25P03" | "25P02" | "40001" | "40P01" | "58030"
            )
            || is_transient_sqlite(code)
    })
}

/// SQLite: busy, locked, read-only, I/O, full, cannot open. Its codes are numbers whose lowest byte says which; what stands above
/// it says why. The codes of PostgreSQL have five characters.
fn is_transient_sqlite(code: &str) -> bool {
    code.len() < 5
        && code
            .parse::<u32>()
            .is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 8 | 10 | 13 | 14))
}

#[cfg(test)]
mod tests {
    use super::is_transient;

    #[test]
    fn a_database_that_cannot_be_written_is_away() {
        // Full, failing and read-only; of SQLite also with what stands above the lowest byte.
        for code in ["53100", "58030", "25006", "13", "10", "778", "8", "1032"] {
            assert!(is_transient(Some(code)), "{code}");
        }
        for code in ["42P01", "23505", "1", "11", "19", "2067"] {
            assert!(!is_transient(Some(code)), "{code}");
        }
        assert!(!is_transient(None));
    }
}
