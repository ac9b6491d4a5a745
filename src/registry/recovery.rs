//! Another password for an administrator who has lost every way in, from the command line.

use aggregates::user::{User, UserCommand};
use aggregates::values::Role;
use projections::NameKind;
use thiserror::Error;
use uuid::Uuid;

use super::accounts::stage_password;
use super::command::Asked;
use super::{Refusal, Registry};
use crate::passwords::Password;
use crate::passwords::rules::Weakness;
use crate::store::Receipt;

/// Why the password was not set.
#[derive(Debug, Error)]
pub enum RecoveryError {
    /// Nobody has this address or name.
    #[error("there is no such account")]
    Unknown,
    /// Everybody else uses a link or a code: nobody but its owner chooses an account's password.
    #[error("the account is no administrator's; others reset their password by mail or SMS")]
    NoAdministrator,
    /// The password may not be chosen.
    #[error("the password may not be chosen")]
    Weak(Vec<Weakness>),
    /// Anything else.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl Registry {
    /// Sets the password of an administrator: every session ends, links that are out are void, and a lock is lifted,
    /// for there may be nobody else who could lift it. API keys are left as they are.
    ///
    /// `kind` and `canonical` name the account: its address or its username.
    pub async fn recover_administrator(
        &self,
        asked: &Asked,
        kind: NameKind,
        canonical: &str,
        password: Password,
    ) -> Result<Receipt, RecoveryError> {
        let holder = self.store().holder(kind, canonical).await.map_err(Refusal::from)?;
        let user = holder.ok_or(RecoveryError::Unknown)?;
        let row = self.user(user).await?;
        if !row.roles.contains(&Role::Admin) {
            return Err(RecoveryError::NoAdministrator);
        }
        let weak = self.weaknesses(&password, &row);
        if !weak.is_empty() {
            return Err(RecoveryError::Weak(weak));
        }
        let hash = self.hasher().hash(password).await.map_err(Refusal::from)?;
        let hash = hash.as_str();
        let done = self
            .command(asked, Some(user), |unit| async move {
                let (before, _) = unit.load_fresh::<User>(&user.to_string()).await?;
                let recovery: Uuid = self.store().chance().uuid_v7(self.store().now());
                let executed = self
                    .decide_user(&unit, asked, user, UserCommand::RecoverPassword { recovery })
                    .await?;
                unit.execute::<User>(&user.to_string(), UserCommand::Unlock { note: None })
                    .await?;
                stage_password(&unit, user, (&before, &executed.state), hash);
                Ok(())
            })
            .await?;
        if let Err(problem) = self.forget_tries(user).await {
            tracing::warn!(%problem, "failed tries could not be forgotten");
        }
        Ok(done)
    }
}
