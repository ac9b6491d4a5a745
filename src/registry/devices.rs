//! Accounts of devices: no address, no number, no password.
//!
//! A device's id is a name and proves nothing, so that whoever reads it off a phone is not let in: the account is opened
//! with a secret of 256 bits, shown once. An operator may do without it, for the clients of old that know only their id.

use aggregates::user::{Phase, Register, User, UserCommand};
use aggregates::values::{DeviceKey, SessionMethod, Standing};
use cqrs_es::Aggregate as _;
use projections::NameKind;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::command::{Asked, Caller, Who};
use super::limits::SIGN_IN;
use super::login::{Denial, TRY_AGAIN};
use super::{Refusal, Registry, SharedPair};
use crate::guards::End;
use crate::keys::hex;
use crate::store::{Secret, SecretKind};
use crate::tokens::{OpaqueKind, OpaqueToken};

/// An account that was opened for a device.
#[derive(Debug)]
pub struct NewDevice {
    /// The account.
    pub user: Uuid,
    /// What the device proves itself with. Shown once.
    pub secret: Zeroizing<String>,
}

/// What a device proves itself with.
#[derive(Debug, Clone, Copy)]
pub enum DeviceProof<'a> {
    /// The secret its account was opened with, if it sent one.
    Secret(Option<&'a str>),
    /// Nothing: an operator lets the id do.
    Bare,
}

impl Registry {
    fn device_key(&self, device: &str) -> Result<DeviceKey, Refusal> {
        let hash = self.store().keyring().fingerprint("device", &[device.as_bytes()]);
        DeviceKey::parse(&hex(&hash)).map_err(|problem| Refusal::Internal(problem.to_string()))
    }

    /// Opens an account for a device.
    pub async fn register_device(&self, asked: &Asked, device: &str) -> Result<NewDevice, Refusal> {
        let key = &self.device_key(device)?;
        if self.store().holder(NameKind::Device, key.as_str()).await?.is_some() {
            return Err(Refusal::Taken(NameKind::Device));
        }
        let secret = OpaqueToken::new(OpaqueKind::Device, self.store().chance().bytes());
        let hash = secret.hash();
        let receipt = self
            .command(asked, None, |unit| async move {
                let at = self.store().now();
                let id = self.store().chance().uuid_v7(at);
                let user = id.to_string();
                unit.is_fresh::<User>(&user);
                unit.owned_by(id);
                let register = Register {
                    dialect: asked.caller.dialect,
                    username: None,
                    email: None,
                    phone: None,
                    device: Some(key.clone()),
                    full_name: None,
                    discoverable: false,
                    position: None,
                    country: None,
                    geo_id: None,
                    boundary: None,
                    locale: None,
                    password: false,
                    standing: Standing::Allowed,
                    verified: false,
                    unverified_life: None,
                    email_request: None,
                    phone_request: None,
                    at,
                };
                unit.execute::<User>(&user, UserCommand::Register(Box::new(register)))
                    .await?;
                unit.secret(Secret {
                    kind: SecretKind::Device,
                    hash,
                    owner: key.as_str().to_owned(),
                    user_id: Some(id),
                    generation: 0,
                    expires_at: None,
                });
                Ok(())
            })
            .await?;
        Ok(NewDevice {
            user: Uuid::parse_str(&receipt.id).map_err(|problem| Refusal::Internal(problem.to_string()))?,
            secret: secret.expose(),
        })
    }

    /// Signs a device in, for shared tokens. Tries are counted before anything is compared, of devices nobody has too.
    pub async fn sign_in_device(
        &self,
        caller: &Caller,
        device: &str,
        proof: DeviceProof<'_>,
    ) -> Result<SharedPair, Refusal> {
        let caller = Caller {
            who: Who::Anonymous,
            ..caller.clone()
        };
        let key = self.device_key(device)?;
        let Some(attempt) = self.begin_try(SIGN_IN, key.as_str().as_bytes()).await? else {
            let retry_after = TRY_AGAIN;
            return Err(Refusal::Denied(Denial::TooManyTries { retry_after }));
        };
        let read = async {
            let holder = self.store().found_by(NameKind::Device, key.as_str()).await?;
            let proved = match proof {
                DeviceProof::Bare => true,
                DeviceProof::Secret(text) => self.is_secret_of(&key, text).await?,
            };
            Ok::<_, Refusal>((holder, proved))
        };
        let (attempt, (holder, proved)) = attempt.unless(read.await).await?;
        let (Some(user), true) = (holder, proved) else {
            attempt.end(End::Wrong).await?;
            return Err(Refusal::Denied(Denial::NoSuchUser));
        };
        let session = self.store().chance().uuid_v7(self.store().now());
        let asked = Asked::plainly(caller);
        let started = self
            .command(&asked, Some(user), |unit| async move {
                let id = user.to_string();
                let (state, version) = unit.load_fresh::<User>(&id).await?;
                if state.phase() != Phase::Active {
                    return Err(Refusal::InvalidCredentials.into());
                }
                unit.guard(User::TYPE, &id, version);
                self.stage_shared(&unit, user, session, SessionMethod::Device).await
            })
            .await;
        match started {
            Ok(_) => attempt.end(End::Right).await?,
            Err(refusal @ Refusal::InvalidCredentials) => {
                attempt.end(End::Wrong).await?;
                return Err(refusal);
            }
            // The proof was right, and the fault is not its bearer's.
            Err(other) => {
                attempt.give_back().await;
                return Err(other);
            }
        }
        self.pair_for(user, session).await
    }

    async fn is_secret_of(&self, key: &DeviceKey, text: Option<&str>) -> Result<bool, Refusal> {
        let Some(Ok(presented)) = text.map(|text| OpaqueToken::parse(OpaqueKind::Device, text)) else {
            return Ok(false);
        };
        let found = self.store().secret(SecretKind::Device, &presented.hash()).await?;
        Ok(found.is_some_and(|secret| secret.owner == key.as_str()))
    }
}
