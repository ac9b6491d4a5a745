//! Section 2.3, and what the account's owner sees of it elsewhere.

use serde_json::json;

use super::web::{PASSWORD, Web, activated, row};
use crate::harness::{App, Engine, on_both_engines};

on_both_engines![only_the_number_and_being_found_can_be_changed];

async fn only_the_number_and_being_found_can_be_changed(engine: Engine) {
    let app = App::start(engine).await;
    let web = Web::python(&app);
    activated(&app, &web, "ada@farm.example").await;
    let (access, _) = web.logs_in("ada@farm.example").await;
    let post = |body| web.post("/update", &body).bearer(&access);
    row("agstack 2.3", "phone changed");
    post(json!({ "phone_num": "921234567890" }))
        .says(202, "Phone number updated")
        .await;
    for (method, number) in [("PATCH", "921234567891"), ("PUT", "+4915112345678")] {
        let call = web.call(method, "/update").json(&json!({ "phone_number": number }));
        call.bearer(&access).says(202, "Phone number updated").await;
    }
    let call = web.form("/update", &[("phone_num", "921234567890")]).bearer(&access);
    call.says(202, "Phone number updated").await;
    let canonical = app.sign_in("ada@farm.example", PASSWORD).await;
    let me = app.get("/v1/me").bearer(&canonical.access).expect(200).await;
    assert_eq!(
        (&me["phone"], &me["phone_verified"]),
        (&json!("921234567890"), &json!(false))
    );
    row("agstack 2.3", "nothing differs / nothing sent");
    let nothing = "Nothing to be updated";
    for body in [
        json!({}),
        json!({ "phone_num": "" }),
        json!({ "phone_num": "921234567890" }),
        json!({ "email": "ADA@farm.example", "password": "" }),
        json!({ "email": "" }),
        json!({ "nobody": "knows this" }),
        // Nobody can be found without a place.
        json!({ "discoverable": true }),
    ] {
        post(body).says(200, nothing).await;
    }
    web.call("POST", "/update").bearer(&access).says(200, nothing).await;
    row("agstack 2.3", "discoverable changed too");
    let both = json!({ "phone_num": "921234567899", "discoverable": true, "lat": 1.3521, "lng": 103.8198 });
    post(both)
        .says(202, "Phone number updated. Discoverable field updated")
        .await;
    // What is not sent stays.
    post(json!({ "phone_num": "921234567890" }))
        .says(202, "Phone number updated")
        .await;
    let me = app.get("/v1/me").bearer(&canonical.access).expect(200).await;
    assert_eq!((&me["discoverable"], &me["country"]), (&json!(true), &json!("SG")));
    post(json!({ "discoverable": "no" }))
        .says(202, "Discoverable field updated")
        .await;
    row("agstack 2.3", "invalid phone");
    let wrong = json!({ "message": "Form validation failed", "errors": { "phone_num": ["Please provide a valid phone number (e.g. 921234567890)"] } });
    post(json!({ "phone_num": "12" })).is(400, wrong.clone()).await;
    post(json!({ "phone_num": ["921234567890"] })).is(400, wrong).await;
    row(
        "agstack 2.3",
        "body carries `email` different from the current one, or `password`",
    );
    row("agstack 4", "H9");
    let field = |name: &str| json!({ "message": "Form validation failed", "errors": { name: ["This field can not be updated here."] } });
    post(json!({ "email": "other@farm.example" }))
        .is(400, field("email"))
        .await;
    post(json!({ "password": "Passw0rd2" }))
        .is(400, field("password"))
        .await;
    post(json!({ "email": "other@farm.example", "phone_num": "921234567811" }))
        .is(400, field("email"))
        .await;
    let me = app.get("/v1/me").bearer(&canonical.access).expect(200).await;
    assert_eq!(
        (&me["phone"], &me["email"]),
        (&json!("921234567890"), &json!("ada@farm.example"))
    );
    row("agstack 2.3", "not logged in");
    web.post("/update", &json!({ "phone_num": "921234567890" }))
        .says(401, "Need to Login.")
        .await;
}
