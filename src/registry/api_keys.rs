//! API keys: made for programs, derived from the event that issued them, never more than their owner.
//!
//! A key is a secret of 256 bits, made by HMAC over the id of its event; only its hash is kept. The same idempotency
//! key therefore gets the same API key once more, though nothing holds it in clear.

use aggregates::user::UserCommand;
use aggregates::values::{ApiKeyName, Role, Timestamp};
use futures::FutureExt as _;
use projections::UserRow;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::command::{Asked, Who};
use super::{Refusal, Registry, SECOND};
use crate::store::{ApiKeyRecord, Receipt, Secret, SecretKind};
use crate::tokens::{OpaqueKind, OpaqueToken};

/// How exactly it is known when a key was last used, microseconds.
const MINUTE: i64 = 60 * SECOND;

/// What a new key is to be.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    /// What its owner calls it.
    pub name: ApiKeyName,
    /// What it may do beyond `user`.
    pub roles: Vec<Role>,
    /// When it stops working; none: never.
    pub expires_at: Option<Timestamp>,
}

/// A key that was made. Shown once.
#[derive(Debug)]
pub struct IssuedKey {
    /// What happened.
    pub receipt: Receipt,
    /// Its id: it is listed and revoked by it.
    pub key_id: Uuid,
    /// The key.
    pub api_key: OpaqueToken,
}

/// Whom a key stands for at this moment.
#[derive(Debug)]
pub struct KeyHolder {
    /// The caller.
    pub who: Who,
    /// The key's owner.
    pub account: UserRow,
}

impl Registry {
    fn api_key(&self, key_id: Uuid) -> OpaqueToken {
        OpaqueToken::new(OpaqueKind::ApiKey, self.store().keyring().derived("api-key", key_id))
    }

    /// Makes a key for an account: one's own, or any by an administrator.
    ///
    /// A key does not make keys: whoever finds one must not be able to keep a way in after it is revoked. With an
    /// administrator's powers that would be no barrier, so there it is none.
    pub async fn issue_api_key(&self, asked: &Asked, owner: Uuid, new: &NewApiKey) -> Result<IssuedKey, Refusal> {
        let caller = &asked.caller;
        if !caller.has(Role::Admin) {
            if caller.user() != Some(owner) {
                return Err(Refusal::NotFound);
            }
            if matches!(caller.who, Who::ApiKey { .. }) {
                return Err(Refusal::Forbidden);
            }
        }
        let key_id = self.store().chance().uuid_v7(self.store().now());
        let hash = self.api_key(key_id).hash();
        let receipt = self
            .command(asked, Some(owner), |unit| async move {
                let command = UserCommand::IssueApiKey {
                    key_id,
                    name: new.name.clone(),
                    roles: new.roles.clone(),
                    expires_at: new.expires_at,
                    at: self.store().now(),
                };
                self.decide_user(&unit, asked, owner, command).await?;
                unit.secret(Secret {
                    kind: SecretKind::ApiKey,
                    hash,
                    owner: key_id.to_string(),
                    user_id: Some(owner),
                    generation: 0,
                    // Its row says when it ends, so that a late caller is told why.
                    expires_at: None,
                });
                Ok(())
            })
            .await?;
        let key_id = self.issued_by(asked, &receipt, key_id).await?;
        Ok(IssuedKey {
            api_key: self.api_key(key_id),
            key_id,
            receipt,
        })
    }

    /// The id of the event a secret derives from: `fresh`, unless the answer is that of an earlier request.
    pub(super) async fn issued_by(&self, asked: &Asked, receipt: &Receipt, fresh: Uuid) -> Result<Uuid, Refusal> {
        if asked.idempotency.is_none() {
            return Ok(fresh);
        }
        // The command led to this one event, so it stands where the receipt says.
        let found = self.store().events_after(receipt.position - 1, 1).await?.pop();
        found
            .filter(|event| event.position == receipt.position && event.aggregate_id == receipt.id)
            .map(|event| event.event_id)
            .ok_or_else(|| Refusal::Internal("a receipt names no event".to_owned()))
    }

    /// Revokes a key: one's own, or any by an administrator. Somebody else's is not found.
    pub async fn revoke_api_key(&self, asked: &Asked, key_id: Uuid) -> Result<Receipt, Refusal> {
        let owner = self.store().owner_of_key(key_id).await?.ok_or(Refusal::NotFound)?;
        if asked.caller.user() != Some(owner) && !asked.caller.has(Role::Admin) {
            return Err(Refusal::NotFound);
        }
        self.command(asked, Some(owner), |unit| async move {
            self.decide_user(&unit, asked, owner, UserCommand::RevokeApiKey { key_id })
                .await?;
            Ok(())
        })
        .await
    }

    /// The keys of an account, newest first: those that work, and the latest of those that did.
    pub async fn api_keys(&self, user: Uuid) -> Result<Vec<ApiKeyRecord>, Refusal> {
        Ok(self.store().api_keys(user).await?)
    }

    /// Whom the bearer of an API key stands for now. None: it is none of ours.
    ///
    /// Key and owner are read on every request: a key that was revoked, or whose owner is locked or out of use, opens
    /// nothing on the very next one, and a role its owner has lost is lost to it.
    pub async fn authenticate_key(&self, text: &str) -> Result<Option<KeyHolder>, Refusal> {
        let Ok(presented) = OpaqueToken::parse(OpaqueKind::ApiKey, text) else {
            return Ok(None);
        };
        let Some(row) = self.store().authenticated_key(&presented.hash()).await? else {
            return Ok(None);
        };
        let now = self.store().now();
        if row.revoked || !row.user.is_in_use() {
            return Err(Refusal::Revoked);
        }
        if row.expires_at.is_some_and(|end| now >= end) {
            return Err(Refusal::Expired);
        }
        let held = &row.user.roles;
        let covered = |role: &Role| held.contains(role) || held.contains(&Role::Admin);
        let roles = row.roles.into_iter().filter(covered).collect();
        self.note_use(row.key_id, now);
        Ok(Some(KeyHolder {
            who: Who::ApiKey {
                key: row.key_id,
                owner: row.user.id,
                roles,
            },
            account: row.user,
        }))
    }

    /// Notes that a key was used, after the answer and at most once a minute.
    fn note_use(&self, key: Uuid, now: Timestamp) {
        let minute = now.as_micros().div_euclid(MINUTE) * MINUTE;
        let uses = &self.inner.key_uses;
        if uses.get(key.as_bytes()) == Some(minute) {
            return;
        }
        uses.insert(*key.as_bytes(), minute);
        let store = self.store().clone();
        self.inner.tasks.spawn(
            async move {
                if let Err(problem) = store.note_key_use(key, Timestamp::from_micros(minute)).await {
                    tracing::warn!(%problem, api_key.id = %key, "the use of an API key was not noted");
                }
            }
            .boxed(),
        );
    }
}

impl IssuedKey {
    /// The key's text, for its owner, once.
    #[must_use]
    pub fn expose(&self) -> Zeroizing<String> {
        self.api_key.expose()
    }
}
