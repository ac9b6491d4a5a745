//! Proving with the current password that a session is in the hands of its owner.

use aggregates::user::User;
use uuid::Uuid;

use super::refusal::Trouble;
use super::{Refusal, Registry};
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
        let credential = self.store().credential(user).await?;
        let version = credential.as_ref().map_or(0, |credential| credential.version);
        let hash = credential.map(|credential| credential.hash);
        if self.hasher().verify(current, hash).await?.ok {
            Ok(Proved { user, session, version })
        } else {
            Err(Refusal::WrongPassword)
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
