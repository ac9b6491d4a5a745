//! Programs and browsers as the dialect's clients are.

use std::collections::BTreeMap;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::header::{HeaderName, HeaderValue, SET_COOKIE};
use reqwest::redirect::Policy;
use serde_json::{Value, json};

use crate::harness::{App, Reply};

/// A password that R's rule admits.
pub const PASSWORD: &str = "Passw0rd";

pub const PYTHON: &str = "python-requests/2.31.0";
pub const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0";
const HTML: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

/// Marks the line of a contract's table that the code after it tests.
pub fn row(_section: &str, _first_cell: &str) {}

/// A client with its own cookies.
pub struct Web {
    http: reqwest::Client,
    base: String,
    agent: Option<String>,
    accept: String,
    jar: Mutex<BTreeMap<String, String>>,
    keeps: bool,
}

/// A request being put together.
#[must_use]
pub struct Call<'a> {
    web: &'a Web,
    request: reqwest::Request,
}

impl Web {
    fn new(app: &App, agent: Option<&str>, accept: &str, keeps: bool) -> Self {
        // The harness has installed what reqwest asks for.
        let http = reqwest::Client::builder().no_proxy().redirect(Policy::none());
        Self {
            http: http.timeout(crate::harness::LONG).build().unwrap(),
            base: app.base().to_owned(),
            agent: agent.map(str::to_owned),
            accept: accept.to_owned(),
            jar: Mutex::default(),
            keeps,
        }
    }

    /// A program written with python-requests.
    pub fn python(app: &App) -> Self {
        Self::new(app, Some(PYTHON), "*/*", false)
    }

    /// The same with a session that keeps cookies.
    pub fn python_session(app: &App) -> Self {
        Self::new(app, Some(PYTHON), "*/*", true)
    }

    /// A program of this name.
    pub fn agent(app: &App, agent: Option<&str>, accept: &str) -> Self {
        Self::new(app, agent, accept, false)
    }

    /// A browser.
    pub fn browser(app: &App) -> Self {
        Self::new(app, Some(FIREFOX), HTML, true)
    }

    pub fn call(&self, method: &str, path: &str) -> Call<'_> {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let url = format!("{}{path}", self.base).parse().unwrap();
        let call = Call {
            web: self,
            request: reqwest::Request::new(method, url),
        };
        let call = call.header("accept", &self.accept);
        match &self.agent {
            Some(agent) => call.header("user-agent", agent),
            None => call,
        }
    }

    pub fn get(&self, path: &str) -> Call<'_> {
        self.call("GET", path)
    }

    pub fn post(&self, path: &str, body: &Value) -> Call<'_> {
        self.call("POST", path).json(body)
    }

    pub fn form(&self, path: &str, fields: &[(&str, &str)]) -> Call<'_> {
        self.call("POST", path).form(fields)
    }

    pub fn cookie(&self, name: &str) -> Option<String> {
        self.jar.lock().unwrap().get(name).cloned()
    }

    pub fn put_cookie(&self, name: &str, value: &str) {
        self.jar.lock().unwrap().insert(name.to_owned(), value.to_owned());
    }

    /// Signs somebody up; their id.
    pub async fn signs_up(&self, email: &str) -> String {
        let body = json!({ "email": email, "password": PASSWORD });
        let reply = self.post("/signup", &body).send().await;
        assert_eq!(reply.status, 201, "{reply:?}");
        reply.json()["user_id"].as_str().unwrap().to_owned()
    }

    /// Signs them in; access and refresh token.
    pub async fn logs_in(&self, email: &str) -> (String, String) {
        self.logs_in_with(email, PASSWORD).await
    }

    /// The same once the pause after failures is over.
    pub async fn logs_in_later(&self, email: &str) -> (String, String) {
        let body = json!({ "email": email, "password": PASSWORD });
        let tokens = crate::harness::until("the end of a pause", async || {
            let reply = self.post("/login", &body).send().await;
            (reply.status == 200).then(|| reply.json())
        })
        .await;
        let text = |name: &str| tokens[name].as_str().unwrap().to_owned();
        (text("access_token"), text("refresh_token"))
    }

    pub async fn logs_in_with(&self, email: &str, password: &str) -> (String, String) {
        let reply = self
            .post("/login", &json!({ "email": email, "password": password }))
            .send()
            .await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let body = reply.json();
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        (text("access_token"), text("refresh_token"))
    }
}

impl Call<'_> {
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        let value = HeaderValue::from_bytes(value.as_ref()).unwrap();
        self.request.headers_mut().insert(name, value);
        self
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").raw(body.to_string())
    }

    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        let pairs: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", encoded(value)))
            .collect();
        self.header("content-type", "application/x-www-form-urlencoded")
            .raw(pairs.join("&"))
    }

    pub fn multipart(self, fields: &[(&str, &str)]) -> Self {
        let part = |(name, value): &(&str, &str)| {
            format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let body: String = fields.iter().map(part).collect();
        self.header("content-type", "multipart/form-data; boundary=edge")
            .raw(body + "--edge--\r\n")
    }

    pub fn raw(mut self, body: impl Into<Vec<u8>>) -> Self {
        *self.request.body_mut() = Some(body.into().into());
        self
    }

    pub async fn send(mut self) -> Reply {
        let cookies: Vec<String> = self
            .web
            .jar
            .lock()
            .unwrap()
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if !cookies.is_empty() && !self.request.headers().contains_key("cookie") {
            self = self.header("cookie", cookies.join("; "));
        }
        let (web, what) = (
            self.web,
            format!("{} {}", self.request.method(), self.request.url().path()),
        );
        let response = web
            .http
            .execute(self.request)
            .await
            .unwrap_or_else(|problem| panic!("{what}: {problem:?}"));
        let reply = Reply {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.text().await.unwrap(),
        };
        if web.keeps {
            let mut jar = web.jar.lock().unwrap();
            for line in reply.headers.get_all(SET_COOKIE) {
                let line = line.to_str().unwrap();
                let (name, value) = line.split(';').next().unwrap().split_once('=').unwrap();
                if line.contains("Max-Age=0") {
                    jar.remove(name);
                } else {
                    jar.insert(name.to_owned(), value.to_owned());
                }
            }
        }
        reply
    }

    /// The answer must be this, word for word.
    pub async fn is(self, status: u16, body: Value) -> Reply {
        let reply = self.send().await;
        assert_eq!((reply.status, reply.json()), (status, body), "{reply:?}");
        assert!(
            reply.header("content-type").starts_with("application/json"),
            "{reply:?}"
        );
        reply
    }

    /// The answer must be this one sentence.
    pub async fn says(self, status: u16, message: &str) -> Reply {
        self.is(status, json!({ "message": message })).await
    }

    /// A browser is sent there.
    pub async fn leads_to(self, path: &str) -> Reply {
        let reply = self.send().await;
        assert_eq!((reply.status, reply.header("location")), (302, path), "{reply:?}");
        reply
    }

    /// A page that holds these words.
    pub async fn shows(self, status: u16, words: &str) -> Reply {
        let reply = self.send().await;
        assert_eq!(reply.status, status, "{reply:?}");
        assert_eq!(reply.header("content-type"), "text/html; charset=utf-8", "{reply:?}");
        assert!(reply.body.contains(words), "no {words:?} in {}", reply.body);
        let policy = reply.header("content-security-policy");
        assert!(policy.contains("default-src 'none'"), "{reply:?}");
        assert!(
            !reply.body.contains("<script") && !reply.body.contains("style=\""),
            "{}",
            reply.body
        );
        // Nothing is fetched from elsewhere.
        assert!(
            !reply.body.contains("http://") && !reply.body.contains("https://"),
            "{}",
            reply.body
        );
        reply
    }
}

pub fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

/// The `Set-Cookie` line of a cookie.
pub fn set_cookie(reply: &Reply, name: &str) -> Option<String> {
    reply
        .headers
        .get_all(SET_COOKIE)
        .iter()
        .map(|line| line.to_str().unwrap().to_owned())
        .find(|line| line.starts_with(&format!("{name}=")))
}

/// The claims of a token, unverified.
pub fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// Its header.
pub fn head(token: &str) -> Value {
    let part = token.split('.').next().unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// What peers have to verify and to sign with.
pub fn secret(app: &App) -> String {
    std::fs::read_to_string(app.place.folder().join("keys").join("agstack.secret")).unwrap()
}

/// A token signed with that secret, as a peer could.
pub fn signed(app: &App, claims: &Value) -> String {
    use jsonwebtoken::{Algorithm, EncodingKey, Header};
    user_registry::tokens::use_ring();
    let key = EncodingKey::from_secret(secret(app).as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
}

/// The path of the link in the nth mail to somebody that has one to activate with.
pub async fn link(app: &App, email: &str, number: usize) -> String {
    link_of(app, email, "/activate/", number).await
}

/// The same of links that set a new password.
pub async fn reset_link(app: &App, email: &str) -> String {
    link_of(app, email, "/reset-password/", 1).await
}

async fn link_of(app: &App, email: &str, kind: &str, number: usize) -> String {
    let begins = format!("{}{kind}", app.base());
    crate::harness::until("a mail with a link", async || {
        let mails = app.mailbox().mails().into_iter();
        let mut links = mails
            .filter(|mail| mail.to == email && mail.text.contains(&begins))
            .map(|mail| mail.link().to_owned());
        links.nth(number - 1)
    })
    .await
    .strip_prefix(app.base())
    .unwrap()
    .to_owned()
}

/// Signs somebody up and opens the link of the mail.
pub async fn activated(app: &App, web: &Web, email: &str) -> String {
    let user = web.signs_up(email).await;
    let path = link(app, email, 1).await;
    let reply = web.get(&path).send().await;
    assert_eq!(reply.status, 200, "{reply:?}");
    user
}
