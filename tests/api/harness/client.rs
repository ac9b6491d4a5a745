//! HTTP as a client speaks it.

use std::sync::OnceLock;

use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

/// A client of one process.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
}

/// An answer, read whole.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

/// A request being put together.
#[must_use]
pub struct Call {
    http: reqwest::Client,
    request: reqwest::Request,
    body: Option<Vec<u8>>,
}

impl Client {
    pub fn new(base: &str) -> Self {
        static TLS: OnceLock<()> = OnceLock::new();
        // reqwest asks for a TLS library even where nothing is encrypted.
        TLS.get_or_init(|| drop(rustls::crypto::ring::default_provider().install_default()));
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(super::LONG)
            .build()
            .unwrap();
        Self {
            http,
            base: base.to_owned(),
        }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn base(&self) -> &str {
        &self.base
    }

    pub fn call(&self, method: &str, path: &str) -> Call {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = reqwest::Request::new(method, format!("{}{path}", self.base).parse().unwrap());
        Call {
            http: self.http.clone(),
            request,
            body: None,
        }
    }

    pub fn get(&self, path: &str) -> Call {
        self.call("GET", path)
    }

    pub fn delete(&self, path: &str) -> Call {
        self.call("DELETE", path)
    }

    pub fn post(&self, path: &str, body: &Value) -> Call {
        self.call("POST", path).json(body)
    }

    /// `POST /v1/commands/{name}`.
    pub fn command(&self, name: &str, body: &Value) -> Call {
        self.post(&format!("/v1/commands/{name}"), body)
    }
}

impl Call {
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        self.request
            .headers_mut()
            .append(name, HeaderValue::from_bytes(value.as_ref()).unwrap());
        self
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header(AUTHORIZATION.as_str(), format!("Bearer {token}"))
    }

    /// The caller, if there is one.
    pub fn maybe(self, token: Option<&str>) -> Self {
        match token {
            Some(token) => self.bearer(token),
            None => self,
        }
    }

    pub fn json(self, body: &Value) -> Self {
        self.header(CONTENT_TYPE.as_str(), "application/json")
            .raw(body.to_string())
    }

    pub fn raw(mut self, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        *self.request.body_mut() = Some(body.clone().into());
        self.body = Some(body);
        self
    }

    /// Sends it. The answer must be one the document promises.
    pub async fn try_send(self) -> Result<Reply, reqwest::Error> {
        let request = self.request.try_clone();
        let mut response = self.http.execute(self.request).await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = if headers
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind == "text/event-stream")
        {
            // It would never end.
            let first = response.chunk().await?.unwrap_or_default();
            String::from_utf8_lossy(&first).into_owned()
        } else {
            response.text().await?
        };
        let reply = Reply { status, headers, body };
        let request = request.unwrap();
        if let Some(violation) = super::contract::violation(&request, self.body.as_deref(), &reply) {
            let what = format!("{} {}", request.method(), request.url().path());
            panic!("{what} does not keep to /openapi.json: {violation}\n{reply:?}");
        }
        Ok(reply)
    }

    /// Sends it and leaves the answer open, however long it goes on.
    pub async fn open(self) -> super::Stream {
        self.try_open().await.unwrap()
    }

    /// The same where the service may be gone.
    pub async fn try_open(mut self) -> Result<super::Stream, reqwest::Error> {
        *self.request.timeout_mut() = Some(std::time::Duration::from_mins(20));
        let response = self.http.execute(self.request).await?;
        assert_eq!(response.status(), 200, "{:?}", response.text().await);
        Ok(super::Stream::new(response))
    }

    pub async fn send(self) -> Reply {
        let what = format!("{} {}", self.request.method(), self.request.url().path());
        self.try_send()
            .await
            .unwrap_or_else(|problem| panic!("{what}: {problem:?}"))
    }

    /// Sends it and reads the JSON of an answer that must have this status.
    pub async fn expect(self, status: u16) -> Value {
        let what = format!("{} {}", self.request.method(), self.request.url().path());
        let reply = self.send().await;
        assert_eq!(reply.status, status, "{what}: {}", reply.body);
        if reply.body.is_empty() {
            Value::Null
        } else {
            reply.json()
        }
    }
}

/// JSON that must be JSON.
pub fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|problem| panic!("{problem} in {text:?}"))
}

impl Reply {
    pub fn json(&self) -> Value {
        parse(&self.body)
    }

    /// The body without what differs from run to run.
    pub fn wire(&self) -> String {
        redacted(&self.body)
    }

    /// A header's text; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Every header but those that differ from answer to answer.
    pub fn steady_headers(&self) -> Vec<(String, String)> {
        let steady = self
            .headers
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "date" | "x-request-id"));
        steady
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect()
    }

    /// Checks that this is a problem document in every respect, and gives its slug and the pointers of its errors.
    #[track_caller]
    pub fn problem(&self) -> (String, Vec<String>) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        assert_eq!(self.header("cache-control"), "no-store", "{self:?}");
        assert_eq!(self.header("x-content-type-options"), "nosniff", "{self:?}");
        let body = self.json();
        let text = |name: &str| {
            body[name]
                .as_str()
                .unwrap_or_else(|| panic!("no {name}: {self:?}"))
                .to_owned()
        };
        assert_eq!(body["status"], self.status, "{self:?}");
        assert_eq!(text("instance"), self.header("x-request-id"), "{self:?}");
        assert!(uuid::Uuid::parse_str(&text("instance")).is_ok(), "{self:?}");
        assert!(!text("title").is_empty(), "{self:?}");
        assert_eq!(
            self.status == 401,
            self.headers.contains_key("www-authenticate"),
            "{self:?}"
        );
        let retry = matches!(self.status, 429 | 503);
        assert_eq!(retry, self.headers.contains_key("retry-after"), "{self:?}");
        let slug = text("type")
            .strip_prefix("/problems/")
            .unwrap_or_else(|| panic!("{self:?}"))
            .to_owned();
        let mut pointers = Vec::new();
        for error in body["errors"].as_array().into_iter().flatten() {
            assert!(error["code"].as_str().is_some_and(|code| !code.is_empty()), "{self:?}");
            pointers.push(
                error["pointer"]
                    .as_str()
                    .unwrap_or_else(|| panic!("no pointer: {self:?}"))
                    .to_owned(),
            );
        }
        (slug, pointers)
    }

    /// Checks status and slug of a problem.
    #[track_caller]
    pub fn refused(&self, status: u16, slug: &str) -> Vec<String> {
        assert_eq!(self.status, status, "{self:?}");
        let (told, pointers) = self.problem();
        assert_eq!(told, slug, "{self:?}");
        pointers
    }
}

/// A text without what differs from run to run: ids, times, tokens and log positions.
fn redacted(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some(id) = rest.get(..36)
            && uuid::Uuid::try_parse(id).is_ok()
        {
            out.push_str("[id]");
            rest = &rest[36..];
        } else if let Some(time) = rest.get(..27)
            && is_time(time)
        {
            out.push_str("[time]");
            rest = &rest[27..];
        } else if rest.starts_with("eyJ") || rest.starts_with("urr_") {
            out.push_str("[token]");
            rest = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "-_.".contains(c));
        } else if let Some(after) = rest.strip_prefix("position\":")
            && after.starts_with(|c: char| c.is_ascii_digit())
        {
            out.push_str("position\":[position]");
            rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

/// `2026-11-20T03:08:47.848577Z`. A random key may well have a T and a Z in those two places.
fn is_time(text: &str) -> bool {
    let pattern = "0000-00-00T00:00:00.000000Z";
    text.chars().zip(pattern.chars()).all(|(is, should)| match should {
        '0' => is.is_ascii_digit(),
        other => is == other,
    })
}
