//! What both registering and changing a profile read of a person and their place.

use serde_json::{Value, json};

use super::case::{By, Case, Scene, command, with};
use crate::harness::PASSWORD;

pub fn cases(_: &Scene) -> Vec<Case> {
    let registration = json!({ "username": "fresh", "password": PASSWORD });
    [
        ("register-user", By::Nobody, registration),
        ("update-profile", By::User, json!({})),
    ]
    .iter()
    .flat_map(|(name, by, base)| [texts(name, *by, base), places(name, *by, base)].concat())
    .collect()
}

fn texts(name: &str, by: By, base: &Value) -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, field, value) in [
        ("a full name of 131 characters", "full_name", json!("ж".repeat(131))),
        ("a full name of blanks", "full_name", json!(" \u{3000} ")),
        ("a full name with a NUL", "full_name", json!("a\0b")),
        ("a full name with a line break", "full_name", json!("a\nb")),
        ("a full name with a direction mark", "full_name", json!("a\u{202e}b")),
        ("a full name with an isolate", "full_name", json!("a\u{2066}b")),
        ("a full name with an invisible blank", "full_name", json!("a\u{200b}b")),
        ("a full name with a tag character", "full_name", json!("a\u{e0041}b")),
        ("a full name that is no character", "full_name", json!("a\u{ffff}b")),
        ("a geo id of 129 characters", "geo_id", json!("g".repeat(129))),
        ("a geo id with a blank", "geo_id", json!("a b")),
        ("a geo id with a direction mark", "geo_id", json!("a\u{202e}b")),
        ("a locale in words", "locale", json!("english")),
        ("a locale with too many parts", "locale", json!("en-Latn-GB-oxendict-x")),
        ("discoverable null", "discoverable", json!(null)),
        ("discoverable a text", "discoverable", json!("true")),
        ("discoverable a number", "discoverable", json!(1)),
    ] {
        let case = command(name, what, &with(base, field, &value)).by(by);
        cases.push(case.is(400, "invalid", &[&format!("/{field}")]));
    }
    cases
}

fn places(name: &str, by: By, base: &Value) -> Vec<Case> {
    let set = |what: &str, field: &str, value: Value| command(name, what, &with(base, field, &value)).by(by);
    let ring = json!([[0, 0], [0, 1], [1, 1], [0, 0]]);
    let polygon = |coordinates: Value| json!({ "type": "Polygon", "coordinates": coordinates });
    let long: Vec<Value> = (0..10_001).map(|_| json!([0, 0])).collect();
    let mut cases = Vec::new();
    for (what, field, value) in [
        ("a place in a list", "position", json!([1.5, 103.5])),
        ("a place in words", "position", json!("1.5,103.5")),
        ("a boundary in words", "boundary", json!("POLYGON((0 0))")),
        (
            "a boundary of another kind",
            "boundary",
            json!({ "type": "Point", "coordinates": [0, 0] }),
        ),
        (
            "a boundary without coordinates",
            "boundary",
            json!({ "type": "Polygon" }),
        ),
        ("a boundary without a ring", "boundary", polygon(json!([]))),
        (
            "a boundary with a short ring",
            "boundary",
            polygon(json!([[[0, 0], [1, 1], [0, 0]]])),
        ),
        (
            "a boundary with an open ring",
            "boundary",
            polygon(json!([[[0, 0], [0, 1], [1, 1], [1, 0]]])),
        ),
        (
            "a boundary off the globe",
            "boundary",
            polygon(json!([[[0, 0], [0, 91], [1, 1], [0, 0]]])),
        ),
        (
            "a boundary with a word",
            "boundary",
            polygon(json!([[[0, 0], ["x", 1], [1, 1], [0, 0]]])),
        ),
        (
            "a boundary with null",
            "boundary",
            polygon(json!([[[0, 0], null, [1, 1], [0, 0]]])),
        ),
        ("a boundary of 10,001 positions", "boundary", polygon(json!([long]))),
        (
            "a boundary nested too deeply for one",
            "boundary",
            polygon(json!([[ring]])),
        ),
    ] {
        cases.push(set(what, field, value).is(400, "invalid", &[&format!("/{field}")]));
    }
    for (what, latitude, longitude, pointer) in [
        ("beyond the pole", 90.000_001, 0.0, "/position/latitude"),
        ("beyond the date line", 0.0, -180.5, "/position/longitude"),
        ("beyond numbers", 1e308, 0.0, "/position/latitude"),
    ] {
        let place = json!({ "latitude": latitude, "longitude": longitude });
        cases.push(set(&format!("a place {what}"), "position", place).is(400, "invalid", &[pointer]));
    }
    cases.push(set("half a place", "position", json!({ "latitude": 1 })).is(400, "invalid", &["/position/longitude"]));
    cases.push(
        set(
            "a place in texts",
            "position",
            json!({ "latitude": "1", "longitude": null }),
        )
        .is(400, "invalid", &["/position/latitude", "/position/longitude"]),
    );
    cases.push(
        set(
            "a place with more",
            "position",
            json!({ "latitude": 1, "longitude": 1, "altitude": 1 }),
        )
        .is_any(400, "unknown-field")
        .at_field("/position/altitude"),
    );
    cases
}
