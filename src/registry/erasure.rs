//! Erasing a person.
//!
//! One transaction: `user.erased` is appended, the keys that seal the person's events and where they called from are
//! destroyed, names become free, credentials, secrets, codes, sessions, API keys and rows go. What stays is the sealed
//! shape of the history, which can still be proved. The reason an administrator must give is checked and not kept: a
//! reason tells of the person, and nothing that does may outlive this.

use aggregates::user::{User, UserCommand};
use aggregates::values::Role;
use uuid::Uuid;

use super::command::{Asked, Who};
use super::{Refusal, Registry};
use crate::passwords::Password;
use crate::store::Receipt;

impl Registry {
    /// Erases an account: one's own, with the current password, or any by an administrator.
    ///
    /// An administrator is erased only after another one has taken the role from them. An API key erases nobody but as
    /// an administrator's.
    pub async fn erase_user(&self, asked: &Asked, user: Uuid, current: Option<Password>) -> Result<Receipt, Refusal> {
        let own = asked.caller.user() == Some(user);
        if !own && !asked.caller.has(Role::Admin) {
            return Err(Refusal::NotFound);
        }
        if own && matches!(asked.caller.who, Who::ApiKey { .. }) {
            return Err(Refusal::Forbidden);
        }
        self.once(asked, Box::pin(self.erase(asked, user, own, current))).await
    }

    async fn erase(&self, asked: &Asked, user: Uuid, own: bool, current: Option<Password>) -> Result<Receipt, Refusal> {
        let verified = if own {
            Some(self.verify_current_password(user, current).await?)
        } else {
            None
        };
        let erased = self.command(asked, Some(user), |unit| async move {
            self.leave_an_administrator(&unit, asked, user).await?;
            let id = user.to_string();
            let state = unit.load_fresh::<User>(&id).await?.0;
            if verified.is_some_and(|version| version != i64::from(state.credential_version())) {
                // Somebody changed it since it was verified.
                return Err(Refusal::WrongPassword.into());
            }
            if let Some(email) = state.email() {
                self.forget_address(&unit, email)?;
            }
            let executed = self.decide_user(&unit, asked, user, UserCommand::Erase).await?;
            if executed.version == executed.loaded {
                // There is no row left that could tell where its last event stands.
                let last = self.store().events_of("user", &id, 0, executed.version).await?.pop();
                unit.unchanged(Receipt {
                    id,
                    version: executed.version,
                    position: last.map_or(0, |event| event.position),
                    events: Vec::new(),
                    created: false,
                });
            }
            Ok(())
        });
        let receipt = erased.await?;
        self.wipe().await;
        Ok(receipt)
    }
}
