//! Activating an account by the link of a mail, and being sent that link again.

use aggregates::user::{User, UserCommand};
use aggregates::values::Email;
use uuid::Uuid;

use super::command::Asked;
use super::limits::{Allowed, MAIL_AGAIN};
use super::{LinkToken, Purpose, Refusal, Registry};

/// What using a link has led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// The account is active now; a pair of keys is on its way to its owner.
    Now,
    /// It was before.
    Already,
}

/// What asking for the link once more has led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resent {
    /// A mail is on its way.
    Sent,
    /// There is nothing to activate.
    Already,
    /// It was asked for too often.
    TooSoon {
        /// Seconds to wait.
        retry_after: u32,
    },
}

impl Registry {
    /// Uses the link of a mail. The link proves who has the mailbox; whoever is signed in as somebody else
    /// (`visitor`) has opened somebody else's link.
    pub async fn activate(&self, asked: &Asked, token: &str, visitor: Option<Uuid>) -> Result<Activation, Refusal> {
        let token = &LinkToken::parse(token).ok_or(Refusal::InvalidToken)?;
        let user = self.requester(token).await?;
        if visitor.is_some_and(|visitor| visitor != user) {
            return Err(Refusal::InvalidToken);
        }
        // The link was good, but there is nobody behind it any more.
        self.store().user(user).await?.ok_or(Refusal::NotFound)?;
        let key_id = self.store().chance().uuid_v7(self.store().now());
        let done = self
            .command(asked, Some(user), |unit| async move {
                let (state, _) = unit.load_fresh::<User>(&user.to_string()).await?;
                let genuine = |email: &&Email| token.is_for(self.store().keyring(), Purpose::VerifyEmail, user, email);
                state.email().filter(genuine).ok_or(Refusal::InvalidToken)?;
                if state.email_verified() {
                    unit.unchanged(crate::store::Receipt::nothing());
                    return Ok(());
                }
                let command = UserCommand::VerifyEmail {
                    original: token.request,
                    at: self.store().now(),
                };
                self.decide_user(&unit, asked, user, command).await?;
                self.stage_key_pair(&unit, asked, user, (key_id, true)).await
            })
            .await?;
        Ok(if done.events.is_empty() {
            Activation::Already
        } else {
            Activation::Now
        })
    }

    /// Sends the link again to somebody who is signed in, at most once a minute.
    pub async fn resend_activation(&self, asked: &Asked, user: Uuid) -> Result<Resent, Refusal> {
        let row = self.store().user(user).await?.ok_or(Refusal::NotFound)?;
        let address = row.email.as_deref().filter(|_| !row.email_verified);
        let Some(address) = address.and_then(|text| Email::parse(text).ok()) else {
            return Ok(Resent::Already);
        };
        match self.may_ask_again("activation", &address).await? {
            Allowed::Yes => {}
            Allowed::NotYet { retry_after } => return Ok(Resent::TooSoon { retry_after }),
        }
        let receipt = self.send_verification(asked, user).await?;
        if receipt.events.is_empty() {
            // The hour's or the day's mails have gone.
            return Ok(Resent::TooSoon {
                retry_after: MAIL_AGAIN,
            });
        }
        Ok(Resent::Sent)
    }
}
