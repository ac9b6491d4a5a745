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
    /// With a session or with an API key.
    SignedIn,
    /// With a session only.
    Person,
    SubscriberAuditorOrAdmin,
    AuditorOrAdmin,
    Admin,
}

use Who::{Admin, AuditorOrAdmin, Person, Public, SignedIn, SubscriberAuditorOrAdmin};

/// Typed from the contract, not from the code.
const TABLE: &[(&str, &str, Who)] = &[
    ("POST", "/v1/commands/register-user", Public),
    ("POST", "/v1/commands/request-email-verification", Public),
    ("POST", "/v1/commands/verify-email", Public),
    ("POST", "/v1/commands/request-phone-verification", Public),
    ("POST", "/v1/commands/verify-phone", Public),
    ("POST", "/v1/commands/request-password-reset", Public),
    ("POST", "/v1/commands/reset-password", Public),
    ("POST", "/v1/commands/change-username", SignedIn),
    ("POST", "/v1/commands/request-email-change", Person),
    ("POST", "/v1/commands/confirm-email-change", Public),
    ("POST", "/v1/commands/change-phone", Person),
    ("POST", "/v1/commands/change-password", Person),
    ("POST", "/v1/commands/update-profile", SignedIn),
    ("POST", "/v1/commands/allow-domain", Admin),
    ("POST", "/v1/commands/block-domain", Admin),
    ("POST", "/v1/commands/unblock-domain", Admin),
    ("POST", "/v1/commands/lock-user", Admin),
    ("POST", "/v1/commands/unlock-user", Admin),
    ("POST", "/v1/commands/deactivate-user", Admin),
    ("POST", "/v1/commands/reactivate-user", Admin),
    ("POST", "/v1/commands/grant-role", Admin),
    ("POST", "/v1/commands/revoke-role", Admin),
    ("POST", "/v1/commands/issue-api-key", SignedIn),
    ("POST", "/v1/commands/revoke-api-key", SignedIn),
    ("POST", "/v1/commands/erase-user", SignedIn),
    ("POST", "/v1/commands/block-address", Admin),
    ("POST", "/v1/commands/unblock-address", Admin),
    ("POST", "/v1/commands/issue-authority-token", Admin),
    ("POST", "/v1/commands/rotate-authority-token", Admin),
    ("POST", "/v1/commands/revoke-authority-token", Admin),
    ("POST", "/v1/commands/request-domain-proof", SignedIn),
    ("POST", "/v1/commands/prove-domain", SignedIn),
    ("POST", "/v1/sessions", Public),
    ("POST", "/v1/sessions/refresh", Public),
    ("GET", "/v1/sessions", Person),
    ("DELETE", "/v1/sessions", Person),
    ("DELETE", "/v1/sessions/current", Person),
    ("DELETE", "/v1/sessions/{id}", Person),
    ("GET", "/v1/api-keys", SignedIn),
    ("GET", "/v1/users/{id}/api-keys", Admin),
    ("GET", "/v1/users/{id}/sessions", Admin),
    ("DELETE", "/v1/users/{id}/sessions", Admin),
    ("GET", "/v1/me", SignedIn),
    ("GET", "/v1/users", AuditorOrAdmin),
    ("GET", "/v1/users/{id}", SignedIn),
    ("GET", "/v1/users/{id}/history", SignedIn),
    ("GET", "/v1/users/{id}/history/bundle", SignedIn),
    ("GET", "/v1/users/{id}/diff", SignedIn),
    ("GET", "/v1/log/head", Public),
    ("GET", "/v1/log/key", Public),
    ("GET", "/v1/log/proof/inclusion", AuditorOrAdmin),
    ("GET", "/v1/log/proof/consistency", AuditorOrAdmin),
    ("GET", "/v1/domains", AuditorOrAdmin),
    ("GET", "/v1/domains/check", Admin),
    ("GET", "/v1/domains/{name}", AuditorOrAdmin),
    ("GET", "/v1/domains/{name}/history", AuditorOrAdmin),
    ("GET", "/v1/discover", SignedIn),
    ("GET", "/v1/events", SubscriberAuditorOrAdmin),
    ("GET", "/v1/events/stream", SubscriberAuditorOrAdmin),
    ("GET", "/v1/events/{position}", SubscriberAuditorOrAdmin),
    ("GET", "/v1/statistics", Admin),
    ("GET", "/v1/followers", Admin),
    ("GET", "/.well-known/jwks.json", Public),
    ("GET", "/healthz", Public),
    ("GET", "/readyz", Public),
    ("GET", "/metrics", Public),
    ("GET", "/openapi.json", Public),
    ("GET", "/asyncapi.json", Public),
    ("GET", "/schemas/{type}/{version}", Public),
    ("GET", "/docs", Public),
    ("GET", "/docs/tokens", Public),
    ("GET", "/docs/events", Public),
    ("GET", "/problems", Public),
    ("GET", "/problems/{slug}", Public),
    ("GET", "/verify-email", Public),
    ("POST", "/verify-email", Public),
    ("GET", "/reset-password", Public),
    ("POST", "/reset-password", Public),
    ("GET", "/confirm-email-change", Public),
    ("POST", "/confirm-email-change", Public),
];

/// A kind of caller.
#[derive(Debug, Clone, Copy)]
struct Kind {
    label: &'static str,
    /// The name to sign in with, or whose key it is.
    name: Option<&'static str>,
    /// The most it may use.
    may: Who,
    reads_all: bool,
    /// The role its API key was given, `user` standing for no other; none: it has a session.
    key: Option<Role>,
}

const fn nobody() -> Kind {
    Kind {
        label: "nobody",
        name: None,
        may: Public,
        reads_all: false,
        key: None,
    }
}

const fn person(name: &'static str, may: Who, reads_all: bool) -> Kind {
    Kind {
        label: name,
        name: Some(name),
        may,
        reads_all,
        key: None,
    }
}

const fn key(label: &'static str, name: &'static str, role: Role, may: Who, reads_all: bool) -> Kind {
    Kind {
        label,
        name: Some(name),
        may,
        reads_all,
        key: Some(role),
    }
}

const CALLERS: [Kind; 10] = [
    nobody(),
    person("ada", Person, false),
    person("alan", AuditorOrAdmin, true),
    person("sue", SubscriberAuditorOrAdmin, false),
    person("boss", Admin, true),
    key("key-of-ada", "ada", Role::User, SignedIn, false),
    key("key-of-alan", "alan", Role::Auditor, AuditorOrAdmin, true),
    key("key-of-sue", "sue", Role::Subscriber, SubscriberAuditorOrAdmin, false),
    key("key-of-boss", "boss", Role::Admin, Admin, true),
    key("plain-key-of-boss", "boss", Role::User, SignedIn, false),
];

impl Kind {
    fn may_use(self, who: Who) -> bool {
        match who {
            Person => self.key.is_none() && self.name.is_some(),
            other => self.may >= other,
        }
    }
}

const NOBODY: &str = "0197a1b2-0000-7000-8000-000000000001";

/// What a caller who is let in is answered, by a request that is as good as it can be without an effect.
fn request(path: &str, whom: &str, victim: &str, caller: &str) -> (String, Option<Value>, u16) {
    let body = |body: Value, status: u16| (path.to_owned(), Some(body), status);
    let at = |path: String, status: u16| (path, None, status);
    match path {
        "/v1/commands/register-user" => body(
            json!({ "username": format!("made.by.{caller}"), "password": PASSWORD }),
            201,
        ),
        "/v1/commands/request-email-verification" | "/v1/commands/request-password-reset" => {
            body(json!({ "email": "nobody@farm.example" }), 202)
        }
        "/v1/commands/verify-email" | "/v1/commands/confirm-email-change" => body(json!({ "token": "nonsense" }), 410),
        "/v1/commands/request-phone-verification" => body(json!({ "phone": "+6584932460" }), 202),
        "/v1/commands/verify-phone" => body(json!({ "phone": "+6584932460", "code": "000000" }), 410),
        "/v1/commands/reset-password" => body(
            json!({ "token": "nonsense", "new_password": "nine grey geese by a pond" }),
            410,
        ),
        // To the name it has: of a key, that of its owner.
        "/v1/commands/change-username" => body(json!({ "username": caller.rsplit('-').next().unwrap_or(caller) }), 200),
        "/v1/commands/request-email-change" => body(
            json!({ "email": format!("{caller}@new.example"), "current_password": PASSWORD }),
            200,
        ),
        "/v1/commands/change-phone" => body(
            json!({ "phone": format!("+658493246{}", caller.bytes().map(u32::from).sum::<u32>() % 10), "current_password": PASSWORD }),
            200,
        ),
        "/v1/commands/change-password" => body(
            json!({ "current_password": PASSWORD, "new_password": "nine grey geese by a pond" }),
            200,
        ),
        "/v1/commands/update-profile" => body(json!({ "full_name": format!("By {caller}") }), 200),
        "/v1/commands/allow-domain" | "/v1/commands/block-domain" | "/v1/commands/unblock-domain" => {
            body(json!({ "domain": "registry.example" }), 200)
        }
        "/v1/commands/lock-user"
        | "/v1/commands/unlock-user"
        | "/v1/commands/deactivate-user"
        | "/v1/commands/reactivate-user" => body(json!({ "user_id": victim, "reason": "a test" }), 200),
        "/v1/commands/grant-role" | "/v1/commands/revoke-role" => {
            body(json!({ "user_id": victim, "role": "auditor" }), 200)
        }
        "/v1/commands/issue-api-key" => body(json!({ "name": "another" }), 200),
        "/v1/commands/revoke-api-key" => body(json!({ "key_id": NOBODY }), 404),
        "/v1/commands/erase-user" => body(json!({ "current_password": "wrong and long", "reason": "a test" }), 403),
        "/v1/commands/block-address" | "/v1/commands/unblock-address" => {
            body(json!({ "address": "spam@registry.example" }), 200)
        }
        "/v1/commands/issue-authority-token" => body(json!({ "domain": format!("{caller}.example") }), 201),
        "/v1/commands/rotate-authority-token" | "/v1/commands/revoke-authority-token" => {
            body(json!({ "domain": format!("{caller}.example") }), 200)
        }
        // Nobody here but administrators has an address of it; nobody asked for a proof of the other.
        "/v1/commands/request-domain-proof" => body(json!({ "domain": "registry.example" }), 200),
        "/v1/commands/prove-domain" => body(json!({ "domain": "unasked.example" }), 409),
        "/v1/sessions/refresh" => body(json!({ "refresh_token": "nonsense" }), 401),
        "/v1/users/{id}/diff" => at(format!("/v1/users/{whom}/diff?from=0&to=20"), 200),
        "/v1/log/proof/inclusion" => at(format!("{path}?position=1"), 200),
        "/v1/log/proof/consistency" => at(format!("{path}?from=1"), 200),
        path if path.starts_with("/v1/users/{id}") => at(path.replace("{id}", whom), 200),
        "/v1/domains/{name}" | "/v1/domains/{name}/history" => at(path.replace("{name}", "registry.example"), 200),
        "/v1/domains/check" => at(format!("{path}?address=ann@farm.example"), 200),
        "/v1/discover" => at(format!("{path}?latitude=1&longitude=2&radius_km=3"), 200),
        "/v1/events/{position}" => at(path.replace("{position}", "1"), 200),
        "/schemas/{type}/{version}" => at("/schemas/user.registered/1".to_owned(), 200),
        "/v1/sessions/{id}" => at(path.replace("{id}", NOBODY), 404),
        "/problems/{slug}" => at(path.replace("{slug}", "stale"), 200),
        "/verify-email" | "/reset-password" | "/confirm-email-change" => at(path.to_owned(), 410),
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
    for (name, role) in [("alan", Role::Auditor), ("sue", Role::Subscriber)] {
        let tokens = app.with_role(name, role).await;
        let me = app.get("/v1/me").bearer(&tokens.access).expect(200).await;
        assert_eq!(me["roles"], json!(["user", role.as_str()]));
    }
    let ada = app.user("ada").await;
    let victim = app.has_user("vic").await;
    let mut keys = Vec::new();
    for kind in CALLERS {
        keys.push(match kind.key {
            Some(role) => Some(key_of(&app, kind.name.unwrap(), role).await),
            None => None,
        });
    }
    let (mut calls, mut wrong) = (0, Vec::new());
    for (method, path, who) in TABLE {
        for (kind, key) in CALLERS.iter().zip(&keys) {
            let (credential, user) = match key {
                Some((key, user)) => (Some(key.clone()), Some(user.clone())),
                None => match sign_in(&app, kind.name).await {
                    Some(tokens) => (Some(tokens.access), Some(tokens.user)),
                    None => (None, None),
                },
            };
            let whom = user.filter(|_| !kind.reads_all).unwrap_or_else(|| ada.user.clone());
            let asked = request(path, &whom, &victim, kind.label);
            let reply = ask(&app, method, path, credential.as_deref(), &asked).await;
            calls += 1;
            if let Err(problem) = judge(method, path, &reply, *kind, *who, asked.2) {
                wrong.push(format!("{method} {path} as {}: {problem}", kind.label));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let more = what_is_somebody_elses(&app, &keys).await;
    told!(
        "{engine:?}: {calls} calls of {} routes, {more} of what is somebody else's",
        TABLE.len()
    );
}

/// Commands that name a user and are open to users themselves; somebody else's are an administrator's alone.
fn about(user: &str, key_id: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("change-username", json!({ "username": "victoria", "user_id": user })),
        ("update-profile", json!({ "full_name": "Somebody", "user_id": user })),
        ("issue-api-key", json!({ "name": "theirs", "user_id": user })),
        ("revoke-api-key", json!({ "key_id": key_id })),
        (
            "erase-user",
            json!({ "user_id": user, "current_password": PASSWORD, "reason": "a test" }),
        ),
    ]
}

/// Every route that names a user, a session or a key, asked for those of somebody else: who may not read or change them
/// is told what they are told of what does not exist, and nothing happens. How many calls that were.
async fn what_is_somebody_elses(app: &App, keys: &[Option<(String, String)>]) -> usize {
    let vic = app.user("victoria").await;
    let issued = app
        .command("issue-api-key", &json!({ "name": "hers" }))
        .bearer(&vic.access);
    let key_id = issued.expect(200).await["key_id"].as_str().unwrap().to_owned();
    let hers = format!("aggregate_id = '{}'", vic.user);
    let mut log = app.log().await;
    let (before, head) = (log.count("events", &hers).await, log.head().await);
    let (mut calls, mut wrong) = (0, Vec::new());
    // Administrators come last: they may do it, and erase her in the end.
    for powerful in [false, true] {
        for (kind, key) in CALLERS.iter().zip(keys) {
            if (kind.may == Admin) != powerful {
                continue;
            }
            let credential = match key {
                Some((key, _)) => Some(key.clone()),
                None => sign_in(app, kind.name).await.map(|tokens| tokens.access),
            };
            let send = async |method: &str, address: String, body: Option<Value>| {
                let call = app.call(method, &address).maybe(credential.as_deref());
                match &body {
                    Some(body) => call.json(body),
                    None => call,
                }
                .send()
                .await
            };
            let mut judge = |what: String, reply: &Reply, expected: u16| {
                calls += 1;
                if reply.status != expected {
                    wrong.push(format!("{what} as {}: expected {expected}, got {reply:?}", kind.label));
                }
            };
            for (method, path, who) in TABLE.iter().filter(|(_, path, _)| path.contains("{id}")) {
                let mut addresses = vec![match *path {
                    "/v1/sessions/{id}" => (path.replace("{id}", &vic.session), path.replace("{id}", NOBODY)),
                    path => (request(path, &vic.user, "", "").0, request(path, NOBODY, "", "").0),
                }];
                if *path == "/v1/users/{id}/diff" {
                    let (hers, nobodys) = &mut addresses[0];
                    for address in [hers, nobodys] {
                        *address = address.replace("to=20", &format!("to={head}"));
                    }
                }
                if *path == "/v1/users/{id}" {
                    let (hers, nobodys) = addresses[0].clone();
                    addresses.push((format!("{hers}?at={head}"), format!("{nobodys}?at={head}")));
                }
                let expected = match who {
                    _ if kind.name.is_none() => 401,
                    _ if !kind.may_use(*who) => 403,
                    // Not even an administrator ends a session by its id alone.
                    Person => 404,
                    SignedIn if !kind.reads_all => 404,
                    _ if *method == "DELETE" => 204,
                    _ => 200,
                };
                for (hers, nobodys) in addresses {
                    let reply = send(method, hers.clone(), None).await;
                    judge(format!("{method} {hers}"), &reply, expected);
                    if expected >= 400 {
                        let missing = send(method, nobodys, None).await;
                        let told = |reply: &Reply| (reply.status, reply.wire(), reply.steady_headers());
                        assert_eq!(told(&reply), told(&missing), "{method} {path} as {}", kind.label);
                    }
                }
            }
            for (name, body) in about(&vic.user, &key_id) {
                // Once is enough.
                if name == "erase-user" && kind.may == Admin && kind.key.is_none() {
                    continue;
                }
                let expected = match kind.name {
                    None => 401,
                    Some(_) if kind.may == Admin => 200,
                    Some(_) => 404,
                };
                let reply = send("POST", format!("/v1/commands/{name}"), Some(body)).await;
                judge(name.to_owned(), &reply, expected);
            }
        }
        if !powerful {
            assert_eq!(log.count("events", &hers).await, before, "{}", wrong.join("\n"));
            app.get("/v1/me").bearer(&vic.access).expect(200).await;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(log.count("events", &hers).await > before);
    calls
}

/// A key with its owner.
async fn key_of(app: &App, name: &str, role: Role) -> (String, String) {
    let owner = app.sign_in(name, PASSWORD).await;
    let body = match role {
        Role::User => json!({ "name": "for a test" }),
        role => json!({ "name": "for a test", "roles": [role.as_str()] }),
    };
    let issued = app
        .command("issue-api-key", &body)
        .bearer(&owner.access)
        .expect(200)
        .await;
    (issued["api_key"].as_str().unwrap().to_owned(), owner.user)
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

async fn ask(
    app: &App,
    method: &str,
    path: &str,
    credential: Option<&str>,
    (address, body, _): &(String, Option<Value>, u16),
) -> Reply {
    let mut call = app.call(method, address).maybe(credential);
    if method == "POST" && !path.starts_with("/v1/") {
        call = call
            .header("content-type", "application/x-www-form-urlencoded")
            .raw("token=nonsense&new_password=nine+grey+geese+by+a+pond");
    } else if method == "POST" && path == "/v1/sessions" {
        call = call.json(&json!({ "identifier": "nobody", "password": PASSWORD }));
    } else if let Some(body) = body {
        call = call.json(body);
    }
    call.send().await
}

fn judge(method: &str, path: &str, reply: &Reply, kind: Kind, who: Who, usual: u16) -> Result<(), String> {
    let expected = match (kind.may_use(who), kind.name) {
        (true, _) => match (method, path) {
            ("POST", "/v1/sessions") => (401, Some("invalid-credentials")),
            ("DELETE", "/v1/sessions" | "/v1/sessions/current" | "/v1/users/{id}/sessions") => (204, None),
            // Only an administrator's key makes keys, and no key erases its owner.
            ("POST", "/v1/commands/issue-api-key") if kind.key.is_some() && kind.may < Admin => {
                (403, Some("forbidden"))
            }
            // Who has an address of the domain, and administrators.
            ("POST", "/v1/commands/request-domain-proof") if kind.name != Some("boss") => (403, Some("forbidden")),
            ("POST", "/v1/commands/prove-domain") if kind.may < Admin => (403, Some("forbidden")),
            ("POST", "/v1/commands/erase-user") if kind.key.is_some() => (403, Some("forbidden")),
            ("POST", "/v1/commands/erase-user") => (403, Some("wrong-password")),
            _ => (usual, None),
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
