//! One sign-in: how it begins, is refreshed and ends. The stream is the session, the subject its user.
//!
//! A refresh token works once. It has a number (its *generation*); the tokens themselves are kept
//! elsewhere, as hashes.

mod command;
mod decide;
mod error;
mod event;
mod evolve;

pub use command::SessionCommand;
pub use decide::RETRY_WINDOW;
pub use error::SessionError;
pub use event::SessionEvent;
pub use evolve::Session;

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;

impl Aggregate for Session {
    const TYPE: &'static str = "session";
    type Command = SessionCommand;
    type Event = SessionEvent;
    type Error = SessionError;
    type Services = ();

    async fn handle(
        &mut self,
        command: SessionCommand,
        (): &Self::Services,
        sink: &EventSink<Self>,
    ) -> Result<(), SessionError> {
        for event in self.decide(command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: SessionEvent) {
        self.evolve(&event);
    }
}
