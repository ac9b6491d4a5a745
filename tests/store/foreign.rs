//! The promise to other cqrs-es programs: our streams are read by the libraries' own stores.

use std::collections::HashMap;
use std::sync::Arc;

use aggregates::user::{User, UserCommand};
use aggregates::values::{Coordinates, Username};
use cqrs_es::event_sink::EventSink;
use cqrs_es::persist::{PersistedEventRepository, PersistedEventStore};
use cqrs_es::{Aggregate, AggregateContext as _, DomainEvent, EventStore as _};
use postgres_es::PostgresEventRepository;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlite_es::SqliteEventRepository;
use sqlx::{Pool, Postgres, Sqlite};

use crate::harness::{Database, Kind};
use crate::people::{IP, USER_AGENT, called, fresh_id, person, tell_user};

/// An event as somebody sees it who knows no more than that it has a type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Seen {
    #[serde(rename = "type")]
    kind: String,
    #[serde(flatten)]
    facts: Map<String, Value>,
}

impl DomainEvent for Seen {
    fn event_type(&self) -> String {
        self.kind.clone()
    }

    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}

/// A foreign program's idea of a user.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Foreign {
    kinds: Vec<String>,
    credential: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("this program only reads")]
struct OnlyReads;

impl Aggregate for Foreign {
    const TYPE: &'static str = "user";
    type Command = ();
    type Event = Seen;
    type Error = OnlyReads;
    type Services = ();

    async fn handle(&mut self, (): (), (): &(), _: &EventSink<Self>) -> Result<(), OnlyReads> {
        Err(OnlyReads)
    }

    fn apply(&mut self, event: Seen) {
        self.credential = event
            .facts
            .get("credential_version")
            .and_then(Value::as_u64)
            .unwrap_or(self.credential);
        self.kinds.push(event.kind);
    }
}

pub async fn a_foreign_program_reads_our_streams_through_the_libraries_own_store(database: Arc<Database>) {
    let store = database.open().await;
    let id = fresh_id(&store);
    let unit = store.unit(crate::people::context());
    unit.is_fresh::<User>(&id.to_string());
    let mut register = person(&store, Some("ada.lovelace@farm.example"), Some("countess"));
    register.position = Some(Coordinates::new(51.239_208_31, -0.170_251_97).unwrap());
    unit.execute::<User>(&id.to_string(), UserCommand::Register(Box::new(register)))
        .await
        .unwrap();
    unit.append().await.unwrap();
    tell_user(&store, id, || called("Augusta Ada King")).await;
    let username = Username::parse("enchantress").unwrap();
    tell_user(&store, id, || UserCommand::ChangeUsername {
        username: username.clone(),
    })
    .await;
    tell_user(&store, id, || UserCommand::ChangePassword { kept_session: None }).await;

    let (events, words) = match database.kind {
        Kind::Postgres => {
            let pool: Pool<Postgres> = Pool::connect_with(database.postgres()).await.unwrap();
            read(
                PersistedEventStore::new_event_store(PostgresEventRepository::new(pool)),
                &id.to_string(),
            )
            .await
        }
        Kind::Sqlite => {
            let pool: Pool<Sqlite> = Pool::connect_with(database.sqlite().read_only(true)).await.unwrap();
            read(
                PersistedEventStore::new_event_store(SqliteEventRepository::new(pool)),
                &id.to_string(),
            )
            .await
        }
    };
    told!(
        "{}: {events} events read by the library's own store, {words} personal words in none of them",
        store.engine_name()
    );
}

/// How many events it read, and how many personal words none of them holds in clear.
async fn read<R: PersistedEventRepository>(foreign: PersistedEventStore<R, Foreign>, id: &str) -> (usize, usize) {
    let events = foreign.load_events(id).await.unwrap();
    let kinds: Vec<&str> = events.iter().map(|event| event.payload.kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "user.registered",
            "user.profile_updated",
            "user.username_changed",
            "user.password_changed"
        ]
    );
    let sequences: Vec<usize> = events.iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, [1, 2, 3, 4]);
    assert!(events.iter().all(|event| event.aggregate_id == id));

    let registered = &events[0].payload.facts;
    assert_eq!(
        (&registered["dialect"], &registered["active"]),
        (&Value::from("canonical"), &Value::from(true))
    );
    assert_eq!(events[1].payload.facts["fields"], serde_json::json!(["full_name"]));
    assert_eq!(registered["sealed"]["person"]["fields"].as_array().unwrap().len(), 3);

    let personal = [
        // At the start of a text: ids are hexadecimal digits, which spell it by chance.
        "\"ada",
        "lovelace",
        "farm.example",
        "countess",
        "enchantress",
        "augusta",
        "king",
        "51.239",
        "0.1702",
        IP,
        &USER_AGENT.to_lowercase(),
        "tractor",
    ];
    for event in &events {
        // `EventEnvelope` holds the metadata as a map of strings: that it could be read shows that it is flat.
        let metadata: &HashMap<String, String> = &event.metadata;
        for name in [
            "event_id",
            "subject",
            "actor",
            "dialect",
            "request_id",
            "status",
            "origin",
            "origin_owner",
            "origin_scope",
        ] {
            assert!(metadata.contains_key(name), "{name}");
        }
        assert_eq!(metadata["subject"], id);
        // What is sealed is left out: base64 may spell anything.
        let mut facts = event.payload.facts.clone();
        if let Some(sealed) = facts.get_mut("sealed").and_then(Value::as_object_mut) {
            for scope in sealed.values_mut() {
                scope["v"] = Value::Null;
            }
        }
        let metadata = metadata.iter().filter(|(name, _)| *name != "origin");
        let plain = format!("{facts:?} {:?}", metadata.collect::<Vec<_>>()).to_lowercase();
        for word in personal {
            assert!(!plain.contains(word), "{word} stands in clear in {plain}");
        }
    }

    let mut context = foreign.load_aggregate(id).await.unwrap();
    let aggregate = context.aggregate();
    assert_eq!((aggregate.kinds.len(), aggregate.credential), (4, 2));
    assert!(foreign.load_events("nobody").await.unwrap().is_empty());
    (events.len(), personal.len())
}
