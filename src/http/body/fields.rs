//! A checked tree to typed fields, collecting every error before it answers.

use std::fmt;

use serde_json::{Map, Value};

use super::super::problem::{FieldError, Problem, Slug};
use super::json::{self, Refusal};
use super::tree::{Tree, escaped};

/// More errors than this help nobody and would let a client make us answer with its own body.
const MOST_ERRORS: usize = 32;

/// What a body says about one field that may be cleared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Given<T> {
    /// Nothing: leave it.
    #[default]
    Absent,
    /// `null`: clear it.
    Null,
    /// A value: set it.
    Value(T),
}

impl<T> Given<T> {
    /// `None` leaves, `Some(None)` clears, `Some(Some(value))` sets.
    pub fn into_option(self) -> Option<Option<T>> {
        match self {
            Self::Absent => None,
            Self::Null => Some(None),
            Self::Value(value) => Some(Some(value)),
        }
    }

    /// The value, if there is one.
    pub fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }
}

/// Every error of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldErrors(pub Vec<FieldError>);

impl From<FieldErrors> for Problem {
    /// `unknown-field` only when nothing else is wrong; otherwise `invalid` lists everything.
    fn from(FieldErrors(errors): FieldErrors) -> Self {
        let only_unknown = !errors.is_empty() && errors.iter().all(|e| e.code == UNKNOWN);
        let problem = Self::invalid(errors);
        if only_unknown {
            problem.with_slug(Slug::UnknownField)
        } else {
            problem
        }
    }
}

const UNKNOWN: &str = "unknown";

/// The members of a body. A member that was asked for is known; what remains is not.
pub struct Fields {
    pointer: String,
    members: Map<String, Value>,
    errors: Vec<FieldError>,
    /// Whether there is an object at all; without one, nothing more is to be said of its members.
    is_object: bool,
}

impl Fields {
    /// The fields of a document. One that is no object has none, and its one error says so.
    #[must_use]
    pub fn of(tree: Tree) -> Self {
        Self::below(String::new(), tree.into_value())
    }

    fn below(pointer: String, value: Value) -> Self {
        let mut fields = Self {
            pointer,
            members: Map::new(),
            errors: Vec::new(),
            is_object: true,
        };
        if let Value::Object(members) = value {
            fields.members = members;
        } else {
            fields.fail(fields.pointer.clone(), Refusal::kind("an object"));
            fields.is_object = false;
        }
        fields
    }

    /// A text that must be there.
    pub fn required<T, E: Into<Refusal>>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        self.required_as(name, |value| json::text(value, parse))
    }

    /// A text that may be absent, but not `null`.
    pub fn optional<T, E: Into<Refusal>>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        self.optional_as(name, |value| json::text(value, parse))
    }

    /// A text that may be absent or `null`.
    pub fn nullable<T, E: Into<Refusal>>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Given<T> {
        self.nullable_as(name, |value| json::text(value, parse))
    }

    /// A value of any kind that must be there; see `json` for the kinds.
    pub fn required_as<T>(&mut self, name: &str, parse: impl FnOnce(Value) -> Result<T, Refusal>) -> Option<T> {
        if !self.members.contains_key(name) {
            self.refuse(name, "required", "is required");
            return None;
        }
        self.optional_as(name, parse)
    }

    /// A value of any kind that may be absent, but not `null`.
    pub fn optional_as<T>(&mut self, name: &str, parse: impl FnOnce(Value) -> Result<T, Refusal>) -> Option<T> {
        match self.nullable_as(name, parse) {
            Given::Value(value) => Some(value),
            Given::Absent => None,
            Given::Null => {
                self.refuse(name, "null", "must not be null");
                None
            }
        }
    }

    /// A value of any kind that may be absent or `null`. One that does not hold counts as absent.
    pub fn nullable_as<T>(&mut self, name: &str, parse: impl FnOnce(Value) -> Result<T, Refusal>) -> Given<T> {
        match self.members.remove(name) {
            None => Given::Absent,
            Some(Value::Null) => Given::Null,
            Some(value) => match parse(value) {
                Ok(value) => Given::Value(value),
                Err(refusal) => {
                    self.fail(self.pointer_to(name), refusal);
                    Given::Absent
                }
            },
        }
    }

    /// An object within the object; its errors join these, with longer pointers.
    pub fn nested<T>(&mut self, name: &str, read: impl FnOnce(&mut Self) -> Option<T>) -> Given<T> {
        let value = match self.members.remove(name) {
            None => return Given::Absent,
            Some(Value::Null) => return Given::Null,
            Some(value) => value,
        };
        let mut inner = Self::below(self.pointer_to(name), value);
        let built = if inner.errors.is_empty() {
            read(&mut inner)
        } else {
            None
        };
        inner.list_unknown();
        let sound = inner.errors.is_empty();
        inner.errors.into_iter().for_each(|error| self.push(error));
        match built {
            Some(value) if sound => Given::Value(value),
            _ => Given::Absent,
        }
    }

    /// A list of texts that may be absent, but not `null`; each item that does not hold is pointed at.
    pub fn optional_list<T, E: Into<Refusal>>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        let items = self.optional_as(name, json::array)?;
        let mut parsed = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            match json::text(item, &parse) {
                Ok(item) => parsed.push(item),
                Err(refusal) => self.fail(format!("{}/{index}", self.pointer_to(name)), refusal),
            }
        }
        Some(parsed)
    }

    /// Whether the body names this member and nobody asked for it yet.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// Whether nothing is wrong so far.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.errors.is_empty()
    }

    /// Refuses a field for a reason that lies beyond its own value.
    pub fn refuse(&mut self, name: &str, code: &'static str, detail: &str) {
        self.fail(self.pointer_to(name), Refusal::new(code, detail));
    }

    /// Refuses the request for what it lacks as a whole.
    pub fn refuse_whole(&mut self, code: &'static str, detail: &str) {
        self.fail(self.pointer.clone(), Refusal::new(code, detail));
    }

    /// Members nobody asked for are no error: some dialects ignore them.
    pub fn ignore_unknown(&mut self) {
        self.members.clear();
    }

    /// The result, unless anything was wrong. `build` puts the parts together; it runs only when
    /// every field holds, so its `?` on a required part never fires.
    pub fn finish<T>(mut self, build: impl FnOnce() -> Option<T>) -> Result<T, FieldErrors> {
        self.list_unknown();
        if self.errors.is_empty() {
            build().ok_or(FieldErrors(self.errors))
        } else {
            Err(FieldErrors(self.errors))
        }
    }

    fn list_unknown(&mut self) {
        for (name, _) in std::mem::take(&mut self.members) {
            self.refuse(&name, UNKNOWN, "is not a field of this request");
        }
    }

    fn pointer_to(&self, name: &str) -> String {
        format!("{}/{}", self.pointer, escaped(name))
    }

    fn fail(&mut self, pointer: String, refusal: Refusal) {
        self.push(refusal.at(pointer));
    }

    fn push(&mut self, error: FieldError) {
        if self.is_object && self.errors.len() < MOST_ERRORS {
            self.errors.push(error);
        }
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fields({} left, {} errors)", self.members.len(), self.errors.len())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn fields(text: &str) -> Fields {
        Fields::of(Tree::parse(text.as_bytes()).unwrap())
    }

    fn short(text: &str) -> Result<String, &'static str> {
        if text.len() < 10 {
            Ok(text.into())
        } else {
            Err("is too long")
        }
    }

    fn told(fields: Fields) -> Vec<String> {
        let errors = fields.finish(|| Some(())).unwrap_err().0;
        errors
            .iter()
            .map(|e| format!("{} {} {}", e.pointer, e.code, e.detail))
            .collect()
    }

    #[test]
    fn a_body_that_holds_gives_its_parts() {
        let mut fields = fields(r#"{"name":"x","seen":true,"geo":null,"at":{"x":1.5}}"#);
        let name = fields.required("name", short);
        let seen = fields.optional_as("seen", json::boolean);
        let geo = fields.nullable("geo", short);
        let at = fields.nested("at", |inner| inner.required_as("x", json::number));
        let note = fields.optional("note", short);
        let built = fields.finish(|| Some((name?, seen, geo, at.value()?, note)));
        assert_eq!(built, Ok(("x".into(), Some(true), Given::Null, 1.5, None)));
    }

    #[test]
    fn every_error_is_told_at_once() {
        let mut fields =
            fields(r#"{"a":"","b":1,"c":null,"d":"0123456789","n":{"x":"y","z":1},"u/v":1,"l":["x",1,"0123456789"]}"#);
        fields.required("a", short);
        fields.optional_as("b", json::boolean);
        fields.required("c", short);
        fields.optional("d", short);
        fields.required("e", short);
        fields.nested("n", |inner| inner.required_as("x", json::integer));
        fields.optional_list("l", short);
        insta::assert_snapshot!(told(fields).join("\n"), @r"
        /a empty must not be empty
        /b type must be true or false
        /c null must not be null
        /d invalid is too long
        /e required is required
        /n/x type must be a whole number
        /n/z unknown is not a field of this request
        /l/1 type must be a string
        /l/2 invalid is too long
        /u~1v unknown is not a field of this request
        ");
    }

    #[test]
    fn a_body_that_is_no_object_has_one_error() {
        let mut fields = fields("[]");
        fields.required("a", short);
        assert_eq!(told(fields), [" type must be an object"]);
    }

    #[test]
    fn what_a_body_lacks_as_a_whole_is_told_beside_the_rest() {
        let mut fields = fields(r#"{"b":1}"#);
        fields.refuse_whole("required", "one of a and c is needed");
        assert_eq!(
            told(fields),
            [
                " required one of a and c is needed",
                "/b unknown is not a field of this request",
            ]
        );
    }

    #[test]
    fn unknown_fields_are_their_own_problem_only_when_alone() {
        let problem = |fields: Fields| Problem::from(fields.finish(|| Some(())).unwrap_err());
        assert_eq!(problem(fields(r#"{"a":1}"#)).slug(), Slug::UnknownField);
        let mut both = fields(r#"{"a":1}"#);
        both.required("b", short);
        let problem = problem(both);
        assert_eq!(problem.slug(), Slug::Invalid);
        assert_eq!(problem.errors().len(), 2);
    }

    #[test]
    fn unknown_fields_may_be_ignored() {
        let mut fields = fields(r#"{"a":1}"#);
        fields.ignore_unknown();
        assert_eq!(fields.finish(|| Some(1)), Ok(1));
    }

    #[test]
    fn a_flood_of_unknown_fields_is_not_echoed_whole() {
        let members: Vec<_> = (0..500).map(|n| format!("\"m{n}\":0")).collect();
        assert_eq!(told(fields(&format!("{{{}}}", members.join(",")))).len(), MOST_ERRORS);
    }

    #[test]
    fn a_refusal_may_bring_its_own_code() {
        let mut fields = fields(r#"{"a":"x"}"#);
        fields.optional("a", |_| Err::<(), _>(Refusal::new("too-long", "is too long")));
        assert_eq!(told(fields), ["/a too-long is too long"]);
    }

    #[test]
    fn debug_shows_no_value() {
        assert_eq!(
            format!("{:?}", fields(r#"{"password":"hunter2"}"#)),
            "Fields(1 left, 0 errors)"
        );
    }
}
