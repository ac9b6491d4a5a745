//! The users table: one row per account, everything `GET /v1/me` and the lists answer from.

use aggregates::values::{Dialect, Role, Timestamp};
use uuid::Uuid;

mod fold;

/// Where an account stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Nothing is verified yet.
    Pending,
    /// In use.
    Active,
    /// Locked by an administrator or by too many attempts.
    Locked,
    /// Taken out of use.
    Deactivated,
}

impl Status {
    /// Every status.
    pub const ALL: &'static [Self] = &[Self::Pending, Self::Active, Self::Locked, Self::Deactivated];

    /// The word for it, in SQL and on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Locked => "locked",
            Self::Deactivated => "deactivated",
        }
    }

    /// The status a word stands for, if it stands for one.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|status| status.as_str() == word)
    }
}

/// One account.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are columns, each with its own meaning"
)]
pub struct UserRow {
    /// The user's id, which is also its stream.
    pub id: Uuid,
    /// The number of events in the user's stream.
    pub version: i64,
    /// The log position of the last event of the user's stream.
    pub log_position: i64,
    /// The log position of the first.
    pub created_position: i64,
    /// The API it was opened through.
    pub dialect: Dialect,
    /// See [`Status`].
    pub status: Status,
    /// Whether the account was verified or active before it was locked or deactivated.
    pub activated: bool,
    /// As typed.
    pub username: Option<String>,
    /// The form that is unique.
    pub username_canonical: Option<String>,
    /// As typed, domain as A-label.
    pub email: Option<String>,
    /// The form that is unique.
    pub email_canonical: Option<String>,
    /// The A-label domain of the address.
    pub email_domain: Option<String>,
    /// Whether the address is verified.
    pub email_verified: bool,
    /// A new address waiting for its confirmation, canonical; reserved until `pending_email_expires`.
    pub pending_email_canonical: Option<String>,
    /// When the reservation ends.
    pub pending_email_expires: Option<Timestamp>,
    /// E.164 or, from Xhoppe, digits.
    pub phone: Option<String>,
    /// As registered.
    pub phone_registered: Option<String>,
    /// Whether the number is verified.
    pub phone_verified: bool,
    /// Keyed hashes of the ids of its devices, sorted.
    pub devices: Vec<String>,
    /// The name of the person.
    pub full_name: Option<String>,
    /// Sorted, without `user`, which everybody has.
    pub roles: Vec<Role>,
    /// Whether others may find it by its place.
    pub discoverable: bool,
    /// Degrees, WGS 84.
    pub latitude: Option<f64>,
    /// Degrees, WGS 84.
    pub longitude: Option<f64>,
    /// ISO 3166-1 alpha-2.
    pub country: Option<String>,
    /// The client's own place identifier.
    pub geo_id: Option<String>,
    /// `GeoJSON` text.
    pub boundary: Option<String>,
    /// BCP 47.
    pub locale: Option<String>,
    /// The version of the current credential; 0 when there is none.
    pub credential_version: i64,
    /// When it expires if still unverified.
    pub expires_at: Option<Timestamp>,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When its stream last grew.
    pub updated_at: Timestamp,
    /// When somebody last signed in.
    pub last_login: Option<Timestamp>,
    /// Sessions that started at or before this log position have ended, but for `kept_session`.
    pub session_epoch: i64,
    /// The one session that outlived the last such end.
    pub kept_session: Option<Uuid>,
}

impl UserRow {
    /// Whether the account is in use: neither waiting nor shut.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        self.status == Status::Active
    }

    /// Whether somebody has proved that they have an address of this very domain.
    #[must_use]
    pub fn is_of_domain(&self, domain: &str) -> bool {
        self.email_verified && self.email_domain.as_deref() == Some(domain)
    }
}

#[cfg(test)]
mod tests {
    use super::Status;

    #[test]
    fn every_status_reads_back_as_itself() {
        for status in Status::ALL {
            assert_eq!(Status::parse(status.as_str()), Some(*status));
        }
        assert_eq!(Status::parse("erased"), None);
    }
}
