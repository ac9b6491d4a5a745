//! What an address holds: its one named segment, and its query parameters, each known, each once, each in range.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;

use super::problem::{FieldError, Problem, Slug};

/// The segment of a path that names a thing. Bytes that are no text name nothing.
pub(super) struct Segment(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(text)) => Ok(Self(text)),
            Err(_) => Err(Problem::new(Slug::NotFound)),
        }
    }
}

/// The two segments of a path that together name a thing.
pub(super) struct Segments(pub String, pub String);

impl<S: Send + Sync> FromRequestParts<S> for Segments {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path((first, second))) => Ok(Self(first, second)),
            Err(_) => Err(Problem::new(Slug::NotFound)),
        }
    }
}

/// The parameters of a request that were not asked for yet, and what is wrong so far.
pub(super) struct Parameters {
    pairs: Vec<(String, String)>,
    errors: Vec<FieldError>,
}

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(pairs) = Query::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::new(Slug::Malformed).detail("the query cannot be read"))?;
        Ok(Self {
            pairs,
            errors: Vec::new(),
        })
    }
}

impl Parameters {
    /// A parameter that may be absent. Given twice, it is wrong.
    pub fn optional<T, E: std::fmt::Display>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let mut values = Vec::new();
        self.pairs.retain_mut(|(key, value)| {
            let hit = key == name;
            if hit {
                values.push(std::mem::take(value));
            }
            !hit
        });
        match values.as_slice() {
            [] => None,
            [value] => match parse(value) {
                Ok(value) => Some(value),
                Err(detail) => {
                    self.refuse(name, "invalid", detail.to_string());
                    None
                }
            },
            _ => {
                self.refuse(name, "repeated", "is given more than once".to_owned());
                None
            }
        }
    }

    /// A parameter that must be there.
    pub fn needed<T, E: std::fmt::Display>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        if !self.pairs.iter().any(|(key, _)| key == name) {
            self.refuse(name, "required", "is needed".to_owned());
            return None;
        }
        self.optional(name, parse)
    }

    /// A parameter that is wrong beside others.
    pub fn wrong(&mut self, name: &str, detail: &str) {
        self.refuse(name, "invalid", detail.to_owned());
    }

    /// How many items a page holds: 1 to `most`, else `default`.
    pub fn limit(&mut self, most: i64, default: i64) -> i64 {
        let limit = self.optional("limit", |text| match text.parse() {
            Ok(limit) if (1..=most).contains(&limit) => Ok(limit),
            _ => Err(format!("must be a whole number from 1 to {most}")),
        });
        limit.unwrap_or(default)
    }

    /// A position in a log or stream: 0 or more.
    pub fn after(&mut self) -> i64 {
        let after = self.optional("after", |text| match text.parse() {
            Ok(after) if after >= 0 => Ok(after),
            _ => Err("must be a whole number, 0 or more"),
        });
        after.unwrap_or(0)
    }

    fn refuse(&mut self, name: &str, code: &'static str, detail: String) {
        self.errors.push(FieldError::new(
            format!("/{}", name.replace('~', "~0").replace('/', "~1")),
            code,
            detail,
        ));
    }

    /// Nothing may be left over.
    pub fn finish(mut self) -> Result<(), Problem> {
        for (name, _) in std::mem::take(&mut self.pairs).into_iter().take(16) {
            let name: String = name.chars().take(64).collect();
            self.refuse(&name, "unknown", "is no parameter of this request".to_owned());
        }
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(Problem::invalid(self.errors))
        }
    }
}
