//! The JSON Schemas of what is published, made of the types that are sent.

use serde_json::{Value, json};

use super::kinds::{KINDS, Kind};
use super::{SOURCE, kind};

/// The dialect of JSON Schema they are written in.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// A version of a kind that is not sent any more: its name, as `user.registered/1`, and its schema as it was published.
pub(super) type Former = (&'static str, &'static str);

/// Kinds that got the next version leave the one before here: messages of it lie in queues and archives, and name its
/// schema.
pub(super) const FORMER: &[Former] = &[];

/// The schema of the facts of a kind, as it is served. None: there is no such kind or version.
#[must_use]
pub fn schema(name: &str, version: &str) -> Option<Value> {
    schema_among(FORMER, name, version)
}

pub(super) fn schema_among(former: &[Former], name: &str, version: &str) -> Option<Value> {
    let of = format!("{name}/{version}");
    let mut schema = match kind(name) {
        Some(kind) if kind.version.to_string() == version => facts(kind),
        _ => {
            let (_, text) = former.iter().find(|(known, _)| *known == of)?;
            serde_json::from_str(text).ok()?
        }
    };
    schema["$schema"] = DIALECT.into();
    schema["$id"] = format!("/schemas/{of}").into();
    Some(schema)
}

/// The schema of the facts of a kind.
pub(crate) fn facts(kind: &Kind) -> Value {
    let mut schema = (kind.facts)();
    schema["title"] = kind.name.into();
    schema["description"] = kind.about.into();
    schema
}

/// The schema of the whole document of a kind; of none, what all kinds have in common.
///
/// A consumer must bear fields it does not know: the next ones are added to the same version.
#[must_use]
pub fn envelope(kind: Option<&Kind>) -> Value {
    let text = |about: &str| json!({ "type": "string", "minLength": 1, "description": about });
    let number = |about: &str| json!({ "type": "integer", "format": "int64", "minimum": 1, "description": about });
    let mut schema = json!({
        "type": "object",
        "properties": {
            "specversion": { "const": "1.0" },
            "id": { "type": "string", "format": "uuid", "description": "The event. A repeat has the same." },
            "source": { "const": SOURCE },
            "type": { "enum": KINDS.iter().map(|kind| kind.name).collect::<Vec<_>>() },
            "subject": text("Whom it is about: a user's id, or a domain's name."),
            "time": { "type": "string", "format": "date-time", "description": "When it was recorded." },
            "datacontenttype": { "const": "application/json" },
            "dataschema": { "type": "string", "format": "uri-reference", "description": "The schema of `data`." },
            "position": number("Number in the log: 1, 2, 3 and so on, without a gap."),
            "sequence": number("Number in its stream: 1, 2, 3 and so on, without a gap."),
            "correlationid": text("The request that led to it."),
            "data": { "type": "object", "description": "The facts; their schema is at `dataschema`." },
        },
        "required": [
            "specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "position",
            "sequence", "data",
        ],
    });
    if let Some(kind) = kind {
        schema["properties"]["type"] = json!({ "const": kind.name });
        schema["properties"]["dataschema"] = json!({
            "type": "string",
            "format": "uri-reference",
            "pattern": format!("{}$", kind.schema_path().replace('.', "\\.")),
            "description": "The schema of `data`.",
        });
        schema["properties"]["data"] = facts(kind);
        schema["description"] = kind.about.into();
    }
    schema
}
