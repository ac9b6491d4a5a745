//! When something is wrong with the service itself, each dialect says so in its own shape: a table that is gone, a queue
//! that is full, a database that is away. And some bounds of the dialects that only numbers of requests reach.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::Executor as _;

use crate::agstack::faults::run as sql;
use crate::agstack::web::Web;
use crate::harness::{App, Engine, Log, Reply, Wire, on_both_engines, run, until};
use crate::trio::STRONG;

on_both_engines![
    a_fault_is_told_in_the_shape_of_the_asked_dialect,
    a_full_queue_is_told_in_the_shape_of_the_asked_dialect,
    a_bare_code_is_not_looked_for_among_too_many,
    customers_are_counted_by_where_they_come_from,
    headers_beyond_the_bound_are_refused_in_the_asked_ones_shape,
];

/// A request of one dialect.
struct Ask {
    dialect: &'static str,
    method: &'static str,
    path: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Value,
}

impl Ask {
    fn new(dialect: &'static str, method: &'static str, path: &'static str, body: Value) -> Self {
        Self {
            dialect,
            method,
            path,
            headers: Vec::new(),
            body,
        }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    async fn send(&self, app: &App) -> Reply {
        // The document of the canonical API knows nothing of these paths.
        let web = Web::python(app);
        let mut call = web.call(self.method, self.path);
        for (name, value) in &self.headers {
            call = call.header(name, value);
        }
        if !self.body.is_null() {
            call = call.json(&self.body);
        }
        call.send().await
    }
}

/// Signing in through each dialect, or registering where it has no log-in.
fn entrances() -> [Ask; 4] {
    [
        Ask::new(
            "agstack",
            "POST",
            "/login",
            json!({ "email": "ada@farm.example", "password": STRONG }),
        ),
        Ask::new(
            "cadasta",
            "POST",
            "/api/v1/account/login/",
            json!({ "username": "ada", "password": STRONG }),
        ),
        Ask::new(
            "xhoppe",
            "POST",
            "/api/v1/login",
            json!({ "msisdn": "+6584932466", "password": STRONG }),
        ),
        Ask::new(
            "taxi",
            "POST",
            "/api/v1/user/register",
            json!({ "username": "tom", "email": "tom@cab.example", "password": STRONG }),
        ),
    ]
}

/// The same, and what is read with a token; last the path whose readers take any text for yes.
async fn everything(app: &App) -> Vec<Ask> {
    let key = app.cadasta_user("ada").await;
    let xhoppe = app.xhoppe_user("+6584932466").await;
    let taxi = app.taxi_user("tim1990").await["api_token"].as_str().unwrap().to_owned();
    let web = Web::python(app);
    let (access, _) = web.logs_in_with("ada@farm.example", STRONG).await;
    let read = |dialect, path| Ask::new(dialect, "GET", path, Value::Null);
    let mut all: Vec<Ask> = entrances().into();
    all.push(read("agstack", "/home").with("authorization", format!("Bearer {access}")));
    all.push(read("cadasta", "/api/v1/account/").with("authorization", format!("Token {key}")));
    all.push(read("xhoppe", "/api/v1/user_info").with("x-xhoppe-token", xhoppe));
    all.push(read("taxi", "/api/v1/user/me").with("authorization", format!("Bearer {taxi}")));
    all.push(
        read("verify", "/verify-api-secret-keys")
            .with("api-key", "a")
            .with("client-secret", "b"),
    );
    all
}

fn fault(ask: &Ask) -> Value {
    match (ask.dialect, ask.path) {
        ("agstack", "/login") => json!({ "message": "Login Error" }),
        ("agstack", _) => json!({ "message": "Need to Login." }),
        ("cadasta", _) => json!({ "detail": "A server error occurred." }),
        ("xhoppe", _) => json!({ "error": "Internal error." }),
        ("verify", _) => json!({ "message": false, "error": "Verify API Keys Error" }),
        _ => json!({ "results": null, "message": null, "error": "Internal error", "error_code": -6, "status": 500 }),
    }
}

/// What somebody is told who is to come back.
fn unavailable(dialect: &str) -> Value {
    match dialect {
        "agstack" => json!({ "message": "Service unavailable. Please try again later." }),
        "verify" => json!({ "message": false, "error": "Service unavailable. Please try again later." }),
        "cadasta" => json!({ "detail": "Service temporarily unavailable, try again later." }),
        "xhoppe" => json!({ "error": "Service unavailable. Please try again later." }),
        _ => json!({
            "results": null, "message": null, "error": "Service unavailable", "error_code": -6, "status": 503,
        }),
    }
}

#[track_caller]
fn is_unavailable(reply: &Reply, dialect: &str) {
    assert_eq!(
        (reply.status, reply.json()),
        (503, unavailable(dialect)),
        "{dialect}: {reply:?}"
    );
    assert!(reply.header("retry-after").parse::<u32>().unwrap() > 0, "{dialect}");
    assert_eq!(reply.header("content-type"), "application/json", "{dialect}");
}

async fn a_fault_is_told_in_the_shape_of_the_asked_dialect(engine: Engine) {
    let app = App::start(engine).await;
    let all = everything(&app).await;
    for table in ["names", "secrets", "sessions"] {
        sql(&app, &format!("ALTER TABLE {table} RENAME TO {table}_gone")).await;
    }
    let mut told = Vec::new();
    for ask in &all {
        told.push(ask.send(&app).await);
    }
    for table in ["names", "secrets", "sessions"] {
        sql(&app, &format!("ALTER TABLE {table}_gone RENAME TO {table}")).await;
    }
    for (ask, reply) in all.iter().zip(told) {
        let status = if ask.dialect == "verify" { 401 } else { 500 };
        assert_eq!(
            (reply.status, reply.json()),
            (status, fault(ask)),
            "{} {reply:?}",
            ask.path
        );
    }
}

async fn a_full_queue_is_told_in_the_shape_of_the_asked_dialect(engine: Engine) {
    let narrow = [
        ("REGISTRY__PASSWORDS__THREADS", "1"),
        ("REGISTRY__PASSWORDS__QUEUE", "1"),
        ("REGISTRY__PASSWORDS__WAIT_MS", "1"),
        ("REGISTRY__PASSWORDS__MEMORY_KIB", "65536"),
    ];
    let app = App::start_with(engine, &narrow).await;
    for ask in &entrances() {
        let mut full = 0;
        // On a busy machine twelve may come one after the other.
        for _ in 0..10 {
            let all = futures::future::join_all((0..12).map(|_| ask.send(&app))).await;
            for reply in all.iter().filter(|reply| reply.status >= 500) {
                is_unavailable(reply, ask.dialect);
                full += 1;
            }
            if full > 0 {
                break;
            }
        }
        assert!(full > 0, "{}: nobody met a full queue", ask.dialect);
    }
}

/// As one is that another server has taken over from.
#[test]
fn a_database_that_can_only_be_read_is_away_until_it_can_be_written() {
    run(without_writes());
}

async fn without_writes() {
    let app = App::start(Engine::Postgres).await;
    let Log::Postgres(mut raw) = app.log().await else {
        unreachable!()
    };
    let register = async |username: &str| {
        let body = json!({ "username": username, "password": STRONG });
        app.command("register-user", &body).send().await
    };
    let ready = async || app.get("/readyz").send().await.status;
    assert_eq!((register("ada").await.status, ready().await), (201, 200));
    for (only_read, status) in [("on", 503), ("off", 201)] {
        let set = format!(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = {only_read}',
                 current_database()); END $$"
        );
        raw.execute(set.as_str()).await.unwrap();
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        raw.execute(end).await.unwrap();
        // What was read on a connection that has been ended is away as well, and tells nothing of writing.
        until("the service to notice", || async {
            let reply = register("eve").await;
            assert!([503, status].contains(&reply.status), "{reply:?}");
            let noticed = reply.status == status && (status == 201 || ready().await == 503);
            noticed.then_some(())
        })
        .await;
    }
    until("the service to be ready", || async {
        (ready().await == 200).then_some(())
    })
    .await;
}

#[test]
fn a_database_that_is_gone_is_told_in_the_shape_of_the_asked_dialect() {
    run(without_its_database(Wire::Cut));
}

#[test]
fn a_database_that_hangs_is_told_in_the_shape_of_the_asked_dialect() {
    run(without_its_database(Wire::Dead));
}

async fn without_its_database(wire: Wire) {
    let (app, line) = App::start_on_a_line().await;
    let all = everything(&app).await;
    line.is(wire);
    let mut slowest = [Duration::ZERO; 2];
    for ask in &all {
        let asked = Instant::now();
        let reply = ask.send(&app).await;
        is_unavailable(&reply, ask.dialect);
        let of = &mut slowest[usize::from(ask.method != "GET")];
        *of = (*of).max(asked.elapsed());
    }
    told!(
        "{wire:?}: the slowest read was answered after {:?}, the slowest write after {:?}",
        slowest[0],
        slowest[1]
    );
    // Three seconds, twice for a machine that does other things.
    let slowest = slowest[0].max(slowest[1]);
    assert!(slowest < Duration::from_secs(6), "{slowest:?}");
    line.is(Wire::Whole);
}

async fn a_bare_code_is_not_looked_for_among_too_many(engine: Engine) {
    let app = App::start(engine).await;
    let registering = json!({ "msisdn": "84932466", "password": STRONG, "password_confirmation": STRONG });
    assert_eq!(app.ask("POST", "/api/v1/users", &registering).await.status, 201);
    let code = app.phones().to("84932466").await.code();
    // As many live codes as may be searched, this one among them; then one more.
    let (text, blob) = match engine {
        Engine::Postgres => ("lpad(n::text, 64, '0')", "decode(lpad(n::text, 64, '0'), 'hex')"),
        Engine::Sqlite => ("printf('%064d', n)", "CAST(printf('%032d', n) AS BLOB)"),
    };
    let more = |from: u32, to: u32| {
        format!(
            "WITH RECURSIVE many(n) AS (SELECT {from} UNION ALL SELECT n + 1 FROM many WHERE n < {to}) \
             INSERT INTO codes (purpose, value, request_id, user_id, expires_at, tries) \
             SELECT 'verify-phone', {blob}, {text}, {text}, 9000000000000000, 0 FROM many"
        )
    };
    sql(&app, &more(1, 1_000)).await;
    let body = json!({ "code": code });
    let bare = || app.ask("POST", "/api/v1/users/verify", &body);
    let refused = crate::xhoppe::invalid(&json!({ "msisdn": ["can't be blank"] }));
    crate::trio::is(&bare().await, 422, &refused);
    sql(
        &app,
        "DELETE FROM codes WHERE user_id IN (SELECT max(user_id) FROM codes WHERE expires_at = 9000000000000000)",
    )
    .await;
    assert_eq!(bare().await.status, 200);
}

async fn customers_are_counted_by_where_they_come_from(engine: Engine) {
    let app = App::start_with(engine, &[("REGISTRY__LIMITS__ENABLED", "true")]).await;
    // By default; what is refused counts too, since it tells which names are taken.
    for number in 1..=21 {
        let body = json!({ "username": "", "email": "x", "password": number });
        let reply = app.ask("POST", "/api/v1/user/register", &body).await;
        let expected = if number <= 20 { (400, -4) } else { (429, -5) };
        assert_eq!(
            (reply.status, reply.json()["error_code"].as_i64()),
            (expected.0, Some(expected.1)),
            "{number}: {reply:?}"
        );
    }
}

async fn headers_beyond_the_bound_are_refused_in_the_asked_ones_shape(engine: Engine) {
    let app = App::start(engine).await;
    // Fields of 64 KiB and more; the readers of one path send one that is nearly as long.
    for (bytes, over) in [(60_000, false), (66_000, true)] {
        for ask in entrances()
            .iter()
            .chain([&Ask::new("verify", "GET", "/verify-api-secret-keys", Value::Null)])
        {
            let ask = Ask {
                headers: vec![("x-long", "y".repeat(bytes))],
                body: ask.body.clone(),
                ..*ask
            };
            let reply = ask.send(&app).await;
            let beyond = matches!(reply.status, 413 | 431);
            assert_eq!(beyond, over, "{} of {bytes}: {reply:?}", ask.path);
            if !over {
                continue;
            }
            let body = reply.json();
            match ask.dialect {
                "agstack" => assert!(body["message"].is_string(), "{reply:?}"),
                "verify" => assert_eq!(body["message"], false, "{reply:?}"),
                dialect => crate::trio::shaped(&reply, dialect),
            }
        }
    }
}
