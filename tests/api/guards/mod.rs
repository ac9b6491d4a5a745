//! What keeps the service up and its accounts closed: connections, rates, tries, messages.

mod connections;
mod messages;
mod origins;
mod outages;
mod pages;
mod rates;
mod strict;
mod tries;

use crate::harness::App;

/// Limits as they are in operation; the other tests run without them.
const ON: (&str, &str) = ("REGISTRY__LIMITS__ENABLED", "true");
/// Rates of single addresses that no test here means.
const WIDE: [(&str, &str); 5] = [
    ON,
    ("REGISTRY__LIMITS__SIGN_INS_PER_MINUTE", "100000"),
    ("REGISTRY__LIMITS__REGISTRATIONS_PER_HOUR", "100000"),
    ("REGISTRY__LIMITS__MESSAGES_PER_HOUR", "100000"),
    ("REGISTRY__HTTP__CONNECTIONS_PER_IP", "1000"),
];

/// How many events of a type there are.
async fn events(app: &App, kind: &str) -> i64 {
    app.log().await.count("events", &format!("event_type = '{kind}'")).await
}
