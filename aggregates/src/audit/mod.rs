//! Whose history was read by whom, and who searched the accounts. One stream per reader, one event per hour and subject.

mod command;
mod decide;
mod error;
mod event;
mod evolve;

pub use command::AuditCommand;
pub use error::AuditError;
pub use event::AuditEvent;
pub use evolve::Audit;

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;

impl Aggregate for Audit {
    const TYPE: &'static str = "audit";
    type Command = AuditCommand;
    type Event = AuditEvent;
    type Error = AuditError;
    type Services = ();

    async fn handle(
        &mut self,
        command: AuditCommand,
        (): &Self::Services,
        sink: &EventSink<Self>,
    ) -> Result<(), AuditError> {
        for event in self.decide(&command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: AuditEvent) {
        self.evolve(&event);
    }
}
