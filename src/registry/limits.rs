//! What is counted before it is done: tries at passwords, and messages to numbers and addresses.
//!
//! The rules stand in `guards`, the counts in the store, where replicas share them. An account that is locked answers as
//! one that does not exist: what is counted for somebody is counted for nobody too.

use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use aggregates::values::{Email, Phone, Timestamp};
use futures::FutureExt as _;
use tokio::time::Instant;
use tracing::Instrument as _;
use uuid::Uuid;

use super::command::Caller;
use super::{Refusal, Registry, SimDelay};
use crate::config::Config;
use crate::guards::{Allowance, End, KEPT, Sent, Start, Tries, WINDOW, network_of};
use crate::store::{GuardKey, Store, StoreError};

/// Whose tries are counted: those who sign in, nobody known, and those who are signed in already. The last have their
/// own count, so that no stranger who guesses keeps an owner from what needs their password.
pub(super) const SIGN_IN: &str = "tries-to-sign-in";
pub(super) const SIGN_IN_AS_NOBODY: &str = "tries-as-nobody";
pub(super) const CURRENT: &str = "tries-at-current";

/// When a try that could not be given back is given back again: within the time after which it is lost, and before a stop
/// is tired of waiting.
const GIVEN_BACK: [Duration; 3] = [
    Duration::from_millis(500),
    Duration::from_millis(1_500),
    Duration::from_secs(4),
];

/// How long a try waits for others that are under way, or for the end of a short pause.
const PATIENCE: Duration = Duration::from_secs(2);

/// Codes to one number.
pub(super) const NUMBER: Allowance = Allowance {
    per_minute: Some(1),
    per_hour: Some(5),
    per_day: Some(10),
};
/// The same through Xhoppe.
pub(super) const XHOPPE_NUMBER: Allowance = Allowance {
    per_minute: Some(1),
    per_hour: Some(5),
    per_day: Some(5),
};
/// The same when rate limits are lifted: this much is no rate.
const NUMBER_AT_LEAST: Allowance = Allowance {
    per_minute: None,
    per_hour: None,
    per_day: Some(10),
};
/// Codes asked for from one address.
const ADDRESS: Allowance = per_hour(10);
/// Codes to the numbers that differ in their last three digits: whoever is paid for messages has such a block.
const BLOCK: Allowance = per_hour(20);
const BLOCK_DIGITS: usize = 3;
/// Notices to one number.
const NOTICES: Allowance = Allowance {
    per_minute: None,
    per_hour: Some(5),
    per_day: Some(10),
};
/// Mails of one purpose to one address.
const MAIL: Allowance = Allowance {
    per_minute: None,
    per_hour: Some(6),
    per_day: Some(20),
};

/// When to come back for one that is withheld, in seconds: by then the hour's share is free again.
pub(super) const MAIL_AGAIN: u32 = 3_600;

/// What stands against a message when a day's budget is used up: that of codes, and that of notices.
const CODES_IN_ALL: &str = "budget";
const NOTICES_IN_ALL: &str = "notices";

/// Asking for one mail again and again.
const AGAIN: Allowance = Allowance {
    per_minute: Some(1),
    per_hour: None,
    per_day: None,
};

/// Whether something may be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowed {
    /// It may, and is counted.
    Yes,
    /// It may not.
    NotYet {
        /// Seconds to wait.
        retry_after: u32,
    },
}

const fn per_hour(most: usize) -> Allowance {
    Allowance {
        per_minute: None,
        per_hour: Some(most),
        per_day: None,
    }
}

/// What the configuration says of messages.
#[derive(Debug, Clone)]
pub(crate) struct MessageRules {
    /// Whether rates hold.
    pub limited: bool,
    /// Beginnings of the numbers that messages may go to; none: all.
    pub countries: Vec<String>,
    /// Messages on one day.
    pub daily_budget: u32,
    /// How long after the SIM of a number was changed no code sent to it sets a password.
    pub sim_delay: SimDelay,
}

/// How many short messages tell owners of something. They have a count of their own: whoever signs in again and again
/// uses up no code of anybody's.
#[derive(Debug, Clone)]
pub struct NoticeRules {
    limited: bool,
    countries: Vec<String>,
    daily_budget: u32,
}

impl NoticeRules {
    /// What the configuration says: the countries are those of codes, and all notices of a day as many as its codes.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            limited: config.limits.enabled,
            countries: config.sms.countries.clone(),
            daily_budget: config.sms.daily_budget,
        }
    }

    /// Whether one more notice may go to a number. Nothing is counted.
    pub async fn may_go(&self, store: &Store, phone: &Phone) -> Result<bool, StoreError> {
        if !self.limited {
            return Ok(true);
        }
        if !goes_to(&self.countries, phone) {
            withheld("country", store.now());
            return Ok(false);
        }
        let (shares, now) = (self.shares(store, phone), store.now());
        let mut used_up = None;
        store
            .claim(&guards(&shares), now, KEPT, |states: &mut [Sent]| {
                used_up = take_each(states, &shares, now);
                None::<()>
            })
            .await?;
        if let Some(what) = used_up {
            withheld(what, now);
        }
        Ok(used_up.is_none())
    }

    /// Counts a notice that has gone to a number.
    pub async fn gone(&self, store: &Store, phone: &Phone) -> Result<(), StoreError> {
        if !self.limited {
            return Ok(());
        }
        let (shares, now) = (self.shares(store, phone), store.now());
        store
            .claim(&guards(&shares), now, KEPT, |states: &mut [Sent]| {
                take_each(states, &shares, now).is_none().then_some(())
            })
            .await
            .map(|_| ())
    }

    fn shares(&self, store: &Store, phone: &Phone) -> [Share; 2] {
        let key = |kind: &str, what: &[u8]| store.keyring().fingerprint(kind, &[what]);
        let budget = Allowance {
            per_day: Some(self.daily_budget),
            ..Allowance::default()
        };
        [
            ("number", key("notices-to-number", phone.msisdn().as_bytes()), NOTICES),
            (NOTICES_IN_ALL, key("notices-in-all", b""), budget),
        ]
    }
}

/// What is counted once more: what it is called when it is used up, where it is counted, and how much there is of it.
type Share = (&'static str, GuardKey, Allowance);

fn guards(shares: &[Share]) -> Vec<GuardKey> {
    shares.iter().map(|(_, guard, _)| *guard).collect()
}

/// Takes one of each share, until one is used up: the name of that.
fn take_each(states: &mut [Sent], shares: &[Share], now: Timestamp) -> Option<&'static str> {
    states
        .iter_mut()
        .zip(shares)
        .find_map(|(sent, (what, _, allowance))| (!sent.take(allowance, now.as_micros())).then_some(*what))
}

/// Whether short messages go to a number at all. No country named: to any.
fn goes_to(countries: &[String], phone: &Phone) -> bool {
    countries.is_empty() || countries.iter().any(|prefix| phone.msisdn().starts_with(prefix))
}

/// A try at a password that may be compared. Dropped without its end, it has failed: whoever hangs up before the answer
/// has guessed all the same.
pub(super) struct Try {
    registry: Registry,
    guard: Option<GuardKey>,
}

impl Try {
    /// Counts how it ended.
    pub async fn end(mut self, end: End) -> Result<(), Refusal> {
        match self.guard.take() {
            Some(guard) => self.registry.end_try(guard, end).await,
            None => Ok(()),
        }
    }

    /// Goes on with what is to be compared, once it is read. Where it cannot be, nothing is compared, and the try is
    /// given back: an outage is nobody's guess.
    pub async fn unless<T, E: Into<Refusal>>(self, read: Result<T, E>) -> Result<(Self, T), Refusal> {
        match read {
            Ok(read) => Ok((self, read)),
            Err(problem) => {
                self.give_back().await;
                Err(problem.into())
            }
        }
    }

    /// Ends it as one that compared nothing. A store that is away is asked again for a while, as a try that never ends
    /// counts as one that failed.
    pub async fn give_back(mut self) {
        let Some(guard) = self.guard.take() else { return };
        let registry = self.registry.clone();
        if registry.end_try(guard, End::Void).await.is_ok() {
            return;
        }
        self.registry.inner.tasks.spawn(
            async move {
                for pause in GIVEN_BACK {
                    tokio::time::sleep(pause).await;
                    if registry.end_try(guard, End::Void).await.is_ok() {
                        return;
                    }
                }
                tracing::warn!("a try that compared nothing could not be given back: it will count as failed");
            }
            .boxed(),
        );
    }
}

impl Drop for Try {
    fn drop(&mut self) {
        let Some(guard) = self.guard.take() else { return };
        let registry = self.registry.clone();
        self.registry.inner.tasks.spawn(
            async move {
                if let Err(problem) = registry.end_try(guard, End::Wrong).await {
                    tracing::warn!(%problem, "a try that was given up could not be counted");
                }
            }
            .boxed(),
        );
    }
}

impl Registry {
    /// Counts a try that is about to compare. None: it may not; the caller does the same work for nothing.
    pub(super) async fn begin_try(&self, kind: &str, whose: &[u8]) -> Result<Option<Try>, Refusal> {
        if !self.rules().messages.limited {
            let (registry, guard) = (self.clone(), None);
            return Ok(Some(Try { registry, guard }));
        }
        let guard = self.store().keyring().fingerprint(kind, &[whose]);
        let registry = self.clone();
        // A task of its own: if whoever asked is gone before the store has answered, the try ends when it is dropped.
        let begun = self
            .inner
            .tasks
            .spawn(async move { registry.count_try(guard).await }.in_current_span());
        begun
            .await
            .unwrap_or_else(|problem| Err(Refusal::Internal(problem.to_string())))
    }

    async fn count_try(&self, guard: GuardKey) -> Result<Option<Try>, Refusal> {
        let guards = [guard];
        let give_up = Instant::now() + PATIENCE;
        loop {
            let now = self.store().now();
            let mut start = Start::Locked;
            let claimed = self.store().claim(&guards, now, WINDOW, |states: &mut [Tries]| {
                start = states
                    .first_mut()
                    .map_or(Start::Locked, |tries| tries.start(now.as_micros()));
                (start == Start::Go).then_some(())
            });
            let claimed = claimed.await?.is_some();
            match start {
                _ if claimed => {
                    return Ok(Some(Try {
                        registry: self.clone(),
                        guard: Some(guard),
                    }));
                }
                Start::Wait(micros) if Instant::now() < give_up => {
                    let time = Duration::from_micros(u64::try_from(micros).unwrap_or_default());
                    tokio::time::sleep(time.min(PATIENCE)).await;
                }
                _ => {
                    metrics::counter!("registry_tries_locked_total").increment(1);
                    return Ok(None);
                }
            }
        }
    }

    async fn end_try(&self, guard: GuardKey, end: End) -> Result<(), Refusal> {
        let now = self.store().now();
        self.store()
            .claim(&[guard], now, WINDOW, |states: &mut [Tries]| {
                states.first_mut().map(|tries| tries.end(end, now.as_micros()))
            })
            .await?;
        Ok(())
    }

    /// Forgets the failures at somebody's password: a reset link or code has proved more than a password would.
    pub(super) async fn forget_tries(&self, user: Uuid) -> Result<(), Refusal> {
        let guard = self.store().keyring().fingerprint(SIGN_IN, &[user.as_bytes()]);
        Ok(self.store().forget_claims(&guard).await?)
    }

    /// Counts a code that is about to be sent to a number. False: it may not go, and nothing is counted.
    pub(super) async fn may_send_code(&self, caller: &Caller, phone: &Phone) -> Result<bool, Refusal> {
        let (store, rules) = (self.store(), &self.rules().messages);
        let number = phone.msisdn();
        let key = |kind: &str, what: &[u8]| store.keyring().fingerprint(kind, &[what]);
        let mut shares = vec![("number", key("codes-to-number", number.as_bytes()), NUMBER_AT_LEAST)];
        if rules.limited {
            if !goes_to(&rules.countries, phone) {
                withheld("country", store.now());
                return Ok(false);
            }
            shares[0].2 = self.customs(caller.dialect).codes;
            let block = number
                .get(..number.len().saturating_sub(BLOCK_DIGITS))
                .unwrap_or_default();
            shares.push(("block", key("codes-to-block", block.as_bytes()), BLOCK));
            if let Some(network) = caller
                .ip
                .as_deref()
                .and_then(|ip| ip.parse::<IpAddr>().ok())
                .map(network_of)
            {
                shares.push(("ip", key("codes-from", network.to_string().as_bytes()), ADDRESS));
            }
            let budget = Allowance {
                per_day: Some(rules.daily_budget),
                ..Allowance::default()
            };
            shares.push((CODES_IN_ALL, key("codes-in-all", b""), budget));
        }
        self.take(&shares).await
    }

    /// Counts a mail of a purpose that is about to be sent to an address. False: it may not go.
    pub(super) async fn may_send_mail(&self, purpose: &str, email: &Email) -> Result<bool, Refusal> {
        if !self.rules().messages.limited {
            return Ok(true);
        }
        let parts: [&[u8]; 2] = [purpose.as_bytes(), email.canonical().as_bytes()];
        let guard = self.store().keyring().fingerprint("mails-to", &parts);
        self.take(&[("mail", guard, MAIL)]).await
    }

    /// Counts somebody's asking for a mail to an address once more: once a minute.
    pub(super) async fn may_ask_again(&self, purpose: &str, email: &Email) -> Result<Allowed, Refusal> {
        if !self.rules().messages.limited {
            return Ok(Allowed::Yes);
        }
        let parts: [&[u8]; 2] = [purpose.as_bytes(), email.canonical().as_bytes()];
        let guard = self.store().keyring().fingerprint("asked-again", &parts);
        Ok(if self.take(&[("again", guard, AGAIN)]).await? {
            Allowed::Yes
        } else {
            Allowed::NotYet { retry_after: 60 }
        })
    }

    /// Takes one of each share, or none at all.
    pub(super) async fn take(&self, shares: &[Share]) -> Result<bool, Refusal> {
        let (guards, now) = (guards(shares), self.store().now());
        let mut used_up = None;
        let taken = self.store().claim(&guards, now, KEPT, |states: &mut [Sent]| {
            used_up = take_each(states, shares, now);
            used_up.is_none().then_some(())
        });
        let taken = taken.await?.is_some();
        if let Some(what) = used_up {
            withheld(what, now);
        }
        Ok(taken)
    }
}

/// Counts a message that does not go, and says why it does not: of a budget once a day, not once for everybody who asks.
fn withheld(why: &'static str, now: Timestamp) {
    static OF_CODES: AtomicI64 = AtomicI64::new(i64::MIN);
    static OF_NOTICES: AtomicI64 = AtomicI64::new(i64::MIN);
    metrics::counter!("registry_messages_withheld_total", "why" => why).increment(1);
    let (told, what) = match why {
        CODES_IN_ALL => (&OF_CODES, "short messages"),
        NOTICES_IN_ALL => (&OF_NOTICES, "notices by SMS"),
        _ => return,
    };
    let today = now.as_micros().div_euclid(KEPT);
    if told.swap(today, Ordering::Relaxed) != today {
        tracing::warn!("the day's budget of {what} is used up; none goes out before tomorrow");
    }
}
