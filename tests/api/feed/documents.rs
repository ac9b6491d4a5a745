//! The documents about the feed: right as documents, and served.

use jsonschema::Validator;
use serde_json::{Value, json};
use user_registry::config::{Config, Overrides};
use user_registry::public::{KINDS, asyncapi};

use crate::harness::{App, Engine, on_both_engines};

on_both_engines![the_service_serves_what_it_says_of_its_events];

/// The schema that the `AsyncAPI` Initiative publishes for documents of 3.0.0, in one piece.
const META: &str = include_str!("../../asyncapi/schema-3.0.0.json");

fn meta() -> Validator {
    let meta: Value = serde_json::from_str(META).unwrap();
    jsonschema::draft7::new(&meta).unwrap()
}

fn problems(validator: &Validator, document: &Value) -> Vec<String> {
    let problems = validator.iter_errors(document);
    problems
        .map(|problem| format!("{}: {problem}", problem.instance_path()))
        .collect()
}

#[test]
fn it_holds_under_the_meta_schema_of_asyncapi_3() {
    let (validator, document) = (meta(), asyncapi(&Config::default()));
    assert_eq!(problems(&validator, &document), Vec::<String>::new());
    let personal = asyncapi(&load(&[("REGISTRY__AMQP__PII_EXCHANGE", "inner")]));
    assert_eq!(problems(&validator, &personal), Vec::<String>::new());
    // The meta-schema bites.
    let mut broken = document.clone();
    broken["operations"]["publish"]["action"] = json!("shout");
    assert!(!validator.is_valid(&broken));
    let mut broken = document;
    broken["channels"]["exchange"]["bindings"]["amqp"]["exchange"]["type"] = json!("heap");
    assert!(!validator.is_valid(&broken));
}

#[test]
fn every_reference_in_it_leads_somewhere_and_every_kind_is_on_every_channel() {
    let document = asyncapi(&load(&[("REGISTRY__AMQP__PII_EXCHANGE", "inner")]));
    let mut references = 0;
    walk(&document, &mut |value| {
        let path = value.as_str().unwrap().strip_prefix('#').unwrap();
        assert!(document.pointer(path).is_some(), "nothing at {path}");
        references += 1;
    });
    assert!(references > 3 * KINDS.len(), "{references}");
    for kind in KINDS {
        for channel in ["exchange", "replay", "stream"] {
            let message = &document["channels"][channel]["messages"][kind.name];
            assert!(!message.is_null(), "{} is not on {channel}", kind.name);
        }
        let structured = format!("{}.structured", kind.name);
        for channel in ["exchange", "replay"] {
            assert!(!document["channels"][channel]["messages"][&structured].is_null());
        }
        for message in [kind.name, &format!("{}.message", kind.name), &structured] {
            assert!(!document["components"]["messages"][message].is_null(), "{message}");
        }
    }
    for (name, message) in document["components"]["messages"].as_object().unwrap() {
        for schema in [Some(&message["payload"]), message.get("headers")]
            .into_iter()
            .flatten()
        {
            jsonschema::draft202012::meta::validate(schema).unwrap_or_else(|problem| panic!("{name}: {problem}"));
        }
    }
    let parameter = &document["channels"]["exchange"]["parameters"]["type"]["enum"];
    assert_eq!(parameter.as_array().unwrap().len(), KINDS.len());
}

fn walk(value: &Value, visit: &mut impl FnMut(&Value)) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if name == "$ref" {
                    visit(member);
                }
                walk(member, visit);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, visit)),
        _ => {}
    }
}

/// The configuration that these settings of the environment make.
fn load(settings: &[(&str, &str)]) -> Config {
    let settings = settings
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load(None, settings, &Overrides::default()).unwrap()
}

/// What is told of the exchange of a channel.
fn exchange<'a>(document: &'a Value, channel: &str) -> &'a Value {
    &document["channels"][channel]["bindings"]["amqp"]["exchange"]
}

#[test]
fn its_exchanges_are_those_of_the_configuration() {
    let usual = asyncapi(&Config::default());
    for (channel, name) in [("exchange", "registry.events"), ("replay", "registry.replay")] {
        let told = exchange(&usual, channel);
        assert_eq!((&told["name"], &told["vhost"]), (&json!(name), &json!("/")));
        assert_eq!((&told["type"], &told["durable"]), (&json!("topic"), &json!(true)));
    }
    assert_eq!(usual["servers"]["broker"]["protocol"], "amqp");
    // Personal data is told of where it is sent, and nowhere else.
    assert!(usual["channels"].get("personal").is_none() && usual["operations"].get("publishPersonal").is_none());
    assert!(!usual.to_string().contains("full_name\":"), "no member for a name");

    let url = "amqps://joe:hunter2@broker.example:5999/events%2Feu";
    let document = asyncapi(&load(&[
        ("AMQP_URL", url),
        ("REGISTRY__AMQP__EXCHANGE", "elsewhere"),
        ("REGISTRY__AMQP__REPLAY_EXCHANGE", "again"),
        ("REGISTRY__AMQP__PII_EXCHANGE", "inner"),
    ]));
    for (channel, name) in [("exchange", "elsewhere"), ("replay", "again"), ("personal", "inner")] {
        let told = exchange(&document, channel);
        assert_eq!((&told["name"], &told["vhost"]), (&json!(name), &json!("events/eu")));
    }
    assert_eq!(document["servers"]["broker"]["protocol"], "amqps");
    // Nothing else of the address.
    let text = document.to_string();
    for part in ["joe", "hunter2", "broker.example", "5999"] {
        assert!(!text.contains(part), "{part}");
    }
    let personal: Vec<&str> = document["channels"]["personal"]["parameters"]["type"]["enum"]
        .as_array()
        .unwrap()
        .iter()
        .map(|kind| kind.as_str().unwrap())
        .collect();
    assert_eq!(
        personal,
        [
            "user.registered",
            "user.imported",
            "user.email_changed",
            "user.email_added",
            "user.phone_changed",
            "user.profile_updated",
            "user.erased",
            "user.expired"
        ]
    );
    let sent = document["operations"]["publishPersonal"]["messages"]
        .as_array()
        .unwrap();
    assert_eq!(sent.len(), personal.len());
}

#[test]
fn it_is_of_the_configuration() {
    let load = |name: &str, value: &str| load(&[(name, value)]);
    for (mode, suffix, content_type) in [
        ("binary", "", "application/json"),
        (
            "structured",
            ".structured",
            "application/cloudevents+json; charset=utf-8",
        ),
    ] {
        let document = asyncapi(&load("REGISTRY__AMQP__MODE", mode));
        assert_eq!(problems(&meta(), &document), Vec::<String>::new());
        for (operation, channel) in [("publish", "exchange"), ("republish", "replay")] {
            let publish = &document["operations"][operation];
            assert!(publish["summary"].as_str().unwrap().contains(mode), "{publish}");
            let sent: Vec<&str> = publish["messages"]
                .as_array()
                .unwrap()
                .iter()
                .map(|message| message["$ref"].as_str().unwrap())
                .collect();
            let expected: Vec<String> = KINDS
                .iter()
                .map(|kind| format!("#/channels/{channel}/messages/{}{suffix}", kind.name))
                .collect();
            assert_eq!(sent, expected, "all kinds, in one form");
            for message in sent {
                let named = document.pointer(&message[1..]).unwrap()["$ref"].as_str().unwrap();
                assert_eq!(document.pointer(&named[1..]).unwrap()["contentType"], content_type);
            }
        }
    }
    let document = asyncapi(&load("REGISTRY__PUBLIC_URL", "https://registry.example"));
    assert_eq!(document["servers"]["service"]["host"], "registry.example");
    assert_eq!(document["servers"]["service"]["protocol"], "https");
}

async fn the_service_serves_what_it_says_of_its_events(engine: Engine) {
    let app = App::start(engine).await;
    let served = app.get("/asyncapi.json").send().await;
    assert_eq!(served.header("content-type"), "application/json");
    let mut expected = asyncapi(&Config::default());
    expected["servers"]["service"]["host"] = served.json()["servers"]["service"]["host"].clone();
    assert_eq!(served.json(), expected);
    for kind in KINDS {
        let reply = app.get(&kind.schema_path()).send().await;
        assert_eq!(reply.status, 200, "{}", kind.name);
        assert_eq!(reply.header("content-type"), "application/schema+json");
        assert_eq!(reply.header("cache-control"), "public, max-age=3600");
        let schema = reply.json();
        assert_eq!(schema["$id"], kind.schema_path());
        jsonschema::draft202012::meta::validate(&schema).unwrap_or_else(|problem| panic!("{}: {problem}", kind.name));
        let data = &expected["components"]["messages"][kind.name]["payload"]["properties"]["data"];
        assert_eq!(schema["properties"], data["properties"], "{}", kind.name);
        assert_eq!(schema["required"], data["required"], "{}", kind.name);
    }
}
