//! What the reads are held against: a bare axum handler with one indexed select on the same table.

use std::process::Command;

use anyhow::{Context as _, Result};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{ColumnIndex, Decode, FromRow, PgPool, SqlitePool, Type};
use tokio::net::TcpListener;

use crate::place::Place;
use crate::service::Process;

/// The first argument of such a process.
pub const CHILD: &str = "bare-handler";
/// As many as the service has by default.
const CONNECTIONS: u32 = 8;
const SELECT: &str = "SELECT id, username, version FROM users WHERE id = $1";

#[derive(Serialize)]
struct Row {
    id: String,
    username: Option<String>,
    version: i64,
}

impl<'r, R: sqlx::Row> FromRow<'r, R> for Row
where
    &'static str: ColumnIndex<R>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    Option<String>: Decode<'r, R::Database> + Type<R::Database>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            username: row.try_get("username")?,
            version: row.try_get("version")?,
        })
    }
}

#[derive(Clone)]
enum Pool {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

async fn row(State(pool): State<Pool>, Path(id): Path<String>) -> Result<Json<Row>, StatusCode> {
    let row = match &pool {
        Pool::Postgres(pool) => sqlx::query_as(SELECT).bind(id).fetch_optional(pool).await,
        Pool::Sqlite(pool) => sqlx::query_as(SELECT).bind(id).fetch_optional(pool).await,
    };
    match row {
        Ok(Some(row)) => Ok(Json(row)),
        Ok(None) => Err(StatusCode::NOT_FOUND),
        Err(_) => Err(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// Serves until it is killed.
pub async fn child(database: &str) -> Result<()> {
    let pool = if database.starts_with("postgres") {
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .test_before_acquire(false);
        Pool::Postgres(pool.connect(database).await?)
    } else {
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS)
            .test_before_acquire(false);
        let file = SqliteConnectOptions::new().filename(database).read_only(true);
        Pool::Sqlite(pool.connect_with(file).await?)
    };
    let router = Router::new().route("/row/{id}", get(row)).with_state(pool);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, router).await.context("the listener failed")
}

/// Starts one over the database of a place.
pub fn start(place: &Place) -> Result<Process> {
    let file = place.folder.path().join("registry.db").display().to_string();
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(CHILD).arg(place.url()?.unwrap_or(file));
    Process::start(command)
}
