//! People who register, and the shortest ways to let them do something.

use aggregates::domain::{Domain, DomainCommand};
use aggregates::session::{Session, SessionCommand};
use aggregates::user::{ProfileChange, Register, User, UserCommand};
use aggregates::values::{Dialect, Email, FullName, SessionMethod, Standing, Username};
use user_registry::store::{Actor, Appended, Context, ExecuteError, Store, StoreError, Stream, Unit};
use uuid::Uuid;

pub const HOUR: i64 = 3_600_000_000;
pub const DAY: i64 = 24 * HOUR;

/// Where everybody calls from.
pub const IP: &str = "192.0.2.77";
pub const USER_AGENT: &str = "Tractor/4.2 (\"quoted\"; ümlaut)";

pub fn context() -> Context {
    Context {
        actor: Actor::Anonymous,
        actor_id: None,
        origin_owner: None,
        dialect: Dialect::Canonical,
        request_id: "request-1".to_owned(),
        trace: None,
        ip: Some(IP.to_owned()),
        user_agent: Some(USER_AGENT.to_owned()),
    }
}

pub fn fresh_id(store: &Store) -> Uuid {
    store.chance().uuid_v7(store.now())
}

/// A registration that is active at once.
pub fn person(store: &Store, email: Option<&str>, username: Option<&str>) -> Register {
    Register {
        dialect: Dialect::Canonical,
        username: username.map(|text| Username::parse(text).unwrap()),
        email: email.map(|text| Email::parse(text).unwrap()),
        phone: None,
        device: None,
        full_name: None,
        discoverable: false,
        position: None,
        country: None,
        geo_id: None,
        boundary: None,
        locale: None,
        password: true,
        standing: Standing::Allowed,
        verified: true,
        unverified_life: None,
        email_request: None,
        phone_request: None,
        at: store.now(),
    }
}

/// A unit that opens an account, not yet appended.
pub async fn registration(store: &Store, register: Register) -> (Uuid, Unit) {
    let id = fresh_id(store);
    let unit = store.unit(context());
    unit.is_fresh::<User>(&id.to_string());
    unit.execute::<User>(&id.to_string(), UserCommand::Register(Box::new(register)))
        .await
        .unwrap();
    (id, unit)
}

pub async fn try_register(store: &Store, register: Register) -> Result<(Uuid, Appended), StoreError> {
    let (id, unit) = registration(store, register).await;
    Ok((id, unit.append().await?))
}

/// An account with an address.
pub async fn account(store: &Store, email: &str) -> Uuid {
    try_register(store, person(store, Some(email), None)).await.unwrap().0
}

/// An account with a username alone.
pub async fn account_named(store: &Store, username: &str) -> Uuid {
    try_register(store, person(store, None, Some(username)))
        .await
        .unwrap()
        .0
}

/// Lets an aggregate decide; what it refuses is a fault of the test.
pub async fn staged<A: Stream>(store: &Store, id: &str, command: A::Command) -> Unit {
    let unit = store.unit(context());
    match unit.execute::<A>(id, command).await {
        Ok(_) => unit,
        Err(ExecuteError::Refused(refusal)) => panic!("refused: {refusal}"),
        Err(ExecuteError::Store(problem)) => panic!("not staged: {problem}"),
    }
}

/// One command, decided again while it is stale.
pub async fn tell<A: Stream>(store: &Store, id: &str, command: impl Fn() -> A::Command) -> Appended {
    loop {
        match staged::<A>(store, id, command()).await.append().await {
            Ok(appended) => return appended,
            Err(StoreError::Stale) => {}
            Err(problem) => panic!("not appended: {problem}"),
        }
    }
}

pub async fn tell_user(store: &Store, id: Uuid, command: impl Fn() -> UserCommand) -> Appended {
    tell::<User>(store, &id.to_string(), command).await
}

pub async fn tell_domain(store: &Store, name: &str, command: impl Fn() -> DomainCommand) -> Appended {
    tell::<Domain>(store, name, command).await
}

pub async fn erase(store: &Store, id: Uuid) -> Appended {
    tell_user(store, id, || UserCommand::Erase).await
}

/// A change that always leads to one event.
pub fn called(name: &str) -> UserCommand {
    UserCommand::UpdateProfile(Box::new(ProfileChange {
        full_name: Some(Some(FullName::parse(name).unwrap())),
        ..ProfileChange::default()
    }))
}

pub fn start_session(store: &Store, user: Uuid) -> SessionCommand {
    SessionCommand::Start {
        user,
        dialect: Dialect::Canonical,
        method: SessionMethod::Password,
        idle: 7 * DAY,
        life: 30 * DAY,
        at: store.now(),
    }
}

/// A unit that begins a session, not yet appended.
pub async fn session_start(store: &Store, user: Uuid) -> (Uuid, Unit) {
    let id = fresh_id(store);
    let unit = store.unit(context());
    unit.is_fresh::<Session>(&id.to_string());
    unit.execute::<Session>(&id.to_string(), start_session(store, user))
        .await
        .unwrap();
    (id, unit)
}

/// A sign-in, decided again while it is stale.
pub async fn sign_in(store: &Store, user: Uuid) -> Uuid {
    loop {
        let (id, unit) = session_start(store, user).await;
        match unit.append().await {
            Ok(_) => return id,
            Err(StoreError::Stale) => {}
            Err(problem) => panic!("not signed in: {problem}"),
        }
    }
}
