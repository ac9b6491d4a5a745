//! What may happen to users, sessions and domains: commands, decisions and events.
//!
//! Everything here is a pure function of what it is given. Ids, time and chance arrive with the
//! command; what another stream knows is looked up by the caller and arrives with it too. So nothing
//! in this crate reads a clock, a database, a network or a random source, and a decision can be
//! repeated years later with the same outcome.
//!
//! Each aggregate is a folder of the same shape: `command` (orders), `decide` (state and order to
//! events or a refusal), `event` (past facts), `evolve` (state and fact to state, never fails),
//! `error` (refusals) and in `mod` the state with its seam to cqrs-es.

pub mod audit;
pub mod domain;
pub mod event;
pub mod session;
pub mod user;
pub mod values;
