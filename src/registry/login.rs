//! Signing in: one answer for everything that is wrong, in the same time.

use aggregates::session::{Session, SessionCommand};
use aggregates::user::{Phase, User};
use aggregates::values::{Dialect, Email, Phone, Role, RuleKind, SessionMethod, Timestamp, Username};
use cqrs_es::Aggregate as _;
use futures::FutureExt as _;
use projections::{NameKind, Status};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::command::{Asked, Caller, Who};
use super::limits::{SIGN_IN, SIGN_IN_AS_NOBODY};
use super::opaque::NewKeyed;
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

    /// A number, as an API with its own idea of numbers reads it.
    #[must_use]
    pub fn phone(phone: &Phone) -> Self {
        Self(vec![(NameKind::Phone, phone.msisdn().to_owned())])
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

/// What exactly keeps somebody from signing in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// Nobody has this name.
    NoSuchUser,
    /// The password is another one, or there is none.
    WrongPassword,
    /// The password is right, but the account is not verified, or not in use.
    NotActive {
        /// Whose it is.
        user: Uuid,
        /// Where it stands.
        status: Status,
    },
    /// There were too many tries; whether this one was right was not looked at.
    TooManyTries {
        /// Seconds to wait.
        retry_after: u32,
    },
}

/// What a sign-in hands out.
#[derive(Clone, Copy)]
pub(super) enum Handed<'a> {
    /// A refresh token for this session.
    Refresh(Uuid, &'a OpaqueToken),
    /// One opaque token.
    Key(&'a NewKeyed),
    /// Shared tokens, of which nothing is kept: they name this session.
    Shared(Uuid),
}

/// Somebody who was let in.
pub(super) struct Entered {
    pub user: Uuid,
    roles: Vec<Role>,
    version: i64,
}

/// How long whoever has tried too often is told to wait: the longest pause between tries.
pub(super) const TRY_AGAIN: u32 = 10;

impl Registry {
    /// Signs in with a password.
    pub async fn sign_in(
        &self,
        caller: &Caller,
        identifier: &Identifier,
        password: Password,
    ) -> Result<SignedIn, Refusal> {
        let session = self.store().chance().uuid_v7(self.store().now());
        let refresh = self.new_refresh();
        let handed = Handed::Refresh(session, &refresh);
        let Entered { user, roles, version } = self.enter(caller, identifier, password, handed).await?;
        let tokens = self.tokens(user, session, roles, version, &refresh)?;
        Ok(SignedIn { user, session, tokens })
    }

    /// Verifies a password and begins a session.
    pub(super) async fn enter(
        &self,
        caller: &Caller,
        identifier: &Identifier,
        password: Password,
        handed: Handed<'_>,
    ) -> Result<Entered, Refusal> {
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
        let credential = self.store().credential(user.unwrap_or_default()).await;
        let Some(attempt) = attempt else {
            credential?;
            self.hasher().verify(password, None).await?;
            let retry_after = TRY_AGAIN;
            return Err(Refusal::Denied(Denial::TooManyTries { retry_after }));
        };
        let (attempt, credential) = attempt.unless(credential).await?;
        // What keeps an account from signing in is read along, so that finding it out takes no time of its own.
        let known = credential
            .as_ref()
            .map(|credential| (credential.version, credential.status));
        let rehash = password.clone();
        // Without an account or a password the same work is done for nothing.
        let hash = credential.map(|credential| credential.hash);
        let verdict = match self.hasher().verify(password, hash).await {
            Ok(verdict) => verdict,
            Err(busy) => {
                attempt.give_back().await;
                return Err(busy.into());
            }
        };
        let (user, version) = match self.denial(caller.dialect, user, known, verdict.ok) {
            Ok(admitted) => admitted,
            Err(denial) => {
                // An API that says the password was right counts no failure; one that does not must count it.
                let told = matches!(denial, Denial::NotActive { .. })
                    && !matches!(caller.dialect, Dialect::Canonical | Dialect::Agstack);
                attempt.end(if told { End::Void } else { End::Wrong }).await?;
                self.remember_failure(caller, user.filter(|_| !told));
                return Err(Refusal::Denied(denial));
            }
        };
        // A better hash can wait for the next sign-in; this one is answered whatever the queue.
        let upgraded = if verdict.rehash_needed {
            self.hasher().hash(rehash).await.ok()
        } else {
            None
        };
        let asked = Asked::plainly(caller.clone());
        let roles = std::sync::Mutex::new(Vec::new());
        let (held, upgraded) = (&roles, &upgraded);
        let started = self
            .command(&asked, Some(user), |unit| async move {
                let state = self.may_sign_in(&unit, caller.dialect, user, version).await?;
                let customs = self.customs(caller.dialect);
                let waits = (customs.verified_address_only && waits_for_its_mail(&state))
                    || (customs.verified_number_only && !state.phone_verified());
                if waits {
                    let status = Status::Pending;
                    return Err(Refusal::Denied(Denial::NotActive { user, status }).into());
                }
                if !customs.blocked_address_signs_in {
                    self.address_may_enter(&state).await?;
                }
                *held.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = state.roles().collect();
                match handed {
                    Handed::Refresh(session, token) => self.start(&unit, user, session, caller.dialect, token).await?,
                    Handed::Key(new) => self.stage_keyed(&unit, user, new).await?,
                    Handed::Shared(session) => {
                        self.stage_shared(&unit, user, session, SessionMethod::Password).await?;
                    }
                }
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
                attempt.give_back().await;
                return Err(other);
            }
        }
        let roles = roles.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(Entered { user, roles, version })
    }

    /// Who is let in, with the version of their credential; or what keeps them out.
    fn denial(
        &self,
        dialect: Dialect,
        user: Option<Uuid>,
        known: Option<(i64, Status)>,
        right: bool,
    ) -> Result<(Uuid, i64), Denial> {
        match (user, known, right) {
            (None, _, _) => Err(Denial::NoSuchUser),
            (Some(user), Some((version, status)), true) => match status {
                Status::Active => Ok((user, version)),
                Status::Pending if self.customs(dialect).pending_signs_in => Ok((user, version)),
                status => Err(Denial::NotActive { user, status }),
            },
            (Some(_), _, _) => Err(Denial::WrongPassword),
        }
    }

    /// The account of an identifier. All that it may be is looked up, so that the first to be somebody's takes no less
    /// time than nobody's.
    async fn find(&self, identifier: &Identifier) -> Result<Option<Uuid>, Refusal> {
        let mut found = None;
        for (kind, canonical) in &identifier.0 {
            found = found.or(self.store().found_by(*kind, canonical).await?);
        }
        Ok(found)
    }

    /// Whether the account may be signed in to with the credential that was verified. The unit relies on it.
    async fn may_sign_in(&self, unit: &Unit, dialect: Dialect, user: Uuid, version: i64) -> Result<User, Trouble> {
        let id = user.to_string();
        let pending = self.customs(dialect).pending_signs_in;
        let admits = |phase: Phase| phase == Phase::Active || (pending && phase == Phase::Pending);
        let fits = |state: &User| i64::from(state.credential_version()) == version && admits(state.phase());
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

    /// Only whoever knows the password learns that its address is blocked.
    async fn address_may_enter(&self, state: &User) -> Result<(), Trouble> {
        let Some(email) = state.email() else { return Ok(()) };
        let rule = self.verdict(email).await?.0.rule;
        if rule.kind == RuleKind::AddressBlocked {
            return Err(Refusal::AddressBlocked(rule).into());
        }
        Ok(())
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
        self.inner.tasks.spawn(
            async move {
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
            }
            .boxed(),
        );
    }
}

/// Whether there is an address that nobody has proved to be theirs, and no number that somebody has.
const fn waits_for_its_mail(state: &User) -> bool {
    state.email().is_some() && !state.email_verified() && !state.phone_verified()
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
