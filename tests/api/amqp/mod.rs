//! What a broker carries, and what becomes of it when there is trouble.
//!
//! The broker is that of `TEST_AMQP_URL`; every test has an exchange of its own on it. Those that stop a broker start
//! one.

mod carried;
mod chaos;
mod every_kind;
mod trouble;

use crate::harness::{Client, Rabbit};

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

/// The value of a metric of an exchange; 0 if there is none.
async fn metric(client: &Client, name: &str, exchange: &str) -> i64 {
    let metrics = client.get("/metrics").send().await.body;
    let start = format!("{name}{{exchange=\"{exchange}\"}} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&start));
    value.map_or(0, |value| value.parse().unwrap())
}
