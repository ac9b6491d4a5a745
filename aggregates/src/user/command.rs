//! What may be asked of a user. Ids, times and the words of other streams arrive with the command.

use uuid::Uuid;

use crate::values::{
    ApiKeyName, Boundary, Channel, Coordinates, Country, DeviceKey, Dialect, Email, FullName, GeoId, Locale,
    LockReason, Note, Phone, Role, Standing, Timestamp, Username,
};

/// An order to one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserCommand {
    /// Open an account.
    Register(Box<Register>),
    /// Take an account over from an older system.
    Import(Box<Import>),
    /// Send a link that verifies the address.
    RequestEmailVerification(RequestLink),
    /// Use such a link. The registry has checked the link's signature against the open request.
    VerifyEmail {
        /// The request the link derives from.
        original: Uuid,
        /// Now.
        at: Timestamp,
    },
    /// Send a code that verifies the number.
    RequestPhoneVerification(RequestLink),
    /// Use such a code. The registry has compared the code.
    VerifyPhone {
        /// The request the code belongs to.
        request: Uuid,
        /// Now.
        at: Timestamp,
    },
    /// Ask for another address.
    RequestEmailChange {
        /// The new address.
        email: Email,
        /// What may be said of its domain.
        standing: Standing,
        /// The request.
        link: RequestLink,
    },
    /// Take an address: at once and unverified where there was none, else as `RequestEmailChange` does.
    TakeEmail {
        /// The address.
        email: Email,
        /// What may be said of its domain.
        standing: Standing,
        /// The request for the link that verifies it, or confirms the change.
        link: RequestLink,
    },
    /// Use the link of such a request.
    ConfirmEmailChange {
        /// The request the link derives from.
        original: Uuid,
        /// What may be said of the new address's domain by now: it may have been blocked since.
        standing: Standing,
        /// Now.
        at: Timestamp,
    },
    /// Take another number, unverified.
    ChangePhone {
        /// The new number.
        phone: Phone,
    },
    /// Take another username.
    ChangeUsername {
        /// The new name.
        username: Username,
    },
    /// Change the profile. What is `None` stays; what is `Some(None)` is cleared.
    UpdateProfile(Box<ProfileChange>),
    /// Set another password. The registry has verified the current one and hashed the new one.
    ChangePassword {
        /// The session that goes on.
        kept_session: Option<Uuid>,
    },
    /// Send a link or a code to set a new password.
    RequestPasswordReset {
        /// By mail or by SMS.
        channel: Channel,
        /// The request.
        link: RequestLink,
    },
    /// Use it.
    ResetPassword {
        /// The request the link or code derives from.
        original: Uuid,
        /// Now.
        at: Timestamp,
    },
    /// Set another password for somebody who has lost every way in. Only an operator may say so.
    RecoverPassword {
        /// Stands in the event where the request of a link or a code would.
        recovery: Uuid,
    },
    /// Lock the account.
    Lock {
        /// Who locks.
        reason: LockReason,
        /// The administrator's words.
        note: Option<Note>,
    },
    /// Lift the lock.
    Unlock {
        /// The administrator's words.
        note: Option<Note>,
    },
    /// Take the account out of use.
    Deactivate {
        /// The administrator's words.
        note: Option<Note>,
    },
    /// Take it into use again.
    Reactivate {
        /// The administrator's words.
        note: Option<Note>,
    },
    /// Take it into use whatever keeps it out: a lock, that it was taken out of use, or that nothing of it was verified.
    Activate {
        /// The administrator's words.
        note: Option<Note>,
    },
    /// Give a role.
    GrantRole {
        /// Which.
        role: Role,
    },
    /// Take a role.
    RevokeRole {
        /// Which.
        role: Role,
    },
    /// Make an API key.
    IssueApiKey {
        /// The key's id.
        key_id: Uuid,
        /// What its owner calls it.
        name: ApiKeyName,
        /// What it may do.
        roles: Vec<Role>,
        /// When it stops working.
        expires_at: Option<Timestamp>,
        /// Now.
        at: Timestamp,
    },
    /// Make an API key with a client secret beside it. Those made so before stop working.
    IssueKeyPair {
        /// The key's id.
        key_id: Uuid,
        /// What it is called.
        name: ApiKeyName,
        /// The API whose form it has.
        dialect: Dialect,
        /// Whether a mail brings it to its owner.
        mailed: bool,
        /// When it stops working.
        expires_at: Option<Timestamp>,
        /// Now.
        at: Timestamp,
    },
    /// Revoke an API key.
    RevokeApiKey {
        /// Which.
        key_id: Uuid,
    },
    /// Let a device sign in.
    BindDevice {
        /// The keyed hash of its id.
        device: DeviceKey,
    },
    /// Let it sign in no longer.
    UnbindDevice {
        /// The keyed hash of its id.
        device: DeviceKey,
    },
    /// End a registration that was never verified.
    ExpireRegistration {
        /// Now.
        at: Timestamp,
    },
    /// Erase the person.
    Erase,
}

/// Open an account. At least one of username, email, phone, device is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register {
    /// Through which API.
    pub dialect: Dialect,
    /// The name to sign in with.
    pub username: Option<Username>,
    /// The address.
    pub email: Option<Email>,
    /// The number.
    pub phone: Option<Phone>,
    /// The registering device.
    pub device: Option<DeviceKey>,
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
    /// Whether a password is set with it.
    pub password: bool,
    /// What may be said of the address's domain and of the address itself.
    pub standing: Standing,
    /// Whether the address counts as verified (made by an administrator): active at once, nothing is sent.
    pub verified: bool,
    /// How long an unverified account may live, microseconds; `None`: for ever.
    pub unverified_life: Option<i64>,
    /// Send a link to the address, under this request id.
    pub email_request: Option<RequestLink>,
    /// Send a code to the number, under this request id.
    pub phone_request: Option<RequestLink>,
    /// Now.
    pub at: Timestamp,
}

/// Take an account over from an older system.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are the columns of the older tables, each with its own meaning"
)]
pub struct Import {
    /// Which API's users it belongs to.
    pub dialect: Dialect,
    /// The name to sign in with.
    pub username: Option<Username>,
    /// The address.
    pub email: Option<Email>,
    /// The number.
    pub phone: Option<Phone>,
    /// The name of the person.
    pub full_name: Option<FullName>,
    /// Whether the older system had verified the address.
    pub email_verified: bool,
    /// Whether the older system had verified the number.
    pub phone_verified: bool,
    /// Whether the account may be used.
    pub active: bool,
    /// When the older system says it was opened.
    pub created_at: Option<Timestamp>,
    /// Whether a credential comes with it.
    pub password: bool,
}

/// A request that leads to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestLink {
    /// The id the request event will be stored under.
    pub request: Uuid,
    /// Whose link form or wording the message uses.
    pub dialect: Dialect,
    /// How long a new link or code works, microseconds.
    pub life: i64,
    /// Now.
    pub at: Timestamp,
}

/// A change of the profile: `None` stays, `Some(None)` clears.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProfileChange {
    /// The name of the person.
    pub full_name: Option<Option<FullName>>,
    /// Whether others may find the account by its place.
    pub discoverable: Option<bool>,
    /// Where the person is, with the country it lies in.
    pub position: Option<Option<(Coordinates, Option<Country>)>>,
    /// A place identifier.
    pub geo_id: Option<Option<GeoId>>,
    /// The outline of the person's land.
    pub boundary: Option<Option<Boundary>>,
    /// The language to write in.
    pub locale: Option<Option<Locale>>,
}
