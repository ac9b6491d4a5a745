//! Sign-ins and API keys.

use aggregates::values::{ApiKeyName, Role, Timestamp};
use axum::http::Method;
use serde_json::json;
use uuid::Uuid;

use super::super::keys::IssuedKey;
use super::super::reply::ReceiptWith;
use super::{KeyBody, Receipt, SessionBody, Tokens, command};
use crate::http::document::{CurrentPassword, Fields, Identifier, Listed, Operation, Token};
use crate::http::problem::Slug;

const TAG: &str = "Sessions";
const KEYS: &str = "API keys";
const ENDED: &str = "Ended, from the next request on.";

pub(super) fn operations() -> Vec<Operation> {
    let mut operations = sessions();
    operations.extend(keys());
    operations
}

fn sessions() -> Vec<Operation> {
    let delete = |path, summary| Operation::new(Method::DELETE, path, TAG, summary);
    vec![
        Operation::new(Method::POST, "/v1/sessions", TAG, "Signs in")
            .text("Unknown, wrong, unverified, locked and deactivated are one answer.")
            .body(
                Fields::new()
                    .required::<Identifier>("identifier", "An address, a username or a number.")
                    .required::<CurrentPassword>("password", ""),
            )
            .example(
                "with a username",
                json!({ "identifier": "j_smith", "password": "quiet harbour lantern" }),
            )
            .answers::<Tokens>(201, "Signed in.")
            .refused(&[Slug::InvalidCredentials]),
        Operation::new(Method::POST, "/v1/sessions/refresh", TAG, "Gets new tokens")
            .text(
                "The refresh token is spent by it. Using a spent one ends the session, unless its successor is unused \
                 and not ten seconds old.",
            )
            .body(Fields::new().required::<Token>("refresh_token", ""))
            .example(
                "with the token of the sign-in",
                json!({ "refresh_token": "urr_cW7l0oJd0H0lqgqNw2h6mT5b2a0sJcV8" }),
            )
            .answers::<Tokens>(200, "Refreshed.")
            .refused(&[Slug::InvalidCredentials, Slug::TokenExpired, Slug::TokenRevoked]),
        Operation::get("/v1/sessions", TAG, "One's own sign-ins")
            .answers::<Listed<SessionBody, String>>(200, "Those that live, newest first; of more than 200 the newest.")
            .refused(&[Slug::Invalid]),
        delete("/v1/sessions", "Signs out everywhere").empty(204, ENDED),
        delete("/v1/sessions/current", "Signs out").empty(204, ENDED),
        delete("/v1/sessions/{id}", "Ends one of one's own sign-ins").empty(204, ENDED),
        Operation::get("/v1/users/{id}/sessions", TAG, "The sign-ins of an account")
            .answers::<Listed<SessionBody, String>>(200, "Those that live, newest first; of more than 200 the newest.")
            .refused(&[Slug::Invalid]),
        delete("/v1/users/{id}/sessions", "Ends every sign-in of an account").empty(204, ENDED),
    ]
}

fn keys() -> Vec<Operation> {
    vec![
        command(
            "/v1/commands/issue-api-key",
            KEYS,
            "Makes an API key",
            Fields::new()
                .required::<ApiKeyName>("name", "What its owner calls it.")
                .optional::<Vec<Role>>(
                    "roles",
                    "Never more than its owner has; `user` alone if none are given.",
                )
                .optional::<Timestamp>("expires_at", "It works until it is revoked if this is not given.")
                .optional::<Uuid>(
                    "user_id",
                    "Whose it will be; the caller's if it is not given. Administrators only.",
                ),
        )
        .text("A key makes no keys, unless it is an administrator's.")
        .example("for a program", json!({ "name": "nightly export" }))
        .versioned::<ReceiptWith<IssuedKey<'static>>>(200, "Issued.")
        .refused(&[Slug::Forbidden, Slug::NotFound, Slug::Invalid]),
        command(
            "/v1/commands/revoke-api-key",
            KEYS,
            "Ends an API key",
            Fields::new().required::<Uuid>("key_id", ""),
        )
        .example("one's own", json!({ "key_id": "01a1fddd-32fb-75b6-9fef-e916b51aeb6e" }))
        .done::<Receipt>()
        .refused(&[Slug::Forbidden, Slug::NotFound]),
        Operation::get("/v1/api-keys", KEYS, "One's own keys")
            .answers::<Listed<KeyBody, String>>(
                200,
                "All that work, and of those that were revoked or have expired the newest 100; newest first.",
            )
            .refused(&[Slug::Invalid]),
        Operation::get("/v1/users/{id}/api-keys", KEYS, "The keys of an account")
            .answers::<Listed<KeyBody, String>>(
                200,
                "All that work, and of those that were revoked or have expired the newest 100; newest first.",
            )
            .refused(&[Slug::Invalid]),
    ]
}
