//! The one body reader of all APIs: bytes, then a checked tree, then fields.
//!
//! It knows no dialect: its errors are facts, which the canonical API words as problems and a
//! dialect in its own way. Nothing here prints or repeats what a client sent.

pub mod any;
mod fields;
pub mod json;
mod tree;

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use futures::StreamExt;
use tokio::time::timeout;
use zeroize::Zeroizing;

pub use self::fields::{FieldErrors, Fields, Given};
pub use self::json::Refusal;
pub use self::tree::{Fault, Tree};
use super::problem::{FieldError, Problem, Slug};
use crate::config;

/// What a body may cost and how it may be labelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes.
    pub bytes: usize,
    /// Longest time until the last byte.
    pub time: Duration,
    /// Whether a body without a content type is read as JSON. The canonical API refuses it.
    pub untyped_is_json: bool,
}

impl Limits {
    /// A body of ordinary fields: 16 KiB in 10 s, labelled as JSON.
    pub const FIELDS: Self = Self {
        bytes: 16 << 10,
        time: Duration::from_secs(10),
        untyped_is_json: false,
    };

    /// A body that may hold a boundary: 1 MiB.
    pub const BOUNDARY: Self = Self {
        bytes: 1 << 20,
        ..Self::FIELDS
    };

    /// As an operator has set them, for a body of ordinary fields or one that may hold a boundary.
    #[must_use]
    pub const fn configured(config: &config::Http, boundary: bool) -> Self {
        let bytes = if boundary {
            config.boundary_body_bytes
        } else {
            config.body_bytes
        };
        Self {
            bytes,
            time: Duration::from_millis(config.body_ms),
            untyped_is_json: false,
        }
    }

    /// The same, but a body without a content type is read as JSON.
    #[must_use]
    pub const fn untyped(self) -> Self {
        Self {
            untyped_is_json: true,
            ..self
        }
    }
}

/// Why a body could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is not labelled as JSON in UTF-8.
    #[error("the body is not labelled as JSON in UTF-8")]
    UnsupportedMediaType,
    /// It has more bytes than the route takes.
    #[error("the body has more than {0} bytes")]
    TooLarge(usize),
    /// It did not arrive in time.
    #[error("the body did not arrive in time")]
    TooSlow,
    /// The connection broke before its end.
    #[error("the body broke off")]
    BrokeOff,
    /// Its contents are no acceptable JSON.
    #[error("{0}")]
    Malformed(Fault),
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let slug = match &error {
            BodyError::UnsupportedMediaType => Slug::UnsupportedMediaType,
            BodyError::TooLarge(_) => Slug::TooLarge,
            BodyError::TooSlow | BodyError::BrokeOff | BodyError::Malformed(_) => Slug::Malformed,
        };
        let problem = Self::new(slug).detail(error.to_string());
        match error {
            BodyError::Malformed(fault) => match fault.pointer() {
                Some(pointer) => problem.error(FieldError::new(pointer, fault.code(), fault.to_string())),
                None => problem,
            },
            _ => problem,
        }
    }
}

/// Reads a request's body into a checked tree.
pub async fn read(request: Request, limits: Limits) -> Result<Tree, BodyError> {
    let (parts, body) = request.into_parts();
    read_parts(&parts.headers, body, limits).await
}

/// The same for a handler that has taken the request apart.
pub async fn read_parts(headers: &HeaderMap, body: Body, limits: Limits) -> Result<Tree, BodyError> {
    check_type(headers, limits)?;
    let bytes = Zeroizing::new(read_bytes(headers, body, limits).await?);
    Tree::parse(&bytes).map_err(BodyError::Malformed)
}

/// Reads a whole body, within its bounds, whatever it holds.
pub(super) async fn read_bytes(headers: &HeaderMap, body: Body, limits: Limits) -> Result<Vec<u8>, BodyError> {
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<u64>().ok());
    if announced.is_some_and(|length| usize::try_from(length).map_or(true, |l| l > limits.bytes)) {
        return Err(BodyError::TooLarge(limits.bytes));
    }
    timeout(limits.time, collect(body, limits.bytes))
        .await
        .unwrap_or(Err(BodyError::TooSlow))
}

async fn collect(body: Body, most: usize) -> Result<Vec<u8>, BodyError> {
    let mut chunks = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| BodyError::BrokeOff)?;
        if bytes.len() + chunk.len() > most {
            return Err(BodyError::TooLarge(most));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn check_type(headers: &HeaderMap, limits: Limits) -> Result<(), BodyError> {
    let plain = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .all(|value| value.as_bytes().eq_ignore_ascii_case(b"identity"));
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let acceptable = match (types.next(), types.next()) {
        (None, _) => limits.untyped_is_json,
        (Some(only), None) => only.to_str().is_ok_and(is_json_type),
        (Some(_), Some(_)) => false,
    };
    if plain && acceptable {
        Ok(())
    } else {
        Err(BodyError::UnsupportedMediaType)
    }
}

/// `application/json` or `application/…+json`; a charset, if named, is UTF-8.
fn is_json_type(text: &str) -> bool {
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next().unwrap_or("").to_ascii_lowercase();
    let json = essence == "application/json"
        || essence
            .strip_prefix("application/")
            .is_some_and(|sub| sub.strip_suffix("+json").is_some_and(|rest| !rest.is_empty()));
    let utf8 = parts.all(|part| match part.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            let value = value.trim().trim_matches('"');
            value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("utf8")
        }
        _ => true,
    });
    json && utf8
}

#[cfg(test)]
mod tests;
