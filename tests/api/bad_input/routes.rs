//! Paths nobody serves, and methods a path does not have.

use std::collections::BTreeMap;

use user_registry::http::ROUTES;

use super::case::{By, Case, Scene, case};

pub fn cases(_: &Scene) -> Vec<Case> {
    let mut cases = Vec::new();
    for path in [
        "/v1",
        "/v1/",
        "/v1/nothing",
        "/V1/me",
        "/v1/me/",
        "//v1/me",
        "/v1//me",
        "/v1/users/",
        "/v1/commands",
        "/v1/commands/",
        "/v1/commands/nonsense",
        "/v1/commands/register-user/",
        "/v1/commands/Register-User",
        "/v2/me",
        "/healthz/",
        "/.env",
        "/.git/config",
        "/admin",
        "/v1/me%00",
        "/v1/%2e%2e/me",
        "/robots.txt",
    ] {
        cases.push(
            case(format!("nothing at {path}"), "GET", path)
                .by(By::Admin)
                .is(404, "not-found", &[]),
        );
        cases.push(
            case(format!("nothing to post to {path}"), "POST", path)
                .text("{}")
                .is(404, "not-found", &[]),
        );
    }
    let long = "x".repeat(4_097);
    cases.push(
        case("an address of more than 4 KiB", "GET", format!("/v1/users?q={long}"))
            .by(By::Admin)
            .is(413, "too-large", &[]),
    );
    cases.push(case("a path of more than 4 KiB", "GET", format!("/{long}")).is(413, "too-large", &[]));
    cases.extend(methods());
    cases
}

/// Every path of the table with every method it does not have.
fn methods() -> Vec<Case> {
    let mut paths: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for route in ROUTES {
        let methods = paths.entry(route.path).or_default();
        methods.push(route.method.as_str());
        if route.method == "GET" {
            methods.push("HEAD");
        }
    }
    let mut cases = Vec::new();
    for (path, has) in paths {
        let address = path
            .replace("{id}", "0197a1b2-0000-7000-8000-000000000001")
            .replace("{name}", "a.example");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"] {
            if !has.contains(&method) {
                let case = case(format!("{method} {path}"), method, address.clone()).by(By::Admin);
                cases.push(case.is(405, "method-not-allowed", &[]).and_allow(&has));
            }
        }
    }
    cases
}
