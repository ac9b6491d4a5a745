//! From what is stored to what is told: one arm for each event, so that a new one must say what others may hear of it
//! before it compiles.

use aggregates::audit::AuditEvent;
use aggregates::domain::DomainEvent;
use aggregates::session::SessionEvent;
use aggregates::user::UserEvent;
use aggregates::values::{AccountStatus, Dialect, DomainName};
use uuid::Uuid;

#[allow(clippy::wildcard_imports, reason = "one type for each kind of event")]
use super::kinds::*;
use crate::store::AnyEvent;

/// What is known of an event beside itself.
pub(super) struct About<'a> {
    /// Through which API the request came.
    pub dialect: Dialect,
    /// Where the account stands after it, as the log says.
    pub status: Option<AccountStatus>,
    /// The stream's id.
    pub stream: &'a str,
}

/// The public facts of an event. None: its stream has an id that none of its kind can have.
pub(super) fn of(event: &AnyEvent, about: &About<'_>) -> Option<Data> {
    match event {
        AnyEvent::User(event) => Some(user(event, about)),
        AnyEvent::Session(event) => session(event, about),
        AnyEvent::Domain(event) => domain(event, about),
        AnyEvent::Audit(AuditEvent::HistoryRead { of: _, hour: _ }) => {
            Some(Data::AuditHistoryRead(AuditHistoryRead {}))
        }
        AnyEvent::Audit(AuditEvent::UsersListed { hour: _ }) => Some(Data::AuditUsersListed(AuditUsersListed {})),
    }
}

/// Where an account stands after an event that leaves no doubt; the others stand where they stood.
const fn settled(event: &UserEvent) -> Option<AccountStatus> {
    match event {
        UserEvent::Registered { active: true, .. } | UserEvent::Imported { active: true, .. } => {
            Some(AccountStatus::Active)
        }
        UserEvent::Registered { active: false, .. } => Some(AccountStatus::Pending),
        UserEvent::Locked { .. } => Some(AccountStatus::Locked),
        UserEvent::Deactivated { .. } => Some(AccountStatus::Deactivated),
        UserEvent::Erased {} | UserEvent::Expired {} => Some(AccountStatus::Erased),
        _ => None,
    }
}

#[expect(clippy::too_many_lines, reason = "one arm for each kind")]
fn user(event: &UserEvent, about: &About<'_>) -> Data {
    let dialect = about.dialect;
    let status = about.status.or_else(|| settled(event));
    /// The kinds that carry no more than all.
    macro_rules! plain {
        ($name:ident) => {
            Data::$name($name { dialect, status })
        };
    }
    match event {
        UserEvent::Registered {
            dialect,
            email_verified,
            ..
        } => Data::UserRegistered(UserRegistered {
            dialect: *dialect,
            status,
            email_verified: *email_verified,
        }),
        UserEvent::Imported {
            dialect,
            email_verified,
            phone_verified,
            ..
        } => Data::UserImported(UserImported {
            dialect: *dialect,
            status,
            email_verified: *email_verified,
            phone_verified: *phone_verified,
        }),
        UserEvent::EmailVerificationRequested { dialect, .. } => {
            Data::UserEmailVerificationRequested(UserEmailVerificationRequested {
                dialect: *dialect,
                status,
            })
        }
        UserEvent::EmailVerified { .. } => plain!(UserEmailVerified),
        UserEvent::PhoneVerificationRequested { dialect, .. } => {
            Data::UserPhoneVerificationRequested(UserPhoneVerificationRequested {
                dialect: *dialect,
                status,
            })
        }
        UserEvent::PhoneVerified { .. } => plain!(UserPhoneVerified),
        UserEvent::EmailChangeRequested { dialect, .. } => Data::UserEmailChangeRequested(UserEmailChangeRequested {
            dialect: *dialect,
            status,
        }),
        UserEvent::EmailChanged { .. } => plain!(UserEmailChanged),
        UserEvent::EmailAdded { .. } => plain!(UserEmailAdded),
        UserEvent::PhoneChanged { .. } => plain!(UserPhoneChanged),
        UserEvent::UsernameChanged { .. } => plain!(UserUsernameChanged),
        UserEvent::ProfileUpdated { fields, .. } => Data::UserProfileUpdated(UserProfileUpdated {
            dialect,
            status,
            fields: fields.clone(),
        }),
        UserEvent::PasswordChanged { .. } => plain!(UserPasswordChanged),
        UserEvent::PasswordResetRequested { channel, dialect, .. } => {
            Data::UserPasswordResetRequested(UserPasswordResetRequested {
                dialect: *dialect,
                status,
                channel: *channel,
            })
        }
        UserEvent::PasswordReset { .. } => plain!(UserPasswordReset),
        UserEvent::Locked { reason, note: _ } => Data::UserLocked(UserLocked {
            dialect,
            status,
            reason: *reason,
        }),
        UserEvent::Unlocked { note: _ } => plain!(UserUnlocked),
        UserEvent::Deactivated { note: _ } => plain!(UserDeactivated),
        UserEvent::Reactivated { note: _ } => plain!(UserReactivated),
        UserEvent::Activated { note: _ } => plain!(UserActivated),
        UserEvent::RoleGranted { role } => Data::UserRoleGranted(UserRoleGranted {
            dialect,
            status,
            role: *role,
        }),
        UserEvent::RoleRevoked { role } => Data::UserRoleRevoked(UserRoleRevoked {
            dialect,
            status,
            role: *role,
        }),
        UserEvent::ApiKeyIssued {
            key_id,
            name: _,
            roles,
            expires_at,
            paired: _,
            mailed: _,
        } => Data::UserApiKeyIssued(UserApiKeyIssued {
            dialect,
            status,
            key_id: *key_id,
            roles: roles.clone(),
            expires_at: *expires_at,
        }),
        UserEvent::ApiKeyRevoked { key_id } => Data::UserApiKeyRevoked(UserApiKeyRevoked {
            dialect,
            status,
            key_id: *key_id,
        }),
        UserEvent::DeviceBound { device: _ } => plain!(UserDeviceBound),
        UserEvent::DeviceUnbound { device: _ } => plain!(UserDeviceUnbound),
        UserEvent::Erased {} => plain!(UserErased),
        UserEvent::Expired {} => plain!(UserExpired),
    }
}

fn session(event: &SessionEvent, about: &About<'_>) -> Option<Data> {
    let dialect = about.dialect;
    let session_id = Uuid::parse_str(about.stream).ok()?;
    Some(match event {
        SessionEvent::Started {
            user: _,
            dialect,
            method,
            ..
        } => Data::SessionStarted(SessionStarted {
            dialect: *dialect,
            session_id,
            method: *method,
        }),
        SessionEvent::Refreshed { .. } => Data::SessionRefreshed(SessionRefreshed { dialect, session_id }),
        SessionEvent::Ended { reason, all } => Data::SessionEnded(SessionEnded {
            dialect,
            session_id,
            reason: *reason,
            all: *all,
        }),
        SessionEvent::ReuseDetected { generation: _ } => {
            Data::SessionReuseDetected(SessionReuseDetected { dialect, session_id })
        }
        SessionEvent::Failed { user: _, dialect } => Data::SessionFailed(SessionFailed { dialect: *dialect }),
    })
}

fn domain(event: &DomainEvent, about: &About<'_>) -> Option<Data> {
    let dialect = about.dialect;
    let domain = DomainName::parse(about.stream).ok()?;
    /// The kinds that carry no more than all.
    macro_rules! plain {
        ($name:ident) => {
            Data::$name($name { dialect, domain })
        };
    }
    Some(match event {
        DomainEvent::Observed {} => plain!(DomainObserved),
        DomainEvent::Allowed {
            include_subdomains,
            reason: _,
        } => Data::DomainAllowed(DomainAllowed {
            dialect,
            domain,
            include_subdomains: *include_subdomains,
        }),
        DomainEvent::Blocked {
            include_subdomains,
            reason: _,
        } => Data::DomainBlocked(DomainBlocked {
            dialect,
            domain,
            include_subdomains: *include_subdomains,
        }),
        DomainEvent::Unblocked { reason: _ } => plain!(DomainUnblocked),
        DomainEvent::AddressBlocked { .. } => plain!(DomainAddressBlocked),
        DomainEvent::AddressUnblocked { .. } => plain!(DomainAddressUnblocked),
        DomainEvent::AuthorityTokenIssued { token_id } => {
            Data::DomainAuthorityTokenIssued(DomainAuthorityTokenIssued {
                dialect,
                domain,
                token_id: *token_id,
            })
        }
        DomainEvent::AuthorityTokenRotated { token_id, previous: _ } => {
            Data::DomainAuthorityTokenRotated(DomainAuthorityTokenRotated {
                dialect,
                domain,
                token_id: *token_id,
            })
        }
        DomainEvent::AuthorityTokenRevoked { token_id } => {
            Data::DomainAuthorityTokenRevoked(DomainAuthorityTokenRevoked {
                dialect,
                domain,
                token_id: *token_id,
            })
        }
        DomainEvent::ProofRequested { value: _ } => plain!(DomainProofRequested),
        DomainEvent::Proved { value: _ } => plain!(DomainProved),
    })
}
