//! Links that verify an address.

use serde_json::{Value, json};

use crate::harness::{App, Engine, PASSWORD, Reply, encoded, on_both_engines, until};

on_both_engines![
    the_link_works_once_and_its_second_visit_is_no_error,
    a_link_asked_for_again_is_the_same_link,
    the_public_learns_nothing_from_asking,
    a_link_opens_nothing_but_its_own_account,
    the_page_of_a_link_changes_nothing_until_its_button,
    a_link_begins_with_what_is_configured_whatever_a_request_says,
];

async fn registered(app: &App, name: &str) -> (String, String) {
    let address = format!("{name}@farm.example");
    let body = json!({ "username": name, "email": address, "password": PASSWORD });
    let receipt = app.command("register-user", &body).expect(201).await;
    (receipt["id"].as_str().unwrap().to_owned(), address)
}

async fn verify(app: &App, token: &str) -> Reply {
    app.command("verify-email", &json!({ "token": token })).send().await
}

async fn the_link_works_once_and_its_second_visit_is_no_error(engine: Engine) {
    let app = App::start(engine).await;
    let (id, address) = registered(&app, "ada").await;
    let mail = app.mailbox().to(&address).await;
    assert_eq!(mail.subject, "Please confirm your e-mail address");
    // Named by the position of what asked for it: registered, then asked.
    assert_eq!(mail.name, format!("{:020}", 2));
    let first = verify(&app, mail.token()).await;
    assert_eq!(
        (first.status, first.header("etag"), first.header("location")),
        (200, "\"3\"", "")
    );
    assert_eq!(
        first.json(),
        json!({ "id": id, "version": 3, "position": 4, "events": ["user.email_verified"] })
    );
    let head = app.log().await.head().await;
    let second = verify(&app, mail.token()).await;
    assert_eq!(second.status, 200);
    assert_eq!(
        second.json(),
        json!({ "id": id, "version": 3, "position": 4, "events": [] })
    );
    assert_eq!(app.log().await.head().await, head);
    let ada = app.sign_in("ada", PASSWORD).await;
    let me = app.get("/v1/me").bearer(&ada.access).expect(200).await;
    assert_eq!((&me["email_verified"], &me["status"]), (&json!(true), &json!("active")));
    // Twice at once is no more.
    let (_, address) = registered(&app, "eve").await;
    let token = app.mailbox().to(&address).await.token().to_owned();
    let replies = futures::future::join_all((0..10).map(|_| verify(&app, &token))).await;
    let wrote = replies
        .iter()
        .filter(|reply| reply.json()["events"] != json!([]))
        .count();
    assert!(
        wrote == 1 && replies.iter().all(|reply| reply.status == 200),
        "{replies:?}"
    );
}

async fn asks_again(app: &App, address: &str) -> Reply {
    app.command("request-email-verification", &json!({ "email": address }))
        .send()
        .await
}

async fn a_link_asked_for_again_is_the_same_link(engine: Engine) {
    let app = App::start(engine).await;
    let (id, address) = registered(&app, "ada").await;
    let first = app.mailbox().to(&address).await;
    assert_eq!(asks_again(&app, "ADA@Farm.Example").await.status, 202);
    let second = app.mailbox().nth_to(&address, 2).await;
    assert_eq!(first.link(), second.link());
    let verified = verify(&app, second.token()).await;
    assert_eq!(verified.json()["events"], json!(["user.email_verified"]));
    assert_eq!(verify(&app, first.token()).await.json()["events"], json!([]));

    // Whoever is verified is sent nothing; asking for oneself is answered with a receipt.
    let ada = app.sign_in("ada", PASSWORD).await;
    assert_eq!(asks_again(&app, &address).await.status, 202);
    let own = app
        .command("request-email-verification", &json!({ "email": address }))
        .bearer(&ada.access)
        .send()
        .await;
    assert_eq!((own.status, own.json()["id"].as_str()), (200, Some(id.as_str())));
    assert_eq!(own.json()["events"], json!([]));
    assert_eq!(app.mailbox().mails().len(), 2);
}

async fn the_public_learns_nothing_from_asking(engine: Engine) {
    let app = App::start(engine).await;
    let (_, pending) = registered(&app, "ada").await;
    let (_, verified) = registered(&app, "eve").await;
    let token = app.mailbox().to(&verified).await.token().to_owned();
    assert_eq!(verify(&app, &token).await.status, 200);
    let mut rounds = Vec::new();
    for address in [
        pending.as_str(),
        verified.as_str(),
        "nobody@farm.example",
        "nobody@unknown.example",
    ] {
        let key = format!("key of {address}").replace(' ', "-");
        let mut answers = Vec::new();
        for (address, header, value) in [
            (address, "x-none", ""),
            (address, "if-match", "\"999\""),
            (address, "idempotency-key", &key),
            (address, "idempotency-key", &key),
            ("other@farm.example", "idempotency-key", &key),
        ] {
            let call = app.command("request-email-verification", &json!({ "email": address }));
            let reply = call.header(header, value).send().await;
            answers.push((reply.status, reply.wire(), reply.steady_headers()));
        }
        rounds.push(answers);
    }
    let statuses: Vec<u16> = rounds[0].iter().map(|(status, ..)| *status).collect();
    assert_eq!(
        (rounds[0][0].1.as_str(), statuses.as_slice()),
        ("{}", &[202, 202, 202, 202, 422][..])
    );
    assert!(rounds.iter().all(|answers| *answers == rounds[0]), "{rounds:#?}");
    // The mail of the registration, and one for each of the three that asked anew.
    app.mailbox().nth_to(&pending, 4).await;
    assert_eq!(app.mailbox().mails().len(), 5);
}

async fn a_link_opens_nothing_but_its_own_account(engine: Engine) {
    let app = App::start(engine).await;
    let (_, ada) = registered(&app, "ada").await;
    let (_, eve) = registered(&app, "eve").await;
    let (ada, eve) = (app.mailbox().to(&ada).await, app.mailbox().to(&eve).await);
    let mixed = |head: &str, tail: &str| format!("{}{}", &head[..22], &tail[22..]);
    let mut log = app.log().await;
    let written = log.written().await;
    let ids = log.texts("SELECT event_id FROM events ORDER BY position").await;
    let of_another_event =
        |id: &str| encoded(&[uuid::Uuid::parse_str(id).unwrap().as_bytes().as_slice(), &[7; 32]].concat());
    let mut wrong = vec![
        mixed(ada.token(), eve.token()),
        mixed(eve.token(), ada.token()),
        ada.token().to_ascii_lowercase(),
    ];
    wrong.push(format!("{}A", ada.token()));
    wrong.push(format!("{}=", ada.token()));
    wrong.push(format!(" {}", ada.token()));
    wrong.extend(ids.iter().map(|id| of_another_event(id)));
    for token in wrong {
        verify(&app, &token).await.refused(410, "invalid-token");
    }
    assert_eq!(log.written().await, written);
    // It is no session and no refresh token either.
    app.get("/v1/me")
        .bearer(ada.token())
        .send()
        .await
        .refused(401, "unauthenticated");
    let body = json!({ "refresh_token": ada.token() });
    app.post("/v1/sessions/refresh", &body)
        .send()
        .await
        .refused(401, "invalid-credentials");
    assert_eq!(verify(&app, ada.token()).await.status, 200);
}

async fn the_page_of_a_link_changes_nothing_until_its_button(engine: Engine) {
    let app = App::start_with(engine, &[("REGISTRY__PUBLIC_URL", "https://registry.example/base/")]).await;
    let (_, address) = registered(&app, "ada").await;
    let mail = app.mailbox().to(&address).await;
    let token = mail.token();
    // Links begin with what is configured, whatever a request says of its host.
    assert_eq!(
        mail.link(),
        format!("https://registry.example/base/verify-email?token={token}")
    );
    let mut log = app.log().await;
    let head = log.head().await;
    let page = app
        .get(&format!("/verify-email?token={token}"))
        .header("host", "evil.example")
        .send()
        .await;
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, "text/html; charset=utf-8")
    );
    assert!(
        page.body.contains(token) && page.body.contains("<form method=\"post\""),
        "{}",
        page.body
    );
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
    assert!(
        !page.body.contains("://") && !page.body.contains("evil"),
        "{}",
        page.body
    );
    assert_eq!(
        app.call("HEAD", &format!("/verify-email?token={token}"))
            .send()
            .await
            .status,
        200
    );
    for query in [
        "",
        "?token=",
        "?token=%3Cscript%3E",
        "?token=a&token=b",
        "?token=%ff",
        "?other=1",
    ] {
        let page = app.get(&format!("/verify-email{query}")).send().await;
        assert_eq!(
            (page.status, page.header("content-type")),
            (410, "text/html; charset=utf-8"),
            "{query}: {page:?}"
        );
        assert!(!page.body.contains("script"), "{}", page.body);
    }
    let press = async |kind: &str, body: String| {
        app.call("POST", "/verify-email")
            .header("content-type", kind)
            .raw(body)
            .send()
            .await
    };
    let form = "application/x-www-form-urlencoded";
    for (kind, body) in [
        (form, "token=nonsense".to_owned()),
        (form, String::new()),
        (form, format!("token={token}&token={token}")),
        ("application/json", json!({ "token": token }).to_string()),
        ("text/plain", format!("token={token}")),
    ] {
        let page = press(kind, body.clone()).await;
        let status = if kind == form { 410 } else { 415 };
        assert_eq!(
            (page.status, page.header("content-type")),
            (status, "text/html; charset=utf-8"),
            "{kind} {body}: {page:?}"
        );
    }
    assert_eq!(press(form, "x".repeat(10 << 20)).await.status, 413);
    assert_eq!(log.head().await, head);
    let page = press(form, format!("token={token}")).await;
    assert_eq!(page.status, 200);
    assert_eq!(log.types_after(head).await, ["user.email_verified"]);
    let seen: Value = until("the account", || async {
        let reply = app
            .post("/v1/sessions", &json!({ "identifier": "ada", "password": PASSWORD }))
            .send()
            .await;
        (reply.status == 201).then(|| reply.json())
    })
    .await;
    assert!(seen["access_token"].is_string());
}

/// SECURITY-REQUIREMENTS, section 3: `Host`, `X-Forwarded-*`, `Forwarded` and `Referer` never matter, not even from a
/// proxy that is believed otherwise.
async fn a_link_begins_with_what_is_configured_whatever_a_request_says(engine: Engine) {
    const BASE: &str = "https://registry.example/base";
    let settings = [
        ("REGISTRY__PUBLIC_URL", "https://registry.example/base/"),
        ("REGISTRY__HTTP__TRUSTED_PROXIES", "127.0.0.0/8"),
    ];
    let app = App::start_with(engine, &settings).await;
    let ask = async |name: &str, body: Value, token: Option<&str>, status: u16| {
        app.command(name, &body)
            .maybe(token)
            .header("host", "evil.example")
            .header("x-forwarded-for", "203.0.113.9")
            .header("x-forwarded-host", "evil.example")
            .header("x-forwarded-proto", "gopher")
            .header("x-forwarded-port", "6666")
            .header("x-forwarded-prefix", "/evil")
            .header("forwarded", "for=203.0.113.9;host=evil.example;proto=gopher")
            .header("referer", "https://evil.example/base/reset-password")
            .header("origin", "https://evil.example")
            .expect(status)
            .await
    };
    let sent = async |address: &str, count: usize, page: &str| {
        let mail = app.mailbox().nth_to(address, count).await;
        let link = mail.link().to_owned();
        assert!(link.starts_with(&format!("{BASE}/{page}?token=")), "{mail:?}");
        assert!(mail.html.contains(&link.replace('&', "&amp;")), "{mail:?}");
        for text in [&mail.subject, &mail.text, &mail.html] {
            assert!(!text.contains("evil") && !text.contains("gopher"), "{mail:?}");
        }
        mail.token().to_owned()
    };
    let old = "ada@farm.example";
    let body = json!({ "username": "ada", "email": old, "password": PASSWORD });
    ask("register-user", body, None, 201).await;
    sent(old, 1, "verify-email").await;
    ask("request-email-verification", json!({ "email": old }), None, 202).await;
    let token = sent(old, 2, "verify-email").await;
    ask("verify-email", json!({ "token": token }), None, 200).await;
    ask("request-password-reset", json!({ "email": old }), None, 202).await;
    sent(old, 3, "reset-password").await;
    let ada = app.sign_in("ada", PASSWORD).await;
    let (new, before) = ("ada@mill.example", app.mailbox().mails().len());
    let body = json!({ "email": new, "current_password": PASSWORD });
    ask("request-email-change", body, Some(&ada.access), 200).await;
    sent(new, 1, "confirm-email-change").await;
    // The old address is told too, without a way to anywhere else.
    let notice = until("the notice to the old address", || async {
        let mails = app.mailbox().mails();
        let mut after = mails.into_iter().skip(before);
        after.find(|mail| mail.to == old)
    })
    .await;
    let said = format!("{}{}{}", notice.subject, notice.text, notice.html);
    assert!(!said.contains("evil") && !said.contains("gopher"), "{notice:?}");
}
