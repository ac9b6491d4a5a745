//! What a broker carries, and what becomes of it when there is trouble.
//!
//! The broker is that of `TEST_AMQP_URL`; every test has an exchange of its own on it. Those that stop a broker start
//! one.

mod carried;
mod chaos;
mod every_kind;
mod ranges;
mod trouble;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc;

use crate::harness::{Client, Place, Rabbit, soon, until};

/// What a service needs to publish to a test's own exchange.
fn settings(rabbit: &Rabbit, url: &str) -> Vec<(String, String)> {
    vec![
        ("AMQP_URL".to_owned(), url.to_owned()),
        ("REGISTRY__AMQP__EXCHANGE".to_owned(), rabbit.exchange().to_owned()),
        (
            "REGISTRY__AMQP__REPLAY_EXCHANGE".to_owned(),
            format!("{}.replay", rabbit.exchange()),
        ),
    ]
}

fn borrowed(settings: &[(String, String)]) -> Vec<(&str, &str)> {
    settings.iter().map(|(name, value)| (&**name, &**value)).collect()
}

/// `publish` under way: killed when dropped.
struct Republishing {
    child: Child,
    said: mpsc::UnboundedReceiver<String>,
}

impl Republishing {
    fn start(place: &Place, from: i64, to: i64, settings: &[(&str, &str)]) -> Self {
        let verb = ["publish", "--from", &from.to_string(), "--to", &to.to_string()];
        let mut command = place.program(&verb, settings);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (tell, said) = mpsc::unbounded_channel();
        let complaints = child.stderr.take().unwrap();
        pass_on(child.stdout.take().unwrap(), tell.clone());
        pass_on(complaints, tell);
        Self { child, said }
    }

    /// The next line it says that holds these words.
    async fn says(&mut self, words: &str) -> String {
        soon(words, async {
            loop {
                let line = self
                    .said
                    .recv()
                    .await
                    .unwrap_or_else(|| panic!("it ended before it said {words:?}"));
                if line.contains(words) {
                    return line;
                }
            }
        })
        .await
    }

    /// `kill -TERM`.
    fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// Waits until it has ended by itself; its exit code.
    async fn end(mut self) -> Option<i32> {
        let child = std::sync::Mutex::new(&mut self.child);
        let status = until("the end of the publishing", || async {
            child.lock().unwrap().try_wait().unwrap()
        });
        status.await.code()
    }

    /// `kill -9`, unless it has ended.
    fn kill(mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "it has ended by itself");
    }
}

/// Reads it to its end: a full pipe would stop the program.
fn pass_on(said: impl std::io::Read + Send + 'static, tell: mpsc::UnboundedSender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(said).lines().map_while(Result::ok) {
            let _ = tell.send(line);
        }
    });
}

impl Drop for Republishing {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The value of a metric of an exchange; 0 if there is none.
async fn metric(client: &Client, name: &str, exchange: &str) -> i64 {
    let metrics = client.get("/metrics").send().await.body;
    let start = format!("{name}{{exchange=\"{exchange}\"}} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&start));
    value.map_or(0, |value| value.parse().unwrap())
}
