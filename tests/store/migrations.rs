//! The migrations: the same tables on both engines, every column explained.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aggregates::domain::DomainCommand;
use user_registry::store::SecretKind;

use crate::harness::{Database, Kind};
use crate::people::{fresh_id, person, tell_domain, try_register};

const SECRETS: [SecretKind; 8] = [
    SecretKind::Refresh,
    SecretKind::ApiKey,
    SecretKind::Opaque,
    SecretKind::Device,
    SecretKind::Authority,
    SecretKind::ShortAuthority,
    SecretKind::PairedKey,
    SecretKind::ClientSecret,
];

fn folder(engine: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(engine)
}

fn files(engine: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder(engine)).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// Columns as `table.column`, each with whether a comment stands right above it.
fn columns(engine: &str) -> BTreeMap<String, bool> {
    let mut columns = BTreeMap::new();
    for file in files(engine) {
        let text = std::fs::read_to_string(folder(engine).join(file)).unwrap();
        let (mut table, mut explained) = (None, false);
        for line in text.lines() {
            let line = line.trim();
            if let Some(rest) = line.strip_prefix("CREATE TABLE ") {
                table = rest.split_whitespace().next();
            } else if line.starts_with(')') {
                table = None;
            } else if let (Some(table), Some(word)) = (table, line.split_whitespace().next())
                && word.chars().all(|c| c.is_ascii_lowercase() || c == '_')
            {
                columns.insert(format!("{table}.{word}"), explained);
            }
            if let Some((table, rest)) = line
                .strip_prefix("ALTER TABLE ")
                .and_then(|rest| rest.split_once(" ADD COLUMN "))
            {
                let name = rest.split_whitespace().next().unwrap();
                columns.insert(format!("{table}.{name}"), explained);
            }
            explained = line.starts_with("--");
        }
    }
    columns
}

pub async fn every_column_has_a_comment(database: Arc<Database>) {
    database.open().await.close().await;
    assert_eq!(files("postgres"), files("sqlite"));
    let (postgres, sqlite) = (columns("postgres"), columns("sqlite"));
    assert_eq!(postgres.keys().collect::<Vec<_>>(), sqlite.keys().collect::<Vec<_>>());

    let mut raw = database.raw().await;
    let (all, silent) = match database.kind {
        Kind::Postgres => {
            let columns = |condition: &str| {
                format!(
                    "SELECT c.relname || '.' || a.attname FROM pg_class AS c
                     JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = 'public'
                     JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                     WHERE c.relkind = 'r' AND c.relname <> '_sqlx_migrations' AND {condition}"
                )
            };
            let all = raw.texts(&columns("true")).await;
            let silent = raw
                .texts(&columns("coalesce(col_description(c.oid, a.attnum), '') = ''"))
                .await;
            let tables = raw
                .texts(
                    "SELECT c.relname::text FROM pg_class AS c
                     JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = 'public'
                     WHERE c.relkind = 'r' AND c.relname <> '_sqlx_migrations'
                       AND coalesce(obj_description(c.oid, 'pg_class'), '') = ''",
                )
                .await;
            assert_eq!(tables, [""; 0], "tables without a comment");
            let kinds = raw
                .texts(
                    "SELECT col_description('secrets'::regclass, attnum) FROM pg_attribute
                     WHERE attrelid = 'secrets'::regclass AND attname = 'kind'",
                )
                .await;
            for kind in SECRETS {
                assert!(
                    kinds[0].contains(kind.as_str()),
                    "{} is not in {kinds:?}",
                    kind.as_str()
                );
            }
            (all, silent)
        }
        Kind::Sqlite => {
            let all = raw
                .texts(
                    "SELECT t.name || '.' || c.name FROM sqlite_schema AS t JOIN pragma_table_info(t.name) AS c
                     WHERE t.type = 'table' AND t.name <> '_sqlx_migrations'",
                )
                .await;
            (
                all,
                sqlite
                    .iter()
                    .filter(|(_, explained)| !**explained)
                    .map(|(name, _)| name.clone())
                    .collect(),
            )
        }
    };
    assert_eq!(silent, [""; 0], "columns without a comment");
    let written: BTreeSet<String> = postgres.into_keys().collect();
    let tables: BTreeSet<&str> = written.iter().filter_map(|name| name.split('.').next()).collect();
    told!(
        "{:?}: {} columns of {} tables, each with its comment",
        database.kind,
        all.len(),
        tables.len()
    );
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), written);
}

/// A store of the version before, with people in it, is brought up to date: its words get what lists are sorted by.
pub async fn words_that_were_there_get_what_lists_are_sorted_by(database: Arc<Database>) {
    let store = database.open().await;
    for (email, username) in [
        (None, Some("Zoe_Upper")),
        (Some("no.name@farm.example"), None),
        (Some("both@farm.example"), Some("both_of_them")),
    ] {
        try_register(&store, person(&store, email, username)).await.unwrap();
    }
    store.close().await;
    let mut raw = database.raw().await;
    for statement in [
        "DROP INDEX user_words_word_idx",
        "ALTER TABLE user_words DROP COLUMN created_at",
        "ALTER TABLE user_words DROP COLUMN username",
        "CREATE INDEX user_words_word_idx ON user_words (word, user_id)",
        "DELETE FROM _sqlx_migrations WHERE version = 19",
    ] {
        raw.execute(statement).await;
    }
    let store = database.open().await;
    assert_eq!(raw.count("user_words", "username = 'zoe_upper'").await, 1);
    assert!(raw.count("user_words", "username = '' AND created_at > 0").await > 0);
    assert_eq!(store.rebuild(false).await.unwrap().differences, []);
}

/// The same of domains: their rules are told where they were made, as the log has it.
pub async fn rules_that_were_there_are_told_where_they_were_made(database: Arc<Database>) {
    let store = database.open().await;
    let block = || DomainCommand::Block {
        include_subdomains: true,
        reason: None,
    };
    let allow = || DomainCommand::Allow {
        include_subdomains: true,
        reason: None,
    };
    let token = || DomainCommand::IssueAuthorityToken {
        token_id: fresh_id(&store),
    };
    for name in ["blocked.example", "lifted.example", "allowed.example"] {
        tell_domain(&store, name, block).await;
    }
    tell_domain(&store, "lifted.example", || DomainCommand::Unblock { reason: None }).await;
    tell_domain(&store, "allowed.example", allow).await;
    for name in ["blocked.example", "lifted.example", "allowed.example", "seen.example"] {
        tell_domain(&store, name, token).await;
    }
    store.close().await;
    let mut raw = database.raw().await;
    raw.execute("ALTER TABLE domains DROP COLUMN rule_position").await;
    raw.execute("DELETE FROM _sqlx_migrations WHERE version = 20").await;
    let store = database.open().await;
    let places = raw.numbers("SELECT rule_position FROM domains ORDER BY name").await;
    assert_eq!(places, [5, 1, 0, 0]);
    assert_eq!(store.rebuild(false).await.unwrap().differences, []);
}
