//! Codes that verify a number.

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value, json};

use crate::harness::{App, Engine, PASSWORD, Reply, on_both_engines, until};

on_both_engines![
    a_number_is_verified_by_the_code_that_was_sent_to_it,
    a_code_bears_five_wrong_guesses_however_many_come_at_once,
    of_many_right_guesses_at_once_one_verifies,
    the_newest_code_voids_older_ones,
    ten_codes_go_to_a_number_on_one_day,
    a_new_password_leaves_nothing_to_whoever_knew_the_one_before,
    the_public_learns_nothing_of_numbers,
];

const NUMBER: &str = "+6584932466";
const OTHER: &str = "+6584932467";

async fn registered(app: &App, name: &str, number: &str) -> String {
    let body = json!({ "username": name, "phone": number, "password": PASSWORD });
    let receipt = app.command("register-user", &body).expect(201).await;
    assert_eq!(
        receipt["events"],
        json!(["user.registered", "user.phone_verification_requested"])
    );
    receipt["id"].as_str().unwrap().to_owned()
}

async fn verify(app: &App, number: &str, code: &str) -> Reply {
    let body = json!({ "phone": number, "code": code });
    app.command("verify-phone", &body).send().await
}

async fn ask(app: &App, number: &str) -> Reply {
    app.command("request-phone-verification", &json!({ "phone": number }))
        .send()
        .await
}

async fn a_number_is_verified_by_the_code_that_was_sent_to_it(engine: Engine) {
    let app = App::start(engine).await;
    let id = registered(&app, "ada", NUMBER).await;
    let sms = app.phones().to(NUMBER).await;
    assert_eq!(sms.name, format!("{:020}", 2));
    let members: Vec<&str> = sms.json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["at", "purpose", "text", "to"]);
    assert_eq!(sms.json["purpose"], "verify-phone");
    assert!(aggregates::values::Timestamp::parse(sms.json["at"].as_str().unwrap()).is_ok());
    let code = sms.code();
    assert!(
        code.len() == 6 && code.bytes().all(|digit| digit.is_ascii_digit()),
        "{code}"
    );
    // Once it was sent, it is kept as a keyed hash only.
    let mut log = app.log().await;
    until("the code to be wiped", || async {
        let mut log = app.log().await;
        (log.count("codes", "sealed IS NULL").await == 1).then_some(())
    })
    .await;
    assert_eq!(log.count("codes", "length(value) = 32").await, 1);
    // What is wrong is one answer.
    for (number, code) in [
        (NUMBER, sms.wrong(0)),
        (NUMBER, format!("{code}0")),
        (NUMBER, format!(" {code}")),
        (OTHER, code.clone()),
    ] {
        verify(&app, number, &code).await.refused(410, "invalid-token");
    }
    let head = log.head().await;
    let first = verify(&app, NUMBER, &code).await;
    assert_eq!((first.status, first.header("etag")), (200, "\"3\""), "{first:?}");
    assert_eq!(
        first.json(),
        json!({ "id": id, "version": 3, "position": head + 1, "events": ["user.phone_verified"] })
    );
    verify(&app, NUMBER, &code).await.refused(410, "invalid-token");
    assert_eq!(log.count("codes", "true").await, 0);
    let ada = app.sign_in(NUMBER, PASSWORD).await;
    let me = app.get("/v1/me").bearer(&ada.access).expect(200).await;
    assert_eq!((&me["phone_verified"], &me["status"]), (&json!(true), &json!("active")));
    // Whoever is verified is sent nothing more.
    assert_eq!(ask(&app, NUMBER).await.status, 202);
    registered(&app, "eve", OTHER).await;
    app.phones().to(OTHER).await;
    assert_eq!(app.phones().messages().len(), 2);
}

async fn a_code_bears_five_wrong_guesses_however_many_come_at_once(engine: Engine) {
    const GUESSES: u32 = 100;
    let app = App::start(engine).await;
    registered(&app, "ada", NUMBER).await;
    let sms = app.phones().to(NUMBER).await;
    let codes: Vec<String> = (0..GUESSES).map(|number| sms.wrong(number)).collect();
    let replies = join_all(codes.iter().map(|code| verify(&app, NUMBER, code))).await;
    for reply in &replies {
        reply.refused(410, "invalid-token");
    }
    let mut log = app.log().await;
    let tries = log.numbers("SELECT tries FROM codes").await;
    told!("{engine:?}: {GUESSES} wrong guesses at once, {tries:?} counted");
    assert_eq!(tries, [5]);
    // The right one comes too late.
    verify(&app, NUMBER, &sms.code()).await.refused(410, "invalid-token");
    assert_eq!(ask(&app, NUMBER).await.status, 202);
    let next = app.phones().nth_to(NUMBER, 2).await;
    for number in 0..4 {
        verify(&app, NUMBER, &next.wrong(number))
            .await
            .refused(410, "invalid-token");
    }
    assert_eq!(verify(&app, NUMBER, &next.code()).await.status, 200);
}

async fn of_many_right_guesses_at_once_one_verifies(engine: Engine) {
    const GUESSES: usize = 40;
    let app = App::start(engine).await;
    registered(&app, "ada", NUMBER).await;
    let code = app.phones().to(NUMBER).await.code();
    let replies = join_all((0..GUESSES).map(|_| verify(&app, NUMBER, &code))).await;
    let (won, lost): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 200);
    let head = app.log().await.head().await;
    told!(
        "{engine:?}: {GUESSES} right guesses at once: {} verified, {} too late",
        won.len(),
        lost.len()
    );
    assert_eq!((won.len(), head), (1, 3));
    for reply in lost {
        reply.refused(410, "invalid-token");
    }
}

async fn the_newest_code_voids_older_ones(engine: Engine) {
    let app = App::start(engine).await;
    registered(&app, "ada", NUMBER).await;
    let first = app.phones().to(NUMBER).await.code();
    let mut second = first.clone();
    for count in 2..6 {
        // One in a million is the same again.
        if second == first {
            assert_eq!(ask(&app, NUMBER).await.status, 202);
            second = app.phones().nth_to(NUMBER, count).await.code();
        }
    }
    verify(&app, NUMBER, &first).await.refused(410, "invalid-token");
    assert_eq!(verify(&app, NUMBER, &second).await.status, 200);
}

async fn ten_codes_go_to_a_number_on_one_day(engine: Engine) {
    let app = App::start(engine).await;
    registered(&app, "ada", NUMBER).await;
    for number in 0..12 {
        // A code that another one follows before it is sent is not sent any more.
        app.phones().nth_to(NUMBER, (number + 1).min(10)).await;
        let call = app.command("request-phone-verification", &json!({ "phone": NUMBER }));
        // With a key the answer waits for the work, so that the count below is the last word.
        let reply = call.header("idempotency-key", format!("ask-{number}")).send().await;
        assert_eq!((reply.status, reply.body.as_str()), (202, "{}"));
    }
    app.phones().nth_to(NUMBER, 10).await;
    let asked = app
        .log()
        .await
        .count("events", "event_type = 'user.phone_verification_requested'")
        .await;
    told!("{engine:?}: 13 codes asked for, {asked} given");
    assert_eq!(asked, 10);
    // The last of them still works, and another number has its own ten.
    let last = app.phones().nth_to(NUMBER, 10).await;
    assert_eq!(verify(&app, NUMBER, &last.code()).await.status, 200);
    registered(&app, "eve", OTHER).await;
    app.phones().to(OTHER).await;
    // Somebody new with such a number has an account, and asks tomorrow.
    let ada = app.sign_in("ada", PASSWORD).await;
    let change = json!({ "phone": "+6584932468", "current_password": PASSWORD });
    app.command("change-phone", &change)
        .bearer(&ada.access)
        .expect(200)
        .await;
    let body = json!({ "username": "joan", "phone": NUMBER, "password": PASSWORD });
    let receipt = app.command("register-user", &body).expect(201).await;
    assert_eq!(receipt["events"], json!(["user.registered"]));
}

/// A thief who knows the password takes a number; the owner sets another password, in one way or the other. What is out
/// to that number opens nothing, and nothing more goes there until the owner asks.
async fn a_new_password_leaves_nothing_to_whoever_knew_the_one_before(engine: Engine) {
    let app = App::start(engine).await;
    let another = "nine grey geese by a pond";
    for (name, number, by_mail) in [("ada", NUMBER, false), ("eve", OTHER, true)] {
        let owner = app.with_email(name).await;
        let thief = app.sign_in(name, PASSWORD).await;
        let change = json!({ "phone": number, "current_password": PASSWORD });
        app.command("change-phone", &change)
            .bearer(&thief.access)
            .expect(200)
            .await;
        let out = app.phones().to(number).await.code();
        if by_mail {
            let body = json!({ "email": format!("{name}@farm.example") });
            assert_eq!(app.command("request-password-reset", &body).send().await.status, 202);
            let mail = until("the link", || async {
                let mails = app.mailbox().mails();
                mails.into_iter().find(|mail| mail.subject == "Reset your password")
            })
            .await;
            let body = json!({ "token": mail.token(), "new_password": another });
            app.command("reset-password", &body).expect(200).await;
        } else {
            let body = json!({ "current_password": PASSWORD, "new_password": another });
            app.command("change-password", &body)
                .bearer(&owner.access)
                .expect(200)
                .await;
        }
        let mut log = app.log().await;
        assert_eq!(log.count("codes", "true").await, 0);
        let head = log.head().await;
        verify(&app, number, &out).await.refused(410, "invalid-token");
        // Whoever asks without a sign-in is answered as ever, and no code is given.
        for number in [number, "+6584932469"] {
            let call = app.command("request-phone-verification", &json!({ "phone": number }));
            let reply = call.header("idempotency-key", format!("for-{number}")).send().await;
            assert_eq!((reply.status, reply.body.as_str()), (202, "{}"), "{number}");
        }
        assert_eq!(log.head().await, head);
        // The owner may still have the number, if it is theirs.
        let owner = app.sign_in(name, another).await;
        let call = app.command("request-phone-verification", &json!({ "phone": number }));
        assert_eq!(call.bearer(&owner.access).send().await.status, 202);
        let code = app.phones().nth_to(number, 2).await.code();
        assert_eq!(verify(&app, number, &code).await.status, 200);
    }
}

async fn the_public_learns_nothing_of_numbers(engine: Engine) {
    let app = App::start(engine).await;
    registered(&app, "ada", NUMBER).await;
    app.with_phone("eve", OTHER).await;
    let unknown = "+6584932469";
    let mut rounds: Vec<Vec<(u16, String, Value)>> = Vec::new();
    for number in [NUMBER, OTHER, unknown] {
        let key = format!("key-of-{number}");
        let mut answers = Vec::new();
        for (name, body) in [
            ("request-phone-verification", json!({ "phone": number })),
            ("request-password-reset", json!({ "phone": number })),
            ("verify-phone", json!({ "phone": number, "code": "abc" })),
            (
                "reset-password",
                json!({ "phone": number, "code": "abc", "new_password": "nine grey geese by a pond" }),
            ),
        ] {
            for (header, value) in [
                ("x-none", ""),
                ("if-match", "\"999\""),
                ("idempotency-key", key.as_str()),
            ] {
                let reply = app
                    .command(name, &body)
                    .header(
                        header,
                        format!("{value}{}", if header == "idempotency-key" { name } else { "" }),
                    )
                    .send()
                    .await;
                answers.push((reply.status, reply.wire(), json!(reply.steady_headers())));
            }
        }
        // The keys are spent, whoever they were for.
        for name in ["request-phone-verification", "request-password-reset"] {
            let call = app.command(name, &json!({ "phone": "+6584932470" }));
            let reply = call.header("idempotency-key", format!("{key}{name}")).send().await;
            answers.push((reply.status, reply.wire(), json!(reply.steady_headers())));
        }
        rounds.push(answers);
    }
    let statuses: Vec<u16> = rounds[0].iter().map(|(status, ..)| *status).collect();
    assert_eq!(
        statuses,
        [202, 202, 202, 202, 202, 202, 410, 410, 410, 410, 410, 410, 422, 422]
    );
    assert!(rounds.iter().all(|answers| *answers == rounds[0]), "{rounds:#?}");

    // And takes as long.
    let mut medians = Vec::new();
    let mut times = [const { Vec::new() }; 2];
    for _ in 0..25 {
        for (which, number) in [NUMBER, unknown].into_iter().enumerate() {
            let started = Instant::now();
            ask(&app, number).await;
            times[which].push(started.elapsed());
        }
    }
    for times in &mut times {
        times.sort_unstable();
        medians.push(times[times.len() / 2]);
    }
    told!(
        "{engine:?}: median answer {:?} for a known number, {:?} for an unknown",
        medians[0],
        medians[1]
    );
    assert!(medians.iter().all(|median| *median >= Duration::from_millis(60)));
    assert!(
        medians[0].abs_diff(medians[1]) <= Duration::from_millis(10),
        "{medians:?}"
    );
}
