//! What a domain's past events add up to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::DomainEvent;
use crate::values::{AddressKey, Note, ProofValue, StandingKind};

/// One domain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// None before the first event.
    pub(super) standing: Option<StandingKind>,
    pub(super) include_subdomains: bool,
    pub(super) reason: Option<Note>,
    /// With the reasons given.
    pub(super) blocked_addresses: BTreeMap<AddressKey, Option<Note>>,
    pub(super) authority_token: Option<Uuid>,
    pub(super) open_proof: Option<ProofValue>,
    pub(super) proved: Option<ProofValue>,
}

impl Domain {
    /// Whether anything is known of it.
    #[must_use]
    pub const fn exists(&self) -> bool {
        self.standing.is_some()
    }

    /// Where it stands; none before its first event.
    #[must_use]
    pub const fn standing(&self) -> Option<StandingKind> {
        self.standing
    }

    /// Whether the standing covers its subdomains.
    #[must_use]
    pub const fn include_subdomains(&self) -> bool {
        self.include_subdomains
    }

    /// Why it stands there, if a reason was given.
    #[must_use]
    pub const fn reason(&self) -> Option<&Note> {
        self.reason.as_ref()
    }

    /// Whether one address of it is blocked.
    #[must_use]
    pub fn blocks_address(&self, address: &AddressKey) -> bool {
        self.blocked_addresses.contains_key(address)
    }

    /// The authority token that works.
    #[must_use]
    pub const fn authority_token(&self) -> Option<Uuid> {
        self.authority_token
    }

    /// The value somebody was asked to publish.
    #[must_use]
    pub const fn open_proof(&self) -> Option<&ProofValue> {
        self.open_proof.as_ref()
    }

    /// Whether control of it was proved.
    #[must_use]
    pub const fn is_proved(&self) -> bool {
        self.proved.is_some()
    }

    /// Takes a fact into account.
    pub fn evolve(&mut self, event: &DomainEvent) {
        // Whatever happened first, from then on the domain is known.
        self.standing.get_or_insert(StandingKind::Observed);
        match event {
            DomainEvent::Observed {} => {}
            DomainEvent::Allowed {
                include_subdomains,
                reason,
            } => {
                self.stand(StandingKind::Allowed, *include_subdomains, reason.clone());
            }
            DomainEvent::Blocked {
                include_subdomains,
                reason,
            } => {
                self.stand(StandingKind::Blocked, *include_subdomains, reason.clone());
            }
            DomainEvent::Unblocked { reason } => self.stand(StandingKind::Observed, false, reason.clone()),
            DomainEvent::AddressBlocked { address, reason, .. } => {
                self.blocked_addresses.insert(address.clone(), reason.clone());
            }
            DomainEvent::AddressUnblocked { address, .. } => {
                self.blocked_addresses.remove(address);
            }
            DomainEvent::AuthorityTokenIssued { token_id } | DomainEvent::AuthorityTokenRotated { token_id, .. } => {
                self.authority_token = Some(*token_id);
            }
            DomainEvent::AuthorityTokenRevoked { .. } => self.authority_token = None,
            DomainEvent::ProofRequested { value } => self.open_proof = Some(value.clone()),
            DomainEvent::Proved { value } => {
                self.open_proof = None;
                self.proved = Some(value.clone());
            }
        }
    }

    fn stand(&mut self, standing: StandingKind, include_subdomains: bool, reason: Option<Note>) {
        self.standing = Some(standing);
        self.include_subdomains = include_subdomains;
        self.reason = reason;
    }
}
