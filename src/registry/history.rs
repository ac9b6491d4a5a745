//! What has happened to an account or a domain, opened as far as its keys are still there.

use aggregates::audit::{Audit, AuditCommand};
use aggregates::values::Role;
use serde_json::Value;
use uuid::Uuid;

use super::command::{Asked, Who};
use super::{Refusal, Registry};
use crate::store::{EventFilter, OpenedEvent};

/// One event as it is shown.
#[derive(Debug, Clone)]
pub struct HistoryEntry {
    /// The event, opened.
    pub event: OpenedEvent,
}

impl HistoryEntry {
    /// The facts and, until they are erased, the personal fields; erased ones are `null`.
    #[must_use]
    pub fn data(&self) -> Value {
        let mut data = self.event.data.clone();
        for name in &self.event.personal {
            data.entry(name.clone()).or_insert(Value::Null);
        }
        // A field that was cleared is named without a value: shown as nothing, like one that was erased.
        if let Some(Value::Array(fields)) = self.event.data.get("fields") {
            for name in fields.iter().filter_map(Value::as_str) {
                data.entry(name).or_insert(Value::Null);
            }
        }
        for name in ["phone", "previous"] {
            // A number is shown as registered, as everywhere.
            let shown = data
                .get(name)
                .and_then(|number| number.get("registered").or(number.get("msisdn")))
                .cloned();
            if let Some(shown) = shown {
                data.insert(name.to_owned(), shown);
            }
        }
        Value::Object(data)
    }
}

/// A page of events with the log position to go on after, if there is more.
#[derive(Debug, Clone)]
pub struct HistoryPage {
    /// The events, oldest first.
    pub entries: Vec<HistoryEntry>,
    /// Where to go on.
    pub next: Option<i64>,
}

impl HistoryEntry {
    /// The event it followed from, where it names one: the request whose link or code was used.
    #[must_use]
    pub fn cause(&self) -> Option<Uuid> {
        let named = |name: &str| self.event.data.get(name)?.as_str()?.parse().ok();
        let cause: Option<Uuid> = named("original").or_else(|| named("request"));
        // A request names itself; one that is sent again names the first.
        cause.filter(|cause| *cause != self.event.record.event_id)
    }

    /// The id of the request that led to it.
    #[must_use]
    pub fn correlation(&self) -> Option<&str> {
        self.event.metadata.get("request_id").map(String::as_str)
    }
}

impl Registry {
    /// The history of an account. Reading somebody else's is recorded, once per reader, subject and hour.
    pub async fn user_history(
        &self,
        asked: &Asked,
        user: Uuid,
        after: i64,
        limit: i64,
        filter: &EventFilter,
    ) -> Result<HistoryPage, Refusal> {
        let mut page = self.page("user", &user.to_string(), after, limit, filter).await?;
        for entry in &mut page.entries {
            if !sees_origin(
                asked,
                user,
                entry.event.metadata.get("origin_owner").map(String::as_str),
            ) {
                (entry.event.ip, entry.event.user_agent) = (None, None);
            }
        }
        self.record_reading(asked, user).await?;
        Ok(page)
    }

    /// Remembers that somebody looked at what somebody else did. Whoever works at the command line has no account: all
    /// of them are one reader, with the id that is all zeros.
    pub(super) async fn record_reading(&self, asked: &Asked, user: Uuid) -> Result<(), Refusal> {
        let Some(reader) = reader(asked).filter(|reader| *reader != user) else {
            return Ok(());
        };
        let at = self.store().now();
        let command = AuditCommand::ReadHistory { of: user, reader, at };
        self.remember_reading(asked, Some(user), reader, &command).await
    }

    /// Remembers that somebody listed or searched the accounts, once per reader and hour.
    pub(super) async fn record_listing(&self, asked: &Asked) -> Result<(), Refusal> {
        let Some(reader) = reader(asked) else {
            return Ok(());
        };
        let command = AuditCommand::ListUsers { at: self.store().now() };
        self.remember_reading(asked, None, reader, &command).await
    }

    async fn remember_reading(
        &self,
        asked: &Asked,
        subject: Option<Uuid>,
        reader: Uuid,
        command: &AuditCommand,
    ) -> Result<(), Refusal> {
        self.command(asked, subject, |unit| async move {
            let executed = unit.execute::<Audit>(&reader.to_string(), command.clone()).await?;
            unit.unchanged(crate::store::Receipt {
                id: reader.to_string(),
                version: executed.version,
                position: 0,
                events: Vec::new(),
                created: false,
            });
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// The history of a domain.
    pub async fn domain_history(
        &self,
        name: &str,
        after: i64,
        limit: i64,
        filter: &EventFilter,
    ) -> Result<HistoryPage, Refusal> {
        self.page("domain", name, after, limit, filter).await
    }

    async fn page(
        &self,
        kind: &str,
        id: &str,
        after: i64,
        limit: i64,
        filter: &EventFilter,
    ) -> Result<HistoryPage, Refusal> {
        let mut records = self
            .store()
            .filtered_events_of(kind, id, after, limit + 1, filter)
            .await?;
        // The end of a history is an empty page; what has no history at all is not there.
        if records.is_empty() && self.store().events_of(kind, id, 0, 1).await?.is_empty() {
            return Err(Refusal::NotFound);
        }
        let more = i64::try_from(records.len()).unwrap_or(i64::MAX) > limit;
        records.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let next = records.last().filter(|_| more).map(|record| record.position);
        let entries = self
            .store()
            .open_events(records)
            .await?
            .into_iter()
            .map(|event| HistoryEntry { event })
            .collect();
        Ok(HistoryPage { entries, next })
    }
}

/// Under whose id it is remembered that something was read.
fn reader(asked: &Asked) -> Option<Uuid> {
    match asked.caller.who {
        Who::System => Some(Uuid::nil()),
        _ => asked.caller.user(),
    }
}

/// Whether the caller may see where a request came from: where an administrator was is the administrator's own.
pub(super) fn sees_origin(asked: &Asked, user: Uuid, owner: Option<&str>) -> bool {
    let reads_all = asked.caller.has(Role::Admin) || asked.caller.has(Role::Auditor);
    reads_all || owner.is_some_and(|owner| owner == user.to_string())
}
