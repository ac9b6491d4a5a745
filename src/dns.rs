//! Asking DNS: the one place that does.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use thiserror::Error;
use tokio::time::timeout;

use crate::breaker::Breaker;

/// How long one server may take; it is asked twice.
const ONE: Duration = Duration::from_millis(900);
/// How long a caller waits for an answer in all.
const ALL: Duration = Duration::from_millis(2_500);

/// DNS gave no answer: nobody can say whether there is such a record.
#[derive(Debug, Clone, Error)]
#[error("DNS gave no answer: {0}")]
pub struct NoAnswer(String);

/// A resolver. It keeps nothing: what is asked here was published a moment ago.
#[derive(Debug)]
pub struct Dns {
    servers: Vec<SocketAddr>,
    made: OnceLock<TokioResolver>,
    breaker: Breaker<NoAnswer>,
}

impl Dns {
    /// Asks these servers; none means those of the system.
    #[must_use]
    pub fn new(servers: Vec<SocketAddr>) -> Self {
        Self {
            servers,
            made: OnceLock::new(),
            breaker: Breaker::default(),
        }
    }

    /// The texts at a name, each put together from its parts (RFC 1035, section 3.3.14; RFC 7208, section 3.3).
    /// A name that is not there has none. After a silence nobody waits for another for a while.
    pub async fn texts(&self, name: &str) -> Result<Vec<String>, NoAnswer> {
        // Whole, so that no search list of the system is appended.
        let mut name = Name::from_ascii(name).map_err(|error| NoAnswer(error.to_string()))?;
        name.set_fqdn(true);
        self.breaker.ask()?;
        let resolver = self.resolver()?;
        let found = timeout(ALL, resolver.txt_lookup(name)).await;
        let silence = match &found {
            Ok(Ok(_) | Err(NetError::Dns(_))) => {
                self.breaker.works();
                None
            }
            Ok(Err(error)) => Some(NoAnswer(error.to_string())),
            Err(_) => Some(NoAnswer("it took too long".to_owned())),
        };
        if let Some(silence) = silence {
            // The servers of one domain may be dead, which is no reason to leave all others alone.
            return Err(if is_there(resolver).await {
                silence
            } else {
                self.breaker.failed(silence)
            });
        }
        let lookup = match found {
            Ok(Ok(lookup)) => lookup,
            Ok(Err(NetError::Dns(DnsError::NoRecordsFound(none))))
                if matches!(none.response_code, ResponseCode::NoError | ResponseCode::NXDomain) =>
            {
                return Ok(Vec::new());
            }
            Ok(Err(error)) => return Err(NoAnswer(error.to_string())),
            Err(late) => return Err(NoAnswer(late.to_string())),
        };
        let texts = lookup.answers().iter().filter_map(|record| match &record.data {
            RData::TXT(txt) => Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned()),
            _ => None,
        });
        Ok(texts.collect())
    }

    /// Made when it is first needed: a machine without DNS runs the rest of the service.
    fn resolver(&self) -> Result<&TokioResolver, NoAnswer> {
        if let Some(made) = self.made.get() {
            return Ok(made);
        }
        let made = self.make().map_err(|error| NoAnswer(error.to_string()))?;
        Ok(self.made.get_or_init(|| made))
    }

    fn make(&self) -> Result<TokioResolver, NetError> {
        let mut builder = if self.servers.is_empty() {
            TokioResolver::builder_tokio()?
        } else {
            let servers = self.servers.iter().map(|server| {
                let at = |mut connection: ConnectionConfig| {
                    connection.port = server.port();
                    connection
                };
                let both = vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())];
                NameServerConfig::new(server.ip(), true, both)
            });
            let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        let options = builder.options_mut();
        options.timeout = ONE;
        options.attempts = 1;
        options.cache_size = 0;
        options.positive_max_ttl = Some(Duration::ZERO);
        options.negative_max_ttl = Some(Duration::ZERO);
        builder.build()
    }
}

/// Whether a resolver's servers say anything: every one of them knows something of the root, if only that it does not.
async fn is_there(resolver: &TokioResolver) -> bool {
    matches!(
        timeout(ONE, resolver.lookup(Name::root(), RecordType::NS)).await,
        Ok(Ok(_) | Err(NetError::Dns(_)))
    )
}
