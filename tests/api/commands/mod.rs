//! What each route does when all is well, and to the letter what it answers.

mod accounts;
mod addresses;
mod administration;
mod api_keys;
mod conditions;
mod contacts;
mod domains;
mod erasing;
mod finding;
mod lists;
mod notices;
mod operations;
mod passwords;
mod phones;
mod proofs;
mod refreshing;
mod resets;
mod sessions;
mod verification;
