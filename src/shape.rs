//! What a type looks like as JSON: one `Shape` for each type that goes over the wire.
//!
//! A body's shape is written beside its struct with [`shape!`]: the compiler holds its members against the struct's, so
//! that none can be missing or made up; the test client holds the kinds against every answer of the suite.

use aggregates::values::{
    AccountStatus, Channel, Dialect, EndReason, LockReason, ProfileField, Role, SessionMethod, StandingKind, Timestamp,
};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// The named schemas of the document.
pub(crate) type Components = Map<String, Value>;

/// A type with a JSON schema.
pub(crate) trait Shape {
    /// Whether a member of this type is always there.
    const ALWAYS: bool = true;

    /// Its schema. One with a name is put among the components and referred to.
    fn schema(named: &mut Components) -> Value;
}

/// A shape with members of its own.
pub(crate) trait Body {
    /// Its name among the components.
    const NAME: &'static str;

    /// The whole schema.
    fn object(named: &mut Components) -> Value;
}

impl<T: Body> Shape for T {
    fn schema(named: &mut Components) -> Value {
        if !named.contains_key(T::NAME) {
            let object = T::object(named);
            named.insert(T::NAME.to_owned(), object);
        }
        json!({ "$ref": format!("#/components/schemas/{}", T::NAME) })
    }
}

/// A member that is left out rather than `null`.
pub(crate) struct Absent<T>(std::marker::PhantomData<T>);

/// A list with a cursor. The shape of `Page`.
pub(crate) struct Listed<T, C>(std::marker::PhantomData<(T, C)>);

/// Declares the members of a body: each as it is called in the struct (`= "name"` where the wire says otherwise), with
/// the kind of its value and, as its comment, what it means. Members after `;` are described elsewhere.
macro_rules! shape {
    ($(
        $(#[doc = $about:literal])*
        $body:ident $(<$life:lifetime>)? as $name:literal {
            $( $(#[doc = $text:literal])* $field:ident $(= $wire:literal)? : $kind:ty ),* $(,)?
            $(; $($apart:ident),+)?
        }
    )+) => {$(
        impl $crate::shape::Body for $body $(<$life>)? {
            const NAME: &'static str = $name;

            fn object(named: &mut $crate::shape::Components) -> serde_json::Value {
                // Fails to compile when a member of the struct is missing here.
                let _: fn(&Self) = |body| {
                    let $body { $($field: _,)* $($($apart: _,)+)? } = body;
                };
                let mut object = $crate::shape::Object::new(concat!($($about),*));
                $({
                    let wire: &[&str] = &[$($wire,)? stringify!($field)];
                    object.member::<$kind>(named, wire[0], concat!($($text),*));
                })*
                object.into_value()
            }
        }
    )+};
}
pub(crate) use shape;

/// An object schema while it is put together.
pub(crate) struct Object {
    about: &'static str,
    members: Map<String, Value>,
    required: Vec<Value>,
}

impl Object {
    pub fn new(about: &'static str) -> Self {
        Self {
            about,
            members: Map::new(),
            required: Vec::new(),
        }
    }

    pub fn member<T: Shape>(&mut self, named: &mut Components, name: &str, text: &str) {
        let schema = T::schema(named);
        self.members.insert(name.to_owned(), described(schema, text));
        if T::ALWAYS {
            self.required.push(name.into());
        }
    }

    pub fn into_value(self) -> Value {
        described(
            json!({ "type": "object", "properties": self.members, "required": self.required }),
            self.about,
        )
    }
}

/// A schema with a sentence.
pub(crate) fn described(mut schema: Value, text: &str) -> Value {
    let text = text.trim();
    if !text.is_empty() {
        schema["description"] = text.into();
    }
    schema
}

/// A schema that also admits `null`.
pub(crate) fn nullable(mut schema: Value) -> Value {
    match schema.get("type").and_then(Value::as_str) {
        Some(kind) if schema.get("enum").is_none() => {
            schema["type"] = json!([kind, "null"]);
            schema
        }
        _ => json!({ "anyOf": [schema, { "type": "null" }] }),
    }
}

impl<T: Shape> Shape for Option<T> {
    fn schema(named: &mut Components) -> Value {
        nullable(T::schema(named))
    }
}

impl<T: Shape> Shape for Absent<T> {
    const ALWAYS: bool = false;

    fn schema(named: &mut Components) -> Value {
        T::schema(named)
    }
}

impl<T: Shape> Shape for Vec<T> {
    fn schema(named: &mut Components) -> Value {
        json!({ "type": "array", "items": T::schema(named) })
    }
}

impl<T: Shape, C: Shape> Shape for Listed<T, C> {
    fn schema(named: &mut Components) -> Value {
        let next = described(
            nullable(C::schema(named)),
            "Where the next page begins; null on the last page.",
        );
        json!({
            "type": "object",
            "properties": { "items": Vec::<T>::schema(named), "next": next },
            "required": ["items", "next"],
        })
    }
}

/// Types whose schema is one expression.
macro_rules! kinds {
    ($($kind:ty => $schema:expr;)+) => {$(
        impl Shape for $kind {
            fn schema(_: &mut Components) -> Value {
                $schema
            }
        }
    )+};
}
pub(crate) use kinds;

kinds! {
    bool => json!({ "type": "boolean" });
    i64 => json!({ "type": "integer", "format": "int64" });
    f64 => json!({ "type": "number", "format": "double" });
    String => json!({ "type": "string" });
    // Any JSON at all.
    Value => json!({});
    Uuid => json!({ "type": "string", "format": "uuid" });
    Timestamp => json!({ "type": "string", "format": "date-time" });
    Role => words(Role::ALL.iter().map(|word| word.as_str()));
    Dialect => words(Dialect::ALL.iter().map(|word| word.as_str()));
    StandingKind => words(StandingKind::ALL.iter().map(|word| word.as_str()));
    AccountStatus => words(AccountStatus::ALL.iter().map(|word| word.as_str()));
    Channel => words(Channel::ALL.iter().map(|word| word.as_str()));
    EndReason => words(EndReason::ALL.iter().map(|word| word.as_str()));
    LockReason => words(LockReason::ALL.iter().map(|word| word.as_str()));
    ProfileField => words(ProfileField::ALL.iter().map(|word| word.as_str()));
    SessionMethod => words(SessionMethod::ALL.iter().map(|word| word.as_str()));
}

/// One of these words.
pub(crate) fn words(words: impl Iterator<Item = &'static str>) -> Value {
    json!({ "type": "string", "enum": words.collect::<Vec<_>>() })
}
