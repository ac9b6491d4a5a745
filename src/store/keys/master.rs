//! The master key: 32 bytes that live outside the store.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use thiserror::Error;
use zeroize::{Zeroize as _, Zeroizing};

use crate::chance::Chance;

/// Wraps every other key. Without it personal data and signing keys are lost.
#[derive(Clone)]
pub struct MasterKey {
    bytes: Zeroizing<[u8; 32]>,
    id: String,
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MasterKey({})", self.id)
    }
}

/// Why there is no usable master key.
#[derive(Debug, Error)]
pub enum MasterError {
    /// The text is not 64 hexadecimal digits.
    #[error("the master key must be 32 bytes written as 64 hexadecimal digits")]
    Form,
    /// The file could not be read or made.
    #[error("the master key file {path} cannot be used: {source}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Others could read the file.
    #[error("the master key file {path} can be read by others; run: chmod 600 {path}")]
    Exposed {
        /// Which file.
        path: String,
    },
    /// The store holds keys, but the file with the master key is gone.
    #[error("the store has a master key already, but {path} does not exist; restore it from your backup")]
    Missing {
        /// Which file.
        path: String,
    },
    /// The command that should print the key failed.
    #[error("the command of keys.master_command failed: {0}")]
    Command(String),
    /// It is another key than the one that wrapped this store's keys.
    #[error("this is not the master key of this store (its keys were wrapped by {expected}, this one is {given})")]
    Wrong {
        /// The id in the store.
        expected: String,
        /// The id of the key given.
        given: String,
    },
    /// Something wrapped does not open: it was damaged or belongs elsewhere.
    #[error("a wrapped key does not open under the master key")]
    Unwrap,
}

impl MasterKey {
    /// A key from its 32 bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        let fingerprint = digest(&SHA256, &[b"user-registry master key id\0".as_slice(), &bytes].concat());
        Self {
            bytes: Zeroizing::new(bytes),
            id: hex(&fingerprint.as_ref()[..8]),
        }
    }

    /// A key from 64 hexadecimal digits; blanks around them do not matter.
    pub fn parse(text: &str) -> Result<Self, MasterError> {
        let mut bytes = [0_u8; 32];
        let text = text.trim().as_bytes();
        if text.len() != 64 {
            return Err(MasterError::Form);
        }
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            let digit = |c: u8| char::from(c).to_digit(16).ok_or(MasterError::Form);
            *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).map_err(|_| MasterError::Form)?;
        }
        let key = Self::new(bytes);
        bytes.zeroize();
        Ok(key)
    }

    /// Reads the key file. Refuses one that others can read.
    pub fn read(path: &Path) -> Result<Option<Self>, MasterError> {
        use std::os::unix::fs::MetadataExt as _;
        let shown = || path.display().to_string();
        let mut file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(MasterError::File { path: shown(), source }),
        };
        let mode = file
            .metadata()
            .map_err(|source| MasterError::File { path: shown(), source })?
            .mode();
        if mode & 0o077 != 0 {
            return Err(MasterError::Exposed { path: shown() });
        }
        let mut text = Zeroizing::new(String::new());
        file.read_to_string(&mut text)
            .map_err(|source| MasterError::File { path: shown(), source })?;
        Self::parse(&text).map(Some)
    }

    /// Makes a key and its file, readable by its owner only.
    ///
    /// Two processes may start at once: the file is linked into place, so both end up with the first one's key.
    pub fn create(path: &Path, chance: &Chance) -> Result<Self, MasterError> {
        let file_error = |source| MasterError::File {
            path: path.display().to_string(),
            source,
        };
        let mut bytes = Zeroizing::new([0_u8; 32]);
        chance.fill(&mut *bytes);
        let text = Zeroizing::new(format!("{}\n", hex(&*bytes)));
        let part = path.with_extension(format!("{}.part", hex(&chance.bytes::<8>())));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&part)
            .map_err(file_error)?;
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(file_error)?;
        let linked = std::fs::hard_link(&part, path);
        std::fs::remove_file(&part).map_err(file_error)?;
        match linked {
            Err(source) if source.kind() != std::io::ErrorKind::AlreadyExists => Err(file_error(source)),
            _ => Self::read(path)?.ok_or_else(|| MasterError::Missing {
                path: path.display().to_string(),
            }),
        }
    }

    /// Names the key without telling anything of it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Seals a key under this one, bound to `place` so that it cannot be moved to another row.
    pub fn wrap(&self, place: &str, key: &[u8], chance: &Chance) -> Result<Vec<u8>, MasterError> {
        let mut nonce = [0_u8; NONCE_LEN];
        chance.fill(&mut nonce);
        let mut sealed = Zeroizing::new(key.to_vec());
        let tag = self
            .aead()?
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(place.as_bytes()),
                sealed.as_mut_slice(),
            )
            .map_err(|_| MasterError::Unwrap)?;
        Ok([nonce.as_slice(), sealed.as_slice(), tag.as_ref()].concat())
    }

    /// Opens what [`wrap`](Self::wrap) sealed for the same place.
    pub fn unwrap(&self, place: &str, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, MasterError> {
        let (nonce, sealed) = wrapped.split_at_checked(NONCE_LEN).ok_or(MasterError::Unwrap)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| MasterError::Unwrap)?;
        let mut bytes = Zeroizing::new(sealed.to_vec());
        let length = self
            .aead()?
            .open_in_place(nonce, Aad::from(place.as_bytes()), bytes.as_mut_slice())
            .map_err(|_| MasterError::Unwrap)?
            .len();
        bytes.truncate(length);
        Ok(bytes)
    }

    fn aead(&self) -> Result<LessSafeKey, MasterError> {
        UnboundKey::new(&AES_256_GCM, &*self.bytes)
            .map(LessSafeKey::new)
            .map_err(|_| MasterError::Unwrap)
    }
}

/// Bytes as hexadecimal digits, in lower case.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing into a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

    use super::*;

    #[test]
    fn a_wrapped_key_opens_only_in_its_own_place_and_under_its_own_master() {
        let chance = Chance::system();
        let master = MasterKey::new([7; 32]);
        let wrapped = master.wrap("link/1", b"secret", &chance).unwrap();
        assert_eq!(master.unwrap("link/1", &wrapped).unwrap().as_slice(), b"secret");
        assert!(master.unwrap("index/1", &wrapped).is_err());
        assert!(MasterKey::new([8; 32]).unwrap("link/1", &wrapped).is_err());
        assert!(master.unwrap("link/1", &wrapped[..10]).is_err());
    }

    #[test]
    fn a_key_file_is_made_once_and_must_not_be_readable_by_others() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        assert!(MasterKey::read(&path).unwrap().is_none());
        let first = MasterKey::create(&path, &Chance::system()).unwrap();
        let second = MasterKey::create(&path, &Chance::system()).unwrap();
        assert_eq!(first.id(), second.id());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(MasterKey::read(&path), Err(MasterError::Exposed { .. })));
    }

    #[test]
    fn only_64_hexadecimal_digits_are_a_key() {
        assert!(MasterKey::parse(&"ab".repeat(32)).is_ok());
        for wrong in ["", "ab", &"zz".repeat(32), &"ab".repeat(33)] {
            assert!(matches!(MasterKey::parse(wrong), Err(MasterError::Form)));
        }
    }
}
