//! People, times and requests for the tests of this aggregate, and a way to tell stories with them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use uuid::Uuid;

use super::{Import, Register, RequestLink, User, UserCommand, UserError, UserEvent};
use crate::values::{
    ApiKeyName, Channel, DeviceKey, Dialect, DomainName, Email, LockReason, Note, Phone, Role, Rule, RuleKind,
    Standing, Timestamp, Username,
};

pub const MINUTE: i64 = 60_000_000;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

/// So many microseconds after the stories begin.
pub fn at(micros: i64) -> Timestamp {
    Timestamp::parse("2026-11-20T03:00:00Z").unwrap().plus(micros)
}

pub fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

pub fn email(text: &str) -> Email {
    Email::parse(text).unwrap()
}

pub fn username(text: &str) -> Username {
    Username::parse(text).unwrap()
}

pub fn phone() -> Phone {
    Phone::parse_e164("+6584932466").unwrap()
}

pub fn other_phone() -> Phone {
    Phone::parse_e164("+6584932467").unwrap()
}

pub fn device(n: u8) -> DeviceKey {
    DeviceKey::parse(&format!("{n:064x}")).unwrap()
}

pub fn note(text: &str) -> Note {
    Note::parse(text).unwrap()
}

pub fn refused(kind: RuleKind) -> (Standing, Rule) {
    let rule = Rule {
        domain: DomainName::parse("farm.example").unwrap(),
        kind,
        position: 7,
        version: 2,
    };
    (Standing::Refused(rule.clone()), rule)
}

/// A request that works for an hour.
pub fn link(request: u128, now: i64) -> RequestLink {
    RequestLink {
        request: id(request),
        dialect: Dialect::Canonical,
        life: HOUR,
        at: at(now),
    }
}

/// Nobody in particular: a registration without a single name.
pub fn nobody() -> Register {
    Register {
        dialect: Dialect::Canonical,
        username: None,
        email: None,
        phone: None,
        device: None,
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
        unverified_life: Some(DAY),
        email_request: None,
        phone_request: None,
        at: at(0),
    }
}

/// Ada registers with an address and a username; request 1 is her link.
pub fn ada() -> Register {
    Register {
        username: Some(username("ada")),
        email: Some(email("ada@farm.example")),
        email_request: Some(link(1, 0)),
        ..nobody()
    }
}

/// Grace registers with a number; request 2 is her code.
pub fn grace() -> Register {
    Register {
        phone: Some(phone()),
        phone_request: Some(link(2, 0)),
        ..nobody()
    }
}

/// Tim registers with a username alone.
pub fn tim() -> Register {
    Register {
        username: Some(username("tim1990")),
        ..nobody()
    }
}

/// Joan comes from an older system.
pub fn joan() -> Import {
    Import {
        dialect: Dialect::Cadasta,
        username: Some(username("joan")),
        email: Some(email("joan@farm.example")),
        phone: None,
        full_name: None,
        email_verified: true,
        phone_verified: false,
        active: true,
        created_at: None,
        password: true,
    }
}

/// The account after a registration.
pub fn registered(register: Register) -> User {
    User::default().then(UserCommand::Register(Box::new(register)))
}

/// Ada, verified.
pub fn verified_ada() -> User {
    registered(ada()).then(UserCommand::VerifyEmail {
        original: id(1),
        at: at(MINUTE),
    })
}

impl User {
    /// The account after an order that must not be refused.
    pub(super) fn then(mut self, command: UserCommand) -> Self {
        for event in self.events(command) {
            self.evolve(&event);
        }
        self
    }

    /// What an order leads to; it must not be refused.
    pub(super) fn events(&self, command: UserCommand) -> Vec<UserEvent> {
        let order = format!("{command:?}");
        self.decide(command)
            .unwrap_or_else(|refusal| panic!("{order} was refused: {refusal}"))
    }

    /// Why an order is refused; it must be.
    pub(super) fn refusal(&self, command: UserCommand) -> UserError {
        let order = format!("{command:?}");
        match self.decide(command) {
            Ok(events) => panic!("{order} was not refused but led to {events:?}"),
            Err(refusal) => refusal,
        }
    }
}

/// One order of each kind, made of small numbers, so that arbitrary ones meet now and then.
pub fn order(kind: u8, pick: u8, now: i64) -> UserCommand {
    use UserCommand as C;

    let one_of_few = u128::from(pick % 4);
    let address = email(&format!("ada{one_of_few}@farm.example"));
    let role = Role::ALL[usize::from(pick) % Role::ALL.len()];
    let request = link(u128::from(pick), now);
    match kind % 27 {
        0 => C::Register(Box::new(if pick.is_multiple_of(2) { ada() } else { grace() })),
        1 => C::Import(Box::new(joan())),
        2 => C::RequestEmailVerification(request),
        3 => C::VerifyEmail {
            original: id(u128::from(pick)),
            at: at(now),
        },
        4 => C::RequestPhoneVerification(request),
        5 => C::VerifyPhone {
            request: id(u128::from(pick)),
            at: at(now),
        },
        6 => C::RequestEmailChange {
            email: address,
            standing: Standing::Allowed,
            link: request,
        },
        7 => C::ConfirmEmailChange {
            original: id(u128::from(pick)),
            standing: Standing::Allowed,
            at: at(now),
        },
        8 => C::ChangePhone {
            phone: if pick.is_multiple_of(2) { phone() } else { other_phone() },
        },
        9 => C::ChangeUsername {
            username: username(&format!("ada{one_of_few}")),
        },
        10 => C::UpdateProfile(Box::new(super::ProfileChange {
            discoverable: Some(pick.is_multiple_of(2)),
            geo_id: Some(None),
            ..Default::default()
        })),
        11 => C::ChangePassword {
            kept_session: Some(id(one_of_few)),
        },
        12 => C::RequestPasswordReset {
            channel: if pick.is_multiple_of(2) {
                Channel::Mail
            } else {
                Channel::Sms
            },
            link: request,
        },
        13 => C::ResetPassword {
            original: id(u128::from(pick)),
            at: at(now),
        },
        14 => C::Lock {
            reason: LockReason::Attempts,
            note: None,
        },
        15 => C::Unlock { note: None },
        16 => C::Deactivate { note: None },
        17 => C::Reactivate { note: None },
        18 => C::GrantRole { role },
        19 => C::RevokeRole { role },
        20 => C::IssueApiKey {
            key_id: id(one_of_few),
            name: ApiKeyName::parse("field app").unwrap(),
            roles: vec![role],
            expires_at: None,
            at: at(now),
        },
        21 => C::RevokeApiKey { key_id: id(one_of_few) },
        22 => C::BindDevice {
            device: device(pick % 3),
        },
        23 => C::UnbindDevice {
            device: device(pick % 3),
        },
        24 => C::ExpireRegistration { at: at(now) },
        25 => C::TakeEmail {
            email: address,
            standing: Standing::Allowed,
            link: request,
        },
        26 => C::Activate { note: None },
        _ => C::Erase,
    }
}
