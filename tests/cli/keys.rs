//! Keys are listed and replaced while the service runs.

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
    assert!(!list(place).contains(&old), "{}", list(place));

    // What was sealed before opens, and what is sealed now is wrapped by the new one.
    let (_, me) = server.get("/v1/me", &token);
    let history = format!("/v1/users/{}/history", me["id"].as_str().unwrap());
    let (status, answer) = server.get(&history, &token);
    assert_eq!((status, &answer["items"][0]["data"]["username"]), (200, &json!("ada")));
    register(&server, "grace");
    let all = list(place);
    assert!(
        all.contains(&format!("wrapped by master {new}")) && !all.contains(&old),
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
    assert!(!list(place).contains(&old), "{}", list(place));
    let server = place.start();
    let token = sign_in(&server);
    assert_eq!(server.get("/v1/me", &token).1["full_name"], "Ada Lovelace");
}

fn the_service_finishes_a_rotation_that_was_killed(place: &Place) {
    let server = with_ada(place);
    let old = master(place);
    killed_rotation(place);
    eventually(|| (!list(place).contains(&old)).then_some(()));
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
