//! Rebuilding: the folds over the whole log give the rows that the appends gave.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use aggregates::domain::DomainCommand;
use aggregates::session::{Session, SessionCommand};
use aggregates::user::{ProfileChange, RequestLink, User, UserCommand};
use aggregates::values::{
    AddressKey, ApiKeyName, Boundary, Coordinates, DeviceKey, Dialect, Email, EndReason, FullName, LockReason, Note,
    Phone, Role, Standing, Username,
};
use user_registry::store::{ExecuteError, RebuildReport, Store, StoreError, Stream};
use uuid::Uuid;

use crate::harness::{Database, Kind, hex, soon};
use crate::people::{
    DAY, account, account_named, called, context, erase, fresh_id, person, sign_in, staged, tell, tell_domain,
    tell_user, try_register,
};

/// Numbers without an end, the same in every run.
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        // Knuth's MMIX; the upper bits are the good ones.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 11
    }

    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    /// Between -1 and 1, with every digit a double has.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn fraction(&mut self) -> f64 {
        self.next() as f64 / (1_u64 << 52) as f64 - 1.0
    }
}

/// Gives a command; that it is refused, changes nothing, meets a taken name or relies on a session that has ended, and
/// so stays stale, is part of the history.
async fn attempt<A: Stream>(store: &Store, id: &str, command: impl Fn() -> A::Command) -> bool {
    for _ in 0..20 {
        let unit = store.unit(context());
        match unit.execute::<A>(id, command()).await {
            Ok(executed) if executed.version == executed.loaded => return false,
            Ok(_) => {}
            Err(ExecuteError::Refused(_)) => return false,
            Err(ExecuteError::Store(problem)) => panic!("{problem}"),
        }
        match unit.append().await {
            Ok(_) => return true,
            Err(StoreError::Stale) => {}
            Err(StoreError::Taken(_)) => return false,
            Err(problem) => panic!("{problem}"),
        }
    }
    false
}

/// What a history leaves to be meddled with.
#[derive(Default)]
pub struct History {
    pub users: Vec<Uuid>,
    sessions: Vec<Uuid>,
    keys: Vec<(Uuid, Uuid)>,
    links: Vec<(Uuid, Uuid)>,
    done: usize,
}

impl History {
    pub async fn step(&mut self, stores: &[&Store], dice: &mut Dice) {
        let store = stores[dice.below(stores.len())];
        let number = dice.below(30);
        let link = |request| RequestLink {
            request,
            dialect: Dialect::Canonical,
            life: DAY,
            at: store.now(),
        };
        let domain = format!("d{}.example", dice.below(5));
        if self.users.len() < 5 || number < 4 {
            // One of those with a username has no address; it may take one later.
            let email = (number != 2).then(|| format!("p{}@{domain}", dice.below(200)));
            let name = format!("name{}", dice.below(200));
            let request = fresh_id(store);
            let mut register = person(
                store,
                email.as_deref(),
                (number.is_multiple_of(2)).then_some(name.as_str()),
            );
            register.verified = number.is_multiple_of(3);
            register.email_request = email.is_some().then(|| link(request));
            register.position = Coordinates::new(dice.fraction() * 90.0, dice.fraction() * 180.0).ok();
            if let Ok((id, _)) = try_register(store, register).await {
                self.users.push(id);
                self.links.push((id, request));
                self.done += 1;
            }
            return;
        }
        let id = self.users[dice.below(self.users.len())];
        let session = if self.sessions.is_empty() {
            id
        } else {
            self.sessions[dice.below(self.sessions.len())]
        };
        let one_of = dice.below(200);
        let command = match number {
            4 | 5 => UserCommand::ChangeUsername {
                username: Username::parse(&format!("name{one_of}")).unwrap(),
            },
            6 => called(&format!("Somebody {one_of} \"农民\"")),
            7 | 8 => {
                let position = Coordinates::new(dice.fraction() * 90.0, dice.fraction() * 180.0).unwrap();
                UserCommand::UpdateProfile(Box::new(ProfileChange {
                    position: Some((!one_of.is_multiple_of(5)).then_some((position, None))),
                    discoverable: Some(one_of.is_multiple_of(2)),
                    full_name: (one_of.is_multiple_of(3)).then_some(FullName::parse("Ø").ok()),
                    ..ProfileChange::default()
                }))
            }
            9 => UserCommand::ChangePassword {
                kept_session: (one_of.is_multiple_of(2)).then_some(session),
            },
            10 => UserCommand::GrantRole {
                role: Role::ALL[one_of % 4],
            },
            11 => UserCommand::RevokeRole {
                role: Role::ALL[one_of % 4],
            },
            12 => UserCommand::Lock {
                reason: LockReason::Admin,
                note: Note::parse("why").ok(),
            },
            13 => UserCommand::Unlock { note: None },
            14 if one_of.is_multiple_of(2) => UserCommand::Deactivate { note: None },
            14 if one_of.is_multiple_of(3) => UserCommand::Activate { note: None },
            14 => UserCommand::Reactivate { note: None },
            15 => {
                let key_id = fresh_id(store);
                self.keys.push((id, key_id));
                UserCommand::IssueApiKey {
                    key_id,
                    name: ApiKeyName::parse(&format!("app {one_of}")).unwrap(),
                    roles: vec![Role::User],
                    expires_at: (one_of.is_multiple_of(2)).then(|| store.now().plus(DAY)),
                    at: store.now(),
                }
            }
            16 => {
                let Some((owner, key_id)) = self.keys.get(one_of % self.keys.len().max(1)).copied() else {
                    return;
                };
                self.done += usize::from(
                    attempt::<User>(store, &owner.to_string(), || UserCommand::RevokeApiKey { key_id }).await,
                );
                return;
            }
            17 => {
                let request = fresh_id(store);
                self.links.push((id, request));
                let email = Email::parse(&format!("p{one_of}@{domain}")).unwrap();
                let (standing, link) = (Standing::Allowed, link(request));
                if one_of.is_multiple_of(2) {
                    UserCommand::TakeEmail { email, standing, link }
                } else {
                    UserCommand::RequestEmailChange { email, standing, link }
                }
            }
            18 | 19 => {
                let (owner, original) = self.links[one_of % self.links.len()];
                for command in [
                    UserCommand::ConfirmEmailChange {
                        standing: aggregates::values::Standing::Allowed,
                        original,
                        at: store.now(),
                    },
                    UserCommand::VerifyEmail {
                        original,
                        at: store.now(),
                    },
                ] {
                    let done = attempt::<User>(store, &owner.to_string(), || command.clone()).await;
                    self.done += usize::from(done);
                }
                return;
            }
            20 => UserCommand::BindDevice {
                device: DeviceKey::parse(&format!("{one_of:064x}")).unwrap(),
            },
            21 => UserCommand::ChangePhone {
                phone: Phone::parse_e164(&format!("+65849324{one_of:02}")[..11]).unwrap(),
            },
            22 if one_of.is_multiple_of(4) => UserCommand::Erase,
            22..=25 => {
                if store.user(id).await.unwrap().is_some() {
                    self.sessions.push(sign_in(store, id).await);
                    self.done += 1;
                }
                return;
            }
            26 => {
                let command = if one_of.is_multiple_of(2) {
                    SessionCommand::End {
                        reason: EndReason::Logout,
                        all: one_of.is_multiple_of(4),
                    }
                } else {
                    SessionCommand::Refresh {
                        generation: 0,
                        idle: DAY,
                        at: store.now(),
                    }
                };
                self.done += usize::from(attempt::<Session>(store, &session.to_string(), || command.clone()).await);
                return;
            }
            27 => {
                let command = match one_of % 3 {
                    0 => DomainCommand::Block {
                        include_subdomains: one_of.is_multiple_of(2),
                        reason: Note::parse("spam").ok(),
                    },
                    1 => DomainCommand::Allow {
                        include_subdomains: one_of.is_multiple_of(2),
                        reason: None,
                    },
                    _ => DomainCommand::Unblock { reason: None },
                };
                self.done +=
                    usize::from(attempt::<aggregates::domain::Domain>(store, &domain, || command.clone()).await);
                return;
            }
            _ => {
                let address = AddressKey::parse(&format!("{:064x}", domain.len() * 1_000 + one_of % 3)).unwrap();
                let command = if number == 28 {
                    let display = Email::parse(&format!("spam{}@d0.example", one_of % 3)).unwrap();
                    DomainCommand::BlockAddress {
                        address,
                        display,
                        reason: None,
                    }
                } else {
                    DomainCommand::UnblockAddress { address, reason: None }
                };
                self.done +=
                    usize::from(attempt::<aggregates::domain::Domain>(store, "d0.example", || command.clone()).await);
                return;
            }
        };
        self.done += usize::from(attempt::<User>(store, &id.to_string(), || command.clone()).await);
    }
}

fn clean(report: &RebuildReport) {
    assert_eq!((report.differences.as_slice(), report.different), ([].as_slice(), 0));
    assert_eq!(report.live_checksum, report.rebuilt_checksum);
    for (table, live, rebuilt) in &report.rows {
        assert_eq!(live, rebuilt, "{table}");
    }
}

pub async fn a_rebuild_of_any_history_finds_no_differences(database: Arc<Database>) {
    let (one, other) = (database.open().await, database.open().await);
    for seed in 1..=3 {
        let (mut dice, mut history) = (Dice(seed), History::default());
        for _ in 0..250 {
            history.step(&[&one, &other], &mut dice).await;
        }
        let head = one.head().await.unwrap().position;
        let report = one.rebuild(false).await.unwrap();
        told!(
            "{}: seed {seed}: {} commands, {} events folded at {:.0}/s; rows {:?}; checksums {} and {}",
            one.engine_name(),
            history.done,
            report.events,
            report.rate(),
            report.rows,
            &report.live_checksum[..12],
            &report.rebuilt_checksum[..12]
        );
        assert_eq!((report.position, report.events, report.swapped), (head, head, 0));
        clean(&report);
        assert!(
            report
                .rows
                .iter()
                .all(|(table, live, _)| *live > 0 || *table == "blocked_addresses")
        );
    }
    let mut raw = database.raw().await;
    for kind in [
        "user.erased",
        "user.api_key_revoked",
        "domain.address_unblocked",
        "user.email_changed",
        "user.email_added",
        "user.activated",
    ] {
        assert!(
            raw.count("events", &format!("event_type = '{kind}'")).await > 0,
            "no {kind} in the history"
        );
    }
}

pub async fn a_row_edited_by_hand_is_named_and_mended_while_writers_append(database: Arc<Database>) {
    let store = database.open().await;
    let ada = account(&store, "ada@farm.example").await;
    let grace = account_named(&store, "grace").await;
    let session = sign_in(&store, ada).await;
    let key_id = fresh_id(&store);
    tell_user(&store, ada, || UserCommand::IssueApiKey {
        key_id,
        name: ApiKeyName::parse("field app").unwrap(),
        roles: vec![],
        expires_at: None,
        at: store.now(),
    })
    .await;
    let address = AddressKey::parse(&"ab".repeat(32)).unwrap();
    tell_domain(&store, "farm.example", || DomainCommand::BlockAddress {
        address: address.clone(),
        display: Email::parse("spam@farm.example").unwrap(),
        reason: Note::parse("spam").ok(),
    })
    .await;
    clean(&store.rebuild(false).await.unwrap());

    let mut raw = database.raw().await;
    let edits = [
        format!("UPDATE users SET full_name = 'Mallory', roles = '[\"admin\"]' WHERE id = '{ada}'"),
        format!("UPDATE names SET user_id = '{grace}' WHERE user_id = '{ada}'"),
        format!("UPDATE sessions SET expires_at = expires_at + 1 WHERE id = '{session}'"),
        "UPDATE domains SET standing = 'allowed' WHERE name = 'farm.example'".to_owned(),
        format!("DELETE FROM api_keys WHERE id = '{key_id}'"),
        "INSERT INTO blocked_addresses (address, domain, position) VALUES ('cd', 'other.example', 1)".to_owned(),
    ];
    for edit in &edits {
        assert_eq!(raw.execute(edit).await, 1, "{edit}");
    }
    let name = hex(&store.keyring().name(projections::NameKind::Email, "ada@farm.example"));
    let expected: BTreeSet<(&str, String, &str)> = [
        ("users", ada.to_string(), "full_name, roles"),
        ("names", format!("email/{name}"), "user_id"),
        ("sessions", session.to_string(), "expires_at"),
        ("domains", "farm.example".to_owned(), "standing"),
        ("api_keys", key_id.to_string(), "missing"),
        ("blocked_addresses", "cd".to_owned(), "unknown to the log"),
    ]
    .into();
    let report = store.rebuild(false).await.unwrap();
    let found: BTreeSet<(&str, String, &str)> = report
        .differences
        .iter()
        .map(|one| (one.table, one.key.clone(), one.what.as_str()))
        .collect();
    assert_eq!(found, expected);
    assert_eq!((report.different, report.swapped), (6, 0));
    assert_ne!(report.live_checksum, report.rebuilt_checksum);
    let values = format!("{:?}", report.differences);
    assert!(
        !values.contains("Mallory") && !values.contains("admin"),
        "a report names columns, never values"
    );

    // Writers append all the while, on two instances; nobody is refused.
    let other = database.open().await;
    let (over, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
    let writers: Vec<_> = (0..6_usize)
        .map(|writer| {
            let store = if writer.is_multiple_of(2) { &store } else { &other }.store.clone();
            let (over, written) = (Arc::clone(&over), Arc::clone(&written));
            tokio::spawn(async move {
                let own = account_named(&store, &format!("writer{writer}")).await;
                let mut round = 0;
                while !over.load(Ordering::SeqCst) {
                    tell_user(&store, own, || called(&format!("Round {round}"))).await;
                    sign_in(&store, own).await;
                    crate::claims::take(&store, &[[9; 32]], user_registry::guards::Allowance::default()).await;
                    written.fetch_add(2, Ordering::SeqCst);
                    round += 1;
                }
            })
        })
        .collect();
    crate::harness::until("the writers", || async { written.load(Ordering::SeqCst) > 40 }).await;
    let before = written.load(Ordering::SeqCst);
    let report = soon("the rebuild", store.rebuild(true)).await.unwrap();
    let during = written.load(Ordering::SeqCst) - before;
    over.store(true, Ordering::SeqCst);
    for writer in writers {
        soon("a writer", writer).await.unwrap();
    }
    told!(
        "{}: {} rows differed, {} were mended while {during} events were appended, none refused",
        store.engine_name(),
        report.different,
        report.swapped
    );
    assert_eq!((report.different, report.swapped), (6, 6), "{:?}", report.differences);
    clean(&store.rebuild(false).await.unwrap());
    let row = store.user(ada).await.unwrap().unwrap();
    assert_eq!((row.full_name, row.roles.len()), (None, 0));
    assert_eq!(raw.count("blocked_addresses", "address = 'cd'").await, 0);
    assert_eq!(
        store
            .holder(projections::NameKind::Email, "ada@farm.example")
            .await
            .unwrap(),
        Some(ada)
    );
}

/// The tables a rebuild folds into are its own.
async fn nothing_is_left(database: &Database) {
    let mut raw = database.raw().await;
    let (catalogue, name) = match database.kind {
        Kind::Sqlite => ("sqlite_master", "name"),
        Kind::Postgres => ("pg_class", "relname"),
    };
    let condition = format!("{name} LIKE 'shadow%'");
    // A PostgreSQL session clears up after its client has gone.
    soon("the end of the shadows", async {
        while raw.count(catalogue, &condition).await > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

pub async fn two_rebuilds_at_once_do_not_disturb_each_other(database: Arc<Database>) {
    let (one, other) = (database.open().await, database.open().await);
    let mut people = Vec::new();
    for number in 0..40 {
        let id = account(&one, &format!("p{number}@farm.example")).await;
        sign_in(&other, id).await;
        people.push(id);
    }
    let mut raw = database.raw().await;
    let everything = |(users, names, sessions)| format!("{users} users, {names} names, {sessions} sessions");
    for (round, ada) in people.iter().take(5).enumerate() {
        // Every other time both put right what differs.
        let both = !round.is_multiple_of(2);
        let edits = [
            format!("UPDATE users SET full_name = 'Mallory' WHERE id = '{ada}'"),
            format!("DELETE FROM sessions WHERE user_id = '{ada}'"),
            format!("DELETE FROM names WHERE user_id = '{ada}'"),
        ];
        for edit in &edits {
            assert_eq!(raw.execute(edit).await, 1, "{edit}");
        }
        let (swapping, checking, again) = tokio::join!(one.rebuild(true), other.rebuild(false), other.rebuild(both));
        let (swapping, checking, again) = (swapping.unwrap(), checking.unwrap(), again.unwrap());
        assert_eq!(swapping.swapped, swapping.different);
        assert!(both || swapping.different == 3, "{:?}", swapping.differences);
        // Each saw the rows before or after they were put right, or some of them.
        for report in [swapping, checking, again] {
            assert!(report.different <= 3, "{:?}", report.differences);
            assert!(report.differences.iter().all(|one| one.what != "unknown to the log"));
            assert_eq!(report.events, report.position);
        }
        let rows = (
            raw.count("users", "full_name IS NULL").await,
            raw.count("names", "true").await,
            raw.count("sessions", "true").await,
        );
        assert_eq!(everything(rows), everything((40, 40, 40)));
        clean(&one.rebuild(false).await.unwrap());
    }
    nothing_is_left(&database).await;
}

/// What ends between the comparison and the replacement stays ended; and a rebuild that looks on sees nobody's end
/// half.
pub async fn what_ends_during_a_swap_does_not_come_back(database: Arc<Database>) {
    const PEOPLE: usize = 20;
    const SESSIONS: usize = 3;
    let (one, other) = (database.open().await, database.open().await);
    let mut raw = database.raw().await;
    let mut ended = 0;
    for round in 0..3_usize {
        let (mut people, mut joining) = (Vec::new(), tokio::task::JoinSet::new());
        for number in 0..PEOPLE {
            let store = if number.is_multiple_of(2) { &one } else { &other }.store.clone();
            joining.spawn(async move {
                let id = account(&store, &format!("p{number}@r{round}.example")).await;
                let mut sessions = Vec::new();
                for _ in 0..SESSIONS {
                    sessions.push(sign_in(&store, id).await);
                }
                let key_id = fresh_id(&store);
                tell_user(&store, id, || UserCommand::IssueApiKey {
                    key_id,
                    name: ApiKeyName::parse("field app").unwrap(),
                    roles: vec![],
                    expires_at: None,
                    at: store.now(),
                })
                .await;
                (id, sessions)
            });
        }
        while let Some(joined) = joining.join_next().await {
            people.push(joined.unwrap());
        }
        // Every row differs, so that the swap has much to do.
        for edit in [
            "UPDATE users SET full_name = 'Mallory'",
            "UPDATE names SET user_id = 'nobody'",
            "UPDATE sessions SET generation = 99",
            "UPDATE api_keys SET roles = '[\"admin\"]'",
        ] {
            raw.execute(edit).await;
        }
        let writing = async {
            for (number, (id, sessions)) in people.iter().enumerate() {
                // With pauses: when the lock is taken the log may be at rest.
                tokio::time::sleep(Duration::from_millis([2, 4, 6][number % 3])).await;
                let store = if number.is_multiple_of(2) { &other } else { &one };
                match number % 4 {
                    0 => {
                        erase(store, *id).await;
                    }
                    1 => {
                        let end = || SessionCommand::End {
                            reason: EndReason::Logout,
                            all: true,
                        };
                        tell::<Session>(store, &sessions[0].to_string(), end).await;
                    }
                    2 => {
                        let kept_session = Some(sessions[1]);
                        tell_user(store, *id, || UserCommand::ChangePassword { kept_session }).await;
                    }
                    _ => {}
                }
            }
        };
        let (swapped, looked, ()) = tokio::join!(one.rebuild(true), other.rebuild(false), writing);
        let (swapped, looked) = (swapped.unwrap(), looked.unwrap());
        assert!(swapped.swapped > 0);
        ended += looked.different;
        for (number, (id, sessions)) in people.iter().enumerate() {
            let (user, live, keys) = match number % 4 {
                0 => (0, 0, 0),
                1 => (1, 0, 1),
                2 => (1, 1, 1),
                _ => (1, i64::try_from(sessions.len()).unwrap(), 1),
            };
            let hers = format!("user_id = '{id}'");
            assert_eq!(raw.count("users", &format!("id = '{id}'")).await, user);
            assert_eq!(raw.count("names", &hers).await, user);
            assert_eq!(raw.count("sessions", &hers).await, live);
            assert_eq!(raw.count("api_keys", &hers).await, keys);
        }
        clean(&one.rebuild(false).await.unwrap());
        // Nothing differs, and people are erased while it is looked at.
        let erasing = async {
            for (number, (id, _)) in people.iter().enumerate() {
                if number % 4 == 3 {
                    erase(&other, *id).await;
                }
            }
        };
        let (first, second, ()) = tokio::join!(one.rebuild(false), other.rebuild(false), erasing);
        clean(&first.unwrap());
        clean(&second.unwrap());
    }
    assert!(ended > 0);
    nothing_is_left(&database).await;
}

pub async fn an_event_taken_out_of_the_log_is_missed(database: Arc<Database>) {
    let store = database.open().await;
    let ada = account(&store, "ada@farm.example").await;
    // A failed sign-in leaves no row: no table could tell that it is gone.
    let failed = fresh_id(&store);
    let unit = staged::<Session>(
        &store,
        &failed.to_string(),
        SessionCommand::Fail {
            user: ada,
            dialect: Dialect::Canonical,
        },
    )
    .await;
    let position = unit.append().await.unwrap().receipt.position;
    account(&store, "grace@farm.example").await;
    clean(&store.rebuild(false).await.unwrap());
    let mut raw = database.raw().await;
    raw.execute(match database.kind {
        Kind::Sqlite => "DROP TRIGGER events_no_delete",
        Kind::Postgres => "ALTER TABLE events DISABLE TRIGGER USER",
    })
    .await;
    let deleted = raw
        .execute(&format!("DELETE FROM events WHERE position = {position}"))
        .await;
    assert_eq!(deleted, 1);
    let problem = store.rebuild(true).await.unwrap_err();
    assert!(problem.to_string().contains("the log has a gap"), "{problem}");
    nothing_is_left(&database).await;
}

/// A boundary of more than 300 kB.
pub fn large_boundary(number: usize, round: usize) -> Boundary {
    let mut ring: Vec<String> = (1..10_000)
        .map(|point| {
            let place = 100_000 + round * 20_000 + point;
            format!(
                "[{}.1{place}2345678,{}.1{place}2345678,{place}.12345678901]",
                100 + number,
                10 + number
            )
        })
        .collect();
    ring.push(ring[0].clone());
    let text = format!(r#"{{"type":"Polygon","coordinates":[[{}]]}}"#, ring.join(","));
    Boundary::parse(&serde_json::from_str(&text).unwrap()).unwrap()
}

/// Large rows are folded and written in parts; the result is the same.
pub async fn large_boundaries_are_rebuilt_in_parts(database: Arc<Database>) {
    let store = database.open().await;
    let mut people = Vec::new();
    for number in 0..12 {
        people.push(account(&store, &format!("p{number}@farm.example")).await);
    }
    // More than one page may hold.
    for round in 0..2 {
        for (number, id) in people.iter().enumerate() {
            let boundary = large_boundary(number, round);
            tell_user(&store, *id, || {
                UserCommand::UpdateProfile(Box::new(ProfileChange {
                    boundary: Some(Some(boundary.clone())),
                    ..ProfileChange::default()
                }))
            })
            .await;
        }
        for id in &people {
            tell_user(&store, *id, || called(&format!("Round {round}"))).await;
        }
    }
    let mut raw = database.raw().await;
    let stored = raw
        .number("SELECT CAST(sum(length(CAST(payload AS TEXT))) AS BIGINT) FROM events")
        .await;
    assert!(stored > 16 << 20, "{stored} bytes");
    let report = store.rebuild(false).await.unwrap();
    assert_eq!(report.events, report.position);
    clean(&report);
}
