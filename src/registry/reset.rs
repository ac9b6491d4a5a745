//! Setting a new password without the old one: by a link to the address or a code to the number.

use aggregates::user::{RequestLink, User, UserCommand};
use aggregates::values::{Channel, Email, Phone};
use projections::NameKind;
use uuid::Uuid;

use super::accounts::stage_password;
use super::alike::{Work, answered_at, refused_alike};
use super::codes::{Budget, CODE_LIFE, CodePurpose};
use super::command::Asked;
use super::limits::MAIL_AGAIN;
use super::{LinkToken, Purpose, Refusal, Registry};
use crate::passwords::Password;
use crate::store::Receipt;

/// Where a reset is to go.
#[derive(Debug, Clone)]
pub enum Contact {
    /// A link by mail.
    Email(Email),
    /// A code by SMS.
    Phone(Phone),
}

impl Contact {
    const fn channel(&self) -> Channel {
        match self {
            Self::Email(_) => Channel::Mail,
            Self::Phone(_) => Channel::Sms,
        }
    }
}

/// What proves that somebody may set a new password.
#[derive(Clone)]
pub enum ResetProof {
    /// The token of a link.
    Link(String),
    /// The code an SMS brought to a number.
    Code {
        /// The number.
        phone: Phone,
        /// The code.
        code: String,
    },
}

impl std::fmt::Debug for ResetProof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Link(_) => "ResetProof::Link(..)",
            Self::Code { .. } => "ResetProof::Code(..)",
        })
    }
}

impl Registry {
    /// Sends a link or a code, if there is an account it may go to. Tells nobody whether there is.
    pub async fn request_password_reset(&self, asked: &Asked, contact: &Contact) -> Result<(), Refusal> {
        let answer_at = answered_at();
        let (kind, canonical) = match contact {
            Contact::Email(email) => (NameKind::Email, email.canonical()),
            Contact::Phone(phone) => (NameKind::Phone, phone.msisdn()),
        };
        let holder = self.store().found_by(kind, canonical).await?;
        let (registry, contact) = (self.clone(), contact.clone());
        let whoever = Asked {
            if_match: None,
            ..asked.clone()
        };
        let work = |user| -> Work<'static, Receipt> {
            Box::pin(async move { registry.send_reset(&whoever, user, &contact).await })
        };
        self.alike(asked, answer_at, holder.map(work)).await
    }

    pub(super) async fn send_reset(&self, asked: &Asked, user: Uuid, contact: &Contact) -> Result<Receipt, Refusal> {
        let budget = &Budget::new();
        self.command(asked, Some(user), |unit| async move {
            let (state, _) = unit.load_fresh::<User>(&user.to_string()).await?;
            // What was looked up may have passed to somebody else since.
            let held = match contact {
                Contact::Email(email) => state.email().is_some_and(|held| held.canonical() == email.canonical()),
                Contact::Phone(phone) => state.phone().is_some_and(|held| held.msisdn() == phone.msisdn()),
            };
            if !held {
                unit.unchanged(Receipt::nothing());
                return Ok(());
            }
            let at = self.store().now();
            let life = match contact {
                Contact::Email(_) => self.customs(asked.caller.dialect).reset_life,
                Contact::Phone(_) => CODE_LIFE,
            };
            let link = RequestLink {
                request: self.store().chance().uuid_v7(at),
                dialect: asked.caller.dialect,
                life,
                at,
            };
            let (request, expires_at) = (link.request, at.plus(life));
            let command = UserCommand::RequestPasswordReset {
                channel: contact.channel(),
                link,
            };
            self.decide_user(&unit, asked, user, command).await?;
            match contact {
                // A link voids the code before it.
                Contact::Email(email) => {
                    if !*budget
                        .get_or_try_init(|| self.may_send_mail("reset-password", email))
                        .await?
                    {
                        return Err(Refusal::TooMany {
                            retry_after: MAIL_AGAIN,
                        }
                        .into());
                    }
                    if let Some(code) = state.open_reset().filter(|open| open.phone.is_some()) {
                        unit.drop_code(code.original);
                    }
                }
                Contact::Phone(phone) => {
                    if !*budget
                        .get_or_try_init(|| self.may_send_code(&asked.caller, phone))
                        .await?
                    {
                        return Err(Refusal::Conflict("the number may be sent no code just now".into()).into());
                    }
                    let digits = self.customs(asked.caller.dialect).reset_digits;
                    self.stage_code(&unit, CodePurpose::ResetPassword, user, request, (expires_at, digits))?;
                }
            }
            Ok(())
        })
        .await
    }

    /// Sets a new password; every session ends. A new password that may not be chosen uses nothing up.
    pub async fn reset_password(&self, asked: &Asked, proof: &ResetProof, new: Password) -> Result<Receipt, Refusal> {
        let work = self.set_anew(asked, proof, new);
        self.once(asked, Box::pin(work)).await
    }

    async fn set_anew(&self, asked: &Asked, proof: &ResetProof, new: Password) -> Result<Receipt, Refusal> {
        let (user, original) = refused_alike(Box::pin(self.open_reset(asked, proof))).await?;
        let row = self.store().user(user).await?.ok_or(Refusal::InvalidToken)?;
        // Only whoever may set it learns that it is like the owner's own data.
        let weak = self.weaknesses_by(asked.caller.dialect, &new, &super::accounts::own(&row));
        if !weak.is_empty() {
            return Err(Refusal::Weak(weak));
        }
        let hash = &self.hasher().hash(new).await?;
        let done = self
            .command(asked, Some(user), |unit| async move {
                // Of those who use it at once all but one are too late, and must learn it from the log.
                let (before, _) = unit.load_fresh::<User>(&user.to_string()).await?;
                let at = self.store().now();
                let command = UserCommand::ResetPassword { original, at };
                let executed = self.decide_user(&unit, asked, user, command).await?;
                stage_password(&unit, user, (&before, &executed.state), hash.as_str());
                Ok(())
            })
            .await?;
        if let Err(problem) = self.forget_tries(user).await {
            // The password is set; who was locked out waits a little longer.
            tracing::warn!(%problem, "failed tries could not be forgotten");
        }
        Ok(done)
    }

    /// The same for an API that refuses the password somebody has already. None: it is that one, and nothing is used up.
    pub async fn reset_to_another(
        &self,
        asked: &Asked,
        proof: &ResetProof,
        new: Password,
    ) -> Result<Option<Receipt>, Refusal> {
        let (user, _) = refused_alike(Box::pin(self.open_reset(asked, proof))).await?;
        if let Some(credential) = self.store().credential(user).await?
            && self.hasher().verify(new.clone(), Some(credential.hash)).await?.ok
        {
            return Ok(None);
        }
        self.reset_password(asked, proof, new).await.map(Some)
    }

    /// Whether a link would set a new password now. Uses nothing up.
    pub async fn reset_link_opens(&self, asked: &Asked, token: &str) -> Result<bool, Refusal> {
        let proof = ResetProof::Link(token.to_owned());
        match refused_alike(Box::pin(self.open_reset(asked, &proof))).await {
            Ok(_) => Ok(true),
            Err(refusal @ (Refusal::Unavailable { .. } | Refusal::Internal(_))) => Err(refusal),
            Err(_) => Ok(false),
        }
    }

    /// The user and the open request that a link or a code belongs to. Whatever is wrong is one answer.
    async fn open_reset(&self, asked: &Asked, proof: &ResetProof) -> Result<(Uuid, Uuid), Refusal> {
        match proof {
            ResetProof::Link(token) => {
                let token = LinkToken::parse(token).ok_or(Refusal::InvalidToken)?;
                let user = self.requester(&token).await?;
                let unit = self.store().unit(asked.caller.context(Some(user)));
                let (state, _) = unit.load_fresh::<User>(&user.to_string()).await?;
                let now = self.store().now();
                let open = state
                    .open_reset()
                    .filter(|open| open.original == token.request && now < open.expires_at);
                let genuine = |email: &Email| token.is_for(self.store().keyring(), Purpose::ResetPassword, user, email);
                if open.and_then(|open| open.email.as_ref()).is_some_and(genuine) {
                    Ok((user, token.request))
                } else {
                    Err(Refusal::InvalidToken)
                }
            }
            ResetProof::Code { phone, code } => {
                let holder = self.store().found_by(NameKind::Phone, phone.msisdn()).await?;
                let guessed = self.guess(CodePurpose::ResetPassword, holder, code).await;
                if !self.sim_is_settled(phone, guessed.as_ref().ok().copied()).await? {
                    return Err(Refusal::InvalidToken);
                }
                let request = guessed?;
                Ok((holder.ok_or(Refusal::InvalidToken)?, request))
            }
        }
    }
}
