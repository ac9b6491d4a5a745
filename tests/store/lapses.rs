//! What lapses: reservations of addresses, links and codes that were asked for, and last messages.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aggregates::user::{Register, RequestLink, UserCommand};
use aggregates::values::{Channel, Dialect, Email, Phone, Standing, Timestamp};
use futures::future::join_all;
use projections::NameKind;
use user_registry::clock::Clock;
use user_registry::config::Config;
use user_registry::follow::templates::Templates;
use user_registry::follow::{Follower, Links, MailFollower, MailOptions, Mailer, Outbox, Sms, SmsFollower, SmsOptions};
use user_registry::keys::Enclosed;
use user_registry::registry::{NoticeRules, SimDelay};
use user_registry::store::{Code, Farewell, OpenedEvent, Store, StoreError};
use uuid::Uuid;

use crate::harness::{Database, soon};
use crate::people::{
    DAY, HOUR, account, account_named, fresh_id, person, registration, staged, tell_user, try_register,
};

const NEW: &str = "new@farm.example";

fn noon() -> Timestamp {
    Timestamp::parse("2026-11-20T12:00:00Z").unwrap()
}

fn link(store: &Store, life: i64) -> RequestLink {
    RequestLink {
        request: fresh_id(store),
        dialect: Dialect::Canonical,
        life,
        at: store.now(),
    }
}

fn ask_for(store: &Store, address: &str) -> UserCommand {
    UserCommand::RequestEmailChange {
        email: Email::parse(address).unwrap(),
        standing: Standing::Allowed,
        link: link(store, HOUR),
    }
}

async fn try_new(store: &Store) -> Result<Uuid, StoreError> {
    try_register(store, person(store, Some("NEW@farm.example"), None))
        .await
        .map(|(id, _)| id)
}

pub async fn an_address_that_was_asked_for_is_free_when_the_request_lapses(database: Arc<Database>) {
    let clock = Clock::test(noon());
    let (store, other) = (
        database.open_at(clock.clone()).await,
        database.open_at(clock.clone()).await,
    );
    let ada = account(&store, "ada@farm.example").await;
    let eve = account(&store, "eve@farm.example").await;
    tell_user(&store, ada, || ask_for(&store, NEW)).await;
    // Held, but it finds nobody.
    assert_eq!(other.holder(NameKind::Email, NEW).await.unwrap(), Some(ada));
    assert_eq!(other.found_by(NameKind::Email, NEW).await.unwrap(), None);
    assert!(matches!(try_new(&other).await, Err(StoreError::Taken(NameKind::Email))));
    clock.advance(3_599);
    assert!(matches!(try_new(&other).await, Err(StoreError::Taken(NameKind::Email))));
    clock.advance(1);
    assert_eq!(other.holder(NameKind::Email, NEW).await.unwrap(), None);
    // Nothing has happened to Ada's account since, and yet: of many at once one gets it.
    let mut units = Vec::new();
    for number in 0..20 {
        let store = if number % 2 == 0 { &store } else { &other };
        units.push(registration(store, person(store, Some(NEW), None)).await.1);
    }
    units.push(staged::<aggregates::user::User>(&store, &eve.to_string(), ask_for(&store, NEW)).await);
    let calls: Vec<_> = units.into_iter().map(|unit| tokio::spawn(unit.append())).collect();
    let (mut won, mut taken) = (0, 0);
    for call in calls {
        match soon("an answer", call).await.unwrap() {
            Ok(_) => won += 1,
            Err(StoreError::Taken(NameKind::Email)) => taken += 1,
            Err(problem) => panic!("{problem}"),
        }
    }
    told!(
        "{}: 21 want a lapsed address at once on 2 instances: {won} got it, {taken} taken",
        store.engine_name()
    );
    assert_eq!((won, taken), (1, 20));
    let winner = store.holder(NameKind::Email, NEW).await.unwrap().unwrap();
    assert_ne!(winner, ada);
    // What happens to Ada's account later takes nothing from whoever has it now.
    tell_user(&store, ada, || UserCommand::ChangePassword { kept_session: None }).await;
    assert_eq!(other.holder(NameKind::Email, NEW).await.unwrap(), Some(winner));
    let again = staged::<aggregates::user::User>(&store, &ada.to_string(), ask_for(&store, NEW)).await;
    assert!(matches!(again.append().await, Err(StoreError::Taken(NameKind::Email))));
    let mut raw = database.raw().await;
    assert_eq!(
        raw.count("names", "true").await,
        raw.count("users", "true").await + i64::from(winner == eve)
    );
    assert_eq!(store.rebuild(false).await.unwrap().differences, []);
}

pub async fn a_lapsed_reservation_may_be_asked_for_again_and_a_rebuild_finds_nothing_wrong(database: Arc<Database>) {
    let clock = Clock::test(noon());
    let store = database.open_at(clock.clone()).await;
    let ada = account(&store, "ada@farm.example").await;
    tell_user(&store, ada, || ask_for(&store, NEW)).await;
    clock.advance(7_200);
    // Lapsed and still in the table, and nobody's.
    assert_eq!(store.rebuild(false).await.unwrap().differences, []);
    tell_user(&store, ada, || ask_for(&store, NEW)).await;
    assert_eq!(store.holder(NameKind::Email, NEW).await.unwrap(), Some(ada));
    assert!(matches!(try_new(&store).await, Err(StoreError::Taken(NameKind::Email))));
    // Lapsed once more, taken by somebody who then lets it go.
    clock.advance(7_200);
    let joan = try_new(&store).await.unwrap();
    assert_eq!(store.rebuild(false).await.unwrap().differences, []);
    crate::people::erase(&store, joan).await;
    assert_eq!(store.holder(NameKind::Email, NEW).await.unwrap(), None);
    assert_eq!(store.rebuild(false).await.unwrap().differences, []);
    tell_user(&store, ada, || ask_for(&store, "third@farm.example")).await;
    assert_eq!(
        store.holder(NameKind::Email, "third@farm.example").await.unwrap(),
        Some(ada)
    );
    let mut raw = database.raw().await;
    assert_eq!(raw.count("names", "true").await, 2);
}

/// Everything in the log, opened.
pub async fn everything(store: &Store) -> Vec<OpenedEvent> {
    let records = store.events_after(0, 1_000).await.unwrap();
    store.open_events(records).await.unwrap()
}

/// Lets a follower handle the whole log and moves its checkpoint, as one that runs does. How many events it had to do
/// something for.
pub async fn follow<F: Follower>(follower: &F, store: &Store) -> usize {
    let mut lease = store.lease(follower.name(), "one", HOUR, 0).await.unwrap().unwrap();
    let mut handled = 0;
    for event in everything(store).await {
        if event.record.position > lease.position
            && follower.concerns(&event)
            && let Some(writes) = follower.attend(&event).await.unwrap()
        {
            assert!(
                store
                    .advance(&mut lease, event.record.position, HOUR, &writes)
                    .await
                    .unwrap()
            );
            handled += 1;
        }
    }
    handled
}

pub fn mailer(store: &Store, folder: &Path) -> MailFollower {
    let links = Links::new(store.keyring().clone(), "http://registry.example");
    let outbox = Outbox::open(&folder.join("mail")).unwrap();
    let options = MailOptions {
        from: "registry@localhost".parse().unwrap(),
        templates: Templates::load(None).unwrap(),
        platform_url: "http://registry.example".to_owned(),
        step: Duration::from_secs(1),
        pause: Duration::from_secs(1),
        most: 1,
    };
    MailFollower::new(store.clone(), links, Mailer::Outbox(outbox), options)
}

pub fn texter(store: &Store, folder: &Path) -> SmsFollower {
    let outbox = Outbox::open(&folder.join("sms")).unwrap();
    let options = SmsOptions {
        templates: Templates::load(None).unwrap(),
        answer: Duration::from_secs(1),
        pause: Duration::from_secs(1),
        most: 1,
        sim_delay: SimDelay::default(),
        notices: NoticeRules::new(&Config::default()),
    };
    SmsFollower::new(store.clone(), Sms::Outbox(outbox), options)
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A registration with a number and a code of ten minutes.
async fn with_code(store: &Store, number: &str) -> Uuid {
    let code = link(store, HOUR / 6);
    let register = Register {
        phone: Some(Phone::parse_e164(number).unwrap()),
        verified: false,
        phone_request: Some(code.clone()),
        ..person(store, None, None)
    };
    let (user, unit) = registration(store, register).await;
    unit.code(Code {
        purpose: "verify-phone",
        value: store.keyring().code("verify-phone", &number[5..]),
        request_id: code.request,
        user_id: user,
        expires_at: store.now().plus(code.life),
        sealed: store
            .keyring()
            .enclose(Enclosed::Code, code.request, "012345", store.chance())
            .unwrap(),
    });
    unit.append().await.unwrap();
    code.request
}

pub async fn after_a_long_outage_nothing_is_sent_that_works_no_more(database: Arc<Database>) {
    let clock = Clock::test(noon());
    let store = database.open_at(clock.clone()).await;
    let ada = account(&store, "ada@farm.example").await;
    let reset = |store: &Store| UserCommand::RequestPasswordReset {
        channel: Channel::Mail,
        link: link(store, HOUR / 2),
    };
    tell_user(&store, ada, || reset(&store)).await;
    tell_user(&store, ada, || ask_for(&store, NEW)).await;
    with_code(&store, "+6584932466").await;
    clock.advance(7_200);
    tell_user(&store, ada, || reset(&store)).await;
    with_code(&store, "+6584932467").await;

    let folder = tempfile::tempdir().unwrap();
    let (mailer, texter) = (mailer(&store, folder.path()), texter(&store, folder.path()));
    // Of the request for another address the notice to the one before still goes out.
    assert_eq!(follow(&mailer, &store).await, 2);
    let mails = files(&folder.path().join("mail"));
    assert_eq!(mails, [format!("{:020}-1.eml", 3), format!("{:020}.eml", 6)]);
    let read = |name: &str| std::fs::read_to_string(folder.path().join("mail").join(name)).unwrap();
    assert!(read(&mails[0]).contains("X-Purpose: notice") && !read(&mails[0]).contains("token="));
    assert!(read(&mails[1]).contains("X-Purpose: reset-password") && read(&mails[1]).contains("token="));
    assert_eq!(follow(&texter, &store).await, 2);
    let messages = files(&folder.path().join("sms"));
    assert_eq!(messages, [format!("{:020}.json", 8)]);
    let sms = std::fs::read_to_string(folder.path().join("sms").join(&messages[0])).unwrap();
    assert!(sms.contains("012345") && sms.contains("+6584932467"), "{sms}");
    // Both codes are wiped: one was sent, one never will be.
    let mut raw = database.raw().await;
    assert_eq!(raw.count("codes", "sealed IS NOT NULL").await, 0);
    assert_eq!(raw.count("codes", "true").await, 2);
    clock.advance(601);
    store.sweep().await.unwrap();
    assert_eq!(raw.count("codes", "true").await, 0);
}

pub async fn guesses_at_once_are_counted_before_they_are_compared(database: Arc<Database>) {
    const GUESSES: usize = 100;
    let clock = Clock::test(noon());
    let (one, other) = (
        database.open_at(clock.clone()).await,
        database.open_at(clock.clone()).await,
    );
    let request = with_code(&one, "+6584932466").await;
    let user = one.holder(NameKind::Phone, "+6584932466").await.unwrap().unwrap();
    let calls = (0..GUESSES).map(|number| {
        let store = if number % 2 == 0 { &one } else { &other }.store.clone();
        tokio::spawn(async move { store.try_code("verify-phone", user, store.now()).await.unwrap() })
    });
    let let_through = soon("the guesses", join_all(calls))
        .await
        .into_iter()
        .filter_map(Result::unwrap)
        .inspect(|guess| assert_eq!(guess.request_id, request))
        .count();
    told!(
        "{}: {GUESSES} guesses at once on 2 instances, {let_through} compared",
        one.engine_name()
    );
    assert_eq!(let_through, 5);
    // A right one is given back; another purpose, another user and another time have no try.
    one.give_back_try(request).await.unwrap();
    let try_as = async |purpose: &str, user: Uuid| one.try_code(purpose, user, one.now()).await.unwrap().is_some();
    assert!(!try_as("reset-password", user).await && !try_as("verify-phone", Uuid::nil()).await);
    clock.advance(600);
    assert!(!try_as("verify-phone", user).await);
    clock.advance(-1);
    assert!(try_as("verify-phone", user).await && !try_as("verify-phone", user).await);
}

pub async fn an_erased_person_is_told_once_and_then_forgotten(database: Arc<Database>) {
    let clock = Clock::test(noon());
    let store = database.open_at(clock.clone()).await;
    let (ada, eve) = (
        account(&store, "ada@farm.example").await,
        account(&store, "eve@farm.example").await,
    );
    for (user, address) in [(ada, "ada@farm.example"), (eve, "eve@farm.example")] {
        let unit = staged::<aggregates::user::User>(&store, &user.to_string(), UserCommand::Erase).await;
        unit.farewell(Farewell {
            user_id: user,
            sealed: store
                .keyring()
                .enclose(Enclosed::Farewell, user, address, store.chance())
                .unwrap(),
            expires_at: store.now().plus(DAY),
        });
        unit.append().await.unwrap();
    }
    let mut raw = database.raw().await;
    let sealed = raw.bytes("SELECT sealed FROM farewells").await;
    assert!(
        sealed.len() == 2
            && sealed
                .iter()
                .all(|sealed| !sealed.windows(4).any(|part| part == b"farm"))
    );
    // One account without an address, which leaves nothing.
    let tim = account_named(&store, "tim").await;
    crate::people::erase(&store, tim).await;

    let folder = tempfile::tempdir().unwrap();
    let mailer = mailer(&store, folder.path());
    let erased = everything(&store)
        .await
        .into_iter()
        .find(|event| event.record.position == 3)
        .unwrap();
    // Sent and not noted down: the same file again.
    assert!(mailer.attend(&erased).await.unwrap().is_some());
    assert_eq!(raw.count("farewells", "true").await, 2);
    // Of those that cannot be told in time the address goes all the same.
    raw.execute(&format!("UPDATE farewells SET expires_at = 0 WHERE user_id = '{eve}'"))
        .await;
    store.sweep().await.unwrap();
    assert_eq!(follow(&mailer, &store).await, 1);
    let mails = files(&folder.path().join("mail"));
    assert_eq!(mails, [format!("{:020}.farewell.eml", 3)]);
    let mail = std::fs::read_to_string(folder.path().join("mail").join(&mails[0])).unwrap();
    assert!(
        mail.contains("To: ada@farm.example") && mail.contains("Your account was erased"),
        "{mail}"
    );
    assert_eq!(raw.count("farewells", "true").await, 0);
    assert!(mailer.attend(&erased).await.unwrap().is_none());
    // A day after the erasure it is gone from the folder too, whole or half written; other mails stay.
    let outbox = folder.path().join("mail");
    let other = format!("{:020}.eml", 1);
    std::fs::write(outbox.join(&other), "To: somebody@farm.example").unwrap();
    let half = format!(".{:020}.farewell.eml.7.part", 3);
    std::fs::write(outbox.join(&half), "To: ada@farm.example").unwrap();
    clock.advance(86_399);
    mailer.tidy().await.unwrap();
    assert_eq!(files(&outbox), [half.as_str(), other.as_str(), mails[0].as_str()]);
    clock.advance(1);
    mailer.tidy().await.unwrap();
    assert_eq!(files(&outbox), [other.as_str()]);
}

pub async fn a_notice_goes_to_the_address_of_the_time_it_tells_of(database: Arc<Database>) {
    let store = database.open().await;
    let ada = account(&store, "ada@farm.example").await;
    let lock = || UserCommand::Lock {
        reason: aggregates::values::LockReason::Admin,
        note: None,
    };
    tell_user(&store, ada, lock).await;
    tell_user(&store, ada, || UserCommand::Unlock { note: None }).await;
    let request = ask_for(&store, NEW);
    let UserCommand::RequestEmailChange { link, .. } = &request else {
        unreachable!()
    };
    let original = link.request;
    tell_user(&store, ada, || request.clone()).await;
    tell_user(&store, ada, || UserCommand::ConfirmEmailChange {
        original,
        standing: Standing::Allowed,
        at: store.now(),
    })
    .await;
    tell_user(&store, ada, lock).await;
    let folder = tempfile::tempdir().unwrap();
    let mailer = mailer(&store, folder.path());
    follow(&mailer, &store).await;
    let told: Vec<(String, bool)> = files(&folder.path().join("mail"))
        .iter()
        .map(|name| std::fs::read_to_string(folder.path().join("mail").join(name)).unwrap())
        .filter(|mail| mail.contains("Your account was locked"))
        .map(|mail| {
            let to = mail
                .lines()
                .find_map(|line| line.strip_prefix("To: "))
                .unwrap()
                .trim()
                .to_owned();
            (to, mail.contains("by an administrator"))
        })
        .collect();
    assert_eq!(told, [("ada@farm.example".to_owned(), true), (NEW.to_owned(), true)]);
}
