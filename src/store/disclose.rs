//! Opening single events for somebody who may read them: the key of that event alone, and what it opens.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use zeroize::Zeroizing;

use super::event::{SEALED, scopes};
use super::{EventRecord, Row, Store, StoreError};
use crate::keys::{Seal, SealError};

/// Where in an event something is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// In its payload.
    Payload,
    /// In its metadata: where the request came from.
    Origin,
}

/// A sealed part that is opened.
pub struct Disclosed {
    /// Where it stands.
    pub part: Part,
    /// Its scope.
    pub scope: String,
    /// Whose key it was sealed under.
    pub owner: String,
    /// The key of this event and scope.
    pub secret: Zeroizing<[u8; 32]>,
    /// The text that was sealed.
    pub plain: Zeroizing<String>,
}

/// A sealed part: where it stands, its scope, whose it is, its text.
type Closed = (Part, String, String, String);

impl Store {
    /// What can still be opened of these events, in their order.
    pub async fn disclose(&self, records: &[EventRecord]) -> Result<Vec<Vec<Disclosed>>, StoreError> {
        let closed: Vec<Vec<Closed>> = records.iter().map(sealed_in).collect::<Result<_, _>>()?;
        let wanted: HashSet<(String, String)> = closed
            .iter()
            .flatten()
            .map(|(_, scope, owner, _)| (owner.clone(), scope.clone()))
            .collect();
        let keys = self.data_keys_of(&wanted).await?;
        let mut all = Vec::with_capacity(records.len());
        for (record, parts) in records.iter().zip(closed) {
            let row = Row {
                aggregate_type: &record.aggregate_type,
                aggregate_id: &record.aggregate_id,
                sequence: record.sequence,
                event_type: &record.event_type,
                event_id: record.event_id,
            };
            let mut opened = Vec::with_capacity(parts.len());
            for (part, scope, owner, text) in parts {
                let Some(key) = keys.get(&(owner.clone(), scope.clone())) else {
                    continue;
                };
                let seal = Seal::new(key, record.event_id, &scope)?;
                let plain = match seal.open(&row.scope(&scope), &text) {
                    Ok(plain) => plain,
                    // The scope began anew: the key it was sealed with was destroyed.
                    Err(SealError::Key) => continue,
                    Err(problem) => return Err(problem.into()),
                };
                let plain = std::str::from_utf8(&plain)
                    .map_err(|_| StoreError::corrupt("events", record.position, "a sealed part is no text"))?;
                opened.push(Disclosed {
                    part,
                    plain: Zeroizing::new(plain.to_owned()),
                    secret: Zeroizing::new(*seal.secret()),
                    scope,
                    owner,
                });
            }
            all.push(opened);
        }
        Ok(all)
    }
}

fn sealed_in(record: &EventRecord) -> Result<Vec<Closed>, StoreError> {
    let corrupt = |problem: serde_json::Error| StoreError::corrupt("events", record.position, problem);
    let payload: Value = serde_json::from_str(&record.payload).map_err(corrupt)?;
    let metadata: HashMap<String, String> = serde_json::from_str(&record.metadata).map_err(corrupt)?;
    let text = |scope: &str| payload.get(SEALED)?.get(scope)?.get("v")?.as_str().map(str::to_owned);
    let mut parts: Vec<Closed> = scopes(&payload)
        .into_iter()
        .filter_map(|scope| text(&scope).map(|text| (Part::Payload, scope, record.subject.clone(), text)))
        .collect();
    if let (Some(text), Some(owner), Some(scope)) = (
        metadata.get("origin"),
        metadata.get("origin_owner"),
        metadata.get("origin_scope"),
    ) {
        parts.push((Part::Origin, scope.clone(), owner.clone(), text.clone()));
    }
    Ok(parts)
}
