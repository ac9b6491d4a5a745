//! Log lines and metrics: where they go and how they are written.
//!
//! What is measured stands beside the code that measures it; the one thing all metrics share is
//! that their names end in their unit.

mod catalogue;

use std::io::{IsTerminal, Write as _};
use std::sync::OnceLock;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::Metadata;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

use crate::config::{Log, LogFormat};

/// Upper bounds of every histogram in seconds: fine where a request should lie, coarse where one is
/// lost.
const SECONDS: &[f64] = &[
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Upper bounds of every histogram that counts things.
const COUNTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// Telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The log filter makes no sense.
    #[error("`log.level` is no log filter")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The metrics recorder could not be installed.
    #[error("metrics: {0}")]
    Metrics(#[from] BuildError),
}

/// Sends log lines to standard error, which leaves standard output to the program's own words. A
/// second call changes nothing, so that several servers can live in one test process.
pub fn install_log(log: &Log) -> Result<(), TelemetryError> {
    let filter = EnvFilter::builder().parse(&log.level)?;
    let registry = tracing_subscriber::registry().with(filter).with(filter_fn(is_ours));
    let layer = fmt::layer().with_writer(std::io::stderr);
    let _already = match log.format {
        LogFormat::Text => {
            let colours = std::io::stderr().is_terminal();
            registry.with(layer.with_ansi(colours)).try_init()
        }
        LogFormat::Json => registry
            .with(layer.json().flatten_event(true).with_current_span(true))
            .try_init(),
    };
    Ok(())
}

/// Has a panic tell its place alone: what it says may quote what it was working on.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        if tracing::dispatcher::has_been_set() {
            tracing::error!(place, "a fault of ours: a panic");
        } else {
            let _ = writeln!(std::io::stderr(), "user-registry: a fault of ours: a panic at {place}");
        }
    }));
}

/// The broker's library writes whole messages and the password it signs in with, the one even as a warning. What matters
/// of it is said by ours, once.
fn is_ours(line: &Metadata<'_>) -> bool {
    let library = line.target().split("::").next().unwrap_or_default();
    !matches!(library, "lapin" | "amq_protocol" | "amq_protocol_tcp" | "tcp_stream")
}

/// The metrics of this process.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

static METRICS: OnceLock<Metrics> = OnceLock::new();

impl Metrics {
    /// Makes this process record its metrics. A second call gives the same ones.
    pub fn install() -> Result<Self, TelemetryError> {
        if let Some(installed) = METRICS.get() {
            return Ok(installed.clone());
        }
        let recorder = builder()?.build_recorder();
        let fresh = Self(recorder.handle());
        match metrics::set_global_recorder(recorder) {
            Ok(()) => {
                catalogue::describe();
                Ok(METRICS.get_or_init(|| fresh).clone())
            }
            // Somebody was quicker; what they installed is what records.
            Err(_) => Ok(METRICS.get().cloned().unwrap_or(fresh)),
        }
    }

    /// The text of `/metrics`.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Folds what was measured since the last call; to be called every few seconds, or a process
    /// nobody scrapes keeps every single measurement.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_commands".into()), COUNTS)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_measurement_appears_in_buckets_of_its_unit() {
        let recorder = builder().unwrap().build_recorder();
        let metrics = Metrics(recorder.handle());
        metrics::with_local_recorder(&recorder, || {
            metrics::histogram!("registry_hash_seconds").record(0.03);
            metrics::counter!("registry_commands_total", "command" => "register-user").increment(2);
            metrics::gauge!("registry_hash_queue_depth").set(3.0);
        });
        metrics.upkeep();
        let text = metrics.render();
        assert!(text.contains("registry_hash_seconds_bucket{le=\"0.05\"} 1"), "{text}");
        assert!(
            text.contains("registry_commands_total{command=\"register-user\"} 2"),
            "{text}"
        );
        assert!(text.contains("registry_hash_queue_depth 3"), "{text}");
    }

    #[test]
    fn a_filter_that_makes_no_sense_is_refused() {
        let log = Log {
            level: "user_registry=loud".into(),
            ..Log::default()
        };
        assert!(matches!(install_log(&log), Err(TelemetryError::Filter(_))));
    }

    /// In a process of its own: a hook is the whole process's.
    #[test]
    fn a_panic_tells_its_place_and_not_what_it_says() {
        const CHILD: &str = "TELEMETRY_PANICS";
        if std::env::var_os(CHILD).is_some() {
            install_panic_hook();
            let _ = std::panic::catch_unwind(|| panic!("canary in a panic: {}", "hunter2"));
            return;
        }
        let panics = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg("telemetry::tests::a_panic_tells_its_place_and_not_what_it_says")
            .env(CHILD, "1")
            .output()
            .unwrap();
        let told = String::from_utf8([panics.stdout, panics.stderr].concat()).unwrap();
        assert!(told.contains("1 passed"), "{told}");
        assert!(told.contains("a panic at src/telemetry.rs:"), "{told}");
        assert!(!told.contains("canary") && !told.contains("hunter2"), "{told}");
    }

    #[test]
    fn installing_twice_gives_the_same_metrics() {
        Metrics::install().unwrap();
        let metrics = Metrics::install().unwrap();
        metrics::counter!("registry_test_total").increment(1);
        assert!(metrics.render().contains("registry_test_total 1"));
    }
}
