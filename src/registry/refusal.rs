//! Why a use case was not carried out.

use aggregates::audit::AuditError;
use aggregates::domain::DomainError;
use aggregates::session::SessionError;
use aggregates::user::UserError;
use aggregates::values::Rule;
use projections::NameKind;
use thiserror::Error;

use super::login::Denial;

use crate::passwords::Busy;
use crate::passwords::rules::Weakness;
use crate::store::{ExecuteError, StoreError};

/// An answer that is not the one hoped for. A dialect words it; it may not tell more than this.
#[derive(Debug, Error)]
pub enum Refusal {
    /// A name is held by another account.
    #[error("a name is taken")]
    Taken(NameKind),
    /// The address's domain may not register.
    #[error("the domain is blocked")]
    DomainBlocked(Rule),
    /// This very address may not register.
    #[error("the address is blocked")]
    AddressBlocked(Rule),
    /// A link or code that opens nothing, whatever the reason.
    #[error("the link or code is not valid")]
    InvalidToken,
    /// The same of a code that was right once: for an API whose contract tells.
    #[error("the code is not valid any more")]
    StaleCode,
    /// Unknown, wrong password, unverified, locked or deactivated: one answer.
    #[error("the credentials are not valid")]
    InvalidCredentials,
    /// The same, with what exactly is wrong: for an API whose contract tells. The others give the same answer, and
    /// finding it out takes the same time.
    #[error("the credentials are not valid")]
    Denied(Denial),
    /// The current password is wrong.
    #[error("the current password is wrong")]
    WrongPassword,
    /// The new password may not be chosen.
    #[error("the new password may not be chosen")]
    Weak(Vec<Weakness>),
    /// A session or token that has ended.
    #[error("the session has ended")]
    Revoked,
    /// A session or token whose time is over.
    #[error("the session has expired")]
    Expired,
    /// The caller may not.
    #[error("the caller may not do this")]
    Forbidden,
    /// It is not there, or not the caller's to see.
    #[error("there is no such thing")]
    NotFound,
    /// The `If-Match` version is not the current one.
    #[error("the version is not the current one")]
    Stale,
    /// The idempotency key came with another request.
    #[error("the idempotency key was used for another request")]
    IdempotencyMismatch,
    /// A rule of the aggregate stands against it.
    #[error("{0}")]
    Conflict(String),
    /// It has been done so often that it is not done now; again in so many seconds.
    #[error("that was asked for too often")]
    TooMany {
        /// Seconds to wait.
        retry_after: u32,
    },
    /// The store is away or too busy; again in so many seconds.
    #[error("something needed is away")]
    Unavailable {
        /// Seconds to wait.
        retry_after: u32,
    },
    /// A fault of ours. The text is for the log.
    #[error("{0}")]
    Internal(String),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Taken(kind) => Self::Taken(kind),
            StoreError::IdempotencyMismatch => Self::IdempotencyMismatch,
            StoreError::WrongVersion => Self::Stale,
            StoreError::Stale => Self::Unavailable { retry_after: 1 },
            StoreError::Unavailable(why) => {
                tracing::warn!(%why, "the store is not available");
                Self::Unavailable { retry_after: 2 }
            }
            // `Replayed` is an answer and met before it gets here.
            error @ (StoreError::CodeClash
            | StoreError::Replayed(_)
            | StoreError::Corrupt { .. }
            | StoreError::Refused(_)
            | StoreError::Key(_)
            | StoreError::Seal(_)) => Self::Internal(error.to_string()),
        }
    }
}

impl From<Busy> for Refusal {
    fn from(_: Busy) -> Self {
        Self::Unavailable { retry_after: 2 }
    }
}

impl From<UserError> for Refusal {
    fn from(error: UserError) -> Self {
        match error {
            UserError::Unknown | UserError::Erased | UserError::KeyUnknown => Self::NotFound,
            UserError::DomainBlocked { rule } => Self::DomainBlocked(rule),
            UserError::AddressBlocked { rule } => Self::AddressBlocked(rule),
            UserError::NoOpenRequest => Self::InvalidToken,
            UserError::TooManyRoles => Self::Forbidden,
            error @ (UserError::AlreadyExists
            | UserError::NotActive
            | UserError::Locked
            | UserError::NothingToSignInWith
            | UserError::NoEmail
            | UserError::NoPhone
            | UserError::NotExpired
            | UserError::RoleOfEveryone
            | UserError::TooManyKeys
            | UserError::ExpiryInThePast) => Self::Conflict(error.to_string()),
        }
    }
}

impl From<SessionError> for Refusal {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Unknown | SessionError::TokenUnknown => Self::InvalidCredentials,
            SessionError::Ended | SessionError::ConcurrentUse => Self::Revoked,
            SessionError::Expired => Self::Expired,
            SessionError::AlreadyExists => Self::Conflict(error.to_string()),
        }
    }
}

impl From<DomainError> for Refusal {
    fn from(error: DomainError) -> Self {
        match error {
            DomainError::Unknown => Self::NotFound,
            error @ (DomainError::AuthorityTokenExists | DomainError::NoAuthorityToken | DomainError::NoOpenProof) => {
                Self::Conflict(error.to_string())
            }
        }
    }
}

impl From<AuditError> for Refusal {
    fn from(error: AuditError) -> Self {
        Self::Conflict(error.to_string())
    }
}

/// What went wrong inside a use case: a refusal to answer, or a stale load to do again.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Answer it.
    Refused(Refusal),
    /// Load and decide again.
    Stale,
}

impl<R: Into<Refusal>> From<R> for Trouble {
    fn from(refusal: R) -> Self {
        Self::Refused(refusal.into())
    }
}

impl<E: std::error::Error + Into<Refusal>> From<ExecuteError<E>> for Trouble {
    fn from(error: ExecuteError<E>) -> Self {
        match error {
            ExecuteError::Refused(error) => Self::Refused(error.into()),
            ExecuteError::Store(StoreError::Stale) => Self::Stale,
            ExecuteError::Store(error) => Self::Refused(error.into()),
        }
    }
}
