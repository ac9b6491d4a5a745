//! The keys of access tokens as they are now: one signs, several may verify.
//!
//! A new key is published before it signs, so that whoever verifies tokens elsewhere has fetched it by then, and an old
//! one verifies until the last token it signed has ended. Nobody is told when: each replica looks every few seconds.

use std::sync::{Arc, PoisonError, RwLock};

use aggregates::values::Timestamp;

use super::{Refusal, Registry, SIGNATURES, SetupError};
use crate::keys::SigningKey;
use crate::store::{SIGNED_LIFE, Store};
use crate::tokens::{PublicKey, Signer, Verifier};

/// A signer and a verifier that belong together.
pub(super) struct TokenKeys {
    pub signer: Signer,
    pub verifier: Arc<Verifier>,
    /// Which keys they are made of, the one that signs first.
    kids: Vec<String>,
}

/// The present ones.
pub(super) struct LiveTokenKeys {
    issuer: String,
    live: RwLock<Arc<TokenKeys>>,
}

impl LiveTokenKeys {
    pub fn new(issuer: &str, store: &Store) -> Result<Self, SetupError> {
        let keys = TokenKeys::of(issuer, &store.keyring().signing(), store.now())?;
        Ok(Self {
            issuer: issuer.to_owned(),
            live: RwLock::new(Arc::new(keys)),
        })
    }

    pub fn now(&self) -> Arc<TokenKeys> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether anything changed by it.
    fn renew(&self, store: &Store) -> Result<bool, SetupError> {
        let (keys, now) = (store.keyring().signing(), store.now());
        // Made anew only when it must be: a verifier's memory of signatures goes with it.
        if kids(&keys, now)? == self.now().kids {
            return Ok(false);
        }
        let fresh = TokenKeys::of(&self.issuer, &keys, now)?;
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
        Ok(true)
    }
}

impl TokenKeys {
    fn of(issuer: &str, keys: &[SigningKey], now: Timestamp) -> Result<Self, SetupError> {
        let (signing, accepted) = chosen(keys, now).ok_or(SetupError::Key)?;
        let public = accepted
            .iter()
            .map(|key| PublicKey::of_pkcs8(key.pkcs8()))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            signer: Signer::new(issuer, signing.pkcs8())?,
            verifier: Arc::new(Verifier::new(issuer, &public, SIGNATURES)),
            kids: kids(keys, now)?,
        })
    }
}

/// Of keys ordered by age, the one that signs now and all whose tokens are accepted, that one included.
fn chosen(keys: &[SigningKey], now: Timestamp) -> Option<(&SigningKey, Vec<&SigningKey>)> {
    let signs = |key: &&SigningKey| key.retired_at().is_none_or(|at| at > now);
    let verifies = |key: &&SigningKey| key.retired_at().is_none_or(|at| at.plus(SIGNED_LIFE) > now);
    // The oldest that may: a newer one is still being published.
    let signing = keys.iter().find(signs).or(keys.last())?;
    let mut accepted: Vec<_> = keys.iter().filter(verifies).collect();
    if accepted.is_empty() {
        accepted.push(signing);
    }
    Some((signing, accepted))
}

fn kids(keys: &[SigningKey], now: Timestamp) -> Result<Vec<String>, SetupError> {
    let (signing, accepted) = chosen(keys, now).ok_or(SetupError::Key)?;
    std::iter::once(signing)
        .chain(accepted)
        .map(|key| Ok(PublicKey::of_pkcs8(key.pkcs8())?.kid().to_owned()))
        .collect()
}

/// A signing key as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKeyView {
    /// Its name in token headers and in the JWKS.
    pub kid: String,
    /// What it does now.
    pub state: SigningState,
}

/// What a signing key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningState {
    /// It is published, and another one signs.
    Published,
    /// It signs.
    Signs {
        /// Until when, if its successor is there.
        until: Option<Timestamp>,
    },
    /// It signs no more, and what it signed is still accepted.
    Verifies {
        /// Until when.
        until: Timestamp,
    },
}

/// The signing keys of a store as of now, the oldest first.
pub fn signing_states(store: &Store) -> Result<Vec<SigningKeyView>, SetupError> {
    let (keys, now) = (store.keyring().signing(), store.now());
    let (signing, _) = chosen(&keys, now).ok_or(SetupError::Key)?;
    keys.iter()
        .map(|key| {
            let state = match key.retired_at() {
                until if std::ptr::eq(key, signing) => SigningState::Signs { until },
                Some(at) if at <= now => SigningState::Verifies {
                    until: at.plus(SIGNED_LIFE),
                },
                _ => SigningState::Published,
            };
            let kid = PublicKey::of_pkcs8(key.pkcs8())?.kid().to_owned();
            Ok(SigningKeyView { kid, state })
        })
        .collect()
}

impl Registry {
    /// What verifies access tokens, as of now.
    #[must_use]
    pub fn verifier(&self) -> Arc<Verifier> {
        Arc::clone(&self.inner.token_keys.now().verifier)
    }

    /// Takes over what became of the keys: which master wraps, which key signs and which verify.
    pub async fn renew_keys(&self) -> Result<(), Refusal> {
        self.store().renew_keys().await?;
        let renewed = self.inner.token_keys.renew(self.store());
        if renewed.map_err(|problem| Refusal::Internal(problem.to_string()))? {
            let keys = self.inner.token_keys.now();
            tracing::info!(
                signing = keys.signer.public_key().kid(),
                published = keys.verifier.jwks().keys.len(),
                "the keys of access tokens changed"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

    use super::*;
    use crate::chance::Chance;
    use crate::keys::{Keyring, MasterKey, Masters};

    const MINUTE: i64 = 60_000_000;

    /// Keys made at these minutes, each retired at the minute beside it.
    fn keys(times: &[(i64, Option<i64>)]) -> Arc<[SigningKey]> {
        let (chance, master) = (Chance::system(), MasterKey::new([7; 32]));
        let masters = Masters::new(std::slice::from_ref(&master), master.id()).unwrap();
        let mut rows = Keyring::draw(&master, &chance, Timestamp::from_micros(0)).unwrap();
        rows.retain(|row| row.kind != "signing");
        for (made, retired) in times {
            let mut row = Keyring::draw_signing(&masters, &chance, Timestamp::from_micros(made * MINUTE)).unwrap();
            row.retired_at = retired.map(|minute| minute * MINUTE);
            rows.push(row);
        }
        Keyring::open(&[master], &rows).unwrap().signing()
    }

    fn at(keys: &[SigningKey], minute: i64) -> (i64, Vec<i64>) {
        let made = |key: &SigningKey| key.created_at().as_micros() / MINUTE;
        let (signing, accepted) = chosen(keys, Timestamp::from_micros(minute * MINUTE)).unwrap();
        (made(signing), accepted.into_iter().map(made).collect())
    }

    #[test]
    fn a_new_key_is_published_before_it_signs_and_an_old_one_verifies_while_its_tokens_live() {
        let keys = keys(&[(0, Some(105)), (100, None)]);
        assert_eq!(at(&keys, 100), (0, vec![0, 100]));
        assert_eq!(at(&keys, 104), (0, vec![0, 100]));
        assert_eq!(at(&keys, 105), (100, vec![0, 100]));
        assert_eq!(at(&keys, 124), (100, vec![0, 100]));
        assert_eq!(at(&keys, 125), (100, vec![100]));
    }

    #[test]
    fn two_rotations_in_a_row_take_turns() {
        let keys = keys(&[(0, Some(105)), (100, Some(107)), (102, None)]);
        assert_eq!(at(&keys, 104).0, 0);
        assert_eq!(at(&keys, 106).0, 100);
        assert_eq!(at(&keys, 107), (102, vec![0, 100, 102]));
    }

    #[test]
    fn a_store_whose_only_key_is_retired_signs_with_it_all_the_same() {
        assert_eq!(at(&keys(&[(0, Some(1))]), 1_000), (0, vec![0]));
    }
}
