//! Signing in: one answer for everything that is wrong, in the same time.

use aggregates::session::{Session, SessionCommand};
use aggregates::user::{Phase, User};
use aggregates::values::{Dialect, Email, Phone, Role, SessionMethod, Timestamp, Username};
use cqrs_es::Aggregate as _;
use projections::NameKind;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::command::{Asked, Caller, Who};
use super::limits::{SIGN_IN, SIGN_IN_AS_NOBODY};
use super::refusal::Trouble;
use super::{Refusal, Registry, SECOND};
use crate::guards::End;
use crate::passwords::Password;
use crate::store::{Credential, Secret, SecretKind, Unit};
use crate::tokens::{Claims, OpaqueKind, OpaqueToken};

/// How somebody says who they are.
#[derive(Clone)]
pub struct Identifier(Vec<(NameKind, String)>);

impl std::fmt::Debug for Identifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identifier(..)")
    }
}

impl Identifier {
    /// Reads an identifier: with `@` the owner of that address first, a username only if there is none; with `+` a
    /// number; else a username. What is none of these is nobody's.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        let username = || {
            Username::parse_dialect(text)
                .ok()
                .map(|name| (NameKind::Username, name.canonical().to_owned()))
        };
        let mut names = Vec::new();
        if text.contains('@') {
            names.extend(
                Email::parse(text)
                    .ok()
                    .map(|email| (NameKind::Email, email.canonical().to_owned())),
            );
        } else if text.starts_with('+') {
            names.extend(
                Phone::parse_e164(text)
                    .ok()
                    .map(|phone| (NameKind::Phone, phone.msisdn().to_owned())),
            );
        }
        names.extend(username());
        Self(names)
    }

    /// The one word that tries at it are counted under while it is nobody's.
    fn nobody(&self) -> &str {
        self.0.first().map_or("", |(_, canonical)| canonical)
    }
}

/// The tokens of a sign-in. Shown once.
#[derive(Debug)]
pub struct Tokens {
    /// The JWT.
    pub access: Zeroizing<String>,
    /// Its life in seconds.
    pub expires_in: i64,
    /// Gets another pair.
    pub refresh: Zeroizing<String>,
}

/// A sign-in that succeeded.
#[derive(Debug)]
pub struct SignedIn {
    /// Who.
    pub user: Uuid,
    /// The new session.
    pub session: Uuid,
    /// Its tokens.
    pub tokens: Tokens,
}

impl Registry {
    /// Signs in with a password.
    pub async fn sign_in(
        &self,
        caller: &Caller,
        identifier: &Identifier,
        password: Password,
    ) -> Result<SignedIn, Refusal> {
        // Whoever else the caller may be signed in as has no part in it.
        let caller = &Caller {
            who: Who::Anonymous,
            ..caller.clone()
        };
        let user = self.find(identifier).await?;
        // Nobody has failures too: a lock must not tell that there is somebody.
        let attempt = match user {
            Some(user) => self.begin_try(SIGN_IN, user.as_bytes()).await?,
            None => {
                self.begin_try(SIGN_IN_AS_NOBODY, identifier.nobody().as_bytes())
                    .await?
            }
        };
        // For nobody the same is read as for somebody.
        let credential = self.store().credential(user.unwrap_or_default()).await?;
        let Some(attempt) = attempt else {
            self.hasher().verify(password, None).await?;
            return Err(Refusal::InvalidCredentials);
        };
        // What keeps an account from signing in is read along, so that finding it out takes no time of its own.
        let version = credential
            .as_ref()
            .filter(|credential| credential.active)
            .map(|credential| credential.version);
        let rehash = password.clone();
        // Without an account or a password the same work is done for nothing.
        let hash = credential.map(|credential| credential.hash);
        let verdict = match self.hasher().verify(password, hash).await {
            Ok(verdict) => verdict,
            Err(busy) => {
                attempt.end(End::Void).await?;
                return Err(busy.into());
            }
        };
        let (Some(user), Some(version), true) = (user, version, verdict.ok) else {
            attempt.end(End::Wrong).await?;
            self.remember_failure(caller, user);
            return Err(Refusal::InvalidCredentials);
        };
        // A better hash can wait for the next sign-in; this one is answered whatever the queue.
        let upgraded = if verdict.rehash_needed {
            self.hasher().hash(rehash).await.ok()
        } else {
            None
        };
        let session = self.store().chance().uuid_v7(self.store().now());
        let refresh = self.new_refresh();
        let asked = Asked::plainly(caller.clone());
        let roles = std::sync::Mutex::new(Vec::new());
        let (held, token, upgraded) = (&roles, &refresh, &upgraded);
        let started = self
            .command(&asked, Some(user), |unit| async move {
                let state = self.may_sign_in(&unit, user, version).await?;
                *held.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = state.roles().collect();
                self.start(&unit, user, session, caller.dialect, token).await?;
                if let Some(hash) = upgraded {
                    unit.credential(Credential {
                        user_id: user,
                        version,
                        hash: hash.as_str().to_owned(),
                    });
                }
                Ok(())
            })
            .await;
        match started {
            Ok(_) => attempt.end(End::Right).await?,
            Err(Refusal::InvalidCredentials) => {
                attempt.end(End::Wrong).await?;
                self.remember_failure(caller, Some(user));
                return Err(Refusal::InvalidCredentials);
            }
            Err(other) => {
                attempt.end(End::Void).await?;
                return Err(other);
            }
        }
        let roles = roles.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let tokens = self.tokens(user, session, roles, version, &refresh)?;
        Ok(SignedIn { user, session, tokens })
    }

    /// The account of an identifier.
    async fn find(&self, identifier: &Identifier) -> Result<Option<Uuid>, Refusal> {
        for (kind, canonical) in &identifier.0 {
            if let Some(user) = self.store().found_by(*kind, canonical).await? {
                return Ok(Some(user));
            }
        }
        Ok(None)
    }

    /// Whether the account may be signed in to with the credential that was verified. The unit relies on it.
    async fn may_sign_in(&self, unit: &Unit, user: Uuid, version: i64) -> Result<User, Trouble> {
        let id = user.to_string();
        let fits = |state: &User| i64::from(state.credential_version()) == version && state.phase() == Phase::Active;
        let (mut state, mut stream_version) = unit.load::<User>(&id).await?;
        if !fits(&state) {
            // What is cached may be older than the credential that was read.
            (state, stream_version) = unit.load_fresh::<User>(&id).await?;
        }
        unit.guard(User::TYPE, &id, stream_version);
        if fits(&state) {
            Ok(state)
        } else {
            Err(Refusal::InvalidCredentials.into())
        }
    }

    async fn start(
        &self,
        unit: &Unit,
        user: Uuid,
        session: Uuid,
        dialect: Dialect,
        refresh: &OpaqueToken,
    ) -> Result<(), Trouble> {
        let at = self.store().now();
        let id = session.to_string();
        unit.is_fresh::<Session>(&id);
        let command = SessionCommand::Start {
            user,
            dialect,
            method: SessionMethod::Password,
            idle: self.rules().idle,
            life: self.rules().session_life,
            at,
        };
        unit.execute::<Session>(&id, command).await?;
        unit.secret(refresh_secret(
            refresh,
            session,
            user,
            0,
            at.plus(self.rules().session_life),
        ));
        Ok(())
    }

    pub(super) fn new_refresh(&self) -> OpaqueToken {
        OpaqueToken::new(OpaqueKind::Refresh, self.store().chance().bytes())
    }

    pub(super) fn tokens(
        &self,
        user: Uuid,
        session: Uuid,
        roles: Vec<Role>,
        credential_version: i64,
        refresh: &OpaqueToken,
    ) -> Result<Tokens, Refusal> {
        let iat = self.store().now();
        let claims = Claims {
            jti: self.store().chance().uuid_v7(iat),
            sub: user,
            sid: session,
            roles,
            cv: u64::try_from(credential_version).unwrap_or_default(),
            iat,
            exp: iat.plus(self.rules().access_life),
        };
        let access = self
            .inner
            .token_keys
            .now()
            .signer
            .issue(&claims)
            .map_err(|error| Refusal::Internal(error.to_string()))?;
        Ok(Tokens {
            access: Zeroizing::new(access),
            expires_in: self.rules().access_life / SECOND,
            refresh: refresh.expose(),
        })
    }

    /// Records that a known account was tried. After the answer, so that a known account takes no longer than an
    /// unknown one.
    fn remember_failure(&self, caller: &Caller, user: Option<Uuid>) {
        let Some(user) = user else { return };
        let (registry, caller) = (self.clone(), caller.clone());
        self.inner.tasks.spawn(async move {
            let asked = Asked::plainly(caller);
            let (registry, asked) = (&registry, &asked);
            let recorded = registry
                .command(asked, Some(user), |unit| async move {
                    let id = registry.store().chance().uuid_v7(registry.store().now()).to_string();
                    unit.is_fresh::<Session>(&id);
                    let command = SessionCommand::Fail {
                        user,
                        dialect: asked.caller.dialect,
                    };
                    unit.execute::<Session>(&id, command).await?;
                    Ok(())
                })
                .await;
            if let Err(problem) = recorded {
                tracing::warn!(%problem, "a failed sign-in was not recorded");
            }
        });
    }
}

/// How a refresh token is kept.
pub(super) fn refresh_secret(
    token: &OpaqueToken,
    session: Uuid,
    user: Uuid,
    generation: u32,
    expires_at: Timestamp,
) -> Secret {
    Secret {
        kind: SecretKind::Refresh,
        hash: token.hash(),
        owner: session.to_string(),
        user_id: Some(user),
        generation: i64::from(generation),
        expires_at: Some(expires_at),
    }
}
