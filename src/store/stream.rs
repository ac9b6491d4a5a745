//! What ties an aggregate to its streams.

use std::sync::Arc;

use aggregates::audit::{Audit, AuditEvent};
use aggregates::domain::{Domain, DomainEvent};
use aggregates::event::{Level, Recordable};
use aggregates::session::{Session, SessionEvent};
use aggregates::user::{User, UserEvent};
use cqrs_es::Aggregate;

use super::AnyEvent;
use crate::keys::Scope;

/// The state of any aggregate, for the cache.
#[derive(Debug, Clone)]
pub enum AnyState {
    /// Of a user.
    User(Arc<User>),
    /// Of a session.
    Session(Arc<Session>),
    /// Of a domain.
    Domain(Arc<Domain>),
    /// Of a reader.
    Audit(Arc<Audit>),
}

/// An aggregate whose streams live in this store.
pub trait Stream:
    Aggregate<Services = (), Event: Recordable + Into<AnyEvent>, Command: Clone> + Clone + 'static
{
    /// For the cache.
    fn into_any(self) -> AnyState;

    /// Out of the cache.
    fn from_any(state: &AnyState) -> Option<&Self>;

    /// Whom an event of the stream `id` is about; `self` is the state before the command: a session that has ended no
    /// longer knows whose it was.
    fn subject(&self, id: &str, event: &Self::Event) -> String;

    /// The scope that seals what an event has of this level. A fact has none.
    fn scope(level: Level, event: &Self::Event) -> Option<Scope> {
        let _ = event;
        (level == Level::Person).then_some(Scope::Person)
    }

    /// Where what the stream is about stands now: said in the metadata of its events, so that whoever reads one of them
    /// need not read those before it.
    fn status(&self) -> Option<&'static str> {
        None
    }

    /// The scope whose key is destroyed with this event.
    fn destroys(event: &Self::Event) -> Option<Scope> {
        let _ = event;
        None
    }
}

macro_rules! any_state {
    ($variant:ident) => {
        fn into_any(self) -> AnyState {
            AnyState::$variant(Arc::new(self))
        }

        fn from_any(state: &AnyState) -> Option<&Self> {
            match state {
                AnyState::$variant(state) => Some(state),
                _ => None,
            }
        }
    };
}

impl Stream for User {
    any_state!(User);

    fn subject(&self, id: &str, _: &UserEvent) -> String {
        id.to_owned()
    }

    fn status(&self) -> Option<&'static str> {
        Self::status(self).map(aggregates::values::AccountStatus::as_str)
    }
}

impl Stream for Session {
    any_state!(Session);

    fn subject(&self, id: &str, event: &SessionEvent) -> String {
        match event {
            SessionEvent::Started { user, .. } | SessionEvent::Failed { user, .. } => user.to_string(),
            _ => self.user().map_or_else(|| id.to_owned(), |user| user.to_string()),
        }
    }
}

impl Stream for Domain {
    any_state!(Domain);

    fn subject(&self, id: &str, _: &DomainEvent) -> String {
        id.to_owned()
    }

    fn scope(level: Level, event: &DomainEvent) -> Option<Scope> {
        match (level, event) {
            (Level::Address, DomainEvent::AddressBlocked { address, .. }) => Some(Scope::Address(address.clone())),
            _ => None,
        }
    }

    fn destroys(event: &DomainEvent) -> Option<Scope> {
        match event {
            DomainEvent::AddressUnblocked { address, .. } => Some(Scope::Address(address.clone())),
            _ => None,
        }
    }
}

impl Stream for Audit {
    any_state!(Audit);

    fn subject(&self, id: &str, event: &AuditEvent) -> String {
        match event {
            AuditEvent::HistoryRead { of, .. } => of.to_string(),
            // It is about nobody but who searched.
            AuditEvent::UsersListed { .. } => id.to_owned(),
        }
    }
}

/// How many places of the cache a state takes: one, and one more for every 2 KiB of a boundary. A boundary may have a
/// megabyte, and twenty thousand of those would not fit into memory.
pub(super) fn weight(state: &AnyState) -> u32 {
    let AnyState::User(user) = state else { return 1 };
    let boundary = user
        .profile()
        .boundary
        .as_ref()
        .map_or(0, |boundary| boundary.to_string().len());
    u32::try_from(1 + boundary / 2_048).unwrap_or(u32::MAX)
}
