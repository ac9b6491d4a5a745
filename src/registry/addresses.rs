//! Single addresses that may not register.
//!
//! A block is kept as a keyed hash in the stream of the address's domain. What the address is called stands beside it
//! under a key of its own, which goes when the block is lifted or its owner is erased; the block itself stays.

use aggregates::domain::DomainCommand;
use aggregates::values::{AddressKey, Email, Note};

use super::command::Asked;
use super::{Refusal, Registry};
use crate::keys::Scope;
use crate::store::{Receipt, Unit};

impl Registry {
    fn blocked_as(&self, email: &Email) -> Result<AddressKey, Refusal> {
        AddressKey::parse(&self.address_key(email)).map_err(|problem| Refusal::Internal(problem.to_string()))
    }

    /// Lets an address not register, whatever holds for its domain.
    pub async fn block_address(&self, asked: &Asked, email: &Email, reason: Option<Note>) -> Result<Receipt, Refusal> {
        let command = DomainCommand::BlockAddress {
            address: self.blocked_as(email)?,
            display: email.clone(),
            reason,
        };
        self.domain_command(asked, &email.domain_name(), command).await
    }

    /// Lifts that block.
    pub async fn unblock_address(
        &self,
        asked: &Asked,
        email: &Email,
        reason: Option<Note>,
    ) -> Result<Receipt, Refusal> {
        let command = DomainCommand::UnblockAddress {
            address: self.blocked_as(email)?,
            reason,
        };
        self.domain_command(asked, &email.domain_name(), command).await
    }

    /// Destroys what an address is called wherever it is blocked: its owner is erased.
    pub(super) fn forget_address(&self, unit: &Unit, email: &Email) -> Result<(), Refusal> {
        let scope = Scope::Address(self.blocked_as(email)?);
        unit.destroy_key(email.domain(), &scope);
        Ok(())
    }
}
