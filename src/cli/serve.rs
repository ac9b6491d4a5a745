//! `serve`: puts the parts together, says where it listens, and ends in order when told to.
//!
//! The end is: no new connections, running requests, what goes on after answers, followers and their leases, the
//! appender, the files. Each has its time, and together they stay within ten seconds.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures::FutureExt as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::open::{self, Opened};
use super::outlets::Outlets;
use super::{say, shared_secret};
use crate::config::{Config, LogFormat};
use crate::follow::{self, FollowOptions, Health, MailFollower, Notary, StatisticsFollower, amqp};
use crate::http::{self, App, AssetRegistry};
use crate::registry::{Refusal, Registry};
use crate::store::Store;
use crate::telemetry::Metrics;

/// How long followers and what goes on after answers may take to end. Requests have had seven seconds by then.
const ENDING: Duration = Duration::from_secs(1);
/// A signal repeated this soon is the same one: `timeout` signals its child, then its child's whole group.
const SAME: Duration = Duration::from_millis(50);
/// How often measurements are folded.
const UPKEEP: Duration = Duration::from_secs(5);
/// How often registrations that were never verified are ended.
const EXPIRE: Duration = Duration::from_mins(1);
/// How often lapsed rows are thrown away.
const SWEEP: Duration = Duration::from_mins(10);
/// How often to look whether keys were rotated. [`Store::rewrap_pass`] counts on it.
const KEYS: Duration = Duration::from_secs(2);
/// How often to try for a lease another process holds, and to look whether the outside is back.
pub(super) const RETRY: Duration = Duration::from_secs(1);

pub(super) async fn run(config: Config, outlets: Outlets) -> Result<ExitCode> {
    // First of all: what is measured takes hold of its counters where it is made, and the store measures its appends.
    let metrics = Metrics::install()?;
    let stop = CancellationToken::new();
    stop_on_signals(&stop)?;
    open::folders(&config)?;
    let opened = tokio::select! {
        opened = Opened::new(&config) => opened?,
        () = stop.cancelled() => return Ok(ExitCode::SUCCESS),
    };
    opened
        .during(async |store| serve(store, Arc::new(config), outlets, metrics, stop).await)
        .await?;
    Ok(ExitCode::SUCCESS)
}

/// Starts what is done again and again, whoever else does it.
///
/// Tasks are boxed, here and elsewhere: the runtime's part of a task is compiled for every type that is spawned.
fn keep_up(tasks: &TaskTracker, metrics: &Metrics, registry: &Registry, stop: &CancellationToken) {
    let measured = metrics.clone();
    tasks.spawn(every(UPKEEP, stop.clone(), async move || measured.upkeep()).boxed());
    let of = registry.clone();
    tasks.spawn(every(EXPIRE, stop.clone(), async move || expire(&of).await).boxed());
    let of = registry.clone();
    tasks.spawn(every(KEYS, stop.clone(), async move || keys(&of).await).boxed());
    let of = registry.clone();
    tasks.spawn(every(SWEEP, stop.clone(), async move || tidy(&of).await).boxed());
}

async fn serve(
    store: &Store,
    config: Arc<Config>,
    outlets: Outlets,
    metrics: Metrics,
    stop: CancellationToken,
) -> Result<()> {
    let after = TaskTracker::new();
    let registry = Registry::new(store.clone(), &config, after.clone())?;
    let shared = shared_secret::key(&config, store)?;
    if let Some(key) = &shared {
        registry.share(key.clone());
    }
    let assets = AssetRegistry::new(&config.agstack, after.clone()).context("tokens cannot be pushed")?;
    let listen = config.http.listen;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}"))?;
    let address = listener.local_addr()?;
    let health = Health::default();
    let tasks = TaskTracker::new();
    keep_up(&tasks, &metrics, &registry, &stop);
    if config.followers.enabled {
        let mail = outlets.mails(store, &config, reachable(address), shared)?;
        let sms = outlets.messages(store, &config)?;
        let of = mail.clone();
        tasks.spawn(every(SWEEP, stop.clone(), async move || empty(&of).await).boxed());
        tasks.spawn(follow::try_again(mail.clone(), store.clone(), RETRY, stop.clone()).boxed());
        tasks.spawn(follow::try_again(sms.clone(), store.clone(), RETRY, stop.clone()).boxed());
        let lease = Duration::from_secs(config.followers.lease_seconds.into());
        let options = FollowOptions { lease, retry: RETRY };
        let owner = owner(store);
        let notary = Notary::new(store.clone(), open::notary(&config));
        tasks.spawn(notary.run(owner.clone(), options, health.clone(), stop.clone()).boxed());
        let following = follow::run(
            StatisticsFollower::new(store.clone()),
            store.clone(),
            owner.clone(),
            options,
            health.clone(),
            stop.clone(),
        );
        tasks.spawn(following.boxed());
        let following = follow::run(
            mail,
            store.clone(),
            owner.clone(),
            options,
            health.clone(),
            stop.clone(),
        );
        tasks.spawn(following.boxed());
        let following = follow::run(sms, store.clone(), owner.clone(), options, health.clone(), stop.clone());
        tasks.spawn(following.boxed());
        for publisher in outlets.publishers(&config) {
            let publishing = amqp::publish(
                publisher,
                store.clone(),
                owner.clone(),
                options,
                health.clone(),
                watch::Sender::default(),
                stop.clone(),
            );
            tasks.spawn(publishing.map(drop).boxed());
        }
    }
    info!(
        engine = store.engine_name(),
        position = store.head().await?.position,
        %address,
        version = env!("CARGO_PKG_VERSION"),
        "started"
    );
    say(&format!("listening on http://{address}"));
    if config.log.format == LogFormat::Text {
        // Standard error may be closed; that is no reason to end.
        let _ = writeln!(std::io::stderr(), "{}", hints(&config, address));
    }
    let listening = format!("http://{}", reachable(address));
    let app = App::new(registry, config, Some(metrics), health, listening, assets);
    let served = http::serve(listener, app, stop.clone()).await;
    // The accept loop may also have ended by itself.
    stop.cancel();
    tasks.close();
    after.close();
    let ending = async {
        after.wait().await;
        tasks.wait().await;
    };
    if tokio::time::timeout(ENDING, ending).await.is_err() {
        warn!(
            followers = tasks.len(),
            "followers did not end in time; their leases lapse by themselves"
        );
    }
    info!(engine = store.engine_name(), position = *store.watch_head().borrow(), %address, "stopped");
    served.context("the listener failed")
}

/// The first signal asks to end, the second ends.
pub(super) fn stop_on_signals(stop: &CancellationToken) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = stop.clone();
    tokio::spawn(async move {
        let first = next(&mut terminate, &mut interrupt).await.0;
        let at = Instant::now();
        info!(signal = first, "stopping; once more ends at once");
        stop.cancel();
        let (name, kind) = loop {
            let second = next(&mut terminate, &mut interrupt).await;
            if second.0 != first || at.elapsed() > SAME {
                break second;
            }
        };
        warn!(signal = name, "ended at once");
        std::process::exit(128 + kind.as_raw_value());
    });
    Ok(())
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) -> (&'static str, SignalKind) {
    tokio::select! {
        _ = terminate.recv() => ("SIGTERM", SignalKind::terminate()),
        _ = interrupt.recv() => ("SIGINT", SignalKind::interrupt()),
    }
}

/// Does something at once and then again and again, until told to stop.
async fn every(length: Duration, stop: CancellationToken, work: impl AsyncFn()) {
    let mut every = tokio::time::interval(length);
    loop {
        tokio::select! {
            _ = every.tick() => work().await,
            () = stop.cancelled() => return,
        }
    }
}

async fn expire(registry: &Registry) {
    if let Err(problem) = registry.expire_registrations().await {
        warn!(%problem, "registrations that are due could not be ended");
    }
}

/// Keeps up with rotated keys, and re-wraps what a rotation of the master left behind.
async fn keys(registry: &Registry) {
    let renewing = async {
        registry.renew_keys().await?;
        if registry.store().keyring().is_rewrapping() {
            registry.store().rewrap_pass(|_| ()).await?;
        }
        Ok::<_, Refusal>(())
    };
    if let Err(problem) = renewing.await {
        warn!(%problem, "the keys of the store could not be looked at again");
    }
}

async fn tidy(registry: &Registry) {
    if let Err(problem) = registry.tidy().await {
        warn!(%problem, "what has lapsed could not be thrown away");
    }
}

async fn empty(mail: &MailFollower) {
    if let Err(problem) = mail.tidy().await {
        warn!(%problem, "mails to those who were erased could not be taken away");
    }
}

/// Names this process among its replicas, also after its number was given to another process.
pub(super) fn owner(store: &Store) -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}/{}/{}", std::process::id(), store.chance().uuid_v7(store.now()))
}

/// An address to connect to: "any address" is one to listen on only.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// What to try next, for somebody who has just started it.
fn hints(config: &Config, address: SocketAddr) -> String {
    let address = reachable(address);
    let outbox = if config.mail.smtp_url.is_some() {
        String::new()
    } else {
        let folder = absolute(&open::mail_outbox(config));
        format!("Read the mail it sends:\n  {}\n", folder.display())
    };
    let key = open::master_key_file(config).map_or_else(
        || "your master key".to_owned(),
        |path| absolute(&path).display().to_string(),
    );
    format!(
        "\n\
         Register somebody:\n  \
         curl -i http://{address}/v1/commands/register-user -H 'Content-Type: application/json' \
         -d '{{\"email\":\"ada@farm.example\",\"username\":\"ada\",\"password\":\"violet kettle tuesday\"}}'\n\
         {outbox}\
         Back up {key}\n  Without it nobody can sign in and personal data cannot be read.\n"
    )
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::config::Overrides;

    #[test]
    fn hints_name_an_address_one_can_connect_to() {
        for (listening, shown) in [
            ("0.0.0.0:80", "http://127.0.0.1:80/"),
            ("[::]:80", "http://[::1]:80/"),
            ("192.0.2.1:80", "http://192.0.2.1:80/"),
        ] {
            let text = hints(&Config::default(), listening.parse().unwrap());
            assert!(text.contains(shown), "{text}");
        }
    }

    #[test]
    fn hints_name_the_outbox_only_where_mails_go_there() {
        let mut config = Config::default();
        let address = "127.0.0.1:80".parse().unwrap();
        assert!(hints(&config, address).contains("Read the mail it sends:\n  /"));
        config.mail.smtp_url = Some("smtp://u:hunter2@h".into());
        let text = hints(&config, address);
        assert!(!text.contains("Read the mail") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn hints_tell_what_to_back_up() {
        let flags = Overrides {
            data_dir: Some("/srv/registry".into()),
            ..Overrides::default()
        };
        let mut config = Config::load(None, std::iter::empty(), &flags).unwrap();
        let address = "127.0.0.1:80".parse().unwrap();
        assert!(hints(&config, address).contains("Back up /srv/registry/keys/master.key\n"));
        assert!(hints(&config, address).contains("/srv/registry/outbox/mail\n"));
        config.keys.master = Some("hunter2".into());
        assert!(hints(&config, address).contains("Back up your master key\n"));
        assert!(!hints(&config, address).contains("hunter2"));
    }
}
