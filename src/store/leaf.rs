//! The leaf hash of an event: RFC 6962 over one byte-exact encoding of its row.
//!
//! Everything of the row is covered but the position, which the tree itself binds, and the hash. Texts are written as
//! their length (8 bytes, big-endian) and their bytes, integers as 8 bytes big-endian, the event id as its 16
//! bytes, in the order of [`Leaf`]'s fields. The encoding begins with its own version.

use ring::digest::{Context, SHA256};
use uuid::Uuid;

/// The version every encoding begins with.
const VERSION: u8 = 1;
/// RFC 6962, section 2.1: what is hashed before the bytes of a leaf.
const LEAF: u8 = 0;

/// The columns a leaf hash covers, as they are stored.
#[derive(Debug, Clone, Copy)]
pub struct Leaf<'a> {
    /// Kind of the stream.
    pub aggregate_type: &'a str,
    /// The stream.
    pub aggregate_id: &'a str,
    /// Number in the stream.
    pub sequence: i64,
    /// What happened.
    pub event_type: &'a str,
    /// Version of the payload's shape.
    pub event_version: &'a str,
    /// The payload's text.
    pub payload: &'a str,
    /// The metadata's text.
    pub metadata: &'a str,
    /// The event.
    pub event_id: Uuid,
    /// Whom it is about.
    pub subject: &'a str,
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub recorded_at: i64,
}

impl Leaf<'_> {
    /// The encoding, for those who check it elsewhere.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(128 + self.payload.len() + self.metadata.len());
        self.write(|part| bytes.extend_from_slice(part));
        bytes
    }

    /// SHA-256 of 0x00 and the encoding.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let mut context = Context::new(&SHA256);
        context.update(&[LEAF]);
        self.write(|part| context.update(part));
        let mut hash = [0_u8; 32];
        hash.copy_from_slice(context.finish().as_ref());
        hash
    }

    fn write(&self, mut sink: impl FnMut(&[u8])) {
        let text = |sink: &mut dyn FnMut(&[u8]), text: &str| {
            sink(&(text.len() as u64).to_be_bytes());
            sink(text.as_bytes());
        };
        sink(&[VERSION]);
        text(&mut sink, self.aggregate_type);
        text(&mut sink, self.aggregate_id);
        sink(&self.sequence.to_be_bytes());
        text(&mut sink, self.event_type);
        text(&mut sink, self.event_version);
        text(&mut sink, self.payload);
        text(&mut sink, self.metadata);
        sink(self.event_id.as_bytes());
        text(&mut sink, self.subject);
        sink(&self.recorded_at.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::hex;

    fn row() -> Leaf<'static> {
        Leaf {
            aggregate_type: "user",
            aggregate_id: "0197a000-0000-7000-8000-000000000001",
            sequence: 1,
            event_type: "user.registered",
            event_version: "1.0",
            payload: r#"{"type":"user.registered"}"#,
            metadata: r#"{"actor":"anonymous"}"#,
            event_id: Uuid::from_u128(0x0197_a000_0000_7000_8000_0000_0000_0002),
            subject: "0197a000-0000-7000-8000-000000000001",
            recorded_at: 1_763_600_000_000_000,
        }
    }

    /// Anybody who checks our proofs writes this encoding again: it may never change.
    #[test]
    fn the_encoding_is_the_published_one() {
        let expected = [
            "01",
            "0000000000000004",
            "75736572",
            "0000000000000024",
            "30313937613030302d303030302d373030302d383030302d303030303030303030303031",
            "0000000000000001",
            "000000000000000f",
            "757365722e72656769737465726564",
            "0000000000000003",
            "312e30",
            "000000000000001a",
            "7b2274797065223a22757365722e72656769737465726564227d",
            "0000000000000015",
            "7b226163746f72223a22616e6f6e796d6f7573227d",
            "0197a000000070008000000000000002",
            "0000000000000024",
            "30313937613030302d303030302d373030302d383030302d303030303030303030303031",
            "000643fc1f86a000",
        ]
        .concat();
        assert_eq!(hex(&row().encode()), expected);
    }

    /// Worked out by another program, from the description at the top of this file alone.
    #[test]
    fn rows_at_the_edges_have_the_published_hashes() {
        let long = "a".repeat(300);
        let rows = [
            (
                "nothing in any column",
                Leaf {
                    aggregate_type: "",
                    aggregate_id: "",
                    sequence: 0,
                    event_type: "",
                    event_version: "",
                    payload: "",
                    metadata: "",
                    event_id: Uuid::nil(),
                    subject: "",
                    recorded_at: 0,
                },
                "5e3a238f32ba127c7bb9cee54b96b94b8438f29cf59b8182cd7a095a5ddf509e",
            ),
            (
                "letters of several bytes, spaces in JSON, before 1970",
                Leaf {
                    aggregate_type: "domain",
                    aggregate_id: "münchen.example",
                    sequence: 2,
                    event_type: "domain.blocked",
                    event_version: "2",
                    payload: "{\"reason\":\"Ü\u{2028}\u{1f512}\"}",
                    metadata: r#"{ "actor" : "x" }"#,
                    event_id: Uuid::max(),
                    subject: "münchen.example",
                    recorded_at: -1,
                },
                "2b63e4005af46ec31517701991431c0909ca8d082275f6648717a4e42ac7799f",
            ),
            (
                "the largest numbers",
                Leaf {
                    aggregate_type: "audit",
                    aggregate_id: &long,
                    sequence: i64::MAX,
                    event_type: "audit.users_listed",
                    event_version: "1.0",
                    payload: "[]",
                    metadata: "{}",
                    event_id: Uuid::from_u128(1),
                    subject: "s",
                    recorded_at: i64::MAX,
                },
                "6152c88912693a634f0ce32d48ede7ecd26deb5786f1dd73f7f0cccf80e003c9",
            ),
        ];
        for (what, row, hash) in rows {
            assert_eq!(hex(&row.hash()), hash, "{what}");
        }
    }

    #[test]
    fn the_hash_is_the_published_one_and_covers_every_column() {
        assert_eq!(
            hex(&row().hash()),
            "a65cf813aae1d5d7c4d0d638fc2c75d933bace1ecd7dd701d8f60491fe4a441b"
        );
        let altered = [
            Leaf {
                aggregate_type: "domain",
                ..row()
            },
            Leaf {
                aggregate_id: "another",
                ..row()
            },
            Leaf { sequence: 2, ..row() },
            Leaf {
                event_type: "user.erased",
                ..row()
            },
            Leaf {
                event_version: "1.1",
                ..row()
            },
            Leaf { payload: "{}", ..row() },
            Leaf {
                metadata: "{}",
                ..row()
            },
            Leaf {
                event_id: Uuid::from_u128(1),
                ..row()
            },
            Leaf {
                subject: "another",
                ..row()
            },
            Leaf {
                recorded_at: 1,
                ..row()
            },
        ];
        for leaf in altered {
            assert_ne!(leaf.hash(), row().hash());
        }
    }

    /// The length before each text: what stands in one column cannot slide into the next.
    #[test]
    fn columns_do_not_run_into_each_other() {
        let one = Leaf {
            event_type: "user.re",
            event_version: "gistered",
            ..row()
        };
        let two = Leaf {
            event_type: "user.",
            event_version: "registered",
            ..row()
        };
        assert_ne!(one.hash(), two.hash());
    }
}
