//! What has happened to the standing of an internet domain.

use uuid::Uuid;

use crate::event::{BlockedAddress, events};
use crate::values::{AddressKey, Email, Note, ProofValue};

events! {
    /// What has happened to one domain. The stream id is its A-label name.
    pub enum DomainEvent {
        /// An account with an address of this domain was opened for the first time.
        Observed = "domain.observed" {},
        /// Addresses of this domain may register.
        Allowed = "domain.allowed" {
            /// Whether subdomains may too.
            include_subdomains: bool,
            /// Why.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            reason: Option<Note>,
        },
        /// Addresses of this domain may not register.
        Blocked = "domain.blocked" {
            /// Whether subdomains may not either.
            include_subdomains: bool,
            /// Why.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            reason: Option<Note>,
        },
        /// The block was lifted; the domain is merely known.
        Unblocked = "domain.unblocked" {
            /// Why.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            reason: Option<Note>,
        },
        /// One address of this domain may not register.
        AddressBlocked = "domain.address_blocked" {
            /// The keyed hash of its canonical form.
            address: AddressKey,
            #[serde(default, skip_serializing_if = "BlockedAddress::is_unknown")]
            /// The address, for people to read.
            display: BlockedAddress<Email>,
            /// Why.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            reason: Option<Note>,
        },
        /// The address may register again; its display form is destroyed.
        AddressUnblocked = "domain.address_unblocked" {
            /// The keyed hash of its canonical form.
            address: AddressKey,
            /// Why.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            reason: Option<Note>,
        },
        /// The domain got an authority token.
        AuthorityTokenIssued = "domain.authority_token_issued" {
            /// The token's id; also the id of this event.
            token_id: Uuid,
        } own_id token_id,
        /// The authority token was replaced.
        AuthorityTokenRotated = "domain.authority_token_rotated" {
            /// The new token's id; also the id of this event.
            token_id: Uuid,
            /// The token until now.
            previous: Uuid,
        } own_id token_id,
        /// The authority token was withdrawn.
        AuthorityTokenRevoked = "domain.authority_token_revoked" {
            /// Which.
            token_id: Uuid,
        },
        /// Somebody wants to prove control of the domain by a DNS TXT record.
        ProofRequested = "domain.proof_requested" {
            /// The value to publish.
            value: ProofValue,
        },
        /// The record was found.
        Proved = "domain.proved" {
            /// The value that was found.
            value: ProofValue,
        },
    }
}
