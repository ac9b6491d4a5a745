//! The shapes of the values people send: the limits of each type, as its parser holds them.

use aggregates::values::{
    ApiKeyName, Boundary, Coordinates, Country, DomainName, Email, FullName, GeoId, Locale, Note, Phone, RuleKind,
    Username,
};
use projections::Status;
use serde_json::{Value, json};

use super::shape::{Components, Shape, kinds, words};
use crate::passwords::MOST_CHARACTERS;

/// Fewest characters of a new password; an operator may ask for more.
const LEAST_CHARACTERS: usize = 8;

/// A password that is to be chosen.
pub(in crate::http) struct NewPassword;

/// A password somebody has.
pub(in crate::http) struct CurrentPassword;

/// The token of a link, or a refresh token. Its form is nobody's business but ours.
pub(in crate::http) struct Token;

/// A code of a short message.
pub(in crate::http) struct Code;

/// What somebody signs in with.
pub(in crate::http) struct Identifier;

/// An object without members.
pub(in crate::http) struct Empty;

/// The name of an event.
pub(in crate::http) struct EventType;

/// The reason of a refusal or anything else that is said in a few words for programs.
pub(in crate::http) struct Word;

kinds! {
    Email => json!({ "type": "string", "format": "idn-email", "minLength": 3, "maxLength": 254 });
    Username => json!({ "type": "string", "pattern": "^[A-Za-z0-9.+_-]{1,30}$" });
    Phone => json!({ "type": "string", "pattern": "^\\+[1-9][0-9]{6,14}$" });
    FullName => json!({ "type": "string", "minLength": 1, "maxLength": 130 });
    GeoId => json!({ "type": "string", "pattern": "^\\S{1,128}$" });
    ApiKeyName => json!({ "type": "string", "minLength": 1, "maxLength": 64 });
    Note => json!({ "type": "string", "minLength": 1, "maxLength": 500 });
    Locale => json!({
        "type": "string",
        "pattern": "^[A-Za-z]{2,3}([-_][A-Za-z]{4})?([-_]([A-Za-z]{2}|[0-9]{3}))?$",
    });
    Country => json!({ "type": "string", "pattern": "^[A-Z]{2}$" });
    DomainName => json!({ "type": "string", "format": "idn-hostname", "minLength": 1, "maxLength": 253 });
    Coordinates => json!({
        "type": "object",
        "properties": {
            "latitude": { "type": "number", "minimum": -90, "maximum": 90 },
            "longitude": { "type": "number", "minimum": -180, "maximum": 180 },
        },
        "required": ["latitude", "longitude"],
        "additionalProperties": false,
    });
    Boundary => boundary();
    Status => words(Status::ALL.iter().map(|word| word.as_str()));
    RuleKind => words(
        [RuleKind::Allowed, RuleKind::Blocked, RuleKind::AddressBlocked, RuleKind::Default]
            .iter()
            .map(|word| word.as_str()),
    );
    NewPassword => json!({
        "type": "string",
        "format": "password",
        "minLength": LEAST_CHARACTERS,
        "maxLength": MOST_CHARACTERS,
        "writeOnly": true,
    });
    CurrentPassword => json!({
        "type": "string",
        "format": "password",
        "minLength": 1,
        "maxLength": MOST_CHARACTERS,
        "writeOnly": true,
    });
    Token => json!({ "type": "string", "minLength": 1, "writeOnly": true });
    Code => json!({ "type": "string", "minLength": 1, "writeOnly": true });
    Identifier => json!({ "type": "string", "minLength": 1, "maxLength": 320 });
    Empty => json!({ "type": "object", "maxProperties": 0 });
    EventType => json!({ "type": "string", "pattern": "^(user|session|domain|audit)\\.[a-z_]+$" });
    Word => json!({ "type": "string", "pattern": "^[a-z0-9-]+$" });
}

/// `GeoJSON`, in degrees: longitude, latitude, and perhaps a height.
fn boundary() -> Value {
    let position = json!({
        "type": "array",
        "prefixItems": [
            { "type": "number", "minimum": -180, "maximum": 180 },
            { "type": "number", "minimum": -90, "maximum": 90 },
        ],
        "items": { "type": "number" },
        "minItems": 2,
        "maxItems": 3,
    });
    let ring = json!({ "type": "array", "minItems": 4, "items": position });
    let polygon = json!({ "type": "array", "minItems": 1, "items": ring });
    let of = |kind: &str, coordinates: Value| {
        json!({
            "type": "object",
            "properties": { "type": { "const": kind }, "coordinates": coordinates },
            "required": ["type", "coordinates"],
        })
    };
    json!({
        "oneOf": [
            of("Polygon", polygon.clone()),
            of("MultiPolygon", json!({ "type": "array", "minItems": 1, "items": polygon })),
        ],
    })
}
