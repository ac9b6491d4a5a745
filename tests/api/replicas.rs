//! The two replicas of docker-compose.yml as plain processes: the same settings, one PostgreSQL, one master key.
//!
//! Of the settings only those are changed that name other containers.

use std::collections::BTreeSet;
use std::path::Path;

use futures::future::join_all;
use serde_json::json;

use crate::harness::{Engine, MailServer, Offers, PASSWORD, Place, Server, Tokens, run, until};

mod postgres {
    #[test]
    fn what_one_replica_writes_the_other_reads() {
        super::run(super::what_one_replica_writes_the_other_reads());
    }

    #[test]
    fn one_key_at_two_replicas_at_once_is_one_event() {
        super::run(super::one_key_at_two_replicas_at_once_is_one_event());
    }
}

/// The lines of `deploy/registry.env`.
fn settings() -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/registry.env");
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| line.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

async fn what_one_replica_writes_the_other_reads() {
    let mails = MailServer::start(Offers::default()).await;
    let place = Place::new(Engine::Postgres).await;
    let other = tempfile::tempdir().unwrap();
    let mut settings = settings();
    let mut replaced = 0;
    for (name, value) in &mut settings {
        let local = match name.as_str() {
            "SMTP_URL" => value.replace("mail:1025", &format!("127.0.0.1:{}", mails.port())),
            // This test stands where the proxy stands.
            "REGISTRY__HTTP__TRUSTED_PROXIES" => "127.0.0.1".to_owned(),
            // The server is shared with other tests.
            "REGISTRY__STORE__CONNECTIONS" => "6".to_owned(),
            _ => continue,
        };
        assert_ne!(&local, value, "{name}");
        *value = local;
        replaced += 1;
    }
    assert_eq!(replaced, 3);
    settings.push(("REGISTRY__KEYS__MASTER".to_owned(), "5a".repeat(32)));
    settings.push(("REGISTRY__LIMITS__ENABLED".to_owned(), "true".to_owned()));
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (&**name, &**value)).collect();
    // At once, as containers start: both find an empty database.
    let (one, two) = futures::join!(
        Server::start(&place, &settings),
        Server::start_in(&place, other.path(), &settings)
    );
    let (first, second) = (one.client(), two.client());

    let body = json!({ "username": "ada", "email": "ada@farm.example", "password": PASSWORD });
    let receipt = first.command("register-user", &body).expect(201).await;
    let mail = mails.to("ada@farm.example").await;
    assert_eq!(mail.from, "registry@localhost.example");
    let link = mail.mail.link();
    assert!(link.starts_with("http://localhost:8080/verify-email?token="), "{link}");
    let token = json!({ "token": mail.mail.token() });
    second.command("verify-email", &token).expect(200).await;

    let body = json!({ "identifier": "ada", "password": PASSWORD });
    let signed_in = first
        .post("/v1/sessions", &body)
        .header("x-forwarded-for", "203.0.113.9")
        .expect(201)
        .await;
    let access = signed_in["access_token"].as_str().unwrap();
    let me = second.get("/v1/me").bearer(access).expect(200).await;
    assert_eq!((&me["id"], &me["email_verified"]), (&receipt["id"], &json!(true)));
    let sessions = second.get("/v1/sessions").bearer(access).expect(200).await;
    assert_eq!(sessions["items"][0]["ip"], "203.0.113.9", "{sessions}");
    // What ends at one has ended at the other.
    second.delete("/v1/sessions/current").bearer(access).expect(204).await;
    assert_eq!(first.get("/v1/me").bearer(access).send().await.status, 401);

    // Each says that it is ready, the way its container is asked.
    for server in [&one, &two] {
        assert!(healthy(server).await, "{}", server.log());
    }
    // The one that mails goes; the other goes on with it.
    let owner = until("a mailer", || async {
        let sql = "SELECT coalesce(owner, '') FROM checkpoints WHERE follower = 'mail'";
        let owners = place.log().await.texts(sql).await;
        owners.into_iter().find(|owner| !owner.is_empty())
    })
    .await;
    let (gone, left) = if owner.contains(&format!("/{}/", one.id())) {
        (one, two)
    } else {
        (two, one)
    };
    gone.terminate();
    let client = left.client();
    let body = json!({ "email": "bob@farm.example", "password": PASSWORD });
    client.command("register-user", &body).expect(201).await;
    mails.to("bob@farm.example").await;
    assert_eq!(gone.end().await, Some(0));
}

/// In every second round the appenders of both wait for a lock until all requests are there, so that each appends its
/// own in one batch.
async fn one_key_at_two_replicas_at_once_is_one_event() {
    const ROUNDS: usize = 30;
    const REPEATS: usize = 12;
    let place = Place::new(Engine::Postgres).await;
    let other = tempfile::tempdir().unwrap();
    // As in deploy: one master key for both.
    let settings = [("REGISTRY__KEYS__MASTER", &*"5a".repeat(32))];
    let (one, two) = futures::join!(
        Server::start(&place, &settings),
        Server::start_in(&place, other.path(), &settings)
    );
    let clients = [one.client(), two.client()];
    let body = json!({ "username": "ada", "password": PASSWORD });
    clients[0].command("register-user", &body).expect(201).await;
    let body = json!({ "identifier": "ada", "password": PASSWORD });
    let tokens = Tokens::of(&clients[1].post("/v1/sessions", &body).expect(201).await);
    let (mut log, mut lock) = (place.log().await, place.log().await);
    let (mut head, mut answers) = (log.head().await, 0);
    for round in 0..ROUNDS {
        let held = round % 2 == 1;
        if held {
            lock.texts("BEGIN").await;
            lock.numbers("SELECT position FROM log_head WHERE lane = 0 FOR UPDATE")
                .await;
        }
        let body = json!({ "full_name": format!("Name {round}") });
        let call = |number: usize| {
            let call = clients[number % 2].command("update-profile", &body);
            let call = call.header("idempotency-key", format!("round-{round}"));
            tokio::spawn(call.bearer(&tokens.access).send())
        };
        let calls: Vec<_> = (0..REPEATS).map(call).collect();
        if held {
            // Each of the two has one connection that appends.
            until("both to wait for the lock", || async {
                let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                           AND wait_event_type = 'Lock' AND query LIKE '%log_head%'";
                (place.log().await.numbers(sql).await == [2]).then_some(())
            })
            .await;
            lock.texts("ROLLBACK").await;
        }
        let mut told = BTreeSet::new();
        for reply in join_all(calls).await {
            let reply = reply.unwrap();
            assert_eq!(reply.status, 200, "{reply:?}");
            told.insert((reply.header("etag").to_owned(), reply.body));
            answers += 1;
        }
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(log.types_after(head).await, ["user.profile_updated"], "round {round}");
        head = log.head().await;
    }
    told!("{ROUNDS} keys, each in {REPEATS} requests to two processes at once: {answers} answers, {ROUNDS} events");
}

/// Runs the health check of the compose file against a process.
async fn healthy(server: &Server) -> bool {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docker-compose.yml");
    let text = std::fs::read_to_string(path).unwrap();
    let mut file: serde_yaml_ng::Value = serde_yaml_ng::from_str(&text).unwrap();
    file.apply_merge().unwrap();
    let test: Vec<String> =
        serde_yaml_ng::from_value(file["services"]["registry-1"]["healthcheck"]["test"].clone()).unwrap();
    assert_eq!((test[0].as_str(), test.len()), ("CMD", 4));
    let port = server.address().rsplit_once(':').unwrap().1;
    let script = test[3].replace("$$", "$").replace("/8080", &format!("/{port}"));
    assert_ne!(script, test[3].replace("$$", "$"));
    let (program, flag) = (test[1].clone(), test[2].clone());
    let run = move || {
        std::process::Command::new(program)
            .args([flag, script])
            .status()
            .unwrap()
    };
    tokio::task::spawn_blocking(run).await.unwrap().success()
}
