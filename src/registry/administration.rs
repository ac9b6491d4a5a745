//! What administrators do to accounts: locks, use, roles, the end of sessions.
//!
//! One administrator always remains. Nobody takes themselves out of that role (by losing it, by being locked,
//! deactivated or erased); another administrator does, and only while they are one in use themselves. So whoever goes
//! leaves the one who did it behind. Two who go for each other at once meet in the guard: the second is too late.

use aggregates::user::{Phase, User, UserCommand};
use aggregates::values::{EndReason, LockReason, Note, Role};
use cqrs_es::Aggregate as _;
use uuid::Uuid;

use super::command::Asked;
use super::refusal::Trouble;
use super::{Refusal, Registry};
use crate::store::{Receipt, Unit};

/// An administrator's order about an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Administration {
    /// Lock it: its sessions end, nobody signs in, its keys open nothing.
    Lock(Note),
    /// Lift the lock.
    Unlock(Note),
    /// Take it out of use.
    Deactivate(Option<Note>),
    /// Take it into use again.
    Reactivate(Option<Note>),
    /// Take it into use whatever keeps it out. Nothing of it counts as verified by that.
    Activate(Option<Note>),
    /// Give a role.
    Grant(Role),
    /// Take a role.
    Revoke(Role),
}

impl Administration {
    fn command(&self) -> UserCommand {
        match self.clone() {
            Self::Lock(note) => UserCommand::Lock {
                reason: LockReason::Admin,
                note: Some(note),
            },
            Self::Unlock(note) => UserCommand::Unlock { note: Some(note) },
            Self::Deactivate(note) => UserCommand::Deactivate { note },
            Self::Reactivate(note) => UserCommand::Reactivate { note },
            Self::Activate(note) => UserCommand::Activate { note },
            Self::Grant(role) => UserCommand::GrantRole { role },
            Self::Revoke(role) => UserCommand::RevokeRole { role },
        }
    }

    /// Whether an administrator it is done to is one no more.
    fn unseats(&self) -> bool {
        match self {
            Self::Lock(_) | Self::Deactivate(_) | Self::Revoke(Role::Admin) => true,
            Self::Unlock(_) | Self::Reactivate(_) | Self::Activate(_) | Self::Grant(_) | Self::Revoke(_) => false,
        }
    }
}

impl Registry {
    /// Carries out an administrator's order about an account. That the caller is an administrator is the caller's
    /// permission; that one remains is seen to here.
    pub async fn administer(&self, asked: &Asked, user: Uuid, act: &Administration) -> Result<Receipt, Refusal> {
        self.command(asked, Some(user), |unit| async move {
            if act.unseats() {
                self.leave_an_administrator(&unit, asked, user).await?;
            }
            self.decide_user(&unit, asked, user, act.command()).await?;
            Ok(())
        })
        .await
    }

    /// Sees to it that the one who takes an administrator out of the role is one, is in use, and is somebody else. An
    /// operator at the command line can always make another.
    pub(super) async fn leave_an_administrator(&self, unit: &Unit, asked: &Asked, target: Uuid) -> Result<(), Trouble> {
        let Some(actor) = asked.caller.user() else {
            return Ok(());
        };
        // Not from memory: another replica may have given or taken the role.
        let (state, _) = unit.load_fresh::<User>(&target.to_string()).await?;
        if !state.has_role(Role::Admin) {
            return Ok(());
        }
        if actor == target {
            let why = "administrators are taken out of the role by one another, so that one always remains";
            return Err(Refusal::Conflict(why.to_owned()).into());
        }
        let actor = actor.to_string();
        let (state, version) = unit.load_fresh::<User>(&actor).await?;
        if state.phase() != Phase::Active || !state.has_role(Role::Admin) {
            return Err(Refusal::Forbidden.into());
        }
        unit.guard(User::TYPE, &actor, version);
        Ok(())
    }

    /// Ends every session of an account. Without any there is nothing to end and nothing to write down.
    pub async fn end_sessions_of(&self, asked: &Asked, user: Uuid) -> Result<(), Refusal> {
        self.user(user).await?;
        for session in self.store().sessions(user).await? {
            match self.end(asked, user, session.id, EndReason::Admin, true).await {
                // This one ended by itself meanwhile: the event needs one that lives.
                Err(Refusal::Revoked) => {}
                done => return done.map(|_| ()),
            }
        }
        Ok(())
    }
}
