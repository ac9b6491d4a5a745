//! Lists of users: filtered, searched, in an order, page by page, without ever reading the whole table.
//!
//! Each condition has an index that tells whom it finds. A page is made in one of two ways:
//!
//! - *from the few*: if some condition finds few accounts, those are looked at, and the first of them in the order that
//!   meet all conditions are the page;
//! - *along the order*: if every condition finds many, walking along the order soon meets enough that meet them all.
//!
//! How many a condition finds is counted up to a bound first, so that what the planner believes of the data does not
//! matter. Where many are found and yet not soon met (those with a condition may all stand at the far end of the
//! order), the walk is given up after [`STEPS`] and the many are looked at after all.

use std::fmt::Write as _;

use projections::{UserRow, words_asked};
use sqlx::Row as _;
use uuid::Uuid;

use super::engine::{Engine, on_pool};
use super::read::{Bound, bind_all};
use super::rows::{Read, USERS};
use super::{Store, StoreError, UserFilter, UserSort};

/// How far a walk goes along the order for one page.
const STEPS: i64 = 2_500;

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

/// One condition.
struct Term {
    /// Where those it finds stand together, as `table WHERE …`, with `user` naming the column of the account.
    user: &'static str,
    found: &'static str,
    /// The columns of the index that leads to them.
    order: &'static str,
    /// The condition over `u`.
    check: &'static str,
    values: fn(&str) -> Vec<Bound>,
    value: String,
    /// How many entries of the index lead to one account, usually: the start of a name often is that of a username and
    /// an address too.
    entries: i64,
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
            user: "user_id",
            found: "user_words WHERE word >= ? AND word < ?",
            order: "word, user_id",
            // A subquery for a value is never made a join of.
            check: "(SELECT true FROM user_words WHERE user_id = u.id AND word >= ? AND word < ? LIMIT 1)",
            values: range,
            value: word,
            entries: 2,
        });
    }
    let mut column = |found, check, values, value: &str| {
        terms.push(Term {
            user: "id",
            found,
            order: "id",
            check,
            values,
            value: value.to_owned(),
            entries: 1,
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

/// A page to be found.
pub(super) struct Search {
    postgres: bool,
    terms: Vec<Term>,
    key: &'static str,
    descending: bool,
    after: Option<(Bound, Uuid)>,
    limit: i64,
}

impl Search {
    fn new(postgres: bool, filter: &UserFilter, sort: UserSort, after: Option<(&str, Uuid)>, limit: i64) -> Self {
        let (key, descending) = match sort {
            UserSort::CreatedAt { descending } => ("created_at", descending),
            UserSort::Username { descending } => ("coalesce(lower(username), '')", descending),
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
        }
    }

    /// How many are few: looking at that many costs about what walking along to a page does where they are as many
    /// in a hundred thousand.
    fn few(&self) -> i64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "a page has at most 201"
        )]
        let few = (300.0 * (self.limit.max(1) as f64).sqrt()) as i64;
        few
    }

    /// How many each condition finds, up to just beyond `few`: one column each.
    fn counts(&self) -> Statement {
        let mut statement = Statement::new();
        for (number, term) in self.terms.iter().enumerate() {
            let start = if number == 0 { "SELECT" } else { "," };
            let text = format!(
                "{start} (SELECT count(*) FROM (SELECT {} FROM {} ORDER BY {} LIMIT {}) AS found) AS found_{number}",
                term.user,
                term.found,
                term.order,
                self.few() * term.entries + 1
            );
            statement.push(&text, (term.values)(&term.value));
        }
        statement
    }

    /// `{direction}` of both parts of the order.
    fn order(&self, key: &str, id: &str) -> String {
        let direction = if self.descending { " DESC" } else { "" };
        format!("{key}{direction}, {id}{direction}")
    }

    /// Where the page before ended. The first part alone is what SQLite looks up in an index over an expression.
    fn keyset(&self, statement: &mut Statement, glue: &str) {
        if let Some((key, id)) = &self.after {
            let (order, id) = (self.key, Bound::Text(id.to_string()));
            let by = if self.descending { "<" } else { ">" };
            statement.push(
                &format!("{glue} {order} {by}= ? AND ({order}, id) {by} (?, ?)"),
                vec![key.clone(), key.clone(), id],
            );
        }
    }

    /// All conditions but one.
    fn checks(&self, statement: &mut Statement, but: Option<usize>, mut glue: &'static str) {
        for (number, term) in self.terms.iter().enumerate() {
            if but != Some(number) {
                statement.push(&format!("{glue} {}", term.check), (term.values)(&term.value));
                glue = " AND";
            }
        }
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
    fn from_few(&self, driver: usize) -> Statement {
        let mut page = Statement::new();
        let Some(term) = self.terms.get(driver) else {
            return self.along();
        };
        page.push(
            &format!(
                "SELECT u.id, {} AS key FROM (SELECT DISTINCT {} AS user_id FROM {}) AS found ",
                self.key, term.user, term.found
            ),
            (term.values)(&term.value),
        );
        page.push(
            &if self.postgres {
                format!(
                    "CROSS JOIN LATERAL (SELECT {ABOUT} FROM users WHERE users.id = found.user_id LIMIT 1) AS u \
                     WHERE true"
                )
            } else {
                "CROSS JOIN users AS u ON u.id = found.user_id WHERE true".to_owned()
            },
            Vec::new(),
        );
        self.checks(&mut page, Some(driver), " AND");
        self.keyset(&mut page, " AND");
        page.push(
            &format!(" ORDER BY {} LIMIT {}", self.order("key", "u.id"), self.limit),
            Vec::new(),
        );
        self.rows_of(page)
    }

    /// Along the order.
    fn along(&self) -> Statement {
        let mut page = Statement::new();
        let steps = if self.terms.is_empty() { self.limit } else { STEPS };
        // The key is reckoned within: only so does PostgreSQL know that what comes out is in order already.
        page.push(
            &format!(
                "SELECT u.id, u.key FROM (SELECT {ABOUT}, {} AS key FROM users",
                self.key
            ),
            Vec::new(),
        );
        self.keyset(&mut page, " WHERE");
        page.push(
            &format!(" ORDER BY {} LIMIT {steps}) AS u", self.order(self.key, "id")),
            Vec::new(),
        );
        self.checks(&mut page, None, " WHERE");
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
        let mut statement = Statement::new();
        statement.push("SELECT count(*) AS found_0 FROM (SELECT id FROM users", Vec::new());
        self.keyset(&mut statement, " WHERE");
        statement.push(
            &format!(" ORDER BY {} LIMIT {}) AS found", self.order(self.key, "id"), STEPS + 1),
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
        let search = Search::new(postgres, filter, sort, after, limit);
        if search.terms.is_empty() {
            return self.user_rows(search.along(), told).await;
        }
        let counts = self.counted(search.counts(), search.terms.len(), told).await?;
        let entries = search.terms.iter().map(|term| term.entries);
        let found = counts
            .iter()
            .zip(entries)
            .map(|(count, entries)| (count + entries - 1) / entries);
        let (driver, found) = found.enumerate().min_by_key(|(_, found)| *found).unwrap_or_default();
        if found <= search.few() {
            return self.user_rows(search.from_few(driver), told).await;
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
        self.user_rows(search.from_few(driver), told).await
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
