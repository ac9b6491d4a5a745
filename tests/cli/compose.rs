//! `docker-compose.yml` and what it is built from, read as a program reads it. No container is started here.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_yaml_ng::Value;

use crate::harness::Place;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

fn compose() -> Value {
    let mut file: Value = serde_yaml_ng::from_str(&text("docker-compose.yml")).unwrap();
    file.apply_merge().unwrap();
    file
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_mapping().map_or_else(BTreeSet::new, |mapping| {
        mapping.keys().map(|key| key.as_str().unwrap().to_owned()).collect()
    })
}

/// A list of names, or the keys of a mapping.
fn names(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Sequence(items) => items.iter().map(|item| item.as_str().unwrap().to_owned()).collect(),
        other => keys(other),
    }
}

#[test]
fn every_service_is_checked_and_everything_it_names_is_there() {
    let file = compose();
    let services = file["services"].as_mapping().unwrap();
    assert_eq!(
        keys(&file["services"]),
        ["mail", "postgres", "proxy", "rabbitmq", "registry-1", "registry-2"]
            .map(str::to_owned)
            .into()
    );
    let (volumes, networks) = (keys(&file["volumes"]), keys(&file["networks"]));
    let mut used = BTreeSet::new();
    for (name, service) in services {
        let name = name.as_str().unwrap();
        let test = names(&service["healthcheck"]["test"]);
        assert!(test.contains("CMD") && test.len() > 1, "{name} has no health check");
        for part in ["interval", "timeout", "start_period", "retries"] {
            assert!(!service["healthcheck"][part].is_null(), "{name}: {part}");
        }
        for network in names(&service["networks"]) {
            assert!(networks.contains(&network), "{name}: {network}");
        }
        for (other, condition) in service["depends_on"].as_mapping().into_iter().flatten() {
            assert!(services.contains_key(other), "{name}: {other:?}");
            assert_eq!(condition["condition"], "service_healthy", "{name}");
        }
        for volume in names(&service["volumes"]) {
            let from = volume.split(':').next().unwrap();
            if from.starts_with('.') {
                assert!(path(from).is_file(), "{name}: {from}");
            } else {
                assert!(volumes.contains(from), "{name}: {from}");
                assert!(used.insert(from.to_owned()), "two services share the volume {from}");
            }
        }
        for port in names(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name} is open to everybody: {port}");
        }
        let image = service["image"].as_str().unwrap();
        assert!(
            image == "user-registry" || image.contains(':'),
            "{name}: any version of {image}"
        );
    }
    assert_eq!(used, volumes, "volumes nobody uses");
}

#[test]
fn the_replicas_differ_in_their_volume_only() {
    let file = compose();
    let [mut one, mut two] = ["registry-1", "registry-2"].map(|name| file["services"][name].clone());
    assert_ne!(one["volumes"], two["volumes"]);
    for replica in [&mut one, &mut two] {
        replica.as_mapping_mut().unwrap().remove("volumes");
    }
    assert_eq!(one, two);
    assert_eq!(one["read_only"], true);
    // Secrets come from outside, and nothing starts without them.
    for (name, value) in one["environment"].as_mapping().unwrap() {
        assert!(value.as_str().unwrap().contains(":?"), "{name:?}");
    }
    let upstreams = text("deploy/Caddyfile");
    let upstreams = upstreams.lines().find(|line| line.contains("reverse_proxy")).unwrap();
    assert!(upstreams.contains(" registry-1:8080 registry-2:8080 "), "{upstreams}");
    // A follower that has stopped makes no replica unready to answer.
    let caddyfile = text("deploy/Caddyfile");
    let mut checks = caddyfile
        .lines()
        .filter_map(|line| line.trim().strip_prefix("health_uri "));
    assert_eq!((checks.next(), checks.next()), (Some("/healthz"), None));
    let trusted = text("deploy/registry.env");
    let proxy = file["services"]["proxy"]["networks"]["edge"]["ipv4_address"]
        .as_str()
        .unwrap();
    assert!(
        trusted
            .lines()
            .any(|line| line == format!("REGISTRY__HTTP__TRUSTED_PROXIES={proxy}"))
    );
    // Whoever comes by the published port comes from a private address, and is no peer for that.
    assert!(
        trusted
            .lines()
            .any(|line| line == "REGISTRY__AGSTACK__TRUSTED_CLIENTS=")
    );
}

/// A text with something in each place that names a variable.
fn filled(text: &str) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        filled.push_str(before);
        filled.push_str("hunter2");
        rest = after.split_once('}').unwrap().1;
    }
    filled + rest
}

#[test]
fn the_settings_hold() {
    let settings = text("deploy/registry.env");
    let mut environment: Vec<(String, String)> = settings
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let key = "5a".repeat(32);
    let file = compose();
    let own = file["services"]["registry-1"]["environment"].as_mapping().unwrap();
    for (name, value) in own {
        let value = match name.as_str().unwrap() {
            "REGISTRY__KEYS__MASTER" => key.clone(),
            // As the container engine would, with a password that has to be left out of what is said.
            _ => filled(value.as_str().unwrap()),
        };
        environment.push((name.as_str().unwrap().to_owned(), value));
    }
    let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (&**name, &**value)).collect();
    let ended = Place::sqlite().run_with(&["config", "check"], &environment, "");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.stdout.contains("hunter2"), "{ended:?}");
    // Another replica goes on with the followers of one that is gone within ten seconds.
    let shown = Place::sqlite().run_with(&["config", "show"], &environment, "");
    let lease = shown
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("lease_seconds = "))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|seconds| seconds.parse::<u32>().ok());
    assert!(lease.is_some_and(|seconds| seconds <= 6), "{shown:?}");
}

/// What is compiled into the program: all but unit tests in files of their own.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap().path();
        if entry.is_dir() {
            found.extend(sources(&entry));
        } else if entry.extension().is_some_and(|extension| extension == "rs") && !entry.ends_with("tests.rs") {
            found.push(entry);
        }
    }
    found
}

#[test]
fn the_image_is_small_not_roots_and_checked_the_same_way() {
    let dockerfile = text("Dockerfile");
    let stages: Vec<&str> = dockerfile.lines().filter(|line| line.starts_with("FROM ")).collect();
    assert_eq!(stages.len(), 2);
    let last = dockerfile.rsplit_once("\nFROM ").unwrap().1;
    assert!(last.lines().any(|line| line == "USER 10001:10001"));
    // What is copied is there, and is sent along.
    let sent = text(".dockerignore");
    let sent: BTreeSet<&str> = sent.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let mut copied = BTreeSet::new();
    for line in dockerfile.lines().filter_map(|line| line.strip_prefix("COPY ")) {
        if line.starts_with("--from") {
            continue;
        }
        let mut names: Vec<&str> = line.split(' ').collect();
        names.pop();
        copied.extend(names);
    }
    assert_eq!(copied, sent);
    assert!(copied.iter().all(|name| path(name).exists()), "{copied:?}");
    // So is every file that the sources take in.
    let mut taken_in = 0;
    for source in sources(&path("src")) {
        let text = std::fs::read_to_string(&source).unwrap();
        for file in text
            .split("include_str!(\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
        {
            let file = source.parent().unwrap().join(file).canonicalize().unwrap();
            let inside = file.strip_prefix(path(".").canonicalize().unwrap()).unwrap();
            let folder = inside.iter().next().unwrap().to_str().unwrap();
            assert!(
                copied.contains(folder),
                "{} takes in {}",
                source.display(),
                inside.display()
            );
            taken_in += 1;
        }
    }
    assert!(taken_in > 0);
    let listed = last
        .lines()
        .find_map(|line| line.trim().strip_prefix("CMD [\"bash\""))
        .unwrap();
    let image: Vec<String> = serde_json::from_str(&format!("[\"bash\"{listed}")).unwrap();
    let compose = compose();
    let test: Vec<String> =
        serde_yaml_ng::from_value(compose["services"]["registry-1"]["healthcheck"]["test"].clone()).unwrap();
    let test: Vec<String> = test[1..].iter().map(|word| word.replace("$$", "$")).collect();
    assert_eq!(image, test);
}
