//! What each route does when all is well, and to the letter what it answers.

mod accounts;
mod conditions;
mod domains;
mod lists;
mod operations;
mod passwords;
mod refreshing;
mod sessions;
mod verification;
