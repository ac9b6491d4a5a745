//! The notary: its tree, its heads, its copies outside.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use user_registry::audit::NotaryKeys;
use user_registry::audit::check::{Checked, check};
use user_registry::audit::note::{Head, PublicKey, open};
use user_registry::audit::tree::{self, Node};
use user_registry::audit::witness::{ERASED, HeadFile, LeafFile, Witness};
use user_registry::follow::{FollowError, FollowOptions, Health, Notary, NotaryOptions};
use user_registry::store::Store;

use crate::harness::{Database, Kind, until};
use crate::people::{account, called, erase, tell_user};
use crate::rebuild::{Dice, History};

const OPTIONS: FollowOptions = FollowOptions {
    lease: Duration::from_secs(20),
    retry: Duration::from_millis(10),
};

pub fn options(folders: &[PathBuf], events: u32) -> NotaryOptions {
    NotaryOptions {
        folders: folders.to_vec(),
        every: Duration::from_millis(20),
        events,
    }
}

pub fn keys(store: &Store) -> Vec<PublicKey> {
    NotaryKeys::of(store.keyring()).unwrap().public()
}

/// Covers everything, as `owner`.
pub async fn cover(store: &Store, folders: &[PathBuf], events: u32) {
    let notary = Notary::new(store.clone(), options(folders, events));
    assert!(notary.once("test", OPTIONS).await.unwrap());
}

pub async fn checked(store: &Store, folder: &Path) -> Checked {
    check(store, &keys(store), &[folder.to_owned()]).await.unwrap()
}

fn heads_in(folder: &Path) -> Vec<String> {
    let mut heads = HeadFile::open(folder).unwrap().unwrap();
    std::iter::from_fn(|| heads.next_note().unwrap()).collect()
}

async fn proof(store: &Store, path: Option<tree::Path>) -> Vec<tree::Hash> {
    let path = path.unwrap();
    let nodes: Vec<Node> = path.nodes().collect();
    let hashes = store.tree_hashes(&nodes).await.unwrap();
    path.hashes(|node| hashes.get(&node).copied()).unwrap()
}

pub async fn every_event_is_proved_and_every_head_continues_the_one_before(database: Arc<Database>) {
    let store = database.open().await;
    let folder = database.folder().join("notary");
    let second = database.folder().join("second");
    let folders = [folder.clone(), second.clone()];
    let (mut dice, mut history) = (Dice(5), History::default());
    // The first head covers nothing.
    cover(&store, &folders, 10).await;
    for _ in 0..12 {
        for _ in 0..8 {
            history.step(&[&store], &mut dice).await;
        }
        cover(&store, &folders, 10).await;
        let checked = checked(&store, &folder).await;
        assert_eq!((checked.findings, checked.uncovered), (vec![], 0));
    }
    let keys = keys(&store);
    let stored = store.heads_after(-1, 1_000).await.unwrap();
    let heads: Vec<Head> = stored
        .iter()
        .map(|head| Head::open(&head.note, &keys).unwrap())
        .collect();
    assert_eq!((heads[0].size, heads[0].root), (0, tree::empty_root()));
    let size = heads.last().unwrap().size;
    assert_eq!(i64::try_from(size).unwrap(), store.head().await.unwrap().position);
    for event in store.hashed_events(0, 1_000).await.unwrap() {
        let index = u64::try_from(event.record.position).unwrap() - 1;
        let leaf = event.record.leaf_hash();
        assert_eq!(event.leaf, Some(leaf));
        for head in heads.iter().filter(|head| head.size > index) {
            let proof = proof(&store, tree::Path::inclusion(index, head.size)).await;
            assert_eq!(
                tree::root_of_inclusion(&leaf, index, head.size, &proof),
                Some(head.root)
            );
        }
    }
    for pair in heads.windows(2) {
        assert!(pair[1].size > pair[0].size && pair[1].size <= pair[0].size + 10);
    }
    for old in &heads {
        for new in heads.iter().filter(|new| new.size >= old.size) {
            let proof = proof(&store, tree::Path::consistency(old.size, new.size)).await;
            assert!(tree::is_consistent(old.size, new.size, &old.root, &new.root, &proof));
        }
    }
    // The copies are the heads, to the byte, and the hashes are the leaves.
    let notes: Vec<String> = stored.into_iter().map(|head| head.note).collect();
    for folder in &folders {
        assert_eq!(heads_in(folder), notes);
        let mut leaves = LeafFile::open(folder).unwrap().unwrap();
        let leaves: Vec<_> = std::iter::from_fn(|| leaves.next_leaf().unwrap()).collect();
        assert_eq!(
            leaves,
            store.leaf_hashes(0, i64::try_from(size).unwrap()).await.unwrap()
        );
        let erased = std::fs::read_to_string(folder.join(ERASED)).unwrap();
        let listed: Vec<_> = erased.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
        let expected = store.erasures(0, i64::MAX).await.unwrap();
        assert_eq!(listed, expected.iter().map(|one| one.user.as_str()).collect::<Vec<_>>());
    }
}

pub async fn another_process_goes_on_and_brings_its_own_copies_up_to_date(database: Arc<Database>) {
    let (one, other) = (database.open().await, database.open().await);
    let (here, there) = (database.folder().join("here"), database.folder().join("there"));
    let run = |store: &Store, folder: &Path, owner: &str, stop: &tokio_util::sync::CancellationToken| {
        let notary = Notary::new(store.clone(), options(&[folder.to_owned()], 1_000));
        let health = Health::default();
        let task = tokio::spawn(notary.run(owner.to_owned(), OPTIONS, health.clone(), stop.clone()));
        (task, health)
    };
    let (stop_one, stop_other) = Default::default();
    let (first, _) = run(&one, &here, "one", &stop_one);
    let covered = async |folder: &Path| {
        let head = one.head().await.unwrap().position;
        until("the head to be copied", || async {
            let heads = HeadFile::open(folder)
                .unwrap()
                .map(|_| heads_in(folder))
                .unwrap_or_default();
            let last = heads.last().and_then(|note| Head::open(note, &keys(&one)).ok());
            last.is_some_and(|last| i64::try_from(last.size) == Ok(head))
        })
        .await;
    };
    let ada = account(&one, "ada@farm.example").await;
    covered(&here).await;
    let (second, health) = run(&other, &there, "other", &stop_other);
    for number in 0..20 {
        tell_user(&one, ada, || called(&format!("Ada {number}"))).await;
    }
    covered(&here).await;
    assert!(!there.join("heads").exists(), "one at a time");
    stop_one.cancel();
    first.await.unwrap();
    erase(&other, ada).await;
    covered(&there).await;
    assert_eq!(health.stopped(), []);
    let (ours, theirs) = (heads_in(&here), heads_in(&there));
    assert_eq!(theirs[..ours.len()], ours, "what the other had signed is copied too");
    assert!(
        std::fs::read_to_string(there.join(ERASED))
            .unwrap()
            .ends_with(&format!(" {ada}\n"))
    );
    for folder in [&here, &there] {
        assert_eq!(checked(&one, folder).await.findings, [], "{}", folder.display());
    }
    stop_other.cancel();
    second.await.unwrap();
}

/// A process that hangs keeps the lock on the files, but the lease has passed.
pub async fn files_of_a_process_that_hangs_are_taken_over(database: Arc<Database>) {
    let store = database.open().await;
    let folders = [database.folder().join("notary")];
    account(&store, "ada@farm.example").await;
    cover(&store, &folders, 10).await;
    let mut hung = Witness::open(&folders[0]).unwrap().unwrap();
    account(&store, "grace@farm.example").await;
    cover(&store, &folders, 10).await;
    // It wakes, and adds nothing.
    let heads = store.heads_after(1, 10).await.unwrap();
    let notes: Vec<String> = heads.into_iter().map(|head| head.note).collect();
    assert_eq!(notes.len(), 1);
    let leaves = store.leaf_hashes(1, 2).await.unwrap();
    hung.append(&leaves, &[], &notes).unwrap_err();
    account(&store, "joan@farm.example").await;
    cover(&store, &folders, 10).await;
    assert_eq!(checked(&store, &folders[0]).await.findings, []);
    assert_eq!(heads_in(&folders[0]).len(), 4);

    // Those of whom nothing is known, or who write for another store, are left alone.
    for foreign in [false, true] {
        let other = database.folder().join(format!("other-{foreign}"));
        let mut theirs = Witness::open(&other).unwrap().unwrap();
        if foreign {
            let head = Head {
                origin: "log.example".to_owned(),
                size: 1,
                root: [7; 32],
            };
            let note = format!("{}\n\u{2014} log.example AAAAAA==\n", head.text());
            theirs.append(&[[7; 32]], &[], &[note]).unwrap();
        }
        let notary = Notary::new(store.clone(), options(&[other], 10));
        let refused = notary.once("test", OPTIONS).await;
        let Err(FollowError::Later(problem)) = refused else {
            panic!("{refused:?}")
        };
        assert!(problem.contains("another process writes to"), "{problem}");
        theirs.append(&[], &[], &[]).unwrap();
    }
}

pub async fn after_a_rotation_old_heads_stay_verifiable(database: Arc<Database>) {
    let (store, other) = (database.open().await, database.open().await);
    let folders = [database.folder().join("notary")];
    account(&store, "ada@farm.example").await;
    cover(&store, &folders, 10).await;
    let old = keys(&store);
    assert_eq!(old.len(), 1);
    let new = other.add_notary_key().await.unwrap();
    // Another process hears of it.
    store.renew_keys().await.unwrap();
    assert_eq!(keys(&store), [new.clone(), old[0].clone()]);
    assert_eq!(new.name(), old[0].name(), "the log keeps its name");
    for email in ["grace@farm.example", "joan@farm.example"] {
        account(&store, email).await;
        cover(&store, &folders, 10).await;
    }
    let heads = store.heads_after(0, 10).await.unwrap();
    let by = |number: usize, key: &PublicKey| open(&heads[number].note, std::slice::from_ref(key)).is_ok();
    assert_eq!((by(0, &old[0]), by(0, &new)), (true, false));
    assert_eq!(
        (by(1, &old[0]), by(1, &new)),
        (true, true),
        "the former vouches for the new one"
    );
    assert_eq!((by(2, &old[0]), by(2, &new)), (false, true));
    assert_eq!(checked(&store, &folders[0]).await.findings, []);
    // Heads survive another master too.
    let restarted = database.open().await;
    assert_eq!(keys(&restarted), keys(&store));
}

pub async fn a_store_behind_its_copies_is_not_signed(database: Arc<Database>) {
    let store = database.open().await;
    let folders = [database.folder().join("notary")];
    for number in 0..10 {
        account(&store, &format!("p{number}@farm.example")).await;
    }
    cover(&store, &folders, 2).await;
    let mut raw = database.raw().await;
    unlocked(&mut raw, database.kind).await;
    for sql in [
        "DELETE FROM events WHERE position > 7",
        "DELETE FROM tree_nodes WHERE last_position > 6",
        "DELETE FROM tree_heads WHERE size > 6",
        "UPDATE log_head SET position = 7",
        "UPDATE checkpoints SET position = 6 WHERE follower = 'notary'",
    ] {
        raw.execute(sql).await;
    }
    let notary = Notary::new(store.clone(), options(&folders, 2));
    let refused = notary.once("test", OPTIONS).await;
    let Err(FollowError::Never(problem)) = refused else {
        panic!("{refused:?}")
    };
    assert!(problem.contains("tells of 10 events and the log has 7"), "{problem}");
    let found = checked(&store, &folders[0]).await.findings;
    assert_eq!(found[0].position, 8, "{found:?}");
}

pub async fn an_event_altered_before_it_was_covered_stops_the_notary(database: Arc<Database>) {
    let store = database.open().await;
    let folders = [database.folder().join("notary")];
    account(&store, "ada@farm.example").await;
    cover(&store, &folders, 10).await;
    account(&store, "grace@farm.example").await;
    let mut raw = database.raw().await;
    unlocked(&mut raw, database.kind).await;
    raw.execute("UPDATE events SET recorded_at = recorded_at + 1 WHERE position = 2")
        .await;
    let notary = Notary::new(store.clone(), options(&folders, 10));
    let health = Health::default();
    let stop = tokio_util::sync::CancellationToken::new();
    let task = tokio::spawn(notary.run("test".into(), OPTIONS, health.clone(), stop.clone()));
    until("the notary to stop", || async { health.stopped() == [("notary", 2)] }).await;
    let state = store.checkpoints().await.unwrap();
    let notary = state.iter().find(|one| one.follower == "notary").unwrap();
    assert_eq!((notary.position, notary.error_position), (1, Some(2)));
    stop.cancel();
    task.await.unwrap();
}

pub async fn the_tree_and_its_heads_cannot_be_changed(database: Arc<Database>) {
    let store = database.open().await;
    for number in 0..3 {
        account(&store, &format!("p{number}@farm.example")).await;
    }
    cover(&store, &[database.folder().join("notary")], 10).await;
    let mut raw = database.raw().await;
    for sql in [
        "UPDATE tree_nodes SET level = 7",
        "DELETE FROM tree_nodes",
        "UPDATE tree_heads SET note = 'x'",
        "DELETE FROM tree_heads",
    ] {
        let refused = raw.try_execute(sql).await.unwrap_err().to_string();
        assert!(refused.contains("append-only"), "{refused}");
    }
}

/// Takes away what protects the log and the tree.
pub async fn unlocked(raw: &mut crate::harness::Raw, kind: Kind) {
    let statements: &[&str] = match kind {
        Kind::Sqlite => &[
            "DROP TRIGGER events_no_update",
            "DROP TRIGGER events_no_delete",
            "DROP TRIGGER events_no_replace",
            "DROP TRIGGER tree_nodes_no_update",
            "DROP TRIGGER tree_nodes_no_delete",
            "DROP TRIGGER tree_heads_no_update",
            "DROP TRIGGER tree_heads_no_delete",
        ],
        Kind::Postgres => &[
            "ALTER TABLE events DISABLE TRIGGER USER",
            "ALTER TABLE tree_nodes DISABLE TRIGGER USER",
            "ALTER TABLE tree_heads DISABLE TRIGGER USER",
        ],
    };
    for sql in statements {
        raw.execute(sql).await;
    }
}
