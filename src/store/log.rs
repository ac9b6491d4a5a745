//! Reading the log by position: page after page, whole or of chosen types.
//!
//! SQLite answers on a thread of its own, which hands over each row with a switch between the two, and copies each of
//! its columns. A piece of the log therefore comes as one row with one text: that is more than five times as fast.

use std::ops::ControlFlow;

use futures::TryStreamExt as _;
use sqlx::Row as _;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use uuid::Uuid;

use super::engine::Engine;
use super::read::{EVENT_COLUMNS, EventRecord, record};
use super::{Store, StoreError};

use aggregates::values::Timestamp;

/// How many events a piece may have at most, how many the first has, and how large a piece should be at most.
const MOST: i64 = 256;
const FIRST: i64 = 64;
const PIECE_BYTES: usize = 256 << 10;
/// What stands between two events of a piece, and between two columns of one: neither is in JSON's text nor in a name.
const BETWEEN_EVENTS: char = '\u{1e}';
const BETWEEN_COLUMNS: char = '\u{1f}';

/// Which events to read, in the order of the log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch<'a> {
    /// After this position.
    pub after: i64,
    /// Up to this one, and it included.
    pub until: i64,
    /// At most so many.
    pub most: i64,
    /// Of these types; none: of any.
    pub types: &'a [&'static str],
}

impl Store {
    /// The events after a position, in order.
    pub async fn events_after(&self, position: i64, limit: i64) -> Result<Vec<EventRecord>, StoreError> {
        self.events_of_types(&[], position, i64::MAX, limit).await
    }

    /// The events after a position, up to another and it included, that are of one of these types, in order. No types:
    /// of any.
    ///
    /// It looks at every event between the two, so they must not be far apart: there is no index by type, which every
    /// append would pay for.
    pub async fn events_of_types(
        &self,
        types: &[&'static str],
        after: i64,
        until: i64,
        limit: i64,
    ) -> Result<Vec<EventRecord>, StoreError> {
        let stretch = Stretch {
            after,
            until,
            most: limit,
            types,
        };
        let mut records = Vec::new();
        let take = |record| {
            records.push(record);
            Ok(ControlFlow::Continue(()))
        };
        match &self.inner.engine {
            Engine::Postgres { pool, .. } => of_postgres(&mut *pool.acquire().await?, stretch, take).await?,
            Engine::Sqlite { pool, .. } => of_sqlite(&mut *pool.acquire().await?, stretch, take).await?,
        }
        Ok(records)
    }
}

/// The statement for a stretch: its ends and `most` are the first three arguments, its types follow.
fn statement(types: &[&str]) -> String {
    let mut condition = String::from("position > $1 AND position <= $2");
    if !types.is_empty() {
        let places: Vec<String> = (0..types.len()).map(|place| format!("${}", place + 4)).collect();
        condition = format!("{condition} AND event_type IN ({})", places.join(", "));
    }
    format!("{EVENT_COLUMNS} WHERE {condition} ORDER BY position LIMIT $3")
}

/// What a stretch's events are given to, one after another, until it has enough.
pub(super) trait Take: FnMut(EventRecord) -> Result<ControlFlow<()>, StoreError> {}

impl<F: FnMut(EventRecord) -> Result<ControlFlow<()>, StoreError>> Take for F {}

/// Reads a stretch row by row, on either engine.
macro_rules! by_rows {
    ($connection:expr, $stretch:expr, $take:expr) => {{
        let sql = statement($stretch.types);
        let mut query = sqlx::query(&sql)
            .bind($stretch.after)
            .bind($stretch.until)
            .bind($stretch.most);
        for name in $stretch.types {
            query = query.bind(*name);
        }
        let mut rows = query.fetch($connection);
        while let Some(row) = rows.try_next().await? {
            if $take(record!(row)?)?.is_break() {
                break;
            }
        }
        Ok(())
    }};
}

/// Reads a stretch.
pub(super) async fn of_postgres(
    connection: &mut PgConnection,
    stretch: Stretch<'_>,
    mut take: impl Take,
) -> Result<(), StoreError> {
    by_rows!(connection, stretch, take)
}

/// Reads a stretch, piece by piece.
pub(super) async fn of_sqlite(
    connection: &mut SqliteConnection,
    mut stretch: Stretch<'_>,
    mut take: impl Take,
) -> Result<(), StoreError> {
    let sql = format!(
        "SELECT group_concat(concat_ws(char(31), aggregate_type, aggregate_id, sequence, event_type, event_version,
                                       position, event_id, subject, recorded_at, metadata, payload), char(30))
         FROM ({})",
        statement(stretch.types)
    );
    let mut size = FIRST;
    while stretch.most > 0 {
        let asked = size.min(stretch.most);
        let mut query = sqlx::query(&sql).bind(stretch.after).bind(stretch.until).bind(asked);
        for name in stretch.types {
            query = query.bind(*name);
        }
        let row = query.fetch_one(&mut *connection).await?;
        let Some(piece) = row.try_get::<Option<&str>, _>(0)? else {
            break;
        };
        let mut found = 0;
        for event in piece.split(BETWEEN_EVENTS) {
            let Some(record) = unpacked(event).filter(|record| record.position > stretch.after) else {
                // No append writes such a row. By itself it is read as far as it can be, and what is before it counts.
                return by_rows!(connection, stretch, take);
            };
            found += 1;
            stretch.after = record.position;
            stretch.most -= 1;
            if take(record)?.is_break() {
                return Ok(());
            }
        }
        if found < asked {
            break;
        }
        size = match piece.len() {
            large if large > PIECE_BYTES => (size / 2).max(1),
            small if small < PIECE_BYTES / 2 => (size * 2).min(MOST),
            _ => size,
        };
    }
    Ok(())
}

/// One event of a piece.
fn unpacked(event: &str) -> Option<EventRecord> {
    let mut columns = event.split(BETWEEN_COLUMNS);
    let record = EventRecord {
        aggregate_type: columns.next()?.to_owned(),
        aggregate_id: columns.next()?.to_owned(),
        sequence: columns.next()?.parse().ok()?,
        event_type: columns.next()?.to_owned(),
        event_version: columns.next()?.to_owned(),
        position: columns.next()?.parse().ok()?,
        event_id: Uuid::parse_str(columns.next()?).ok()?,
        subject: columns.next()?.to_owned(),
        recorded_at: Timestamp::from_micros(columns.next()?.parse().ok()?),
        metadata: columns.next()?.to_owned(),
        payload: columns.next()?.to_owned(),
    };
    columns.next().is_none().then_some(record)
}
