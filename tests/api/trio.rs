//! What the tests of the Cadasta, Xhoppe and Taxi dialects share, and what the three promise together: one pool of
//! identities, and each refusal in the shape of the API that was asked.

use serde_json::{Value, json};

use crate::agstack::web::Web;
use crate::harness::{App, Engine, PASSWORD, Reply, on_both_engines};

on_both_engines![
    what_is_registered_through_one_is_known_to_all,
    a_name_taken_in_one_is_taken_in_all,
    the_dialect_stands_in_every_events_metadata,
    a_token_of_one_opens_nothing_in_another,
    every_genuine_token_is_refused_by_every_other_dialect,
    a_body_of_another_dialect_is_refused_in_the_asked_ones_shape,
    what_nobody_serves_is_refused_by_whose_paths_look_so,
    only_json_itself_is_read_as_json,
    a_dialect_that_is_switched_off_is_not_there,
];

/// A password that every dialect lets people choose.
pub const STRONG: &str = "Seven-green-goats-4";

/// Checks status and JSON of an answer.
#[track_caller]
pub fn is(reply: &Reply, status: u16, body: &Value) {
    assert_eq!(reply.status, status, "{}", reply.body);
    assert_eq!(&reply.json(), body);
}

/// Checks that an answer has a status and no body.
#[track_caller]
pub fn is_empty(reply: &Reply, status: u16) {
    assert_eq!((reply.status, reply.body.as_str()), (status, ""));
}

impl App {
    /// A request with a JSON body, answered whatever way.
    pub async fn ask(&self, method: &str, path: &str, body: &Value) -> Reply {
        self.call(method, path).json(body).send().await
    }

    /// An account through Cadasta, verified. Its address is `{name}@farm.example`.
    pub async fn cadasta_user(&self, name: &str) -> String {
        let address = format!("{name}@farm.example");
        let body = json!({ "username": name, "email": address, "password": STRONG });
        let reply = self.ask("POST", "/api/v1/account/register/", &body).await;
        assert_eq!(reply.status, 201, "{}", reply.body);
        let (uid, token) = crate::cadasta::link(&self.mailbox().to(&address).await);
        let reply = self
            .ask(
                "POST",
                "/api/v1/account/activate/",
                &json!({ "uid": uid, "token": token }),
            )
            .await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        self.cadasta_key(name).await
    }

    /// A key of a log-in.
    pub async fn cadasta_key(&self, name: &str) -> String {
        let body = json!({ "username": name, "password": STRONG });
        let reply = self.ask("POST", "/api/v1/account/login/", &body).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.json()["auth_token"].as_str().unwrap().to_owned()
    }

    /// An account through Xhoppe, verified. Its token.
    pub async fn xhoppe_user(&self, msisdn: &str) -> String {
        let body = json!({ "msisdn": msisdn, "password": STRONG, "password_confirmation": STRONG });
        let reply = self.ask("POST", "/api/v1/users", &body).await;
        assert_eq!(reply.status, 201, "{}", reply.body);
        let code = self.phones().to(msisdn).await.code();
        let body = json!({ "msisdn": msisdn, "code": code });
        let reply = self.ask("POST", "/api/v1/users/verify", &body).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.json()["authentication_token"].as_str().unwrap().to_owned()
    }

    /// A customer through Taxi. The answer.
    pub async fn taxi_user(&self, name: &str) -> Value {
        let body = json!({ "username": name, "email": format!("{name}@cab.example"), "password": STRONG });
        let reply = self.ask("POST", "/api/v1/user/register", &body).await;
        assert_eq!(reply.status, 201, "{}", reply.body);
        reply.json()["results"].clone()
    }
}

async fn what_is_registered_through_one_is_known_to_all(engine: Engine) {
    let app = App::start(engine).await;
    app.cadasta_user("ada").await;
    // A canonical sign-in with the address and with the name.
    app.sign_in("ada", STRONG).await;
    app.sign_in("ada@farm.example", STRONG).await;
    // The canonical API's account through Cadasta, by name and by address.
    app.command(
        "register-user",
        &json!({ "username": "grace", "email": "grace@farm.example", "password": STRONG }),
    )
    .expect(201)
    .await;
    let mail = app.mailbox().to("grace@farm.example").await;
    app.command("verify-email", &json!({ "token": mail.token() }))
        .expect(200)
        .await;
    app.cadasta_key("GRACE").await;
    app.cadasta_key("Grace@farm.example").await;
    // A number registered in its full form signs in through the canonical API.
    app.xhoppe_user("+6584932466").await;
    app.sign_in("+6584932466", STRONG).await;
    // And the other way round.
    app.with_phone("joan", "+6584932467").await;
    let body = json!({ "msisdn": "+6584932467", "password": PASSWORD });
    let reply = app.ask("POST", "/api/v1/login", &body).await;
    assert_eq!(
        (reply.status, &reply.json()["valid_for_authentication"]),
        (200, &json!(true)),
        "{}",
        reply.body
    );
    // An account in use whose number nobody has proved: to Xhoppe the password is right, and there is no token.
    let both = json!({ "username": "kim", "email": "kim@farm.example", "phone": "+6584932469", "password": STRONG });
    app.command("register-user", &both).expect(201).await;
    let mail = app.mailbox().to("kim@farm.example").await;
    app.command("verify-email", &json!({ "token": mail.token() }))
        .expect(200)
        .await;
    app.sign_in("kim", STRONG).await;
    let login = json!({ "msisdn": "+6584932469", "password": STRONG });
    let reply = app.ask("POST", "/api/v1/login", &login).await;
    let unproved = json!({ "msisdn": "+6584932469", "valid_for_authentication": false });
    is(&reply, 200, &unproved);
    let code = app.phones().to("+6584932469").await.code();
    let proof = json!({ "msisdn": "+6584932469", "code": code });
    assert_eq!(app.ask("POST", "/api/v1/users/verify", &proof).await.status, 200);
    let reply = app.ask("POST", "/api/v1/login", &login).await.json();
    assert_eq!(reply["valid_for_authentication"], true);
    assert!(reply["authentication_token"].is_string());
    // Where the number is verified, an address that is not keeps nobody out.
    let both = json!({ "username": "jan", "email": "jan@farm.example", "phone": "+6584932468", "password": STRONG });
    app.command("register-user", &both).expect(201).await;
    let login = json!({ "username": "jan", "password": STRONG });
    assert_eq!(app.ask("POST", "/api/v1/account/login/", &login).await.status, 400);
    let code = app.phones().to("+6584932468").await.code();
    app.command("verify-phone", &json!({ "phone": "+6584932468", "code": code }))
        .expect(200)
        .await;
    app.cadasta_key("jan").await;
    app.cadasta_key("jan@farm.example").await;
    // A customer has no verified address: Cadasta knows the password and sends its mail.
    app.taxi_user("tim1990").await;
    let body = json!({ "username": "tim1990", "password": STRONG });
    let reply = app.ask("POST", "/api/v1/account/login/", &body).await;
    is(&reply, 400, &json!({ "detail": "The email has not been verified." }));
    let (uid, token) = crate::cadasta::link(&app.mailbox().to("tim1990@cab.example").await);
    let reply = app
        .ask(
            "POST",
            "/api/v1/account/activate/",
            &json!({ "uid": uid, "token": token }),
        )
        .await;
    is(&reply, 200, &json!({}));
    app.cadasta_key("tim1990").await;
    app.sign_in("tim1990", STRONG).await;
}

async fn a_name_taken_in_one_is_taken_in_all(engine: Engine) {
    let app = App::start(engine).await;
    app.cadasta_user("ada").await;
    app.xhoppe_user("+6584932466").await;
    app.taxi_user("tim1990").await;
    app.has_user("grace").await;
    let taxi = |name: &str, email: &str| json!({ "username": name, "email": email, "password": STRONG });
    for (body, code) in [
        (taxi("ADA", "new@cab.example"), -1),
        (taxi("Grace", "new@cab.example"), -1),
        (taxi("new", "new@cab.example"), -4),
        (taxi("tom", "ADA@farm.example"), -2),
    ] {
        let reply = app.ask("POST", "/api/v1/user/register", &body).await;
        assert_eq!(
            (reply.status, &reply.json()["error_code"]),
            (400, &json!(code)),
            "{body}"
        );
    }
    let cadasta = |name: &str, email: &str| json!({ "username": name, "email": email, "password": STRONG });
    let reply = app
        .ask(
            "POST",
            "/api/v1/account/register/",
            &cadasta("Tim1990", "TIM1990@cab.example"),
        )
        .await;
    is(
        &reply,
        400,
        &json!({
            "username": ["A user with that username already exists."],
            "email": ["Another user is already registered with this email address"],
        }),
    );
    let body = json!({ "msisdn": "+65 8493 2466", "password": STRONG, "password_confirmation": STRONG });
    let reply = app.ask("POST", "/api/v1/users", &body).await;
    is(
        &reply,
        422,
        &json!({
            "error": "Invalid resource. Please fix errors and try again.",
            "errors": { "msisdn": ["has already been taken"] },
        }),
    );
    for body in [
        json!({ "username": "Ada", "password": PASSWORD }),
        json!({ "email": "tim1990@CAB.example", "password": PASSWORD }),
        json!({ "phone": "+6584932466", "password": PASSWORD }),
    ] {
        app.command("register-user", &body).send().await.refused(409, "taken");
    }
    // A name written like an address holds that address too.
    let reply = app
        .ask(
            "POST",
            "/api/v1/account/register/",
            &cadasta("ada@farm.example", "mia@farm.example"),
        )
        .await;
    is(
        &reply,
        400,
        &json!({ "username": ["A user with that username already exists."] }),
    );
}

async fn the_dialect_stands_in_every_events_metadata(engine: Engine) {
    let app = App::start(engine).await;
    app.cadasta_user("ada").await;
    app.xhoppe_user("+6584932466").await;
    app.taxi_user("tim1990").await;
    let mut log = app.log().await;
    let metadata = match engine {
        Engine::Postgres => "metadata::text",
        Engine::Sqlite => "metadata",
    };
    for (dialect, kinds) in [
        (
            "cadasta",
            &[
                "user.registered",
                "user.email_verification_requested",
                "user.email_verified",
                "session.started",
            ][..],
        ),
        (
            "xhoppe",
            &[
                "user.registered",
                "user.phone_verification_requested",
                "user.phone_verified",
                "session.started",
            ],
        ),
        ("taxi", &["user.registered", "session.started"]),
    ] {
        let sql = format!(
            "SELECT event_type FROM events WHERE {metadata} LIKE '%\"dialect\":\"{dialect}\"%' \
             AND event_type NOT LIKE 'domain.%' ORDER BY position"
        );
        assert_eq!(log.texts(&sql).await, kinds, "{dialect}");
    }
}

async fn a_token_of_one_opens_nothing_in_another(engine: Engine) {
    let app = App::start(engine).await;
    let key = app.cadasta_user("ada").await;
    let token = app.xhoppe_user("+6584932466").await;
    let api_token = app.taxi_user("tim1990").await["api_token"].as_str().unwrap().to_owned();
    let access = app.sign_in("ada", STRONG).await.access;
    for foreign in [&token, &api_token, &access] {
        let call = app
            .get("/api/v1/account/")
            .header("authorization", format!("Token {foreign}"));
        let reply = call.send().await;
        is(&reply, 401, &json!({ "detail": "Invalid token." }));
        assert_eq!(reply.header("www-authenticate"), "Token");
    }
    for foreign in [&key, &api_token, &access] {
        let reply = app
            .get("/api/v1/user_info")
            .header("x-xhoppe-token", foreign)
            .send()
            .await;
        is(
            &reply,
            401,
            &json!({ "error": "You are not authorized to perform that action." }),
        );
    }
    for foreign in [&key, &token, &access] {
        let reply = app.get("/api/v1/user/me").bearer(foreign).send().await;
        assert_eq!(
            (reply.status, &reply.json()["results"]),
            (401, &Value::Null),
            "{}",
            reply.body
        );
    }
    for foreign in [&key, &token, &api_token] {
        assert_eq!(app.get("/v1/me").bearer(foreign).send().await.status, 401);
    }
    // Cookies of others are no credentials either.
    let cookies = format!("access_token_cookie={access}; xhoppe_verification={token}");
    let reply = app.get("/api/v1/account/").header("cookie", &cookies).send().await;
    is(
        &reply,
        401,
        &json!({ "detail": "Authentication credentials were not provided." }),
    );
}

/// Asks a dialect for what its own token opens, with these headers.
async fn opened(app: &App, web: &Web, asked: &str, headers: &[(&str, String)]) -> Reply {
    let path = match asked {
        "agstack" => {
            let mut call = web.get("/home");
            for (name, value) in headers {
                call = call.header(name, value);
            }
            return call.send().await;
        }
        "cadasta" => "/api/v1/account/",
        "xhoppe" => "/api/v1/user_info",
        "taxi" => "/api/v1/user/me",
        _ => "/v1/me",
    };
    let mut call = app.get(path);
    for (name, value) in headers {
        call = call.header(name, value);
    }
    call.send().await
}

/// How a dialect is shown a token.
fn shown(dialect: &str, token: &str) -> (&'static str, String) {
    match dialect {
        "cadasta" => ("authorization", format!("Token {token}")),
        "xhoppe" => ("x-xhoppe-token", token.to_owned()),
        _ => ("authorization", format!("Bearer {token}")),
    }
}

async fn every_genuine_token_is_refused_by_every_other_dialect(engine: Engine) {
    const COOKIES: [&str; 7] = [
        "access_token_cookie",
        "refresh_token_cookie",
        "xhoppe_verification",
        "auth_token",
        "authentication_token",
        "api_token",
        "session",
    ];
    let app = App::start(engine).await;
    let web = Web::python(&app);
    // One person has three of them.
    let key = app.cadasta_user("ada").await;
    let (jwt, refresh) = web.logs_in_with("ada@farm.example", STRONG).await;
    let canonical = app.sign_in("ada", STRONG).await;
    let taxi = app.taxi_user("tim1990").await["api_token"].as_str().unwrap().to_owned();
    let xhoppe = app.xhoppe_user("+6584932466").await;
    let tokens = [
        ("agstack", jwt),
        ("cadasta", key),
        ("xhoppe", xhoppe),
        ("taxi", taxi),
        ("canonical", canonical.access),
    ];
    for (asked, own) in &tokens {
        let reply = opened(&app, &web, asked, &[shown(asked, own)]).await;
        assert!(matches!(reply.status, 200 | 201), "{asked}: {reply:?}");
        for (of, token) in &tokens {
            if of == asked {
                continue;
            }
            let cookies = COOKIES.map(|name| format!("{name}={token}")).join("; ");
            let ways = [
                vec![shown(asked, token)],
                vec![shown(of, token)],
                vec![("cookie", cookies.clone())],
                vec![shown(asked, token), ("cookie", cookies)],
            ];
            for headers in ways {
                let reply = opened(&app, &web, asked, &headers).await;
                let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
                let what = format!("{of} shown to {asked} as {names:?}: {reply:?}");
                assert_eq!(reply.status, 401, "{what}");
                let body = reply.json();
                match *asked {
                    "agstack" => assert_eq!(body["message"], "Need to Login.", "{what}"),
                    "cadasta" => assert!(
                        body["detail"].is_string() && body.as_object().unwrap().len() == 1,
                        "{what}"
                    ),
                    "xhoppe" => {
                        let unauthorized = json!({ "error": "You are not authorized to perform that action." });
                        assert_eq!(body, unauthorized, "{what}");
                    }
                    "taxi" => shaped(&reply, "taxi"),
                    _ => {
                        reply.refused(401, "unauthenticated");
                    }
                }
            }
        }
    }
    // Its readers take whatever it says for yes.
    let mut all: Vec<&str> = tokens.iter().map(|(_, token)| token.as_str()).collect();
    all.push(&refresh);
    all.push(&canonical.refresh);
    for token in &all {
        for other in &all {
            let call = web
                .get("/verify-api-secret-keys")
                .header("api-key", token)
                .header("client-secret", other);
            call.is(200, json!({ "message": false })).await;
        }
    }
}

async fn a_body_of_another_dialect_is_refused_in_the_asked_ones_shape(engine: Engine) {
    let app = App::start(engine).await;
    let bodies = [
        json!({ "msisdn": "84932466", "password": "12345678", "password_confirmation": "12345678" }),
        json!({ "username": { "a": 1 }, "email": ["x"], "password": true }),
        json!({ "email": "ada@farm.example", "password": "Abcdefg1", "confirm_pass": "Abcdefg1", "phone_num": "" }),
        json!({ "identifier": "ada", "password": PASSWORD }),
        json!([]),
        json!("text"),
        json!(7),
        Value::Null,
        json!({}),
    ];
    let calls = [
        ("POST", "/api/v1/account/login/", "cadasta"),
        ("POST", "/api/v1/account/activate/", "cadasta"),
        ("POST", "/api/v1/account/password/reset/confirm/", "cadasta"),
        ("POST", "/api/v1/account/register/", "cadasta"),
        ("POST", "/api/v1/users/verify", "xhoppe"),
        ("PUT", "/api/v1/users/recover_password", "xhoppe"),
        ("POST", "/api/v1/login", "xhoppe"),
        ("POST", "/api/v1/user/register", "taxi"),
    ];
    for (method, path, dialect) in calls {
        for body in &bodies {
            if path == "/api/v1/login" && body.get("msisdn").is_some() {
                continue;
            }
            let reply = app.ask(method, path, body).await;
            assert!((400..500).contains(&reply.status), "{method} {path} {body}: {reply:?}");
            shaped(&reply, dialect);
        }
        for (kind, body) in [
            ("application/json", &b"{"[..]),
            ("application/json", b"\xff\xfe"),
            ("application/json", br#"{"a":"\ud800"}"#),
            ("application/x-www-form-urlencoded", b"%%%=%zz&=&&\xff"),
            ("multipart/form-data", b"--x"),
            ("multipart/form-data; boundary=x", b"--x\r\nnothing"),
            ("text/plain", b"username=ada"),
            ("application/xml", b"<a/>"),
        ] {
            let reply = app
                .call(method, path)
                .header("content-type", kind)
                .raw(body)
                .send()
                .await;
            assert!((400..500).contains(&reply.status), "{method} {path} {kind}: {reply:?}");
            shaped(&reply, dialect);
        }
        let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
        let large = json!({ "username": "a".repeat(20_000) }).to_string();
        for (body, status) in [(deep, 400), (large, 413)] {
            let call = app.call(method, path).header("content-type", "application/json");
            let reply = call.raw(body).send().await;
            assert_eq!(reply.status, status, "{path}: {}", reply.body);
            shaped(&reply, dialect);
        }
    }
}

/// Checks that a refusal has the shape of a dialect.
#[track_caller]
pub fn shaped(reply: &Reply, dialect: &str) {
    let body = reply.json();
    let members = body.as_object().unwrap_or_else(|| panic!("{reply:?}"));
    let fits = match dialect {
        "cadasta" => {
            members.get("detail").is_some_and(Value::is_string)
                || (!members.is_empty() && members.values().all(Value::is_array))
        }
        "xhoppe" => members["error"].is_string() && members.keys().all(|key| key == "error" || key == "errors"),
        _ => {
            let mut keys: Vec<&str> = members.keys().map(String::as_str).collect();
            keys.sort_unstable();
            keys == ["error", "error_code", "message", "results", "status"] && body["status"] == reply.status
        }
    };
    assert!(fits, "{dialect}: {reply:?}");
}

async fn what_nobody_serves_is_refused_by_whose_paths_look_so(engine: Engine) {
    let app = App::start(engine).await;
    let web = Web::python(&app);
    for (method, path, body) in [
        ("GET", "/api/v1/organizations/", json!({ "detail": "Not found." })),
        ("POST", "/api/v1/", json!({ "detail": "Not found." })),
        (
            "GET",
            "/api/v1/orders",
            json!({ "error": "The resource you were looking for could not be found." }),
        ),
        ("POST", "/signup/", json!({ "message": "Not found" })),
        (
            "GET",
            "/domains/",
            json!({ "Message": "Not found", "message": "Not found" }),
        ),
        (
            "GET",
            "/verify-api-secret-keys/",
            json!({ "message": false, "error": "Not found" }),
        ),
    ] {
        is(&web.call(method, path).json(&json!({})).send().await, 404, &body);
    }
    app.get("/api/v2/users/").send().await.refused(404, "not-found");
}

async fn only_json_itself_is_read_as_json(engine: Engine) {
    let app = App::start(engine).await;
    for (method, path, dialect) in [
        ("POST", "/api/v1/account/login/", "cadasta"),
        ("POST", "/api/v1/users", "xhoppe"),
        ("POST", "/api/v1/user/register", "taxi"),
    ] {
        for (kind, status) in [
            ("application/vnd.api+json", 415),
            ("text/json", 415),
            ("application/json; charset=latin-1", 415),
            ("Application/JSON; charset=UTF-8", 0),
            ("", 0),
        ] {
            let reply = app
                .call(method, path)
                .header("content-type", kind)
                .raw("{}")
                .send()
                .await;
            assert_eq!(reply.status == 415, status == 415, "{path} {kind}: {reply:?}");
            shaped(&reply, dialect);
        }
    }
}

async fn a_dialect_that_is_switched_off_is_not_there(engine: Engine) {
    let off = [
        ("REGISTRY__CADASTA__ENABLED", "false"),
        ("REGISTRY__XHOPPE__ENABLED", "false"),
        ("REGISTRY__TAXI__ENABLED", "false"),
    ];
    let app = App::start_with(engine, &off).await;
    for (method, path) in [
        ("POST", "/api/v1/account/login/"),
        ("GET", "/api/v1/users/"),
        ("POST", "/api/v1/users"),
        ("POST", "/api/v1/user/register"),
    ] {
        let reply = app.ask(method, path, &json!({})).await;
        reply.refused(404, "not-found");
    }
    let app = App::start_with(engine, &off[1..2]).await;
    // Without the other one its literal paths are names of users.
    let body = json!({ "username": "x", "email": "x@y.example" });
    let reply = app.ask("PUT", "/api/v1/users/forget_password/", &body).await;
    is(
        &reply,
        401,
        &json!({ "detail": "Authentication credentials were not provided." }),
    );
    let reply = app.ask("POST", "/api/v1/users", &json!({})).await;
    is(&reply, 405, &json!({ "detail": "Method \"POST\" not allowed." }));
}
