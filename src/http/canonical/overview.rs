//! What administrators see of the whole: statistics and followers.

use aggregates::values::{Country, DomainName, Timestamp};
use axum::Json;
use axum::extract::State;
use chrono::{Datelike as _, Days, Months, NaiveDate};
use projections::Status;
use serde::Serialize;

use super::problem;
use super::wire::Page;
use crate::follow::day;
use crate::http::App;
use crate::http::document::shape;
use crate::http::problem::Problem;
use crate::http::query::Parameters;
use crate::registry::Statistics;
use crate::store::{FollowerState, Skip};

/// Most periods of an answer: a leap year of days, or as many months.
const MOST_PERIODS: i64 = 366;
/// How many skips of a follower are shown.
const SKIPS: usize = 20;

#[derive(Debug, Serialize)]
struct PeriodBody {
    period: String,
    registrations: i64,
    sign_ins: i64,
}

#[derive(Debug, Serialize)]
struct StatusCount {
    status: String,
    users: i64,
}

#[derive(Debug, Serialize)]
struct CountryCount {
    country: Option<String>,
    users: i64,
}

#[derive(Debug, Serialize)]
struct DomainCount {
    domain: Option<String>,
    users: i64,
}

#[derive(Debug, Serialize)]
pub(super) struct StatisticsBody {
    from: String,
    to: String,
    by: &'static str,
    position: i64,
    items: Vec<PeriodBody>,
    next: Option<String>,
    statuses: Vec<StatusCount>,
    countries: Vec<CountryCount>,
    domains: Vec<DomainCount>,
}

shape! {
    /// What happened in a day or month.
    PeriodBody as "Period" {
        /// The day, or the month without one.
        period: String,
        registrations: i64,
        sign_ins: i64,
    }

    StatusCount as "StatusCount" {
        status: Status,
        users: i64,
    }

    CountryCount as "CountryCount" {
        country: Option<Country>,
        users: i64,
    }

    DomainCount as "DomainCount" {
        domain: Option<DomainName>,
        users: i64,
    }

    /// What there is, and what happened when.
    StatisticsBody as "Statistics" {
        /// The first day.
        from: String,
        /// The last day.
        to: String,
        by: String,
        /// Up to where in the log it is counted.
        position: i64,
        /// Every period, also those in which nothing happened.
        items: Vec<PeriodBody>,
        /// Always null: there is one page.
        next: Option<String>,
        /// Accounts by status, as of now.
        statuses: Vec<StatusCount>,
        countries: Vec<CountryCount>,
        /// The largest hundred, by accounts.
        domains: Vec<DomainCount>,
    }
}

impl StatisticsBody {
    fn new(from: NaiveDate, to: NaiveDate, by: &'static str, statistics: Statistics) -> Self {
        let some = |text: String| (!text.is_empty()).then_some(text);
        let counted = statistics.periods.into_iter();
        Self {
            from: from.to_string(),
            to: to.to_string(),
            by,
            position: statistics.position,
            items: counted
                .map(|one| PeriodBody {
                    period: one.period,
                    registrations: one.registrations,
                    sign_ins: one.sign_ins,
                })
                .collect(),
            next: None,
            statuses: statistics
                .statuses
                .into_iter()
                .map(|(status, users)| StatusCount { status, users })
                .collect(),
            countries: statistics
                .countries
                .into_iter()
                .map(|(country, users)| CountryCount {
                    country: some(country),
                    users,
                })
                .collect(),
            domains: statistics
                .domains
                .into_iter()
                .map(|(domain, users)| DomainCount {
                    domain: some(domain),
                    users,
                })
                .collect(),
        }
    }
}

/// A day as the contract writes days.
fn date(text: &str) -> Result<NaiveDate, &'static str> {
    let wrong = "must be a day such as 2026-11-21, from 1970 to 9999";
    let parsed = NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| wrong)?;
    let years = 1970..=9999;
    // The parser also takes what is not written in full.
    if parsed.to_string() == text && years.contains(&parsed.year()) {
        Ok(parsed)
    } else {
        Err(wrong)
    }
}

pub(super) async fn statistics(
    State(app): State<App>,
    mut parameters: Parameters,
) -> Result<Json<StatisticsBody>, Problem> {
    let by = parameters
        .optional("by", |text| match text {
            "day" => Ok("day"),
            "month" => Ok("month"),
            _ => Err("must be day or month"),
        })
        .unwrap_or("day");
    let today = date(&day(app.registry().store().now())).unwrap_or_default();
    let from = parameters.optional("from", date);
    let to = parameters
        .optional("to", |text| {
            let to = date(text)?;
            if from.is_some_and(|from| to < from) {
                return Err("must not be before from");
            }
            Ok(to)
        })
        .unwrap_or_else(|| from.map_or(today, |from| from.max(today)));
    // Whole months: the first of them from its first day on.
    let usual = if by == "month" {
        to.with_day(1)
            .and_then(|first| first.checked_sub_months(Months::new(11)))
    } else {
        to.checked_sub_days(Days::new(29))
    };
    let from = from.or(usual).unwrap_or(to);
    let days = (to - from).num_days();
    let periods = if by == "month" { days / 28 } else { days + 1 };
    if periods > MOST_PERIODS {
        parameters.wrong("from", "there are more than 366 periods from then on");
    }
    parameters.finish()?;
    let statistics = app
        .registry()
        .statistics(from, to, by == "month")
        .await
        .map_err(problem)?;
    Ok(Json(StatisticsBody::new(from, to, by, statistics)))
}

#[derive(Debug, Serialize)]
pub(super) struct FollowerBody {
    name: String,
    position: i64,
    head: i64,
    lag_events: i64,
    lag_seconds: f64,
    owner: Option<String>,
    error: Option<String>,
    error_position: Option<i64>,
    skipped: Vec<SkipBody>,
}

#[derive(Debug, Serialize)]
struct SkipBody {
    position: i64,
    reason: String,
    error: String,
    at: Timestamp,
}

shape! {
    /// An event that a follower passed over because an operator said so.
    SkipBody as "Skip" {
        position: i64,
        /// The operator's words.
        reason: String,
        /// Why the follower had stopped there.
        error: String,
        at: Timestamp,
    }

    /// Something that happens because of the log, and how far it has come.
    FollowerBody as "Follower" {
        name: String,
        /// The last event it is done with.
        position: i64,
        /// The last event there is.
        head: i64,
        lag_events: i64,
        /// For how long the first event it is not done with has been in the log.
        lag_seconds: f64,
        /// The process that runs it.
        owner: Option<String>,
        /// Why it stopped or waits.
        error: Option<String>,
        error_position: Option<i64>,
        /// Events it passed over on an operator's word, the last twenty.
        skipped: Vec<SkipBody>,
    }
}

impl From<Skip> for SkipBody {
    fn from(skip: Skip) -> Self {
        Self {
            position: skip.position,
            reason: skip.reason,
            error: skip.error,
            at: Timestamp::from_micros(skip.at),
        }
    }
}

impl From<FollowerState> for FollowerBody {
    fn from(state: FollowerState) -> Self {
        let of = state.checkpoint;
        Self {
            name: of.follower,
            position: of.position,
            head: state.head,
            lag_events: (state.head - of.position).max(0),
            #[expect(clippy::cast_precision_loss, reason = "milliseconds of centuries fit")]
            lag_seconds: (state.behind / 1_000) as f64 / 1_000.0,
            owner: of.owner,
            error: of.error,
            error_position: of.error_position,
            skipped: state.skips.into_iter().rev().take(SKIPS).map(SkipBody::from).collect(),
        }
    }
}

pub(super) async fn followers(
    State(app): State<App>,
    parameters: Parameters,
) -> Result<Json<Page<FollowerBody, String>>, Problem> {
    parameters.finish()?;
    let states = app.registry().followers().await.map_err(problem)?;
    Ok(Json(Page {
        items: states.into_iter().map(FollowerBody::from).collect(),
        next: None,
    }))
}
