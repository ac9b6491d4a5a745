//! Codes and mails: so many and no more, and the public learns nothing from it.

use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use serde_json::{Value, json};

use super::{ON, WIDE, events};
use crate::harness::{App, Engine, PASSWORD, Server, on_both_engines, until};
use crate::trio::STRONG;

on_both_engines![
    a_number_is_sent_one_code_a_minute_and_nobody_learns_which,
    a_key_is_spent_whether_a_message_may_go_or_not,
    an_address_and_a_block_of_numbers_have_their_shares,
    codes_go_to_the_named_countries_only,
    the_budget_of_a_day_is_all_replicas_together,
    an_address_is_sent_so_many_mails_of_a_purpose,
    what_sends_no_mail_has_no_part_in_the_share,
    a_number_has_five_codes_an_hour_and_ten_a_day,
    a_number_has_five_codes_an_hour_through_xhoppe_whatever_the_day,
    an_address_has_twenty_mails_of_a_purpose_a_day,
    a_version_is_minded_where_no_mail_is_sent_any_more,
];

const ASKED: &str = "user.phone_verification_requested";

/// Registers somebody with a number; whether a code goes out.
async fn register(app: &App, name: &str, phone: &str, from: &str) -> bool {
    let body = json!({ "username": name, "phone": phone, "password": PASSWORD });
    let receipt = app
        .command("register-user", &body)
        .header("x-forwarded-for", from)
        .expect(201)
        .await;
    receipt["events"].as_array().unwrap().contains(&json!(ASKED))
}

/// Lets time pass for what was counted: so many minutes, and so many days for what counts by days.
async fn later(app: &App, minutes: i64, days: i64) {
    let mut log = app.log().await;
    // Several counts may be the same.
    for state in log.sorted("SELECT state FROM claims").await {
        let mut older: Value = serde_json::from_str(&state).unwrap();
        let Some(latest) = older["latest"].as_array().cloned() else {
            continue;
        };
        let moved: Vec<i64> = latest
            .iter()
            .map(|at| at.as_i64().unwrap() - minutes * 60_000_000)
            .collect();
        older["latest"] = json!(moved);
        older["day"] = json!(older["day"].as_i64().unwrap() - days);
        let sql =
            format!("UPDATE claims SET state = '{older}', turn = turn + 1 WHERE state = '{state}' RETURNING turn");
        assert!(!log.numbers(&sql).await.is_empty());
    }
}

/// How many were withheld by a limit.
async fn withheld(app: &App, why: &str) -> u64 {
    let name = format!("registry_messages_withheld_total{{why=\"{why}\"}} ");
    let metrics = app.get("/metrics").send().await.body;
    let value = metrics.lines().find_map(|line| line.strip_prefix(&name));
    value.map_or(0, |value| value.parse().unwrap())
}

/// Something that is asked for, and how that is answered.
type Ask<'a> = dyn Fn() -> LocalBoxFuture<'a, u16> + 'a;

/// Asks a few minutes later; so many have gone then, and so many were withheld.
async fn asked(app: &App, ask: &Ask<'_>, kind: &str, why: &str, (gone, kept): (i64, u64)) {
    later(app, 2, 0).await;
    let status = ask().await;
    assert!((200..300).contains(&status), "{status}");
    until("a message to go or not", || async {
        let counts = (events(app, kind).await, withheld(app, why).await);
        assert!(counts.0 <= gone && counts.1 <= kept, "{counts:?} of {:?}", (gone, kept));
        (counts == (gone, kept)).then_some(())
    })
    .await;
}

async fn a_number_has_five_codes_an_hour_and_ten_a_day(engine: Engine) {
    let app = App::start_with(engine, &WIDE).await;
    assert!(register(&app, "ada", "+6584932466", "192.0.2.1").await);
    let body = json!({ "phone": "+6584932466" });
    let ask = || async { app.command("request-phone-verification", &body).send().await.status }.boxed_local();
    for gone in 2..=5 {
        asked(&app, &ask, ASKED, "number", (gone, 0)).await;
    }
    asked(&app, &ask, ASKED, "number", (5, 1)).await;
    later(&app, 60, 0).await;
    for gone in 6..=10 {
        asked(&app, &ask, ASKED, "number", (gone, 1)).await;
    }
    later(&app, 60, 0).await;
    asked(&app, &ask, ASKED, "number", (10, 2)).await;
    later(&app, 0, 1).await;
    asked(&app, &ask, ASKED, "number", (11, 2)).await;
}

async fn a_number_has_five_codes_an_hour_through_xhoppe_whatever_the_day(engine: Engine) {
    let app = App::start_with(engine, &WIDE).await;
    let number = "+6584932466";
    let body = json!({ "msisdn": number, "password": STRONG, "password_confirmation": STRONG });
    assert_eq!(app.ask("POST", "/api/v1/users", &body).await.status, 201);
    let body = json!({ "msisdn": number });
    let ask = || async { app.ask("POST", "/api/v1/users/resend_verify", &body).await.status }.boxed_local();
    for gone in 2..=5 {
        asked(&app, &ask, ASKED, "number", (gone, 0)).await;
    }
    // Another day has begun meanwhile: what is left is the hour.
    later(&app, 0, 1).await;
    asked(&app, &ask, ASKED, "number", (5, 1)).await;
    later(&app, 60, 0).await;
    asked(&app, &ask, ASKED, "number", (6, 1)).await;
}

async fn an_address_has_twenty_mails_of_a_purpose_a_day(engine: Engine) {
    let app = App::start_with(engine, &WIDE).await;
    app.with_email("ada").await;
    let body = json!({ "email": "ada@farm.example" });
    let ask = || async { app.command("request-password-reset", &body).send().await.status }.boxed_local();
    let kind = "user.password_reset_requested";
    for gone in 1..=20 {
        if gone % 6 == 1 {
            later(&app, 60, 0).await;
        }
        asked(&app, &ask, kind, "mail", (gone, 0)).await;
    }
    later(&app, 60, 0).await;
    asked(&app, &ask, kind, "mail", (20, 1)).await;
    later(&app, 0, 1).await;
    asked(&app, &ask, kind, "mail", (21, 1)).await;
}

async fn a_number_is_sent_one_code_a_minute_and_nobody_learns_which(engine: Engine) {
    let app = App::start_with(engine, &WIDE).await;
    assert!(register(&app, "ada", "+6584932466", "192.0.2.1").await);
    app.phones().to("+6584932466").await;
    for number in ["+6584932466", "+6584932999", "+6584932466"] {
        for (command, body) in [
            ("request-phone-verification", json!({ "phone": number })),
            ("request-password-reset", json!({ "phone": number })),
        ] {
            let reply = app.command(command, &body).send().await;
            assert_eq!((reply.status, reply.body.as_str()), (202, "{}"), "{reply:?}");
        }
    }
    assert_eq!(events(&app, ASKED).await, 1);
    assert_eq!(events(&app, "user.password_reset_requested").await, 0);
    assert_eq!(app.phones().messages().len(), 1);
    // The code that is out still works.
    let code = app.phones().to("+6584932466").await.code();
    let body = json!({ "phone": "+6584932466", "code": code });
    app.command("verify-phone", &body).expect(200).await;
}

/// Another request with a key that was used is refused, and must be so for those who were sent nothing too.
async fn a_key_is_spent_whether_a_message_may_go_or_not(engine: Engine) {
    let app = App::start_with(engine, &WIDE).await;
    assert!(register(&app, "ada", "+6584932466", "192.0.2.1").await);
    app.with_email("eve").await;
    for _ in 0..6 {
        let body = json!({ "email": "eve@farm.example" });
        app.command("request-password-reset", &body).expect(202).await;
    }
    app.mailbox().nth_to("eve@farm.example", 7).await;
    let asked = [
        // Its code went a moment ago; nobody's.
        ("request-phone-verification", "phone", "+6584932466", "+6584932468"),
        ("request-phone-verification", "phone", "+6584932469", "+6584932468"),
        ("request-password-reset", "phone", "+6584932466", "+6584932468"),
        ("request-password-reset", "phone", "+6584932469", "+6584932468"),
        // Has had the mails of an hour; nobody's.
        (
            "request-password-reset",
            "email",
            "eve@farm.example",
            "other@farm.example",
        ),
        (
            "request-password-reset",
            "email",
            "nobody@farm.example",
            "other@farm.example",
        ),
    ];
    for (number, (command, member, first, another)) in asked.into_iter().enumerate() {
        let ask = async |whom: &str| {
            let call = app.command(command, &json!({ member: whom }));
            call.header("idempotency-key", format!("key-{number}")).send().await
        };
        for _ in 0..2 {
            let reply = ask(first).await;
            assert_eq!((reply.status, reply.body.as_str()), (202, "{}"), "{first}: {reply:?}");
        }
        ask(another).await.refused(422, "idempotency-mismatch");
    }
    assert_eq!(events(&app, ASKED).await, 1);
    assert_eq!(events(&app, "user.password_reset_requested").await, 6);
}

async fn an_address_and_a_block_of_numbers_have_their_shares(engine: Engine) {
    let mut settings = WIDE.to_vec();
    settings.push(("REGISTRY__HTTP__TRUSTED_PROXIES", "127.0.0.0/8"));
    let app = App::start_with(engine, &settings).await;
    // Twenty codes to one block in an hour, wherever they are asked for.
    for number in 0..20 {
        let phone = format!("+65849324{number:02}");
        let from = format!("192.0.2.{number}");
        assert!(
            register(&app, &format!("block{number}"), &phone, &from).await,
            "{number}"
        );
    }
    assert!(!register(&app, "over", "+6584932499", "192.0.2.99").await);
    // What was withheld from the block was not taken from the address: it still has its ten.
    for number in 0..10 {
        let phone = format!("+658493{}00", 30 + number);
        assert!(
            register(&app, &format!("ip{number}"), &phone, "192.0.2.99").await,
            "{number}"
        );
    }
    assert!(!register(&app, "eleventh", "+6584935500", "192.0.2.99").await);
    assert!(register(&app, "elsewhere", "+6584935501", "192.0.2.98").await);
    // One subscriber's IPv6 network is one address.
    for number in 0..10 {
        let (phone, from) = (format!("+658494{}00", 30 + number), format!("2001:db8::{number}"));
        assert!(register(&app, &format!("six{number}"), &phone, &from).await, "{number}");
    }
    assert!(!register(&app, "six", "+6584945500", "2001:db8::ff").await);
    let metrics = app.get("/metrics").send().await.body;
    for line in [
        "registry_messages_withheld_total{why=\"block\"} 1",
        "registry_messages_withheld_total{why=\"ip\"} 2",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
}

async fn codes_go_to_the_named_countries_only(engine: Engine) {
    let app = App::start_with(engine, &[ON, ("REGISTRY__SMS__COUNTRIES", "+65, +4930")]).await;
    assert!(register(&app, "singapore", "+6584932466", "192.0.2.1").await);
    assert!(!register(&app, "zurich", "+41446681800", "192.0.2.1").await);
    assert!(register(&app, "berlin", "+4930123456", "192.0.2.1").await);
    assert!(!register(&app, "munich", "+4989123456", "192.0.2.1").await);
}

async fn the_budget_of_a_day_is_all_replicas_together(engine: Engine) {
    let settings = [ON, ("REGISTRY__SMS__DAILY_BUDGET", "2")];
    let app = App::start_with(engine, &settings).await;
    let second = Server::start(&app.place, &settings).await;
    let other = second.client();
    assert!(register(&app, "one", "+6584932466", "192.0.2.1").await);
    let body = json!({ "username": "two", "phone": "+6584931466", "password": PASSWORD });
    other.command("register-user", &body).expect(201).await;
    assert_eq!(events(&app, ASKED).await, 2);
    assert!(!register(&app, "three", "+6584930466", "192.0.2.1").await);
    for (name, phone) in [("four", "+6584929466"), ("five", "+6584928466"), ("six", "+6584927466")] {
        let body = json!({ "username": name, "phone": phone, "password": PASSWORD });
        other.command("register-user", &body).expect(201).await;
    }
    assert_eq!(events(&app, ASKED).await, 2);
    // Told once, not to everybody's request; how many it were is counted.
    assert_eq!(
        second.log().matches("budget of short messages").count(),
        1,
        "{}",
        second.log()
    );
    let metrics = other.get("/metrics").send().await.body;
    let withheld = "registry_messages_withheld_total{why=\"budget\"} 3";
    assert!(metrics.contains(withheld), "{metrics}");
}

async fn an_address_is_sent_so_many_mails_of_a_purpose(engine: Engine) {
    let app = App::start_with(engine, &WIDE).await;
    let body = json!({ "email": "ada@farm.example", "username": "ada", "password": PASSWORD });
    app.command("register-user", &body).expect(201).await;
    let email = json!({ "email": "ada@farm.example" });
    let verification = "user.email_verification_requested";
    for _ in 0..8 {
        app.command("request-email-verification", &email).expect(202).await;
    }
    // The registration's own does not count.
    assert_eq!(events(&app, verification).await, 7);
    let token = app.mailbox().to("ada@farm.example").await;
    app.command("verify-email", &json!({ "token": token.token() }))
        .expect(200)
        .await;
    // Each purpose by itself.
    for _ in 0..8 {
        app.command("request-password-reset", &email).expect(202).await;
    }
    assert_eq!(events(&app, "user.password_reset_requested").await, 6);
    // Nobody uses this service to fill somebody else's mailbox: whoever asks, an address has its share.
    let ada = app.sign_in("ada", PASSWORD).await;
    let body = json!({ "email": "victim@farm.example", "current_password": PASSWORD });
    let mut statuses = Vec::new();
    for _ in 0..8 {
        let reply = app
            .command("request-email-change", &body)
            .bearer(&ada.access)
            .send()
            .await;
        if reply.status == 429 {
            reply.refused(429, "too-many-requests");
            assert_eq!(reply.header("retry-after"), "3600");
        }
        statuses.push(reply.status);
    }
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 429, 429]);
}

/// What sends no mail is answered as what it is, uses nothing of the share and is not kept back by it.
async fn what_sends_no_mail_has_no_part_in_the_share(engine: Engine) {
    let app = App::start_with(engine, &WIDE).await;
    app.has_user("eve").await;
    for (name, address) in [("eve", "eve@farm.example"), ("ada", "ada@farm.example")] {
        let body = json!({ "email": address, "username": format!("{name}.mail"), "password": PASSWORD });
        app.command("register-user", &body).expect(201).await;
        let token = app.mailbox().to(address).await;
        app.command("verify-email", &json!({ "token": token.token() }))
            .expect(200)
            .await;
    }
    let ada = app.sign_in("ada.mail", PASSWORD).await;
    let ask = async |address: &str, version: Option<&str>| {
        let body = json!({ "email": address, "current_password": PASSWORD });
        let call = app.command("request-email-change", &body).bearer(&ada.access);
        match version {
            Some(version) => call.header("if-match", version).send().await,
            None => call.send().await,
        }
    };
    for _ in 0..8 {
        ask("eve@farm.example", None).await.refused(409, "taken");
        let same = ask("ada@farm.example", None).await;
        assert_eq!((same.status, &same.json()["events"]), (200, &json!([])));
        ask("new@farm.example", Some("\"999\"")).await.refused(412, "stale");
    }
    for _ in 0..6 {
        assert_eq!(ask("new@farm.example", None).await.status, 200);
    }
    ask("new@farm.example", None).await.refused(429, "too-many-requests");
    ask("new@farm.example", Some("\"999\"")).await.refused(412, "stale");
}

async fn a_version_is_minded_where_no_mail_is_sent_any_more(engine: Engine) {
    let app = App::start_with(engine, &WIDE).await;
    let body = json!({ "email": "ada@farm.example", "username": "ada", "phone": "+6584932466", "password": PASSWORD });
    app.command("register-user", &body).expect(201).await;
    let code = app.phones().to("+6584932466").await.code();
    app.command("verify-phone", &json!({ "phone": "+6584932466", "code": code }))
        .expect(200)
        .await;
    let ada = app.sign_in("ada", PASSWORD).await;
    let ask = async |version: &str| {
        let call = app
            .command("request-email-verification", &json!({ "email": "ada@farm.example" }))
            .bearer(&ada.access);
        let call = if version.is_empty() {
            call
        } else {
            call.header("if-match", format!("\"{version}\""))
        };
        call.send().await
    };
    // Refused, they use nothing of the share.
    for _ in 0..8 {
        ask("999").await.refused(412, "stale");
    }
    for _ in 0..6 {
        assert_ne!(ask("").await.json()["events"], json!([]));
    }
    let last = ask("").await;
    assert_eq!((last.status, &last.json()["events"]), (200, &json!([])));
    ask("999").await.refused(412, "stale");
    let current = ask(&last.json()["version"].to_string()).await;
    assert_eq!(
        (current.status, &current.json()["version"]),
        (200, &last.json()["version"])
    );
}
