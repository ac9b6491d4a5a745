//! Registering: bodies as a whole, kinds of values, what only the service may set, and weak passwords.

use serde_json::{Value, json};

use super::case::{Case, Scene, command, with};
use crate::harness::PASSWORD;

pub fn cases(_: &Scene) -> Vec<Case> {
    [bodies(), kinds(), the_service_alone(), weak_passwords()].concat()
}

#[expect(clippy::needless_pass_by_value, reason = "a row reads better without an ampersand")]
fn register(what: &str, body: Value) -> Case {
    command("register-user", what, &body)
}

fn good() -> Value {
    json!({ "username": "fresh", "password": PASSWORD })
}

fn bodies() -> Vec<Case> {
    let good = good();
    vec![
        register("no field at all", json!({})).is(400, "invalid", &["", "/password"]),
        register("only a password", json!({ "password": PASSWORD })).is(400, "invalid", &[""]),
        register(
            "no name but an unknown field",
            json!({ "password": PASSWORD, "nick": "x" }),
        )
        .is(400, "invalid", &["", "/nick"]),
        register("no password", json!({ "username": "fresh" })).is(400, "invalid", &["/password"]),
        register("an empty place", with(&good, "position", &json!({}))).is(
            400,
            "invalid",
            &["/position/latitude", "/position/longitude"],
        ),
        register(
            "everything wrong at once",
            json!({
                "username": "", "email": "nobody", "phone": 65, "password": "short", "full_name": "a\u{202e}b",
                "discoverable": "yes", "position": { "latitude": "x", "height": 1 }, "geo_id": "a b",
                "boundary": {}, "locale": "english", "admin": true,
            }),
        )
        .is(
            400,
            "invalid",
            &[
                "/username",
                "/email",
                "/phone",
                "/password",
                "/full_name",
                "/discoverable",
                "/position/latitude",
                "/position/longitude",
                "/position/height",
                "/geo_id",
                "/boundary",
                "/locale",
                "/admin",
            ],
        ),
        register(
            "two unknown fields",
            json!({ "username": "fresh", "password": PASSWORD, "a/b": 1, "c~d": 2 }),
        )
        .is(400, "unknown-field", &["/a~1b", "/c~0d"]),
        register("a thousand unknown fields", {
            let members = (0..1_000).map(|number| (format!("m{number}"), json!(0))).collect();
            Value::Object(members)
        })
        .is_any(400, "invalid"),
        register(
            "its owner's name as password",
            json!({ "username": "fresh.start", "password": "fresh.start" }),
        )
        .is(400, "invalid", &["/password"]),
        register(
            "its owner's address as password",
            json!({ "email": "fresh.start@farm.example", "password": "Fresh.Start1" }),
        )
        .is(400, "invalid", &["/password"]),
        register(
            "its owner's number as password",
            json!({ "phone": "+6591234567", "password": "91234567" }),
        )
        .is(400, "invalid", &["/password"]),
        register("short and common", json!({ "username": "fresh", "password": "qwerty" })).is(
            400,
            "invalid",
            &["/password", "/password"],
        ),
    ]
}

/// Every text with every other kind of value.
fn kinds() -> Vec<Case> {
    let good = good();
    let mut cases = Vec::new();
    for name in [
        "username",
        "email",
        "phone",
        "password",
        "full_name",
        "geo_id",
        "locale",
    ] {
        let pointer = format!("/{name}");
        for (what, value) in [
            ("null", json!(null)),
            ("a number", json!(7)),
            ("a list", json!(["x"])),
            ("an object", json!({ "$ne": "" })),
            ("a boolean", json!(true)),
            ("empty", json!("")),
        ] {
            let body = with(&good, name, &value);
            cases.push(register(&format!("{name} {what}"), body).is(400, "invalid", &[&pointer]));
        }
    }
    cases
}

/// What only the service may set.
fn the_service_alone() -> Vec<Case> {
    let good = good();
    let mut cases = Vec::new();
    for name in [
        "id",
        "email_verified",
        "phone_verified",
        "activated",
        "activated_at",
        "last_login",
        "account_type",
        "role",
        "roles",
        "is_admin",
        "is_staff",
        "is_superuser",
        "domain_id",
        "belongs_to",
        "created_at",
        "updated_at",
        "status",
        "version",
        "sequence",
        "locked",
        "credential_version",
        "token",
        "api_key",
        "__proto__",
        "constructor",
    ] {
        let pointer = format!("/{name}");
        let body = with(&good, name, &json!(true));
        cases.push(register(&format!("{name} is not the client's"), body).is(400, "unknown-field", &[&pointer]));
    }
    cases
}

fn weak_passwords() -> Vec<Case> {
    let good = good();
    let mut cases = Vec::new();
    for (what, password) in [
        ("of 7 characters", "kq7#vz2".to_owned()),
        ("of 7 characters that are 14 bytes", "жщюяэыъ".to_owned()),
        ("of 129 characters", "kq7#vz2pw".repeat(15)[..129].to_owned()),
        ("of 1,025 bytes", "🐐".repeat(257)),
        ("of 16,000 bytes", "x".repeat(16_000)),
        ("that is common", "Password1".to_owned()),
        ("that is common, spelled wide", "ｐａｓｓｗｏｒｄ".to_owned()),
        ("that is a run", "abcdefgh".to_owned()),
        ("that names this service", "user-registry".to_owned()),
        ("of the sample that is refused everywhere else", "12345678".to_owned()),
    ] {
        let body = with(&good, "password", &json!(password));
        cases.push(
            register(&format!("a password {what}"), body)
                .is_any(400, "invalid")
                .at_field("/password"),
        );
    }
    cases
}
