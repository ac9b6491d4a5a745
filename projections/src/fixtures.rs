//! Events with a place in the log, for the tests of the folds.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use aggregates::user::{Register, RequestLink, User, UserCommand, UserEvent};
use aggregates::values::{
    ApiKeyName, Channel, DeviceKey, Dialect, Email, LockReason, Phone, Role, Standing, Timestamp, Username,
};
use uuid::Uuid;

use crate::{Recorded, UserRow};

pub const HOUR: i64 = 3_600_000_000;

pub fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

/// The user all these events are about.
pub const USER: &str = "00000000-0000-0000-0000-0000000000aa";

pub fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(1_790_000_000_000_000).plus(micros)
}

pub fn email(text: &str) -> Email {
    Email::parse(text).unwrap()
}

/// An event as the log has it: third of its stream, at a position, so many seconds later.
pub fn recorded<'a, E>(stream: &'a str, event: &'a E, position: i64) -> Recorded<'a, E> {
    Recorded {
        event,
        aggregate_id: stream,
        event_id: id(1),
        sequence: 3,
        position,
        at: at(position * 1_000_000),
        ip: Some("192.0.2.1"),
        user_agent: Some("browser"),
    }
}

/// Folds events of the user's stream, the first at position 1.
pub fn fold_from(mut row: Option<UserRow>, first: i64, events: &[UserEvent]) -> Option<UserRow> {
    for (position, event) in (first..).zip(events) {
        row = UserRow::fold(
            row,
            &Recorded {
                sequence: position,
                ..recorded(USER, event, position)
            },
        );
    }
    row
}

pub fn fold(events: &[UserEvent]) -> Option<UserRow> {
    fold_from(None, 1, events)
}

/// Ada registers with an address, a username, a number and a device.
pub fn ada() -> Register {
    Register {
        dialect: Dialect::Canonical,
        username: Some(Username::parse("Ada").unwrap()),
        email: Some(email("Ada@farm.example")),
        phone: Some(Phone::with_registered("+6584932466", "8493 2466").unwrap()),
        device: Some(device(1)),
        full_name: None,
        discoverable: false,
        position: None,
        country: None,
        geo_id: None,
        boundary: None,
        locale: None,
        password: true,
        standing: Standing::Allowed,
        verified: false,
        unverified_life: Some(24 * HOUR),
        email_request: Some(link(1, 0)),
        phone_request: None,
        at: at(0),
    }
}

pub fn device(n: u8) -> DeviceKey {
    DeviceKey::parse(&format!("{n:064x}")).unwrap()
}

pub fn link(request: u128, now: i64) -> RequestLink {
    RequestLink {
        request: id(request),
        dialect: Dialect::Canonical,
        life: HOUR,
        at: at(now),
    }
}

/// What happens to Ada when she is given these orders one after the other; a refused one does nothing.
pub fn story(orders: impl IntoIterator<Item = UserCommand>) -> (User, Vec<UserEvent>) {
    story_of(ada(), orders)
}

/// Ada as somebody who registers without an address.
pub fn ada_without_address() -> Register {
    Register {
        email: None,
        email_request: None,
        ..ada()
    }
}

/// The same for somebody else.
pub fn story_of(register: Register, orders: impl IntoIterator<Item = UserCommand>) -> (User, Vec<UserEvent>) {
    let mut user = User::default();
    let mut events = Vec::new();
    for order in std::iter::once(UserCommand::Register(Box::new(register))).chain(orders) {
        for event in user.decide(order).unwrap_or_default() {
            user.evolve(&event);
            events.push(event);
        }
    }
    (user, events)
}

pub fn verify() -> UserCommand {
    UserCommand::VerifyEmail {
        original: id(1),
        at: at(1),
    }
}

pub fn change_email(request: u128, address: &str) -> UserCommand {
    UserCommand::RequestEmailChange {
        email: email(address),
        standing: Standing::Allowed,
        link: link(request, 1),
    }
}

/// One order of many kinds, made of a small number.
pub fn order(kind: u8, pick: u8) -> UserCommand {
    use UserCommand as C;

    let request = u128::from(pick);
    let role = Role::ALL[usize::from(pick) % Role::ALL.len()];
    match kind {
        0 => verify(),
        1 => change_email(request, &format!("ada{}@new.example", pick % 2)),
        2 => C::ConfirmEmailChange {
            standing: aggregates::values::Standing::Allowed,
            original: id(request),
            at: at(2),
        },
        3 => C::ChangePhone {
            phone: Phone::parse_e164("+6584932467").unwrap(),
        },
        4 => C::ChangeUsername {
            username: Username::parse(&format!("ada{pick}")).unwrap(),
        },
        5 => C::ChangePassword {
            kept_session: Some(id(request)),
        },
        6 => C::RequestPasswordReset {
            channel: Channel::Mail,
            link: link(request, 1),
        },
        7 => C::ResetPassword {
            original: id(request),
            at: at(2),
        },
        8 => C::Lock {
            reason: LockReason::Admin,
            note: None,
        },
        9 => C::Unlock { note: None },
        10 => C::Deactivate { note: None },
        11 => C::Reactivate { note: None },
        12 => C::GrantRole { role },
        13 => C::RevokeRole { role },
        14 => C::BindDevice {
            device: device(pick % 3),
        },
        15 => C::UnbindDevice {
            device: device(pick % 3),
        },
        16 => C::RequestPhoneVerification(link(request, 1)),
        17 => C::VerifyPhone {
            request: id(request),
            at: at(2),
        },
        18 => C::IssueApiKey {
            key_id: id(request),
            name: ApiKeyName::parse("field app").unwrap(),
            roles: vec![Role::User],
            expires_at: None,
            at: at(1),
        },
        19 => C::RevokeApiKey { key_id: id(request) },
        20 => C::TakeEmail {
            email: email(&format!("ada{}@old.example", pick % 2)),
            standing: Standing::Allowed,
            link: link(request, 1),
        },
        21 => C::Activate { note: None },
        _ => C::Erase,
    }
}

/// The row of Ada as she registers.
pub fn adas_row() -> UserRow {
    fold(&story([]).1).unwrap()
}
