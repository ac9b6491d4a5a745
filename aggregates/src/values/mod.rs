//! The words the aggregates speak: parsed once where they come in, trusted from then on.
//!
//! A type here has private fields and no setter, so holding one proves that its rule was kept. What is
//! about a person prints only its type name in `Debug`, and no error repeats what was typed.

mod boundary;
mod coordinates;
mod country;
mod domain_name;
mod email;
mod keys;
mod locale;
mod phone;
mod standing;
mod text;
mod timestamp;
mod username;
mod words;

pub use boundary::{Boundary, BoundaryError};
pub use coordinates::{Coordinates, CoordinatesError};
pub use country::{Country, CountryError};
pub use domain_name::{DomainName, DomainNameError};
pub use email::{Email, EmailError};
pub use keys::{AddressKey, DeviceKey, KeyError, ProofValue, ProofValueError};
pub use locale::{Locale, LocaleError};
pub use phone::{Phone, PhoneError};
pub use standing::{Rule, RuleKind, Standing};
pub use text::{ApiKeyName, FullName, GeoId, Note, TextError};
pub use timestamp::{Timestamp, TimestampError};
pub use username::{Username, UsernameError};
pub use words::{
    AccountStatus, Channel, DefaultRule, Dialect, EndReason, LockReason, ProfileField, Role, SessionMethod,
    StandingKind, WordError,
};
