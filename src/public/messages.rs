//! The messages of the `AsyncAPI` document: an event in each of the forms it is sent in, and a page of the feed.

use serde_json::{Value, json};

use super::kinds::{KINDS, Kind};
use super::personal;
use super::schema::envelope;

/// The content type of a message whose body is the whole document.
pub const STRUCTURED: &str = "application/cloudevents+json; charset=utf-8";

/// What the data of an event is, on a channel.
#[derive(Clone, Copy)]
pub(super) enum Told {
    /// What everybody may hear.
    Facts,
    /// Address, number and name.
    Person,
}

impl Told {
    /// What the name of a message says of it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Facts => "",
            Self::Person => ".personal",
        }
    }

    /// The whole document of a kind.
    fn document(self, kind: &Kind) -> Value {
        let mut document = envelope(Some(kind));
        if matches!(self, Self::Person) {
            document["properties"]["data"] = personal::schema();
            // It is the schema of the facts.
            if let Some(properties) = document["properties"].as_object_mut() {
                properties.remove("dataschema");
            }
            if let Some(required) = document["required"].as_array_mut() {
                required.retain(|name| name != "dataschema");
            }
        }
        document
    }
}

/// The two forms in which the broker has an event, each under its name among the components.
pub(super) fn forms(kind: &Kind, told: Told) -> [(String, Value); 2] {
    let name = format!("{}{}", kind.name, told.word());
    [
        (format!("{name}.message"), broker_message(kind, told)),
        (format!("{name}.structured"), structured_message(kind, told)),
    ]
}

/// An event as the stream has it: the whole document.
pub(super) fn message(kind: &Kind) -> Value {
    json!({
        "name": kind.name,
        "title": kind.name,
        "summary": kind.about,
        "contentType": "application/json",
        "correlationId": { "description": "The request that led to it.", "location": "$message.payload#/correlationid" },
        "payload": envelope(Some(kind)),
    })
}

/// A header that is a position or a sequence.
fn number() -> Value {
    json!({ "type": "integer", "format": "int64", "minimum": 1 })
}

/// The header of the trace that an event belongs to.
fn traceparent() -> Value {
    json!({
        "type": "string",
        "pattern": "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$",
        "description": "The trace that the request named (W3C Trace Context), if it named one.",
    })
}

/// An event as a message of the broker: the AMQP binding of `CloudEvents` in its structured mode.
fn structured_message(kind: &Kind, told: Told) -> Value {
    json!({
        "name": kind.name,
        "title": kind.name,
        "summary": kind.about,
        "contentType": STRUCTURED,
        "correlationId": { "description": "The request that led to it.", "location": "$message.payload#/correlationid" },
        "headers": {
            "type": "object",
            "properties": { "position": number(), "sequence": number(), "traceparent": traceparent() },
            "required": ["position", "sequence"],
        },
        "payload": told.document(kind),
        "bindings": { "amqp": { "messageType": kind.name, "bindingVersion": "0.3.0" } },
    })
}

/// An event as a message of the broker: the AMQP binding of `CloudEvents` in its binary mode.
fn broker_message(kind: &Kind, told: Told) -> Value {
    let document = told.document(kind);
    let mut headers = json!({
        "type": "object",
        "properties": { "position": number(), "sequence": number(), "traceparent": traceparent() },
        "required": ["position", "sequence"],
    });
    for (name, attribute) in document["properties"].as_object().into_iter().flatten() {
        // These two are the message's own content type and body.
        if !matches!(name.as_str(), "datacontenttype" | "data") {
            headers["properties"][format!("cloudEvents_{name}")] = attribute.clone();
        }
    }
    let required = document["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    let required = required.filter(|name| !matches!(*name, "datacontenttype" | "data"));
    if let Some(all) = headers["required"].as_array_mut() {
        all.extend(required.map(|name| format!("cloudEvents_{name}").into()));
    }
    json!({
        "name": kind.name,
        "title": kind.name,
        "summary": kind.about,
        "contentType": "application/json",
        "correlationId": {
            "description": "The request that led to it.",
            "location": "$message.header#/cloudEvents_correlationid",
        },
        "headers": headers,
        "payload": document["properties"]["data"],
        "bindings": { "amqp": { "messageType": kind.name, "bindingVersion": "0.3.0" } },
    })
}

/// A page of the feed.
pub(super) fn page() -> Value {
    let place = json!({ "type": "integer", "format": "int64", "minimum": 0 });
    let payloads = KINDS
        .iter()
        .map(|kind| json!({ "$ref": format!("#/components/messages/{}/payload", kind.name) }));
    json!({
        "name": "page",
        "title": "A page of the feed",
        "summary": "Events in the order of the log, where to go on, and where the log ends.",
        "contentType": "application/json",
        "payload": {
            "type": "object",
            "properties": {
                "events": { "type": "array", "items": { "oneOf": payloads.collect::<Vec<_>>() } },
                "next": place,
                "head": place,
            },
            "required": ["events", "next", "head"],
        },
    })
}
