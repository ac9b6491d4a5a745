//! What a service may have that must have it: address, number and name of a person, as an event sets them.
//!
//! Only on the exchange that an operator switches on. Whoever hears this must also hear `user.erased` and
//! `user.expired` there, and forget. Of somebody whose keys are destroyed nothing is told but that.

use aggregates::user::UserEvent;
use aggregates::values::ProfileField;

use crate::public::Person;
use crate::store::{AnyEvent, OpenedEvent};

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
