//! The command that prints the master key, run so that nobody but its caller waits for it.
//!
//! It runs in a thread of its own, once at a time, and not for ever. What it said last is believed for a while: a row that
//! no master opens asks for it at every look, and a command that fails must not be run at each of them.

use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, oneshot};
use zeroize::Zeroizing;

use crate::keys::{MasterError, MasterKey};

/// How long the answer of a command is believed. After failures in a row it is twice as long each time.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// How often to look whether a command has ended.
const LOOK: Duration = Duration::from_millis(5);
/// More than a key and the blanks around it.
const BYTES: u64 = 4_096;

/// The runs of one process.
#[derive(Clone, Default)]
pub(super) struct Runs(Arc<Mutex<Option<Run>>>);

/// The last one.
struct Run {
    said: Result<MasterKey, String>,
    until: Instant,
    pause: Duration,
}

impl Runs {
    /// The key that the command prints, or printed a moment ago. Whoever stops waiting does not stop it.
    pub async fn told(&self, command: &str, patience: Duration) -> Result<MasterKey, MasterError> {
        let (last, command) = (Arc::clone(&self.0), command.to_owned());
        let run = tokio::spawn(async move {
            let mut last = last.lock_owned().await;
            if let Some(run) = last.as_ref().filter(|run| Instant::now() < run.until) {
                return run.said.clone();
            }
            let said = in_a_thread(command, patience).await;
            let before = last.as_ref().filter(|run| run.said.is_err()).map(|run| run.pause);
            let pause = match (&said, before) {
                (Err(_), Some(before)) => (before * 2).min(LONGEST_PAUSE),
                _ => PAUSE,
            };
            *last = Some(Run {
                said: said.clone(),
                until: Instant::now() + pause,
                pause,
            });
            said
        });
        let said = run.await.unwrap_or_else(|problem| Err(problem.to_string()));
        said.map_err(MasterError::Command)
    }
}

/// Not among the blocking tasks of the runtime: it would wait for them when it ends.
async fn in_a_thread(command: String, patience: Duration) -> Result<MasterKey, String> {
    let (answer, said) = oneshot::channel();
    std::thread::Builder::new()
        .name("master-command".to_owned())
        .spawn(move || {
            // Nobody may wait for it any more.
            let _ = answer.send(run(&command, patience));
        })
        .map_err(|problem| problem.to_string())?;
    said.await.unwrap_or_else(|problem| Err(problem.to_string()))
}

fn run(command: &str, patience: Duration) -> Result<MasterKey, String> {
    let until = Instant::now() + patience;
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|problem| problem.to_string())?;
    let said = heard(&mut child, until);
    if said.is_err() {
        // It may have ended since; otherwise nobody waits for what it still says.
        let _ = child.kill();
    }
    let status = child.wait().map_err(|problem| problem.to_string());
    let said = said?;
    let status = status?;
    if !status.success() {
        return Err(status.to_string());
    }
    MasterKey::parse(&String::from_utf8_lossy(&said)).map_err(|problem| problem.to_string())
}

/// What it says until it ends; an error if it does not end in time.
fn heard(child: &mut Child, until: Instant) -> Result<Zeroizing<Vec<u8>>, String> {
    let late = || "it did not end in time".to_owned();
    let mut out = child.stdout.take().ok_or("it has no output")?.take(BYTES);
    let (tell, hear) = mpsc::channel();
    // A program that it left behind may hold its output open for ever.
    std::thread::Builder::new()
        .name("master-output".to_owned())
        .spawn(move || {
            let mut said = Zeroizing::new(Vec::new());
            let read = out.read_to_end(&mut said);
            let _ = tell.send(read.map(|_| said));
        })
        .map_err(|problem| problem.to_string())?;
    while child.try_wait().map_err(|problem| problem.to_string())?.is_none() {
        if Instant::now() >= until {
            return Err(late());
        }
        std::thread::sleep(LOOK);
    }
    let left = until.saturating_duration_since(Instant::now());
    hear.recv_timeout(left)
        .map_err(|_| late())?
        .map_err(|problem| problem.to_string())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    fn failure(said: Result<MasterKey, MasterError>) -> String {
        said.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn what_the_command_prints_is_the_key() {
        let text = "ab".repeat(32);
        let key = Runs::default()
            .told(&format!("echo; echo ' {text}'"), LONG)
            .await
            .unwrap();
        assert_eq!(key.id(), MasterKey::parse(&text).unwrap().id());
        for (command, why) in [
            (format!("echo {text}; exit 3"), "exit status: 3"),
            ("yes".to_owned(), "64 hexadecimal digits"),
            ("true".to_owned(), "64 hexadecimal digits"),
        ] {
            let said = failure(Runs::default().told(&command, LONG).await);
            assert!(
                said.contains("keys.master_command") && (said.contains(why) || command == "yes"),
                "{said}"
            );
        }
    }

    /// On a runtime of one thread: whoever blocked it would keep the others waiting.
    #[tokio::test]
    async fn a_command_that_hangs_keeps_nobody_else_waiting_and_is_given_up() {
        let runs = Runs::default();
        let begun = Instant::now();
        let hanging = runs.told("sleep 20", Duration::from_millis(300));
        let others = async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            begun.elapsed()
        };
        let (said, others) = tokio::join!(hanging, others);
        assert!(failure(said).contains("in time"));
        assert!(others < Duration::from_millis(300), "{others:?}");
        // What it left behind holds its output, and does not hold us.
        let said = Runs::default()
            .told("sleep 5 & exit 0", Duration::from_millis(300))
            .await;
        assert!(failure(said).contains("in time"));
    }

    #[tokio::test]
    async fn many_who_ask_at_once_run_it_once() {
        let folder = tempfile::tempdir().unwrap();
        let times = folder.path().join("times");
        let command = format!("echo run >> {}; sleep 0.05; exit 1", times.display());
        let runs = Runs::default();
        let asked = (0..20).map(|_| runs.told(&command, LONG));
        for said in futures::future::join_all(asked).await {
            assert!(failure(said).contains("exit status: 1"));
        }
        assert_eq!(std::fs::read_to_string(&times).unwrap().lines().count(), 1);
        // After its pause it is run again, and the next pause is longer.
        runs.0.lock().await.as_mut().unwrap().until = Instant::now();
        assert!(runs.told(&command, LONG).await.is_err());
        assert_eq!(runs.0.lock().await.as_ref().unwrap().pause, PAUSE * 2);
        assert_eq!(std::fs::read_to_string(&times).unwrap().lines().count(), 2);
    }
}
