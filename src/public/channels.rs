//! What there is to hear and how, as one `AsyncAPI` 3 document: made of the kinds, so that it cannot say anything else.

use serde_json::{Map, Value, json};

use super::kinds::{KINDS, Kind};
use super::messages::{Told, forms, message, page};
use super::personal;
use crate::config::{AmqpMode, Config};
use crate::follow::amqp::BrokerAddress;

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
    let mut messages: Map<String, Value> = KINDS
        .iter()
        .flat_map(|kind| {
            [(kind.name.to_owned(), message(kind))]
                .into_iter()
                .chain(forms(kind, Told::Facts))
        })
        .chain([("page".to_owned(), page())])
        .collect();
    if !config.amqp.pii_exchange.is_empty() {
        messages.extend(personal::kinds().flat_map(|kind| forms(kind, Told::Person)));
    }
    let broker = config
        .amqp_url
        .as_ref()
        .and_then(|url| BrokerAddress::parse(url.expose()).ok());
    let encrypted = broker.as_ref().is_some_and(BrokerAddress::is_encrypted);
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
                "protocol": if encrypted { "amqps" } else { "amqp" },
                "protocolVersion": "0.9.1",
                "description": "The broker that the registry publishes to, where its operator has set one.",
                "variables": { "broker": { "default": "localhost:5672", "description": "Where the broker is." } },
                "security": [{ "$ref": "#/components/securitySchemes/broker" }],
            },
        },
        "channels": channels(config, broker.as_ref().map_or("/", BrokerAddress::vhost)),
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

/// References to kinds in both forms, each under its own name.
fn both_forms<'a>(kinds: impl Iterator<Item = &'a Kind>, told: Told) -> Map<String, Value> {
    kinds
        .flat_map(|kind| {
            let component = format!("{}{}", kind.name, told.word());
            [(AmqpMode::Binary, "message"), (AmqpMode::Structured, "structured")].map(|(mode, form)| {
                let name = format!("{}{}", kind.name, suffix(mode));
                (name, reference(&format!("{component}.{form}")))
            })
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

/// A topic exchange of the broker, with the messages that it carries.
fn exchange<'a>(
    (name, vhost): (&str, &str),
    title: &str,
    about: &str,
    kinds: impl Iterator<Item = &'a Kind> + Clone,
    told: Told,
) -> Value {
    json!({
        "address": "{type}",
        "title": title,
        "description": about,
        "servers": [{ "$ref": "#/servers/broker" }],
        "parameters": {
            "type": {
                "description": "The event's type.",
                "enum": kinds.clone().map(|kind| kind.name).collect::<Vec<_>>(),
            },
        },
        "messages": both_forms(kinds, told),
        "bindings": {
            "amqp": {
                "is": "routingKey",
                "exchange": { "name": name, "type": "topic", "durable": true, "autoDelete": false, "vhost": vhost },
                "bindingVersion": "0.3.0",
            },
        },
    })
}

fn channels(config: &Config, vhost: &str) -> Value {
    let amqp = &config.amqp;
    let mut channels = json!({
        "exchange": exchange(
            (&amqp.exchange, vhost),
            "The exchange",
            "A topic exchange; the routing key is the event's type, so that `user.*` is bound to hear of users. Messages \
                are persistent and come at least once, those of one account in order. `message_id` is the event's id. A \
                consumer that counts `position` sees what it has had already and what it has missed. Each event has two \
                forms, of which the operator chooses one (`amqp.mode`): in binary mode the attributes are headers and \
                the body is `data`, in structured mode (`….structured`) the body is the whole document, as on the \
                stream. The operation `publish` names those that are sent here; the content type tells them apart. \
                Personal data is not on it: where the operator has switched that on (`amqp.pii_exchange`), it has a \
                channel of its own here, `personal`.",
            KINDS.iter(),
            Told::Facts,
        ),
        "replay": exchange(
            (&amqp.replay_exchange, vhost),
            "The exchange of what is published again",
            "A topic exchange for whoever has missed something: `user-registry publish --from N --to M` publishes these \
                positions to it once more. Each message is the one that the exchange carried, with the same \
                `message_id`, position and routing key. Bind the same queue to it.",
            KINDS.iter(),
            Told::Facts,
        ),
        "stream": {
            "address": "/v1/events/stream",
            "title": "The stream",
            "description": "Server-sent events: `id` is the position, `event` the type, `data` the document. A reader \
                that comes back with `Last-Event-ID` goes on after it. A comment tells the position at least every ten \
                seconds.",
            "servers": [{ "$ref": "#/servers/service" }],
            "messages": KINDS.iter().map(|kind| (kind.name.to_owned(), reference(kind.name))).collect::<Map<_, _>>(),
        },
        "feed": {
            "address": "/v1/events",
            "title": "The feed",
            "description": "Pages of events after a position, to be asked for; with `wait` the answer comes when there \
                is an event. `next` of a page is where the following one begins.",
            "servers": [{ "$ref": "#/servers/service" }],
            "messages": { "page": reference("page") },
        },
    });
    if !amqp.pii_exchange.is_empty() {
        channels["personal"] = exchange(
            (&amqp.pii_exchange, vhost),
            "The exchange with personal data",
            "A topic exchange for services that must have it, switched on by the operator: of the events that set \
                address, number or name of a person it carries just these, in place of the facts, under the same id, \
                position and routing key. Whoever listens to it must forget a person on `user.erased` and \
                `user.expired`, which come here too. Positions have holes by themselves here.",
            personal::kinds(),
            Told::Person,
        );
    }
    channels
}

/// What is sent to an exchange, in the mode that is set.
fn sends<'a>(config: &Config, channel: &str, summary: &str, kinds: impl Iterator<Item = &'a Kind>) -> Value {
    let mode = config.amqp.mode;
    let sent = kinds
        .map(|kind| json!({ "$ref": format!("#/channels/{channel}/messages/{}{}", kind.name, suffix(mode)) }))
        .collect::<Vec<_>>();
    let how = match mode {
        AmqpMode::Binary => "binary",
        AmqpMode::Structured => "structured",
    };
    json!({
        "action": "send",
        "channel": { "$ref": format!("#/channels/{channel}") },
        "summary": format!("{summary}, in {how} mode."),
        "messages": sent,
        "bindings": { "amqp": { "deliveryMode": 2, "timestamp": true, "ack": true, "bindingVersion": "0.3.0" } },
    })
}

fn operations(config: &Config) -> Value {
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
    let mut operations = json!({
        "publish": sends(config, "exchange", "Publishes every event", KINDS.iter()),
        "republish": sends(config, "replay", "Publishes a range of events once more, when it is told to", KINDS.iter()),
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
    });
    if !config.amqp.pii_exchange.is_empty() {
        let summary = "Publishes what is told of people to those who must have it";
        operations["publishPersonal"] = sends(config, "personal", summary, personal::kinds());
    }
    operations
}
