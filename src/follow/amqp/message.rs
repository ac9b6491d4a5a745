//! From a `CloudEvent` to a message, as the AMQP binding of `CloudEvents` says.
//!
//! In binary mode the attributes are headers that begin with `cloudEvents_` (the form that clients may use which cannot
//! have a colon in a name) and the data is the body; in structured mode the whole document is the body. Numbers are
//! 64-bit either way.

use aggregates::values::Timestamp;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use crate::config::AmqpMode;
use crate::public::{CloudEvent, Person, STRUCTURED};

/// Kept on disk by the broker.
const PERSISTENT: u8 = 2;
/// What is published says whose it is.
const APP: &str = "user-registry";

/// A message that is ready to leave.
#[derive(Debug)]
pub(super) struct Message {
    pub routing_key: &'static str,
    pub properties: BasicProperties,
    pub body: Vec<u8>,
}

impl Message {
    /// What everybody may hear. `parent` is the trace that the event belongs to (`traceparent`).
    pub fn public(event: &CloudEvent, parent: Option<&str>, mode: AmqpMode) -> Self {
        let schema = Some(event.dataschema.as_str());
        // Numbers, texts and lists of them: writing these into memory cannot fail.
        let body = match mode {
            AmqpMode::Binary => serde_json::to_vec(&event.data).unwrap_or_default(),
            AmqpMode::Structured => event.to_json(),
        };
        Self::new(event, schema, body, parent, mode)
    }

    /// The same event with what it tells of a person instead of the facts.
    pub fn personal(event: &CloudEvent, person: &Person, parent: Option<&str>, mode: AmqpMode) -> Self {
        let body = match mode {
            AmqpMode::Binary => serde_json::to_vec(person),
            AmqpMode::Structured => serde_json::to_value(event).and_then(|mut document| {
                document["data"] = serde_json::to_value(person)?;
                if let Some(members) = document.as_object_mut() {
                    // It is the schema of the facts.
                    members.remove("dataschema");
                }
                serde_json::to_vec(&document)
            }),
        };
        Self::new(event, None, body.unwrap_or_default(), parent, mode)
    }

    fn new(event: &CloudEvent, schema: Option<&str>, body: Vec<u8>, parent: Option<&str>, mode: AmqpMode) -> Self {
        let mut headers = FieldTable::default();
        let mut text = |name: &str, value: &str| {
            headers.insert(name.into(), AMQPValue::LongString(value.into()));
        };
        let id = event.id.to_string();
        let binary = mode == AmqpMode::Binary;
        if binary {
            text("cloudEvents_specversion", event.specversion);
            text("cloudEvents_id", &id);
            text("cloudEvents_source", event.source);
            text("cloudEvents_type", event.kind);
            text("cloudEvents_subject", &event.subject);
            text("cloudEvents_time", &event.time.to_string());
            if let Some(schema) = schema {
                text("cloudEvents_dataschema", schema);
            }
            if let Some(request) = &event.correlationid {
                text("cloudEvents_correlationid", request);
            }
        }
        if let Some(parent) = parent {
            text("traceparent", parent);
        }
        let mut number = |name: &str, value: i64| {
            headers.insert(name.into(), AMQPValue::LongLongInt(value));
        };
        number("position", event.position);
        number("sequence", event.sequence);
        if binary {
            number("cloudEvents_position", event.position);
            number("cloudEvents_sequence", event.sequence);
        }
        let content_type = if binary { event.datacontenttype } else { STRUCTURED };
        let mut properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_content_type(content_type.into())
            .with_message_id(id.into())
            .with_type(event.kind.into())
            .with_app_id(APP.into())
            .with_timestamp(seconds(event.time))
            .with_headers(headers);
        if let Some(request) = &event.correlationid {
            properties = properties.with_correlation_id(short(request));
        }
        Self {
            routing_key: event.kind,
            properties,
            body,
        }
    }
}

/// The protocol's own time knows whole seconds only; the exact one stands in the document.
fn seconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_micros() / 1_000_000).unwrap_or_default()
}

/// A text as the protocol has it in properties: at most 255 bytes.
fn short(text: &str) -> ShortString {
    let end = (0..=text.len().min(255)).rev().find(|end| text.is_char_boundary(*end));
    text[..end.unwrap_or_default()].into()
}
