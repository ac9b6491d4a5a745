//! What a reader's past events add up to.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::AuditEvent;

/// What one reader has read in the newest hour they read in. Older hours decide nothing any more and
/// are forgotten, so that the state of a diligent auditor stays small.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    pub(super) hour: u32,
    pub(super) subjects: BTreeSet<Uuid>,
    pub(super) listed: bool,
}

impl Audit {
    /// Takes a fact into account.
    pub fn evolve(&mut self, event: &AuditEvent) {
        let (AuditEvent::HistoryRead { hour, .. } | AuditEvent::UsersListed { hour }) = event;
        if *hour > self.hour {
            *self = Self {
                hour: *hour,
                ..Self::default()
            };
        }
        if *hour == self.hour {
            match event {
                AuditEvent::HistoryRead { of, .. } => {
                    self.subjects.insert(*of);
                }
                AuditEvent::UsersListed { .. } => self.listed = true,
            }
        }
    }
}
