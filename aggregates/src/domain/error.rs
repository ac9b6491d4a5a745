//! Why an order to a domain is refused.

/// A state of affairs that stands against an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DomainError {
    /// Nothing is known of the domain.
    #[error("nothing is known of this domain")]
    Unknown,
    /// A live authority token is there; it can be rotated.
    #[error("the domain has an authority token already")]
    AuthorityTokenExists,
    /// There is no authority token to replace.
    #[error("the domain has no authority token")]
    NoAuthorityToken,
    /// Nobody asked for the proof, or the value is another one.
    #[error("the value is not the one that was asked for")]
    NoOpenProof,
}
