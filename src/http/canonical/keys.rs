//! API keys over HTTP.

use aggregates::values::{ApiKeyName, Role, Timestamp};
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::administration::{id_of, user_of_path};
use super::commands::{Command, read};
use super::problem;
use super::reply::{receipt, receipt_with};
use super::wire::Page;
use crate::http::App;
use crate::http::caller::SignedInUser;
use crate::http::document::shape;
use crate::http::problem::Problem;
use crate::http::query::{Parameters, Segment};
use crate::registry::NewApiKey;
use crate::store::ApiKeyRecord;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/v1/commands/issue-api-key", post(issue_api_key))
        .route("/v1/commands/revoke-api-key", post(revoke_api_key))
        .route("/v1/api-keys", get(own_keys))
        .route("/v1/users/{id}/api-keys", get(keys_of))
}

/// An API key as it is listed. The key itself was shown once.
#[derive(Serialize)]
pub(super) struct KeyBody {
    id: Uuid,
    name: Option<String>,
    roles: Vec<&'static str>,
    created_at: Timestamp,
    last_used_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    revoked: bool,
}

shape! {
    /// An API key. The key itself was shown once.
    KeyBody as "ApiKey" {
        id: Uuid,
        name: Option<ApiKeyName>,
        roles: Vec<Role>,
        created_at: Timestamp,
        last_used_at: Option<Timestamp>,
        expires_at: Option<Timestamp>,
        revoked: bool,
    }
}

/// What a receipt adds when a key was issued.
#[derive(Serialize)]
pub(super) struct IssuedKey<'a> {
    key_id: Uuid,
    api_key: &'a str,
}

shape! {
    IssuedKey<'static> as "IssuedKey" {
        key_id: Uuid,
        /// The key. It is shown here and nowhere else.
        api_key: String,
    }
}

impl From<ApiKeyRecord> for KeyBody {
    fn from(ApiKeyRecord { row, last_used_at }: ApiKeyRecord) -> Self {
        let given = row.roles.iter().filter(|role| **role != Role::User);
        Self {
            id: row.id,
            name: row.name,
            roles: std::iter::once(&Role::User)
                .chain(given)
                .map(|role| role.as_str())
                .collect(),
            created_at: row.created_at,
            last_used_at,
            expires_at: row.expires_at,
            revoked: row.revoked,
        }
    }
}

/// For oneself, or by an administrator for anybody. The key is shown here and nowhere else.
async fn issue_api_key(
    State(app): State<App>,
    SignedInUser { caller, id, .. }: SignedInUser,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Command { asked, mut fields } = read(&app, caller, &headers, body, "issue-api-key", false).await?;
    let owner = fields.optional("user_id", id_of).unwrap_or(id);
    let name = fields.required("name", ApiKeyName::parse);
    let roles = fields.optional_list("roles", Role::parse).unwrap_or_default();
    let expires_at = fields.optional("expires_at", Timestamp::parse);
    let new = fields.finish(|| {
        Some(NewApiKey {
            name: name?,
            roles,
            expires_at,
        })
    })?;
    let issued = app
        .registry()
        .issue_api_key(&asked, owner, &new)
        .await
        .map_err(problem)?;
    let key = issued.expose();
    let more = IssuedKey {
        key_id: issued.key_id,
        api_key: key.as_str(),
    };
    Ok(receipt_with(&issued.receipt, "/v1/users", &json!(more)))
}

async fn revoke_api_key(
    State(app): State<App>,
    SignedInUser { caller, .. }: SignedInUser,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Command { asked, mut fields } = read(&app, caller, &headers, body, "revoke-api-key", false).await?;
    let key = fields.required("key_id", id_of);
    let key = fields.finish(|| key)?;
    let done = app.registry().revoke_api_key(&asked, key).await.map_err(problem)?;
    Ok(receipt(&done, "/v1/users"))
}

async fn own_keys(
    State(app): State<App>,
    SignedInUser { id, .. }: SignedInUser,
    parameters: Parameters,
) -> Result<Json<Page<KeyBody, String>>, Problem> {
    parameters.finish()?;
    listed(&app, id).await
}

async fn keys_of(
    State(app): State<App>,
    Segment(id): Segment,
    parameters: Parameters,
) -> Result<Json<Page<KeyBody, String>>, Problem> {
    parameters.finish()?;
    let user = app.registry().user(user_of_path(&id)?).await.map_err(problem)?;
    listed(&app, user.id).await
}

async fn listed(app: &App, user: Uuid) -> Result<Json<Page<KeyBody, String>>, Problem> {
    let keys = app.registry().api_keys(user).await.map_err(problem)?;
    let items = keys.into_iter().map(KeyBody::from).collect();
    Ok(Json(Page { items, next: None }))
}
