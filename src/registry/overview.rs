//! What is there as a whole: who is near a place, what is counted, how far followers are.

use std::collections::BTreeMap;

use chrono::{Days, Months, NaiveDate};
use uuid::Uuid;

use super::{Refusal, Registry};
use crate::follow::STATISTICS;
use crate::store::{Circle, FollowerState, Nearby};

/// How many domains are listed with their accounts.
const DOMAINS: i64 = 100;
/// Every country there is, and more.
const COUNTRIES: i64 = 1_000;

/// What happened on a day or in a month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatisticsPeriod {
    /// `2026-11-21` or `2026-11`.
    pub period: String,
    /// Accounts that were opened.
    pub registrations: i64,
    /// Sessions that began.
    pub sign_ins: i64,
}

/// What is counted.
#[derive(Debug, Clone)]
pub struct Statistics {
    /// Everything up to here in the log is counted.
    pub position: i64,
    /// Every period asked for, also those in which nothing happened.
    pub periods: Vec<StatisticsPeriod>,
    /// Accounts by status.
    pub statuses: Vec<(String, i64)>,
    /// Accounts by country; those without one under an empty text.
    pub countries: Vec<(String, i64)>,
    /// Accounts by domain, the largest hundred; those without an address under an empty text.
    pub domains: Vec<(String, i64)>,
}

impl Registry {
    /// How many domains have an authority token.
    pub async fn authorized_domains(&self) -> Result<i64, Refusal> {
        Ok(self.store().authorized_domains().await?)
    }

    /// Who can be discovered near a place, after the last one of the page before.
    pub async fn discover(&self, circle: &Circle, after: Option<(f64, Uuid)>, limit: i64) -> Result<Nearby, Refusal> {
        Ok(self.store().discover(circle, after, limit).await?)
    }

    /// The followers of the log.
    pub async fn followers(&self) -> Result<Vec<FollowerState>, Refusal> {
        Ok(self.store().followers().await?)
    }

    /// What happened from a day to a day, both included, and how many accounts there are.
    pub async fn statistics(&self, from: NaiveDate, to: NaiveDate, by_month: bool) -> Result<Statistics, Refusal> {
        let store = self.store();
        // Read first: what is read afterwards has counted at least as much.
        let checkpoints = store.checkpoints().await?;
        let position = checkpoints.iter().find(|one| one.follower == STATISTICS);
        let (first, last) = (from.to_string(), to.to_string());
        let mut periods: BTreeMap<String, (i64, i64)> = empty_periods(from, to, by_month);
        for period in store.statistics_periods(&first, &last, by_month).await? {
            let numbers = periods.entry(period.period).or_default();
            match period.kind.as_str() {
                "registrations" => numbers.0 += period.number,
                _ => numbers.1 += period.number,
            }
        }
        let period = |(period, (registrations, sign_ins))| StatisticsPeriod {
            period,
            registrations,
            sign_ins,
        };
        Ok(Statistics {
            position: position.map_or(0, |one| one.position),
            periods: periods.into_iter().map(period).collect(),
            statuses: store.statistics_counts("status", COUNTRIES).await?,
            countries: store.statistics_counts("country", COUNTRIES).await?,
            domains: store.statistics_counts("domain", DOMAINS).await?,
        })
    }
}

fn empty_periods(from: NaiveDate, to: NaiveDate, by_month: bool) -> BTreeMap<String, (i64, i64)> {
    let (mut day, mut periods) = (from, BTreeMap::new());
    while day <= to {
        let format = if by_month { "%Y-%m" } else { "%Y-%m-%d" };
        periods.insert(day.format(format).to_string(), (0, 0));
        let next = if by_month {
            chrono::Datelike::with_day(&day, 1).and_then(|first| first.checked_add_months(Months::new(1)))
        } else {
            day.checked_add_days(Days::new(1))
        };
        let Some(next) = next else { break };
        day = next;
    }
    periods
}
