//! Who may do what: every route of the canonical API and of operation, with its permission.
//!
//! A route that is not in the table is not served. The contract's column "who" says the same in words.

use axum::http::Method;

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Anybody. A caller with a good token is known all the same.
    Public,
    /// Anybody signed in, or a program with an API key; what they may see of others the use case decides.
    SignedIn,
    /// Anybody signed in. An API key may not: it has no session, and what its owner proves themselves with is not for
    /// programs.
    Person,
    /// Subscribers, auditors and administrators.
    Subscriber,
    /// Administrators and auditors.
    Reader,
    /// Administrators.
    Admin,
    /// Administrators; anybody when `registration.public_check` is on.
    Checker,
}

/// One route.
#[derive(Debug, Clone)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path, with its parameters in braces.
    pub path: &'static str,
    /// Who may.
    pub permission: Permission,
}

const fn get(path: &'static str, permission: Permission) -> Route {
    Route {
        method: Method::GET,
        path,
        permission,
    }
}

const fn post(path: &'static str, permission: Permission) -> Route {
    Route {
        method: Method::POST,
        path,
        permission,
    }
}

const fn delete(path: &'static str, permission: Permission) -> Route {
    Route {
        method: Method::DELETE,
        path,
        permission,
    }
}

/// The whole table.
pub const ROUTES: &[Route] = &[
    post("/v1/commands/register-user", Permission::Public),
    post("/v1/commands/request-email-verification", Permission::Public),
    post("/v1/commands/verify-email", Permission::Public),
    post("/v1/commands/request-phone-verification", Permission::Public),
    post("/v1/commands/verify-phone", Permission::Public),
    post("/v1/commands/request-password-reset", Permission::Public),
    post("/v1/commands/reset-password", Permission::Public),
    post("/v1/commands/change-password", Permission::Person),
    post("/v1/commands/change-username", Permission::SignedIn),
    post("/v1/commands/request-email-change", Permission::Person),
    post("/v1/commands/confirm-email-change", Permission::Public),
    post("/v1/commands/change-phone", Permission::Person),
    post("/v1/commands/update-profile", Permission::SignedIn),
    post("/v1/commands/allow-domain", Permission::Admin),
    post("/v1/commands/block-domain", Permission::Admin),
    post("/v1/commands/unblock-domain", Permission::Admin),
    post("/v1/commands/lock-user", Permission::Admin),
    post("/v1/commands/unlock-user", Permission::Admin),
    post("/v1/commands/deactivate-user", Permission::Admin),
    post("/v1/commands/reactivate-user", Permission::Admin),
    post("/v1/commands/grant-role", Permission::Admin),
    post("/v1/commands/revoke-role", Permission::Admin),
    post("/v1/commands/issue-api-key", Permission::SignedIn),
    post("/v1/commands/revoke-api-key", Permission::SignedIn),
    post("/v1/commands/erase-user", Permission::SignedIn),
    post("/v1/commands/block-address", Permission::Admin),
    post("/v1/commands/unblock-address", Permission::Admin),
    post("/v1/commands/issue-authority-token", Permission::Admin),
    post("/v1/commands/rotate-authority-token", Permission::Admin),
    post("/v1/commands/revoke-authority-token", Permission::Admin),
    post("/v1/commands/request-domain-proof", Permission::SignedIn),
    post("/v1/commands/prove-domain", Permission::SignedIn),
    post("/v1/sessions", Permission::Public),
    post("/v1/sessions/refresh", Permission::Public),
    get("/v1/sessions", Permission::Person),
    delete("/v1/sessions", Permission::Person),
    delete("/v1/sessions/current", Permission::Person),
    delete("/v1/sessions/{id}", Permission::Person),
    get("/v1/api-keys", Permission::SignedIn),
    get("/v1/users/{id}/api-keys", Permission::Admin),
    get("/v1/users/{id}/sessions", Permission::Admin),
    delete("/v1/users/{id}/sessions", Permission::Admin),
    get("/v1/me", Permission::SignedIn),
    get("/v1/users", Permission::Reader),
    get("/v1/users/{id}", Permission::SignedIn),
    get("/v1/users/{id}/history", Permission::SignedIn),
    get("/v1/users/{id}/history/bundle", Permission::SignedIn),
    get("/v1/users/{id}/diff", Permission::SignedIn),
    get("/v1/log/head", Permission::Public),
    get("/v1/log/key", Permission::Public),
    get("/v1/log/proof/inclusion", Permission::Reader),
    get("/v1/log/proof/consistency", Permission::Reader),
    get("/v1/domains", Permission::Reader),
    get("/v1/domains/check", Permission::Checker),
    get("/v1/domains/{name}", Permission::Reader),
    get("/v1/domains/{name}/history", Permission::Reader),
    get("/v1/discover", Permission::SignedIn),
    get("/v1/events", Permission::Subscriber),
    get("/v1/events/stream", Permission::Subscriber),
    get("/v1/events/{position}", Permission::Subscriber),
    get("/v1/statistics", Permission::Admin),
    get("/v1/followers", Permission::Admin),
    get("/.well-known/jwks.json", Permission::Public),
    get("/healthz", Permission::Public),
    get("/readyz", Permission::Public),
    get("/metrics", Permission::Public),
    get("/openapi.json", Permission::Public),
    get("/asyncapi.json", Permission::Public),
    get("/schemas/{type}/{version}", Permission::Public),
    get("/docs", Permission::Public),
    get("/docs/tokens", Permission::Public),
    get("/docs/events", Permission::Public),
    get("/problems", Permission::Public),
    get("/problems/{slug}", Permission::Public),
    get("/verify-email", Permission::Public),
    post("/verify-email", Permission::Public),
    get("/reset-password", Permission::Public),
    post("/reset-password", Permission::Public),
    get("/confirm-email-change", Permission::Public),
    post("/confirm-email-change", Permission::Public),
];

/// The permission of a route, if it is in the table. `HEAD` is `GET` without the body.
pub(super) fn permission(method: &Method, path: &str) -> Option<Permission> {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    ROUTES
        .iter()
        .find(|route| route.method == *method && route.path == path)
        .map(|route| route.permission)
}

/// The methods of a path, as `Allow` lists them; none if no route of the table has it.
pub(super) fn allowed(path: &str) -> Option<String> {
    let mut methods: Vec<&str> = Vec::new();
    for route in ROUTES.iter().filter(|route| route.path == path) {
        methods.push(route.method.as_str());
        if route.method == Method::GET {
            methods.push("HEAD");
        }
    }
    (!methods.is_empty()).then(|| methods.join(", "))
}
