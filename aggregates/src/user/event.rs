//! What has happened to a user.

use uuid::Uuid;

use crate::event::{Personal, events};
use crate::values::{
    ApiKeyName, Boundary, Channel, Coordinates, Country, DeviceKey, Dialect, Email, FullName, GeoId, Locale,
    LockReason, Note, Phone, ProfileField, Role, Timestamp, Username,
};

events! {
    /// What has happened to a user.
    ///
    /// Stored for ever: add a variant or an optional field, never rename one. A fact
    /// whose meaning changes becomes a new variant.
    pub enum UserEvent {
        /// An account was opened.
        Registered = "user.registered" {
            /// Through which API.
            dialect: Dialect,
            /// The name to sign in with.
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            username: Personal<Username>,
            /// The address, as typed and in canonical form.
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            email: Personal<Email>,
            /// The number, canonical and as registered.
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            phone: Personal<Phone>,
            /// The device that registered, as a keyed hash of its id.
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            device: Personal<DeviceKey>,
            /// The name of the person.
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            full_name: Personal<FullName>,
            /// Whether others may find the account by its place.
            discoverable: bool,
            /// Where the person is.
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            position: Personal<Coordinates>,
            /// The country `position` lies in.
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            country: Personal<Country>,
            /// A place identifier of the client's own.
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            geo_id: Personal<GeoId>,
            /// The outline of the person's land.
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            boundary: Personal<Boundary>,
            /// The language to write in.
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            locale: Personal<Locale>,
            /// Whether the address counts as verified from the start (made by an administrator).
            email_verified: bool,
            /// Whether there is nothing to verify first: the account is active at once.
            active: bool,
            /// The version of the credential set with it; 0 when there is none.
            credential_version: u32,
            /// When the account expires if it is still unverified then.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            expires_at: Option<Timestamp>,
        },
        /// An account was taken over from an older system, with its credential as it was.
        Imported = "user.imported" {
            /// Which API's users it belongs to.
            dialect: Dialect,
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            /// The name to sign in with.
            username: Personal<Username>,
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            /// The address.
            email: Personal<Email>,
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            /// The number.
            phone: Personal<Phone>,
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            /// The name of the person.
            full_name: Personal<FullName>,
            /// Whether the older system had verified the address.
            email_verified: bool,
            /// Whether the older system had verified the number.
            phone_verified: bool,
            /// Whether the account may be used.
            active: bool,
            /// When the older system says it was opened.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            created_at: Option<Timestamp>,
            /// The version of the credential set with it; 0 when there is none.
            credential_version: u32,
        },
        /// A link to verify the address was asked for; the mail follower sends it.
        EmailVerificationRequested = "user.email_verification_requested" {
            /// This request; also the id of this event.
            request: Uuid,
            /// The request the link derives from: this one, or a live earlier one that is sent again.
            original: Uuid,
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            /// The address it verifies.
            email: Personal<Email>,
            /// Whose link form the mail uses.
            dialect: Dialect,
            /// When `original` was made: a link is sent again only in the first half of its life.
            issued_at: Timestamp,
            /// When the link stops working.
            expires_at: Timestamp,
        } own_id request,
        /// The address was verified.
        EmailVerified = "user.email_verified" {
            /// The original request whose link was used; none when a reset or an administrator proved it.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            original: Option<Uuid>,
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            /// The address verified.
            email: Personal<Email>,
        },
        /// A code to verify the number was asked for; the SMS follower sends it.
        PhoneVerificationRequested = "user.phone_verification_requested" {
            /// This request; also the id of this event.
            request: Uuid,
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            /// The number it verifies.
            phone: Personal<Phone>,
            /// Whose wording the message uses.
            dialect: Dialect,
            /// When the code stops working.
            expires_at: Timestamp,
        } own_id request,
        /// The number was verified.
        PhoneVerified = "user.phone_verified" {
            /// The request whose code was used.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            request: Option<Uuid>,
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            /// The number verified.
            phone: Personal<Phone>,
        },
        /// A change of address was asked for; the new one is reserved until `expires_at`.
        EmailChangeRequested = "user.email_change_requested" {
            /// This request; also the id of this event.
            request: Uuid,
            /// The request the link derives from.
            original: Uuid,
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            /// The new address.
            email: Personal<Email>,
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            /// The address so far, which gets a notice.
            previous: Personal<Email>,
            /// Whose link form the mail uses.
            dialect: Dialect,
            /// When `original` was made.
            issued_at: Timestamp,
            /// When the link stops working and the new address is free again.
            expires_at: Timestamp,
        } own_id request,
        /// The address was changed; the new one is verified.
        EmailChanged = "user.email_changed" {
            /// The original request whose link was used.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            original: Option<Uuid>,
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            /// The new address.
            email: Personal<Email>,
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            /// The address until now.
            previous: Personal<Email>,
        },
        /// An account that had no address took one, unverified; a link to verify it is asked for with it.
        EmailAdded = "user.email_added" {
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            /// The address.
            email: Personal<Email>,
        },
        /// The number was changed and is unverified again.
        PhoneChanged = "user.phone_changed" {
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            /// The new number.
            phone: Personal<Phone>,
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            /// The number until now.
            previous: Personal<Phone>,
        },
        /// The username was changed.
        UsernameChanged = "user.username_changed" {
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            /// The new name.
            username: Personal<Username>,
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            /// The name until now.
            previous: Personal<Username>,
        },
        /// Something of the profile was changed. A field named in `fields` without a value was cleared.
        ProfileUpdated = "user.profile_updated" {
            /// Which fields changed.
            fields: Vec<ProfileField>,
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            /// The name of the person.
            full_name: Personal<FullName>,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            /// Whether others may find the account by its place.
            discoverable: Option<bool>,
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            /// Where the person is.
            position: Personal<Coordinates>,
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            /// The country `position` lies in; changes together with `position`.
            country: Personal<Country>,
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            /// A place identifier of the client's own.
            geo_id: Personal<GeoId>,
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            /// The outline of the person's land.
            boundary: Personal<Boundary>,
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            /// The language to write in.
            locale: Personal<Locale>,
        },
        /// The password was changed by its owner; all sessions but one ended.
        PasswordChanged = "user.password_changed" {
            /// The version of the new credential.
            credential_version: u32,
            /// The session that goes on.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            kept_session: Option<Uuid>,
        },
        /// A link or a code to set a new password was asked for.
        PasswordResetRequested = "user.password_reset_requested" {
            /// This request; also the id of this event.
            request: Uuid,
            /// The request the link derives from (codes are always new).
            original: Uuid,
            /// By mail or by SMS.
            channel: Channel,
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            /// Where the mail goes.
            email: Personal<Email>,
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            /// Where the SMS goes.
            phone: Personal<Phone>,
            /// Whose link form or wording the message uses.
            dialect: Dialect,
            /// When `original` was made.
            issued_at: Timestamp,
            /// When it stops working.
            expires_at: Timestamp,
        } own_id request,
        /// A new password was set by link or code; all sessions ended.
        PasswordReset = "user.password_reset" {
            /// The original request that was used.
            original: Uuid,
            /// The version of the new credential.
            credential_version: u32,
        },
        /// The account was locked; all sessions ended.
        Locked = "user.locked" {
            /// Who locked it.
            reason: LockReason,
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            /// The administrator's words.
            note: Personal<Note>,
        },
        /// The lock was lifted.
        Unlocked = "user.unlocked" {
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            /// The administrator's words.
            note: Personal<Note>,
        },
        /// The account was taken out of use; all sessions ended.
        Deactivated = "user.deactivated" {
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            /// The administrator's words.
            note: Personal<Note>,
        },
        /// The account was taken into use again.
        Reactivated = "user.reactivated" {
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            /// The administrator's words.
            note: Personal<Note>,
        },
        /// An administrator took the account into use although nothing of it was verified, and nothing counts as verified
        /// by that.
        Activated = "user.activated" {
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            /// The administrator's words.
            note: Personal<Note>,
        },
        /// A role was given.
        RoleGranted = "user.role_granted" {
            /// Which.
            role: Role,
        },
        /// A role was taken; the sessions go on with the roles that are left.
        RoleRevoked = "user.role_revoked" {
            /// Which.
            role: Role,
        },
        /// An API key was made. The key derives from this event and is stored only as a hash.
        ApiKeyIssued = "user.api_key_issued" {
            /// The key's id; also the id of this event.
            key_id: Uuid,
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            /// What its owner calls it.
            name: Personal<ApiKeyName>,
            /// What it may do; never more than its owner.
            roles: Vec<Role>,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            /// When it stops working.
            expires_at: Option<Timestamp>,
            /// The API whose form it has, with a client secret beside it; none: our own form, alone.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            paired: Option<Dialect>,
            /// Whether a mail brings it to its owner.
            #[serde(default, skip_serializing_if = "std::ops::Not::not")]
            mailed: bool,
        } own_id key_id,
        /// An API key was revoked.
        ApiKeyRevoked = "user.api_key_revoked" {
            /// Which.
            key_id: Uuid,
        },
        /// A device may sign in with its secret.
        DeviceBound = "user.device_bound" {
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            /// The keyed hash of the device's id.
            device: Personal<DeviceKey>,
        },
        /// A device may no longer sign in.
        DeviceUnbound = "user.device_unbound" {
            #[serde(default, skip_serializing_if = "Personal::is_unknown")]
            /// The keyed hash of the device's id.
            device: Personal<DeviceKey>,
        },
        /// The person was erased: the keys of all personal fields are destroyed with this event.
        Erased = "user.erased" {},
        /// The account was never verified in time; what was personal is erased as with `user.erased`.
        Expired = "user.expired" {},
    }
}
