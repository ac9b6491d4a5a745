//! What an erased person leaves behind, and what is read right after a command.

use std::sync::Arc;

use aggregates::domain::DomainCommand;
use aggregates::session::{Session, SessionCommand};
use aggregates::user::{User, UserCommand};
use aggregates::values::{AddressKey, ApiKeyName, Email, EndReason, Role};
use projections::NameKind;
use user_registry::store::{Code, Credential, Secret, SecretKind, StoreError};

use crate::harness::Database;
use crate::people::{
    DAY, account, called, context, erase, fresh_id, person, registration, session_start, sign_in, staged, tell,
    tell_domain, tell_user,
};

pub async fn another_instance_reads_a_row_as_soon_as_it_is_answered(database: Arc<Database>) {
    let (one, other) = (database.open().await, database.open().await);
    for number in 0..20 {
        let id = account(&one, &format!("p{number}@d{number}.example")).await;
        let row = other.user(id).await.unwrap().unwrap();
        assert_eq!(
            (row.version, row.email_domain.as_deref()),
            (1, Some(format!("d{number}.example").as_str()))
        );
        assert_eq!(row.log_position, other.head().await.unwrap().position);
        tell_user(&other, id, || called("Ada")).await;
        assert_eq!(one.user(id).await.unwrap().unwrap().full_name.as_deref(), Some("Ada"));
        let session = sign_in(&one, id).await;
        let live = other.authenticated(session).await.unwrap().unwrap();
        assert!(live.is_live(session, other.now()) && live.user.last_login.is_some());
        let name = format!("d{number}.example");
        tell_domain(&one, &name, || DomainCommand::Block {
            include_subdomains: true,
            reason: None,
        })
        .await;
        assert_eq!(other.domain_rows(&[&name]).await.unwrap()[0].version, 1);
    }
}

pub async fn erasing_leaves_the_sealed_history_and_nothing_else(database: Arc<Database>) {
    let (one, other) = (database.open().await, database.open().await);
    let (ada, unit) = registration(&one, person(&one, Some("ada@farm.example"), Some("ada"))).await;
    unit.credential(Credential {
        user_id: ada,
        version: 1,
        hash: "$argon2id$".into(),
    });
    unit.append().await.unwrap();
    let grace = account(&one, "grace@farm.example").await;
    let (session, unit) = session_start(&one, ada).await;
    let secret = |kind, hash: u8, owner: String| Secret {
        kind,
        hash: [hash; 32],
        owner,
        user_id: Some(ada),
        generation: 0,
        expires_at: None,
    };
    unit.secret(secret(SecretKind::Refresh, 1, session.to_string()));
    unit.append().await.unwrap();
    let key_id = fresh_id(&one);
    tell_user(&one, ada, || UserCommand::GrantRole { role: Role::Auditor }).await;
    let issue = UserCommand::IssueApiKey {
        key_id,
        name: ApiKeyName::parse("field app").unwrap(),
        roles: vec![Role::Auditor],
        expires_at: None,
        at: one.now(),
    };
    let unit = staged::<User>(&one, &ada.to_string(), issue).await;
    unit.secret(secret(SecretKind::ApiKey, 2, key_id.to_string()));
    unit.code(Code {
        purpose: "verify-phone",
        value: [3; 32],
        request_id: fresh_id(&one),
        user_id: ada,
        expires_at: one.now().plus(DAY),
        sealed: vec![1, 2, 3],
    });
    unit.append().await.unwrap();
    sign_in(&other, ada).await;
    let graces = sign_in(&other, grace).await;
    // The other instance has her in memory.
    tell_user(&other, ada, || called("Augusta Ada")).await;

    let mut raw = database.raw().await;
    let hers = format!("user_id = '{ada}'");
    for (table, rows) in [
        ("names", 2),
        ("credentials", 1),
        ("secrets", 2),
        ("codes", 1),
        ("sessions", 2),
        ("api_keys", 1),
    ] {
        assert_eq!(raw.count(table, &hers).await, rows, "{table}");
    }
    // An event of a session is about its user, also when the session has ended with it.
    let ended = sign_in(&one, ada).await;
    let end = || SessionCommand::End {
        reason: EndReason::Logout,
        all: false,
    };
    tell::<Session>(&one, &ended.to_string(), end).await;
    assert_eq!(
        raw.count("events", "subject = aggregate_id AND aggregate_type = 'session'")
            .await,
        0
    );
    let before = raw.count("events", "true").await;
    erase(&one, ada).await;
    for table in ["names", "credentials", "secrets", "codes", "sessions", "api_keys"] {
        assert_eq!(raw.count(table, &hers).await, 0, "{table}");
    }
    assert_eq!(raw.count("users", &format!("id = '{ada}'")).await, 0);
    assert_eq!(
        raw.count("subject_keys", &format!("subject = '{ada}' AND wrapped IS NOT NULL"))
            .await,
        0
    );
    assert_eq!(
        raw.count(
            "subject_keys",
            &format!("subject = '{ada}' AND destroyed_at IS NOT NULL")
        )
        .await,
        2
    );
    assert_eq!(raw.count("events", "true").await, before + 1);

    for store in [&one, &other] {
        let events = store.events_after(0, 100).await.unwrap();
        for event in store.open_events(events).await.unwrap() {
            let is_hers = event.record.subject == ada.to_string();
            assert_eq!(
                event.erased,
                is_hers && !event.personal.is_empty(),
                "{}",
                event.record.event_type
            );
            for field in &event.personal {
                assert_eq!(event.data.contains_key(field), !is_hers, "{field}");
            }
            assert_eq!(event.ip.is_some(), !is_hers, "{}", event.record.event_type);
        }
        let (state, _) = store.unit(context()).load::<User>(&grace.to_string()).await.unwrap();
        assert_eq!(state.email().map(Email::as_str), Some("grace@farm.example"));
        assert!(
            store
                .authenticated(graces)
                .await
                .unwrap()
                .unwrap()
                .is_live(graces, store.now())
        );
        assert!(store.authenticated(session).await.unwrap().is_none());
        assert_eq!(store.holder(NameKind::Email, "ada@farm.example").await.unwrap(), None);
    }
    // The other instance still remembers her as she was: what it decides about her is stale.
    let late = staged::<User>(&other, &ada.to_string(), called("Ada again"))
        .await
        .append()
        .await;
    assert!(matches!(late, Err(StoreError::Stale)), "{late:?}");
    let unit = other.unit(context());
    assert!(
        unit.execute::<User>(&ada.to_string(), called("Ada again"))
            .await
            .is_err()
    );
    assert_eq!(one.rebuild(false).await.unwrap().differences, []);
    account(&other, "ada@farm.example").await;
}

/// Without the check the append would leave a row with her address of an hour, and a key to seal it with.
pub async fn a_session_cannot_begin_for_an_erased_person(database: Arc<Database>) {
    let (one, other) = (database.open().await, database.open().await);
    let ada = account(&one, "ada@farm.example").await;
    let (_, unit) = session_start(&other, ada).await;
    erase(&one, ada).await;
    assert!(matches!(unit.append().await, Err(StoreError::Stale)));
    let (_, unit) = session_start(&other, ada).await;
    assert!(matches!(unit.append().await, Err(StoreError::Stale)));
    let mut raw = database.raw().await;
    assert_eq!(raw.count("sessions", "true").await, 0);
    assert_eq!(raw.count("subject_keys", "wrapped IS NOT NULL").await, 0);
    assert_eq!(raw.count("events", "true").await, 2);
    assert_eq!(one.rebuild(false).await.unwrap().differences, []);
    // In the unit that opens the account it may begin at once.
    let (grace, unit) = registration(&one, person(&one, None, Some("grace"))).await;
    let session = fresh_id(&one);
    unit.is_fresh::<Session>(&session.to_string());
    let start = crate::people::start_session(&one, grace);
    unit.execute::<Session>(&session.to_string(), start).await.unwrap();
    unit.append().await.unwrap();
    assert!(
        other
            .authenticated(session)
            .await
            .unwrap()
            .unwrap()
            .is_live(session, other.now())
    );
}

/// Each block has a key of its own under the same scope: the older display form stays closed, the newer one opens.
pub async fn an_address_may_be_blocked_unblocked_and_blocked_again(database: Arc<Database>) {
    let (one, other) = (database.open().await, database.open().await);
    let address = AddressKey::parse(&"0f".repeat(32)).unwrap();
    let block = |display: &str| DomainCommand::BlockAddress {
        address: address.clone(),
        display: Email::parse(display).unwrap(),
        reason: None,
    };
    let unblock = || DomainCommand::UnblockAddress {
        address: address.clone(),
        reason: None,
    };
    let mut raw = database.raw().await;
    for (round, (blocker, unblocker)) in [(&one, &one), (&one, &other), (&other, &one), (&one, &one)]
        .iter()
        .enumerate()
    {
        tell_domain(blocker, "farm.example", || block(&format!("spam{round}@farm.example"))).await;
        assert!(other.blocked_address(address.as_str()).await.unwrap().is_some());
        assert_eq!(
            raw.count("subject_keys", "wrapped IS NOT NULL AND scope LIKE 'address-%'")
                .await,
            1
        );
        // The other instance has its key in memory.
        other
            .unit(context())
            .load::<aggregates::domain::Domain>("farm.example")
            .await
            .unwrap();
        let blocked = one.events_of("domain", "farm.example", 0, 100).await.unwrap();
        let displays: Vec<Option<String>> = one
            .open_events(blocked)
            .await
            .unwrap()
            .iter()
            .filter(|event| event.record.event_type == "domain.address_blocked")
            .map(|event| event.data.get("display").map(|text| text.as_str().unwrap().to_owned()))
            .collect();
        let mut expected = vec![None; round];
        expected.push(Some(format!("spam{round}@farm.example")));
        assert_eq!(displays, expected);
        tell_domain(unblocker, "farm.example", unblock).await;
        assert_eq!(
            raw.count("subject_keys", "wrapped IS NOT NULL AND scope LIKE 'address-%'")
                .await,
            0
        );
        assert_eq!(one.blocked_address(address.as_str()).await.unwrap(), None);
    }
    assert_eq!(one.rebuild(false).await.unwrap().differences, []);
}

/// Somebody who is erased in the middle of their own command: what they did stands in the log, where from does not.
pub async fn what_an_erased_person_was_doing_does_not_bring_a_key_back(database: Arc<Database>) {
    let (one, other) = (database.open().await, database.open().await);
    let ada = account(&one, "ada@farm.example").await;
    sign_in(&one, ada).await;
    erase(&one, ada).await;
    let hers = || user_registry::store::Context {
        actor_id: Some(ada),
        origin_owner: Some(ada),
        ..context()
    };
    for store in [&one, &other] {
        let unit = store.unit(hers());
        let block = DomainCommand::Block {
            include_subdomains: store.head().await.unwrap().position % 2 == 0,
            reason: None,
        };
        unit.execute::<aggregates::domain::Domain>("farm.example", block)
            .await
            .unwrap();
        unit.append().await.unwrap();
    }
    let mut raw = database.raw().await;
    assert_eq!(
        raw.count("subject_keys", &format!("subject = '{ada}' AND wrapped IS NOT NULL"))
            .await,
        0
    );
    let events = one.events_of("domain", "farm.example", 0, 10).await.unwrap();
    assert_eq!(events.len(), 2);
    assert!(
        one.open_events(events)
            .await
            .unwrap()
            .iter()
            .all(|event| event.ip.is_none())
    );
}
