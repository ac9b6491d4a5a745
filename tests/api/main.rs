//! Black-box tests of the service: the real program, real HTTP, a real database of its own for each test.
//!
//! Each behaviour is written once and runs on both engines: `commands::sqlite::…` and `commands::postgres::…`.
//! `PostgreSQL` is the server of `TEST_DATABASE_URL`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[macro_use]
#[path = "../told/mod.rs"]
mod told;

mod agstack;
mod amqp;
mod bad_input;
mod cadasta;
mod canary;
mod commands;
mod crash;
mod document;
mod feed;
mod followers;
mod gateway;
mod guards;
mod harness;
mod mail;
mod metrics;
mod past;
mod permissions;
mod pool;
mod rebuilding;
mod replicas;
mod scenario;
#[path = "../traces/search.rs"]
mod search;
mod smtp;
mod standing;
mod stop;
mod taxi;
mod trio;
mod troubles;
mod xhoppe;
