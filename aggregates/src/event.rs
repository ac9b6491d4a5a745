//! How an event is declared: its type, its fields and how personal each of them is.
//!
//! An event type is a closed enum made by `events!`. Every field's type says its [`Level`]; a type
//! that declares none does not compile inside an event, so nothing personal is stored by accident.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a field of an event may be kept and shown (SECURITY-REQUIREMENTS, section 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Level {
    /// A fact without personal data: stored and published as it is.
    Fact,
    /// About a person: sealed under that person's key, gone when the person is erased.
    Person,
    /// A single blocked address: sealed in a scope of its own, gone when it is unblocked.
    Address,
}

/// A type that may stand in an event, because it says how personal it is.
///
/// What is about a person is never declared itself, only inside [`Personal`] or [`BlockedAddress`]:
///
/// ```compile_fail
/// fn may_stand_in_an_event<T: aggregates::event::Declared>() {}
/// may_stand_in_an_event::<aggregates::values::Email>();
/// ```
///
/// ```
/// # use aggregates::{event::{Declared, Level, Personal}, values::Email};
/// assert_eq!(<Personal<Email> as Declared>::LEVEL, Level::Person);
/// ```
pub trait Declared {
    /// The level of every value of this type.
    const LEVEL: Level;
}

/// What is known of one variant of an event enum without having a value of it.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// The event type, such as `user.registered`; also the routing key. Never changed.
    pub name: &'static str,
    /// The fields in the order they are declared, each with its level.
    pub fields: &'static [(&'static str, Level)],
    /// What it means that this has happened.
    pub about: &'static str,
    /// What each field means, in the order of `fields`.
    pub meanings: &'static [&'static str],
}

/// An event of one of our aggregates, as the store and the folds see it.
pub trait Recordable: cqrs_es::DomainEvent {
    /// Every kind this enum can hold.
    const KINDS: &'static [Kind];

    /// The kind of this very event.
    fn kind(&self) -> &'static Kind;

    /// The id this event must be stored under, when it is itself referred to (a link, an API key).
    fn own_id(&self) -> Option<uuid::Uuid>;
}

/// A value about a person. It is unknown when it was never given or when the person was erased.
///
/// `Debug` shows only whether it is known, so that an event can be logged.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Personal<T>(Option<T>);

/// The address of a domain's blocked-address rule, kept in its own scope. See [`Personal`].
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BlockedAddress<T>(Option<T>);

macro_rules! sealed_value {
    ($name:ident, $level:expr) => {
        impl<T> $name<T> {
            /// A value that is known now.
            pub const fn new(value: T) -> Self {
                Self(Some(value))
            }

            /// No value.
            #[must_use]
            pub const fn unknown() -> Self {
                Self(None)
            }

            /// The value, unless it was never given or has been erased.
            pub const fn known(&self) -> Option<&T> {
                self.0.as_ref()
            }

            /// Whether there is no value. Such a field is not written.
            pub const fn is_unknown(&self) -> bool {
                self.0.is_none()
            }

            /// The value itself.
            pub fn into_known(self) -> Option<T> {
                self.0
            }
        }

        impl<T> Default for $name<T> {
            fn default() -> Self {
                Self(None)
            }
        }

        impl<T> From<Option<T>> for $name<T> {
            fn from(value: Option<T>) -> Self {
                Self(value)
            }
        }

        impl<T> From<T> for $name<T> {
            fn from(value: T) -> Self {
                Self(Some(value))
            }
        }

        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(if self.0.is_some() { "(known)" } else { "(unknown)" })
            }
        }

        impl<T> Declared for $name<T> {
            const LEVEL: Level = $level;
        }
    };
}

sealed_value!(Personal, Level::Person);
sealed_value!(BlockedAddress, Level::Address);

/// Declares types to be facts: harmless in a log, in an event and on the bus.
macro_rules! facts {
    ($($type:ty),+ $(,)?) => {
        $(impl $crate::event::Declared for $type {
            const LEVEL: $crate::event::Level = $crate::event::Level::Fact;
        })+
    };
}
pub(crate) use facts;

facts!(bool, u32, uuid::Uuid);

impl<T: Declared> Declared for Option<T> {
    const LEVEL: Level = T::LEVEL;
}

impl<T: Declared> Declared for Vec<T> {
    const LEVEL: Level = T::LEVEL;
}

/// The comment among some attributes, as one text.
macro_rules! words {
    ($($out:literal)* ;) => { concat!($($out),*) };
    ($($out:literal)* ; #[doc = $text:literal] $($rest:tt)*) => { $crate::event::words!($($out)* $text ; $($rest)*) };
    ($($out:literal)* ; #[$($other:tt)*] $($rest:tt)*) => { $crate::event::words!($($out)* ; $($rest)*) };
}
pub(crate) use words;

/// Declares an event enum: variants with their type names and fields whose types are [`Declared`].
///
/// `own_id field` after the fields names the field that holds the id the event is stored under.
macro_rules! events {
    (
        $(#[$meta:meta])*
        pub enum $name:ident {
            $(
                $(#[$($vmeta:tt)*])*
                $variant:ident = $type:literal {
                    $( $(#[$($fmeta:tt)*])* $field:ident : $fty:ty, )*
                } $( own_id $own:ident )? ,
            )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(tag = "type")]
        pub enum $name {
            $(
                $(#[$($vmeta)*])*
                #[serde(rename = $type)]
                $variant { $( $(#[$($fmeta)*])* $field: $fty, )* },
            )*
        }

        impl $crate::event::Recordable for $name {
            const KINDS: &'static [$crate::event::Kind] = &[
                $($crate::event::Kind {
                    name: $type,
                    fields: &[$(
                        (stringify!($field), <$fty as $crate::event::Declared>::LEVEL),
                    )*],
                    about: $crate::event::words!(; $(#[$($vmeta)*])*),
                    meanings: &[$( $crate::event::words!(; $(#[$($fmeta)*])*), )*],
                },)*
            ];

            fn kind(&self) -> &'static $crate::event::Kind {
                let name = match self {
                    $(Self::$variant { .. } => $type,)*
                };
                // The list above is made from the same variants, so the name is always found.
                Self::KINDS.iter().find(|kind| kind.name == name).unwrap_or(&Self::KINDS[0])
            }

            fn own_id(&self) -> Option<::uuid::Uuid> {
                match self {
                    $( $(Self::$variant { $own, .. } => Some((*$own).into()),)? )*
                    #[allow(unreachable_patterns)]
                    _ => None,
                }
            }
        }

        impl ::cqrs_es::DomainEvent for $name {
            fn event_type(&self) -> String {
                use $crate::event::Recordable as _;
                self.kind().name.to_owned()
            }

            fn event_version(&self) -> String {
                "1.0".to_owned()
            }
        }
    };
}
pub(crate) use events;

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::audit::AuditEvent;
    use crate::domain::DomainEvent;
    use crate::session::SessionEvent;
    use crate::user::UserEvent;
    use crate::values::{Email, Role};

    fn every_kind() -> impl Iterator<Item = &'static Kind> {
        [
            UserEvent::KINDS,
            SessionEvent::KINDS,
            DomainEvent::KINDS,
            AuditEvent::KINDS,
        ]
        .into_iter()
        .flatten()
    }

    /// The list of contracts/canonical.md, section 6. These are routing keys: a name that was published
    /// never changes and never goes.
    #[test]
    fn the_kinds_of_events_are_those_of_the_contract() {
        let user = "registered imported email_verification_requested email_verified phone_verification_requested \
            phone_verified email_change_requested email_changed email_added phone_changed username_changed profile_updated \
            password_changed password_reset_requested password_reset locked unlocked deactivated reactivated \
            activated role_granted role_revoked api_key_issued api_key_revoked device_bound device_unbound erased expired";
        let session = "started refreshed ended reuse_detected failed";
        let domain = "observed allowed blocked unblocked address_blocked address_unblocked authority_token_issued \
            authority_token_rotated authority_token_revoked proof_requested proved";
        let mut contract: Vec<String> = [
            ("user", user),
            ("session", session),
            ("domain", domain),
            ("audit", "history_read users_listed"),
        ]
        .iter()
        .flat_map(|(stream, names)| names.split_whitespace().map(move |name| format!("{stream}.{name}")))
        .collect();
        let mut ours: Vec<_> = every_kind().map(|kind| kind.name.to_owned()).collect();
        contract.sort();
        ours.sort();
        assert_eq!(ours, contract);
    }

    /// The page of events, and every bundle, tell what each of them means.
    #[test]
    fn every_kind_and_every_field_says_what_it_means() {
        for kind in every_kind() {
            assert!(kind.about.trim().ends_with('.'), "{}: {:?}", kind.name, kind.about);
            assert_eq!(kind.meanings.len(), kind.fields.len(), "{}", kind.name);
            for ((field, _), meaning) in kind.fields.iter().zip(kind.meanings) {
                assert!(!meaning.trim().is_empty(), "{} of {}", field, kind.name);
            }
        }
    }

    /// Sealing follows the levels, so a field that slips to `Fact` would be published in clear. Whoever
    /// adds a fact adds it here, having thought about it.
    #[test]
    fn every_fact_is_one_that_harms_nobody() {
        let harmless = [
            "active",
            "address",
            "all",
            "at",
            "channel",
            "created_at",
            "credential_version",
            "dialect",
            "discoverable",
            "email_verified",
            "expires_at",
            "fields",
            "generation",
            "hour",
            "idle_expires_at",
            "include_subdomains",
            "issued_at",
            "kept_session",
            "key_id",
            "mailed",
            "method",
            "of",
            "original",
            "paired",
            "phone_verified",
            "previous",
            "reason",
            "request",
            "retry",
            "role",
            "roles",
            "token_id",
            "user",
            "value",
        ];
        for kind in every_kind() {
            for (field, level) in kind.fields {
                assert!(
                    *level != Level::Fact || harmless.contains(field),
                    "{} {field}",
                    kind.name
                );
            }
        }
    }

    #[test]
    fn whatever_names_or_places_a_person_is_sealed() {
        let personal = [
            "username",
            "email",
            "phone",
            "device",
            "full_name",
            "position",
            "country",
            "geo_id",
            "boundary",
            "locale",
            "note",
            "name",
        ];
        for kind in every_kind() {
            for (field, level) in kind.fields.iter().filter(|(field, _)| personal.contains(field)) {
                assert_eq!(*level, Level::Person, "{} {field}", kind.name);
            }
        }
        let previous = UserEvent::KINDS
            .iter()
            .flat_map(|kind| kind.fields)
            .filter(|(field, _)| *field == "previous");
        assert!(previous.into_iter().all(|(_, level)| *level == Level::Person));
        let display = DomainEvent::KINDS
            .iter()
            .flat_map(|kind| kind.fields)
            .find(|(field, _)| *field == "display");
        assert_eq!(display.unwrap().1, Level::Address);
    }

    #[test]
    fn an_event_is_stored_with_its_type_and_its_known_fields() {
        let email = Email::parse("ada@farm.example").unwrap();
        let event = UserEvent::EmailVerified {
            original: None,
            email: email.into(),
        };
        let json = serde_json::to_string(&event).unwrap();
        assert_eq!(json, r#"{"type":"user.email_verified","email":"ada@farm.example"}"#);
        assert_eq!(serde_json::from_str::<UserEvent>(&json).unwrap(), event);
        let erased: UserEvent = serde_json::from_str(r#"{"type":"user.email_verified"}"#).unwrap();
        assert_eq!(
            erased,
            UserEvent::EmailVerified {
                original: None,
                email: Personal::unknown()
            }
        );
    }

    #[test]
    fn an_event_without_fields_is_stored_as_its_type() {
        assert_eq!(
            serde_json::to_string(&UserEvent::Erased {}).unwrap(),
            r#"{"type":"user.erased"}"#
        );
    }

    #[test]
    fn an_event_that_is_referred_to_has_the_id_it_is_referred_to_by() {
        let id = uuid::Uuid::from_u128(7);
        assert_eq!(DomainEvent::AuthorityTokenIssued { token_id: id }.own_id(), Some(id));
        assert_eq!(DomainEvent::AuthorityTokenRevoked { token_id: id }.own_id(), None);
        assert_eq!(
            UserEvent::RoleGranted { role: Role::Admin }.kind().name,
            "user.role_granted"
        );
    }

    #[test]
    fn debug_of_an_event_prints_nothing_personal() {
        let email = Email::parse("ada@farm.example").unwrap();
        let event = UserEvent::EmailVerified {
            original: None,
            email: email.into(),
        };
        assert_eq!(format!("{event:?}"), "EmailVerified { original: None, email: (known) }");
    }
}
