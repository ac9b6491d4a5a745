//! A range of addresses such as `10.0.0.0/8`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A network in CIDR notation; a bare address is a network of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    base: IpAddr,
    prefix: u8,
}

/// The text is no network, or has bits set beyond its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a network such as 10.0.0.0/8 or 2001:db8::/32")]
pub struct InvalidNetwork;

impl Network {
    /// Whether the address lies in this network. An IPv4 address mapped into IPv6 counts as IPv4,
    /// because a listener on `[::]` sees IPv4 peers that way.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.base.is_ipv4() == address.is_ipv4() && masked(address, self.prefix) == self.base
    }

    /// The loopback addresses of both families.
    #[must_use]
    pub fn loopback() -> Vec<Self> {
        vec![
            Self {
                base: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)),
                prefix: 8,
            },
            Self {
                base: IpAddr::V6(Ipv6Addr::LOCALHOST),
                prefix: 128,
            },
        ]
    }

    /// The ranges set aside for private use (RFC 1918, RFC 4193).
    #[must_use]
    pub fn private() -> Vec<Self> {
        vec![
            Self {
                base: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)),
                prefix: 8,
            },
            Self {
                base: IpAddr::V4(Ipv4Addr::new(172, 16, 0, 0)),
                prefix: 12,
            },
            Self {
                base: IpAddr::V4(Ipv4Addr::new(192, 168, 0, 0)),
                prefix: 16,
            },
            Self {
                base: IpAddr::V6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0)),
                prefix: 7,
            },
        ]
    }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    let cut = |width: u32| width.saturating_sub(u32::from(prefix));
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(cut(32)).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(cut(128)).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let base: IpAddr = address.parse().map_err(|_| InvalidNetwork)?;
        let width = if base.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => width,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().map_err(|_| InvalidNetwork)?,
            Some(_) => return Err(InvalidNetwork),
        };
        if prefix > width || masked(base, prefix) != base {
            return Err(InvalidNetwork);
        }
        Ok(Self { base, prefix })
    }
}

impl TryFrom<String> for Network {
    type Error = InvalidNetwork;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_holds_its_own_addresses_and_no_others() {
        let ten = network("10.0.0.0/8");
        assert!(ten.contains("10.255.0.1".parse().unwrap()));
        assert!(!ten.contains("11.0.0.1".parse().unwrap()));
        assert!(!ten.contains("::1".parse().unwrap()));
        assert!(network("0.0.0.0/0").contains("203.0.113.9".parse().unwrap()));
        assert!(network("2001:db8::/32").contains("2001:db8:1::1".parse().unwrap()));
        assert!(network("192.0.2.1").contains("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn an_ipv4_peer_seen_through_an_ipv6_socket_is_still_ipv4() {
        assert!(network("127.0.0.0/8").contains("::ffff:127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn bits_beyond_the_prefix_are_a_mistake() {
        for text in ["10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "ten", "10.0.0.0/+8", ""] {
            assert_eq!(text.parse::<Network>(), Err(InvalidNetwork), "{text}");
        }
    }

    #[test]
    fn the_built_in_ranges_are_written_as_they_are_read() {
        for one in Network::loopback().into_iter().chain(Network::private()) {
            assert_eq!(network(&one.to_string()), one);
        }
    }
}
