//! Section 5.2 and hole H17: what is pushed to the asset registry, where its operator wants that.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use tokio::net::TcpListener;

use super::web::{PASSWORD, Web, claims};
use crate::harness::{App, Engine, on_both_engines, until};

on_both_engines![
    the_tokens_of_a_body_login_are_pushed_and_their_end_is_told,
    no_answer_changes_a_login,
    nothing_is_pushed_unless_it_is_wanted,
];

const EMAIL: &str = "ada@farm.example";

/// What the asset registry does with a request.
#[derive(Clone, Copy)]
enum Answer {
    Status(u16),
    /// Nothing, for ever.
    Silence,
}

/// What the peer answers, and what it was told so far.
type Shared = Arc<Mutex<(Answer, Vec<Received>)>>;

#[derive(Debug, Clone)]
struct Received {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl Received {
    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    /// The access token and the refresh token.
    fn tokens(&self) -> (&str, &str) {
        let access = self.header("authorization").strip_prefix("Bearer ").unwrap();
        (access, self.header("x-refresh-token"))
    }
}

/// An asset registry. Gone when dropped.
struct Assets {
    address: SocketAddr,
    state: Shared,
    task: tokio::task::JoinHandle<()>,
}

impl Assets {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new((Answer::Status(200), Vec::new())));
        let router = Router::new().fallback(take).with_state(state.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, state, task }
    }

    fn answer(&self, answer: Answer) {
        self.state.lock().unwrap().0 = answer;
    }

    fn received(&self) -> Vec<Received> {
        self.state.lock().unwrap().1.clone()
    }

    /// The so-manieth request, once it has come.
    async fn nth(&self, count: usize) -> Received {
        until(&format!("push {count}"), || async {
            self.received().get(count - 1).cloned()
        })
        .await
    }
}

impl Drop for Assets {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(State(state): State<Shared>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let answer = {
        let mut state = state.lock().unwrap();
        state.1.push(Received { method, uri, headers });
        state.0
    };
    match answer {
        Answer::Status(status) => {
            let status = StatusCode::from_u16(status).unwrap();
            // Where a redirect leads, if one is followed.
            (status, [("location", "/followed")]).into_response()
        }
        Answer::Silence => std::future::pending().await,
    }
}

async fn pushing_to(engine: Engine, url: &str) -> App {
    let settings = [
        ("REGISTRY__AGSTACK__ASSET_REGISTRY_URL", url),
        ("REGISTRY__AGSTACK__PUSH_TOKENS", "true"),
        ("RUST_LOG", "trace"),
    ];
    App::start_with(engine, &settings).await
}

/// Waits until so many pushes have ended so.
async fn counted(app: &App, push: &str, outcome: &str, times: usize) {
    let mut line = format!(r#"registry_agstack_pushes_total{{push="{push}",outcome="{outcome}"}} {times}"#);
    line.push('\n');
    until(&line, || async {
        let metrics = app.get("/metrics").send().await.body;
        metrics.contains(&line).then_some(())
    })
    .await;
}

async fn the_tokens_of_a_body_login_are_pushed_and_their_end_is_told(engine: Engine) {
    let assets = Assets::start().await;
    let app = pushing_to(engine, &format!("http://{}/", assets.address)).await;
    let (web, browser) = (Web::python(&app), Web::browser(&app));
    let user = web.signs_up(EMAIL).await;
    // The header login is the asset registry's own: it reads the answer.
    let reply = web
        .get("/")
        .header("x-asset-registry", "True")
        .header("x-email", EMAIL)
        .header("x-password", PASSWORD)
        .send()
        .await;
    assert_eq!(reply.status, 200, "{reply:?}");

    let (access, refresh) = web.logs_in(EMAIL).await;
    let first = assets.nth(1).await;
    assert_eq!((first.method.as_str(), first.uri.path()), ("GET", "/"));
    assert_eq!(first.tokens(), (access.as_str(), refresh.as_str()));
    // Whoever is logged in already, and whoever fails, begins no session.
    assert_eq!(web.get("/login").bearer(&access).send().await.status, 200);
    let wrong = json!({ "email": EMAIL, "password": "Wrong0rd" });
    assert_eq!(web.post("/login", &wrong).send().await.status, 401);
    // A browser's form is a body too.
    browser.get("/login").send().await;
    let token = browser.cookie("form_token").unwrap_or_default();
    let fields = [("email", EMAIL), ("password", PASSWORD), ("form_token", token.as_str())];
    until("the end of a pause", async || {
        (browser.form("/login", &fields).send().await.status == 302).then_some(())
    })
    .await;
    let second = assets.nth(2).await;
    assert_eq!(second.uri.path(), "/");
    assert_eq!(second.tokens().0, browser.cookie("access_token_cookie").unwrap());
    counted(&app, "login", "taken", 2).await;

    // The peer that tells us knows already.
    let (told_by_peer, _) = web.logs_in(EMAIL).await;
    assets.nth(3).await;
    web.get("/logout")
        .bearer(&told_by_peer)
        .header("x-from-asset-registry", "")
        .says(200, "Successfully logged out")
        .await;
    // Whichever token is shown, both are told.
    web.call("DELETE", "/logout")
        .bearer(&refresh)
        .says(200, "Successfully logged out")
        .await;
    let end = assets.nth(4).await;
    assert_eq!((end.method.as_str(), end.uri.path()), ("GET", "/logout"));
    let (last_access, last_refresh) = end.tokens();
    for (token, kind) in [(last_access, "access"), (last_refresh, "refresh")] {
        let said = claims(token);
        assert_eq!((&said["type"], &said["sub"]), (&json!(kind), &json!(user)));
        let life = said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap();
        assert_eq!(life, 60, "{said}");
    }
    assert_eq!(web.get("/refresh").bearer(last_refresh).send().await.status, 401);
    assert_eq!(claims(last_access)["is_activated"], json!(false));
    counted(&app, "logout", "taken", 1).await;
    // Of a session that is over nothing more is told.
    assert_eq!(web.get("/logout").bearer(&access).send().await.status, 401);
    browser.get("/logout").leads_to("/").await;
    assert_eq!(assets.nth(5).await.uri.path(), "/logout");
    assert_eq!(assets.received().len(), 5);

    let log = app.server.log();
    for push in assets.received() {
        let (access, refresh) = push.tokens();
        assert!(!log.contains(access) && !log.contains(refresh), "a token is in the log");
    }
}

async fn no_answer_changes_a_login(engine: Engine) {
    let assets = Assets::start().await;
    let app = pushing_to(engine, &format!("http://{}", assets.address)).await;
    let web = Web::python(&app);
    web.signs_up(EMAIL).await;
    for (times, status) in [(1, 401), (2, 500), (3, 302)] {
        assets.answer(Answer::Status(status));
        web.logs_in(EMAIL).await;
        assets.nth(times).await;
        counted(&app, "login", "refused", times).await;
    }
    // It hangs: the login has its answer, the push is given up.
    assets.answer(Answer::Silence);
    let (access, _) = web.logs_in(EMAIL).await;
    assets.nth(4).await;
    counted(&app, "login", "late", 1).await;
    let paths: Vec<_> = assets.received().iter().map(|one| one.uri.path().to_owned()).collect();
    assert_eq!(
        paths,
        ["/", "/", "/", "/"],
        "no redirect is followed, nothing is repeated"
    );
    // One line for the change, not one for each.
    let complaint = "the asset registry does not take tokens";
    assert_eq!(app.server.log().matches(complaint).count(), 1);
    assets.answer(Answer::Status(204));
    // It is left alone for a while, and then tried again.
    let spared = Cell::new(0);
    until("a push to be tried again", || async {
        web.logs_in(EMAIL).await;
        let line = r#"registry_agstack_pushes_total{push="login",outcome="spared"} "#;
        let metrics = app.get("/metrics").send().await.body;
        let told = metrics
            .lines()
            .find_map(|metric| metric.strip_prefix(line)?.parse().ok());
        let before = spared.replace(told.unwrap_or(0));
        (spared.get() == before).then_some(())
    })
    .await;
    told!("{engine:?}: {} pushes were not tried", spared.get());
    counted(&app, "login", "taken", 1).await;
    until("a line for the better", || async {
        app.server
            .log()
            .contains("the asset registry takes tokens again")
            .then_some(())
    })
    .await;

    // A push that is under way does not hold up the end.
    assets.answer(Answer::Silence);
    web.get("/logout")
        .bearer(&access)
        .says(200, "Successfully logged out")
        .await;
    assets.nth(6).await;
    let App { server, place, .. } = app;
    server.terminate();
    until("the end", || async { server.log().contains("stopped").then_some(()) }).await;
    assert!(!server.log().contains("did not end in time"), "{}", server.log());
    assert_eq!(server.end().await, Some(0));
    drop(place);
}

async fn nothing_is_pushed_unless_it_is_wanted(engine: Engine) {
    let assets = Assets::start().await;
    let url = format!("http://{}", assets.address);
    let app = App::start_with(engine, &[("REGISTRY__AGSTACK__ASSET_REGISTRY_URL", url.as_str())]).await;
    let web = Web::python(&app);
    web.signs_up(EMAIL).await;
    let (access, _) = web.logs_in(EMAIL).await;
    web.get("/logout")
        .bearer(&access)
        .says(200, "Successfully logged out")
        .await;
    let metrics = app.get("/metrics").send().await.body;
    assert!(!metrics.contains("registry_agstack_pushes_total{"), "{metrics}");
    assert!(assets.received().is_empty());

    // Nobody listens there any more.
    drop(assets);
    let app = pushing_to(engine, &url).await;
    let web = Web::python(&app);
    web.signs_up(EMAIL).await;
    web.logs_in(EMAIL).await;
    counted(&app, "login", "unreachable", 1).await;
}
