//! Keys are listed and replaced while the service runs.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::engines::on_both_engines;
use crate::harness::{PASSWORD, Place, Server, eventually};

on_both_engines!(
    a_new_signing_key_is_published_before_it_signs,
    a_new_signing_key_takes_over_and_the_old_one_still_verifies,
    a_revoked_signing_key_opens_nothing,
    the_master_is_replaced_while_the_service_runs,
    a_rotation_that_was_killed_goes_on,
    the_service_finishes_a_rotation_that_was_killed,
    a_prepared_master_is_given_to_every_replica_first,
    the_former_master_alone_is_refused_in_one_sentence,
    a_master_that_the_store_has_or_had_is_not_the_next_one,
    a_former_master_on_standby_does_not_come_back,
    files_that_a_killed_rotation_left_are_changed_over,
    a_service_changes_its_own_files_over,
    a_command_for_the_master_that_hangs_holds_nothing_up,
);

fn sign_in(server: &Server) -> String {
    let (status, answer) = server.post("/v1/sessions", &json!({ "identifier": "ada", "password": PASSWORD }));
    assert_eq!(status, 201, "{answer}");
    answer["access_token"].as_str().unwrap().to_owned()
}

fn with_ada(place: &Place) -> Server {
    let server = place.start();
    register(&server, "ada");
    server
}

fn register(server: &Server, username: &str) {
    let body = json!({ "username": username, "full_name": "Ada Lovelace", "password": PASSWORD });
    let (status, answer) = server.post("/v1/commands/register-user", &body);
    assert_eq!(status, 201, "{answer}");
}

/// The name of the key that signed it.
fn kid(token: &str) -> String {
    use base64::Engine as _;
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap());
    let header: Value = serde_json::from_slice(&header.unwrap()).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

fn published(server: &Server) -> Vec<String> {
    let (_, jwks) = server.read("/.well-known/jwks.json");
    let keys = jwks["keys"].as_array().unwrap().iter();
    keys.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

fn run(place: &Place, verb: &[&str]) -> String {
    let ended = place.run(verb);
    assert_eq!(ended.code, Some(0), "{verb:?}: {}", ended.stderr);
    ended.stdout
}

fn list(place: &Place) -> String {
    run(place, &["keys", "list"])
}

/// The id of the master that wraps the store's keys.
fn master(place: &Place) -> String {
    let list = list(place);
    let line = list.lines().find(|line| line.starts_with("fingerprint")).unwrap();
    line.split_whitespace().nth(2).unwrap().to_owned()
}

/// Whether anything is wrapped by this master.
fn wraps(place: &Place, master: &str) -> bool {
    list(place).lines().any(|line| {
        let of_a_key = line.split_whitespace().nth(2) == Some(master);
        of_a_key || line.ends_with(&format!("wrapped by master {master}"))
    })
}

fn a_new_signing_key_is_published_before_it_signs(place: &Place) {
    let server = with_ada(place);
    let old = kid(&sign_in(&server));
    assert_eq!(published(&server), [old.as_str()]);
    let said = run(place, &["keys", "rotate", "signing"]);
    assert!(said.contains("is published from now on and signs in 600 s"), "{said}");
    let keys = eventually(|| Some(published(&server)).filter(|keys| keys.len() == 2));
    assert_eq!(keys[0], old);
    assert!(said.starts_with(&keys[1]), "{said}");
    assert_eq!(kid(&sign_in(&server)), old, "the new one only verifies yet");
    let list = list(place);
    for (kid, state) in [(&old, "signs until "), (&keys[1], "published, signs when ")] {
        let line = list.lines().find(|line| line.contains(kid)).unwrap();
        assert!(line.contains(state), "{line}");
    }
}

fn a_new_signing_key_takes_over_and_the_old_one_still_verifies(place: &Place) {
    let server = with_ada(place);
    let before = sign_in(&server);
    run(place, &["keys", "rotate", "signing", "--after", "0"]);
    let after = eventually(|| Some(sign_in(&server)).filter(|token| kid(token) != kid(&before)));
    for token in [&before, &after] {
        assert_eq!(server.get("/v1/me", token).0, 200);
    }
    assert_eq!(published(&server), [kid(&before), kid(&after)]);
    let list = list(place);
    let line = list.lines().find(|line| line.contains(&kid(&before))).unwrap();
    assert!(line.contains("verifies until "), "{line}");
}

fn a_revoked_signing_key_opens_nothing(place: &Place) {
    let server = with_ada(place);
    let before = sign_in(&server);
    let said = run(place, &["keys", "rotate", "signing", "--revoke"]);
    assert!(said.contains("every other signing key is destroyed"), "{said}");
    eventually(|| (server.get("/v1/me", &before).0 == 401).then_some(()));
    let after = sign_in(&server);
    assert_eq!(published(&server), [kid(&after)]);
    assert_eq!(server.get("/v1/me", &after).0, 200);
}

fn the_master_is_replaced_while_the_service_runs(place: &Place) {
    let server = with_ada(place);
    let token = sign_in(&server);
    let old = master(place);
    let said = run(place, &["keys", "rotate", "master"]);
    let new = master(place);
    assert_ne!(new, old);
    assert!(said.starts_with(&format!("from master {old} to {new}\n")), "{said}");
    assert!(
        said.contains("re-wrapped ") && said.contains("done. Back up "),
        "{said}"
    );
    assert!(!wraps(place, &old), "{}", list(place));

    // What was sealed before opens, and what is sealed now is wrapped by the new one.
    let (_, me) = server.get("/v1/me", &token);
    let history = format!("/v1/users/{}/history", me["id"].as_str().unwrap());
    let (status, answer) = server.get(&history, &token);
    assert_eq!((status, &answer["items"][0]["data"]["username"]), (200, &json!("ada")));
    register(&server, "grace");
    let all = list(place);
    assert!(
        all.contains(&format!("wrapped by master {new}")) && !wraps(place, &old),
        "{all}"
    );
    assert_eq!(server.stop().code, Some(0));

    let names: Vec<_> = place.permissions();
    for name in ["data/keys/master.key", "data/keys/master.key.previous"] {
        assert!(names.contains(&(name.to_owned(), 0o600)), "{name} in {names:?}");
    }
    assert!(!names.iter().any(|(name, _)| name.contains(".next")), "{names:?}");
    // The new key alone opens all of it.
    std::fs::remove_file(place.data().join("keys/master.key.previous")).unwrap();
    let server = place.start();
    let token = sign_in(&server);
    assert_eq!(server.get(&history, &token).1["items"][0]["data"]["username"], "ada");
}

/// Kills a rotation once it has changed the master.
fn killed_rotation(place: &Place) -> String {
    let verb = place.begin(&["keys", "rotate", "master"]);
    let said = verb.said();
    assert!(said.starts_with("from master "), "{said}");
    // It cannot be over: it waits for other processes to follow.
    eventually(|| place.data().join("keys/master.key.previous").exists().then_some(()));
    verb.signal(Signal::KILL);
    assert_eq!(verb.wait().code, None);
    said.split_whitespace().last().unwrap().to_owned()
}

fn a_rotation_that_was_killed_goes_on(place: &Place) {
    assert_eq!(with_ada(place).stop().code, Some(0));
    let old = master(place);
    let new = killed_rotation(place);
    assert!(
        list(place).contains("data keys are being re-wrapped"),
        "{}",
        list(place)
    );
    let said = run(place, &["keys", "rotate", "master"]);
    assert!(
        said.starts_with(&format!("going on with the rotation from {old} to {new}\n")),
        "{said}"
    );
    assert_eq!(master(place), new);
    assert!(!wraps(place, &old), "{}", list(place));
    let list = list(place);
    let line = list.lines().find(|line| line.contains(&old)).unwrap();
    assert!(
        line.contains("former master; nothing is wrapped by it since "),
        "{line}"
    );
    let server = place.start();
    let token = sign_in(&server);
    assert_eq!(server.get("/v1/me", &token).1["full_name"], "Ada Lovelace");
}

fn the_service_finishes_a_rotation_that_was_killed(place: &Place) {
    let server = with_ada(place);
    let old = master(place);
    killed_rotation(place);
    eventually(|| (!wraps(place, &old)).then_some(()));
    let token = sign_in(&server);
    assert_eq!(server.get("/v1/me", &token).0, 200);
}

fn a_prepared_master_is_given_to_every_replica_first(place: &Place) {
    assert_eq!(with_ada(place).stop().code, Some(0));
    let old = master(place);
    let said = run(place, &["keys", "rotate", "master", "--prepare"]);
    assert!(said.contains("give it to every replica"), "{said}");
    assert_eq!(master(place), old, "nothing is wrapped by it yet");
    let prepared = std::fs::read(place.data().join("keys/master.key.next")).unwrap();
    // Preparing again makes no other.
    run(place, &["keys", "rotate", "master", "--prepare"]);
    run(place, &["keys", "rotate", "master"]);
    assert_ne!(master(place), old);
    assert_eq!(std::fs::read(place.data().join("keys/master.key")).unwrap(), prepared);
}

fn the_former_master_alone_is_refused_in_one_sentence(place: &Place) {
    assert_eq!(with_ada(place).stop().code, Some(0));
    let old = master(place);
    run(place, &["keys", "rotate", "master"]);
    let new = master(place);
    let keys = place.data().join("keys");
    std::fs::rename(keys.join("master.key.previous"), keys.join("master.key")).unwrap();
    let ended = place.spawn(&[]).wait();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    let sentence = format!(
        "user-registry: this is not the master key of this store (its keys were wrapped by {new}, this one is {old})\n"
    );
    assert_eq!(ended.stderr, sentence);
}

/// A file that only its owner may read.
fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn a_master_that_the_store_has_or_had_is_not_the_next_one(place: &Place) {
    let (first, standby) = ("ab".repeat(32), place.data().join("standby.key"));
    std::fs::create_dir_all(place.data()).unwrap();
    let run = |master: &str, verb: &[&str]| {
        let environment = [
            ("REGISTRY__KEYS__MASTER", master),
            ("REGISTRY__KEYS__STANDBY_FILE", standby.to_str().unwrap()),
        ];
        place.run_with(&[&["keys"], verb].concat(), &environment, "")
    };
    let rotate: &[&str] = &["rotate", "master"];
    let said = run(&first, rotate);
    assert_eq!(said.code, Some(0), "{said:?}");
    let second = std::fs::read_to_string(&standby).unwrap();
    let listed = run(&second, &["list"]).stdout;
    let refused = |why: &str| {
        for verb in [rotate, &["rotate", "master", "--prepare"]] {
            let said = run(&second, verb);
            assert_eq!((said.code, said.stdout.as_str()), (Some(1), ""), "{said:?}");
            let of = format!("user-registry: {} holds ", standby.display());
            assert!(
                said.stderr.starts_with(&of) && said.stderr.contains(why),
                "{}",
                said.stderr
            );
        }
        assert_eq!(run(&second, &["list"]).stdout, listed);
    };
    refused("is the master of this store already");
    write_private(&standby, &first);
    refused("was the master of this store before");
    std::fs::remove_file(&standby).unwrap();
    let said = run(&second, &["rotate", "master", "--prepare"]);
    assert!(said.stdout.starts_with("the next master is "), "{said:?}");
    let third = std::fs::read_to_string(&standby).unwrap();
    assert!(third.trim() != first && third != second);
}

fn a_former_master_on_standby_does_not_come_back(place: &Place) {
    let old = master(place);
    let first = std::fs::read_to_string(place.data().join("keys/master.key")).unwrap();
    run(place, &["keys", "rotate", "master"]);
    // Kept for older backups, under another name.
    std::fs::remove_file(place.data().join("keys/master.key.previous")).unwrap();
    let standby = place.data().join("standby.key");
    write_private(&standby, &first);
    let environment = [("REGISTRY__KEYS__STANDBY_FILE", standby.to_str().unwrap())];
    let said = place.run_with(&["keys", "rotate", "master", "--prepare"], &environment, "");
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.stdout.contains("keys/master.key.next") && !said.stdout.contains(&old),
        "{said:?}"
    );
}

/// The files of the master, as a kill may leave them.
struct Files {
    /// The file, the next one, and the one before.
    paths: [PathBuf; 3],
    /// What was in the file before the rotation, and after it.
    keys: [String; 2],
}

impl Files {
    /// After a rotation that has ended.
    fn of(place: &Place) -> Self {
        let path = |ending: &str| place.data().join(format!("keys/master.key{ending}"));
        let paths = [path(""), path(".next"), path(".previous")];
        let keys = [&paths[2], &paths[0]].map(|path| std::fs::read_to_string(path).unwrap());
        Self { paths, keys }
    }

    /// Which key is in each of them.
    fn are(&self) -> [Option<usize>; 3] {
        self.paths.each_ref().map(|path| {
            let text = std::fs::read_to_string(path).ok()?;
            Some(self.keys.iter().position(|key| *key == text).unwrap())
        })
    }

    fn set(&self, keys: [Option<usize>; 3]) {
        for (path, key) in self.paths.iter().zip(keys) {
            let _ = std::fs::remove_file(path);
            if let Some(key) = key {
                write_private(path, &self.keys[key]);
            }
        }
    }
}

/// As a rotation leaves the files when it has ended.
const CHANGED_OVER: [Option<usize>; 3] = [Some(1), None, Some(0)];
/// As it finds them once the store has changed its master.
const NOT_YET: [Option<usize>; 3] = [Some(0), Some(1), None];

fn files_that_a_killed_rotation_left_are_changed_over(place: &Place) {
    assert_eq!(with_ada(place).stop().code, Some(0));
    run(place, &["keys", "rotate", "master"]);
    let (files, new) = (Files::of(place), master(place));
    for left in [
        NOT_YET,
        [Some(0), Some(1), Some(0)],
        [None, Some(1), Some(0)],
        [Some(1), Some(1), Some(0)],
    ] {
        for data_keys_left in [false, true] {
            files.set(left);
            if data_keys_left {
                assert_eq!(place.sql("UPDATE keys SET retired_at = NULL WHERE kind = 'former'"), 1);
            }
            let said = run(place, &["keys", "rotate", "master"]);
            let begins = if data_keys_left {
                "going on with the rotation from ".to_owned()
            } else {
                format!("the file of {new} took its place")
            };
            assert!(said.starts_with(&begins), "{left:?}: {said}");
            assert_eq!(files.are(), CHANGED_OVER, "{left:?}");
            assert_eq!(master(place), new);
        }
    }
    let names: Vec<_> = place.permissions().into_iter().map(|(name, _)| name).collect();
    assert!(!names.iter().any(|name| name.contains("part")), "{names:?}");
    // Nothing is left to do: this one replaces it.
    files.set(NOT_YET);
    let said = run(place, &["keys", "rotate", "master", "--prepare"]);
    assert!(said.contains("\nthe next master is "), "{said}");
    let third = std::fs::read_to_string(&files.paths[1]).unwrap();
    run(place, &["keys", "rotate", "master"]);
    assert_ne!(master(place), new);
    assert_eq!(std::fs::read_to_string(&files.paths[0]).unwrap(), third);
}

/// On another machine nobody runs the command.
fn a_service_changes_its_own_files_over(place: &Place) {
    assert_eq!(with_ada(place).stop().code, Some(0));
    run(place, &["keys", "rotate", "master"]);
    let files = Files::of(place);
    files.set(NOT_YET);
    let server = place.start();
    let told = "the file of the next master key took its place";
    server.told(told);
    assert_eq!(files.are(), CHANGED_OVER);
    sign_in(&server);
    let ended = server.stop();
    assert!(!ended.stderr.contains(told), "{}", ended.stderr);
}

fn a_command_for_the_master_that_hangs_holds_nothing_up(place: &Place) {
    let (first, hangs) = ("ab".repeat(32), place.data().join("hangs"));
    let command = format!(
        "echo {first}; [ -e {0} ] && echo run >> {0}.runs && sleep 15",
        hangs.display()
    );
    let environment = [
        ("REGISTRY__KEYS__MASTER_COMMAND", format!("{command}; true")),
        // Whoever blocks this one thread keeps everybody waiting.
        ("TOKIO_WORKER_THREADS", "1".to_owned()),
    ];
    let server = place.start_with(&environment.each_ref().map(|(name, value)| (*name, value.as_str())));
    register(&server, "ada");
    std::fs::write(&hangs, "").unwrap();
    // Another process makes another master, of which the service is not told where it is.
    let standby = place.data().join("standby.key");
    let environment = [
        ("REGISTRY__KEYS__MASTER", first.as_str()),
        ("REGISTRY__KEYS__STANDBY_FILE", standby.to_str().unwrap()),
    ];
    let rotation = place.begin_with(&["keys", "rotate", "master"], &environment);
    let runs = place.data().join("hangs.runs");
    eventually(|| runs.exists().then_some(()));
    let asked = Instant::now();
    for _ in 0..10 {
        assert_eq!(server.read("/healthz").0, 200);
    }
    // The command runs for 15 s.
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
    server.told("the command of keys.master_command failed: it did not end in time");
    assert_eq!(rotation.wait().code, Some(0));
}
