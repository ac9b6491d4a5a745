//! How somebody is reached and found: another address, another number, another username.

use aggregates::domain::{Domain, DomainCommand};
use aggregates::user::{RequestLink, User, UserCommand};
use aggregates::values::{Email, Phone, Standing, Username};
use cqrs_es::Aggregate as _;
use projections::NameKind;
use uuid::Uuid;

use super::alike::{Work, answered_at, refused_alike};
use super::codes::{Budget, CodePurpose};
use super::command::Asked;
use super::limits::MAIL_AGAIN;
use super::refusal::Trouble;
use super::{LinkToken, Purpose, Refusal, Registry};
use crate::passwords::Password;
use crate::store::{Receipt, Unit};

impl Registry {
    /// Sends a new code to a number, if it belongs to an account that is waiting for one. Tells nobody which do. A number
    /// in doubt ([`User::phone_in_doubt`]) is sent one only if its owner, signed in, asks.
    pub async fn request_phone_verification(&self, asked: &Asked, phone: &Phone) -> Result<(), Refusal> {
        let answer_at = answered_at();
        let holder = self.store().found_by(NameKind::Phone, phone.msisdn()).await?;
        let (registry, phone) = (self.clone(), phone.clone());
        let whoever = Asked {
            if_match: None,
            ..asked.clone()
        };
        let work = |user| -> Work<'static, Receipt> {
            Box::pin(async move { registry.send_phone_code(&whoever, user, &phone).await })
        };
        self.alike(asked, answer_at, holder.map(work)).await
    }

    pub(super) async fn send_phone_code(&self, asked: &Asked, user: Uuid, phone: &Phone) -> Result<Receipt, Refusal> {
        let budget = &Budget::new();
        self.command(asked, Some(user), |unit| async move {
            let (state, _) = unit.load_fresh::<User>(&user.to_string()).await?;
            // The number may have passed to somebody else since it was looked up, and a verified one needs no code.
            let passed = state.phone_verified() || state.phone().is_none_or(|held| held.msisdn() != phone.msisdn());
            // Only the owner has a number proved that may have been put there with the password before.
            let withheld = state.phone_in_doubt() && !asked.caller.is_signed_in_as(user);
            if passed || withheld {
                unit.unchanged(Receipt::nothing());
            } else if !self.stage_phone_verification(&unit, asked, user, phone, budget).await? {
                return Err(Refusal::Conflict("the number may be sent no code just now".into()).into());
            }
            Ok(())
        })
        .await
    }

    /// Uses a code: the number is verified. Whatever is wrong with a code or its number is one answer.
    pub async fn verify_phone(&self, asked: &Asked, phone: &Phone, code: &str) -> Result<Receipt, Refusal> {
        let work = Box::pin(self.use_phone_code(asked, phone, code));
        refused_alike(Box::pin(self.once(asked, work))).await
    }

    async fn use_phone_code(&self, asked: &Asked, phone: &Phone, code: &str) -> Result<Receipt, Refusal> {
        let holder = self.store().found_by(NameKind::Phone, phone.msisdn()).await?;
        let request = self.guess(CodePurpose::VerifyPhone, holder, code).await?;
        let user = holder.ok_or(Refusal::InvalidToken)?;
        self.command(asked, Some(user), |unit| async move {
            // Of those who use one code at once all but one are too late, and must learn it from the log.
            unit.load_fresh::<User>(&user.to_string()).await?;
            let at = self.store().now();
            self.decide_user(&unit, asked, user, UserCommand::VerifyPhone { request, at })
                .await?;
            unit.drop_code(request);
            Ok(())
        })
        .await
    }

    /// Takes another number, unverified, and sends a code to it.
    pub async fn change_phone(
        &self,
        asked: &Asked,
        user: Uuid,
        session: Uuid,
        phone: &Phone,
        current: Password,
    ) -> Result<Receipt, Refusal> {
        let work = self.take_phone(asked, (user, session), phone, current);
        self.once(asked, Box::pin(work)).await
    }

    async fn take_phone(
        &self,
        asked: &Asked,
        (user, session): (Uuid, Uuid),
        phone: &Phone,
        current: Password,
    ) -> Result<Receipt, Refusal> {
        let proved = self.prove(user, session, current).await?;
        let budget = &Budget::new();
        self.command(asked, Some(user), |unit| async move {
            let before = self.still_proved(&unit, proved).await?;
            let command = UserCommand::ChangePhone { phone: phone.clone() };
            let executed = self.decide_user(&unit, asked, user, command).await?;
            if executed.version > executed.loaded {
                // Codes on their way to the number before open nothing any more.
                let verification = before.open_phone_verification().map(|open| open.request);
                let reset = before.open_reset().filter(|open| open.phone.is_some());
                for request in verification.into_iter().chain(reset.map(|open| open.original)) {
                    unit.drop_code(request);
                }
                self.stage_phone_verification(&unit, asked, user, phone, budget).await?;
            }
            Ok(())
        })
        .await
    }

    /// Takes another username.
    pub async fn change_username(&self, asked: &Asked, user: Uuid, username: &Username) -> Result<Receipt, Refusal> {
        self.command(asked, Some(user), |unit| async move {
            let command = UserCommand::ChangeUsername {
                username: username.clone(),
            };
            self.decide_user(&unit, asked, user, command).await?;
            Ok(())
        })
        .await
    }

    /// Asks for another address: it is reserved, and a link goes to it. The one before is told.
    pub async fn request_email_change(
        &self,
        asked: &Asked,
        user: Uuid,
        session: Uuid,
        email: &Email,
        current: Password,
    ) -> Result<Receipt, Refusal> {
        let work = self.ask_for_email(asked, (user, session), email, current);
        self.once(asked, Box::pin(work)).await
    }

    async fn ask_for_email(
        &self,
        asked: &Asked,
        (user, session): (Uuid, Uuid),
        email: &Email,
        current: Password,
    ) -> Result<Receipt, Refusal> {
        let proved = self.prove(user, session, current).await?;
        let budget = &Budget::new();
        self.command(asked, Some(user), |unit| async move {
            self.still_proved(&unit, proved).await?;
            let (verdict, known) = self.verdict_guarded(&unit, email).await?;
            if !known {
                // Nothing of the domain is recorded before the address is really taken.
                unit.guard(Domain::TYPE, email.domain(), 0);
            }
            let at = self.store().now();
            let command = UserCommand::RequestEmailChange {
                email: email.clone(),
                standing: verdict.standing(),
                link: RequestLink {
                    request: self.store().chance().uuid_v7(at),
                    dialect: asked.caller.dialect,
                    life: self.customs(asked.caller.dialect).change_life,
                    at,
                },
            };
            let executed = self.decide_user(&unit, asked, user, command).await?;
            if executed.version > executed.loaded {
                self.mind_change_mails(user, email, budget).await?;
            }
            Ok(())
        })
        .await
    }

    /// Counts the mail to an address that an account asks for, or refuses it. Somebody else's address is told as such,
    /// whatever is left of its share, and uses none of it.
    pub(super) async fn mind_change_mails(&self, user: Uuid, email: &Email, budget: &Budget) -> Result<(), Refusal> {
        let holder = self.store().holder(NameKind::Email, email.canonical()).await?;
        if holder.is_some_and(|holder| holder != user) {
            return Err(Refusal::Taken(NameKind::Email));
        }
        let may = budget
            .get_or_try_init(|| self.may_send_mail("change-email", email))
            .await?;
        if *may {
            Ok(())
        } else {
            Err(Refusal::TooMany {
                retry_after: MAIL_AGAIN,
            })
        }
    }

    /// Uses the link that went to a new address: it is the account's from now on. The very link that did so changes
    /// nothing any more and is no error.
    pub async fn confirm_email_change(&self, asked: &Asked, token: &str) -> Result<Receipt, Refusal> {
        let token = &LinkToken::parse(token).ok_or(Refusal::InvalidToken)?;
        let user = self.requester(token).await?;
        self.command(asked, Some(user), |unit| async move {
            let (state, _) = unit.load_fresh::<User>(&user.to_string()).await?;
            let open = state
                .open_email_change()
                .filter(|open| open.original == token.request)
                .map(|open| &open.email);
            let spent = state
                .spent_email_change()
                .filter(|(spent, _)| *spent == token.request)
                .map(|(_, email)| email);
            let genuine = |email: &&Email| token.is_for(self.store().keyring(), Purpose::ChangeEmail, user, email);
            let email = open.or(spent).filter(genuine).ok_or(Refusal::InvalidToken)?;
            let (standing, observe) = match open {
                Some(_) => self.standing_to_take(&unit, email).await?,
                // What has happened is not asked again.
                None => (Standing::Allowed, false),
            };
            let command = UserCommand::ConfirmEmailChange {
                original: token.request,
                standing,
                at: self.store().now(),
            };
            let executed = self.decide_user(&unit, asked, user, command).await?;
            if observe && executed.version > executed.loaded {
                unit.is_fresh::<Domain>(email.domain());
                unit.execute::<Domain>(email.domain(), DomainCommand::Observe).await?;
            }
            Ok(())
        })
        .await
    }

    /// What may be said of an address that is about to be taken, and whether its domain is seen for the first time.
    pub(super) async fn standing_to_take(&self, unit: &Unit, email: &Email) -> Result<(Standing, bool), Trouble> {
        let (verdict, known) = self.verdict_guarded(unit, email).await?;
        Ok((verdict.standing(), !known))
    }
}
