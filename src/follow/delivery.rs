//! What becomes of a message that leaves: sent, put off or given up; and the work on those that were put off.
//!
//! Two kinds of failure are told apart. When the outside as a whole does not work (no connection, a wrong password), the
//! follower waits where it is: nothing else could go out either. When one message is not taken, it is put off by itself
//! and the next ones go on.

use std::fmt;
use std::time::Duration;

use futures::StreamExt as _;
use metrics::{counter, gauge};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{FollowError, Writes, pause};
use crate::store::deadline::{ANSWER, within};
use crate::store::{Ended, OpenedEvent, RowWrite, Store, StoreError, Undelivered};

/// How many messages that were put off are taken in one go.
const BATCH: i64 = 64;
/// How many of them are under way at a time.
const AT_ONCE: usize = 4;
/// No pause between two attempts is longer.
const LONGEST: Duration = Duration::from_hours(1);

/// How a message fared with somebody who answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It was taken.
    Sent,
    /// It was not taken now and may be later.
    Later(Problem),
    /// It will never be taken.
    Refused(Problem),
}

/// Why: words of ours and a code. Never an address, and never what the other side wrote, which may hold one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem(pub String);

impl Problem {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The outside as a whole does not work.
impl From<Problem> for FollowError {
    fn from(problem: Problem) -> Self {
        Self::Later(problem.0)
    }
}

/// What carries messages: its name in the table, and its names in the metrics.
#[derive(Debug)]
pub struct Channel {
    /// As in the table `undelivered`.
    pub name: &'static str,
    /// Counts what was taken.
    pub sent: &'static str,
    /// Counts attempts that failed, by kind.
    pub failed: &'static str,
    /// How many wait to be tried again.
    pub deferred: &'static str,
}

/// Mails.
pub(super) static MAIL: Channel = Channel {
    name: "mail",
    sent: "registry_mails_sent_total",
    failed: "registry_mails_failed_total",
    deferred: "registry_mails_deferred",
};

/// Short messages.
pub(super) static SMS: Channel = Channel {
    name: "sms",
    sent: "registry_sms_sent_total",
    failed: "registry_sms_failed_total",
    deferred: "registry_sms_deferred",
};

impl Channel {
    pub(super) fn count_sent(&self) {
        counter!(self.sent).increment(1);
    }

    /// `kind` is `outside` (nobody there, or not for us), `deferred`, `refused` or `exhausted`.
    pub(super) fn count_failed(&self, kind: &'static str) {
        counter!(self.failed, "kind" => kind).increment(1);
    }
}

/// How often and how long a message that was put off is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempts {
    /// The pause after the first attempt; each later one is twice as long, up to an hour.
    pub pause: Duration,
    /// After so many a message is given up.
    pub most: u32,
    /// Longer than one attempt can take.
    pub within: Duration,
}

impl Attempts {
    fn pause_after(self, attempts: i64) -> Duration {
        let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX).min(30);
        self.pause.saturating_mul(1 << doublings).min(LONGEST.max(self.pause))
    }

    fn exhausted(self, attempts: i64) -> bool {
        attempts >= i64::from(self.most)
    }
}

/// The messages of one event as they go out for the first time, and what is to be written of them.
pub(super) struct Round<'a> {
    channel: &'static Channel,
    attempts: Attempts,
    store: &'a Store,
    position: i64,
    writes: Writes,
    /// Whether one has left or was noted down: then the event must not be handled from its start again.
    begun: bool,
    /// Whether one was put off.
    waiting: bool,
    /// Whether one was given up.
    gave_up: bool,
}

impl<'a> Round<'a> {
    pub fn new(channel: &'static Channel, attempts: Attempts, store: &'a Store, position: i64) -> Self {
        Self {
            channel,
            attempts,
            store,
            position,
            writes: Writes::new(),
            begun: false,
            waiting: false,
            gave_up: false,
        }
    }

    /// Whether a message was given up.
    pub const fn gave_up(&self) -> bool {
        self.gave_up
    }

    /// Takes down how one message fared.
    pub fn note(&mut self, number: usize, fate: Result<Fate, FollowError>) -> Result<(), FollowError> {
        let fate = match fate {
            Err(FollowError::Later(problem)) if self.begun => Fate::Later(Problem(problem)),
            fate => fate?,
        };
        self.begun = true;
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        let (channel, position, now) = (self.channel, self.position, self.store.now());
        match fate {
            Fate::Sent => channel.count_sent(),
            Fate::Later(problem) => {
                channel.count_failed("deferred");
                info!(channel = channel.name, position, number, %problem, "a message is put off");
                let at = now.plus(micros(self.attempts.pause));
                self.writes
                    .push(RowWrite::put_off(channel.name, position, number, &problem.0, at, now));
                self.waiting = true;
            }
            Fate::Refused(problem) => {
                channel.count_failed("refused");
                warn!(channel = channel.name, position, number, %problem, "a message is given up");
                self.writes
                    .push(RowWrite::given_up(channel.name, position, number, &problem.0, now));
                self.gave_up = true;
            }
        }
        Ok(())
    }

    /// What is to be written; with `settled`, once no message of the event is needed any more.
    pub fn writes(mut self, settled: Writes) -> Writes {
        if !self.waiting {
            self.writes.extend(settled);
        }
        self.writes
    }
}

/// Something that can make a message of an event again and send it.
pub trait Messenger: Send + Sync + 'static {
    /// What carries its messages.
    fn channel(&self) -> &'static Channel;

    /// How often and how long it tries.
    fn attempts(&self) -> Attempts;

    /// Sends one message of an event. None: there is nothing to send any more.
    fn send_again(
        &self,
        event: &OpenedEvent,
        number: usize,
    ) -> impl Future<Output = Result<Option<Fate>, FollowError>> + Send;

    /// What follows once nothing of the event is needed any more.
    fn settled(&self, event: &OpenedEvent) -> Writes;

    /// What follows once a message of the event was given up.
    fn given_up(&self, event: &OpenedEvent) -> Writes {
        self.settled(event)
    }
}

/// Works on what was put off, until `stop`. Every process may: each message is taken by one of them.
pub async fn try_again<M: Messenger>(messenger: M, store: Store, every: Duration, stop: CancellationToken) {
    let channel = messenger.channel();
    while !stop.is_cancelled() {
        let round = async {
            if let Err(problem) = round(&messenger, &store).await {
                warn!(channel = channel.name, %problem, "messages that were put off wait for the store");
            }
        };
        tokio::select! {
            () = round => {}
            // What is under way comes up again by itself.
            () = stop.cancelled() => return,
        }
        pause(every, &stop).await;
    }
}

async fn round<M: Messenger>(messenger: &M, store: &Store) -> Result<(), StoreError> {
    let channel = messenger.channel();
    let due = within(ANSWER, store.due_again(channel.name, BATCH)).await?;
    futures::stream::iter(due)
        .map(|message| async move { work(messenger, store, &message).await })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>()
        .await
        .into_iter()
        .collect::<Result<Vec<()>, _>>()?;
    let waiting = within(ANSWER, store.waiting_again(channel.name)).await?;
    #[expect(
        clippy::cast_precision_loss,
        reason = "a number of messages is shown to a few digits"
    )]
    gauge!(channel.deferred).set(waiting as f64);
    Ok(())
}

async fn work<M: Messenger>(messenger: &M, store: &Store, message: &Undelivered) -> Result<(), StoreError> {
    let (channel, plan) = (messenger.channel(), messenger.attempts());
    if !within(ANSWER, store.take_again(message, plan.within)).await? {
        return Ok(());
    }
    let (position, number) = (message.position, message.number);
    let records = within(ANSWER, store.events_after(position - 1, 1)).await?;
    let event = match within(ANSWER, store.open_events(records)).await {
        Ok(events) => events.into_iter().find(|event| event.record.position == position),
        Err(problem @ StoreError::Unavailable(_)) => return Err(problem),
        Err(problem) => {
            channel.count_failed("refused");
            warn!(channel = channel.name, position, number, %problem, "a message is given up");
            let ended = given_up(message.attempts, problem.to_string());
            return within(ANSWER, store.ended(message, ended, &[])).await;
        }
    };
    let Some(event) = event else {
        return within(ANSWER, store.ended(message, Ended::Done, &[])).await;
    };
    let attempts = message.attempts + 1;
    let index = usize::try_from(number).unwrap_or(usize::MAX);
    let again = |attempts, problem| Ended::Again {
        attempts,
        at: store.now().plus(micros(plan.pause_after(attempts))),
        problem,
    };
    let ended = match messenger.send_again(&event, index).await {
        Ok(None) => Ended::Done,
        Ok(Some(Fate::Sent)) => {
            channel.count_sent();
            info!(
                channel = channel.name,
                position, number, attempts, "a message that was put off is sent"
            );
            Ended::Done
        }
        Ok(Some(Fate::Later(problem))) if plan.exhausted(attempts) => {
            channel.count_failed("exhausted");
            warn!(channel = channel.name, position, number, attempts, %problem, "a message is given up");
            given_up(attempts, problem.0)
        }
        Ok(Some(Fate::Later(problem))) => {
            channel.count_failed("deferred");
            again(attempts, problem.0)
        }
        Ok(Some(Fate::Refused(problem))) => {
            channel.count_failed("refused");
            warn!(channel = channel.name, position, number, attempts, %problem, "a message is given up");
            given_up(attempts, problem.0)
        }
        // It was not even asked: that is no attempt of this message.
        Err(FollowError::Later(problem)) => again(message.attempts, problem),
        Err(FollowError::Never(problem)) => {
            channel.count_failed("refused");
            warn!(channel = channel.name, position, number, attempts, %problem, "a message is given up");
            given_up(attempts, problem)
        }
    };
    let writes = match &ended {
        Ended::Again { .. } => Writes::new(),
        Ended::Done => messenger.settled(&event),
        Ended::GivenUp { .. } => messenger.given_up(&event),
    };
    within(ANSWER, store.ended(message, ended, &writes)).await
}

fn given_up(attempts: i64, problem: String) -> Ended {
    Ended::GivenUp { attempts, problem }
}

fn micros(length: Duration) -> i64 {
    i64::try_from(length.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pause_is_twice_the_last_and_none_longer_than_an_hour() {
        let plan = Attempts {
            pause: Duration::from_secs(30),
            most: 40,
            within: Duration::from_mins(2),
        };
        let pauses: Vec<u64> = (1..=9).map(|n| plan.pause_after(n).as_secs()).collect();
        assert_eq!(pauses, [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(plan.pause_after(i64::MAX), LONGEST);
        assert!(!plan.exhausted(39) && plan.exhausted(40));
    }
}
