//! The document of the API: right as a document, whole, and true.

mod examples;
mod fields;
mod pages;
mod tokens;

use std::collections::BTreeSet;

use serde_json::Value;
use user_registry::http::{Permission, ROUTES, Route};

use crate::harness::contract::{DOCUMENT, compiled};
use crate::harness::{App, Engine, on_both_engines};

on_both_engines![the_service_serves_the_document_and_says_what_it_is];

/// The schema that the `OpenAPI` Initiative publishes for documents of 3.1.
const META: &str = include_str!("../../openapi/schema-3.1-2022-10-07.json");

async fn the_service_serves_the_document_and_says_what_it_is(engine: Engine) {
    let app = App::start(engine).await;
    let reply = app.get("/openapi.json").send().await;
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(reply.json(), *DOCUMENT, "served and made are one document");
    let open = App::start_with(engine, &[("REGISTRY__REGISTRATION__PUBLIC_CHECK", "true")]).await;
    let document = open.get("/openapi.json").expect(200).await;
    assert_eq!(
        document["paths"]["/v1/domains/check"]["get"]["security"],
        serde_json::json!([]),
        "the document is of the running configuration"
    );
}

#[test]
fn it_holds_under_the_meta_schema_of_openapi_3_1() {
    let meta: Value = serde_json::from_str(META).unwrap();
    let validator = jsonschema::draft202012::new(&meta).unwrap();
    let problems: Vec<String> = validator
        .iter_errors(&DOCUMENT)
        .map(|problem| format!("{}: {problem}", problem.instance_path()))
        .collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    // The meta-schema bites.
    let mut broken = DOCUMENT.clone();
    broken["paths"]["/v1/me"]["get"]["responses"]["nine"] = serde_json::json!({});
    assert!(!validator.is_valid(&broken));
}

#[test]
fn every_schema_in_it_is_one_and_every_reference_leads_somewhere() {
    let mut schemas = 0;
    walk(&DOCUMENT, &mut |name, value| {
        if name == "schema" {
            jsonschema::draft202012::meta::validate(value).unwrap_or_else(|problem| panic!("{problem} in {value}"));
            compiled(value);
            schemas += 1;
        }
        if name == "$ref" {
            let path = value.as_str().unwrap().strip_prefix('#').unwrap();
            assert!(DOCUMENT.pointer(path).is_some(), "nothing at {path}");
        }
    });
    assert!(schemas > 200, "{schemas}");
    for (name, schema) in DOCUMENT["components"]["schemas"].as_object().unwrap() {
        jsonschema::draft202012::meta::validate(schema).unwrap_or_else(|problem| panic!("{name}: {problem}"));
    }
}

fn walk(value: &Value, visit: &mut impl FnMut(&str, &Value)) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                visit(name, member);
                walk(member, visit);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, visit)),
        _ => {}
    }
}

/// Every operation of the document as method and path.
pub fn operations() -> Vec<(String, &'static str, &'static Value)> {
    let paths = DOCUMENT["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap();
            methods
                .iter()
                .map(move |(method, operation)| (method.to_uppercase(), path.as_str(), operation))
        })
        .collect()
}

#[test]
fn every_route_has_its_operation_and_every_operation_its_route() {
    let routes: BTreeSet<(String, &str)> = ROUTES
        .iter()
        .map(|route| (route.method.to_string(), route.path))
        .collect();
    let documented: BTreeSet<(String, &str)> = operations().into_iter().map(|(m, p, _)| (m, p)).collect();
    assert_eq!(routes, documented);
    let declared = user_registry::http::declared_operations();
    let declared: BTreeSet<(String, &str)> = declared.into_iter().map(|(m, p)| (m.to_string(), p)).collect();
    assert_eq!(declared, routes, "an operation is declared that no route serves");
}

#[test]
fn every_operation_says_who_may_use_it_as_the_table_of_routes_does() {
    for Route {
        method,
        path,
        permission,
    } in ROUTES
    {
        let operation = &DOCUMENT["paths"][path][method.as_str().to_ascii_lowercase()];
        let (word, schemes): (_, &[&str]) = match permission {
            Permission::Public => ("public", &[]),
            Permission::SignedIn => ("signed-in", &["accessToken", "apiKey"]),
            Permission::Person => ("person", &["accessToken"]),
            Permission::Subscriber => ("subscriber", &["accessToken", "apiKey"]),
            Permission::Reader => ("reader", &["accessToken", "apiKey"]),
            Permission::Admin => ("admin", &["accessToken", "apiKey"]),
            Permission::Checker => ("checker", &["accessToken", "apiKey"]),
        };
        assert_eq!(operation["x-permission"], word, "{method} {path}");
        let listed: Vec<&str> = operation["security"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|scheme| scheme.as_object().unwrap().keys().map(String::as_str))
            .collect();
        assert_eq!(listed, schemes, "{method} {path}");
        let responses = operation["responses"].as_object().unwrap();
        assert_eq!(
            responses.contains_key("401"),
            *permission != Permission::Public || path.starts_with("/v1/sessions"),
            "{method} {path}"
        );
    }
}

#[test]
fn operations_are_told_apart_and_told_of() {
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations() {
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id), "two operations are called {id}");
        assert!(!operation["summary"].as_str().unwrap().is_empty(), "{method} {path}");
        for (status, response) in operation["responses"].as_object().unwrap() {
            assert!(
                !response["description"].as_str().unwrap().is_empty(),
                "{method} {path} {status}"
            );
        }
        if !operation["requestBody"]["content"]["application/json"].is_null() {
            let examples = &operation["requestBody"]["content"]["application/json"]["examples"];
            assert!(!examples.is_null(), "{method} {path} has no example");
        }
    }
}
