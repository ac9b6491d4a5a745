//! The accept loop: connections with limits of their own, and an end that lets requests finish.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::Request;
use axum::http::header::EXPECT;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::App;
use super::caller::Peer;
use super::linger::Lingering;

/// How long running requests may take to end once the service stops.
const DRAIN: Duration = Duration::from_secs(7);
/// How long to wait when the system gives no more sockets.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop`, then lets running requests end.
pub async fn serve(listener: TcpListener, app: App, stop: CancellationToken) -> std::io::Result<()> {
    let config = app.config().http.clone();
    let limited = app.config().limits.enabled;
    let all = Arc::new(Semaphore::new(if limited {
        config.connections
    } else {
        Semaphore::MAX_PERMITS
    }));
    let per_address = PerAddress::new(if limited { config.connections_per_ip } else { usize::MAX });
    let router = app.router();
    let connections = TaskTracker::new();
    loop {
        let (stream, peer) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, or a client that was gone at once: neither may end the service.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
        };
        let (Ok(place), Some(seat)) = (Arc::clone(&all).try_acquire_owned(), per_address.take(peer.ip())) else {
            metrics::counter!("registry_connections_refused_total").increment(1);
            continue;
        };
        // Small answers must not wait for more.
        let _ = stream.set_nodelay(true);
        let body_time = Duration::from_millis(config.body_ms);
        let service = router.clone().map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            let expects = request.headers().contains_key(EXPECT);
            request.map(|body| {
                axum::body::Body::new(if expects {
                    Lingering::asked_for(body)
                } else {
                    Lingering::new(body, body_time)
                })
            })
        });
        let mut http = hyper::server::conn::http1::Builder::new();
        // One timer for a slow head and for silence between requests: hyper knows no other, and cutting a client off
        // that keeps its connection for half a minute would fail its next request.
        http.timer(TokioTimer::new())
            .header_read_timeout(Duration::from_millis(config.header_ms.max(config.idle_ms)))
            .max_headers(config.headers)
            .max_buf_size(config.header_bytes.max(8_192))
            .keep_alive(true);
        let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        let stop = stop.clone();
        connections.spawn(async move {
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                result = connection.as_mut() => log_end(result),
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    log_end(connection.await);
                }
            }
            drop((place, seat));
        });
    }
    // At once: a connection the system still took for us would wait for an answer that never comes.
    drop(listener);
    connections.close();
    if tokio::time::timeout(DRAIN, connections.wait()).await.is_err() {
        tracing::warn!(
            open = connections.len(),
            "connections were cut: their requests took too long to end"
        );
    }
    Ok(())
}

fn log_end(result: hyper::Result<()>) {
    if let Err(error) = result {
        // Clients hang up, time out, speak something else: their business.
        tracing::debug!(%error, "a connection ended early");
    }
}

/// How many connections each address has. IPv6 counts by /64, which is what one subscriber gets.
#[derive(Clone)]
struct PerAddress {
    most: usize,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One connection of an address; given back when dropped.
struct Seat {
    of: PerAddress,
    address: IpAddr,
}

impl PerAddress {
    fn new(most: usize) -> Self {
        Self {
            most,
            open: Arc::default(),
        }
    }

    fn take(&self, address: IpAddr) -> Option<Seat> {
        let address = match address.to_canonical() {
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
            v4 @ IpAddr::V4(_) => v4,
        };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_insert(0);
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Seat {
            of: self.clone(),
            address,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.of.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}
