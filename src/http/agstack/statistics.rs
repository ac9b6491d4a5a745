//! `GET /dashboard`: what is counted, for administrators (contract, section 3.11).

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Datelike as _, Months, NaiveDate};
use serde_json::{Map, Value, json};

use super::pages::{Frame, Framed, page};
use super::visit::{Visit, answer, told};
use super::words;
use crate::registry::{SharedWant, Statistics};

/// Countries beside which the others are one slice.
const SLICES: usize = 8;
/// Height of the tallest bar.
const TALL: i64 = 160;
/// Width of a bar and the gap after it.
const STEP: usize = 44;

/// One month's bar.
struct Bar {
    month: String,
    number: i64,
    x: usize,
    y: i64,
    height: i64,
    middle: usize,
}

/// One country's slice, and its line in the table.
struct Slice {
    country: String,
    number: i64,
    percent: String,
    /// The outline of the slice; empty where it is the whole circle.
    path: String,
    color: usize,
}

#[derive(Template)]
#[template(path = "pages/dashboard.html")]
struct Dashboard<'a> {
    frame: Frame<'a>,
    users: i64,
    domains: i64,
    bars: Vec<Bar>,
    slices: Vec<Slice>,
    rest: Vec<(String, i64)>,
}

impl Framed for Dashboard<'_> {
    fn frame(&self) -> &Frame<'_> {
        &self.frame
    }
}

/// The last twelve months, this one included.
fn year_until(today: NaiveDate) -> Option<(NaiveDate, NaiveDate)> {
    let first = today.with_day(1)?.checked_sub_months(Months::new(11))?;
    Some((first, today))
}

/// The page, or the same figures for a program.
pub(super) async fn dashboard(visit: Visit) -> Response {
    let visitor = match visit.visitor(SharedWant::Access).await {
        Ok(visitor) => visitor,
        Err(why) => return visit.turned_away(why),
    };
    if !visitor.caller.has(aggregates::values::Role::Admin) {
        return if visit.json {
            told(StatusCode::FORBIDDEN, words::ADMINS_ONLY)
        } else {
            super::pages::forbidden(&visit, words::ADMINS_ONLY)
        };
    }
    let registry = visit.app.registry();
    let now = DateTime::from_timestamp_micros(registry.store().now().as_micros());
    let months = now.and_then(|now| year_until(now.date_naive()));
    let Some((from, to)) = months else {
        return visit.failed(
            crate::registry::Refusal::Internal("there is no such day".into()),
            "Dashboard Error",
        );
    };
    let counted = async {
        Ok::<_, crate::registry::Refusal>((
            registry.statistics(from, to, true).await?,
            registry.authorized_domains().await?,
        ))
    };
    let (statistics, domains) = match counted.await {
        Ok(counted) => counted,
        Err(refusal) => return visit.failed(refusal, "Dashboard Error"),
    };
    let users = statistics.statuses.iter().map(|(_, number)| number).sum();
    if visit.json {
        return figures(&statistics, users, domains);
    }
    let (slices, rest) = slices(&statistics.countries);
    let view = Dashboard {
        frame: Frame::new(&visit, "Dashboard", true),
        users,
        domains,
        bars: bars(&statistics),
        slices,
        rest,
    };
    page(&visit, StatusCode::OK, &view)
}

fn figures(statistics: &Statistics, users: i64, domains: i64) -> Response {
    let months: Map<String, Value> = statistics
        .periods
        .iter()
        .map(|period| (period.period.clone(), period.registrations.into()))
        .collect();
    let countries: Map<String, Value> = statistics
        .countries
        .iter()
        .map(|(country, number)| (named(country), (*number).into()))
        .collect();
    answer(
        StatusCode::OK,
        json!({
            "total_users": users,
            "total_authorized_domains": domains,
            "registered_users_of_last_12_month": months,
            "registered_users_country": countries,
        }),
    )
}

fn named(country: &str) -> String {
    if country.is_empty() {
        "unknown".to_owned()
    } else {
        country.to_owned()
    }
}

fn bars(statistics: &Statistics) -> Vec<Bar> {
    let most = statistics
        .periods
        .iter()
        .map(|period| period.registrations)
        .max()
        .unwrap_or(0)
        .max(1);
    let bar = |(place, period): (usize, &crate::registry::StatisticsPeriod)| {
        let height = period.registrations.max(0) * TALL / most;
        Bar {
            month: period.period.clone(),
            number: period.registrations,
            x: place * STEP,
            y: TALL - height,
            height,
            middle: place * STEP + STEP / 2 - 4,
        }
    };
    statistics.periods.iter().enumerate().map(bar).collect()
}

/// The largest countries as slices of a circle, the others as one; and all of them for the table.
fn slices(countries: &[(String, i64)]) -> (Vec<Slice>, Vec<(String, i64)>) {
    let (shown, others) = countries.split_at(countries.len().min(SLICES));
    let other: i64 = others.iter().map(|(_, number)| number).sum();
    let mut parts: Vec<(String, i64)> = shown
        .iter()
        .map(|(country, number)| (named(country), *number))
        .collect();
    if other > 0 {
        parts.push(("others".to_owned(), other));
    }
    let total: i64 = parts.iter().map(|(_, number)| number).sum();
    let mut before = 0;
    let slice = |(color, (country, number)): (usize, (String, i64))| {
        let (from, to) = (share(before, total), share(before + number, total));
        before += number;
        Slice {
            percent: format!("{:.1}", share(number, total) * 100.0),
            path: if number == total {
                String::new()
            } else {
                outline(from, to)
            },
            country,
            number,
            color,
        }
    };
    let slices = parts.into_iter().enumerate().map(slice).collect();
    let rest = others
        .iter()
        .map(|(country, number)| (named(country), *number))
        .collect();
    (slices, rest)
}

fn share(part: i64, whole: i64) -> f64 {
    // Numbers of accounts are far below what a float holds exactly.
    #[expect(clippy::cast_precision_loss, reason = "a drawing")]
    let share = part as f64 / whole.max(1) as f64;
    share
}

/// A slice of a circle of radius 80 around (90, 90), from one share of it to another, beginning at the top.
fn outline(from: f64, to: f64) -> String {
    let point = |share: f64| {
        let angle = (share - 0.25) * std::f64::consts::TAU;
        (90.0 + 80.0 * angle.cos(), 90.0 + 80.0 * angle.sin())
    };
    let ((x1, y1), (x2, y2)) = (point(from), point(to));
    let large = u8::from(to - from > 0.5);
    format!("M90 90 L{x1:.2} {y1:.2} A80 80 0 {large} 1 {x2:.2} {y2:.2} Z")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_last_twelve_months_begin_on_a_first() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        assert_eq!(
            year_until(day("2026-11-21")),
            Some((day("2025-12-01"), day("2026-11-21")))
        );
        assert_eq!(
            year_until(day("2024-02-29")),
            Some((day("2023-03-01"), day("2024-02-29")))
        );
    }

    #[test]
    fn slices_make_up_the_whole_circle_and_small_countries_are_one() {
        let of = |counts: &[i64]| {
            let countries: Vec<_> = counts
                .iter()
                .enumerate()
                .map(|(n, count)| (format!("C{n}"), *count))
                .collect();
            slices(&countries)
        };
        assert!(of(&[]).0.is_empty());
        let (one, _) = of(&[7]);
        assert_eq!((one[0].path.as_str(), one[0].percent.as_str()), ("", "100.0"));
        let (two, _) = of(&[3, 1]);
        assert_eq!(two[0].path, "M90 90 L90.00 10.00 A80 80 0 1 1 10.00 90.00 Z");
        assert_eq!(two[1].path, "M90 90 L10.00 90.00 A80 80 0 0 1 90.00 10.00 Z");
        let (many, rest) = of(&[9, 8, 7, 6, 5, 4, 3, 2, 1, 1]);
        assert_eq!((many.len(), rest.len()), (9, 2));
        assert_eq!((many[8].country.as_str(), many[8].number), ("others", 2));
    }
}
