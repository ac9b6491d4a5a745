//! Lists of users: filtered, searched, in an order, page by page, without ever reading the whole table.
//!
//! Each condition has an index that tells whom it finds. A page is made in one of two ways:
//!
//! - *from the few*: if some condition finds few enough, those are brought into order, and from the first on it is
//!   looked whether they meet the other conditions, until a page is full;
//! - *along the order*: if every condition finds many, walking along the order soon meets enough that meet them all.
//!
//! The index of words has what lists are sorted by, so that tens of thousands of its entries are brought into order in
//! a few milliseconds; of accounts that a column finds each must be looked up. Conditions beside the first are looked
//! up for one account at a time, or, where they find few, all at once before.
//!
//! How many a condition finds is counted up to a bound first, so that what the planner believes of the data does not
//! matter. Where many are found and yet not soon met (those with a condition may all stand at the far end of the
//! order), the walk is given up after [`STEPS`] and the many are brought into order after all.

use std::fmt::Write as _;

use projections::{UserRow, WORDS_OF_ONE, words_asked};
use sqlx::Row as _;
use uuid::Uuid;

use super::engine::{Engine, on_pool};
use super::read::{Bound, bind_all};
use super::rows::{Read, USERS};
use super::{Store, StoreError, UserFilter, UserSort};

/// How far a walk goes along the order for one page.
const STEPS: i64 = 2_500;

/// How much further is counted, to know the fewest of many, where a walk was given up.
const FURTHER: i64 = 4;

/// What conditions are about, beside the order.
const ABOUT: &str = "id, created_at, username, status, email_domain, email_verified, roles, country";

/// A statement with its values.
pub(super) struct Statement {
    pub sql: String,
    values: Vec<Bound>,
}

impl Statement {
    fn new() -> Self {
        Self {
            sql: String::new(),
            values: Vec::new(),
        }
    }

    /// Goes on with some text, in which each `?` is the place of a value.
    fn push(&mut self, text: &str, values: Vec<Bound>) {
        let mut place = self.values.len();
        for c in text.chars() {
            if c == '?' {
                place += 1;
                // Writing into a String cannot fail.
                let _ = write!(self.sql, "${place}");
            } else {
                self.sql.push(c);
            }
        }
        self.values.extend(values);
    }
}

/// What a condition is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    /// One of the words that find an account.
    Word,
    /// A column of the account's row.
    Column,
}

impl About {
    /// What it costs to bring one entry of the condition's index into order, beside one of the index of words.
    fn cost(self) -> i64 {
        match self {
            Self::Word => 1,
            Self::Column => 2,
        }
    }

    /// The column of the account where those it finds stand together.
    fn user(self) -> &'static str {
        match self {
            Self::Word => "user_id",
            Self::Column => "id",
        }
    }

    /// The columns of the index that leads to them.
    fn order(self) -> &'static str {
        match self {
            Self::Word => "word, user_id",
            Self::Column => "id",
        }
    }
}

/// One condition.
struct Term {
    about: About,
    /// Where those it finds stand together, as `table WHERE …`.
    found: &'static str,
    /// The condition over a row `u`; of a word none but its `id` is read.
    check: &'static str,
    values: fn(&str) -> Vec<Bound>,
    value: String,
}

fn one(value: &str) -> Vec<Bound> {
    vec![value.into()]
}

fn none(_: &str) -> Vec<Bound> {
    Vec::new()
}

/// From a start to the end of everything that begins with it.
fn range(start: &str) -> Vec<Bound> {
    vec![start.into(), format!("{start}\u{10ffff}").into()]
}

fn terms(filter: &UserFilter) -> Vec<Term> {
    let mut terms = Vec::new();
    for word in filter.q.iter().flat_map(|q| words_asked(q)) {
        terms.push(Term {
            about: About::Word,
            found: "user_words WHERE word >= ? AND word < ?",
            // A subquery for a value is never made a join of.
            check: "(SELECT true FROM user_words WHERE user_id = u.id AND word >= ? AND word < ? LIMIT 1)",
            values: range,
            value: word,
        });
    }
    let mut column = |found, check, values, value: &str| {
        terms.push(Term {
            about: About::Column,
            found,
            check,
            values,
            value: value.to_owned(),
        });
    };
    if let Some(domain) = &filter.domain {
        column("users WHERE email_domain = ?", "u.email_domain = ?", one, domain);
    }
    if let Some(country) = &filter.country {
        column("users WHERE country = ?", "u.country = ?", one, country);
    }
    if let Some(status) = filter.status {
        column("users WHERE status = ?", "u.status = ?", one, status.as_str());
    }
    // Everybody is a user.
    if let Some(role) = filter.role.filter(|role| *role != aggregates::values::Role::User) {
        let holds = format!("%\"{}\"%", role.as_str());
        column(
            "users WHERE roles <> '[]' AND roles LIKE ?",
            "u.roles LIKE ?",
            one,
            &holds,
        );
    }
    match filter.verified {
        Some(true) => column("users WHERE email_verified = true", "u.email_verified", none, ""),
        Some(false) => column("users WHERE email_verified = false", "NOT u.email_verified", none, ""),
        None => {}
    }
    terms
}

/// The column by which a page is sorted, with the account as the second.
#[derive(Debug, Clone, Copy)]
struct Key {
    /// Over a row of `users`.
    of_user: &'static str,
    /// Over a row of `user_words`.
    of_word: &'static str,
}

/// Adds those conditions over a row `u`.
fn checks<'a>(statement: &mut Statement, terms: impl Iterator<Item = &'a Term>, mut glue: &'static str) {
    for term in terms {
        statement.push(&format!("{glue} {}", term.check), (term.values)(&term.value));
        glue = " AND";
    }
}

/// A page to be found.
pub(super) struct Search {
    postgres: bool,
    terms: Vec<Term>,
    key: Key,
    descending: bool,
    after: Option<(Bound, Uuid)>,
    limit: i64,
    /// How many entries of its index each condition finds, as far as they were counted.
    counts: Vec<i64>,
}

impl Search {
    fn new(postgres: bool, filter: &UserFilter, sort: UserSort, after: Option<(&str, Uuid)>, limit: i64) -> Self {
        let key = |of_user, of_word| Key { of_user, of_word };
        let (key, descending) = match sort {
            UserSort::CreatedAt { descending } => (key("created_at", "created_at"), descending),
            UserSort::Username { descending } => (key("coalesce(lower(username), '')", "username"), descending),
        };
        let after = after.map(|(key, id)| {
            let key = match sort {
                UserSort::CreatedAt { .. } => Bound::Number(key.parse().unwrap_or_default()),
                UserSort::Username { .. } => key.into(),
            };
            (key, id)
        });
        Self {
            postgres,
            terms: terms(filter),
            key,
            descending,
            after,
            limit,
            counts: Vec::new(),
        }
    }

    /// What bringing few into order costs at most: about what walking along to a page does where they are as many in
    /// a hundred thousand. Walking costs little where no word has to be looked up on the way.
    fn few(&self) -> i64 {
        let each = if self.terms.iter().any(|term| term.about == About::Word) {
            2_800.0
        } else {
            600.0
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "a page has at most 201"
        )]
        let few = (each * (self.limit.max(1) as f64).sqrt()) as i64;
        few
    }

    /// How many entries of each condition's index there are, up to just beyond `cost`: one column each.
    fn count(&self, cost: i64) -> Statement {
        let mut statement = Statement::new();
        for (number, term) in self.terms.iter().enumerate() {
            let start = if number == 0 { "SELECT" } else { "," };
            let text = format!(
                "{start} (SELECT count(*) FROM (SELECT {} FROM {} ORDER BY {} LIMIT {}) AS found) AS found_{number}",
                term.about.user(),
                term.found,
                term.about.order(),
                cost / term.about.cost() + 1
            );
            statement.push(&text, (term.values)(&term.value));
        }
        statement
    }

    /// The condition from whose accounts a page is made at the least cost, with that.
    fn driver(&self) -> (usize, i64) {
        let terms = self.terms.iter().zip(&self.counts);
        let costs = terms.map(|(term, count)| count * term.about.cost());
        costs.enumerate().min_by_key(|(_, cost)| *cost).unwrap_or_default()
    }

    /// `{direction}` of both parts of the order.
    fn order(&self, key: &str, id: &str) -> String {
        let direction = if self.descending { " DESC" } else { "" };
        format!("{key}{direction}, {id}{direction}")
    }

    /// Where the page before ended. The first part alone is what SQLite looks up in an index over an expression.
    fn keyset(&self, statement: &mut Statement, glue: &str, key: &str, id: &str) {
        if let Some((after, last)) = &self.after {
            let by = if self.descending { "<" } else { ">" };
            statement.push(
                &format!("{glue} {key} {by}= ? AND ({key}, {id}) {by} (?, ?)"),
                vec![after.clone(), after.clone(), Bound::Text(last.to_string())],
            );
        }
    }

    /// Ends a part of a statement that is to be made as it stands, all of it and in its order.
    fn fence(&self) -> &'static str {
        if self.postgres { " OFFSET 0" } else { " LIMIT -1" }
    }

    /// The rows of a page of ids and keys.
    fn rows_of(&self, mut page: Statement) -> Statement {
        let users = if self.postgres {
            "CROSS JOIN LATERAL (SELECT * FROM users WHERE users.id = page.id LIMIT 1) AS u"
        } else {
            "CROSS JOIN users AS u ON u.id = page.id"
        };
        page.sql = format!("SELECT {} FROM ({}) AS page {users} ", USERS.list("u."), page.sql);
        page.push(&format!("ORDER BY {}", self.order("page.key", "page.id")), Vec::new());
        page
    }

    /// From the few that a condition finds.
    fn gathered(&self, driver: usize) -> Statement {
        let Some(term) = self.terms.get(driver) else {
            return self.along();
        };
        let mut page = Statement::new();
        page.push("SELECT found.id, found.key FROM (", Vec::new());
        match term.about {
            About::Word => self.ordered_words(&mut page, term),
            About::Column => self.ordered_accounts(&mut page, driver, term),
        }
        page.push(") AS found", Vec::new());
        let mut glue = " WHERE";
        for (number, other) in self.terms.iter().enumerate() {
            // Columns of an account that was looked up were looked at there.
            if number == driver || (term.about == About::Column && other.about == About::Column) {
                continue;
            }
            self.other(&mut page, glue, other, self.counts.get(number).copied());
            glue = " AND";
        }
        // SQLite takes them as they come, in their order, but would not know that it need not sort them again.
        if self.postgres {
            page.push(
                &format!(" ORDER BY {}", self.order("found.key", "found.id")),
                Vec::new(),
            );
        }
        page.push(&format!(" LIMIT {}", self.limit), Vec::new());
        self.rows_of(page)
    }

    /// Accounts by a word, each once, in order. Where no other condition chooses among them, no more entries are
    /// needed than a page of accounts can have.
    fn ordered_words(&self, page: &mut Statement, term: &Term) {
        let key = self.key.of_word;
        page.push(
            &format!(
                "SELECT DISTINCT id, key FROM (SELECT user_id AS id, {key} AS key FROM {}",
                term.found
            ),
            (term.values)(&term.value),
        );
        self.keyset(page, " AND", key, "user_id");
        let enough = match i64::try_from(WORDS_OF_ONE) {
            Ok(most) if self.terms.len() == 1 => format!(" LIMIT {}", self.limit * most),
            _ => self.fence().to_owned(),
        };
        page.push(
            &format!(" ORDER BY {}{enough}) AS entries", self.order(key, "user_id")),
            Vec::new(),
        );
        if self.postgres {
            page.push(&format!(" ORDER BY {}", self.order("key", "id")), Vec::new());
        }
    }

    /// Accounts by a column that meet the conditions on all columns, in order.
    fn ordered_accounts(&self, page: &mut Statement, driver: usize, term: &Term) {
        page.push(
            &format!(
                "SELECT u.id, u.key FROM (SELECT {ABOUT}, {} AS key FROM {}",
                self.key.of_user, term.found
            ),
            (term.values)(&term.value),
        );
        page.push(&format!("{}) AS u WHERE true", self.fence()), Vec::new());
        let others = self.terms.iter().enumerate();
        let others = others.filter(|(number, other)| *number != driver && other.about == About::Column);
        checks(page, others.map(|(_, other)| other), " AND");
        self.keyset(page, " AND", "u.key", "u.id");
        page.push(
            &format!(" ORDER BY {}{}", self.order("u.key", "u.id"), self.fence()),
            Vec::new(),
        );
    }

    /// A condition over accounts `found` that another brought into order.
    fn other(&self, page: &mut Statement, glue: &str, term: &Term, count: Option<i64>) {
        let values = (term.values)(&term.value);
        let few = self.few() / term.about.cost();
        if count.is_some_and(|count| count <= few) {
            // All that it finds, once; `IS TRUE` so that this is made neither a join nor a way to the accounts. The
            // bound is there for the planner; the number may have grown since.
            let text = format!(
                "{glue} (found.id IN (SELECT {} FROM {} LIMIT {})) IS TRUE",
                term.about.user(),
                term.found,
                2 * few
            );
            return page.push(&text, values);
        }
        let check = match term.about {
            About::Word => term.check.replace("u.id", "found.id"),
            About::Column => format!("(SELECT {} FROM users AS u WHERE u.id = found.id)", term.check),
        };
        page.push(&format!("{glue} {check}"), values);
    }

    /// Along the order.
    fn along(&self) -> Statement {
        let mut page = Statement::new();
        let steps = if self.terms.is_empty() { self.limit } else { STEPS };
        let key = self.key.of_user;
        // The key is reckoned within: only so does PostgreSQL know that what comes out is in order already.
        page.push(
            &format!("SELECT u.id, u.key FROM (SELECT {ABOUT}, {key} AS key FROM users"),
            Vec::new(),
        );
        self.keyset(&mut page, " WHERE", key, "id");
        page.push(
            &format!(" ORDER BY {} LIMIT {steps}) AS u", self.order(key, "id")),
            Vec::new(),
        );
        checks(&mut page, self.terms.iter(), " WHERE");
        // SQLite takes the walk as it comes, in its order, but would not know that it need not sort it again.
        let order = if self.postgres {
            format!(" ORDER BY {}", self.order("u.key", "u.id"))
        } else {
            String::new()
        };
        page.push(&format!("{order} LIMIT {}", self.limit), Vec::new());
        self.rows_of(page)
    }

    /// How many stand behind the page before, up to just beyond a walk.
    fn behind(&self) -> Statement {
        let (mut statement, key) = (Statement::new(), self.key.of_user);
        statement.push("SELECT count(*) AS found_0 FROM (SELECT id FROM users", Vec::new());
        self.keyset(&mut statement, " WHERE", key, "id");
        statement.push(
            &format!(" ORDER BY {} LIMIT {}) AS found", self.order(key, "id"), STEPS + 1),
            Vec::new(),
        );
        statement
    }
}

impl Store {
    /// Users in an order, after the last one of the page before.
    pub async fn users(
        &self,
        filter: &UserFilter,
        sort: UserSort,
        after: Option<(&str, Uuid)>,
        limit: i64,
    ) -> Result<Vec<UserRow>, StoreError> {
        self.search(filter, sort, after, limit, &mut Vec::new()).await
    }

    /// How the database would find a page: its plan for each statement, line by line. For measurements.
    pub async fn explain_users(
        &self,
        filter: &UserFilter,
        sort: UserSort,
        after: Option<(&str, Uuid)>,
        limit: i64,
    ) -> Result<Vec<String>, StoreError> {
        let mut statements = Vec::new();
        self.search(filter, sort, after, limit, &mut statements).await?;
        let mut lines = Vec::new();
        for statement in statements {
            lines.extend(self.explain(&statement).await?);
        }
        Ok(lines)
    }

    async fn search(
        &self,
        filter: &UserFilter,
        sort: UserSort,
        after: Option<(&str, Uuid)>,
        limit: i64,
        told: &mut Vec<Statement>,
    ) -> Result<Vec<UserRow>, StoreError> {
        let postgres = matches!(self.inner.engine, Engine::Postgres { .. });
        let mut search = Search::new(postgres, filter, sort, after, limit);
        let (terms, few) = (search.terms.len(), search.few());
        if terms == 0 {
            return self.user_rows(search.along(), told).await;
        }
        search.counts = self.counted(search.count(few), terms, told).await?;
        let (driver, cost) = search.driver();
        if cost <= few {
            return self.user_rows(search.gathered(driver), told).await;
        }
        let rows = self.user_rows(search.along(), told).await?;
        if i64::try_from(rows.len()).unwrap_or(i64::MAX) >= limit
            || self
                .counted(search.behind(), 1, told)
                .await?
                .iter()
                .all(|behind| *behind <= STEPS)
        {
            return Ok(rows);
        }
        if terms > 1 {
            search.counts = self.counted(search.count(FURTHER * few), terms, told).await?;
        }
        let (driver, _) = search.driver();
        self.user_rows(search.gathered(driver), told).await
    }

    async fn user_rows(&self, statement: Statement, told: &mut Vec<Statement>) -> Result<Vec<UserRow>, StoreError> {
        let rows = on_pool!(&self.inner.engine, pool => {
            let query = sqlx::query_as::<_, Read<UserRow>>(&statement.sql);
            let rows = bind_all!(query, statement.values).fetch_all(pool).await?;
            rows.into_iter().map(|Read(row)| row).collect()
        });
        told.push(statement);
        Ok(rows)
    }

    async fn counted(
        &self,
        statement: Statement,
        columns: usize,
        told: &mut Vec<Statement>,
    ) -> Result<Vec<i64>, StoreError> {
        let counts = on_pool!(&self.inner.engine, pool => {
            let row = bind_all!(sqlx::query(&statement.sql), statement.values).fetch_one(pool).await?;
            (0..columns).map(|column| row.try_get(column)).collect::<Result<_, sqlx::Error>>()?
        });
        told.push(statement);
        Ok(counts)
    }

    async fn explain(&self, statement: &Statement) -> Result<Vec<String>, StoreError> {
        match &self.inner.engine {
            Engine::Postgres { pool, .. } => {
                let sql = format!("EXPLAIN (COSTS OFF) {}", statement.sql);
                let rows = bind_all!(sqlx::query(&sql), statement.values).fetch_all(pool).await?;
                Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
            }
            Engine::Sqlite { pool, .. } => {
                let sql = format!("EXPLAIN QUERY PLAN {}", statement.sql);
                let rows = bind_all!(sqlx::query(&sql), statement.values).fetch_all(pool).await?;
                Ok(rows.iter().map(|row| row.try_get("detail")).collect::<Result<_, _>>()?)
            }
        }
    }
}
