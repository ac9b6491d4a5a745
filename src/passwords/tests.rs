use super::*;

fn hasher() -> Hasher {
    let config = config::Passwords {
        threads: 2,
        ..config::Passwords::default()
    };
    Hasher::new(&config, Chance::seeded(1)).unwrap()
}

fn password(text: &str) -> Password {
    Password::parse(text).unwrap()
}

#[tokio::test]
async fn a_password_verifies_against_its_own_hash_only() {
    let hasher = hasher();
    let hash = hasher.hash(password("correct horse battery staple")).await.unwrap();
    assert!(hash.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    let stored = Some(hash.into_string());
    let right = hasher
        .verify(password("correct horse battery staple"), stored.clone())
        .await;
    assert_eq!(
        right,
        Ok(Verdict {
            ok: true,
            rehash_needed: false
        })
    );
    let wrong = hasher.verify(password("correct horse battery stable"), stored).await;
    assert_eq!(
        wrong,
        Ok(Verdict {
            ok: false,
            rehash_needed: false
        })
    );
}

#[tokio::test]
async fn two_hashes_of_one_password_differ() {
    let hasher = hasher();
    let first = hasher.hash(password("correct horse")).await.unwrap();
    assert_ne!(first, hasher.hash(password("correct horse")).await.unwrap());
}

/// Compares the least of several times, which noise can only lengthen.
#[tokio::test]
async fn an_account_that_is_not_there_costs_the_same() {
    let hasher = hasher();
    let stored = hasher.hash(password("correct horse")).await.unwrap().into_string();
    let mut least = [Duration::MAX; 2];
    for _ in 0..15 {
        for (least, stored) in least.iter_mut().zip([None, Some(stored.clone())]) {
            let started = std::time::Instant::now();
            hasher.verify(password("wrong horse"), stored).await.unwrap();
            *least = started.elapsed().min(*least);
        }
    }
    let ratio = least[0].as_secs_f64() / least[1].as_secs_f64();
    assert!((0.6..1.6).contains(&ratio), "{ratio}");
}

#[test]
fn nothing_prints_a_hash() {
    let hasher = hasher();
    let printed = format!("{hasher:?}");
    assert!(!printed.contains('$'), "{printed}");
}
