//! The stock store of postgres-es with events as large as ours.

use std::collections::HashMap;
use std::convert::Infallible;

use cqrs_es::event_sink::EventSink;
use cqrs_es::persist::PersistedEventStore;
use cqrs_es::{Aggregate, CqrsFramework, DomainEvent};
use postgres_es::{PostgresCqrs, PostgresEventRepository};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;

/// An aggregate that does nothing but write.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Stock {
    written: u64,
}

/// Its one event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Written {
    Written { text: String },
}

impl DomainEvent for Written {
    fn event_type(&self) -> String {
        "user.profile_updated".to_owned()
    }

    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}

impl Aggregate for Stock {
    const TYPE: &'static str = "stock";
    type Command = String;
    type Event = Written;
    type Error = Infallible;
    type Services = ();

    async fn handle(&mut self, text: String, (): &(), sink: &EventSink<Self>) -> Result<(), Infallible> {
        sink.write(Written::Written { text }, self).await;
        Ok(())
    }

    fn apply(&mut self, _: Written) {
        self.written += 1;
    }
}

/// The table of the libraries' own script, under another name.
pub const TABLE: &str = "
    CREATE TABLE stock_events (
        aggregate_type text NOT NULL,
        aggregate_id text NOT NULL,
        sequence bigint CHECK (sequence >= 0) NOT NULL,
        event_type text NOT NULL,
        event_version text NOT NULL,
        payload json NOT NULL,
        metadata json NOT NULL,
        PRIMARY KEY (aggregate_type, aggregate_id, sequence)
    )";

/// A framework as its documentation makes one.
pub fn framework(pool: PgPool) -> PostgresCqrs<Stock> {
    let repository = PostgresEventRepository::new(pool).with_tables("stock_events", "stock_snapshots");
    CqrsFramework::new(PersistedEventStore::new_event_store(repository), Vec::new(), ())
}

/// What makes its rows as large as ours: the payload's text and the metadata.
pub fn sized(payload: usize, metadata: usize) -> (String, HashMap<String, String>) {
    let frame = r#"{"Written":{"text":""}}"#.len();
    let text = "x".repeat(payload.saturating_sub(frame));
    let metadata = HashMap::from([(
        "origin".to_owned(),
        "x".repeat(metadata.saturating_sub(r#"{"origin":""}"#.len())),
    )]);
    (text, metadata)
}
