//! The AgStack dialect on the wire: each line of its contract's tables, with the statuses and texts of the contract.
//!
//! The contract is typed here once more, not read from the program.

#![expect(clippy::too_many_lines, reason = "a table of the contract is one list of cases")]

mod accounts;
mod domains;
pub mod faults;
mod holes;
mod keys;
mod logging_in;
mod pages;
mod passwords;
mod peer;
mod push;
mod signing_up;
pub mod web;
