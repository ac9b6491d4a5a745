//! Which events somebody wants to hear of: `user.*,domain.blocked`.

use std::str::FromStr;

use super::kinds::KINDS;

/// A list of patterns that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Two commas in a row, or nothing at all.
    #[error("must be a list such as user.*,domain.blocked")]
    Empty,
    /// One that no event could ever have.
    #[error("names a type that no event has: types are such as user.registered, and user.* stands for all of user")]
    Unknown,
}

/// A choice among the kinds of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Types {
    /// For each kind, in the order of [`KINDS`], whether it is wanted.
    wanted: Vec<bool>,
}

impl Default for Types {
    /// All of them.
    fn default() -> Self {
        Self {
            wanted: vec![true; KINDS.len()],
        }
    }
}

impl Types {
    /// Whether every kind is wanted.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.wanted.iter().all(|wanted| *wanted)
    }

    /// Whether an event of this type is wanted.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        KINDS
            .iter()
            .zip(&self.wanted)
            .any(|(kind, wanted)| *wanted && kind.name == name)
    }

    /// The types that are wanted.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        KINDS
            .iter()
            .zip(&self.wanted)
            .filter(|(_, wanted)| **wanted)
            .map(|(kind, _)| kind.name)
    }
}

impl FromStr for Types {
    type Err = PatternError;

    /// A type by its name, all of one group by `group.*`, or all by `*`; several with commas between them. One that
    /// stands for no kind is a mistake: whoever waits for it would wait for ever.
    fn from_str(text: &str) -> Result<Self, PatternError> {
        let mut wanted = vec![false; KINDS.len()];
        for pattern in text.split(',') {
            if pattern.is_empty() {
                return Err(PatternError::Empty);
            }
            let mut known = false;
            for (kind, wanted) in KINDS.iter().zip(&mut wanted) {
                if stands_for(pattern, kind.name) {
                    (known, *wanted) = (true, true);
                }
            }
            if !known {
                return Err(PatternError::Unknown);
            }
        }
        Ok(Self { wanted })
    }
}

fn stands_for(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix(".*") {
        Some(group) => name.split_once('.').is_some_and(|(of, _)| of == group),
        None => pattern == "*" || pattern == name,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<&'static str> {
        text.parse::<Types>().unwrap().names().collect()
    }

    #[test]
    fn a_pattern_is_a_type_a_group_or_everything() {
        assert_eq!(names("domain.blocked"), ["domain.blocked"]);
        assert_eq!(names("session.*").len(), 5);
        assert_eq!(
            names("audit.*,user.locked,user.locked"),
            ["user.locked", "audit.history_read", "audit.users_listed"]
        );
        assert!("*".parse::<Types>().unwrap().is_all());
        assert!("user.*,session.*,domain.*,audit.*".parse::<Types>().unwrap().is_all());
        assert!(Types::default().is_all());
    }

    #[test]
    fn a_type_matches_by_its_whole_name() {
        let types: Types = "user.email_verified,domain.*".parse().unwrap();
        assert!(types.matches("user.email_verified") && types.matches("domain.proved"));
        assert!(!types.matches("user.email_verification_requested") && !types.matches("user.registered"));
        assert!(!types.matches("domain.") && !types.matches("") && !types.matches("domain.invented"));
    }

    #[test]
    fn a_pattern_for_nothing_is_a_mistake() {
        for text in ["", ",", "user.*,", "user.*,,domain.*"] {
            assert_eq!(text.parse::<Types>(), Err(PatternError::Empty), "{text}");
        }
        for text in [
            "users.*",
            "user",
            "user.",
            ".*",
            "*.*",
            "user.*.*",
            "User.*",
            "user.regi*",
            " user.*",
            "user.gone",
        ] {
            assert_eq!(text.parse::<Types>(), Err(PatternError::Unknown), "{text}");
        }
    }
}
