//! A bundle: one account's events with everything that is needed to check them elsewhere.
//!
//! It is a text of lines, each a JSON object: a manifest with the signed head, then one line for each event with its
//! proof, then the notary's signature over all lines before it. An event stands there as it is stored, personal fields
//! sealed; where the reader may see them, the key of that very event and what it opens stand beside it.
//!
//! Checking reads line by line, needs no store and no network, and holds no more than one line in memory.

use std::collections::HashMap;
use std::io::{self, BufRead, Read as _};

use aggregates::values::Timestamp;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use thiserror::Error;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::NotaryKeys;
use super::note::{self, Head, PublicKey};
use super::tree::{Hash, root_of_inclusion};
use crate::keys::{Seal, SealedIdentity};
use crate::leaf::Leaf;

/// The version of the form.
const VERSION: u32 = 1;
/// How every bundle begins.
const BEGINNING: &[u8] = b"{\"bundle\":1,";
/// The longest line: an event with a boundary, sealed and opened, is far shorter.
const LONGEST: u64 = 16 << 20;

/// The first line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of the form.
    pub bundle: u32,
    /// The log's name.
    pub log: String,
    /// Its public keys, the newest first.
    pub keys: Vec<String>,
    /// The signed head that the proofs lead to.
    pub head: String,
    /// Whose history it is.
    pub user: Uuid,
    /// When it was made.
    pub exported_at: Timestamp,
    /// What events of accounts mean, by type.
    pub meaning: Value,
}

/// The line of an event: its columns as they are stored, and its proof.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundledEvent {
    /// Where in the log.
    pub position: i64,
    /// Kind of the stream.
    pub aggregate_type: String,
    /// The stream.
    pub aggregate_id: String,
    /// Number in the stream.
    pub sequence: i64,
    /// What happened.
    pub event_type: String,
    /// Version of the payload's shape.
    pub event_version: String,
    /// The payload's text.
    pub payload: String,
    /// The metadata's text.
    pub metadata: String,
    /// The event.
    pub event_id: Uuid,
    /// Whom it is about.
    pub subject: String,
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub recorded_at: i64,
    /// The inclusion proof, base64.
    pub proof: Vec<String>,
    /// What of it is opened.
    pub opened: Vec<OpenedPart>,
}

/// A sealed part of an event that was opened for the reader.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenedPart {
    /// Where it stands: `payload` or `origin`.
    pub part: String,
    /// Its scope.
    pub scope: String,
    /// The key of this event and scope, base64.
    pub key: String,
    /// What it opens: the very text that was sealed.
    pub fields: Box<RawValue>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    signature: String,
}

/// What a bundle proves.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The first line.
    pub manifest: Manifest,
    /// The head the proofs lead to.
    pub head: Head,
    /// The key that signed the bundle.
    pub key: PublicKey,
    /// How many events there are.
    pub events: u64,
    /// The first and the last position, if there are any.
    pub positions: Option<(i64, i64)>,
    /// The first and the last number in the stream.
    pub sequences: Option<(i64, i64)>,
    /// Sealed parts that were opened.
    pub opened: u64,
    /// Sealed parts that were not.
    pub closed: u64,
}

/// Why a bundle is not to be believed.
#[derive(Debug, Error)]
#[error("{}{problem}", .position.map(|position| format!("position {position}: ")).unwrap_or_default())]
pub struct Fault {
    /// The first bad position, when it is one event that is bad.
    pub position: Option<i64>,
    /// What is wrong.
    pub problem: String,
}

fn fault(problem: impl Into<String>) -> Fault {
    Fault {
        position: None,
        problem: problem.into(),
    }
}

fn bad(position: i64, problem: impl Into<String>) -> Fault {
    Fault {
        position: Some(position),
        problem: problem.into(),
    }
}

/// Writes a bundle line by line.
pub struct Writer {
    digest: Context,
    events: u64,
    log: String,
}

impl Writer {
    /// Begins one. Gives the first line.
    pub fn begin(manifest: &Manifest) -> Result<(Self, String), serde_json::Error> {
        let mut writer = Self {
            digest: Context::new(&SHA256),
            events: 0,
            log: manifest.log.clone(),
        };
        let line = writer.line(manifest)?;
        Ok((writer, line))
    }

    /// The line of the next event.
    pub fn event(&mut self, event: &BundledEvent) -> Result<String, serde_json::Error> {
        self.events += 1;
        self.line(event)
    }

    fn line(&mut self, value: &impl Serialize) -> Result<String, serde_json::Error> {
        let line = serde_json::to_string(value)? + "\n";
        self.digest.update(line.as_bytes());
        Ok(line)
    }

    /// The last line.
    pub fn end(self, keys: &NotaryKeys) -> Result<String, serde_json::Error> {
        let text = signed_text(&self.log, self.events, self.digest.finish().as_ref());
        let signature = keys.sign(&text, None);
        Ok(serde_json::to_string(&Signature { signature })? + "\n")
    }
}

/// The form's version, for manifests.
#[must_use]
pub const fn version() -> u32 {
    VERSION
}

/// What the notary signs of a bundle. It can be no head: the second line of a head is a number.
fn signed_text(log: &str, events: u64, digest: &[u8]) -> String {
    format!("{log}\nbundle of {events} events\n{}\n", STANDARD.encode(digest))
}

/// Reads lines of bounded length.
struct Lines<R> {
    reader: R,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    /// The next line with its end; none at the end of the file.
    fn next(&mut self) -> Result<Option<&[u8]>, Fault> {
        self.line.clear();
        let read = (&mut self.reader).take(LONGEST).read_until(b'\n', &mut self.line);
        read.map_err(|problem| unreadable(&problem))?;
        if self.line.is_empty() {
            return Ok(None);
        }
        if !self.line.ends_with(b"\n") {
            return Err(fault(if self.line.len() as u64 >= LONGEST {
                "it has a line of more than 16 MiB: it is no bundle"
            } else {
                "it ends in the middle of a line: it is cut off"
            }));
        }
        Ok(Some(&self.line))
    }
}

fn unreadable(problem: &io::Error) -> Fault {
    fault(format!("it cannot be read: {problem}"))
}

/// A line that must be written as we write it: no second way to write the same is taken.
fn parse<'a, T: Serialize + Deserialize<'a>>(line: &'a [u8], what: &str) -> Result<T, Fault> {
    let wrong = || fault(format!("{what} is not one of a bundle"));
    let value: T = serde_json::from_slice(line).map_err(|_| wrong())?;
    let again = serde_json::to_vec(&value).map_err(|_| wrong())?;
    if line.strip_suffix(b"\n") == Some(&again) {
        Ok(value)
    } else {
        Err(wrong())
    }
}

/// The position of a line that is not one of an event: the one it names, if that stands behind the last good event, else
/// the one after that.
fn position_in(line: &[u8], good: Option<(i64, i64)>) -> i64 {
    #[derive(Deserialize)]
    struct Named {
        position: i64,
    }
    let last = good.map_or(0, |(_, last)| last);
    let named = serde_json::from_slice::<Named>(line).map(|named| named.position);
    named.ok().filter(|position| *position > last).unwrap_or(last + 1)
}

/// Checks a bundle. With `trusted` keys, one of them must have signed the head; without, the bundle's own are taken, and
/// whether they are the registry's is left to the reader.
pub fn verify(mut reader: impl BufRead, trusted: &[PublicKey]) -> Result<Verdict, Fault> {
    let beginning = reader.fill_buf().map_err(|problem| unreadable(&problem))?;
    if beginning.is_empty() {
        return Err(fault("it is empty"));
    }
    let common = beginning.len().min(BEGINNING.len());
    if beginning[..common] != BEGINNING[..common] {
        return Err(fault("it is no bundle of this version"));
    }
    let mut lines = Lines {
        reader,
        line: Vec::new(),
    };
    let mut digest = Context::new(&SHA256);
    let manifest: Manifest = match lines.next()? {
        Some(line) => {
            digest.update(line);
            parse(line, "the first line")?
        }
        None => return Err(fault("it is empty")),
    };
    let keys = own_keys(&manifest)?;
    let head = Head::open(&manifest.head, &keys).map_err(|problem| fault(format!("its head {problem}")))?;
    if head.origin != manifest.log {
        return Err(fault("its head is of another log"));
    }
    let mut verdict = Verdict {
        key: keys[0].clone(),
        manifest,
        head,
        events: 0,
        positions: None,
        sequences: None,
        opened: 0,
        closed: 0,
    };
    let signature = loop {
        let Some(line) = lines.next()? else {
            return Err(fault("its last line is missing: it is cut off"));
        };
        if line.starts_with(b"{\"signature\":") {
            break parse::<Signature>(line, "the last line")?.signature;
        }
        digest.update(line);
        let what = format!("the line of event {}", verdict.events + 1);
        let event: BundledEvent = parse(line, &what).map_err(|problem| Fault {
            position: Some(position_in(line, verdict.positions)),
            ..problem
        })?;
        check_event(&event, &mut verdict)?;
    };
    if lines.next()?.is_some() {
        return Err(fault("something follows its last line"));
    }
    let text = signed_text(&verdict.manifest.log, verdict.events, digest.finish().as_ref());
    let own = std::slice::from_ref(&verdict.key);
    match note::open(&signature, own) {
        Ok(signed) if signed == text => {}
        Ok(_) => return Err(fault("it is not as it was signed: something in it was changed")),
        Err(problem) => return Err(fault(format!("its last line {problem}"))),
    }
    if !trusted.is_empty() {
        Head::open(&verdict.manifest.head, trusted)
            .and_then(|_| note::open(&signature, trusted))
            .map_err(|problem| fault(format!("it {problem} that you trust")))?;
    }
    Ok(verdict)
}

/// The keys the bundle brings along.
fn own_keys(manifest: &Manifest) -> Result<Vec<PublicKey>, Fault> {
    let keys: Result<Vec<PublicKey>, _> = manifest
        .keys
        .iter()
        .take(100)
        .map(|key| PublicKey::parse(key))
        .collect();
    let keys = keys.map_err(|problem| fault(format!("one of its keys {problem}")))?;
    if keys.is_empty() || keys.iter().any(|key| key.name() != manifest.log) {
        return Err(fault("it brings no key of its log"));
    }
    Ok(keys)
}

fn check_event(event: &BundledEvent, verdict: &mut Verdict) -> Result<(), Fault> {
    let at = event.position;
    let user = verdict.manifest.user.to_string();
    if event.aggregate_type != "user" || event.aggregate_id != user || event.subject != user {
        return Err(bad(at, "the event is of another account"));
    }
    let (first_position, first_sequence) = match (verdict.positions, verdict.sequences) {
        (Some((first, last)), Some((begin, end))) => {
            if event.sequence != end + 1 {
                return Err(bad(
                    at,
                    format!("event {} of the account does not follow {end}", event.sequence),
                ));
            }
            if at <= last {
                return Err(bad(at, format!("it does not stand behind position {last}")));
            }
            (first, begin)
        }
        _ => (at, event.sequence),
    };
    let proof: Option<Vec<Hash>> = event
        .proof
        .iter()
        .map(|hash| STANDARD.decode(hash).ok()?.try_into().ok())
        .collect();
    let proof = proof.ok_or_else(|| bad(at, "its proof is no list of hashes"))?;
    let index = u64::try_from(at).ok().and_then(|at| at.checked_sub(1));
    let root = index.and_then(|index| root_of_inclusion(&leaf_of(event), index, verdict.head.size, &proof));
    if root != Some(verdict.head.root) {
        return Err(bad(
            at,
            "the event is not the one the signed head has there, or its proof is missing",
        ));
    }
    let sealed = sealed_parts(event).ok_or_else(|| bad(at, "payload and metadata are not those of an event"))?;
    for part in &event.opened {
        let place = (part.part.clone(), part.scope.clone());
        let text = sealed
            .get(&place)
            .ok_or_else(|| bad(at, "it opens what the event does not have"))?;
        open_part(event, part, text).map_err(|problem| bad(at, problem))?;
    }
    verdict.events += 1;
    verdict.positions = Some((first_position, at));
    verdict.sequences = Some((first_sequence, event.sequence));
    let opened = event.opened.len() as u64;
    verdict.opened += opened;
    verdict.closed += (sealed.len() as u64).saturating_sub(opened);
    Ok(())
}

fn leaf_of(event: &BundledEvent) -> Hash {
    Leaf {
        aggregate_type: &event.aggregate_type,
        aggregate_id: &event.aggregate_id,
        sequence: event.sequence,
        event_type: &event.event_type,
        event_version: &event.event_version,
        payload: &event.payload,
        metadata: &event.metadata,
        event_id: event.event_id,
        subject: &event.subject,
        recorded_at: event.recorded_at,
    }
    .hash()
}

/// The sealed texts of an event by part and scope.
fn sealed_parts(event: &BundledEvent) -> Option<HashMap<(String, String), String>> {
    let payload: Value = serde_json::from_str(&event.payload).ok()?;
    let metadata: HashMap<String, String> = serde_json::from_str(&event.metadata).ok()?;
    let mut parts = HashMap::new();
    if let Some(sealed) = payload.get("sealed") {
        for (scope, entry) in sealed.as_object()? {
            parts.insert(
                ("payload".to_owned(), scope.clone()),
                entry.get("v")?.as_str()?.to_owned(),
            );
        }
    }
    if let (Some(text), Some(scope)) = (metadata.get("origin"), metadata.get("origin_scope")) {
        parts.insert(("origin".to_owned(), scope.clone()), text.clone());
    }
    Some(parts)
}

fn open_part(event: &BundledEvent, part: &OpenedPart, text: &str) -> Result<(), &'static str> {
    let key: Option<[u8; 32]> = STANDARD.decode(&part.key).ok().and_then(|key| key.try_into().ok());
    let key = key.ok_or("what opens it is no key")?;
    let identity = SealedIdentity {
        aggregate_type: &event.aggregate_type,
        aggregate_id: &event.aggregate_id,
        sequence: event.sequence,
        event_type: &event.event_type,
        event_id: event.event_id,
        scope: &part.scope,
    };
    let plain = Seal::of_secret(Zeroizing::new(key))
        .and_then(|seal| seal.open(&identity, text))
        .map_err(|_| "the key beside it is not the one it was sealed with")?;
    if part.fields.get().as_bytes() == plain.as_slice() {
        Ok(())
    } else {
        Err("the personal fields beside it are not those that are sealed in it")
    }
}
