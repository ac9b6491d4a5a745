//! Fields of the other commands.

use serde_json::{Value, json};

use super::case::{By, Case, Scene, command, with};
use crate::harness::{PASSWORD, encoded};

pub fn cases(scene: &Scene) -> Vec<Case> {
    [
        verifications(),
        passwords(scene),
        profiles(scene),
        domains(),
        accounts(scene),
        keys(scene),
        erasing(scene),
        addresses(),
    ]
    .concat()
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

const MISSING: &str = "0197a1b2-0000-7000-8000-000000000001";

/// Orders of administrators about accounts.
fn accounts(scene: &Scene) -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, member, needed) in [
        ("lock-user", "reason", true),
        ("unlock-user", "reason", true),
        ("deactivate-user", "reason", false),
        ("reactivate-user", "reason", false),
        ("grant-role", "role", true),
        ("revoke-role", "role", true),
    ] {
        let order = |what: &str, body: Value| command(name, what, &body).by(By::Admin);
        let pointer = format!("/{member}");
        let good = json!({ "user_id": scene.other.user, member: if member == "role" { "auditor" } else { "a test" } });
        let mut nothing = vec!["/user_id"];
        if needed {
            nothing.push(&pointer);
            cases.push(
                order(&format!("no {member}"), json!({ "user_id": scene.other.user })).is(400, "invalid", &[&pointer]),
            );
        }
        cases.extend([
            order("nothing", json!({})).is(400, "invalid", &nothing),
            order("an id that is none", with(&good, "user_id", &json!("ada"))).is(400, "invalid", &["/user_id"]),
            order("an id null", with(&good, "user_id", &json!(null))).is(400, "invalid", &["/user_id"]),
            order("null beside it", with(&good, member, &json!(null))).is(400, "invalid", &[&pointer]),
            order("a number beside it", with(&good, member, &json!(1))).is(400, "invalid", &[&pointer]),
            order("text that does not fit", with(&good, member, &json!("x\ny"))).is(400, "invalid", &[&pointer]),
            order("one that is not there", with(&good, "user_id", &json!(MISSING))).is(404, "not-found", &[]),
            order("an unknown field", with(&good, "force", &json!(true))).is(400, "unknown-field", &["/force"]),
            order("another version", good.clone())
                .with("if-match", "\"9\"")
                .is(412, "stale", &[]),
            order("by a user", good.clone()).by(By::User).is(403, "forbidden", &[]),
            order("by nobody", good.clone())
                .by(By::Nobody)
                .is(401, "unauthenticated", &[]),
        ]);
    }
    cases.push(
        command(
            "revoke-role",
            "everybody's",
            &json!({ "user_id": scene.other.user, "role": "user" }),
        )
        .by(By::Admin)
        .is(409, "conflict", &[]),
    );
    cases
}

fn keys(scene: &Scene) -> Vec<Case> {
    let issue = |what: &str, body: Value| command("issue-api-key", what, &body).by(By::User);
    let revoke = |what: &str, body: Value| command("revoke-api-key", what, &body).by(By::User);
    let good = json!({ "name": "field app" });
    vec![
        issue("nothing", json!({})).is(400, "invalid", &["/name"]),
        issue("an empty name", json!({ "name": "" })).is(400, "invalid", &["/name"]),
        issue("a name with a NUL", json!({ "name": "a\0b" })).is(400, "invalid", &["/name"]),
        issue("a name of ten kilobytes", json!({ "name": "x".repeat(10_000) })).is(400, "invalid", &["/name"]),
        issue("roles that are none", with(&good, "roles", &json!(["root", "user", 1]))).is(
            400,
            "invalid",
            &["/roles/0", "/roles/2"],
        ),
        issue("roles in a text", with(&good, "roles", &json!("admin"))).is(400, "invalid", &["/roles"]),
        issue("roles null", with(&good, "roles", &json!(null))).is(400, "invalid", &["/roles"]),
        issue("a role one has not", with(&good, "roles", &json!(["admin"]))).is(403, "forbidden", &[]),
        issue("a time that is none", with(&good, "expires_at", &json!("tomorrow"))).is(
            400,
            "invalid",
            &["/expires_at"],
        ),
        issue(
            "a time in seconds",
            with(&good, "expires_at", &json!(4_000_000_000_u64)),
        )
        .is(400, "invalid", &["/expires_at"]),
        issue(
            "a time gone by",
            with(&good, "expires_at", &json!("2001-01-01T00:00:00Z")),
        )
        .is(409, "conflict", &[]),
        issue("for somebody else", with(&good, "user_id", &json!(scene.other.user))).is(404, "not-found", &[]),
        issue("for nobody", with(&good, "user_id", &json!("x"))).is(400, "invalid", &["/user_id"]),
        issue("a key of one's own making", with(&good, "api_key", &json!("urk_x"))).is(
            400,
            "unknown-field",
            &["/api_key"],
        ),
        issue("by nobody", good.clone())
            .by(By::Nobody)
            .is(401, "unauthenticated", &[]),
        revoke("nothing", json!({})).is(400, "invalid", &["/key_id"]),
        revoke("an id that is none", json!({ "key_id": "urk_x" })).is(400, "invalid", &["/key_id"]),
        revoke("one that is not there", json!({ "key_id": MISSING })).is(404, "not-found", &[]),
        revoke("a person", json!({ "key_id": scene.user.user })).is(404, "not-found", &[]),
    ]
}

fn erasing(scene: &Scene) -> Vec<Case> {
    let erase = |what: &str, body: Value| command("erase-user", what, &body).by(By::User);
    vec![
        erase("nothing", json!({})).is(400, "invalid", &["/current_password", "/reason"]),
        erase("no password", json!({ "reason": "leaving" })).is(400, "invalid", &["/current_password"]),
        erase("no reason", json!({ "current_password": PASSWORD })).is(400, "invalid", &["/reason"]),
        erase(
            "a wrong password",
            json!({ "reason": "leaving", "current_password": "wrong and long" }),
        )
        .is(403, "wrong-password", &["/current_password"]),
        erase(
            "somebody else",
            json!({ "reason": "leaving", "current_password": PASSWORD, "user_id": scene.other.user }),
        )
        .is(404, "not-found", &[]),
        erase("nobody", json!({ "reason": "leaving", "user_id": MISSING })).is(404, "not-found", &[]),
        erase(
            "nobody, by an administrator",
            json!({ "reason": "leaving", "user_id": MISSING }),
        )
        .by(By::Admin)
        .is(404, "not-found", &[]),
        erase("no reason by an administrator", json!({ "user_id": scene.other.user }))
            .by(By::Admin)
            .is(400, "invalid", &["/reason"]),
        erase(
            "the last administrator",
            json!({ "reason": "leaving", "current_password": PASSWORD }),
        )
        .by(By::Admin)
        .is(409, "conflict", &[]),
        erase(
            "by nobody",
            json!({ "reason": "leaving", "current_password": PASSWORD }),
        )
        .by(By::Nobody)
        .is(401, "unauthenticated", &[]),
    ]
}

fn addresses() -> Vec<Case> {
    let mut cases = Vec::new();
    for name in ["block-address", "unblock-address"] {
        let order = |what: &str, body: Value| command(name, what, &body).by(By::Admin);
        let good = json!({ "address": "mallory@unknown.example" });
        cases.extend([
            order("nothing", json!({})).is(400, "invalid", &["/address"]),
            order("a domain", json!({ "address": "farm.example" })).is(400, "invalid", &["/address"]),
            order("a list", json!({ "address": ["mallory@farm.example"] })).is(400, "invalid", &["/address"]),
            order("a reason null", with(&good, "reason", &json!(null))).is(400, "invalid", &["/reason"]),
            order("an unknown field", with(&good, "domain", &json!("farm.example"))).is(
                400,
                "unknown-field",
                &["/domain"],
            ),
            order("by a user", good.clone()).by(By::User).is(403, "forbidden", &[]),
        ]);
    }
    let unknown = json!({ "address": "mallory@unknown.example" });
    cases.push(
        command("unblock-address", "one of a domain nobody knows", &unknown)
            .by(By::Admin)
            .is(404, "not-found", &[]),
    );
    for (name, status, slug) in [
        ("issue-authority-token", 0, ""),
        ("rotate-authority-token", 409, "conflict"),
        ("revoke-authority-token", 404, "not-found"),
    ] {
        let order = |what: &str, body: Value| command(name, what, &body).by(By::Admin);
        cases.extend([
            order("nothing", json!({})).is(400, "invalid", &["/domain"]),
            order("an address", json!({ "domain": "a@farm.example" })).is(400, "invalid", &["/domain"]),
            order(
                "an unknown field",
                json!({ "domain": "farm.example", "token": "ura_x" }),
            )
            .is(400, "unknown-field", &["/token"]),
            order("by a user", json!({ "domain": "farm.example" }))
                .by(By::User)
                .is(403, "forbidden", &[]),
        ]);
        if status > 0 {
            let body = json!({ "domain": "unknown.example" });
            cases.push(order("a domain without one", body).is(status, slug, &[]));
        }
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
