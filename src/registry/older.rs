//! What the contracts of the older APIs ask for beyond the commands of the canonical one: several changes in one
//! request, one entrance for every mailed link, a reminder to those who are not verified yet.

use aggregates::domain::{Domain, DomainCommand};
use aggregates::user::{ProfileChange, RequestLink, User, UserCommand};
use aggregates::values::{Email, FullName, Username};
use cqrs_es::Aggregate as _;
use projections::{NameKind, Status, UserRow};
use uuid::Uuid;

use super::codes::Budget;
use super::command::Asked;
use super::refusal::Trouble;
use super::register::Registration;
use super::{LinkToken, Refusal, Registry};
use crate::guards::Allowance;
use crate::passwords::Password;
use crate::store::{PlatformFilter, Receipt, Unit};

/// What is to change of an account: what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct AccountChange {
    /// Another name to sign in with.
    pub username: Option<Username>,
    /// The name of the person; `Some(None)` clears it.
    pub full_name: Option<Option<FullName>>,
    /// Another address, which waits for its confirmation, or the first one.
    pub email: Option<Email>,
}

/// Reminders to one account.
const REMINDERS: Allowance = Allowance {
    per_minute: Some(1),
    per_hour: None,
    per_day: None,
};

impl Registry {
    /// Changes an account in one go: all of it, or nothing.
    ///
    /// Another address needs no password here, as the contract says. It is reserved and changes nothing until the link
    /// sent to it is used; the one before is told. The first one is the account's at once, unverified.
    pub async fn change_account(&self, asked: &Asked, user: Uuid, change: &AccountChange) -> Result<(), Refusal> {
        let budget = &Budget::new();
        self.command(asked, Some(user), |unit| async move {
            // Says what to answer when nothing changes.
            unit.unchanged(Receipt::nothing());
            if let Some(username) = change.username.clone() {
                self.decide_user(&unit, asked, user, UserCommand::ChangeUsername { username })
                    .await?;
            }
            if let Some(full_name) = change.full_name.clone() {
                let profile = ProfileChange {
                    full_name: Some(full_name),
                    ..ProfileChange::default()
                };
                self.decide_user(&unit, asked, user, UserCommand::UpdateProfile(Box::new(profile)))
                    .await?;
            }
            if let Some(email) = &change.email {
                self.stage_address(&unit, asked, user, email, budget).await?;
            }
            Ok(())
        })
        .await
        .map(|_| ())
    }

    async fn stage_address(
        &self,
        unit: &Unit,
        asked: &Asked,
        user: Uuid,
        email: &Email,
        budget: &Budget,
    ) -> Result<(), Trouble> {
        // Whether there is an address decides which link goes out and for how long it works.
        let (before, _) = unit.load_fresh::<User>(&user.to_string()).await?;
        let first = before.email().is_none();
        let (standing, unknown) = self.standing_to_take(unit, email).await?;
        if unknown && !first {
            // Nothing of the domain is recorded before the address is really taken.
            unit.guard(Domain::TYPE, email.domain(), 0);
        }
        let customs = self.customs(asked.caller.dialect);
        let at = self.store().now();
        let command = UserCommand::TakeEmail {
            email: email.clone(),
            standing,
            link: RequestLink {
                request: self.store().chance().uuid_v7(at),
                dialect: asked.caller.dialect,
                life: if first {
                    customs.verification_life
                } else {
                    customs.change_life
                },
                at,
            },
        };
        let executed = self.decide_user(unit, asked, user, command).await?;
        if executed.version > executed.loaded {
            self.mind_change_mails(user, email, budget).await?;
        }
        if unknown && first {
            unit.is_fresh::<Domain>(email.domain());
            unit.execute::<Domain>(email.domain(), DomainCommand::Observe).await?;
        }
        Ok(())
    }

    /// Which of the names somebody asks for are held by others than them, so that all of them can be told of.
    pub async fn taken_names(
        &self,
        registration: &Registration,
        owner: Option<Uuid>,
    ) -> Result<Vec<NameKind>, Refusal> {
        let wanted = [
            (
                NameKind::Username,
                registration.username.as_ref().map(Username::canonical),
            ),
            (NameKind::Email, registration.email.as_ref().map(Email::canonical)),
            (
                NameKind::Phone,
                registration.phone.as_ref().map(aggregates::values::Phone::msisdn),
            ),
        ];
        let mut taken = Vec::new();
        for (kind, name) in wanted {
            if let Some(name) = name
                && let Some(holder) = self.store().holder(kind, name).await?
                && Some(holder) != owner
            {
                taken.push(kind);
            }
        }
        // A username written like an address must not be somebody's address either.
        if !taken.contains(&NameKind::Username)
            && let Some(email) = registration
                .username
                .as_ref()
                .and_then(|name| Email::parse(name.as_str()).ok())
            && let Some(holder) = self.store().holder(NameKind::Email, email.canonical()).await?
            && Some(holder) != owner
        {
            taken.insert(0, NameKind::Username);
        }
        Ok(taken)
    }

    /// Sends the link that verifies the address of an account once more; at most once in a minute.
    pub async fn remind_to_verify(&self, asked: &Asked, user: Uuid) -> Result<(), Refusal> {
        let guard = self.store().keyring().fingerprint("reminders-to", &[user.as_bytes()]);
        if self.take(&[("reminder", guard, REMINDERS)]).await? {
            self.send_verification(asked, user).await?;
        }
        Ok(())
    }

    /// Uses a mailed link that verifies an address, be it the account's own or the one it has asked for. A receipt
    /// without events: the very link had done so before.
    pub async fn confirm_address(&self, asked: &Asked, user: Uuid, token: &str) -> Result<Receipt, Refusal> {
        let parsed = LinkToken::parse(token).ok_or(Refusal::InvalidToken)?;
        let record = self.store().event(parsed.request).await?.ok_or(Refusal::InvalidToken)?;
        if record.aggregate_id != user.to_string() {
            return Err(Refusal::InvalidToken);
        }
        match record.event_type.as_str() {
            "user.email_verification_requested" => self.verify_email(asked, token).await,
            "user.email_change_requested" => self.confirm_email_change(asked, token).await,
            _ => Err(Refusal::InvalidToken),
        }
    }

    /// Whether a mailed link says that it is this user's. It may still open nothing.
    pub async fn link_is_of(&self, user: Uuid, token: &str) -> Result<bool, Refusal> {
        let Some(token) = LinkToken::parse(token) else {
            return Ok(false);
        };
        match self.requester(&token).await {
            Ok(owner) => Ok(owner == user),
            Err(Refusal::InvalidToken) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// Whether a password is the account's. Counted as every try is.
    pub async fn is_current_password(&self, user: Uuid, password: Password) -> Result<bool, Refusal> {
        match self.verify_current_password(user, Some(password)).await {
            Ok(_) => Ok(true),
            Err(Refusal::WrongPassword) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// Whether somebody in use has this address. Only for an API whose contract tells.
    pub async fn has_address(&self, email: &Email) -> Result<bool, Refusal> {
        let Some(user) = self.store().found_by(NameKind::Email, email.canonical()).await? else {
            return Ok(false);
        };
        let row = self.store().user(user).await?;
        Ok(row.is_some_and(|row| {
            row.status != Status::Deactivated && row.email_canonical.as_deref() == Some(email.canonical())
        }))
    }

    /// The account with this very username.
    pub async fn user_named(&self, username: &str) -> Result<UserRow, Refusal> {
        let name = Username::parse_dialect(username).map_err(|_| Refusal::NotFound)?;
        let user = self.store().found_by(NameKind::Username, name.canonical()).await?;
        let row = self.store().user(user.ok_or(Refusal::NotFound)?).await?;
        row.filter(|row| row.username.as_deref() == Some(username))
            .ok_or(Refusal::NotFound)
    }

    /// Accounts that have a username: how many there are, and one page of them. That somebody looked is recorded, once
    /// per reader and hour.
    pub async fn platform_users(&self, asked: &Asked, filter: &PlatformFilter) -> Result<(i64, Vec<UserRow>), Refusal> {
        let found = self.store().platform_users(filter).await?;
        self.record_listing(asked).await?;
        Ok(found)
    }
}
