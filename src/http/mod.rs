//! Everything that speaks HTTP: reading a request, wording an answer.
//!
//! A dialect only translates; what may happen is decided in `registry` and `aggregates`.

mod agstack;
mod app;
pub mod body;
mod cadasta;
mod caller;
mod canonical;
mod cors;
mod deadline;
mod dialects;
mod document;
mod edge;
mod fresh;
mod limited;
mod linger;
mod members;
mod operations;
mod pace;
mod pages;
pub mod problem;
mod query;
mod routes;
mod seats;
mod serve;
mod streams;
mod taxi;
mod xhoppe;

pub use agstack::AssetRegistry;
pub use app::App;
pub use canonical::{event_json, user_json};
pub use document::{declared as declared_operations, document as openapi};
pub use routes::{Permission, ROUTES, Route};
pub use serve::serve;
