//! What a browser sees (section 3.11 and the pages of the others).

use serde_json::json;

use super::web::{PASSWORD, Web, activated, link, reset_link, row};
use crate::harness::{App, Engine, on_both_engines};

on_both_engines![
    somebody_goes_through_every_page,
    a_form_of_a_browser_repeats_what_its_page_gave,
    administrators_see_what_is_counted,
];

async fn somebody_goes_through_every_page(engine: Engine) {
    let app = App::start(engine).await;
    let browser = Web::browser(&app);
    // The Log in dialog ends with the link that leads to the form.
    let page = browser.get("/").shows(200, "<h1>Log in</h1>").await;
    assert!(page.body.find("<form").unwrap() < page.body.rfind("<a href=\"/signup\">Sign up</a>").unwrap());
    let page = browser.get("/signup").shows(200, "<h1>Sign up now</h1>").await;
    assert!(page.body.contains("<button>Create</button>"));
    for name in [
        "email",
        "password",
        "confirm_pass",
        "phone_num",
        "lat",
        "lng",
        "discoverable",
        "newsletter",
    ] {
        assert!(
            page.body.contains(&format!("name=\"{name}\"")) && page.body.contains(&format!("for=\"{name}\"")),
            "{name}"
        );
    }
    let token = browser.cookie("form_token").unwrap();
    assert!(page.body.contains(&format!("name=\"form_token\" value=\"{token}\"")));
    let form = |email: &'static str, repeated: &'static str| {
        vec![
            ("email", email),
            ("password", PASSWORD),
            ("confirm_pass", repeated),
            ("phone_num", "921234567890"),
            ("form_token", ""),
        ]
    };
    // What is typed is shown again, and is no markup.
    let mut wrong = form("\"><b>x</b>@farm.example", PASSWORD);
    wrong.retain(|(name, _)| *name != "form_token");
    let page = browser
        .form("/signup", &wrong)
        .shows(400, "Invalid email address.")
        .await;
    assert!(
        !page.body.contains("<b>x</b>") && page.body.contains("921234567890"),
        "{}",
        page.body
    );
    assert!(!page.body.contains(PASSWORD));
    let mut other = form("ada@farm.example", "Passw0rd9");
    other.retain(|(name, _)| *name != "form_token");
    browser
        .form("/signup", &other)
        .shows(400, "Passwords don&#39;t match!")
        .await;
    let mut good = form("ada@farm.example", PASSWORD);
    good.retain(|(name, _)| *name != "form_token");
    good.push(("form_token", token.as_str()));
    browser
        .form("/signup", &good)
        .header("origin", app.base())
        .leads_to("/")
        .await;
    browser
        .get("/")
        .shows(200, "A confirmation email has been sent via email.")
        .await;
    row("agstack 3.11", "`GET|POST /home`");
    let login = [("email", "ada@farm.example"), ("password", PASSWORD)];
    browser.form("/login", &login).leads_to("/home").await;
    browser
        .get("/home")
        .shows(200, "Your account is not activated yet")
        .await;
    browser.call("POST", "/home").shows(200, "ada@farm.example").await;
    browser.get("/resend").leads_to("/home").await;
    browser
        .get("/home")
        .shows(200, "A new confirmation email has been sent.")
        .await;
    browser
        .get(&link(&app, "ada@farm.example", 1).await)
        .leads_to("/logout")
        .await;
    browser.get("/logout").leads_to("/").await;
    browser.form("/login", &login).leads_to("/home").await;
    let page = browser.get("/home").shows(200, "Generate API keys").await;
    assert!(!page.body.contains("not activated yet") && !page.body.contains("/dashboard"));
    browser.get("/update").shows(200, "value=\"921234567890\"").await;
    let token = browser.cookie("form_token").unwrap();
    let update = [
        ("phone_num", "921234567891"),
        ("discoverable_shown", "1"),
        ("form_token", token.as_str()),
    ];
    browser
        .form("/update", &update)
        .shows(200, "Phone number updated")
        .await;
    let update = [("phone_num", "x"), ("form_token", token.as_str())];
    browser
        .form("/update", &update)
        .shows(400, "Please provide a valid phone number")
        .await;
    // Nothing but the cookie says that somebody means it.
    browser
        .form("/update", &[("phone_num", "921234567892")])
        .shows(403, "not sent from this site")
        .await;
    row("agstack 3.11", "`GET /asset-registry-home`");
    browser.get("/asset-registry-home").leads_to("/home").await;
    let session = Web::python_session(&app);
    let (access, refresh) = session.logs_in("ada@farm.example").await;
    let handed = |refresh: &str| json!({ "message": "", "token": { "Authorization": format!("Bearer {access}"), "refresh_token": refresh } });
    session.get("/asset-registry-home").is(200, handed(&refresh)).await;
    let web = Web::python(&app);
    web.get("/asset-registry-home")
        .bearer(&access)
        .is(200, handed(""))
        .await;
    browser.get("/logout").leads_to("/").await;
    browser.get("/forgot-password").shows(200, "Send the link").await;
    browser
        .form("/forgot-password", &[("email", "nobody")])
        .shows(400, "Invalid email address.")
        .await;
    browser
        .form("/forgot-password", &[("email", "ada@farm.example")])
        .leads_to("/")
        .await;
    let path = reset_link(&app, "ada@farm.example").await;
    browser.get(&path).shows(200, "<h1>Set a new password</h1>").await;
    let weak = [("password", "weak"), ("confirm_pass", "weak")];
    browser
        .form(&path, &weak)
        .shows(400, "Please follow the guidelines for a strong password")
        .await;
    browser
        .form(&path, &[("password", "Passw0rd2"), ("confirm_pass", "Passw0rd2")])
        .leads_to("/")
        .await;
    browser.get("/").shows(200, "Password updated succesfully!").await;
    let style = browser.get("/agstack.css").send().await;
    assert_eq!(
        (style.status, style.header("content-type")),
        (200, "text/css; charset=utf-8")
    );
    row("agstack 4", "H17");
    // Nothing is sent there, and no login waits for it: there is nobody at that address.
    let elsewhere = ("REGISTRY__AGSTACK__ASSET_REGISTRY_URL", "https://ar.example/home");
    let app = App::start_with(engine, &[elsewhere]).await;
    let browser = Web::browser(&app);
    Web::python(&app).signs_up("ada@farm.example").await;
    browser.form("/login", &login).leads_to("/home").await;
    browser
        .get("/asset-registry-home")
        .leads_to("https://ar.example/home")
        .await;
}

async fn a_form_of_a_browser_repeats_what_its_page_gave(engine: Engine) {
    let app = App::start(engine).await;
    let web = Web::python(&app);
    web.signs_up("ada@farm.example").await;
    web.post("/forgot-password", &json!({ "email": "ada@farm.example" }))
        .send()
        .await;
    let path = super::web::reset_link(&app, "ada@farm.example").await;
    let forms: [(&str, &[(&str, &str)]); 4] = [
        (
            "/signup",
            &[
                ("email", "bob@farm.example"),
                ("password", PASSWORD),
                ("confirm_pass", PASSWORD),
            ],
        ),
        ("/login", &[("email", "ada@farm.example"), ("password", PASSWORD)]),
        ("/forgot-password", &[("email", "bob@farm.example")]),
        (&path, &[("password", "Passw0rd2"), ("confirm_pass", "Passw0rd2")]),
    ];
    let own = [("origin", app.base()), ("sec-fetch-site", "same-origin")];
    let foreign = [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")];
    for (path, fields) in forms {
        let browser = Web::browser(&app);
        browser.get(path).send().await;
        let token = browser.cookie("form_token").unwrap();
        let repeated = |token: &str| {
            let mut all: Vec<(&str, String)> = fields
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect();
            all.push(("form_token", token.to_owned()));
            all
        };
        let send = async |fields: &[(&str, String)], (name, value): (&str, &str)| {
            let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            browser.form(path, &fields).header(name, value).send().await
        };
        let refused = |what: &str, reply: &crate::harness::Reply| {
            assert_eq!(reply.status, 403, "{path} {what}: {reply:?}");
            assert!(
                reply.body.contains("not sent from this site"),
                "{path} {what}: {reply:?}"
            );
        };
        let without: Vec<(&str, String)> = repeated("")
            .into_iter()
            .filter(|(name, _)| *name != "form_token")
            .collect();
        for header in own {
            refused("without the token", &send(&without, header).await);
            refused("with an empty one", &send(&repeated(""), header).await);
            refused("with another one", &send(&repeated(&"A".repeat(22)), header).await);
        }
        for header in foreign {
            refused("from elsewhere", &send(&repeated(&token), header).await);
        }
        let reply = send(&repeated(&token), own[0]).await;
        assert_eq!(reply.status, 302, "{path}: {reply:?}");
        // Without the cookie nothing is repeated.
        let reply = browser
            .form(path, &[("form_token", token.as_str())])
            .header("cookie", "a=b")
            .header("origin", app.base())
            .send()
            .await;
        refused("without the cookie", &reply);
    }
    // Who shows a token in a header meant it: a page of one's own elsewhere sends forms too (contract, hole H8).
    let tokens = web.logs_in_with("ada@farm.example", "Passw0rd2").await;
    let by = Web::browser(&app);
    by.put_cookie("access_token_cookie", &tokens.0);
    for (path, status) in [("/update", 202), ("/generate-api-keys", 200), ("/logout", 200)] {
        let call = || {
            let call = by.form(path, &[("phone_num", "921234567890")]);
            let headers = [foreign[0], foreign[1], ("accept", "application/json")];
            headers
                .into_iter()
                .fold(call, |call, (name, value)| call.header(name, value))
        };
        let reply = call().send().await;
        assert_eq!(reply.status, 403, "{path} {reply:?}");
        let reply = call().bearer(&tokens.0).send().await;
        assert_eq!(reply.status, status, "{path} {reply:?}");
    }
    // A program that writes forms brings neither headers of a browser nor a token.
    for agent in [super::web::FIREFOX, super::web::PYTHON] {
        let program = Web::agent(&app, Some(agent), "text/html");
        let login = [("email", "ada@farm.example"), ("password", "Passw0rd2")];
        let reply = program.form("/login", &login).send().await;
        assert!(matches!(reply.status, 200 | 302), "{agent}: {reply:?}");
        assert!(reply.headers.contains_key("set-cookie"));
    }
}

async fn administrators_see_what_is_counted(engine: Engine) {
    let app = App::start(engine).await;
    let web = Web::python(&app);
    let admin = app.admin().await;
    activated(&app, &web, "ada@farm.example").await;
    let body = json!({ "email": "bob@farm.example", "password": PASSWORD, "lat": 1.3521, "lng": 103.8198 });
    web.post("/signup", &body).send().await;
    let order = json!({ "domain": "farm.example" });
    app.command("issue-authority-token", &order)
        .bearer(&admin.access)
        .send()
        .await;
    row("agstack 3.11", "`GET /dashboard`");
    row("agstack 4", "H15");
    let (ada, _) = web.logs_in("ada@farm.example").await;
    web.get("/dashboard")
        .bearer(&ada)
        .says(403, "Only administrators may see this page.")
        .await;
    let browser = Web::browser(&app);
    browser
        .form("/login", &[("email", "ada@farm.example"), ("password", PASSWORD)])
        .leads_to("/home")
        .await;
    browser
        .get("/dashboard")
        .shows(403, "Only administrators may see this page.")
        .await;
    let (boss, _) = web
        .logs_in_with("boss@registry.example", "seven green goats on a hill")
        .await;
    let counted = crate::harness::until("three accounts to be counted", async || {
        let reply = web.get("/dashboard").bearer(&boss).send().await;
        assert_eq!(reply.status, 200, "{reply:?}");
        (reply.json()["total_users"] == 3).then(|| reply.json())
    })
    .await;
    assert_eq!(counted["total_authorized_domains"], 1);
    assert_eq!(counted["registered_users_country"], json!({ "SG": 1, "unknown": 2 }));
    let months = counted["registered_users_of_last_12_month"].as_object().unwrap();
    assert_eq!((months.len(), months.values().next_back()), (12, Some(&json!(3))));
    let browser = Web::browser(&app);
    let form = [
        ("email", "boss@registry.example"),
        ("password", "seven green goats on a hill"),
    ];
    browser.form("/login", &form).leads_to("/home").await;
    let page = browser
        .get("/dashboard")
        .shows(200, "Registered Users of last 12 month")
        .await;
    for words in [
        "Total Users",
        "Total Authorized Domains",
        "Registered Users Country",
        "<td>33.3 %</td>",
    ] {
        assert!(page.body.contains(words), "{words}");
    }
    // Two drawings, each with a table beside it that says the same.
    assert_eq!(page.body.matches("role=\"img\"").count(), 2);
    assert_eq!(
        (
            page.body.matches("<table>").count(),
            page.body.matches("class=\"bar\"").count()
        ),
        (2, 12)
    );
}
