//! The canonical rule for new passwords: long enough, not common, not about its owner.
//!
//! No composition rules, on purpose: they make passwords worse, not better. The list of common
//! passwords is the one zxcvbn ships (MIT licence, 30,000 entries), sorted and embedded, so that a
//! look-up is a binary search in the program's own text and needs neither start-up nor memory.

mod by_contract;
mod own;

pub use self::by_contract::PasswordRule;
pub use self::own::OwnData;
use super::Password;

/// Sorted by bytes, lower case, one a line.
const COMMON: &str = include_str!("common.txt");

/// Words of this product, in which every attacker starts.
const PRODUCT: &[&str] = &["user-registry", "user registry", "registry"];

/// What is left around a word that everyone may know must by itself be as long as a password.
const OWN_PART: usize = 8;

/// One reason why a password may not be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Weakness {
    /// Fewer code points than asked for.
    #[error("is too short: at least {0} characters")]
    TooShort(usize),
    /// Among the first that anyone tries.
    #[error("is one of the most common passwords")]
    Common,
    /// Little more than the username.
    #[error("is too like the username")]
    Username,
    /// Little more than the part of the e-mail address before the `@`.
    #[error("is too like the e-mail address")]
    Email,
    /// Little more than the e-mail domain.
    #[error("is too like the e-mail domain")]
    Domain,
    /// Little more than the phone number.
    #[error("is too like the phone number")]
    Phone,
    /// Little more than the name of this service.
    #[error("is too like the name of this service")]
    Product,
    /// Nothing but digits.
    #[error("is only digits")]
    Numeric,
    /// Too few kinds of characters. Only contracts of old ask for that.
    #[error("has too few kinds of characters")]
    Composition,
}

impl Weakness {
    /// A stable word for programs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::TooShort(_) => "too-short",
            Self::Common => "common-password",
            Self::Username => "contains-username",
            Self::Email => "contains-email",
            Self::Domain => "contains-domain",
            Self::Phone => "contains-phone",
            Self::Product => "contains-product",
            Self::Numeric => "numeric",
            Self::Composition => "composition",
        }
    }
}

/// Every reason against a new password; none means it may be chosen.
#[must_use]
pub fn weaknesses(password: &Password, min_length: usize, own: &OwnData<'_>) -> Vec<Weakness> {
    let folded = fold(password.expose());
    let mut found = Vec::new();
    if password.characters() < min_length {
        found.push(Weakness::TooShort(min_length));
    }
    if is_common(password) {
        found.push(Weakness::Common);
    }
    own.find(&folded, &mut found);
    if PRODUCT.iter().any(|word| is_mostly(&folded, word)) {
        found.push(Weakness::Product);
    }
    found
}

/// Whether anyone would try this password early: it is on the list, or one character, run or listed
/// word over and over.
#[must_use]
pub fn is_common(password: &Password) -> bool {
    let folded = fold(password.expose());
    listed(&folded) || is_run(&folded) || is_repetition(&folded)
}

/// How many passwords the list holds.
#[must_use]
pub fn listed_count() -> usize {
    COMMON.lines().count()
}

fn fold(text: &str) -> zeroize::Zeroizing<String> {
    zeroize::Zeroizing::new(text.to_lowercase())
}

/// Binary search over the lines of the list.
fn listed(word: &str) -> bool {
    let (mut low, mut high) = (0, COMMON.len());
    while low < high {
        let middle = usize::midpoint(low, high);
        let start = COMMON.as_bytes()[..middle]
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |at| at + 1);
        let rest = &COMMON.as_bytes()[start..];
        let line = rest.split(|b| *b == b'\n').next().unwrap_or_default();
        match line.cmp(word.as_bytes()) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => low = start + line.len() + 1,
            std::cmp::Ordering::Greater => high = start,
        }
    }
    false
}

/// `abcdefgh`, `87654321`, `aaaaaaaa`: each step the same.
fn is_run(text: &str) -> bool {
    let mut steps = text
        .chars()
        .zip(text.chars().skip(1))
        .map(|(a, b)| i64::from(u32::from(b)) - i64::from(u32::from(a)));
    steps
        .next()
        .is_some_and(|first| first.abs() <= 1 && steps.all(|step| step == first))
}

/// `abcabcabc`, `passwordpassword`: a short or listed unit over and over.
fn is_repetition(text: &str) -> bool {
    let unit_ends = text
        .char_indices()
        .map(|(at, _)| at)
        .filter(|at| *at > 0 && *at <= text.len() / 2);
    unit_ends.filter(|end| text.len().is_multiple_of(*end)).any(|end| {
        let (unit, rest) = text.split_at(end);
        let weak = unit.chars().count() <= 4 || listed(unit);
        weak && rest.as_bytes().chunks(end).all(|chunk| chunk == unit.as_bytes())
    })
}

/// Whether a word that everyone may know makes up so much of the text that too little remains.
fn is_mostly(text: &str, word: &str) -> bool {
    if word.chars().count() < 4 || !text.contains(word) {
        return false;
    }
    text.split(word)
        .flat_map(str::chars)
        .filter(|c| c.is_alphanumeric())
        .count()
        < OWN_PART
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::parse(text).unwrap()
    }

    fn codes(text: &str) -> Vec<&'static str> {
        let own = OwnData {
            username: Some("Ada.Lovelace"),
            email: Some("ada.byron@mill.example"),
            phone: Some("+441632960123"),
        };
        weaknesses(&password(text), 8, &own)
            .into_iter()
            .map(Weakness::code)
            .collect()
    }

    #[test]
    fn at_least_ten_thousand_common_passwords_are_refused() {
        assert!(listed_count() >= 10_000);
        let long = COMMON.lines().filter(|line| line.len() >= 8).count();
        assert!(long >= 10_000, "{long}");
        for line in COMMON.lines() {
            assert!(is_common(&password(line)), "{line}");
            assert!(is_common(&password(&line.to_uppercase())), "{line}");
        }
    }

    #[test]
    fn the_list_is_sorted_as_the_search_needs_it() {
        assert!(COMMON.as_bytes().is_sorted_by_key(|_| 0));
        assert!(COMMON.lines().is_sorted());
        assert!(COMMON.ends_with('\n'));
    }

    #[test]
    fn what_anyone_would_try_is_refused() {
        for text in [
            "12345678",
            "password",
            "Password1",
            "PASSWORD",
            "aaaaaaaa",
            "abcdefgh",
            "87654321",
            "abcabcabc",
            "passwordpassword",
            "dragondragon",
            "1212121212",
            "\u{ff50}assword",
        ] {
            assert!(codes(text).contains(&"common-password"), "{text}");
        }
    }

    #[test]
    fn a_phrase_of_ones_own_is_accepted() {
        for text in [
            "correct horse battery staple",
            "tr4ctor-blue-42",
            "the registry keeps seven green goats",
            "\u{65e5}\u{672c}\u{8a9e}\u{306e}\u{30d1}\u{30b9}\u{30ef}\u{30fc}\u{30c9}",
            "ada",
        ] {
            assert_eq!(
                codes(text),
                if text == "ada" { vec!["too-short"] } else { vec![] },
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_known_of_the_owner_is_refused_with_its_own_code() {
        assert_eq!(codes("ada.lovelace"), ["contains-username"]);
        assert_eq!(codes("Lovelace1815"), ["contains-username"]);
        assert_eq!(codes("ada.byron!"), ["contains-email"]);
        assert_eq!(codes("xx-mill.example"), ["contains-domain"]);
        assert_eq!(codes("+44 1632 960123"), ["contains-phone"]);
        assert_eq!(codes("01632960123"), ["contains-phone"]);
        assert_eq!(codes("User-Registry1"), ["contains-product"]);
        assert_eq!(codes("registry2026"), ["contains-product"]);
        assert_eq!(codes("lovelace likes difference engines"), Vec::<&str>::new());
    }

    #[test]
    fn short_is_counted_in_characters() {
        assert_eq!(codes("k7\u{f1}qz\u{e9}p"), ["too-short"]);
        assert_eq!(codes("k7\u{f1}qz\u{e9}p4"), Vec::<&str>::new());
    }
}
