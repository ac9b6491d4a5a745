//! What follows for one address from the rules of its domain, of the parents and of the address itself.
//!
//! 1. A blocked single address is refused, whatever its domain says.
//! 2. Else the longest matching domain decides: the exact domain, or the nearest parent whose rule
//!    covers subdomains. Merely observed domains have no rule and are passed over.
//! 3. Else the configured default.
//!
//! *Block beats allow* therefore means: a block of an address beats an allowed domain; a block of the
//! longer domain beats an allowed parent; a block beats the default `allow`; and should two rules ever
//! stand at one and the same domain, the block is taken. It does not mean that a blocked parent
//! silences an exception made for one subdomain: the longer name is the more deliberate rule.

use crate::values::{DefaultRule, DomainName, Rule, RuleKind, Standing, StandingKind};

/// A domain as it is known: the exact one of an address, or a parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: DomainName,
    /// Where it stands.
    pub standing: StandingKind,
    /// Whether the standing covers subdomains.
    pub include_subdomains: bool,
    /// The version of its stream.
    pub version: i64,
    /// The log position of the event that made it stand so.
    pub position: i64,
}

/// The block of a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockedHere {
    /// The version of the stream of its domain.
    pub version: i64,
    /// The log position of the block.
    pub position: i64,
}

/// What was found out about an address: the rule that decided, whichever way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the address may be used.
    pub allowed: bool,
    /// The rule that decided.
    pub rule: Rule,
}

impl Verdict {
    /// The verdict as a command takes it.
    #[must_use]
    pub fn standing(self) -> Standing {
        if self.allowed {
            Standing::Allowed
        } else {
            Standing::Refused(self.rule)
        }
    }
}

/// Decides about an address of `domain`. `known` may hold domains that have nothing to do with it;
/// they are passed over.
#[must_use]
pub fn decide(domain: &DomainName, known: &[Listed], address: Option<BlockedHere>, default: DefaultRule) -> Verdict {
    if let Some(BlockedHere { version, position }) = address {
        let rule = Rule {
            domain: domain.clone(),
            kind: RuleKind::AddressBlocked,
            position,
            version,
        };
        return Verdict { allowed: false, rule };
    }
    let deciding = known
        .iter()
        .filter(|listed| listed.name == *domain || (listed.include_subdomains && domain.is_below(&listed.name)))
        .filter_map(|listed| match listed.standing {
            StandingKind::Allowed => Some((listed, RuleKind::Allowed)),
            StandingKind::Blocked => Some((listed, RuleKind::Blocked)),
            StandingKind::Observed => None,
        })
        // All matches are suffixes of one name, so the longest text is the longest name.
        .max_by_key(|(listed, kind)| (listed.name.as_str().len(), *kind == RuleKind::Blocked));
    match deciding {
        Some((listed, kind)) => Verdict {
            allowed: kind == RuleKind::Allowed,
            rule: Rule {
                domain: listed.name.clone(),
                kind,
                position: listed.position,
                version: listed.version,
            },
        },
        None => Verdict {
            allowed: default == DefaultRule::Allow,
            rule: Rule {
                domain: domain.clone(),
                kind: RuleKind::Default,
                position: 0,
                version: 0,
            },
        },
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

    fn listed(text: &str, standing: StandingKind, include_subdomains: bool) -> Listed {
        let position = i64::try_from(text.len()).unwrap();
        Listed {
            name: name(text),
            standing,
            include_subdomains,
            version: 3,
            position,
        }
    }

    /// The verdict on an address of `mail.farm.example` while unknown domains are allowed.
    fn verdict(known: &[Listed]) -> Verdict {
        decide(&name("mail.farm.example"), known, None, DefaultRule::Allow)
    }

    use StandingKind::{Allowed, Blocked, Observed};

    #[test]
    fn an_unknown_domain_follows_the_default() {
        for (default, allowed) in [(DefaultRule::Allow, true), (DefaultRule::Block, false)] {
            let verdict = decide(&name("farm.example"), &[], None, default);
            let rule = Rule {
                domain: name("farm.example"),
                kind: RuleKind::Default,
                position: 0,
                version: 0,
            };
            assert_eq!(verdict, Verdict { allowed, rule });
        }
    }

    #[test]
    fn the_exact_domain_decides_whether_or_not_it_covers_subdomains() {
        for covers in [true, false] {
            let verdict = verdict(&[listed("mail.farm.example", Blocked, covers)]);
            let rule = Rule {
                domain: name("mail.farm.example"),
                kind: RuleKind::Blocked,
                position: 17,
                version: 3,
            };
            assert_eq!(verdict.standing(), Standing::Refused(rule));
        }
    }

    #[test]
    fn a_parent_decides_only_if_it_covers_subdomains() {
        assert!(!verdict(&[listed("farm.example", Blocked, true)]).allowed);
        assert!(verdict(&[listed("farm.example", Blocked, false)]).allowed);
        assert!(!verdict(&[listed("example", Blocked, true)]).allowed);
    }

    #[test]
    fn a_name_that_only_ends_alike_is_no_parent() {
        let verdict = decide(
            &name("myfarm.example"),
            &[listed("farm.example", Blocked, true)],
            None,
            DefaultRule::Allow,
        );
        assert!(verdict.allowed);
    }

    #[test]
    fn a_subdomain_does_not_decide_for_its_parent() {
        let verdict = decide(
            &name("farm.example"),
            &[listed("mail.farm.example", Blocked, true)],
            None,
            DefaultRule::Allow,
        );
        assert!(verdict.allowed);
    }

    #[test]
    fn the_longest_matching_domain_decides_in_either_direction() {
        let blocked_below = [listed("example", Allowed, true), listed("farm.example", Blocked, true)];
        assert_eq!(verdict(&blocked_below).rule.domain, name("farm.example"));
        assert!(!verdict(&blocked_below).allowed);
        let allowed_below = [listed("farm.example", Allowed, true), listed("example", Blocked, true)];
        assert!(verdict(&allowed_below).allowed);
    }

    #[test]
    fn a_longer_domain_that_does_not_cover_subdomains_is_passed_over() {
        let known = [listed("farm.example", Allowed, false), listed("example", Blocked, true)];
        assert!(!verdict(&known).allowed);
    }

    #[test]
    fn a_merely_observed_domain_is_no_rule() {
        let known = [
            listed("mail.farm.example", Observed, true),
            listed("farm.example", Blocked, true),
        ];
        assert!(!verdict(&known).allowed);
        assert_eq!(verdict(&known[..1]).rule.kind, RuleKind::Default);
    }

    #[test]
    fn an_allowed_domain_beats_the_default_block() {
        let known = [listed("farm.example", Allowed, true)];
        let verdict = decide(&name("mail.farm.example"), &known, None, DefaultRule::Block);
        assert_eq!((verdict.allowed, verdict.rule.kind), (true, RuleKind::Allowed));
        assert_eq!(verdict.standing(), Standing::Allowed);
    }

    #[test]
    fn a_blocked_address_is_refused_whatever_its_domain_says() {
        let known = [listed("mail.farm.example", Allowed, true)];
        let blocked = Some(BlockedHere {
            version: 4,
            position: 9,
        });
        let verdict = decide(&name("mail.farm.example"), &known, blocked, DefaultRule::Allow);
        let rule = Rule {
            domain: name("mail.farm.example"),
            kind: RuleKind::AddressBlocked,
            position: 9,
            version: 4,
        };
        assert_eq!(verdict, Verdict { allowed: false, rule });
    }

    #[test]
    fn should_two_rules_stand_at_one_domain_the_block_is_taken() {
        let allow = listed("farm.example", Allowed, true);
        let block = listed("farm.example", Blocked, true);
        assert!(!verdict(&[allow.clone(), block.clone()]).allowed);
        assert!(!verdict(&[block, allow]).allowed);
    }

    proptest! {
        #[test]
        fn the_order_in_which_rules_are_found_does_not_matter(
            rules in proptest::sample::subsequence(vec!["mail.farm.example", "farm.example", "example", "barn.example"], 0..=4)
                .prop_flat_map(|names| proptest::collection::vec((0..3usize, any::<bool>()), names.len())
                    .prop_map(move |terms| names.iter().zip(terms)
                        .map(|(name, (standing, covers))| listed(name, StandingKind::ALL[standing], covers))
                        .collect::<Vec<_>>()))
        ) {
            let mut backwards = rules.clone();
            backwards.reverse();
            prop_assert_eq!(verdict(&rules), verdict(&backwards));
        }
    }
}
