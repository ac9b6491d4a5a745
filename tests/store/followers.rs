//! Followers: checkpoints, leases, and what happens when an owner dies or an event cannot be handled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use user_registry::follow::{FollowError, FollowOptions, Follower, Health, Start, Writes, run};
use user_registry::store::{Lease, OpenedEvent, RowWrite, Skipped, Store, Trouble};

use crate::harness::{Database, LONG, Raw, soon, until};
use crate::people::account_named;

const MINUTE: i64 = 60_000_000;

/// A table for rows of a follower's own.
async fn make_table(raw: &mut Raw) {
    raw.execute("CREATE TABLE noted (word TEXT NOT NULL, position BIGINT NOT NULL, PRIMARY KEY (word, position))")
        .await;
}

fn note(word: &str, position: i64) -> RowWrite {
    RowWrite {
        sql: "INSERT INTO noted (word, position) VALUES ($1, $2)",
        texts: vec![word.to_owned()],
        numbers: vec![position],
    }
}

async fn lease(store: &Store, owner: &str, length: i64) -> Option<Lease> {
    store.lease("test", owner, length, 0).await.unwrap()
}

pub async fn a_checkpoint_moves_in_the_transaction_of_its_rows(database: Arc<Database>) {
    let store = database.open().await;
    let mut raw = database.raw().await;
    make_table(&mut raw).await;
    let mut held = lease(&store, "one", MINUTE).await.unwrap();
    assert_eq!((held.position, held.epoch, held.error.as_deref()), (0, 1, None));
    assert!(
        store
            .advance(&mut held, 3, MINUTE, &[note("a", 3), note("b", 3)])
            .await
            .unwrap()
    );
    assert_eq!(held.position, 3);
    assert_eq!(raw.count("noted", "true").await, 2);
    // The second row cannot be written, so neither the first nor the checkpoint is.
    let failed = store.advance(&mut held, 4, MINUTE, &[note("c", 4), note("a", 3)]).await;
    assert!(failed.is_err());
    assert_eq!(held.position, 3);
    assert_eq!(store.checkpoints().await.unwrap()[0].position, 3);
    assert_eq!(raw.count("noted", "true").await, 2);
    // A checkpoint never goes back.
    assert!(!store.advance(&mut held, 2, MINUTE, &[note("d", 2)]).await.unwrap());
    assert_eq!(raw.count("noted", "true").await, 2);
    // A follower seen for the first time may begin later.
    let later = store.lease("later", "one", MINUTE, 17).await.unwrap().unwrap();
    assert_eq!(later.position, 17);
}

pub async fn what_came_to_its_end_is_forgotten_under_its_own_epoch_only(database: Arc<Database>) {
    let store = database.open().await;
    let again = async |owner: &str, length: i64| store.lease_again("test", owner, length).await.unwrap();
    assert_eq!(again("one", MINUTE).await, None, "there is none to be taken again");
    assert!(store.checkpoints().await.unwrap().is_empty(), "and none is made");
    let former = lease(&store, "one", MINUTE).await.unwrap();
    assert_eq!(again("one", 0).await.unwrap(), former);
    until("the lease to lapse", || async {
        again("other", MINUTE).await.is_some()
    })
    .await;
    let held = again("other", MINUTE).await.unwrap();
    store.finish(&former).await.unwrap();
    assert_eq!(store.checkpoints().await.unwrap().len(), 1, "it is another's by now");
    // What stands is told to whoever takes the lease, as the row says it.
    store.stopped(&held, 7, "away", Trouble::Outside).await.unwrap();
    assert_eq!(again("other", MINUTE).await.unwrap().stopped_at, None);
    store.stopped(&held, 7, "broken", Trouble::Event).await.unwrap();
    assert_eq!(again("other", MINUTE).await.unwrap().stopped_at, Some(7));
    store.finish(&held).await.unwrap();
    assert!(store.checkpoints().await.unwrap().is_empty());
}

pub async fn a_lease_excludes_others_until_it_lapses(database: Arc<Database>) {
    let (one, other) = (database.open().await, database.open().await);
    let mut raw = database.raw().await;
    make_table(&mut raw).await;
    let mut held = lease(&one, "one", MINUTE).await.unwrap();
    assert_eq!(lease(&other, "other", MINUTE).await, None);
    let renewed = lease(&one, "one", MINUTE).await.unwrap();
    assert_eq!(renewed.epoch, held.epoch, "renewing is no change of owner");
    assert!(one.advance(&mut held, 5, MINUTE, &[note("one", 5)]).await.unwrap());
    // Renewed for no time at all, it lapses; somebody else takes it.
    lease(&one, "one", 0).await.unwrap();
    let mut taken = None;
    until("the lease to lapse", || {
        let other = other.store.clone();
        async move { lease(&other, "other", MINUTE).await.is_some() }
    })
    .await;
    taken.replace(lease(&other, "other", MINUTE).await.unwrap());
    let mut taken = taken.unwrap();
    assert_eq!((taken.epoch, taken.position), (held.epoch + 1, 5));
    // The former owner finds out, and nothing of it is written.
    assert!(!one.advance(&mut held, 6, MINUTE, &[note("one", 6)]).await.unwrap());
    one.stopped(&held, 6, "the former owner's trouble", Trouble::Event)
        .await
        .unwrap();
    one.release(&held).await.unwrap();
    assert_eq!(lease(&one, "one", MINUTE).await, None);
    assert!(other.advance(&mut taken, 6, MINUTE, &[note("other", 6)]).await.unwrap());
    assert_eq!(
        raw.texts("SELECT word FROM noted ORDER BY position").await,
        ["one", "other"]
    );

    other
        .stopped(&taken, 7, "the outside is away", Trouble::Outside)
        .await
        .unwrap();
    assert_eq!(
        one.skip("test", 7, "in a hurry").await.unwrap(),
        Skipped::Waits("the outside is away".to_owned())
    );
    assert_eq!(one.skip("test", 6, "a slip").await.unwrap(), Skipped::At(7));
    assert_eq!(one.skips().await.unwrap(), []);
    other
        .stopped(&taken, 7, "this cannot be handled", Trouble::Event)
        .await
        .unwrap();
    let checkpoint = one.checkpoints().await.unwrap().remove(0);
    assert_eq!((checkpoint.position, checkpoint.error_position), (6, Some(7)));
    assert_eq!(checkpoint.error.as_deref(), Some("this cannot be handled"));
    assert_eq!(checkpoint.owner.as_deref(), Some("other"));
    other.release(&taken).await.unwrap();
    let again = lease(&one, "one", MINUTE).await.unwrap();
    assert_eq!(
        again.error.as_deref(),
        Some("this cannot be handled"),
        "a new owner knows why the last one stopped"
    );
    assert_eq!(again.epoch, taken.epoch + 1);
}

/// What all copies of the test's follower share.
struct Seen {
    /// Who handled which position, in order.
    handled: Mutex<Vec<(&'static str, i64)>>,
    /// An event that cannot be handled; 0: none.
    broken: AtomicI64,
    /// An event in the middle of which its first owner hangs; 0: none.
    hangs: AtomicI64,
    changed: watch::Sender<usize>,
}

impl Seen {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            handled: Mutex::default(),
            broken: AtomicI64::new(0),
            hangs: AtomicI64::new(0),
            changed: watch::channel(0).0,
        })
    }

    fn handled(&self) -> Vec<(&'static str, i64)> {
        self.handled.lock().unwrap().clone()
    }

    /// Waits until some event has been handled by somebody.
    async fn reached(&self, position: i64) {
        let mut changed = self.changed.subscribe();
        let reached = changed.wait_for(|_| self.handled().iter().any(|(_, seen)| *seen == position));
        soon("an event to be handled", reached).await.unwrap();
    }
}

struct Watcher {
    who: &'static str,
    seen: Arc<Seen>,
}

impl Follower for Watcher {
    fn name(&self) -> &'static str {
        "watcher"
    }

    fn start(&self) -> Start {
        Start::Origin
    }

    async fn handle(&self, event: &OpenedEvent) -> Result<Writes, FollowError> {
        let position = event.record.position;
        if self.seen.broken.load(Ordering::SeqCst) == position {
            return Err(FollowError::Never("the event is broken".to_owned()));
        }
        self.seen.handled.lock().unwrap().push((self.who, position));
        self.seen.changed.send_modify(|count| *count += 1);
        if self
            .seen
            .hangs
            .compare_exchange(position, 0, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
        {
            std::future::pending::<()>().await;
        }
        Ok(vec![note(self.who, position)])
    }
}

struct Running {
    task: JoinHandle<()>,
    stop: CancellationToken,
    health: Health,
}

fn start(store: &Store, who: &'static str, seen: &Arc<Seen>, lease: Duration, retry: Duration) -> Running {
    let (stop, health) = (CancellationToken::new(), Health::default());
    let follower = Watcher {
        who,
        seen: Arc::clone(seen),
    };
    let options = FollowOptions { lease, retry };
    let task = tokio::spawn(run(
        follower,
        store.clone(),
        who.to_owned(),
        options,
        health.clone(),
        stop.clone(),
    ));
    Running { task, stop, health }
}

async fn checkpoint(store: &Store) -> i64 {
    store
        .checkpoints()
        .await
        .unwrap()
        .first()
        .map_or(0, |checkpoint| checkpoint.position)
}

async fn caught_up(store: &Store) {
    let head = store.head().await.unwrap().position;
    until("the follower to catch up", || async { checkpoint(store).await == head }).await;
}

pub async fn two_instances_handle_each_event_once_and_after_an_abort_at_least_once(database: Arc<Database>) {
    let (one, other) = (database.open().await, database.open().await);
    let mut raw = database.raw().await;
    make_table(&mut raw).await;
    let seen = Seen::new();
    let (lease, retry) = (Duration::from_millis(1_500), Duration::from_millis(20));
    let first = start(&one, "one", &seen, lease, retry);
    let second = start(&other, "other", &seen, lease, retry);
    for number in 0..40 {
        account_named(if number % 2 == 0 { &one } else { &other }, &format!("person{number}")).await;
    }
    caught_up(&one).await;
    let handled = seen.handled();
    let positions: Vec<i64> = handled.iter().map(|(_, position)| *position).collect();
    assert_eq!(positions, (1..=40).collect::<Vec<_>>(), "each event once, in order");
    let owner = handled[0].0;
    assert!(handled.iter().all(|(who, _)| *who == owner), "one owner at a time");

    // The owner dies in the middle of event 45; nobody tells the database.
    seen.hangs.store(45, Ordering::SeqCst);
    for number in 40..50 {
        account_named(&one, &format!("person{number}")).await;
    }
    seen.reached(45).await;
    let (dead, alive) = if owner == "one" {
        (first, second)
    } else {
        (second, first)
    };
    dead.task.abort();
    let died = Instant::now();
    caught_up(&one).await;
    let took_over = died.elapsed();
    let handled = seen.handled();
    let mut times: BTreeMap<i64, usize> = BTreeMap::new();
    for (_, position) in &handled {
        *times.entry(*position).or_default() += 1;
    }
    told!(
        "{}: 50 events, the owner died in event 45, the other took over after {took_over:?}; handled twice: {:?}",
        one.engine_name(),
        times.iter().filter(|(_, times)| **times > 1).collect::<Vec<_>>()
    );
    assert_eq!(times.keys().copied().collect::<BTreeSet<_>>(), (1..=50).collect());
    assert!(
        times
            .iter()
            .all(|(position, times)| *times == if *position == 45 { 2 } else { 1 })
    );
    assert_ne!(handled.last().unwrap().0, owner);
    // Its rows are there once: the row of a try that died with its owner is not.
    assert_eq!(raw.count("noted", "true").await, 50);

    // One that is told to stop gives its lease back.
    alive.stop.cancel();
    soon("the follower to stop", alive.task).await.unwrap();
    let left = one.checkpoints().await.unwrap().remove(0);
    assert_eq!((left.owner, left.position), (None, 50));
}

pub async fn a_follower_stops_at_an_event_it_cannot_handle(database: Arc<Database>) {
    let store = database.open().await;
    let mut raw = database.raw().await;
    make_table(&mut raw).await;
    let seen = Seen::new();
    seen.broken.store(3, Ordering::SeqCst);
    let running = start(&store, "one", &seen, LONG, Duration::from_millis(20));
    for number in 0..6 {
        account_named(&store, &format!("person{number}")).await;
    }
    until("the follower to stop", || async {
        running.health.stopped() == [("watcher", 3)]
    })
    .await;
    // It tries again and stays where it is.
    let again = store.checkpoints().await.unwrap().remove(0).updated_at;
    until("another try", || async {
        store.checkpoints().await.unwrap()[0].updated_at > again
    })
    .await;
    let checkpoint = store.checkpoints().await.unwrap().remove(0);
    assert_eq!((checkpoint.position, checkpoint.error_position), (2, Some(3)));
    assert_eq!(checkpoint.error.as_deref(), Some("the event is broken"));
    assert_eq!(seen.handled(), [("one", 1), ("one", 2)], "it never skips");
    assert_eq!(running.health.stopped(), [("watcher", 3)]);
    // Somebody mended it.
    seen.broken.store(0, Ordering::SeqCst);
    caught_up(&store).await;
    assert_eq!(seen.handled().len(), 6);
    until("health to turn green", || async { running.health.stopped().is_empty() }).await;
    let checkpoint = store.checkpoints().await.unwrap().remove(0);
    assert_eq!((checkpoint.error, checkpoint.error_position), (None, None));
    running.stop.cancel();
    soon("the follower to stop", running.task).await.unwrap();
}

pub async fn a_follower_on_another_instance_is_woken(database: Arc<Database>) {
    let (one, other) = (database.open().await, database.open().await);
    let mut raw = database.raw().await;
    make_table(&mut raw).await;
    let seen = Seen::new();
    // Neither its lease nor its retries would wake it in time.
    let running = start(&other, "other", &seen, LONG, LONG);
    account_named(&one, "first").await;
    seen.reached(1).await;
    let mut longest = Duration::ZERO;
    for position in 2..30 {
        account_named(&one, &format!("person{position}")).await;
        let answered = Instant::now();
        seen.reached(position).await;
        longest = longest.max(answered.elapsed());
    }
    told!(
        "{}: a follower on another instance was woken within {longest:?}",
        one.engine_name()
    );
    assert!(longest < Duration::from_secs(5), "{longest:?}");
    running.stop.cancel();
    soon("the follower to stop", running.task).await.unwrap();
}
