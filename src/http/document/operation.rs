//! One operation of the document while it is declared: what is sent, what comes back, and why it may be refused.

use std::collections::BTreeMap;

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::shape::{Components, Shape, described, nullable};
use crate::http::problem::Slug;

/// What an answer carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    /// The version of what is answered.
    Etag,
    /// Where what was created can be read.
    Location,
}

/// A media type and the schema of what has it.
pub(super) type Media = (&'static str, fn(&mut Components) -> Value);

/// One answer that is no problem.
pub(super) struct Answer {
    pub status: u16,
    pub about: &'static str,
    pub media: Option<Media>,
    pub headers: Vec<Header>,
}

/// A parameter of the address.
pub(super) struct Parameter {
    pub name: &'static str,
    pub about: &'static str,
    pub schema: Value,
    pub required: bool,
    pub example: Value,
}

/// A body while it is declared: the members of a JSON object, each of the type its reader parses it to.
pub(in crate::http) struct Fields {
    members: Map<String, Value>,
    required: Vec<&'static str>,
    rule: Option<(&'static str, Value)>,
}

/// What is sent.
pub(super) struct Sent {
    pub media: &'static str,
    pub schema: Value,
    pub large: bool,
    pub examples: Vec<(&'static str, Value)>,
}

/// A route as the document shows it.
pub(in crate::http) struct Operation {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) text: &'static str,
    pub(super) parameters: Vec<Parameter>,
    pub(super) conditions: bool,
    pub(super) last_event_id: bool,
    pub(super) sent: Option<Sent>,
    pub(super) answers: Vec<Answer>,
    pub(super) refusals: Vec<Slug>,
}

impl Operation {
    pub fn new(method: Method, path: &'static str, tag: &'static str, summary: &'static str) -> Self {
        Self {
            method,
            path,
            tag,
            summary,
            text: "",
            parameters: Vec::new(),
            conditions: false,
            last_event_id: false,
            sent: None,
            answers: Vec::new(),
            refusals: Vec::new(),
        }
    }

    /// A command: `POST`, with `Idempotency-Key` and `If-Match`.
    pub fn command(path: &'static str, tag: &'static str, summary: &'static str) -> Self {
        let command = Self::new(Method::POST, path, tag, summary);
        Self {
            conditions: true,
            ..command
        }
        .refused(&[Slug::Stale, Slug::IdempotencyMismatch, Slug::Conflict])
    }

    /// A read.
    pub fn get(path: &'static str, tag: &'static str, summary: &'static str) -> Self {
        Self::new(Method::GET, path, tag, summary)
    }

    /// More to say of it.
    pub fn text(self, text: &'static str) -> Self {
        Self { text, ..self }
    }

    /// A JSON body.
    pub fn body(mut self, fields: Fields) -> Self {
        self.sent = Some(Sent {
            media: "application/json",
            schema: fields.into_value(),
            large: false,
            examples: Vec::new(),
        });
        self
    }

    /// A form.
    pub fn form(mut self, fields: Fields) -> Self {
        let mut schema = fields.into_value();
        schema["additionalProperties"] = true.into();
        self.sent = Some(Sent {
            media: "application/x-www-form-urlencoded",
            schema,
            large: false,
            examples: Vec::new(),
        });
        self
    }

    /// The body may hold a boundary: it may be larger than others.
    pub fn large(mut self) -> Self {
        if let Some(sent) = &mut self.sent {
            sent.large = true;
        }
        self
    }

    /// A body that works, said in a few words.
    pub fn example(mut self, name: &'static str, body: Value) -> Self {
        if let Some(sent) = &mut self.sent {
            sent.examples.push((name, body));
        }
        self
    }

    /// A parameter of the query that may be left out.
    pub fn query(self, name: &'static str, about: &'static str, schema: Value, example: impl Into<Value>) -> Self {
        self.parameter(name, about, schema, example, false)
    }

    /// A parameter of the query that must be there.
    pub fn needed(self, name: &'static str, about: &'static str, schema: Value, example: impl Into<Value>) -> Self {
        self.parameter(name, about, schema, example, true)
    }

    fn parameter(
        mut self,
        name: &'static str,
        about: &'static str,
        schema: Value,
        example: impl Into<Value>,
        required: bool,
    ) -> Self {
        self.parameters.push(Parameter {
            name,
            about,
            schema,
            required,
            example: example.into(),
        });
        self.refused(&[Slug::Invalid])
    }

    /// A parameter that is never refused as such.
    pub fn link(mut self, name: &'static str, about: &'static str) -> Self {
        self.parameters.push(Parameter {
            name,
            about,
            schema: json!({ "type": "string" }),
            required: false,
            example: Value::Null,
        });
        self
    }

    /// `limit` and `cursor` of a list.
    pub fn paged(self) -> Self {
        self.limited().query(
            "cursor",
            "`next` of the page before.",
            json!({ "type": "string", "minLength": 1 }),
            Value::Null,
        )
    }

    /// `limit` of a list.
    pub fn limited(self) -> Self {
        self.query(
            "limit",
            "How many items a page holds; 50 if it is not given.",
            json!({ "type": "integer", "minimum": 1, "maximum": 200, "default": 50 }),
            50,
        )
    }

    /// `after` and `limit` of a history.
    pub fn history(self) -> Self {
        self.query(
            "after",
            "The place after which the page begins: `next` of the page before.",
            json!({ "type": "integer", "format": "int64", "minimum": 0, "default": 0 }),
            0,
        )
        .limited()
    }

    /// An answer with a JSON body.
    pub fn answers<T: Shape>(self, status: u16, about: &'static str) -> Self {
        self.answer(status, about, Some(("application/json", T::schema)), &[])
    }

    /// The same with the version of what is answered.
    pub fn versioned<T: Shape>(self, status: u16, about: &'static str) -> Self {
        self.answer(status, about, Some(("application/json", T::schema)), &[Header::Etag])
    }

    /// The answer to a command on something that is there.
    pub fn done<T: Shape>(self) -> Self {
        let about = "Done. `events` is empty when there was nothing to change.";
        self.versioned::<T>(200, about)
    }

    /// The answer to a command that made something.
    pub fn created<T: Shape>(self) -> Self {
        let headers = [Header::Etag, Header::Location];
        self.answer(201, "Created.", Some(("application/json", T::schema)), &headers)
    }

    /// An answer without a body.
    pub fn empty(self, status: u16, about: &'static str) -> Self {
        self.answer(status, about, None, &[])
    }

    /// A page for people.
    pub fn page(self, status: u16, about: &'static str) -> Self {
        self.answer(status, about, Some(("text/html", String::schema)), &[])
    }

    /// A text.
    pub fn plain(self, media: &'static str, about: &'static str) -> Self {
        self.answer(200, about, Some((media, String::schema)), &[])
    }

    /// A JSON Schema.
    pub fn json_schema(self, about: &'static str) -> Self {
        self.answer(200, about, Some(("application/schema+json", Value::schema)), &[])
    }

    /// An answer that goes on: server-sent events.
    pub fn stream(mut self, about: &'static str) -> Self {
        self.last_event_id = true;
        self.answer(200, about, Some(("text/event-stream", String::schema)), &[])
    }

    fn answer(mut self, status: u16, about: &'static str, media: Option<Media>, headers: &[Header]) -> Self {
        self.answers.push(Answer {
            status,
            about,
            media,
            headers: headers.to_vec(),
        });
        self
    }

    /// The problems of this operation beside those every operation has.
    pub fn refused(mut self, slugs: &[Slug]) -> Self {
        self.refusals.extend(slugs);
        self
    }

    /// `registerUser` of `/v1/commands/register-user`; the document's name for it.
    pub(super) fn id(&self) -> String {
        let path = self.path.trim_start_matches("/v1/commands");
        let verb = if path == self.path {
            self.method.as_str().to_ascii_lowercase()
        } else {
            String::new()
        };
        let words = path
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty() && *word != "v1");
        words.fold(verb, |mut id, word| {
            if id.is_empty() {
                id.push_str(word);
            } else {
                id.extend(word[..1].chars().map(|c| c.to_ascii_uppercase()));
                id.push_str(&word[1..]);
            }
            id
        })
    }

    /// The slugs of each status.
    pub(super) fn refusals_by_status(slugs: &[Slug]) -> BTreeMap<u16, Vec<Slug>> {
        let mut by_status: BTreeMap<u16, Vec<Slug>> = BTreeMap::new();
        for slug in Slug::ALL.iter().filter(|slug| slugs.contains(slug)) {
            by_status.entry(slug.status().as_u16()).or_default().push(*slug);
        }
        by_status
    }
}

impl Fields {
    pub fn new() -> Self {
        Self {
            members: Map::new(),
            required: Vec::new(),
            rule: None,
        }
    }

    /// A member that must be there.
    pub fn required<T: Shape>(mut self, name: &'static str, about: &'static str) -> Self {
        self.required.push(name);
        self.optional::<T>(name, about)
    }

    /// A member that may be left out, but is never `null`.
    pub fn optional<T: Shape>(mut self, name: &'static str, about: &'static str) -> Self {
        let schema = described(T::schema(&mut Components::new()), about);
        self.members.insert(name.to_owned(), schema);
        self
    }

    /// A member that may be left out, or `null` to clear what it stands for.
    pub fn nullable<T: Shape>(mut self, name: &'static str, about: &'static str) -> Self {
        let schema = described(nullable(T::schema(&mut Components::new())), about);
        self.members.insert(name.to_owned(), schema);
        self
    }

    /// At least one of these members.
    pub fn one_or_more_of(mut self, names: &[&'static str]) -> Self {
        let each = names.iter().map(|name| json!({ "required": [name] }));
        self.rule = Some(("anyOf", each.collect()));
        self
    }

    /// The members of exactly one of these groups.
    pub fn one_of(mut self, groups: &[&[&'static str]]) -> Self {
        let all: Vec<&str> = groups.concat();
        let each = groups.iter().map(|group| {
            let others: Vec<Value> = all
                .iter()
                .filter(|name| !group.contains(name))
                .map(|name| json!({ "required": [name] }))
                .collect();
            json!({ "required": group, "not": { "anyOf": others } })
        });
        self.rule = Some(("oneOf", each.collect()));
        self
    }

    fn into_value(self) -> Value {
        let mut schema = json!({ "type": "object", "properties": self.members, "additionalProperties": false });
        if !self.required.is_empty() {
            schema["required"] = json!(self.required);
        }
        if let Some((name, rule)) = self.rule {
            schema[name] = rule;
        }
        schema
    }
}
