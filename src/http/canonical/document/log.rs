//! What proves the history.

use serde_json::{Value, json};

use crate::http::canonical::log::{ConsistencyBody, InclusionBody, NotaryKeyBody};
use crate::http::document::{Listed, Operation};
use crate::http::problem::Slug;

const PROOF: &str = "Proof";

fn number(least: i64) -> Value {
    json!({ "type": "integer", "format": "int64", "minimum": least })
}

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/v1/log/head", PROOF, "The newest signed head of the log")
            .text("A checkpoint as C2SP describes them: the log's name, how many events there are, the root of the Merkle tree over them (RFC 6962), and the notary's signature. It covers a new event within ten seconds.")
            .plain("text/plain", "The signed note.")
            .refused(&[Slug::Invalid, Slug::NotFound]),
        Operation::get("/v1/log/key", PROOF, "The keys that sign heads of the log")
            .answers::<Listed<NotaryKeyBody, String>>(200, "The one that signs, then those before it.")
            .refused(&[Slug::Invalid]),
        Operation::get("/v1/log/proof/inclusion", PROOF, "That an event is in the log")
            .needed("position", "Of the event.", number(1), 1)
            .query("size", "Of the tree; without it, that of the newest head.", number(1), 1)
            .answers::<InclusionBody>(200, "The proof.")
            .refused(&[Slug::NotFound]),
        Operation::get("/v1/log/proof/consistency", PROOF, "That a later head continues an earlier one")
            .needed("from", "How many events the earlier head covers.", number(0), 1)
            .query("to", "How many the later one covers; without it, the newest.", number(0), 1)
            .answers::<ConsistencyBody>(200, "The proof.")
            .refused(&[Slug::NotFound]),
    ]
}
