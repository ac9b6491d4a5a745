//! What proves the history: signed heads, proofs of the tree, and bundles of one account's events.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::stream::{Stream, try_unfold};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::command::Asked;
use super::history::sees_origin;
use super::{Refusal, Registry};
use crate::audit::NotaryKeys;
use crate::audit::bundle::{self, BundledEvent, Manifest, OpenedPart, Writer};
use crate::audit::note::{NoteError, PublicKey};
use crate::audit::tree::{Hash, Node, Path};
use crate::store::{EventFilter, EventRecord, Part, StoredHead, event_meanings};

/// Events of a bundle read at a time.
const PAGE: i64 = 100;
/// Between two looks for a head.
const LOOK: Duration = Duration::from_millis(50);

/// A public key of the notary.
#[derive(Debug, Clone)]
pub struct NotaryKeyView {
    /// The key.
    pub key: PublicKey,
    /// When it was made.
    pub created_at: aggregates::values::Timestamp,
    /// Since when another one signs.
    pub retired_at: Option<aggregates::values::Timestamp>,
}

/// A proof that an event is in the log.
#[derive(Debug, Clone)]
pub struct Inclusion {
    /// The event's own hash.
    pub leaf: Hash,
    /// The proof.
    pub hashes: Vec<Hash>,
}

fn unusable(problem: NoteError) -> Refusal {
    Refusal::Internal(format!("a key of the notary {problem}"))
}

#[expect(clippy::needless_pass_by_value, reason = "errors are mapped by it")]
fn unwritable(problem: serde_json::Error) -> Refusal {
    Refusal::Internal(problem.to_string())
}

impl Registry {
    /// The newest signed head. Before the notary has first signed there is none.
    pub async fn log_head(&self) -> Result<StoredHead, Refusal> {
        self.store().newest_head().await?.ok_or(Refusal::NotFound)
    }

    /// The notary's public keys, the one that signs first.
    pub fn notary_keys(&self) -> Result<Vec<NotaryKeyView>, Refusal> {
        let keys = NotaryKeys::of(self.store().keyring()).map_err(unusable)?.public();
        let pairs = self.store().keyring().notary();
        let view = |(key, pair): (PublicKey, &crate::keys::SigningKey)| NotaryKeyView {
            key,
            created_at: pair.created_at(),
            retired_at: pair.retired_at(),
        };
        Ok(keys.into_iter().zip(pairs.iter().rev()).map(view).collect())
    }

    /// The proof that the event at a position, from 1, is in the tree of the first `size` events. Both lie within the
    /// newest head.
    pub async fn inclusion(&self, position: i64, size: i64) -> Result<Inclusion, Refusal> {
        let index = position.unsigned_abs().saturating_sub(1);
        let path = Path::inclusion(index, size.unsigned_abs()).ok_or(Refusal::NotFound)?;
        let own = Node {
            level: 0,
            number: index,
        };
        let mut nodes: Vec<Node> = path.nodes().collect();
        nodes.push(own);
        let hashes = self.store().tree_hashes(&nodes).await?;
        let proof = path.hashes(|node| hashes.get(&node).copied());
        let (Some(leaf), Some(proof)) = (hashes.get(&own), proof) else {
            return Err(hole(position));
        };
        Ok(Inclusion {
            leaf: *leaf,
            hashes: proof,
        })
    }

    /// The proof that the tree of the first `from` events is the beginning of that of the first `to`.
    pub async fn consistency(&self, from: i64, to: i64) -> Result<Vec<Hash>, Refusal> {
        let path = Path::consistency(from.unsigned_abs(), to.unsigned_abs()).ok_or(Refusal::NotFound)?;
        let nodes: Vec<Node> = path.nodes().collect();
        let hashes = self.store().tree_hashes(&nodes).await?;
        path.hashes(|node| hashes.get(&node).copied()).ok_or_else(|| hole(to))
    }

    /// A bundle of an account's events, line by line, of those that a signed head covers. Waits so long for a head that
    /// covers the newest of them.
    pub async fn bundle(
        &self,
        asked: &Asked,
        user: Uuid,
        filter: EventFilter,
        patience: Duration,
    ) -> Result<impl Stream<Item = Result<String, Refusal>> + Send + use<>, Refusal> {
        let last = self.store().last_event_of("user", &user.to_string()).await?;
        let last = last.ok_or(Refusal::NotFound)?;
        let head = self.covering(last.position, patience).await?;
        self.record_reading(asked, user).await?;
        let keys = NotaryKeys::of(self.store().keyring()).map_err(unusable)?;
        let manifest = Manifest {
            bundle: bundle::version(),
            log: keys.name().to_owned(),
            keys: keys.public().iter().map(ToString::to_string).collect(),
            head: head.note,
            user,
            exported_at: self.store().now(),
            meaning: event_meanings("user"),
        };
        let writer = Writer::begin(&manifest).map_err(unwritable)?;
        let state = Bundling {
            registry: self.clone(),
            asked: asked.clone(),
            user,
            filter,
            size: head.size,
            after: 0,
            keys,
            writer: Some(writer.0),
            first: Some(writer.1),
        };
        Ok(try_unfold(state, |mut state| async move {
            let lines = state.next().await?;
            Ok(lines.map(|lines| (lines, state)))
        }))
    }

    /// The newest head, once it covers a position.
    async fn covering(&self, position: i64, patience: Duration) -> Result<StoredHead, Refusal> {
        let until = tokio::time::Instant::now() + patience;
        loop {
            if let Some(head) = self.store().newest_head().await?.filter(|head| head.size >= position) {
                return Ok(head);
            }
            if tokio::time::Instant::now() >= until {
                return Err(Refusal::Unavailable { retry_after: 2 });
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn hole(position: i64) -> Refusal {
    Refusal::Internal(format!("the tree has a hole at position {position}"))
}

/// A bundle that is being written.
struct Bundling {
    registry: Registry,
    asked: Asked,
    user: Uuid,
    filter: EventFilter,
    /// The size of the head.
    size: i64,
    after: i64,
    keys: NotaryKeys,
    writer: Option<Writer>,
    /// The first line, until it was given out.
    first: Option<String>,
}

impl Bundling {
    /// The next lines; none when everything was given out.
    async fn next(&mut self) -> Result<Option<String>, Refusal> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        let Some(mut writer) = self.writer.take() else {
            return Ok(None);
        };
        let store = self.registry.store();
        let id = self.user.to_string();
        let mut records = store
            .filtered_events_of("user", &id, self.after, PAGE, &self.filter)
            .await?;
        records.retain(|record| record.position <= self.size);
        let Some(last) = records.last() else {
            return Ok(Some(writer.end(&self.keys).map_err(unwritable)?));
        };
        self.after = last.position;
        let mut lines = String::new();
        let disclosed = store.disclose(&records).await?;
        for (record, parts) in records.into_iter().zip(disclosed) {
            let proof = self.registry.inclusion(record.position, self.size).await?;
            let mut opened = Vec::new();
            for part in parts {
                if part.part == Part::Origin && !sees_origin(&self.asked, self.user, Some(&part.owner)) {
                    continue;
                }
                opened.push(OpenedPart {
                    part: match part.part {
                        Part::Payload => "payload".to_owned(),
                        Part::Origin => "origin".to_owned(),
                    },
                    scope: part.scope,
                    key: STANDARD.encode(*part.secret),
                    fields: RawValue::from_string(part.plain.to_string()).map_err(unwritable)?,
                });
            }
            let event = bundled(record, &proof.hashes, opened);
            lines.push_str(&writer.event(&event).map_err(unwritable)?);
        }
        self.writer = Some(writer);
        Ok(Some(lines))
    }
}

fn bundled(record: EventRecord, proof: &[Hash], opened: Vec<OpenedPart>) -> BundledEvent {
    BundledEvent {
        position: record.position,
        aggregate_type: record.aggregate_type,
        aggregate_id: record.aggregate_id,
        sequence: record.sequence,
        event_type: record.event_type,
        event_version: record.event_version,
        payload: record.payload,
        metadata: record.metadata,
        event_id: record.event_id,
        subject: record.subject,
        recorded_at: record.recorded_at.as_micros(),
        proof: proof.iter().map(|hash| STANDARD.encode(hash)).collect(),
        opened,
    }
}
