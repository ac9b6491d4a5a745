//! Fields of the commands that change how somebody is reached, and of those for whoever lost a password.

use serde_json::{Value, json};

use super::bodies::of_route;
use super::case::{By, Case, Scene, command};
use crate::harness::{PASSWORD, encoded};

const NUMBER: &str = "+6584932469";
const NEW: &str = "nine grey geese by a pond";

pub fn cases(scene: &Scene) -> Vec<Case> {
    let forms = [
        ("request-phone-verification", By::Nobody, json!({ "phone": NUMBER })),
        ("verify-phone", By::Nobody, json!({ "phone": NUMBER, "code": "000000" })),
        (
            "request-password-reset",
            By::Nobody,
            json!({ "email": "nobody@farm.example" }),
        ),
        (
            "reset-password",
            By::Nobody,
            json!({ "token": "x", "new_password": NEW }),
        ),
        ("change-username", By::User, json!({ "username": "fresh" })),
        (
            "request-email-change",
            By::User,
            json!({ "email": "new@farm.example", "current_password": PASSWORD }),
        ),
        ("confirm-email-change", By::Nobody, json!({ "token": "x" })),
        (
            "change-phone",
            By::User,
            json!({ "phone": NUMBER, "current_password": PASSWORD }),
        ),
    ];
    let bodies = forms
        .iter()
        .flat_map(|(name, by, good)| of_route(&format!("/v1/commands/{name}"), *by, 16, good));
    bodies.chain(codes()).chain(resets()).chain(contacts(scene)).collect()
}

fn codes() -> Vec<Case> {
    let verify = |what: &str, body: Value| command("verify-phone", what, &body);
    let ask = |what: &str, body: Value| command("request-phone-verification", what, &body);
    let mut cases = vec![
        verify("nothing", json!({})).is(400, "invalid", &["/code", "/phone"]),
        verify("a code as a number", json!({ "phone": NUMBER, "code": 123_456 })).is(400, "invalid", &["/code"]),
        verify("a code that is null", json!({ "phone": NUMBER, "code": null })).is(400, "invalid", &["/code"]),
        verify("a list of codes", json!({ "phone": NUMBER, "code": ["000000"] })).is(400, "invalid", &["/code"]),
        verify("no number", json!({ "phone": "84932466", "code": "000000" })).is(400, "invalid", &["/phone"]),
        verify(
            "a user beside it",
            json!({ "phone": NUMBER, "code": "000000", "user_id": "x" }),
        )
        .is(400, "unknown-field", &["/user_id"]),
        ask("no number", json!({})).is(400, "invalid", &["/phone"]),
        ask("an address", json!({ "phone": "ada@farm.example" })).is(400, "invalid", &["/phone"]),
        ask("a list", json!({ "phone": [NUMBER] })).is(400, "invalid", &["/phone"]),
    ];
    for code in [
        "0",
        "00000",
        "0000000",
        "abcdef",
        "\u{660}\u{660}\u{660}\u{660}\u{660}\u{660}",
    ] {
        let what = format!("a code that is {code:?}");
        cases.push(verify(&what, json!({ "phone": NUMBER, "code": code })).is(410, "invalid-token", &[]));
    }
    cases
}

fn resets() -> Vec<Case> {
    let ask = |what: &str, body: Value| command("request-password-reset", what, &body);
    let reset = |what: &str, body: Value| command("reset-password", what, &body);
    let by_link = |token: Value| json!({ "token": token, "new_password": NEW });
    let mut cases = vec![
        ask("nothing", json!({})).is(400, "invalid", &[""]),
        ask("both", json!({ "email": "ada@farm.example", "phone": NUMBER })).is(400, "invalid", &[""]),
        ask("null", json!({ "email": null })).is(400, "invalid", &["/email"]),
        ask("no address", json!({ "email": "nobody" })).is(400, "invalid", &["/email"]),
        ask("a username", json!({ "username": "ada" })).is_any(400, "invalid"),
        reset("nothing", json!({})).is(400, "invalid", &["", "/new_password"]),
        reset("no password", json!({ "token": "x" })).is(400, "invalid", &["/new_password"]),
        reset("no proof", json!({ "new_password": NEW })).is(400, "invalid", &[""]),
        reset(
            "a number without a code",
            json!({ "phone": NUMBER, "new_password": NEW }),
        )
        .is(400, "invalid", &["/code"]),
        reset(
            "a code without a number",
            json!({ "code": "000000", "new_password": NEW }),
        )
        .is(400, "invalid", &["/phone"]),
        reset(
            "a link and a code",
            json!({ "token": "x", "phone": NUMBER, "code": "000000", "new_password": NEW }),
        )
        .is(400, "invalid", &[""]),
        reset(
            "a common password",
            json!({ "token": encoded(&[7; 48]), "new_password": "password1" }),
        )
        .is_any(400, "invalid")
        .at_field("/new_password"),
    ];
    for token in [json!(null), json!([]), json!(0), json!("")] {
        cases.push(reset(&format!("a token that is {token}"), by_link(token)).is(400, "invalid", &["/token"]));
    }
    for (what, token) in [
        ("of the right form", encoded(&[7; 48])),
        ("a byte short", encoded(&[7; 47])),
        ("a word", "null".to_owned()),
    ] {
        cases.push(reset(&format!("a token {what}"), by_link(json!(token))).is(410, "invalid-token", &[]));
        let confirm = json!({ "token": token });
        cases.push(command("confirm-email-change", what, &confirm).is(410, "invalid-token", &[]));
    }
    cases
}

fn contacts(scene: &Scene) -> Vec<Case> {
    let by_user = |name: &str, what: &str, body: Value| command(name, what, &body).by(By::User);
    let change = |what: &str, body: Value| by_user("request-email-change", what, body);
    let phone = |what: &str, body: Value| by_user("change-phone", what, body);
    let name = |what: &str, body: Value| by_user("change-username", what, body);
    vec![
        change("nothing", json!({})).is(400, "invalid", &["/current_password", "/email"]),
        change("no password", json!({ "email": "new@farm.example" })).is(400, "invalid", &["/current_password"]),
        change(
            "somebody else",
            json!({ "email": "new@farm.example", "current_password": PASSWORD, "user_id": scene.other.user }),
        )
        .is(400, "unknown-field", &["/user_id"]),
        change(
            "an address that is taken",
            json!({ "email": "j\u{f6}rg@xn--bcher-kva.example", "current_password": PASSWORD }),
        )
        .is(409, "taken", &["/email"]),
        change(
            "a wrong password",
            json!({ "email": "new@farm.example", "current_password": NEW }),
        )
        .is(403, "wrong-password", &["/current_password"]),
        phone("nothing", json!({})).is(400, "invalid", &["/current_password", "/phone"]),
        phone(
            "a number that is taken",
            json!({ "phone": "+6584932466", "current_password": PASSWORD }),
        )
        .is(409, "taken", &["/phone"]),
        phone(
            "a number of no country",
            json!({ "phone": "+999123456789", "current_password": PASSWORD }),
        )
        .is(400, "invalid", &["/phone"]),
        phone("a wrong password", json!({ "phone": NUMBER, "current_password": NEW })).is(
            403,
            "wrong-password",
            &["/current_password"],
        ),
        name("nothing", json!({})).is(400, "invalid", &["/username"]),
        name("null", json!({ "username": null })).is(400, "invalid", &["/username"]),
        name("an address", json!({ "username": "ada@farm.example" })).is(400, "invalid", &["/username"]),
        name("a name that is taken", json!({ "username": "paypal" })).is(409, "taken", &["/username"]),
        name("nobody's id", json!({ "username": "fresh", "user_id": "x" })).is(400, "invalid", &["/user_id"]),
        name(
            "somebody else's id",
            json!({ "username": "fresh", "user_id": scene.other.user }),
        )
        .is(404, "not-found", &[]),
    ]
}
