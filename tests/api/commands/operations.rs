//! What operators and other services ask for.

use insta::{allow_duplicates, assert_snapshot};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use user_registry::http::problem::Slug;

use crate::harness::{App, Engine, on_both_engines};

on_both_engines![
    others_verify_our_tokens_with_the_published_keys,
    health_readiness_and_metrics_are_told,
    every_problem_has_a_page,
    head_is_get_without_its_body,
    what_is_no_http_upsets_nobody,
    a_client_that_waits_to_be_asked_is_told_before_it_sends,
    whoever_is_too_slow_is_let_go,
];

async fn others_verify_our_tokens_with_the_published_keys(engine: Engine) {
    let app = App::start_with(engine, &[("REGISTRY__TOKENS__ISSUER", "https://registry.example")]).await;
    let ada = app.user("ada").await;
    let reply = app.get("/.well-known/jwks.json").send().await;
    assert_eq!((reply.status, reply.header("content-type")), (200, "application/json"));
    let published = reply.json();
    assert!(
        published["keys"][0].get("d").is_none() && published["keys"].as_array().unwrap().len() == 1,
        "{published}"
    );
    user_registry::tokens::use_ring();
    let keys: JwkSet = serde_json::from_value(published).unwrap();
    let header = jsonwebtoken::decode_header(&ada.access).unwrap();
    assert_eq!((header.alg, header.typ.as_deref()), (Algorithm::EdDSA, Some("at+jwt")));
    let key = DecodingKey::from_jwk(keys.find(header.kid.as_deref().unwrap()).unwrap()).unwrap();
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_issuer(&["https://registry.example"]);
    validation.set_audience(&["user-registry"]);
    let claims = decode::<Value>(&ada.access, &key, &validation).unwrap().claims;
    let mut names: Vec<&String> = claims.as_object().unwrap().keys().collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "aud",
            "client_id",
            "cv",
            "exp",
            "iat",
            "iss",
            "jti",
            "roles",
            "sid",
            "sub"
        ]
    );
    assert_eq!(
        (&claims["sub"], &claims["sid"], &claims["roles"]),
        (&json!(ada.user), &json!(ada.session), &json!(["user"]))
    );
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 600);
}

async fn health_readiness_and_metrics_are_told(engine: Engine) {
    let app = App::start(engine).await;
    let health = app.get("/healthz").send().await;
    assert_eq!((health.status, health.body.as_str()), (200, r#"{"status":"ok"}"#));
    let ready = app.get("/readyz").send().await;
    allow_duplicates! { assert_snapshot!(format!("{} {}", ready.status, ready.body), @r#"200 {"status":"ready","parts":[{"name":"store","ready":true}]}"#) }
    app.get("/v1/users/0197a1b2-0000-7000-8000-000000000001").send().await;
    app.get("/nothing/of/ours").send().await;
    let metrics = app.get("/metrics").send().await;
    assert_eq!(
        (metrics.status, metrics.header("content-type")),
        (200, "text/plain; version=0.0.4; charset=utf-8")
    );
    // Routes by their pattern, never by what somebody typed.
    let line = r#"registry_http_requests_total{method="GET",route="/v1/users/{id}",status="401"} 1"#;
    assert!(metrics.body.contains(line), "{}", metrics.body);
    let line = r#"registry_http_requests_total{method="GET",route="none",status="404"} 1"#;
    assert!(metrics.body.contains(line), "{}", metrics.body);
    assert!(
        !metrics.body.contains("0197a1b2") && !metrics.body.contains("nothing"),
        "{}",
        metrics.body
    );
}

async fn every_problem_has_a_page(engine: Engine) {
    let app = App::start(engine).await;
    for slug in Slug::ALL {
        let page = app
            .get(&format!("/problems/{slug}"))
            .header("accept", "text/html")
            .send()
            .await;
        assert_eq!(
            (page.status, page.header("content-type")),
            (200, "text/html; charset=utf-8")
        );
        assert!(page.body.contains(slug.as_str()), "{}", page.body);
        let text = app.get(&format!("/problems/{slug}")).send().await;
        assert_eq!(
            (text.status, text.header("content-type")),
            (200, "text/plain; charset=utf-8")
        );
    }
}

async fn head_is_get_without_its_body(engine: Engine) {
    let app = App::start(engine).await;
    let ada = app.user("ada").await;
    for path in ["/v1/me", "/healthz", "/v1/sessions", "/v1/nothing", "/v1/users"] {
        let get = app.get(path).bearer(&ada.access).send().await;
        let head = app.call("HEAD", path).bearer(&ada.access).send().await;
        assert_eq!((head.status, head.body.as_str()), (get.status, ""), "{path}");
        for name in ["etag", "content-type", "content-length", "cache-control"] {
            assert_eq!(head.header(name), get.header(name), "{path} {name}");
        }
    }
}

/// Sends bytes and reads what comes back until the end of the connection.
async fn raw(app: &App, bytes: &[u8], and_hangs_up: bool) -> String {
    let mut stream = tokio::net::TcpStream::connect(app.server.address()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    if and_hangs_up {
        stream.shutdown().await.unwrap();
    }
    let mut answer = Vec::new();
    // A connection that is cut is an answer too.
    let _ = tokio::time::timeout(crate::harness::LONG, stream.read_to_end(&mut answer))
        .await
        .unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

async fn what_is_no_http_upsets_nobody(engine: Engine) {
    let app = App::start(engine).await;
    let many = |count: usize, value: &str| {
        let lines: Vec<String> = (0..count).map(|number| format!("x-{number}: {value}\r\n")).collect();
        lines.concat()
    };
    let get =
        |headers: &str| format!("GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n").into_bytes();
    let body = "POST /v1/sessions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n";
    // What is larger than any buffer is cut off; whether the answer arrives before that is chance.
    for (what, bytes, status) in [
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), "400"),
        ("zeros", vec![0; 4_096], "400"),
        ("no version", b"GET /healthz\r\n\r\n".to_vec(), "400"),
        ("another version", b"GET /healthz HTTP/9.9\r\n\r\n".to_vec(), "400"),
        ("a header without a name", get(": x\r\n"), "400"),
        ("a header with a NUL", get("x-a: a\0b\r\n"), "400"),
        ("a folded header", get("x-a: a\r\n b\r\n"), "400"),
        ("two hundred headers", get(&many(200, "y")), "431"),
        (
            "a header of 100 KiB",
            get(&format!("x-a: {}\r\n", "a".repeat(100 << 10))),
            "",
        ),
        ("headers of 70 KiB", get(&many(70, &"a".repeat(1_000))), ""),
        (
            "a path of 100 KiB",
            format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(100 << 10)).into_bytes(),
            "",
        ),
        (
            "two lengths",
            format!("{body}content-length: 2\r\ncontent-length: 3\r\n\r\n{{}}").into_bytes(),
            "400",
        ),
        (
            "a length and chunks",
            format!("{body}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n").into_bytes(),
            "4",
        ),
        (
            "a negative length",
            format!("{body}content-length: -1\r\n\r\n{{}}").into_bytes(),
            "400",
        ),
        (
            "chunks that are none",
            format!("{body}transfer-encoding: chunked\r\n\r\nzz\r\n{{}}\r\n").into_bytes(),
            "400",
        ),
        (
            "a body that breaks off",
            format!("{body}content-length: 100\r\n\r\n{{").into_bytes(),
            "",
        ),
        ("an unfinished head", b"GET /healthz HTTP/1.1\r\nhost".to_vec(), ""),
        ("nothing", Vec::new(), ""),
    ] {
        let answer = raw(&app, &bytes, status.is_empty()).await;
        let line = answer.lines().next().unwrap_or_default();
        let told = line
            .strip_prefix("HTTP/1.1 ")
            .or(line.strip_prefix("HTTP/1.0 "))
            .unwrap_or_default();
        assert!(
            told.starts_with(status) && !told.starts_with(['2', '5']),
            "{what}: {answer}"
        );
    }
    let answer = raw(&app, &get(""), false).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(!app.server.log().contains("panicked"), "{}", app.server.log());
}

async fn a_client_that_waits_to_be_asked_is_told_before_it_sends(engine: Engine) {
    let app = App::start(engine).await;
    let head = "POST /v1/sessions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nexpect: 100-continue\r\n";
    // Too large: refused without being asked for it.
    let mut stream = tokio::net::TcpStream::connect(app.server.address()).await.unwrap();
    stream
        .write_all(format!("{head}content-length: 10485760\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(crate::harness::LONG, stream.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    // Small enough: asked for, then answered.
    let mut stream = tokio::net::TcpStream::connect(app.server.address()).await.unwrap();
    stream
        .write_all(format!("{head}connection: close\r\ncontent-length: 2\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut asked = [0; 25];
    tokio::time::timeout(crate::harness::LONG, stream.read_exact(&mut asked))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(std::str::from_utf8(&asked).unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"{}").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

async fn whoever_is_too_slow_is_let_go(engine: Engine) {
    let settings = [
        ("REGISTRY__HTTP__HEADER_MS", "200"),
        ("REGISTRY__HTTP__BODY_MS", "200"),
        ("REGISTRY__HTTP__IDLE_MS", "200"),
    ];
    let app = App::start_with(engine, &settings).await;
    let body = "POST /v1/sessions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n{";
    for (what, sent, answer) in [
        ("silent from the beginning", "", ""),
        ("in the midst of a head", "GET /healthz HTTP/1.1\r\nhost", ""),
        (
            "silent after an answer",
            "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n",
            "HTTP/1.1 200 ",
        ),
        ("in the midst of a body", body, "HTTP/1.1 400 "),
    ] {
        let mut stream = tokio::net::TcpStream::connect(app.server.address()).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut told = Vec::new();
        let end = tokio::time::timeout(crate::harness::LONG, stream.read_to_end(&mut told)).await;
        let _ = end.unwrap_or_else(|_| panic!("{what}: still connected"));
        let told = String::from_utf8_lossy(&told);
        assert!(
            told.starts_with(answer) && !told.starts_with("HTTP/1.1 5"),
            "{what}: {told}"
        );
    }
}
