//! What the bodies look like in the document.

use aggregates::values::{
    Boundary, Country, Dialect, DomainName, Email, FullName, GeoId, Locale, Note, Role, RuleKind, StandingKind,
    Timestamp, Username,
};
use projections::Status;
use serde_json::Value;
use uuid::Uuid;

use super::{
    ActorBody, DomainBody, EventBody, OriginBody, Position, RuleBody, SessionBody, TokenBody, UserBody, VerdictBody,
};
use crate::http::canonical::past::AsOf;
use crate::http::document::{Absent, EventType, shape};

shape! {
    /// A place in degrees, WGS 84.
    Position as "Position" {
        latitude: f64,
        longitude: f64,
    }

    /// An account.
    UserBody as "User" {
        id: Uuid,
        username: Option<Username>,
        email: Option<Email>,
        email_verified: bool,
        /// As it was registered.
        phone: Option<String>,
        phone_verified: bool,
        full_name: Option<FullName>,
        status: Status,
        roles: Vec<Role>,
        /// Whether others may find the account by its place.
        discoverable: bool,
        position: Option<Position>,
        /// The client's own name for the place.
        geo_id: Option<GeoId>,
        /// The outline of the land, GeoJSON.
        boundary: Option<Boundary>,
        /// Derived from the position.
        country: Option<Country>,
        locale: Option<Locale>,
        created_at: Timestamp,
        updated_at: Timestamp,
        last_login: Option<Timestamp>,
        /// How many events the account's stream holds; what If-Match is compared with.
        version: i64,
        /// Where in the log the newest of them stands.
        log_position: i64,
        /// There when the account is shown as it was: the last event that had made it so.
        as_of: Absent<AsOf>,
    }

    /// An internet domain and the rule for addresses in it.
    DomainBody as "Domain" {
        name: DomainName,
        standing: StandingKind,
        include_subdomains: bool,
        reason: Option<Note>,
        /// How many accounts have an address in it.
        users: i64,
        proved: bool,
        authority_token_issued: bool,
        version: i64,
        position: i64,
    }

    /// A sign-in.
    SessionBody as "Session" {
        id: Uuid,
        started_at: Timestamp,
        /// Its start or last refresh.
        last_seen_at: Timestamp,
        expires_at: Timestamp,
        dialect: Dialect,
        /// Forgotten after 90 days.
        user_agent: Option<String>,
        /// Forgotten after 90 days.
        ip: Option<String>,
        /// Whether the request was made with it.
        current: bool,
    }

    /// What a sign-in gives. It is shown once.
    TokenBody<'static> as "Tokens" {
        /// A JWT, see /docs/tokens.
        access_token: String,
        token_type: String,
        /// Seconds.
        expires_in: i64,
        /// Good for one refresh.
        refresh_token: String,
        session_id: Uuid,
        user_id: Uuid,
    }

    /// Who did something.
    ActorBody as "Actor" {
        /// self, admin, system, api_key or anonymous.
        kind: Option<String>,
        id: Option<String>,
    }

    /// Where an act came from.
    OriginBody as "Origin" {
        dialect: Option<Dialect>,
        /// Forgotten after 90 days.
        ip: Option<String>,
        request_id: Option<String>,
    }

    /// An event of a history.
    EventBody as "Event" {
        /// Its place in the log.
        position: i64,
        /// Its place in the stream: 1, 2, 3 and so on.
        sequence: i64,
        event_id: Uuid,
        kind = "type": EventType,
        at: Timestamp,
        actor: ActorBody,
        origin: OriginBody,
        /// The event it followed from, where it names one: the request whose link or code was used.
        cause: Option<Uuid>,
        /// The id of the request that led to it; events of one request share it.
        correlation: Option<String>,
        /// The facts. Personal ones are null once the person is erased.
        data: Value,
        /// There, and true, once the person is erased.
        erased: Absent<bool>,
    }

    /// The rule that decides about an address.
    RuleBody as "Rule" {
        domain: DomainName,
        kind: RuleKind,
        /// Where in the log the rule stands; 0 for the default.
        position: i64,
    }

    /// What may be said of an address.
    VerdictBody as "Verdict" {
        allowed: bool,
        rule: RuleBody,
    }
}
