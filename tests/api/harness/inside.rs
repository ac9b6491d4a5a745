//! The store opened beside the service, as one more process would: for what no client can get.

use aggregates::values::{Role, Username};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use user_registry::chance::Chance;
use user_registry::clock::Clock;
use user_registry::config::Config;
use user_registry::passwords::Password;
use user_registry::registry::{Asked, Caller, Registration, Registry};
use user_registry::store::{EngineOptions, MasterSource, Store};
use zeroize::Zeroizing;

use super::{App, PASSWORD, Place, Tokens};

/// An open store.
pub struct Inside {
    pub store: Store,
    stop: CancellationToken,
}

impl Inside {
    pub async fn open(place: &Place) -> Self {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let options = EngineOptions {
            database_url: place.database_url().map(Zeroizing::new),
            data_dir: place.folder().to_owned(),
            master: MasterSource::Made(place.folder().join("keys").join("master.key")),
            standby: None,
            readers: 1,
            cache_entries: 1,
            poll: super::LONG,
        };
        let store = Store::open(&options, Clock::system(), Chance::system(), &tasks, &stop)
            .await
            .unwrap();
        Self { store, stop }
    }

    pub async fn close(self) {
        self.stop.cancel();
        self.store.close().await;
    }
}

impl App {
    /// An account with a role that no route can give yet, signed in.
    pub async fn with_role(&self, username: &str, role: Role) -> Tokens {
        let inside = Inside::open(&self.place).await;
        let registry = Registry::new(inside.store.clone(), &Config::default(), TaskTracker::new()).unwrap();
        let registration = Registration {
            username: Some(Username::parse(username).unwrap()),
            verified: true,
            role: Some(role),
            ..Registration::default()
        };
        let asked = Asked::plainly(Caller::system(&inside.store));
        registry
            .register(&asked, &registration, Password::parse(PASSWORD).unwrap())
            .await
            .unwrap();
        drop(registry);
        inside.close().await;
        self.sign_in(username, PASSWORD).await
    }
}
