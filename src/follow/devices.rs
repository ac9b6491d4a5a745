//! Whether a sign-in is one that its owner should hear of.
//!
//! A device is told by its user agent, as sent, and the network it comes from: the first two bytes of an IPv4 address,
//! the first four of an IPv6 one, which is about what belongs to one provider. It is new when none of the latest
//! sign-ins that are looked at came from it, whether those sessions live or not. The first sign-in of an account is
//! none, and neither is one whose device cannot be told. What retention has forgotten is not recent either.

use std::net::IpAddr;

use aggregates::session::SessionEvent;

use super::letters::Notice;
use crate::store::{AnyEvent, OpenedEvent};

/// How many sign-ins before one are looked at, those that failed included.
pub(super) const LOOKED_AT: i64 = 50;
/// So many failures right before a sign-in are told (SECURITY-REQUIREMENTS, section 5).
const FAILURES: usize = 5;

/// What is to be told of a sign-in, given those before it, the latest first.
pub(super) fn notices(sign_in: &OpenedEvent, before: &[OpenedEvent]) -> Vec<Notice> {
    let mut notices = Vec::new();
    let mut earlier = before.iter().filter(|event| is_start(event)).peekable();
    // Of somebody who failed that often it is not known whether there was a first time.
    let first = earlier.peek().is_none() && (before.len() as u64) < LOOKED_AT.unsigned_abs();
    let device = Device::of(sign_in);
    if !first && device.is_some() && !earlier.any(|event| Device::of(event) == device) {
        notices.push(Notice::NewDevice);
    }
    let failures = before.iter().take_while(|event| !is_start(event)).count();
    if failures >= FAILURES {
        notices.push(Notice::SignedInAfterFailures);
    }
    notices
}

fn is_start(event: &OpenedEvent) -> bool {
    matches!(&event.event, AnyEvent::Session(SessionEvent::Started { .. }))
}

#[derive(Debug, PartialEq, Eq)]
struct Device<'a> {
    program: Option<&'a str>,
    network: Option<Network>,
}

#[derive(Debug, PartialEq, Eq)]
enum Network {
    V4([u8; 2]),
    V6([u16; 2]),
}

impl<'a> Device<'a> {
    fn of(event: &'a OpenedEvent) -> Option<Self> {
        let network = event.ip.as_deref().and_then(|ip| ip.parse().ok()).map(network);
        let program = event.user_agent.as_deref();
        (network.is_some() || program.is_some()).then_some(Self { program, network })
    }
}

fn network(ip: IpAddr) -> Network {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            Network::V4([a, b])
        }
        IpAddr::V6(ip) => {
            let [a, b, ..] = ip.segments();
            Network::V6([a, b])
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use aggregates::values::{Dialect, SessionMethod, Timestamp};
    use serde_json::Map;
    use uuid::Uuid;

    use super::*;
    use crate::store::EventRecord;

    fn event(event: SessionEvent, ip: &str, program: &str) -> OpenedEvent {
        OpenedEvent {
            record: EventRecord {
                aggregate_type: "session".into(),
                aggregate_id: String::new(),
                sequence: 1,
                event_type: String::new(),
                event_version: String::new(),
                payload: String::new(),
                metadata: String::new(),
                position: 1,
                event_id: Uuid::nil(),
                subject: String::new(),
                recorded_at: Timestamp::from_micros(0),
            },
            event: AnyEvent::Session(event),
            data: Map::new(),
            personal: Vec::new(),
            erased: false,
            metadata: HashMap::new(),
            ip: (!ip.is_empty()).then(|| ip.to_owned()),
            user_agent: (!program.is_empty()).then(|| program.to_owned()),
        }
    }

    fn start(ip: &str, program: &str) -> OpenedEvent {
        let started = SessionEvent::Started {
            user: Uuid::nil(),
            dialect: Dialect::Canonical,
            method: SessionMethod::Password,
            idle_expires_at: Timestamp::from_micros(0),
            expires_at: Timestamp::from_micros(0),
        };
        event(started, ip, program)
    }

    fn failures(count: usize) -> Vec<OpenedEvent> {
        let failed = || SessionEvent::Failed {
            user: Uuid::nil(),
            dialect: Dialect::Canonical,
        };
        (0..count).map(|_| event(failed(), "203.0.113.9", "thief")).collect()
    }

    #[test]
    fn the_first_sign_in_is_none_and_a_known_device_neither() {
        assert_eq!(notices(&start("192.0.2.1", "app"), &[]), []);
        let before = [start("198.51.100.1", "other"), start("192.0.2.1", "app")];
        assert_eq!(notices(&start("192.0.2.1", "app"), &before), []);
        // The same provider.
        assert_eq!(notices(&start("192.0.77.4", "app"), &before), []);
    }

    #[test]
    fn another_program_or_another_network_is_told() {
        let before = [start("192.0.2.1", "app"), start("2001:db8:1::1", "app")];
        for (ip, program) in [
            ("192.0.2.1", "other"),
            ("192.1.2.1", "app"),
            ("2001:db9::1", "app"),
            ("192.0.2.1", ""),
        ] {
            assert_eq!(
                notices(&start(ip, program), &before),
                [Notice::NewDevice],
                "{ip} {program}"
            );
        }
        assert_eq!(notices(&start("2001:db8:9::7", "app"), &before), []);
    }

    #[test]
    fn a_device_that_cannot_be_told_is_not_told_of() {
        assert_eq!(notices(&start("", ""), &[start("192.0.2.1", "app")]), []);
        // What was forgotten is not recent.
        assert_eq!(
            notices(&start("192.0.2.1", "app"), &[start("", "")]),
            [Notice::NewDevice]
        );
    }

    #[test]
    fn failures_are_told_when_they_end_in_a_sign_in() {
        let mut before = failures(4);
        before.push(start("192.0.2.1", "app"));
        assert_eq!(notices(&start("192.0.2.1", "app"), &before), []);
        let mut before = failures(5);
        before.push(start("192.0.2.1", "app"));
        assert_eq!(
            notices(&start("192.0.2.1", "app"), &before),
            [Notice::SignedInAfterFailures]
        );
    }

    #[test]
    fn failing_often_does_not_make_a_sign_in_the_first() {
        let all = usize::try_from(LOOKED_AT).unwrap_or_default();
        assert_eq!(
            notices(&start("192.0.2.1", "app"), &failures(all)),
            [Notice::NewDevice, Notice::SignedInAfterFailures]
        );
    }
}
