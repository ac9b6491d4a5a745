//! What happens to a session after the sign-in.

use aggregates::session::{Session, SessionCommand};
use aggregates::values::EndReason;
use projections::SessionRow;
use uuid::Uuid;

use super::command::{Asked, Caller, Who};
use super::login::refresh_secret;
use super::{Refusal, Registry, SignedIn};
use crate::store::{Receipt, SecretKind};
use crate::tokens::{OpaqueKind, OpaqueToken};

impl Registry {
    /// Who the bearer of an access token is now: the session and the account are read on every request, so that
    /// what has ended opens nothing any more.
    pub async fn authenticate(&self, user: Uuid, session: Uuid) -> Result<crate::store::AuthenticatedRow, Refusal> {
        let row = self.store().authenticated(session).await?.ok_or(Refusal::Revoked)?;
        if row.user.id == user && row.is_live(session, self.store().now()) {
            Ok(row)
        } else {
            Err(Refusal::Revoked)
        }
    }

    /// Uses a refresh token: a new pair, the old token is spent. A spent one ends the session.
    pub async fn refresh(&self, caller: &Caller, token: &str) -> Result<SignedIn, Refusal> {
        let presented = OpaqueToken::parse(OpaqueKind::Refresh, token).map_err(|_| Refusal::InvalidCredentials)?;
        let secret = self
            .store()
            .secret(SecretKind::Refresh, &presented.hash())
            .await?
            .ok_or(Refusal::InvalidCredentials)?;
        let session = Uuid::parse_str(&secret.owner).map_err(|_| Refusal::InvalidCredentials)?;
        let user = secret.user_id.ok_or(Refusal::InvalidCredentials)?;
        let generation = u32::try_from(secret.generation).map_err(|_| Refusal::InvalidCredentials)?;
        let row = self.authenticate(user, session).await?;
        let refresh = self.new_refresh();
        let caller = Caller {
            who: Who::User {
                id: user,
                session,
                roles: row.user.roles.clone(),
            },
            ..caller.clone()
        };
        let ended = std::sync::atomic::AtomicBool::new(false);
        let asked = Asked::plainly(caller);
        let (over, token, expires_at) = (&ended, &refresh, row.expires_at);
        self.command(&asked, Some(user), |unit| async move {
            // Whatever has ended it since, on whichever stream.
            self.authenticate(user, session).await?;
            let at = self.store().now();
            let command = SessionCommand::Refresh {
                generation,
                idle: self.rules().idle,
                at,
            };
            let executed = unit.execute::<Session>(&session.to_string(), command).await?;
            over.store(
                executed.state.generation().is_none(),
                std::sync::atomic::Ordering::SeqCst,
            );
            match executed.state.generation() {
                Some(generation) => unit.secret(refresh_secret(token, session, user, generation, expires_at)),
                None => unit.drop_secrets(&session.to_string()),
            }
            Ok(())
        })
        .await?;
        if ended.load(std::sync::atomic::Ordering::SeqCst) {
            tracing::warn!(user.id = %user, session.id = %session, "a spent refresh token was used; the session ended");
            return Err(Refusal::Revoked);
        }
        let mut roles = row.user.roles.clone();
        roles.insert(0, aggregates::values::Role::User);
        let tokens = self.tokens(user, session, roles, row.user.credential_version, &refresh)?;
        Ok(SignedIn { user, session, tokens })
    }

    /// The live sign-ins of an account, the newest of very many.
    pub async fn sessions(&self, user: Uuid) -> Result<Vec<SessionRow>, Refusal> {
        Ok(self.store().sessions(user).await?)
    }

    /// Ends one session of an account. Somebody else's is not found.
    pub async fn end_session(&self, asked: &Asked, user: Uuid, session: Uuid) -> Result<Receipt, Refusal> {
        let row = self.store().authenticated(session).await?.ok_or(Refusal::NotFound)?;
        if row.user.id != user {
            return Err(Refusal::NotFound);
        }
        self.end(asked, user, session, EndReason::Logout, false).await
    }

    /// Ends every session of an account, through one event on the stream of one of them.
    pub async fn end_all_sessions(&self, asked: &Asked, user: Uuid, session: Uuid) -> Result<Receipt, Refusal> {
        self.end(asked, user, session, EndReason::All, true).await
    }

    pub(super) async fn end(
        &self,
        asked: &Asked,
        user: Uuid,
        session: Uuid,
        reason: EndReason,
        all: bool,
    ) -> Result<Receipt, Refusal> {
        self.command(asked, Some(user), |unit| async move {
            let id = session.to_string();
            let executed = unit
                .execute::<Session>(&id, SessionCommand::End { reason, all })
                .await?;
            unit.drop_secrets(&id);
            unit.unchanged(Receipt {
                id,
                version: executed.version,
                position: 0,
                events: Vec::new(),
                created: false,
            });
            Ok(())
        })
        .await
    }
}
