//! Sealing what waits to be sent: a code on its way to the SMS follower, the address of a last message.
//!
//! The key derives from the link key and the id of what it is for, and stands in no table. It does not depend on a
//! subject's keys, which may be destroyed before the message has left, nor on the master key, which may be replaced.

use uuid::Uuid;
use zeroize::Zeroizing;

use super::{DataKey, Keyring, Seal, SealError, SealedIdentity};
use crate::chance::Chance;

/// What an envelope holds. What was sealed as one kind opens as no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enclosed {
    /// A one-time code, by the event that asked for it.
    Code,
    /// The address of somebody who was erased, by their id.
    Farewell,
}

impl Enclosed {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Farewell => "farewell",
        }
    }
}

impl Keyring {
    /// Seals a text for what has this id.
    pub fn enclose(&self, what: Enclosed, id: Uuid, text: &str, chance: &Chance) -> Result<Vec<u8>, SealError> {
        let sealed = self
            .envelope(what, id)?
            .seal(&identity(what, id), text.as_bytes(), chance)?;
        Ok(sealed.into_bytes())
    }

    /// Opens what [`Keyring::enclose`] made for the same thing.
    pub fn disclose(&self, what: Enclosed, id: Uuid, sealed: &[u8]) -> Result<Zeroizing<String>, SealError> {
        let sealed = std::str::from_utf8(sealed).map_err(|_| SealError::Form)?;
        let plain = self.envelope(what, id)?.open(&identity(what, id), sealed)?;
        let text = std::str::from_utf8(&plain).map_err(|_| SealError::Form)?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    fn envelope(&self, what: Enclosed, id: Uuid) -> Result<Seal, SealError> {
        let key = DataKey(Zeroizing::new(self.derived(&format!("envelope-{}", what.as_str()), id)));
        Seal::new(&key, id, what.as_str())
    }
}

const fn identity(what: Enclosed, id: Uuid) -> SealedIdentity<'static> {
    SealedIdentity {
        aggregate_type: "envelope",
        aggregate_id: "",
        sequence: 0,
        event_type: what.as_str(),
        event_id: id,
        scope: what.as_str(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

    use aggregates::values::Timestamp;

    use super::*;
    use crate::keys::MasterKey;

    #[test]
    fn an_envelope_opens_as_what_it_was_sealed_as_and_nothing_else() {
        let chance = Chance::system();
        let master = MasterKey::new([3; 32]);
        let rows = Keyring::draw(&master, &chance, Timestamp::from_micros(0)).unwrap();
        let keyring = Keyring::open(&[master], &rows).unwrap();
        let (id, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let sealed = keyring.enclose(Enclosed::Code, id, "012345", &chance).unwrap();
        assert!(!sealed.windows(6).any(|part| part == b"012345"));
        assert_eq!(*keyring.disclose(Enclosed::Code, id, &sealed).unwrap(), "012345");
        for (what, id) in [(Enclosed::Code, other), (Enclosed::Farewell, id)] {
            assert_eq!(keyring.disclose(what, id, &sealed).unwrap_err(), SealError::Key);
        }
        assert_eq!(
            keyring.disclose(Enclosed::Code, id, b"\xff").unwrap_err(),
            SealError::Form
        );
    }
}
