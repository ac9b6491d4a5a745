//! Finding people: by words and filters, by place, in numbers. Held against what a plain walk over everybody finds.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use aggregates::user::{ProfileChange, UserCommand, UserEvent};
use aggregates::values::{Boundary, Coordinates, Email, LockReason, ProfileField, Role, Username};
use projections::globe::{Spot, chord_squared, kilometres};
use projections::land::Land;
use projections::{Status, UserRow, is_discoverable, words_asked, words_of};
use serde_json::json;
use user_registry::follow::{self, FollowOptions, Health, STATISTICS, StatisticsFollower, day};
use user_registry::registry::{Seed, country_at};
use user_registry::store::{AnyEvent, COUNTED, Circle, Store, UserFilter, UserSort};
use uuid::Uuid;

use crate::harness::{Database, Kind, LONG, until};
use crate::people::{account, account_named, called, erase, person, sign_in, tell_user, try_register};

const SORTS: [UserSort; 4] = [
    UserSort::CreatedAt { descending: false },
    UserSort::CreatedAt { descending: true },
    UserSort::Username { descending: false },
    UserSort::Username { descending: true },
];

async fn seed(store: &Store, users: u64) {
    let seed = Seed { users, domains: 7 };
    let seeded = seed.run(store, |_| {}).await.unwrap();
    assert_eq!((seeded.made, seeded.found), (users, 0));
}

fn key(sort: UserSort, row: &UserRow) -> (String, Uuid) {
    let key = match sort {
        UserSort::CreatedAt { .. } => format!("{:020}", row.created_at.as_micros()),
        UserSort::Username { .. } => row.username.as_deref().unwrap_or_default().to_ascii_lowercase(),
    };
    (key, row.id)
}

/// Every page of a list, one after the other.
async fn walk(store: &Store, filter: &UserFilter, sort: UserSort, limit: i64) -> Vec<UserRow> {
    let (mut all, mut after): (Vec<UserRow>, Option<(String, Uuid)>) = (Vec::new(), None);
    loop {
        let from = after.as_ref().map(|(key, id)| (key.as_str(), *id));
        let page = store.users(filter, sort, from, limit).await.unwrap();
        let Some(last) = page.last() else { return all };
        let (key, id) = key(sort, last);
        after = Some((key.trim_start_matches('0').to_owned(), id));
        if matches!(sort, UserSort::Username { .. }) {
            after = Some((self::key(sort, last).0, id));
        }
        all.extend(page);
    }
}

fn meets(filter: &UserFilter, row: &UserRow) -> bool {
    let words = words_of(row);
    let mut asked = filter.q.iter().flat_map(|q| words_asked(q));
    asked.all(|asked| words.iter().any(|word| word.starts_with(&asked)))
        && filter.status.is_none_or(|status| row.status == status)
        && (filter.domain.is_none() || filter.domain == row.email_domain)
        && filter.verified.is_none_or(|verified| row.email_verified == verified)
        && filter.role.is_none_or(|role| row.roles.contains(&role))
        && (filter.country.is_none() || filter.country == row.country)
}

fn filters() -> Vec<UserFilter> {
    let all = UserFilter::default;
    let q = |text: &str| UserFilter {
        q: Some(text.to_owned()),
        ..all()
    };
    let mut filters: Vec<UserFilter> = [
        "m", "ma", "mar gar", "A", "o'", "van-dijk", "+3161", "zzz", "søren", "%", "_",
    ]
    .iter()
    .map(|text| q(text))
    .collect();
    for status in Status::ALL {
        filters.push(UserFilter {
            status: Some(*status),
            ..all()
        });
        filters.push(UserFilter {
            status: Some(*status),
            ..q("s")
        });
    }
    filters.extend([
        UserFilter {
            domain: Some("farm0.example".to_owned()),
            ..all()
        },
        UserFilter {
            verified: Some(true),
            ..all()
        },
        UserFilter {
            verified: Some(false),
            ..q("a")
        },
        UserFilter {
            role: Some(Role::Auditor),
            ..all()
        },
        UserFilter {
            country: Some("NL".to_owned()),
            ..all()
        },
        UserFilter {
            country: Some("NL".to_owned()),
            status: Some(Status::Active),
            verified: Some(true),
            ..all()
        },
    ]);
    filters
}

pub async fn a_list_holds_whom_a_walk_over_everybody_finds(database: Arc<Database>) {
    let store = database.open().await;
    seed(&store, 700).await;
    for sort in SORTS {
        let mut everybody = walk(&store, &UserFilter::default(), sort, 200).await;
        assert_eq!(everybody.len(), 700);
        everybody.sort_by_key(|row| key(sort, row));
        if matches!(
            sort,
            UserSort::CreatedAt { descending: true } | UserSort::Username { descending: true }
        ) {
            everybody.reverse();
        }
        for filter in filters() {
            let expected: Vec<Uuid> = everybody
                .iter()
                .filter(|row| meets(&filter, row))
                .map(|row| row.id)
                .collect();
            // With few to a page, what many have is walked along; with many, it is gathered.
            for limit in if expected.len() > 100 { [60, 201] } else { [7, 201] } {
                let found: Vec<Uuid> = walk(&store, &filter, sort, limit)
                    .await
                    .iter()
                    .map(|row| row.id)
                    .collect();
                assert_eq!(found, expected, "{filter:?} {sort:?} {limit}");
            }
        }
        // One to a page goes along the order for nearly every filter.
        let active = UserFilter {
            status: Some(Status::Active),
            ..UserFilter::default()
        };
        let mut after: Option<(String, Uuid)> = None;
        for row in everybody.iter().filter(|row| meets(&active, row)).take(40) {
            let from = after.as_ref().map(|(key, id)| (key.as_str(), *id));
            let page = store.users(&active, sort, from, 1).await.unwrap();
            assert_eq!(page[0].id, row.id);
            after = Some(key(sort, row));
        }
    }
}

/// Those whom a condition finds all stand at the end of the order, behind more than a walk goes, and are too many to be
/// taken for few.
pub async fn a_walk_that_meets_nobody_is_given_up(database: Arc<Database>) {
    const LATE: usize = 700;
    let store = database.open().await;
    seed(&store, 2_700).await;
    futures::future::join_all((0..LATE).map(async |number| {
        let (address, name) = (format!("zz{number:03}@late.example"), format!("zzlate{number:03}"));
        let register = person(&store, Some(&address), Some(&name));
        let (id, _) = try_register(&store, register).await.unwrap();
        // Six words each, of which five begin alike.
        tell_user(&store, id, || called("Zza Zzb Zzc")).await;
    }))
    .await;
    let all = UserFilter::default;
    for filter in [
        UserFilter {
            q: Some("zz".to_owned()),
            ..all()
        },
        UserFilter {
            domain: Some("late.example".to_owned()),
            ..all()
        },
        UserFilter {
            q: Some("zz".to_owned()),
            domain: Some("late.example".to_owned()),
            ..all()
        },
        UserFilter {
            q: Some("zz zzl".to_owned()),
            ..all()
        },
    ] {
        for sort in SORTS {
            let page = store.users(&filter, sort, None, 1).await.unwrap();
            assert!(page[0].username.as_deref().unwrap().starts_with("zzlate"));
            assert_eq!(
                walk(&store, &filter, sort, 100).await.len(),
                LATE,
                "{filter:?} {sort:?}"
            );
        }
        let page = store.users(&filter, SORTS[2], None, 3).await.unwrap();
        let names: Vec<&str> = page.iter().filter_map(|row| row.username.as_deref()).collect();
        assert_eq!(names, ["zzlate000", "zzlate001", "zzlate002"]);
        if filter.q.is_none() || filter.domain.is_none() && !filter.q.as_deref().unwrap_or_default().contains(' ') {
            // It was a walk first: counting, walking, looking how far there was to go, gathering.
            let plan = store.explain_users(&filter, SORTS[0], None, 1).await.unwrap();
            assert!(plan.iter().any(|line| line.contains("users_created_idx")), "{plan:#?}");
        }
    }
}

/// Who reads a whole table, by a line of a plan; none if nobody does.
///
/// PostgreSQL names each way; SQLite reads rows that a part of the same statement made by `SCAN` too, and calls an
/// index it must first make itself automatic.
fn reads_all(kind: Kind, plan: &[String]) -> Option<&String> {
    if kind == Kind::Postgres {
        return plan.iter().find(|line| line.contains("Seq Scan"));
    }
    let made = |name: &str| {
        let made = ["CO-ROUTINE", "MATERIALIZE"].map(|way| format!("{way} {name}"));
        plan.iter().any(|line| made.contains(line))
    };
    plan.iter().find(|line| {
        let scans = line.strip_prefix("SCAN ").is_some_and(|rest| {
            let (name, way) = rest.split_once(' ').unwrap_or((rest, ""));
            !way.starts_with("USING") && !way.starts_with("VIRTUAL TABLE") && rest != "CONSTANT ROW" && !made(name)
        });
        scans || line.contains("AUTOMATIC")
    })
}

pub async fn no_search_reads_a_whole_table(database: Arc<Database>) {
    let store = database.open().await;
    seed(&store, 3_000).await;
    for number in 0..40 {
        let id = account_named(&store, &format!("land{number}")).await;
        let west = f64::from(number) / 10.0;
        tell_user(&store, id, || owning(52.0, west, 0.05)).await;
    }
    if database.kind == Kind::Postgres {
        // A few thousand rows are read faster as a whole: the question is whether there is another way.
        let mut raw = database.raw().await;
        raw.execute(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET enable_seqscan = off', current_database()); END $$",
        )
        .await;
        raw.execute("ANALYZE").await;
    }
    let store = database.open().await;
    // The check itself is one that finds.
    let whole = match database.kind {
        Kind::Postgres => "        ->  Parallel Seq Scan on users u",
        Kind::Sqlite => "SCAN u",
    };
    assert!(reads_all(database.kind, &[whole.to_owned()]).is_some());

    let (mut plans, mut wrong) = (0, BTreeSet::new());
    let mut look = |what: String, plan: Vec<String>| {
        assert!(!plan.is_empty(), "{what}");
        plans += 1;
        if let Some(line) = reads_all(database.kind, &plan) {
            wrong.insert(format!("{what}: {line:?} in {plan:#?}"));
        }
    };
    let mut filters = filters();
    filters.push(UserFilter::default());
    for filter in &filters {
        for sort in SORTS {
            for limit in [1, 51, 201] {
                let first = store.users(filter, sort, None, limit).await.unwrap();
                let last = first.last().map(|row| {
                    let (key, id) = key(sort, row);
                    match sort {
                        UserSort::CreatedAt { .. } => (key.trim_start_matches('0').to_owned(), id),
                        UserSort::Username { .. } => (key, id),
                    }
                });
                // The first page, and the one behind it.
                for after in [None, last] {
                    let from = after.as_ref().map(|(key, id)| (key.as_str(), *id));
                    let plan = store.explain_users(filter, sort, from, limit).await.unwrap();
                    look(format!("{filter:?} {sort:?} {limit} after {from:?}"), plan);
                }
            }
        }
    }
    look("discover".to_owned(), store.explain_discover().await.unwrap());
    assert!(
        wrong.is_empty(),
        "{} of {plans}: {}",
        wrong.len(),
        wrong.iter().take(5).cloned().collect::<String>()
    );
    println!("{:?}: {plans} plans", database.kind);
}

fn profile(change: ProfileChange) -> UserCommand {
    UserCommand::UpdateProfile(Box::new(change))
}

fn moved(latitude: f64, longitude: f64) -> UserCommand {
    let position = Coordinates::new(latitude, longitude).unwrap();
    profile(ProfileChange {
        position: Some(Some((position, country_at(&position)))),
        discoverable: Some(true),
        ..ProfileChange::default()
    })
}

fn owning(south: f64, west: f64, size: f64) -> UserCommand {
    let (north, east) = (south + size, west + size);
    let ring = json!([
        [west, south],
        [east, south],
        [east, north],
        [west, north],
        [west, south]
    ]);
    let boundary = Boundary::parse(&json!({ "type": "Polygon", "coordinates": [ring] })).unwrap();
    profile(ProfileChange {
        boundary: Some(Some(boundary)),
        discoverable: Some(true),
        ..ProfileChange::default()
    })
}

pub async fn what_somebody_is_found_by_follows_every_change_and_goes_with_them(database: Arc<Database>) {
    let store = database.open().await;
    let register = person(&store, Some("ada@farm.example"), Some("ada"));
    let (ada, _) = try_register(&store, register).await.unwrap();
    let finds = async |q: &str| {
        let filter = UserFilter {
            q: Some(q.to_owned()),
            ..UserFilter::default()
        };
        !store.users(&filter, SORTS[0], None, 5).await.unwrap().is_empty()
    };
    assert!(finds("ada").await && finds("ada@farm").await && !finds("augusta").await);
    tell_user(&store, ada, || called("Augusta King")).await;
    assert!(finds("augusta").await && finds("king au").await);
    // Every word of a name, the last of many and all of a long one.
    let many = "Ada B C D E F G H I J K L M N O P Q Wolfeschlegelsteinhausenbergerdorff";
    tell_user(&store, ada, || called(many)).await;
    assert!(finds("q").await && finds("wolfeschlegelsteinhausenbergerdorf").await && finds("wolf b q").await);
    assert!(!finds("wolfeschlegelsteinhausenbergerdork").await && !finds("king").await);
    tell_user(&store, ada, || called("Ada King")).await;
    assert!(!finds("augusta").await && !finds("wolf").await && finds("king").await);
    let near = async |latitude: f64, longitude: f64| {
        let circle = Circle {
            latitude,
            longitude,
            apart: chord_squared(1.0),
        };
        let found = store.discover(&circle, None, 10).await.unwrap();
        found.found.iter().map(|near| near.user.id).collect::<Vec<_>>()
    };
    assert!(near(52.0, 5.0).await.is_empty());
    tell_user(&store, ada, || moved(52.0, 5.0)).await;
    assert_eq!(near(52.0, 5.0).await, [ada]);
    // Within one cell too.
    tell_user(&store, ada, || moved(52.000_001, 5.000_001)).await;
    assert_eq!(
        store
            .discover(
                &Circle {
                    latitude: 52.000_001,
                    longitude: 5.000_001,
                    apart: 0.0
                },
                None,
                1
            )
            .await
            .unwrap()
            .found
            .len(),
        1
    );
    tell_user(&store, ada, || owning(10.0, 20.0, 0.01)).await;
    assert_eq!(near(10.005, 20.005).await, [ada]);
    tell_user(&store, ada, || moved(-33.0, 151.0)).await;
    assert!(near(52.0, 5.0).await.is_empty());
    assert_eq!(near(-33.0, 151.0).await, [ada]);
    let lock = || UserCommand::Lock {
        reason: LockReason::Admin,
        note: None,
    };
    tell_user(&store, ada, lock).await;
    assert_eq!((near(-33.0, 151.0).await, near(10.005, 20.005).await), (vec![], vec![]));
    tell_user(&store, ada, || UserCommand::Unlock { note: None }).await;
    assert_eq!(near(-33.0, 151.0).await, [ada]);
    let hide = || {
        profile(ProfileChange {
            discoverable: Some(false),
            ..ProfileChange::default()
        })
    };
    tell_user(&store, ada, hide).await;
    assert!(near(-33.0, 151.0).await.is_empty());
    tell_user(&store, ada, || moved(1.0, 1.0)).await;

    let mut raw = database.raw().await;
    let hers = format!("user_id = '{ada}'");
    assert_eq!(raw.count("user_words", &hers).await, 3, "ada, ada@farm.example, king");
    assert!(raw.count("user_places", &hers).await >= 2);
    // A page made of words alone is in the order of the names as they are now, also after one was changed.
    let eve = account_named(&store, "eve").await;
    tell_user(&store, eve, || called("Eve King")).await;
    let kings = async |sort| {
        let filter = UserFilter {
            q: Some("king".to_owned()),
            ..UserFilter::default()
        };
        let page = store.users(&filter, sort, None, 5).await.unwrap();
        page.iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(kings(SORTS[2]).await, [ada, eve]);
    let rename = |name: &'static str| {
        move || UserCommand::ChangeUsername {
            username: Username::parse(name).unwrap(),
        }
    };
    tell_user(&store, eve, rename("Aaron")).await;
    assert_eq!(kings(SORTS[2]).await, [eve, ada]);
    assert_eq!(kings(SORTS[3]).await, [ada, eve]);
    assert_eq!(kings(SORTS[0]).await, [ada, eve], "when somebody came does not change");
    assert_eq!(
        raw.count("user_words", "username = 'aaron'").await,
        3,
        "aaron, eve, king"
    );
    assert_eq!(store.rebuild(false).await.unwrap().different, 0);
    // Words as a version before this one writes them are told and mended.
    raw.execute("UPDATE user_words SET username = '', created_at = 0 WHERE username = 'aaron'")
        .await;
    let report = store.rebuild(true).await.unwrap();
    let told: BTreeSet<(&str, &str)> = report
        .differences
        .iter()
        .map(|one| (one.table, one.what.as_str()))
        .collect();
    assert_eq!(told, [("user_words", "created_at, username")].into());
    assert_eq!(kings(SORTS[2]).await, [eve, ada]);
    erase(&store, eve).await;
    assert_eq!(raw.count("user_words", &format!("user_id = '{eve}'")).await, 0);

    // What somebody changed by hand is found and mended, and no word is told.
    raw.execute("DELETE FROM user_words WHERE word = 'king'").await;
    raw.execute("UPDATE user_places SET x = 0.5 WHERE cell >= 0").await;
    let report = store.rebuild(true).await.unwrap();
    let told: BTreeSet<(&str, &str)> = report
        .differences
        .iter()
        .map(|one| (one.table, one.what.as_str()))
        .collect();
    assert_eq!(told, [("user_places", "x"), ("user_words", "missing")].into());
    assert!(
        report.differences.iter().all(|one| !one.key.contains("king")),
        "{report:?}"
    );
    assert_eq!(store.rebuild(false).await.unwrap().different, 0);
    assert!(finds("king").await);
    assert_eq!(near(1.0, 1.0).await, [ada]);

    erase(&store, ada).await;
    assert_eq!(raw.count("user_words", "true").await, 0);
    assert_eq!(raw.count("user_places", "true").await, 0);
    assert!(!finds("ada").await);
    assert!(near(1.0, 1.0).await.is_empty());
    assert_eq!(store.rebuild(false).await.unwrap().different, 0);
}

/// Whom a walk over everybody finds in a circle, in order.
fn around(everybody: &[UserRow], circle: &Circle) -> Vec<(Uuid, f64)> {
    let centre = Spot::at(circle.latitude, circle.longitude);
    let mut found: Vec<(f64, Uuid)> = Vec::new();
    for row in everybody.iter().filter(|row| is_discoverable(row)) {
        let land = row.boundary.as_deref().and_then(Land::parse);
        if land.is_some_and(|land| land.holds(circle.latitude, circle.longitude)) {
            found.push((0.0, row.id));
        } else if let (Some(latitude), Some(longitude)) = (row.latitude, row.longitude) {
            let apart = centre.apart(Spot::at(latitude, longitude));
            if apart <= circle.apart {
                found.push((apart, row.id));
            }
        }
    }
    found.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    found.into_iter().map(|(apart, id)| (id, apart)).collect()
}

pub async fn discovery_finds_whom_a_walk_over_everybody_finds(database: Arc<Database>) {
    let store = database.open().await;
    seed(&store, 400).await;
    // Both sides of the antimeridian, around both poles, many on one spot, and land over all of it.
    let mut extra = Vec::new();
    for (number, (latitude, longitude)) in [
        (0.0, 179.999),
        (0.0, -179.999),
        (0.0, 180.0),
        (0.0, -180.0),
        (90.0, 0.0),
        (89.999, 90.0),
        (89.999, -90.0),
        (-90.0, 45.0),
        (-89.99, 180.0),
        (7.0, 7.0),
        (7.0, 7.0),
        (7.0, 7.0),
        (7.0, 7.0),
    ]
    .into_iter()
    .enumerate()
    {
        let id = account_named(&store, &format!("extra{number}")).await;
        tell_user(&store, id, || moved(latitude, longitude)).await;
        extra.push(id);
    }
    for (number, (south, west, size)) in [(6.99, 6.99, 0.02), (6.0, 6.0, 2.0), (-0.5, 179.0, 1.0), (7.1, 7.1, 0.5)]
        .into_iter()
        .enumerate()
    {
        let id = account_named(&store, &format!("land{number}")).await;
        tell_user(&store, id, || owning(south, west, size)).await;
        if number == 0 {
            tell_user(&store, id, || moved(7.0, 7.0)).await;
        }
    }
    // Somebody else's land holds those who stand there: they are found by their land, not twice.
    tell_user(&store, extra[9], || owning(6.5, 6.5, 1.0)).await;
    let everybody = walk(&store, &UserFilter::default(), SORTS[0], 200).await;
    let mut some = 0;
    for (latitude, longitude) in [
        (7.0, 7.0),
        (0.0, 180.0),
        (0.0, -180.0),
        (90.0, 0.0),
        (90.0, -120.0),
        (-90.0, 0.0),
        (52.37, 4.90),
        (-17.78, 179.9),
        (10.0, -140.0),
    ] {
        for radius in [0.0, 0.2, 30.0, 700.0, 9_000.0, 20_015.2] {
            let circle = Circle {
                latitude,
                longitude,
                apart: chord_squared(radius),
            };
            let expected = around(&everybody, &circle);
            for limit in [1, 3, 50, 1_000] {
                if limit == 1 && expected.len() > 60 {
                    continue;
                }
                let (mut found, mut after) = (Vec::new(), None);
                loop {
                    let page = store.discover(&circle, after, limit).await.unwrap();
                    found.extend(page.found.iter().map(|near| (near.user.id, near.apart)));
                    after = page.next;
                    if after.is_none() {
                        break;
                    }
                }
                assert_eq!(found, expected, "{latitude} {longitude} {radius} {limit}");
                some += found.len();
            }
        }
    }
    assert!(some > 2_000, "{some}");
    // The antimeridian is no wall: a few hundred metres, not around the globe.
    let circle = Circle {
        latitude: 0.0,
        longitude: 179.999,
        apart: chord_squared(1.0),
    };
    let near = store.discover(&circle, None, 10).await.unwrap().found;
    let far = near.iter().map(|near| kilometres(near.apart)).fold(0.0, f64::max);
    assert!(near.len() >= 4 && far < 0.3, "{far}");
}

/// A place may be read right before its account hides, and its account right after.
pub async fn whoever_hides_meanwhile_does_not_end_the_list(database: Arc<Database>) {
    let store = database.open().await;
    let mut people = Vec::new();
    for number in 0..6 {
        let id = account_named(&store, &format!("near{number}")).await;
        tell_user(&store, id, || moved(7.0 + f64::from(number) / 100.0, 7.0)).await;
        people.push(id);
    }
    let mut raw = database.raw().await;
    for hidden in [people[0], people[1], people[3]] {
        let sql = format!("UPDATE users SET discoverable = false WHERE id = '{hidden}'");
        raw.execute(&sql).await;
    }
    let circle = Circle {
        latitude: 7.0,
        longitude: 7.0,
        apart: chord_squared(50.0),
    };
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let page = store.discover(&circle, after, 2).await.unwrap();
        pages.push(page.found.iter().map(|near| near.user.id).collect::<Vec<_>>());
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(pages, [vec![], vec![people[2]], vec![people[4], people[5]]]);
}

/// What is counted of somebody, told from their events alone and by other rules than those of the rows.
#[derive(Default)]
struct Person {
    used: bool,
    locked: bool,
    deactivated: bool,
    country: String,
    domain: String,
}

impl Person {
    fn hears(&mut self, event: &UserEvent) {
        let domain = |email: &Email| email.as_str().rsplit('@').next().unwrap_or_default().to_owned();
        match event {
            UserEvent::Registered {
                email, country, active, ..
            } => {
                self.used = *active;
                self.domain = email.known().map(domain).unwrap_or_default();
                self.country = country
                    .known()
                    .map(|country| country.as_str().to_owned())
                    .unwrap_or_default();
            }
            UserEvent::EmailVerified { .. } | UserEvent::PhoneVerified { .. } | UserEvent::Activated { .. } => {
                self.used = true;
            }
            UserEvent::EmailChanged { email, .. } => {
                self.used = true;
                self.domain = email.known().map(domain).unwrap_or_default();
            }
            UserEvent::EmailAdded { email } => self.domain = email.known().map(domain).unwrap_or_default(),
            UserEvent::ProfileUpdated { fields, country, .. } if fields.contains(&ProfileField::Position) => {
                self.country = country
                    .known()
                    .map(|country| country.as_str().to_owned())
                    .unwrap_or_default();
            }
            UserEvent::Locked { .. } => self.locked = true,
            UserEvent::Unlocked { .. } => self.locked = false,
            UserEvent::Deactivated { .. } => self.deactivated = true,
            UserEvent::Reactivated { .. } => self.deactivated = false,
            UserEvent::Imported { .. } => panic!("nobody is taken over here"),
            _ => {}
        }
    }

    fn status(&self) -> Status {
        match self {
            Self { deactivated: true, .. } => Status::Deactivated,
            Self { locked: true, .. } => Status::Locked,
            Self { used: true, .. } => Status::Active,
            Self { used: false, .. } => Status::Pending,
        }
    }
}

/// What a plain count over the whole log comes to.
async fn counted(store: &Store) -> (BTreeMap<(String, String), i64>, BTreeMap<(String, String), i64>) {
    let (mut periods, mut counts) = (BTreeMap::new(), BTreeMap::new());
    let mut people: BTreeMap<String, Person> = BTreeMap::new();
    let mut position = 0;
    loop {
        let records = store.events_after(position, 500).await.unwrap();
        let Some(last) = records.last() else { break };
        position = last.position;
        for opened in store.open_events(records).await.unwrap() {
            let record = opened.record;
            let kind = match record.event_type.as_str() {
                "user.registered" => Some("registrations"),
                "session.started" => Some("sign_ins"),
                _ => None,
            };
            if let Some(kind) = kind {
                *periods.entry((day(record.recorded_at), kind.to_owned())).or_insert(0) += 1;
            }
            match &opened.event {
                AnyEvent::User(UserEvent::Erased {} | UserEvent::Expired {}) => {
                    people.remove(&record.aggregate_id);
                }
                AnyEvent::User(event) => people.entry(record.aggregate_id).or_default().hears(event),
                _ => {}
            }
        }
    }
    for person in people.into_values() {
        for (dimension, value) in [
            ("status", person.status().as_str().to_owned()),
            ("country", person.country),
            ("domain", person.domain),
        ] {
            *counts.entry((dimension.to_owned(), value)).or_insert(0) += 1;
        }
    }
    (periods, counts)
}

async fn stands(store: &Store) -> (BTreeMap<(String, String), i64>, BTreeMap<(String, String), i64>) {
    let (mut periods, mut counts) = (BTreeMap::new(), BTreeMap::new());
    for one in store
        .statistics_periods("1970-01-01", "9999-12-31", false)
        .await
        .unwrap()
    {
        periods.insert((one.period, one.kind), one.number);
    }
    for dimension in ["status", "country", "domain"] {
        for (value, number) in store.statistics_counts(dimension, 10_000).await.unwrap() {
            counts.insert((dimension.to_owned(), value), number);
        }
    }
    (periods, counts)
}

/// Few are counted one by one; of many nobody wants to wait for that, once somebody keeps statistics.
pub async fn accounts_of_a_large_domain_are_counted_beforehand(database: Arc<Database>) {
    let store = database.open().await;
    let count = async |name: &str| store.users_of_domains(&[name, "nobody.example"]).await.unwrap();
    for name in ["ada", "eve"] {
        account(&store, &format!("{name}@small.example")).await;
    }
    let users = u64::try_from(COUNTED * 3 / 2).unwrap();
    Seed { users, domains: 1 }.run(&store, |_| {}).await.unwrap();
    let mut raw = database.raw().await;
    let large = raw
        .texts("SELECT email_domain FROM users GROUP BY email_domain ORDER BY count(*) DESC LIMIT 1")
        .await
        .remove(0);
    let number = raw.count("users", &format!("email_domain = '{large}'")).await;
    assert!(number > COUNTED, "{number} of {large}");
    let is = |name: &str, number: i64| HashMap::from([(name.to_owned(), number)]);
    assert_eq!(count(&large).await, is(&large, number));
    follow_to_the_end(&store, "counts").await;
    assert_eq!(count(&large).await, is(&large, number));
    // What is told is what was counted beforehand, not one by one.
    raw.execute("UPDATE statistics_counts SET number = number + 5000 WHERE dimension = 'domain'")
        .await;
    assert_eq!(count(&large).await, is(&large, number + 5_000));
    assert_eq!(count("small.example").await, is("small.example", 2));
}

/// Runs the follower until it is done with everything.
async fn follow_to_the_end(store: &Store, owner: &str) {
    let options = FollowOptions {
        lease: LONG,
        retry: std::time::Duration::from_millis(10),
    };
    let (stop, health) = (tokio_util::sync::CancellationToken::new(), Health::default());
    let follower = StatisticsFollower::new(store.clone());
    let running = tokio::spawn(follow::run(
        follower,
        store.clone(),
        owner.to_owned(),
        options,
        health,
        stop.clone(),
    ));
    let head = store.head().await.unwrap().position;
    until("the follower", async || {
        let states = store.followers().await.unwrap();
        let state = states.iter().find(|state| state.checkpoint.follower == STATISTICS);
        state.is_some_and(|state| state.checkpoint.position >= head)
    })
    .await;
    stop.cancel();
    running.await.unwrap();
}

pub async fn statistics_are_what_a_count_over_the_log_comes_to(database: Arc<Database>) {
    let store = database.open().await;
    seed(&store, 120).await;
    follow_to_the_end(&store, "one").await;
    assert_eq!(stands(&store).await, counted(&store).await);
    // Whatever happens to them, with the follower away and back, and for some of them all of it at once.
    let everybody = walk(&store, &UserFilter::default(), SORTS[0], 200).await;
    for (number, row) in everybody.iter().enumerate() {
        let id = row.id;
        match number % 8 {
            0 => drop(erase(&store, id).await),
            1 if row.status == Status::Active => {
                sign_in(&store, id).await;
                sign_in(&store, id).await;
            }
            2 if row.status == Status::Active => {
                let lock = || UserCommand::Lock {
                    reason: LockReason::Admin,
                    note: None,
                };
                tell_user(&store, id, lock).await;
                if number % 16 == 2 {
                    tell_user(&store, id, || UserCommand::Unlock { note: None }).await;
                }
            }
            3 if row.status == Status::Active => {
                tell_user(&store, id, || UserCommand::Deactivate { note: None }).await;
            }
            4 => drop(tell_user(&store, id, || moved(52.37, 4.9)).await),
            5 => drop(tell_user(&store, id, || called("Somebody Else")).await),
            _ => {}
        }
        if number == 60 {
            follow_to_the_end(&store, "two").await;
        }
    }
    let (before, expected) = (stands(&store).await, counted(&store).await);
    assert_ne!(before, expected, "nobody has counted these yet");
    let states = store.followers().await.unwrap();
    assert!(states[0].checkpoint.position < states[0].head && states[0].behind > 0);
    follow_to_the_end(&store, "three").await;
    assert_eq!(stands(&store).await, expected);
    // A restart counts nothing twice.
    follow_to_the_end(&store, "four").await;
    assert_eq!(stands(&store).await, expected);
    let mut raw = database.raw().await;
    assert_eq!(
        raw.count("statistics_users", "true").await,
        raw.count("users", "true").await,
        "of an erased person nothing stays"
    );
    let states = store.followers().await.unwrap();
    assert_eq!((states[0].behind, states[0].checkpoint.position), (0, states[0].head));
    // Begun anew, long after keys were destroyed, it comes to the same.
    let replayed: Vec<_> = store
        .open_events(store.events_after(0, 10_000).await.unwrap())
        .await
        .unwrap();
    assert!(
        replayed
            .iter()
            .any(|event| matches!(event.event, AnyEvent::User(_)) && event.erased)
    );
    for table in [
        "statistics_users",
        "statistics_counts",
        "statistics_periods",
        "checkpoints",
    ] {
        raw.execute(&format!("DELETE FROM {table}")).await;
    }
    follow_to_the_end(&store, "five").await;
    assert_eq!(stands(&store).await, expected);
}
