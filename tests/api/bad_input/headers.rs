//! `If-Match` and `Idempotency-Key`.

use serde_json::json;

use super::case::{By, Case, Scene, command};
use crate::harness::PASSWORD;

pub fn cases(_: &Scene) -> Vec<Case> {
    let update = |what: String| command("update-profile", &what, &json!({ "full_name": "Ada" })).by(By::User);
    let mut cases = Vec::new();
    for value in [
        "1",
        "",
        "\"\"",
        "\"x\"",
        "\"-1\"",
        "\"+1\"",
        "\"1.0\"",
        "W/\"1\"",
        "*",
        "\"1\", \"2\"",
        "\"1",
        "'1'",
        "\u{ff}",
    ] {
        let case = update(format!("If-Match {value:?}")).with("if-match", value);
        cases.push(case.is(400, "malformed", &[]));
    }
    cases.push(
        update("If-Match twice".into())
            .with("if-match", "\"1\"")
            .with("if-match", "\"1\"")
            .is(400, "malformed", &[]),
    );
    for version in ["0", "2", "999", "9223372036854775807", "99999999999999999999"] {
        let case = update(format!("If-Match of version {version}")).with("if-match", format!("\"{version}\""));
        cases.push(case.is(412, "stale", &[]));
    }
    cases.push(
        command(
            "block-domain",
            "If-Match of a domain nobody knows",
            &json!({ "domain": "unknown.example" }),
        )
        .by(By::Admin)
        .with("if-match", "\"1\"")
        .is(412, "stale", &[]),
    );
    cases.push(
        command(
            "change-password",
            "If-Match of another version",
            &json!({
                "current_password": PASSWORD, "new_password": "nine grey geese by a pond",
            }),
        )
        .by(By::User)
        .with("if-match", "\"7\"")
        .is(412, "stale", &[]),
    );
    for (what, value) in [
        ("that is empty", Vec::new()),
        ("of 256 characters", vec![b'k'; 256]),
        ("with a blank", b"a b".to_vec()),
        ("with a tab", b"a\tb".to_vec()),
        ("that is not ASCII", "schlüssel".as_bytes().to_vec()),
        ("that is no UTF-8", b"\xff\xfe".to_vec()),
    ] {
        let case = update(format!("Idempotency-Key {what}")).with("idempotency-key", value);
        cases.push(case.is(400, "invalid", &["/Idempotency-Key"]));
    }
    cases.push(
        update("Idempotency-Key twice".into())
            .with("idempotency-key", "a")
            .with("idempotency-key", "b")
            .is(400, "invalid", &["/Idempotency-Key"]),
    );
    for accept in [
        "text/html",
        "application/xml, text/*",
        "application/json;q=0",
        "application/json;q=0, */*;q=0",
    ] {
        let case = update(format!("Accept {accept}")).with("accept", accept);
        cases.push(case.is(406, "not-acceptable", &[]));
    }
    cases
}
