//! What goes by itself as time passes is gone: nothing of it is in any table, file or outbox, in whatever form.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use aggregates::session::{Session, SessionCommand};
use aggregates::user::UserCommand;
use aggregates::values::{Dialect, Email, FullName, GeoId, Phone, SessionMethod, Timestamp, Username};
use tokio_util::task::TaskTracker;
use user_registry::clock::Clock;
use user_registry::config::Config;
use user_registry::passwords::Password;
use user_registry::registry::{Asked, Caller, Identifier, Registration, Registry, Who};
use user_registry::store::{Actor, Context, Store};
use uuid::Uuid;

use crate::dump;
use crate::harness::{Database, Kind, hex};
use crate::lapses::{follow, mailer, texter};
use crate::people::{DAY, called, fresh_id, tell_user};
use crate::search::Search;

const PASSWORD: &str = "seven green goats on a hill";

/// Somebody, what is told of them, and where they call from.
struct Planted {
    id: Uuid,
    caller: Caller,
    /// What tables hold as it is, while they hold it.
    rows: Vec<String>,
    /// What is kept sealed only.
    sealed: Vec<String>,
}

impl Planted {
    fn values(&self) -> impl Iterator<Item = &String> {
        self.rows.iter().chain(&self.sealed)
    }
}

fn caller(store: &Store, dialect: Dialect, number: usize) -> Caller {
    Caller {
        who: Who::Anonymous,
        dialect,
        request_id: fresh_id(store).to_string(),
        trace: None,
        ip: Some(format!("198.51.100.{}", 150 + number)),
        user_agent: Some(format!("PlantedHarvester/{number}.3")),
    }
}

/// A registration with everything that one may hold, and somebody who fails to sign in to it.
async fn registered(registry: &Registry, dialect: Dialect, number: usize) -> Planted {
    let store = registry.store();
    let caller = caller(store, dialect, number);
    let texts = [
        format!("planted-name-{number}x"),
        format!("Planted Surname{number}y"),
        format!("planted.mail{number}z@farm.example"),
        format!("+49151876543{number:02}"),
        format!("geo-planted-{number}"),
    ];
    let [username, full_name, email, phone, geo_id] = texts.each_ref().map(String::as_str);
    let registration = Registration {
        username: Some(Username::parse(username).unwrap()),
        full_name: Some(FullName::parse(full_name).unwrap()),
        email: Some(Email::parse(email).unwrap()),
        phone: Some(Phone::parse_e164(phone).unwrap()),
        geo_id: Some(GeoId::parse(geo_id).unwrap()),
        discoverable: true,
        ..Registration::default()
    };
    let asked = Asked::plainly(caller.clone());
    let password = || Password::parse(PASSWORD).unwrap();
    let receipt = registry.register(&asked, &registration, password()).await.unwrap();
    let wrong = Password::parse("eight red geese by a pond").unwrap();
    let refused = registry.sign_in(&caller, &Identifier::parse(email), wrong).await;
    assert!(refused.is_err());
    Planted {
        id: receipt.id.parse().unwrap(),
        sealed: vec![caller.ip.clone().unwrap(), caller.user_agent.clone().unwrap()],
        caller,
        rows: texts.into(),
    }
}

/// Looks in everything there is: of `gone` nothing may be found, of `there` everything must be.
async fn look(database: &Database, outbox: &Path, what: &str, there: &[&String], gone: &[&String]) {
    let mut all = dump::folder(database.folder(), &[]);
    all.bytes.extend(dump::folder(outbox, &[]).bytes);
    if database.kind == Kind::Postgres {
        let rows = dump::postgres(&database.url()).await;
        all.by = rows.by;
        all.bytes.extend(rows.bytes);
    }
    let search = Search::new(there.iter().chain(gone).map(|value| value.as_str()));
    let found: BTreeMap<&str, String> = search.found(&all.bytes);
    let left: Vec<_> = gone
        .iter()
        .filter_map(|value| found.get_key_value(value.as_str()))
        .collect();
    assert!(left.is_empty(), "{what}: {} values are left: {left:#?}", left.len());
    for value in there {
        assert!(
            found.contains_key(value.as_str()),
            "{what}: the search does not find {value}"
        );
    }
    told!(
        "{:?}: {what}: {} values found, 0 of {} that are gone, in {} bytes read by {}",
        database.kind,
        there.len(),
        gone.len(),
        all.bytes.len(),
        all.by
    );
}

pub async fn of_a_registration_that_expired_nothing_is_kept(database: Arc<Database>) {
    let clock = Clock::test(Timestamp::parse("2026-06-01T12:00:00Z").unwrap());
    let store = database.open_at(clock.clone()).await;
    let tasks = TaskTracker::new();
    let registry = Registry::new(store.store.clone(), &Config::default(), tasks.clone()).unwrap();
    let outbox = tempfile::tempdir().unwrap();
    let (mails, messages) = (mailer(&store, outbox.path()), texter(&store, outbox.path()));
    let mut people = Vec::new();
    for (number, dialect) in [Dialect::Canonical, Dialect::Xhoppe, Dialect::Cadasta]
        .into_iter()
        .enumerate()
    {
        people.push(registered(&registry, dialect, number).await);
    }
    let grace = registered(&registry, Dialect::Canonical, people.len()).await;
    // What is written after an answer.
    tasks.close();
    tasks.wait().await;
    let verified = store.events_of("user", &grace.id.to_string(), 0, 9).await.unwrap();
    let request = verified
        .iter()
        .find(|event| event.event_type == "user.email_verification_requested");
    let original = request.unwrap().event_id;
    tell_user(&store, grace.id, || UserCommand::VerifyEmail {
        original,
        at: store.now(),
    })
    .await;
    assert!(follow(&mails, &store).await > 0);
    follow(&messages, &store).await;
    let ids: Vec<String> = people.iter().map(|one| one.id.to_string()).collect();
    let failed = format!("event_type = 'session.failed' AND subject IN ('{}')", ids.join("', '"));
    let mut raw = database.raw().await;
    assert!(raw.count("events", &failed).await >= 3, "somebody failed to sign in");
    let kept: Vec<&String> = grace.rows.iter().collect();
    let theirs: Vec<&String> = people.iter().flat_map(|one| &one.rows).collect();
    look(
        &database,
        outbox.path(),
        "registered",
        &[kept.clone(), theirs].concat(),
        &[],
    )
    .await;
    assert_eq!(registry.expire_registrations().await.unwrap(), 0);

    // Cadasta gives three days, the others one.
    clock.advance(3 * 24 * 3_600);
    assert_eq!(registry.expire_registrations().await.unwrap(), 3);
    registry.tidy().await.unwrap();
    follow(&mails, &store).await;
    follow(&messages, &store).await;
    let gone: Vec<&String> = people.iter().flat_map(Planted::values).collect();
    look(&database, outbox.path(), "expired, with the store open", &kept, &gone).await;
    // They are erased the same way: no row, name, secret or key is left, and what was hashed is as it was.
    for id in &ids {
        let keys = format!("subject = '{id}' AND wrapped IS NOT NULL");
        assert_eq!(raw.count("subject_keys", &keys).await, 0);
        for table in [
            "names",
            "credentials",
            "secrets",
            "codes",
            "past_codes",
            "sessions",
            "api_keys",
        ] {
            assert_eq!(raw.count(table, &format!("user_id = '{id}'")).await, 0, "{table}");
        }
    }
    for event in store.hashed_events(0, 1_000).await.unwrap() {
        assert_eq!(event.leaf, Some(event.record.leaf_hash()));
    }
    assert_eq!(store.rebuild(false).await.unwrap().differences, []);
    drop((registry, mails, messages, raw));
    store.close().await;
    look(&database, outbox.path(), "expired", &kept, &gone).await;
}

/// A sign-in from where `caller` is, for a session that lives longer than it is kept where it came from.
async fn sign_in_from(store: &Store, one: &Planted, caller: &Caller) -> Uuid {
    let id = fresh_id(store);
    let unit = store.unit(Context {
        actor: Actor::Own,
        actor_id: Some(one.id),
        origin_owner: Some(one.id),
        dialect: caller.dialect,
        request_id: caller.request_id.clone(),
        trace: None,
        ip: caller.ip.clone(),
        user_agent: caller.user_agent.clone(),
    });
    unit.is_fresh::<Session>(&id.to_string());
    let command = SessionCommand::Start {
        user: one.id,
        dialect: caller.dialect,
        method: SessionMethod::Password,
        idle: 90 * DAY,
        life: 365 * DAY,
        at: store.now(),
    };
    unit.execute::<Session>(&id.to_string(), command).await.unwrap();
    unit.append().await.unwrap();
    id
}

/// A refresh from nowhere.
async fn refresh(store: &Store, session: Uuid, generation: u32) {
    let unit = store.unit(Context::system(fresh_id(store).to_string()));
    let command = SessionCommand::Refresh {
        generation: generation - 1,
        idle: 60 * DAY,
        at: store.now(),
    };
    unit.execute::<Session>(&session.to_string(), command).await.unwrap();
    unit.append().await.unwrap();
}

pub async fn of_where_somebody_called_from_nothing_is_kept_after_ninety_days(database: Arc<Database>) {
    let clock = Clock::test(Timestamp::parse("2026-03-31T23:00:00Z").unwrap());
    let store = database.open_at(clock.clone()).await;
    let tasks = TaskTracker::new();
    let registry = Registry::new(store.store.clone(), &Config::default(), tasks.clone()).unwrap();
    let outbox = tempfile::tempdir().unwrap();
    let ada = registered(&registry, Dialect::Taxi, 0).await;
    tasks.close();
    tasks.wait().await;
    let elsewhere = caller(&store, Dialect::Canonical, 7);
    let march = sign_in_from(&store, &ada, &elsewhere).await;
    let origin = |caller: &Caller| [caller.ip.clone().unwrap(), caller.user_agent.clone().unwrap()];
    let (first, second) = (origin(&ada.caller), origin(&elsewhere));
    let old: Vec<&String> = first.iter().chain(&second).collect();
    let hers: Vec<&String> = ada.rows.iter().collect();
    let shown: Vec<&String> = hers.iter().copied().chain(&second).collect();
    std::fs::write(outbox.path().join("none"), "no message").unwrap();
    look(&database, outbox.path(), "signed in in March", &shown, &[]).await;

    clock.set(Timestamp::parse("2026-05-29T23:59:59Z").unwrap());
    registry.tidy().await.unwrap();
    refresh(&store, march, 1).await;
    let newer = caller(&store, Dialect::Canonical, 8);
    sign_in_from(&store, &ada, &newer).await;
    let newest = origin(&newer);
    let kept: Vec<&String> = hers.iter().copied().chain(&newest).collect();
    look(
        &database,
        outbox.path(),
        "a second before",
        &[kept.clone(), second.iter().collect()].concat(),
        &[],
    )
    .await;

    clock.set(Timestamp::parse("2026-05-30T00:00:00Z").unwrap());
    registry.tidy().await.unwrap();
    let mut raw = database.raw().await;
    assert_eq!(raw.count("sessions", &format!("id = '{march}'")).await, 1);
    look(
        &database,
        outbox.path(),
        "after ninety days, with the store open",
        &kept,
        &old,
    )
    .await;
    // Neither a change of the account, nor the session, which this process remembers, nor a rebuild brings it back.
    refresh(&store, march, 2).await;
    tell_user(&store, ada.id, || called("Augusta Ada")).await;
    assert_eq!(store.rebuild(false).await.unwrap().differences, []);
    for event in store.hashed_events(0, 1_000).await.unwrap() {
        assert_eq!(
            event.leaf,
            Some(event.record.leaf_hash()),
            "{}",
            hex(&event.record.leaf_hash())
        );
    }
    drop((registry, raw));
    store.close().await;
    let kept: Vec<&String> = kept.into_iter().filter(|value| !value.contains("Surname")).collect();
    look(&database, outbox.path(), "after ninety days", &kept, &old).await;
}

/// Whoever is kept from destroying the keys has made the rows forget already, and the next one goes on.
pub async fn what_was_half_forgotten_is_forgotten_by_the_next_to_look(database: Arc<Database>) {
    let clock = Clock::test(Timestamp::parse("2026-03-31T23:00:00Z").unwrap());
    let store = database.open_at(clock.clone()).await;
    let ada = crate::people::account_named(&store, "ada").await;
    let session = crate::people::sign_in(&store, ada).await;
    let mut raw = database.raw().await;
    clock.set(Timestamp::parse("2026-05-30T00:00:00Z").unwrap());
    let (keep, release): (&[&str], &str) = match database.kind {
        Kind::Sqlite => (
            &["CREATE TRIGGER kept BEFORE DELETE ON subject_keys BEGIN SELECT RAISE(ABORT, 'kept'); END"],
            "DROP TRIGGER kept",
        ),
        Kind::Postgres => (
            &[
                "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
                "CREATE TRIGGER kept BEFORE DELETE ON subject_keys FOR EACH ROW EXECUTE FUNCTION keep()",
            ],
            "DROP TRIGGER kept ON subject_keys",
        ),
    };
    for sql in keep {
        raw.execute(sql).await;
    }
    assert!(!matches!(store.forget_origins().await, Ok(1..)));
    let told = format!("id = '{session}' AND (ip IS NOT NULL OR user_agent IS NOT NULL)");
    assert_eq!(raw.count("sessions", &told).await, 0);
    raw.execute(release).await;
    assert_eq!(store.forget_origins().await.unwrap(), 1);
    assert_eq!(store.forget_origins().await.unwrap(), 0);
}
