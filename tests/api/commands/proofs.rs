//! The proof that somebody controls a domain.

use std::time::Instant;

use serde_json::{Value, json};

use crate::harness::{App, Engine, NameServer, PASSWORD, Tokens, on_both_engines, until};

on_both_engines![
    who_publishes_the_record_has_proved_the_domain,
    a_long_answer_is_fetched_over_tcp,
    dns_that_does_not_answer_is_not_taken_for_a_missing_record,
    a_domain_whose_servers_are_dead_holds_up_no_other,
    only_the_domains_own_people_and_administrators_may,
];

async fn with_dns(engine: Engine) -> (App, NameServer) {
    let dns = NameServer::start().await;
    let app = App::start_with(engine, &[("REGISTRY__DOMAINS__RESOLVERS", &dns.address())]).await;
    (app, dns)
}

/// Somebody with a verified address of the domain.
async fn owner(app: &App, email: &str) -> Tokens {
    let body = json!({ "email": email, "password": PASSWORD });
    app.command("register-user", &body).expect(201).await;
    let mail = app.mailbox().to(email).await;
    let body = json!({ "token": mail.token() });
    app.command("verify-email", &body).expect(200).await;
    app.sign_in(email, PASSWORD).await
}

async fn ask(app: &App, who: &Tokens, domain: &str, status: u16) -> Value {
    let body = json!({ "domain": domain });
    app.command("request-domain-proof", &body)
        .bearer(&who.access)
        .expect(status)
        .await
}

async fn prove(app: &App, who: &Tokens, domain: &str, status: u16) -> Value {
    let body = json!({ "domain": domain });
    app.command("prove-domain", &body)
        .bearer(&who.access)
        .expect(status)
        .await
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}

async fn who_publishes_the_record_has_proved_the_domain(engine: Engine) {
    let (app, dns) = with_dns(engine).await;
    let ann = owner(&app, "ann@shop.example").await;

    // Nobody asked yet: DNS is not bothered.
    assert_eq!(
        prove(&app, &ann, "shop.example", 409).await["type"],
        "/problems/conflict"
    );
    assert_eq!(dns.asked(), [""; 0]);

    let asked = ask(&app, &ann, " SHOP.example ", 200).await;
    assert_eq!(asked["events"], json!(["domain.proof_requested"]));
    assert_eq!(
        (&asked["id"], text(&asked, "txt_name")),
        (&json!("shop.example"), "_user-registry.shop.example")
    );
    let value = text(&asked, "txt_value");
    assert!(
        value.starts_with("user-registry-proof=") && value.len() == 63,
        "{value}"
    );
    // Asked again: the same record, and nothing happened.
    let again = ask(&app, &ann, "shop.example", 200).await;
    assert_eq!((&again["events"], text(&again, "txt_value")), (&json!([]), value));

    // Not there; there with something else; beside the domain itself: none of these proves anything.
    let missing = prove(&app, &ann, "shop.example", 409).await;
    assert!(
        text(&missing, "detail").contains("_user-registry.shop.example"),
        "{missing}"
    );
    assert_eq!(dns.asked(), ["_user-registry.shop.example."]);
    dns.publish("_user-registry.shop.example", &["user-registry-proof=somebody-elses"]);
    dns.publish("shop.example", &[value]);
    prove(&app, &ann, "shop.example", 409).await;

    // In two parts, beside others, as a provider may split it.
    dns.publish("_user-registry.shop.example", &[&value[..9], &value[9..]]);
    let proved = prove(&app, &ann, "shop.example", 200).await;
    assert_eq!(
        (&proved["events"], &proved["id"]),
        (&json!(["domain.proved"]), &json!("shop.example"))
    );
    assert_eq!(prove(&app, &ann, "shop.example", 200).await["events"], json!([]));
    let boss = app.admin().await;
    let seen = app
        .get("/v1/domains/shop.example")
        .bearer(&boss.access)
        .expect(200)
        .await;
    assert_eq!(seen["proved"], true);

    // Another domain has another value.
    let other = ask(&app, &boss, "farm.example", 201).await;
    assert_ne!(text(&other, "txt_value"), value);
}

async fn a_long_answer_is_fetched_over_tcp(engine: Engine) {
    let (app, dns) = with_dns(engine).await;
    let boss = app.admin().await;
    let asked = ask(&app, &boss, "shop.example", 201).await;
    let name = text(&asked, "txt_name");
    for n in 0..9 {
        dns.publish(name, &[&format!("{n}{}", "x".repeat(200))]);
    }
    dns.publish(name, &[text(&asked, "txt_value")]);
    prove(&app, &boss, "shop.example", 200).await;
    assert_eq!(dns.over_tcp(), 1);
}

async fn dns_that_does_not_answer_is_not_taken_for_a_missing_record(engine: Engine) {
    let (app, dns) = with_dns(engine).await;
    let boss = app.admin().await;
    let asked = ask(&app, &boss, "shop.example", 201).await;
    dns.publish(text(&asked, "txt_name"), &[text(&asked, "txt_value")]);
    dns.failing(true);
    assert_eq!(
        prove(&app, &boss, "shop.example", 503).await["type"],
        "/problems/unavailable"
    );
    dns.failing(false);
    dns.silent(true);
    let body = json!({ "domain": "shop.example" });
    let reply = app.command("prove-domain", &body).bearer(&boss.access).send().await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, "5"));
    // Dead, it is left alone for a while, and nobody waits for it.
    let unasked = until("an answer without a question", async || {
        let (before, asked) = (dns.asked().len(), Instant::now());
        let reply = app.command("prove-domain", &body).bearer(&boss.access).send().await;
        let took = asked.elapsed();
        assert_eq!((reply.status, reply.header("retry-after")), (503, "5"));
        (dns.asked().len() == before).then_some(took)
    })
    .await;
    told!("{engine:?}: while it is left alone the answer comes after {unasked:?}");
    dns.silent(false);
    until("the name server to be asked again", async || {
        let reply = app.command("prove-domain", &body).bearer(&boss.access).send().await;
        (reply.status == 200).then_some(())
    })
    .await;
}

async fn a_domain_whose_servers_are_dead_holds_up_no_other(engine: Engine) {
    let (app, dns) = with_dns(engine).await;
    let boss = app.admin().await;
    let asked = ask(&app, &boss, "shop.example", 201).await;
    dns.publish(text(&asked, "txt_name"), &[text(&asked, "txt_value")]);
    ask(&app, &boss, "dead.example", 201).await;
    dns.silent_about("_user-registry.dead.example");
    prove(&app, &boss, "dead.example", 503).await;
    prove(&app, &boss, "shop.example", 200).await;
}

async fn only_the_domains_own_people_and_administrators_may(engine: Engine) {
    let (app, dns) = with_dns(engine).await;
    let ann = owner(&app, "ann@shop.farm.example").await;
    let eve = app.user("eve").await;
    for name in ["request-domain-proof", "prove-domain"] {
        for (who, domain) in [
            (&eve, "shop.farm.example"),
            (&ann, "other.example"),
            // Neither above nor below one's own.
            (&ann, "farm.example"),
            (&ann, "sub.shop.farm.example"),
        ] {
            let reply = app
                .command(name, &json!({ "domain": domain }))
                .bearer(&who.access)
                .send()
                .await;
            assert_eq!(
                (reply.status, &reply.json()["type"]),
                (403, &json!("/problems/forbidden")),
                "{name} {domain}"
            );
        }
    }
    assert_eq!(dns.asked(), [""; 0]);
}
