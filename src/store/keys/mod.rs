//! Keys: the master key outside the store, and everything it wraps inside.
//!
//! `master` reads the one key an operator must back up. `ring` holds the keys that all replicas share:
//! the index key (names), the link key (links, codes, derived secrets) and the signing keys. `data` holds
//! the keys that seal what is personal; destroying one of those is what erasing a person means.

mod data;
mod envelope;
mod master;
mod masters;
mod ring;
mod seal;

pub use data::{DataKey, NewDataKey, Scope};
pub use envelope::Enclosed;
pub use master::{MasterError, MasterKey, hex};
pub use masters::Masters;
pub use ring::{KeyKind, Keyring, SigningKey, WrappedKey};
pub use seal::{Seal, SealError, SealedIdentity};

pub(crate) use data::place as place_of_data_key;
pub(crate) use ring::place as place_of_key;
