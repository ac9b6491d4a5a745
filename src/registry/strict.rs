//! Opening an account without telling anybody whether the address had one (`registration.strict`).
//!
//! A taken address is answered as a fresh one is, after the same work, and its owner gets a mail instead: the link that
//! verifies the address if that is what they still have to do, else one that sets a new password, for whoever registers
//! again has most likely forgotten that they are registered. What else can be taken, a username or a number, is told as
//! ever: only the address is kept secret.

use aggregates::user::{Phase, RequestLink, User, UserCommand};
use aggregates::values::{Channel, Email};
use projections::NameKind;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::alike::{PUBLIC_ANSWER, is_withheld};
use super::command::Asked;
use super::register::Registration;
use super::{Refusal, Registry};
use crate::passwords::Password;
use crate::store::Receipt;

/// The purpose under which mails to those who are registered already are counted.
const MAILS: &str = "registered-already";

impl Registry {
    /// Opens an account, or writes to the owner of the address. The receipt names no account, and is the same for both.
    pub async fn register_alike(
        &self,
        asked: &Asked,
        registration: &Registration,
        password: Password,
    ) -> Result<Receipt, Refusal> {
        let Some(email) = &registration.email else {
            return self.register(asked, registration, password).await;
        };
        let work = self.register_or_tell(asked, registration, email, password);
        self.once(asked, Box::pin(work)).await?;
        Ok(told(registration))
    }

    async fn register_or_tell(
        &self,
        asked: &Asked,
        registration: &Registration,
        email: &Email,
        password: Password,
    ) -> Result<Receipt, Refusal> {
        if asked.if_match.is_some_and(|version| version != 0) {
            return Err(Refusal::Stale);
        }
        self.look_at_domain(email).await?;
        self.look_at_names(registration, &[NameKind::Username, NameKind::Phone])
            .await?;
        let hash = self.hasher().hash(password).await?;
        // Whichever way it goes, it takes as long as the longer one.
        let answer_at = Instant::now() + PUBLIC_ANSWER;
        // Counted for a fresh address too: whether a mail goes must not tell either.
        let may_tell = self.may_send_mail(MAILS, email).await?;
        let held = self.store().holder(NameKind::Email, email.canonical()).await?;
        let opened = match held {
            Some(_) => Err(Refusal::Taken(NameKind::Email)),
            None => self.open_with(asked, registration, &hash, None).await,
        };
        match opened {
            Ok(_) => {}
            Err(Refusal::Taken(NameKind::Email)) => self.tell_owner(asked, email, may_tell).await?,
            Err(other) => return Err(other),
        }
        sleep_until(answer_at).await;
        Ok(Receipt::nothing())
    }

    async fn tell_owner(&self, asked: &Asked, email: &Email, may_tell: bool) -> Result<(), Refusal> {
        let whoever = Asked {
            if_match: None,
            ..asked.clone()
        };
        let owner = self.store().holder(NameKind::Email, email.canonical()).await?;
        let told = match owner.filter(|_| may_tell) {
            Some(owner) => self.write_to(&whoever, owner, email).await,
            None => self.about_nobody(&whoever).await,
        };
        match told {
            // Somebody deactivated is not written to, but the idempotency key is remembered as everybody's is.
            Err(problem) if is_withheld(&problem) => self.about_nobody(&whoever).await.map(|_| ()),
            told => told.map(|_| ()),
        }
    }

    async fn write_to(&self, asked: &Asked, owner: Uuid, email: &Email) -> Result<Receipt, Refusal> {
        self.command(asked, Some(owner), |unit| async move {
            let (state, _) = unit.load_fresh::<User>(&owner.to_string()).await?;
            // The address may only be reserved for a change that its owner has not confirmed.
            if state.email().is_none_or(|held| held.canonical() != email.canonical()) {
                unit.unchanged(Receipt::nothing());
                return Ok(());
            }
            let at = self.store().now();
            let pending = state.phase() == Phase::Pending;
            let link = RequestLink {
                request: self.store().chance().uuid_v7(at),
                dialect: asked.caller.dialect,
                life: if pending {
                    self.customs(asked.caller.dialect).verification_life
                } else {
                    self.customs(asked.caller.dialect).reset_life
                },
                at,
            };
            let command = if pending {
                UserCommand::RequestEmailVerification(link)
            } else {
                let channel = Channel::Mail;
                UserCommand::RequestPasswordReset { channel, link }
            };
            self.decide_user(&unit, asked, owner, command).await?;
            if let Some(code) = state.open_reset().filter(|open| !pending && open.phone.is_some()) {
                // A link voids the code before it.
                unit.drop_code(code.original);
            }
            Ok(())
        })
        .await
    }
}

/// What is answered: the events a fresh account would have begun with. It names no position: how far the log went would
/// tell what was written.
fn told(registration: &Registration) -> Receipt {
    let asked_for = [
        (true, "user.registered"),
        (registration.email.is_some(), "user.email_verification_requested"),
        (registration.phone.is_some(), "user.phone_verification_requested"),
    ];
    let events: Vec<String> = asked_for
        .into_iter()
        .filter(|(asked, _)| *asked)
        .map(|(_, event)| event.to_owned())
        .collect();
    Receipt {
        version: i64::try_from(events.len()).unwrap_or_default(),
        events,
        created: true,
        ..Receipt::nothing()
    }
}
