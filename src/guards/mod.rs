//! How often somebody may call: pure decisions over bounded memory.
//!
//! What is counted here is counted by one process and forgotten when it ends: it keeps a flood away from what costs
//! more. Tries at a password, codes and messages are counted in the store, where replicas share them. Nothing here
//! knows HTTP, and nothing here keeps an address, an account or a number: only keyed hashes of them.

pub mod bare;
mod buckets;
mod classes;
mod rate;
mod sends;
mod tries;

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

pub use buckets::{Buckets, MOST_BYTES};
pub use classes::{Class, class};
pub use rate::{Rate, Verdict};
pub use sends::{Allowance, KEPT, Sent};
pub use tries::{End, Start, Tries, WINDOW};

use crate::config;

/// How far the clocks of replicas, and callers who wait for each other, may be apart, microseconds. What is later than
/// that was written before a clock was set back.
pub(crate) const SKEW: i64 = 60_000_000;

/// The network that an address counts for: IPv6 by /64, which is what one subscriber gets; an IPv4 address mapped into
/// IPv6 is IPv4.
#[must_use]
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// The rates of one process, and who has used how much of them.
pub struct Guards {
    buckets: Buckets,
    rates: [Rate; 6],
    account: Rate,
}

impl Guards {
    /// The rates of a configuration; `secret` keys the hashes.
    #[must_use]
    pub fn new(limits: &config::Limits, secret: &[u8; 32]) -> Self {
        const MINUTE: Duration = Duration::from_mins(1);
        const HOUR: Duration = Duration::from_hours(1);
        Self {
            buckets: Buckets::new(secret),
            rates: [
                Rate::new("sign-in", limits.sign_ins_per_minute, MINUTE),
                Rate::new("register", limits.registrations_per_hour, HOUR),
                Rate::new("message", limits.messages_per_hour, HOUR),
                Rate::new("secret", limits.secrets_per_minute, MINUTE),
                Rate::new("ip", limits.requests_per_minute, MINUTE),
                Rate::new("customer", limits.customers_per_hour, HOUR),
            ],
            account: Rate::new("account", limits.account_requests_per_minute, MINUTE),
        }
    }

    /// Counts a request of an address. None: its class is not limited.
    #[must_use]
    pub fn by_address(&self, class: Class, address: IpAddr, now: i64) -> Option<Verdict> {
        let rate = &self.rates[match class {
            Class::Free => return None,
            Class::SignIn => 0,
            Class::Register => 1,
            Class::Message => 2,
            Class::Secret => 3,
            Class::General => 4,
            Class::Customer => 5,
        }];
        let mut key = [0_u8; 17];
        match network_of(address) {
            IpAddr::V4(v4) => key[1..5].copy_from_slice(&v4.octets()),
            IpAddr::V6(v6) => {
                key[0] = 1;
                key[1..].copy_from_slice(&v6.octets());
            }
        }
        Some(self.buckets.take(rate, &key, now))
    }

    /// Counts a request of an account.
    #[must_use]
    pub fn by_account(&self, account: uuid::Uuid, now: i64) -> Verdict {
        self.buckets.take(&self.account, account.as_bytes(), now)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn guards() -> Guards {
        let limits = config::Limits {
            sign_ins_per_minute: 2,
            ..config::Limits::default()
        };
        Guards::new(&limits, &[7; 32])
    }

    #[test]
    fn an_address_counts_for_its_network() {
        let guards = guards();
        let allowed = |ip: &str| {
            guards
                .by_address(Class::SignIn, ip.parse().unwrap(), 0)
                .unwrap()
                .allowed
        };
        assert!(allowed("2001:db8::1") && allowed("2001:db8::2") && !allowed("2001:db8::3"));
        assert!(allowed("2001:db8:0:1::1"), "the next /64 is somebody else");
        assert!(allowed("192.0.2.1") && allowed("::ffff:192.0.2.1") && !allowed("192.0.2.1"));
        assert!(allowed("192.0.2.2"));
    }

    #[test]
    fn classes_and_accounts_do_not_use_up_each_others_share() {
        let guards = guards();
        let ip = "192.0.2.1".parse().unwrap();
        for _ in 0..3 {
            let _ = guards.by_address(Class::SignIn, ip, 0);
        }
        assert!(!guards.by_address(Class::SignIn, ip, 0).unwrap().allowed);
        assert!(guards.by_address(Class::Register, ip, 0).unwrap().allowed);
        assert!(guards.by_account(uuid::Uuid::nil(), 0).allowed);
        assert!(guards.by_address(Class::Free, ip, 0).is_none());
    }
}
