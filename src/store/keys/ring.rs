//! The keys that all replicas share, wrapped by the master key in the table `keys`.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use aggregates::values::Timestamp;
use projections::NameKind;
use ring::digest::{SHA256, digest};
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{MasterError, MasterKey, Masters};
use crate::chance::Chance;

/// What a key of the table `keys` is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// Tells whether a master key is the right one.
    Fingerprint,
    /// Names, blocked addresses, requests: keyed hashes that are compared. Never rotates with the master.
    Index,
    /// Links, codes and derived secrets.
    Link,
    /// Access tokens, Ed25519.
    Signing,
    /// Heads of the log, Ed25519.
    Notary,
    /// No key: names, by its id, a master that the store had before. Until it is retired, data keys are being re-wrapped
    /// from it.
    Former,
}

impl KeyKind {
    /// Its name in the table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fingerprint => "fingerprint",
            Self::Index => "index",
            Self::Link => "link",
            Self::Signing => "signing",
            Self::Notary => "notary",
            Self::Former => "former",
        }
    }
}

/// One row of the table `keys`.
#[derive(Debug, Clone)]
pub struct WrappedKey {
    /// What it is for.
    pub kind: String,
    /// Which of its kind.
    pub kid: String,
    /// Sealed under the master key.
    pub wrapped: Vec<u8>,
    /// Which master key.
    pub kek_id: String,
    /// When it was made, microseconds since 1970.
    pub created_at: i64,
    /// Since when it only verifies, microseconds since 1970.
    pub retired_at: Option<i64>,
}

/// The opened keys of a store.
#[derive(Clone)]
pub struct Keyring {
    inner: Arc<Opened>,
}

struct Opened {
    index: hmac::Key,
    link: hmac::Key,
    live: RwLock<Live>,
}

/// What may be replaced while the process runs.
struct Live {
    masters: Arc<Masters>,
    signing: Arc<[SigningKey]>,
    notary: Arc<[SigningKey]>,
    rewrapping: bool,
}

impl Live {
    fn new(masters: Masters, rows: &[WrappedKey]) -> Result<Self, MasterError> {
        Ok(Self {
            signing: pairs(KeyKind::Signing, &masters, rows)?,
            notary: pairs(KeyKind::Notary, &masters, rows)?,
            rewrapping: rows.iter().any(|row| {
                let under_way = row.kind == KeyKind::Former.as_str() && row.retired_at.is_none();
                // Somebody who had not heard of the new master may have added one, however late.
                under_way || row.kek_id != masters.id()
            }),
            masters: Arc::new(masters),
        })
    }
}

/// A signing key as PKCS#8, and its time.
#[derive(Clone)]
pub struct SigningKey {
    pkcs8: Zeroizing<Vec<u8>>,
    created_at: Timestamp,
    retired_at: Option<Timestamp>,
}

impl SigningKey {
    /// The key, as ring reads it.
    #[must_use]
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// When it was made, and since when it is published.
    #[must_use]
    pub const fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// Since when it only verifies; this may lie ahead.
    #[must_use]
    pub const fn retired_at(&self) -> Option<Timestamp> {
        self.retired_at
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(made {}, retired {:?})", self.created_at, self.retired_at)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring(master {})", self.masters().id())
    }
}

impl Keyring {
    /// The rows of a new store: one key of every kind.
    pub fn draw(master: &MasterKey, chance: &Chance, now: Timestamp) -> Result<Vec<WrappedKey>, MasterError> {
        let mut rows = Vec::new();
        let mut row = |kind: KeyKind, kid: String, key: &[u8]| -> Result<(), MasterError> {
            rows.push(WrappedKey {
                wrapped: master.wrap(&place(kind.as_str(), &kid), key, chance)?,
                kind: kind.as_str().to_owned(),
                kid,
                kek_id: master.id().to_owned(),
                created_at: now.as_micros(),
                retired_at: None,
            });
            Ok(())
        };
        row(KeyKind::Fingerprint, "1".into(), b"user-registry")?;
        for kind in [KeyKind::Index, KeyKind::Link] {
            let mut key = Zeroizing::new([0_u8; 32]);
            chance.fill(&mut *key);
            row(kind, "1".into(), &*key)?;
        }
        let masters = Masters::new(std::slice::from_ref(master), master.id())?;
        rows.push(Self::draw_signing(&masters, chance, now)?);
        rows.push(Self::draw_notary(1, &masters, chance, now)?);
        Ok(rows)
    }

    /// A new key that signs heads of the log, the so manieth of this store. Of two processes that draw the first key of
    /// a store at once, one number lets only one of them in.
    pub fn draw_notary(
        number: u32,
        masters: &Masters,
        chance: &Chance,
        now: Timestamp,
    ) -> Result<WrappedKey, MasterError> {
        let mut seed = Zeroizing::new([0_u8; 32]);
        chance.fill(&mut *seed);
        wrapped_seed(KeyKind::Notary, number.to_string(), &seed, masters, chance, now)
    }

    /// A new key that signs access tokens.
    pub fn draw_signing(masters: &Masters, chance: &Chance, now: Timestamp) -> Result<WrappedKey, MasterError> {
        let mut seed = Zeroizing::new([0_u8; 32]);
        chance.fill(&mut *seed);
        let pair = Ed25519KeyPair::from_seed_unchecked(&*seed).map_err(|_| MasterError::Unwrap)?;
        let kid = super::master::hex(&digest(&SHA256, pair.public_key().as_ref()).as_ref()[..8]);
        wrapped_seed(KeyKind::Signing, kid, &seed, masters, chance, now)
    }

    /// The row that says that `masters`' data keys are being re-wrapped from the one with this id.
    pub fn former(masters: &Masters, former: &str, chance: &Chance, now: Timestamp) -> Result<WrappedKey, MasterError> {
        let kind = KeyKind::Former.as_str();
        Ok(WrappedKey {
            wrapped: masters.wrap(&place(kind, former), b"", chance)?,
            kind: kind.to_owned(),
            kid: former.to_owned(),
            kek_id: masters.id().to_owned(),
            created_at: now.as_micros(),
            retired_at: None,
        })
    }

    /// Opens the keys of a store with the master keys this process was given. That none of them wraps this store's
    /// keys is [`MasterError::Wrong`].
    pub fn open(given: &[MasterKey], rows: &[WrappedKey]) -> Result<Self, MasterError> {
        let masters = masters(given, rows)?;
        let one = |kind: KeyKind| -> Result<hmac::Key, MasterError> {
            let row = rows
                .iter()
                .find(|row| row.kind == kind.as_str())
                .ok_or(MasterError::Unwrap)?;
            Ok(hmac::Key::new(hmac::HMAC_SHA256, &open(&masters, row)?))
        };
        Ok(Self {
            inner: Arc::new(Opened {
                index: one(KeyKind::Index)?,
                link: one(KeyKind::Link)?,
                live: RwLock::new(Live::new(masters, rows)?),
            }),
        })
    }

    /// Takes over what became of the keys since they were opened: which master wraps, and which keys sign.
    pub fn renew(&self, given: &[MasterKey], rows: &[WrappedKey]) -> Result<(), MasterError> {
        let masters = masters(given, rows)?;
        let live = Live::new(masters, rows)?;
        *self.inner.live.write().unwrap_or_else(PoisonError::into_inner) = live;
        Ok(())
    }

    /// The master keys, for data keys.
    #[must_use]
    pub fn masters(&self) -> Arc<Masters> {
        let live = self.inner.live.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&live.masters)
    }

    /// Whether keys may still be wrapped by a former master.
    #[must_use]
    pub fn is_rewrapping(&self) -> bool {
        self.inner
            .live
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .rewrapping
    }

    /// The signing keys, the oldest first.
    #[must_use]
    pub fn signing(&self) -> Arc<[SigningKey]> {
        let live = self.inner.live.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&live.signing)
    }

    /// The keys that signed heads of the log, the oldest first; the last one signs.
    #[must_use]
    pub fn notary(&self) -> Arc<[SigningKey]> {
        let live = self.inner.live.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&live.notary)
    }

    /// The keyed hash a name is found by.
    #[must_use]
    pub fn name(&self, kind: NameKind, canonical: &str) -> [u8; 32] {
        mac(
            &self.inner.index,
            &[b"name", kind.as_str().as_bytes(), canonical.as_bytes()],
        )
    }

    /// The keyed hash of anything else that is only compared, such as a request or a guard.
    #[must_use]
    pub fn fingerprint(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut all = vec![b"fingerprint".as_slice(), purpose.as_bytes()];
        all.extend_from_slice(parts);
        mac(&self.inner.index, &all)
    }

    /// The part of a link that proves it was made here: over purpose, user, address and request event.
    #[must_use]
    pub fn link(&self, purpose: &str, user: Uuid, address: &str, request: Uuid) -> [u8; 32] {
        mac(
            &self.inner.link,
            &[
                b"link",
                purpose.as_bytes(),
                user.as_bytes(),
                address.as_bytes(),
                request.as_bytes(),
            ],
        )
    }

    /// The keyed hash a one-time code is kept as.
    #[must_use]
    pub fn code(&self, purpose: &str, code: &str) -> [u8; 32] {
        mac(&self.inner.link, &[b"code", purpose.as_bytes(), code.as_bytes()])
    }

    /// A secret that derives from the event that issued it.
    #[must_use]
    pub fn derived(&self, purpose: &str, event_id: Uuid) -> [u8; 32] {
        mac(&self.inner.link, &[b"secret", purpose.as_bytes(), event_id.as_bytes()])
    }
}

/// The master keys given, with the one that wraps this store's keys first. Every row must open under one of them.
fn masters(given: &[MasterKey], rows: &[WrappedKey]) -> Result<Masters, MasterError> {
    // The fingerprint is re-wrapped together with the rest, so it tells which master is the current one.
    let current = rows
        .iter()
        .find(|row| row.kind == KeyKind::Fingerprint.as_str())
        .ok_or(MasterError::Unwrap)?;
    let masters = Masters::new(given, &current.kek_id)?;
    match rows.iter().find(|row| masters.get(&row.kek_id).is_none()) {
        Some(row) => Err(MasterError::Wrong {
            expected: row.kek_id.clone(),
            given: masters.id().to_owned(),
        }),
        None => Ok(masters),
    }
}

fn open(masters: &Masters, row: &WrappedKey) -> Result<Zeroizing<Vec<u8>>, MasterError> {
    masters.unwrap(&place(&row.kind, &row.kid), &row.wrapped)
}

/// The pairs of keys of a kind, the oldest first.
fn pairs(kind: KeyKind, masters: &Masters, rows: &[WrappedKey]) -> Result<Arc<[SigningKey]>, MasterError> {
    let mut rows: Vec<&WrappedKey> = rows.iter().filter(|row| row.kind == kind.as_str()).collect();
    rows.sort_by_key(|row| (row.created_at, row.kid.clone()));
    rows.into_iter()
        .map(|row| {
            Ok(SigningKey {
                pkcs8: open(masters, row)?,
                created_at: Timestamp::from_micros(row.created_at),
                retired_at: row.retired_at.map(Timestamp::from_micros),
            })
        })
        .collect()
}

/// HMAC-SHA-256 over parts that each carry their length, so that no two lists of parts collide.
fn mac(key: &hmac::Key, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut output = [0_u8; 32];
    output.copy_from_slice(context.sign().as_ref());
    output
}

/// What a wrapped key of the table `keys` is bound to.
pub(crate) fn place(kind: &str, kid: &str) -> String {
    format!("keys/{kind}/{kid}")
}

/// A new key pair as a row of the table `keys`.
fn wrapped_seed(
    kind: KeyKind,
    kid: String,
    seed: &[u8; 32],
    masters: &Masters,
    chance: &Chance,
    now: Timestamp,
) -> Result<WrappedKey, MasterError> {
    let kind = kind.as_str();
    Ok(WrappedKey {
        wrapped: masters.wrap(&place(kind, &kid), &pkcs8_of(seed), chance)?,
        kind: kind.to_owned(),
        kid,
        kek_id: masters.id().to_owned(),
        created_at: now.as_micros(),
        retired_at: None,
    })
}

/// RFC 8410: `OneAsymmetricKey` version 1 of an Ed25519 seed.
fn pkcs8_of(seed: &[u8; 32]) -> Zeroizing<Vec<u8>> {
    const PREFIX: [u8; 16] = [
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
    ];
    Zeroizing::new([PREFIX.as_slice(), seed].concat())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

    use super::*;

    #[test]
    fn a_store_opens_with_its_own_master_key_only() {
        let chance = Chance::system();
        let master = MasterKey::new([1; 32]);
        let rows = Keyring::draw(&master, &chance, Timestamp::from_micros(1)).unwrap();
        let ring = Keyring::open(&[master], &rows).unwrap();
        assert_eq!((ring.signing().len(), ring.notary().len()), (1, 1));
        let wrong = Keyring::open(&[MasterKey::new([2; 32])], &rows);
        assert!(matches!(wrong, Err(MasterError::Wrong { .. })));
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[0; 32]);
        assert_ne!(mac(&key, &[b"ab", b"c"]), mac(&key, &[b"a", b"bc"]));
    }
}
