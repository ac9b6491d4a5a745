//! What an access token says (RFC 9068).

use aggregates::values::{Role, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Whom every token is for.
pub const AUDIENCE: &str = "user-registry";
/// Who asked for it: there is one client, the registry itself.
pub const CLIENT_ID: &str = "user-registry";
/// The one media type of our tokens.
pub(super) const TYPE: &str = "at+jwt";
/// The one algorithm of our tokens.
pub(super) const ALGORITHM: &str = "EdDSA";

/// Who calls, by which session, until when. Times are whole seconds, as in the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// This token.
    pub jti: Uuid,
    /// The user.
    pub sub: Uuid,
    /// The session.
    pub sid: Uuid,
    /// What the user may do, as of the token's beginning.
    pub roles: Vec<Role>,
    /// The version of the credential the session was opened with.
    pub cv: u64,
    /// When it begins.
    pub iat: Timestamp,
    /// When it ends.
    pub exp: Timestamp,
}

/// The claims as they are written.
#[derive(Serialize, Deserialize)]
pub(super) struct Wire {
    pub iss: String,
    pub aud: String,
    pub client_id: String,
    pub jti: Uuid,
    pub sub: Uuid,
    pub sid: Uuid,
    pub roles: Vec<Role>,
    pub cv: u64,
    pub iat: i64,
    pub exp: i64,
}

const MICROS: i64 = 1_000_000;

impl Wire {
    pub fn new(issuer: &str, claims: &Claims) -> Self {
        Self {
            iss: issuer.to_owned(),
            aud: AUDIENCE.to_owned(),
            client_id: CLIENT_ID.to_owned(),
            jti: claims.jti,
            sub: claims.sub,
            sid: claims.sid,
            roles: claims.roles.clone(),
            cv: claims.cv,
            iat: claims.iat.as_micros().div_euclid(MICROS),
            exp: claims.exp.as_micros().div_euclid(MICROS),
        }
    }

    pub fn into_claims(self) -> Claims {
        let time = |seconds: i64| Timestamp::from_micros(seconds.saturating_mul(MICROS));
        let (iat, exp) = (time(self.iat), time(self.exp));
        let Self {
            jti,
            sub,
            sid,
            roles,
            cv,
            ..
        } = self;
        Claims {
            jti,
            sub,
            sid,
            roles,
            cv,
            iat,
            exp,
        }
    }
}
