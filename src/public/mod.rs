//! What others hear: the public form of every event, as a `CloudEvents` 1.0 document.
//!
//! It is a contract of its own, not the stored event: each kind has a type of its own here that holds facts and nothing
//! about a person. AMQP, the feed and its stream all carry the document that [`Public::event`] makes, so that whoever
//! hears of an event twice hears the same. A type or a field, once published, never changes its meaning: what must
//! change gets the next version.

mod channels;
mod data;
pub mod kinds;
mod messages;
mod patterns;
mod personal;
mod schema;

use std::borrow::Cow;

use aggregates::values::{AccountStatus, Dialect, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use channels::asyncapi;
pub use kinds::{Data, Fact, KINDS, Kind, kind};
pub use messages::STRUCTURED;
pub use patterns::{PatternError, Types};
pub(crate) use personal::{Person, concerns};
pub use schema::{envelope, schema};

use crate::store::{AnyEvent, EventRecord, StoreError};

/// Where the events come from.
pub const SOURCE: &str = "/registry";

/// A public event, as it is sent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CloudEvent {
    /// Version of the envelope.
    pub specversion: &'static str,
    /// The event.
    pub id: Uuid,
    /// Where it comes from.
    pub source: &'static str,
    /// What happened, such as `user.registered`; also the routing key.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Whom it is about: a user's id, or a domain's name.
    pub subject: String,
    /// When it was recorded.
    pub time: Timestamp,
    /// Of `data`.
    pub datacontenttype: &'static str,
    /// Where the schema of `data` stands.
    pub dataschema: String,
    /// Number in the log.
    pub position: i64,
    /// Number in its stream.
    pub sequence: i64,
    /// The request that led to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlationid: Option<String>,
    /// The facts.
    pub data: Data,
}

impl CloudEvent {
    /// The document's text.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        // Numbers, texts and lists of them: writing these into memory cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// What the metadata of an event says that others may know.
#[derive(Deserialize)]
struct Told<'a> {
    dialect: Dialect,
    #[serde(borrow)]
    request_id: Option<Cow<'a, str>>,
    status: Option<AccountStatus>,
}

/// Makes public events of recorded ones.
#[derive(Debug, Clone, Default)]
pub struct Public {
    base: String,
}

impl Public {
    /// `public_url` is what the address of a schema begins with, so that it is a whole one, as `CloudEvents` asks.
    /// Without one it is a path of the service, the same on every replica.
    #[must_use]
    pub fn new(public_url: Option<&str>) -> Self {
        Self {
            base: public_url.unwrap_or_default().to_owned(),
        }
    }

    /// The public form of an event. What is sealed in it is not opened: no key is needed, and nothing of it can get out.
    pub fn event(&self, record: &EventRecord) -> Result<CloudEvent, StoreError> {
        // Serde's own words would quote what is stored.
        let corrupt = |problem: serde_json::Error| {
            let what = format!("it does not fit its kind ({:?})", problem.classify());
            StoreError::corrupt("events", record.position, what)
        };
        let event = AnyEvent::parse_closed(&record.aggregate_type, &record.payload).map_err(corrupt)?;
        let told: Told<'_> = serde_json::from_str(&record.metadata).map_err(corrupt)?;
        let about = data::About {
            dialect: told.dialect,
            status: told.status,
            stream: &record.aggregate_id,
        };
        let data = data::of(&event, &about)
            .ok_or_else(|| StoreError::corrupt("events", record.position, "the stream's id is none of its kind"))?;
        let kind = data.kind();
        Ok(CloudEvent {
            specversion: "1.0",
            id: record.event_id,
            source: SOURCE,
            kind: kind.name,
            subject: record.subject.clone(),
            time: record.recorded_at,
            datacontenttype: "application/json",
            dataschema: format!("{}{}", self.base, kind.schema_path()),
            position: record.position,
            sequence: record.sequence,
            correlationid: told.request_id.filter(|id| !id.is_empty()).map(Cow::into_owned),
            data,
        })
    }
}

#[cfg(test)]
mod tests;
