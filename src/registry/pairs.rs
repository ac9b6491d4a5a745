//! API keys with a client secret beside them: shown or mailed once, derived from their event, kept as hashes.

use aggregates::user::{User, UserCommand};
use aggregates::values::{ApiKeyName, Timestamp};
use uuid::Uuid;

use super::command::Asked;
use super::refusal::Trouble;
use super::shared::domain_of;
use super::{Refusal, Registry, SECOND};
use crate::store::{Secret, SecretKind, Unit};
use crate::tokens::{KeyPair, made_at, shared};

/// What such a key is called in the list of its owner's keys.
const NAME: &str = "AgStack";
/// Longest text that is looked up.
const LONGEST: usize = 4_096;

impl Registry {
    /// Makes a pair for an account; the one before stops working. `mailed`: a mail brings it, beside the answer.
    pub async fn issue_key_pair(&self, asked: &Asked, owner: Uuid, mailed: bool) -> Result<KeyPair, Refusal> {
        let key_id = self.store().chance().uuid_v7(self.store().now());
        self.command(asked, Some(owner), |unit| async move {
            self.stage_key_pair(&unit, asked, owner, (key_id, mailed)).await
        })
        .await?;
        self.key_pair(owner, key_id).await
    }

    /// Stages a pair of this id.
    pub(super) async fn stage_key_pair(
        &self,
        unit: &Unit,
        asked: &Asked,
        owner: Uuid,
        (key_id, mailed): (Uuid, bool),
    ) -> Result<(), Trouble> {
        let (state, _) = unit.load::<User>(&owner.to_string()).await?;
        for (before, _) in state.api_keys().filter(|(_, key)| key.paired && !key.revoked) {
            unit.drop_secrets(&before.to_string());
        }
        let name = ApiKeyName::parse(NAME).map_err(|problem| Refusal::Internal(problem.to_string()))?;
        let command = UserCommand::IssueKeyPair {
            key_id,
            name,
            dialect: asked.caller.dialect,
            mailed,
            expires_at: self.end_of_pair(key_id),
            at: self.store().now(),
        };
        self.decide_user(unit, asked, owner, command).await?;
        let (api_key, client_secret) = self.key_pair(owner, key_id).await?.hashes();
        for (kind, hash) in [
            (SecretKind::PairedKey, api_key),
            (SecretKind::ClientSecret, client_secret),
        ] {
            unit.secret(Secret {
                kind,
                hash,
                owner: key_id.to_string(),
                user_id: Some(owner),
                generation: 0,
                expires_at: self.end_of_pair(key_id),
            });
        }
        Ok(())
    }

    /// When a pair that is made now stops working: so many days after the second its id names.
    fn end_of_pair(&self, key_id: Uuid) -> Option<Timestamp> {
        let made = Timestamp::from_micros(made_at(key_id).saturating_mul(SECOND));
        self.rules().client_secret_life.map(|life| made.plus(life))
    }

    async fn key_pair(&self, owner: Uuid, key_id: Uuid) -> Result<KeyPair, Refusal> {
        let row = self.store().user(owner).await?.ok_or(Refusal::NotFound)?;
        Ok(KeyPair::of(
            self.store().keyring(),
            self.shared()?,
            key_id,
            self.end_of_pair(key_id),
            domain_of(&row),
        ))
    }

    /// Whether an API key and a client secret belong together and open something now.
    pub async fn is_key_pair(&self, api_key: &str, client_secret: &str) -> Result<bool, Refusal> {
        if api_key.len() > LONGEST || client_secret.len() > LONGEST {
            return Ok(false);
        }
        let (key, secret) = (shared::secret_hash(api_key), shared::secret_hash(client_secret));
        let now = self.store().now();
        Ok(self.store().is_key_pair(&key, &secret, now).await?)
    }
}
