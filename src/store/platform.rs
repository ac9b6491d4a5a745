//! The list of users that the Cadasta contract asks for: with an offset and a count, unlike every other list here.

use std::fmt::Write as _;

use projections::UserRow;
use sqlx::Row as _;

use super::engine::on_pool;
use super::read::{Bound, bind_all};
use super::rows::{Read, USERS};
use super::{Store, StoreError};

/// What a page of the list is made of.
#[derive(Debug, Clone, Default)]
pub struct PlatformFilter {
    /// Whether the account is in use.
    pub active: Option<bool>,
    /// Each of these occurs, whatever the case of ASCII letters, in the username, the name of the person or the address.
    pub terms: Vec<String>,
    /// The order: a column, and whether it is from the end.
    pub order: Vec<(PlatformOrder, bool)>,
    /// How many at most.
    pub limit: i64,
    /// How many are left out.
    pub offset: i64,
}

/// What the list may be ordered by: code points, whatever the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlatformOrder {
    /// The username.
    Username,
    /// The name of the person.
    FullName,
}

impl PlatformOrder {
    const fn column(self) -> &'static str {
        match self {
            Self::Username => "username",
            Self::FullName => "coalesce(full_name, '')",
        }
    }
}

/// A term as a pattern that finds it anywhere: what has a meaning in patterns is escaped.
fn pattern(term: &str) -> String {
    let mut pattern = String::from("%");
    for c in term.to_lowercase().chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

/// The letters of a term beyond ASCII that have a capital, each once: the capital, then the small one.
fn capitals(term: &str) -> Vec<[char; 2]> {
    let mut letters: Vec<[char; 2]> = term
        .to_lowercase()
        .chars()
        .filter(|c| !c.is_ascii())
        .filter_map(|small| {
            let mut capital = small.to_uppercase();
            let one = capital.next().filter(|one| *one != small)?;
            capital.next().is_none().then_some([one, small])
        })
        .collect();
    letters.sort_unstable();
    letters.dedup();
    letters
}

impl Store {
    /// Accounts that have a username: how many fit, and a page of them.
    pub async fn platform_users(&self, filter: &PlatformFilter) -> Result<(i64, Vec<UserRow>), StoreError> {
        let mut condition = String::from("username IS NOT NULL");
        match filter.active {
            Some(true) => condition.push_str(" AND status = 'active'"),
            Some(false) => condition.push_str(" AND status <> 'active'"),
            None => {}
        }
        let mut values: Vec<Bound> = Vec::new();
        for term in &filter.terms {
            values.push(Bound::Text(pattern(term)));
            let place = values.len();
            let letters = capitals(term);
            let first = place + 1;
            values.extend(letters.iter().flatten().map(|letter| Bound::Text(letter.to_string())));
            // The engines fold different letters; each of the term's that has a capital is folded by name.
            let folded = |column: &str| {
                (0..letters.len()).fold(format!("lower({column})"), |text, nth| {
                    format!("replace({text}, ${}, ${})", first + 2 * nth, first + 2 * nth + 1)
                })
            };
            // Writing into a String cannot fail.
            let _ = write!(
                condition,
                " AND ({} LIKE ${place} ESCAPE '\\' OR {} LIKE ${place} ESCAPE '\\' OR {} LIKE ${place} ESCAPE '\\')",
                folded("username"),
                folded("full_name"),
                folded("email")
            );
        }
        let mut order = String::new();
        for (column, descending) in &filter.order {
            let direction = if *descending { " DESC" } else { "" };
            let _ = write!(order, "{}{direction}, ", column.column());
        }
        let count = format!("SELECT count(*) AS found FROM users WHERE {condition}");
        let page = format!(
            "SELECT {} FROM users WHERE {condition} ORDER BY {order}username, id LIMIT ${} OFFSET ${}",
            USERS.list(""),
            values.len() + 1,
            values.len() + 2
        );
        on_pool!(&self.inner.engine, pool => {
            let found = bind_all!(sqlx::query(&count), values).fetch_one(pool).await?.try_get("found")?;
            let query = sqlx::query_as::<_, Read<UserRow>>(&page);
            let rows = bind_all!(query, values).bind(filter.limit).bind(filter.offset).fetch_all(pool).await?;
            Ok((found, rows.into_iter().map(|Read(row)| row).collect()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_meaning_in_patterns_is_taken_as_it_stands() {
        assert_eq!(pattern("50%_\\A"), "%50\\%\\_\\\\a%");
    }

    #[test]
    fn only_letters_that_have_one_capital_are_folded_by_name() {
        assert_eq!(capitals("ÉcoléÖ ß Zoe 漢"), [['É', 'é'], ['Ö', 'ö']]);
    }
}
