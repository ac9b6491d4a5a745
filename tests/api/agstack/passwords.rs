//! Sections 3.3 and 3.4.

use serde_json::json;

use super::web::{PASSWORD, Web, activated, link, reset_link, row};
use crate::harness::{App, Engine, on_both_engines};

on_both_engines![a_forgotten_password_is_replaced_by_a_link];

async fn a_forgotten_password_is_replaced_by_a_link(engine: Engine) {
    let app = App::start(engine).await;
    let web = Web::python(&app);
    activated(&app, &web, "ada@farm.example").await;
    let (access, refresh) = web.logs_in("ada@farm.example").await;
    let sent = "A link to reset your password has been sent to your email!";
    row("agstack 3.3", "account exists");
    web.post("/forgot-password", &json!({ "email": "ada@farm.example" }))
        .says(200, sent)
        .await;
    row("agstack 3.3", "account does not exist");
    web.post("/forgot-password", &json!({ "email": "nobody@farm.example" }))
        .says(200, sent)
        .await;
    row("agstack 3.3", "invalid address");
    for body in [json!({ "email": "nobody" }), json!({})] {
        web.post("/forgot-password", &body)
            .says(400, "Form validation failed")
            .await;
    }
    web.call("POST", "/forgot-password")
        .header("content-type", "application/json")
        .raw("{")
        .says(400, "Form validation failed")
        .await;
    row("agstack 3.3", "logged in");
    web.post("/forgot-password", &json!({ "email": "ada@farm.example" }))
        .bearer(&access)
        .says(200, "Already logged in")
        .await;
    let browser = Web::browser(&app);
    browser
        .form("/login", &[("email", "ada@farm.example"), ("password", PASSWORD)])
        .leads_to("/home")
        .await;
    browser.get("/forgot-password").leads_to("/home").await;

    // The activation, the keys, the reset.
    let mail = app.mailbox().nth_to("ada@farm.example", 3).await;
    assert_eq!(mail.subject, "Reset password");
    let path = reset_link(&app, "ada@farm.example").await;
    assert!(path.starts_with("/reset-password/"), "{path}");
    row("agstack 3.4", "logged in");
    let new = json!({ "password": "Passw0rd2", "confirm_pass": "Passw0rd2" });
    web.post(&path, &new)
        .bearer(&access)
        .says(200, "Already logged in")
        .await;
    row("agstack 3.4", "weak password / mismatch");
    let failed = |errors| json!({ "message": "Form validation failed", "errors": errors });
    web.post(&path, &json!({ "password": "weak" }))
        .is(
            400,
            failed(json!({ "password": ["Please follow the guidelines for a strong password"] })),
        )
        .await;
    web.post(&path, &json!({ "password": "Passw0rd2", "confirm_pass": "Passw0rd3" }))
        .is(400, failed(json!({ "confirm_pass": ["Passwords don't match!"] })))
        .await;
    row("agstack 3.4", "new = old password");
    let same = "We're sorry, but the new password you entered is the same as your previous password.";
    web.post(&path, &json!({ "password": PASSWORD, "confirm_pass": PASSWORD }))
        .says(400, same)
        .await;
    row("agstack 3.4", "bad/expired token");
    row("agstack 4", "H6");
    let bad = "The confirmation link is invalid or has expired.";
    let activation = link(&app, "ada@farm.example", 1)
        .await
        .replace("/activate/", "/reset-password/");
    for wrong in [
        "/reset-password/x",
        "/reset-password/%ff",
        &activation,
        &format!("{path}A"),
    ] {
        web.post(wrong, &new).says(400, bad).await;
        web.get(wrong).says(400, bad).await;
        Web::browser(&app).get(wrong).leads_to("/forgot-password").await;
    }
    let as_activation = path.replace("/reset-password/", "/activate/");
    web.get(&as_activation).says(400, "Invalid activation link!").await;
    // Opening the form changes nothing.
    Web::browser(&app).get(&path).shows(200, "Set a new password").await;
    row("agstack 3.4", "success");
    web.post(&path, &new).says(200, "Password updated succesfully!").await;
    for token in [&access, &refresh] {
        assert_eq!(web.get("/logout").bearer(token).send().await.status, 401);
    }
    web.logs_in_with("ada@farm.example", "Passw0rd2").await;
    web.post("/login", &json!({ "email": "ada@farm.example", "password": PASSWORD }))
        .says(401, "Wrong password")
        .await;
    web.post(&path, &json!({ "password": "Passw0rd3", "confirm_pass": "Passw0rd3" }))
        .says(400, bad)
        .await;
    Web::browser(&app)
        .form(&path, &[("password", "Passw0rd3"), ("confirm_pass", "Passw0rd3")])
        .leads_to("/forgot-password")
        .await;
    // A link that is used up does not ask for a password first.
    let browser = Web::browser(&app);
    browser.get(&path).leads_to("/forgot-password").await;
    browser.get("/forgot-password").shows(200, bad).await;
    row("agstack 3.4", "unknown user behind a good token");
    let user = web.signs_up("bob@farm.example").await;
    web.post("/forgot-password", &json!({ "email": "bob@farm.example" }))
        .says(200, sent)
        .await;
    let path = reset_link(&app, "bob@farm.example").await;
    let admin = app.admin().await;
    let order = json!({ "user_id": user, "reason": "asked for" });
    app.command("erase-user", &order)
        .bearer(&admin.access)
        .expect(200)
        .await;
    web.post(&path, &new).says(400, bad).await;
}
