//! Accounts made through the append path, without passwords: what a store weighs and how long it takes to start on it.

use aggregates::user::{Register, User, UserCommand};
use aggregates::values::{Dialect, Email, FullName, Standing, Username};
use anyhow::Result;
use user_registry::store::{Actor, Context, Store};

/// How many are on their way at once.
const AT_ONCE: usize = 256;

async fn account(store: Store, number: usize) -> Result<()> {
    let id = store.chance().uuid_v7(store.now());
    let unit = store.unit(Context {
        actor: Actor::System,
        actor_id: None,
        origin_owner: None,
        dialect: Dialect::Canonical,
        request_id: store.chance().uuid_v7(store.now()).to_string(),
        ip: None,
        user_agent: None,
    });
    unit.is_fresh::<User>(&id.to_string());
    let register = Register {
        dialect: Dialect::Canonical,
        username: Some(Username::parse(&format!("person{number}"))?),
        email: Some(Email::parse(&format!("person{number}@farm{}.example", number % 1_000))?),
        phone: None,
        device: None,
        full_name: Some(FullName::parse(&format!("Ada Lovelace {number}"))?),
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
    };
    unit.execute::<User>(&id.to_string(), UserCommand::Register(Box::new(register)))
        .await?;
    unit.append().await?;
    Ok(())
}

/// So many accounts, numbered from `from`.
pub async fn fill(store: &Store, from: usize, to: usize) -> Result<()> {
    let numbers: Vec<usize> = (from..to).collect();
    for chunk in numbers.chunks(AT_ONCE) {
        let tasks: Vec<_> = chunk
            .iter()
            .map(|number| tokio::spawn(account(store.clone(), *number)))
            .collect();
        for task in tasks {
            task.await??;
        }
    }
    Ok(())
}
