//! The tables of the follower that counts.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use projections::{CountedUser, Status};
use serde_json::{Value, json};
use sqlx::Row as _;
use uuid::Uuid;

use super::engine::{Engine, on_pool};
use super::{RowWrite, Store, StoreError};

/// What a part of the log adds to what is counted.
#[derive(Debug, Default)]
pub struct Tally {
    /// What happened: by day and kind.
    pub periods: BTreeMap<(String, &'static str), i64>,
    /// How the numbers of accounts change: by dimension and value.
    pub counts: BTreeMap<(&'static str, String), i64>,
    /// As what accounts are counted from now on; none: no more.
    pub users: BTreeMap<Uuid, Option<CountedUser>>,
}

/// What happened on a day or in a month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Period {
    /// `2026-11-21` or `2026-11`.
    pub period: String,
    /// registrations or `sign_ins`.
    pub kind: String,
    /// How many.
    pub number: i64,
}

const PERIODS: [&str; 2] = [
    "INSERT INTO statistics_periods (day, kind, number)
     SELECT j ->> 0, j ->> 1, (j ->> 2)::bigint FROM json_array_elements($1::json) AS j
     ON CONFLICT (day, kind) DO UPDATE SET number = statistics_periods.number + excluded.number",
    "INSERT INTO statistics_periods (day, kind, number)
     SELECT value ->> '$[0]', value ->> '$[1]', value ->> '$[2]' FROM json_each($1) WHERE true
     ON CONFLICT (day, kind) DO UPDATE SET number = number + excluded.number",
];
const COUNTS: [&str; 2] = [
    "INSERT INTO statistics_counts (dimension, value, number)
     SELECT j ->> 0, j ->> 1, (j ->> 2)::bigint FROM json_array_elements($1::json) AS j
     ON CONFLICT (dimension, value) DO UPDATE SET number = statistics_counts.number + excluded.number",
    "INSERT INTO statistics_counts (dimension, value, number)
     SELECT j.value ->> '$[0]', j.value ->> '$[1]', j.value ->> '$[2]' FROM json_each($1) AS j WHERE true
     ON CONFLICT (dimension, value) DO UPDATE SET number = number + excluded.number",
];
const USERS: [&str; 2] = [
    "INSERT INTO statistics_users (user_id, status, activated, country, domain)
     SELECT j ->> 0, j ->> 1, (j ->> 2)::boolean, j ->> 3, j ->> 4 FROM json_array_elements($1::json) AS j
     ON CONFLICT (user_id) DO UPDATE SET status = excluded.status, activated = excluded.activated,
         country = excluded.country, domain = excluded.domain",
    "INSERT INTO statistics_users (user_id, status, activated, country, domain)
     SELECT value ->> '$[0]', value ->> '$[1]', value ->> '$[2]', value ->> '$[3]', value ->> '$[4]'
     FROM json_each($1) WHERE true
     ON CONFLICT (user_id) DO UPDATE SET status = excluded.status, activated = excluded.activated,
         country = excluded.country, domain = excluded.domain",
];
const GONE: [&str; 2] = [
    "DELETE FROM statistics_users WHERE user_id IN (SELECT json_array_elements_text($1::json))",
    "DELETE FROM statistics_users WHERE user_id IN (SELECT value FROM json_each($1))",
];
/// Those that nobody is counted under any more.
const EMPTY: &str = "DELETE FROM statistics_counts WHERE dimension = $1 AND number = 0";

const BY_DAY: &str = "
    SELECT day AS period, kind, number FROM statistics_periods WHERE day >= $1 AND day <= $2 ORDER BY day, kind";
const BY_MONTH: &str = "
    SELECT substr(day, 1, 7) AS period, kind, CAST(sum(number) AS BIGINT) AS number FROM statistics_periods
    WHERE day >= $1 AND day <= $2 GROUP BY substr(day, 1, 7), kind ORDER BY substr(day, 1, 7), kind";
const LARGEST: &str = "
    SELECT value, number FROM statistics_counts WHERE dimension = $1 AND number > 0
    ORDER BY number DESC, value LIMIT $2";

impl Store {
    /// As what these accounts are counted.
    pub async fn counted_users(&self, ids: &BTreeSet<Uuid>) -> Result<HashMap<Uuid, CountedUser>, StoreError> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let places: Vec<String> = (1..=ids.len()).map(|place| format!("${place}")).collect();
        let sql = format!(
            "SELECT user_id, status, activated, country, domain FROM statistics_users WHERE user_id IN ({})",
            places.join(", ")
        );
        on_pool!(&self.inner.engine, pool => {
            let mut query = sqlx::query(&sql);
            for id in ids {
                query = query.bind(id.to_string());
            }
            let rows = query.fetch_all(pool).await?;
            rows.into_iter()
                .map(|row| {
                    let (id, status): (&str, &str) = (row.try_get("user_id")?, row.try_get("status")?);
                    let wrong = || StoreError::corrupt("statistics_users", id, "no such account or status");
                    let user = CountedUser {
                        status: Status::parse(status).ok_or_else(wrong)?,
                        activated: row.try_get("activated")?,
                        country: row.try_get("country")?,
                        domain: row.try_get("domain")?,
                    };
                    Ok((Uuid::parse_str(id).map_err(|_| wrong())?, user))
                })
                .collect()
        })
    }

    /// The statements that write a tally, for the transaction that moves the checkpoint.
    #[must_use]
    pub fn tallied(&self, tally: &Tally) -> Vec<RowWrite> {
        let engine = usize::from(matches!(self.inner.engine, Engine::Sqlite { .. }));
        let mut writes = Vec::new();
        let mut write = |sql: [&'static str; 2], list: Vec<Value>| {
            if !list.is_empty() {
                writes.extend(sql.get(engine).map(|sql| RowWrite {
                    sql,
                    texts: vec![Value::Array(list).to_string()],
                    numbers: Vec::new(),
                }));
            }
        };
        let periods = tally.periods.iter();
        write(
            PERIODS,
            periods
                .map(|((day, kind), number)| json!([day, kind, number]))
                .collect(),
        );
        let moved = tally.counts.iter().filter(|(_, number)| **number != 0);
        write(
            COUNTS,
            moved.map(|((of, value), number)| json!([of, value, number])).collect(),
        );
        let users = tally.users.iter();
        let kept = users.clone().filter_map(|(id, user)| {
            let user = user.as_ref()?;
            Some(json!([
                id,
                user.status.as_str(),
                user.activated,
                user.country,
                user.domain
            ]))
        });
        write(USERS, kept.collect());
        let gone = users.filter(|(_, user)| user.is_none()).map(|(id, _)| json!(id));
        write(GONE, gone.collect());
        let lessened: BTreeSet<&str> = tally
            .counts
            .iter()
            .filter(|(_, number)| **number < 0)
            .map(|((of, _), _)| *of)
            .collect();
        writes.extend(lessened.into_iter().map(|of| RowWrite {
            sql: EMPTY,
            texts: vec![of.to_owned()],
            numbers: Vec::new(),
        }));
        writes
    }

    /// What happened from a day to a day, both included, by day or by month.
    pub async fn statistics_periods(&self, from: &str, to: &str, by_month: bool) -> Result<Vec<Period>, StoreError> {
        on_pool!(&self.inner.engine, pool => {
            let rows = sqlx::query(if by_month { BY_MONTH } else { BY_DAY }).bind(from).bind(to).fetch_all(pool).await?;
            rows.into_iter()
                .map(|row| {
                    Ok(Period {
                        period: row.try_get("period")?,
                        kind: row.try_get("kind")?,
                        number: row.try_get("number")?,
                    })
                })
                .collect()
        })
    }

    /// How many accounts there are of each kind, the most first.
    pub async fn statistics_counts(&self, dimension: &str, limit: i64) -> Result<Vec<(String, i64)>, StoreError> {
        on_pool!(&self.inner.engine, pool => {
            let rows = sqlx::query(LARGEST).bind(dimension).bind(limit).fetch_all(pool).await?;
            rows.into_iter().map(|row| Ok((row.try_get("value")?, row.try_get("number")?))).collect()
        })
    }
}
