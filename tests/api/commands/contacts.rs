//! Another address, another number, another username.

use serde_json::{Value, json};

use crate::harness::{App, Engine, PASSWORD, Reply, Tokens, on_both_engines};

on_both_engines![
    a_new_address_is_asked_for_confirmed_and_signs_in,
    an_address_that_was_only_asked_for_finds_nobody_and_is_nobody_elses,
    the_domain_of_a_new_address_is_asked_both_times,
    a_wrong_current_password_changes_no_contact,
    a_new_number_is_unverified_until_its_code_comes_back,
    a_username_is_changed_by_its_owner_or_an_administrator,
    a_changed_password_voids_a_request_for_another_address,
];

const OTHER: &str = "nine grey geese by a pond";
const NUMBER: &str = "+6584932466";

async fn ask(app: &App, who: &Tokens, email: &str) -> Reply {
    let body = json!({ "email": email, "current_password": PASSWORD });
    app.command("request-email-change", &body)
        .bearer(&who.access)
        .send()
        .await
}

async fn confirm(app: &App, token: &str) -> Reply {
    app.command("confirm-email-change", &json!({ "token": token }))
        .send()
        .await
}

async fn me(app: &App, who: &Tokens) -> Value {
    app.get("/v1/me").bearer(&who.access).expect(200).await
}

async fn a_new_address_is_asked_for_confirmed_and_signs_in(engine: Engine) {
    let app = App::start(engine).await;
    let ada = app.with_email("ada").await;
    let asked = ask(&app, &ada, "Ada@New.example").await;
    assert_eq!((asked.status, asked.header("etag")), (200, "\"4\""), "{asked:?}");
    assert_eq!(asked.json()["events"], json!(["user.email_change_requested"]));
    let mail = app.mailbox().to("Ada@new.example").await;
    assert_eq!(mail.subject, "Please confirm your new e-mail address");
    assert!(mail.link().contains("/confirm-email-change?token="), "{}", mail.link());
    let notice = app.mailbox().nth_to("ada@farm.example", 2).await;
    assert_eq!(notice.subject, "A new e-mail address was asked for");
    assert_eq!(notice.name, format!("{}-1", mail.name));
    assert!(!notice.text.contains("://"), "{}", notice.text);
    assert_eq!(me(&app, &ada).await["email"], "ada@farm.example");
    // Young, the link is sent again as it is.
    assert_eq!(ask(&app, &ada, "Ada@New.example").await.status, 200);
    assert_eq!(app.mailbox().nth_to("Ada@new.example", 2).await.link(), mail.link());

    let head = app.log().await.head().await;
    let confirmed = confirm(&app, mail.token()).await;
    assert_eq!(confirmed.status, 200, "{confirmed:?}");
    assert_eq!(confirmed.json()["events"], json!(["user.email_changed"]));
    assert_eq!(
        app.log().await.types_after(head).await,
        ["user.email_changed", "domain.observed"]
    );
    assert_eq!(confirm(&app, mail.token()).await.json()["events"], json!([]));
    let now = me(&app, &ada).await;
    assert_eq!(
        (&now["email"], &now["email_verified"]),
        (&json!("Ada@new.example"), &json!(true))
    );
    let old = json!({ "identifier": "ada@farm.example", "password": PASSWORD });
    app.post("/v1/sessions", &old)
        .send()
        .await
        .refused(401, "invalid-credentials");
    app.sign_in("ada@new.example", PASSWORD).await;
    let changed = app.mailbox().nth_to("ada@farm.example", 4).await;
    assert_eq!(changed.subject, "Your e-mail address was changed");
    // The address before is free.
    app.with_email("eve").await;
    let eve = app.sign_in("eve", PASSWORD).await;
    assert_eq!(ask(&app, &eve, "ada@farm.example").await.status, 200);
    // Asking for what one has changes nothing.
    assert_eq!(ask(&app, &ada, "Ada@new.example").await.json()["events"], json!([]));
}

async fn an_address_that_was_only_asked_for_finds_nobody_and_is_nobody_elses(engine: Engine) {
    let app = App::start(engine).await;
    let (ada, eve) = (app.with_email("ada").await, app.with_email("eve").await);
    assert_eq!(ask(&app, &ada, "new@farm.example").await.status, 200);
    app.mailbox().to("new@farm.example").await;
    for (address, status) in [
        ("new@farm.example", 409),
        ("eve@farm.example", 200),
        ("ADA@farm.example", 409),
    ] {
        let reply = ask(&app, &eve, address).await;
        assert_eq!(reply.status, status, "{address}: {reply:?}");
        if status == 409 {
            assert_eq!(reply.refused(409, "taken"), ["/email"]);
        }
    }
    let body = json!({ "email": "NEW@farm.example", "password": PASSWORD });
    let reply = app.command("register-user", &body).send().await;
    assert_eq!(reply.refused(409, "taken"), ["/email"]);
    let sign_in = json!({ "identifier": "new@farm.example", "password": PASSWORD });
    app.post("/v1/sessions", &sign_in)
        .send()
        .await
        .refused(401, "invalid-credentials");
    app.mailbox().nth_to("ada@farm.example", 2).await;
    let mails = app.mailbox().mails().len();
    let call = app.command("request-password-reset", &json!({ "email": "new@farm.example" }));
    assert_eq!(call.header("idempotency-key", "once").send().await.status, 202);
    // Another address asked for lets this one go.
    assert_eq!(ask(&app, &ada, "third@farm.example").await.status, 200);
    app.mailbox().to("third@farm.example").await;
    app.mailbox().nth_to("ada@farm.example", 3).await;
    assert_eq!(app.mailbox().mails().len(), mails + 2, "the link and its notice");
    app.command("register-user", &body).expect(201).await;
}

async fn the_domain_of_a_new_address_is_asked_both_times(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let ada = app.with_email("ada").await;
    let domain = async |verb: &str| {
        app.command(verb, &json!({ "domain": "spam.example" }))
            .bearer(&admin.access)
            .send()
            .await
            .status
    };
    domain("block-domain").await;
    let mut log = app.log().await;
    let head = log.head().await;
    let refused = ask(&app, &ada, "ada@mail.spam.example").await;
    refused.refused(403, "domain-blocked");
    assert_eq!(log.head().await, head);
    domain("unblock-domain").await;
    assert_eq!(ask(&app, &ada, "ada@mail.spam.example").await.status, 200);
    let token = app.mailbox().to("ada@mail.spam.example").await.token().to_owned();
    domain("block-domain").await;
    confirm(&app, &token).await.refused(403, "domain-blocked");
    assert_eq!(me(&app, &ada).await["email"], "ada@farm.example");
    domain("unblock-domain").await;
    assert_eq!(confirm(&app, &token).await.status, 200);
}

async fn a_wrong_current_password_changes_no_contact(engine: Engine) {
    let app = App::start(engine).await;
    let ada = app.with_email("ada").await;
    let head = app.log().await.head().await;
    for (command, body) in [
        (
            "request-email-change",
            json!({ "email": "ada@new.example", "current_password": OTHER }),
        ),
        ("change-phone", json!({ "phone": NUMBER, "current_password": OTHER })),
    ] {
        let reply = app.command(command, &body).bearer(&ada.access).send().await;
        assert_eq!(reply.refused(403, "wrong-password"), ["/current_password"], "{command}");
    }
    assert_eq!(app.log().await.head().await, head);
    assert_eq!(app.phones().messages().len(), 0);
}

async fn a_new_number_is_unverified_until_its_code_comes_back(engine: Engine) {
    let app = App::start(engine).await;
    let ada = app.with_phone("ada", NUMBER).await;
    let new = "+6584932467";
    let change = async |number: &str| {
        let body = json!({ "phone": number, "current_password": PASSWORD });
        app.command("change-phone", &body).bearer(&ada.access).send().await
    };
    let changed = change(new).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!(
        changed.json()["events"],
        json!(["user.phone_changed", "user.phone_verification_requested"])
    );
    let now = me(&app, &ada).await;
    assert_eq!(
        (&now["phone"], &now["phone_verified"], &now["status"]),
        (&json!(new), &json!(false), &json!("active"))
    );
    assert_eq!(change(new).await.json()["events"], json!([]));
    let code = app.phones().to(new).await.code();
    // Not even the right code works with the number before.
    for (number, status) in [(NUMBER, 410), (new, 200)] {
        let body = json!({ "phone": number, "code": code });
        assert_eq!(
            app.command("verify-phone", &body).send().await.status,
            status,
            "{number}"
        );
    }
    assert_eq!(me(&app, &ada).await["phone_verified"], true);
    // The number before is free, this one is not.
    app.with_email("eve").await;
    let eve = app.sign_in("eve", PASSWORD).await;
    for (number, status) in [(new, 409), (NUMBER, 200)] {
        let body = json!({ "phone": number, "current_password": PASSWORD });
        let reply = app.command("change-phone", &body).bearer(&eve.access).send().await;
        assert_eq!(reply.status, status, "{reply:?}");
        if status == 409 {
            assert_eq!(reply.refused(409, "taken"), ["/phone"]);
        }
    }
}

async fn a_username_is_changed_by_its_owner_or_an_administrator(engine: Engine) {
    let app = App::start(engine).await;
    let admin = app.admin().await;
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    let change =
        async |who: &Tokens, body: Value| app.command("change-username", &body).bearer(&who.access).send().await;
    let done = change(&ada, json!({ "username": "Countess" })).await;
    assert_eq!((done.status, done.header("etag")), (200, "\"2\""), "{done:?}");
    assert_eq!(done.json()["events"], json!(["user.username_changed"]));
    app.sign_in("countess", PASSWORD).await;
    assert_eq!(
        change(&ada, json!({ "username": "Countess" })).await.json()["events"],
        json!([])
    );
    let taken = change(&eve, json!({ "username": "COUNTESS" })).await;
    assert_eq!(taken.refused(409, "taken"), ["/username"]);
    for name in ["a@b", "postmaster", "", "\u{430}da"] {
        let refused = change(&eve, json!({ "username": name })).await;
        assert_eq!(refused.refused(400, "invalid"), ["/username"], "{name}");
    }
    let of_ada = |name: &str| json!({ "username": name, "user_id": ada.user });
    change(&eve, of_ada("mine")).await.refused(404, "not-found");
    assert_eq!(change(&admin, of_ada("ada.again")).await.status, 200);
    let none = json!({ "username": "x1", "user_id": "0197a1b2-0000-7000-8000-000000000001" });
    change(&admin, none).await.refused(404, "not-found");
    let stale = app
        .command("change-username", &json!({ "username": "later" }))
        .bearer(&ada.access)
        .header("if-match", "\"1\"")
        .send()
        .await;
    stale.refused(412, "stale");
    // The name before is free.
    assert_eq!(change(&eve, json!({ "username": "countess" })).await.status, 200);
}

async fn a_changed_password_voids_a_request_for_another_address(engine: Engine) {
    let app = App::start(engine).await;
    let ada = app.with_email("ada").await;
    assert_eq!(ask(&app, &ada, "thief@new.example").await.status, 200);
    let token = app.mailbox().to("thief@new.example").await.token().to_owned();
    let body = json!({ "current_password": PASSWORD, "new_password": OTHER });
    app.command("change-password", &body)
        .bearer(&ada.access)
        .expect(200)
        .await;
    confirm(&app, &token).await.refused(410, "invalid-token");
    assert_eq!(me(&app, &ada).await["email"], "ada@farm.example");
    let body = json!({ "email": "thief@new.example", "password": PASSWORD });
    app.command("register-user", &body).expect(201).await;
}
