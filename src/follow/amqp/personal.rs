//! What a service may have that must have it: address, number and name of a person, as an event sets them.
//!
//! Only on the exchange that an operator switches on. Whoever hears this must also hear `user.erased` and
//! `user.expired` there, and forget. Of somebody whose keys are destroyed nothing is told but that.

use aggregates::user::UserEvent;
use aggregates::values::ProfileField;
use serde::Serialize;

use crate::store::{AnyEvent, OpenedEvent};

/// A member that is not there is one the event does not touch; `null` is one that was taken away.
#[derive(Debug, Default, Serialize)]
#[expect(
    clippy::option_option,
    reason = "not there, null and a text are three different things to tell"
)]
pub(super) struct Person {
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    full_name: Option<Option<String>>,
}

/// Which events tell of a person. Cheap, and known without any key.
pub(super) fn concerns(kind: &str) -> bool {
    matches!(
        kind,
        "user.registered"
            | "user.imported"
            | "user.email_added"
            | "user.email_changed"
            | "user.phone_changed"
            | "user.profile_updated"
            | "user.erased"
            | "user.expired"
    )
}

/// What an event tells of a person; none if there is nothing.
pub(super) fn of(opened: &OpenedEvent) -> Option<Person> {
    let AnyEvent::User(event) = &opened.event else {
        return None;
    };
    if matches!(event, UserEvent::Erased {} | UserEvent::Expired {}) {
        return Some(Person::default());
    }
    if opened.erased {
        return None;
    }
    let person = match event {
        UserEvent::Registered {
            email,
            phone,
            full_name,
            ..
        }
        | UserEvent::Imported {
            email,
            phone,
            full_name,
            ..
        } => Person {
            email: Some(email.known().map(|email| email.as_str().to_owned())),
            phone: Some(phone.known().map(|phone| phone.registered().to_owned())),
            full_name: Some(full_name.known().map(|name| name.as_str().to_owned())),
        },
        UserEvent::EmailChanged { email, .. } | UserEvent::EmailAdded { email } => Person {
            email: Some(email.known().map(|email| email.as_str().to_owned())),
            ..Person::default()
        },
        UserEvent::PhoneChanged { phone, .. } => Person {
            phone: Some(phone.known().map(|phone| phone.registered().to_owned())),
            ..Person::default()
        },
        UserEvent::ProfileUpdated { fields, full_name, .. } if fields.contains(&ProfileField::FullName) => Person {
            full_name: Some(full_name.known().map(|name| name.as_str().to_owned())),
            ..Person::default()
        },
        _ => return None,
    };
    Some(person)
}
