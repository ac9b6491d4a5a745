//! Usernames, addresses and numbers.

use serde_json::json;

use super::case::{Case, Scene, command};
use crate::harness::PASSWORD;

pub fn cases(_: &Scene) -> Vec<Case> {
    [taken(), usernames(), addresses(), numbers()].concat()
}

fn register(field: &'static str, what: &str, value: &str) -> Case {
    let body = json!({ field: value, "password": PASSWORD });
    command("register-user", &format!("{field} {what}"), &body)
}

fn taken() -> Vec<Case> {
    vec![
        register("username", "of somebody else", "ada").is(409, "taken", &["/username"]),
        register("username", "of somebody else in capitals", "ADA").is(409, "taken", &["/username"]),
        register("username", "that looks like another", "paypa1").is(409, "taken", &["/username"]),
        register("email", "of somebody else", "Jörg@bücher.example").is(409, "taken", &["/email"]),
        register(
            "email",
            "of somebody else, spelled otherwise",
            "JO\u{308}RG@xn--bcher-kva.EXAMPLE",
        )
        .is(409, "taken", &["/email"]),
        register("phone", "of somebody else", "+6584932466").is(409, "taken", &["/phone"]),
    ]
}

fn usernames() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, value) in [
        ("of 31 characters", "a".repeat(31)),
        ("with a blank", "a b".into()),
        ("of blanks", "  ".into()),
        ("with an @", "ada@farm.example".into()),
        ("with a NUL", "a\0b".into()),
        ("with a line break", "a\nb".into()),
        ("with a direction mark", "a\u{202e}b".into()),
        ("with an invisible joiner", "a\u{200d}b".into()),
        ("in Cyrillic look-alikes", "аdа".into()),
        ("of mixed scripts", "p\u{430}ypal".into()),
        ("in wide letters", "ａｄａ".into()),
        ("with markup", "<b>ada</b>".into()),
        ("that is a path", "../../etc".into()),
        ("that is reserved", "support".into()),
        ("that is reserved, spelled otherwise", "Supp0rt".into()),
        ("that is a word of a path", "me".into()),
    ] {
        cases.push(register("username", what, &value).is(400, "invalid", &["/username"]));
    }
    cases
}

fn addresses() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, value) in [
        ("without an @", "farm.example".to_owned()),
        ("without a name", "@farm.example".into()),
        ("without a domain", "ada@".into()),
        ("with two @", "ada@eve@farm.example".into()),
        ("with a quoted name", "\"ada\"@farm.example".into()),
        ("with a quoted @", "\"ada@farm.example\"@x.example".into()),
        ("with a display name", "Ada <ada@farm.example>".into()),
        ("that is two", "ada@farm.example,eve@farm.example".into()),
        ("with a header", "ada@farm.example\r\nBcc: eve@farm.example".into()),
        ("with a NUL", "a\0da@farm.example".into()),
        ("with a direction mark", "a\u{202e}da@farm.example".into()),
        ("with an invisible joiner", "a\u{200d}da@farm.example".into()),
        ("with a wide @ inside", "a\u{ff20}b@farm.example".into()),
        ("with two dots", "a..b@farm.example".into()),
        ("with a dot first", ".ada@farm.example".into()),
        (
            "of 65 characters before the @",
            format!("{}@farm.example", "a".repeat(65)),
        ),
        (
            "of 255 bytes",
            format!(
                "{}@{}.{}.{}.example",
                "a".repeat(64),
                "b".repeat(61),
                "c".repeat(61),
                "d".repeat(58)
            ),
        ),
        ("at a single label", "ada@localhost".into()),
        ("at a trailing dot", "ada@farm.example.".into()),
        ("at a leading dot", "ada@.farm.example".into()),
        ("at an empty label", "ada@farm..example".into()),
        ("at a label of 64 characters", format!("ada@{}.example", "a".repeat(64))),
        ("at an address in numbers", "ada@192.0.2.1".into()),
        ("at an address in brackets", "ada@[192.0.2.1]".into()),
        ("at an IPv6 address", "ada@[IPv6:2001:db8::1]".into()),
        ("at an underscore", "ada@my_farm.example".into()),
        ("at a hyphen first", "ada@-farm.example".into()),
        ("at a port", "ada@farm.example:25".into()),
        ("at a blank", "ada@farm .example".into()),
        ("at an A-label that is none", "ada@xn--a.example".into()),
        (
            "at a character IDNA forbids",
            "ada@fa\u{2615}\u{fe0f}\u{200d}rm.example".into(),
        ),
        ("at an invisible character", "ada@fa\u{200b}rm.example".into()),
        ("at a wide slash", "ada@farm.example／evil.example".into()),
    ] {
        cases.push(register("email", what, &value).is(400, "invalid", &["/email"]));
    }
    cases
}

fn numbers() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, value) in [
        ("without a country", "84932466"),
        ("of the sample that is no E.164", "0084932466"),
        ("with blanks", "+65 8493 2466"),
        ("too long", "+1234567890123456"),
        ("that no country has", "+9990000000"),
        ("in Arabic digits", "+٦٥٨٤٩٣٢٤٦٦"),
        ("with letters", "+65abcd1234"),
        ("with a line break", "+65849\n32466"),
    ] {
        cases.push(register("phone", what, value).is(400, "invalid", &["/phone"]));
    }
    cases
}
