//! The standing of one internet domain and of single addresses in it. The stream id is the domain's
//! A-label name.
//!
//! A domain has exactly one standing at any time: the newest of allowed, blocked and merely observed.
//! What follows for an address, from its domain, the parents and the address itself, is worked out in
//! [`standing`].

mod command;
mod decide;
mod error;
mod event;
mod evolve;
pub mod standing;

pub use command::DomainCommand;
pub use error::DomainError;
pub use event::DomainEvent;
pub use evolve::Domain;

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;

impl Aggregate for Domain {
    const TYPE: &'static str = "domain";
    type Command = DomainCommand;
    type Event = DomainEvent;
    type Error = DomainError;
    type Services = ();

    async fn handle(
        &mut self,
        command: DomainCommand,
        (): &Self::Services,
        sink: &EventSink<Self>,
    ) -> Result<(), DomainError> {
        for event in self.decide(command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: DomainEvent) {
        self.evolve(&event);
    }
}
