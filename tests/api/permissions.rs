//! Who may use which route: every route, with every kind of caller.

use aggregates::values::Role;
use serde_json::{Value, json};
use user_registry::http::ROUTES;

use crate::harness::{App, Engine, PASSWORD, Reply, Tokens, on_both_engines};

on_both_engines![every_route_is_open_to_those_it_is_for_and_to_nobody_else];

/// The contract's column "who".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Public,
    SignedIn,
    AuditorOrAdmin,
    Admin,
}

use Who::{Admin, AuditorOrAdmin, Public, SignedIn};

/// Typed from the contract, not from the code.
const TABLE: &[(&str, &str, Who)] = &[
    ("POST", "/v1/commands/register-user", Public),
    ("POST", "/v1/commands/request-email-verification", Public),
    ("POST", "/v1/commands/verify-email", Public),
    ("POST", "/v1/commands/change-password", SignedIn),
    ("POST", "/v1/commands/update-profile", SignedIn),
    ("POST", "/v1/commands/allow-domain", Admin),
    ("POST", "/v1/commands/block-domain", Admin),
    ("POST", "/v1/commands/unblock-domain", Admin),
    ("POST", "/v1/sessions", Public),
    ("POST", "/v1/sessions/refresh", Public),
    ("GET", "/v1/sessions", SignedIn),
    ("DELETE", "/v1/sessions", SignedIn),
    ("DELETE", "/v1/sessions/current", SignedIn),
    ("DELETE", "/v1/sessions/{id}", SignedIn),
    ("GET", "/v1/me", SignedIn),
    ("GET", "/v1/users", AuditorOrAdmin),
    ("GET", "/v1/users/{id}", SignedIn),
    ("GET", "/v1/users/{id}/history", SignedIn),
    ("GET", "/v1/domains", AuditorOrAdmin),
    ("GET", "/v1/domains/check", Admin),
    ("GET", "/v1/domains/{name}", AuditorOrAdmin),
    ("GET", "/v1/domains/{name}/history", AuditorOrAdmin),
    ("GET", "/.well-known/jwks.json", Public),
    ("GET", "/healthz", Public),
    ("GET", "/readyz", Public),
    ("GET", "/metrics", Public),
    ("GET", "/problems/{slug}", Public),
    ("GET", "/verify-email", Public),
    ("POST", "/verify-email", Public),
];

/// A kind of caller: the name to sign in with, if there is one, and the most it may use.
const CALLERS: [(Option<&str>, Who, bool); 4] = [
    (None, Public, false),
    (Some("ada"), SignedIn, false),
    (Some("alan"), AuditorOrAdmin, true),
    (Some("boss"), Admin, true),
];

/// What a caller who is let in is answered, by a request that is as good as it can be without an effect.
fn request(path: &str, whom: &str, caller: &str) -> (String, Option<Value>, u16) {
    let body = |body: Value, status: u16| (path.to_owned(), Some(body), status);
    let at = |path: String, status: u16| (path, None, status);
    match path {
        "/v1/commands/register-user" => body(
            json!({ "username": format!("made.by.{caller}"), "password": PASSWORD }),
            201,
        ),
        "/v1/commands/request-email-verification" => body(json!({ "email": "nobody@farm.example" }), 202),
        "/v1/commands/verify-email" => body(json!({ "token": "nonsense" }), 410),
        "/v1/commands/change-password" => body(
            json!({ "current_password": PASSWORD, "new_password": "nine grey geese by a pond" }),
            200,
        ),
        "/v1/commands/update-profile" => body(json!({ "full_name": format!("By {caller}") }), 200),
        "/v1/commands/allow-domain" | "/v1/commands/block-domain" | "/v1/commands/unblock-domain" => {
            body(json!({ "domain": "registry.example" }), 200)
        }
        "/v1/sessions/refresh" => body(json!({ "refresh_token": "nonsense" }), 401),
        "/v1/users/{id}" | "/v1/users/{id}/history" => at(path.replace("{id}", whom), 200),
        "/v1/domains/{name}" | "/v1/domains/{name}/history" => at(path.replace("{name}", "registry.example"), 200),
        "/v1/domains/check" => at(format!("{path}?address=ann@farm.example"), 200),
        "/v1/sessions/{id}" => at(path.replace("{id}", "0197a1b2-0000-7000-8000-000000000001"), 404),
        "/problems/{slug}" => at(path.replace("{slug}", "stale"), 200),
        "/verify-email" => at(path.to_owned(), 410),
        _ => at(path.to_owned(), 200),
    }
}

async fn every_route_is_open_to_those_it_is_for_and_to_nobody_else(engine: Engine) {
    let mut routes: Vec<(&str, &str)> = ROUTES.iter().map(|route| (route.method.as_str(), route.path)).collect();
    let mut table: Vec<(&str, &str)> = TABLE.iter().map(|(method, path, _)| (*method, *path)).collect();
    routes.sort_unstable();
    table.sort_unstable();
    assert_eq!(
        routes, table,
        "the table of the code and the one of the contract differ"
    );

    let app = App::start(engine).await;
    app.admin().await;
    let auditor = app.with_role("alan", Role::Auditor).await;
    let me = app.get("/v1/me").bearer(&auditor.access).expect(200).await;
    assert_eq!(me["roles"], json!(["user", "auditor"]));
    let ada = app.user("ada").await;
    let (mut calls, mut wrong) = (0, Vec::new());
    for (method, path, who) in TABLE {
        for (name, may, reads_all) in CALLERS {
            let tokens = sign_in(&app, name).await;
            let own = tokens.as_ref().filter(|_| !reads_all);
            let whom = own.map_or(ada.user.as_str(), |tokens| &tokens.user);
            let reply = ask(&app, method, path, tokens.as_ref(), whom, name.unwrap_or("nobody")).await;
            calls += 1;
            if let Err(problem) = judge(method, path, &reply, may >= *who, name) {
                wrong.push(format!("{method} {path} as {}: {problem}", name.unwrap_or("nobody")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{engine:?}: {calls} calls of {} routes", TABLE.len());
}

/// A new session for each call: some of them end it. One changes the password.
async fn sign_in(app: &App, name: Option<&str>) -> Option<Tokens> {
    let name = name?;
    for password in [PASSWORD, "nine grey geese by a pond"] {
        let body = json!({ "identifier": name, "password": password });
        let reply = app.post("/v1/sessions", &body).send().await;
        if reply.status == 201 {
            return Some(Tokens::of(&reply.json()));
        }
    }
    panic!("{name} cannot sign in");
}

async fn ask(app: &App, method: &str, path: &str, tokens: Option<&Tokens>, whom: &str, caller: &str) -> Reply {
    let (address, body, _) = request(path, whom, caller);
    let mut call = app
        .call(method, &address)
        .maybe(tokens.map(|tokens| tokens.access.as_str()));
    if method == "POST" && path == "/verify-email" {
        call = call
            .header("content-type", "application/x-www-form-urlencoded")
            .raw("token=nonsense");
    } else if method == "POST" && path == "/v1/sessions" {
        call = call.json(&json!({ "identifier": "nobody", "password": PASSWORD }));
    } else if let Some(body) = body {
        call = call.json(&body);
    }
    call.send().await
}

fn judge(method: &str, path: &str, reply: &Reply, may: bool, name: Option<&str>) -> Result<(), String> {
    let expected = match (may, name) {
        (true, _) => match (method, path) {
            ("POST", "/v1/sessions") => (401, Some("invalid-credentials")),
            ("DELETE", "/v1/sessions" | "/v1/sessions/current") => (204, None),
            _ => (request(path, "", "").2, None),
        },
        (false, None) => (401, Some("unauthenticated")),
        (false, Some(_)) => (403, Some("forbidden")),
    };
    let slug = (reply.header("content-type") == "application/problem+json").then(|| reply.problem().0);
    if reply.status != expected.0 || expected.1.is_some_and(|expected| slug.as_deref() != Some(expected)) {
        return Err(format!("expected {expected:?}, got {} {}", reply.status, reply.body));
    }
    Ok(())
}
