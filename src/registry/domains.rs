//! The standing of domains: who may register.

use aggregates::domain::standing::{self, BlockedHere, Listed, Verdict};
use aggregates::domain::{Domain, DomainCommand};
use aggregates::values::{DomainName, Email, Note, RuleKind, StandingKind};
use cqrs_es::Aggregate as _;
use projections::DomainRow;

use super::command::Asked;
use super::refusal::Trouble;
use super::{Refusal, Registry};
use crate::keys::hex;
use crate::store::{DomainFilter, Executed, Receipt, StoreError, Unit};

/// The names for peers are read so many at a time.
const PEER_PAGE: i64 = 1_000;

/// A domain as it is shown.
#[derive(Debug, Clone)]
pub struct DomainView {
    /// Its row.
    pub row: DomainRow,
    /// How many accounts have an address of it.
    pub users: i64,
}

/// A verdict that refuses, as a refusal.
pub(super) fn blocked(verdict: Verdict) -> Refusal {
    let user_error = match verdict.rule.kind {
        RuleKind::AddressBlocked => aggregates::user::UserError::AddressBlocked { rule: verdict.rule },
        RuleKind::Allowed | RuleKind::Blocked | RuleKind::Default => {
            aggregates::user::UserError::DomainBlocked { rule: verdict.rule }
        }
    };
    user_error.into()
}

impl Registry {
    /// What may be said of an address now, and the rows that say it, by name.
    pub(super) async fn verdict(&self, email: &Email) -> Result<(Verdict, Vec<DomainRow>), StoreError> {
        let domain = email.domain_name();
        let parents: Vec<DomainName> = domain.parents().collect();
        let mut names = vec![domain.as_str()];
        names.extend(parents.iter().map(DomainName::as_str));
        let rows = self.store().domain_rows(&names).await?;
        let known: Vec<Listed> = rows.iter().filter_map(listed).collect();
        let exact = rows.iter().find(|row| row.name == domain.as_str());
        // Single addresses are blocked in the stream of their domain, so without a row there is none.
        let address = match exact {
            Some(row) => {
                let position = self.store().blocked_address(&self.address_key(email)).await?;
                position.map(|position| BlockedHere {
                    version: row.version,
                    position,
                })
            }
            None => None,
        };
        Ok((standing::decide(&domain, &known, address, self.rules().domains), rows))
    }

    /// Whether an address may register now, and the rule that says so.
    pub async fn check_address(&self, email: &Email) -> Result<Verdict, Refusal> {
        Ok(self.verdict(email).await?.0)
    }

    /// The same, with the unit relying on every stream that was looked at, present or absent. Also says whether the
    /// domain was known.
    pub(super) async fn verdict_guarded(&self, unit: &Unit, email: &Email) -> Result<(Verdict, bool), StoreError> {
        let (verdict, rows) = self.verdict(email).await?;
        let domain = email.domain_name();
        let version_of = |name: &str| rows.iter().find(|row| row.name == name).map_or(0, |row| row.version);
        let exact = version_of(domain.as_str());
        // A new domain is observed by this very unit: its expected version is the guard.
        if exact > 0 {
            unit.guard(Domain::TYPE, domain.as_str(), exact);
        }
        for parent in domain.parents() {
            unit.guard(Domain::TYPE, parent.as_str(), version_of(parent.as_str()));
        }
        Ok((verdict, exact > 0))
    }

    /// The keyed hash a single address is blocked by.
    pub(super) fn address_key(&self, email: &Email) -> String {
        hex(&self
            .store()
            .keyring()
            .fingerprint("blocked-address", &[email.canonical().as_bytes()]))
    }

    /// Lets the addresses of a domain register.
    pub async fn allow_domain(
        &self,
        asked: &Asked,
        domain: &DomainName,
        include_subdomains: bool,
        reason: Option<Note>,
    ) -> Result<Receipt, Refusal> {
        self.domain_command(
            asked,
            domain,
            DomainCommand::Allow {
                include_subdomains,
                reason,
            },
        )
        .await
    }

    /// Lets them not.
    pub async fn block_domain(
        &self,
        asked: &Asked,
        domain: &DomainName,
        include_subdomains: bool,
        reason: Option<Note>,
    ) -> Result<Receipt, Refusal> {
        self.domain_command(
            asked,
            domain,
            DomainCommand::Block {
                include_subdomains,
                reason,
            },
        )
        .await
    }

    /// Lifts a block.
    pub async fn unblock_domain(
        &self,
        asked: &Asked,
        domain: &DomainName,
        reason: Option<Note>,
    ) -> Result<Receipt, Refusal> {
        self.domain_command(asked, domain, DomainCommand::Unblock { reason })
            .await
    }

    pub(super) async fn domain_command(
        &self,
        asked: &Asked,
        domain: &DomainName,
        command: DomainCommand,
    ) -> Result<Receipt, Refusal> {
        let (name, command) = (domain.as_str(), &command);
        self.command(asked, None, |unit| async move {
            self.decide_domain(&unit, asked, name, command.clone()).await?;
            Ok(())
        })
        .await
    }

    /// Lets a domain's aggregate decide, minding `If-Match`, and says what to answer if nothing changes.
    pub(super) async fn decide_domain(
        &self,
        unit: &Unit,
        asked: &Asked,
        name: &str,
        command: DomainCommand,
    ) -> Result<Executed<Domain>, Trouble> {
        if let Some(version) = asked.if_match
            && unit.load_fresh::<Domain>(name).await?.1 != version
        {
            return Err(Refusal::Stale.into());
        }
        let executed = unit.execute::<Domain>(name, command).await?;
        if executed.version == executed.loaded {
            let rows = self.store().domain_rows(&[name]).await?;
            unit.unchanged(Receipt {
                id: name.to_owned(),
                version: executed.version,
                position: rows.first().map_or(0, |row| row.position),
                events: Vec::new(),
                created: false,
            });
        }
        Ok(executed)
    }

    /// One domain.
    pub async fn domain(&self, name: &DomainName) -> Result<DomainView, Refusal> {
        let row = self
            .store()
            .domain_rows(&[name.as_str()])
            .await?
            .pop()
            .ok_or(Refusal::NotFound)?;
        self.views(vec![row]).await?.pop().ok_or(Refusal::NotFound)
    }

    /// Domains by name, after `after`.
    pub async fn domains(
        &self,
        filter: &DomainFilter,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Vec<DomainView>, Refusal> {
        self.views(self.store().domains(filter, after, limit).await?).await
    }

    /// The same without their numbers of accounts.
    pub async fn domain_names(
        &self,
        filter: &DomainFilter,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Vec<DomainRow>, Refusal> {
        Ok(self.store().domains(filter, after, limit).await?)
    }

    /// The names of all domains there are, for a peer; for anybody else of those that are authorized and not blocked.
    pub async fn peer_domains(&self, peer: bool) -> Result<Vec<String>, Refusal> {
        let (mut names, mut after): (Vec<String>, Option<String>) = (Vec::new(), None);
        loop {
            let rows = self
                .domain_names(&DomainFilter::default(), after.as_deref(), PEER_PAGE)
                .await?;
            let full = i64::try_from(rows.len()).is_ok_and(|count| count == PEER_PAGE);
            after = rows.last().map(|row| row.name.clone());
            let shown = rows
                .into_iter()
                .filter(|row| peer || (row.authority_token_issued.is_some() && row.standing != StandingKind::Blocked));
            names.extend(shown.map(|row| row.name));
            if !full {
                return Ok(names);
            }
        }
    }

    async fn views(&self, rows: Vec<DomainRow>) -> Result<Vec<DomainView>, Refusal> {
        let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        let users = self.store().users_of_domains(&names).await?;
        let view = |row: DomainRow| DomainView {
            users: users.get(&row.name).copied().unwrap_or_default(),
            row,
        };
        Ok(rows.into_iter().map(view).collect())
    }
}

fn listed(row: &DomainRow) -> Option<Listed> {
    Some(Listed {
        name: DomainName::parse(&row.name).ok()?,
        standing: row.standing,
        include_subdomains: row.include_subdomains,
        version: row.version,
        position: row.rule_position,
    })
}
