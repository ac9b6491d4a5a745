//! The user and domain registry: accounts of people and the standing of their e-mail domains, kept as events.
//!
//! A request comes in through [`http`], becomes one use case of [`registry`], which lets an aggregate decide and
//! hands the events to the [`store`]; what happens because of them is in [`follow`], what others hear of them in [`public`],
//! what proves them in [`audit`].

mod breaker;
pub mod cli;
pub mod config;
pub mod dns;
pub mod feed;
pub mod follow;
pub mod guards;
pub mod http;
pub mod passwords;
pub mod public;
pub mod registry;
mod shape;
pub mod telemetry;
pub mod tokens;

pub use ::store;
pub use ::store::{audit, chance, clock, keys, trace};

use ::store::cache;
