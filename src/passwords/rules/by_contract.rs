//! The rules of the APIs whose contracts have their own: each admits the sample password its documents show.

use super::{OwnData, Weakness, fold, is_common, listed, weaknesses};
use crate::passwords::Password;

/// Which passwords an API lets people choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordRule {
    /// Long enough, not common, not about its owner.
    Canonical {
        /// Least length, code points.
        min_length: usize,
    },
    /// Eight characters with a capital letter, a small one and a digit.
    Agstack,
    /// Ten characters of three kinds, not common, not only digits, without its owner's names.
    Cadasta,
    /// Eight characters; its document's own sample is the most common password there is.
    Xhoppe {
        /// Whether common ones are refused all the same.
        reject_common: bool,
    },
    /// Eight characters, not common, not only digits, not one of its owner's names.
    Taxi,
}

impl PasswordRule {
    /// Every reason against a new password.
    #[must_use]
    pub fn weaknesses(self, password: &Password, own: &OwnData<'_>) -> Vec<Weakness> {
        let text = password.expose();
        let folded = fold(text);
        let short = |least: usize| (password.characters() < least).then_some(Weakness::TooShort(least));
        let all_digits = || text.chars().all(|c| c.is_ascii_digit()).then_some(Weakness::Numeric);
        let found: Vec<Option<Weakness>> = match self {
            Self::Canonical { min_length } => return weaknesses(password, min_length, own),
            Self::Agstack => vec![
                short(8),
                (!has(text, char::is_uppercase)
                    || !has(text, char::is_lowercase)
                    || !has(text, |c| c.is_ascii_digit()))
                .then_some(Weakness::Composition),
            ],
            Self::Cadasta => vec![
                short(10),
                listed(&folded).then_some(Weakness::Common),
                all_digits(),
                (kinds(text) < 3).then_some(Weakness::Composition),
                own.local_part()
                    .is_some_and(|local| folded.contains(&*fold(local)))
                    .then_some(Weakness::Email),
                own.username
                    .filter(|name| !name.is_empty())
                    .is_some_and(|name| folded.contains(&*fold(name)))
                    .then_some(Weakness::Username),
            ],
            Self::Xhoppe { reject_common } => vec![
                short(8),
                (reject_common && is_common(password)).then_some(Weakness::Common),
            ],
            Self::Taxi => {
                let is = |name: Option<&str>| name.is_some_and(|name| *folded == *fold(name));
                vec![
                    short(8),
                    all_digits(),
                    // One character over and over is on no list but is found by the same test.
                    is_common(password).then_some(Weakness::Common),
                    is(own.username).then_some(Weakness::Username),
                    (is(own.email) || is(own.local_part())).then_some(Weakness::Email),
                ]
            }
        };
        found.into_iter().flatten().collect()
    }
}

fn has(text: &str, is: impl Fn(char) -> bool) -> bool {
    text.chars().any(is)
}

/// How many of the four kinds occur: small letters, capitals, ASCII punctuation, digits.
fn kinds(text: &str) -> usize {
    let kinds: [fn(char) -> bool; 4] = [
        char::is_lowercase,
        char::is_uppercase,
        |c| c.is_ascii_punctuation(),
        char::is_numeric,
    ];
    kinds.into_iter().filter(|is| has(text, is)).count()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn codes(rule: PasswordRule, text: &str, username: &str, email: &str) -> Vec<&'static str> {
        let own = OwnData {
            username: Some(username),
            email: Some(email),
            phone: None,
        };
        let weak = rule.weaknesses(&Password::parse(text).unwrap(), &own);
        weak.into_iter().map(Weakness::code).collect()
    }

    #[test]
    fn every_documents_own_sample_may_be_chosen() {
        let none: [&str; 0] = [];
        let xhoppe = PasswordRule::Xhoppe { reject_common: false };
        assert_eq!(codes(xhoppe, "12345678", "", ""), none);
        assert_eq!(
            codes(PasswordRule::Taxi, "il1kep1es", "tim1990", "tim.smith12@aol.com"),
            none
        );
        assert_eq!(
            codes(PasswordRule::Cadasta, "iloveyoko79!", "imagine71", "john@beatles.uk"),
            none
        );
    }

    #[test]
    fn cadasta_tells_every_broken_rule_in_the_order_of_its_table() {
        let of = |text: &str| codes(PasswordRule::Cadasta, text, "yoko79", "john@beatles.uk");
        assert_eq!(of("iloveyoko79"), ["composition", "contains-username"]);
        assert_eq!(of("iloveYOKO79!"), ["contains-username"]);
        assert_eq!(of("johnisjustheBest!!"), ["contains-email"]);
        assert_eq!(
            of("12345678"),
            ["too-short", "common-password", "numeric", "composition"]
        );
        assert_eq!(
            codes(PasswordRule::Cadasta, "johnisjustheBest!!", "", ""),
            Vec::<&str>::new()
        );
    }

    #[test]
    fn taxi_refuses_what_its_contract_lists() {
        for text in [
            "12345678",
            "password",
            "short1",
            "aaaaaaaaa",
            "TIM.SMITH12",
            "tim.smith12@AOL.com",
            "Tim1990xx",
        ] {
            let weak = codes(PasswordRule::Taxi, text, "tim1990xx", "tim.smith12@aol.com");
            assert!(!weak.is_empty(), "{text}");
        }
    }

    #[test]
    fn agstack_asks_for_three_kinds() {
        for (text, weak) in [
            ("Abcdefg1", false),
            ("abcdefg1", true),
            ("ABCDEFG1", true),
            ("Abcdefgh", true),
            ("Abcdef1", true),
        ] {
            assert_eq!(!codes(PasswordRule::Agstack, text, "", "").is_empty(), weak, "{text}");
        }
    }

    #[test]
    fn xhoppe_refuses_common_ones_where_it_is_told_to() {
        let strict = PasswordRule::Xhoppe { reject_common: true };
        assert_eq!(codes(strict, "12345678", "", ""), ["common-password"]);
        assert_eq!(codes(strict, "k7fqzep", "", ""), ["too-short"]);
    }
}
