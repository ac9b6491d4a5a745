//! What there is to hear: each kind with its version and the facts it carries.
//!
//! A field's type must be [`Fact`]: a closed list of flags, words, ids and times. Texts that people write and values
//! about them are not on it, so they cannot be published by accident:
//!
//! ```compile_fail
//! fn may_be_published<T: user_registry::public::Fact>() {}
//! may_be_published::<aggregates::values::Email>();
//! ```

use aggregates::values::{
    AccountStatus, Channel, Dialect, DomainName, EndReason, LockReason, ProfileField, Role, SessionMethod, Timestamp,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::shape::{Components, Shape, described};

/// A kind of event, as others know it.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Its type, such as `user.registered`.
    pub name: &'static str,
    /// The version of its facts.
    pub version: u32,
    /// What it means.
    pub about: &'static str,
    /// The schema of its facts.
    pub(super) facts: fn() -> Value,
}

impl Kind {
    /// Where the schema of its facts is served.
    #[must_use]
    pub fn schema_path(&self) -> String {
        format!("/schemas/{}/{}", self.name, self.version)
    }
}

/// The kind of this name.
#[must_use]
pub fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

/// A value that harms nobody.
pub trait Fact {
    /// Whether it is always there.
    const ALWAYS: bool = true;

    /// Whether it is left out.
    fn is_absent(&self) -> bool {
        false
    }

    /// Its schema.
    fn schema() -> Value;
}

macro_rules! harmless {
    ($($kind:ty),+ $(,)?) => {
        $(impl Fact for $kind {
            fn schema() -> Value {
                <$kind as Shape>::schema(&mut Components::new())
            }
        })+
    };
}

harmless!(
    bool,
    Uuid,
    AccountStatus,
    Channel,
    Dialect,
    DomainName,
    EndReason,
    LockReason,
    ProfileField,
    Role,
    SessionMethod,
    Timestamp,
);

impl<T: Fact> Fact for Option<T> {
    const ALWAYS: bool = false;

    fn is_absent(&self) -> bool {
        self.is_none()
    }

    fn schema() -> Value {
        T::schema()
    }
}

impl<T: Fact> Fact for Vec<T> {
    fn schema() -> Value {
        json!({ "type": "array", "items": T::schema() })
    }
}

/// The facts of one kind while their schema is put together.
struct Members {
    members: serde_json::Map<String, Value>,
    required: Vec<&'static str>,
}

impl Members {
    fn member<T: Fact>(&mut self, name: &'static str, text: &str) {
        self.members.insert(name.to_owned(), described(T::schema(), text));
        if T::ALWAYS {
            self.required.push(name);
        }
    }
}

/// Declares the kinds of one sort of stream: the facts that all of them carry, and those of each.
macro_rules! published {
    (
        $common:tt
        $(
            $(#[doc = $about:literal])+
            $name:ident = $type:literal $version:literal $own:tt
        )+
    ) => {
        $( one! { [$($about)+] $name = $type $version $common $own } )+
    };
}

macro_rules! one {
    (
        [$($about:literal)+] $name:ident = $type:literal $version:literal
        { $( $(#[doc = $ctext:literal])+ $cfield:ident : $ckind:ty, )* }
        { $( $(#[doc = $text:literal])+ $field:ident : $kind:ty, )* }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
        pub struct $name {
            $( $(#[doc = $ctext])+ #[serde(skip_serializing_if = "Fact::is_absent")] pub $cfield: $ckind, )*
            $( $(#[doc = $text])+ #[serde(skip_serializing_if = "Fact::is_absent")] pub $field: $kind, )*
        }

        impl $name {
            /// The kind.
            pub const KIND: Kind = Kind {
                name: $type,
                version: $version,
                about: concat!($($about),+).trim_ascii(),
                facts: Self::facts,
            };

            fn facts() -> Value {
                #[allow(unused_mut, reason = "a kind may carry nothing")]
                let mut object = Members { members: serde_json::Map::new(), required: Vec::new() };
                $( object.member::<$ckind>(stringify!($cfield), concat!($($ctext),+)); )*
                $( object.member::<$kind>(stringify!($field), concat!($($text),+)); )*
                json!({ "type": "object", "properties": object.members, "required": object.required })
            }
        }
    };
}

/// Gathers all kinds, in the order of the contract.
macro_rules! all {
    ($($name:ident),+ $(,)?) => {
        /// The facts of an event of any kind.
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
        #[serde(untagged)]
        pub enum Data {
            $( #[doc = concat!("See [`", stringify!($name), "`].")] $name($name), )+
        }

        impl Data {
            /// What happened.
            #[must_use]
            pub const fn kind(&self) -> &'static Kind {
                match self {
                    $( Self::$name(_) => const { &$name::KIND }, )+
                }
            }
        }

        /// Every kind there is.
        pub const KINDS: &[Kind] = &[$($name::KIND),+];
    };
}

published! {
    {
        /// Through which API.
        dialect: Dialect,
        /// Where the account stands after it; left out where the log does not say.
        status: Option<AccountStatus>,
    }

    /// An account was opened.
    UserRegistered = "user.registered" 1 {
        /// Whether the address counts as verified from the start.
        email_verified: bool,
    }
    /// An account was taken over from an older system.
    UserImported = "user.imported" 1 {
        /// Whether the older system had verified the address.
        email_verified: bool,
        /// Whether the older system had verified the number.
        phone_verified: bool,
    }
    /// A link to verify the address was asked for.
    UserEmailVerificationRequested = "user.email_verification_requested" 1 {}
    /// The address was verified.
    UserEmailVerified = "user.email_verified" 1 {}
    /// A code to verify the number was asked for.
    UserPhoneVerificationRequested = "user.phone_verification_requested" 1 {}
    /// The number was verified.
    UserPhoneVerified = "user.phone_verified" 1 {}
    /// A change of address was asked for.
    UserEmailChangeRequested = "user.email_change_requested" 1 {}
    /// The address was changed; the new one is verified.
    UserEmailChanged = "user.email_changed" 1 {}
    /// An account that had no address took one, unverified.
    UserEmailAdded = "user.email_added" 1 {}
    /// The number was changed and is unverified again.
    UserPhoneChanged = "user.phone_changed" 1 {}
    /// The username was changed.
    UserUsernameChanged = "user.username_changed" 1 {}
    /// Something of the profile was changed.
    UserProfileUpdated = "user.profile_updated" 1 {
        /// The names of what changed.
        fields: Vec<ProfileField>,
    }
    /// The password was changed by its owner; all sessions but one ended.
    UserPasswordChanged = "user.password_changed" 1 {}
    /// A link or a code to set a new password was asked for.
    UserPasswordResetRequested = "user.password_reset_requested" 1 {
        /// By mail or by SMS.
        channel: Channel,
    }
    /// A new password was set by link or code; all sessions ended.
    UserPasswordReset = "user.password_reset" 1 {}
    /// The account was locked; all sessions ended.
    UserLocked = "user.locked" 1 {
        /// Who locked it: an administrator, or too many failed attempts.
        reason: LockReason,
    }
    /// The lock was lifted.
    UserUnlocked = "user.unlocked" 1 {}
    /// The account was taken out of use; all sessions ended.
    UserDeactivated = "user.deactivated" 1 {}
    /// The account was taken into use again.
    UserReactivated = "user.reactivated" 1 {}
    /// An administrator took the account into use although nothing of it was verified.
    UserActivated = "user.activated" 1 {}
    /// A role was given.
    UserRoleGranted = "user.role_granted" 1 {
        /// Which.
        role: Role,
    }
    /// A role was taken.
    UserRoleRevoked = "user.role_revoked" 1 {
        /// Which.
        role: Role,
    }
    /// An API key was made.
    UserApiKeyIssued = "user.api_key_issued" 1 {
        /// The key's id.
        key_id: Uuid,
        /// What it may do; never more than its owner.
        roles: Vec<Role>,
        /// When it stops working; left out if never.
        expires_at: Option<Timestamp>,
    }
    /// An API key was revoked.
    UserApiKeyRevoked = "user.api_key_revoked" 1 {
        /// The key's id.
        key_id: Uuid,
    }
    /// A device may sign in with its secret.
    UserDeviceBound = "user.device_bound" 1 {}
    /// A device may no longer sign in.
    UserDeviceUnbound = "user.device_unbound" 1 {}
    /// The person was erased: nothing personal is left.
    UserErased = "user.erased" 1 {}
    /// The account was never verified in time; nothing personal is left.
    UserExpired = "user.expired" 1 {}
}

published! {
    {
        /// Through which API.
        dialect: Dialect,
    }

    /// Somebody signed in. The subject of this and of the other events of a session is the user.
    SessionStarted = "session.started" 1 {
        /// The session.
        session_id: Uuid,
        /// How the person proved who they are.
        method: SessionMethod,
    }
    /// The session was prolonged.
    SessionRefreshed = "session.refreshed" 1 {
        /// The session.
        session_id: Uuid,
    }
    /// The session ended, or with it every session of its user.
    SessionEnded = "session.ended" 1 {
        /// The session.
        session_id: Uuid,
        /// Why.
        reason: EndReason,
        /// Whether all sessions of the user ended with it.
        all: bool,
    }
    /// A spent refresh token was used: somebody has a copy. The session ends with it.
    SessionReuseDetected = "session.reuse_detected" 1 {
        /// The session.
        session_id: Uuid,
    }
    /// A sign-in of a known account failed.
    SessionFailed = "session.failed" 1 {}
}

published! {
    {
        /// Through which API.
        dialect: Dialect,
        /// The domain's name, as the subject has it.
        domain: DomainName,
    }

    /// An account with an address of this domain was opened for the first time.
    DomainObserved = "domain.observed" 1 {}
    /// Addresses of this domain may register.
    DomainAllowed = "domain.allowed" 1 {
        /// Whether those of its subdomains may too.
        include_subdomains: bool,
    }
    /// Addresses of this domain may not register.
    DomainBlocked = "domain.blocked" 1 {
        /// Whether those of its subdomains may not either.
        include_subdomains: bool,
    }
    /// The rule was lifted; the domain is merely known.
    DomainUnblocked = "domain.unblocked" 1 {}
    /// One address of this domain may not register. Which, is not told.
    DomainAddressBlocked = "domain.address_blocked" 1 {}
    /// One address of this domain may register again. Which, is not told.
    DomainAddressUnblocked = "domain.address_unblocked" 1 {}
    /// The domain got an authority token.
    DomainAuthorityTokenIssued = "domain.authority_token_issued" 1 {
        /// The token's id.
        token_id: Uuid,
    }
    /// The authority token was replaced.
    DomainAuthorityTokenRotated = "domain.authority_token_rotated" 1 {
        /// The new token's id.
        token_id: Uuid,
    }
    /// The authority token was withdrawn.
    DomainAuthorityTokenRevoked = "domain.authority_token_revoked" 1 {
        /// The token's id.
        token_id: Uuid,
    }
    /// Somebody wants to prove control of the domain.
    DomainProofRequested = "domain.proof_requested" 1 {}
    /// Control of the domain was proved.
    DomainProved = "domain.proved" 1 {}
}

published! {
    {}

    /// The history of the subject was read by somebody else. Who, is not told.
    AuditHistoryRead = "audit.history_read" 1 {}
    /// The accounts were listed or searched by the subject, told once an hour. What was searched for is not told.
    AuditUsersListed = "audit.users_listed" 1 {}
}

all!(
    UserRegistered,
    UserImported,
    UserEmailVerificationRequested,
    UserEmailVerified,
    UserPhoneVerificationRequested,
    UserPhoneVerified,
    UserEmailChangeRequested,
    UserEmailChanged,
    UserEmailAdded,
    UserPhoneChanged,
    UserUsernameChanged,
    UserProfileUpdated,
    UserPasswordChanged,
    UserPasswordResetRequested,
    UserPasswordReset,
    UserLocked,
    UserUnlocked,
    UserDeactivated,
    UserReactivated,
    UserActivated,
    UserRoleGranted,
    UserRoleRevoked,
    UserApiKeyIssued,
    UserApiKeyRevoked,
    UserDeviceBound,
    UserDeviceUnbound,
    UserErased,
    UserExpired,
    SessionStarted,
    SessionRefreshed,
    SessionEnded,
    SessionReuseDetected,
    SessionFailed,
    DomainObserved,
    DomainAllowed,
    DomainBlocked,
    DomainUnblocked,
    DomainAddressBlocked,
    DomainAddressUnblocked,
    DomainAuthorityTokenIssued,
    DomainAuthorityTokenRotated,
    DomainAuthorityTokenRevoked,
    DomainProofRequested,
    DomainProved,
    AuditHistoryRead,
    AuditUsersListed,
);
