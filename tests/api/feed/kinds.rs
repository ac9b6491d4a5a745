//! Every kind of event, taken off the stream: as its schema says, as a library of the standard reads it, and the same
//! by every way.

use std::collections::BTreeSet;

use aggregates::audit::{Audit, AuditCommand};
use aggregates::domain::{Domain, DomainCommand};
use aggregates::session::{Session, SessionCommand};
use aggregates::user::{Import, ProfileChange, Register, RequestLink, User, UserCommand};
use aggregates::values::{
    AddressKey, ApiKeyName, Channel, DeviceKey, Dialect, Email, EndReason, FullName, LockReason, Note, Phone,
    ProofValue, Role, SessionMethod, Standing, Username,
};
use cloudevents::event::ExtensionValue;
use cloudevents::{AttributesReader as _, Event};
use serde_json::{Value, json};
use user_registry::config::Config;
use user_registry::public::{KINDS, asyncapi};
use user_registry::store::{Actor, Context, ExecuteError, Store, Stream as Aggregate};
use uuid::Uuid;

use super::{everything, number, subscriber};
use crate::harness::{App, Engine, Inside, on_both_engines};

on_both_engines![every_kind_of_event_is_heard_and_is_what_it_is_said_to_be];

const DAY: i64 = 86_400_000_000;

/// What may not be heard, wherever it was said.
const PERSONAL: &[&str] = &[
    "lovelace",
    "farm.example",
    "6584932",
    "babbage",
    "enchantress",
    "192.0.2.77",
    "tractor",
];

/// Tells aggregates what to do, whoever may ask for it.
struct Teller<'a> {
    store: &'a Store,
}

impl Teller<'_> {
    async fn tell<A: Aggregate>(&self, id: &str, command: A::Command) {
        let context = Context {
            actor: Actor::Admin,
            actor_id: None,
            origin_owner: None,
            dialect: Dialect::Canonical,
            request_id: self.id().to_string(),
            trace: None,
            ip: Some("192.0.2.77".to_owned()),
            user_agent: Some("tractor".to_owned()),
        };
        let unit = self.store.unit(context);
        match unit.execute::<A>(id, command).await {
            Ok(executed) => assert!(executed.version > executed.loaded, "nothing happened to {id}"),
            Err(ExecuteError::Refused(refusal)) => panic!("refused: {refusal}"),
            Err(ExecuteError::Store(problem)) => panic!("{problem}"),
        }
        unit.append().await.unwrap();
    }

    fn id(&self) -> Uuid {
        self.store.chance().uuid_v7(self.store.now())
    }

    fn link(&self, request: Uuid) -> RequestLink {
        RequestLink {
            request,
            dialect: Dialect::Canonical,
            life: DAY,
            at: self.store.now(),
        }
    }

    fn person(&self) -> Register {
        Register {
            dialect: Dialect::Canonical,
            username: Some(Username::parse("lovelace").unwrap()),
            email: Some(Email::parse("lovelace@farm.example").unwrap()),
            phone: Some(Phone::parse_e164("+6584932466").unwrap()),
            device: None,
            full_name: Some(FullName::parse("Ada Lovelace").unwrap()),
            discoverable: false,
            position: None,
            country: None,
            geo_id: None,
            boundary: None,
            locale: None,
            password: true,
            standing: Standing::Allowed,
            verified: false,
            unverified_life: Some(1),
            email_request: None,
            phone_request: None,
            at: self.store.now(),
        }
    }

    async fn user(&self, id: &str, command: UserCommand) {
        self.tell::<User>(id, command).await;
    }

    /// The life of somebody to whom everything happens.
    async fn a_full_life(&self) {
        let user = self.id();
        let id = &user.to_string();
        self.user(id, UserCommand::Register(Box::new(self.person()))).await;
        let [mail, sms, change, reset, key] = std::array::from_fn(|_| self.id());
        let device = DeviceKey::parse(&"5a".repeat(32)).unwrap();
        let note = Some(Note::parse("because of Babbage").unwrap());
        let now = || self.store.now();
        for command in [
            UserCommand::RequestEmailVerification(self.link(mail)),
            UserCommand::VerifyEmail {
                original: mail,
                at: now(),
            },
            UserCommand::RequestPhoneVerification(self.link(sms)),
            UserCommand::VerifyPhone {
                request: sms,
                at: now(),
            },
            UserCommand::RequestEmailChange {
                email: Email::parse("babbage@farm.example").unwrap(),
                standing: Standing::Allowed,
                link: self.link(change),
            },
            UserCommand::ConfirmEmailChange {
                original: change,
                standing: Standing::Allowed,
                at: now(),
            },
            UserCommand::ChangePhone {
                phone: Phone::parse_e164("+6584932467").unwrap(),
            },
            UserCommand::ChangeUsername {
                username: Username::parse("enchantress").unwrap(),
            },
            UserCommand::UpdateProfile(Box::new(ProfileChange {
                full_name: Some(Some(FullName::parse("Charles Babbage").unwrap())),
                discoverable: Some(true),
                ..ProfileChange::default()
            })),
            UserCommand::ChangePassword { kept_session: None },
            UserCommand::RequestPasswordReset {
                channel: Channel::Mail,
                link: self.link(reset),
            },
            UserCommand::ResetPassword {
                original: reset,
                at: now(),
            },
            UserCommand::Lock {
                reason: LockReason::Admin,
                note: note.clone(),
            },
            UserCommand::Unlock { note: note.clone() },
            UserCommand::Deactivate { note: note.clone() },
            UserCommand::Reactivate { note: note.clone() },
            UserCommand::GrantRole { role: Role::Auditor },
            UserCommand::IssueApiKey {
                key_id: key,
                name: ApiKeyName::parse("of lovelace").unwrap(),
                roles: vec![Role::Auditor],
                expires_at: Some(now().plus(DAY)),
                at: now(),
            },
            UserCommand::RevokeApiKey { key_id: key },
            UserCommand::RevokeRole { role: Role::Auditor },
            UserCommand::BindDevice { device: device.clone() },
            UserCommand::UnbindDevice { device },
        ] {
            self.user(id, command).await;
        }
        self.sessions(user).await;
        self.tell::<Audit>(
            &self.id().to_string(),
            AuditCommand::ReadHistory {
                of: user,
                reader: self.id(),
                at: now(),
            },
        )
        .await;
        self.tell::<Audit>(&self.id().to_string(), AuditCommand::ListUsers { at: now() })
            .await;
        self.user(id, UserCommand::Erase).await;
    }

    async fn sessions(&self, user: Uuid) {
        let (session, stolen, failed) = (self.id().to_string(), self.id().to_string(), self.id().to_string());
        let start = || SessionCommand::Start {
            user,
            dialect: Dialect::Taxi,
            method: SessionMethod::Password,
            idle: DAY,
            life: DAY,
            at: self.store.now(),
        };
        let refresh = |generation| SessionCommand::Refresh {
            generation,
            idle: DAY,
            // Later than a lost answer could be asked for again.
            at: self.store.now().plus(60_000_000 * i64::from(generation + 1)),
        };
        self.tell::<Session>(&session, start()).await;
        let end = SessionCommand::End {
            reason: EndReason::Logout,
            all: false,
        };
        self.tell::<Session>(&session, end).await;
        self.tell::<Session>(&stolen, start()).await;
        self.tell::<Session>(&stolen, refresh(0)).await;
        self.tell::<Session>(&stolen, refresh(1)).await;
        let thief = SessionCommand::Refresh {
            generation: 0,
            idle: DAY,
            at: self.store.now().plus(600_000_000),
        };
        self.tell::<Session>(&stolen, thief).await;
        let fail = SessionCommand::Fail {
            user,
            dialect: Dialect::Xhoppe,
        };
        self.tell::<Session>(&failed, fail).await;
    }

    /// Somebody from an older system, somebody who never verified anything, and somebody who was let in without it.
    async fn others(&self) {
        let import = Import {
            dialect: Dialect::Cadasta,
            username: Some(Username::parse("babbage").unwrap()),
            email: None,
            phone: None,
            full_name: None,
            email_verified: false,
            phone_verified: false,
            active: true,
            created_at: None,
            password: true,
        };
        let imported = self.id().to_string();
        self.user(&imported, UserCommand::Import(Box::new(import))).await;
        let take = UserCommand::TakeEmail {
            email: Email::parse("analyst@farm.example").unwrap(),
            standing: Standing::Allowed,
            link: self.link(self.id()),
        };
        self.user(&imported, take).await;
        let late = self.id().to_string();
        let person = Register {
            username: None,
            phone: None,
            email: Some(Email::parse("late@farm.example").unwrap()),
            ..self.person()
        };
        self.user(&late, UserCommand::Register(Box::new(person))).await;
        let at = self.store.now().plus(DAY);
        self.user(&late, UserCommand::ExpireRegistration { at }).await;
        let admitted = self.id().to_string();
        let person = Register {
            username: None,
            phone: None,
            email: Some(Email::parse("admitted@farm.example").unwrap()),
            ..self.person()
        };
        self.user(&admitted, UserCommand::Register(Box::new(person))).await;
        let note = Note::parse("because of Babbage").ok();
        self.user(&admitted, UserCommand::Activate { note }).await;
    }

    async fn a_domain(&self) {
        let address = AddressKey::parse(&"c3".repeat(32)).unwrap();
        let reason = Some(Note::parse("because of Babbage").unwrap());
        let value = ProofValue::parse(&"7".repeat(43)).unwrap();
        for command in [
            DomainCommand::Observe,
            DomainCommand::Allow {
                include_subdomains: true,
                reason: reason.clone(),
            },
            DomainCommand::Block {
                include_subdomains: false,
                reason: reason.clone(),
            },
            DomainCommand::Unblock { reason: reason.clone() },
            DomainCommand::BlockAddress {
                address: address.clone(),
                display: Email::parse("lovelace@domain.example").unwrap(),
                reason: reason.clone(),
            },
            DomainCommand::UnblockAddress { address, reason },
            DomainCommand::IssueAuthorityToken { token_id: self.id() },
            DomainCommand::RotateAuthorityToken { token_id: self.id() },
            DomainCommand::RevokeAuthorityToken,
            DomainCommand::RequestProof { value: value.clone() },
            DomainCommand::Prove { value },
        ] {
            self.tell::<Domain>("domain.example", command).await;
        }
    }
}

async fn every_kind_of_event_is_heard_and_is_what_it_is_said_to_be(engine: Engine) {
    // Mails and messages for those who never were are none of this.
    let app = App::start_with(engine, &[("REGISTRY__FOLLOWERS__ENABLED", "false")]).await;
    let admin = app.admin().await;
    let key = subscriber(&app, &admin).await;
    let before = app.log().await.head().await;
    let mut stream = app
        .get(&format!("/v1/events/stream?after={before}"))
        .bearer(&key)
        .open()
        .await;
    let inside = Inside::open(&app.place).await;
    let teller = Teller { store: &inside.store };
    teller.a_full_life().await;
    teller.others().await;
    teller.a_domain().await;
    inside.close().await;
    let head = app.log().await.head().await;

    let document = asyncapi(&Config::default());
    let mut heard = Vec::new();
    for position in before + 1..=head {
        let (id, event) = stream.event().await;
        assert_eq!(id, position);
        let kind = event["type"].as_str().unwrap();
        let mut payload = document["components"]["messages"][kind]["payload"].clone();
        close(&mut payload);
        let validator = jsonschema::draft202012::options()
            .should_validate_formats(true)
            .build(&payload)
            .unwrap();
        validator
            .validate(&event)
            .unwrap_or_else(|problem| panic!("{event}: {problem}"));
        let mut data = app.get(event["dataschema"].as_str().unwrap()).expect(200).await;
        close(&mut data);
        jsonschema::draft202012::new(&data)
            .unwrap()
            .validate(&event["data"])
            .unwrap_or_else(|problem| panic!("{event}: {problem}"));
        read_by_a_library(&event);
        heard.push(event);
    }
    let kinds: BTreeSet<&str> = heard.iter().map(|event| event["type"].as_str().unwrap()).collect();
    let every: BTreeSet<&str> = KINDS.iter().map(|kind| kind.name).collect();
    assert_eq!(kinds, every);
    // By pull they are the same, and each by itself too.
    let pulled = everything(&app, &key, 1_000).await;
    assert_eq!(pulled[usize::try_from(before).unwrap()..], heard);
    for event in &heard {
        let path = format!("/v1/events/{}", event["position"]);
        assert_eq!(app.get(&path).bearer(&key).expect(200).await, *event);
    }
    let text = serde_json::to_string(&heard).unwrap().to_lowercase();
    for personal in PERSONAL {
        assert!(!text.contains(personal), "{personal} in {text}");
    }
    statuses(&heard);
    told!("{engine:?}: {} events of {} kinds", heard.len(), kinds.len());
}

/// What nobody described must not be there.
fn close(schema: &mut Value) {
    if let Value::Object(members) = schema {
        for member in members.values_mut() {
            close(member);
        }
        if members.contains_key("properties") {
            members.insert("additionalProperties".to_owned(), false.into());
        }
    }
}

/// The SDK of the `CloudEvents` project asks for a whole address as `dataschema`, as one is made with `public_url`.
fn read_by_a_library(event: &Value) {
    let mut whole = event.clone();
    whole["dataschema"] = format!("https://registry.example{}", event["dataschema"].as_str().unwrap()).into();
    let read: Event = serde_json::from_value(whole.clone()).unwrap();
    assert_eq!(
        (read.id(), read.ty()),
        (event["id"].as_str().unwrap(), event["type"].as_str().unwrap())
    );
    assert_eq!(
        (read.source().as_str(), read.subject()),
        ("/registry", event["subject"].as_str())
    );
    assert_eq!(read.datacontenttype(), Some("application/json"));
    assert!(read.time().is_some());
    for name in ["position", "sequence"] {
        assert_eq!(
            read.extension(name),
            Some(&ExtensionValue::Integer(number(&event[name])))
        );
    }
    let data: Value = read.data().cloned().unwrap().try_into().unwrap();
    assert_eq!(data, event["data"]);
    let mut back = serde_json::to_value(&read).unwrap();
    // It writes the time with as many digits as it needs.
    back["time"] = whole["time"].clone();
    assert_eq!(back, whole);
}

/// Where the account stands after each event, by the rules of the contract.
fn statuses(heard: &[Value]) {
    let mut told: Vec<(&str, &str)> = Vec::new();
    for event in heard
        .iter()
        .filter(|event| event["type"].as_str().unwrap().starts_with("user."))
    {
        let status = event["data"]["status"]
            .as_str()
            .unwrap_or_else(|| panic!("no status in {event}"));
        let name = event["type"].as_str().unwrap();
        if told.last().is_none_or(|(_, before)| *before != status) {
            told.push((name, status));
        }
    }
    assert_eq!(
        json!(told),
        json!([
            ["user.registered", "pending"],
            ["user.email_verified", "active"],
            ["user.locked", "locked"],
            ["user.unlocked", "active"],
            ["user.deactivated", "deactivated"],
            ["user.reactivated", "active"],
            ["user.erased", "erased"],
            ["user.imported", "active"],
            ["user.registered", "pending"],
            ["user.expired", "erased"],
            ["user.registered", "pending"],
            ["user.activated", "active"],
        ])
    );
}
