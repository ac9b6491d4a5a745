//! Secrets and personal values are planted by the hundred, and looked for where they must not be: in logs at their most
//! talkative, metrics, answers, every table, the database's own files and the outboxes, also written in base64,
//! hexadecimal and as parts of URLs.
//!
//! Where a value may be is said once, in [`Class::may_be_in`]; each such place must have it too, so that a search that
//! finds nothing anywhere fails.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::harness::{
    App, Engine, Gateway, MailServer, Offers, PASSWORD, Place as Home, Rabbit, Reply, Server, Tokens, on_both_engines,
    until,
};
use crate::search::{Search, around, hex};

on_both_engines![nothing_secret_is_where_it_must_not_be];

/// How many people there are.
const PEOPLE: usize = 12;
/// Fewer planted values would prove little.
const LEAST: usize = 400;

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
    /// A username or the name of a person.
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
}

impl Class {
    /// SECURITY-REQUIREMENTS, section 9.
    fn may_be_in(self, place: Place) -> bool {
        use Place::{Files, Log, Mails, Messages, Tables};
        match self {
            Self::Password | Self::Token | Self::Typed | Self::Blocked | Self::Setting => false,
            Self::Sent => matches!(place, Mails | Messages),
            Self::Code => place == Messages,
            // Rows are what the owner and administrators read; the files hold the rows.
            Self::Name | Self::Geo | Self::Agent => matches!(place, Tables | Files),
            Self::Contact => matches!(place, Tables | Files | Mails | Messages),
            Self::Ip => matches!(place, Tables | Files | Log),
        }
    }

    /// The one of them where every value of this class is, so that the search is shown to find.
    fn is_in(self) -> Option<Place> {
        match self {
            Self::Sent => Some(Place::Mails),
            Self::Code => Some(Place::Messages),
            Self::Name | Self::Contact | Self::Geo | Self::Agent => Some(Place::Tables),
            Self::Password | Self::Token | Self::Typed | Self::Ip | Self::Blocked | Self::Setting => None,
        }
    }
}

#[derive(Default)]
struct Planted {
    values: BTreeMap<String, Class>,
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

    /// A refusal is kept to be looked at.
    fn refused(&mut self, reply: &Reply) {
        assert!((400..500).contains(&reply.status), "{reply:?}");
        self.refusals.push_str(&reply.body);
        for (name, value) in reply.steady_headers() {
            self.refusals.extend(["\n", &name, ": ", &value]);
        }
    }

    fn tokens(&mut self, tokens: &Tokens) {
        self.plant(Class::Token, tokens.access.rsplit('.').next().unwrap());
        self.plant(Class::Token, tokens.access.split('.').nth(1).unwrap());
        self.plant(Class::Token, body_of(&tokens.refresh));
    }
}

/// A token without the prefix that all of its kind share.
fn body_of(token: &str) -> &str {
    token.split_once('_').map_or(token, |(_, rest)| rest)
}

/// Registers, verifies, signs in, changes and asks for everything there is, as so many people.
async fn live(app: &App, admin: &Tokens, planted: &mut Planted) {
    for number in 0..PEOPLE {
        person(app, admin, planted, number).await;
    }
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

#[expect(clippy::too_many_lines, reason = "a life is told in one piece")]
async fn person(app: &App, admin: &Tokens, planted: &mut Planted, number: usize) {
    let username = planted.plant(Class::Name, format!("canary-name-{number}x"));
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
    let link = app.mailbox().to(&email).await.token().to_owned();
    planted.plant(Class::Sent, &link);
    call("verify-email", &json!({ "token": link })).expect(200).await;
    let code = app.phones().to(&phone).await;
    planted.plant(Class::Code, format!("{} is your code", code.code()));
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
    let link = app.mailbox().to(&other).await.token().to_owned();
    planted.plant(Class::Sent, &link);
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
    let link = until("the reset link", || async {
        let mut mails = app.mailbox().mails().into_iter();
        mails.rfind(|mail| mail.to == other && mail.subject == "Reset your password")
    })
    .await;
    let link = planted.plant(Class::Sent, link.token());
    let new = planted.plant(Class::Password, format!("another canary secret {number}"));
    let reset = json!({ "token": link, "new_password": new });
    call("reset-password", &reset).expect(200).await;
    planted.refused(&call("reset-password", &reset).send().await);
    let tokens = sign_in(app, &other, &new, &agent, &ip).await;
    planted.tokens(&tokens);
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
            planted.plant(Class::Typed, value);
        }
        for value in land.into_iter().chain([spot.0, spot.1]) {
            planted.values.insert(value, Class::Typed);
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

/// Starts the same service anew, with its master key as a setting and beside servers that turn it away: what it says then
/// names them. The log until then.
async fn turned_away(app: &mut App, settings: &[(&str, &str)], planted: &mut Planted) -> String {
    let master = std::fs::read_to_string(app.place.folder().join("keys").join("master.key")).unwrap();
    let master = planted.plant(Class::Setting, master.trim());
    let offers = Offers {
        user: Some(("canary", "another password")),
        ..Offers::default()
    };
    let (sink, gateway) = (MailServer::start(offers).await, Gateway::start().await);
    gateway.answer_everybody(401);
    let smtp = format!("smtp://canary:{SMTP}@127.0.0.1:{}?tls=none", sink.port());
    let url = gateway.url();
    let mut settings = settings.to_vec();
    settings.extend([
        ("REGISTRY__KEYS__MASTER", master.as_str()),
        ("SMTP_URL", &smtp),
        ("REGISTRY__SMS__GATEWAY_URL", &url),
        ("REGISTRY__SMS__GATEWAY_TOKEN", GATEWAY),
    ]);
    app.server.terminate();
    let next = Server::start(&app.place, &settings).await;
    app.client = next.client();
    let before = std::mem::replace(&mut app.server, next).log();
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
    before
}

async fn nothing_secret_is_where_it_must_not_be(engine: Engine) {
    let mut broker: reqwest::Url = Rabbit::shared().url().parse().unwrap();
    broker.set_password(Some(BROKER)).unwrap();
    let settings = [
        ("REGISTRY__LOG__LEVEL", "trace"),
        ("REGISTRY__HTTP__TRUSTED_PROXIES", "127.0.0.1/32"),
        ("AMQP_URL", broker.as_str()),
    ];
    let mut place = Home::new(engine).await;
    place.password(DATABASE);
    let server = Server::start(&place, &settings).await;
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
    live(&app, &admin, &mut planted).await;
    let before = turned_away(&mut app, &settings, &mut planted).await;
    assert!(planted.values.len() >= LEAST, "{} values", planted.values.len());
    let last = app.get("/v1/me").bearer(&admin.access).send().await;
    let metrics = app.get("/metrics").send().await.body;
    let mut log = app.log().await;
    let mut places = BTreeMap::from([
        (Place::Log, before + &app.server.log()),
        (Place::Metrics, metrics),
        (Place::Answers, planted.refusals.clone()),
        (Place::Events, String::new()),
        (Place::Tables, String::new()),
    ]);
    for table in log.tables().await {
        let place = if table == "events" {
            Place::Events
        } else {
            Place::Tables
        };
        places.get_mut(&place).unwrap().push_str(&log.dump(&table).await);
    }
    let mails = format!("{:?}", app.mailbox().mails());
    let messages = app.phones().messages().iter().map(|sms| sms.json.to_string()).collect();
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
            match there.get(value.as_str()) {
                Some(around) if !class.may_be_in(*place) => {
                    found.push(format!("{class:?} {value:?} in {place:?}: {around}"));
                }
                None if class.is_in() == Some(*place) => {
                    panic!("the search does not find {class:?} {value:?} in {place:?}")
                }
                _ => {}
            }
            controls += usize::from(class.is_in() == Some(*place));
        }
    }
    for (place, text) in &places {
        for shape in ["$argon2", "urk_", "urr_", "ura_", "eyJ0eXAi", "eyJhbGci"] {
            // The hash of a password stands in its own table only.
            let allowed = shape == "$argon2" && matches!(place, Place::Tables | Place::Files);
            let at = begins(text, shape).filter(|_| !allowed);
            assert_eq!(at.map(|at| around(text.as_bytes(), at)), None, "{shape} in {place:?}");
        }
    }
    assert_eq!(found, [""; 0], "{} found", found.len());
    told!(
        "{engine:?}: {} values planted, {controls} found where they belong, 0 elsewhere, in {} bytes of {} places",
        planted.values.len(),
        places.values().map(String::len).sum::<usize>(),
        places.len()
    );
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
