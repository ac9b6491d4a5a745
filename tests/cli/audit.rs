//! Auditors at the command line: taking a history away, checking it elsewhere, checking a whole store.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use user_registry::audit::bundle::verify;

use crate::engines::on_both_engines;
use crate::harness::{Ended, PASSWORD, Place, Server, eventually};

on_both_engines!(
    a_history_is_taken_away_and_checked_elsewhere,
    a_store_is_checked_while_it_runs_and_the_first_bad_position_is_named,
    an_erased_person_is_erased_again_and_old_bundles_still_hold,
    a_history_can_be_read_at_a_terminal,
    who_reads_at_a_terminal_leaves_an_event_an_hour,
    the_key_that_signs_heads_is_rotated_while_the_service_runs,
);

pub fn register(server: &Server, name: &str) -> String {
    let body = json!({ "username": name, "email": format!("{name}@farm.example"), "password": PASSWORD });
    let (status, answer) = server.post("/v1/commands/register-user", &body);
    assert_eq!(status, 201, "{answer}");
    answer["id"].as_str().unwrap().to_owned()
}

pub fn export(place: &Place, user: &str, file: &Path) -> Ended {
    place.run(&["audit", "export", "--user", user, "--out", file.to_str().unwrap()])
}

pub fn good(ended: &Ended) -> &str {
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    &ended.stdout
}

/// The one line of a refusal.
pub fn refused(ended: &Ended) -> String {
    assert_eq!(ended.code, Some(1), "{}{}", ended.stdout, ended.stderr);
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("user-registry: "), "{}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    last.to_owned()
}

pub fn beside(place: &Place, name: &str) -> PathBuf {
    place.write(name, "").parent().unwrap().join(format!("{name}.jsonl"))
}

/// Checks a file where there is no store.
pub fn check(file: &Path, more: &[&str]) -> Ended {
    let elsewhere = Place::sqlite();
    let mut arguments = vec!["audit", "verify", file.to_str().unwrap()];
    arguments.extend(more);
    let ended = elsewhere.run(&arguments);
    assert!(!elsewhere.data().exists(), "no store is made by checking");
    ended
}

#[expect(clippy::too_many_lines, reason = "a behaviour is told in one piece")]
fn a_history_is_taken_away_and_checked_elsewhere(place: &Place) {
    let server = place.start();
    let ada = register(&server, "ada");
    register(&server, "grace");
    let file = beside(place, "ada");
    assert!(good(&export(place, "ada", &file)).ends_with(&format!(": 2 events of user {ada}\n")));
    let again = refused(&export(place, "ada", &file));
    assert!(again.contains("cannot be made"), "{again}");
    let nobody = refused(&export(place, "nobody", &beside(place, "nobody")));
    assert!(nobody.contains("there is no such account"), "{nobody}");

    let key = good(&place.run(&["audit", "key"])).trim().to_owned();
    let told = check(&file, &["--key", &key]);
    let told = good(&told);
    assert!(
        told.starts_with(&format!("the bundle holds: 2 events of user {ada}\n")),
        "{told}"
    );
    assert!(
        told.contains("It proves:") && told.contains("It does not prove:"),
        "{told}"
    );
    assert!(!told.contains("compare it"), "{told}");
    let untrusted = check(&file, &[]);
    assert!(good(&untrusted).contains("that the key is the registry's: compare it"));
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("ada@farm.example"), "personal fields are opened");
    assert!(text.contains("An account was opened."), "what events mean comes along");

    // Foreign keys.
    let other = Place::sqlite();
    let foreign = good(&other.run(&["audit", "key"])).trim().to_owned();
    let said = refused(&check(&file, &["--key", &foreign]));
    assert!(
        said.contains("is not signed by a key of this log that you trust"),
        "{said}"
    );
    let nonsense = check(&file, &["--key", "nonsense"]);
    assert_eq!(nonsense.code, Some(2));

    // Cut off, emptied, of another kind, without end.
    for (name, bytes, sentence) in [
        ("half", text.as_bytes()[..text.len() / 2].to_vec(), "it is cut off"),
        (
            "headless",
            text.split_once('\n').unwrap().1.as_bytes().to_vec(),
            "it is no bundle of this version",
        ),
        (
            "tailless",
            text.rsplitn(3, '\n')
                .nth(2)
                .map(|rest| format!("{rest}\n"))
                .unwrap()
                .into_bytes(),
            "its last line is missing",
        ),
        ("empty", Vec::new(), "it is empty"),
        ("picture", b"\x89PNG\r\n".to_vec(), "it is no bundle of this version"),
        (
            "twice",
            [text.as_bytes(), text.as_bytes()].concat(),
            "something follows its last line",
        ),
        (
            "endless",
            [b"{\"bundle\":1,".as_slice(), &vec![b' '; 20 << 20]].concat(),
            "more than 16 MiB",
        ),
    ] {
        let bad = beside(place, name);
        std::fs::write(&bad, bytes).unwrap();
        let said = refused(&check(&bad, &[]));
        assert!(said.contains(sentence), "{name}: {said}");
    }
    // A gigabyte of zeros takes no room on the disk, and none in memory.
    let zeros = beside(place, "zeros");
    std::fs::File::create(&zeros).unwrap().set_len(1 << 30).unwrap();
    let said = refused(&check(&zeros, &[]));
    assert!(said.contains("it is no bundle of this version"), "{said}");
    let missing = refused(&check(Path::new("/nowhere"), &[]));
    assert!(missing.contains("/nowhere cannot be read"), "{missing}");

    // A proof that is missing, an event that is left out.
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mut event: Value = serde_json::from_str(lines[1]).unwrap();
    let position = event["position"].as_i64().unwrap();
    let from = text.find("\"proof\":[").unwrap() + 9;
    let to = from + text[from..].find(']').unwrap();
    let proofless = format!("{}{}", &text[..from], &text[to..]);
    let said = verify(proofless.as_bytes(), &[]).unwrap_err();
    assert_eq!(said.position, Some(position), "{said}");
    let shortened = [lines[0], lines[2], lines[3]].concat();
    let said = verify(shortened.as_bytes(), &[]).unwrap_err();
    assert!(said.to_string().contains("it is not as it was signed"), "{said}");
    // Altered lines are named by their position, at the command line too.
    let second: Value = serde_json::from_str(lines[2]).unwrap();
    let (from, to) = (
        lines[2].find("\"proof\":[").unwrap(),
        lines[2].find("\"opened\":").unwrap(),
    );
    let altered = |name: &str, line: &str, at: i64| {
        let bad = beside(place, name);
        std::fs::write(&bad, [lines[0], lines[1], line, lines[3]].concat()).unwrap();
        let said = refused(&check(&bad, &[]));
        assert!(said.contains(&format!(" position {at}: ")), "{name}: {said}");
    };
    let at = second["position"].as_i64().unwrap();
    let edited = lines[2].replacen("\"payload\":\"{", "\"payload\":\"{ ", 1);
    assert_ne!(edited, lines[2]);
    altered("edited", &edited, at);
    altered(
        "proofless",
        &format!("{}\"proof\":[],{}", &lines[2][..from], &lines[2][to..]),
        at,
    );
    altered("memberless", &format!("{}{}", &lines[2][..from], &lines[2][to..]), at);
    // What names no position is the one after the last good event.
    altered("nonsense", "nonsense\n", position + 1);
    event["payload"] = "{}".into();
    assert!(verify(text.replacen(lines[1], &format!("{event}\n"), 1).as_bytes(), &[]).is_err());

    assert_eq!(server.stop().code, Some(0));
}

/// The form does not hang on the engine.
#[test]
fn every_byte_that_is_flipped_is_noticed() {
    let place = Place::sqlite();
    let server = place.start();
    register(&server, "ada");
    let file = beside(&place, "ada");
    let arguments = [
        "audit",
        "export",
        "--user",
        "ada",
        "--to",
        "1",
        "--out",
        file.to_str().unwrap(),
    ];
    assert!(good(&place.run(&arguments)).contains(": 1 event of user "));
    assert_eq!(server.stop().code, Some(0));
    let whole = std::fs::read(&file).unwrap();
    verify(whole.as_slice(), &[]).unwrap();
    let share = whole.len().div_ceil(2);
    std::thread::scope(|scope| {
        for first in [0, share] {
            let mut bytes = whole.clone();
            scope.spawn(move || {
                for place in first..(first + share).min(bytes.len()) {
                    let flip = 1 << (place % 8);
                    bytes[place] ^= flip;
                    assert!(verify(bytes.as_slice(), &[]).is_err(), "byte {place}");
                    bytes[place] ^= flip;
                }
            });
        }
    });
    told!("{} bytes flipped, one at a time, all noticed", whole.len());
}

fn unlock(place: &Place) {
    let statements: &[&str] = if place.engine() == "postgres" {
        &["ALTER TABLE events DISABLE TRIGGER USER"]
    } else {
        &["DROP TRIGGER events_no_update"]
    };
    for statement in statements {
        place.sql(statement);
    }
}

fn a_store_is_checked_while_it_runs_and_the_first_bad_position_is_named(place: &Place) {
    let server = place.start();
    for number in 0..4 {
        register(&server, &format!("ada{number}"));
    }
    let verify = || place.run(&["audit", "verify", "--store"]);
    let ended = eventually(|| {
        let ended = verify();
        ended.stdout.contains("every event is covered").then_some(ended)
    });
    let told = good(&ended);
    assert!(
        told.contains("signed heads in the store") && told.contains("rows of the read models"),
        "{told}"
    );
    assert!(told.ends_with("the store holds\n"), "{told}");
    assert_eq!(server.stop().code, Some(0));

    assert_eq!(
        place.sql("UPDATE users SET username = 'Mallory' WHERE username = 'ada1'"),
        1
    );
    let said = refused(&verify());
    assert!(
        said.contains("1 rows of the read models are not what the log says"),
        "{said}"
    );
    good(&place.run(&["rebuild", "--swap"]));

    unlock(place);
    assert_eq!(
        place.sql("UPDATE events SET recorded_at = recorded_at - 1 WHERE position = 5"),
        1
    );
    let ended = verify();
    assert!(ended.stdout.contains("FOUND position 5: "), "{}", ended.stdout);
    let said = refused(&ended);
    assert!(
        said.contains("the store does not hold: position 5: the event is not as it was hashed"),
        "{said}"
    );
    place.sql("UPDATE events SET recorded_at = recorded_at + 1 WHERE position = 5");
    good(&verify());

    // Without copies there is nothing to compare with, and that is told.
    let folder = place.data().join("notary");
    std::fs::rename(&folder, place.data().join("elsewhere")).unwrap();
    let ended = verify();
    assert!(
        good(&ended).contains("has no signed heads: nothing was compared with it"),
        "{}",
        ended.stdout
    );
    assert!(ended.stdout.contains("events are not covered yet"), "{}", ended.stdout);
    let elsewhere = place.data().join("elsewhere");
    let named = place.run(&["audit", "verify", "--store", "--heads", elsewhere.to_str().unwrap()]);
    assert!(good(&named).contains("every event is covered"), "{}", named.stdout);
    std::fs::rename(&elsewhere, &folder).unwrap();

    // A file of heads that is none.
    std::fs::write(folder.join("heads"), vec![0; 1 << 20]).unwrap();
    let said = refused(&verify());
    assert!(said.contains("it is no file of heads"), "{said}");
}

fn an_erased_person_is_erased_again_and_old_bundles_still_hold(place: &Place) {
    let server = place.start();
    let ada = register(&server, "ada");
    let bundle = beside(place, "ada");
    good(&export(place, "ada", &bundle));
    let (_, session) = server.post("/v1/sessions", &json!({ "identifier": "ada", "password": PASSWORD }));
    // An account that is not verified may not sign in: an administrator erases it.
    assert!(session.get("access_token").is_none(), "{session}");
    let made = place.run_with(
        &[
            "admin",
            "create",
            "--email",
            "root@farm.example",
            "--username",
            "root",
            "--password-stdin",
        ],
        &[],
        &format!("{PASSWORD}\n"),
    );
    good(&made);
    let (_, session) = server.post("/v1/sessions", &json!({ "identifier": "root", "password": PASSWORD }));
    let token = session["access_token"].as_str().unwrap();
    let erase = json!({ "user_id": ada, "reason": "asked for it" });
    let (status, answer) = server.post_as("/v1/commands/erase-user", &erase, token);
    assert_eq!(status, 200, "{answer}");
    let list = place.data().join("notary/erased");
    eventually(|| std::fs::read_to_string(&list).ok().filter(|text| text.contains(&ada)));
    let told = check(&bundle, &[]);
    assert!(good(&told).contains("the bundle holds: 2 events"));
    let after = beside(place, "after");
    good(&export(place, &ada, &after));
    let told = check(&after, &[]);
    assert!(good(&told).contains("3 events"), "{}", told.stdout);
    let text = std::fs::read_to_string(&after).unwrap();
    assert!(!text.contains("ada@farm.example"), "what was erased is opened no more");
    let grace = register(&server, "grace");

    let erase = |list: &Path| place.run(&["erase", "--from-list", list.to_str().unwrap()]);
    let told = erase(&list);
    assert_eq!(
        good(&told),
        "1 in the list: 0 erased now, 1 erased before, 0 unknown here\n"
    );
    let more = place.write("more", &format!("{grace}\n0197a000-0000-7000-8000-000000000001\n"));
    assert_eq!(
        good(&erase(&more)),
        "2 in the list: 1 erased now, 0 erased before, 1 unknown here\n"
    );
    let (status, _) = server.get(&format!("/v1/users/{grace}"), token);
    assert_eq!(status, 404);
    let wrong = place.write("wrong", "nobody\n");
    assert!(refused(&erase(&wrong)).contains("line 1 does not end with the id of an account"));
    assert_eq!(server.stop().code, Some(0));
    good(&place.run(&["audit", "verify", "--store"]));
}

fn a_history_can_be_read_at_a_terminal(place: &Place) {
    let server = place.start();
    let ada = register(&server, "ada");
    for name in [ada.as_str(), "ada", "ada@farm.example"] {
        let told = place.run(&["history", name]);
        let lines: Vec<&str> = good(&told).lines().collect();
        assert_eq!(lines.len(), 4, "{}", told.stdout);
        assert!(
            lines[0].contains("user.registered") && lines[0].contains("username=ada"),
            "{}",
            lines[0]
        );
    }
    let told = place.run(&["history", "ada", "--json"]);
    let events: Vec<Value> = good(&told)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(events[0]["data"]["email"], "ada@farm.example");
    assert_eq!(events[0]["correlation"], events[1]["correlation"]);
    // What is in the JSON is there to read, in the second line of each event.
    let read = place.run(&["history", "ada"]);
    let lines: Vec<&str> = good(&read).lines().collect();
    for (event, lines) in events.iter().zip(lines.chunks(2)) {
        assert!(
            lines[0].trim_start().starts_with(&event["position"].to_string()),
            "{lines:?}"
        );
        for (name, id) in [
            ("actor", &event["actor"]["id"]),
            ("request", &event["origin"]["request_id"]),
            ("cause", &event["cause"]),
            ("correlation", &event["correlation"]),
        ] {
            let told = id.as_str().map(|id| format!("{name}={id}"));
            let shown = lines[1]
                .split_whitespace()
                .find(|word| word.starts_with(&format!("{name}=")));
            assert_eq!(shown, told.as_deref(), "{lines:?}");
        }
    }
    assert!(lines[1].contains("request="), "{}", lines[1]);
    let position = events[0]["position"].to_string();
    let told = place.run(&["history", "ada", "--at", &position]);
    assert!(
        good(&told).contains("email            ada@farm.example"),
        "{}",
        told.stdout
    );
    let told = place.run(&["history", "ada", "--at", &position, "--json"]);
    let user: Value = serde_json::from_str(good(&told)).unwrap();
    assert_eq!(
        (&user["as_of"]["position"], &user["version"]),
        (&events[0]["position"], &json!(1))
    );
    assert!(refused(&place.run(&["history", "ada", "--at", "0"])).contains("there was none then"));
    assert!(refused(&place.run(&["history", "ada", "--at", "99999"])).contains("after the end of the log"));
    assert!(refused(&place.run(&["history", "bob"])).contains("there is no such account"));
    assert_eq!(place.run(&["history", "ada", "--at", "yesterday"]).code, Some(2));
    assert_eq!(server.stop().code, Some(0));
}

fn who_reads_at_a_terminal_leaves_an_event_an_hour(place: &Place) {
    let server = place.start();
    register(&server, "ada");
    register(&server, "grace");
    assert_eq!(server.stop().code, Some(0));
    let read = || place.number("SELECT count(*) FROM events WHERE event_type = 'audit.history_read'");
    assert_eq!(read(), 0);
    let look = |name: &str| {
        for more in [&[][..], &["--json"], &["--at", "4"]] {
            good(&place.run(&[&["history", name], more].concat()));
        }
    };
    let hour = || std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() / 3_600;
    let began = hour();
    look("ada");
    let (once, same) = (read(), hour() == began);
    // An hour may end meanwhile.
    assert!(once == 1 || !same && once == 2, "{once}");
    look("ada");
    look("grace");
    let (both, same) = (read(), hour() == began);
    assert!(both == 2 || !same && (2..=4).contains(&both), "{both}");
    let all = place.number("SELECT count(*) FROM events WHERE event_type LIKE 'audit.%'");
    assert_eq!(all, both);
}

fn the_key_that_signs_heads_is_rotated_while_the_service_runs(place: &Place) {
    let server = place.start();
    register(&server, "ada");
    let old = beside(place, "old");
    good(&export(place, "ada", &old));
    let before = good(&place.run(&["audit", "key"])).trim().to_owned();
    let rotated = place.run(&["keys", "rotate", "notary"]);
    assert!(good(&rotated).contains("signs heads of the log from now on"));
    let keys = good(&place.run(&["audit", "key"])).to_owned();
    assert_eq!(keys.lines().nth(1), Some(before.as_str()), "{keys}");
    assert!(good(&place.run(&["keys", "list"])).contains("signed heads of the log until"));
    // The running service hears of it.
    eventually(|| {
        let (_, answer) = server.read("/v1/log/key");
        (answer["items"].as_array().map(Vec::len) == Some(2)).then_some(())
    });
    register(&server, "grace");
    let new = beside(place, "new");
    good(&export(place, "grace", &new));
    good(&check(&old, &["--key", &before]));
    let newest = keys.lines().next().unwrap();
    eventually(|| (check(&new, &["--key", newest]).code == Some(0)).then_some(()));
    assert_eq!(server.stop().code, Some(0));
    good(&place.run(&["audit", "verify", "--store"]));
}
