//! Who asks, and the one way from a command to the log: load, decide, append, and again when it was stale.

use std::pin::Pin;

use aggregates::user::{User, UserCommand};
use aggregates::values::{Dialect, Role};
use tokio::sync::{Mutex, MutexGuard};
use uuid::Uuid;

use super::refusal::Trouble;
use super::{Refusal, Registry};
use crate::store::{Actor, Context, Executed, Idempotency, Receipt, Store, StoreError, Unit};
use crate::trace::TraceParent;

/// How often a stale command is decided again before the caller is asked to come back.
const TRIES: u32 = 64;
/// How many queues there are for those who lost; several accounts may share one.
const QUEUES: usize = 256;

/// Where those wait who lost against another command on the same account: of everybody who changes one account at once a
/// batch takes one, so without a queue each of them would decide again for every one before it.
pub(super) struct Queues(Vec<Mutex<()>>);

impl Queues {
    pub fn new() -> Self {
        Self(std::iter::repeat_with(Mutex::default).take(QUEUES).collect())
    }

    async fn turn(&self, account: Uuid) -> Option<MutexGuard<'_, ()>> {
        let place = usize::from(account.as_bytes()[15]) % QUEUES;
        Some(self.0.get(place)?.lock().await)
    }
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// Nobody known.
    Anonymous,
    /// A person with a live session.
    User {
        /// Their id.
        id: Uuid,
        /// The session.
        session: Uuid,
        /// What they may do beyond `user`.
        roles: Vec<Role>,
    },
    /// A program of a person's, with an API key.
    ApiKey {
        /// The key.
        key: Uuid,
        /// Whose it is.
        owner: Uuid,
        /// What it may do beyond `user`: never more than its owner may at this moment.
        roles: Vec<Role>,
    },
    /// The registry itself, or an operator at the command line.
    System,
}

/// A caller and where they call from.
#[derive(Clone)]
pub struct Caller {
    /// Who.
    pub who: Who,
    /// Through which API.
    pub dialect: Dialect,
    /// The request's id.
    pub request_id: String,
    /// The trace it belongs to, if they named one.
    pub trace: Option<TraceParent>,
    /// Their address.
    pub ip: Option<String>,
    /// Their program.
    pub user_agent: Option<String>,
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller")
            .field("who", &self.who)
            .field("request_id", &self.request_id)
            .finish_non_exhaustive()
    }
}

impl Caller {
    /// An operator at the command line.
    #[must_use]
    pub fn system(store: &Store) -> Self {
        Self {
            who: Who::System,
            dialect: Dialect::Canonical,
            request_id: store.chance().uuid_v7(store.now()).to_string(),
            trace: None,
            ip: None,
            user_agent: None,
        }
    }

    /// The caller's user id; of an API key, its owner's.
    #[must_use]
    pub const fn user(&self) -> Option<Uuid> {
        match &self.who {
            Who::User { id, .. } => Some(*id),
            Who::ApiKey { owner, .. } => Some(*owner),
            Who::Anonymous | Who::System => None,
        }
    }

    /// Whether the caller is this person with a live session, and no program of theirs.
    #[must_use]
    pub fn is_signed_in_as(&self, user: Uuid) -> bool {
        matches!(&self.who, Who::User { id, .. } if *id == user)
    }

    /// Whose idempotency keys are the caller's own: a person's, a key's, or those that all anonymous callers share.
    #[must_use]
    pub fn scope(&self) -> String {
        match &self.who {
            Who::User { id, .. } => id.to_string(),
            Who::ApiKey { key, .. } => key.to_string(),
            Who::Anonymous | Who::System => "anonymous".to_owned(),
        }
    }

    /// Whether the caller holds a role. Everybody known is a `user`; the system may everything.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        match &self.who {
            Who::User { roles, .. } | Who::ApiKey { roles, .. } => role == Role::User || roles.contains(&role),
            Who::System => true,
            Who::Anonymous => false,
        }
    }

    /// The metadata of events about `subject`.
    pub(super) fn context(&self, subject: Option<Uuid>) -> Context {
        let actor = match &self.who {
            Who::Anonymous => Actor::Anonymous,
            Who::System => Actor::System,
            Who::User { id, .. } if Some(*id) == subject => Actor::Own,
            Who::User { roles, .. } if roles.contains(&Role::Admin) => Actor::Admin,
            Who::User { .. } => Actor::Own,
            Who::ApiKey { .. } => Actor::ApiKey,
        };
        let actor_id = match &self.who {
            Who::ApiKey { key, .. } => Some(*key),
            Who::Anonymous | Who::User { .. } | Who::System => self.user(),
        };
        Context {
            actor,
            actor_id,
            origin_owner: self.user(),
            dialect: self.dialect,
            request_id: self.request_id.clone(),
            trace: self.trace.clone(),
            ip: self.ip.clone(),
            user_agent: self.user_agent.clone(),
        }
    }
}

/// What a caller asks for beside the command itself.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Who.
    pub caller: Caller,
    /// The version the stream must be at.
    pub if_match: Option<i64>,
    /// The idempotency key, if one came along.
    pub idempotency: Option<Idempotency>,
}

impl Asked {
    /// A command without conditions.
    #[must_use]
    pub const fn plainly(caller: Caller) -> Self {
        Self {
            caller,
            if_match: None,
            idempotency: None,
        }
    }
}

type Work<'a> = Pin<Box<dyn Future<Output = Result<(), Trouble>> + Send + 'a>>;

impl Registry {
    /// Decides and appends; decides again when what it relied on has changed.
    ///
    /// `work` stages everything on the unit it is given and may run several times; it must do its slow work
    /// (hashing) beforehand.
    pub(super) async fn command<W>(
        &self,
        asked: &Asked,
        subject: Option<Uuid>,
        work: impl Fn(Unit) -> W + Send,
    ) -> Result<Receipt, Refusal>
    where
        W: Future<Output = Result<(), Trouble>> + Send,
    {
        self.carry_out(asked, subject, Box::new(move |unit| Box::pin(work(unit))))
            .await
    }

    /// One for all commands: compiled for each of them it would be forty.
    async fn carry_out<'a>(
        &self,
        asked: &Asked,
        subject: Option<Uuid>,
        work: Box<dyn Fn(Unit) -> Work<'a> + Send + 'a>,
    ) -> Result<Receipt, Refusal> {
        if let Some(receipt) = self.first_receipt(asked).await? {
            return Ok(receipt);
        }
        let mut turn = None;
        for tried in 0..TRIES {
            if tried == 1
                && let Some(account) = subject
            {
                turn = self.queues().turn(account).await;
            }
            let unit = self.store().unit(asked.caller.context(subject));
            if let Some(key) = &asked.idempotency {
                unit.remember(key.clone());
            }
            match work(unit.clone()).await {
                Ok(()) => {}
                Err(Trouble::Stale) => continue,
                Err(Trouble::Refused(refusal)) => return self.unless_answered(asked, refusal).await,
            }
            match unit.append().await {
                Ok(appended) => return Ok(appended.receipt),
                // A code that somebody else has out is drawn again.
                Err(StoreError::Stale | StoreError::CodeClash) => {}
                Err(StoreError::Replayed(receipt)) => return Ok(*receipt),
                Err(error) => return self.unless_answered(asked, error.into()).await,
            }
        }
        drop(turn);
        tracing::warn!("a command was stale time and again");
        Err(Refusal::Unavailable { retry_after: 1 })
    }

    /// Does something that may refuse before its command is decided: a request whose idempotency key came before is
    /// answered as the first one was.
    pub(super) async fn once(&self, asked: &Asked, work: super::alike::Work<'_, Receipt>) -> Result<Receipt, Refusal> {
        if let Some(receipt) = self.first_receipt(asked).await? {
            return Ok(receipt);
        }
        match work.await {
            Err(refusal) => self.unless_answered(asked, refusal).await,
            done => done,
        }
    }

    /// The receipt of the first request with this idempotency key.
    pub(super) async fn first_receipt(&self, asked: &Asked) -> Result<Option<Receipt>, Refusal> {
        match &asked.idempotency {
            Some(key) => Ok(self.store().remembered(key).await?),
            None => Ok(None),
        }
    }

    /// A refusal, unless the first request with the same idempotency key was carried out meanwhile: it took the name, or
    /// used the code, that this one was refused for.
    async fn unless_answered(&self, asked: &Asked, refusal: Refusal) -> Result<Receipt, Refusal> {
        let ours = matches!(
            refusal,
            Refusal::IdempotencyMismatch | Refusal::Unavailable { .. } | Refusal::Internal(_)
        );
        if ours {
            return Err(refusal);
        }
        self.first_receipt(asked).await?.ok_or(refusal)
    }

    /// Lets a user's aggregate decide, minding `If-Match`, and says what to answer if nothing changes.
    pub(super) async fn decide_user(
        &self,
        unit: &Unit,
        asked: &Asked,
        id: Uuid,
        command: UserCommand,
    ) -> Result<Executed<User>, Trouble> {
        let text = id.to_string();
        if let Some(version) = asked.if_match {
            // What is cached may be old, and what the caller holds newer.
            let current =
                unit.load::<User>(&text).await?.1 == version || unit.load_fresh::<User>(&text).await?.1 == version;
            if !current {
                return Err(Refusal::Stale.into());
            }
        }
        let erased = if matches!(command, UserCommand::Erase) {
            unit.load::<User>(&text).await?.0.email().cloned()
        } else {
            None
        };
        let executed = match unit.execute::<User>(&text, command).await {
            Ok(executed) => executed,
            Err(refused) => {
                // Deciding may have read the log again; a refusal of another version is no answer to this one.
                if let Some(version) = asked.if_match
                    && unit.load::<User>(&text).await?.1 != version
                {
                    return Err(Refusal::Stale.into());
                }
                return Err(refused.into());
            }
        };
        if asked.if_match.is_some_and(|version| version != executed.loaded) {
            return Err(Refusal::Stale.into());
        }
        if executed.version == executed.loaded {
            let position = self.store().user(id).await?.map_or(0, |row| row.log_position);
            unit.unchanged(Receipt {
                id: text,
                version: executed.version,
                position,
                events: Vec::new(),
                created: false,
            });
        } else if let Some(email) = erased {
            self.stage_farewell(unit, id, &email)?;
        }
        Ok(executed)
    }
}
