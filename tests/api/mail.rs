//! Two processes on one database: each mail leaves once, and after a crash at least once.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use crate::harness::{Client, Engine, Mailbox, PASSWORD, Place, Server, on_both_engines, until};

on_both_engines![
    two_processes_send_each_mail_once,
    after_a_kill_the_other_process_sends_what_is_left,
    after_a_stop_the_other_process_follows_at_once,
];

/// Two replicas: on `PostgreSQL` each with a folder of its own, on `SQLite` with the one of the file.
struct Replicas {
    place: Place,
    other: TempDir,
    servers: Vec<Server>,
}

impl Replicas {
    async fn start(engine: Engine, lease_seconds: &str) -> Self {
        let place = Place::new(engine).await;
        let other = tempfile::tempdir().unwrap();
        let key = place.folder().join("shared.key");
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&key)
            .unwrap();
        writeln!(file, "{}", "5a".repeat(32)).unwrap();
        let settings = [
            ("REGISTRY__KEYS__MASTER_FILE", key.to_str().unwrap()),
            ("REGISTRY__FOLLOWERS__LEASE_SECONDS", lease_seconds),
            // The link of a mail is the same whoever sends it.
            ("REGISTRY__PUBLIC_URL", "http://registry.example"),
        ];
        let second = if engine == Engine::Sqlite {
            place.folder()
        } else {
            other.path()
        };
        let servers = vec![
            Server::start(&place, &settings).await,
            Server::start_in(&place, second, &settings).await,
        ];
        Self { place, other, servers }
    }

    /// Every mail by its name, with how many outboxes hold it.
    fn mails(&self) -> BTreeMap<String, usize> {
        let mut found = BTreeMap::new();
        let folders: [&Path; 2] = [self.place.folder(), self.other.path()];
        for mail in folders.iter().flat_map(|folder| Mailbox::of(folder).mails()) {
            *found.entry(mail.name).or_default() += 1;
        }
        found
    }

    /// Which of the servers runs the mailer, once one does.
    async fn follower(&self) -> usize {
        until("a follower", || async {
            let owners = self
                .place
                .log()
                .await
                .texts("SELECT coalesce(owner, '') FROM checkpoints WHERE follower = 'mail'")
                .await;
            let owner = owners.first()?;
            self.servers
                .iter()
                .position(|server| owner.contains(&format!("/{}/", server.id())))
        })
        .await
    }

    /// Where the mails must be: the positions of the events that ask for one.
    async fn asked_for(&self) -> Vec<String> {
        let events = self.place.log().await.events().await;
        let asked = events
            .iter()
            .filter(|event| event.kind == "user.email_verification_requested");
        asked.map(|event| format!("{:020}", event.position)).collect()
    }

    async fn all_are_sent(&self) -> BTreeMap<String, usize> {
        until("every mail", || async {
            let (asked, mails) = (self.asked_for().await, self.mails());
            asked.iter().all(|name| mails.contains_key(name)).then_some(mails)
        })
        .await
    }
}

async fn register(client: &Client, name: &str) {
    let body = json!({ "email": format!("{name}@farm.example"), "password": PASSWORD });
    client.command("register-user", &body).expect(201).await;
}

/// How many mails a process says it has sent.
async fn sent(client: &Client) -> usize {
    let metrics = client.get("/metrics").send().await.body;
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("registry_mails_sent_total "));
    line.map_or(0, |count| count.parse().unwrap())
}

async fn two_processes_send_each_mail_once(engine: Engine) {
    let replicas = Replicas::start(engine, "1").await;
    let clients: Vec<Client> = replicas.servers.iter().map(Server::client).collect();
    for round in 0..8 {
        let calls = (0..4).map(|number| {
            let client = &clients[number % 2];
            async move { register(client, &format!("u{round}-{number}")).await }
        });
        futures::future::join_all(calls).await;
    }
    let mails = replicas.all_are_sent().await;
    assert_eq!((mails.len(), replicas.asked_for().await.len()), (32, 32));
    assert!(mails.values().all(|copies| *copies == 1), "{mails:?}");
    // A second writing into the same file would not show in the folder.
    let sent = sent(&clients[0]).await + sent(&clients[1]).await;
    assert_eq!(sent, 32);
    told!("{engine:?}: 32 mails, {sent} sent");
}

async fn after_a_kill_the_other_process_sends_what_is_left(engine: Engine) {
    let mut replicas = Replicas::start(engine, "1").await;
    let owner = replicas.follower().await;
    let survivor = replicas.servers[1 - owner].client();
    let load = async {
        for number in 0..16 {
            register(&survivor, &format!("u{number}")).await;
        }
    };
    let killed = replicas.servers.remove(owner);
    let kill = async {
        let enough = || async { (replicas.mails().len() >= 4).then_some(()) };
        until("some mails", enough).await;
        killed.kill();
    };
    futures::join!(load, kill);
    let mails = replicas.all_are_sent().await;
    assert_eq!(mails.len(), 16);
    // What the dead one had sent but not noted down is sent again; at most that one.
    assert!(mails.values().filter(|copies| **copies > 1).count() <= 1, "{mails:?}");
    assert_eq!(replicas.follower().await, 0);
    // The links of both work.
    let folders: [&Path; 2] = [replicas.place.folder(), replicas.other.path()];
    for mail in folders.iter().flat_map(|folder| Mailbox::of(folder).mails()) {
        survivor
            .command("verify-email", &json!({ "token": mail.token() }))
            .expect(200)
            .await;
    }
    told!(
        "{engine:?}: {} mails, {} twice",
        mails.len(),
        mails.values().filter(|copies| **copies > 1).count()
    );
}

async fn after_a_stop_the_other_process_follows_at_once(engine: Engine) {
    // A lease that lapses long after this test.
    let mut replicas = Replicas::start(engine, "3600").await;
    let owner = replicas.follower().await;
    let survivor = replicas.servers[1 - owner].client();
    register(&survivor, "before").await;
    replicas.all_are_sent().await;
    let stopped = replicas.servers.remove(owner);
    stopped.terminate();
    assert_eq!(stopped.end().await, Some(0));
    register(&survivor, "after").await;
    let mails = replicas.all_are_sent().await;
    assert_eq!(mails.values().sum::<usize>(), 2);
}
