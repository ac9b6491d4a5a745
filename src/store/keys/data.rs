//! Data keys: one per subject and scope, wrapped by the master key, destroyed by erasure.

use std::fmt;

use aggregates::values::{AddressKey, Timestamp};
use zeroize::Zeroizing;

use super::{MasterError, Masters};
use crate::chance::Chance;

/// What a data key covers. Written in `subject_keys.scope`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Everything personal in a user's events.
    Person,
    /// Where requests of one month came from; destroyed by retention.
    Origin {
        /// The year.
        year: i32,
        /// The month, 1 to 12.
        month: u32,
    },
    /// The display form of one blocked address.
    Address(AddressKey),
}

impl Scope {
    /// The origin scope of a moment.
    #[must_use]
    pub fn origin_at(at: Timestamp) -> Self {
        // "2026-11-21T…": the text form is fixed, so the month can be read off it.
        let text = at.to_string();
        let part = |range: std::ops::Range<usize>| text.get(range).and_then(|digits| digits.parse().ok());
        Self::Origin {
            year: part(0..4)
                .and_then(|year: u32| i32::try_from(year).ok())
                .unwrap_or(1970),
            month: part(5..7).unwrap_or(1),
        }
    }

    /// The first moment after the month of an origin scope; the other scopes have no end.
    #[must_use]
    pub fn end(&self) -> Option<Timestamp> {
        let Self::Origin { year, month } = *self else {
            return None;
        };
        let (year, month) = if month < 12 { (year, month + 1) } else { (year + 1, 1) };
        Timestamp::parse(&format!("{year:04}-{month:02}-01T00:00:00Z")).ok()
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person => f.write_str("person"),
            Self::Origin { year, month } => write!(f, "origin-{year:04}-{month:02}"),
            Self::Address(address) => write!(f, "address-{}", address.as_str()),
        }
    }
}

/// A key that seals the personal fields of one subject's events.
#[derive(Clone)]
pub struct DataKey(pub(super) Zeroizing<[u8; 32]>);

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(..)")
    }
}

/// A data key that is not in the store yet: written by the append that first uses it.
#[derive(Debug, Clone)]
pub struct NewDataKey {
    /// Whose.
    pub subject: String,
    /// What it covers.
    pub scope: String,
    /// Sealed under the master key.
    pub wrapped: Vec<u8>,
    /// Which master key.
    pub kek_id: String,
}

impl DataKey {
    /// Draws a key and wraps it.
    pub fn draw(
        subject: &str,
        scope: &str,
        masters: &Masters,
        chance: &Chance,
    ) -> Result<(Self, NewDataKey), MasterError> {
        let mut bytes = Zeroizing::new([0_u8; 32]);
        chance.fill(&mut *bytes);
        let wrapped = masters.wrap(&place(subject, scope), &*bytes, chance)?;
        let new = NewDataKey {
            subject: subject.to_owned(),
            scope: scope.to_owned(),
            wrapped,
            kek_id: masters.id().to_owned(),
        };
        Ok((Self(bytes), new))
    }

    /// Opens a wrapped key of this subject and scope.
    pub fn unwrap(subject: &str, scope: &str, wrapped: &[u8], masters: &Masters) -> Result<Self, MasterError> {
        let bytes = masters.unwrap(&place(subject, scope), wrapped)?;
        let bytes = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| MasterError::Unwrap)?;
        Ok(Self(Zeroizing::new(bytes)))
    }
}

/// What a wrapped data key is bound to.
pub(crate) fn place(subject: &str, scope: &str) -> String {
    format!("subject_keys/{subject}/{scope}")
}
