//! What a batch of units writes. Pure: from the units and what the database said under the head lock.
//!
//! A unit that lost is answered and disturbs nobody. A unit that shares a stream, a subject, a name or an
//! idempotency key with an earlier one of its batch waits for the next.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use aggregates::domain::DomainEvent;
use aggregates::session::SessionEvent;
use aggregates::user::UserEvent;
use aggregates::values::Timestamp;
use projections::{
    ApiKeyRow, BlockedAddressRow, DomainRow, Name, NameKind, PlaceRow, Recorded, SessionRow, UserRow, WordRow,
    names_at, names_of, places_differ, places_of, word_rows, words_differ,
};
use uuid::Uuid;

use super::leaf::Leaf;
use super::prepared::{Appended, Code, Credential, Farewell, Idempotency, Prepared, Receipt, Secret, StagedStream};
use super::{AnyEvent, StoreError};
use crate::keys::{Keyring, NewDataKey};

/// A keyed hash with its kind: how a name stands in the table.
pub(crate) type NameKey = (NameKind, [u8; 32]);

/// Where the log ends.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Position of the last event; 0: none.
    pub position: i64,
    /// When it was recorded, microseconds since 1970.
    pub recorded_at: i64,
}

/// What the batch needs to know, to be read under the head lock.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub streams: BTreeSet<(&'static str, String)>,
    pub idempotency: Vec<(String, [u8; 32])>,
    pub keys: Vec<(String, String)>,
    pub codes: Vec<(&'static str, [u8; 32])>,
    pub users: BTreeSet<Uuid>,
    pub sessions: BTreeSet<Uuid>,
    pub domains: BTreeSet<String>,
    pub api_keys: BTreeSet<Uuid>,
    pub addresses: BTreeSet<String>,
}

/// What the database said.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub versions: HashMap<(String, String), i64>,
    pub idempotency: HashMap<(String, [u8; 32]), ([u8; 32], String)>,
    pub keys: HashSet<(String, String)>,
    pub codes: HashSet<(String, [u8; 32])>,
    pub rows: Rows,
    /// Names in the table whose holder asked for them and let the request lapse: free, and whose they were.
    pub lapsed: HashMap<NameKey, Uuid>,
}

/// Rows of the immediate read models, by key.
#[derive(Debug, Default, Clone)]
pub(super) struct Rows {
    pub users: BTreeMap<Uuid, UserRow>,
    pub sessions: BTreeMap<Uuid, SessionRow>,
    pub domains: BTreeMap<String, DomainRow>,
    pub api_keys: BTreeMap<Uuid, ApiKeyRow>,
    pub addresses: BTreeMap<String, BlockedAddressRow>,
}

/// Rows as they are to be: none means delete.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub users: BTreeMap<Uuid, Option<UserRow>>,
    pub sessions: BTreeMap<Uuid, Option<SessionRow>>,
    pub domains: BTreeMap<String, Option<DomainRow>>,
    pub api_keys: BTreeMap<Uuid, Option<ApiKeyRow>>,
    pub addresses: BTreeMap<String, Option<BlockedAddressRow>>,
}

/// How the ways to find accounts change: what follows from rows of users and stands in tables of its own. Of an erased
/// one nothing is listed: erasing takes all of it.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub words: Vec<WordRow>,
    pub old_words: Vec<(Uuid, String)>,
    pub places: Vec<PlaceRow>,
    pub old_places: Vec<(Uuid, i64)>,
}

impl Found {
    /// Notes what a change of a row changes.
    fn note(&mut self, old: Option<&UserRow>, new: &UserRow) {
        if old.is_none_or(|old| words_differ(old, new)) {
            let (before, after) = (old.map(word_rows).unwrap_or_default(), word_rows(new));
            let gone = before.keys().filter(|word| !after.contains_key(*word));
            self.old_words.extend(gone.map(|word| (new.id, word.clone())));
            let changed = after.into_values().filter(|word| before.get(&word.word) != Some(word));
            self.words.extend(changed);
        }
        if old.is_none_or(|old| places_differ(old, new)) {
            let (before, after) = (old.map(places_of).unwrap_or_default(), places_of(new));
            let gone = before.keys().filter(|cell| !after.contains_key(cell));
            self.old_places.extend(gone.map(|cell| (new.id, *cell)));
            let changed = after
                .into_values()
                .filter(|place| before.get(&place.cell) != Some(place));
            self.places.extend(changed);
        }
    }
}

/// One row of the log.
#[derive(Debug)]
pub(super) struct EventRow {
    pub aggregate_type: &'static str,
    pub aggregate_id: String,
    pub sequence: i64,
    pub event_type: &'static str,
    pub payload: String,
    pub metadata: String,
    pub position: i64,
    pub event_id: Uuid,
    pub subject: String,
    pub leaf_hash: [u8; 32],
}

/// The version of every payload's shape that is written today.
pub(super) const EVENT_VERSION: &str = "1.0";

/// Everything a batch writes.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Where the log ends before it.
    pub after: Head,
    pub position: i64,
    pub recorded_at: i64,
    pub events: Vec<EventRow>,
    pub rows: Changes,
    pub found: Found,
    /// Names that are let go, each by the account it is let go by: another may have taken a lapsed one over.
    pub release: Vec<(NameKey, Uuid)>,
    pub claim: Vec<(NameKey, Uuid)>,
    pub credentials: Vec<Credential>,
    pub secrets: Vec<Secret>,
    pub drop_secrets: Vec<String>,
    pub codes: Vec<Code>,
    pub drop_codes: Vec<Uuid>,
    pub new_keys: Vec<NewDataKey>,
    pub destroy_keys: Vec<(String, String)>,
    pub idempotency: Vec<(Idempotency, String)>,
    pub farewells: Vec<Farewell>,
    /// Users whose sessions up to a position ended, but for one.
    pub end_sessions: Vec<(Uuid, i64, Option<Uuid>)>,
    /// Users of whom nothing stays but their sealed history.
    pub erase: Vec<Uuid>,
}

impl Plan {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.idempotency.is_empty()
    }

    /// Whether it only adds events and sets rows of users, with their words, and sessions: most batches do.
    pub fn is_plain(&self) -> bool {
        // Whoever adds a field decides here.
        let Self {
            after: _,
            position: _,
            recorded_at: _,
            events,
            rows,
            found,
            release,
            claim,
            credentials,
            secrets,
            drop_secrets,
            codes,
            drop_codes,
            new_keys,
            destroy_keys,
            idempotency,
            farewells,
            end_sessions,
            erase,
        } = self;
        let Changes {
            users,
            sessions,
            domains,
            api_keys,
            addresses,
        } = rows;
        let Found {
            words: _,
            old_words: _,
            places,
            old_places,
        } = found;
        !events.is_empty()
            && (places.is_empty() && old_places.is_empty())
            && users.values().all(Option::is_some)
            && sessions.values().all(Option::is_some)
            && (domains.is_empty() && api_keys.is_empty() && addresses.is_empty())
            && (release.is_empty() && claim.is_empty() && credentials.is_empty())
            && (secrets.is_empty() && drop_secrets.is_empty() && codes.is_empty() && drop_codes.is_empty())
            && (new_keys.is_empty() && destroy_keys.is_empty() && idempotency.is_empty())
            && (end_sessions.is_empty() && erase.is_empty() && farewells.is_empty())
    }
}

impl Wanted {
    /// Whether it asks for nothing but versions of streams and rows of users.
    pub fn only_streams_and_users(&self) -> bool {
        let Self {
            streams: _,
            users: _,
            idempotency,
            keys,
            codes,
            sessions,
            domains,
            api_keys,
            addresses,
        } = self;
        (idempotency.is_empty() && keys.is_empty() && codes.is_empty())
            && (sessions.is_empty() && domains.is_empty() && api_keys.is_empty() && addresses.is_empty())
    }
}

/// What to ask the database before this batch can be decided.
pub(super) fn wanted<'a>(units: impl Iterator<Item = &'a Prepared>) -> Wanted {
    let mut wanted = Wanted::default();
    for unit in units {
        for stream in &unit.streams {
            wanted
                .streams
                .insert((stream.aggregate_type, stream.aggregate_id.clone()));
            want_rows(stream, &mut wanted);
        }
        for guard in &unit.guards {
            wanted
                .streams
                .insert((guard.aggregate_type, guard.aggregate_id.clone()));
        }
        wanted
            .idempotency
            .extend(unit.idempotency.iter().map(|key| (key.caller.clone(), key.key_hash)));
        wanted
            .keys
            .extend(unit.new_keys.iter().map(|key| (key.subject.clone(), key.scope.clone())));
        wanted
            .codes
            .extend(unit.codes.iter().map(|code| (code.purpose, code.value)));
    }
    wanted
}

/// A stream that begins with this unit has no rows to be read.
fn want_rows(stream: &StagedStream, wanted: &mut Wanted) {
    let known = stream.expected > 0;
    let id = Uuid::parse_str(&stream.aggregate_id).ok();
    for staged in &stream.events {
        match &staged.event {
            AnyEvent::User(event) => {
                wanted.users.extend(id.filter(|_| known));
                wanted.api_keys.extend(api_key_of(event).filter(|_| known));
                if let UserEvent::PasswordChanged { kept_session, .. } = event {
                    wanted.sessions.extend(*kept_session);
                }
            }
            AnyEvent::Session(_) => {
                wanted.sessions.extend(id.filter(|_| known));
                wanted.users.extend(Uuid::parse_str(&staged.subject).ok());
            }
            AnyEvent::Domain(event) => {
                if known {
                    wanted.domains.insert(stream.aggregate_id.clone());
                }
                wanted.addresses.extend(address_of(event).filter(|_| known));
            }
            AnyEvent::Audit(_) => {}
        }
    }
}

fn api_key_of(event: &UserEvent) -> Option<Uuid> {
    match event {
        UserEvent::ApiKeyIssued { key_id, .. } | UserEvent::ApiKeyRevoked { key_id } => Some(*key_id),
        _ => None,
    }
}

fn address_of(event: &DomainEvent) -> Option<String> {
    match event {
        DomainEvent::AddressBlocked { address, .. } | DomainEvent::AddressUnblocked { address, .. } => {
            Some(address.as_str().to_owned())
        }
        _ => None,
    }
}

/// What is to be done with one unit of a batch.
pub(super) enum Fate {
    /// It is answered now, without having been written.
    Lost(StoreError),
    /// It comes with the next batch.
    Waits,
    /// It wants names that an earlier unit of the batch moves: with that one in, they are taken or free.
    WaitsForNames(Vec<NameKey>),
    /// It is in, if the names it claims are free.
    Claims(Vec<NameKey>),
}

impl Fate {
    /// The names it wants.
    pub fn wanted(&self) -> &[NameKey] {
        match self {
            Self::WaitsForNames(names) | Self::Claims(names) => names,
            Self::Lost(_) | Self::Waits => &[],
        }
    }
}

/// The name of these that is held once the plan is written; `taken`: what was held before.
pub(super) fn held(names: &[NameKey], taken: &HashSet<NameKey>, plan: &Plan) -> Option<NameKind> {
    let claimed = |name: &NameKey| plan.claim.iter().any(|(claimed, _)| claimed == name);
    let released = |name: &NameKey| plan.release.iter().any(|(released, _)| released == name);
    let held = |name: &&NameKey| claimed(name) || (taken.contains(*name) && !released(name));
    names.iter().find(held).map(|(kind, _)| *kind)
}

/// First look at a batch: who is stale, who waits, and which names the others claim.
pub(super) fn first_look(units: &[&Prepared], facts: &Facts, keyring: &Keyring, now: Timestamp) -> Vec<Fate> {
    let mut touched = HashSet::new();
    let mut claimed: HashSet<NameKey> = HashSet::new();
    units
        .iter()
        .map(|unit| {
            let touches = unit.touches();
            if !touched.is_disjoint(&touches) || relies_on(unit, &touched) {
                return Fate::Waits;
            }
            if let Some(error) = lost(unit, facts) {
                return Fate::Lost(error);
            }
            let mut rows = facts.rows.clone_for(unit);
            let before = names(&rows, now);
            fold_unit(unit, 0, 0, &mut rows, &mut Plan::default());
            let after = names(&rows, now);
            // Nearly no command moves a name, and hashing them is what takes time here.
            let claims: Vec<NameKey> = after.difference(&before).map(|name| name_key(name, keyring)).collect();
            let released = before.difference(&after).map(|name| name_key(name, keyring));
            let moved: HashSet<NameKey> = released.chain(claims.iter().copied()).collect();
            if !claimed.is_disjoint(&moved) {
                return Fate::WaitsForNames(claims);
            }
            touched.extend(touches);
            claimed.extend(moved);
            Fate::Claims(claims)
        })
        .collect()
}

/// Whether a guard of the unit names a stream that an earlier unit of the batch adds to.
fn relies_on(unit: &Prepared, touched: &HashSet<(u8, &str, &[u8])>) -> bool {
    unit.guards
        .iter()
        .any(|guard| touched.contains(&(0, guard.aggregate_type, guard.aggregate_id.as_bytes())))
}

fn lost(unit: &Prepared, facts: &Facts) -> Option<StoreError> {
    if let Some(key) = &unit.idempotency
        && let Some((request, receipt)) = facts.idempotency.get(&(key.caller.clone(), key.key_hash))
    {
        if *request != key.request_hash {
            return Some(StoreError::IdempotencyMismatch);
        }
        return Some(match serde_json::from_str(receipt) {
            Ok(receipt) => StoreError::Replayed(Box::new(receipt)),
            Err(problem) => StoreError::corrupt("idempotency", &key.caller, problem),
        });
    }
    let version = |kind: &str, id: &str| {
        facts
            .versions
            .get(&(kind.to_owned(), id.to_owned()))
            .copied()
            .unwrap_or_default()
    };
    let stale = unit
        .streams
        .iter()
        .any(|s| version(s.aggregate_type, &s.aggregate_id) != s.expected)
        || unit
            .guards
            .iter()
            .any(|g| version(g.aggregate_type, &g.aggregate_id) != g.version)
        || unit
            .new_keys
            .iter()
            .any(|key| facts.keys.contains(&(key.subject.clone(), key.scope.clone())));
    if stale || begins_for_nobody(unit, facts) || outlives_its_session(unit, facts) {
        return Some(StoreError::Stale);
    }
    let clash = unit
        .codes
        .iter()
        .any(|code| facts.codes.contains(&(code.purpose.to_owned(), code.value)));
    clash.then_some(StoreError::CodeClash)
}

/// Whether the unit begins a session of somebody who is not, or is no more: its row and its secrets would outlive
/// their owner.
fn begins_for_nobody(unit: &Prepared, facts: &Facts) -> bool {
    let opens = |user: &Uuid| {
        let id = user.to_string();
        unit.streams
            .iter()
            .any(|stream| stream.aggregate_type == "user" && stream.aggregate_id == id)
    };
    unit.streams
        .iter()
        .flat_map(|stream| &stream.events)
        .any(|staged| match &staged.event {
            AnyEvent::Session(SessionEvent::Started { user, .. }) => {
                !facts.rows.users.contains_key(user) && !opens(user)
            }
            _ => false,
        })
}

/// Whether the unit goes on with a session that has ended otherwise than by an event of its own stream.
fn outlives_its_session(unit: &Prepared, facts: &Facts) -> bool {
    let gone = |id: Option<Uuid>| id.is_some_and(|id| !facts.rows.sessions.contains_key(&id));
    unit.streams.iter().any(|stream| {
        stream.events.iter().any(|staged| match &staged.event {
            AnyEvent::Session(SessionEvent::Refreshed { .. }) => gone(Uuid::parse_str(&stream.aggregate_id).ok()),
            AnyEvent::User(UserEvent::PasswordChanged { kept_session, .. }) => gone(*kept_session),
            _ => false,
        })
    })
}

fn names(rows: &Rows, now: Timestamp) -> BTreeSet<Name> {
    rows.users.values().flat_map(|row| names_at(row, now)).collect()
}

/// Of names that are in the table with these holders, those whose holder's request for them has lapsed.
pub(super) fn lapsed(
    held: &[(NameKey, Uuid)],
    rows: &[UserRow],
    keyring: &Keyring,
    now: Timestamp,
) -> HashMap<NameKey, Uuid> {
    let holds = |holder: Uuid, name: &NameKey| {
        rows.iter()
            .any(|row| row.id == holder && name_keys_at(row, keyring, now).contains(name))
    };
    // Of a holder without a row nothing is known: what is wrong there is for a rebuild to find, not to be taken.
    let known = |holder: Uuid| rows.iter().any(|row| row.id == holder);
    held.iter()
        .filter(|(name, holder)| known(*holder) && !holds(*holder, name))
        .copied()
        .collect()
}

fn name_keys_at(row: &UserRow, keyring: &Keyring, now: Timestamp) -> Vec<NameKey> {
    keys_of(&names_at(row, now), keyring)
}

/// The names an account holds, as they stand in the table, also one it has let lapse.
pub(super) fn name_keys(row: &UserRow, keyring: &Keyring) -> Vec<NameKey> {
    keys_of(&names_of(row), keyring)
}

fn name_key(name: &Name, keyring: &Keyring) -> NameKey {
    (name.kind, keyring.name(name.kind, &name.canonical))
}

fn keys_of(names: &BTreeSet<Name>, keyring: &Keyring) -> Vec<NameKey> {
    names.iter().map(|name| name_key(name, keyring)).collect()
}

/// Adds a unit to the plan. Its names are known to be free, its streams to be as expected.
pub(super) fn add(unit: &Prepared, facts: &mut Facts, plan: &mut Plan, keyring: &Keyring) -> Appended {
    let before = facts.rows.clone_for(unit);
    let mut rows = before.clone();
    let first = plan.position + 1;
    fold_unit(unit, first, plan.recorded_at, &mut rows, plan);
    for (id, user) in users_touched(&before, &rows) {
        let (old, new) = (before.users.get(&id), rows.users.get(&id));
        let now = Timestamp::from_micros(plan.recorded_at);
        let written = old.map(names_of).unwrap_or_default();
        let held = old.map(|row| names_at(row, now)).unwrap_or_default();
        let holds = new.map(names_of).unwrap_or_default();
        // One it let lapse stays in its row until it is dealt with; it is claimed again only when asked for again.
        let holds_now = new.map(|row| names_at(row, now)).unwrap_or_default();
        let released = written.difference(&holds).map(|name| (name_key(name, keyring), id));
        plan.release.extend(released);
        for name in holds_now.difference(&held) {
            let key = name_key(name, keyring);
            // A lapsed reservation, somebody else's or its own, makes room.
            plan.release.extend(facts.lapsed.get(&key).map(|holder| (key, *holder)));
            plan.claim.push((key, id));
        }
        if let (Some(old), Some(new)) = (old, new)
            && new.session_epoch > old.session_epoch
        {
            plan.end_sessions.push((id, new.session_epoch, new.kept_session));
        }
        if let Some(new) = new {
            plan.found.note(old, new);
        }
        plan.rows.users.insert(id, user);
    }
    plan.rows.note(&before, &rows, unit);
    facts.rows.replace(&before, rows);

    let receipt = write_events(unit, plan);
    let receipt = receipt.or_else(|| unit.unchanged.clone()).unwrap_or(Receipt {
        id: String::new(),
        version: 0,
        position: 0,
        events: Vec::new(),
        created: false,
    });
    plan.credentials.extend_from_slice(&unit.credentials);
    plan.secrets.extend_from_slice(&unit.secrets);
    plan.drop_secrets.extend_from_slice(&unit.drop_secrets);
    plan.codes.extend_from_slice(&unit.codes);
    plan.drop_codes.extend_from_slice(&unit.drop_codes);
    plan.farewells.extend_from_slice(&unit.farewells);
    plan.new_keys.extend_from_slice(&unit.new_keys);
    plan.destroy_keys.extend_from_slice(&unit.destroy_keys);
    if let Some(key) = unit.idempotency.clone()
        && let Ok(text) = serde_json::to_string(&receipt)
    {
        plan.idempotency.push((key, text));
    }
    Appended {
        receipt,
        recorded_at: Timestamp::from_micros(plan.recorded_at),
    }
}

fn users_touched(before: &Rows, after: &Rows) -> Vec<(Uuid, Option<UserRow>)> {
    let ids: BTreeSet<Uuid> = before.users.keys().chain(after.users.keys()).copied().collect();
    ids.into_iter()
        .filter(|id| before.users.get(id) != after.users.get(id))
        .map(|id| (id, after.users.get(&id).cloned()))
        .collect()
}

/// Gives the unit's events their positions and hashes. The receipt is that of its first stream.
fn write_events(unit: &Prepared, plan: &mut Plan) -> Option<Receipt> {
    let mut receipt = None;
    for stream in &unit.streams {
        for (sequence, staged) in (stream.expected + 1..).zip(&stream.events) {
            plan.position += 1;
            let event_type = staged.event.event_type();
            let leaf = Leaf {
                aggregate_type: stream.aggregate_type,
                aggregate_id: &stream.aggregate_id,
                sequence,
                event_type,
                event_version: EVENT_VERSION,
                payload: &staged.payload,
                metadata: &staged.metadata,
                event_id: staged.event_id,
                subject: &staged.subject,
                recorded_at: plan.recorded_at,
            };
            plan.events.push(EventRow {
                leaf_hash: leaf.hash(),
                aggregate_type: stream.aggregate_type,
                aggregate_id: stream.aggregate_id.clone(),
                sequence,
                event_type,
                payload: staged.payload.clone(),
                metadata: staged.metadata.clone(),
                position: plan.position,
                event_id: staged.event_id,
                subject: staged.subject.clone(),
            });
        }
        if receipt.is_none() {
            receipt = Some(Receipt {
                id: stream.aggregate_id.clone(),
                version: stream.expected + i64::try_from(stream.events.len()).unwrap_or(i64::MAX),
                position: plan.position,
                events: stream
                    .events
                    .iter()
                    .map(|staged| staged.event.event_type().to_owned())
                    .collect(),
                created: stream.expected == 0,
            });
        }
    }
    receipt
}

/// Folds a unit's events into the rows it touches, with the positions they will have.
fn fold_unit(unit: &Prepared, first: i64, recorded_at: i64, rows: &mut Rows, plan: &mut Plan) {
    let mut position = first;
    for stream in &unit.streams {
        for (sequence, staged) in (stream.expected + 1..).zip(&stream.events) {
            let place = Place {
                aggregate_id: &stream.aggregate_id,
                subject: &staged.subject,
                event_id: staged.event_id,
                sequence,
                position,
                at: Timestamp::from_micros(recorded_at),
                ip: staged.ip.as_deref(),
                user_agent: staged.user_agent.as_deref(),
            };
            if let Some(erased) = rows.fold(&place, &staged.event) {
                plan.erase.push(erased);
            }
            position += 1;
        }
    }
}

/// Where an event stands, for the folds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub aggregate_id: &'a str,
    pub subject: &'a str,
    pub event_id: Uuid,
    pub sequence: i64,
    pub position: i64,
    pub at: Timestamp,
    pub ip: Option<&'a str>,
    pub user_agent: Option<&'a str>,
}

impl<'a> Place<'a> {
    fn recorded<E>(&self, event: &'a E) -> Recorded<'a, E> {
        Recorded {
            event,
            aggregate_id: self.aggregate_id,
            event_id: self.event_id,
            sequence: self.sequence,
            position: self.position,
            at: self.at,
            ip: self.ip,
            user_agent: self.user_agent,
        }
    }
}

impl Rows {
    /// Folds one event. Gives back the user it erases, if it does.
    ///
    /// The append and the rebuild both come through here: there is no other way into a read model.
    pub(super) fn fold(&mut self, place: &Place<'_>, event: &AnyEvent) -> Option<Uuid> {
        match event {
            AnyEvent::User(event) => {
                let id = Uuid::parse_str(place.aggregate_id).ok()?;
                let recorded = place.recorded(event);
                put(&mut self.users, id, |row| UserRow::fold(row, &recorded));
                if let Some(key) = api_key_of(event) {
                    put(&mut self.api_keys, key, |row| ApiKeyRow::fold(row, &recorded));
                }
                if matches!(event, UserEvent::Erased {} | UserEvent::Expired {}) {
                    self.api_keys.retain(|_, row| row.user_id != id);
                    self.sessions.retain(|_, row| row.user_id != id);
                    return Some(id);
                }
            }
            AnyEvent::Session(event) => {
                let id = Uuid::parse_str(place.aggregate_id).ok()?;
                let recorded = place.recorded(event);
                put(&mut self.sessions, id, |row| SessionRow::fold(row, &recorded));
                if matches!(
                    event,
                    SessionEvent::Started { .. } | SessionEvent::Ended { all: true, .. }
                ) {
                    let user = Uuid::parse_str(place.subject).ok()?;
                    put(&mut self.users, user, |row| UserRow::fold_session(row, &recorded));
                }
            }
            AnyEvent::Domain(event) => {
                let recorded = place.recorded(event);
                put(&mut self.domains, place.aggregate_id.to_owned(), |row| {
                    DomainRow::fold(row, &recorded)
                });
                if let Some(address) = address_of(event) {
                    put(&mut self.addresses, address, |row| {
                        BlockedAddressRow::fold(row, &recorded)
                    });
                }
            }
            AnyEvent::Audit(_) => {}
        }
        None
    }

    /// The rows a unit may change, on their own.
    fn clone_for(&self, unit: &Prepared) -> Self {
        let wanted = wanted(std::iter::once(unit));
        let pick_uuid = |ids: &BTreeSet<Uuid>| ids.clone();
        let users = pick_uuid(&wanted.users);
        Self {
            users: users
                .iter()
                .filter_map(|id| Some((*id, self.users.get(id)?.clone())))
                .collect(),
            sessions: wanted
                .sessions
                .iter()
                .filter_map(|id| Some((*id, self.sessions.get(id)?.clone())))
                .collect(),
            domains: wanted
                .domains
                .iter()
                .filter_map(|n| Some((n.clone(), self.domains.get(n)?.clone())))
                .collect(),
            api_keys: wanted
                .api_keys
                .iter()
                .filter_map(|id| Some((*id, self.api_keys.get(id)?.clone())))
                .collect(),
            addresses: wanted
                .addresses
                .iter()
                .filter_map(|a| Some((a.clone(), self.addresses.get(a)?.clone())))
                .collect(),
        }
    }

    fn replace(&mut self, before: &Self, after: Self) {
        fn swap<K: Ord, V>(all: &mut BTreeMap<K, V>, before: &BTreeMap<K, V>, after: BTreeMap<K, V>) {
            for key in before.keys() {
                all.remove(key);
            }
            all.extend(after);
        }
        swap(&mut self.users, &before.users, after.users);
        swap(&mut self.sessions, &before.sessions, after.sessions);
        swap(&mut self.domains, &before.domains, after.domains);
        swap(&mut self.api_keys, &before.api_keys, after.api_keys);
        swap(&mut self.addresses, &before.addresses, after.addresses);
    }
}

impl Changes {
    /// Notes the rows (other than users) that a unit changed or deleted.
    fn note(&mut self, before: &Rows, after: &Rows, unit: &Prepared) {
        fn diff<K: Ord + Clone, V: Clone + PartialEq>(
            changes: &mut BTreeMap<K, Option<V>>,
            before: &BTreeMap<K, V>,
            after: &BTreeMap<K, V>,
        ) {
            for key in before.keys().chain(after.keys()) {
                if before.get(key) != after.get(key) {
                    changes.insert(key.clone(), after.get(key).cloned());
                }
            }
        }
        if unit.streams.is_empty() {
            return;
        }
        diff(&mut self.sessions, &before.sessions, &after.sessions);
        diff(&mut self.domains, &before.domains, &after.domains);
        diff(&mut self.api_keys, &before.api_keys, &after.api_keys);
        diff(&mut self.addresses, &before.addresses, &after.addresses);
    }
}

fn put<K: Ord, V>(rows: &mut BTreeMap<K, V>, key: K, fold: impl FnOnce(Option<V>) -> Option<V>) {
    let row = rows.remove(&key);
    if let Some(row) = fold(row) {
        rows.insert(key, row);
    }
}
