//! What the canonical API sends: one struct per shape, fields as the contract lists them.

use aggregates::domain::standing::Verdict;
use aggregates::values::{Role, Timestamp};
use projections::{SessionRow, UserRow};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::past::AsOf;
use crate::registry::{DomainView, HistoryEntry, SignedIn};
use crate::store::OpenedEvent;

mod shapes;

/// A page of a list.
#[derive(Serialize)]
pub(super) struct Page<T, C> {
    pub items: Vec<T>,
    pub next: Option<C>,
}

#[derive(Serialize)]
pub(super) struct Position {
    latitude: f64,
    longitude: f64,
}

/// The user object.
#[derive(Serialize)]
pub(super) struct UserBody {
    id: Uuid,
    username: Option<String>,
    email: Option<String>,
    email_verified: bool,
    phone: Option<String>,
    phone_verified: bool,
    full_name: Option<String>,
    status: &'static str,
    roles: Vec<&'static str>,
    discoverable: bool,
    position: Option<Position>,
    geo_id: Option<String>,
    boundary: Option<Value>,
    country: Option<String>,
    locale: Option<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
    last_login: Option<Timestamp>,
    version: i64,
    log_position: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<AsOf>,
}

impl UserBody {
    pub const fn version(&self) -> i64 {
        self.version
    }

    /// The account as it was.
    pub fn shown_as_of(self, as_of: AsOf) -> Self {
        Self {
            as_of: Some(as_of),
            ..self
        }
    }
}

impl From<UserRow> for UserBody {
    fn from(row: UserRow) -> Self {
        let mut roles = vec![Role::User.as_str()];
        roles.extend(
            row.roles
                .iter()
                .filter(|role| **role != Role::User)
                .map(|role| role.as_str()),
        );
        Self {
            id: row.id,
            username: row.username,
            email: row.email,
            email_verified: row.email_verified,
            phone: row.phone_registered.or(row.phone),
            phone_verified: row.phone_verified,
            full_name: row.full_name,
            status: row.status.as_str(),
            roles,
            discoverable: row.discoverable,
            position: row
                .latitude
                .zip(row.longitude)
                .map(|(latitude, longitude)| Position { latitude, longitude }),
            geo_id: row.geo_id,
            // It was checked when it came in; a text that is none any more is shown as nothing.
            boundary: row.boundary.and_then(|text| serde_json::from_str(&text).ok()),
            country: row.country,
            locale: row.locale,
            created_at: row.created_at,
            updated_at: row.updated_at,
            last_login: row.last_login,
            version: row.version,
            log_position: row.log_position,
            as_of: None,
        }
    }
}

/// The domain object.
#[derive(Serialize)]
pub(super) struct DomainBody {
    name: String,
    standing: &'static str,
    include_subdomains: bool,
    reason: Option<String>,
    users: i64,
    proved: bool,
    authority_token_issued: bool,
    version: i64,
    position: i64,
}

impl From<DomainView> for DomainBody {
    fn from(DomainView { row, users }: DomainView) -> Self {
        Self {
            name: row.name,
            standing: row.standing.as_str(),
            include_subdomains: row.include_subdomains,
            reason: row.reason,
            users,
            proved: row.proved,
            authority_token_issued: row.authority_token_issued.is_some(),
            version: row.version,
            position: row.position,
        }
    }
}

/// One of the caller's sign-ins.
#[derive(Serialize)]
pub(super) struct SessionBody {
    id: Uuid,
    started_at: Timestamp,
    last_seen_at: Timestamp,
    expires_at: Timestamp,
    dialect: &'static str,
    user_agent: Option<String>,
    ip: Option<String>,
    current: bool,
}

impl SessionBody {
    pub fn new(row: SessionRow, current: Uuid) -> Self {
        Self {
            id: row.id,
            started_at: row.started_at,
            last_seen_at: row.last_seen_at,
            expires_at: row.expires_at.min(row.idle_expires_at),
            dialect: row.dialect.as_str(),
            user_agent: row.user_agent,
            ip: row.ip,
            current: row.id == current,
        }
    }
}

/// What a sign-in or a refresh answers. Shown once.
#[derive(Serialize)]
pub(super) struct TokenBody<'a> {
    access_token: &'a str,
    token_type: &'static str,
    expires_in: i64,
    refresh_token: &'a str,
    session_id: Uuid,
    user_id: Uuid,
}

impl<'a> From<&'a SignedIn> for TokenBody<'a> {
    fn from(signed_in: &'a SignedIn) -> Self {
        Self {
            access_token: &signed_in.tokens.access,
            token_type: "Bearer",
            expires_in: signed_in.tokens.expires_in,
            refresh_token: &signed_in.tokens.refresh,
            session_id: signed_in.session,
            user_id: signed_in.user,
        }
    }
}

#[derive(Serialize)]
pub(super) struct ActorBody {
    kind: Option<String>,
    id: Option<String>,
}

impl ActorBody {
    pub fn of(event: &OpenedEvent) -> Self {
        Self {
            kind: event.metadata.get("actor").cloned(),
            id: event.metadata.get("actor_id").cloned(),
        }
    }
}

#[derive(Serialize)]
struct OriginBody {
    dialect: Option<String>,
    ip: Option<String>,
    request_id: Option<String>,
}

/// One event of a history.
#[derive(Serialize)]
pub(super) struct EventBody {
    position: i64,
    sequence: i64,
    event_id: Uuid,
    #[serde(rename = "type")]
    kind: String,
    at: Timestamp,
    actor: ActorBody,
    origin: OriginBody,
    cause: Option<Uuid>,
    correlation: Option<String>,
    data: Value,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    erased: bool,
}

impl From<HistoryEntry> for EventBody {
    fn from(entry: HistoryEntry) -> Self {
        let (data, cause) = (entry.data(), entry.cause());
        let correlation = entry.correlation().map(str::to_owned);
        let event = entry.event;
        let fact = |name: &str| event.metadata.get(name).cloned();
        Self {
            position: event.record.position,
            sequence: event.record.sequence,
            event_id: event.record.event_id,
            kind: event.record.event_type.clone(),
            at: event.record.recorded_at,
            actor: ActorBody::of(&event),
            origin: OriginBody {
                dialect: fact("dialect"),
                ip: event.ip.clone(),
                request_id: fact("request_id"),
            },
            cause,
            correlation,
            data,
            erased: event.erased,
        }
    }
}

#[derive(Serialize)]
struct RuleBody {
    domain: String,
    kind: &'static str,
    position: i64,
}

/// What may be said of an address.
#[derive(Serialize)]
pub(super) struct VerdictBody {
    allowed: bool,
    rule: RuleBody,
}

impl From<Verdict> for VerdictBody {
    fn from(Verdict { allowed, rule }: Verdict) -> Self {
        let rule = RuleBody {
            domain: rule.domain.as_str().to_owned(),
            kind: rule.kind.as_str(),
            position: rule.position,
        };
        Self { allowed, rule }
    }
}
