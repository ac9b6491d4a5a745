//! The unit of work: what one command wants to write, gathered before anything is written.
//!
//! `CqrsFramework` drives one aggregate at a time; `commit` only stages its events here. A unit may hold several
//! streams, secrets and guards; [`Unit::append`] writes all of it in one transaction, or nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aggregates::event::Recordable as _;
use aggregates::values::Timestamp;
use cqrs_es::{Aggregate, AggregateContext, AggregateError, CqrsFramework, EventEnvelope, EventStore};
use serde_json::{Map, Value, json};
use thiserror::Error;
use uuid::Uuid;

use super::event::{divide, seal_into};
use super::prepared::{
    Appended, Code, Credential, Farewell, Guard, Idempotency, Prepared, Receipt, Secret, StagedEvent, StagedStream,
};
use super::{AnyState, Context, Row, Store, StoreError, Stream};
use crate::cache;
use crate::keys::{DataKey, NewDataKey, Scope, Seal};

/// What one command wants to write.
#[derive(Clone)]
pub struct Unit {
    store: Store,
    context: Arc<Context>,
    staged: Arc<Mutex<Staged>>,
}

#[derive(Default)]
struct Staged {
    prepared: Prepared,
    /// The state of every stream the unit has loaded, after what it staged.
    states: HashMap<(&'static str, String), (AnyState, i64)>,
    /// Streams whose state came out of the cache and may be older than the log.
    cached: Vec<(&'static str, String)>,
    /// Streams that are known to be new.
    fresh: Vec<(&'static str, String)>,
    keys: HashMap<(String, String), DataKey>,
    /// Whose address the caller's is, when the caller is nobody known.
    owner: Option<String>,
}

/// Why a command was not carried out.
#[derive(Debug, Error)]
pub enum ExecuteError<E: std::error::Error> {
    /// The aggregate refuses.
    #[error(transparent)]
    Refused(E),
    /// The store could not load or stage.
    #[error(transparent)]
    Store(StoreError),
}

/// What a command staged on one stream.
#[derive(Debug, Clone)]
pub struct Executed<A> {
    /// The state after it.
    pub state: A,
    /// The number of events in the stream after it.
    pub version: i64,
    /// The number before it.
    pub loaded: i64,
}

/// A loaded aggregate on its way through the framework.
pub struct Loaded<A> {
    id: String,
    state: A,
    version: i64,
}

impl<A: Aggregate> AggregateContext<A> for Loaded<A> {
    fn aggregate(&mut self) -> &mut A {
        &mut self.state
    }
}

impl Unit {
    pub(super) fn new(store: Store, context: Context) -> Self {
        Self {
            store,
            context: Arc::new(context),
            staged: Arc::default(),
        }
    }

    fn staged(&self) -> MutexGuard<'_, Staged> {
        // What is staged is only ever extended, so a panic elsewhere leaves it whole.
        self.staged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that the stream is new, so that it need not be looked for. A clash of ids would be found as stale.
    pub fn is_fresh<A: Stream>(&self, id: &str) {
        self.staged().fresh.push((A::TYPE, id.to_owned()));
    }

    /// The aggregate as it is, with what this unit staged, and the number of its events.
    pub async fn load<A: Stream>(&self, id: &str) -> Result<(A, i64), StoreError> {
        let key = (A::TYPE, id.to_owned());
        {
            let staged = self.staged();
            if let Some((state, version)) = staged.states.get(&key)
                && let Some(state) = A::from_any(state)
            {
                return Ok((state.clone(), *version));
            }
            if staged.fresh.contains(&key) {
                return Ok((A::default(), 0));
            }
        }
        if let Some((state, version)) = self.store.cached::<A>(id) {
            let mut staged = self.staged();
            staged.cached.push(key.clone());
            staged.states.insert(key, (state.clone().into_any(), version));
            return Ok((state, version));
        }
        self.load_fresh::<A>(id).await
    }

    /// The aggregate as the log has it now, whatever is cached. What the unit staged on the stream is kept.
    pub async fn load_fresh<A: Stream>(&self, id: &str) -> Result<(A, i64), StoreError> {
        let key = (A::TYPE, id.to_owned());
        if self.has_staged(&key) {
            return Box::pin(self.load::<A>(id)).await;
        }
        let (state, version) = self.store.load::<A>(id).await?;
        let mut staged = self.staged();
        staged.cached.retain(|cached| *cached != key);
        staged.states.insert(key, (state.clone().into_any(), version));
        Ok((state, version))
    }

    fn has_staged(&self, key: &(&'static str, String)) -> bool {
        let staged = self.staged();
        staged
            .prepared
            .streams
            .iter()
            .any(|stream| stream.aggregate_type == key.0 && stream.aggregate_id == key.1)
    }

    /// Lets the aggregate decide on a command and stages its events.
    ///
    /// An event that is appended proves by its expected version that nothing was missed. A refusal, or the answer
    /// that nothing changes, proves nothing: if the state came out of the cache, both are decided again on the log.
    pub async fn execute<A: Stream>(
        &self,
        id: &str,
        command: A::Command,
    ) -> Result<Executed<A>, ExecuteError<A::Error>> {
        let first = self.execute_once::<A>(id, command.clone()).await;
        let doubtful = match &first {
            Ok(executed) => executed.version == executed.loaded,
            Err(ExecuteError::Refused(_)) => true,
            Err(ExecuteError::Store(_)) => false,
        };
        let key = (A::TYPE, id.to_owned());
        if !doubtful || !self.staged().cached.contains(&key) || self.has_staged(&key) {
            return first;
        }
        self.load_fresh::<A>(id).await.map_err(ExecuteError::Store)?;
        self.execute_once::<A>(id, command).await
    }

    async fn execute_once<A: Stream>(
        &self,
        id: &str,
        command: A::Command,
    ) -> Result<Executed<A>, ExecuteError<A::Error>> {
        let loaded = self.load::<A>(id).await.map_err(ExecuteError::Store)?.1;
        let framework = CqrsFramework::<A, Self>::new(self.clone(), Vec::new(), ());
        framework.execute(id, command).await.map_err(|error| match error {
            AggregateError::UserError(refusal) => ExecuteError::Refused(refusal),
            AggregateError::AggregateConflict => ExecuteError::Store(StoreError::Stale),
            AggregateError::DatabaseConnectionError(error)
            | AggregateError::DeserializationError(error)
            | AggregateError::UnexpectedError(error) => ExecuteError::Store(match error.downcast::<StoreError>() {
                Ok(error) => *error,
                Err(error) => StoreError::Refused(error.to_string()),
            }),
        })?;
        let (state, version) = self.load::<A>(id).await.map_err(ExecuteError::Store)?;
        Ok(Executed { state, version, loaded })
    }

    /// Says whose address an unknown caller's is: whoever is registering. It is sealed under that user's key, also in
    /// events about something else.
    pub fn owned_by(&self, user: Uuid) {
        self.staged().owner = Some(user.to_string());
    }

    /// Relies on a stream being at this version when the unit is written; 0: on its absence.
    pub fn guard(&self, aggregate_type: &'static str, aggregate_id: &str, version: i64) {
        let guard = Guard {
            aggregate_type,
            aggregate_id: aggregate_id.to_owned(),
            version,
        };
        self.staged().prepared.guards.push(guard);
    }

    /// Keeps a password hash.
    pub fn credential(&self, credential: Credential) {
        self.staged().prepared.credentials.push(credential);
    }

    /// Keeps the hash of a secret.
    pub fn secret(&self, secret: Secret) {
        self.staged().prepared.secrets.push(secret);
    }

    /// Drops the secrets of a session, key or domain.
    pub fn drop_secrets(&self, owner: &str) {
        self.staged().prepared.drop_secrets.push(owner.to_owned());
    }

    /// Keeps a one-time code.
    pub fn code(&self, code: Code) {
        self.staged().prepared.codes.push(code);
    }

    /// Drops a one-time code that was used.
    pub fn drop_code(&self, request: Uuid) {
        self.staged().prepared.drop_codes.push(request);
    }

    /// Keeps where the last message to somebody goes whom this unit erases.
    pub fn farewell(&self, farewell: Farewell) {
        self.staged().prepared.farewells.push(farewell);
    }

    /// Destroys a data key that no event of this unit names.
    pub fn destroy_key(&self, subject: &str, scope: &Scope) {
        self.staged()
            .prepared
            .destroy_keys
            .push((subject.to_owned(), scope.to_string()));
    }

    /// Remembers the answer under an idempotency key.
    pub fn remember(&self, key: Idempotency) {
        self.staged().prepared.idempotency = Some(key);
    }

    /// What to answer when the command changed nothing.
    pub fn unchanged(&self, receipt: Receipt) {
        self.staged().prepared.unchanged = Some(receipt);
    }

    /// Whether anything was staged on any stream.
    #[must_use]
    pub fn has_events(&self) -> bool {
        !self.staged().prepared.streams.is_empty()
    }

    /// Writes everything, or nothing. A unit is written once; what it staged is gone afterwards.
    pub async fn append(self) -> Result<Appended, StoreError> {
        let (prepared, states, keys) = {
            let mut staged = self.staged();
            (
                std::mem::take(&mut staged.prepared),
                std::mem::take(&mut staged.states),
                std::mem::take(&mut staged.keys),
            )
        };
        if prepared.streams.is_empty() && prepared.idempotency.is_none() {
            return match prepared.unchanged {
                Some(receipt) => Ok(Appended {
                    receipt,
                    recorded_at: self.store.now(),
                }),
                None => Err(StoreError::Refused(
                    "a unit without events and without an answer".into(),
                )),
            };
        }
        let written: Vec<(&'static str, String)> = prepared
            .streams
            .iter()
            .map(|stream| (stream.aggregate_type, stream.aggregate_id.clone()))
            .collect();
        let erased: Vec<String> = erased_by(&prepared);
        let result = self.store.append(prepared).await;
        if result.is_ok() {
            for key in written {
                if let Some((state, version)) = states.get(&key) {
                    self.store.keep(key.0, &key.1, state.clone(), *version);
                }
            }
            for ((subject, scope), key) in keys {
                self.store.keep_data_key(&subject, &scope, key);
            }
            self.store.forget_keys_of(&erased);
        } else {
            // What was cached is what made the unit stale.
            for ((aggregate_type, id), (_, version)) in &states {
                self.store.outrun(aggregate_type, id, *version);
            }
            for (subject, scope) in keys.keys() {
                self.store.inner.data_keys.remove(&cache::name(subject, scope));
            }
        }
        result
    }

    /// The state that was loaded, with what was staged since; of a new stream, nothing yet.
    fn loaded<A: Stream>(&self, id: &str) -> A {
        let staged = self.staged();
        let state = staged.states.get(&(A::TYPE, id.to_owned()));
        state
            .and_then(|(state, _)| A::from_any(state))
            .cloned()
            .unwrap_or_default()
    }

    /// Stages the events of one stream: seals them, writes their metadata.
    async fn stage<A: Stream>(&self, events: &[A::Event], loaded: &Loaded<A>) -> Result<(), StoreError> {
        let mut staged_events = Vec::with_capacity(events.len());
        let before = self.loaded::<A>(&loaded.id);
        let mut after = before.clone();
        for (sequence, event) in (loaded.version + 1..).zip(events) {
            let event_id = event
                .own_id()
                .unwrap_or_else(|| self.store.chance().uuid_v7(self.store.now()));
            let subject = before.subject(&loaded.id, event);
            let event_type = event.kind().name;
            let row = Row {
                aggregate_type: A::TYPE,
                aggregate_id: &loaded.id,
                sequence,
                event_type,
                event_id,
            };
            let payload = self.payload::<A>(event, &row, &subject, loaded.version == 0).await?;
            after.apply(event.clone());
            let metadata = self.metadata(&row, &subject, after.status()).await?;
            if let Some(scope) = A::destroys(event) {
                self.destroy_key(&subject, &scope);
            }
            staged_events.push(StagedEvent {
                event_id,
                event: event.clone().into(),
                payload,
                metadata,
                subject,
                ip: self.context.ip.clone(),
                user_agent: self.context.user_agent.clone(),
            });
        }
        let version = loaded.version + i64::try_from(events.len()).unwrap_or(i64::MAX);
        let mut staged = self.staged();
        staged
            .states
            .insert((A::TYPE, loaded.id.clone()), (loaded.state.clone().into_any(), version));
        if staged_events.is_empty() {
            return Ok(());
        }
        let streams = &mut staged.prepared.streams;
        match streams
            .iter_mut()
            .find(|s| s.aggregate_type == A::TYPE && s.aggregate_id == loaded.id)
        {
            Some(stream) => stream.events.extend(staged_events),
            None => streams.push(StagedStream {
                aggregate_type: A::TYPE,
                aggregate_id: loaded.id.clone(),
                expected: loaded.version,
                events: staged_events,
            }),
        }
        Ok(())
    }

    async fn payload<A: Stream>(
        &self,
        event: &A::Event,
        row: &Row<'_>,
        subject: &str,
        new: bool,
    ) -> Result<String, StoreError> {
        let (mut payload, sealed) = divide(event)?;
        for (level, fields) in sealed {
            let scope = A::scope(level, event)
                .ok_or_else(|| StoreError::corrupt("events", row.event_id, "a sealed field has no scope"))?;
            let scope_text = scope.to_string();
            let key = self
                .data_key(subject, &scope_text, new && scope == Scope::Person)
                .await?
                // Whoever it is about was erased since the stream was loaded.
                .ok_or(StoreError::Stale)?;
            seal_into(&mut payload, &fields, row, &scope_text, &key, self.store.chance())?;
        }
        Ok(Value::Object(payload).to_string())
    }

    /// The metadata: a flat object of strings. Where the caller is stands sealed in `origin`.
    async fn metadata(&self, row: &Row<'_>, subject: &str, status: Option<&str>) -> Result<String, StoreError> {
        let mut metadata: Map<String, Value> = self
            .context
            .facts()
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Value::String(value)))
            .collect();
        metadata.insert("event_id".into(), row.event_id.to_string().into());
        metadata.insert("subject".into(), subject.into());
        if let Some(status) = status {
            metadata.insert("status".into(), status.into());
        }
        if self.context.ip.is_some() || self.context.user_agent.is_some() {
            let unknown = self.staged().owner.clone();
            let owner = match self.context.origin_owner {
                Some(user) => user.to_string(),
                None => unknown.unwrap_or_else(|| subject.to_owned()),
            };
            let scope = Scope::origin_at(self.store.now()).to_string();
            let new = self.staged().fresh.iter().any(|(_, id)| *id == owner);
            // Of a person who was erased meanwhile it is not kept.
            if let Some(key) = self.data_key(&owner, &scope, new).await? {
                let origin = json!({ "ip": self.context.ip, "user_agent": self.context.user_agent }).to_string();
                let sealed = Seal::new(&key, row.event_id, &scope)?.seal(
                    &row.scope(&scope),
                    origin.as_bytes(),
                    self.store.chance(),
                )?;
                metadata.insert("origin".into(), sealed.into());
                metadata.insert("origin_owner".into(), owner.into());
                metadata.insert("origin_scope".into(), scope.into());
            }
        }
        Ok(Value::Object(metadata).to_string())
    }

    /// The data key of a subject and scope; drawn and staged if there is none yet. None: it was destroyed for ever.
    async fn data_key(&self, subject: &str, scope: &str, new: bool) -> Result<Option<DataKey>, StoreError> {
        let place = (subject.to_owned(), scope.to_owned());
        if let Some(key) = self.staged().keys.get(&place) {
            return Ok(Some(key.clone()));
        }
        let known = if new {
            None
        } else {
            self.store.data_key(subject, scope).await?
        };
        let key = if let Some(key) = known {
            key
        } else if !new && self.store.was_destroyed(subject, scope).await? {
            return Ok(None);
        } else {
            let (key, row): (DataKey, NewDataKey) =
                DataKey::draw(subject, scope, &self.store.keyring().masters(), self.store.chance())?;
            self.staged().prepared.new_keys.push(row);
            key
        };
        self.staged().keys.insert(place, key.clone());
        Ok(Some(key))
    }
}

/// The users whose keys are destroyed with this unit.
fn erased_by(prepared: &Prepared) -> Vec<String> {
    use aggregates::user::UserEvent;
    let events = prepared.streams.iter().flat_map(|stream| &stream.events);
    events
        .filter(|staged| {
            matches!(
                &staged.event,
                super::AnyEvent::User(UserEvent::Erased {} | UserEvent::Expired {})
            )
        })
        .map(|staged| staged.subject.clone())
        .collect()
}

impl<A: Stream> EventStore<A> for Unit {
    type AC = Loaded<A>;

    async fn load_events(&self, aggregate_id: &str) -> Result<Vec<EventEnvelope<A>>, AggregateError<A::Error>> {
        self.store.load_envelopes::<A>(aggregate_id, 0).await.map_err(failed)
    }

    async fn load_aggregate(&self, aggregate_id: &str) -> Result<Loaded<A>, AggregateError<A::Error>> {
        let (state, version) = self.load::<A>(aggregate_id).await.map_err(failed)?;
        Ok(Loaded {
            id: aggregate_id.to_owned(),
            state,
            version,
        })
    }

    /// Stages only; [`Unit::append`] writes.
    async fn commit(
        &self,
        events: Vec<A::Event>,
        context: Loaded<A>,
        metadata: HashMap<String, String>,
    ) -> Result<Vec<EventEnvelope<A>>, AggregateError<A::Error>> {
        self.stage::<A>(&events, &context).await.map_err(failed)?;
        let first = usize::try_from(context.version).unwrap_or_default() + 1;
        Ok((first..)
            .zip(events)
            .map(|(sequence, payload)| EventEnvelope {
                aggregate_id: context.id.clone(),
                sequence,
                payload,
                metadata: metadata.clone(),
            })
            .collect())
    }
}

fn failed<E: std::error::Error>(error: StoreError) -> AggregateError<E> {
    AggregateError::DatabaseConnectionError(Box::new(error))
}

impl Idempotency {
    /// How long a key is remembered: 24 hours (contract, section 2).
    pub const LIFE_MICROS: i64 = 24 * 3_600 * 1_000_000;

    /// A key as it is remembered: its own hash and a keyed hash of what was asked with it.
    #[must_use]
    pub fn new(store: &Store, caller: String, key: &str, request: &[&[u8]]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, key.as_bytes());
        let mut key_hash = [0_u8; 32];
        key_hash.copy_from_slice(digest.as_ref());
        let expires_at: Timestamp = store.now().plus(Self::LIFE_MICROS);
        Self {
            caller,
            key_hash,
            request_hash: store.keyring().fingerprint("request", request),
            expires_at,
        }
    }
}
