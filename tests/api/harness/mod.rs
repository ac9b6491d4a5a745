//! The program as its operators and clients meet it: a process, a database, an outbox, HTTP.
//!
//! Nothing here reaches into the service. The only other ways in are reading the database and, where a test must
//! forge what a client cannot get, the keys of the store.

mod client;
pub mod contract;
mod forge;
mod gateway;
mod inside;
mod log;
mod mail_server;
mod mailbox;
mod name_server;
mod people;
mod phones;
mod place;
mod rabbit;
mod server;
mod stream;
mod wire;

use std::time::Duration;

pub use client::{Call, Client, Reply};
pub use forge::{Forge, encoded, unsigned};
pub use gateway::{Gateway, Instead};
pub use inside::Inside;
pub use log::Log;
pub use mail_server::{Answer, Delivered, MailServer, Offers, Step};
pub use mailbox::{Mail, Mailbox};
pub use name_server::NameServer;
pub use people::{PASSWORD, Tokens};
pub use phones::{Phones, Sms};
pub use place::Place;
pub use rabbit::{Heard, Listener, Rabbit};
pub use server::Server;
pub use stream::{Piece, Stream};
pub use wire::{Line, Wire};

/// Longer than anything here takes: what is waited for this long does not come.
pub const LONG: Duration = Duration::from_mins(1);

/// Which database is underneath.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// Makes the tests of both engines out of one list of behaviours.
macro_rules! on_both_engines {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            use crate::harness::{Engine, run};
            $(#[test] fn $name() { run(super::$name(Engine::Sqlite)); })*
        }
        mod postgres {
            use crate::harness::{Engine, run};
            $(#[test] fn $name() { run(super::$name(Engine::Postgres)); })*
        }
    };
}
pub(crate) use on_both_engines;

/// Runs one behaviour.
pub fn run(behaviour: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(behaviour);
}

/// A running service of one process over a database of its own, both gone with the test.
pub struct App {
    pub server: Server,
    pub client: Client,
    pub place: Place,
}

impl App {
    /// A service as it is without any setting, but for the limits on how often somebody may call.
    pub async fn start(engine: Engine) -> Self {
        Self::start_with(engine, &[]).await
    }

    /// The same with settings, each under its name in the environment.
    pub async fn start_with(engine: Engine, settings: &[(&str, &str)]) -> Self {
        let place = Place::new(engine).await;
        let server = Server::start(&place, settings).await;
        Self {
            client: server.client(),
            server,
            place,
        }
    }

    /// On PostgreSQL, with the wire to its database. Nobody waits for a hash longer than an operator would let them: that
    /// wait is part of what a request may take.
    pub async fn start_on_a_line() -> (Self, Line) {
        let mut place = Place::new(Engine::Postgres).await;
        let (host, port) = Place::database_server();
        let line = Line::to(host, port).await;
        place.through(line.port);
        let server = Server::start(&place, &[("REGISTRY__PASSWORDS__WAIT_MS", "2000")]).await;
        let app = Self {
            client: server.client(),
            server,
            place,
        };
        (app, line)
    }

    /// The mails this service has sent.
    pub fn mailbox(&self) -> Mailbox {
        Mailbox::of(self.place.folder())
    }

    /// The short messages this service has sent.
    pub fn phones(&self) -> Phones {
        Phones::of(self.place.folder())
    }

    /// What is in the database, read past the service.
    pub async fn log(&self) -> Log {
        self.place.log().await
    }
}

impl std::ops::Deref for App {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// Waits for something that must come, however slow the machine is.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, future)
        .await
        .unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// Looks again and again until there is something to see.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    soon(what, async {
        let mut again = tokio::time::interval(Duration::from_millis(5));
        loop {
            again.tick().await;
            if let Some(seen) = look().await {
                return seen;
            }
        }
    })
    .await
}
