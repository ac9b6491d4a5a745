//! The real program from outside: what it prints, which files it leaves, how it ends.
//!
//! What HTTP answers is tested elsewhere; here a request is only made to see that the program lives.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[macro_use]
#[path = "../told/mod.rs"]
mod told;

mod audit;
mod compose;
mod configuration;
#[path = "../traces/dump.rs"]
mod dump;
mod engines;
mod erasure;
mod harness;
mod keys;
mod layers;
#[path = "../traces/search.rs"]
mod search;
mod seed;
