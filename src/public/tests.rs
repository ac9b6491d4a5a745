#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use aggregates::audit::AuditEvent;
use aggregates::domain::DomainEvent;
use aggregates::event::Recordable as _;
use aggregates::session::SessionEvent;
use aggregates::user::UserEvent;
use serde_json::{Map, Value, json};

use super::*;

/// What was published so far, without its descriptions: a type and a version, and the schema of the facts.
const PUBLISHED: &str = include_str!("../../tests/public/published.json");

fn record(aggregate_type: &str, aggregate_id: &str, payload: &str, metadata: &str) -> EventRecord {
    let payload_kind: Value = serde_json::from_str(payload).unwrap();
    EventRecord {
        aggregate_type: aggregate_type.to_owned(),
        aggregate_id: aggregate_id.to_owned(),
        sequence: 3,
        event_type: payload_kind["type"].as_str().unwrap().to_owned(),
        event_version: "1.0".to_owned(),
        payload: payload.to_owned(),
        metadata: metadata.to_owned(),
        position: 42,
        event_id: Uuid::from_u128(7),
        subject: aggregate_id.to_owned(),
        recorded_at: Timestamp::parse("2026-11-20T03:08:47.848577Z").unwrap(),
    }
}

const USER: &str = "01a1fddd-2e94-73c6-b791-5c530f6f0c92";
const TOLD: &str = r#"{"actor":"self","dialect":"canonical","request_id":"r-1","status":"active","event_id":"x"}"#;

fn public(aggregate_type: &str, aggregate_id: &str, payload: &str, metadata: &str) -> Value {
    let record = record(aggregate_type, aggregate_id, payload, metadata);
    let event = Public::default().event(&record).unwrap();
    serde_json::from_slice(&event.to_json()).unwrap()
}

fn data(aggregate_type: &str, aggregate_id: &str, payload: &str, metadata: &str) -> Value {
    public(aggregate_type, aggregate_id, payload, metadata)["data"].clone()
}

#[test]
fn a_public_event_looks_as_the_contract_says() {
    let payload = r#"{"type":"user.email_verified","sealed":{"person":{"fields":["email"],"v":"AAAA"}}}"#;
    let record = record("user", USER, payload, TOLD);
    let event = Public::default().event(&record).unwrap();
    let text = String::from_utf8(event.to_json()).unwrap();
    let expected = format!(
        r#"{{"specversion":"1.0","id":"00000000-0000-0000-0000-000000000007","source":"/registry","type":"user.email_verified","subject":"{USER}","time":"2026-11-20T03:08:47.848577Z","datacontenttype":"application/json","dataschema":"/schemas/user.email_verified/1","position":42,"sequence":3,"correlationid":"r-1","data":{{"dialect":"canonical","status":"active"}}}}"#
    );
    assert_eq!(text, expected);
}

#[test]
fn the_address_of_a_schema_is_whole_where_the_service_has_one() {
    let record = record("user", USER, r#"{"type":"user.erased"}"#, TOLD);
    let public = Public::new(Some("https://registry.example/base"));
    let event = public.event(&record).unwrap();
    assert_eq!(event.dataschema, "https://registry.example/base/schemas/user.erased/1");
}

#[test]
fn every_kind_that_is_stored_is_published_under_its_name() {
    let stored: Vec<&str> = [
        UserEvent::KINDS,
        SessionEvent::KINDS,
        DomainEvent::KINDS,
        AuditEvent::KINDS,
    ]
    .into_iter()
    .flatten()
    .map(|kind| kind.name)
    .collect();
    let published: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    assert_eq!(published, stored);
}

#[test]
fn what_an_event_says_itself_goes_before_what_its_request_says() {
    let payload = r#"{"type":"session.started","user":"01a1fddd-2e94-73c6-b791-5c530f6f0c92","dialect":"taxi","method":"device",
        "idle_expires_at":"2026-11-20T03:08:47.848577Z","expires_at":"2026-11-20T03:08:47.848577Z"}"#;
    assert_eq!(
        data("session", USER, payload, TOLD),
        json!({ "dialect": "taxi", "session_id": USER, "method": "device" })
    );
}

#[test]
fn where_an_account_stands_is_told_by_the_log_or_by_what_happened_or_not_at_all() {
    let silent = r#"{"dialect":"cadasta"}"#;
    let locked = r#"{"type":"user.locked","reason":"attempts"}"#;
    assert_eq!(
        data("user", USER, locked, silent),
        json!({ "dialect": "cadasta", "status": "locked", "reason": "attempts" })
    );
    for (kind, status) in [
        ("deactivated", "deactivated"),
        ("erased", "erased"),
        ("expired", "erased"),
    ] {
        let payload = format!(r#"{{"type":"user.{kind}"}}"#);
        assert_eq!(data("user", USER, &payload, silent)["status"], status);
    }
    for (active, status) in [(true, "active"), (false, "pending")] {
        let payload = format!(
            r#"{{"type":"user.registered","dialect":"xhoppe","discoverable":false,"email_verified":true,"active":{active},"credential_version":1}}"#
        );
        assert_eq!(
            data("user", USER, &payload, silent),
            json!({ "dialect": "xhoppe", "status": status, "email_verified": true })
        );
    }
    // Unlocked may be active or pending: only the log knows.
    let unlocked = r#"{"type":"user.unlocked"}"#;
    assert_eq!(data("user", USER, unlocked, silent), json!({ "dialect": "cadasta" }));
    assert_eq!(data("user", USER, unlocked, TOLD)["status"], "active");
}

#[test]
fn of_a_rule_for_a_domain_its_words_stay_here() {
    let payload = r#"{"type":"domain.blocked","include_subdomains":true,"reason":"spam from Joe"}"#;
    assert_eq!(
        data("domain", "xn--bcher-kva.example", payload, TOLD),
        json!({ "dialect": "canonical", "domain": "xn--bcher-kva.example", "include_subdomains": true })
    );
    let payload = r#"{"type":"audit.history_read","of":"01a1fddd-2e94-73c6-b791-5c530f6f0c92","hour":5}"#;
    assert_eq!(data("audit", USER, payload, TOLD), json!({}));
    let payload = r#"{"type":"audit.users_listed","hour":5}"#;
    assert_eq!(data("audit", USER, payload, TOLD), json!({}));
}

#[test]
fn an_event_that_makes_no_sense_is_told_of_without_its_words() {
    for (aggregate_type, id, payload, metadata) in [
        ("user", USER, r#"{"type":"user.secretly_renamed"}"#, TOLD),
        ("user", USER, r#"{"type":"user.role_granted","role":"hunter2"}"#, TOLD),
        ("user", USER, r#"{"type":"user.erased"}"#, r#"{"dialect":"hunter2"}"#),
        ("planet", USER, r#"{"type":"user.erased"}"#, TOLD),
        ("domain", "hunter2 .example", r#"{"type":"domain.observed"}"#, TOLD),
    ] {
        let record = record(aggregate_type, id, payload, metadata);
        let problem = Public::default().event(&record).unwrap_err();
        let text = problem.to_string();
        assert!(matches!(problem, StoreError::Corrupt { .. }), "{text}");
        assert!(text.contains("42") && !text.contains("hunter2"), "{text}");
    }
}

/// Every schema without what does not bind anybody.
fn bare(mut schema: Value) -> Value {
    if let Value::Object(members) = &mut schema {
        members.remove("description");
        members.remove("title");
        for member in members.values_mut() {
            *member = bare(member.take());
        }
    }
    schema
}

/// What every public event has, without the list of kinds: those stand for themselves.
fn common() -> Value {
    let mut common = bare(schema::envelope(None));
    common["properties"]["type"].take();
    common
}

/// A type or a field, once published, never changes its meaning. What must change gets the next version of its kind, and
/// the one before stays among the former ones. What all have in common has no version: it may only grow.
#[test]
fn what_was_published_has_not_changed() {
    let published: Map<String, Value> = serde_json::from_str(PUBLISHED).unwrap();
    let now: Map<String, Value> = KINDS
        .iter()
        .map(|kind| {
            let name = format!("{}/{}", kind.name, kind.version);
            (name, bare(schema::facts(kind)))
        })
        .chain(schema::FORMER.iter().map(|(name, text)| {
            let schema = serde_json::from_str(text).unwrap();
            ((*name).to_owned(), bare(schema))
        }))
        .chain([("envelope".to_owned(), common())])
        .collect();
    if std::env::var_os("WRITE_PUBLISHED").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/public/published.json");
        let lines: Vec<String> = now
            .iter()
            .map(|(name, schema)| format!("{}: {schema}", json!(name)))
            .collect();
        std::fs::write(path, format!("{{\n{}\n}}\n", lines.join(",\n"))).unwrap();
        panic!("written anew: look at the difference before it is committed");
    }
    for (name, schema) in &published {
        let Some(today) = now.get(name) else {
            panic!("{name} was published and is gone: keep its schema in FORMER");
        };
        assert_eq!(
            today, schema,
            "{name} was published and has changed: give the kind the next version and keep this schema in FORMER, or write \
             it anew with WRITE_PUBLISHED=1 if something was only added"
        );
    }
    let fresh: Vec<&String> = now.keys().filter(|name| !published.contains_key(*name)).collect();
    assert!(fresh.is_empty(), "new, so add them with WRITE_PUBLISHED=1: {fresh:?}");
}

#[test]
fn a_schema_is_found_by_type_and_version() {
    let found = schema("user.locked", "1").unwrap();
    assert_eq!(found["$id"], "/schemas/user.locked/1");
    assert_eq!(found["required"], json!(["dialect", "reason"]));
    for (name, version) in [
        ("user.locked", "2"),
        ("user.locked", "01"),
        ("user.gone", "1"),
        ("", ""),
    ] {
        assert_eq!(schema(name, version), None, "{name} {version}");
    }
    // A former version stays beside the one that is sent.
    let former = [("user.locked/0", r#"{"type":"object"}"#)];
    let found = schema::schema_among(&former, "user.locked", "0").unwrap();
    assert_eq!(
        (&found["$id"], &found["type"]),
        (&json!("/schemas/user.locked/0"), &json!("object"))
    );
    assert_eq!(
        schema::schema_among(&former, "user.locked", "1"),
        schema("user.locked", "1")
    );
}
