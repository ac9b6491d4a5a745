//! What administrators do.

use aggregates::values::{DomainName, Email, Note, Role};
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::administration::{AskedProof, IssuedToken};
use super::super::reply::ReceiptWith;
use super::{Receipt, command};
use crate::http::document::{Fields, Operation};
use crate::http::problem::Slug;

const TAG: &str = "Administration";
const DOMAINS: &str = "Domains";

pub(super) fn operations() -> Vec<Operation> {
    [accounts(), domains(), addresses(), tokens()]
        .into_iter()
        .flatten()
        .collect()
}

fn about(path: &'static str, summary: &'static str, fields: Fields, body: Value) -> Operation {
    let fields = fields.required::<Uuid>("user_id", "");
    command(path, TAG, summary, fields)
        .example("an account", body)
        .done::<Receipt>()
        .refused(&[Slug::NotFound])
}

fn accounts() -> Vec<Operation> {
    const ID: &str = "01a1fddd-2e94-73c6-b791-5c530f6f0c92";
    let with_reason = || Fields::new().required::<Note>("reason", "Kept in the history, sealed.");
    let with_note = || Fields::new().optional::<Note>("reason", "Kept in the history, sealed.");
    let with_role = || Fields::new().required::<Role>("role", "");
    let reason = json!({ "user_id": ID, "reason": "reported twice" });
    let role = json!({ "user_id": ID, "role": "auditor" });
    vec![
        about(
            "/v1/commands/lock-user",
            "Locks an account",
            with_reason(),
            reason.clone(),
        )
        .text("Ends its sessions."),
        about(
            "/v1/commands/unlock-user",
            "Unlocks an account",
            with_reason(),
            reason.clone(),
        ),
        about(
            "/v1/commands/deactivate-user",
            "Takes an account out of use",
            with_note(),
            reason.clone(),
        ),
        about(
            "/v1/commands/reactivate-user",
            "Takes an account into use again",
            with_note(),
            reason,
        ),
        about("/v1/commands/grant-role", "Gives a role", with_role(), role.clone()),
        about("/v1/commands/revoke-role", "Takes a role", with_role(), role).text("One administrator always remains."),
    ]
}

fn domains() -> Vec<Operation> {
    let fields = || {
        Fields::new()
            .required::<DomainName>("domain", "Without a dot at its end.")
            .optional::<bool>("include_subdomains", "True if it is not given.")
            .optional::<Note>("reason", "Shown with the rule.")
    };
    let rule = |path, summary, body| {
        command(path, DOMAINS, summary, fields())
            .example("a domain", body)
            .done::<Receipt>()
    };
    let named = || json!({ "domain": "shop.example" });
    let reason = json!({ "domain": "spam.example", "include_subdomains": true, "reason": "throw-away addresses" });
    vec![
        rule("/v1/commands/allow-domain", "Admits the addresses of a domain", named()).created::<Receipt>(),
        rule("/v1/commands/block-domain", "Refuses the addresses of a domain", reason)
            .created::<Receipt>()
            .text("A block beats an allowance; the longest domain decides. Accounts that exist stay."),
        rule("/v1/commands/unblock-domain", "Takes a block away", named())
            .refused(&[Slug::NotFound])
            .text("The whole rule of the domain is taken away: `include_subdomains` has no meaning here."),
    ]
}

fn addresses() -> Vec<Operation> {
    let rule = |path, summary| {
        let fields = Fields::new()
            .required::<Email>("address", "")
            .optional::<Note>("reason", "");
        command(path, DOMAINS, summary, fields)
            .example("an address", json!({ "address": "mallory@shop.example" }))
            .done::<Receipt>()
    };
    vec![
        rule("/v1/commands/block-address", "Refuses a single address").created::<Receipt>(),
        rule("/v1/commands/unblock-address", "Admits it again").refused(&[Slug::NotFound]),
    ]
}

fn tokens() -> Vec<Operation> {
    let order = |path, summary| {
        let fields = Fields::new().required::<DomainName>("domain", "");
        command(path, DOMAINS, summary, fields).example("a domain", json!({ "domain": "shop.example" }))
    };
    vec![
        order(
            "/v1/commands/issue-authority-token",
            "Makes the token a domain's owner acts with",
        )
        .versioned::<ReceiptWith<IssuedToken<'static>>>(200, "Issued.")
        .created::<ReceiptWith<IssuedToken<'static>>>(),
        order("/v1/commands/rotate-authority-token", "Replaces it")
            .versioned::<ReceiptWith<IssuedToken<'static>>>(200, "Issued; the one before opens nothing any more.")
            .refused(&[Slug::NotFound]),
        order("/v1/commands/revoke-authority-token", "Takes it away")
            .done::<Receipt>()
            .refused(&[Slug::NotFound]),
        order("/v1/commands/request-domain-proof", "Says how to prove a domain")
            .text("For an administrator, or who has a verified address of this very domain. The record stays the same.")
            .versioned::<ReceiptWith<AskedProof>>(200, "Publish this record.")
            .created::<ReceiptWith<AskedProof>>()
            .refused(&[Slug::Forbidden]),
        order("/v1/commands/prove-domain", "Looks whether the record is there")
            .text("A record that DNS does not have yet is a conflict; try again when it is published.")
            .done::<Receipt>()
            .refused(&[Slug::Forbidden]),
    ]
}
