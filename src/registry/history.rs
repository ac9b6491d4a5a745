//! What has happened to an account or a domain, opened as far as its keys are still there.

use aggregates::audit::{Audit, AuditCommand};
use aggregates::values::Role;
use serde_json::Value;
use uuid::Uuid;

use super::command::Asked;
use super::{Refusal, Registry};
use crate::store::OpenedEvent;

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

impl Registry {
    /// The history of an account. Reading somebody else's is recorded, once per reader, subject and hour.
    pub async fn user_history(
        &self,
        asked: &Asked,
        user: Uuid,
        after: i64,
        limit: i64,
    ) -> Result<HistoryPage, Refusal> {
        let page = self.page("user", &user.to_string(), after, limit).await?;
        let mut page = page;
        if !asked.caller.has(Role::Admin) && !asked.caller.has(Role::Auditor) {
            // Where an administrator was is the administrator's own.
            let own = user.to_string();
            for entry in &mut page.entries {
                if entry.event.metadata.get("origin_owner") != Some(&own) {
                    (entry.event.ip, entry.event.user_agent) = (None, None);
                }
            }
        }
        if let Some(reader) = asked.caller.user().filter(|reader| *reader != user) {
            self.command(asked, Some(user), |unit| async move {
                let command = AuditCommand::ReadHistory {
                    of: user,
                    reader,
                    at: self.store().now(),
                };
                let executed = unit.execute::<Audit>(&reader.to_string(), command).await?;
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
        }
        Ok(page)
    }

    /// The history of a domain.
    pub async fn domain_history(&self, name: &str, after: i64, limit: i64) -> Result<HistoryPage, Refusal> {
        self.page("domain", name, after, limit).await
    }

    async fn page(&self, kind: &str, id: &str, after: i64, limit: i64) -> Result<HistoryPage, Refusal> {
        let mut records = self.store().events_of(kind, id, after, limit + 1).await?;
        // The end of a history is an empty page; what has no history at all is not there.
        if records.is_empty() && (after == 0 || self.store().events_of(kind, id, 0, 1).await?.is_empty()) {
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
