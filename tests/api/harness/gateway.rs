//! An SMS gateway: it takes messages over HTTP, keeps them, and answers as it was told to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde_json::Value;
use tokio::net::TcpListener;

use super::until;

/// The gateway. Gone when dropped.
pub struct Gateway {
    address: SocketAddr,
    state: Arc<Mutex<Seen>>,
    task: tokio::task::JoinHandle<()>,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Received {
    pub json: Value,
    pub headers: HeaderMap,
    pub uri: Uri,
    /// What was answered; 0: nothing.
    pub status: u16,
}

/// What a gateway does instead of answering.
#[derive(Debug, Clone)]
pub enum Instead {
    /// It says nothing, ever.
    Waits,
    /// It closes the connection.
    Leaves,
    /// It sends whoever asks to this address, with what they have sent.
    SendsTo(String),
}

#[derive(Default)]
struct Seen {
    received: Vec<Received>,
    /// What is answered to a message for a number.
    answers: BTreeMap<String, u16>,
    /// What is answered to everybody.
    everybody: Option<u16>,
    /// What is done to everybody instead of answering.
    instead: Option<Instead>,
    /// What is said of a number along with it.
    said: BTreeMap<String, String>,
}

impl Gateway {
    pub async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap()).await
    }

    pub async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(Seen::default()));
        let router = Router::new().route("/messages", post(take)).with_state(state.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, state, task }
    }

    /// What `sms.gateway_url` says.
    pub fn url(&self) -> String {
        format!("http://{}/messages", self.address)
    }

    /// From now on messages to a number are answered with a status.
    pub fn answer(&self, number: &str, status: u16) {
        self.state.lock().unwrap().answers.insert(number.to_owned(), status);
    }

    /// From now on every message is.
    pub fn answer_everybody(&self, status: u16) {
        self.state.lock().unwrap().everybody = Some(status);
    }

    /// From now on it takes every request, and does this.
    pub fn instead(&self, instead: Instead) {
        self.state.lock().unwrap().instead = Some(instead);
    }

    /// From now on this is the body of the answer to a message for a number.
    pub fn say(&self, number: &str, body: &str) {
        self.state
            .lock()
            .unwrap()
            .said
            .insert(number.to_owned(), body.to_owned());
    }

    /// From now on every message is taken.
    pub fn relent(&self) {
        let mut state = self.state.lock().unwrap();
        state.answers.clear();
        state.everybody = None;
        state.instead = None;
    }

    /// Every request so far.
    pub fn everything(&self) -> Vec<Received> {
        self.state.lock().unwrap().received.clone()
    }

    /// Every request to a number so far.
    pub fn received(&self, number: &str) -> Vec<Received> {
        let all = self.everything().into_iter();
        all.filter(|one| one.json["to"] == number).collect()
    }

    /// The so-manieth request to a number, once it has come.
    pub async fn nth_to(&self, number: &str, count: usize) -> Received {
        until(&format!("request {count} to a number"), || async {
            self.received(number).get(count - 1).cloned()
        })
        .await
    }

    /// The first message to a number that was taken.
    pub async fn taken(&self, number: &str) -> Received {
        until("a message that is taken", || async {
            self.received(number).into_iter().find(|one| one.status == 202)
        })
        .await
    }
}

impl Received {
    /// The one run of digits in its text.
    pub fn code(&self) -> String {
        let text = self.json["text"].as_str().unwrap();
        let mut runs = text.split(|c: char| !c.is_ascii_digit()).filter(|run| !run.is_empty());
        let code = runs.next().unwrap();
        assert_eq!(runs.next(), None, "{text}");
        code.to_owned()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(State(state): State<Arc<Mutex<Seen>>>, uri: Uri, headers: HeaderMap, body: String) -> Response {
    let json: Value = serde_json::from_str(&body).unwrap();
    let (status, said, instead) = {
        let mut state = state.lock().unwrap();
        let number = json["to"].as_str().unwrap().to_owned();
        let instead = state.instead.clone();
        let status = match &instead {
            Some(Instead::SendsTo(_)) => 307,
            Some(Instead::Waits | Instead::Leaves) => 0,
            None => state.everybody.or(state.answers.get(&number).copied()).unwrap_or(202),
        };
        let said = state.said.get(&number).cloned().unwrap_or_default();
        state.received.push(Received {
            json,
            headers,
            uri,
            status,
        });
        (status, said, instead)
    };
    match instead {
        None => (StatusCode::from_u16(status).unwrap(), said).into_response(),
        Some(Instead::Waits) => std::future::pending().await,
        // The task of the connection ends, without a word of it.
        Some(Instead::Leaves) => std::panic::resume_unwind(Box::new(())),
        Some(Instead::SendsTo(url)) => (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, url)]).into_response(),
    }
}
