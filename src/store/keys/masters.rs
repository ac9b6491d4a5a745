//! The master keys a process knows: one that wraps, and others that still open or will soon wrap.
//!
//! There are two of them only while one replaces the other. Which one wraps is what the store says, not what this
//! process was given, so that all replicas change over together.

use zeroize::Zeroizing;

use super::{MasterError, MasterKey};
use crate::chance::Chance;

/// Master keys, the one that wraps first.
#[derive(Debug, Clone)]
pub struct Masters {
    current: MasterKey,
    others: Vec<MasterKey>,
}

impl Masters {
    /// Of the keys given, in the order they were given, the one with this id wraps. Given twice counts once.
    pub fn new(given: &[MasterKey], current: &str) -> Result<Self, MasterError> {
        let wrong = || MasterError::Wrong {
            expected: current.to_owned(),
            given: given.first().map_or_else(String::new, |key| key.id().to_owned()),
        };
        let mut others: Vec<MasterKey> = Vec::with_capacity(given.len());
        for key in given {
            if key.id() != current && !others.iter().any(|other| other.id() == key.id()) {
                others.push(key.clone());
            }
        }
        let current = given.iter().find(|key| key.id() == current).ok_or_else(wrong)?;
        Ok(Self {
            current: current.clone(),
            others,
        })
    }

    /// The id of the key that wraps.
    #[must_use]
    pub fn id(&self) -> &str {
        self.current.id()
    }

    /// The key with this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&MasterKey> {
        self.all().find(|key| key.id() == id)
    }

    /// All of them, the one that wraps first.
    pub fn all(&self) -> impl Iterator<Item = &MasterKey> {
        std::iter::once(&self.current).chain(&self.others)
    }

    /// Seals a key under the one that wraps.
    pub fn wrap(&self, place: &str, key: &[u8], chance: &Chance) -> Result<Vec<u8>, MasterError> {
        self.current.wrap(place, key, chance)
    }

    /// Opens what any of them sealed for this place.
    pub fn unwrap(&self, place: &str, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, MasterError> {
        self.all()
            .find_map(|key| key.unwrap(place, wrapped).ok())
            .ok_or(MasterError::Unwrap)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

    use super::*;

    #[test]
    fn the_store_says_which_key_wraps_and_all_of_them_open() {
        let chance = Chance::system();
        let (old, new) = (MasterKey::new([1; 32]), MasterKey::new([2; 32]));
        let before = Masters::new(&[old.clone(), new.clone()], old.id()).unwrap();
        let after = Masters::new(&[old.clone(), new.clone(), old.clone()], new.id()).unwrap();
        assert_eq!(after.all().count(), 2);
        for (wrapping, id) in [(&before, old.id()), (&after, new.id())] {
            assert_eq!(wrapping.id(), id);
            let wrapped = wrapping.wrap("here", b"a key", &chance).unwrap();
            for opening in [&before, &after] {
                assert_eq!(opening.unwrap("here", &wrapped).unwrap().as_slice(), b"a key");
                assert!(matches!(opening.unwrap("there", &wrapped), Err(MasterError::Unwrap)));
            }
        }
    }

    #[test]
    fn a_store_wrapped_by_another_key_is_told_apart_from_a_damaged_one() {
        let given = MasterKey::new([1; 32]);
        let other = MasterKey::new([2; 32]);
        let wrong = Masters::new(std::slice::from_ref(&given), other.id());
        assert!(
            matches!(wrong, Err(MasterError::Wrong { expected, given: id }) if expected == other.id() && id == given.id())
        );
    }
}
