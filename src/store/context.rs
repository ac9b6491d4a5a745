//! Who asks, from where and through which dialect: what becomes an event's metadata.

use std::collections::BTreeMap;

use aggregates::values::Dialect;
use uuid::Uuid;

use crate::trace::TraceParent;

/// Who acts. Written unsealed in every event's metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// The account's own person.
    Own,
    /// An administrator.
    Admin,
    /// The registry itself, or an operator at the command line.
    System,
    /// Somebody with an API key.
    ApiKey,
    /// Nobody known.
    Anonymous,
}

impl Actor {
    /// Its word in the metadata.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Own => "self",
            Self::Admin => "admin",
            Self::System => "system",
            Self::ApiKey => "api_key",
            Self::Anonymous => "anonymous",
        }
    }
}

/// Where a command comes from.
#[derive(Clone)]
pub struct Context {
    /// Who acts.
    pub actor: Actor,
    /// Their user id or the id of their API key.
    pub actor_id: Option<Uuid>,
    /// The user whose address `ip` is: sealed under that user's key of the month. None: the subject of the event.
    pub origin_owner: Option<Uuid>,
    /// Which API was asked.
    pub dialect: Dialect,
    /// The request's id, from the edge to the logs.
    pub request_id: String,
    /// The trace it belongs to, if its caller named one.
    pub trace: Option<TraceParent>,
    /// The caller's address.
    pub ip: Option<String>,
    /// The caller's program.
    pub user_agent: Option<String>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("actor", &self.actor)
            .field("actor_id", &self.actor_id)
            .field("dialect", &self.dialect)
            .field("request_id", &self.request_id)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// The registry acting by itself, or an operator at the command line.
    #[must_use]
    pub fn system(request_id: String) -> Self {
        Self {
            actor: Actor::System,
            actor_id: None,
            origin_owner: None,
            dialect: Dialect::Canonical,
            request_id,
            trace: None,
            ip: None,
            user_agent: None,
        }
    }

    /// The unsealed part of the metadata.
    pub(super) fn facts(&self) -> BTreeMap<&'static str, String> {
        let mut facts = BTreeMap::from([
            ("actor", self.actor.as_str().to_owned()),
            ("dialect", self.dialect.as_str().to_owned()),
            ("request_id", self.request_id.clone()),
        ]);
        if let Some(id) = self.actor_id {
            facts.insert("actor_id", id.to_string());
        }
        if let Some(trace) = &self.trace {
            facts.insert("traceparent", trace.to_string());
        }
        facts
    }
}
