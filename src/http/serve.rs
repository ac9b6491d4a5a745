//! The accept loop: connections with limits of their own, and an end that lets requests finish.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::header::EXPECT;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::caller::Peer;
use super::linger::Lingering;
use super::pace::{Answer, Paced, Times, Worded};
use super::problem::Problem;
use super::seats::Seats;
use super::{App, dialects};
use crate::config::Network;
use crate::guards::network_of;

/// How long running requests may take to end once the service stops.
const DRAIN: Duration = Duration::from_secs(7);
/// How long to wait when the system gives no more sockets.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop`, then lets running requests end.
pub async fn serve(listener: TcpListener, app: App, stop: CancellationToken) -> std::io::Result<()> {
    let config = app.config().http.clone();
    let limited = app.config().limits.enabled;
    let times = Times {
        head: Duration::from_millis(config.header_ms),
        body: Duration::from_millis(config.body_ms),
        idle: Duration::from_millis(config.idle_ms),
    };
    let seats = if limited {
        Seats::new(config.connections, config.connections_per_ip, times)
    } else {
        Seats::new(usize::MAX, usize::MAX, times)
    };
    let store = app.registry().store().clone();
    let words = app.clone();
    let worded: Worded = Arc::new(move |status, begins| {
        let id = store.chance().uuid_v7(store.now()).to_string();
        Problem::unreadable(status, &id, |slug| {
            dialects::unreadable(words.config(), begins, status, slug)
        })
    });
    let closing = app.closing().clone();
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
        let (seat, pace) = match seats.take(counted_as(&config.trusted_proxies, peer.ip())) {
            Ok(taken) => taken,
            Err(full) => {
                metrics::counter!("registry_connections_refused_total", "why" => full.as_str()).increment(1);
                continue;
            }
        };
        fit(&stream, times.idle);
        let body_time = times.body;
        let (begins, ends) = (Arc::clone(&pace), Arc::clone(&pace));
        let service = router
            .clone()
            .map_request(move |mut request: Request<Incoming>| {
                begins.busy();
                request.extensions_mut().insert(Peer(peer));
                let awaits = Arc::clone(&begins);
                let expects = request.headers().contains_key(EXPECT);
                request.map(|body| {
                    axum::body::Body::new(if expects {
                        Lingering::asked_for(body, awaits)
                    } else {
                        Lingering::new(body, body_time, awaits)
                    })
                })
            })
            .map_response(move |response| response.map(|body| Answer::new(body, &ends)));
        let mut http = hyper::server::conn::http1::Builder::new();
        // The socket keeps the times itself.
        http.header_read_timeout(None)
            .max_headers(config.headers)
            .max_buf_size(config.header_bytes.max(8_192))
            .keep_alive(true);
        let cut = pace.cut.clone();
        let stream = Paced::new(stream, seat, pace, Arc::clone(&worded));
        let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        let stop = stop.clone();
        connections.spawn(async move {
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                result = connection.as_mut() => log_end(result),
                // Others need the place more.
                () = cut.cancelled() => {}
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    log_end(connection.await);
                }
            }
        });
    }
    // At once: a connection the system still took for us would wait for an answer that never comes.
    drop(listener);
    closing.cancel();
    connections.close();
    if tokio::time::timeout(DRAIN, connections.wait()).await.is_err() {
        tracing::warn!(
            open = connections.len(),
            "connections were cut: their requests took too long to end"
        );
    }
    Ok(())
}

/// Small answers must not wait for more. And who takes nothing of what was sent for as long as a silence may last is
/// gone, even if nobody said so: a stream to somebody who vanished would keep its place until the system gives up, a
/// quarter of an hour later, since the little it is told fits into the socket.
fn fit(stream: &TcpStream, silence: Duration) {
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(silence)) {
        tracing::debug!(%error, "a connection whose other end vanishes will be kept long");
    }
}

/// Whose connection one counts as. None: a proxy's, which connects for many; whom it connects for is counted by the rate
/// limits.
fn counted_as(proxies: &[Network], peer: IpAddr) -> Option<IpAddr> {
    let proxied = proxies.iter().any(|network| network.contains(peer));
    (!proxied).then(|| network_of(peer))
}

fn log_end(result: hyper::Result<()>) {
    if let Err(error) = result {
        // Clients hang up, time out, speak something else: their business.
        tracing::debug!(%error, "a connection ended early");
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_subscriber_counts_as_one_and_a_proxy_as_nobody() {
        let proxies: Vec<Network> = ["10.0.0.0/8", "fd00::/8"].map(|text| text.parse().unwrap()).into();
        let of = |ip: &str| counted_as(&proxies, ip.parse().unwrap()).map(|ip| ip.to_string());
        let is = |ip: &str| Some(ip.to_owned());
        for host in ["2001:db8::1", "2001:db8::ffff:1:2:3"] {
            assert_eq!(of(host), is("2001:db8::"), "{host}");
        }
        assert_eq!(of("2001:db8:0:1::1"), is("2001:db8:0:1::"));
        assert_eq!(of("192.0.2.1"), is("192.0.2.1"));
        assert_eq!(of("192.0.2.2"), is("192.0.2.2"));
        // A listener for both families writes the older one like this.
        assert_eq!(of("::ffff:192.0.2.1"), is("192.0.2.1"));
        for proxy in ["10.1.2.3", "::ffff:10.1.2.3", "fd00::1"] {
            assert_eq!(of(proxy), None, "{proxy}");
        }
    }

    /// Nothing can vanish without a word on one machine, so what the system is told is looked at.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn who_vanished_is_given_up_after_a_silence() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        fit(&stream, Duration::from_secs(30));
        assert_eq!(
            socket2::SockRef::from(&stream).tcp_user_timeout().unwrap(),
            Some(Duration::from_secs(30))
        );
        drop(client);
    }
}
