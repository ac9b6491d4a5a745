//! Naming an account at the command line: by its id, its address or its username.

use aggregates::values::{Email, Username};
use anyhow::{Context as _, Result};
use projections::NameKind;
use uuid::Uuid;

use crate::store::Store;

/// The account that is meant.
pub(super) async fn named(store: &Store, text: &str) -> Result<Uuid> {
    if let Ok(id) = Uuid::parse_str(text) {
        return Ok(id);
    }
    let email = Email::parse(text)
        .ok()
        .map(|email| (NameKind::Email, email.canonical().to_owned()));
    let username = || {
        Username::parse(text)
            .ok()
            .map(|name| (NameKind::Username, name.canonical().to_owned()))
    };
    let (kind, canonical) = email
        .or_else(username)
        .context("an account is named by its id, its address or its username")?;
    store
        .found_by(kind, &canonical)
        .await?
        .context("there is no such account; who was erased is known by the id alone")
}
