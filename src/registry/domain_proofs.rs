//! The proof that somebody controls a domain: a value of ours that they publish in its DNS.

use aggregates::domain::{Domain, DomainCommand, DomainError};
use aggregates::values::{DomainName, ProofValue, Role};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::command::{Asked, Caller};
use super::{Refusal, Registry};
use crate::store::Receipt;

/// Below which name of a domain the value is looked for.
const LABEL: &str = "_user-registry";
const PREFIX: &str = "user-registry-proof=";

/// The TXT record that proves a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofRecord {
    /// Its name, without the final dot.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl Registry {
    /// The record that proves a domain: always the same one, so that who asks twice need not publish twice.
    fn proof_record(&self, domain: &DomainName) -> Result<(ProofRecord, ProofValue), Refusal> {
        let keyring = self.store().keyring();
        let mac = keyring.fingerprint("domain-proof", &[domain.as_str().as_bytes()]);
        let value = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(mac));
        let record = ProofRecord {
            name: format!("{LABEL}.{domain}"),
            value: value.clone(),
        };
        match ProofValue::parse(&value) {
            Ok(value) => Ok((record, value)),
            Err(error) => Err(Refusal::Internal(error.to_string())),
        }
    }

    /// Administrators, and who has a verified address of this very domain.
    async fn may_prove(&self, caller: &Caller, domain: &DomainName) -> Result<(), Refusal> {
        if caller.has(Role::Admin) {
            return Ok(());
        }
        let user = self.user(caller.user().ok_or(Refusal::Forbidden)?).await?;
        if user.is_of_domain(domain.as_str()) {
            Ok(())
        } else {
            Err(Refusal::Forbidden)
        }
    }

    /// Says which record to publish.
    pub async fn request_domain_proof(
        &self,
        asked: &Asked,
        domain: &DomainName,
    ) -> Result<(Receipt, ProofRecord), Refusal> {
        self.may_prove(&asked.caller, domain).await?;
        let (record, value) = self.proof_record(domain)?;
        let receipt = self
            .domain_command(asked, domain, DomainCommand::RequestProof { value })
            .await?;
        Ok((receipt, record))
    }

    /// Looks whether it is there.
    pub async fn prove_domain(&self, asked: &Asked, domain: &DomainName) -> Result<Receipt, Refusal> {
        self.may_prove(&asked.caller, domain).await?;
        let (record, value) = self.proof_record(domain)?;
        let (state, _) = self
            .store()
            .unit(asked.caller.context(None))
            .load_fresh::<Domain>(domain.as_str())
            .await?;
        if state.open_proof() == Some(&value) {
            let texts = self.dns().texts(&record.name).await.map_err(|error| {
                // The name is a domain's, nobody's own.
                tracing::warn!(%error, name = record.name, "a domain could not be proved");
                Refusal::Unavailable { retry_after: 5 }
            })?;
            if !texts.contains(&record.value) {
                return Err(Refusal::Conflict(format!(
                    "DNS has no TXT record at {} with the value asked for; a new one may take a while to be seen",
                    record.name
                )));
            }
        } else if !state.is_proved() {
            return Err(DomainError::NoOpenProof.into());
        }
        self.domain_command(asked, domain, DomainCommand::Prove { value }).await
    }
}
