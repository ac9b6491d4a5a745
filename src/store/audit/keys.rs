//! The notary's keys: the newest signs, and what older ones signed stays verifiable.

use ring::digest::{SHA256, digest};

use super::note::{NoteError, NoteKey, PublicKey, open, sign};
use crate::keys::{Keyring, hex};

/// The keys of one store's notary.
#[derive(Debug)]
pub struct NotaryKeys {
    keys: Vec<NoteKey>,
    newest: usize,
}

impl NotaryKeys {
    /// Those of a keyring.
    pub fn of(keyring: &Keyring) -> Result<Self, NoteError> {
        let pairs = keyring.notary();
        let first = pairs.first().ok_or(NoteError::Key)?;
        // The log is named by its first key, so that no two stores have one name and nobody needs to choose it.
        let unnamed = NoteKey::of_pkcs8("?", first.pkcs8())?;
        let id = digest(&SHA256, unnamed.public().to_string().as_bytes());
        let name = format!("user-registry/{}", hex(&id.as_ref()[..8]));
        let keys: Vec<NoteKey> = pairs
            .iter()
            .map(|pair| NoteKey::of_pkcs8(&name, pair.pkcs8()))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            newest: keys.len() - 1,
            keys,
        })
    }

    /// The log's name: the origin of its heads.
    #[must_use]
    pub fn name(&self) -> &str {
        self.newest().public().name()
    }

    /// The key that signs.
    #[must_use]
    pub fn newest(&self) -> &NoteKey {
        &self.keys[self.newest]
    }

    /// Every public key, the newest first.
    #[must_use]
    pub fn public(&self) -> Vec<PublicKey> {
        self.keys.iter().rev().map(|key| key.public().clone()).collect()
    }

    /// Signs a text. After a rotation the former key signs once more beside the new one, so that whoever trusts the
    /// former has reason to trust the new.
    #[must_use]
    pub fn sign(&self, text: &str, previous: Option<&str>) -> String {
        let newest = self.newest();
        let rotated = previous.is_some_and(|note| open(note, &[newest.public().clone()]).is_err());
        match self.keys.iter().rev().nth(1).filter(|_| rotated) {
            Some(former) => sign(text, &[newest, former]),
            None => sign(text, &[newest]),
        }
    }
}
