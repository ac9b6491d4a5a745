//! Every kind of event there is, taken off a real queue: it fits its schema, and it is what the feed shows by pull and
//! by stream, also to the SDK of the `CloudEvents` project, which reads each unaltered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cloudevents::event::SpecVersion;
use cloudevents::message::{BinaryDeserializer, BinarySerializer, MessageAttributeValue, Result as Reading};
use cloudevents::{AttributesReader as _, Event};
use serde_json::{Value, json};
use user_registry::config::{Config, Overrides};
use user_registry::public::{KINDS, asyncapi, envelope, schema};

use super::{borrowed, settings};
use crate::harness::{App, Engine, Heard, Listener, Log, Piece, Rabbit, Server, on_both_engines};

on_both_engines![every_kind_fits_its_schema_and_is_what_the_feed_shows];

const USER: &str = "01a1fddd-2e94-73c6-b791-5c530f6f0c92";
const SESSION: &str = "01a1fddd-2e94-73c6-b791-5c530f6f0c93";
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TIME: &str = "2026-11-20T03:08:47.848577Z";

/// A whole address makes `dataschema` one too, as the SDK asks for.
const PUBLIC_URL: (&str, &str) = ("REGISTRY__PUBLIC_URL", "https://registry.example");

/// One event of each kind as it may be stored. What is about a person is sealed there, and nothing of it is read.
fn stored() -> Vec<(&'static str, &'static str, Value)> {
    let hash = "ab".repeat(32);
    let request = json!({
        "request": USER, "original": USER, "dialect": "cadasta", "issued_at": TIME, "expires_at": TIME,
    });
    let with = |mut more: Value, base: &Value| {
        for (name, value) in base.as_object().unwrap() {
            more[name] = value.clone();
        }
        more
    };
    let user = |kind: &str, data: Value| ("user", USER, with(json!({ "type": format!("user.{kind}") }), &data));
    let session = |kind: &str, data: Value| {
        (
            "session",
            SESSION,
            with(json!({ "type": format!("session.{kind}") }), &data),
        )
    };
    let domain = |kind: &str, data: Value| {
        (
            "domain",
            "farm.example",
            with(json!({ "type": format!("domain.{kind}") }), &data),
        )
    };
    vec![
        user(
            "registered",
            json!({ "dialect": "taxi", "discoverable": true, "email_verified": false, "active": true, "credential_version": 1 }),
        ),
        user(
            "imported",
            json!({ "dialect": "agstack", "email_verified": true, "phone_verified": false, "active": true, "credential_version": 1 }),
        ),
        user("email_verification_requested", request.clone()),
        user("email_verified", json!({ "original": USER })),
        user("phone_verification_requested", request.clone()),
        user("phone_verified", json!({ "request": USER })),
        user("email_change_requested", request.clone()),
        user("email_changed", json!({ "original": USER })),
        user("email_added", json!({})),
        user("phone_changed", json!({})),
        user("username_changed", json!({})),
        user("profile_updated", json!({ "fields": ["full_name", "position"] })),
        user("password_changed", json!({ "credential_version": 2 })),
        user("password_reset_requested", with(json!({ "channel": "sms" }), &request)),
        user("password_reset", json!({ "original": USER, "credential_version": 3 })),
        user("locked", json!({ "reason": "attempts" })),
        user("unlocked", json!({})),
        user("deactivated", json!({})),
        user("reactivated", json!({})),
        user("activated", json!({})),
        user("role_granted", json!({ "role": "auditor" })),
        user("role_revoked", json!({ "role": "auditor" })),
        user(
            "api_key_issued",
            json!({ "key_id": USER, "roles": ["user"], "expires_at": TIME }),
        ),
        user("api_key_revoked", json!({ "key_id": USER })),
        user("device_bound", json!({})),
        user("device_unbound", json!({})),
        user("erased", json!({})),
        user("expired", json!({})),
        session(
            "started",
            json!({ "user": USER, "dialect": "xhoppe", "method": "password", "idle_expires_at": TIME, "expires_at": TIME }),
        ),
        session(
            "refreshed",
            json!({ "generation": 1, "retry": false, "idle_expires_at": TIME, "at": TIME }),
        ),
        session("ended", json!({ "reason": "logout", "all": false })),
        session("reuse_detected", json!({ "generation": 1 })),
        session("failed", json!({ "user": USER, "dialect": "canonical" })),
        domain("observed", json!({})),
        domain("allowed", json!({ "include_subdomains": true })),
        domain("blocked", json!({ "include_subdomains": false, "reason": "spam" })),
        domain("unblocked", json!({})),
        domain("address_blocked", json!({ "address": hash })),
        domain("address_unblocked", json!({ "address": hash })),
        domain("authority_token_issued", json!({ "token_id": USER })),
        domain("authority_token_rotated", json!({ "token_id": USER, "previous": USER })),
        domain("authority_token_revoked", json!({ "token_id": USER })),
        domain("proof_requested", json!({ "value": "registry-proof=abcdefghijklmnop" })),
        domain("proved", json!({ "value": "registry-proof=abcdefghijklmnop" })),
        (
            "audit",
            USER,
            json!({ "type": "audit.history_read", "of": USER, "hour": 5 }),
        ),
        ("audit", USER, json!({ "type": "audit.users_listed", "hour": 5 })),
    ]
}

/// Writes them into the log, past everything that decides and folds.
async fn write(log: &mut Log) {
    let postgres = matches!(log, Log::Postgres(_));
    let (cast, leaf) = if postgres {
        ("::json", "'\\x00'::bytea")
    } else {
        ("", "x'00'")
    };
    let mut position = log.head().await;
    let mut sequences: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    for (aggregate, stream, payload) in stored() {
        position += 1;
        let sequence = sequences.entry((aggregate, stream)).or_default();
        *sequence += 1;
        let event_id =
            uuid::Uuid::from_u128(0x01a1_fddd_2e94_7000_8000_0000_0000_0000 + u128::try_from(position).unwrap());
        let kind = payload["type"].as_str().unwrap();
        let metadata = json!({ "actor": "self", "dialect": "canonical", "request_id": format!("r-{position}"), "status": "active", "traceparent": TRACE });
        let subject = if aggregate == "domain" { stream } else { USER };
        log.numbers(&format!(
            "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata,
                                 position, event_id, subject, recorded_at, leaf_hash)
             VALUES ('{aggregate}', '{stream}', {sequence}, '{kind}', '1.0', '{payload}'{cast}, '{metadata}'{cast},
                     {position}, '{event_id}', '{subject}', 1795144127848577, {leaf})
             RETURNING position"
        ))
        .await;
    }
    log.numbers(&format!("UPDATE log_head SET position = {position} RETURNING position"))
        .await;
}

async fn every_kind_fits_its_schema_and_is_what_the_feed_shows(engine: Engine) {
    let rabbit = Rabbit::shared();
    let replay = format!("{}.replay", rabbit.exchange());
    let queue = rabbit.queue(rabbit.exchange(), "#").await;
    let again = rabbit.queue(&replay, "#").await;
    let (first, second) = (Listener::of(&rabbit, &queue), Listener::of(&rabbit, &again));
    let mut settings = settings(&rabbit, &rabbit.url());
    settings.push((PUBLIC_URL.0.to_owned(), PUBLIC_URL.1.to_owned()));

    let mut app = App::start_with(engine, &[("REGISTRY__FOLLOWERS__ENABLED", "false")]).await;
    let admin = app.admin().await;
    app.server.terminate();
    let mut log = app.log().await;
    write(&mut log).await;
    let head = log.head().await;
    app.server = Server::start(&app.place, &borrowed(&settings)).await;
    app.client = app.server.client();

    let mut shown: BTreeMap<i64, Value> = BTreeMap::new();
    let feed = app
        .get("/v1/events?after=0&limit=1000")
        .bearer(&admin.access)
        .expect(200)
        .await;
    let page = json!({ "$ref": "#/components/messages/page/payload" });
    holds(&document(&settings), &page, &feed);
    for event in feed["events"].as_array().unwrap() {
        shown.insert(event["position"].as_i64().unwrap(), event.clone());
    }
    assert!(
        shown.len() >= usize::try_from(head).unwrap(),
        "{} of {head}",
        shown.len()
    );
    let streamed = streamed(&app, &admin.access, head, &document(&settings)).await;
    // In headers; and once more, as one document.
    let heard = first.hears_all(head, Duration::from_secs(30)).await;
    check(&heard, &shown, head, (&document(&settings), "publish"));
    let read = same(&heard, head, &streamed, |one| Headers(one).into_event().unwrap());
    assert_eq!(read, streamed.keys().copied().collect());
    settings.push(("REGISTRY__AMQP__MODE".to_owned(), "structured".to_owned()));
    let to = head.to_string();
    let verb = ["publish", "--from", "1", "--to", &to];
    app.place.run_with(&verb, &borrowed(&settings), "").await.unwrap();
    let heard = second.hears_all(head, Duration::from_secs(30)).await;
    let kinds = check(&heard, &shown, head, (&document(&settings), "republish"));
    let read = same(&heard, head, &streamed, |one| {
        serde_json::from_slice(&one.body).unwrap()
    });
    assert_eq!(read, streamed.keys().copied().collect());
    assert_eq!(
        kinds,
        KINDS.iter().map(|kind| kind.name.to_owned()).collect::<BTreeSet<_>>()
    );
    told!(
        "{engine:?}: {} kinds off a queue, in both modes, equal to the feed's documents",
        kinds.len()
    );
    drop((app, first, second));
    rabbit.forget(&[&queue, &again], &[rabbit.exchange(), &replay]).await;
}

/// A message as the SDK is given one: the attributes in its headers, the facts in its body.
struct Headers<'a>(&'a Heard);

impl BinaryDeserializer for Headers<'_> {
    fn deserialize_binary<R: Sized, V: BinarySerializer<R>>(self, mut event: V) -> Reading<R> {
        let headers = self.0.headers();
        let attributes = headers.as_object().unwrap().iter();
        let attributes = attributes.filter_map(|(name, value)| Some((name.strip_prefix("cloudEvents_")?, value)));
        event = event.set_spec_version(SpecVersion::V10)?;
        event = event.set_attribute("datacontenttype", MessageAttributeValue::String(self.0.content_type()))?;
        for (name, value) in attributes {
            let told = match value {
                Value::String(text) => MessageAttributeValue::String(text.clone()),
                other => MessageAttributeValue::Integer(other.as_i64().unwrap()),
            };
            event = match name {
                "specversion" => {
                    assert_eq!(value, "1.0");
                    event
                }
                "id" | "source" | "type" | "subject" | "time" | "dataschema" => event.set_attribute(name, told)?,
                _ => event.set_extension(name, told)?,
            };
        }
        event.end_with_data(self.0.body.clone())
    }
}

/// A value is what a part of the document says, whose references lead within it.
fn holds(document: &Value, part: &Value, value: &Value) {
    let mut schema = part.clone();
    for name in ["channels", "components"] {
        schema[name] = document[name].clone();
    }
    fits(&schema, value);
}

/// What the stream says, read by the SDK as it came. Each is what the document says of the stream.
async fn streamed(app: &App, token: &str, head: i64, told: &Value) -> BTreeMap<i64, Event> {
    let mut stream = app.get("/v1/events/stream?after=0").bearer(token).open().await;
    let mut events = BTreeMap::new();
    while events.last_key_value().is_none_or(|(position, _)| *position < head) {
        if let Piece::Event { id, kind, data } = stream.must().await {
            let named = &told["channels"]["stream"]["messages"][&kind]["$ref"];
            let payload = format!("{}/payload", named.as_str().unwrap());
            holds(told, &json!({ "$ref": payload }), &serde_json::from_str(&data).unwrap());
            events.insert(id, serde_json::from_str(&data).unwrap());
        }
    }
    events
}

/// Everything that the SDK knows of an event; of its data the value, however it was carried.
fn known(event: &Event) -> (BTreeMap<String, String>, Value) {
    let attributes = event.iter().map(|(name, value)| (name.to_owned(), value.to_string()));
    let data: Value = event.data().cloned().unwrap().try_into().unwrap();
    (attributes.collect(), data)
}

/// Holds what a queue brought against what the stream brought, both as the SDK reads them. Gives the positions.
fn same(heard: &[Heard], head: i64, streamed: &BTreeMap<i64, Event>, read: impl Fn(&Heard) -> Event) -> BTreeSet<i64> {
    let mut positions = BTreeSet::new();
    for one in heard.iter().filter(|one| one.number("position") <= head) {
        let (position, event) = (one.number("position"), read(one));
        assert_eq!(known(&event), known(&streamed[&position]));
        assert_eq!(event.ty(), one.routing_key);
        assert!(
            event
                .dataschema()
                .is_some_and(|schema| schema.as_str().starts_with(PUBLIC_URL.1))
        );
        positions.insert(position);
    }
    positions
}

/// What the service tells of its events with these settings.
pub(super) fn document(settings: &[(String, String)]) -> Value {
    asyncapi(&Config::load(None, settings.iter().cloned(), &Overrides::default()).unwrap())
}

fn fits(schema: &Value, value: &Value) {
    let validator = jsonschema::draft202012::options()
        .should_validate_formats(true)
        .build(schema)
        .unwrap();
    let problems: Vec<String> = validator
        .iter_errors(value)
        .map(|problem| problem.to_string())
        .collect();
    assert!(problems.is_empty(), "{problems:?} in {value}");
}

/// A message is the one that the document says an operation sends: its exchange, content type, headers and body.
pub(super) fn is_sent(one: &Heard, document: &Value, operation: &str) {
    let sent = document["operations"][operation]["messages"].as_array().unwrap();
    let follow = |reference: &Value| {
        document
            .pointer(reference["$ref"].as_str().unwrap().trim_start_matches('#'))
            .unwrap()
            .clone()
    };
    let channel = follow(&document["operations"][operation]["channel"]);
    assert_eq!(channel["bindings"]["amqp"]["exchange"]["name"], one.exchange);
    let told: Vec<Value> = sent
        .iter()
        .map(|reference| follow(&follow(reference)))
        .filter(|message| message["name"] == one.routing_key)
        .collect();
    let [told] = told.as_slice() else {
        panic!("{} messages are {}", told.len(), one.routing_key)
    };
    assert_eq!(told["contentType"], one.content_type());
    fits(&told["headers"], &one.headers());
    fits(&told["payload"], &serde_json::from_slice(&one.body).unwrap());
    // Nothing is sent that is not told.
    let known = told["headers"]["properties"].as_object().unwrap();
    for name in one.headers().as_object().unwrap().keys() {
        assert!(known.contains_key(name), "{name} of {} is not told", one.routing_key);
    }
}

/// The kinds among what was heard, each held against its schema, the feed's document and what is told of it.
fn check(
    heard: &[Heard],
    shown: &BTreeMap<i64, Value>,
    head: i64,
    (document, operation): (&Value, &str),
) -> BTreeSet<String> {
    let mut kinds = BTreeSet::new();
    for one in heard.iter().filter(|one| one.number("position") <= head) {
        let event = one.event();
        assert_eq!(event, shown[&one.number("position")]);
        is_sent(one, document, operation);
        let kind = event["type"].as_str().unwrap();
        assert_eq!(
            (kind, event["id"].as_str().unwrap()),
            (one.routing_key.as_str(), one.message_id().as_str())
        );
        assert_eq!(event["sequence"], one.number("sequence"));
        let known = KINDS.iter().find(|known| known.name == kind).unwrap();
        for (schema, document) in [
            (envelope(Some(known)), &event),
            (schema(kind, &known.version.to_string()).unwrap(), &event["data"]),
        ] {
            fits(&schema, document);
        }
        kinds.insert(kind.to_owned());
    }
    kinds
}
