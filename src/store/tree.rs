//! The notary's tables: complete nodes of the Merkle tree over the log, and its signed heads.
//!
//! A leaf is the hash that stands beside its event. What a node or a head is, `audit` knows; here they are only kept.

use std::collections::HashMap;

use aggregates::values::Timestamp;
use futures::TryStreamExt as _;
use sqlx::Row as _;
use uuid::Uuid;

use super::engine::{Engine, on_pool, on_quick};
use super::leaf::Leaf;
use super::read::{EventRecord, record};
use super::{Lease, RowWrite, Store, StoreError};
use crate::audit::tree::{Hash, Node};
use crate::audit::witness::Erasure;
use crate::keys::hex;

/// What the events of a page may take together, as they are stored.
const PAGE_BYTES: usize = 8 << 20;
/// Nodes asked for in one statement.
const ASKED: usize = 400;

const ROWS: &str = "
    SELECT aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, position, event_id,
           subject, recorded_at, leaf_hash
    FROM events WHERE position > $1 ORDER BY position LIMIT $2";
const LEAVES: &str = "
    SELECT position, leaf_hash FROM events WHERE position > $1 AND position <= $2 ORDER BY position";
const NODES_AFTER: &str = "
    SELECT last_position, level, hash FROM tree_nodes
    WHERE last_position > $1 AND last_position <= $2 ORDER BY last_position, level";
const NEWEST: &str = "SELECT size, root, note, signed_at FROM tree_heads ORDER BY size DESC LIMIT 1";
const HEADS_AFTER: &str = "
    SELECT size, root, note, signed_at FROM tree_heads WHERE size > $1 ORDER BY size LIMIT $2";
const COVERING: &str = "
    SELECT size, root, note, signed_at FROM tree_heads WHERE size >= $1 ORDER BY size LIMIT 1";
const COPIES: &str = "SELECT size FROM tree_copies WHERE lane = 1";
/// Only under the lease: what a former owner's folder has says nothing any more.
const NOTE_COPIES: &str = "
    INSERT INTO tree_copies (lane, size, copied_at)
    SELECT 1, CAST($3 AS BIGINT), CAST($4 AS BIGINT) FROM checkpoints WHERE follower = $1 AND epoch = $2
    ON CONFLICT (lane) DO UPDATE SET size = excluded.size, copied_at = excluded.copied_at";
const ERASURES: &str = "
    SELECT position, recorded_at, subject FROM events
    WHERE position > $1 AND position <= $2 AND event_type = 'user.erased' ORDER BY position";
const LAST_POSITION: &str = "SELECT max(position) AS position FROM events";
const LAST_NODE: &str = "SELECT max(last_position) AS position FROM tree_nodes";
/// Numbered anew, every stream must come to the numbers it has.
const OUT_OF_SEQUENCE: &str = "
    SELECT min(position) AS position FROM (
        SELECT position, sequence,
               row_number() OVER (PARTITION BY aggregate_type, aggregate_id ORDER BY position) AS number
        FROM events
    ) AS numbered WHERE sequence <> number";
const ADD_NODES_POSTGRES: &str = "
    INSERT INTO tree_nodes (last_position, level, hash)
    SELECT (j ->> 0)::bigint, (j ->> 1)::bigint, decode(j ->> 2, 'hex') FROM json_array_elements($1::json) AS j";
const ADD_NODES_SQLITE: &str = "
    INSERT INTO tree_nodes (last_position, level, hash)
    SELECT j.value ->> '$[0]', j.value ->> '$[1]', unhex(j.value ->> '$[2]') FROM json_each(?1) AS j";
const ADD_HEAD_POSTGRES: &str = "
    INSERT INTO tree_heads (size, root, note, signed_at) VALUES ($3, decode($1, 'hex'), $2, $4)";
const ADD_HEAD_SQLITE: &str = "
    INSERT INTO tree_heads (size, root, note, signed_at) VALUES ($3, unhex($1), $2, $4)";

/// An event with the hash that stands beside it.
#[derive(Debug, Clone)]
pub struct HashedEvent {
    /// The event as it is stored.
    pub record: EventRecord,
    /// The stored hash; what is not 32 bytes long is none.
    pub leaf: Option<Hash>,
}

impl EventRecord {
    /// The hash that must stand beside it.
    #[must_use]
    pub fn leaf_hash(&self) -> Hash {
        Leaf {
            aggregate_type: &self.aggregate_type,
            aggregate_id: &self.aggregate_id,
            sequence: self.sequence,
            event_type: &self.event_type,
            event_version: &self.event_version,
            payload: &self.payload,
            metadata: &self.metadata,
            event_id: self.event_id,
            subject: &self.subject,
            recorded_at: self.recorded_at.as_micros(),
        }
        .hash()
    }
}

/// A signed head as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredHead {
    /// How many events it covers.
    pub size: i64,
    /// The root over them; what is not 32 bytes long is none.
    pub root: Option<Hash>,
    /// The signed note.
    pub note: String,
    /// When it was signed.
    pub signed_at: Timestamp,
}

macro_rules! head {
    ($row:expr) => {{
        let row = $row;
        Ok::<StoredHead, StoreError>(StoredHead {
            size: row.try_get("size")?,
            root: row.try_get::<&[u8], _>("root")?.try_into().ok(),
            note: row.try_get("note")?,
            signed_at: Timestamp::from_micros(row.try_get("signed_at")?),
        })
    }};
}

impl Store {
    /// The events after a position with their hashes, in order; fewer of them if they are large.
    pub async fn hashed_events(&self, after: i64, limit: i64) -> Result<Vec<HashedEvent>, StoreError> {
        let (mut page, mut bytes) = (Vec::new(), 0);
        on_pool!(&self.inner.engine, pool => {
            let mut rows = sqlx::query(ROWS).bind(after).bind(limit).fetch(pool);
            while bytes < PAGE_BYTES && let Some(row) = rows.try_next().await? {
                let leaf = row.try_get::<&[u8], _>("leaf_hash")?.try_into().ok();
                let record: EventRecord = record!(row)?;
                bytes += record.payload.len() + record.metadata.len();
                page.push(HashedEvent { record, leaf });
            }
        });
        Ok(page)
    }

    /// The stored hashes of the events after one position up to another.
    pub async fn leaf_hashes(&self, after: i64, until: i64) -> Result<Vec<Hash>, StoreError> {
        let mut hashes = Vec::new();
        on_pool!(&self.inner.engine, pool => {
            for row in sqlx::query(LEAVES).bind(after).bind(until).fetch_all(pool).await? {
                hashes.push(hash_at(row.try_get("position")?, row.try_get("leaf_hash")?)?);
            }
        });
        if i64::try_from(hashes.len()) == Ok(until - after) {
            Ok(hashes)
        } else {
            Err(StoreError::corrupt("events", after + 1, "the log has a gap"))
        }
    }

    /// The hashes of these complete nodes, as far as they are there.
    pub async fn tree_hashes(&self, nodes: &[Node]) -> Result<HashMap<Node, Hash>, StoreError> {
        let mut hashes = HashMap::with_capacity(nodes.len());
        for some in nodes.chunks(ASKED) {
            let (leaves, above): (Vec<Node>, Vec<Node>) = some.iter().partition(|node| node.level == 0);
            let list = |nodes: &[Node]| -> String {
                let rows: Vec<String> = nodes
                    .iter()
                    .map(|node| format!("({}, {})", node.last(), node.level))
                    .collect();
                rows.join(", ")
            };
            for (sql, among) in [
                (
                    "SELECT position AS last, 0 AS level, leaf_hash AS hash FROM events WHERE (position, 0) IN (VALUES ",
                    leaves,
                ),
                (
                    "SELECT last_position AS last, level, hash FROM tree_nodes WHERE (last_position, level) IN (VALUES ",
                    above,
                ),
            ] {
                if among.is_empty() {
                    continue;
                }
                // Numbers only: nothing of it comes from outside as text.
                let sql = format!("{sql}{})", list(&among));
                on_pool!(&self.inner.engine, pool => {
                    for row in sqlx::query(&sql).fetch_all(pool).await? {
                        let last: i64 = row.try_get("last")?;
                        let hash = hash_at(last, row.try_get("hash")?)?;
                        let last = u64::try_from(last).unwrap_or_default();
                        for node in among.iter().filter(|node| node.last() == last) {
                            let level: i64 = if node.level == 0 { 0 } else { row.try_get("level")? };
                            if level == i64::from(node.level) {
                                hashes.insert(*node, hash);
                            }
                        }
                    }
                });
            }
        }
        Ok(hashes)
    }

    /// The nodes above the leaves that end after one position and not after another, in the order they were completed.
    pub async fn tree_nodes_after(&self, after: i64, until: i64) -> Result<Vec<(i64, i64, Vec<u8>)>, StoreError> {
        on_pool!(&self.inner.engine, pool => {
            let rows = sqlx::query(NODES_AFTER).bind(after).bind(until).fetch_all(pool).await?;
            rows.iter()
                .map(|row| Ok((row.try_get("last_position")?, row.try_get("level")?, row.try_get("hash")?)))
                .collect()
        })
    }

    /// The newest signed head.
    pub async fn newest_head(&self) -> Result<Option<StoredHead>, StoreError> {
        on_pool!(&self.inner.engine, pool => {
            let row = sqlx::query(NEWEST).fetch_optional(pool).await?;
            row.map(|row| head!(row)).transpose()
        })
    }

    /// The first signed head that covers a position.
    pub async fn head_covering(&self, position: i64) -> Result<Option<StoredHead>, StoreError> {
        on_pool!(&self.inner.engine, pool => {
            let row = sqlx::query(COVERING).bind(position).fetch_optional(pool).await?;
            row.map(|row| head!(row)).transpose()
        })
    }

    /// The signed heads of more than so many events, the smallest first.
    pub async fn heads_after(&self, size: i64, limit: i64) -> Result<Vec<StoredHead>, StoreError> {
        on_pool!(&self.inner.engine, pool => {
            let rows = sqlx::query(HEADS_AFTER).bind(size).bind(limit).fetch_all(pool).await?;
            rows.iter().map(|row| head!(row)).collect()
        })
    }

    /// Notes down how many events the last head covers that stands outside the database, for whoever asks.
    pub async fn note_copies(&self, lease: &Lease, size: i64) -> Result<(), StoreError> {
        let now = self.now().as_micros();
        on_quick!(&self.inner.engine, pool => {
            sqlx::query(NOTE_COPIES)
                .bind(&lease.follower)
                .bind(lease.epoch)
                .bind(size)
                .bind(now)
                .execute(pool)
                .await?;
            Ok(())
        })
    }

    /// How many events no head covers that stands outside the database.
    pub async fn uncovered(&self) -> Result<i64, StoreError> {
        let copied: Option<i64> = on_pool!(&self.inner.engine, pool => {
            sqlx::query_scalar(COPIES).fetch_optional(pool).await?
        });
        Ok((self.head().await?.position - copied.unwrap_or(0)).max(0))
    }

    /// Who was erased after one position and not after another.
    pub async fn erasures(&self, after: i64, until: i64) -> Result<Vec<Erasure>, StoreError> {
        on_pool!(&self.inner.engine, pool => {
            let rows = sqlx::query(ERASURES).bind(after).bind(until).fetch_all(pool).await?;
            rows.iter()
                .map(|row| {
                    Ok(Erasure {
                        position: row.try_get("position")?,
                        at: Timestamp::from_micros(row.try_get("recorded_at")?).to_string(),
                        user: row.try_get("subject")?,
                    })
                })
                .collect()
        })
    }

    /// The statements that add complete nodes and a signed head, to be written with the notary's checkpoint.
    #[must_use]
    pub fn tree_writes(&self, nodes: &[(Node, Hash)], head: Option<&StoredHead>) -> Vec<RowWrite> {
        let postgres = self.engine_name() == "postgres";
        let mut writes = Vec::new();
        if !nodes.is_empty() {
            let rows: Vec<serde_json::Value> = nodes
                .iter()
                .map(|(node, hash)| serde_json::json!([node.last(), node.level, hex(hash)]))
                .collect();
            writes.push(RowWrite {
                sql: if postgres { ADD_NODES_POSTGRES } else { ADD_NODES_SQLITE },
                texts: vec![serde_json::Value::Array(rows).to_string()],
                numbers: Vec::new(),
            });
        }
        if let Some(head) = head {
            writes.push(RowWrite {
                sql: if postgres { ADD_HEAD_POSTGRES } else { ADD_HEAD_SQLITE },
                texts: vec![hex(&head.root.unwrap_or_default()), head.note.clone()],
                numbers: vec![head.size, head.signed_at.as_micros()],
            });
        }
        writes
    }

    /// The position of the last event there is, whatever the head of the log says.
    pub async fn last_event(&self) -> Result<i64, StoreError> {
        self.largest(LAST_POSITION).await
    }

    /// The last position below any node of the tree.
    pub async fn last_tree_node(&self) -> Result<i64, StoreError> {
        self.largest(LAST_NODE).await
    }

    /// The position of the first event whose number in its stream is not the next one.
    pub async fn first_out_of_sequence(&self) -> Result<Option<i64>, StoreError> {
        let first = if let Engine::Postgres { pool, .. } = &self.inner.engine {
            let mut transaction = pool.begin().await?;
            // A long sort is no hung statement.
            sqlx::query("SET LOCAL statement_timeout = 0")
                .execute(&mut *transaction)
                .await?;
            let row = sqlx::query(OUT_OF_SEQUENCE).fetch_one(&mut *transaction).await?;
            let first = row.try_get::<Option<i64>, _>("position")?.unwrap_or_default();
            transaction.rollback().await?;
            first
        } else {
            self.largest(OUT_OF_SEQUENCE).await?
        };
        Ok(Some(first).filter(|position| *position > 0))
    }

    async fn largest(&self, sql: &'static str) -> Result<i64, StoreError> {
        on_pool!(&self.inner.engine, pool => {
            let row = sqlx::query(sql).fetch_one(pool).await?;
            Ok(row.try_get::<Option<i64>, _>("position")?.unwrap_or_default())
        })
    }
}

fn hash_at(position: i64, bytes: &[u8]) -> Result<Hash, StoreError> {
    bytes
        .try_into()
        .map_err(|_| StoreError::corrupt("events", position, "a hash is not 32 bytes long"))
}
