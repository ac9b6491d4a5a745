//! Where a service keeps its things: a folder, and on PostgreSQL a database of its own.

use std::path::Path;
use std::process::{Command, Stdio};
use std::str::FromStr as _;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions as _, Connection as _};
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{Engine, Log};

/// How many databases of the server are in use at a time: its connections are shared with others.
static DATABASES: Semaphore = Semaphore::const_new(3);

/// A folder and, on PostgreSQL, a database; both gone when this is dropped.
pub struct Place {
    folder: TempDir,
    database: Option<Database>,
}

struct Database {
    name: String,
    /// The port of a wire to the server, if there is one in between.
    through: Option<u16>,
    /// The password in its URL. The server of the tests asks for none.
    password: Option<&'static str>,
    _in_use: SemaphorePermit<'static>,
}

impl Place {
    pub async fn new(engine: Engine) -> Self {
        let database = match engine {
            Engine::Sqlite => None,
            Engine::Postgres => Some(Database::new().await),
        };
        Self {
            folder: tempfile::tempdir().unwrap(),
            database,
        }
    }

    /// What `--data-dir` names.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The program with one of its verbs, at this place and with nothing of the environment's own settings.
    pub fn program(&self, verb: &[&str], settings: &[(&str, &str)]) -> Command {
        self.program_in(self.folder(), verb, settings)
    }

    /// The same in another folder: a second process that shares the database only.
    pub fn program_in(&self, folder: &Path, verb: &[&str], settings: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_user-registry"));
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("REGISTRY__")
                || ["DATABASE_URL", "AMQP_URL", "SMTP_URL", "RUST_LOG"].contains(&text.as_ref())
            {
                command.env_remove(&name);
            }
        }
        command
            .args(verb)
            .arg("--data-dir")
            .arg(folder)
            .current_dir(folder)
            .stdin(Stdio::null())
            .env("REGISTRY__LIMITS__ENABLED", "false")
            .env("REGISTRY__STORE__CONNECTIONS", "6")
            // What is asked here is what happens, not how soon: a busy machine must not answer for the service.
            .env("REGISTRY__PASSWORDS__QUEUE", "1000")
            .env("REGISTRY__PASSWORDS__WAIT_MS", "60000")
            .envs(settings.iter().copied());
        if let Some(database) = &self.database {
            command.arg("--database-url").arg(database.url());
        }
        command
    }

    /// Runs a verb to its end. Standard output, if it succeeded.
    pub async fn run(&self, verb: &[&str], input: &str) -> Result<String, String> {
        self.run_with(verb, &[], input).await
    }

    /// The same with settings.
    pub async fn run_with(&self, verb: &[&str], settings: &[(&str, &str)], input: &str) -> Result<String, String> {
        use std::io::Write as _;
        let mut command = self.program(verb, settings);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let input = input.to_owned();
        let output = tokio::task::spawn_blocking(move || {
            let mut child = command.spawn().unwrap();
            // A verb that asks for nothing may be gone before it is told anything.
            let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
            child.wait_with_output().unwrap()
        })
        .await
        .unwrap();
        let (said, complained) = (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        );
        if output.status.success() {
            Ok(said)
        } else {
            Err(format!("{verb:?}: {}\n{said}{complained}", output.status))
        }
    }

    /// Host and port of the server that the database is on.
    pub fn database_server() -> (String, u16) {
        (server().get_host().to_owned(), server().get_port())
    }

    /// Lets what is started from now on reach the database by another port of this machine.
    pub fn through(&mut self, port: u16) {
        if let Some(database) = &mut self.database {
            database.through = Some(port);
        }
    }

    /// Lets what is started from now on name a password in the URL of the database.
    pub fn password(&mut self, password: &'static str) {
        if let Some(database) = &mut self.database {
            database.password = Some(password);
        }
    }

    /// What is in the database.
    pub async fn log(&self) -> Log {
        if let Some(database) = &self.database {
            return Log::Postgres(server().database(&database.name).connect().await.unwrap());
        }
        let file = self.folder().join("registry.db");
        let options = sqlx::sqlite::SqliteConnectOptions::new()
            .filename(file)
            .busy_timeout(super::LONG);
        Log::Sqlite(options.connect().await.unwrap())
    }

    /// The `PostgreSQL` database of this place.
    pub fn database_url(&self) -> Option<String> {
        self.database.as_ref().map(Database::url)
    }
}

impl Database {
    async fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let in_use = DATABASES.acquire().await.unwrap();
        let name = format!(
            "registry_api_{}_{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::SeqCst)
        );
        administer(format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'"));
        Self {
            name,
            through: None,
            password: None,
            _in_use: in_use,
        }
    }

    fn url(&self) -> String {
        let mut server = server().database(&self.name);
        if let Some(port) = self.through {
            server = server.host("127.0.0.1").port(port);
        }
        if let Some(password) = self.password {
            server = server.password(password);
        }
        server.to_url_lossy().to_string()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        administer(format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
    }
}

fn server() -> PgConnectOptions {
    let url =
        std::env::var("TEST_DATABASE_URL").unwrap_or_else(|_| "postgres://postgres@127.0.0.1:5432/postgres".to_owned());
    PgConnectOptions::from_str(&url)
        .unwrap_or_else(|_| panic!("TEST_DATABASE_URL is not a PostgreSQL URL"))
        .ssl_mode(PgSslMode::Disable)
}

/// Runs one statement on the server, on a thread of its own: a guard that is dropped cannot wait.
fn administer(sql: String) {
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let server = server();
            let mut connection = server.connect().await.unwrap_or_else(|problem| {
                panic!(
                    "these tests need PostgreSQL, and {}:{} does not answer ({problem}): start one, name another in \
                     TEST_DATABASE_URL, or let tests/run provide it",
                    server.get_host(),
                    server.get_port()
                )
            });
            sqlx::query(&sql)
                .execute(&mut connection)
                .await
                .unwrap_or_else(|problem| panic!("{sql}: {problem}"));
            connection.close().await.unwrap();
        });
    };
    let done = std::thread::spawn(work).join();
    if let Err(panic) = done
        && !std::thread::panicking()
    {
        std::panic::resume_unwind(panic);
    }
}
