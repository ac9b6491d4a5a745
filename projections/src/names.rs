//! Which names an account holds. Derived from its row, so that a rebuild can check the names table.

use std::collections::BTreeSet;

use aggregates::values::{Dialect, Email, Timestamp};

use crate::UserRow;

/// What kind of name it is. The same name of two kinds does not clash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NameKind {
    /// An address; also a username that is written like one.
    Email,
    /// A username.
    Username,
    /// A number.
    Phone,
    /// A device.
    Device,
}

impl NameKind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[Self::Email, Self::Username, Self::Phone, Self::Device];

    /// The word for it, in SQL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Username => "username",
            Self::Phone => "phone",
            Self::Device => "device",
        }
    }

    /// The kind a word stands for, if it stands for one.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == word)
    }
}

/// One name in its canonical form. The store keeps only a keyed hash of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    /// Its kind.
    pub kind: NameKind,
    /// Its canonical form.
    pub canonical: String,
}

/// Every name an account holds, the new address it has asked for included.
///
/// A username written like an address also holds that address, so that nobody can take a name that
/// catches somebody else's sign-in, nor an address that another account signs in with as its name.
#[must_use]
pub fn names_of(row: &UserRow) -> BTreeSet<Name> {
    names(row, row.pending_email_canonical.as_ref())
}

/// The names an account holds at a moment: an address it has asked for is its own only until the request lapses.
///
/// The row says the same until the account's next event, so [`names_of`] may still list it.
#[must_use]
pub fn names_at(row: &UserRow, now: Timestamp) -> BTreeSet<Name> {
    let lapsed = row.pending_email_expires.is_some_and(|expires| expires <= now);
    names(row, row.pending_email_canonical.as_ref().filter(|_| !lapsed))
}

/// Whether a number is one that its account can be found by. Numbers of `AgStack` without a country code are not: its
/// contract asks for no proof of them and lets a family or an office share one.
#[must_use]
pub fn phone_is_name(dialect: Dialect, phone: &str) -> bool {
    dialect != Dialect::Agstack || phone.starts_with('+')
}

fn names(row: &UserRow, pending: Option<&String>) -> BTreeSet<Name> {
    let name = |kind| {
        move |canonical: &String| Name {
            kind,
            canonical: canonical.clone(),
        }
    };
    let written_like_an_address = row
        .username
        .as_deref()
        .filter(|username| username.contains('@'))
        .and_then(|username| Email::parse(username).ok())
        .map(|email| Name {
            kind: NameKind::Email,
            canonical: email.canonical().to_owned(),
        });

    let emails = row.email_canonical.iter().chain(pending).map(name(NameKind::Email));
    let usernames = row.username_canonical.iter().map(name(NameKind::Username));
    let phones = row
        .phone
        .iter()
        .filter(|phone| phone_is_name(row.dialect, phone))
        .map(name(NameKind::Phone));
    let devices = row.devices.iter().map(name(NameKind::Device));
    emails
        .chain(written_like_an_address)
        .chain(usernames)
        .chain(phones)
        .chain(devices)
        .collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use aggregates::user::UserEvent;
    use aggregates::values::Username;

    use super::*;
    use crate::fixtures::{change_email, device, fold, story, verify};

    fn name(kind: NameKind, canonical: &str) -> Name {
        Name {
            kind,
            canonical: canonical.to_owned(),
        }
    }

    #[test]
    fn an_account_holds_every_name_it_can_be_found_by() {
        let names = names_of(&fold(&story([]).1).unwrap());
        let expected = BTreeSet::from([
            name(NameKind::Email, "ada@farm.example"),
            name(NameKind::Username, "ada"),
            name(NameKind::Phone, "+6584932466"),
            name(NameKind::Device, device(1).as_str()),
        ]);
        assert_eq!(names, expected);
    }

    #[test]
    fn an_account_holds_the_address_it_has_asked_for() {
        let names = names_of(&fold(&story([verify(), change_email(5, "ada@new.example")]).1).unwrap());
        assert!(names.contains(&name(NameKind::Email, "ada@farm.example")));
        assert!(names.contains(&name(NameKind::Email, "ada@new.example")));
    }

    #[test]
    fn an_address_that_was_asked_for_is_free_again_when_the_request_lapses() {
        let row = fold(&story([verify(), change_email(5, "ada@new.example")]).1).unwrap();
        let expires = row.pending_email_expires.unwrap();
        assert_eq!(names_at(&row, expires.plus(-1)), names_of(&row));
        let held = names_at(&row, expires);
        assert!(!held.contains(&name(NameKind::Email, "ada@new.example")));
        assert!(held.contains(&name(NameKind::Email, "ada@farm.example")));
    }

    #[test]
    fn a_number_without_a_country_code_is_no_name_of_an_agstack_account() {
        let mut row = fold(&story([]).1).unwrap();
        row.dialect = Dialect::Agstack;
        for (phone, is) in [("921234567890", false), ("+6584932466", true)] {
            row.phone = Some(phone.to_owned());
            assert_eq!(names_of(&row).contains(&name(NameKind::Phone, phone)), is, "{phone}");
        }
        row.dialect = Dialect::Xhoppe;
        row.phone = Some("84932466".to_owned());
        assert!(names_of(&row).contains(&name(NameKind::Phone, "84932466")));
    }

    #[test]
    fn a_username_written_like_an_address_holds_that_address() {
        let mut events = story([]).1;
        let username = Username::parse_dialect("Joan@Farm.example").unwrap();
        events.push(UserEvent::UsernameChanged {
            username: username.clone().into(),
            previous: username.into(),
        });
        let names = names_of(&fold(&events).unwrap());
        assert!(names.contains(&name(NameKind::Email, "joan@farm.example")));
        assert_eq!(names.len(), 5);
    }

    #[test]
    fn an_address_that_is_also_the_username_is_one_name() {
        let mut events = story([]).1;
        let username = Username::parse_dialect("ADA@farm.example").unwrap();
        events.push(UserEvent::UsernameChanged {
            username: username.clone().into(),
            previous: username.into(),
        });
        let names = names_of(&fold(&events).unwrap());
        assert_eq!(names.iter().filter(|name| name.kind == NameKind::Email).count(), 1);
    }
}
