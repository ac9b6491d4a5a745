//! What a gateway says of a number: when its SIM was changed. Whoever holds a new one may not be who held the old one,
//! so for a while no code sent to the number sets a password.
//!
//! It is remembered as what is counted is, under a keyed hash of the number, and forgotten once it matters no more.

use aggregates::values::{Phone, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{HOUR, Refusal, Registry};
use crate::guards::SKEW;
use crate::store::{GuardKey, Store, StoreError};

/// How long a change of the SIM matters; nothing by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SimDelay(i64);

/// When the SIM was changed, microseconds since 1970; without a word of it in the year 1970, which is long ago.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Changed {
    at: i64,
}

impl SimDelay {
    /// So many hours; 0: it does not matter.
    #[must_use]
    pub fn hours(hours: u32) -> Self {
        Self(i64::from(hours) * HOUR)
    }

    /// Whether it matters at all.
    #[must_use]
    pub const fn is_on(self) -> bool {
        self.0 > 0
    }

    /// Remembers that the SIM of a number was changed. One that is said to lie ahead was changed now.
    pub async fn note(self, store: &Store, phone: &Phone, changed_at: Timestamp) -> Result<(), StoreError> {
        let now = store.now();
        let at = changed_at.as_micros().min(now.as_micros());
        store
            .claim(
                &[guard(store, phone)],
                now,
                self.0 + SKEW,
                |states: &mut [Changed]| {
                    let changed = states.first_mut().filter(|changed| changed.at < at)?;
                    changed.at = at;
                    Some(())
                },
            )
            .await
            .map(|_| ())
    }

    /// Whether the SIM of a number was changed so short a time ago that it matters.
    async fn holds(self, store: &Store, phone: &Phone) -> Result<bool, StoreError> {
        let now = store.now();
        let mut holds = false;
        store
            .claim(&[guard(store, phone)], now, self.0, |states: &mut [Changed]| {
                holds = states
                    .first()
                    .is_some_and(|changed| now.as_micros() < changed.at + self.0);
                None::<()>
            })
            .await?;
        Ok(holds)
    }
}

fn guard(store: &Store, phone: &Phone) -> GuardKey {
    store.keyring().fingerprint("sim-changed", &[phone.msisdn().as_bytes()])
}

impl Registry {
    /// Whether a code sent to a number may set a password. Not before what carried it has told of the SIM.
    pub(super) async fn sim_is_settled(&self, phone: &Phone, request: Option<Uuid>) -> Result<bool, Refusal> {
        let delay = self.rules().messages.sim_delay;
        if !delay.is_on() {
            return Ok(true);
        }
        // In this order: what is said of the SIM is noted before the code counts as sent.
        if let Some(request) = request
            && !self.store().has_left(request).await?
        {
            return Ok(false);
        }
        Ok(!delay.holds(self.store(), phone).await?)
    }
}
