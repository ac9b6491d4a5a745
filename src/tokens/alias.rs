//! The name of a session in a token whose form leaves no room for the session's id.
//!
//! The claims of a shared token are fixed by its readers, and its `jti` is a random-looking UUID. So the `jti` is the
//! session's id under a keyed permutation: a Feistel network of four rounds over the 122 bits of a UUID that its version
//! and variant leave free. Nothing need be stored or looked up to find the session again, and nobody without the key can
//! name one, nor turn the name in one token into that of another kind or time.

use uuid::Uuid;

use super::SharedKind;
use crate::keys::Keyring;

/// Half of the 122 bits.
const HALF: u32 = 61;
const MASK: u128 = (1 << HALF) - 1;
const ROUNDS: u8 = 4;

/// What a name is for: the kind of the token and the second of its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    /// The kind of token.
    pub kind: SharedKind,
    /// When it begins, seconds since 1970.
    pub iat: i64,
}

/// The name of a session, a UUID of version 4.
#[must_use]
pub fn alias(keyring: &Keyring, session: Uuid, of: Use) -> Uuid {
    let bits = free_bits(session);
    let (mut left, mut right) = (bits >> HALF, bits & MASK);
    for round in 0..ROUNDS {
        (left, right) = (right, left ^ mixed(keyring, right, of, round));
    }
    with_version((left << HALF) | right, 4)
}

/// The session behind a name: any UUID names one, though hardly one that there is.
#[must_use]
pub fn session_of(keyring: &Keyring, name: Uuid, of: Use) -> Uuid {
    let bits = free_bits(name);
    let (mut left, mut right) = (bits >> HALF, bits & MASK);
    for round in (0..ROUNDS).rev() {
        (left, right) = (right ^ mixed(keyring, left, of, round), left);
    }
    with_version((left << HALF) | right, 7)
}

fn mixed(keyring: &Keyring, half: u128, of: Use, round: u8) -> u128 {
    let mut input = [0_u8; 16];
    input[0] = round;
    input[1] = match of.kind {
        SharedKind::Access => 1,
        SharedKind::Refresh => 2,
    };
    input[2..8].copy_from_slice(&of.iat.to_be_bytes()[2..]);
    input[8..].copy_from_slice(&half.to_be_bytes()[8..]);
    let mac = keyring.derived("session-alias", Uuid::from_bytes(input));
    let mut wide = [0_u8; 16];
    wide.copy_from_slice(&mac[..16]);
    u128::from_be_bytes(wide) & MASK
}

/// A UUID without its version (four bits) and variant (two).
fn free_bits(id: Uuid) -> u128 {
    let bits = id.as_u128();
    ((bits >> 80) << 74) | (((bits >> 64) & 0xfff) << 62) | (bits & ((1 << 62) - 1))
}

fn with_version(bits: u128, version: u128) -> Uuid {
    let (time, fraction, tail) = (bits >> 74, (bits >> 62) & 0xfff, bits & ((1 << 62) - 1));
    Uuid::from_u128((time << 80) | (version << 76) | (fraction << 64) | (0b10 << 62) | tail)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::collections::HashSet;

    use aggregates::values::Timestamp;

    use super::*;
    use crate::chance::Chance;
    use crate::keys::MasterKey;

    fn keyring(seed: u64) -> Keyring {
        let master = MasterKey::new([3; 32]);
        let rows = Keyring::draw(&master, &Chance::seeded(seed), Timestamp::from_micros(0)).unwrap();
        Keyring::open(&[master], &rows).unwrap()
    }

    const ACCESS: Use = Use {
        kind: SharedKind::Access,
        iat: 1_700_000_000,
    };

    #[test]
    fn a_name_leads_back_to_its_session_and_is_of_version_four() {
        let (keyring, chance) = (keyring(1), Chance::seeded(2));
        for micros in 0..200 {
            let session = chance.uuid_v7(Timestamp::from_micros(micros * 7_919));
            let name = alias(&keyring, session, ACCESS);
            assert_eq!(
                (name.get_version_num(), name.get_variant()),
                (4, uuid::Variant::RFC4122)
            );
            assert_eq!(session_of(&keyring, name, ACCESS), session);
        }
    }

    #[test]
    fn a_name_of_one_use_or_key_names_nothing_of_another() {
        let session = Chance::seeded(2).uuid_v7(Timestamp::from_micros(1));
        let refresh = Use {
            kind: SharedKind::Refresh,
            ..ACCESS
        };
        let later = Use {
            iat: ACCESS.iat + 1,
            ..ACCESS
        };
        let mut names = HashSet::new();
        for (seed, of) in [(1, ACCESS), (1, refresh), (1, later), (9, ACCESS)] {
            assert!(names.insert(alias(&keyring(seed), session, of)));
        }
        let name = alias(&keyring(1), session, ACCESS);
        for (seed, of) in [(1, refresh), (1, later), (9, ACCESS)] {
            assert_ne!(session_of(&keyring(seed), name, of), session);
        }
    }
}
