//! Sessions whose tokens are signed with a secret that peers share (see `tokens::shared`).
//!
//! Nothing is stored of such a token: it names its session by an alias that only this service can make, and whether that
//! session lives is read on every request. So a sign-out holds on the next request although the tokens live on, and a
//! peer that signs tokens of its own opens nothing here.

use aggregates::session::{Session, SessionCommand};
use aggregates::values::{Dialect, SessionMethod};
use projections::UserRow;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::command::{Caller, Who};
use super::login::Handed;
use super::refusal::Trouble;
use super::{DAY, HOUR, Identifier, Refusal, Registry, SECOND};
use crate::passwords::Password;
use crate::store::Unit;
use crate::tokens::alias::{self, Use};
use crate::tokens::{Holder, SharedClaims, SharedError, SharedKey, SharedKind};

/// How long an access token works, seconds.
const ACCESS: i64 = 4 * HOUR / SECOND;
/// How long a refresh token works, seconds.
const REFRESH: i64 = DAY / SECOND;
/// How long those tokens work that tell of the end of their session, seconds.
const FAREWELL: i64 = 60;
/// How long a session lives, microseconds: as long as an access token that was fetched at the last moment.
const LIFE: i64 = DAY + 4 * HOUR;
/// Tokens begin a little earlier than they are made: some of those who read them allow no leeway.
const EARLIER: i64 = 5;
/// What stands in place of a domain for somebody without an address.
const NO_DOMAIN: &str = "mobile_login";

/// Which token opens something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedWant {
    /// An access token.
    Access,
    /// A refresh token.
    Refresh,
    /// Either.
    Either,
}

/// Why a token opens nothing.
#[derive(Debug)]
pub enum SharedDenial {
    /// It does not hold by itself.
    Token(SharedError),
    /// It is of the other kind.
    Kind(SharedKind),
    /// Its session has ended.
    Revoked,
    /// Its account is gone.
    Unknown,
    /// It could not be found out.
    Refused(Refusal),
}

impl SharedDenial {
    /// The reason, as its bearer may read it.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Token(error) => Some(error.to_string()),
            Self::Kind(SharedKind::Access) => Some("Only refresh tokens are allowed".to_owned()),
            Self::Kind(SharedKind::Refresh) => Some("Only non-refresh tokens are allowed".to_owned()),
            Self::Revoked => Some("Token has been revoked".to_owned()),
            Self::Unknown | Self::Refused(_) => None,
        }
    }

    /// Whether it was good once.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        matches!(self, Self::Token(SharedError::Expired))
    }
}

/// Who holds a token that opens something.
#[derive(Debug, Clone)]
pub struct SharedBearer {
    /// The account as it is now.
    pub user: UserRow,
    /// The session.
    pub session: Uuid,
}

impl SharedBearer {
    /// The caller this makes.
    #[must_use]
    pub fn who(&self) -> Who {
        Who::User {
            id: self.user.id,
            session: self.session,
            roles: self.user.roles.clone(),
        }
    }
}

/// The tokens of a session.
#[derive(Debug)]
pub struct SharedPair {
    /// Says who calls.
    pub access: Zeroizing<String>,
    /// Gets another access token.
    pub refresh: Zeroizing<String>,
}

impl Registry {
    /// Lets shared tokens be made and read. The first key counts.
    pub fn share(&self, key: SharedKey) {
        let _ = self.inner.shared.set(key);
    }

    /// The key of shared tokens.
    pub(super) fn shared(&self) -> Result<&SharedKey, Refusal> {
        let key = self.inner.shared.get();
        key.ok_or_else(|| Refusal::Internal("there is no key for shared tokens".to_owned()))
    }

    /// Signs in with a password, for shared tokens.
    pub async fn sign_in_shared(
        &self,
        caller: &Caller,
        identifier: &Identifier,
        password: Password,
    ) -> Result<SharedPair, Refusal> {
        let session = self.store().chance().uuid_v7(self.store().now());
        let entered = self
            .enter(caller, identifier, password, Handed::Shared(session))
            .await?;
        self.pair_for(entered.user, session).await
    }

    pub(super) async fn pair_for(&self, user: Uuid, session: Uuid) -> Result<SharedPair, Refusal> {
        let user = self.store().user(user).await?.ok_or(Refusal::InvalidCredentials)?;
        self.shared_pair(&SharedBearer { user, session })
    }

    /// Begins a session for somebody who was found to be who they say.
    pub(super) async fn stage_shared(
        &self,
        unit: &Unit,
        user: Uuid,
        session: Uuid,
        method: SessionMethod,
    ) -> Result<(), Trouble> {
        let id = session.to_string();
        unit.is_fresh::<Session>(&id);
        let command = SessionCommand::Start {
            user,
            dialect: Dialect::Agstack,
            method,
            // The refresh token is not replaced when it is used, so the session never lapses before its end.
            idle: LIFE,
            life: LIFE,
            at: self.store().now(),
        };
        unit.execute::<Session>(&id, command).await?;
        Ok(())
    }

    /// Both tokens of a session, made now.
    pub fn shared_pair(&self, bearer: &SharedBearer) -> Result<SharedPair, Refusal> {
        self.shared_pair_for(bearer, ACCESS, REFRESH)
    }

    /// Both tokens of a session that ends, for a peer that is told so: none is stored, and a request shows only one.
    /// Peers do not ask whether a token was revoked, so these end by themselves.
    pub fn shared_farewell(&self, bearer: &SharedBearer) -> Result<SharedPair, Refusal> {
        self.shared_pair_for(bearer, FAREWELL, FAREWELL)
    }

    fn shared_pair_for(&self, bearer: &SharedBearer, access: i64, refresh: i64) -> Result<SharedPair, Refusal> {
        Ok(SharedPair {
            access: self.shared_access_for(bearer, access)?,
            refresh: self
                .shared()?
                .refresh(&self.shared_claims(bearer, SharedKind::Refresh, refresh)),
        })
    }

    /// Another access token of a session, which says what the account is now.
    pub fn shared_access(&self, bearer: &SharedBearer) -> Result<Zeroizing<String>, Refusal> {
        self.shared_access_for(bearer, ACCESS)
    }

    fn shared_access_for(&self, bearer: &SharedBearer, life: i64) -> Result<Zeroizing<String>, Refusal> {
        let holder = Holder {
            domain: domain_of(&bearer.user).to_owned(),
            is_activated: is_activated(&bearer.user),
        };
        let claims = self.shared_claims(bearer, SharedKind::Access, life);
        Ok(self.shared()?.access(&claims, &holder))
    }

    fn shared_claims(&self, bearer: &SharedBearer, kind: SharedKind, life: i64) -> SharedClaims {
        let iat = self.store().now().as_micros().div_euclid(SECOND) - EARLIER;
        SharedClaims {
            kind,
            jti: alias::alias(self.store().keyring(), bearer.session, Use { kind, iat }),
            sub: bearer.user.id,
            iat,
            exp: iat + life,
        }
    }

    /// Whose a token is, if it opens anything now.
    pub async fn authenticate_shared(&self, token: &str, want: SharedWant) -> Result<SharedBearer, SharedDenial> {
        let store = self.store();
        let key = self.shared().map_err(SharedDenial::Refused)?;
        let claims = key.verify(token, store.now()).map_err(SharedDenial::Token)?;
        match (want, claims.kind) {
            (SharedWant::Access, SharedKind::Refresh) | (SharedWant::Refresh, SharedKind::Access) => {
                return Err(SharedDenial::Kind(claims.kind));
            }
            _ => {}
        }
        let (kind, iat) = (claims.kind, claims.iat);
        let session = alias::session_of(store.keyring(), claims.jti, Use { kind, iat });
        let refused = |error: crate::store::StoreError| SharedDenial::Refused(error.into());
        let row = store.authenticated(session).await.map_err(refused)?;
        match row {
            Some(row) if row.user.id == claims.sub && row.is_live(session, store.now()) => Ok(SharedBearer {
                user: row.user,
                session,
            }),
            None if store.user(claims.sub).await.map_err(refused)?.is_none() => Err(SharedDenial::Unknown),
            Some(_) | None => Err(SharedDenial::Revoked),
        }
    }
}

/// Whether a peer may take an account for one of the domain it names. One may be active by a number, or without anything
/// to verify, and have an address that nobody has verified: that one speaks for no domain.
#[must_use]
pub const fn is_activated(user: &UserRow) -> bool {
    user.activated && (user.email_verified || user.email.is_none())
}

/// The domain an account speaks of itself with.
pub(super) fn domain_of(user: &UserRow) -> &str {
    user.email_domain.as_deref().unwrap_or(NO_DOMAIN)
}
