//! Filling a store with people who never were, for trying things out and for measuring: the way of every command, but
//! for passwords, which nobody has.

mod people;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aggregates::domain::{Domain, DomainCommand};
use aggregates::user::{User, UserCommand};
use aggregates::values::{Dialect, LockReason, Role};
use futures::{StreamExt as _, TryStreamExt as _};
use projections::NameKind;

use crate::store::{Actor, Context, ExecuteError, Store, StoreError};

use people::Fate;

/// Commands on their way at a time: enough that batches fill.
const AT_ONCE: usize = 128;
/// How often a command is tried while the store is away.
const TRIES: u32 = 20;

/// Whom to make.
#[derive(Debug, Clone, Copy)]
pub struct Seed {
    /// How many people there are to be, those of earlier runs included.
    pub users: u64,
    /// How many domains their addresses are at.
    pub domains: u64,
}

/// What was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seeded {
    /// People this run made.
    pub made: u64,
    /// People who were there from an earlier run.
    pub found: u64,
}

/// Why it ended early. What was made stays; the next run goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A rule of ours refused a person of ours.
    #[error("person {0} cannot be made: {1}")]
    Refused(u64, String),
}

impl Seed {
    /// Makes whom there is not. `progress` is told how many are done after each.
    pub async fn run(&self, store: &Store, progress: impl Fn(u64) + Sync) -> Result<Seeded, SeedError> {
        self.observe_domains(store).await?;
        let first = self.first_missing(store).await?;
        let (made, done) = (AtomicU64::new(0), AtomicU64::new(first));
        futures::stream::iter(first..self.users)
            .map(Ok::<u64, SeedError>)
            .try_for_each_concurrent(AT_ONCE, |number| {
                let (made, done, progress) = (&made, &done, &progress);
                async move {
                    if self.make(store, number).await? {
                        made.fetch_add(1, Ordering::Relaxed);
                    }
                    progress(done.fetch_add(1, Ordering::Relaxed) + 1);
                    Ok(())
                }
            })
            .await?;
        let made = made.into_inner();
        Ok(Seeded {
            made,
            found: self.users - made,
        })
    }

    /// The first person who may be missing. An earlier run that was ended left its last ones in any order.
    async fn first_missing(&self, store: &Store) -> Result<u64, StoreError> {
        let (mut there, mut missing) = (0, self.users);
        while there < missing {
            let middle = there + (missing - there) / 2;
            let name = people::username(middle);
            if store.holder(NameKind::Username, &name).await?.is_some() {
                there = middle + 1;
            } else {
                missing = middle;
            }
        }
        Ok(there.saturating_sub(2 * AT_ONCE as u64))
    }

    async fn observe_domains(&self, store: &Store) -> Result<(), SeedError> {
        let names: Vec<String> = (0..self.domains).map(people::domain).collect();
        for some in names.chunks(500) {
            let some: Vec<&str> = some.iter().map(String::as_str).collect();
            let known = store.domain_rows(&some).await?;
            let new = some
                .into_iter()
                .filter(|name| known.iter().all(|row| row.name != *name));
            futures::stream::iter(new.map(Ok::<&str, SeedError>))
                .try_for_each_concurrent(AT_ONCE, async |name| {
                    let unit = store.unit(context());
                    match unit.execute::<Domain>(name, DomainCommand::Observe).await {
                        Ok(_) => {}
                        Err(ExecuteError::Store(problem)) => return Err(problem.into()),
                        Err(ExecuteError::Refused(why)) => return Err(SeedError::Refused(0, why.to_string())),
                    }
                    match unit.append().await {
                        // Somebody else saw it in the meantime.
                        Ok(_) | Err(StoreError::Stale) => Ok(()),
                        Err(problem) => Err(problem.into()),
                    }
                })
                .await?;
        }
        Ok(())
    }

    /// Makes one person. False: there is one of that name.
    async fn make(&self, store: &Store, number: u64) -> Result<bool, SeedError> {
        let mut tries = 0;
        loop {
            match self.try_to_make(store, number).await {
                Ok(()) => return Ok(true),
                Err(SeedError::Store(StoreError::Taken(_))) => return Ok(false),
                Err(SeedError::Store(StoreError::Unavailable(_))) if tries < TRIES => {
                    tries += 1;
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
                Err(problem) => return Err(problem),
            }
        }
    }

    async fn try_to_make(&self, store: &Store, number: u64) -> Result<(), SeedError> {
        let id = store.chance().uuid_v7(store.now());
        let (register, fate) = people::person(store, number, self.domains);
        let user = id.to_string();
        let unit = store.unit(context());
        unit.is_fresh::<User>(&user);
        let mut commands = vec![UserCommand::Register(Box::new(register))];
        match fate {
            Fate::Nothing => {}
            Fate::Locked => commands.push(UserCommand::Lock {
                reason: LockReason::Admin,
                note: None,
            }),
            Fate::Deactivated => commands.push(UserCommand::Deactivate { note: None }),
            Fate::Auditor => commands.push(UserCommand::GrantRole { role: Role::Auditor }),
        }
        for command in commands {
            match unit.execute::<User>(&user, command).await {
                Ok(_) => {}
                Err(ExecuteError::Store(problem)) => return Err(problem.into()),
                Err(ExecuteError::Refused(why)) => return Err(SeedError::Refused(number, why.to_string())),
            }
        }
        unit.append().await?;
        Ok(())
    }
}

fn context() -> Context {
    Context {
        actor: Actor::System,
        actor_id: None,
        origin_owner: None,
        dialect: Dialect::Canonical,
        request_id: "dev seed".to_owned(),
        trace: None,
        ip: None,
        user_agent: None,
    }
}
