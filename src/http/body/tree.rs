//! Bytes to a JSON tree that is safe to walk: shallow, without duplicate keys, valid UTF-8.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

/// Nesting of ordinary fields.
const DEPTH: usize = 16;
/// Nesting inside the top-level member `boundary`, which holds `GeoJSON`.
const BOUNDARY_DEPTH: usize = 64;
const BOUNDARY: &str = "boundary";

/// A checked JSON document. Its `Debug` shows no values.
#[derive(Clone, PartialEq)]
pub struct Tree(Value);

/// Why bytes are no acceptable JSON document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The bytes are no UTF-8.
    #[error("the body is not UTF-8")]
    Utf8,
    /// The text is no JSON.
    #[error("the body is not JSON: line {line}, column {column}")]
    Json {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// An object names a member twice.
    #[error("the body names a member twice")]
    Duplicate {
        /// That member.
        pointer: String,
    },
    /// Arrays and objects are nested too deeply.
    #[error("the body is nested too deeply")]
    Depth {
        /// The first value beyond the limit.
        pointer: String,
    },
}

impl Fault {
    /// The member at fault, if it is one.
    #[must_use]
    pub fn pointer(&self) -> Option<&str> {
        match self {
            Self::Duplicate { pointer } | Self::Depth { pointer } => Some(pointer),
            Self::Utf8 | Self::Json { .. } => None,
        }
    }

    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Json { .. } => "json",
            Self::Duplicate { .. } => "duplicate",
            Self::Depth { .. } => "depth",
        }
    }
}

impl Tree {
    /// Reads and checks a whole document.
    pub fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        Self::read(bytes, Twice::Refused)
    }

    /// The same, but of a member that is named more than once the last counts.
    pub fn parse_lenient(bytes: &[u8]) -> Result<Self, Fault> {
        Self::read(bytes, Twice::LastCounts)
    }

    fn read(bytes: &[u8], twice: Twice) -> Result<Self, Fault> {
        let text = std::str::from_utf8(bytes).map_err(|_| Fault::Utf8)?;
        let fault = RefCell::new(None);
        let place = Place {
            parent: None,
            step: Step::Root,
            depth: 0,
            limit: DEPTH,
        };
        let mut reader = serde_json::Deserializer::from_str(text);
        let seed = Seed {
            place: &place,
            fault: &fault,
            twice,
        };
        seed.deserialize(&mut reader)
            .and_then(|value| reader.end().map(|()| Self(value)))
            .map_err(|error| {
                let (line, column) = (error.line(), error.column());
                fault.take().unwrap_or(Fault::Json { line, column })
            })
    }

    /// The document itself.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// One text for all spellings of the document: no blanks, members in order. For telling whether
    /// two requests are the same.
    #[must_use]
    pub fn canonical(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.to_string())
    }

    /// The document itself, taken.
    #[must_use]
    pub fn into_value(self) -> Value {
        self.0
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.0 {
            Value::Object(members) => return write!(f, "Tree({} members)", members.len()),
            Value::Array(_) => "array",
            Value::String(_) => "string",
            Value::Number(_) => "number",
            Value::Bool(_) => "boolean",
            Value::Null => "null",
        };
        write!(f, "Tree({kind})")
    }
}

/// Where the reader stands; a chain of stack frames, so that a good document costs no pointer.
struct Place<'a> {
    parent: Option<&'a Place<'a>>,
    step: Step<'a>,
    depth: usize,
    limit: usize,
}

enum Step<'a> {
    Root,
    Member(&'a str),
    Item(usize),
}

impl Place<'_> {
    fn pointer(&self) -> String {
        let mut pointer = self.parent.map_or_else(String::new, Place::pointer);
        match self.step {
            Step::Root => {}
            Step::Member(name) => {
                pointer.push('/');
                pointer.push_str(&escaped(name));
            }
            Step::Item(index) => {
                pointer.push('/');
                pointer.push_str(&index.to_string());
            }
        }
        pointer
    }
}

/// A name as one step of a JSON pointer (RFC 6901).
pub(super) fn escaped(name: &str) -> Cow<'_, str> {
    if name.contains(['~', '/']) {
        Cow::Owned(name.replace('~', "~0").replace('/', "~1"))
    } else {
        Cow::Borrowed(name)
    }
}

/// Builds one value and what is below it. serde has no room in its errors for a pointer, so a
/// fault of ours travels beside them.
struct Seed<'a> {
    place: &'a Place<'a>,
    fault: &'a RefCell<Option<Fault>>,
    twice: Twice,
}

/// What becomes of a member that is named again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Twice {
    Refused,
    LastCounts,
}

impl Seed<'_> {
    fn enter<E: serde::de::Error>(&self) -> Result<(), E> {
        if self.place.depth < self.place.limit {
            return Ok(());
        }
        self.fail(Fault::Depth {
            pointer: self.place.pointer(),
        })
    }

    fn fail<T, E: serde::de::Error>(&self, fault: Fault) -> Result<T, E> {
        *self.fault.borrow_mut() = Some(fault);
        Err(E::custom("refused"))
    }

    fn below<'b>(&'b self, step: Step<'b>) -> Place<'b> {
        let boundary = self.place.parent.is_none() && matches!(step, Step::Member(BOUNDARY));
        let limit = if boundary { BOUNDARY_DEPTH } else { self.place.limit };
        Place {
            parent: Some(self.place),
            step,
            depth: self.place.depth + 1,
            limit,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        serde_json::Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        self.enter()?;
        let mut items = Vec::new();
        loop {
            let place = self.below(Step::Item(items.len()));
            match access.next_element_seed(Seed {
                place: &place,
                fault: self.fault,
                twice: self.twice,
            })? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        self.enter()?;
        let mut members = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            let place = self.below(Step::Member(&name));
            if self.twice == Twice::Refused && members.contains_key(&name) {
                return self.fail(Fault::Duplicate {
                    pointer: place.pointer(),
                });
            }
            let value = access.next_value_seed(Seed {
                place: &place,
                fault: self.fault,
                twice: self.twice,
            })?;
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn fault(text: &str) -> Fault {
        Tree::parse(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_good_document_is_kept_as_it_is() {
        let text = r#"{"a":[1,-2,0.5,18446744073709551615,null,true,"\ud83d\ude00"],"b":{}}"#;
        let expected: Value = serde_json::from_str(text).unwrap();
        assert_eq!(Tree::parse(text.as_bytes()).unwrap().into_value(), expected);
    }

    #[test]
    fn a_member_named_twice_is_pointed_at_wherever_it_stands() {
        let duplicate = |pointer: &str| Fault::Duplicate {
            pointer: pointer.into(),
        };
        assert_eq!(fault(r#"{"a":1,"a":1}"#), duplicate("/a"));
        assert_eq!(fault(r#"{"x":[{},{"a/b":1,"\u0061/b":2}]}"#), duplicate("/x/1/a~1b"));
    }

    #[test]
    fn nesting_has_an_end_and_a_boundary_a_later_one() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(Tree::parse(nested(16).as_bytes()).is_ok());
        assert!(matches!(fault(&nested(17)), Fault::Depth { .. }));
        let member = |name: &str, depth| format!(r#"{{"{name}":{}}}"#, nested(depth));
        assert!(Tree::parse(member("boundary", 63).as_bytes()).is_ok());
        assert!(matches!(fault(&member("boundary", 64)), Fault::Depth { .. }));
        assert!(matches!(fault(&member("profile", 16)), Fault::Depth { .. }));
        let lower = format!(r#"{{"a":{}}}"#, member("boundary", 16));
        assert!(matches!(fault(&lower), Fault::Depth { .. }));
    }

    #[test]
    fn ten_megabytes_of_brackets_are_refused_at_once() {
        let started = std::time::Instant::now();
        assert!(matches!(fault(&"[".repeat(10 << 20)), Fault::Depth { .. }));
        assert!(matches!(fault(&r#"{"a":"#.repeat(2 << 20)), Fault::Depth { .. }));
        assert!(started.elapsed().as_millis() < 1_000);
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in [
            "",
            " ",
            "{",
            "{} {}",
            "{}x",
            "nul",
            "01",
            "+1",
            "NaN",
            "1e999",
            "'a'",
            "{a:1}",
            "[1,]",
            "\u{feff}{}",
            r#""\ud800""#,
            r#""\udc00\ud800""#,
            "\"\u{0}\"",
            r#""\x""#,
        ] {
            assert!(matches!(fault(text), Fault::Json { .. }), "{text:?}");
        }
        assert_eq!(Tree::parse(b"\"\xff\"").unwrap_err(), Fault::Utf8);
        assert_eq!(Tree::parse(b"\"\xed\xa0\x80\"").unwrap_err(), Fault::Utf8);
    }

    #[test]
    fn equal_documents_have_one_canonical_text() {
        let tree = Tree::parse(br#" {"b": 1, "a": ["\u0041"]} "#).unwrap();
        assert_eq!(*tree.canonical(), r#"{"a":["A"],"b":1}"#);
    }

    #[test]
    fn debug_shows_no_value() {
        let tree = Tree::parse(br#"{"password":"hunter2"}"#).unwrap();
        assert_eq!(format!("{tree:?}"), "Tree(1 members)");
    }
}
