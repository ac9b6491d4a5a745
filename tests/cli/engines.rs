//! What holds on either engine.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Ended, PASSWORD, Place, eventually};

macro_rules! on_both_engines {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(#[test] fn $test() { super::$test(&crate::harness::Place::sqlite()); })*
        }
        mod postgres {
            $(#[test] fn $test() { super::$test(&crate::harness::Place::postgres()); })*
        }
    };
}

pub(crate) use on_both_engines;

on_both_engines!(
    a_service_says_where_it_listens_and_ends_in_order,
    the_hint_registers_somebody_and_mails_a_link_that_can_be_followed,
    every_line_of_the_log_for_programs_is_one_document,
    what_is_written_is_its_owners_only,
    two_services_may_start_on_a_fresh_store_at_once,
    a_request_that_hangs_delays_the_end_but_a_second_signal_does_not_wait,
    an_administrator_is_made_while_the_service_runs,
    an_administrator_is_refused_in_one_sentence,
    an_administrator_who_lost_the_password_gets_another_one,
    nobody_elses_password_is_set_here,
    a_row_that_was_edited_is_named_and_mended,
    migrating_makes_a_store_and_changes_none,
    another_master_key_is_refused,
    a_port_in_use_is_told,
);

fn a_service_says_where_it_listens_and_ends_in_order(place: &Place) {
    for signal in [Signal::TERM, Signal::INT] {
        let server = place.start();
        let address = server.address();
        let (status, answer) = server.post(
            "/v1/commands/register-user",
            &json!({ "username": "ada", "password": PASSWORD }),
        );
        assert_eq!(status, if signal == Signal::TERM { 201 } else { 409 }, "{answer}");
        server.signal(signal);
        let ended = server.wait();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(ended.took < Duration::from_secs(10), "{:?}", ended.took);
        assert_eq!(ended.stdout, "", "nothing but the one line");
        for word in ["started", "stopped", &address.to_string(), env!("CARGO_PKG_VERSION")] {
            assert!(ended.stderr.contains(word), "{word} is missing in\n{}", ended.stderr);
        }
        assert!(!ended.stderr.contains("WARN"), "{}", ended.stderr);
        assert_no_companions(place);
    }
}

/// A store that was closed is one file, and the only one of its name; in a server it is none.
fn assert_no_companions(place: &Place) {
    let names: Vec<String> = place.permissions().into_iter().map(|(name, _)| name).collect();
    for name in &names {
        assert!(!name.ends_with("-wal") && !name.ends_with("-shm"), "{name}");
    }
    let stores: Vec<&String> = names
        .iter()
        .filter(|name| Path::new(name).extension().is_some_and(|ending| ending == "db"))
        .collect();
    let expected = usize::from(place.engine() == "sqlite");
    assert_eq!(stores.len(), expected, "{stores:?}");
}

fn the_hint_registers_somebody_and_mails_a_link_that_can_be_followed(place: &Place) {
    let server = place.start();
    let hint = server.told("curl");
    assert!(
        hint.contains(&format!(" http://{}/v1/commands/register-user ", server.address())),
        "{hint}"
    );
    let body = hint.split('\'').find(|part| part.starts_with('{')).unwrap();
    let (status, answer) = server.post("/v1/commands/register-user", &serde_json::from_str(body).unwrap());
    assert_eq!(status, 201, "{answer}");
    // The mail may break the link's line, as quoted-printable does.
    let mail = eventually(|| place.mails().pop())
        .replace("=\r\n", "")
        .replace("=3D", "=");
    let link = format!("http://{}/verify-email?token=", server.address());
    let token = mail.split(&link).nth(1).and_then(|rest| rest.split_whitespace().next());
    let token = token.unwrap_or_else(|| panic!("no link in\n{mail}"));
    let (status, answer) = server.post("/v1/commands/verify-email", &json!({ "token": token }));
    assert_eq!((status, &answer["events"]), (200, &json!(["user.email_verified"])));
    assert_eq!(server.stop().code, Some(0));
    assert_no_companions(place);
}

fn every_line_of_the_log_for_programs_is_one_document(place: &Place) {
    let server = place.start_with(&[("REGISTRY__LOG__FORMAT", "json"), ("RUST_LOG", "debug")]);
    let body = json!({ "username": "ada\n{\"level\":\"ERROR\"}", "password": PASSWORD });
    let (status, answer) = server.post("/v1/commands/register-user", &body);
    assert_eq!(status, 400, "{answer}");
    let (status, answer) = server.post(
        "/v1/commands/register-user",
        &json!({ "username": "ada", "password": PASSWORD }),
    );
    assert_eq!(status, 201, "{answer}");
    let ended = server.stop();
    let lines: Vec<Value> = ended
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for line in &lines {
        for member in ["timestamp", "level", "target"] {
            assert!(line[member].is_string(), "{member} of {line}");
        }
        assert_ne!(line["level"], "ERROR", "{line}");
    }
    let started = lines.iter().find(|line| line["message"] == "started");
    let started = started.unwrap_or_else(|| panic!("no start in\n{}", ended.stderr));
    assert_eq!((&started["level"], &started["position"]), (&json!("INFO"), &json!(0)));
    let of_requests = lines.iter().filter(|line| line["span"]["request.id"].is_string());
    assert!(of_requests.count() > 0, "no line of a request in\n{}", ended.stderr);
}

fn what_is_written_is_its_owners_only(place: &Place) {
    let server = place.start();
    server.post(
        "/v1/commands/register-user",
        &json!({ "email": "ada@farm.example", "password": PASSWORD }),
    );
    eventually(|| place.mails().pop());
    for (name, mode) in place.permissions() {
        let expected = if place.is_folder(&name) { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{name} has mode {mode:o}");
    }
    let names: Vec<_> = place.permissions().into_iter().map(|(name, _)| name).collect();
    for name in ["data", "data/keys", "data/keys/master.key", "data/outbox/mail"] {
        assert!(
            names.iter().any(|known| known == name),
            "{name} is missing in {names:?}"
        );
    }
}

fn two_services_may_start_on_a_fresh_store_at_once(place: &Place) {
    let mut servers: Vec<_> = (0..2).map(|_| place.spawn(&[])).collect();
    for server in &mut servers {
        server.ready();
    }
    let ada = json!({ "username": "ada", "password": PASSWORD });
    assert_eq!(servers[0].post("/v1/commands/register-user", &ada).0, 201);
    assert_eq!(
        servers[1].post("/v1/commands/register-user", &ada).0,
        409,
        "both have the same keys"
    );
}

fn a_request_that_hangs_delays_the_end_but_a_second_signal_does_not_wait(place: &Place) {
    let server = place.start();
    let _held = server.hold_a_request();
    server.signal(Signal::TERM);
    server.told("stopping");
    server.signal(Signal::INT);
    let ended = server.wait();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    assert!(ended.took < Duration::from_secs(2), "{:?}", ended.took);

    let server = place.start();
    let _held = server.hold_a_request();
    let ended = server.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.took < Duration::from_secs(10), "{:?}", ended.took);
}

fn create_admin(place: &Place, email: &str, username: &str, password: &str) -> Ended {
    let arguments = [
        "admin",
        "create",
        "--email",
        email,
        "--username",
        username,
        "--password-stdin",
    ];
    place.run_with(&arguments, &[], &format!("{password}\n"))
}

fn an_administrator_is_made_while_the_service_runs(place: &Place) {
    let server = place.start();
    let ended = create_admin(place, "root@farm.example", "grace", PASSWORD);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let id = ended.stdout.trim();
    let (status, answer) = server.post("/v1/sessions", &json!({ "identifier": "grace", "password": PASSWORD }));
    assert_eq!(status, 201, "{answer}");
    assert_eq!(answer["user_id"], Value::from(id));
    let (status, answer) = server.get(&format!("/v1/users/{id}"), answer["access_token"].as_str().unwrap());
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["status"], "active", "{answer}");
    assert_eq!(answer["email_verified"], true, "{answer}");
    assert_eq!(answer["roles"], json!(["user", "admin"]), "{answer}");

    // A mail that somebody else asks for afterwards is the first: the administrator was sent none.
    server.post(
        "/v1/commands/register-user",
        &json!({ "email": "ada@farm.example", "password": PASSWORD }),
    );
    eventually(|| place.mails().into_iter().find(|mail| mail.contains("ada@farm.example")));
    assert!(!place.mails().iter().any(|mail| mail.contains("root@farm.example")));
}

fn an_administrator_is_refused_in_one_sentence(place: &Place) {
    assert_eq!(
        create_admin(place, "root@farm.example", "grace", PASSWORD).code,
        Some(0)
    );
    assert_no_companions(place);
    for (email, username, password, sentence) in [
        ("other@farm.example", "Grace", PASSWORD, "the username Grace is taken"),
        (
            "Root@farm.example",
            "other",
            PASSWORD,
            "the e-mail address Root@farm.example is taken",
        ),
        (
            "other@farm.example",
            "other",
            "short",
            "the password is too short: at least 8 characters",
        ),
        (
            "other@farm.example",
            "other",
            "password",
            "the password is one of the most common passwords",
        ),
        ("other@farm.example", "other", "", "a password must not be empty"),
    ] {
        let ended = create_admin(place, email, username, password);
        assert_eq!(ended.code, Some(1), "{sentence}");
        assert_eq!(ended.stdout, "");
        assert_eq!(ended.stderr, format!("user-registry: {sentence}\n"));
    }
    let asked = place.run(&["admin", "create", "--email", "a@farm.example", "--username", "a"]);
    assert_eq!(asked.code, Some(1));
    assert!(asked.stderr.contains("--password-stdin"), "{}", asked.stderr);
}

fn reset(place: &Place, who: [&str; 2], password: &str) -> Ended {
    let verb = ["admin", "reset-password", who[0], who[1], "--password-stdin"];
    place.run_with(&verb, &[], &format!("{password}\n"))
}

fn an_administrator_who_lost_the_password_gets_another_one(place: &Place) {
    let other = "nine grey geese by a pond";
    let server = place.start();
    let id = create_admin(place, "root@farm.example", "grace", PASSWORD).stdout;
    let sign_in = |password: &str| server.post("/v1/sessions", &json!({ "identifier": "grace", "password": password }));
    let (_, tokens) = sign_in(PASSWORD);
    let access = tokens["access_token"].as_str().unwrap();
    assert_eq!(server.get("/v1/me", access).0, 200);
    // Another administrator has locked her and is gone.
    assert_eq!(create_admin(place, "eve@farm.example", "eve", PASSWORD).code, Some(0));
    let (_, eve) = server.post("/v1/sessions", &json!({ "identifier": "eve", "password": PASSWORD }));
    let lock = json!({ "user_id": id.trim(), "reason": "a coup" });
    let bearer = eve["access_token"].as_str().unwrap();
    assert_eq!(server.post_as("/v1/commands/lock-user", &lock, bearer).0, 200);
    assert_eq!(sign_in(PASSWORD).0, 401);

    for (who, password, old) in [
        (["--username", "GRACE"], other, PASSWORD),
        (["--email", "Root@farm.example"], PASSWORD, other),
    ] {
        let ended = reset(place, who, password);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{who:?}");
        assert_eq!(ended.stdout, id);
        assert_eq!(sign_in(old).0, 401);
        let (status, answer) = sign_in(password);
        assert_eq!(status, 201, "{answer}");
        assert_eq!(server.get("/v1/me", answer["access_token"].as_str().unwrap()).0, 200);
        // The sessions from before have ended, on the running service too.
        assert_eq!(server.get("/v1/me", access).0, 401);
    }
    let (_, answer) = sign_in(PASSWORD);
    let access = answer["access_token"].as_str().unwrap();
    let (_, history) = server.get(&format!("/v1/users/{}/history", id.trim()), access);
    let events = history["items"].as_array().unwrap();
    let of_kind = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
    assert_eq!(of_kind("user.password_reset"), 2, "{history}");
    assert_eq!(of_kind("user.unlocked"), 1, "{history}");
    assert_eq!(events.last().unwrap()["actor"], json!({ "kind": "system", "id": null }));
    assert!(!history.to_string().contains(other));
}

fn nobody_elses_password_is_set_here(place: &Place) {
    let server = place.start();
    assert_eq!(
        create_admin(place, "root@farm.example", "grace", PASSWORD).code,
        Some(0)
    );
    let body = json!({ "username": "ada", "password": PASSWORD });
    assert_eq!(server.post("/v1/commands/register-user", &body).0, 201);
    for (who, password, sentence) in [
        (
            ["--username", "ada"],
            PASSWORD,
            "the password was not set: the account is no administrator's; others reset their password by mail or SMS",
        ),
        (
            ["--username", "nobody"],
            PASSWORD,
            "the password was not set: there is no such account",
        ),
        (
            ["--username", "grace"],
            "short",
            "the password is too short: at least 8 characters",
        ),
        (["--username", "grace"], "", "a password must not be empty"),
    ] {
        let ended = reset(place, who, password);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{sentence}");
        assert_eq!(ended.stderr, format!("user-registry: {sentence}\n"));
    }
    for name in ["ada", "grace"] {
        let body = json!({ "identifier": name, "password": PASSWORD });
        assert_eq!(server.post("/v1/sessions", &body).0, 201, "{name}");
    }
}

fn a_row_that_was_edited_is_named_and_mended(place: &Place) {
    let made = create_admin(place, "root@farm.example", "grace", PASSWORD);
    let id = made.stdout.trim();
    let check = || place.run(&["rebuild", "--check"]);
    let before = check();
    assert_eq!(before.code, Some(0), "{}{}", before.stdout, before.stderr);
    assert!(before.stdout.ends_with("no row differs\n"), "{}", before.stdout);
    assert!(before.stdout.contains("events/s"), "{}", before.stdout);
    assert_eq!(checksums(&before.stdout).0, checksums(&before.stdout).1);

    assert_eq!(
        place.sql("UPDATE users SET username = 'Mallory', status = 'locked' WHERE username = 'grace'"),
        1
    );
    let edited = check();
    assert_eq!(edited.code, Some(1), "{}{}", edited.stdout, edited.stderr);
    let named = edited
        .stdout
        .lines()
        .find(|line| line.starts_with(&format!("users {id}: ")));
    let named = named.unwrap_or_else(|| panic!("the row is not named in\n{}", edited.stdout));
    assert!(named.contains("username") && named.contains("status"), "{named}");
    assert!(
        !edited.stdout.contains("Mallory") && !edited.stdout.contains("grace"),
        "no personal data"
    );
    assert!(edited.stdout.ends_with("1 row differs\n"), "{}", edited.stdout);
    assert_ne!(checksums(&edited.stdout).0, checksums(&edited.stdout).1);
    assert_eq!(checksums(&edited.stdout).1, checksums(&before.stdout).1);

    let swapped = place.run(&["rebuild", "--swap"]);
    assert_eq!(swapped.code, Some(0), "{}{}", swapped.stdout, swapped.stderr);
    assert!(swapped.stdout.ends_with("1 row was replaced\n"), "{}", swapped.stdout);
    let after = check();
    assert_eq!(after.code, Some(0), "{}{}", after.stdout, after.stderr);
    assert_eq!(checksums(&after.stdout), checksums(&before.stdout));
    assert_no_companions(place);
}

/// Of the live and of the rebuilt rows.
fn checksums(report: &str) -> (String, String) {
    let of = |which: &str| {
        let line = report
            .lines()
            .find_map(|line| line.strip_prefix(&format!("checksum of {which}")));
        line.unwrap_or_else(|| panic!("no checksum of {which} in\n{report}"))
            .trim()
            .to_owned()
    };
    (of("live"), of("rebuilt"))
}

fn migrating_makes_a_store_and_changes_none(place: &Place) {
    let engine = place.engine();
    for _ in 0..2 {
        let ended = place.run(&["migrate"]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_eq!(ended.stdout, format!("engine {engine}, head position 0\n"));
        assert_no_companions(place);
    }
    create_admin(place, "root@farm.example", "grace", PASSWORD);
    let ended = place.run(&["migrate"]);
    assert_ne!(ended.stdout, format!("engine {engine}, head position 0\n"));
}

fn another_master_key_is_refused(place: &Place) {
    assert_eq!(place.run(&["migrate"]).code, Some(0));
    let other = "ab".repeat(32);
    let ended = place.run_with(
        &["serve", "--listen", "127.0.0.1:0"],
        &[("REGISTRY__KEYS__MASTER", &other)],
        "",
    );
    assert_eq!(ended.code, Some(1));
    assert!(
        ended
            .stderr
            .starts_with("user-registry: this is not the master key of this store"),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains(&other));
    std::fs::remove_file(place.data().join("keys/master.key")).unwrap();
    let ended = place.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("restore it from your backup"), "{}", ended.stderr);
}

fn a_port_in_use_is_told(place: &Place) {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = place.run(&["--listen", &address]);
    assert_eq!(ended.code, Some(1));
    assert!(
        ended
            .stderr
            .starts_with(&format!("user-registry: cannot listen on {address}: ")),
        "{}",
        ended.stderr
    );
    assert_no_companions(place);
}
