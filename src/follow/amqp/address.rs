//! A broker as the configuration names it.

use std::fmt;

use lapin::uri::{AMQPScheme, AMQPUri};
use reqwest::Url;

/// Seconds between signs of life, unless the address says otherwise: a peer that is gone is noticed after twice as long.
const HEARTBEAT: u16 = 10;
/// What may be said behind the question mark.
const QUERY: [&str; 5] = [
    "heartbeat",
    "frame_max",
    "channel_max",
    "connection_timeout",
    "auth_mechanism",
];

/// The address of a broker with its credentials, which are never shown.
#[derive(Clone)]
pub struct BrokerAddress(AMQPUri);

/// The address names no broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an address such as amqp://user:password@broker.example/vhost or amqps://user:password@broker.example")]
pub struct InvalidBrokerUrl;

impl fmt::Debug for BrokerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0.authority.host, self.0.authority.port)
    }
}

impl BrokerAddress {
    /// Reads `amqp://[user:password@]host[:port][/vhost]` or `amqps://…`. No virtual host, or an empty one, is `/`.
    pub fn parse(text: &str) -> Result<Self, InvalidBrokerUrl> {
        let url = Url::parse(text).map_err(|_| InvalidBrokerUrl)?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(InvalidBrokerUrl)?;
        let known = |(name, _): (std::borrow::Cow<'_, str>, _)| QUERY.contains(&name.as_ref());
        if url.fragment().is_some() || !url.query_pairs().all(known) {
            return Err(InvalidBrokerUrl);
        }
        let mut uri: AMQPUri = text.parse().map_err(|_| InvalidBrokerUrl)?;
        // The library's own reader takes an address in brackets for none at all.
        host.trim_matches(['[', ']']).clone_into(&mut uri.authority.host);
        if uri.vhost.is_empty() {
            "/".clone_into(&mut uri.vhost);
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT);
        Ok(Self(uri))
    }

    /// Its virtual host.
    #[must_use]
    pub fn vhost(&self) -> &str {
        &self.0.vhost
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.0.scheme == AMQPScheme::AMQPS
    }

    pub(super) fn uri(&self) -> AMQPUri {
        self.0.clone()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn uri(text: &str) -> AMQPUri {
        BrokerAddress::parse(text).unwrap().0
    }

    #[test]
    fn an_address_may_leave_out_what_is_usual() {
        for text in [
            "amqp://broker.example",
            "amqp://broker.example/",
            "amqp://broker.example/%2f",
        ] {
            let uri = uri(text);
            assert_eq!((uri.vhost.as_str(), uri.authority.port), ("/", 5672), "{text}");
            assert_eq!(uri.query.heartbeat, Some(HEARTBEAT), "{text}");
        }
        let uri = uri("amqps://u%40h:p%2Fw@[::1]/events?heartbeat=3");
        assert_eq!((uri.authority.host.as_str(), uri.authority.port), ("::1", 5671));
        assert_eq!(uri.authority.userinfo.username, "u@h");
        assert_eq!(uri.authority.userinfo.password, "p/w");
        assert_eq!((uri.vhost.as_str(), uri.query.heartbeat), ("events", Some(3)));
        let address = BrokerAddress::parse("amqps://broker.example/events").unwrap();
        assert_eq!((address.vhost(), address.is_encrypted()), ("events", true));
        assert!(!BrokerAddress::parse("amqp://broker.example").unwrap().is_encrypted());
    }

    #[test]
    fn what_names_no_broker_is_refused() {
        for text in [
            "",
            "broker",
            "amqp://",
            "http://broker",
            "amqp://h#x",
            "amqp://h?verify=none",
            "amqp://h?heartbeat=x",
        ] {
            assert!(BrokerAddress::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn nothing_shows_a_password() {
        let address = BrokerAddress::parse("amqp://u:hunter2@broker.example/v").unwrap();
        assert_eq!(format!("{address:?}"), "broker.example:5672");
    }
}
