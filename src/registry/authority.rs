//! Authority tokens: what a domain's own programs show. Derived and kept like API keys.

use std::collections::HashMap;

use aggregates::domain::{Domain, DomainCommand};
use aggregates::values::DomainName;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::command::{Asked, Caller};
use super::{Refusal, Registry};
use crate::store::{Receipt, Secret, SecretKind};
use crate::tokens::{OpaqueKind, OpaqueToken, authority_text, shared};

/// What stands before a domain as the owner of a short token.
const SHORT: &str = "short:";

/// What is known of a domain's authority token in its short form, which is no secret between peers.
#[derive(Debug, Clone)]
pub enum Authority {
    /// Nothing is known of the domain.
    Unknown,
    /// It has none.
    None,
    /// It has this one.
    Token(Zeroizing<String>),
}

/// What authorizing a domain has led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authorized {
    /// It has a token now.
    Now,
    /// It had one.
    Already,
}

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
        let short = shared::secret_hash(&authority_text(self.store().keyring(), token_id));
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
                unit.secret(Secret {
                    kind: SecretKind::ShortAuthority,
                    hash: short,
                    owner: format!("{SHORT}{name}"),
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

    /// The present authority token of a domain in its short form.
    pub async fn short_authority(&self, domain: &DomainName) -> Result<Authority, Refusal> {
        let rows = self.store().domain_rows(&[domain.as_str()]).await?;
        let Some(row) = rows.first() else {
            return Ok(Authority::Unknown);
        };
        if row.authority_token_issued.is_none() {
            return Ok(Authority::None);
        }
        let unit = self.store().unit(Caller::system(self.store()).context(None));
        let (mut state, version) = unit.load::<Domain>(domain.as_str()).await?;
        if version < row.version {
            state = unit.load_fresh::<Domain>(domain.as_str()).await?.0;
        }
        Ok(state.authority_token().map_or(Authority::None, |token_id| {
            Authority::Token(authority_text(self.store().keyring(), token_id))
        }))
    }

    /// Gives a domain that is known an authority token, unless it has one.
    pub async fn authorize_domain(&self, asked: &Asked, domain: &DomainName) -> Result<Authorized, Refusal> {
        let rows = self.store().domain_rows(&[domain.as_str()]).await?;
        let row = rows.first().ok_or(Refusal::NotFound)?;
        if row.authority_token_issued.is_some() {
            return Ok(Authorized::Already);
        }
        match self.issue_authority_token(asked, domain).await {
            Ok(_) => Ok(Authorized::Now),
            // Somebody else did since.
            Err(Refusal::Conflict(_)) => Ok(Authorized::Already),
            Err(refusal) => Err(refusal),
        }
    }

    /// The domains that short tokens were ever given to, by token; those nobody gave are left out.
    pub async fn domains_of_short_authorities(&self, tokens: &[String]) -> Result<HashMap<String, String>, Refusal> {
        let hashes: Vec<[u8; 32]> = tokens.iter().map(|token| shared::secret_hash(token)).collect();
        let owners = self
            .store()
            .owners_of_secrets(SecretKind::ShortAuthority, &hashes)
            .await?;
        let domain = |hash: &[u8; 32]| owners.get(hash).and_then(|owner| owner.strip_prefix(SHORT));
        let known = tokens.iter().zip(&hashes);
        Ok(known
            .filter_map(|(token, hash)| Some((token.clone(), domain(hash)?.to_owned())))
            .collect())
    }
}
