//! What a broker carries, and what becomes of it when there is trouble.
//!
//! The broker is that of `TEST_AMQP_URL`; every test has an exchange of its own on it. Those that stop a broker start
//! one.

mod carried;
mod chaos;
mod every_kind;
mod trouble;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use tokio::sync::mpsc;

use crate::harness::{Client, Place, Rabbit, soon};

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
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (tell, said) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            lines.map_while(Result::ok).all(|line| tell.send(line).is_ok());
        });
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

    /// `kill -9`, unless it has ended.
    fn kill(mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "it has ended by itself");
    }
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
