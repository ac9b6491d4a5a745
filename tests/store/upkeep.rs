//! What the registry does by itself as time goes by, and what is kept beside the log.

use std::sync::Arc;

use aggregates::user::{Import, RequestLink, User, UserCommand};
use aggregates::values::{ApiKeyName, Dialect, DomainName, Email, LockReason, Timestamp, Username};
use projections::{NameKind, Status};
use tokio_util::task::TaskTracker;
use user_registry::clock::Clock;
use user_registry::config::Config;
use user_registry::passwords::Password;
use user_registry::registry::{Asked, Caller, Registration, Registry};
use user_registry::store::Store;
use uuid::Uuid;

use crate::harness::Database;
use crate::people::{
    DAY, account_named, called, fresh_id, person, registration, sign_in, staged, tell_user, try_register,
};

const PASSWORD: &str = "seven green goats on a hill";

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn registry(store: &Store) -> Registry {
    Registry::new(store.clone(), &Config::default(), TaskTracker::new()).unwrap()
}

/// A registration through the use case, as the canonical API makes it.
async fn pending(registry: &Registry, email: &str) -> Uuid {
    let wanted = Registration {
        email: Some(Email::parse(email).unwrap()),
        ..Registration::default()
    };
    let asked = Asked::plainly(Caller::system(registry.store()));
    let receipt = registry
        .register(&asked, &wanted, Password::parse(PASSWORD).unwrap())
        .await
        .unwrap();
    receipt.id.parse().unwrap()
}

async fn unverified(store: &Store, name: &str, dialect: Dialect, life: Option<i64>) -> Uuid {
    let email = format!("{name}@farm.example");
    let mut register = person(store, Some(&email), None);
    register.dialect = dialect;
    register.verified = false;
    register.unverified_life = life;
    register.email_request = Some(RequestLink {
        request: fresh_id(store),
        dialect,
        life: DAY,
        at: store.now(),
    });
    try_register(store, register).await.unwrap().0
}

pub async fn a_registration_nobody_verified_ends_after_a_day_and_no_other_does(database: Arc<Database>) {
    let clock = Clock::test(at("2026-06-01T12:00:00Z"));
    let one = database.open_at(clock.clone()).await;
    let registry = registry(&one);
    let ada = pending(&registry, "ada@farm.example").await;
    let verified = pending(&registry, "grace@farm.example").await;
    let request = one.events_of("user", &verified.to_string(), 0, 9).await.unwrap()[1].event_id;
    tell_user(&one, verified, || UserCommand::VerifyEmail {
        original: request,
        at: one.now(),
    })
    .await;
    let locked = pending(&registry, "eve@farm.example").await;
    let lock = || UserCommand::Lock {
        reason: LockReason::Admin,
        note: None,
    };
    tell_user(&one, locked, lock).await;
    let mut kept = vec![verified, locked, account_named(&one, "boss").await];
    for (name, dialect) in [("agnes", Dialect::Agstack), ("tara", Dialect::Taxi)] {
        kept.push(unverified(&one, name, dialect, None).await);
    }
    let slow = unverified(&one, "carla", Dialect::Cadasta, Some(3 * DAY)).await;
    let imported = fresh_id(&one);
    let import = UserCommand::Import(Box::new(Import {
        dialect: Dialect::Cadasta,
        username: Some(Username::parse("imported").unwrap()),
        email: Some(Email::parse("imported@farm.example").unwrap()),
        phone: None,
        full_name: None,
        email_verified: false,
        phone_verified: false,
        active: false,
        created_at: Some(at("2020-01-01T00:00:00Z")),
        password: false,
    }));
    staged::<User>(&one, &imported.to_string(), import)
        .await
        .append()
        .await
        .unwrap();
    kept.push(imported);

    clock.advance(24 * 3_600 - 1);
    assert_eq!(registry.expire_registrations().await.unwrap(), 0);
    assert_eq!(one.user(ada).await.unwrap().unwrap().status, Status::Pending);
    clock.advance(1);
    assert_eq!(registry.expire_registrations().await.unwrap(), 1);
    assert_eq!(registry.expire_registrations().await.unwrap(), 0);
    assert_eq!(one.user(ada).await.unwrap(), None);
    let last = one
        .events_of("user", &ada.to_string(), 0, 99)
        .await
        .unwrap()
        .pop()
        .unwrap();
    assert_eq!(last.event_type, "user.expired");
    assert_eq!(one.holder(NameKind::Email, "ada@farm.example").await.unwrap(), None);
    let mut raw = database.raw().await;
    assert_eq!(raw.count("credentials", &format!("user_id = '{ada}'")).await, 0);
    let keys = format!("subject = '{ada}' AND wrapped IS NOT NULL");
    assert_eq!(raw.count("subject_keys", &keys).await, 0);
    // A lock stops the clock only as long as it lasts.
    tell_user(&one, locked, || UserCommand::Unlock { note: None }).await;
    assert_eq!(registry.expire_registrations().await.unwrap(), 1);
    kept.retain(|id| *id != locked);
    clock.advance(2 * 24 * 3_600);
    assert_eq!(registry.expire_registrations().await.unwrap(), 1);
    assert_eq!(one.user(slow).await.unwrap(), None);
    clock.advance(4_000 * 24 * 3_600);
    assert_eq!(registry.expire_registrations().await.unwrap(), 0);
    for id in kept {
        assert!(one.user(id).await.unwrap().is_some());
    }
    // The name is free again.
    pending(&registry, "ada@farm.example").await;
    assert_eq!(one.rebuild(false).await.unwrap().differences, []);
}

pub async fn replicas_that_find_the_same_registrations_due_end_each_once(database: Arc<Database>) {
    let clock = Clock::test(at("2026-06-01T12:00:00Z"));
    let (one, other) = (
        database.open_at(clock.clone()).await,
        database.open_at(clock.clone()).await,
    );
    // More than one page of them.
    for number in 0..130 {
        unverified(&one, &format!("p{number}"), Dialect::Canonical, Some(DAY)).await;
    }
    clock.advance(25 * 3_600);
    let (first, second) = (registry(&one), registry(&other));
    let (a, b) = tokio::join!(first.expire_registrations(), second.expire_registrations());
    assert_eq!(a.unwrap() + b.unwrap(), 130);
    let mut raw = database.raw().await;
    assert_eq!(raw.count("events", "event_type = 'user.expired'").await, 130);
    assert_eq!(raw.count("users", "true").await, 0);
    assert_eq!(raw.count("names", "true").await, 0);
}

/// A month goes when its first moment is 90 days old: 1 March and 90 days is 30 May.
pub async fn where_a_request_came_from_is_forgotten_after_ninety_days(database: Arc<Database>) {
    let clock = Clock::test(at("2026-03-31T23:00:00Z"));
    let one = database.open_at(clock.clone()).await;
    let ada = account_named(&one, "ada").await;
    let march = sign_in(&one, ada).await;
    clock.set(at("2026-04-01T00:00:00Z"));
    tell_user(&one, ada, || called("Ada")).await;
    let april = sign_in(&one, ada).await;
    let mut raw = database.raw().await;
    let keys = "scope LIKE 'origin-%'";
    assert_eq!(raw.count("subject_keys", keys).await, 2);
    let origins = async || -> Vec<bool> {
        let events = one.events_after(0, 100).await.unwrap();
        let opened = one.open_events(events).await.unwrap();
        opened
            .iter()
            .map(|event| {
                assert!(!event.erased);
                event.ip.is_some()
            })
            .collect()
    };
    clock.set(at("2026-05-29T23:59:59Z"));
    assert_eq!(one.forget_origins().await.unwrap(), 0);
    assert_eq!(origins().await, [true, true, true, true]);
    clock.set(at("2026-05-30T00:00:00Z"));
    assert_eq!(one.forget_origins().await.unwrap(), 1);
    assert_eq!(one.forget_origins().await.unwrap(), 0);
    assert_eq!(origins().await, [false, false, true, true]);
    assert_eq!(raw.count("subject_keys", keys).await, 1);
    // What a session's row tells in clear goes with what the log tells.
    for (session, kept) in [(march, 0), (april, 1)] {
        let with_ip = format!("id = '{session}' AND ip IS NOT NULL AND user_agent IS NOT NULL");
        assert_eq!(raw.count("sessions", &with_ip).await, kept);
    }
    assert_eq!(one.rebuild(false).await.unwrap().differences, []);
    // The account goes on, and so does what is known of it.
    tell_user(&one, ada, || called("Augusta Ada")).await;
    assert_eq!(origins().await, [false, false, true, true, true]);
    clock.set(at("2027-01-01T00:00:00Z"));
    assert_eq!(one.forget_origins().await.unwrap(), 2);
    assert_eq!(
        raw.count("subject_keys", "scope = 'person' AND wrapped IS NOT NULL")
            .await,
        1
    );
    assert_eq!(origins().await, [false; 5]);
}

/// Whoever makes keys and revokes them again and again, or signs in again and again, makes no list longer than so.
pub async fn what_has_ended_and_what_lives_is_listed_up_to_a_bound(database: Arc<Database>) {
    let store = database.open().await;
    let (ada, unit) = registration(&store, person(&store, None, Some("ada"))).await;
    unit.append().await.unwrap();
    let issue = async |number: usize| {
        let key_id = fresh_id(&store);
        let issue = || UserCommand::IssueApiKey {
            key_id,
            name: ApiKeyName::parse(&format!("key {number}")).unwrap(),
            roles: vec![],
            expires_at: None,
            at: store.now(),
        };
        tell_user(&store, ada, issue).await;
        key_id
    };
    let works = issue(0).await;
    let mut revoked = Vec::new();
    for number in 1..=102 {
        let key_id = issue(number).await;
        tell_user(&store, ada, || UserCommand::RevokeApiKey { key_id }).await;
        revoked.push(key_id);
    }
    let listed: Vec<Uuid> = store
        .api_keys(ada)
        .await
        .unwrap()
        .iter()
        .map(|key| key.row.id)
        .collect();
    // The newest first; what works is there however old it is.
    let expected: Vec<Uuid> = revoked[2..].iter().rev().copied().chain([works]).collect();
    assert_eq!(listed, expected);
    let mut newest = Uuid::nil();
    for _ in 0..201 {
        newest = sign_in(&store, ada).await;
    }
    let listed = store.sessions(ada).await.unwrap();
    assert_eq!((listed.len(), listed[0].id), (200, newest));
}

pub async fn the_use_of_a_key_is_kept_by_the_minute_and_goes_with_its_owner(database: Arc<Database>) {
    let (one, other) = (database.open().await, database.open().await);
    let (ada, unit) = registration(&one, person(&one, None, Some("ada"))).await;
    unit.append().await.unwrap();
    let key_id = fresh_id(&one);
    let issue = || UserCommand::IssueApiKey {
        key_id,
        name: ApiKeyName::parse("field app").unwrap(),
        roles: vec![],
        expires_at: None,
        at: one.now(),
    };
    tell_user(&one, ada, issue).await;
    let last = async |store: &Store| store.api_keys(ada).await.unwrap()[0].last_used_at;
    assert_eq!(last(&one).await, None);
    let minute = |n: i64| Timestamp::from_micros(n * 60_000_000);
    one.note_key_use(key_id, minute(30)).await.unwrap();
    assert_eq!(last(&other).await, Some(minute(30)));
    // A replica that is late does not turn it back.
    other.note_key_use(key_id, minute(29)).await.unwrap();
    assert_eq!(last(&one).await, Some(minute(30)));
    other.note_key_use(key_id, minute(31)).await.unwrap();
    assert_eq!(last(&one).await, Some(minute(31)));
    // A key that is none leaves nothing, and neither does one whose owner is gone.
    one.note_key_use(fresh_id(&one), minute(31)).await.unwrap();
    let mut raw = database.raw().await;
    assert_eq!(raw.count("api_key_uses", "true").await, 1);
    assert_eq!(one.rebuild(false).await.unwrap().differences, []);
    crate::people::erase(&one, ada).await;
    assert_eq!(raw.count("api_key_uses", "true").await, 0);
    one.note_key_use(key_id, minute(32)).await.unwrap();
    assert_eq!(raw.count("api_key_uses", "true").await, 0);
}

pub async fn an_authority_token_speaks_for_its_domain_until_it_is_replaced(database: Arc<Database>) {
    let (one, other) = (database.open().await, database.open().await);
    let (registry, replica) = (registry(&one), registry(&other));
    let asked = Asked::plainly(Caller::system(&one));
    let farm = DomainName::parse("farm.example").unwrap();
    let first = registry.issue_authority_token(&asked, &farm).await.unwrap();
    let speaks = async |text: &str| replica.domain_of_authority(text).await.unwrap();
    assert_eq!(speaks(&first.token.expose()).await, Some(farm.clone()));
    let second = registry.rotate_authority_token(&asked, &farm).await.unwrap();
    assert_eq!(speaks(&first.token.expose()).await, None);
    assert_eq!(speaks(&second.token.expose()).await, Some(farm.clone()));
    // Another kind of secret with the same bytes is none.
    let as_key = second.token.expose().replace("ura_", "urk_");
    assert!(replica.authenticate_key(&as_key).await.unwrap().is_none());
    assert_eq!(speaks(&as_key).await, None);
    replica.revoke_authority_token(&asked, &farm).await.unwrap();
    assert_eq!(speaks(&second.token.expose()).await, None);
    let mut raw = database.raw().await;
    assert_eq!(raw.count("secrets", "kind = 'authority'").await, 0);
}
