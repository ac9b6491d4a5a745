//! Every metric there is, with what it means: what `/metrics` says of each, and the README.

use metrics::{describe_counter, describe_gauge, describe_histogram};

/// How a metric is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// It is counted in buckets.
    Histogram,
}
use Kind::{Counter, Gauge, Histogram};

const METRICS: &[(&str, Kind, &str)] = &[
    (
        "registry_http_requests_total",
        Counter,
        "Requests by method, route and status.",
    ),
    (
        "registry_http_request_seconds",
        Histogram,
        "From a request's head to its answer, by method and route.",
    ),
    (
        "registry_refusals_total",
        Counter,
        "Requests that were refused, by the rule that refused them.",
    ),
    (
        "registry_panics_total",
        Counter,
        "Handlers that panicked: each is a fault of ours.",
    ),
    (
        "registry_connections_refused_total",
        Counter,
        "Connections refused because too many were open, in all or of one address.",
    ),
    (
        "registry_connections_displaced_total",
        Counter,
        "Connections closed to make room for others.",
    ),
    (
        "registry_connections_late_total",
        Counter,
        "Connections closed because a request came too slowly, or none came, or an answer was taken too slowly.",
    ),
    ("registry_requests_limited_total", Counter, "Requests answered 429."),
    (
        "registry_requests_unreadable_total",
        Counter,
        "Requests that were no HTTP, or whose head was too large.",
    ),
    ("registry_append_seconds", Histogram, "One transaction of the log."),
    (
        "registry_append_batch_commands",
        Histogram,
        "Commands that one transaction of the log carried.",
    ),
    (
        "registry_append_events_total",
        Counter,
        "Events written by this process.",
    ),
    (
        "registry_append_conflicts_total",
        Counter,
        "Commands that lost: stale, taken, or a key used before.",
    ),
    (
        "registry_append_unknown_outcomes_total",
        Counter,
        "Commits whose answer was lost and whose outcome was looked up.",
    ),
    ("registry_hash_seconds", Histogram, "One password hash."),
    ("registry_hash_queue_depth", Gauge, "Passwords that wait to be hashed."),
    (
        "registry_hash_refused_total",
        Counter,
        "Passwords sent away unhashed, by why.",
    ),
    (
        "registry_tries_locked_total",
        Counter,
        "Tries at passwords that were not compared because of failures before.",
    ),
    (
        "registry_messages_withheld_total",
        Counter,
        "Messages that were asked for and not sent, by the limit that stood against them.",
    ),
    (
        "registry_follower_lag_events",
        Gauge,
        "Events that a follower is not done with.",
    ),
    (
        "registry_follower_lag_seconds",
        Gauge,
        "For how long the first of them has been in the log.",
    ),
    (
        "registry_follower_stopped",
        Gauge,
        "1 while a follower stands at an event that it could not handle.",
    ),
    ("registry_feed_streams", Gauge, "Streams of the feed that are open."),
    (
        "registry_feed_streams_ended_total",
        Counter,
        "Streams that were ended from this side, by why.",
    ),
    (
        "registry_feed_events_total",
        Counter,
        "Events that readers of the feed were given, by pull or stream.",
    ),
    (
        "registry_notary_uncovered_events",
        Gauge,
        "Events that no signed head outside the database covers, whichever process copies them; read when asked.",
    ),
    (
        "registry_mails_sent_total",
        Counter,
        "Mails that a server or the outbox took.",
    ),
    (
        "registry_mails_failed_total",
        Counter,
        "Attempts to send a mail that failed, by kind.",
    ),
    ("registry_mails_deferred", Gauge, "Mails that wait for another attempt."),
    (
        "registry_mails_lapsed_total",
        Counter,
        "Mails not sent because their link had ended.",
    ),
    (
        "registry_sms_sent_total",
        Counter,
        "Short messages that a gateway or the outbox took.",
    ),
    (
        "registry_sms_failed_total",
        Counter,
        "Attempts to send a short message that failed, by kind.",
    ),
    (
        "registry_sms_deferred",
        Gauge,
        "Short messages that wait for another attempt.",
    ),
    (
        "registry_sms_lapsed_total",
        Counter,
        "Short messages not sent because their code had ended.",
    ),
    (
        "registry_agstack_pushes_total",
        Counter,
        "Tokens pushed to the asset registry, by what they told and how that ended.",
    ),
    (
        "registry_amqp_published_total",
        Counter,
        "Messages that the broker confirmed, by exchange.",
    ),
    (
        "registry_amqp_returned_total",
        Counter,
        "Messages among them that reached no queue.",
    ),
    (
        "registry_amqp_refused_total",
        Counter,
        "Messages that the broker refused to keep; each is sent again.",
    ),
    (
        "registry_amqp_connections_lost_total",
        Counter,
        "Attempts to publish that the broker ended, or that never reached it.",
    ),
    (
        "registry_amqp_connected",
        Gauge,
        "1 while this process publishes to the exchange.",
    ),
    ("registry_amqp_blocked", Gauge, "1 while the broker takes no messages."),
];

/// Tells the recorder of this process what each metric means.
pub(super) fn describe() {
    for (name, kind, text) in METRICS {
        match kind {
            Counter => describe_counter!(*name, *text),
            Gauge => describe_gauge!(*name, *text),
            Histogram => describe_histogram!(*name, *text),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// The names in quotes in a file, as far as they can be those of metrics.
    fn names(text: &str, into: &mut BTreeSet<String>) {
        for part in text.split('"').skip(1).step_by(1) {
            let plain = part.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            if plain && part.starts_with("registry_") {
                into.insert(part.to_owned());
            }
        }
    }

    fn walk(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if !path.ends_with("telemetry/catalogue.rs") && !path.ends_with("telemetry.rs") {
                names(&std::fs::read_to_string(path).unwrap(), found);
            }
        }
    }

    #[test]
    fn every_metric_is_described_and_every_description_has_its_metric() {
        let mut used = BTreeSet::new();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        walk(&root.join("src"), &mut used);
        // The channel on which PostgreSQL tells of new events.
        assert!(used.remove("registry_head"));
        let described: BTreeSet<String> = METRICS.iter().map(|(name, ..)| (*name).to_owned()).collect();
        assert_eq!(used, described);
        assert_eq!(described.len(), METRICS.len(), "one is described twice");
        let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
        for name in &described {
            assert!(readme.contains(&format!("`{name}`")), "{name} is not in the README");
        }
    }

    #[test]
    fn names_tell_how_a_metric_is_read() {
        for (name, kind, _) in METRICS {
            assert_eq!(name.ends_with("_total"), *kind == Counter, "{name}");
            let in_buckets = name.ends_with("_seconds") || name.ends_with("_commands");
            assert!(*kind != Histogram || in_buckets, "{name}");
        }
    }
}
