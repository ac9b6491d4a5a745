//! Short messages to a gateway over HTTP.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::delivery::{Fate, Problem, SMS};
use crate::breaker::Breaker;

/// More than this no gateway has to say, bytes.
const MOST_SAID: usize = 16_384;

/// A gateway as the configuration names it.
#[derive(Clone)]
pub struct GatewayAddress(Url);

/// The address names no gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an address such as https://user:password@gateway.example/messages")]
pub struct InvalidGatewayUrl;

/// A token or a client that cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token holds visible ASCII characters only")]
pub struct InvalidGatewayToken;

impl fmt::Debug for GatewayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GatewayAddress")
    }
}

impl GatewayAddress {
    /// Reads an address.
    pub fn parse(text: &str) -> Result<Self, InvalidGatewayUrl> {
        let url = Url::parse(text).map_err(|_| InvalidGatewayUrl)?;
        let fits = matches!(url.scheme(), "http" | "https") && url.has_host() && url.fragment().is_none();
        fits.then_some(Self(url)).ok_or(InvalidGatewayUrl)
    }
}

/// Sends to one gateway.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

struct Inner {
    address: GatewayAddress,
    client: Client,
    breaker: Breaker<Problem>,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gateway")
    }
}

impl Gateway {
    /// Sends to an address with a token, waiting as long as `answer` for each answer.
    pub fn new(address: GatewayAddress, token: Option<&str>, answer: Duration) -> Result<Self, InvalidGatewayToken> {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let mut bearer = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| InvalidGatewayToken)?;
            bearer.set_sensitive(true);
            headers.insert(reqwest::header::AUTHORIZATION, bearer);
        }
        let client = Client::builder()
            .default_headers(headers)
            .user_agent(concat!("user-registry/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(answer)
            .timeout(answer)
            // Of the environment only our own settings count, and a code goes nowhere but to its gateway.
            .no_proxy()
            .redirect(Policy::none())
            .build()
            .map_err(|_| InvalidGatewayToken)?;
        Ok(Self(Arc::new(Inner {
            address,
            client,
            breaker: Breaker::default(),
        })))
    }

    /// Sends one message. `id` is the same when it is sent again; `hear`: what a gateway that takes it says of the number
    /// is read too. An error is about the gateway as a whole.
    pub(super) async fn send(&self, id: Uuid, json: Vec<u8>, hear: bool) -> Result<Carried, Problem> {
        let inner = &*self.0;
        inner.breaker.ask()?;
        let outside = |text: String| {
            SMS.count_failed("outside");
            inner.breaker.failed(Problem(text))
        };
        let request = inner
            .client
            .post(inner.address.0.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("Idempotency-Key", id.to_string())
            .body(json);
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() => {
                return Err(outside("the SMS gateway cannot be reached".into()));
            }
            // It may have been taken: the key says that it is the same one.
            Err(error) => {
                let how = if error.is_timeout() {
                    "does not answer in time"
                } else {
                    "closed the connection"
                };
                let problem = Problem(format!("the SMS gateway {how}"));
                return Ok(Fate::Later(inner.breaker.unanswered(id.as_u128(), problem)).into());
            }
        };
        let status = response.status();
        let answered = format!("the SMS gateway answered {}", status.as_u16());
        match meaning(status) {
            Meaning::Taken => {
                inner.breaker.works();
                if !hear {
                    return Ok(Fate::Sent.into());
                }
                // What was not heard to its end may be what matters: the key says that it is the same message.
                let cut = || Fate::Later(Problem::new("the SMS gateway's answer cannot be read")).into();
                Ok(heard(response)
                    .await
                    .map_or_else(cut, |sim| Carried { fate: Fate::Sent, sim }))
            }
            Meaning::Later => {
                inner.breaker.works();
                Ok(Fate::Later(Problem(answered)).into())
            }
            Meaning::Refused => {
                inner.breaker.works();
                Ok(Fate::Refused(Problem(answered)).into())
            }
            Meaning::NotForUs => Err(outside(answered)),
        }
    }
}

/// How a message fared, and what was said of its number along with it.
pub(super) struct Carried {
    pub fate: Fate,
    pub sim: OfSim,
}

/// What was said of a number's SIM.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OfSim {
    /// Nothing.
    Nothing,
    /// When it was changed, as the gateway writes it.
    ChangedAt(String),
    /// More than is read: it may be in what was not.
    TooMuch,
}

impl From<Fate> for Carried {
    fn from(fate: Fate) -> Self {
        Self {
            fate,
            sim: OfSim::Nothing,
        }
    }
}

/// What a gateway may say of a number. It may say more, or nothing.
#[derive(Default, Deserialize)]
struct Told {
    #[serde(default)]
    sim_changed_at: Option<Value>,
}

/// What the body of an answer says of the SIM; none: it broke off.
async fn heard(mut response: Response) -> Option<OfSim> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        body.extend_from_slice(&chunk);
        if body.len() > MOST_SAID {
            return Some(OfSim::TooMuch);
        }
    }
    // A body that is no object says nothing of a number.
    let told: Told = serde_json::from_slice(&body).unwrap_or_default();
    Some(match told.sim_changed_at {
        None | Some(Value::Null) => OfSim::Nothing,
        Some(Value::String(text)) => OfSim::ChangedAt(text),
        Some(other) => OfSim::ChangedAt(other.to_string()),
    })
}

/// What an answer says of a message.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    Taken,
    Later,
    Refused,
    /// Of no message, but of our password or address.
    NotForUs,
}

fn meaning(status: StatusCode) -> Meaning {
    match status.as_u16() {
        200..=299 => Meaning::Taken,
        401 | 407 => Meaning::NotForUs,
        408 | 425 | 429 | 500..=599 => Meaning::Later,
        400..=499 => Meaning::Refused,
        _ => Meaning::NotForUs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_about_the_message_or_about_us() {
        for (status, expected) in [
            (200, Meaning::Taken),
            (202, Meaning::Taken),
            (301, Meaning::NotForUs),
            (400, Meaning::Refused),
            (401, Meaning::NotForUs),
            (403, Meaning::Refused),
            (408, Meaning::Later),
            (422, Meaning::Refused),
            (429, Meaning::Later),
            (500, Meaning::Later),
            (503, Meaning::Later),
        ] {
            let status = StatusCode::from_u16(status).unwrap_or_default();
            assert_eq!(meaning(status), expected, "{status}");
        }
    }

    #[test]
    fn what_is_no_gateway_is_refused() {
        for text in [
            "",
            "gateway.example",
            "ftp://gateway.example",
            "http://",
            "https://h/#x",
        ] {
            assert!(GatewayAddress::parse(text).is_err(), "{text}");
        }
        assert!(GatewayAddress::parse("https://u:hunter2@gateway.example/messages?from=us").is_ok());
    }
}
