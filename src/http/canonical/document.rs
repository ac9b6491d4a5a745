//! The operations of the canonical API, as the document shows them.
//!
//! A new route needs one entry here: what is sent is named with the types its reader parses to, what comes back with
//! the struct that is sent.

mod accounts;
mod administration;
mod feed;
mod log;
mod overview;
mod reads;
mod sessions;

use super::keys::KeyBody;
use super::reply::ReceiptBody;
use super::wire::{DomainBody, EventBody, SessionBody, TokenBody, UserBody, VerdictBody};
use crate::http::document::{Fields, Operation};

type Receipt = ReceiptBody<'static>;
type Tokens = TokenBody<'static>;

/// Every operation.
pub(in crate::http) fn operations() -> Vec<Operation> {
    [
        accounts::operations(),
        sessions::operations(),
        reads::operations(),
        administration::operations(),
        overview::operations(),
        feed::operations(),
        log::operations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A command `POST /v1/commands/…` with a body of these fields.
fn command(path: &'static str, tag: &'static str, summary: &'static str, fields: Fields) -> Operation {
    Operation::command(path, tag, summary).body(fields)
}
