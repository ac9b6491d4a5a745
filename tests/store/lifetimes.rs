//! How long what a dialect hands out works: links, codes, handles and tokens, asked for over HTTP by a clock of the test.
//! An instant before its time is over each opens what it is for, and when it is over nothing.

use std::sync::Arc;

use aggregates::user::UserEvent;
use aggregates::values::{Email, Timestamp};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use user_registry::clock::Clock;
use user_registry::config::Config;
use user_registry::follow::Health;
use user_registry::http::{App, serve};
use user_registry::keys::Enclosed;
use user_registry::registry::{LinkToken, Purpose, Registry};
use user_registry::store::{AnyEvent, Store};
use user_registry::tokens::SharedKey;
use uuid::Uuid;

use crate::harness::{Database, Instance};
use crate::lapses::everything;

const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const STRONG: &str = "Seven-green-goats-4";
const NEW: &str = "Eight-brown-bears-5";

/// A service whose clock stands still until it is moved. Nothing of it runs by itself.
struct Service {
    store: Store,
    /// Keeps the store open.
    _instance: Instance,
    clock: Clock,
    start: Timestamp,
    base: String,
    http: reqwest::Client,
    stop: CancellationToken,
}

/// An answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    handle: Option<String>,
    body: Value,
}

impl Service {
    async fn start(database: &Database) -> Self {
        let start = Timestamp::parse("2026-11-20T12:00:00Z").unwrap();
        let clock = Clock::test(start);
        let instance = database.open_at(clock.clone()).await;
        let store = instance.store.clone();
        let mut config = Config::default();
        config.limits.enabled = false;
        let registry = Registry::new(store.clone(), &config, TaskTracker::new()).unwrap();
        registry.share(SharedKey::new("a secret of thirty-two bytes and more").unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let app = App::new(registry, Arc::new(config), None, Health::default(), base.clone(), None);
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, app, stop.clone()));
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            store,
            _instance: instance,
            clock,
            start,
            base,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            stop,
        }
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_null() {
            request = request.json(body);
        }
        let response = request.send().await.unwrap();
        let handle = response.headers().get("x-xhoppe-verification");
        Answer {
            status: response.status().as_u16(),
            handle: handle.map(|handle| handle.to_str().unwrap().to_owned()),
            body: serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default(),
        }
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask("POST", path, &[], &body).await
    }

    async fn made(&self, method: &str, path: &str, body: Value) -> Answer {
        let answer = self.ask(method, path, &[], &body).await;
        assert!((200..300).contains(&answer.status), "{path}: {answer:?}");
        answer
    }

    /// The instant so many microseconds after the start.
    fn at(&self, micros: i64) {
        self.clock.set(self.start.plus(micros));
    }

    /// The last link of a purpose to an address: whose it is and its token.
    async fn link(&self, address: &str, purpose: Purpose) -> (Uuid, String) {
        let email = Email::parse(address).unwrap();
        let mut found = None;
        for event in everything(&self.store).await {
            let asked = match (&event.event, purpose) {
                (
                    AnyEvent::User(UserEvent::EmailVerificationRequested { original, email, .. }),
                    Purpose::VerifyEmail,
                ) => Some((original, email)),
                (AnyEvent::User(UserEvent::PasswordResetRequested { original, email, .. }), Purpose::ResetPassword) => {
                    Some((original, email))
                }
                _ => None,
            };
            if let Some((original, to)) = asked
                && to.known() == Some(&email)
            {
                let user = Uuid::parse_str(&event.record.aggregate_id).unwrap();
                let token = LinkToken::make(self.store.keyring(), purpose, user, &email, *original);
                found = Some((user, token));
            }
        }
        found.unwrap_or_else(|| panic!("no link to {address}"))
    }

    /// The last code to a number.
    async fn code(&self, number: &str) -> String {
        let mut last = None;
        for event in everything(&self.store).await {
            let AnyEvent::User(
                UserEvent::PhoneVerificationRequested { request, phone, .. }
                | UserEvent::PasswordResetRequested { request, phone, .. },
            ) = &event.event
            else {
                continue;
            };
            if phone.known().is_some_and(|phone| phone.msisdn() == number) {
                last = Some(*request);
            }
        }
        let request = last.unwrap_or_else(|| panic!("no code to {number}"));
        let sealed = self.store.sealed_code(request).await.unwrap().unwrap();
        let code = self.store.keyring().disclose(Enclosed::Code, request, &sealed).unwrap();
        code.to_string()
    }

    async fn signs_up(&self, name: &str) -> String {
        let address = format!("{name}@farm.example");
        self.made("POST", "/signup", json!({ "email": address, "password": STRONG }))
            .await;
        address
    }

    async fn cadasta_registers(&self, name: &str) -> String {
        let address = format!("{name}@land.example");
        let body = json!({ "username": name, "email": address, "password": STRONG });
        self.made("POST", "/api/v1/account/register/", body).await;
        address
    }

    /// What a link of Cadasta's is sent back as.
    async fn uid_and_token(&self, address: &str, purpose: Purpose) -> Value {
        use base64::Engine as _;
        let (user, token) = self.link(address, purpose).await;
        let uid = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(user.to_string());
        json!({ "uid": uid, "token": token })
    }

    async fn xhoppe_registers(&self, number: &str) -> Option<String> {
        let body = json!({ "msisdn": number, "password": STRONG, "password_confirmation": STRONG });
        self.made("POST", "/api/v1/users", body).await.handle
    }

    async fn verifies(&self, number: &str) -> String {
        let body = json!({ "msisdn": number, "code": self.code(number).await });
        let answer = self.made("POST", "/api/v1/users/verify", body).await;
        answer.body["authentication_token"].as_str().unwrap().to_owned()
    }
}

fn about_code(text: &str) -> Value {
    json!({ "error": "Invalid resource. Please fix errors and try again.", "errors": { "code": [text] } })
}

pub async fn what_a_dialect_hands_out_works_until_its_time_is_over_and_no_instant_longer(database: Arc<Database>) {
    let service = Service::start(&database).await;
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned();

    // Two of each: one is used an instant before its end, the other at its end.
    let mut links = Vec::new();
    let mut resets = Vec::new();
    for name in ["ada", "bob"] {
        links.push(service.signs_up(name).await);
        resets.push(service.signs_up(&format!("{name}2")).await);
        service
            .made("POST", "/forgot-password", json!({ "email": resets.last().unwrap() }))
            .await;
    }
    let login = json!({ "email": service.signs_up("cyd").await, "password": STRONG });
    let pair = service.made("POST", "/login", login).await.body;
    let (access, refresh) = (text(&pair["access_token"]), text(&pair["refresh_token"]));
    let (mut activations, mut confirmations) = (Vec::new(), Vec::new());
    for name in ["dan", "hal"] {
        activations.push(service.cadasta_registers(name).await);
        let address = service.cadasta_registers(&format!("{name}2")).await;
        let body = service.uid_and_token(&address, Purpose::VerifyEmail).await;
        service.made("POST", "/api/v1/account/activate/", body).await;
        service
            .made("POST", "/api/v1/account/password/reset/", json!({ "email": address }))
            .await;
        confirmations.push(address);
    }
    let fay = service.cadasta_registers("fay").await;
    let body = service.uid_and_token(&fay, Purpose::VerifyEmail).await;
    service.made("POST", "/api/v1/account/activate/", body).await;
    let body = json!({ "username": "fay", "password": STRONG });
    let key = text(&service.made("POST", "/api/v1/account/login/", body).await.body["auth_token"]);
    let mut handles = Vec::new();
    for number in ["84932401", "84932402", "84932403", "84932404"] {
        handles.push(service.xhoppe_registers(number).await.unwrap());
    }
    for number in ["84932405", "84932406"] {
        service.xhoppe_registers(number).await;
        service.verifies(number).await;
        service
            .made("PUT", "/api/v1/users/forget_password", json!({ "msisdn": number }))
            .await;
    }
    service.xhoppe_registers("84932407").await;
    let xhoppe = service.verifies("84932407").await;
    let body = json!({ "username": "gus", "email": "gus@cab.example", "password": STRONG });
    let taxi = text(&service.made("POST", "/api/v1/user/register", body).await.body["results"]["api_token"]);

    let verify = "/api/v1/users/verify";
    let recover = async |number: &str| {
        let code = service.code(number).await;
        let body = json!({ "msisdn": number, "code": code, "password": NEW, "password_confirmation": NEW });
        service.ask("PUT", "/api/v1/users/recover_password", &[], &body).await
    };
    let with_handle = async |number: &str, handle: &str| {
        let body = json!({ "code": service.code(number).await });
        service
            .ask("POST", verify, &[("x-xhoppe-verification", handle)], &body)
            .await
    };
    let by_number = async |number: &str| {
        let code = service.code(number).await;
        service.post(verify, json!({ "msisdn": number, "code": code })).await
    };

    // Xhoppe's codes, and the handle of a registration: ten minutes.
    service.at(10 * MINUTE - 1);
    assert_eq!(by_number("84932401").await.status, 200);
    assert_eq!(with_handle("84932402", &handles[1]).await.status, 200);
    assert_eq!(recover("84932405").await.status, 200);
    service.at(10 * MINUTE);
    let late = by_number("84932403").await;
    assert_eq!((late.status, &late.body), (422, &about_code("is expired")));
    let late = with_handle("84932404", &handles[3]).await;
    assert_eq!((late.status, &late.body), (422, &about_code("is invalid")));
    let late = recover("84932406").await;
    assert_eq!((late.status, &late.body), (422, &about_code("is expired")));

    // Cadasta's link to set a new password: an hour, unless a setting says more.
    let confirm = async |address: &str| {
        let mut body = service.uid_and_token(address, Purpose::ResetPassword).await;
        body["new_password"] = json!(NEW);
        body["re_new_password"] = json!(NEW);
        service.post("/api/v1/account/password/reset/confirm/", body).await
    };
    service.at(HOUR - 1);
    assert_eq!(confirm(&confirmations[0]).await.status, 200);
    service.at(HOUR);
    let late = confirm(&confirmations[1]).await;
    let invalid = json!({ "non_field_errors": ["Invalid token for given user."] });
    assert_eq!((late.status, &late.body), (400, &invalid));

    // AgStack's links: two hours.
    let activate = async |address: &str| {
        let (_, token) = service.link(address, Purpose::VerifyEmail).await;
        service
            .ask("GET", &format!("/activate/{token}"), &[], &Value::Null)
            .await
    };
    let reset = async |address: &str| {
        let (_, token) = service.link(address, Purpose::ResetPassword).await;
        let body = json!({ "password": "Passw0rd2" });
        service.post(&format!("/reset-password/{token}"), body).await
    };
    service.at(2 * HOUR - 1);
    assert_eq!(activate(&links[0]).await.status, 200);
    assert_eq!(reset(&resets[0]).await.status, 200);
    service.at(2 * HOUR);
    let late = activate(&links[1]).await;
    assert_eq!(
        (late.status, &late.body),
        (400, &json!({ "message": "Invalid activation link!" }))
    );
    let late = reset(&resets[1]).await;
    let lapsed = json!({ "message": "The confirmation link is invalid or has expired." });
    assert_eq!((late.status, &late.body), (400, &lapsed));

    // Its tokens: four hours and a day from the second they say they were issued in, which is none that is to come.
    for (token, path, life) in [(&access, "/home", 4 * HOUR), (&refresh, "/refresh", DAY)] {
        let claims = claims(token);
        let second = |name: &str| claims[name].as_i64().unwrap() * 1_000_000;
        let (issued, ends) = (second("iat"), second("exp"));
        assert_eq!(ends - issued, life);
        let early = service.start.as_micros() - issued;
        assert!((0..=10_000_000).contains(&early), "{early}");
        let read = || async {
            let bearer = format!("Bearer {token}");
            service
                .ask("GET", path, &[("authorization", &bearer)], &Value::Null)
                .await
        };
        service.at(ends - 1 - service.start.as_micros());
        assert_eq!(read().await.status, 200, "{path}");
        service.at(ends - service.start.as_micros());
        let late = read().await;
        let expired = json!({ "message": "Need to Login.", "msg": "Token has expired" });
        assert_eq!((late.status, &late.body), (401, &expired), "{path}");
    }

    // Cadasta's link that activates: three days.
    let open = async |address: &str| {
        let body = service.uid_and_token(address, Purpose::VerifyEmail).await;
        service.post("/api/v1/account/activate/", body).await
    };
    service.at(3 * DAY - 1);
    assert_eq!(open(&activations[0]).await.status, 200);
    service.at(3 * DAY);
    let late = open(&activations[1]).await;
    assert_eq!((late.status, &late.body), (400, &invalid));

    // The tokens that are one text: thirty days, as sessions, and a year where an app keeps them for good.
    let (token, bearer) = (format!("Token {key}"), format!("Bearer {taxi}"));
    for (path, header, life, works, shape) in [
        (
            "/api/v1/account/",
            ("authorization", token.as_str()),
            30 * DAY,
            201,
            json!({ "detail": "Invalid token." }),
        ),
        (
            "/api/v1/user_info",
            ("x-xhoppe-token", xhoppe.as_str()),
            365 * DAY,
            200,
            json!({ "error": "You are not authorized to perform that action." }),
        ),
    ] {
        service.at(life - 1);
        assert_eq!(
            service.ask("GET", path, &[header], &Value::Null).await.status,
            works,
            "{path}"
        );
        if path == "/api/v1/user_info" {
            let answer = service
                .ask("GET", "/api/v1/user/me", &[("authorization", &bearer)], &Value::Null)
                .await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        service.at(life);
        let late = service.ask("GET", path, &[header], &Value::Null).await;
        assert_eq!((late.status, &late.body), (401, &shape), "{path}");
    }
    let late = service
        .ask("GET", "/api/v1/user/me", &[("authorization", &bearer)], &Value::Null)
        .await;
    assert_eq!((late.status, &late.body["error"]), (401, &json!("Unauthorized")));
    service.stop.cancel();
}

fn claims(token: &str) -> Value {
    use base64::Engine as _;
    let part = token.split('.').nth(1).unwrap();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}
