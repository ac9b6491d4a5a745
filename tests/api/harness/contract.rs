//! The document of the API, held against every request and answer of the suite.
//!
//! An answer must be one the document lists for its operation: status, headers, media type and body. Objects are
//! closed here, so that a member nobody described is found too. A request the service took must be one the document
//! admits, and what the service refuses as unknown the document may not name.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use jsonschema::Validator;
use reqwest::Request;
use serde_json::{Value, json};
use user_registry::config::Config;

use super::Reply;

/// The document, as the default configuration makes it.
pub static DOCUMENT: LazyLock<Value> = LazyLock::new(|| user_registry::http::openapi(&Config::default()));

/// Objects of the components, closed.
static CLOSED: LazyLock<Value> = LazyLock::new(|| closed(DOCUMENT["components"]["schemas"].clone()));

/// The validators that were needed so far, by the JSON pointer of their schema.
static VALIDATORS: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);

/// What a request and its answer do not share with the document.
pub fn violation(request: &Request, body: Option<&[u8]>, reply: &Reply) -> Option<String> {
    check(request, body, reply).err()
}

fn check(request: &Request, body: Option<&[u8]>, reply: &Reply) -> Result<(), String> {
    let path = request.url().path();
    // The document is the canonical API's; the dialects are held against their own contracts.
    if path.starts_with("/api/v1/") || path.starts_with("/account/") {
        return Ok(());
    }
    let Some(template) = template(path) else {
        // Nobody serves it, or its address was too long to be looked at.
        return problem_of(reply, &[404, 413], &["/problems/not-found", "/problems/too-large"]);
    };
    let head = request.method() == "HEAD";
    let method = if head {
        "get".to_owned()
    } else {
        request.method().as_str().to_ascii_lowercase()
    };
    let operation = &DOCUMENT["paths"][template][&method];
    if operation.is_null() {
        if method == "options" && request.headers().contains_key("access-control-request-method") {
            return Ok(());
        }
        return problem_of(
            reply,
            &[405, 413],
            &["/problems/method-not-allowed", "/problems/too-large"],
        );
    }
    let pointer = format!("/paths/{}/{method}", escaped(template));
    answer(&pointer, &operation["responses"][reply.status.to_string()], reply, head)?;
    sent(&pointer, operation, request, body, reply)
}

/// The path of the document an address belongs to; one without a named segment before one with.
pub fn template(path: &str) -> Option<&'static str> {
    let templates = DOCUMENT["paths"].as_object().unwrap();
    if let Some((exact, _)) = templates.get_key_value(path) {
        return Some(exact);
    }
    templates.keys().map(String::as_str).find(|template| {
        let (parts, pattern): (Vec<_>, Vec<_>) = (path.split('/').collect(), template.split('/').collect());
        parts.len() == pattern.len()
            && parts
                .iter()
                .zip(pattern)
                .all(|(part, pattern)| part == &pattern || (pattern.starts_with('{') && !part.is_empty()))
    })
}

/// An answer that no operation describes: a problem of one of these kinds.
fn problem_of(reply: &Reply, statuses: &[u16], kinds: &[&str]) -> Result<(), String> {
    if !statuses.contains(&reply.status) {
        return Err(format!("no operation of the document, and answered {}", reply.status));
    }
    if reply.body.is_empty() {
        return Ok(()); // to HEAD
    }
    let body = json_of(reply)?;
    valid("/components/schemas/Problem", &body)?;
    if kinds.iter().any(|kind| body["type"] == *kind) {
        Ok(())
    } else {
        Err(format!("no operation of the document, and answered {}", body["type"]))
    }
}

fn answer(pointer: &str, response: &Value, reply: &Reply, head: bool) -> Result<(), String> {
    if response.is_null() {
        return Err(format!("the document does not list the status {}", reply.status));
    }
    for (name, header) in response["headers"].as_object().into_iter().flatten() {
        let header = resolved(header);
        match reply.headers.get(name) {
            Some(value) => {
                let text = value.to_str().map_err(|_| format!("the header {name} is no text"))?;
                let value = if header["schema"]["type"] == "integer" {
                    text.parse::<i64>().map_or_else(|_| json!(text), |number| json!(number))
                } else {
                    json!(text)
                };
                let validator = jsonschema::validator_for(&header["schema"]).unwrap();
                validator
                    .validate(&value)
                    .map_err(|problem| format!("the header {name}: {problem}"))?;
            }
            None if header["required"] == true => {
                return Err(format!("the header {name} is missing"));
            }
            None => {}
        }
    }
    for name in ["RateLimit", "RateLimit-Policy", "Retry-After", "ETag", "Location"] {
        if reply.headers.contains_key(name) && response["headers"].get(name).is_none() {
            return Err(format!("the document does not list the header {name}"));
        }
    }
    let media = reply
        .header("content-type")
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    let content = &response["content"];
    if media.is_empty() && reply.body.is_empty() {
        return if content.is_null() || head {
            Ok(())
        } else {
            Err("the answer has no body".to_owned())
        };
    }
    if content[media].is_null() {
        return Err(format!("the document does not list {media:?} for {}", reply.status));
    }
    if head || !is_json(reply) {
        return Ok(());
    }
    let pointer = format!("{pointer}/responses/{}/content/{}/schema", reply.status, escaped(media));
    valid(&pointer, &json_of(reply)?)
}

/// What was sent, judged by what came back.
fn sent(pointer: &str, operation: &Value, request: &Request, body: Option<&[u8]>, reply: &Reply) -> Result<(), String> {
    let parameters: Vec<&str> = operation["parameters"]
        .as_array()
        .into_iter()
        .flatten()
        .map(resolved)
        .filter(|parameter| parameter["in"] == "query")
        .filter_map(|parameter| parameter["name"].as_str())
        .collect();
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    if (200..300).contains(&reply.status) {
        if operation["x-permission"] != "public" || !parameters.is_empty() {
            for (name, _) in request.url().query_pairs() {
                if !parameters.contains(&name.as_ref()) {
                    return Err(format!("the parameter {name} was taken but is not in the document"));
                }
            }
        }
        if !schema.is_null() {
            let body = serde_json::from_slice(body.unwrap_or_default())
                .map_err(|problem| format!("a body was taken that is no JSON: {problem}"))?;
            let pointer = format!("{pointer}/requestBody/content/application~1json/schema");
            valid(&pointer, &body).map_err(|problem| format!("what was taken is not in the document: {problem}"))?;
        }
    } else if reply.status == 400 && is_json(reply) {
        let refused = json_of(reply)?;
        for error in refused["errors"].as_array().into_iter().flatten() {
            let name = error["pointer"].as_str().unwrap_or_default().trim_start_matches('/');
            let known = parameters.contains(&name) || !schema["properties"][name].is_null();
            match error["code"].as_str() {
                Some("unknown") if known && !name.is_empty() => {
                    return Err(format!("{name} is in the document but was refused as unknown"));
                }
                Some("required") if !known && !name.is_empty() && !name.contains('/') => {
                    return Err(format!("{name} was asked for but is not in the document"));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn is_json(reply: &Reply) -> bool {
    let kind = reply.header("content-type");
    // A file of lines is no document, though each of its lines is.
    kind.contains("json") && kind != "application/x-ndjson"
}

fn json_of(reply: &Reply) -> Result<Value, String> {
    serde_json::from_str(&reply.body).map_err(|problem| format!("the answer is no JSON: {problem}"))
}

/// Whether a value holds under the schema at a pointer.
fn valid(pointer: &str, value: &Value) -> Result<(), String> {
    let validator = {
        let mut validators = VALIDATORS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let validator = validators.entry(pointer.to_owned()).or_insert_with(|| {
            let schema = DOCUMENT
                .pointer(pointer)
                .unwrap_or_else(|| panic!("no schema at {pointer}"));
            Arc::new(compiled(schema))
        });
        Arc::clone(validator)
    };
    let problems: Vec<String> = validator
        .iter_errors(value)
        .take(5)
        .map(|problem| format!("at {:?}: {problem}", problem.instance_path().to_string()))
        .collect();
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems.join("; "))
    }
}

/// A schema of the document, with the components it refers to.
pub fn compiled(schema: &Value) -> Validator {
    let mut schema = schema.clone();
    schema["components"] = json!({ "schemas": *CLOSED });
    jsonschema::draft202012::options()
        .should_validate_formats(true)
        .build(&schema)
        .unwrap_or_else(|problem| panic!("{problem}"))
}

fn closed(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(members) => {
            for member in members.values_mut() {
                *member = closed(member.take());
            }
            if members.get("type").is_some_and(|kind| kind == "object")
                && members.contains_key("properties")
                && !members.contains_key("additionalProperties")
            {
                members.insert("additionalProperties".to_owned(), false.into());
            }
        }
        Value::Array(items) => {
            for item in items {
                *item = closed(item.take());
            }
        }
        _ => {}
    }
    schema
}

/// What a reference within the document leads to.
pub fn resolved(value: &Value) -> &Value {
    match value["$ref"].as_str() {
        Some(path) => DOCUMENT
            .pointer(path.trim_start_matches('#'))
            .unwrap_or_else(|| panic!("nothing at {path}")),
        None => value,
    }
}

fn escaped(part: &str) -> String {
    part.replace('~', "~0").replace('/', "~1")
}
