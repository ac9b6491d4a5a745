//! `http.cors_origins`: pages of other origins.

use crate::harness::{App, Engine, Reply, on_both_engines};

on_both_engines![only_pages_of_named_origins_may_call];

const APP: &str = "https://app.example";

async fn preflight(app: &App, path: &str, origin: &str) -> Reply {
    app.call("OPTIONS", path)
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type")
        .send()
        .await
}

async fn only_pages_of_named_origins_may_call(engine: Engine) {
    let settings = [(
        "REGISTRY__HTTP__CORS_ORIGINS",
        "https://app.example,http://localhost:3000",
    )];
    let app = App::start_with(engine, &settings).await;
    for origin in [APP, "http://localhost:3000"] {
        let reply = preflight(&app, "/v1/sessions", origin).await;
        assert_eq!((reply.status, reply.body.as_str()), (204, ""), "{reply:?}");
        assert_eq!(reply.header("access-control-allow-origin"), origin);
        assert_eq!(reply.header("vary"), "Origin");
        let methods = reply.header("access-control-allow-methods");
        assert_eq!(methods, "POST, GET, HEAD, DELETE", "what the path has");
        let headers = reply.header("access-control-allow-headers").to_ascii_lowercase();
        for name in ["authorization", "content-type", "idempotency-key", "if-match"] {
            assert!(headers.contains(name), "{headers}");
        }
        let reply = app.get("/v1/me").header("origin", origin).send().await;
        reply.refused(401, "unauthenticated");
        assert_eq!(reply.header("access-control-allow-origin"), origin);
        assert!(reply.header("access-control-expose-headers").contains("Retry-After"));
    }
    for origin in [
        "https://app.example.evil",
        "http://app.example",
        "null",
        "https://app.example:8443",
        "*",
    ] {
        let reply = preflight(&app, "/v1/sessions", origin).await;
        reply.refused(405, "method-not-allowed");
        let read = app.get("/healthz").header("origin", origin).send().await;
        assert_eq!(read.status, 200);
        for reply in [reply, read] {
            assert_eq!(reply.header("access-control-allow-origin"), "", "{origin}");
            assert_eq!(reply.header("vary"), "Origin");
        }
    }
    preflight(&app, "/v1/nothing", APP).await.refused(404, "not-found");
    // An OPTIONS that is no preflight is a method like others.
    let plain = app.call("OPTIONS", "/v1/me").header("origin", APP).send().await;
    plain.refused(405, "method-not-allowed");
    assert_eq!(plain.header("access-control-allow-credentials"), "");
    // Without the setting there is none of it.
    let app = App::start(engine).await;
    let reply = preflight(&app, "/v1/sessions", APP).await;
    reply.refused(405, "method-not-allowed");
    assert_eq!(
        (reply.header("vary"), reply.header("access-control-allow-origin")),
        ("", "")
    );
}
