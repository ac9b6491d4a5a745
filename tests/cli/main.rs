//! The real program from outside: what it prints, which files it leaves, how it ends.
//!
//! What HTTP answers is tested elsewhere; here a request is only made to see that the program lives.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod audit;
mod compose;
mod configuration;
mod engines;
mod harness;
mod keys;
mod seed;
