//! Mails over SMTP, against a mail server that speaks it.

use serde_json::json;

use crate::harness::{
    Answer, App, Client, Delivered, Engine, MailServer, Offers, PASSWORD, Place, Server, Step, on_both_engines, until,
};

on_both_engines![
    a_mail_leaves_and_its_link_works,
    one_who_is_put_off_holds_up_nobody,
    one_who_is_refused_is_given_up_and_told_of,
    one_who_is_put_off_too_often_is_given_up,
    while_the_server_is_away_nothing_is_lost,
    a_password_that_is_refused_costs_no_mail,
    a_server_that_hangs_or_leaves_is_asked_again,
    a_server_that_falls_silent_at_every_mail_is_left_alone,
    a_kill_loses_neither_what_is_under_way_nor_what_was_put_off,
    the_line_is_encrypted_as_it_was_asked_for,
    texts_of_a_folder_are_sent,
    an_address_beyond_ascii_goes_to_a_server_that_takes_it,
];

const SECRET: &str = "hunter2-for-mail";

/// Quick enough for a test that waits for a second attempt.
const QUICK: [(&str, &str); 4] = [
    ("REGISTRY__FOLLOWERS__LEASE_SECONDS", "1"),
    ("REGISTRY__MAIL__RETRY_MS", "100"),
    ("REGISTRY__MAIL__TIMEOUT_MS", "1000"),
    ("REGISTRY__PUBLIC_URL", "https://registry.example"),
];

fn settings<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    QUICK.into_iter().chain(more.iter().copied()).collect()
}

async fn register(client: &Client, name: &str) {
    let body = json!({ "email": address(name), "password": PASSWORD });
    client.command("register-user", &body).expect(201).await;
}

fn address(name: &str) -> String {
    format!("{name}@farm.example")
}

/// A measurement of a service; 0 if it was never made.
async fn metric(client: &Client, name: &str) -> u64 {
    let metrics = client.get("/metrics").send().await.body;
    let value = metrics
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().unwrap())
}

async fn verify(client: &Client, mail: &Delivered) {
    let token = json!({ "token": mail.mail.token() });
    client.command("verify-email", &token).expect(200).await;
}

/// What is kept of mails that were not delivered: attempts, whether it was given up, and why.
async fn undelivered(place: &Place) -> Vec<String> {
    let sql = "SELECT attempts || ' ' || (CASE WHEN next_at IS NULL THEN 'given up' ELSE 'waiting' END) || ': ' || problem \
               FROM undelivered WHERE channel = 'mail' ORDER BY position, number";
    place.log().await.texts(sql).await
}

/// Why the mailer waits, once it does.
async fn waits(place: &Place) -> String {
    until("a mailer that waits", || async {
        let sql = "SELECT coalesce(error, '') FROM checkpoints WHERE follower = 'mail'";
        let errors = place.log().await.texts(sql).await;
        errors.into_iter().find(|error| !error.is_empty())
    })
    .await
}

async fn a_mail_leaves_and_its_link_works(engine: Engine) {
    let offers = Offers {
        user: Some(("ada", SECRET)),
        ..Offers::default()
    };
    let sink = MailServer::start(offers).await;
    let url = format!("smtp://ada:{SECRET}@127.0.0.1:{}?tls=none", sink.port());
    let app = App::start_with(
        engine,
        &settings(&[
            ("SMTP_URL", &url),
            ("REGISTRY__MAIL__FROM", "Registry <post@registry.example>"),
            ("RUST_LOG", "trace"),
        ]),
    )
    .await;
    register(&app, "lea").await;
    let mail = sink.to("lea@farm.example").await;
    assert_eq!(
        (mail.from.as_str(), mail.user.as_deref()),
        ("post@registry.example", Some("ada"))
    );
    for line in [
        "From: Registry <post@registry.example>",
        "To: lea@farm.example",
        "Subject: Please confirm your e-mail address",
        "X-Purpose: verify-email",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
    ] {
        assert!(
            mail.raw.lines().any(|found| found == line),
            "{line} is missing in {}",
            mail.raw
        );
    }
    let link = mail.mail.link();
    assert!(
        link.starts_with("https://registry.example/verify-email?token="),
        "{link}"
    );
    assert!(
        mail.mail.html.contains(&format!("href=\"{link}\"")),
        "{}",
        mail.mail.html
    );
    verify(&app, &mail).await;
    // The next mail takes the same connection.
    register(&app, "bob").await;
    sink.to("bob@farm.example").await;
    assert_eq!(sink.connections(), 1);
    until("a measurement", || async {
        (metric(&app, "registry_mails_sent_total").await == 2).then_some(())
    })
    .await;
    assert!(!app.place.folder().join("outbox/mail").read_dir().unwrap().any(|_| true));
    let log = app.server.log();
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("\0ada\0{SECRET}"));
    for never in [SECRET, &encoded, "lea@farm.example", mail.mail.token()] {
        assert!(!log.contains(never), "{never} is in the log");
    }
    assert!(log.contains("request answered"));
}

async fn one_who_is_put_off_holds_up_nobody(engine: Engine) {
    let sink = MailServer::start(Offers::default()).await;
    let app = App::start_with(engine, &settings(&[("SMTP_URL", &sink.url())])).await;
    sink.answer(
        Step::Recipient,
        "grey",
        Answer::Says("450 4.2.0 <grey@farm.example> is greylisted"),
    );
    sink.answer(Step::Text, "slow", Answer::Says("451 4.3.0 not now"));
    register(&app, "grey").await;
    register(&app, "slow").await;
    register(&app, "ada").await;
    verify(&app, &sink.to("ada@farm.example").await).await;
    // Both are tried again, and again in vain.
    sink.said_no(6).await;
    let kept = undelivered(&app.place).await;
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(
        kept[0].ends_with("waiting: the mail server answered 450 to a recipient"),
        "{kept:?}"
    );
    assert!(
        kept[1].ends_with("waiting: the mail server answered 451 to a mail"),
        "{kept:?}"
    );
    until("a measurement", || async {
        (metric(&app, "registry_mails_deferred").await == 2).then_some(())
    })
    .await;
    assert!(metric(&app, "registry_mails_failed_total{kind=\"deferred\"}").await >= 4);
    assert_eq!(app.get("/readyz").send().await.status, 200);
    sink.relent();
    verify(&app, &sink.to("grey@farm.example").await).await;
    verify(&app, &sink.to("slow@farm.example").await).await;
    until("nothing left", || async {
        undelivered(&app.place).await.is_empty().then_some(())
    })
    .await;
    until("a measurement", || async {
        (metric(&app, "registry_mails_deferred").await == 0).then_some(())
    })
    .await;
    assert_eq!(sink.taken().len(), 3, "each once");
    assert!(!app.server.log().contains("grey@"), "{}", app.server.log());
}

async fn one_who_is_refused_is_given_up_and_told_of(engine: Engine) {
    let sink = MailServer::start(Offers::default()).await;
    let app = App::start_with(engine, &settings(&[("SMTP_URL", &sink.url())])).await;
    sink.answer(
        Step::Recipient,
        "nobody",
        Answer::Says("550 5.1.1 no nobody@farm.example here"),
    );
    register(&app, "nobody").await;
    register(&app, "ada").await;
    verify(&app, &sink.to("ada@farm.example").await).await;
    let kept = undelivered(&app.place).await;
    assert_eq!(kept, ["1 given up: the mail server answered 550 to a recipient"]);
    assert_eq!(metric(&app, "registry_mails_failed_total{kind=\"refused\"}").await, 1);
    let log = app.server.log();
    let told = log.lines().find(|line| line.contains("a message is given up")).unwrap();
    assert!(told.contains("position=2") && told.contains("550"), "{told}");
    assert!(!log.contains("nobody@"), "{log}");
    // It is not tried again, also not by the next process.
    let App { server, place, .. } = app;
    server.kill();
    sink.relent();
    let server = Server::start(&place, &settings(&[("SMTP_URL", &sink.url())])).await;
    register(&server.client(), "bob").await;
    sink.to("bob@farm.example").await;
    assert!(sink.taken().iter().all(|mail| mail.to != "nobody@farm.example"));
}

async fn one_who_is_put_off_too_often_is_given_up(engine: Engine) {
    let sink = MailServer::start(Offers::default()).await;
    let app = App::start_with(
        engine,
        &settings(&[("SMTP_URL", &sink.url()), ("REGISTRY__MAIL__ATTEMPTS", "3")]),
    )
    .await;
    sink.answer(Step::Recipient, "full", Answer::Says("452 4.2.2 mailbox full"));
    register(&app, "full").await;
    let kept = until("an end", || async {
        let kept = undelivered(&app.place).await;
        kept.first().is_some_and(|row| row.contains("given up")).then_some(kept)
    })
    .await;
    assert_eq!(kept, ["3 given up: the mail server answered 452 to a recipient"]);
    sink.said_no(3).await;
    assert_eq!(metric(&app, "registry_mails_failed_total{kind=\"exhausted\"}").await, 1);
}

async fn while_the_server_is_away_nothing_is_lost(engine: Engine) {
    let address_of_it = MailServer::nowhere().await;
    let url = format!("smtp://{address_of_it}");
    let app = App::start_with(engine, &settings(&[("SMTP_URL", &url)])).await;
    for name in ["ada", "bob", "eve"] {
        register(&app, name).await;
    }
    let problem = waits(&app.place).await;
    assert!(problem.contains("the mail server cannot be reached"), "{problem}");
    assert_eq!(app.get("/readyz").send().await.status, 200);
    assert!(metric(&app, "registry_mails_failed_total{kind=\"outside\"}").await >= 1);
    assert_eq!(undelivered(&app.place).await, [""; 0]);
    let sink = MailServer::start_at(address_of_it, Offers::default(), None).await;
    for name in ["ada", "bob", "eve"] {
        verify(&app, &sink.to(&address(name)).await).await;
    }
    assert_eq!(sink.taken().len(), 3);
}

async fn a_password_that_is_refused_costs_no_mail(engine: Engine) {
    let offers = |password| Offers {
        user: Some(("ada", password)),
        ..Offers::default()
    };
    let sink = MailServer::start(offers("another")).await;
    let port = sink.port();
    let url = format!("smtp://ada:{SECRET}@127.0.0.1:{port}?tls=none");
    let app = App::start_with(engine, &settings(&[("SMTP_URL", &url)])).await;
    register(&app, "ada").await;
    sink.said_no(2).await;
    assert_eq!(waits(&app.place).await, "the mail server answered 535 to our password");
    assert_eq!(undelivered(&app.place).await, [""; 0]);
    assert!(!app.server.log().contains(SECRET));
    drop(sink);
    let address: std::net::SocketAddr = format!("127.0.0.1:{port}").parse().unwrap();
    until("a free port", || async {
        std::net::TcpListener::bind(address).ok().map(drop)
    })
    .await;
    let sink = MailServer::start_at(address, offers(SECRET), None).await;
    verify(&app, &sink.to("ada@farm.example").await).await;
}

async fn a_server_that_hangs_or_leaves_is_asked_again(engine: Engine) {
    let sink = MailServer::start(Offers::default()).await;
    let app = App::start_with(engine, &settings(&[("SMTP_URL", &sink.url())])).await;
    sink.answer(Step::Text, "hung", Answer::Waits);
    sink.answer(Step::Text, "left", Answer::Leaves);
    register(&app, "hung").await;
    register(&app, "left").await;
    register(&app, "ada").await;
    // Three seconds of silence are longer than the lease: it is kept up meanwhile.
    verify(&app, &sink.to("ada@farm.example").await).await;
    sink.said_no(2).await;
    sink.relent();
    verify(&app, &sink.to("hung@farm.example").await).await;
    verify(&app, &sink.to("left@farm.example").await).await;
    assert_eq!(app.server.log().matches("another process follows").count(), 0);
}

/// It takes our sender and the recipient, and then says nothing: the first mails are put off, the others wait in the log.
async fn a_server_that_falls_silent_at_every_mail_is_left_alone(engine: Engine) {
    let sink = MailServer::start(Offers::default()).await;
    let url = sink.url();
    let settings = settings(&[("SMTP_URL", &url), ("REGISTRY__MAIL__TIMEOUT_MS", "150")]);
    let app = App::start_with(engine, &settings).await;
    sink.answer(Step::Text, "", Answer::Waits);
    let names = ["ada", "bob", "eve", "kim"];
    for name in names {
        register(&app, name).await;
    }
    assert_eq!(
        waits(&app.place).await,
        "the mail server does not answer in time at a mail"
    );
    sink.relent();
    for name in names {
        verify(&app, &sink.to(&address(name)).await).await;
    }
}

async fn a_kill_loses_neither_what_is_under_way_nor_what_was_put_off(engine: Engine) {
    let sink = MailServer::start(Offers::default()).await;
    let url = sink.url();
    let settings = settings(&[
        ("SMTP_URL", &url),
        // Longer than this test takes, and what was taken by the dead one comes up again soon.
        ("REGISTRY__MAIL__TIMEOUT_MS", "3000"),
    ]);
    let place = Place::new(engine).await;
    let server = Server::start(&place, &settings).await;
    sink.answer(Step::Recipient, "grey", Answer::Says("450 4.2.0 later"));
    sink.answer(Step::Text, "ada", Answer::Waits);
    register(&server.client(), "grey").await;
    register(&server.client(), "ada").await;
    until("a mail under way and one put off", || async {
        let grey = undelivered(&place).await.len() == 1;
        (grey && sink.connections() >= 1).then_some(())
    })
    .await;
    sink.said_no(2).await;
    server.kill();
    sink.relent();
    let server = Server::start(&place, &settings).await;
    verify(&server.client(), &sink.to("ada@farm.example").await).await;
    verify(&server.client(), &sink.to("grey@farm.example").await).await;
}

async fn the_line_is_encrypted_as_it_was_asked_for(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let trust = folder.path().join("trusted.pem");
    let user = Some(("ada", SECRET));
    let wrapped = MailServer::start_with_certificate(
        Offers {
            user,
            wrapped: true,
            ..Offers::default()
        },
        &trust,
    )
    .await;
    let url = format!("smtps://ada:{SECRET}@localhost:{}", wrapped.port());
    let place = Place::new(engine).await;
    let trusting = [("SMTP_URL", url.as_str()), ("SSL_CERT_FILE", trust.to_str().unwrap())];
    let server = Server::start(&place, &settings(&trusting)).await;
    register(&server.client(), "ada").await;
    let mail = wrapped.to("ada@farm.example").await;
    assert!(mail.encrypted && mail.user.is_some());
    server.kill();

    let upgraded = MailServer::start_with_certificate(
        Offers {
            user,
            starttls: true,
            ..Offers::default()
        },
        &trust,
    )
    .await;
    // A password alone asks for encryption.
    let url = format!("smtp://ada:{SECRET}@localhost:{}", upgraded.port());
    let trusting = [("SMTP_URL", url.as_str()), ("SSL_CERT_FILE", trust.to_str().unwrap())];
    let server = Server::start(&place, &settings(&trusting)).await;
    register(&server.client(), "bob").await;
    let mail = upgraded.to("bob@farm.example").await;
    assert!(mail.encrypted && mail.user.is_some());
    server.kill();

    // A server nobody vouches for.
    let strange = folder.path().join("strange.pem");
    std::fs::write(&strange, std::fs::read(&trust).unwrap()).unwrap();
    let other = MailServer::start_with_certificate(
        Offers {
            user,
            starttls: true,
            ..Offers::default()
        },
        &trust,
    )
    .await;
    let url = format!("smtp://ada:{SECRET}@localhost:{}", other.port());
    let distrusting = [("SMTP_URL", url.as_str()), ("SSL_CERT_FILE", strange.to_str().unwrap())];
    let server = Server::start(&place, &settings(&distrusting)).await;
    register(&server.client(), "eve").await;
    assert_eq!(
        waits(&place).await,
        "the mail server cannot be trusted or does not speak TLS as we do at STARTTLS"
    );
    server.kill();

    // One that offers no encryption, or whose offer somebody took away.
    let open = MailServer::start(Offers {
        user,
        ..Offers::default()
    })
    .await;
    let url = format!("smtp://ada:{SECRET}@127.0.0.1:{}", open.port());
    let server = Server::start(&place, &settings(&[("SMTP_URL", &url)])).await;
    until("another reason to wait", || async {
        let problem = waits(&place).await;
        (problem == "the mail server does not offer what is needed at STARTTLS").then_some(())
    })
    .await;
    assert_eq!(open.passwords_in_clear() + other.passwords_in_clear(), 0);
    drop(server);

    // It waited for all of this, and leaves as soon as there is a way.
    let last = MailServer::start(Offers::default()).await;
    let server = Server::start(&place, &settings(&[("SMTP_URL", &last.url())])).await;
    verify(&server.client(), &last.to("eve@farm.example").await).await;
}

async fn texts_of_a_folder_are_sent(engine: Engine) {
    let sink = MailServer::start(Offers::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let text = "Bitte:\n\n{{link}}\n\n.\n.. bis {{until}}\n";
    for (name, text) in [
        ("verify-email.subject", "Grüße\n"),
        ("verify-email.txt", text),
        ("verify-email.html", "<p>Für {{until}}</p><a href='{{link}}'>Bitte</a>"),
        ("verify-phone.sms", "Code {{code}}"),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let app = App::start_with(
        engine,
        &settings(&[
            ("SMTP_URL", &sink.url()),
            ("REGISTRY__MAIL__TEMPLATES", folder.path().to_str().unwrap()),
        ]),
    )
    .await;
    let body = json!({ "email": "ada@farm.example", "phone": "+4915112345678", "password": PASSWORD });
    app.command("register-user", &body).expect(201).await;
    let mail = sink.to("ada@farm.example").await;
    // Every server takes it: what is beyond ASCII is encoded.
    assert!(mail.raw.is_ascii(), "{}", mail.raw);
    assert_eq!(mail.mail.subject, "=?utf-8?b?R3LDvMOfZQ==?=");
    assert!(mail.mail.html.contains("<p>F=C3=BCr 20"), "{}", mail.mail.html);
    // A line with nothing but a dot is none that ends the mail.
    let lines: Vec<&str> = mail.mail.text.trim_end().lines().collect();
    assert_eq!((lines[0], lines[4]), ("Bitte:", "."), "{lines:?}");
    assert!(lines[5].starts_with(".. bis 20"), "{lines:?}");
    assert!(mail.mail.html.contains("'>Bitte</a>"), "{}", mail.mail.html);
    verify(&app, &mail).await;
    let sms = app.phones().to("+4915112345678").await;
    assert_eq!(sms.json["text"], format!("Code {}", sms.code()));
}

async fn an_address_beyond_ascii_goes_to_a_server_that_takes_it(engine: Engine) {
    let plain = MailServer::start(Offers::default()).await;
    let place = Place::new(engine).await;
    let server = Server::start(&place, &settings(&[("SMTP_URL", &plain.url())])).await;
    register(&server.client(), "jürgen").await;
    register(&server.client(), "ada").await;
    verify(&server.client(), &plain.to("ada@farm.example").await).await;
    assert_eq!(
        undelivered(&place).await,
        ["1 given up: the mail server takes no address beyond ASCII"]
    );
    server.kill();
    let offers = Offers {
        utf8: true,
        ..Offers::default()
    };
    let wide = MailServer::start(offers).await;
    let server = Server::start(&place, &settings(&[("SMTP_URL", &wide.url())])).await;
    register(&server.client(), "bob").await;
    register(&server.client(), "jörg").await;
    let mail = wide.to("jörg@farm.example").await;
    assert_eq!(mail.parameters, "SMTPUTF8");
    assert_eq!(mail.mail.to, "jörg@farm.example");
    verify(&server.client(), &mail).await;
    assert_eq!(wide.to("bob@farm.example").await.parameters, "");
}
