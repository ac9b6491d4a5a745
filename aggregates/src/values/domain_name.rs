//! The name of an internet domain.

use std::fmt;
use std::str::FromStr;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use serde::{Deserialize, Serialize};

use super::text::is_unfit;
use crate::event::facts;

/// A text that names no domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DomainNameError {
    /// It breaks the rules of DNS or of IDNA.
    #[error("a domain is written as names joined by dots, such as farm.example, without a dot at its end")]
    Form,
    /// It is the number of a host.
    #[error("a domain is a name, not an IP address")]
    IpAddress,
}

/// The name of a domain: lower-case A-labels, no dot at the end, no IP address.
///
/// A name of one label is allowed, so that a rule can stand at a whole top-level domain.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DomainName(String);

facts!(DomainName);

impl DomainName {
    /// Reads a name in any case and any script; blanks around it do not count.
    pub fn parse(text: &str) -> Result<Self, DomainNameError> {
        Self::exact(text.trim_matches(' '))
    }

    /// The part of an address after its `@`, which is already known to be a name.
    pub(super) fn of_address(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// Reads a name that has no blanks around it.
    pub(super) fn exact(text: &str) -> Result<Self, DomainNameError> {
        // IDNA would silently drop what cannot be seen; whoever sent it did not mean the plain name.
        if text.chars().any(is_unfit) {
            return Err(DomainNameError::Form);
        }
        // Hyphens are checked at the ends of labels only: names like r3---a.example are in use.
        let name = Uts46::new()
            .to_ascii(
                text.as_bytes(),
                AsciiDenyList::STD3,
                Hyphens::CheckFirstLast,
                DnsLength::Verify,
            )
            .map_err(|_| DomainNameError::Form)?;
        // DNS has no top-level domain of digits alone, so such a name is the number of a host.
        let last = name.rsplit('.').next().unwrap_or_default();
        if last.bytes().all(|b| b.is_ascii_digit()) {
            return Err(DomainNameError::IpAddress);
        }
        Ok(Self(name.into_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The domains this one is a subdomain of, the nearest first: `b.c` and `c` of `a.b.c`.
    pub fn parents(&self) -> impl Iterator<Item = Self> + '_ {
        self.0
            .match_indices('.')
            .map(|(dot, _)| Self(self.0[dot + 1..].to_owned()))
    }

    /// Whether this is a subdomain of `other`.
    #[must_use]
    pub fn is_below(&self, other: &Self) -> bool {
        self.0.strip_suffix(&other.0).is_some_and(|rest| rest.ends_with('.'))
    }

    /// The part that somebody registered (the public suffix and one label), if there is one:
    /// `farm.co.uk` of `mail.farm.co.uk`.
    #[must_use]
    pub fn registrable(&self) -> Option<Self> {
        psl::domain_str(&self.0).map(|name| Self(name.to_owned()))
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DomainName({})", self.0)
    }
}

impl FromStr for DomainName {
    type Err = DomainNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl TryFrom<String> for DomainName {
    type Error = DomainNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<DomainName> for String {
    fn from(name: DomainName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> DomainName {
        DomainName::parse(text).unwrap()
    }

    #[test]
    fn a_name_is_kept_as_lower_case_a_labels() {
        assert_eq!(name(" Farm.EXAMPLE ").as_str(), "farm.example");
        assert_eq!(name("Bücher.example").as_str(), "xn--bcher-kva.example");
        assert_eq!(name("bücher。example"), name("XN--BCHER-KVA.example"));
    }

    #[test]
    fn what_dns_does_not_allow_is_no_name() {
        for text in [
            "",
            ".",
            "a..b",
            "farm.example.",
            ".farm.example",
            "a b.example",
            "a\u{200b}.example",
            "a\u{202e}b.example",
            "a\0.example",
            "a_b.example",
            "-a.example",
            "a-.example",
        ] {
            assert_eq!(DomainName::parse(text), Err(DomainNameError::Form), "{text}");
        }
        assert!(DomainName::parse(&format!("{}.example", "a".repeat(64))).is_err());
        assert!(DomainName::parse(&"a.".repeat(130)).is_err());
    }

    #[test]
    fn the_number_of_a_host_is_no_name() {
        assert_eq!(DomainName::parse("192.0.2.1"), Err(DomainNameError::IpAddress));
        assert!(DomainName::parse("[192.0.2.1]").is_err());
        assert!(DomainName::parse("2001:db8::1").is_err());
    }

    #[test]
    fn the_parents_of_a_name_come_nearest_first() {
        let parents: Vec<_> = name("a.b.c").parents().map(String::from).collect();
        assert_eq!(parents, ["b.c", "c"]);
        assert_eq!(name("c").parents().count(), 0);
    }

    #[test]
    fn only_whole_labels_make_a_subdomain() {
        assert!(name("mail.farm.example").is_below(&name("farm.example")));
        assert!(!name("myfarm.example").is_below(&name("farm.example")));
        assert!(!name("farm.example").is_below(&name("farm.example")));
    }

    #[test]
    fn the_registrable_part_knows_public_suffixes() {
        assert_eq!(name("mail.farm.co.uk").registrable(), Some(name("farm.co.uk")));
        assert_eq!(name("co.uk").registrable(), None);
    }

    proptest! {
        #[test]
        fn a_name_once_taken_is_taken_as_it_is(text in "[a-zäß0-9\\-]{1,8}(\\.[A-Zé0-9]{1,6}){0,3}") {
            if let Ok(name) = DomainName::parse(&text) {
                prop_assert_eq!(DomainName::parse(name.as_str()).unwrap(), name);
            }
        }
    }
}
