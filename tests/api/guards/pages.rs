//! The pages behind links when they cannot do what they are there for: whoever presses a button is told the truth.

use futures::future::join_all;
use serde_json::json;

use super::ON;
use crate::agstack::faults::run;
use crate::harness::{App, Engine, Reply, on_both_engines, until};
use crate::trio::STRONG;

on_both_engines![
    a_button_pressed_too_often_is_told_when_to_come_back,
    a_fault_of_ours_is_told_and_logged_and_uses_up_no_link,
    a_full_queue_is_told_with_a_time_to_come_back,
];

async fn press(app: &App, path: &str, fields: String) -> Reply {
    app.call("POST", path)
        .header("content-type", "application/x-www-form-urlencoded")
        .raw(fields)
        .send()
        .await
}

#[track_caller]
fn is_page(reply: &Reply, status: u16, says: &str) {
    assert_eq!(reply.status, status, "{reply:?}");
    assert_eq!(reply.header("content-type"), "text/html; charset=utf-8");
    assert!(reply.body.contains(says), "{reply:?}");
    let waits = matches!(status, 429 | 503);
    let seconds = reply.header("retry-after").parse().unwrap_or(0);
    assert_eq!(waits, seconds > 0, "{reply:?}");
}

/// Registers somebody through the dialect; where the button of their link leads to.
async fn cadasta_link(app: &App, name: &str) -> String {
    let address = format!("{name}@farm.example");
    let body = json!({ "username": name, "email": address, "password": STRONG });
    assert_eq!(app.ask("POST", "/api/v1/account/register/", &body).await.status, 201);
    let (uid, token) = crate::cadasta::link(&app.mailbox().to(&address).await);
    format!("/account/activate/{uid}/{token}/")
}

async fn a_button_pressed_too_often_is_told_when_to_come_back(engine: Engine) {
    let app = App::start_with(engine, &[ON, ("REGISTRY__LIMITS__SECRETS_PER_MINUTE", "2")]).await;
    let link = cadasta_link(&app, "ada").await;
    for _ in 0..2 {
        let wrong = press(&app, "/account/activate/x/y/", String::new()).await;
        is_page(&wrong, 410, "This link does not work");
    }
    for path in [link.as_str(), "/account/password/reset/confirm/x/y"] {
        let reply = press(&app, path, String::new()).await;
        is_page(&reply, 429, "Please try again");
        assert!(reply.header("ratelimit").starts_with("\"secret\";r=0;"), "{reply:?}");
    }
    // Nobody looks at a link that is only opened.
    is_page(&app.get(&link).send().await, 200, "Confirm your e-mail address");
}

async fn a_fault_of_ours_is_told_and_logged_and_uses_up_no_link(engine: Engine) {
    let app = App::start(engine).await;
    let link = cadasta_link(&app, "ada").await;
    let body = json!({ "email": "eve@farm.example", "password": STRONG });
    app.command("register-user", &body).expect(201).await;
    let token = format!("token={}", app.mailbox().to("eve@farm.example").await.token());
    let presses = [
        (link.as_str(), String::new(), "/account/activate/{uid}/{token}/"),
        ("/verify-email", token, "/verify-email"),
    ];
    run(&app, "ALTER TABLE log_head RENAME TO log_head_gone").await;
    let told = join_all(
        presses
            .iter()
            .map(|(path, fields, _)| press(&app, path, fields.clone())),
    )
    .await;
    run(&app, "ALTER TABLE log_head_gone RENAME TO log_head").await;
    for reply in &told {
        is_page(reply, 500, "Something went wrong");
    }
    let log = app.server.log();
    let logged = log
        .lines()
        .filter(|line| line.contains("a request met a fault of ours"));
    assert!(logged.count() >= presses.len(), "{log}");
    let metrics = app.get("/metrics").send().await.body;
    for (path, fields, route) in presses {
        let counted = metrics
            .lines()
            .any(|line| line.contains(&format!("route=\"{route}\",status=\"500\"}} 1")));
        assert!(counted, "{route}: {metrics}");
        let done = until("the link to work", || async {
            let reply = press(&app, path, fields.clone()).await;
            (reply.status == 200).then_some(reply)
        })
        .await;
        is_page(&done, 200, "is confirmed");
    }
}

async fn a_full_queue_is_told_with_a_time_to_come_back(engine: Engine) {
    let narrow = [
        ("REGISTRY__PASSWORDS__THREADS", "1"),
        ("REGISTRY__PASSWORDS__QUEUE", "1"),
        ("REGISTRY__PASSWORDS__MEMORY_KIB", "65536"),
    ];
    let app = App::start_with(engine, &narrow).await;
    app.with_email("ada").await;
    // On a busy machine they may come one after the other, and the first one uses the link.
    let mut mails = 1;
    let full = until("a full queue", || {
        mails += 1;
        let (app, number) = (&app, mails);
        async move {
            let body = json!({ "email": "ada@farm.example" });
            app.command("request-password-reset", &body).expect(202).await;
            let token = app
                .mailbox()
                .nth_to("ada@farm.example", number)
                .await
                .token()
                .to_owned();
            let fields = format!("token={token}&new_password=brisk+meadow+saddle");
            let replies = join_all((0..20).map(|_| press(app, "/reset-password", fields.clone()))).await;
            replies.into_iter().find(|reply| reply.status == 503)
        }
    })
    .await;
    is_page(&full, 503, "Please try again");
}
