//! The `OpenAPI` document: put together from the table of routes, the operations that stand beside the handlers, the
//! structs that are sent and the kinds of problem. Nothing of it is kept a second time.
//!
//! Each operation is declared where its API is (`operations()`); this module knows what all of them have in common.

mod events;
mod operation;
mod page;
mod problems;
mod service;
mod tokens;
mod values;

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::http::Method;
use serde_json::{Map, Value, json};

pub(in crate::http) use self::operation::{Fields, Operation};
pub(in crate::http) use self::page::page;
pub(in crate::http) use self::values::{Code, CurrentPassword, Empty, EventType, Identifier, NewPassword, Token, Word};
use super::routes::{Permission, ROUTES};
use super::{canonical, problem};
use crate::config::Config;
use crate::public;
pub(in crate::http) use crate::shape::{self, Absent, Body, Components, Listed, Shape, shape};
use operation::{Header, Sent};

/// The version of the document: that of the API, not of the program.
const VERSION: &str = "1.0.0";

const ABOUT: &str = "Accounts of people and the standing of their e-mail domains, kept as events.\n\n\
    Commands are `POST /v1/commands/…`; their answer is the receipt of what was appended, and every read made after it \
    shows its effect. Reads are `GET`. Times are RFC 3339 in UTC with microseconds, ids are UUIDs. A field or parameter \
    that is not known is refused, and all that is wrong with a request is told at once.\n\n\
    Errors are problem documents (RFC 9457); `type` is the path of the page that explains the kind, and `/problems` \
    lists them. A path that has no operation here is answered 404, a method a path does not have 405 with `Allow`. \
    Every answer carries `x-request-id`. A request may name the trace it belongs to (`traceparent`, W3C Trace Context).";

/// The document in the forms it is served in.
pub(in crate::http) struct Document {
    /// For programs.
    pub json: Bytes,
    /// What others can hear, for programs.
    pub channels: Bytes,
    /// To read.
    pub html: Bytes,
    /// Of access tokens.
    pub tokens: Bytes,
    /// Of events.
    pub events: Bytes,
}

impl Document {
    /// The document as this configuration makes it.
    pub fn new(config: &Config) -> Self {
        let document = document(config);
        Self {
            channels: public::asyncapi(config).to_string().into(),
            html: page::html(&document).into(),
            tokens: tokens::html(config).into(),
            events: events::html().into(),
            json: document.to_string().into(),
        }
    }
}

/// Every operation of every API.
fn operations() -> Vec<Operation> {
    let mut operations = canonical::operations();
    operations.extend(service::operations());
    operations
}

/// Every operation that is declared, by method and path.
#[must_use]
pub fn declared() -> Vec<(Method, &'static str)> {
    let operations = operations().into_iter();
    operations.map(|operation| (operation.method, operation.path)).collect()
}

/// The whole document, as this configuration makes it.
#[must_use]
pub fn document(config: &Config) -> Value {
    let mut named = Components::new();
    <problem::Document<'static> as Shape>::schema(&mut named);
    let mut tags: Vec<&str> = Vec::new();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for operation in operations() {
        let route = ROUTES
            .iter()
            .find(|route| route.method == operation.method && route.path == operation.path);
        // What is not in the table is not served; a test keeps the two alike.
        let Some(route) = route else { continue };
        if !tags.contains(&operation.tag) {
            tags.push(operation.tag);
        }
        paths.entry(operation.path).or_default().insert(
            operation.method.as_str().to_ascii_lowercase(),
            described(&operation, route.permission, config, &mut named),
        );
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "User and domain registry",
            "version": VERSION,
            "description": ABOUT,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "tags": tags.iter().map(|tag| json!({ "name": tag })).collect::<Value>(),
        "paths": paths,
        "components": {
            "schemas": named,
            "parameters": parameters(),
            "headers": headers(),
            "securitySchemes": {
                "accessToken": {
                    "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                    "description": "The access token of a sign-in. It lives ten minutes at most; see /docs/tokens.",
                },
                "apiKey": {
                    "type": "http", "scheme": "bearer", "bearerFormat": "urk_…",
                    "description": "An API key: the roles given to it, never more than its owner's.",
                },
            },
        },
    })
}

fn parameters() -> Value {
    json!({
        "Idempotency-Key": {
            "name": "Idempotency-Key", "in": "header", "required": false,
            "description": "The same key with the same body is answered as the first time, for 24 hours, and done once. \
                            With another body it is refused.",
            "schema": { "type": "string", "pattern": "^[!-~]{1,255}$" },
        },
        "Last-Event-ID": {
            "name": "Last-Event-ID", "in": "header", "required": false,
            "description": "The `id` of the last event that was received.",
            "schema": { "type": "string", "pattern": "^[0-9]{1,18}$" },
        },
        "If-Match": {
            "name": "If-Match", "in": "header", "required": false,
            "description": "A version in double quotes, as ETag gave it: refused when it is not the newest.",
            "schema": { "type": "string", "pattern": "^\"[0-9]+\"$" },
        },
    })
}

fn headers() -> Value {
    let text = |about: &str| json!({ "description": about, "schema": { "type": "string" } });
    json!({
        "x-request-id": {
            "description": "The request's id, as in the log and in the events it made.",
            "required": true,
            "schema": { "type": "string", "format": "uuid" },
        },
        "ETag": {
            "description": "The version, in double quotes.",
            "required": true,
            "schema": { "type": "string", "pattern": "^\"[0-9]+\"$" },
        },
        "Location": {
            "description": "Where what was created can be read. In strict mode a registration does not say.",
            "schema": { "type": "string" },
        },
        "Retry-After": {
            "description": "Seconds until it may work.",
            "required": true,
            "schema": { "type": "integer", "minimum": 1 },
        },
        "WWW-Authenticate": text("What to send: RFC 6750."),
        "RateLimit": {
            "description": "On limited routes: of each limit that counted the request, how many are left (`r`) and in how many \
                            seconds there are more (`t`).",
            "schema": { "type": "string", "pattern": "^(\"[a-z-]+\";r=[0-9]+;t=[0-9]+(, )?)+$" },
        },
        "RateLimit-Policy": {
            "description": "On limited routes: how many requests (`q`) in how many seconds (`w`) each of them allows.",
            "schema": { "type": "string", "pattern": "^(\"[a-z-]+\";q=[0-9]+;w=[0-9]+(, )?)+$" },
        },
    })
}

/// Who may, as a word and as a sentence.
fn who(permission: Permission, config: &Config) -> (&'static str, &'static str) {
    match permission {
        Permission::Public => ("public", "Anybody."),
        Permission::SignedIn => ("signed-in", "Anybody signed in, or a program with an API key."),
        Permission::Person => ("person", "Anybody signed in. No API key."),
        Permission::Subscriber => ("subscriber", "Subscribers, auditors and administrators."),
        Permission::Reader => ("reader", "Administrators and auditors."),
        Permission::Checker if config.registration.public_check => ("checker", "Anybody."),
        Permission::Checker => ("checker", "Administrators."),
        Permission::Admin => ("admin", "Administrators."),
    }
}

fn security(permission: Permission, config: &Config) -> Value {
    match permission {
        Permission::Public => json!([]),
        Permission::Checker if config.registration.public_check => json!([]),
        Permission::Person => json!([{ "accessToken": [] }]),
        Permission::SignedIn
        | Permission::Subscriber
        | Permission::Reader
        | Permission::Admin
        | Permission::Checker => {
            json!([{ "accessToken": [] }, { "apiKey": [] }])
        }
    }
}

fn described(operation: &Operation, permission: Permission, config: &Config, named: &mut Components) -> Value {
    let (word, who) = who(permission, config);
    let text = format!("{}\n\nWho: {who}", operation.text);
    let mut described = json!({
        "operationId": operation.id(),
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": text.trim(),
        "x-permission": word,
        "security": security(permission, config),
        "responses": answers(operation, permission, config, named),
    });
    let parameters = parameters_of(operation);
    if !parameters.is_empty() {
        described["parameters"] = parameters.into();
    }
    if let Some(sent) = &operation.sent {
        described["requestBody"] = body_of(sent, config);
    }
    described
}

fn parameters_of(operation: &Operation) -> Vec<Value> {
    let mut parameters = Vec::new();
    for (name, schema) in segments(operation.path) {
        parameters.push(json!({ "name": name, "in": "path", "required": true, "schema": schema }));
    }
    for parameter in &operation.parameters {
        let mut one = json!({
            "name": parameter.name, "in": "query", "required": parameter.required, "schema": parameter.schema,
        });
        if !parameter.about.is_empty() {
            one["description"] = parameter.about.into();
        }
        if !parameter.example.is_null() {
            one["example"] = parameter.example.clone();
        }
        parameters.push(one);
    }
    if operation.last_event_id {
        parameters.push(json!({ "$ref": "#/components/parameters/Last-Event-ID" }));
    }
    if operation.conditions {
        for name in ["Idempotency-Key", "If-Match"] {
            parameters.push(json!({ "$ref": format!("#/components/parameters/{name}") }));
        }
    }
    parameters
}

/// The named segments of a path. What a name may be, its path does not tell: anything else is not found.
fn segments(path: &str) -> impl Iterator<Item = (&str, Value)> {
    let names = path.split('{').skip(1).filter_map(|part| part.split_once('}'));
    names.map(|(name, _)| {
        let schema = match name {
            "id" => json!({ "type": "string", "format": "uuid" }),
            "name" => json!({ "type": "string", "format": "idn-hostname", "minLength": 1 }),
            "position" => json!({ "type": "integer", "format": "int64", "minimum": 1 }),
            _ => json!({ "type": "string", "minLength": 1 }),
        };
        (name, schema)
    })
}

fn body_of(sent: &Sent, config: &Config) -> Value {
    let most = if sent.large {
        config.http.boundary_body_bytes
    } else {
        config.http.body_bytes
    };
    let mut content = json!({ "schema": sent.schema });
    if !sent.examples.is_empty() {
        let examples = sent
            .examples
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!({ "value": value })));
        content["examples"] = examples.collect::<Map<_, _>>().into();
    }
    json!({
        "required": true,
        "description": format!("At most {most} bytes."),
        "x-max-bytes": most,
        "content": { sent.media: content },
    })
}

/// Every answer: those of the operation, and the problems of it and of all.
fn answers(operation: &Operation, permission: Permission, config: &Config, named: &mut Components) -> Value {
    let mut answers: BTreeMap<String, Value> = BTreeMap::new();
    for answer in &operation.answers {
        let entry = answers
            .entry(answer.status.to_string())
            .or_insert_with(|| json!({ "description": answer.about, "headers": headers_of(&answer.headers) }));
        if let Some((media, schema)) = answer.media {
            let schema = schema(named);
            entry["content"][media] = json!({ "schema": schema });
        }
    }
    let slugs = problems::of(operation, permission, config);
    for (status, slugs) in Operation::refusals_by_status(&slugs) {
        let problem = problems::answer(status, &slugs);
        match answers.get_mut(&status.to_string()) {
            Some(entry) => {
                for part in ["headers", "content"] {
                    let there = entry.get_mut(part).and_then(Value::as_object_mut);
                    if let (Some(more), Some(there)) = (problem[part].as_object(), there) {
                        there.extend(more.clone());
                    }
                }
            }
            None => drop(answers.insert(status.to_string(), problem)),
        }
    }
    json!(answers)
}

fn headers_of(headers: &[Header]) -> Value {
    let mut all = Map::new();
    for header in headers {
        let name = match header {
            Header::Etag => "ETag",
            Header::Location => "Location",
        };
        all.insert(name.to_owned(), header_named(name));
    }
    all.extend(headers_of_all());
    all.into()
}

/// What every answer may carry.
fn headers_of_all() -> impl Iterator<Item = (String, Value)> {
    ["x-request-id", "RateLimit", "RateLimit-Policy"]
        .map(|name| (name.to_owned(), header_named(name)))
        .into_iter()
}

fn header_named(name: &str) -> Value {
    json!({ "$ref": format!("#/components/headers/{name}") })
}
