//! Events to a broker (AMQP 0-9-1, RabbitMQ).
//!
//! Publishing is a follower with its own checkpoint under a lease, but it does not wait for one message before it sends
//! the next: up to a window of them are unconfirmed, and the checkpoint is the highest position up to which all are
//! confirmed. After any trouble it begins there again, so every event arrives at least once, in the order of the log,
//! and a repeat carries the same message id. The connection is supervised here; the library recovers nothing by itself.

mod address;
mod broker;
mod message;
mod personal;
mod publisher;
mod reader;
mod window;

use std::time::Duration;

pub use address::{BrokerAddress, InvalidBrokerUrl};
pub use publisher::{Outcome, Progress, Publisher, publish};

use crate::config::{AmqpMode, Queue};
use crate::public::Public;

/// Everything there is to know of a broker.
#[derive(Debug, Clone)]
pub struct Broker {
    /// Where it is.
    pub address: BrokerAddress,
    /// Certificates (PEM) to trust beside those of the system.
    pub trusted: Option<String>,
    /// How long it may take for one answer.
    pub answer: Duration,
    /// The pause after the first failure.
    pub pause: Duration,
    /// The longest pause.
    pub longest: Duration,
    /// How many messages may be unconfirmed.
    pub window: usize,
    /// Where in a message its `CloudEvent` is.
    pub mode: AmqpMode,
}

/// An exchange, and what belongs to it.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// Its name.
    pub name: String,
    /// Where messages go that no queue takes; none: back to us.
    pub alternate: Option<String>,
    /// Queues to declare.
    pub queues: Vec<Queue>,
}

/// What is told of events.
#[derive(Debug, Clone)]
pub enum Content {
    /// Facts about every event, and nothing about a person.
    Public(Public),
    /// Address, number and name, where they change, and that somebody was erased.
    Personal(Public),
}
