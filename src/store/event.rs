//! Events of any aggregate, and how one is written and opened.

use aggregates::event::{Kind, Level, Recordable};
use aggregates::{audit, domain, session, user};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::StoreError;
use crate::chance::Chance;
use crate::keys::{DataKey, Seal, SealError, SealedIdentity};

/// The member of a payload that holds what is sealed: scope → `{"fields":[…],"v":"…"}`.
pub(super) const SEALED: &str = "sealed";

/// An event of one of our aggregates.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "most events are of users")]
pub enum AnyEvent {
    /// Of a user.
    User(user::UserEvent),
    /// Of a session.
    Session(session::SessionEvent),
    /// Of a domain.
    Domain(domain::DomainEvent),
    /// Of a reader.
    Audit(audit::AuditEvent),
}

impl AnyEvent {
    /// Reads the opened payload of an event of this kind of stream.
    pub fn parse(aggregate_type: &str, payload: Value) -> Result<Self, serde_json::Error> {
        Self::read(aggregate_type, payload)
    }

    /// Reads the payload of an event as it is stored: what is sealed in it stays unknown.
    pub fn parse_closed(aggregate_type: &str, payload: &str) -> Result<Self, serde_json::Error> {
        Self::read(aggregate_type, &mut serde_json::Deserializer::from_str(payload))
    }

    fn read<'de, D>(aggregate_type: &str, payload: D) -> Result<Self, serde_json::Error>
    where
        D: serde::Deserializer<'de, Error = serde_json::Error>,
    {
        use serde::Deserialize as _;
        use serde::de::Error as _;
        match aggregate_type {
            "user" => user::UserEvent::deserialize(payload).map(Self::User),
            "session" => session::SessionEvent::deserialize(payload).map(Self::Session),
            "domain" => domain::DomainEvent::deserialize(payload).map(Self::Domain),
            "audit" => audit::AuditEvent::deserialize(payload).map(Self::Audit),
            _ => Err(serde_json::Error::custom("no such kind of stream")),
        }
    }

    /// What happened, such as `user.registered`.
    #[must_use]
    pub fn event_type(&self) -> &'static str {
        match self {
            Self::User(event) => event.kind().name,
            Self::Session(event) => event.kind().name,
            Self::Domain(event) => event.kind().name,
            Self::Audit(event) => event.kind().name,
        }
    }
}

/// Every kind of event there is.
pub fn event_kinds() -> impl Iterator<Item = &'static Kind> {
    [
        user::UserEvent::KINDS,
        session::SessionEvent::KINDS,
        domain::DomainEvent::KINDS,
        audit::AuditEvent::KINDS,
    ]
    .into_iter()
    .flatten()
}

/// What every kind of event of a kind of stream, and each of its fields, means, by type.
#[must_use]
pub fn event_meanings(aggregate_type: &str) -> Value {
    let of_stream = |kind: &&Kind| kind.name.split('.').next() == Some(aggregate_type);
    let kinds = event_kinds().filter(of_stream).map(|kind| {
        let fields = kind.fields.iter().zip(kind.meanings);
        let fields: Members = fields
            .map(|((name, _), meaning)| ((*name).to_owned(), meaning.trim().into()))
            .collect();
        let meaning = serde_json::json!({ "means": kind.about.trim(), "fields": fields });
        (kind.name.to_owned(), meaning)
    });
    Value::Object(kinds.collect())
}

macro_rules! any_event {
    ($($variant:ident($event:ty)),+) => {
        $(impl From<$event> for AnyEvent {
            fn from(event: $event) -> Self {
                Self::$variant(event)
            }
        })+
    };
}
any_event!(
    User(user::UserEvent),
    Session(session::SessionEvent),
    Domain(domain::DomainEvent),
    Audit(audit::AuditEvent)
);

/// Which row of the log a payload stands in, scope left open.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// Kind of the stream.
    pub aggregate_type: &'a str,
    /// The stream.
    pub aggregate_id: &'a str,
    /// Number in the stream.
    pub sequence: i64,
    /// What happened.
    pub event_type: &'a str,
    /// The event.
    pub event_id: Uuid,
}

impl<'a> Row<'a> {
    /// The identity that a sealed part of this row is bound to.
    #[must_use]
    pub fn scope(&self, scope: &'a str) -> SealedIdentity<'a> {
        SealedIdentity {
            aggregate_type: self.aggregate_type,
            aggregate_id: self.aggregate_id,
            sequence: self.sequence,
            event_type: self.event_type,
            event_id: self.event_id,
            scope,
        }
    }
}

/// The members of a JSON object.
type Members = Map<String, Value>;

/// Takes the personal fields out of an event: the payload without them, and them alone by level.
pub fn divide<E: Recordable>(event: &E) -> Result<(Members, Vec<(Level, Members)>), StoreError> {
    let kind = event.kind();
    let Ok(Value::Object(mut plain)) = serde_json::to_value(event) else {
        return Err(StoreError::corrupt(
            "events",
            kind.name,
            "an event is not a JSON object",
        ));
    };
    let mut sealed: Vec<(Level, Map<String, Value>)> = Vec::new();
    for (field, level) in kind.fields {
        if *level == Level::Fact {
            continue;
        }
        // A raw identifier (`r#type`) would be written without its prefix; none of ours is one.
        if let Some((name, value)) = plain.remove_entry(*field) {
            match sealed.iter_mut().find(|(known, _)| known == level) {
                Some((_, fields)) => {
                    fields.insert(name, value);
                }
                None => sealed.push((*level, Map::from_iter([(name, value)]))),
            }
        }
    }
    Ok((plain, sealed))
}

/// Seals `fields` into `payload` under `key`.
pub fn seal_into(
    payload: &mut Map<String, Value>,
    fields: &Map<String, Value>,
    row: &Row<'_>,
    scope: &str,
    key: &DataKey,
    chance: &Chance,
) -> Result<(), StoreError> {
    let plain = zeroize::Zeroizing::new(
        serde_json::to_vec(fields).map_err(|problem| StoreError::corrupt("events", row.event_id, problem))?,
    );
    let text = Seal::new(key, row.event_id, scope)?.seal(&row.scope(scope), &plain, chance)?;
    let names: Vec<Value> = fields.keys().map(|name| Value::String(name.clone())).collect();
    let entry = Map::from_iter([
        ("fields".to_owned(), Value::Array(names)),
        ("v".to_owned(), Value::String(text)),
    ]);
    match payload.entry(SEALED).or_insert_with(|| Value::Object(Map::new())) {
        Value::Object(sealed) => {
            sealed.insert(scope.to_owned(), Value::Object(entry));
            Ok(())
        }
        _ => Err(StoreError::corrupt(
            "events",
            row.event_id,
            "a field of an event is called `sealed`",
        )),
    }
}

/// Puts the sealed fields of a payload back. `key` gives the data key of a scope, or none if it was destroyed.
///
/// Gives back whether anything was erased: such fields are simply absent.
pub fn open(
    payload: &mut Value,
    row: &Row<'_>,
    mut key: impl FnMut(&str) -> Result<Option<DataKey>, StoreError>,
) -> Result<bool, StoreError> {
    let broken = |problem: &str| StoreError::corrupt("events", row.event_id, problem);
    let Some(object) = payload.as_object_mut() else {
        return Err(broken("the payload is not an object"));
    };
    let Some(sealed) = object.remove(SEALED) else {
        return Ok(false);
    };
    let Value::Object(sealed) = sealed else {
        return Err(broken("`sealed` is not an object"));
    };
    let mut erased = false;
    for (scope, entry) in &sealed {
        let Some(key) = key(scope)? else {
            erased = true;
            continue;
        };
        let text = entry
            .get("v")
            .and_then(Value::as_str)
            .ok_or_else(|| broken("a sealed part has no text"))?;
        let plain = match Seal::new(&key, row.event_id, scope)?.open(&row.scope(scope), text) {
            Ok(plain) => plain,
            // The scope began anew, as that of an address that is blocked again: the key this was sealed with was
            // destroyed.
            Err(SealError::Key) => {
                erased = true;
                continue;
            }
            Err(problem) => return Err(problem.into()),
        };
        let fields: Map<String, Value> =
            serde_json::from_slice(&plain).map_err(|_| broken("a sealed part is not an object"))?;
        object.extend(fields);
    }
    Ok(erased)
}

/// The names of the fields that are sealed in a payload, whether or not their key is still there.
#[must_use]
pub fn sealed_fields(payload: &Value) -> Vec<String> {
    let Some(sealed) = payload.get(SEALED).and_then(Value::as_object) else {
        return Vec::new();
    };
    sealed
        .values()
        .filter_map(|entry| entry.get("fields").and_then(Value::as_array))
        .flatten()
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect()
}

/// The scopes a payload has sealed parts of.
#[must_use]
pub fn scopes(payload: &Value) -> Vec<String> {
    let sealed = payload.get(SEALED).and_then(Value::as_object);
    sealed
        .map(|sealed| sealed.keys().cloned().collect())
        .unwrap_or_default()
}

/// What may be said of an opened payload that makes no sense: serde's own words would quote what was sealed.
pub(super) fn unreadable(problem: &serde_json::Error) -> String {
    format!("an opened payload does not fit its event ({:?})", problem.classify())
}
