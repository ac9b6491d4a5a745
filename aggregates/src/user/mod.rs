//! The account of one person: how it is opened, verified, signed in to, taken out of use and erased.
//!
//! Sign-ins stand in [`crate::session`], so that an account's own history stays short.

mod access;
mod change;
mod command;
mod decide;
mod error;
mod event;
mod evolve;
#[cfg(test)]
mod fixtures;
mod links;
mod open;
mod profile;
mod reset;
mod state;

pub use access::MOST_API_KEYS;
pub use command::{Import, ProfileChange, Register, RequestLink, UserCommand};
pub use error::UserError;
pub use event::UserEvent;
pub use state::{HeldKey, OpenCode, OpenLink, OpenReset, Phase, Profile, User};

use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;

impl Aggregate for User {
    const TYPE: &'static str = "user";
    type Command = UserCommand;
    type Event = UserEvent;
    type Error = UserError;
    type Services = ();

    async fn handle(
        &mut self,
        command: UserCommand,
        (): &Self::Services,
        sink: &EventSink<Self>,
    ) -> Result<(), UserError> {
        for event in self.decide(command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: UserEvent) {
        self.evolve(&event);
    }
}
