//! Guards: what a decision relied on is looked at again under the lock.

use std::sync::Arc;

use aggregates::domain::standing::{self, Listed};
use aggregates::domain::{Domain, DomainCommand};
use aggregates::user::{Register, User, UserCommand, UserError};
use aggregates::values::{DefaultRule, DomainName, Email, Standing};
use user_registry::store::{ExecuteError, Store, StoreError, Unit};
use uuid::Uuid;

use crate::harness::{Database, soon};
use crate::people::{context, fresh_id, person, staged, tell_domain};

/// Decides a registration as the registry does: with the rows of the domain and its parents, and guards on them.
async fn decided(store: &Store, email: &str) -> (Uuid, Unit, Result<(), UserError>) {
    let domain = Email::parse(email).unwrap().domain_name();
    let names: Vec<&str> =
        std::iter::successors(Some(domain.as_str()), |name| name.split_once('.').map(|(_, rest)| rest))
            .filter(|name| name.contains('.'))
            .collect();
    let rows = store.domain_rows(&names).await.unwrap();
    let unit = store.unit(context());
    for name in &names {
        let version = rows.iter().find(|row| row.name == *name).map_or(0, |row| row.version);
        unit.guard("domain", name, version);
    }
    let listed: Vec<Listed> = rows
        .iter()
        .map(|row| Listed {
            name: DomainName::parse(&row.name).unwrap(),
            standing: row.standing,
            include_subdomains: row.include_subdomains,
            version: row.version,
            position: row.rule_position,
        })
        .collect();
    let standing: Standing = standing::decide(&domain, &listed, None, DefaultRule::Allow).standing();
    let id = fresh_id(store);
    unit.is_fresh::<User>(&id.to_string());
    let register = Register {
        standing,
        ..person(store, Some(email), None)
    };
    let result = match unit
        .execute::<User>(&id.to_string(), UserCommand::Register(Box::new(register)))
        .await
    {
        Ok(_) => Ok(()),
        Err(ExecuteError::Refused(refusal)) => Err(refusal),
        Err(ExecuteError::Store(problem)) => panic!("{problem}"),
    };
    (id, unit, result)
}

fn block(include_subdomains: bool) -> DomainCommand {
    DomainCommand::Block {
        include_subdomains,
        reason: None,
    }
}

pub async fn a_block_answered_before_a_registration_commits_refuses_it(database: Arc<Database>) {
    let (one, other) = (database.open().await, database.open().await);
    tell_domain(&one, "known.example", || DomainCommand::Allow {
        include_subdomains: true,
        reason: None,
    })
    .await;
    // The domain itself, never seen before; a parent, never seen before; a domain that was allowed; its subdomain.
    let cases = [
        ("ada@farm.example", "farm.example", false),
        ("ada@mail.south.example", "south.example", true),
        ("ada@a.b.c.deep.example", "c.deep.example", true),
        ("ada@known.example", "known.example", false),
        ("ada@sub.north.example", "sub.north.example", false),
    ];
    for (email, blocked, subdomains) in cases {
        let (_, unit, decided_before) = decided(&one, email).await;
        assert_eq!(decided_before, Ok(()), "{email}");
        tell_domain(&other, blocked, || block(subdomains)).await;
        let answer = unit.append().await;
        assert!(matches!(answer, Err(StoreError::Stale)), "{email}: {answer:?}");
        let (_, _, again) = decided(&one, email).await;
        assert!(
            matches!(again, Err(UserError::DomainBlocked { .. })),
            "{email}: {again:?}"
        );
    }
    let mut raw = database.raw().await;
    told!(
        "{}: {} blocks answered between decision and append, as many registrations refused",
        one.engine_name(),
        cases.len()
    );
    assert_eq!(raw.count("events", "aggregate_type = 'user'").await, 0);
    assert_eq!(raw.count("names", "true").await, 0);
    // A guard that still holds lets the registration in.
    let (id, unit, free) = decided(&one, "ada@free.example").await;
    assert_eq!(free, Ok(()));
    unit.append().await.unwrap();
    assert!(other.user(id).await.unwrap().is_some());
}

pub async fn blocks_and_registrations_at_once_never_let_one_slip_through(database: Arc<Database>) {
    let (one, other) = (database.open().await, database.open().await);
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..25 {
        let domain = format!("d{round}.example");
        let mut calls = Vec::new();
        for number in 0..8 {
            let store = if number % 2 == 0 { &one } else { &other };
            let email = format!("p{number}@{}{domain}", if number % 3 == 0 { "mail." } else { "" });
            calls.push((number, decided(store, &email).await.1));
        }
        let blocker = staged::<Domain>(if round % 2 == 0 { &one } else { &other }, &domain, block(true)).await;
        let mut answers = Vec::new();
        let mut blocker = Some(blocker);
        let mut block_call = None;
        for (number, unit) in calls {
            if number == round % 8 {
                block_call = blocker.take().map(|unit| tokio::spawn(unit.append()));
            }
            answers.push(tokio::spawn(unit.append()));
        }
        let blocked = soon("the block", block_call.unwrap()).await.unwrap().unwrap();
        for answer in answers {
            match soon("a registration", answer).await.unwrap() {
                Ok(appended) => {
                    assert!(
                        appended.receipt.position < blocked.receipt.position,
                        "a registration slipped through"
                    );
                    accepted += 1;
                }
                Err(StoreError::Stale) => refused += 1,
                Err(problem) => panic!("{problem}"),
            }
        }
    }
    told!(
        "{}: 25 blocks against 200 registrations at once: {accepted} came before, {refused} were refused, none slipped \
         through",
        one.engine_name()
    );
    assert_eq!(accepted + refused, 200);
}
