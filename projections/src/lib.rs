//! What the registry remembers: the rows of its read models and the pure folds that make them.
//!
//! A fold takes the row as it is (or none), one recorded event, and gives the row as it is to be
//! (or none: delete it). The append runs these folds inside its transaction, a rebuild runs the very
//! same over the log. Nothing here reads a clock, a database or a random source.

mod api_keys;
mod domains;
#[cfg(test)]
mod fixtures;
mod names;
mod recorded;
mod sessions;
mod users;

pub use api_keys::ApiKeyRow;
pub use domains::{BlockedAddressRow, DomainRow};
pub use names::{Name, NameKind, names_at, names_of};
pub use recorded::Recorded;
pub use sessions::SessionRow;
pub use users::{Status, UserRow};
