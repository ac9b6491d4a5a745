//! The tokens of a login, pushed to the asset registry, and that their session has ended (contract, sections 2.4 and 5.2).
//!
//! Off unless the operator wants it, because that peer keeps the last pair for everybody who calls it (hole H17). Nobody
//! waits for a push and nothing depends on it. The tokens are stored nowhere, so no follower of the log could send them:
//! one that does not arrive is lost, and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Request};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::breaker::Breaker;
use crate::config;
use crate::registry::SharedPair;

/// How long a push may take, from the look-up of the name to the head of the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many may be under way. More than these only a peer that hangs leads to.
const MOST: usize = 64;

/// What a push tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// A session has begun, with these tokens.
    Login,
    /// It has ended.
    Logout,
}

impl News {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Logout => "logout",
        }
    }

    const fn path(self) -> &'static str {
        match self {
            Self::Login => "/",
            Self::Logout => "/logout",
        }
    }
}

/// How a push ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It was answered with a success.
    Taken,
    /// It was answered otherwise; a redirect is not followed.
    Refused,
    /// There was no answer in time.
    Late,
    /// Nobody was there, or the connection broke.
    Unreachable,
    /// Too many were under way: it was not begun.
    Dropped,
    /// The last ones had no answer: the peer is left alone for a while.
    Spared,
    /// The service ended first.
    Stopped,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Refused => "refused",
            Self::Late => "late",
            Self::Unreachable => "unreachable",
            Self::Dropped => "dropped",
            Self::Spared => "spared",
            Self::Stopped => "stopped",
        }
    }
}

/// The asset registry as a receiver of tokens.
#[derive(Debug, Clone)]
pub struct AssetRegistry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    url: String,
    client: Client,
    seats: Arc<Semaphore>,
    tasks: TaskTracker,
    breaker: Breaker<Outcome>,
    /// Whether the last push failed, so that only a change is logged.
    failing: AtomicBool,
}

impl AssetRegistry {
    /// The receiver the configuration wants, whose pushes go on in `tasks`. None: tokens are not pushed.
    ///
    /// # Errors
    /// When there is no TLS to make a client with.
    pub fn new(config: &config::Agstack, tasks: TaskTracker) -> Result<Option<Self>, reqwest::Error> {
        let wanted = config.enabled && config.push_tokens;
        let Some(url) = config.asset_registry_url.as_deref().filter(|_| wanted) else {
            return Ok(None);
        };
        let client = Client::builder()
            .user_agent(concat!("user-registry/", env!("CARGO_PKG_VERSION")))
            .timeout(PATIENCE)
            // Of the environment only our own settings count, and a token goes nowhere but to its peer.
            .no_proxy()
            .redirect(Policy::none())
            .build()?;
        Ok(Some(Self(Arc::new(Inner {
            url: url.trim_end_matches('/').to_owned(),
            client,
            seats: Arc::new(Semaphore::new(MOST)),
            tasks,
            breaker: Breaker::default(),
            failing: AtomicBool::new(false),
        }))))
    }

    /// Pushes the tokens of a session on their own way, until the service is closing. False: too many are under way, or
    /// nobody has answered lately.
    pub(super) fn push(&self, news: News, pair: &SharedPair, closing: &CancellationToken) -> bool {
        if self.0.breaker.ask().is_err() {
            self.end(news, Outcome::Spared);
            return false;
        }
        let Ok(seat) = Arc::clone(&self.0.seats).try_acquire_owned() else {
            self.end(news, Outcome::Dropped);
            return false;
        };
        let Some(request) = self.request(news, pair) else {
            self.end(news, Outcome::Unreachable);
            return false;
        };
        let (this, closing) = (self.clone(), closing.clone());
        self.0.tasks.spawn(
            async move {
                let outcome = tokio::select! {
                    outcome = this.send(request) => outcome,
                    () = closing.cancelled() => Outcome::Stopped,
                };
                this.end(news, outcome);
                drop(seat);
            }
            .boxed(),
        );
        true
    }

    /// None: the address is one that no request can be made for.
    fn request(&self, news: News, pair: &SharedPair) -> Option<Request> {
        let secret = |text: &str| {
            let mut value = HeaderValue::from_str(text).ok()?;
            value.set_sensitive(true);
            Some(value)
        };
        let bearer = zeroize::Zeroizing::new(format!("Bearer {}", pair.access.as_str()));
        self.0
            .client
            .get(format!("{}{}", self.0.url, news.path()))
            .header(AUTHORIZATION, secret(&bearer)?)
            .header("x-refresh-token", secret(&pair.refresh)?)
            .build()
            .ok()
    }

    async fn send(&self, request: Request) -> Outcome {
        let silence = match self.0.client.execute(request).await {
            Ok(response) => {
                self.0.breaker.works();
                let taken = response.status().is_success();
                return if taken { Outcome::Taken } else { Outcome::Refused };
            }
            Err(error) if error.is_timeout() => Outcome::Late,
            Err(_) => Outcome::Unreachable,
        };
        self.0.breaker.failed(silence)
    }

    fn end(&self, news: News, outcome: Outcome) {
        let (push, outcome_text) = (news.as_str(), outcome.as_str());
        metrics::counter!("registry_agstack_pushes_total", "push" => push, "outcome" => outcome_text).increment(1);
        let failed = match outcome {
            Outcome::Taken => false,
            Outcome::Stopped => return,
            Outcome::Refused | Outcome::Late | Outcome::Unreachable | Outcome::Dropped | Outcome::Spared => true,
        };
        match (self.0.failing.swap(failed, Ordering::Relaxed), failed) {
            (false, true) => tracing::warn!(push, outcome = outcome_text, "the asset registry does not take tokens"),
            (true, false) => tracing::info!("the asset registry takes tokens again"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use tokio::net::TcpListener;
    use zeroize::Zeroizing;

    use super::*;

    fn pair() -> SharedPair {
        SharedPair {
            access: Zeroizing::new("hunter2".to_owned()),
            refresh: Zeroizing::new("hunter3".to_owned()),
        }
    }

    fn at(url: &str) -> config::Agstack {
        config::Agstack {
            push_tokens: true,
            asset_registry_url: Some(url.to_owned()),
            ..config::Agstack::default()
        }
    }

    fn told_of(config: &config::Agstack) -> Option<AssetRegistry> {
        // As the program does when it starts.
        let _ = rustls::crypto::ring::default_provider().install_default();
        AssetRegistry::new(config, TaskTracker::new()).unwrap()
    }

    fn receiver(url: &str) -> AssetRegistry {
        told_of(&at(url)).unwrap()
    }

    #[test]
    fn nothing_is_pushed_unless_it_is_wanted() {
        let wanted = at("https://assets.example");
        assert!(told_of(&wanted).is_some());
        for unwanted in [
            config::Agstack::default(),
            config::Agstack {
                push_tokens: false,
                ..wanted.clone()
            },
            config::Agstack {
                enabled: false,
                ..wanted
            },
        ] {
            assert!(told_of(&unwanted).is_none());
        }
    }

    #[test]
    fn a_request_says_what_the_contract_says_and_prints_no_token() {
        let receiver = receiver("https://assets.example/registry/");
        for (news, url) in [
            (News::Login, "https://assets.example/registry/"),
            (News::Logout, "https://assets.example/registry/logout"),
        ] {
            let request = receiver.request(news, &pair()).unwrap();
            assert_eq!((request.method().as_str(), request.url().as_str()), ("GET", url));
            assert_eq!(request.headers()["authorization"], "Bearer hunter2");
            assert_eq!(request.headers()["x-refresh-token"], "hunter3");
            assert!(!format!("{request:?}").contains("hunter"), "{request:?}");
        }
    }

    #[tokio::test]
    async fn a_peer_that_is_dead_is_left_alone_for_a_while() {
        // Nobody listens there any more.
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let receiver = receiver(&format!("http://{gone}"));
        let closing = CancellationToken::new();
        assert!(receiver.push(News::Login, &pair(), &closing));
        receiver.0.tasks.close();
        receiver.0.tasks.wait().await;
        assert_eq!(receiver.0.breaker.ask(), Err(Outcome::Unreachable));
        assert!(!receiver.push(News::Login, &pair(), &closing));
        assert_eq!(receiver.0.tasks.len(), 0);
    }

    #[tokio::test]
    async fn no_more_than_so_many_are_under_way_and_all_end_with_the_service() {
        // It takes connections and never says a word.
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = receiver(&format!("http://{}", silent.local_addr().unwrap()));
        let closing = CancellationToken::new();
        let begun = (0..MOST + 5)
            .filter(|_| receiver.push(News::Login, &pair(), &closing))
            .count();
        assert_eq!((begun, receiver.0.tasks.len()), (MOST, MOST));
        closing.cancel();
        receiver.0.tasks.close();
        let ended = tokio::time::timeout(PATIENCE / 2, receiver.0.tasks.wait()).await;
        assert!(ended.is_ok(), "they outlive the service");
        assert!(receiver.push(News::Logout, &pair(), &CancellationToken::new()));
    }
}
