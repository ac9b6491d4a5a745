//! What the registry does by itself: registrations that were never verified end, what has lapsed is thrown away.
//!
//! Every replica may do all of it at any time. The aggregate decides whether a registration has expired, so a second
//! one who finds it due is told that it is gone; deleting what is deleted does nothing.

use aggregates::user::{User, UserCommand};
use uuid::Uuid;

use super::command::{Asked, Caller};
use super::{Refusal, Registry};

/// How many due registrations are looked at in one go.
const PAGE: i64 = 100;

impl Registry {
    /// Ends the registrations whose time to be verified is over, and says how many. Their names are free again.
    ///
    /// Only accounts that were opened with such a time have one: never imported ones, never those an administrator or
    /// a dialect without it made.
    pub async fn expire_registrations(&self) -> Result<u64, Refusal> {
        let mut ended = 0;
        let mut after = None;
        loop {
            let due = self.store().due_registrations(self.store().now(), after, PAGE).await?;
            let Some(last) = due.last() else { break };
            after = Some(*last);
            for one in &due {
                ended += u64::from(self.expire(one.user).await?);
            }
        }
        if ended > 0 {
            tracing::info!(accounts = ended, "registrations that were never verified have expired");
            self.wipe().await;
        }
        Ok(ended)
    }

    /// Whether the registration ended by this.
    async fn expire(&self, user: Uuid) -> Result<bool, Refusal> {
        let asked = Asked::plainly(Caller::system(self.store()));
        let ended = self
            .command(&asked, Some(user), |unit| async move {
                let command = UserCommand::ExpireRegistration { at: self.store().now() };
                unit.execute::<User>(&user.to_string(), command).await?;
                Ok(())
            })
            .await;
        match ended {
            Ok(_) => Ok(true),
            // It was verified, locked or ended by another process since it was found.
            Err(Refusal::Conflict(_) | Refusal::NotFound) => Ok(false),
            Err(problem) => Err(problem),
        }
    }

    /// Throws away what has lapsed: rows nobody looks for any more, and where requests of long ago came from.
    pub async fn tidy(&self) -> Result<(), Refusal> {
        self.store().sweep().await?;
        self.store().forget_origins().await?;
        self.store().forget_signing_keys().await?;
        self.wipe().await;
        Ok(())
    }

    /// Sees to it that what was deleted is in no file either. What others prevent is done when lapsed rows are next
    /// thrown away.
    pub(super) async fn wipe(&self) {
        match self.store().empty_journal().await {
            Ok(true) => {}
            Ok(false) => tracing::debug!("the store is in use: its journal is emptied later"),
            Err(problem) => tracing::warn!(%problem, "the journal of the store could not be emptied"),
        }
    }
}
