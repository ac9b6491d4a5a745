//! What a session's past events add up to.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::SessionEvent;
use crate::values::Timestamp;

/// One sign-in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Session {
    /// Nothing has happened yet.
    #[default]
    Absent,
    /// It goes on.
    Live(Live),
    /// It has ended.
    Ended,
    /// It never began: the stream remembers a sign-in that failed.
    Failed,
}

/// A session that goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    pub(super) user: Uuid,
    /// The number of the token that works.
    pub(super) generation: u32,
    /// The last refresh, unless there was none.
    pub(super) last_refresh: Option<LastRefresh>,
    pub(super) idle_expires_at: Timestamp,
    pub(super) expires_at: Timestamp,
}

/// What must be known of the last refresh to tell a lost answer from a theft.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRefresh {
    /// The token that was spent for the one that works.
    pub(super) spent: u32,
    /// When it was spent first.
    pub(super) at: Timestamp,
    /// Its first successor, void since a second one was given out for it.
    pub(super) voided: Option<u32>,
}

impl Session {
    /// Whose session it is, while it goes on.
    #[must_use]
    pub const fn user(&self) -> Option<Uuid> {
        match self {
            Self::Live(live) => Some(live.user),
            _ => None,
        }
    }

    /// The number of the refresh token that works, while the session goes on.
    #[must_use]
    pub const fn generation(&self) -> Option<u32> {
        match self {
            Self::Live(live) => Some(live.generation),
            _ => None,
        }
    }

    /// Takes a fact into account.
    pub fn evolve(&mut self, event: &SessionEvent) {
        match (event, &mut *self) {
            (
                SessionEvent::Started {
                    user,
                    idle_expires_at,
                    expires_at,
                    ..
                },
                _,
            ) => {
                *self = Self::Live(Live {
                    user: *user,
                    generation: 0,
                    last_refresh: None,
                    idle_expires_at: *idle_expires_at,
                    expires_at: *expires_at,
                });
            }
            (
                SessionEvent::Refreshed {
                    generation,
                    retry,
                    idle_expires_at,
                    at,
                },
                Self::Live(live),
            ) => {
                live.last_refresh = match live.last_refresh {
                    // The same token was spent again: its time counts from the first use, so that
                    // repeating does not keep the window open.
                    Some(last) if *retry => Some(LastRefresh {
                        voided: Some(live.generation),
                        ..last
                    }),
                    _ => Some(LastRefresh {
                        spent: live.generation,
                        at: *at,
                        voided: None,
                    }),
                };
                live.generation = *generation;
                live.idle_expires_at = *idle_expires_at;
            }
            (SessionEvent::Ended { .. }, _) => *self = Self::Ended,
            (SessionEvent::Failed { .. }, _) => *self = Self::Failed,
            (SessionEvent::Refreshed { .. } | SessionEvent::ReuseDetected { .. }, _) => {}
        }
    }
}
