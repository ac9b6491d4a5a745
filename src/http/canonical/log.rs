//! What proves the history: the signed head of the log, the keys it is signed with, and proofs of the tree.

use aggregates::values::Timestamp;
use axum::Json;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::problem;
use super::wire::Page;
use crate::http::App;
use crate::http::document::shape;
use crate::http::problem::Problem;
use crate::http::query::Parameters;
use crate::registry::NotaryKeyView;

/// The newest signed head, as a checkpoint.
pub(super) async fn head(State(app): State<App>, parameters: Parameters) -> Result<Response, Problem> {
    parameters.finish()?;
    let head = app.registry().log_head().await.map_err(problem)?;
    let headers = [(CONTENT_TYPE, "text/plain; charset=utf-8"), (CACHE_CONTROL, "no-cache")];
    Ok((headers, head.note).into_response())
}

#[derive(Serialize)]
pub(super) struct NotaryKeyBody {
    vkey: String,
    public_key: String,
    created_at: Timestamp,
    retired_at: Option<Timestamp>,
}

#[derive(Serialize)]
pub(super) struct InclusionBody {
    position: i64,
    size: i64,
    leaf_hash: String,
    hashes: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct ConsistencyBody {
    from: i64,
    to: i64,
    hashes: Vec<String>,
}

shape! {
    /// A key that signs heads of the log, or signed them.
    NotaryKeyBody as "NotaryKey" {
        /// Name, hash and key as C2SP writes a verifier key.
        vkey: String,
        /// The Ed25519 key alone, base64.
        public_key: String,
        created_at: Timestamp,
        /// Since when another one signs.
        retired_at: Option<Timestamp>,
    }

    /// A proof that an event is in the log (RFC 6962, section 2.1.1).
    InclusionBody as "InclusionProof" {
        position: i64,
        /// Of the tree that the proof leads to.
        size: i64,
        /// The event's own hash, base64.
        leaf_hash: String,
        /// The proof from the leaf up, base64.
        hashes: Vec<String>,
    }

    /// A proof that one tree is the beginning of another (RFC 6962, section 2.1.2).
    ConsistencyBody as "ConsistencyProof" {
        from: i64,
        to: i64,
        /// The proof, base64.
        hashes: Vec<String>,
    }
}

impl From<NotaryKeyView> for NotaryKeyBody {
    fn from(view: NotaryKeyView) -> Self {
        Self {
            vkey: view.key.to_string(),
            public_key: STANDARD.encode(view.key.bytes()),
            created_at: view.created_at,
            retired_at: view.retired_at,
        }
    }
}

pub(super) async fn keys(
    State(app): State<App>,
    parameters: Parameters,
) -> Result<Json<Page<NotaryKeyBody, String>>, Problem> {
    parameters.finish()?;
    let keys = app.registry().notary_keys().map_err(problem)?;
    Ok(Json(Page {
        items: keys.into_iter().map(NotaryKeyBody::from).collect(),
        next: None,
    }))
}

/// A number from `least` on.
fn number(least: i64) -> impl Fn(&str) -> Result<i64, String> {
    move |text| match text.parse() {
        Ok(number) if number >= least => Ok(number),
        _ => Err(format!("must be a whole number, {least} or more")),
    }
}

/// What lies beyond the newest head has no proof yet.
fn within(parameters: &mut Parameters, name: &str, number: Option<i64>, most: i64, of: &str) {
    if number.is_some_and(|number| number > most) {
        parameters.wrong(name, &format!("lies beyond {of}, {most}"));
    }
}

fn encoded(hashes: &[[u8; 32]]) -> Vec<String> {
    hashes.iter().map(|hash| STANDARD.encode(hash)).collect()
}

pub(super) async fn inclusion(
    State(app): State<App>,
    mut parameters: Parameters,
) -> Result<Json<InclusionBody>, Problem> {
    let newest = app.registry().log_head().await.map_err(problem)?.size;
    let position = parameters.needed("position", number(1));
    let size = parameters.optional("size", number(1));
    within(&mut parameters, "size", size, newest, "the newest head");
    let size = size.unwrap_or(newest);
    within(&mut parameters, "position", position, size, "the tree");
    parameters.finish()?;
    let position = position.unwrap_or_default();
    let proof = app.registry().inclusion(position, size).await.map_err(problem)?;
    Ok(Json(InclusionBody {
        position,
        size,
        leaf_hash: STANDARD.encode(proof.leaf),
        hashes: encoded(&proof.hashes),
    }))
}

pub(super) async fn consistency(
    State(app): State<App>,
    mut parameters: Parameters,
) -> Result<Json<ConsistencyBody>, Problem> {
    let newest = app.registry().log_head().await.map_err(problem)?.size;
    let from = parameters.needed("from", number(0));
    let to = parameters.optional("to", number(0));
    within(&mut parameters, "to", to, newest, "the newest head");
    let to = to.unwrap_or(newest);
    within(&mut parameters, "from", from, to, "the later tree");
    parameters.finish()?;
    let from = from.unwrap_or_default();
    let hashes = app.registry().consistency(from, to).await.map_err(problem)?;
    Ok(Json(ConsistencyBody {
        from,
        to,
        hashes: encoded(&hashes),
    }))
}
