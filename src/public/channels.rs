//! What there is to hear and how, as one `AsyncAPI` 3 document: made of the kinds, so that it cannot say anything else.

use serde_json::{Map, Value, json};

use super::SOURCE;
use super::kinds::{KINDS, Kind};
use super::schema::{envelope, facts};
use crate::config::{AmqpMode, Config};

/// The content type of a message whose body is the whole document.
pub const STRUCTURED: &str = "application/cloudevents+json; charset=utf-8";

/// The version of the document: that of the API, not of the program.
const VERSION: &str = "1.0.0";

const ABOUT: &str = "What happens in the registry, for other services: who may sign in and which domains may register. \
    Each event is a CloudEvents 1.0 document of facts without personal data, the same on every channel. `position` \
    numbers the events of the log 1, 2, 3 and so on without a gap, `sequence` those of one account, session or domain; \
    `id` is the event's own, and a repeat has the same. A type or field, once published, never changes its meaning; \
    fields may be added, so a consumer must bear those it does not know.";

/// The document, as this configuration makes it.
#[must_use]
pub fn asyncapi(config: &Config) -> Value {
    let messages: Map<String, Value> = KINDS
        .iter()
        .flat_map(|kind| {
            [
                (kind.name.to_owned(), message(kind)),
                (format!("{}.message", kind.name), broker_message(kind)),
                (format!("{}.structured", kind.name), structured_message(kind)),
            ]
        })
        .chain([("page".to_owned(), page())])
        .collect();
    let (protocol, host) = service(config);
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "User and domain registry: events",
            "version": VERSION,
            "description": ABOUT,
            "license": { "name": "Apache-2.0" },
        },
        "defaultContentType": "application/json",
        "servers": {
            "service": {
                "host": host,
                "protocol": protocol,
                "description": "The registry itself. Subscribers, auditors and administrators may read, best with an API key.",
                "security": [{ "$ref": "#/components/securitySchemes/bearer" }],
            },
            "broker": {
                "host": "{broker}",
                "protocol": "amqp",
                "protocolVersion": "0.9.1",
                "description": "The broker that the registry publishes to, where its operator has set one.",
                "variables": { "broker": { "default": "localhost:5672", "description": "Where the broker is." } },
                "security": [{ "$ref": "#/components/securitySchemes/broker" }],
            },
        },
        "channels": channels(config),
        "operations": operations(config),
        "components": {
            "messages": messages,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key (`urk_…`) or an access token.",
                },
                "broker": { "type": "userPassword", "description": "An account of the broker." },
            },
        },
    })
}

/// Where the registry is: its public address, or where it listens.
fn service(config: &Config) -> (&'static str, String) {
    match config.public_url.as_deref().and_then(|url| url.split_once("://")) {
        Some(("https", host)) => ("https", host.to_owned()),
        Some((_, host)) => ("http", host.to_owned()),
        None => ("http", config.http.listen.to_string()),
    }
}

/// References to all kinds in a form, each under its own name and `suffix`.
fn every_kind(suffix: &str, form: &str) -> Map<String, Value> {
    KINDS
        .iter()
        .map(|kind| {
            (
                format!("{}{suffix}", kind.name),
                reference(&format!("{}{form}", kind.name)),
            )
        })
        .collect()
}

/// What a message of the exchange is called there, in a mode.
const fn suffix(mode: AmqpMode) -> &'static str {
    match mode {
        AmqpMode::Binary => "",
        AmqpMode::Structured => ".structured",
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/messages/{name}") })
}

fn channels(config: &Config) -> Value {
    let mut forms = every_kind(suffix(AmqpMode::Binary), ".message");
    forms.append(&mut every_kind(suffix(AmqpMode::Structured), ".structured"));
    json!({
        "exchange": {
            "address": "{type}",
            "title": "The exchange",
            "description": "A topic exchange; the routing key is the event's type, so that `user.*` is bound to hear of \
                users. Messages are persistent and come at least once, those of one account in order. `message_id` is \
                the event's id. A consumer that counts `position` sees what it has had already and what it has missed. \
                Each event has two forms, of which the operator chooses one (`amqp.mode`): in binary mode the \
                attributes are headers and the body is `data`, in structured mode (`….structured`) the body is the \
                whole document, as on the stream. The operation `publish` names those that are sent here; the content \
                type tells them apart.",
            "servers": [{ "$ref": "#/servers/broker" }],
            "parameters": {
                "type": {
                    "description": "The event's type.",
                    "enum": KINDS.iter().map(|kind| kind.name).collect::<Vec<_>>(),
                },
            },
            "messages": forms,
            "bindings": {
                "amqp": {
                    "is": "routingKey",
                    "exchange": {
                        "name": config.amqp.exchange, "type": "topic", "durable": true, "autoDelete": false, "vhost": "/",
                    },
                    "bindingVersion": "0.3.0",
                },
            },
        },
        "stream": {
            "address": "/v1/events/stream",
            "title": "The stream",
            "description": "Server-sent events: `id` is the position, `event` the type, `data` the document. A reader \
                that comes back with `Last-Event-ID` goes on after it. A comment tells the position at least every ten \
                seconds.",
            "servers": [{ "$ref": "#/servers/service" }],
            "messages": every_kind("", ""),
        },
        "feed": {
            "address": "/v1/events",
            "title": "The feed",
            "description": "Pages of events after a position, to be asked for; with `wait` the answer comes when there \
                is an event. `next` of a page is where the following one begins.",
            "servers": [{ "$ref": "#/servers/service" }],
            "messages": { "page": reference("page") },
        },
    })
}

fn operations(config: &Config) -> Value {
    let sent: Vec<Value> = KINDS
        .iter()
        .map(
            |kind| json!({ "$ref": format!("#/channels/exchange/messages/{}{}", kind.name, suffix(config.amqp.mode)) }),
        )
        .collect();
    let types = json!({
        "type": "string",
        "description": "Types with commas between them; `user.*` stands for all of `user`, `*` for all.",
    });
    let after = json!({ "type": "integer", "format": "int64", "minimum": 0, "description": "The position after which to begin." });
    let query = |properties: Value| {
        json!({
            "http": {
                "method": "GET",
                "query": { "type": "object", "properties": properties },
                "bindingVersion": "0.3.0",
            },
        })
    };
    json!({
        "publish": {
            "action": "send",
            "channel": { "$ref": "#/channels/exchange" },
            "summary": match config.amqp.mode {
                AmqpMode::Binary => "Publishes every event, in binary mode.",
                AmqpMode::Structured => "Publishes every event, in structured mode.",
            },
            "messages": sent,
            "bindings": { "amqp": { "deliveryMode": 2, "timestamp": true, "ack": true, "bindingVersion": "0.3.0" } },
        },
        "stream": {
            "action": "send",
            "channel": { "$ref": "#/channels/stream" },
            "summary": "Sends every event that is wanted, from a position on and for as long as the connection stands.",
            "bindings": query(json!({ "after": after, "types": types })),
        },
        "pull": {
            "action": "send",
            "channel": { "$ref": "#/channels/feed" },
            "summary": "Answers with the events after a position.",
            "bindings": query(json!({
                "after": after,
                "types": types,
                "limit": { "type": "integer", "minimum": 1, "maximum": 1000, "default": 100 },
                "wait": { "type": "integer", "minimum": 0, "maximum": 30, "default": 0 },
            })),
        },
    })
}

fn message(kind: &Kind) -> Value {
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
fn structured_message(kind: &Kind) -> Value {
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
        "payload": envelope(Some(kind)),
        "bindings": { "amqp": { "messageType": kind.name, "bindingVersion": "0.3.0" } },
    })
}

/// An event as a message of the broker: the AMQP binding of `CloudEvents` in its binary mode.
fn broker_message(kind: &Kind) -> Value {
    let number = number();
    let document = envelope(Some(kind));
    let of = |name: &str| document["properties"][name].clone();
    json!({
        "name": kind.name,
        "title": kind.name,
        "summary": kind.about,
        "contentType": "application/json",
        "correlationId": {
            "description": "The request that led to it.",
            "location": "$message.header#/cloudEvents_correlationid",
        },
        "headers": {
            "type": "object",
            "properties": {
                "cloudEvents_specversion": { "const": "1.0" },
                "cloudEvents_id": of("id"),
                "cloudEvents_source": { "const": SOURCE },
                "cloudEvents_type": { "const": kind.name },
                "cloudEvents_subject": of("subject"),
                "cloudEvents_time": of("time"),
                "cloudEvents_dataschema": of("dataschema"),
                "cloudEvents_correlationid": of("correlationid"),
                "cloudEvents_position": number,
                "cloudEvents_sequence": number,
                "position": number,
                "sequence": number,
                "traceparent": traceparent(),
            },
            "required": [
                "cloudEvents_specversion", "cloudEvents_id", "cloudEvents_source", "cloudEvents_type",
                "cloudEvents_subject", "cloudEvents_time", "cloudEvents_dataschema", "cloudEvents_position",
                "cloudEvents_sequence", "position", "sequence",
            ],
        },
        "payload": facts(kind),
        "bindings": { "amqp": { "messageType": kind.name, "bindingVersion": "0.3.0" } },
    })
}

fn page() -> Value {
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
