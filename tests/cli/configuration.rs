//! The configuration as the program sees it.

use crate::harness::Place;

#[test]
fn a_check_names_the_nearest_setting_of_the_file_and_of_the_environment() {
    let place = Place::sqlite();
    let file = place.write(
        "registry.toml",
        "[limits]\nenabled = true\n[registration]\nstrct = true\n",
    );
    let file = file.to_str().unwrap();
    let ended = place.run_with(
        &["config", "check", "--config", file],
        &[
            ("REGISTRY__TOKENS__ACCESS_SECOND", "60"),
            ("RUST_LOG", "info"),
            ("OTHER", "x"),
        ],
        "",
    );
    assert_eq!(ended.code, Some(2));
    assert_eq!(ended.stdout, "");
    let told = ended.stderr.replace(file, "FILE");
    insta::assert_snapshot!(told, @r"
    user-registry: the configuration does not hold:
      FILE:4: unknown setting `registration.strct`, did you mean `registration.strict`?
      environment REGISTRY__TOKENS__ACCESS_SECOND: unknown setting `tokens.access_second`, did you mean `REGISTRY__TOKENS__ACCESS_SECONDS`?
    ");
}

#[test]
fn a_check_says_that_all_is_well_and_touches_nothing() {
    let place = Place::sqlite();
    let ended = place.run(&["config", "check"]);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(0), "the configuration holds\n"),
        "{}",
        ended.stderr
    );
    assert!(!place.data().exists());
}

#[test]
fn showing_hides_secrets_and_says_who_set_what() {
    let place = Place::sqlite();
    let file = place.write(
        "registry.toml",
        "[agstack]\nshared_secret = \"hunter2\"\n[http]\nbody_ms = 500\n",
    );
    let ended = place.run_with(
        &[
            "config",
            "show",
            "--config",
            file.to_str().unwrap(),
            "--database-url",
            "postgres://u:hunter2@h/d",
        ],
        &[
            ("REGISTRY__KEYS__MASTER", "hunter2"),
            ("AMQP_URL", "amqp://u:hunter2@h"),
            ("SMTP_URL", "smtp://u:hunter2@h"),
        ],
        "",
    );
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!format!("{ended:?}").contains("hunter2"), "{}", ended.stdout);
    for line in [
        "database_url = \"***\"  # flag --database-url",
        "amqp_url = \"***\"  # environment AMQP_URL",
        "master = \"***\"  # environment REGISTRY__KEYS__MASTER",
        &format!("body_ms = 500  # {}:4", file.display()),
    ] {
        assert!(
            ended.stdout.lines().any(|shown| shown == line),
            "{line} is missing in\n{}",
            ended.stdout
        );
    }
}

#[test]
fn what_carries_messages_is_checked_before_anything_is_made() {
    let place = Place::sqlite();
    let texts = place.data().parent().unwrap().join("texts");
    std::fs::create_dir(&texts).unwrap();
    let slip = texts.join("reset-password.sms");
    std::fs::write(&slip, "{{pin}}").unwrap();
    let texts = texts.to_str().unwrap();
    for verb in [&["serve"][..], &["config", "check"]] {
        for (variable, value, told) in [
            ("SMTP_URL", "hunter2", "`mail.smtp_url` must be"),
            ("REGISTRY__SMS__GATEWAY_URL", "hunter2", "`sms.gateway_url` must be"),
            ("REGISTRY__MAIL__TEMPLATES", texts, slip.to_str().unwrap()),
        ] {
            let ended = place.run_with(verb, &[(variable, value)], "");
            assert_eq!(ended.code, Some(2), "{variable}: {ended:?}");
            assert!(ended.stderr.contains(told), "{ended:?}");
            assert!(!ended.stderr.contains("hunter2"), "{ended:?}");
        }
    }
    std::fs::write(&slip, "{{code}}").unwrap();
    let fine = [
        ("SMTP_URL", "smtps://u:hunter2@mail.example"),
        (
            "REGISTRY__SMS__GATEWAY_URL",
            "https://u:hunter2@gateway.example/messages",
        ),
        ("REGISTRY__SMS__GATEWAY_TOKEN", "hunter2"),
        ("REGISTRY__MAIL__TEMPLATES", texts),
    ];
    let ended = place.run_with(&["config", "check"], &fine, "");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!place.data().exists());
}

#[test]
fn a_database_that_is_away_or_none_is_told_without_its_url() {
    let place = Place::sqlite();
    for url in ["postgres://u:hunter2@127.0.0.1:1/d", "mysql://u:hunter2@h/d", "hunter2"] {
        for verb in [&["migrate"][..], &["serve", "--listen", "127.0.0.1:0"]] {
            let ended = place.run(&[verb, &["--database-url", url]].concat());
            assert_eq!(ended.code, Some(1), "{url}");
            assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
            assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
        }
    }
}

#[test]
fn a_command_line_that_makes_no_sense_ends_with_two() {
    let place = Place::sqlite();
    for arguments in [
        &["rebuild"][..],
        &["serve", "--nonsense"],
        &["admin", "create"],
        &["nonsense"],
    ] {
        let ended = place.run(arguments);
        assert_eq!(ended.code, Some(2), "{arguments:?}");
        assert_eq!(ended.stdout, "");
    }
    assert!(!place.data().exists());
}

#[test]
fn another_programs_environment_does_not_choose_how_the_database_is_reached() {
    let place = Place::postgres();
    let list = |variable: &str, value: &str| place.run_with(&["keys", "list"], &[(variable, value)], "");
    let refused = |variable: &str, value: &str| {
        let ended = list(variable, value);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{ended:?}");
        let told = format!(
            "user-registry: the database is not available: {variable} is set in the environment and would change how it \
             is reached, which only its URL may: unset it\n"
        );
        assert_eq!(ended.stderr, told);
    };
    refused("PGOPTIONS", "-c search_path=elsewhere");
    refused("PGSSLMODE", "disable");
    // What the URL says is said, and a name for the program is always given.
    for (variable, value) in [
        ("PGHOST", "nowhere.invalid"),
        ("PGDATABASE", "nothing"),
        ("PGAPPNAME", "other"),
    ] {
        let ended = list(variable, value);
        assert_eq!(ended.code, Some(0), "{variable}: {ended:?}");
    }
}
