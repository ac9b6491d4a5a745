//! The other document: what a service may hear that must have it, on an exchange that an operator switches on.
//!
//! Address, number and name of a person, as an event sets them, in place of the facts. Whoever hears this must also hear
//! `user.erased` and `user.expired` there, and forget.

use serde::Serialize;
use serde_json::Value;

use super::kinds::{KINDS, Kind};
use crate::shape::{Absent, Body as _, Components, shape};

/// What an event tells of a person. A member that is not there is one the event does not touch; `null` is one that was
/// taken away.
#[derive(Debug, Default, Serialize)]
#[expect(
    clippy::option_option,
    reason = "not there, null and a text are three different things to tell"
)]
pub(crate) struct Person {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full_name: Option<Option<String>>,
}

shape! {
    /// What the event sets about the person: a member that is not there is not touched, `null` was taken away. Of an
    /// erasure there is nothing but that it happened.
    Person as "Person" {
        /// The e-mail address.
        email: Absent<Option<String>>,
        /// The phone number, as it was registered.
        phone: Absent<Option<String>>,
        /// The name.
        full_name: Absent<Option<String>>,
    }
}

/// Whether events of this kind may tell of a person. Cheap, and known without any key.
pub(crate) fn concerns(kind: &str) -> bool {
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

/// The kinds of which that is so.
pub(super) fn kinds() -> impl Iterator<Item = &'static Kind> + Clone {
    KINDS.iter().filter(|kind| concerns(kind.name))
}

/// The schema of what is told.
pub(super) fn schema() -> Value {
    Person::object(&mut Components::new())
}
