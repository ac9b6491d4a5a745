//! Fields of the other commands.

use serde_json::{Value, json};

use super::case::{By, Case, Scene, command, with};
use crate::harness::{PASSWORD, encoded};

pub fn cases(scene: &Scene) -> Vec<Case> {
    [verifications(), passwords(scene), profiles(scene), domains()].concat()
}

fn verifications() -> Vec<Case> {
    let verify = |what: &str, token: Value| command("verify-email", what, &json!({ "token": token }));
    let ask = |what: &str, body: Value| command("request-email-verification", what, &body);
    let mut cases = vec![
        command("verify-email", "no token", &json!({})).is(400, "invalid", &["/token"]),
        command(
            "verify-email",
            "a token and more",
            &json!({ "token": "x", "user_id": "y" }),
        )
        .is(400, "unknown-field", &["/user_id"]),
        ask("no address", json!({})).is(400, "invalid", &["/email"]),
        ask("null", json!({ "email": null })).is(400, "invalid", &["/email"]),
        ask("a list", json!({ "email": ["ada@farm.example"] })).is(400, "invalid", &["/email"]),
        ask("no address at all", json!({ "email": "nobody" })).is(400, "invalid", &["/email"]),
        ask(
            "an address and more",
            json!({ "email": "ada@farm.example", "force": true }),
        )
        .is(400, "unknown-field", &["/force"]),
    ];
    for (what, token) in [
        ("null", json!(null)),
        ("a list", json!([])),
        ("a number", json!(0)),
        ("empty", json!("")),
        ("false", json!(false)),
    ] {
        cases.push(verify(&format!("a token that is {what}"), token).is(400, "invalid", &["/token"]));
    }
    for (what, token) in [
        ("a word", "null".to_owned()),
        ("of the right form", encoded(&[7; 48])),
        ("a byte short", encoded(&[7; 47])),
        ("a byte long", encoded(&[7; 49])),
        ("padded", format!("{}=", encoded(&[7; 48]))),
        ("ten kilobytes", "A".repeat(10_000)),
        ("not ASCII", "ä".repeat(64)),
        ("with a NUL", "\0".repeat(64)),
    ] {
        cases.push(verify(&format!("a token that is {what}"), json!(token)).is(410, "invalid-token", &[]));
    }
    cases
}

fn passwords(scene: &Scene) -> Vec<Case> {
    let change = |what: &str, body: Value| command("change-password", what, &body).by(By::User);
    let new = "nine grey geese by a pond";
    vec![
        change("nothing", json!({})).is(400, "invalid", &["/current_password", "/new_password"]),
        change("no new one", json!({ "current_password": PASSWORD })).is(400, "invalid", &["/new_password"]),
        change("no current one", json!({ "new_password": new })).is(400, "invalid", &["/current_password"]),
        change("nulls", json!({ "current_password": null, "new_password": null })).is(
            400,
            "invalid",
            &["/current_password", "/new_password"],
        ),
        change(
            "an empty current one",
            json!({ "current_password": "", "new_password": new }),
        )
        .is(400, "invalid", &["/current_password"]),
        change("a list", json!({ "current_password": PASSWORD, "new_password": [new] })).is(
            400,
            "invalid",
            &["/new_password"],
        ),
        change(
            "a common new one",
            json!({ "current_password": PASSWORD, "new_password": "password1" }),
        )
        .is(400, "invalid", &["/new_password"]),
        change(
            "a short and common new one",
            json!({ "current_password": PASSWORD, "new_password": "qwerty" }),
        )
        .is(400, "invalid", &["/new_password", "/new_password"]),
        change(
            "a new one too long",
            json!({ "current_password": PASSWORD, "new_password": "xy".repeat(65) }),
        )
        .is(400, "invalid", &["/new_password"]),
        change(
            "somebody else named",
            json!({ "current_password": PASSWORD, "new_password": new, "user_id": scene.other.user }),
        )
        .is(400, "unknown-field", &["/user_id"]),
        change(
            "a wrong current one",
            json!({ "current_password": "wrong and long", "new_password": new }),
        )
        .is(403, "wrong-password", &["/current_password"]),
        change(
            "nobody signed in",
            json!({ "current_password": PASSWORD, "new_password": new }),
        )
        .by(By::Nobody)
        .is(401, "unauthenticated", &[])
        .and("www-authenticate", "Bearer realm=\"user-registry\""),
    ]
}

fn profiles(scene: &Scene) -> Vec<Case> {
    let update = |what: &str, body: Value| command("update-profile", what, &body).by(By::User);
    let missing = "0197a1b2-0000-7000-8000-000000000001";
    let mut cases = vec![
        update("nothing", json!({})).is(400, "invalid", &[""]),
        update("only somebody", json!({ "user_id": scene.user.user })).is(400, "invalid", &[""]),
        update("only an unknown field", json!({ "nick": "ada" })).is(400, "unknown-field", &["/nick"]),
        update("a user id that is none", json!({ "user_id": "ada", "full_name": "A" })).is(
            400,
            "invalid",
            &["/user_id"],
        ),
        update("a user id in numbers", json!({ "user_id": 1, "full_name": "A" })).is(400, "invalid", &["/user_id"]),
        update("a user id null", json!({ "user_id": null, "full_name": "A" })).is(400, "invalid", &["/user_id"]),
        update(
            "somebody else",
            json!({ "user_id": scene.other.user, "full_name": "A" }),
        )
        .is(404, "not-found", &[]),
        update(
            "somebody who is not there",
            json!({ "user_id": missing, "full_name": "A" }),
        )
        .is(404, "not-found", &[]),
        update(
            "somebody who is not there, by an administrator",
            json!({ "user_id": missing, "full_name": "A" }),
        )
        .by(By::Admin)
        .is(404, "not-found", &[]),
        update(
            "three at once",
            json!({ "full_name": 1, "locale": "x", "user_id": "y" }),
        )
        .is(400, "invalid", &["/full_name", "/locale", "/user_id"]),
        update("nobody signed in", json!({ "full_name": "A" }))
            .by(By::Nobody)
            .is(401, "unauthenticated", &[]),
    ];
    for name in [
        "username",
        "email",
        "phone",
        "password",
        "email_verified",
        "roles",
        "status",
        "country",
        "last_login",
    ] {
        let pointer = format!("/{name}");
        let body = json!({ "full_name": "A", name: "x" });
        cases.push(update(&format!("{name} is no part of it"), body).is(400, "unknown-field", &[&pointer]));
    }
    cases
}

fn domains() -> Vec<Case> {
    let mut cases = Vec::new();
    for name in ["allow-domain", "block-domain", "unblock-domain"] {
        let order = |what: &str, body: Value| command(name, what, &body).by(By::Admin);
        for (what, domain) in [
            ("null", json!(null)),
            ("a number", json!(1)),
            ("empty", json!("")),
            ("a list", json!(["farm.example"])),
            ("blanks", json!("  ")),
            ("a trailing dot", json!("farm.example.")),
            ("a leading dot", json!(".farm.example")),
            ("an @", json!("ada@farm.example")),
            ("an address", json!("https://farm.example/")),
            ("a port", json!("farm.example:443")),
            ("a star", json!("*.farm.example")),
            ("an IP address", json!("192.0.2.1")),
            ("an underscore", json!("my_farm.example")),
            ("a label of 64 characters", json!(format!("{}.example", "a".repeat(64)))),
            ("254 characters", json!(format!("{}example", "abcdefghi.".repeat(25)))),
            ("a NUL", json!("fa\0rm.example")),
            ("a direction mark", json!("fa\u{202e}rm.example")),
            ("an A-label that is none", json!("xn--a.example")),
        ] {
            cases.push(order(&format!("a domain with {what}"), json!({ "domain": domain })).is(
                400,
                "invalid",
                &["/domain"],
            ));
        }
        let good = json!({ "domain": "farm.example" });
        cases.extend([
            order("no domain", json!({})).is(400, "invalid", &["/domain"]),
            order("subdomains a text", with(&good, "include_subdomains", &json!("no"))).is(
                400,
                "invalid",
                &["/include_subdomains"],
            ),
            order(
                "a reason of 501 characters",
                with(&good, "reason", &json!("x".repeat(501))),
            )
            .is(400, "invalid", &["/reason"]),
            order("a reason with a line break", with(&good, "reason", &json!("a\nb"))).is(400, "invalid", &["/reason"]),
            order("a reason null", with(&good, "reason", &json!(null))).is(400, "invalid", &["/reason"]),
            order("a reason and a domain", json!({ "domain": 1, "reason": 2, "why": 3 })).is(
                400,
                "invalid",
                &["/domain", "/reason", "/why"],
            ),
            order("an unknown field", with(&good, "standing", &json!("allowed"))).is(
                400,
                "unknown-field",
                &["/standing"],
            ),
            order("by a user", good.clone()).by(By::User).is(403, "forbidden", &[]),
            order("by nobody", good.clone())
                .by(By::Nobody)
                .is(401, "unauthenticated", &[]),
        ]);
    }
    cases.push(
        command(
            "unblock-domain",
            "one nobody knows",
            &json!({ "domain": "unknown.example" }),
        )
        .by(By::Admin)
        .is(404, "not-found", &[]),
    );
    cases
}
