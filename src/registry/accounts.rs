//! What a person does with their account: verify, change the password, change the profile.

use aggregates::user::{ProfileChange, RequestLink, User, UserCommand};
use aggregates::values::{Dialect, Email};
use projections::{NameKind, UserRow};
use uuid::Uuid;

use super::alike::{Work, answered_at};
use super::codes::Budget;
use super::command::Asked;
use super::{LinkToken, Purpose, Refusal, Registry};
use crate::passwords::Password;
use crate::passwords::rules::OwnData;
use crate::store::{Credential, Receipt, Unit, UserFilter, UserSort};

/// A password someone wants from now on, with what they have now.
#[derive(Debug)]
pub struct NewPassword {
    /// What they have.
    pub current: Password,
    /// What they want.
    pub new: Password,
}

/// Keeps the hash of a password that was just set and drops the codes that it made void, given the account before and
/// after.
pub(super) fn stage_password(unit: &Unit, user: Uuid, (before, after): (&User, &User), hash: &str) {
    unit.credential(Credential {
        user_id: user,
        version: i64::from(after.credential_version()),
        hash: hash.to_owned(),
    });
    let verification = before.open_phone_verification().map(|open| open.request);
    let reset = before.open_reset().filter(|open| open.phone.is_some());
    for request in verification.into_iter().chain(reset.map(|open| open.original)) {
        unit.drop_code(request);
    }
}

/// What everyone may know about the owner of an account.
pub(super) fn own(owner: &UserRow) -> OwnData<'_> {
    OwnData {
        username: owner.username.as_deref(),
        email: owner.email.as_deref(),
        phone: owner.phone.as_deref(),
    }
}

impl Registry {
    /// Uses the link of a mail. The very link that verified the address changes nothing any more and is no error;
    /// whatever else is wrong with a link is one answer.
    pub async fn verify_email(&self, asked: &Asked, token: &str) -> Result<Receipt, Refusal> {
        let token = LinkToken::parse(token).ok_or(Refusal::InvalidToken)?;
        let user = self.requester(&token).await?;
        let token = &token;
        self.command(asked, Some(user), |unit| async move {
            let (state, _) = unit.load_fresh::<User>(&user.to_string()).await?;
            let open = state
                .open_email_verification()
                .filter(|open| open.original == token.request)
                .map(|open| &open.email)
                .or_else(|| {
                    state
                        .spent_email_verification()
                        .filter(|(spent, _)| *spent == token.request)
                        .map(|(_, email)| email)
                });
            let genuine =
                open.is_some_and(|email| token.is_for(self.store().keyring(), Purpose::VerifyEmail, user, email));
            if !genuine {
                return Err(Refusal::InvalidToken.into());
            }
            let command = UserCommand::VerifyEmail {
                original: token.request,
                at: self.store().now(),
            };
            self.decide_user(&unit, asked, user, command).await?;
            Ok(())
        })
        .await
    }

    /// The user whose event a link says it derives from.
    pub(super) async fn requester(&self, token: &LinkToken) -> Result<Uuid, Refusal> {
        let record = self.store().event(token.request).await?.ok_or(Refusal::InvalidToken)?;
        match record.aggregate_type.as_str() {
            "user" => Uuid::parse_str(&record.aggregate_id).map_err(|_| Refusal::InvalidToken),
            _ => Err(Refusal::InvalidToken),
        }
    }

    /// Sends the verification link again, if the address belongs to an account that is waiting for it.
    ///
    /// The owner is answered with a receipt. The public learns nothing, not even from the time it takes: every such
    /// answer waits for the same moment. An address in doubt ([`User::email_in_doubt`]) is sent one only if its owner,
    /// signed in, asks.
    pub async fn request_email_verification(&self, asked: &Asked, email: &Email) -> Result<Option<Receipt>, Refusal> {
        let answer_at = answered_at();
        let holder = self.store().found_by(NameKind::Email, email.canonical()).await?;
        if holder.is_some() && holder == asked.caller.user() {
            return self
                .send_verification(asked, asked.caller.user().unwrap_or_default())
                .await
                .map(Some);
        }
        let registry = self.clone();
        let whoever = Asked {
            if_match: None,
            ..asked.clone()
        };
        let work = |user| -> Work<'static, Receipt> {
            Box::pin(async move { registry.send_verification(&whoever, user).await })
        };
        self.alike(asked, answer_at, holder.map(work)).await.map(|()| None)
    }

    pub(super) async fn send_verification(&self, asked: &Asked, user: Uuid) -> Result<Receipt, Refusal> {
        let budget = &Budget::new();
        self.command(asked, Some(user), |unit| async move {
            let (state, version) = match asked.if_match {
                // Before a share of the mails is used for it.
                Some(wanted) => {
                    let (state, version) = unit.load_fresh::<User>(&user.to_string()).await?;
                    if version != wanted {
                        return Err(Refusal::Stale.into());
                    }
                    (state, version)
                }
                None => unit.load::<User>(&user.to_string()).await?,
            };
            // Only the owner has an address proved that may have been put there with the password before.
            let withheld = state.email_in_doubt() && !asked.caller.is_signed_in_as(user);
            if let Some(email) = state.email().filter(|_| !state.email_verified())
                && (withheld
                    || !*budget
                        .get_or_try_init(|| self.may_send_mail("verify-email", email))
                        .await?)
            {
                // Nothing is sent; the links that went out last work on, if any do.
                let position = self.store().user(user).await?.map_or(0, |row| row.log_position);
                unit.unchanged(Receipt {
                    id: user.to_string(),
                    version,
                    position,
                    ..Receipt::nothing()
                });
                return Ok(());
            }
            let at = self.store().now();
            let link = RequestLink {
                request: self.store().chance().uuid_v7(at),
                dialect: asked.caller.dialect,
                life: self.customs(asked.caller.dialect).verification_life,
                at,
            };
            self.decide_user(&unit, asked, user, UserCommand::RequestEmailVerification(link))
                .await?;
            Ok(())
        })
        .await
    }

    /// Sets another password: the current one is verified, every other session ends.
    pub async fn change_password(
        &self,
        asked: &Asked,
        user: Uuid,
        session: Uuid,
        passwords: NewPassword,
    ) -> Result<Receipt, Refusal> {
        let work = self.replace_password(asked, user, session, passwords);
        self.once(asked, Box::pin(work)).await
    }

    async fn replace_password(
        &self,
        asked: &Asked,
        user: Uuid,
        session: Uuid,
        passwords: NewPassword,
    ) -> Result<Receipt, Refusal> {
        let row = self.store().user(user).await?.ok_or(Refusal::NotFound)?;
        let weak = self.weaknesses_by(asked.caller.dialect, &passwords.new, &own(&row));
        if !weak.is_empty() {
            return Err(Refusal::Weak(weak));
        }
        let proved = self.prove(user, session, passwords.current).await?;
        let hash = &self.hasher().hash(passwords.new).await?;
        self.command(asked, Some(user), |unit| async move {
            let before = self.still_proved(&unit, proved).await?;
            let command = UserCommand::ChangePassword {
                kept_session: Some(session),
            };
            let executed = self.decide_user(&unit, asked, user, command).await?;
            stage_password(&unit, user, (&before, &executed.state), hash.as_str());
            Ok(())
        })
        .await
    }

    /// The canonical rule for new passwords, with what is known of their owner.
    #[must_use]
    pub fn weaknesses(&self, password: &Password, owner: &UserRow) -> Vec<crate::passwords::rules::Weakness> {
        self.weaknesses_for(password, &own(owner))
    }

    /// The same for somebody who is only registering.
    #[must_use]
    pub fn weaknesses_for(&self, password: &Password, own: &OwnData<'_>) -> Vec<crate::passwords::rules::Weakness> {
        self.weaknesses_by(Dialect::Canonical, password, own)
    }

    /// Changes the profile.
    pub async fn update_profile(&self, asked: &Asked, user: Uuid, change: &ProfileChange) -> Result<Receipt, Refusal> {
        self.command(asked, Some(user), |unit| async move {
            let command = UserCommand::UpdateProfile(Box::new(change.clone()));
            self.decide_user(&unit, asked, user, command).await?;
            Ok(())
        })
        .await
    }

    /// One account.
    pub async fn user(&self, id: Uuid) -> Result<UserRow, Refusal> {
        self.store().user(id).await?.ok_or(Refusal::NotFound)
    }

    /// Accounts in an order, after the last one of the page before.
    pub async fn users(
        &self,
        filter: &UserFilter,
        sort: UserSort,
        after: Option<(&str, Uuid)>,
        limit: i64,
    ) -> Result<Vec<UserRow>, Refusal> {
        Ok(self.store().users(filter, sort, after, limit).await?)
    }
}
