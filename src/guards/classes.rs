//! Which rate a route is under.
//!
//! A route that is not named here is under the general one, so that a new one is limited without anybody's doing.

/// Routes of one rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// What operators and verifiers of tokens look at all day.
    Free,
    /// Whoever guesses passwords comes here.
    SignIn,
    /// Whoever makes accounts by the thousand comes here.
    Register,
    /// The same where the answers say which names are taken.
    Customer,
    /// Sends a message to somebody.
    Message,
    /// Takes a link, a code or a refresh token.
    Secret,
    /// Everything else.
    General,
}

/// The class of a route by its method and pattern.
#[must_use]
pub fn class(method: &str, path: &str) -> Class {
    match (method, path) {
        (_, "/healthz" | "/readyz" | "/metrics" | "/.well-known/jwks.json") => Class::Free,
        ("POST", "/v1/sessions") => Class::SignIn,
        ("POST", "/v1/commands/register-user") => Class::Register,
        (
            "POST",
            "/v1/commands/request-email-verification"
            | "/v1/commands/request-phone-verification"
            | "/v1/commands/request-password-reset"
            | "/v1/commands/request-email-change"
            | "/v1/commands/change-phone",
        ) => Class::Message,
        (
            "POST",
            "/v1/commands/verify-email"
            | "/v1/commands/verify-phone"
            | "/v1/commands/reset-password"
            | "/v1/commands/confirm-email-change"
            | "/v1/sessions/refresh"
            | "/verify-email"
            | "/reset-password"
            | "/confirm-email-change",
        ) => Class::Secret,
        _ => Class::General,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::ROUTES;

    /// A path that is renamed in the table of routes would silently lose its rate.
    #[test]
    fn every_class_but_the_general_one_has_routes_of_the_table() {
        let of = |wanted: Class| {
            ROUTES
                .iter()
                .filter(|route| class(route.method.as_str(), route.path) == wanted)
                .count()
        };
        let counts = [
            Class::Free,
            Class::SignIn,
            Class::Register,
            Class::Message,
            Class::Secret,
        ]
        .map(of);
        assert_eq!(counts, [4, 1, 1, 5, 8]);
    }
}
