//! The scripts that bring a database up to date, as they stand in `migrations/`: one list for both engines, so that
//! none can have a number or a name that the other lacks.
//!
//! The library's own macro would do the same, and would have the library with both its drivers compiled a second time,
//! for the compiler to run.

use std::borrow::Cow;

use sqlx::migrate::{Migration, MigrationType, Migrator};

macro_rules! scripts {
    ($($name:literal),* $(,)?) => {
        const POSTGRES: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../migrations/postgres/", $name, ".sql")))),*];
        const SQLITE: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../migrations/sqlite/", $name, ".sql")))),*];
    };
}

scripts![
    "0001_log",
    "0002_identity",
    "0003_keys",
    "0004_read_models",
    "0005_followers",
    "0006_farewells",
    "0007_api_key_uses",
    "0008_claims",
    "0009_search",
    "0010_statistics",
    "0011_undelivered",
    "0013_past_codes",
    "0015_skips",
    "0016_tree",
    "0017_secret_kinds",
    "0018_outside",
    "0019_sorted_words",
    "0020_rule_positions",
];

pub fn postgres() -> Migrator {
    migrator(POSTGRES)
}

pub fn sqlite() -> Migrator {
    migrator(SQLITE)
}

fn migrator(scripts: &'static [(&str, &str)]) -> Migrator {
    let migrations = scripts.iter().map(|(name, sql)| {
        let (number, title) = name.split_once('_').unwrap_or((name, ""));
        Migration::new(
            number.parse().unwrap_or_default(),
            Cow::Owned(title.replace('_', " ")),
            MigrationType::Simple,
            Cow::Borrowed(sql),
            false,
        )
    });
    Migrator {
        migrations: Cow::Owned(migrations.collect()),
        ..Migrator::DEFAULT
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_script_of_the_folders_is_in_the_list_in_order() {
        for (engine, scripts) in [("postgres", POSTGRES), ("sqlite", SQLITE)] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../../migrations")
                .join(engine);
            let mut files: Vec<String> = std::fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            files.sort();
            let listed: Vec<String> = scripts.iter().map(|(name, _)| format!("{name}.sql")).collect();
            assert_eq!(listed, files, "{engine}");
        }
    }

    /// What a database notes of a script: were it to change, no store that exists would start.
    #[test]
    fn numbers_and_checksums_are_those_of_the_library() {
        for (engine, migrator) in [("postgres", postgres()), ("sqlite", sqlite())] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../../migrations")
                .join(engine);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let read = runtime.block_on(Migrator::new(folder)).unwrap();
            let facts = |migrator: &Migrator| -> Vec<_> {
                migrator
                    .iter()
                    .map(|one| (one.version, one.description.clone(), one.checksum.clone(), one.no_tx))
                    .collect()
            };
            assert_eq!(facts(&migrator), facts(&read), "{engine}");
            assert!(migrator.iter().all(|one| one.version > 0));
        }
    }
}
