//! What an account is found by: the start of its username, address or number, or of a word of its name.
//!
//! Words are folded: NFKC, then lower case. A name is split at white space; a part with something other than letters
//! and digits in it, such as `O'Neil-Smith`, counts as a whole and in its pieces. Every word of a name of 130 characters
//! counts, and all of it. Only NFKC makes more of a name, of a character such as `㍍`: [`MOST_WORDS`] and [`LONGEST_WORD`]
//! bound what it can make. Usernames, addresses and numbers count in full.

use std::collections::{BTreeMap, BTreeSet};

use aggregates::values::Timestamp;
use unicode_normalization::UnicodeNormalization as _;
use uuid::Uuid;

use crate::UserRow;

/// How many words of a name count: more than 130 characters make, as typed. `a-b`, with the space behind it, makes three
/// of four characters.
pub const MOST_WORDS: usize = 100;
/// How many characters of each.
pub const LONGEST_WORD: usize = 256;
/// So many words are searched for at once at most.
pub const MOST_ASKED: usize = 16;
/// By how many words one account is found at most: those of its name, its username, address and number, and the number
/// as it was registered in two spellings.
pub const WORDS_OF_ONE: usize = MOST_WORDS + 5;

/// A word that finds an account, with what lists of accounts are sorted by: who is found, and in which order, is told
/// without a look at the accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WordRow {
    /// The account.
    pub user_id: Uuid,
    /// The word, folded.
    pub word: String,
    /// When the account was made.
    pub created_at: Timestamp,
    /// Its username by which lists are sorted.
    pub username: String,
}

/// The username by which lists are sorted: `A` to `Z` in lower case; without one, empty.
#[must_use]
pub fn sorted_username(row: &UserRow) -> String {
    row.username.as_deref().unwrap_or_default().to_ascii_lowercase()
}

/// What two spellings of one word have in common.
fn folded(text: &str) -> String {
    let lower = text.nfkc().collect::<String>().to_lowercase();
    lower.nfkc().filter(|c| !c.is_control()).collect()
}

/// The words that find an account.
#[must_use]
pub fn words_of(row: &UserRow) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    if let Some(name) = &row.full_name {
        for word in words_of_name(name) {
            if words.len() == MOST_WORDS {
                break;
            }
            words.insert(word);
        }
    }
    let names = [&row.username, &row.email_canonical, &row.phone];
    words.extend(names.into_iter().flatten().map(|name| folded(name)));
    // Shown is the number as it was registered; most are registered as they are kept.
    if let Some(registered) = row
        .phone_registered
        .as_ref()
        .filter(|_| row.phone_registered != row.phone)
    {
        let digits: String = registered.chars().filter(char::is_ascii_digit).collect();
        words.insert(format!("+{digits}"));
        words.insert(digits);
    }
    words
}

/// The same as rows, by word.
#[must_use]
pub fn word_rows(row: &UserRow) -> BTreeMap<String, WordRow> {
    let username = sorted_username(row);
    let of = |word: String| WordRow {
        user_id: row.id,
        word,
        created_at: row.created_at,
        username: username.clone(),
    };
    words_of(row).into_iter().map(|word| (word.clone(), of(word))).collect()
}

/// Whether two states of an account may be found by different words, or in another order.
#[must_use]
pub fn words_differ(one: &UserRow, other: &UserRow) -> bool {
    one.username != other.username
        || one.created_at != other.created_at
        || one.email_canonical != other.email_canonical
        || one.phone != other.phone
        || one.phone_registered != other.phone_registered
        || one.full_name != other.full_name
}

fn words_of_name(name: &str) -> Vec<String> {
    let name = folded(name);
    let mut words = Vec::new();
    for part in name.split_whitespace() {
        let part = part.trim_matches(|c: char| !c.is_alphanumeric());
        let pieces: Vec<&str> = part
            .split(|c: char| !c.is_alphanumeric())
            .filter(|piece| !piece.is_empty())
            .collect();
        if pieces.len() > 1 {
            words.push(part);
        }
        words.extend(pieces);
    }
    words
        .into_iter()
        .map(|word| word.chars().take(LONGEST_WORD).collect())
        .collect()
}

/// The words somebody searches for: an account is found if each is the start of one of its own. None: there is
/// nothing to search for. More than [`MOST_ASKED`] are for whoever asks to refuse.
///
/// A number may be typed with spaces, brackets and dashes.
#[must_use]
pub fn words_asked(text: &str) -> Vec<String> {
    let text = folded(text);
    let is_number = text.trim_start().starts_with('+')
        && text
            .chars()
            .all(|c| c.is_ascii_digit() || c.is_whitespace() || "+-()./".contains(c));
    if is_number {
        let digits = text.chars().filter(char::is_ascii_digit);
        return vec![std::iter::once('+').chain(digits).collect()];
    }
    let words: BTreeSet<&str> = text.split_whitespace().collect();
    words.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::adas_row;

    fn named(name: &str) -> UserRow {
        UserRow {
            full_name: Some(name.to_owned()),
            username: None,
            email_canonical: None,
            phone: None,
            phone_registered: None,
            ..adas_row()
        }
    }

    fn found(row: &UserRow, q: &str) -> bool {
        let (words, asked) = (words_of(row), words_asked(q));
        !asked.is_empty()
            && asked
                .iter()
                .all(|q| words.iter().any(|word| word.starts_with(q.as_str())))
    }

    #[test]
    fn a_name_is_found_by_the_start_of_any_of_its_words() {
        let row = named("Ｊoan  Ó'Néil-Smith (née Mill)");
        for q in ["joan", "JO", "ó'n", "néil", "smith", "ó'néil-sm", "née", "mill jo"] {
            assert!(found(&row, q), "{q}");
        }
        for q in ["mith", "neil", "joan x", "(", "-", " "] {
            assert!(!found(&row, q), "{q}");
        }
    }

    #[test]
    fn a_number_is_found_however_it_is_typed() {
        let row = UserRow {
            phone: Some("+6584932466".to_owned()),
            ..named("Joan")
        };
        for q in ["+65 8493", "+65-(8493)-24", "+6584932466"] {
            assert!(found(&row, q), "{q}");
        }
        assert!(!found(&row, "+66"));
    }

    #[test]
    fn a_number_is_found_as_it_was_registered_too() {
        let row = UserRow {
            phone: Some("+6584932466".to_owned()),
            phone_registered: Some("8493 2466".to_owned()),
            ..named("Joan")
        };
        for q in ["84932466", "8493", "+8493-2466", "+65 8493"] {
            assert!(found(&row, q), "{q}");
        }
        let alike = UserRow {
            phone_registered: row.phone.clone(),
            ..row.clone()
        };
        assert!(!found(&alike, "8493") && words_differ(&row, &alike));
        let most: Vec<String> = (0..MOST_WORDS).map(|n| format!("w{n:02}")).collect();
        let row = UserRow {
            full_name: Some(most.join(" ")),
            username: Some("joan".to_owned()),
            email_canonical: Some("joan@farm.example".to_owned()),
            ..row
        };
        assert_eq!(words_of(&row).len(), WORDS_OF_ONE);
    }

    #[test]
    fn every_word_of_a_long_name_counts_and_all_of_a_long_word() {
        // What fills a name with words.
        let many: Vec<String> = ('a'..='z').zip('a'..).map(|(a, b)| format!("{a}-{b}{a}")).collect();
        let full = many.join(" ");
        assert_eq!(full.chars().count(), 129);
        let row = named(&full);
        for q in ["a", "z", "zz", "z-zz", "y-yy", &many[..MOST_ASKED].join(" ")] {
            assert!(found(&row, q), "{q}");
        }
        let long = format!("{}th", "é".repeat(128));
        for q in [long.as_str(), "é", &"é".repeat(33)] {
            assert!(found(&named(&long), q), "{q}");
        }
        assert!(!found(&named(&long), &"é".repeat(129)));
        // NFKC makes `(1)` of one character, and six of another.
        let row = named(&('⑴'..='⒵').chain('㈀'..='㉃').collect::<String>());
        assert_eq!(words_of(&row).len(), MOST_WORDS);
        let row = named(&"㌖".repeat(130));
        let cut: String = "キロメートル".chars().cycle().take(LONGEST_WORD).collect();
        assert_eq!(words_of(&row), [cut].into());
    }

    #[test]
    fn every_word_that_is_asked_for_counts() {
        let asked: Vec<String> = (0..40).map(|n| format!("w{n:02}")).collect();
        assert_eq!(words_asked(&asked.join(" ")), asked);
    }

    #[test]
    fn whoever_has_nothing_is_found_by_nothing() {
        let row = UserRow {
            full_name: None,
            ..named("")
        };
        assert!(words_of(&row).is_empty());
    }

    proptest! {
        #[test]
        fn whatever_a_name_is_each_of_its_words_finds_it(name in "\\PC{0,60}") {
            let row = named(&name);
            for part in name.split_whitespace().take(5) {
                let start: String = part.chars().filter(char::is_ascii_alphanumeric).take(20).collect();
                if start.len() == part.len() {
                    prop_assert!(found(&row, &start), "{name:?} {start:?}");
                }
            }
        }

        #[test]
        fn differing_words_are_noticed(one in "\\PC{0,20}", other in "\\PC{0,20}") {
            let (one, other) = (named(&one), named(&other));
            prop_assert!(words_of(&one) == words_of(&other) || words_differ(&one, &other));
        }
    }
}
