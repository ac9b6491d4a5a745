//! Secrets and personal values are planted by the hundred, and looked for where they must not be: in logs at their most
//! talkative, metrics, answers, every table, the database's own files, the outboxes, and what the broker carries, also
//! written in base64, hexadecimal and as parts of URLs.
//!
//! The broker takes everything while people live; some of them are written to by way of outboxes, the others by a mail
//! server and a gateway that take all. Then the service meets faults of its own, and at last servers that turn it away.
//!
//! Where a value may be is said once, in [`Class::may_be_in`]; each such place must have it too, so that a search that
//! finds nothing anywhere fails.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::agstack::faults::run as sql;
use crate::agstack::web::{self as agstack, Web, activated};
use crate::harness::{
    App, Engine, Gateway, Heard, Listener, Mail, MailServer, Offers, PASSWORD, Place as Home, Rabbit, Reply, Server,
    Sms, Tokens, on_both_engines, until,
};
use crate::search::{Search, around, hex};
use crate::trio::STRONG;

on_both_engines![nothing_secret_is_where_it_must_not_be];

/// How many people there are.
const PEOPLE: usize = 16;
/// So many of them are written to by way of outboxes, the first of whom is erased.
const BY_OUTBOX: usize = 4;
/// Fewer planted values would prove little.
const LEAST: usize = 500;

/// What a value is, which says where it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    /// A password, also a wrong one.
    Password,
    /// What opens something and never leaves but in the answer to its owner.
    Token,
    /// What opens something and is sent in a message.
    Sent,
    /// A code, with the words that it stands with in a short message.
    Code,
    /// What the operator opens other servers and the store with.
    Setting,
    Username,
    /// The name of a person.
    Name,
    /// An address or a number of a person.
    Contact,
    /// The program somebody calls with.
    Agent,
    /// Where somebody calls from.
    Ip,
    /// Where somebody lives.
    Geo,
    /// What was typed by somebody who could not be signed in, and is nobody's.
    Typed,
    /// An address that may not register.
    Blocked,
    /// What was told of somebody before they were erased.
    Erased,
    /// What stands for somebody everywhere. It is no secret: that it is found shows that there is something to find.
    Id,
}

/// Where to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Log,
    Metrics,
    /// The bodies of refusals.
    Answers,
    /// The table `events`.
    Events,
    /// Every other table.
    Tables,
    /// What other services hear.
    Feed,
    /// The files of the store, byte for byte.
    Files,
    Mails,
    Messages,
    /// What the broker carries to everybody: names, properties, headers and bodies.
    Bus,
    /// What it carries to those who may have personal data.
    Personal,
}

impl Class {
    /// SECURITY-REQUIREMENTS, section 9.
    fn may_be_in(self, place: Place) -> bool {
        use Place::{Files, Log, Mails, Messages, Personal, Tables};
        match self {
            Self::Password | Self::Token | Self::Typed | Self::Blocked | Self::Setting => false,
            Self::Sent => matches!(place, Mails | Messages),
            Self::Code => place == Messages,
            // Rows are what the owner and administrators read; the files hold the rows.
            Self::Username | Self::Geo | Self::Agent => matches!(place, Tables | Files),
            Self::Name => matches!(place, Tables | Files | Personal),
            Self::Contact => matches!(place, Tables | Files | Mails | Messages | Personal),
            Self::Ip => matches!(place, Tables | Files | Log),
            // What was carried cannot be called back.
            Self::Erased => place == Personal,
            Self::Id => true,
        }
    }

    /// Those of them where every value of this class is, so that the search is shown to find.
    fn is_in(self) -> &'static [Place] {
        match self {
            Self::Sent => &[Place::Mails],
            Self::Code => &[Place::Messages],
            Self::Username | Self::Contact | Self::Geo | Self::Agent => &[Place::Tables],
            Self::Name => &[Place::Tables, Place::Personal],
            Self::Id => &[Place::Bus, Place::Personal, Place::Feed],
            Self::Password | Self::Token | Self::Typed | Self::Ip | Self::Blocked | Self::Setting | Self::Erased => &[],
        }
    }
}

#[derive(Default)]
struct Planted {
    values: BTreeMap<String, Class>,
    /// Codes by themselves, without the words of their messages.
    codes: BTreeSet<String>,
    /// Answers that refused something.
    refusals: String,
}

impl Planted {
    fn plant(&mut self, class: Class, value: impl Into<String>) -> String {
        let value = value.into();
        assert!(value.len() >= 8, "too short to be told from chance: {value}");
        assert_eq!(
            self.values.insert(value.clone(), class).unwrap_or(class),
            class,
            "{value}"
        );
        value
    }

    fn code(&mut self, code: &str) {
        self.plant(Class::Code, format!("{code} is your code"));
        self.codes.insert(code.to_owned());
    }

    /// A token of three parts: what it says, and its signature.
    fn signed(&mut self, class: Class, token: &str) {
        let mut parts = token.split('.').skip(1);
        for _ in 0..2 {
            self.plant(class, parts.next().unwrap());
        }
    }

    /// A refusal is kept to be looked at.
    fn refused(&mut self, reply: &Reply) {
        assert!((400..500).contains(&reply.status), "{reply:?}");
        self.keep(reply);
    }

    /// So is what is said of a fault of the service itself.
    fn faulted(&mut self, reply: &Reply) {
        assert_eq!(reply.status, 500, "{reply:?}");
        self.keep(reply);
    }

    fn keep(&mut self, reply: &Reply) {
        self.refusals.push_str(&reply.body);
        for (name, value) in reply.steady_headers() {
            self.refusals.extend(["\n", &name, ": ", &value]);
        }
    }

    fn tokens(&mut self, tokens: &Tokens) {
        self.signed(Class::Token, &tokens.access);
        self.plant(Class::Token, body_of(&tokens.refresh));
    }
}

/// A token without the prefix that all of its kind share.
fn body_of(token: &str) -> &str {
    token.split_once('_').map_or(token, |(_, rest)| rest)
}

/// How messages leave the service.
enum Post<'a> {
    Outbox,
    Servers(&'a MailServer, &'a Gateway),
}

impl Post<'_> {
    fn mails(&self, app: &App) -> Vec<Mail> {
        match self {
            Self::Outbox => app.mailbox().mails(),
            Self::Servers(server, _) => server.taken().into_iter().map(|taken| taken.mail).collect(),
        }
    }

    /// The last mail to an address whose subject begins so, once it has come.
    async fn mail(&self, app: &App, address: &str, subject: &str) -> Mail {
        until(&format!("the mail {subject}"), || async {
            let mut mails = self.mails(app).into_iter();
            mails.rfind(|mail| mail.to == address && mail.subject.starts_with(subject))
        })
        .await
    }

    async fn message(&self, app: &App, phone: &str) -> Sms {
        match self {
            Self::Outbox => app.phones().to(phone).await,
            Self::Servers(_, gateway) => Sms {
                name: String::new(),
                json: gateway.taken(phone).await.json,
            },
        }
    }
}

/// What only an administrator does, as often as there are people.
async fn administer(app: &App, admin: &Tokens, planted: &mut Planted) {
    let authority = app
        .command("issue-authority-token", &json!({ "domain": "farm.example" }))
        .bearer(&admin.access)
        .send()
        .await;
    let authority = authority.json()["authority_token"].as_str().unwrap().to_owned();
    planted.plant(Class::Token, body_of(&authority));
    for number in 0..PEOPLE {
        let address = planted.plant(Class::Blocked, format!("blocked.canary{number}@spam.example"));
        app.command("block-address", &json!({ "address": address, "reason": "spam" }))
            .bearer(&admin.access)
            .send()
            .await;
        let body = json!({ "email": address, "password": PASSWORD });
        planted.refused(&app.command("register-user", &body).send().await);
    }
}

/// What the other APIs give out to open something with.
async fn dialects(app: &App, planted: &mut Planted) {
    for password in [STRONG, agstack::PASSWORD] {
        planted.plant(Class::Password, password);
    }
    // Cadasta: the link of its mail, and a key. Xhoppe: a handle, a code and a token. Taxi: a token.
    let key = app.cadasta_user("cadasta.bird").await;
    planted.plant(Class::Token, body_of(&key));
    let mail = app.mailbox().to("cadasta.bird@farm.example").await;
    planted.plant(Class::Sent, crate::cadasta::link(&mail).1);
    let number = "84932466";
    let handle = crate::xhoppe::register(app, number).await;
    planted.plant(Class::Token, handle.header("x-xhoppe-verification"));
    let code = app.phones().to(number).await.code();
    planted.code(&code);
    let body = json!({ "msisdn": number, "code": code });
    let verified = app.ask("POST", "/api/v1/users/verify", &body).await;
    let token = verified.json()["authentication_token"].as_str().unwrap().to_owned();
    planted.plant(Class::Token, body_of(&token));
    let recovery = app
        .ask("PUT", "/api/v1/users/forget_password", &json!({ "msisdn": number }))
        .await;
    assert_eq!(recovery.status, 200, "{recovery:?}");
    planted.code(&app.phones().nth_to(number, 2).await.code());
    let customer = app.taxi_user("cabcanary").await;
    planted.plant(Class::Token, customer["api_token"].as_str().unwrap());
    // AgStack: the pair of keys that is mailed, another one that is not, both tokens, and what a device holds.
    let web = Web::python(app);
    activated(app, &web, "agstack.bird@farm.example").await;
    let mailed = until("the mail with keys", async || {
        let mut mails = app.mailbox().mails().into_iter();
        mails.find(|mail| mail.to == "agstack.bird@farm.example" && mail.subject == "API Keys")
    })
    .await;
    let line = |what: &str| {
        let mut lines = mailed.text.lines();
        lines
            .find_map(|line| line.strip_prefix(what))
            .unwrap()
            .trim()
            .to_owned()
    };
    planted.plant(Class::Sent, line("API Key:"));
    planted.signed(Class::Sent, &line("Client Secret:"));
    let (access, refresh) = web.logs_in("agstack.bird@farm.example").await;
    for token in [&access, &refresh] {
        planted.signed(Class::Token, token);
    }
    let pair = web.get("/generate-api-keys").bearer(&access).send().await.json();
    planted.plant(Class::Token, pair["api_key"].as_str().unwrap());
    planted.signed(Class::Token, pair["client_secret"].as_str().unwrap());
    let device = web
        .post("/signup", &json!({}))
        .header("x-device-id", "fedcba9876543210");
    let device = device.send().await.json();
    planted.plant(Class::Token, body_of(device["device_secret"].as_str().unwrap()));
}

/// Which of these codes stand in a text as whole runs of digits. Fractions of seconds are six digits too.
fn bare<'a>(codes: &'a BTreeSet<String>, text: &str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut before = ' ';
    for run in text.split_inclusive(|c: char| !c.is_ascii_digit()) {
        let digits = run.trim_end_matches(|c: char| !c.is_ascii_digit());
        if before != '.' {
            found.extend(codes.get(digits).map(String::as_str));
        }
        before = run.chars().next_back().unwrap_or(' ');
    }
    found
}

/// Registers, verifies, signs in, changes and asks for everything there is.
#[expect(clippy::too_many_lines, reason = "a life is told in one piece")]
async fn person(app: &App, admin: &Tokens, planted: &mut Planted, number: usize, post: &Post<'_>) {
    let username = planted.plant(Class::Username, format!("canary-name-{number}x"));
    let full_name = planted.plant(Class::Name, format!("Kanarienvogel Nummer{number}y"));
    let email = planted.plant(Class::Contact, format!("canary.mail{number}z@farm.example"));
    let phone = planted.plant(Class::Contact, format!("+49151234567{number:02}"));
    let geo_id = planted.plant(Class::Geo, format!("geo-canary-{number}"));
    let mut degrees = |whole: &str, from: u32| {
        // Seven digits behind the point: a centimetre.
        let number = u32::try_from(number).unwrap();
        planted.plant(Class::Geo, format!("{whole}.{:07}", from + number * 1_010))
    };
    let spot = (degrees("48", 1_370_011), degrees("11", 5_750_013));
    let land = [
        degrees("47", 2_310_017),
        degrees("47", 3_420_019),
        degrees("9", 4_530_023),
        degrees("9", 5_640_029),
    ];
    let agent = planted.plant(Class::Agent, format!("CanaryTractor/{number}.7 (secret field)"));
    let ip = planted.plant(Class::Ip, format!("203.0.113.{}", 100 + number));
    let password = planted.plant(Class::Password, format!("canary password of bird {number}"));
    let call = |name: &str, body: &Value| {
        app.command(name, body)
            .header("user-agent", &agent)
            .header("x-forwarded-for", &ip)
    };
    let registration = json!({
        "username": username, "full_name": full_name, "email": email, "phone": phone, "password": password,
        "geo_id": geo_id, "discoverable": true, "boundary": square(land.each_ref().map(|text| text.parse().unwrap())),
        "position": { "latitude": spot.0.parse::<f64>().unwrap(), "longitude": spot.1.parse::<f64>().unwrap() },
    });
    call("register-user", &registration).expect(201).await;
    planted.refused(&call("register-user", &registration).send().await);
    let link = planted.plant(Class::Sent, post.mail(app, &email, "").await.token());
    call("verify-email", &json!({ "token": link })).expect(200).await;
    let code = post.message(app, &phone).await;
    planted.code(&code.code());
    planted.refused(
        &call("verify-phone", &json!({ "phone": phone, "code": code.wrong(1) }))
            .send()
            .await,
    );
    call("verify-phone", &json!({ "phone": phone, "code": code.code() }))
        .expect(200)
        .await;

    let tokens = sign_in(app, &username, &password, &agent, &ip).await;
    planted.tokens(&tokens);
    wrong_guesses(app, planted, number, &email).await;
    let refresh = app.post("/v1/sessions/refresh", &json!({ "refresh_token": tokens.refresh }));
    planted.tokens(&Tokens::of(&refresh.header("user-agent", &agent).expect(200).await));
    let key = call("issue-api-key", &json!({ "name": "field app" }))
        .bearer(&tokens.access)
        .expect(200)
        .await;
    let key = key["api_key"].as_str().unwrap();
    planted.plant(Class::Token, body_of(key));
    app.get("/v1/me").bearer(key).expect(200).await;
    planted.refused(&app.get("/v1/users").bearer(key).send().await);
    planted.refused(&app.get("/v1/me").bearer(&format!("{}x", tokens.access)).send().await);

    // A new address and a new number, asked for with the password.
    let other = planted.plant(Class::Contact, format!("canary.second{number}z@mill.example"));
    let change = json!({ "email": other, "current_password": password });
    call("request-email-change", &change)
        .bearer(&tokens.access)
        .expect(200)
        .await;
    let link = planted.plant(Class::Sent, post.mail(app, &other, "").await.token());
    call("confirm-email-change", &json!({ "token": link }))
        .expect(200)
        .await;
    planted.values.remove(&email);
    let wrong = planted.plant(Class::Password, format!("wrong current password {number}q"));
    let change = json!({ "phone": format!("+49171234567{number:02}"), "current_password": wrong });
    planted.refused(&call("change-phone", &change).bearer(&tokens.access).send().await);

    // A reset by mail, and what it makes of the old password.
    call("request-password-reset", &json!({ "email": other }))
        .expect(202)
        .await;
    let link = post.mail(app, &other, "Reset your password").await;
    let link = planted.plant(Class::Sent, link.token());
    let new = planted.plant(Class::Password, format!("another canary secret {number}"));
    let reset = json!({ "token": link, "new_password": new });
    call("reset-password", &reset).expect(200).await;
    planted.refused(&call("reset-password", &reset).send().await);
    let tokens = sign_in(app, &other, &new, &agent, &ip).await;
    planted.tokens(&tokens);
    planted.plant(Class::Id, &tokens.user);
    if number == 0 {
        let erase = json!({ "user_id": tokens.user, "reason": "asked for" });
        app.command("erase-user", &erase)
            .bearer(&admin.access)
            .expect(200)
            .await;
        planted.forget_messages(app, &other, &phone).await;
        for value in [&username, &full_name, &phone, &geo_id, &agent, &other, &ip] {
            // Of the erased nothing may be left in any table; the mail that tells of it is their owner's.
            planted.values.remove(value);
        }
        for value in [username, full_name, geo_id, agent] {
            planted.plant(Class::Erased, value);
        }
        for value in land.into_iter().chain([spot.0, spot.1]) {
            planted.values.insert(value, Class::Erased);
        }
    }
}

impl Planted {
    /// Waits until the messages to somebody erased are gone. What was sent until now may be nowhere from now on.
    async fn forget_messages(&mut self, app: &App, address: &str, phone: &str) {
        until("the messages of the erased to be gone", || async {
            let mails = app.mailbox().mails();
            let link = mails
                .iter()
                .any(|mail| mail.to == address && mail.text.contains("token="));
            let messages = app.phones().messages();
            let code = messages.iter().any(|sms| sms.json["to"] == phone);
            (!link && !code).then_some(())
        })
        .await;
        for class in self.values.values_mut() {
            if matches!(class, Class::Sent | Class::Code) {
                *class = Class::Token;
            }
        }
    }
}

async fn sign_in(app: &App, identifier: &str, password: &str, agent: &str, ip: &str) -> Tokens {
    let body = json!({ "identifier": identifier, "password": password });
    let reply = app
        .post("/v1/sessions", &body)
        .header("user-agent", agent)
        .header("x-forwarded-for", ip);
    Tokens::of(&reply.expect(201).await)
}

/// What people type who do not know, and what programs send that are broken.
async fn wrong_guesses(app: &App, planted: &mut Planted, number: usize, email: &str) {
    let wrong = planted.plant(Class::Password, format!("wrong guess of bird {number}w"));
    let typed = planted.plant(Class::Typed, format!("typo.canary{number}@nowhere.example"));
    for identifier in [email, &typed] {
        let body = json!({ "identifier": identifier, "password": wrong });
        planted.refused(&app.post("/v1/sessions", &body).send().await);
    }
    let stray = planted.plant(Class::Typed, format!("stray-canary-{number}-value"));
    for body in [
        json!({ "identifier": stray, "password": { "deep": wrong } }),
        json!({ "identifier": typed, "password": wrong, "note": stray }),
    ] {
        planted.refused(&app.post("/v1/sessions", &body).send().await);
    }
    for token in [
        format!("urk_{stray}"),
        stray.clone(),
        format!("eyJhbGciOiJub25lIn0.{stray}."),
    ] {
        planted.refused(&app.get("/v1/me").bearer(&token).send().await);
    }
    let raw = format!("{{\"password\": \"{wrong}\", \"email\": {stray}");
    let broken = app
        .call("POST", "/v1/commands/register-user")
        .header("content-type", "application/json")
        .raw(raw);
    planted.refused(&broken.send().await);
    planted.refused(&app.get(&format!("/v1/{stray}?token={stray}")).send().await);
}

/// Land from south to north and west to east.
fn square([south, north, west, east]: [f64; 4]) -> Value {
    let ring = [
        [west, south],
        [east, south],
        [east, north],
        [west, north],
        [west, south],
    ];
    json!({ "type": "Polygon", "coordinates": [ring] })
}

/// What opens the database. The server of the tests asks for no password.
const DATABASE: &str = "canary-opens-the-database";
const BROKER: &str = "canary-opens-the-broker";
const SMTP: &str = "canary-opens-the-mail-server";
const GATEWAY: &str = "canary-opens-the-gateway";

/// What a mail server asks of those who send.
fn asks_for(password: &'static str) -> Offers {
    Offers {
        user: Some(("canary", password)),
        ..Offers::default()
    }
}

/// Where messages go that do not go into outboxes.
fn servers(mails: &MailServer, gateway: &Gateway) -> [(&'static str, String); 3] {
    let smtp = format!("smtp://canary:{SMTP}@127.0.0.1:{}?tls=none", mails.port());
    [
        ("SMTP_URL", smtp),
        ("REGISTRY__SMS__GATEWAY_URL", gateway.url()),
        ("REGISTRY__SMS__GATEWAY_TOKEN", GATEWAY.to_owned()),
    ]
}

/// Ends the service and starts it over the same place with other settings.
async fn restart(app: &mut App, settings: &[(&str, String)]) {
    app.server.terminate();
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, &**value)).collect();
    let next = Server::start(&app.place, &settings).await;
    app.client = next.client();
    let code = std::mem::replace(&mut app.server, next).end().await;
    assert_eq!(code, Some(0));
}

/// Lets the database fail under requests that carry something: tables that are gone, and a row that it will not take,
/// of which `PostgreSQL` says in its error what stood in it.
async fn meets_faults(app: &App, tokens: &Tokens, engine: Engine, planted: &mut Planted) {
    let gone = [
        ("names", "names_gone"),
        ("secrets", "secrets_gone"),
        ("sessions", "sessions_gone"),
    ];
    let unfit = match engine {
        Engine::Postgres => [
            "ALTER TABLE users ADD CONSTRAINT unfit CHECK (false) NOT VALID",
            "ALTER TABLE users DROP CONSTRAINT unfit",
        ],
        Engine::Sqlite => [
            "CREATE TRIGGER unfit BEFORE INSERT ON users BEGIN SELECT RAISE(ABORT, 'unfit'); END",
            "DROP TRIGGER unfit",
        ],
    };
    let rename = |from: &str, to: &str| format!("ALTER TABLE {from} RENAME TO {to}");
    let [mut before, mut after] = [Vec::new(), Vec::new()];
    for (here, there) in gone {
        before.push(rename(here, there));
        after.push(rename(there, here));
    }
    let faults = [
        ("missing", before, after),
        ("unfit", vec![unfit[0].into()], vec![unfit[1].into()]),
    ];
    for (number, (what, before, after)) in faults.into_iter().enumerate() {
        let username = planted.plant(Class::Typed, format!("faulty-canary-{what}"));
        let email = planted.plant(Class::Typed, format!("faulty.canary.{what}@farm.example"));
        let full_name = planted.plant(Class::Typed, format!("Faulty Kanarienvogel {what}"));
        let phone = planted.plant(Class::Typed, format!("+4916012345{number:02}9"));
        let geo_id = planted.plant(Class::Typed, format!("faulty-geo-{what}"));
        let password = planted.plant(Class::Password, format!("faulty canary password {what}"));
        for statement in before {
            sql(app, &statement).await;
        }
        let registration = json!({
            "username": username, "full_name": full_name, "email": email, "phone": phone, "password": password,
            "geo_id": geo_id,
        });
        let mut told = vec![app.command("register-user", &registration).send().await];
        if what == "missing" {
            let body = json!({ "identifier": username, "password": password });
            told.push(app.post("/v1/sessions", &body).send().await);
            let body = json!({ "email": email, "current_password": password });
            let change = app.command("request-email-change", &body);
            told.push(change.bearer(&tokens.access).send().await);
        }
        for statement in after {
            sql(app, &statement).await;
        }
        let log = app.server.log();
        for reply in told {
            planted.faulted(&reply);
            let id = reply.header("x-request-id");
            let fault = |line: &str| line.contains("a request met a fault of ours") && line.contains(id);
            assert!(log.lines().any(fault), "{what}: no word of the fault {id}");
        }
    }
}

/// Lets the service meet servers that turn it away: what it says then names them.
async fn turned_away(app: &App, planted: &mut Planted) {
    let email = planted.plant(Class::Contact, "canary.unsent@farm.example");
    let phone = planted.plant(Class::Contact, "+4915123456799");
    let body = json!({ "email": email, "phone": phone, "password": PASSWORD });
    app.command("register-user", &body).expect(201).await;
    for follower in ["amqp", "mail", "sms"] {
        until(&format!("{follower} to be turned away"), || async {
            let why = format!("follower = '{follower}' AND error IS NOT NULL");
            (app.log().await.count("checkpoints", &why).await > 0).then_some(())
        })
        .await;
    }
}

/// A broker with two exchanges of this test's own, and those who listen to them.
struct Bus {
    rabbit: Rabbit,
    personal: String,
    queues: [String; 2],
    listeners: [Listener; 2],
}

impl Bus {
    async fn new() -> Self {
        let rabbit = Rabbit::shared();
        let personal = format!("{}.pii", rabbit.exchange());
        let queues = [
            rabbit.queue(rabbit.exchange(), "#").await,
            rabbit.queue(&personal, "#").await,
        ];
        let listeners = queues.each_ref().map(|queue| Listener::of(&rabbit, queue));
        Self {
            rabbit,
            personal,
            queues,
            listeners,
        }
    }

    fn settings(&self) -> [(&'static str, String); 3] {
        [
            ("AMQP_URL", self.rabbit.url()),
            ("REGISTRY__AMQP__EXCHANGE", self.rabbit.exchange().to_owned()),
            ("REGISTRY__AMQP__PII_EXCHANGE", self.personal.clone()),
        ]
    }

    /// What everybody heard and what the trusted heard, once all of the log has come.
    async fn carried(&self, app: &App) -> [String; 2] {
        let head = app.log().await.head().await;
        let [everybody, trusted] = &self.listeners;
        let heard = everybody.hears_all(head, Duration::from_secs(30)).await;
        [heard, trusted.heard()].map(|heard| heard.iter().map(Heard::whole).collect())
    }

    async fn forget(self) {
        drop(self.listeners);
        let [everybody, trusted] = &self.queues;
        let exchanges = [self.rabbit.exchange(), &self.personal];
        self.rabbit.forget(&[everybody, trusted], &exchanges).await;
    }
}

/// All that the processes at this place have written to their logs.
fn logs(app: &App) -> String {
    let files = std::fs::read_dir(app.place.folder()).unwrap();
    let files = files.map(|entry| entry.unwrap());
    let logs = files.filter(|file| file.file_name().to_string_lossy().starts_with("log-"));
    logs.map(|log| std::fs::read_to_string(log.path()).unwrap()).collect()
}

#[expect(clippy::too_many_lines, reason = "a search is told in one piece")]
async fn nothing_secret_is_where_it_must_not_be(engine: Engine) {
    let bus = Bus::new().await;
    let talkative = [
        ("REGISTRY__LOG__LEVEL", "trace".to_owned()),
        ("REGISTRY__HTTP__TRUSTED_PROXIES", "127.0.0.1/32".to_owned()),
    ];
    let settings: Vec<(&str, String)> = talkative.into_iter().chain(bus.settings()).collect();
    let mut place = Home::new(engine).await;
    place.password(DATABASE);
    let first: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, &**value)).collect();
    let server = Server::start(&place, &first).await;
    let mut app = App {
        client: server.client(),
        server,
        place,
    };
    let admin = app.admin().await;
    let mut planted = Planted::default();
    for secret in [DATABASE, BROKER, SMTP, GATEWAY] {
        planted.plant(Class::Setting, secret);
    }
    // What opens the broker indeed, as in a URL and as it is said to it.
    let opens = bus.rabbit.credentials().to_owned();
    let (name, password) = opens.split_once(':').unwrap();
    planted.plant(Class::Setting, format!("\0{name}\0{password}"));
    planted.plant(Class::Setting, format!("\\0{name}\\0{password}"));
    planted.plant(Class::Setting, opens);

    for number in 0..BY_OUTBOX {
        person(&app, &admin, &mut planted, number, &Post::Outbox).await;
    }
    dialects(&app, &mut planted).await;
    let (mails, gateway) = (MailServer::start(asks_for(SMTP)).await, Gateway::start().await);
    let with: Vec<_> = settings.iter().cloned().chain(servers(&mails, &gateway)).collect();
    restart(&mut app, &with).await;
    for number in BY_OUTBOX..PEOPLE {
        person(&app, &admin, &mut planted, number, &Post::Servers(&mails, &gateway)).await;
    }
    administer(&app, &admin, &mut planted).await;
    meets_faults(&app, &admin, engine, &mut planted).await;
    // Three mails to each, and no message to any other server.
    assert!(
        mails.taken().len() >= 3 * (PEOPLE - BY_OUTBOX),
        "{}",
        mails.taken().len()
    );
    assert!(mails.taken().iter().all(|mail| mail.user.as_deref() == Some("canary")));
    let taken = gateway.everything();
    assert!(taken.len() >= PEOPLE - BY_OUTBOX, "{}", taken.len());
    let bearer = format!("Bearer {GATEWAY}");
    assert!(taken.iter().all(|sms| sms.headers["authorization"] == bearer));
    let carried = bus.carried(&app).await;
    let living = app.get("/metrics").send().await.body;

    // The same service with its master key as a setting and beside servers that turn it away.
    let master = std::fs::read_to_string(app.place.folder().join("keys").join("master.key")).unwrap();
    let master = planted.plant(Class::Setting, master.trim());
    let (sink, refusing) = (
        MailServer::start(asks_for("another password")).await,
        Gateway::start().await,
    );
    refusing.answer_everybody(401);
    let mut broker: reqwest::Url = bus.rabbit.url().parse().unwrap();
    broker.set_password(Some(BROKER)).unwrap();
    let mut with: Vec<_> = settings.iter().cloned().chain(servers(&sink, &refusing)).collect();
    with.push(("REGISTRY__KEYS__MASTER", master));
    with.push(("AMQP_URL", broker.to_string()));
    restart(&mut app, &with).await;
    turned_away(&app, &mut planted).await;
    let secret = planted.values.values().filter(|class| **class != Class::Id).count();
    assert!(secret >= LEAST, "{secret} values");

    let last = app.get("/v1/me").bearer(&admin.access).send().await;
    let metrics = living + &app.get("/metrics").send().await.body;
    let mut log = app.log().await;
    let [everybody, trusted] = carried;
    let mut places = BTreeMap::from([
        (Place::Log, logs(&app)),
        (Place::Metrics, metrics),
        (Place::Answers, planted.refusals.clone()),
        (Place::Events, String::new()),
        (Place::Tables, String::new()),
        (Place::Bus, everybody),
        (Place::Personal, trusted),
    ]);
    for table in log.tables().await {
        let place = if table == "events" {
            Place::Events
        } else {
            Place::Tables
        };
        places.get_mut(&place).unwrap().push_str(&log.dump(&table).await);
    }
    let mails = format!("{:?} {:?}", app.mailbox().mails(), mails.taken());
    let sent = app.phones().messages().into_iter().map(|sms| sms.json);
    let messages = sent.chain(taken.into_iter().map(|sms| sms.json));
    let messages = messages.map(|json| json.to_string()).collect();
    places.extend([(Place::Mails, mails), (Place::Messages, messages)]);
    let heard = crate::feed::everything(&app, &admin.access, 1_000).await;
    assert!(heard.len() > PEOPLE, "{}", heard.len());
    places.insert(Place::Feed, json!(heard).to_string());
    if engine == Engine::Sqlite {
        places.insert(Place::Files, files(&app));
    }

    // The log is as talkative as it can be, and the search finds what is there.
    assert!(
        places[&Place::Log].contains(last.header("x-request-id")),
        "no control in the log"
    );
    assert!(
        places[&Place::Log].contains("db.statement"),
        "not at its most talkative"
    );
    let mut found = Vec::new();
    let mut controls = 0;
    let search = Search::new(planted.values.keys().map(String::as_str));
    for (place, text) in &places {
        let there = search.found(text.as_bytes());
        for (value, class) in &planted.values {
            let must = class.is_in().contains(place);
            match there.get(value.as_str()) {
                Some(around) if !class.may_be_in(*place) => {
                    found.push(format!("{class:?} {value:?} in {place:?}: {around}"));
                }
                None if must => panic!("the search does not find {class:?} {value:?} in {place:?}"),
                _ => {}
            }
            controls += usize::from(must);
        }
    }
    for (place, text) in &places {
        for shape in ["$argon2", "urk_", "urr_", "ura_", "urd_", "eyJ0eXAi", "eyJhbGci"] {
            // The hash of a password stands in its own table only.
            let allowed = shape == "$argon2" && matches!(place, Place::Tables | Place::Files)
                // A client secret of AgStack is mailed to its owner.
                || shape.starts_with("eyJ") && *place == Place::Mails;
            let at = begins(text, shape).filter(|_| !allowed);
            assert_eq!(at.map(|at| around(text.as_bytes(), at)), None, "{shape} in {place:?}");
        }
    }
    assert_eq!(found, [""; 0], "{} found", found.len());
    // One or two of six digits are met by chance somewhere in megabytes; what leaks has them all.
    assert!(planted.codes.len() > PEOPLE, "{:?}", planted.codes);
    for (place, text) in &places {
        let there = bare(&planted.codes, text);
        match place {
            Place::Messages => assert!(there.len() > PEOPLE, "no control among messages: {there:?}"),
            // What the disk holds is bytes, not words.
            Place::Files => {}
            Place::Metrics | Place::Answers | Place::Mails => assert_eq!(there.len(), 0, "{there:?} in {place:?}"),
            _ => assert!(there.len() <= 2, "{there:?} in {place:?}"),
        }
    }
    told!(
        "{engine:?}: {secret} values and {} bare codes planted, {controls} found where they belong, 0 elsewhere, in {} \
         bytes of {} places",
        planted.codes.len(),
        places.values().map(String::len).sum::<usize>(),
        places.len()
    );
    bus.forget().await;
}

/// Where a word begins with this. What is sealed is base64 by the megabyte, which has any four letters in its midst.
fn begins(text: &str, with: &str) -> Option<usize> {
    let joined = |c: char| c.is_ascii_alphanumeric() || "-_+/".contains(c);
    let mut places = text.match_indices(with).map(|(at, _)| at);
    places.find(|at| !text[..*at].ends_with(joined))
}

/// The bytes of the store's files, each as one character.
fn files(app: &App) -> String {
    let mut all = String::new();
    for name in ["registry.db", "registry.db-wal"] {
        let bytes = std::fs::read(app.place.folder().join(name)).unwrap_or_default();
        all.extend(bytes.into_iter().map(char::from));
    }
    assert!(!all.is_empty());
    all
}

#[test]
fn a_bare_code_is_found_as_a_whole_run_of_digits() {
    let codes = BTreeSet::from(["012345".to_owned(), "678901".to_owned()]);
    for text in [
        "code=012345 and",
        "012345",
        "\"012345\"",
        "at 09:00:00.678901Z: 012345.",
    ] {
        assert_eq!(bare(&codes, text), ["012345"].into(), "{text}");
    }
    for text in ["at 09:00:00.012345Z", "90123456", "0123450", "01234 5", ""] {
        assert_eq!(bare(&codes, text), [].into(), "{text}");
    }
}

#[test]
fn a_planted_value_is_found_in_every_form() {
    let value = "canary password of bird 7";
    let search = Search::new([value]);
    let finds = |text: &str| search.found(text.as_bytes()).contains_key(value);
    for padding in ["", "a", "ab"] {
        let text = format!("{padding}{value} and more");
        let percent = text.replace(' ', "%20");
        let hex = hex(text.as_bytes());
        for written in [
            text.clone(),
            STANDARD_NO_PAD.encode(&text),
            URL_SAFE_NO_PAD.encode(&text),
            hex.to_uppercase(),
            hex,
            percent,
            text.replace(' ', "+"),
        ] {
            assert!(finds(&format!("level=TRACE what={written} more")), "{written}");
        }
    }
    assert!(!finds("canary password of bird 8"));
}
