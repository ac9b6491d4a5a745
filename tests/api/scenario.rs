//! The people of the five documents this registry answers to, from their registration to their history.

use insta::{allow_duplicates, assert_snapshot};
use serde_json::{Value, json};

use crate::harness::{App, Engine, PASSWORD, Tokens, on_both_engines};

on_both_engines![the_people_of_the_documents];

/// What registering with an address and opening the link leaves in a history.
const WITH_AN_ADDRESS: [&str; 3] = [
    "user.registered",
    "user.email_verification_requested",
    "user.email_verified",
];
/// A later password.
const OTHER: &str = "eight brown cows in a barn";

async fn the_people_of_the_documents(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;

    joe_smith_from_registration_to_history(&app, &admin).await;
    the_number_of_the_phone_app_is_verified_by_its_code(&app).await;
    tim_is_found_by_an_administrator(&app, &admin).await;
    gmail_and_hotmail_are_blocked_and_allowed_in_turn(&app, &admin).await;

    // While it runs: what clients read is what the log says.
    let report = app.place.run(&["rebuild", "--check"], "").await.unwrap();
    assert!(report.contains("no row differs"), "{report}");
    let checksum = |of: &str| {
        let line = report
            .lines()
            .find(|line| line.starts_with(&format!("checksum of {of} ")))
            .unwrap();
        line.rsplit(' ').next().unwrap().to_owned()
    };
    assert_eq!(checksum("live"), checksum("rebuilt"), "{report}");
    let mut log = app.log().await;
    let events = log.events().await;
    assert!(
        events
            .iter()
            .map(|event| event.position)
            .eq(1..=i64::try_from(events.len()).unwrap())
    );
    told!("{engine:?}: {} events, checksum {}", events.len(), checksum("live"));
}

/// Registers somebody with an address and opens the link of the mail they get. Their id.
async fn registers_and_verifies(app: &App, body: &Value) -> String {
    let receipt = app.command("register-user", body).expect(201).await;
    let id = receipt["id"].as_str().unwrap().to_owned();
    assert_eq!(
        receipt["events"],
        json!(["user.registered", "user.email_verification_requested"])
    );
    let early = json!({ "identifier": body["email"], "password": body["password"] });
    app.post("/v1/sessions", &early)
        .send()
        .await
        .refused(401, "invalid-credentials");

    let mail = app.mailbox().to(body["email"].as_str().unwrap()).await;
    assert!(
        mail.link()
            .starts_with(&format!("{}/verify-email?token=", app.server.base())),
        "{}",
        mail.link()
    );
    // A mail program that looks at the link first changes nothing; the button of its page is a POST.
    let page = app.get(&format!("/verify-email?token={}", mail.token())).send().await;
    assert_eq!((page.status, page.header("referrer-policy")), (200, "no-referrer"));
    let verified = app
        .command("verify-email", &json!({ "token": mail.token() }))
        .expect(200)
        .await;
    assert_eq!((&verified["id"], &verified["version"]), (&json!(id), &json!(3)));
    assert_eq!(verified["events"], json!(["user.email_verified"]));
    id
}

async fn me(app: &App, tokens: &Tokens) -> Value {
    app.get("/v1/me").bearer(&tokens.access).expect(200).await
}

async fn history(app: &App, caller: &Tokens, user: &str) -> Vec<Value> {
    let page = app
        .get(&format!("/v1/users/{user}/history"))
        .bearer(&caller.access)
        .expect(200)
        .await;
    assert_eq!(page["next"], Value::Null);
    page["items"].as_array().unwrap().clone()
}

/// Signs in, changes name and password, and reads a history that tells how it began and what was changed. The tokens.
async fn signs_in_changes_and_reads_it_all(app: &App, identifier: &str, password: &str, began: &[&str]) -> Tokens {
    let tokens = app.sign_in(identifier, password).await;
    let renamed = app
        .command("update-profile", &json!({ "full_name": "Another Name" }))
        .bearer(&tokens.access)
        .expect(200)
        .await;
    assert_eq!(renamed["id"], json!(tokens.user));
    assert_eq!(me(app, &tokens).await["full_name"], "Another Name");
    let change = json!({ "current_password": password, "new_password": OTHER });
    app.command("change-password", &change)
        .bearer(&tokens.access)
        .expect(200)
        .await;
    let old = json!({ "identifier": identifier, "password": password });
    app.post("/v1/sessions", &old)
        .send()
        .await
        .refused(401, "invalid-credentials");
    assert_eq!(app.sign_in(identifier, OTHER).await.user, tokens.user);

    let events = history(app, &tokens, &tokens.user).await;
    assert_eq!(
        types(&events),
        [began, &["user.profile_updated", "user.password_changed"]].concat()
    );
    let myself = json!({ "kind": "self", "id": tokens.user });
    assert!(
        events[began.len()..].iter().all(|event| event["actor"] == myself),
        "{events:?}"
    );
    are_in_sequence(&events);
    let text = serde_json::to_string(&events).unwrap();
    assert!(!text.contains(password) && !text.contains(OTHER), "{text}");
    tokens
}

/// No event of the stream is missing, and none is out of order.
fn are_in_sequence(events: &[Value]) {
    let mut numbered = events.iter().enumerate();
    assert!(
        numbered.all(|(index, event)| event["sequence"] == index + 1),
        "{events:?}"
    );
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

/// The sample account of the Cadasta document.
async fn joe_smith_from_registration_to_history(app: &App, admin: &Tokens) {
    let body = json!({
        "username": "j_smith", "full_name": "Joe Smith", "email": "joe.smith@example.com", "password": PASSWORD,
    });
    let id = registers_and_verifies(app, &body).await;

    let joe = app.sign_in("joe.smith@example.com", PASSWORD).await;
    assert_eq!(joe.user, id);
    let reply = app.get("/v1/me").bearer(&joe.access).send().await;
    assert_eq!(reply.header("etag"), "\"3\"");
    allow_duplicates! { assert_snapshot!(reply.wire(), @r#"{"id":"[id]","username":"j_smith","email":"joe.smith@example.com","email_verified":true,"phone":null,"phone_verified":false,"full_name":"Joe Smith","status":"active","roles":["user"],"discoverable":false,"position":null,"geo_id":null,"boundary":null,"country":null,"locale":null,"created_at":"[time]","updated_at":"[time]","last_login":"[time]","version":3,"log_position":[position]}"#) }

    let change = json!({
        "full_name": "Joseph Smith", "position": { "latitude": 1.3521, "longitude": 103.8198 }, "discoverable": true,
        "geo_id": "geo:1.35,103.82", "locale": "en_sg",
    });
    let reply = app
        .command("update-profile", &change)
        .bearer(&joe.access)
        .header("if-match", "\"3\"")
        .send()
        .await;
    assert_eq!((reply.status, reply.header("etag")), (200, "\"4\""), "{reply:?}");
    let profile = me(app, &joe).await;
    assert_eq!(profile["full_name"], "Joseph Smith");
    assert_eq!(profile["country"], "SG");
    assert_eq!(
        profile["position"],
        json!({ "latitude": 1.3521, "longitude": 103.8198 })
    );
    assert_eq!(profile["locale"], "en-SG");

    let change = json!({ "current_password": PASSWORD, "new_password": OTHER });
    app.command("change-password", &change)
        .bearer(&joe.access)
        .expect(200)
        .await;
    let old = json!({ "identifier": "j_smith", "password": PASSWORD });
    app.post("/v1/sessions", &old)
        .send()
        .await
        .refused(401, "invalid-credentials");
    app.sign_in("J_Smith", OTHER).await;

    his_domain_is_blocked_and_unblocked(app, admin, &joe).await;
    his_history_tells_it(app, admin, &joe).await;
}

async fn his_domain_is_blocked_and_unblocked(app: &App, admin: &Tokens, joe: &Tokens) {
    // Somebody else of the domain is refused once it is blocked, and nothing is written down about them.
    let block = json!({ "domain": "Example.COM", "reason": "spam" });
    let receipt = app
        .command("block-domain", &block)
        .bearer(&admin.access)
        .expect(200)
        .await;
    assert_eq!(
        (&receipt["id"], &receipt["events"]),
        (&json!("example.com"), &json!(["domain.blocked"]))
    );
    let mut log = app.log().await;
    let written = log.written().await;
    for address in ["ann@example.com", "ann@mail.example.com", "ann@EXAMPLE.com"] {
        let body = json!({ "email": address, "password": PASSWORD });
        app.command("register-user", &body)
            .send()
            .await
            .refused(403, "domain-blocked");
    }
    assert_eq!(log.written().await, written);
    let refused = app
        .get("/v1/domains/mail.example.com")
        .bearer(&admin.access)
        .send()
        .await;
    refused.refused(404, "not-found");
    // Who is in stays in.
    me(app, joe).await;
    let unblock = json!({ "domain": "example.com" });
    let receipt = app
        .command("unblock-domain", &unblock)
        .bearer(&admin.access)
        .expect(200)
        .await;
    assert_eq!(receipt["events"], json!(["domain.unblocked"]));
    let body = json!({ "email": "ann@example.com", "password": PASSWORD });
    app.command("register-user", &body).expect(201).await;
}

async fn his_history_tells_it(app: &App, admin: &Tokens, joe: &Tokens) {
    let events = history(app, joe, &joe.user).await;
    assert_eq!(
        types(&events),
        [
            "user.registered",
            "user.email_verification_requested",
            "user.email_verified",
            "user.profile_updated",
            "user.password_changed",
        ]
    );
    assert_eq!(events[0]["data"]["email"], "joe.smith@example.com");
    assert_eq!(events[0]["actor"]["kind"], "anonymous");
    assert_eq!(events[3]["actor"], json!({ "kind": "self", "id": joe.user }));
    assert_eq!(events[3]["data"]["full_name"], "Joseph Smith");
    are_in_sequence(&events);
    let text = serde_json::to_string(&events).unwrap();
    assert!(
        !text.contains(PASSWORD) && !text.contains(OTHER) && !text.contains("argon2"),
        "{text}"
    );
    // An administrator reads the same, and that they did is written down.
    let mut log = app.log().await;
    let head = log.head().await;
    assert_eq!(history(app, admin, &joe.user).await, events);
    assert_eq!(log.types_after(head).await, ["audit.history_read"]);
    let domain = app
        .get("/v1/domains/example.com/history")
        .bearer(&admin.access)
        .expect(200)
        .await;
    assert_eq!(
        types(domain["items"].as_array().unwrap()),
        ["domain.observed", "domain.blocked", "domain.unblocked"]
    );
}

/// The sample number of the Xhoppe document, in the form this API takes.
async fn the_number_of_the_phone_app_is_verified_by_its_code(app: &App) {
    const NUMBER: &str = "+6584932466";
    let body = json!({ "phone": NUMBER, "password": PASSWORD });
    let receipt = app.command("register-user", &body).expect(201).await;
    assert_eq!(
        receipt["events"],
        json!(["user.registered", "user.phone_verification_requested"])
    );
    let again = app.command("register-user", &body).send().await;
    assert_eq!(again.refused(409, "taken"), ["/phone"]);
    let early = json!({ "identifier": NUMBER, "password": PASSWORD });
    app.post("/v1/sessions", &early)
        .send()
        .await
        .refused(401, "invalid-credentials");

    // The code lies in the outbox; another one verifies nothing.
    let sms = app.phones().to(NUMBER).await;
    let verify = |code: &str| app.command("verify-phone", &json!({ "phone": NUMBER, "code": code }));
    verify(&sms.wrong(1)).send().await.refused(410, "invalid-token");
    let verified = verify(&sms.code()).expect(200).await;
    assert_eq!(
        (&verified["id"], &verified["events"]),
        (&receipt["id"], &json!(["user.phone_verified"]))
    );
    let began = [
        "user.registered",
        "user.phone_verification_requested",
        "user.phone_verified",
    ];
    let tokens = signs_in_changes_and_reads_it_all(app, NUMBER, PASSWORD, &began).await;
    assert_eq!(receipt["id"], json!(tokens.user));
    let profile = me(app, &tokens).await;
    assert_eq!(
        (&profile["phone"], &profile["phone_verified"], &profile["status"]),
        (&json!(NUMBER), &json!(true), &json!("active"))
    );
}

/// The sample account of the Taxi document. Its password there is too common for this API.
async fn tim_is_found_by_an_administrator(app: &App, admin: &Tokens) {
    let sample = json!({ "username": "tim1990", "email": "tim.smith12@aol.com", "password": "tim.smith12" });
    let weak = app.command("register-user", &sample).send().await;
    assert_eq!(weak.refused(400, "invalid"), ["/password"]);
    let body = json!({ "username": "tim1990", "email": "tim.smith12@aol.com", "password": "il1kep1es" });
    let id = registers_and_verifies(app, &body).await;
    for identifier in ["tim1990", "TIM1990", "tim.smith12@aol.com", "Tim.Smith12@AOL.com"] {
        assert_eq!(app.sign_in(identifier, "il1kep1es").await.user, id, "{identifier}");
    }
    let found = app
        .get("/v1/users?q=tim&domain=aol.com&verified=true")
        .bearer(&admin.access)
        .expect(200)
        .await;
    assert_eq!(
        (
            found["items"][0]["id"].as_str(),
            found["items"].as_array().unwrap().len()
        ),
        (Some(id.as_str()), 1)
    );
    let domain = app.get("/v1/domains/aol.com").bearer(&admin.access).send().await;
    allow_duplicates! { assert_snapshot!(domain.wire(), @r#"{"name":"aol.com","standing":"observed","include_subdomains":false,"reason":null,"users":1,"proved":false,"authority_token_issued":false,"version":1,"position":[position]}"#) }
    let tim = signs_in_changes_and_reads_it_all(app, "tim1990", "il1kep1es", &WITH_AN_ADDRESS).await;
    assert_eq!(tim.user, id);
}

/// The two domains that the AgStack document names.
async fn gmail_and_hotmail_are_blocked_and_allowed_in_turn(app: &App, admin: &Tokens) {
    let order = async |name: &str, domain: &str| {
        let reply = app
            .command(name, &json!({ "domain": domain }))
            .bearer(&admin.access)
            .send()
            .await;
        assert!(matches!(reply.status, 200 | 201), "{reply:?}");
        reply.json()["events"].clone()
    };
    let register = async |address: &str| {
        app.command("register-user", &json!({ "email": address, "password": PASSWORD }))
            .send()
            .await
    };
    assert_eq!(order("block-domain", "gmail.com").await, json!(["domain.blocked"]));
    assert_eq!(order("allow-domain", "hotmail.com").await, json!(["domain.allowed"]));
    register("someone@gmail.com").await.refused(403, "domain-blocked");
    let hot = json!({ "email": "someone@hotmail.com", "password": PASSWORD });
    let hot = registers_and_verifies(app, &hot).await;
    assert_eq!(order("allow-domain", "gmail.com").await, json!(["domain.allowed"]));
    assert_eq!(order("block-domain", "hotmail.com").await, json!(["domain.blocked"]));
    let google = json!({ "email": "someone@gmail.com", "password": PASSWORD });
    let google = registers_and_verifies(app, &google).await;
    register("other@hotmail.com").await.refused(403, "domain-blocked");
    // Who came while it was allowed stays in once it is blocked.
    for (address, id) in [("someone@gmail.com", google), ("someone@hotmail.com", hot)] {
        let tokens = signs_in_changes_and_reads_it_all(app, address, PASSWORD, &WITH_AN_ADDRESS).await;
        assert_eq!(tokens.user, id, "{address}");
    }
    for domain in ["gmail.com", "hotmail.com"] {
        let history = app
            .get(&format!("/v1/domains/{domain}/history"))
            .bearer(&admin.access)
            .expect(200)
            .await;
        let told = types(history["items"].as_array().unwrap()).join(" ");
        let expected = if domain == "gmail.com" {
            "domain.blocked domain.allowed"
        } else {
            "domain.allowed domain.blocked"
        };
        assert_eq!(told, expected, "{domain}");
    }
    // Block beats allow for the parent, the longer name decides below it.
    assert_eq!(order("allow-domain", "uk.hotmail.com").await, json!(["domain.allowed"]));
    assert_eq!(register("other@uk.hotmail.com").await.status, 201);
    let blocked = app
        .get("/v1/domains?standing=blocked")
        .bearer(&admin.access)
        .expect(200)
        .await;
    assert_eq!(blocked["items"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&blocked["items"][0]["name"], &blocked["items"][0]["users"]),
        (&json!("hotmail.com"), &json!(1))
    );
}
