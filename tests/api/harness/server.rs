//! One process that serves.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{Client, LONG, Place, until};

/// A serving process; killed when dropped.
pub struct Server {
    child: Child,
    base: String,
    log: PathBuf,
    /// How long it took from its start until it said where it listens.
    pub ready_after: Duration,
}

impl Server {
    /// Starts one at a place and waits until it listens.
    pub async fn start(place: &Place, settings: &[(&str, &str)]) -> Self {
        Self::start_in(place, place.folder(), settings).await
    }

    /// The same with a folder of its own: a replica that shares the database only.
    pub async fn start_in(place: &Place, folder: &Path, settings: &[(&str, &str)]) -> Self {
        let started = Instant::now();
        let log = folder.join(format!("log-{:x}", serial()));
        let mut child = place
            .program_in(folder, &["serve", "--listen", "127.0.0.1:0"], settings)
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (told, listening) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let mut told = Some(told);
            // Read to the end: a full pipe would stop the service.
            for line in lines.map_while(Result::ok) {
                if let (Some(base), true) = (line.strip_prefix("listening on "), told.is_some()) {
                    let _ = told.take().unwrap().send(base.to_owned());
                }
            }
        });
        let base = match tokio::time::timeout(LONG, listening).await {
            Ok(Ok(base)) => base,
            Ok(Err(_)) => {
                let end = child.wait().unwrap();
                panic!(
                    "the service ended ({end}) before it listened:\n{}",
                    std::fs::read_to_string(&log).unwrap()
                );
            }
            Err(_) => {
                let _ = child.kill();
                panic!(
                    "the service does not listen:\n{}",
                    std::fs::read_to_string(&log).unwrap()
                );
            }
        };
        Self {
            child,
            base,
            log,
            ready_after: started.elapsed(),
        }
    }

    /// A client of this process.
    pub fn client(&self) -> Client {
        Client::new(&self.base)
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        self.base.strip_prefix("http://").unwrap()
    }

    /// `http://127.0.0.1:PORT`.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to its log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// `kill -TERM`.
    pub fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// Waits until it has ended by itself; its exit code.
    pub async fn end(mut self) -> Option<i32> {
        let child = std::sync::Mutex::new(&mut self.child);
        let status = until("the end of the service", || async {
            child.lock().unwrap().try_wait().unwrap()
        })
        .await;
        status.code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            eprintln!("--- log of {} ---\n{log}---", self.base);
        }
    }
}

/// A number no other process of this folder has in its log's name.
fn serial() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    COUNT.fetch_add(1, Ordering::SeqCst)
}
