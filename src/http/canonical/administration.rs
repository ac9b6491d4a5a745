//! What administrators do over HTTP: accounts and their sessions, single addresses, authority tokens. And erasing,
//! which people also do to themselves.

use aggregates::values::{DomainName, Email, Note, Role};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::commands::{Command, password, read};
use super::problem;
use super::reply::{receipt, receipt_with};
use super::wire::{Page, SessionBody};
use crate::http::App;
use crate::http::body::Fields;
use crate::http::caller::{Known, SignedInUser};
use crate::http::document::shape;
use crate::http::problem::{Problem, Slug};
use crate::http::query::{Parameters, Segment};
use crate::registry::{Administration, Asked, Caller, IssuedAuthority, Who};

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/v1/commands/lock-user", post(lock_user))
        .route("/v1/commands/unlock-user", post(unlock_user))
        .route("/v1/commands/deactivate-user", post(deactivate_user))
        .route("/v1/commands/reactivate-user", post(reactivate_user))
        .route("/v1/commands/grant-role", post(grant_role))
        .route("/v1/commands/revoke-role", post(revoke_role))
        .route("/v1/commands/erase-user", post(erase_user))
        .route("/v1/commands/block-address", post(block_address))
        .route("/v1/commands/unblock-address", post(unblock_address))
        .route("/v1/commands/issue-authority-token", post(issue_authority_token))
        .route("/v1/commands/rotate-authority-token", post(rotate_authority_token))
        .route("/v1/commands/revoke-authority-token", post(revoke_authority_token))
        .route("/v1/commands/request-domain-proof", post(request_domain_proof))
        .route("/v1/commands/prove-domain", post(prove_domain))
        .route("/v1/users/{id}/sessions", get(sessions).delete(end_sessions))
}

/// An id in a body: one that is no UUID is told at its pointer.
pub(super) fn id_of(text: &str) -> Result<Uuid, &'static str> {
    Uuid::parse_str(text).map_err(|_| "is not a UUID")
}

/// The user a path names; what is no UUID is nobody.
pub(super) fn user_of_path(text: &str) -> Result<Uuid, Problem> {
    Uuid::parse_str(text).map_err(|_| Problem::new(Slug::NotFound))
}

/// A request before its fields are read.
struct Incoming {
    app: App,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
}

impl Incoming {
    /// Reads an order about an account and has it carried out.
    async fn administer(
        self,
        name: &str,
        act: impl FnOnce(&mut Fields) -> Option<Administration>,
    ) -> Result<Response, Problem> {
        let Command { asked, mut fields } = read(&self.app, self.caller, &self.headers, self.body, name, false).await?;
        let user = fields.required("user_id", id_of);
        let act = act(&mut fields);
        let (user, act) = fields.finish(|| Some((user?, act?)))?;
        let done = self
            .app
            .registry()
            .administer(&asked, user, &act)
            .await
            .map_err(problem)?;
        Ok(receipt(&done, "/v1/users"))
    }
}

/// The orders differ by their name and by what they say beside the account.
macro_rules! administer {
    ($($handler:ident, $name:literal, $fields:ident => $act:expr;)+) => {$(
        async fn $handler(
            State(app): State<App>,
            Known { caller, .. }: Known,
            headers: HeaderMap,
            body: Body,
        ) -> Result<Response, Problem> {
            let incoming = Incoming { app, caller, headers, body };
            incoming.administer($name, |$fields| $act).await
        }
    )+};
}

administer! {
    lock_user, "lock-user", fields => fields.required("reason", Note::parse).map(Administration::Lock);
    unlock_user, "unlock-user", fields => fields.required("reason", Note::parse).map(Administration::Unlock);
    deactivate_user, "deactivate-user", fields =>
        Some(Administration::Deactivate(fields.optional("reason", Note::parse)));
    reactivate_user, "reactivate-user", fields =>
        Some(Administration::Reactivate(fields.optional("reason", Note::parse)));
    grant_role, "grant-role", fields => fields.required("role", Role::parse).map(Administration::Grant);
    revoke_role, "revoke-role", fields => fields.required("role", Role::parse).map(Administration::Revoke);
}

/// Oneself, with the current password; anybody, by an administrator.
async fn erase_user(
    State(app): State<App>,
    SignedInUser { caller, id, .. }: SignedInUser,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Command { asked, mut fields } = read(&app, caller, &headers, body, "erase-user", false).await?;
    let user = fields.optional("user_id", id_of).unwrap_or(id);
    let own = user == id;
    let current = if own || fields.has("current_password") {
        password(&mut fields, "current_password")
    } else {
        None
    };
    // It is checked and not kept: see the use case.
    let reason = fields.required("reason", Note::parse);
    let current = fields.finish(|| reason.map(|_| current))?;
    let done = app
        .registry()
        .erase_user(&asked, user, current)
        .await
        .map_err(problem)?;
    Ok(receipt(&done, "/v1/users"))
}

/// What the two orders about an address have in common.
async fn read_address(
    app: &App,
    caller: Caller,
    headers: &HeaderMap,
    body: Body,
    name: &str,
) -> Result<(Asked, Email, Option<Note>), Problem> {
    let Command { asked, mut fields } = read(app, caller, headers, body, name, false).await?;
    let address = fields.required("address", Email::parse);
    let reason = fields.optional("reason", Note::parse);
    let (address, reason) = fields.finish(|| Some((address?, reason)))?;
    Ok((asked, address, reason))
}

async fn block_address(
    State(app): State<App>,
    Known { caller, .. }: Known,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (asked, address, reason) = read_address(&app, caller, &headers, body, "block-address").await?;
    let done = app
        .registry()
        .block_address(&asked, &address, reason)
        .await
        .map_err(problem)?;
    Ok(receipt(&done, "/v1/domains"))
}

async fn unblock_address(
    State(app): State<App>,
    Known { caller, .. }: Known,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (asked, address, reason) = read_address(&app, caller, &headers, body, "unblock-address").await?;
    let done = app
        .registry()
        .unblock_address(&asked, &address, reason)
        .await
        .map_err(problem)?;
    Ok(receipt(&done, "/v1/domains"))
}

/// What the orders about an authority token and about a proof have in common.
async fn read_domain(
    app: &App,
    caller: Caller,
    headers: &HeaderMap,
    body: Body,
    name: &str,
) -> Result<(Asked, DomainName), Problem> {
    let Command { asked, mut fields } = read(app, caller, headers, body, name, false).await?;
    let domain = fields.required("domain", DomainName::parse);
    let domain = fields.finish(|| domain)?;
    Ok((asked, domain))
}

/// What a receipt adds when an authority token was issued.
#[derive(Serialize)]
pub(super) struct IssuedToken<'a> {
    authority_token: &'a str,
}

shape! {
    IssuedToken<'static> as "IssuedToken" {
        /// The token. It is shown here and nowhere else.
        authority_token: String,
    }
}

fn with_token(issued: &IssuedAuthority) -> Response {
    let token = issued.token.expose();
    let more = IssuedToken {
        authority_token: token.as_str(),
    };
    receipt_with(&issued.receipt, "/v1/domains", &json!(more))
}

async fn issue_authority_token(
    State(app): State<App>,
    Known { caller, .. }: Known,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (asked, domain) = read_domain(&app, caller, &headers, body, "issue-authority-token").await?;
    let issued = app
        .registry()
        .issue_authority_token(&asked, &domain)
        .await
        .map_err(problem)?;
    Ok(with_token(&issued))
}

async fn rotate_authority_token(
    State(app): State<App>,
    Known { caller, .. }: Known,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (asked, domain) = read_domain(&app, caller, &headers, body, "rotate-authority-token").await?;
    let issued = app
        .registry()
        .rotate_authority_token(&asked, &domain)
        .await
        .map_err(problem)?;
    Ok(with_token(&issued))
}

async fn revoke_authority_token(
    State(app): State<App>,
    Known { caller, .. }: Known,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (asked, domain) = read_domain(&app, caller, &headers, body, "revoke-authority-token").await?;
    let done = app
        .registry()
        .revoke_authority_token(&asked, &domain)
        .await
        .map_err(problem)?;
    Ok(receipt(&done, "/v1/domains"))
}

/// What a receipt adds when the proof of a domain was asked for.
#[derive(Serialize)]
pub(super) struct AskedProof {
    txt_name: String,
    txt_value: String,
}

shape! {
    AskedProof as "AskedProof" {
        /// The name of the TXT record to publish.
        txt_name: String,
        /// Its value.
        txt_value: String,
    }
}

/// The owner of an address of the domain, or an administrator.
async fn request_domain_proof(
    State(app): State<App>,
    Known { caller, .. }: Known,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (asked, domain) = read_domain(&app, caller, &headers, body, "request-domain-proof").await?;
    let (done, record) = app
        .registry()
        .request_domain_proof(&asked, &domain)
        .await
        .map_err(problem)?;
    let more = AskedProof {
        txt_name: record.name,
        txt_value: record.value,
    };
    Ok(receipt_with(&done, "/v1/domains", &json!(more)))
}

async fn prove_domain(
    State(app): State<App>,
    Known { caller, .. }: Known,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (asked, domain) = read_domain(&app, caller, &headers, body, "prove-domain").await?;
    let done = app.registry().prove_domain(&asked, &domain).await.map_err(problem)?;
    Ok(receipt(&done, "/v1/domains"))
}

/// The live sign-ins of an account.
async fn sessions(
    State(app): State<App>,
    Known { caller, .. }: Known,
    Segment(id): Segment,
    parameters: Parameters,
) -> Result<Json<Page<SessionBody, String>>, Problem> {
    parameters.finish()?;
    let user = app.registry().user(user_of_path(&id)?).await.map_err(problem)?;
    let rows = app.registry().sessions(user.id).await.map_err(problem)?;
    let current = match caller.who {
        Who::User { session, .. } => Some(session),
        _ => None,
    };
    let items = rows
        .into_iter()
        .map(|row| SessionBody::new(row, current.unwrap_or_default()))
        .collect();
    Ok(Json(Page { items, next: None }))
}

async fn end_sessions(
    State(app): State<App>,
    Known { caller, .. }: Known,
    Segment(id): Segment,
) -> Result<StatusCode, Problem> {
    let user = user_of_path(&id)?;
    app.registry()
        .end_sessions_of(&Asked::plainly(caller), user)
        .await
        .map_err(problem)?;
    Ok(StatusCode::NO_CONTENT)
}
