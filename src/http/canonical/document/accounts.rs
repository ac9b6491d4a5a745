//! Accounts: what people do to their own.

use aggregates::values::{Boundary, Coordinates, Email, FullName, GeoId, Locale, Note, Phone, Username};
use serde_json::json;
use uuid::Uuid;

use super::super::reply::RegistrationReceipt;
use super::{Receipt, command};
use crate::http::document::{Code, CurrentPassword, Empty, Fields, NewPassword, Operation, Token};
use crate::http::problem::Slug;

const TAG: &str = "Accounts";
/// Passwords of the examples.
const FIRST: &str = "quiet harbour lantern";
const SECOND: &str = "brisk meadow saddle";
const OTHERS: &str = "The account; the caller's own if it is not given. Only administrators may name another's.";

pub(super) fn operations() -> Vec<Operation> {
    [opening(), verifying(), resetting(), changing()]
        .into_iter()
        .flatten()
        .collect()
}

fn opening() -> Vec<Operation> {
    let fields = Fields::new()
        .required::<NewPassword>(
            "password",
            "At least 8 characters, not a common one, none of one's own names.",
        )
        .optional::<Email>("email", "Its domain may be blocked. A mail with a link goes to it.")
        .optional::<Username>(
            "username",
            "Case and look-alike characters do not tell two names apart.",
        )
        .optional::<Phone>("phone", "E.164. A short message with a code goes to it.")
        .one_or_more_of(&["email", "username", "phone"]);
    let fields = profile(fields, false);
    vec![
        command("/v1/commands/register-user", TAG, "Opens an account", fields)
            .large()
            .text(
                "An account with an address or a number is pending until one of them is verified; one with a username \
                 only is active at once.",
            )
            .example(
                "with an address and a place",
                json!({
                    "email": "joe.smith@example.com", "username": "j_smith", "password": FIRST,
                    "full_name": "Joe Smith", "discoverable": true, "locale": "en-GB",
                    "position": { "latitude": 1.3521, "longitude": 103.8198 }, "geo_id": "field-17",
                    "boundary": { "type": "Polygon", "coordinates":
                        [[[103.8, 1.3], [103.9, 1.3], [103.9, 1.4], [103.8, 1.3]]] },
                }),
            )
            .example(
                "with a username only",
                json!({ "username": "grace", "password": FIRST }),
            )
            .example("with a number", json!({ "phone": "+6584932466", "password": FIRST }))
            .created::<RegistrationReceipt>()
            .refused(&[Slug::Taken, Slug::DomainBlocked, Slug::AddressBlocked]),
        command(
            "/v1/commands/erase-user",
            TAG,
            "Erases an account for good",
            Fields::new()
                .optional::<Uuid>("user_id", OTHERS)
                .optional::<CurrentPassword>("current_password", "Needed for one's own account.")
                .required::<Note>("reason", "Asked for and not kept."),
        )
        .text(
            "The keys of the personal data are destroyed, names become free, sessions and credentials are gone. The \
             history keeps its shape.",
        )
        .example(
            "one's own",
            json!({ "current_password": SECOND, "reason": "moved to another service" }),
        )
        .done::<Receipt>()
        .refused(&[Slug::Forbidden, Slug::WrongPassword, Slug::NotFound]),
    ]
}

/// The members of a profile; in an update each may be cleared.
fn profile(fields: Fields, update: bool) -> Fields {
    let (name, geo, area, place, tag) = (
        "",
        "The client's own name for the place.",
        "GeoJSON Polygon or MultiPolygon with closed rings.",
        "Degrees, WGS 84. The country is derived from it.",
        "BCP 47: language, script, region.",
    );
    let fields = fields.optional::<bool>("discoverable", "Whether others may find the account by its place.");
    if update {
        fields
            .nullable::<FullName>("full_name", name)
            .nullable::<Coordinates>("position", place)
            .nullable::<GeoId>("geo_id", geo)
            .nullable::<Boundary>("boundary", area)
            .nullable::<Locale>("locale", tag)
    } else {
        fields
            .optional::<FullName>("full_name", name)
            .optional::<Coordinates>("position", place)
            .optional::<GeoId>("geo_id", geo)
            .optional::<Boundary>("boundary", area)
            .optional::<Locale>("locale", tag)
    }
}

fn verifying() -> Vec<Operation> {
    let heard = "Heard. The answer is the same whether or not there is such an account.";
    vec![
        command(
            "/v1/commands/request-email-verification",
            TAG,
            "Asks for another mail with a link",
            Fields::new().required::<Email>("email", ""),
        )
        .text(
            "An address that is unverified and older than the password is sent none unless its owner, signed in, asks.",
        )
        .example("again", json!({ "email": "joe.smith@example.com" }))
        .answers::<Empty>(202, heard)
        .versioned::<Receipt>(200, "To the owner, signed in.")
        .refused(&[Slug::NotFound, Slug::DomainBlocked, Slug::AddressBlocked]),
        command(
            "/v1/commands/verify-email",
            TAG,
            "Verifies an address",
            Fields::new().required::<Token>("token", "From the mail."),
        )
        .example(
            "with the token of the mail",
            json!({ "token": "AaH93S6Uc8e7IcpLqRq0HsY3iG8J3d8ODp-1aZBK9snq7c1WIfjSLq75WaoVQm4e" }),
        )
        .done::<Receipt>()
        .refused(&[Slug::InvalidToken, Slug::DomainBlocked, Slug::AddressBlocked]),
        command(
            "/v1/commands/request-phone-verification",
            TAG,
            "Asks for another code",
            Fields::new().required::<Phone>("phone", "E.164."),
        )
        .text(
            "A new code voids the one before. A number that is unverified and older than the password is sent none unless \
             its owner, signed in, asks.",
        )
        .example("again", json!({ "phone": "+6584932466" }))
        .answers::<Empty>(202, heard),
        command(
            "/v1/commands/verify-phone",
            TAG,
            "Verifies a number",
            Fields::new()
                .required::<Phone>("phone", "E.164.")
                .required::<Code>("code", "From the short message. Five wrong ones void it."),
        )
        .example("with the code", json!({ "phone": "+6584932466", "code": "204816" }))
        .done::<Receipt>()
        .refused(&[Slug::InvalidToken]),
    ]
}

fn resetting() -> Vec<Operation> {
    vec![
        command(
            "/v1/commands/request-password-reset",
            TAG,
            "Asks for a way back in",
            Fields::new()
                .optional::<Email>("email", "A mail with a link goes to it.")
                .optional::<Phone>("phone", "A short message with a code goes to it.")
                .one_of(&[&["email"], &["phone"]]),
        )
        .example("by mail", json!({ "email": "joe.smith@example.com" }))
        .example("by short message", json!({ "phone": "+6584932466" }))
        .answers::<Empty>(
            202,
            "Heard. The answer is the same whether or not there is such an account.",
        ),
        command(
            "/v1/commands/reset-password",
            TAG,
            "Sets a new password with a link or a code",
            Fields::new()
                .optional::<Token>("token", "From the mail.")
                .optional::<Phone>("phone", "With the code.")
                .optional::<Code>("code", "From the short message.")
                .required::<NewPassword>("new_password", "")
                .one_of(&[&["token"], &["phone", "code"]]),
        )
        .text("Ends every session.")
        .example(
            "with a link",
            json!({
                "token": "AaH93S6Uc8e7IcpLqRq0HsY3iG8J3d8ODp-1aZBK9snq7c1WIfjSLq75WaoVQm4e",
                "new_password": SECOND,
            }),
        )
        .example(
            "with a code",
            json!({ "phone": "+6584932466", "code": "204816", "new_password": SECOND }),
        )
        .done::<Receipt>()
        .refused(&[Slug::InvalidToken]),
    ]
}

fn changing() -> Vec<Operation> {
    vec![
        command(
            "/v1/commands/change-password",
            TAG,
            "Changes one's password",
            Fields::new()
                .required::<CurrentPassword>("current_password", "")
                .required::<NewPassword>("new_password", ""),
        )
        .text("Ends every other session.")
        .example("another", json!({ "current_password": FIRST, "new_password": SECOND }))
        .done::<Receipt>()
        .refused(&[Slug::WrongPassword, Slug::TokenRevoked]),
        command(
            "/v1/commands/change-username",
            TAG,
            "Changes a username",
            Fields::new()
                .required::<Username>("username", "")
                .optional::<Uuid>("user_id", OTHERS),
        )
        .example("one's own", json!({ "username": "joe" }))
        .done::<Receipt>()
        .refused(&[Slug::Taken, Slug::NotFound]),
        command(
            "/v1/commands/request-email-change",
            TAG,
            "Asks for another address",
            Fields::new()
                .required::<Email>(
                    "email",
                    "The new one. A mail with a link goes to it, a notice to the old one.",
                )
                .required::<CurrentPassword>("current_password", ""),
        )
        .example(
            "another",
            json!({ "email": "joe@farm.example", "current_password": FIRST }),
        )
        .done::<Receipt>()
        .refused(&[
            Slug::WrongPassword,
            Slug::Taken,
            Slug::DomainBlocked,
            Slug::AddressBlocked,
            Slug::TokenRevoked,
        ]),
        command(
            "/v1/commands/confirm-email-change",
            TAG,
            "Takes the new address into use",
            Fields::new().required::<Token>("token", "From the mail to the new address."),
        )
        .example(
            "with the token of the mail",
            json!({ "token": "AaH93S6Uc8e7IcpLqRq0HsY3iG8J3d8ODp-1aZBK9snq7c1WIfjSLq75WaoVQm4e" }),
        )
        .done::<Receipt>()
        .refused(&[
            Slug::InvalidToken,
            Slug::Taken,
            Slug::DomainBlocked,
            Slug::AddressBlocked,
        ]),
        command(
            "/v1/commands/change-phone",
            TAG,
            "Changes one's number",
            Fields::new()
                .required::<Phone>("phone", "The new one, E.164. It is unverified again.")
                .required::<CurrentPassword>("current_password", ""),
        )
        .example("another", json!({ "phone": "+6584932467", "current_password": FIRST }))
        .done::<Receipt>()
        .refused(&[Slug::WrongPassword, Slug::Taken, Slug::TokenRevoked]),
        command(
            "/v1/commands/update-profile",
            TAG,
            "Changes a profile",
            profile(Fields::new(), true)
                .optional::<Uuid>("user_id", OTHERS)
                .one_or_more_of(&["full_name", "discoverable", "position", "geo_id", "boundary", "locale"]),
        )
        .text("What is not named stays; null clears.")
        .large()
        .example(
            "a name, and no place any more",
            json!({ "full_name": "Joseph Smith", "position": null }),
        )
        .done::<Receipt>()
        .refused(&[Slug::NotFound]),
    ]
}
