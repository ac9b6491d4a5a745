//! One line of a table.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::contract::template;
use crate::harness::{Client, Forge, Reply, Tokens};

/// Who and what is there while the cases run.
pub struct Scene {
    pub forge: Forge,
    pub user: Tokens,
    pub admin: Tokens,
    pub other: Tokens,
    /// Access tokens of an administrator that open nothing anywhere: what is wrong, the token, the problem.
    pub tokens: Vec<(&'static str, String, &'static str)>,
}

/// Whose credential a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    Nobody,
    User,
    Admin,
}

#[derive(Debug, Clone)]
pub struct Case {
    pub name: String,
    method: String,
    path: String,
    by: By,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Option<Vec<u8>>,
    /// Texts of the body that must not come back.
    secret: Vec<String>,
    expected: Expected,
}

#[derive(Debug, Clone, Default)]
struct Expected {
    status: u16,
    slug: String,
    pointers: Option<Vec<String>>,
    only: Option<&'static str>,
    header: Option<(&'static str, String)>,
    page: bool,
    allow: BTreeSet<String>,
}

/// A request; say what it `is` answered with.
pub fn case(name: impl Into<String>, method: &str, path: impl Into<String>) -> Case {
    Case {
        name: name.into(),
        method: method.to_owned(),
        path: path.into(),
        by: By::Nobody,
        headers: Vec::new(),
        body: None,
        secret: Vec::new(),
        expected: Expected::default(),
    }
}

/// A command with a body.
pub fn command(name: &str, what: &str, body: &Value) -> Case {
    case(format!("{name}: {what}"), "POST", format!("/v1/commands/{name}")).json(body)
}

/// A body with one member set.
pub fn with(base: &Value, name: &str, value: &Value) -> Value {
    let mut body = base.clone();
    body[name] = value.clone();
    body
}

impl Case {
    pub fn by(mut self, by: By) -> Self {
        self.by = by;
        self
    }

    pub fn with(mut self, name: &'static str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn json(mut self, body: &Value) -> Self {
        texts(body, &mut self.secret);
        self.text(body.to_string())
    }

    /// A body that says it is JSON.
    pub fn text(self, body: impl Into<Vec<u8>>) -> Self {
        self.with("content-type", "application/json").bytes(body)
    }

    pub fn bytes(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// A text of the request that must not come back.
    pub fn secret(mut self, text: &str) -> Self {
        self.secret.push(text.to_owned());
        self
    }

    /// A longer address.
    pub fn and_path(mut self, more: &str) -> Self {
        self.path.push_str(more);
        self
    }

    /// The answer, with the pointers of its errors in any order.
    pub fn is(mut self, status: u16, slug: &str, pointers: &[&str]) -> Self {
        let mut pointers: Vec<String> = pointers.iter().map(|pointer| (*pointer).to_owned()).collect();
        pointers.sort_unstable();
        self.expected = Expected {
            pointers: Some(pointers),
            ..self.is_any(status, slug).expected
        };
        self
    }

    /// The answer, whatever its errors point at.
    pub fn is_any(&self, status: u16, slug: &str) -> Self {
        let expected = Expected {
            status,
            slug: slug.to_owned(),
            ..Expected::default()
        };
        Self {
            expected,
            ..self.clone()
        }
    }

    /// The answer is a page for people.
    pub fn on_a_page(mut self, status: u16) -> Self {
        self.expected = Expected {
            status,
            page: true,
            ..Expected::default()
        };
        self
    }

    /// The route it goes to, if there is one for its method.
    pub fn route(&self) -> Option<(&str, &'static str)> {
        let path = self.path.split('?').next().unwrap_or_default();
        let path = template(path)?;
        (self.expected.status != 405).then_some((self.method.as_str(), path))
    }

    /// The one field the answer points at, however often.
    pub fn at_field(mut self, pointer: &'static str) -> Self {
        self.expected.only = Some(pointer);
        self
    }

    /// The methods that `Allow` lists, in any order.
    pub fn and_allow(mut self, methods: &[&str]) -> Self {
        self.expected.allow = methods.iter().map(|method| (*method).to_owned()).collect();
        self
    }

    /// A header the answer has beside.
    pub fn and(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.expected.header = Some((name, value.into()));
        self
    }

    pub async fn run(&self, client: &Client, scene: &Scene) -> Result<(), String> {
        let mut call = client.call(&self.method, &self.path);
        call = match self.by {
            By::Nobody => call,
            By::User => call.bearer(&scene.user.access),
            By::Admin => call.bearer(&scene.admin.access),
        };
        for (name, value) in &self.headers {
            call = call.header(name, value);
        }
        if let Some(body) = &self.body {
            call = call.raw(body.clone());
        }
        let reply = call
            .try_send()
            .await
            .map_err(|problem| format!("no answer: {problem:?}"))?;
        self.check(&reply)
    }

    fn check(&self, reply: &Reply) -> Result<(), String> {
        let expected = &self.expected;
        let told = format!("{} {}", reply.status, reply.body);
        if expected.page {
            let html = reply.header("content-type") == "text/html; charset=utf-8";
            let echoed = self.secret.iter().any(|text| reply.body.contains(text.as_str()));
            return if reply.status == expected.status && html && !echoed {
                Ok(())
            } else {
                Err(format!("expected a page with {}, got {told}", expected.status))
            };
        }
        if reply.status != expected.status || reply.header("content-type") != "application/problem+json" {
            return Err(format!("expected {} {}, got {told}", expected.status, expected.slug));
        }
        let (slug, mut pointers) = reply.problem();
        if slug != expected.slug {
            return Err(format!("expected {}, got {told}", expected.slug));
        }
        pointers.sort_unstable();
        if let Some(expected) = &expected.pointers
            && *expected != pointers
        {
            return Err(format!("expected pointers {expected:?}, got {told}"));
        }
        if let Some(only) = expected.only
            && (pointers.is_empty() || pointers.iter().any(|pointer| pointer != only))
        {
            return Err(format!("expected {only} only, got {told}"));
        }
        if let Some((name, value)) = &expected.header
            && reply.header(name) != value
        {
            return Err(format!("expected {name}: {value}, got {:?}", reply.header(name)));
        }
        let allowed = reply.header("allow").split(',').map(|method| method.trim().to_owned());
        let allowed: BTreeSet<String> = allowed.filter(|method| !method.is_empty()).collect();
        if allowed != expected.allow {
            return Err(format!("expected Allow {:?}, got {allowed:?}", expected.allow));
        }
        match self.secret.iter().find(|text| reply.body.contains(text.as_str())) {
            Some(echoed) => Err(format!("{echoed:?} came back in {told}")),
            None => Ok(()),
        }
    }
}

/// The texts in a body that are long enough to be recognised.
fn texts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) if text.len() >= 8 => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(members) => members.values().for_each(|member| texts(member, found)),
        _ => {}
    }
}
