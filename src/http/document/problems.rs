//! Which problems an operation may be answered with, and how the document shows them.

use serde_json::{Map, Value, json};

use super::{Operation, header_named, headers_of_all};
use crate::config::Config;
use crate::http::problem::Slug;
use crate::http::routes::Permission;

/// The problems of an operation: its own, and those that come with what it takes and whom it is for.
pub(super) fn of(operation: &Operation, permission: Permission, config: &Config) -> Vec<Slug> {
    // Two credentials, an address or a head that is too large, limits, faults and outages meet every request.
    let mut slugs = vec![
        Slug::Malformed,
        Slug::TooLarge,
        Slug::TooManyRequests,
        Slug::Internal,
        Slug::Unavailable,
    ];
    let json = operation.path.starts_with("/v1/");
    if json {
        slugs.push(Slug::NotAcceptable);
    }
    if json && operation.path.contains('{') {
        slugs.push(Slug::NotFound);
    }
    if operation
        .sent
        .as_ref()
        .is_some_and(|sent| sent.media == "application/json")
    {
        slugs.extend([Slug::Invalid, Slug::UnknownField, Slug::UnsupportedMediaType]);
    }
    let known = [Slug::Unauthenticated, Slug::TokenExpired, Slug::TokenRevoked];
    match permission {
        Permission::Public => {}
        Permission::Checker if config.registration.public_check => {}
        Permission::SignedIn => slugs.extend(known),
        Permission::Person | Permission::Subscriber | Permission::Reader | Permission::Admin | Permission::Checker => {
            slugs.extend(known);
            slugs.push(Slug::Forbidden);
        }
    }
    slugs.extend(&operation.refusals);
    slugs
}

/// The answer of one status that carries these problems.
pub(super) fn answer(status: u16, slugs: &[Slug]) -> Value {
    let mut headers: Map<String, Value> = headers_of_all().collect();
    match status {
        401 => drop(headers.insert("WWW-Authenticate".to_owned(), header_named("WWW-Authenticate"))),
        429 | 503 => drop(headers.insert("Retry-After".to_owned(), header_named("Retry-After"))),
        _ => {}
    }
    let kinds: Vec<String> = slugs.iter().map(|slug| format!("/problems/{slug}")).collect();
    let titles: Vec<&str> = slugs.iter().map(|slug| slug.title()).collect();
    json!({
        "description": format!("{}.", titles.join("; ")),
        "headers": headers,
        "content": {
            "application/problem+json": {
                "schema": {
                    "allOf": [
                        { "$ref": "#/components/schemas/Problem" },
                        { "properties": { "type": { "enum": kinds }, "status": { "const": status } } },
                    ],
                },
                "example": {
                    "type": kinds.first(),
                    "title": titles.first(),
                    "status": status,
                    "detail": slugs.first().map(|slug| slug.meaning()),
                    "instance": "01a1fddd-34d9-7ec8-a8ad-d9af157314ba",
                },
            },
        },
    })
}
