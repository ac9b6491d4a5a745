//! Signing in and recovering by a code that came by SMS, for an API whose contract tells whoever holds a number why a
//! code opens nothing any more, and that takes a code without its number.

use aggregates::user::{Phase, User, UserCommand};
use aggregates::values::{Channel, Phone, SessionMethod};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use projections::{NameKind, Status, UserRow};
use std::net::IpAddr;
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use super::accounts::stage_password;
use super::alike::{Work, answered_at, refused_alike};
use super::codes::CodePurpose;
use super::command::{Asked, Caller};
use super::login::Denial;
use super::opaque::{Keyed, NewKeyed};
use super::reset::Contact;
use super::{Refusal, Registry, SECOND};
use crate::guards::bare::{BURNT, Bound, FROM_ADDRESS, FROM_ALL, Lately};
use crate::guards::network_of;
use crate::passwords::Password;
use crate::store::{GuardKey, Receipt};

/// How long a handle stands for the account that was registered with it, microseconds: as long as its code works.
const HANDLE_LIFE: i64 = 600 * SECOND;
/// How long what was counted matters, microseconds.
const COUNTED: i64 = 86_400 * SECOND;
/// Most live codes among which one is looked for by itself: with more of them a random guess finds somebody's.
const MOST_LIVE: i64 = 1_000;

/// Whose code it is said to be.
#[derive(Debug, Clone)]
pub enum CodeOf {
    /// The account's with this number.
    Number(Phone),
    /// This account's.
    Account(Uuid),
    /// Nobody was named.
    Anybody,
}

/// Somebody whose code was right.
#[derive(Debug)]
pub struct ByCode {
    /// The account after it.
    pub account: UserRow,
    /// A session, if the account may have one.
    pub keyed: Option<Keyed>,
}

/// Why a code without its number was not looked for.
#[derive(Debug)]
pub enum CodeRefusal {
    /// Its number is needed.
    NumberNeeded,
    /// Anything else.
    Refused(Refusal),
}

impl<R: Into<Refusal>> From<R> for CodeRefusal {
    fn from(refusal: R) -> Self {
        Self::Refused(refusal.into())
    }
}

impl Registry {
    /// What a registration hands out beside the code, so that the code need not name its number: whose it is and until
    /// when, with a proof that it was made here.
    #[must_use]
    pub fn handle_of(&self, user: Uuid) -> String {
        let until = self.store().now().plus(HANDLE_LIFE).as_micros().to_be_bytes();
        let proof = self.handle_proof(user, until);
        URL_SAFE_NO_PAD.encode([user.as_bytes().as_slice(), &until, &proof].concat())
    }

    /// The account a handle stands for, while it does.
    #[must_use]
    pub fn handled(&self, handle: &str) -> Option<Uuid> {
        let bytes = URL_SAFE_NO_PAD.decode(handle).ok()?;
        let (user, rest) = bytes.split_at_checked(16)?;
        let (until, proof) = rest.split_at_checked(8)?;
        let (user, until) = (Uuid::from_slice(user).ok()?, until.try_into().ok()?);
        let genuine = bool::from(self.handle_proof(user, until).as_slice().ct_eq(proof));
        (genuine && self.store().now().as_micros() < i64::from_be_bytes(until)).then_some(user)
    }

    fn handle_proof(&self, user: Uuid, until: [u8; 8]) -> [u8; 32] {
        let parts: [&[u8]; 2] = [user.as_bytes(), &until];
        self.store().keyring().fingerprint("verification-handle", &parts)
    }

    /// Uses a code that verifies a number, and signs in with it. An account that is locked is verified and stays
    /// locked.
    pub async fn verify_by_code(&self, asked: &Asked, of: &CodeOf, code: &str) -> Result<ByCode, CodeRefusal> {
        let (user, request) = match of {
            CodeOf::Anybody => self.guess_bare(&asked.caller, code).await?,
            CodeOf::Account(user) => {
                let guess = self.guess_telling(CodePurpose::VerifyPhone, Some(*user), code);
                (*user, refused_alike(Box::pin(guess)).await?)
            }
            CodeOf::Number(phone) => {
                refused_alike(Box::pin(async {
                    let holder = self.store().found_by(NameKind::Phone, phone.msisdn()).await?;
                    let request = self.guess_telling(CodePurpose::VerifyPhone, holder, code).await?;
                    Ok((holder.ok_or(Refusal::InvalidToken)?, request))
                }))
                .await?
            }
        };
        let new = self.new_keyed(asked.caller.dialect, SessionMethod::Verification);
        let (next, at) = (&new, self.store().now());
        let active = std::sync::atomic::AtomicBool::new(false);
        let begun = &active;
        self.command(asked, Some(user), |unit| async move {
            // Of those who use one code at once all but one are too late, and must learn it from the log.
            unit.load_fresh::<User>(&user.to_string()).await?;
            let executed = self
                .decide_user(&unit, asked, user, UserCommand::VerifyPhone { request, at })
                .await?;
            unit.drop_code(request);
            let active = executed.state.phase() == Phase::Active;
            begun.store(active, std::sync::atomic::Ordering::SeqCst);
            if active {
                self.stage_keyed(&unit, user, next).await?;
            }
            Ok(())
        })
        .await?;
        self.by_code(user, new, active.into_inner()).await.map_err(Into::into)
    }

    async fn by_code(&self, user: Uuid, new: NewKeyed, active: bool) -> Result<ByCode, Refusal> {
        Ok(ByCode {
            account: self.user(user).await?,
            keyed: active.then(|| new.handed_to(user)),
        })
    }

    /// Compares a guess with somebody's code, and says of one that comes too late that it does.
    async fn guess_telling(&self, purpose: CodePurpose, user: Option<Uuid>, code: &str) -> Result<Uuid, Refusal> {
        let whose = user.unwrap_or_default();
        let value = self.store().keyring().code(purpose.as_str(), code);
        let now = self.store().now();
        // For nobody the same is read.
        let late = self.store().comes_late(purpose.as_str(), whose, &value, now).await?;
        match self.guess(purpose, user, code).await {
            Err(Refusal::InvalidToken) if late => Err(Refusal::StaleCode),
            told => told,
        }
    }

    /// Looks for a live code of anybody. Every guess is counted before anything is compared, by where it comes from and
    /// in all.
    async fn guess_bare(&self, caller: &Caller, code: &str) -> Result<(Uuid, Uuid), CodeRefusal> {
        let store = self.store();
        let key = |kind: &str, what: &[u8]| store.keyring().fingerprint(kind, &[what]);
        // The bound over all is no rate of somebody's: it holds whatever the configuration says.
        let mut bounds = vec![(key("bare-codes", b""), FROM_ALL)];
        if self.rules().messages.limited
            && let Some(ip) = caller.ip.as_deref().and_then(|ip| ip.parse::<IpAddr>().ok())
        {
            let network = network_of(ip).to_string();
            bounds.push((key("bare-codes-from", network.as_bytes()), FROM_ADDRESS));
        }
        self.count_lately(&bounds).await?;
        let purpose = CodePurpose::VerifyPhone.as_str();
        let now = store.now();
        if store.live_codes(purpose, now, MOST_LIVE + 1).await? > MOST_LIVE {
            return Err(CodeRefusal::NumberNeeded);
        }
        let value = store.keyring().code(purpose, code);
        let found = store.code_by_value(purpose, &value, now).await?;
        match found {
            Some(found) => {
                self.take_back_lately(&bounds).await?;
                Ok(found)
            }
            None => Err(Refusal::InvalidToken.into()),
        }
    }

    /// Counts one under each bound, or none if any of them admits no more.
    async fn count_lately(&self, bounds: &[(GuardKey, Bound)]) -> Result<(), Refusal> {
        let guards: Vec<GuardKey> = bounds.iter().map(|(guard, _)| *guard).collect();
        let now = self.store().now();
        let counted = self
            .store()
            .claim(&guards, now, COUNTED, |states: &mut [Lately]| {
                let mut wait = None;
                for (state, (_, bound)) in states.iter_mut().zip(bounds) {
                    wait = wait.max(state.admits(bound, now.as_micros()).err());
                }
                if wait.is_none() {
                    for state in states.iter_mut() {
                        state.count(now.as_micros());
                    }
                }
                // Also what is refused is written: it may have switched something off.
                Some(wait)
            })
            .await?
            .flatten();
        match counted {
            None => Ok(()),
            Some(retry_after) => Err(Refusal::Denied(Denial::TooManyTries { retry_after })),
        }
    }

    async fn take_back_lately(&self, bounds: &[(GuardKey, Bound)]) -> Result<(), Refusal> {
        let guards: Vec<GuardKey> = bounds.iter().map(|(guard, _)| *guard).collect();
        let now = self.store().now();
        self.store()
            .claim(&guards, now, COUNTED, |states: &mut [Lately]| {
                states.iter_mut().for_each(Lately::take_back);
                Some(())
            })
            .await?;
        Ok(())
    }

    fn burnt(&self, user: Uuid) -> [(GuardKey, Bound); 1] {
        let guard = self
            .store()
            .keyring()
            .fingerprint("burnt-recoveries", &[user.as_bytes()]);
        [(guard, BURNT)]
    }

    /// Remembers that a code was guessed at until it was worth nothing.
    pub(super) async fn note_burnt(&self, user: Uuid) -> Result<(), Refusal> {
        match self.count_lately(&self.burnt(user)).await {
            // It is suspended already.
            Ok(()) | Err(Refusal::Denied(_)) => Ok(()),
            Err(other) => Err(other),
        }
    }

    /// Whether so many codes of an account were burnt lately that it can be recovered by none for now.
    async fn is_suspended(&self, user: Uuid) -> Result<bool, Refusal> {
        let [(guard, bound)] = self.burnt(user);
        let now = self.store().now();
        let mut suspended = false;
        self.store()
            .claim(&[guard], now, COUNTED, |states: &mut [Lately]| {
                suspended = states
                    .first_mut()
                    .is_some_and(|state| state.admits(&bound, now.as_micros()).is_err());
                None::<()>
            })
            .await?;
        Ok(suspended)
    }

    /// Sends the code that helps whoever has a number: to a verified account one that sets a new password, to one that
    /// waits another one that verifies, to a locked or unknown one nothing. Tells nobody which.
    pub async fn request_recovery(&self, asked: &Asked, phone: &Phone) -> Result<(), Refusal> {
        let answer_at = answered_at();
        let holder = self.store().found_by(NameKind::Phone, phone.msisdn()).await?;
        let (registry, phone, whoever) = (self.clone(), phone.clone(), asked.clone());
        let work = |user| -> Work<'static, Receipt> {
            Box::pin(async move {
                let row = registry.store().user(user).await?;
                match row.map(|row| (row.status, row.phone_verified)) {
                    Some((Status::Active, true)) if !registry.is_suspended(user).await? => {
                        registry.send_reset(&whoever, user, &Contact::Phone(phone)).await
                    }
                    Some((Status::Pending, false)) => registry.send_phone_code(&whoever, user, &phone).await,
                    _ => registry.about_nobody(&whoever).await,
                }
            })
        };
        self.alike(asked, answer_at, holder.map(work)).await
    }

    /// Sets a new password with a code, and signs in: every other session ends. A lock stays.
    pub async fn recover_by_code(
        &self,
        asked: &Asked,
        phone: &Phone,
        code: &str,
        new_password: Password,
    ) -> Result<ByCode, Refusal> {
        let (user, original) = refused_alike(Box::pin(async {
            let holder = self.store().found_by(NameKind::Phone, phone.msisdn()).await?;
            let suspended = self.is_suspended(holder.unwrap_or_default()).await?;
            let told = self.guess_telling(CodePurpose::ResetPassword, holder, code).await;
            let settled = self.sim_is_settled(phone, told.as_ref().ok().copied()).await?;
            if suspended || !settled {
                return Err(Refusal::InvalidToken);
            }
            Ok((holder.ok_or(Refusal::InvalidToken)?, told?))
        }))
        .await?;
        let row = self.user(user).await?;
        let weak = self.weaknesses_by(asked.caller.dialect, &new_password, &super::accounts::own(&row));
        if !weak.is_empty() {
            return Err(Refusal::Weak(weak));
        }
        let hash = &self.hasher().hash(new_password).await?;
        let new = self.new_keyed(asked.caller.dialect, SessionMethod::Recovery);
        let active = std::sync::atomic::AtomicBool::new(false);
        let (next, begun) = (&new, &active);
        self.command(asked, Some(user), |unit| async move {
            let (before, _) = unit.load_fresh::<User>(&user.to_string()).await?;
            if !before
                .open_reset()
                .is_some_and(|open| open.channel == Channel::Sms && open.original == original)
            {
                return Err(Refusal::InvalidToken.into());
            }
            let at = self.store().now();
            let executed = self
                .decide_user(&unit, asked, user, UserCommand::ResetPassword { original, at })
                .await?;
            stage_password(&unit, user, (&before, &executed.state), hash.as_str());
            let active = executed.state.phase() == Phase::Active;
            begun.store(active, std::sync::atomic::Ordering::SeqCst);
            if active {
                self.stage_keyed(&unit, user, next).await?;
            }
            Ok(())
        })
        .await?;
        if let Err(problem) = self.forget_tries(user).await {
            // The password is set; who was locked out waits a little longer.
            tracing::warn!(%problem, "failed tries could not be forgotten");
        }
        self.by_code(user, new, active.into_inner()).await
    }
}
