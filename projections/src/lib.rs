//! What the registry remembers: the rows of its read models and the pure folds that make them.
//!
//! A fold takes the row as it is (or none), one recorded event, and gives the row as it is to be
//! (or none: delete it). The append runs these folds inside its transaction, a rebuild runs the very
//! same over the log. Nothing here reads a clock, a database or a random source.

mod api_keys;
mod domains;
#[cfg(test)]
mod fixtures;
pub mod globe;
pub mod land;
mod names;
mod places;
mod recorded;
mod sessions;
mod statistics;
mod users;
mod words;

pub use api_keys::ApiKeyRow;
pub use domains::{BlockedAddressRow, DomainRow};
pub use names::{Name, NameKind, names_at, names_of, phone_is_name};
pub use places::{PlaceRow, is_discoverable, places_differ, places_of};
pub use recorded::Recorded;
pub use sessions::{ORIGIN_LIFE, SessionRow};
pub use statistics::CountedUser;
pub use users::{Status, UserRow};
pub use words::{
    LONGEST_WORD, MOST_ASKED, MOST_WORDS, WORDS_OF_ONE, WordRow, sorted_username, word_rows, words_asked, words_differ,
    words_of,
};
