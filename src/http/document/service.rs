//! The operations of the service itself: health, keys, documents, and the pages behind the links of mails.

use axum::http::Method;
use serde_json::{Value, json};

use super::shape::{Components, Shape, shape};
use super::{Fields, Operation};
use crate::http::operations::Ready;
use crate::http::problem::Slug;
use crate::tokens::{Jwk, Jwks};

shape! {
    /// The public keys of access tokens (RFC 7517).
    Jwks as "Jwks" {
        keys: Vec<Jwk>,
    }

    /// A key (RFC 8037).
    Jwk as "Jwk" {
        /// OKP.
        kty: String,
        /// Ed25519.
        crv: String,
        /// The key, base64url.
        x: String,
        /// Its thumbprint (RFC 7638).
        kid: String,
        /// sig.
        usage = "use": String,
        /// EdDSA.
        alg: String,
    }
}

/// That the process lives.
struct Alive;

impl Shape for Alive {
    fn schema(_: &mut Components) -> Value {
        json!({ "type": "object", "properties": { "status": { "const": "ok" } }, "required": ["status"] })
    }
}

const TAG: &str = "Service";
const PAGES: &str = "Pages";

pub(super) fn operations() -> Vec<Operation> {
    let mut operations = vec![
        Operation::get("/healthz", TAG, "Whether the process lives").answers::<Alive>(200, "It does."),
        Operation::get("/readyz", TAG, "Whether requests can be served, part by part")
            .answers::<Ready>(200, "They can.")
            .answers::<Ready>(503, "They cannot; the parts say why."),
        Operation::get("/metrics", TAG, "Measurements in the text format of Prometheus")
            .text("For addresses of `http.metrics_networks`.")
            .plain("text/plain", "The measurements.")
            .refused(&[Slug::Forbidden, Slug::NotFound]),
        Operation::get("/.well-known/jwks.json", TAG, "The public keys of access tokens")
            .text("What a service needs to verify tokens by itself; see /docs/tokens.")
            .answers::<Jwks>(200, "Every key whose tokens are accepted."),
        Operation::get("/openapi.json", TAG, "This document").answers::<Value>(200, "OpenAPI 3.1."),
        Operation::get("/asyncapi.json", TAG, "What other services can hear, and how")
            .text("The public events by pull, as a stream and through a broker, with the schema of each.")
            .answers::<Value>(200, "AsyncAPI 3.0."),
        Operation::get(
            "/schemas/{type}/{version}",
            TAG,
            "The schema of what a public event says",
        )
        .text("Of its member `data`; the event names it as its `dataschema`.")
        .json_schema("A JSON Schema of 2020-12.")
        .refused(&[Slug::NotFound]),
        Operation::get("/docs", TAG, "This document to read").page(200, "The page."),
        Operation::get("/docs/tokens", TAG, "How to verify an access token").page(200, "The page."),
        Operation::get("/docs/events", TAG, "What every type of event means").page(200, "The page."),
        Operation::get("/problems", TAG, "Every kind of problem")
            .page(200, "A list; plain text for those who do not ask for HTML.")
            .plain("text/plain", "The list."),
        Operation::get("/problems/{slug}", TAG, "One kind of problem")
            .page(200, "What it means; plain text for those who do not ask for HTML.")
            .plain("text/plain", "What it means.")
            .refused(&[Slug::NotFound]),
    ];
    for (path, asks, does, password) in [
        ("/verify-email", "Asks to verify an address", "Verifies it", false),
        (
            "/confirm-email-change",
            "Asks to use a new address",
            "Takes it into use",
            false,
        ),
        ("/reset-password", "Asks for a new password", "Sets it", true),
    ] {
        operations.push(
            Operation::get(path, PAGES, asks)
                .text("Behind the link of a mail. Opening it changes nothing.")
                .link("token", "From the mail.")
                .page(200, "A form.")
                .page(410, "The link is not complete."),
        );
        operations.push(posted(path, does, password));
    }
    operations
}

fn posted(path: &'static str, does: &'static str, password: bool) -> Operation {
    let mut fields = Fields::new().optional::<String>("token", "From the mail.");
    if password {
        fields = fields.optional::<String>("new_password", "");
    }
    let page = Operation::new(Method::POST, path, PAGES, does)
        .form(fields)
        .page(200, "Done.")
        .page(400, "The form cannot be read, or the password may not be chosen.")
        .page(410, "The link is wrong, used or too old.")
        .page(413, "The form is too large.")
        .page(415, "This is no form.")
        .page(429, "This was asked for too often.")
        .page(500, "A fault of the service.")
        .page(503, "Something is busy.");
    if password {
        page
    } else {
        page.page(403, "The address is blocked.")
    }
}
