//! What an API's contract asks of the accounts it opens: which passwords, how long a registration waits, what is sent.
//!
//! One account may be used through every API, so a rule belongs to the API somebody calls through, never to the account.

use aggregates::values::Dialect;

use super::limits::{NUMBER, XHOPPE_NUMBER};
use super::{DAY, HOUR, Registry, SECOND};
use crate::config::Config;
use crate::guards::Allowance;
use crate::passwords::Password;
use crate::passwords::rules::{OwnData, PasswordRule, Weakness};

/// How long the link of a reset works in the canonical API, microseconds: half an hour.
const RESET_LIFE: i64 = 1_800 * SECOND;
/// How long links of `AgStack` work, microseconds.
const AGSTACK_LINK: i64 = 7_200 * SECOND;
/// How long a token works that an app keeps for good, microseconds.
const APP_TOKEN: i64 = 365 * DAY;

/// The customs of one API.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a sentence of a contract")]
pub(crate) struct Customs {
    /// Which passwords may be chosen.
    pub password: PasswordRule,
    /// How long a registration may stay unverified, microseconds; none: for ever.
    pub unverified_life: Option<i64>,
    /// How long a link that verifies an address works, microseconds.
    pub verification_life: i64,
    /// How long a link that confirms another address works, and how long that address is reserved, microseconds.
    pub change_life: i64,
    /// How long a link that sets a new password works, microseconds.
    pub reset_life: i64,
    /// How long an opaque token works, microseconds.
    pub token_life: i64,
    /// Whether a registration with an address is sent a link.
    pub mails: bool,
    /// Whether a registration with a number is sent a code.
    pub texts: bool,
    /// Whether an account that is not verified yet may be signed in to.
    pub pending_signs_in: bool,
    /// Whether an address that is not verified keeps its owner out, also of an account that is in use: unless the number
    /// is verified.
    pub verified_address_only: bool,
    /// Whether a number that is not verified keeps its owner out, also of an account that is in use.
    pub verified_number_only: bool,
    /// Whether somebody whose very address is blocked may sign in.
    pub blocked_address_signs_in: bool,
    /// How many digits a code to set a new password has.
    pub reset_digits: usize,
    /// Codes to one number.
    pub codes: Allowance,
}

/// The customs of every API, in the order of `Dialect::ALL`.
#[derive(Debug, Clone)]
pub(crate) struct AllCustoms(Vec<Customs>);

impl AllCustoms {
    pub fn new(config: &Config, unverified_life: i64, session_life: i64) -> Self {
        Self(
            Dialect::ALL
                .iter()
                .map(|dialect| Customs::of(*dialect, config, unverified_life, session_life))
                .collect(),
        )
    }

    pub fn of(&self, dialect: Dialect) -> &Customs {
        let place = Dialect::ALL.iter().position(|one| *one == dialect).unwrap_or_default();
        &self.0[place]
    }
}

impl Customs {
    fn of(dialect: Dialect, config: &Config, unverified_life: i64, session_life: i64) -> Self {
        let canonical = Self {
            password: PasswordRule::Canonical {
                min_length: config.passwords.min_length,
            },
            unverified_life: Some(unverified_life),
            verification_life: unverified_life.min(DAY),
            change_life: DAY,
            reset_life: RESET_LIFE,
            token_life: session_life,
            mails: true,
            texts: true,
            pending_signs_in: false,
            verified_address_only: false,
            verified_number_only: false,
            blocked_address_signs_in: true,
            reset_digits: 6,
            codes: NUMBER,
        };
        match dialect {
            Dialect::Canonical => canonical,
            Dialect::Agstack => Self {
                password: PasswordRule::Agstack,
                unverified_life: None,
                verification_life: AGSTACK_LINK,
                reset_life: AGSTACK_LINK,
                texts: false,
                pending_signs_in: true,
                blocked_address_signs_in: false,
                ..canonical
            },
            Dialect::Cadasta => Self {
                password: PasswordRule::Cadasta,
                unverified_life: Some(3 * DAY),
                verification_life: 3 * DAY,
                change_life: 3 * DAY,
                reset_life: i64::from(config.cadasta.password_reset_hours) * HOUR,
                verified_address_only: true,
                texts: false,
                ..canonical
            },
            Dialect::Xhoppe => Self {
                password: PasswordRule::Xhoppe {
                    reject_common: config.xhoppe.reject_common_passwords,
                },
                unverified_life: Some(DAY),
                token_life: APP_TOKEN,
                verified_number_only: true,
                reset_digits: 8,
                codes: XHOPPE_NUMBER,
                ..canonical
            },
            Dialect::Taxi => Self {
                password: PasswordRule::Taxi,
                unverified_life: None,
                token_life: APP_TOKEN,
                mails: config.taxi.send_verification,
                texts: false,
                pending_signs_in: true,
                ..canonical
            },
        }
    }
}

impl Registry {
    pub(crate) fn customs(&self, dialect: Dialect) -> &Customs {
        self.rules().customs.of(dialect)
    }

    /// Every reason against a new password that is chosen through an API.
    #[must_use]
    pub fn weaknesses_by(&self, dialect: Dialect, password: &Password, own: &OwnData<'_>) -> Vec<Weakness> {
        self.customs(dialect).password.weaknesses(password, own)
    }
}
