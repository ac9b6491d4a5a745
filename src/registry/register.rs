//! Opening an account.

use aggregates::domain::{Domain, DomainCommand};
use aggregates::user::{Register, RequestLink, User, UserCommand};
use aggregates::values::{
    Boundary, Coordinates, Dialect, Email, FullName, GeoId, Locale, Phone, SessionMethod, Username,
};
use projections::{NameKind, phone_is_name};
use uuid::Uuid;

use super::codes::{CODE_LIFE, CodePurpose, VERIFY_DIGITS};
use super::command::Asked;
use super::opaque::{Keyed, NewKeyed};
use super::refusal::Trouble;
use super::{Refusal, Registry, country_at};
use crate::passwords::{Password, PasswordHash};
use crate::store::{Credential, Receipt, Unit};

/// What a person gives to open an account.
#[derive(Debug, Clone, Default)]
pub struct Registration {
    /// The name to sign in with.
    pub username: Option<Username>,
    /// The address.
    pub email: Option<Email>,
    /// The number.
    pub phone: Option<Phone>,
    /// The name of the person.
    pub full_name: Option<FullName>,
    /// Whether others may find the account by its place.
    pub discoverable: bool,
    /// Where the person is.
    pub position: Option<Coordinates>,
    /// A place identifier.
    pub geo_id: Option<GeoId>,
    /// The outline of the person's land.
    pub boundary: Option<Boundary>,
    /// The language to write in.
    pub locale: Option<Locale>,
    /// Whether the address counts as verified: only an operator may say so.
    pub verified: bool,
    /// A role given at once: only an operator may say so.
    pub role: Option<aggregates::values::Role>,
}

impl Registry {
    /// Opens an account and, if it has an address or a number, asks for its verification.
    pub async fn register(
        &self,
        asked: &Asked,
        registration: &Registration,
        password: Password,
    ) -> Result<Receipt, Refusal> {
        let work = async {
            if asked.if_match.is_some_and(|version| version != 0) {
                return Err(Refusal::Stale);
            }
            // Whoever cannot register anyway costs no hash. The append decides: this is only a look.
            self.look_before_hashing(asked.caller.dialect, registration).await?;
            let hash = self.hasher().hash(password).await?;
            self.open_with(asked, registration, &hash, None).await
        };
        self.once(asked, Box::pin(work)).await
    }

    /// The same, and signs in with it: the token is shown once.
    pub async fn register_keyed(
        &self,
        asked: &Asked,
        registration: &Registration,
        password: Password,
    ) -> Result<Keyed, Refusal> {
        self.look_before_hashing(asked.caller.dialect, registration).await?;
        let hash = self.hasher().hash(password).await?;
        let first = self.new_keyed(asked.caller.dialect, SessionMethod::Password);
        let receipt = self.open_with(asked, registration, &hash, Some(&first)).await?;
        let user = Uuid::parse_str(&receipt.id).map_err(|problem| Refusal::Internal(problem.to_string()))?;
        Ok(first.handed_to(user))
    }

    /// Opens an account whose password is hashed.
    pub(super) async fn open_with(
        &self,
        asked: &Asked,
        registration: &Registration,
        hash: &PasswordHash,
        first: Option<&NewKeyed>,
    ) -> Result<Receipt, Refusal> {
        let texts = self.customs(asked.caller.dialect).texts && !registration.verified;
        let code = match &registration.phone {
            Some(phone) if texts => self.may_send_code(&asked.caller, phone).await?,
            _ => false,
        };
        self.command(asked, None, |unit| async move {
            self.open_account(&unit, asked, registration, hash, (code, first)).await
        })
        .await
    }

    async fn look_before_hashing(&self, dialect: Dialect, registration: &Registration) -> Result<(), Refusal> {
        if let Some(email) = &registration.email {
            self.look_at_domain(email).await?;
        }
        let phone = registration.phone.as_ref();
        let kinds: &[NameKind] = if phone.is_some_and(|phone| !phone_is_name(dialect, phone.msisdn())) {
            &[NameKind::Email, NameKind::Username]
        } else {
            &[NameKind::Email, NameKind::Username, NameKind::Phone]
        };
        self.look_at_names(registration, kinds).await
    }

    /// Whether addresses of this domain may register.
    pub(super) async fn look_at_domain(&self, email: &Email) -> Result<(), Refusal> {
        let verdict = self.verdict(email).await?.0;
        if verdict.allowed {
            Ok(())
        } else {
            Err(super::domains::blocked(verdict))
        }
    }

    /// Whether names of these kinds are free.
    pub(super) async fn look_at_names(&self, registration: &Registration, kinds: &[NameKind]) -> Result<(), Refusal> {
        let names = [
            (NameKind::Email, registration.email.as_ref().map(Email::canonical)),
            (
                NameKind::Username,
                registration.username.as_ref().map(Username::canonical),
            ),
            (NameKind::Phone, registration.phone.as_ref().map(Phone::msisdn)),
        ];
        for (kind, name) in names.into_iter().filter(|(kind, _)| kinds.contains(kind)) {
            if let Some(name) = name
                && self.store().holder(kind, name).await?.is_some()
            {
                return Err(Refusal::Taken(kind));
            }
        }
        Ok(())
    }

    /// `code`: whether a code goes to the number. One that may be sent none just now asks for its own later. `first`:
    /// the token the account is opened with.
    async fn open_account(
        &self,
        unit: &Unit,
        asked: &Asked,
        registration: &Registration,
        hash: &PasswordHash,
        (code, first): (bool, Option<&NewKeyed>),
    ) -> Result<(), Trouble> {
        let store = self.store();
        let at = store.now();
        let id = store.chance().uuid_v7(at);
        let dialect = asked.caller.dialect;
        let customs = self.customs(dialect);
        let request = |life| RequestLink {
            request: store.chance().uuid_v7(at),
            dialect,
            life,
            at,
        };
        let (standing, observe) = match &registration.email {
            Some(email) => {
                let (verdict, known) = self.verdict_guarded(unit, email).await?;
                (verdict.standing(), (!known).then(|| email.domain().to_owned()))
            }
            None => (aggregates::values::Standing::Allowed, None),
        };
        let phone_request = code.then(|| request(CODE_LIFE));
        if let Some(link) = &phone_request {
            self.stage_code(
                unit,
                CodePurpose::VerifyPhone,
                id,
                link.request,
                (at.plus(link.life), VERIFY_DIGITS),
            )?;
        }
        let command = Register {
            dialect,
            username: registration.username.clone(),
            email: registration.email.clone(),
            phone: registration.phone.clone(),
            device: None,
            full_name: registration.full_name.clone(),
            discoverable: registration.discoverable,
            position: registration.position,
            country: registration.position.as_ref().and_then(country_at),
            geo_id: registration.geo_id.clone(),
            boundary: registration.boundary.clone(),
            locale: registration.locale.clone(),
            password: true,
            standing,
            verified: registration.verified,
            unverified_life: customs.unverified_life.filter(|_| !registration.verified),
            email_request: (customs.mails && registration.email.is_some()).then(|| request(customs.verification_life)),
            phone_request,
            at,
        };
        let user = id.to_string();
        unit.is_fresh::<User>(&user);
        unit.owned_by(id);
        unit.execute::<User>(&user, UserCommand::Register(Box::new(command)))
            .await?;
        if let Some(role) = registration.role {
            unit.execute::<User>(&user, UserCommand::GrantRole { role }).await?;
        }
        if let Some(domain) = observe {
            unit.is_fresh::<Domain>(&domain);
            unit.execute::<Domain>(&domain, DomainCommand::Observe).await?;
        }
        unit.credential(Credential {
            user_id: id,
            version: 1,
            hash: hash.as_str().to_owned(),
        });
        if let Some(first) = first {
            self.stage_keyed(unit, id, first).await?;
        }
        Ok(())
    }
}
