//! Who may connect: so many in all, so many from one address.
//!
//! Whoever opens connections and lets them lie must not keep others out. So when all places are taken, the connection
//! that has used up most of its time waiting for its client makes room: for a head, for a body, for the next request, or
//! for what is written to be taken. One that is at work never does.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::pace::{Pace, Times};

/// All places.
#[derive(Clone)]
pub(super) struct Seats {
    inner: Arc<Inner>,
}

struct Inner {
    most: usize,
    most_of_one: usize,
    times: Times,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    next: u64,
    all: HashMap<u64, Sitting>,
    per_address: HashMap<IpAddr, usize>,
}

struct Sitting {
    of: Option<IpAddr>,
    pace: Arc<Pace>,
}

/// One place; free again when dropped.
pub(super) struct Seat {
    seats: Seats,
    number: u64,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// The address has all it may have.
    Address,
    /// Everybody is at work.
    All,
}

impl Full {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::All => "all",
        }
    }
}

impl Seats {
    pub fn new(most: usize, most_of_one: usize, times: Times) -> Self {
        Self {
            inner: Arc::new(Inner {
                most,
                most_of_one,
                times,
                taken: Mutex::default(),
            }),
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.inner.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a connection. `of` is whom it counts for; nobody: a proxy, which connects for many.
    pub fn take(&self, of: Option<IpAddr>) -> Result<(Seat, Arc<Pace>), Full> {
        let mut taken = self.taken();
        if of.is_some_and(|of| {
            taken
                .per_address
                .get(&of)
                .is_some_and(|count| *count >= self.inner.most_of_one)
        }) {
            return Err(Full::Address);
        }
        if taken.all.len() >= self.inner.most {
            let slowest = taken
                .all
                .iter()
                .filter_map(|(number, sitting)| Some((sitting.pace.used()?, std::cmp::Reverse(*number))))
                .max();
            let (_, std::cmp::Reverse(number)) = slowest.ok_or(Full::All)?;
            if let Some(sitting) = taken.leave(number) {
                sitting.pace.cut.cancel();
                metrics::counter!("registry_connections_displaced_total").increment(1);
            }
        }
        let pace = Arc::new(Pace::new(self.inner.times));
        let number = taken.next;
        taken.next += 1;
        if let Some(of) = of {
            *taken.per_address.entry(of).or_insert(0) += 1;
        }
        taken.all.insert(
            number,
            Sitting {
                of,
                pace: Arc::clone(&pace),
            },
        );
        let seat = Seat {
            seats: self.clone(),
            number,
        };
        Ok((seat, pace))
    }
}

impl Taken {
    fn leave(&mut self, number: u64) -> Option<Sitting> {
        let sitting = self.all.remove(&number)?;
        if let Some(of) = sitting.of
            && let Some(count) = self.per_address.get_mut(&of)
        {
            *count -= 1;
            if *count == 0 {
                self.per_address.remove(&of);
            }
        }
        Some(sitting)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // One that had to make room has left already.
        self.seats.taken().leave(self.number);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::time::Duration;

    use super::*;

    fn seats(most: usize, most_of_one: usize) -> Seats {
        let times = Times {
            head: Duration::from_secs(5),
            body: Duration::from_secs(10),
            idle: Duration::from_secs(30),
        };
        Seats::new(most, most_of_one, times)
    }

    fn of(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_gets_so_many_and_a_proxy_any_number() {
        let seats = seats(100, 2);
        let first = seats.take(Some(of("192.0.2.1"))).ok().unwrap();
        let second = seats.take(Some(of("192.0.2.1"))).ok().unwrap();
        assert_eq!(seats.take(Some(of("192.0.2.1"))).err(), Some(Full::Address));
        let _other = seats.take(Some(of("192.0.2.2"))).ok().unwrap();
        let _proxied: Vec<_> = (0..10).map(|_| seats.take(None).ok().unwrap()).collect();
        drop(first);
        let again = seats.take(Some(of("192.0.2.1"))).ok().unwrap();
        drop((again, second));
        assert!(!seats.taken().per_address.contains_key(&of("192.0.2.1")));
    }

    #[test]
    fn when_all_places_are_taken_the_slowest_makes_room() {
        let seats = seats(3, 100);
        let (idle, pace) = seats.take(Some(of("192.0.2.1"))).ok().unwrap();
        pace.idle();
        pace.age(Duration::from_secs(2));
        let (slow, slow_pace) = seats.take(Some(of("192.0.2.2"))).ok().unwrap();
        let (busy, busy_pace) = seats.take(Some(of("192.0.2.3"))).ok().unwrap();
        busy_pace.busy();
        slow_pace.age(Duration::from_secs(1));
        // A fifth of a head's time is more than a fifteenth of an idle one's.
        let (_new, new_pace) = seats.take(Some(of("192.0.2.4"))).ok().unwrap();
        assert!(slow_pace.cut.is_cancelled() && !pace.cut.is_cancelled());
        drop(slow);
        assert_eq!(seats.taken().all.len(), 3, "its place had gone to the next already");
        let (_next, _) = seats.take(Some(of("192.0.2.4"))).ok().unwrap();
        assert!(pace.cut.is_cancelled() && !new_pace.cut.is_cancelled() && !busy_pace.cut.is_cancelled());
        drop((idle, busy));
    }

    #[test]
    fn nobody_at_work_makes_room() {
        let seats = seats(1, 100);
        let (_seat, pace) = seats.take(None).ok().unwrap();
        pace.busy();
        assert_eq!(seats.take(None).err(), Some(Full::All));
    }
}
