//! What the document says of bodies and parameters is what their readers do: which members there are, which must be
//! there, which may be null, of which kind they are.

use serde_json::{Value, json};

use super::operations;
use crate::harness::contract::resolved;
use crate::harness::{App, Engine, Reply, on_both_engines};

on_both_engines![
    bodies_are_read_as_the_document_says,
    parameters_are_read_as_the_document_says,
];

/// The errors of a refusal as (code, pointer).
fn told(reply: &Reply) -> Vec<(String, String)> {
    assert_eq!(reply.status, 400, "{reply:?}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let body = reply.json();
    let errors = body["errors"].as_array().into_iter().flatten();
    errors
        .map(|error| (text(&error["code"]), text(&error["pointer"])))
        .collect()
}

async fn bodies_are_read_as_the_document_says(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let mut members = 0;
    for (method, path, operation) in operations() {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        if schema.is_null() {
            continue;
        }
        let send = async |body: &Value| {
            let call = app.call(&method, path).bearer(&admin.access).json(body);
            told(&call.send().await)
        };
        let properties = schema["properties"].as_object().unwrap();
        // An unknown member beside makes sure that nothing is ever done.
        let mut expected: Vec<(String, String)> = schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|name| ("required".to_owned(), format!("/{}", name.as_str().unwrap())))
            .collect();
        expected.push(("unknown".to_owned(), "/no_such_member".to_owned()));
        if schema["anyOf"].is_array() && path != "/v1/commands/update-profile" || schema["oneOf"].is_array() {
            expected.push(("required".to_owned(), String::new()));
        }
        // One's own account is erased with the password only; another's is not.
        if path == "/v1/commands/erase-user" {
            expected.push(("required".to_owned(), "/current_password".to_owned()));
        }
        let mut empty = send(&json!({ "no_such_member": 1 })).await;
        empty.sort();
        expected.sort();
        assert_eq!(empty, expected, "{path}: what must be there");
        for (name, member) in properties {
            let kinds = kinds(member);
            let null = send(&json!({ name: null, "no_such_member": 1 })).await;
            let refused = null.contains(&("null".to_owned(), format!("/{name}")));
            assert_eq!(
                refused,
                !kinds.contains(&"null".to_owned()),
                "{path}: {name} null: {null:?}"
            );
            for (kind, value) in [
                ("string", json!("x")),
                ("number", json!(1)),
                ("boolean", json!(true)),
                ("array", json!([])),
                ("object", json!({})),
            ] {
                let wrong = send(&json!({ name: value, "no_such_member": 1 })).await;
                let pointer = format!("/{name}");
                let refused = wrong.iter().any(|(code, at)| code == "type" && *at == pointer)
                    // A boundary is looked into at once.
                    || (name == "boundary" && kind != "object" && wrong.contains(&("invalid".to_owned(), pointer.clone())));
                assert_eq!(
                    refused,
                    !kinds.iter().any(|known| known == kind),
                    "{path}: {name} as {kind}: {wrong:?}"
                );
                assert!(!wrong.contains(&("unknown".to_owned(), pointer)), "{path}: {name}");
            }
            members += 1;
        }
    }
    told!("{engine:?}: {members} members");
}

/// The JSON types a schema admits.
fn kinds(schema: &Value) -> Vec<String> {
    match &schema["type"] {
        Value::String(kind) => vec![kind.clone()],
        Value::Array(kinds) => kinds.iter().map(|kind| kind.as_str().unwrap().to_owned()).collect(),
        _ => {
            let alternatives = schema["anyOf"].as_array().or(schema["oneOf"].as_array());
            alternatives.into_iter().flatten().flat_map(kinds).collect()
        }
    }
}

async fn parameters_are_read_as_the_document_says(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let mut count = 0;
    for (method, path, operation) in operations() {
        if method != "GET" || !path.starts_with("/v1/") {
            continue;
        }
        let address = path.replace("{id}", &admin.user).replace("{name}", "farm.example");
        let send = async |query: &str| {
            let call = app.get(&format!("{address}?{query}")).bearer(&admin.access);
            told(&call.send().await)
        };
        let parameters: Vec<&Value> = operation["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .map(resolved)
            .filter(|parameter| parameter["in"] == "query")
            .collect();
        let mut expected = vec![("unknown".to_owned(), "/no_such".to_owned())];
        let needed = parameters.iter().filter(|parameter| parameter["required"] == true);
        let unknown = send("no_such=1").await;
        // What is asked for may be told of together with what is unknown, or after it.
        for parameter in needed {
            let error = (
                "required".to_owned(),
                format!("/{}", parameter["name"].as_str().unwrap()),
            );
            if unknown.contains(&error) {
                expected.insert(0, error);
            } else {
                assert!(send("").await.contains(&error), "{path}");
            }
        }
        let (mut got, mut wanted) = (unknown, expected);
        got.sort();
        wanted.sort();
        assert_eq!(got, wanted, "{path}");
        for parameter in parameters {
            let name = parameter["name"].as_str().unwrap();
            let twice = send(&format!("{name}=1&{name}=1&no_such=1")).await;
            assert!(
                twice.contains(&("repeated".to_owned(), format!("/{name}"))),
                "{path}: {name}: {twice:?}"
            );
            count += 1;
        }
    }
    assert!(count > 10);
    told!("{engine:?}: {count} parameters");
}
