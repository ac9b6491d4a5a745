//! Everything a store holds, to be searched: a whole PostgreSQL database as text, a folder byte for byte.

use std::path::Path;
use std::process::Command;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _};

/// What was read, and what read it.
pub struct Dump {
    pub by: &'static str,
    pub bytes: Vec<u8>,
}

/// The URL of another database of the same server.
pub fn url_of(server: &str, database: &str) -> String {
    let (start, rest) = server.split_once("://").unwrap();
    let (host, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let query = rest
        .split_once('?')
        .map(|(_, query)| format!("?{query}"))
        .unwrap_or_default();
    format!("{start}://{host}/{database}{query}")
}

/// Every column of every row, and what `pg_dump` writes where it is installed. What is in columns of bytes is there as
/// bytes too.
pub async fn postgres(url: &str) -> Dump {
    let mut text = columns(url).await;
    let by = match Command::new("pg_dump").args(["--dbname", url]).output() {
        Ok(output) => {
            // One that is older than the server refuses; then the columns must do.
            if output.status.success() {
                assert!(String::from_utf8_lossy(&output.stdout).contains("COPY public.events "));
                text.push_str(&String::from_utf8_lossy(&output.stdout));
                "pg_dump and every column of every row"
            } else {
                "every column of every row (pg_dump refuses)"
            }
        }
        Err(_) => "every column of every row (there is no pg_dump)",
    };
    let mut bytes = unwrapped(&text);
    bytes.extend(text.into_bytes());
    Dump { by, bytes }
}

async fn columns(url: &str) -> String {
    const TABLES: &str = "
        SELECT format('%I.%I', table_schema, table_name) FROM information_schema.tables
        WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1";
    let mut connection: PgConnection = url.parse::<PgConnectOptions>().unwrap().connect().await.unwrap();
    let mut text = String::new();
    let tables: Vec<String> = sqlx::query_scalar(TABLES).fetch_all(&mut connection).await.unwrap();
    assert!(tables.len() > 20, "{tables:?}");
    for table in tables {
        let sql = format!("SELECT t::text FROM {table} AS t");
        let rows: Vec<String> = sqlx::query_scalar(&sql).fetch_all(&mut connection).await.unwrap();
        text.extend(rows.into_iter().map(|row| row + "\n"));
    }
    connection.close().await.unwrap();
    text
}

/// The bytes that stand in a text as `\x…`.
fn unwrapped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in text.split("\\x").skip(1) {
        let digits = part.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(part.len());
        bytes.extend((0..digits / 2).filter_map(|at| u8::from_str_radix(&part[at * 2..at * 2 + 2], 16).ok()));
        bytes.push(0);
    }
    bytes
}

/// Every file below a folder but those in folders of one of these names.
pub fn folder(folder: &Path, but: &[&str]) -> Dump {
    let mut bytes = Vec::new();
    below(folder, but, &mut bytes);
    assert!(!bytes.is_empty(), "{} is empty", folder.display());
    Dump {
        by: "every byte of every file",
        bytes,
    }
}

fn below(folder: &Path, but: &[&str], into: &mut Vec<u8>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !but.iter().any(|name| path.ends_with(name)) {
            below(&path, but, into);
        } else if path.is_file() {
            // It may be gone by now: companions of the database come and go.
            into.extend(std::fs::read(path).unwrap_or_default());
        }
    }
}
