//! A place for one store, and the program run in it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use tempfile::TempDir;

use crate::dump::{self, Dump};

#[path = "../api/harness/contract.rs"]
mod contract;

/// Nobody waits longer for anything.
const PATIENCE: Duration = Duration::from_mins(1);

pub const PASSWORD: &str = "violet kettle tuesday";

/// Where one test's store lives. Gone when dropped.
pub struct Place {
    folder: TempDir,
    database: Option<Database>,
}

/// An answer, read whole.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Reply {
    /// A header's text; empty if it is not there.
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// How the program ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub took: Duration,
    pub stdout: String,
    pub stderr: String,
}

impl Place {
    /// Nothing but a folder: SQLite.
    pub fn sqlite() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            database: None,
        }
    }

    /// A PostgreSQL database of its own.
    pub fn postgres() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            database: Some(Database::create()),
        }
    }

    /// The `--data-dir`. The program makes it.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A file beside the data folder.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The program with an environment of its own. Everybody may read what a careless program writes.
    fn command(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
        let mut command = Command::new("sh");
        command
            .args([
                "-c",
                "umask 000; exec \"$0\" \"$@\"",
                env!("CARGO_BIN_EXE_user-registry"),
            ])
            .args(arguments)
            .arg("--data-dir")
            .arg(self.data())
            .current_dir(self.folder.path())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for name in ["PATH", "LLVM_PROFILE_FILE"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        if let Some(database) = &self.database {
            command.env("DATABASE_URL", database.url());
        }
        command.envs(environment.iter().copied());
        command
    }

    /// Runs a verb to its end.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        self.run_with(arguments, &[], "")
    }

    /// Runs a verb to its end, with an environment and something to read.
    pub fn run_with(&self, arguments: &[&str], environment: &[(&str, &str)], input: &str) -> Ended {
        let mut child = self
            .command(arguments, environment)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        // It may end without reading.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        Server::of(child).wait()
    }

    /// Starts a verb and lets it run.
    pub fn begin(&self, arguments: &[&str]) -> Server {
        self.begin_with(arguments, &[])
    }

    /// The same with an environment.
    pub fn begin_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Server {
        Server::of(self.command(arguments, environment).spawn().unwrap())
    }

    /// Starts the service; it may not be ready yet.
    pub fn spawn(&self, environment: &[(&str, &str)]) -> Server {
        Server::of(
            self.command(&["serve", "--listen", "127.0.0.1:0"], environment)
                .spawn()
                .unwrap(),
        )
    }

    /// Starts the service and waits for its line.
    pub fn start(&self) -> Server {
        self.start_with(&[])
    }

    /// The same with settings, each under its name in the environment.
    pub fn start_with(&self, environment: &[(&str, &str)]) -> Server {
        let mut server = self.spawn(environment);
        server.ready();
        server
    }

    /// Changes something behind the program's back.
    pub fn sql(&self, statement: &str) -> u64 {
        block_on(async {
            if let Some(database) = &self.database {
                let mut connection = database.options().connect().await.unwrap();
                return sqlx::query(statement)
                    .execute(&mut connection)
                    .await
                    .unwrap()
                    .rows_affected();
            }
            let file = self.data().join("registry.db");
            let mut connection = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
            let done = sqlx::query(statement).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
            done.rows_affected()
        })
    }

    /// Asks the database for a number.
    pub fn number(&self, statement: &str) -> i64 {
        block_on(async {
            if let Some(database) = &self.database {
                let mut connection = database.options().connect().await.unwrap();
                return sqlx::query_scalar(statement).fetch_one(&mut connection).await.unwrap();
            }
            let file = self.data().join("registry.db");
            let mut connection = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
            let number = sqlx::query_scalar(statement).fetch_one(&mut connection).await.unwrap();
            connection.close().await.unwrap();
            number
        })
    }

    /// Makes a copy of the database, which nobody may be using.
    pub fn back_up(&self) {
        match &self.database {
            Some(Database(name)) => {
                let backup = self.database.as_ref().map(Database::backup).unwrap();
                execute_on_server(&format!("CREATE DATABASE {backup} TEMPLATE {name}"));
            }
            None => {
                std::fs::copy(self.data().join("registry.db"), self.folder.path().join("backup.db")).unwrap();
            }
        }
    }

    /// Puts the copy in the place of the database.
    pub fn restore(&self) {
        if let Some(database) = &self.database {
            let (name, backup) = (&database.0, database.backup());
            execute_on_server(&format!("DROP DATABASE {name} WITH (FORCE)"));
            execute_on_server(&format!("CREATE DATABASE {name} TEMPLATE {backup}"));
        } else {
            std::fs::copy(self.folder.path().join("backup.db"), self.data().join("registry.db")).unwrap();
        }
    }

    /// Everything that is kept, but for mails and short messages: what was sent is its receiver's.
    pub fn everything(&self) -> Dump {
        let mut all = dump::folder(&self.data(), &["outbox"]);
        if let Some(database) = &self.database {
            let rows = block_on(dump::postgres(&database.url()));
            all.by = rows.by;
            all.bytes.extend(rows.bytes);
        }
        all
    }

    /// As the program calls it.
    pub fn engine(&self) -> &'static str {
        if self.database.is_some() { "postgres" } else { "sqlite" }
    }

    /// Whether a name out of [`permissions`](Self::permissions) is a folder.
    pub fn is_folder(&self, name: &str) -> bool {
        self.folder.path().join(name).is_dir()
    }

    /// Every file and folder below the data folder with its permissions, the data folder first.
    pub fn permissions(&self) -> Vec<(String, u32)> {
        let mut found = Vec::new();
        walk(&self.data(), &mut |path| {
            let name = path.strip_prefix(self.folder.path()).unwrap().display().to_string();
            found.push((
                name,
                std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777,
            ));
        });
        found
    }

    /// The mails written so far.
    pub fn mails(&self) -> Vec<String> {
        let mut mails = Vec::new();
        walk(&self.data().join("outbox/mail"), &mut |path| {
            if path.extension().is_some_and(|ending| ending == "eml") {
                mails.push(std::fs::read_to_string(path).unwrap());
            }
        });
        mails
    }
}

fn walk(path: &Path, see: &mut dyn FnMut(&Path)) {
    see(path);
    if path.is_dir() {
        let mut inside: Vec<_> = std::fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        inside.sort();
        for path in &inside {
            walk(path, see);
        }
    }
}

/// A running program. Killed when dropped.
pub struct Server {
    child: Child,
    address: Option<SocketAddr>,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

impl Server {
    fn of(mut child: Child) -> Self {
        let (stdout, stderr) = (lines(child.stdout.take().unwrap()), lines(child.stderr.take().unwrap()));
        Self {
            child,
            address: None,
            stdout,
            stderr,
        }
    }

    /// Waits for the one line that says where it listens.
    pub fn ready(&mut self) {
        let Ok(line) = self.stdout.recv_timeout(PATIENCE) else {
            panic!(
                "it did not get ready: {}",
                self.stderr.try_iter().collect::<Vec<_>>().join("\n")
            );
        };
        let address = line
            .strip_prefix("listening on http://")
            .unwrap_or_else(|| panic!("{line}"));
        self.address = Some(address.parse().unwrap());
    }

    pub fn address(&self) -> SocketAddr {
        self.address.unwrap()
    }

    /// The next line on standard output.
    pub fn said(&self) -> String {
        self.stdout.recv_timeout(PATIENCE).unwrap()
    }

    /// The next line on standard error that contains this.
    pub fn told(&self, part: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self
                .stderr
                .recv_timeout(left)
                .unwrap_or_else(|_| panic!("nothing was told of {part}"));
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Posts JSON. Gives the status and the answer.
    pub fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send(Method::POST, path, |request| request.json(body))
    }

    /// The same as somebody.
    pub fn post_as(&self, path: &str, body: &Value, token: &str) -> (u16, Value) {
        self.send(Method::POST, path, |request| request.bearer_auth(token).json(body))
    }

    /// The same with headers, as somebody or nobody.
    pub fn post_from(&self, headers: &[(&str, &str)], path: &str, body: &Value, token: Option<&str>) -> (u16, Value) {
        self.send(Method::POST, path, |request| {
            let request = headers
                .iter()
                .fold(request, |request, (name, value)| request.header(*name, *value));
            match token {
                Some(token) => request.bearer_auth(token).json(body),
                None => request.json(body),
            }
        })
    }

    /// Reads as anybody. Gives the status and the answer.
    pub fn read(&self, path: &str) -> (u16, Value) {
        self.send(Method::GET, path, |request| request)
    }

    /// Reads as somebody. Gives the status and the answer.
    pub fn get(&self, path: &str, token: &str) -> (u16, Value) {
        self.send(Method::GET, path, |request| request.bearer_auth(token))
    }

    /// Sends it. The answer must be one that the document of the API promises.
    fn send(&self, method: Method, path: &str, with: impl FnOnce(RequestBuilder) -> RequestBuilder) -> (u16, Value) {
        // It may have been installed by another test.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = format!("http://{}{path}", self.address());
        block_on(async {
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let request = with(client.request(method, url)).build().unwrap();
            let sent = request.try_clone().unwrap();
            let response = client.execute(request).await.unwrap();
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let body = response.text().await.unwrap();
            let reply = Reply { status, headers, body };
            let content = sent.body().and_then(reqwest::Body::as_bytes);
            if let Some(violation) = contract::violation(&sent, content, &reply) {
                panic!(
                    "{} {path} does not keep to /openapi.json: {violation}\n{reply:?}",
                    sent.method()
                );
            }
            (status, serde_json::from_str(&reply.body).unwrap_or_default())
        })
    }

    /// A request that never ends: its body is announced and does not come.
    pub fn hold_a_request(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.address()).unwrap();
        let head = "POST /v1/commands/register-user HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n\
                    Content-Length: 100\r\n\r\n{";
        stream.write_all(head.as_bytes()).unwrap();
        // An answer to a whole request on another connection shows that this one has been accepted by now.
        self.post("/v1/commands/no-such-command", &Value::Null);
        stream
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Asks it to end and waits until it has.
    pub fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        self.wait()
    }

    pub fn wait(mut self) -> Ended {
        let started = Instant::now();
        let status = eventually(|| self.child.try_wait().unwrap());
        let took = started.elapsed();
        let text = |lines: &Receiver<String>| lines.iter().map(|line| line + "\n").collect();
        Ended {
            code: status.code(),
            took,
            stdout: text(&self.stdout),
            stderr: text(&self.stderr),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a stream says, line by line, until it is closed.
fn lines(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        BufReader::new(stream)
            .lines()
            .map_while(Result::ok)
            .all(|line| sender.send(line).is_ok())
    });
    receiver
}

/// Looks again and again until there is something to see.
pub fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < until, "it did not happen in {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A database on the test server. Gone when dropped.
struct Database(String);

impl Database {
    fn create() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let name = format!("registry_cli_{}_{number}", std::process::id());
        execute_on_server(&format!("CREATE DATABASE {name}"));
        Self(name)
    }

    fn options(&self) -> PgConnectOptions {
        server().parse::<PgConnectOptions>().unwrap().database(&self.0)
    }

    /// The server's URL with this database in it.
    fn url(&self) -> String {
        dump::url_of(&server(), &self.0)
    }

    /// The name of its copy.
    fn backup(&self) -> String {
        format!("{}_backup", self.0)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        execute_on_server(&format!("DROP DATABASE {} WITH (FORCE)", self.0));
        execute_on_server(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.backup()));
    }
}

fn server() -> String {
    std::env::var("TEST_DATABASE_URL").unwrap_or_else(|_| "postgres://postgres@127.0.0.1:5432/postgres".to_owned())
}

fn execute_on_server(statement: &str) {
    block_on(async {
        let mut connection = PgConnection::connect(&server()).await.unwrap();
        sqlx::query(statement).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    });
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}
