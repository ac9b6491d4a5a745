//! Sessions that are held by one opaque token, without a refresh token: what the older APIs sign in with.
//!
//! The token is shown once and kept as a hash; whether its session still lives is read on every request.

use aggregates::session::{Session, SessionCommand};
use aggregates::values::{Dialect, EndReason, SessionMethod};
use projections::UserRow;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::command::{Asked, Caller, Who};
use super::login::Handed;
use super::refusal::Trouble;
use super::{Identifier, Refusal, Registry};
use crate::passwords::Password;
use crate::store::{Secret, SecretKind, Unit};
use crate::tokens::DialectToken;

/// A session with its token, which is shown now and never again.
#[derive(Debug)]
pub struct Keyed {
    /// Whose it is.
    pub user: Uuid,
    /// The session.
    pub session: Uuid,
    /// The token.
    pub token: Zeroizing<String>,
}

/// A session that is about to begin.
pub(super) struct NewKeyed {
    pub session: Uuid,
    dialect: Dialect,
    method: SessionMethod,
    token: DialectToken,
}

impl NewKeyed {
    pub fn handed_to(self, user: Uuid) -> Keyed {
        Keyed {
            user,
            session: self.session,
            token: self.token.expose(),
        }
    }
}

/// Who holds a token that was found.
#[derive(Debug, Clone)]
pub struct Bearer {
    /// The account as it is now.
    pub account: UserRow,
    /// The session.
    pub session: Uuid,
    /// Whether the session still opens anything.
    pub live: bool,
}

impl Bearer {
    /// The caller this makes.
    #[must_use]
    pub fn who(&self) -> Who {
        Who::User {
            id: self.account.id,
            session: self.session,
            roles: self.account.roles.clone(),
        }
    }
}

impl Registry {
    pub(super) fn new_keyed(&self, dialect: Dialect, method: SessionMethod) -> NewKeyed {
        let store = self.store();
        NewKeyed {
            session: store.chance().uuid_v7(store.now()),
            dialect,
            method,
            token: DialectToken::draw(dialect, store.chance()),
        }
    }

    /// Begins a session for somebody who was found to be who they say.
    pub(super) async fn stage_keyed(&self, unit: &Unit, user: Uuid, new: &NewKeyed) -> Result<(), Trouble> {
        let at = self.store().now();
        let life = self.customs(new.dialect).token_life;
        let id = new.session.to_string();
        unit.is_fresh::<Session>(&id);
        let command = SessionCommand::Start {
            user,
            dialect: new.dialect,
            method: new.method,
            // Nothing is refreshed here, so the token never lapses before its session.
            idle: life,
            life,
            at,
        };
        unit.execute::<Session>(&id, command).await?;
        unit.secret(Secret {
            kind: SecretKind::Opaque,
            hash: new.token.hash(),
            owner: id,
            user_id: Some(user),
            generation: 0,
            expires_at: Some(at.plus(life)),
        });
        Ok(())
    }

    /// Signs in with a password, for one opaque token.
    pub async fn sign_in_keyed(
        &self,
        caller: &Caller,
        identifier: &Identifier,
        password: Password,
    ) -> Result<Keyed, Refusal> {
        let new = self.new_keyed(caller.dialect, SessionMethod::Password);
        let entered = self.enter(caller, identifier, password, Handed::Key(&new)).await?;
        Ok(new.handed_to(entered.user))
    }

    /// Who holds a token of an API. None: nobody, any more or ever.
    pub async fn bearer(&self, dialect: Dialect, token: &str) -> Result<Option<Bearer>, Refusal> {
        let Some(token) = DialectToken::presented(dialect, token) else {
            return Ok(None);
        };
        let Some(secret) = self.store().secret(SecretKind::Opaque, &token.hash()).await? else {
            return Ok(None);
        };
        let Ok(session) = Uuid::parse_str(&secret.owner) else {
            return Ok(None);
        };
        let row = self.store().authenticated(session).await?;
        if let Some(row) = row.filter(|row| secret.user_id == Some(row.user.id)) {
            return Ok(Some(Bearer {
                live: row.is_live(session, self.store().now()),
                account: row.user,
                session,
            }));
        }
        // The session has ended; who held it may be told why.
        let account = self.store().user(secret.user_id.unwrap_or_default()).await?;
        Ok(account.map(|account| Bearer {
            live: false,
            account,
            session,
        }))
    }

    /// Gives another token for a session: the one before ends with it.
    pub async fn replace_keyed(&self, asked: &Asked, user: Uuid, session: Uuid) -> Result<Keyed, Refusal> {
        let new = self.new_keyed(asked.caller.dialect, SessionMethod::Password);
        let next = &new;
        self.command(asked, Some(user), |unit| async move {
            self.authenticate(user, session).await?;
            let id = session.to_string();
            let command = SessionCommand::End {
                reason: EndReason::Logout,
                all: false,
            };
            unit.execute::<Session>(&id, command).await?;
            unit.drop_secrets(&id);
            self.stage_keyed(&unit, user, next).await
        })
        .await?;
        Ok(new.handed_to(user))
    }
}
