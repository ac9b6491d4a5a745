//! Names: unique across spellings, released and claimed again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use aggregates::user::{User, UserCommand};
use aggregates::values::{Email, Username};
use projections::NameKind;
use user_registry::store::StoreError;

use crate::harness::{Database, soon};
use crate::people::{account_named, erase, person, registration, staged, tell_user, try_register};

/// Ways to write one address.
fn spellings() -> Vec<String> {
    let accents = [
        "josé.müller",
        "JOSÉ.MÜLLER",
        "jose\u{301}.mu\u{308}ller",
        "Jos\u{e9}.M\u{fc}ller",
        "ＪＯＳÉ.müller",
    ];
    let domains = [
        "bücher.example",
        "BÜCHER.Example",
        "xn--bcher-kva.example",
        "XN--BCHER-KVA.EXAMPLE",
        "bu\u{308}cher.example",
        "ｂücher.example",
        "bücher。example",
    ];
    let canonical = Email::parse("josé.müller@bücher.example")
        .unwrap()
        .canonical()
        .to_owned();
    let all = accents
        .iter()
        .flat_map(|local| domains.iter().map(move |domain| format!("{local}@{domain}")));
    all.chain(accents.iter().map(|local| format!("  {local}@bücher.example ")))
        .filter(|text| Email::parse(text).is_ok_and(|email| email.canonical() == canonical))
        .collect()
}

pub async fn one_address_in_many_spellings_is_registered_once(database: Arc<Database>) {
    const CALLERS: usize = 200;
    let (one, other) = (database.open().await, database.open().await);
    let spellings = spellings();
    assert!(
        spellings.len() >= 15,
        "only {} spellings are the same address",
        spellings.len()
    );
    // Decided before anybody is answered, so that only the append can tell them apart.
    let mut units = Vec::new();
    for number in 0..CALLERS {
        let store = if number % 2 == 0 { &one } else { &other };
        let text = &spellings[number % spellings.len()];
        units.push(registration(store, person(store, Some(text), None)).await);
    }
    let started = Instant::now();
    let calls: Vec<_> = units.into_iter().map(|(_, unit)| tokio::spawn(unit.append())).collect();
    let (mut accepted, mut taken, mut others) = (0, 0, Vec::new());
    for call in calls {
        match soon("an answer", call).await.unwrap() {
            Ok(_) => accepted += 1,
            Err(StoreError::Taken(NameKind::Email)) => taken += 1,
            Err(problem) => others.push(problem.to_string()),
        }
    }
    let took = started.elapsed();
    let mut raw = database.raw().await;
    let events = raw.count("events", "event_type = 'user.registered'").await;
    let names = raw.count("names", "kind = 'email'").await;
    let users = raw.count("users", "true").await;
    told!(
        "{}: {CALLERS} registrations of one address in {} spellings on 2 instances: {accepted} accepted, {taken} taken, \
         {} otherwise; {events} user.registered, {names} name, {users} user; {took:?}",
        one.engine_name(),
        spellings.len(),
        others.len()
    );
    assert_eq!((accepted, taken), (1, CALLERS - 1), "{others:?}");
    assert_eq!((events, names, users), (1, 1, 1));
    assert_eq!(
        raw.count("subject_keys", "true").await,
        2,
        "one person key and one origin key"
    );
    assert_eq!(raw.count("events", "true").await, 1);
}

pub async fn a_name_is_free_again_after_a_change_and_after_erasure(database: Arc<Database>) {
    let (one, other) = (database.open().await, database.open().await);
    let ada = account_named(&one, "ada").await;
    let taken = try_register(&other, person(&other, None, Some("ADA"))).await;
    assert!(matches!(taken, Err(StoreError::Taken(NameKind::Username))), "{taken:?}");
    let countess = Username::parse("countess").unwrap();
    tell_user(&one, ada, || UserCommand::ChangeUsername {
        username: countess.clone(),
    })
    .await;
    assert_eq!(other.holder(NameKind::Username, "ada").await.unwrap(), None);
    assert_eq!(other.holder(NameKind::Username, "countess").await.unwrap(), Some(ada));
    let second = account_named(&other, "Ada").await;
    assert_eq!(one.holder(NameKind::Username, "ada").await.unwrap(), Some(second));
    // Back again is too late.
    let back = Username::parse("ada").unwrap();
    let late = staged::<User>(&one, &ada.to_string(), UserCommand::ChangeUsername { username: back }).await;
    assert!(matches!(
        late.append().await,
        Err(StoreError::Taken(NameKind::Username))
    ));

    erase(&other, second).await;
    assert_eq!(one.holder(NameKind::Username, "ada").await.unwrap(), None);
    let third = account_named(&one, "ada").await;
    assert_ne!(third, second);
    let mut raw = database.raw().await;
    let held: BTreeSet<String> = raw.texts("SELECT user_id FROM names").await.into_iter().collect();
    assert_eq!(held, [ada.to_string(), third.to_string()].into());
}

pub async fn a_name_may_pass_from_one_account_to_another_in_one_batch(database: Arc<Database>) {
    let store = database.open().await;
    let mut holder = account_named(&store, "baton").await;
    let mut others = Vec::new();
    for number in 0..20 {
        others.push(account_named(&store, &format!("runner{number}")).await);
    }
    // The holder lets go while twenty others grasp: one gets it, or nobody, and never two.
    for round in 0..10 {
        let free = Username::parse(&format!("rest{round}")).unwrap();
        let baton = Username::parse("baton").unwrap();
        let mut units = vec![(
            holder,
            staged::<User>(
                &store,
                &holder.to_string(),
                UserCommand::ChangeUsername { username: free },
            )
            .await,
        )];
        for other in &others {
            let change = UserCommand::ChangeUsername {
                username: baton.clone(),
            };
            units.push((*other, staged::<User>(&store, &other.to_string(), change).await));
        }
        let calls: Vec<_> = units
            .into_iter()
            .map(|(id, unit)| (id, tokio::spawn(unit.append())))
            .collect();
        let mut won = Vec::new();
        for (number, (id, call)) in calls.into_iter().enumerate() {
            match soon("an answer", call).await.unwrap() {
                Ok(_) if number == 0 => {}
                Ok(_) => won.push(id),
                Err(StoreError::Taken(NameKind::Username)) => {}
                Err(problem) => panic!("{problem}"),
            }
        }
        assert!(won.len() <= 1, "{} accounts got one name", won.len());
        let held = store.holder(NameKind::Username, "baton").await.unwrap();
        assert_eq!(held, won.first().copied());
        if won.is_empty() {
            tell_user(&store, others[round], || UserCommand::ChangeUsername {
                username: baton.clone(),
            })
            .await;
            won.push(others[round]);
        }
        others.retain(|other| *other != won[0]);
        others.push(holder);
        holder = won[0];
    }
    let mut raw = database.raw().await;
    let users = raw.count("users", "true").await;
    assert_eq!(raw.count("names", "true").await, users);
    let unheld = "user_id NOT IN (SELECT id FROM users)";
    assert_eq!(raw.count("names", unheld).await, 0);
    let report = store.rebuild(false).await.unwrap();
    assert_eq!(report.differences, []);
}
