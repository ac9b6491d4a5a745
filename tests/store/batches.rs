//! Batches: many units in one transaction, none of them disturbed by another.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;

use aggregates::user::{User, UserCommand};
use aggregates::values::{ApiKeyName, LockReason};
use futures::future::join_all;
use futures::poll;
use metrics_exporter_prometheus::PrometheusBuilder;
use projections::{NameKind, Status};
use user_registry::clock::Clock;
use user_registry::store::{Appended, StoreError, Unit};

use crate::harness::{Database, Instance, Kind, Raw, soon, until};
use crate::people::{account_named, called, fresh_id, person, registration, staged, tell_user};

type Call = Pin<Box<dyn Future<Output = Result<Appended, StoreError>> + Send>>;

/// Hands units to the appender without waiting for their answers.
pub async fn handed_in(units: impl IntoIterator<Item = Unit>) -> Vec<Call> {
    let mut calls = Vec::new();
    for unit in units {
        let mut call: Call = Box::pin(unit.append());
        assert!(poll!(&mut call).is_pending(), "nothing is answered under a held lock");
        calls.push(call);
    }
    calls
}

impl Raw {
    /// Takes the lock that every writer takes, so that what is handed in gathers.
    pub async fn hold(&mut self) {
        match self {
            Self::Postgres(_) => {
                self.execute("BEGIN").await;
                self.execute("SELECT position FROM log_head WHERE lane = 0 FOR UPDATE")
                    .await;
            }
            Self::Sqlite(_) => {
                self.execute("BEGIN IMMEDIATE").await;
            }
        }
    }

    pub async fn let_go(&mut self) {
        self.execute("ROLLBACK").await;
    }
}

/// Makes the database refuse every event of one stream.
async fn forbid(database: &Database, raw: &mut Raw, stream: &str) {
    match database.kind {
        Kind::Postgres => {
            raw.execute(
                "CREATE FUNCTION no_such_event() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN RAISE EXCEPTION 'forbidden' USING ERRCODE = 'check_violation'; END $$",
            )
            .await;
            raw.execute(&format!(
                "CREATE TRIGGER forbidden BEFORE INSERT ON events FOR EACH ROW WHEN (NEW.aggregate_id = '{stream}')
                 EXECUTE FUNCTION no_such_event()"
            ))
            .await;
        }
        Kind::Sqlite => {
            raw.execute(&format!(
                "CREATE TRIGGER forbidden BEFORE INSERT ON events WHEN NEW.aggregate_id = '{stream}'
                 BEGIN SELECT RAISE(ABORT, 'forbidden'); END"
            ))
            .await;
        }
    }
}

pub async fn a_losing_unit_leaves_its_neighbours_untouched(database: Arc<Database>) {
    let store = database.open().await;
    let ada = account_named(&store, "ada").await;
    let late = staged::<User>(&store, &ada.to_string(), called("Late")).await;
    tell_user(&store, ada, || called("In time")).await;
    let mut ids = Vec::new();
    let mut units = Vec::new();
    for number in 0..50 {
        let name = if number == 20 {
            "ADA".to_owned()
        } else {
            format!("person{number}")
        };
        let (id, unit) = registration(&store, person(&store, None, Some(&name))).await;
        ids.push(id);
        units.push(unit);
    }
    units.insert(35, late);
    let mut raw = database.raw().await;
    raw.hold().await;
    let calls = handed_in(units).await;
    raw.let_go().await;
    let mut answers = soon("the batch", join_all(calls)).await;

    assert!(matches!(answers.remove(35), Err(StoreError::Stale)));
    assert!(matches!(answers.remove(20), Err(StoreError::Taken(NameKind::Username))));
    let taken = ids.remove(20);
    let positions: BTreeSet<i64> = answers
        .into_iter()
        .map(|answer| answer.unwrap().receipt.position)
        .collect();
    assert_eq!(positions, (3..52).collect());
    for id in ids {
        let row = store.user(id).await.unwrap().unwrap();
        assert_eq!(row.version, 1);
    }
    assert!(store.user(taken).await.unwrap().is_none());
    let row = store.user(ada).await.unwrap().unwrap();
    assert_eq!((row.version, row.full_name.as_deref()), (2, Some("In time")));
    assert_eq!(raw.count("names", "true").await, 50);
    assert_eq!(raw.count("events", "true").await, 51);
    told!(
        "{}: of 51 units in one batch one was stale and one taken; 49 are in",
        store.engine_name()
    );
}

pub async fn a_unit_the_database_refuses_fails_alone(database: Arc<Database>) {
    let store = database.open().await;
    let mut units = Vec::new();
    let mut ids = Vec::new();
    for number in 0..30 {
        let (id, unit) = registration(&store, person(&store, None, Some(&format!("person{number}")))).await;
        ids.push(id);
        units.push(unit);
    }
    let mut raw = database.raw().await;
    forbid(&database, &mut raw, &ids[11].to_string()).await;
    raw.hold().await;
    let calls = handed_in(units).await;
    raw.let_go().await;
    let answers = soon("the batch", join_all(calls)).await;
    for (number, answer) in answers.iter().enumerate() {
        match answer {
            Ok(_) => assert_ne!(number, 11),
            Err(StoreError::Refused(_)) => assert_eq!(number, 11),
            Err(problem) => panic!("{number}: {problem}"),
        }
    }
    let refused = answers.iter().filter(|answer| answer.is_err()).count();
    told!(
        "{}: of 30 units in one batch the database refused {refused}",
        store.engine_name()
    );
    assert_eq!(refused, 1);
    assert_eq!(store.head().await.unwrap().position, 29);
    assert_eq!(raw.number("SELECT max(position) FROM events").await, 29);
    assert_eq!(raw.count("users", "true").await, 29);
    assert_eq!(raw.count("names", "true").await, 29);
    // Nothing of the refused one is left behind: neither its name nor its key.
    account_named(&store, "person11").await;
    assert_eq!(raw.count("subject_keys", &format!("subject = '{}'", ids[11])).await, 0);
}

/// A metric of this text.
fn value(text: &str, name: &str) -> f64 {
    let line = text
        .lines()
        .find(|line| line.starts_with(name))
        .unwrap_or_else(|| panic!("no {name} in {text}"));
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

pub async fn thirty_two_callers_share_batches_of_at_least_four(database: Arc<Database>) {
    // On a thread and a runtime of its own: the recorder of a thread hears nothing of other tests.
    let options = database.options();
    let work = move || {
        let recorder = PrometheusBuilder::new().build_recorder();
        let metrics = recorder.handle();
        let _heard = metrics::set_default_local_recorder(&recorder);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let store = Instance::open(&options, Clock::system()).await.unwrap();
            let callers = (0..32).map(|caller| {
                let store = store.store.clone();
                async move {
                    for round in 0..20 {
                        account_named(&store, &format!("caller{caller}round{round}")).await;
                    }
                }
            });
            soon("the callers", join_all(callers)).await;
            // A batch is measured after its callers have their answers.
            let commands = async || value(&metrics.render(), "registry_append_batch_commands_sum");
            until("the last batch to be measured", async || commands().await > 639.5).await;
            (metrics.render(), store.engine_name())
        })
    };
    let (text, engine) = tokio::task::spawn_blocking(move || std::thread::spawn(work).join())
        .await
        .unwrap()
        .unwrap();
    let (commands, batches) = (
        value(&text, "registry_append_batch_commands_sum"),
        value(&text, "registry_append_batch_commands_count"),
    );
    told!(
        "{engine}: 32 callers, {commands} commands in {batches} batches: {:.1} each",
        commands / batches
    );
    assert!((commands - 640.0).abs() < 0.5);
    assert!(commands / batches >= 4.0);
}

/// What an instance remembers of a stream may be old. That shows when it appends, but a decision that appends
/// nothing, because it is refused or changes nothing, would never be found out.
pub async fn another_instance_decides_on_what_is_in_the_log_not_on_what_it_remembers(database: Arc<Database>) {
    let (one, other) = (database.open().await, database.open().await);
    let ada = account_named(&one, "ada").await;
    tell_user(&one, ada, || called("Ada")).await;

    tell_user(&other, ada, || UserCommand::Lock {
        reason: LockReason::Admin,
        note: None,
    })
    .await;
    tell_user(&one, ada, || UserCommand::Unlock { note: None }).await;
    assert_eq!(other.user(ada).await.unwrap().unwrap().status, Status::Active);

    let key_id = fresh_id(&one);
    tell_user(&other, ada, || UserCommand::IssueApiKey {
        key_id,
        name: ApiKeyName::parse("field app").unwrap(),
        roles: vec![],
        expires_at: None,
        at: other.now(),
    })
    .await;
    tell_user(&one, ada, || UserCommand::RevokeApiKey { key_id }).await;
    assert_eq!(other.user(ada).await.unwrap().unwrap().version, 6);

    // The same again within one unit: what it staged itself is no news from elsewhere.
    let unit = staged::<User>(
        &one,
        &ada.to_string(),
        UserCommand::Lock {
            reason: LockReason::Admin,
            note: None,
        },
    )
    .await;
    let again = unit
        .execute::<User>(
            &ada.to_string(),
            UserCommand::Lock {
                reason: LockReason::Admin,
                note: None,
            },
        )
        .await;
    assert_eq!(again.unwrap().version, 7);
    assert_eq!(unit.append().await.unwrap().receipt.version, 7);
}

pub async fn a_caller_that_goes_away_leaves_the_log_whole(database: Arc<Database>) {
    let store = database.open().await;
    let ada = account_named(&store, "ada").await;
    let mut raw = database.raw().await;
    let mut written = 0;
    for round in 0..5 {
        let mut units = Vec::new();
        for number in 0..20 {
            let name = format!("r{round}n{number}");
            units.push(registration(&store, person(&store, None, Some(&name))).await.1);
        }
        units.push(staged::<User>(&store, &ada.to_string(), called(&format!("Ada {round}"))).await);
        raw.hold().await;
        let mut calls = handed_in(units).await;
        // Every second caller goes away, Ada's too.
        let kept: Vec<Call> = {
            let mut number = 0;
            calls.retain(|_| {
                number += 1;
                number % 2 == 0
            });
            calls
        };
        raw.let_go().await;
        for answer in soon("those who stayed", join_all(kept)).await {
            answer.unwrap();
            written += 1;
        }
    }
    // What nobody waited for any more was not written, and stands in nobody's way.
    assert_eq!(store.head().await.unwrap().position, written + 1);
    assert_eq!(raw.count("events", "true").await, written + 1);
    assert_eq!(raw.count("users", "true").await, written + 1);
    assert_eq!(tell_user(&store, ada, || called("Ada")).await.receipt.version, 2);
}
