//! Reading the log for those who follow it from outside: pages by position, of chosen types.

use super::engine::on_pool;
use super::read::{EVENT_COLUMNS, record};
use super::{EventRecord, Store, StoreError};
use sqlx::Row as _;
use uuid::Uuid;

use aggregates::values::Timestamp;

impl Store {
    /// The events after a position, up to another and it included, that are of one of these types, in order.
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
        let places: Vec<String> = (0..types.len()).map(|place| format!("${}", place + 4)).collect();
        let sql = format!(
            "{EVENT_COLUMNS} WHERE position > $1 AND position <= $2 AND event_type IN ({})
             ORDER BY position LIMIT $3",
            places.join(", ")
        );
        on_pool!(&self.inner.engine, pool => {
            let mut query = sqlx::query(&sql).bind(after).bind(until).bind(limit);
            for name in types {
                query = query.bind(*name);
            }
            let rows = query.fetch_all(pool).await?;
            Ok(rows.into_iter().map(|row| record!(row)).collect::<Result<_, sqlx::Error>>()?)
        })
    }
}
