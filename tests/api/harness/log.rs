//! The database, read past the service.

use std::collections::BTreeSet;

use sqlx::Row as _;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;

/// A connection to the database of a place.
pub enum Log {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub position: i64,
    pub aggregate: String,
    pub stream: String,
    pub sequence: i64,
    pub kind: String,
    pub subject: String,
}

macro_rules! rows {
    ($log:expr, $sql:expr, $row:ident => $read:expr) => {
        match $log {
            Log::Postgres(one) => sqlx::query($sql)
                .fetch_all(one)
                .await
                .unwrap()
                .iter()
                .map(|$row| $read)
                .collect(),
            Log::Sqlite(one) => sqlx::query($sql)
                .fetch_all(one)
                .await
                .unwrap()
                .iter()
                .map(|$row| $read)
                .collect(),
        }
    };
}

impl Log {
    /// The position of the last event.
    pub async fn head(&mut self) -> i64 {
        self.numbers("SELECT position FROM log_head").await[0]
    }

    /// How many events there are beside failed sign-ins, which are written down after their answer.
    pub async fn written(&mut self) -> i64 {
        self.count("events", "event_type <> 'session.failed'").await
    }

    /// Every event.
    pub async fn events(&mut self) -> Vec<Event> {
        let sql = "SELECT position, aggregate_type, aggregate_id, sequence, event_type, subject FROM events \
                   ORDER BY position";
        rows!(self, sql, row => Event {
            position: row.get(0),
            aggregate: row.get(1),
            stream: row.get(2),
            sequence: row.get(3),
            kind: row.get(4),
            subject: row.get(5),
        })
    }

    /// The types of the events after a position.
    pub async fn types_after(&mut self, position: i64) -> Vec<String> {
        self.texts(&format!(
            "SELECT event_type FROM events WHERE position > {position} ORDER BY position"
        ))
        .await
    }

    /// The first column of every row, as numbers.
    pub async fn numbers(&mut self, sql: &str) -> Vec<i64> {
        rows!(self, sql, row => row.get(0))
    }

    /// The first column of every row, as texts.
    pub async fn texts(&mut self, sql: &str) -> Vec<String> {
        rows!(self, sql, row => row.get(0))
    }

    /// How many rows a table has under a condition.
    pub async fn count(&mut self, table: &str, condition: &str) -> i64 {
        self.numbers(&format!("SELECT count(*) FROM {table} WHERE {condition}"))
            .await[0]
    }

    /// Every table there is.
    pub async fn tables(&mut self) -> Vec<String> {
        let sql = match self {
            Self::Postgres(_) => {
                "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1"
            }
            Self::Sqlite(_) => "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1",
        };
        self.texts(sql).await
    }

    /// The statement that gives every row of every table but these as one text, its table's name before it.
    pub async fn all_rows(&mut self, but: &[&str]) -> String {
        let mut parts = Vec::new();
        for table in self.tables().await {
            if !but.contains(&table.as_str()) {
                let row = self.row(&table).await;
                parts.push(format!("SELECT '{table}: ' || {row} FROM \"{table}\" AS t"));
            }
        }
        parts.join(" UNION ALL ")
    }

    /// The first column of every row, as texts in order.
    pub async fn sorted(&mut self, sql: &str) -> BTreeSet<String> {
        self.texts(sql).await.into_iter().collect()
    }

    /// Every row of a table as text; bytes as hexadecimal digits.
    pub async fn dump(&mut self, table: &str) -> String {
        let row = self.row(table).await;
        self.texts(&format!("SELECT {row} FROM \"{table}\" AS t"))
            .await
            .join("\n")
    }

    /// What makes one text of a row of a table.
    async fn row(&mut self, table: &str) -> String {
        match self {
            Self::Postgres(_) => "t::text".to_owned(),
            Self::Sqlite(_) => {
                let columns = self
                    .texts(&format!("SELECT name FROM pragma_table_info('{table}')"))
                    .await;
                let quoted: Vec<String> = columns.iter().map(|name| format!("quote(\"{name}\")")).collect();
                quoted.join(" || ',' || ")
            }
        }
    }
}
