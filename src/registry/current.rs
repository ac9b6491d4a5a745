//! Proving with the current password that a session is in the hands of its owner.

use aggregates::user::User;
use uuid::Uuid;

use super::limits::CURRENT;
use super::refusal::Trouble;
use super::{Refusal, Registry};
use crate::guards::End;
use crate::passwords::Password;
use crate::store::Unit;

/// A current password that was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Proved {
    user: Uuid,
    session: Uuid,
    /// The credential it was verified against.
    pub version: i64,
}

impl Registry {
    /// Verifies the current password of somebody who is signed in.
    pub(super) async fn prove(&self, user: Uuid, session: Uuid, current: Password) -> Result<Proved, Refusal> {
        let version = self.verify_current_password(user, Some(current)).await?;
        Ok(Proved { user, session, version })
    }

    /// The one way to verify a current password; says which version of the credential it is. Every try is counted
    /// before it is compared. Whoever has tried too often is told what those are told who are wrong.
    pub(super) async fn verify_current_password(&self, user: Uuid, current: Option<Password>) -> Result<i64, Refusal> {
        let current = current.ok_or(Refusal::WrongPassword)?;
        let Some(attempt) = self.begin_try(CURRENT, user.as_bytes()).await? else {
            // The same work for nothing.
            self.hasher().verify(current, None).await?;
            return Err(Refusal::WrongPassword);
        };
        let credential = self.store().credential(user).await;
        let (attempt, credential) = attempt.unless(credential).await?;
        let version = credential.as_ref().map_or(0, |credential| credential.version);
        let hash = credential.map(|credential| credential.hash);
        match self.hasher().verify(current, hash).await {
            Ok(verdict) if verdict.ok => {
                attempt.end(End::Right).await?;
                Ok(version)
            }
            Ok(_) => {
                attempt.end(End::Wrong).await?;
                Err(Refusal::WrongPassword)
            }
            Err(busy) => {
                attempt.give_back().await;
                Err(busy.into())
            }
        }
    }

    /// Whether that still counts when the command is decided, by the log as it is then.
    pub(super) async fn still_proved(&self, unit: &Unit, proved: Proved) -> Result<User, Trouble> {
        // The session may have ended while the password was hashed.
        self.authenticate(proved.user, proved.session).await?;
        // The credential was read from the table; an older account out of the cache would not fit it.
        let (state, _) = unit.load_fresh::<User>(&proved.user.to_string()).await?;
        if i64::from(state.credential_version()) == proved.version {
            Ok(state)
        } else {
            // Somebody else changed it since.
            Err(Refusal::WrongPassword.into())
        }
    }
}
