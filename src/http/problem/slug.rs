//! The kinds of problem. Their names are promised to clients and never change.

use std::fmt;

use axum::http::StatusCode;

use crate::registry::Refusal;

macro_rules! slugs {
    ($($variant:ident $text:literal $status:ident $title:literal $meaning:literal)*) => {
        /// One kind of problem.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Slug {
            $(#[doc = $meaning] $variant,)*
        }

        impl Slug {
            /// Every kind, in the order of their status.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its name in the `type` member.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// The status it is answered with.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status),* }
            }

            /// Its short title.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),* }
            }

            /// What it means and what a client can do about it.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning),* }
            }
        }
    };
}

slugs! {
    Malformed "malformed" BAD_REQUEST "Malformed request"
        "The request cannot be read: its body is not JSON, is nested too deeply or names a member twice, it carries two credentials, or a header such as If-Match has the wrong form."
    Invalid "invalid" BAD_REQUEST "Invalid fields"
        "One or more fields do not hold. The member errors lists all of them, each with a JSON pointer and a stable code."
    UnknownField "unknown-field" BAD_REQUEST "Unknown fields"
        "The body holds fields this command does not know. The member errors lists all of them."
    InvalidCredentials "invalid-credentials" UNAUTHORIZED "Invalid credentials"
        "Identifier and password do not open an account. Unknown, unverified and locked accounts are answered alike."
    Unauthenticated "unauthenticated" UNAUTHORIZED "Not signed in"
        "This route needs an access token or an API key in the Authorization header, and the request carries none that is valid."
    TokenExpired "token-expired" UNAUTHORIZED "Token expired"
        "The access token is past its end. Use the refresh token to get another one."
    TokenRevoked "token-revoked" UNAUTHORIZED "Token revoked"
        "The session or key behind this token has ended. Sign in again."
    Forbidden "forbidden" FORBIDDEN "Not allowed"
        "The caller is known but may not do this."
    WrongPassword "wrong-password" FORBIDDEN "Wrong password"
        "The current password given is not the account's."
    DomainBlocked "domain-blocked" FORBIDDEN "Domain blocked"
        "Addresses of this e-mail domain may not be used here."
    AddressBlocked "address-blocked" FORBIDDEN "Address blocked"
        "This e-mail address may not be used here."
    NotFound "not-found" NOT_FOUND "Not found"
        "There is nothing at this path for this caller."
    MethodNotAllowed "method-not-allowed" METHOD_NOT_ALLOWED "Method not allowed"
        "The path exists but not with this method. The Allow header lists the methods it has."
    NotAcceptable "not-acceptable" NOT_ACCEPTABLE "Not acceptable"
        "The answer exists in no form that the Accept header admits."
    TooLarge "too-large" PAYLOAD_TOO_LARGE "Too large"
        "The request's body, address or headers are larger than is taken here. The status is 413; 414 of an address and \
         431 of headers so large that the request could not even be read."
    UnsupportedMediaType "unsupported-media-type" UNSUPPORTED_MEDIA_TYPE "Unsupported media type"
        "The body must be JSON in UTF-8, sent with Content-Type application/json and without a Content-Encoding."
    Taken "taken" CONFLICT "Already taken"
        "The e-mail address, username or phone number belongs to another account. The pointer says which."
    Conflict "conflict" CONFLICT "Conflict"
        "The command is well formed, but the present state does not permit it."
    InvalidToken "invalid-token" GONE "Invalid link or code"
        "The link or code is wrong, used, expired or meant for something else. Ask for a new one."
    Stale "stale" PRECONDITION_FAILED "Stale version"
        "The object has changed since the version named in If-Match. Read it again."
    IdempotencyMismatch "idempotency-mismatch" UNPROCESSABLE_ENTITY "Idempotency key reused"
        "This Idempotency-Key was used for another request. Use a new key for a new request."
    TooManyRequests "too-many-requests" TOO_MANY_REQUESTS "Too many requests"
        "Too many attempts in too short a time. The Retry-After header says when to come back."
    Internal "internal" INTERNAL_SERVER_ERROR "Internal error"
        "The service failed. The member instance finds the cause in its log."
    Unavailable "unavailable" SERVICE_UNAVAILABLE "Unavailable"
        "Something the service needs is away or busy. Nothing was changed; the Retry-After header says when to come back."
}

impl Slug {
    /// The kind that a refusal is.
    #[must_use]
    pub fn of(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Taken(_) => Self::Taken,
            Refusal::DomainBlocked(_) => Self::DomainBlocked,
            Refusal::AddressBlocked(_) => Self::AddressBlocked,
            Refusal::InvalidToken | Refusal::StaleCode => Self::InvalidToken,
            Refusal::InvalidCredentials | Refusal::Denied(_) => Self::InvalidCredentials,
            Refusal::WrongPassword => Self::WrongPassword,
            Refusal::Weak(_) => Self::Invalid,
            Refusal::Revoked => Self::TokenRevoked,
            Refusal::Expired => Self::TokenExpired,
            Refusal::Forbidden => Self::Forbidden,
            Refusal::NotFound => Self::NotFound,
            Refusal::Stale => Self::Stale,
            Refusal::IdempotencyMismatch => Self::IdempotencyMismatch,
            Refusal::Conflict(_) => Self::Conflict,
            Refusal::TooMany { .. } => Self::TooManyRequests,
            Refusal::Unavailable { .. } => Self::Unavailable,
            Refusal::Internal(_) => Self::Internal,
        }
    }

    /// The kind of an answer of which only the status is known. None: it refuses nothing.
    #[must_use]
    pub fn of_status(status: StatusCode) -> Option<Self> {
        Some(match status.as_u16() {
            401 => Self::Unauthenticated,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            405 => Self::MethodNotAllowed,
            406 => Self::NotAcceptable,
            409 => Self::Conflict,
            410 => Self::InvalidToken,
            412 => Self::Stale,
            413 | 414 | 431 => Self::TooLarge,
            415 => Self::UnsupportedMediaType,
            429 => Self::TooManyRequests,
            400..=499 => Self::Invalid,
            503 => Self::Unavailable,
            500..=599 => Self::Internal,
            _ => return None,
        })
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_known_by_its_status_only_has_that_status() {
        for slug in Slug::ALL {
            let known = Slug::of_status(slug.status());
            let same = known.is_some_and(|known| known.status() == slug.status());
            assert!(same || *slug == Slug::IdempotencyMismatch, "{slug}: {known:?}");
        }
        for status in [StatusCode::OK, StatusCode::FOUND, StatusCode::NOT_MODIFIED] {
            assert_eq!(Slug::of_status(status), None);
        }
    }

    /// The table of the contract, line by line.
    #[test]
    fn each_kind_has_the_status_of_the_contract() {
        let lines: Vec<_> = Slug::ALL
            .iter()
            .map(|slug| format!("{} {slug}", slug.status().as_u16()))
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        400 malformed
        400 invalid
        400 unknown-field
        401 invalid-credentials
        401 unauthenticated
        401 token-expired
        401 token-revoked
        403 forbidden
        403 wrong-password
        403 domain-blocked
        403 address-blocked
        404 not-found
        405 method-not-allowed
        406 not-acceptable
        413 too-large
        415 unsupported-media-type
        409 taken
        409 conflict
        410 invalid-token
        412 stale
        422 idempotency-mismatch
        429 too-many-requests
        500 internal
        503 unavailable
        ");
    }
}
