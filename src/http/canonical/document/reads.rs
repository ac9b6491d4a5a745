//! Reads.

use aggregates::values::{Country, DomainName, Email, Role, StandingKind};
use projections::Status;
use serde_json::{Value, json};

use super::{DomainBody, EventBody, UserBody, VerdictBody};
use crate::http::canonical::past::ChangeBody;
use crate::http::document::{Components, Listed, Operation, Shape};
use crate::http::problem::Slug;

const PEOPLE: &str = "People";
const DOMAINS: &str = "Domains";

pub(super) fn operations() -> Vec<Operation> {
    let mut operations = people();
    operations.extend(domains());
    operations
}

/// The schema of a parameter that is parsed to this type.
fn of<T: Shape>() -> Value {
    T::schema(&mut Components::new())
}

/// A log position or a time.
fn moment() -> Value {
    json!({ "type": "string", "minLength": 1 })
}

fn search() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": 128 })
}

fn people() -> Vec<Operation> {
    vec![
        Operation::get("/v1/me", PEOPLE, "One's own account")
            .versioned::<UserBody>(200, "The caller's account.")
            .refused(&[Slug::Invalid]),
        Operation::get("/v1/users", PEOPLE, "Accounts")
            .query(
                "q",
                "The start of a username, an address, a number or a word of the name. Of several words, at most 16, each.",
                search(),
                "joe",
            )
            .query("status", "", of::<Status>(), "active")
            .query("domain", "Of the address.", of::<DomainName>(), "example.com")
            .query(
                "verified",
                "Whether the address is verified; an account without one counts as not, whatever its number.",
                of::<bool>(),
                true,
            )
            .query("role", "", of::<Role>(), "admin")
            .query("country", "", of::<Country>(), "SG")
            .query(
                "sort",
                "A minus turns the order round.",
                json!({
                    "type": "string",
                    "enum": ["created_at", "-created_at", "username", "-username"],
                    "default": "created_at",
                }),
                "-created_at",
            )
            .paged()
            .answers::<Listed<UserBody, String>>(200, "A page of them."),
        Operation::get("/v1/users/{id}", PEOPLE, "An account")
            .text("One's own, or anybody's for administrators and auditors; whose past they look at is recorded.")
            .query(
                "at",
                "As it was at this log position or time.",
                moment(),
                "2026-11-21T09:30:00Z",
            )
            .versioned::<UserBody>(200, "The account."),
        Operation::get("/v1/users/{id}/diff", PEOPLE, "What changed of an account between two moments")
            .text("One's own, or anybody's for administrators and auditors; their reading is recorded.")
            .needed("from", "A log position or a time.", moment(), "1")
            .needed("to", "A log position or a time.", moment(), "1")
            .answers::<Listed<ChangeBody, String>>(200, "Each field that is not what it was, with the last event that changed it."),
        Operation::get("/v1/users/{id}/history/bundle", PEOPLE, "An account's events with their proofs, to be checked elsewhere")
            .text("A file of JSON lines for `user-registry audit verify`, which needs no network and no store. One's own, or anybody's for administrators and auditors; their reading is recorded.")
            .query("from", "From this log position or time on.", moment(), "1")
            .query("to", "Up to this log position or time.", moment(), "2026-11-21T09:30:00Z")
            .plain("application/x-ndjson", "The bundle."),
        Operation::get("/v1/users/{id}/history", PEOPLE, "What happened to an account")
            .text("One's own, or anybody's for administrators and auditors; their reading is recorded.")
            .history()
            .query("types", "Of these types only, parted by commas.", json!({ "type": "string" }), "user.*")
            .query("from", "From this log position or time on.", moment(), "1")
            .query("to", "Up to this log position or time.", moment(), "2026-11-21T09:30:00Z")
            .answers::<Listed<EventBody, i64>>(200, "A page of its events, oldest first."),
    ]
}

fn domains() -> Vec<Operation> {
    vec![
        Operation::get("/v1/domains", DOMAINS, "Domains")
            .query("q", "The start of the name.", search(), "farm")
            .query("standing", "", of::<StandingKind>(), "blocked")
            .paged()
            .answers::<Listed<DomainBody, String>>(200, "A page of them, by name. More than 1,000 `users` of one are as many as the statistics have counted so far."),
        Operation::get("/v1/domains/check", DOMAINS, "Whether an address may register")
            .needed("address", "", of::<Email>(), "joe.smith@example.com")
            .answers::<VerdictBody>(200, "The verdict, and the rule it rests on."),
        Operation::get("/v1/domains/{name}", DOMAINS, "A domain")
            .versioned::<DomainBody>(200, "The domain.")
            .refused(&[Slug::Invalid]),
        Operation::get("/v1/domains/{name}/history", DOMAINS, "What happened to a domain")
            .history()
            .query(
                "types",
                "Of these types only, parted by commas.",
                json!({ "type": "string" }),
                "domain.*",
            )
            .query("from", "From this log position or time on.", moment(), "1")
            .query(
                "to",
                "Up to this log position or time.",
                moment(),
                "2026-11-21T09:30:00Z",
            )
            .answers::<Listed<EventBody, i64>>(200, "A page of its events, oldest first."),
    ]
}
