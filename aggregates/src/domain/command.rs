//! What may be asked of a domain.

use uuid::Uuid;

use crate::values::{AddressKey, Email, Note, ProofValue};

/// An order to one domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DomainCommand {
    /// An account with an address of it is being opened.
    Observe,
    /// Let its addresses register.
    Allow {
        /// Its subdomains too.
        include_subdomains: bool,
        /// Why.
        reason: Option<Note>,
    },
    /// Let them not.
    Block {
        /// Its subdomains neither.
        include_subdomains: bool,
        /// Why.
        reason: Option<Note>,
    },
    /// Lift the block.
    Unblock {
        /// Why.
        reason: Option<Note>,
    },
    /// Block one address.
    BlockAddress {
        /// The keyed hash of its canonical form.
        address: AddressKey,
        /// The address.
        display: Email,
        /// Why.
        reason: Option<Note>,
    },
    /// Unblock it.
    UnblockAddress {
        /// The keyed hash of its canonical form.
        address: AddressKey,
        /// Why.
        reason: Option<Note>,
    },
    /// Make an authority token.
    IssueAuthorityToken {
        /// Its id.
        token_id: Uuid,
    },
    /// Replace it.
    RotateAuthorityToken {
        /// The new one's id.
        token_id: Uuid,
    },
    /// Withdraw it.
    RevokeAuthorityToken,
    /// Ask for a value to publish in DNS.
    RequestProof {
        /// The value, drawn by the registry.
        value: ProofValue,
    },
    /// The record was found.
    Prove {
        /// The value that was found.
        value: ProofValue,
    },
}
