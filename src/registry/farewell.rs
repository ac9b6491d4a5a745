//! The last message to somebody who is erased.
//!
//! Their keys are destroyed in the very transaction that records it, so what follows the log can no longer tell where
//! to write. The address is therefore kept beside the log, sealed, until the mail has gone out; at most for a day.

use aggregates::values::Email;
use uuid::Uuid;

use super::{DAY, Refusal, Registry};
use crate::keys::Enclosed;
use crate::store::{Farewell, StoreError, Unit};

impl Registry {
    /// Stages where to write that the account was erased.
    pub(super) fn stage_farewell(&self, unit: &Unit, user: Uuid, email: &Email) -> Result<(), Refusal> {
        let store = self.store();
        let sealed = store
            .keyring()
            .enclose(Enclosed::Farewell, user, email.as_str(), store.chance())
            .map_err(StoreError::from)?;
        unit.farewell(Farewell {
            user_id: user,
            sealed,
            expires_at: store.now().plus(DAY),
        });
        Ok(())
    }
}
