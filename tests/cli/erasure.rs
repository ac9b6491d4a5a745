//! Of somebody erased nothing can be read any more: not where the store is kept, not in a backup that is restored.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::audit::{beside, check, export, good, refused, register};
use crate::engines::on_both_engines;
use crate::harness::{PASSWORD, Place, Server, eventually};
use crate::search::Search;

on_both_engines!(
    of_somebody_erased_nothing_is_kept_and_a_restored_backup_is_erased_again,
    a_list_with_a_mistake_in_it_erases_nobody,
);

/// Whose values are looked for: each in every form it may be written in.
struct Person {
    id: String,
    /// What rows hold as it is, while there is somebody they are about.
    rows: Vec<String>,
    /// What is only ever kept sealed, or as a hash.
    sealed: Vec<String>,
}

impl Person {
    fn values(&self) -> impl Iterator<Item = &String> {
        self.rows.iter().chain(&self.sealed)
    }
}

fn told(answer: (u16, Value), status: u16) -> Value {
    assert_eq!(answer.0, status, "{}", answer.1);
    answer.1
}

/// The token in the mail to an address that verifies it.
fn token(place: &Place, address: &str) -> String {
    let to = format!("To: {address}");
    let mail = eventually(|| {
        let mut mails = place.mails().into_iter();
        mails.find(|mail| mail.contains(&to) && mail.contains("X-Purpose: verify-email"))
    });
    // The mail may break the link's line, as quoted-printable does.
    let text = mail.replace("=\r\n", "").replace("=3D", "=");
    let link = text.split("verify-email?token=").nth(1).unwrap();
    link.split(|c: char| c.is_whitespace() || c == '"')
        .next()
        .unwrap()
        .to_owned()
}

fn administrator(place: &Place, server: &Server) -> String {
    let verb = [
        "admin",
        "create",
        "--email",
        "root@mill.example",
        "--username",
        "root",
        "--password-stdin",
    ];
    good(&place.run_with(&verb, &[], &format!("{PASSWORD}\n")));
    sign_in(server, "root", &[])["access_token"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn sign_in(server: &Server, identifier: &str, headers: &[(&str, &str)]) -> Value {
    let body = json!({ "identifier": identifier, "password": PASSWORD });
    told(server.post_from(headers, "/v1/sessions", &body, None), 201)
}

/// Registers, verifies, signs in, and leaves something of themselves wherever something can be left.
fn live(place: &Place, server: &Server, admin: &str, number: usize) -> Person {
    let username = format!("planted-name-{number}x");
    let full_name = format!("Planted Surname{number}y");
    let email = format!("planted.mail{number}z@farm.example");
    let other = format!("planted.other{number}z@mill.example");
    let phone = format!("+49151765432{number:02}");
    let geo_id = format!("geo-planted-{number}");
    let agent = format!("PlantedTractor/{number}.7");
    let ip = format!("198.51.100.{}", 140 + number);
    let key_name = format!("planted key of field {number}");
    let note = format!("planted note of the office {number}");
    let headers = [("user-agent", agent.as_str()), ("x-forwarded-for", ip.as_str())];
    let call = |name: &str, body: &Value, token: Option<&str>, status: u16| {
        told(
            server.post_from(&headers, &format!("/v1/commands/{name}"), body, token),
            status,
        )
    };
    let registration = json!({
        "username": username, "full_name": full_name, "email": email, "phone": phone, "geo_id": geo_id,
        "password": PASSWORD, "discoverable": true, "position": { "latitude": 48.137_412, "longitude": 11.575_514 },
    });
    let id = call("register-user", &registration, None, 201)["id"]
        .as_str()
        .unwrap()
        .to_owned();
    call("verify-email", &json!({ "token": token(place, &email) }), None, 200);
    let access = sign_in(server, &username, &headers)["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    call("issue-api-key", &json!({ "name": key_name }), Some(&access), 200);
    let change = json!({ "email": other, "current_password": PASSWORD });
    call("request-email-change", &change, Some(&access), 200);
    // Whoever is locked is signed out; the latest session is one that stays.
    for name in ["lock-user", "unlock-user"] {
        // Where the administrator calls from is the administrator's.
        let body = json!({ "user_id": id, "reason": note });
        told(server.post_as(&format!("/v1/commands/{name}"), &body, admin), 200);
    }
    sign_in(server, &email, &headers);
    Person {
        id,
        rows: vec![username, full_name, email, phone, geo_id, agent, ip, key_name],
        sealed: vec![other, note],
    }
}

/// Looks for everybody's values in everything that is kept. `gone`: those of whom nothing may be found; of the others
/// every value of their rows must be, or the search would prove nothing.
fn look(place: &Place, what: &str, there: &[&Person], gone: &[&Person]) {
    let everything = place.everything();
    let search = Search::new(
        there
            .iter()
            .chain(gone)
            .flat_map(|one| one.values())
            .map(String::as_str),
    );
    let found: BTreeMap<&str, String> = search.found(&everything.bytes);
    let left: Vec<_> = gone
        .iter()
        .flat_map(|one| one.values())
        .filter_map(|value| found.get_key_value(value.as_str()))
        .collect();
    assert!(left.is_empty(), "{what}: {} values are left: {left:#?}", left.len());
    let rows: Vec<&String> = there.iter().flat_map(|one| &one.rows).collect();
    for value in &rows {
        assert!(
            found.contains_key(value.as_str()),
            "{what}: the search does not find {value}"
        );
    }
    told!(
        "{}: {what}: {} of {} values found where they are kept, 0 of {} of the erased, in {} bytes read by {}",
        place.engine(),
        rows.len(),
        rows.len(),
        gone.iter().flat_map(|one| one.values()).count(),
        everything.bytes.len(),
        everything.by,
    );
}

fn erase_from(place: &Place, list: &Path) -> String {
    good(&place.run(&["erase", "--from-list", list.to_str().unwrap()])).to_owned()
}

/// From the backup comes back who was erased after it was made; the list outside the database tells of them.
#[expect(clippy::too_many_lines, reason = "a behaviour is told in one piece")]
fn of_somebody_erased_nothing_is_kept_and_a_restored_backup_is_erased_again(place: &Place) {
    let settings = [("REGISTRY__HTTP__TRUSTED_PROXIES", "127.0.0.1/32")];
    let server = place.start_with(&settings);
    let admin = administrator(place, &server);
    let ada = live(place, &server, &admin, 1);
    let grace = live(place, &server, &admin, 2);
    let (hers, of_grace) = (beside(place, "ada"), beside(place, "grace"));
    good(&export(place, &ada.id, &hers));
    good(&export(place, &grace.id, &of_grace));
    let opened = std::fs::read_to_string(&hers).unwrap();
    for value in &ada.sealed {
        assert!(opened.contains(value.as_str()), "{value} was planted");
    }
    assert_eq!(server.stop().code, Some(0));
    look(place, "before", &[&ada, &grace], &[]);
    place.back_up();

    let server = place.start_with(&settings);
    let admin = sign_in(&server, "root", &[])["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let erase = json!({ "user_id": ada.id, "reason": "asked for it" });
    told(server.post_as("/v1/commands/erase-user", &erase, &admin), 200);
    look(place, "erased, with the service running", &[&grace], &[&ada]);
    let list = place.data().join("notary/erased");
    eventually(|| {
        std::fs::read_to_string(&list)
            .ok()
            .filter(|text| text.contains(&ada.id))
    });
    assert_eq!(server.stop().code, Some(0));
    look(place, "erased", &[&grace], &[&ada]);
    if place.engine() == "sqlite" {
        // The file itself, once its journal is in it and once it is written anew.
        for statement in ["PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM"] {
            place.sql(statement);
            let journal = std::fs::metadata(place.data().join("registry.db-wal"));
            assert!(journal.map_or(0, |file| file.len()) == 0, "after {statement}");
            look(place, &format!("erased, after {statement}"), &[&grace], &[&ada]);
        }
    }
    let holds = |what: &str, events: &str| {
        for (bundle, of) in [(&hers, &ada), (&of_grace, &grace)] {
            let told = check(bundle, &[]);
            assert!(
                good(&told).contains(&format!("of user {}", of.id)),
                "{what}: {}",
                told.stdout
            );
        }
        let after = beside(place, what);
        good(&export(place, &ada.id, &after));
        assert!(good(&check(&after, &[])).contains(events), "{what}");
        let text = std::fs::read_to_string(&after).unwrap();
        let search = Search::new(ada.values().map(String::as_str));
        assert_eq!(
            search.found(text.as_bytes()),
            BTreeMap::new(),
            "{what}: what was erased is opened no more"
        );
    };
    let count = |bundle: &Path| {
        good(&check(bundle, &[]))
            .lines()
            .next()
            .unwrap()
            .split_whitespace()
            .nth(3)
            .unwrap()
            .parse::<usize>()
            .unwrap()
    };
    let more = format!("{} events", count(&hers) + 1);
    holds("after", &more);
    good(&place.run(&["audit", "verify", "--store"]));

    place.restore();
    look(place, "restored", &[&ada, &grace], &[]);
    let server = place.start_with(&settings);
    let stopped = eventually(|| {
        let (status, answer) = server.read("/readyz");
        (status == 503).then_some(answer)
    });
    assert!(stopped.to_string().contains("follower notary"), "{stopped}");
    let said = refused(&place.run(&["audit", "verify", "--store"]));
    assert!(
        said.contains("the store has lost its end, or is an older copy"),
        "{said}"
    );
    assert_eq!(
        erase_from(place, &list),
        "1 in the list: 1 erased now, 0 erased before, 0 unknown here\n"
    );
    assert_eq!(
        erase_from(place, &list),
        "1 in the list: 0 erased now, 1 erased before, 0 unknown here\n"
    );
    std::fs::rename(place.data().join("notary"), place.data().join("notary.before")).unwrap();
    eventually(|| (server.read("/readyz").0 == 200).then_some(()));
    let told = eventually(|| {
        let ended = place.run(&["audit", "verify", "--store"]);
        ended.stdout.contains("every event is covered").then_some(ended)
    });
    assert!(good(&told).ends_with("the store holds\n"));
    look(place, "erased again, with the service running", &[&grace], &[&ada]);
    assert_eq!(server.stop().code, Some(0));
    look(place, "erased again", &[&grace], &[&ada]);
    holds("again", &more);
    let rebuilt = place.run(&["rebuild", "--check"]);
    assert!(good(&rebuilt).ends_with("no row differs\n"));
}

fn a_list_with_a_mistake_in_it_erases_nobody(place: &Place) {
    let server = place.start();
    let ada = register(&server, "ada");
    for (name, mistake) in [
        ("word", "nobody"),
        ("half", &ada[..20]),
        ("other", "12 2026-11-21T00:00:00Z"),
    ] {
        let list = place.write(name, &format!("{ada}\n{mistake}\n"));
        let said = refused(&place.run(&["erase", "--from-list", list.to_str().unwrap()]));
        assert!(said.contains("line 2 does not end with the id of an account"), "{said}");
    }
    assert_eq!(server.stop().code, Some(0));
    let list = place.write("whole", &format!("{ada}\n"));
    assert_eq!(
        erase_from(place, &list),
        "1 in the list: 1 erased now, 0 erased before, 0 unknown here\n"
    );
}
