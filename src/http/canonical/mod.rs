//! The canonical API, version 1 (contracts, canonical).

mod administration;
mod commands;
mod discover;
mod document;
mod feed;
mod keys;
mod log;
mod overview;
mod past;
mod people;
mod reads;
mod reply;
mod sessions;
mod wire;

use axum::Router;
use axum::routing::{delete, get, post};

use super::App;
use super::problem::{FieldError, Problem, Slug};
use crate::passwords::rules::Weakness;
use crate::registry::Refusal;
use projections::NameKind;

pub(super) use document::operations;
pub use past::{event_json, user_json};

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/v1/commands/register-user", post(commands::register_user))
        .route(
            "/v1/commands/request-email-verification",
            post(commands::request_email_verification),
        )
        .route("/v1/commands/verify-email", post(commands::verify_email))
        .route("/v1/commands/change-password", post(commands::change_password))
        .merge(people::router())
        .route("/v1/commands/update-profile", post(commands::update_profile))
        .route("/v1/commands/allow-domain", post(commands::allow_domain))
        .route("/v1/commands/block-domain", post(commands::block_domain))
        .route("/v1/commands/unblock-domain", post(commands::unblock_domain))
        .merge(administration::router())
        .merge(keys::router())
        .route(
            "/v1/sessions",
            post(sessions::sign_in).get(sessions::list).delete(sessions::end_all),
        )
        .route("/v1/sessions/refresh", post(sessions::refresh))
        .route("/v1/sessions/current", delete(sessions::end_current))
        .route("/v1/sessions/{id}", delete(sessions::end_one))
        .route("/v1/me", get(reads::me))
        .route("/v1/users", get(reads::users))
        .route("/v1/users/{id}", get(reads::user))
        .route("/v1/users/{id}/history", get(past::user_history))
        .route("/v1/users/{id}/history/bundle", get(past::bundle))
        .route("/v1/users/{id}/diff", get(past::user_diff))
        .route("/v1/log/head", get(log::head))
        .route("/v1/log/key", get(log::keys))
        .route("/v1/log/proof/inclusion", get(log::inclusion))
        .route("/v1/log/proof/consistency", get(log::consistency))
        .route("/v1/domains", get(reads::domains))
        .route("/v1/domains/check", get(reads::check_address))
        .route("/v1/domains/{name}", get(reads::domain))
        .route("/v1/domains/{name}/history", get(past::domain_history))
        .merge(feed::router())
        .route("/v1/discover", get(discover::discover))
        .route("/v1/statistics", get(overview::statistics))
        .route("/v1/followers", get(overview::followers))
}

/// The problem that words a refusal. A new refusal must choose its problem before it compiles.
pub(super) fn problem(refusal: Refusal) -> Problem {
    let slug = Slug::of(&refusal);
    match refusal {
        Refusal::Taken(kind) => {
            let pointer = match kind {
                NameKind::Email => "/email",
                NameKind::Username => "/username",
                NameKind::Phone => "/phone",
                NameKind::Device => "/device",
            };
            Problem::of_field(slug, FieldError::new(pointer, "taken", "belongs to another account"))
        }
        Refusal::DomainBlocked(rule) => Problem::new(slug).detail(format!(
            "refused by the rule for {} ({}, version {})",
            rule.domain,
            rule.kind.as_str(),
            rule.version
        )),
        Refusal::AddressBlocked(rule) => {
            Problem::new(slug).detail(format!("refused by a rule for this address (version {})", rule.version))
        }
        Refusal::WrongPassword => Problem::of_field(
            slug,
            FieldError::new("/current_password", "wrong-password", "is not the current password"),
        ),
        Refusal::Weak(weaknesses) => Problem::invalid(weak(&weaknesses)),
        Refusal::InvalidToken
        | Refusal::StaleCode
        | Refusal::InvalidCredentials
        | Refusal::Denied(_)
        | Refusal::Revoked
        | Refusal::Expired
        | Refusal::Forbidden
        | Refusal::NotFound
        | Refusal::Stale
        | Refusal::IdempotencyMismatch => Problem::new(slug),
        Refusal::Conflict(why) => Problem::new(slug).detail(why),
        Refusal::TooMany { retry_after } => Problem::too_many_requests(retry_after),
        Refusal::Unavailable { retry_after } => Problem::unavailable(retry_after),
        Refusal::Internal(problem) => {
            tracing::error!(%problem, "a request met a fault of ours");
            Problem::new(slug)
        }
    }
}

/// Every reason against a new password, at its field.
fn weak(weaknesses: &[Weakness]) -> Vec<FieldError> {
    weaknesses
        .iter()
        .map(|weakness| FieldError::new("/new_password", weakness.code(), weakness.to_string()))
        .collect()
}
