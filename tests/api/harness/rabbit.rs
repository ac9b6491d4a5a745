//! A broker, and somebody who listens to what it carries.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, ExchangeDeclareOptions, ExchangeDeleteOptions,
    QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ErrorKind, ExchangeKind};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use tempfile::TempDir;

use super::{LONG, soon, until};

/// A broker: the one that all tests share, or a process of its own that can be stopped.
pub struct Rabbit {
    host: String,
    port: u16,
    credentials: String,
    own: Option<Own>,
    /// What this test uses on it, and what is gone afterwards.
    name: String,
}

struct Own {
    folder: TempDir,
    child: Option<Child>,
}

impl Rabbit {
    /// The broker of `TEST_AMQP_URL`, with an exchange of this test's own.
    pub fn shared() -> Self {
        let url = std::env::var("TEST_AMQP_URL").unwrap_or_else(|_| "amqp://guest:guest@127.0.0.1:5672/%2f".to_owned());
        let url: reqwest::Url = url.parse().unwrap();
        Self {
            host: url.host_str().unwrap().to_owned(),
            port: url.port().unwrap_or(5672),
            credentials: format!("{}:{}", url.username(), url.password().unwrap_or("guest")),
            own: None,
            name: fresh_name(),
        }
    }

    /// A broker in a process of its own.
    pub async fn own() -> Self {
        let port = free_port();
        let mut rabbit = Self {
            host: "127.0.0.1".to_owned(),
            port,
            credentials: "guest:guest".to_owned(),
            own: Some(Own {
                folder: tempfile::tempdir().unwrap(),
                child: None,
            }),
            name: fresh_name(),
        };
        rabbit.start().await;
        rabbit
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// `user:password`, as in an address.
    pub fn credentials(&self) -> &str {
        &self.credentials
    }

    /// The name of this test's exchange, and the beginning of every other name it uses.
    pub fn exchange(&self) -> &str {
        &self.name
    }

    pub fn url(&self) -> String {
        self.url_through(&self.host, self.port)
    }

    /// The same by way of somebody in between.
    pub fn url_through(&self, host: &str, port: u16) -> String {
        format!("amqp://{}@{host}:{port}/%2f", self.credentials)
    }

    /// Starts a broker of its own, and waits until it takes connections.
    pub async fn start(&mut self) {
        let (port, url) = (self.port, self.url());
        let Some(own) = self.own.as_mut() else {
            panic!("the shared one is not ours to start")
        };
        own.child = Some(launch(own.folder.path(), port));
        // One that was killed first mends its queues, and a busy machine lets it wait. One that takes a connection and does
        // not speak yet is asked again, and one whose name or port was still taken has ended and is started again.
        let folder = own.folder.path().to_owned();
        let child = &mut own.child;
        let back = async {
            loop {
                let connected = tokio::time::timeout(Duration::from_secs(5), connect(&url)).await;
                if matches!(connected, Ok(Ok(_))) {
                    break;
                }
                if child.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some()) {
                    *child = Some(launch(&folder, port));
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        let back = tokio::time::timeout(LONG * 4, back).await;
        back.unwrap_or_else(|_| {
            let said = std::fs::read_to_string(folder.join("out")).unwrap_or_default();
            panic!("the broker does not come back:\n{said}")
        });
    }

    /// Ends it: asked to, or all at once.
    pub async fn stop(&mut self, signal: Signal) {
        let Some(own) = self.own.as_mut() else {
            panic!("the shared one is not ours to stop")
        };
        let mut child = own.child.take().unwrap();
        kill_process_group(Pid::from_child(&child), signal).unwrap();
        let ended = tokio::task::spawn_blocking(move || child.wait());
        soon("the end of the broker", ended).await.unwrap().unwrap();
        // It closes its port first and may take its time for the rest; until then its name is taken.
        let name = node(self.port);
        until("the end of everything it started", || async {
            (!runs(&name)).then_some(())
        })
        .await;
        let port = self.port;
        until("the port to be free", || async move {
            std::net::TcpListener::bind(("127.0.0.1", port)).ok().map(drop)
        })
        .await;
    }

    /// Runs `rabbitmqctl` on a broker of its own.
    pub async fn control(&self, words: &[&str]) {
        let Some(own) = self.own.as_ref() else {
            panic!("the shared one is not ours to control")
        };
        let mut command = Command::new(program().with_file_name("rabbitmqctl"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", own.folder.path())
            .env("LANG", "C.UTF-8")
            .env("RABBITMQ_CONF_ENV_FILE", own.folder.path().join("environment"))
            .args(["-n", &node(self.port)])
            .args(words);
        let ended = tokio::task::spawn_blocking(move || command.output());
        let ended = soon("rabbitmqctl", ended).await.unwrap().unwrap();
        assert!(
            ended.status.success(),
            "{words:?}: {}",
            String::from_utf8_lossy(&ended.stderr)
        );
    }

    /// A connection past the service, and a channel on it.
    pub async fn channel(&self) -> (Connection, Channel) {
        let connection = connect(&self.url()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        (connection, channel)
    }

    /// A queue of the test's own for everything that an exchange carries, before there is any service.
    pub async fn queue(&self, exchange: &str, pattern: &str) -> String {
        self.queue_with(exchange, ExchangeKind::Topic, pattern, FieldTable::default())
            .await
    }

    /// The same with arguments of the queue, such as how much goes into it, and of an exchange of some kind.
    pub async fn queue_with(&self, exchange: &str, kind: ExchangeKind, pattern: &str, arguments: FieldTable) -> String {
        let (_connection, channel) = self.channel().await;
        let name = format!("{}.{}", self.name, fresh_name());
        let options = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let declared = channel.exchange_declare(exchange.into(), kind, options, FieldTable::default());
        declared.await.unwrap();
        channel
            .queue_declare(name.as_str().into(), QueueDeclareOptions::durable(), arguments)
            .await
            .unwrap();
        channel
            .queue_bind(
                name.as_str().into(),
                exchange.into(),
                pattern.into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await
            .unwrap();
        name
    }

    /// How many messages wait in a queue.
    pub async fn waiting(&self, queue: &str) -> i64 {
        let (_connection, channel) = self.channel().await;
        let passive = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let queue = channel.queue_declare(queue.into(), passive, FieldTable::default());
        queue.await.unwrap().message_count().into()
    }

    /// Whether there is an exchange of this name.
    pub async fn has_exchange(&self, name: &str) -> bool {
        let (_connection, channel) = self.channel().await;
        let passive = ExchangeDeclareOptions {
            passive: true,
            ..ExchangeDeclareOptions::default()
        };
        let declared = channel.exchange_declare(name.into(), ExchangeKind::Topic, passive, FieldTable::default());
        match declared.await {
            Ok(()) => true,
            Err(problem) if matches!(problem.kind(), ErrorKind::ProtocolError(error) if error.get_id() == 404) => false,
            Err(problem) => panic!("{name}: {problem}"),
        }
    }

    /// Takes things away that the test left on a broker that others use.
    pub async fn forget(&self, queues: &[&str], exchanges: &[&str]) {
        let (_connection, channel) = self.channel().await;
        for queue in queues {
            let gone = channel.queue_delete((*queue).into(), QueueDeleteOptions::default());
            gone.await.unwrap();
        }
        for exchange in exchanges {
            let gone = channel.exchange_delete((*exchange).into(), ExchangeDeleteOptions::default());
            gone.await.unwrap();
        }
    }
}

impl Drop for Rabbit {
    fn drop(&mut self) {
        if let Some(own) = &mut self.own
            && let Some(mut child) = own.child.take()
        {
            let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
            let _ = child.wait();
        }
    }
}

fn fresh_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::SeqCst);
    format!("registry.test.{}.{number}", std::process::id())
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

async fn connect(url: &str) -> lapin::Result<Connection> {
    static TLS: std::sync::Once = std::sync::Once::new();
    TLS.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    Connection::connect(url, ConnectionProperties::default()).await
}

/// The program itself: Debian's command of that name insists on Debian's folders.
fn program() -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/rabbitmq/lib")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("sbin/rabbitmq-server"))
        .filter(|path| path.exists())
        .collect();
    found.sort();
    found
        .pop()
        .unwrap_or_else(|| panic!("this test stops a broker of its own, and rabbitmq-server is not installed"))
}

fn node(port: u16) -> String {
    format!("registry-test-{port}@localhost")
}

/// Whether some process has this in its command line.
fn runs(word: &str) -> bool {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    lines.any(|line| String::from_utf8_lossy(&line).contains(word))
}

fn launch(folder: &Path, port: u16) -> Child {
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        if !path.exists() {
            std::fs::write(&path, text).unwrap();
        }
        path
    };
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join("out"))
        .unwrap();
    Command::new(program())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", folder)
        .env("LANG", "C.UTF-8")
        .env("RABBITMQ_CONF_ENV_FILE", file("environment", ""))
        .env(
            "RABBITMQ_CONFIG_FILE",
            file(
                "rabbitmq.conf",
                "disk_free_limit.absolute = 1MB\nvm_memory_high_watermark.absolute = 512MB\n",
            ),
        )
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", file("plugins", "[]."))
        .env("RABBITMQ_ADVANCED_CONFIG_FILE", folder.join("advanced.config"))
        .env("RABBITMQ_NODENAME", node(port))
        .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODE_PORT", port.to_string())
        .env("RABBITMQ_DIST_PORT", free_port().to_string())
        .env("RABBITMQ_MNESIA_BASE", folder.join("data"))
        .env("RABBITMQ_LOG_BASE", folder)
        .env("RABBITMQ_GENERATED_CONFIG_DIR", folder.join("config"))
        .env("RABBITMQ_LOGS", folder.join("log"))
        .env("RABBITMQ_PID_FILE", folder.join("pid"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .process_group(0)
        .spawn()
        .unwrap()
}

/// One message as it came.
#[derive(Debug, Clone)]
pub struct Heard {
    pub exchange: String,
    pub routing_key: String,
    pub properties: BasicProperties,
    pub body: Vec<u8>,
}

impl Heard {
    /// A header that is a number of 64 bits.
    pub fn number(&self, name: &str) -> i64 {
        match self.header(name) {
            Some(AMQPValue::LongLongInt(number)) => *number,
            other => panic!("{name} is {other:?}"),
        }
    }

    /// A header that is a text.
    pub fn text(&self, name: &str) -> Option<String> {
        match self.header(name)? {
            AMQPValue::LongString(text) => Some(text.to_string()),
            other => panic!("{name} is {other:?}"),
        }
    }

    fn header(&self, name: &str) -> Option<&AMQPValue> {
        self.properties.headers().as_ref()?.inner().get(name)
    }

    pub fn message_id(&self) -> String {
        self.properties.message_id().as_ref().unwrap().to_string()
    }

    pub fn content_type(&self) -> String {
        self.properties.content_type().as_ref().unwrap().to_string()
    }

    /// Its headers as JSON.
    pub fn headers(&self) -> Value {
        let headers = self.properties.headers().as_ref().unwrap();
        headers
            .inner()
            .iter()
            .map(|(name, value)| (name.to_string(), plain(value)))
            .collect()
    }

    /// All of it to be searched. A long text within the properties is shown there as numbers, so the headers stand for
    /// themselves.
    pub fn whole(&self) -> String {
        let body = String::from_utf8_lossy(&self.body);
        let (exchange, key) = (&self.exchange, &self.routing_key);
        format!("{exchange} {key} {:?} {} {body}\n", self.properties, self.headers())
    }

    /// The `CloudEvent` that it is, put together as the AMQP binding says.
    pub fn event(&self) -> Value {
        if self.content_type().starts_with("application/cloudevents+json") {
            return serde_json::from_slice(&self.body).unwrap();
        }
        let headers = self.properties.headers().as_ref().unwrap();
        let mut event = BTreeMap::new();
        for (name, value) in headers.inner() {
            if let Some(attribute) = name.as_str().strip_prefix("cloudEvents_") {
                event.insert(attribute.to_owned(), plain(value));
            }
        }
        event.insert("datacontenttype".to_owned(), self.content_type().into());
        event.insert("data".to_owned(), serde_json::from_slice(&self.body).unwrap());
        Value::Object(event.into_iter().collect())
    }
}

fn plain(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::LongLongInt(number) => Value::from(*number),
        AMQPValue::LongString(text) => Value::from(text.to_string()),
        other => panic!("{other:?} is neither a number nor a text"),
    }
}

/// Somebody who takes everything off a queue, whatever becomes of the broker.
pub struct Listener {
    heard: Arc<Mutex<Vec<Heard>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Listener {
    /// Listens to a queue; it may be declared later.
    pub fn of(rabbit: &Rabbit, queue: &str) -> Self {
        Self::with(rabbit, queue, FieldTable::default())
    }

    /// Reads a queue that is a stream, beginning with its message of this number (the first is 0).
    pub fn from_offset(rabbit: &Rabbit, queue: &str, offset: i64) -> Self {
        let mut arguments = FieldTable::default();
        arguments.insert("x-stream-offset".into(), AMQPValue::LongLongInt(offset));
        Self::with(rabbit, queue, arguments)
    }

    fn with(rabbit: &Rabbit, queue: &str, arguments: FieldTable) -> Self {
        let heard: Arc<Mutex<Vec<Heard>>> = Arc::default();
        let (url, queue, into) = (rabbit.url(), queue.to_owned(), Arc::clone(&heard));
        let task = tokio::spawn(async move {
            loop {
                // Why it failed does not matter: it comes back until everything is there, or the test gives up.
                let _ = listen(&url, &queue, arguments.clone(), &into).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        Self { heard, task }
    }

    /// How many messages have come.
    pub fn count(&self) -> usize {
        self.heard.lock().unwrap().len()
    }

    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// Waits for so many messages.
    pub async fn hears(&self, count: usize) -> Vec<Heard> {
        until("messages", || async {
            let heard = self.heard();
            (heard.len() >= count).then_some(heard)
        })
        .await
    }

    /// Waits until every position up to this one has been heard.
    pub async fn hears_all(&self, head: i64, patience: Duration) -> Vec<Heard> {
        let whole = async {
            loop {
                let heard = self.heard();
                let positions: std::collections::BTreeSet<i64> =
                    heard.iter().map(|one| one.number("position")).collect();
                if (1..=head).all(|position| positions.contains(&position)) {
                    return heard;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(patience.max(LONG), whole)
            .await
            .unwrap_or_else(|_| {
                let positions: std::collections::BTreeSet<i64> =
                    self.heard().iter().map(|one| one.number("position")).collect();
                let missing: Vec<i64> = (1..=head)
                    .filter(|position| !positions.contains(position))
                    .take(10)
                    .collect();
                panic!(
                    "of {head} positions {} were heard; missing: {missing:?}",
                    positions.len()
                )
            })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(url: &str, queue: &str, arguments: FieldTable, into: &Mutex<Vec<Heard>>) -> lapin::Result<()> {
    let connection = connect(url).await?;
    let channel = connection.create_channel().await?;
    channel.basic_qos(500, BasicQosOptions::default()).await?;
    let consuming = channel.basic_consume(queue.into(), "test".into(), BasicConsumeOptions::default(), arguments);
    let mut consumer = consuming.await?;
    while let Some(delivery) = consumer.next().await {
        let delivery = delivery?;
        into.lock().unwrap().push(Heard {
            exchange: delivery.exchange.to_string(),
            routing_key: delivery.routing_key.to_string(),
            properties: delivery.properties.clone(),
            body: delivery.data.clone(),
        });
        delivery.ack(BasicAckOptions::default()).await?;
    }
    Ok(())
}
