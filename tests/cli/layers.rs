//! What no part of the program may know of another, read in its sources.

use std::path::Path;

#[test]
fn a_dialect_only_translates() {
    // The store, and the rules of the log: between them and a dialect stands the registry.
    let beyond = [
        "sqlx",
        "SELECT ",
        "aggregates::user",
        "aggregates::domain",
        "aggregates::session",
        "crate::store",
    ];
    for dialect in ["agstack", "cadasta", "xhoppe", "taxi"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http").join(dialect);
        let files: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        assert!(files.len() > 1, "{dialect}");
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            let found: Vec<_> = beyond.iter().filter(|word| text.contains(**word)).collect();
            assert!(found.is_empty(), "{}: {found:?}", file.display());
        }
    }
}
