//! The document to read: one page without scripts, made of the document for programs and of nothing else.

use std::fmt::Write as _;
use std::sync::OnceLock;

use axum::body::Bytes;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use serde_json::Value;

use crate::http::problem::escaped;

const STYLE: &str = include_str!("style.css");

/// Nothing may be loaded, and of styles only ours holds.
fn policy() -> HeaderValue {
    static POLICY: OnceLock<HeaderValue> = OnceLock::new();
    let make = || {
        let hash = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
    };
    POLICY.get_or_init(make).clone()
}

/// A page of ours as an answer.
pub(in crate::http) fn page(html: Bytes) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (CONTENT_SECURITY_POLICY, policy()),
    ];
    (headers, html).into_response()
}

/// A whole page. The body is HTML already.
pub(super) fn whole(title: &str, body: &str) -> String {
    let title = escaped(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )
}

/// The page of a document.
pub(super) fn html(document: &Value) -> String {
    let mut out = String::new();
    let info = &document["info"];
    let _ = write!(
        out,
        "<h1>{} <small>{}</small></h1>\n{}<p>For programs: <a href=\"/openapi.json\">/openapi.json</a>. \
         <a href=\"/docs/tokens\">Verifying access tokens</a>. <a href=\"/docs/events\">What events mean</a>. <a href=\"/problems\">Kinds of problem</a>.</p>\n<nav>",
        of(&info["title"]),
        of(&info["version"]),
        paragraphs(&info["description"]),
    );
    let tags: Vec<&str> = items(&document["tags"])
        .filter_map(|tag| tag["name"].as_str())
        .collect();
    for tag in &tags {
        let _ = write!(out, "<a href=\"#{}\">{}</a> ", anchor(tag), escaped(tag));
    }
    out.push_str("<a href=\"#schemas\">Schemas</a></nav>\n");
    for tag in tags {
        let _ = writeln!(out, "<h2 id=\"{}\">{}</h2>", anchor(tag), escaped(tag));
        for (path, methods) in members(&document["paths"]) {
            for (method, operation) in members(methods) {
                if operation["tags"][0] == *tag {
                    operation_html(&mut out, document, path, method, operation);
                }
            }
        }
    }
    out.push_str("<h2 id=\"schemas\">Schemas</h2>\n");
    for (name, schema) in members(&document["components"]["schemas"]) {
        let _ = write!(
            out,
            "<details class=\"op\" id=\"schema-{name}\"><summary><strong>{name}</strong> {}</summary><div>",
            of(&schema["description"])
        );
        members_html(&mut out, schema);
        out.push_str("</div></details>\n");
    }
    whole("User and domain registry: API", &out)
}

fn operation_html(out: &mut String, document: &Value, path: &str, method: &str, operation: &Value) {
    let _ = write!(
        out,
        "<details class=\"op\" id=\"{}\"><summary><span class=\"verb {method}\">{}</span><code>{}</code> {}\
         <span class=\"who\">{}</span></summary><div>\n{}",
        of(&operation["operationId"]),
        method.to_uppercase(),
        escaped(path),
        of(&operation["summary"]),
        of(&operation["x-permission"]),
        paragraphs(&operation["description"]),
    );
    let parameters: Vec<&Value> = items(&operation["parameters"])
        .map(|one| resolved(document, one))
        .collect();
    if !parameters.is_empty() {
        out.push_str("<h4>Parameters</h4><div class=\"table\"><table>");
        for parameter in parameters {
            row(
                out,
                &parameter["name"],
                &parameter["schema"],
                parameter["required"] == true,
                &format!("{} <em>{}</em>", of(&parameter["description"]), of(&parameter["in"])),
            );
        }
        out.push_str("</table></div>");
    }
    let body = &operation["requestBody"];
    for (media, content) in members(&body["content"]) {
        let _ = write!(
            out,
            "<h4>Body <code>{}</code></h4><p>{}{}</p>",
            escaped(media),
            of(&body["description"]),
            rule(&content["schema"])
        );
        members_html(out, &content["schema"]);
        for (name, example) in members(&content["examples"]) {
            let text = serde_json::to_string_pretty(&example["value"]).unwrap_or_default();
            let _ = write!(out, "<p>{}:</p><pre>{}</pre>", escaped(name), escaped(&text));
        }
    }
    out.push_str("<h4>Answers</h4><div class=\"table\"><table>");
    for (status, answer) in members(&operation["responses"]) {
        let mut carries = Vec::new();
        for (media, content) in members(&answer["content"]) {
            if media == "application/problem+json" {
                let kinds = items(&content["schema"]["allOf"][1]["properties"]["type"]["enum"]);
                carries.extend(kinds.map(|kind| format!("<a href=\"{0}\">{0}</a>", of(kind))));
            } else {
                carries.push(format!(
                    "<code>{}</code> {}",
                    escaped(media),
                    kind_html(&content["schema"])
                ));
            }
        }
        let _ = write!(
            out,
            "<tr><th>{status}</th><td>{}</td><td>{}</td></tr>",
            of(&answer["description"]),
            carries.join(", ")
        );
    }
    out.push_str("</table></div></div></details>\n");
}

/// The members of an object, one line each.
fn members_html(out: &mut String, schema: &Value) {
    let required: Vec<&str> = items(&schema["required"]).filter_map(Value::as_str).collect();
    if members(&schema["properties"]).next().is_none() {
        return;
    }
    out.push_str("<div class=\"table\"><table>");
    for (name, member) in members(&schema["properties"]) {
        let text = of(&member["description"]);
        row(
            out,
            &Value::from(name.as_str()),
            member,
            required.contains(&name.as_str()),
            &text,
        );
    }
    out.push_str("</table></div>");
}

fn row(out: &mut String, name: &Value, schema: &Value, required: bool, text: &str) {
    let needed = if required { "" } else { "optional" };
    let _ = write!(
        out,
        "<tr><th><code>{}</code></th><td>{}</td><td>{needed}</td><td>{text}</td></tr>",
        of(name),
        kind_html(schema)
    );
}

/// Which members go together.
fn rule(schema: &Value) -> String {
    let names = |group: &Value| -> String {
        let names: Vec<String> = items(&group["required"])
            .map(|name| format!("<code>{}</code>", of(name)))
            .collect();
        names.join(" and ")
    };
    for (word, says) in [("anyOf", "At least one of"), ("oneOf", "Either")] {
        let groups: Vec<String> = items(&schema[word]).map(names).collect();
        if !groups.is_empty() {
            return format!(" {says} {}.", groups.join(" or "));
        }
    }
    String::new()
}

/// The kind of a value in a few words.
fn kind_html(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return format!("<a href=\"#schema-{0}\">{0}</a>", escaped(name));
    }
    if let Some(alternatives) = schema["anyOf"].as_array().or(schema["oneOf"].as_array())
        && schema["type"].is_null()
    {
        return alternatives.iter().map(kind_html).collect::<Vec<_>>().join(" or ");
    }
    let mut kind = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().map(of).collect::<Vec<_>>().join(" or "),
        Value::String(kind) if kind == "array" => format!("list of {}", kind_html(&schema["items"])),
        Value::String(kind) => escaped(kind),
        _ => String::new(),
    };
    for (name, text) in [
        ("format", ""),
        ("pattern", ""),
        ("const", ""),
        ("default", "default "),
        ("minimum", "from "),
        ("maximum", "to "),
        ("minLength", "from "),
        ("maxLength", "to "),
    ] {
        match &schema[name] {
            Value::Null => {}
            Value::String(value) => {
                let _ = write!(kind, ", {text}<code>{}</code>", escaped(value));
            }
            value => {
                let unit = if name.ends_with("Length") { " characters" } else { "" };
                let _ = write!(kind, ", {text}{value}{unit}");
            }
        }
    }
    let words: Vec<String> = items(&schema["enum"])
        .map(|word| format!("<code>{}</code>", of(word)))
        .collect();
    if !words.is_empty() {
        let _ = write!(kind, ": {}", words.join(" "));
    }
    if kind == "object" {
        let inner: Vec<String> = members(&schema["properties"])
            .map(|(name, member)| format!("<code>{}</code> {}", escaped(name), kind_html(member)))
            .collect();
        if !inner.is_empty() {
            let _ = write!(kind, " {{ {} }}", inner.join("; "));
        }
    }
    kind.trim_start_matches(", ").to_owned()
}

/// What a reference leads to.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    value["$ref"]
        .as_str()
        .and_then(|path| document.pointer(path.trim_start_matches('#')))
        .unwrap_or(value)
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// A text, escaped; nothing for what is none.
fn of(value: &Value) -> String {
    escaped(value.as_str().unwrap_or_default())
}

fn anchor(tag: &str) -> String {
    tag.to_lowercase().replace(' ', "-")
}

/// Paragraphs, with code between backticks.
fn paragraphs(text: &Value) -> String {
    let mut html = String::new();
    for paragraph in text.as_str().unwrap_or_default().split("\n\n") {
        html.push_str("<p>");
        for (index, part) in paragraph.split('`').enumerate() {
            if index % 2 == 1 {
                let _ = write!(html, "<code>{}</code>", escaped(part));
            } else {
                html.push_str(&escaped(part));
            }
        }
        html.push_str("</p>\n");
    }
    html
}
