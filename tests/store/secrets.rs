//! Codes and credentials.

use std::sync::Arc;

use aggregates::user::User;
use futures::future::join_all;
use user_registry::store::{Code, Credential, Store, StoreError};
use uuid::Uuid;

use crate::harness::{Database, soon};
use crate::people::{DAY, account, called, fresh_id, session_start, staged};

async fn with_code(store: &Store, user: Uuid, purpose: &'static str, value: u8) -> (Uuid, Result<(), StoreError>) {
    loop {
        let request_id = fresh_id(store);
        let unit = staged::<User>(store, &user.to_string(), called(&request_id.to_string())).await;
        unit.code(Code {
            purpose,
            value: [value; 32],
            request_id,
            user_id: user,
            expires_at: store.now().plus(DAY),
            sealed: vec![value],
        });
        match unit.append().await {
            Err(StoreError::Stale) => {}
            answer => return (request_id, answer.map(|_| ())),
        }
    }
}

pub async fn a_live_code_cannot_be_drawn_again_and_a_newer_one_replaces_the_older(database: Arc<Database>) {
    let (one, other) = (database.open().await, database.open().await);
    let mut raw = database.raw().await;
    let (ada, grace) = (
        account(&one, "ada@farm.example").await,
        account(&one, "grace@farm.example").await,
    );
    let (first, made) = with_code(&one, ada, "verify-phone", 1).await;
    made.unwrap();
    let (_, clash) = with_code(&other, grace, "verify-phone", 1).await;
    assert!(matches!(clash, Err(StoreError::CodeClash)), "{clash:?}");
    assert_eq!(
        other.user(grace).await.unwrap().unwrap().version,
        1,
        "a clash appends nothing"
    );
    // For another purpose the same digits are another code.
    with_code(&other, grace, "reset-password", 1).await.1.unwrap();
    let (second, made) = with_code(&other, ada, "verify-phone", 2).await;
    made.unwrap();
    let codes = "SELECT request_id FROM codes WHERE purpose = 'verify-phone'";
    assert_eq!(raw.texts(codes).await, [second.to_string()]);
    assert_ne!(first, second);
    // The older one is free to be drawn again, and a used one too.
    let (third, made) = with_code(&one, grace, "verify-phone", 1).await;
    made.unwrap();
    let unit = staged::<User>(&one, &grace.to_string(), called("Grace")).await;
    unit.drop_code(third);
    unit.append().await.unwrap();
    with_code(&other, ada, "verify-phone", 1).await.1.unwrap();
    assert_eq!(raw.count("codes", "true").await, 2);

    // The same code for many accounts at once: one has it, the others draw again.
    let mut users = Vec::new();
    for number in 0..12 {
        users.push(account(&one, &format!("p{number}@farm.example")).await);
    }
    let calls = users.iter().enumerate().map(|(number, user)| {
        let store = if number % 2 == 0 { &one } else { &other };
        with_code(store, *user, "verify-phone", 9)
    });
    let answers = soon("the codes", join_all(calls)).await;
    let made = answers.iter().filter(|(_, answer)| answer.is_ok()).count();
    let clashed = answers
        .iter()
        .filter(|(_, answer)| matches!(answer, Err(StoreError::CodeClash)))
        .count();
    assert_eq!((made, clashed), (1, 11), "{answers:?}");
}

/// A sign-in that hashes an old password anew must not undo a change of password that came first.
pub async fn an_older_credential_never_replaces_a_newer_one(database: Arc<Database>) {
    let (one, other) = (database.open().await, database.open().await);
    let ada = account(&one, "ada@farm.example").await;
    let credential = |version, hash: &str| Credential {
        user_id: ada,
        version,
        hash: hash.to_owned(),
    };
    let unit = staged::<User>(&one, &ada.to_string(), called("Ada")).await;
    unit.credential(credential(1, "first"));
    unit.append().await.unwrap();
    // The same version again is the same password, better hashed.
    let (_, unit) = session_start(&other, ada).await;
    unit.credential(credential(1, "first, better"));
    unit.append().await.unwrap();
    assert_eq!(one.credential(ada).await.unwrap().unwrap().hash, "first, better");

    let (_, late) = session_start(&other, ada).await;
    late.credential(credential(1, "first, late"));
    let change = aggregates::user::UserCommand::ChangePassword { kept_session: None };
    let unit = staged::<User>(&one, &ada.to_string(), change).await;
    unit.credential(credential(2, "second"));
    unit.append().await.unwrap();
    late.append().await.unwrap();
    let kept = other.credential(ada).await.unwrap().unwrap();
    assert_eq!((kept.version, kept.hash.as_str()), (2, "second"));
}
