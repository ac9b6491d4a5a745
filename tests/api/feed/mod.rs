//! What other services hear: pages, streams, and the documents that describe both.

mod documents;
mod gapless;
mod kinds;
mod pressure;
mod pull;
mod stream;

use serde_json::{Value, json};

use crate::harness::{App, Client, Engine, Place, Server, Tokens};

/// An API key that may read the feed and nothing else, made by an administrator for themselves.
pub async fn subscriber(app: &App, admin: &Tokens) -> String {
    key(app, admin).await.0
}

/// The same with its id.
pub async fn key(app: &App, admin: &Tokens) -> (String, String) {
    let body = json!({ "name": "a reader", "roles": ["subscriber"] });
    let issued = app
        .command("issue-api-key", &body)
        .bearer(&admin.access)
        .expect(200)
        .await;
    let text = |name: &str| issued[name].as_str().unwrap().to_owned();
    (text("api_key"), text("key_id"))
}

/// A page of the feed.
pub async fn page(client: &Client, key: &str, query: &str) -> Value {
    client.get(&format!("/v1/events?{query}")).bearer(key).expect(200).await
}

pub fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("no number: {value}"))
}

pub fn positions(page: &Value) -> Vec<i64> {
    let events = page["events"].as_array().unwrap();
    events.iter().map(|event| number(&event["position"])).collect()
}

/// Everything there is, page by page.
pub async fn everything(client: &Client, key: &str, limit: i64) -> Vec<Value> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let page = page(client, key, &format!("after={after}&limit={limit}")).await;
        let events = page["events"].as_array().unwrap();
        if events.is_empty() {
            assert_eq!(page["next"], page["head"]);
            return all;
        }
        all.extend(events.iter().cloned());
        after = number(&page["next"]);
    }
}

/// Two processes over one `PostgreSQL`; the second one's folder goes with it.
pub async fn two_processes() -> (App, Server, tempfile::TempDir) {
    let place = Place::new(Engine::Postgres).await;
    let other = tempfile::tempdir().unwrap();
    let server = Server::start(&place, &[]).await;
    std::fs::create_dir(other.path().join("keys")).unwrap();
    let key = "keys/master.key";
    std::fs::copy(place.folder().join(key), other.path().join(key)).unwrap();
    let second = Server::start_in(&place, other.path(), &[]).await;
    let client = server.client();
    (App { server, client, place }, second, other)
}
