use super::settings::{Kind, SETTINGS};
use super::*;

fn load(file: &str, environment: &[(&str, &str)], flags: &Overrides) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("registry.toml");
    std::fs::write(&path, file).unwrap();
    let variables = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    Config::load(Some(&path), variables, flags)
        .map_err(|errors| errors.to_string().replace(&folder.path().display().to_string(), "DIR"))
}

#[test]
fn without_any_layer_the_defaults_hold() {
    let config = Config::load(None, std::iter::empty(), &Overrides::default()).unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.domains.default, DomainDefault::Allow);
    assert!(config.passwords.strong_enough());
}

#[test]
fn flags_win_over_environment_and_environment_over_the_file() {
    let file = "[http]\nlisten = \"127.0.0.1:1\"\n[tokens]\naccess_seconds = 60\n\
                [log]\nlevel = \"warn\"";
    let environment = [
        ("REGISTRY__HTTP__LISTEN", "127.0.0.1:2"),
        ("REGISTRY__TOKENS__ACCESS_SECONDS", "120"),
        ("PATH", "/bin"),
    ];
    let flags = Overrides {
        listen: Some("127.0.0.1:3".into()),
        ..Overrides::default()
    };
    let config = load(file, &environment, &flags).unwrap();
    assert_eq!(config.http.listen.port(), 3);
    assert_eq!(config.tokens.access_seconds, 120);
    assert_eq!(config.log.level, "warn");
}

#[test]
fn the_well_known_variables_are_settings() {
    let environment = [
        ("DATABASE_URL", "postgres://u:p@h/d"),
        ("AMQP_URL", ""),
        ("SMTP_URL", "smtp://mail"),
        ("RUST_LOG", "user_registry=debug"),
        ("REGISTRY__PUBLIC_URL", "https://registry.example/"),
        ("REGISTRY__HTTP__TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.1"),
    ];
    let config = load("", &environment, &Overrides::default()).unwrap();
    assert_eq!(config.database_url.as_ref().unwrap().expose(), "postgres://u:p@h/d");
    assert_eq!(config.amqp_url, None);
    assert_eq!(config.mail.smtp_url.unwrap().expose(), "smtp://mail");
    assert_eq!(config.log.level, "user_registry=debug");
    assert_eq!(config.public_url.as_deref(), Some("https://registry.example"));
    assert_eq!(config.http.trusted_proxies.len(), 2);
}

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    let file = "publik_url = \"x\"\n[limits]\nenabld = true\n[tokens]\naccess_seconds = 601\n\
                [log]\nformat = 3\n[zzz]\na = 1\n[http]\nlisten = \"nowhere\"\n";
    let environment = [
        ("REGISTRY__REGISTRATION__STRCT", "true"),
        ("REGISTRY__LIMITS__ENABLED", "maybe"),
    ];
    let told = load(file, &environment, &Overrides::default()).unwrap_err();
    insta::assert_snapshot!(told, @r"
    the configuration does not hold:
      DIR/registry.toml:1: unknown setting `publik_url`, did you mean `public_url`?
      DIR/registry.toml:3: unknown setting `limits.enabld`, did you mean `limits.enabled`?
      DIR/registry.toml:5: `tokens.access_seconds` must be a whole number from 1 to 600
      DIR/registry.toml:7: `log.format` must be one of text, json
      DIR/registry.toml:8: unknown setting `zzz`
      DIR/registry.toml:11: `http.listen` must be an address and port such as 127.0.0.1:8080
      environment REGISTRY__LIMITS__ENABLED: `limits.enabled` must be true or false
      environment REGISTRY__REGISTRATION__STRCT: unknown setting `registration.strct`, did you mean `REGISTRY__REGISTRATION__STRICT`?
    ");
}

#[test]
fn a_file_that_is_no_toml_is_refused_without_repeating_it() {
    let told = load("[keys]\nmaster = hunter2\n", &[], &Overrides::default()).unwrap_err();
    assert!(told.contains("registry.toml:2:"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
}

#[test]
fn a_missing_file_is_a_mistake() {
    let path = Path::new("/nowhere/registry.toml");
    let error = Config::load(Some(path), std::iter::empty(), &Overrides::default()).unwrap_err();
    assert!(matches!(error.0[..], [ConfigError::Unreadable { .. }]));
}

#[test]
fn weak_hashing_refuses_to_start() {
    for weak in [
        "memory_kib = 19455",
        "iterations = 1",
        "memory_kib = 47103\niterations = 1",
    ] {
        let told = load(&format!("[passwords]\n{weak}"), &[], &Overrides::default()).unwrap_err();
        assert!(told.contains("too weak"), "{told}");
    }
    let strong = "[passwords]\nmemory_kib = 47104\niterations = 1";
    assert!(load(strong, &[], &Overrides::default()).is_ok());
}

#[test]
fn tokens_are_pushed_only_where_an_address_says_where() {
    let wanted = "[agstack]\npush_tokens = true\n";
    let told = load(wanted, &[], &Overrides::default()).unwrap_err();
    assert!(
        told.contains("`agstack.push_tokens` is set without `agstack.asset_registry_url`"),
        "{told}"
    );
    let address = [("REGISTRY__AGSTACK__ASSET_REGISTRY_URL", "https://assets.example")];
    assert!(
        load(wanted, &address, &Overrides::default())
            .unwrap()
            .agstack
            .push_tokens
    );
    assert!(!load("", &address, &Overrides::default()).unwrap().agstack.push_tokens);
}

#[test]
fn only_one_master_key_may_be_named() {
    let told = load(
        "[keys]\nmaster = \"a\"\nmaster_file = \"b\"",
        &[],
        &Overrides::default(),
    );
    assert!(told.unwrap_err().contains("only one of"));
}

#[test]
fn an_empty_text_unsets_what_a_lower_layer_set() {
    let file = "database_url = \"postgres://h/d\"";
    let config = load(file, &[("REGISTRY__DATABASE_URL", "")], &Overrides::default()).unwrap();
    assert_eq!(config.database_url, None);
}

#[test]
fn what_is_shown_names_its_layer_and_hides_secrets() {
    let flags = Overrides {
        database_url: Some("postgres://u:p@h/d".into()),
        ..Overrides::default()
    };
    let shown = load(
        "[log]\nlevel = \"warn\"",
        &[("REGISTRY__TAXI__ENABLED", "false")],
        &flags,
    )
    .unwrap()
    .show();
    assert!(
        shown.contains("database_url = \"***\"  # flag --database-url"),
        "{shown}"
    );
    assert!(
        shown.contains("enabled = false  # environment REGISTRY__TAXI__ENABLED"),
        "{shown}"
    );
    assert!(shown.contains("registry.toml:2\n"), "{shown}");
    assert!(shown.contains("# amqp_url is not set"), "{shown}");
    assert!(shown.contains("strict = false  # default"), "{shown}");
    assert!(!shown.contains("u:p@h"), "{shown}");
}

#[test]
fn nothing_prints_a_secret() {
    let flags = Overrides {
        amqp_url: Some("amqp://u:p@h".into()),
        ..Overrides::default()
    };
    let config = load("", &[], &flags).unwrap();
    assert!(!format!("{config:?} {flags:?}").contains("u:p@h"));
}

/// The table and the structs say the same: each name is a field, and each field has a name.
#[test]
fn the_table_and_the_structs_agree() {
    let mut layers = Layers::default();
    for setting in SETTINGS {
        let text = match setting.kind {
            Kind::Bool => "true",
            Kind::Whole(low, _) => &low.max(100).to_string(),
            Kind::Status => "200",
            Kind::Choice(words) => words[0],
            Kind::Address => "127.0.0.1:1",
            Kind::Url | Kind::Origins => "https://h",
            Kind::Networks => "10.0.0.0/8",
            Kind::Path => "/agstack",
            Kind::Host => "ur.example",
            Kind::Servers => "192.0.2.53:53",
            Kind::Prefixes => "+49",
            Kind::Queues => "billing user.*",
            Kind::Filter => "info",
            Kind::Text | Kind::Secret => "x",
        };
        layers.flag(setting.path, text, "--test");
    }
    layers
        .errors
        .retain(|error| !error.to_string().contains("whole number"));
    assert_eq!(layers.errors, []);
    let config = Config::deserialize(layers.tree()).unwrap();
    let shown = toml::Value::try_from(&config).unwrap();
    for (key, value) in shown.as_table().unwrap() {
        let fields = value.as_table().map_or_else(
            || vec![key.clone()],
            |table| table.keys().map(|field| format!("{key}.{field}")).collect(),
        );
        for field in fields {
            assert!(settings::find(&field).is_some(), "{field} is in no table");
        }
    }
}
