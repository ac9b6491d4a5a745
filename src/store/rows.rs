//! How the rows of the immediate read models go into the database and come out of it.
//!
//! They go in as cells, in the order of their columns: bound as what they are, because building and reading JSON
//! cost more than the rest of such a statement. They come out column by column.

use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;

use aggregates::values::{Role, Timestamp};
use projections::{ApiKeyRow, BlockedAddressRow, DomainRow, PlaceRow, SessionRow, Status, UserRow, WordRow};
use serde::Serialize;
use serde_json::json;
use sqlx::Row as _;
use uuid::Uuid;

/// A table of the immediate read models.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its columns, the key first.
    pub columns: &'static [&'static str],
    /// How many of them are the key.
    pub keys: usize,
}

/// Accounts.
pub const USERS: Table = Table {
    name: "users",
    columns: &[
        "id",
        "version",
        "log_position",
        "created_position",
        "dialect",
        "status",
        "activated",
        "username",
        "username_canonical",
        "email",
        "email_canonical",
        "email_domain",
        "email_verified",
        "pending_email_canonical",
        "pending_email_expires",
        "phone",
        "phone_registered",
        "phone_verified",
        "devices",
        "full_name",
        "roles",
        "discoverable",
        "latitude",
        "longitude",
        "country",
        "geo_id",
        "boundary",
        "locale",
        "credential_version",
        "expires_at",
        "created_at",
        "updated_at",
        "last_login",
        "session_epoch",
        "kept_session",
    ],
    keys: 1,
};

/// Sign-ins.
pub const SESSIONS: Table = Table {
    name: "sessions",
    columns: &[
        "id",
        "user_id",
        "version",
        "started_position",
        "dialect",
        "started_at",
        "last_seen_at",
        "idle_expires_at",
        "expires_at",
        "generation",
        "ip",
        "user_agent",
    ],
    keys: 1,
};

/// API keys.
pub const API_KEYS: Table = Table {
    name: "api_keys",
    columns: &["id", "user_id", "name", "roles", "created_at", "expires_at", "revoked"],
    keys: 1,
};

/// Domains.
pub const DOMAINS: Table = Table {
    name: "domains",
    columns: &[
        "name",
        "version",
        "position",
        "standing",
        "include_subdomains",
        "reason",
        "proved",
        "authority_token_issued",
        "created_at",
        "rule_position",
    ],
    keys: 1,
};

/// Blocked addresses.
pub const BLOCKED_ADDRESSES: Table = Table {
    name: "blocked_addresses",
    columns: &["address", "domain", "position", "reason"],
    keys: 1,
};

/// What accounts are found by. The rows of an account follow from its row of `users`.
pub const WORDS: Table = Table {
    name: "user_words",
    columns: &["user_id", "word", "created_at", "username"],
    keys: 2,
};

/// Where accounts are found. The rows of an account follow from its row of `users`.
pub const PLACES: Table = Table {
    name: "user_places",
    columns: &["user_id", "cell", "x", "y", "z"],
    keys: 2,
};

impl Table {
    /// The first column of the primary key; of most tables the only one.
    #[must_use]
    pub fn key(&self) -> &'static str {
        self.columns.first().copied().unwrap_or_default()
    }

    /// The columns of the primary key.
    #[must_use]
    pub fn keys(&self) -> String {
        let keys: Vec<&str> = self.columns.iter().take(self.keys).copied().collect();
        keys.join(", ")
    }

    /// `a, b, c`, each with a prefix.
    #[must_use]
    pub fn list(&self, prefix: &str) -> String {
        self.columns
            .iter()
            .map(|column| format!("{prefix}{column}"))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// `ON CONFLICT …`: a row that is there already becomes the new one.
    #[must_use]
    pub fn replacing(&self) -> String {
        let others: Vec<String> = self
            .columns
            .iter()
            .skip(self.keys)
            .map(|column| format!("{column} = excluded.{column}"))
            .collect();
        if others.is_empty() {
            return format!("ON CONFLICT ({}) DO NOTHING", self.keys());
        }
        format!("ON CONFLICT ({}) DO UPDATE SET {}", self.keys(), others.join(", "))
    }
}

/// One column's value of a row, of the type that the column has on both engines.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell<'a> {
    /// `TEXT`.
    Text(Option<Cow<'a, str>>),
    /// `BIGINT` or `INTEGER`.
    Number(Option<i64>),
    /// `DOUBLE PRECISION` or `REAL`.
    Degrees(Option<f64>),
    /// `BOOLEAN`.
    Flag(bool),
}

/// A row that can be written.
pub trait Written {
    /// The row's values in the order of its table's columns.
    fn cells(&self) -> Vec<Cell<'_>>;
}

fn word_cell(text: &str) -> Cell<'_> {
    Cell::Text(Some(Cow::Borrowed(text)))
}

fn text_cell(text: Option<&String>) -> Cell<'_> {
    Cell::Text(text.map(|text| Cow::Borrowed(text.as_str())))
}

fn made_cell(text: &impl ToString) -> Cell<'static> {
    Cell::Text(Some(Cow::Owned(text.to_string())))
}

fn number_cell(number: i64) -> Cell<'static> {
    Cell::Number(Some(number))
}

fn time_cell(at: Timestamp) -> Cell<'static> {
    Cell::Number(Some(at.as_micros()))
}

fn maybe_time_cell(at: Option<Timestamp>) -> Cell<'static> {
    Cell::Number(at.map(Timestamp::as_micros))
}

/// A JSON array of texts. Nearly all of them are empty.
fn list_cell<T: Serialize>(list: &[T]) -> Cell<'static> {
    if list.is_empty() {
        return Cell::Text(Some(Cow::Borrowed("[]")));
    }
    made_cell(&json!(list))
}

fn role_cell(roles: &[Role]) -> Cell<'static> {
    list_cell(&roles.iter().map(|role| role.as_str()).collect::<Vec<_>>())
}

impl Written for UserRow {
    fn cells(&self) -> Vec<Cell<'_>> {
        vec![
            made_cell(&self.id),
            number_cell(self.version),
            number_cell(self.log_position),
            number_cell(self.created_position),
            word_cell(self.dialect.as_str()),
            word_cell(self.status.as_str()),
            Cell::Flag(self.activated),
            text_cell(self.username.as_ref()),
            text_cell(self.username_canonical.as_ref()),
            text_cell(self.email.as_ref()),
            text_cell(self.email_canonical.as_ref()),
            text_cell(self.email_domain.as_ref()),
            Cell::Flag(self.email_verified),
            text_cell(self.pending_email_canonical.as_ref()),
            maybe_time_cell(self.pending_email_expires),
            text_cell(self.phone.as_ref()),
            text_cell(self.phone_registered.as_ref()),
            Cell::Flag(self.phone_verified),
            list_cell(&self.devices),
            text_cell(self.full_name.as_ref()),
            role_cell(&self.roles),
            Cell::Flag(self.discoverable),
            Cell::Degrees(self.latitude),
            Cell::Degrees(self.longitude),
            text_cell(self.country.as_ref()),
            text_cell(self.geo_id.as_ref()),
            text_cell(self.boundary.as_ref()),
            text_cell(self.locale.as_ref()),
            number_cell(self.credential_version),
            maybe_time_cell(self.expires_at),
            time_cell(self.created_at),
            time_cell(self.updated_at),
            maybe_time_cell(self.last_login),
            number_cell(self.session_epoch),
            Cell::Text(self.kept_session.map(|id| Cow::Owned(id.to_string()))),
        ]
    }
}

impl Written for SessionRow {
    fn cells(&self) -> Vec<Cell<'_>> {
        vec![
            made_cell(&self.id),
            made_cell(&self.user_id),
            number_cell(self.version),
            number_cell(self.started_position),
            word_cell(self.dialect.as_str()),
            time_cell(self.started_at),
            time_cell(self.last_seen_at),
            time_cell(self.idle_expires_at),
            time_cell(self.expires_at),
            number_cell(self.generation),
            text_cell(self.ip.as_ref()),
            text_cell(self.user_agent.as_ref()),
        ]
    }
}

impl Written for ApiKeyRow {
    fn cells(&self) -> Vec<Cell<'_>> {
        vec![
            made_cell(&self.id),
            made_cell(&self.user_id),
            text_cell(self.name.as_ref()),
            role_cell(&self.roles),
            time_cell(self.created_at),
            maybe_time_cell(self.expires_at),
            Cell::Flag(self.revoked),
        ]
    }
}

impl Written for DomainRow {
    fn cells(&self) -> Vec<Cell<'_>> {
        vec![
            word_cell(&self.name),
            number_cell(self.version),
            number_cell(self.position),
            word_cell(self.standing.as_str()),
            Cell::Flag(self.include_subdomains),
            text_cell(self.reason.as_ref()),
            Cell::Flag(self.proved),
            maybe_time_cell(self.authority_token_issued),
            time_cell(self.created_at),
            number_cell(self.rule_position),
        ]
    }
}

impl Written for BlockedAddressRow {
    fn cells(&self) -> Vec<Cell<'_>> {
        vec![
            word_cell(&self.address),
            word_cell(&self.domain),
            number_cell(self.position),
            text_cell(self.reason.as_ref()),
        ]
    }
}

impl Written for WordRow {
    fn cells(&self) -> Vec<Cell<'_>> {
        vec![
            made_cell(&self.user_id),
            word_cell(&self.word),
            time_cell(self.created_at),
            word_cell(&self.username),
        ]
    }
}

impl Written for PlaceRow {
    fn cells(&self) -> Vec<Cell<'_>> {
        vec![
            made_cell(&self.user_id),
            number_cell(self.cell),
            Cell::Degrees(self.spot.map(|spot| spot.x)),
            Cell::Degrees(self.spot.map(|spot| spot.y)),
            Cell::Degrees(self.spot.map(|spot| spot.z)),
        ]
    }
}

/// A row read from either engine.
#[derive(Debug)]
pub struct Read<T>(pub T);

fn decode<T, E: Display>(column: &'static str, value: Result<T, E>) -> Result<T, sqlx::Error> {
    value.map_err(|problem| sqlx::Error::ColumnDecode {
        index: column.to_owned(),
        source: problem.to_string().into(),
    })
}

fn uuid(column: &'static str, text: &str) -> Result<Uuid, sqlx::Error> {
    decode(column, Uuid::parse_str(text))
}

fn word<T: FromStr<Err: Display>>(column: &'static str, text: &str) -> Result<T, sqlx::Error> {
    decode(column, text.parse())
}

fn roles(text: &str) -> Result<Vec<Role>, sqlx::Error> {
    decode("roles", serde_json::from_str(text))
}

/// The same reading for both engines; their row types share no trait that names these column types.
macro_rules! read_rows {
    ($($row:ty),+) => {$(
        impl<'r> sqlx::FromRow<'r, $row> for Read<UserRow> {
            fn from_row(row: &'r $row) -> Result<Self, sqlx::Error> {
                let at = |column: &'static str| row.try_get::<i64, _>(column).map(Timestamp::from_micros);
                let maybe_at =
                    |column: &'static str| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(column)?.map(Timestamp::from_micros));
                Ok(Self(UserRow {
                    id: uuid("id", row.try_get("id")?)?,
                    version: row.try_get("version")?,
                    log_position: row.try_get("log_position")?,
                    created_position: row.try_get("created_position")?,
                    dialect: word("dialect", row.try_get("dialect")?)?,
                    status: decode("status", Status::parse(row.try_get("status")?).ok_or("no such status"))?,
                    activated: row.try_get("activated")?,
                    username: row.try_get("username")?,
                    username_canonical: row.try_get("username_canonical")?,
                    email: row.try_get("email")?,
                    email_canonical: row.try_get("email_canonical")?,
                    email_domain: row.try_get("email_domain")?,
                    email_verified: row.try_get("email_verified")?,
                    pending_email_canonical: row.try_get("pending_email_canonical")?,
                    pending_email_expires: maybe_at("pending_email_expires")?,
                    phone: row.try_get("phone")?,
                    phone_registered: row.try_get("phone_registered")?,
                    phone_verified: row.try_get("phone_verified")?,
                    devices: decode("devices", serde_json::from_str(row.try_get("devices")?))?,
                    full_name: row.try_get("full_name")?,
                    roles: roles(row.try_get("roles")?)?,
                    discoverable: row.try_get("discoverable")?,
                    latitude: row.try_get("latitude")?,
                    longitude: row.try_get("longitude")?,
                    country: row.try_get("country")?,
                    geo_id: row.try_get("geo_id")?,
                    boundary: row.try_get("boundary")?,
                    locale: row.try_get("locale")?,
                    credential_version: row.try_get("credential_version")?,
                    expires_at: maybe_at("expires_at")?,
                    created_at: at("created_at")?,
                    updated_at: at("updated_at")?,
                    last_login: maybe_at("last_login")?,
                    session_epoch: row.try_get("session_epoch")?,
                    kept_session: row
                        .try_get::<Option<&str>, _>("kept_session")?
                        .map(|id| uuid("kept_session", id))
                        .transpose()?,
                }))
            }
        }

        impl<'r> sqlx::FromRow<'r, $row> for Read<SessionRow> {
            fn from_row(row: &'r $row) -> Result<Self, sqlx::Error> {
                let at = |column: &'static str| row.try_get::<i64, _>(column).map(Timestamp::from_micros);
                Ok(Self(SessionRow {
                    id: uuid("id", row.try_get("id")?)?,
                    user_id: uuid("user_id", row.try_get("user_id")?)?,
                    version: row.try_get("version")?,
                    started_position: row.try_get("started_position")?,
                    dialect: word("dialect", row.try_get("dialect")?)?,
                    started_at: at("started_at")?,
                    last_seen_at: at("last_seen_at")?,
                    idle_expires_at: at("idle_expires_at")?,
                    expires_at: at("expires_at")?,
                    generation: row.try_get("generation")?,
                    ip: row.try_get("ip")?,
                    user_agent: row.try_get("user_agent")?,
                }))
            }
        }

        impl<'r> sqlx::FromRow<'r, $row> for Read<ApiKeyRow> {
            fn from_row(row: &'r $row) -> Result<Self, sqlx::Error> {
                Ok(Self(ApiKeyRow {
                    id: uuid("id", row.try_get("id")?)?,
                    user_id: uuid("user_id", row.try_get("user_id")?)?,
                    name: row.try_get("name")?,
                    roles: roles(row.try_get("roles")?)?,
                    created_at: Timestamp::from_micros(row.try_get("created_at")?),
                    expires_at: row.try_get::<Option<i64>, _>("expires_at")?.map(Timestamp::from_micros),
                    revoked: row.try_get("revoked")?,
                }))
            }
        }

        impl<'r> sqlx::FromRow<'r, $row> for Read<DomainRow> {
            fn from_row(row: &'r $row) -> Result<Self, sqlx::Error> {
                Ok(Self(DomainRow {
                    name: row.try_get("name")?,
                    version: row.try_get("version")?,
                    position: row.try_get("position")?,
                    standing: word("standing", row.try_get("standing")?)?,
                    include_subdomains: row.try_get("include_subdomains")?,
                    reason: row.try_get("reason")?,
                    proved: row.try_get("proved")?,
                    authority_token_issued: row
                        .try_get::<Option<i64>, _>("authority_token_issued")?
                        .map(Timestamp::from_micros),
                    created_at: Timestamp::from_micros(row.try_get("created_at")?),
                    rule_position: row.try_get("rule_position")?,
                }))
            }
        }

        impl<'r> sqlx::FromRow<'r, $row> for Read<BlockedAddressRow> {
            fn from_row(row: &'r $row) -> Result<Self, sqlx::Error> {
                Ok(Self(BlockedAddressRow {
                    address: row.try_get("address")?,
                    domain: row.try_get("domain")?,
                    position: row.try_get("position")?,
                    reason: row.try_get("reason")?,
                }))
            }
        }
    )+};
}

read_rows!(sqlx::postgres::PgRow, sqlx::sqlite::SqliteRow);
