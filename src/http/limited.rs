//! The rate limits on their way to the client: 429 with `Retry-After`, and the fields of the IETF draft
//! `httpapi-ratelimit-headers` on every answer of a limited route.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::{Extensions, HeaderName, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use uuid::Uuid;

use super::App;
use super::problem::Problem;
use crate::guards::{Class, Verdict};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// What the rates have said of one request so far.
#[derive(Debug, Default)]
pub(super) struct Told(Vec<Verdict>);

/// The same of a request whose handlers read their own credentials: they count, and a layer before them writes into the
/// answer what they were told.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard(Arc<Mutex<Told>>);

impl Heard {
    /// What was said so far.
    pub fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of the request with these extensions. One that went through no such layer is told nothing.
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }
}

impl Told {
    /// Counts a request of an address; the answer if it may not go on.
    pub fn by_address(&mut self, app: &App, class: Class, address: Option<IpAddr>) -> Option<Response> {
        let (Some(guards), Some(address)) = (app.guards(), address) else {
            return None;
        };
        let verdict = guards.by_address(class, address, app.registry().store().now().as_micros())?;
        self.hear(verdict)
    }

    /// The same for an account.
    pub fn by_account(&mut self, app: &App, account: Option<Uuid>) -> Option<Response> {
        let (Some(guards), Some(account)) = (app.guards(), account) else {
            return None;
        };
        self.hear(guards.by_account(account, app.registry().store().now().as_micros()))
    }

    /// For an API that words its own refusals: the seconds to wait, if the address has asked too often.
    pub fn wait_of(&mut self, app: &App, class: Class, address: Option<IpAddr>) -> Option<u32> {
        let (guards, address) = (app.guards()?, address?);
        let verdict = guards.by_address(class, address, app.registry().store().now().as_micros())?;
        self.wait(verdict)
    }

    /// The same for an account.
    pub fn wait_of_account(&mut self, app: &App, account: Uuid) -> Option<u32> {
        let verdict = app
            .guards()?
            .by_account(account, app.registry().store().now().as_micros());
        self.wait(verdict)
    }

    fn wait(&mut self, verdict: Verdict) -> Option<u32> {
        self.0.push(verdict);
        if verdict.allowed {
            return None;
        }
        metrics::counter!("registry_requests_limited_total", "limit" => verdict.rate.name).increment(1);
        Some(verdict.retry_after.max(1))
    }

    fn hear(&mut self, verdict: Verdict) -> Option<Response> {
        self.0.push(verdict);
        if verdict.allowed {
            return None;
        }
        metrics::counter!("registry_requests_limited_total", "limit" => verdict.rate.name).increment(1);
        let mut response = Problem::too_many_requests(verdict.retry_after).into_response();
        self.tell(&mut response);
        Some(response)
    }

    /// Writes the fields into an answer.
    pub fn tell(&self, response: &mut Response) {
        if self.0.is_empty() {
            return;
        }
        let list = |item: &dyn Fn(&Verdict) -> String| self.0.iter().map(item).collect::<Vec<_>>().join(", ");
        let policy = list(&|said| {
            format!(
                "\"{}\";q={};w={}",
                said.rate.name,
                said.rate.most,
                said.rate.per.as_secs()
            )
        });
        let state = list(&|said| format!("\"{}\";r={};t={}", said.rate.name, said.remaining, said.reset));
        for (name, value) in [(POLICY, policy), (STATE, state)] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        }
    }
}
