//! What a user's past events add up to, as far as a decision needs it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::values::{
    AccountStatus, Boundary, Channel, Coordinates, Country, DeviceKey, Dialect, Email, FullName, GeoId, Locale, Phone,
    Role, Timestamp, Username,
};

/// Where an account stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing has happened yet.
    #[default]
    Absent,
    /// Opened, nothing verified yet.
    Pending,
    /// In use.
    Active,
    /// Locked by an administrator or by too many attempts.
    Locked,
    /// Taken out of use.
    Deactivated,
    /// The person was erased. For ever.
    Erased,
    /// Never verified in time. For ever.
    Expired,
}

/// A link that is out and not used yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenLink {
    /// The request the link derives from.
    pub original: Uuid,
    /// The address it belongs to.
    pub email: Email,
    /// When `original` was made.
    pub issued_at: Timestamp,
    /// When it stops working.
    pub expires_at: Timestamp,
}

/// A code that is out and not used yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenCode {
    /// The request it belongs to.
    pub request: Uuid,
    /// The number it was sent to.
    pub phone: Phone,
    /// When it stops working.
    pub expires_at: Timestamp,
}

/// A link or a code to set a new password that is out and not used yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenReset {
    /// The request the link or the code derives from.
    pub original: Uuid,
    /// By mail or by SMS.
    pub channel: Channel,
    /// Where the mail went.
    pub email: Option<Email>,
    /// Where the SMS went.
    pub phone: Option<Phone>,
    /// When `original` was made.
    pub issued_at: Timestamp,
    /// When it stops working.
    pub expires_at: Timestamp,
}

/// An API key as its owner's stream knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldKey {
    /// What it may do, as long as its owner may.
    pub roles: Vec<Role>,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
    /// Whether it was revoked.
    pub revoked: bool,
    /// Whether a client secret goes with it.
    #[serde(default)]
    pub paired: bool,
}

/// What a person says of themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The name of the person.
    pub full_name: Option<FullName>,
    /// Whether others may find the account by its place.
    pub discoverable: bool,
    /// Where the person is.
    pub position: Option<Coordinates>,
    /// The country of `position`.
    pub country: Option<Country>,
    /// A place identifier.
    pub geo_id: Option<GeoId>,
    /// The outline of the person's land.
    pub boundary: Option<Boundary>,
    /// The language to write in.
    pub locale: Option<Locale>,
}

/// One account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own that a decision asks for"
)]
pub struct User {
    pub(super) phase: Phase,
    /// Whether the account was ever verified, in use, or taken into use: what unlocking or reactivating goes back to.
    pub(super) activated: bool,
    pub(super) dialect: Option<Dialect>,
    pub(super) username: Option<Username>,
    pub(super) email: Option<Email>,
    pub(super) email_verified: bool,
    pub(super) phone: Option<Phone>,
    pub(super) phone_verified: bool,
    /// Whether the number came after the account was opened and has not been verified since.
    #[serde(default)]
    pub(super) phone_unproved: bool,
    /// Whether a password was set while the address was unverified, which it still is.
    #[serde(default)]
    pub(super) email_doubted: bool,
    /// Whether a password was set while the number was unverified, which it still is.
    #[serde(default)]
    pub(super) phone_doubted: bool,
    pub(super) devices: BTreeSet<DeviceKey>,
    pub(super) profile: Profile,
    /// Without `user`, which everybody has.
    pub(super) roles: BTreeSet<Role>,
    pub(super) api_keys: BTreeMap<Uuid, HeldKey>,
    pub(super) credential_version: u32,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) open_email_verification: Option<OpenLink>,
    pub(super) spent_email_verification: Option<(Uuid, Email)>,
    pub(super) open_email_change: Option<OpenLink>,
    pub(super) spent_email_change: Option<(Uuid, Email)>,
    pub(super) open_phone_verification: Option<OpenCode>,
    pub(super) open_reset: Option<OpenReset>,
}

impl User {
    /// Where the account stands.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Where the account stands, as others are told; none before anything has happened.
    #[must_use]
    pub const fn status(&self) -> Option<AccountStatus> {
        match self.phase {
            Phase::Absent => None,
            Phase::Pending => Some(AccountStatus::Pending),
            Phase::Active => Some(AccountStatus::Active),
            Phase::Locked => Some(AccountStatus::Locked),
            Phase::Deactivated => Some(AccountStatus::Deactivated),
            Phase::Erased | Phase::Expired => Some(AccountStatus::Erased),
        }
    }

    /// Whether there is an account: opened and neither erased nor expired.
    #[must_use]
    pub const fn exists(&self) -> bool {
        !matches!(self.phase, Phase::Absent | Phase::Erased | Phase::Expired)
    }

    /// Whether what was personal is gone for ever.
    #[must_use]
    pub const fn is_erased(&self) -> bool {
        matches!(self.phase, Phase::Erased | Phase::Expired)
    }

    /// Whether the account was ever verified or in use.
    #[must_use]
    pub const fn is_activated(&self) -> bool {
        self.activated
    }

    /// The API it was opened through.
    #[must_use]
    pub const fn dialect(&self) -> Option<Dialect> {
        self.dialect
    }

    /// The name to sign in with.
    #[must_use]
    pub const fn username(&self) -> Option<&Username> {
        self.username.as_ref()
    }

    /// The address.
    #[must_use]
    pub const fn email(&self) -> Option<&Email> {
        self.email.as_ref()
    }

    /// Whether the address is verified.
    #[must_use]
    pub const fn email_verified(&self) -> bool {
        self.email_verified
    }

    /// The number.
    #[must_use]
    pub const fn phone(&self) -> Option<&Phone> {
        self.phone.as_ref()
    }

    /// Whether the number is verified.
    #[must_use]
    pub const fn phone_verified(&self) -> bool {
        self.phone_verified
    }

    /// Whether nobody but the owner, signed in, may ask for a link to the address: it is unverified and older than the
    /// password, so whoever knew the one before may have put it there. An account that nothing has activated yet has no
    /// other way to prove itself.
    #[must_use]
    pub const fn email_in_doubt(&self) -> bool {
        self.email_doubted && self.activated
    }

    /// The same of a code to the number.
    #[must_use]
    pub const fn phone_in_doubt(&self) -> bool {
        self.phone_doubted && self.activated
    }

    /// The devices that may sign in.
    pub fn devices(&self) -> impl Iterator<Item = &DeviceKey> {
        self.devices.iter()
    }

    /// What the person says of themselves.
    #[must_use]
    pub const fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The version of the current credential; 0 when there is none.
    #[must_use]
    pub const fn credential_version(&self) -> u32 {
        self.credential_version
    }

    /// When the registration expires, as long as nothing is verified.
    #[must_use]
    pub const fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// Every role of the account, `user` included as long as the account exists.
    pub fn roles(&self) -> impl Iterator<Item = Role> {
        self.exists()
            .then_some(Role::User)
            .into_iter()
            .chain(self.roles.iter().copied())
    }

    /// Whether the account has a role.
    #[must_use]
    pub fn has_role(&self, role: Role) -> bool {
        self.roles().any(|held| held == role)
    }

    /// The API keys ever made for the account.
    pub fn api_keys(&self) -> impl Iterator<Item = (Uuid, &HeldKey)> {
        self.api_keys.iter().map(|(id, key)| (*id, key))
    }

    /// The link out to verify the address. It may be too old; the decision asks.
    #[must_use]
    pub const fn open_email_verification(&self) -> Option<&OpenLink> {
        self.open_email_verification.as_ref()
    }

    /// The request whose link verified the present address, so that the same link can be told from a
    /// wrong one when it is opened again.
    #[must_use]
    pub fn spent_email_verification(&self) -> Option<(Uuid, &Email)> {
        self.spent_email_verification
            .as_ref()
            .map(|(original, email)| (*original, email))
    }

    /// The link out to confirm another address.
    #[must_use]
    pub const fn open_email_change(&self) -> Option<&OpenLink> {
        self.open_email_change.as_ref()
    }

    /// The request whose link brought the present address.
    #[must_use]
    pub fn spent_email_change(&self) -> Option<(Uuid, &Email)> {
        self.spent_email_change
            .as_ref()
            .map(|(original, email)| (*original, email))
    }

    /// The code out to verify the number.
    #[must_use]
    pub const fn open_phone_verification(&self) -> Option<&OpenCode> {
        self.open_phone_verification.as_ref()
    }

    /// The link or code out to set a new password. There is never more than one.
    #[must_use]
    pub const fn open_reset(&self) -> Option<&OpenReset> {
        self.open_reset.as_ref()
    }
}
