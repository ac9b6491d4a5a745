//! What may be said of an address: it may be used, or a rule refuses it. [`crate::domain::standing`]
//! works it out.

use serde::{Deserialize, Serialize};

use super::DomainName;

/// What kind of rule decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleKind {
    /// The domain, or a parent with its subdomains, is allowed.
    Allowed,
    /// The domain, or a parent with its subdomains, is blocked.
    Blocked,
    /// The single address is blocked.
    AddressBlocked,
    /// No rule: the configured default.
    Default,
}

impl RuleKind {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Blocked => "blocked",
            Self::AddressBlocked => "address_blocked",
            Self::Default => "default",
        }
    }
}

/// The rule that decided about an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rule {
    /// The domain the rule stands at; for [`RuleKind::Default`] the address's own.
    pub domain: DomainName,
    /// What kind of rule it is.
    pub kind: RuleKind,
    /// The log position of the rule; 0 for the default.
    pub position: i64,
    /// The version of the domain's stream the rule was read at; 0 for the default.
    pub version: i64,
}

/// The verdict on an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It may be used.
    Allowed,
    /// This rule refuses it.
    Refused(Rule),
}
