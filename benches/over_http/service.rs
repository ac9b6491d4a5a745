//! The program, in a process of its own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::client::Connection;
use crate::place::Place;

/// A password that every account may have.
pub const PASSWORD: &str = "seven green goats on a hill";

/// A process that listens. Ended when dropped.
pub struct Process {
    child: Child,
    /// `HOST:PORT`.
    pub address: String,
    /// From its start to its line.
    pub ready: Duration,
}

impl Process {
    /// Starts a program that says where it listens.
    pub fn start(mut command: Command) -> Result<Self> {
        let started = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let line = lines.next().context("it ended before it listened")??;
        let ready = started.elapsed();
        let address = line
            .strip_prefix("listening on http://")
            .context("it says something else")?;
        Ok(Self {
            address: address.to_owned(),
            child,
            ready,
        })
    }

    /// The service over a place.
    pub fn service(place: &Place) -> Result<Self> {
        Self::service_with(place, &[])
    }

    /// The same with settings, each under its name in the environment.
    pub fn service_with(place: &Place, settings: &[(&str, &str)]) -> Result<Self> {
        let mut command = program(place)?;
        command
            .args(["serve", "--listen", "127.0.0.1:0"])
            .envs(settings.iter().copied());
        Self::start(command)
    }

    /// Megabytes it holds.
    pub fn resident_mb(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line
            .and_then(|line| line.split_whitespace().next())
            .context("no VmRSS")?;
        Ok(kib.parse::<f64>()? / 1024.0)
    }
}

impl Process {
    /// How long it has computed so far.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // Its name, in brackets, may hold blanks.
        let (_, fields) = stat.rsplit_once(')').context("no stat")?;
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks = ticks.map(str::parse::<f64>).sum::<Result<f64, _>>()?;
        // Linux counts them in hundredths for whoever asks.
        Ok(ticks / 100.0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program(place: &Place) -> Result<Command> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_user-registry"));
    command
        .env_clear()
        .env("REGISTRY__LIMITS__ENABLED", "false")
        .env("REGISTRY__LOG__LEVEL", "warn")
        .current_dir(place.folder.path())
        .arg("--data-dir")
        .arg(place.folder.path());
    if let Some(url) = place.url()? {
        command.env("DATABASE_URL", url);
    }
    Ok(command)
}

/// An administrator, signed in.
pub async fn administrator(place: &Place, service: &Process) -> Result<String> {
    let mut child = program(place)?
        .args([
            "admin",
            "create",
            "--email",
            "boss@registry.example",
            "--username",
            "boss",
        ])
        .arg("--password-stdin")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    child.stdin.take().context("no input")?.write_all(PASSWORD.as_bytes())?;
    ensure!(child.wait()?.success(), "no administrator was made");
    sign_in(&mut Connection::open(&service.address).await?, "boss").await
}

/// Signs somebody in. The access token.
pub async fn sign_in(connection: &mut Connection, name: &str) -> Result<String> {
    let body = json!({ "identifier": name, "password": PASSWORD });
    let answer = connection
        .post("/v1/sessions", None, &body)
        .await?
        .expect(201)?
        .json()?;
    Ok(answer["access_token"].as_str().context("no token")?.to_owned())
}

/// Registers somebody with a name only. Their id.
pub async fn register(connection: &mut Connection, name: &str) -> Result<String> {
    let body = json!({ "username": name, "password": PASSWORD });
    let answer = connection
        .command("register-user", None, &body)
        .await?
        .expect(201)?
        .json()?;
    Ok(answer["id"].as_str().context("no id")?.to_owned())
}
