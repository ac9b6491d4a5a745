//! Authority tokens: what a domain's own programs show. Derived and kept like API keys.

use aggregates::domain::DomainCommand;
use aggregates::values::DomainName;
use uuid::Uuid;

use super::command::Asked;
use super::{Refusal, Registry};
use crate::store::{Receipt, Secret, SecretKind};
use crate::tokens::{OpaqueKind, OpaqueToken};

/// An authority token that was made. Shown once.
#[derive(Debug)]
pub struct IssuedAuthority {
    /// What happened.
    pub receipt: Receipt,
    /// The token.
    pub token: OpaqueToken,
}

impl Registry {
    fn authority_token(&self, token_id: Uuid) -> OpaqueToken {
        OpaqueToken::new(
            OpaqueKind::Authority,
            self.store().keyring().derived("authority-token", token_id),
        )
    }

    /// Makes the token of a domain that has none.
    pub async fn issue_authority_token(&self, asked: &Asked, domain: &DomainName) -> Result<IssuedAuthority, Refusal> {
        self.make_token(asked, domain, |token_id| DomainCommand::IssueAuthorityToken {
            token_id,
        })
        .await
    }

    /// Makes another token in place of the one a domain has. The old one opens nothing from then on.
    pub async fn rotate_authority_token(&self, asked: &Asked, domain: &DomainName) -> Result<IssuedAuthority, Refusal> {
        self.make_token(asked, domain, |token_id| DomainCommand::RotateAuthorityToken {
            token_id,
        })
        .await
    }

    async fn make_token(
        &self,
        asked: &Asked,
        domain: &DomainName,
        command: impl Fn(Uuid) -> DomainCommand + Send + Sync,
    ) -> Result<IssuedAuthority, Refusal> {
        let token_id = self.store().chance().uuid_v7(self.store().now());
        let hash = self.authority_token(token_id).hash();
        let (name, command) = (domain.as_str(), &command(token_id));
        let receipt = self
            .command(asked, None, |unit| async move {
                self.decide_domain(&unit, asked, name, command.clone()).await?;
                unit.drop_secrets(name);
                unit.secret(Secret {
                    kind: SecretKind::Authority,
                    hash,
                    owner: name.to_owned(),
                    user_id: None,
                    generation: 0,
                    expires_at: None,
                });
                Ok(())
            })
            .await?;
        let token_id = self.issued_by(asked, &receipt, token_id).await?;
        Ok(IssuedAuthority {
            token: self.authority_token(token_id),
            receipt,
        })
    }

    /// Withdraws the token of a domain.
    pub async fn revoke_authority_token(&self, asked: &Asked, domain: &DomainName) -> Result<Receipt, Refusal> {
        let name = domain.as_str();
        self.command(asked, None, |unit| async move {
            self.decide_domain(&unit, asked, name, DomainCommand::RevokeAuthorityToken)
                .await?;
            unit.drop_secrets(name);
            Ok(())
        })
        .await
    }

    /// The domain a token speaks for; none if it speaks for none.
    pub async fn domain_of_authority(&self, text: &str) -> Result<Option<DomainName>, Refusal> {
        let Ok(presented) = OpaqueToken::parse(OpaqueKind::Authority, text) else {
            return Ok(None);
        };
        let found = self.store().secret(SecretKind::Authority, &presented.hash()).await?;
        found
            .map(|secret| {
                DomainName::parse(&secret.owner)
                    .map_err(|problem| Refusal::Internal(format!("the owner of an authority token: {problem}")))
            })
            .transpose()
    }
}
