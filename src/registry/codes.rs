//! One-time codes by SMS: drawing, keeping and comparing them.
//!
//! A code has six digits from the system's generator, or as many as a contract asks for. It is kept as a keyed hash, beside its text sealed for the
//! follower that sends it. The newest voids older ones. How many may go to a number and how many guesses a code bears
//! are no rate limits: they hold whatever the configuration says (SECURITY-REQUIREMENTS, section 4).

use aggregates::user::{RequestLink, User, UserCommand};
use aggregates::values::{Phone, Timestamp};
use subtle::ConstantTimeEq as _;
use tokio::sync::OnceCell;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::command::Asked;
use super::refusal::Trouble;
use super::{Refusal, Registry, SECOND};
use crate::chance::Chance;
use crate::keys::Enclosed;
use crate::store::{Code, StoreError, Unit};

/// How long a code works, microseconds: ten minutes.
pub(super) const CODE_LIFE: i64 = 600 * SECOND;
/// How many digits a code that verifies a number has.
pub(super) const VERIFY_DIGITS: usize = 6;

/// What a code is for. A code for one purpose opens nothing of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodePurpose {
    /// Verify the number of the account.
    VerifyPhone,
    /// Set a new password.
    ResetPassword,
}

impl CodePurpose {
    /// Its word, in the table of codes and in the message.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VerifyPhone => "verify-phone",
            Self::ResetPassword => "reset-password",
        }
    }
}

/// Whether a code may go out: asked once, however often the command is decided again.
pub(super) type Budget = OnceCell<bool>;

impl Registry {
    /// Draws a code for a request and stages it.
    pub(super) fn stage_code(
        &self,
        unit: &Unit,
        purpose: CodePurpose,
        user: Uuid,
        request: Uuid,
        (expires_at, digits): (Timestamp, usize),
    ) -> Result<(), Refusal> {
        let store = self.store();
        let code = draw(store.chance(), digits);
        let sealed = store
            .keyring()
            .enclose(Enclosed::Code, request, &code, store.chance())
            .map_err(StoreError::from)?;
        unit.code(Code {
            purpose: purpose.as_str(),
            value: store.keyring().code(purpose.as_str(), &code),
            request_id: request,
            user_id: user,
            expires_at,
            sealed,
        });
        Ok(())
    }

    /// Asks for a code to the account's number and stages it, unless the number is verified already. False: the number
    /// may be sent none just now; nothing is staged.
    pub(super) async fn stage_phone_verification(
        &self,
        unit: &Unit,
        asked: &Asked,
        user: Uuid,
        phone: &Phone,
        budget: &Budget,
    ) -> Result<bool, Trouble> {
        if !*budget
            .get_or_try_init(|| self.may_send_code(&asked.caller, phone))
            .await?
        {
            return Ok(false);
        }
        let at = self.store().now();
        let link = RequestLink {
            request: self.store().chance().uuid_v7(at),
            dialect: asked.caller.dialect,
            life: CODE_LIFE,
            at,
        };
        let (request, expires_at) = (link.request, at.plus(link.life));
        let command = UserCommand::RequestPhoneVerification(link);
        let executed = unit.execute::<User>(&user.to_string(), command).await?;
        if executed.version > executed.loaded {
            self.stage_code(
                unit,
                CodePurpose::VerifyPhone,
                user,
                request,
                (expires_at, VERIFY_DIGITS),
            )?;
        }
        Ok(true)
    }

    /// Compares a guess with somebody's live code and gives the request that the code belongs to.
    ///
    /// The guess is counted before it is compared. For nobody the same is done. A right one is not counted in the end,
    /// so that what it was for may fail otherwise.
    pub(super) async fn guess(&self, purpose: CodePurpose, user: Option<Uuid>, code: &str) -> Result<Uuid, Refusal> {
        let store = self.store();
        let known = store
            .try_code(purpose.as_str(), user.unwrap_or_default(), store.now())
            .await?;
        let guessed = store.keyring().code(purpose.as_str(), code);
        match known {
            Some(known) if bool::from(known.value.ct_eq(&guessed)) => {
                store.give_back_try(known.request_id).await?;
                Ok(known.request_id)
            }
            known => {
                if let (Some(known), Some(user), CodePurpose::ResetPassword) = (known, user, purpose)
                    && known.burns()
                {
                    self.note_burnt(user).await?;
                }
                Err(Refusal::InvalidToken)
            }
        }
    }
}

/// So many digits, six to nine, each code as likely as every other.
fn draw(chance: &Chance, digits: usize) -> Zeroizing<String> {
    let codes = 10_u32.pow(u32::try_from(digits).unwrap_or(6));
    // What is above the last whole round would make the lower codes likelier.
    let fair = u32::MAX - u32::MAX % codes;
    loop {
        let number = u32::from_be_bytes(chance.bytes());
        if number < fair {
            return Zeroizing::new(format!("{:0digits$}", number % codes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_six_digits_and_every_digit_comes_in_every_place() {
        let chance = Chance::seeded(5);
        let mut seen = [[0_u32; 10]; 6];
        for _ in 0..20_000 {
            let code = draw(&chance, 6);
            assert_eq!(code.len(), 6);
            assert_eq!(draw(&chance, 8).len(), 8);
            for (place, digit) in code.bytes().enumerate() {
                seen[place][usize::from(digit - b'0')] += 1;
            }
        }
        // 2,000 expected, with a deviation of 42: five of them either way.
        for (place, digits) in seen.iter().enumerate() {
            for (digit, count) in digits.iter().enumerate() {
                assert!(
                    (1_790..=2_210).contains(count),
                    "digit {digit} in place {place}: {count}"
                );
            }
        }
    }
}
